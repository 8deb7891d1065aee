"""When the next request of an API key may start: at a rate that the user sets, or that is learned from 429s.

The theory.

**Space the starts, do not count windows.** A client that allows N requests in each second of its own clock sends up to
2 N within one second of the server's clock. Here each start comes at least ``1 / rate`` seconds after the one before
(the generic cell rate algorithm, GCRA, with a burst of one): no second, wherever it begins, holds more than
``rate + 1`` starts.

**What is learned from a 429.** Mailjet limits requests by key and time, names no number, and sends no Retry-After
(FACTS 9.9). Before the first 429 only the user's own rate applies, if there is one. After it:

- The whole key stops: at least for Retry-After, or for a wait that doubles with each 429 in a row.
- The rate at which the key was sending becomes `Pace.ceiling` (after the first 429: the requests of the second before),
  and the key goes on at 0.9 of it. One overrun is one lesson: a 429 changes nothing if its request started before
  the last lesson, or if no good answer came since.
- The rate grows back along a cubic curve, as in CUBIC for TCP (RFC 9438) and in botocore's adaptive mode:

      rate(h) = ceiling * (1 + 0.1 * (h / span - 1)^3)        [requests a second]

  where h counts the requests that the pace has held back since (`Pace.held`) and span is `Pace.span`. The curve is
  flat near the ceiling, where the limit must be, and steep far from it. Requests that were not held back do not count:
  they have not tried the limit.
- The span, after which the rate is at the ceiling again, is the number of requests of 30 s (each try of the limit costs
  a few 429s and a pause), of 30 pauses if the server makes long ones, and never less than 150.

With a fixed limit of 20 a second that means one or two 429s in about 600 answers, and 0.975 (the mean of the curve)
less 1/30 (the pauses) of the limit is used. When the limit has moved up, the rate has almost doubled after three spans.

**What is learned from a 503.** A limiter of nginx answers 503, without a Retry-After, unless it is told otherwise
(FACTS 10.1). A server in trouble answers the same. What tells them apart: the 503s of a limiter stand between good
answers, come while requests are many, and end when there are fewer. So the key does not stop, and a 503 is a lesson
only if a good answer came since the 503 before it, and that is at most 30 s old or its lesson still holds (the rate is
less than twice the ceiling). The rate at which the key was sending is the least of what the pace allowed and the starts
of the last second. Then:

- At first the ceiling is half of it, with a span of 10 requests. If that was an outage and no limiter, some 50 requests
  later nothing of it is left. The same, with a span that gets shorter, if a 503 came within a span.
- If no 503 came for a whole span, the limit is found, and is a little below: the ceiling is 0.8 of the rate. The span
  doubles, up to that of a 429, because each try of the limit may cost a submit whose rows are unknown then.
- If 503s come at one request a second as well, slowing down does not end them: the pace forgets its ceiling.

Assumed: one limit covers all calls of a key, and it counts requests, not bytes. A limit by the minute would be used up
at the beginning of each minute, followed by longer and longer pauses: as much gets through, with a few 429s in a
hundred requests. A user who knows the limit sets it, and meets no 429.
"""

from math import inf
from typing import Self

from attrs import evolve, fields, frozen

_CUT = 0.1
"""Share by which a 429 lowers the rate."""
_SPAN_SECONDS = 30.0
"""Seconds from one try of the limit to the next, at least."""
_SPAN_PAUSES = 30.0
"""The same in pauses: so pauses cost at most 1/30 of the time."""
_SPAN_REQUESTS = 150.0
"""The same in requests, for low limits."""
_SOON = 30.0
"""Seconds within which two 503s may come from one limiter."""
_LEAST_BY_503 = 1.0
"""Requests a second. If 503s come at this rate too, no limiter sends them."""
_SHORT_SPAN = 10.0
"""Requests after which a rate that 503s have taught is at its ceiling again. A wrong one is soon outgrown."""
_SHORTER = 0.75
"""Share of a span that is left where the next 503 comes within it."""
_BELOW = 0.8
"""Share of a rate at which 503s come again that is the next ceiling."""
_NUMBERS = {int, float}
_LEAST_CEILING = 10.0
"""Requests a second. The first 429 sets no lower ceiling: it may have met a single request, which says little."""


@frozen(kw_only=True)
class Start:
    """A start that was reserved for a request."""

    at: float
    """Time of the start in seconds, by the clock of the quota."""
    wait: float
    """Seconds until then. After a wait the caller reserves again with ``held``: a 429 may have stopped the key."""
    pause: float = 0.0
    """Seconds for which the key is stopped."""
    rate: float = inf
    """Requests a second by which starts are spaced; infinite if they are not."""
    proving: bool = False
    """The last known answer was a 429, so a good answer has to be noted."""


