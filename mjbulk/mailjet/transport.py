"""One request until it is answered: grant, exchange, judge, send again."""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import inf
from typing import Any, BinaryIO, Generic, TypeVar

import backoff
from attrs import define, field, frozen

from mjbulk.config import Settings
from mjbulk.errors import ApiError, NoAnswer
from mjbulk.events import Emit, Event
from mjbulk.mailjet.http import Exchange, ExchangeFailed
from mjbulk.mailjet.pace import Start
from mjbulk.mailjet.quota import Gate, KeyStopped
from mjbulk.mailjet.replies import UnreadableReply, decode_error
from mjbulk.mailjet.requests import Request
from mjbulk.mailjet.retry_budget import RetryBudget
from mjbulk.mailjet.verdict import (
    Backoff,
    Failure,
    Verdict,
    judge_failure,
    judge_status,
    may_retry,
    retry_after,
)

_T = TypeVar("_T")
OnAnswer = Callable[[int, Mapping[str, str]], object]
"""Is told the status and the headers of every answer, before it is judged."""
MAX_REPLY = 16 * 2**20
MAX_ERROR_FILE = 64 * 2**20
_THROTTLED_AT_MOST = 100
_RETRY, _RETRY_AFTER_TIMEOUT = 5.0, 10.0
"""Tokens of the retry budget."""


@define
class Doubt:
    """Whether a request may have reached Mailjet without a readable answer. The owner reads it after a cancellation."""

    sent: bool = False


@frozen(kw_only=True)
class Patience:
    """How long one request is tried. The default is for submits."""

    attempts: float
    seconds: float
    """From its first failure on: one answer that does not come takes as long by itself."""
    resets: float = float("inf")
    """Attempts that may end with a connection that is closed without an answer, where that may be for the size of the
    body: `WasReset` is raised then.
    """

    @classmethod
    def of(cls, settings: Settings) -> "Patience":
        """What the settings say."""
        return cls(attempts=settings.attempts, seconds=settings.give_up_after)


@define(kw_only=True)
class _SendState(Generic[_T]):
    """A request on its way: what changes from attempt to attempt."""

    request: Request
    decode: Callable[[bytes], _T]
    harmless: bool
    patience: Patience
    doubt: Doubt
    max_reply: float
    sink: BinaryIO | None
    on_answer: OnAnswer | None
    deadline: float = inf
    attempt: int = 0
    throttled: int = 0
    resets: int = 0
    paid: float = 0.0
    """Tokens for sending it again."""

    def gave_up(self, why: str) -> "GaveUp":
        """Make the error that ends it."""
        return GaveUp(self.request.call, why=why, attempts=self.attempt, sent=self.doubt.sent)


@frozen
class AttemptResult:
    """How one attempt ended."""

    verdict: Verdict
    why: str
    status: int | None = None
    body: bytes = field(default=b"", repr=False)
    asked: float | None = None
    """Seconds that the server asked to wait."""
    failure: Failure | None = None
    decoded: Any = field(default=None, repr=False)

    @property
    def throttled(self) -> bool:
        """Whether the server said "not now"."""
        return self.status in (429, 503) and self.verdict is Verdict.NOT_APPLIED


class GaveUp(NoAnswer):
    """The patience for a request is at its end, or no request can succeed: the run halts."""


class WasReset(GaveUp):
    """The connection was closed without an answer, as often as the patience allows: the body may be too large."""


class Untrusted(GaveUp):
    """No request can succeed: it is not Mailjet that answers there."""


