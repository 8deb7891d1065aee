"""One scheduler asks for all jobs of an API key: seldom, in the right order, and whatever happens to one of them."""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from support import World, balanced

import mjbulk
from benchmarks.client_polling import through_client
from benchmarks.jobs import mix
from mjbulk.config import Assumptions
from mjbulk.errors import ApiError
from mjbulk.jobs.durations import Regression
from mjbulk.jobs.forecast import Bounds, JobStatistics
from mjbulk.jobs.scheduler import Scheduler, WatchedJob
from mjbulk.jobs.watcher import JobWatcher
from mjbulk.mailjet.replies import JobReply
from mjbulk.mailjet.requests import Request
from mjbulk.mailjet.transport import GaveUp, Untrusted
from mjbulk.models import JobRef
from mjbulk.testing import VirtualClockLoop

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
Answer = Callable[[float], JobReply | bytes | Exception]
DONE = JobReply(status="Completed", count=10)
NOT_FOUND = ApiError(404, call="GET job")


def people(count: int) -> list[dict[str, Any]]:
    return [{"email": f"u{number}@example.org"} for number in range(count)]


class FakeMailjet:
    """Stands where the transport does: each job is a function of the seconds since its first look or its posting."""

    def __init__(self, seconds: float = 0.05) -> None:
        """``seconds`` is how long an answer takes."""
        self.seconds = seconds
        self.jobs: dict[int, Answer] = {}
        self.files: dict[int, Answer] = {}
        self.calls: list[tuple[float, int]] = []
        self.under_way = 0
        self.most = 0

    async def send(self, request: Request, decode: object, **_: object) -> Any:
        number = int(re.findall(r"\d+", request.path.removeprefix("/v3/"))[0])
        is_job = request.path.startswith("/v3/REST")
        now = asyncio.get_running_loop().time()
        if is_job:
            self.calls.append((now, number))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(self.seconds)
        self.under_way -= 1
        answer = (self.jobs if is_job else self.files)[number](now) if is_job or number in self.files else NOT_FOUND
        if isinstance(answer, Exception):
            raise answer
        return answer

    def scheduler(self, at_once: int = 8, most: float = 300.0, **assumed: Any) -> Scheduler:
        assumptions = Assumptions(**{"errors_are_announced": True, **assumed})
        transport: Any = self
        return Scheduler(transport, Bounds(least=1.0, most=most), assumptions, at_once, lambda _: None)

    def times(self, number: int) -> list[float]:
        return [when for when, which in self.calls if which == number]


def ref(number: int) -> JobRef:
    return JobRef("contact", number)


def until(seconds: float) -> Answer:
    """A job that shows nothing before it has ended."""
    return lambda now: DONE if now >= seconds else JobReply(status="Importing", count=0)


async def ends_of(scheduler: Scheduler, jobs: list[WatchedJob]) -> None:
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(scheduler.end_of(job))


def most_within(seconds: float, times: list[float]) -> int:
    first, most = 0, 0
    for last, when in enumerate(times):
        while times[first] < when - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


# Many


async def test_ten_thousand_jobs_have_one_task() -> None:
    """One task and a few looks, however many are watched; they are taken up one after the other, not all at once."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler(at_once=8)
    mailjet.jobs = {number: until(600.0 * (number % 10 == 0)) for number in range(10_000)}
    before = len(asyncio.all_tasks())
    watchers = [JobWatcher(ref(number), scheduler) for number in mailjet.jobs]
    ends = [asyncio.create_task(watcher.wait()) for watcher in watchers]
    others = []
    for _ in range(20):
        await asyncio.sleep(30.0)
        others.append(len(asyncio.all_tasks()) - before - sum(not end.done() for end in ends))
    jobs = await asyncio.gather(*ends)
    assert all(job.ok for job in jobs)
    assert max(others) <= 1 + 8
    assert mailjet.most <= 8
    first: dict[int, float] = {}
    for when, number in mailjet.calls:
        first.setdefault(number, when)
    assert most_within(1.0, list(first.values())) <= 22
    assert len(mailjet.calls) < 25_000
    await scheduler.aclose()


async def trace(seed: int) -> list[tuple[float, int]]:
    """Watch jobs that were created before, all at once, and tell who was asked when."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler(at_once=8)
    jobs = list(mix(240, seed))
    mailjet.jobs = {number: job.reply for number, job in enumerate(jobs)}
    await ends_of(scheduler, [scheduler.watch(ref(number), job.rows) for number, job in enumerate(jobs)])
    await scheduler.aclose()
    return mailjet.calls


def test_the_trace_is_the_same_for_one_seed() -> None:
    """The order and the times of polls depend on the answers, and on nothing else."""
    traces = []
    for seed in (2, 2, 3):
        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            traces.append(runner.run(trace(seed)))
    assert traces[0] == traces[1] != traces[2]


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


# Which job goes first


async def test_who_has_most_likely_ended_is_asked_first() -> None:
    """With room for one look, jobs that are due at once go in the order of their foretold ends."""
    mailjet = FakeMailjet(seconds=100.0)
    scheduler = mailjet.scheduler(at_once=1, most=50.0)
    mailjet.jobs = {number: until(0.0) for number in range(1, 6)}
    jobs = [scheduler.watch(ref(number), rows, new=True) for number, rows in enumerate((9, 500, 40, 9000, 2), 1)]
    await ends_of(scheduler, jobs)
    rest = sorted((2, 3, 4, 1), key=lambda number: jobs[number - 1].track.rows)
    order = [number for _, number in mailjet.calls]
    assert sorted(order) == [1, 2, 3, 4, 5]
    assert [number for number in order[1:] if number in rest] == [number for number in rest if number != order[0]]
    await scheduler.aclose()


