"""How well mjbulk finds a rate limit that the server does not tell: real HTTP, real time.

The emulator allows `LIMIT` requests in each second of its clock, and answers 429 to all others, without a header. An
import with one row per request sends as fast as its quota allows: each row costs a POST, some polls and an error file.
Measured are the share of the limit that is used, and the share of answers that are 429.
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
    """What a server has counted during some seconds."""

    used: float
    """Requests that it allowed, as a share of its limit."""
    refused: float
    """Answers with 429, as a share of all answers."""


def used(emulator: Emulator, since: float, until: float) -> Used:
    """Count the requests between two times of the emulator's clock."""
    statuses = [call.status for call in emulator.calls if since <= call.time < until]
    refused = statuses.count(429)
    return Used((len(statuses) - refused) / (LIMIT * (until - since)), refused / max(len(statuses), 1))


@asynccontextmanager
async def importing(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run an import in a process of its own, and kill it at the end of the block."""
    command = [sys.executable, "-m", "benchmarks.with_quota", *arguments]
    process = await asyncio.create_subprocess_exec(*command, cwd=_HOME)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def share(processes: int, *, learn: float, measure: float, max_rate: float = 1000.0) -> tuple[Used, Used]:
    """Let processes share a limit for ``learn`` seconds, measure, kill one of them, and measure again.

    A single process has its quota in memory, several have it in Redis. ``max_rate`` is their setting of that name, far
    above the limit.
    """
    async with Emulator(Knobs(rate_limit=LIMIT)) as emulator, AsyncExitStack() as stack:
        arguments = ["--url", emulator.url, "--max-rate", str(max_rate)]
        if processes > 1:
            arguments += ["--redis", stack.enter_context(serving(program() or "redis-server")).url]
        names = (("--name", f"process{number}") for number in range(processes))
        running = [await stack.enter_async_context(importing(*arguments, *name)) for name in names]
        while not emulator.requests:  # noqa: ASYNC110  # the emulator counts, and has no event to wait for
            await asyncio.sleep(0.05)
        await asyncio.sleep(learn)
        times = [emulator.now]
        for last in (False, True):
            await asyncio.sleep(measure)
            times.append(emulator.now)
            if processes > 1 and not last:
                running[0].kill()
        return used(emulator, times[0], times[1]), used(emulator, times[1], times[2])


async def _both(learn: float, measure: float) -> list[tuple[Used, Used]]:
    """Measure one process and four at the same time: each has a server of its own, and waits nearly always."""
    return await asyncio.gather(*(share(number, learn=learn, measure=measure) for number in (1, 4)))


def table(learn: float, measure: float) -> str:
    """Give the table for one process, and for four that share a quota."""
    (alone, still), (four, three) = asyncio.run(_both(learn, measure))
    rows = {
        "one process": alone,
        "the same, later": still,
        "four processes, quota in Redis": four,
        "three, after one was killed": three,
    }
    head = "| | of the allowance used | of answers 429 |\n| --- | ---: | ---: |\n"
    return head + "\n".join(f"| {name} | {one.used:.1%} | {one.refused:.2%} |" for name, one in rows.items())
