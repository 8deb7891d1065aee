"""When to look first at a job that may end before two looks could be apart.

Looks at one job are at least g seconds apart. A first look that comes too early therefore costs g seconds, and one that
comes at g seconds is late by many lives of a job of a tenth of that. How long such jobs take is seen only through the
looks: the job had ended, or had not. The times of Mailjet have whole seconds, and say no more.

=======  =====================================================================  =====
symbol   meaning                                                                unit
=======  =====================================================================  =====
m        a hypothesis: the median of how long jobs of this size take            s
w        the wait until the first look                                          s
g        the least time between two looks                                       s
p        the cost of one look, in lives (see `mjbulk.jobs.forecast`)            none
F(t)     the share of jobs that have ended at t, if m is true                   none
=======  =====================================================================  =====

**Beliefs.** There are hypotheses from 0.05 s to 3 s, each 8 % above the one before, and "longer". With m,
durations have a log-logistic distribution, ``F(t) = 1 / (1 + (m / t)^20)``. A job that had not ended at a and had ended
at b multiplies the belief in m by ``F(b) - F(a)`` (Bayes). Before that every belief is raised to the power 0.97: what
was seen long ago counts less, so that it is seen when jobs become shorter.

**The wait.** Look when the expected cost is least, in lives: a look at w is late by ``(w - m) / m`` if the job has
ended. If it has not, the look has cost p, and the next one may be late by ``(w + g - m) / m``.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import mul, sub
from typing import Any, Self

from attrs import field, frozen

_STEP = 1.08
_SHAPE = 20.0
"""Jobs of one size differ little: half of them are within 6 % of the median."""
_MEDIANS = tuple(0.05 * _STEP**index for index in range(54))
"""In seconds; the last belief is that of "longer"."""
_POWERS = tuple(median**_SHAPE for median in _MEDIANS)
_LONGEST = _MEDIANS[-1] * _STEP
_FORGETTING = 0.97
_LEAST_LIKELY = 1e-5
"""No job makes a hypothesis less likely than that at once."""
_SIZES = 4.0
"""Jobs whose rows differ by less than this factor are of one size."""
_PROBE = 1.1
"""The first look at the first job of a size comes at the earliest time for one, times this."""

Beliefs = tuple[float, ...]
"""A number for each of `_MEDIANS`, and for "longer": the logarithms of what is believed, the greatest of them 0."""


@frozen
class ShortJobs:
    """What was learned about short jobs of one kind, as plain numbers."""

    beliefs: Mapping[str, Beliefs] = field(factory=dict)
    """By the size of jobs."""

    def first_look(self, rows: int, *, earliest: float, gap: float, price: float, alone: bool) -> float | None:
        """Give the wait until the first look, ``earliest`` or longer, if it is to be less than the ``gap``.

        While no job of its size has ended, a job that is watched ``alone`` is looked at early: one request finds out
        whether such jobs are short.
        """
        known = self.beliefs.get(_size(rows))
        if known is None:
            return min(earliest * _PROBE, gap) if alone else None
        costs = [(late + price * vain, -wait) for wait, late, vain in _expected(known, earliest, gap)]
        wait = -min(costs)[1]  # of several the longest
        return wait if wait < gap else None

    def after(self, rows: int, alive: float, ended: float) -> "ShortJobs":
        """Add a job that had not ended after ``alive`` seconds, and had after ``ended`` seconds."""
        size = _size(rows)
        before = self.beliefs.get(size, (0.0,) * (len(_MEDIANS) + 1))
        shares = map(sub, _shares(ended), _shares(alive))
        likely = [*shares, 1.0 if ended > _LONGEST else 0.0]
        logs = [_FORGETTING * old + math.log(max(one, _LEAST_LIKELY)) for old, one in zip(before, likely, strict=True)]
        most = max(logs)
        return ShortJobs({**self.beliefs, size: tuple(round(one - most, 4) for one in logs)})

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> Self:
        """Read plain data. Raises KeyError, TypeError or ValueError for anything else."""
        beliefs = {str(size): tuple(map(float, logs)) for size, logs in known["beliefs"].items()}
        if not all(len(logs) == len(_MEDIANS) + 1 and all(map(math.isfinite, logs)) for logs in beliefs.values()):
            raise ValueError("these are no beliefs")
        return cls(beliefs)


def _size(rows: int) -> str:
    """Name the size of a job: that of jobs whose rows are not known has no number."""
    return str(int(math.log(rows, _SIZES))) if rows > 0 else ""


def _shares(seconds: float) -> list[float]:
    """Give F(t) for each hypothesis, with one power for all of them."""
    if seconds <= _MEDIANS[0] / 100:
        return [0.0] * len(_MEDIANS)
    scale = seconds**-_SHAPE
    return [1 / (1 + power * scale) for power in _POWERS]


@lru_cache(maxsize=16)
def _expected(beliefs: Beliefs, earliest: float, gap: float) -> Sequence[tuple[float, float, float]]:
    """Give each possible wait, by how much its look is expected to be late, and how much of it is expected to be for
    nothing: what a price multiplies. Jobs that are posted together share this (2 % of a small import).
    """
    weights = list(map(math.exp, beliefs))
    return [
        (wait, sum(map(mul, weights, late)), sum(map(mul, weights, vain)))
        for wait, late, vain in _outcomes(earliest, gap)
    ]


@lru_cache(maxsize=16)
def _outcomes(earliest: float, gap: float) -> Sequence[tuple[float, list[float], list[float]]]:
    """Give each possible wait, by how much its look is late if one or another hypothesis is true, and the share of
    looks for nothing. With a median above the gap no look before the gap helps.
    """
    some = [gap, *(wait for median in _MEDIANS if earliest <= (wait := median * math.sqrt(_STEP)) < gap)]
    return [(wait, *_outcome(wait, gap)) for wait in some]


def _outcome(wait: float, gap: float) -> tuple[list[float], list[float]]:
    late, vain = [], []
    for median, ended in zip((*_MEDIANS, math.inf), (*_shares(wait), 0.0), strict=True):
        soon = median < gap
        next_late = max(wait + gap - median, 0.0) / median
        late.append(ended * max(wait - median, 0.0) / median + (1 - ended) * next_late if soon else 0.0)
        vain.append(1 - ended if soon else float(wait < gap))
    return late, vain
