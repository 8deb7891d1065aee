"""A job to wait for: with a time limit or without, by one caller or many, to its end or change by change."""

import asyncio
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from fake_mailjet import DONE, FakeMailjet, ref, until

from mjbulk.errors import ApiError, JobFailed
from mjbulk.jobs.watched_job import EndedJob
from mjbulk.jobs.watcher import JobWatcher, job_of
from mjbulk.mailjet.replies import JobReply
from mjbulk.models import JobRef
from mjbulk.outcomes.error_file import ErrorFile, RowError

pytestmark = [pytest.mark.smoke, pytest.mark.eager]

HALF = JobReply(status="Importing", count=5)


async def test_a_job_for_which_nobody_waits_is_not_polled() -> None:
    """After a time-out there are no looks, until somebody waits again."""
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


async def test_awaiting_raises_for_a_job_that_failed_and_waiting_does_not() -> None:
    """``await watcher`` is ``wait()`` and a raise; both give the same job."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler()
    mailjet.jobs = {1: lambda _: JobReply(status="Error", error="property not defined"), 2: lambda _: DONE}
    mailjet.files[1] = lambda _: b"[]"
    failed, done = (JobWatcher(ref(number), scheduler) for number in (1, 2))
    job = await failed.wait()
    assert (job.status, job.error, job.ended, job.ok) == ("Error", "property not defined", True, False)
    with pytest.raises(JobFailed):
        await failed
    assert await done == await done.wait()
    await scheduler.aclose()


async def test_a_job_that_mailjet_does_not_know_raises() -> None:
    """Every way to wait says so, each time, until Mailjet knows it."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler()
    watcher = JobWatcher(JobRef("contact", 7), scheduler)
    with pytest.raises(ApiError):
        await watcher.wait()
    with pytest.raises(ApiError):
        _ = [job async for job in watcher]
    assert watcher.latest is None
    assert len(mailjet.calls) == 2
    mailjet.jobs[7] = until(0.0)
    assert (await watcher).ok
    await scheduler.aclose()


async def test_the_latest_state_is_there_without_waiting() -> None:
    """Nothing before the first look, then what the last one saw; the repr has the status."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler()
    mailjet.jobs[1] = lambda now: HALF if now < 100 else DONE
    watcher = JobWatcher(ref(1), scheduler, rows=10)
    assert (watcher.latest, repr(watcher)) == (None, "<JobWatcher contact:1 not looked at>")
    with pytest.raises(TimeoutError):
        await watcher.wait(timeout=1)
    assert watcher.latest is not None
    assert (watcher.latest.count, watcher.latest.ended) == (5, False)
    assert repr(watcher) == "<JobWatcher contact:1 Importing>"
    await watcher
    assert watcher.latest.ended
    await scheduler.aclose()


async def test_iterating_gives_each_change_and_ends_by_itself() -> None:
    """A job that fails raises nothing there; one that has ended before is given once."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler()
    mailjet.jobs[1] = lambda now: HALF if now < 100 else JobReply(status="Error", count=5)
    watcher = JobWatcher(ref(1), scheduler, rows=10)
    assert [(job.status, job.ended) async for job in watcher] == [("Importing", False), ("Error", True)]
    assert [job.status async for job in watcher] == ["Error"]
    await scheduler.aclose()


async def test_cancelling_one_wait_leaves_the_others() -> None:
    """Two callers wait for one watcher: the second gets the job."""
    mailjet = FakeMailjet()
    scheduler = mailjet.scheduler()
    mailjet.jobs[1] = until(100.0)
    watcher = JobWatcher(ref(1), scheduler, rows=10, new=True)
    first, second = (asyncio.create_task(watcher.wait()) for _ in range(2))
    await asyncio.sleep(10)
    first.cancel()
    assert (await second).ok
    assert first.cancelled()
    await scheduler.aclose()


# The record


def test_a_job_has_the_errors_of_its_file() -> None:
    """Without rows: it is not known here which they are."""
    file = ErrorFile(errors=(RowError(email="a@example.org", field="age", message="no number"),))
    job = job_of(ref(1), JobReply(status="Completed", count=9, errcount=1), file, ended=True)
    assert [(one.row, one.email, one.field, one.message) for one in job.rejections] == [
        (None, "a@example.org", "age", "no number")
    ]
    assert not job.ok


@pytest.mark.parametrize(
    ("reply", "file", "count", "error"),
    [
        (JobReply(status="Importing"), None, 0, ""),
        (JobReply(status="Importing", current=7), None, 7, ""),
        (JobReply(status="Importing", count=3, current=7), None, 3, ""),
        (JobReply(status="Completed", errcount=1), ErrorFile(problem="it is cut"), 0, "it is cut"),
        (JobReply(status="Error", error="bad"), ErrorFile(problem="it is cut"), 0, "bad"),
    ],
)
def test_a_job_has_its_count_and_what_went_wrong(
    reply: JobReply, file: ErrorFile | None, count: int, error: str
) -> None:
    """Count, or else Current; Mailjet's own word for an error, or else what is wrong with the error file."""
    job = job_of(ref(1), reply, file)
    assert (job.count, job.error) == (count, error)


# What it costs


class Unread(Sequence[RowError]):
    """Very many errors, which nobody may read."""

    def __len__(self) -> int:
        return 50_000

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("somebody has read it")


async def test_looking_at_what_is_known_costs_nothing() -> None:
    """The state and the repr of a job with very many rejections: none is made before somebody reads them."""
    scheduler = FakeMailjet().scheduler()
    watcher = JobWatcher(ref(1), scheduler, rows=10)
    job = scheduler.watch(ref(1))
    job.reply = DONE
    job.ended = EndedJob(reply=DONE, file=ErrorFile(errors=Unread()))
    seen = [await watcher, await watcher.wait(), watcher.latest, *[job async for job in watcher]]
    assert [len(job.rejections) for job in seen if job is not None] == [50_000] * 4
    assert repr(watcher) == "<JobWatcher contact:1 Completed>"
    await scheduler.aclose()


def test_the_rejections_of_a_job_are_those_of_a_report() -> None:
    """They can be read many times, compared and pickled, and a pickle names nothing that may move."""
    file = ErrorFile(errors=(RowError(email="a@example.org", field="age", message="no number"),))
    rejections = job_of(ref(1), JobReply(status="Completed", errcount=1), file).rejections
    again = pickle.loads(pickle.dumps(rejections))
    assert rejections == again == rejections
    assert list(rejections) == list(again) == list(rejections)
    assert repr(rejections) == repr(again) == "<1 rejections>"
    assert rejections != job_of(ref(1), JobReply(status="Completed"), None).rejections
    assert rejections != object()
    assert b"jobs" not in pickle.dumps(rejections)
