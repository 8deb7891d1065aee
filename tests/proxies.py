"""nginx, HAProxy and squid in front of the emulator, and what becomes of rows when something is wrong behind them.

``python tests/proxies.py --long`` does it to 100,000 rows, for five seconds each; the tests do a little of it.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from support import KEYS, balanced

import mjbulk
from mjbulk.testing import Emulator, Fault, Knobs

CERTIFICATE = Path(__file__).parent / "mailjet" / "data" / "loopback.pem"
TRUSTED = ssl.create_default_context(cafile=CERTIFICATE)
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
_ANYBODY = "/usr/lib/squid/basic_fake_auth"
_STARTS = 20.0
"""Seconds that a program may take to listen."""


# The programs


def program(name: str) -> str | None:
    """Find a program: Debian keeps them off the path of users."""
    return shutil.which(name, path=PATH)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def a_folder() -> Iterator[Path]:
    """Make a folder that another user may be given."""
    with tempfile.TemporaryDirectory(prefix="mjbulk-proxies-") as name:
        yield Path(name)


@contextmanager
def running(folder: Path, *command: str, ports: Sequence[int], end: int = signal.SIGTERM) -> Iterator[None]:
    """Run a program, which listens on these ports when it is given, and ends with a signal."""
    log = (folder / "log").open("ab")
    with log, subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as process:
        try:
            _wait_for(process, ports, folder / "log")
            yield
        finally:
            process.send_signal(end)
            process.wait(60)


def _wait_for(process: "subprocess.Popen[bytes]", ports: Sequence[int], log: Path) -> None:
    end = time.monotonic() + _STARTS
    while not all(map(_listens, ports)):
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < end, log.read_text(errors="replace")
        time.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def nginx(server: str, *, port: int = 0, http: str = "") -> Iterator[int]:
    """Run nginx with one server, whose directives are given, and give its port."""
    port = port or free_port()
    with a_folder() as folder:
        _write_nginx(folder, server, port, http)
        command = [str(program("nginx")), "-e", str(folder / "errors"), "-c", str(folder / "nginx.conf")]
        with running(folder, *command, "-p", str(folder), ports=[port], end=signal.SIGQUIT):
            yield port


def _write_nginx(folder: Path, server: str, port: int, http: str) -> None:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(f"""
        daemon off;
        {"user root root;" if os.geteuid() == 0 else ""}
        pid {folder}/pid;
        worker_processes 1;
        worker_shutdown_timeout 1s;
        events {{ worker_connections 256; }}
        http {{
            access_log off;
            {temporary}
            {http}
            server {{ listen 127.0.0.1:{port}{" ssl" if "ssl_certificate" in server else ""}; {server} }}
        }}
    """)


@contextmanager
def haproxy(server: str, bind: str = "") -> Iterator[int]:
    """Run HAProxy before one server, whose arguments are given, and give its port."""
    port = free_port()
    with a_folder() as folder:
        (folder / "haproxy.cfg").write_text(f"""
            defaults
                mode http
                timeout connect 1s
                timeout client 30s
                timeout server 1s
                timeout queue 1s
            frontend front
                bind 127.0.0.1:{port} {bind}
                default_backend back
            backend back
                server one {server}
""")
        with running(folder, str(program("haproxy")), "-db", "-f", str(folder / "haproxy.cfg"), ports=[port]):
            yield port


@frozen
class Squid:
    """A squid that runs."""

    open: int
    """A port that asks nobody who is there."""
    shut: int
    """A port that wants a user, and takes any."""


@contextmanager
def squid() -> Iterator[Squid]:
    """Run squid."""
    ports = Squid(free_port(), free_port())
    with a_folder() as folder:
        if os.geteuid() == 0:  # then squid runs as the user that Debian's package makes
            shutil.chown(folder, "proxy")
        (folder / "squid.conf").write_text(f"""
