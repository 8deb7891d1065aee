"""Which chunks may leave now: no person is in two unfinished jobs.

A chunk enters with the hashes of its people and is told which unfinished chunks it has to wait for; it leaves when its
rows are settled. A chunk waits only for chunks that entered before it, so no two ever wait for each other, and rows of
one person are applied in the order of the source.

A million people may be on their way at once, so a person costs few bytes: a table with open addressing of 64-bit
entries, each of them the newest chunk that holds a person, and 40 bits of the person's hash. That is enough: whoever
waits for the newest waits for all before it. Two people with the same 40 bits would make a chunk wait needlessly, and
never make it leave too early. A chunk that leaves is only forgotten: what it left in the table is seen to be stale, and
swept out when the table is made anew.
"""

from array import array
from collections.abc import Iterable

_BITS = 40
_PERSON = 2**_BITS - 1
_FREE = 0
_FULL = 0.7
"""How full a table may get before it is made anew."""


class Lanes:
    """The people of all unfinished chunks of a run. A run has less than 2**24 chunks."""

    def __init__(self, slots: int = 1 << 17) -> None:
        """``slots`` is the least size of the table, a power of two."""
        self._least = slots
        self._table = array("Q", [_FREE]) * slots
        self._used = 0  # slots that are not free, stale ones included
        self._held: dict[int, int] = {}  # unfinished chunks, and of how many people each is the newest

    def __len__(self) -> int:
        """How many chunks are unfinished."""
        return len(self._held)

    @property
    def people(self) -> int:
        """How many people are in unfinished chunks."""
        return sum(self._held.values())

    def enter(self, chunk: int, hashes: Iterable[int]) -> set[int]:
        """Take in a chunk, numbered from 1, and give the numbers of the unfinished chunks that it has to wait for.

        ``hashes`` are those of its people.
        """
        people = [person & _PERSON for person in hashes]
        if self._used + len(people) > len(self._table) * _FULL:
            self._sweep(len(people))
        held, table, mask, mine = self._held, self._table, len(self._table) - 1, chunk << _BITS
        held[chunk] = len(people)
        blockers: set[int] = set()
        known = 0
        for person in people:
            slot = person & mask
            while (entry := table[slot]) and entry & _PERSON != person:
                slot = slot + 1 & mask
            table[slot] = mine | person
            if entry:
                known += 1
                if (holder := entry >> _BITS) in held:
                    held[holder] -= 1
                    blockers.add(holder)
        self._used += len(people) - known
        return blockers - {chunk}

    def leave(self, chunk: int) -> None:
        """Let a chunk go: its rows are settled."""
        del self._held[chunk]

    def _sweep(self, coming: int) -> None:
        """Make the table anew, without what is stale, and large enough for those who come."""
        live = array("Q", (entry for entry in filter(None, self._table) if entry >> _BITS in self._held))
        slots = self._least
        while (len(live) + coming) * 2 > slots:
            slots *= 2
        del self._table  # a large one is not held twice
        self._table = table = array("Q", [_FREE]) * slots
        self._used = len(live)
        mask = slots - 1
        for entry in live:
            slot = entry & mask
            while table[slot]:
                slot = slot + 1 & mask
            table[slot] = entry
