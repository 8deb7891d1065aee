"""The future of one outcome, which tells whether anybody has looked at it."""

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, Self

from mjbulk.outcome import Outcome


class Unseen:
    """Counts outcomes that were not ok, and at which no caller has looked. Mutable state: how many since `take`."""

    def __init__(self) -> None:
        """Begin with none."""
        self._rows = 0

    def add(self) -> None:
        """Count one. It may be called in any thread: by whatever collects garbage there."""
        self._rows += 1

    def take(self) -> int:
        """Give how many there are, and begin again."""
        rows, self._rows = self._rows, 0
        return rows


class OutcomeFuture(asyncio.Future[Outcome]):
    """The future of one outcome. Mutable state: whether somebody waits for it, or has read it.

    An outcome is counted when its future is dropped: until then somebody may still look at it.
    """

    def __init__(self, unseen: Unseen, loop: asyncio.AbstractEventLoop) -> None:
        """Begin without an outcome."""
        super().__init__(loop=loop)
        self._unseen = unseen
        self._seen = False

    def __await__(self) -> Generator[Any, None, Outcome]:
        self._seen = True
        return super().__await__()

    __iter__ = __await__

    def add_done_callback(self, fn: Callable[[Self], object], /, *, context: Context | None = None) -> None:
        """Have a function called with this future when it is done."""
        self._seen = True
        super().add_done_callback(fn, context=context)

    def result(self) -> Outcome:
        """Give the outcome."""
        self._seen = True
        return super().result()

    def exception(self) -> BaseException | None:
        """Give None: an outcome is never an exception."""
        self._seen = True
        return super().exception()

    @property
    def is_refused(self) -> bool:
        """Whether the row was rejected, or not sent. This does not count as a look."""
        return self.done() and not self.cancelled() and super().result().state in ("rejected", "not_sent")

    def __del__(self) -> None:
        if not self._seen and self.done() and not self.cancelled() and not super().result().ok:
            self._unseen.add()
