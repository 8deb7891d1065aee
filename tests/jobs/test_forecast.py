"""When a job is looked at again."""

import math
from datetime import UTC, datetime, timedelta
from statistics import fmean
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.jobs import long_queues, mix
from benchmarks.polling import WAYS, predictive
from mjbulk.jobs.durations import Regression
from mjbulk.jobs.forecast import Bounds, JobStatistics, NextLook, OtherJobs, next_look, wait_after_failures
from mjbulk.jobs.learning import learn, learn_running
from mjbulk.jobs.track import Track
from mjbulk.mailjet.replies import JobReply

LAW = settings(derandomize=True, deadline=None, max_examples=200)
BOUNDS = Bounds(least=1.0, most=300.0)
NO_BOUND = Bounds(least=0.0, most=math.inf)
START = datetime(2026, 1, 1, tzinfo=UTC)
QUEUED = JobReply(status="Allocated", count=0)
DONE = JobReply(status="Completed", count=1000)


def running(count: int | None, **more: Any) -> JobReply:
    return JobReply(status="Importing", count=count, **more)


def job(**more: Any) -> Track:
    return Track(**{"kind": "contact", "rows": 1000, "posted": 0.0, "new": True, "age_known": True, **more})


def seen(*looks: tuple[float, JobReply], **more: Any) -> Track:
    track = job(**more)
    for now, reply in looks:
        track = track.after(reply, now)
    return track


def after_jobs(number: int, queue: float, work: float, **more: Any) -> JobStatistics:
    """Learn from a number of jobs that all took equally long."""
    learned = JobStatistics()
    for _ in range(number):
        track = seen((queue - 0.1, QUEUED), (queue + 0.1, running(0)), (queue + work - 0.1, running(900)), **more)
        learned = learn(learned, track, DONE, queue + work + 0.1)
    return learned


def look(
    track: Track, learned: JobStatistics | None = None, bounds: Bounds = NO_BOUND, now: float | None = None
) -> NextLook:
    return next_look(track, learned or JobStatistics(), track.seen_at if now is None else now, bounds)


# The wait


def test_with_nothing_to_go_on_the_wait_is_a_growing_share_of_the_time_elapsed() -> None:
    """The longer a job has gone on without a sign, the longer the wait, by a steady share of its age."""
    for reply in (QUEUED, JobReply(status="Saving")):
        shares = [look(seen((age, reply))).wait / age for age in (1e3, 1e4, 1e5)]
        assert min(shares) > 0.05
        assert max(shares) < 0.5
        assert shares == pytest.approx([shares[-1]] * 3, rel=0.5)


def test_a_kind_of_job_that_is_known_is_first_looked_at_near_its_end() -> None:
    """If all jobs took 10 s in the queue and 50 s to import, few looks find the end of the next one, at once."""
    learned = after_jobs(50, 10.0, 50.0)
    assert look(job(), learned).left == pytest.approx(60, rel=0.05)
    track, now = job(), look(job(), learned).wait
    assert 30 < now < 60
    while now < 60:
        track = track.after(running(int(20 * (now - 10))), now)
        now += look(track, learned).wait
    assert now < 62
    assert track.looks <= 4


def test_what_is_learned_from_few_jobs_is_not_trusted_at_once() -> None:
    """After a few long jobs, the next may still be a short one: the first look comes within seconds."""
    assert look(job(), after_jobs(3, 300.0, 3000.0)).wait < 5


def test_looks_are_fewer_where_many_share_a_quota() -> None:
    """And jobs that ended among many late ones say less about those."""
    halfway = seen((1.0, running(0)), (500.0, running(500)))
    nothing = JobStatistics()
    alone, among = (next_look(halfway, nothing, 500.0, NO_BOUND, OtherJobs(count=count)) for count in (0, 10**5))
    assert among.wait > 1.1 * alone.wait
    learned, waiting = after_jobs(30, 10.0, 50.0), seen((9.0, QUEUED))
    alone, among = (next_look(waiting, learned, 9.0, NO_BOUND, OtherJobs(late=late)) for late in (0, 1000))
    assert alone.left == pytest.approx(51.0, rel=0.1)
    assert among.left > 1.5 * alone.left
    assert (alone.late, look(waiting, learned, now=50.0).late, look(waiting, learned, now=70.0).late) == (0, 0, 1)


