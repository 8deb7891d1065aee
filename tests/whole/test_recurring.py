"""People who recur: their rows wait and nobody else's do, and the last row of each of them wins."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from attrs import frozen
from support import KEYS, balanced

import mjbulk
from mjbulk.testing import Emulator, Knobs

CHUNKS, CHUNK = 40, 100
JOB = 0.8
"""Seconds that a job takes."""
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


async def pieces(rows: Sequence[Row]) -> AsyncIterator[bytes]:
    """Give rows as a file that comes bit by bit."""
    yield b"email,age\n"
    for start in range(0, len(rows), 40):
        yield "".join(f"{row['email']},{row['age']}\n" for row in rows[start : start + 40]).encode()


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
    "limits", [{"max_rows": 2 * CHUNK}, {"max_rows": 1}, {"max_jobs": 2}, {"max_jobs": 1}], ids=str
)
async def test_two_runs_of_one_key_at_the_bound(via: Any, limits: dict[str, Any]) -> None:
    """Held rows take no place of jobs: each run goes on with what can go, and neither waits for the other for ever."""
    sources = [[{**row, "email": f"{name}-{row['email']}"} for row in rows] for name, rows in _two()]
    async with Emulator(Knobs(queue_seconds=0.0, prepare_seconds=0.0, import_seconds=JOB)) as emulator:
        emulator.create_property("age", "int")
        settings = mjbulk.Settings(api_url=emulator.url, chunk_rows=CHUNK, **limits)
        async with mjbulk.Client(KEYS, settings) as client, asyncio.timeout(4 * CHUNKS * JOB):
            calls = (client.import_contacts(mjbulk.csv_source(pieces(rows)), lists=ADD, via=via) for rows in sources)
            reports = await asyncio.gather(*calls)
    for rows, report in zip(sources, reports, strict=True):
        assert (balanced(report).accepted + report.superseded, report.complete) == (len(rows), True)
    ages = {who: contact.properties["age"] for who, contact in emulator.contacts.items()}
    assert ages == last_of(sources[0]) | last_of(sources[1])
    nobody_is_in_two_jobs(emulator)


def _two() -> Sequence[tuple[str, list[Row]]]:
    return [("a", three_in_ten()), ("b", every_second_row())]


@VIAS
async def test_a_source_waits_where_too_much_is_held(via: Any) -> None:
    """Rows in flight and entries that are held are bounded together; then the source waits, and nothing else."""
    most, read = 0, 0
    rows = three_in_ten()

    async def counted() -> AsyncIterator[bytes]:
        nonlocal read
        async for piece in pieces(rows):
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
