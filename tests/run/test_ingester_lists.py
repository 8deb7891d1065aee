"""An ingester whose rows go to different lists: chunks of their own, and one order for each person."""

import asyncio
from collections import Counter
from typing import Any

import orjson
import pytest
from support import World

import mjbulk
from mjbulk.testing import Emulator, Fault, Knobs

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
REMOVE: dict[int, mjbulk.ActionWord] = {1: "unsub"}


def who(number: int, **more: Any) -> dict[str, Any]:
    return {"email": f"p{number}@example.org", **more}


def bodies(world: World) -> list[Any]:
    """The body of each job, in the order in which they came."""
    return [orjson.loads(job.body or b"") for job in sorted(world.emulator.jobs.values(), key=lambda job: job.id)]


def actions(body: Any) -> list[Any]:
    return [(one["ListID"], one["Action"]) for one in body.get("ContactsLists", [])]


def people(body: Any) -> list[str]:
    return [one["Email"] for one in body["Contacts"]]


async def test_rows_with_other_lists_go_in_other_chunks(world: World) -> None:
    """Equal lists go together, however they are given; None is no list."""
    second = world.emulator.create_list("Second").id
    async with world.client() as client, client.ingest(lists=ADD) as ingester:
        puts = [
            ingester.put(who(1)),
            ingester.put(who(2), lists={"1": mjbulk.Action.ADDNOFORCE}),
            ingester.put(who(3), lists=REMOVE),
            ingester.put(who(4), lists=None),
            ingester.put(who(5), lists={1: "addforce", second: "addnoforce"}),
            ingester.put(who(6), lists={second: "addnoforce", 1: "addforce"}),
        ]
        assert all(outcome.ok for outcome in await asyncio.gather(*puts))
        assert ingester.progress.accepted == 6
    found = {tuple(sorted(people(body))): sorted(actions(body)) for body in bodies(world)}
    assert found == {
        ("p1@example.org", "p2@example.org"): [(1, "addnoforce")],
        ("p3@example.org",): [(1, "unsub")],
        ("p4@example.org",): [],
        ("p5@example.org", "p6@example.org"): [(1, "addforce"), (second, "addnoforce")],
    }


async def test_wrong_lists_are_refused_for_that_call_alone(world: World) -> None:
    """At once, for a word that is no action, an impossible list, and one that does not exist; the others go on."""
    async with world.client() as client, client.ingest(lists=ADD, linger=1.0) as ingester:
        good = await ingester.send(who(1))
        for wrong, said in (
            ({1: "add"}, "an action is one of"),
            ({}, "is empty"),
            ({99: "unsub"}, "99"),
            (7, "mapping"),
        ):
            with pytest.raises(mjbulk.UsageError, match=said):
                await ingester.send(who(1), lists=wrong)  # type: ignore[arg-type]  # it is wrong
            assert world.posts() == 0
        assert (await good).ok
        assert (await ingester.put(who(2), lists=REMOVE)).ok
        assert world.emulator.count("GET contactslist") < 4
        await asyncio.sleep(0.1)
        assert len(ingester._gathering.lanes) == 1
    async with world.client() as client, client.ingest(lists=ADD, via="csv") as ingester:
        with pytest.raises(mjbulk.UsageError, match="exactly one list"):
            await ingester.send(who(1), lists=None)
        assert (await ingester.put(who(3), lists=REMOVE)).ok


async def test_an_unknown_list_while_mailjet_is_away(world: World) -> None:
    """The call has got its future: it says that the row was not sent, and why."""
    async with world.client() as client, client.ingest(lists=ADD) as ingester:
        await ingester.put(who(1))
        world.emulator.fault("*", Fault.answer(401, b""), times=3)
        await asyncio.sleep(100)
        first = asyncio.create_task(ingester.put(who(2), lists={99: "unsub"}))
        await asyncio.sleep(0.1)
        second = await ingester.send(who(3), lists={99: "unsub"})
        with pytest.raises(mjbulk.OutcomeNotSent, match="99"):
            (await second).raise_for_outcome()
        with pytest.raises(mjbulk.UsageError, match="99"):
            await first
    assert ingester.progress.not_sent == 2


