"""Submitted chunks: as large as they may be to the byte, and halved where they are refused as a whole, or reset."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from math import ceil, log2
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import KEYS, World, balanced

import mjbulk
from mjbulk.testing import Emulator, Fault, Knobs, VirtualClockLoop

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
CALLS = {"json": "contact/managemanycontacts", "csv": "contactslist/csvdata"}
VIAS = pytest.mark.parametrize("via", ["json", "csv"])


def people(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"email": f"u{number:05}@example.org", **more} for number in range(1, count + 1)]


def rejected(report: mjbulk.Report) -> list[int]:
    return sorted(rejection.row or 0 for rejection in report.rejections)


def as_json(rows: list[dict[str, Any]]) -> int:
    """The bytes of a body, by the rules of JSON and not with the code under test."""
    contacts = [{"Email": row["email"], "Properties": {"city": row["city"]}} for row in rows]
    body = {"ContactsLists": [{"ListID": 1, "Action": "addnoforce"}], "Contacts": contacts}
    return len(json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())


def as_csv(rows: list[dict[str, Any]]) -> int:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["email", "city"])
    writer.writerows([row["email"], row["city"]] for row in rows)
    return len(text.getvalue().encode())


@pytest.mark.parametrize(("via", "size"), [("json", as_json), ("csv", as_csv)])
@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    cities=st.lists(st.text(st.sampled_from('aé東",'), max_size=60), min_size=1, max_size=40),
    most=st.integers(150, 400),
)
@pytest.mark.long
def test_chunks_are_exact_to_the_byte(via: Any, size: Any, cities: list[str], most: int) -> None:
    """No body is larger than it may be, none has room for the next row, and a row that fits into none is refused by
    its number.
    """
    rows = [{"email": f"u{number}@example.org", "city": f"x{city}x"} for number, city in enumerate(cities, 1)]
    small = [row for row in rows if size([row]) <= most]

    async def run() -> tuple[mjbulk.Report, list[int]]:
        async with Emulator() as emulator:
            emulator.create_property("city")
            limits = mjbulk.Settings(api_url=emulator.url, chunk_bytes=most, concurrency=1, max_jobs=1)
            async with mjbulk.Client(KEYS, limits) as client:
                report = balanced(await client.import_contacts(rows, lists=ADD, via=via))
            return report, [call.size for call in emulator.calls if call.route == CALLS[via] and call.size]

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        report, sizes = runner.run(run())
    assert rejected(report) == [number for number, row in enumerate(rows, 1) if row not in small]
    expected = list[list[dict[str, Any]]]()
    for row in small:
        if expected and size([*expected[-1], row]) <= most:
            expected[-1].append(row)
        else:
            expected.append([row])
    assert sizes == list(map(size, expected))


@VIAS
@pytest.mark.parametrize("status", [400, 413])
@pytest.mark.parametrize(("row", "concurrency"), [(1, 8), (1, 1), (777, 8), (1000, 8), (10_000, 8)])
async def test_one_poison_row_costs_itself_and_few_requests(
    world: World, via: Any, status: int, row: int, concurrency: int
) -> None:
    """9,999 of 10,000 rows get through, in at most 2 log2 n more requests than without it; the sizes of chunks stay."""
    world.emulator.poison(f"u{row:05}@example.org", status)
    async with world.client(chunk_rows=1000, concurrency=concurrency) as client:
        report = balanced(await client.import_contacts(people(10_000), lists=ADD, via=via))
    assert (report.accepted, rejected(report)) == (9_999, [row])
    assert world.posts(CALLS[via]) <= 10 + 2 * ceil(log2(1000))


@VIAS
@pytest.mark.parametrize("status", [400, 413])
async def test_many_poison_rows_cost_themselves(world: World, via: Any, status: int) -> None:
    """Alone, side by side, in one chunk and in several: each is rejected by its number, and all others get through."""
    poison = [1, 2, 3, 4, 5, 6, 7, 500, 512, 513, 1999, *range(2100, 2115), 2500]
    for row in poison:
        world.emulator.poison(f"u{row:05}@example.org", status)
    async with world.client(chunk_rows=700) as client:
        report = balanced(await client.import_contacts(people(2500), lists=ADD, via=via))
    assert (report.accepted, rejected(report)) == (2500 - len(poison), poison)


@VIAS
@pytest.mark.parametrize("answer", ["413", "reset"])
async def test_bodies_that_are_too_large_are_halved_and_the_size_is_kept(world: World, via: Any, answer: Any) -> None:
    """A 413, or a reset that a half survives, teaches the size: after the first chunks nothing is too large."""
    async with world.turned(max_body=40_000, max_body_answer=answer) as other:
        other.emulator.create_property("city", "str")
        async with other.client(chunk_rows=50_000, chunk_bytes=100_000, max_jobs=2) as client:
            report = balanced(await client.import_contacts(people(20_000, city="x" * 50), lists=ADD, via=via))
        calls = [call for call in other.emulator.calls if call.route == CALLS[via]]
    assert report.ok
    taken = [call.size for call in calls if call.status in (200, 201)]
    wasted = [call for call in calls if call.status not in (200, 201)]
    assert max(taken) <= 40_000
    assert 0 < len(wasted) <= 20
    assert all(call.status in (200, 201) for call in calls[len(calls) // 2 :])


@VIAS
async def test_large_bodies_are_retried_and_halved(world: World, via: Any) -> None:
    """A body that is not kept in memory goes out whole where Mailjet is busy, and in halves where it refuses."""
    world.emulator.create_property("city", "str")
    world.emulator.fault(CALLS[via], Fault.answer(429))
    world.emulator.poison("u00777@example.org", 400)
    async with world.client(chunk_rows=5000) as client:
        report = balanced(await client.import_contacts(people(3000, city="x" * 150), lists=ADD, via=via))
    assert max(call.size for call in world.emulator.calls) > 450_000
    assert (report.accepted, rejected(report)) == (2999, [777])


async def test_too_many_rows_in_one_body(world: World) -> None:
    """A limit of rows shows as a reset as well: halves of a third of the rows get through, and the next chunks fit."""
    async with world.turned(max_rows=300) as other, other.client(max_jobs=1) as client:
        assert balanced(await client.import_contacts(people(10_000), lists=ADD)).ok
        sizes = [len(job.outcomes) for job in other.emulator.jobs.values()]
    assert max(sizes) <= 300
    assert len(sizes) < 60


async def test_a_size_is_not_learned_from_a_400(world: World) -> None:
    """After a poison row the chunks are as large as before, also those that were not yet read."""
    world.emulator.poison("u00003@example.org", 400)

    async def pieces() -> AsyncIterator[bytes]:
        lines = ["email\n", *(f"{row['email']}\n" for row in people(1000))]
        for start in range(0, len(lines), 100):
            yield "".join(lines[start : start + 100]).encode()

    async with world.client(chunk_rows=100, concurrency=1, max_jobs=1) as client:
        report = balanced(await client.import_contacts(mjbulk.csv_source(pieces()), lists=ADD))
    assert report.accepted == 999
    sizes = [len(job.outcomes) for job in world.emulator.jobs.values()]
    assert sizes.count(100) == 9


@VIAS
async def test_a_row_that_is_too_large_alone_is_refused_by_its_number(world: World, via: Any) -> None:
    """Mailjet takes less than a chunk may have: the row is rejected where that is said, and unknown where its
    connection is reset.
    """
    rows = people(50, city="Graz")
    rows[20]["city"] = "x" * 30_000
    for answer, counts in (("413", (1, 0)), ("reset", (0, 1))):
        async with world.turned(max_body=20_000, max_body_answer=answer) as other:
            other.emulator.create_property("city", "str")
            async with other.client() as client:
                report = balanced(await client.import_contacts(rows, lists=ADD, via=via))
        assert (report.accepted, report.rejected, report.unknown) == (49, *counts)
        assert rejected(report) == ([21] if answer == "413" else [])
        if answer == "reset" and via == "json":
            assert [why.rows for why in report.unsettled] == [(range(21, 22),)]


@VIAS
async def test_a_row_that_was_given_up_does_not_undo_a_later_one(world: World, via: Any, tmp_path: Path) -> None:
    """Its connection is reset, and a later row of its person goes out: the books say so, and no resume sends it."""
    rows = [*people(3), {"email": "a@example.org", "city": "x" * 30_000}, *people(8)[4:]]
    rows += [{"email": "a@example.org", "city": "Graz"}]
    async with Emulator(Knobs(max_body=20_000)) as emulator:
        emulator.create_property("city", "str")
        settings = mjbulk.Settings(api_url=emulator.url, chunk_rows=4)
        async with mjbulk.Client(KEYS, settings, journal=tmp_path / "j.db") as client:
            source = [{"city": None, **row} for row in rows]
            report = balanced(await client.import_contacts(source, lists=ADD, via=via, run_id="r"))
            assert (report.accepted, report.unknown, report.not_sent) == (8, 1, 0)
            info = await client.get_run("r")
            assert (info.accepted, info.unknown, info.not_sent, info.state) == (8, 1, 0, "settled")
            emulator.knobs = Knobs()
            again = balanced(await client.import_contacts(source, lists=ADD, via=via, run_id="r"))
        assert (again.accepted, again.unknown) == (8, 1)
        assert emulator.contacts["a@example.org"].properties == {"city": "Graz"}


@pytest.mark.parametrize(("action", "how"), [("addforce", {}), ("addnoforce", {"resend": "never"})])
async def test_a_reset_is_not_tried_again_where_twice_may_do_harm(world: World, action: Any, how: Any) -> None:
    """It is not known whether a body that was reset was read: its rows are unknown, and it is sent once."""
    async with world.turned(max_body=30_000) as other, other.client() as client:
        report = balanced(await client.import_contacts(people(1200), lists={1: action}, **how))
        assert (report.unknown, report.accepted) == (1000, 200)
        assert other.posts() == 2


async def test_a_short_outage_halves_nothing(world: World) -> None:
    """Bodies of a size that went through before are retried whole, however often they are reset."""
    world.emulator.fault("POST contact/managemanycontacts", Fault.drop_before(reset=True), times=5, after=3)
    async with world.client(concurrency=1, max_jobs=1) as client:
        report = balanced(await client.import_contacts(people(6000), lists=ADD))
    assert (report.ok, len(report.jobs)) == (True, 6)


async def test_an_outage_at_the_beginning_heals(world: World) -> None:
    """Halves that were made for nothing are few, and chunks are as large as they were soon after."""
    world.emulator.fault("POST contact/managemanycontacts", Fault.drop_before(reset=True), times=9)
    async with world.client(concurrency=1, max_jobs=1) as client:
        report = balanced(await client.import_contacts(people(20_000), lists=ADD))
    assert report.ok
    assert len(report.jobs) <= 20 + 2 * 4


async def test_an_outage_that_does_not_end_halts_the_run(world: World) -> None:
    """Where everything is reset, nothing says that size is the reason: the run halts after a bounded number of
    requests.
    """
    world.emulator.fault("POST contact/managemanycontacts", Fault.drop_before(reset=True), times=None)
    async with world.client(concurrency=1, max_jobs=1) as client:
        with pytest.raises(mjbulk.ImportHalted) as caught:
            await client.import_contacts(people(5000), lists=ADD)
    assert isinstance(caught.value.__cause__, mjbulk.NoAnswer)
    assert balanced(caught.value.report).accepted == 0
    assert world.posts() <= 2 * (6 * 3 + 10)


async def test_a_row_that_is_reset_from_the_beginning_halts_the_run(world: World) -> None:
    """A large row alone, and nothing that went through: that is an outage as well."""
    world.emulator.fault("POST contact/managemanycontacts", Fault.drop_before(reset=True), times=None)
    async with world.client() as client:
        with pytest.raises(mjbulk.ImportHalted):
            await client.import_contacts(people(1, city="x" * 5000), lists=ADD)
    assert world.posts() <= 10


async def test_a_row_that_is_refused_after_a_lost_answer_is_rejected_where_its_neighbours_are_taken(
    world: World,
) -> None:
    """It was in the body whose answer was lost, and a body with it in is refused as a whole: that was not applied."""
    world.emulator.poison("u00003@example.org", 400)
    world.emulator.fault("POST contact/managemanycontacts", Fault.drop_before(reset=True))
    async with world.client() as client:
        report = balanced(await client.import_contacts(people(8), lists=ADD))
    assert (report.accepted, rejected(report)) == (7, [3])
    assert report.complete


@pytest.mark.parametrize("chunk_rows", [1, 8])
async def test_rows_that_are_refused_after_a_lost_answer_are_unknown_where_none_is_taken(
    world: World, chunk_rows: int
) -> None:
    """The refusal may be about something else than the rows, and they may have been applied before."""
    world.emulator.poison("example.org", 400)
    world.emulator.fault("POST contact/managemanycontacts", Fault.drop_before(reset=True))
    async with world.client(chunk_rows=chunk_rows, concurrency=1) as client:
        report = balanced(await client.import_contacts(people(8), lists=ADD))
    assert (report.accepted, report.rejected, report.unknown) == (0, 8 - chunk_rows, chunk_rows)
    assert {row for why in report.unsettled for rows in why.rows for row in rows} == set(range(1, chunk_rows + 1))
    assert all("lost" in why.cause for why in report.unsettled)


async def test_poison_rows_that_follow_each_other_halt_no_run(world: World) -> None:
    """Each of them is found, and all others get through."""
    for row in people(90):
        world.emulator.poison(row["email"])
    async with world.client() as client:
        report = balanced(await client.import_contacts(people(3000), lists=ADD))
    assert (report.accepted, rejected(report)) == (2910, list(range(1, 91)))


@pytest.mark.parametrize("last", [False, True])
async def test_a_row_whose_own_answer_was_lost_is_rejected_where_one_after_it_is_taken(
    world: World, *, last: bool
) -> None:
    """Its refusal may be about what it did itself: an account that is full since. Not where the next row is taken."""
    rows = people(4)
    poisoned = rows[3 if last else 2]["email"]
    world.emulator.poison(poisoned, 400)
    # The whole is refused, a half of it taken, the other half refused; then rows go alone.
    world.emulator.fault("POST contact/managemanycontacts", Fault.drop_before(reset=True), after=4 if last else 3)
    async with world.client() as client:
        report = balanced(await client.import_contacts(rows, lists=ADD))
    assert (report.accepted, report.rejected, report.unknown) == ((3, 0, 1) if last else (3, 1, 0))


async def test_what_an_account_has_no_room_for_since_may_have_been_applied(world: World) -> None:
    """A row fills the account, its answer is lost, and its retry is refused: it is there."""
    async with world.turned(contact_limit=3, queue_seconds=0.0, prepare_seconds=0.0, import_seconds=0.0) as other:
        other.emulator.poison("u00004@example.org")
        other.emulator.fault("POST contact/managemanycontacts", Fault.drop_after(), after=3)
        async with other.client(concurrency=1) as client:
            report = balanced(await client.import_contacts(people(4), lists=ADD))
        assert "u00003@example.org" in other.emulator.contacts
    assert (report.accepted, rejected(report), report.unknown) == (2, [4], 1)


async def test_candidates_of_an_error_are_rows_of_the_source(world: World) -> None:
    """An error of a halved chunk that may mean two rows names both by their numbers; its job's rows are unknown, and
    the others are not.
    """
    world.emulator.poison("u00003@example.org", 400)
    world.emulator.reject("u00007@example.org", "No")
    said = b'[{"Error": "u00006@example.org or u00007@example.org"}]'
    world.emulator.fault("batchjob/jsonerror", Fault.edited(lambda _: said), times=None)
    async with world.client() as client:
        report = balanced(await client.import_contacts(people(8), lists=ADD))
    (ambiguous,) = [rejection for rejection in report.rejections if rejection.match == "ambiguous"]
    assert (ambiguous.row, list(ambiguous.candidates)) == (None, [6, 7])
    assert (report.accepted, report.rejected, report.unknown) == (3, 1, 4)
    assert [why.rows for why in report.unsettled] == [(range(5, 9),)]
