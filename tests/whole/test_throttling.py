"""How a key shares what Mailjet allows: whole imports against an emulator that says "not now", or nothing at all."""

import asyncio
from collections import Counter
from typing import Any, TypeVar

import pytest
from support import KEYS, World, balanced

import mjbulk
from mjbulk.mailjet.pace import Start
from mjbulk.mailjet.quota import LocalQuota, Step
from mjbulk.testing import Fault

pytestmark = pytest.mark.long

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
POST = "POST contact/managemanycontacts"
T = TypeVar("T")


def people(count: int, name: str = "u") -> list[dict[str, Any]]:
    return [{"email": f"{name}{number}@example.org"} for number in range(1, count + 1)]


def now() -> float:
    return asyncio.get_running_loop().time()


# Rates


async def test_a_rate_that_nobody_names_is_learned(world: World) -> None:
    """A server that allows 20 requests a second and never says so: after half a minute at most 1 % of its answers are
    429, and at least 90 % of what it allows is used.
    """
    async with world.turned(rate_limit=20) as other, other.client(chunk_rows=1) as client:
        report = balanced(await client.import_contacts(people(1200), lists=ADD))
        calls = other.emulator.calls
    assert report.ok
    last = max(call.time for call in calls if call.method == "POST")
    answers = Counter(call.status == 429 for call in calls if 30 <= call.time <= last)
    assert last >= 90
    assert answers[True] <= 0.01 * answers.total()
    assert answers[False] >= 0.9 * 20 * (last - 30)


async def test_a_rate_that_is_set_is_never_passed(world: World) -> None:
    """No second, wherever it begins, holds more requests than are allowed, and one; none of them is refused."""
    async with world.client(chunk_rows=1, max_rate=10.0) as client:
        assert (await client.import_contacts(people(60), lists=ADD)).ok
    times = [call.time for call in world.emulator.calls]
    assert max(sum(start <= time < start + 1 for time in times) for start in times) <= 11
    assert len(times) >= 0.95 * 10 * (times[-1] - times[0])


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_429_stops_all_that_the_key_does(world: World, form: str) -> None:
    """One poll is answered 429: submits, polls and account calls wait for as long as it asked, digits or date."""
    dates = {"Retry-After": "Wed, 21 Oct 2026 07:28:50 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    headers = {"Retry-After": "50"} if form == "seconds" else dates
    async with world.client(chunk_rows=5) as client:
        job = await client.submit_contacts(people(1), lists=ADD)
        world.emulator.fault("GET contact/managemanycontacts", Fault.answer(429, headers=headers))
        import_ = client.start_import(people(100), lists=ADD)
        watching = asyncio.create_task(job.wait())
        await asyncio.sleep(2)
        properties = [one async for one in client.properties()]
        assert (await import_).ok
        assert (await watching).ok
        assert properties
    stopped = next(call.time for call in world.emulator.calls if call.status == 429)
    later = [call.time - stopped for call in world.emulator.calls if call.time > stopped]
    assert 50 <= min(later) <= 55


@pytest.mark.parametrize(("asked", "waits"), [(120, True), (121, False)])
async def test_two_minutes_are_waited_for_and_no_more(world: World, asked: int, waits: bool) -> None:  # noqa: FBT001
    """A longer pause halts the run at once, says how long it is, and leaves its rows unsent."""
    fault = Fault.answer(429, headers={"Retry-After": str(asked)})
    world.emulator.fault(POST, fault, times=1 if waits else None)
    async with world.client(chunk_rows=5) as client:
        report = await client.start_import(people(50), lists=ADD).wait()
    assert report.ok == waits
    if not waits:
        assert balanced(report).not_sent == 50
        assert "stopped this key for another 121 s" in str(report.halted)
        assert now() < 5


async def test_429s_without_end_halt_the_run(world: World) -> None:
    """A server that says "not now" for an hour is asked at longer and longer intervals, and then given up."""
    world.emulator.fault(POST, Fault.answer(429), times=None)
    async with world.client() as client:
        report = balanced(await client.start_import(people(10), lists=ADD).wait())
    assert report.not_sent == 10
    assert "status 429" in str(report.halted)
    assert now() > 1800
    assert world.posts() == 100


# Turns


async def test_a_small_import_does_not_queue_behind_the_nightly_one(world: World) -> None:
    """Ten rows that come while a large import has all places are imported in about the time of one job."""
    async with world.turned(queue_seconds=60.0) as other, other.client(chunk_rows=10, max_jobs=4) as client:
        nightly = client.start_import(people(1000), lists=ADD)
        await asyncio.sleep(100)
        began = now()
        assert (await client.import_contacts(people(10, "small"), lists=ADD)).ok
        took = now() - began
        assert nightly.progress.settled < 1000
        assert (await nightly).ok
    assert took < 200
    assert now() - began > 1200


async def test_tenants_do_not_slow_each_other(world: World) -> None:
    """A tenant whose key was stopped, and has a thousand requests waiting, is nothing to another tenant."""
    async with (
        world.turned(rate_limit=5, retry_after=100) as other,
        mjbulk.SessionPool(other.settings(chunk_rows=1)) as pool,
    ):
        one, two = (pool.client(mjbulk.Credentials(key, "secret")) for key in ("one", "two"))
        stopped = one.start_import(people(100), lists=ADD)
        await asyncio.sleep(3)
        began = now()
        assert (await two.import_contacts(people(1), lists=ADD)).ok
        assert now() - began < 10
        await stopped.stop()
    assert any(call.status == 429 for call in other.emulator.calls)


# Outages


@pytest.mark.parametrize("fault", [Fault.answer(502), Fault.drop_before(), Fault.drop_unread(), Fault.stall()])
@pytest.mark.parametrize("chunks", [1, 16, 200])
async def test_an_outage_does_not_double_the_load(world: World, fault: Fault, chunks: int) -> None:
    """Nothing gets through: the run halts after the time that one submit is tried, and the number of useless retries is
    bounded.
    """
    world.emulator.fault(POST, fault, times=None)
    async with world.client(chunk_rows=10, concurrency=32) as client:
        report = balanced(await client.start_import(people(10 * chunks), lists=ADD).wait())
    assert report.halted is not None
    assert report.accepted == 0
    assert world.posts() <= 1.2 * chunks + 100


@pytest.mark.parametrize(
    ("via", "call"),
    [
        ("json", "GET contactmetadata"),
        ("json", POST),
        ("json", "GET contact/managemanycontacts"),
        ("json", "batchjob/jsonerror"),
        ("csv", "POST contactslist/csvdata"),
        ("csv", "POST csvimport"),
        ("csv", "GET csvimport"),
        ("csv", "batchjob/csverror"),
    ],
)
async def test_one_answer_that_never_comes_halts_no_run(world: World, via: Any, call: str) -> None:
    """It takes as long as all further attempts may; it was harmless, or is found again, and so it ends well."""
    world.emulator.fault(call, Fault.stall())
    async with world.client(chunk_rows=10) as client:
        report = balanced(await client.import_contacts(people(100), lists=ADD, via=via))
    assert report.ok
    assert report.accepted == 100


async def test_a_network_outage_of_hours_is_survived(world: World) -> None:
    """Jobs are watched when the network fails: it is tried every half minute, and when it is back all jobs end."""
    async with world.turned(queue_seconds=60.0) as other, other.client(chunk_rows=10) as client:
        run = client.start_import(people(1000), lists=ADD)
        await asyncio.sleep(10)
        assert other.posts() == 100
        port = int(other.emulator.url.rpartition(":")[2])
        await other.emulator.aclose()
        before = run.progress.requests
        await asyncio.sleep(6 * 3600)
        asked = run.progress.requests - before
        await other.emulator.start(port=port)
        back = now()
        assert (await run).ok
    assert now() - back < 120
    assert 500 < asked < 100 + 100 + 6 * 3600 / 25


# The wire


async def test_each_request_is_counted_once() -> None:
    """The HTTP library would send a GET again by itself on a connection that is just being closed: here it is one
    attempt that failed, and the next is a request like any other.
    """
    came = 0

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal came
        for answers in (True, False):
            try:
                await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:  # the client has closed
                break
            came += 1
            if answers:
                body = b'{ "Count" : 0, "Data" : [], "Total" : 0 }'
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer_once, "127.0.0.1", 0)
    port, events = server.sockets[0].getsockname()[1], list[mjbulk.Event]()
    settings = mjbulk.Settings(api_url=f"http://127.0.0.1:{port}")
    async with server, mjbulk.Client(KEYS, settings, hooks=[events.append]) as client:
        for _ in range(2):
            assert [one async for one in client.lists()] == []
    assert came == 3
    assert [(event.attempt, event.verdict) for event in events if event.name == "request"] == [
        (1, "applied"), (1, "ambiguous"), (2, "applied")
    ]  # fmt: skip


