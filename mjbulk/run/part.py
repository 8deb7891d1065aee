"""The parts of a chunk, and its rows where they are put aside until they are settled.

A chunk is one part, unless Mailjet refuses the whole for a row in it, or for its size: then it is several, each of them
with a job of its own.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from attrs import astuple, define, evolve, field, frozen

from mjbulk.chunks.chunker import Chunk, ChunkRows
from mjbulk.jobs.scheduler import WatchedJob
from mjbulk.journal.records import PartRecord, RejectionRecord, rejection_of
from mjbulk.mailjet.transport import Doubt
from mjbulk.models import JobRef, Match, Rejection
from mjbulk.outcomes.settle import MatchedError
from mjbulk.rows.block import Given
from mjbulk.run.senders import Passage
from mjbulk.spill import Spill, SpillRef

Refused = Mapping[int, tuple[str, str | None, Match]]
"""Entries that are refused: their message, the field that is to blame, and how sure it is that they are meant."""


@define(eq=False)
class Part:
    """Entries of a chunk that go into one job. Mutable: what becomes known of them."""

    record: PartRecord
    """What the journal knows."""
    passage: Passage = field(factory=Passage)
    job: JobRef | None = None
    watched: WatchedJob | None = None
    resumed: bool = False
    """Whether its job was created by another process, nobody knows when."""
    inherited: bool = False
    """Whether it is in doubt for a body that it was a part of, and not for one of its own."""
    half_of: int = 0
    """Bytes of the body that was too large before it was halved; 0 where none was."""
    refused: str | None = None
    """Why the one entry in it will never be taken."""
    lost: str | None = None
    """Why nobody can say whether it was taken, and it is not sent again."""

    @classmethod
    def of(cls, record: PartRecord, via: Literal["json", "csv"]) -> "Part":
        """Go on with what the journal knows. On the CSV way nothing can have been applied before it was uploaded."""
        in_doubt = record.state == "sending" and (via == "json" or record.data_id is not None)
        own = in_doubt and record.attempts > 0
        passage = Passage(doubt=Doubt(own), data_id=record.data_id)
        job = JobRef.parse(record.job) if record.job else None
        return cls(record, passage, job, resumed=job is not None, inherited=in_doubt and not own)

    @property
    def in_doubt(self) -> bool:
        """Whether it may have been applied."""
        return self.inherited or self.passage.doubt.sent

    @property
    def indexes(self) -> slice:
        """Its entries."""
        return self.record.indexes

    @property
    def size(self) -> int:
        """How many entries."""
        return self.record.end - self.record.first


@frozen
class Rows:
    """The rows of a chunk, read back."""

    kept: ChunkRows
    entry_of: Sequence[int]
    addresses: Sequence[str]

    @staticmethod
    def put(chunk: Chunk, spill: Spill) -> SpillRef:
        """Put the rows of a chunk aside."""
        return spill.put(astuple(chunk.kept, recurse=False))

    @classmethod
    def get(cls, spill: Spill, ref: SpillRef | None) -> "Rows":
        """Read them back; there are none where they are not at hand."""
        kept = ChunkRows(*spill.get(ref)) if ref is not None else ChunkRows(array("Q"), {}, (), "")
        return cls(kept, kept.entry_of, kept.addresses)

    def of(self, places: slice) -> Iterator[tuple[int, int, Given]]:
        """Give number, entry and values of each row that some of the entries stand for."""
        for row, place, given in zip(self.kept.rows, self.entry_of, self.kept.given(), strict=True):
            if places.start <= place < places.stop:
                yield row, place, given

    def count(self, places: slice) -> int:
        """How many rows some of the entries stand for."""
        return sum(places.start <= place < places.stop for place in self.entry_of)

    def span(self, places: slice) -> range:
        """The range of rows that some of the entries stand for."""
        of_rows = zip(self.kept.rows, self.entry_of, strict=True)
        mine = [row for row, place in of_rows if places.start <= place < places.stop]
        return range(mine[0], mine[-1] + 1)

    def rejections(self, places: slice, refused: Refused) -> list[Rejection]:
        """Reject entries: with each row the earlier rows of the same person that were merged into it."""
        return [
            Rejection(
                row=row,
                email=self.addresses[place],
                field=refused[place][1],
                message=refused[place][0],
                match=refused[place][2],
                data=given.as_dict(),
            )
            for row, place, given in self.of(places)
            if place in refused
        ]

    def note(self, places: slice, matched: MatchedError) -> Rejection:
        """Keep an error that means no row for certain."""
        wanted = {places.start + place for place in matched.indexes}
        candidates = tuple(row for row, place, _ in self.of(places) if place in wanted)
        error = matched.error
        return Rejection(
            row=None,
            candidates=candidates,
            email=error.email,
            field=error.field,
            message=error.message,
            match=matched.match,
        )

    def recall(self, places: slice, records: Sequence[RejectionRecord]) -> Iterator[Rejection]:
        """Give rejections as they were written down, with the address and the data of their rows."""
        known = {row: (self.addresses[place], given) for row, place, given in self.of(places)}
        for record in records:
            rejection = rejection_of(record)
            if record.row is None:
                yield rejection
            else:
                email, given = known[record.row]
                yield evolve(rejection, email=email, data=given.as_dict())
