"""Jobs are polled seldom, and their ends are seen soon: whole clients at the emulator, under a virtual clock."""

import asyncio
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support import KEYS, World, balanced, most_within

import mjbulk
from benchmarks.client_polling import through_client
from mjbulk.testing import Fault, Knobs

pytestmark = pytest.mark.long

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}


def people(count: int) -> list[dict[str, Any]]:
    return [{"email": f"u{number}@example.org"} for number in range(count)]


async def test_a_hundred_jobs_of_twelve_hours(world: World) -> None:
    """Half a day of polling is seconds of work: each job is polled some forty times, and its end is seen soon."""
    began = time.process_time()
    async with world.turned(import_seconds=12 * 3600.0) as other, other.client(poll_max=None) as client:
        watchers = [await client.submit_contacts(people(1000), lists=ADD) for _ in range(100)]
        posted = asyncio.get_running_loop().time()
        await asyncio.gather(*(watcher.wait() for watcher in watchers))
        assert asyncio.get_running_loop().time() - posted < 12.2 * 3600
        assert other.emulator.count("GET contact/managemanycontacts") < 100 * 50
    assert time.process_time() - began < 20


def test_few_looks_find_ends_soon_through_a_real_client() -> None:
    """Jobs of seconds to hours at the emulator: at most 20 polls a job, found ended at most 5 % of its life late."""
    polls, late = through_client(144, seed=1)
    assert polls <= 20
    assert late <= 0.05


async def test_polls_are_no_burst_above_the_quota(world: World) -> None:
    """Jobs that are all resumed at once are polled at the rate that is set, and not faster."""
    async with world.turned(import_seconds=30.0) as other:
        async with other.client() as first:
            refs = [(await first.submit_contacts(people(1), lists=ADD)).ref for _ in range(100)]
        began = other.emulator.now
        async with other.client(max_rate=10.0) as client:
            jobs = await asyncio.gather(*(client.watch(ref).wait() for ref in refs))
        assert all(job.ok for job in jobs)
        times = [call.time for call in other.emulator.calls if call.time > began]
        assert len(times) >= 200
        assert most_within(0.999, times) <= 10


async def test_a_job_that_does_not_move_is_named_and_no_error(world: World) -> None:
    """A queue of three hours: after half an hour the job is in ``stalled``, and its rows are accepted in the end."""
    async with world.turned(queue_seconds=3 * 3600.0) as other, other.client() as client:
        run = client.start_import(people(10), lists=ADD)
        seen = [(asyncio.get_running_loop().time(), progress) async for progress in run]
        report = balanced(await run)
    assert report.ok
    named = [when for when, progress in seen if progress.stalled]
    assert 1800 <= named[0] < 2400
    assert all(progress.stalled == report.jobs for when, progress in seen if named[0] <= when < 3 * 3600)
    assert seen[-1][1].stalled == ()


async def test_progress_shows_jobs_move_and_when_they_will_end(world: World) -> None:
    """Each change of a job is a snapshot; near the middle the end is foretold to a fifth, before any row is settled."""
    async with world.turned(import_seconds=1000.0) as other, other.client() as client:
        run = client.start_import(people(5000), lists=ADD)
        loop = asyncio.get_running_loop()
        seen = [(loop.time(), progress) async for progress in run]
        ended = loop.time()
    assert {"Allocated", "Importing"} <= {status for _, progress in seen for status in progress.jobs}
    middle = [(ended - when, progress) for when, progress in seen if 400 < when < 900]
    assert middle
    for left, progress in middle:
        assert progress.settled == 0
        assert progress.eta == pytest.approx(left, rel=0.2, abs=30)


@pytest.mark.parametrize(("limit", "learned"), [("max_rate", 1 / 3), ("rate_limit", 1 / 2)])
async def test_what_is_left_is_foretold_where_requests_wait(world: World, limit: str, learned: float) -> None:
    """Fifty jobs at twenty requests a second: from one third on to a factor of two, and half a second before the end
    no minutes. Where the limit has to be found out first, from the middle on.
    """
    knobs: dict[str, Any] = {"rate_limit": 20} if limit == "rate_limit" else {}
    said: dict[str, Any] = {"max_rate": 20.0} if limit == "max_rate" else {}
    loop = asyncio.get_running_loop()
    async with world.turned(**knobs) as other, other.client(chunk_rows=10, **said) as client:
        run, seen = client.start_import(people(500), lists=ADD), []
        while not run.task.done():
            await asyncio.wait({run.task}, timeout=0.25)
            seen.append((loop.time(), run.progress))
        ended = loop.time()
        assert balanced(await run).ok
    figures = [(ended - when, progress.eta) for when, progress in seen if when > ended * learned and ended - when > 0.3]
    known = [(left, eta) for left, eta in figures if eta is not None]
    assert len(known) > 0.8 * len(figures)
    assert all(left / 2.2 <= eta <= 2.2 * left for left, eta in known)
    assert seen[-1][1].eta == 0
    assert seen[-1][1].rate == pytest.approx(500 / ended, rel=0.05)


