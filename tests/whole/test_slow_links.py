"""Slow is not dead: whole imports over a link that carries little, in the time of a virtual clock."""

import asyncio
from typing import Any

import pytest
from slow_link import slow_link
from support import World, balanced

KIB = 1024
POST = "contact/managemanycontacts"
FORCE: Any = {1: "addforce"}


def fat(count: int, size: int = 1500) -> list[dict[str, Any]]:
    return [{"email": f"p{number}@example.org", "city": "x" * size} for number in range(count)]


def now() -> float:
    return asyncio.get_running_loop().time()


def verdicts(world: World) -> set[str | None]:
    """What became of the requests that carry rows."""
    carriers = (f"POST {POST}", "POST contactslist/CSVData")
    return {event.verdict for event in world.events if event.name == "request" and event.call in carriers}


@pytest.mark.parametrize(("rate", "via"), [(64 * KIB, "json"), (128 * KIB, "json"), (64 * KIB, "csv")])
async def test_all_is_accepted_over_a_slow_link(world: World, rate: int, via: Any) -> None:
    """Nothing is set: eight requests with bodies of 1.5 MB share what the link carries, and none is given up."""
    async with slow_link(world.emulator.url, rate) as link, world.client(api_url=link.url) as client:
        report = balanced(await client.import_contacts(fat(8000), lists=FORCE, via=via))
    assert report.ok
    assert report.accepted == 8000
    assert verdicts(world) == {"applied"}
    assert now() > 90


async def test_bodies_follow_what_the_link_carries(world: World) -> None:
    """Bodies become so small that each is through in a few seconds, while the link is used all the time; on a link that
    is fast again they grow back.
    """
    rate, size = 48 * KIB, 512 * KIB
    async with (
        slow_link(world.emulator.url, rate) as link,
        world.client(api_url=link.url, concurrency=2, chunk_bytes=size) as client,
    ):
        run = client.start_import(fat(5000, 3500), lists=FORCE)
        await asyncio.sleep(130)
        assert link.passed > 0.8 * rate * 130
        link.rate, link.tick = 2**30, 0.01
        assert (await run).ok
    sent = [call for call in world.emulator.calls if call.method == "POST"]
    assert max(call.size for call in sent if call.time < 60) > 500 * KIB
    assert max(call.size for call in sent if 90 <= call.time < 130) <= 130 * KIB
    assert max(call.size for call in sent if call.time > 130) > 500 * KIB


async def test_a_link_that_is_silent_is_given_up(world: World) -> None:
    """When nothing has moved for read_timeout, requests end; no server can have had all of them, so they go again."""
    async with slow_link(world.emulator.url, 64 * KIB) as link, world.client(api_url=link.url) as client:
        run = client.start_import(fat(4000), lists=FORCE)
        await asyncio.sleep(20)
        link.rate = 0
        await asyncio.sleep(59)
        assert verdicts(world) == set()
        await asyncio.sleep(3)
        assert verdicts(world) == {"not applied"}
        link.rate = 2**30
        report = balanced(await run)
    assert report.ok
    assert report.accepted == 4000
