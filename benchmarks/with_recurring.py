"""mjbulk with rows of which every third is of a person who came before: the rows that wait fill their bounds too."""

import argparse
import asyncio

import mjbulk.mailjet.http  # noqa: F401  # loaded now, before the clock starts
from benchmarks.measure import contend
from benchmarks.rows import recurring
from mjbulk import Client, Credentials, Settings

_SHARE = 1 / 3


async def _import(options: argparse.Namespace) -> int:
    settings = Settings(api_url=options.url, poll_min=options.poll_min)
    async with Client(Credentials("public", "private"), settings) as client:
        report = await client.import_contacts(recurring(options.rows, _SHARE), lists={1: "addnoforce"})
    return report.accepted + report.superseded


if __name__ == "__main__":
    contend(lambda options: asyncio.run(_import(options)))
