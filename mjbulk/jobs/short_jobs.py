"""When to look first at a job that may end within seconds.

Looks at one job are at least g seconds apart. A first look that comes too early therefore costs g seconds, and one that
comes late costs many lives of a short job. How long such jobs take is seen only through the looks: the job had ended,
or had not. The times of Mailjet have whole seconds, and say no more.

=======  =====================================================================  =====
symbol   meaning                                                                unit
=======  =====================================================================  =====
m        the median of one group of jobs of this size                           s
n        the number of jobs in that group                                       jobs
w        the wait until the first look                                          s
g        the least time between two looks                                       s
l        the lateness that one look less is worth                               s
F(t)     the share of a group that has ended at t                               none
=======  =====================================================================  =====

**Groups.** There are groups from 0.05 s to 3 s, each 8 % above the one before, and "longer". In a group durations have
a log-logistic distribution, ``F(t) = 1 / (1 + (m / t)^20)``. A job that had not ended at a and had ended at b is shared
out among the groups, by ``(n + 0.004) (F(b) - F(a))`` (B. W. Turnbull, The empirical distribution function with
arbitrarily grouped, censored and truncated data, Journal of the Royal Statistical Society B 38 (1976), pages 290-295).
Before that every n is multiplied by 0.93, so that it is seen when jobs change.

**The wait.** Look when the expected cost is least, in lives: for each job of a group, a look at w is late by
``(w - m) / m`` if the job has ended. If it has not, the look has cost ``l / m``, and the next one is late by
``(w + g - m) / m``, or by half of ``g / m`` if it comes before the end, too.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from operator import mul, sub
from typing import Any, Self

from attrs import field, frozen

_STEP = 1.08
_SHAPE = 20.0
"""Jobs of one size differ little: half of them are within 6 % of the median."""
_MEDIANS = tuple(0.05 * _STEP**index for index in range(54))
"""In seconds; the last group is that of "longer"."""
_POWERS = tuple(median**_SHAPE for median in _MEDIANS)
_LONGEST = _MEDIANS[-1] * _STEP
_FORGETTING = 0.93
"""Factor by which the numbers of older jobs shrink with each new one."""
_EVENLY = 0.004
"""A small part of a job that is added to each n when a job is shared out: jobs may become shorter than any before."""
_SIZES = 4.0
"""Jobs whose rows differ by less than this factor are of one size."""
_LOOK = 0.15
"""l, in seconds."""
_PROBE = 1.1
"""The first look at the first job of a size comes at the earliest time for one, times this."""
_LEAST = 1e-5
"""The least n: a group may always come back."""
_PRIOR = (0.003 / (len(_MEDIANS) + 1),) * (len(_MEDIANS) + 1)
"""A small part of a job, of which nothing is known: after one long job the next one has no early look."""


@frozen
class ShortJobs:
    """What was learned about short jobs of one kind, as plain numbers."""

    jobs: Mapping[str, tuple[float, ...]] = field(factory=dict)
    """By the size of jobs: how many there were of each of `_MEDIANS`, and longer ones."""

    def knows(self, rows: int) -> bool:
        """Say whether a job of this size has ended."""
        return _size(rows) in self.jobs

    def first_look(self, rows: int, *, earliest: float, gap: float, most: float) -> float | None:
        """Give the wait until the first look, ``earliest`` or longer, if it is to be less than ``most``.

        While no job of its size has ended, a job is looked at early: one request finds out whether such jobs are short.
        """
        known = self.jobs.get(_size(rows))
        if known is None:
            return min(earliest * _PROBE, most)
        wait = _best_wait(known, earliest, gap, most)
        return wait if wait < most else None

    def after(self, rows: int, alive: float, ended: float) -> "ShortJobs":
        """Add a job that had not ended after ``alive`` seconds, and had after ``ended`` seconds."""
        size = _size(rows)
        before = self.jobs.get(size, _PRIOR)
        likely = [*map(sub, _shares(ended), _shares(alive)), 1.0 if ended > _LONGEST else 0.0]
        shared = [(n + _EVENLY) * one for n, one in zip(before, likely, strict=True)]
        whole = sum(shared) or 1.0
        jobs = (max(round(_FORGETTING * n + more / whole, 5), _LEAST) for n, more in zip(before, shared, strict=True))
        return ShortJobs({**self.jobs, size: tuple(jobs)})

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> Self:
        """Read plain data. Raises KeyError, TypeError or ValueError for anything else."""
        jobs = {str(size): tuple(map(float, numbers)) for size, numbers in known["jobs"].items()}
        if not all(len(one) == len(_PRIOR) and min(one) > 0 and math.isfinite(sum(one)) for one in jobs.values()):
            raise ValueError("these are no numbers of jobs")
        return cls(jobs)


def _size(rows: int) -> str:
    """Name the size of a job: that of jobs whose rows are not known has no number."""
    return str(int(math.log(rows, _SIZES))) if rows > 0 else ""


def _share(seconds: float, median: float) -> float:
    """Give F(t)."""
    return 1 / (1 + (median / seconds) ** _SHAPE) if seconds > median / 100 else 0.0


def _shares(seconds: float) -> list[float]:
    """Give F(t) for each group, with one power for all of them."""
    if seconds <= _MEDIANS[0] / 100:
        return [0.0] * len(_MEDIANS)
    scale = seconds**-_SHAPE
    return [1 / (1 + power * scale) for power in _POWERS]


@lru_cache(maxsize=16)
def _best_wait(jobs: tuple[float, ...], earliest: float, gap: float, most: float) -> float:
    """Give the wait that costs least. Jobs that are posted together share this (2 % of a small import)."""
    costs = _costs(earliest, gap, most)
    return min(costs, key=lambda wait: sum(map(mul, jobs, costs[wait])))  # of several the longest


@lru_cache(maxsize=8)
def _costs(earliest: float, gap: float, most: float) -> Mapping[float, tuple[float, ...]]:
    """Give what a look at a job of each group costs, after each possible wait, the longest first."""
    waits = (median * math.sqrt(_STEP) for median in reversed(_MEDIANS))
    some = [most, *(wait for wait in waits if earliest <= wait < most)]
    return {wait: tuple(_cost(wait, median, gap, most) for median in (*_MEDIANS, math.inf)) for wait in some}


def _cost(wait: float, median: float, gap: float, most: float) -> float:
    """Give what a look at a job of a group costs. Where the median is above ``most``, no look before that helps."""
    if median >= most:
        return _LOOK / most * (wait < most)
    ended = _share(wait, median)
    late = ended * max(wait - median, 0.0) + (1 - ended) * (_LOOK + max(wait + gap - median, gap / 2))
    return late / median
