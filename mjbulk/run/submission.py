"""A chunk to its jobs: sent, halved where it is refused as a whole, and found again where its answer was lost.

Nothing leaves before its intent is in the journal, and no job is used before it is there.
"""

from collections import deque
from typing import Any

from attrs import evolve

from mjbulk.chunks.chunk import Body
from mjbulk.errors import ApiError, NoAnswer
from mjbulk.events import Scope
from mjbulk.mailjet.attempts import GaveUp, Patience, Unavailable, WasReset
from mjbulk.mailjet.requests import Content
from mjbulk.mailjet.transport import Doubt, usual_patience
from mjbulk.models import JobRef
from mjbulk.run.chunk_rows import StoredRows
from mjbulk.run.context import RunContext
from mjbulk.run.part import InDoubt, Lost, Part, Parts, Refused, Unsent, Watched
from mjbulk.run.senders import CSV_CARRIER, Passage, Sender
from mjbulk.run.settling import Settling
from mjbulk.spill import Stored

_REFUSED_IN_A_ROW = 100
"""After this many rows that were refused alone, with none taken in between, the account is the problem and not the
data: the run halts."""
_LARGE = 256 * 1024
"""Bytes of a body that is not kept in memory."""
_SMALL = 1024
"""Bytes that are never too many for one body."""
_RESETS = 3
"""How often a connection may be closed on a body that is larger than any before, until its halves are tried."""


