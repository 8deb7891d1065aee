"""Addresses of hosts, looked up in daemon threads.

A resolver that is silent blocks for up to a minute. asyncio looks names up in its pool of threads, which it joins when
the loop ends: then the program would wait for that resolver.
"""

import socket
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

from aiohttp.abc import AbstractResolver
from aiohttp.resolver import DefaultResolver, ThreadedResolver

from mjbulk.threads import DaemonThread

_T = TypeVar("_T")


def resolver() -> AbstractResolver | None:
    """Give the resolver for a connector; None if aiohttp's own, from another library, needs no threads."""
    return ThreadedResolver(loop=cast("Any", _Lookups())) if DefaultResolver is ThreadedResolver else None


class _Lookups:
    """What aiohttp's resolver wants of an event loop."""

    async def getaddrinfo(self, host: str, port: int, **how: Any) -> list[Any]:
        return await _in_thread(partial(socket.getaddrinfo, host, port, **how))

    async def getnameinfo(self, address: Any, flags: int = 0) -> tuple[str, str]:
        return await _in_thread(partial(socket.getnameinfo, address, flags))


async def _in_thread(call: Callable[[], _T]) -> _T:
    thread = DaemonThread("mjbulk lookup")
    try:
        return await thread.ask(call)
    finally:
        thread.end()
