"""Small imports side by side: what they share, and what each of them counts as its own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import pairwise
from statistics import median
from typing import Any

import pytest
from support import KEYS, World, balanced

import mjbulk
from mjbulk.testing import Fault

ADD: Any = {1: "addnoforce"}


def people(count: int, prefix: str = "p") -> list[dict[str, Any]]:
    return [{"email": f"{prefix}{number}@example.org"} for number in range(count)]


async def test_imports_side_by_side_count_their_own_requests(world: World) -> None:
    """Their sum is what the server saw: polls too, which one task sends for all, and what is shared counts once."""
    async with world.client(chunk_rows=10) as client:
        reports = await asyncio.gather(
            *(client.import_contacts(people(size, f"{size}-"), lists=ADD) for size in (10, 200, 50))
        )
        one = client.start_import(people(30, "last-"), lists=ADD)
        reports.append(await one)
    assert all(balanced(report).ok for report in reports)
    assert [len(report.jobs) for report in reports] == [1, 20, 5, 3]
    assert sum(report.requests for report in reports) == world.emulator.requests
    assert all(3 * len(report.jobs) <= report.requests <= 5 * len(report.jobs) + 2 for report in reports)
    assert one.progress.requests == reports[-1].requests


# How they begin


async def test_the_first_of_many_imports_is_sent_while_others_begin(world: World) -> None:
    """They begin one after the other, so that the first request does not wait until all of them are ready."""
    seen: list[str] = []

    def source(number: int) -> Iterator[dict[str, Any]]:
        seen.append(f"read {number}")
        yield from people(1, f"{number}-")

    async with mjbulk.Client(KEYS, world.settings(), hooks=[lambda event: seen.append(event.name)]) as client:
        await asyncio.gather(*(client.import_contacts(source(number), lists=ADD) for number in range(40)))
    read = [one for one in seen if one.startswith("read")]
    assert read == [f"read {number}" for number in range(40)]
    assert seen.index("job.watched") < seen.index("read 35")


async def test_an_import_with_a_silent_source_holds_no_other(world: World) -> None:
    async def silent() -> AsyncIterator[dict[str, Any]]:
        await asyncio.sleep(1e6)
        yield {}

    async with world.client() as client:
        runs = [client.start_import(silent(), lists=ADD) for _ in range(20)]
        assert balanced(await client.import_contacts(people(1), lists=ADD)).ok
        await asyncio.gather(*(run.stop() for run in runs))


# What is known of the account


SHORT: dict[str, Any] = {"queue_seconds": 0.0, "prepare_seconds": 0.0, "import_seconds": 0.1}


async def test_a_hundred_small_imports_cost_three_requests_each(world: World) -> None:
    """The chunk, a look, and the error file: what is asked about the account is shared."""
    async with world.turned(**SHORT) as other, other.client() as client:
        other.emulator.create_property("city", "str")
        for _ in range(2):
            before = other.emulator.requests
            rows = [[{**row, "city": "Graz"} for row in people(10, f"{number}-")] for number in range(40)]
            reports = await asyncio.gather(*(client.import_contacts(some, lists=ADD) for some in rows))
            assert all(balanced(report).ok for report in reports)
            assert other.emulator.requests - before <= 3.2 * 100


async def test_an_answer_about_the_account_serves_for_a_minute(world: World) -> None:
    """Or for as long as is set; each client remembers its own."""
    for said, asked in (({}, 1), ({"account_ttl": 0.0}, 2), ({"account_ttl": 1e6}, 1)):
        async with world.client(**said) as client:
            before = world.emulator.count("contactslist")
            for number in range(2):
                await client.import_contacts(people(1, f"{number}-"), lists={1: "addnoforce"})
            assert world.emulator.count("contactslist") - before == asked


async def test_what_was_created_meanwhile_is_found(world: World) -> None:
    """Where a list or a property is missing, mjbulk asks again."""
    async with world.client() as client:
        await client.import_contacts(people(1), lists=ADD)
        news = world.emulator.create_list("News")
        world.emulator.create_property("shoe", "int")
        rows = [{"email": "a@example.org", "shoe": 42}]
        assert balanced(await client.import_contacts(rows, lists={"News": "addnoforce"})).ok
    assert world.emulator.contacts["a@example.org"].properties == {"shoe": 42}
    assert world.emulator.contacts["a@example.org"].lists == {news.id: "addnoforce"}


async def test_a_list_that_was_deleted_meanwhile_halts_the_run_and_is_forgotten(world: World) -> None:
    """Mailjet's refusal names the list, so no row is at fault; the next import asks again, and is refused."""
    news = world.emulator.create_list("News")
    async with world.client() as client:
        assert (await client.import_contacts(people(1), lists={"News": "addnoforce"})).ok
        world.emulator.account("public-key-of-tests").lists[news.id].deleted = True
        with pytest.raises(mjbulk.ImportHalted) as halted:
            await client.import_contacts(people(10), lists={"News": "addnoforce"})
        report = balanced(halted.value.report)
        assert (report.not_sent, report.rejected) == (10, 0)
        assert isinstance(report.halted, mjbulk.ApiError)
        assert list(report.halted.lists) == [news.id]
        with pytest.raises(mjbulk.UsageError, match="no list"):
            await client.import_contacts(people(10), lists={"News": "addnoforce"})


