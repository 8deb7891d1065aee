"""The work of a journal's thread: one session of a database, and the runs that this process holds in it.

A run that is open is locked in the database, and its record has a number that was drawn when it was opened. Each
transaction that writes looks at that number first. If another process has opened the run since, nothing is written: so
at most one process writes a run, also if the lock was lost, or if a file system or a pooler gave it to two.

If the server ends the session, another one is opened, and the runs are locked again. The work is done once more then.
It may have been done before: to do it twice has the effect of once.
"""

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from attrs import define, evolve
from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from mjbulk.errors import JournalError, JournalRefused
from mjbulk.journal.backends import Backend, Patience
from mjbulk.journal.failures import POOLER, session_was_lost
from mjbulk.journal.formats import check_format, ended, old_info, old_layout, old_number_of
from mjbulk.journal.history import History, info_of
from mjbulk.journal.info import RunInfo
from mjbulk.journal.protocol import UNDER_WAY
from mjbulk.journal.records import NoteRecord, Record, RejectionRecord, RunRecord, check_terms, run_of
from mjbulk.journal.tables import (
    LAYOUT,
    Layout,
    add_run,
    delete_refused,
    delete_run,
    read,
    read_facts,
    read_fences,
    read_history,
    read_page,
    write,
)

_T = TypeVar("_T")
_PAUSE = 0.2
"""Seconds between two attempts to open a session."""
_FENCE_BITS = 62
_TAKEN = "another process has run {} now"
_LOCKED = "another session of the journal's server has run {} now"
_GONE = "run {} is no longer in the journal"


@define
class _Hold:
    """A run that is open here. Mutable state: whether the journal has a record of it, and why it was lost."""

    run_id: str
    fence: int
    written: bool
    lost: str = ""

    def lose(self, why: str) -> None:
        self.lost = self.lost or f"{why.format(repr(self.run_id))}: this process sends and writes nothing more of it"


