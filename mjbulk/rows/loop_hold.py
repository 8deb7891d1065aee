"""How long a source holds the event loop, and the warning that names one that does so for too long."""

import asyncio
import logging
from typing import Any

_LIMIT = 0.1
"""Seconds after which a source is named."""
BREATH = 0.02
"""Seconds after which others may run before more rows are read."""
_log = logging.getLogger("mjbulk")


class LoopHold:
    """Measures for how long a source is read while nothing else can run. Where an async source awaits, that ends.

    Mutable state: since when, whether the loop has run since, and whether the source was named.
    """

    def __init__(self, rows: Any, advice: str) -> None:
        """Measure nothing yet. ``advice`` says what helps."""
        self._loop = asyncio.get_running_loop()
        self._rows = f"{type(rows).__module__}.{type(rows).__qualname__}".removeprefix("builtins.")
        self._advice = advice
        self._since = 0.0
        self._pass: asyncio.Handle | None = None
        self._named = False

    def begin(self) -> None:
        """Begin to measure."""
        self._since = self._loop.time()
        if self._pass is None:
            self._pass = self._loop.call_soon(self._loop_runs)

    def check(self) -> bool:
        """Say whether others should run before more is read. Warns, once, if they had to wait for long."""
        if self._pass is None:
            return False
        seconds = self._loop.time() - self._since
        if seconds >= _LIMIT and not self._named:
            self._named = True
            _log.warning("the source (%s) held the event loop for %.2f s: %s", self._rows, seconds, self._advice)
        return seconds >= BREATH

    def _loop_runs(self) -> None:
        self._pass = None
