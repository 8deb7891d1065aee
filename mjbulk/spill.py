"""Rows of unfinished chunks, on disk: in files without names, which no other process can open.

Values are pickled, and only this process reads them. A file has mode 0600 until its name is removed, which is at once.
"""

import errno
import io
import os
import pickle
import tempfile
from array import array
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import BuiltinFunctionType, FunctionType
from typing import IO, Any
from uuid import UUID

from attrs import define, field, frozen

from mjbulk.errors import Error

_SEGMENT = 16 * 2**20
"""Bytes after which a file takes no more values."""
_PIECE = 2**20
"""Bytes of a value that are moved at a time."""
_NEWEST = 4 * 2**20
"""Bytes of values that are not written yet: what is soon dropped never is. Measured (300 chunks whose jobs end at
once): 5 % of the time of an import."""


@define(eq=False)
class SpillRef:
    """Where a value is in a spill. The spill alone changes it, when it writes or moves the value."""

    segment: "_Segment | None" = None
    """The file that has it; None while it is in memory."""
    offset: int = 0
    length: int = 0
    value: Any = field(default=None, repr=False)
    weight: int = 0
    """About how many bytes of memory it takes there."""


@define(eq=False)
class Memory:
    """Room in memory for the newest values of some spills. Mutable state: how much of it is taken, in bytes."""

    room: int = _NEWEST
    taken: int = 0


@define(eq=False)
class _Segment:
    file: IO[bytes]
    size: int = 0
    needed: int = 0
    """Bytes of the values in it that are still needed."""
    refs: set[SpillRef] = field(factory=set)
    """Those values."""

    @property
    def live(self) -> int:
        """How many values in it are still needed."""
        return len(self.refs)

    def add(self, ref: SpillRef, length: int) -> None:
        """Note a value that was written to the end, in this many bytes."""
        ref.segment, ref.offset, ref.length = self, self.size, length
        self.size += length
        self.needed += length
        self.refs.add(ref)

    def forget(self, ref: SpillRef) -> None:
        """Note that a value is not needed here any more. Its place may get another value: reading it is an error."""
        self.needed -= ref.length
        self.refs.remove(ref)
        ref.offset = -1


@frozen
class Stored:
    """Bytes in a spill. A slice of them is read when it is needed."""

    ref: SpillRef

    def __len__(self) -> int:
        return self.ref.length

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self.ref.length)
        return _data(self.ref, start, max(stop - start, 0))


