"""The databases of a journal: which process may open a run, and what is refused."""

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from journals import RUN, begin, chunk_of, cut, opened, rejection, run_of, settled, unheld
from postgres import Postgres
from sqlalchemy.event import listen
from support import Database

import mjbulk
from mjbulk.journal.backends import without_secrets
from mjbulk.journal.sql import SqlJournal

# Which process may open a run


@pytest.mark.smoke
async def test_a_run_is_open_once(database: Database) -> None:
    """Elsewhere it is refused, shown as running, and not forgotten; after its release or its end it is free."""
    async with opened(database.url) as one, opened(database.url) as two:
        await begin(one)
        for journal, where in ((one, "this process"), (two, "another process")):
            with pytest.raises(mjbulk.JournalRefused, match=f"under way in {where}(: .*)?; nothing was sent"):
                await journal.open_run(RUN)
            with pytest.raises(mjbulk.JournalRefused, match="under way"):
                await journal.purge(RUN)
            assert [run.state for run in await journal.runs("a")] == ["running"]
        await begin(two, run_of("other"))
        await one.release(RUN)
        assert {run.run_id: run.state for run in await two.runs("a")} == {"r": "resumable", "other": "running"}
        await two.open_run(RUN)
        await two.release(RUN)
        await one.open_run(RUN)
        await one.aclose()
        await two.open_run(RUN)
        await two.release(RUN)
        await two.purge(RUN)
        assert await two.find("r", "", "a") is None
        assert [run.run_id for run in await two.runs("a")] == ["other"]


HOLD = """
import asyncio, sys
from mjbulk.journal.sql import SqlJournal
from mjbulk.journal.records import RunRecord, encode_spec, number_of
from mjbulk.terms import RunSpec

async def hold():
    journal = SqlJournal(sys.argv[1], lambda event: None)
    spec = encode_spec(RunSpec(lists=None))
    run = RunRecord(run=number_of("a", "r", ""), run_id="r", account="a", spec=spec, created="2026-11-23")
    await journal.open_run(run)
    await journal.put(run)
    print("held", flush=True)
    sys.stdin.read()

asyncio.run(hold())
"""


@pytest.fixture
def holder(database: Database) -> Iterator["subprocess.Popen[str]"]:
    """A process that has the run open."""
    command = [sys.executable, "-c", HOLD, database.url]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.smoke
@pytest.mark.real_time
async def test_a_process_that_is_killed_lets_go(database: Database, holder: "subprocess.Popen[str]") -> None:
    """Its run is refused while it lives, and free when it is dead."""
    async with opened(database.url) as journal:
        with pytest.raises(mjbulk.JournalRefused, match="another process"):
            await journal.open_run(RUN)
        assert [run.state for run in await journal.runs("a")] == ["running"]
        holder.kill()
        await asyncio.to_thread(holder.wait)
        async with asyncio.timeout(60):
            while (await journal.runs("a"))[0].state == "running":  # the server sees it in its own time
                await asyncio.sleep(0.05)
        assert unheld(await journal.open_run(RUN)).run == RUN


@pytest.mark.smoke
async def test_many_may_begin_at_once(database: Database) -> None:
    """If several find no tables, one of them makes the tables."""
    journals = [SqlJournal(database.url, lambda event: None) for _ in range(5)]
    await asyncio.gather(*(begin(journal, run_of(f"r{n}")) for n, journal in enumerate(journals)))
    looks = await asyncio.gather(*(journal.runs("a") for journal in journals))
    assert {tuple(run.state for run in infos) for infos in looks} == {("running",) * 5}
    await asyncio.gather(*(journal.aclose() for journal in journals))


async def test_who_looks_is_in_nobodys_way(database: Database) -> None:
    """To find out whether a run is open does not take it, not even for a moment: then open_run would raise."""
    async with opened(database.url) as one, opened(database.url) as two, opened(database.url) as three:
        for _ in range(20):
            await asyncio.gather(one.open_run(RUN), two.runs("a"), three.runs("a"))
            await one.release(RUN)


@pytest.mark.smoke
async def test_a_run_is_read_as_of_one_moment(postgres: Postgres) -> None:
    """What others write meanwhile is not seen in part: chunks without their parts would look like damage."""
    name = postgres.create_database()
    async with opened(postgres.url(name)) as one, opened(postgres.url(name)) as two:
        await begin(one)
        await one.put(chunk_of(RUN, 1), settled(RUN, 1))
        await two.runs("a")

        def meanwhile(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if "FROM mjbulk_2_chunks" in statement:
                postgres.sql("delete from mjbulk_2_parts", name)

        listen(two._store._opened().engine, "after_cursor_execute", meanwhile)
        history = await two.find("r", "", "a")
        assert history is not None
        assert history.parts == {1: [settled(RUN, 1)]}
        with pytest.raises(mjbulk.JournalRefused, match="parts of chunk 1 are missing"):
            await two.find("r", "", "a")


def modes(folder: Path) -> dict[str, int]:
    return {file.suffix: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o177, 0o777])
