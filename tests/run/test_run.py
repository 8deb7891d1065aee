"""What users hold of a run: whether it was refused, what is rejected so far, and its snapshots."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support import KEYS, World

import mjbulk
from mjbulk.rows.iterables import BATCH
from mjbulk.testing import Emulator, Fault, Knobs

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
POST = "POST contact/managemanycontacts"


def people(*numbers: int) -> list[dict[str, Any]]:
    return [{"email": f"p{number}@example.org"} for number in numbers]


# Whether it was refused


@pytest.mark.parametrize(
    ("rows", "lists", "why"),
    [
        ([{"name": "Ann"}], {1: "addnoforce"}, "no column .email."),
        ([{"email": "a@example.org", "shoe": 42}], {1: "addnoforce"}, "shoe"),
        (people(1), {99: "addnoforce"}, "99"),
    ],
)
async def test_a_run_that_is_refused_says_so_before_it_sends(world: World, rows: Any, lists: Any, why: str) -> None:
    """Also later, and to everybody who asks."""
    async with world.client() as client:
        run = client.start_import(rows, lists=lists)
        for _ in range(2):
            with pytest.raises(mjbulk.UsageError, match=why):
                await run.started()
    assert world.posts() == 0


async def test_wrong_keys_refuse_a_run(world: World) -> None:
    world.emulator.fault("*", Fault.answer(401, b""), times=None)
    async with world.client() as client:
        with pytest.raises(mjbulk.CredentialsRefused):
            await client.start_import(people(1), lists=ADD).started()


async def test_a_run_has_started_when_its_first_rows_are_good(world: World) -> None:
    """It waits neither for the rest of the source nor for room; its jobs have all their time."""
    more = asyncio.Event()

    async def rows() -> AsyncIterator[Any]:
        for row in people(*range(BATCH)):
            yield row
        await more.wait()

    world.emulator.fault(POST, Fault.delay(after=20), times=None)
    async with world.client(max_jobs=1, chunk_rows=BATCH // 2) as client:
        slow = client.start_import(people(*range(2 * BATCH)), lists=ADD)
        stream = client.start_import(rows(), lists=ADD)
        began = asyncio.get_running_loop().time()
        assert await slow.started() is slow
        assert await stream.started() is stream
        assert asyncio.get_running_loop().time() - began < 1
        assert (slow.report, stream.report, stream.progress.rows) == (None, None, BATCH)
        more.set()
        assert (await stream).ok
        assert await stream.started() is stream


@pytest.mark.parametrize("there", [True, False])
async def test_a_column_that_was_picked_has_to_come(world: World, *, there: bool) -> None:
    """Rows may have some columns each: the first row that has it decides, or the end of the source."""
    more = asyncio.Event()

    async def rows() -> AsyncIterator[Any]:
        for row in people(*range(BATCH)):
            yield row
        await more.wait()
        yield {"email": "bob@example.org", **({"city": "Graz"} if there else {})}

    async with world.client(chunk_rows=2 * BATCH) as client:
        run = client.start_import(rows(), lists=ADD, columns=["email", "city"])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run.started(), 5)
        assert run.progress.rows == BATCH
        more.set()
        if there:
            assert await run.started() is run
        else:
            with pytest.raises(mjbulk.UsageError, match="city"):
                await run.started()


async def test_a_run_that_stops_before_its_rows_were_judged_has_not_started(world: World) -> None:
    """And one that was stopped later has."""
    async with world.client() as client:
        run = client.start_import(people(1), lists=ADD)
        waiting = asyncio.create_task(run.started())
        await run.stop()
        with pytest.raises(mjbulk.ImportHalted, match="it was stopped"):
            await waiting
        world.emulator.fault(POST, Fault.delay(after=20))
        run = await client.start_import(people(1), lists=ADD).started()
        await run.stop()
        assert await run.started() is run


async def test_too_many_rejected_rows_are_no_refusal(world: World) -> None:
    """The first rows were judged; the end of the run tells the rest."""
    async with world.client(chunk_rows=1) as client:
        run = client.start_import([*people(1), {"email": "no address"}], lists=ADD, max_rejected=0)
        assert await run.started() is run
        with pytest.raises(mjbulk.ImportHalted):
            await run


async def test_a_run_that_is_resumed_has_started_without_its_source(world: World, tmp_path: Path) -> None:
    """Also one that has ended, whose report is stored."""
    world.emulator.fault(POST, Fault.delay(after=20), times=None)
    async with mjbulk.Client(KEYS, world.settings(), journal=tmp_path / "j.db") as client:
        run = await client.start_import(people(1), lists=ADD, run_id="r").started()
        await asyncio.sleep(1)
        await run.stop()
        assert (await (await client.resume_import("r").started()).wait()).unknown == 1
        assert (await (await client.resume_import("r", people(1)).started())).accepted == 1
        assert (await (await client.resume_import("r").started())).stored


# What is known of it


async def test_rejections_are_known_while_a_run_goes_on(world: World) -> None:
    """And they can be read when it has ended, as those of its report."""
    world.emulator.fault(POST, Fault.delay(after=20))
    async with world.client() as client:
        run = await client.start_import([*people(1), {"email": "no address"}], lists=ADD).started()
        known = run.rejections
        assert (run.report, [one.row for one in known]) == (None, [2])
        report = await run
    assert run.report is report
    assert list(run.rejections) == list(report.rejections) == list(known)


async def test_updates_come_regularly(world: World) -> None:
    """However fast or slowly the run goes, and the last one at its end."""
    world.emulator.fault(POST, Fault.delay(after=10.25))
    async with world.client() as client:
        run = client.start_import(people(1, 2), lists=ADD)
        loop = asyncio.get_running_loop()
        began = loop.time()
        seen = [(loop.time() - began, progress) async for progress in run.updates(every=2)]
        assert [progress async for progress in run.updates()] == [run.progress]
    assert [round(time, 3) for time, _ in seen[:-1]] == [2.0 * n for n in range(len(seen) - 1)]
    assert len(seen) > 6
    (last, progress) = seen[-1]
    assert last == pytest.approx(loop.time() - began)
    assert (progress, progress.accepted) == (run.progress, 2)


async def test_updates_that_nobody_takes_stop_nothing(world: World) -> None:
    """A reader that comes late, or is cancelled, costs the run nothing; an impossible pause is refused."""
    async with world.client() as client:
        run = client.start_import(people(1), lists=ADD)
        updates = run.updates()
        first = await anext(updates)
        reading = asyncio.ensure_future(anext(updates))
        await asyncio.sleep(0.1)
        reading.cancel()
        assert first.accepted == 0
        assert (await run).ok
        for wrong in (0, -1, True, float("nan")):
            with pytest.raises(mjbulk.UsageError, match="every="):
                run.updates(every=wrong)


# What it waits for


async def waiting_for(run: mjbulk.ImportRun, seconds: float) -> str | None:
    """What a run waits for after some seconds; its snapshots have no address."""
    await asyncio.sleep(seconds)
    said = run.progress.waiting_for
    assert "@" not in (said or "")
    return said


async def test_a_run_says_what_it_waits_for() -> None:
    """The source, a place among unfinished jobs, and its jobs; nothing while something moves, or at the end."""
    more = asyncio.Event()

    async def rows() -> AsyncIterator[Any]:
        for row in people(*range(2 * BATCH)):
            yield row
        await more.wait()

    async with Emulator(Knobs(queue_seconds=30.0)) as emulator, World(emulator).client(chunk_rows=BATCH) as client:
        run = client.start_import(rows(), lists=ADD)
        assert await waiting_for(run, 0.5) is None
        assert await waiting_for(run, 10) == "it waits for its source"
        more.set()
        assert await waiting_for(run, 0.5) is None
        assert await waiting_for(run, 10) == "it waits for the end of its jobs"
        assert (await run).ok
        assert run.progress.waiting_for is None


async def test_a_run_says_that_its_key_has_no_room() -> None:
    """Its own jobs, or those of other runs, have taken all of it."""
    settings = {"max_jobs": 1, "chunk_rows": BATCH}
    async with Emulator(Knobs(queue_seconds=30.0)) as emulator, World(emulator).client(**settings) as client:
        for run in [client.start_import(people(*range(3 * BATCH)), lists=ADD) for _ in range(2)]:
            assert "max_jobs" in str(await waiting_for(run, 5))


async def test_a_run_says_that_its_people_are_in_flight() -> None:
    async with Emulator(Knobs(queue_seconds=30.0)) as emulator, World(emulator).client(chunk_rows=1) as client:
        run = client.start_import([*people(1, 2, 1)], lists=ADD)
        assert await waiting_for(run, 10) == "it waits for jobs with earlier rows of the same people"
        assert (await run).ok


async def test_a_run_says_what_is_wrong_with_its_requests(world: World) -> None:
    """What its answers are, or that they are lost."""
    world.emulator.fault(POST, Fault.answer(429, headers={"Retry-After": "30"}))
    world.emulator.fault(POST, Fault.drop_before())
    async with world.client() as client:
        run = client.start_import(people(1), lists=ADD)
        assert "429 (too many requests)" in str(await waiting_for(run, 20))
        world.emulator.fault("*", Fault.drop_before())
        assert str(await waiting_for(run, 15)).startswith("requests wait: answers are lost (")
        assert (await run).ok


# Whether jobs alone are under way


async def first_wait(run: mjbulk.ImportRun) -> tuple[float, int] | None:
    """Give when a run waits for jobs alone for the first time, in seconds, and how many rows are held; None: never."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async for progress in run.updates(every=0.05):
        if run.waits_for_jobs:
            return loop.time() - began, progress.held
    return None


