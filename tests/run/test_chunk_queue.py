"""Which chunk is sent next, what it occupies then, and that all of it is given back."""

import asyncio
from typing import Any

import pytest
from support import settled

from mjbulk.mailjet.job_slots import JobSlots
from mjbulk.run.chunk_queue import ChunkQueue, WaitingChunk


class FakeChunk:
    """As much of a chunk as the queue looks at."""

    def __init__(self, number: int, entries: int = 1, *, to_be_sent: bool = True) -> None:
        self.number = number
        self.entries = entries
        self.to_be_sent = to_be_sent
        self.spilled = 0
        self.failure: OSError | None = None

    def spill_body(self) -> None:
        self.spilled += 1
        if self.failure is not None:
            raise self.failure


class Case:
    def __init__(self, jobs: int = 100, rows: int = 1000, bodies: int = 100) -> None:
        self.slots = JobSlots(jobs, rows)
        self.news = 0
        self.queue = ChunkQueue(self.slots, bodies, has_slot=self._hear)

    def _hear(self) -> None:
        self.news += 1

    def add(self, *chunks: FakeChunk, **waits: Any) -> None:
        for chunk in chunks:
            anything: Any = chunk
            self.queue.add(WaitingChunk(anything, **waits))

    def hold(self, chunk: FakeChunk) -> FakeChunk:
        anything: Any = chunk
        self.queue.hold(anything)
        return chunk

    def known_jobs_ended(self, chunk: FakeChunk) -> None:
        anything: Any = chunk
        self.queue.known_jobs_ended(anything)

    def next(self) -> int | None:
        waiting = self.queue.next()
        return waiting.chunk.number if waiting is not None else None

    def all(self) -> list[int]:
        numbers = []
        while (number := self.next()) is not None:
            numbers.append(number)
        return numbers

    @property
    def free(self) -> tuple[int, int]:
        """How many jobs and rows are held by anybody."""
        return self.slots._jobs, self.slots._rows


async def test_chunks_go_in_the_order_in_which_they_came() -> None:
    """Each with a slot for its entries."""
    case = Case()
    case.add(FakeChunk(1, 5), FakeChunk(2, 6), FakeChunk(3, 7))
    assert case.all() == [1, 2, 3]
    assert (case.free, case.queue.entries, len(case.queue)) == ((3, 18), 18, 0)


async def test_a_chunk_waits_for_a_slot() -> None:
    """It has asked for one, and the queue hears when it has come."""
    case = Case(jobs=1)
    case.add(FakeChunk(1), FakeChunk(2))
    assert case.all() == [1]
    assert case.next() is None
    await settled()
    case.news = 0
    case.queue.done(1)
    await settled()
    assert case.news == 1
    assert case.all() == [2]
    case.queue.done(2)
    assert case.free == (0, 0)


async def test_only_one_chunk_asks_at_a_time() -> None:
    """Slots are shared: a small import next to it waits for one job, and not for the whole queue."""
    case = Case(jobs=1)
    case.add(*map(FakeChunk, range(1, 6)))
    assert case.all() == [1]
    other = case.slots.ask(1)
    case.queue.done(1)
    assert case.next() == 2
    case.queue.done(2)
    assert case.next() is None
    await settled()
    assert other.done()


async def test_bodies_are_bounded() -> None:
    """The next chunk goes when one was submitted, long before its job ends, and no slot is requested before."""
    case = Case(bodies=2)
    case.add(*map(FakeChunk, range(1, 5)))
    assert case.all() == [1, 2]
    assert case.free == (2, 2)
    case.queue.submitted(1)
    assert case.all() == [3]
    case.queue.done(2)
    assert case.all() == [4]


async def test_a_slot_that_came_is_kept_while_there_is_no_room_for_a_body() -> None:
    """And given to the chunk that asked for it."""
    case = Case(jobs=2, bodies=1)
    case.hold(FakeChunk(9))
    case.hold(FakeChunk(8))
    case.add(FakeChunk(1), FakeChunk(2))
    assert case.next() is None
    case.queue.done(9)
    case.queue.done(8)
    await settled()
    assert case.next() == 1
    assert case.next() is None
    case.queue.done(1)
    assert case.next() == 2


