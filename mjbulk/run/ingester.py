r"""Rows of many tasks, gathered into chunks: each caller gets the outcome of its own row.

What is the same as in a run: the `Reader` judges and encodes rows, the `Pipeline` with its chunker holds the rows of
people who are in flight, and each chunk lives in a `ChunkInFlight`, which submits it, halves it, watches its jobs and
settles its rows. What differs:

- Rows come one by one, for as long as the process lives. So every fault rejects its row, and nothing grows with their
  number: `OutcomeLedger` gives each outcome to the future that waits for it, and keeps counts alone.
- A chunk leaves when it is full, or ``linger`` seconds after its oldest row, and while fewer than ``max_chunks`` of the
  ingester are unfinished (Nagle's rule). Until then rows are *gathered* here, encoded, and in no chunk: so they can be
  withdrawn. When a chunk may leave, as many rows as it has room for go through the chunker, and it is cut.
- Nothing halts it. Wrong keys, a server that is away, a lost answer: the chunk waits with a warning, and goes on. What
  may have been applied and must not be repeated is unknown, as always.

The way of a row::

    send -> coming (as it was given) -> judged and encoded -> gathered -> chunk -> job -> outcome
                                            \-> rejected             held: its person is in flight

``coming`` is emptied by one task, in the order of the calls, so rows of one person stay in their order. All rows that
come within one step of the event loop are judged together.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Self

from attrs import define, evolve

from mjbulk.config import JSON_ROWS
from mjbulk.errors import ApiError, CredentialsRefused, Error, NoAnswer, OutcomeRejected, UsageError
from mjbulk.journal.history import History
from mjbulk.journal.protocol import NoJournal
from mjbulk.journal.records import RunRecord, encode_spec
from mjbulk.models import Progress, Rejection, Row, Unsettled
from mjbulk.outcome import Outcome
from mjbulk.outcomes.outcome_ledger import OutcomeLedger
from mjbulk.public import public
from mjbulk.rows.iterables import batch_of
from mjbulk.rows.sources import source_of
from mjbulk.run.context import RunContext
from mjbulk.run.engine import Engine
from mjbulk.run.figures import Figures
from mjbulk.run.gathered import Gathered, rows_at
from mjbulk.run.pipeline import Pipeline
from mjbulk.run.reader import EncodedRows, Reader
from mjbulk.run.run_events import RunEvents
from mjbulk.run.run_log import RunLog
from mjbulk.spill import SmallValues, Spill
from mjbulk.tasks import Home, Running, ended, keep
from mjbulk.terms import RunSpec

_log = logging.getLogger("mjbulk")
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
"""Seconds of the waits after failures that are of no row: the first one, and the longest."""
_CLOSED = "this ingester is closed"
_NOT_SENT = "the ingester was closed before it was sent"


@define(eq=False)
class _Coming:
    """A row that was given and is not judged yet. Mutable: nothing but its futures."""

    number: int
    row: Any
    judged: "asyncio.Future[None]"


@public
class Ingester:
    """Takes rows of many tasks, and sends them together: ``async with client.ingest(lists=...) as ingester``.

    Rows of one person are applied in the order in which they were sent to this ingester. There is no order between two
    ingesters, or an ingester and a run. Mutable state: the rows that have no outcome yet, and where each of them is.
    """

    def __init__(self, engine: Engine, spec: RunSpec, *, linger: float, max_chunks: int, max_waiting: int) -> None:
        """Take no row yet: ``Client.ingest`` makes it, and entering it begins."""
        self._home = Home("this ingester")
        self._home.check()
        self._loop = asyncio.get_running_loop()
        self._linger = linger
        self._max_chunks = max_chunks
        self._max_waiting = max_waiting
        self._most = engine.settings.chunk_rows or JSON_ROWS
        self._engine = engine
        self._outcomes: dict[int, asyncio.Future[Outcome]] = {}
        self._number = 0
        self._coming: deque[_Coming] = deque()
        self._gathered = Gathered()
        self._urgent = 0  # rows up to this number leave without lingering
        self._timer: asyncio.TimerHandle | None = None
        self._came, self._room = asyncio.Event(), asyncio.Event()
        self._state = "new"
        self._away = False
        self._warned: dict[str, float] = {}
        self._failure: BaseException | None = None
        self._ledger = OutcomeLedger(self._settle)
        self._figures = Figures(self._ledger, engine)
        self._spill = Spill(engine.settings.spool_dir)
        self._reader = Reader(source_of([]), spec, engine, self._reject, lasting=True)
        run = RunRecord(run=0, run_id="ingester", account=engine.owner, spec=encode_spec(spec), created="")
        context = RunContext(
            run_id=run.run_id,
            spec=spec,
            engine=engine,
            ledger=self._ledger,
            log=RunLog(NoJournal(), History(run=run, begun=False)),
            notify=lambda: None,
            learned=self._reader.learned,
            spill=self._spill,
            held=SmallValues(self._spill),
            endure=self._endure,
        )
        self._events = RunEvents(engine.emit, context.scope)
        self._pipeline = Pipeline(context, lambda: None, failed=self._fail, ended=self._chunk_ended, why=self._why)
        self._work: Running[None] | None = None
        self._ending: Running[None] | None = None

    def __repr__(self) -> str:
        return f"<Ingester {self._state}, {len(self._outcomes)} rows without an outcome, {self._pipeline!r}>"

    async def __aenter__(self) -> Self:
        self._home.check()
        if self._state != "new":
            raise UsageError("this ingester was used before: make a new one")
        self._state = "open"
        self._work = keep(self._judge_all(), name="mjbulk ingester")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        await self.aclose(self._engine.settings.drain if kind is None else 0.0)

    @property
    def progress(self) -> Progress:
        """A snapshot: rows that were sent so far, by their outcomes."""
        return self._figures.snapshot(self._number, self._pipeline, self._engine.transport.trouble)

    # Rows

    async def send(self, row: Row) -> "asyncio.Future[Outcome]":
        """Take a row, and give a future of its outcome; wait for room before, if ``max_waiting`` rows are in no job.

        Raises OutcomeRejected if the row is refused here, and UsageError if the ingester is closed. Cancelling the
        future, or the call, withdraws a row that is in no chunk yet.
        """
        self._check()
        while self._waiting >= self._max_waiting:
            self._room.clear()
            await self._room.wait()
            self._check()
        coming = self._take(row)
        outcome = self._outcomes[coming.number]
        if not self._away:
            try:
                await coming.judged
            except asyncio.CancelledError:
                outcome.cancel()
                raise
        if outcome.done() and not outcome.cancelled() and outcome.result().state == "rejected":
            raise OutcomeRejected(outcome.result())
        return outcome

    async def put(self, row: Row) -> Outcome:
        """Take a row, and wait for its outcome. See `send`."""
        return await (await self.send(row))

    async def flush(self) -> None:
        """Wait until all rows that were sent have their outcomes. They leave without lingering."""
        self._home.check()
        self._urgent = self._number
        self._leave()
        pending = [outcome for outcome in self._outcomes.values() if not outcome.done()]
        if pending:
            await asyncio.wait(pending)

    def _check(self) -> None:
        self._home.check()
        if isinstance(self._failure, UsageError):
            raise self._failure
        if self._failure is not None:
            raise Error(self._why()) from self._failure
        if self._state != "open":
            raise UsageError("enter this ingester first: async with" if self._state == "new" else _CLOSED)

    @property
    def _waiting(self) -> int:
        """How many rows are in no chunk that was cut."""
        return len(self._coming) + len(self._gathered) + self._pipeline.held_rows

    def _take(self, row: Row) -> _Coming:
        self._number += 1
        number, outcome = self._number, self._loop.create_future()
        self._outcomes[number] = outcome
        coming = _Coming(number, row, self._loop.create_future())
        self._coming.append(coming)
        self._came.set()
        return coming

    def _settle(self, outcome: Outcome) -> None:
        """Give a row its outcome."""
        future = self._outcomes.pop(outcome.row, None)
        if future is not None and not future.done():
            future.set_result(outcome)

    def _reject(self, rejection: Rejection) -> None:
        self._ledger.post_rejections([rejection])
        self._events.rows_settled(rejected=1)

    # Judging

    async def _judge_all(self) -> None:
        """Judge rows, in their order."""
        self._figures.requests.begin()
        try:
            await self._patiently(self._reader.prepare)
            while True:
                await self._came.wait()
                self._came.clear()
                while self._coming:
                    await self._judge([self._coming.popleft() for _ in range(min(len(self._coming), self._most))])
                self._leave()
        except Exception as failure:  # noqa: BLE001  # the callers get it
            self._fail(failure)

    async def _judge(self, some: Sequence[_Coming]) -> None:
        """Judge rows, and gather the good ones."""
        try:
            first = some[0].number
            for block in batch_of([coming.row for coming in some]):
                numbered = evolve(block, number=first)
                first += len(block)
                for rows in await self._patiently(lambda one=numbered: self._reader.encode(one)):
                    self._gathered.add(rows, self._loop.time())
        finally:
            self._let_go(some)

    async def _patiently(self, step: Any) -> Any:
        """Take a step until it succeeds. Rows that come meanwhile are taken, and judged later."""
        while True:
            try:
                result = await step()
            except (CredentialsRefused, NoAnswer, ApiError) as why:
                self._away = True
                self._let_go(self._coming)
                await self._endure(why)
            else:
                self._away = False
                return result

    async def _endure(self, why: Error) -> None:
        """Warn once of a failure that is of no row, and wait; each wait for one cause is twice as long as before."""
        cause = str(why)
        wait = min(2 * self._warned.get(cause, 0.0) or _FIRST_WAIT, _LONGEST_WAIT)
        if cause not in self._warned:
            _log.warning("rows wait: %s", cause)
            self._warned.clear()
        self._warned[cause] = wait
        await asyncio.sleep(wait)

    # Leaving

    def _leave(self) -> None:
        """Have chunks leave that may leave, and set the timer for the next one."""
        try:
            while not self._pipeline.over and self._pipeline.unfinished < self._max_chunks and self._is_due():
                self._feed()
                self._pipeline.cut()
        except BaseException as failure:  # noqa: BLE001  # a full disk, for example
            self._fail(failure)
        self._schedule()
        if self._waiting < self._max_waiting:
            self._room.set()

    def _is_due(self) -> bool:
        """Say whether a chunk is full, or its oldest row has lingered. Rows that were held do not linger again."""
        if self._pipeline.open_rows:
            return True
        if not self._gathered:
            return False
        gathered, now = self._gathered, self._loop.time()
        return len(gathered) >= self._most or gathered.first <= self._urgent or now >= gathered.since + self._linger

    def _feed(self) -> None:
        """Put as many rows through the chunker as a chunk has room for."""
        opened = self._pipeline.open_rows
        size = self._reader.learned.next / (2 if opened else 1)
        for some in self._gathered.take(self._most - opened, size):
            if left := self._without_withdrawn(some):
                self._pipeline.add(left, self._reader.rules, self._reader.sender)

    def _without_withdrawn(self, rows: EncodedRows) -> EncodedRows | None:
        """Leave out rows whose futures were cancelled: they are in no chunk yet."""
        withdrawn = {number for number in rows.numbers if self._outcomes[number].cancelled()}
        if not withdrawn:
            return rows
        for number in withdrawn:
            del self._outcomes[number]
        self._ledger.not_sent += len(withdrawn)
        self._events.rows_settled(not_sent=len(withdrawn))
        kept = [at for at, number in enumerate(rows.numbers) if number not in withdrawn]
        return rows_at(rows, kept) if kept else None

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._gathered and self._pipeline.unfinished < self._max_chunks:
            self._timer = self._loop.call_at(self._gathered.since + self._linger, self._leave)

    def _chunk_ended(self) -> None:
        """Hear that a chunk has ended: rows that waited for it are let go before anything leaves."""
        if self._warned:
            self._warned.clear()
            _log.info("rows go again")
        self._loop.call_soon(self._leave)

    def _fail(self, failure: BaseException) -> None:
        """Hear of a failure after which nothing can be sent: end, and tell it to all callers."""
        if self._failure is None and self._state != "closed":
            self._failure, self._state = failure, "closed"
            _log.warning("an ingester has failed: %s", type(failure).__name__)
            self._pipeline.halt()
            self._room.set()
            self._begin_end()

    # The end

    async def aclose(self, drain: float | None = 0.0) -> None:
        """Take no more rows, wait ``drain`` seconds for outcomes (None: until all are there), and end.

        Rows that are in no chunk then are not sent, and those of jobs under way are unknown.
        """
        self._home.check()
        drains, self._state = self._state == "open" and drain != 0, "closed"
        self._room.set()
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
        if self._timer is not None:
            self._timer.cancel()
        try:
            if self._work is not None:
                self._work.cancel()
                await ended([self._work])
            await self._pipeline.stop(self._engine.settings.stop_within)
        finally:
            left = [row for row, outcome in self._outcomes.items() if not outcome.done()]
            why = Unsettled(rows=tuple(range(row, row + 1) for row in left), cause=self._why())
            self._ledger.post_unsettled(why, not_sent=len(left))
            self._events.rows_settled(not_sent=len(left))
            self._let_go(self._coming)
            self._coming.clear()
            self._gathered.clear()
            self._spill.close()

    def _why(self) -> str:
        return _NOT_SENT if self._failure is None else f"the ingester has failed ({type(self._failure).__name__})"

    @staticmethod
    def _let_go(some: Iterable[_Coming]) -> None:
        """Let the callers go on that wait for rows to be judged."""
        for coming in some:
            if not coming.judged.done():
                coming.judged.set_result(None)
