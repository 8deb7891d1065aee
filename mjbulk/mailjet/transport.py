"""One request until it is answered: wait for the gate, exchange, judge, retry.

What follows from each attempt is decided in `mjbulk.mailjet.attempts`. `Transport` does what is decided there.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from math import ceil, inf
from typing import IO, TYPE_CHECKING, Any, Generic, Literal, TypeVar

import backoff
from attrs import define, evolve, field
from yarl import URL

from mjbulk.config import Settings
from mjbulk.errors import ApiError, NoAnswer
from mjbulk.events import Emit, Scope, scope_within
from mjbulk.mailjet.attempts import (
    AttemptResult,
    GaveUp,
    Patience,
    Raise,
    Retry,
    Tries,
    decide,
    is_sign,
    seconds_left,
)
from mjbulk.mailjet.outage_gate import OutageGate, Recalled, StillOut
from mjbulk.mailjet.pace import Start
from mjbulk.mailjet.quota import Gate, KeyStopped
from mjbulk.mailjet.replies import decode_lists
from mjbulk.mailjet.request_count import count_request
from mjbulk.mailjet.requests import Request, sign_of_life_request
from mjbulk.mailjet.response import ExchangeFailed
from mjbulk.mailjet.results import heard, news, result_of
from mjbulk.mailjet.retry_budget import RetryBudget
from mjbulk.mailjet.verdict import Ending, Phase, Verdict

if TYPE_CHECKING:  # it is imported late: see mjbulk.run.loading
    from mjbulk.mailjet.http import Exchange

_T = TypeVar("_T")
OnAnswer = Callable[[int, Mapping[str, str]], object]
"""Takes the status and the headers of every answer, before it is judged."""
MAX_REPLY = 16 * 2**20
"""Bytes. A longer answer counts as lost."""
MAX_ERROR_FILE = 64 * 2**20
"""The same for an error file."""


_ONCE = Patience(attempts=1, seconds=inf)


def usual_patience(settings: Settings) -> Patience:
    """Give the patience for a submit that the settings say."""
    return Patience(attempts=settings.attempts, seconds=settings.give_up_after)


async def _ignore() -> None:
    """Do nothing."""


@define
class Doubt:
    """Whether a request may have been applied without a readable answer. The owner reads it after a cancellation."""

    sent: bool = False
    leaving: Callable[[], Awaitable[object]] = _ignore
    """Is awaited when the gate has granted the request and it is about to leave, unless it is in doubt already."""
    returned: Callable[[], Awaitable[object]] = _ignore
    """Is awaited before a retry where nothing of the request was applied."""


@define(kw_only=True)
class _Sending(Generic[_T]):
    """A request that is being sent. Mutable: what changes from attempt to attempt."""

    request: Request
    decode: Callable[[bytes], _T]
    harmless: bool
    patience: Patience
    doubt: Doubt
    max_reply: float
    sink: IO[bytes] | None
    on_answer: OnAnswer | None
    tries: Tries = field(factory=Tries)
    paid: float = 0.0
    """Tokens that its last retry cost."""
    came: float = 0.0
    """When the attempt began to wait for its turn, by the loop's clock."""
    began: float = 0.0
    """When it left."""
    scope: Scope = field(factory=Scope)
    """That of the attempt."""

    def gave_up(self, why: str) -> GaveUp:
        """Make the error that ends it."""
        return GaveUp(self.request.call, why=why, attempts=self.tries.count, sent=self.doubt.sent)