async def test_files_are_for_their_owner_alone(tmp_path: Path, mask: int) -> None:
    """Whatever the umask: the database, what SQLite puts beside it, and locks. A file that was open to all is too."""
    file = tmp_path / "imports.db"
    before = os.umask(mask)
    try:
        for _ in range(2):
            async with opened(file) as journal:
                await journal.open_run(RUN)
                await journal.put(RUN, *cut(RUN, 1))
                assert modes(tmp_path) == dict.fromkeys([".db", ".db-wal", ".db-shm", ".lock"], 0o600)
            assert modes(tmp_path) == {".db": 0o600}
            file.chmod(0o644)
    finally:
        os.umask(before)


# What is refused


async def refused(database: Database, match: str) -> None:
    async with opened(database.url) as journal:
        with pytest.raises(mjbulk.JournalRefused, match=match):
            await journal.open_run(RUN)


async def written(database: Database) -> None:
    async with opened(database.url) as journal:
        await begin(journal)
        await journal.put(chunk_of(RUN, 1), settled(RUN, 1), rejection(RUN, 1, 1))


@pytest.mark.parametrize("version", [0, 99])
async def test_another_version_is_refused(database: Database, version: int) -> None:
    """Whether it is newer or older than those that this one reads."""
    await written(database)
    database.sql(f"update mjbulk_format set version = {version}")
    await refused(database, rf"another version of mjbulk \(format {version}, this one writes 2\).*nothing was sent")


@pytest.mark.parametrize(
    "table", ["format", *(f"2_{name}" for name in ("runs", "chunks", "parts", "rejections", "commands", "notes"))]
)
async def test_missing_tables_are_refused(database: Database, table: str) -> None:
    """One is enough."""
    await written(database)
    database.sql(f"drop table mjbulk_{table}")
    await refused(database, "damaged.*tables are missing")


@pytest.mark.parametrize(
    "change",
    [
        "update mjbulk_2_chunks set last = 11",
        "update mjbulk_2_parts set state = 'unsent'",
        "update mjbulk_2_parts set sum = 'x'",
        "update mjbulk_2_runs set run_id = 's'",
        "delete from mjbulk_2_chunks",
        "delete from mjbulk_format",
    ],
)
async def test_what_was_changed_is_refused(database: Database, change: str) -> None:
    """Each record has a check sum; a record that is missing is noticed too."""
    await written(database)
    database.sql(change)
    await refused(database, "damaged.*nothing was sent")


async def test_a_rejection_that_was_changed_is_refused(database: Database) -> None:
    """It is read later than other records."""
    await written(database)
    database.sql("update mjbulk_2_rejections set message = 'Yes'")
    async with opened(database.url) as journal:
        await journal.open_run(RUN)
        with pytest.raises(mjbulk.JournalRefused, match="damaged"):
            [record async for record in journal.rejections(RUN.run)]


def seen(file: str) -> tuple[bytes, int]:
    return Path(file).read_bytes(), Path(file).stat().st_mode


async def test_tables_of_others(database: Database) -> None:
    """In PostgreSQL they may stand beside ours; a SQLite file that has only such tables is refused unchanged."""
    database.sql("create table customers (id integer)")
    if "://" in database.url:
        await written(database)
        return
    before = seen(database.url)
    await refused(database, "a database of something else")
    assert seen(database.url) == before


@pytest.mark.parametrize("folder", ["", "elsewhere"])
async def test_a_file_with_two_names_is_refused(tmp_path: Path, folder: str) -> None:
    """By each of them: beside them would be two logs and two locks. A symbolic link is one and the same file."""
    (tmp_path / "elsewhere").mkdir()
    file, other, symbolic = tmp_path / "imports.db", tmp_path / folder / "copy.db", tmp_path / "link.db"
    async with opened(file) as journal:
        await begin(journal)
    other.hardlink_to(file)
    for name in (file, other):
        await refused(Database(str(name), print), r"several names \(hard links\).*; nothing was sent")
    other.unlink()
    symbolic.symlink_to(file)
    async with opened(file) as journal, opened(symbolic) as same:
        await journal.open_run(RUN)
        with pytest.raises(mjbulk.JournalRefused, match="another process"):
            await same.open_run(RUN)


async def test_a_file_whose_maker_was_killed(tmp_path: Path) -> None:
    """It was whole, and had its name; what the maker left is removed."""
    file = tmp_path / "imports.db"
    async with opened(file) as journal:
        await begin(journal)
    (tmp_path / ".imports.db.x1y2").hardlink_to(file)
    (tmp_path / ".imports.db.other").touch()
    async with opened(file) as journal:
        assert (await journal.open_run(RUN)).begun
    assert sorted(tmp_path.iterdir()) == [tmp_path / ".imports.db.other", file]


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("runs/journal.db", "runs/journal.db"),
        ("sqlite:////srv/journal.db?timeout=5", "sqlite:////srv/journal.db"),
        ("postgresql://app:hidden@db.example.org:5433/runs", "postgresql://app@db.example.org:5433/runs"),
        ("postgres://db.example.org/runs?password=hidden&sslmode=require", "postgres://db.example.org/runs"),
        ("postgresql+psycopg://app:hi/dden@x:y", "URL"),
    ],
)
def test_a_journal_is_named_without_its_password(where: str, name: str) -> None:
    """Nor with what may be a part of one."""
    assert without_secrets(where) == name
