"""mjbulk with rows of which every third is of a person who came before: the rows that wait fill their bounds too."""

import argparse
import asyncio
import random
from collections.abc import Iterator
from typing import Any

import mjbulk.mailjet.http  # noqa: F401  # loaded now, before the clock starts
from benchmarks.measure import contend
from benchmarks.rows import rows
from mjbulk import Client, Credentials, Settings

_DISTANCE = 200_000
"""How many rows ago a person came at most."""


def recurring(count: int) -> Iterator[dict[str, Any]]:
    """Give the rows of the other contenders, every third with the address of somebody before."""
    chance = random.Random(1)
    for number, row in enumerate(rows(count)):
        if number % 3 == 2:
            before = number - chance.randrange(1, min(number, _DISTANCE) + 1)
            row["email"] = f"contact{before:08d}@example.com"
        yield row


async def _import(options: argparse.Namespace) -> int:
    settings = Settings(api_url=options.url, poll_min=options.poll_min)
    async with Client(Credentials("public", "private"), settings) as client:
        report = await client.import_contacts(recurring(options.rows), lists={1: "addnoforce"})
    return report.accepted + report.superseded


if __name__ == "__main__":
    contend(lambda options: asyncio.run(_import(options)))
