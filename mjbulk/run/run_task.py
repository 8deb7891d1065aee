"""One source taken to its end: source -> rows -> chunks -> requests -> jobs -> outcomes -> report.

The reader goes on only when the pipeline has room. Whatever ends the run early is its cause: what was sent is settled
where the source alone has failed, and left as it is where the run itself has.

A run that its journal knows reads its source from the beginning: what was settled is skipped, jobs that are known are
watched again, and nothing is sent before every chunk that was cut before has been found unchanged.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any

from attrs import evolve, frozen

from mjbulk.chunks.chunk import SizeLimit
from mjbulk.errors import Error, JournalError, RowsRejected, SourceError, UsageError
from mjbulk.events import Scope
from mjbulk.journal.records import mask
from mjbulk.models import Progress, Rejection, Rejections
from mjbulk.outcomes.ledger import Ledger
from mjbulk.outcomes.report import Report
from mjbulk.outcomes.row_set import RowSet
from mjbulk.rows.sources import Source
from mjbulk.run.books import post_before, post_rest, post_stored, report_of
from mjbulk.run.context import RunContext
from mjbulk.run.engine import Engine
from mjbulk.run.figures import Figures
from mjbulk.run.pipeline import Pipeline
from mjbulk.run.reader import Reader
from mjbulk.run.run_events import RunEvents
from mjbulk.run.run_log import RunLog
from mjbulk.run.stage import ROOM, Stage
from mjbulk.spill import SmallValues, Spill, sentence_of
from mjbulk.tasks import Running, finish, keep
from mjbulk.terms import RunSpec


@frozen
class Beginning:
    """What a run begins with, or goes on with."""

    source: Source | None
    """None if a run goes on and its source is not available: then its known jobs are settled, and nothing is sent."""
    spec: RunSpec
    log: RunLog


class Overdue(Error):
    """The timeout of a run ran out."""


class _NoSource(Error):
    """A run went on without its source, and is not at its end."""


class RunTask:
    """A run, as its own task sees it. Mutable state: how far it has come, its books, and what ended it early."""

    def __init__(
        self, run_id: str, begin: Callable[[], Awaitable[Beginning]], engine: Engine, notify: Callable[[], None]
    ) -> None:
        """Do nothing yet: `main` does all. ``notify`` is called when a snapshot shows something new."""
        self.cause: BaseException | None = None
        """What ended it early."""
        self.report: Report | None = None
        """None before the end."""
        self.stage = Stage()
        self._run_id = run_id
        self._events = RunEvents(engine.emit, Scope(run_id=run_id))
        self._begin = begin
        self._engine = engine
        self._tell = notify
        self._spec = RunSpec(lists=None)
        self._log: RunLog | None = None
        self._reader: Reader | None = None
        self._pipeline: Pipeline | None = None
        self._ledger = Ledger(engine.settings.spool_dir)
        self._rows_before = 0
        self._stored = False
        self._halted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._figures = Figures(self._ledger, engine)
        self._spill = Spill(engine.settings.spool_dir, engine.memory)

    # What is seen of it

    @property
    def sent_anything(self) -> bool:
        """Whether a chunk was begun."""
        return self._pipeline is not None and self._pipeline.sent_anything

    @property
    def waits_for_jobs(self) -> bool:
        """Whether its source was read to the end, and nothing can be done before a job ends."""
        return self.stage.whole and self._pipeline is not None and self._pipeline.waits_for_jobs

    @property
    def rejections(self) -> Rejections:
        """Those that are known so far."""
        return self._ledger.rejections

    def _notify(self) -> None:
        self.stage.move()
        self._tell()

    def describe(self) -> str:
        """Say how far it has come, and what it waits for."""
        rows = f"{self._ledger.settled} of {self._rows} rows settled"
        return f"under way, {rows}, waits for {self.stage.awaits}, {self._pipeline!r}"

    def progress(self) -> Progress:
        """Give a snapshot."""
        room = self._pipeline.room_waits_for if self._pipeline is not None else None
        why = self.stage.why_nothing_moves(self._engine.transport.trouble, room)
        return self._figures.snapshot(self._rows, self._pipeline, why)

    @property
    def _rows(self) -> int:
        return self._reader.rows if self._reader is not None else self._rows_before

    # The whole

    async def main(self, timeout: float | None) -> None:
        """Take the run to its end. Raises only what is no Error: that is a fault of ours, or ends the process."""
        self._figures.requests.begin()
        self._events.scope.enter()
        loop = asyncio.get_running_loop()
        overdue = Overdue(f"its timeout of {timeout} s ran out")
        timer = loop.call_later(timeout, self.halt, overdue) if timeout is not None else None
        work: Running[Any] = keep(self._work(), name=f"mjbulk {self._run_id} work")
        try:
            await asyncio.wait({work, self._halted}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError as cancelled:
            self.halt(cancelled)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            await self._wind_up(work)
        if self.cause is not None and not isinstance(self.cause, Error):
            raise self.cause

    def halt(self, cause: BaseException) -> None:
        """Stop reading and sending; the first cause counts."""
        if self.report is not None:
            return
        if isinstance(cause, asyncio.CancelledError):  # also from within: no caller did it
            cause = Error("it was cancelled")
        self.cause = self.cause or sentence_of(cause)
        if self._pipeline is not None:
            self._pipeline.halt()
        if not self._halted.done():
            self._halted.set_result(None)

    async def _work(self) -> None:
        """Send the whole source and settle it. A fault of the source is kept until what was sent is settled."""
        try:
            self._events.started()
            try:
                await self._take()
            except (SourceError, RowsRejected) as cause:
                self.cause = self.cause or cause
                if isinstance(cause, RowsRejected):
                    self.stage.accept()
                if self._pipeline is not None:
                    self._pipeline.close()
            if self._pipeline is not None:
                self.stage.awaits = "the end of its jobs"
                await self._pipeline.done()
        except BaseException as cause:  # noqa: BLE001  # what it is decides how the run ends, in main
            self.halt(cause)

    async def _take(self) -> None:
        """Find out what there is to do, and do it."""
        beginning = await self._begin()
        self._spec, self._log = beginning.spec, beginning.log
        before = self._log.history.run
        self._figures.go_on(before.requests, before.milliseconds / 1000)
        self.stage.opened.set()
        await self._engine.recall()
        if self._log.history.chunks:
            self._engine.transport.expect_outages()
        self._stored = self._log.finished(self._spec)
        if self._log.only_reads and not self._stored:
            raise UsageError(f"run {self._run_id!r} is not complete: resume it")
        if self._stored and not self._log.only_reads:
            await self._recall(self._log)
        elif beginning.source is None:
            await self._settle_known(self._log)
        else:
            await self._send(self._log, beginning.source)

    # Sending

    async def _send(self, log: RunLog, source: Source) -> None:
        """Read the source to its end, and have each chunk delivered."""
        self.stage.source, fresh = source, not log.history.chunks
        self._reader = reader = Reader(source, self._spec, self._engine, self._reject, digests=log.keeps, fresh=fresh)
        pipeline = self._prepare(log, reader.learned)
        self.stage.awaits = "the properties and lists of the account"
        log.check_targets(await reader.prepare())
        await log.read_again()
        await self._engine.starts.turn()
        self.stage.awaits = "its source"
        async with aclosing(reader.batches()) as batches:
            async for batch in batches:
                if self._has_enough(pipeline):  # a source may go on when it is cancelled
                    return
                await reader.judge(batch)
                await self._take_batch(batch, reader, pipeline)
                await log.begin()
                await log.catch_up()
                if reader.good:
                    self.stage.accept()
                self.stage.awaits = ROOM
                await pipeline.room()
                self.stage.awaits = "its source"
                if self._has_enough(pipeline):
                    return
                self._notify()
                await asyncio.sleep(0)
        reader.end()
        pipeline.end()
        self.stage.whole = True
        log.check_end(reader.rows)
        self.stage.accept()
        self.stage.awaits = "jobs with earlier rows of the same people"
        await pipeline.all_cut()
        if not pipeline.over:
            await log.mark_whole(reader.rows)

    def _has_enough(self, pipeline: Pipeline) -> bool:
        """Say whether nothing more is to be read. Raises RowsRejected if too many rows were rejected."""
        if isinstance(self.cause, RowsRejected):
            raise self.cause
        return pipeline.over

    async def _take_batch(self, batch: Any, reader: Reader, pipeline: Pipeline) -> None:
        for block in batch:
            pipeline.arrive(*reader.next_rows(block))
            for rows in await reader.encode(block):
                pipeline.add(rows, reader.rules, reader.sender)
            self._events.rows_settled()
            await pipeline.passed(reader.row)

    def _prepare(self, log: RunLog, learned: SizeLimit) -> Pipeline:
        context = RunContext(
            run_id=self._run_id,
            spec=self._spec,
            engine=self._engine,
            ledger=self._ledger,
            log=log,
            notify=self._notify,
            learned=learned,
            spill=self._spill,
            held=SmallValues(self._spill),
            scope=self._events.scope,
        )
        commit = self._reader.commit if self._reader is not None else lambda: None
        self._pipeline = Pipeline(context, commit, failed=self.halt, ended=self._check_rejected, why=self._why)
        return self._pipeline

    def _why(self) -> str:
        return str(self.cause) if isinstance(self.cause, Error) else "the run was cancelled"

    def _reject(self, rejection: Rejection) -> None:
        self._ledger.post_rejections([rejection])
        if self._log is not None and self._pipeline is not None and not self._pipeline.is_new(rejection.row or 0):
            self._ledger.recalled += 1
        else:
            self._events.refused += 1
            if self._log is not None:
                self._log.refuse(rejection)
        self._check_rejected()
        if isinstance(self.cause, RowsRejected):
            raise self.cause

    def _check_rejected(self) -> None:
        """Stop reading where more rows were rejected than the caller allows; what was sent is settled."""
        allowed = self._spec.max_rejected
        if allowed is not None and self._ledger.rejected > allowed and self.cause is None:
            self.cause = RowsRejected(self._make_report(), allowed=allowed)
            if self._pipeline is not None:
                self._pipeline.close()

    # Going on without sending

    async def _recall(self, log: RunLog) -> None:
        """Give the stored report of a run that has ended."""
        counts = log.history.counts()
        self._rows_before = counts.rows
        with self._ledger.recalling():
            await post_stored(self._ledger, log, counts)
        self.stage.accept()

    async def _settle_known(self, log: RunLog) -> None:
        """Without the source: settle the jobs that are known. The rest waits for the source."""
        history = log.history
        counts = history.counts()
        if not log.gathers and (counts.not_sent or not history.run.whole):
            self.cause = _NoSource("its source is not at hand: what it had not yet sent waits for it")
        self._rows_before = counts.rows  # also if it is stopped before more is known
        pipeline = self._prepare(log, SizeLimit(self._engine.settings.chunk_bytes))
        with self._ledger.recalling():
            self._rows_before = await post_before(self._ledger, log, counts)
        for chunk in history.chunks.values():
            await pipeline.take_known(chunk)
        self.stage.accept()

    # The end

    async def _wind_up(self, work: Running[Any]) -> None:
        """Let requests under way end, within bounds, stop everything else, and close the books.

        A loop that shuts down cancels this once; what follows is done all the same.
        """
        end = asyncio.get_running_loop().time() + self._engine.settings.stop_within
        self.stage.awaits = "what is still under way, to stop"
        self._figures.stop()
        work.cancel()
        async with AsyncExitStack() as then:  # in the reverse order
            then.callback(self._spill.close)
            then.callback(self._notify)
            then.callback(self._finish)
            then.push_async_callback(self._close_log, end)
            then.callback(self._post_the_rest)
            then.push_async_callback(self._wait_for_source, work, end)
            if self._pipeline is not None:
                await self._pipeline.stop(self._engine.settings.stop_within)

    async def _wait_for_source(self, work: Running[Any], end: float) -> None:
        """Wait until nothing is read any more. The source belongs to the user, and may never end."""
        await asyncio.wait([work], timeout=max(end - asyncio.get_running_loop().time(), 0.0))

    def _post_the_rest(self) -> None:
        """Post the rows that were read and have no outcome."""
        left, ledger = self._rows - self._ledger.settled, self._ledger
        if not left:
            return
        unknown, not_sent = ledger.unknown, ledger.not_sent
        cause = self._why() if self.cause else "it was not sent"
        if self._reader is None:
            post_rest(self._ledger, RowSet.of([range(1, self._rows + 1)]), None, left, cause)
        else:
            sent = RowSet.of(self._log.sent_before(self._reader.row) if self._log is not None else ())
            post_rest(self._ledger, self._reader.seen, sent, left, cause)
        self._events.rows_settled(unknown=ledger.unknown - unknown, not_sent=ledger.not_sent - not_sent)

    async def _close_log(self, end: float) -> None:
        """Write down how the run ended; a run that was stopped can go on."""
        if self._log is None:
            return
        figures: dict[str, Any] = {
            "closed": True,
            "cause": mask(self._why()) if self.cause is not None else "",
            "rows": self._rows,
        }
        if not self._stored:
            requests, seconds = self._figures.all_requests, self._figures.all_seconds
            figures |= {"requests": requests, "milliseconds": round(seconds * 1000)}
        refused = isinstance(self.cause, UsageError) and not self.sent_anything
        if self._log.keeps:
            self._log.later(*self._engine.lessons())
        try:
            async with asyncio.timeout(max(end - asyncio.get_running_loop().time(), 1.0)):
                await finish(self._log.close(refused=refused, **figures))
        except TimeoutError:
            self.halt(JournalError("the journal cannot be used: it does not answer"))
        except JournalError as failure:
            self.halt(failure)

    def _finish(self) -> None:
        """Make the report, and tell that the run has ended."""
        report = self._make_report()
        if isinstance(self.cause, RowsRejected):  # when it was raised, the books were open
            self.cause.report = evolve(report, halted=Error(str(self.cause)))
        self._figures.end(self._rows, self._pipeline)
        self.report = report
        self.stage.end()
        self._events.ended(report, mask(self._why()) if self.cause is not None else None)

    def _make_report(self) -> Report:
        run = self._log.history.run if self._log is not None and self._stored else None
        return report_of(
            self._ledger,
            self._rows,
            spec=self._spec,
            run_id=self._run_id,
            requests=run.requests if run is not None else self._figures.all_requests,
            seconds=run.milliseconds / 1000 if run is not None else self._figures.all_seconds,
            stored=self._stored,
            halted=self.cause if isinstance(self.cause, Error) else None,
        )
