"""When to look at a job again, by its progress and by the durations of ended jobs.

Symbols, the same in each formula of this module:

=======  =====================================================================  =====
symbol   meaning                                                                unit
=======  =====================================================================  =====
a        age of a job: the time since it was posted                             s
r        the time it has left (random)                                          s
w        the wait until the next look                                           s
p        the cost of one look: the lateness that it is worth, in lives          none
c        how many times the lateness that was foretold of looks came            none
f        share of the job's rows that are done                                  none
u        unevenness: the variance of ln(pace), taken over the whole job         none
=======  =====================================================================  =====

**The wait.** A look costs a request, and a late look costs time. Look when
expected lateness / life of the job = cost of one look::

    c E[ max(w - r, 0) / (a + r) ] = p

``max(w - r, 0)`` is the lateness and ``a + r`` the life of the job, both in s. This is the balance of inspection models
(R. E. Barlow, L. C. Hunter, F. Proschan, Optimum checking procedures, Journal of SIAM 11 (1963), pages 1078-1095), with
a delay measured against the life of the job instead of in seconds. A look that finds the job running renews the
question with a larger a, so it is enough to decide about the next look. If nothing but the age is known, w is a
constant share of a; if the end is known well, w is a little behind it.

**The time left.** A job waits in a queue and then imports. Each of these durations has a log-logistic distribution
(`mjbulk.jobs.durations`), learned for each kind of job from those that ended: the queue by itself, the import as a line
over ln(rows). A prior stands in for what is not learned yet. Both are rough: a queue may have a least and a most, or be
long on some days. So c is learned, for each phase of a job and each age: the lateness of looks that showed only whether
the job had ended, by that which was foretold of them.

**Progress.** Rows done at a steady pace in s seconds foretell ``r = s (1 - f) / f``. Work of many independent pieces
(a renewal process; D. R. Cox, Renewal Theory, 1962) has a relative variance that is inverse to the amount of work, so
that of the pace so far is ``u / f``, and that of the pace to come ``u / (1 - f)``. The unevenness u is learned from how
far earlier forecasts were off. Forecasts from progress and from ended jobs are averaged in logarithms, each weighted by
1 / variance. When rows stand still, the forecast is at least the time for which they have stood.

Assumed of real jobs: the status shows whether a job has begun (it has not with a word of the queue, no JobStart and no
row done); Count or Current grows during the import; jobs of one kind resemble each other. If one of these is wrong,
looks are more frequent or later, and nothing else changes.
"""

import math
from collections.abc import Mapping, Sequence
from operator import add
from typing import Any, Self

import attrs
from attrs import field, frozen

from mjbulk.jobs.durations import Calibration, LogLogistic, Prior, Regression
from mjbulk.jobs.short_jobs import YOUNG, ShortJobs
from mjbulk.jobs.track import Track

_FIRST_STEP = 0.5
"""The longest wait while no job has ended, as a share of the age and 1 s: jobs posted together may take alike."""
_PRICE = 0.05 / 19.4
"""p: these looks are worth as much as to find the end 5 % of a life sooner: with this number, jobs have twenty."""
_BLIND, _PREPARES = 0.6, 0.15
"""c while nothing is known of it: a job with a queue and an import ends less abruptly than two broad distributions say,
and still less while rows should show and none is done."""
_DEARER = 9.0
"""p grows by 1/9 with each tenfold number of other watched jobs, because they share a quota."""
_CASES = 34
"""Number of equally likely cases that stand for a distribution: few to compute, and a Fibonacci number."""
_SHARES = tuple(math.log(1 - (i + 0.5) / _CASES) for i in range(_CASES))
"""Logarithms of probabilities, spread evenly from 1 to 0."""
_OTHERS = tuple(math.log(1 - (21 * i % _CASES + 0.5) / _CASES) for i in range(_CASES))
"""The same in another order: pairs of both are spread evenly over the unit square, as the Fibonacci lattice of 21 and
34 (I. H. Sloan, S. Joe, Lattice Methods for Multiple Integration, 1994)."""
SHORTEST = 0.1
"""Seconds. Shorter durations are taken as this: looks cannot tell them apart."""
_UNEVEN_WEIGHT = 3.0
"""Weight, in jobs, of the prior of u."""
_UNEVEN_PRIOR = 0.04
"""The prior of u: the time of an import is uncertain by about a fifth."""
_UNEVEN_LEAST = 1e-3
"""The least u: no import is perfectly even."""
_LATE_VARIANCE = 0.25
"""Bound of the variance of the pace to come, near the end: a factor of about 1.6."""
_TINY = 1e-3
"""Seconds, or a share: keeps a logarithm and a quotient finite."""
_NEAR = 0.3
"""Share of the least wait that looks at a young job keep, if it is watched alone."""
_MANY = 10.0
"""Beside this number of others it is twice that."""
_LOST_WAIT = 12.0
"""Longest wait in seconds after a 404: so the fifth look comes within a minute."""
_FIRST_WAIT, _MOST_WAIT = 0.25, 32.0
"""Seconds to wait after a look without an answer, and after many of them in a row."""
_LONGER = 1.25
"""How much longer each of these waits is. Where a share of all looks fails by chance, a wait that grows by more than
1 / share has no bounded mean: by doubling, jobs would hardly end where half of the looks fail."""


