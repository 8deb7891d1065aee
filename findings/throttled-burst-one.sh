#!/bin/sh
# throttled-py paces requests that must come one by one, not in bursts, far below their limit. With 40 a second and a burst
# of one, its GCRA lets 5 a second through (a refused caller waits for at least 0.2 s before it asks again), and its token
# bucket and leaking bucket 1 a second (they fill up by whole seconds, up to the burst). With a burst of 40 each lets 40 or
# more through.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q throttled-py==3.5.0
"$folder/venv/bin/python" - <<'END'
import asyncio
import sys
import time
from importlib.metadata import version

from throttled.asyncio import Throttled, rate_limiter, store

SECONDS, LIMIT, CALLERS = 4, 40, 25
print("versions: throttled-py", version("throttled-py"))
print(f"shows: how many a second {CALLERS} callers get of a limit of {LIMIT} a second, within {SECONDS} s")


async def granted(kind, burst):
    quota = rate_limiter.per_sec(LIMIT, burst=burst)
    throttle = Throttled(key="k", using=kind, quota=quota, store=store.MemoryStore(), timeout=60)
    count, end = 0, time.monotonic() + SECONDS

    async def call():
        nonlocal count
        while True:
            count += not (await throttle.limit()).limited and time.monotonic() < end

    callers = [asyncio.create_task(call()) for _ in range(CALLERS)]
    await asyncio.sleep(SECONDS)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    return count / SECONDS


changed = False
for kind, burst, least, most in (
    ("gcra", 1, 3, 7),
    ("token_bucket", 1, 0.5, 2),
    ("leaking_bucket", 1, 0.5, 2),
    ("gcra", LIMIT, 36, 60),
    ("token_bucket", LIMIT, 36, 60),
    ("leaking_bucket", LIMIT, 36, 60),
):
    seen = asyncio.run(granted(kind, burst))
    same = least <= seen <= most
    changed |= not same
    print(f"{kind}, burst {burst}: expected {least} to {most}, seen {seen:.1f}:", "same" if same else "CHANGED")
sys.exit(changed)
END
