"""mjbulk with a file of extremes: with some of its columns alone, or with rows of a megabyte."""

import argparse
import asyncio
import json
import sys
import time

import mjbulk.mailjet.http  # noqa: F401  # loaded now, before the clock starts
from benchmarks.rows import PROPERTIES
from mjbulk import Client, Credentials, Settings


async def _import(options: argparse.Namespace) -> int:
    columns = ["email", *PROPERTIES] if options.pick else None
    async with Client(Credentials("public", "private"), Settings(api_url=options.url, poll_min=0.01)) as client:
        report = await client.import_contacts(
            options.file, lists={1: "addnoforce"}, via=options.via, columns=columns, max_rejected=0
        )
    return report.accepted


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--file", required=True)
    parser.add_argument("--via", choices=("json", "csv"), required=True)
    parser.add_argument("--pick", action="store_true", help="send the columns alone that the other contenders send")
    options = parser.parse_args()
    began, cpu_before = time.perf_counter(), time.process_time()
    accepted = asyncio.run(_import(options))
    took = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu_before}
    print(json.dumps({"rows": accepted, **took, "pyarrow": "pyarrow" in sys.modules}))
