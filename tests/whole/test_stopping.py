"""How runs stop: within bounds, with the truth about each row, and without anything left open."""

import asyncio
import gc
import os
import random
import tempfile
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from support import KEYS, World, balanced

import mjbulk
from mjbulk.run import engine
from mjbulk.spill import Memory
from mjbulk.testing import Emulator, Fault, Knobs

ADD: Any = {1: "addnoforce"}
FORCE: Any = {1: "addforce"}


def people(count: int) -> list[dict[str, Any]]:
    return [{"email": f"p{n}@example.org"} for n in range(count)]


def told(report: mjbulk.Report) -> dict[int, str]:
    """Give for each row that is unknown or was not sent why."""
    return {row: why.cause for why in report.unsettled for rows in why.rows for row in rows}


# Faults that are not of a chunk


async def test_no_folder_for_temporary_files_halts_the_run(world: World, tmp_path: Path) -> None:
    """With the cause, and what helps."""
    async with world.client(spool_dir=str(tmp_path / "missing")) as client:
        with pytest.raises(mjbulk.ImportHalted, match="spool_dir") as halted:
            await client.import_contacts(people(10), lists=ADD)
    assert (halted.value.report.not_sent, world.posts()) == (10, 0)


async def test_temporary_files_are_in_the_folder_that_was_said(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and rejections, of a run and of a plan: the system's temporary folder is not needed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    rows = [*people(1_000), *({"email": f"no address {n}"} for n in range(1_500))]
    async with world.client(spool_dir=str(tmp_path)) as client:
        plan = await client.plan_import(rows, lists=ADD)
        report = balanced(await client.import_contacts(rows, lists=ADD))
    assert (report.accepted, report.rejected, len(plan.rejections)) == (1_000, 1_500, 1_500)
    assert list(tmp_path.iterdir()) == []


async def test_an_error_at_the_end_of_a_chunk_halts_the_run(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for ever for a chunk that could not be closed: here its rows cannot be read back any more."""
    monkeypatch.setattr(engine, "Memory", partial(Memory, room=0))
    for n in range(0, 100, 10):
        world.emulator.reject(f"p{n}@example.org", "Invalid email")
    world.emulator.knobs = Knobs(import_seconds=5.0)
    async with world.client(spool_dir=str(tmp_path), chunk_rows=10) as client:
        run = client.start_import([*people(100), *people(100)], lists=ADD)
        async for _ in run:
            if len(world.emulator.jobs) == 10:
                break
        for file in list(Path("/proc/self/fd").iterdir()):
            if file.is_symlink() and str(tmp_path) in str(file.readlink()):
                os.ftruncate(int(file.name), 0)
        with pytest.raises(Exception, match=r".") as failure:
            await run
        report = run.report
    assert not isinstance(failure.value, TimeoutError)
    assert report is not None
    assert balanced(report).unknown > 0
    assert not report.complete


async def test_a_stop_says_of_each_row_what_it_was_doing(world: World) -> None:
    """Jobs of rows that Mailjet has were under way, whatever became of another chunk's request."""
    world.emulator.knobs = Knobs(import_seconds=100.0)
    world.emulator.fault(
        "POST contact/managemanycontacts", Fault.answer(429, headers={"Retry-After": "100000"}), after=2
    )
    async with world.client(chunk_rows=10, concurrency=1) as client:
        with pytest.raises(mjbulk.ImportHalted) as halted:
            await client.import_contacts(people(50), lists=FORCE)
    report = balanced(halted.value.report)
    assert (report.unknown, report.not_sent) == (20, 30)
    causes = told(report)
    assert {causes[row] for row in range(1, 21)} == {"the run stopped while their job was under way"}
    assert all("job was under way" not in causes[row] for row in range(21, 51))


# Within bounds


async def test_a_stop_is_bounded(world: World) -> None:
    """Requests under way, the source and the journal have `stop_within` seconds together."""

    async def rows() -> AsyncIterator[dict[str, Any]]:
        try:
            for row in people(2000):
                yield row
            await asyncio.sleep(1e6)
        finally:
            try:
                await asyncio.sleep(1e6)
            except asyncio.CancelledError:
                await asyncio.sleep(1e6)

    world.emulator.fault("POST contact/managemanycontacts", Fault.stall())
    loop = asyncio.get_running_loop()
    async with world.client(stop_within=3.0, chunk_rows=100) as client:
        run = client.start_import(rows(), lists=FORCE)
        await asyncio.sleep(1)
        began = loop.time()
        report = balanced(await run.stop())
        assert loop.time() - began <= 4.5
    assert report.unknown > 0


# Cancelled anywhere


Cancel = Callable[[Any, float], Any]


async def by_timeout(work: Any, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await work
            await asyncio.sleep(1e6)


async def twice(work: Any, seconds: float) -> None:
    async def whole() -> None:
        await work
        await asyncio.sleep(1e6)

    task = asyncio.create_task(whole())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})


async def by_anyio(work: Any, seconds: float) -> None:
    with anyio.move_on_after(seconds):
        await work
        await asyncio.sleep(1e6)


async def an_import(emulator: Emulator, journal: Path) -> None:
    settings = mjbulk.Settings(api_url=emulator.url, chunk_rows=10, concurrency=2, poll_min=0.01)
    async with mjbulk.Client(KEYS, settings, journal=journal) as client:
        await client.import_contacts(people(100), lists=FORCE, run_id="r")


CANCELLATIONS = int(os.environ.get("MJBULK_CANCELLATIONS", "10"))


@pytest.mark.real_time
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cancel", [by_timeout, twice, by_anyio])
@pytest.mark.long
async def test_a_cancelled_import_leaves_nothing_open(tmp_path: Path, cancel: Cancel) -> None:
    """Wherever it is cancelled: nothing stays open or locked, what never left is not unknown, and the same call goes on
    at once.
    """
    chance = random.Random(cancel.__name__)
    for number in range(CANCELLATIONS):
        journal = tmp_path / f"{number}.db"
        async with Emulator(Knobs(queue_seconds=0.0, prepare_seconds=0.0, import_seconds=0.02)) as emulator:
            with warnings.catch_warnings():
                warnings.simplefilter("error", ResourceWarning)
                await cancel(an_import(emulator, journal), chance.choice((0.002, 0.02, 0.1)) * chance.random() * 2)
                report = await at_once(emulator, journal)
                gc.collect()
            posted = sum(job.total for job in emulator.jobs.values())
            assert report.not_sent == 0
            assert report.accepted + report.unknown == 100
            assert report.unknown <= 20, "at most what was under way may be in doubt"
            assert posted >= report.accepted
        assert not list(tmp_path.glob("*.lock"))


async def at_once(emulator: Emulator, journal: Path) -> mjbulk.Report:
    """Run the import to its end: a host that gives its cleanup no time may have to ask for it again."""
    settings = mjbulk.Settings(api_url=emulator.url, chunk_rows=10, concurrency=2, poll_min=0.01)
    for _ in range(200):
        async with mjbulk.Client(KEYS, settings, journal=journal) as client:
            with suppress(mjbulk.JournalRefused):
                return await client.import_contacts(people(100), lists=FORCE, run_id="r")
        await asyncio.sleep(0.01)
    raise AssertionError("the run was never let go of")
