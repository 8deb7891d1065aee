"""Distributions of durations, and what ended jobs say about the next one."""

import math
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from statistics import fmean, variance
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.jobs.durations import FORGETTING, Calibration, LogLogistic, Prior, Regression

LAW = settings(derandomize=True, deadline=None, max_examples=200)
FLOATS = st.floats(min_value=0, max_value=1e9)
PRIOR = Prior(x=math.log(1000), y=math.log(60), slope=0.5, variance=4.0)


# The distribution


def survival(times: LogLogistic, seconds: float) -> float:
    """Give S(t), by its definition."""
    return 1 / (1 + math.pow(seconds / times.median, times.shape))


@LAW
@given(st.floats(1.0, 1e6), st.floats(1.0, 20.0), st.floats(0.0, 1.0), st.floats(0.05, 0.95))
def test_what_is_left_follows_the_definition(median: float, shape: float, age: float, share: float) -> None:
    """``P(T > a + r | T > a)`` is the share that was given, at ages up to the median."""
    times = LogLogistic(median, shape)
    left = times.left(age * median, share)
    assert survival(times, age * median + left) / survival(times, age * median) == pytest.approx(share, rel=1e-6)


@pytest.mark.parametrize("age", [1e2, 1e4, 1e8])
def test_a_wide_spread_is_believed_at_any_age(age: float) -> None:
    """With a shape of 1 or less the learned spread is already the wide one."""
    times = LogLogistic(10.0, 1.0)
    assert survival(times, age + times.left(age, 0.25)) / survival(times, age) == pytest.approx(0.25, rel=1e-6)


@LAW
@given(st.floats(1.0, 1e8), st.floats(0.5, 60), FLOATS, st.floats(0.01, 0.98))
def test_quantiles_of_what_is_left(median: float, shape: float, age: float, share: float) -> None:
    """They are positive and finite, longer for a smaller share; half of all durations are over at the median."""
    times = LogLogistic(median, shape)
    assert 0 < times.left(age, share + 0.01) <= times.left(age, share) < math.inf
    assert times.left(0.0, 0.5) == pytest.approx(median, rel=1e-3)


def test_a_spread_that_is_exceeded_by_far_is_not_believed() -> None:
    """All jobs took 60 s: one that has taken an hour may take about another hour, and so on."""
    times = LogLogistic(60.0, 30.0)
    assert times.left(30.0, 0.5) == pytest.approx(30.0, rel=0.05)
    for age in (3600.0, 36_000.0, 3.6e6):
        assert 0.5 < times.left(age, 0.5) / age < 1.5
    shares = [times.left(age, 0.5) / age for age in (61.0, 66.0, 72.0)]
    assert all(earlier < later for earlier, later in pairwise(shares))


@pytest.mark.parametrize(("log_mean", "spread"), [(0.0, 0.1), (3.0, 0.5), (6.0, 4.0)])
def test_a_distribution_has_the_mean_and_the_variance_it_was_made_of(log_mean: float, spread: float) -> None:
    """Over evenly spread quantiles; its own median and variance of ln r come out as well."""
    times = LogLogistic.of(log_mean, spread)
    logs = [math.log(times.left(0.0, (number + 0.5) / 20_000)) for number in range(20_000)]
    assert fmean(logs) == pytest.approx(log_mean, abs=0.01)
    assert variance(logs) == pytest.approx(spread, rel=0.02)
    assert times.log_left(0.0) == pytest.approx((log_mean, spread), abs=1e-3)


@pytest.mark.parametrize(("spread", "shape"), [(1e-9, 60.0), (1e9, 0.5)])
def test_the_shape_is_bounded(spread: float, shape: float) -> None:
    """No spread is trusted to be nothing, or to be everything."""
    assert LogLogistic.of(3.0, spread).shape == shape


# Learning


def test_before_any_job_the_prior_decides() -> None:
    """Its median for its own rows, its slope for others, and twice its variance, because the mean is uncertain too."""
    at_prior = Regression().predict(PRIOR, math.log(1000))
    assert at_prior.median == pytest.approx(60)
    assert at_prior.shape == pytest.approx(math.pi / math.sqrt(3 * 8))
    assert Regression().predict(PRIOR, None) == at_prior
    fourfold = Regression().predict(PRIOR, math.log(4000))
    assert fourfold.median == pytest.approx(120)
    assert fourfold.shape < at_prior.shape


def by_definition(points: list[tuple[float, float]], prior: Prior, x: float, late: int) -> tuple[float, float]:
    """Give ln m and v at x, from all points and their weights."""
    weights = [FORGETTING**age for age in reversed(range(len(points)))]
    rows = [(w, *point) for w, point in zip(weights, points, strict=True)]
    rows.append(((1 + 4 * late) / (1 + sum(weights)), prior.x, prior.y))
    total = sum(w for w, _, _ in rows)
    mean_x, mean_y = (sum(row[0] * row[at] for row in rows) / total for at in (1, 2))
    s_xx = sum(w * (x - mean_x) ** 2 for w, x, _ in rows)
    s_xy = sum(w * (x - mean_x) * (y - mean_y) for w, x, y in rows)
    slope = min(max((s_xy + prior.slope) / (s_xx + 1), 0), 1)
    off = sum(w * (y - mean_y - slope * (x - mean_x)) ** 2 for w, x, y in rows)
    around = (off + rows[-1][0] * prior.variance) / total
    return mean_y + slope * (x - mean_x), around * (1 + 1 / total + (x - mean_x) ** 2 / (s_xx + 1))


