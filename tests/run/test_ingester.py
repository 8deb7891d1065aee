"""Rows of many tasks, gathered into chunks, and the outcome of each."""

import asyncio
import json
import logging
import pickle
import random
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from support import World

import mjbulk
from mjbulk.testing import Emulator, Fault, Knobs

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
FORCE: dict[int, mjbulk.ActionWord] = {1: "addforce"}


def who(number: int) -> dict[str, Any]:
    return {"email": f"p{number}@example.org"}


async def test_each_caller_gets_the_outcome_of_its_own_row(world: World) -> None:
    """Rows of many tasks go in one chunk."""
    world.emulator.reject("p7@example.org", "Invalid email")
    async with world.client() as client, client.ingest(lists=ADD) as ingester:
        outcomes = await asyncio.gather(*(ingester.put(who(number)) for number in range(20)))
        assert ingester.progress.accepted == 19
    states = [outcome.state for outcome in outcomes]
    assert states == ["accepted"] * 7 + ["rejected"] + ["accepted"] * 12
    assert outcomes[7].rejection is not None
    assert outcomes[7].rejection.email == "p7@example.org"
    assert outcomes[0].job == outcomes[19].job
    assert world.posts() == 1
    assert len(world.emulator.contacts) == 19


async def test_a_row_that_is_refused_here_is_refused_at_once(world: World) -> None:
    """Its neighbours go on; so does a row with a column that is no property."""
    async with world.client() as client, client.ingest(lists=ADD) as ingester:
        good = await ingester.send(who(1))
        for bad in ({"email": "nobody"}, {"name": "Ann"}, {"email": "a@example.org", "shoe": 42}, 7):
            with pytest.raises(mjbulk.OutcomeRejected) as caught:
                await ingester.send(bad)  # type: ignore[arg-type]  # one of them is no row
            assert "@" not in str(caught.value)
            assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
        assert (await good).ok
    assert world.posts() == 1


async def test_a_chunk_lingers_or_is_full(world: World) -> None:
    async with world.client(chunk_rows=3) as client, client.ingest(lists=ADD, linger=5.0) as ingester:
        loop = asyncio.get_running_loop()
        await ingester.send(who(0))
        began = loop.time()
        await asyncio.sleep(4.5)
        assert world.posts() == 0
        await asyncio.sleep(1)
        assert world.posts() == 1
        for number in range(1, 4):
            await ingester.send(who(number))
        await asyncio.sleep(0.5)
        assert world.posts() == 2
        assert loop.time() - began < 7


async def test_rows_gather_while_chunks_are_unfinished() -> None:
    """With jobs of a minute, later rows go together."""
    async with Emulator(Knobs(queue_seconds=60.0)) as emulator:
        world = World(emulator)
        async with world.client() as client, client.ingest(lists=ADD, linger=0.1, max_chunks=2) as ingester:
            futures = []
            for number in range(100):
                futures.append(await ingester.send(who(number)))
                await asyncio.sleep(0.5)
            assert world.posts() == 2
            await ingester.flush()
            assert all(future.result().ok for future in futures)
            assert world.posts() <= 6


async def test_rows_of_one_person_keep_their_order(world: World) -> None:
    """Those in one chunk are merged, and one that comes later waits for the job."""
    async with world.client() as client, client.ingest(lists=ADD, linger=0.1) as ingester:
        first = [await ingester.send({"email": "a@example.org", "age": age}) for age in (1, 2)]
        await asyncio.sleep(0.3)
        later = await ingester.send({"email": "A@example.org", "city": "Graz", "age": 3})
        await asyncio.sleep(0.3)
        assert world.posts() == 1
        await ingester.flush()
        assert [future.result().state for future in (*first, later)] == ["superseded", "accepted", "accepted"]
    assert world.emulator.contacts["a@example.org"].properties == {"age": 3, "city": "Graz"}
    assert world.posts() == 2


async def test_a_row_is_withdrawn_while_it_is_in_no_chunk(world: World) -> None:
    async with world.client() as client, client.ingest(lists=ADD, linger=5.0) as ingester:
        put = asyncio.create_task(ingester.put(who(1)))
        sent = await ingester.send(who(2))
        await asyncio.sleep(1)
        put.cancel()
        await asyncio.sleep(0)
        await ingester.flush()
        assert (ingester.progress.accepted, ingester.progress.not_sent) == (1, 1)
        assert sent.result().ok
    assert set(world.emulator.contacts) == {"p2@example.org"}


