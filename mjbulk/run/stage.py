"""How far a run has come, and what it waits for."""

import asyncio

from mjbulk.rows.sources import Source

ROOM = "room for more chunks"
_STILL = 1.0
"""Seconds in which nothing happens, until it is said why."""


class Stage:
    """How far a run has come. Mutable state, all of it; only the run changes it."""

    def __init__(self) -> None:
        """Begin before the beginning."""
        self._moved_at = asyncio.get_running_loop().time()
        self.awaits = "its journal"
        """What it waits for, as a noun."""
        self.opened = asyncio.Event()
        """Set when its journal has given it, and at the end."""
        self.judged = asyncio.Event()
        """Set when its columns and its first rows were found good, and at the end."""
        self.accepted = False
        """Whether they were found good."""
        self.source: Source | None = None
        """What is read; None before it is, and if nothing is."""
        self.whole = False
        """Whether it was read to its end."""

    @property
    def share_read(self) -> float | None:
        """The share of its file that was read, from 0 to 1; None if that is not known."""
        if self.whole:
            return 1.0
        return self.source.share if self.source is not None else None

    def accept(self) -> None:
        """Hear that nothing has refused the source so far."""
        self.accepted = True
        self.judged.set()

    def move(self) -> None:
        """Hear that something has happened."""
        self._moved_at = asyncio.get_running_loop().time()

    def why_nothing_moves(self, trouble: str | None, room: str | None) -> str | None:
        """Say why nothing has happened for a while; None if something has.

        ``trouble`` is what keeps requests from going through, ``room`` is what room for more chunks waits for.
        """
        if asyncio.get_running_loop().time() - self._moved_at < _STILL:
            return None
        if trouble is not None:
            return f"requests wait: {trouble}"
        return f"it waits for {room if room and self.awaits == ROOM else self.awaits}"

    def end(self) -> None:
        """Hear that the run has ended."""
        self.opened.set()
        self.judged.set()
