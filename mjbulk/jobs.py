"""JobWatcher, and the one scheduler behind all watchers of an API key.

The scheduler keeps a heap of jobs by the time of their next look, and one task that takes them from it. However many
wait for a job, it is asked for once at a time; a job that nobody waits for is not asked for.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator, Generator
from itertools import count
from typing import Any

from attrs import define, field, frozen

from mjbulk._books import announces_errors, match_errors, told
from mjbulk._errorfile import MISSING, ErrorFile, parse
from mjbulk._events import Emit, Event
from mjbulk._polling import Bounds, finished, next_look
from mjbulk._transport import ENDLESS, MAX_ERROR_FILE, Transport
from mjbulk._wire import JobReply, decode_job, error_file_request, job_request
from mjbulk.config import Assumptions
from mjbulk.errors import ApiError, Error
from mjbulk.models import Job, JobRef, Rejection
from mjbulk.report import RejectionStore

_NEW_LOOKS = 5
"""A job that was just created may answer 404 for a while: as long as is assumed, or so many looks, whichever is
later."""
_FILE_WAITS = (1 / 63, 2 / 63, 4 / 63, 8 / 63, 16 / 63, 32 / 63)
"""An error file may appear after its job has ended: waits as shares of the time that is assumed."""


@frozen(kw_only=True)
class Ended:
    """A job that has ended, with its error file where one was announced or asked for."""

    reply: JobReply
    file: ErrorFile | None


@define(eq=False)
class Watched:
    """A job under watch. All of it is mutable, and the scheduler's own."""

    ref: JobRef
    rows: int
    new: bool
    posted: float
    looks: int = 0
    reply: JobReply | None = None
    waiters: int = 0
    queued: bool = False
    changed: asyncio.Event = field(factory=asyncio.Event)
    ended: Ended | None = None
    failure: Error | None = None

    def notify(self) -> None:
        """Wake all who wait for news."""
        self.changed.set()
        self.changed = asyncio.Event()


