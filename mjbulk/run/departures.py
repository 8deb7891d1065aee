"""When chunks of an ingester leave, and which rows they take.

A chunk leaves when it is full, or ``linger`` seconds after its oldest row, and while fewer than ``max_chunks`` of all
lanes together are unfinished (Nagle's rule): as many rows as it has room for go through the chunker then, and it is
cut.
"""

import asyncio
from collections.abc import Callable

from attrs import evolve

from mjbulk.config import JSON_ROWS
from mjbulk.run.context import RunContext
from mjbulk.run.lanes import Lane, Lanes
from mjbulk.run.reader import EncodedRows
from mjbulk.run.taken_row import TakenRows
from mjbulk.run.turns import Turns


class Departures:
    """Has the chunks of all lanes leave."""

    def __init__(
        self,
        context: RunContext,
        lanes: Lanes,
        rows: TakenRows,
        turns: Turns,
        withdraw: Callable[[int], object],
        *,
        linger: float,
        max_chunks: int,
    ) -> None:
        """Share the state of an ingester. ``withdraw`` is called with the number of a row that was cancelled."""
        self._context = context
        self._lanes = lanes
        self._rows = rows
        self._turns = turns
        self._withdraw = withdraw
        self._linger = linger
        self._max_chunks = max_chunks
        self._most = context.engine.settings.chunk_rows or JSON_ROWS
        self._loop = asyncio.get_running_loop()

    def leave(self, *, lingering: bool) -> None:
        """Have chunks leave that may leave: also those that are not full and have not lingered, unless ``lingering``.

        Raises what keeps chunks from being made: OSError on a full disk, for example.
        """
        for lane in self._lanes:
            lane.pipeline.advance()
        while self._may_cut() and (due := self._next_due(self._loop.time() if lingering else float("inf"))) is not None:
            self._feed(due)
            if self._may_cut():
                due.pipeline.cut()

    @property
    def next(self) -> float | None:
        """When the next chunk has lingered, in seconds of the loop's clock; None if none may leave."""
        since = min((lane.gathered.since for lane in self._lanes if lane.gathered), default=None)
        return None if since is None or not self._may_cut() else since + self._linger

    def _may_cut(self) -> bool:
        return not self._context.stopping and self._lanes.unfinished < self._max_chunks

    def _next_due(self, now: float) -> Lane | None:
        """Give the lane of the chunk that leaves next: a chunk that is full, or whose oldest row has lingered."""
        return min((lane for lane in self._lanes if self._is_due(lane, now)), key=lambda lane: lane.since, default=None)

    def _is_due(self, lane: Lane, now: float) -> bool:
        if not lane.gathered:
            return lane.pipeline.open_rows > 0
        return len(lane.gathered) >= self._most or now >= lane.since + self._linger

    def _feed(self, lane: Lane) -> None:
        """Put as many rows through the chunker as a chunk has room for, and those that go with them."""
        opened = lane.pipeline.open_rows
        size = self._context.learned.next / (2 if opened else 1)
        for some in lane.gathered.take(self._most - opened, size):
            if first := self._without_withdrawn(some):
                later = list(self._turns.feed([self._rows[number].person or 0 for number in first.numbers]))
                self._add(lane, first)
                for rows in filter(None, map(self._without_withdrawn, later)):
                    self._add(lane, rows)

    def _add(self, lane: Lane, rows: EncodedRows) -> None:
        """Give rows to the chunker: with new numbers, if they go after later ones of the lane."""
        if rows.numbers[0] < lane.last:
            rows = evolve(rows, numbers=self._rows.renumber(rows.numbers))
        lane.last = rows.numbers[-1]
        lane.pipeline.add(rows, lane.reader.rules, lane.reader.sender)

    def _without_withdrawn(self, rows: EncodedRows) -> EncodedRows | None:
        """Leave out rows whose futures were cancelled: they are in no chunk yet."""
        withdrawn = {number for number in rows.numbers if self._rows[number].outcome.cancelled()}
        if not withdrawn:
            return rows
        kept = [at for at, number in enumerate(rows.numbers) if number not in withdrawn]
        for number in withdrawn:
            self._withdraw(number)
        return rows.at(kept) if kept else None
