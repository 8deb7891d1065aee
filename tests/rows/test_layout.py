"""Which column is what, and what of a row is sent."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from touchy import NA, ODD_VALUES, TouchyText

from mjbulk.errors import UsageError
from mjbulk.resources import Property
from mjbulk.rows.block import Block, Given
from mjbulk.rows.layout import (
    ColumnRules,
    flatten,
    layout_of,
    missing_columns,
    property_names,
    refuse_columns,
)
from mjbulk.rows.names import no_address
from mjbulk.rows.objects import take_apart
from mjbulk.rows.values import ColumnFault, RowFault

LAW = settings(derandomize=True, deadline=None, max_examples=150)
A = "ann@example.org"
KINDS = ["str", "int", "float", "bool", "datetime"]
KNOWN = {kind: Property(id=n, name=kind.capitalize(), datatype=kind) for n, kind in enumerate(KINDS)}
KNOWN["past"] = Property(id=9, name="Past", datatype="str", namespace="historic")
KNOWN["odd"] = Property(id=10, name="Odd", datatype="geography")
KNOWN["name"] = Property(id=11, name="name", datatype="str")
RULES = ColumnRules(properties=KNOWN)


def contact(row: Mapping[str, Any], rules: ColumnRules = RULES) -> dict[str, Any]:
    """Give the contact that a row is."""
    return layout_of(tuple(row), rules).contact(tuple(row.values()))


# Names


@pytest.mark.parametrize(
    ("names", "rules", "indices"),
    [
        (("EMAIL", "Name", "int"), RULES, (0, 1, None, ["Int"], True)),
        (("int", "str", "email"), RULES, (2, None, None, ["Int", "Str"], True)),
        (("IsExcludedFromCampaigns", "email"), RULES, (1, None, 0, [], True)),
        (("Mail", "Alter", "x"), ColumnRules(properties=KNOWN, columns={"Mail": "email", "Alter": "INT"}),
         (0, None, None, ["Int"], False)),
        (("name", "email"), ColumnRules(properties=KNOWN, columns={"email": "email"}), (1, None, None, [], False)),
        ((7, " email", "e"), ColumnRules(properties=KNOWN, columns={"email ": "email"}), (1, None, None, [], False)),
        (("email", "", " ", "int"), RULES, (0, None, None, ["Int"], False)),
        (("email", "name"), ColumnRules(properties=KNOWN, via_csv=True), (0, None, None, ["name"], True)),
        (("email", "properties"), ColumnRules(properties=None, text=True), (0, None, None, ["properties"], True)),
        (("x", "email", "name"), ColumnRules(properties=KNOWN, only_address=True), (1, None, None, [], False)),
        (("email",), ColumnRules(properties=KNOWN, only_address=True), (0, None, None, [], True)),
        (("x", "y"), ColumnRules(properties=None), (None, None, None, ["x", "y"], True)),
        ((), RULES, (None, None, None, [], True)),
    ],
)  # fmt: skip
def test_what_stands_where(names: Sequence[str], rules: ColumnRules, indices: tuple[Any, ...]) -> None:
    """Address, name and exclusion are known by their names in any case; all others are properties, as the account
    spells them.
    """
    layout = layout_of(names, rules)
    properties = [column.target for column in layout.properties]
    assert (layout.email, layout.name, layout.excluded, properties, layout.whole) == indices


@pytest.mark.parametrize(
    ("names", "rules", "field", "problem"),
    [
        (("email", "shoe"), RULES, "shoe", "there is no property 'shoe'"),
        (("email", "past"), RULES, "past", "property 'Past' is historic: only static ones can be set in bulk"),
        (("email", "Email"), RULES, "Email", "two columns are 'email'"),
        (("email", "name", "NAME"), RULES, "NAME", "two columns are 'name'"),
        (("email", "int", "INT"), RULES, "INT", "two columns are property 'Int'"),
        (("email", "int", "int"), RULES, "int", "two columns are named 'int'"),
        (("email", 7), RULES, None, "the name of a column is a int, not a text"),
        (("email", None), RULES, None, "the name of a column is a NoneType, not a text"),
        (("x", "y"), ColumnRules(properties=KNOWN, columns={"x": "email", "y": "Email"}), "y",
         "two columns are 'email'"),
        (("x", "y"), RULES, "email", no_address(["x", "y"], text=False)),
        (("bob@example.org", "Bob"), RULES, "email", no_address(["@"], text=False)),
        (("email", "IsExcludedFromCampaigns"), ColumnRules(properties=KNOWN, via_csv=True), "IsExcludedFromCampaigns",
         "the CSV way cannot set IsExcludedFromCampaigns"),
        (("email", "shoe", "Vorname"), ColumnRules(properties={}, via_csv=True, columns={
            "email": "email", "shoe": "shoe", "Vorname": "Name"}), "Vorname",
         "the CSV way cannot set a contact's name: leave it out by columns=, or take via='json'"),
        (("email", "more"), ColumnRules(properties=KNOWN, columns={"email": "email", "more": "Properties"}), "more",
         "columns= picks properties by their own names, not a mapping of them"),
    ],
)  # fmt: skip
def test_faults_of_columns(names: Sequence[Any], rules: ColumnRules, field: str | None, problem: str) -> None:
    """Two columns that mean one thing, and a column that cannot be set, are faults of the columns."""
    with pytest.raises(ColumnFault) as caught:
        layout_of(names, rules)
    assert (caught.value.field, caught.value.message) == (field, problem)


def test_a_fault_of_columns_refuses_a_run() -> None:
    """The error of a run names the column once."""
    fault = ColumnFault("column.unknown", "x", "it is bad")
    assert str(refuse_columns(fault)) == "it is bad (column 'x'); nothing was sent"
    assert str(refuse_columns(ColumnFault("column.unknown", "x", "'x' is bad"))) == "'x' is bad; nothing was sent"
    assert str(refuse_columns(ColumnFault("column.name", None, "it is bad"))) == "it is bad; nothing was sent"


def test_a_column_name_that_is_an_address_is_not_repeated() -> None:
    """A person's address may stand in a header by mistake: no exception says it."""
    with pytest.raises(ColumnFault) as caught:
        layout_of(("email", "bob@example.org"), RULES)
    assert "bob" not in str(refuse_columns(caught.value))


