"""The emulator in a thread of its own, for tests and programs that do not share its event loop."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import attrs

from mjbulk.public import public
from mjbulk.testing._knobs import Knobs
from mjbulk.testing._state import EmulatedContact
from mjbulk.testing.emulator import Emulator

QUICK = Knobs(queue_seconds=0.002, prepare_seconds=0.001, import_seconds=0.002)
"""Jobs that end within a few milliseconds, for tests in real time."""


@attrs.frozen
class Served:
    """An emulator that runs in another thread, and its address."""

    url: str
    emulator: Emulator


@public
@contextmanager
def serve_in_thread(knobs: Knobs | None = None, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[Served]:
    """Serve an emulator in a thread with an event loop of its own, until the ``with`` block ends."""
    started = threading.Event()
    stop: asyncio.Event
    loop: asyncio.AbstractEventLoop
    emulator = Emulator(knobs)
    failures: list[BaseException] = []

    async def live() -> None:
        nonlocal stop, loop
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        await emulator.start(host, port)
        started.set()
        await stop.wait()
        await emulator.aclose()

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(live())
        except BaseException as failure:  # noqa: BLE001 - it is raised in the caller's thread
            failures.append(failure)
        finally:
            started.set()

    thread = threading.Thread(target=work, name="mjbulk-emulator", daemon=True)
    thread.start()
    started.wait()
    if failures:
        raise failures[0]
    try:
        yield Served(emulator.url, emulator)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@public
class Mailjet:
    """What the pytest fixture ``mailjet`` gives: a stand-in for Mailjet that a test can inspect and disturb.

    Its account has one list, ID 1. `emulator` can do everything else.
    """

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def __repr__(self) -> str:
        return f"<Mailjet {self.url}: {self.requests} requests>"

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return self.emulator.url

    @property
    def contacts(self) -> Mapping[str, EmulatedContact]:
        """The people of all accounts by address; lookups ignore case."""
        return self.emulator.contacts

    @property
    def requests(self) -> int:
        """How many requests it has received."""
        return self.emulator.requests

    def reject(self, email: str, message: str) -> None:
        """Make jobs reject every row of this person."""
        self.emulator.reject(email, message)

    def drop_answer(self, call: str, *, times: int = 1) -> None:
        """Let the next requests of a call have their effect, and lose their answers."""
        self.emulator.drop_answer(call, times=times)
