"""The calls about runs: those under way, and those that a journal knows. Runs that go on are in ``tests/whole``."""

import asyncio

from support import World

import mjbulk

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}


async def test_runs_under_way_stand_in_their_order(world: World) -> None:
    """And one that has ended is there no more."""
    async with world.client() as client:
        assert not client.active_runs
        runs = [client.start_import([{"email": f"{n}@example.org"}], lists=ADD, run_id=f"r{n}") for n in range(5)]
        assert list(client.active_runs) == runs
        await runs[2].stop()
        assert list(client.active_runs) == [*runs[:2], *runs[3:]]
        await asyncio.wait([run.task for run in runs])
        assert not client.active_runs
