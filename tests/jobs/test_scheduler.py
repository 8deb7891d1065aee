"""One scheduler looks at all jobs of an API key: seldom, in the right order, and whatever happens to one of them."""

import asyncio
import gc
from typing import Any

import pytest
from fake_mailjet import DONE, NOT_FOUND, Answer, FakeMailjet, ref, until
from support import most_within, settled

from benchmarks.jobs import mix
from mjbulk.errors import ApiError, Error
from mjbulk.jobs.durations import Regression
from mjbulk.jobs.forecast import JobStatistics
from mjbulk.jobs.scheduler import Scheduler
from mjbulk.jobs.watched_job import EndedJob, WatchedJob
from mjbulk.mailjet.attempts import GaveUp, Untrusted
from mjbulk.mailjet.replies import JobReply
from mjbulk.testing import VirtualClockLoop


async def ends_of(scheduler: Scheduler, jobs: list[WatchedJob]) -> None:
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(scheduler.end_of(job))


# Many


@pytest.mark.long
async def test_ten_thousand_jobs_have_one_task() -> None:
    """One task and a few looks, however many jobs are watched; their first looks come one after the other."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler(at_once=8)
    mailjet.jobs = {number: until(600.0 * (number % 10 == 0)) for number in range(10_000)}
    before = len(asyncio.all_tasks())
    ends = [asyncio.create_task(scheduler.end_of(scheduler.watch(ref(number)))) for number in mailjet.jobs]
    others = []
    for _ in range(20):
        await asyncio.sleep(30.0)
        others.append(len(asyncio.all_tasks()) - before - sum(not end.done() for end in ends))
    assert all(end.reply == DONE for end in await asyncio.gather(*ends))
    assert max(others) <= 1 + 8
    assert mailjet.most <= 8
    first: dict[int, float] = {}
    for when, number in mailjet.calls:
        first.setdefault(number, when)
    assert most_within(1.0, list(first.values())) <= 22
    assert len(mailjet.calls) < 25_000
    await scheduler.aclose()


async def trace(seed: int) -> list[tuple[float, int]]:
    """Watch jobs that were created before, all at once, and give when each was polled."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler(at_once=8)
    jobs = list(mix(240, seed))
    mailjet.jobs = {number: job.reply for number, job in enumerate(jobs)}
    await ends_of(scheduler, [scheduler.watch(ref(number), job.rows) for number, job in enumerate(jobs)])
    await scheduler.aclose()
    return mailjet.calls


@pytest.mark.long
def test_the_trace_is_the_same_for_one_seed() -> None:
    """The order and the times of polls depend on the answers, and on nothing else."""
    traces = []
    for seed in (2, 2, 3):
        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            traces.append(runner.run(trace(seed)))
    assert traces[0] == traces[1] != traces[2]


# Which job goes first


@pytest.mark.smoke
@pytest.mark.eager
async def test_the_job_that_has_most_likely_ended_is_first() -> None:
    """If one look may be under way, jobs that are due at once go in the order of their expected ends."""
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


# What may happen to one job


@pytest.mark.smoke
@pytest.mark.eager
async def test_a_job_whose_answers_are_broken_does_not_hold_up_the_others() -> None:
    """It is polled less and less often, and its end is found when answers come again."""
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


@pytest.mark.smoke
@pytest.mark.eager
@pytest.mark.parametrize(
    "failure",
    [Untrusted("GET job", why="the certificate is not trusted", attempts=1, sent=False), ZeroDivisionError()],
    ids=repr,
)
async def test_what_no_wait_can_fix_ends_the_watching(failure: Exception) -> None:
    """A server that is not trusted, unlike an outage; and an unforeseen error."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler()
    mailjet.jobs[1] = lambda _: failure
    with pytest.raises(type(failure)):
        await scheduler.end_of(scheduler.watch(ref(1)))
    await scheduler.aclose()


async def test_an_error_file_that_is_late_holds_up_no_other_job() -> None:
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


async def test_a_job_that_seemed_to_have_ended_is_watched_once_more() -> None:
    """Completed may become Importing again: another look waits for the true end, and nothing is learned from it."""
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


async def test_when_to_look_is_learned_from_ended_jobs() -> None:
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


async def test_a_new_job_may_not_be_found_yet() -> None:
    """404s of a job that was just created are survived; those of an older job end the watching at once."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler()
    mailjet.jobs = {1: lambda now: NOT_FOUND if now < 50 else DONE, 2: lambda _: NOT_FOUND}
    assert (await scheduler.end_of(scheduler.watch(ref(1), 10, new=True))).reply == DONE
    with pytest.raises(ApiError):
        await scheduler.end_of(scheduler.watch(ref(2), 10))
    assert len(mailjet.times(2)) == 1
    await scheduler.aclose()


