"""Runs of one API key begin one after the other, one in each turn of the event loop.

A hundred runs that begin at once would all take their first step, then all their second one: the first request would
leave when the hundredth run is ready too. So it leaves while the others begin. No run waits for what another run waits
for, such as a slow source.
"""

import asyncio
from collections import deque


class Starts:
    """Lets runs begin. Mutable state: those that wait."""

    def __init__(self) -> None:
        """Begin without any."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Wait until it is this run's turn."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            loop.call_soon(self._next, loop)
        await turn

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        turn = self._waiting.popleft()
        if not turn.done():
            turn.set_result(None)
        if self._waiting:
            loop.call_soon(self._next, loop)
