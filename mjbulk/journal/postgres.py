"""A journal in PostgreSQL: tables named mjbulk_*, and for each run that is open an advisory lock of the session.

Such a lock belongs to the session, and so one connection has to be one session from its beginning to its end. A pooler
that gives each transaction another session (pgbouncer with ``pool_mode = transaction``) is found and refused.

Nothing here waits forever for a server that is silent: to connect, and to wait for a byte of an answer, has a limit.
"""

import threading
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import psycopg
from sqlalchemy import ColumnElement, Connection, create_engine, func, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from mjbulk.errors import JournalRefused
from mjbulk.journal.failures import POOLER
from mjbulk.journal.tables import Insert

_T = TypeVar("_T")
_LOCK_SECONDS = 0.1
_SERVER_SECONDS = 1.0
_LOOK_SECONDS = 1.0
_LOOKS = 5
"""How often, and how long at most, to look what stands between this process and the server. Others may use it, too."""
_ON_THE_WAY = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
"""When a connection counts as broken on which nothing arrives: in seconds, the last in milliseconds."""
_AT_THE_SERVER = {
    "default_transaction_isolation": "read committed",  # who waits for a lock sees what was written meanwhile
    "idle_session_timeout": "0",  # the session holds runs, also if nothing is written for hours
    "idle_in_transaction_session_timeout": "60s",  # it holds records that others wait for
    "tcp_keepalives_idle": "10s",  # if this machine dies, its runs are free after half a minute
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20s",
}
"""Settings of the session. An older server does not have all of them."""


class _Session(psycopg.Connection[Any]):
    """A connection that is closed if the server says nothing for too long. Mutable state: how long that is."""

    silent = 25.0
    """Seconds."""

    def wait(self, gen: Generator[Any, Any, _T], *args: Any, **named: Any) -> _T:
        """Wait as psycopg does for each answer, which passes its generator the bytes that come, and looks for others
        ten times a second.
        """
        return super().wait(self._until_silent(gen), *args, **named)

    def _until_silent(self, gen: Generator[Any, Any, _T]) -> Generator[Any, Any, _T]:
        heard = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                now = time.monotonic()
                if ready:
                    heard = now
                elif now - heard > self.silent:
                    self.pgconn.finish()
                    raise psycopg.errors.ConnectionTimeout("the server is silent")
                wanted = gen.send(ready)
        except StopIteration as end:
            answer: _T = end.value
            return answer


class Postgres:
    """A database of a server."""

    insert: Insert = staticmethod(postgresql.insert)
    session: ColumnElement[Any] = func.pg_backend_pid()

    def __init__(self, url: URL, *, locked: float, connecting: float, silent: float) -> None:
        """Take the URL, and in seconds how long to wait: for a record that another session has ``locked``, for a
        connection, and for a byte of an answer. A statement may take most of the last.
        """
        self._url = url
        self._connecting = connecting
        self._silent = silent
        limits = {"lock_timeout": min(locked, silent / 2), "statement_timeout": silent * 0.8}
        self._settings = _AT_THE_SERVER | {name: f"{seconds * 1000:.0f}ms" for name, seconds in limits.items()}

    def connect(self) -> Connection:
        """Open a session, which is the only one of its connection. Raises JournalRefused if it leads to a pooler that
        shares sessions.
        """
        engine = create_engine(
            self._url, creator=partial(_once, iter([self._open])), poolclass=NullPool, hide_parameters=True
        )
        return engine.connect()

    def _open(self) -> _Session:
        session = self._dial(self._silent)
        try:
            self._prepare(session)
        except BaseException:
            session.close()
            raise
        return session

    def _prepare(self, session: _Session) -> None:
        if self._is_shared(session):
            raise JournalRefused(POOLER)
        for name, value in self._settings.items():
            session.execute(_SET, {"name": name, "value": value}, prepare=False)
        session.execute(_DURABLE, prepare=False)
        session.commit()

    def _dial(self, silent: float) -> _Session:
        arguments, named = self._url.get_dialect()().create_connect_args(self._url)
        limits = {"connect_timeout": max(round(self._connecting), 1), **_ON_THE_WAY}
        session = _Session.connect(*arguments, **{**limits, **named})
        session.silent = silent
        return session

    def _is_shared(self, session: _Session) -> bool:
        """Tell whether transactions of one connection are in several sessions, or those of several in one.

        A pooler shows by the number of the session: its own differs from that of the server. One that gives a
        connection a session for good is harmless.
        """
        number = _number(session)
        if number == session.info.backend_pid:
            return False
        try:
            with self._dial(_LOOK_SECONDS) as other:
                orders = ((other, session), (session, other)) * _LOOKS
                return any(_are_mixed(session, number, *order) for order in orders)
        except psycopg.errors.ConnectionTimeout:  # the pooler has no second session, and keeps the first for this one
            return _number(session) != number

    def check(self, connection: Connection) -> None:
        """Keep others from making the tables at the same time. The files of a server cannot be checked."""
        connection.execute(text("select pg_advisory_xact_lock(:number)"), {"number": _MAKING})

    def snapshot(self, connection: Connection) -> None:
        """Set the isolation level. By default, each statement sees what others have written meanwhile."""
        connection.execute(text("set transaction isolation level repeatable read read only"))

    def lock(self, connection: Connection, run: int) -> bool:
        """Lock a run; give False if somebody else has locked it.

        The server unlocks it when the session ends. If a process is killed and started again at once, the server may
        notice the end of the old session a moment later, so this waits for a second.
        """
        last = time.monotonic() + _SERVER_SECONDS
        while not self._ask(connection, "select pg_try_advisory_lock(:run)", run=run):
            if time.monotonic() > last:
                return False
            time.sleep(_LOCK_SECONDS)
        return True

    @contextmanager
    def locked(self, connection: Connection, run: int, given_up: threading.Event) -> Iterator[bool]:
        """Lock a run before the transaction begins, which then sees all that its last holder wrote."""
        locked = not given_up.is_set() and self.lock(connection, run)
        with connection.begin():
            yield locked

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


def _once(sessions: "Iterator[Any]") -> _Session:
    """Open the one session of an engine. SQLAlchemy would silently open another one, which holds no run."""
    for make in sessions:
        session: _Session = make()
        return session
    raise psycopg.OperationalError("the session has ended")


def _are_mixed(one: _Session, number: int, *both: _Session) -> bool:
    """Tell whether one of two connections is in another session than it was, or the other one is in that.

    A pooler gives the session that came back last. So each of the two is let in first, and begins a transaction.
    """
    with both[0].transaction():
        return any((_number(each) == number) != (each is one) for each in both)


def _number(session: _Session) -> int:
    """Ask the server for the number of a session, in a transaction of its own if none is open."""
    with session.transaction():
        number: int = session.execute("select pg_backend_pid()", prepare=False).fetchone()[0]  # type: ignore[index]
        return number


_SET = "select set_config(name, %(value)s, false) from pg_settings where name = %(name)s"
_DURABLE = "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'"
"""For a server that is told to forget its last commits if it crashes: what was sent is to stay known."""
_MAKING = 0x6D6A62756C6B
"""The advisory lock for making the tables: "mjbulk" in ASCII."""
_LOCKS = """
    select classid::bigint, objid::bigint from pg_locks
    where locktype = 'advisory' and granted and objsubid = 1
    and database = (select oid from pg_database where datname = current_database())
"""
"""The advisory locks of a database, each in two halves of its number."""