class Spill:
    """Values on disk, for one thread; the newest are in memory. Mutable state: the files, and what is not written yet.

    A file that is full is closed when none of its values is needed any more. As soon as more than half of it is not
    needed, the rest is moved to the file that is being written: one value that is needed for long pins no others. So
    all files together are at most twice as large as what is needed, and 16 MiB (`_SEGMENT`).
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, memory: Memory | None = None) -> None:
        """Open nothing yet. Without a ``folder``, files lie in the system's temporary one; spills can share their
        ``memory``.
        """
        self._folder = folder
        self._memory = memory or Memory()
        self._newest: dict[SpillRef, None] = {}  # in the order in which they came
        self._segments: list[_Segment] = []

    def put(self, value: Any, weight: int | None = None) -> SpillRef:
        """Keep a value, and give the reference to it. With a ``weight``, about its bytes, it is not written before
        there is no room for it in memory. Raises OSError if there can be no file.
        """
        ref = SpillRef()
        self._current()
        if weight is None:
            self._write(ref, value)
            return ref
        ref.value, ref.weight = value, weight
        self._newest[ref] = None
        self._memory.taken += weight
        while self._newest and self._memory.taken > self._memory.room:
            oldest = next(iter(self._newest))
            self._write(oldest, oldest.value)
            self._forget_newest(oldest)
        return ref

    def _write(self, ref: SpillRef, value: Any) -> None:
        segment = self._current()
        try:
            length, usual = _write(value, segment)
        except OSError:
            raise
        except Exception:  # noqa: BLE001  # pickling a value of the user's may raise anything
            odd = True
        else:
            odd = not usual and not _loads(_read(segment, segment.size, length))
        if odd:
            length, _ = _write(_without_odd_values(value), segment)
        segment.add(ref, length)

    def _forget_newest(self, ref: SpillRef) -> None:
        del self._newest[ref]
        self._memory.taken -= ref.weight
        ref.value = None

    def store(self, data: bytes) -> Stored:
        """Write bytes without pickling them."""
        segment, ref = self._current(), SpillRef()
        _End(segment).write(data)
        segment.add(ref, len(data))
        return Stored(ref)

    def get(self, ref: SpillRef) -> Any:
        """Read a value back."""
        if ref in self._newest:
            return pickle.loads(_dumps(ref.value))  # noqa: S301  # what comes back does not depend on where it was
        return pickle.loads(_data(ref, 0, ref.length))  # noqa: S301  # written by this process into a file without a name

    def drop(self, ref: SpillRef) -> None:
        """Forget a value. It cannot be read after that."""
        if ref in self._newest:
            self._forget_newest(ref)
            return
        segment = ref.segment
        if segment is None or segment not in self._segments:
            return
        segment.forget(ref)
        if segment.size >= _SEGMENT and 2 * segment.needed < segment.size:
            with suppress(OSError):  # without room they stay where they are
                self._move(segment)
        elif not segment.refs:
            segment.file.truncate(0)
            segment.size = 0

    def close(self) -> None:
        """Forget all values."""
        for ref in tuple(self._newest):
            self._forget_newest(ref)
        for segment in self._segments:
            segment.file.close()
        self._segments.clear()

    def _current(self) -> _Segment:
        if not self._segments or self._segments[-1].size >= _SEGMENT:
            self._segments.append(_Segment(tempfile.TemporaryFile(prefix="mjbulk-", buffering=0, dir=self._folder)))  # noqa: SIM115  # closed by drop() or close()
        return self._segments[-1]

    def _move(self, segment: _Segment) -> None:
        """Move what is still needed of a segment, and close it. Raises OSError if there is no room."""
        for ref in tuple(segment.refs):
            to = self._current()
            end, old = _End(to), Stored(ref)
            for start in range(0, ref.length, _PIECE):
                end.write(old[start : start + _PIECE])
            segment.forget(ref)
            to.add(ref, ref.length)
        segment.file.close()
        self._segments.remove(segment)


_TOGETHER = 64 * 1024
"""Bytes of small values that are written together."""
_OFFSET = 20
"""Bits of an offset within them."""


class SmallValues:
    """Many small values in a spill: they are written together, and each costs 8 bytes of memory, its number.

    Mutable state: those that are not written yet, and how many of each group are still needed.
    """

    def __init__(self, spill: Spill) -> None:
        """Write nothing yet."""
        self._spill = spill
        self._group = 0
        self._recent = bytearray()
        self._stored: dict[int, Stored] = {}
        self._live: dict[int, int] = {}

    def add(self, value: Any) -> int:
        """Keep a value, and give the number by which it is found."""
        data = _dumps(value)
        number = self._group << _OFFSET | len(self._recent)
        self._recent += len(data).to_bytes(4) + data
        self._live[self._group] = self._live.get(self._group, 0) + 1
        if len(self._recent) >= _TOGETHER:
            self._write()
        return number

    def get(self, number: int) -> Any:
        """Read a value back."""
        group, offset = number >> _OFFSET, number & ((1 << _OFFSET) - 1)
        data: Stored | bytearray = self._stored.get(group) or self._recent
        length = int.from_bytes(data[offset : offset + 4])
        return pickle.loads(data[offset + 4 : offset + 4 + length])  # noqa: S301  # as above

    def drop(self, numbers: Iterable[int]) -> None:
        """Forget values."""
        for number in numbers:
            group = number >> _OFFSET
            self._live[group] -= 1
            if not self._live[group] and group != self._group:
                self._spill.drop(self._stored.pop(group).ref)
                del self._live[group]

    def _write(self) -> None:
        self._stored[self._group] = self._spill.store(bytes(self._recent))
        self._group += 1
        self._recent = bytearray()


def _dumps(value: Any) -> bytes:
    """Pickle a value; a text stands in the place of what cannot be pickled, or not be read back."""
    data = io.BytesIO()
    pickler = _Pickler(data, pickle.HIGHEST_PROTOCOL)
    try:
        pickler.dump(value)
        usual = pickler.usual or _loads(data.getvalue())
    except Exception:  # noqa: BLE001  # whatever a value of the user's raises when it is pickled
        usual = False
    return data.getvalue() if usual else pickle.dumps(_without_odd_values(value))


@define
class _End:
    """The end of a segment, which is written piece by piece: no second copy of a value is in memory."""

    segment: _Segment
    written: int = 0

    def write(self, data: bytes) -> int:
        """Write all of it."""
        written = os.pwrite(self.segment.file.fileno(), data, self.segment.size + self.written)
        if written != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.written += written
        return written


_USUAL = frozenset(
    {
        array,
        bytearray,
        date,
        datetime,
        Decimal,
        time,
        timedelta,
        timezone,
        UUID,
        type,
        FunctionType,
        BuiltinFunctionType,
    }
)
"""Types whose pickles can always be read, in addition to those that a pickler knows itself."""


class _Pickler(pickle.Pickler):
    """A pickler that records whether all values are of usual types. It sees only types that it does not know itself."""

    usual = True

    def reducer_override(self, value: Any) -> Any:
        if type(value) not in _USUAL:
            self.usual = False
        return NotImplemented


def _write(value: Any, segment: _Segment) -> tuple[int, bool]:
    """Pickle a value to the end of a segment, and give its length and whether all types in it are usual.

    The size of the segment stays the same.
    """
    end = _End(segment)
    pickler = _Pickler(end, pickle.HIGHEST_PROTOCOL)
    pickler.dump(value)
    return end.written, pickler.usual


def _data(ref: SpillRef, start: int, length: int) -> bytes:
    if ref.segment is None:
        raise ValueError("the value is in no file")
    return _read(ref.segment, ref.offset + start, length)


def _read(segment: _Segment, offset: int, length: int) -> bytes:
    return os.pread(segment.file.fileno(), length, offset)


def _loads(data: bytes) -> bool:
    """Tell whether a pickled value can be read. Some values of users can be pickled, and then not be read."""
    try:
        pickle.loads(data)  # noqa: S301  # as above
    except Exception:  # noqa: BLE001  # as above
        return False
    return True


def _without_odd_values(value: Any) -> Any:
    """Replace values that cannot be pickled, or not be read again, by their texts."""
    with suppress(Exception):
        pickle.loads(pickle.dumps(value))  # noqa: S301  # as above
        return value
    try:
        if isinstance(value, Mapping):
            return {_without_odd_values(key): _without_odd_values(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            plain = [_without_odd_values(item) for item in value]
            return tuple(plain) if isinstance(value, tuple) else plain
        return str(value)
    except Exception:  # noqa: BLE001  # its text may raise anything, too
        return f"({type(value).__name__})"


def sentence_of(cause: BaseException) -> BaseException:
    """Give a cause that says what helps, where it is the system's."""
    if not isinstance(cause, OSError):
        return cause
    why = cause.strerror or type(cause).__name__
    advice = "set TMPDIR, or spool_dir of the settings, to a folder that can be written to and has room"
    return Error(f"rows cannot be kept in a temporary file ({why}): {advice}")
