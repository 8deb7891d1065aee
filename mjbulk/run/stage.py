"""How far a run has come, and what it waits for."""

import asyncio


class Stage:
    """How far a run has come. Mutable state, all of it; only the run changes it."""

    def __init__(self) -> None:
        """Begin before the beginning."""
        self.awaits = "its journal"
        """What it waits for, as a noun."""
        self.opened = asyncio.Event()
        """Set when its journal has given it, and at the end."""
        self.judged = asyncio.Event()
        """Set when its columns and its first rows were found good, and at the end."""
        self.accepted = False
        """Whether they were found good."""

    def accept(self) -> None:
        """Hear that nothing has refused the source so far."""
        self.accepted = True
        self.judged.set()

    def end(self) -> None:
        """Hear that the run has ended."""
        self.opened.set()
        self.judged.set()
