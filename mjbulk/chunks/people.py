"""People in flight: which unfinished chunk has an earlier row of a person.

A row is looked up when it arrives. A person who is in no unfinished chunk is entered under the open chunk (the one that
is being filled) by the same look-up; a person who is in one is told apart by its number. So nobody is ever in two
unfinished chunks.

People are few where jobs end as fast as rows come: then what a look-up takes counts, and a dict takes a third of the
time of a table that Python searches. They are many where jobs last, and then memory counts: see `PeopleTable`. The dict
is moved to the table little by little, for all at once would stop the event loop for a quarter of a second.
"""

from array import array
from collections import deque
from collections.abc import Iterable, Sequence

from mjbulk.chunks.people_table import FREE, PeopleTable

_FEW = 170_000
"""People whom a dict holds, at most: with 70 bytes for each, that is 12 MB."""
_MOVED = 1000
"""People who are moved from the dict to the table when others are entered, at least."""


class PeopleInFlight:
    """The people of the open chunk and of all unfinished chunks of a run.

    Mutable state: who is in which chunk, which chunks were left in doubt, whether rows come of people who are in
    flight; and the table, once people were many: then the others are those of chunks that were not moved yet.
    """

    def __init__(self, few: int = _FEW, moved: int = _MOVED) -> None:
        """Begin with nobody. At more than a ``few`` people there is a table; ``moved`` go there at once, at least."""
        self._few = few
        self._moved = moved
        self._chunk_of: dict[int, int] = {}
        self._people_of: dict[int, list[int]] = {}
        self._doubtful: set[int] = set()
        self._recurring = False
        self._table: PeopleTable | None = None

    def begin(self, chunk: int) -> None:
        """Count a chunk as unfinished, from its first row on. Chunks are numbered from 1."""
        if self._table is not None:
            self._table.begin(chunk)
        else:
            self._people_of.setdefault(chunk, [])

    def finish(self, chunk: int, *, in_doubt: bool = False) -> None:
        """Let the people of a chunk go. One that is left ``in_doubt`` stops nobody, and is told to who goes ahead."""
        if self._table is not None:
            self._table.finish(chunk, in_doubt=in_doubt)
        if chunk in self._people_of:
            self._finish(chunk, in_doubt=in_doubt)

    def _finish(self, chunk: int, *, in_doubt: bool) -> None:
        if in_doubt:
            self._doubtful.add(chunk)
            return
        people = self._people_of.pop(chunk)
        if chunk in self._doubtful:
            self._doubtful.remove(chunk)
            people = [person for person in people if self._chunk_of.get(person) == chunk]
        deque(map(self._chunk_of.pop, people), maxlen=0)

    def enter(self, hashes: Sequence[int], start: int, stop: int, chunk: int, overtaken: set[int]) -> tuple[int, int]:
        """Enter people under the open chunk, in their order, up to the first who is in flight.

        Gives the position of that one and the chunk that holds the person, or ``stop`` and 0. Chunks in doubt whose
        people are entered are added to ``overtaken``.
        """
        if self._table is None and len(self._chunk_of) + stop - start > self._few:
            self._table = PeopleTable()
        if self._table is not None and not self._people_of:
            return self._table.enter(hashes, start, stop, chunk, overtaken)
        some = hashes[start:stop]
        if self._table is not None:
            position, holder = self._enter_many(self._table, some, chunk, overtaken)
            return start + position, holder
        if not self._recurring:
            new = dict.fromkeys(some, chunk)
            if len(new) == len(some) and self._chunk_of.keys().isdisjoint(new):
                self._chunk_of.update(new)
                self._people_of[chunk] += some
                return stop, 0
        position, holder = self._enter_one_by_one(some, chunk, overtaken)
        self._recurring = holder != 0
        return start + position, holder

    def _enter_many(
        self, table: PeopleTable, people: Sequence[int], chunk: int, overtaken: set[int]
    ) -> tuple[int, int]:
        """Enter people into the table, and move others there."""
        self._move(table, max(self._moved, 2 * len(people)))
        table.begin(chunk)
        if self._chunk_of.keys().isdisjoint(people):
            return table.enter(people, 0, len(people), chunk, overtaken)
        for position, person in enumerate(people):
            holder = self._chunk_of.get(person, 0)
            if holder in self._doubtful:
                overtaken.add(holder)
            elif holder:
                return position, holder
            _, holder = table.enter(people, position, position + 1, chunk, overtaken)
            if holder:
                return position, holder
        return len(people), 0

    def _move(self, table: PeopleTable, count: int) -> None:
        """Move some people of a chunk, at most ``count``, to the table."""
        chunk, people = next(iter(self._people_of.items()))
        some = [person for person in people[-count:] if self._chunk_of.get(person) == chunk]
        table.enter_recorded(chunk, some)  # also those who have the same bits as others
        if chunk in self._doubtful:
            table.finish(chunk, in_doubt=True)
        deque(map(self._chunk_of.pop, some), maxlen=0)
        del people[-count:]
        if not people:
            self._doubtful.discard(chunk)
            del self._people_of[chunk]

    def _enter_one_by_one(self, people: Sequence[int], chunk: int, overtaken: set[int]) -> tuple[int, int]:
        chunk_of, mine = self._chunk_of, self._people_of[chunk]
        for position, person in enumerate(people):
            holder = chunk_of.get(person, 0)
            if holder in self._doubtful:
                overtaken.add(holder)
            elif holder:
                return position, holder
            chunk_of[person] = chunk
            mine.append(person)
        return len(people), 0

    def holder(self, person_hash: int, chunk: int) -> int:
        """Give the unfinished chunk that holds a person, other than this one; 0 where there is none."""
        holder = self._chunk_of.get(person_hash, 0)
        if holder and holder != chunk and holder not in self._doubtful:
            return holder
        return 0 if self._table is None else self._table.holder(person_hash, chunk)

    def claim(self, person_hash: int, chunk: int, overtaken: set[int]) -> None:
        """Enter a person under the open chunk who was held before, and whom `holder` has found free."""
        self.enter((person_hash,), 0, 1, chunk, overtaken)

    def enter_recorded(self, chunk: int, hashes: Iterable[int]) -> set[int]:
        """Take in a chunk of an earlier process, and give the unfinished ones before it that share a person with it.

        Chunks are taken in by their numbers.
        """
        if self._table is None:
            self._table = PeopleTable()
        while self._people_of:
            self._move(self._table, self._few)
        return self._table.enter_recorded(chunk, hashes)


