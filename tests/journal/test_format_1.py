"""A journal that an earlier mjbulk wrote opens, and its runs go on.

``data/format-1.db`` was written against the emulator by the last commit that had all modules in one folder (2b36339).
It holds four runs. ``ended``: 22 rows, chunks of 14; the first chunk was halved after a 413, row
7 was rejected by Mailjet, row 13 here, and row 14 is a later row of the person of row 2. ``csv``, partition ``half``:
three rows on the CSV way. ``doubtful``: four rows that are unknown, because an error means one of two of them.
``unfinished``: 61 rows, chunks of 10; the first chunk is settled, the second was halved and the answer to its first
half was lost, the third is watched, the fourth and the fifth were cut and not sent, the others were not cut.
"""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from support import KEYS, World, balanced

import mjbulk
from mjbulk.journal.records import NoteRecord, RunRecord, encode_spec, fingerprint
from mjbulk.journal.sql import SqlJournal
from mjbulk.journal.tables import TABLES

pytestmark = pytest.mark.smoke

WRITTEN = Path(__file__).parent / "data" / "format-1.db"
PEOPLE: list[dict[str, Any]] = [{"email": f"p{n}@example.org", "age": n} for n in range(1, 61)]
BAD = {"email": "no address", "age": 0}
ENDED = [*PEOPLE[:12], BAD, {"email": "P2@example.org", "age": 99}, *PEOPLE[12:20]]
UNFINISHED = [*PEOPLE[:4], BAD, *PEOPLE[4:]]
LISTS: Any = {1: "addnoforce"}
WATCHED = mjbulk.JobRef("contact", 1_070_309_483)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A copy of the journal."""
    return Path(shutil.copy(WRITTEN, tmp_path / "imports.db"))


def a_client(world: World, journal: Path | None) -> mjbulk.Client:
    settings = world.settings(chunk_rows=10, concurrency=1, attempts=2, poll_min=0.1)
    return mjbulk.Client(KEYS, settings, journal=journal)


def schema(journal: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(journal)) as connection:
        return sorted(connection.execute("select name, sql from sqlite_master").fetchall())


async def test_a_new_journal_has_the_same_tables(tmp_path: Path) -> None:
    """Names, types and keys of all columns are those that were written, in the same order."""
    journal = SqlJournal(tmp_path / "new.db", lambda _: None)
    await journal.notes("")
    await journal.aclose()
    assert schema(tmp_path / "new.db") == schema(WRITTEN)


@pytest.mark.parametrize("record", TABLES, ids=lambda record: record.__name__)
def test_each_field_has_a_column(record: type[Any]) -> None:
    """No field of a record is forgotten, and each column but the check sum belongs to one."""
    assert {column.key for column in TABLES[record].columns} - {"sum"} == {f.name for f in attrs.fields(record)}


def test_each_keyword_of_a_spec_has_a_name_on_disk() -> None:
    """No keyword of an import is forgotten when its terms are written down."""
    spec = mjbulk.RunSpec(lists=None)
    assert orjson.loads(encode_spec(spec)) == attrs.asdict(spec)


async def test_what_is_known_of_its_runs(world: World, written: Path) -> None:
    """Names, states and figures are those that the earlier version told."""
    async with a_client(world, written) as client:
        runs = [info async for info in client.runs()]
        halves = [(chunk.number, chunk.rows, chunk.state, chunk.job) async for chunk in client.run_chunks("unfinished")]
    assert [(run.run_id, run.state, figures(run)) for run in runs] == [
        ("ended", "settled", (22, 19, 2, 1, 0, 0)),
        ("csv", "settled", (3, 3, 0, 0, 0, 0)),
        ("doubtful", "settled", (4, 0, 0, 0, 4, 0)),
        ("unfinished", "resumable", (51, 9, 2, 0, 15, 25)),
    ]
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
        report = balanced(await client.import_contacts(ENDED, lists=LISTS, run_id="ended"))
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


async def test_an_unfinished_run_goes_on(world: World, written: Path) -> None:
    """What was settled stands, the job is watched to its end, and what was not taken goes out, each row once."""
    async with world.turned(first_job_id=WATCHED.id) as there:
        there.emulator.create_property("age", "int")
        async with a_client(there, None) as client:  # the job that the earlier process had submitted
            assert (await client.submit_contacts(UNFINISHED[21:31], lists=LISTS)).ref == WATCHED
        async with a_client(there, written) as client:
            report = balanced(await client.import_contacts(UNFINISHED, lists=LISTS, run_id="unfinished"))
        assert (report.rows, report.accepted, report.rejected) == (61, 59, 2)
        assert report.complete
        assert {r.row: (r.message, r.data) for r in report.rejections} == {
            3: ("Invalid email", UNFINISHED[2]),
            5: ("this is no e-mail address", BAD),
        }
        sent = [job.rows for job in there.emulator.jobs.values()]
        assert sorted(len(rows) for rows in sent) == [5, 5, 10, 10, 10, 10]
        assert WATCHED in report.jobs
        assert there.posts() == 6


async def test_other_terms_and_other_rows_are_refused(world: World, written: Path) -> None:
    """The terms that were written down are compared, and so are the rows."""
    others: list[tuple[Any, Any, str]] = [
        ({1: "unsub"}, UNFINISHED, "another lists="),
        (LISTS, PEOPLE, "rows 1-11 are not what they were"),
    ]
    for lists, rows, why in others:
        async with a_client(world, written) as client:
            with pytest.raises(mjbulk.JournalRefused, match=why):
                await client.import_contacts(rows, lists=lists, run_id="unfinished")


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
