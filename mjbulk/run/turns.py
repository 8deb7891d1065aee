"""Whose turn it is: rows of one person go in the order in which they came, also where they go to different lists.

Rows of one lane that are in no chunk go together, and are merged there. A row of a person who has rows in a chunk, or
in another lane, waits here until these have their outcomes, and all later rows of the person behind it. Here it can be
withdrawn: the chunker, which could hold it as well, merges what it holds.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from attrs import define, field

from mjbulk.run.gathered import rows_at
from mjbulk.run.lanes import Lane
from mjbulk.run.reader import EncodedRows


@define(eq=False)
class _Place:
    """Where a person is. Mutable: how many rows of the person have no outcome there, and what waits for them."""

    lane: Lane
    rows: int = 1
    feed: int = 0
    """Which feed has given rows of the person to a chunk; 0 for none."""
    returned: int = 0
    """How many of those that wait came back from a feed: they came before the others."""
    waiting: "deque[tuple[Lane, EncodedRows]] | None" = field(default=None, repr=False)


class Turns:
    """Where people are. Mutable state: the place of each person who has a row without an outcome, by a hash."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self.waiting = 0
        """How many rows wait for others of their person."""
        self._places: dict[int, _Place] = {}
        self._over: deque[int] = deque()  # people whose waiting rows may go

    @property
    def any_free(self) -> bool:
        """Whether rows that have waited may go now."""
        return bool(self._over)

    def enter(self, lane: Lane, rows: EncodedRows, people: Sequence[int]) -> EncodedRows | None:
        """Take rows of a lane, with the hashes of their people, and give those that may go now."""
        late: list[int] = []
        places = self._places
        for at, person in enumerate(people):
            place = places.get(person)
            if place is None:
                places[person] = _Place(lane)
            elif place.lane is lane and place.waiting is None and not place.feed:
                place.rows += 1
            else:
                place.waiting = place.waiting or deque()
                place.waiting.append((lane, rows_at(rows, [at])))
                late.append(at)
        return self._without(rows, late)

    def feed(self, rows: EncodedRows, people: Sequence[int], lane: Lane, feed: int) -> EncodedRows | None:
        """Hear that rows are given to a chunk, and give those that may go: of a person who was in an earlier feed of
        the lane they wait, before those that wait already.
        """
        late: list[int] = []
        for at, person in enumerate(people):
            place = self._places[person]
            if place.feed in (0, feed):
                place.feed = feed
            else:
                late.append(at)
                place.rows -= 1
                place.waiting = place.waiting or deque()
                place.waiting.insert(place.returned, (lane, rows_at(rows, [at])))
                place.returned += 1
        return self._without(rows, late)

    def _without(self, rows: EncodedRows, late: Sequence[int]) -> EncodedRows | None:
        """Leave out rows that wait."""
        if not late:
            return rows
        self.waiting += len(late)
        waits = set(late)
        left = [at for at in range(len(rows.numbers)) if at not in waits]
        return rows_at(rows, left) if left else None

    def end(self) -> None:
        """Forget all places: no row goes any more."""
        self._places.clear()
        self._over.clear()
        self.waiting = 0

    def leave(self, person: int) -> bool:
        """Hear that a row has its outcome, or was withdrawn, and say whether others of its person may go now."""
        place = self._places.get(person)
        if place is None:  # it is over
            return False
        place.rows -= 1
        if place.rows:
            return False
        if not place.waiting:
            del self._places[person]
            return False
        self._over.append(person)
        return True

    def release(self) -> Iterator[tuple[Lane, EncodedRows]]:
        """Give the rows that may go now. Rows that were entered meanwhile have waited behind them."""
        while self._over:
            person = self._over.popleft()
            waiting = self._places[person].waiting or deque()
            lane, free = waiting[0][0], []
            while waiting and waiting[0][0] is lane:
                free.append(waiting.popleft())
            self.waiting -= len(free)
            self._places[person] = _Place(lane, len(free), waiting=waiting or None)
            yield from free