@frozen
class Pace:
    """The pace of one API key, as plain numbers. All times are seconds of one clock."""

    next: float = 0.0
    """Earliest start of the next request by the rate."""
    stopped_until: float = 0.0
    """Earliest start of any request by the pauses."""
    ceiling: float = inf
    """Requests a second when the last lesson came; infinite before the first 429."""
    span: float = 1.0
    """Held requests after which the rate is at the ceiling again."""
    held: int = 0
    """Requests that the pace has held back since the last lesson."""
    learned_at: float = -inf
    """Time of the last 429 that was a lesson."""
    refused: int = 0
    """429s in a row."""
    second: int = 0
    """Whole second of the clock in which the last start was."""
    starts: int = 0
    """Starts in that second."""
    starts_before: int = 0
    """Starts in the second before it."""

    @classmethod
    def of(cls, numbers: object) -> Self:
        """Make a pace of its numbers, in their order. Raises ValueError for what can be no pace."""
        if not isinstance(numbers, list) or len(numbers) != len(fields(cls)) or not set(map(type, numbers)) <= _NUMBERS:
            raise ValueError("no pace")
        pace = cls(*numbers)
        if not (pace.ceiling > 0 and pace.span > 0):
            raise ValueError("no pace")
        return pace

    @property
    def rate(self) -> float:
        """Requests a second that are allowed now: the cubic curve of the module's docstring."""
        return self.ceiling * (1 + _CUT * (self.held / self.span - 1) ** 3)

    def reserve(self, now: float, max_rate: float, held: Start | None = None) -> tuple[Self, Start]:
        """Reserve the start of the next request; give the pace after it, and the start.

        ``held`` is a reservation made earlier, now due: it is still valid unless a 429 stopped the key since.
        """
        if held is not None and held.at >= self.stopped_until:
            return self, evolve(held, wait=0.0)
        start = max(now, self.next, self.stopped_until)
        rate = min(self.rate, max_rate)
        gone = int(start) - self.second
        after = evolve(
            self,
            next=start + 1 / rate,
            held=self.held + (start > now and self.rate < max_rate),
            second=int(start),
            starts=1 if gone else self.starts + 1,
            starts_before=self.starts if gone == 1 else 0 if gone else self.starts_before,
        )
        pause = max(self.stopped_until - now, 0.0)
        return after, Start(at=start, wait=start - now, pause=pause, rate=rate, proving=self.refused > 0)

    def spread(self, before: Self, now: float, times: float) -> Self:
        """Give the pace after a step from ``before``, but with ``times`` as long from one start to the next."""
        if self.next == before.next:
            return self
        start = max(now, before.next, before.stopped_until)
        return evolve(self, next=start + times * (self.next - start))

    def set_back(self, seconds: float, now: float) -> Self:
        """Give the pace by a clock that was set back by these seconds, and shows ``now``: what was to come comes as
        soon as before.
        """
        next_, stopped_until = (min(one, max(one - seconds, now)) for one in (self.next, self.stopped_until))
        return evolve(self, next=next_, stopped_until=stopped_until, learned_at=min(self.learned_at, now))

    def throttled(self, now: float, start: float, pause: float, max_rate: float) -> Self:
        """Stop for ``pause`` seconds after a 429 to the request that started at ``start``, and learn from it."""
        stopped = max(self.stopped_until, now + pause)
        if start <= self.learned_at:
            return evolve(self, stopped_until=stopped)
        after = evolve(self, stopped_until=stopped, learned_at=now, refused=self.refused + 1)
        if self.refused:  # no good answer since the last 429: the server still counts the old requests
            return after
        sending = self.rate if self.ceiling < inf else max(self._recent(now), _LEAST_CEILING)
        ceiling = min(sending, max_rate)
        span = max(_SPAN_REQUESTS, ceiling * max(_SPAN_SECONDS, _SPAN_PAUSES * pause))
        return evolve(after, ceiling=ceiling, span=span, held=0)

    def doubted(self, now: float, start: float, max_rate: float) -> Self:
        """Learn from a 503 without Retry-After to the request that started at ``start``: a limiter may have sent it."""
        if start <= self.learned_at:
            return self
        after = evolve(self, learned_at=now, refused=max(self.refused, 1), held=0)
        is_first = now - self.learned_at > _SOON and not self.rate < 2 * self.ceiling
        if is_first:
            return evolve(after, held=self.held)
        if self.refused:
            return after
        sending = min(self.rate, max_rate, self._recent(now))
        if self.rate <= _LEAST_BY_503:
            return evolve(after, ceiling=inf, span=1.0)
        if self.ceiling < inf and self.held >= self.span:
            span = min(2 * self.span, max(_SPAN_REQUESTS, _SPAN_SECONDS * sending))
            return evolve(after, ceiling=_BELOW * sending, span=span)
        return evolve(after, ceiling=max(sending / 2, _LEAST_BY_503), span=max(_SHORTER * self.span, _SHORT_SPAN))

    def _recent(self, now: float) -> float:
        """Estimate the starts of the last 1 s: those of this clock second, and a share of the second before it."""
        return self.starts + self.starts_before * min(max(self.second + 1 - now, 0.0), 1.0)

    def answered(self, start: float) -> Self:
        """Learn that the request that started at ``start`` was answered, and not by 429."""
        return evolve(self, refused=0) if start > self.learned_at else self
