"""A run in a journal, from its opening to its release: what is written and when, and calls that are cancelled."""

import asyncio
import gc
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, field, frozen
from filelock import FileLock
from journals import opened, unheld
from sqlalchemy import Engine, event
from support import Database

import mjbulk
from mjbulk import tasks
from mjbulk.journal.records import ChunkRecord, RejectionRecord, RunRecord, encode_spec, number_of
from mjbulk.journal.sql import SqlJournal

SPEC = encode_spec(mjbulk.RunSpec(lists=None))
RUN = RunRecord(run=number_of("a", "r", ""), run_id="r", account="a", spec=SPEC, created="2026-11-27")
OTHER = RunRecord(run=number_of("a", "other", ""), run_id="other", account="a", spec=SPEC, created="2026-11-27")
CHUNK = ChunkRecord(run=RUN.run, number=1, first=1, last=9, rows=9, entries=9, digest="d")
REFUSED = RejectionRecord(
    run=RUN.run, chunk=0, first=0, number=10, row=10, message="No", match="exact", origin="mjbulk"
)


async def everything(journal: SqlJournal) -> tuple[Any, ...]:
    """Read all that the journal knows of the run."""
    history = await journal.find("r", "", "a")
    return history, await journal.runs("a"), [record async for record in journal.rejections(RUN.run)]


async def test_nothing_is_written_before_a_run_is_begun(database: Database) -> None:
    """Its name stays free, and the journal shows nothing of it, also after another run was written."""
    async with opened(database.url) as journal, opened(database.url) as other:
        for _ in range(2):
            history = unheld(await journal.open_run(RUN))
            assert (history.run, history.begun, history.last) == (RUN, False, 0)
            with pytest.raises(
                mjbulk.JournalRefused, match="under way in another process: wait for its end, or stop it there"
            ):
                await other.open_run(RUN)
            journal.later(CHUNK, CHUNK.whole(), REFUSED)
            await journal.release(RUN)
            await journal.open_run(OTHER)
            await journal.put(OTHER)
            await journal.release(OTHER)
            assert await everything(journal) == (None, await journal.runs("a", "other"), [])
            await journal.purge(OTHER)


