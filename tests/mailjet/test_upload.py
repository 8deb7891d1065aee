"""Requests that are slow, and requests on which nothing moves, in either direction."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from slow_link import slow_link
from support import KEYS

from mjbulk.config import Settings
from mjbulk.mailjet.http import Exchange
from mjbulk.mailjet.requests import Request
from mjbulk.mailjet.response import ExchangeFailed, Response
from mjbulk.mailjet.upload import UploadWatch
from mjbulk.mailjet.verdict import Failure, Phase
from mjbulk.mailjet.window import Window

READ_TIMEOUT = 60.0
LARGE = bytes(8 * 2**20)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


def now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def server_of(serve: Serve) -> AsyncIterator[str]:
    async def until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(until_closed, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def post(url: str, body: bytes) -> Response:
    exchange = Exchange(KEYS, Settings(api_url=url, read_timeout=READ_TIMEOUT), Window(8, 2**21))
    request = Request(method="POST", path="/v3/REST/contact", call="POST contact", body=body)
    try:
        return await exchange.once(request, keep=False, max_reply=1e6, sink=None)
    finally:
        await exchange.aclose()


async def read_body(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r")[0]))


async def read_late(
    seconds: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sizes: list[int]
) -> None:
    """Read nothing for some seconds, and then to the end, which has to be a reset."""
    connection: Any = writer.transport
    connection.pause_reading()
    await asyncio.sleep(seconds)
    connection.resume_reading()
    with pytest.raises(ConnectionResetError):
        await _read_to_the_end(reader, sizes)


async def _read_to_the_end(reader: asyncio.StreamReader, sizes: list[int]) -> None:
    while piece := await reader.read(2**16):
        sizes.append(len(piece))


async def test_a_slow_upload_takes_as_long_as_it_takes() -> None:
    """Many times the limit for silence, while bytes move."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader)
        writer.write(OK + b"fine")

    async with server_of(serve) as url, slow_link(url, 2048) as link:
        link.tick = 5.0
        assert (await post(link.url, bytes(600_000))).body == b"fine"
    assert now() > 4 * READ_TIMEOUT


async def test_a_slow_answer_takes_as_long_as_it_takes() -> None:
    """A byte in time is enough."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader)
        for piece in (OK, b"f", b"i", b"n", b"e"):
            await asyncio.sleep(READ_TIMEOUT - 5.0)
            writer.write(piece)
            await writer.drain()

    async with server_of(serve) as url:
        assert (await post(url, b"body")).body == b"fine"
    assert now() > 4 * READ_TIMEOUT


async def failure_of(url: str, body: bytes) -> ExchangeFailed:
    with pytest.raises(ExchangeFailed) as caught:
        await post(url, body)
    return caught.value


async def test_a_body_that_does_not_move_is_given_up() -> None:
    """Some of it has left, and all the rest never will: no server can have had the whole."""
    read: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_late(3 * READ_TIMEOUT, reader, writer, read)

    async with server_of(serve) as url:
        failed = await failure_of(url, LARGE)
        assert (failed.failure, failed.phase) == (Failure.TIMED_OUT, Phase.PART)
        assert READ_TIMEOUT <= now() < 2 * READ_TIMEOUT
        await asyncio.sleep(3 * READ_TIMEOUT)
    assert 0 < sum(read) < len(LARGE)


async def test_a_body_in_the_buffers_of_this_machine_has_not_left() -> None:
    """The connection has taken all of it, and the kernel too: the link has carried a few bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader)

    async with server_of(serve) as url, slow_link(url, 0) as link:
        failed = await failure_of(link.url, bytes(200_000))
    assert (failed.failure, failed.phase) == (Failure.TIMED_OUT, Phase.PART)


async def test_a_silence_after_the_whole_body_leaves_a_doubt() -> None:
    """The server has all of it, and may have applied it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(reader)
        await reader.read()

    async with server_of(serve) as url:
        failed = await failure_of(url, bytes(200_000))
    assert (failed.failure, failed.phase) == (Failure.TIMED_OUT, Phase.WHOLE)
    assert READ_TIMEOUT <= now() <= READ_TIMEOUT + 2.0


async def test_an_early_answer_ends_an_upload() -> None:
    """A server that refuses a body before it has come: the rest does not leave, and nothing stays behind."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK.replace(b"200 OK", b"413 Too large") + b"much")
        await read_late(1.0, reader, writer, [])
        ended.set()

    async with server_of(serve) as url:
        assert (await post(url, LARGE)).status == 413
        assert now() < 1.0
        await ended.wait()


class Told(asyncio.Protocol):
    """Hears that its connection is lost."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


@pytest.mark.real_time
async def test_a_connection_that_was_closed_and_has_left_all_its_bytes_is_cut() -> None:
    """asyncio forgets the loop of such a transport without noting that it is lost."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        loop, told = asyncio.get_running_loop(), Told()
        transport, _ = await loop.create_connection(lambda: told, sock=ours)
        watch = UploadWatch(Window(8, 2**21), 2**21, transport, READ_TIMEOUT, lambda: None)
        transport.write(bytes(2**21))  # more than the kernel takes at once
        transport.close()
        assert transport.get_write_buffer_size()
        while not told.lost.is_set():
            await loop.sock_recv(theirs, 2**20)
            await asyncio.sleep(0)
        assert not watch.cut()
        watch.end(answered=False)