async def test_a_property_that_was_deleted_meanwhile_is_forgotten(world: World) -> None:
    """Its job ends in an error; the next import asks again, and is refused."""
    rows = [{"email": "a@example.org", "city": "Graz"}]
    async with world.client() as client:
        assert (await client.import_contacts(rows, lists=ADD)).ok
        account = world.emulator.account("public-key-of-tests")
        account.delete_property(account.properties["city"])
        assert balanced(await client.import_contacts(rows, lists=ADD)).unknown == 1
        with pytest.raises(mjbulk.UsageError, match="no property 'city'"):
            await client.import_contacts(rows, lists=ADD)


# New properties


LOST = {"after": Fault.drop_after(), "before": Fault.drop_before(), "gateway": Fault.answer(504, apply=True)}


@pytest.mark.parametrize("lost", [None, *LOST])
@pytest.mark.parametrize("clients", [1, 4])
async def test_imports_side_by_side_create_a_property_once(world: World, clients: int, lost: str | None) -> None:
    """Whether they know of each other or not, and whatever becomes of the first answer: all of them go on."""
    if lost is not None:
        world.emulator.fault("POST contactmetadata", LOST[lost], times=2)
    async with AsyncExitStack() as stack:
        those = [await stack.enter_async_context(world.client()) for _ in range(clients)]
        rows = [[{**row, "shoe": "42"} for row in people(10, f"{number}-")] for number in range(4)]
        imports = [
            those[number % clients].import_contacts(some, lists=ADD, create_properties=True)
            for number, some in enumerate(rows)
        ]
        reports = await asyncio.gather(*imports)
    assert all(balanced(report).ok for report in reports)
    assert [name for name in world.emulator.properties if name == "shoe"] == ["shoe"]
    assert {contact.properties.get("shoe") for contact in world.emulator.contacts.values()} == {"42"}
    if clients == 1 and lost is None:
        assert world.posts("contactmetadata") == 1


# When their ends are seen


async def test_the_end_of_a_short_job_is_seen_soon(world: World) -> None:
    """By the first import of a client too: each takes little longer than its job."""
    loop = asyncio.get_running_loop()
    async with world.turned(**SHORT) as other, other.client() as client:
        took = []
        for number in range(20):
            began = loop.time()
            assert (await client.import_contacts(people(10, f"{number}-"), lists=ADD)).ok
            took.append(loop.time() - began)
        assert max(took) <= 0.15
        assert median(took) <= 0.13
        assert other.emulator.requests == 20 * 3 + 2


async def test_the_ends_of_short_jobs_that_began_together_are_seen_soon(world: World) -> None:
    """By the first imports of a client too: the first end that is seen says how long the others take."""
    loop = asyncio.get_running_loop()
    async with world.turned(**SHORT) as other, other.client() as client:
        began = loop.time()
        await asyncio.gather(*(client.import_contacts(people(10, f"{number}-"), lists=ADD) for number in range(50)))
        assert loop.time() - began <= 0.3
        assert other.emulator.requests == 50 * 3 + 2


async def test_two_looks_at_one_job_are_a_second_apart(world: World) -> None:
    """`poll_min`: the first one alone may come before, where it is not known that such jobs are short."""
    async with world.turned(**{**SHORT, "import_seconds": 3.3}) as other, other.client() as client:
        for number in range(5):
            await client.import_contacts(people(10, f"{number}-"), lists=ADD)
        looks: dict[str, list[float]] = {}
        for call in other.emulator.calls:
            if call.route == "contact/managemanycontacts" and call.method == "GET":
                looks.setdefault(call.path, []).append(call.time)
        assert len(looks) == 5
        assert all(later - sooner > 0.99 for times in looks.values() for sooner, later in pairwise(times))
