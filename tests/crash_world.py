"""The emulator in a process of its own, which outlives the clients that crash, and counts what they did.

Each run has an API key, and so an account, of its own. It may be told to kill a client in the middle of an answer.
"""

import asyncio
import csv
import hashlib
import os
import signal
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from multiprocessing.connection import Connection
from typing import Any

from attrs import frozen
from crash_rows import POISON, REJECTED, VENOM
from servers import Server, begin, obey

from mjbulk.testing import Emulator, Fault, Knobs

Sent = tuple[str, int]
"""One entry of a body: whose it is, and the number of the row that it has its last values from, or 0."""
_SHORT = 0.015
"""Seconds that a job takes at most."""
_UNTIL_IT_IS_READ = 0.003
"""Seconds between the first part of an answer and the end of who reads it."""


@frozen(kw_only=True)
class Cut:
    """Ends a client within an answer: the answer to a call, counted from 0, after some bytes of its body."""

    call: str
    number: int
    size: int


@frozen(kw_only=True)
class Job:
    """One job, as it was at the server."""

    id: int
    data_id: int
    """What a csvimport named."""
    entries: Sequence[Sent]
    """What it was sent."""
    applied: Sequence[bool]
    """One for each entry; none for a job that goes on."""
    ended: bool
    posted: float
    told: float
    """When somebody was told that it has ended; infinity where nobody was. Both by one clock."""


@frozen
class Truth:
    """What has happened at the server."""

    jobs: Sequence[Job]
    """In the order in which they were posted."""
    asked: frozenset[int]
    """The jobs that were asked for."""
    people: Mapping[str, Any]
    """What became of everybody."""


def start() -> Server:
    """Start the process. It ends with its parent's end of the line."""
    return begin(_serve)


async def _serve(line: Connection) -> None:
    knobs = Knobs(queue_seconds=0.0, prepare_seconds=0.0, import_seconds=lambda job: _SHORT / 4 * (job.id * 7 % 5))
    async with Emulator(knobs) as emulator:
        emulator.reject(f"{REJECTED}@example.org", "Invalid email")
        emulator.poison(f"{POISON}@example.org")
        emulator.poison(VENOM)
        orders = (_begin, _cut, _kill, _reject, _posts, _clear, _truth, _state)
        await obey(line, emulator.url, {order.__name__[1:]: partial(order, emulator) for order in orders})


def _begin(emulator: Emulator, key: str) -> None:
    """Make an account, with a list of ID 1 and the properties of rows, and forget what others did."""
    emulator._calls.clear()
    jobs = emulator.here(lambda: emulator._world.jobs)
    for job in [job for job in jobs.values() if job.ended]:
        del jobs[job.id]
    for name in ("n", "a", "b", "c"):
        emulator.account(key).create_property(name, "int")
    for name in ("note", "city"):
        emulator.account(key).create_property(name, "str")


def _cut(emulator: Emulator, cut: Cut, pid: int) -> None:
    """Kill a process within the answer to one of the calls that come."""

    def kill_soon(body: bytes) -> bytes:
        asyncio.get_running_loop().call_later(_UNTIL_IT_IS_READ, os.kill, pid, signal.SIGKILL)
        return body

    emulator.fault(cut.call, Fault(cut=cut.size, end="stall", edit=kill_soon), after=cut.number)


def _kill(emulator: Emulator, number: int, applied: bool, pid: int) -> None:  # noqa: FBT001  # it came in a message
    """Kill a process at its request of this number, counted from 0: before or after it has had its effect."""

    def kill(body: bytes) -> bytes:
        os.kill(pid, signal.SIGKILL)
        return body

    emulator.fault("*", Fault(apply=applied, end="stall", edit=kill), after=number)


def _reject(emulator: Emulator, people: Iterable[str]) -> None:
    """Make jobs reject the rows of people."""
    for who in people:
        emulator.reject(who, "Invalid email")


def _posts(emulator: Emulator) -> Counter[str]:
    """Count the requests that send or import rows, by their routes."""
    return Counter(call.route for call in emulator.calls if call.method == "POST")


def _clear(emulator: Emulator) -> None:
    """Forget what was to happen to requests."""
    emulator._faults._entries.clear()


def _truth(emulator: Emulator, key: str) -> Truth:
    """Tell what has happened in an account."""
    asked: dict[int, list[float]] = {}
    for call in emulator.calls:
        last = call.path.rsplit("/", 1)[1]
        if call.method == "GET" and call.status == HTTPStatus.OK and last.isdecimal():
            asked.setdefault(int(last), []).append(call.time)
    jobs = [job for job in emulator.jobs.values() if job.key == key]
    return Truth(
        jobs=[_job(job, asked.get(job.id, ())) for job in jobs],
        asked=frozenset(asked.keys() & {job.id for job in jobs}),
        people=_people(emulator, key),
    )


def _people(emulator: Emulator, key: str) -> Mapping[str, Any]:
    people = emulator.account(key).people.values()
    return {one.email.casefold(): (one.name, one.excluded, one.properties, dict(one.seen().lists)) for one in people}


def _job(job: Any, asked: Sequence[float]) -> Job:
    return Job(
        id=job.id,
        data_id=job.data_id,
        entries=_entries(job.body or b"", job.rows),
        applied=[outcome == "applied" for outcome in job.outcomes],
        ended=job.ended,
        posted=job.posted,
        told=min((when for when in asked if when >= job.ends), default=float("inf")),
    )


def _state(emulator: Emulator, key: str) -> str:
    """Tell what became of everybody, in short."""
    people = emulator.account(key).people.values()
    return state_of((one.email, one.properties, one.seen().lists) for one in people)


def state_of(people: Iterable[tuple[str, Mapping[str, Any], Mapping[int, str]]]) -> str:
    """Give in short who they are, what they have, and on which lists they are."""
    known = sorted((who, sorted(values.items()), sorted(lists.items())) for who, values, lists in people)
    return f"{len(known)} {hashlib.sha256(repr(known).encode()).hexdigest()}"


def _entries(body: bytes, rows: Sequence[Mapping[str, Any]]) -> Sequence[Sent]:
    if rows:
        found = ((row["Email"], row.get("Properties", {}).get("n", 0)) for row in rows)
    else:
        lines = csv.DictReader(body.decode().splitlines())
        found = ((row["email"], int(row.get("n") or 0)) for row in lines)
    return [(who.casefold(), n) for who, n in found]
