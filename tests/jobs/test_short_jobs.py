"""The first look at short jobs: early where they have ended, and not before."""

import math
from collections.abc import Callable
from random import Random
from statistics import fmean, median
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.jobs.forecast import Bounds, JobStatistics, OtherJobs, next_look
from mjbulk.jobs.learning import learn
from mjbulk.jobs.short_jobs import ShortJobs
from mjbulk.jobs.track import Track
from mjbulk.mailjet.replies import JobReply

LAW = settings(derandomize=True, deadline=None, max_examples=200)
BOUNDS = Bounds(least=1.0, most=300.0, first=0.1)
ROWS = 10


def watched(
    seconds: float, learned: JobStatistics, *, rows: int = ROWS, others: int = 0
) -> tuple[JobStatistics, float, int]:
    """Watch a job to its end: give what was learned, when its end was seen, and the number of looks."""
    track, now = Track(kind="contact", rows=rows, posted=0.0, new=True, age_known=True), 0.0
    while True:
        now += next_look(track, learned, now, BOUNDS, OtherJobs(count=others)).wait
        if now >= seconds:
            break
        track = track.after(JobReply(status="Importing", count=0), now)
    return learn(learned, track, JobReply(status="Completed", count=rows), now), now, track.looks + 1


def one_after_the_other(
    number: int, seconds: Callable[[int], float], *, others: int = 0, before: int = 0
) -> tuple[list[float], list[int]]:
    """For each job but the first ones, after how many of its lives its end was seen, and in how many looks."""
    learned, lives, looks = JobStatistics(), [], []
    for index in range(number):
        learned, seen, count = watched(seconds(index), learned, others=others)
        lives.append(seen / seconds(index))
        looks.append(count)
    return lives[before:], looks[before:]


# What it comes to


@pytest.mark.parametrize("others", [0, 100])
@pytest.mark.parametrize("seconds", [0.1, 0.2, 0.5])
def test_jobs_that_take_alike_are_looked_at_once_and_soon(seconds: float, others: int) -> None:
    """After a few of them; whether they came alone or not."""
    lives, looks = one_after_the_other(60, lambda _: seconds, others=others, before=20)
    assert median(lives) <= 1.3
    assert fmean(looks) <= 1.1


@pytest.mark.parametrize("spread", [1.0, 1.1, 1.5, 20.0])
def test_jobs_below_two_seconds_are_seen_within_a_third_of_one(spread: float) -> None:
    """Whether they are alike or differ: those that are alike take few looks, and the others at most seven."""
    chance = Random(1)
    times = [1.95 * spread ** -chance.random() for _ in range(120)]
    lives, looks = one_after_the_other(120, times.__getitem__, before=20)
    late = sorted((life - 1) * seconds for life, seconds in zip(lives, times[20:], strict=True))
    assert late[90] <= 0.33
    assert fmean(looks) <= {1.0: 1.6, 1.1: 2.0, 1.5: 3.0, 20.0: 3.0}[spread]
    assert max(looks) <= 8


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.5, 1.0, 1.5, 1.99])
def test_the_second_job_of_a_service_is_seen_soon(seconds: float) -> None:
    """Nothing is known of the first one: its looks are a second apart, as those of any other job."""
    learned, seen, looks = watched(seconds, JobStatistics())
    assert seen - seconds <= 1.0
    assert looks <= 3
    _, seen, _ = watched(seconds, learned)
    assert seen - seconds <= 0.33


def test_a_young_job_costs_few_looks_where_it_takes_long() -> None:
    """It is not known before that it does."""
    learned, early = JobStatistics(), []
    for rows in (10, 10, 1000, 100_000):
        track, now = Track(kind="contact", rows=rows, posted=0.0, new=True, age_known=True), 0.0
        while (now := now + next_look(track, learned, now, BOUNDS).wait) < 2:
            track = track.after(JobReply(status="Importing", count=0), now)
        early.append(track.looks)
        learned, *_ = watched(60.0, learned, rows=rows)
    assert max(early) <= 2


def test_looks_at_young_jobs_are_further_apart_where_others_are_watched_or_it_was_said() -> None:
    """All young jobs together have some thirty looks a second, and none is nearer than a share of the least wait."""
    learned = JobStatistics()
    for index in range(30):
        learned, *_ = watched((0.3, 1.5)[index % 2], learned)
    young = Track(kind="contact", rows=ROWS, posted=0.0, new=True, age_known=True)
    young = young.after(JobReply(status="Importing", count=0), 0.5)
    for count in (0, 1, 5, 20, 100):
        wait = next_look(young, learned, 0.5, BOUNDS, OtherJobs(count=count)).wait
        assert wait >= min(0.3 * (1 + count / 10), 1.0)
        assert (wait < 1.0) is (count <= 20)
    assert next_look(young, learned, 0.5, Bounds(least=3.0, most=300.0, first=0.1)).wait > 0.89
    assert next_look(young, learned, 0.5, Bounds(least=0.05, most=300.0, first=0.05)).wait >= 0.05


def test_a_service_learns_from_its_first_job() -> None:
    """It is watched alone, and looked at early; so are the next ones."""
    lives, looks = one_after_the_other(10, lambda _: 0.1)
    assert lives[0] == pytest.approx(1.1)
    assert max(lives) < 1.5
    assert set(looks) == {1}


def test_jobs_that_differ_a_little_cost_few_looks_too_many() -> None:
    """A look that comes too early costs a second, so looks keep a distance."""
    chance = Random(1)
    times = [0.3 * math.exp(chance.gauss(0, 0.1)) for _ in range(100)]
    lives, looks = one_after_the_other(100, times.__getitem__, before=20)
    assert median(lives) <= 1.4
    assert fmean(looks) <= 1.1


