"""A service with an ingester and a journal, killed at some of its requests; what the next process makes of its journal.

``python tests/ingester_kill.py`` kills at a few of them, and ``--every 1`` at each one, until a process lives to its
end. The emulator kills, so which request it is does not depend on time.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from itertools import chain, islice, product
from pathlib import Path
from typing import Any

from attrs import field, frozen
from crash_world import Truth, start
from servers import Server

import mjbulk
import mjbulk.client  # so that no process has to import them
import mjbulk.journal.sql
from mjbulk.journal.info import SUMS
from mjbulk.models import COUNT_NAMES

ROWS, TASKS = 30, 5
"""Rows of one life, and the tasks that put half of them, beside the task that sends those of a queue."""
CONCURRENCY = 2
POSTS: Mapping[str, Mapping[str, int]] = {
    "json": {"contact/managemanycontacts": 1},
    "csv": {"contactslist/csvdata": 1, "csvimport": 1},
}
"""The requests that send one row."""
_LONG = 60
"""Seconds after which a process has failed."""
SOME: Sequence[tuple[str, Sequence[tuple[int, bool]], str]] = (
    ("json", [(2, True)], "ingest"),  # the first submit
    ("json", [(20, True)], "resume_all"),
    ("json", [(6, False), (14, True)], "ingest"),
    ("csv", [(12, True)], "ingest"),
    ("csv", [(30, False), (26, True)], "resume_all"),
)
"""The way of the rows; the requests, counted from 0, at which one process after another is killed, each before or after
it has had its effect; and how the last process opens the journal.
"""
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""A folder where a commit takes no time: what was written outlives the process, and no disk has to fail here."""
Tell = Callable[[Any], None]


# A process


def begin(work: Callable[[Tell], Coroutine[Any, Any, None]], ready: Callable[[int], Any] = id) -> tuple[int, int]:
    """Start a process, and give its number and where it tells what it learns: at once, so it is heard after its end.
    It begins when its number was given to ``ready``.
    """
    (ours, theirs), (wait, go) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        os.close(wait)
        ready(pid)
        os.close(go)
        return pid, ours
    status = 70
    try:
        signal.alarm(_LONG)
        os.close(go)
        os.read(wait, 1)
        asyncio.run(work(lambda said: void(os.write(theirs, f"{json.dumps(said)}\n".encode()))))
        status = 0
    except BaseException:  # noqa: BLE001  # this process ends here
        traceback.print_exc()
    finally:
        os._exit(status)


def void(_: object) -> None:
    """Give nothing."""


def end_of(pid: int, line: int) -> tuple[int, list[Any]]:
    """Wait for the end of a process; give its status and what it said."""
    with os.fdopen(line, "r", encoding="utf-8") as file:
        said = [json.loads(line) for line in file]
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


