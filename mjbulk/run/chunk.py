"""One chunk on its sender: handed over, watched, and settled.

Every row of it is posted to the ledger exactly once, also where its task is cancelled at any point; and where there is
a journal, not before its outcome is written there.
"""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import groupby

from attrs import evolve

from mjbulk.chunks.chunker import Chunk
from mjbulk.errors import ApiError
from mjbulk.jobs.scheduler import EndedJob, WatchedJob
from mjbulk.journal.records import PartRecord, mask
from mjbulk.models import Rejection, Unsettled
from mjbulk.outcomes.settle import JobOutcome, settle
from mjbulk.run.part import Part, Refused, Rows
from mjbulk.run.senders import Sender, find_import
from mjbulk.run.submission import Desk, Handover
from mjbulk.spill import SpillRef

_SECOND_LOOKS = (1 / 21, 5 / 21, 15 / 21)
"""Waits before a job whose counts do not agree is looked at again, as shares of the time for which counts may lag."""
_NOT_AT_HAND = "its error file names people, and the source is not at hand: resume the run with its source"
_REFUSED_LATER = "it was refused when it was sent again, after an answer that was lost"


class Delivery:
    """A chunk on its sender. Mutable state: the parts that have no outcome yet, and where its rows lie."""

    def __init__(self, number: int, span: range, records: Sequence[PartRecord], desk: Desk) -> None:
        """Go on with what is known of a chunk: without `load` its rows are not at hand. Nothing is sent yet."""
        self.number = number
        self.entries = sum(record.end - record.first for record in records)
        self.done = asyncio.Event()
        self.handover: Handover | None = None
        self.in_doubt: list[PartRecord] = []
        """Parts that may have been applied, and are not sent again by themselves."""
        self._span = span
        self._parts = [Part.of(record, desk.spec.via) for record in records]
        self._rows: SpillRef | None = None
        self._desk = desk

    def load(self, chunk: Chunk, sender: Sender) -> None:
        """Take the rows of the chunk: they are put aside, and the body waits to be handed over."""
        self._rows = Rows.put(chunk, self._desk.spill)
        if any(part.record.state in ("unsent", "sending") for part in self._parts):
            self.handover = Handover(chunk.body, self._rows, self._parts, sender, self._desk, settle=self._settle)

    @property
    def idle(self) -> bool:
        """Whether every part has its outcome."""
        return not self._parts

    @property
    def submitting(self) -> bool:
        """Whether a request of it may be under sender: one that waits for its turn is not."""
        sent = any(part.in_doubt for part in self._parts)
        return self.handover is not None and self.handover.busy and sent

    async def replay(self) -> None:
        """Post the jobs and outcomes that the journal knows. Raises JournalRefused where rejections are missing."""
        self._desk.ledger.jobs.extend(part.job for part in self._parts if part.job is not None)
        settled = [part for part in self._parts if part.record.state == "settled"]
        speaks = any(part.record.rejected or part.record.cause for part in settled)
        rejected = [record async for record in self._desk.log.rejections(self.number)] if speaks else []
        by_part = {first: list(some) for first, some in groupby(rejected, key=lambda record: record.first)}
        for part in settled:
            records = by_part.get(part.record.first, [])
            self._desk.log.check_rejections(part.record, records)
            self._post(part, list(self._all_rows().recall(part.indexes, records)) if records else [])

    async def deliver(self) -> None:
        """Hand it over, and settle its rows."""
        if self.handover is not None:
            await self.handover.hand_over()
        else:
            await self._adopt()
        for part in list(self._parts):
            if self._desk.stopped:
                break
            await self._settle(part)

    async def _adopt(self) -> None:
        """Without the rows, find at least the imports whose answers were lost."""
        engine = self._desk.engine
        for part in self._parts:
            if part.job is None and part.in_doubt:
                data_id = part.record.data_id
                part.job = await find_import(engine.account, data_id, engine.settings.read_timeout)
                if part.job is not None:
                    self._desk.ledger.jobs.append(part.job)
                    part.resumed = True
                    part.record = evolve(part.record, state="watched", job=str(part.job))
                    await self._desk.log.put(part.record)
                else:
                    part.lost = part.record.cause or "its answer was lost when the run ended"

    def close(self, why: str) -> None:
        """Post what has no outcome, and let go of everything. ``why`` is what ended the run."""
        for part in list(self._parts):
            if part.job is not None:
                self._leave(part, f"its job was not watched to its end: {why}")
            else:
                self._leave(part, part.lost or why, sent=part.in_doubt)
        if self.handover is not None:
            self.handover.let_go()
        if self._rows is not None:
            self._desk.spill.drop(self._rows)

    def statuses(self) -> Iterator[str]:
        """Give the status of each of its jobs that have not ended."""
        for part in self._parts:
            if part.job is not None:
                yield part.watched.reply.status if part.watched and part.watched.reply else "Allocated"

    def watched(self) -> Iterator[WatchedJob]:
        """Give each of its jobs that is under watch."""
        return (part.watched for part in self._parts if part.watched is not None)

    def _all_rows(self) -> Rows:
        """Read the rows back: they are put aside before the chunk is sent."""
        return Rows.get(self._desk.spill, self._rows)

    # Settling

    async def _settle(self, part: Part) -> None:
        """Give the rows of a part their outcome: wait for its job's end, where it has one."""
        if part.refused is not None:
            refused: Refused = {part.record.first: (part.refused, None, "exact")}
            known = not part.in_doubt
            await self._close_books(part, JobOutcome(cause=_REFUSED_LATER), refused if known else {})
        elif part.job is not None:
            await self._watch(part)
        elif part.lost is not None:
            self._leave(part, part.lost)

    async def _watch(self, part: Part) -> None:
        if part.job is None:
            return
        scheduler = self._desk.engine.scheduler
        part.watched = scheduler.watch(part.job, part.size, new=True, resumed=part.resumed)
        try:
            ended = await scheduler.end_of(part.watched, self._desk.notify)
            outcome = self._judge(part, ended)
            for share in _SECOND_LOOKS:
                if outcome.final:
                    break
                await asyncio.sleep(share * self._desk.engine.assumptions.counts_lag_seconds)
                ended = await scheduler.look_again(part.watched)
                outcome = self._judge(part, ended)
        except ApiError as refusal:
            if refusal.status != 404:
                raise
            await self._close_books(part, JobOutcome(cause="Mailjet does not know the job any more"), {})
            return
        statuses = self._desk.statuses
        statuses[ended.reply.status] = statuses.get(ended.reply.status, 0) + 1
        if self._rows is None and ended.file and ended.file.errors:
            self._leave(part, _NOT_AT_HAND)
            return
        refused = {
            part.record.first + place: (matched.error.message, matched.error.field, matched.match)
            for place, matched in outcome.rejected.items()
        }
        await self._close_books(part, outcome, refused)

    def _judge(self, part: Part, ended: EndedJob) -> JobOutcome:
        named = bool(ended.file and ended.file.errors)
        addresses = self._all_rows().addresses[part.indexes] if named else ()
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

    async def _close_books(self, part: Part, outcome: JobOutcome, refused: Refused) -> None:
        """Give every row of a part its outcome: on disk first, then in the ledger."""
        rejections: list[Rejection] = []
        notes: list[Rejection] = []
        if refused or outcome.unassigned:
            rows = self._all_rows()
            rejections = rows.rejections(part.indexes, refused)
            notes = [rows.note(part.indexes, matched) for matched in outcome.unassigned]
        left, entries = part.record.rows - len(rejections), part.size - len(refused)
        known = outcome.cause is None or not left
        part.record = evolve(
            part.record,
            state="settled",
            accepted=entries if known else 0,
            rejected=len(rejections),
            superseded=left - entries if known else 0,
            unknown=0 if known else left,
            cause=mask((outcome.mismatch if known else outcome.cause) or ""),
        )
        log = self._desk.log
        await log.put(part.record, *log.records_of(part.record, [*rejections, *notes]))
        self._post(part, [*rejections, *notes])
        self._desk.emit("chunk.settled", part)

    def _post(self, part: Part, rejections: Sequence[Rejection]) -> None:
        """Enter the outcome of a part into the ledger."""
        ledger, record = self._desk.ledger, part.record
        for rejection in rejections:
            (ledger.keep_unassigned if rejection.row is None else ledger.post_rejected)(rejection)
        ledger.post_accepted(record.accepted, record.superseded)
        ledger.unknown += record.unknown
        if record.cause:
            ledger.unsettled.append(self._why(part, record.cause))
        self._parts.remove(part)

    def _leave(self, part: Part, cause: str, *, sent: bool = True) -> None:
        """Enter that a part has no outcome: its rows are unknown, or were not sent."""
        rows = part.record.rows
        self._desk.ledger.post_unsettled(self._why(part, cause), **{"unknown" if sent else "not_sent": rows})
        if sent and part.job is None:
            self.in_doubt.append(part.record)
        self._parts.remove(part)

    def _why(self, part: Part, cause: str) -> Unsettled:
        whole = part.size == self.entries or self._rows is None
        return Unsettled(rows=self._span if whole else self._all_rows().span(part.indexes), cause=cause, job=part.job)
