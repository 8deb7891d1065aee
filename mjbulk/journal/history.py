"""What a journal knows about a run: its chunks, their parts, and the counts of their rows."""

from collections.abc import Iterator, Mapping, Sequence

from attrs import field, frozen

from mjbulk.journal.info import SUMS, ChunkInfo, PartState, sum_counts
from mjbulk.journal.records import ChunkRecord, PartRecord, RunRecord, damaged
from mjbulk.models import Counts, JobRef, Unsettled


@frozen(kw_only=True)
class History:
    """What a journal knows about a run when the run is opened."""

    run: RunRecord
    chunks: Mapping[int, ChunkRecord] = field(factory=dict, repr=False)
    parts: Mapping[int, Sequence[PartRecord]] = field(factory=dict, repr=False)
    """The parts of each chunk in the order of its entries. Parts that were halved are left out."""
    refused: int = 0
    """How many rows mjbulk refused."""

    @classmethod
    def of(cls, run: RunRecord, chunks: Sequence[ChunkRecord], parts: Sequence[PartRecord], refused: int) -> "History":
        """Combine the records of a run. Raises JournalRefused if a record is missing."""
        numbers = [chunk.number for chunk in chunks]
        by_chunk: dict[int, list[PartRecord]] = {number: [] for number in numbers}
        for part in parts:
            if part.state != "halved":
                by_chunk.setdefault(part.chunk, []).append(part)
        if numbers != list(range(1, len(numbers) + 1)) or len(by_chunk) != len(numbers):
            raise damaged("chunks are missing")
        for chunk in chunks:
            ends = [0, *(part.end for part in by_chunk[chunk.number])]
            starts = [*(part.first for part in by_chunk[chunk.number]), chunk.entries]
            rows = sum(part.rows for part in by_chunk[chunk.number])
            if ends != starts or rows != chunk.rows:
                raise damaged(f"parts of chunk {chunk.number} are missing")
        return cls(run=run, chunks={chunk.number: chunk for chunk in chunks}, parts=by_chunk, refused=refused)

    @property
    def last(self) -> int:
        """The number of the last chunk."""
        return len(self.chunks)

    def counts(self) -> Counts:
        """Count the rows of the run by their outcomes. Rows of parts in flight count as unknown."""
        rows = sum(chunk.rows for chunk in self.chunks.values())
        parts = [part for parts in self.parts.values() for part in parts]
        return sum_counts(rows, self.refused, [(part.state, *(getattr(part, name) for name in SUMS)) for part in parts])

    def jobs(self) -> Iterator[JobRef]:
        """Give the jobs that took its parts."""
        for parts in self.parts.values():
            yield from (JobRef.parse(part.job) for part in parts if part.job)

    def chunk_infos(self) -> Iterator[ChunkInfo]:
        """Give the state of each chunk, or of each part of a chunk that was halved."""
        for number, chunk in self.chunks.items():
            for part in self.parts[number]:
                figures = (part.state, *(getattr(part, name) for name in SUMS))
                yield ChunkInfo(
                    **sum_counts(part.rows, 0, [figures]).as_dict(),
                    partition=self.run.partition or None,
                    number=number,
                    span=range(chunk.first, chunk.last + 1),
                    state=part.state,
                    job=JobRef.parse(part.job) if part.job else None,
                    cause=part.cause,
                )

    def unsettled(self) -> Iterator[Unsettled]:
        """Give the rows that are unknown or were not sent, with the cause."""
        for info in self.chunk_infos():
            cause = info.cause or _UNSETTLED.get(info.state)
            if cause:
                yield Unsettled(rows=info.span, cause=cause, job=info.job)


_UNSETTLED: Mapping[PartState, str] = {
    "unsent": "it was not sent",
    "sending": "it was under way when the run ended",
    "watched": "it was under way when the run ended",
}
