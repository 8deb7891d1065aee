"""An event loop with a virtual clock, so that a test that waits for a day takes a moment."""

import asyncio
import os
import selectors
import time
from typing import Any

from mjbulk.public import public


@public
class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when nothing else can run.

    For pytest-asyncio (1.4 or newer) this in ``conftest.py`` gives every async test such a loop::

        from mjbulk.testing import VirtualClockLoop


        def pytest_asyncio_loop_factories(config, item):
            return {"virtual": VirtualClockLoop}

    Without pytest: ``asyncio.Runner(loop_factory=VirtualClockLoop)``.

    Virtual is what the loop's clock measures: ``asyncio.sleep``, timeouts, ``call_later``, all waits and timeouts of
    mjbulk, and the jobs of an `Emulator` that is started in the same loop. ``loop.time()`` begins at 0. Real are
    sockets, threads, processes and the clocks of ``time`` and ``datetime``. While ``run_in_executor`` or
    ``asyncio.to_thread`` works, the loop waits for it and no virtual time passes.

    Limits: the loop cannot know what goes on outside of it. When it waits for another process, or for a thread that
    it did not start, and a timer is set, the timer comes first: a timeout ends at once. So start an `Emulator` in the
    loop; the fixture ``mailjet`` and `serve_in_thread` have a thread with the real clock. Sockets of the loop's own
    need no such care, but on a busy machine the kernel may be late with their bytes, and a timer may come first.
    """

    def __init__(self, max_real_wait: float = 5.0) -> None:
        """Make a loop that waits for at most ``max_real_wait`` real seconds when no timer is set.

        If nothing happens in that time and no thread works, nothing can happen any more: the loop raises RuntimeError.
        """
        self._clock = _Clock(max_real_wait)
        super().__init__(self._clock)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Give the virtual time, in seconds since the loop was made."""
        return self._clock.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]  # as loose as it gets
        """Run a function in a thread; until it ends no virtual time passes."""
        future = super().run_in_executor(executor, func, *args)
        self._clock.threads.add(future)
        future.add_done_callback(self._clock.threads.discard)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002  # see below
        """Join the threads without the time limit of newer Pythons: it would be over at once in virtual time."""
        await super().shutdown_default_executor()


class _Clock(selectors.DefaultSelector):
    """A selector that moves the virtual time instead of waiting for a timer."""

    def __init__(self, max_real_wait: float) -> None:
        super().__init__()
        self.now = 0.0
        self.threads: set[asyncio.Future[Any]] = set()
        """Threads that work for the loop."""
        self._max_real_wait = max_real_wait

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Give what is ready; if nothing is, let the time jump by ``timeout`` seconds."""
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.threads or timeout is None:
            return self._wait(timeout)
        _let_others_run()  # on a busy machine the kernel may be late with bytes that were sent
        ready = super().select(0)
        if not ready:
            self.now += timeout
        return ready

    def _wait(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(self._max_real_wait)
        if not ready and timeout is None and not self.threads:
            raise RuntimeError("nothing can run and no timer is set: a deadlock in virtual time")
        return ready


def _let_others_run() -> None:
    if hasattr(os, "sched_yield"):
        os.sched_yield()
    else:
        time.sleep(0)
