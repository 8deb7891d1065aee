"""When the next request of an API key may start: paced, at a rate that is set, or learned from 429s.

The theory.

**Pace, do not window.** Who allows N requests in each second of its own clock lets up to 2 N through one second of the
server's. Here each start is at least ``1 / rate`` seconds after the one before it (GCRA with a burst of one), so that
no second, wherever it begins, holds more than ``rate + 1``.

**What a 429 teaches.** Mailjet limits requests by key and time, names no number, and sends no Retry-After (observed).
So there is no rate but the one that the user sets, until the first 429. Then

- the whole key stops: for Retry-After, never less, or for a wait that doubles with each 429 in a row;
- the rate at which it was sending is the new `Pace.ceiling` (the first time, the requests of the second before), and it
  goes on at 0.9 of it. One overrun is one lesson:
  429s to requests that had left before it was learned, and those that come before an answer is good again, teach
  nothing new;
- it grows back along a cubic (as CUBIC does for TCP in RFC 9438, and botocore for AWS): flat about the ceiling, where
  the limit must be, steep where it evidently is not. It counts requests that the pace has held back: who was not held
  back has not tried the limit;
- the ceiling is reached again after `Pace.span` requests: not before 30 s, for each try costs some 429s and a pause;
  not before 30 pauses, however long the server makes them; and not before 150 requests, where the limit is low.

So, with a limit a second that does not move, a 429 or two come to some 600 answers at 20 a second; the mean of the
curve (0.975) less the pauses (1/30) is used. A limit that moves is found again: in three spans the rate has doubled.

It is assumed that the limit is one for all calls of a key, and that it counts requests, not bytes. A limit by the
minute would be used up at its beginning, and waited for with longer and longer pauses: as much gets through, with some
429s in a hundred. Who knows their limit sets it, and meets none.
"""

from math import inf
from typing import Self

from attrs import evolve, frozen

_CUT = 0.1
"""The share by which a 429 lowers the rate."""
_SPAN_SECONDS = 30.0
_SPAN_PAUSES = 30.0
_SPAN_REQUESTS = 150.0
_LEAST = 10.0
"""Requests a second: the first 429 teaches no lower ceiling, for one that met a lonely request says little."""


@frozen(kw_only=True)
class Start:
    """When a request may start."""

    at: float
    """By the clock of the quota."""
    wait: float
    """Seconds until then. After such a wait the start has to be confirmed: the key may have been stopped meanwhile."""
    pause: float = 0.0
    """Seconds for which the key is stopped."""
    proving: bool = False
    """Whether the last answer that is known was a 429: a good one is news."""


@frozen
class Pace:
    """The pace of one API key: what there is to know, in numbers. All times are of one clock, in seconds."""

    next: float = 0.0
    """The earliest start of the next request, as far as the rate says."""
    stopped_until: float = 0.0
    """Nobody starts before."""
    ceiling: float = inf
    """Requests a second at which the last 429 came; none came yet where it is infinite."""
    span: float = 1.0
    """Requests until the ceiling is reached again."""
    held: int = 0
    """Requests that the pace has held back since the ceiling was learned."""
    learned_at: float = -inf
    """When the last 429 taught something."""
    refused: int = 0
    """429s in a row."""
    second: int = 0
    """The second of the clock in which the last start was."""
    starts: int = 0
    """Starts in that second."""
    starts_before: int = 0
    """Starts in the second before it."""

    @property
    def rate(self) -> float:
        """Requests a second that are allowed, as far as is known."""
        return self.ceiling * (1 + _CUT * (self.held / self.span - 1) ** 3)

    def reserve(self, now: float, max_rate: float, held: Start | None = None) -> tuple[Self, Start]:
        """Give the start of the next request, and the pace after it.

        ``held`` is a start that was given before and whose time has come: it holds unless the key was stopped
        meanwhile.
        """
        if held is not None and held.at >= self.stopped_until:
            return self, evolve(held, wait=0.0)
        start = max(now, self.next, self.stopped_until)
        gone = int(start) - self.second
        after = evolve(
            self,
            next=start + 1 / min(self.rate, max_rate),
            held=self.held + (start > now and self.rate < max_rate),
            second=int(start),
            starts=1 if gone else self.starts + 1,
            starts_before=self.starts if gone == 1 else 0 if gone else self.starts_before,
        )
        pause = max(self.stopped_until - now, 0.0)
        return after, Start(at=start, wait=start - now, pause=pause, proving=self.refused > 0)

    def throttled(self, now: float, start: float, pause: float, max_rate: float) -> Self:
        """Learn from a 429 to the request that started then, and stop for ``pause`` seconds."""
        stopped = max(self.stopped_until, now + pause)
        if start <= self.learned_at:
            return evolve(self, stopped_until=stopped)
        after = evolve(self, stopped_until=stopped, learned_at=now, refused=self.refused + 1)
        if self.refused:  # the server is still counting, whatever the rate is
            return after
        sending = self.rate if self.ceiling < inf else max(self._recent(now), _LEAST)
        ceiling = min(sending, max_rate)
        span = max(_SPAN_REQUESTS, ceiling * max(_SPAN_SECONDS, _SPAN_PAUSES * pause))
        return evolve(after, ceiling=ceiling, span=span, held=0)

    def _recent(self, now: float) -> float:
        """Count the starts of the last second, those of the second before it by their share."""
        return self.starts + self.starts_before * min(max(self.second + 1 - now, 0.0), 1.0)

    def answered(self, start: float) -> Self:
        """Learn that the request that started then was not answered 429."""
        return evolve(self, refused=0) if start > self.learned_at else self
