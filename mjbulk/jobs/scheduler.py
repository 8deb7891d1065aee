"""One scheduler behind all watchers of an API key.

It keeps the jobs under watch in a heap, by the time of their next look, and one task that takes them from it. Those
that are due wait in a second heap for one of a few looks that may be under way: who has most likely ended goes first.
However many wait for a job, it is asked for once at a time; a job that nobody waits for is not asked for.
"""

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable
from itertools import count

from attrs import define, field, frozen

from mjbulk.config import Assumptions
from mjbulk.errors import ApiError, Error
from mjbulk.events import Emit, Event
from mjbulk.jobs.forecast import (
    Bounds,
    JobStatistics,
    NextLook,
    OtherJobs,
    Track,
    finished,
    learn,
    next_look,
    wait_after_failures,
)
from mjbulk.mailjet.replies import JobReply, decode_job
from mjbulk.mailjet.requests import error_file_request, job_request
from mjbulk.mailjet.transport import MAX_ERROR_FILE, GaveUp, Patience, Transport, Untrusted
from mjbulk.models import JobKind, JobRef
from mjbulk.outcomes.error_file import MISSING, ErrorFile, parse
from mjbulk.outcomes.settle import announces_errors

_PATIENCE = Patience(attempts=1, seconds=float("inf"))
"""Of one look. Then other jobs have their turn: the answer to one may be broken for good."""
_FILE_WAITS = (1 / 63, 2 / 63, 4 / 63, 8 / 63, 16 / 63, 32 / 63)
"""An error file may appear after its job has ended: waits as shares of the time that is assumed."""
_NOTHING = JobStatistics()
_FIRST_LOOKS = 20.0
"""Jobs a second that are looked at for the first time when many are taken up at once."""


@frozen(kw_only=True)
class EndedJob:
    """A job that has ended, with its error file where one was announced or asked for."""

    reply: JobReply
    file: ErrorFile | None


