"""The journal in a database, the same on SQLite and on PostgreSQL: what is written, who may, and what is refused."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from commands import TO_LIST, people, running
from postgres import Postgres
from sqlalchemy.event import listen
from support import KEYS, Place, World, balanced

import mjbulk
from mjbulk.events import Event
from mjbulk.journal.records import (
    ChunkRecord,
    NoteRecord,
    PartRecord,
    RejectionRecord,
    RunRecord,
    encode_spec,
    number_of,
)
from mjbulk.journal.sql import SqlJournal
from mjbulk.testing import Knobs, Mailjet


@asynccontextmanager
async def opened(where: str | Path, events: list[Event] | None = None, **more: Any) -> AsyncIterator[SqlJournal]:
    journal = SqlJournal(where, (events if events is not None else []).append, **more)
    try:
        yield journal
    finally:
        await journal.aclose()


def run_of(name: str, **said: Any) -> RunRecord:
    spec = encode_spec(mjbulk.RunSpec(lists=None))
    return RunRecord(run=number_of(name, ""), run_id=name, account="a", spec=spec, created="2026-11-23", **said)


def chunk_of(run: RunRecord, number: int) -> ChunkRecord:
    first = number * 10 - 9
    return ChunkRecord(run=run.run, number=number, first=first, last=first + 9, rows=10, entries=10, digest="d")


def cut(run: RunRecord, number: int) -> tuple[ChunkRecord, PartRecord]:
    """What is written of a chunk when it is cut."""
    chunk = chunk_of(run, number)
    return chunk, chunk.whole()


def settled(run: RunRecord, number: int) -> PartRecord:
    return PartRecord(run=run.run, chunk=number, first=0, end=10, rows=10, state="settled", accepted=10)


def rejection(run: RunRecord, chunk: int, number: int) -> RejectionRecord:
    return RejectionRecord(
        run=run.run, chunk=chunk, first=0, number=number, row=number, message="No", match="exact", origin="mjbulk"
    )


RUN = run_of("r")


# What is written


async def test_records_that_cannot_be_written_spare_those_before_them(place: Place) -> None:
    """Whatever is wrong with one of them, nothing is written of the group, nothing after it, and what was is whole."""
    odd = evolve(settled(RUN, 2), cause="\ud800")
    async with opened(place.url) as journal:
        await journal.open_run(RUN)
        await journal.put(chunk_of(RUN, 1), settled(RUN, 1))
        for put in (journal.put(chunk_of(RUN, 2), odd), journal.put(*cut(RUN, 2))):
            with pytest.raises(mjbulk.JournalError, match="the journal cannot be used"):
                await put
    async with opened(place.url) as journal:
        assert (await journal.open_run(RUN)).last == 1


@pytest.mark.smoke
async def test_what_was_written_is_read_again(place: Place) -> None:
    """Each kind of record, by another process as it were; the last of one key counts."""
    first = PartRecord(run=RUN.run, chunk=1, first=0, end=10, rows=10, state="sending", attempts=1, data_id=2**62)
    note = NoteRecord(account="a", name="rate", text="7.5")
    async with opened(place.url) as journal:
        assert (await journal.open_run(RUN)).run == RUN
        journal.later(chunk_of(RUN, 1), rejection(RUN, 0, 3))
        await journal.put(first, note)
        await journal.put(evolve(first, state="watched", job="contact:7", overtaken=True))
        await journal.put(evolve(RUN, whole=True, rows=11))
    async with opened(place.url) as journal:
        history = await journal.open_run(RUN)
        assert (history.run, history.chunks, history.refused) == (
            evolve(RUN, whole=True, rows=11), {1: chunk_of(RUN, 1)}, 1,
        )  # fmt: skip
        assert history.parts == {1: [evolve(first, state="watched", job="contact:7", overtaken=True)]}
        assert [record async for record in journal.rejections(RUN.run)] == [rejection(RUN, 0, 3)]
        assert await journal.notes("a") == {"rate": "7.5"}
        assert await journal.notes("b") == {}


@pytest.mark.smoke
async def test_what_waits_is_written_together(place: Place) -> None:
    """While a transaction is written the next one fills; nothing returns before it is on disk."""
    events: list[Event] = []
    async with opened(place.url, events) as journal:
        await journal.open_run(RUN)
        await asyncio.gather(*(journal.put(chunk_of(RUN, number), settled(RUN, number)) for number in range(1, 51)))
        writing = [event.rows for event in events if event.name == "journal.writing"]
        assert (sum(filter(None, writing)), len(writing) <= 3) == (100, True)
        await asyncio.gather(*(_put_and_look(journal, events, number) for number in range(51, 61)))


async def _put_and_look(journal: SqlJournal, events: list[Event], number: int) -> None:
    await journal.put(*cut(RUN, number))
    written = sum(event.rows or 0 for event in events if event.name == "journal.written")
    assert written > 100 + number - 51
    history = await journal.find("r", "", "a")
    assert history is not None
    assert number in history.chunks


@pytest.mark.smoke
async def test_who_is_cancelled_has_written(place: Place) -> None:
    """A wait for the disk can be given up, the write cannot; closing waits for it, and writes what is left."""
    async with opened(place.url) as journal:
        await journal.open_run(RUN)
        put = asyncio.create_task(journal.put(*cut(RUN, 1)))
        await asyncio.sleep(0)
        put.cancel()
        with suppress(asyncio.CancelledError):
            await put
        journal.later(*cut(RUN, 2))
    async with opened(place.url) as journal:
        assert (await journal.open_run(RUN)).last == 2


async def test_rejections_are_read_some_at_a_time(place: Place) -> None:
    """Rejections of one chunk or of the whole run are read once each and in order, however pages cut them."""
    async with opened(place.url) as journal:
        await journal.open_run(RUN)
        records = [rejection(RUN, chunk, number) for chunk in (0, 2, 7) for number in range(1, 1001)]
        await journal.put(*reversed(records), rejection(run_of("other"), 2, 1))
        assert [record async for record in journal.rejections(RUN.run)] == records
        assert [record async for record in journal.rejections(RUN.run, 2)] == records[1000:2000]


async def test_the_books_of_runs(place: Place) -> None:
    """Summed up for an account or for one run, the oldest first; others' runs and records are not counted."""
    old, stranger = run_of("old"), evolve(run_of("stranger"), account="b")
    old = evolve(old, created="2026-11-22", settled=True)
    async with opened(place.url) as journal:
        for run in (RUN, old, stranger):
            await journal.open_run(run)
            await journal.put(run, chunk_of(run, 1), settled(run, 1), rejection(run, 0, 1), rejection(run, 1, 1))
        await journal.put(chunk_of(RUN, 2), *cut(RUN, 3), evolve(settled(RUN, 2), state="sending", accepted=0))
        first, second = await journal.runs("a")
        assert (first.run_id, first.state, first.rows, first.accepted, first.rejected) == ("old", "settled", 11, 10, 1)
        assert second.as_dict() == {
            "run_id": "r", "partition": None, "state": "running", "created": "2026-11-23", "rows": 31, "accepted": 10,
            "rejected": 1, "superseded": 0, "unknown": 10, "not_sent": 10,
        }  # fmt: skip
        assert await journal.runs("a", "r") == [second]
        assert await journal.runs("b", "r") == []
        assert await journal.find("r", "", "b") is None


