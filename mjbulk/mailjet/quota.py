"""Which request of an API key may go out now.

The theory. A limit is the key's, so there is one `Gate` for all that a key does, and a 429 to one request stops them
all. A request passes when three things are there, in this order: a place among those that may be under way, a start
(`mjbulk.mailjet.pace`: how fast, and what 429s teach), and its turn. Which request gets them is decided last, so that a
start never belongs to one that has gone away, and one that is cancelled takes nothing along.

Submits go first, for nothing else can happen before them; account calls are few, and somebody waits for them. Polls and
downloads keep a floor of one grant in four, or a full pipeline would never see a job end. Within each of the two,
who asked first goes first.

The pace is kept in this process, or where processes share it: both are a `Quota`, which does no more than apply a step
to the pace of a key, at its own time. Places and turns are each process's own.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import Protocol, TypeVar

from mjbulk.errors import Error
from mjbulk.mailjet.pace import Pace, Start
from mjbulk.mailjet.requests import Kind
from mjbulk.mailjet.verdict import MAX_RETRY_AFTER, Backoff

_T = TypeVar("_T")
Step = Callable[[Pace, float], tuple[Pace, _T]]
"""Takes the pace of a key and the time, and gives the pace after it, and what it came to."""
_SECOND: tuple[Kind, ...] = ("poll", "download")
_FLOOR = 4
"""One grant in so many goes to a poll or a download, where one waits."""
_LONGEST_PAUSE = 3600.0
"""Seconds: a longer Retry-After is not believed."""


class Quota(Protocol):
    """Where the pace of API keys is kept, and by whose clock: in the process by default, or in a `RedisQuota`."""

    max_rate: float
    """Requests a second of one key at most, of all who share this quota."""

    async def change(self, key: str, step: Step[_T]) -> _T:
        """Apply a step to the pace of a key, whole or not at all, and give what it came to.

        ``key`` is a fingerprint. ``step`` is pure, and may be called more than once. A key that is new has `Pace()`.
        """

    async def aclose(self) -> None:
        """Let go of connections. What comes later opens them anew."""


class LocalQuota:
    """The pace of API keys in this process, by the clock of its event loop. Mutable state: the paces."""

    def __init__(self) -> None:
        """Nothing is limited before the first 429."""
        self.max_rate = inf
        self._paces: dict[str, Pace] = {}

    async def change(self, key: str, step: Step[_T]) -> _T:
        """Apply a step; see `Quota.change`."""
        now = asyncio.get_running_loop().time()
        self._paces[key], result = step(self._paces.get(key, Pace()), now)
        return result

    async def aclose(self) -> None:
        """There is nothing to let go of."""


class KeyStopped(Exception):  # a signal to the transport, which knows what the request was
    """The server has stopped this key for longer than anybody waits."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class Gate:
    """Grants the requests of one API key. Mutable state: free places, the two queues, and the task that grants."""

    def __init__(
        self, quota: Quota, key: str, *, concurrency: int, max_rate: float | None = None, chance: random.Random
    ) -> None:
        """``concurrency`` requests may be under way; ``chance`` spreads the waits after a 429."""
        self._quota = quota
        self._key = key
        self._free = concurrency
        self._max_rate = min(quota.max_rate, inf if max_rate is None else max_rate)
        self._chance = chance
        self._queues: tuple[deque[asyncio.Future[Start]], ...] = (deque(), deque())
        self._firsts_in_a_row = 0
        self._granting: asyncio.Task[None] | None = None
        self._backoff = Backoff()

    @asynccontextmanager
    async def grant(self, kind: Kind) -> AsyncIterator[Start]:
        """Hold this while a request is under way.

        Raises KeyStopped where the key may not send for so long that nobody waits for it, and what the quota raises.
        """
        start = await self._turn(kind)
        try:
            yield start
        finally:
            self._give_back()

    async def throttled(self, start: Start, asked: float | None) -> None:
        """Stop the key, for a request that was answered 429: for as long as was ``asked``, or for a growing wait."""
        chance = self._chance.random()

        def step(pace: Pace, now: float) -> tuple[Pace, None]:
            if asked is None and start.at <= pace.learned_at:  # it left before the 429 that stopped the key
                return pace, None
            wait = self._backoff.seconds(pace.refused + 1, chance, asked=asked, throttled=True)
            # A wait that may be waited for stays one when it is stretched.
            wait = min(wait, max(asked or 0.0, MAX_RETRY_AFTER), _LONGEST_PAUSE)
            return pace.throttled(now, start.at, wait, self._max_rate), None

        await self._quota.change(self._key, step)

    async def answered(self, start: Start) -> None:
        """Hear that a request was answered, and not by 429."""
        if start.proving:
            await self._quota.change(self._key, lambda pace, _: (pace.answered(start.at), None))

    async def aclose(self) -> None:
        """Stop granting. Those who wait are told."""
        if self._granting is not None:
            self._granting.cancel()
            await asyncio.gather(self._granting, return_exceptions=True)
        self._fail(Error("the client was closed"))
        await self._quota.aclose()

    async def _turn(self, kind: Kind) -> Start:
        turn: asyncio.Future[Start] = asyncio.get_running_loop().create_future()
        self._queues[kind in _SECOND].append(turn)
        self._go_on()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._give_back()
            raise

    def _give_back(self) -> None:
        self._free += 1
        self._go_on()

    def _go_on(self) -> None:
        if self._granting is None and self._free:
            self._granting = asyncio.create_task(self._grant())

    async def _grant(self) -> None:
        """Grant as long as there are places and requests."""
        try:
            while self._free and self._waiting():
                start = await self._start()
                turn = self._next()
                if turn is not None:
                    self._free -= 1
                    turn.set_result(start)
        except Exception as why:  # noqa: BLE001  # whatever the quota raises belongs to those who wait for it
            self._fail(why)
        finally:
            self._granting = None

    async def _start(self) -> Start:
        """Wait for the next start."""
        start = None
        while start is None or start.wait > 0:
            reserve = partial(_reserve, max_rate=self._max_rate, held=start)
            start = await self._quota.change(self._key, reserve)
            if start.pause > MAX_RETRY_AFTER:
                raise KeyStopped(start.pause)
            if start.wait > 0:
                await asyncio.sleep(start.wait)
        return start

    def _waiting(self) -> bool:
        """Whether anybody waits, once those who went away are taken out."""
        for queue in self._queues:
            while queue and queue[0].done():
                queue.popleft()
        return any(self._queues)

    def _next(self) -> asyncio.Future[Start] | None:
        """Take who is next out of the queue."""
        if not self._waiting():
            return None
        first, second = self._queues
        if second and (not first or self._firsts_in_a_row >= _FLOOR - 1):
            self._firsts_in_a_row = 0
            return second.popleft()
        self._firsts_in_a_row += 1
        return first.popleft()

    def _fail(self, why: Exception) -> None:
        while self._waiting():
            turn = self._next()
            if turn is not None:
                turn.set_exception(why)


def _reserve(pace: Pace, now: float, *, max_rate: float, held: Start | None) -> tuple[Pace, Start]:
    after, start = pace.reserve(now, max_rate, held)
    return (pace if start.pause > MAX_RETRY_AFTER else after), start  # what is not waited for is not reserved
