"""Rows of many tasks, gathered into chunks: each caller gets the outcome of its own row.

What is the same as in a run: a `Reader` judges and encodes rows, a `Pipeline` with its chunker holds the rows of people
who are in flight, and each chunk lives in a `ChunkInFlight`, which submits it, halves it, watches its jobs and settles
its rows. What differs:

- Rows come one by one, for as long as the process lives. So every fault rejects its row, and nothing grows with their
  number: `OutcomeLedger` gives each outcome to the future that waits for it, and keeps counts alone; its run in the
  journal keeps counts of chunks that have ended.
- Rows wait in no chunk until one may leave (`mjbulk.run.gathering`), and each value of ``lists=`` has a lane of its own
  (`mjbulk.run.lanes`, `mjbulk.run.turns`).
- Nothing but its journal, or a full disk, halts it. Wrong keys, a server that is away, a lost answer: the chunk waits
  with a warning, and goes on. What may have been applied and must not be repeated is unknown, as always.
- No process can go on with its rows. The next ingester of the account settles the jobs that it has left.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal, Self

from attrs import evolve

from mjbulk.discreet import discreet
from mjbulk.errors import Error, JournalError, OutcomeRejected, UsageError
from mjbulk.journal.history import History
from mjbulk.journal.records import RunRecord, encode_spec, mask, number_of
from mjbulk.models import Progress, Row
from mjbulk.outcome import Outcome
from mjbulk.public import public
from mjbulk.run.engine import Engine
from mjbulk.run.figures import Figures
from mjbulk.run.gathering import Gathering
from mjbulk.run.outcome_future import OutcomeFuture, Unseen
from mjbulk.run.room import Room
from mjbulk.run.run import ImportRun
from mjbulk.run.run_log import RunLog
from mjbulk.run.taken_row import TakenRow
from mjbulk.tasks import Deadline, Home, Running, ended, finish, keep
from mjbulk.terms import ListActions, RunSpec
from mjbulk.validators import NOT_NEGATIVE, POSITIVE_INT, fits

_log = logging.getLogger("mjbulk")
_CLOSED = "this ingester is closed"
_NOT_SENT = "the ingester was closed before it was sent"


class _Lists(Enum):
    """What ``lists=`` of a row may be beside lists."""

    OWN = "those of the ingester"


@public
class Ingester:
    """Takes rows of many tasks, and sends them together: ``async with client.ingest(lists=...) as ingester``.

    Rows of one person are applied in the order in which they were sent to this ingester, whatever their lists are.
    There is no order between two ingesters, also of two processes one after the other, or an ingester and a run.
    Mutable state: the rows that have no outcome yet, and where each of them is.
    """

    def __init__(
        self,
        engine: Engine,
        spec: RunSpec,
        *,
        linger: float,
        max_chunks: int,
        max_waiting: int,
        resume_others: Callable[[], Awaitable[Sequence[ImportRun]]],
    ) -> None:
        """Take no row yet: ``Client.ingest`` makes it, and entering it begins. ``resume_others`` resumes the runs of
        ingesters whose processes have ended.
        """
        self._home = Home("this ingester")
        self._home.check()
        self._loop = asyncio.get_running_loop()
        self._engine = engine
        self._spec = spec
        self._max_waiting = max_waiting
        self._resume_others = resume_others
        self._run = _new_run(engine, spec)
        self._log = RunLog(engine.journal, History(run=self._run, begun=False))
        self._opened = False
        self._room = Room(self._has_room)
        self._state: Literal["new", "open", "closed"] = "new"
        self._failure: BaseException | None = None
        self._unseen = Unseen()
        self._gathering = Gathering(
            engine,
            spec,
            self._log,
            linger=linger,
            max_chunks=max_chunks,
            failed=self._fail,
            why=self._why,
            moved=self._moved,
        )
        self._figures = Figures(self._gathering.ledger, engine)
        self._others: Running[Sequence[ImportRun]] | None = None
        self._ending: Running[None] | None = None

    def __repr__(self) -> str:
        return f"<Ingester {self._state}, {self._gathering.left} rows without an outcome>"

    async def __aenter__(self) -> Self:
        """Begin. Raises JournalError if the journal cannot be used, and UsageError the second time."""
        self._home.check()
        if self._state != "new" or self._opened:
            raise UsageError("this ingester was used before: make a new one")
        self._opened = True
        await self._engine.journal.open_run(self._run)
        if self._state != "new":
            raise UsageError(_CLOSED)
        self._state = "open"
        self._figures.requests.begin()
        self._gathering.begin()
        self._others = keep(self._resume_others_quietly(), name="mjbulk resumes ingesters")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        await self.aclose(self._engine.settings.drain if kind is None else 0.0)

    @property
    def progress(self) -> Progress:
        """A snapshot: rows that were sent so far, by their outcomes."""
        trouble = self._engine.transport.trouble or self._gathering.endurance.trouble
        snapshot = self._figures.snapshot(self._gathering.taken, self._gathering.lanes, trouble)
        return evolve(snapshot, held=snapshot.held + self._gathering.turns.waiting)

    # Rows

    @discreet
    async def send(
        self, row: Row, *, lists: ListActions | Literal[_Lists.OWN] | None = _Lists.OWN
    ) -> "asyncio.Future[Outcome]":
        """Take a row, and give a future of its outcome; wait for room before, if ``max_waiting`` rows are in no job.

        ``lists`` are those of this row, None for no list; without it they are those of the ingester. Rows with other
        lists go in other chunks. Raises OutcomeRejected if the row is refused here, and UsageError for lists that
        cannot be, or do not exist, or if the ingester is closed. While Mailjet is away the row is taken all the same:
        what would have been raised is its outcome then. Cancelling the future, or the call, withdraws a row that is in
        no chunk yet.
        """
        spec = self._terms(lists)
        if not self._room.is_free:
            await self._wait_for_room()
        outcome = OutcomeFuture(self._unseen, self._loop)
        taken = self._gathering.take(row, spec, outcome, awaited=True)
        if taken.judged is not None:
            try:
                await taken.judged
            except asyncio.CancelledError:
                outcome.cancel()
                raise
        if outcome.is_refused:
            self._raise_refused(taken, outcome.result())
        return outcome

    @discreet
    async def put(self, row: Row, *, lists: ListActions | Literal[_Lists.OWN] | None = _Lists.OWN) -> Outcome:
        """Take a row, and wait for its outcome. See `send`. Cancelling the call withdraws a row that is in no chunk
        yet; otherwise the row goes on, and its outcome is lost.
        """
        spec = self._terms(lists)
        if not self._room.is_free:
            await self._wait_for_room()
        future: asyncio.Future[Outcome] = self._loop.create_future()  # it is looked at: a plain one is faster
        taken = self._gathering.take(row, spec, future, awaited=False)
        outcome = await future
        self._raise_refused(taken, outcome)
        return outcome

    def _terms(self, lists: ListActions | Literal[_Lists.OWN] | None) -> RunSpec:
        """Give the terms of the lane of a row that has these lists."""
        self._check()
        return self._spec if lists is _Lists.OWN else self._gathering.lanes.terms(lists)

    async def _wait_for_room(self) -> None:
        await self._room.enter()
        self._check()

    @staticmethod
    def _raise_refused(taken: TakenRow, outcome: Outcome) -> None:
        """Raise what has refused a row here."""
        if taken.refusal:
            raise UsageError(taken.refusal)
        if outcome.rejection is not None and outcome.rejection.origin == "mjbulk":
            raise OutcomeRejected(outcome)

    @discreet
    async def flush(self) -> None:
        """Wait until all rows that were sent have their outcomes, which it never raises. No row lingers meanwhile."""
        self._home.check()
        await self._gathering.flush()

    def _check(self) -> None:
        self._home.check()
        if self._failure is not None:
            raise Error(self._why()) from self._failure
        if self._state != "open":
            raise UsageError("enter this ingester first: async with" if self._state == "new" else _CLOSED)

    def _has_room(self, let_in: int) -> bool:
        """Say whether there is room, beside callers that were let in. At the end all are let in, and are refused."""
        if self._state != "open":
            return True
        rows, most = self._gathering, self._max_waiting - let_in
        return rows.left < most or rows.waiting < most  # the first is a cheap look, and mostly enough

    def _moved(self) -> None:
        """Hear that rows have left."""
        self._room.let_in()
        self._tell_unseen()

    def _tell_unseen(self) -> None:
        if rows := self._unseen.take():
            self._engine.emit(self._gathering.scope.event("outcomes.unseen", rows=rows))

    # The end

    def _fail(self, failure: BaseException) -> None:
        """Hear of a failure after which nothing can be sent: end, and tell it to all callers."""
        if self._failure is None and self._state != "closed":
            self._failure, self._state = failure, "closed"
            _log.warning("an ingester has failed: %s", type(failure).__name__)
            self._gathering.halt()
            self._room.let_in()
            self._begin_end()

    def _why(self) -> str:
        if self._failure is None:
            return _NOT_SENT
        said = str(self._failure) if isinstance(self._failure, Error) else type(self._failure).__name__
        return f"the ingester has failed: {said}"

    @discreet
    async def aclose(self, drain: float | None = 0.0) -> None:
        """Take no more rows, wait ``drain`` seconds for outcomes (None: until all are there), and end.

        Rows that are in no chunk then are not sent, and those of jobs under way are unknown. With a journal, the next
        ingester of the account settles these jobs, for the counts of the run. Raises nothing for what became of rows.
        """
        self._home.check()
        drains, self._state = self._state == "open" and drain != 0, "closed"
        self._room.let_in()
        try:
            if drains:
                with suppress(TimeoutError):
                    async with asyncio.timeout(drain):
                        await self.flush()
        finally:
            await asyncio.shield(self._begin_end())

    def _begin_end(self) -> Running[None]:
        self._ending = self._ending or keep(self._end(), name="mjbulk ends an ingester")
        return self._ending

    async def _end(self) -> None:
        """Stop everything, and give each row that is left its outcome."""
        time = Deadline(self._engine.settings.stop_within)
        others = keep(self._stop_others())
        try:
            await self._gathering.stop(self._engine.settings.stop_within)
        finally:
            self._tell_unseen()
            self._figures.end(self._gathering.taken, self._gathering.lanes)
            await self._close_log(time)
            await ended([others])

    async def _close_log(self, time: Deadline) -> None:
        """Write down that the ingester has ended."""
        if not self._opened:
            return
        known: dict[str, Any] = {
            "closed": True,
            "cause": mask(self._why()) if self._failure is not None else "",
            "requests": self._figures.requests.sent,
            "milliseconds": round(self._figures.seconds * 1000),
        }
        self._log.later(*self._engine.lessons())
        try:
            async with asyncio.timeout(time.left()):
                await finish(self._log.close(refused=False, rows=0, **known))
        except (TimeoutError, JournalError) as failure:
            _log.warning("the end of an ingester was not written down: %s", failure or "the journal does not answer")

    # Ingesters of before

    async def _resume_others_quietly(self) -> Sequence[ImportRun]:
        """Settle the jobs of ingesters whose processes have ended. New rows do not wait for that."""
        try:
            return await self._resume_others()
        except Error as why:
            _log.warning("the jobs of earlier ingesters are not settled: %s", why)
            return ()

    async def _stop_others(self) -> None:
        """Stop what was resumed: it can be resumed again."""
        if self._others is None:
            return
        self._others.cancel()
        await ended([self._others])
        runs = () if self._others.cancelled() else self._others.result()
        for run in runs:
            run.halt()
        await ended([run.task for run in runs])


def check_bounds(linger: float, **counts: int) -> None:
    """Raise UsageError for seconds or counts of an ingester that cannot be."""
    if not fits(NOT_NEGATIVE, linger):
        raise UsageError("linger is a number of seconds")
    for name, count in counts.items():
        if not fits(POSITIVE_INT, count):
            raise UsageError(f"{name} is a whole number above 0")


def _new_run(engine: Engine, spec: RunSpec) -> RunRecord:
    run_id = f"ingester-{uuid.uuid4().hex[:12]}"
    return RunRecord(
        run=number_of(engine.owner, run_id, ""),
        run_id=run_id,
        account=engine.owner,
        spec=encode_spec(spec),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        kind="ingester",
    )
