"""The journal in a database: a SQLite file of its own, or tables in PostgreSQL.

All of it is done by one thread with one connection. What is put while that thread is at work waits, and is then written
together, in one transaction: so many chunks cost one commit.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import UnionType
from typing import Any, TypeVar, get_args

import attrs
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    MetaData,
    Table,
    Text,
    delete,
    func,
    inspect,
    select,
    tuple_,
)
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from mjbulk._backends import TABLES, Backend, backend_of
from mjbulk._events import Emit, Event
from mjbulk._runinfo import SUMS, RunInfo, books
from mjbulk.errors import JournalError, JournalRefused
from mjbulk.journal import (
    FORMAT,
    RECORDS,
    ChunkRecord,
    History,
    NoteRecord,
    PartRecord,
    Record,
    RejectionRecord,
    RunRecord,
    check_sum,
    check_terms,
    damaged,
    number_of,
)

_T = TypeVar("_T")
_PAGE = 1000
_LOCK_SECONDS = 0.1
_SIDE_FILES = ("", "-wal", "-shm", "-journal")

# The schema: a table for each kind of record, made of its fields

_METADATA = MetaData()
_FORMAT = Table(f"{TABLES}format", _METADATA, Column("version", BigInteger, primary_key=True, autoincrement=False))


def _type_of(hint: Any) -> type[Text | BigInteger | Boolean]:
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return Boolean if bool in kinds else BigInteger if int in kinds else Text


def _table(cls: type[Any]) -> Table:
    columns: list[Column[Any]] = [
        Column(f.name, _type_of(f.type), primary_key=place < cls.KEYS, autoincrement=False)
        for place, f in enumerate(attrs.fields(cls))
    ]
    name = cls.__name__.removesuffix("Record").casefold()
    return Table(f"{TABLES}{name}s", _METADATA, *columns, Column("sum", Text, nullable=False))


_TABLES = {cls: _table(cls) for cls in RECORDS}
_RUNS, _CHUNKS, _PARTS, _REJECTIONS = (_TABLES[cls] for cls in (RunRecord, ChunkRecord, PartRecord, RejectionRecord))


def _values(record: Record) -> dict[str, Any]:
    values = attrs.asdict(record, recurse=False)
    return {**values, "sum": check_sum(list(values.values()))}


def _read(cls: type[_T], row: Sequence[Any]) -> _T:
    """Make a record of a row. Raises JournalRefused where it is not what was written."""
    *values, found = row
    if check_sum(values) != found:
        raise damaged("a record is not what was written")
    return cls(**dict(zip((f.name for f in attrs.fields(cls)), values, strict=True)))  # type: ignore[arg-type]  # attrs


# The journal


class SqlJournal:
    """A `Journal` in a database. Mutable state: what waits to be written, the connection, and the runs that are open.

    After an error in writing nothing more is written: nobody could say what is on disk.
    """

    def __init__(self, where: str | os.PathLike[str], emit: Emit, *, patience: float = 10.0) -> None:
        """``where`` is a path or a URL; ``patience`` the seconds to wait for a file that another process has locked.

        Nothing is opened yet.
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
        insert = self._backend.insert
        self._upserts = {cls: _upsert(insert, table, cls.KEYS) for cls, table in _TABLES.items()}

    async def open_run(self, asked: RunRecord) -> History:
        """Begin a run, or find it as it stands."""
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
        if run.run in self._open:
            self._open.discard(run.run)
            await asyncio.get_running_loop().run_in_executor(self._thread, self._unlock, run.run)

    def later(self, *records: Record) -> None:
        """Have records written with what is put next."""
        self._waiting.extend(records)

    async def put(self, *records: Record) -> None:
        """Write records. Whoever is cancelled has written them all the same."""
        self._waiting.extend(records)
        if self._next is None:
            self._next = asyncio.create_task(self._commit())
        await asyncio.shield(self._next)

    async def find(self, run_id: str, partition: str, account: str) -> History | None:
        """Give a run as it stands."""
        history = await self._in_thread(self._load, number_of(run_id, partition))
        return history if history is not None and history.run.account == account else None

    async def rejections(self, run: int, chunk: int | None = None) -> AsyncIterator[RejectionRecord]:
        """Give the rejections of one chunk, or of the whole run, some at a time."""
        which = {"run": run} if chunk is None else {"run": run, "chunk": chunk}
        after: tuple[int, int, int] | None = None
        while True:
            page = await self._in_thread(self._select, RejectionRecord, which, after)
            for record in page:
                yield record
            if len(page) < _PAGE:
                return
            after = (page[-1].chunk, page[-1].first, page[-1].number)

    async def runs(self, account: str, run_id: str | None = None) -> Sequence[RunInfo]:
        """Give the runs of an account, the oldest first; or the partitions of one."""
        which = {"account": account} if run_id is None else {"account": account, "run_id": run_id}
        return await self._in_thread(self._runs, which)

    async def purge(self, run: RunRecord) -> None:
        """Forget a run."""
        await self._in_thread(self._purge, run)

    async def notes(self, account: str) -> Mapping[str, str]:
        """Give what was learned of an account."""
        found = await self._in_thread(self._select, NoteRecord, {"account": account})
        return {note.name: note.text for note in found}

    async def aclose(self) -> None:
        """Write what waits, and let go of everything."""
        if self._next is not None:
            await asyncio.gather(self._next, return_exceptions=True)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    # In the loop

    async def _commit(self) -> None:
        """Write all that waits, when it is its turn."""
        async with self._turn:
            records, self._waiting, self._next = self._waiting, [], None
            self._emit(Event(name="journal.writing", rows=len(records)))
            try:
                await self._in_thread(self._write, records)
            except JournalError as failure:
                self._failure = failure
                raise
            self._emit(Event(name="journal.written", rows=len(records)))

    async def _in_thread(self, call: Callable[..., _T], *arguments: Any) -> _T:
        """Call a function in the journal's thread, after it has been opened there. Raises JournalError."""
        if self._failure is not None:
            raise self._failure
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._do, call, arguments)
        try:
            return await asyncio.shield(work)
        except SQLAlchemyError as why:
            raise _error(why) from None
        except sqlite3.Error as why:
            raise JournalError(f"the journal cannot be used: {why}") from None
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
                _check_format(connection)
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
        """Let go of a run, also after an error in writing."""
        if self._connection is not None:
            with suppress(SQLAlchemyError, OSError):
                self._backend.unlock(self._connection, run)

    def _write(self, records: Sequence[Record]) -> None:
        by_kind: dict[type[Any], list[dict[str, Any]]] = {}
        for record in records:
            by_kind.setdefault(type(record), []).append(_values(record))
        connection = self._opened()
        with connection.begin():
            for cls, values in by_kind.items():
                connection.execute(self._upserts[cls], values)

    def _select(self, cls: type[_T], which: Mapping[str, Any], after: tuple[int, int, int] | None = None) -> list[_T]:
        """Read records in the order of their keys; of rejections a page after one."""
        table = _TABLES[cls]
        wanted = select(table).filter_by(**which).order_by(*table.primary_key.columns)
        if cls is RejectionRecord:
            wanted = wanted.limit(_PAGE)
            if after is not None:
                wanted = wanted.where(tuple_(table.c.chunk, table.c.first, table.c.number) > after)
        connection = self._opened()
        with connection.begin():
            return [_read(cls, row) for row in connection.execute(wanted)]

    def _load(self, run: int) -> History | None:
        runs = self._select(RunRecord, {"run": run})
        if not runs:
            return None
        chunks, parts = self._select(ChunkRecord, {"run": run}), self._select(PartRecord, {"run": run})
        wanted = select(func.count()).select_from(_REJECTIONS).filter_by(run=run, chunk=0)
        connection = self._opened()
        with connection.begin():
            refused = connection.execute(wanted).scalar_one()
        return History.of(runs[0], chunks, parts, refused)

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

    def _purge(self, run: RunRecord) -> None:
        connection = self._opened()
        if run.run in self._open or not self._backend.lock(connection, run.run):
            raise JournalRefused(f"run {run.run_id!r} is under way")
        try:
            with connection.begin():
                for table in (_RUNS, _CHUNKS, _PARTS, _REJECTIONS):
                    connection.execute(delete(table).filter_by(run=run.run))
        finally:
            self._backend.unlock(connection, run.run)

    def _runs(self, which: Mapping[str, Any]) -> list[RunInfo]:
        connection = self._opened()
        runs = sorted(self._select(RunRecord, which), key=lambda run: (run.created, run.run))
        sums = [func.sum(_PARTS.c[name]) for name in SUMS]
        with connection.begin():
            rows = dict(_pairs(connection, select(_CHUNKS.c.run, func.sum(_CHUNKS.c.rows)).group_by(_CHUNKS.c.run)))
            here = select(_REJECTIONS.c.run, func.count()).filter_by(chunk=0).group_by(_REJECTIONS.c.run)
            refused = dict(_pairs(connection, here))
            parts: dict[int, list[Any]] = {}
            for run, *figures in connection.execute(
                select(_PARTS.c.run, _PARTS.c.state, *sums).group_by(_PARTS.c.run, _PARTS.c.state)
            ):
                parts.setdefault(run, []).append((figures[0], *map(int, figures[1:])))
        return [
            RunInfo(
                **books(int(rows.get(run.run, 0)), refused.get(run.run, 0), parts.get(run.run, ())).as_dict(),
                run_id=run.run_id,
                partition=run.partition or None,
                state="settled" if run.settled else "running" if self._is_open(run.run) else "resumable",
                created=run.created,
            )
            for run in runs
        ]

    def _is_open(self, run: int) -> bool:
        """Whether somebody has a run open."""
        if run in self._open:
            return True
        connection = self._opened()
        free = self._backend.lock(connection, run)
        if free:
            self._backend.unlock(connection, run)
        return not free


