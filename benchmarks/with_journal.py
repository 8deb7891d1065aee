"""mjbulk as in `with_mjbulk`, with a journal on disk, on the JSON way."""

import argparse
import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import mjbulk.journal.sql  # loaded now, before the clock starts
import mjbulk.mailjet.http  # noqa: F401  # the same
from benchmarks.measure import contend
from benchmarks.rows import rows
from mjbulk import Client, Credentials, Settings


async def _import(options: argparse.Namespace) -> int:
    settings = Settings(api_url=options.url, poll_min=options.poll_min)
    with TemporaryDirectory(prefix="mjbulk-benchmark-") as folder:
        journal = Path(folder) / "journal.db"
        async with Client(Credentials("public", "private"), settings, journal=journal) as client:
            report = await client.import_contacts(rows(options.rows), lists={1: "addnoforce"})
    return report.accepted


if __name__ == "__main__":
    contend(lambda options: asyncio.run(_import(options)))
