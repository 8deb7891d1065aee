"""The two databases that a journal may lie in, and what differs between them.

All of it is called in the journal's own thread.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout
from sqlalchemy import Connection, create_engine, event, inspect, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import StaticPool

from mjbulk.errors import JournalRefused, UsageError
from mjbulk.journal import damaged

TABLES = "mjbulk_"
"""How the names of all tables begin."""
_LOCK_SECONDS = 0.1
_SIDE_FILES = ("", "-wal", "-shm", "-journal")


class Backend(Protocol):
    """What differs between them. All of it is called in the journal's own thread."""

    insert: Callable[..., Any]

    def connect(self) -> Connection: ...
    def check(self, connection: Connection) -> None: ...
    def lock(self, connection: Connection, run: int) -> bool: ...
    def unlock(self, connection: Connection, run: int) -> None: ...


class _Sqlite:
    """One file, readable for its owner alone, and beside it a lock file for each run that is open."""

    insert: Callable[..., Any] = staticmethod(sqlite.insert)

    def __init__(self, path: Path | None, patience: float) -> None:
        """None is a database in memory."""
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
        """Make the file, if it is not there: whole under its name, or not at all."""
        if path.exists():
            if path.stat().st_size == 0:
                raise damaged("it is empty")
            for name in _SIDE_FILES:
                with suppress(OSError):  # of somebody else, or not there
                    path.with_name(path.name + name).chmod(0o600)
            return
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        try:
            made = sqlite3.connect(partial)
            made.execute("PRAGMA journal_mode=WAL")
            made.execute("VACUUM")
            made.close()
            with suppress(FileExistsError):  # another process was faster
                path.hardlink_to(partial)
        finally:
            partial.unlink()

    def check(self, connection: Connection) -> None:
        """Raise JournalRefused for a file that is damaged, or not a journal."""
        if connection.exec_driver_sql("PRAGMA quick_check(1)").scalar() != "ok":
            raise damaged("the file is malformed")
        names = set(inspect(connection).get_table_names())
        if names and not any(name.startswith(TABLES) for name in names):
            raise JournalRefused("this file is a database of something else, not a journal of mjbulk")

    def lock(self, connection: Connection, run: int) -> bool:  # noqa: ARG002  # the file system knows who has it
        """Take a run; False where somebody has it. The system lets go of it when the process ends."""
        if self._path is None:
            return True
        lock = FileLock(f"{self._path}-{run:016x}.lock", mode=0o600, timeout=_LOCK_SECONDS, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            return False
        self._locks[run] = lock
        return True

    def unlock(self, connection: Connection, run: int) -> None:  # noqa: ARG002
        """Let go of a run."""
        if (lock := self._locks.pop(run, None)) is not None:
            Path(lock.lock_file).unlink(missing_ok=True)  # whoever waits for it sees that it has no name any more
            lock.release()


def _pragmas(connection: Any, _record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


class _Postgres:
    """Tables named mjbulk_*; a run that is open is held by an advisory lock of the connection."""

    insert: Callable[..., Any] = staticmethod(postgresql.insert)

    def __init__(self, url: URL) -> None:
        self._url = url

    def connect(self) -> Connection:
        return create_engine(self._url, hide_parameters=True).connect()

    def check(self, connection: Connection) -> None:
        """Nothing can be said of a server's files from here."""

    def lock(self, connection: Connection, run: int) -> bool:
        """Take a run; False where somebody has it. The server lets go of it when the connection ends."""
        return bool(connection.execute(text("select pg_try_advisory_lock(:run)"), {"run": run}).scalar())

    def unlock(self, connection: Connection, run: int) -> None:
        """Let go of a run."""
        connection.execute(text("select pg_advisory_unlock(:run)"), {"run": run})


def backend_of(where: str | os.PathLike[str], patience: float) -> Backend:
    """Choose by a path or a URL. Raises UsageError for any other database."""
    if not isinstance(where, str) or "://" not in where:
        return _Sqlite(Path(where).absolute(), patience)
    try:
        url = make_url(where)
    except ArgumentError:
        raise UsageError("journal= is a path, or the URL of a SQLite or PostgreSQL database") from None
    if url.get_backend_name() == "sqlite":
        return _Sqlite(Path(url.database).absolute() if url.database not in (None, "", ":memory:") else None, patience)
    if url.get_backend_name() == "postgresql":
        return _Postgres(url)
    raise UsageError("journal= is a path, or the URL of a SQLite or PostgreSQL database")
