"""The outcome of the parts of one chunk: on disk first, then in the ledger.

Every row of a chunk is posted exactly once, also where its task is cancelled at any point.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from attrs import evolve

from mjbulk.jobs.watched_job import EndedJob
from mjbulk.journal.records import PartRecord, RejectionRecord, mask, rejection_of
from mjbulk.journal.row_sets import without
from mjbulk.models import COUNT_NAMES, Rejection, Unsettled
from mjbulk.outcomes.error_file import RowError
from mjbulk.outcomes.settle import JobOutcome, settle
from mjbulk.rows.addresses import key_of
from mjbulk.run.chunk_rows import PartRows, RefusedEntry, RowsAtHand, StoredRows
from mjbulk.run.context import RunContext
from mjbulk.run.part import Part, Parts, Refused, Settled

_REFUSED_LATER = "it was refused when it was retried, after an answer that was lost"
_NO_ROWS = "its error file names people, and the source is not at hand: resume the run with its source"


class Settling:
    """Posts the outcomes of one chunk. Mutable state: the parts that were not posted yet, with their rows, and counts
    of what was posted.
    """

    def __init__(
        self, parts: Parts, context: RunContext, *, rows: StoredRows | None, open_parts: Mapping[Part, PartRows]
    ) -> None:
        """Post nothing yet. ``rows`` are those of the chunk as they were given; None if the source is not given.
        ``open_parts`` has the rows of each part.
        """
        self.in_doubt: list[PartRecord] = []
        """Parts that may have been applied, and are not retried."""
        self.writing = 0
        """How many outcomes are being written down."""
        self.outcomes: Counter[str] = Counter()
        """How many rows have which outcome by the work of this process."""
        self.cause = ""
        """Why the first of them has none, if any has none."""
        self._parts = parts
        self._context = context
        self._rows = rows
        self._open = dict(open_parts)

    @property
    def over(self) -> bool:
        """Whether every part was posted."""
        return not self._open

    def halved(self, part: Part, halves: Mapping[Part, PartRows]) -> None:
        """Put the halves of a part in its place, each with its rows."""
        del self._open[part]
        self._open.update(halves)

    async def replay(self) -> None:
        """Post the jobs and outcomes that the journal knows. Raises JournalRefused if rejections are missing."""
        log = self._context.log
        self._context.ledger.note_jobs(*(part.job for part in self._parts if part.job is not None))
        settled = [part for part in self._parts if isinstance(part.state, Settled)]
        speaks = any(part.record.rejected or part.record.cause for part in settled)
        records = [record async for record in log.rejections(settled[0].record.chunk)] if speaks else []
        by_part = {first: list(some) for first, some in groupby(records, key=lambda record: record.first)}
        for part in settled:
            some = by_part.get(part.record.first, [])
            log.check_rejections(part.record, some)
            recalled = self._recalled(part, some)
            with self._context.ledger.recalling():
                self._post(part, recalled)

    def _recalled(self, part: Part, records: Sequence[RejectionRecord]) -> Sequence[Rejection]:
        if self._rows is None:
            return [rejection_of(record) for record in records]
        return list(self._given().recall(part.entries, records)) if records else []

    # Outcomes

    def judge(self, part: Part, ended: EndedJob) -> JobOutcome:
        """Say what became of the entries of a part whose job has ended."""
        assumed, spec = self._context.engine.assumptions, self._context.spec
        json = spec.via == "json"
        return settle(
            ended.reply,
            ended.file,
            self._addresses(part, ended.file.errors) if ended.file and ended.file.errors else (),
            sent=part.size,
            on_mismatch=spec.on_mismatch,
            includes_rejected=assumed.count_includes_rejected if json else assumed.csv_count_includes_rejected,
        )

    def _addresses(self, part: Part, errors: Sequence[RowError]) -> Sequence[str]:
        """Give the addresses of the entries of a part. The rows of an ingester are gone with its process: then those
        that errors name are taken for entries, so that they are counted.
        """
        if self._rows is not None:
            return self._given().addresses[part.entries]
        named = {key_of(error.email): error.email for error in errors if error.email is not None}
        return list(named.values())[: part.size] if self._context.log.gathers else ()

    async def ended(self, part: Part, ended: EndedJob, outcome: JobOutcome) -> None:
        """Give the rows of a part the outcome of its job."""
        if self._rows is None and ended.file and ended.file.errors:
            if self._context.log.gathers:
                await self._settle(part, outcome, {}, nameless=len(outcome.rejected))
            else:
                await self._wait_for_rows(part)
            return
        refused = {
            part.record.first + index: RefusedEntry(matched.error.message, matched.error.field, matched.match)
            for index, matched in outcome.rejected.items()
        }
        await self._settle(part, outcome, refused)

    async def unknown(self, part: Part, cause: str) -> None:
        """Write down that nothing more can be found out about a part."""
        await self._settle(part, JobOutcome(cause=cause), {})

    async def refused(self, part: Part) -> None:
        """Give the one entry of a refused part its outcome: rejected, or unknown where it is still in doubt."""
        if not isinstance(part.state, Refused):
            return
        refused = {part.record.first: RefusedEntry(part.state.why, None, "exact")}
        await self._settle(part, JobOutcome(cause=_REFUSED_LATER), {} if part.state.doubt else refused)

    async def refused_without_doubt(self) -> None:
        """Give the refused parts their outcome of which it is known that their rows are at fault."""
        for part in self._parts:
            if isinstance(part.state, Refused) and part.state.doubt is None:
                await self.refused(part)

    async def _settle(
        self, part: Part, outcome: JobOutcome, refused: Mapping[int, RefusedEntry], *, nameless: int = 0
    ) -> None:
        """Write the outcome of a part down, and post it. Which rows are the ``nameless`` rejected ones is not known."""
        rejections: list[Rejection] = []
        unassigned: list[Rejection] = []
        if self._rows is not None and (refused or outcome.unassigned):
            rows = self._given()
            rejections = rows.rejections(part.entries, refused)
            unassigned = [rows.unassigned(part.entries, matched) for matched in outcome.unassigned]
        rejected, entries = len(rejections) + nameless, part.size - len(refused) - nameless
        figures = _figures(part, outcome, rejected=rejected, entries=entries)
        records = self._context.log.records_of(part.record, [*rejections, *unassigned])
        await self._write(part.settled(**figures), *records)
        part.become(Settled(), **figures)
        self._tally(figures, figures["cause"])
        self._post(part, [*rejections, *unassigned])

    async def _write(self, *records: PartRecord | RejectionRecord) -> None:
        self.writing += 1
        try:
            await self._context.log.put(*records)
        finally:
            self.writing -= 1

    async def _wait_for_rows(self, part: Part) -> None:
        """Leave a part whose job has rejected people whom only the source can name."""
        part.record = evolve(part.record, cause=_NO_ROWS)
        await self._write(part.record)
        self.leave(part, _NO_ROWS)

    def leave(self, part: Part, cause: str, *, sent: bool = True) -> None:
        """Post that a part has no outcome: its rows are unknown, or were not sent."""
        rows = self._open.pop(part)
        why = Unsettled(rows=rows.ranges, cause=cause, job=part.job)
        outcome = {"unknown" if sent else "not_sent": part.record.rows}
        self._tally(outcome, mask(cause))
        self._context.ledger.post_unsettled(why, **outcome)
        if sent and part.job is None:
            self.in_doubt.append(part.record)

    def _tally(self, figures: Mapping[str, Any], cause: str) -> None:
        self.outcomes.update({name: figures.get(name, 0) for name in COUNT_NAMES[1:]})
        if figures.get("unknown") or figures.get("not_sent"):
            self.cause = self.cause or cause

    def unposted(self) -> list[Part]:
        """Give the parts that were not posted yet."""
        return list(self._open)

    def _post(self, part: Part, rejections: Sequence[Rejection]) -> None:
        """Enter the outcome of a part into the ledger. Raises OSError, after that, if its rejections cannot be kept."""
        rows, record, ledger = self._open.pop(part), part.record, self._context.ledger
        rejected = sorted(rejection.row for rejection in rejections if rejection.row is not None)
        ledger.post_accepted(record.accepted, record.superseded)
        if record.accepted:
            ledger.note_accepted(without(rows.ranges, rejected), without(rows.superseded, rejected), part.job)
        if record.cause or record.unknown:
            ranges = without(rows.ranges, rejected) if record.unknown else ()
            why = Unsettled(rows=ranges, cause=record.cause, job=part.job)
            ledger.note_cause(why, unknown=record.unknown)
        ledger.post_rejections(rejections, part.job)
        ledger.rejected += record.rejected - len(rejected)  # of an ingester that has ended

    def _given(self) -> RowsAtHand:
        if self._rows is None:
            raise RuntimeError("the rows of this chunk are not given")
        return self._rows.read()


def _figures(part: Part, outcome: JobOutcome, *, rejected: int, entries: int) -> dict[str, Any]:
    """Give the figures of a part of which ``rejected`` rows were refused, and ``entries`` entries were not."""
    left = part.record.rows - rejected
    known = outcome.cause is None or not left
    return {
        "accepted": entries if known else 0,
        "rejected": rejected,
        "superseded": left - entries if known else 0,
        "unknown": 0 if known else left,
        "cause": mask((outcome.mismatch if known else outcome.cause) or ""),
    }
