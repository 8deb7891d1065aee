"""One chunk on its way: handed over, watched, and settled.

A chunk is one job, unless Mailjet refuses the whole for a row in it, or for its size: then it is halved until that row
is alone, or the halves are small enough, and the chunk is several jobs. Every row of it is posted to the ledger exactly
once, also where its task is cancelled at any point.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

from attrs import define, evolve, field, frozen

from mjbulk._books import Settlement, settle
from mjbulk._chunking import Body, Chunk, SizeLimit, decode_record
from mjbulk._engine import Engine
from mjbulk._events import Event
from mjbulk._rows import Given
from mjbulk._spill import Spill
from mjbulk._transport import Doubt, GaveUp, Patience, WasReset
from mjbulk._ways import Way
from mjbulk.errors import ApiError, NoAnswer
from mjbulk.jobs import Ended, Watched
from mjbulk.models import JobRef, Match, Rejection, RunSpec, Unsettled
from mjbulk.report import Ledger

_REFUSED_IN_A_ROW = 100
"""When so many parts were refused and none was taken in between, no row is to blame: the run halts."""
_SMALL = 1024
"""Bytes that are never too many for one body."""
_RESETS = 3
"""How often a connection may be closed on a body that is larger than any before, until its halves are tried."""
_SECOND_LOOKS = (1 / 21, 5 / 21, 15 / 21)
"""Waits before a job whose counts do not agree is looked at again, as shares of the time for which counts may lag."""


@define(kw_only=True, eq=False)
class Desk:
    """What the deliveries of one run share. Mutable state: what lies in it, and how the last requests ended."""

    run_id: str
    spec: RunSpec
    engine: Engine
    ledger: Ledger
    learned: SizeLimit
    """Told of what went through."""
    bodies: asyncio.Semaphore
    """Room for bodies in memory; a delivery holds one place until its chunk is handed over."""
    spill: Spill = field(factory=Spill)
    statuses: dict[str, int] = field(factory=dict)
    """How many jobs have ended in which status."""
    refused_in_a_row: int = 0
    """How many parts were refused since one was taken."""


@define(eq=False)
class _Part:
    """Entries of a chunk that go into one job."""

    places: slice
    doubt: Doubt = field(factory=Doubt)
    job: JobRef | None = None
    watched: Watched | None = None
    half_of: int = 0
    """Bytes of the body that was too large before it was halved; 0 where none was."""

    @property
    def size(self) -> int:
        """How many entries."""
        return int(self.places.stop - self.places.start)

    def has(self, place: int) -> bool:
        """Whether an entry is one of them."""
        return bool(self.places.start <= place < self.places.stop)


@frozen
class _Rows:
    """The rows of a chunk, in memory or read back."""

    rows: list[int]
    entry_of: list[int]
    addresses: list[str]
    names: list[tuple[str, ...]]
    given: list[Any]

    def of(self, part: _Part) -> Iterator[tuple[int, int, Given]]:
        """Give number, entry and values of each row of a part."""
        for row, place, names, values in zip(self.rows, self.entry_of, self.names, self.given, strict=True):
            if part.has(place):
                yield row, place, Given(names, decode_record(values) if isinstance(values, str) else values)


class Delivery:
    """A chunk on its way. Mutable state: the parts that have no outcome yet, and where its rows lie."""

    def __init__(self, chunk: Chunk, way: Way, desk: Desk) -> None:
        """Nothing is sent before `deliver`."""
        self.number = chunk.number
        self.entries = len(chunk.encoded)
        self.done = asyncio.Event()
        self.submitting = False
        self._span = chunk.span
        self._count = len(chunk.rows)
        self._body: Body | None = Body.of(chunk.encoded, way.frame)
        self._place = desk.spill.put((chunk.rows, chunk.entry_of, chunk.addresses, chunk.names, chunk.given))
        self._parts = [_Part(slice(0, self.entries))]
        self._way = way
        self._desk = desk

    async def deliver(self, waits: list[asyncio.Event]) -> None:
        """Wait for the chunks before it that share a person, hand it over, and settle its rows."""
        for done in waits:
            await done.wait()
        self.submitting = True
        await self._submit()
        self.submitting = False
        for part in list(self._parts):
            await self._settle(part)

    def close(self, why: str) -> None:
        """Post what has no outcome, and let go of everything. ``why`` is what ended the run."""
        for part in list(self._parts):
            if part.job is not None:
                self._leave(part, f"its job was not watched to its end: {why}")
            else:
                self._leave(part, why, sent=part.doubt.sent)
        self._let_go()
        self._desk.spill.drop(self._place)

    def statuses(self) -> Iterator[str]:
        """Give the status of each of its jobs that have not ended."""
        for part in self._parts:
            if part.job is not None:
                yield part.watched.reply.status if part.watched and part.watched.reply else "Allocated"

    # Handing over

    async def _submit(self) -> None:
        body = self._body
        if body is None:
            return
        pending = list(self._parts)
        while pending:
            part = pending.pop(0)
            data = body.part(part.places)
            try:
                part.job = await self._way.submit(data, part.doubt, self._patience(part, len(data)))
            except ApiError as refusal:
                pending[:0] = self._refused(part, refusal, len(data))
            except WasReset as lost:
                pending[:0] = self._was_reset(part, lost, len(data))
            except GaveUp:
                raise
            except NoAnswer as lost:
                self._leave(part, str(lost))
            else:
                self._taken(part, len(data))
        self._let_go()

    def _taken(self, part: _Part, size: int) -> None:
        """Note that a part has its job, and that a body of its size went through."""
        self._desk.refused_in_a_row = 0
        self._desk.learned.passes(size, half_of=part.half_of)
        if part.job is not None:
            self._desk.ledger.jobs.append(part.job)
        self._emit("chunk.sent", part)

    def _patience(self, part: _Part, size: int) -> Patience | None:
        """Say how often a body may be reset. What is no larger than a body that went through meets an outage, and is
        waited for; what is larger may be too large, and nobody would say so.
        """
        learned, usual = self._desk.learned, Patience.of(self._desk.engine.settings)
        if size <= max(learned.passed, _SMALL):
            return None
        if part.size == 1:
            return evolve(usual, resets=usual.attempts)
        return evolve(usual, resets=1 if size > learned.most else _RESETS)

    def _refused(self, part: _Part, refusal: ApiError, size: int) -> list[_Part]:
        """Halve a part that was refused as a whole; a row alone is rejected. Raises what no row is to blame for."""
        self._desk.refused_in_a_row += 1
        for_a_row = refusal.status in (400, 413) and refusal.call == self._way.carrier
        if not for_a_row or self._desk.refused_in_a_row > _REFUSED_IN_A_ROW:
            raise refusal
        if part.size > 1:
            return self._halve(part, too_large=size if refusal.status == 413 else 0)
        if part.doubt.sent:
            self._leave(part, f"{refusal}, after an answer that was lost")
            return []
        self._reject(part, {part.places.start: (refusal.text or str(refusal), None, "exact")}, self._rows())
        self._parts.remove(part)
        return []

    def _was_reset(self, part: _Part, lost: WasReset, size: int) -> list[_Part]:
        """Halve a part whose body may be too large. Raises where a row alone is refused a connection like all else."""
        if part.size > 1:
            return self._halve(part, too_large=size)
        if not self._desk.learned.passed:
            raise lost
        self._leave(part, str(lost), sent=lost.sent)
        return []

    def _halve(self, part: _Part, *, too_large: int) -> list[_Part]:
        """Put two halves in the place of a part; what it left in doubt, they do."""
        first, end = part.places.start, part.places.stop
        middle = (first + end) // 2
        halves = [
            _Part(places, Doubt(part.doubt.sent), half_of=too_large)
            for places in (slice(first, middle), slice(middle, end))
        ]
        at = self._parts.index(part)
        self._parts[at : at + 1] = halves
        return halves

    def _let_go(self) -> None:
        """Make room for another body in memory."""
        if self._body is not None:
            self._body = None
            self._desk.bodies.release()

    def _rows(self) -> _Rows:
        """Read the rows back: they are put aside before the chunk is sent."""
        return _Rows(*self._desk.spill.get(self._place))

    # Settling

    async def _settle(self, part: _Part) -> None:
        """Wait for a job's end and post its rows."""
        if part.job is None:
            return
        scheduler = self._desk.engine.scheduler
        part.watched = scheduler.watched(part.job, part.size, new=True)
        try:
            ended = await scheduler.end_of(part.watched)
            settlement = self._judge(part, ended)
            for share in _SECOND_LOOKS:
                if settlement.final:
                    break
                await asyncio.sleep(share * self._desk.engine.assumptions.counts_lag_seconds)
                ended = await scheduler.look_again(part.job)
                settlement = self._judge(part, ended)
        except ApiError as refusal:
            if refusal.status != 404:
                raise
            self._leave(part, "Mailjet does not know the job any more")
            return
        statuses = self._desk.statuses
        statuses[ended.reply.status] = statuses.get(ended.reply.status, 0) + 1
        self._post(part, settlement)

    def _judge(self, part: _Part, ended: Ended) -> Settlement:
        named = bool(ended.file and ended.file.entries)
        addresses = self._rows().addresses[part.places] if named else ()
        assumed = self._desk.engine.assumptions
        json_way = self._desk.spec.via == "json"
        return settle(
            ended.reply,
            ended.file,
            addresses,
            sent=part.size,
            on_mismatch=self._desk.spec.on_mismatch,
            includes_rejected=assumed.count_includes_rejected if json_way else assumed.csv_count_includes_rejected,
        )

    def _post(self, part: _Part, settlement: Settlement) -> None:
        """Give every row of a part its outcome."""
        ledger, first = self._desk.ledger, part.places.start
        left, entries = (self._count, self.entries) if part.size == self.entries else (None, part.size)
        if settlement.rejected or settlement.loose or left is None:
            rows = self._rows()
            refused = {
                first + place: (matched.error.message, matched.error.field, matched.match)
                for place, matched in settlement.rejected.items()
            }
            left = self._reject(part, refused, rows)
            entries -= len(refused)
            self._note(part, settlement, rows)
        if settlement.cause is not None:
            ledger.leave(self._why(part, settlement.cause), unknown=left)
        else:
            ledger.accept(entries, left - entries)
        if settlement.note is not None:
            ledger.unsettled.append(self._why(part, settlement.note))
        self._parts.remove(part)
        self._emit("chunk.settled", part)

    def _reject(self, part: _Part, refused: dict[int, tuple[str, str | None, Match]], rows: _Rows) -> int:
        """Reject rows, and with each the earlier rows of the same person that were merged into it; count the others."""
        others = 0
        for row, place, given in rows.of(part):
            if place not in refused:
                others += 1
                continue
            message, blamed, match = refused[place]
            self._desk.ledger.reject(
                Rejection(
                    row=row,
                    email=rows.addresses[place],
                    field=blamed,
                    message=message,
                    match=match,
                    data=given.as_dict(),
                )
            )
        return others

    def _note(self, part: _Part, settlement: Settlement, rows: _Rows) -> None:
        """Keep errors that mean no row for certain."""
        for matched in settlement.loose:
            wanted = {part.places.start + place for place in matched.places}
            candidates = tuple(row for row, place, _ in rows.of(part) if place in wanted)
            error = matched.error
            self._desk.ledger.note(
                Rejection(
                    row=None,
                    candidates=candidates,
                    email=error.email,
                    field=error.field,
                    message=error.message,
                    match=matched.match,
                )
            )

    def _leave(self, part: _Part, cause: str, *, sent: bool = True) -> None:
        whole = part.size == self.entries
        rows = self._count if whole else sum(1 for _ in self._rows().of(part))
        self._desk.ledger.leave(self._why(part, cause), **{"unknown" if sent else "not_sent": rows})
        self._parts.remove(part)

    def _why(self, part: _Part, cause: str) -> Unsettled:
        span = self._span
        if part.size != self.entries:
            mine = [row for row, _, _ in self._rows().of(part)]
            span = range(mine[0], mine[-1] + 1)
        return Unsettled(rows=span, cause=cause, job=part.job)

    def _emit(self, name: Any, part: _Part) -> None:
        event = Event(name=name, run_id=self._desk.run_id, chunk=self.number, job=part.job, rows=part.size)
        self._desk.engine.emit(event)
