"""How many unfinished jobs and rows an API key may have at Mailjet."""

import asyncio
from collections import deque
from contextlib import suppress


class JobSlots:
    """Bounds the unfinished jobs and rows of one API key.

    Each run asks for one chunk at a time, and who asked first goes first: so runs take turns, and a small import waits
    for one job to end, not for the large one before it. Mutable state: what is held, and the queue.
    """

    def __init__(self, max_jobs: int, max_rows: int) -> None:
        """Set the bounds. A chunk that is larger than ``max_rows`` goes alone."""
        self._max_jobs = max_jobs
        self._max_rows = max_rows
        self._jobs = 0
        self._rows = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def acquire(self, rows: int) -> None:
        """Wait until a job with so many rows may be started."""
        if not self._queue and self._fits(rows):
            self._take(rows)
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append((rows, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(rows)
            else:
                with suppress(ValueError):
                    self._queue.remove((rows, turn))
                self._wake()
            raise

    def release(self, rows: int) -> None:
        """Give back a job with so many rows."""
        self._jobs -= 1
        self._rows -= rows
        self._wake()

    def _fits(self, rows: int) -> bool:
        return self._jobs == 0 or (self._jobs < self._max_jobs and self._rows + rows <= self._max_rows)

    def _take(self, rows: int) -> None:
        self._jobs += 1
        self._rows += rows

    def _wake(self) -> None:
        while self._queue and self._fits(self._queue[0][0]):
            rows, turn = self._queue.popleft()
            if not turn.done():
                self._take(rows)
                turn.set_result(None)
