"""What an answer, or none, means for one request, and whether a retry can do harm.

The theory. A request ends with one of six verdicts. Each claims only what is known:

===========  ==================================================  =====================================================
verdict      what is known                                       what follows
===========  ==================================================  =====================================================
APPLIED      Mailjet applied it, and its answer is readable      go on
NOT_APPLIED  it never left, or Mailjet says "not now"            retry the same bytes after a wait
REFUSED      Mailjet read it and will never accept these bytes   nothing was applied; never retry the same bytes
FATAL        no request can succeed (keys, TLS, redirects, a     the run halts; nothing of this request was applied
             page of somebody else)
UNKNOWN      Mailjet applied it, its answer is unreadable        it was applied, by a job whose ID is not known
AMBIGUOUS    the answer was lost, or says nothing                retry only if applying it twice does no harm
===========  ==================================================  =====================================================

Whether twice does harm depends on the request (``harmless``). Adding a person again is harmful if that person may
have left in between. Nothing at Mailjet recognises a repeated POST (FACTS 9.13).
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import Enum

from attrs import frozen

from mjbulk.mailjet.replies import ErrorForm

MAX_RETRY_AFTER = 120.0
"""Longest pause in seconds that requests wait for. When the server asks for more, the run halts and says how long."""


_SERVER = re.compile(r"[A-Za-z][\w ./()+-]{0,39}", re.ASCII)
"""What the name of a server may be: it is repeated in errors."""


class Verdict(Enum):
    """What is known of one request after an attempt: see the table in the module's docstring."""

    APPLIED = "applied"
    NOT_APPLIED = "not applied"
    REFUSED = "refused"
    FATAL = "fatal"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"

    @property
    def nothing_applied(self) -> bool:
        """It is known that nothing of the request was applied."""
        return self in (Verdict.NOT_APPLIED, Verdict.REFUSED, Verdict.FATAL)


class Failure(Enum):
    """How an attempt can end without a whole answer."""

    NEVER_SENT = "no connection"
    """Name lookup, connection or TLS handshake failed: no byte of the request left."""
    UNTRUSTED = "certificate not trusted"
    """The TLS handshake failed over the server's certificate: no byte of the request left."""
    LOST = "the answer was lost"
    """The answer was cut or garbled: the request had left, at least in part."""
    TIMED_OUT = "the answer did not come in time"
    """The request had left, at least in part."""
    RESET = "the connection was closed without an answer"
    """The request had left, at least in part. A server may also do this to a body that is too large (FACTS 1.9)."""


def judge_failure(failure: Failure) -> Verdict:
    """Judge an attempt that got no whole answer."""
    return {
        Failure.NEVER_SENT: Verdict.NOT_APPLIED,
        Failure.UNTRUSTED: Verdict.FATAL,
        Failure.LOST: Verdict.AMBIGUOUS,
        Failure.TIMED_OUT: Verdict.AMBIGUOUS,
        Failure.RESET: Verdict.AMBIGUOUS,
    }[failure]


def judge_status(status: int, *, form: ErrorForm, retry_after: bool) -> Verdict:
    """Judge a whole answer by its HTTP status.

    ``form`` is what its body is. An object with 401 or 403 says that this call may not be made, nothing says that the
    keys are wrong (FACTS 9.5), and a page comes from somebody else. ``retry_after`` says whether the server asked for a
    pause: then a 503 means "not now".
    """
    if 200 <= status < 300 or status == 304:
        return Verdict.APPLIED
    if 300 <= status < 400 or (status in (401, 403) and form != "object"):
        return Verdict.FATAL
    if status in (408, 425, 429) or (status == 503 and retry_after):
        return Verdict.NOT_APPLIED
    if status == 409:
        return Verdict.AMBIGUOUS
    if 400 <= status < 500:
        return Verdict.REFUSED
    return Verdict.AMBIGUOUS


def may_retry(verdict: Verdict, *, harmless: bool) -> bool:
    """Say whether the same bytes may be sent once more after this verdict."""
    return verdict is Verdict.NOT_APPLIED or (harmless and verdict in (Verdict.AMBIGUOUS, Verdict.UNKNOWN))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read for how many seconds the server asks to wait (Retry-After).

    The header holds digits, or an HTTP date, which is compared with the answer's own Date. Gives None if it is
    missing or holds neither.
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


def server_name(headers: Mapping[str, str]) -> str:
    """Give the name of the server that answered, as its header says it (nginx/1.22.1), or "an unnamed server"."""
    name = headers.get("Server", "")
    return name if _SERVER.fullmatch(name) else "an unnamed server"


@frozen(kw_only=True)
class Backoff:
    """The waits before retries, in seconds."""

    first: float = 0.5
    """The first wait after a failure."""
    most: float = 30.0
    """The longest wait, unless the server asks for more."""
    throttled: float = 1.0
    """The first wait after a 429."""

    def seconds(self, attempt: int, chance: float, *, asked: float | None = None, throttled: bool = False) -> float:
        """Give the wait after attempt number ``attempt``, counted from 1. ``chance`` is a random number from 0 to 1.

        The wait doubles with each attempt. Jitter takes any share of it, but at least half after a 429 (``throttled``).
        A wait that the server ``asked`` for is never cut short, and stretched by at most a tenth. It is at least the
        first wait: a server that asks for 0 s still must not be hammered.
        """
        least = self.throttled if throttled else self.first
        grown = min(least * 2.0 ** min(attempt - 1, 16), self.most)
        if asked is not None:
            return max(asked, least) * (1 + 0.1 * chance)
        return grown * (0.5 + 0.5 * chance) if throttled else grown * chance
