"""mjbulk with its default settings: an iterable of rows on the JSON way, or a file on the CSV way."""

import argparse
import asyncio

import mjbulk.mailjet.http  # noqa: F401  # loaded now, before the clock starts
from benchmarks.measure import contend
from benchmarks.rows import rows
from mjbulk import Client, Credentials, Settings


async def _import(options: argparse.Namespace) -> int:
    settings = Settings(api_url=options.url, poll_min=options.poll_min)
    async with Client(Credentials("public", "private"), settings) as client:
        if options.file:
            report = await client.import_contacts(options.file, lists={1: "addnoforce"}, via="csv")
        else:
            report = await client.import_contacts(rows(options.rows), lists={1: "addnoforce"})
    return report.accepted


if __name__ == "__main__":
    contend(lambda options: asyncio.run(_import(options)))