@pytest.mark.parametrize(
    ("last", "announced", "requests"),
    [
        (DONE, True, 0),
        (DONE, False, 1),
        (JobReply(status="Completed", count=10, errcount=1), True, 1),
        (JobReply(status="Error"), True, 1),
    ],
)
async def test_when_an_error_file_is_requested(last: JobReply, requests: int, *, announced: bool) -> None:
    """If the job announces errors or ended badly; after every job, unless every error file is known to be announced."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler(errors_are_announced=announced)
    mailjet.jobs[1] = lambda _: last
    mailjet.files[1] = lambda _: b"[]"
    ended = await scheduler.end_of(scheduler.watch(ref(1)))
    assert ended.reply == last
    assert (ended.file is not None) == bool(requests) == bool(mailjet.file_requests)
    await scheduler.aclose()


@pytest.mark.smoke
@pytest.mark.eager
async def test_while_mailjet_does_not_answer_one_look_at_a_time_tries() -> None:
    """Many jobs share an outage: together they make a few requests, further and further apart."""
    mailjet = FakeMailjet(seconds=1.0)
    scheduler = mailjet.scheduler(at_once=8)
    gone = GaveUp("GET job", why="no connection", attempts=1, sent=False)
    mailjet.jobs = {number: lambda now: gone if now < 3600 else DONE for number in range(100)}
    await ends_of(scheduler, [scheduler.watch(ref(number)) for number in mailjet.jobs])
    during = [when for when, _ in mailjet.calls if 60 < when < 3600]
    assert most_within(30.0, during) <= 2
    assert asyncio.get_running_loop().time() < 3700
    await scheduler.aclose()


# Callers that wait


@pytest.mark.smoke
@pytest.mark.eager
async def test_any_number_of_waits_make_one_stream_of_looks() -> None:
    """A job has one record and one look at a time; cancelling one wait leaves the others."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler()
    mailjet.jobs = {1: until(100.0), 2: until(100.0)}
    assert scheduler.watch(ref(1), 10, new=True) is scheduler.watch(ref(1))
    alone = asyncio.create_task(scheduler.end_of(scheduler.watch(ref(2), 10, new=True)))
    many = [asyncio.create_task(scheduler.end_of(scheduler.watch(ref(1)))) for _ in range(50)]
    await asyncio.sleep(50)
    many[0].cancel()
    ended = await asyncio.gather(*many, alone, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError)
    assert all(not isinstance(one, BaseException) and one.reply == DONE for one in ended[1:])
    assert len(mailjet.times(1)) <= len(mailjet.times(2)) + 1
    await scheduler.aclose()


async def test_a_reply_that_has_changed_is_news_and_an_event() -> None:
    """Each change wakes a caller once and is an event; a look that shows the same reply does neither."""
    mailjet = FakeMailjet()
    events: list[str] = []
    scheduler = mailjet.scheduler(emit=lambda event: events.append(f"{event.name}: {event.status} {event.rows}"))
    mailjet.jobs[1] = lambda now: DONE if now > 500 else JobReply(status="Importing", count=int(now > 100))
    news: list[float] = []
    loop = asyncio.get_running_loop()
    await scheduler.end_of(scheduler.watch(ref(1), 10, new=True), lambda: news.append(loop.time()))
    assert events == [
        "job.watched: None 10",
        "job: Importing 0",
        "job: Importing 1",
        "job: Completed 10",
        "job.ended: Completed 10",
    ]
    assert len(news) == 3
    assert len(mailjet.calls) > 3
    await scheduler.aclose()


