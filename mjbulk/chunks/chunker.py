"""Rows to chunks, by count and by encoded bytes.

A chunk is a contiguous range of rows of the source. Two rows of one person in it become one entry, so a chunk never
holds a person twice; what is too large for any chunk is refused by its number, and nothing is ever cut.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate, count
from typing import Any, Self

from attrs import define, field, frozen

from mjbulk.chunks.frame import Frame
from mjbulk.mailjet.requests import Content
from mjbulk.rows.block import Block, Given
from mjbulk.rows.csv_text import read_records

_MOST_ROWS = 100_000
"""Rows that one chunk may merge: many rows of few people must not make a chunk without end."""

_MOST_HELD = 8 * 2**20
"""Bytes that the rows of one chunk may have as they were given, however little of them is sent; more where bodies may
be large: what is sent whole is bounded by its body alone."""


@frozen
class ChunkRows:
    """The rows of a chunk as they were given, in a form that takes little memory and can be put aside."""

    rows: "array[int]" = field(repr=False)
    """Their numbers."""
    merged: Mapping[int, int] = field(repr=False)
    """Where rows were merged into an entry that was there: their places among the rows, and that of the entry."""
    blocks: Sequence[tuple[tuple[str, ...], int, Any]] = field(repr=False)
    """For some rows after another: the names of their values, how many they are, and what `Block.kept` gave."""
    lines: str = field(repr=False)
    """For each entry, who it is."""

    @property
    def addresses(self) -> list[str]:
        """For each entry, who it is."""
        return self.lines.split("\n") if self.rows else []

    @property
    def entry_of(self) -> "array[int]":
        """For each row, its place among the entries: those that were not merged stand in the order of the rows."""
        fresh = count()
        return array("I", (self.merged[at] if at in self.merged else next(fresh) for at in range(len(self.rows))))

    def given(self) -> Iterator[Given]:
        """Give all rows back."""
        for names, size, kept in self.blocks:
            rows = read_records(kept) if isinstance(kept, str) else zip(*kept, strict=True) if kept else [()] * size
            yield from (Given(names, values) for values in rows)


@frozen
class Body:
    """The entries of a chunk put together, of which any range can be sent."""

    data: Content = field(repr=False)
    """The body that sends them all."""
    ends: "array[int]" = field(repr=False)
    """Bytes of all entries before the first, the second, ... and of all, without what stands between them."""
    frame: Frame = field(repr=False)

    @classmethod
    def of(cls, encoded: Sequence[bytes], frame: Frame) -> Self:
        """Put entries together."""
        return cls(frame.body(encoded), array("I", accumulate(map(len, encoded), initial=0)), frame)

    def part(self, places: slice) -> Content:
        """Give the body that sends some of the entries."""
        if places.stop - places.start == len(self.ends) - 1:
            return self.data
        between = len(self.frame.between)
        start, stop = (len(self.frame.head) + self.ends[at] + at * between for at in (places.start, places.stop))
        return b"".join((self.frame.head, self.data[start : stop - between], self.frame.tail))


@frozen(kw_only=True)
class Chunk:
    """The rows of one request."""

    number: int
    """From 1, in the order of the source."""
    kept: ChunkRows
    """Its rows as they were given."""
    people: "array[int]" = field(repr=False)
    """For each entry, the hash of who it is."""
    body: Body
    """What is sent."""
    digest: str
    """Of the numbers of its rows and of their encodings before they were merged: the same rows have the same one."""

    @property
    def rows(self) -> "array[int]":
        """Numbers of its rows, in the order of the source."""
        return self.kept.rows

    @property
    def entries(self) -> int:
        """How many entries it has."""
        return len(self.people)

    @property
    def span(self) -> range:
        """Its rows as a range; rows that were refused here may lie in between."""
        return range(self.rows[0], self.rows[-1] + 1)


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

    A body that was too large teaches only when a half of it went through, and never more than answers allow: what went
    through once cannot have been too large. So one row that is always refused makes no chunk smaller for ever.
    """

    most: int
    """Bytes that a body of several rows may have."""
    passed: int = 0
    """Bytes of the largest body that went through."""

    def passes(self, size: int, *, half_of: int = 0) -> None:
        """Learn from a body that went through; ``half_of`` is the size of the one that was too large before it."""
        self.passed = max(self.passed, size)
        if half_of > self.passed:
            self.most = min(self.most, half_of // 2)
        self.most = max(self.most, self.passed)


@frozen
class _Batch:
    """Rows that come together."""

    numbers: Sequence[int]
    keys: Sequence[str]
    addresses: Sequence[str]
    spelled: bool
    """Whether an address is not its key."""
    encoded: Sequence[bytes]
    ends: Sequence[int]
    """Bytes of all rows before the first, the second, ... and of all."""
    weights: Sequence[int]
    """The same of the rows as they were given."""
    block: Block


class Chunker:
    """Collects encoded rows, and gives a chunk whenever one is full."""

    def __init__(
        self,
        frame: Frame,
        limits: Limits,
        merge: Callable[[bytes, bytes], bytes],
        learned: SizeLimit,
        rows_of: Callable[[int], int | None] | None = None,
        *,
        meaning: bytes = b"",
    ) -> None:
        """``merge`` makes one entry of an earlier and a later one. A row alone may be as large as ``limits`` say,
        whatever was ``learned``. ``rows_of`` gives, of the number of a chunk, how many rows it held when it was cut
        before: it is cut so again, whatever the limits are now. Without it chunks have no digest, which takes time;
        ``meaning`` goes into each, for what encodings do not say themselves.
        """
        self._rows_of = rows_of
        self._limits = limits
        self._most_held = max(_MOST_HELD, 4 * limits.bytes)
        self._learned = learned
        self._frame = frame
        self._merge = merge
        self._meaning = meaning
        self._number = 0
        self._start()

    def _start(self) -> None:
        self._number += 1
        self._before = self._rows_of(self._number) if self._rows_of else None
        self._rows = array("Q")
        self._merged: dict[int, int] = {}
        self._blocks: list[tuple[tuple[str, ...], int, Any]] = []
        self._places: dict[str, int] = {}
        self._spelled: dict[int, str] = {}  # addresses that are not their keys
        self._encoded: list[bytes] = []
        self._bytes = 0
        self._held = 0
        self._taken = 0
        self._digest = blake2b(self._meaning, digest_size=16)

    def too_large(self, encoded: bytes) -> str | None:
        """Say why a row cannot be in any chunk, or None."""
        if self._frame.size(1, len(encoded)) <= self._limits.bytes:
            return None
        return f"the row is larger than a chunk of {self._limits.bytes} bytes"

    def add(
        self, numbers: Sequence[int], addresses: Sequence[str], encoded: Sequence[bytes], block: Block
    ) -> list[Chunk]:
        """Take in rows, none of them too large, and give the chunks that are full. Addresses have no blanks around."""
        keys = list(map(str.casefold, addresses))
        ends = list(accumulate(map(len, encoded), initial=0))
        weights = list(accumulate(block.weights(), initial=0))
        batch = _Batch(numbers, keys, addresses, keys != list(addresses), encoded, ends, weights, block)
        new = len(set(keys)) == len(keys) and self._places.keys().isdisjoint(keys)
        take = self._take_new if new else self._take_one
        full = []
        begin = at = 0
        while at < len(keys):
            if taken := take(batch, at):
                at += taken
                continue
            self._pass(batch, slice(begin, at))
            full.append(self._cut())
            begin = at
        self._pass(batch, slice(begin, at))
        return full

    def _pass(self, batch: _Batch, part: slice) -> None:
        """Note rows that are in the chunk, with their encodings before they were merged. Every row comes by here once,
        in its order.
        """
        if part.start == part.stop:
            return
        self._rows.extend(batch.numbers[part])
        self._blocks.append((batch.block.names, part.stop - part.start, batch.block.kept(part)))
        if self._rows_of:
            self._digest.update(b"".join(batch.encoded[part]))

    def _take_new(self, batch: _Batch, at: int, most: float = float("inf")) -> int:
        """Take rows that are all new people, as many as fit, and give their number."""
        part = slice(at, at + int(min(self._room(batch, at), most)))
        entries = len(self._encoded)
        self._places.update(zip(batch.keys[part], range(entries, entries + part.stop - at), strict=True))
        if batch.spelled:
            spelled = zip(batch.keys[part], batch.addresses[part], strict=True)
            self._spelled.update((entries + n, new) for n, (key, new) in enumerate(spelled) if key != new)
        self._encoded.extend(batch.encoded[part])
        self._bytes += batch.ends[part.stop] - batch.ends[at]
        self._held += batch.weights[part.stop] - batch.weights[at]
        self._taken += part.stop - at
        return part.stop - at

    def _room(self, batch: _Batch, at: int) -> int:
        """How many of these rows fit into the chunk; into an empty one at least one does."""
        if self._before is not None:
            return min(self._before - self._taken, len(batch.encoded) - at)
        entries, between, ends = len(self._encoded), len(self._frame.between), batch.ends
        left = self._learned.most - self._frame.size(entries, self._bytes) + (0 if entries else between)
        held = bisect_right(batch.weights, self._most_held - self._held + batch.weights[at]) - 1
        most = int(min(self._limits.rows - entries, held - at))
        fit = bisect_right(range(most), left, key=lambda row: ends[at + row + 1] - ends[at] + (row + 1) * between)
        return fit or (0 if entries else 1)

    def _take_one(self, batch: _Batch, at: int) -> int:
        """Take one row, maybe of somebody who is in the chunk already, if it fits."""
        entry = self._places.get(batch.keys[at])
        if entry is None:
            return self._take_new(batch, at, most=1)
        held = self._held + batch.weights[at + 1] - batch.weights[at]
        if self._before is None:
            few = self._taken < _MOST_ROWS and held <= self._most_held
        else:
            few = self._taken < self._before
        if not few or not self._merge_into(entry, batch, at):
            return 0
        self._merged[self._taken] = entry
        self._held = held
        self._taken += 1
        return 1

    def _merge_into(self, place: int, batch: _Batch, at: int) -> bool:
        """Merge a row into an entry, unless only casefolding makes one person of two, or the chunk would grow too
        large.
        """
        if self._spelled.get(place, batch.keys[at]).lower() != batch.addresses[at].lower():
            return False
        merged = self._merge(self._encoded[place], batch.encoded[at])
        grown = self._bytes + len(merged) - len(self._encoded[place])
        most = self._limits.bytes if len(self._encoded) == 1 else self._learned.most
        if self._before is None and self._frame.size(len(self._encoded), grown) > most:
            return False
        self._encoded[place] = merged
        self._bytes = grown
        return True

    def flush(self) -> Chunk | None:
        """Give the chunk that is not yet full, if it has rows."""
        return self._cut() if self._rows else None

    def _cut(self) -> Chunk:
        self._digest.update(self._rows)
        addresses = list(self._places)
        for place, address in self._spelled.items():
            addresses[place] = address
        chunk = Chunk(
            number=self._number,
            kept=ChunkRows(self._rows, self._merged, self._blocks, "\n".join(addresses)),
            people=array("q", map(hash, self._places)),
            body=Body.of(self._encoded, self._frame),
            digest=self._digest.hexdigest() if self._rows_of else "",
        )
        self._start()
        return chunk
