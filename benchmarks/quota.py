"""How much of a limit is used that a server never names, and how much is asked in vain: real HTTP, real time.

The emulator allows so many requests in each second of its clock, answers 429 to all others, and says no more. Imports
of one row a request send as fast as they may: each row is a POST, some polls and an error file.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.redis_server import program, serving
from mjbulk.testing import Emulator, Knobs

LIMIT = 20
_HOME = Path(__file__).parents[1]


@dataclass(frozen=True)
class Used:
    """What a server saw in some seconds."""

    used: float
    """Share of what it allows."""
    refused: float
    """Share of its answers that were 429."""


def used(emulator: Emulator, since: float, until: float) -> Used:
    """Look at the requests that came between two times of the emulator's."""
    statuses = [call.status for call in emulator.calls if since <= call.time < until]
    refused = statuses.count(429)
    return Used((len(statuses) - refused) / (LIMIT * (until - since)), refused / max(len(statuses), 1))


@asynccontextmanager
async def importing(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run an import in a process of its own; it is killed in the end."""
    command = [sys.executable, "-m", "benchmarks.with_quota", *arguments]
    process = await asyncio.create_subprocess_exec(*command, cwd=_HOME)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def share(processes: int, *, learn: float, measure: float, max_rate: float = 1000.0) -> tuple[Used, Used]:
    """Have processes share a limit: let them learn, measure, kill one of them, and measure again.

    One alone has its quota in itself, several in Redis; ``max_rate`` is what the user believes.
    """
    async with Emulator(Knobs(rate_limit=LIMIT)) as emulator, AsyncExitStack() as stack:
        arguments = ["--url", emulator.url, "--max-rate", str(max_rate)]
        if processes > 1:
            arguments += ["--redis", stack.enter_context(serving(program() or "redis-server")).url]
        names = (("--name", f"process{number}") for number in range(processes))
        running = [await stack.enter_async_context(importing(*arguments, *name)) for name in names]
        while not emulator.requests:  # noqa: ASYNC110  # it is counted by a server, not by us
            await asyncio.sleep(0.05)
        await asyncio.sleep(learn)
        times = [emulator.now]
        for last in (False, True):
            await asyncio.sleep(measure)
            times.append(emulator.now)
            if processes > 1 and not last:
                running[0].kill()
        return used(emulator, times[0], times[1]), used(emulator, times[1], times[2])


def table(learn: float, measure: float) -> str:
    """Give the table for one process, and for four that share a quota."""
    alone, still = asyncio.run(share(1, learn=learn, measure=measure))
    four, three = asyncio.run(share(4, learn=learn, measure=measure))
    rows = {
        "one process": alone,
        "the same, later": still,
        "four processes, quota in Redis": four,
        "three, after one was killed": three,
    }
    head = "| | of the allowance used | of answers 429 |\n| --- | ---: | ---: |\n"
    return head + "\n".join(f"| {name} | {one.used:.1%} | {one.refused:.2%} |" for name, one in rows.items())
