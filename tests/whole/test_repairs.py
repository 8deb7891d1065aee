"""Repairs of rows that were sent as one contact with others."""

from typing import Any

import pytest
from support import World, balanced

import mjbulk

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}


@pytest.mark.parametrize("via", ["json", "csv"])
async def test_a_corrected_row_keeps_the_values_of_rows_that_were_merged_into_it(world: World, via: Any) -> None:
    """Rows of one person were sent as one contact, some of them held for a job before: Mailjet refuses them together.
    Only the last one is corrected, and every value of the others that it does not have is sent with it.
    """
    rows: list[dict[str, Any]] = [
        {"email": "b@example.org", "city": "first", "age": 1},
        {"email": "c@example.org", "city": "c", "age": 9},
        {"email": "d@example.org", "city": "d", "age": 9},
        {"email": "B@example.org", "city": "Graz", "age": 2},
        {"email": "e@example.org", "city": "e", "age": 9},
        {"email": "f@example.org", "city": "f", "age": 9},
        {"email": "b@example.org", "city": None, "age": 3},
        {"email": "b@example.org", "city": None, "age": None},
    ]
    world.emulator.reject("b@example.org", "No")

    def fix(rejection: mjbulk.Rejection) -> dict[str, Any] | None:
        return {"Email": "a@example.org", "City": None} if rejection.row in (1, 8) else None

    async with world.client(chunk_rows=2, max_jobs=1) as client:
        report = balanced(await client.import_contacts(rows, lists=ADD, via=via))
        assert sorted(r.row or 0 for r in report.rejections) == [1, 4, 7, 8]
        again = balanced(await client.retry_rejected(report, fix=fix))
    assert (again.rows, again.accepted + again.superseded) == (2, 2)
    assert world.emulator.contacts["a@example.org"].properties == {"city": "Graz", "age": 3}


@pytest.mark.parametrize("via", ["json", "csv"])
async def test_corrected_rows_may_have_other_columns_than_merged_ones(world: World, via: Any) -> None:
    """On the CSV way the first row has the columns of all: also where that row is not merged."""
    world.emulator.reject("a@example.org", "No")
    world.emulator.reject("b@example.org", "No")
    rows: list[dict[str, Any]] = [
        {"email": "b@example.org", "city": "x", "age": 1},
        {"email": "a@example.org", "city": "Graz"},
        {"email": "a@example.org", "age": 5},
    ]

    def fix(rejection: mjbulk.Rejection) -> dict[str, Any] | None:
        return {"email": f"new{rejection.row}@example.org"} if rejection.row != 2 else None

    async with world.client() as client:
        report = balanced(await client.import_contacts(rows, lists=ADD, via=via))
        assert sorted(r.row or 0 for r in report.rejections) == [1, 2, 3]
        assert balanced(await client.retry_rejected(report, fix=fix)).ok
    assert world.emulator.contacts["new1@example.org"].properties == {}
    assert world.emulator.contacts["new3@example.org"].properties == {"city": "Graz"}
