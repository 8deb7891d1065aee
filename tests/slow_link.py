"""A link with a bound: all connections through it share a number of bytes a second to the server."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, closing, suppress
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field

_BUFFER, _SEGMENT = 16 * 1024, 1400
"""Bytes that the system keeps for a reader, and takes at once. On a real link they would be in flight."""


_KERNEL = 0.002
"""Seconds of real time that a tick takes in which less has come than might pass."""


@define(eq=False)
class SlowLink:
    """Takes bytes from all connections in equal shares, and passes them on. Answers pass at once.

    Mutable: its rate and its tick may change at any time.
    """

    server: tuple[str, int]
    rate: float
    """Bytes a second of all connections together; 0 lets none pass."""
    tick: float = 0.25
    """Seconds from one read to the next."""
    url: str = ""
    passed: int = 0
    """Bytes that have passed."""
    _ways: dict[socket.socket, asyncio.StreamWriter] = field(factory=dict)
    _tasks: set[asyncio.Task[None]] = field(factory=set)

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(work))

    async def accept(self, listening: socket.socket) -> None:
        while True:
            client, _ = await asyncio.get_running_loop().sock_accept(listening)
            reader, writer = await asyncio.open_connection(*self.server)
            self._ways[client] = writer
            self.keep(self._answers(reader, client))

    async def _answers(self, reader: asyncio.StreamReader, client: socket.socket) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                await asyncio.get_running_loop().sock_sendall(client, piece)
        self._close(client)

    async def carry(self) -> None:
        while True:
            await asyncio.sleep(self.tick)
            left, ready = int(self.rate * self.tick), list(self._ways)
            while left > 0 and ready:
                share = -(-left // len(ready))
                came = {client: self._pass(client, share) for client in ready}
                left -= sum(came.values())
                ready = [client for client, size in came.items() if size == share]
            if left > 0 and self._ways:
                _wait_for_kernel()

    def _pass(self, client: socket.socket, most: int) -> int:
        try:
            piece = client.recv(most)
        except BlockingIOError:
            return 0
        except OSError:
            piece = b""
        if piece:
            self._ways[client].write(piece)
            self.passed += len(piece)
        else:
            self._close(client)
        return len(piece)

    def _close(self, client: socket.socket) -> None:
        if client in self._ways:
            self._ways.pop(client).close()
        client.close()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for client in list(self._ways):
            self._close(client)


def _wait_for_kernel() -> None:
    """Let the kernel come along, whose timers are real."""
    time.sleep(_KERNEL)


@asynccontextmanager
async def slow_link(to: str, rate: float) -> AsyncIterator[SlowLink]:
    """Open a link to the server at this URL."""
    parts = urlsplit(to)
    link = SlowLink((str(parts.hostname), int(parts.port or 0)), rate)
    with closing(socket.socket()) as listening, closing(link):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        link.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        link.keep(link.accept(listening))
        link.keep(link.carry())
        yield link
