"""When to look at a job that may end within seconds.

Looks at one job are at least g seconds apart. A first look that comes too early therefore costs g seconds, and one that
comes at g seconds is late by many lives of a job of a tenth of that. How long such jobs take is seen only through the
looks: the job had ended, or had not. The times of Mailjet have whole seconds, and say no more.

=======  =====================================================================  =====
symbol   meaning                                                                unit
=======  =====================================================================  =====
m, k     a hypothesis: median and shape of how long jobs of this size take      s, none
w        the wait until the first look                                          s
g        the least time between two looks                                       s
n        how late the end of a young job may be found                           s
p        the cost of one look, in lives (see `mjbulk.jobs.forecast`)            none
F(t)     the share of jobs that have ended at t, if m and k are true            none
G(t)     the same, over all hypotheses by what is believed of them              none
=======  =====================================================================  =====

**Beliefs.** There are hypotheses from 0.05 s to 3 s, each 8 % above the one before, and "longer". With m, durations
have a log-logistic distribution, ``F(t) = 1 / (1 + (m / t)^k)``: jobs of one size are alike, with k = 20, or differ,
with k = 2. A job that had not ended at a and had ended at b multiplies the belief in m and k by ``F(b) - F(a)``
(Bayes). Before that every belief is raised to the power 0.97: what was seen long ago counts less, so that it is seen
when jobs become shorter.

**The first look.** It comes when the expected cost is least, in lives: a look at w is late by ``(w - t) / t`` if a job
of t seconds has ended. If it has not, the look has cost p, and the next one may be late by ``(w + g - t) / t``.

**Looks at a young job.** But no look comes later than n seconds after one job in twenty has ended, of those that have
not ended yet. So jobs that are alike have one look; those that differ have more, n seconds apart or further. This ends
where the job is no longer young, or where nine of ten jobs like it take longer than that.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from operator import sub
from typing import Any, Self

from attrs import field, frozen

YOUNG = 2.0
"""Seconds. A job that is younger may have looks that are nearer to each other."""
_STEP = 1.08
_ALIKE, _DIFFERENT = 20.0, 2.0
"""Shapes: half of the jobs are within 6 % of the median, or within a factor of 1.7."""
_GRID = tuple(0.05 * _STEP**index for index in range(54))
"""In seconds: the medians, and the times at which G is known."""
_HYPOTHESES = (*((median, _ALIKE) for median in _GRID), *((median, _DIFFERENT) for median in _GRID))
"""The last belief is that of "longer"."""
_POWERS = tuple(median**shape for median, shape in _HYPOTHESES)
_NUMBER = len(_HYPOTHESES) + 1
_AT_FIRST = (*(0.0 for _ in _GRID), *(-1.0 for _ in _GRID), 0.0)
"""The beliefs before any job has ended: jobs of one size are more likely alike."""
_LONGEST = _GRID[-1] * _STEP
_FORGETTING = 0.97
_LEAST_LIKELY = 1e-6
"""No job makes a hypothesis less likely than that at once."""
_RULED_OUT = -12.0
"""What is believed less than that (6e-6 of the greatest belief) is left out of sums: a fifth of their time remains."""
_SIZES = 4.0
"""Jobs whose rows differ by less than this factor are of one size."""
_PROBE = 1.1
"""The first look at the first job of a size comes at the earliest time for one, times this."""
_EARLY = 0.05
"""The share of jobs that may have ended n seconds before a look."""
_FEW = 0.1
"""Where the share of jobs that end while they are young is less than this, no look at such a job is nearer."""

Beliefs = tuple[float, ...]
"""A number for each of `_HYPOTHESES`, and for "longer": the logarithms of what is believed, the greatest of them 0."""


@frozen
class ShortJobs:
    """What was learned about short jobs of one kind, as plain numbers."""

    beliefs: Mapping[str, Beliefs] = field(factory=dict)
    """By the size of jobs."""

    def knows(self, rows: int) -> bool:
        """Say whether a job of this size has ended."""
        return _size(rows) in self.beliefs

    def first_look(self, rows: int, *, earliest: float, gap: float, near: float, price: float) -> float | None:
        """Give the age for the first look, ``earliest`` or more; None if such jobs take long.

        While no job of its size has ended, a job is looked at early: one request finds out whether such jobs are short.
        """
        known = self.beliefs.get(_size(rows))
        if known is None:
            return min(earliest * _PROBE, gap)
        latest = self.next_look(rows, age=0.0, near=near)
        costs = [(late + price * vain, -wait) for wait, late, vain in _expected(known, earliest, gap)]
        wait = -min(costs)[1]  # of several the longest
        wait = wait if latest is None else max(min(wait, latest), earliest)
        return wait if wait < _horizon(gap) else None

    def next_look(self, rows: int, *, age: float, near: float) -> float | None:
        """Give the age until which a young job is to be looked at, ``near`` seconds from now or more; None if it need
        not be, or no job of its size has ended.
        """
        known = self.beliefs.get(_size(rows))
        if known is None:
            return None
        curve = _curve(known)
        ended, young = _at(curve, age), _at(curve, YOUNG + near)
        if young - ended < _FEW * (1 - ended):
            return None
        soonest = bisect_right(curve, ended + _EARLY * (1 - ended))
        return near + max(_GRID[soonest - 1] if soonest else 0.0, age)

    def after(self, rows: int, alive: float, ended: float) -> "ShortJobs":
        """Add a job that had not ended after ``alive`` seconds, and had after ``ended`` seconds."""
        size = _size(rows)
        before = self.beliefs.get(size, _AT_FIRST)
        shares = map(sub, _shares(min(ended, _LONGEST)), _shares(min(alive, _LONGEST)))
        likely = [*shares, 1.0 if ended > _LONGEST else 0.0]
        logs = [_FORGETTING * old + math.log(max(one, _LEAST_LIKELY)) for old, one in zip(before, likely, strict=True)]
        most = max(logs)
        return ShortJobs({**self.beliefs, size: tuple(round(one - most, 3) for one in logs)})

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> Self:
        """Read plain data. Raises KeyError, TypeError or ValueError for anything else."""
        beliefs = {str(size): tuple(map(float, logs)) for size, logs in known["beliefs"].items()}
        if not all(len(logs) == _NUMBER and all(map(math.isfinite, logs)) for logs in beliefs.values()):
            raise ValueError("these are no beliefs")
        return cls(beliefs)


def _size(rows: int) -> str:
    """Name the size of a job: that of jobs whose rows are not known has no number."""
    return str(int(math.log(rows, _SIZES))) if rows > 0 else ""


def _shares(seconds: float) -> list[float]:
    """Give F(t) for each hypothesis, with one power for all of a shape."""
    if seconds <= _GRID[0] / 100:
        return [0.0] * len(_POWERS)
    alike, different = seconds**-_ALIKE, seconds**-_DIFFERENT
    half = len(_GRID)
    return [
        *(1 / (1 + power * alike) for power in _POWERS[:half]),
        *(1 / (1 + power * different) for power in _POWERS[half:]),
    ]


def _likely(beliefs: Beliefs) -> Iterator[tuple[int, float]]:
    """Give the hypotheses that are not as good as ruled out, and their weights: of over a hundred a handful remains."""
    return ((at, math.exp(belief)) for at, belief in enumerate(beliefs) if belief > _RULED_OUT)


def _sum_of(columns: Sequence[Sequence[float]], beliefs: Beliefs) -> Sequence[float]:
    """Add up columns, one for each hypothesis, by the weights of the hypotheses."""
    total = [0.0] * len(columns[0])
    for at, weight in _likely(beliefs):
        total = [one + weight * other for one, other in zip(total, columns[at], strict=True)]
    return total


@lru_cache(maxsize=64)
def _curve(beliefs: Beliefs) -> Sequence[float]:
    """Give G at the times of the grid."""
    weight = sum(weight for _, weight in _likely(beliefs))
    return [share / weight for share in _sum_of(_shares_on_grid(), beliefs)]


@cache
def _shares_on_grid() -> Sequence[Sequence[float]]:
    """Give F at the times of the grid, for each hypothesis."""
    shares = zip(*map(_shares, _GRID), strict=True)
    return [*shares, (0.0,) * len(_GRID)]


def _at(curve: Sequence[float], age: float) -> float:
    """Give G at the last time of the grid that is not after an age."""
    index = bisect_right(_GRID, age)
    return curve[index - 1] if index else 0.0


@lru_cache(maxsize=16)
def _expected(beliefs: Beliefs, earliest: float, gap: float) -> Sequence[tuple[float, float, float]]:
    """Give each possible wait, by how much its look is expected to be late, and how much of it is expected to be for
    nothing: what a price multiplies. Jobs that are posted together share this (2 % of a small import).
    """
    waits, late, vain = _outcomes(earliest, gap)
    return list(zip(waits, _sum_of(late, beliefs), _sum_of(vain, beliefs), strict=True))


@lru_cache(maxsize=16)
def _outcomes(
    earliest: float, gap: float
) -> tuple[Sequence[float], Sequence[Sequence[float]], Sequence[Sequence[float]]]:
    """Give each possible wait, and for each hypothesis by how much a look after it is late, and the share of looks for
    nothing. With a median beyond the horizon no look before that helps.
    """
    most = _horizon(gap)
    waits = [most, *(wait for median in _GRID if earliest <= (wait := median * math.sqrt(_STEP)) < most)]
    late, vain = zip(*(_outcome(wait, gap, most) for wait in waits), strict=True)
    return waits, list(zip(*late, strict=True)), list(zip(*vain, strict=True))


def _horizon(gap: float) -> float:
    """Give the age after which this module has nothing to say of a first look."""
    return max(gap, _GRID[-1])


def _outcome(wait: float, gap: float, most: float) -> tuple[list[float], list[float]]:
    late, vain = [], []
    for (median, _), ended in zip((*_HYPOTHESES, (math.inf, 0.0)), (*_shares(wait), 0.0), strict=True):
        soon = median < most
        next_late = max(wait + gap - median, gap / 2) / median
        late.append(ended * max(wait - median, 0.0) / median + (1 - ended) * next_late if soon else 0.0)
        vain.append(1 - ended if soon else float(wait < most))
    return late, vain
