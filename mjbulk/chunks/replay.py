"""The chunks of an earlier process, found again in the rows of their source.

The source is read once from its beginning. Each row goes, by its number, to the recorded chunk that had it; a row that
no recorded chunk had is *new*: it was held, or in the open chunk, when the earlier process ended. A new row is held
until every recorded chunk was found unchanged, for until then nothing may be sent.

Where a row belongs is asked in this order: it is an extra of some chunk; it is in the window of a chunk, and no hole of
it; it is new (see `mjbulk.journal.shape`).
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from mjbulk.chunks.builder import Batch, Builder, Rules
from mjbulk.chunks.chunk import Chunk
from mjbulk.journal.shape import PLAIN, Shape

_NEW = 0


@frozen(kw_only=True)
class Recorded:
    """A chunk as an earlier process has cut it."""

    number: int
    first: int
    last: int
    """Its last fresh row: the end of its window."""
    rows: int
    entries: int
    digest: str
    shape: Shape = PLAIN

    @property
    def end(self) -> int:
        """The last of its rows in the order of the source."""
        return max(self.last if self.last >= self.first else 0, self.shape.extras[-1] if self.shape.extras else 0)


class SourceChanged(Exception):  # a signal to the caller, which knows the run
    """The rows of a recorded chunk are not what they were."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__()
        self.first = first
        self.last = last


class Routes:
    """Which recorded chunk each row belongs to. Mutable state: how far it has come, row by row."""

    def __init__(self, recorded: Sequence[Recorded]) -> None:
        """Begin at the first row. ``recorded`` are in the order of their numbers."""
        self.window_end = max((chunk.last for chunk in recorded), default=0)
        self._windows = [chunk for chunk in recorded if chunk.last >= chunk.first]
        self._window = 0
        self._holes = self._holes_of_window()
        extras = (_numbered(chunk.shape.extras, chunk.number) for chunk in recorded if chunk.shape.extras)
        self._extras = heapq.merge(*extras)
        self._extra = next(self._extras, None)
        self._hole = next(self._holes, None)

    def segments(self, first: int, last: int) -> list[tuple[int, int, int]]:
        """Part rows ``first`` to ``last`` by where they belong: the first and the last of some that follow each other,
        and the chunk that has them, or 0 for new ones. A chunk's number is negative where they are extras of it.
        """
        parts: list[tuple[int, int, int]] = []
        at = first
        while at <= last:
            until, chunk = self._next(at, last)
            if parts and parts[-1][2] == chunk:
                parts[-1] = (parts[-1][0], until, chunk)
            else:
                parts.append((at, until, chunk))
            at = until + 1
        return parts

    def _next(self, at: int, last: int) -> tuple[int, int]:
        """Say up to which row they belong where row ``at`` does, and where that is."""
        while self._extra is not None and self._extra[0] < at:
            self._extra = next(self._extras, None)
        if self._extra is not None:
            if self._extra[0] == at:
                return at, -self._extra[1]
            last = min(last, self._extra[0] - 1)
        while self._window < len(self._windows) and self._windows[self._window].last < at:
            self._window += 1
            self._holes = self._holes_of_window()
            self._hole = next(self._holes, None)
        if self._window == len(self._windows):
            return last, _NEW
        window = self._windows[self._window]
        while self._hole is not None and self._hole < at:
            self._hole = next(self._holes, None)
        if self._hole == at:
            return at, _NEW
        last = min(last, window.last)
        return (last if self._hole is None else min(last, self._hole - 1)), window.number

    def _holes_of_window(self) -> Iterator[int]:
        if self._window == len(self._windows):
            return iter(())
        return iter(self._windows[self._window].shape.holes)


class Replay:
    """Collects the rows of recorded chunks. Mutable state: the chunks that are not whole yet."""

    def __init__(self, recorded: Sequence[Recorded], rules: Rules) -> None:
        """Begin before the first row."""
        self.routes = Routes(recorded)
        self._rules = rules
        self._recorded = {chunk.number: chunk for chunk in recorded}
        self._builders: dict[int, Builder] = {}
        self._ends = [(chunk.end, chunk.number) for chunk in recorded]
        heapq.heapify(self._ends)

    @property
    def over(self) -> bool:
        """Whether every recorded chunk was found again."""
        return not self._ends

    def take(self, number: int, batch: Batch, start: int, stop: int, *, extra: bool) -> None:
        """Take rows of a recorded chunk. Raises SourceChanged if they cannot have been in one chunk."""
        builder = self._builders.get(number)
        if builder is None:
            builder = self._builders[number] = Builder(number, self._rules)
        keys = batch.keys[start:stop]
        if len(set(keys)) == len(keys) and not builder.has_any(keys):
            builder.take(batch, start, stop)
        elif not _take_recurring(builder, batch, start, stop):
            raise self._changed(number)
        builder.note(batch, start, stop, extra=extra)

    def whole(self, row: int) -> Iterator[Chunk]:
        """Give the chunks of which no row comes after this one. Raises SourceChanged if one is not what it was."""
        while self._ends and self._ends[0][0] <= row:
            _, number = heapq.heappop(self._ends)
            known, builder = self._recorded[number], self._builders.pop(number, None)
            if builder is None:
                raise self._changed(number)
            chunk = builder.cut_again(known.first, known.last, known.shape)
            if (chunk.rows, chunk.entries, chunk.digest) != (known.rows, known.entries, known.digest):
                raise self._changed(number)
            yield chunk

    def missing(self) -> SourceChanged:
        """Give the error for a source that has ended before every recorded chunk was found again."""
        numbers = [number for _, number in self._ends]
        spans = [self.span(number) for number in numbers]
        return SourceChanged(min(first for first, _ in spans), max(last for _, last in spans))

    def span(self, number: int) -> tuple[int, int]:
        """Give the first and the last row of a recorded chunk."""
        known = self._recorded[number]
        extras = known.shape.extras
        firsts = [*([known.first] if known.last >= known.first else []), *extras[:1]]
        return min(firsts, default=known.first), known.end

    def _changed(self, number: int) -> SourceChanged:
        return SourceChanged(*self.span(number))


def _take_recurring(builder: Builder, batch: Batch, start: int, stop: int) -> bool:
    """Take rows whose people recur. Gives False where two of them cannot be one entry."""
    begun, fresh = start, set[str]()
    for at in range(start, stop):
        key = batch.keys[at]
        if key in fresh or builder.has(key):
            builder.take(batch, begun, at)
            if not (builder.merge(builder.entry(key), batch, at, bounded=False) or builder.take_spelled(batch, at)):
                return False
            begun = at + 1
        else:
            fresh.add(key)
    builder.take(batch, begun, stop)
    return True


def _numbered(rows: Iterable[int], number: int) -> Iterator[tuple[int, int]]:
    return ((row, number) for row in rows)
