"""csvimport with lost answers and crashes: no data are imported twice, and the right job is adopted.

Given what the rule of lost answers builds on: what is applied at all is applied within ``read_timeout``.
"""

import os
from collections import Counter
from random import Random
from typing import Any

import pytest
from support import KEYS, World, balanced

import mjbulk
from mjbulk.journal.protocol import Journal
from mjbulk.journal.records import Record
from mjbulk.journal.sql import SqlJournal
from mjbulk.testing import Emulator, Fault, Knobs

pytestmark = pytest.mark.long

SEEDS = int(os.environ.get("MJBULK_TEST_SEEDS", "100"))
BATCH = 50
READ_TIMEOUT = 5.0
ROWS = [{"email": f"p{n % 10 if n % 4 else 0}@example.org", "age": n} for n in range(1, 19)]
"""Somebody is in every chunk, and others recur as well."""
LOSSES = (
    Fault.drop_unread(),
    Fault.drop_before(),
    Fault.drop_after(),
    Fault.drop_after(reset=True),
    Fault.delay(after=READ_TIMEOUT + 1),
    Fault(delay_before=READ_TIMEOUT + 0.5, raw=b"", end="close"),
    Fault.stall(apply=True),
    Fault.stall(apply=False),
    Fault.truncated(9),
    Fault.garbage(),
    Fault.edited(lambda body: body.replace(b'"ID":', b'"Id_":')),
    Fault.answer(500, apply=True),
    Fault.answer(502),
    Fault.answer(503, headers={"Retry-After": "1"}),
    Fault.answer(429),
)
SEARCHES = (Fault.answer(403, "{}"), Fault.answer(500), Fault.garbage(), Fault.drop_after(), Fault())


class Mortal:
    """A journal as a process has it that is killed at its n-th writing: before or after that is on disk.

    The process is dead from then on: nothing more is written. What it has written is there for the next one.
    """

    def __init__(self, journal: Journal, writings: float, *, written: bool) -> None:
        self._journal = journal
        self._left = writings
        self._written = written
        self._later: list[Record] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def later(self, *records: Record) -> None:
        self._later.extend(records)

    async def put(self, *records: Record, run: int | None = None) -> None:
        self._left -= 1
        waiting, self._later = self._later, []
        if self._left > 0 or (self._left == 0 and self._written):
            await self._journal.put(*waiting, *records, run=run)
        if self._left <= 0:
            raise mjbulk.JournalError("the process was killed")


def others(emulator: Emulator, chance: Random) -> None:
    """Imports of others in the same account, on more pages than one now and then."""
    for _ in range(1100 if chance.random() < 0.02 else 2):
        world = emulator._world
        data_id = world.upload(KEYS.public, 1, b"email\nother@example.org\n")
        world.submit("csvimport", KEYS.public, b"email\n", [(1, "addnoforce")], 0, method="addnoforce", data_id=data_id)


def break_things(emulator: Emulator, chance: Random) -> None:
    """Lose answers, of what carries rows and of what is looked for."""
    for call, most in (("POST csvimport", 3), ("POST contactslist/csvdata", 1)):
        for _ in range(chance.randrange(most + 1)):
            emulator.fault(call, chance.choice(LOSSES), after=chance.randrange(3))
    for call in ("GET batchjob", "GET csvimport"):
        emulator.fault(call, chance.choice(SEARCHES), after=chance.randrange(3))


async def lives(emulator: Emulator, how: Any, chance: Random) -> tuple[mjbulk.Report, int]:
    """Let processes import until one comes to the end; gives how many did not."""
    settings = World(emulator).settings(
        chunk_rows=4, concurrency=chance.choice((1, 3)), read_timeout=READ_TIMEOUT, attempts=4, poll_min=5.0
    )
    journal = SqlJournal("sqlite://", lambda _: None)
    try:
        for life in range(9):
            others(emulator, chance)
            writings = chance.randrange(1, 12) if life < 2 else float("inf")
            mortal: Any = Mortal(journal, writings, written=chance.random() < 0.5)
            client = mjbulk.Client.pooled(KEYS, settings, mjbulk.Assumptions(), (), journal=mortal, quota=None)
            try:
                return await client.import_contacts(ROWS, **how), life
            except mjbulk.ImportHalted:
                continue
            finally:
                await client.aclose()
        raise AssertionError("it did not come to its end")
    finally:
        await journal.aclose()


def judge(emulator: Emulator, report: mjbulk.Report, *, converges: bool) -> None:
    """Hold a report against the truth."""
    imports = [job for job in emulator.jobs.values() if job.kind == "csvimport"]
    assert max(Counter(job.data_id for job in imports).values()) == 1, "data were imported twice"
    ours = {job.id: job for job in imports if b"age" in (job.body or b"")}
    used = [job.id for job in report.jobs]
    assert len(set(used)) == len(used)
    assert set(used) <= ours.keys(), "a job of somebody else was adopted"
    assert report.accepted == sum(ours[job].applied for job in used)
    if converges:
        assert (report.unknown, len(used)) == (0, len(ours))
        ages = {who.email: who.properties["age"] for who in emulator.contacts.values() if who.properties}
        assert ages == {row["email"]: row["age"] for row in ROWS}


async def crash(seed: int) -> int:
    """Import with faults and crashes, and hold what came of it against the truth. Gives how often it crashed."""
    chance = Random(seed)
    action, resend = chance.choice(("addnoforce", "addnoforce", "addforce", "unsub")), chance.choice(("safe", "never"))
    knobs = Knobs(batchjob_filters=chance.random() < 0.5, queue_seconds=chance.choice((0.0, 20.0)))
    async with Emulator(knobs, seed=seed) as emulator:
        emulator.create_property("age", "int")
        break_things(emulator, chance)
        how = {"lists": {1: action}, "via": "csv", "run_id": "r", "resend": resend}
        report, crashes = await lives(emulator, how, chance)
        judge(emulator, balanced(report), converges=(action, resend) == ("addnoforce", "safe"))
        return crashes


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
async def test_no_data_are_imported_twice(first: int) -> None:
    """With faults and crashes, whether batchjob knows its filter or not, on one page of imports or on several."""
    crashes = 0
    for seed in range(first, first + BATCH):
        try:
            crashes += await crash(seed)
        except Exception as failure:
            failure.add_note(f"seed {seed}")
            raise
    assert crashes > BATCH / 2