def test_a_job_far_beyond_its_kind_is_polled_less_and_less_often() -> None:
    """If all jobs took 60 s, one that takes an hour costs about thirty looks, and its end is found soon."""
    learned = after_jobs(50, 10.0, 50.0)
    track, now = job(), look(job(), learned).wait
    while now < 3600:
        track = track.after(running(0), now)
        now += look(track, learned, BOUNDS).wait
    assert track.looks < 45
    assert now < 3900


def test_queue_and_import_are_learned_apart() -> None:
    """For a job that left a long queue early, the time in the queue is not part of the forecast."""
    learned = after_jobs(30, 600.0, 20.0)
    early = seen((40.0, running(0)), posted=0.0)
    assert look(early, learned).wait < 60


def test_larger_jobs_take_longer_where_they_did() -> None:
    """If ten times the rows took ten times as long, so will the next job; a job of unknown size is in between."""
    learned = JobStatistics()
    for turn in range(60):
        rows = (1000, 10_000)[turn % 2]
        track = seen((1.0, running(0)), rows=rows)
        learned = learn(learned, track, DONE, 1.0 + rows / 100)
    small, unknown, large = (look(seen((1.0, running(0)), rows=rows), learned).left for rows in (1000, 0, 10_000))
    assert large / small == pytest.approx(10, rel=0.2)
    assert small < unknown < large


def test_waits_shrink_towards_the_end() -> None:
    """Rows done foretell the end: each wait is shorter than the one before, down to a short one."""
    track, now, waits = seen((9.0, QUEUED), (10.0, running(0))), 10.0, []
    while True:
        waits.append(look(track, now=now).wait)
        now += waits[-1]
        if now >= 1010:
            break
        track = track.after(running(int(now - 10)), now)
    assert waits[-4:] == sorted(waits[-4:], reverse=True)
    assert now < 1030
    assert len(waits) < 15


def test_uneven_work_is_forecast_with_more_doubt() -> None:
    """If forecasts from progress were far off, the next look comes earlier than if they were right."""
    even, uneven = JobStatistics(), JobStatistics()
    for turn in range(40):
        track = seen((0.1, running(0)), (50.0, running(500)))
        even = learn(even, track, DONE, 101.0)
        uneven = learn(uneven, track, DONE, (60.0, 400.0)[turn % 2])
    half = seen((1.0, running(0)), (51.0, running(500)))
    sure, unsure = (look(half, attrs.evolve(one, work=Regression())).wait for one in (even, uneven))
    assert unsure < 0.8 * sure


def test_rows_that_stand_still_may_stand_as_long_again() -> None:
    """A job that does not end with all rows done, or that stopped in the middle, is not polled faster and faster."""
    for count in (1000, 500):
        track = seen((0.5, running(0)), *((now, running(count)) for now in (100.0, 200.0, 400.0, 800.0, 1600.0)))
        assert look(track).wait > 80


def test_where_rows_should_be_seen_and_none_is_done_the_end_is_far() -> None:
    """A kind of job that shows its rows is polled less while it prepares than one that does not."""
    learned = after_jobs(3, 10.0, 50.0)
    track = seen((5.0, running(0)))
    assert learned.shows_rows
    assert look(track, learned).wait > look(track, attrs.evolve(learned, uneven_weight=3.0)).wait


def test_a_job_that_goes_back_is_forecast_from_there() -> None:
    """After going back to the queue, or losing rows, the forecast begins from there."""
    begun = seen((10.0, running(0)), (20.0, running(500)))
    for back in (QUEUED, running(100)):
        assert 0 < look(begun.after(back, 30.0)).wait < 100


FLOATS = st.floats(min_value=0, max_value=1e9)
REPLIES = st.builds(
    JobReply,
    status=st.sampled_from(["Allocated", "Prepare", "Importing", "What"]),
    count=st.none() | st.integers(-5, 10**6),
    current=st.none() | st.integers(-5, 10**6),
)


