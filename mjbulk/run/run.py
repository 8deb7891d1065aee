"""ImportRun: source -> chunks -> submit -> watch -> books -> Report.

One task reads the source, encodes rows and collects them into chunks; each chunk has a task of its own that waits for
the chunks before it that share a person, hands it over, waits for its job and settles its rows. The reader goes on
only when there is room: for a body in memory, and for a job at Mailjet.

A run that its journal knows reads its source from the beginning: what was settled is skipped, jobs that are known are
watched again, and nothing is sent before every chunk that was cut before has been found unchanged.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import aclosing
from typing import Any

from attrs import evolve, frozen

from mjbulk.chunks.chunker import SizeLimit
from mjbulk.errors import (
    Error,
    ImportHalted,
    ImportTimeout,
    JournalError,
    RowsRejected,
    SourceError,
    UsageError,
)
from mjbulk.events import Event
from mjbulk.jobs.scheduler import WatchedJob
from mjbulk.journal.protocol import CLOSING
from mjbulk.journal.records import rejection_of
from mjbulk.models import Progress, Rejection, Unsettled
from mjbulk.outcomes.ledger import Ledger
from mjbulk.outcomes.report import Report
from mjbulk.public import public
from mjbulk.rows.sources import Source
from mjbulk.run.engine import Engine
from mjbulk.run.pipeline import GRACE, Deliveries
from mjbulk.run.reader import Intake
from mjbulk.run.run_log import RunLog
from mjbulk.run.submission import Desk
from mjbulk.terms import RunSpec


@frozen
class Beginning:
    """What a run begins with, or goes on with."""

    source: Source | None
    """None where a run goes on and its source is not at hand: then its known jobs are settled, and nothing is sent."""
    spec: RunSpec
    log: RunLog


@public
class ImportRun:
    """One import under way: ``await run``, ``await run.wait()``, or ``async for progress in run``.

    Mutable state: the ledger, the deliveries, and what stopped the run.
    """

    def __init__(self, run_id: str, begin: Callable[[], Awaitable[Beginning]], engine: Engine) -> None:
        """Made by ``Client.start_import``; it runs at once, in a task of its own."""
        self.run_id = run_id
        """Names the run in its report, its errors and its events."""
        self._begin = begin
        self._engine = engine
        self._spec = RunSpec(lists=None)
        self._log: RunLog | None = None
        self._intake: Intake | None = None
        self._ledger = Ledger()
        self._rows_before = 0
        self._deliveries: Deliveries | None = None
        self._changed = asyncio.Event()
        self._halted = asyncio.Event()
        self._cause: BaseException | None = None
        self._enough: RowsRejected | None = None
        self._stored = False
        self._began = asyncio.get_running_loop().time()
        self._requests_before = engine.transport.requests
        self._timer: asyncio.TimerHandle | None = None
        self._report: Report | None = None
        self._task = asyncio.create_task(self._main(), name=f"mjbulk {run_id}")

    def __repr__(self) -> str:
        return f"<ImportRun {self.run_id} {'ended' if self._task.done() else 'under way'}>"

    # What users call

    @property
    def progress(self) -> Progress:
        """The newest snapshot."""
        seconds = asyncio.get_running_loop().time() - self._began
        settled = self._ledger.settled
        rate = settled / seconds if seconds > 0 else 0.0
        watched = list(self._deliveries.watched()) if self._deliveries else []
        return Progress(
            **self._counts(),
            jobs=self._deliveries.statuses() if self._deliveries else {},
            requests=self._engine.transport.requests - self._requests_before,
            rate=rate,
            eta=self._eta(watched, rate),
            stalled=tuple(job.ref for job in watched if job.track.stalled),
        )

    def _eta(self, watched: Sequence[WatchedJob], rate: float) -> float | None:
        """Give the seconds until all that was read is settled: jobs by their forecasts, other rows at this rate."""
        now = asyncio.get_running_loop().time()
        others = self._rows - self._ledger.settled - sum(job.track.rows for job in watched)
        ends = [max(job.ends - now, 0.0) for job in watched]
        if others > 0 and rate:
            ends.append(others / rate)
        return max(ends, default=None)

    async def wait(self) -> Report:
        """Wait for the end and give the report, whatever it says; ``report.halted`` tells why it stopped early."""
        await asyncio.shield(self._task)
        return self._ended()

    async def stop(self) -> Report:
        """Stop reading and sending. Requests under way may end; jobs that Mailjet has taken go on there."""
        self._halt(Error("it was stopped"))
        return await self.wait()

    def when_ended(self, call: Callable[["ImportRun"], object]) -> None:
        """Have a function called with this run when it has ended."""
        self._task.add_done_callback(lambda _: call(self))

    def __await__(self) -> Generator[Any, None, Report]:
        return self.result().__await__()

    async def result(self) -> Report:
        """Wait for the end and give the report.

        Raises UsageError where the run was refused before anything was sent, ImportTimeout or ImportHalted where it
        stopped early.
        """
        report = await self.wait()
        if report.halted is None:
            return report
        sent_anything = self._deliveries is not None and self._deliveries.sent_anything
        if isinstance(report.halted, UsageError) and not sent_anything:
            raise report.halted
        kind = ImportTimeout if isinstance(self._cause, _Overdue) else ImportHalted
        raise kind(report, self.run_id, why=str(report.halted)) from report.halted

    async def __aiter__(self) -> AsyncIterator[Progress]:
        """Give the newest snapshot whenever something has changed; a slow reader skips, and never slows the run."""
        while not self._task.done():
            changed = self._changed
            yield self.progress
            if not self._task.done() and changed is self._changed:
                await changed.wait()
        yield self.progress

    # The run

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _halt(self, cause: BaseException) -> None:
        """Stop reading and sending; the first cause counts."""
        if isinstance(cause, OSError):
            cause = Error(f"rows cannot be put aside in {tempfile.gettempdir()}: {cause.strerror}")
        if self._cause is None and not self._task.done():
            self._cause = cause
        if self._deliveries is not None:
            self._deliveries.halt()
        self._halted.set()

    def _ended(self) -> Report:
        if self._report is None:
            raise Error("the run ended without a report")
        return self._report

    @property
    def _rows(self) -> int:
        return self._intake.rows if self._intake is not None else self._rows_before

    async def _main(self) -> None:
        self._engine.emit(Event(name="run.started", run_id=self.run_id))
        work = asyncio.create_task(self._work())
        stopped = asyncio.create_task(self._halted.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._wind_up(work, stopped)
        if self._cause is not None and not isinstance(self._cause, Error):
            raise self._cause

    async def _work(self) -> None:
        """Send the whole source and settle it. A fault of the source is kept until what was sent is settled."""
        try:
            await self._open()
        except (SourceError, RowsRejected) as cause:
            self._cause = self._cause or cause
        except asyncio.CancelledError:
            self._halt(Error("it was cancelled"))  # also from within: no run that was not read to its end looks whole
            raise
        except BaseException as cause:  # noqa: BLE001  # what it is decides how the run ends, in _main
            self._halt(cause)
            return
        if self._deliveries is not None:
            await self._deliveries.wait()

    async def _open(self) -> None:
        """Find out what there is to do, and do it."""
        beginning = await self._begin()
        self._spec, self._log = beginning.spec, beginning.log
        await self._engine.recall()
        if self._spec.timeout is not None:
            overdue = _Overdue(f"its timeout of {self._spec.timeout} s ran out")
            self._timer = asyncio.get_running_loop().call_later(self._spec.timeout, self._halt, overdue)
        if self._log.finished(self._spec):
            await self._recall(self._log)
        elif beginning.source is None:
            await self._settle_known(self._log)
        else:
            await self._send(self._log, beginning.source)

    async def _wind_up(self, work: asyncio.Task[None], stopped: asyncio.Task[Any]) -> None:
        """Let requests under way end, within bounds, stop everything else, and close the books."""
        work.cancel()
        stopped.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._deliveries is not None:
            await self._deliveries.stop()
        await asyncio.wait({work, stopped}, timeout=GRACE)  # the source is the user's: it may take its time to close
        left, cause = self._rows - self._ledger.settled, str(self._cause or "it was not sent")
        if self._intake is not None:
            taken = self._deliveries.last_row if self._deliveries else 0
            rows = range(taken + 1, self._intake.row + 1)
            self._ledger.post_unsettled(Unsettled(rows=rows, cause=cause), not_sent=left)
        else:  # a run without its source that was stopped: what it had not yet looked at may have been sent
            self._ledger.post_unsettled(Unsettled(rows=range(1, self._rows + 1), cause=cause), unknown=left)
        await self._close_log()
        self._report = self._make_report()
        if isinstance(self._cause, RowsRejected):  # when it was raised, the books were open
            self._cause.report = evolve(self._report, halted=Error(str(self._cause)))
        self._engine.emit(Event(name="run.ended", run_id=self.run_id, rows=self._rows))
        self._notify()

    async def _close_log(self) -> None:
        """Write down how the run ended; a run that was stopped can go on."""
        if self._log is None:
            return
        settled = self._cause is None or isinstance(self._cause, _NoSource)
        figures = {} if self._stored else {"requests": self._requests(), "milliseconds": round(self._seconds() * 1000)}
        try:
            self._log.later(*self._engine.lessons())
            refused = isinstance(self._cause, UsageError)
            closing = asyncio.create_task(self._log.close(refused=refused, settled=settled, **figures))
            done, _ = await asyncio.wait({closing}, timeout=CLOSING)
            if done:
                await closing
            else:
                self._halt(JournalError("the journal cannot be used: it does not answer"))
        except JournalError as failure:
            self._halt(failure)

    def _counts(self) -> dict[str, Any]:
        """Give the books as they stand, as the fields of a record."""
        return self._ledger.counts(self._rows).as_dict()

    def _requests(self) -> int:
        before = self._log.history.run.requests if self._log else 0
        return before + self._engine.transport.requests - self._requests_before

    def _seconds(self) -> float:
        before = self._log.history.run.milliseconds / 1000 if self._log else 0.0
        return before + asyncio.get_running_loop().time() - self._began

    def _make_report(self) -> Report:
        return Report(
            **self._counts(),
            spec=self._spec,
            run_id=self.run_id,
            jobs=tuple(self._ledger.jobs),
            requests=self._log.history.run.requests if self._log and self._stored else self._requests(),
            seconds=self._log.history.run.milliseconds / 1000 if self._log and self._stored else self._seconds(),
            stored=self._stored,
            halted=self._cause if isinstance(self._cause, Error) else None,
            rejections=self._ledger.rejections,
            unsettled=tuple(self._ledger.unsettled),
        )

    # Sending

    async def _send(self, log: RunLog, source: Source) -> None:
        """Read the source to its end, and have each chunk delivered."""
        self._intake = intake = Intake(
            source,
            self._spec,
            self._engine,
            self._reject,
            pause=self._pause,
            rows_of=log.rows_of if log.keeps else None,
        )
        deliveries = self._prepare(log, intake.learned)
        log.check_targets(await intake.prepare())
        await log.read_again()
        chunks = 0
        async with aclosing(intake.chunks()) as given:
            async for chunk in given:
                if self._enough is not None:
                    raise self._enough
                chunks = chunk.number
                await deliveries.take(chunk, intake.sender)
                self._notify()
        log.check_end(chunks, intake.rows)
        await log.mark_whole(intake.rows)

    def _prepare(self, log: RunLog, learned: SizeLimit) -> Deliveries:
        desk = Desk(
            run_id=self.run_id,
            spec=self._spec,
            engine=self._engine,
            ledger=self._ledger,
            log=log,
            notify=self._notify,
            bodies=asyncio.Semaphore(2 * self._engine.settings.concurrency),
            learned=learned,
        )
        self._deliveries = Deliveries(desk, failed=self._halt, ended=self._delivered, why=self._why)
        return self._deliveries

    def _delivered(self) -> None:
        self._check_rejected()
        self._notify()

    def _why(self) -> str:
        return str(self._cause) if isinstance(self._cause, Error) else "the run was cancelled"

    async def _pause(self) -> None:
        """Let others go on, and the journal catch up."""
        if self._log is not None:
            await self._log.catch_up()
        await asyncio.sleep(0)

    def _reject(self, rejection: Rejection) -> None:
        self._ledger.post_rejected(rejection)
        if self._log is not None:
            self._log.refuse(rejection)
        self._check_rejected()
        if self._enough is not None:
            raise self._enough

    def _check_rejected(self) -> None:
        """Stop reading where more rows were rejected than the caller allows; what was sent is settled."""
        allowed = self._spec.max_rejected
        if allowed is not None and self._ledger.rejected > allowed and self._enough is None:
            self._enough = RowsRejected(self._make_report(), allowed=allowed)

    # Going on without sending

    async def _recall(self, log: RunLog) -> None:
        """Give the stored report of a run that has ended."""
        self._stored = True
        counts = log.history.counts()
        self._rows_before = counts.rows
        ledger = self._ledger
        ledger.post_accepted(counts.accepted, counts.superseded)
        ledger.unknown += counts.unknown
        ledger.unsettled.extend(log.history.unsettled())
        ledger.jobs.extend(log.history.jobs())
        async for record in log.rejections():
            (ledger.keep_unassigned if record.row is None else ledger.post_rejected)(rejection_of(record))

    async def _settle_known(self, log: RunLog) -> None:
        """Without the source: settle the jobs that are known. The rest waits for the source."""
        history = log.history
        counts = history.counts()
        self._rows_before = counts.rows
        if counts.not_sent or not history.run.whole:
            self._cause = _NoSource("its source is not at hand: what it had not yet sent waits for it")
        deliveries = self._prepare(log, SizeLimit(self._engine.settings.chunk_bytes))
        async for record in log.rejections(0):
            self._ledger.post_rejected(rejection_of(record))
        for chunk in history.chunks.values():
            await deliveries.take_known(chunk)


class _Overdue(Error):
    """The timeout of a run ran out."""


class _NoSource(Error):
    """A run went on without its source, and is not at its end."""