class _Again(Exception):  # a signal to the loop of attempts
    """Retry after this wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class Transport:
    """The requests of one API key.

    Mutable state: the retry budget; how many requests wait and were granted; whether any request was answered, or an
    outage may be expected; what somebody has to do something about.
    """

    def __init__(
        self,
        exchange: "Exchange",
        gate: Gate,
        settings: Settings,
        emit: Emit,
        chance: random.Random,
        *,
        believe_pages: bool = False,
    ) -> None:
        """Send nothing yet. ``chance`` spreads the waits. ``believe_pages`` is about pages of proxies which say that a
        request reached nobody.
        """
        self._exchange = exchange
        self._gate = gate
        self._settings = settings
        self._believe_pages = believe_pages
        self._budget = RetryBudget()
        self._outage = OutageGate(settings.concurrency, self._ask)
        self._emit = emit
        url = URL(settings.api_url)
        self._server = f"{url.host_subcomponent}:{url.port}"
        self._chance = chance
        self.waiting = 0
        """Requests that wait for their turn."""
        self.granted = 0
        """Requests that have had it."""
        self._when_refused: Callable[[], object] = lambda: None
        self._first = True
        self._warned = ""

    @property
    def trouble(self) -> str | None:
        """What keeps requests from going through now; None if nothing does, as far as is known."""
        if self._warned:
            return self._warned
        if lost := self._outage.trouble:
            return f"answers are lost ({lost})"
        pause = self._gate.stopped_until - asyncio.get_running_loop().time()
        return f"Mailjet answers 429 (too many requests); the next one goes in {ceil(pause)} s" if pause > 0 else None

    def expect_outages(self) -> None:
        """Wait for whatever fails from now on, as if a request had been answered: it worked in an earlier process."""
        self._first = False

    def when_refused(self, call: Callable[[], object]) -> None:
        """Have a function called when Mailjet refuses a request that is no GET: something may not be what it was."""
        self._when_refused = call

    async def aclose(self, within: float) -> None:
        """Close the gates, within these seconds, and then the connections, whatever fails meanwhile."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._exchange.aclose)
            stack.push_async_callback(self._gate.aclose, within)
            stack.push_async_callback(self._outage.aclose)

    async def _ask(self) -> None:
        """Send a GET to see whether answers come."""
        with suppress(ApiError, NoAnswer):
            await self.send(sign_of_life_request(), decode_lists, patience=_ONCE)

    async def send(
        self,
        request: Request,
        decode: Callable[[bytes], _T],
        *,
        harmless: bool | None = None,
        patience: Patience | None = None,
        doubt: Doubt | None = None,
        max_reply: float = MAX_REPLY,
        sink: IO[bytes] | None = None,
        on_answer: OnAnswer | None = None,
    ) -> _T:
        """Send a request until it is answered, and give its decoded answer.

        ``harmless`` says whether it may be retried after a lost answer (a GET always may). Raises ApiError if Mailjet
        refuses it; NoAnswer if no answer comes within the patience, or if the answer is lost and a retry could do harm.
        With a ``sink`` the body of a good answer is streamed there; each attempt begins it again.
        """
        sending = _Sending(
            request=request,
            decode=decode,
            harmless=request.method == "GET" if harmless is None else harmless,
            patience=patience or usual_patience(self._settings),
            doubt=doubt or Doubt(),
            max_reply=max_reply,
            sink=sink,
            on_answer=on_answer,
        )
        return await self._try(sending)  # type: ignore[no-any-return]  # backoff's decorator loses the type

    @backoff.on_exception(backoff.runtime, _Again, value=lambda again: again.seconds, jitter=None, logger=None)
    async def _try(self, sending: _Sending[Any]) -> Any:
        """Make one attempt. Raises `_Again` to be called once more."""
        sending.came = asyncio.get_running_loop().time()
        result = await self._admitted(sending)
        if result.verdict in (Verdict.APPLIED, Verdict.REFUSED):
            self._budget.refund(sending.paid or 1.0)
            self._first, self._warned = False, ""
        elif result.needs_somebody and not self._first:
            self._warned = result.why
        if result.verdict is Verdict.APPLIED:
            return result.decoded
        match self._decide(sending, result):
            case Raise(error):
                if isinstance(error, ApiError) and sending.request.method != "GET":
                    self._when_refused()
                raise error
            case Retry() as retry:
                if not sending.doubt.sent:
                    await sending.doubt.returned()
                await self._pay(sending, retry, result.why)
                raise _Again(retry.seconds)

    def _decide(self, sending: _Sending[Any], result: AttemptResult) -> Raise | Retry:
        now = asyncio.get_running_loop().time()
        patience = seconds_left(result, sending.patience, first=self._first)
        sending.tries = sending.tries.after(result, now + patience)
        return decide(
            result,
            sending.tries,
            sending.patience,
            call=sending.request.call,
            harmless=sending.harmless,
            in_doubt=sending.doubt.sent,
            held=self._is_held(sending, result),
            first=self._first,
            now=now,
            chance=self._chance.random(),
        )

    def _is_held(self, sending: _Sending[Any], result: AttemptResult) -> bool:
        """Say whether a retry will wait for the end of an outage."""
        is_submit = sending.request.method != "GET"
        return is_submit and is_sign(result, sending.patience, harmless=sending.harmless)

    async def _pay(self, sending: _Sending[Any], retry: Retry, why: str) -> None:
        """Pay for a retry. Raises GaveUp if the budget has no tokens within the patience."""
        if not retry.tokens:
            return
        sending.paid = retry.tokens
        try:
            async with asyncio.timeout(retry.within if retry.within < inf else None):
                await self._budget.pay(retry.tokens)
        except TimeoutError:
            raise sending.gave_up(f"{why}; too many requests fail to send one more") from None

    async def _admitted(self, sending: _Sending[Any]) -> AttemptResult:
        """Make an attempt once it may leave."""
        if sending.request.method == "GET":
            async with self._granted(sending) as start:
                ticket = self._outage.ticket()
                result = await self._doubted(sending, start)
            if not result.throttled:
                self._outage.tell(heard(result), ticket)
            return result
        while True:
            with suppress(Recalled):
                return await self._let_go(sending)

    async def _let_go(self, sending: _Sending[Any]) -> AttemptResult:
        """Make an attempt at a submit when no answers are being lost. Raises Recalled if that begins meanwhile."""
        patience = sending.patience
        try:
            async with self._outage.leave(harmless=sending.harmless, within=patience.seconds) as leave:
                sending.tries = sending.tries.not_before(self._outage.answered_at + patience.seconds)
                async with AsyncExitStack() as stack:
                    async with leave.wait():
                        start = await stack.enter_async_context(self._granted(sending))
                    result = await self._doubted(sending, start)
                leave.news, leave.why = news(result, patience, harmless=sending.harmless), result.why
                return result
        except StillOut as out:
            why = f"it waited for {patience.seconds:g} s while the answers to others were lost: {out.why}"
            raise sending.gave_up(why) from None

    @asynccontextmanager
    async def _granted(self, sending: _Sending[Any]) -> AsyncIterator[Start]:
        """Hold the grant of an attempt, and count it. The patience does not count the wait for it."""
        request, loop = sending.request, asyncio.get_running_loop()
        came, waits = loop.time(), 1
        self.waiting += 1
        try:
            async with self._gate.grant(request.kind, len(request.body or b"")) as start:
                self.waiting, self.granted, waits = self.waiting - 1, self.granted + 1, 0
                sending.tries = sending.tries.later(loop.time() - came)
                yield start
        except KeyStopped as stopped:
            raise sending.gave_up(f"Mailjet has stopped this key for another {stopped.seconds:.0f} s") from None
        finally:
            self.waiting -= waits

    async def _doubted(self, sending: _Sending[Any], start: Start) -> AttemptResult:
        """Make an attempt and keep the doubt true at each moment: a cancellation leaves it as it is then."""
        sending.tries = evolve(sending.tries, count=sending.tries.count + 1)
        before = sending.doubt.sent
        if not before:
            await sending.doubt.leaving()
        self._gate.left(start)
        sending.doubt.sent = True
        wait, result = None, await self._attempt(sending)
        seconds = self._seconds(sending)
        applied = result.verdict is Verdict.APPLIED
        if not applied:
            sending.doubt.sent = before or not result.verdict.nothing_applied
        try:
            wait = await self._learn(start, result)
        finally:
            self._tell(sending, result, seconds=seconds, wait=wait)
        if applied:
            sending.doubt.sent = False
        return result

    async def _learn(self, start: Start, result: AttemptResult) -> float | None:
        """Tell the gate of an answer. Give for how many seconds that stops the key, if it does."""
        with suppress(Exception):  # an answer is worth more than its lesson, and the next grant meets the same failure
            if result.throttled:
                return await self._gate.throttled(start, result.asked)
            if result.ending.status == 503:
                await self._gate.doubted(start)
            elif result.ending.phase is Phase.ANSWERED:
                await self._gate.answered(start)
        return None

    async def _attempt(self, sending: _Sending[Any]) -> AttemptResult:
        count_request()
        request, sending.scope = sending.request, scope_within()
        sending.began = asyncio.get_running_loop().time()
        self._tell_of("request.sending", sending, wait=sending.began - sending.came)
        try:
            return await self._exchanged(sending, request)
        except BaseException as failure:  # hooks that heard of its beginning hear of its end
            cause = "it was cancelled" if isinstance(failure, asyncio.CancelledError) else type(failure).__name__
            self._tell_of("request", sending, seconds=self._seconds(sending), cause=cause)
            raise

    async def _exchanged(self, sending: _Sending[Any], request: Request) -> AttemptResult:
        try:
            response = await self._exchange.once(
                request, keep=sending.harmless, max_reply=sending.max_reply, sink=sending.sink
            )
        except ExchangeFailed as failed:
            return AttemptResult(Ending(phase=failed.phase, failure=failed.failure), failed.why)
        if sending.on_answer is not None:
            sending.on_answer(response.status, response.headers)
        return result_of(response, sending.decode, believe_pages=self._believe_pages)

    def _tell(self, sending: _Sending[Any], result: AttemptResult, *, seconds: float, wait: float | None) -> None:
        """Emit the event of an attempt that has ended."""
        status = result.ending.status
        missing = status == 404 and sending.request.may_be_missing
        self._tell_of(
            "request",
            sending,
            verdict=Verdict.APPLIED.value if missing else result.verdict.value,
            status=str(status) if status else None,
            cause=None if missing else result.why or None,
            seconds=seconds,
            wait=wait,
        )

    def _tell_of(self, name: Literal["request.sending", "request"], sending: _Sending[Any], **known: Any) -> None:
        request = sending.request
        known |= {"server": self._server, "call": request.call, "attempt": sending.tries.count}
        self._emit(sending.scope.event(name, size=len(request.body or b""), **known))

    def _seconds(self, sending: _Sending[Any]) -> float:
        """Give how long the attempt has taken so far."""
        return asyncio.get_running_loop().time() - sending.began
