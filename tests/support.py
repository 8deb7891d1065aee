"""What tests share: a loop with a virtual clock, and a small world of emulator and clients in it."""

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from attrs import frozen

import mjbulk
from mjbulk.testing import Emulator, Knobs


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

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Join the threads without the time limit of newer Pythons: it would be over at once in virtual time."""
        await super().shutdown_default_executor()


@frozen
class Place:
    """A database for the journal of one test."""

    url: str
    sql: Callable[[str], object]
    """Runs a statement behind the journal's back."""


class World:
    """An emulator and clients of it, in the test's own loop."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.events: list[mjbulk.Event] = []

    def settings(self, **said: Any) -> mjbulk.Settings:
        return mjbulk.Settings(**{"api_url": self.emulator.url, **said})

    def client(self, **said: Any) -> mjbulk.Client:
        return mjbulk.Client(KEYS, self.settings(**said), hooks=[self.events.append])

    def posts(self, call: str = "contact/managemanycontacts") -> int:
        return self.emulator.count(f"POST {call}")

    def requests(self) -> int:
        """How many requests were made, answered or not."""
        return sum(event.name == "request" for event in self.events)

    @asynccontextmanager
    async def turned(self, **knobs: Any) -> AsyncIterator["World"]:
        """Another world, whose emulator has other knobs."""
        async with Emulator(Knobs(**knobs)) as emulator:
            yield World(emulator)


KEYS = mjbulk.Credentials("public-key-of-tests", "private-key-of-tests")


def balanced(report: mjbulk.Report) -> mjbulk.Report:
    """Give the report, whose books have to add up."""
    outcomes = report.accepted + report.rejected + report.superseded + report.unknown + report.not_sent
    assert outcomes == report.rows
    return report
