"""The emulator in a thread of its own, for tests and programs that do not share its event loop."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs

from mjbulk.public import public
from mjbulk.testing._faults import Fault
from mjbulk.testing._jobs import EmulatedJob
from mjbulk.testing._knobs import Knobs
from mjbulk.testing._state import EmulatedAccount, EmulatedContact, EmulatedList, EmulatedProperty
from mjbulk.testing._views import People, View
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
class MailjetAccount:
    """What one API key sees of the stand-in: its people, lists, properties and jobs."""

    def __init__(self, emulator: Emulator, key: str) -> None:
        self._emulator, self._key = emulator, key
        emulator.account(key)

    def __repr__(self) -> str:
        return f"<MailjetAccount: {len(self.contacts)} contacts, {len(self.jobs)} jobs>"

    @property
    def contacts(self) -> Mapping[str, EmulatedContact]:
        """Its people by address; lookups ignore case."""
        return People(self._emulator.here, lambda: [self._account()])

    @property
    def lists(self) -> Mapping[int, EmulatedList]:
        """Its lists by ID."""
        return View(self._emulator.here, lambda: self._account().lists)

    @property
    def properties(self) -> Mapping[str, EmulatedProperty]:
        """Its contact properties by name."""
        return View(self._emulator.here, lambda: {one.name: one for one in self._account().properties.values()})

    @property
    def jobs(self) -> Mapping[int, EmulatedJob]:
        """Its jobs by ID, with the truth about their rows."""
        name = self._account().key
        return View(self._emulator.here, lambda: {n: job for n, job in self._emulator.jobs.items() if job.key == name})

    def create_list(self, name: str) -> EmulatedList:
        """Create a list."""
        return self._emulator.create_list(name, key=self._key)

    def create_property(self, name: str, datatype: str = "str") -> EmulatedProperty:
        """Create a contact property."""
        return self._emulator.create_property(name, datatype, key=self._key)

    def _account(self) -> EmulatedAccount:
        return self._emulator.account(self._key)


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

    def of(self, key: str) -> MailjetAccount:
        """Give what one API key sees; the account is created at the first call.

        The first key that calls, or that is named here, has the account that a test has set up before.
        """
        return MailjetAccount(self.emulator, key)

    def knobs(self, *, job_seconds: float | None = None, rate: int | None = None, **changes: Any) -> None:
        """Change settings, from now on: ``job_seconds`` from a job's POST to its end, ``rate`` in requests a second and
        key, or any field of `Knobs`.

        Raises TypeError for a name that is not known, ValueError for a number that cannot be.
        """
        self.emulator.knobs = self.emulator.knobs.changed(job_seconds=job_seconds, rate=rate, **changes)

    def fault(self, call: str, fault: Fault, *, times: int | None = 1, after: int = 0) -> None:
        """Skip ``after`` requests of ``call``, and let ``fault`` happen to the next ``times`` (None: to all).

        ``call`` is a route, with or without a method before it ("POST contact/managemanycontacts", "csvimport"), or
        ``*``. Raises ValueError if there is no such call.
        """
        self.emulator.fault(call, fault, times=times, after=after)

    def reject(self, email: str, message: str) -> None:
        """Make jobs reject every row of this person."""
        self.emulator.reject(email, message)

    def drop_answer(self, call: str, *, times: int = 1) -> None:
        """Let the next requests of a call have their effect, and lose their answers; ValueError for an unknown call."""
        self.emulator.drop_answer(call, times=times)
