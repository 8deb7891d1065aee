"""The chunks of a run that live: each was begun in a task of its own, and has not ended."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

from mjbulk.jobs.watched_job import WatchedJob
from mjbulk.run.chunk import ChunkInFlight
from mjbulk.tasks import Running, keep

_LOOK = 0.05
"""Seconds between two looks at what is under way, while a run is stopped."""


class LivingChunks:
    """Mutable state: the chunks, and their tasks, by their numbers."""

    def __init__(self) -> None:
        """Begin with none."""
        self._chunks: dict[int, ChunkInFlight] = {}
        self._tasks: dict[int, Running[None]] = {}

    def __len__(self) -> int:
        """Give how many there are."""
        return len(self._chunks)

    def __contains__(self, chunk: ChunkInFlight) -> bool:
        """Say whether a chunk lives."""
        return chunk.number in self._chunks

    def begin(self, chunk: ChunkInFlight, life: Coroutine[Any, Any, None]) -> None:
        """Have a chunk live in a task of its own."""
        self._chunks[chunk.number] = chunk
        self._tasks[chunk.number] = keep(life, name=f"mjbulk chunk {chunk.number}")

    def end(self, chunk: ChunkInFlight) -> None:
        """Take out a chunk that has ended."""
        self._chunks.pop(chunk.number, None)
        self._tasks.pop(chunk.number, None)

    @property
    def tasks(self) -> list[Running[None]]:
        """Their tasks."""
        return list(self._tasks.values())

    @property
    def wait_for_jobs(self) -> bool:
        """Whether there are any, and nothing can be done with them before one of their jobs ends."""
        return bool(self._chunks) and all(chunk.waits_for_jobs for chunk in self._chunks.values())

    def jobs(self) -> Iterator[WatchedJob]:
        """Give the jobs under watch."""
        for chunk in self._chunks.values():
            yield from chunk.jobs()

    def statuses(self) -> Iterator[str]:
        """Give the status of each job that has not ended."""
        for chunk in self._chunks.values():
            yield from chunk.statuses()

    async def stop(self, within: float) -> None:
        """Let requests under way end, within this many seconds, and cancel everything else."""
        tasks = self.tasks
        for number, task in self._tasks.items():
            if not self._chunks[number].under_way:
                task.cancel()
        try:
            await self._until_idle(within)
        finally:
            for task in tasks:
                task.cancel()

    async def _until_idle(self, within: float) -> None:
        """Wait until no request is under way, and nothing is being written down."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within
        while (left := end - loop.time()) > 0:
            busy = [task for number, task in self._tasks.items() if self._chunks[number].under_way]
            if not busy:
                return
            await asyncio.wait(busy, timeout=min(left, _LOOK), return_when=asyncio.FIRST_COMPLETED)

    def unbegun(self) -> list[ChunkInFlight]:
        """Give the chunks whose tasks were cancelled before they began."""
        return [self._chunks[number] for number, task in self._tasks.items() if task.done()]
