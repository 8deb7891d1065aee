"""mjbulk at one size: one client, which has made a small import before, makes imports of one size side by side.

It prints what each repetition took, from the first call to the last outcome. What a process loads at its first import
is not in it (`benchmarks.start` has that).
"""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence

from benchmarks.rows import recurring
from mjbulk import Client, Credentials, Settings

_WARM = 1_000
"""Rows of the import before. They are counted by the sink, too."""


async def _import(client: Client, rows: int, options: argparse.Namespace) -> int:
    if options.file and rows == options.rows:
        report = await client.import_contacts(options.file, lists={1: "addnoforce"}, via="csv")
    else:
        report = await client.import_contacts(recurring(rows, options.recurring), lists={1: "addnoforce"})
    return report.accepted + report.superseded


async def _times(options: argparse.Namespace) -> dict[str, Sequence[float]]:
    settings = Settings(
        api_url=options.url,
        poll_min=options.poll_min,
        concurrency=options.concurrency,
        chunk_rows=options.chunk_rows,
    )
    seconds, cpu, rows = [], [], 0
    async with Client(Credentials("public", "private"), settings) as client:
        await _import(client, _WARM, options)
        for _ in range(options.repeat):
            began, cpu_before = time.perf_counter(), time.process_time()
            accepted = await asyncio.gather(*(_import(client, options.rows, options) for _ in range(options.imports)))
            seconds.append(time.perf_counter() - began)
            cpu.append(time.process_time() - cpu_before)
            rows += sum(accepted)
    return {"rows": [rows + _WARM], "seconds": seconds, "cpu": cpu}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--rows", type=int, required=True, help="of one import")
    parser.add_argument("--file", help="a CSV file with that many rows, for the CSV way")
    parser.add_argument("--imports", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--recurring", type=float, default=0.0, help="the share of rows whose person came before")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--chunk-rows", type=int)
    parser.add_argument("--poll-min", type=float, default=0.01)
    print(json.dumps(asyncio.run(_times(parser.parse_args()))))
