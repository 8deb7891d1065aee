"""``mjbulk sandbox``: the emulator, until Ctrl-C."""

import asyncio
import ipaddress
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mjbulk.cli._ends import DONE, on_signals, say
from mjbulk.errors import UsageError

if TYPE_CHECKING:
    from mjbulk.testing import Emulator


async def sandbox(
    *,
    port: Annotated[int, Parameter(show_default=True, help="Where to listen; 0 takes a free port.")] = 8025,
    host: Annotated[str, Parameter(show_default=True, help="The address to listen on.")] = "127.0.0.1",
    expose: Annotated[bool, Parameter(help="Allow an address that other machines can reach.")] = False,
) -> int:
    """Serve a stand-in for Mailjet on this machine, until Ctrl-C.

    It takes any key and secret, and has one list (ID 1) to begin with. It keeps everything in memory.
    """
    from mjbulk.testing import serve  # noqa: PLC0415  # help must not wait for the server

    if not 0 <= port <= 65535:
        raise UsageError("a port is a number from 0 to 65535")
    local = _is_loopback(host)
    if not local and not expose:
        raise UsageError(f"other machines could reach {host}: say --expose if they shall")

    def ready(emulator: "Emulator") -> None:
        say(f"a stand-in for Mailjet listens at {emulator.url}; Ctrl-C ends it")
        insecure = "" if local else f" MJBULK_INSECURE_HOST={host}"
        say(f"MJ_API_URL={emulator.url} MJ_APIKEY_PUBLIC=any MJ_APIKEY_PRIVATE=any{insecure}")
        sys.stdout.flush()  # a program that reads it through a pipe waits for it

    server = asyncio.create_task(serve(host, port, ready=ready))
    try:
        with on_signals(server.cancel), suppress(asyncio.CancelledError):
            await server
    except OSError as why:
        problem = os.strerror(why.errno) if why.errno else "no such address"
        raise UsageError(f"{host}, port {port}, cannot be listened on: {problem}") from None
    return DONE


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
