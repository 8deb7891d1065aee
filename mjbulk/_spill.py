"""Rows of unfinished chunks, outside of memory: in anonymous files that nobody else can open.

What is put here is pickled, and read back by this process alone: the files have no name, and mode 0600 before they
lose it.
"""

import errno
import os
import pickle
import tempfile
from collections.abc import Mapping
from typing import IO, Any

from attrs import define, frozen

_SEGMENT = 16 * 2**20


@define
class _Segment:
    file: IO[bytes]
    size: int = 0
    live: int = 0


@frozen
class Place:
    """Where a value lies."""

    segment: _Segment
    offset: int
    length: int


class Spill:
    """Values on disk. Mutable state: the files; one is closed when nothing in it is needed any more."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._segments: list[_Segment] = []

    def put(self, value: Any) -> Place:
        """Write a value down."""
        data = _pickled(value)
        segment = self._current()
        if os.pwrite(segment.file.fileno(), data, segment.size) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        place = Place(segment, segment.size, len(data))
        segment.size += len(data)
        segment.live += 1
        return place

    def get(self, place: Place) -> Any:
        """Read a value back."""
        data = os.pread(place.segment.file.fileno(), place.length, place.offset)
        return pickle.loads(data)  # noqa: S301  # written by this process into a file without a name

    def drop(self, place: Place) -> None:
        """Forget a value."""
        segment = place.segment
        segment.live -= 1
        if segment.live == 0 and segment in self._segments and segment.size >= _SEGMENT:
            segment.file.close()
            self._segments.remove(segment)

    def close(self) -> None:
        """Forget all values."""
        for segment in self._segments:
            segment.file.close()
        self._segments.clear()

    def _current(self) -> _Segment:
        if not self._segments or self._segments[-1].size >= _SEGMENT:
            self._segments.append(_Segment(tempfile.TemporaryFile(prefix="mjbulk-", buffering=0)))  # noqa: SIM115  # closed by drop() or close()
        return self._segments[-1]


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001  # whatever a value of the user's raises when it is pickled
        return pickle.dumps(_without_odd_values(value), protocol=pickle.HIGHEST_PROTOCOL)


def _without_odd_values(value: Any) -> Any:
    """Put a text in the place of what cannot be pickled."""
    try:
        pickle.dumps(value)
    except Exception:  # noqa: BLE001  # as above
        if isinstance(value, Mapping):
            return {_without_odd_values(key): _without_odd_values(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            plain = [_without_odd_values(item) for item in value]
            return tuple(plain) if isinstance(value, tuple) else plain
        return str(value)
    return value