def test_a_row_without_an_address_column() -> None:
    """Rows without an address are refused one by one: others may have one."""
    with pytest.raises(RowFault) as caught:
        contact({"name": "Ann"})
    assert caught.value.message == "the address is missing"


def test_columns_that_are_missing() -> None:
    """A column that the caller picks must be there, as it is spelled."""
    assert missing_columns(("email", "Age"), {"email": "email", "age": "age", "x": "y"}) == ["age", "x"]
    assert missing_columns(("email",), None) == []


@pytest.mark.parametrize(
    ("names", "rules", "properties"),
    [
        (("Email", "name", "Age", "IsExcludedFromCampaigns", "properties"), RULES, ["Age"]),
        (("email", "name", "age"), ColumnRules(properties=None, via_csv=True), ["name", "age"]),
        (("email", "properties"), ColumnRules(properties=None, text=True), ["properties"]),
        (("mail", "alter", "x"), ColumnRules(properties=None, columns={"mail": "email", "alter": "age"}), ["age"]),
    ],
)
def test_which_properties_rows_set(names: Sequence[str], rules: ColumnRules, properties: list[str]) -> None:
    """Properties are all names at Mailjet that are nothing else."""
    assert property_names(names, rules) == properties


@pytest.mark.parametrize(
    ("name", "rules", "column"),
    [
        ("int", RULES, ("Int", "int", False)),
        ("STR", RULES, ("Str", "str", True)),
        ("odd", RULES, ("Odd", "geography", True)),
        ("int", ColumnRules(properties=None), ("int", "any", True)),
    ],
)
def test_columns_know_the_types_of_their_properties(name: str, rules: ColumnRules, column: tuple[Any, ...]) -> None:
    """An unknown type is text; where no property is known, a value is sent as what it is."""
    (found,) = layout_of(("email", name), rules).properties
    assert (found.index, found.source) == (1, name)
    assert (found.target, found.datatype, found.plain) == column


# Contacts


def test_what_a_contact_has() -> None:
    """A contact has Mailjet's names, and nothing that was not given."""
    row = {"email": f" {A} ", "name": 7, "IsExcludedFromCampaigns": 0, "str": "né\u2028"}
    assert contact(row) == {
        "Email": A,
        "Name": "7",
        "IsExcludedFromCampaigns": False,
        "Properties": {"Str": "né\u2028"},
    }


@pytest.mark.parametrize("value", [None, math.nan, NA], ids=repr)
@pytest.mark.parametrize("column", KINDS)
def test_what_becomes_of_a_null(column: str, value: Any) -> None:
    """A null leaves a property alone, or unassigns it with nulls="unassign"; a Name is never unassigned."""
    row = {"email": A, column: value, "name": value, "IsExcludedFromCampaigns": value}
    assert contact(row) == {"Email": A}
    unassigned = contact(row, ColumnRules(properties=KNOWN, nulls="unassign"))
    assert unassigned == {"Email": A, "Properties": {column.capitalize(): None}}