@define(eq=False)
class WatchedJob:
    """A job under watch. All of it is mutable, and the scheduler's own."""

    ref: JobRef
    track: Track
    ends: float
    """When it will have ended as likely as not."""
    reply: JobReply | None = None
    """What it said last."""
    waiters: list[asyncio.Future[None]] = field(factory=list)
    busy: bool = False
    """Whether it is in a heap, or looked at."""
    last: JobReply | None = None
    """The reply with which it ended, while its error file is awaited."""
    late: bool = False
    """Whether it has been under way for longer than is usual."""
    file_looks: int = 0
    """How often its error file was not there."""
    again: bool = False
    """Whether it had ended before, and is asked for once more."""
    ended: EndedJob | None = None
    failure: Exception | None = None

    def notify(self) -> None:
        """Wake all who wait for news."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Scheduler:
    """Looks at jobs when they are due. Mutable state: the two heaps, the jobs under watch, what was learned of jobs
    that ended, its tasks, and how many looks in a row had no answer: then one at a time is tried, after a rest.
    """

    def __init__(
        self, transport: Transport, bounds: Bounds, assumptions: Assumptions, at_once: int, emit: Emit
    ) -> None:
        """``at_once`` is how many looks may be under way."""
        self.statistics: dict[JobKind, JobStatistics] = {}
        """What ended jobs have taught, by their kind. It may be put here before the first look."""
        self._assumptions = assumptions
        self._transport = transport
        self._bounds = bounds
        self._emit = emit
        self._at_once = at_once
        self._waiting: list[tuple[float, int, WatchedJob]] = []
        self._due: list[tuple[float, int, WatchedJob]] = []
        self._sequence = count()
        self._watched: dict[JobRef, WatchedJob] = {}
        self._late: Counter[JobKind] = Counter()
        self._looks: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._next_first = 0.0
        self._failing = 0
        self._rest_until = 0.0
        self._closed = False

    def watch(self, ref: JobRef, rows: int = 0, *, new: bool = False, resumed: bool = False) -> WatchedJob:
        """Give the one record of a job.

        ``new`` says that it was created just now, or not long ago by another process (``resumed``): it may not be found
        yet.
        """
        known = self._watched.get(ref)
        if known is None:
            now = asyncio.get_running_loop().time()
            track = Track(kind=ref.kind, rows=rows, posted=now, new=new, age_known=new and not resumed)
            known = WatchedJob(ref, track, now)
            self._watched[ref] = known
        return known

    async def changes(self, job: WatchedJob) -> None:
        """Wait for news of a job. Raises what its watching failed with."""
        if self._closed:
            raise Error("the client was closed; the job goes on at Mailjet")
        if job.failure is None and job.ended is None:
            if not job.busy:
                self._queue(job, self._first_look(job))
            waiter = asyncio.get_running_loop().create_future()
            job.waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in job.waiters:
                    job.waiters.remove(waiter)
        if job.failure is not None:
            raise job.failure

    async def end_of(self, job: WatchedJob, on_news: Callable[[], object] = lambda: None) -> EndedJob:
        """Wait for a job's end. ``on_news`` is called whenever there is news."""
        while job.ended is None:
            await self.changes(job)
            on_news()
        return job.ended

    async def look_again(self, job: WatchedJob) -> EndedJob:
        """Ask for a job that has ended, and for its error file, once more: it may not have been the end."""
        job.ended, job.last, job.again = None, None, True
        self._watched[job.ref] = job
        return await self.end_of(job)

    async def aclose(self) -> None:
        """Stop looking. Those who wait are told."""
        self._closed = True
        tasks = [*self._looks, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job in list(self._watched.values()):
            self._fail(job, Error("the client was closed; the job goes on at Mailjet"))

    # When

    def _first_look(self, job: WatchedJob) -> float:
        """Give the seconds until the first look at a job that somebody waits for (again).

        Of jobs that were created before, at once; of many of them one after the other.
        """
        now = asyncio.get_running_loop().time()
        if job.track.age_known and not job.track.looks and not job.again:
            return self._decide(job).wait
        self._next_first = max(self._next_first, now)
        wait = self._next_first - now
        self._next_first += 1 / _FIRST_LOOKS
        return wait

    def _decide(self, job: WatchedJob) -> NextLook:
        now = asyncio.get_running_loop().time()
        others = OtherJobs(count=len(self._watched) - 1, late=self._late[job.ref.kind] - job.late)
        look = next_look(job.track, self._learned(job), now, self._bounds, others)
        job.ends = now + look.left
        self._note(job, late=look.late)
        return look

    def _note(self, job: WatchedJob, *, late: bool) -> None:
        """Keep the number of late jobs of each kind."""
        self._late[job.ref.kind] += late - job.late
        job.late = late

    def _learned(self, job: WatchedJob) -> JobStatistics:
        return self.statistics.get(job.ref.kind, _NOTHING)

    def _queue(self, job: WatchedJob, seconds: float) -> None:
        job.busy = True
        due = asyncio.get_running_loop().time() + seconds
        heapq.heappush(self._waiting, (due, next(self._sequence), job))
        self._news.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="mjbulk polls")

    async def _run(self) -> None:
        while True:
            self._news.clear()
            wait = self._start_looks()
            try:
                async with asyncio.timeout(wait):
                    await self._news.wait()
            except TimeoutError:
                pass

    def _start_looks(self) -> float | None:
        """Start the looks that are due, as far as there is room, and give the seconds until the next may be."""
        now = asyncio.get_running_loop().time()
        while self._waiting and self._waiting[0][0] <= now:
            _, number, job = heapq.heappop(self._waiting)
            heapq.heappush(self._due, (job.ends, number, job))
        room = 1 if self._failing else self._at_once
        while self._due and len(self._looks) < room and self._rest_until <= now:
            _, _, job = heapq.heappop(self._due)
            job.busy = bool(job.waiters)
            if job.busy:
                task = asyncio.create_task(self._look(job))
                self._looks.add(task)
                task.add_done_callback(self._looked)
        times = [self._waiting[0][0]] if self._waiting else []
        if self._due and self._rest_until > now:
            times.append(self._rest_until)
        return min(times) - now if times else None

    # A look

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looks.discard(task)
        self._news.set()

    async def _look(self, job: WatchedJob) -> None:
        """Take the next step with a job, and put it back where it has not ended."""
        try:
            wait = await self._step(job)
        except Untrusted as failure:
            self._fail(job, failure)
        except GaveUp:
            self._failing += 1
            self._rest_until = asyncio.get_running_loop().time() + wait_after_failures(self._failing, self._bounds)
            job.track = job.track.after_failure()
            self._queue(job, wait_after_failures(job.track.failures, self._bounds))
        except Exception as failure:  # noqa: BLE001  # it belongs to those who wait for the job
            self._fail(job, failure)
        else:
            self._failing, self._rest_until = 0, 0.0
            if wait is not None:
                self._queue(job, wait)

    async def _step(self, job: WatchedJob) -> float | None:
        """Ask for a job's state, or for its error file, and give the seconds until the next step."""
        news = job.last is None and await self._ask(job)
        if job.last is not None:
            return await self._finish(job, job.last)
        wait = self._decide(job).wait
        if news:
            job.notify()
        return wait

    async def _ask(self, job: WatchedJob) -> bool:
        """Ask for a job's state, and tell whether there is news for those who wait."""
        loop = asyncio.get_running_loop()
        try:
            reply = await self._transport.send(job_request(job.ref), decode_job, patience=_PATIENCE)
        except ApiError as refusal:
            job.track = job.track.after_404()
            if refusal.status != 404 or job.track.gone(loop.time(), self._assumptions.new_job_seconds):
                raise
            return False
        changed, job.reply, stalled = reply != job.reply, reply, job.track.stalled
        if changed:
            self._emit(Event(name="job", job=job.ref, status=reply.status, rows=reply.count))
        if finished(reply.status, self._assumptions.terminal_statuses):
            job.last = reply
            if not job.again:
                self.statistics[job.ref.kind] = learn(self._learned(job), job.track, reply, loop.time())
        else:
            job.track = job.track.after(reply, loop.time())
        return changed or job.track.stalled != stalled

    async def _finish(self, job: WatchedJob, last: JobReply) -> float | None:
        """Fetch the error file of a job that has ended. One that was announced may not be there yet."""
        file, announced = None, announces_errors(last)
        ended_badly = last.status.strip().casefold() != "completed"
        if announced or ended_badly or not self._assumptions.errors_are_announced:
            file = await self._error_file(job.ref)
            if file is MISSING and announced and not job.again and job.file_looks < len(_FILE_WAITS):
                job.file_looks += 1
                return _FILE_WAITS[job.file_looks - 1] * self._assumptions.error_file_seconds
        job.ended = EndedJob(reply=last, file=file)
        self._leave(job)
        return None

    async def _error_file(self, ref: JobRef) -> ErrorFile:
        """Fetch an error file by the id of its job."""
        request = error_file_request(ref)
        try:
            data = await self._transport.send(request, bytes, patience=_PATIENCE, max_reply=MAX_ERROR_FILE)
        except ApiError as refusal:
            if refusal.status != 404:
                raise
            return MISSING
        return parse(data, csv_file=ref.kind == "csvimport")

    def _fail(self, job: WatchedJob, failure: Exception) -> None:
        job.failure = failure
        self._leave(job)

    def _leave(self, job: WatchedJob) -> None:
        """Take a job from under watch, and tell those who wait."""
        job.busy = False
        self._note(job, late=False)
        self._watched.pop(job.ref, None)
        job.notify()
