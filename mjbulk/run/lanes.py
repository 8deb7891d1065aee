"""The lanes of an ingester: rows that go to the same lists, from their encoding to their outcomes.

Each lane has a reader and a pipeline. There is one for the lists of the ingester, and one for each other value of
``lists=`` for as long as rows of it have no outcome. Rows that change the exclusion list have a lane beside that of
their lists: a chunk with such a row must not be repeated after a lost answer, and the rows around it are of others.
"""

from collections.abc import Callable, Iterator
from itertools import chain

from attrs import define, evolve, field

from mjbulk.jobs.watched_job import WatchedJob
from mjbulk.run.context import RunContext
from mjbulk.run.gathered import Gathered
from mjbulk.run.pipeline import Pipeline
from mjbulk.run.reader import Reader
from mjbulk.terms import Action, ListActions, ListRef, RunSpec, list_actions

Key = tuple[frozenset[tuple[ListRef, Action]] | None, bool]
"""Lists with their actions, whose order has no meaning, or None for no list; and whether rows change the exclusion
list.
"""


@define(eq=False)
class Lane:
    """One lane. Mutable: its rows."""

    spec: RunSpec
    reader: Reader
    pipeline: Pipeline
    gathered: Gathered = field(factory=Gathered)
    """Rows that are encoded, and in no chunk."""
    rows: int = 0
    """How many rows have no outcome."""
    last: int = 0
    """The highest number of a row that has gone into a chunk."""
    prepared: bool = False
    """Whether its lists were found."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left in it."""
        return not (self.rows or self.pipeline.unfinished)

    @property
    def uncut(self) -> int:
        """How many rows are in no chunk that was cut."""
        return len(self.gathered) + self.pipeline.held_rows + self.pipeline.open_rows

    @property
    def since(self) -> float:
        """When its oldest row came that is in no chunk. Rows that were held do not linger again."""
        if self.pipeline.open_rows:
            return float("-inf")
        return self.gathered.since if self.gathered else float("inf")


class Lanes:
    """The lanes of one ingester. Mutable state: those that there are."""

    def __init__(self, spec: RunSpec, make: Callable[[RunSpec], Lane], context: RunContext) -> None:
        """Begin with the lane of the ingester's own lists. ``make`` makes a lane of some terms; all share a context."""
        self._spec = spec
        self._make = make
        self._context = context
        self._own_key = _key_of(spec)
        self.own = make(spec)
        self._lanes: dict[Key, Lane] = {self._own_key: self.own}
        self._retired: list[Lane] = []  # no new rows come there

    def __iter__(self) -> Iterator[Lane]:
        return chain(self._lanes.values(), self._retired)

    def __len__(self) -> int:
        """Give how many lanes there are."""
        return len(self._lanes) + len(self._retired)

    def terms(self, lists: ListActions | None) -> RunSpec:
        """Give the terms of rows that go to these lists. Raises UsageError for what can be no lists."""
        spec = evolve(self._spec, lists=list_actions(lists))
        spec.check()
        return spec

    def of(self, spec: RunSpec) -> Lane:
        """Give the lane of these terms: it is made if there is none."""
        if spec is self._spec:
            return self.own
        key = _key_of(spec)
        if key not in self._lanes:
            self._lanes[key] = self._make(spec)
        return self._lanes[key]

    def excluding(self, lane: Lane) -> Lane:
        """Give the lane beside another one: for rows to the same lists that change the exclusion list."""
        key = _key_of(lane.spec, excludes=True)
        if key not in self._lanes:
            made = self._make(lane.spec)
            made.reader, made.prepared = lane.reader, True
            self._lanes[key] = made
        return self._lanes[key]

    def renew(self) -> None:
        """Have new rows go in new lanes: the account is asked again before."""
        self._retired += self._lanes.values()
        self.own = self._make(self._spec)
        self._lanes = {self._own_key: self.own}

    def drop_idle(self) -> None:
        """Forget lanes in which nothing is left."""
        if len(self) > 1:
            for key in [key for key, lane in self._lanes.items() if lane.is_idle and key != self._own_key]:
                del self._lanes[key]
            self._retired = [lane for lane in self._retired if not lane.is_idle]

    # All of them together

    @property
    def uncut(self) -> int:
        """How many rows are in no chunk that was cut."""
        return sum(lane.uncut for lane in self)

    @property
    def begun(self) -> int:
        """How many chunks were begun and have not ended."""
        return sum(lane.pipeline.begun for lane in self)

    @property
    def unfinished(self) -> int:
        """How many chunks were cut and have not ended."""
        return sum(lane.pipeline.unfinished for lane in self)

    @property
    def held_rows(self) -> int:
        """How many rows wait for a job with an earlier row of their person."""
        return sum(lane.pipeline.held_rows for lane in self)

    def jobs(self) -> Iterator[WatchedJob]:
        """Give the jobs under watch."""
        for lane in self:
            yield from lane.pipeline.jobs()

    def statuses(self) -> dict[str, int]:
        """Give how many jobs are in which status."""
        return self._context.statuses_with(word for lane in self for word in lane.pipeline.words())


def _key_of(spec: RunSpec, *, excludes: bool = False) -> Key:
    return None if spec.lists is None else frozenset(spec.lists), excludes