@LAW
@given(
    st.lists(st.tuples(FLOATS, REPLIES), max_size=8),
    st.sampled_from(["contact", "csvimport"]),
    st.integers(0, 10**6),
    st.lists(st.tuples(FLOATS, FLOATS), max_size=4),
    FLOATS,
)
def test_the_wait_is_within_bounds(looks: Any, kind: Any, rows: int, past: Any, later: float) -> None:
    """Whatever a job has said, and whatever others took, the next look is neither sooner nor later than the bounds."""
    learned = JobStatistics()
    for queue, work in past:
        learned = learn(learned, seen((queue, running(5)), kind=kind, rows=rows), DONE, queue + work)
    track = job(kind=kind, rows=rows)
    for now, reply in sorted(looks, key=lambda one: one[0]):
        track = track.after(reply, now)
        learned = learn(learned, track, DONE, now)
    said = look(track, learned, BOUNDS, now=track.seen_at + later)
    assert BOUNDS.least <= said.wait <= BOUNDS.most
    assert 0 < said.left < math.inf


# Looks without a state


def test_waits_grow_while_there_is_no_answer() -> None:
    """From a quarter of a second by a quarter each, up to half a minute, and never beyond the bounds."""
    waits = [wait_after_failures(failures, BOUNDS) for failures in (1, 2, 3, 22, 23, 10**6)]
    assert waits == [0.25, 0.3125, 0.390625, pytest.approx(27.1, abs=0.1), 32.0, 32.0]
    assert wait_after_failures(20, Bounds(least=1.0, most=5.0)) == 5.0


def test_half_of_all_looks_may_fail() -> None:
    """The mean wait for an answer is bounded then: it is below a second."""
    mean = sum(0.5**failures * wait_after_failures(failures, BOUNDS) for failures in range(1, 200))
    assert mean < 1.0


def test_a_job_that_was_not_found_is_soon_looked_at_again() -> None:
    """Its five looks come within a minute, however old it is."""
    assert look(job().after_404(), now=1e6).wait == 12.0


# Learning


def test_job_start_and_job_end_tell_the_time_of_the_import() -> None:
    """Both are of one clock. A time that contradicts the looks is not believed."""
    track = seen((100.0, QUEUED))

    def told(seconds: float) -> float:
        last = attrs.evolve(DONE, job_start=START, job_end=START + timedelta(seconds=seconds))
        return math.exp(learn(JobStatistics(), track, last, 110.0).work.y)

    assert told(3.0) == pytest.approx(3.0)
    assert told(0.0) == pytest.approx(0.5)
    assert told(5000.0) == pytest.approx(10.0)
    assert math.exp(learn(JobStatistics(), track, DONE, 110.0).work.y) == pytest.approx(5.0)


def test_of_a_job_that_others_created_only_the_import_is_learned() -> None:
    """It is not known how long it had been waiting. Without rows, its import says nothing either."""
    learned = learn(JobStatistics(), seen((5.0, running(0)), age_known=False), DONE, 10.0)
    assert learned.queue == Regression()
    assert learned.work.weight == 1
    without_rows = seen((5.0, running(0)), age_known=False, rows=0)
    assert learn(JobStatistics(), without_rows, JobReply(), 10.0).work == Regression()


def test_a_forecast_is_judged_only_where_it_says_something() -> None:
    """Rows that were done at once, or seen in the last moment, say nothing about unevenness."""
    assert not learn(JobStatistics(), seen((1.0, running(500)), posted=1.0), DONE, 5.0).shows_rows
    assert not learn(JobStatistics(), seen((50.0, running(999))), DONE, 50.0).shows_rows
    assert learn(JobStatistics(), seen((50.0, running(500))), DONE, 90.0).shows_rows


def test_what_was_learned_can_be_kept() -> None:
    """Statistics are plain numbers, and come back the same."""
    learned = after_jobs(5, 10.0, 50.0)
    assert JobStatistics.of(learned.as_dict()) == learned
    assert isinstance(learned.as_dict()["queue"]["weight"], float)


