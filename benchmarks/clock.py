"""An event loop with a virtual clock, for a day of waiting in a second."""

import asyncio
import os
import selectors
from typing import Any


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer whenever nothing else can run.

    Sockets and threads are real: while a thread works the loop waits for it, and no virtual time goes by.
    """

    def __init__(self, max_real_wait: float = 5.0) -> None:
        """``max_real_wait`` is how long, in real seconds, a loop without timers may wait before it is a deadlock."""
        self._now = 0.0
        self._threads: set[asyncio.Future[Any]] = set()
        selector = selectors.DefaultSelector()
        super().__init__(selector)
        self._clock_resolution = 1e-9
        wait = selector.select

        def select(timeout: float | None = None) -> Any:
            ready = wait(0)
            if ready or timeout == 0:
                return ready
            if self._threads or timeout is None:
                ready = wait(max_real_wait)
                if not ready and timeout is None and not self._threads:
                    raise RuntimeError("nothing can run and no timer is set: a deadlock in virtual time")
                return ready
            os.sched_yield()  # on a busy machine the kernel may be late with bytes that were sent
            ready = wait(0)
            if not ready:
                self._now += timeout
            return ready

        selector.select = select  # type: ignore[method-assign]

    def time(self) -> float:
        return self._now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]  # as loose as it gets
        future = super().run_in_executor(executor, func, *args)
        self._threads.add(future)
        future.add_done_callback(self._threads.discard)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002  # see below
        """Join the threads without the time limit of newer Pythons: it would be over at once in virtual time."""
        await super().shutdown_default_executor()
