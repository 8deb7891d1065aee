"""The journal in a database: a SQLite file of its own, or tables in PostgreSQL.

One thread with one connection does all of the work. Records that are put while that thread is busy wait, and are then
written together, in one transaction. So the records of many chunks cost one commit.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from mjbulk.errors import JournalError, JournalRefused
from mjbulk.events import Emit, Event
from mjbulk.journal.backends import Backend, backend_of
from mjbulk.journal.history import History
from mjbulk.journal.info import RunInfo
from mjbulk.journal.protocol import CLOSING
from mjbulk.journal.records import NoteRecord, Record, RejectionRecord, RunRecord, check_terms, damaged, number_of
from mjbulk.journal.tables import (
    check_format,
    counts_by_run,
    delete_refused,
    delete_run,
    read,
    read_history,
    read_page,
    write,
)

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
        self._closed = False

    async def open_run(self, asked: RunRecord) -> History:
        """Begin a run, or give what is known about it."""
        if asked.run in self._open:
            raise JournalRefused(f"run {asked.run_id!r} is under way in this process")
        self._open.add(asked.run)
        try:
            return await self._in_thread(self._open_run, asked)
        except BaseException:
            self._open.discard(asked.run)
            raise

    async def release(self, run: RunRecord) -> None:
        """Let others open a run."""
        if run.run not in self._open:
            return
        self._open.discard(run.run)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._unlock, run.run)
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

    async def forget_refused(self, run: int, after: int) -> None:
        """Forget the rejections of rows after this one that mjbulk refused."""
        await self._in_thread(self._forget_refused, run, after)

    async def find(self, run_id: str, partition: str, account: str) -> History | None:
        """Give what is known about a run; None if it is not there, or is of another account."""
        history = await self._in_thread(self._load, number_of(run_id, partition))
        return history if history is not None and history.run.account == account else None

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
        await self._in_thread(self._purge, run)

    async def notes(self, account: str) -> Mapping[str, str]:
        """Give the texts about an account by their names."""
        return await self._in_thread(self._notes, account)

    async def aclose(self) -> None:
        """Write the records that wait, and close."""
        if self._closed:
            return
        self._closed = True
        await asyncio.wait([asyncio.create_task(self._let_go())], timeout=CLOSING)
        self._thread.shutdown(wait=False)

    async def _let_go(self) -> None:
        if self._waiting:
            await asyncio.gather(self.put(), return_exceptions=True)
        self._failure = JournalError("the journal is closed")
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._open.clear()

    # In the loop

    async def _commit(self) -> None:
        """Write all records that wait, after the writes before it."""
        async with self._turn:
            records, self._waiting, self._next = self._waiting, [], None
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
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with suppress(SQLAlchemyError):
            for run in self._open:
                self._backend.unlock(connection, run)
            connection.close()
            connection.engine.dispose()

    def _unlock(self, run: int) -> None:
        """Release a run, also after an error in writing."""
        if self._connection is not None:
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

    def _page(self, which: Mapping[str, Any], after: tuple[int, int, int] | None) -> list[RejectionRecord]:
        with self._reading() as connection:
            return read_page(connection, which, after, _PAGE)

    def _notes(self, account: str) -> dict[str, str]:
        with self._reading() as connection:
            return {note.name: note.text for note in read(connection, NoteRecord, account=account)}

    def _load(self, run: int) -> History | None:
        with self._reading() as connection:
            return read_history(connection, run)

    def _open_run(self, asked: RunRecord) -> History:
        connection = self._opened()
        if not self._backend.lock(connection, asked.run):
            raise JournalRefused(f"run {asked.run_id!r} is under way in another process")
        try:
            history = self._load(asked.run)
            if history is None:
                self._write([asked])
                return History(run=asked)
            check_terms(history.run, asked)
        except BaseException:
            self._backend.unlock(connection, asked.run)
            raise
        return history

    def _forget_refused(self, run: int, after: int) -> None:
        connection = self._opened()
        with connection.begin():
            delete_refused(connection, run, after)

    def _purge(self, run: RunRecord) -> None:
        connection = self._opened()
        if run.run in self._open or not self._backend.lock(connection, run.run):
            raise JournalRefused(f"run {run.run_id!r} is under way")
        try:
            with connection.begin():
                delete_run(connection, run.run)
        finally:
            self._backend.unlock(connection, run.run)

    def _runs(self, which: Mapping[str, Any]) -> list[RunInfo]:
        with self._reading() as connection:
            runs = sorted(read(connection, RunRecord, **which), key=lambda run: (run.created, run.run))
            counts = counts_by_run(connection, which)
        return [
            RunInfo(
                **counts(run.run).as_dict(),
                run_id=run.run_id,
                partition=run.partition or None,
                state="settled" if run.settled else "running" if self._is_open(run.run) else "resumable",
                created=run.created,
            )
            for run in runs
        ]

    def _is_open(self, run: int) -> bool:
        """Tell whether somebody has a run open."""
        return run in self._open or self._backend.is_locked(self._opened(), run)


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
