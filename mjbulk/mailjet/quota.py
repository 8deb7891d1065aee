"""Which request of an API key may go out now.

The theory. Mailjet limits an API key, so all requests of one key pass one `Gate`, and a 429 to one of them stops them
all. The gate grants a request when it has three things, in this order:

1. a free slot: at most ``concurrency`` requests are under way;
2. a start time, from `mjbulk.mailjet.pace`, which knows the rate and what was learned from 429s;
3. a request that waits, and whose body has room in the `mjbulk.mailjet.window` of a slow link.

The gate picks the request last, when slot and start time are ready: a request that is cancelled while it waits wastes
neither.

Where starts are spaced, the next one is reserved when the request before it has left. What it does before that (its
intent goes to the journal) may take as long as a disk or a database likes: requests that were granted meanwhile would
then leave all at once. A request that leaves ``d`` seconds later than others do counts in a later second of the
server's clock, which has room for it if the starts of a second are spread over ``1 + d`` seconds: they are.

Two queues wait. Submits and account calls come first: nothing else can happen before a submit, and account calls are
few and somebody waits for them. Polls and downloads come second, but get at least one grant in four: without that floor
a full pipeline would never see a job end. Each queue is first in, first out; but while a body waits for room on a slow
link, requests with small bodies or none pass it.

A `Quota` keeps the pace of each key, in this process or where several processes share it. It only applies steps to a
pace, by its own clock. Slots and queues belong to one process.
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
from mjbulk.mailjet.window import SMALL, Window
from mjbulk.public import public
from mjbulk.tasks import Running, ended, is_stray, keep

_T = TypeVar("_T")
Step = Callable[[Pace, float], tuple[Pace, _T]]
"""A pure function: takes the pace of a key and the time in seconds, gives the new pace and a result."""
_Turn = tuple[asyncio.Future[Start], int]
"""A request that waits, and the bytes of its body."""
_SECOND: tuple[Kind, ...] = ("poll", "download")
"""The kinds of the second queue."""
_FLOOR = 4
"""One grant in this many goes to the second queue, if a request waits there."""
_MOST_LATE = 0.2
"""Seconds. What is later than this counts as this much."""
_FORGOTTEN = 0.1
"""Share of a lateness that each later one replaces."""
_LONGEST_PAUSE = 3600.0
"""Seconds. A longer Retry-After is taken as this."""
_CLOSED = "the client was closed"


@public
class Quota(Protocol):
    """Keeps the pace of API keys, with a clock of its own: in this process by default, or in a `RedisQuota`."""

    max_rate: float
    """Limit in requests a second for one key, over all processes that share this quota."""

    async def change(self, key: str, step: Step[_T]) -> _T:
        """Apply a step to the pace of a key, completely or not at all, and give its result.

        ``key`` is a fingerprint. ``step`` is pure and may be called more than once. A new key has the pace `Pace()`.
        """

    async def aclose(self) -> None:
        """Close the connections. A later call of `change` opens new ones."""


class LocalQuota:
    """The pace of API keys in this process, by the clock of its event loop. Mutable state: the paces."""

    def __init__(self) -> None:
        """Start without any limit: the first 429 sets one."""
        self.max_rate = inf
        self._paces: dict[str, Pace] = {}

    async def change(self, key: str, step: Step[_T]) -> _T:
        """Apply a step to the pace of a key; see `Quota.change`."""
        now = asyncio.get_running_loop().time()
        self._paces[key], result = step(self._paces.get(key, Pace()), now)
        return result

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""


class KeyStopped(Exception):  # a signal to the transport, which knows the request and makes the error of it
    """The server has stopped this key for more than `MAX_RETRY_AFTER` seconds: no request waits that long."""

    def __init__(self, seconds: float) -> None:
        """Take the seconds for which the key stays stopped."""
        super().__init__()
        self.seconds = seconds


class Gate:
    """Grants the requests of one API key. Mutable state: the number of free slots, the two queues with the number of
    grants that the first got in a row, the request that is about to leave, when it was due, how late others were, the
    task that grants, and whether it was closed.
    """

    def __init__(
        self,
        quota: Quota,
        key: str,
        *,
        concurrency: int,
        max_rate: float | None = None,
        chance: random.Random,
        window: Window | None = None,
    ) -> None:
        """Let ``concurrency`` requests be under way at once, and of bodies as many bytes as ``window`` allows.

        ``chance`` spreads the waits after a 429.
        """
        self._quota = quota
        self._key = key
        self._free_slots = concurrency
        self._max_rate = min(quota.max_rate, inf if max_rate is None else max_rate)
        self._chance = chance
        self._window = window or Window(concurrency, 0)
        self._queues: tuple[deque[_Turn], ...] = (deque(), deque())
        self._firsts_in_a_row = 0
        self._leaving: Start | None = None
        self._due = 0.0
        self._lateness: tuple[float, float] | None = None  # the least and the most of the last ones
        self._granting: Running[None] | None = None
        self._backoff = Backoff()
        self._closed = False
        self.stopped_until = -inf
        """Until when no request may start, in seconds of the loop's clock: the server has asked for a pause."""

    @asynccontextmanager
    async def grant(self, kind: Kind, size: int = 0) -> AsyncIterator[Start]:
        """Wait for a grant, and hold its slot while the request is under way, with a body of ``size`` bytes.

        Raises KeyStopped if the server has stopped the key for too long, and whatever the quota raises.
        """
        start = await self._turn(kind, size)
        try:
            yield start
        finally:
            self._release(start, size)

    def left(self, start: Start) -> None:
        """Hear that the request that had this start leaves now: where starts are spaced, the next one waits for it."""
        if self._leaving is start:
            late = min(asyncio.get_running_loop().time() - self._due, _MOST_LATE)
            least, most = self._lateness or (late, late)
            self._lateness = (
                min(late, least + _FORGOTTEN * (late - least)),
                max(late, most + _FORGOTTEN * (late - most)),
            )
            self._leaving = None
            self._wake()

    async def throttled(self, start: Start, asked: float | None) -> float | None:
        """Stop the key, after a 429 to the request that had this start. Give for how many seconds; None if that was
        learned before.

        The stop lasts ``asked`` seconds if the server asked for that (Retry-After); otherwise it doubles with each 429
        in a row.
        """
        chance, wait = self._chance.random(), None

        def step(pace: Pace, now: float) -> tuple[Pace, None]:
            nonlocal wait
            if asked is None and start.at <= pace.learned_at:  # it started before that lesson
                return pace, None
            wait = self._backoff.seconds(pace.refused + 1, chance, asked=asked, throttled=True)
            # Jitter must not lift a wait past `MAX_RETRY_AFTER`, where requests fail instead of waiting.
            wait = min(wait, max(asked or 0.0, MAX_RETRY_AFTER), _LONGEST_PAUSE)
            return pace.throttled(now, start.at, wait, self._max_rate), None

        await self._change(step)
        return wait

    async def doubted(self, start: Start) -> None:
        """Note that the request that had this start was answered 503, without a word about a pause."""
        await self._change(lambda pace, now: (pace.doubted(now, start.at, self._max_rate), None))

    async def answered(self, start: Start) -> None:
        """Note that a request was answered, and not by 429: 429s are no longer in a row."""
        if start.proving:
            await self._change(lambda pace, _: (pace.answered(start.at), None))

    async def aclose(self, within: float) -> None:
        """Stop granting, and close the quota. Requests that wait raise Error, and so do later ones.

        Raises what the quota raises, and Error if it takes longer than ``within`` seconds.
        """
        self._closed = True
        self._fail(Error(_CLOSED))
        try:
            if self._granting is not None:
                self._granting.cancel()
                await ended([self._granting])
        finally:
            await self._close_quota(within)

    async def _close_quota(self, within: float) -> None:
        """Close the quota. It may be the user's own: then it may raise whatever it likes, and may never end."""

        async def close() -> None:
            await self._quota.aclose()

        closing = keep(close(), name="mjbulk closes a quota")
        await asyncio.wait([closing], timeout=within)
        if not closing.done():
            closing.cancel()
            raise Error(f"the quota has not closed within {within:g} s")
        if closing.cancelled():
            raise Error("the quota was cancelled while it was closed")
        closing.result()

    async def _change(self, step: Step[_T]) -> _T:
        """Apply a step to the pace of this key. Raises what it raises, but an Error for a CancelledError of its own."""
        try:
            return await self._quota.change(self._key, step)
        except asyncio.CancelledError:
            if not is_stray():
                raise
            raise Error("the quota was cancelled") from None

    async def _turn(self, kind: Kind, size: int) -> Start:
        if self._closed:
            raise Error(_CLOSED)
        turn: asyncio.Future[Start] = asyncio.get_running_loop().create_future()
        self._queues[kind in _SECOND].append((turn, size))
        self._wake()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:  # granted in the same moment
                self._release(turn.result(), size)
            raise

    def _release(self, start: Start, size: int) -> None:
        self._free_slots += 1
        self._window.give_back(size)
        if self._leaving is start:
            self._leaving = None
        self._wake()

    def _wake(self) -> None:
        """Start the task that grants, if it may find something to do."""
        if self._may_grant() and (self._granting is None or self._granting.done()):
            self._granting = keep(self._grant(), name="mjbulk grants")
            self._granting.add_done_callback(self._stopped)

    def _may_grant(self) -> bool:
        return self._free_slots > 0 and self._leaving is None

    async def _grant(self) -> None:
        """Grant requests until no slot is free, none waits, or one is about to leave."""
        try:
            while self._may_grant() and self._fitting() is not None:
                start = await self._start()
                if (fitting := self._fitting()) is not None:
                    self._take(fitting, start)
        except Exception as why:  # noqa: BLE001  # whatever the quota raises goes to the requests that wait
            self._fail(why)

    def _stopped(self, granting: Running[None]) -> None:
        """Hear that nothing is granted any more for now. If somebody has cancelled that, nobody may wait for it."""
        if granting.cancelled() or granting.exception() is not None:
            self._fail(Error("it was cancelled while it waited for its turn"))

    async def _start(self) -> Start:
        """Reserve the next start, and wait until its time has come and the key is not stopped."""
        least, most = self._lateness or (0.0, 0.0)
        start, max_rate = None, self._max_rate / (1 + most - least)
        while start is None or start.wait > 0:
            held = start
            start = await self._change(partial(_reserve, max_rate=max_rate, held=held))
            now = asyncio.get_running_loop().time()
            if held is None or start.wait > 0:
                self._due = now + start.wait
            self.stopped_until = now + start.pause if start.wait > 0 else -inf
            if start.pause > MAX_RETRY_AFTER:
                raise KeyStopped(start.pause)
            if start.wait > 0:
                await asyncio.sleep(start.wait)
        return start

    def _fitting(self) -> tuple[deque[_Turn], int] | None:
        """Give the place of the request that is next; None if none waits that has room."""
        first, second = (_first_with_room(queue, self._window) for queue in self._queues)
        if second is not None and (first is None or self._firsts_in_a_row >= _FLOOR - 1):
            return self._queues[1], second
        return None if first is None else (self._queues[0], first)

    def _take(self, place: tuple[deque[_Turn], int], start: Start) -> None:
        """Take a request out of its queue, and grant it."""
        queue, at = place
        turn, size = queue[at]
        del queue[at]
        self._firsts_in_a_row = 0 if queue is self._queues[1] else self._firsts_in_a_row + 1
        self._free_slots -= 1
        self._leaving = start if start.rate < inf else None
        self._window.take(size)
        turn.set_result(start)

    def _fail(self, why: Exception) -> None:
        """Raise ``why`` in all requests that wait."""
        for queue in self._queues:
            while queue:
                turn, _ = queue.popleft()
                if not turn.done():
                    turn.set_exception(why)


def _first_with_room(queue: deque[_Turn], window: Window) -> int | None:
    """Give the place of the first request that has room, and drop cancelled ones from the front."""
    while queue and queue[0][0].done():
        queue.popleft()
    blocked = False
    for at, (turn, size) in enumerate(queue):
        if turn.done():
            continue
        if window.has_room(size) and not (blocked and size >= SMALL):
            return at
        blocked = True  # no other body overtakes it: smaller ones could, without end
    return None


def _reserve(pace: Pace, now: float, *, max_rate: float, held: Start | None) -> tuple[Pace, Start]:
    """Reserve the next start of a pace, unless no request would wait for it."""
    after, start = pace.reserve(now, max_rate, held)
    return (pace if start.pause > MAX_RETRY_AFTER else after), start
