"""One scheduler behind all watchers of an API key.

It keeps the jobs for which somebody waits in a heap by the time of their next look, and one task takes them out when
they are due. Due jobs go into a second heap, where they wait for one of the few looks that may be under way: the job
that has most likely ended goes first. However many callers wait for a job, it has one look at a time. A job for which
nobody waits has none. It is remembered for as long as somebody else holds its record.

A look asks for the state of the job (FACTS 2.1), and after its end for its error file (FACTS 3.1, 6.1).
"""

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, Literal
from weakref import WeakValueDictionary

from mjbulk.config import Assumptions
from mjbulk.errors import ApiError, Error
from mjbulk.events import Emit, scope_within
from mjbulk.jobs.forecast import Bounds, JobStatistics, NextLook, OtherJobs, next_look, wait_after_failures
from mjbulk.jobs.learning import learn, learn_running
from mjbulk.jobs.track import Track, finished
from mjbulk.jobs.watched_job import EndedJob, WatchedJob
from mjbulk.mailjet.attempts import GaveUp, Patience, Untrusted
from mjbulk.mailjet.replies import JobReply, decode_job
from mjbulk.mailjet.request_count import current_count
from mjbulk.mailjet.requests import error_file_request, job_request
from mjbulk.mailjet.transport import MAX_ERROR_FILE, Doubt, Transport
from mjbulk.models import JobKind, JobRef
from mjbulk.outcomes.error_file import MISSING, ErrorFile, parse
from mjbulk.outcomes.settle import announces_errors
from mjbulk.tasks import Home, Running, ended, keep

_PATIENCE = Patience(attempts=1, seconds=float("inf"))
"""The patience of one look: it is one attempt, and the next look is the next one. So other jobs have their turn, in
case that this one always fails.
"""
_FILE_WAITS = (1 / 63, 2 / 63, 4 / 63, 8 / 63, 16 / 63, 32 / 63)
"""Waits for an error file that appears after the end of its job, as shares of `Assumptions.error_file_seconds` (FACTS
3.3)."""
_FIRST_LOOKS = 20.0
"""First looks a second, when many older jobs are watched at once."""
_BETWEEN_LESSONS = 0.05
"""Seconds between two lessons about short jobs of sizes that are known: more of them would only take time.
Measured (300 chunks whose jobs end at once): 5 % of the time of an import."""
_NOTHING = JobStatistics()
_CLOSED = "the client was closed; the job goes on at Mailjet"
_CANCELLED = "its polling was cancelled; the job goes on at Mailjet, and can be awaited again"


