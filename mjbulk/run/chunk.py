"""One chunk from its intent to its outcome, in one coroutine.

    its known jobs are watched -> it is submitted -> its jobs are watched, together -> its rows have their outcomes

Whatever ends the coroutine, `close` posts what has no outcome, and lets go of everything.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any

from mjbulk.chunks.chunk import Chunk
from mjbulk.errors import ApiError
from mjbulk.jobs.watched_job import WatchedJob
from mjbulk.journal.records import ChunkRecord, PartRecord
from mjbulk.models import COUNT_NAMES, Counts
from mjbulk.run.chunk_rows import StoredRows, rows_of_parts
from mjbulk.run.context import RunContext
from mjbulk.run.part import InDoubt, Lost, Part, Parts, Refused, Settled, Watched
from mjbulk.run.senders import Sender, find_import
from mjbulk.run.settling import Settling
from mjbulk.run.submission import Submission
from mjbulk.tasks import ended as all_ended
from mjbulk.tasks import keep

_SECOND_LOOKS = (1 / 21, 5 / 21, 15 / 21)
"""Waits before a job whose counts do not agree is looked at again, as shares of the time for which counts may lag."""
_UNDER_WAY = "the run stopped while their job was under way"
_NO_ANSWER = "the run stopped before the answer to their request came"
_NOT_READ = "the run stopped before their outcome was read from the journal"


class ChunkInFlight:
    """One chunk in flight. Mutable state: its parts, the body until it is submitted, the jobs under watch, and when it
    began.
    """

    def __init__(
        self,
        number: int,
        parts: Parts,
        context: RunContext,
        *,
        settling: Settling,
        rows: StoredRows | None = None,
        submission: Submission | None = None,
    ) -> None:
        """Send nothing yet. Use `of_rows` or `of_record`."""
        self.number = number
        self.entries = parts.entries
        self.may_send = asyncio.Event()
        """Set when it may be submitted: there is room, and no earlier row of its people is in flight elsewhere."""
        self.known_jobs_ended = not parts.watched()
        self._parts = parts
        self._context = context
        self._settling = settling
        self._rows = rows
        self._submission = submission
        self._withheld = False
        self._jobs: dict[Part, WatchedJob] = {}
        self._scope = context.scope.within(chunk=number)
        self._began: float | None = None

    @classmethod
    def of_rows(
        cls, chunk: Chunk, records: Sequence[PartRecord], sender: Sender, context: RunContext
    ) -> "ChunkInFlight":
        """Take a chunk with its rows, and write them to the spill. Raises OSError if they cannot be written."""
        parts = Parts.of(records, context.spec.via)
        rows = StoredRows(chunk, context.spill, context.held)
        settling = Settling(parts, context, rows=rows, open_parts=rows_of_parts(chunk, parts))
        submission = None
        if parts.without_job():
            submission = Submission(parts, context, body=chunk.body, rows=rows, sender=sender, settling=settling)
        return cls(chunk.number, parts, context, settling=settling, rows=rows, submission=submission)

    @classmethod
    def of_record(cls, chunk: ChunkRecord, records: Sequence[PartRecord], context: RunContext) -> "ChunkInFlight":
        """Take a chunk without its rows: what is known of it is settled."""
        parts = Parts.of(records, context.spec.via)
        open_parts = {part: context.log.rows_of(part.record) for part in parts}
        settling = Settling(parts, context, rows=None, open_parts=open_parts)
        return cls(chunk.number, parts, context, settling=settling)

    def __repr__(self) -> str:
        states = ", ".join(type(part.state).__name__ for part in self._parts)
        return f"<chunk {self.number}: {states}>"

    @property
    def over(self) -> bool:
        """Whether every part has been posted."""
        return self._settling.over

    @property
    def to_be_sent(self) -> bool:
        """Whether it has to be submitted."""
        return self._submission is not None

    @property
    def under_way(self) -> bool:
        """Whether a request of it that has an effect may be under way, or something is being written down."""
        return self._settling.writing > 0 or (self._submission is not None and self._submission.under_way)

    @property
    def counts(self) -> Counts | None:
        """How its rows have ended; None if another process can find out more about some of them."""
        counts = [part.counts for part in self._parts]
        if None in counts:
            return None
        return Counts(**{name: sum(getattr(one, name) for one in counts) for name in COUNT_NAMES})

    @property
    def in_doubt(self) -> Sequence[PartRecord]:
        """Parts that may have been applied, and are not retried."""
        return self._settling.in_doubt

    async def replay(self) -> None:
        """Post what the journal knows of it. Raises JournalRefused if rejections are missing."""
        await self._settling.replay()

    async def live(self, known_jobs_ended: Callable[[], None], submitted: Callable[[], None]) -> None:
        """Take it to its outcome. The two are called when its known jobs have ended, and when it is submitted."""
        self._began = asyncio.get_running_loop().time()
        self._scope.enter()
        self._context.engine.emit(self._scope.event("chunk.started"))
        if not self.known_jobs_ended:
            await self._watch()
            self.known_jobs_ended = True
            known_jobs_ended()
        if self._submission is not None:
            await self.may_send.wait()
            if self._context.stopping or self._withheld:
                return
            await self._enduring(self._submission.submit)
            self._submission.drop_body()
            submitted()
        else:
            await self._adopt()
        if self._context.stopping:
            return
        await self._enduring(self._watch)
        await self._finish()

    async def _enduring(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Take a step until it succeeds, where failures that are of no row are endured."""
        if self._context.endurance is None:
            await step()
        else:
            await self._context.endurance.patiently(step, lambda: not self._context.stopping)

    def close(self, why: str) -> None:
        """Post what has no outcome, and let go of everything. ``why`` is what ended the run."""
        try:
            for part in self._settling.unposted():
                match part.state:
                    case Watched():
                        self._settling.leave(part, _UNDER_WAY)
                    case Lost(reason):
                        self._settling.leave(part, reason)
                    case Settled():
                        self._settling.leave(part, _NOT_READ)
                    case _:
                        doubt = part.doubt is not None
                        self._settling.leave(part, _NO_ANSWER if doubt else why, sent=doubt)
        finally:
            if self._submission is not None:
                self._submission.drop_body()
                self._submission = None
            if self._rows is not None:
                self._rows.close()
        self._tell_settled()

    def _tell_settled(self) -> None:
        """Tell which outcomes its rows have by the work of this process."""
        outcomes = self._settling.outcomes
        if rows := outcomes.total():
            seconds = None if self._began is None else asyncio.get_running_loop().time() - self._began
            known = {"rows": rows, "seconds": seconds, "cause": self._settling.cause or None}
            self._context.engine.emit(self._scope.event("chunk.settled", **outcomes, **known))

    def withhold(self) -> None:
        """Have it end without being submitted, once its known jobs have ended."""
        self._withheld = True
        self.may_send.set()

    def spill_body(self) -> None:
        """Keep its body out of memory until it is sent."""
        if self._submission is not None:
            self._submission.spill_body()

    def statuses(self) -> Iterator[str]:
        """Give the status of each of its jobs that have not ended."""
        for part in self._settling.unposted():
            if isinstance(part.state, Watched):
                job = self._jobs.get(part)
                yield job.reply.status if job is not None and job.reply is not None else "Allocated"

    def jobs(self) -> Iterable[WatchedJob]:
        """Give each of its jobs that is under watch."""
        return self._jobs.values()

    @property
    def waits_for_jobs(self) -> bool:
        """Whether nothing can be done with it before one of its jobs ends."""
        return bool(self._jobs) and all(job.goes_on for job in self._jobs.values())

    # Its jobs

    async def _adopt(self) -> None:
        """Without the rows, find at least the imports whose answers were lost."""
        engine, log = self._context.engine, self._context.log
        for part in self._parts.without_job():
            if not isinstance(part.state, InDoubt):
                continue
            job = await find_import(engine.account, part.record.data_id, engine.settings.read_timeout)
            if job is None:
                cause = part.record.cause or "its answer was lost when the run ended"
                looked = part.record.data_id is not None
                log.later(part.become(Lost(cause), **({"cause": cause} if looked else {})))
            else:
                self._context.ledger.note_jobs(job)
                await log.put(part.become(Watched(job, resumed=True), job=str(job)))

    async def _watch(self) -> None:
        """Watch the jobs of all parts together, to their ends."""
        parts = [part for part in self._settling.unposted() if isinstance(part.state, Watched)]
        if len(parts) == 1:
            await self._watch_one(parts[0])
        elif parts:
            await _together([self._watch_one(part) for part in parts])

    async def _watch_one(self, part: Part) -> None:
        """Watch one job to its end, and settle its part."""
        state = part.state
        if not isinstance(state, Watched):
            return
        scheduler, context = self._context.engine.scheduler, self._context
        job = self._jobs[part] = scheduler.watch(state.job, part.size, new=True, resumed=state.resumed)
        try:
            ended = await scheduler.end_of(job, context.notify)
            outcome = self._settling.judge(part, ended)
            for share in _SECOND_LOOKS:
                if outcome.final:
                    break
                await asyncio.sleep(share * context.engine.assumptions.counts_lag_seconds)
                ended = await scheduler.look_again(job)
                outcome = self._settling.judge(part, ended)
        except ApiError as refusal:
            if refusal.status != 404:
                raise
            await self._settling.unknown(part, "Mailjet does not know the job any more")
        else:
            await self._settling.ended(part, ended, outcome)
            if ended.reply.status.strip().casefold() != "completed":
                context.account_changed()  # it may have met a property that is not there any more
            context.statuses[ended.reply.status] = context.statuses.get(ended.reply.status, 0) + 1
        finally:
            del self._jobs[part]

    async def _finish(self) -> None:
        """Give refused parts their outcome."""
        for part in self._settling.unposted():
            if isinstance(part.state, Refused):
                await self._settling.refused(part)


async def _together(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Wait for all of them; where one fails, the others are cancelled, and its error is raised."""
    tasks = [keep(one) for one in work]
    try:
        await asyncio.gather(*tasks)  # noqa: TID251  # it makes no task of them
    finally:
        for task in tasks:
            task.cancel()
        await all_ended(tasks)
