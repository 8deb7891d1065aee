"""mjbulk with an ingester: many tasks put rows one by one, and each waits for the outcome before it puts the next."""

import argparse
import asyncio
from collections.abc import Iterator
from typing import Any

import mjbulk.mailjet.http  # noqa: F401  # loaded now, before the clock starts
from benchmarks.measure import contend
from benchmarks.rows import rows
from mjbulk import Client, Credentials, Ingester, Settings

_TASKS = 10_000


async def _put(ingester: Ingester, source: Iterator[dict[str, Any]]) -> int:
    accepted = 0
    for row in source:  # all tasks share it
        accepted += (await ingester.put(row)).ok
    return accepted


async def _run(options: argparse.Namespace) -> int:
    settings, source = Settings(api_url=options.url, poll_min=options.poll_min), rows(options.rows)
    async with (
        Client(Credentials("public", "private"), settings) as client,
        client.ingest(lists={1: "addnoforce"}) as ingester,
    ):
        return sum(await asyncio.gather(*(_put(ingester, source) for _ in range(_TASKS))))


if __name__ == "__main__":
    contend(lambda options: asyncio.run(_run(options)))