async def test_rows_of_one_person_keep_their_order_over_all_lists() -> None:
    """Those with equal lists merge; one with other lists waits for the job before it, and so do all that come later."""
    async with Emulator(Knobs(queue_seconds=60.0)) as emulator:
        emulator.create_property("age", "int")
        world = World(emulator)
        async with world.client() as client, client.ingest(lists=ADD, linger=0.1) as ingester:
            sent = [
                await ingester.send(who(1, age=1)),
                await ingester.send(who(1, age=2)),
                await ingester.send(who(1, age=3), lists=REMOVE),
                await ingester.send(who(1, age=4)),
                await ingester.send(who(1, age=5)),
                await ingester.send(who(1, age=6), lists=REMOVE),
                await ingester.send(who(2, age=9), lists=REMOVE),
            ]
            await asyncio.sleep(30)
            assert [people(body) for body in bodies(world)] == [["p1@example.org"], ["p2@example.org"]]
            assert not any(future.done() for future in sent)
            await ingester.flush()
            states = ["superseded", "accepted", "accepted", "superseded", "accepted", "accepted", "accepted"]
            assert [future.result().state for future in sent] == states
        mine = [body for body in bodies(world) if people(body) == ["p1@example.org"]]
        assert [actions(body)[0][1] for body in mine] == ["addnoforce", "unsub", "addnoforce", "unsub"]
        assert [body["Contacts"][0]["Properties"]["age"] for body in mine] == [2, 3, 5, 6]
        assert emulator.contacts["p1@example.org"].properties == {"age": 6}


async def test_a_row_that_waits_for_other_lists_can_be_withdrawn() -> None:
    """And those behind it go on."""
    async with Emulator(Knobs(queue_seconds=60.0)) as emulator:
        world = World(emulator)
        async with world.client() as client, client.ingest(lists=ADD, linger=0.1) as ingester:
            first = await ingester.send(who(1))
            await asyncio.sleep(1)
            middle = await ingester.send(who(1), lists=REMOVE)
            last = await ingester.send(who(1), lists=None)
            middle.cancel()
            await ingester.flush()
            assert (await first).ok
            assert (await last).ok
        assert [actions(body) for body in bodies(world)] == [[(1, "addnoforce")], []]
        assert ingester.progress.not_sent == 1


async def test_a_row_that_waits_for_its_persons_job_can_be_withdrawn() -> None:
    """Others of the person are merged, and go when the job has ended."""
    async with Emulator(Knobs(queue_seconds=60.0)) as emulator:
        world = World(emulator)
        emulator.create_property("city", "str")
        async with world.client() as client, client.ingest(lists=ADD, linger=0.1) as ingester:
            first = await ingester.send(who(1))
            await asyncio.sleep(1)
            rows = [await ingester.send(who(1, name=f"Ann {number}", city=f"city {number}")) for number in range(3)]
            assert ingester.progress.held == 3
            rows[2].cancel()
            await ingester.flush()
            assert [(await row).state for row in (first, *rows[:2])] == ["accepted", "superseded", "accepted"]
            assert (ingester.progress.not_sent, ingester.progress.held) == (1, 0)
    assert [len(body["Contacts"]) for body in bodies(world)] == [1, 1]
    assert bodies(world)[1]["Contacts"][0]["Name"] == "Ann 1"


async def test_a_row_that_came_before_its_person_was_sent_can_be_withdrawn() -> None:
    """It did not fit into the chunk with the first one. Those behind it keep their order."""
    async with Emulator(Knobs(queue_seconds=60.0)) as emulator:
        world = World(emulator)
        async with world.client(chunk_rows=5) as client, client.ingest(lists=ADD, linger=0.1) as ingester:
            numbers = [0, 1, 2, 3, 4, 0, 5, 0]
            rows = [asyncio.ensure_future(ingester.put(who(n, name=f"{at}"))) for at, n in enumerate(numbers)]
            await asyncio.sleep(1)
            late = await ingester.send(who(0, name="late"))
            rows[5].cancel()
            await ingester.flush()
            assert (await late).ok
            assert (await rows[7]).ok
            assert ingester.progress.not_sent == 1
    names = [one["Name"] for body in bodies(world) for one in body["Contacts"] if one["Email"] == who(0)["email"]]
    assert names == ["0", "late"]


