"""The chunks of a run on their sender: who waits for whom, for room, and for the books of an earlier process.

Each chunk has a task of its own. A chunk that shares a person with an unfinished one waits for it. One that was cut
before, and has to be sent again or still, waits until the whole of what was cut before has been found unchanged.
"""

import asyncio
from array import array
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from mjbulk.chunks.chunker import Chunk
from mjbulk.chunks.people import Lanes
from mjbulk.errors import Error
from mjbulk.jobs.scheduler import WatchedJob
from mjbulk.journal.records import ChunkRecord, PartRecord
from mjbulk.run.chunk import Delivery
from mjbulk.run.senders import Sender
from mjbulk.run.submission import Desk

GRACE = 10.0
"""Seconds that requests under way have to end when a run is stopped."""


class Deliveries:
    """All deliveries of one run. Mutable state: those that are unfinished, their people, and what is in doubt."""

    def __init__(
        self,
        desk: Desk,
        *,
        failed: Callable[[BaseException], object],
        ended: Callable[[], object],
        why: Callable[[], str],
    ) -> None:
        """``failed`` is told what no row is to blame for, ``ended`` of each delivery; ``why`` gives
        what ended the run.
        """
        self.last_row = 0
        """The last row of those that were taken."""
        self.sent_anything = False
        self._desk = desk
        self._failed = failed
        self._ended = ended
        self._why = why
        self._lanes = Lanes()
        self._tasks: dict[asyncio.Task[None], Delivery] = {}
        self._unfinished: dict[int, Delivery] = {}
        self._in_doubt: dict[int, list[PartRecord]] = {}
        self._held: list[tuple[Delivery, asyncio.Event]] = []
        self._rooms: set[int] = set()

    async def take(self, chunk: Chunk, sender: Sender) -> None:
        """Give a chunk to a task of its own when there is room; one that is settled is only entered into the books.

        Raises JournalRefused where its rows are not those that it held before.
        """
        log = self._desk.log
        delivery = Delivery(chunk.number, chunk.span, log.recognise(chunk), self._desk)
        delivery.load(chunk, sender)
        await delivery.replay()
        self.last_row = chunk.rows[-1]
        if delivery.idle:
            delivery.close("")
        elif delivery.handover is None or chunk.number > log.history.last:
            try:
                await self._make_room(delivery)
            except BaseException:  # the run ends here: in its books, this chunk is as it is
                delivery.close(self._why())
                raise
            self._start(delivery, chunk)
        else:
            delivery.handover.put_aside()
            unchanged = asyncio.Event()
            self._held.append((delivery, unchanged))
            self._start(delivery, chunk, unchanged)
        if chunk.number >= log.history.last:
            await self._let_held_go()

    async def take_known(self, chunk: ChunkRecord) -> None:
        """Settle what is known of a chunk whose rows are not at hand."""
        records = self._desk.log.parts_of(chunk)
        delivery = Delivery(chunk.number, range(chunk.first, chunk.last + 1), records, self._desk)
        await delivery.replay()
        if not delivery.idle:
            await self._make_room(delivery)
            self._lanes.enter(chunk.number, array("Q"))
            self._unfinished[delivery.number] = delivery
            self._track(delivery, delivery.deliver())

    async def wait(self) -> None:
        """Wait until all have ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def halt(self) -> None:
        """Begin nothing more."""
        self._desk.stopped = True

    async def stop(self) -> None:
        """Let requests under way end, within bounds, and stop everything else."""
        self.halt()
        submitting = [task for task, delivery in self._tasks.items() if delivery.submitting]
        for task, delivery in list(self._tasks.items()):
            if not delivery.submitting:
                task.cancel()
        if submitting:
            await asyncio.wait(submitting, timeout=GRACE)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._desk.spill.close()

    def watched(self) -> Iterator[WatchedJob]:
        """Give the jobs under watch."""
        for delivery in self._unfinished.values():
            yield from delivery.watched()

    def statuses(self) -> dict[str, int]:
        """Give how many jobs are in which status."""
        jobs = dict(self._desk.statuses)
        for status in (status for delivery in self._unfinished.values() for status in delivery.statuses()):
            jobs[status] = jobs.get(status, 0) + 1
        return jobs

    async def _let_held_go(self) -> None:
        """All that was cut before is unchanged: what has to be sent of it may go, in the order of the source."""
        held, self._held = self._held, []
        for delivery, unchanged in held:
            await self._make_room(delivery)
            unchanged.set()

    async def _make_room(self, delivery: Delivery) -> None:
        """Wait for room for a body in memory, and for a job at Mailjet."""
        if delivery.handover is not None:
            await delivery.handover.make_room()
        await self._desk.engine.slots.acquire(delivery.entries)
        self._rooms.add(delivery.number)

    def _start(self, delivery: Delivery, chunk: Chunk, held: asyncio.Event | None = None) -> None:
        before = sorted(self._lanes.enter(chunk.number, chunk.people))
        self._unfinished[delivery.number] = delivery
        self._track(delivery, self._deliver(delivery, before, held))

    async def _deliver(self, delivery: Delivery, before: Sequence[int], held: asyncio.Event | None) -> None:
        """Deliver a chunk after those before it that share a person with it."""
        if held is not None:
            await held.wait()
        if delivery.handover is not None:
            for number in before:
                if number in self._unfinished:
                    await self._unfinished[number].done.wait()
            if self._desk.stopped:
                return
            self._overtake(before)
            self.sent_anything = True
        await delivery.deliver()

    def _overtake(self, before: Sequence[int]) -> None:
        """Write down that later rows go out of people whose earlier ones are in doubt: those are not sent again."""
        for number in self._in_doubt.keys() & before:
            for record in self._in_doubt.pop(number):
                self._desk.log.overtake(record)
            self._lanes.leave(number)

    def _track(self, delivery: Delivery, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks[task] = delivery
        task.add_done_callback(self._delivered)

    def _delivered(self, task: asyncio.Task[None]) -> None:
        """Close a chunk, also one whose task was cancelled before it began."""
        delivery = self._tasks.pop(task)
        if not task.cancelled():
            failure = task.exception()
        else:
            failure = None if self._desk.stopped else Error("it was cancelled from within")
        if failure is not None:
            self._failed(failure)
        delivery.close(self._why())
        del self._unfinished[delivery.number]
        if delivery.in_doubt and self._desk.log.keeps:
            self._in_doubt[delivery.number] = delivery.in_doubt
        else:
            self._lanes.leave(delivery.number)
        if delivery.number in self._rooms:
            self._rooms.discard(delivery.number)
            self._desk.engine.slots.release(delivery.entries)
        delivery.done.set()
        self._ended()
