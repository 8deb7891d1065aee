"""mjbulk with many imports of ten rows side by side, all of one client that has been entered.

It imports nothing of this folder, so that a commit that had no such program can be measured by it too.
"""

import argparse
import asyncio
import json
import time

from mjbulk import Client, Credentials, Settings

_ROWS = 10


async def _import(client: Client, number: int) -> int:
    rows = [{"email": f"{number}-{row}@example.com", "name": f"Person {row}"} for row in range(_ROWS)]
    return (await client.import_contacts(rows, lists={1: "addnoforce"})).accepted


async def _run(url: str, imports: int) -> dict[str, float]:
    async with Client(Credentials("public", "private"), Settings(api_url=url)) as client:
        began, cpu_before = time.perf_counter(), time.process_time()
        accepted = await asyncio.gather(*(_import(client, number) for number in range(imports)))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_before
    return {"rows": sum(accepted), "seconds": seconds, "cpu": cpu}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--poll-min", help="not used: it has the default")
    options = parser.parse_args()
    print(json.dumps(asyncio.run(_run(options.url, options.rows // _ROWS))))
