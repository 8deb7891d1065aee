"""For how long mjbulk holds the event loop at once: in a fresh process, beside a server of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.processes import sink

LONGEST = 0.05
"""Seconds of processor time: the clock of asyncio's debug mode counts what other processes take, too."""
MEASURED = """
import asyncio, sys, time
from asyncio.events import Handle
from mjbulk import Client, Credentials, Settings

url, what, file = sys.argv[1:]
longest, run = [(0.0, "")], Handle._run

def timed(handle):
    began = time.thread_time()
    run(handle)
    longest.append((time.thread_time() - began, repr(handle)))

def rows(prefix, count):
    return ({"email": f"{prefix}-{number}@example.org", "name": "A"} for number in range(count))

async def main():
    settings = Settings(api_url=url)
    async with Client(Credentials("public", "private"), settings) as client:
        lists = {1: "addnoforce"}
        if what == "small":
            await asyncio.gather(*(client.import_contacts(list(rows(n, 10)), lists=lists) for n in range(100)))
        elif what == "json":
            await client.import_contacts(rows("a", 100_000), lists=lists)
        else:
            await client.import_contacts(file, lists=lists, via="csv")

Handle._run = timed
asyncio.run(main())
print(*max(longest))
"""


@pytest.mark.parametrize("what", ["small", "json", "csv"])
def test_the_loop_is_never_held_for_long(tmp_path: Path, what: str) -> None:
    """From the moment when the client is entered, whatever is loaded then: 100 small imports, and 100,000 rows."""
    file = tmp_path / "people.csv"
    file.write_text("email\n" + "".join(f"c{number}@example.org\n" for number in range(100_000)), encoding="utf-8")
    with sink("--jobs-last", "0.1", "--slow", "0.02") as url:
        command = [sys.executable, "-c", MEASURED, url, what, str(file)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60)
    seconds, _, handle = done.stdout.partition(" ")
    assert float(seconds) < LONGEST, handle
