"""Plans: what an import would send, before anything is sent."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from support import KEYS, World

import mjbulk

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}


async def test_a_plan_says_what_would_go_wrong_and_sends_no_contact(world: World) -> None:
    """Rows that would be refused are named by their numbers, repeated people are counted, and nothing is posted."""
    rows: list[dict[str, Any]] = [{"email": f"u{n}@example.org", "age": n} for n in range(2000)]
    rows[3]["email"] = "bad"
    rows[4]["email"] = None
    rows[5]["age"] = "old"
    rows[6]["city"] = "x" * 3_000_000
    rows[7]["email"] = "U1999@example.org"
    async with world.client() as client:
        plan = await client.plan_import(rows, lists={1: "addforce"})
    assert [(r.row, r.field) for r in plan.rejections] == [(4, "email"), (5, "email"), (6, "age"), (7, None)]
    assert (plan.rows, plan.chunks, plan.requests, plan.superseded, plan.forced) == (2000, 2, 2, 0, 1995)
    assert plan.recurring == 2
    assert (plan.unknown_properties, plan.new_properties) == ((), ())
    assert not [call for call in world.emulator.calls if call.method != "GET"]


@pytest.mark.parametrize("via", ["json", "csv"])
async def test_a_plan_names_properties_that_are_missing(world: World, via: Any) -> None:
    """What the JSON way refuses and the CSV way would silently make is named, each under its own name."""
    rows = [{"email": "a@example.org", "city": "x", "shoe": 42}]
    async with world.client() as client:
        plan = await client.plan_import(rows, lists=ADD, via=via)
        creating = await client.plan_import(rows, lists=ADD, via=via, create_properties=True)
    assert {"json": plan.unknown_properties, "csv": plan.new_properties}[via] == ("shoe",)
    assert creating.requests == plan.requests + 1


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("column", ["name", "NAME"])
async def test_the_csv_way_makes_no_property_of_a_name(world: World, column: str, *, create: bool) -> None:
    """It would be there for good, and would not be the contact's name; one that is there is set."""
    how: dict[str, Any] = {"lists": ADD, "via": "csv", "create_properties": create}
    rows = [{"email": "a@example.org", column: "Ann"}]
    async with world.client() as client:
        for call in (client.plan_import, client.import_contacts):
            with pytest.raises(mjbulk.UsageError, match="the CSV way cannot set a contact's name") as caught:
                await call(rows, **how)
            assert (caught.value.kind, caught.value.column) == ("column.not_sendable", column)
        assert "name" not in [one.name.casefold() async for one in client.properties()]
    world.emulator.create_property("name")
    async with world.client() as client:
        assert (await client.import_contacts(rows, **how)).accepted == 1


async def test_a_plan_tells_which_texts_could_be_of_a_type(world: World) -> None:
    """A property that is made for numbers, truths and times is of type str for good, unless types= says otherwise."""
    moment = datetime(2026, 11, 28, tzinfo=UTC)
    names = ("email", "Alter", "share", "on", "seen", "city", "mixed", "said", "none", "int")
    rows: Any = [
        dict(zip(names, ("a@example.org", None, 1, True, moment, "x", 1, 7, None, 5), strict=True)),
        dict(zip(names, ("b@example.org", 30, 0.5, False, moment.date(), "y", "z", 8, None, 6), strict=True)),
        dict(zip(names, ("nobody", 1, 1, True, moment, "y", "z", 8, None, 6), strict=True)),
    ]
    how: dict[str, Any] = {"lists": ADD, "columns": {name: name for name in names}}
    how["columns"]["Alter"] = "age2"
    world.emulator.create_property("int", "int")
    async with world.client() as client:
        plan = await client.plan_import(rows, create_properties=True, types={"said": "int"}, **how)
        told = {one.column: one for one in plan.findings if one.code == "property.str"}
        refused = await client.plan_import(rows, **how)
    assert {name: one.message.partition("types=")[2].split()[1] for name, one in told.items()} == {
        "Alter": "'int'}", "share": "'float'}", "on": "'bool'}", "seen": "'datetime'}"
    }  # fmt: skip
    assert told["Alter"].message == (
        "it would become the property 'age2' of type str, and has whole numbers alone: types={'age2': 'int'} says "
        "otherwise"
    )
    assert (told["Alter"].first_row, told["Alter"].count) == (2, 1)
    assert not [one for one in refused.findings if one.code == "property.str"]


