"""A chunk to its jobs: sent, halved where it is refused as a whole, and found again where its answer was lost.

Nothing leaves before its intent is in the journal, and no job is used before it is there.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, evolve, field

from mjbulk.chunks.chunker import Body, SizeLimit
from mjbulk.errors import ApiError, NoAnswer
from mjbulk.events import Event
from mjbulk.mailjet.requests import Content
from mjbulk.mailjet.transport import GaveUp, Patience, WasReset
from mjbulk.models import JobRef
from mjbulk.outcomes.ledger import Ledger
from mjbulk.run.engine import Engine
from mjbulk.run.part import Part, Rows
from mjbulk.run.run_log import RunLog
from mjbulk.run.senders import Sender
from mjbulk.spill import Spill, SpillRef, Stored
from mjbulk.terms import RunSpec

_REFUSED_IN_A_ROW = 100
"""When so many rows were refused alone and none was taken in between, no row is to blame: the run halts."""
_SMALL = 1024
"""Bytes that are never too many for one body."""
_LARGE = 256 * 1024
"""Bytes of a body that is not kept in memory."""
_RESETS = 3
"""How often a connection may be closed on a body that is larger than any before, until its halves are tried."""


@define(kw_only=True, eq=False)
class Desk:
    """What the deliveries of one run share. Mutable state: what lies in it, and how the last requests ended."""

    run_id: str
    spec: RunSpec
    engine: Engine
    ledger: Ledger
    log: RunLog
    notify: Callable[[], None]
    """Told when something has changed that a snapshot of the run shows."""
    bodies: asyncio.Semaphore
    """Room for bodies under way; a chunk holds one place until it is handed over."""
    learned: SizeLimit
    """Told of what went through."""
    spill: Spill = field(factory=Spill)
    statuses: dict[str, int] = field(factory=dict)
    """How many jobs have ended in which status."""
    refused_in_a_row: int = 0
    """How many rows were refused alone since something was taken."""
    stopped: bool = False
    """Whether the run is being stopped: requests under way may end, and nothing more is done."""

    def emit(self, name: Any, part: Part) -> None:
        """Tell that something happened to a part."""
        record = part.record
        event = Event(name=name, run_id=self.run_id, chunk=record.chunk, job=part.job, rows=part.size)
        self.engine.emit(event)


Settle = Callable[[Part], Awaitable[None]]


class Handover:
    """Hands over the parts of one chunk. Mutable state: the body, until all are handed over, and the parts."""

    def __init__(
        self, body: Body, rows: SpillRef, parts: list[Part], sender: Sender, desk: Desk, *, settle: Settle
    ) -> None:
        """``parts`` is changed as they are halved; ``rows`` is where their rows lie. ``settle`` gives a part its
        outcome.
        """
        self.busy = False
        """Whether a request of it may be under sender."""
        self._body: Body | None = body
        self._has_room = False
        self._rows = rows
        self._parts = parts
        self._before = [part.record for part in parts]
        self._sender = sender
        self._desk = desk
        self._settle = settle
        if len(body.data) > _LARGE:
            self.put_aside()

    def put_aside(self) -> None:
        """Keep the body out of memory."""
        if self._body is not None and isinstance(self._body.data, bytes):
            self._body = evolve(self._body, data=self._desk.spill.store(self._body.data))

    async def make_room(self) -> None:
        """Wait until so few bodies are under way that this one may be."""
        await self._desk.bodies.acquire()
        self._has_room = True

    def let_go(self) -> None:
        """Give the room back, for another body."""
        self.busy = False
        if self._body is not None and isinstance(self._body.data, Stored):
            self._desk.spill.drop(self._body.data.ref)
        self._body = None
        if self._has_room:
            self._has_room = False
            self._desk.bodies.release()

    async def hand_over(self) -> None:
        """Find a job for each part, until the run is stopped. Raises what no row is to blame for: the run halts."""
        if self._body is None:
            return
        self.busy = True
        pending = [part for part in self._parts if part.job is None]
        while pending and not self._desk.stopped:
            part = pending.pop(0)
            data = self._body.part(part.indexes)
            part.passage.patience = self._patience(part, len(data))
            try:
                await self._take(part, data)
            except ApiError as refusal:
                pending[:0] = self._refused(part, refusal, len(data))
            except WasReset as lost:
                pending[:0] = self._was_reset(part, lost, len(data))
            except GaveUp:
                raise
            except NoAnswer as lost:
                self._lost(part, lost)
        if not pending:
            await self._settle_refused()
        self.let_go()

    async def _take(self, part: Part, data: Content) -> None:
        """Find a part's job, and write it down before it is used."""
        part.passage.uploaded = lambda data_id: self._save(part, data_id=data_id)
        try:
            part.job = await self._job_of(part, data)
        finally:
            if part.job is None and not part.in_doubt:
                self._note(part, state="unsent")  # nothing of it was applied, however it ended
        self._desk.ledger.jobs.append(part.job)  # known also where the journal fails
        self._note(part, state="watched", job=str(part.job))
        await self._clear()  # in one commit with the job, without which nobody would know it again
        await self._save(part)
        self._desk.refused_in_a_row = 0
        self._desk.learned.passes(len(data), half_of=part.half_of)
        self._desk.emit("chunk.sent", part)
        self._desk.notify()

    async def _job_of(self, part: Part, data: Content) -> JobRef:
        """Send a part, or find the job that took it before its answer was lost.

        Raises NoAnswer where nobody can say whether it was applied, and it must not be sent again.
        """
        passage, attempts = part.passage, self._desk.engine.settings.attempts
        lost = NoAnswer(
            self._sender.carrier, why="the run ended before it came", attempts=part.record.attempts, sent=True
        )
        for _ in range(attempts):
            if part.in_doubt:
                if (found := await self._sender.find(passage)) is not None:
                    return found
                if not self._may_go_again(part, data):
                    raise lost
            await self._save(part, state="sending", attempts=part.record.attempts + 1)
            try:
                return await self._sender.submit(data, passage)
            except GaveUp:
                raise
            except NoAnswer as why:
                lost = why
        raise GaveUp(lost.call, why=lost.sentence, attempts=attempts, sent=True)

    def _may_go_again(self, part: Part, data: Content) -> bool:
        """Whether a part may be sent again that may have been applied.

        Not where a later row of one of its people has gone out: the earlier one would win then.
        """
        overtaken = part.record.overtaken and self._desk.spec.resend != "always"
        return self._sender.harmless(data) and not overtaken

    def _patience(self, part: Part, size: int) -> Patience | None:
        """Say how often a body may be reset. What is no larger than a body that went through meets an outage, and is
        waited for; what is larger may be too large, and nobody would say so.
        """
        learned, usual = self._desk.learned, Patience.of(self._desk.engine.settings)
        if size <= max(learned.passed, _SMALL):
            return None
        if part.size == 1:
            return evolve(usual, resets=usual.attempts)
        return evolve(usual, resets=1 if size > learned.most else _RESETS)

    def _refused(self, part: Part, refusal: ApiError, size: int) -> list[Part]:
        """Halve a part that was refused as a whole; a row alone is rejected. Raises what no row is to blame for."""
        self._desk.refused_in_a_row += part.size == 1
        for_a_row = refusal.status in (400, 413) and refusal.call == self._sender.carrier
        if not for_a_row or self._desk.refused_in_a_row > _REFUSED_IN_A_ROW:
            raise refusal
        if part.size > 1:
            return self._halve(part, too_large=size if refusal.status == 413 else 0)
        part.refused = refusal.text or str(refusal)
        part.inherited = part.inherited and not self._taken()
        return []

    def _taken(self) -> bool:
        return any(record.job for record in self._before) or any(part.job for part in self._parts)

    async def _clear(self) -> None:
        """Where something is taken after a row was refused, the row was to blame, and not what the account has: so no
        body with it in was ever applied, whatever became of the answers.
        """
        for part in self._parts:
            if part.refused is not None:
                part.inherited = part.passage.doubt.sent = False
        await self._settle_refused()

    async def _settle_refused(self) -> None:
        """Give their outcome to rows that were refused alone, now that it is known that they are to blame."""
        for part in list(self._parts):
            if part.refused is not None and not part.in_doubt:
                await self._settle(part)

    def _was_reset(self, part: Part, lost: WasReset, size: int) -> list[Part]:
        """Halve a part whose body may be too large. Raises where a row alone is refused a connection like all else."""
        if part.size > 1:
            return self._halve(part, too_large=size)
        if not self._desk.learned.passed:
            raise lost
        self._lost(part, lost)
        return []

    def _halve(self, part: Part, *, too_large: int) -> list[Part]:
        """Put two halves in the place of a part; what it left in doubt, they do."""
        record = part.record
        middle = (record.first + record.end) // 2
        rows = Rows.get(self._desk.spill, self._rows).count(slice(record.first, middle))
        first = evolve(record, end=middle, rows=rows, attempts=0, data_id=None)
        second = evolve(record, first=middle, rows=record.rows - rows, attempts=0, data_id=None)
        halves = [Part(half, inherited=part.in_doubt, half_of=too_large) for half in (first, second)]
        self._desk.log.halve(record, [half.record for half in halves])
        at = self._parts.index(part)
        self._parts[at : at + 1] = halves
        return halves

    def _lost(self, part: Part, why: object) -> None:
        """Leave a part in doubt: it may have been applied, and is not sent again by itself."""
        part.lost = str(why)
        self._note(part, cause=part.lost)

    def _note(self, part: Part, **known: Any) -> None:
        part.record = evolve(part.record, **known)
        self._desk.log.later(part.record)

    async def _save(self, part: Part, **known: Any) -> None:
        part.record = evolve(part.record, **known)
        await self._desk.log.put(part.record)
