"""The emulator in a process of its own, which outlives the clients that crash, and counts what they did.

Each run has an API key, and so an account, of its own. It may be told to kill a client in the middle of an answer.
"""

import asyncio
import csv
import hashlib
import os
import signal
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from attrs import frozen

from mjbulk.testing import Emulator, Fault, Knobs

Sent = tuple[str, int]
"""One entry of a chunk: whose it is, and the number of the row that it came from."""
REJECTED, POISON = "rejected@example.org", "poison@example.org"
_AT_ONCE = Knobs(queue_seconds=0.0, prepare_seconds=0.0, import_seconds=0.0)
_UNTIL_IT_IS_READ = 0.003
"""Seconds between the first part of an answer and the end of who reads it."""


@frozen(kw_only=True)
class Cut:
    """Ends a client within an answer: the answer to a call, counted from 0, after some bytes of its body."""

    call: str
    number: int
    size: int


@frozen
class Truth:
    """What has happened at the server."""

    jobs: Sequence[Sequence[Sent]]
    """What each job that ended well has applied."""
    data_ids: Sequence[int]
    """What each csvimport named."""
    asked: frozenset[str]
    """The jobs that were asked for."""
    people: Mapping[str, Any]
    """What became of everybody."""


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


def start() -> Server:
    """Start the process. It ends with its parent's end of the line."""
    here, there = Pipe()
    pid = os.fork()
    if not pid:
        here.close()
        asyncio.run(_serve(there))
        os._exit(0)
    there.close()
    return Server(here.recv(), pid, here)


async def _serve(line: Connection) -> None:
    async with Emulator(_AT_ONCE) as emulator:
        emulator.reject(REJECTED, "Invalid email")
        emulator.poison(POISON)
        ended = asyncio.Event()

        def take() -> None:
            try:
                name, *said = line.recv()
            except EOFError:
                ended.set()
                return
            line.send(globals()[f"_{name}"](emulator, *said))

        asyncio.get_running_loop().add_reader(line.fileno(), take)
        line.send(emulator.url)
        await ended.wait()


def _begin(emulator: Emulator, key: str) -> None:
    """Make an account, with a list of ID 1 and two properties, and forget the calls of others."""
    emulator._calls.clear()
    for name, kind in (("n", "int"), ("city", "str")):
        emulator.account(key).create_property(name, kind)


def _cut(emulator: Emulator, cut: Cut, pid: int) -> None:
    """Kill a process within the answer to one of the calls that come."""

    def kill_soon(body: bytes) -> bytes:
        asyncio.get_running_loop().call_later(_UNTIL_IT_IS_READ, os.kill, pid, signal.SIGKILL)
        return body

    emulator.fault(cut.call, Fault(cut=cut.size, end="stall", edit=kill_soon), after=cut.number)


def _clear(emulator: Emulator) -> None:
    """Forget the answers that were to be cut."""
    emulator._faults._entries.clear()


def _truth(emulator: Emulator, key: str) -> Truth:
    """Tell what has happened in an account."""
    jobs = [job for job in emulator.jobs.values() if job.key == key]
    asked = {call.path.rsplit("/", 1)[1] for call in emulator.calls if call.method == "GET"}
    people = emulator.account(key).people.values()
    return Truth(
        jobs=[_applied(job.body or b"", job.outcomes, job.rows) for job in jobs if job.status == "Completed"],
        data_ids=[job.data_id for job in jobs if job.kind == "csvimport"],
        asked=frozenset(asked & {str(job.id) for job in jobs}),
        people={one.email.casefold(): (one.name, one.excluded, one.properties, one.lists) for one in people},
    )


def _state(emulator: Emulator, key: str) -> str:
    """Tell what became of everybody, in short."""
    people = emulator.account(key).people.values()
    known = sorted((one.email, one.name, one.excluded, sorted(one.properties.items()), one.lists) for one in people)
    return f"{len(known)} {hashlib.sha256(repr(known).encode()).hexdigest()}"


def _applied(body: bytes, outcomes: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[Sent]:
    if rows:
        entries = [(row["Email"], row["Properties"]["n"]) for row in rows]
    else:
        entries = [(row["email"], int(row["n"])) for row in csv.DictReader(body.decode().splitlines())]
    return [entry for entry, outcome in zip(entries, outcomes, strict=True) if outcome == "applied"]