@pytest.mark.parametrize("seed", range(20))
def test_running_sums_are_the_regression_over_all_points(seed: int) -> None:
    """Sums that forget give what the points themselves give, with their weights."""
    chance = Random(seed)
    points = [(chance.uniform(3, 12), chance.gauss(4, 2)) for _ in range(chance.randrange(60))]
    line = Regression()
    for point in points:
        line = line.with_point(*point)
    x, late = chance.uniform(3, 12), chance.randrange(5)
    log_median, spread = by_definition(points, PRIOR, x, late)
    times = line.predict(PRIOR, x, late)
    assert math.log(times.median) == pytest.approx(log_median)
    assert times.shape == pytest.approx(min(max(math.pi / math.sqrt(3 * spread), 0.5), 60))


def after(durations: Sequence[tuple[float, float]]) -> Regression:
    line = Regression()
    for rows, seconds in durations:
        line = line.with_point(math.log(rows), math.log(seconds))
    return line


def test_the_latest_jobs_decide() -> None:
    """Older ones are forgotten, from about the fiftieth on."""
    line = after([(1000, 10.0)] * 300 + [(1000, 1000.0)] * 150)
    assert line.weight < 1 / (1 - FORGETTING)
    assert line.predict(PRIOR, math.log(1000)).median == pytest.approx(1000, rel=0.3)


@pytest.mark.parametrize(
    ("durations", "ratio"),
    [
        ([(1000, 10.0), (10_000, 100.0)], 10.0),
        ([(1000, 100.0), (10_000, 10.0)], 1.0),
        ([(1000, 10.0), (10_000, 1e5)], 10.0),
        ([(1000, 10.0), (10_000, 10.0)], 1.0),
    ],
)
def test_the_slope_lies_between_none_and_proportion(durations: Sequence[tuple[float, float]], ratio: float) -> None:
    """More rows never take less time, and ten times the rows never more than ten times as long."""
    line = after([*durations] * 100)
    small, large = (line.predict(PRIOR, math.log(rows)).median for rows in (1000, 10_000))
    assert large / small == pytest.approx(ratio, rel=0.1)


def test_late_jobs_bring_the_prior_back() -> None:
    """The short jobs end first: while many run for longer, the next one may as well."""
    line = after([(1000, 1.0)] * 30)
    medians = [line.predict(PRIOR, math.log(1000), late).median for late in (0, 10, 10**6)]
    assert medians[0] == pytest.approx(1.0, rel=0.1)
    assert medians == sorted(medians)
    assert medians[-1] == pytest.approx(60, rel=0.1)


def test_a_forecast_is_less_certain_far_from_what_was_seen() -> None:
    """Jobs of 1,000 rows say little about one of a million."""
    line = after([(900, 10.0), (1100, 11.0)] * 30)
    assert line.predict(PRIOR, math.log(10**6)).shape < line.predict(PRIOR, math.log(1000)).shape


# What was foretold, and what came


def test_what_came_corrects_what_was_foretold() -> None:
    """In each phase and at each age by itself, within bounds; twice the age is assumed to be like it at first."""
    learned = Calibration()
    assert learned.factor("waits", 100.0, 0.4) == pytest.approx(0.4)
    for _ in range(1000):
        learned = learned.after("waits", 100.0, 0.005, 0.01)
    assert learned.factor("waits", 100.0, 0.4) == pytest.approx(2.0, rel=0.2)
    assert learned.factor("waits", 200.0, 0.4) == pytest.approx(learned.factor("waits", 100.0, 0.4))
    assert (
        learned.factor("waits", 400.0, 0.4) == learned.factor("waits", 50.0, 0.4) == learned.factor("begun", 100.0, 0.4)
    )
    for _ in range(1000):
        learned = learned.after("waits", 100.0, 0.1, 0.0)
    assert learned.factor("waits", 100.0, 0.4) == pytest.approx(0.07, abs=0.03)
    assert Calibration().after("waits", 0.0, 0.0, 100.0).factor("waits", 0.5, 0.4) == 5.0
    assert Calibration().after("waits", 0.0, 0.0, 0.0).factor("waits", 0.0, 0.4) == pytest.approx(0.4)


@pytest.mark.parametrize("damage", [{}, {"sums": 7}, {"sums": {"waits1": [1.0]}}, {"sums": {"waits1": [1.0, -1.0]}}])
def test_sums_that_were_damaged_are_not_taken(damage: dict[str, Any]) -> None:
    """Whatever they are."""
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        Calibration.of(damage)
    learned = Calibration().after("waits", 3.0, 0.1, 0.2)
    assert Calibration.of({"sums": {key: list(pair) for key, pair in learned.sums.items()}}) == learned
