"""A journal that an earlier mjbulk wrote: its ended runs can be read, unfinished ones are refused, new ones begin.

``data/format-1.db`` was written against the emulator by the last commit that had all modules in one folder (2b36339).
It holds four runs. ``ended``: 22 rows, chunks of 14; the first chunk was halved after a 413, row
7 was rejected by Mailjet, row 13 here, and row 14 is a later row of the person of row 2. ``csv``, partition ``half``:
three rows on the CSV way. ``doubtful``: four rows that are unknown, because an error means one of two of them.
``unfinished``: 61 rows, chunks of 10; the first chunk is settled, the second was halved and the answer to its first
half was lost, the third is watched, the fourth and the fifth were cut and not sent, the others were not cut.
"""

import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support import KEYS, World, balanced

import mjbulk
from mjbulk.journal.formats import old_number_of
from mjbulk.journal.records import NoteRecord, RunRecord, fingerprint
from mjbulk.journal.sql import SqlJournal

pytestmark = pytest.mark.smoke

WRITTEN = Path(__file__).parent / "data" / "format-1.db"
PEOPLE: list[dict[str, Any]] = [{"email": f"p{n}@example.org", "age": n} for n in range(1, 61)]
BAD = {"email": "no address", "age": 0}
ENDED = [*PEOPLE[:12], BAD, {"email": "P2@example.org", "age": 99}, *PEOPLE[12:20]]
UNFINISHED = [*PEOPLE[:4], BAD, *PEOPLE[4:]]
NEW = [{"email": "new@example.org"}]
LISTS: Any = {1: "addnoforce"}
WATCHED = mjbulk.JobRef("contact", 1_070_309_483)
DOUBTFUL = old_number_of("doubtful", "")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A copy of the journal."""
    return Path(shutil.copy(WRITTEN, tmp_path / "imports.db"))


def a_client(world: World, journal: Path | None) -> mjbulk.Client:
    settings = world.settings(chunk_rows=10, concurrency=1, attempts=2, poll_min=0.1)
    return mjbulk.Client(KEYS, settings, journal=journal)


async def test_what_is_known_of_its_runs(world: World, written: Path) -> None:
    """Names, states and figures are those that the earlier version told."""
    async with a_client(world, written) as client:
        runs = [info async for info in client.runs()]
        halves = [(chunk.number, chunk.rows, chunk.state, chunk.job) async for chunk in client.run_chunks("unfinished")]
    assert [(run.run_id, run.state, figures(run)) for run in runs] == [
        ("ended", "settled", (22, 19, 2, 1, 0, 0)),
        ("csv", "settled", (3, 3, 0, 0, 0, 0)),
        ("doubtful", "settled", (4, 0, 0, 0, 4, 0)),
        ("unfinished", "needs_source", (51, 9, 2, 0, 15, 25)),
    ]
    assert [run.complete for run in runs] == [True, True, False, False]
    assert [run.cause for run in runs[:3]] == [None] * 3
    assert "end it with that version" in str(runs[3].cause)
    assert halves == [
        (1, 10, "settled", mjbulk.JobRef("contact", 1_070_309_383)),
        (2, 5, "sending", None),
        (2, 5, "unsent", None),
        (3, 10, "watched", WATCHED),
        (4, 10, "unsent", None),
        (5, 10, "unsent", None),
    ]


def figures(run: mjbulk.RunInfo) -> tuple[int, ...]:
    return run.rows, run.accepted, run.rejected, run.superseded, run.unknown, run.not_sent


async def test_an_ended_run_gives_its_report(world: World, written: Path) -> None:
    """Nothing is sent, and its rejections are those that were written down."""
    async with a_client(world, written) as client:
        report = await client.import_contacts(ENDED, lists=LISTS, run_id="ended")
        doubtful = await client.import_contacts(PEOPLE[5:9], lists=None, run_id="doubtful", **SHOES)
    assert (report.stored, report.rows, report.accepted, report.rejected, report.superseded) == (True, 22, 19, 2, 1)
    assert {r.row: (r.field, r.message, r.origin) for r in report.rejections} == {
        7: (None, "Invalid email of ***@***", "mailjet"),
        13: ("email", "this is no e-mail address", "mjbulk"),
    }
    assert [job.id - 1_070_309_283 for job in report.jobs] == [0, 1, 2]
    assert [(r.row, r.candidates, r.match) for r in doubtful.rejections] == [(None, (2, 3), "ambiguous")]
    assert [why.cause for why in doubtful.unsettled] == ["1 of its errors match no single row"]
    assert world.requests() == world.emulator.requests == 0


SHOES: Any = {"types": {"shoe": "int"}, "create_properties": True}


async def test_an_ended_run_has_ended(world: World, written: Path) -> None:
    """Nothing is written of it, not even if what is in doubt may be retried; and it can be purged."""
    before = rows_of(written)
    async with a_client(world, written) as client:
        for resend in ("always", "never"):
            report = balanced(await client.resume_import("doubtful", resend=resend))
            assert (report.stored, report.unknown) == (True, 4)
        assert rows_of(written) == before
        await client.purge_run("doubtful")
        assert [run.run_id async for run in client.runs()] == ["ended", "csv", "unfinished"]
    assert world.requests() == 0
    assert {table: len(rows) for table, rows in rows_of(written).items()} == {
        table: len([row for row in rows if DOUBTFUL not in row]) for table, rows in before.items()
    }


def rows_of(journal: Path) -> dict[str, list[Any]]:
    """Read the tables of format 1 whole."""
    with closing(sqlite3.connect(journal)) as connection:
        names = ("runs", "chunks", "parts", "rejections", "notes")
        return {name: connection.execute(f"select * from mjbulk_{name}").fetchall() for name in names}


async def test_an_unfinished_run_is_refused(world: World, written: Path) -> None:
    """However it is called again; its file stays as the earlier version knows it."""
    before = rows_of(written)
    async with a_client(world, written) as client:
        calls: list[Callable[[], Awaitable[mjbulk.Report]]] = [
            lambda: client.import_contacts(UNFINISHED, lists=LISTS, run_id="unfinished"),
            lambda: client.import_contacts(UNFINISHED, lists={1: "unsub"}, run_id="unfinished"),
            lambda: client.resume_import("unfinished", UNFINISHED),
            lambda: client.resume_import("unfinished"),
        ]
        for call in calls:
            with pytest.raises(mjbulk.JournalRefused, match="end it with that version, or take a new run_id; nothing"):
                await call()
    assert world.requests() == 0
    assert rows_of(written) == before


async def test_new_runs_in_the_file(world: World, written: Path) -> None:
    """They lie in tables of their own, also where another account has a run of that name."""
    before = rows_of(written)
    other = mjbulk.Credentials("another-key", "another-secret")
    for keys in (KEYS, other):
        async with mjbulk.Client(keys, world.settings(), journal=written) as client:
            assert (await client.import_contacts(NEW, lists=LISTS, run_id="new")).ok
    async with mjbulk.Client(other, world.settings(), journal=written) as client:
        assert not (await client.import_contacts(NEW, lists=LISTS, run_id="unfinished")).stored
        assert {run.run_id async for run in client.runs()} == {"new", "unfinished"}
    async with a_client(world, written) as client:
        assert [run.run_id async for run in client.runs()] == ["ended", "csv", "doubtful", "unfinished", "new"]
        assert (await client.import_contacts(NEW, lists=LISTS, run_id="new")).stored
    assert rows_of(written) == before
    with closing(sqlite3.connect(written)) as connection:
        assert connection.execute("select version from mjbulk_format").fetchone() == (1,)


@pytest.mark.parametrize(
    "change",
    [
        "update mjbulk_runs set milliseconds = 5 where run_id = 'ended'",
        "update mjbulk_parts set accepted = accepted + 1",
        "update mjbulk_rejections set message = 'Yes'",
        "drop table mjbulk_rejections",
    ],
)
async def test_what_was_changed_is_refused(world: World, written: Path, change: str) -> None:
    """Its check sums are checked as its version made them."""
    with closing(sqlite3.connect(written)) as connection, connection:
        connection.execute(change)
    async with a_client(world, written) as client:
        with pytest.raises(mjbulk.JournalRefused, match="damaged"):
            await client.import_contacts(ENDED, lists=LISTS, run_id="ended")


async def test_what_was_learned_of_jobs(world: World, written: Path) -> None:
    """The notes are read, and each can be written in its place."""
    account = fingerprint(KEYS.public)
    journal = SqlJournal(written, lambda _: None)
    try:
        notes = await journal.notes(account)
        assert sorted(notes) == ["jobs: contact", "jobs: csvimport"]
        await journal.put(NoteRecord(account=account, name="jobs: contact", text="{}"))
        assert await journal.notes(account) == {**notes, "jobs: contact": "{}"}
        csv = await journal.find("csv", "half", account)
        assert csv is not None
        assert isinstance(csv.run, RunRecord)
        assert [part.data_id for part in csv.parts[1]] == [98_765_433]
    finally:
        await journal.aclose()
