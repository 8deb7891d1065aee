"""The journal in a database: a SQLite file of its own, or tables in PostgreSQL.

One thread with one connection does all of the work. Records that are put while that thread is busy wait, and are then
written together, in one transaction. So the records of many chunks cost one commit.
"""

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from mjbulk.errors import JournalError, JournalRefused
from mjbulk.events import Emit, Event
from mjbulk.journal.backends import Backend, backend_of
from mjbulk.journal.formats import check_format, ended, old_info, old_layout, old_number_of
from mjbulk.journal.history import History, info_of
from mjbulk.journal.info import RunInfo
from mjbulk.journal.protocol import CLOSING
from mjbulk.journal.records import NoteRecord, Record, RejectionRecord, RunRecord, check_terms, damaged, number_of
from mjbulk.journal.tables import (
    LAYOUT,
    Layout,
    delete_refused,
    delete_run,
    read,
    read_facts,
    read_history,
    read_page,
    write,
)
from mjbulk.tasks import keep

_T = TypeVar("_T")
_PAGE = 1000


class SqlJournal:
    """A `Journal` in a database. Mutable state: what waits to be written, the connection, and the runs that are open.

    After an error in writing, nothing more is written, because it is not known what is on disk. When all runs that were
    open have ended, the journal is opened again.
    """

    def __init__(self, where: str | os.PathLike[str], emit: Emit, *, patience: float = 10.0) -> None:
        """Open nothing yet. ``where`` is a path or a URL, ``patience`` the seconds to wait for a file that another
        process has locked.
        """
        self._backend: Backend = backend_of(where, patience)
        self._emit = emit
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mjbulk journal")
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._waiting: list[Record] = []
        self._next: asyncio.Task[None] | None = None
        self._failure: JournalError | None = None
        self._open: set[int] = set()
        self._only_read: set[int] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._closed = False
        # The thread's own
        self._locked: set[int] = set()
        self._old: Layout | None = None

    async def open_run(self, asked: RunRecord) -> History:
        """Give what is known about a run; if there is none, the run that the caller wants."""
        if asked.run in self._open:
            raise JournalRefused(f"run {asked.run_id!r} is under way in this process")
        self._open.add(asked.run)
        given_up = threading.Event()
        try:
            history, held = await self._in_thread(self._open_run, asked, given_up)
        except BaseException:
            given_up.set()
            self._open.discard(asked.run)
            if not self._closed:  # the thread may have locked the run, or be about to
                asyncio.get_running_loop().run_in_executor(self._thread, self._unlock, asked.run)
            raise
        if not held:
            self._open.discard(asked.run)
            self._only_read.add(history.run.run)
        return history

    async def release(self, run: RunRecord) -> None:
        """Let others open a run."""
        if run.run in self._open:
            ending = asyncio.create_task(self._release(run.run))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)
            await asyncio.shield(ending)

    async def _release(self, run: int) -> None:
        """Release a run, after the records that were put are written. Cancelling the caller does not stop this."""
        if self._next is not None:
            await asyncio.gather(asyncio.shield(self._next), return_exceptions=True)
        self._drop(run)
        self._open.discard(run)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._unlock, run)
        if self._failure is not None and not self._open:
            await loop.run_in_executor(self._thread, self._close)
            self._waiting, self._failure = [], None

    def later(self, *records: Record) -> None:
        """Keep records in memory until the next `put`."""
        self._waiting.extend(records)

    async def put(self, *records: Record) -> None:
        """Write records. They are written even if the caller is cancelled."""
        self._waiting.extend(records)
        if self._next is None:
            self._next = asyncio.create_task(self._commit())
        await asyncio.shield(self._next)

    async def forget_refused(self, run: int, after: int, rows: Sequence[int] = ()) -> None:
        """Forget the rejections of rows that mjbulk refused: of these rows, and of all rows after one."""
        await self._in_thread(self._forget_refused, run, after, rows)

    async def find(self, run_id: str, partition: str, account: str) -> History | None:
        """Give what is known about a run; None if it is not there."""
        number = number_of(account, run_id, partition)
        asked = RunRecord(run=number, run_id=run_id, partition=partition, account=account, spec="", created="")
        return await self._in_thread(self._find, asked)

    async def rejections(self, run: int, chunk: int | None = None) -> AsyncIterator[RejectionRecord]:
        """Give the rejections of a chunk, or of the whole run, a page at a time."""
        which = {"run": run} if chunk is None else {"run": run, "chunk": chunk}
        after: tuple[int, int, int] | None = None
        while True:
            page = await self._in_thread(self._page, which, after)
            for record in page:
                yield record
            if len(page) < _PAGE:
                return
            after = (page[-1].chunk, page[-1].first, page[-1].number)

    async def runs(self, account: str, run_id: str | None = None) -> Sequence[RunInfo]:
        """Give the runs of an account, or the partitions of one run. The oldest comes first."""
        which = {"account": account} if run_id is None else {"account": account, "run_id": run_id}
        return await self._in_thread(self._runs, which)

    async def purge(self, run: RunRecord) -> None:
        """Forget a run."""
        if run.run in self._open:
            raise JournalRefused(f"run {run.run_id!r} is under way")
        self._drop(run.run)
        await self._in_thread(self._purge, run)

    async def notes(self, account: str) -> Mapping[str, str]:
        """Give the texts about an account by their names."""
        return await self._in_thread(self._notes, account)

    async def aclose(self, within: float = CLOSING) -> None:
        """Write the records that wait, and close. It takes ``within`` seconds at most."""
        if self._closed:
            return
        self._closed = True
        await asyncio.wait([keep(self._let_go())], timeout=within)
        self._thread.shutdown(wait=False)

    async def _let_go(self) -> None:
        if self._waiting:
            await asyncio.gather(self.put(), return_exceptions=True)
        self._failure = JournalError("the journal is closed")
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._open.clear()

    # In the loop

    def _drop(self, run: int) -> None:
        """Drop the records of a run that wait to be written."""
        self._waiting = [record for record in self._waiting if _run_of(record) != run]

    async def _commit(self) -> None:
        """Write all records that wait, after the writes before it."""
        async with self._turn:
            records, self._waiting, self._next = self._waiting, [], None
            records = [record for record in records if _run_of(record) not in self._only_read]
            self._emit(Event(name="journal.writing", rows=len(records)))
            try:
                await self._in_thread(self._write, records)
            except Exception as failure:  # noqa: BLE001  # after any error it is not known what is on disk
                self._failure = _writing_failed(failure)
                raise self._failure from None
            self._emit(Event(name="journal.written", rows=len(records)))

    async def _in_thread(self, call: Callable[..., _T], *arguments: Any) -> _T:
        """Call a function in the journal's thread, which first opens the journal if needed. Raises JournalError."""
        if self._failure is not None:
            raise self._failure
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._do, call, arguments)
        work.add_done_callback(_hear)
        try:
            return await asyncio.shield(work)
        except SQLAlchemyError as why:
            raise _error(why) from None
        except sqlite3.Error as why:
            raise _sqlite_error(why) from None
        except UnicodeDecodeError:  # in an error that quotes what it has read
            raise damaged("the file is malformed") from None
        except OSError as why:
            raise JournalError(f"the journal cannot be used: {why.strerror}") from None

    # In the thread

    def _do(self, call: Callable[..., _T], arguments: Sequence[Any]) -> _T:
        if self._connection is None:
            self._connection = self._connect()
        return call(*arguments)

    def _connect(self) -> Connection:
        connection = self._backend.connect()
        try:
            with connection.begin():
                self._backend.check(connection)
                check_format(connection)
                self._old = old_layout(connection)
        except BaseException:
            connection.close()
            connection.engine.dispose()
            raise
        return connection

    def _opened(self) -> Connection:
        if self._connection is None:
            raise JournalError("the journal is closed")
        return self._connection

    def _close(self) -> None:
        for run in tuple(self._locked):
            self._unlock(run)
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.close()
            connection.engine.dispose()

    def _unlock(self, run: int) -> None:
        """Release a run, also after an error in writing."""
        if self._connection is not None and run in self._locked:
            self._locked.discard(run)
            with suppress(SQLAlchemyError, OSError):
                self._backend.unlock(self._connection, run)

    def _write(self, records: Sequence[Record]) -> None:
        connection = self._opened()
        with connection.begin():
            write(connection, self._backend.insert, records)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Give the connection, in a transaction that sees one state of the database."""
        connection = self._opened()
        with connection.begin():
            self._backend.snapshot(connection)
            yield connection

    def _layouts(self) -> Sequence[Layout]:
        """Give the tables of this format, and those of the earlier format if there are any."""
        return (LAYOUT,) if self._old is None else (LAYOUT, self._old)

    def _page(self, which: Mapping[str, Any], after: tuple[int, int, int] | None) -> list[RejectionRecord]:
        with self._reading() as connection:
            pages = (read_page(connection, layout, which, after, _PAGE) for layout in self._layouts())
            return next(filter(None, pages), [])

    def _notes(self, account: str) -> dict[str, str]:
        with self._reading() as connection:
            layouts = reversed(self._layouts())
            notes = [read(connection, layout, NoteRecord, account=account) for layout in layouts]
            return {note.name: note.text for some in notes for note in some}

    def _find(self, asked: RunRecord) -> History | None:
        with self._reading() as connection:
            return read_history(connection, LAYOUT, asked.run) or self._find_old(connection, asked)

    def _find_old(self, connection: Connection, asked: RunRecord) -> History | None:
        """Read a run of the earlier format, in which its number is another one."""
        if self._old is None:
            return None
        history = read_history(connection, self._old, old_number_of(asked.run_id, asked.partition))
        return history if history is not None and history.run.account == asked.account else None

    def _open_run(self, asked: RunRecord, given_up: threading.Event) -> tuple[History, bool]:
        """Give a run, and whether it is locked. A run of the earlier format that has ended is only read."""
        try:
            found, old = self._lock_and_find(asked, given_up)
            stored = None if old is None else ended(old)
            known = found or stored
            if known is not None:
                check_terms(known.run, asked)
        except BaseException:
            self._unlock(asked.run)
            raise
        if stored is not None:
            self._unlock(asked.run)
            return stored, False
        return found or History(run=asked, begun=False), True

    def _lock_and_find(self, asked: RunRecord, given_up: threading.Event) -> tuple[History | None, History | None]:
        """Lock a run, and read it: first from the tables of this format, and else from those of the earlier format."""
        with self._backend.locked(self._opened(), asked.run, given_up) as (connection, locked):
            if not locked:
                raise JournalRefused(f"run {asked.run_id!r} is under way in another process")
            self._locked.add(asked.run)
            history = read_history(connection, LAYOUT, asked.run)
            return history, None if history is not None else self._find_old(connection, asked)

    def _forget_refused(self, run: int, after: int, rows: Sequence[int]) -> None:
        connection = self._opened()
        with connection.begin():
            delete_refused(connection, run, after, rows)

    def _purge(self, run: RunRecord) -> None:
        connection = self._opened()
        if not self._backend.lock(connection, run.run):
            raise JournalRefused(f"run {run.run_id!r} is under way")
        try:
            with connection.begin():
                for layout in self._layouts():
                    delete_run(connection, layout, run.run)
        finally:
            self._backend.unlock(connection, run.run)

    def _runs(self, which: Mapping[str, Any]) -> list[RunInfo]:
        with self._reading() as connection:
            known = [
                (run, facts, layout)
                for layout in self._layouts()
                for run, facts in read_facts(connection, layout, which)
            ]
        taken = self._backend.taken(self._opened(), [run.run for run, *_ in known]) | self._open
        infos = []
        for run, facts, layout in sorted(known, key=lambda one: (one[0].created, one[0].run)):
            info = info_of(run, facts, is_open=run.run in taken)
            infos.append(info if layout is LAYOUT else old_info(info))
        return infos


def _hear(work: asyncio.Future[Any]) -> None:
    """Retrieve an error, also if the caller was cancelled: asyncio would log an error that is never retrieved."""
    if not work.cancelled():
        work.exception()


def _run_of(record: Record) -> int | None:
    return None if isinstance(record, NoteRecord) else record.run


def _writing_failed(failure: Exception) -> JournalError:
    """Give the error for records that could not be written. A JournalRefused would say that nothing was sent."""
    if isinstance(failure, JournalError) and not isinstance(failure, JournalRefused):
        return failure
    why = failure.sentence if isinstance(failure, JournalError) else type(failure).__name__
    return JournalError(f"the journal cannot be used: {why}")


def _error(why: SQLAlchemyError) -> JournalError:
    """Give the error of a database. The sentences of PostgreSQL quote values, so only its code is given."""
    original = why.orig if isinstance(why, DBAPIError) else None
    if isinstance(original, sqlite3.Error):
        return _sqlite_error(original)
    code = getattr(original, "sqlstate", None)
    return JournalError(f"the journal cannot be used: {type(why).__name__}{f', SQLSTATE {code}' if code else ''}")


_OF_THE_SYSTEM = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    )
)
"""The errors of SQLite that come from the system. All others mean that the file is damaged, or not a journal."""


def _sqlite_error(why: sqlite3.Error) -> JournalError:
    """Give the error of SQLite, in its own sentence if that quotes nothing of the file."""
    code = getattr(why, "sqlite_errorcode", 0)
    if code & 0xFF in _OF_THE_SYSTEM and code != sqlite3.SQLITE_IOERR_SHORT_READ:
        return JournalError(f"the journal cannot be used: {why}")
    return damaged("the file is not a database" if code == sqlite3.SQLITE_NOTADB else "the file is malformed")
