"""How long something takes: a distribution of durations, learned from ended jobs, and the time that is left.

Symbols, the same in each formula of this module:

=======  ===================================================================  =============
symbol   meaning                                                              unit
=======  ===================================================================  =============
T, t     a duration (random), and a value of it                               s
a, r     the age of something that has not ended, and the time it has left    s
m, k     median and shape of a `LogLogistic`                                  s, none
x, y     ``ln(rows)`` and ``ln(seconds)`` of one ended job                    none
w, W     the weight of one job, and the sum of all weights                    jobs
b        the slope of y over x                                                none
v        a variance of y                                                      none
=======  ===================================================================  =============

Durations of jobs differ by orders of magnitude, so everything is computed with their logarithms.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Self

from attrs import field, frozen

FORGETTING = 0.98
"""Factor by which the weight of older jobs shrinks with each new one: W is at most 1 / (1 - 0.98) = 50 jobs."""
_LATE_WEIGHT = 4
"""Weight of one overdue unfinished job against finished ones, in jobs."""
_STRANGE = 0.05
"""Share of jobs that are expected to follow no learned spread."""
_RIDGE = 1.0
"""Strength of the prior slope: that of one job whose ln(rows) is 1 away from the mean."""
_LEAST_SHAPE, _MOST_SHAPE = 0.5, 60.0
"""Bounds of k: below, the middle half spans more than a factor of 81; above, it spans 4 %."""
_LEAST_AGE, _LEAST_LEFT = 1e-9, 1e-3
"""Seconds, so that logarithms and quotients are finite."""
_NO_ODDS = 1e-6
"""Odds that are taken as none."""
_MOST_EXPONENT = 600.0
"""The largest argument of exp() here: at 710 it overflows."""
_ASSUMED = 0.3
"""Lateness in lives, of about six ends, by which a factor is held at what is assumed of it."""
_REMEMBERED = 3.0
"""The foretold lateness in lives that is remembered for one age, of about sixty ends: what is older is forgotten."""
_LEAST_FACTOR, _MOST_FACTOR = 0.1, 5.0
"""Bounds of c."""
_QUARTERS = (math.log(0.5), math.log(0.25), math.log(0.75))


@frozen
class LogLogistic:
    """A log-logistic distribution of seconds: ln T has a logistic distribution.

    ::

        S(t) = P(T > t) = 1 / (1 + (t / m)^k)

    Its tail is heavy: once ``a`` is far beyond ``m``, the time left is in proportion to ``a``. The quantiles of the
    time left have a closed form, which those of the similar log-normal distribution have not.

    Source: S. Bennett, Log-logistic regression models for survival data, Applied Statistics 32 (1983), pages 165-171.
    """

    median: float
    """m, in s."""
    shape: float
    """k. The larger it is, the more alike the durations are."""

    @classmethod
    def of(cls, log_mean: float, variance: float) -> Self:
        """Make the distribution in which ln T has this mean and variance: ``k = pi / sqrt(3 v)``."""
        shape = math.pi / math.sqrt(3 * variance)
        return cls(math.exp(log_mean), min(max(shape, _LEAST_SHAPE), _MOST_SHAPE))

    def left(self, age: float, share: float) -> float:
        """Give the r with ``P(T > a + r | T > a) = share``, in s."""
        return self.lefts(age, (math.log(share),))[0]

    def lefts(self, age: float, log_shares: Iterable[float]) -> list[float]:
        """Give `left` for several shares by their logarithms: what they have in common is computed once.

        With the odds ``o(t) = (t / m)^k``, of having ended by t, that is ``1 + o(a + r) = (1 + o(a)) / share``. It is
        computed in logarithms, because the odds themselves overflow.
        """
        log_ratio = math.log(max(age, _LEAST_AGE) / self.median)
        shape = self._shape_after(log_ratio)
        log_odds = shape * log_ratio
        log_one = max(log_odds, 0.0) + math.log1p(math.exp(-abs(log_odds)))  # ln(1 + o(a))
        odds_then = _log_odds_then(tuple(log_shares), log_one if log_one > _NO_ODDS else 0.0)
        return [max(self.median * math.exp(log_odds / shape) - age, _LEAST_LEFT) for log_odds in odds_then]

    def _shape_after(self, log_ratio: float) -> float:
        """Give the shape to use at ``ln(a / m)``: an age far beyond the spread makes the spread less credible.

        A share e (`_STRANGE`) of jobs follows a wide distribution, with shape ``min(k, 1)`` and survival S1. By Bayes,
        a job of this age is one of them with ``p = e S1 / (e S1 + (1 - e) S)``. As p goes from e to 1, the scale 1 / k
        goes from the learned one to the wide one.
        """
        wide = min(self.shape, 1.0)
        usual = (1 - _STRANGE) / (1 + math.exp(min(self.shape * log_ratio, _MOST_EXPONENT)))
        strange = _STRANGE / (1 + math.exp(min(wide * log_ratio, _MOST_EXPONENT)))
        doubt = max(strange / (strange + usual) - _STRANGE, 0.0) / (1 - _STRANGE)
        return 1 / (doubt / wide + (1 - doubt) / self.shape)

    def log_left(self, age: float) -> tuple[float, float]:
        """Give the median and the variance of ``ln r`` at an age.

        The variance is that of the logistic distribution with the same quartiles. Those lie ``2 ln(3) / k`` apart, and
        its variance is ``(pi / k)^2 / 3``.
        """
        middle, upper, lower = self.lefts(age, _QUARTERS)
        return math.log(middle), (math.log(upper / lower) / (2 * math.log(3)) * math.pi) ** 2 / 3


@lru_cache(maxsize=16)
def _log_odds_then(log_shares: tuple[float, ...], log_one: float) -> Sequence[float]:
    """Give ln(o(a + r)) for several shares, from ln(1 + o(a)). For jobs that were just posted it is the same."""
    sums = [log_one - log_share for log_share in log_shares]  # ln(1 + o(a + r))
    return [log_sum + math.log(-math.expm1(-log_sum)) for log_sum in sums]


@frozen
class Calibration:
    """How much lateness was foretold of looks, and how much came.

    Durations seldom have the form of one log-logistic distribution: there may be a least and a most, or several kinds
    of jobs. Looks that find a job running count as well, with no lateness, so this is also how the running jobs correct
    what was learned from ended ones. Ages are kept apart by their power of 2.
    """

    sums: Mapping[str, tuple[float, float]] = field(factory=dict)
    """Foretold lateness and that which came, in lives, by phase and age."""

    def factor(self, phase: str, age: float, assumed: float) -> float:
        """Give c in a phase of jobs at an age. That at half the age is assumed of it, until more is known."""
        octave = _octave(age)
        return self._factor(phase, octave, self._factor(phase, octave - 1, assumed))

    def _factor(self, phase: str, octave: int, assumed: float) -> float:
        foretold, came = self.sums.get(f"{phase}{octave}", (0.0, 0.0))
        factor = (came + _ASSUMED * assumed) / (foretold + _ASSUMED)
        return min(max(factor, _LEAST_FACTOR), _MOST_FACTOR)

    def after(self, phase: str, age: float, foretold: float, came: float) -> "Calibration":
        """Add what was foretold of a look at an age, and what came."""
        key = f"{phase}{_octave(age)}"
        before = self.sums.get(key, (0.0, 0.0))
        foretold, came = before[0] + foretold, before[1] + came
        kept = min(_REMEMBERED / foretold, 1.0) if foretold else 1.0
        return Calibration({**self.sums, key: (kept * foretold, kept * came)})

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> Self:
        """Read plain data. Raises KeyError, TypeError or ValueError for anything else."""
        sums = {str(key): (float(foretold), float(came)) for key, (foretold, came) in known["sums"].items()}
        if not all(0 <= number < math.inf for pair in sums.values() for number in pair):
            raise ValueError("these are no sums of lateness")
        return cls(sums)


def _octave(age: float) -> int:
    """Give the power of 2 of an age; ages below a second are one."""
    return max(math.frexp(age)[1], 0)


@frozen(kw_only=True)
class Regression:
    """A line of y over x through ended jobs, as weighted sums: least squares with exponential forgetting.

    The fields are the sums of w, w x, w y, w x^2, w x y and w y^2.
    """

    weight: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    yy: float = 0.0

    def with_point(self, x: float, y: float) -> "Regression":
        """Add one job with weight 1, and shrink the weights of the others."""
        point = {"weight": 1.0, "x": x, "y": y, "xx": x * x, "xy": x * y, "yy": y * y}
        return Regression(**{name: FORGETTING * getattr(self, name) + value for name, value in point.items()})

    def predict(self, prior: "Prior", x: float | None, late: int = 0) -> LogLogistic:
        """Give the distribution for one more job at ``x``, or at the mean if x is not known (None).

        The prior counts as ``(1 + 4 late) / (1 + W)`` jobs: less, the more jobs have ended; more, the more are
        ``late``, which are those that run for longer than usual. Of jobs that were posted together the short ones end
        first, and say little about the others.

        With that pseudo-job among the sums, means x' and y', and centred sums Sxx, Sxy, Syy::

            b = (Sxy + prior slope) / (Sxx + 1), kept in 0 to 1     ridge regression: no slope from a single size
            s = (Syy - 2 b Sxy + b^2 Sxx + prior v) / W             variance around the line
            v = s (1 + 1 / W + (x - x')^2 / (Sxx + 1))              variance of a prediction
            ln m = y' + b (x - x')
        """
        prior_weight = (1 + _LATE_WEIGHT * late) / (1 + self.weight)
        weight = self.weight + prior_weight
        mean_x, mean_y = (self.x + prior_weight * prior.x) / weight, (self.y + prior_weight * prior.y) / weight
        s_xx = self.xx + prior_weight * prior.x**2 - weight * mean_x**2
        s_xy = self.xy + prior_weight * prior.x * prior.y - weight * mean_x * mean_y
        s_yy = self.yy + prior_weight * prior.y**2 - weight * mean_y**2
        slope = min(max((s_xy + prior.slope) / (s_xx + _RIDGE), 0.0), 1.0)
        residuals = max(s_yy - 2 * slope * s_xy + slope**2 * s_xx, 0.0)
        away = 0.0 if x is None else x - mean_x
        around = (residuals + prior_weight * prior.variance) / weight
        return LogLogistic.of(mean_y + slope * away, around * (1 + 1 / weight + away**2 / (s_xx + _RIDGE)))


@frozen
class Prior:
    """What is assumed of a duration before any job has ended: one point of the line, its slope, and a variance of y."""

    x: float
    y: float
    slope: float
    variance: float