async def test_who_asks_for_a_run_that_another_one_has_lets_others_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite lets one write at a time: who asked again and again would keep the process that has it from writing."""
    file, looks = tmp_path / "imports.db", count()
    acquire = FileLock.acquire

    def looked(lock: FileLock, *arguments: Any, **more: Any) -> Any:
        with closing(sqlite3.connect(file, timeout=0.0, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
        next(looks)
        return acquire(lock, *arguments, **more)

    async with opened(str(file)) as journal, opened(str(file)) as other:
        await journal.open_run(RUN)
        monkeypatch.setattr(FileLock, "acquire", looked)
        with pytest.raises(mjbulk.JournalRefused, match="under way in another process"):
            await other.open_run(RUN)
    assert next(looks) > 0


async def test_what_was_put_is_written_before_a_run_is_released(database: Database) -> None:
    """Also if the put, or the release, was cancelled."""
    async with opened(database.url) as journal, opened(database.url) as other:
        await journal.open_run(RUN)
        busy = threading.Event()
        journal._thread.submit(busy.wait, 10)
        puts = []
        for some in ([RUN], [CHUNK, CHUNK.whole()]):  # the second waits for its turn
            puts.append(asyncio.create_task(journal.put(*some)))
            for _ in range(3):
                await asyncio.sleep(0)
            puts[-1].cancel()
        release = asyncio.create_task(journal.release(RUN))
        await asyncio.sleep(0)
        release.cancel()
        busy.set()
        await asyncio.gather(*puts, release, return_exceptions=True)
        await asyncio.wait(tasks._KEPT)
        history = await other.open_run(RUN)
        assert (history.begun, history.last) == (True, 1)


async def test_a_run_that_is_forgotten_stays_forgotten(database: Database) -> None:
    """What waits to be written of it is dropped, whatever is written afterwards; that of other runs is not."""
    async with opened(database.url) as journal:
        await journal.open_run(RUN)
        await journal.put(RUN, CHUNK, CHUNK.whole())
        with pytest.raises(mjbulk.JournalRefused, match="under way"):
            await journal.purge(RUN)
        await journal.release(RUN)
        journal.later(evolve(RUN, cause="it was stopped"), REFUSED, OTHER)
        late = asyncio.create_task(journal.put(CHUNK))
        await asyncio.sleep(0)
        await journal.purge(RUN)
        await late
        await journal.put()
        assert await everything(journal) == (None, await journal.runs("a", "other"), [])
        assert [run.run_id for run in await journal.runs("a")] == ["other"]


# Openings that are cancelled


@frozen
class Halt:
    """Stops the thread that reaches one of the next statements, until it may go on."""

    at: int
    count: "count[int]" = field(factory=lambda: count(1))
    reached: threading.Event = field(factory=threading.Event)
    go_on: threading.Event = field(factory=threading.Event)

    def look(self, *_: Any) -> None:
        if not self.go_on.is_set() and next(self.count) == self.at:
            self.reached.set()
            assert self.go_on.wait(10)


@contextmanager
def halting(at: int) -> Iterator[Halt]:
    halt = Halt(at)
    event.listen(Engine, "before_cursor_execute", halt.look)
    try:
        yield halt
    finally:
        halt.go_on.set()
        event.remove(Engine, "before_cursor_execute", halt.look)


async def test_an_opening_that_is_cancelled_at_each_statement(database: Database) -> None:
    """While the journal is made, while it is checked, while the run is taken or read: the same call works at once."""
    for at in count(1):
        with halting(at) as halt:
            async with opened(database.url) as journal, opened(database.url) as other:
                opening = asyncio.create_task(journal.open_run(RUN))
                while not (halt.reached.is_set() or opening.done()):
                    await asyncio.to_thread(halt.reached.wait, 0.01)
                opening.cancel()
                with suppress(asyncio.CancelledError):
                    await opening
                halt.go_on.set()
                if not opening.cancelled():
                    break
                assert unheld(await other.open_run(RUN)).run == RUN
                await other.release(RUN)
                await journal.open_run(RUN)
    assert at > 5


async def test_an_opening_that_is_cancelled_when_it_is_done(database: Database) -> None:
    """However far its result has come from the thread to the caller."""
    cancelled = 0
    for steps in range(10):
        async with opened(database.url) as journal, opened(database.url) as other:
            opening = asyncio.create_task(journal.open_run(RUN))
            await asyncio.sleep(0)
            journal._thread.submit(lambda: None).result()  # the thread has taken the run
            for _ in range(steps):
                await asyncio.sleep(0)
            opening.cancel()
            with suppress(asyncio.CancelledError):
                await opening
                await journal.release(RUN)
            cancelled += opening.cancelled()
            await other.open_run(RUN)
    assert 0 < cancelled < 10


async def test_an_opening_that_is_cancelled_while_another_process_writes(tmp_path: Path) -> None:
    """It does not hold the run while it waits for the file, nor take it afterwards."""
    file = tmp_path / "imports.db"
    async with opened(file) as journal, opened(file) as other:
        for one in (journal, other):
            await one.notes("")
        with closing(sqlite3.connect(file, isolation_level=None)) as writer:
            writer.execute("begin immediate")
            opening = asyncio.create_task(journal.open_run(RUN))
            await asyncio.to_thread(threading.Event().wait, 0.05)
            assert not list(tmp_path.glob("*.lock"))
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
        with hearing() as statements:
            await journal.notes("")
            assert not any("mjbulk_2_runs" in statement for statement in statements)
            await other.open_run(RUN)
            assert any("mjbulk_2_runs" in statement for statement in statements)
        with pytest.raises(mjbulk.JournalRefused, match="another process"):
            await journal.open_run(RUN)


@contextmanager
def hearing() -> Iterator[list[str]]:
    """Give the list to which each statement is added when it is executed."""
    statements: list[str] = []

    def hear(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


async def test_an_opening_that_is_cancelled_is_not_logged(database: Database) -> None:
    """Also if it would have been refused: its caller no longer waits for the error."""
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    async with opened(database.url) as journal, opened(database.url) as other:
        await other.open_run(RUN)
        opening = asyncio.create_task(journal.open_run(RUN))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await journal.notes("")
        await asyncio.sleep(0)
    gc.collect()
    assert errors == []
