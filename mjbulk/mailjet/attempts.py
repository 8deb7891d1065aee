"""What follows from an attempt at a request: the answer, an error, or a retry after a wait.

Each attempt ends in an `AttemptResult`, and the pure function `decide` says what follows from it.
"""

from math import inf
from typing import Any

from attrs import evolve, field, frozen

from mjbulk.errors import ApiError, NoAnswer
from mjbulk.mailjet.replies import decode_error
from mjbulk.mailjet.verdict import Backoff, Failure, Verdict, may_retry

_MAX_THROTTLED = 100
"""Answers of "not now" after which one request gives up."""
_RETRY, _RETRY_AFTER_TIMEOUT = 5.0, 10.0
"""Prices of a retry, in tokens of the retry budget."""
_BACKOFF = Backoff()


@frozen(kw_only=True)
class Patience:
    """How long one request is tried. The default is for submits."""

    attempts: float
    seconds: float
    """From the first failure on: the wait for a first answer that does not come is not counted."""
    resets: float = inf
    """Number of attempts that may end with a connection closed without an answer, if the size of the body may be the
    reason (FACTS 1.9). Then `WasReset` is raised.
    """


class GaveUp(NoAnswer):
    """The patience for a request has ended, or no request can succeed: the run halts."""


class WasReset(GaveUp):
    """The connection was closed without an answer as often as the patience allows: the body may be too large."""


class Untrusted(GaveUp):
    """No request can succeed: the server that answers is not Mailjet."""


@frozen
class AttemptResult:
    """How one attempt ended."""

    verdict: Verdict
    why: str
    """What was wrong, without server text; empty if nothing was."""
    status: int | None = None
    """The HTTP status of a whole answer."""
    body: bytes = field(default=b"", repr=False)
    """The body of a refusal."""
    asked: float | None = None
    """Seconds that the server asked to wait."""
    failure: Failure | None = None
    """How the exchange failed, if there was no whole answer."""
    foreign: bool = False
    """Whether somebody else answered in Mailjet's place."""
    decoded: Any = field(default=None, repr=False)
    """The decoded answer of an attempt that was applied."""

    @property
    def throttled(self) -> bool:
        """The server said "not now"."""
        return self.status in (429, 503) and self.verdict is Verdict.NOT_APPLIED


@frozen(kw_only=True)
class Tries:
    """The attempts of one request so far."""

    count: int = 0
    throttled: int = 0
    """How many were answered "not now": the patience does not count these."""
    resets: int = 0
    """How many ended with a connection closed without an answer."""
    deadline: float = inf
    """When the patience ends, by the loop's clock; infinite before the first failure."""

    def after(self, result: AttemptResult, deadline: float) -> "Tries":
        """Count a result. ``deadline`` is when the patience ends if this is the first failure."""
        return evolve(
            self,
            throttled=self.throttled + result.throttled,
            resets=self.resets + (result.failure is Failure.RESET),
            deadline=self.deadline if result.throttled else min(self.deadline, deadline),
        )


@frozen
class Done:
    """The request was applied, and its answer is decoded."""


@frozen
class Raise:
    """The request ends with an error."""

    error: ApiError | NoAnswer


@frozen
class Retry:
    """The request is tried once more."""

    seconds: float
    """Wait before the next attempt."""
    tokens: float = 0.0
    """Its price, which the retry budget takes before that wait."""
    within: float = inf
    """Seconds that the patience leaves for paying."""


def decide(
    result: AttemptResult,
    tries: Tries,
    patience: Patience,
    *,
    call: str,
    harmless: bool,
    in_doubt: bool,
    now: float,
    chance: float,
) -> Done | Raise | Retry:
    """Say what follows from the last attempt of a call.

    ``tries`` counts that attempt too. ``harmless`` says that applying the request twice does no harm, ``in_doubt`` that
    it may have been applied. ``now`` is in seconds of the loop's clock, ``chance`` a random number from 0 to 1.
    """
    if result.verdict is Verdict.APPLIED:
        return Done()
    ended: dict[str, Any] = {"why": result.why, "attempts": tries.count, "sent": in_doubt}
    if result.verdict in (Verdict.REFUSED, Verdict.FATAL):
        if result.status is None or result.foreign:
            return Raise(Untrusted(call, **ended))
        return Raise(_refusal(call, result.status, result.body))
    if not may_retry(result.verdict, harmless=harmless):
        return Raise(NoAnswer(call, **ended))
    if tries.throttled >= _MAX_THROTTLED:
        return Raise(GaveUp(call, **ended))
    if result.throttled:
        return Retry(0.0)  # the gate makes it wait
    attempt = tries.count - tries.throttled
    seconds = _BACKOFF.seconds(attempt, chance)
    left = tries.deadline - now - seconds
    if left < 0 or attempt >= patience.attempts or tries.resets >= patience.resets:
        may_be_size = result.failure is Failure.RESET and patience.resets < inf
        return Raise((WasReset if may_be_size else GaveUp)(call, **ended))
    return Retry(seconds, _RETRY_AFTER_TIMEOUT if result.failure is Failure.TIMED_OUT else _RETRY, left)


def _refusal(call: str, status: int, body: bytes) -> ApiError:
    """Make the error of a request that was answered and not applied."""
    said = decode_error(body)
    advice = {
        401: "the API key or its secret is wrong",
        403: "this API key may not do that",
        413: "the request is too large",
    }.get(status, "it is a redirect, which is never followed" if 300 <= status < 400 else "")
    if status == 401 and said.form == "object":
        advice = "this API key may not do that" if said.code is None else ""
    return ApiError(status, call=call, code=said.code, text=said.text, advice=advice, lists=said.lists)
