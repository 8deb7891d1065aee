"""Outages that people are added through by force: how many chunks are in doubt afterwards, and that the rest goes on.

``MJBULK_TEST_SEEDS=200`` tries more of them, and ``python tests/outages.py`` does it to processes.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import outages
import pytest
from support import KEYS, World, balanced

import mjbulk
from mjbulk.testing import Emulator, Fault

pytestmark = pytest.mark.long

SEEDS = int(os.environ.get("MJBULK_TEST_SEEDS", "12"))
FORCE: Any = {1: "addforce"}
CHUNK, CONCURRENCY = 5, 8
CARRIERS = {"json": "POST contact/managemanycontacts", "csv": "POST csvimport"}


def people(count: int) -> list[dict[str, Any]]:
    return [{"email": f"p{number}@example.org"} for number in range(count)]


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    async with Emulator() as emulator:
        yield World(emulator)


def in_doubt(report: mjbulk.Report) -> int:
    """How many chunks are unknown."""
    assert report.unknown % CHUNK == 0
    return report.unknown // CHUNK


async def imported(world: World, rows: Any, **how: Any) -> mjbulk.Report:
    """Import through a client of its own."""
    said = {name: how.pop(name) for name in ("max_rate", "read_timeout", "give_up_after") if name in how}
    async with world.client(chunk_rows=CHUNK, concurrency=CONCURRENCY, **said) as client:
        return balanced(await client.start_import(rows, **{"lists": FORCE, **how}).wait())


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_one_outage_costs_what_was_under_way(seed: int) -> None:
    """A server answers 503 for a while, to all requests or to some, with the work done or not. One to four clients
    import into it: each has at most as many chunks in doubt as requests under way, and all else is accepted.
    """
    chance = Random(seed)
    clients, share = chance.randint(1, 4), chance.choice([0.3, 0.6, 0.9, 1.0, 1.0])
    begins, lasts = chance.uniform(0.5, 1.5), chance.choice([0.5, 2.0, 5.0, 20.0])

    def happens(_: str, now: float) -> Fault | None:
        hit = begins <= now < begins + lasts and chance.random() < share
        return Fault.answer(503, apply=chance.random() < 0.5) if hit else None

    async with a_world() as world:
        world.weather(happens)
        imports = (imported(world, people(200), max_rate=20.0) for _ in range(clients))
        for report in await asyncio.gather(*imports):
            assert report.halted is None
            assert in_doubt(report) <= CONCURRENCY
            assert report.accepted == 200 - report.unknown


@pytest.mark.parametrize("seed", range(SEEDS // 3))
async def test_nothing_is_unknown_on_the_csv_way(seed: int) -> None:
    """Each import whose answer was lost is found by its DataID, or it is known that there is none."""
    chance = Random(seed)
    share, lasts = chance.choice([0.3, 1.0]), chance.choice([0.5, 5.0, 20.0])

    def happens(_: str, now: float) -> Fault | None:
        hit = 1.0 <= now < 1.0 + lasts and chance.random() < share
        return Fault.answer(503, apply=chance.random() < 0.5) if hit else None

    async with a_world() as world:
        world.weather(happens)
        report = await imported(world, people(200), via="csv", max_rate=20.0, read_timeout=5.0)
    assert (report.halted, report.unknown) == (None, 0)
    assert report.accepted == 200


async def test_answers_that_are_lost_by_chance_stop_nothing_that_may_be_retried() -> None:
    """A fifth of all answers is lost, from the first job on to the end."""
    chance = Random(7)
    async with a_world() as world:
        world.weather(lambda _, now: Fault.answer(502) if now > 1.0 and chance.random() < 0.2 else None)
        report = await imported(world, people(400), lists={1: "addnoforce"}, max_rate=20.0)
    assert (report.halted, report.accepted) == (None, 400)


@pytest.mark.parametrize("seed", range(SEEDS // 3))
async def test_submits_alone_are_lost(seed: int) -> None:
    """A gateway gives up on them, although the work is done, and answers all else: one more chunk for each try."""
    chance = Random(seed)
    share, lasts = chance.choice([0.3, 0.6, 1.0]), chance.choice([0.5, 2.0, 5.0, 20.0])

    def happens(call: str, now: float) -> Fault | None:
        hit = call == CARRIERS["json"] and 1.0 <= now < 1.0 + lasts and chance.random() < share
        return Fault.answer(504, apply=True) if hit else None

    async with a_world() as world:
        world.weather(happens)
        report = await imported(world, people(200), max_rate=20.0)
    assert report.halted is None
    assert in_doubt(report) <= CONCURRENCY + tries_within(lasts)


def tries_within(seconds: float) -> int:
    """How many tries there are in an outage: each wait is twice as long as the one before."""
    return 1 + len([n for n in range(1, 10) if (1 << n) - 1 < 2 * seconds])


@pytest.mark.parametrize("fault", [Fault.drop_after(), Fault.stall(apply=True), Fault.answer(504, apply=True)])
async def test_an_outage_that_lasts_halts_the_import_in_time(world: World, fault: Fault) -> None:
    """In doubt nothing leaves, and ``give_up_after`` counts. What was not sent waits for a resume."""
    world.weather(lambda _, now: fault if now >= 1.0 else None)
    report = await imported(world, people(500), max_rate=20.0, read_timeout=5.0, give_up_after=20.0)
    assert in_doubt(report) - len(report.jobs) <= CONCURRENCY  # jobs that are known are watched by the next process
    assert report.not_sent > 200
    assert "waited for 20 s while the answers to others were lost" in str(report.halted)
    assert report.seconds < 1 + 5 + 20 + 10 + 5


async def test_the_timeout_of_a_run_counts_in_an_outage(world: World) -> None:
    """It ends the wait."""
    world.weather(lambda _, now: Fault.answer(503) if now >= 1.0 else None)
    async with world.client(chunk_rows=CHUNK, concurrency=CONCURRENCY, max_rate=20.0) as client:
        with pytest.raises(mjbulk.ImportTimeout) as raised:
            await client.import_contacts(people(500), lists=FORCE, timeout=30.0)
    report = balanced(raised.value.report)
    assert in_doubt(report) - len(report.jobs) <= CONCURRENCY
    assert 30.0 <= report.seconds < 42.0


async def test_what_was_not_sent_in_an_outage_goes_when_it_is_resumed(world: World, tmp_path: Path) -> None:
    """The second process sends what the first one did not, and nothing twice."""
    over = asyncio.Event()
    world.weather(lambda _, now: Fault.answer(503) if now >= 1.0 and not over.is_set() else None)
    settings = world.settings(chunk_rows=CHUNK, max_rate=20.0, give_up_after=10.0)
    how: Any = {"lists": FORCE, "run_id": "r"}
    async with mjbulk.Client(KEYS, settings, journal=str(tmp_path / "j.db")) as client:
        first = await client.start_import(people(200), **how).wait()
    assert first.not_sent > 0
    over.set()
    async with mjbulk.Client(KEYS, settings, journal=str(tmp_path / "j.db")) as client:
        second = balanced(await client.import_contacts(people(200), **how))
    assert in_doubt(second) <= CONCURRENCY
    assert second.accepted == 200 - second.unknown


@pytest.mark.parametrize(("status", "seconds"), [(503, 45.0), (429, 45.0)])
async def test_a_limiter_that_answers_503_is_obeyed_as_one_that_answers_429(
    world: World, status: int, seconds: float
) -> None:
    """The pace is learned: with five requests a second, of which a server says no to those that come too soon."""
    last = [0.0]

    def happens(_: str, now: float) -> Fault | None:
        if now - last[0] < 0.2:
            return Fault.answer(status)
        last[0] = now
        return None

    world.weather(happens)
    report = await imported(world, people(20 * CHUNK))
    assert (report.halted, report.accepted + report.unknown) == (None, 20 * CHUNK)
    assert in_doubt(report) <= CONCURRENCY + 4
    assert report.seconds < seconds


@pytest.mark.real_time
async def test_a_process_that_is_stopped_loses_no_answer() -> None:
    """It is stopped for longer than it waits for an answer, and meanwhile answers come: nothing is unknown, and no
    chunk goes twice.
    """
    async with Emulator(outages.QUICK) as emulator:
        late = Fault.delay(after=0.3)
        World(emulator).weather(lambda call, _: late if call.startswith("POST") else None)
        process = await outages.begin(emulator.url, "json", "key")
        while emulator.count(CARRIERS["json"]) < 10:  # the emulator counts, and has no event
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(outages.READ_TIMEOUT + 1.5)
        process.send_signal(signal.SIGCONT)
        report = await outages.result_of(process)
    assert (report["accepted"], report["unknown"]) == (outages.ROWS, 0)
    assert emulator.count(CARRIERS["json"]) == outages.ROWS / outages.CHUNK
