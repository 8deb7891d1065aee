"""Journals whose server says nothing: a time limit counts from the call, and the process ends."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from postgres import Postgres
from support import KEYS

import mjbulk
from mjbulk.testing import Mailjet

pytestmark = pytest.mark.real_time


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that lets everybody connect, and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"postgresql://user:secret@127.0.0.1:{server.getsockname()[1]}/imports"


async def test_a_timeout_counts_from_the_call(silent: str) -> None:
    """Also while the journal is opened; the run is left at once, and the client, too."""
    loop = asyncio.get_running_loop()
    client = mjbulk.Client(KEYS, mjbulk.Settings(api_url="http://127.0.0.1:1"), journal=silent)
    began = loop.time()
    async with client:
        with pytest.raises(mjbulk.ImportTimeout):
            await client.import_contacts([{"email": "a@example.org"}], lists=None, run_id="r", timeout=0.2)
        look = asyncio.create_task(client.get_run("r"))
        await asyncio.sleep(0)
    assert loop.time() - began < 2.0
    look.cancel()


SCRIPT = """
import asyncio, sys
import mjbulk

async def main():
    async with mjbulk.Client(journal=sys.argv[1]) as client:
        rows = [{"email": f"p{n}@example.org"} for n in range(20)]
        run = client.start_import(rows, lists={1: "addforce"}, run_id="r")
        if sys.argv[2:]:
            async for progress in run:
                if progress.requests:
                    break
        print("running", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        report = await run.stop()
    print(report.halted, flush=True)

asyncio.run(main())
"""


def ended(process: "subprocess.Popen[str]") -> tuple[str, float]:
    """Let a process stop its run; give what it says, and how many seconds it takes to end after that."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    said = process.stdout.readline()
    began = time.monotonic()
    assert process.wait(timeout=10) == 0
    return said.strip(), time.monotonic() - began


def started(mailjet: Mailjet, *arguments: str) -> "subprocess.Popen[str]":
    """Start an import in a process of its own, and wait until it runs."""
    variables = {
        "MJ_API_URL": mailjet.url,
        "MJ_APIKEY_PUBLIC": KEYS.public,
        "MJ_APIKEY_PRIVATE": KEYS.private,
        "MJBULK_STOP_WITHIN": "0.3",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    return process


def test_a_process_ends_whose_journal_was_never_opened(mailjet: Mailjet, silent: str) -> None:
    """Its thread waits for the server, and nothing waits for its thread."""
    with started(mailjet, silent) as process:
        said, seconds = ended(process)
    assert (said, seconds < 5) == ("it was stopped", True)


def test_a_process_ends_whose_journal_is_silent(mailjet: Mailjet, postgres: Postgres) -> None:
    """From the middle of its run on."""
    name = postgres.create_database()
    with started(mailjet, postgres.url(name), "sending") as process:
        session = int(postgres.sql(f"select pid from pg_stat_activity where datname = '{name}'"))
        os.kill(session, signal.SIGSTOP)
        try:
            said, seconds = ended(process)
        finally:
            os.kill(session, signal.SIGCONT)
    assert (said, seconds < 5) == ("it was stopped", True)