class _Again(Exception):  # a signal to the loop of attempts
    """Try once more, after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class Transport:
    """The requests of one API key. Mutable state: the count of requests, and what was paid for sending again."""

    def __init__(self, exchange: Exchange, gate: Gate, settings: Settings, emit: Emit, chance: random.Random) -> None:
        """Send nothing yet. ``chance`` spreads the waits."""
        self._exchange = exchange
        self._gate = gate
        self._settings = settings
        self._budget = RetryBudget()
        self._emit = emit
        self._chance = chance
        self._backoff = Backoff()
        self.requests = 0

    async def aclose(self) -> None:
        """Grant nothing any more, and close the connections."""
        await self._gate.aclose()
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
        sink: BinaryIO | None = None,
        on_answer: OnAnswer | None = None,
    ) -> _T:
        """Send a request until it is answered, and give its decoded answer.

        ``harmless`` tells whether it may be sent again after a lost answer (a GET always may). Raises ApiError where
        Mailjet refuses, NoAnswer where it gives no answer within the patience, or where the answer is lost and it may
        not be sent again. With a ``sink`` a good answer goes there as it comes, from the beginning at each attempt.
        """
        patience = patience or Patience.of(self._settings)
        state = _SendState(
            request=request,
            decode=decode,
            harmless=request.method == "GET" if harmless is None else harmless,
            patience=patience,
            doubt=doubt or Doubt(),
            max_reply=max_reply,
            sink=sink,
            on_answer=on_answer,
        )
        return await self._try(state)  # type: ignore[no-any-return]  # backoff's decorator loses the type

    @backoff.on_exception(backoff.runtime, _Again, value=lambda again: again.seconds, jitter=None, logger=None)
    async def _try(self, state: _SendState[Any]) -> Any:
        """Make one attempt; `_Again` has it repeated."""
        end = await self._granted(state)
        self._tell(state, end)
        if end.verdict in (Verdict.APPLIED, Verdict.REFUSED):
            self._budget.refund(state.paid or 1.0)
        if end.verdict is Verdict.APPLIED:
            return end.decoded
        if end.verdict in (Verdict.REFUSED, Verdict.FATAL):
            raise _refusal(state, end)
        if not may_retry(end.verdict, harmless=state.harmless):
            raise NoAnswer(state.request.call, why=end.why, attempts=state.attempt, sent=state.doubt.sent)
        raise _Again(0.0 if end.throttled else await self._wait(state, end))

    async def _granted(self, state: _SendState[Any]) -> AttemptResult:
        """Wait for this request's turn, which is no failure of it, and make the attempt."""
        loop = asyncio.get_running_loop()
        came = loop.time()
        try:
            async with self._gate.grant(state.request.kind) as start:
                state.deadline += loop.time() - came
                in_doubt_before, state.doubt.sent = state.doubt.sent, True
                end = await self._attempt(state)
                if end.verdict is not Verdict.APPLIED:
                    state.doubt.sent = in_doubt_before or not end.verdict.nothing_applied
                await self._learn(start, end)
        except KeyStopped as stopped:
            raise state.gave_up(f"Mailjet has stopped this key for another {stopped.seconds:.0f} s") from None
        state.throttled += end.throttled
        if state.throttled >= _THROTTLED_AT_MOST:
            raise state.gave_up(end.why)
        if end.verdict is Verdict.APPLIED:
            state.doubt.sent = False
        return end

    async def _learn(self, start: Start, end: AttemptResult) -> None:
        """Tell the quota of an answer."""
        with suppress(Exception):  # an answer is worth more than its lesson; the next grant meets what is wrong
            if end.throttled:
                await self._gate.throttled(start, end.asked)
            elif end.status is not None:
                await self._gate.answered(start)

    async def _wait(self, state: _SendState[Any], end: AttemptResult) -> float:
        """Give the seconds until the next attempt, once it is paid. Raises GaveUp where the patience is at its end."""
        state.resets += end.failure is Failure.RESET
        attempt, patience = state.attempt - state.throttled, state.patience
        state.deadline = min(state.deadline, asyncio.get_running_loop().time() + patience.seconds)
        seconds = self._backoff.seconds(attempt, self._chance.random())
        left = state.deadline - asyncio.get_running_loop().time() - seconds
        if left < 0 or attempt >= patience.attempts or state.resets >= patience.resets:
            may_be_size = end.failure is Failure.RESET and patience.resets < float("inf")
            kind = WasReset if may_be_size else GaveUp
            raise kind(state.request.call, why=end.why, attempts=state.attempt, sent=state.doubt.sent)
        state.paid = _RETRY_AFTER_TIMEOUT if end.failure is Failure.TIMED_OUT else _RETRY
        try:
            async with asyncio.timeout(left if left < float("inf") else None):
                await self._budget.pay(state.paid)
        except TimeoutError:
            raise state.gave_up(f"{end.why}; too many requests fail to send one more") from None
        return seconds

    async def _attempt(self, state: _SendState[Any]) -> AttemptResult:
        state.attempt += 1
        self.requests += 1
        request = state.request
        size = len(request.body or b"")
        self._emit(Event(name="request.sending", call=request.call, attempt=state.attempt, size=size))
        try:
            answer = await self._exchange.once(request, keep=state.harmless, max_reply=state.max_reply, sink=state.sink)
        except ExchangeFailed as failed:
            return AttemptResult(judge_failure(failed.failure), failed.why, failure=failed.failure)
        if state.on_answer is not None:
            state.on_answer(answer.status, answer.headers)
        asked = retry_after(answer.headers)
        code = decode_error(answer.body).code if answer.status >= 400 else None
        verdict = judge_status(answer.status, code=code, retry_after=asked is not None)
        if verdict is not Verdict.APPLIED:
            return AttemptResult(verdict, f"status {answer.status}", answer.status, answer.body, asked)
        try:
            return AttemptResult(verdict, "", answer.status, decoded=state.decode(answer.body))
        except UnreadableReply as unreadable:
            return AttemptResult(Verdict.UNKNOWN, str(unreadable), answer.status)

    def _tell(self, state: _SendState[Any], end: AttemptResult) -> None:
        self._emit(
            Event(
                name="request",
                call=state.request.call,
                attempt=state.attempt,
                verdict=end.verdict.value,
                status=str(end.status) if end.status else None,
                cause=end.why or None,
                size=len(state.request.body or b""),
            )
        )


def _refusal(state: _SendState[Any], end: AttemptResult) -> ApiError | NoAnswer:
    call = state.request.call
    if end.status is None:
        return Untrusted(call, why=end.why, attempts=state.attempt, sent=state.doubt.sent)
    said = decode_error(end.body)
    advice = {
        401: "the API key or its secret is wrong" if said.code is None else "",
        403: "this API key may not do that",
        413: "the request is too large",
    }.get(end.status, "it is a redirect, which is never followed" if 300 <= end.status < 400 else "")
    return ApiError(end.status, call=call, code=said.code, text=said.text, advice=advice, lists=said.lists)
