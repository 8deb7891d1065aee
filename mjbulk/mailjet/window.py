"""How many bytes of bodies may be under way on a slow link, and how large a body should be.

The theory. A link that carries R bytes a second takes S / R seconds for S bytes, however many requests share it. All of
them get slower together, and a gateway may cut a request that takes long. So a body should be through within `AIM`
seconds. While each body is, nothing is limited, and nothing is measured.

- **Downwards.** A body that has moved for more than `AIM` seconds, and is not through, is a lesson: from now on at most
  R * AIM bytes may be under way. R is what has moved lately, of all bodies together, by the seconds in which any was
  under way (the last 5 to 10 of them). A body that does not move is not slow: it is no lesson.
- **Size.** A new body is to have an equal share of that window, so that as many requests as before are under way, and
  fewer only where a share would be less than `_LEAST`. That uses the link whether the requests have one bottleneck
  together or each has its own.
- **Upwards.** A body that was through in less than half of `AIM` widens the window by a quarter of its size, if the
  window was used at least by half when it began: a window that is not used was not tried (RFC 7661). Once there is room
  for as many of the largest bodies as requests may be under way, nothing is limited any more.
"""

from math import inf

from attrs import define

AIM = 5.0
"""Seconds within which a body should be through."""
_QUICK = AIM / 2
"""Seconds. A body that was through in less may widen the window."""
_SILENT = 2.5
"""Seconds without a byte after which a link is not slow, but silent."""
_WIDENS = 0.25
"""Share of its size by which it does."""
SMALL = 4096
"""Bytes. A smaller body waits for no room."""
_LEAST = 64 * 1024
"""Bytes. No link is so slow that bodies should be smaller."""


@define(eq=False)
class Moving:
    """A body that is under way. Mutable: how much of it has moved."""

    size: int
    """Bytes."""
    began: float
    """Time of its first byte, in seconds."""
    tries: bool
    """Whether the window was used at least by half then."""
    since: float
    """Since when it has moved without a silence."""
    last: float
    """When it has moved last."""
    moved: int = 0
    """Bytes."""


class Window:
    """What a link was seen to carry. Mutable state: the window, what is under way in it, and what has moved lately.

    All times are seconds of one clock.
    """

    def __init__(self, requests: int, size: int) -> None:
        """Limit nothing yet: ``requests`` bodies of ``size`` bytes may be under way at once."""
        self.bytes = inf
        """How many bytes may be under way."""
        self._requests = requests
        self._all = requests * size
        self._taken = 0
        self._moving = 0
        self._meter = _Meter()

    def share(self) -> float:
        """Give the bytes that a new body should have at most."""
        return max(self.bytes / self._requests, _LEAST)

    @property
    def rate(self) -> float:
        """Bytes a second that have moved lately."""
        return self._meter.rate

    def has_room(self, size: int) -> bool:
        """Say whether a body may be under way too. One alone always may, and so may one that is small."""
        return size < SMALL or not self._taken or self._taken + size <= self.bytes

    def take(self, size: int) -> None:
        """Give a body its room, before it begins."""
        self._taken += size

    def give_back(self, size: int) -> None:
        """Take the room back."""
        self._taken -= size

    def begin(self, size: int, now: float) -> Moving:
        """Hear that the first byte of a body leaves."""
        self._meter.pass_time(now, busy=self._moving > 0)
        self._moving += 1
        return Moving(size, now, self._taken >= self.bytes / 2, since=now, last=now)

    def move(self, body: Moving, moved: int, now: float) -> bool:
        """Hear how many bytes of a body have moved by now, and say whether any has since the last time."""
        more = min(moved, body.size) - body.moved
        if more <= 0:
            return False
        body.moved += more
        if now - body.last > _SILENT:
            body.since = now
        body.last = now
        self._meter.pass_time(now, busy=True)
        self._meter.add(more)
        if body.moved < body.size and now - body.since > AIM:
            self._narrow()
        return True

    def end(self, body: Moving, now: float) -> None:
        """Hear that a body is through, or does not move any more."""
        self._meter.pass_time(now, busy=True)
        self._moving -= 1
        if body.moved == body.size and body.tries and now - body.began < _QUICK:
            self._widen(body.size)

    def _narrow(self) -> None:
        carried = max(self.rate * AIM, 2 * _LEAST)
        if carried < self._all:
            self.bytes = min(self.bytes, carried)

    def _widen(self, size: int) -> None:
        self.bytes += size * _WIDENS
        if self.bytes >= self._all:
            self.bytes = inf


@define(eq=False)
class _Meter:
    """Bytes that have moved, and the seconds in which any body was under way: of the present period and of the one
    before it. A period ends after `AIM` such seconds. Mutable.
    """

    bytes: int = 0
    seconds: float = 0.0
    bytes_before: int = 0
    seconds_before: float = 0.0
    counted: float = 0.0
    """Until when time was counted."""

    def pass_time(self, now: float, *, busy: bool) -> None:
        """Count the time since the last call, if it was busy; a silence counts only in its beginning."""
        self.seconds += min(now - self.counted, _SILENT) * busy
        self.counted = now
        if self.seconds >= AIM:
            self.bytes_before, self.seconds_before = self.bytes, self.seconds
            self.bytes, self.seconds = 0, 0.0

    def add(self, moved: int) -> None:
        """Count bytes that have moved."""
        self.bytes += moved

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return (self.bytes + self.bytes_before) / max(self.seconds + self.seconds_before, 1.0)
