"""What follows from an attempt at a request: the answer, an error, or a retry after a wait.

Each attempt ends in an `AttemptResult`, and the pure function `decide` says what follows from it.
"""

from math import inf
from typing import Any

from attrs import evolve, field, frozen

from mjbulk.errors import ApiError, NoAnswer
from mjbulk.mailjet.pages import wants_certificate
from mjbulk.mailjet.replies import decode_error
from mjbulk.mailjet.verdict import Backoff, Ending, Failure, Verdict, is_foreign, is_hopeless, judge, may_retry

_MAX_THROTTLED = 100
"""Answers of "not now" after which one request gives up."""
_RETRY, _RETRY_AFTER_TIMEOUT = 5.0, 10.0
"""Prices of a retry, in tokens of the retry budget."""
_BACKOFF = Backoff()
_PAGE = "it is a page, which Mailjet's API does not send: a proxy or another server may have answered"
_CERTIFICATE = "the server wants a client certificate: give one with ssl=, an SSLContext after load_cert_chain()"
_AT_FIRST = 3.0
"""Seconds for which somebody who is not there is looked for at the first request of all."""


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
    """No request can succeed: nobody is there, or somebody else than Mailjet."""


class Unavailable(NoAnswer):
    """The answer was 503, from Mailjet or from a proxy: the request may have been applied, but that is not likely."""


@frozen
class AttemptResult:
    """How one attempt ended, with what its errors and retries need."""

    ending: Ending
    why: str = ""
    """What was wrong, without server text; empty if nothing was."""
    body: bytes = field(default=b"", repr=False)
    """The body of a refusal."""
    asked: float | None = None
    """Seconds that the server asked to wait."""
    decoded: Any = field(default=None, repr=False)
    """The decoded answer of an attempt that was applied."""
    verdict: Verdict = field(init=False)

    @verdict.default
    def _judge(self) -> Verdict:
        return judge(self.ending)

    @property
    def throttled(self) -> bool:
        """The server said "not now"."""
        not_now = self.ending.status in (429, 503) and self.ending.page != "unreached"
        return not_now and self.verdict is Verdict.NOT_APPLIED

    @property
    def foreign(self) -> bool:
        """Somebody else refused in Mailjet's place."""
        return is_foreign(self.ending)

    @property
    def needs_somebody(self) -> bool:
        """It may well be that it does not get better until somebody does something about it."""
        by_others = self.verdict is Verdict.UNKNOWN and self.ending.form == "page"
        return is_hopeless(self.ending) or self.ending.failure is Failure.ABSENT or by_others

    @property
    def is_lost(self) -> bool:
        """It is not known what became of the request, or of its answer."""
        return self.verdict in (Verdict.AMBIGUOUS, Verdict.UNKNOWN)


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

    def not_before(self, deadline: float) -> "Tries":
        """Have the patience end at ``deadline`` or later: other submits are answered meanwhile."""
        return self if self.deadline >= deadline else evolve(self, deadline=deadline)

    def later(self, seconds: float) -> "Tries":
        """Have the patience end later: these seconds do not count."""
        return self if self.deadline == inf else evolve(self, deadline=self.deadline + seconds)

    def after(self, result: AttemptResult, deadline: float) -> "Tries":
        """Count a result. ``deadline`` is when the patience ends if this is the first failure."""
        return evolve(
            self,
            throttled=self.throttled + result.throttled,
            resets=self.resets + (result.ending.failure is Failure.RESET),
            deadline=self.deadline if result.throttled else min(self.deadline, deadline),
        )


def seconds_left(result: AttemptResult, patience: Patience, *, first: bool) -> float:
    """Give the seconds of patience from the first failure on, which is this one."""
    return min(_AT_FIRST, patience.seconds) if first and result.needs_somebody else patience.seconds


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


def is_sign(result: AttemptResult, patience: Patience, *, harmless: bool) -> bool:
    """Say whether the end of a submit is a sign of an outage: its answer was lost.

    A reset that the size of the body may explain is none where a retry does no harm: the retries will tell.
    """
    return result.is_lost and not (harmless and _may_be_size(result, patience))


def _may_be_size(result: AttemptResult, patience: Patience) -> bool:
    return result.ending.failure is Failure.RESET and patience.resets < inf


def decide(
    result: AttemptResult,
    tries: Tries,
    patience: Patience,
    *,
    call: str,
    harmless: bool,
    in_doubt: bool,
    held: bool,
    first: bool,
    now: float,
    chance: float,
) -> Raise | Retry:
    """Say what follows from the last attempt of a call, which was not applied.

    ``tries`` counts that attempt too. ``harmless`` says that applying the request twice does no harm, ``in_doubt`` that
    it may have been applied, ``held`` that it waits for the end of an outage before it leaves again, ``first`` that
    no request was ever answered: then what does not get better by itself fails at once. ``now`` is in
    seconds of the loop's clock, ``chance`` a random number from 0 to 1.
    """
    ended: dict[str, Any] = {"why": result.why, "attempts": tries.count, "sent": in_doubt}
    if result.verdict in (Verdict.REFUSED, Verdict.FATAL):
        return Raise(_refusal(call, result.ending.status, result.body))
    if first and is_hopeless(result.ending):
        return Raise(Untrusted(call, **ended))
    if not may_retry(result.verdict, harmless=harmless):
        return Raise((Unavailable if result.ending.status == 503 else NoAnswer)(call, **ended))
    if tries.throttled >= _MAX_THROTTLED:
        return Raise(GaveUp(call, **ended))
    if result.throttled:
        return Retry(0.0)  # the quota makes it wait
    attempt = tries.count - tries.throttled
    seconds = 0.0 if held else _BACKOFF.seconds(attempt, chance)
    left = tries.deadline - now - seconds
    if left < 0 or attempt >= patience.attempts or tries.resets >= patience.resets:
        return Raise(_gave_up(result, patience, first=first)(call, **ended))
    if held:
        return Retry(0.0)
    price = _RETRY_AFTER_TIMEOUT if result.ending.failure is Failure.TIMED_OUT else _RETRY
    return Retry(seconds, price, left)


def _gave_up(result: AttemptResult, patience: Patience, *, first: bool) -> type[GaveUp]:
    """Say as what a request ends whose patience has ended."""
    if first and result.needs_somebody:
        return Untrusted
    return WasReset if _may_be_size(result, patience) else GaveUp


def _refusal(call: str, status: int, body: bytes) -> ApiError:
    """Make the error of a request that was answered and not applied."""
    said = decode_error(body)
    advice = {
        401: "the API key or its secret is wrong",
        403: "this API key may not do that",
        413: "the request is too large",
    }.get(status, "it is a redirect, which is never followed" if 300 <= status < 400 else "")
    if status in (400, 404) and said.form == "page":
        advice = _CERTIFICATE if wants_certificate(body) else _PAGE
    if status == 401 and said.form == "object":
        advice = "this API key may not do that" if said.code is None else ""
    return ApiError(status, call=call, code=said.code, text=said.text, advice=advice, lists=said.lists)
