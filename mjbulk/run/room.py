"""Room for rows: callers wait for it in the order of their calls."""

import asyncio
from collections.abc import Callable


class Room:
    """Room for rows. Mutable state: the callers that wait, and how many were let in and have not come yet."""

    def __init__(self, has_room: Callable[[int], bool]) -> None:
        """Begin with no caller. ``has_room`` says whether there is room beside as many rows as were let in."""
        self._has_room = has_room
        self._waiting: dict[asyncio.Future[None], None] = {}  # in the order of their calls
        self._let_in = 0

    @property
    def is_free(self) -> bool:
        """Whether there is room for one row now, and nobody waits for it."""
        return not self._waiting and self._has_room(self._let_in)

    async def enter(self) -> None:
        """Wait until there is room for one row."""
        if self.is_free:
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        try:
            await turn
        except asyncio.CancelledError:
            self._waiting.pop(turn, None)
            if turn.done() and not turn.cancelled():
                self._let_in -= 1
                self.let_in()
            raise
        self._let_in -= 1

    def let_in(self) -> None:
        """Let as many callers in as there is room for."""
        while self._waiting and self._has_room(self._let_in):
            turn = next(iter(self._waiting))
            del self._waiting[turn]
            if not turn.done():
                self._let_in += 1
                turn.set_result(None)
