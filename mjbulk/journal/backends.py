"""What a journal needs of a database, and which database a path or a URL means.

The thread of the journal calls all of this.
"""

import os
import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen
from sqlalchemy import ColumnElement, Connection
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from mjbulk.errors import UsageError
from mjbulk.journal.sqlite import Sqlite
from mjbulk.journal.tables import Insert


@frozen(kw_only=True)
class Patience:
    """How many seconds a journal waits."""

    locked: float = 10.0
    """For what another process has locked: a file of SQLite, or a record in a table."""
    connecting: float = 10.0
    """For a connection to a server."""
    silent: float = 25.0
    """For a byte of an answer."""
    again: float = 60.0
    """For a server to come back that has ended the session, if runs are open."""
    free: float = 30.0
    """For these runs to be free then: the server may not yet have noticed the end of the session before."""


class Backend(Protocol):
    """What differs between the databases."""

    insert: Insert
    session: ColumnElement[Any]
    """Names the session in which it is read."""

    def connect(self) -> Connection:
        """Connect. If the session is lost, the connection never opens another one by itself."""

    def check(self, connection: Connection) -> None:
        """Check the database before the tables are made. Nobody else can make them until this transaction ends."""

    def snapshot(self, connection: Connection) -> None:
        """Let a transaction that has just begun see one state of the database."""

    def lock(self, connection: Connection, run: int) -> bool:
        """Lock a run; give False if somebody else has locked it. It is unlocked when the process or session ends."""

    def locked(self, connection: Connection, run: int, given_up: threading.Event) -> AbstractContextManager[bool]:
        """Lock a run, unless the caller has ``given_up``, and begin a transaction. Give whether the run was locked."""

    def unlock(self, connection: Connection, run: int) -> None:
        """Unlock a run."""

    def taken(self, connection: Connection, runs: Iterable[int]) -> set[int]:
        """Tell which of some runs somebody has locked."""


_WHAT_IT_IS = (
    "journal= is a path, or the URL of a SQLite or PostgreSQL database, as in postgresql://USER:PASSWORD@HOST/DATABASE"
)
_NO_FILE = (
    "journal= is the URL of a SQLite database with a host in it: the path of a file comes after three slashes, as in "
    "sqlite:///imports.db"
)
_POSTGRES = ("postgres", "postgresql", "postgresql+psycopg")


def backend_of(where: str | os.PathLike[str], patience: Patience) -> Backend:
    """Choose the database of a path or a URL. Raises UsageError for any other database."""
    if not isinstance(where, str) or "://" not in where:
        return Sqlite(Path(where).resolve(), patience.locked)
    url = _parsed(where)
    if url is None:
        raise UsageError(f"the URL of the journal cannot be read: {_WHAT_IT_IS}")
    if url.drivername in _POSTGRES:
        return _postgres(url, patience)
    if url.get_backend_name() == "sqlite":
        if any((url.host, url.port, url.username, url.password)):
            raise UsageError(_NO_FILE)  # of sqlite://imports.db nothing would be left but a database in memory
        path = Path(url.database).resolve() if url.database not in (None, "", ":memory:") else None
        return Sqlite(path, patience.locked)
    raise UsageError(_WHAT_IT_IS)


def without_secrets(where: str) -> str:
    """Name a journal: its path, or its URL without the password and the query, which may have one in it."""
    if "://" not in where:
        return where
    url = _parsed(where)
    shown = url and URL.create(url.drivername, url.username, None, url.host, url.port, url.database)
    return str(shown or "URL")


def _parsed(where: str) -> URL | None:
    """Parse a URL. Give None instead of an error, which would quote it, and the password in it."""
    try:
        return make_url(where)
    except (ArgumentError, ValueError):
        return None


def _postgres(url: URL, patience: Patience) -> Backend:
    """Give the database of a server. Raises UsageError if the driver is missing."""
    try:
        from mjbulk.journal.postgres import Postgres  # noqa: PLC0415  # it needs an extra that may not be installed
    except ImportError:
        raise UsageError("this journal needs psycopg: pip install 'mjbulk[postgres]'") from None
    return Postgres(
        url.set(drivername="postgresql+psycopg"),
        locked=patience.locked,
        connecting=patience.connecting,
        silent=patience.silent,
    )