async def test_figures_are_frozen_when_a_run_has_ended(world: World) -> None:
    """However long somebody keeps it."""
    async with world.client() as client:
        run = client.start_import(people(10), lists=ADD)
        await run
        last = run.progress
        await asyncio.sleep(100)
        await client.import_contacts(people(20), lists=ADD)
        assert run.progress == last
    assert (last.eta, last.settled) == (0.0, 10)
    assert last.rate == pytest.approx(10 / run.report.seconds) if run.report else False


async def test_a_resumed_run_counts_its_own_work(world: World, tmp_path: Path) -> None:
    """What an earlier process has settled or rejected is in its books, and no work of this one."""
    rows = [*people(400), {"email": "bad"}, *({"email": f"later{n}@example.org"} for n in range(100))]
    world.emulator.knobs = Knobs(import_seconds=10.0)
    settings, loop = world.settings(chunk_rows=10, max_jobs=30), asyncio.get_running_loop()
    async with mjbulk.Client(KEYS, settings, journal=tmp_path / "a.db") as client:
        first = client.start_import(rows, lists=ADD, run_id="r")
        async for progress in first:
            if progress.accepted >= 300:
                break
        before = balanced(await first.stop())
    async with mjbulk.Client(KEYS, settings, journal=tmp_path / "a.db") as client:
        began = loop.time()
        run = client.start_import(rows, lists=ADD, run_id="r")
        rates = [progress.rate async for progress in run]
        assert balanced(await run).accepted == 500
    own = 501 - before.accepted - before.rejected
    assert before.accepted >= 300
    assert rates[-1] == pytest.approx(own / (loop.time() - began), rel=0.02)
    assert max(rates) <= own


async def test_a_slow_reader_of_progress_skips(world: World) -> None:
    """It gets the newest snapshot, and the run takes as long as without it."""

    async def took(pause: float | None) -> tuple[float, int]:
        async with world.turned(import_seconds=100.0) as other, other.client() as client:
            began = asyncio.get_running_loop().time()
            run = client.start_import(people(20_000), lists=ADD)
            run.when_ended(lambda _: ends.append(asyncio.get_running_loop().time() - began))
            number = 0
            async for _ in run:
                number += 1
                await asyncio.sleep(pause or 0)
            return ends[-1], number

    ends: list[float] = []
    (quick, many), (slow, few) = await took(None), await took(60.0)
    assert slow == pytest.approx(quick, rel=0.01)
    assert few <= 4 < many


async def test_words_and_numbers_in_any_form(world: World) -> None:
    """Unknown words, counts as strings and a 404 at first are survived."""
    knobs: dict[str, Any] = {"running_word": "Sorting", "numbers_as_strings": True, "not_found_window": 30.0}
    async with world.turned(**knobs, import_seconds=200.0) as other, other.client() as client:
        assert balanced(await client.import_contacts(people(1000), lists=ADD)).ok


async def test_an_outage_of_hours_costs_few_requests(world: World) -> None:
    """During an outage a job is polled less and less; after it the end is seen within minutes."""
    async with world.turned(import_seconds=3600.0) as other, other.client() as client:
        watcher = await client.submit_contacts(people(10), lists=ADD)
        waiting = asyncio.create_task(watcher.wait())
        await asyncio.sleep(60)
        port, requests = int(other.emulator.url.rpartition(":")[2]), other.requests()
        await other.emulator.aclose()
        await asyncio.sleep(6 * 3600)
        assert 0 < other.requests() - requests < 6 * 3600 / 30
        await other.emulator.start(port=port)
        back = asyncio.get_running_loop().time()
        assert (await waiting).ok
        assert asyncio.get_running_loop().time() - back < 600


async def test_half_of_all_looks_fail(world: World) -> None:
    """Each look is one try, and the next look is the next one: jobs of a tenth of a second end within seconds."""
    took = []
    for seed in range(20):
        chance = Random(seed)
        at_once = {"queue_seconds": 0.05, "prepare_seconds": 0.0, "import_seconds": 0.05}
        async with world.turned(**at_once) as other, other.client(chunk_rows=10) as client:

            def fails(call: str, _: float, chance: Random = chance) -> Fault | None:
                of_a_job = call in ("GET contact/managemanycontacts", "GET batchjob/jsonerror")
                return Fault.answer(504) if of_a_job and chance.random() < 0.5 else None

            other.weather(fails)
            assert balanced(await client.import_contacts(people(50), lists=ADD)).ok
            calls = other.emulator.calls
            took.append(calls[-1].time - next(call.time for call in calls if call.method == "POST"))
    assert sorted(took)[10] < 4
    assert max(took) < 20