async def test_rows_that_wait_for_room_go_with_the_first_of_their_person() -> None:
    """However many rows of others came in between: none of them waits for a job that has ended."""
    async with Emulator(Knobs(queue_seconds=60.0)) as emulator:
        world = World(emulator)
        async with (
            world.client(chunk_rows=2) as client,
            client.ingest(lists=ADD, linger=0.1, max_chunks=1) as ingester,
        ):
            numbers = [8, 9, 0, 1, 2, 3, 0, 0]
            rows = [await ingester.send(who(n, name=f"{at}")) for at, n in enumerate(numbers)]
            await ingester.flush()
            assert [(await row).state for row in rows[-2:]] == ["superseded", "accepted"]
    assert [people(body) for body in bodies(world)] == [
        [who(n)["email"] for n in some] for some in ([8, 9], [0, 1], [2, 3])
    ]
    assert bodies(world)[1]["Contacts"][0]["Name"] == "7"


async def test_limits_hold_for_all_lists_together() -> None:
    """``max_chunks`` and ``max_waiting``: no more chunks are in flight, and no more rows wait; lanes go when idle."""
    async with Emulator(Knobs(queue_seconds=30.0)) as emulator:
        world = World(emulator)
        lists = [emulator.create_list(f"list {n}").id for n in range(12)]
        most = 0
        async with (
            world.client(chunk_rows=5) as client,
            client.ingest(lists=ADD, linger=0.1, max_chunks=3, max_waiting=40) as ingester,
        ):
            gathering = ingester._gathering

            async def put(number: int) -> mjbulk.Outcome:
                nonlocal most
                outcome = ingester.put(who(number % 70), lists={lists[number % 12]: "addnoforce"})
                result = await outcome
                most = max(most, gathering.lanes.unfinished, gathering.lanes.begun)
                return result

            putting = asyncio.gather(*(put(number) for number in range(150)))
            while not putting.done():
                await asyncio.sleep(0.5)
                assert gathering.waiting <= 40
                assert gathering.lanes.begun <= 3
            assert all(outcome.ok for outcome in putting.result())
            assert most <= 3
            assert len(gathering.lanes) == 1
            assert not gathering.turns._places
        assert Counter(who for body in bodies(world) for who in people(body)).keys() == {
            f"p{n}@example.org" for n in range(70)
        }


async def test_rows_that_cannot_be_merged_do_not_pass_max_chunks() -> None:
    """Spellings of one person that may be two at Mailjet part the chunks: still no more are in flight than may be."""
    async with Emulator(Knobs(queue_seconds=30.0)) as emulator:
        world = World(emulator)
        async with world.client() as client, client.ingest(lists=ADD, linger=0.1, max_chunks=1) as ingester:
            spelled = ("maße@example.org", "masse@example.org")
            sent = [await ingester.send({"email": f"{n}{name}"}) for n in range(4) for name in spelled]
            while not all(future.done() for future in sent):
                await asyncio.sleep(1)
                assert ingester._gathering.lanes.begun <= 1
            assert all(future.result().ok for future in sent)
        assert world.posts() > 1


async def test_a_row_that_changes_the_exclusion_list_goes_beside_the_others(world: World) -> None:
    """It must not be repeated after a lost answer: the rows of others are not in its chunk, and are repeated."""
    async with world.client() as client, client.ingest(lists=ADD) as ingester:
        await ingester.put(who(0))
        world.emulator.fault("POST contact/managemanycontacts", Fault.drop_before(), times=2)
        rows = [who(n, IsExcludedFromCampaigns=True) if n == 10 else who(n) for n in range(1, 21)]
        later = ingester.put(who(10, age=7))
        outcomes = await asyncio.gather(*(ingester.put({"Email": row.pop("email"), **row}) for row in rows), later)
        states = [outcome.state for outcome in outcomes]
        assert states == ["accepted"] * 9 + ["unknown"] + ["accepted"] * 11
    assert world.emulator.contacts["p10@example.org"].properties == {"age": 7}


