"""How many unfinished jobs and rows an API key may have at Mailjet."""

import asyncio
from collections import deque


class JobSlots:
    """Bounds the unfinished jobs of one API key, and their rows.

    Each run asks for one chunk at a time, and requests are served in order. So runs take turns: a small import waits
    for one job to end, not for a large import to end. Mutable state: the jobs and rows that are held, and the queue.
    """

    def __init__(self, max_jobs: int, max_rows: int) -> None:
        """Set the bounds. A chunk with more than ``max_rows`` rows goes when no other job is held."""
        self._max_jobs = max_jobs
        self._max_rows = max_rows
        self._jobs = 0
        self._rows = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    def ask(self, rows: int) -> asyncio.Future[None]:
        """Ask for the slot of a job with ``rows`` rows. The future is done when the slot is held; cancelling it before
        that takes the request back.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._queue and self._fits(rows):
            self._take(rows)
            turn.set_result(None)
        else:
            self._queue.append((rows, turn))
            turn.add_done_callback(self._taken_back)
        return turn

    async def acquire(self, rows: int) -> None:
        """Wait until a job with ``rows`` rows may start, and hold its slot."""
        turn = self.ask(rows)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the slot came in the same moment
                self.release(rows)
            raise

    def hold(self, rows: int) -> None:
        """Hold the slot of a job that is at Mailjet already, whether there is room or not."""
        self._take(rows)

    def _taken_back(self, turn: asyncio.Future[None]) -> None:
        if turn.cancelled():
            self._wake()

    def release(self, rows: int) -> None:
        """Give back the slot of a job with ``rows`` rows."""
        self._jobs -= 1
        self._rows -= rows
        self._wake()

    def _fits(self, rows: int) -> bool:
        return self._jobs == 0 or (self._jobs < self._max_jobs and self._rows + rows <= self._max_rows)

    def _take(self, rows: int) -> None:
        self._jobs += 1
        self._rows += rows

    def _wake(self) -> None:
        """Give slots to the front of the queue, as far as they fit."""
        while self._queue and (self._queue[0][1].done() or self._fits(self._queue[0][0])):
            rows, turn = self._queue.popleft()
            if not turn.done():
                self._take(rows)
                turn.set_result(None)