async def test_it_waits_for_room() -> None:
    """It takes no more rows than it may, until some have left."""
    async with (
        Emulator(Knobs(queue_seconds=60.0)) as emulator,
        World(emulator).client(chunk_rows=2) as client,
        client.ingest(lists=ADD, linger=0.1, max_chunks=1, max_waiting=4) as ingester,
    ):
        sending = asyncio.gather(*(ingester.send(who(number)) for number in range(20)))
        await asyncio.sleep(30)
        assert ingester.progress.rows < 10
        await asyncio.wait_for(sending, 1200)
        await ingester.flush()
        assert ingester.progress.accepted == 20


async def test_a_fault_of_the_program_is_a_warning(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Rows whose column is no property are rejected to their callers; the log says so once, and names nothing."""
    with caplog.at_level(logging.WARNING, "mjbulk"):
        async with world.client() as client, client.ingest(lists=ADD) as ingester:
            for number in range(3):
                with pytest.raises(mjbulk.OutcomeRejected):
                    await ingester.put({"email": f"p{number}@example.org", "secret column": 1})
            with pytest.raises(mjbulk.OutcomeRejected):
                await ingester.put({"email": "no address"})
    said = [record.getMessage() for record in caplog.records]
    assert said == ["rows of an ingester are rejected: column.unknown; their outcomes name the column"]


async def test_wrong_keys_are_waited_for(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """With one warning; the rows are taken, and lost is none."""
    world.emulator.fault("*", Fault.answer(401, b""), times=6)
    with caplog.at_level(logging.WARNING, "mjbulk"):
        async with world.client() as client, client.ingest(lists=ADD) as ingester:
            await asyncio.sleep(1)
            futures = [await ingester.send(who(number)) for number in range(5)]
            bad = await ingester.send({"email": "nobody"})
            await ingester.flush()
            assert all(future.result().ok for future in futures)
            assert bad.result().state == "rejected"
    assert len([record for record in caplog.records if "rows wait" in record.getMessage()]) == 1


@pytest.mark.parametrize(("lists", "state"), [(ADD, "accepted"), (FORCE, "unknown")])
async def test_an_outage_loses_nothing(world: World, lists: Any, state: str) -> None:
    """What may be applied twice goes again, and the rest is unknown; rows that come later go when it is over."""
    out = True
    world.weather(lambda call, now: Fault.drop_before() if out and now > 1 else None)
    async with world.client() as client, client.ingest(lists=lists) as ingester:
        await asyncio.sleep(2)
        first = await ingester.send(who(1))
        await asyncio.sleep(1)
        second = await ingester.send(who(2))
        await asyncio.sleep(3600)
        assert not second.done()
        out = False
        assert (await second).ok
        assert (await first).state == state


async def test_closing_tells_each_row() -> None:
    """An exception sends nothing more: rows in no chunk are not sent, those of a job are unknown."""
    async with Emulator(Knobs(queue_seconds=60.0)) as emulator, World(emulator).client() as client:
        ingester = client.ingest(lists=ADD, linger=0.1, max_chunks=1)
        with suppress(ZeroDivisionError):
            async with ingester:
                sent = await ingester.send(who(1))
                await asyncio.sleep(3)
                left = await ingester.send(who(2))
                raise ZeroDivisionError
        assert [(one.result().state) for one in (sent, left)] == ["unknown", "not_sent"]
        with pytest.raises(mjbulk.OutcomeNotSent, match="was closed before"):
            left.result().raise_for_outcome()
        with pytest.raises(mjbulk.UsageError, match="is closed"):
            await ingester.send(who(3))


@pytest.mark.unmeasured
@pytest.mark.parametrize(("rate", "rows"), [(2.0, 700), (20.0, 1200)])
async def test_rows_that_come_by_chance(rate: float, rows: int) -> None:
    """Jobs take 90 s, one row in a hundred is rejected, and answers are lost: each row has its own true outcome."""
    chance = random.Random(rate)
    async with Emulator(Knobs(queue_seconds=90.0)) as emulator:
        world, loop = World(emulator), asyncio.get_running_loop()
        late: list[float] = []
        numbers: dict[asyncio.Future[mjbulk.Outcome], int] = {}

        def ended(began: float, _: object) -> None:
            late.append(loop.time() - began)

        async with world.client() as client, client.ingest(lists=ADD) as ingester:
            for number in range(rows):
                if number % 100 == 50:
                    emulator.reject(f"p{number}@example.org", "Invalid email")
                if number == rows // 2:
                    emulator.fault("POST contact/managemanycontacts", Fault.drop_after())
                future = await ingester.send(who(number))
                numbers[future] = number
                future.add_done_callback(partial(ended, loop.time()))
                assert ingester._gathering.lanes.unfinished <= 8
                await asyncio.sleep(chance.expovariate(rate))
            await ingester.flush()
    assert {number for future, number in numbers.items() if future.result().state == "rejected"} == {
        number for number in numbers.values() if number % 100 == 50
    }
    assert all(future.result().ok for future, number in numbers.items() if number % 100 != 50)
    assert max(late) < 2 * 91 + 30
    assert world.posts() < 50


async def test_a_list_that_is_not_there_is_told_to_each_caller(world: World) -> None:
    async with world.client() as client, client.ingest(lists={99: "addnoforce"}) as ingester:
        for _ in range(3):
            with pytest.raises(mjbulk.UsageError, match="99"):
                await ingester.put(who(2))
        with pytest.raises(mjbulk.UsageError, match="run_id"):
            client.ingest(lists=ADD, run_id="r")  # type: ignore[call-arg]  # it has none


async def test_a_client_that_closes_ends_its_ingesters(world: World) -> None:
    """Normally, with all outcomes; after an exception at once."""
    async with world.client() as client:
        ingester = await client.ingest(lists=ADD, linger=60.0).__aenter__()
        sent = await ingester.send(who(1))
    assert sent.result().ok
    with suppress(ZeroDivisionError):
        async with world.client() as client:
            ingester = await client.ingest(lists=ADD, linger=60.0).__aenter__()
            sent = await ingester.send(who(1))
            raise ZeroDivisionError
    assert sent.result().state == "not_sent"


async def test_a_disk_that_is_full_is_told_to_each_caller(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No caller waits for ever."""

    def full(*_: object) -> Any:
        raise OSError(28, "No space left on device")

    async with world.client() as client, client.ingest(lists=ADD) as ingester:
        monkeypatch.setattr("mjbulk.spill.Spill.put", full)
        assert (await ingester.put(who(1))).state in ("not_sent", "unknown")
        with pytest.raises(mjbulk.Error, match="OSError"):
            await ingester.send(who(2))


async def test_a_column_that_is_no_property_is_remembered_as_such(world: World) -> None:
    """For ``account_ttl``, without a request for each row; when it has become one, its rows are taken."""
    async with world.client(account_ttl=60.0) as client, client.ingest(lists=ADD) as ingester:
        row = {"email": "a@example.org", "shoe": "red"}
        for _ in range(10):
            with pytest.raises(mjbulk.OutcomeRejected, match="shoe"):
                await ingester.put(row)
        assert world.emulator.count("GET contactmetadata") <= 2
        world.emulator.create_property("shoe", "str")
        await asyncio.sleep(61)
        assert (await ingester.put(row)).ok
    assert world.emulator.contacts["a@example.org"].properties == {"shoe": "red"}


async def test_a_row_is_rejected_once_however_often_its_neighbours_are_encoded(world: World) -> None:
    """They have a new property, while Mailjet is away."""
    away = True
    async with world.client() as client, client.ingest(lists=ADD) as ingester:
        await ingester.put(who(1))
        await asyncio.sleep(100)
        world.weather(lambda call, _: Fault.answer(503) if away and "contactmetadata" in call else None)
        bad = {"email": "nobody", "properties": {}}
        good = {"email": "p2@example.org", "properties": {"fresher": 1}}
        puts = [asyncio.create_task(ingester.put(row)) for row in (bad, good)]
        await asyncio.sleep(200)
        world.emulator.create_property("fresher", "int")
        away = False
        refused, outcome = await asyncio.gather(*puts, return_exceptions=True)
        assert isinstance(refused, mjbulk.OutcomeRejected)
        assert isinstance(outcome, mjbulk.Outcome)
        assert (ingester.progress.accepted, ingester.progress.rejected) == (2, 1)


async def test_its_progress_says_what_its_rows_wait_for(world: World) -> None:
    world.emulator.fault("*", Fault.answer(401, b""), times=3)
    async with world.client() as client, client.ingest(lists=ADD) as ingester:
        putting = asyncio.create_task(ingester.put(who(1)))
        await asyncio.sleep(2)
        assert "401" in (ingester.progress.waiting_for or "")
        await putting
        assert ingester.progress.waiting_for is None


async def test_a_property_that_is_deleted_costs_the_rows_of_one_chunk(world: World) -> None:
    """Later rows with it are refused here, and their neighbours go on."""
    world.emulator.create_property("age", "int")
    async with world.client() as client, client.ingest(lists=ADD) as ingester:
        assert (await ingester.put({**who(1), "age": 1})).ok
        del world.emulator.account("public-key-of-tests").properties["age"]
        both = asyncio.gather(ingester.put({**who(2), "age": 2}), ingester.put(who(3)))
        assert [outcome.state for outcome in await both] == ["unknown", "unknown"]
        good = asyncio.create_task(ingester.put(who(4)))
        with pytest.raises(mjbulk.OutcomeRejected, match=r"column.unknown"):
            await ingester.put({**who(5), "age": 5})
        assert (await good).ok


async def test_rows_that_are_being_judged_take_room(world: World) -> None:
    """While Mailjet is away, no more rows are taken than may wait."""
    async with world.client() as client, client.ingest(lists=ADD, max_waiting=5) as ingester:
        await ingester.put(who(0))
        await asyncio.sleep(100)
        world.emulator.fault("*", Fault.answer(503), times=20)
        sending = []
        for number in range(20):
            sending.append(asyncio.create_task(ingester.send({**who(number), "shoe": 42})))
            await asyncio.sleep(0.1)
        assert ingester.progress.rows == 6
        refused = await asyncio.gather(*sending, return_exceptions=True)
        assert all(isinstance(one, mjbulk.OutcomeRejected | asyncio.Future) for one in refused)
        await ingester.flush()
        assert ingester.progress.rejected == 20


async def test_nothing_is_kept_of_rows_that_have_their_outcomes(world: World) -> None:
    """Whatever it was."""
    async with world.client() as client, client.ingest(lists=ADD) as ingester:
        for number in range(30):
            with suppress(mjbulk.OutcomeRejected):
                await ingester.send({"email": "nobody"} if number % 3 else who(number))
        (await ingester.send(who(1))).cancel()
        await ingester.flush()
        gathering = ingester._gathering
        assert not gathering.rows
        assert not gathering.turns._places
        assert not gathering.ledger.jobs
        assert not gathering.ledger.unsettled
        assert not len(gathering.ledger.rejections)
        assert "0 rows without an outcome" in repr(ingester)


def test_an_outcome_raises_what_it_is() -> None:
    """The good ones raise nothing; ``args`` of the others rebuild their sentence, as JSON too."""
    for state in ("accepted", "superseded"):
        good = mjbulk.Outcome(row=7, state=state)
        assert good.ok
        assert good.raise_for_outcome() is good
    rejection = mjbulk.Rejection(row=7, email="a@example.org", field="age", message="a@example.org is bad", code="x.y")
    for outcome, kind, said in (
        (mjbulk.Outcome(row=7, state="rejected", rejection=rejection), mjbulk.OutcomeRejected, "x.y, field 'age'"),
        (mjbulk.Outcome(row=7, state="unknown", cause="it was lost"), mjbulk.OutcomeUnknown, "unknown: it was lost"),
        (mjbulk.Outcome(row=7, state="not_sent", cause="it ended"), mjbulk.OutcomeNotSent, "not sent: it ended"),
    ):
        assert not outcome.ok
        with pytest.raises(kind, match=said) as caught:
            outcome.raise_for_outcome()
        assert caught.value.outcome is outcome
        again = kind(*json.loads(json.dumps(caught.value.args)))
        assert (str(again), "@" in str(again), "@" in repr(caught.value.args)) == (str(caught.value), False, False)
        assert again.outcome.state == outcome.state