async def test_a_row_that_may_go_is_not_passed_by_a_later_one() -> None:
    """While rows cannot be judged, the job of the first row ends, behind which the second has waited."""
    async with Emulator(Knobs(queue_seconds=10.0)) as emulator:
        emulator.create_property("age", "int")
        world, away = World(emulator), True
        async with world.client() as client, client.ingest(lists=ADD, linger=0.1) as ingester:
            first = await ingester.send(who(1, age=1))
            await asyncio.sleep(1)
            await ingester.send(who(1, age=2), lists=REMOVE)
            emulator.create_property("city", "str")
            world.weather(lambda call, _: Fault.answer(503) if away and "contactmetadata" in call else None)
            last = asyncio.create_task(ingester.put(who(1, age=3, city="Graz"), lists=REMOVE))
            await asyncio.sleep(60)
            assert first.done()
            away = False
            await ingester.flush()
            assert (await last).ok
        assert emulator.contacts["p1@example.org"].properties == {"age": 3, "city": "Graz"}


@pytest.mark.parametrize("via", ["json", "csv"])
async def test_a_list_that_is_deleted_stops_its_own_rows_alone(world: World, via: Any) -> None:
    """Those that have gathered are not sent, later ones are refused at once, and the others go on."""
    second = world.emulator.create_list("Second").id
    theirs: Any = {second: "addnoforce"}
    async with world.client() as client, client.ingest(lists=ADD, linger=1.0, max_chunks=2, via=via) as ingester:
        assert (await ingester.put(who(1), lists=theirs)).ok
        sent = [await ingester.send(who(number), lists=theirs) for number in range(2, 5)]
        world.emulator.account("public-key-of-tests").lists[second].deleted = True
        for future in sent:
            with pytest.raises(mjbulk.OutcomeNotSent, match="not there any more"):
                (await future).raise_for_outcome()
        for number in range(5, 10):
            with pytest.raises(mjbulk.UsageError, match=r"no list with the ID 2; nothing was sent$"):
                await ingester.put(who(number), lists=theirs)
        assert (await ingester.put(who(10))).ok
        assert (ingester.progress.accepted, ingester.progress.not_sent) == (2, 8)
        await asyncio.sleep(1)
        assert len(ingester._gathering.lanes) == 1


async def test_a_list_of_an_ingester_that_is_made_again(world: World) -> None:
    """Its name means another list then."""
    first = world.emulator.create_list("News").id
    async with world.client() as client, client.ingest(lists={"News": "addnoforce"}, linger=0.1) as ingester:
        assert (await ingester.put(who(1))).ok
        world.emulator.account("public-key-of-tests").lists[first].deleted = True
        second = world.emulator.create_list("News").id
        assert (await ingester.put(who(2))).state == "not_sent"
        assert (await ingester.put(who(2))).ok
    assert actions(bodies(world)[-1]) == [(second, "addnoforce")]


async def test_nothing_is_kept_of_rows_that_wait_for_other_lists_at_the_end() -> None:
    async with Emulator(Knobs(queue_seconds=60.0)) as emulator:
        async with World(emulator).client() as client, client.ingest(lists=ADD, linger=0.1) as ingester:
            first = await ingester.send(who(1))
            await asyncio.sleep(1)
            await ingester.send(who(1))
            await asyncio.sleep(1)
            assert ingester.progress.held == 1
            later = [await ingester.send(who(1), lists=lists) for lists in (REMOVE, None, REMOVE)]
            await ingester.aclose()
        assert [future.result().state for future in (first, *later)] == ["unknown", *["not_sent"] * 3]
        assert not ingester._gathering.turns._places
        assert (ingester.progress.unknown, ingester.progress.not_sent, ingester.progress.held) == (1, 4, 0)