class Scheduler:
    """Looks at jobs when they are due.

    While Mailjet does not answer, it tries one look at a time, with growing waits. Mutable state: the two heaps, the
    jobs that are polled and how many of each kind are late, the records that somebody holds, the statistics, its tasks,
    when the next first look and the next lesson may be, and the outage: how many looks in a row had no answer, and
    until when it waits.
    """

    def __init__(
        self, transport: Transport, bounds: Bounds, assumptions: Assumptions, at_once: int, emit: Emit
    ) -> None:
        """Watch nothing yet. At most ``at_once`` looks are under way."""
        self.statistics: dict[JobKind, JobStatistics] = {}
        """What was learned from ended jobs, by kind. Known statistics may be added before the first look."""
        self._assumptions = assumptions
        self._transport = transport
        self._bounds = bounds
        self._emit = emit
        self._at_once = at_once
        self._waiting: list[tuple[float, int, WatchedJob]] = []
        self._due: list[tuple[float, int, WatchedJob]] = []
        self._sequence = count()
        self._polled: set[WatchedJob] = set()  # those in a heap, and those at which a look is under way
        self._known: WeakValueDictionary[JobRef, WatchedJob] = WeakValueDictionary()
        self._late: Counter[JobKind] = Counter()
        self._looks: set[Running[None]] = set()
        self._task: Running[None] | None = None
        self._news = asyncio.Event()
        self._next_first = 0.0
        self._next_lesson = 0.0
        self._failures = 0
        self._wait_until = 0.0
        self._closed = False
        self._home = Home("this watcher")

    def watch(self, ref: JobRef, rows: int = 0, *, new: bool = False, resumed: bool = False) -> WatchedJob:
        """Give the one record of a job; there is no look before somebody waits for it.

        ``new`` says that the job was created just now, or a short time ago by another process (``resumed``): Mailjet
        may not find it yet.
        """
        self._home.check()
        known = self._known.get(ref)
        if known is None:
            now = asyncio.get_running_loop().time()
            track = Track(kind=ref.kind, rows=rows, posted=now, new=new, age_known=new and not resumed)
            known = self._known[ref] = WatchedJob(ref, track, now, current_count(), scope_within(job=ref))
        return known

    async def changes(self, job: WatchedJob) -> None:
        """Wait for news of a job. Raises what ends its polling meanwhile; a later call polls it again."""
        self._home.check()
        if self._closed:
            raise Error(_CLOSED)
        if job.ended is not None:
            return
        if job not in self._polled:
            self._queue(job, self._first_look(job))
        waiter = asyncio.get_running_loop().create_future()
        job.waiters.append(waiter)
        try:
            failure = await waiter
        finally:
            if waiter in job.waiters:
                job.waiters.remove(waiter)
        if failure is not None:
            raise failure

    async def end_of(self, job: WatchedJob, on_news: Callable[[], object] = lambda: None) -> EndedJob:
        """Wait for a job's end, and call ``on_news`` whenever there is news. Raises what ends its polling."""
        while job.ended is None:
            await self.changes(job)
            on_news()
        return job.ended

    async def look_again(self, job: WatchedJob) -> EndedJob:
        """Watch a job once more that seemed to have ended, and read its error file once more."""
        job.ended, job.final, job.reopened = None, None, True
        self._known[job.ref] = job
        return await self.end_of(job)

    async def aclose(self) -> None:
        """Stop all looks. Callers that wait raise Error."""
        self._closed = True
        tasks = [*self._looks, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await ended(tasks)
        for job in list(self._polled):
            self._fail(job, self._cancelled())

    # When

    def _first_look(self, job: WatchedJob) -> float:
        """Give the seconds until the first look at a job for which somebody has begun to wait.

        A job that was posted here gets a forecast. Any other may have ended already, so its look comes at once, but
        those of many jobs come one after the other.
        """
        now = asyncio.get_running_loop().time()
        if job.track.age_known and not job.track.looks and not job.reopened:
            return self._decide(job).wait
        self._next_first = max(self._next_first, now)
        wait = self._next_first - now
        self._next_first += 1 / _FIRST_LOOKS
        return wait

    def _decide(self, job: WatchedJob) -> NextLook:
        """Decide when to look at a job next, and note what is expected of it."""
        now = asyncio.get_running_loop().time()
        late = self._late[job.ref.kind] - (job.look is not None and job.look.late)
        others = OtherJobs(count=len(self._polled) - (job in self._polled), late=late)
        look = next_look(job.track, self._statistics(job), now, self._bounds, others)
        job.ends = now + look.left
        self._note(job, look)
        return look

    def _note(self, job: WatchedJob, look: NextLook | None) -> None:
        """Note what was decided about a job, and keep count of the late jobs of each kind."""
        was = job.look is not None and job.look.late
        self._late[job.ref.kind] += (look is not None and look.late) - was
        job.look = look

    def _statistics(self, job: WatchedJob) -> JobStatistics:
        return self.statistics.get(job.ref.kind, _NOTHING)

    def _queue(self, job: WatchedJob, seconds: float) -> None:
        """Put a job into the first heap, due in ``seconds``."""
        if job not in self._polled:
            self._polled.add(job)
            self._emit(job.scope.event("job.watched", rows=job.track.rows or None))
        job.due = asyncio.get_running_loop().time() + seconds
        heapq.heappush(self._waiting, (job.due, next(self._sequence), job))
        self._news.set()
        if self._task is None or self._task.done():
            self._task = keep(self._run(), name="mjbulk polls")
            self._task.add_done_callback(self._stopped)

    async def _run(self) -> None:
        """Start looks whenever some are due, or something has changed."""
        while True:
            self._news.clear()
            wait = self._start_looks()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()

    def _stopped(self, _: Running[None]) -> None:
        """Hear that no look is started any more: nobody may wait for one."""
        queued = [job for *_, job in (*self._waiting, *self._due)]
        self._waiting, self._due = [], []
        for job in queued:
            self._fail(job, self._cancelled())

    def _start_looks(self) -> float | None:
        """Start the looks that are due, as many as may be, and give the seconds until the next one may start."""
        now = asyncio.get_running_loop().time()
        while self._waiting and self._waiting[0][0] <= now:
            _, number, job = heapq.heappop(self._waiting)
            heapq.heappush(self._due, (job.ends, number, job))
        most = 1 if self._failures else self._at_once
        while self._due and len(self._looks) < most and self._wait_until <= now:
            _, _, job = heapq.heappop(self._due)
            if job.waiters:
                task = keep(self._look(job), name=f"mjbulk look at {job.ref}")
                self._looks.add(task)
                task.add_done_callback(partial(self._looked, job))
            else:
                self._drop(job, "nobody waits for it any more")
        times = [self._waiting[0][0]] if self._waiting else []
        if self._due and self._wait_until > now:
            times.append(self._wait_until)
        return min(times) - now if times else None

    def _learn(self, job: WatchedJob, last: JobReply, sent: float) -> None:
        """Learn from a job that has ended."""
        known, now = self._statistics(job), asyncio.get_running_loop().time()
        short = now >= self._next_lesson or not known.short.knows(job.track.rows)
        self._next_lesson = now + _BETWEEN_LESSONS if short else self._next_lesson
        learned = learn(known, job.track, last, now, sent=sent, look=job.look, short=short)
        self.statistics[job.ref.kind] = learned
        if len(learned.short.beliefs) > len(known.short.beliefs):
            self._reconsider(job.ref.kind)

    def _reconsider(self, kind: JobKind) -> None:
        """Decide again about the first looks at jobs of a kind: one of a new size has ended, and may have been short.

        Without this, jobs that were posted before it was seen would have their first look after `Bounds.least`.
        """
        now = asyncio.get_running_loop().time()
        for at, (due, number, job) in enumerate(self._waiting):
            if job.ref.kind == kind and job.track.age_known and not job.track.looks and not job.reopened:
                job.due = min(due, now + self._decide(job).wait)
                self._waiting[at] = (job.due, number, job)
        heapq.heapify(self._waiting)

    # A look

    def _looked(self, job: WatchedJob, look: Running[None]) -> None:
        self._looks.discard(look)
        if look.cancelled() or look.exception() is not None:
            self._fail(job, self._cancelled())
        self._news.set()

    def _cancelled(self) -> Error:
        """Make the error for callers of a job whose polling was cancelled."""
        return Error(_CLOSED if self._closed else _CANCELLED)

    async def _look(self, job: WatchedJob) -> None:
        """Take the next step with a job, and queue it for the next look unless it has ended."""
        job.scope.enter()
        if job.count is not None:
            job.count.begin()
        try:
            wait = await self._step(job)
        except Untrusted as failure:
            self._fail(job, failure)
        except GaveUp:
            self._failures += 1
            self._wait_until = asyncio.get_running_loop().time() + wait_after_failures(self._failures, self._bounds)
            job.track = job.track.after_failure()
            self._queue(job, wait_after_failures(job.track.failures, self._bounds))
        except Exception as failure:  # noqa: BLE001  # it goes to the callers that wait for the job
            self._fail(job, failure)
        else:
            self._failures, self._wait_until = 0, 0.0
            if wait is not None:
                self._queue(job, wait)

    async def _step(self, job: WatchedJob) -> float | None:
        """Ask for a job's state or its error file; give the seconds until the next step, None if it has ended."""
        news = job.final is None and await self._ask(job)
        if job.final is not None:
            return await self._finish(job, job.final)
        wait = self._decide(job).wait
        if news:
            job.notify()
        return wait

    async def _ask(self, job: WatchedJob) -> bool:
        """Ask for a job's state, and say whether there is news for callers."""
        loop = asyncio.get_running_loop()
        sent = loop.time()

        async def leaving() -> None:
            nonlocal sent
            sent = loop.time()

        try:
            doubt = Doubt(leaving=leaving)
            reply = await self._transport.send(job_request(job.ref), decode_job, patience=_PATIENCE, doubt=doubt)
        except ApiError as refusal:
            job.track = job.track.after_404()
            if refusal.status != 404 or job.track.gone(loop.time(), self._assumptions.new_job_seconds):
                raise
            return False
        changed, job.reply, stalled = reply != job.reply, reply, job.track.stalled
        if changed:
            self._tell("job", job)
        if finished(reply.status, self._assumptions.terminal_statuses):
            job.final = reply
            if not job.reopened:
                self._learn(job, reply, sent)
            job.track = job.track.after_end()
        else:
            before, job.track = job.track, job.track.after(reply, loop.time())
            self.statistics[job.ref.kind] = learn_running(self._statistics(job), before, job.look)
            if job.track.stalled and not stalled:
                self._tell("job.stalled", job)
        return changed or job.track.stalled != stalled

    async def _finish(self, job: WatchedJob, final: JobReply) -> float | None:
        """Read the error file of a job that has ended, if it may have one. One that was announced may come later."""
        file, announced = None, announces_errors(final)
        ended_badly = final.status.strip().casefold() != "completed"
        if announced or ended_badly or not self._assumptions.errors_are_announced:
            file = await self._error_file(job.ref, announced=announced)
            if file is MISSING and announced and not job.reopened and job.file_misses < len(_FILE_WAITS):
                job.file_misses += 1
                return _FILE_WAITS[job.file_misses - 1] * self._assumptions.error_file_seconds
        job.ended = EndedJob(reply=final, file=file)
        if self._known.get(job.ref) is job:
            del self._known[job.ref]  # a later caller gets a fresh answer
        self._drop(job)
        job.notify()
        return None

    async def _error_file(self, ref: JobRef, *, announced: bool) -> ErrorFile:
        """Read an error file by the ID of its job."""
        request = error_file_request(ref, may_be_missing=not announced)
        try:
            data = await self._transport.send(request, bytes, patience=_PATIENCE, max_reply=MAX_ERROR_FILE)
        except ApiError as refusal:
            if refusal.status != 404:
                raise
            return MISSING
        return parse(data, csv_file=ref.kind == "csvimport")

    def _fail(self, job: WatchedJob, failure: Exception) -> None:
        """Stop polling a job, and have its callers raise this."""
        self._drop(job, str(failure) if isinstance(failure, Error) else type(failure).__name__)
        job.notify(failure)

    def _drop(self, job: WatchedJob, why: str | None = None) -> None:
        """Stop polling a job: it has ended, or ``why`` says what else."""
        if job in self._polled:
            self._polled.discard(job)
            self._tell("job.ended", job, cause=why)
        self._note(job, None)

    def _tell(self, name: Literal["job", "job.stalled", "job.ended"], job: WatchedJob, **known: Any) -> None:
        reply, seconds = job.reply, asyncio.get_running_loop().time() - job.track.posted
        seen = {} if reply is None else {"status": reply.status, "rows": reply.count}
        self._emit(job.scope.event(name, seconds=seconds, **seen, **known))
