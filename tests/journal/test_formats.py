"""The tables of a journal: every record has a table, a column that is missing is added, and format 1 is only read."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from journals import opened, unheld
from sqlalchemy import Connection, Table
from support import KEYS, Database

import mjbulk
from mjbulk.journal.formats import ended, old_number_of
from mjbulk.journal.history import History
from mjbulk.journal.records import (
    ChunkRecord,
    CommandRecord,
    NoteRecord,
    Record,
    RejectionRecord,
    RunRecord,
    encode_spec,
    fingerprint,
    number_of,
)
from mjbulk.journal.sql import SqlJournal
from mjbulk.journal.store import Store
from mjbulk.journal.tables import LAYOUT, TABLES, _values, read

ACCOUNT = fingerprint(KEYS.public)
RUN = RunRecord(
    run=number_of("a", "r", ""),
    run_id="r",
    account="a",
    spec=encode_spec(mjbulk.RunSpec(lists=None)),
    created="2026-11-27",
)
CHUNK = ChunkRecord(run=RUN.run, number=1, first=1, last=9, rows=9, entries=9, digest="d")
REFUSED = RejectionRecord(
    run=RUN.run, chunk=0, first=0, number=10, row=10, message="No", match="exact", origin="mjbulk"
)


async def written(database: Database) -> None:
    async with opened(database.url) as journal:
        await journal.put(RUN, CHUNK, CHUNK.whole(), REFUSED)


# The tables

NAMES = {
    "format": "version",
    "2_runs": "run run_id partition account spec source targets created whole rows closed requests milliseconds sum "
    "cause reading fence kind accepted rejected superseded unknown",
    "2_chunks": "run number first last rows entries digest sum shape",
    "2_parts": "run chunk first end rows state attempts data_id job overtaken accepted rejected superseded unknown "
    "cause sum",
    "2_rejections": "run chunk first number row candidates field message match origin sum code",
    "2_commands": "run number command created sum",
    "2_notes": "account name text sum",
}


async def test_names_on_disk_stay(tmp_path: Path) -> None:
    """Those of tables and of columns: an earlier version of mjbulk wrote them, and a later one reads them."""
    file = tmp_path / "imports.db"
    async with opened(file) as journal:
        await journal.notes("")
    with closing(sqlite3.connect(file)) as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        columns = {name: [row[1] for row in connection.execute(f"pragma table_info({name})")] for name in tables}
    assert columns == {f"mjbulk_{name}": words.split() for name, words in NAMES.items()}


@pytest.mark.parametrize("record", TABLES, ids=lambda record: record.__name__)
def test_each_field_has_a_column(record: type[Any]) -> None:
    """No field of a record is forgotten, and each column but the check sum belongs to one."""
    assert {column.key for column in TABLES[record].columns} - {"sum"} == {f.name for f in attrs.fields(record)}


def test_each_keyword_of_a_spec_has_a_name_on_disk() -> None:
    """No keyword of an import is forgotten when its terms are written down."""
    spec = mjbulk.RunSpec(lists=None)
    assert orjson.loads(encode_spec(spec)) == attrs.asdict(spec)


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (RUN, "d5fe79b49cb3bab1"),
        (attrs.evolve(RUN, cause="it was stopped", rows=9), "f6fa2d9be77c08d6"),
        (CHUNK, "01b660f539a79be5"),
        (attrs.evolve(CHUNK, shape="r."), "24105e4a5d52fb03"),
        (CHUNK.whole(), "efa547da6623d59c"),
        (REFUSED, "afb9e8d2eb15cc82"),
        (CommandRecord(run=5, number=1, command="stop", created="2026-11-27"), "cf8ddd0ce1b14463"),
        (NoteRecord(account="a", name="rate", text="7.5"), "964bbafd0274b9e0"),
    ],
)
def test_check_sums_stay(record: Record, found: str) -> None:
    """What was written is recognised by every later version, whatever columns it has added."""
    assert _values(record)["sum"] == found


async def test_commands_of_other_processes(database: Database) -> None:
    """They are kept for a run, in the order of their numbers, and go with it."""
    commands = [
        CommandRecord(run=RUN.run, number=1, command="stop", created="2026-11-27"),
        CommandRecord(run=RUN.run, number=2, command="resume", created="2026-11-28"),
    ]
    other = attrs.evolve(commands[0], run=5)
    async with opened(database.url) as journal:
        await journal.put(RUN, *reversed(commands), other)
        assert await kept(journal, CommandRecord, run=RUN.run) == commands
        await journal.purge(RUN)
        assert await kept(journal, CommandRecord) == [other]


async def kept(journal: SqlJournal, cls: type[Any], **which: Any) -> list[Any]:
    return await journal._in_thread(_read, journal._store, cls, which)


def _read(connection: Connection, store: Store, cls: type[Any], which: Mapping[str, Any]) -> list[Any]:
    with store.reading(connection):
        return read(connection, LAYOUT, cls, **which)


FORMAT_1_BYTES = 94_208
"""What the records below took in format 1."""


async def test_a_journal_is_as_small_as_it_was(tmp_path: Path) -> None:
    """If nobody recurs, its new columns are empty: it is at most 5 % larger."""
    file = tmp_path / "imports.db"
    spec = encode_spec(mjbulk.RunSpec.of({1: "addforce"}, {}))
    run = RunRecord(
        run=number_of(ACCOUNT, "nightly", ""),
        run_id="nightly",
        account=ACCOUNT,
        spec=spec,
        created="2026-11-27T00:00:00+00:00",
    )
    chunks = [
        ChunkRecord(
            run=run.run, number=n, first=n * 1000 - 999, last=n * 1000, rows=1000, entries=1000, digest=f"{n:032x}"
        )
        for n in range(1, 201)
    ]
    settled = [
        attrs.evolve(
            chunk.whole(), state="settled", attempts=1, job=f"contact:{1_070_309_283 + chunk.number}", accepted=1000
        )
        for chunk in chunks
    ]
    async with opened(file) as journal:
        await journal.put(run, *chunks, *settled)
    assert file.stat().st_size <= FORMAT_1_BYTES * 1.05


# Columns that are missing


def added() -> list[tuple[type[Any], Table, str]]:
    """Give the columns that a journal may lack."""
    return [
        (cls, table, column.name) for cls, table in TABLES.items() for column in table.columns if column.server_default
    ]


def test_columns_were_added() -> None:
    """There are some, or the tests below say nothing."""
    assert {name for _, _, name in added()} == {
        *("shape", "code", "cause", "reading", "fence", "kind"),
        *("accepted", "rejected", "superseded", "unknown"),
    }


async def test_columns_are_added(database: Database) -> None:
    """To a journal that was written before there were any of them: what it knows is what it was."""
    await written(database)
    for _, table, name in added():
        database.sql(f"alter table {table.name} drop column {name}")
    async with opened(database.url) as journal:
        history = unheld(await journal.open_run(RUN))
        assert (history.run, history.chunks) == (RUN, {1: CHUNK})
        assert [record async for record in journal.rejections(RUN.run)] == [REFUSED]
        run, chunk = attrs.evolve(RUN, cause="stopped", reading="{}"), attrs.evolve(CHUNK, shape="r")
        await journal.put(run, chunk, attrs.evolve(REFUSED, code="value.type"))
    async with opened(database.url) as journal:
        history = unheld(await journal.open_run(RUN))
        assert (history.run, history.chunks) == (run, {1: chunk})
        assert [record.code async for record in journal.rejections(RUN.run)] == ["value.type"]


async def test_an_added_column_has_the_default_of_its_field(database: Database) -> None:
    """In what was written before, too."""
    await written(database)
    for _, table, name in added():
        database.sql(f"alter table {table.name} drop column {name}")
    async with opened(database.url) as journal:
        for cls, _, name in added():
            assert [getattr(record, name) for record in await kept(journal, cls)] == [
                attrs.fields_dict(cls)[name].default
            ]


async def test_columns_of_a_later_version(database: Database) -> None:
    """This version could not keep what they say: it leaves the journal alone."""
    await written(database)
    database.sql("alter table mjbulk_2_parts add column mood text default ''")
    async with opened(database.url) as journal:
        with pytest.raises(mjbulk.JournalRefused, match=r"of a later version of mjbulk.*nothing was sent"):
            await journal.open_run(RUN)


async def test_a_column_that_was_always_there(database: Database) -> None:
    """Its values are lost."""
    await written(database)
    database.sql("alter table mjbulk_2_chunks drop column digest")
    async with opened(database.url) as journal:
        with pytest.raises(mjbulk.JournalRefused, match=r"damaged.*columns are missing"):
            await journal.open_run(RUN)


async def test_a_value_that_is_its_default(database: Database) -> None:
    """It is left out of the check sum. Damage that makes a value the default, or empties it, is still noticed."""
    await written(database)
    async with opened(database.url) as journal:
        await journal.put(attrs.evolve(RUN, cause="it was stopped", rows=9))
    for change in ("cause = ''", "rows = 0", "rows = null"):
        database.sql(f"update mjbulk_2_runs set {change}")
        async with opened(database.url) as journal:
            with pytest.raises(mjbulk.JournalRefused, match="damaged"):
                await journal.open_run(RUN)


# Format 1

DATA = Path(__file__).parent / "data" / "format-1.db"


def lay(database: Database) -> None:
    """Put the journal that an earlier version wrote into a database."""
    with closing(sqlite3.connect(DATA)) as data:
        for name, statement in data.execute("select name, sql from sqlite_master where type = 'table'").fetchall():
            database.sql(statement)
            kinds = [kind for _, _, kind, *_ in data.execute(f"pragma table_info({name})")]
            rows = data.execute(f"select * from {name}").fetchall()
            database.sql(f"insert into {name} values {', '.join(_literals(row, kinds) for row in rows)}")


def _literals(row: Sequence[Any], kinds: Sequence[str]) -> str:
    return f"({', '.join(_literal(value, kind) for value, kind in zip(row, kinds, strict=True))})"


def _literal(value: Any, kind: str) -> str:
    if value is None:
        return "null"
    if kind == "BOOLEAN":
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def asked(name: str, account: str = ACCOUNT, partition: str = "") -> RunRecord:
    number = number_of(account, name, partition)
    spec = encode_spec(mjbulk.RunSpec.of({1: "addnoforce"}, {}))
    return RunRecord(run=number, run_id=name, partition=partition, account=account, spec=spec, created="2026-11-27")


async def test_runs_of_the_format_before(database: Database) -> None:
    """They are shown to their own account only, and a loop that resumes runs leaves the unfinished one alone."""
    lay(database)
    async with opened(database.url) as journal:
        infos = await journal.runs(ACCOUNT)
        assert {info.run_id: (info.state, info.complete, info.rows) for info in infos} == {
            "ended": ("settled", True, 22),
            "csv": ("settled", True, 3),
            "doubtful": ("settled", False, 4),
            "unfinished": ("needs_source", False, 51),
        }
        assert [info.cause is None for info in infos] == [True, True, True, False]
        assert await journal.runs(ACCOUNT, "csv") == [info for info in infos if info.run_id == "csv"]
        assert await journal.runs("another") == []
        assert await journal.find("ended", "", "another") is None
        known = await journal.find("unfinished", "", ACCOUNT)
        assert known is not None
        assert (known.last, known.run.run) == (5, old_number_of("unfinished", ""))
        assert sorted(await journal.notes(ACCOUNT)) == ["jobs: contact", "jobs: csvimport"]


async def test_an_ended_run_of_the_format_before(database: Database) -> None:
    """It is read by as many as want it; nothing is written of it, and it can be purged."""
    lay(database)
    async with opened(database.url) as journal, opened(database.url) as other:
        for one in (journal, other, journal):
            history = await one.open_run(asked("ended"))
            assert history.begun
            assert history.facts.state(is_open=False) == "settled"
            assert [record.row async for record in one.rejections(history.run.run)] == [13, 7]
            assert [record.row async for record in one.rejections(history.run.run, 0)] == [13]
            assert await one.open_run(history.run) == history
            await one.put(attrs.evolve(history.run, cause="changed"))
            await one.release(history.run)
        assert await kept(journal, RunRecord) == []
        assert await other.find("ended", "", ACCOUNT) == history
        await journal.purge(history.run)
        assert await other.find("ended", "", ACCOUNT) is None
        assert not (await journal.open_run(asked("ended"))).begun


def test_nothing_of_an_ended_run_of_the_format_before_can_go_on() -> None:
    """What is in doubt for good is unknown, whatever the caller allows now."""
    doubt = attrs.evolve(CHUNK.whole(), state="sending", attempts=1, cause="its answer was lost")
    run = attrs.evolve(RUN, whole=True, closed=True)
    known = History.of(run, [CHUNK], [doubt], 0)
    history = ended(known)
    assert history.parts == {1: [attrs.evolve(doubt, state="settled", unknown=9)]}
    assert history.counts() == known.counts() == mjbulk.Counts(rows=9, unknown=9)
    may_go = attrs.evolve(doubt, cause="")
    with pytest.raises(mjbulk.JournalRefused, match="end it with that version"):
        ended(History.of(run, [CHUNK], [may_go], 0))
    spec = encode_spec(mjbulk.RunSpec.of({1: "unsub"}, {}))
    history = ended(History.of(attrs.evolve(run, spec=spec), [CHUNK], [may_go], 0))
    assert [part.cause for part in history.parts[1]] == ["it was under way when the run ended"]


async def test_an_unfinished_run_of_the_format_before(database: Database) -> None:
    """It is refused, and free again at once; it is shown as running where the earlier version has it open."""
    lay(database)
    async with opened(database.url) as journal, opened(database.url) as other:
        for _ in range(2):
            with pytest.raises(mjbulk.JournalRefused, match="end it with that version, or take a new run_id"):
                await journal.open_run(asked("unfinished"))
        await journal.open_run(asked("unfinished", account="another"))
        await other.notes(ACCOUNT)
        number = old_number_of("unfinished", "")
        assert await other._in_thread(other._store._backend.lock, number)
        states = {info.run_id: info.state for info in await journal.runs(ACCOUNT)}
        assert (states["unfinished"], states["ended"]) == ("running", "settled")
        await other._in_thread(other._store._backend.unlock, number)


@pytest.mark.parametrize(
    "change",
    [
        "update mjbulk_runs set milliseconds = 5 where run_id = 'ended'",
        "update mjbulk_parts set accepted = accepted + 1",
        "drop table mjbulk_rejections",
        "drop table mjbulk_2_rejections",
        "delete from mjbulk_format where version = 2",
        "delete from mjbulk_format",
    ],
)
async def test_what_was_changed_beside_format_1(database: Database, change: str) -> None:
    """Its check sums are checked as its version made them, and no table may be missing."""
    lay(database)
    async with opened(database.url) as journal:
        await journal.notes(ACCOUNT)
    database.sql(change)
    async with opened(database.url) as journal:
        with pytest.raises(mjbulk.JournalRefused, match="damaged"):
            await journal.open_run(asked("ended"))
