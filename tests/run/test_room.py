"""Callers that wait for room."""

import asyncio

import pytest
from support import settled

from mjbulk.run.room import Room


class House:
    """What has so much room."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.entered: list[int] = []
        self.door = Room(lambda let_in: len(self.entered) + let_in < self.room)

    async def enter(self, number: int) -> None:
        await self.door.enter()
        self.entered.append(number)


async def test_callers_come_in_their_order() -> None:
    """As many as there is room for, also a newcomer behind those that wait."""
    house = House(2)
    callers = [asyncio.create_task(house.enter(number)) for number in range(6)]
    await settled()
    assert house.entered == [0, 1]
    house.room = 4
    house.door.let_in()
    callers.append(asyncio.create_task(house.enter(6)))
    await settled()
    assert house.entered == [0, 1, 2, 3]
    house.room = 9
    house.door.let_in()
    await asyncio.wait(callers)
    assert house.entered == [*range(7)]


@pytest.mark.parametrize("let_in_first", [True, False])
async def test_a_caller_that_is_cancelled_leaves_its_place(*, let_in_first: bool) -> None:
    house = House(0)
    callers = [asyncio.create_task(house.enter(number)) for number in range(3)]
    await settled()
    house.room = 1
    if let_in_first:
        house.door.let_in()
        callers[0].cancel()
    else:
        callers[0].cancel()
        await settled()
        house.door.let_in()
    await settled()
    assert house.entered == [1]
    house.room = 2
    house.door.let_in()
    await settled()
    assert house.entered == [1, 2]


async def test_callers_that_give_up_leave_nothing() -> None:
    """Also where there is never room."""
    house = House(0)
    for number in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(house.enter(number), 1)
    assert not house.door._waiting
