"""People who recur: their rows wait and nobody else's do, and the last row of each of them wins."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from support import KEYS, World, balanced

import mjbulk
from mjbulk.testing import Emulator, Fault, Knobs

CHUNKS, CHUNK = 40, 100
JOB = 0.8
"""Seconds that a job takes."""
POST = "POST contact/managemanycontacts"
ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
VIAS = pytest.mark.parametrize("via", ["json", "csv"])
Row = dict[str, Any]


def distinct(rows: int = CHUNKS * CHUNK) -> list[Row]:
    """Rows in which nobody recurs."""
    return [{"email": f"u{n}@example.org", "age": n} for n in range(1, rows + 1)]


def one_in_every_chunk() -> list[Row]:
    """Somebody has a row in each chunk."""
    return [{**row, "email": "hot@example.org"} if row["age"] % CHUNK == 50 else row for row in distinct()]


def a_hundred_in_every_fifth_row() -> list[Row]:
    """Each fifth row is of one of a hundred people."""
    rows = distinct()
    return [row if row["age"] % 5 else {**row, "email": f"hot{row['age'] // 5 % 100}@example.org"} for row in rows]


def every_second_row() -> list[Row]:
    """Half of all rows are of one person."""
    return [{**row, "email": "hot@example.org"} if row["age"] % 2 else row for row in distinct()]


def three_in_ten() -> list[Row]:
    """Three rows in ten are of somebody who was there before."""
    chance, rows = random.Random(1), distinct()
    for n in range(1, len(rows)):
        if chance.random() < 0.3:
            rows[n]["email"] = rows[chance.randrange(n)]["email"]
    return rows


KINDS = pytest.mark.parametrize("rows_of", [one_in_every_chunk, a_hundred_in_every_fifth_row])


async def pieces(rows: Sequence[Row], at_once: int = 40) -> AsyncIterator[bytes]:
    """Give rows as a file that comes bit by bit."""
    yield b"email,age\n"
    for start in range(0, len(rows), at_once):
        yield "".join(f"{row['email']},{row['age']}\n" for row in rows[start : start + at_once]).encode()


@frozen
class Took:
    """What came of an import."""

    seconds: float
    report: mjbulk.Report
    emulator: Emulator

    def ages(self) -> dict[str, int]:
        """What people ended with."""
        return {who: contact.properties["age"] for who, contact in self.emulator.contacts.items()}


async def imported(rows: Sequence[Row], via: Any, **limits: Any) -> Took:
    """Import rows as a file in pieces, with jobs that take their time."""
    loop = asyncio.get_running_loop()
    async with Emulator(Knobs(queue_seconds=0.0, prepare_seconds=0.0, import_seconds=JOB)) as emulator:
        emulator.create_property("age", "int")
        settings = mjbulk.Settings(api_url=emulator.url, chunk_rows=CHUNK, **limits)
        async with mjbulk.Client(KEYS, settings) as client:
            began = loop.time()
            report = await client.import_contacts(mjbulk.csv_source(pieces(rows)), lists=ADD, via=via)
            return Took(loop.time() - began, balanced(report), emulator)


def last_of(rows: Sequence[Row]) -> dict[str, int]:
    """The last row of each person."""
    return {row["email"]: row["age"] for row in rows}


def nobody_is_in_two_jobs(emulator: Emulator) -> None:
    """Jobs that share a person do not overlap, and come in the order of that person's rows."""
    ends: dict[str, float] = {}
    for job in emulator.jobs.values():
        body = (job.body or b"").decode().splitlines()[1:]
        people = [row["Email"] for row in job.rows] or [line.split(",")[0] for line in body]
        assert all(ends.get(who, 0.0) <= job.posted for who in people)
        ends.update(dict.fromkeys(people, job.ends))


