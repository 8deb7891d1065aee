"""Two processes that import the same, again and again, while their PostgreSQL drops sessions, restarts, and stands
behind a pooler, and while one of them is stopped for a moment: at most one of them holds the run at any time.

``python tests/two_processes.py --seeds 200`` makes that many tries. The action is ``addforce``, which is never retried
after a doubt: so a row that is at the server twice was sent by two processes that both held the run.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from typing import Any

import psycopg
from attrs import field, frozen
from crash_world import Truth, start
from postgres import Postgres, programs, serving
from servers import Server

import mjbulk
import mjbulk.client  # so that no child has to import them
import mjbulk.journal.postgres
import mjbulk.journal.sql

CHUNKS = 16
ROWS = [{"email": f"p{n}@example.org"} for n in range(CHUNKS * 3)]
RATE = 60.0
"""Requests a second, so that a run takes a second or two."""
LONG = 180.0
"""Seconds after which a try has failed."""
WAYS = ("direct", "direct", "session", "session", "transaction", "mixed")
"""How the two come to the server. In the last one, the first of them comes by a pooler in transaction mode."""
POOLER = "the journal's URL leads to a pooler in transaction mode"
UNUSABLE = "the journal cannot be used"
KNOWN = (
    POOLER,
    "is under way in another process",
    "another process has run",
    "another session of the journal's server has run",
    UNUSABLE,
)
"""What a process may be told."""


# The processes


async def take_part(url: str, key: str, journal: str, chance: random.Random) -> dict[str, Any]:
    """Import until the run is complete, or nothing but a pooler in transaction mode was met three times."""
    settings = mjbulk.Settings(
        api_url=url, chunk_rows=3, max_jobs=4, max_rate=RATE, poll_min=0.02, stop_within=1.0, concurrency=2
    )
    told: Counter[str] = Counter()
    while told[POOLER] < 3:
        try:
            async with mjbulk.Client(mjbulk.Credentials(key, "secret"), settings, journal=journal) as client:
                report = await client.import_contacts(ROWS, lists={1: "addforce"}, run_id="r")
                return {"told": told, "report": report.as_dict()}
        except mjbulk.Error as error:
            told[in_short(str(error))] += 1
        await asyncio.sleep(chance.uniform(0.0, 0.3))
    return {"told": told, "report": None}


def in_short(sentence: str) -> str:
    """Give what all sentences of a kind have in common."""
    for known in KNOWN:
        if known in sentence:
            return f"{known}{sentence.partition(known)[2]}" if known == UNUSABLE else known
    return sentence


def begin(url: str, key: str, journal: str, seed: int) -> tuple[int, int]:
    """Start a process, and give its number and where it will write."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return pid, ours
    try:
        signal.alarm(round(LONG))
        said = asyncio.run(take_part(url, key, journal, random.Random(seed)))
        os.write(theirs, json.dumps(said).encode())
        os._exit(0)
    except BaseException:  # noqa: BLE001  # this process ends here
        traceback.print_exc()
    finally:
        os._exit(1)


def end_of(pid: int, line: int) -> dict[str, Any]:
    """Wait for the end of a process, and give what it wrote."""
    with os.fdopen(line, "rb") as file:
        said = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, f"a process ended with {status}"
    found: dict[str, Any] = json.loads(said)
    return found


# What happens to them


_SESSIONS = "pg_stat_activity where datname = %s"
_HELD = "locktype = 'advisory' and objsubid = 1 and granted"


@frozen
class Scene:
    """A server with its poolers, and two processes."""

    postgres: Postgres
    database: str
    processes: Sequence[int]
    chance: random.Random

    def sql(self, statement: str, *values: Any) -> Sequence[Any]:
        """Run a statement; give nothing if the server is just not there."""
        with suppress(psycopg.Error), psycopg.connect(self.postgres.url("postgres", "postgresql")) as connection:
            return connection.execute(statement, [self.database, *values]).fetchall()
        return ()

    def end_sessions(self, who: int | None = None) -> None:
        """End the sessions of one process, or of both."""
        whose = ["a", "b"] if who is None else ["ab"[who]]
        self.sql(f"select pg_terminate_backend(pid) from {_SESSIONS} and application_name = any(%s)", whose)

    def holder(self) -> int:
        """Give the process that holds the run; if none does, any of them."""
        held = self.sql(f"select application_name from {_SESSIONS} and pid in (select pid from pg_locks where {_HELD})")
        return "ab".index(self.chance.choice([who for (who,) in held if who in ("a", "b")] or ["a", "b"]))

    def restart(self) -> None:
        """Restart the server."""
        self.postgres.control("restart", f"--mode={self.chance.choice(('fast', 'immediate'))}")

    def end_one(self) -> None:
        """End the sessions of one process."""
        self.end_sessions(self.holder())

    def stop_one(self) -> None:
        """Stop a process for a while, with or without the end of its session meanwhile."""
        who = self.holder() if self.chance.random() < 0.8 else self.chance.randrange(2)
        os.kill(self.processes[who], signal.SIGSTOP)
        if self.chance.random() < 0.8:
            self.end_sessions(who)
        time.sleep(self.chance.uniform(0.1, 1.5))
        os.kill(self.processes[who], signal.SIGCONT)