def _pairs(connection: Connection, wanted: Any) -> list[tuple[int, int]]:
    return [(first, second) for first, second in connection.execute(wanted)]


def _upsert(insert: Callable[[Table], Any], table: Table, keys: int) -> Any:
    names = [column.name for column in table.columns]
    statement = insert(table)
    new = {name: statement.excluded[name] for name in names[keys:]}
    return statement.on_conflict_do_update(index_elements=names[:keys], set_=new)


def _check_format(connection: Connection) -> None:
    """Make the tables where there are none. Raises JournalRefused where they are those of another version."""
    names = set(inspect(connection).get_table_names())
    wanted = set(_METADATA.tables)
    if not names & wanted:
        _METADATA.create_all(connection)
        connection.execute(_FORMAT.insert(), {"version": FORMAT})
        return
    version = connection.execute(select(_FORMAT.c.version)).scalar() if _FORMAT.name in names else None
    if version is None or wanted - names:
        raise damaged("tables are missing")
    if version != FORMAT:
        raise JournalRefused(
            f"the journal is of another version of mjbulk (format {version}, this one writes {FORMAT})"
        )


def _error(why: SQLAlchemyError) -> JournalError:
    """Say what went wrong: SQLite's own sentence, which quotes no value; of PostgreSQL its code alone."""
    original = why.orig if isinstance(why, DBAPIError) else None
    if isinstance(original, sqlite3.DatabaseError):
        said = str(original)
        if "malformed" in said or "not a database" in said:
            return damaged(said)
        return JournalError(f"the journal cannot be used: {said}")
    code = getattr(original, "sqlstate", None)
    return JournalError(f"the journal cannot be used: {type(why).__name__}{f', SQLSTATE {code}' if code else ''}")
