"""A client that dies: it imports in a process of its own, and is killed at the n-th point of its way."""

import asyncio
import json
import os
import signal
import traceback
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import attrs
from attrs import frozen
from crash_world import POISON, REJECTED, Cut, Server
from sqlalchemy import Engine, event

import mjbulk
import mjbulk.client  # so that no child has to import them
import mjbulk.journal.sql

_PEOPLE = (
    *("p1", "p2", "p3", "p4", "p4", "p5"),
    *("p6", "p2", "", REJECTED, "P1", "p7"),
    *("p8", POISON, "p4"),
)
ROWS = [
    {"email": who if "@" in who else f"{who}@example.org", "n": n, "city": f"C{n % 3}"}
    for n, who in enumerate(_PEOPLE, 1)
]
"""Good rows, one that is refused here, one that Mailjet rejects, one that halves its chunk, and people who come again
in the same chunk and in others."""
_PATIENCE = 30
"""Seconds after which a client that has neither ended nor died is given up."""


@frozen(kw_only=True)
class Case:
    """One run."""

    via: Any = "json"
    action: Any = "addnoforce"
    resend: Any = "safe"
    in_turn: bool = False
    """Whether only one chunk is in flight at a time."""

    @property
    def converges(self) -> bool:
        """Whether every chunk may be retried."""
        return bool(self.resend == "safe" and self.action == "addnoforce")


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
        self._known: dict[str, int] = {}
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "commit", lambda _: self.reach("commit"))

    def hook(self, happened: mjbulk.Event) -> None:
        """Come by an event of the client."""
        if self.run is not None:
            self._known = self.run.progress.as_dict()
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


async def _import(case: Case, url: str, key: str, journal: str, points: Points) -> dict[str, Any]:
    """Import to the end, and ask for the stored report."""
    settings = mjbulk.Settings(
        api_url=url,
        chunk_rows=5,
        concurrency=1 if case.in_turn else 3,
        max_jobs=1 if case.in_turn else 3,
        poll_min=0.0,
        read_timeout=0.3,
        connect_timeout=_PATIENCE,
    )
    how: Any = {"lists": {1: case.action}, "run_id": key, "via": case.via, "resend": case.resend}
    keys = mjbulk.Credentials(key, "secret")
    async with mjbulk.Client(keys, settings, journal=journal, hooks=[points.hook]) as client:
        points.run = client.start_import(ROWS, **how)
        report = await points.run
        stored = await client.import_contacts(ROWS, **how)
    if not stored.stored or stored.as_dict() | {"seconds": 0} != report.as_dict() | {"seconds": 0}:
        raise AssertionError(f"the stored report is another one: {stored} and {report}")
    rejections = {r.row or 0: r.message for r in report.rejections}
    in_doubt = {row for why in report.unsettled for row in why.rows} - rejections.keys()
    more = {"rejections": rejections, "in_doubt": sorted(in_doubt), "stored": report.stored}
    return {**report.as_dict(), **more}


def run(case: Case, server: Server, key: str, journal: str, *, die_at: int = 0, cut: Cut | None = None) -> End:
    """Run a client in a process of its own, and give how it ended."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            signal.alarm(_PATIENCE)
            if cut is not None:
                server.tell("cut", cut, os.getpid())
            points = Points(die_at, theirs)
            report = asyncio.run(_import(case, server.url, key, journal, points))
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
