"""How an ingester ends, what becomes of its rows then, and outcomes at which no caller has looked."""

import asyncio
import gc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support import KEYS, World

import mjbulk
from mjbulk.testing import Emulator, Knobs

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
UNSUB: dict[int, mjbulk.ActionWord] = {1: "unsub"}


def who(number: int) -> dict[str, Any]:
    return {"email": f"p{number}@example.org"}


async def test_a_drain_that_runs_out() -> None:
    """Rows in no chunk are not sent, wherever they are; those of jobs under way are unknown, with their job."""
    async with Emulator(Knobs(queue_seconds=60.0)) as emulator, World(emulator).client(drain=5.0) as client:
        ingester = client.ingest(lists=ADD, linger=0.1, max_chunks=1)
        async with ingester:
            flying = await ingester.send(who(1))
            await asyncio.sleep(1)
            left = [
                await ingester.send(who(2)),
                await ingester.send(who(1)),
                await ingester.send(who(1), lists=UNSUB),
                await ingester.send(who(3), lists=UNSUB),
            ]
            left[0].cancel()
        assert flying.result().state == "unknown"
        assert flying.result().job is not None
        assert [future.result().state for future in left[1:]] == ["not_sent"] * 3
        counts = ingester.progress
        assert (counts.rows, counts.unknown, counts.not_sent) == (5, 1, 4)
        for call in (ingester.send(who(4)), ingester.put(who(4)), ingester.put(who(4), lists=UNSUB)):
            with pytest.raises(mjbulk.UsageError, match="is closed"):
                await call


async def test_callers_that_wait_for_room_hear_that_it_is_closed() -> None:
    async with Emulator(Knobs(queue_seconds=60.0)) as emulator, World(emulator).client() as client:
        ingester = client.ingest(lists=ADD, linger=0.1, max_chunks=1, max_waiting=1)
        with suppress(ZeroDivisionError):
            async with ingester:
                first, *others = [asyncio.create_task(ingester.put(who(n))) for n in range(4)]
                await asyncio.sleep(3)
                raise ZeroDivisionError
        assert (await first).state == "unknown"
        ends = await asyncio.gather(*others, return_exceptions=True)
        assert {end.state if isinstance(end, mjbulk.Outcome) else type(end) for end in ends} == {
            "not_sent",
            mjbulk.UsageError,
        }


async def test_cancelling_a_put_whose_row_is_in_a_chunk_stops_the_wait_alone() -> None:
    async with Emulator(Knobs(queue_seconds=10.0)) as emulator, World(emulator).client() as client:
        async with client.ingest(lists=ADD, linger=0.1) as ingester:
            put = asyncio.create_task(ingester.put(who(1)))
            await asyncio.sleep(2)
            put.cancel()
            with suppress(asyncio.CancelledError):
                await put
            await ingester.flush()
            assert ingester.progress.accepted == 1
        assert set(emulator.contacts) == {"p1@example.org"}


async def test_a_rejected_row_names_its_job(world: World) -> None:
    world.emulator.reject("p1@example.org", "Invalid email")
    async with world.client() as client, client.ingest(lists=ADD) as ingester:
        rejected, good = await asyncio.gather(ingester.put(who(1)), ingester.put(who(2)))
    assert (rejected.state, rejected.job) == ("rejected", good.job)


async def test_outcomes_that_nobody_has_looked_at_are_counted(world: World) -> None:
    """Once each, when their futures are dropped. To await, to wait for, to be called with and to read is to look."""
    for number in range(10):
        world.emulator.reject(f"p{number}@example.org", "Invalid email")

    def unseen() -> int:
        gc.collect()
        return sum(event.rows or 0 for event in world.events if event.name == "outcomes.unseen")

    async with world.client() as client, client.ingest(lists=ADD) as ingester:
        assert (await ingester.put(who(0))).state == "rejected"
        assert not (await (await ingester.send(who(1)))).ok
        called = await ingester.send(who(2))
        called.add_done_callback(lambda _: None)
        waited = await ingester.send(who(3))
        await asyncio.wait([waited])
        gathered = await asyncio.gather(*[await ingester.send(who(4))])
        read = await ingester.send(who(5))
        await ingester.flush()
        assert read.result().state == gathered[0].state == "rejected"
        with pytest.raises(mjbulk.OutcomeRejected):
            await ingester.send({"email": "nobody"})
        with pytest.raises(mjbulk.UsageError):
            await ingester.send(who(20), lists={99: "unsub"})
        await ingester.send(who(21))
        (await ingester.send(who(6))).cancel()
        await ingester.flush()
        assert unseen() == 0
        for number in range(7, 9):
            await ingester.send(who(number))
        await ingester.flush()
        await ingester.put(who(22))
        assert unseen() == 2
        await ingester.send(who(9))
        kept = await ingester.send(who(1))
        await ingester.flush()
        assert not kept.done() or unseen() < 4
        del kept
    assert unseen() == 4
    assert {event.run_id for event in world.events if event.name == "outcomes.unseen"} != {None}


async def test_a_column_that_is_no_property_costs_no_request_for_each_row(world: World) -> None:
    """In any lane, and with many such columns; they are looked up again after ``account_ttl``."""
    async with world.client(account_ttl=600.0) as client, client.ingest(lists=ADD) as ingester:
        for number in range(60):
            row = {**who(number), f"no{number % 3}": "x"}
            lists = ADD if number % 2 else {1: "addforce"}
            with pytest.raises(mjbulk.OutcomeRejected, match="no"):
                await ingester.send(row, lists=lists)  # type: ignore[arg-type]  # both are lists
            await asyncio.sleep(1)
        assert world.emulator.count("GET contactmetadata") <= 5


@pytest.mark.parametrize(
    "wrong",
    [{"linger": float("nan")}, {"linger": float("inf")}, {"linger": -1}, {"max_chunks": 0}, {"max_waiting": 2.5}],
)
async def test_bounds_that_cannot_be_are_refused(world: World, wrong: Any) -> None:
    """With some of them no row would ever leave."""
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError, match=next(iter(wrong))):
            client.ingest(lists=ADD, **wrong)


async def test_a_client_that_closes_while_an_ingester_is_entered(world: World, tmp_path: Path) -> None:
    """The ingester does not begin."""
    client = mjbulk.Client(KEYS, world.settings(), journal=tmp_path / "j.db")
    async with client:
        ingester = client.ingest(lists=ADD)
        entering = asyncio.create_task(ingester.__aenter__())
        await asyncio.sleep(0)
    with pytest.raises(mjbulk.UsageError, match="closed"):
        await entering
    assert ingester._gathering._work is None
