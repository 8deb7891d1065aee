"""Deferred imports of Airflow that wait in one event loop, as in a triggerer: for how long does it do nothing else?

``python -m benchmarks.with_triggers``, in an environment with the extra ``airflow``. The jobs are those of a sink in a
process of its own. The loop is asked at each turn how long the turn took, by the clock and of its processor.
"""

import argparse
import asyncio
import json
import os
import time

from benchmarks.processes import sink
from mjbulk import Client, Credentials, Settings
from mjbulk.airflow import MailjetJobTrigger

_KEYS = ("public", "private")
_ROW = [{"email": "ann@example.org"}]


async def _post(url: str, number: int) -> list[str]:
    """Begin jobs, and give their names."""
    async with Client(Credentials(*_KEYS), Settings(api_url=url)) as client:
        posts = (client.submit_contacts(_ROW, lists=None) for _ in range(number))
        return [str(watcher.ref) for watcher in await asyncio.gather(*posts)]


async def _events(trigger: MailjetJobTrigger) -> int:
    return len([event async for event in trigger.run()])


async def _spells(over: asyncio.Event) -> tuple[float, float]:
    """Give the longest turn of the loop: in seconds, and in seconds of its processor."""
    most = most_cpu = 0.0
    while not over.is_set():
        began, cpu = time.perf_counter(), time.thread_time()
        await asyncio.sleep(0)
        most, most_cpu = max(most, time.perf_counter() - began), max(most_cpu, time.thread_time() - cpu)
        await asyncio.sleep(0.001)
    return most, most_cpu


async def _run(url: str, imports: int, jobs: int) -> dict[str, float]:
    names = await _post(url, imports * jobs)
    await _events(MailjetJobTrigger(names[:1]))  # what is imported then is there when a triggerer has run for a while
    over, began, cpu = asyncio.Event(), time.perf_counter(), time.thread_time()
    spells, waits = asyncio.create_task(_spells(over)), []
    for first in range(0, len(names), jobs):
        waits.append(asyncio.create_task(_events(MailjetJobTrigger(names[first : first + jobs]))))
        await asyncio.sleep(0)
    ended = sum(await asyncio.gather(*waits))
    over.set()
    blocked, blocked_cpu = await spells
    took, used = time.perf_counter() - began, time.thread_time() - cpu
    return {
        "ended": ended,
        "seconds": took,
        "cpu": used,
        "blocked_ms": blocked * 1e3,
        "blocked_cpu_ms": blocked_cpu * 1e3,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--imports", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=10, help="of each import")
    parser.add_argument("--jobs-last", type=float, default=10.0, metavar="SECONDS")
    options = parser.parse_args()
    with sink("--jobs-last", str(options.jobs_last)) as address:
        known = {"conn_type": "mailjet", "login": _KEYS[0], "password": _KEYS[1], "host": address}
        os.environ["AIRFLOW_CONN_MAILJET_DEFAULT"] = json.dumps(known)
        print(json.dumps(asyncio.run(_run(address, options.imports, options.jobs))))
