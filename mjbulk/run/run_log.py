"""One run in its journal: what is known of it, and what becomes known.

A run that goes on reads its source again. Its chunks are cut as they were before, and each is compared with the digest
that was written down: so what was settled is skipped, what was under way is found again, and a source that has changed
is refused.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import orjson
from attrs import evolve

from mjbulk.chunks.chunker import Chunk
from mjbulk.errors import JournalRefused
from mjbulk.journal.history import History
from mjbulk.journal.protocol import Journal, NoJournal
from mjbulk.journal.records import ChunkRecord, PartRecord, Record, RejectionRecord, damaged, record_of
from mjbulk.mailjet.verdict import harmless_to_retry
from mjbulk.models import Rejection
from mjbulk.terms import Action, RunSpec

_BEHIND = 1000
"""Rejected rows that may wait to be written until something else is."""


class RunLog:
    """A run that is open in a journal. Mutable state: the record of the run, and what waits to be written."""

    def __init__(self, journal: Journal, history: History) -> None:
        """``history`` is what was found when it was opened."""
        self._journal = journal
        self.history = history
        self.keeps = not isinstance(journal, NoJournal)
        self._run = history.run
        self._refused_before = max((chunk.last for chunk in history.chunks.values()), default=0)
        self._behind = 0
        self._blank = not history.chunks and not history.refused

    def rows_of(self, chunk: int) -> int | None:
        """Give how many rows a chunk held when it was cut before."""
        known = self.history.chunks.get(chunk)
        return known.rows if known else None

    def recognise(self, chunk: Chunk) -> Sequence[PartRecord]:
        """Give the parts of a chunk as they are known; it is written down where it is new.

        Raises JournalRefused where its rows are not those that it held before.
        """
        known = self.history.chunks.get(chunk.number)
        now = ChunkRecord(
            run=self._run.run,
            number=chunk.number,
            first=chunk.rows[0],
            last=chunk.rows[-1],
            rows=len(chunk.rows),
            entries=chunk.entries,
            digest=chunk.digest,
        )
        if known is not None and known != now:
            raise self._changed(known.first, known.last)
        if known is None and self._run.whole:
            raise self._changed(now.first, now.last)
        if known is None:
            self._blank = False
            self.later(now, now.whole())
        return self.parts_of(now)

    def parts_of(self, chunk: ChunkRecord) -> Sequence[PartRecord]:
        """Give the parts of a chunk: one, before it was sent."""
        return self.history.parts.get(chunk.number) or (chunk.whole(),)

    def check_end(self, chunks: int, rows: int) -> None:
        """Raise JournalRefused where a source ended before the last chunk that it had before, or has other rows."""
        if chunks < self.history.last:
            missing = self.history.chunks[chunks + 1]
            raise self._changed(missing.first, self.history.chunks[self.history.last].last)
        if self._run.whole and rows != self._run.rows:
            raise self._changed(min(rows, self._run.rows) + 1, max(rows, self._run.rows))

    def _changed(self, first: int, last: int) -> JournalRefused:
        return JournalRefused(
            f"the source has changed since run {self._run.run_id!r} was begun: rows {first}-{last} are not what they "
            "were, or the account's properties or chunk_bytes are not; give it as it was, or take a new run_id"
        )

    def check_targets(self, lists: Sequence[tuple[int, Action]] | None) -> None:
        """Write down which lists the run's names mean. Raises JournalRefused where they meant others before."""
        targets = orjson.dumps(sorted(lists or ())).decode()
        if self._run.targets not in ("", targets):
            raise JournalRefused(f"run {self._run.run_id!r} was begun for other lists: their names mean others now")
        self._run = evolve(self._run, targets=targets, settled=False)
        self.later(self._run)

    def finished(self, spec: RunSpec) -> bool:
        """Whether nothing is left to do for a run on these terms: its source was read to the end, and each of its rows
        has an outcome, if only that nobody can know.
        """
        run, parts = self._run, [part for parts in self.history.parts.values() for part in parts]
        if not run.settled or not run.whole or self.history.counts().not_sent:
            return False
        actions = [action for _, action in spec.lists or ()]
        again = harmless_to_retry(actions, excludes=spec.excluded is not None, resend=spec.resend)
        may_go = [again and (spec.resend == "always" or not part.overtaken) for part in parts]
        return not any(
            part.state == "watched" or (part.state == "sending" and go) for part, go in zip(parts, may_go, strict=True)
        )

    def rejections(self, chunk: int | None = None) -> AsyncIterator[RejectionRecord]:
        """Give the rejections of a chunk, or of the whole run, as they were written: without addresses and data."""
        return self._journal.rejections(self._run.run, chunk)

    def check_rejections(self, part: PartRecord, found: Sequence[RejectionRecord]) -> None:
        """Raise JournalRefused where rejections of a part are missing."""
        if sum(record.row is not None for record in found) != part.rejected:
            raise damaged(f"rejections of chunk {part.chunk} are missing")

    async def read_again(self) -> None:
        """Forget rows that were refused here after the last chunk that is known: what is read now counts."""
        if self.history.refused and not self._run.whole:
            await self._journal.forget_refused(self._run.run, self._refused_before)

    def refuse(self, rejection: Rejection) -> None:
        """Note a row that was refused here; those before the last chunk that is known were noted then."""
        if self.keeps and rejection.row is not None and rejection.row > self._refused_before:
            self._blank = False
            self.later(record_of(rejection, self._run.run, 0, 0, rejection.row))
            self._behind += 1

    def records_of(self, part: PartRecord, rejections: Sequence[Rejection]) -> list[RejectionRecord]:
        """Write down the rejections of a part."""
        if not self.keeps:
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
        self._journal.later(*records)

    async def put(self, *records: Record) -> None:
        """Write records."""
        self._behind = 0
        await self._journal.put(*records)

    async def catch_up(self) -> None:
        """Write rejected rows where too many of them wait."""
        if self._behind >= _BEHIND:
            await self.put()

    async def mark_whole(self, rows: int) -> None:
        """Write down that the source was read to its end."""
        self._run = evolve(self._run, whole=True, rows=rows)
        await self.put(self._run)

    async def close(self, *, refused: bool, **known: Any) -> None:
        """Write down how the run ended, and let others open it; forget it where it was ``refused`` as a whole."""
        if refused and self._blank:
            await self._journal.release(self._run)
            with suppress(JournalRefused):  # somebody else was faster, and has begun it
                await self._journal.purge(self._run)
            return
        try:
            self._run = evolve(self._run, **known)
            await self.put(self._run)
        finally:
            await self._journal.release(self._run)
