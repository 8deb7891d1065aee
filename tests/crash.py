"""Crashes: a client is killed at one point of its way, another goes on, and what came of it is held against a run that
nobody disturbed.

``python tests/crash.py --seeds 5000`` crashes that many runs once, twice or three times each, at random points;
``--every 1`` crashes one run at each of its points.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

from attrs import frozen
from crash_client import ROWS, Case, End, run
from crash_world import Cut, Sent, Server, Truth, start
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from mjbulk.journal.records import number_of

_FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where a commit takes no time: what a process has written outlives it there as well as on a disk."""


# What a journal says, read by other means than ours


@frozen
class Written:
    """What a journal held when its client was dead."""

    sent: frozenset[int]
    """Rows of chunks of which something may have been sent."""
    in_doubt: frozenset[int]
    jobs: frozenset[str]
    settled: int
    """Rows that have an outcome of Mailjet's."""


_NOTHING = Written(frozenset(), frozenset(), frozenset(), 0)


def read(journal: str, key: str, via: str) -> Written:
    """Read a journal, or a copy of its files, for a client has still to find them as they were left."""
    if "://" in journal:
        return _read(journal, key, via)
    with tempfile.TemporaryDirectory() as folder:
        for name in (journal, f"{journal}-wal"):
            with suppress(FileNotFoundError):
                shutil.copy(name, folder)
        copy = Path(folder, Path(journal).name)
        return _read(f"sqlite:///{copy}", key, via) if copy.exists() else _NOTHING


def _read(url: str, key: str, via: str) -> Written:
    wanted = (
        "select c.first, c.last, p.state, p.data_id, p.job, p.accepted + p.superseded + p.rejected "
        "from mjbulk_chunks c join mjbulk_parts p on p.run = c.run and p.chunk = c.number where c.run = :run"
    )
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            found = connection.execute(text(wanted), {"run": number_of(key, "")}).all()
    except DBAPIError:  # it has no tables yet
        found = []
    finally:
        engine.dispose()
    sent, doubt, jobs, settled = set[int](), set[int](), set[str](), 0
    for first, last, state, data_id, job, rows in found:
        span = range(first, last + 1)
        sent.update(span if state != "unsent" else ())
        doubt.update(span if state == "sending" and (via == "json" or data_id) else ())
        jobs.update([job.split(":")[1]] if job else [])
        settled += rows if state == "settled" else 0
    return Written(frozenset(sent), frozenset(doubt), frozenset(jobs), settled)


# The oracles


@frozen
class Undisturbed:
    """What a run comes to when nothing happens to it."""

    points: Sequence[str]
    effects: frozenset[Sent]
    report: Mapping[str, Any]
    people: Mapping[str, Any]

    @classmethod
    def of(cls, end: End, truth: Truth) -> "Undisturbed":
        effects = [sent for job in truth.jobs for sent in job]
        assert len(set(effects)) == len(effects)
        assert end.report["complete"]
        return cls(end.points, frozenset(effects), end.report, truth.people)

    def kind(self, row: int) -> str:
        """What becomes of a row."""
        if str(row) in self.report["rejections"]:
            return "rejected"
        return "accepted" if row in {n for _, n in self.effects} else "superseded"


def check_crash(end: End, written: Written, truth: Truth) -> None:
    """What holds when a client is dead: nothing was sent, used or told before it was on disk."""
    unwritten = {n for job in truth.jobs for _, n in job} - written.sent
    assert not unwritten, f"rows {unwritten} were sent before that was written"
    assert truth.asked <= written.jobs, "a job was used before it was written"
    told = sum(end.known.get(name, 0) for name in ("accepted", "superseded", "rejected"))
    refused_here = 1
    assert told <= written.settled + refused_here, f"{told} rows were told before that was written"


def check_end(case: Case, usual: Undisturbed, end: End, truth: Truth, crashes: Sequence[Written]) -> None:
    """What holds at the end: nothing is lost, nothing is doubled that must not be, the outcomes are the usual ones."""
    report, unknown = end.report, set(end.report["in_doubt"])
    doubt = {row for written in crashes for row in written.in_doubt}
    times = Counter(sent for job in truth.jobs for sent in job)
    assert times.keys() <= usual.effects
    lost = {n for sent in usual.effects if not times[sent] and (n := sent[1]) not in unknown}
    assert not lost, f"rows {lost} are lost"
    doubled = {n for sent, often in times.items() if often > 1 for n in [sent[1]]}
    may_double = case.converges and case.via == "json"
    assert not doubled or (may_double and doubled <= doubt), f"rows {doubled} are doubled"
    assert max(times.values()) <= 1 + len(crashes)
    if case.in_turn:
        doubles = sum(often - 1 for often in times.values())
        assert doubles <= 5 * len(crashes), f"{doubles} entries were doubled"
    assert len(set(truth.data_ids)) == len(truth.data_ids), "data were imported twice"
    assert unknown <= doubt, f"rows {unknown} are unknown"
    assert not (case.converges and unknown), f"rows {unknown} are unknown"
    _check_books(usual, report, unknown)
    for who, state in usual.people.items():
        if who not in {ROWS[row - 1]["email"].casefold() for row in unknown}:
            assert truth.people.get(who) == state, "a contact is not what it would be"
    assert truth.people.keys() <= usual.people.keys()


def _check_books(usual: Undisturbed, report: Mapping[str, Any], unknown: set[int]) -> None:
    """The books add up, and each row that is not in doubt has its usual outcome. A stored report tells doubts by whole
    chunks."""
    rows = range(1, len(ROWS) + 1)
    figures = Counter({name: report[name] for name in ("accepted", "rejected", "superseded")})
    least, most = (Counter(usual.kind(row) for row in some) for some in ([r for r in rows if r not in unknown], rows))
    assert least <= figures <= most
    assert figures == least or report["stored"]
    assert (report["rows"], figures.total() + report["unknown"], report["not_sent"]) == (len(ROWS), len(ROWS), 0)
    wanted = {row: why for row, why in usual.report["rejections"].items() if int(row) not in unknown}
    assert wanted.items() <= report["rejections"].items() <= usual.report["rejections"].items()


