"""How many unfinished jobs and rows an API key may have."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from mjbulk.mailjet.job_slots import JobSlots


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def started(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(coroutine)


@pytest.mark.parametrize(
    ("max_jobs", "max_rows", "asked", "taken"),
    [
        (3, 100, [1, 1, 1, 1], 3),
        (9, 100, [50, 50, 1], 2),
        (9, 100, [60, 50], 1),
        (9, 100, [1000], 1),
        (9, 100, [1000, 1], 1),
        (9, 100, [1, 1000], 1),
        (9, 100, [0, 0], 2),
    ],
)
async def test_jobs_and_rows_are_bounded(max_jobs: int, max_rows: int, asked: list[int], taken: int) -> None:
    """Whichever bound is reached first holds; a chunk that is larger than all rows goes alone."""
    slots = JobSlots(max_jobs, max_rows)
    tasks = [started(slots.acquire(rows)) for rows in asked]
    await settled()
    assert [task.done() for task in tasks] == [True] * taken + [False] * (len(asked) - taken)
    for rows in asked:
        slots.release(rows)
        await settled()
    assert all(task.done() for task in tasks)
    assert (slots._jobs, slots._rows, len(slots._queue)) == (0, 0, 0)


async def test_who_asked_first_goes_first() -> None:
    """Turns are taken in the order of asking: a small chunk does not overtake a large one that waits."""
    slots, order = JobSlots(2, 100), list[str]()

    async def chunk(name: str, rows: int) -> None:
        await slots.acquire(rows)
        order.append(name)

    await slots.acquire(60)
    tasks = [started(chunk(name, rows)) for name, rows in (("large", 60), ("small", 1), ("last", 30))]
    await settled()
    assert order == []
    slots.release(60)
    await settled()
    assert order == ["large", "small"]
    slots.release(1)
    await asyncio.gather(*tasks)
    assert order == ["large", "small", "last"]


async def test_a_small_import_waits_for_one_job_only() -> None:
    """Runs take turns: who comes while a large one fills all places gets the next that is given back."""
    slots, clock = JobSlots(4, 10**6), asyncio.get_running_loop()

    async def run(chunks: int) -> float:
        for _ in range(chunks):
            await slots.acquire(1)
            clock.call_later(10, slots.release, 1)
        return clock.time()

    began = clock.time()
    large = asyncio.create_task(run(40))
    await settled()
    small = asyncio.create_task(run(1))
    assert await small - began == pytest.approx(10)
    assert await large - began == pytest.approx(100)


async def test_a_wait_that_is_cancelled_leaves_no_trace() -> None:
    """Who gives up waiting is taken out of the queue, and those behind go on."""
    slots = JobSlots(2, 100)
    await slots.acquire(50)
    large, small = started(slots.acquire(90)), started(slots.acquire(1))
    await settled()
    assert not small.done()
    large.cancel()
    await settled()
    assert large.cancelled()
    assert small.done()
    slots.release(50)
    slots.release(1)
    assert (slots._jobs, slots._rows, len(slots._queue)) == (0, 0, 0)


async def test_a_turn_that_comes_together_with_its_cancellation_is_given_back() -> None:
    """Who is cancelled in the moment in which the turn comes does not keep the place."""
    slots = JobSlots(1, 100)
    await slots.acquire(1)
    first, second = started(slots.acquire(2)), started(slots.acquire(3))
    await settled()
    slots.release(1)
    first.cancel()
    await settled()
    assert first.cancelled()
    assert second.done()
    assert (slots._jobs, slots._rows) == (1, 3)


async def test_a_waiter_that_is_cancelled_is_passed_over() -> None:
    """A place that is given back goes to the next who still waits, also before a cancelled one has noticed."""
    slots = JobSlots(1, 100)
    await slots.acquire(1)
    first, second = started(slots.acquire(2)), started(slots.acquire(3))
    await settled()
    first.cancel()
    slots.release(1)
    await settled()
    assert first.cancelled()
    assert second.done()
    assert (slots._jobs, slots._rows) == (1, 3)


async def test_a_place_is_free_at_once_for_who_comes_later() -> None:
    """After all have given back, the next is not made to wait."""
    slots = JobSlots(1, 100)
    for _ in range(3):
        await slots.acquire(5)
        slots.release(5)
    assert (slots._jobs, slots._rows) == (0, 0)
