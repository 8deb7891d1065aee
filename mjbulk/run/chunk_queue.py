"""Which chunk is sent next.

A chunk waits here from its cut until it may go: chunks of an earlier process that have to be done first,
room for its body in memory, and a job slot of its API key. Slots are shared with other runs, so the queue requests one
at a time.
"""

import asyncio
from collections.abc import Callable

from attrs import define, field

from mjbulk.mailjet.job_slots import JobSlots
from mjbulk.run.chunk import ChunkInFlight


@define(eq=False)
class WaitingChunk:
    """A chunk that was cut and was not sent. Mutable: what it waits for."""

    chunk: ChunkInFlight
    chunks: set[int] = field(factory=set)
    """Chunks that have to be done first."""
    jobs: set[int] = field(factory=set)
    """Chunks whose known jobs have to end first."""
    overtakes: frozenset[int] = frozenset()
    """Chunks with earlier rows of its people: those of them that are in doubt are not retried once it is sent."""


class ChunkQueue:
    """The chunks of a run that wait, and what those that were sent occupy.

    Mutable state: the queue; the chunk that has asked for a job slot; who has a slot, and whose body is in memory.
    """

    def __init__(self, slots: JobSlots, most_bodies: int, *, has_slot: Callable[[], object]) -> None:
        """Begin without a chunk. ``has_slot`` is called when a slot has come, and `next` may give a chunk."""
        self._job_slots = slots
        self._most_bodies = most_bodies
        self._has_slot = has_slot
        self._waiting: list[WaitingChunk] = []
        self._asking: tuple[WaitingChunk, asyncio.Future[None]] | None = None
        self._slots: dict[int, int] = {}  # entries of chunks that have a job slot
        self._bodies: set[int] = set()

    def __len__(self) -> int:
        """Give how many chunks wait."""
        return len(self._waiting)

    @property
    def entries(self) -> int:
        """How many entries the chunks have that have a job slot."""
        return sum(self._slots.values())

    @property
    def idle(self) -> bool:
        """Whether no chunk waits, and none is being submitted."""
        return not self._waiting and not self._bodies

    @property
    def waits_for(self) -> str | None:
        """What the next chunk waits for; None if there is none."""
        if not self._waiting:
            return None
        if len(self._bodies) >= self._most_bodies:
            return "answers to requests that were sent"
        if self._asking is not None:
            return "a job to end: the key has as many unfinished jobs or rows as max_jobs and max_rows allow"
        return "chunks that were sent before, with the same people"

    def add(self, waiting: WaitingChunk) -> None:
        """Have a chunk wait behind those that are here. Raises OSError if its body cannot be written to the spill."""
        self._waiting.append(waiting)
        if len(self._waiting) > 1:
            waiting.chunk.spill_body()

    def next(self) -> WaitingChunk | None:
        """Take out the chunk that goes now, with a slot and room for its body; None if none can go."""
        waiting = self._first()
        if waiting is None:
            return None
        if self._asking is None:
            slot = self._job_slots.ask(waiting.chunk.entries)
            self._asking = (waiting, slot)
            slot.add_done_callback(self._granted)
        if not self._asking[1].done():
            return None
        self._asking = None
        self._slots[waiting.chunk.number] = waiting.chunk.entries
        self._bodies.add(waiting.chunk.number)
        self._waiting.remove(waiting)
        return waiting

    def _first(self) -> WaitingChunk | None:
        """Give the chunk that goes next, if there is room for its body."""
        if len(self._bodies) >= self._most_bodies:
            return None
        if self._asking is not None:
            return self._asking[0]
        return next((waiting for waiting in self._waiting if not waiting.chunks and not waiting.jobs), None)

    def _granted(self, slot: asyncio.Future[None]) -> None:
        if not slot.cancelled():
            self._has_slot()

    # What has ended

    def done(self, number: int) -> None:
        """Let go what waits for a chunk, and what it occupies."""
        self.submitted(number)
        self._release(number)
        for waiting in self._waiting:
            waiting.chunks.discard(number)
            waiting.jobs.discard(number)

    def submitted(self, number: int) -> None:
        """Give the place of a body back."""
        self._bodies.discard(number)

    def hold(self, chunk: ChunkInFlight) -> None:
        """Hold the slot of a chunk whose jobs are known, whether there is room or not."""
        self._job_slots.hold(chunk.entries)
        self._slots[chunk.number] = chunk.entries

    def known_jobs_ended(self, chunk: ChunkInFlight) -> None:
        """Let go what waits for known jobs of a chunk. One that is still to be sent gives its slot back: it may have to
        wait for a chunk that needs a slot.
        """
        if chunk.to_be_sent:
            self._release(chunk.number)
        for waiting in self._waiting:
            waiting.jobs.discard(chunk.number)

    def _release(self, number: int) -> None:
        if number in self._slots:
            self._job_slots.release(self._slots.pop(number))

    def ask_no_more(self) -> None:
        """Give back the slot that a chunk has asked for."""
        if self._asking is None:
            return
        waiting, slot = self._asking
        self._asking = None
        if slot.done():
            self._job_slots.release(waiting.chunk.entries)
        else:
            slot.cancel()

    def clear(self) -> list[ChunkInFlight]:
        """Give up all chunks that wait, and give them."""
        self.ask_no_more()
        waiting, self._waiting = self._waiting, []
        return [one.chunk for one in waiting]