@pytest.mark.smoke
@pytest.mark.eager
async def test_closing_ends_all_waits() -> None:
    """Waits raise and so do later ones; no task is left."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler()
    mailjet.jobs = {number: until(1000.0) for number in range(3)}
    waits = [asyncio.create_task(scheduler.end_of(scheduler.watch(ref(number)))) for number in mailjet.jobs]
    await asyncio.sleep(10)
    await scheduler.aclose()
    await settled()
    for result in await asyncio.gather(*waits, return_exceptions=True):
        assert isinstance(result, Error)
        assert str(result) == "the client was closed; the job goes on at Mailjet"
    with pytest.raises(Error, match="the client was closed"):
        await scheduler.changes(scheduler.watch(ref(1)))
    assert asyncio.all_tasks() == {asyncio.current_task()}


# Jobs for which nobody waits


async def looks_beside(watchers: int) -> list[float]:
    """Poll one job beside many others that are watched and not awaited, and give the times of its looks."""
    mailjet, begun = FakeMailjet(), asyncio.get_running_loop().time()
    scheduler = mailjet.scheduler()
    mailjet.jobs[0] = until(begun + 500.0)
    held = [scheduler.watch(ref(number), 10, new=True) for number in range(1, 1 + watchers)]
    await scheduler.end_of(scheduler.watch(ref(0), 10, new=True))
    assert len(held) == watchers
    await scheduler.aclose()
    return [when - begun for when in mailjet.times(0)]


@pytest.mark.smoke
async def test_watchers_that_nobody_awaits_are_no_company() -> None:
    """They make no poll of another job rarer."""
    assert await looks_beside(2000) == pytest.approx(await looks_beside(0))


@pytest.mark.smoke
async def test_a_record_is_kept_by_who_holds_it() -> None:
    """It is the one record of its job for so long, and is polled for as long as somebody waits."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler()
    mailjet.jobs = {number: until(500.0) for number in range(1, 2001)}
    held = [scheduler.watch(ref(number)) for number in mailjet.jobs]
    waits = [asyncio.create_task(scheduler.end_of(job)) for job in held[:2]]
    await asyncio.sleep(1)
    assert scheduler.watch(ref(2000)) is held[-1]
    del held[:]
    gc.collect()
    assert [str(one) for one in scheduler._known] == ["contact:1", "contact:2"]
    waits[0].cancel()
    await waits[1]
    await asyncio.sleep(500)
    waits.clear()
    gc.collect()
    assert (len(scheduler._known), len(scheduler._polled), scheduler._late.total()) == (0, 0, 0)
    await scheduler.aclose()


# Whatever ends a look


class Stray(FakeMailjet):
    """An answer that is a CancelledError, though nothing was cancelled: what the user gave may raise it."""

    times_left = 1

    async def send(self, *args: Any, **more: Any) -> Any:
        if self.times_left:
            self.times_left -= 1
            raise asyncio.CancelledError
        return await super().send(*args, **more)


@pytest.mark.smoke
@pytest.mark.eager
async def test_a_cancellation_from_within_leaves_nobody_waiting() -> None:
    """All who wait for that job raise, no other job is touched, and a later wait polls again."""
    mailjet = Stray()
    scheduler = mailjet.scheduler()
    mailjet.jobs = {1: until(5.0), 2: until(5.0)}
    first, second = (scheduler.watch(ref(number)) for number in (1, 2))
    waits = [asyncio.create_task(scheduler.end_of(job)) for job in (first, first, second)]
    for result in (await asyncio.gather(*waits, return_exceptions=True))[:2]:
        assert isinstance(result, Error)
        assert "can be awaited again" in str(result)
    assert (await waits[2]).reply == DONE
    assert (await scheduler.end_of(first)).reply == DONE
    await scheduler.aclose()


@pytest.mark.smoke
@pytest.mark.eager
@pytest.mark.parametrize("steps", range(6))
async def test_somebody_cancels_all_tasks(steps: int) -> None:
    """As some programs do when they end, at any moment of a look. Nobody waits for ever, and a later wait polls."""
    mailjet = FakeMailjet(seconds=1.0)
    scheduler = mailjet.scheduler(at_once=1)
    mailjet.jobs = {1: until(5.0), 2: until(5.0)}
    jobs = [scheduler.watch(ref(number)) for number in mailjet.jobs]
    waits = [asyncio.create_task(scheduler.end_of(job)) for job in jobs]
    for _ in range(steps):
        await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task(), *waits}:
        task.cancel()
    async with asyncio.timeout(100):
        results = await asyncio.gather(*waits, return_exceptions=True)
        for job, result in zip(jobs, results, strict=True):
            ended = result if isinstance(result, EndedJob) else await scheduler.end_of(job)
            assert ended.reply == DONE
    await scheduler.aclose()
