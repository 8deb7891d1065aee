"""The two databases that can hold a journal, and the differences between them.

The thread of the journal calls all of this.
"""

import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout
from sqlalchemy import Connection, create_engine, event, inspect, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import StaticPool

from mjbulk.errors import JournalRefused, UsageError
from mjbulk.journal.records import damaged
from mjbulk.journal.tables import PREFIX, Insert

_LOCK_SECONDS = 0.1
_SERVER_SECONDS = 1.0
_SIDE_FILES = ("", "-wal", "-shm", "-journal")


class Backend(Protocol):
    """What differs between the databases."""

    insert: Insert

    def connect(self) -> Connection: ...
    def check(self, connection: Connection) -> None:
        """Check the database before the tables are made. Nobody else can make them until this transaction ends."""

    def snapshot(self, connection: Connection) -> None:
        """Let a transaction that has just begun see one state of the database."""

    def lock(self, connection: Connection, run: int) -> bool:
        """Lock a run; give False if somebody else has locked it. It is unlocked when the process or connection ends."""

    def locked(
        self, connection: Connection, run: int, given_up: threading.Event
    ) -> AbstractContextManager[tuple[Connection, bool]]:
        """Lock a run, unless the caller has ``given_up``. Give a transaction that sees what others wrote before, and
        whether the run was locked.
        """

    def unlock(self, connection: Connection, run: int) -> None:
        """Unlock a run."""

    def taken(self, connection: Connection, runs: Iterable[int]) -> set[int]:
        """Tell which of some runs somebody has locked."""


class _Sqlite:
    """One file that only its owner can read, and beside it a lock file for each run that is open."""

    insert: Insert = staticmethod(sqlite.insert)

    def __init__(self, path: Path | None, patience: float) -> None:
        """Take the path of the file; None is a database in memory."""
        self._path = path
        self._patience = patience
        self._locks: dict[int, FileLock] = {}

    def connect(self) -> Connection:
        if self._path is not None:
            self._make(self._path)
        url = URL.create("sqlite", database=None if self._path is None else str(self._path))
        more: dict[str, Any] = {"poolclass": StaticPool} if self._path is None else {}
        arguments = {"isolation_level": None, "timeout": self._patience, "check_same_thread": False}
        engine = create_engine(url, connect_args=arguments, hide_parameters=True, **more)
        event.listen(engine, "connect", _pragmas)
        event.listen(engine, "begin", _begin_immediate)
        return engine.connect()

    def _make(self, path: Path) -> None:
        """Make the file if it is not there. It appears under its name when it is whole."""
        if path.exists():
            if not path.is_file():
                raise JournalRefused("the journal is to be a file, and there is something else in its place")
            if path.stat().st_size == 0:
                raise damaged("it is empty")
            return
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(descriptor)
        try:
            made = sqlite3.connect(name)
            made.execute("PRAGMA journal_mode=WAL")
            made.execute("VACUUM")
            made.close()
            with suppress(FileExistsError):  # another process was faster
                path.hardlink_to(name)
        finally:
            Path(name).unlink()

    def check(self, connection: Connection) -> None:
        """Raise JournalRefused for a file that is not a journal, without changing it, and for a damaged one."""
        names = set(inspect(connection).get_table_names())
        if names and not any(name.startswith(PREFIX) for name in names):
            raise JournalRefused("this file is a database of something else, not a journal of mjbulk")
        if connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar() != "ok":  # quick_check skips the indexes
            raise damaged("the file is malformed")
        for name in _SIDE_FILES if self._path is not None else ():
            with suppress(OSError):  # it belongs to somebody else, or is not there
                Path(f"{self._path}{name}").chmod(0o600)

    def snapshot(self, connection: Connection) -> None:
        """Do nothing: ``BEGIN IMMEDIATE`` already gives one consistent state."""

    def lock(self, connection: Connection, run: int) -> bool:  # noqa: ARG002  # the lock is a file
        """Lock a run; give False if somebody else has locked it. The system unlocks it when the process ends."""
        if (lock := self._lock_of(run)) is None:
            return True
        try:
            lock.acquire()
        except Timeout:
            return False
        self._locks[run] = lock
        return True

    @contextmanager
    def locked(self, connection: Connection, run: int, given_up: threading.Event) -> Iterator[tuple[Connection, bool]]:
        """Wait until others have written, then lock a run, unless the caller has given up meanwhile."""
        with connection.begin():
            yield connection, not given_up.is_set() and self.lock(connection, run)

    def unlock(self, connection: Connection, run: int) -> None:  # noqa: ARG002
        """Unlock a run."""
        if (lock := self._locks.pop(run, None)) is not None:
            with suppress(OSError):  # a lock file alone locks nothing
                Path(lock.lock_file).unlink()  # a process that waits for it sees that its name is gone
            lock.release()

    def taken(self, connection: Connection, runs: Iterable[int]) -> set[int]:
        """Tell which of some runs somebody has locked."""
        return {run for run in runs if self._is_locked(connection, run)}

    def _is_locked(self, connection: Connection, run: int) -> bool:
        """Tell whether somebody has locked a run. A lock file may also be left over from a process that was killed."""
        lock = self._lock_of(run)
        if lock is None or not Path(lock.lock_file).exists():
            return False
        free = self.lock(connection, run)
        if free:
            self.unlock(connection, run)
        return not free

    def _lock_of(self, run: int) -> FileLock | None:
        if self._path is None:
            return None
        return FileLock(f"{self._path}-{run:016x}.lock", mode=0o600, timeout=_LOCK_SECONDS, thread_local=False)


