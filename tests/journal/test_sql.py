"""The journal in a database, the same on SQLite and on PostgreSQL: what is written, and what happens after an error."""

import asyncio
import gc
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from journals import RUN, begin, chunk_of, cut, opened, rejection, run_of, settled, unheld
from support import Database

import mjbulk
from mjbulk.events import Event
from mjbulk.journal.backends import Patience
from mjbulk.journal.records import EndedChunk, NoteRecord, PartRecord
from mjbulk.journal.sql import SqlJournal

# What is written


async def test_records_that_cannot_be_written_spare_those_before_them(database: Database) -> None:
    """Whatever is wrong with one of them, nothing is written of the group, nothing after it, and what was is whole."""
    odd = evolve(settled(RUN, 2), cause="\ud800")
    async with opened(database.url) as journal:
        await begin(journal)
        await journal.put(chunk_of(RUN, 1), settled(RUN, 1))
        for put in (journal.put(chunk_of(RUN, 2), odd), journal.put(*cut(RUN, 2))):
            with pytest.raises(mjbulk.JournalError, match="the journal cannot be used"):
                await put
    async with opened(database.url) as journal:
        assert (await journal.open_run(RUN)).last == 1


@pytest.mark.smoke
async def test_what_was_written_is_read_again(database: Database) -> None:
    """Each kind of record, by another process as it were; the last of one key counts."""
    first = PartRecord(run=RUN.run, chunk=1, first=0, end=10, rows=10, state="sending", attempts=1, data_id=2**62)
    note = NoteRecord(account="a", name="rate", text="7.5")
    chunk = evolve(chunk_of(RUN, 1), shape="rshape")
    run = evolve(RUN, whole=True, rows=11, closed=True, cause="it was stopped", reading="{}")
    async with opened(database.url) as journal:
        assert unheld(await journal.open_run(RUN)).run == RUN
        await journal.put(RUN)
        journal.later(chunk, rejection(RUN, 0, 3))
        await journal.put(first, note)
        await journal.put(evolve(first, state="watched", job="contact:7", overtaken=True))
        await journal.put(run)
    async with opened(database.url) as journal:
        history = unheld(await journal.open_run(RUN))
        assert history.begun
        assert (history.run, history.chunks, history.refused) == (run, {1: chunk}, 1)
        assert history.parts == {1: [evolve(first, state="watched", job="contact:7", overtaken=True)]}
        assert [record async for record in journal.rejections(RUN.run)] == [rejection(RUN, 0, 3)]
        assert await journal.notes("a") == {"rate": "7.5"}
        assert await journal.notes("b") == {}


@pytest.mark.smoke
async def test_what_waits_is_written_together(database: Database) -> None:
    """While a transaction is written the next one fills; nothing returns before it is on disk."""
    events: list[Event] = []
    async with opened(database.url, events) as journal:
        await begin(journal)
        events.clear()
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
async def test_who_is_cancelled_has_written(database: Database) -> None:
    """A wait for the disk can be given up, the write cannot; closing waits for it, and writes what is left."""
    async with opened(database.url) as journal:
        await begin(journal)
        put = asyncio.create_task(journal.put(*cut(RUN, 1)))
        await asyncio.sleep(0)
        put.cancel()
        with suppress(asyncio.CancelledError):
            await put
        journal.later(*cut(RUN, 2))
    async with opened(database.url) as journal:
        assert (await journal.open_run(RUN)).last == 2


async def test_rejections_are_read_some_at_a_time(database: Database) -> None:
    """Rejections of one chunk or of the whole run are read once each and in order, however pages cut them."""
    async with opened(database.url) as journal:
        await begin(journal)
        records = [rejection(RUN, chunk, number) for chunk in (0, 2, 7) for number in range(1, 1001)]
        await journal.put(*reversed(records), rejection(run_of("other"), 2, 1))
        assert [record async for record in journal.rejections(RUN.run)] == records
        assert [record async for record in journal.rejections(RUN.run, 2)] == records[1000:2000]


