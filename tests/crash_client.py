"""A client that dies: it imports in a process of its own, and is killed at the n-th point of its way."""

import asyncio
import json
import os
import signal
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, count
from typing import Any

import attrs
from attrs import frozen
from crash_rows import FEW, SOURCES, csv_text
from crash_world import Cut
from servers import Server
from sqlalchemy import Engine, event

import mjbulk
import mjbulk.client  # so that no child has to import them
import mjbulk.journal.sql
from mjbulk.models import COUNT_NAMES

_PAUSE = 0.001
"""Seconds between two pieces of a file."""
_TOLD_OTHERWISE = {"seconds": 0, "halted": None, "unsettled": None}
"""What a journal keeps in other words, or not at all."""
_PATIENCE = 30
"""Seconds after which a client that has neither ended nor died is given up."""


@frozen(kw_only=True)
class Case:
    """One run."""

    source: str = "mixed"
    """A name of `SOURCES`."""
    piece: int = 0
    """How many bytes of a file come at once; 0 for rows in memory."""
    via: Any = "json"
    action: Any = "addnoforce"
    """One of a list, or ``exclude``."""
    resend: Any = "safe"
    in_turn: bool = False
    """Whether only one chunk is in flight at a time."""

    def may_retry(self, resend: str) -> bool:
        """Whether every chunk may be retried."""
        return resend == "safe" and self.action == "addnoforce"

    def rows(self) -> Any:
        """Give the source."""
        if not self.piece:
            return [row["email"] for row in SOURCES[self.source]] if self.action == "exclude" else SOURCES[self.source]
        return mjbulk.csv_source(self._pieces(csv_text(self.source)))

    async def _pieces(self, text: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(text), self.piece):
            yield text[start : start + self.piece]
            await asyncio.sleep(_PAUSE)


@frozen(kw_only=True)
class Life:
    """How one process goes about a run."""

    resend: Any
    chunk_rows: int = FEW
    max_jobs: int = 3
    max_rows: int = 1000


@frozen(kw_only=True)
class End:
    """How a client ended."""

    signal: int
    points: Sequence[str] = ()
    """What it came by; only the last one where it was killed."""
    known: Mapping[str, int] = attrs.field(factory=dict)
    """The books that it last showed."""
    report: Mapping[str, Any] = attrs.field(factory=dict)


class Points:
    """Counts the points that a client comes by, and kills it at one of them."""

    def __init__(self, die_at: int, line: int) -> None:
        self._die_at = die_at
        self._line = line
        self._count = count(1)
        self.names: list[str] = []
        self.run: mjbulk.ImportRun | None = None
        self.requests = 0
        """How many were made."""
        self._known: dict[str, Any] = {}
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "commit", lambda _: self.reach("commit"))

    def hook(self, happened: mjbulk.Event) -> None:
        """Come by an event of the client."""
        if self.run is not None:
            self._known = self.run.progress.as_dict()
        self.requests += happened.name == "request.sending"
        self.reach(f"{happened.name} {happened.call or ''}".strip())

    def _statement(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.lstrip().casefold().startswith(("select", "begin", "pragma")):
            self.reach(" ".join(statement.split()[:3]))

    def reach(self, name: str) -> None:
        """Come by a point."""
        if next(self._count) == self._die_at:
            os.write(self._line, json.dumps({"points": [name], "known": self._known}).encode())
            os.kill(os.getpid(), signal.SIGKILL)
        self.names.append(name)


async def _import(case: Case, life: Life, points: Points, *, url: str, key: str, journal: str) -> dict[str, Any]:
    """Look at what is known, import to the end, and ask for the stored report."""
    settings = mjbulk.Settings(
        api_url=url,
        chunk_rows=life.chunk_rows,
        concurrency=min(life.max_jobs, 3),
        max_jobs=life.max_jobs,
        max_rows=life.max_rows,
        poll_min=0.0,
        read_timeout=2.0,
        connect_timeout=_PATIENCE,
    )
    keys = mjbulk.Credentials(key, "secret")
    async with mjbulk.Client(keys, settings, journal=journal, hooks=[points.hook]) as client:
        with suppress(mjbulk.UsageError):  # it was not begun
            _check_books(await client.get_run(key))
        points.run = _start(client, case, life, key)
        report = await points.run
        requests = points.requests
        stored = await _start(client, case, life, key)
        _check_books(info := await client.get_run(key))
        slots = client._ready().slots
        if slots._jobs or slots._rows:
            raise AssertionError(f"{slots._jobs} job slots were not given back")
    if not stored.stored or stored.as_dict() | _TOLD_OTHERWISE != report.as_dict() | _TOLD_OTHERWISE:
        raise AssertionError(f"the stored report is another one: {stored} and {report}")
    if points.requests > requests:
        raise AssertionError("a run that has ended made requests")
    if info.complete != report.complete or any(getattr(info, name) != getattr(report, name) for name in COUNT_NAMES):
        raise AssertionError(f"the journal's books are others: {info} and {report}")
    if _rows_of(stored) != _rows_of(report):
        raise AssertionError(f"the stored report has other rows: {_rows_of(stored)} and {_rows_of(report)}")
    rejections = {r.row or 0: r.message for r in report.rejections}
    return {**report.as_dict(), "rejections": rejections, "rows_of": _rows_of(report)}


def _rows_of(report: mjbulk.Report) -> dict[str, list[int]]:
    """Give the numbers of the rows with each outcome."""
    return {
        "accepted": list(chain.from_iterable(report.accepted_rows())),
        "superseded": list(chain.from_iterable(report.superseded_rows())),
        "rejected": sorted(rejection.row for rejection in report.rejections if rejection.row is not None),
        "unknown": sorted(row for why in report.unsettled for rows in why.rows for row in rows),
    }


def _start(client: mjbulk.Client, case: Case, life: Life, key: str) -> mjbulk.ImportRun:
    how: Any = {"run_id": key, "via": case.via, "resend": life.resend}
    if case.action == "exclude":
        return client.start_exclusion(case.rows(), excluded=True, **how)
    return client.start_import(case.rows(), lists={1: case.action}, **how)


def _check_books(info: mjbulk.RunInfo) -> None:
    figures = [getattr(info, name) for name in COUNT_NAMES if name != "rows"]
    if sum(figures) != info.rows or min(figures) < 0:
        raise AssertionError(f"the journal's books do not add up: {info}")


def _give_up(*_: object) -> None:
    """Say what everybody waits for."""
    for task in asyncio.all_tasks(asyncio.get_running_loop()):
        task.print_stack()
    raise AssertionError("a client has neither ended nor died")


def run(
    case: Case, life: Life, server: Server, key: str, journal: str, *, die_at: int = 0, cut: Cut | None = None
) -> End:
    """Run a client in a process of its own, and give how it ended."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            signal.signal(signal.SIGALRM, _give_up)
            signal.alarm(_PATIENCE)
            if cut is not None:
                server.tell("cut", cut, os.getpid())
            points = Points(die_at, theirs)
            report = asyncio.run(_import(case, life, points, url=server.url, key=key, journal=journal))
            os.write(theirs, json.dumps({"points": points.names, "report": report}).encode())
            status = 0
        except BaseException:  # noqa: BLE001  # this process ends here
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(theirs)
    with os.fdopen(ours, "rb") as line:
        said = line.read()
    how = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if cut is not None:
        server.tell("clear")
    if how not in (0, -signal.SIGKILL):
        raise AssertionError(f"a client ended with {how}")
    return End(signal=-how, **json.loads(said or b"{}"))
