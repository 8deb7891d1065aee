"""One request: sign, send, read whole, judge, send again.

Only here is HTTP spoken. Credentials are signed for the configured origin alone, request by request; redirects,
cookies and the environment's proxies are not followed; no exception of the HTTP library gets out, for its text quotes
headers and bodies.
"""

import asyncio
import random
from base64 import b64encode
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from typing import Any, BinaryIO, Generic, TypeVar

import aiohttp
import backoff
from attrs import define, field, frozen
from yarl import URL

from mjbulk._events import Emit, Event
from mjbulk._quota import Quota
from mjbulk._verdict import (
    MAX_RETRY_AFTER,
    Failure,
    Pause,
    Verdict,
    judge_failure,
    judge_status,
    retry_after,
    send_again,
)
from mjbulk._wire import Request, Unreadable, decode_error
from mjbulk.config import Credentials, Settings
from mjbulk.errors import ApiError, NoAnswer

_T = TypeVar("_T")
Heard = Callable[[int, Mapping[str, str]], object]
"""Is told the status and the headers of every answer, before it is judged."""
MAX_REPLY = 16 * 2**20
MAX_ERROR_FILE = 64 * 2**20
_THROTTLED_AT_MOST = 100
_IDLE = 10.0
"""Seconds after which an idle connection is not used again: well below what servers keep."""


def _user_agent() -> str:
    try:
        return f"mjbulk/{version('mjbulk')}"
    except PackageNotFoundError:
        return "mjbulk"


@define
class Doubt:
    """Whether a request may have reached Mailjet without a readable answer. The owner reads it after a cancellation."""

    sent: bool = False


@frozen(kw_only=True)
class Patience:
    """How long one request is tried. The default is for submits: `ENDLESS` for polls and downloads."""

    attempts: float
    seconds: float
    resets: float = float("inf")
    """Attempts that may end with a connection that is closed without an answer, where that may be for the size of the
    body: `WasReset` is raised then.
    """

    @classmethod
    def of(cls, settings: Settings) -> "Patience":
        """What the settings say."""
        return cls(attempts=settings.attempts, seconds=settings.give_up_after)


ENDLESS = Patience(attempts=float("inf"), seconds=float("inf"))


@frozen
class _Answer:
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@define(kw_only=True)
class _Errand(Generic[_T]):
    """A request on its way: what changes from attempt to attempt."""

    request: Request
    decode: Callable[[bytes], _T]
    harmless: bool
    patience: Patience
    doubt: Doubt
    deadline: float
    max_reply: float
    sink: BinaryIO | None
    heard: Heard | None
    attempt: int = 0
    throttled: int = 0
    resets: int = 0


@frozen
class _End:
    """How one attempt ended."""

    verdict: Verdict
    why: str
    status: int | None = None
    body: bytes = field(default=b"", repr=False)
    asked: float | None = None
    """Seconds that the server asked to wait."""
    failure: Failure | None = None
    decoded: Any = field(default=None, repr=False)


class GaveUp(NoAnswer):
    """The patience for a request is at its end, or no request can succeed: the run halts."""


class WasReset(GaveUp):
    """The connection was closed without an answer, as often as the patience allows: the body may be too large."""