async def test_who_still_waits_for_a_grant_was_not_sent(world: World) -> None:
    """A run that is stopped while its chunks wait for their turn leaves their rows unsent, not unknown."""
    async with world.client(chunk_rows=10, max_rate=0.01) as client:
        run = client.start_import(people(100), lists=ADD)
        await asyncio.sleep(250)
        report = balanced(await run.stop())
    assert world.posts() == 1
    assert (report.unknown, report.not_sent) == (10, 90)


async def test_to_wait_for_a_turn_is_no_failure(world: World) -> None:
    """A submit that has waited for its turn longer than it may be tried is still tried again when it fails."""
    world.emulator.fault(POST, Fault.answer(502))
    async with world.client(max_rate=0.01, give_up_after=30.0) as client:
        assert (await client.import_contacts(people(1), lists=ADD)).ok
    assert now() > 300


class Forgetful(LocalQuota):
    """A quota that cannot be reached when an answer has come."""

    async def change(self, key: str, step: Step[T]) -> T:
        result = await super().change(key, step)
        if not isinstance(result, Start):
            raise mjbulk.Error("the quota cannot be reached")
        return result


async def test_an_answer_is_worth_more_than_its_lesson(world: World) -> None:
    """Where the quota fails just when Mailjet has taken a chunk, the chunk is known to be taken all the same."""
    world.emulator.fault(POST, Fault.answer(429))
    async with mjbulk.Client(KEYS, world.settings(), quota=Forgetful()) as client:
        report = balanced(await client.import_contacts(people(1), lists=ADD))
    assert report.ok
    assert world.posts() == 2
