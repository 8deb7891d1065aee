"""What a chunk is: its rows, the body that sends them, and how large it may be."""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, count
from math import inf
from typing import Any, Self

from attrs import define, field, frozen

from mjbulk.chunks.frame import Frame
from mjbulk.discreet import Hidden
from mjbulk.journal.row_sets import ranges_of
from mjbulk.journal.shape import PLAIN, Shape
from mjbulk.mailjet.requests import Content
from mjbulk.rows.block import Given
from mjbulk.rows.csv_text import read_records


@frozen
class ChunkRows:
    """The rows of a chunk as they were given, in a form that takes little memory and can be written to a file."""

    rows: "array[int]" = field(repr=False)
    """Their numbers, ascending."""
    merged: Mapping[int, int] = field(repr=False)
    """Where rows were merged into an entry that was there: their positions among the rows, and that of the entry."""
    blocks: Sequence[tuple[tuple[str, ...], int, Any]] = field(repr=False)
    """For some rows after another: the names of their values, how many they are, and what `Block.kept` gave."""
    lines: str = field(repr=False)
    """For each entry, who it is."""
    entries: "array[int] | None" = field(default=None, repr=False)
    """For each row the position of its entry, where rows were held; else ``merged`` says all."""
    held: Mapping[int, int] = field(factory=dict, repr=False)
    """The rows that were held, and where each lies: they are in no block."""

    @property
    def addresses(self) -> list[str]:
        """For each entry, who it is."""
        return self.lines.split("\n") if self.rows else []

    @property
    def entry_of(self) -> "array[int]":
        """For each row, the position of its entry: those that were not merged stand in the order of the rows."""
        if self.entries is not None:
            return self.entries
        fresh = count()
        return array("I", (self.merged[at] if at in self.merged else next(fresh) for at in range(len(self.rows))))

    def given(self, read: Callable[[int], tuple[tuple[str, ...], Any]]) -> Iterator[Given]:
        """Give all rows back. ``read`` gives one that was held: its names, and what `Block.kept` gave."""
        fresh = chain.from_iterable(_given(*block) for block in self.blocks)
        for row in self.rows:
            where = self.held.get(row)
            yield next(fresh) if where is None else next(_given(*_one(read(where))))


def _one(row: tuple[tuple[str, ...], Any]) -> tuple[tuple[str, ...], int, Any]:
    names, kept = row
    return names, 1, kept


def _given(names: tuple[str, ...], size: int, kept: Any) -> Iterator[Given]:
    rows = read_records(kept) if isinstance(kept, str) else zip(*kept, strict=True) if kept else [()] * size
    return (Given(names, values) for values in rows)


@frozen
class Body:
    """The entries of a chunk put together, of which any range can be sent."""

    data: Content = field(repr=False)
    """The body that sends them all."""
    sizes: "array[int]" = field(repr=False)
    """Bytes of each entry."""
    frame: Frame = field(repr=False)

    @classmethod
    def of(cls, encoded: Sequence[bytes], frame: Frame) -> Self:
        """Put entries together."""
        return cls(frame.body(encoded), array("I", list(map(len, encoded))), frame)

    def part(self, entries: slice) -> Content:
        """Give the body that sends some of the entries."""
        if entries.stop - entries.start == len(self.sizes):
            return self.data
        between = len(self.frame.between)
        start = len(self.frame.head) + sum(self.sizes[: entries.start]) + entries.start * between
        stop = start + sum(self.sizes[entries]) + (entries.stop - entries.start) * between
        return Hidden(b"".join((self.frame.head, self.data[start : stop - between], self.frame.tail)))


@frozen(kw_only=True)
class Chunk:
    """The rows of one request."""

    number: int
    """From 1, in the order in which chunks were cut."""
    first: int
    """Its first fresh row; one more than ``last`` where all of its rows were held before."""
    last: int
    """Its last fresh row: the end of its window."""
    kept: ChunkRows
    """Its rows as they were given."""
    people: "array[int]" = field(repr=False)
    """For each entry, the hash of who it is."""
    body: Body
    """What is sent."""
    shape: Shape = PLAIN
    """How its rows differ from its window."""
    superseded: "array[int]" = field(factory=lambda: array("Q"), repr=False)
    """Rows that a later row of the same person has joined in their entry, ascending."""
    digest: str
    """A digest of its row numbers and of its encodings before they were merged: the same rows have the same one."""
    overtaken: frozenset[int] = frozenset()
    """Chunks in doubt with earlier rows of its people."""
    weight: int = 0
    """About how many bytes its rows take as they were given."""

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(self.kept.rows)

    @property
    def entries(self) -> int:
        """How many entries it has."""
        return len(self.people)

    @property
    def ranges(self) -> tuple[range, ...]:
        """Its rows, ascending."""
        rows = self.kept.rows
        whole = range(rows[0], rows[-1] + 1)
        return (whole,) if len(whole) == len(rows) else ranges_of(rows)

    @property
    def span(self) -> range:
        """The least range that its rows lie in; rows of other chunks may lie in between."""
        return range(self.kept.rows[0], self.kept.rows[-1] + 1)


@frozen(kw_only=True)
class Limits:
    """How large a chunk may be."""

    rows: float
    """Entries; infinity where bytes alone count."""
    bytes: int
    """Bytes of the whole body."""


@define
class SizeLimit:
    """How large a body may be: what was set, and what answers have taught. Mutable: it learns.

    Lower the limit only where half of a refused body succeeds, and never below a size that has succeeded. So one row
    that is always refused makes no chunk smaller for ever.
    """

    most: int
    """Bytes that a body of several rows may have."""
    link: Callable[[], float] = lambda: inf
    """Gives the bytes that a body should have on a link as slow as it is now."""
    passed: int = 0
    """Bytes of the largest body that went through."""

    @property
    def next(self) -> float:
        """Bytes that the next body of several rows may have."""
        return min(self.most, self.link())

    def passes(self, size: int, *, half_of: int = 0) -> None:
        """Learn from a body that went through; ``half_of`` is the size of the one that was too large before it."""
        self.passed = max(self.passed, size)
        if half_of > self.passed:
            self.most = min(self.most, half_of // 2)
        self.most = max(self.most, self.passed)