async def test_refused_rows_are_forgotten(database: Database) -> None:
    """Those that are named, however many, and those after one; not what Mailjet rejected, nor those of other runs."""
    other = run_of("other")
    async with opened(database.url) as journal:
        await begin(journal)
        await journal.put(*(rejection(RUN, 0, row) for row in range(1, 1201)), rejection(RUN, 1, 1150))
        await journal.put(rejection(other, 0, 1150))
        await journal.forget_refused(RUN.run, 1100, range(2, 1003))
        assert [record.row async for record in journal.rejections(RUN.run, 0)] == [1, *range(1003, 1101)]
        await journal.forget_refused(RUN.run, 1001)
        assert [(record.chunk, record.row) async for record in journal.rejections(RUN.run)] == [(0, 1), (1, 1150)]
        assert [record.row async for record in journal.rejections(other.run)] == [1150]


async def test_the_books_of_runs(database: Database) -> None:
    """Summed up for an account or for one run, the oldest first; others' runs and records are not counted."""
    old, stranger = run_of("old"), evolve(run_of("stranger"), account="b")
    old = evolve(old, created="2026-11-22", closed=True, whole=True)
    async with opened(database.url) as journal:
        for run in (RUN, old, stranger):
            await journal.open_run(run)
            await journal.put(run, chunk_of(run, 1), settled(run, 1), rejection(run, 0, 1), rejection(run, 1, 1))
        await journal.put(chunk_of(RUN, 2), *cut(RUN, 3), evolve(settled(RUN, 2), state="sending", accepted=0))
        first, second = await journal.runs("a")
        assert (first.run_id, first.state, first.complete) == ("old", "running", True)
        assert (first.rows, first.accepted, first.rejected) == (11, 10, 1)
        assert second.as_dict() == {
            "run_id": "r", "partition": None, "state": "running", "complete": False, "cause": None,
            "created": "2026-11-23", "ingester": False, "seconds": 0.0, "lists": None, "excluded": None, "source": None,
            "rows": 31, "accepted": 10, "rejected": 1,
            "superseded": 0, "unknown": 10, "not_sent": 10,
        }  # fmt: skip
        await journal.release(old)
        assert (await journal.runs("a", "old"))[0].state == "settled"
        assert await journal.runs("a", "r") == [second]
        assert await journal.runs("b", "r") == []
        assert await journal.find("r", "", "b") is None


async def test_chunks_of_an_ingester_that_have_ended(database: Database) -> None:
    """Their records are deleted with the write that counts them, after what is written with it; chunks of other runs
    and later ones of this run stay, and have gaps before them. The sums are as if all were there.
    """
    gathers = evolve(RUN, kind="ingester", closed=True, whole=True)
    other = run_of("other")
    async with opened(database.url) as journal:
        for run, second in ((gathers, 3), (other, 2)):
            await journal.open_run(run)
            await journal.put(run, *cut(run, 1), *cut(run, second))
        before = (await journal.runs("a", "r"))[0]
        assert (before.rows, before.not_sent) == (20, 20)
        counted = evolve(gathers, rows=10, accepted=6, rejected=1, superseded=1, unknown=1)
        journal.later(settled(gathers, 1), rejection(gathers, 1, 1), counted, EndedChunk(run=RUN.run, number=1))
        await journal.put(evolve(settled(gathers, 3), state="watched", accepted=0, job="contact:7"))
    async with opened(database.url) as journal:
        history = unheld(await journal.open_run(gathers))
        assert history.run == counted
        assert list(history.chunks) == list(history.parts) == [3]
        assert [record async for record in journal.rejections(RUN.run)] == []
        assert history.counts() == mjbulk.Counts(rows=20, accepted=6, rejected=1, superseded=1, unknown=11, not_sent=1)
        await journal.release(gathers)
        info = (await journal.runs("a", "r"))[0]
        assert (info.rows, info.accepted, info.unknown, info.not_sent) == (20, 6, 11, 1)
        assert (info.state, info.complete, info.ingester) == ("resumable", False, True)
        found = await journal.find("other", "", "a")
        assert found is not None
        assert list(found.chunks) == [1, 2]
    database.sql("delete from mjbulk_2_chunks where number = 1")
    async with opened(database.url) as journal:
        with pytest.raises(mjbulk.JournalRefused, match="chunks are missing"):
            await journal.open_run(other)