# Many runs

_ANSWERS = {
    "POST contact/managemanycontacts": ("post contact/managemanycontacts", 20),
    "POST contactslist/CSVData": ("post contactslist/csvdata", 6),
    "POST csvimport": ("post csvimport", 50),
    "GET contact/managemanycontacts": ("get contact/managemanycontacts", 50),
    "GET csvimport": ("get csvimport", 50),
    "GET JSONError": ("batchjob/jsonerror", 10),
    "GET CSVError": ("batchjob/csverror", 10),
}
"""Calls within whose answers a client is killed: their routes, and after how many bytes of a body."""


class Crashes:
    """Crashes runs of all kinds. Mutable state: how many, and where."""

    def __init__(self, server: Server, folder: Path, journal: str | None = None) -> None:
        """Journals lie in a folder, one for each run, or in one database."""
        self._server = server
        self._folder = folder
        self._journal = journal
        self._names = map(f"{folder.name}-{{}}".format, count())
        self._usual: dict[Case, Undisturbed] = {}
        self.where: Counter[str] = Counter()

    def usual(self, case: Case) -> Undisturbed:
        """Give what a run comes to that nothing happens to."""
        if case not in self._usual:
            key, journal = self._new()
            end = run(case, self._server, key, journal)
            self._usual[case] = Undisturbed.of(end, self._server.tell("truth", key))
        return self._usual[case]

    def cuts(self, case: Case) -> Iterator[Cut]:
        """Give the answers within which a client may be killed."""
        often = Counter(self.usual(case).points)
        for call, (route, size) in _ANSWERS.items():
            for number in range(often[f"request.sending {call}"]):
                yield Cut(call=route, number=number, size=0)
                yield Cut(call=route, number=number, size=size)

    def crash(self, case: Case, *ways: int | Cut) -> int:
        """Crash a run at these points, one after the other, and take it to its end. Gives how often it crashed."""
        usual = self.usual(case)
        key, journal = self._new()
        crashes = []
        try:
            for way in ways:
                die = {"cut": way} if isinstance(way, Cut) else {"die_at": way}
                end = run(case, self._server, key, journal, **die)
                if not end.signal:
                    break
                self.where[end.points[0] if end.points else f"within an answer of {getattr(way, 'call', '')}"] += 1
                crashes.append(read(journal, key, case.via))
                check_crash(end, crashes[-1], self._server.tell("truth", key))
            else:
                end = run(case, self._server, key, journal)
            check_end(case, usual, end, self._server.tell("truth", key), crashes)
        except AssertionError as failure:
            failure.add_note(f"{case} crashed at {ways}")
            raise
        if self._journal is None:
            for file in self._folder.iterdir():
                file.unlink()
        return len(crashes)

    def every(self, case: Case, step: int = 1, first: int = 0) -> int:
        """Crash a run at each of its points, or at each ``step``-th."""
        ways = [*range(1, len(self.usual(case).points) + 1), *self.cuts(case)]
        return sum(self.crash(case, way) for way in ways[first::step])

    def at_random(self, seed: int, resend: Any) -> int:
        """Crash some run up to three times, twice at least."""
        chance = random.Random(seed)
        case = Case(
            via=chance.choice(("json", "csv")),
            action=chance.choice(("addnoforce", "addforce")),
            resend=resend or chance.choice(("safe", "never")),
            in_turn=chance.random() < 0.3,
        )
        ways = [*range(1, len(self.usual(case).points) + 1), *self.cuts(case)]
        first = chance.choice(ways)
        later: list[int | Cut] = [chance.randrange(1, 60) for _ in range(chance.choice((1, 1, 2)))]
        return self.crash(case, first, *later)

    def _new(self) -> tuple[str, str]:
        key = next(self._names)
        self._server.tell("begin", key)
        return key, self._journal or str(self._folder / f"{key}.db")


def cases(resend: str, kinds: Iterable[str]) -> Iterator[Case]:
    """Give the cases of words as ``json:addforce``."""
    for kind in kinds:
        via, action, *more = kind.split(":")
        yield Case(via=via, action=action, resend=resend, in_turn=bool(more))


def main(arguments: Sequence[str]) -> int:
    """Crash runs as it is said, and print what was done as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resend", choices=("safe", "never"))
    parser.add_argument("--every", type=int, metavar="STEP")
    parser.add_argument(
        "--kinds", nargs="*", default=["json:addnoforce"], help="as json:addforce, csv:addnoforce:in_turn"
    )
    parser.add_argument("--seeds", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the first seed, or the first point")
    parser.add_argument("--journal", help="the URL of a database; by default a file for each run")
    said = parser.parse_args(arguments)
    server = start()
    done = {"crashes": 0, "twice": 0}
    with closing(server.line), tempfile.TemporaryDirectory(dir=_FAST, prefix="mjbulk-crash-") as folder:
        crashes = Crashes(server, Path(folder), said.journal)
        for case in cases(said.resend or "safe", said.kinds) if said.every else ():
            done["crashes"] += crashes.every(case, said.every, said.first)
        for seed in range(said.first, said.first + said.seeds):
            often = crashes.at_random(seed, said.resend)
            done["crashes"] += often
            done["twice"] += often > 1
    os.waitpid(server.pid, 0)
    sys.stdout.write(json.dumps({**done, "where": dict(crashes.where.most_common())}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