def _pragmas(connection: Any, _record: object) -> None:
    for pragma in ("synchronous=FULL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


class _Postgres:
    """Tables named mjbulk_*, and for each run that is open an advisory lock of the connection."""

    insert: Insert = staticmethod(postgresql.insert)

    def __init__(self, url: URL) -> None:
        self._url = url

    def connect(self) -> Connection:
        return create_engine(self._url, hide_parameters=True).connect()

    def check(self, connection: Connection) -> None:
        """Keep others from making the tables at the same time. The files of a server cannot be checked."""
        connection.execute(text("select pg_advisory_xact_lock(:number)"), {"number": _MAKING})

    def snapshot(self, connection: Connection) -> None:
        """Set the isolation level. By default, each statement sees what others have written meanwhile."""
        connection.execute(text("set transaction isolation level repeatable read read only"))

    def lock(self, connection: Connection, run: int) -> bool:
        """Lock a run; give False if somebody else has locked it.

        The server unlocks it when the connection ends. If a process is killed and started again at once, the server may
        notice the end of the old connection a moment later, so this waits for a second.
        """
        last = time.monotonic() + _SERVER_SECONDS
        while not self._ask(connection, "select pg_try_advisory_lock(:run)", run=run):
            if time.monotonic() > last:
                return False
            time.sleep(_LOCK_SECONDS)
        return True

    @contextmanager
    def locked(self, connection: Connection, run: int, given_up: threading.Event) -> Iterator[tuple[Connection, bool]]:
        """Lock a run before the transaction begins, which then sees all that its last holder wrote."""
        locked = not given_up.is_set() and self.lock(connection, run)
        with connection.begin():
            self.snapshot(connection)
            yield connection, locked

    def unlock(self, connection: Connection, run: int) -> None:
        """Unlock a run."""
        self._ask(connection, "select pg_advisory_unlock(:run)", run=run)

    def taken(self, connection: Connection, runs: Iterable[int]) -> set[int]:
        """Tell which of some runs somebody has locked, without locking them: another process may be about to do so."""
        with connection.begin():
            locks = connection.execute(text(_LOCKS)).all()
        return {high << 32 | low for high, low in locks} & set(runs)

    def _ask(self, connection: Connection, statement: str, **values: int) -> Any:
        with connection.begin():
            return connection.execute(text(statement), values).scalar()


_MAKING = 0x6D6A62756C6B
"""The advisory lock for making the tables: "mjbulk" in ASCII."""
_LOCKS = """
    select classid::bigint, objid::bigint from pg_locks
    where locktype = 'advisory' and granted and objsubid = 1
    and database = (select oid from pg_database where datname = current_database())
"""
"""The advisory locks of a database, each in two halves of its number."""


def backend_of(where: str | os.PathLike[str], patience: float) -> Backend:
    """Choose the database of a path or a URL. Raises UsageError for any other database."""
    if not isinstance(where, str) or "://" not in where:
        return _Sqlite(Path(where).resolve(), patience)
    try:
        url = make_url(where)
    except ArgumentError:
        raise UsageError("journal= is a path, or the URL of a SQLite or PostgreSQL database") from None
    if url.get_backend_name() == "sqlite":
        return _Sqlite(Path(url.database).resolve() if url.database not in (None, "", ":memory:") else None, patience)
    if url.get_backend_name() == "postgresql":
        return _Postgres(_with_driver(url))
    raise UsageError("journal= is a path, or the URL of a SQLite or PostgreSQL database")


def _with_driver(url: URL) -> URL:
    """Give a URL whose driver can be used. Raises UsageError if its driver is missing, or is made for coroutines."""
    try:
        driver = url.get_dialect()
        driver.import_dbapi()
    except (ImportError, ArgumentError) as missing:
        name = getattr(missing, "name", None) or url.drivername
        raise UsageError(f"this journal needs {name}: pip install 'mjbulk[postgres]'") from None
    if driver.is_async:
        raise UsageError(f"{url.drivername} is for coroutines: say postgresql+psycopg://")
    return url
