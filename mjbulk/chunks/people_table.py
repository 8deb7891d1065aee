"""People in flight, where they are many: each costs few bytes, for a million may be in flight at once.

A table with open addressing of 64-bit entries. Each holds a tag for the newest chunk with a person, and 40 bits of the
person's hash. That is enough: two people with the same 40 bits make a row wait needlessly, and never let it leave too
early. A chunk that is done is only forgotten: what it left in the table is stale, and is swept out when the table is
next made larger. The table has parts that are swept one by one: all at once would stop the event loop for 0.8 s where a
million people are in flight, and a part for 10 ms.

A run may have any number of chunks, and a tag has 24 bits. So tags are used again, in rounds: when a round ends, stale
entries are swept out, and the next round leaves out the tags of chunks that are not done.

Only chunks that were begun elsewhere can share a person: in an earlier process (whose engine let them wait for each
other, or one was left in doubt), or where the whole hash told two people apart. The table knows the newest of those; a
small dict knows the others.
"""

from array import array
from collections.abc import Iterable, Sequence

_BITS = 40
_TAGS = (1 << 64 - _BITS) - 1
FREE = 0
_PARTS = 64
_OF_PARTS = _PARTS.bit_length() - 1
"""The bits of a hash that name its part."""
_USUAL = 1 << 11
"""Slots to which a part grows whatever is stale: so it is seldom rebuilt."""
_FULL = [0.7 + 0.1 * part / _PARTS for part in range(_PARTS)]
"""How full a part may get before it is rebuilt: they are not all rebuilt at once."""


class PeopleTable:
    """The people of the open chunk and of all unfinished chunks of a run: see `PeopleInFlight`.

    Mutable state: the table, which of its chunks are unfinished or were left in doubt, and the round of tags.
    """

    def __init__(self, slots: int = 1 << 5, bits: int = _BITS, tags: int = _TAGS, *, usual: int = _USUAL) -> None:
        """Begin with nobody. ``slots`` is the first size of a part, a power of two; ``bits`` of a hash (at most 40) are
        kept; chunks have one of that many ``tags``. A part grows to its ``usual`` size, stale entries or not.
        """
        self._least = slots
        self._usual = usual
        self._person = (1 << bits) - 1
        self._parts = [array("Q", [FREE]) * slots for _ in range(_PARTS)]
        self._room = [int(slots * full) for full in _FULL]  # how many more a part takes before it is rebuilt
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
            for part in range(_PARTS):
                self._rebuild(part)
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
        parts, room, mine, bits = self._parts, self._room, self._tags[chunk] << _BITS, self._person
        last, shift = _PARTS - 1, _OF_PARTS
        for position in range(start, stop):
            person = hashes[position] & bits
            part = person & last
            table = parts[part]
            mask = len(table) - 1
            slot = person >> shift & mask
            while (entry := table[slot]) and entry & bits != person:
                slot = slot + 1 & mask
            if not entry:
                if not room[part]:
                    table, slot = self._free_place(person)
                else:
                    room[part] -= 1
            elif holder := self._holder(entry, overtaken):
                return position, holder
            table[slot] = mine | person
        return stop, 0

    def holder(self, person_hash: int, chunk: int) -> int:
        """Give the unfinished chunk that holds a person, other than this one; 0 where there is none."""
        person = person_hash & self._person
        table, slot = self._place(person)
        for number in self._live_chunks(person, table[slot]):
            if self._is_unfinished(number) and number != chunk:
                return number
        return 0

    def claim(self, person_hash: int, chunk: int, overtaken: set[int]) -> None:
        """Enter a person under the open chunk who was held before, and whom `holder` has found free."""
        self.enter((person_hash,), 0, 1, chunk, overtaken)

    def enter_recorded(self, chunk: int, hashes: Iterable[int]) -> set[int]:
        """Take in a chunk that was begun elsewhere, and give the unfinished ones that share a person with it."""
        self.begin(chunk)
        shared, tag = set[int](), self._tags[chunk]
        for person_hash in hashes:
            person = person_hash & self._person
            table, slot = self._place(person)
            entry = table[slot]
            if entry and entry >> _BITS != tag and (before := self._live_chunks(person, entry)):
                self._others[person] = before
                shared.update(before)
            if not entry:
                table, slot = self._free_place(person)
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

    def _place(self, person: int) -> "tuple[array[int], int]":
        """Give the part and the slot where a person stands, or would."""
        table, bits = self._parts[person % _PARTS], self._person
        mask = len(table) - 1
        slot = person >> _OF_PARTS & mask
        while (entry := table[slot]) and entry & bits != person:
            slot = slot + 1 & mask
        return table, slot

    def _free_place(self, person: int) -> "tuple[array[int], int]":
        """Give the part and the slot where a person is entered who is not in the table."""
        part = person % _PARTS
        if not self._room[part]:
            self._rebuild(part)
        self._room[part] -= 1
        return self._place(person)

    def _rebuild(self, part: int) -> None:
        """Make a part again, without what is stale, and large enough for more."""
        live = self._live_entries(self._parts[part])
        slots = max(self._least, min(2 * len(self._parts[part]), self._usual))
        while (len(live) + 1) * 2 > slots:
            slots *= 2
        self._parts[part] = table = array("Q", [FREE]) * slots
        self._room[part] = int(slots * _FULL[part]) - len(live)
        mask, bits = slots - 1, self._person
        for entry in live:
            slot = (entry & bits) >> _OF_PARTS & mask
            while table[slot]:
                slot = slot + 1 & mask
            table[slot] = entry
        if not part:  # once in a while is enough
            self._others = {
                person: live_ones
                for person, numbers in self._others.items()
                if (live_ones := [number for number in numbers if number in self._tags])
            }

    def _live_entries(self, table: "array[int]") -> list[int]:
        """Give the entries that are not stale; of a person whose newest chunk is done, one of the others."""
        live, bits = self._unfinished.keys() | self._doubtful.keys(), self._person
        found = [entry for entry in table if entry >> _BITS in live]
        if self._others:
            stale = [entry & bits for entry in table if entry and entry >> _BITS not in live]
            chunks = ((person, self._live_chunks(person, FREE)) for person in stale)
            found += [self._tags[numbers[0]] << _BITS | person for person, numbers in chunks if numbers]
        return found