async def test_a_source_that_can_be_read_only_once_is_refused(world: World) -> None:
    """A plan would use up what the import needs."""

    async def rows() -> AsyncIterator[dict[str, str]]:
        yield {"email": "a@example.org"}

    async with world.client() as client:
        for source in (iter([{"email": "a@example.org"}]), rows()):
            with pytest.raises(mjbulk.UsageError, match="only once"):
                await client.plan_import(source, lists=ADD)
    assert world.emulator.requests == 0


async def test_what_is_known_of_the_account_bounds_chunks(world: World) -> None:
    """No request has more rows than Mailjet is known to take; a smaller setting stays as it is."""
    rows = [{"email": f"u{n}@example.org"} for n in range(2500)]
    for most, said, chunks in ((None, None, 3), (400, None, 7), (5000, None, 3), (400, 100, 25), (400, 2000, 7)):
        known = mjbulk.Assumptions(max_rows=most)
        async with mjbulk.Client(KEYS, world.settings(chunk_rows=said), assumptions=known) as client:
            assert (await client.plan_import(rows, lists=ADD)).chunks == chunks


def source(seed: int) -> list[dict[str, Any]]:
    """Rows that repeat people, miss addresses, do not fit their types, or are larger than any chunk."""
    chance = random.Random(seed)
    cities = ["", "Graz", 'Zürich, "Süd"', "two\nlines", "東京" * chance.randrange(50)]
    return [
        {
            "email": chance.choice([f"u{chance.randrange(300)}@example.org", f"u{n}@example.org", "bad", None]),
            "city": chance.choice(cities) if chance.random() < 0.99 else "x" * 60_000,
            "age": chance.choice([None, 7, "8", "old"]),
            **({"shoe": 42} if seed % 3 == 0 else {}),
        }
        for n in range(chance.randrange(1, 900))
    ]


def test_the_random_sources_have_all_that_can_happen() -> None:
    """Not each of them, but all together."""
    rows = [row for seed in range(20) for row in source(seed)]
    assert {"bad", None} < {row["email"] for row in rows}
    assert any(len(row["city"]) == 60_000 for row in rows)
    assert any(len({row["email"] for row in source(seed)}) < len(source(seed)) for seed in range(20))
    assert any("shoe" in row for row in rows)


@pytest.mark.unmeasured
@pytest.mark.parametrize("via", ["json", "csv"])
@pytest.mark.parametrize("seed", range(20))
async def test_a_plan_counts_the_posts_that_the_run_then_makes(world: World, seed: int, via: Any) -> None:
    """For random sources and limits, on both ways: what a plan counts is what the import does, except chunks of rows
    that wait: how many those make depends on when jobs end.
    """
    chance = random.Random(seed)
    rows = source(seed)
    how: Any = {"via": via, "create_properties": seed % 3 == 0}
    async with world.client(chunk_rows=chance.randrange(1, 300), chunk_bytes=chance.randrange(1000, 50_000)) as client:
        plan = await client.plan_import(rows, lists=ADD, **how)
        report = await client.import_contacts(rows, lists=ADD, **how)
    posts = [call for call in world.emulator.calls if call.method == "POST"]
    carriers = ("contact/managemanycontacts", "contactslist/csvdata")
    if not plan.recurring:
        assert plan.requests == len(posts)
        assert plan.bytes == sum(call.size for call in posts if call.route in carriers)
    assert plan.requests <= len(posts)
    assert plan.chunks <= len(report.jobs)
    assert plan.rows == report.rows
    assert [(r.row, r.field, r.message) for r in plan.rejections] == [
        (r.row, r.field, r.message) for r in report.rejections
    ]
