"""What is known of a request after an attempt, and whether it may be retried: one decision for all requests.

The theory. All that the decision depends on is an `Ending`: how much of the request had left, and then who answered
what, or how the exchange failed. It is one of six verdicts. Each claims only what is known:

===========  ==================================================  =====================================================
verdict      what is known                                       what follows
===========  ==================================================  =====================================================
APPLIED      Mailjet applied it, and its answer is readable      go on
NOT_APPLIED  its last byte never left, Mailjet says "not now",   retry the same bytes after a wait; at the beginning
             or somebody in between let nothing through          fail at once where waiting does not help
REFUSED      Mailjet read it and will never accept these bytes   nothing was applied; never retry the same bytes
FATAL        no request can succeed (wrong keys, redirects)      the run halts; nothing of this request was applied
UNKNOWN      Mailjet applied it, its answer is unreadable        it was applied, by a job whose ID is not known
AMBIGUOUS    the answer was lost, or says nothing                retry only if applying it twice does no harm
===========  ==================================================  =====================================================

Which one it is:

========  ====================================  ======================================  ===========
phase     status, or failure                    who answered                            verdict
========  ====================================  ======================================  ===========
never     any failure                           nobody                                  NOT_APPLIED
in part   any failure                           nobody                                  NOT_APPLIED
whole     any failure                           nobody                                  AMBIGUOUS
answered  2xx, 304; the answer is readable      anybody                                 APPLIED
answered  2xx, 304; it is not                   anybody                                 UNKNOWN
answered  3xx                                   anybody                                 FATAL
answered  401, 403                              Mailjet's API (an object)               REFUSED
answered  401, 403, with a page                 somebody else                           NOT_APPLIED
answered  401, 403, without a body              Mailjet's API                           FATAL
answered  407                                   a proxy                                 NOT_APPLIED
answered  408, 425, 429                         anybody                                 NOT_APPLIED
answered  503 with Retry-After                  anybody                                 NOT_APPLIED
answered  503                                   a proxy whose page says that the        NOT_APPLIED
                                                request reached nobody, if such pages
                                                are believed (`mjbulk.mailjet.pages`)
answered  409                                   anybody                                 AMBIGUOUS
answered  any other 4xx                         anybody                                 REFUSED
answered  anything else                         anybody                                 AMBIGUOUS
========  ====================================  ======================================  ===========

Whether twice does harm depends on the request (``harmless``). Adding a person again is harmful if that person may
have left in between. Nothing at Mailjet recognises a repeated POST (FACTS 9.13).
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import Enum

from attrs import frozen

from mjbulk.mailjet.pages import Said
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


class Phase(Enum):
    """How far an attempt came."""

    NEVER = "never left"
    """No byte of the request had left."""
    PART = "left in part"
    """Its last byte had not left: no server can have had all of it."""
    WHOLE = "left whole"
    """All of it may have left."""
    ANSWERED = "answered"
    """A whole answer came."""


class Failure(Enum):
    """How an attempt can end without a whole answer."""

    NEVER_SENT = "no connection"
    """No connection was made."""
    ABSENT = "nobody is there"
    """The same, because the name is unknown, nothing listens, or connections are closed at once."""
    UNFIT = "somebody else than Mailjet is there"
    """The same, because of a certificate, of TLS, or of what a proxy wants: that does not get better by itself."""
    NO_HTTP = "no HTTP"
    """What came is no answer at all."""
    LOST = "the answer was lost"
    """The answer was cut or garbled."""
    TIMED_OUT = "the answer did not come in time"
    RESET = "the connection was closed without an answer"
    """A server may also do this to a body that is too large (FACTS 1.9)."""


NEVER_LEFT = (Failure.NEVER_SENT, Failure.ABSENT, Failure.UNFIT)
"""Failures after which it is known that no byte of the request left."""


@frozen(kw_only=True)
class Ending:
    """How an attempt ended: all that its verdict depends on."""

    phase: Phase
    failure: Failure | None = None
    """How the exchange failed; None if it was answered."""
    status: int = 0
    """The HTTP status of the answer; 0 without one."""
    form: ErrorForm = "nothing"
    """What the body of a refusal is: an object comes from Mailjet's API, a page from somebody else."""
    pause: bool = False
    """Whether the server asked for a pause."""
    page: Said | None = None
    """What the page of a proxy says, if it is believed: the request reached nobody."""
    readable: bool = True
    """Whether a good answer could be decoded."""


def judge(ending: Ending) -> Verdict:
    """Say what is known of a request whose attempt ended like that: the table of the module's docstring."""
    if ending.phase is Phase.ANSWERED:
        return _judge_answer(ending)
    return Verdict.AMBIGUOUS if ending.phase is Phase.WHOLE else Verdict.NOT_APPLIED


def _judge_answer(answer: Ending) -> Verdict:
    status = answer.status
    if 200 <= status < 300 or status == 304:
        return Verdict.APPLIED if answer.readable else Verdict.UNKNOWN
    if is_foreign(answer):
        return Verdict.NOT_APPLIED
    if 300 <= status < 400 or (status in (401, 403) and answer.form == "nothing"):
        return Verdict.FATAL
    if status in (408, 425, 429) or (status == 503 and (answer.pause or answer.page)):
        return Verdict.NOT_APPLIED
    if 400 <= status < 500 and status != 409:
        return Verdict.REFUSED
    return Verdict.AMBIGUOUS


def is_foreign(answer: Ending) -> bool:
    """Say whether somebody else refused in Mailjet's place: a proxy or a firewall."""
    return answer.status == 407 or (answer.status in (401, 403) and answer.form == "page")


def is_hopeless(ending: Ending) -> bool:
    """Say whether the like does not get better by itself, if it has been like that from the beginning."""
    return ending.failure in (Failure.UNFIT, Failure.NO_HTTP) or is_foreign(ending)


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
