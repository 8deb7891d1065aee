"""One exchange: a request goes out signed, and its answer is read whole.

Only here is HTTP spoken. Credentials are signed for the configured origin alone, request by request; redirects,
cookies and the environment's proxies are not followed; no exception of the HTTP library gets out, for its text quotes
headers and bodies.
"""

from base64 import b64encode
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from math import inf
from typing import Any, BinaryIO

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from attrs import field, frozen
from yarl import URL

from mjbulk.config import Credentials, Settings
from mjbulk.mailjet.requests import Content, Request
from mjbulk.mailjet.verdict import Failure

_PIECE = 64 * 1024
_IDLE = 10.0
"""Seconds after which an idle connection is not used again: well below what servers keep."""


def _user_agent() -> str:
    try:
        return f"mjbulk/{version('mjbulk')}"
    except PackageNotFoundError:
        return "mjbulk"


@frozen
class Response:
    """A whole answer. Its body is empty where it went into a sink."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class SinkFailed(Exception):  # carries the OSError of a local file, which is no fault of the network
    """What came could not be written down."""

    def __init__(self, why: OSError) -> None:
        super().__init__()
        self.why = why


class ExchangeFailed(Exception):  # carries a Failure, and nothing of what it came from
    """An exchange ended without a whole answer."""

    def __init__(self, failure: Failure, why: str) -> None:
        super().__init__()
        self.failure = failure
        self.why = why


class _NoRetry:
    """Keeps aiohttp from sending a request again by itself, as it does where a kept connection is just being closed.

    Here each request is paced, counted and judged. Mutable state: the error that aiohttp would pass over.
    """

    def __init__(self) -> None:
        self._lost: Exception | None = None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if self._lost is not None:
            raise self._lost
        try:
            return await handler(request)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as lost:
            self._lost = lost
            raise


class _PiecewisePayload(aiohttp.Payload):
    """A body that is taken a piece at a time, when the connection has room for it."""

    def __init__(self, content: Content) -> None:
        super().__init__(content)
        self._size = len(content)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Give it as text."""
        content: Content = self._value
        return content[:].decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write it."""
        for start in range(0, len(self._value), _PIECE):
            await writer.write(self._value[start : start + _PIECE])


class Exchange:
    """Exchanges of one API key. Mutable state: the two sessions, made at the first request.

    A request that must not be sent twice goes out on a connection of its own: on a kept one it could meet a server
    that is just closing it, and nobody could tell whether it was read.
    """

    def __init__(self, credentials: Credentials, settings: Settings) -> None:
        """Open nothing yet."""
        self._credentials = credentials
        self._settings = settings
        self._base = URL(settings.api_url).origin()
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def aclose(self) -> None:
        """Close the connections."""
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()

    async def once(self, request: Request, *, keep: bool, max_reply: float, sink: BinaryIO | None) -> Response:
        """Send the bytes and read the answer whole; a good one goes into the ``sink`` where there is one.

        ``keep`` allows a connection that was used before. Raises ExchangeFailed and SinkFailed, and nothing of the HTTP
        library.
        """
        body = request.body
        try:
            async with self._session(keep=keep).request(
                request.method,
                self._url(request.path),
                data=_PiecewisePayload(body) if body is not None else None,
                headers={"Authorization": self._sign(), "Content-Type": request.content_type},
                timeout=self._timeout(len(body or b"") + (max_reply if body is None else 0)),
                allow_redirects=False,
                proxy=self._settings.proxy,
                ssl=self._settings.ssl or True,
                middlewares=(_NoRetry(),),
            ) as response:
                return Response(response.status, response.headers, await _read(response, max_reply, sink))
        except aiohttp.ClientConnectorCertificateError:
            failure, why = Failure.UNTRUSTED, "the server's certificate is not trusted"
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            failure, why = Failure.NEVER_SENT, f"no connection: {type(error).__name__}"
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError) as error:
            failure, why = Failure.RESET, f"the connection was closed without an answer: {type(error).__name__}"
        except TimeoutError as error:
            failure, why = Failure.TIMED_OUT, f"the answer did not come in time: {type(error).__name__}"
        except (aiohttp.ClientError, OSError, ValueError, EOFError) as error:
            failure, why = Failure.LOST, f"the answer was lost: {type(error).__name__}"
        raise ExchangeFailed(failure, why)

    def _timeout(self, size: float) -> aiohttp.ClientTimeout:
        settings = self._settings
        total = settings.connect_timeout + settings.read_timeout + size / settings.min_upload_rate
        return aiohttp.ClientTimeout(
            total=total if total < inf else None,
            sock_connect=settings.connect_timeout,
            sock_read=settings.read_timeout,
        )

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
            raise ExchangeFailed(Failure.LOST, f"the answer is larger than {most} bytes")
    return file.getvalue() if isinstance(file, BytesIO) else b""
