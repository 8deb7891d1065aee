"""The rows of an ingester, from the call that gives one to its outcome."""

import asyncio
from collections.abc import Iterable
from typing import Any

from attrs import define, field

from mjbulk.outcome import Outcome
from mjbulk.run.lanes import Lane


@define(eq=False)
class TakenRow:
    """A row that was given and has no outcome yet. Mutable: where it is."""

    given: Any = field(repr=False)
    lane: Lane
    judged: "asyncio.Future[None] | None"
    """Is done when it is judged, if a caller waits for that."""
    outcome: "asyncio.Future[Outcome]" = field(repr=False)
    person: int | None = field(default=None, repr=False)
    """A hash of its person, once it is judged."""
    refusal: str = ""
    """Why nothing can be sent to its lists."""
    over: bool = False
    """Whether it has its outcome, or was withdrawn."""

    def move_to(self, lane: Lane) -> None:
        """Have it go in another lane."""
        self.lane.rows -= 1
        lane.rows += 1
        self.lane = lane


class TakenRows(dict[int, TakenRow]):
    """Rows that have no outcome, by their numbers. Mutable: it counts, too."""

    def __init__(self) -> None:
        """Begin without a row."""
        super().__init__()
        self._last = 0

    def add(self, row: TakenRow) -> int:
        """Add a row, and give its number: the next one."""
        self._last += 1
        self[self._last] = row
        return self._last

    def renumber(self, numbers: Iterable[int]) -> list[int]:
        """Give rows the next numbers instead of theirs."""
        return [self.add(self.pop(number)) for number in numbers]
