"""People in flight, where they are many: each costs few bytes, for a million may be in flight at once.

A table with open addressing of 64-bit entries. Each holds a tag for the newest chunk with a person, and 40 bits of the
person's hash. That is enough: two people with the same 40 bits make a row wait needlessly, and never let it leave too
early. A chunk that is done is only forgotten: what it left in the table is stale, and is swept out when the table is
next made larger.

A run may have any number of chunks, and a tag has 24 bits. So tags are used again, in rounds: when a round ends, stale
entries are swept out, and the next round leaves out the tags of chunks that are not done.

Only chunks of an earlier process can share a person (an earlier version of the engine let them wait for each other, or
one was left in doubt). The table knows the newest of those; a small dict knows the others.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence

_BITS = 40
_TAGS = (1 << 64 - _BITS) - 1
FREE = 0
_USUAL = 1 << 17
"""Slots to which the table of a run grows whatever is stale: so it is seldom rebuilt."""
_FULL = 0.7
"""How full a table may get before it is rebuilt."""


class PeopleTable:
    """The people of the open chunk and of all unfinished chunks of a run: see `PeopleInFlight`.

    Mutable state: the table, which of its chunks are unfinished or were left in doubt, and the round of tags.
    """

    def __init__(self, slots: int = 1 << 11, bits: int = _BITS, tags: int = _TAGS, *, usual: int = _USUAL) -> None:
        """Begin with nobody. ``slots`` is the first size of the table, a power of two; ``bits`` of a hash (at most 40)
        are kept; chunks have one of that many ``tags``. The table grows to its ``usual`` size, stale entries or not.
        """
        self._least = slots
        self._usual = usual
        self._person = (1 << bits) - 1
        self._table: array[int] = array("Q", [FREE]) * slots
        self._used = 0  # slots that are not free, stale ones included
        self._unfinished: dict[int, int] = {}  # the chunk of each tag, the open chunk included
        self._doubtful: dict[int, int] = {}
        self._tags: dict[int, int] = {}  # of both
        self._most_tags = tags
        self._last_tag = 0
        self._left_out: frozenset[int] = frozenset()  # tags that were not free when this round began
        self._others: dict[int, list[int]] = {}  # of people in several chunks, those that are not the newest

    def begin(self, chunk: int) -> None:
        """Count a chunk as unfinished, from its first row on. Chunks are numbered from 1."""
        if chunk not in self._tags:
            tag = self._tags[chunk] = self._free_tag()
            self._unfinished[tag] = chunk

    def finish(self, chunk: int, *, in_doubt: bool = False) -> None:
        """Let the people of a chunk go. One that is left ``in_doubt`` stops nobody, and is told to who goes ahead."""
        tag = self._tags.pop(chunk, 0)
        self._unfinished.pop(tag, None)
        self._doubtful.pop(tag, None)
        if in_doubt and tag:
            self._tags[chunk] = tag
            self._doubtful[tag] = chunk

    def _free_tag(self) -> int:
        """Give a tag that no chunk has, and that no entry of the table has."""
        self._last_tag += 1
        while self._last_tag in self._left_out:
            self._last_tag += 1
        if self._last_tag > self._most_tags:
            self._rebuild(0)
            self._last_tag, self._left_out = 0, frozenset(self._tags.values())
            if len(self._left_out) >= self._most_tags:
                raise RuntimeError("too many chunks are unfinished")
            return self._free_tag()
        return self._last_tag

    def enter(self, hashes: Sequence[int], start: int, stop: int, chunk: int, overtaken: set[int]) -> tuple[int, int]:
        """Enter people under the open chunk, in their order, up to the first who is in flight.

        Gives the position of that one and the chunk that holds the person, or ``stop`` and 0. Chunks in doubt whose
        people are entered are added to ``overtaken``.
        """
        if self._used + stop - start > len(self._table) * _FULL:
            self._rebuild(stop - start)
        table, mask, mine, bits = self._table, len(self._table) - 1, self._tags[chunk] << _BITS, self._person
        used = 0
        for position in range(start, stop):
            person = hashes[position] & bits
            slot = person & mask
            while (entry := table[slot]) and entry & bits != person:
                slot = slot + 1 & mask
            if not entry:
                used += 1
            elif holder := self._holder(entry, overtaken):
                self._used += used
                return position, holder
            table[slot] = mine | person
        self._used += used
        return stop, 0

    def holder(self, person_hash: int, chunk: int) -> int:
        """Give the unfinished chunk that holds a person, other than this one; 0 where there is none."""
        person = person_hash & self._person
        for number in self._live_chunks(person, self._table[self._slot(person)]):
            if self._is_unfinished(number) and number != chunk:
                return number
        return 0

    def claim(self, person_hash: int, chunk: int, overtaken: set[int]) -> None:
        """Enter a person under the open chunk who was held before, and whom `holder` has found free."""
        self.enter((person_hash,), 0, 1, chunk, overtaken)

    def enter_recorded(self, chunk: int, hashes: Iterable[int]) -> set[int]:
        """Take in a chunk of an earlier process, and give the unfinished ones before it that share a person with it.

        Chunks are taken in by their numbers.
        """
        people = [person & self._person for person in hashes]
        if self._used + len(people) > len(self._table) * _FULL:
            self._rebuild(len(people))
        self.begin(chunk)
        table, shared, tag = self._table, set[int](), self._tags[chunk]
        for person in people:
            slot = self._slot(person)
            entry = table[slot]
            self._used += not entry
            if entry and entry >> _BITS != tag and (before := self._live_chunks(person, entry)):
                self._others[person] = before
                shared.update(before)
            table[slot] = tag << _BITS | person
        return {number for number in shared if self._is_unfinished(number)}

    def _holder(self, entry: int, overtaken: set[int]) -> int:
        """Give the unfinished chunk that an entry of the table means; add those in doubt to ``overtaken``."""
        newest = entry >> _BITS
        if not self._others:  # the usual case
            if newest in self._doubtful:
                overtaken.add(self._doubtful[newest])
            return self._unfinished.get(newest, 0)
        numbers = self._live_chunks(entry & self._person, entry)
        for number in numbers:
            if self._is_unfinished(number):
                return number
        overtaken.update(numbers)
        return 0

    def _is_unfinished(self, chunk: int) -> bool:
        return self._tags.get(chunk) in self._unfinished

    def _live_chunks(self, person: int, entry: int) -> list[int]:
        """Give the chunks of a person that are not done, the newest first."""
        tag = entry >> _BITS
        newest = self._unfinished.get(tag) or self._doubtful.get(tag, 0)
        others = self._others.get(person, ()) if self._others else ()
        return [number for number in (newest, *others) if number in self._tags]

    def _slot(self, person: int) -> int:
        """Give where a person stands in the table, or would."""
        table, mask, bits = self._table, len(self._table) - 1, self._person
        slot = person & mask
        while (entry := table[slot]) and entry & bits != person:
            slot = slot + 1 & mask
        return slot

    def _rebuild(self, coming: int) -> None:
        """Make the table again, without what is stale, and large enough for those who come."""
        live = array("Q", self._live_entries())
        slots = max(self._least, min(2 * len(self._table), self._usual))
        while (len(live) + coming) * 2 > slots:
            slots *= 2
        del self._table  # a large one is not held twice
        self._table = table = array("Q", [FREE]) * slots
        self._used = len(live)
        mask, bits = slots - 1, self._person
        for entry in live:
            slot = entry & bits & mask
            while table[slot]:
                slot = slot + 1 & mask
            table[slot] = entry
        self._others = {
            person: live_ones
            for person, numbers in self._others.items()
            if (live_ones := [number for number in numbers if number in self._tags])
        }

    def _live_entries(self) -> Iterator[int]:
        """Give the entries that are not stale; of a person whose newest chunk is done, one of the others."""
        live = self._unfinished.keys() | self._doubtful.keys()
        for entry in filter(None, self._table):
            if entry >> _BITS in live:
                yield entry
            elif self._others and (chunks := self._live_chunks(entry & self._person, entry)):
                yield self._tags[chunks[0]] << _BITS | entry & self._person
