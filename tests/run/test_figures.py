"""The figures of a run: true while it goes on, and frozen when it has ended."""

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from attrs import evolve
from fake_run import context, transport_of

from benchmarks.jobs import ModelJob, mix
from mjbulk.jobs.forecast import Bounds
from mjbulk.jobs.scheduler import Scheduler
from mjbulk.jobs.watched_job import WatchedJob
from mjbulk.mailjet.replies import JobReply
from mjbulk.mailjet.requests import Request
from mjbulk.models import JobRef, Progress, Rejection
from mjbulk.outcomes.ledger import Ledger
from mjbulk.run.figures import Figures

Model = Callable[[float], JobReply]
ROWS = 1000


class Case:
    """Jobs of a run, watched by a real scheduler, and a pipeline that has nothing but them."""

    held_rows = 0

    def __init__(self, models: Sequence[Model] = ()) -> None:
        run = context()
        bounds = Bounds(least=1.0, most=300.0, first=0.1)
        server: Any = self
        scheduler = Scheduler(
            server, bounds, evolve(run.engine.assumptions, errors_are_announced=True), 8, lambda _: None
        )
        self.transport = transport_of(run)
        self.engine = evolve(run.engine, scheduler=scheduler)
        self.ledger = Ledger()
        self.figures = Figures(self.ledger, self.engine)
        self.models = models
        self.posted: dict[int, float] = {}
        self.rows = 0
        self.live: list[WatchedJob] = []

    async def send(self, request: Request, decode: object, **_: object) -> JobReply:
        """As the transport does: it says how a job is."""
        number = int(re.findall(r"\d+", request.path)[-1])
        return self.models[number](now() - self.posted[number])

    def jobs(self) -> Iterator[WatchedJob]:
        yield from self.live

    def statuses(self) -> dict[str, int]:
        return {"Importing": len(self.live)}

    def snapshot(self) -> Progress:
        pipeline: Any = self
        return self.figures.snapshot(self.rows, pipeline)

    async def watch(self, number: int) -> None:
        """Post a job, and watch it to its end."""
        self.posted[number] = now()
        job = self.engine.scheduler.watch(JobRef("contact", number), ROWS, new=True)
        self.live.append(job)
        await self.engine.scheduler.end_of(job)
        self.live.remove(job)
        self.ledger.post_accepted(ROWS, 0)

    async def go(self, apart: float | None) -> None:
        """Post all jobs, each ``apart`` seconds after the one before; None: after its end."""
        if apart is None:
            self.rows = ROWS * len(self.models)
            for number in range(len(self.models)):
                await self.watch(number)
            return
        async with asyncio.TaskGroup() as group:
            for number in range(len(self.models)):
                self.rows += ROWS
                group.create_task(self.watch(number))
                await asyncio.sleep(apart)

    async def seen(self, apart: float | None, every: float) -> list[tuple[float, float, Progress]]:
        """Run it, and give snapshots from one third of its time on: with the time until then, and what was left."""
        began = now()
        run = asyncio.create_task(self.go(apart))
        snapshots = []
        while not run.done():
            await asyncio.wait({run}, timeout=every)
            snapshots.append((now() - began, self.snapshot()))
        await run
        await self.engine.scheduler.aclose()
        took = now() - began
        return [(at, took - at, progress) for at, progress in snapshots if took / 3 <= at < took]


def now() -> float:
    return asyncio.get_running_loop().time()


def mixed(number: int, seed: int) -> list[Model]:
    """Jobs of a mix, with as many rows as chunks have: all the same."""
    return [replace(model, rows=ROWS).reply for model in mix(number, seed)]


def lasting(seconds: float) -> Model:
    """A job without a queue, of even progress."""
    return ModelJob(rows=ROWS, queue=0.0, work=seconds, prepare=0.0, done=(0.0, 1.0)).reply


def blind(seconds: float, status: str = "Saving") -> Model:
    """A job that shows nothing before its end."""
    return lambda age: JobReply(status="Completed" if age >= seconds else status, count=ROWS if age >= seconds else 0)


def share_within(factor: float, figures: Sequence[tuple[float, float]]) -> float:
    """Give the share of the figures that are within a factor of what they should be."""
    return sum(1 / factor <= told / true <= factor for told, true in figures) / len(figures)


# What is left


@pytest.mark.parametrize(("apart", "seed"), [(0.0, 1), (30.0, 2)])
async def test_what_is_left_is_foretold_to_a_factor_of_two(apart: float, seed: int) -> None:
    """From one third of the run on, for jobs of seconds to hours: in nearly all snapshots, and for the whole in all."""
    seen = await Case(mixed(24, seed)).seen(apart, 120.0)
    assert len(seen) > 50
    assert share_within(2, [(progress.eta or 0.0, left) for _, left, progress in seen]) >= 0.95
    assert share_within(2, [(at + (progress.eta or 0.0), at + left) for at, left, progress in seen]) == 1


async def test_what_is_left_of_jobs_that_come_one_after_the_other() -> None:
    """How long the next ones take is seen only by those that have ended, so the whole is foretold, and no more."""
    seen = await Case(mixed(24, seed=3)).seen(None, 1000.0)
    assert share_within(2, [(at + (progress.eta or 0.0), at + left) for at, left, progress in seen]) == 1


@pytest.mark.parametrize("model", [lasting(60.0), blind(60.0), blind(60.0, "Allocated")])
async def test_what_is_left_of_jobs_that_are_alike(model: Model) -> None:
    """When the first ones have ended, the others are known, whether they show their rows or not."""
    seen = await Case([model] * 20).seen(5.0, 2.0)
    known = [(progress.eta or 0.0, left) for _, left, progress in seen if progress.rows == 20 * ROWS and left > 2]
    assert len(known) > 25
    assert share_within(2, known) == 1


