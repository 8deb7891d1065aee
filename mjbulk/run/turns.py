"""Whose turn it is: rows of one person go in the order in which they came, also where they go to different lists.

One row of each person is *first*: it is gathered, and then in a chunk. All later ones wait here, where they can be
withdrawn: the chunker, which could hold them as well, merges what it holds. Those to the same lists go into the chunk
together with the first one, and are merged there; the others go when all of these have their outcomes.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence

from attrs import define, field

from mjbulk.run.lanes import Lane
from mjbulk.run.reader import EncodedRows

_TOGETHER = 1000
"""Parts of rows that go into a chunk with the first row of their person, so that the event loop is not kept."""


@define(eq=False)
class _Place:
    """Where a person is. Mutable: how many rows of the person are gathered or in a chunk, and what waits for them."""

    lane: Lane
    rows: int = 1
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
        """Take rows of a lane, with the hashes of their people, and give those that are the first ones."""
        first: list[int] = []
        later: dict[int, list[int]] = defaultdict(list)
        for at, person in enumerate(people):
            if person in self._places:
                later[person].append(at)
            else:
                self._places[person] = _Place(lane)
                first.append(at)
        if not later:
            return rows
        for person, positions in later.items():
            place = self._places[person]
            place.waiting = place.waiting or deque()
            place.waiting.append((lane, rows.at(positions)))
        self.waiting += len(people) - len(first)
        return rows.at(first) if first else None

    def feed(self, people: Sequence[int]) -> Iterator[EncodedRows]:
        """Hear that the first rows of people are given to a chunk, and give those that go there behind them."""
        for place in map(self._places.__getitem__, people):
            left = _TOGETHER
            while place.waiting and place.waiting[0][0] is place.lane and left:
                _, rows = place.waiting.popleft()
                place.rows += len(rows.numbers)
                self.waiting -= len(rows.numbers)
                left -= 1
                yield rows

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
        """Give rows that are the first ones now. Rows that were entered meanwhile wait behind them."""
        while self._over:
            person = self._over.popleft()
            waiting = self._places[person].waiting or deque()
            lane, rows = waiting.popleft()
            if len(rows.numbers) > 1:
                waiting.appendleft((lane, rows.at(range(1, len(rows.numbers)))))
            self.waiting -= 1
            self._places[person] = _Place(lane, waiting=waiting or None)
            yield lane, rows.at([0])
