"""ImportRun: what users hold of an import under way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, Self

from mjbulk.discreet import discreet
from mjbulk.errors import Error, ImportHalted, ImportTimeout, UsageError
from mjbulk.models import Progress, Rejections
from mjbulk.outcomes.report import Report
from mjbulk.public import public
from mjbulk.run.engine import Engine
from mjbulk.run.run_task import Beginning, Overdue, RunTask
from mjbulk.tasks import Home, is_stray, keep
from mjbulk.validators import POSITIVE, fits


@public
class ImportRun:
    """One import under way: ``await run``, ``await run.wait()``, or ``async for progress in run``.

    Any number may wait for it. Giving up waiting stops that wait alone; `stop` stops the run.
    """

    def __init__(
        self, run_id: str, begin: Callable[[], Awaitable[Beginning]], engine: Engine, timeout: float | None = None
    ) -> None:
        """Begin: ``Client.start_import`` makes it, and it runs at once, in a task of its own. ``timeout`` counts from
        now, in seconds.
        """
        self.run_id = run_id
        """Names the run in its report, its errors and its events."""
        self._home = Home("this run")
        self._home.check()
        self._changed = asyncio.Event()
        self._run = RunTask(run_id, begin, engine, self._notify)
        self.task = keep(self._run.main(timeout), name=f"mjbulk {run_id}")
        """Ends with the run."""

    def __repr__(self) -> str:
        return f"<ImportRun {self.run_id} {'ended' if self.task.done() else self._run.describe()}>"

    @property
    def progress(self) -> Progress:
        """The newest snapshot."""
        return self._run.progress()

    @property
    def share_read(self) -> float | None:
        """The share of its file that was read, from 0 to 1, by its bytes, or by rows of Parquet and spreadsheets; None
        if its size is not known.
        """
        return self._run.stage.share_read

    @property
    def waits_for_jobs(self) -> bool:
        """Whether its source was read to the end, and nothing can be done before a job ends.

        Then it costs nothing to stop it, and to resume it when the jobs have ended.
        """
        return self._run.waits_for_jobs

    @property
    def report(self) -> Report | None:
        """What became of every row; None before the end."""
        return self._run.report

    @property
    def rejections(self) -> Rejections:
        """The rejected rows that are known so far."""
        return self._run.rejections

    async def opened(self) -> None:
        """Wait until its journal has given it, or it has ended. It raises nothing for either."""
        self._home.check()
        await self._run.stage.opened.wait()

    @discreet
    async def started(self) -> Self:
        """Wait until keys, lists, columns and the first rows of the source were found good, and give the run.

        It waits for no room: other runs of the key may be sent first. Raises UsageError if the run was refused before
        anything was sent, and ImportHalted if it has stopped before its first rows were judged.
        """
        self._home.check()
        await self._run.stage.judged.wait()
        if self._run.report is not None and (self._refusal is not None or not self._run.stage.accepted):
            await self.result()
        return self

    @discreet
    async def wait(self) -> Report:
        """Wait for the end and give the report; ``report.halted`` tells why it stopped early.

        It never raises for what became of the run or of its rows: awaiting the run itself raises these.
        """
        self._home.check()
        try:
            await asyncio.shield(self.task)
        except asyncio.CancelledError:
            if not (self.task.cancelled() and is_stray()):
                raise
        if self._run.report is None:
            raise Error("the run ended without a report")
        return self._run.report

    @discreet
    async def stop(self) -> Report:
        """Stop reading and sending, and give the report of what is known then, within ``stop_within`` seconds.

        Requests under way may end; jobs that Mailjet has taken go on there. It raises no more than `wait`.
        """
        self.halt()
        return await self.wait()

    def halt(self) -> None:
        """Begin to stop, and do not wait for the end."""
        self._home.check()
        self._run.halt(Error("it was stopped"))

    def when_ended(self, call: Callable[["ImportRun"], object]) -> None:
        """Have a function called with this run when it has ended."""
        self.task.add_done_callback(lambda _: call(self))

    def __await__(self) -> Generator[Any, None, Report]:
        return self.result().__await__()

    @discreet
    async def result(self) -> Report:
        """Wait for the end and give the report.

        Raises UsageError if the run was refused before anything was sent, ImportTimeout or ImportHalted where it
        stopped early.
        """
        report = await self.wait()
        if report.halted is None:
            return report
        if self._refusal is not None:
            raise self._refusal
        kind = ImportTimeout if isinstance(self._run.cause, Overdue) else ImportHalted
        raise kind(report, self.run_id, why=str(report.halted)) from report.halted

    @property
    def _refusal(self) -> UsageError | None:
        """What has refused the run before anything was sent."""
        cause = self._run.cause
        return cause if isinstance(cause, UsageError) and not self._run.sent_anything else None

    async def __aiter__(self) -> AsyncIterator[Progress]:
        """Give the newest snapshot whenever something has changed; a slow reader skips, and never slows the run."""
        self._home.check()
        while not self.task.done():
            changed = self._changed
            yield self.progress
            if not self.task.done() and changed is self._changed:
                await changed.wait()
        yield self.progress

    @discreet
    def updates(self, *, every: float = 0.5) -> AsyncIterator[Progress]:
        """Give the newest snapshot now, then every ``every`` seconds, and the last one when the run has ended.

        It never raises for what became of the rows. Raises UsageError if ``every`` is not above 0.
        """
        self._home.check()
        if not fits(POSITIVE, every):
            raise UsageError("every= is a number of seconds above 0")
        return self._updates(every)

    async def _updates(self, every: float) -> AsyncIterator[Progress]:
        while not self.task.done():
            yield self.progress
            await asyncio.wait([self.task], timeout=every)
        yield self.progress

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