@VIAS
@KINDS
@pytest.mark.parametrize("limits", [{}, {"max_jobs": 8}], ids=["all jobs at once", "eight jobs at once"])
async def test_people_who_recur_cost_a_job_and_a_look(
    rows_of: Callable[[], list[Row]], via: Any, limits: dict[str, Any]
) -> None:
    """In all, and not one for each chunk: everybody else goes at once. The last row of a person wins."""
    rows = rows_of()
    job_and_look = (await imported(distinct(1), via)).seconds
    without = await imported(distinct(), via, **limits)
    took = await imported(rows, via, **limits)
    assert JOB < job_and_look < 2 * JOB
    assert took.seconds <= without.seconds + 1.25 * job_and_look
    assert took.ages() == last_of(rows)
    assert (took.report.accepted + took.report.superseded, took.report.complete) == (len(rows), True)
    assert len(took.report.jobs) <= CHUNKS + 1
    nobody_is_in_two_jobs(took.emulator)


@VIAS
@pytest.mark.parametrize(
    ("limits", "at_once"),
    [({"max_rows": 2 * CHUNK}, 2), ({"max_rows": 1}, 1), ({"max_jobs": 2}, 2), ({"max_jobs": 1}, 1), ({}, 256)],
)
async def test_two_runs_of_one_key_at_the_bound(via: Any, limits: dict[str, Any], at_once: int) -> None:
    """Held rows take no place of jobs: as many jobs are under way as there may be, until the last of both runs."""
    sources = [[{**row, "email": f"{n}-{row['email']}"} for row in rows] for n, rows in enumerate(_two())]
    loop = asyncio.get_running_loop()
    async with Emulator(Knobs(queue_seconds=0.0, prepare_seconds=0.0, import_seconds=JOB)) as emulator:
        emulator.create_property("age", "int")
        settings = mjbulk.Settings(api_url=emulator.url, chunk_rows=CHUNK, **limits)
        async with mjbulk.Client(KEYS, settings) as client, asyncio.timeout(1000):
            began = loop.time()
            calls = (client.import_contacts(mjbulk.csv_source(pieces(rows)), lists=ADD, via=via) for rows in sources)
            reports = await asyncio.gather(*calls)
            seconds = loop.time() - began
    assert seconds <= sum(len(report.jobs) for report in reports) / at_once * 1.25 * JOB + 3
    for rows, report in zip(sources, reports, strict=True):
        assert (balanced(report).accepted + report.superseded, report.complete) == (len(rows), True)
    ages = {who: contact.properties["age"] for who, contact in emulator.contacts.items()}
    assert ages == last_of(sources[0]) | last_of(sources[1])
    nobody_is_in_two_jobs(emulator)


def _two() -> Sequence[list[Row]]:
    return three_in_ten(), every_second_row()


@VIAS
async def test_a_source_waits_where_too_much_is_held(via: Any) -> None:
    """Rows in flight and entries that are held are bounded together; then the source waits, and nothing else."""
    most, read = 0, 0
    rows = three_in_ten()

    async def counted() -> AsyncIterator[bytes]:
        nonlocal read
        async for piece in pieces(rows, 250):  # smaller ones are joined
            yield piece
            read += piece.count(b"\n")

    async with Emulator(Knobs(queue_seconds=0.0, prepare_seconds=0.0, import_seconds=JOB)) as emulator:
        emulator.create_property("age", "int")
        settings = mjbulk.Settings(api_url=emulator.url, chunk_rows=CHUNK, max_rows=5 * CHUNK)
        async with mjbulk.Client(KEYS, settings) as client:
            run = client.start_import(mjbulk.csv_source(counted()), lists=ADD, via=via)
            async for progress in run:
                settled = progress.accepted + progress.superseded
                most = max(most, read - settled)
            assert (await run).complete
    assert most <= (5 + 3) * CHUNK


# What held rows wait for, and what becomes of them


async def halting(rows: Sequence[Row], emulator: Emulator, **how: Any) -> mjbulk.Report:
    """Import rows in chunks of two, and give the report also where the run stops early."""
    settings = mjbulk.Settings(api_url=emulator.url, chunk_rows=2, attempts=2)
    async with mjbulk.Client(KEYS, settings, journal=how.pop("journal", None)) as client, asyncio.timeout(1000):
        return balanced(await client.start_import(rows, **{"lists": ADD, **how}).wait())


def named(*names: str) -> list[Row]:
    """A row for each name."""
    return [{"email": f"{name}@example.org", "age": n} for n, name in enumerate(names, 1)]