# Which process may open a run


@pytest.mark.smoke
async def test_a_run_is_open_once(place: Place) -> None:
    """Elsewhere it is refused, shown as running, and not forgotten; after its release or its end it is free."""
    async with opened(place.url) as one, opened(place.url) as two:
        await one.open_run(RUN)
        for journal, where in ((one, "this process"), (two, "another process")):
            with pytest.raises(mjbulk.JournalRefused, match=f"under way in {where}; nothing was sent"):
                await journal.open_run(RUN)
            with pytest.raises(mjbulk.JournalRefused, match="under way"):
                await journal.purge(RUN)
            assert [run.state for run in await journal.runs("a")] == ["running"]
        await two.open_run(run_of("other"))
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
    await journal.open_run(RunRecord(run=number_of("r", ""), run_id="r", account="a", spec=spec, created="2026-11-23"))
    print("held", flush=True)
    sys.stdin.read()

asyncio.run(hold())
"""


@pytest.fixture
def holder(place: Place) -> Iterator["subprocess.Popen[str]"]:
    """A process that has the run open."""
    command = [sys.executable, "-c", HOLD, place.url]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.smoke
@pytest.mark.real_time
async def test_a_process_that_is_killed_lets_go(place: Place, holder: "subprocess.Popen[str]") -> None:
    """Its run is refused while it lives, and free when it is dead."""
    async with opened(place.url) as journal:
        with pytest.raises(mjbulk.JournalRefused, match="another process"):
            await journal.open_run(RUN)
        assert [run.state for run in await journal.runs("a")] == ["running"]
        holder.kill()
        await asyncio.to_thread(holder.wait)
        async with asyncio.timeout(10):
            while (await journal.runs("a"))[0].state == "running":  # noqa: ASYNC110  # the server sees it in its own time
                await asyncio.sleep(0.05)
        assert (await journal.open_run(RUN)).run == RUN


@pytest.mark.smoke
async def test_many_may_begin_at_once(place: Place) -> None:
    """Of those who find no tables one makes them."""
    journals = [SqlJournal(place.url, lambda event: None) for _ in range(5)]
    await asyncio.gather(*(journal.open_run(run_of(f"r{n}")) for n, journal in enumerate(journals)))
    looks = await asyncio.gather(*(journal.runs("a") for journal in journals))
    assert {tuple(run.state for run in infos) for infos in looks} == {("running",) * 5}
    await asyncio.gather(*(journal.aclose() for journal in journals))


async def test_who_looks_is_in_nobodys_way(place: Place) -> None:
    """To find out whether a run is open does not take it, not even for a moment."""
    async with opened(place.url) as one, opened(place.url) as two, opened(place.url) as three:
        for _ in range(20):
            await asyncio.gather(one.open_run(RUN), two.runs("a"), three.runs("a"))
            await one.release(RUN)


@pytest.mark.smoke
async def test_a_run_is_read_as_of_one_moment(postgres: Postgres) -> None:
    """What others write meanwhile is not seen in part: chunks without their parts would look like damage."""
    name = postgres.create_database()
    async with opened(postgres.url(name)) as one, opened(postgres.url(name)) as two:
        await one.open_run(RUN)
        await one.put(chunk_of(RUN, 1), settled(RUN, 1))
        await two.runs("a")

        def meanwhile(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if "FROM mjbulk_chunks" in statement:
                postgres.sql("delete from mjbulk_parts", name)

        listen(two._opened().engine, "after_cursor_execute", meanwhile)
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
                await journal.put(*cut(RUN, 1))
                assert modes(tmp_path) == dict.fromkeys([".db", ".db-wal", ".db-shm", ".lock"], 0o600)
            assert modes(tmp_path) == {".db": 0o600}
            file.chmod(0o644)
    finally:
        os.umask(before)


# What is refused


async def refused(place: Place, match: str) -> None:
    async with opened(place.url) as journal:
        with pytest.raises(mjbulk.JournalRefused, match=match):
            await journal.open_run(RUN)


async def written(place: Place) -> None:
    async with opened(place.url) as journal:
        await journal.open_run(RUN)
        await journal.put(chunk_of(RUN, 1), settled(RUN, 1), rejection(RUN, 1, 1))


async def test_another_version_is_refused(place: Place) -> None:
    """Whether it is newer or older than what this one writes."""
    await written(place)
    place.sql("update mjbulk_format set version = 99")
    await refused(place, r"another version of mjbulk \(format 99, this one writes 1\).*nothing was sent")


@pytest.mark.parametrize("table", ["format", "runs", "chunks", "parts", "rejections", "notes"])
async def test_missing_tables_are_refused(place: Place, table: str) -> None:
    """One is enough."""
    await written(place)
    place.sql(f"drop table mjbulk_{table}")
    await refused(place, "damaged.*tables are missing")


@pytest.mark.parametrize(
    "change",
    [
        "update mjbulk_chunks set last = 11",
        "update mjbulk_parts set state = 'unsent'",
        "update mjbulk_parts set sum = 'x'",
        "update mjbulk_runs set run_id = 's'",
        "delete from mjbulk_chunks",
        "delete from mjbulk_format",
    ],
)
async def test_what_was_changed_is_refused(place: Place, change: str) -> None:
    """Each record carries a check sum; that one is gone shows too."""
    await written(place)
    place.sql(change)
    await refused(place, "damaged.*nothing was sent")


async def test_a_rejection_that_was_changed_is_refused(place: Place) -> None:
    """It is read later than the rest."""
    await written(place)
    place.sql("update mjbulk_rejections set message = 'Yes'")
    async with opened(place.url) as journal:
        await journal.open_run(RUN)
        with pytest.raises(mjbulk.JournalRefused, match="damaged"):
            [record async for record in journal.rejections(RUN.run)]


def seen(file: str) -> tuple[bytes, int]:
    return Path(file).read_bytes(), Path(file).stat().st_mode


async def test_tables_of_others(place: Place) -> None:
    """In PostgreSQL they may stand beside ours; a SQLite file that has only such tables is refused unchanged."""
    place.sql("create table customers (id integer)")
    if "://" in place.url:
        await written(place)
        return
    before = seen(place.url)
    await refused(place, "a database of something else")
    assert seen(place.url) == before


@pytest.mark.parametrize(
    "where", ["mysql://u:hunter2@h/d", "nothing://", "postgresql+psycopg2://u:hunter2@h/d", "postgresql+asyncpg://h/d"]
)
async def test_what_can_be_no_journal(where: str) -> None:
    """It is refused before anything is opened; a password is not repeated."""
    with pytest.raises(mjbulk.UsageError) as caught:
        SqlJournal(where, lambda event: None)
    assert "hunter2" not in str(caught.value)


async def test_a_server_that_is_not_there(postgres: Postgres) -> None:
    """It is said without its address, for there may be a password in that."""
    async with opened("postgresql+psycopg://u:hunter2@/d?host=/nowhere") as journal:
        with pytest.raises(mjbulk.JournalError, match="cannot be used") as caught:
            await journal.open_run(RUN)
        assert "hunter2" not in repr(caught.value)


# Errors and ends


@pytest.mark.smoke
async def test_after_an_error_nothing_is_written_until_all_runs_have_ended(place: Place) -> None:
    """It is not known what is on disk. After that the journal is opened again, and has what was written before."""
    other = run_of("other")
    async with opened(place.url) as journal:
        for run in (RUN, other):
            await journal.open_run(run)
        place.sql("alter table mjbulk_chunks rename to hidden")
        with pytest.raises(mjbulk.JournalError, match="cannot be used"):
            await journal.put(*cut(RUN, 1))
        place.sql("alter table hidden rename to mjbulk_chunks")
        for call in (journal.put(*cut(RUN, 1)), journal.open_run(run_of("third")), journal.runs("a")):
            with pytest.raises(mjbulk.JournalError, match="cannot be used"):
                await call
        await journal.release(RUN)
        with pytest.raises(mjbulk.JournalError, match="cannot be used"):
            await journal.put(*cut(other, 1))
        await journal.release(other)
        assert (await journal.open_run(RUN)).last == 0
        await journal.put(*cut(RUN, 1))
        assert {run.run_id: run.rows for run in await journal.runs("a")} == {"other": 0, "r": 10}


@pytest.mark.smoke
async def test_a_server_that_ends_the_session(world: World, postgres: Postgres) -> None:
    """The run halts with its books, for no intent can be written any more; then the same client goes on with it."""
    name = postgres.create_database()
    rows = [{"email": f"p{n}@example.org"} for n in range(100)]
    settings = world.settings(chunk_rows=10, max_jobs=2)
    async with mjbulk.Client(KEYS, settings, journal=postgres.url(name)) as client:
        run = client.start_import(rows, lists={1: "addnoforce"}, run_id="r")
        async for progress in run:
            if progress.accepted:
                break
        postgres.sql(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")
        with pytest.raises(mjbulk.ImportHalted, match="journal cannot be used") as caught:
            await run
        assert isinstance(caught.value.__cause__, mjbulk.JournalError)
        assert not balanced(caught.value.report).complete
        assert [info.state async for info in client.runs()] == ["resumable"]
        assert balanced(await client.resume_import("r", rows)).ok
    assert world.posts() <= 10 + 2


async def test_a_file_that_another_process_has_locked(tmp_path: Path) -> None:
    """It is waited for, but not for ever."""
    file = tmp_path / "imports.db"
    async with opened(file, patience=0.1) as journal:
        await journal.open_run(RUN)
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("begin immediate")
        with pytest.raises(mjbulk.JournalError, match="database is locked"):
            await journal.put(*cut(RUN, 1))
        other.close()


async def test_a_journal_that_is_closed(place: Place) -> None:
    """It says so, and lets go of its files and connections."""
    journal = SqlJournal(place.url, lambda event: None)
    await journal.open_run(RUN)
    await journal.aclose()
    for call in (lambda: journal.put(*cut(RUN, 1)), lambda: journal.open_run(RUN), lambda: journal.runs("a")):
        with pytest.raises(mjbulk.JournalError, match="closed"):
            await call()
    await journal.release(RUN)
    await journal.aclose()


# Clients


async def test_fifty_runs_side_by_side(world: World, place: Place) -> None:
    """In one journal, of two clients of one pool; each account sees its own."""
    world.emulator.knobs = Knobs(queue_seconds=1.0)
    keys = [KEYS, mjbulk.Credentials("another-key", "another-secret")]
    async with mjbulk.SessionPool(world.settings(chunk_rows=5), journal=place.url) as pool:
        clients = [pool.client(one) for one in keys]
        runs = [
            clients[n % 2].start_import(
                [{"email": f"p{n}-{row}@example.org"} for row in range(20)], lists={1: "addnoforce"}, run_id=f"r{n}"
            )
            for n in range(50)
        ]
        reports = [balanced(await run) for run in runs]
        assert all(report.ok and report.accepted == 20 for report in reports)
        for place_of, client in enumerate(clients):
            infos = [info async for info in client.runs()]
            assert {info.run_id for info in infos} == {f"r{n}" for n in range(place_of, 50, 2)}
            assert {(info.state, info.accepted) for info in infos} == {("settled", 20)}
        with pytest.raises(mjbulk.UsageError, match="no run 'r1'"):
            await clients[0].get_run("r1")
    assert world.posts() == 200


@pytest.mark.smoke
@pytest.mark.parametrize("moment", [3, 30, 90])
async def test_a_client_that_is_closed_while_a_run_writes(world: World, place: Place, moment: int) -> None:
    """Whatever is under way then is on disk when it has closed, and goes on from there."""
    rows = [{"email": f"p{n}@example.org"} for n in range(300)]
    events: list[Event] = []
    now = asyncio.Event()

    def look(event: Event) -> None:
        events.append(event)
        if sum(event.rows or 0 for event in events if event.name == "journal.writing") >= moment:
            now.set()

    settings = world.settings(chunk_rows=10, concurrency=3)
    async with mjbulk.Client(KEYS, settings, journal=place.url, hooks=[look]) as client:
        run = client.start_import(rows, lists={1: "addnoforce"}, run_id="r")
        await now.wait()
        await client.aclose()
    report = balanced(await run.wait())
    assert not report.complete
    async with mjbulk.Client(KEYS, settings, journal=place.url) as client:
        info = await client.get_run("r")
        assert (info.state, info.accepted) == ("resumable", report.accepted)
        assert (await client.import_contacts(rows, lists={1: "addnoforce"}, run_id="r")).ok
    assert world.posts() == 30


@pytest.mark.real_time
def test_two_processes_on_one_journal(mailjet: Mailjet, place: Place, tmp_path: Path) -> None:
    """With runs of their own both come to their end; with the same one the second is refused."""
    mailjet.emulator.knobs = Knobs(queue_seconds=0.5)
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(people(50).replace("p", name))
    words = [*TO_LIST, "--chunk-size", "5", "--max-jobs", "3", "--journal", place.url]
    with (
        running("import", f"{tmp_path}/a.csv", *words, "--run-id", "a") as a,
        running("import", f"{tmp_path}/b.csv", *words, "--run-id", "b") as b,
    ):
        outcomes = [process.communicate(timeout=40) for process in (a, b)]
    assert [(process.returncode, out[1]) for process, out in zip((a, b), outcomes, strict=True)] == [(0, ""), (0, "")]
    assert len(mailjet.contacts) == 100
