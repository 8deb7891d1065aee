"""Runs begin one in each turn of the event loop."""

import asyncio

from mjbulk.run.starts import Starts


async def test_one_begins_in_each_turn_in_their_order() -> None:
    starts, begun, turns = Starts(), [], 0

    async def begin(number: int) -> None:
        await starts.turn()
        begun.append((number, turns))

    tasks = [asyncio.create_task(begin(number)) for number in range(5)]
    while len(begun) < 5:
        turns += 1
        await asyncio.sleep(0)
    assert [number for number, _ in begun] == [0, 1, 2, 3, 4]
    assert len({turn for _, turn in begun}) == 5
    await asyncio.gather(*tasks)


async def test_one_that_is_cancelled_holds_none_of_the_others() -> None:
    starts, begun = Starts(), []

    async def begin(number: int) -> None:
        await starts.turn()
        begun.append(number)

    tasks = [asyncio.create_task(begin(number)) for number in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.wait(tasks)
    assert begun == [0, 2]
    await starts.turn()
