#!/bin/sh
# backoff.runtime is the wait generator of backoff that takes the wait from the failure, which is what Retry-After needs.
# Two defaults undo it. Jitter is random between nothing and the value, so nearly every wait is shorter than the server asked
# for. And max_time cuts a wait that does not fit instead of giving up: with 0.3 s left of a budget and 10 s asked for, it
# waits for 0.3 s and asks the server again. Both are so in the archived backoff and in python-backoff, its kept fork.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
status=0
for package in backoff==2.2.1 python-backoff==3.0.0; do
    "${PYTHON:-python3}" -m venv --clear "$folder/venv"
    "$folder/venv/bin/pip" install -q "$package"
    "$folder/venv/bin/python" - "$package" <<'END' || status=1
import asyncio
import sys

import backoff

print("version:", sys.argv[1])
print("shows: how backoff.runtime obeys a server that asks for a pause")


class Busy(Exception):
    def __init__(self, seconds):
        self.seconds = seconds


async def waits_of(seconds, **settings):
    waits, calls = [], 0

    @backoff.on_exception(
        backoff.runtime, Busy, value=lambda busy: busy.seconds, on_backoff=lambda seen: waits.append(seen["wait"]), **settings
    )
    async def call():
        nonlocal calls
        calls += 1
        raise Busy(seconds)

    try:
        await call()
    except Busy:
        return waits, calls


waits, _ = asyncio.run(waits_of(0.02, max_tries=100))
early = sum(wait < 0.02 for wait in waits)
same = early >= 95
print(f"waits of 99 that were shorter than asked for: expected 95 or more, seen {early}:", "same" if same else "CHANGED")

waits, calls = asyncio.run(waits_of(10, max_time=0.3, jitter=None))
cut = len(waits) == 1 and waits[0] <= 0.3 and calls == 2
print(
    "10 s asked for, max_time=0.3: expected 1 wait of at most 0.3 s and 2 calls,",
    f"seen {[round(wait, 2) for wait in waits]} and {calls} calls:",
    "same" if cut else "CHANGED",
)
sys.exit(not (same and cut))
END
done
exit $status