class PeopleCount:
    """Counts people, and the rows of those who come again, with about 20 bytes for each.

    Mutable state: a table with open addressing. An entry is 63 bits of a person's hash, and a bit that tells whether
    the person has come again.
    """

    def __init__(self) -> None:
        """Begin with nobody."""
        self.recurring = 0
        """Rows of people who have come more than once."""
        self._count = 0
        self._table: array[int] = array("Q", [FREE]) * (1 << 12)

    def __len__(self) -> int:
        """Give how many people there are."""
        return self._count

    def add(self, keys: Iterable[str]) -> None:
        """Count rows by the keys of their people."""
        for key in keys:
            person = (hash(key) << 1 & 2**64 - 2) or 2
            table, mask = self._table, len(self._table) - 1
            slot = person >> 1 & mask
            while (entry := table[slot]) and entry & ~1 != person:
                slot = slot + 1 & mask
            if not entry:
                table[slot] = person
                self._count += 1
                if self._count * 2 > len(table):
                    self._grow()
            else:
                self.recurring += 1 if entry & 1 else 2
                table[slot] = entry | 1

    def _grow(self) -> None:
        old = self._table
        self._table = table = array("Q", [FREE]) * (len(old) * 2)
        mask = len(table) - 1
        for entry in filter(None, old):
            slot = entry >> 1 & mask
            while table[slot]:
                slot = slot + 1 & mask
            table[slot] = entry
