"""A FastAPI backend with one worker, many uploads side by side, and a large one.

The worker is a process of its own under uvicorn, and sends to a sink whose jobs last two seconds. While the uploads are
under way their states are looked at; what is measured is how long these answers take, and the most memory that the
worker holds. The large upload is stopped when it was judged: what counts is that it was not in memory.
"""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import choice
from statistics import quantiles
from typing import Any

import aiohttp

from benchmarks.processes import sink

_HOME = Path(__file__).parents[1]
_MEGA = 2**20
_PAUSE = 5.0
"""Seconds between two looks of a client at its own run."""
_LOOK = 0.05
"""Seconds between two looks that are measured."""
_HEADERS = {"X-Mjbulk": "1", "Content-Type": "text/csv"}


@contextmanager
def worker(api_url: str, folder: Path) -> Iterator[tuple[str, int]]:
    """Serve with one worker, and give its address and its process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    env = {
        **os.environ,
        "MJ_API_URL": api_url,
        "BACKEND_JOURNAL": str(folder / "imports.db"),
        "BACKEND_UPLOADS": str(folder / "uploads"),
    }
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "benchmarks.backend_app:app",
        "--port",
        str(port),
        "--log-level",
        "error",
    ]
    with subprocess.Popen(command, cwd=_HOME, env=env) as process:
        try:
            yield f"http://127.0.0.1:{port}/imports", process.pid
        finally:
            process.terminate()


def peak_of(pid: int) -> float:
    """Give the most memory that a process has held, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


async def _ready(session: aiohttp.ClientSession, url: str) -> None:
    while True:
        try:
            async with session.get(f"{url}/"):
                return
        except aiohttp.ClientError:
            await asyncio.sleep(0.1)


async def _side_by_side(url: str, uploads: int, rows: int) -> tuple[float, list[float]]:
    """Upload files at once, and give the seconds until all are settled, and how long each answer about one took."""
    took: list[float] = []
    known: list[str] = []
    body = "email\n" + "".join(f"p{{}}-{at}@example.org\n" for at in range(rows))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await _ready(session, url)
        began = time.perf_counter()

        async def one(number: int) -> None:
            data = body.replace("{}", str(number)).encode()
            async with session.post(f"{url}/", data=data, headers=_HEADERS) as answer:
                assert answer.status == 202, await answer.text()
                run_id = (await answer.json())["run_id"]
            known.append(run_id)
            while (run := await ask(run_id))["state"] != "settled":  # noqa: ASYNC110  # as clients do
                await asyncio.sleep(_PAUSE)
            assert run["accepted"] == rows, run

        async def ask(run_id: str) -> dict[str, Any]:
            async with session.get(f"{url}/{run_id}") as answer:
                run: dict[str, Any] = await answer.json()
                return run

        async def look() -> None:
            while True:
                await asyncio.sleep(_LOOK)
                if known:
                    asked = time.perf_counter()
                    await ask(choice(known))
                    took.append(time.perf_counter() - asked)

        looking = asyncio.ensure_future(look())
        await asyncio.gather(*(one(number) for number in range(uploads)))
        looking.cancel()
        return time.perf_counter() - began, took


async def _large(url: str, size: int) -> tuple[float, int]:
    """Upload one large file, stop its run, and give the seconds that it took."""

    async def body() -> AsyncIterator[bytes]:
        yield b"email\n"
        sent = at = 0
        while sent < size:
            piece = b"".join(b"person-%012d@subdomain.of.example.org\n" % (at + number) for number in range(1000))
            at, sent = at + 1000, sent + len(piece)
            yield piece

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        await _ready(session, url)
        began = time.perf_counter()
        async with session.post(f"{url}/", data=body(), headers=_HEADERS) as answer:
            assert answer.status == 202, await answer.text()
            run_id = (await answer.json())["run_id"]
        took = time.perf_counter() - began
        async with session.post(f"{url}/{run_id}/stop", headers=_HEADERS) as answer:
            return took, answer.status


def print_tables(uploads: int, rows: int, large: int) -> None:
    """Measure uploads side by side and a ``large`` one, in MiB, and print two tables."""
    with sink("--jobs-last", "2") as api, tempfile.TemporaryDirectory() as folder:
        with worker(api, Path(folder)) as (url, pid):
            seconds, took = asyncio.run(_side_by_side(url, uploads, rows))
            cuts = quantiles(took, n=20)
            print(f"| {uploads} uploads of {rows:,} rows | seconds | p50 | p95 | most | peak MiB |")
            print("| --- | ---: | ---: | ---: | ---: | ---: |")
            figures = " | ".join(f"{1000 * one:.0f} ms" for one in (cuts[9], cuts[18], max(took)))
            print(f"| `GET /{{run_id}}` meanwhile: {len(took):,} | {seconds:.1f} | {figures} | {peak_of(pid):.0f} |")
        print("\n| one upload | seconds | peak MiB |\n| --- | ---: | ---: |")
        for size in (large // 16, large):
            with worker(api, Path(folder)) as (url, pid):
                seconds, _ = asyncio.run(_large(url, size * _MEGA))
                print(f"| {size} MiB | {seconds:.1f} | {peak_of(pid):.0f} |", flush=True)
