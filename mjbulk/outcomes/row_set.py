"""Sets of row numbers that may have millions of members."""

from collections.abc import Iterable, Iterator
from typing import Self

from attrs import define, field

from mjbulk.public import public

_PAGE = 1 << 15
"""Rows of a page: 4 KiB of bits."""


def _joined(ranges: Iterable[range]) -> Iterator[range]:
    """Make one of ranges that follow each other."""
    current = range(0)
    for one in ranges:
        if current and one.start == current.stop:
            current = range(current.start, one.stop)
        else:
            if current:
                yield current
            current = one
    if current:
        yield current


@public  # it is not, but pickles of reports name it
@define(eq=False)
class RowSet:
    """Row numbers, a bit each. Mutable: numbers come and go. Only pages that have had numbers take memory."""

    _pages: dict[int, bytearray] = field(factory=dict, repr=False)

    @classmethod
    def of(cls, ranges: Iterable[range]) -> Self:
        """Make a set of all numbers of some ranges."""
        rows = cls()
        for one in ranges:
            rows.add_range(one)
        return rows

    def add(self, rows: Iterable[int]) -> None:
        """Add numbers."""
        for row in rows:
            bits, bit = self._place(row)
            bits[bit >> 3] |= 1 << (bit & 7)

    def add_range(self, rows: range) -> None:
        """Add all numbers of a range, many at a time."""
        start, stop = rows.start, rows.stop
        while start < stop:
            bits, bit = self._place(start)
            size = min(stop - start, _PAGE - bit)
            if bit & 7 or size < 8:
                size = min(size, 8 - (bit & 7))
                bits[bit >> 3] |= ((1 << size) - 1) << (bit & 7)
            else:
                size &= ~7
                bits[bit >> 3 : bit + size >> 3] = b"\xff" * (size >> 3)
            start += size

    def remove(self, rows: Iterable[int]) -> None:
        """Take numbers out; they need not be there."""
        for row in rows:
            if row in self:
                bits, bit = self._place(row)
                bits[bit >> 3] &= ~(1 << (bit & 7))

    def __contains__(self, row: int) -> bool:
        page, bit = divmod(row, _PAGE)
        bits = self._pages.get(page)
        return bits is not None and bool(bits[bit >> 3] & 1 << (bit & 7))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowSet) and list(self.ranges()) == list(other.ranges())

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __iter__(self) -> Iterator[int]:
        """Give the numbers, ascending."""
        for some in self.ranges():
            yield from some

    def __len__(self) -> int:
        return sum(int.from_bytes(bits).bit_count() for bits in self._pages.values())

    def ranges(self) -> Iterator[range]:
        """Give the numbers as ranges, ascending. Numbers that are added meanwhile may be left out."""
        return _joined(self._runs())

    def _runs(self) -> Iterator[range]:
        """Give ranges within a byte of bits."""
        for page in sorted(self._pages):
            for at, byte in enumerate(bytes(self._pages[page])):
                start = page * _PAGE + at * 8
                if byte == 0xFF:
                    yield range(start, start + 8)
                elif byte:
                    yield from (range(start + bit, start + bit + 1) for bit in range(8) if byte & 1 << bit)

    def _place(self, row: int) -> tuple[bytearray, int]:
        page, bit = divmod(row, _PAGE)
        bits = self._pages.get(page)
        if bits is None:
            bits = self._pages[page] = bytearray(_PAGE // 8)
        return bits, bit
