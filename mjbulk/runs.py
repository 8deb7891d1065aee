"""ImportRun: source -> chunks -> submit -> watch -> books -> Report.

One task reads the source, encodes rows and collects them into chunks; each chunk has a task of its own that waits for
the chunks before it that share a person, hands it over, waits for its job and settles its rows. The reader goes on
only when there is room: for a body in memory, and for a job at Mailjet.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import aclosing
from typing import Any

from mjbulk._chunking import Chunk
from mjbulk._delivery import Delivery, Desk
from mjbulk._engine import Engine
from mjbulk._events import Event
from mjbulk._intake import Intake
from mjbulk._lanes import Lanes
from mjbulk._sources import Source
from mjbulk.errors import (
    Error,
    ImportHalted,
    ImportTimeout,
    RowsRejected,
    SourceError,
    UsageError,
)
from mjbulk.models import Progress, Rejection, RunSpec, Unsettled
from mjbulk.report import Ledger, Report

_GRACE = 10.0
"""Seconds that requests under way have to end when a run is stopped."""


class ImportRun:
    """One import under way: ``await run``, ``await run.wait()``, or ``async for progress in run``.

    Mutable state: the ledger, the deliveries, and what stopped the run.
    """

    def __init__(self, run_id: str, source: Source, spec: RunSpec, engine: Engine) -> None:
        """Made by ``Client.start_import``; it runs at once, in a task of its own."""
        self.run_id = run_id
        """Names the run in its report, its errors and its events."""
        self._spec = spec
        self._engine = engine
        self._source = source
        self._ledger = Ledger()
        self._lanes = Lanes()
        self._bodies = asyncio.Semaphore(2 * engine.settings.concurrency)
        self._deliveries: dict[asyncio.Task[None], Delivery] = {}
        self._unfinished: dict[int, Delivery] = {}
        self._changed = asyncio.Event()
        self._halted = asyncio.Event()
        self._cause: Exception | None = None
        self._intake = Intake(source, spec, engine, self._reject)
        self._desk = Desk(
            run_id=run_id,
            spec=spec,
            engine=engine,
            ledger=self._ledger,
            learned=self._intake.learned,
            bodies=self._bodies,
        )
        self._enough: RowsRejected | None = None
        self._last_row = 0
        self._sent_anything = False
        self._began = asyncio.get_running_loop().time()
        self._requests_before = engine.transport.requests
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
        waiting = self._intake.rows - settled
        jobs = dict(self._desk.statuses)
        for status in (status for delivery in self._unfinished.values() for status in delivery.statuses()):
            jobs[status] = jobs.get(status, 0) + 1
        return Progress(
            **self._counts(),
            jobs=jobs,
            requests=self._engine.transport.requests - self._requests_before,
            rate=rate,
            eta=waiting / rate if rate else None,
        )

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
        if isinstance(report.halted, UsageError) and not self._sent_anything:
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

    def _halt(self, cause: Exception) -> None:
        """Stop reading and sending; the first cause counts."""
        if self._cause is None and not self._task.done():
            self._cause = cause
        self._halted.set()

    def _ended(self) -> Report:
        if self._report is None:
            raise Error("the run ended without a report")
        return self._report

    async def _main(self) -> None:
        self._engine.emit(Event(name="run.started", run_id=self.run_id))
        work = asyncio.create_task(self._work())
        stopped = asyncio.create_task(self._halted.wait())
        try:
            done, _ = await asyncio.wait(
                {work, stopped}, timeout=self._spec.timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                self._halt(_Overdue(f"its timeout of {self._spec.timeout} s ran out"))
        finally:
            await self._wind_up(work, stopped)
        if self._cause is not None and not isinstance(self._cause, Error):
            raise self._cause

    async def _work(self) -> None:
        """Send the whole source and settle it. A fault of the source is kept until what was sent is settled."""
        try:
            await self._intake.prepare()
            await self._send()
        except (SourceError, RowsRejected) as cause:
            self._cause = self._cause or cause
        except Exception as cause:  # noqa: BLE001  # what it is decides how the run ends, in _main
            self._halt(cause)
            return
        while self._deliveries:
            await asyncio.wait(self._deliveries)

    async def _wind_up(self, work: asyncio.Task[None], stopped: asyncio.Task[Any]) -> None:
        """Let requests under way end, within bounds, stop everything else, and close the books."""
        work.cancel()
        stopped.cancel()
        submitting = [task for task, delivery in self._deliveries.items() if delivery.submitting]
        for task, delivery in list(self._deliveries.items()):
            if not delivery.submitting:
                task.cancel()
        if submitting:
            await asyncio.wait(submitting, timeout=_GRACE)
        tasks = [*self._deliveries, work, stopped]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._desk.spill.close()
        left = self._intake.rows - self._ledger.settled
        unsent = Unsettled(
            rows=range(self._last_row + 1, self._intake.row + 1), cause=str(self._cause or "it was not sent")
        )
        self._ledger.leave(unsent, not_sent=left)
        self._report = self._make_report()
        self._engine.emit(Event(name="run.ended", run_id=self.run_id, rows=self._intake.rows))
        self._notify()

    def _counts(self) -> dict[str, Any]:
        """Give the books as they stand, as the fields of a record."""
        return self._ledger.counts(self._intake.rows).as_dict()

    def _make_report(self) -> Report:
        loop = asyncio.get_running_loop()
        return Report(
            **self._counts(),
            spec=self._spec,
            run_id=self.run_id,
            jobs=tuple(self._ledger.jobs),
            requests=self._engine.transport.requests - self._requests_before,
            seconds=loop.time() - self._began,
            halted=self._cause if isinstance(self._cause, Error) else None,
            rejections=self._ledger.rejections,
            unsettled=tuple(self._ledger.unsettled),
        )

    # Sending

    async def _send(self) -> None:
        async with aclosing(self._intake.chunks()) as chunks:
            async for chunk in chunks:
                if self._enough is not None:
                    raise self._enough
                await self._dispatch(chunk)

    def _reject(self, rejection: Rejection) -> None:
        self._ledger.reject(rejection)
        self._check_rejected()
        if self._enough is not None:
            raise self._enough

    def _check_rejected(self) -> None:
        """Stop reading where more rows were rejected than the caller allows; what was sent is settled."""
        allowed = self._spec.max_rejected
        if allowed is not None and self._ledger.rejected > allowed and self._enough is None:
            self._enough = RowsRejected(self._make_report(), allowed=allowed)

    async def _dispatch(self, chunk: Chunk) -> None:
        """Wait for room, and give a chunk to a task of its own."""
        entries = len(chunk.encoded)
        await self._bodies.acquire()
        await self._engine.slots.acquire(entries)
        self._sent_anything = True
        self._last_row = chunk.rows[-1]
        blockers = self._lanes.enter(chunk.number, chunk.keys)
        waits = [self._unfinished[number].done for number in sorted(blockers)]
        delivery = Delivery(chunk, self._intake.way, self._desk)
        self._unfinished[delivery.number] = delivery
        task = asyncio.create_task(delivery.deliver(waits))
        self._deliveries[task] = delivery
        task.add_done_callback(self._delivered)

    def _delivered(self, task: asyncio.Task[None]) -> None:
        """Close a chunk, also one whose task was cancelled before it began."""
        delivery = self._deliveries.pop(task)
        failure = None if task.cancelled() else task.exception()
        if isinstance(failure, Exception):
            self._halt(failure)
        delivery.close(str(self._cause) if isinstance(self._cause, Error) else "the run was cancelled")
        self._lanes.leave(delivery.number)
        del self._unfinished[delivery.number]
        self._engine.slots.release(delivery.entries)
        delivery.done.set()
        self._check_rejected()
        self._notify()


class _Overdue(Error):
    """The timeout of a run ran out."""
