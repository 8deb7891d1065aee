"""Corrected rows: which values of the rows that were merged with them they are given with."""

import math
from collections import UserDict
from collections.abc import Sequence
from typing import Any

import pytest

from mjbulk.errors import SourceError
from mjbulk.models import Contact, Rejection
from mjbulk.outcomes.repair import columns_of_merged, corrected_rows
from mjbulk.terms import Action, RunSpec

ANN, BOB = "ann@example.org", "bob@example.org"
LISTS = ((1, Action.ADDNOFORCE),)


def spec(**terms: Any) -> RunSpec:
    return RunSpec(lists=LISTS, **terms)


def merged(*rows: tuple[int, dict[str, Any]]) -> list[Rejection]:
    """Rows that were one contact, and were rejected with it."""
    numbers = [number for number, _ in rows]
    ends = (numbers[0], numbers[-1])
    return [Rejection(row=number, message="no", data=data, merged=ends) for number, data in rows]


def alone(number: int, **data: Any) -> Rejection:
    return Rejection(row=number, message="no", data=data)


def corrected(
    rejections: Sequence[Rejection], fixes: dict[int, Any], terms: RunSpec | None = None, columns: Sequence[str] = ()
) -> dict[int, Any]:
    in_order = sorted(rejections, key=lambda one: one.row or 0)
    rows = corrected_rows(in_order, lambda one: fixes.get(one.row or 0), terms or spec(), columns)
    return dict(rows)


def test_a_corrected_row_has_the_values_of_earlier_ones_that_were_left_alone() -> None:
    """Column by column, and its own values win."""
    rows = merged((1, {"email": ANN, "city": "Graz", "age": 7}), (4, {"email": ANN, "age": 8}), (6, {"email": ANN}))
    assert corrected(rows, {6: {"email": BOB, "shoe": 42}}) == {
        6: {"email": BOB, "city": "Graz", "age": 8, "shoe": 42},
    }


def test_values_of_later_rows_are_not_taken() -> None:
    """The caller has not corrected them."""
    rows = merged((1, {"email": ANN, "city": "Graz"}), (4, {"email": ANN, "age": 8}))
    assert corrected(rows, {1: {"email": BOB}}) == {1: {"email": BOB}}


def test_a_value_is_given_once() -> None:
    """With the next corrected row: it would win over that one if a later row had it as well."""
    rows = merged((1, {"city": "Graz"}), (2, {"city": "Wien"}), (3, {"age": 7}), (4, {"email": ANN}))
    fixes = {2: {"email": ANN, "city": "Linz"}, 4: {"email": ANN}}
    assert corrected(rows, fixes) == {2: {"email": ANN, "city": "Linz"}, 4: {"age": 7, "email": ANN}}


def test_contacts_are_kept_apart() -> None:
    """Their rows may lie between each other, and a row alone is given as it is."""
    rows = [
        *merged((1, {"email": ANN, "city": "Graz"}), (4, {"email": ANN})),
        *merged((2, {"email": BOB, "city": "Wien"}), (5, {"email": BOB})),
        alone(3, email="c", city="Linz"),
    ]
    fix = {"email": "new"}
    assert corrected(rows, {3: fix, 4: fix, 5: fix}) == {
        3: {"email": "new"},
        4: {"email": "new", "city": "Graz"},
        5: {"email": "new", "city": "Wien"},
    }


def test_a_row_that_is_not_merged_is_given_as_it_is() -> None:
    """The very object: whatever it is."""
    row = UserDict({"email": ANN})
    assert corrected([alone(1, email="bad")], {1: row})[1] is row


@pytest.mark.parametrize(
    ("columns", "earlier", "later", "row"),
    [
        (None, {"City": "Graz"}, {"CITY": "Wien"}, {"CITY": "Wien"}),
        (None, {"city": "Graz"}, {"town": "Wien"}, {"city": "Graz", "town": "Wien"}),
        ({"Town": "city", "Place": "City"}, {"Town": "Graz"}, {"Place": "Wien"}, {"Place": "Wien"}),
        ({"Town": "city"}, {"town": "Graz", "x": 1}, {"Town": "Wien"}, {"town": "Graz", "x": 1, "Town": "Wien"}),
    ],
)
def test_a_column_is_known_by_what_it_means(columns: Any, earlier: Any, later: Any, row: Any) -> None:
    """Whatever its spelling: two columns of one property would be refused. Names that are picked are exact."""
    assert corrected(merged((1, earlier), (2, later)), {2: later}, spec(columns=columns)) == {2: row}


@pytest.mark.parametrize(
    ("earlier", "later", "row"),
    [
        (
            {"Email": ANN, "Properties": {"city": "Graz", "age": 7}},
            {"Email": BOB, "Properties": {"City": "Wien"}},
            {"Email": BOB, "City": "Wien", "age": 7},
        ),
        (
            {"email": ANN, "city": "Graz"},
            {"Email": BOB, "Properties": {"age": 7}},
            {"Email": BOB, "city": "Graz", "age": 7},
        ),
        (
            {"Email": ANN, "Properties": {"city": "Graz"}},
            {"email": BOB, "age": 7},
            {"email": BOB, "city": "Graz", "age": 7},
        ),
        ({"Email": ANN, "Properties": None}, {"email": BOB}, {"email": BOB}),
        (
            {"email": ANN, "properties": {"city": "Graz"}, "name": "Ann"},
            Contact(BOB, properties={"age": 7}, excluded=True),
            {"email": BOB, "city": "Graz", "name": "Ann", "age": 7, "isexcludedfromcampaigns": True},
        ),
        ({"email": ANN, "city": "Graz"}, BOB, {"email": BOB, "city": "Graz"}),
    ],
)
def test_a_mapping_of_properties_is_laid_flat(earlier: Any, later: Any, row: Any) -> None:
    """Mailjet's own contact objects, contacts, flat rows and bare addresses go together."""
    assert corrected(merged((1, earlier), (2, {"email": ANN})), {2: later}) == {2: row}


