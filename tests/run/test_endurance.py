"""Failures that are of no row, endured."""

import asyncio
import logging
from contextlib import suppress

import pytest

from mjbulk.errors import ApiError, CredentialsRefused, NoAnswer
from mjbulk.run.endurance import Endurance


class Server:
    """Refuses every step until it is back."""

    def __init__(self) -> None:
        self.back = False
        self.asked: list[float] = []
        self.endurance = Endurance(lambda: None)

    async def step(self) -> str:
        loop = asyncio.get_running_loop()
        self.asked.append(loop.time())
        await asyncio.sleep(0.1)
        if not self.back:
            kinds = (ApiError(500, call="GET a"), NoAnswer("GET b", why="it is away", attempts=1, sent=False))
            raise kinds[len(self.asked) % 2]
        return "done"


async def test_one_alone_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """With waits that grow, and one warning, whatever the causes say; when one has succeeded, all are tried."""
    server = Server()
    began = asyncio.get_running_loop().time()
    with caplog.at_level(logging.INFO, "mjbulk"):
        steps = asyncio.gather(*(server.endurance.patiently(server.step) for _ in range(8)))
        await asyncio.sleep(3600)
        assert 8 + 55 < len(server.asked) < 8 + 70
        assert [round(when - began) for when in server.asked[8:12]] == [1, 3, 7, 15]
        server.back = True
        assert await steps == ["done"] * 8
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    server.back = False
    later = asyncio.create_task(server.endurance.patiently(server.step))
    await asyncio.sleep(0.5)
    asked = len(server.asked)
    await asyncio.sleep(1)
    assert len(server.asked) == asked + 1
    later.cancel()


async def test_the_turn_passes_on() -> None:
    """From one that is cancelled, or is refused in another way, to the next."""
    server = Server()
    first = asyncio.create_task(server.endurance.patiently(server.step))
    await asyncio.sleep(0.5)
    second = asyncio.create_task(server.endurance.patiently(server.step))
    await asyncio.sleep(0.2)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    server.back = True
    assert await asyncio.wait_for(second, 10) == "done"
    server.back = False
    with pytest.raises((ApiError, NoAnswer)):
        await server.endurance.patiently(server.step, lambda: False)


async def test_it_knows_whether_the_account_can_be_asked() -> None:
    """Each failure is told: callers do not wait for it."""
    told: list[bool] = []
    endurance = Endurance(lambda: told.append(True))
    refusals = [CredentialsRefused(401, call="GET a"), CredentialsRefused(401, call="GET a")]

    async def ask() -> int:
        if refusals:
            raise refusals.pop()
        return 7

    asking = asyncio.create_task(endurance.judging(ask))
    await asyncio.sleep(0.1)
    assert endurance.away
    assert await asking == 7
    assert (endurance.away, len(told)) == (False, 2)
