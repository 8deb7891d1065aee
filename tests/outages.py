"""Processes that import by force into one server while it is in trouble: how many chunks each has in doubt afterwards.

``python tests/outages.py --runs 20`` makes that many tries, with one to four processes each. It fails if one of them
has more chunks in doubt than requests under way, or one at all on the CSV way, or if a row got lost.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from math import inf
from random import Random
from typing import Any

from support import World

import mjbulk
from mjbulk.testing import Emulator, Fault, Knobs

ROWS, CHUNK, CONCURRENCY = 6000, 50, 8
LISTS: Any = {1: "addforce"}
QUICK = Knobs(queue_seconds=0.05, prepare_seconds=0.02, import_seconds=0.05)
READ_TIMEOUT = 5.0


async def take_part(url: str, via: Any, key: str) -> None:
    """Import, and write what became of the rows."""
    settings = mjbulk.Settings(
        api_url=url, chunk_rows=CHUNK, concurrency=CONCURRENCY, max_rate=40.0, poll_min=0.1, read_timeout=READ_TIMEOUT
    )
    rows = [{"email": f"p{number}@example.org"} for number in range(ROWS)]
    async with mjbulk.Client(mjbulk.Credentials(key, "secret"), settings) as client:
        report = await client.start_import(rows, lists=LISTS, via=via).wait()
    sys.stdout.write(json.dumps(report.as_dict()))


async def begin(url: str, via: str, key: str) -> asyncio.subprocess.Process:
    """Begin to import in a process of its own."""
    command = [sys.executable, __file__, "--url", url, "--via", via, "--key", key]
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)


async def result_of(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Wait for a process, and give what it wrote."""
    written, _ = await process.communicate()
    found: dict[str, Any] = json.loads(written)
    return found


async def in_trouble(seed: int) -> dict[str, Any]:
    """Make one try."""
    chance = Random(seed)
    processes, via = chance.randint(1, 4), chance.choice(["json", "json", "csv"])
    share, lasts = chance.choice([0.3, 0.6, 0.9, 1.0, 1.0]), chance.choice([0.5, 2.0, 5.0])
    async with Emulator(QUICK) as emulator:
        begins, left = inf, 20 * processes

        def happens(call: str, now: float) -> Fault | None:
            nonlocal begins, left
            left -= call.startswith("POST")
            begins = now if left == 0 else begins
            hit = begins <= now < begins + lasts and chance.random() < share
            return Fault.answer(503, apply=chance.random() < 0.5) if hit else None

        World(emulator).weather(happens)
        begun = [await begin(emulator.url, via, f"key-{n}") for n in range(processes)]
        found = await asyncio.gather(*map(result_of, begun))
    in_doubt = [one["unknown"] // CHUNK for one in found]
    most = 0 if via == "csv" else CONCURRENCY
    whole = all(one["accepted"] + one["unknown"] == ROWS for one in found)
    return {
        "seed": seed,
        "processes": processes,
        "via": via,
        "share": share,
        "seconds": lasts,
        "chunks in doubt": in_doubt,
        "good": whole and max(in_doubt) <= most,
    }


def main(arguments: Sequence[str]) -> int:
    """Make the tries, and print what came of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    for name in ("--url", "--via", "--key"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    said = parser.parse_args(arguments)
    if said.url:
        asyncio.run(take_part(said.url, said.via, said.key))
        return 0
    bad = 0
    for seed in range(said.first, said.first + said.runs):
        line = asyncio.run(in_trouble(seed))
        bad += not line["good"]
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
