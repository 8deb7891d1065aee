"""JobWatcher, with which users wait for a job."""

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from typing import Any

from mjbulk.discreet import discreet
from mjbulk.jobs.scheduler import Scheduler
from mjbulk.mailjet.replies import JobReply
from mjbulk.models import Job, JobRef, Rejection, Rejections
from mjbulk.outcomes.codes import code_of
from mjbulk.outcomes.error_file import ErrorFile, RowError
from mjbulk.outcomes.rejections import RejectionStore
from mjbulk.outcomes.settle import relevant_file
from mjbulk.public import public


@public
class JobWatcher:
    """A job to wait for: ``await watcher``, ``await watcher.wait(timeout=...)`` or ``async for job in watcher``.

    Any number of callers may wait for one watcher. Cancelling a wait ends that wait only: the job goes on at Mailjet.
    A wait that raised may be tried again. A watcher for which nobody waits costs nothing.
    """

    def __init__(self, ref: JobRef, scheduler: Scheduler, rows: int = 0, *, new: bool = False) -> None:
        """Ask Mailjet nothing before somebody waits."""
        self.ref = ref
        """The job. Keep ``str(watcher.ref)`` to watch it at any later time with ``Client.watch``."""
        self._scheduler = scheduler
        self._job = scheduler.watch(ref, rows, new=new)

    def __repr__(self) -> str:
        return f"<JobWatcher {self.ref} {self._job.reply.status if self._job.reply else 'not looked at'}>"

    @property
    def latest(self) -> Job | None:
        """The job as the last look saw it, or None before the first look."""
        if self._job.ended is not None:
            return job_of(self.ref, self._job.ended.reply, self._job.ended.file, ended=True)
        return job_of(self.ref, self._job.reply, None) if self._job.reply else None

    @discreet
    async def wait(self, timeout: float | None = None) -> Job:
        """Wait for the job's end and give the job, whatever its outcome.

        Raises the built-in TimeoutError after ``timeout`` seconds, and ApiError if Mailjet does not know the job.
        """
        try:
            async with asyncio.timeout(timeout):
                ended = await self._scheduler.end_of(self._job)
        except TimeoutError:
            raise TimeoutError(
                f"{self.ref} had not ended after {timeout} s: it goes on, and can be watched again"
            ) from None
        return job_of(self.ref, ended.reply, ended.file, ended=True)

    def __await__(self) -> Generator[Any, None, Job]:
        return self._wait_well().__await__()

    async def _wait_well(self) -> Job:
        """Wait for the job's end. Raises JobFailed if it did not end well."""
        return (await self.wait()).raise_for_status()

    async def __aiter__(self) -> AsyncIterator[Job]:
        """Give the job whenever it has changed, and a last time when it has ended."""
        shown: tuple[JobReply | None, bool] | None = None
        while True:
            seen, latest = (self._job.reply, self._job.ended is not None), self.latest
            if latest is not None and seen != shown:
                shown = seen
                yield latest
            elif self._job.ended is not None:
                return
            else:
                await self._scheduler.changes(self._job)


class JobRejections(Rejections):
    """The errors of an error file as rejections. They are made when they are read, because there may be very many."""

    def __init__(self, errors: Sequence[RowError]) -> None:
        """Keep the errors."""
        self._errors = errors

    def __len__(self) -> int:
        return len(self._errors)

    def __iter__(self) -> Iterator[Rejection]:
        for error in self._errors:
            yield Rejection(
                row=None,
                email=error.email,
                field=error.field,
                code=code_of(error.message, error.cells),
                message=error.message,
                match="unmatched",
            )

    def __repr__(self) -> str:
        return f"<{len(self)} rejections>"

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, JobRejections | RejectionStore) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as those of a report

    def __reduce__(self) -> tuple[Any, ...]:
        return RejectionStore, (list(self),)


def job_of(ref: JobRef, reply: JobReply, file: ErrorFile | None, *, ended: bool = False) -> Job:
    """Make the record for users. Its rejections have no row numbers, because the rows are not known here."""
    file = relevant_file(reply, file)
    problem = (file.problem or "") if file else ""
    errors = file.errors if file else ()
    done = reply.count if reply.count is not None else reply.current or 0
    return Job(
        ref=ref,
        status=reply.status,
        count=done,
        error=reply.error or problem,
        rejections=JobRejections(errors),
        ended=ended,
    )