@frozen(kw_only=True)
class Bounds:
    """Bounds of the wait between two looks at one job, in seconds."""

    least: float = 1.0
    most: float = 300.0
    first: float = math.inf
    """Least wait until the first look, where it is less than ``least``. Then those at a young job may be nearer."""

    def near(self, others: int) -> float:
        """Give the least wait between two looks at a young job, beside this number of others: all young jobs together
        have some thirty looks a second at most.
        """
        return min(max(self.first, self.least * _NEAR * (1 + others / _MANY)), self.least)


# What is learned from ended jobs

_QUEUE = Prior(x=0.0, y=math.log(20.0), slope=0.0, variance=4.0)
"""A wait of 20 s in the queue, uncertain by a factor of e^2 (about 7), whatever the rows."""
_IMPORT = Prior(x=math.log(1000.0), y=math.log(60.0), slope=0.5, variance=4.0)
"""An import of 1,000 rows in 60 s, uncertain by the same factor; four times the rows take twice as long."""


@frozen(kw_only=True)
class JobStatistics:
    """What was learned from ended jobs of one kind, as plain numbers: `as_dict` and `of` are inverse."""

    queue: Regression = field(factory=Regression)
    """Seconds in the queue; x is always 0."""
    work: Regression = field(factory=Regression)
    """Seconds of the import, over rows."""
    blind: Calibration = field(factory=Calibration)
    """How late ends were found by looks that showed only whether the job had ended."""
    uneven: float = _UNEVEN_PRIOR * _UNEVEN_WEIGHT
    """Weighted sum of the u that jobs have shown."""
    uneven_weight: float = _UNEVEN_WEIGHT
    """Sum of these weights, in jobs."""
    short: ShortJobs = field(factory=ShortJobs)
    """How long short jobs take."""

    @property
    def shows_rows(self) -> bool:
        """Jobs of this kind have shown rows while they imported."""
        return self.uneven_weight > _UNEVEN_WEIGHT

    def as_dict(self) -> dict[str, Any]:
        """Give plain data, for JSON."""
        return attrs.asdict(self)

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> Self:
        """Read plain data. Raises ValueError for anything that `as_dict` cannot have given."""
        try:
            parts = {name: Regression(**known[name]) for name in ("queue", "work")}
            ours = {"short": ShortJobs.of, "blind": Calibration.of}
            made = cls(**{**known, **parts, **{name: of(known[name]) for name, of in ours.items() if name in known}})
            numbers = [*attrs.astuple(made.queue), *attrs.astuple(made.work), made.uneven, made.uneven_weight]
            usable = all(math.isfinite(number) for number in numbers) and made.uneven_weight > 0
            usable = usable and min(made.queue.weight, made.work.weight, made.uneven) >= 0
        except (KeyError, TypeError, ValueError, AttributeError):
            usable = False
        if not usable:
            raise ValueError("these are no statistics of jobs")
        return made


_NOTHING = JobStatistics()


# Forecast and decision


