"""The journal in a database: a SQLite file of its own, or tables in PostgreSQL.

One thread with one session does all of the work (`mjbulk.journal.store`). Records that are put while that thread is
busy wait, and are then written together, in one transaction. So the records of many chunks cost one commit.

The thread is a daemon: a server that is silent keeps nobody waiting, neither a caller that has a time limit nor the end
of the program.
"""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from mjbulk.errors import JournalError, JournalRefused
from mjbulk.events import Emit, Scope
from mjbulk.journal.backends import Patience, backend_of
from mjbulk.journal.failures import ERRORS, error_of, writing_failed
from mjbulk.journal.history import History
from mjbulk.journal.info import RunInfo
from mjbulk.journal.protocol import CLOSING, UNDER_WAY
from mjbulk.journal.records import Record, RejectionRecord, RunRecord, number_of, run_of
from mjbulk.journal.store import Store
from mjbulk.tasks import Running, finish, keep
from mjbulk.threads import DaemonThread

_T = TypeVar("_T")
_PAGE = 1000
_PATIENCE = Patience()
_log = logging.getLogger("mjbulk.journal")


class SqlJournal:
    """A `Journal` in a database. Mutable state: what waits to be written, and the runs that are open or were lost.

    After an error in writing, nothing more is written, because it is not known what is on disk. When all runs that were
    open have ended, the journal is opened again.
    """

    def __init__(self, where: str | os.PathLike[str], emit: Emit, *, patience: Patience = _PATIENCE) -> None:
        """Open nothing yet. ``where`` is a path or a URL."""
        self._store = Store(backend_of(where, patience), patience)
        self._emit = emit
        self._thread = DaemonThread("mjbulk journal")
        self._turn = asyncio.Lock()
        self._waiting: list[Record] = []
        self._next: Running[None] | None = None
        self._failure: JournalError | None = None
        self._open: set[int] = set()
        self._only_read: set[int] = set()
        self._lost: dict[int, str] = {}
        self._closed = False

    async def open_run(self, asked: RunRecord) -> History:
        """Give what is known about a run; if there is none, the run that the caller wants."""
        if asked.run in self._open:
            raise JournalRefused(f"run {asked.run_id!r} is under way in this process", kind=UNDER_WAY)
        self._open.add(asked.run)
        self._lost.pop(asked.run, None)
        given_up = threading.Event()
        try:
            history, held = await self._in_thread(self._store.open_run, asked, given_up)
        except BaseException:
            given_up.set()
            self._open.discard(asked.run)
            if not self._closed:  # the thread may have locked the run, or be about to
                asyncio.get_running_loop().run_in_executor(self._thread, self._store.unlock, asked.run)
            raise
        if not held:
            self._open.discard(asked.run)
            self._only_read.add(history.run.run)
        return history

    async def release(self, run: RunRecord, *, forget: bool = False) -> None:
        """Let others open a run. Forget it before, if that is wanted."""
        if run.run in self._open:
            await finish(self._release(run.run, forget=forget))

    async def _release(self, run: int, *, forget: bool) -> None:
        """Release a run, after the records that were put are written. Cancelling the caller does not stop this."""
        if self._next is not None:
            await asyncio.wait([self._next])
        self._drop(run)
        try:
            if forget:
                await self._in_thread(self._store.forget, run)
        finally:
            self._open.discard(run)
            await self._unlock(run)

    async def _unlock(self, run: int) -> None:
        """Let others open a run. After an error, the last run that is released lets the journal be opened again."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._store.unlock, run)
        if self._failure is not None and not self._open and not self._closed:
            await loop.run_in_executor(self._thread, self._store.close)
            self._waiting, self._failure = [], None

    def later(self, *records: Record) -> None:
        """Keep records in memory until the next `put`."""
        self._waiting.extend(records)

    async def put(self, *records: Record, run: int | None = None) -> None:
        """Write records. They are written even if the caller is cancelled."""
        self._waiting.extend(records)
        if self._next is None or self._next.done():  # it may have been cancelled before it took them
            self._next = keep(self._commit(), name="mjbulk journal")
            self._next.add_done_callback(_hear)
        await asyncio.shield(self._next)
        if lost := self._lost.keys() & {run, *map(run_of, records)}:
            raise JournalError(self._lost[lost.pop()])

    async def forget_refused(self, run: int, after: int, rows: Sequence[int] = ()) -> None:
        """Forget the rejections of rows that mjbulk refused: of these rows, and of all rows after one."""
        await self._in_thread(self._store.forget_refused, run, after, rows)

    async def find(self, run_id: str, partition: str, account: str) -> History | None:
        """Give what is known about a run; None if it is not there."""
        number = number_of(account, run_id, partition)
        asked = RunRecord(run=number, run_id=run_id, partition=partition, account=account, spec="", created="")
        return await self._in_thread(self._store.find, asked)

    async def rejections(self, run: int, chunk: int | None = None) -> AsyncIterator[RejectionRecord]:
        """Give the rejections of a chunk, or of the whole run, a page at a time."""
        which = {"run": run} if chunk is None else {"run": run, "chunk": chunk}
        after: tuple[int, int, int] | None = None
        while True:
            page = await self._in_thread(self._store.page, which, after, _PAGE)
            for record in page:
                yield record
            if len(page) < _PAGE:
                return
            after = (page[-1].chunk, page[-1].first, page[-1].number)

    async def runs(self, account: str, run_id: str | None = None) -> Sequence[RunInfo]:
        """Give the runs of an account, or the partitions of one run. The oldest comes first."""
        which = {"account": account} if run_id is None else {"account": account, "run_id": run_id}
        return await self._in_thread(self._store.runs, which)

    async def purge(self, run: RunRecord) -> None:
        """Forget a run."""
        if run.run in self._open:
            raise JournalRefused(f"run {run.run_id!r} is under way")
        self._drop(run.run)
        await self._in_thread(self._store.purge, run)

    async def notes(self, account: str) -> Mapping[str, str]:
        """Give the texts about an account by their names."""
        return await self._in_thread(self._store.notes, account)

    async def aclose(self, within: float = CLOSING) -> None:
        """Write the records that wait, and close. It takes ``within`` seconds at most.

        A call that waits for a server to let it in is abandoned at once.
        """
        if self._closed:
            return
        self._closed = True
        ending = keep(self._end())
        if self._store.connected or self._open or self._waiting:
            await asyncio.wait([ending], timeout=within)
        self._store.given_up.set()

    async def _end(self) -> None:
        if self._waiting:
            with suppress(Exception):
                await self.put()
        self._failure = JournalError("the journal is closed")
        closed = asyncio.get_running_loop().run_in_executor(self._thread, self._store.close)
        self._thread.end()
        await closed
        self._open.clear()

    # In the loop

    def _drop(self, run: int) -> None:
        """Drop the records of a run that wait to be written."""
        self._waiting = [record for record in self._waiting if run_of(record) != run]

    async def _commit(self) -> None:
        """Write all records that wait, after the writes before it."""
        async with self._turn:
            records, self._waiting, self._next = self._waiting, [], None
            records = [record for record in records if run_of(record) not in self._only_read]
            loop, scope = asyncio.get_running_loop(), Scope()
            began = loop.time()
            self._emit(scope.event("journal.writing", rows=len(records)))
            try:
                self._lost |= await self._in_thread(self._store.write, records)
            except Exception as failure:  # noqa: BLE001  # after any error it is not known what is on disk
                self._failure = writing_failed(failure)
                why = {"seconds": loop.time() - began, "cause": str(self._failure)}
                self._emit(scope.event("journal.failed", rows=len(records), **why))
                raise self._failure from None
            self._emit(scope.event("journal.written", rows=len(records), seconds=loop.time() - began))

    async def _in_thread(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Do a piece of work in the journal's thread. Raises JournalError."""
        if self._failure is not None:
            raise self._failure
        done = asyncio.get_running_loop().run_in_executor(self._thread, self._store.do, work, *arguments)
        done.add_done_callback(_hear)
        try:
            return await asyncio.shield(done)
        except ERRORS as failure:
            raise error_of(failure) from None
        finally:
            while self._store.reopened:
                _log.warning(self._store.reopened.popleft())


def _hear(work: asyncio.Future[Any]) -> None:
    """Retrieve an error, also if the caller was cancelled: asyncio would log an error that is never retrieved."""
    if not work.cancelled():
        work.exception()
