"""A journal in a file of SQLite, which only its owner can read. Beside it is a lock file for each run that is open."""

import glob
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import ColumnElement, Connection, create_engine, event, inspect, literal
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.pool import StaticPool

from mjbulk.errors import JournalRefused
from mjbulk.journal.records import damaged
from mjbulk.journal.tables import PREFIX, Insert

_LOCK_SECONDS = 0.1
_SIDE_FILES = ("", "-wal", "-shm", "-journal")


class Sqlite:
    """One file. Mutable state: the locks of runs that are open."""

    insert: Insert = staticmethod(sqlite.insert)
    session: ColumnElement[Any] = literal(0)

    def __init__(self, path: Path | None, patience: float) -> None:
        """Take the path of the file; None is a database in memory. ``patience`` is in seconds."""
        self._path = path
        self._patience = patience
        self._locks: dict[int, FileLock] = {}

    def connect(self) -> Connection:
        """Open the file, and make it if it is not there. Raises JournalRefused for anything but a file of one name."""
        if self._path is not None:
            self._make(self._path)
            _check_names(self._path)
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
        descriptor, name = tempfile.mkstemp(prefix=_prefix(path), dir=path.parent)
        os.close(descriptor)
        try:
            made = sqlite3.connect(name)
            made.execute("PRAGMA journal_mode=WAL")
            made.execute("VACUUM")
            made.close()
            with suppress(FileExistsError):  # another process was faster
                path.hardlink_to(name)
        finally:
            Path(name).unlink(missing_ok=True)

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
    def locked(self, connection: Connection, run: int, given_up: threading.Event) -> Iterator[bool]:
        """Wait until others have written, then lock a run, unless the caller has given up meanwhile.

        Nobody else can write in the transaction, so a run that somebody has is found out before it.
        """
        if self._is_locked(connection, run):
            yield False
            return
        with connection.begin():
            yield not given_up.is_set() and self.lock(connection, run)

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


def _prefix(path: Path) -> str:
    """Give how the names begin under which a file is made."""
    return f".{path.name}."


def _check_names(path: Path) -> None:
    """Raise JournalRefused for a file with several names. SQLite keeps another log beside each of them, and mjbulk
    other locks.
    """
    if path.stat().st_nlink <= 1:
        return
    for name in path.parent.glob(f"{glob.escape(_prefix(path))}*"):
        with suppress(OSError):  # the process that makes the file removes it, unless it was killed before
            if name.samefile(path):
                name.unlink()
    if path.stat().st_nlink > 1:
        raise JournalRefused("the journal is a file with several names (hard links): remove all but one of them")


def _pragmas(connection: Any, _record: object) -> None:
    for pragma in ("synchronous=FULL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
