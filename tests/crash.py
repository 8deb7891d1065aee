"""Crashes: a client is killed at one point of its way, another goes on, and what came of it is held against a run that
nobody disturbed.

``python tests/crash.py --seeds 5000`` crashes that many runs once, twice or three times each, at random points;
``--every 1`` crashes one run at each of its points.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from attrs import field, frozen
from crash_client import Case, End, Life, run
from crash_journal import Written, read
from crash_rows import BITTEN, FEW, POISON, SOURCES, kind, last_values, people
from crash_world import Cut, Truth, start
from servers import Server

_FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where a commit takes no time: what a process has written outlives it there as well as on a disk."""


# The oracles


LOOSE = f"{BITTEN}@example.org"
"""Somebody whose end depends on which rows were merged."""
REFUSED_ALONE = {LOOSE, f"{POISON}@example.org"}
"""People whose rows are refused as a whole body: after a doubt, and with no row behind them that is taken, they are
unknown."""


@frozen
class Undisturbed:
    """What a run comes to when nothing happens to it."""

    points: Sequence[str]
    rejections: Mapping[str, str]
    people: Mapping[str, Any]

    @classmethod
    def of(cls, case: Case, end: End, truth: Truth) -> "Undisturbed":
        """Take in a run, whose people have to end as the rows say."""
        assert end.report["complete"]
        excluded = case.action == "exclude"
        on_lists = {} if case.action in {"exclude", "remove"} else {1: case.action}
        for who, (_, is_excluded, values, lists) in truth.people.items():
            wanted = {} if excluded else last_values(case.source, who)
            assert {name: value for name, value in values.items() if name != "note"} == wanted or who == LOOSE
            assert (is_excluded, lists) == (excluded, on_lists)
        whose = enumerate(people(case.source), 1)
        assert truth.people.keys() | {LOOSE} == {who for n, who in whose if kind(case.source, n) == "good"} | {LOOSE}
        return cls(end.points, end.report["rejections"], truth.people)


@frozen
class Crashed:
    """The processes that a run was given. Mutable: what each of them that died had left in the journal."""

    case: Case
    lives: Sequence[Life]
    written: list[Written] = field(factory=list)

    @property
    def converges(self) -> bool:
        """Whether every chunk could be retried at any time."""
        return all(self.case.may_retry(life.resend) for life in self.lives)

    @property
    def may_double(self) -> bool:
        """Whether something may have been applied twice."""
        return self.case.via == "json" and any(self.case.may_retry(life.resend) for life in self.lives)

    @property
    def most(self) -> int:
        """How many entries a chunk may have."""
        return max(life.chunk_rows for life in self.lives)


def check_sent(case: Case, written: Written, truth: Truth) -> None:
    """What holds at any time: each known job was sent the rows that the journal says, rows of one person have come in
    the order of the source or once more after a doubt, and nobody came again before an earlier job was known to have
    ended. A job is known whose answer has arrived.
    """
    latest, told, whose = dict[str, int](), dict[str, float](), people(case.source)
    for job in truth.jobs:
        for who, n in job.entries:
            assert latest.get(who, 0) <= n, f"row {n} came after row {latest[who]}"
            latest[who] = n
        if job.id in written.jobs:
            assert all(told.get(who, 0.0) <= job.posted for who, _ in job.entries), "somebody is in two jobs"
            told |= dict.fromkeys((who for who, _ in job.entries), job.told)
            rows = written.jobs[job.id].entries
            wanted = [(whose[some[-1] - 1], some[-1] * (case.action != "exclude")) for some in rows]
            assert job.entries == wanted, f"a job had other rows than {rows}"


def check_crash(case: Case, end: End, written: Written, truth: Truth) -> None:
    """What holds when a client is dead: nothing was sent, used or told before it was on disk."""
    unwritten = {n for job in truth.jobs for _, n in job.entries if n} - written.sent
    assert not unwritten, f"rows {unwritten} were sent before that was written"
    assert truth.asked <= written.jobs.keys(), "a job was used before it was written"
    told = sum(end.known.get(name, 0) for name in ("accepted", "superseded", "rejected"))
    refused_here = people(case.source).count("")
    assert told <= written.settled + refused_here, f"{told} rows were told before that was written"
    check_sent(case, written, truth)


