"""The import of one partition, to its end, in the worker that an engine has chosen for it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import partial
from threading import RLock
from typing import Any, TypeVar

from mjbulk.client import Client
from mjbulk.discreet import discreet
from mjbulk.errors import Error, ImportHalted, JournalRefused, UsageError
from mjbulk.journal.protocol import UNDER_WAY
from mjbulk.journal.records import number_of
from mjbulk.outcomes.report import Report
from mjbulk.partition.rejected import RejectedFile
from mjbulk.partition.report import PartitionReport
from mjbulk.partition.signals import held_signals
from mjbulk.partition.spec import PartitionSpec
from mjbulk.public import public
from mjbulk.rows.sources import Rows
from mjbulk.threads import DaemonThread

_T = TypeVar("_T")
_PATIENCE = 24 * 3600.0
"""Seconds to wait for another worker that has the partition open."""
_FIRST_LOOK, _LONGEST_LOOK = 0.1, 5.0
"""Seconds between two looks at such a partition, the first time and at most."""


@public
@discreet
def import_partition(spec: PartitionSpec, partition: str, source: Rows) -> PartitionReport:
    """Import one partition of a run to its end, and give its report. A plain function, for any worker of any engine.

    ``partition`` is a name that stays with these rows: a retry has the same name and the same rows, in the same order.
    The journal knows the partition by it. So it does no harm to call this twice: a partition that was interrupted goes
    on, one that has ended gives the same report, and sends nothing. If another worker has it open, this waits until
    that one has ended (for a day at most), and goes on from the journal. ``source`` is what
    `mjbulk.Client.import_contacts` takes.

    **All rows of a person belong in one partition.** There is no order between partitions: if a person is in two of
    them, either row may be the last one that is applied. `partition_by_address` cuts a table so.

    Where an event loop runs in this thread already, the import has a loop of its own in another thread, and this one
    waits. What a handler of a signal raises meanwhile (a time limit of the engine, Ctrl-C) stops the import, so that it
    can continue, and is raised. Raises what `mjbulk.Client.import_contacts` raises; an ImportHalted has only the counts
    of its report, so that no row goes to the engine with it. Raises OSError if the file of rejected rows cannot be
    written.
    """
    return run_partition(spec, partition, source, Stop())


class Stop:
    """Stops imports of this process, from any thread. Mutable state: their tasks, and whether they are to stop."""

    def __init__(self) -> None:
        """Know of no import yet."""
        self._lock = RLock()  # a handler of a signal may stop them
        self._called = False
        self._tasks: dict[asyncio.Task[Any], asyncio.AbstractEventLoop] = {}

    def set(self) -> None:
        """Cancel all imports, those under way and those to come."""
        with self._lock:
            self._called = True
            for task, loop in self._tasks.items():
                loop.call_soon_threadsafe(task.cancel)

    @contextmanager
    def reaches(self) -> Iterator[None]:
        """Have the import of this task be one of them. Raises CancelledError if they are to stop."""
        task = asyncio.current_task()
        with self._lock:
            if self._called or task is None:
                raise asyncio.CancelledError
            self._tasks[task] = asyncio.get_running_loop()
        try:
            yield
        finally:
            with self._lock:
                del self._tasks[task]


def check_name(run_id: str, partition: str) -> None:
    """Raise UsageError for what can be no name of a partition."""
    if not isinstance(partition, str) or not partition:
        raise UsageError("partition= is the name of a part of the run")
    number_of("", run_id, partition)


@discreet
def run_partition(spec: PartitionSpec, partition: str, source: Rows, stop: Stop) -> PartitionReport:
    """Import a partition as `import_partition` does. Raises CancelledError, too, if it was stopped."""
    check_name(spec.run_id, partition)
    try:
        return run_to_end(partial(_import, spec, partition, source, stop), stop)
    except ImportHalted as halted:
        why = halted
    raise type(why)(*why.args) from why.__cause__


def run_to_end(work: Callable[[], Coroutine[Any, Any, _T]], stop: Stop) -> _T:
    """Run a coroutine to its end in an event loop of its own. What a handler of a signal raises stops it first."""
    with held_signals(stop.set):
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(work())
        thread = DaemonThread("mjbulk partition")
        run: Callable[..., _T] = copy_context().run
        try:
            return thread.submit(run, asyncio.run, work()).result()
        finally:
            thread.end()


@discreet
async def _import(spec: PartitionSpec, partition: str, source: Rows, stop: Stop) -> PartitionReport:
    file = None if spec.rejections is None else RejectedFile(spec.rejections, spec.run_id, partition)
    place, quota = spec.journal_place(), spec.shared_quota()
    with stop.reaches():
        async with Client(spec.keys(), spec.settings(), journal=place, quota=quota) as client:
            report = await _import_when_free(client, spec, partition, source)
            if file is None or not report.rejected:
                return PartitionReport.of(report, partition, None)
            if not (report.stored and await asyncio.to_thread(file.exists)):
                told = await with_rows(client, report, partition, source)
                await asyncio.to_thread(file.write, told)
            return PartitionReport.of(report, partition, file.path)


@discreet
async def with_rows(client: Client, report: Report, partition: str, source: Rows) -> Report:
    """Give the rejected rows of a report with their data. For a stored one the source is read once more, if it can."""
    if report.stored:
        with suppress(Error):
            return await client.get_report(report.run_id, partition=partition, source=source)
    return report


@discreet
async def _import_when_free(client: Client, spec: PartitionSpec, partition: str, source: Rows) -> Report:
    """Import, as soon as no other worker has the partition open."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _PATIENCE
    while True:
        try:
            return await client.import_contacts(
                source, lists=spec.lists, run_id=spec.run_id, partition=partition, **spec.terms
            )
        except JournalRefused as why:
            if why.kind != UNDER_WAY or loop.time() > end:
                raise
        await _wait_for_another(client, spec.run_id, partition, end)


@discreet
async def _wait_for_another(client: Client, run_id: str, partition: str, end: float) -> None:
    """Wait while the journal says that another worker has the partition open."""
    loop, pause = asyncio.get_running_loop(), _FIRST_LOOK
    while True:
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_LOOK)
        try:
            info = await client.get_run(run_id, partition=partition)
        except UsageError:  # the other worker has written nothing yet
            return
        if info.state != "running" or loop.time() > end:
            return