async def test_where_nothing_is_known_nothing_is_said() -> None:
    """A job that shows nothing, before any has ended; until it has taken longer than is assumed of all."""
    case = Case([blind(1000.0)])
    run = asyncio.create_task(case.go(0.0))
    assert case.snapshot().eta is None
    await asyncio.sleep(30)
    assert case.snapshot().eta is None
    await asyncio.sleep(170)
    assert 20 < (case.snapshot().eta or 0) < 1000
    await run
    assert case.snapshot().eta is None
    await case.engine.scheduler.aclose()


def refused(row: int) -> Rejection:
    return Rejection(row=row, code="address.invalid", message="no", match="exact", origin="mjbulk")


async def test_rows_that_are_refused_here_say_nothing_of_the_time() -> None:
    """Before a job has ended nothing is foretold of 30,000 rows; then it is foretold from what jobs have done."""
    case = Case([lasting(10.0)] * 4)
    case.rows = 30_000
    case.ledger.post_rejections([refused(row) for row in range(1, 6)])
    await asyncio.sleep(1)
    assert case.snapshot().eta is None
    await case.watch(0)
    run = asyncio.create_task(case.watch(1))
    await asyncio.sleep(1)
    assert 29_000 / 1000 * 11 / 2 < (case.snapshot().eta or 0.0) < 29_000 / 1000 * 11 * 2
    await run
    await case.engine.scheduler.aclose()


async def test_a_queue_at_mailjet_goes_on_as_it_went() -> None:
    """It takes four jobs at once, and what waits there takes as long as its place in the queue says."""

    def place(number: int) -> Model:
        begins = 90.0 * (number // 4)
        job = lasting(90.0)
        return lambda age: JobReply(status="Allocated", count=0) if age < begins else job(age - begins)

    seen = await Case([place(number) for number in range(60)]).seen(0.0, 20.0)
    assert share_within(2, [(progress.eta or 0.0, left) for _, left, progress in seen if left > 100]) >= 0.95


async def test_requests_that_wait_for_their_turn_count() -> None:
    """At two requests a second, twenty jobs that end at once are seen one after the other."""
    case = Case([lasting(20.0)] * 20)
    run = asyncio.create_task(case.go(0.0))
    await asyncio.sleep(7)
    case.transport.waiting = 3
    first = case.snapshot().eta
    await asyncio.sleep(3)
    case.transport.granted += 6
    limited = case.snapshot().eta
    case.transport.waiting = 0
    await asyncio.sleep(1)
    free = case.snapshot().eta
    assert 13 / 2 < (first or 0.0) < 2 * 13
    assert limited == pytest.approx(2 * 20 / 2)
    assert 9 / 2 < (free or 0.0) < 2 * 9
    await run
    await case.engine.scheduler.aclose()


async def test_nothing_is_known_of_requests_that_wait_since_this_moment() -> None:
    """Also if some of them have had their turn since."""
    case = Case([lasting(10.0)])
    case.transport.waiting = 1
    assert case.snapshot().eta is None
    case.transport.granted = 10
    assert case.snapshot().eta is None


async def test_an_estimate_is_used_for_a_moment() -> None:
    """To look at all jobs takes time; rows that are read make a new one."""
    case = Case([lasting(1000.0)] * 3)
    run = asyncio.create_task(case.go(100.0))
    await asyncio.sleep(150)
    one = case.snapshot().eta or 0.0
    estimates = []
    foretell = case.figures._foretell
    case.figures._foretell = lambda *those: estimates.append(those) or foretell(*those)  # type: ignore[method-assign,func-returns-value]  # it counts
    await asyncio.sleep(1)
    assert case.snapshot().eta == pytest.approx(one - 1)
    assert estimates == []
    await asyncio.sleep(1)
    case.snapshot()
    assert len(estimates) == 1
    case.rows += 1
    case.snapshot()
    await asyncio.sleep(0.25)
    case.snapshot()
    assert len(estimates) == 2
    run.cancel()
    await case.engine.scheduler.aclose()


# How soon it goes


async def test_the_rate_is_that_of_the_rows_of_this_process() -> None:
    """What an earlier one has settled is no work of it."""
    case = Case([lasting(10.0)])
    with case.ledger.recalling():
        case.ledger.post_accepted(362_879, 0)
    case.rows = 362_879
    assert case.snapshot().rate == 0
    await asyncio.sleep(10)
    assert (case.snapshot().rate, case.snapshot().accepted) == (0, 362_879)
    await case.go(0.0)
    assert case.snapshot().rate == pytest.approx(ROWS / 20, rel=0.05)
    await case.engine.scheduler.aclose()


async def test_figures_are_frozen_at_the_end() -> None:
    """Rows that are given up when the run is wound up are no work; then nothing changes any more."""
    case = Case([lasting(10.0)])
    await case.go(0.0)
    case.rows += 500
    rate = case.snapshot().rate
    case.figures.stop()
    case.ledger.not_sent += 500
    await asyncio.sleep(5)
    assert (case.snapshot().rate, case.snapshot().eta) == (rate, None)
    pipeline: Any = case
    case.figures.requests.sent = 7
    case.figures.end(case.rows, pipeline)
    last = case.snapshot()
    assert (last.rate, last.eta, last.requests, last.settled, last.rows) == (rate, 0.0, 7, 1500, 1500)
    await asyncio.sleep(5)
    case.figures.requests.sent = 9
    assert case.snapshot() is last
    await case.engine.scheduler.aclose()