class _Again(Exception):  # a signal to the loop of attempts
    """Try once more, after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class SinkFailed(Exception):  # carries the OSError of a local file, which is no fault of the network
    """What came could not be written down."""

    def __init__(self, why: OSError) -> None:
        super().__init__()
        self.why = why


class _Lost(Exception):  # carries a Failure, and nothing of what it came from
    """An attempt ended without a whole answer."""

    def __init__(self, failure: Failure, why: str) -> None:
        super().__init__()
        self.failure = failure
        self.why = why


class Transport:
    """The requests of one API key. Mutable state: the two sessions, made at the first request, and the count of
    requests.

    A request that must not be sent twice goes out on a connection of its own: on a kept one it could meet a server
    that is just closing it, and nobody could tell whether it was read.
    """

    def __init__(
        self,
        credentials: Credentials,
        settings: Settings,
        quota: Quota,
        emit: Emit,
        chance: random.Random | None = None,
    ) -> None:
        """Open nothing yet. ``chance`` spreads the waits."""
        self._settings = settings
        self._quota = quota
        self._emit = emit
        self._chance = chance or random.Random()  # noqa: S311  # it spreads waits, it guards nothing
        self._base = URL(settings.api_url).origin()
        self._credentials = credentials
        self._pause = Pause()
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self.requests = 0

    async def aclose(self) -> None:
        """Close the connections."""
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()

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
        heard: Heard | None = None,
    ) -> _T:
        """Send a request until it is answered, and give its decoded answer.

        ``harmless`` tells whether it may be sent again after a lost answer (a GET always may). Raises ApiError where
        Mailjet refuses, NoAnswer where it gives no answer within the patience, or where the answer is lost and it may
        not be sent again. With a ``sink`` a good answer goes there as it comes, from the beginning at each attempt.
        """
        patience = patience or Patience.of(self._settings)
        errand = _Errand(
            request=request,
            decode=decode,
            harmless=request.method == "GET" if harmless is None else harmless,
            patience=patience,
            doubt=doubt or Doubt(),
            deadline=asyncio.get_running_loop().time() + patience.seconds,
            max_reply=max_reply,
            sink=sink,
            heard=heard,
        )
        return await self._try(errand)  # type: ignore[no-any-return]  # backoff's decorator loses the type

    @backoff.on_exception(backoff.runtime, _Again, value=lambda again: again.seconds, jitter=None, logger=None)
    async def _try(self, errand: _Errand[Any]) -> Any:
        """Make one attempt; `_Again` has it repeated."""
        errand.attempt += 1
        in_doubt_before = errand.doubt.sent
        errand.doubt.sent = True
        end = await self._attempt(errand)
        errand.doubt.sent = not (end.verdict is Verdict.APPLIED or (end.verdict.certain and not in_doubt_before))
        self._tell(errand, end)
        if end.verdict is Verdict.APPLIED:
            return end.decoded
        if end.verdict in (Verdict.REFUSED, Verdict.FATAL):
            raise _refusal(errand, end)
        if not send_again(end.verdict, harmless=errand.harmless):
            raise NoAnswer(errand.request.call, why=end.why, attempts=errand.attempt, sent=errand.doubt.sent)
        raise _Again(self._wait(errand, end))

    def _wait(self, errand: _Errand[Any], end: _End) -> float:
        """Give the seconds until the next attempt. Raises NoAnswer where the patience is at its end."""
        loop = asyncio.get_running_loop()
        errand.resets += end.failure is Failure.RESET
        throttled = end.status in (429, 503) and end.verdict is Verdict.NOT_APPLIED
        errand.throttled += throttled
        attempt = errand.throttled if throttled else errand.attempt - errand.throttled
        seconds = self._pause.seconds(attempt, self._chance.random(), asked=end.asked, throttled=throttled)
        if throttled:
            errand.deadline += seconds  # the server said "not now": that is no failure of the request
        too_long = (end.asked or 0) > MAX_RETRY_AFTER or loop.time() + seconds > errand.deadline
        patience = errand.patience
        tried = attempt >= (_THROTTLED_AT_MOST if throttled else patience.attempts) or errand.resets >= patience.resets
        if too_long or tried:
            may_be_size = end.failure is Failure.RESET and patience.resets < float("inf")
            kind = WasReset if may_be_size else GaveUp
            raise kind(errand.request.call, why=end.why, attempts=errand.attempt, sent=errand.doubt.sent)
        return seconds

    async def _attempt(self, errand: _Errand[Any]) -> _End:
        try:
            async with self._quota.slot():
                answer = await self._once(errand)
        except _Lost as lost:
            return _End(judge_failure(lost.failure), lost.why, failure=lost.failure)
        if errand.heard is not None:
            errand.heard(answer.status, answer.headers)
        asked = retry_after(answer.headers)
        code = decode_error(answer.body).code if answer.status >= 400 else None
        verdict = judge_status(answer.status, code=code, retry_after=asked is not None)
        if verdict is not Verdict.APPLIED:
            return _End(verdict, f"status {answer.status}", answer.status, answer.body, asked)
        try:
            return _End(verdict, "", answer.status, decoded=errand.decode(answer.body))
        except Unreadable as unreadable:
            return _End(Verdict.UNKNOWN, str(unreadable), answer.status)

    async def _once(self, errand: _Errand[Any]) -> _Answer:
        """Send the bytes and read the answer whole. Raises _Lost, and nothing of the HTTP library."""
        self.requests += 1
        request, max_reply = errand.request, errand.max_reply
        body = request.body
        size = len(body or b"") + (max_reply if body is None else 0)
        total = self._settings.connect_timeout + self._settings.read_timeout + size / self._settings.min_upload_rate
        timeout = aiohttp.ClientTimeout(
            total=total if total < float("inf") else None,
            sock_connect=self._settings.connect_timeout,
            sock_read=self._settings.read_timeout,
        )
        try:
            async with self._session(keep=errand.harmless).request(
                request.method,
                self._url(request.path),
                data=BytesIO(body) if body is not None else None,
                headers={"Authorization": self._sign(), "Content-Type": request.content_type},
                timeout=timeout,
                allow_redirects=False,
                proxy=self._settings.proxy,
                ssl=self._settings.ssl or True,
            ) as response:
                return _Answer(response.status, response.headers, await _read(response, max_reply, errand.sink))
        except aiohttp.ClientConnectorCertificateError:
            failure, why = Failure.UNTRUSTED, "the server's certificate is not trusted"
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            failure, why = Failure.NEVER_SENT, f"no connection: {type(error).__name__}"
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError) as error:
            failure, why = Failure.RESET, f"the connection was closed without an answer: {type(error).__name__}"
        except (aiohttp.ClientError, OSError, ValueError, EOFError) as error:
            failure, why = Failure.LOST, f"the answer was lost: {type(error).__name__}"
        raise _Lost(failure, why)

    def _sign(self) -> str:
        pair = f"{self._credentials.public}:{self._credentials.private}"
        return f"Basic {b64encode(pair.encode()).decode()}"

    def _url(self, path: str) -> URL:
        url = URL(f"{self._base}{path}", encoded=True)
        if url.origin() != self._base:
            raise ValueError("a request may only go to the configured origin")
        return url

    def _session(self, *, keep: bool) -> aiohttp.ClientSession:
        """Give the session whose connections are kept, or the one that opens a new one each time."""
        if keep not in self._sessions:
            more: dict[str, Any] = {"keepalive_timeout": _IDLE} if keep else {"force_close": True}
            self._sessions[keep] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, **more),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": _user_agent(), "Accept-Encoding": "identity"},
                trust_env=False,
            )
        return self._sessions[keep]

    def _tell(self, errand: _Errand[Any], end: _End) -> None:
        self._emit(
            Event(
                name="request",
                call=errand.request.call,
                attempt=errand.attempt,
                verdict=end.verdict.value,
                status=str(end.status) if end.status else None,
                cause=end.why or None,
                size=len(errand.request.body or b""),
            )
        )


async def _read(response: aiohttp.ClientResponse, most: float, sink: BinaryIO | None) -> bytes:
    """Read a body to its end: a single read could return early and hide that it was cut."""
    file = sink if sink is not None and response.status == 200 else BytesIO()
    file.seek(0)
    file.truncate()
    size = 0
    async for piece in response.content.iter_chunked(65536):
        try:
            file.write(piece)
        except OSError as why:
            raise SinkFailed(why) from why
        size += len(piece)
        if size > most:
            raise _Lost(Failure.LOST, f"the answer is larger than {most} bytes")
    return file.getvalue() if isinstance(file, BytesIO) else b""


def _refusal(errand: _Errand[Any], end: _End) -> ApiError | NoAnswer:
    call = errand.request.call
    if end.status is None:
        return GaveUp(call, why=end.why, attempts=errand.attempt, sent=errand.doubt.sent)
    said = decode_error(end.body)
    advice = {
        401: "the API key or its secret is wrong" if said.code is None else "",
        403: "this API key may not do that",
        413: "the request is too large",
    }.get(end.status, "it is a redirect, which is never followed" if 300 <= end.status < 400 else "")
    return ApiError(end.status, call=call, code=said.code, text=said.text, advice=advice, lists=said.lists)
