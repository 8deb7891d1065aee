"""Rows that were judged and encoded, and are in no chunk yet."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from itertools import accumulate

from mjbulk.run.reader import EncodedRows

_BETWEEN, _FRAME = 1, 16 * 1024
"""Bytes that a body has between two entries, and around all of them at most."""


class Gathered:
    """Rows in the order in which they go: those that have waited for others, and then the rest, oldest first.

    Mutable state: the rows, and how many they are.
    """

    def __init__(self) -> None:
        """Begin without a row."""
        self._early: deque[tuple[float, EncodedRows]] = deque()
        self._parts: deque[tuple[float, EncodedRows]] = deque()
        self._rows = 0

    def __len__(self) -> int:
        """Give how many rows there are."""
        return self._rows

    @property
    def since(self) -> float:
        """When the first row came, in seconds of the loop's clock. Rows that have waited do not linger again."""
        return (self._early or self._parts)[0][0]

    def add(self, rows: EncodedRows, now: float) -> None:
        """Add rows."""
        self._parts.append((now, rows))
        self._rows += len(rows.numbers)

    def add_early(self, rows: EncodedRows) -> None:
        """Add rows that have waited: they go before those that have not, or they would wait for room once more."""
        self._early.append((float("-inf"), rows))
        self._rows += len(rows.numbers)

    def take(self, room: int, size: float) -> Iterator[EncodedRows]:
        """Take out the first rows: at most ``room``, and bodies of ``size`` bytes together; but one row at least."""
        size -= min(_FRAME, size / 2)
        first = True
        while (parts := self._early or self._parts) and room > 0 and (first or size > 0):
            since, rows = parts.popleft()
            ends = list(accumulate(len(row) + _BETWEEN for row in rows.encoded[:room]))
            taken = max(bisect_right(ends, size), 1)
            if taken < len(rows.numbers):
                parts.appendleft((since, rows.at(range(taken, len(rows.numbers)))))
                rows = rows.at(range(taken))
            self._rows -= taken
            room, size, first = room - taken, size - ends[taken - 1], False
            yield rows
            if taken < len(ends):
                return