def check_end(usual: Undisturbed, end: End, written: Written, truth: Truth, crashed: Crashed) -> None:
    """What holds at the end: nothing is lost, nothing is doubled that must not be, the outcomes are the usual ones."""
    case = crashed.case
    check_sent(case, written, truth)
    _check_doubles(written, truth, crashed)
    _check_books(case, end.report, written, truth)
    for row in set(range(1, len(people(case.source)) + 1)) - written.unknown:
        wanted, why = kind(case.source, row), end.report["rejections"].get(str(row))
        assert wanted == "either" or (why is None) == (wanted == "good"), f"row {row} is not {wanted}"
        assert wanted == "either" or why == usual.rejections.get(str(row))
    for who in usual.people.keys() - {people(case.source)[row - 1] for row in written.unknown} - {LOOSE}:
        assert truth.people.get(who) == usual.people[who], "a contact is not what it would be"
    assert truth.people.keys() <= usual.people.keys() | {LOOSE}


def _check_doubles(written: Written, truth: Truth, crashed: Crashed) -> None:
    """Nothing went twice but what may, and only what was in doubt is unknown."""
    doubt = {row for crash in crashed.written for row in crash.in_doubt}
    times = Counter((who, n) for job in truth.jobs for who, n in job.entries if n)
    doubled = {n for (_, n), often in times.items() if often > 1}
    assert not doubled or (crashed.may_double and doubled <= doubt), f"rows {doubled} are doubled"
    assert max(times.values(), default=1) <= 1 + len(crashed.written)
    doubles = sum(often - 1 for often in times.values())
    assert not crashed.case.in_turn or doubles <= crashed.most * len(crashed.written), f"{doubles} were doubled"
    imported = [job.data_id for job in truth.jobs if job.data_id]
    assert len(set(imported)) == len(imported), "data were imported twice"
    assert written.unknown <= doubt, f"rows {written.unknown - doubt} are unknown"
    alone = {n for n, who in enumerate(people(crashed.case.source), 1) if who in REFUSED_ALONE}
    assert written.unknown <= alone or not crashed.converges, f"rows {written.unknown} are unknown"


def _check_books(case: Case, report: Mapping[str, Any], written: Written, truth: Truth) -> None:
    """Each row is in one chunk or was refused, and the report says of it what came of it at the server."""
    rows = range(1, len(people(case.source)) + 1)
    has = Counter(row for part in written.parts for row in part.rows)
    assert has.keys() | written.refused == {*rows}, "a row is in no chunk"
    assert max(has.values()) == 1, "a row is in two chunks"
    applied = {job.id: job.applied for job in truth.jobs}
    wanted: dict[str, set[int]] = {"accepted": set(), "superseded": set(), "rejected": set(written.refused)}
    for part in written.parts:
        if part.unknown:
            continue
        outcomes = applied[part.job] if part.job else [False] * len(part.entries)
        good = [some for some, ok in zip(part.entries, outcomes, strict=True) if ok]
        last, all_good = {some[-1] for some in good}, {row for some in good for row in some}
        wanted["accepted"] |= last
        wanted["superseded"] |= all_good - last
        wanted["rejected"] |= part.rows - all_good
        known = {"accepted": len(good), "superseded": len(all_good) - len(good), "unknown": 0}
        assert part.figures == {**known, "rejected": len(part.rows - all_good)}, f"chunk {part.chunk} has {good}"
    wanted["unknown"] = {*written.unknown}
    assert report["rows_of"] == {name: sorted(some) for name, some in wanted.items()}
    assert {name: report[name] for name in wanted} == {name: len(some) for name, some in wanted.items()}
    assert (report["rows"], report["not_sent"], len(report["rejections"])) == (len(rows), 0, report["rejected"])
    assert sum(map(len, wanted.values())) == len(rows)


# Many runs