def test_an_empty_cell_of_a_text_file_is_a_null() -> None:
    """Where all values are texts an empty one is a null; elsewhere it is a text, and no name."""
    row = {"email": A, "int": "", "str": "", "name": "", "IsExcludedFromCampaigns": ""}
    assert contact(row, ColumnRules(properties=KNOWN, text=True)) == {"Email": A}
    assert contact(row, ColumnRules(properties=KNOWN, text=True, nulls="unassign")) == {
        "Email": A,
        "Properties": {"Int": None, "Str": None},
    }
    assert contact({"email": A, "str": "", "name": ""}) == {"Email": A, "Properties": {"Str": ""}}


@pytest.mark.parametrize(
    ("column", "value"), [("name", ["x"]), ("name", math.inf), ("IsExcludedFromCampaigns", "maybe")]
)
def test_names_and_exclusions_that_do_not_fit(column: str, value: Any) -> None:
    """A Name that is no text, and an exclusion that is neither yes nor no, refuse the row."""
    with pytest.raises(RowFault) as caught:
        contact({"email": A, column: value})
    assert caught.value.field == column


@pytest.mark.parametrize("includes", [True, False])
def test_who_may_be_taken_off_the_exclusion_list(*, includes: bool) -> None:
    """A row may do it, unless the rules forbid it: then False is a fault of its row, and no other value is."""
    faults: dict[int, RowFault] = {}
    layout = layout_of(("email", "IsExcludedFromCampaigns"), ColumnRules(properties=KNOWN, includes=includes))
    contacts = layout.contacts([[A, A, A, A], [True, "false", None, 0]], 4, faults)
    assert contacts.at(0) == {"Email": A, "IsExcludedFromCampaigns": True}
    assert contacts.at(2) == {"Email": A}
    assert {index: fault.field for index, fault in faults.items()} == (
        {} if includes else {1: "IsExcludedFromCampaigns", 3: "IsExcludedFromCampaigns"}
    )


@pytest.mark.parametrize("column", ["email", "name", "IsExcludedFromCampaigns", "int"])
@pytest.mark.parametrize("value", ODD_VALUES, ids=lambda value: type(value).__name__)
def test_odd_values_cost_their_own_row(column: str, value: Any) -> None:
    """Whatever a value raises when it is looked at, in any column, it is the fault of its row alone."""
    good = {"email": A, "name": "Ann", "IsExcludedFromCampaigns": True}
    sent = {"Email": A, "Name": "Ann", "IsExcludedFromCampaigns": True}
    rows = [good | {column: good.get(column)} for _ in range(3)]
    rows[1][column] = value
    columns = [[row[name] for row in rows] for name in rows[0]]
    faults: dict[int, RowFault] = {}
    contacts = layout_of(tuple(rows[0]), RULES).contacts(columns, 3, faults)
    assert {index: fault.field for index, fault in faults.items()} == {1: column}
    assert [contacts.at(index) for index in (0, 2)] == [sent, sent]


def test_a_text_of_a_class_of_its_own() -> None:
    """The text is sent, whatever its class makes of it; an empty one is no name."""
    sent = contact({"email": TouchyText(A), "name": TouchyText("Ann"), "str": TouchyText("x")})
    assert {type(value) for value in (sent["Email"], sent["Name"], sent["Properties"]["Str"])} == {str}
    assert contact({"email": A, "name": TouchyText("")}) == {"Email": A}


# Many rows at once

ADDRESSES: list[Any] = [A, f" {A} ", "bob@example.org", "nobody", "", None, 7, "a" * 400 + "@b.de"]


@LAW
@given(st.lists(st.tuples(st.sampled_from(ADDRESSES), st.sampled_from(["7", 7, "x", None])), min_size=1))
def test_rows_that_are_taken_together(rows: list[tuple[Any, Any]]) -> None:
    """Each row of many is the contact that it is alone, or is refused for what it is refused for alone."""
    layout = layout_of(("email", "int"), RULES)
    faults: dict[int, RowFault] = {}
    contacts = layout.contacts(Block.of(("email", "int"), rows).columns, len(rows), faults)
    assert len(contacts.addresses) == len(rows)
    for index, row in enumerate(rows):
        try:
            alone = layout.contact(row)
        except RowFault as fault:
            found = faults[index]
            assert (found.field, found.message) == (fault.field, fault.message)  # noqa: PT017  # one of two outcomes
        else:
            assert index not in faults
            assert contacts.at(index) == alone


