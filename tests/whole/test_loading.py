"""What a process loads for an import, when, and where: a fresh process each time."""

import subprocess
import sys
from pathlib import Path

import pytest

READY = "import mjbulk; mjbulk.Client(mjbulk.Credentials('public', 'private'))"
WATCHED = """
import asyncio, sys, threading
from mjbulk import Client, UsageError, csv_source

loop_thread, where = threading.get_ident(), sys.argv[1] or None
found = []

def heard(event, arguments):
    if event == "import" and threading.get_ident() == loop_thread:
        found.append(arguments[0])

async def rows(start, count):
    for number in range(start, start + count):
        yield {"email": f"{number}@example.org", "city": "Graz"}

async def work(client, latin):
    lists = {1: "addnoforce"}
    await client.create_property("city", "str")
    await client.create_property("when", "datetime")
    report = await client.import_contacts(
        [*[{"email": f"a{n}@example.org"} for n in range(1200)], {"email": "bad"}], lists=lists, run_id="first"
    )
    assert [one.row for one in report.rejections] == [1201]
    await client.import_contacts(rows(0, 10), lists=lists)
    await client.import_contacts("a.csv", lists=lists)
    await client.import_contacts("a.csv", lists=lists, via="csv")
    await client.import_contacts(latin, lists=lists)
    await client.import_contacts("a.parquet", lists=lists)
    try:
        await client.import_contacts("a.xlsx", lists=lists)
    except UsageError as error:
        assert "no spreadsheet" in str(error)
    await client.import_contacts([{"email": "b\\u00e4r@b\\u00e4r.example"}], lists=lists)
    await client.import_contacts([{"email": "c@example.org", "when": "2.1.2030"}], lists=lists, date_format="%d.%m.%Y",
        timezone="Europe/Vienna")
    async with client.ingest(lists=lists) as ingester:
        await asyncio.gather(*(ingester.put({"email": f"i{n}@example.org"}) for n in range(10)))
    await client.watch((await client.submit_contacts([{"email": "m@example.org"}], lists=None)).ref)
    await client.plan_import("a.csv", lists=lists)
    assert (await client.retry_rejected(report, lambda _: {"email": "good@example.org"})).accepted == 1
    report.write_rejections("rejected.csv")
    try:
        await client.import_contacts([{"email": "a@example.org", "town": 1}], lists=lists)
    except UsageError:
        pass
    if where:
        assert [run async for run in client.runs()]
        assert (await client.get_report("first")).rejected == 1
        await client.resume_import("first")

async def main():
    client, latin = Client(journal=where), csv_source("a.csv", encoding="latin-1")
    sys.addaudithook(heard)
    async with client:
        assert not found, found
        await work(client, latin)

asyncio.run(main())
print(*found)
"""


def started(code: str, *arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.PIPE, text=True, cwd=folder, timeout=60
    )
    return done.stdout.strip()


@pytest.mark.parametrize("journal", ["", "journal.db"])
@pytest.mark.usefixtures("mailjet")
def test_nothing_is_loaded_in_the_event_loop(tmp_path: Path, journal: str) -> None:
    """What a client needs is loaded when it is made; the rest in a thread."""
    (tmp_path / "a.csv").write_text("email\nx@example.org\ny@example.org\n", encoding="utf-8")
    write_parquet = (
        "import pyarrow as a, pyarrow.parquet as p; p.write_table(a.table({'email': ['p@x.org']}), 'a.parquet')"
    )
    started(write_parquet, folder=tmp_path)
    (tmp_path / "a.xlsx").write_bytes(b"none")
    assert started(WATCHED, journal, folder=tmp_path) == ""


def test_a_client_is_made_without_the_http_library(tmp_path: Path) -> None:
    """It is most of what a process loads, and is loaded in a thread while the client is entered."""
    code = f"{READY}; import sys; print({{'aiohttp', 'sqlalchemy', 'rich'}} & set(sys.modules) or 'none')"
    assert started(code, folder=tmp_path) == "none"