@pytest.mark.parametrize(
    "damage",
    [
        {"queue": {}},
        {"queue": {"weight": math.nan}},
        {"uneven": "much"},
        {"work": {"weight": -1.0}},
        {"uneven_weight": 0.0},
        {"mood": 1.0},
        {"work": None},
        {"blind": {"sums": {"waits3": [1.0]}}},
        {"blind": {"sums": {"waits3": [1.0, -1.0]}}},
    ],
)
def test_what_was_damaged_is_not_taken(damage: dict[str, Any]) -> None:
    """Anything that cannot be statistics is a ValueError; an empty regression can be."""
    known = {**JobStatistics().as_dict(), **damage}
    if damage == {"queue": {}}:
        assert JobStatistics.of(known) == JobStatistics()
        return
    with pytest.raises(ValueError, match="no statistics"):
        JobStatistics.of(known)


def after_looks(foretold: float, came: float) -> JobStatistics:
    """Learn from looks at jobs in the queue, that had this expected lateness and this one."""
    learned, waiting = JobStatistics(), seen((900.0, QUEUED))
    for _ in range(10):
        last = NextLook(wait=100.0, left=10.0, late=False, foretold=foretold)
        learned = learn_running(learned, waiting, last)
        learned = attrs.evolve(learned, blind=learned.blind.after("waits", 900.0, 0.0, came))
    return learned


def test_looks_are_worth_more_where_ends_are_found_late() -> None:
    """And less where they are found sooner than was foretold, as where no job ends."""
    often, seldom = (look(seen((1000.0, QUEUED)), after_looks(0.05, came)).wait for came in (0.1, 0.0))
    assert often < 0.5 * seldom


def test_looks_that_found_a_job_running_count_where_its_age_is_known() -> None:
    """And where a look shows only whether a job has ended, but the first one."""
    learned, last = JobStatistics(), NextLook(wait=10.0, left=10.0, late=False, foretold=0.01)
    assert learn_running(learned, seen((50.0, QUEUED)), last).blind.sums == {"waits6": (0.01, 0.0)}
    assert learn_running(learned, seen((50.0, running(0))), last).blind.sums == {"begun6": (0.01, 0.0)}
    for track in (seen((50.0, QUEUED), age_known=False), seen((50.0, running(5))), job()):
        assert learn_running(learned, track, last) is learned
    assert learn_running(learned, seen((50.0, QUEUED)), None) is learned
    ended = learn(learned, seen((50.0, QUEUED)), DONE, 60.0, look=last)
    assert ended.blind.sums["waits6"] == pytest.approx((0.01, 5 / 55))


# Figures


@pytest.mark.long
def test_fewer_looks_and_sooner_than_any_fixed_way() -> None:
    """For jobs of seconds to hours: at most 20 looks a job, and ends found at most 5 % of a life late."""
    figures = {name: way(mix(480, seed=1)) for name, way in WAYS.items()}
    polls = {name: fmean(one.polls for one in ones) for name, ones in figures.items()}
    late = {name: fmean(one.late for one in ones) for name, ones in figures.items()}
    for mine in (name for name in WAYS if name.startswith("mjbulk")):
        assert polls[mine] <= 20
        assert late[mine] <= 0.05
        assert all(polls[mine] < polls[other] and late[mine] < late[other] for other in list(WAYS)[3:])


@pytest.mark.long
def test_ends_of_long_queues_are_found_soon() -> None:
    """A minute to two hours in the queue, then seconds: who knows all this in advance needs 18 looks for 5 %."""
    for apart in (1e5, 30.0):
        ones = predictive(long_queues(480, seed=1), apart=apart)
        assert fmean(one.polls for one in ones) <= 22
        assert fmean(one.late for one in ones) <= 0.065


def test_the_figures_are_the_same_for_one_seed() -> None:
    """Nothing is random."""
    assert predictive(mix(48, seed=3)) == predictive(mix(48, seed=3))
