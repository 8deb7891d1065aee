"""Which chunks may leave now: no person is in two unfinished jobs.

A chunk enters with the keys of its people and is told which unfinished chunks it has to wait for; it leaves when its
rows are settled. A chunk waits only for chunks that entered before it, so no two ever wait for each other, and rows of
one person are applied in the order of the source.

A million people may be on their way at once, so a person costs few bytes: a table of 64-bit hashes with open
addressing, and beside each hash the newest chunk that holds it. That is enough: whoever waits for the newest waits for
all before it. Two people with one hash would make a chunk wait needlessly, and never make it leave too early.
"""

from array import array
from collections.abc import Iterable

_FREE = 0
_GONE = 1
_MASK = 2**64 - 1


class Lanes:
    """The people of all unfinished chunks of a run."""

    def __init__(self, slots: int = 1 << 14) -> None:
        """``slots`` is the size of the table to begin with, a power of two."""
        self._hashes = array("Q", bytes(8 * slots))
        self._chunks = array("I", bytes(4 * slots))
        self._used = 0  # slots that are not free, those of people who have left included
        self.people = 0
        """How many people are in unfinished chunks."""
        self._people: dict[int, array[int]] = {}

    def __len__(self) -> int:
        """How many chunks are unfinished."""
        return len(self._people)

    def enter(self, chunk: int, keys: Iterable[str]) -> set[int]:
        """Take in a chunk and give the numbers of the unfinished chunks that it has to wait for."""
        people = array("Q", {max(hash(key) & _MASK, 2) for key in keys})
        self._people[chunk] = people
        if (self._used + len(people)) * 5 > len(self._hashes) * 3:
            self._rebuild(len(people))
        hashes, chunks, mask = self._hashes, self._chunks, len(self._hashes) - 1
        others = []
        for person in people:
            slot = person & mask
            if hashes[slot] == _FREE:  # written out, for it is what nearly always happens
                hashes[slot] = person
                chunks[slot] = chunk
            else:
                others.append(person)
        self._used += len(people) - len(others)
        self.people += len(people) - len(others)
        return {self._put(person, chunk) for person in others} - {chunk}

    def leave(self, chunk: int) -> None:
        """Let a chunk go: its rows are settled."""
        hashes, chunks, mask = self._hashes, self._chunks, len(self._hashes) - 1
        for person in self._people.pop(chunk):
            slot = person & mask
            while hashes[slot] not in (person, _FREE):
                slot = slot + 1 & mask
            if hashes[slot] == person and chunks[slot] == chunk:
                hashes[slot] = _GONE
                self.people -= 1

    def _put(self, person: int, chunk: int) -> int:
        """Write a person down, and give the unfinished chunk that held them, or ``chunk`` itself."""
        hashes, mask = self._hashes, len(self._hashes) - 1
        slot, spare = person & mask, -1
        while (found := hashes[slot]) != _FREE:
            if found == person:
                held_by, self._chunks[slot] = self._chunks[slot], chunk
                return held_by
            if found == _GONE and spare < 0:
                spare = slot
            slot = slot + 1 & mask
        if spare < 0:
            self._used += 1
            spare = slot
        hashes[spare] = person
        self._chunks[spare] = chunk
        self.people += 1
        return chunk

    def _rebuild(self, coming: int) -> None:
        """Make the table anew, without those who have left, and large enough for those who come."""
        held = sum(map(len, self._people.values())) + coming
        slots = 1 << 14
        while held * 2 > slots:
            slots *= 2
        entered = list(self._people.items())[:-1]
        self._hashes = array("Q", bytes(8 * slots))
        self._chunks = array("I", bytes(4 * slots))
        self._used = self.people = 0
        for chunk, people in entered:
            for person in people:
                self._put(person, chunk)