def test_a_row_is_refused_for_its_first_fault() -> None:
    """A row with several faults is refused for one: for its address before its values."""
    faults: dict[int, RowFault] = {}
    layout_of(("int", "name", "email"), RULES).contacts([["x", "x"], [["y"], ["y"]], ["nobody", A]], 2, faults)
    assert {index: fault.field for index, fault in faults.items()} == {0: "email", 1: "name"}


# Properties in a mapping of their own


def test_mailjets_own_contact_object() -> None:
    """A row whose properties stand in a mapping is flattened: values keep their names, wherever the mapping stands."""
    row = take_apart(
        {"Email": A, "Properties": {"Int": "7", "str": "x"}, "Name": "Ann", "IsExcludedFromCampaigns": "true"}
    )
    layout = layout_of(row.names, RULES)
    assert layout.nested == 1
    laid = flatten(row, layout.nested)
    assert laid.as_dict() == {"Email": A, "Name": "Ann", "IsExcludedFromCampaigns": "true", "Int": "7", "str": "x"}
    assert contact(laid.as_dict()) == {
        "Email": A,
        "Name": "Ann",
        "IsExcludedFromCampaigns": True,
        "Properties": {"Int": 7, "Str": "x"},
    }


@pytest.mark.parametrize("inner", [None, math.nan, {}])
def test_no_properties(inner: Any) -> None:
    """Properties that are missing are none."""
    assert flatten(take_apart({"email": A, "properties": inner}), 1) == Given(("email",), (A,))


@pytest.mark.parametrize("inner", ["x", [("a", 1)], 7])
def test_properties_that_are_no_mapping(inner: Any) -> None:
    """Properties of any other shape refuse the row: Mailjet would accept it, and may lose them."""
    with pytest.raises(RowFault) as caught:
        flatten(take_apart({"email": A, "properties": inner}), 1)
    assert (caught.value.field, caught.value.message) == ("Properties", "Properties is no mapping of names to values")


class Broken(dict[str, Any]):
    """A mapping that does not give its values."""

    def values(self) -> Any:
        raise RuntimeError("do not touch")


@pytest.mark.parametrize(
    ("inner", "problem"),
    [(Broken(x=1), "Properties cannot be read"), ({"PROPERTIES": {}}, "there are Properties in Properties")],
    ids=["broken", "nested"],
)
def test_properties_that_cannot_be_taken_apart(inner: Any, problem: str) -> None:
    """A mapping that raises, and one within the other, refuse the row."""
    with pytest.raises(RowFault) as caught:
        flatten(Given(("email", "Properties"), (A, inner)), 1)
    assert (caught.value.field, caught.value.message) == ("Properties", problem)


# Times without a zone

NAIVE, ZONED = "2026-01-02T03:04:05", "2026-01-02T03:04:05Z"


def zones(values: Sequence[Any], numbers: Sequence[int], rules: ColumnRules = RULES, **more: Any) -> list[int]:
    """Check a column, and give the indexes of the rows that are rejected."""
    block = Block(("email", "datetime"), [[A] * len(values), values], len(values), **more)
    layout, faults = layout_of(block.names, rules), dict[int, RowFault]()
    layout.contacts(block.columns, len(block), faults)
    layout.check_zones(block, numbers, faults)
    return sorted(faults)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize(
    ("values", "numbers", "row"),
    [
        ([NAIVE, NAIVE], [1, 2], None),
        ([NAIVE, NAIVE], [7, 8], 7),
        ([ZONED, NAIVE, NAIVE], [1, 2, 3], 2),
        (["", NAIVE], [1, 2], 2),
    ],
)
def test_most_times_of_a_column_have_no_zone(
    values: Sequence[Any], numbers: Sequence[int], row: int | None, *, text: bool
) -> None:
    """It refuses the run, and names the first row, unless that is the first of all and no other has one."""
    if not text:
        values = [value or None for value in values]
    with pytest.raises(UsageError, match="without a time zone") as refused:
        zones(values, numbers, ColumnRules(properties=KNOWN, text=text))
    assert (refused.value.row, refused.value.column) == (row, "datetime")
    assert (f"(row {row}, column" in str(refused.value)) == (row is not None)


def test_a_few_times_of_a_column_have_no_zone() -> None:
    """These rows are rejected."""
    assert zones([ZONED, NAIVE, ZONED, 20260101, NAIVE], range(1, 6)) == [1, 4]
    assert zones([ZONED, "x"], range(1, 3)) == [1]


def test_the_type_of_a_column_has_no_zone() -> None:
    """It needs no value to be refused."""
    with pytest.raises(UsageError, match=r"without a time zone.*\(column 'datetime'\)"):
        zones([None], [1], zoneless=frozenset({1}))
