"""How many unfinished jobs and rows an API key may have."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from support import settled

from mjbulk.mailjet.job_slots import JobSlots


def started(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(coroutine)


async def goes_at_once(slots: JobSlots, rows: int) -> bool:
    """Ask for one job, and give up unless it may start at once."""
    task = started(slots.acquire(rows))
    await settled()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return not task.cancelled()


async def all_free(slots: JobSlots, max_jobs: int, max_rows: int) -> bool:
    """Whether as many jobs and rows may start now as the bounds say, and no more. They are given back."""
    jobs = [max_rows, *[0] * (max_jobs - 1)]
    went = [await goes_at_once(slots, rows) for rows in jobs[:-1]]
    too_many_rows = len(jobs) > 1 and await goes_at_once(slots, 1)
    went.append(await goes_at_once(slots, jobs[-1]))
    too_many_jobs = await goes_at_once(slots, 0)
    for rows in jobs:
        slots.release(rows)
    return all(went) and not too_many_rows and not too_many_jobs


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
    """Whichever bound is reached first holds; a chunk with more rows than the bound goes alone."""
    slots = JobSlots(max_jobs, max_rows)
    tasks = [started(slots.acquire(rows)) for rows in asked]
    await settled()
    assert [task.done() for task in tasks] == [True] * taken + [False] * (len(asked) - taken)
    for rows in asked:
        slots.release(rows)
        await settled()
    assert all(task.done() for task in tasks)
    assert await all_free(slots, max_jobs, max_rows)


async def test_chunks_go_in_the_order_of_asking() -> None:
    """A small chunk does not overtake a large one that waits."""
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
    """Runs take turns: a run that comes while a large one fills all slots gets the next free slot."""
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
    """A chunk that gives up waiting leaves the queue, and the chunks behind it go on."""
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
    assert await all_free(slots, 2, 100)


async def test_a_turn_that_comes_together_with_its_cancellation_is_given_back() -> None:
    """A chunk that is cancelled in the moment in which its turn comes does not keep the slot."""
    slots = JobSlots(1, 100)
    await slots.acquire(1)
    first, second = started(slots.acquire(2)), started(slots.acquire(3))
    await settled()
    slots.release(1)
    first.cancel()
    await settled()
    assert first.cancelled()
    assert second.done()
    slots.release(3)
    assert await all_free(slots, 1, 100)


async def test_a_waiter_that_is_cancelled_is_passed_over() -> None:
    """A free slot goes to the next chunk that still waits, even before a cancelled one has run."""
    slots = JobSlots(1, 100)
    await slots.acquire(1)
    first, second = started(slots.acquire(2)), started(slots.acquire(3))
    await settled()
    first.cancel()
    slots.release(1)
    await settled()
    assert first.cancelled()
    assert second.done()
    slots.release(3)
    assert await all_free(slots, 1, 100)


async def test_a_slot_that_was_given_back_is_free_at_once() -> None:
    """After all jobs have given back their slots, the next job does not wait."""
    slots = JobSlots(1, 100)
    for _ in range(3):
        await slots.acquire(5)
        slots.release(5)
    assert await all_free(slots, 1, 100)