http_port 127.0.0.1:{ports.open} name=open
http_port 127.0.0.1:{ports.shut} name=shut
auth_param basic program {_ANYBODY}
auth_param basic children 1
acl open myportname open
acl known proxy_auth REQUIRED
http_access allow open
http_access allow known
http_access deny all
cache deny all
access_log none
cache_log {folder}/squid.log
cache_store_log none
pid_filename none
coredump_dir {folder}
pinger_enable off
shutdown_lifetime 0 seconds
visible_hostname localhost
connect_timeout 2 seconds
""")
        command = [str(program("squid")), "-N", "-f", str(folder / "squid.conf")]
        with running(folder, *command, ports=[ports.open, ports.shut]):
            yield ports


# Imports through them


def people(count: int, size: int = 0) -> list[dict[str, Any]]:
    return [{"email": f"p{number}@example.org", **({"city": "x" * size} if size else {})} for number in range(count)]


@asynccontextmanager
async def mailjet(**knobs: Any) -> AsyncIterator[Emulator]:
    """Run the emulator, with jobs that end soon."""
    quick = {"queue_seconds": 0.02, "prepare_seconds": 0.01, "import_seconds": 0.02}
    async with Emulator(Knobs(**{**quick, **knobs})) as emulator:
        emulator.create_property("city")
        yield emulator


def passing(emulator: Emulator, more: str = "") -> str:
    """Say that nginx passes everything on."""
    return f"location / {{ proxy_pass {emulator.url}; {more} }}"


@define
class Trouble:
    """Begins while an import is under way."""

    begin: Callable[[], Awaitable[object]]
    end: Callable[[], Awaitable[object]]
    seconds: float
    after: int = 5
    """How many chunks are sent before."""
    _begun: asyncio.Event = field(factory=asyncio.Event)

    def look(self, event: mjbulk.Event) -> None:
        """Hear of an event, as a hook."""
        self.after -= event.name == "chunk.sent"
        if self.after <= 0:
            self._begun.set()

    async def come(self) -> None:
        """Begin, and end."""
        await self._begun.wait()
        await self.begin()
        await asyncio.sleep(self.seconds)
        await self.end()


def away(emulator: Emulator, seconds: float) -> Trouble:
    """Have nothing listen behind a proxy."""
    port = int(emulator.url.rpartition(":")[2])
    return Trouble(emulator.aclose, lambda: emulator.start(port=port), seconds)


def stopped(server: str, port: int, running: ExitStack, seconds: float) -> Trouble:
    """Have nginx end, with all that it has begun, and start it again at its port. ``running`` has it both times."""

    async def stop() -> None:
        await asyncio.to_thread(running.close)

    async def start() -> None:
        running.enter_context(nginx(server, port=port))

    return Trouble(stop, start, seconds)


def faulty(emulator: Emulator, call: str, fault: Fault, seconds: float) -> Trouble:
    """Have something happen to each call."""

    async def begin() -> None:
        emulator.fault(call, fault, times=None)

    async def end() -> None:
        emulator._faults._entries.clear()

    return Trouble(begin, end, seconds)


async def imported(port: int, rows: Sequence[Any], trouble: Trouble | None = None, **said: Any) -> mjbulk.Report:
    """Import rows through a proxy, and give the report. ``said`` are settings, and keywords of the run."""
    how = {name: said.pop(name) for name in ("via", "lists") if name in said}
    settings = mjbulk.Settings(**{"api_url": f"http://127.0.0.1:{port}", "poll_min": 0.05, **said})
    hooks = [trouble.look] if trouble else []
    async with mjbulk.Client(KEYS, settings, hooks=hooks) as client:
        coming = asyncio.create_task(trouble.come()) if trouble else None
        try:
            return balanced(await client.start_import(rows, **{"lists": {1: "addforce"}, **how}).wait())
        finally:
            if coming is not None:
                coming.cancel()


# What may be wrong. Each takes rows, the seconds for which it lasts, and settings.


async def nothing_listens_behind_nginx(rows: Sequence[Any], seconds: float, **said: Any) -> mjbulk.Report:
    """It answers 502."""
    async with mailjet() as emulator:
        with nginx(passing(emulator)) as port:
            return await imported(port, rows, away(emulator, seconds), **said)


async def nginx_limits_requests(rows: Sequence[Any], seconds: float, **said: Any) -> mjbulk.Report:  # as the others
    """It answers 503 to more than 20 requests a second, for as long as the import takes."""
    async with mailjet() as emulator:
        zone = "limit_req_zone $binary_remote_addr zone=all:1m rate=20r/s;"
        with nginx(passing(emulator, "limit_req zone=all burst=4 nodelay;"), http=zone) as port:
            return await imported(port, rows, **said)


async def a_server_behind_haproxy_is_frozen(rows: Sequence[Any], seconds: float, **said: Any) -> mjbulk.Report:
    """HAProxy has room for two requests. It answers them with 504 after a second, and those in its queue with 503."""
    async with mailjet() as emulator:
        with haproxy(f"{emulator.url.removeprefix('http://')} maxconn 2") as port:
            return await imported(port, rows, faulty(emulator, "*", Fault.delay(before=seconds), seconds), **said)


async def nginx_does_not_wait(rows: Sequence[Any], seconds: float, **said: Any) -> mjbulk.Report:
    """It answers 504 after a second, when the server has done what was asked."""
    call = "POST csvimport" if said.get("via") == "csv" else "POST contact/managemanycontacts"
    async with mailjet() as emulator:
        with nginx(passing(emulator, "proxy_read_timeout 1s;")) as port:
            report = await imported(port, rows, faulty(emulator, call, Fault.delay(after=1.5), seconds), **said)
        assert len(emulator.contacts) == len(rows)
        return report


async def nothing_listens_behind_squid(rows: Sequence[Any], seconds: float, **said: Any) -> mjbulk.Report:
    """It makes no connection: a CONNECT is answered with 503."""
    async with mailjet() as emulator:
        server = f"ssl_certificate {CERTIFICATE}; ssl_certificate_key {CERTIFICATE}; {passing(emulator)}"
        with squid() as proxy, ExitStack() as running:
            port = running.enter_context(nginx(server))
            through = {
                "api_url": f"https://127.0.0.1:{port}",
                "proxy": f"http://127.0.0.1:{proxy.open}",
                "ssl": TRUSTED,
            }
            return await imported(port, rows, stopped(server, port, running, seconds), **through, **said)


WRONG = (
    nothing_listens_behind_nginx,
    nginx_limits_requests,
    a_server_behind_haproxy_is_frozen,
    nginx_does_not_wait,
    nothing_listens_behind_squid,
)


def main(arguments: Sequence[str]) -> int:
    """Have all of it be wrong in turn, and print what became of the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true")
    rows, seconds = (100_000, 5.0) if parser.parse_args(arguments).long else (20_000, 2.0)
    for wrong in WRONG:
        report = asyncio.run(wrong(people(rows), seconds))
        figures = {"accepted": report.accepted, "unknown": report.unknown, "not_sent": report.not_sent}
        line = {"wrong": wrong.__name__, **figures, "seconds": round(report.seconds, 1)}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
