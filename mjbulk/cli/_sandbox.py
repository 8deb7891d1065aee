"""``mjbulk sandbox``: the emulator, until Ctrl-C."""

import asyncio
import errno
import ipaddress
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from socket import gaierror
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
    job_seconds: Annotated[float | None, Parameter(help="How long a job takes, from its POST to its end.")] = None,
    rate: Annotated[int | None, Parameter(help="Requests a second and key; more are answered with 429.")] = None,
    reject: Annotated[Sequence[str], Parameter(help="ADDRESS=REASON: jobs reject this person. May be repeated.")] = (),
    key: Annotated[Sequence[str], Parameter(help="KEY:SECRET that is accepted, and no other. May be repeated.")] = (),
    faults: Annotated[Path | None, Parameter(help="Faults and their calls, in JSON: mjbulk/guides/testing.md.")] = None,
) -> int:
    """Serve a stand-in for Mailjet on this machine, until Ctrl-C.

    It takes any key and secret unless --key is given, and has one list (ID 1) to begin with. It keeps everything in
    memory.

    Exit status: 0 ended by Ctrl-C; 2 refused, as for a port that is in use.
    """
    if not 0 <= port <= 65535:
        raise UsageError("a port is a number from 0 to 65535")
    local = _is_loopback(host)
    if not local and not expose:
        raise UsageError(f"other machines could reach {host}: say --expose if they shall")
    try:
        emulator = _emulator(job_seconds, rate, reject, key)
        if faults is not None:
            _script(emulator, faults)
    except ValueError as problem:
        raise UsageError(str(problem)) from None

    def announce() -> None:
        say(f"a stand-in for Mailjet listens at {emulator.url}; Ctrl-C ends it")
        keys = "" if key else " MJ_APIKEY_PUBLIC=any MJ_APIKEY_PRIVATE=any"
        say(f"export MJ_API_URL={emulator.url}{keys}{'' if local else f' MJBULK_INSECURE_HOST={host}'}")
        sys.stdout.flush()  # a program that reads it through a pipe waits for it

    await _served(emulator, host, port, announce)
    return DONE


def _emulator(job_seconds: float | None, rate: int | None, reject: Sequence[str], keys: Sequence[str]) -> "Emulator":
    from mjbulk.testing import Emulator, Knobs  # noqa: PLC0415  # help must not wait for the server

    pairs = [_pair("--key", "KEY:SECRET", ":", one) for one in keys]
    emulator = Emulator(Knobs().changed(job_seconds=job_seconds, rate=rate, credentials=pairs or None))
    for one in reject:
        emulator.reject(*_pair("--reject", "ADDRESS=REASON", "=", one))
    return emulator


def _pair(option: str, form: str, sign: str, given: str) -> tuple[str, str]:
    name, _, value = given.partition(sign)
    if not (name and value):
        raise ValueError(f"{option} takes {form}")
    return name, value


def _script(emulator: "Emulator", file: Path) -> None:
    try:
        emulator.read_faults(file.read_bytes())
    except OSError as why:
        raise ValueError(f"{file} cannot be read: {why.strerror}") from None
    except ValueError as problem:
        raise ValueError(f"{file}: {problem}") from None


async def _served(emulator: "Emulator", host: str, port: int, announce: Callable[[], None]) -> None:
    async def serve() -> None:
        await emulator.start(host, port)
        try:
            announce()
            await asyncio.get_running_loop().create_future()
        finally:
            await emulator.aclose()

    server = asyncio.create_task(serve())
    try:
        with on_signals(server.cancel), suppress(asyncio.CancelledError):
            await server
    except (OSError, UnicodeError) as why:  # the second for a host that cannot be a name
        number = 0 if isinstance(why, UnicodeError | gaierror) else why.errno
        problem = os.strerror(number) if number else "no such address"
        helps = "; --port 0 takes a free port" if number in (errno.EADDRINUSE, errno.EACCES) else ""
        raise UsageError(f"{host}, port {port}, cannot be listened on: {problem}{helps}") from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