_KINDS = (
    *("json:addnoforce", "json:addnoforce:few", "json:addforce:third:90", "json:unsub:everywhere"),
    *("csv:addforce:sorted:20", "csv:addnoforce:zipf", "csv:remove:twice:90", "json:exclude:third"),
)
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
            end = run(case, self._life(case), self._server, key, journal)
            truth = self._truth(key)
            self._usual[case] = Undisturbed.of(case, end, truth)
            alone = Crashed(case, [self._life(case)])
            check_end(self._usual[case], end, self._read(case, key, journal), truth, alone)
        return self._usual[case]

    def cuts(self, case: Case) -> Iterator[Cut]:
        """Give the answers within which a client may be killed."""
        often = Counter(self.usual(case).points)
        for call, (route, size) in _ANSWERS.items():
            for number in range(often[f"request.sending {call}"]):
                yield Cut(call=route, number=number, size=0)
                yield Cut(call=route, number=number, size=size)

    def crash(self, case: Case, *ways: int | Cut, lives: Sequence[Life] = ()) -> int:
        """Crash a run at these points, one after the other, and take it to its end. Gives how often it crashed."""
        usual = self.usual(case)
        key, journal = self._new()
        crashed = Crashed(case, lives or [self._life(case)] * (len(ways) + 1))
        try:
            for way, life in zip(ways, crashed.lives, strict=False):
                die = {"cut": way} if isinstance(way, Cut) else {"die_at": way}
                end = run(case, life, self._server, key, journal, **die)
                if not end.signal:
                    break
                self.where[end.points[0] if end.points else f"within an answer of {getattr(way, 'call', '')}"] += 1
                crashed.written.append(self._read(case, key, journal))
                check_crash(case, end, crashed.written[-1], self._server.tell("truth", key))
            else:
                end = run(case, crashed.lives[len(ways)], self._server, key, journal)
            check_end(usual, end, self._read(case, key, journal), self._truth(key), crashed)
        except AssertionError as failure:
            failure.add_note(f"{case} crashed at {ways} with {lives}")
            raise
        if self._journal is None:
            for file in self._folder.iterdir():
                file.unlink()
        return len(crashed.written)

    def every(self, case: Case, step: int = 1, first: int = 0) -> int:
        """Crash a run at each of its points, or at each ``step``-th."""
        ways = [*range(1, len(self.usual(case).points) + 1), *self.cuts(case)]
        return sum(self.crash(case, way) for way in ways[first::step])

    def at_random(self, seed: int, resend: Any) -> int:
        """Crash some run up to three times, twice at least; each process may go about it in another way."""
        chance = random.Random(seed)
        case = Case(
            source=chance.choice([*SOURCES]),
            piece=chance.choice((0, 20, 90)),
            via=chance.choice(("json", "csv")),
            action=chance.choice(("addnoforce", "addnoforce", "addforce", "remove", "unsub", "exclude")),
            resend=resend or chance.choice(("safe", "never")),
            in_turn=chance.random() < 0.3,
        )
        ways = [*range(1, len(self.usual(case).points) + 1), *self.cuts(case)]
        first = chance.choice(ways)
        later: list[int | Cut] = [chance.randrange(1, 60) for _ in range(chance.choice((1, 1, 2)))]
        return self.crash(case, first, *later, lives=[self._other_life(case, chance, resend) for _ in range(4)])

    def _life(self, case: Case) -> Life:
        return Life(resend=case.resend, max_jobs=1) if case.in_turn else Life(resend=case.resend)

    def _other_life(self, case: Case, chance: random.Random, resend: Any) -> Life:
        return Life(
            resend=resend or (case.resend if chance.random() < 0.8 else chance.choice(("safe", "never"))),
            chunk_rows=chance.choice((FEW, FEW, 1, 3, 7)),
            max_jobs=1 if case.in_turn else chance.choice((1, 3, 3)),
            max_rows=chance.choice((1000, 2 * FEW, 1)),
        )

    def _read(self, case: Case, key: str, journal: str) -> Written:
        return read(journal, key, case.via, people(case.source))

    def _truth(self, key: str) -> Truth:
        """Give what has happened in an account when all jobs have ended."""
        while True:
            truth: Truth = self._server.tell("truth", key)
            if all(job.ended for job in truth.jobs):
                return truth
            time.sleep(0.002)

    def _new(self) -> tuple[str, str]:
        key = next(self._names)
        self._server.tell("begin", key)
        return key, self._journal or str(self._folder / f"{key}.db")


def cases(resend: str, kinds: Iterable[str]) -> Iterator[Case]:
    """Give the cases of words as ``json:addforce``, ``csv:addnoforce:third`` or ``json:addforce:zipf:in_turn``."""
    for kind_of in kinds:
        via, action, *more = kind_of.split(":")
        source = next((word for word in more if word in SOURCES), "mixed")
        piece = next((int(word) for word in more if word.isdecimal()), 0)
        yield Case(via=via, action=action, resend=resend, source=source, piece=piece, in_turn="in_turn" in more)


def main(arguments: Sequence[str]) -> int:
    """Crash runs as it is said, and print what was done as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resend", choices=("safe", "never"))
    parser.add_argument("--every", type=int, metavar="STEP")
    parser.add_argument(
        "--kinds",
        nargs="*",
        default=_KINDS,
        help="as json:addforce, csv:addnoforce:third, json:addnoforce:zipf:90:in_turn",
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