async def test_a_job_that_nobody_waits_for_is_not_asked_for() -> None:
    """Giving up waiting ends the looks; who waits again has them again."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler()
    mailjet.jobs[1] = until(5000.0)
    watcher = JobWatcher(ref(1), scheduler)
    with pytest.raises(TimeoutError, match=r"contact:1 had not ended after 100 s: it goes on"):
        await watcher.wait(timeout=100)
    asked = len(mailjet.calls)
    await asyncio.sleep(4000)
    assert len(mailjet.calls) == asked
    assert (await watcher.wait()).ok
    assert asyncio.get_running_loop().time() < 6000
    await scheduler.aclose()


async def test_changes_do_not_bring_looks_forward() -> None:
    """A waiter for each change causes no more polls than a waiter for the end."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler()
    mailjet.jobs[1] = lambda now: DONE if now > 1000 else JobReply(status="Importing", count=int(now))
    seen = [job.count async for job in JobWatcher(ref(1), scheduler, rows=1000)]
    assert len(seen) == len(mailjet.calls) < 60
    await scheduler.aclose()


# What may happen to one job


async def test_a_job_whose_answers_are_broken_does_not_hold_up_the_others() -> None:
    """It is asked again, less and less; and at last it is found as well."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler(at_once=2)
    lost = GaveUp("GET job", why="status 500", attempts=1, sent=True)
    broken: Answer = lambda now: lost if now < 3600 else DONE  # noqa: E731  # it stands beside the others
    mailjet.jobs = {1: broken, 2: broken, 3: until(50.0)}
    jobs = [scheduler.watch(ref(number), 10, new=True) for number in mailjet.jobs]
    await scheduler.end_of(jobs[2])
    assert asyncio.get_running_loop().time() < 60
    await ends_of(scheduler, jobs[:2])
    assert len(mailjet.times(1)) < 150
    await scheduler.aclose()


@pytest.mark.parametrize(
    "failure",
    [Untrusted("GET job", why="the certificate is not trusted", attempts=1, sent=False), ZeroDivisionError()],
    ids=repr,
)
async def test_what_no_waiting_mends_ends_the_watching(failure: Exception) -> None:
    """A server that is not trusted, unlike an outage; and an unforeseen error."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler()
    mailjet.jobs[1] = lambda _: failure
    with pytest.raises(type(failure)):
        await JobWatcher(ref(1), scheduler).wait()
    await scheduler.aclose()


async def test_an_error_file_that_is_late_holds_up_nobody() -> None:
    """It is requested again as a job is polled, and delays no other job; one that never comes is reported."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler(at_once=1)
    mailjet.jobs = {
        1: lambda _: JobReply(status="Completed", count=10, errcount=1),
        2: lambda _: JobReply(status="Completed", count=10, errcount=1),
        3: until(5.0),
    }
    mailjet.files[1] = lambda now: b'[{"Email": "a@example.org", "Error": "bad"}]' if now > 20 else NOT_FOUND
    jobs = [scheduler.watch(ref(number), 10, new=True) for number in mailjet.jobs]
    await scheduler.end_of(jobs[2])
    assert asyncio.get_running_loop().time() < 10
    first = await scheduler.end_of(jobs[0])
    second = await scheduler.end_of(jobs[1])
    assert first.file is not None
    assert len(first.file.errors) == 1
    assert second.file is not None
    assert second.file.problem is not None
    await scheduler.aclose()


async def test_an_end_that_was_none_is_waited_for() -> None:
    """Completed may become Importing again while it is not final: who looks again waits for the true end."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler()
    half = JobReply(status="Importing", count=5)
    mailjet.jobs[1] = lambda now: JobReply(status="Completed", count=3) if now < 60 else half if now < 500 else DONE
    job = scheduler.watch(ref(1), 10, new=True)
    assert (await scheduler.end_of(job)).reply.count == 3
    await asyncio.sleep(60)
    learned = scheduler.statistics["contact"]
    assert (await scheduler.look_again(job)).reply == DONE
    assert 500 < asyncio.get_running_loop().time() < 700
    assert scheduler.statistics["contact"] == learned
    await scheduler.aclose()


async def test_jobs_that_ended_teach_when_to_look() -> None:
    """The tenth job of a kind is polled only a few times; what was learned can be given to another scheduler."""
    mailjet, loop = FakeMailjet(), asyncio.get_running_loop()
    scheduler = mailjet.scheduler()
    looks = []
    for number in range(1, 11):
        mailjet.jobs[number] = until(loop.time() + 90.0)
        await scheduler.end_of(scheduler.watch(ref(number), 1000, new=True))
        looks.append(len(mailjet.times(number)))
    other = mailjet.scheduler()
    other.statistics = {kind: JobStatistics.of(known.as_dict()) for kind, known in scheduler.statistics.items()}
    mailjet.jobs[11] = until(loop.time() + 90.0)
    await other.end_of(other.watch(ref(11), 1000, new=True))
    assert looks[-1] <= looks[0] / 2
    assert len(mailjet.times(11)) <= looks[-1]
    assert other.statistics["contact"].queue != Regression()
    await scheduler.aclose()
    await other.aclose()


# End to end


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