@VIAS
async def test_rows_that_became_one_entry_are_rejected_together(world: World, via: Any) -> None:
    """Each of them by its number, with its data: none of them was applied."""
    world.emulator.reject("hot@example.org", "Invalid email")
    rows = named("hot", "a", "hot", "hot", "b", "c", "hot", "d")
    report = await halting(rows, world.emulator, via=via)
    assert {rejection.row: rejection.data for rejection in report.rejections} == {n: rows[n - 1] for n in (1, 3, 4, 7)}
    assert (report.accepted, report.superseded) == (4, 0)


@VIAS
async def test_rows_wait_for_the_whole_of_a_halved_chunk(world: World, via: Any) -> None:
    """Also when the job of the other half has ended."""
    world.emulator.knobs = Knobs(
        queue_seconds=0.0, import_seconds=lambda job: 60.0 if b"slow" in (job.body or b"") else 1.0
    )
    world.emulator.fault({"json": POST, "csv": "POST contactslist/csvdata"}[via], Fault.answer(413))
    report = await halting(named("quick", "slow", "a", "slow", "b"), world.emulator, via=via)
    assert (report.accepted, len(report.jobs)) == (5, 4)
    assert world.emulator.contacts["slow@example.org"].properties["age"] == 4
    nobody_is_in_two_jobs(world.emulator)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_chunk_that_is_left_in_doubt_holds_nobody(world: World, tmp_path: Path, *, kept: bool) -> None:
    """No event will ever come of it: a later row of its people goes, and wins."""
    world.emulator.fault(POST, Fault.drop_before())
    journal = str(tmp_path / "journal.db") if kept else None
    report = await halting(named("hot", "a", "b", "hot"), world.emulator, lists={1: "addforce"}, journal=journal)
    assert [list(some) for why in report.unsettled for some in why.rows] == [[1, 2]]
    assert (report.accepted, world.emulator.contacts["hot@example.org"].properties["age"]) == (2, 4)


@VIAS
async def test_nothing_that_is_held_goes_after_too_many_rejections(world: World, via: Any) -> None:
    """Jobs that were under way end, and what waited for them was not sent."""
    world.emulator.reject("bad@example.org", "Invalid email")
    rows = named("bad", "hot", "a", "b", "hot", "c", "bad", "d")
    report = await halting(rows, world.emulator, via=via, max_rejected=0)
    assert (report.accepted, report.rejected, report.not_sent) == (5, 1, 2)
    assert sorted(row for why in report.unsettled for some in why.rows for row in some) == [5, 7]
    assert world.emulator.contacts["hot@example.org"].properties["age"] == 2


@VIAS
async def test_bounds_do_not_hold_while_chunks_are_found_again(world: World, via: Any, tmp_path: Path) -> None:
    """Nothing may be sent before all are found: so nothing would end for which the source could wait."""
    world.emulator.knobs = Knobs(queue_seconds=60.0)
    world.emulator.fault({"json": POST, "csv": "POST contactslist/csvdata"}[via], Fault.answer(413), after=1)
    world.emulator.fault({"json": POST, "csv": "POST csvimport"}[via], Fault.delay(after=2.0), after=1)
    rows = named("hot", "a", "b", "hot", "c", "d", "e", "f")

    def client(**limits: Any) -> mjbulk.Client:
        settings = world.settings(chunk_rows=2, **limits)
        return mjbulk.Client(KEYS, settings, journal=str(tmp_path / "journal.db"))

    def source() -> Any:
        return mjbulk.csv_source(pieces(rows, at_once=1))

    async with client(max_jobs=2) as first:
        run = first.start_import(source(), lists=ADD, run_id="r", via=via)
        await asyncio.sleep(1.0)
        stopped = balanced(await run.stop())
        states = [(chunk.number, chunk.state) async for chunk in first.run_chunks("r")]
    assert states == [(1, "watched"), (2, "watched"), (2, "unsent"), (3, "unsent")]
    assert stopped.not_sent == stopped.rows - 3
    async with client(max_rows=1) as second, asyncio.timeout(1000):
        report = balanced(await second.import_contacts(source(), lists=ADD, run_id="r", via=via))
    assert (report.accepted + report.superseded, report.complete) == (8, True)
    assert world.emulator.contacts["hot@example.org"].properties["age"] == 4
