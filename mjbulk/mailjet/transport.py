"""One request until it is answered: wait for the gate, exchange, judge, retry.

What follows from each attempt is decided in `mjbulk.mailjet.attempts`. `Transport` does what is decided there.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import IO, Any, Generic, TypeVar

import backoff
from attrs import define, evolve, field

from mjbulk.config import Settings
from mjbulk.errors import ApiError
from mjbulk.events import Emit, Event
from mjbulk.mailjet.attempts import AttemptResult, Done, GaveUp, Patience, Raise, Retry, Tries, decide
from mjbulk.mailjet.http import Exchange, ExchangeFailed, Response
from mjbulk.mailjet.pace import Start
from mjbulk.mailjet.quota import Gate, KeyStopped
from mjbulk.mailjet.replies import UnreadableReply, decode_error
from mjbulk.mailjet.request_count import count_request
from mjbulk.mailjet.requests import Kind, Request
from mjbulk.mailjet.retry_budget import RetryBudget
from mjbulk.mailjet.verdict import Verdict, judge_failure, judge_status, retry_after, server_name

_T = TypeVar("_T")
OnAnswer = Callable[[int, Mapping[str, str]], object]
"""Takes the status and the headers of every answer, before it is judged."""
MAX_REPLY = 16 * 2**20
"""Bytes. A longer answer counts as lost."""
MAX_ERROR_FILE = 64 * 2**20
"""The same for an error file."""


_BETWEEN = "a proxy or a firewall is in between, or api_url is wrong"


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

    def gave_up(self, why: str) -> GaveUp:
        """Make the error that ends it."""
        return GaveUp(self.request.call, why=why, attempts=self.tries.count, sent=self.doubt.sent)


class _Again(Exception):  # a signal to the loop of attempts
    """Retry after this wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class Transport:
    """The requests of one API key. Mutable state: the retry budget, and how many requests wait and were granted."""

    def __init__(self, exchange: Exchange, gate: Gate, settings: Settings, emit: Emit, chance: random.Random) -> None:
        """Send nothing yet. ``chance`` spreads the waits."""
        self._exchange = exchange
        self._gate = gate
        self._settings = settings
        self._budget = RetryBudget()
        self._emit = emit
        self._chance = chance
        self.waiting = 0
        """Requests that wait for their turn."""
        self.granted = 0
        """Requests that have had it."""
        self._when_refused: Callable[[], object] = lambda: None

    def when_refused(self, call: Callable[[], object]) -> None:
        """Have a function called when Mailjet refuses a request that is no GET: something may not be what it was."""
        self._when_refused = call

    async def aclose(self, within: float) -> None:
        """Close the gate, within these seconds, and then the connections, whatever fails meanwhile."""
        try:
            await self._gate.aclose(within)
        finally:
            await self._exchange.aclose()

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
        result = await self._granted(sending)
        self._tell(sending, result)
        if result.verdict in (Verdict.APPLIED, Verdict.REFUSED):
            self._budget.refund(sending.paid or 1.0)
        match self._decide(sending, result):
            case Done():
                return result.decoded
            case Raise(error):
                if isinstance(error, ApiError) and sending.request.method != "GET":
                    self._when_refused()
                raise error
            case Retry() as retry:
                if not sending.doubt.sent:
                    await sending.doubt.returned()
                await self._pay(sending, retry, result.why)
                raise _Again(retry.seconds)

    def _decide(self, sending: _Sending[Any], result: AttemptResult) -> Done | Raise | Retry:
        now = asyncio.get_running_loop().time()
        sending.tries = sending.tries.after(result, now + sending.patience.seconds)
        return decide(
            result,
            sending.tries,
            sending.patience,
            call=sending.request.call,
            harmless=sending.harmless,
            in_doubt=sending.doubt.sent,
            now=now,
            chance=self._chance.random(),
        )

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

    async def _granted(self, sending: _Sending[Any]) -> AttemptResult:
        """Make an attempt once the gate grants it. The patience does not count the wait for the grant."""
        loop = asyncio.get_running_loop()
        came = loop.time()
        try:
            async with self._turn(sending.request.kind) as start:
                sending.tries = evolve(
                    sending.tries, count=sending.tries.count + 1, deadline=sending.tries.deadline + loop.time() - came
                )
                return await self._doubted(sending, start)
        except KeyStopped as stopped:
            raise sending.gave_up(f"Mailjet has stopped this key for another {stopped.seconds:.0f} s") from None

    @asynccontextmanager
    async def _turn(self, kind: Kind) -> AsyncIterator[Start]:
        """Hold a grant of the gate, and count it."""
        self.waiting += 1
        waits = 1
        try:
            async with self._gate.grant(kind) as start:
                self.waiting, self.granted, waits = self.waiting - 1, self.granted + 1, 0
                yield start
        finally:
            self.waiting -= waits

    async def _doubted(self, sending: _Sending[Any], start: Start) -> AttemptResult:
        """Make an attempt and keep the doubt true at each moment: a cancellation leaves it as it is then."""
        before = sending.doubt.sent
        if not before:
            await sending.doubt.leaving()
        sending.doubt.sent = True
        result = await self._attempt(sending)
        applied = result.verdict is Verdict.APPLIED
        if not applied:
            sending.doubt.sent = before or not result.verdict.nothing_applied
        await self._learn(start, result)
        if applied:
            sending.doubt.sent = False
        return result

    async def _learn(self, start: Start, result: AttemptResult) -> None:
        """Tell the gate of an answer."""
        with suppress(Exception):  # an answer is worth more than its lesson, and the next grant meets the same failure
            if result.throttled:
                await self._gate.throttled(start, result.asked)
            elif result.status is not None:
                await self._gate.answered(start)

    async def _attempt(self, sending: _Sending[Any]) -> AttemptResult:
        count_request()
        request = sending.request
        size = len(request.body or b"")
        self._emit(Event(name="request.sending", call=request.call, attempt=sending.tries.count, size=size))
        try:
            response = await self._exchange.once(
                request, keep=sending.harmless, max_reply=sending.max_reply, sink=sending.sink
            )
        except ExchangeFailed as failed:
            return AttemptResult(judge_failure(failed.failure), failed.why, failure=failed.failure)
        if sending.on_answer is not None:
            sending.on_answer(response.status, response.headers)
        return _judged(response, sending.decode)

    def _tell(self, sending: _Sending[Any], result: AttemptResult) -> None:
        """Emit the event of an attempt that has ended."""
        self._emit(
            Event(
                name="request",
                call=sending.request.call,
                attempt=sending.tries.count,
                verdict=result.verdict.value,
                status=str(result.status) if result.status else None,
                cause=result.why or None,
                size=len(sending.request.body or b""),
            )
        )


def _judged(response: Response, decode: Callable[[bytes], Any]) -> AttemptResult:
    """Judge a whole answer, and decode it if the request was applied."""
    asked, status = retry_after(response.headers), response.status
    form = decode_error(response.body).form if status >= 400 else "nothing"
    verdict = judge_status(status, form=form, retry_after=asked is not None)
    if status in (401, 403) and form == "page":
        why = f"{server_name(response.headers)} answered {status} with a page, which Mailjet's API does not send"
        return AttemptResult(verdict, f"{why}: {_BETWEEN}", status, foreign=True)
    if verdict is not Verdict.APPLIED:
        return AttemptResult(verdict, f"status {status}", status, response.body, asked)
    try:
        return AttemptResult(verdict, "", status, decoded=decode(response.body))
    except UnreadableReply as unreadable:
        return AttemptResult(Verdict.UNKNOWN, str(unreadable), status)