@frozen
class NextLook:
    """When to look at a job next."""

    wait: float
    """w, in seconds."""
    left: float
    """The median of r, in seconds."""
    late: bool
    """The job has run for longer than jobs of its kind in the median."""
    foretold: float = 0.0
    """The lateness that is expected of the look, in lives, before any correction."""


@frozen(kw_only=True)
class OtherJobs:
    """The jobs that are watched beside one."""

    count: int = 0
    late: int = 0
    """How many of its own kind are late."""


ALONE = OtherJobs()


def next_look(
    track: Track, statistics: JobStatistics, now: float, bounds: Bounds, others: OtherJobs = ALONE
) -> NextLook:
    """Decide when to look at a job that has not ended.

    While no row is done, w is at most ``(a + 1 s) (0.5 + W)``, with W the weight of the jobs that have ended: a few
    jobs do not say yet how long the next one takes.
    """
    age = now - track.posted
    cases = _forecast(track, statistics, now, others.late)
    price = _PRICE / _correction(track, statistics, age) * (1 + math.log10(1 + others.count) / _DEARER)
    wait = _worth_a_look(cases, age, price)
    if track.first is None:
        wait = min(wait, (age + 1.0) * (_FIRST_STEP + statistics.work.weight))
    if track.not_found:
        wait = min(wait, _LOST_WAIT)
    usual = sum(usual_times(track.rows, statistics))
    wait = min(max(wait, bounds.least), bounds.most)
    soon = _soon(track, statistics, age, bounds, others, price=price)
    if soon is not None and (soon < wait or not track.looks):
        wait = soon
    return NextLook(wait, cases[len(cases) // 2], age > usual, _lateness(cases, age, wait))


def _soon(
    track: Track, statistics: JobStatistics, age: float, bounds: Bounds, others: OtherJobs, *, price: float
) -> float | None:
    """Give the wait until the next look at a young job, if it is to be sooner than at others."""
    if bounds.first >= bounds.least or not track.age_known or track.not_found:
        return None
    near, known = bounds.near(others.count), statistics.short.knows(track.rows)
    if others.count and not known:
        return None
    if not track.looks:
        early = statistics.short.first_look(track.rows, earliest=bounds.first, gap=bounds.least, near=near, price=price)
    elif age >= YOUNG or not known:
        early = None
    else:
        early = statistics.short.next_look(track.rows, age=age, near=near)
    return None if early is None else max(early - age, 0.0)


def wait_after_failures(failures: int, bounds: Bounds) -> float:
    """Give the seconds to wait after looks in a row without an answer: they grow, up to half a minute."""
    return min(_FIRST_WAIT * _LONGER ** min(failures - 1, 99), _MOST_WAIT, bounds.most)


def _log_rows(track: Track) -> float | None:
    return math.log(track.rows) if track.rows else None


def phase(track: Track, statistics: JobStatistics) -> str:
    """Name the phase of a job: it waits, has begun, or will show rows before it ends; no name if it shows them."""
    if track.first is not None:
        return ""
    return "waits" if track.begun_at is None else "prepares" if statistics.shows_rows else "begun"


def _correction(track: Track, statistics: JobStatistics, age: float) -> float:
    """Give c."""
    named = phase(track, statistics)
    return statistics.blind.factor(named, age, _PREPARES if named == "prepares" else _BLIND) if named else 1.0


def _lateness(cases: Sequence[float], age: float, wait: float) -> float:
    """Give the mean of ``max(w - r, 0) / (a + r)``."""
    return sum((wait - left) / (age + left) for left in cases if left < wait) / len(cases)


def _forecast(track: Track, statistics: JobStatistics, now: float, late: int) -> Sequence[float]:
    """Give the equally likely values of r, in order.

    In the queue r is the sum of what is left of it and of the import; afterwards it is what is left of the import.
    """
    work = statistics.work.predict(_IMPORT, _log_rows(track), late)
    queue, age = statistics.queue.predict(_QUEUE, 0.0, late), now - track.posted
    if track.begun_at is None:
        return sorted(map(add, queue.lefts(age, _SHARES), work.lefts(0.0, _OTHERS)))
    age = _work_age(track, queue, now)
    if track.first is None:
        return work.lefts(age, _SHARES)
    together = _together(work.log_left(age), _by_progress(track, track.first, statistics, now))
    return together.lefts(0.0, _SHARES)


def _work_age(track: Track, queue: LogLogistic, now: float) -> float:
    """Give for how long an import has gone on that began between two looks: at the usual time, if that lies between
    them.
    """
    begun = now if track.begun_at is None else track.begun_at
    return now - min(max(track.posted + queue.median, track.queued_at), begun)


def _together(one: tuple[float, float], other: tuple[float, float]) -> LogLogistic:
    """Average two forecasts, each the mean and the variance of ``ln r``, weighted by 1 / variance."""
    certainty = 1 / one[1] + 1 / other[1]
    return LogLogistic.of((one[0] / one[1] + other[0] / other[1]) / certainty, 1 / certainty)


def time_left(track: Track, statistics: JobStatistics) -> LogLogistic:
    """Give the distribution of the time that a job had left at its last reply (or when it was posted), in s.

    The variance of ``ln(q + w)``, a sum of two times, is about ``(q^2 v(ln q) + w^2 v(ln w)) / (q + w)^2``.
    """
    now, rows = track.seen_at, _log_rows(track)
    work, queue = statistics.work.predict(_IMPORT, rows), statistics.queue.predict(_QUEUE, 0.0)
    if track.begun_at is None:
        parts = (queue.log_left(now - track.posted), work.log_left(0.0))
        total = sum(math.exp(mean) for mean, _ in parts)
        return LogLogistic.of(math.log(total), sum((math.exp(mean) / total) ** 2 * v for mean, v in parts))
    left = work.log_left(_work_age(track, queue, now))
    if track.first is None:
        return LogLogistic.of(*left)
    return _together(left, _by_progress(track, track.first, statistics, now))


def foretold(track: Track, statistics: JobStatistics, now: float) -> bool:
    """Say whether more is known of the end of a job than what is assumed of all jobs."""
    assumed = sum(usual_times(track.rows, _NOTHING))
    return statistics.work.weight > 0 or track.first is not None or now - track.posted > assumed


def usual_times(rows: float, statistics: JobStatistics) -> tuple[float, float]:
    """Give the medians of how long jobs wait in the queue and then import, in s."""
    x = math.log(rows) if rows else None
    return statistics.queue.predict(_QUEUE, 0.0).median, statistics.work.predict(_IMPORT, x).median


def _by_progress(
    track: Track, first: tuple[float, float], statistics: JobStatistics, now: float
) -> tuple[float, float]:
    """Give the mean and the variance of ``ln r`` by the pace of the rows, in seconds for the whole job.

    Two paces are known, and the one with the smaller variance is used. With f1 at the first look that saw rows:

    - since the first row: ``s / f``, with variance ``u / f + (g / s)^2 / 12``. That row was done at any moment of the g
      seconds before that look, which is a uniform distribution;
    - since that look: ``(seconds since) / (f - f1)``, with variance ``u / (f - f1)``.
    """
    uneven = max(statistics.uneven / statistics.uneven_weight, _UNEVEN_LEAST)
    first_at, first_share = first
    since = max(track.seen_at - (track.idle_at + first_at) / 2, SHORTEST)
    variance, pace = uneven / track.share + ((first_at - track.idle_at) / since) ** 2 / 12, since / track.share
    if track.share > first_share:
        more = track.share - first_share
        variance, pace = min((variance, pace), (uneven / more, (track.seen_at - first_at) / more))
    left = max(pace * (1 - track.share), now - track.moved_at, _TINY)
    return math.log(left), variance + min(uneven / (1 - track.share + _TINY), _LATE_VARIANCE)


def _worth_a_look(cases: Sequence[float], age: float, price: float) -> float:
    """Give the w that solves the module's equation: over n cases, ``sum of max(w - r, 0) / (a + r) = n p``.

    The sum grows with w in straight lines from case to case. Add cases in order until w lies before the next one: then
    ``w = (n p + sum of r / (a + r)) / sum of 1 / (a + r)``.
    """
    owed, rate = price * len(cases), 0.0
    for left in cases:
        if rate and owed / rate <= left:
            break
        owed += left / (age + left)
        rate += 1 / (age + left)
    return owed / rate