@pytest.mark.parametrize(("before", "after"), [(0.1, 0.2), (0.5, 0.1)])
def test_what_changes_is_learned_again(before: float, after: float) -> None:
    """Jobs may become longer, or shorter."""
    lives, looks = one_after_the_other(200, lambda index: before if index < 50 else after, before=150)
    assert median(lives) <= 1.4
    assert fmean(looks) <= 1.1


def test_long_jobs_have_no_early_look() -> None:
    """But the first one that is alone."""
    learned = JobStatistics()
    for index in range(20):
        track = Track(kind="contact", rows=ROWS, posted=0.0, new=True, age_known=True)
        wait = next_look(track, learned, 0.0, BOUNDS).wait
        assert (wait < 1.0) is (index == 0)
        learned, *_ = watched(60.0, learned)


def test_many_jobs_of_which_nothing_is_known_have_no_early_look() -> None:
    """A hundred requests for nothing are too many."""
    track = Track(kind="contact", rows=ROWS, posted=0.0, new=True, age_known=True)
    assert next_look(track, JobStatistics(), 0.0, BOUNDS, OtherJobs(count=99)).wait == 1.0


def test_only_the_first_look_at_a_new_job_may_be_early() -> None:
    """Not one at a job of unknown age, not a later one, and none where looks may follow each other as quickly."""
    learned, *_ = watched(0.1, JobStatistics())
    new = Track(kind="contact", rows=ROWS, posted=0.0, new=True, age_known=True)
    assert next_look(new, learned, 0.0, BOUNDS).wait < 0.5
    assert next_look(new, learned, 0.05, BOUNDS).wait == pytest.approx(next_look(new, learned, 0.0, BOUNDS).wait - 0.05)
    assert next_look(new, learned, 5.0, BOUNDS).wait == 0.0
    assert next_look(new.after_404(), learned, 0.1, BOUNDS).wait >= 1.0
    assert next_look(new, learned, 0.0, Bounds(least=0.01, first=0.01)).wait >= 0.01
    old = Track(kind="contact", rows=ROWS, posted=0.0)
    assert next_look(old, learned, 0.0, BOUNDS).wait >= 1.0
    assert learn(learned, old, JobReply(status="Completed", count=ROWS), 0.3).short == learned.short


def test_sizes_are_learned_apart() -> None:
    """A job of a new size is looked at early if it is alone; an unknown number of rows is a size too."""
    learned = JobStatistics()
    for _ in range(5):
        learned, *_ = watched(0.1, learned, others=5)
    waits = {}
    for rows in (0, 5, 15, 1000):
        track = Track(kind="contact", rows=rows, posted=0.0, new=True, age_known=True)
        waits[rows] = next_look(track, learned, 0.0, BOUNDS, OtherJobs(count=5)).wait
    assert waits[5] == waits[15] < 0.5
    assert min(waits[0], waits[1000]) >= 1.0


def test_what_counts_is_when_a_look_was_sent() -> None:
    """Its answer may be late: then the job had ended before, and the next look need not wait for that."""
    soon, late = JobStatistics(), JobStatistics()
    for _ in range(30):
        new = Track(kind="contact", rows=ROWS, posted=0.0, new=True, age_known=True)
        done = JobReply(status="Completed", count=ROWS)
        soon, late = learn(soon, new, done, 0.5, sent=0.2), learn(late, new, done, 0.5)
    waits = [next_look(new, learned, 0.0, BOUNDS).wait for learned in (soon, late)]
    assert waits[0] < 0.2 < waits[1]


# What is kept


def test_what_was_learned_can_be_kept() -> None:
    """As JSON, and in few bytes."""
    learned = JobStatistics()
    for rows, seconds in ((10, 0.1), (10, 0.12), (500, 2.0), (0, 70.0)):
        learned, *_ = watched(seconds, learned, rows=rows)
    text = orjson.dumps(learned.as_dict())
    assert JobStatistics.of(orjson.loads(text)) == learned
    assert len(text) < 3000
    without: dict[str, Any] = {name: part for name, part in learned.as_dict().items() if name != "short"}
    assert JobStatistics.of(without).short == ShortJobs()


@pytest.mark.parametrize(
    "damage",
    [
        None,
        {},
        {"beliefs": 7},
        {"beliefs": {"1": 7}},
        {"beliefs": {"1": [0.0]}},
        {"beliefs": {"1": ["x"] * 55}},
        {"beliefs": {"1": [math.nan] * 55}},
    ],
)
def test_what_was_damaged_is_not_taken(damage: Any) -> None:
    """Whatever it is."""
    with pytest.raises(ValueError, match="no statistics"):
        JobStatistics.of({**JobStatistics().as_dict(), "short": damage})


@LAW
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1e9), st.floats(0, 1e9)), max_size=20),
    st.integers(0, 10**6),
    st.sampled_from([0.1, 0.5, 1.0, 3.0, 300.0]),
    st.floats(0.001, 0.1),
    st.floats(0.1, 3),
    st.floats(0, 2),
)
def test_whatever_was_seen_a_wait_is_within_its_bounds(  # noqa: PLR0917
    seen: Any, rows: int, gap: float, price: float, near: float, age: float
) -> None:
    """Or there is none."""
    short = ShortJobs()
    for size, one, other in seen:
        short = short.after(size, min(one, other), max(one, other))
    wait = short.first_look(rows, earliest=0.1, gap=gap, near=near, price=price)
    assert wait is None or 0.1 <= wait <= max(gap, 3.0)
    later = short.next_look(rows, age=age, near=near)
    assert later is None or age + near <= later <= 3.0 + near
