"""When a job is looked at again."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk._polling import Bounds, finished, next_look
from mjbulk._wire import JobReply

LAW = settings(derandomize=True, deadline=None, max_examples=200)
WORDS = frozenset({"completed", "error", "abort", "aborted"})
BOUNDS = Bounds(least=1.0, most=300.0)
FINITE = st.floats(min_value=0, max_value=1e9)


@pytest.mark.parametrize("status", ["Completed", "Error", "Abort", "Aborted", " COMPLETED ", "abort\n"])
def test_words_that_end_a_job(status: str) -> None:
    """The words that end a job do so in any case, and with blanks around them."""
    assert finished(status, WORDS)
    assert not finished(status, ())


@pytest.mark.parametrize(
    "status", ["", "Allocated", "Upload", "Prepare", "Importing", "In Progress", "Saving", "Complete", "Errors", "None"]
)
def test_any_other_word_means_that_it_runs(status: str) -> None:
    """A word that is none of those, also an unknown one, ends no job."""
    assert not finished(status, WORDS)


@pytest.mark.parametrize(
    ("job", "rows", "elapsed", "looks", "seconds"),
    [
        (None, 1000, 0.0, 0, 1.0),
        (None, 1000, 500.0, 0, 1.0),
        (None, 1000, 50.0, 1, 10.0),
        (JobReply(status="Upload"), 1000, 50.0, 1, 10.0),
        (JobReply(status="Importing", count=0), 1000, 50.0, 1, 10.0),
        (JobReply(status="Importing", count=5), 1000, 50.0, 1, 5.0),
        (JobReply(status="Importing", count=5), 0, 50.0, 1, 10.0),
        (JobReply(status="Upload"), 1000, 2.0, 1, 1.0),
        (JobReply(status="Upload"), 1000, 1e6, 9, 300.0),
    ],
)
def test_the_wait_is_a_share_of_the_time_gone_by(
    job: JobReply | None, rows: int, elapsed: float, looks: int, seconds: float
) -> None:
    """A fifth of the time that has gone by, a tenth where the job shows that it moves, within the bounds."""
    assert next_look(job, rows=rows, elapsed=elapsed, looks=looks, bounds=BOUNDS) == seconds


@LAW
@given(FINITE, st.integers(0, 1000), st.integers(0, 10**6), st.none() | st.integers(0, 10**6))
def test_the_wait_is_within_bounds(elapsed: float, looks: int, rows: int, count: int | None) -> None:
    """Whatever is known of a running job, the next look is neither sooner nor later than the bounds."""
    seconds = next_look(JobReply(count=count), rows=rows, elapsed=elapsed, looks=looks, bounds=BOUNDS)
    assert BOUNDS.least <= seconds <= BOUNDS.most


def test_no_bound_above() -> None:
    """Where there is no longest wait, it grows with the time gone by."""
    bounds = Bounds(least=1.0, most=math.inf)
    assert next_look(JobReply(), rows=0, elapsed=1e5, looks=1, bounds=bounds) == 2e4


def test_a_long_job_is_found_late_by_a_share_of_its_length() -> None:
    """A job of three hours that shows nothing is asked for fewer than 75 times, and found ended in five minutes."""
    now, looks = 0.0, 0
    while now < 3 * 3600:
        wait = next_look(JobReply(status="Upload"), rows=1000, elapsed=now, looks=looks, bounds=BOUNDS)
        now, looks = now + wait, looks + 1
    assert looks < 75
    assert now - 3 * 3600 <= 300
