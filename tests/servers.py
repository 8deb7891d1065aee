"""Servers of tests in processes of their own, which are told what to do."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from attrs import frozen


@frozen
class Server:
    """The process, as others speak to it."""

    url: str
    pid: int
    line: Connection

    def tell(self, *order: Any) -> Any:
        """Have something done there."""
        self.line.send(order)
        return self.line.recv()


def begin(serve: Callable[..., Awaitable[None]], *said: Any) -> Server:
    """Start a process that serves until its line is closed."""
    here, there = Pipe()
    pid = os.fork()
    if not pid:
        here.close()
        asyncio.run(serve(there, *said))  # type: ignore[arg-type]  # it is a coroutine
        os._exit(0)
    there.close()
    return Server(here.recv(), pid, here)


async def obey(line: Connection, url: str, orders: Mapping[str, Callable[..., Any]]) -> None:
    """Carry out orders until the line is closed."""
    ended = asyncio.Event()

    def take() -> None:
        try:
            name, *said = line.recv()
        except EOFError:
            ended.set()
            return
        line.send(orders[name](*said))

    asyncio.get_running_loop().add_reader(line.fileno(), take)
    line.send(url)
    await ended.wait()
