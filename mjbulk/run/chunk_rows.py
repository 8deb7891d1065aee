"""The rows of a chunk while it is under way: in a file without a name, and read back when they are needed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from attrs import astuple, define, evolve, field, frozen

from mjbulk.chunks.chunk import Chunk, ChunkRows
from mjbulk.journal.records import RejectionRecord, rejection_of
from mjbulk.journal.row_sets import ranges_of
from mjbulk.models import Match, Rejection
from mjbulk.outcomes.codes import code_of
from mjbulk.outcomes.settle import MatchedError
from mjbulk.rows.block import Given
from mjbulk.run.part import Part
from mjbulk.spill import SmallValues, Spill, SpillRef

_ROW = 64
"""About how many bytes of memory a row takes there beside its values: its number, its address and their objects."""


@frozen
class RefusedEntry:
    """Why an entry is refused."""

    message: str = field(repr=False)
    at_fault: str | None
    """The field that is at fault."""
    match: Match
    """How sure it is that this entry is meant."""


@frozen
class PartRows:
    """The rows that the entries of a part stand for."""

    ranges: tuple[range, ...]
    """Their numbers, ascending."""
    superseded: tuple[range, ...] = ()
    """Those of them that a later row of their entry has joined."""


def rows_of_parts(chunk: Chunk, parts: Iterable[Part]) -> dict[Part, PartRows]:
    """Give the rows of each part of a chunk."""
    whole = slice(0, chunk.entries)
    return {
        part: PartRows(chunk.ranges, ranges_of(chunk.superseded))
        if part.entries == whole
        else _part_of(chunk.kept, part.entries)
        for part in parts
    }


def _part_of(rows: ChunkRows, entries: slice) -> PartRows:
    entry_of = rows.entry_of
    last = dict(zip(entry_of, rows.rows, strict=True))
    mine = [
        (row, last[entry])
        for row, entry in zip(rows.rows, entry_of, strict=True)
        if entries.start <= entry < entries.stop
    ]
    return PartRows(ranges_of(row for row, _ in mine), ranges_of(row for row, newest in mine if row != newest))


@define(slots=False)
class RowsAtHand:
    """The rows of one chunk, read back once."""

    _rows: ChunkRows
    _held: SmallValues

    @cached_property
    def addresses(self) -> Sequence[str]:
        """For each entry, who it is."""
        return self._rows.addresses

    def rows(self, entries: slice) -> PartRows:
        """Give the rows that some of the entries stand for."""
        return _part_of(self._rows, entries)

    def rejections(self, entries: slice, refused: Mapping[int, RefusedEntry]) -> list[Rejection]:
        """Reject entries: with each row the earlier rows of the same person that were merged into it."""
        given_of: dict[int, list[Any]] = {entry: [] for entry in refused}
        for _, entry, given in self._of(entries):
            if entry in refused:
                given_of[entry].extend(given.values)
        codes = {entry: code_of(refused[entry].message, (self.addresses[entry], *given_of[entry])) for entry in refused}
        return [
            Rejection(
                row=row,
                email=self.addresses[entry],
                field=refused[entry].at_fault,
                code=codes[entry],
                message=refused[entry].message,
                match=refused[entry].match,
                data=given.as_dict(),
                merged=self._merged.get(entry),
            )
            for row, entry, given in self._of(entries)
            if entry in refused
        ]

    def unassigned(self, entries: slice, matched: MatchedError) -> Rejection:
        """Keep an error that may mean any of several entries, or none."""
        wanted = {entries.start + index for index in matched.indexes}
        candidates = tuple(row for row, entry, _ in self._of(entries) if entry in wanted)
        error = matched.error
        return Rejection(
            row=None,
            candidates=candidates,
            email=error.email,
            field=error.field,
            code=code_of(error.message, error.cells),
            message=error.message,
            match=matched.match,
        )

    def recall(self, entries: slice, records: Sequence[RejectionRecord]) -> Iterator[Rejection]:
        """Give rejections as they were written down, with the address and the data of their rows."""
        known = {row: (entry, given) for row, entry, given in self._of(entries)}
        for record in records:
            rejection = rejection_of(record)
            if record.row is None:
                yield rejection
            else:
                entry, given = known[record.row]
                email, merged = self.addresses[entry], self._merged.get(entry)
                yield evolve(rejection, email=email, data=given.as_dict(), merged=merged)

    @cached_property
    def _merged(self) -> Mapping[int, tuple[int, int]]:
        """The first and the last row of each entry that has several."""
        pairs = list(zip(self._rows.entry_of, self._rows.rows, strict=True))
        first, last = dict(reversed(pairs)), dict(pairs)
        return {entry: (row, last[entry]) for entry, row in first.items() if row != last[entry]}

    def _of(self, entries: slice) -> Iterator[tuple[int, int, Given]]:
        """Give number, entry and values of each row that some of the entries stand for."""
        for row, entry, given in zip(
            self._rows.rows, self._rows.entry_of, self._rows.given(self._held.get), strict=True
        ):
            if entries.start <= entry < entries.stop:
                yield row, entry, given


class StoredRows:
    """The rows of one chunk in a spill. Mutable state: whether they were let go."""

    def __init__(self, chunk: Chunk, spill: Spill, held: SmallValues) -> None:
        """Write them down. Raises OSError if they cannot be."""
        self._spill = spill
        self._held = held
        self._held_rows = list(chunk.kept.held.values())
        self._ref: SpillRef | None = spill.put(astuple(chunk.kept, recurse=False), chunk.weight + _ROW * chunk.rows)

    def read(self) -> RowsAtHand:
        """Read them back."""
        if self._ref is None:
            raise RuntimeError("the rows of this chunk were let go")
        return RowsAtHand(ChunkRows(*self._spill.get(self._ref)), self._held)

    def close(self) -> None:
        """Let them go."""
        if self._ref is not None:
            self._spill.drop(self._ref)
            self._held.drop(self._held_rows)
            self._ref = None
