"""The rejections of a run. Few of them are in memory, even if there are many."""

import weakref
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from heapq import merge
from itertools import chain, islice
from typing import Any

import attrs

from mjbulk.models import Rejection, Rejections
from mjbulk.public import public
from mjbulk.rows.block import weight
from mjbulk.spill import Spill, SpillRef

_IN_MEMORY = 1000
_BYTES_IN_MEMORY = 2**20
_SORTED_AT_ONCE = 20_000
_READ_AT_ONCE = 100


@public  # it is not, but pickles of reports name it
class RejectionStore(Rejections):
    """Rejections in the order in which they became known.

    They are in memory until there are a thousand, or a mebibyte of them. Then they go to a file without a name. Mutable
    state: it grows while its run goes on. Several callers may iterate it, at any time and any number of times.
    """

    def __init__(self, rejections: Sequence[Rejection] = (), folder: str | None = None) -> None:
        """Begin with some rejections. The file is in ``folder``, by default in the system's temporary one."""
        self.folder = folder
        self._spill = Spill(folder)
        self._refs: list[SpillRef] = []
        self._recent: list[Rejection] = []
        self._numbers = array("Q")  # the row of each; 0 if it is not known
        self._ends: list[int] = []  # of the groups in the file
        self._by_row = array("Q")  # their positions, by their rows
        self._bytes = 0
        for rejection in rejections:
            with suppress(OSError):  # they are in memory anyway
                self.add(rejection)

    def add(self, *rejections: Rejection) -> None:
        """Add some more. Raises OSError, when all were added, if there is no room for them but in memory."""
        self._recent += rejections
        self._numbers.extend(map(_row_of, rejections))
        self._bytes += sum(weight((rejection.data or {}).values()) for rejection in rejections)
        if len(self._recent) >= _IN_MEMORY or self._bytes >= _BYTES_IN_MEMORY:
            if not self._refs:
                weakref.finalize(self, self._spill.close)
            self._refs.append(_store(self._spill, self._recent))
            self._ends.append(len(self._numbers))
            self._recent, self._bytes = [], 0

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Rejection]:
        refs, recent = list(self._refs), list(self._recent)  # both at the same time: it may grow while it is iterated
        yield from _stored(self._spill, refs)
        yield from recent

    def of_row(self, row: int) -> Rejection | None:
        """Give the rejection of a row, or None. The first call sorts the numbers of all rows."""
        if len(self._by_row) != len(self._numbers):
            self._by_row = array("Q", sorted(range(len(self._numbers)), key=self._numbers.__getitem__))
        place = bisect_left(self._by_row, row, key=self._numbers.__getitem__)
        if row < 1 or place == len(self._by_row) or self._numbers[self._by_row[place]] != row:
            return None
        return self._at(self._by_row[place])

    def _at(self, position: int) -> Rejection:
        group = bisect_right(self._ends, position)
        begin = self._ends[group - 1] if group else 0
        if group == len(self._refs):
            return self._recent[position - begin]
        return next(islice(_stored(self._spill, self._refs[group : group + 1]), position - begin, None))

    def after(self, count: int) -> Iterator[Rejection]:
        """Give the rejections but the first ``count``. Those that become known later are not given."""
        group = bisect_right(self._ends, count)
        first = self._ends[group - 1] if group else 0
        refs, recent = self._refs[group:], list(self._recent)
        return islice(chain(_stored(self._spill, refs), recent), max(count - first, 0), None)

    def page(self, *, after: int = 0, limit: int = 100) -> Sequence[Rejection]:
        """Give at most ``limit`` rejections, from after the first ``after`` of them."""
        return list(islice(self.after(after), limit))

    def __repr__(self) -> str:
        return f"<{len(self)} rejections>"

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, RejectionStore) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __reduce__(self) -> tuple[Any, ...]:
        return RejectionStore, (list(self),)


def _store(spill: Spill, rejections: Sequence[Rejection]) -> SpillRef:
    return spill.put([attrs.astuple(rejection, recurse=False) for rejection in rejections])


def _stored(spill: Spill, refs: Iterable[SpillRef]) -> Iterator[Rejection]:
    names = [f.name for f in attrs.fields(Rejection)]
    for ref in refs:
        yield from (Rejection(**dict(zip(names, values, strict=True))) for values in spill.get(ref))


def sorted_by_row(rejections: Rejections) -> Iterator[Rejection]:
    """Give the rejections whose rows are known, in the order of the source. Some thousands of them are in memory.

    This is an external merge sort: sorted groups go to a file without a name, and are merged from there.
    """
    known = (rejection for rejection in rejections if rejection.row is not None)
    if len(rejections) <= _SORTED_AT_ONCE:
        yield from sorted(known, key=_row_of)
        return
    spill, runs = Spill(getattr(rejections, "folder", None)), list[list[SpillRef]]()
    try:
        while some := sorted(islice(known, _SORTED_AT_ONCE), key=_row_of):
            starts = range(0, len(some), _READ_AT_ONCE)
            runs.append([_store(spill, some[start : start + _READ_AT_ONCE]) for start in starts])
        yield from merge(*(_stored(spill, refs) for refs in runs), key=_row_of)
    finally:
        spill.close()


def _row_of(rejection: Rejection) -> int:
    return rejection.row or 0