async def test_a_run_waits_for_jobs_alone_when_all_is_sent() -> None:
    """A source that is not at its end, a request under way, a full key: then there is more to do."""
    more = asyncio.Event()

    async def rows() -> AsyncIterator[Any]:
        for row in people(*range(BATCH)):
            yield row
        await more.wait()

    async with Emulator(Knobs(queue_seconds=60.0)) as emulator:
        emulator.fault(POST, Fault.delay(after=5), times=None)
        async with World(emulator).client(chunk_rows=BATCH) as client:
            run = client.start_import(rows(), lists=ADD)
            await asyncio.sleep(20)
            assert not run.waits_for_jobs
            more.set()
            assert await first_wait(run) is not None
            run = client.start_import(people(*range(BATCH)), lists=ADD)
            assert 5 <= (await first_wait(run) or (9, 9))[0] < 7  # it was looked at once
        async with World(emulator).client(max_jobs=1, chunk_rows=BATCH) as client:
            run = client.start_import(people(*range(BATCH + 1)), lists=ADD)
            assert 60 < (await first_wait(run) or (9, 9))[0] < 90


async def test_a_run_that_goes_on_waits_for_jobs_that_have_not_ended(tmp_path: Path) -> None:
    """It looks at each before it says so; a row that was held is sent, and waits for a job of its own."""
    rows, journal = people(*range(25), 0), tmp_path / "imports.db"
    async with Emulator(Knobs(queue_seconds=30.0)) as emulator:
        held = []
        for seconds in (0, 0, 60, 60):
            await asyncio.sleep(seconds)
            settings = World(emulator).settings(chunk_rows=10)
            async with mjbulk.Client(KEYS, settings, journal=journal) as client:
                run = client.start_import(rows, lists=ADD, run_id="r")
                wait = await first_wait(run)
                held.append(wait and wait[1])
                report = await run.stop()
        assert held == [1, 1, 0, None]
        assert (report.accepted, report.complete, emulator.count(POST)) == (26, True, 4)


async def test_a_second_look_is_more_than_a_wait() -> None:
    """A job that has ended is not waited for, while its error file or its counts come late."""
    async with Emulator(Knobs(queue_seconds=1.0, count_lag=20.0)) as emulator, World(emulator).client() as client:
        run = client.start_import(people(1), lists=ADD)
        assert await first_wait(run) is not None
        await asyncio.sleep(15)
        assert not run.waits_for_jobs
        assert (await run).ok
        assert not run.waits_for_jobs