@pytest.mark.parametrize("waits", [{"chunks": {7}}, {"jobs": {7}}])
async def test_a_chunk_waits_for_others(waits: dict[str, set[int]]) -> None:
    """Those behind it that wait for nothing go first."""
    case = Case()
    case.add(FakeChunk(1), **waits)
    case.add(FakeChunk(2))
    assert case.all() == [2]
    case.queue.done(7)
    assert case.all() == [1]


async def test_a_chunk_that_waits_for_jobs_waits_for_nothing_else_of_their_chunk() -> None:
    """One that waits for the whole chunk does."""
    case = Case()
    seven = case.hold(FakeChunk(7))
    case.add(FakeChunk(1), jobs={7})
    case.add(FakeChunk(2), chunks={7})
    assert case.all() == []
    case.known_jobs_ended(seven)
    assert case.all() == [1]
    case.queue.done(7)
    assert case.all() == [2]


async def test_a_chunk_gives_its_slot_back_when_its_known_jobs_have_ended_and_it_is_still_to_be_sent() -> None:
    """Another chunk may have to go first, and need it: here both would wait for ever."""
    case = Case(jobs=1)
    five = case.hold(FakeChunk(5))
    case.add(FakeChunk(4))
    case.add(five, chunks={4}, jobs={5})
    assert case.all() == []
    case.known_jobs_ended(five)
    await settled()
    assert case.all() == [4]
    case.queue.done(4)
    await settled()
    assert case.all() == [5]
    case.queue.done(5)
    assert case.free == (0, 0)


async def test_a_chunk_that_is_only_watched_keeps_its_slot_until_it_is_done() -> None:
    """Its job may be settled later than it ends."""
    case = Case()
    watched = case.hold(FakeChunk(5, 10, to_be_sent=False))
    case.known_jobs_ended(watched)
    assert case.free == (1, 10)
    case.queue.done(5)
    case.queue.done(5)
    assert case.free == (0, 0)


async def test_bodies_behind_the_first_are_kept_on_disk() -> None:
    """Only the first goes at once, as a rule."""
    case = Case()
    one, two, three = map(FakeChunk, range(1, 4))
    case.add(one, two, three)
    assert [chunk.spilled for chunk in (one, two, three)] == [0, 1, 1]


async def test_a_chunk_whose_body_cannot_be_written_is_in_the_queue() -> None:
    """The caller that gives up the queue gets it, so its rows have an outcome."""
    case = Case()
    bad = FakeChunk(2)
    bad.failure = OSError("full")
    case.add(FakeChunk(1))
    with pytest.raises(OSError, match="full"):
        case.add(bad)
    assert [chunk.number for chunk in case.queue.clear()] == [1, 2]


@pytest.mark.parametrize("granted", [False, True])
async def test_what_was_asked_for_is_given_back(*, granted: bool) -> None:
    """Whether the slot has come in the same moment or not."""
    case = Case(jobs=1)
    other = case.slots.ask(1)
    case.add(FakeChunk(1), FakeChunk(2))
    assert case.next() is None
    if granted:
        case.slots.release(1)
    assert [chunk.number for chunk in case.queue.clear()] == [1, 2]
    if not granted:
        case.slots.release(1)
    await settled()
    assert (case.free, case.news) == ((0, 0), int(granted))
    assert case.next() is None
    case.queue.ask_no_more()
    assert other.done()


async def test_a_queue_is_not_stuck_behind_one_that_gave_up() -> None:
    """Another run's chunk gets the slot."""
    case = Case(jobs=1)
    case.hold(FakeChunk(9))
    case.add(FakeChunk(1))
    assert case.next() is None
    other = case.slots.ask(1)
    case.queue.ask_no_more()
    case.queue.done(9)
    await settled()
    assert other.done()
    assert asyncio.isfuture(other)


# What it waits for


async def test_it_says_what_the_next_chunk_waits_for() -> None:
    case = Case(jobs=1, bodies=1)
    assert case.queue.waits_for is None
    one, two, three = (FakeChunk(number) for number in (1, 2, 3))
    case.add(one)
    assert case.next() == 1
    case.add(two)
    assert case.next() is None
    assert "requests that were sent" in (case.queue.waits_for or "")
    case.queue.submitted(1)
    assert case.next() is None
    assert "max_jobs" in (case.queue.waits_for or "")
    case.queue.done(1)
    assert case.next() == 2
    case.queue.done(2)
    case.add(three, chunks={2})
    assert case.next() is None
    assert "with the same people" in (case.queue.waits_for or "")
    case.queue.ask_no_more()