class Store:
    """Called by one thread. Mutable state: the session, and the runs that are held."""

    def __init__(self, backend: Backend, patience: Patience) -> None:
        """Open nothing yet."""
        self.given_up = threading.Event()
        """Set by another thread if nobody waits for the work any more."""
        self.reopened: deque[str] = deque()
        """Notices of sessions that were lost, for the caller to take."""
        self._backend = backend
        self._patience = patience
        self._connection: Connection | None = None
        self._session: Any = None
        self._old: Layout | None = None
        self._held: dict[int, _Hold] = {}

    # The session

    @property
    def connected(self) -> bool:
        """Whether a session is open, as far as is known."""
        return self._connection is not None

    def do(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Do a piece of work in the session, which is opened if needed. If the session is lost, do it in another one.

        Raises what the work raises, and DBAPIError if no session can be opened: after a while if runs are held.
        """
        ends: float | None = None
        while True:
            try:
                return work(self._opened(), *arguments)
            except DBAPIError as why:
                if self.connected and not session_was_lost(why):
                    raise
                first_loss = self.connected and ends is None
                self._close_session()
                if ends is None:
                    ends = time.monotonic() + (self._patience.again if self._held else 0.0)
                if self.given_up.is_set() or not (first_loss or time.monotonic() < ends):
                    raise
            if not first_loss:
                self.given_up.wait(_PAUSE)

    def _opened(self) -> Connection:
        if self._connection is None:
            connection = self._backend.connect()
            try:
                self._prepare(connection)
            except BaseException:
                _close(connection)
                raise
            self._connection = connection
        return self._connection

    def _prepare(self, connection: Connection) -> None:
        with connection.begin():
            self._backend.check(connection)
            check_format(connection)
            self._old = old_layout(connection)
            self._session = connection.execute(select(self._backend.session)).scalar_one()
        if self._held:
            self._lock_again(connection)
            self.reopened.append("the journal's session was lost, and another one was opened")

    def _lock_again(self, connection: Connection) -> None:
        """Lock the runs that are held."""
        end = time.monotonic() + self._patience.free
        for run, hold in self._held.items():
            while not hold.lost and not self._backend.lock(connection, run):
                with connection.begin():
                    self._look(connection, [run])
                if time.monotonic() > end or self.given_up.is_set():
                    hold.lose(_LOCKED)

    def _close_session(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            _close(connection)

    def close(self) -> None:
        """Let go of all runs, and close the session."""
        for run in tuple(self._held):
            self.unlock(run)
        self._close_session()

    # Runs that are held

    def open_run(self, connection: Connection, asked: RunRecord, given_up: threading.Event) -> tuple[History, bool]:
        """Give a run, and whether it is held. A run of the earlier format that has ended is only read.

        Raises JournalRefused if another process has it open, or if it was begun on other terms.
        """
        try:
            history, stored = self._take(connection, asked, given_up)
        except BaseException:
            self._unlock(connection, asked.run)
            raise
        if stored is not None:
            self._unlock(connection, asked.run)
            return stored, False
        self._held[asked.run] = _Hold(asked.run_id, history.run.fence, written=history.begun)
        return history, True

    def _take(
        self, connection: Connection, asked: RunRecord, given_up: threading.Event
    ) -> tuple[History, History | None]:
        """Lock a run, draw its number, and give what is known of it. Give also the same run of the earlier format."""
        with self._backend.locked(connection, asked.run, given_up) as locked:
            if not locked:
                why = f"run {asked.run_id!r} is under way in another process: wait for its end, or stop it there first"
                raise JournalRefused(why, kind=UNDER_WAY)
            self._fences(connection, [asked.run])  # what its last holder was writing is there now
            known, stored = self._known(connection, asked)
            history = known or History(run=asked, begun=False)
            history = evolve(history, run=evolve(history.run, fence=secrets.randbits(_FENCE_BITS)))
            if known is not None:
                write(connection, self._backend.insert, [history.run])
        return history, stored

    def _known(self, connection: Connection, asked: RunRecord) -> tuple[History | None, History | None]:
        """Give what is known of a run: by the tables of this format, or by those of the earlier one."""
        history = read_history(connection, LAYOUT, asked.run)
        old = None if history is not None else self._find_old(connection, asked)
        stored = None if old is None else ended(old)
        if (known := history or stored) is not None:
            check_terms(known.run, asked)
        return history, stored

    def unlock(self, run: int) -> None:
        """Let others open a run, also after an error."""
        if self._held.pop(run, None) is not None and self._connection is not None:
            self._unlock(self._connection, run)

    def _unlock(self, connection: Connection, run: int) -> None:
        with suppress(SQLAlchemyError, OSError):
            self._backend.unlock(connection, run)

    def _look(self, connection: Connection, runs: Collection[int]) -> set[int]:
        """Find out which runs are held no more, and give those of which there is no record yet. None of them can be
        opened by another process before the transaction ends.
        """
        fences = self._fences(connection, runs)
        for run, hold in ((run, self._held[run]) for run in runs):
            hold.written = hold.written or run in fences
            if run not in fences and hold.written:
                hold.lose(_GONE)
            elif fences.get(run, hold.fence) != hold.fence:
                hold.lose(_TAKEN)
        return set(runs) - fences.keys()

    def _fences(self, connection: Connection, runs: Collection[int]) -> Mapping[int, int]:
        """Read the numbers of runs. Raises JournalError if the session is another one than it was."""
        fences, sessions = read_fences(connection, runs, self._backend.session)
        if sessions - {self._session}:
            raise JournalError(POOLER)
        return fences

    # Writing

    def write(self, connection: Connection, records: Sequence[Record]) -> Mapping[int, str]:
        """Write records, except those of runs that were lost. Give these runs, and why they were lost."""
        runs = {run for run in map(run_of, records) if run in self._held}
        with connection.begin():
            absent = self._look(connection, runs) if runs else set()
            ours = [self._fenced(record) for record in records]
            new = {r.run: r for r in ours if isinstance(r, RunRecord) and r.run in absent}
            for run, record in new.items():
                if not add_run(connection, self._backend.insert, record):
                    self._held[run].lose(_TAKEN)
            write(connection, self._backend.insert, [record for record in ours if not self._lost(run_of(record))])
        for run in new:
            self._held[run].written = True
        return {run: lost for run in runs if (lost := self._lost(run))}

    def _fenced(self, record: Record) -> Record:
        if isinstance(record, RunRecord) and record.run in self._held:
            return evolve(record, fence=self._held[record.run].fence)
        return record

    def _lost(self, run: int | None) -> str:
        hold = None if run is None else self._held.get(run)
        return "" if hold is None else hold.lost

    @contextmanager
    def _holding(self, connection: Connection, run: int) -> Iterator[None]:
        """Give a transaction to write a run. Raises JournalError if it is held no more."""
        with connection.begin():
            if run in self._held:
                self._look(connection, [run])
            if lost := self._lost(run):
                raise JournalError(lost)
            yield

    def forget_refused(self, connection: Connection, run: int, after: int, rows: Sequence[int]) -> None:
        """Forget the rejections of rows that mjbulk refused: of these rows, and of all rows after one."""
        with self._holding(connection, run):
            delete_refused(connection, run, after, rows)

    def forget(self, connection: Connection, run: int) -> None:
        """Forget a run that is held."""
        with self._holding(connection, run):
            delete_run(connection, LAYOUT, run)

    def purge(self, connection: Connection, run: RunRecord) -> None:
        """Forget a run that nobody holds."""
        if not self._backend.lock(connection, run.run):
            raise JournalRefused(f"run {run.run_id!r} is under way")
        try:
            with connection.begin():
                for layout in self._layouts():
                    delete_run(connection, layout, run.run)
        finally:
            self._unlock(connection, run.run)

    # Reading

    @contextmanager
    def reading(self, connection: Connection) -> Iterator[None]:
        """Give a transaction that sees one state of the database."""
        with connection.begin():
            self._backend.snapshot(connection)
            yield

    def _layouts(self) -> Sequence[Layout]:
        """Give the tables of this format, and those of the earlier format if there are any."""
        return (LAYOUT,) if self._old is None else (LAYOUT, self._old)

    def page(
        self, connection: Connection, which: Mapping[str, Any], after: tuple[int, int, int] | None, most: int
    ) -> list[RejectionRecord]:
        """Read at most ``most`` rejections, from after one of them."""
        with self.reading(connection):
            pages = (read_page(connection, layout, which, after, most) for layout in self._layouts())
            return next(filter(None, pages), [])

    def notes(self, connection: Connection, account: str) -> dict[str, str]:
        """Read the texts about an account."""
        with self.reading(connection):
            layouts = reversed(self._layouts())
            notes = [read(connection, layout, NoteRecord, account=account) for layout in layouts]
            return {note.name: note.text for some in notes for note in some}

    def find(self, connection: Connection, asked: RunRecord) -> History | None:
        """Read what is known about a run."""
        with self.reading(connection):
            return read_history(connection, LAYOUT, asked.run) or self._find_old(connection, asked)

    def _find_old(self, connection: Connection, asked: RunRecord) -> History | None:
        """Read a run of the earlier format, in which its number is another one."""
        if self._old is None:
            return None
        history = read_history(connection, self._old, old_number_of(asked.run_id, asked.partition))
        return history if history is not None and history.run.account == asked.account else None

    def runs(self, connection: Connection, which: Mapping[str, Any]) -> list[RunInfo]:
        """Read what users see of runs. The oldest comes first."""
        with self.reading(connection):
            known = [
                (run, facts, layout)
                for layout in self._layouts()
                for run, facts in read_facts(connection, layout, which)
            ]
        open_ = self._backend.taken(connection, [run.run for run, *_ in known]) | self._held.keys()
        infos = []
        for run, facts, layout in sorted(known, key=lambda one: (one[0].created, one[0].run)):
            info = info_of(run, facts, is_open=run.run in open_)
            infos.append(info if layout is LAYOUT else old_info(info))
        return infos


def _close(connection: Connection) -> None:
    """Close a connection without a rollback, which would fail and be logged if the session is lost."""
    with suppress(SQLAlchemyError):
        connection.invalidate()
        connection.close()
    connection.engine.dispose()