@pytest.mark.parametrize("row", [{"email": ANN, "Properties": 5}, {"city": 1, "City": 2}, 7])
def test_a_row_that_cannot_be_taken_apart_is_given_as_it_is(row: Any) -> None:
    """The import rejects it, as it would without the others."""
    rows = merged((1, {"email": ANN, "age": 7}), (2, {"email": ANN}))
    assert corrected(rows, {2: row}) == {2: row}


def test_an_earlier_row_that_cannot_be_taken_apart_adds_nothing() -> None:
    """Those before it still do."""
    rows = merged((1, {"age": 7}), (2, {"Properties": 5}), (3, {"email": ANN}))
    assert corrected(rows, {3: {"email": ANN}}) == {3: {"age": 7, "email": ANN}}
    rows[1] = Rejection(row=2, message="no", merged=(1, 3))
    assert corrected(rows, {3: {"email": ANN}}) == {3: {"age": 7, "email": ANN}}


@pytest.mark.parametrize(
    ("terms", "value", "wins"),
    [
        ({}, None, False),
        ({}, math.nan, False),
        ({}, "", True),
        ({"nulls": "unassign"}, None, True),
        ({"nulls": "unassign"}, "", True),
        ({"text": True}, "", False),
        ({"text": True, "nulls": "unassign"}, "", True),
        ({"via": "csv"}, "", False),
        ({"via": "csv"}, None, False),
        ({}, 0, True),
    ],
)
def test_a_null_leaves_an_earlier_value_alone_as_it_does_when_rows_are_merged(
    terms: Any, value: Any, *, wins: bool
) -> None:
    """Whether a value is a null depends on the source, and on ``via``."""
    rows = merged((1, {"city": "Graz"}), (2, {}))
    (row,) = corrected(rows, {2: {"city": value}}, spec(**terms)).values()
    assert (row["city"] is value or row["city"] == value) is wins
    assert (row["city"] == "Graz") is not wins


@pytest.mark.parametrize("blank", [None, ""])
def test_a_contact_has_no_empty_name(blank: Any) -> None:
    """It is left alone, also where nulls unassign properties."""
    rows = merged((1, {"name": "Ann"}), (2, {}))
    fix = {"email": ANN, "Name": blank}
    assert corrected(rows, {2: fix}, spec(nulls="unassign")) == {2: {"name": "Ann", "email": ANN}}


def test_a_column_named_properties_is_text_in_text() -> None:
    """A CSV file may have one."""
    rows = merged((1, {"email": ANN, "properties": "a"}), (2, {}))
    assert corrected(rows, {2: {"email": BOB}}, spec(text=True)) == {2: {"email": BOB, "properties": "a"}}


def test_each_row_has_the_columns_that_merged_rows_need() -> None:
    """The CSV way takes its columns from the first row."""
    rows = [
        alone(1, email=BOB, x=1),
        *merged((2, {"email": ANN, "city": "Graz"}), (3, {"Email": ANN, "Properties": {"age": 7}})),
    ]
    columns = columns_of_merged(rows, spec(via="csv"))
    assert columns == ["email", "city", "age"]
    assert corrected(rows, {1: {"Email": BOB}, 3: {"email": ANN}}, spec(via="csv"), columns) == {
        1: {"Email": BOB, "city": None, "age": None},
        3: {"email": ANN, "city": "Graz", "age": None},
    }
    assert columns_of_merged([alone(1, email=BOB)], spec(via="csv")) == []


def test_rows_that_are_not_known_are_skipped() -> None:
    """Nobody is asked to correct them."""

    def fix(one: Rejection) -> Any:
        raise AssertionError(one)

    assert list(corrected_rows([Rejection(row=1, message="no")], fix, spec())) == []


def test_a_function_that_raises_names_the_row() -> None:
    """And its own error is the cause."""

    def fix(one: Rejection) -> Any:
        raise KeyError(one.row)

    with pytest.raises(SourceError, match="fix raised KeyError") as raised:
        list(corrected_rows([alone(7, email="bad")], fix, spec()))
    assert isinstance(raised.value.__cause__, KeyError)
    assert raised.value.row == 7


def test_what_it_keeps_ends_with_each_contact() -> None:
    """A million contacts, one after the other, need no more memory than one."""

    def rejections() -> Any:
        for number in range(1, 2000, 2):
            yield from merged((number, {"email": ANN, "n": number}), (number + 1, {"email": ANN}))

    rows = corrected_rows(rejections(), lambda one: {"email": ANN} if one.row == 2000 else None, spec())
    assert list(rows) == [(2000, {"email": ANN, "n": 1999})]
    assert rows.gi_frame is None  # type: ignore[attr-defined]  # it is a generator
