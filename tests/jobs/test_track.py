"""What the looks at one job have shown."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mjbulk.jobs.track import Track, finished
from mjbulk.mailjet.replies import JobReply

WORDS = frozenset({"completed", "error", "abort", "aborted"})
START = datetime(2026, 1, 1, tzinfo=UTC)
QUEUED = JobReply(status="Allocated", count=0)


def running(count: int | None, **more: Any) -> JobReply:
    return JobReply(status="Importing", count=count, **more)


def job(**more: Any) -> Track:
    return Track(**{"kind": "contact", "rows": 1000, "posted": 0.0, "new": True, "age_known": True, **more})


def seen(*looks: tuple[float, JobReply], **more: Any) -> Track:
    track = job(**more)
    for now, reply in looks:
        track = track.after(reply, now)
    return track


# Status


@pytest.mark.parametrize("status", ["Completed", "Error", "Abort", "Aborted", " COMPLETED ", "abort\n"])
def test_words_that_end_a_job(status: str) -> None:
    """The words that end a job do so in any case, and with blanks around them."""
    assert finished(status, WORDS)
    assert not finished(status, ())


@pytest.mark.parametrize(
    "status", ["", "Allocated", "Upload", "Prepare", "Importing", "In Progress", "Saving", "Complete", "Errors", "None"]
)
def test_any_other_word_means_that_it_runs(status: str) -> None:
    """Any other word, also an unknown one, ends no job."""
    assert not finished(status, WORDS)


@pytest.mark.parametrize(
    ("reply", "begun"),
    [
        (QUEUED, False),
        (JobReply(status=" UPLOAD "), False),
        (JobReply(status="pending", count=0), False),
        (JobReply(), False),
        (JobReply(status="Allocated", job_start=START), True),
        (JobReply(status="Upload", count=1), True),
        (JobReply(status="Prepare"), True),
        (JobReply(status="Saving"), True),
    ],
)
def test_what_shows_that_a_job_has_begun(reply: JobReply, *, begun: bool) -> None:
    """A word of the queue, no JobStart and no row done: the job has not begun. Any other word: it has."""
    assert (seen((5.0, reply)).begun_at is not None) is begun


@pytest.mark.parametrize(
    ("kind", "rows", "reply", "share"),
    [
        ("contact", 1000, running(250), 0.25),
        ("contact", 1000, running(None), 0.0),
        ("contact", 1000, running(5000), 1.0),
        ("contact", 0, running(250), 0.0),
        ("contactslist", 1000, running(-5), 0.0),
        ("csvimport", 1000, running(1000, current=100), 0.1),
        ("csvimport", 0, running(400, current=100), 0.25),
        ("csvimport", 0, running(0, current=100), 0.0),
        ("csvimport", 1000, running(300), 0.3),
    ],
)
def test_the_share_of_rows_that_are_done(kind: Any, rows: int, reply: JobReply, share: float) -> None:
    """Count over the rows of the job; of a csvimport Current, over Count where nothing else is known."""
    assert seen((5.0, reply), kind=kind, rows=rows).share == share


# Times


def test_a_new_track_begins_when_the_job_was_posted() -> None:
    """Before the first reply all times are that one."""
    track = job(posted=5.0)
    assert (track.seen_at, track.moved_at, track.queued_at, track.idle_at, track.begun_at) == (5, 5, 5, 5, None)


def test_times_of_a_job_that_goes_through_all_states() -> None:
    """The last reply from the queue and without rows, the first one after the queue and with rows."""
    track = seen((1.0, QUEUED), (2.0, QUEUED), (3.0, running(0)), (4.0, running(0)), (5.0, running(50)))
    assert (track.queued_at, track.begun_at, track.idle_at, track.first) == (2.0, 3.0, 4.0, (5.0, 0.05))
    assert (track.seen_at, track.moved_at, track.looks, track.share) == (5.0, 5.0, 5, 0.05)
    assert track.probe is None
    track = track.after(running(50), 6.0).after(running(200), 7.0).after(running(900), 8.0)
    assert (track.first, track.probe) == ((5.0, 0.05), (7.0, 0.2))
    assert track.after(running(900), 9.0).moved_at == 8.0


def test_a_job_that_goes_back_begins_from_there() -> None:
    """Going back to the queue, or losing rows, is survived."""
    begun = seen((10.0, running(0)), (20.0, running(500)))
    queued = begun.after(QUEUED, 30.0)
    assert (queued.begun_at, queued.first, queued.probe, queued.share) == (None, None, None, 0.0)
    assert queued.queued_at == 30.0
    fewer = begun.after(running(100), 30.0)
    assert (fewer.first, fewer.probe) == ((30.0, 0.1), (30.0, 0.1))


def test_rows_that_were_all_done_at_once_are_no_probe() -> None:
    """A forecast from there would have nothing to foretell."""
    assert seen((5.0, running(1000))).probe is None


def test_a_job_that_does_not_move_is_stalled() -> None:
    """Half an hour without a change, as it was seen: a job that was not looked at is not stalled."""
    track = seen((10.0, running(5)), (1000.0, running(5)))
    assert not track.stalled
    assert track.after(running(5), 1810.0).stalled
    assert not track.after(running(6), 1810.0).stalled
    assert not job().stalled


# Looks without a state


def test_a_job_that_was_just_created_may_not_be_found() -> None:
    """404 means that there is no such job after 60 s and five looks, whichever is later; at once of one that is old."""
    track = job()
    for _ in range(4):
        track = track.after_404()
    assert not track.gone(1000.0, 60.0)
    track = track.after_404()
    assert not track.gone(59.0, 60.0)
    assert track.gone(60.0, 60.0)
    assert job(new=False).after_404().gone(0.0, 60.0)


def test_a_job_that_was_seen_may_be_lost_for_a_while() -> None:
    """For a job that was seen, the fourth 404 in a row counts; after a reply counting begins again."""
    track = seen((1.0, QUEUED))
    for _ in range(3):
        track = track.after_404()
    assert not track.gone(1e6, 60.0)
    assert track.after_404().gone(1e6, 60.0)
    assert track.after(QUEUED, 2.0).not_found == 0


def test_looks_without_an_answer_are_counted_until_one_comes() -> None:
    """They say nothing about the job; a 404 is an answer."""
    track = seen((1.0, QUEUED)).after_failure().after_failure()
    assert (track.failures, track.looks) == (2, 1)
    assert (track.after_404().failures, track.after_404().looks) == (0, 2)
    assert track.after(QUEUED, 3.0).failures == track.after_end().failures == 0