# Errors and ends


@pytest.mark.smoke
async def test_after_an_error_nothing_is_written_until_all_runs_have_ended(database: Database) -> None:
    """It is not known what is on disk. After that the journal is opened again, and has what was written before."""
    other = run_of("other")
    async with opened(database.url) as journal:
        for run in (RUN, other):
            await begin(journal, run)
        database.sql("alter table mjbulk_2_chunks rename to hidden")
        with pytest.raises(mjbulk.JournalError, match="cannot be used"):
            await journal.put(*cut(RUN, 1))
        database.sql("alter table hidden rename to mjbulk_2_chunks")
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


async def test_a_file_that_another_process_has_locked(tmp_path: Path) -> None:
    """It is waited for, but not for ever."""
    file = tmp_path / "imports.db"
    async with opened(file, patience=Patience(locked=0.1)) as journal:
        await begin(journal)
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("begin immediate")
        with pytest.raises(mjbulk.JournalError, match="database is locked"):
            await journal.put(*cut(RUN, 1))
        other.close()


async def test_an_error_in_writing_for_which_nobody_waits_any_more(tmp_path: Path) -> None:
    """An event tells it. No task ends by it, and nothing is logged as an error that was never retrieved."""
    errors: list[Any] = []
    events: list[Event] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    file = tmp_path / "imports.db"
    async with opened(file, events, patience=Patience(locked=0.1)) as journal:
        await begin(journal)
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("begin immediate")
            put = asyncio.create_task(journal.put(*cut(RUN, 1)))
            await asyncio.sleep(0)
            put.cancel()
            with pytest.raises(asyncio.CancelledError):
                await put
            with pytest.raises(mjbulk.JournalError, match="database is locked"):
                await journal.put(*cut(RUN, 2))
    gc.collect()
    assert [event.name for event in events].count("journal.failed") >= 1
    assert errors == []


async def test_a_journal_that_is_closed(database: Database) -> None:
    """It says so, and lets go of its files and connections."""
    journal = SqlJournal(database.url, lambda event: None)
    await begin(journal)
    await journal.aclose()
    for call in (lambda: journal.put(*cut(RUN, 1)), lambda: journal.open_run(RUN), lambda: journal.runs("a")):
        with pytest.raises(mjbulk.JournalError, match="closed"):
            await call()
    await journal.release(RUN)
    await journal.aclose()


async def test_locks_that_cannot_be_removed(tmp_path: Path) -> None:
    """The journal lets go of its runs and closes its file all the same."""
    file = tmp_path / "imports.db"
    async with opened(file) as journal:
        for run in (RUN, run_of("other"), run_of("third")):
            await begin(journal, run)
        for lock in tmp_path.glob("*.lock"):
            lock.unlink()
            lock.mkdir()
        await journal.release(RUN)
    for lock in tmp_path.glob("*.lock"):
        lock.rmdir()
    assert list(tmp_path.iterdir()) == [file]


class Silent(SqlJournal):
    """A journal whose database takes a write and never answers."""

    async def put(self, *records: Any, run: int | None = None) -> None:
        await asyncio.sleep(1e9)


async def test_a_database_that_does_not_answer_holds_up_nobody_for_long(database: Database) -> None:
    """Closing gives up within a minute, and leaves the journal's thread to itself."""
    journal = Silent(database.url, lambda event: None)
    await journal.open_run(RUN)
    journal.later(*cut(RUN, 1))
    began = asyncio.get_running_loop().time()
    await journal.aclose()
    assert asyncio.get_running_loop().time() - began < 60
    journal._store.close()
