"""Rows that were judged and encoded, and are in no chunk yet."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate

from mjbulk.run.reader import EncodedRows

_BETWEEN, _FRAME = 1, 16 * 1024
"""Bytes that a body has between two entries, and around all of them at most."""


class Gathered:
    """Rows in the order in which they came. Mutable state: the rows, and how many they are."""

    def __init__(self) -> None:
        """Begin without a row."""
        self._parts: deque[tuple[float, EncodedRows]] = deque()
        self._rows = 0

    def __len__(self) -> int:
        """Give how many rows there are."""
        return self._rows

    @property
    def since(self) -> float:
        """When the first row came, in seconds of the loop's clock."""
        return self._parts[0][0]

    @property
    def first(self) -> int:
        """The number of the first row."""
        return self._parts[0][1].numbers[0]

    def add(self, rows: EncodedRows, now: float) -> None:
        """Add rows."""
        self._parts.append((now, rows))
        self._rows += len(rows.numbers)

    def clear(self) -> None:
        """Forget all rows."""
        self._parts.clear()
        self._rows = 0

    def take(self, room: int, size: float) -> Iterator[EncodedRows]:
        """Take out the first rows: at most ``room``, and bodies of ``size`` bytes together; but one row at least."""
        size -= min(_FRAME, size / 2)
        first = True
        while self._parts and room > 0 and (first or size > 0):
            since, rows = self._parts.popleft()
            ends = list(accumulate(len(row) + _BETWEEN for row in rows.encoded[:room]))
            taken = max(bisect_right(ends, size), 1)
            if taken < len(rows.numbers):
                self._parts.appendleft((since, rows_at(rows, range(taken, len(rows.numbers)))))
                rows = rows_at(rows, range(taken))
            self._rows -= taken
            room, size, first = room - taken, size - ends[taken - 1], False
            yield rows
            if taken < len(ends):
                return


def rows_at(rows: EncodedRows, indices: Sequence[int]) -> EncodedRows:
    """Give some of the rows."""
    return EncodedRows(
        [rows.numbers[at] for at in indices],
        [rows.addresses[at] for at in indices],
        [rows.encoded[at] for at in indices],
        rows.block.at(indices),
    )
