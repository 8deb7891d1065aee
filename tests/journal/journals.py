"""Journals and records for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import evolve

import mjbulk
from mjbulk.events import Event
from mjbulk.journal.history import History
from mjbulk.journal.records import (
    ChunkRecord,
    PartRecord,
    RejectionRecord,
    RunRecord,
    encode_spec,
    number_of,
)
from mjbulk.journal.sql import SqlJournal


@asynccontextmanager
async def opened(where: str | Path, events: list[Event] | None = None, **more: Any) -> AsyncIterator[SqlJournal]:
    journal = SqlJournal(where, (events if events is not None else []).append, **more)
    try:
        yield journal
    finally:
        await journal.aclose()


def run_of(name: str, **said: Any) -> RunRecord:
    spec = encode_spec(mjbulk.RunSpec(lists=None))
    return RunRecord(run=number_of("a", name, ""), run_id=name, account="a", spec=spec, created="2026-11-23", **said)


def chunk_of(run: RunRecord, number: int) -> ChunkRecord:
    first = number * 10 - 9
    return ChunkRecord(run=run.run, number=number, first=first, last=first + 9, rows=10, entries=10, digest="d")


def cut(run: RunRecord, number: int) -> tuple[ChunkRecord, PartRecord]:
    """What is written of a chunk when it is cut."""
    chunk = chunk_of(run, number)
    return chunk, chunk.whole()


def settled(run: RunRecord, number: int) -> PartRecord:
    return PartRecord(run=run.run, chunk=number, first=0, end=10, rows=10, state="settled", accepted=10)


def rejection(run: RunRecord, chunk: int, number: int) -> RejectionRecord:
    return RejectionRecord(
        run=run.run, chunk=chunk, first=0, number=number, row=number, message="No", match="exact", origin="mjbulk"
    )


RUN = run_of("r")


def unheld(history: History) -> History:
    """Give what is known of a run without the number of the process that has it open."""
    return evolve(history, run=evolve(history.run, fence=0))


async def begin(journal: SqlJournal, run: RunRecord = RUN) -> None:
    """Open a run that is not there yet, and write it down."""
    assert not (await journal.open_run(run)).begun
    await journal.put(run)
