"""Submits wait here while answers are being lost: what `mjbulk.mailjet.outage` decides is done.

If a submit waits and it is time for a try, a GET is sent for the purpose. An import that has no job yet has no poll
whose answer could show that the outage is over.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from math import inf
from typing import Any

from attrs import define

from mjbulk.errors import Error
from mjbulk.mailjet.outage import EARLY, Doubtful, Healthy, News, State, Ticket, after, may_leave
from mjbulk.tasks import Running, ended, keep

_log = logging.getLogger("mjbulk.requests")
_CLOSED = "the client was closed"


class StillOut(Exception):  # a signal to the transport, which knows the request and makes the error of it
    """A submit has waited for as long as it may, and no other was answered meanwhile."""

    def __init__(self, why: str) -> None:
        """Take what was wrong with the last lost answer."""
        super().__init__()
        self.why = why


class Recalled(Exception):  # a signal to the transport, which has the submit wait again
    """An outage began before a submit left."""


@define(eq=False)
class Leave:
    """The leave of one submit to go. Mutable: what has become of it, and its wait for other things."""

    ticket: Ticket
    news: News = News.BACK
    why: str = ""
    """What was wrong."""
    is_recalled: bool = False
    _wait: asyncio.Timeout | None = None

    def recall(self) -> None:
        """Take the leave back: an outage has begun. What has left is gone."""
        self.is_recalled = True
        if self._wait is not None:
            self._wait.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def wait(self) -> AsyncIterator[None]:
        """Hold a wait for other things that have to be there before the submit leaves. Raises Recalled."""
        try:
            async with asyncio.timeout(None) as self._wait:
                yield
        except TimeoutError:
            if not self.is_recalled:
                raise
        finally:
            self._wait = None
        if self.is_recalled:
            raise Recalled


class OutageGate:
    """Lets the submits of one API key go, or wait.

    Mutable state: the state of the outage, when it began and whether a warning said so; the submits that wait, in two
    queues, and those that may go; when a submit was answered last; what was wrong with the last lost answer; the timer
    and the task of the next try; whether a try waits for its grant, and for how long tries did; whether it was closed.
    """

    def __init__(self, most: int, ask: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Let all of them go. ``most`` is how many may be under way in good times. ``ask`` sends a GET, of which `tell`
        is called as of any other.
        """
        self._most = most
        self._ask = ask
        self._state: State = Healthy()
        self._began, self._warned = 0.0, False
        self._leaves: set[Leave] = set()
        self._first, self._second = deque[asyncio.Future[Ticket]](), deque[asyncio.Future[Ticket]]()
        self.answered_at = -inf
        """When a submit was answered last, in seconds of the loop's clock."""
        self._why = ""
        self._timer: asyncio.TimerHandle | None = None
        self._asking: Running[object] | None = None
        self._ungranted: asyncio.Future[None] | None = None
        self._tried_at, self._excused = 0.0, 0.0
        self._closed = False

    def __repr__(self) -> str:
        return f"<OutageGate: {self._state}>"

    @property
    def trouble(self) -> str:
        """What was wrong with the last lost answer, as long as no submit may leave; else empty."""
        return self._why if isinstance(self._state, Doubtful) else ""

    @asynccontextmanager
    async def leave(self, *, harmless: bool, within: float) -> AsyncIterator[Leave]:
        """Wait until a submit may go, and hear afterwards what has become of it.

        One that is ``harmless`` goes before others. Raises StillOut after ``within`` seconds in which no submit was
        answered.
        """
        leave = Leave(await self._turn(harmless=harmless, within=within))
        self._leaves.add(leave)
        try:
            if not self._is_current(leave.ticket):
                leave.recall()
            yield leave
        finally:
            self._leaves.discard(leave)
            self.tell(leave.news, leave.ticket, leave.why)

    def ticket(self) -> Ticket:
        """Give the ticket of a request that leaves now."""
        self._granted()
        return Ticket(self._state.round, asyncio.get_running_loop().time())

    def tell(self, news: News, ticket: Ticket, why: str = "") -> None:
        """Take a step, and do what follows from it. ``why`` is what was wrong."""
        now, before = asyncio.get_running_loop().time(), self._state
        if news is News.ANSWERED:
            self.answered_at = now
        if news in (News.LOST, News.MISSED):
            self._why = why
        self._state = after(before, news, ticket, now, self._most)
        self._report(before, news, now)
        if self._state.round != before.round:
            for leave in self._leaves:
                leave.recall()
        self._let_go()
        self._schedule()

    async def aclose(self) -> None:
        """Let nothing go any more: who waits raises Error, and so does who comes later."""
        self._closed = True
        self._schedule()
        for turn in (*self._first, *self._second):
            if not turn.done():
                turn.set_exception(Error(_CLOSED))
        if self._asking is not None:
            self._asking.cancel()
            await ended([self._asking])

    def _report(self, before: State, news: News, now: float) -> None:
        """Warn of an outage when a second answer was lost, and say that it has ended."""
        if isinstance(before, Healthy) and isinstance(self._state, Doubtful):
            self._began = now
        elif self._state is not before and news in (News.LOST, News.MISSED, News.UNHEARD) and not self._warned:
            self._warned = True
            _log.warning("answers are lost (%s): submits wait until answers come again", self._why)
        if self._warned and isinstance(self._state, Healthy):
            self._warned = False
            _log.info("answers come again, after %.1f s", now - self._began)

    # Turns

    def _is_current(self, ticket: Ticket) -> bool:
        """Say whether no outage has begun since a submit got its ticket."""
        return ticket.round == self._state.round

    async def _turn(self, *, harmless: bool, within: float) -> Ticket:
        if self._closed:
            raise Error(_CLOSED)
        turn: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        (self._first if harmless else self._second).append(turn)
        self._let_go()
        self._schedule()
        try:
            await self._in_time(turn, within)
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:  # let go in the same moment
                self.tell(News.BACK, turn.result())
            raise
        finally:
            turn.cancel()
        return turn.result()

    async def _in_time(self, turn: asyncio.Future[Ticket], within: float) -> None:
        """Wait for a turn. Raises StillOut when the time is over, which does not count waits for the quota."""
        loop = asyncio.get_running_loop()
        came, excused = loop.time(), self._excused
        while not turn.done():
            left = max(came, self.answered_at) + within + self._excused - excused - loop.time()
            if self._ungranted is not None:
                either: list[asyncio.Future[Any]] = [turn, self._ungranted]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            elif left < EARLY:
                raise StillOut(self._why)
            else:
                await asyncio.wait([turn], timeout=left if left < inf else None)

    def _let_go(self) -> None:
        """Let go as many as may, those that are harmless first."""
        while may_leave(self._state, self._most) and self._waiting():
            ticket = self.ticket()
            self._state = after(self._state, News.LEFT, ticket, ticket.at, self._most)
            (self._first or self._second).popleft().set_result(ticket)

    def _waiting(self) -> bool:
        """Drop those that were cancelled from the front of the queues, and say whether any waits."""
        for queue in (self._first, self._second):
            while queue and queue[0].done():
                queue.popleft()
        return bool(self._first or self._second)

    # Tries

    def _schedule(self) -> None:
        """Have a GET sent when the wait is over, if a submit waits and none is under way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if isinstance(self._state, Doubtful) and self._asking is None and self._waiting() and not self._closed:
            self._timer = asyncio.get_running_loop().call_at(self._state.until, self._try)

    def _try(self) -> None:
        """Send a GET."""
        before, loop = self._state, asyncio.get_running_loop()
        self._ungranted, self._tried_at = loop.create_future(), loop.time()
        self._asking = keep(self._ask(), name="mjbulk asks whether answers come again")
        self._asking.add_done_callback(lambda asking: self._asked(asking, before))

    def _granted(self) -> None:
        """Hear that the quota grants requests: a try does not wait for it any more."""
        if self._ungranted is not None:
            self._excused += asyncio.get_running_loop().time() - self._tried_at
            self._ungranted.set_result(None)
            self._ungranted = None

    def _asked(self, asking: Running[object], before: State) -> None:
        """Hear that it has ended. If it changed nothing, it did not even leave."""
        self._asking = None
        self._granted()
        if not asking.cancelled():
            asking.exception()
        if self._state is before and not self._closed:
            self.tell(News.UNHEARD, self.ticket())
        self._schedule()
