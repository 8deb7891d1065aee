"""One HTTP exchange: send a signed request, read the whole answer.

This is the only module of the client that speaks HTTP. It sends credentials to the configured origin only, and signs
each request by itself. It follows no redirect, keeps no cookie and ignores the proxies of the environment. No exception
of the HTTP library leaves it, because their texts quote headers and bodies.
"""

from base64 import b64encode
from collections.abc import Mapping
from contextlib import AsyncExitStack
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from math import inf
from typing import IO, Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from attrs import field, frozen
from yarl import URL

from mjbulk.config import Credentials, Settings
from mjbulk.mailjet.lookups import resolver
from mjbulk.mailjet.requests import Content, Request
from mjbulk.mailjet.verdict import Failure

_PIECE = 64 * 1024
"""Bytes that are written, or read, at a time."""
_IDLE = 10.0
"""Seconds after which an idle connection is closed. Servers keep theirs open for much longer."""


def _user_agent() -> str:
    try:
        return f"mjbulk/{version('mjbulk')}"
    except PackageNotFoundError:
        return "mjbulk"


@frozen
class Response:
    """A whole answer. Its body is empty if it went into a sink."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class SinkFailed(Exception):  # carries the OSError of a local file, which is not a failure of the network
    """The answer could not be written to the sink."""

    def __init__(self, why: OSError) -> None:
        """Take the error that writing raised."""
        super().__init__()
        self.why = why


class ExchangeFailed(Exception):  # a signal to the transport: it holds nothing of the exception it was made from
    """An exchange ended without a whole answer."""

    def __init__(self, failure: Failure, why: str) -> None:
        """Take the kind of failure, and a sentence about it without headers, bodies or addresses."""
        super().__init__()
        self.failure = failure
        self.why = why


class _NoRetry:
    """Stops aiohttp from retrying by itself, which it does when the server has just closed a kept connection.

    The transport alone retries, because it paces, counts and judges each attempt. Mutable state: the error that aiohttp
    would ignore.
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
    """A body that is read piece by piece, whenever the connection has room."""

    def __init__(self, content: Content) -> None:
        super().__init__(content)
        self._size = len(content)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Give the body as text."""
        content: Content = self._value
        return content[:].decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the body."""
        for start in range(0, len(self._value), _PIECE):
            await writer.write(self._value[start : start + _PIECE])


class Exchange:
    """Exchanges of one API key. Mutable state: the two sessions, each made at its first request.

    A request that must not be applied twice gets a new connection. On a kept one it could meet a server that is just
    closing that connection, and then it would be unknown whether the server read the request.
    """

    def __init__(self, credentials: Credentials, settings: Settings) -> None:
        """Open no connection yet."""
        self._credentials = credentials
        self._settings = settings
        self._base = URL(settings.api_url).origin()
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def aclose(self) -> None:
        """Close the connections."""
        sessions, self._sessions = list(self._sessions.values()), {}
        async with AsyncExitStack() as stack:
            for session in sessions:
                stack.push_async_callback(session.close)

    async def once(self, request: Request, *, keep: bool, max_reply: float, sink: IO[bytes] | None) -> Response:
        """Send the bytes once, and read the whole answer. With a ``sink`` the body of a 200 goes there.

        ``keep`` allows a connection that was used before. An answer of more than ``max_reply`` bytes counts as lost.
        Raises ExchangeFailed and SinkFailed, and no exception of the HTTP library.
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
        """Give the time limits of an exchange that moves up to ``size`` bytes."""
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
        """Give the URL of a path, as encoded. Raises ValueError for one that leads to another origin."""
        url = URL(f"{self._base}{path}", encoded=True)
        if url.origin() != self._base:
            raise ValueError("a request may only go to the configured origin")
        return url

    def _session(self, *, keep: bool) -> aiohttp.ClientSession:
        """Give the session that keeps connections, or the one that opens a new one for each request."""
        if keep not in self._sessions:
            more: dict[str, Any] = {"keepalive_timeout": _IDLE} if keep else {"force_close": True}
            self._sessions[keep] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, resolver=resolver(), **more),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": _user_agent(), "Accept-Encoding": "identity"},
                trust_env=False,
            )
        return self._sessions[keep]


async def _read(response: aiohttp.ClientResponse, most: float, sink: IO[bytes] | None) -> bytes:
    """Read a body to its end. A single read could return early and hide that the body was cut."""
    file = sink if sink is not None and response.status == 200 else BytesIO()
    file.seek(0)
    file.truncate()
    size = 0
    async for piece in response.content.iter_chunked(_PIECE):
        try:
            file.write(piece)
        except OSError as why:
            raise SinkFailed(why) from why
        size += len(piece)
        if size > most:
            raise ExchangeFailed(Failure.LOST, f"the answer is larger than {most} bytes")
    return file.getvalue() if isinstance(file, BytesIO) else b""
