"""One HTTP exchange: send a signed request, read the whole answer.

This is the only module of the client that speaks HTTP. It is imported late: see `mjbulk.run.loading`. It sends
credentials to the configured origin only, and signs each request by itself. It follows no redirect, keeps no cookie and
ignores the proxies of the environment. No exception of the HTTP library leaves it, because their texts quote headers
and bodies.
"""

import asyncio
import ssl
from base64 import b64encode
from contextlib import AsyncExitStack
from functools import cache
from io import BytesIO
from typing import IO, Any, cast

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from mjbulk.config import Credentials, Settings
from mjbulk.discreet import Secret
from mjbulk.mailjet.connector import Connector
from mjbulk.mailjet.no_answer import Ends
from mjbulk.mailjet.requests import Content, Request
from mjbulk.mailjet.response import ExchangeFailed, Response, SinkFailed
from mjbulk.mailjet.upload import UploadWatch
from mjbulk.mailjet.verdict import NEVER_LEFT, Failure, Phase
from mjbulk.mailjet.window import Window
from mjbulk.version import __version__

_PIECE = 64 * 1024
"""Bytes that are written, or read, at a time."""
_IDLE = 10.0
"""Seconds after which an idle connection is closed. Servers keep theirs open for much longer."""


@cache
def system_trust() -> ssl.SSLContext:
    """Trust what the system trusts, over TLS 1.2 or newer: Python's own default may be older (Debian's is)."""
    context = ssl.create_default_context()
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    context.set_alpn_protocols(["http/1.1"])
    return context


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


class _Upload(aiohttp.Payload):
    """A body that is read piece by piece, whenever the connection has room.

    Mutable state: how much has left, and what watches it.
    """

    def __init__(self, content: Content, window: Window, silence: float) -> None:
        super().__init__(content)
        self._size: int = len(content)
        self._window = window
        self._silence = silence
        self._watch: UploadWatch | None = None
        self.phase = Phase.PART if self._size else Phase.WHOLE
        """WHOLE from the moment before the last piece goes to the connection: from then on it is not known."""

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Give the body as text."""
        content: Content = self._value
        return content[:].decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the body. From now on aiohttp's limit for silence counts, and moves whenever bytes have moved."""
        connection = cast("asyncio.Transport | None", writer.transport)
        if connection is None:
            raise ConnectionResetError
        protocol: Any = connection.get_protocol()
        protocol.start_timeout()
        self._watch = watch = UploadWatch(self._window, self._size, connection, self._silence, protocol.start_timeout)
        for start in range(0, len(self._value), _PIECE):
            piece = self._value[start : start + _PIECE]
            if start + _PIECE >= len(self._value):
                self.phase = Phase.WHOLE
            watch.handed += len(piece)
            await writer.write(piece)
        watch.look()

    def end(self, *, answered: bool) -> None:
        """Hear that its request has ended. What has not left by then never leaves."""
        if self._watch is None:
            return
        self._watch.end(answered=answered)
        if (not answered or self.phase is Phase.PART) and self._watch.cut():
            self.phase = Phase.PART


class Exchange:
    """Exchanges of one API key. Mutable state: the two sessions, each made at its first request.

    A request that must not be applied twice gets a new connection. On a kept one it could meet a server that is just
    closing that connection, and then it would be unknown whether the server read the request.
    """

    def __init__(self, credentials: Credentials, settings: Settings, window: Window) -> None:
        """Open no connection yet. ``window`` is told how bodies move."""
        self._credentials = credentials
        self._settings = settings
        self._window = window
        self._base = URL(settings.api_url).origin()
        self._ends = Ends.of(settings.api_url, settings.proxy)
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
        body = self._body(request)
        answered = False
        try:
            async with self._session(keep=keep).request(
                request.method,
                self._url(request.path),
                data=body,
                headers={"Authorization": self._sign(), "Content-Type": request.content_type},
                timeout=self._timeout(),
                allow_redirects=False,
                proxy=self._settings.proxy,
                ssl=self._settings.ssl or system_trust(),
                middlewares=(_NoRetry(),),
            ) as response:
                answer = Response(response.status, response.headers, await _read(response, max_reply, sink))
                answered = True
                return answer
        except (aiohttp.ClientError, OSError, ValueError, EOFError) as error:
            failure, why = self._ends.explain(error)
        finally:
            if body is not None:
                body.end(answered=answered)
        raise ExchangeFailed(failure, why, _phase(failure, body))

    def _body(self, request: Request) -> _Upload | None:
        if request.body is None:
            return None
        return _Upload(request.body, self._window, self._settings.read_timeout)

    def _timeout(self) -> aiohttp.ClientTimeout:
        """Give the time limits of an exchange: for a connection, and for a silence. Slow is not dead: no limit is in
        all.
        """
        connect = self._settings.connect_timeout
        return aiohttp.ClientTimeout(
            total=None,
            connect=2 * connect,  # with the lookup of its name and the answer of a proxy
            sock_connect=connect,
            sock_read=self._settings.read_timeout,
        )

    def _sign(self) -> str:
        pair = Secret(f"{self._credentials.public}:{self._credentials.private}")
        return Secret(f"Basic {b64encode(pair.encode()).decode()}")

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
                connector=Connector(**more),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"mjbulk/{__version__}", "Accept-Encoding": "identity"},
                trust_env=False,
            )
        return self._sessions[keep]


def _phase(failure: Failure, body: _Upload | None) -> Phase:
    """Say how much of a request had left. Without a body there is no telling when its last byte leaves."""
    if failure in NEVER_LEFT:
        return Phase.NEVER
    return Phase.WHOLE if body is None else body.phase


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
