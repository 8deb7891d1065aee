#!/bin/sh
# Under looptime, an event loop whose clock jumps to the next timer when nothing is left to do, every call of aiosqlite runs
# into the timeout around it at once: aiosqlite works in a thread of its own, which the loop does not know, so the loop seems
# idle and 30 seconds pass in less than one. What runs in the loop's own executor is waited for. Tests with a virtual clock
# need the standard library's sqlite3 in that executor.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q looptime==0.9 aiosqlite==0.22.1
"$folder/venv/bin/python" - <<'END'
import asyncio
import sqlite3
import sys
import time
from importlib.metadata import version

import aiosqlite
import looptime

print("versions:", *(f"{name} {version(name)}" for name in ("looptime", "aiosqlite")))
print("shows: which kind of thread is waited for within asyncio.timeout(30)")


async def end_of(call):
    try:
        async with asyncio.timeout(30):
            await call()
    except TimeoutError:
        return "timed out"
    return "done"


async def with_aiosqlite():
    async with aiosqlite.connect(":memory:") as database:
        await database.execute("SELECT 1")


async def with_sqlite3():
    await asyncio.to_thread(lambda: sqlite3.connect(":memory:").execute("SELECT 1").fetchone())


def run(call, loop):
    began = time.monotonic()
    return loop.run_until_complete(end_of(call)), time.monotonic() - began


changed = False
for name, call, loop, want in (
    ("aiosqlite, real clock", with_aiosqlite, asyncio.new_event_loop(), "done"),
    ("aiosqlite, looptime", with_aiosqlite, looptime.patch_event_loop(asyncio.new_event_loop()), "timed out"),
    ("sqlite3 in the executor, looptime", with_sqlite3, looptime.patch_event_loop(asyncio.new_event_loop()), "done"),
):
    seen, seconds = run(call, loop)
    same = seen == want and seconds < 10
    changed |= not same
    print(f"{name}: expected {want!r}, seen {seen!r} after {seconds:.2f} real seconds:", "same" if same else "CHANGED")
sys.exit(changed)
END
