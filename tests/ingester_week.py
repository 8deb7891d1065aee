"""A service for a week: rows come one by one into an ingester, through outages and with keys that stop working.

``python tests/ingester_week.py`` takes about three minutes, on Linux. It prints what each day has added to the memory
of the process, and fails if that is 5 MB or more from the first day to the last one, or if a row has no true outcome.
"""

import argparse
import asyncio
import gc
import logging
import os
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from attrs import define, field
from support import KEYS, World

import mjbulk
from mjbulk.testing import Emulator, Fault, Knobs, VirtualClockLoop

MOST = 5e6
"""Bytes by which the process may grow in a week."""
MINUTES = 24 * 60
DOWN = {
    3: Fault.drop_before(),
    9: Fault.drop_unread(),
    15: Fault.answer(401, b""),
    20: Fault.answer(503, "{}", apply=True),
}
"""What happens to all requests in some hours of each day: outages, and keys that do not work."""


def weather(_: str, now: float) -> Fault | None:
    """Say what happens to a request."""
    return DOWN.get(int(now / 3600) % 24)


@define
class Week:
    """What was sent on one day, and what came of it. Mutable: it is emptied when a day was looked at."""

    emulator: Emulator
    every: float
    """Seconds between two rows."""
    chance: Random = field(factory=lambda: Random(1))
    numbers: "count[int]" = field(factory=partial(count, 1))
    states: Counter[str] = field(factory=Counter)
    """All outcomes so far."""
    last: dict[str, int] = field(factory=dict)
    """The last row of each person of this day that was accepted."""
    waiting: int = 0

    async def day(self, ingester: mjbulk.Ingester) -> None:
        """Send the rows of a day, and wait for the outcomes of all."""
        for _ in range(int(24 * 3600 / self.every)):
            await self._send(ingester, next(self.numbers))
            await asyncio.sleep(self.every)
        await ingester.flush()

    async def _send(self, ingester: mjbulk.Ingester, number: int) -> None:
        """Send a row: of somebody new, of somebody who was there, of somebody who is refused here or there."""
        kind, email = number % 20, f"p{number}@example.org"
        if kind == 1:
            self.emulator.reject(email, "Invalid email")
        if kind == 2:
            email = f"p{number - 5}@example.org"
        row: dict[str, Any] = {"email": "nobody" if kind == 3 else email, "age": number}
        if kind == 4:
            row["shoe"] = "red"  # no property
        with suppress(mjbulk.OutcomeRejected):
            future = await ingester.send(row)
            self.waiting += 1
            future.add_done_callback(partial(self._ended, email, number))
            if kind == 5:
                future.cancel()

    def _ended(self, email: str, number: int, future: "asyncio.Future[mjbulk.Outcome]") -> None:
        self.waiting -= 1
        state = "withdrawn" if future.cancelled() else future.result().state
        self.states[state] += 1
        if state == "accepted":
            self.last[email] = number

    def check(self) -> None:
        """Compare what was accepted with what the server holds, and let both forget it.

        What the emulator keeps of jobs and people would hide what the ingester keeps.
        """
        held = {email: contact.properties["age"] for email, contact in self.emulator.contacts.items()}
        if self.waiting or held != self.last:
            raise AssertionError(f"{self.waiting} rows without an outcome, {len(held)} people and not {len(self.last)}")
        self.last.clear()
        world = self.emulator._world
        world.jobs.clear()
        world.rejects.clear()
        self.emulator._calls.clear()
        for account in world.accounts.values():
            account.people.clear()
            account.people_by_id.clear()


@define(frozen=True)
class Memory:
    """What the process has."""

    blocks: int
    """Objects and parts of objects in Python's own memory."""
    resident: int
    """Bytes in RAM, 0 where it is not known."""

    @classmethod
    def now(cls) -> "Memory":
        """Look, when all that can be let go has been let go."""
        gc.collect()
        pages = Path("/proc/self/statm")
        resident = int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if pages.exists() else 0
        return cls(sys.getallocatedblocks(), resident)


async def live(days: int, every: float, journal: Path | None = None) -> AsyncGenerator[tuple[Memory, Counter[str]]]:
    """Send rows for some days. Give at the end of each what the process has, and all outcomes so far."""
    async with Emulator(Knobs(keep_rows=False)) as emulator:
        emulator.create_property("age", "int")
        world, week = World(emulator), Week(emulator, every)
        world.weather(weather)
        client = mjbulk.Client(KEYS, world.settings(), journal=journal)
        async with client, client.ingest(lists={1: "addnoforce"}) as ingester:
            for _ in range(days):
                await week.day(ingester)
                week.check()
                yield Memory.now(), week.states


async def report(days: int, every: float, journal: Path | None) -> int:
    """Print each day, and give the bytes by which the process has grown since the first one."""
    first, grown = None, 0
    async with aclosing(live(days, every, journal)) as lived:
        async for memory, states in lived:
            first = first or memory
            grown, blocks = memory.resident - first.resident, memory.blocks - first.blocks
            said = f"{dict(states)}: {grown / 1e3:+,.0f} kB, {blocks:+,} blocks since the first day"
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()
    return grown


def main() -> None:
    """Take the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--every", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--journal", action="store_true", help="keep a journal on disk")
    options = parser.parse_args()
    logging.disable()
    with TemporaryDirectory() as folder, asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        journal = Path(folder) / "journal.db" if options.journal else None
        grown = runner.run(report(options.days, options.every, journal))
    sys.exit(grown >= MOST)


if __name__ == "__main__":
    main()
