"""Sources, and a resolver, that never give anything: imports end in time, and so does the process."""

import asyncio
import sys
import time
from subprocess import PIPE

import pytest

from mjbulk.testing import Emulator

PROGRAM = """
import asyncio, os, socket, sys, threading, time
import mjbulk

def hanging():
    yield {"email": "a@example.org"}
    threading.Event().wait()

class Table:
    def __arrow_c_stream__(self, requested_schema=None):
        threading.Event().wait()

async def main(url, folder):
    os.mkfifo(f"{folder}/pipe.csv")
    reading, _ = os.pipe()
    sources = {
        "a path": f"{folder}/pipe.csv",
        "an open pipe": mjbulk.csv_source(os.fdopen(reading, "rb")),
        "standard input": mjbulk.jsonl_source(sys.stdin.buffer),
        "an iterable": mjbulk.in_thread(hanging()),
        "a table": Table(),
    }
    async with mjbulk.Client(mjbulk.Credentials("a", "b"), mjbulk.Settings(api_url=url)) as client:
        for name, source in sources.items():
            try:
                await client.import_contacts(source, lists={1: "addnoforce"}, timeout=0.1)
            except mjbulk.ImportTimeout as ended:
                print(name, ended.report.rows, flush=True)
    socket.getaddrinfo = lambda *_, **__: threading.Event().wait()
    async with mjbulk.Client(mjbulk.Credentials("a", "b"), mjbulk.Settings(api_url="https://mailjet.test")) as client:
        try:
            await client.import_contacts([{"email": "a@example.org"}], lists=None, timeout=0.1)
        except mjbulk.ImportTimeout as ended:
            print("a resolver", ended.report.rows, flush=True)
    print("left", time.monotonic(), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.real_time
async def test_the_process_ends_soon_after_its_last_await(tmp_path: object) -> None:
    """Its import ends by its time limit, and then no thread keeps the process."""
    async with Emulator() as emulator:
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, emulator.url, str(tmp_path), stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        assert program.stdout
        assert program.stderr
        said, errors = (await program.stdout.read()).decode(), await program.stderr.read()
        status = await program.wait()
    ended = time.monotonic()
    *imports, left = said.splitlines()
    assert imports == ["a path 0", "an open pipe 0", "standard input 0", "an iterable 0", "a table 0", "a resolver 0"]
    assert (status, errors) == (0, b"")
    assert ended - float(left.split()[1]) < 5
