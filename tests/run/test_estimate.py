"""How long a run still takes, from what is foretold of its jobs."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.jobs.durations import LogLogistic
from mjbulk.run.estimate import JobAhead, Throughput, run_left

LAW = settings(derandomize=True, deadline=None, max_examples=100)
NEVER = LogLogistic(1e12, 0.5)


def ahead(median: float, shape: float = 20.0, **said: Any) -> JobAhead:
    usual = {"since": 0.0, "look": 0.0, "rows": 1000, "waits": False, "seen": False}
    return JobAhead(left=LogLogistic(median, shape), **{**usual, **said})


def left(
    *jobs: JobAhead,
    waiting: int = 0,
    rate: float = 0.0,
    requests: float = math.inf,
    size: float = 1000.0,
    usual: tuple[float, float] = (20.0, 60.0),
) -> float | None:
    return run_left(jobs, waiting, Throughput(rows=rate, requests=requests), size=size, usual=usual)


@pytest.mark.parametrize(
    ("jobs", "seconds"),
    [
        ((ahead(100),), 100),
        ((ahead(100), ahead(40)), 100),
        ((ahead(100, since=30.0),), 70),
        ((ahead(100, since=300.0),), 0),
        ((ahead(100, since=99.0, look=8.0),), 8),
        ((ahead(100, seen=True),), 100),
        ((ahead(100, seen=True, since=30.0),), 70),
        ((ahead(100, seen=True, since=99.0, look=8.0),), 8),
        ((ahead(100, seen=True, since=1e6),), 0),
        ((ahead(100, seen=True), ahead(300)), 300),
        ((ahead(300, seen=True), ahead(100)), 300),
        ((ahead(100, waits=True),), 100),
    ],
)
def test_jobs_end_when_the_last_of_them_does(jobs: tuple[JobAhead, ...], seconds: float) -> None:
    """Each when its forecast says so, counted from its last reply; and no end is seen before the next look."""
    assert left(*jobs) == pytest.approx(seconds, rel=0.01, abs=0.01)


def test_of_many_jobs_that_are_seen_some_take_longer() -> None:
    """More so if they differ. What makes one take longer makes a few others take longer too."""
    one, two, five, many = (left(*[ahead(100, 4.0, seen=True)] * number) or 0.0 for number in (1, 2, 5, 30))
    assert (one, two, five) == pytest.approx((100, 100, 100), rel=0.01)
    assert many == pytest.approx(169, rel=0.01)
    assert (left(*[ahead(100, 40.0, seen=True)] * 30) or 0.0) < 110


def test_jobs_of_which_nothing_is_seen_are_alike() -> None:
    """What is not known of them is the same for all."""
    assert left(*[ahead(100, 1.0)] * 30) == pytest.approx(100)


def test_a_queue_takes_no_longer_than_its_rows() -> None:
    """At the rate at which rows have had their outcomes, and then the last job imports."""
    jobs = [ahead(5000, waits=True)] * 4
    assert left(*jobs) == pytest.approx(5000)
    assert left(*jobs, rate=10.0) == pytest.approx(4000 / 10 + 60)
    assert left(*jobs, rate=0.01) == pytest.approx(5000)


@pytest.mark.parametrize(
    ("jobs", "rate", "seconds"),
    [
        ((), 0.0, None),
        ((), 10.0, 9000 / 10 + 80),
        ((ahead(30), ahead(50)), 10.0, 9000 / 10 + 30 + 80),
        ((ahead(30), ahead(50)), 0.0, 9000 / (2000 / 80) + 30 + 80),
        ((ahead(2000),), 10_000.0, 0.9 + 2000 + 80),
        ((ahead(30), ahead(5000)), 10.0, 5000),
    ],
)
def test_rows_that_wait_get_their_jobs_when_others_end(
    jobs: tuple[JobAhead, ...], rate: float, seconds: float | None
) -> None:
    """Without a rate, at that of the jobs that are there, if these take as long as usual."""
    assert left(*jobs, waiting=10_000, rate=rate) == (None if seconds is None else pytest.approx(seconds, rel=0.01))


def test_requests_take_their_time() -> None:
    """Two for each job that is there, three for each that is to come."""
    assert left(*[ahead(1)] * 50, requests=20.0) == pytest.approx(100 / 20)
    assert left(ahead(1), waiting=3000, rate=1e9, usual=(0.0, 1.0), requests=2.0) == pytest.approx((2 + 9) / 2)
    assert left(waiting=300, rate=100.0, size=0.0, usual=(0.0, 0.0), requests=2.0) == pytest.approx(3)


def test_nothing_left_is_not_known() -> None:
    """It is not said here that a run has ended."""
    assert left() is None


FLOATS = st.floats(0, 1e6)
RATES = st.just(0.0) | st.floats(1e-6, 1e6)
AHEAD = st.builds(
    JobAhead,
    left=st.builds(LogLogistic, st.floats(1e-3, 1e9), st.floats(0.5, 60)) | st.just(NEVER),
    since=FLOATS,
    look=st.floats(-10, 1e4),
    rows=st.integers(0, 10**6),
    waits=st.booleans(),
    seen=st.booleans(),
)


@LAW
@given(st.lists(AHEAD, max_size=5), st.integers(-10, 10**9), RATES, RATES.filter(bool), st.floats(1, 1e6))
def test_whatever_is_foretold_it_is_a_number(
    jobs: list[JobAhead], waiting: int, rate: float, requests: float, size: float
) -> None:
    """Not negative, and finite."""
    told = left(*jobs, waiting=waiting, rate=rate, requests=requests, size=size)
    assert told is None or 0 <= told < math.inf