class Submission:
    """Finds a job for each part of one chunk. Mutable state: the body, and whether a request is under way."""

    def __init__(
        self,
        parts: Parts,
        context: RunContext,
        *,
        body: Body,
        rows: StoredRows,
        sender: Sender,
        settling: Settling,
    ) -> None:
        """Send nothing yet."""
        self.under_way = False
        """Whether a request may be under way, or its job is being written down. One that waits for its turn is not."""
        self._body: Body | None = body
        self._rows = rows
        self._parts = parts
        self._sender = sender
        self._settling = settling
        self._context = context
        self._taken_before = parts.anything_taken
        if len(body.data) > _LARGE:
            self.spill_body()

    def spill_body(self) -> None:
        """Keep the body out of memory until it is sent."""
        if self._body is not None and isinstance(self._body.data, bytes):
            self._body = evolve(self._body, data=self._context.spill.store(self._body.data))

    def drop_body(self) -> None:
        """Let go of the body."""
        if self._body is not None and isinstance(self._body.data, Stored):
            self._context.spill.drop(self._body.data.ref)
        self._body = None

    async def submit(self) -> None:
        """Find a job for each part, until the run stops. Raises errors that are of no row: the run halts."""
        left = self._settling.unposted()
        body, pending = self._body, deque(part for part in self._parts.without_job() if part in left)
        while body is not None and pending and not self._context.stopping:
            part = pending.popleft()
            data = body.part(part.entries)
            pending.extendleft(reversed(await self._try(part, data)))
        if not pending:
            await self._settling.refused_without_doubt()

    async def _try(self, part: Part, data: Content) -> list[Part]:
        """Find a job for a part, and give the parts that take its place where it is halved."""
        try:
            job = await self._job_of(part, data)
        except ApiError as refusal:
            return self._refused(part, refusal, len(data))
        except WasReset as lost:
            return self._was_reset(part, lost, len(data))
        except GaveUp:
            raise
        except NoAnswer as lost:
            self._lose(part, lost)
            return []
        await self._taken(part, job, len(data))
        return []

    async def _job_of(self, part: Part, data: Content) -> JobRef:
        """Send a part, or find the job that took it before its answer was lost.

        Raises NoAnswer if it may have been applied, and must not be retried.
        """
        attempts, call = self._context.engine.settings.attempts, self._sender.effective
        lost = NoAnswer(call, why="the run ended before it came", attempts=part.record.attempts, sent=True)
        for _ in range(attempts):
            if part.doubt is not None:
                if (found := await self._sender.find(part.record.data_id)) is not None:
                    return found
                if not (self._may_retry(part, data) or self._was_not_imported(part, lost)):
                    raise lost
            try:
                return await self._send(part, data)
            except GaveUp:
                raise
            except NoAnswer as why:
                lost = why
        raise GaveUp(lost.call, why=lost.sentence, attempts=attempts, sent=True)

    async def _send(self, part: Part, data: Content) -> JobRef:
        """Send a part once. However it ends, its state says afterwards whether it may have been applied."""
        before = part.state

        async def leaving() -> None:
            self.under_way = True
            await self._save(part, InDoubt(own=True), attempts=part.record.attempts + 1)

        async def returned() -> None:
            self.under_way = False
            await self._save(part, before)

        async def uploaded(data_id: int) -> None:
            part.record = evolve(part.record, data_id=data_id)
            self._context.log.later(part.record)  # it is on disk with the intent to import it

        doubt = Doubt(leaving=leaving, returned=returned)
        patience = self._patience(part, len(data))
        passage = Passage(doubt=doubt, patience=patience, data_id=part.record.data_id, uploaded=uploaded)
        job = None
        try:
            job = await self._sender.submit(data, passage)
        finally:
            self.under_way = job is not None
            if job is None and not doubt.sent and part.state != before:
                self._note(part, before)
        return job

    def _may_retry(self, part: Part, data: Content) -> bool:
        """Say whether a part may be retried that may have been applied.

        Not where a later row of one of its people has gone out: the earlier one would win then.
        """
        overtaken = part.record.overtaken and self._context.spec.resend != "always"
        return self._sender.harmless(data) and not overtaken

    def _was_not_imported(self, part: Part, lost: NoAnswer) -> bool:
        """Say whether a part was not applied: the answer was 503, and no import of what was uploaded is found."""
        sure = isinstance(lost, Unavailable) and part.record.data_id is not None
        return sure and not part.record.overtaken and self._context.spec.resend != "never"

    def _patience(self, part: Part, size: int) -> Patience | None:
        """Say how often the connection may be closed on a body.

        A body no larger than one that succeeded was stopped by an outage: retry. A larger one may exceed a size limit
        that is not known: give up early, and halve it.
        """
        learned, usual = self._context.learned, usual_patience(self._context.engine.settings)
        if size <= max(learned.passed, _SMALL):
            return None
        if part.size == 1:
            return evolve(usual, resets=usual.attempts)
        return evolve(usual, resets=1 if size > learned.most else _RESETS)

    # What became of a request

    async def _taken(self, part: Part, job: JobRef, size: int) -> None:
        """Write a part's job down before it is used.

        A part that a job takes shows that the account is fine: a row that was refused alone was bad itself, and no body
        with it was ever applied, whatever became of the answers. So the doubt of such rows is cleared.
        """
        context = self._context
        context.ledger.note_jobs(job)  # also if the journal fails
        self._note(part, Watched(job), job=str(job))
        for other in self._parts:
            if isinstance(other.state, Refused):
                other.become(Refused(other.state.why, None))
        try:
            await self._settling.refused_without_doubt()  # in one commit with the job
            await context.log.put()
        finally:
            self.under_way = False
        context.refused_in_a_row = 0
        context.learned.passes(size, half_of=part.half_of)
        scope = Scope.current() or context.scope  # that of the chunk, in its task
        context.engine.emit(scope.event("chunk.sent", job=job, rows=part.record.rows))
        context.notify()

    def _refused(self, part: Part, refusal: ApiError, size: int) -> list[Part]:
        """Halve a part that was refused as a whole; refuse a row alone. Raises errors that are of no row."""
        context = self._context
        if context.endurance is not None and self._no_such_list(refusal):
            self._settling.leave(part, f"its lists are not there any more: {refusal}", sent=part.doubt is not None)
            context.account_changed()
            return []
        context.refused_in_a_row += part.size == 1
        for_a_row = refusal.status in (400, 413) and refusal.call == self._sender.carrier and not refusal.lists
        if not for_a_row or context.refused_in_a_row > _REFUSED_IN_A_ROW:
            raise refusal
        if part.size > 1:
            return self._halve(part, too_large=size if refusal.status == 413 else 0)
        doubt = part.doubt
        if doubt is not None and not doubt.own and (self._taken_before or self._parts.anything_taken):
            doubt = None  # the larger body would have been refused for this row
        part.become(Refused(refusal.text or str(refusal), doubt))
        return []

    def _no_such_list(self, refusal: ApiError) -> bool:
        """Say whether a list of the rows is not there: it stands in the body, or in the path of an upload."""
        return bool(refusal.lists) or (refusal.status == 404 and refusal.call == CSV_CARRIER)

    def _was_reset(self, part: Part, lost: WasReset, size: int) -> list[Part]:
        """Halve a part whose body may be too large. Raises if a row alone is refused a connection like all else."""
        if part.size > 1:
            return self._halve(part, too_large=size)
        if not self._context.learned.passed:
            raise lost
        self._lose(part, lost)
        return []

    def _halve(self, part: Part, *, too_large: int) -> list[Part]:
        """Put two halves in the place of a part."""
        record, rows = part.record, self._rows.read()
        middle = (record.first + record.end) // 2
        known = [rows.rows(slice(*some)) for some in ((record.first, middle), (middle, record.end))]
        halves = part.halves(sum(map(len, known[0].ranges)), too_large=too_large)
        self._context.log.halve(record, [half.record for half in halves])
        self._parts.halve(part, halves)
        self._settling.halved(part, dict(zip(halves, known, strict=True)))
        return list(halves)

    def _lose(self, part: Part, why: object) -> None:
        """Leave a part in doubt: it may have been applied, and is not retried."""
        if isinstance(part.state, Unsent):
            part.become(InDoubt(own=True))
        self._note(part, Lost(str(why)), cause=str(why))

    # Writing down

    def _note(self, part: Part, state: Any, **known: Any) -> None:
        self._context.log.later(part.become(state, **known))

    async def _save(self, part: Part, state: Any, **known: Any) -> None:
        await self._context.log.put(part.become(state, **known))