class Scheduler:
    """Looks at jobs when they are due. Mutable state: the heap, the jobs under watch, and its tasks."""

    def __init__(
        self, transport: Transport, bounds: Bounds, assumptions: Assumptions, at_once: int, emit: Emit
    ) -> None:
        """``at_once`` is how many looks may be under way."""
        self._assumptions = assumptions
        self._transport = transport
        self._bounds = bounds
        self._emit = emit
        self._heap: list[tuple[float, int, Watched]] = []
        self._sequence = count()
        self._watched: dict[JobRef, Watched] = {}
        self._room = asyncio.Semaphore(at_once)
        self._looks: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._closed = False

    def watched(self, ref: JobRef, rows: int = 0, *, new: bool = False) -> Watched:
        """Give the one record of a job. A new one is not asked for at once."""
        known = self._watched.get(ref)
        if known is None:
            known = Watched(ref, rows, new, asyncio.get_running_loop().time())
            self._watched[ref] = known
        return known

    async def changes(self, job: Watched) -> None:
        """Wait for news of a job. Raises what its watching failed with."""
        if self._closed:
            raise Error("the client was closed; the job goes on at Mailjet")
        job.waiters += 1
        try:
            if not job.queued and job.ended is None and job.failure is None:
                self._queue(job, self._bounds.least if job.new and not job.looks else 0.0)
            await job.changed.wait()
        finally:
            job.waiters -= 1
        if job.failure is not None:
            raise job.failure

    async def end_of(self, job: Watched) -> Ended:
        """Wait for a job's end."""
        while job.ended is None:
            await self.changes(job)
        return job.ended

    async def look_again(self, ref: JobRef) -> Ended:
        """Ask for a job that has ended, and for its error file, once more."""
        reply = await self._transport.send(job_request(ref), decode_job, patience=ENDLESS)
        return Ended(reply=reply, file=await self._error_file(ref, wait=False))

    async def aclose(self) -> None:
        """Stop looking. Those who wait are told."""
        self._closed = True
        tasks = [*self._looks, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job in list(self._watched.values()):
            self._fail(job, Error("the client was closed; the job goes on at Mailjet"))

    def _queue(self, job: Watched, seconds: float) -> None:
        job.queued = True
        due = asyncio.get_running_loop().time() + seconds
        heapq.heappush(self._heap, (due, next(self._sequence), job))
        self._news.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            wait = self._heap[0][0] - loop.time() if self._heap else None
            if wait is None or wait > 0:
                try:
                    async with asyncio.timeout(wait):
                        await self._news.wait()
                except TimeoutError:
                    pass
                continue
            await self._room.acquire()
            _, _, job = heapq.heappop(self._heap)
            task = asyncio.create_task(self._look(job))
            self._looks.add(task)
            task.add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looks.discard(task)
        self._room.release()

    async def _look(self, job: Watched) -> None:
        job.queued = False
        if not job.waiters:
            return
        try:
            await self._ask(job)
        except Error as failure:
            self._fail(job, failure)
            return
        if job.ended is None and job.waiters and not self._closed:
            elapsed = asyncio.get_running_loop().time() - job.posted
            seconds = next_look(job.reply, rows=job.rows, elapsed=elapsed, looks=job.looks, bounds=self._bounds)
            self._queue(job, seconds)

    async def _ask(self, job: Watched) -> None:
        job.looks += 1
        try:
            reply = await self._transport.send(job_request(job.ref), decode_job, patience=ENDLESS)
        except ApiError as refusal:
            age = asyncio.get_running_loop().time() - job.posted
            young = job.new and (age < self._assumptions.new_job_seconds or job.looks < _NEW_LOOKS)
            if refusal.status == 404 and young:
                return
            raise
        changed = reply != job.reply
        job.reply = reply
        if finished(reply.status, self._assumptions.terminal_statuses):
            announced = announces_errors(reply)
            ended_badly = reply.status.strip().casefold() != "completed"
            asks = announced or ended_badly or not self._assumptions.errors_are_announced
            job.ended = Ended(reply=reply, file=await self._error_file(job.ref, wait=announced) if asks else None)
            self._watched.pop(job.ref, None)
        if changed:
            self._emit(Event(name="job", job=job.ref, status=reply.status, rows=reply.count))
            job.notify()

    async def _error_file(self, ref: JobRef, *, wait: bool) -> ErrorFile:
        """Fetch an error file by the id of its job. With ``wait``, one that is not there yet is asked for again."""
        for share in (*(_FILE_WAITS if wait else ()), None):
            try:
                data = await self._transport.send(
                    error_file_request(ref), bytes, patience=ENDLESS, max_reply=MAX_ERROR_FILE
                )
            except ApiError as refusal:
                if refusal.status != 404:
                    raise
                if share is not None:
                    await asyncio.sleep(share * self._assumptions.error_file_seconds)
            else:
                return parse(data, csv_file=ref.kind == "csvimport")
        return MISSING

    def _fail(self, job: Watched, failure: Error) -> None:
        job.failure = failure
        self._watched.pop(job.ref, None)
        job.notify()


class JobWatcher:
    """What you await for a job: ``await watcher``, ``await watcher.wait(timeout=...)``, or ``async for job in
    watcher``.

    Any number may wait for one watcher. Giving up waiting stops that wait alone: the job goes on at Mailjet.
    """

    def __init__(self, ref: JobRef, scheduler: Scheduler, rows: int = 0, *, new: bool = False) -> None:
        """Nothing is asked until somebody waits."""
        self.ref = ref
        """Which job: ``str(watcher.ref)`` can be kept, and given to ``Client.watch`` at any time."""
        self._scheduler = scheduler
        self._job = scheduler.watched(ref, rows, new=new)

    def __repr__(self) -> str:
        return f"<JobWatcher {self.ref} {self.latest.status if self.latest else 'not looked at'}>"

    @property
    def latest(self) -> Job | None:
        """The job as it was last seen, or None."""
        if self._job.ended is not None:
            return job_of(self.ref, self._job.ended.reply, self._job.ended.file, ended=True)
        return job_of(self.ref, self._job.reply, None) if self._job.reply else None

    async def wait(self, timeout: float | None = None) -> Job:
        """Wait for the job's end and give it, whatever it says.

        Raises the builtin TimeoutError after ``timeout`` seconds; ApiError where Mailjet does not know the job.
        """
        async with asyncio.timeout(timeout):
            ended = await self._scheduler.end_of(self._job)
        return job_of(self.ref, ended.reply, ended.file, ended=True)

    def __await__(self) -> Generator[Any, None, Job]:
        return self._wait_well().__await__()

    async def _wait_well(self) -> Job:
        return (await self.wait()).raise_for_status()

    async def __aiter__(self) -> AsyncIterator[Job]:
        """Give the job whenever it has changed, and for the last time when it has ended."""
        shown: Job | None = None
        while True:
            latest = self.latest
            if latest is not None and latest != shown:
                shown = latest
                yield latest
            elif self._job.ended is not None:
                return
            else:
                await self._scheduler.changes(self._job)


def job_of(ref: JobRef, reply: JobReply, file: ErrorFile | None, *, ended: bool = False) -> Job:
    """Make the record that users hold. Its rejections have no row numbers: the rows are not known here."""
    file = told(reply, file)
    problem = (file.problem or "") if file else ""
    entries = file.entries if file else ()
    rejections = [
        Rejection(row=None, email=m.error.email, field=m.error.field, message=m.error.message, match=m.match)
        for m in match_errors(entries, ())
    ]
    count_ = reply.count if reply.count is not None else reply.current or 0
    return Job(
        ref=ref,
        status=reply.status,
        count=count_,
        error=reply.error or problem,
        rejections=RejectionStore(rejections),
        ended=ended,
    )
