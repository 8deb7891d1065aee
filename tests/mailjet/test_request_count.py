"""Each run counts the requests that it has caused, in whatever task they are sent."""

import asyncio

from mjbulk.mailjet.request_count import RequestCount, count_request, current_count


async def send(requests: int) -> None:
    for _ in range(requests):
        count_request()
        await asyncio.sleep(0)


async def counting(requests: int) -> RequestCount:
    count = RequestCount()
    count.begin()
    await asyncio.gather(send(requests), asyncio.create_task(send(1)))
    return count


async def test_tasks_count_for_the_one_that_has_started_them() -> None:
    """Two that run side by side do not count each other's requests, and what nobody counts is no fault."""
    count_request()
    one, other = await asyncio.gather(counting(3), counting(5))
    assert (one.sent, other.sent) == (4, 6)
    assert current_count() is None


async def test_a_shared_task_counts_for_the_one_that_it_works_for() -> None:
    """It takes that count, as long as it lives."""
    mine, theirs = RequestCount(), RequestCount()
    mine.begin()

    async def look() -> None:
        theirs.begin()
        await send(2)

    await asyncio.create_task(look())
    await send(1)
    assert (mine.sent, theirs.sent) == (1, 2)
    assert current_count() is mine