@frozen
class Service:
    """What processes of one story have in common."""

    url: str
    key: str
    via: Any
    journal: Path

    def client(self, silence: float = 20.0) -> mjbulk.Client:
        """Make a client, as each process has one. Imports are looked for after as many seconds of ``silence``."""
        settings = mjbulk.Settings(
            api_url=self.url, chunk_rows=4, poll_min=0.02, concurrency=CONCURRENCY, read_timeout=silence
        )
        return mjbulk.Client(mjbulk.Credentials(self.key, "secret"), settings, journal=self.journal)

    async def live(self, first: int, told: Tell) -> None:
        """Put rows of several tasks, and send those of a queue; tell each outcome as soon as it is there."""
        numbers = iter(range(first, first + ROWS))

        async def put() -> None:
            for number in islice(numbers, ROWS // 2 // TASKS):
                with suppress(mjbulk.OutcomeRejected):
                    told((number, (await ingester.put(row_of(number), **lists_of(number))).state))

        def tell_of(number: int, done: "asyncio.Future[mjbulk.Outcome]") -> None:
            told((number, done.result().state))

        async def consume() -> None:
            for number in islice(numbers, ROWS // 2):
                with suppress(mjbulk.OutcomeRejected):
                    future = await ingester.send(row_of(number), **lists_of(number))
                    future.add_done_callback(partial(tell_of, number))

        async with self.client() as client, self.ingest(client) as ingester, asyncio.TaskGroup() as group:
            for one in (consume(), *(put() for _ in range(TASKS))):
                group.create_task(one)

    async def settle(self, how: str, told: Tell) -> None:
        """Settle what the others have left, in one of the two ways; tell the reports of the first, and all runs."""
        async with self.client(silence=1.0) as client:
            if how == "resume_all":
                told([(await run.wait()).as_dict() for run in await client.resume_all()])
            else:
                async with self.ingest(client) as ingester:
                    assert (await ingester.put({"email": "new@example.org"})).ok
                    while any([info.state == "resumable" async for info in self.runs(client)]) or client.active_runs:
                        await asyncio.sleep(0.05)
            told([info.as_dict() async for info in self.runs(client)])

    def ingest(self, client: mjbulk.Client) -> mjbulk.Ingester:
        """Make an ingester."""
        return client.ingest(lists={1: "addnoforce"}, via=self.via, linger=0.01)

    @staticmethod
    def runs(client: mjbulk.Client) -> AsyncIterator[mjbulk.RunInfo]:
        """Give the runs of all ingesters."""
        return client.runs(ingesters=True)


def lists_of(number: int) -> dict[str, Any]:
    """Some rows have lists of their own."""
    return {"lists": {1: "unsub"}} if number % 5 == 4 else {}


def row_of(number: int) -> dict[str, Any]:
    """Give a row: one in seven is bad at the server, one in eleven here; one in six is of a person who has another."""
    who = f"bad{number}" if number % 7 == 3 else f"p{number - number % 6 // 5 * 5}"
    return {"email": "nobody" if number % 11 == 5 else f"{who}@example.org", "n": number}


def is_bad(row: Mapping[str, Any]) -> bool:
    """Tell whether the server rejects a row."""
    return str(row["email"]).startswith("bad")


# What is left


@frozen(kw_only=True)
class Part:
    """A record of a part whose chunk has not ended."""

    state: str
    uploaded: int
    job: int
    rows: int
    counts: Mapping[str, int]

    @property
    def is_in_doubt(self) -> bool:
        """Whether it may have been applied."""
        return self.state == "sending"


@frozen
class Left:
    """What a journal holds of one run."""

    counts: Mapping[str, int]
    parts: Sequence[Part]


def read(journal: Path) -> dict[str, Left]:
    """Read a copy of a journal, by the names of runs: the next process has to find it as it was left."""
    with tempfile.TemporaryDirectory() as folder:
        for name in (journal, f"{journal}-wal"):
            with suppress(FileNotFoundError):
                shutil.copy(name, folder)
        with closing(sqlite3.connect(Path(folder, journal.name))) as connection:
            connection.row_factory = sqlite3.Row
            if not connection.execute("select 1 from sqlite_master where name = 'mjbulk_2_parts'").fetchone():
                return {}
            runs = connection.execute("select * from mjbulk_2_runs").fetchall()
            parts = connection.execute("select * from mjbulk_2_parts where state != 'halved'").fetchall()
    return {
        run["run_id"]: Left(_counts(run), [_part(part) for part in parts if part["run"] == run["run"]]) for run in runs
    }


def _counts(record: Any) -> dict[str, int]:
    return {name: record[name] for name in SUMS}


def _part(record: Any) -> Part:
    return Part(
        state=record["state"],
        uploaded=record["data_id"] or 0,
        job=int(record["job"].partition(":")[2] or 0),
        rows=record["rows"],
        counts=_counts(record),
    )


def expected(left: Left, truth: Truth, via: str) -> dict[str, int]:
    """Give the counts that a run must have when it is settled: each job that is known, or is found by what was
    uploaded, says what became of its rows; the others are unknown if they may have been applied.
    """
    total = Counter(left.counts)
    by_id, by_upload = {job.id: job for job in truth.jobs}, {job.data_id: job for job in truth.jobs if job.data_id}
    for part in left.parts:
        total["rows"] += part.rows
        job = by_id.get(part.job) or (by_upload.get(part.uploaded) if via == "csv" else None)
        if part.state == "settled":
            total.update({**part.counts, "rows": 0})
        elif job is not None:
            good = sum(job.applied)
            bad = len(job.entries) - good
            total.update(accepted=good, rejected=bad, superseded=part.rows - good - bad)
        elif part.state == "sending" and (via == "json" or part.uploaded):
            total["unknown"] += part.rows
    counts = {name: total[name] for name in SUMS}
    return {**counts, "not_sent": counts["rows"] - sum(counts[name] for name in SUMS[1:])}


# Stories


@frozen
class Stories:
    """Tells stories, and holds what is left against what the server has. Mutable: what was seen."""

    server: Server
    folder: Path
    seen: Counter[str] = field(factory=Counter)

    def tell(self, via: str, kills: Sequence[tuple[int, bool]], how: str) -> None:
        """Tell one."""
        key = f"{via}-{how}-{'-'.join(f'{number}{applied:d}' for number, applied in kills)}"
        self.server.tell("begin", key)
        service = Service(self.server.url, key, via, self.folder / f"{key}.db")
        told: dict[int, str] = {}
        for life, (number, applied) in enumerate(kills, 1):
            told |= self._live_and_die(service, life * 1000, number, applied=applied)
        left, before, posts = read(service.journal), self.server.tell("truth", key), self.server.tell("posts")
        status, said = end_of(*begin(partial(service.settle, how)))
        assert status == 0, f"{key}: the last process ended with {status}"
        after, new = self.server.tell("truth", key), POSTS[via] if how == "ingest" else {}
        assert self.server.tell("posts") - posts == Counter(new), "something was posted beside the row that is new"
        check_rows(told, before, after)
        check_runs(said, left, after, via=via, new=how == "ingest")
        assert Counter(told.values())["accepted"] <= sum(info["accepted"] for info in said[-1])
        parts = [part for one in left.values() for part in one.parts]
        assert sum(part.is_in_doubt for part in parts) <= CONCURRENCY * len(kills), "jobs were not written down"
        self.seen.update(stories=1, told=len(told), **Counter(part.state for part in parts))

    def _live_and_die(self, service: Service, first: int, number: int, *, applied: bool) -> dict[int, str]:
        """Have a process put its rows, until the request at which it is killed; give the outcomes that were told."""
        self.server.tell("reject", [row["email"] for row in map(row_of, range(first, first + ROWS)) if is_bad(row)])
        work, killed = partial(service.live, first), partial(self.server.tell, "kill", number, applied)
        status, said = end_of(*begin(work, killed))
        self.server.tell("clear")
        assert status in (0, -signal.SIGKILL), f"a process ended with {status}"
        self.seen.update(lives=1, deaths=int(status != 0))
        return dict(said)


def check_rows(told: Mapping[int, str], before: Truth, after: Truth) -> None:
    """What callers were told is true, and nothing was sent twice, or by the last process."""
    assert set(told.values()) <= {"accepted", "rejected", "superseded"}
    applied = {n: done for job in after.jobs for (_, n), done in zip(job.entries, job.applied, strict=True)}
    for number, state in told.items():
        assert state == "superseded" or applied[number] == (state == "accepted"), f"row {number} was not {state}"
    sent = Counter(n for job in after.jobs for _, n in job.entries)
    assert not [n for n, often in sent.items() if often > 1], "a row was sent twice"
    assert sent.keys() - {n for job in before.jobs for _, n in job.entries} <= {0}, "a row was sent by the last process"


def check_runs(said: Sequence[Any], left: Mapping[str, Left], truth: Truth, *, via: str, new: bool) -> None:
    """The counts of each run agree with the server, and so does the report of each that was resumed."""
    *reports, infos = said
    runs = {info["run_id"]: info for info in infos}
    assert len(runs) == len(left) + new
    totals: Counter[str] = Counter()
    for run_id, one in left.items():
        wanted = expected(one, truth, via)
        assert runs[run_id]["state"] == "settled"
        found = {name: runs[run_id][name] for name in wanted}
        assert found == wanted, f"{run_id} has {found}, and not {wanted}"
        totals.update(wanted)
    for report in chain.from_iterable(reports):
        assert {name: report[name] for name in COUNT_NAMES} == {
            name: runs[report["run_id"]][name] for name in COUNT_NAMES
        }
    applied = sum(sum(job.applied) for job in truth.jobs) - new
    assert totals["accepted"] <= applied <= totals["accepted"] + totals["unknown"]
    assert totals["accepted"] == applied or via == "json", "an import was not found"


def main(arguments: Sequence[str]) -> int:
    """Tell the stories that are wanted, and print what was seen as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=0, help="kill at each so many-th request of a life")
    said = parser.parse_args(arguments)
    server, began = start(), time.monotonic()
    with closing(server.line), tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        stories = Stories(server, Path(folder))
        for story in _every(said.every, stories) if said.every else SOME:
            stories.tell(*story)
    os.waitpid(server.pid, 0)
    sys.stdout.write(json.dumps({**stories.seen, "seconds": round(time.monotonic() - began, 1)}) + "\n")
    return 0


def _every(step: int, stories: Stories) -> Iterator[tuple[str, Sequence[tuple[int, bool]], str]]:
    """Give stories of one kill each, until a process lives to its end."""
    for via, applied in product(("json", "csv"), (True, False)):
        for number in range(0, 1000, step):
            lived = stories.seen["lives"] - stories.seen["deaths"]
            yield via, [(number, applied)], ("ingest", "resume_all")[number // step % 2]
            if stories.seen["lives"] - stories.seen["deaths"] > lived:
                break


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
