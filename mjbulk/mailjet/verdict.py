"""What an answer, or none, means for one request, and whether sending it again can harm.

The theory. A request has one of six ends, and only what is known for certain may be called certain:

===========  ==================================================  =====================================================
verdict      what is known                                       what follows
===========  ==================================================  =====================================================
APPLIED      Mailjet took it, and its answer can be read         go on
NOT_APPLIED  it never left, or Mailjet says "not now"            the same bytes again, after a wait
REFUSED      Mailjet read it and will never take these bytes     nothing was applied; never the same bytes again
FATAL        no request can succeed (keys, TLS, redirects)       the run halts; nothing of this request was applied
UNKNOWN      Mailjet took it, and its answer cannot be read      applied for certain, under a job that nobody can name
AMBIGUOUS    the answer was lost, or says nothing                again only where applying it twice does no harm
===========  ==================================================  =====================================================

Whether twice does harm depends on what is asked for (``harmless``): to add somebody again who left meanwhile does.
"""

from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from enum import Enum

from attrs import frozen

from mjbulk.models import Action, Resend

MAX_RETRY_AFTER = 120.0
"""Seconds that a server may ask for. A longer pause is not waited for: the run halts, and says until when."""


class Verdict(Enum):
    """The end of one request. The module's table says what each means."""

    APPLIED = "applied"
    NOT_APPLIED = "not applied"
    REFUSED = "refused"
    FATAL = "fatal"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"

    @property
    def certain(self) -> bool:
        """Whether nothing of the request was applied, for certain."""
        return self in (Verdict.NOT_APPLIED, Verdict.REFUSED, Verdict.FATAL)


class Failure(Enum):
    """How a request can end without an answer."""

    NEVER_SENT = "no connection"
    """Name, connection or TLS handshake failed: not a byte of the request left."""
    UNTRUSTED = "certificate not trusted"
    LOST = "the answer was lost"
    """Anything after the first byte: a cut or garbled answer."""
    TIMED_OUT = "the answer did not come in time"
    RESET = "the connection was closed without an answer"
    """As `LOST`; a server that finds a body too large does this too."""


def judge_failure(failure: Failure) -> Verdict:
    """Judge a request that got no whole answer."""
    return {
        Failure.NEVER_SENT: Verdict.NOT_APPLIED,
        Failure.UNTRUSTED: Verdict.FATAL,
        Failure.LOST: Verdict.AMBIGUOUS,
        Failure.TIMED_OUT: Verdict.AMBIGUOUS,
        Failure.RESET: Verdict.AMBIGUOUS,
    }[failure]


def judge_status(status: int, *, code: str | None, retry_after: bool) -> Verdict:
    """Judge a whole answer by its HTTP status.

    ``code`` is Mailjet's own (MJ19), where it gives one: with it a 401 speaks of the data, without it of the keys.
    ``retry_after`` tells whether the server asked for a pause: with it a 503 means "not now".
    """
    if 200 <= status < 300 or status == 304:
        return Verdict.APPLIED
    if 300 <= status < 400 or status == 403 or (status == 401 and code is None):
        return Verdict.FATAL
    if status in (408, 425, 429) or (status == 503 and retry_after):
        return Verdict.NOT_APPLIED
    if status == 409:
        return Verdict.AMBIGUOUS
    if 400 <= status < 500:
        return Verdict.REFUSED
    return Verdict.AMBIGUOUS


def may_retry(verdict: Verdict, *, harmless: bool) -> bool:
    """Whether the same bytes may be sent again after this verdict."""
    return verdict is Verdict.NOT_APPLIED or (harmless and verdict in (Verdict.AMBIGUOUS, Verdict.UNKNOWN))


def harmless_to_retry(actions: Iterable[Action], *, excludes: bool, resend: Resend) -> bool:
    """Whether a chunk may be sent again when nobody knows if it was applied.

    ``addnoforce`` and an update without a list converge: applied twice they leave what once leaves. ``addforce``,
    ``remove``, ``unsub`` and the exclusion list undo what a person chose in between, so only the caller may say so.
    """
    if resend != "safe":
        return resend == "always"
    return not excludes and all(action is Action.ADDNOFORCE for action in actions)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how many seconds a server asks to wait: digits, or an HTTP date against the answer's own Date.

    None where the header is missing or says neither.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
        now = parsedate_to_datetime(headers.get("Date", ""))
        return max((until - now).total_seconds(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return None


@frozen(kw_only=True)
class Backoff:
    """How long to wait before an attempt is repeated, in seconds."""

    first: float = 0.5
    most: float = 30.0
    throttled: float = 1.0
    """The first wait where the server said that there was too much."""

    def seconds(self, attempt: int, chance: float, *, asked: float | None = None, throttled: bool = False) -> float:
        """Give the wait after attempt number ``attempt`` (from 1); ``chance`` is a random number of 0 to 1.

        It doubles, with full jitter; what the server asked for is never cut short, only stretched by a tenth at most.
        Who asks for less than the first wait gets that: "0" is no leave to hammer.
        """
        least = self.throttled if throttled else self.first
        grown = min(least * 2.0 ** min(attempt - 1, 16), self.most)
        if asked is not None:
            return max(asked, least) * (1 + 0.1 * chance)
        return grown * (0.5 + 0.5 * chance) if throttled else grown * chance