HAPPENINGS: Sequence[Callable[[Scene], None]] = (
    Scene.end_sessions,
    Scene.end_one,
    Scene.restart,
    Scene.stop_one,
    Scene.stop_one,
)


@frozen
class Tries:
    """Makes tries. Mutable: what was seen."""

    server: Server
    postgres: Postgres
    pooled: Mapping[str, Postgres]
    seen: Mapping[str, Counter[str]] = field(factory=lambda: {name: Counter() for name in ("ways", "happened", "told")})

    def make(self, seed: int, database: str) -> None:
        """Make one."""
        chance, key = random.Random(seed), f"key-{seed}"
        way = chance.choice(WAYS)
        self.server.tell("begin", key)
        journals = [f"{self._at(way, who).url(database)}&application_name={who}" for who in "ab"]
        begun = [begin(self.server.url, key, journal, seed) for journal in journals]
        scene = Scene(self.postgres, database, [pid for pid, _ in begun], chance)
        for _ in range(chance.randrange(1, 5)):
            time.sleep(chance.uniform(0.0, 0.6))
            happening = chance.choice(HAPPENINGS)
            happening(scene)
            self.seen["happened"][happening.__name__] += 1
        ends = [end_of(*one) for one in begun]
        self.seen["ways"][way] += 1
        for end in ends:
            self.seen["told"].update(end["told"])
        check(way, ends, self.server.tell("truth", key))

    def _at(self, way: str, who: str) -> Postgres:
        if way == "mixed":
            way = "transaction" if who == "a" else "direct"
        return self.pooled.get(way, self.postgres)


def check(way: str, ends: Sequence[Mapping[str, Any]], truth: Truth) -> None:
    """What holds at the end of a try."""
    sent = Counter(who for job in truth.jobs for who, _ in job.entries)
    assert not [who for who, often in sent.items() if often > 1], "two processes held the run"
    by_pooler = {"transaction": (0, 1), "mixed": (0,)}.get(way, ())
    for number, end in enumerate(ends):
        strange = [told for told in end["told"] if not told.startswith(KNOWN)]
        assert not strange, strange
        assert (end["report"] is None) == (number in by_pooler), f"{way}: {end}"
        assert end["told"].get(POOLER, 0) == 3 * (number in by_pooler), f"{way}: {end}"
    reports = [end["report"] for end in ends if end["report"]]
    if not reports:
        assert not sent, "something was sent through a pooler in transaction mode"
    for report in reports:
        figures = {name: report[name] for name in ("rows", "accepted", "unknown")}
        assert figures["rows"] == len(ROWS) == figures["accepted"] + figures["unknown"], report
        assert figures["accepted"] <= len(sent), report


def main(arguments: Sequence[str]) -> int:
    """Make as many tries as it is said, and print what was seen as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    said = parser.parse_args(arguments)
    found = programs()
    assert found is not None, "PostgreSQL is not installed"
    server, began = start(), time.monotonic()
    with closing(server.line), ExitStack() as stack:
        postgres = stack.enter_context(serving(found))
        pooled = {mode: stack.enter_context(postgres.pooled(mode, 4)) for mode in ("session", "transaction")}
        tries, database = Tries(server, postgres, pooled), postgres.create_database()
        for seed in range(said.first, said.first + said.seeds):
            try:
                tries.make(seed, database)
            except BaseException:
                sys.stderr.write(f"seed {seed}\n")
                raise
    os.waitpid(server.pid, 0)
    sys.stdout.write(json.dumps({"tries": said.seeds, **tries.seen, "seconds": round(time.monotonic() - began)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
