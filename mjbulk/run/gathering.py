r"""The rows of an ingester, from the call that gives them to the chunk that takes them.

The way of a row::

    coming (as it was given) -> judged and encoded -> gathered -> chunk -> job -> outcome
                                    |         \-> waits: its person has an earlier row without an outcome
                                    \-> rejected

``coming`` is emptied by one task, in the order of the calls, so rows of one person stay in their order. All rows of one
lane that come within one step of the event loop are judged together. A row gets its number there: in each lane rows
go with ascending numbers, so those that go after a later one get new ones.

*Gathered* rows are in no chunk, so they can be withdrawn.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count, groupby
from typing import Any

from attrs import evolve

from mjbulk.chunks.builder import Rules
from mjbulk.chunks.chunk import SizeLimit
from mjbulk.chunks.chunker import Chunker
from mjbulk.config import JSON_ROWS
from mjbulk.errors import UsageError
from mjbulk.models import Rejection, Unsettled
from mjbulk.outcome import Outcome
from mjbulk.outcomes.outcome_ledger import OutcomeLedger
from mjbulk.rows.addresses import keys_of
from mjbulk.rows.iterables import batch_of
from mjbulk.rows.sources import source_of
from mjbulk.run.context import RunContext
from mjbulk.run.departures import Departures
from mjbulk.run.endurance import Endurance
from mjbulk.run.engine import Engine
from mjbulk.run.lanes import Lane, Lanes
from mjbulk.run.pipeline import Pipeline
from mjbulk.run.reader import EncodedRows, Reader
from mjbulk.run.run_events import RunEvents
from mjbulk.run.run_log import RunLog
from mjbulk.run.senders import EXCLUDES
from mjbulk.run.taken_row import TakenRow, TakenRows
from mjbulk.run.turns import Turns
from mjbulk.spill import SmallValues, Spill
from mjbulk.tasks import Alarm, Running, ended, keep
from mjbulk.terms import RunSpec


class Gathering:
    """The rows of an ingester that have no outcome. Mutable state: the rows, and where they are."""

    def __init__(
        self,
        engine: Engine,
        spec: RunSpec,
        log: RunLog,
        *,
        linger: float,
        max_chunks: int,
        failed: Callable[[BaseException], object],
        why: Callable[[], str],
        moved: Callable[[], object],
    ) -> None:
        """Take no row yet. ``failed`` is called with what ends the ingester, and ``why`` gives it in a sentence;
        ``moved`` is called when rows have left.
        """
        self.rows = TakenRows()
        """Rows that are judged, or are being judged."""
        self.taken = 0
        """How many rows were taken since it began."""
        self.endurance = Endurance(lambda: self._let_go([*self.rows.values(), *self._coming]))
        """While Mailjet is away, callers do not wait for their rows to be judged."""
        self._loop = asyncio.get_running_loop()
        self._engine = engine
        self._run = log
        self._max_chunks = max_chunks
        self._most = engine.settings.chunk_rows or JSON_ROWS
        self._failed, self._why, self._moved = failed, why, moved
        self._chunk_numbers = count(1)
        self._coming: deque[TakenRow] = deque()
        self._judging = 0  # rows that are being judged
        self._came, self._passed = asyncio.Event(), asyncio.Event()
        self._flushing = 0
        self.turns = Turns()
        self._alarm = Alarm(self.leave)
        self._work: Running[None] | None = None
        self.ledger = OutcomeLedger(self._settle)
        self._spill = Spill(engine.settings.spool_dir, engine.memory)
        self._context = RunContext(
            run_id=log.history.run.run_id,
            spec=spec,
            engine=engine,
            ledger=self.ledger,
            log=log,
            notify=lambda: None,
            learned=SizeLimit(engine.settings.chunk_bytes, engine.window.share),
            spill=self._spill,
            held=SmallValues(self._spill),
            endurance=self.endurance,
            account_changed=self._ask_again,
        )
        self.lanes = Lanes(spec, self._new_lane, self._context)
        self.scope = self._context.scope
        self._events = RunEvents(engine.emit, self.scope)
        self._departures = Departures(
            self._context, self.lanes, self.rows, self.turns, self._withdraw, linger=linger, max_chunks=max_chunks
        )

    def _new_lane(self, spec: RunSpec) -> Lane:
        reader = Reader(source_of([]), spec, self._engine, self._reject, lasting=True)
        reader.learned = self._context.learned
        pipeline = Pipeline(
            self._context,
            lambda: None,
            failed=self._failed,
            ended=self._chunk_ended,
            why=self._why,
            may_begin=lambda: self.lanes.begun < self._max_chunks,
            new_chunker=self._new_chunker,
        )
        return Lane(spec, reader, pipeline)

    def _ask_again(self) -> None:
        """Hear that lists or properties may not be what they were: ask for them before new rows go."""
        self._engine.account.forget()
        self.lanes.renew()

    def _new_chunker(self, rules: Rules) -> Chunker:
        return Chunker(rules, self._context.held, numbers=self._chunk_numbers)

    # Rows

    @property
    def waiting(self) -> int:
        """How many rows are in no chunk that was cut."""
        return len(self._coming) + self._judging + self.turns.waiting + self.lanes.uncut

    @property
    def left(self) -> int:
        """How many rows have no outcome."""
        return len(self._coming) + len(self.rows)

    async def flush(self) -> None:
        """Wait until all rows that were taken have their outcomes. No row lingers meanwhile."""
        self._flushing += 1
        try:
            self.leave()
            for row in [*self.rows.values(), *self._coming]:
                while not row.over:
                    self._passed.clear()
                    await self._passed.wait()
        finally:
            self._flushing -= 1

    def take(self, given: Any, spec: RunSpec, outcome: "asyncio.Future[Outcome]", *, awaited: bool) -> TakenRow:
        """Take a row that goes to the lists of these terms. Its ``judged`` is ``awaited``, or not."""
        judged = self._loop.create_future() if awaited and not self.endurance.away else None
        row = TakenRow(given, self.lanes.of(spec), judged, outcome)
        row.lane.rows += 1
        self.taken += 1
        self._coming.append(row)
        self._came.set()
        return row

    def _settle(self, outcome: Outcome) -> None:
        """Give a row its outcome."""
        row = self.rows.pop(outcome.row, None)
        if row is not None:
            if not row.outcome.done():
                row.outcome.set_result(outcome)
            self._let_pass(row)

    def _let_pass(self, row: TakenRow) -> None:
        """Hear that a row has its outcome, or was withdrawn: those go on that wait for it."""
        row.lane.rows -= 1
        row.over = True
        if self._flushing:
            self._passed.set()
        if row.person is not None and self.turns.leave(row.person):
            self._came.set()

    def _withdraw(self, number: int) -> None:
        """Forget a row that its caller has cancelled, and that is in no chunk."""
        self.ledger.not_sent += 1
        self._count(not_sent=1)
        self._let_pass(self.rows.pop(number))

    def _reject(self, rejection: Rejection) -> None:
        if rejection.row not in self.rows:
            return  # it was rejected, and then the rest of its rows had to be encoded again
        self.ledger.post_rejections([rejection])
        self._events.warn_of_column(rejection.code)
        self._count(rejected=1)

    def _count(self, *, rejected: int = 0, not_sent: int = 0) -> None:
        """Note rows that have their outcome and were in no chunk."""
        self._run.count(rows=rejected + not_sent, rejected=rejected)
        self._events.rows_settled(rejected=rejected, not_sent=not_sent)

    # Judging

    def begin(self) -> None:
        """Begin to judge rows."""
        self._work = keep(self._judge_all(), name="mjbulk ingester")

    async def _judge_all(self) -> None:
        """Judge rows, in their order."""
        self.scope.enter()
        try:
            await self._engine.recall()
            await self._is_prepared(self.lanes.own)
            while True:
                await self._came.wait()
                self._came.clear()
                while self.turns.any_free or self._coming:
                    self._take_released()
                    await self._judge(self._next())
                    self.leave()
        except Exception as failure:  # noqa: BLE001  # the callers get it
            self._failed(failure)

    def _next(self) -> dict[int, TakenRow]:
        """Take the rows that are judged next, by the numbers that they get: they are of one lane."""
        some: dict[int, TakenRow] = {}
        lane = self._coming[0].lane if self._coming else None
        while self._coming and len(some) < self._most and self._coming[0].lane is lane:
            row = self._coming.popleft()
            some[self.rows.add(row)] = row
        return some

    async def _judge(self, some: dict[int, TakenRow]) -> None:
        """Judge rows of one lane, and gather the good ones."""
        if not some:
            return
        first, lane = min(some), next(iter(some.values())).lane
        self._judging = len(some)
        try:
            if refusal := await self._is_prepared(lane):
                self._refuse(some, refusal)
                return
            for block in batch_of([row.given for row in some.values()]):
                numbered = evolve(block, number=first)
                first += len(block)
                for rows in await self.endurance.judging(partial(lane.reader.encode, numbered)):
                    self._gather_all(lane, rows)
        finally:
            self._judging = 0
            self._let_go(some.values())

    async def _is_prepared(self, lane: Lane) -> str:
        """Find the lists of a lane, unless they are known; give why nothing can be sent to them, or nothing."""
        if not lane.prepared:
            try:
                await self.endurance.judging(lane.reader.prepare)
            except UsageError as why:
                return why.sentence
            lane.prepared = True
        return ""

    def _refuse(self, some: dict[int, TakenRow], why: str) -> None:
        """Give rows their outcome that cannot be sent to their lists."""
        for row in some.values():
            row.refusal = why
        self._leave_unsent(list(some), why)

    def _gather_all(self, lane: Lane, rows: EncodedRows) -> None:
        """Gather rows, in their order: those that change the exclusion list in a lane beside the other one."""
        if not any(EXCLUDES in encoded for encoded in rows.encoded):
            self._gather(lane, rows)
            return
        for excludes, some in groupby(range(len(rows.encoded)), lambda at: EXCLUDES in rows.encoded[at]):
            part = rows.at(list(some))
            if excludes:
                for number in part.numbers:
                    self.rows[number].move_to(self.lanes.excluding(lane))
            self._gather(self.lanes.excluding(lane) if excludes else lane, part)

    def _gather(self, lane: Lane, rows: EncodedRows) -> None:
        people = list(map(hash, keys_of(rows.addresses)))
        for number, person in zip(rows.numbers, people, strict=True):
            self.rows[number].person = person
        if (free := self.turns.enter(lane, rows, people)) is not None:
            lane.gathered.add(free, self._loop.time())

    def _take_released(self) -> None:
        """Gather rows that have waited for others of their person."""
        for lane, rows in self.turns.release():
            lane.gathered.add_early(rows)

    @staticmethod
    def _let_go(some: Iterable[TakenRow]) -> None:
        """Let the callers go on that wait for rows to be judged."""
        for row in some:
            if row.judged is not None and not row.judged.done():
                row.judged.set_result(None)

    # Leaving

    def leave(self) -> None:
        """Have chunks leave that may leave, and set the timer for the next one."""
        try:
            self._departures.leave(lingering=not self._flushing)
        except BaseException as failure:  # noqa: BLE001  # a full disk, for example
            self._failed(failure)
        self.lanes.drop_idle()
        self._alarm.set(self._departures.next)
        self._moved()

    def _chunk_ended(self) -> None:
        """Hear that a chunk has ended: rows that waited for it are let go before anything leaves."""
        self._loop.call_soon(self.leave)

    # The end

    def halt(self) -> None:
        """Send nothing more."""
        for lane in self.lanes:
            lane.pipeline.halt()

    async def stop(self, within: float) -> None:
        """Stop everything, and give each row that is left its outcome. Requests under way have this many seconds."""
        try:
            if self._work is not None:
                self._work.cancel()
                await ended([self._work])
            await ended([keep(lane.pipeline.stop(within)) for lane in self.lanes])
        finally:
            self._alarm.set(None)
            while self._coming:
                self._let_go(self._next().values())
            self.turns.end()
            self._leave_unsent(list(self.rows), self._why())
            self._spill.close()

    def _leave_unsent(self, numbers: Sequence[int], why: str) -> None:
        """Give rows their outcome that are in no chunk, and will be in none."""
        self._count(not_sent=len(numbers))
        rows = tuple(range(number, number + 1) for number in numbers)
        self.ledger.post_unsettled(Unsettled(rows=rows, cause=why), not_sent=len(numbers))
