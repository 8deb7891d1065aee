"""One HTTP exchange with a server that does what a test wants, byte by byte."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO, RawIOBase
from pathlib import Path
from typing import IO, Any, cast

import pytest
from attrs import define, evolve, field
from support import KEYS

from mjbulk.config import Settings
from mjbulk.mailjet.http import Exchange
from mjbulk.mailjet.requests import Request
from mjbulk.mailjet.response import ExchangeFailed, Response, SinkFailed
from mjbulk.mailjet.verdict import Failure, Phase
from mjbulk.mailjet.window import Window

GET = Request(method="GET", path="/v3/REST/contact/a%2Bb%40example.org", call="GET contact")
POST = Request(method="POST", path="/v3/REST/contact", call="POST contact", body=b'{"Email": "a@example.org"}')
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Limit: 5\r\n\r\nfine"
CLOSE, SILENCE = b"close", b"silence"
"""What the server does instead of an answer."""
CERTIFICATE = Path(__file__).parent / "data" / "loopback.pem"


@define
class Server:
    """Reads requests and writes the bytes of answers, the last one for all further requests."""

    answers: list[bytes]
    port: int = 0
    connections: int = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(factory=list)
    """First line, headers by their small names, and body."""
    arrived: asyncio.Event = field(factory=asyncio.Event)
    """A request has been read."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.requests.append((head[0], headers, body))
                self.arrived.set()
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer == SILENCE:
                    await reader.read()
                writer.write(b"" if answer in (SILENCE, CLOSE) else answer.removesuffix(CLOSE))
                if answer.endswith(CLOSE):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def server_of(*answers: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(list(answers))
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


@asynccontextmanager
async def exchange_with(server: Server, url: str = "http://127.0.0.1", **said: Any) -> AsyncIterator[Exchange]:
    exchange = Exchange(KEYS, Settings(api_url=f"{url}:{server.port}", **said), Window(8, 2**21))
    try:
        yield exchange
    finally:
        await exchange.aclose()


async def once(exchange: Exchange, request: Request = GET, *, keep: bool = True, most: float = 1e6) -> Response:
    return await exchange.once(request, keep=keep, max_reply=most, sink=None)


async def failure_of(exchange: Exchange, request: Request = GET, **more: Any) -> ExchangeFailed:
    with pytest.raises(ExchangeFailed) as caught:
        await once(exchange, request, **more)
    return caught.value


# What goes out and comes back


async def test_a_request_is_signed_and_goes_out_as_it_is() -> None:
    """The path keeps its encoding, the body its bytes; no header tells more than it must."""
    async with server_of(OK) as server, exchange_with(server) as exchange:
        await once(exchange)
        await once(exchange, POST, keep=False)
    (line, headers, body), (post_line, post_headers, post_body) = server.requests
    assert (line, body) == ("GET /v3/REST/contact/a%2Bb%40example.org HTTP/1.1", b"")
    assert headers["authorization"] == "Basic cHVibGljLWtleS1vZi10ZXN0czpwcml2YXRlLWtleS1vZi10ZXN0cw=="
    assert headers["user-agent"].startswith("mjbulk")
    assert headers["accept-encoding"] == "identity"
    assert (post_line, post_body) == ("POST /v3/REST/contact HTTP/1.1", POST.body)
    assert (post_headers["content-type"], post_headers["content-length"]) == ("application/json", "26")


class Striped:
    """A large body that is not in memory."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.largest = 0

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self.size)
        self.largest = max(self.largest, stop - start)
        return bytes(number % 251 for number in range(start, stop))


async def test_a_large_body_is_read_piece_by_piece() -> None:
    """It arrives whole, and at most 64 KiB of it are in memory at a time."""
    body = Striped(200_001)
    async with server_of(OK) as server, exchange_with(server) as exchange:
        await once(exchange, evolve(POST, body=body))
    assert server.requests[0][2] == bytes(number % 251 for number in range(200_001))
    assert body.largest == 64 * 1024


async def test_an_answer_is_given_whole() -> None:
    """Status, headers in any case, and body; the repr shows neither of the last two."""
    async with server_of(OK) as server, exchange_with(server) as exchange:
        response = await once(exchange)
    assert (response.status, response.headers["x-limit"], response.body) == (200, "5", b"fine")
    assert repr(response) == "Response(status=200)"


@pytest.mark.parametrize("status", [201, 304, 400, 401, 429, 500, 503])
async def test_any_status_is_an_answer(status: int) -> None:
    """What it means is judged elsewhere."""
    answer = f"HTTP/1.1 {status} X\r\nContent-Length: {0 if status == 304 else 2}\r\n\r\n".encode()
    async with server_of(answer + (b"" if status == 304 else b"no")) as server, exchange_with(server) as exchange:
        assert (await once(exchange)).status == status


async def test_redirects_are_not_followed() -> None:
    """Keys go to the configured origin only."""
    async with server_of(OK) as other:
        moved = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{other.port}/\r\nContent-Length: 0\r\n\r\n"
        async with server_of(moved.encode()) as server, exchange_with(server) as exchange:
            assert (await once(exchange)).status == 302
    assert other.requests == []


async def test_cookies_are_not_kept() -> None:
    """A server cannot recognise its client by one."""
    answer = OK.replace(b"X-Limit: 5", b"Set-Cookie: a=b; Path=/")
    async with server_of(answer) as server, exchange_with(server, "http://localhost") as exchange:
        for _ in range(2):
            await once(exchange)
    assert len(server.requests) == 2
    assert all("cookie" not in headers for _, headers, _ in server.requests)


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy sees the keys of a request to http: the settings alone may name one."""
    async with server_of(OK) as proxy, server_of(OK) as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with exchange_with(server) as exchange:
            await once(exchange)
        assert (len(server.requests), len(proxy.requests)) == (1, 0)
        async with exchange_with(server, proxy=f"http://127.0.0.1:{proxy.port}") as exchange:
            await once(exchange)
        assert (len(server.requests), len(proxy.requests)) == (1, 1)


async def test_a_path_cannot_lead_to_another_origin() -> None:
    """What would make the origin a user name in front of another host is not sent."""
    async with server_of(OK) as other, server_of(OK) as server, exchange_with(server) as exchange:
        failed = await failure_of(exchange, evolve(GET, path=f"@127.0.0.1:{other.port}/"))
    assert (server.connections, other.connections) == (0, 0)
    assert failed.why == "the answer was lost: ValueError"


# Connections


@pytest.mark.parametrize(("keep", "connections"), [(True, 1), (False, 3)])
async def test_a_kept_connection_is_used_only_if_that_is_allowed(connections: int, *, keep: bool) -> None:
    """A request that must not be applied twice gets a connection of its own."""
    async with server_of(OK) as server, exchange_with(server) as exchange:
        for _ in range(3):
            await once(exchange, keep=keep)
    assert server.connections == connections


async def test_a_request_on_a_connection_that_is_just_closed_is_not_retried() -> None:
    """The server has read it and closes: the transport has to count that as an attempt."""
    async with server_of(OK, CLOSE) as server, exchange_with(server) as exchange:
        await once(exchange)
        assert (await failure_of(exchange)).failure is Failure.RESET
    assert (len(server.requests), server.connections) == (2, 1)


async def test_after_closing_a_request_opens_a_new_connection() -> None:
    """Closing twice does no harm either."""
    async with server_of(OK) as server, exchange_with(server) as exchange:
        await once(exchange)
        await exchange.aclose()
        await exchange.aclose()
        assert (await once(exchange)).body == b"fine"
    assert server.connections == 2


# Failures


@pytest.mark.parametrize(
    ("answer", "failure", "why"),
    [
        (CLOSE, Failure.RESET, "the connection was closed without an answer"),
        (SILENCE, Failure.TIMED_OUT, "the answer did not come in time"),
        (OK[:20] + CLOSE, Failure.RESET, "the connection was closed without an answer"),
        (OK[:-2] + CLOSE, Failure.LOST, "the answer was lost"),
        (OK[:-2], Failure.TIMED_OUT, "the answer did not come in time"),
        (b"What? somebody@example.org\r\n\r\n" + CLOSE, Failure.NO_HTTP, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: somebody@example.org\r\n\r\n", Failure.NO_HTTP, "not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nfine", Failure.NO_HTTP, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001, Failure.LOST, "larger than 1000 bytes"),
    ],
)
async def test_an_answer_that_is_not_whole(answer: bytes, failure: Failure, why: str) -> None:
    """Each way to fail has its kind and its sentence, without anything that was sent or received."""
    async with server_of(answer) as server, exchange_with(server) as exchange:
        failed = await failure_of(exchange, POST, keep=False, most=1000)
    assert failed.failure is failure
    assert why in failed.why
    assert "example" not in failed.why
    assert failed.__cause__ is None
    assert len(server.requests) == 1


async def test_a_certificate_has_to_be_trusted() -> None:
    """By the system, or by the context of the settings; else no byte of the request leaves."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(CERTIFICATE)
    async with server_of(OK, tls=tls) as server:
        async with exchange_with(server, "https://127.0.0.1") as exchange:
            assert (await failure_of(exchange)).failure is Failure.UNFIT
        assert server.requests == []
        async with exchange_with(
            server, "https://127.0.0.1", ssl=ssl.create_default_context(cafile=CERTIFICATE)
        ) as exchange:
            assert (await once(exchange)).body == b"fine"


# How much had left


async def test_what_may_have_left_whole() -> None:
    """The answer does not come: the server may have applied the request."""
    async with server_of(SILENCE) as server, exchange_with(server) as exchange:
        assert (await failure_of(exchange, POST)).phase is Phase.WHOLE
        assert (await failure_of(exchange, GET)).phase is Phase.WHOLE
        assert (await failure_of(exchange, evolve(POST, body=b""))).phase is Phase.WHOLE


@pytest.mark.parametrize("ending", [SILENCE, CLOSE])
async def test_an_upload_that_is_cut_has_left_in_part(ending: bytes) -> None:
    """The server reads no more, or closes, before the last piece of the body is written."""
    stopped = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1000)
        if ending == SILENCE:
            await stopped.wait()
        writer.transport.abort()

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    async with await asyncio.start_server(serve, sock=listener) as server:
        port = server.sockets[0].getsockname()[1]
        async with exchange_with(Server([], port)) as exchange:
            failed = await failure_of(exchange, evolve(POST, body=bytes(16 * 2**20)), keep=False)
        stopped.set()
    assert failed.failure is (Failure.TIMED_OUT if ending == SILENCE else Failure.RESET)
    assert failed.phase is Phase.PART


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nfull", CLOSE, b"What?\r\n\r\n" + CLOSE, SILENCE],
)
async def test_a_proxy_that_makes_no_connection_has_let_nothing_through(answer: bytes) -> None:
    """It refuses the CONNECT for https, closes, or is silent: no body was written, so nothing can be applied."""
    async with server_of(answer) as proxy:
        settings = {"proxy": f"http://127.0.0.1:{proxy.port}"}
        async with exchange_with(Server([], 9), "https://localhost", **settings) as exchange:
            failed = await failure_of(exchange, POST)
    assert [line for line, *_ in proxy.requests] == ["CONNECT localhost:9 HTTP/1.1"]
    assert failed.phase in (Phase.NEVER, Phase.PART)
    assert ("(503)" in failed.why) == (b"503" in answer)


async def test_no_proxy_there() -> None:
    """No byte has left."""
    async with server_of(OK) as proxy:
        pass
    async with exchange_with(Server([], 9), "https://localhost", proxy=f"http://127.0.0.1:{proxy.port}") as exchange:
        failed = await failure_of(exchange, POST)
    assert (failed.failure, failed.phase) == (Failure.ABSENT, Phase.NEVER)


# The sink


async def test_a_good_answer_goes_into_the_sink_from_its_beginning(tmp_path: Path) -> None:
    """What an earlier attempt has left there is gone; the body of the response is empty."""
    with (tmp_path / "answer").open("w+b") as sink:
        sink.write(b"something longer of before")
        async with server_of(OK) as server, exchange_with(server) as exchange:
            response = await exchange.once(GET, keep=True, max_reply=10, sink=sink)
    assert ((tmp_path / "answer").read_bytes(), response.body) == (b"fine", b"")


async def test_a_refusal_does_not_go_into_the_sink() -> None:
    """Its body is needed to say what is wrong."""
    sink = BytesIO(b"kept")
    async with server_of(OK.replace(b"200 OK", b"404 No")) as server, exchange_with(server) as exchange:
        response = await exchange.once(GET, keep=True, max_reply=10, sink=sink)
    assert (sink.getvalue(), response.body) == (b"kept", b"fine")


class Full(RawIOBase):
    """A file on a disk that is full."""

    def seek(self, *_: int) -> int:
        return 0

    def truncate(self, _: int | None = None) -> int:
        return 0

    def write(self, _: object) -> int:
        raise OSError(28, "No space left on device")


async def test_a_sink_that_fails_is_no_failure_of_the_network() -> None:
    """The error of the file comes out, and nothing is said about the answer."""
    async with server_of(OK) as server, exchange_with(server) as exchange:
        with pytest.raises(SinkFailed) as caught:
            await exchange.once(GET, keep=True, max_reply=10, sink=cast("IO[bytes]", Full()))
    assert caught.value.why.errno == 28


async def test_cancelling_leaves_nothing_behind() -> None:
    """A request that is cancelled closes its connection, and the next one has another."""
    async with server_of(SILENCE, OK) as server, exchange_with(server) as exchange:
        task = asyncio.create_task(once(exchange))
        await server.arrived.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await once(exchange)).body == b"fine"
    assert server.connections == 2
