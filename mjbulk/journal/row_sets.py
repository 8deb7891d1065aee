"""Which rows the chunks of a run have, from its records alone.

The rows of a chunk are those of its window (`mjbulk.journal.shape`) and its extras, without its holes, without rows
that mjbulk refused and without extras of other chunks. Rows that were read and are in no chunk are *pending*: holes
that no chunk has as an extra, and rows after the last window.

Memory holds a number for each row that is missing from the window of a chunk that is wanted, and for each hole that may
be pending. Other chunks take no memory.
"""

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from heapq import merge
from itertools import chain, count

from mjbulk.journal.records import ChunkRecord, PartRecord, damaged
from mjbulk.journal.shape import PLAIN, Shape, decode_shape


def shape_of(chunk: ChunkRecord) -> Shape:
    """Read how the rows of a chunk differ from its window. Raises JournalRefused if that cannot be read."""
    try:
        return decode_shape(chunk.shape) if chunk.shape else PLAIN
    except ValueError:
        raise damaged(f"the rows of chunk {chunk.number} cannot be read") from None


def hull(chunk: ChunkRecord) -> range:
    """Give the smallest range that has all rows of a chunk."""
    ends = [chunk.first, chunk.last] if chunk.last >= chunk.first else []
    if extras := shape_of(chunk).extras:
        ends += [extras[0], extras[-1]]
    return range(min(ends, default=chunk.first), max(ends, default=chunk.last) + 1)


def ranges_of(rows: Iterable[int]) -> tuple[range, ...]:
    """Give the ranges that some numbers make. The numbers are ascending."""
    return _joined(range(row, row + 1) for row in rows)


def without(ranges: Iterable[range], rows: Iterable[int]) -> tuple[range, ...]:
    """Remove numbers from ranges. Both are ascending."""
    left: list[range] = []
    out = iter(rows)
    row = next(out, None)
    for one in ranges:
        start = one.start
        while row is not None and row < one.stop:
            if row > start:
                left.append(range(start, row))
            start = max(start, row + 1)
            row = next(out, None)
        if start < one.stop:
            left.append(range(start, one.stop))
    return tuple(left)


def _joined(ranges: Iterable[range]) -> tuple[range, ...]:
    """Join ranges that touch or overlap. They are in the order of their starts."""
    joined: list[range] = []
    for one in ranges:
        if joined and one.start <= joined[-1].stop:
            joined[-1] = range(joined[-1].start, max(joined[-1].stop, one.stop))
        else:
            joined.append(one)
    return tuple(joined)


class RowSets:
    """The rows of some chunks of a run. Mutable state: the rows that mjbulk refused.

    `refuse` is called with each of those rows, in ascending order, before any other method is called.
    """

    def __init__(
        self, chunks: Mapping[int, ChunkRecord], wanted: Collection[int] | None = None, *, pending: bool = False
    ) -> None:
        """Read which rows differ. ``chunks`` are all chunks of the run by their numbers, ``wanted`` the numbers of
        those whose rows are wanted (None for all); ``pending`` says whether `pending` is going to be called.
        """
        self._chunks = chunks
        self._last = max((chunk.last for chunk in chunks.values()), default=0)
        self._ends = array("Q", (chunk.last for chunk in chunks.values()))
        self._missing = {number: array("Q") for number in (chunks if wanted is None else wanted)}
        """For each chunk that is wanted: rows of its window that were refused, or are extras of other chunks."""
        self._held: set[int] | None = set() if pending else None
        self._after = array("Q")
        """Rows after the last window that are not pending."""
        if self._missing or pending:
            for chunk in chunks.values():
                self._add(chunk)

    def _add(self, chunk: ChunkRecord) -> None:
        shape = shape_of(chunk)
        for row in shape.extras:
            self._take(row, chunk.number)
        if self._held is not None:
            self._held.difference_update(shape.extras)
            self._held.update(shape.holes)

    def refuse(self, row: int) -> None:
        """Note that mjbulk refused a row."""
        self._take(row, 0)
        if self._held:
            self._held.discard(row)

    def _take(self, row: int, number: int) -> None:
        """Remove a row from the window that it is in, unless that is the window of its own chunk."""
        if row > self._last:
            self._after.append(row)
            return
        window = bisect_left(self._ends, row) + 1
        if window != number and window in self._missing:
            self._missing[window].append(row)

    def of(self, number: int) -> tuple[range, ...]:
        """Give the rows of a chunk that is wanted."""
        chunk = self._chunks[number]
        shape = shape_of(chunk)
        begin = self._ends[number - 2] + 1 if number > 1 else 1
        missing = sorted(chain(shape.holes, self._missing[number]))
        fresh = without([range(begin, chunk.last + 1)], missing)
        extras = (range(row, row + 1) for row in shape.extras)
        return _joined(merge(fresh, extras, key=lambda one: one.start))

    def of_part(self, part: PartRecord) -> tuple[range, ...]:
        """Give the rows of the entries of a part. If the records do not say which, give all rows of its chunk."""
        rows = self.of(part.chunk)
        if (part.first, part.end) == (0, self._chunks[part.chunk].entries):
            return rows
        return (
            ranges_of(row for row, entry in self._numbered(part.chunk, rows) if part.first <= entry < part.end) or rows
        )

    def superseded(self, part: PartRecord) -> tuple[range, ...]:
        """Give the rows of a part that were merged with a later row, which superseded them."""
        numbered = list(self._numbered(part.chunk, self.of(part.chunk)))
        last = {entry: row for row, entry in numbered}
        return ranges_of(row for row, entry in numbered if part.first <= entry < part.end and last[entry] != row)

    def _numbered(self, number: int, rows: Iterable[range]) -> Iterator[tuple[int, int]]:
        """Give each row of a chunk with its entry. Give nothing if the records do not say it: the numbers of rows
        have gaps, or an earlier version did not write down which rows were merged.
        """
        chunk = self._chunks[number]
        shape = shape_of(chunk)
        if sum(map(len, rows)) != chunk.rows or chunk.rows - chunk.entries != len(shape.merged):
            return iter(())
        return zip(chain.from_iterable(rows), _entries(shape, chunk.rows), strict=True)

    def read(self, known: int) -> int:
        """Give how many rows were read at least: a process that was killed has not written it down. ``known`` are in
        chunks or were refused. Where numbers have gaps, rows are counted; else the last number tells it.
        """
        known += len(self._held or ())
        return max([self._last, *self._after]) if known - len(self._after) == self._last else known

    def pending(self, read: int) -> tuple[range, ...]:
        """Give the rows that are in no chunk. ``read`` is how many rows were read."""
        after = without([range(self._last + 1, read + 1)], sorted(self._after))
        return _joined(chain(ranges_of(sorted(self._held or ())), after))


def _entries(shape: Shape, rows: int) -> Iterator[int]:
    """Give the entry of each row of a chunk. Rows that were not merged begin entries, in their order."""
    merged = iter(zip(shape.merged, shape.into, strict=True))
    position, into = next(merged, (-1, -1))
    entries = count()
    for at in range(rows):
        if at == position:
            yield into
            position, into = next(merged, (-1, -1))
        else:
            yield next(entries)
