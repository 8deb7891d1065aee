"""Which chunks are in doubt after a process was killed: those whose requests may have left, and no others."""

import asyncio
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from support import KEYS, World, balanced

import mjbulk
from mjbulk.testing import Fault, Knobs

CHUNKS, CHUNK, CONCURRENCY = 30, 10, 3
FORCE: dict[int, mjbulk.ActionWord] = {1: "addforce"}
CARRIERS = {"json": "POST contact/managemanycontacts", "csv": "POST csvimport"}
ROWS: list[dict[str, Any]] = [{"email": f"p{n}@example.org", "age": n} for n in range(CHUNKS * CHUNK)]


def client_of(world: World, journal: Path, *hooks: Callable[[mjbulk.Event], None], **limits: Any) -> mjbulk.Client:
    settings = world.settings(chunk_rows=CHUNK, concurrency=CONCURRENCY, attempts=3, **limits)
    return mjbulk.Client(KEYS, settings, journal=str(journal), hooks=hooks)


async def left_when_killed(world: World, via: Any, journal: Path, **limits: Any) -> Path:
    """Give what a process leaves that is killed soon after two chunks have reached the server: the files of its
    journal. What it does after that is not in them. It is stopped.
    """
    left, sent, two = journal.with_name("left.db"), count(1), asyncio.Event()

    def look(event: mjbulk.Event) -> None:
        if event.name == "request.sending" and event.call == CARRIERS[via] and next(sent) == 2:
            two.set()

    async with client_of(world, journal, look, **limits) as client:
        run = client.start_import(ROWS, lists=FORCE, run_id="r", via=via)
        await two.wait()
        await asyncio.sleep(5.5)
        for ending in ("", "-wal"):
            shutil.copy(f"{journal}{ending}", f"{left}{ending}")
        await run.stop()
    return left


@pytest.mark.parametrize("via", CARRIERS)
@pytest.mark.parametrize("why", ["max_rate", "429", "slow"])
async def test_only_what_may_have_left_is_in_doubt(world: World, via: Any, why: str, tmp_path: Path) -> None:
    """Chunks that wait for their turn, or for a pause to end, are sent by the next process: with ``addforce``, of which
    nothing is ever retried, no more chunks are unknown than requests can be under way.
    """
    world.emulator.knobs = Knobs(queue_seconds=60.0)
    if why == "429":
        world.emulator.fault(CARRIERS[via], Fault.answer(429, headers={"Retry-After": "40"}), times=None, after=2)
    if why == "slow":
        world.emulator.fault(CARRIERS[via], Fault.delay(after=50.0), times=None)
    limits = {"max_rate": 1.0} if why == "max_rate" else {}
    left = await left_when_killed(world, via, tmp_path / "journal.db", **limits)
    world.emulator._faults._entries.clear()
    async with client_of(world, left) as client:
        states = [chunk.state async for chunk in client.run_chunks("r")]
        report = balanced(await client.import_contacts(ROWS, lists=FORCE, run_id="r", via=via))
    assert states.count("watched") >= (why != "slow")
    assert states.count("sending") <= CONCURRENCY
    assert report.unknown <= CONCURRENCY * CHUNK
    assert (report.accepted, report.not_sent) == (len(ROWS) - report.unknown, 0)
    assert (report.unknown > 0) == (why == "slow" and via == "json")
