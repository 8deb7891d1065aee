"""How much of a file was read: by its bytes, or by its rows where it says how many it has."""

import os
import stat
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from mjbulk.discreet import discreet
from mjbulk.rows.packed import Pieces


class Amount:
    """How much of a file was read. Mutable state: all of it, from the last reading."""

    def __init__(self) -> None:
        """Begin with a file that was not read yet."""
        self._size: int | None = None
        self._done = 0

    @property
    def share(self) -> float | None:
        """The share of it that was read, from 0 to 1; None if its size is not known."""
        return min(self._done / self._size, 1.0) if self._size else None

    def begin(self, size: int | None) -> None:
        """Begin a reading of a number of bytes or rows; None if it is not known."""
        self._size, self._done = size, 0

    def reach(self, done: int | None) -> None:
        """Note how many were read; None for all of them."""
        self._done = (self._size or 0) if done is None else done

    def counted(self, file: Any, pieces: Callable[[], Pieces]) -> Callable[[], Pieces]:
        """Give a function that reads the same pieces, and counts their bytes."""
        return lambda: self._count(file, pieces())

    @discreet
    async def _count(self, file: Any, pieces: Pieces) -> Pieces:
        self.begin(_size_of(file))
        async with aclosing(pieces):
            async for piece in pieces:
                self._done += len(piece)
                yield piece


def _size_of(file: Any) -> int | None:
    """Give the size of a file on disk, by its path or opened at its beginning; None for all else."""
    try:
        known = Path(file).stat() if isinstance(file, str | os.PathLike) else os.fstat(file.fileno())
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    return known.st_size if stat.S_ISREG(known.st_mode) else None
