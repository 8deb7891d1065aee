"""How long something takes: what is thought of it, what is learned of it, and what is left after some time."""

import math
from typing import Self

from attrs import frozen

FORGETTING = 0.98
"""What an observation counts after the next one: about the last fifty jobs decide."""
_LATE_WEIGHT = 4
"""What one that is not known yet, and will be longer, counts against those that are known."""
_STRANGE = 0.05
"""Share of cases that are thought to follow no spread that was learned."""


@frozen
class LogLogistic:
    """A log-logistic distribution of seconds."""

    median: float
    shape: float
    """Large where times are alike."""

    @classmethod
    def of(cls, log_mean: float, variance: float) -> Self:
        """Make one of the mean and the variance of the logarithm."""
        shape = math.pi / math.sqrt(3 * variance)
        return cls(math.exp(log_mean), min(max(shape, 0.5), 60.0))

    def left(self, age: float, share: float) -> float:
        """Give the seconds that are left after ``age`` in all but ``share`` of those cases that last so long."""
        log_ratio = math.log(max(age, 1e-9) / self.median)
        shape = self._shape_after(log_ratio)
        grown = shape * log_ratio
        odds = max(grown, 0.0) + math.log1p(math.exp(-abs(grown))) - math.log(share)
        reached = odds + math.log(-math.expm1(-odds))
        return max(self.median * math.exp(reached / shape) - age, 1e-3)

    def _shape_after(self, log_ratio: float) -> float:
        """Trust the spread less where it is exceeded by far: that may be one of the strange cases."""
        wide = min(self.shape, 1.0)
        lasts = (1 - _STRANGE) / (1 + math.exp(min(self.shape * log_ratio, 600.0)))
        strange = _STRANGE / (1 + math.exp(min(wide * log_ratio, 600.0)))
        doubt = max(strange / (strange + lasts) - _STRANGE, 0.0) / (1 - _STRANGE)
        return 1 / (doubt / wide + (1 - doubt) / self.shape)

    def log_left(self, age: float) -> tuple[float, float]:
        """Give median and variance of the logarithm of what is left after ``age``."""
        middle, upper, lower = (self.left(age, share) for share in (0.5, 0.25, 0.75))
        return math.log(middle), (math.log(upper / lower) / (2 * math.log(3)) * math.pi) ** 2 / 3


@frozen(kw_only=True)
class Regression:
    """A line through logarithms of seconds over logarithms of rows, as weighted sums."""

    weight: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    yy: float = 0.0

    def with_point(self, x: float, y: float) -> "Regression":
        """Take in one more, and let the others fade."""
        point = {"weight": 1.0, "x": x, "y": y, "xx": x * x, "xy": x * y, "yy": y * y}
        return Regression(**{name: FORGETTING * getattr(self, name) + value for name, value in point.items()})

    def predict(self, guess: "Prior", x: float | None, late: int = 0) -> LogLogistic:
        """Forecast for one more at ``x`` (None: not known).

        The ``guess`` counts less, the more points there are, and more, the more are ``late``: not ended yet, and longer
        under way than these.
        """
        faint = (1 + _LATE_WEIGHT * late) / (1 + self.weight)
        weight = self.weight + faint
        mean_x, mean_y = (self.x + faint * guess.x) / weight, (self.y + faint * guess.y) / weight
        xx = self.xx + faint * guess.x**2 - weight * mean_x**2
        xy = self.xy + faint * guess.x * guess.y - weight * mean_x * mean_y
        yy = self.yy + faint * guess.y**2 - weight * mean_y**2
        slope = min(max((xy + guess.slope) / (xx + 1.0), 0.0), 1.0)
        off = max(yy - 2 * slope * xy + slope**2 * xx, 0.0)
        away = 0.0 if x is None else x - mean_x
        variance = (off + faint * guess.variance) / weight * (1 + 1 / weight + away**2 / (xx + 1.0))
        return LogLogistic.of(mean_y + slope * away, variance)


@frozen
class Prior:
    """What is thought of a time before anything is learned."""

    x: float
    y: float
    slope: float
    variance: float
