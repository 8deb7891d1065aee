"""One run in its journal: what is known of it, and what becomes known.

A run that goes on reads its source again. Its chunks of before are found again by their row numbers, and each is
compared with the digest that was written down: so what was settled is skipped, what was under way is found again, and a
source that has changed is refused.
"""

from array import array
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from attrs import evolve

from mjbulk.chunks.chunk import Chunk
from mjbulk.chunks.replay import Recorded, Routes, SourceChanged
from mjbulk.errors import JournalRefused
from mjbulk.journal.history import History
from mjbulk.journal.info import SUMS
from mjbulk.journal.protocol import Journal, NoJournal
from mjbulk.journal.records import ChunkRecord, EndedChunk, PartRecord, Record, RejectionRecord, damaged, record_of
from mjbulk.journal.row_sets import RowSets, shape_of
from mjbulk.journal.shape import encode_shape
from mjbulk.models import Counts, Rejection
from mjbulk.run.chunk_rows import PartRows
from mjbulk.terms import Action, RunSpec, harmless_to_retry

_BEHIND = 1000
"""Rejected rows that may wait to be written until something else is."""


class RunLog:
    """A run that is open in a journal. Mutable state: the record of the run, and what waits to be written.

    Nothing is written before `begin`: a run that is refused before leaves nothing.
    """

    def __init__(self, journal: Journal, history: History) -> None:
        """Write nothing yet. ``history`` is what was found when it was opened."""
        self._journal = journal
        self.history = history
        self.keeps = not isinstance(journal, NoJournal)
        self._run = history.run
        self.gathers = history.run.kind == "ingester"
        """Whether it is the run of an ingester, which keeps only counts of chunks that have ended."""
        self.remembers = self.keeps and not self.gathers
        """Whether it has the records of chunks that have ended."""
        self.only_reads = False
        """Whether the source of a run that has ended is read once more, and nothing is sent or written."""
        self._begun = history.begun
        self._waiting: list[Record] = []
        self._behind = 0
        self.row_sets = RowSets({}, ())
        """The rows of the chunks of before, where they are not read again from the source."""

    async def begin(self) -> None:
        """Write down that the run exists: its source was found good so far."""
        if not self._begun:
            self._begun = True
            waiting, self._waiting = self._waiting, []
            await self._journal.put(self._run, *waiting, run=self._run.run)

    # What is known

    def recorded(self) -> list[Recorded]:
        """Give the chunks of before, by their numbers."""
        return [
            Recorded(
                number=chunk.number,
                first=chunk.first,
                last=chunk.last,
                rows=chunk.rows,
                entries=chunk.entries,
                digest=chunk.digest,
                shape=shape_of(chunk),
            )
            for chunk in self.history.chunks.values()
        ]

    async def recall_rows(self) -> AsyncIterator[RejectionRecord]:
        """Find out from the records alone which rows the chunks of before have, and give the rows that were refused
        here.
        """
        self.row_sets = RowSets(self.history.chunks, pending=True)
        async for record in self.rejections(0):
            self.row_sets.refuse(record.row or 0)
            yield record

    def parts_of(self, number: int) -> Sequence[PartRecord]:
        """Give the parts of a chunk of before: one, before it was sent."""
        return self.history.parts.get(number) or (self.history.chunks[number].whole(),)

    def rows_of(self, part: PartRecord) -> PartRows:
        """Give the rows of a part, which the source does not tell. Those of an ingester are not known."""
        if self.gathers:
            return PartRows(())
        merged = part.rows > part.end - part.first
        return PartRows(self.row_sets.of_part(part), self.row_sets.superseded(part) if merged else ())

    def sent_before(self, last: int) -> Iterator[range]:
        """Give the rows up to ``last`` that an earlier process may have sent."""
        parts = self.history.parts
        sent = {number for number, some in parts.items() if any(part.state != "unsent" for part in some)}
        for first, until, number in Routes(self.recorded()).segments(1, last):
            if abs(number) in sent:
                yield range(first, until + 1)

    def finished(self, spec: RunSpec) -> bool:
        """Say whether nothing is left to do for a run on these terms: its source was read to the end, and each of its
        rows has an outcome, or can never have one.
        """
        run, parts = self._run, [part for parts in self.history.parts.values() for part in parts]
        if self.gathers or not run.closed or not run.whole or self.history.counts().not_sent:
            return False
        actions = [action for _, action in spec.lists or ()]
        again = harmless_to_retry(actions, excludes=spec.excluded is not None, resend=spec.resend)
        may_go = [again and (spec.resend == "always" or not part.overtaken) for part in parts]
        return not any(
            part.state == "watched" or (part.state == "sending" and (go or _may_be_found(part)))
            for part, go in zip(parts, may_go, strict=True)
        )

    def rejections(self, chunk: int | None = None) -> AsyncIterator[RejectionRecord]:
        """Give the rejections of a chunk, or of the whole run, as they were written: without addresses and data."""
        return self._journal.rejections(self._run.run, chunk)

    def check_rejections(self, part: PartRecord, found: Sequence[RejectionRecord]) -> None:
        """Raise JournalRefused if rejections of a part are missing."""
        if self.remembers and sum(record.row is not None for record in found) != part.rejected:
            raise damaged(f"rejections of chunk {part.chunk} are missing")

    # What has to be as it was

    def check_targets(self, lists: Sequence[tuple[int, Action]] | None) -> None:
        """Note which lists the run's names mean. Raises JournalRefused if they meant others before."""
        targets = orjson.dumps(sorted(lists or ())).decode()
        if self._run.targets not in ("", targets):
            raise JournalRefused(f"run {self._run.run_id!r} was begun for other lists: their names mean others now")
        self._run = evolve(self._run, targets=targets, closed=False, cause="")
        if self._begun:
            self.later(self._run)

    @contextmanager
    def refusing_changes(self) -> Iterator[None]:
        """Raise JournalRefused if the source is found to be another one."""
        try:
            yield
        except SourceChanged as changed:
            raise self._changed(changed.first, changed.last) from None

    def check_end(self, rows: int) -> None:
        """Raise JournalRefused if a source that was read to its end has another number of rows now."""
        if self._run.whole and rows != self._run.rows:
            raise self._changed(min(rows, self._run.rows) + 1, max(rows, self._run.rows))

    def _changed(self, first: int, last: int) -> JournalRefused:
        return JournalRefused(
            f"the source has changed since run {self._run.run_id!r} was begun: rows {first}-{last} are not what they "
            "were, or the account's properties, chunk_bytes or the version of mjbulk are not; give it as it was, or "
            "take a new run_id"
        )

    # What becomes known

    def write_chunk(self, chunk: Chunk) -> Sequence[PartRecord]:
        """Have a new chunk written, and give its one part.

        Raises JournalRefused if the source had ended before it.
        """
        if self._run.whole:
            raise self._changed(chunk.span.start, chunk.span.stop - 1)
        record = ChunkRecord(
            run=self._run.run,
            number=chunk.number,
            first=chunk.first,
            last=chunk.last,
            rows=chunk.rows,
            entries=chunk.entries,
            digest=chunk.digest,
            shape=encode_shape(chunk.shape) if self.remembers else "",
        )
        self.later(record, record.whole())
        return (record.whole(),)

    def count(self, **counts: int) -> None:
        """Add to the counts of the run of an ingester. They are written with what is written next."""
        self._run = evolve(self._run, **{name: getattr(self._run, name) + more for name, more in counts.items()})

    def fold(self, number: int, counts: Counts | None) -> None:
        """Hear how the rows of a chunk have ended, None if more can be found out. In the run of an ingester, add the
        counts to those of the run, and have the records of the chunk deleted.
        """
        if not self.gathers or counts is None:
            return
        self.count(**{name: getattr(counts, name) for name in SUMS})
        self.later(self._run, EndedChunk(run=self._run.run, number=number))

    async def read_again(self) -> None:
        """Forget rows that were refused here and belong to no chunk of before: what is read now counts."""
        if not self.history.refused or self._run.whole:
            return
        recorded = self.recorded()
        routes = Routes(recorded)
        pending = array("Q")
        if any(chunk.shape.holes for chunk in recorded):
            async for record in self.rejections(0):
                row = record.row or 0
                if row <= routes.window_end and not routes.segments(row, row)[0][2]:
                    pending.append(row)
        await self._journal.forget_refused(self._run.run, routes.window_end, pending)

    def refuse(self, rejection: Rejection) -> None:
        """Note a row that was refused here."""
        if self.keeps and rejection.row is not None:
            self.later(record_of(rejection, self._run.run, 0, 0, rejection.row))
            self._behind += 1

    def records_of(self, part: PartRecord, rejections: Sequence[Rejection]) -> list[RejectionRecord]:
        """Write down the rejections of a part. An ingester counts them: its callers have them."""
        if not self.remembers:
            return []
        pairs = enumerate(rejections)
        return [record_of(rejection, part.run, part.chunk, part.first, number) for number, rejection in pairs]

    def halve(self, part: PartRecord, halves: Sequence[PartRecord]) -> None:
        """Have it written that two parts have the entries of another."""
        self.later(evolve(part, state="halved"), *halves)

    def overtake(self, part: PartRecord) -> None:
        """Have it written that a later row of one of its people goes out."""
        self.later(evolve(part, overtaken=True))

    def later(self, *records: Record) -> None:
        """Have records written before whatever is put next."""
        if self._begun:
            self._journal.later(*records)
        elif self.keeps:
            self._waiting.extend(records)

    async def put(self, *records: Record) -> None:
        """Write records."""
        self._behind = 0
        await self.begin()
        await self._journal.put(*records, run=self._run.run)

    async def catch_up(self) -> None:
        """Write rejected rows where too many of them wait."""
        if self._behind >= _BEHIND:
            await self.put()

    async def mark_whole(self, rows: int) -> None:
        """Write down that the source was read to its end, and every row of it is in a chunk."""
        self._run = evolve(self._run, whole=True, rows=rows)
        await self.put(self._run)

    async def close(self, *, refused: bool, rows: int, **known: Any) -> None:
        """Write down how the run ended, with how many ``rows`` were read, and let others open it. A new run that was
        ``refused`` before anything was sent leaves nothing, nor does one that was not begun.
        """
        forget = refused and not self.history.begun
        try:
            if self._begun and not forget:
                run = self._run
                # An earlier process may have read more rows, which stay in the books. An ingester counts its own.
                whole = run.whole or self.gathers
                self._run = evolve(run, rows=run.rows if whole else max(run.rows, rows), whole=whole, **known)
                await self.put(self._run)
        finally:
            await self._journal.release(self._run, forget=self._begun and forget)


class ReadLog(RunLog):
    """A run that has ended, whose source is read for what the journal does not keep. Nothing is written."""

    def __init__(self, journal: Journal, history: History) -> None:
        """Take what was found when it was opened."""
        super().__init__(journal, history)
        self.only_reads = True

    async def begin(self) -> None:
        """Do nothing: it was begun."""

    def later(self, *records: Record) -> None:
        """Write nothing."""

    async def put(self, *records: Record) -> None:
        """Write nothing."""

    async def close(self, **_: Any) -> None:
        """Let others open it."""
        await self._journal.release(self._run)


def _may_be_found(part: PartRecord) -> bool:
    """Say whether the import of what was uploaded was not looked for yet."""
    return part.data_id is not None and not part.cause
