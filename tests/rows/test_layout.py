"""What a row may be, and what of it is sent."""

import json
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from fractions import Fraction
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # it brings no types
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from mjbulk.models import Contact, Property
from mjbulk.rows.addresses import MAX_ADDRESS, are_addresses, check_address, is_address, key_of
from mjbulk.rows.block import Block, Given, blocks_of, take_apart
from mjbulk.rows.contacts import encode
from mjbulk.rows.layout import (
    NO_ADDRESS,
    ColumnRules,
    flatten,
    layout_of,
    missing_columns,
    property_names,
    refuse_columns,
)
from mjbulk.rows.values import ColumnFault, RowFault, is_null

LAW = settings(derandomize=True, deadline=None, max_examples=150)
A = "ann@example.org"
KINDS = ["str", "int", "float", "bool", "datetime"]
KNOWN = {kind: Property(id=n, name=kind.capitalize(), datatype=kind) for n, kind in enumerate(KINDS)}
KNOWN["past"] = Property(id=9, name="Past", datatype="str", namespace="historic")
KNOWN["odd"] = Property(id=10, name="Odd", datatype="geography")
KNOWN["name"] = Property(id=11, name="name", datatype="str")
RULES = ColumnRules(properties=KNOWN)


class Colour(Enum):
    RED = "red"
    ONE = 1


class Word(StrEnum):
    RED = "red"


class Record:
    """As a database gives rows: keys() and [], and no mapping."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def keys(self) -> Iterable[str]:
        return self.fields.keys()

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]


def contact(row: Mapping[str, Any], rules: ColumnRules = RULES) -> dict[str, Any]:
    return layout_of(tuple(row), rules).contact(tuple(row.values()))


# Addresses

GOOD = [
    "a@b.de",
    "A.b+c@Example.ORG",
    "a_b-c'd/e=f?g!#$%&*^`{|}~@x.y.z.example",
    "ä@exämple.рф",
    "a@b-c.d1",
    "a@1.2",
    '"a"@b.de',
    "a..b@c.de",
    ".a@b.de",
    "用户@例子.广告",
    '"x@y"@z.example',
    "a@xn--bcher-kva.example",
    "a@b.c",
]


@pytest.mark.parametrize("address", [*GOOD, '"a b"@c.de', f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 63}.{'e' * 60}"])
def test_addresses_that_are_taken(address: str) -> None:
    """An address is sent unchanged, but without the blanks around it."""
    assert check_address(address) == address
    assert check_address(f" \t{address}\r\n") == address


BAD = [
    "a",
    "a@",
    "@b.de",
    "a@b",
    "a@@b.de",
    "a@b@c.de",
    "a@.de",
    "a@b..de",
    "a@b.de.",
    "a@-b.de",
    "a@b-.de",
    "a@b_.de",
    "a@b.de,",
    "<a@b.de>",
    "a,b@c.de",
    "a;b@c.de",
    "a:b@c.de",
    "a(b)@c.de",
    "a[b]@c.de",
    "a\\b@c.de",
    '"a@b.de',
    'a"b"@c.de',
    '""@b.de',
    "a@[127.0.0.1]",
    "mailto:a@b.de",
    "a@b,de",
    "a@b/c.de",
    "a@b.d\x7fe",
]


@pytest.mark.parametrize(
    "address",
    [*BAD, "a b@c.de", "a@b c.de", "a\n@b.de", "a@b.de\nx", "a\0@b.de", "a@b\u2028.de", '"a\nb"@c.de', "a\u00a0b@c.de"],
)
def test_what_is_no_address(address: str) -> None:
    """Any other text is refused, with a message that does not repeat it."""
    with pytest.raises(RowFault) as caught:
        check_address(address)
    assert (caught.value.field, caught.value.message) == ("email", "this is no e-mail address")
    assert str(caught.value) == ""


@pytest.mark.parametrize("value", [None, "", " ", "\t\n", math.nan, Decimal("NaN")])
def test_an_address_that_is_missing(value: Any) -> None:
    """Nothing, and a text of blanks, is a missing address."""
    with pytest.raises(RowFault) as caught:
        check_address(value)
    assert caught.value.message == "the address is missing"


@pytest.mark.parametrize(("value", "kind"), [(7, "int"), (b"a@b.de", "bytes"), (True, "bool"), (["a@b.de"], "list")])
def test_an_address_that_is_no_text(value: Any, kind: str) -> None:
    """What is no text is no address."""
    with pytest.raises(RowFault) as caught:
        check_address(value)
    assert caught.value.message == f"the address is a {kind}, not a text"


@pytest.mark.parametrize(("length", "taken"), [(MAX_ADDRESS, True), (MAX_ADDRESS + 1, False), (10**6, False)])
def test_how_long_an_address_may_be(length: int, *, taken: bool) -> None:
    """An address has at most 320 characters."""
    address = f"{'a' * (length - 5)}@b.de"
    if taken:
        assert check_address(address) == address
    else:
        with pytest.raises(RowFault):
            check_address(address)


@LAW
@hypothesis_given(st.text(max_size=30))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    """Whatever a text is: it is taken without the blanks around it, or refused; it is never changed."""
    try:
        address = check_address(text)
    except RowFault:
        return
    assert address == text.strip()
    assert address.count("@") >= 1
    assert not any(character in address for character in "\r\n\0,;")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (" Ann@Example.org", "ann@example.ORG ", True),
        ("straße@b.de", "STRASSE@b.de", True),
        ("a@b.de", "a+x@b.de", False),
        ("a@b.de", "a.@b.de", False),
    ],
)
def test_who_is_one_person(one: str, other: str, *, same: bool) -> None:
    """Two addresses are one person where they differ in case and in blanks around them alone."""
    assert (key_of(one) == key_of(other)) is same


# Nulls

NULLS = [None, math.nan, -math.nan, Decimal("NaN"), type("NAType", (), {})(), type("NaTType", (), {})()]


@pytest.mark.parametrize("value", NULLS, ids=repr)
def test_nulls(value: Any) -> None:
    """None, NaN, and what data frames have for both stand for nothing."""
    assert is_null(value)


@pytest.mark.parametrize("value", ["", 0, False, 0.0, math.inf, Decimal(0), "NaN", [], "None"], ids=repr)
def test_no_nulls(value: Any) -> None:
    """Nothing else is a null: not zero, not a text."""
    assert not is_null(value)


@pytest.mark.parametrize("value", NULLS, ids=repr)
@pytest.mark.parametrize("column", KINDS)
def test_what_becomes_of_a_null(column: str, value: Any) -> None:
    """A null leaves a property alone, or unassigns it where that was said; a Name is never unassigned."""
    row = {"email": A, column: value, "name": value, "IsExcludedFromCampaigns": value}
    assert contact(row) == {"Email": A}
    unassigned = contact(row, ColumnRules(properties=KNOWN, nulls="unassign"))
    assert unassigned == {"Email": A, "Properties": {column.capitalize(): None}}
    layout = layout_of(("email", column), RULES)
    assert layout.properties[0].read(value) is None


def test_an_empty_cell_of_a_text_file_is_a_null() -> None:
    """Where all values are text an empty one is nothing; elsewhere it is a text."""
    row = {"email": A, "int": "", "str": "", "name": "", "IsExcludedFromCampaigns": ""}
    assert contact(row, ColumnRules(properties=KNOWN, text=True)) == {"Email": A}
    assert contact(row, ColumnRules(properties=KNOWN, text=True, nulls="unassign")) == {
        "Email": A,
        "Properties": {"Int": None, "Str": None},
    }
    assert contact({"email": A, "str": "", "name": ""}) == {"Email": A, "Properties": {"Str": ""}}


# Values

BERLIN = timezone(timedelta(hours=2))
UNIQUE = UUID("12345678-1234-5678-1234-567812345678")
VALUES: list[tuple[str, Any, Any]] = [
    *(("str", value, value) for value in ("x", "", " x ", "７", "\u2028", "né")),
    ("str", Word.RED, "red"),
    ("str", Colour.RED, "red"),
    ("str", Colour.ONE, "1"),
    ("str", 7, "7"),
    ("str", 10**30, "1" + "0" * 30),
    ("str", 1.5, "1.5"),
    ("str", True, "true"),
    ("str", False, "false"),
    ("str", Decimal("1.10"), "1.10"),
    ("str", Fraction(1, 3), "1/3"),
    ("str", UNIQUE, str(UNIQUE)),
    ("str", date(2026, 1, 2), "2026-01-02"),
    ("str", datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00"),
    *(("int", value, 7) for value in (7, "7", " 7 ", "+7", "007", 7.0, Decimal(7), Decimal("7.0"))),
    *(("int", value, -7) for value in (-7, "-7", -7.0)),
    *(("int", value, value) for value in (0, 2**63 - 1, -(2**63), 2**53 + 1)),
    ("int", "9223372036854775807", 2**63 - 1),
    *(
        ("float", value, 1.5)
        for value in (1.5, "1.5", " 1.5 ", "+1.50", "15e-1", "1.5E0", Decimal("1.5"), Fraction(3, 2))
    ),
    *(("float", value, 0.5) for value in (".5", "0.5", 0.5)),
    *(("float", value, 7.0) for value in (7, "7", "7.", "7.0")),
    *(("bool", value, True) for value in (True, "true", " TRUE ", "True", "1", 1)),
    *(("bool", value, False) for value in (False, "false", "FALSE", "0", 0)),
    *(("datetime", value, value) for value in (0, 1624877107, -1)),
    *(("datetime", value, "2026-01-02T00:00:00Z") for value in ("2026-01-02", " 20260102 ", date(2026, 1, 2))),
    ("datetime", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
    ("datetime", "2026-01-02 03:04:05+02:00", "2026-01-02T01:04:05Z"),
    ("datetime", datetime(2026, 1, 2, 3, tzinfo=BERLIN), "2026-01-02T01:00:00Z"),
    ("datetime", datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC), "2026-01-02T03:04:05.000600Z"),
    ("odd", 7, "7"),
    ("odd", "x", "x"),
]


def of_kind(value: Any) -> tuple[type, Any]:
    return (str if isinstance(value, str) else type(value), value)


@pytest.mark.parametrize(("column", "value", "sent"), VALUES, ids=lambda value: repr(value)[:24])
def test_values_that_fit(column: str, value: Any, sent: Any) -> None:
    """A value of another type becomes one of the property's type where nothing is lost by that."""
    properties = contact({"email": A, column: value})["Properties"]
    assert of_kind(properties[column.capitalize()]) == of_kind(sent)
    (set_by,) = layout_of((column, "email"), RULES).properties
    assert of_kind(set_by.read(value)) == of_kind(sent)


WRONG: list[tuple[str, Any, str]] = [
    ("str", math.inf, "is infinite"),
    ("str", b"x", "is a bytes, which is no text"),
    ("str", ["x"], "is a list, which is no text"),
    ("str", {"x": 1}, "is a dict, which is no text"),
    ("str", 1j, "is a complex, which is no text"),
    ("odd", [1], "is a list, which is no text"),
    *(("int", value, "is no whole number") for value in (True, False, 7.5, "7.0", "7.5", "1e3", "７", "1_0")),
    *(("int", value, "is no whole number") for value in ("x", "", "+", "- 7", "0x7", "9" * 20, b"7", [7], 1j)),
    *(("int", value, "is no whole number") for value in (Decimal("7.5"), math.inf, -math.inf)),
    *(("int", value, "is too large a number") for value in (2**63, -(2**63) - 1, 1e300, "9223372036854775808")),
    ("int", Decimal("Infinity"), "cannot convert Infinity to integer"),
    *(("float", value, "is no number") for value in (True, "x", "", "1,5", "nan", "inf", "１", "1_0")),
    *(("float", value, "is no number") for value in ("1e9999", b"1", 1j)),
    *(("float", value, "is infinite") for value in (math.inf, -math.inf, "1e999", Decimal("1e400"))),
    ("float", 10**400, "int too large to convert to float"),
    *(("bool", value, "is neither true nor false") for value in ("yes", "", 2, -1, 1.0, b"1", "１", None.__class__)),
    *(("datetime", value, "is no date and time in RFC 3339") for value in ("x", "", "2026-13-01", "2026")),
    ("datetime", "02.01.2026", "is no date and time in RFC 3339"),
    *(("datetime", value, "is no date") for value in (True, 1.5, b"2026-01-02", ["2026-01-02"])),
    *(("datetime", value, "has no time zone") for value in ("2026-01-02T03:04:05", datetime(2026, 1, 2))),  # noqa: DTZ001
    ("datetime", datetime(1, 1, 1, tzinfo=BERLIN), "date value out of range"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value", "problem"), WRONG, ids=lambda value: repr(value)[:24])
def test_values_that_do_not_fit(column: str, value: Any, problem: str) -> None:
    """What does not fit a property's type refuses the row, and names the column, not the value."""
    with pytest.raises(RowFault) as caught:
        contact({"email": A, column: value})
    assert (caught.value.field, caught.value.message) == (column, f"the value {problem}")


def test_an_empty_text_is_none_where_a_column_is_asked_alone() -> None:
    """A column gives an empty text as it is, whatever its type: on the CSV way it is an empty cell."""
    assert [layout_of((kind,), RULES).properties[0].read("", text=True) for kind in KINDS] == [None] * 5


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("x", "x"), (True, True), (7, 7), (1.5, 1.5), (Decimal("1.5"), 1.5), (Decimal(7), 7.0), (Fraction(3, 2), 1.5),
        (date(2026, 1, 2), "2026-01-02T00:00:00Z"), (UNIQUE, str(UNIQUE)), (Colour.RED, "red"), (Word.RED, "red"),
    ],
)  # fmt: skip
def test_values_without_a_type(value: Any, sent: Any) -> None:
    """Where the types of properties are not known, values go as what they are."""
    properties = contact({"email": A, "x": value}, ColumnRules(properties=None))["Properties"]
    assert of_kind(properties["x"]) == of_kind(sent)


@pytest.mark.parametrize("value", [math.inf, 2**63, ["x"], datetime(2026, 1, 2), Decimal("Infinity")])  # noqa: DTZ001
def test_values_without_a_type_that_json_cannot_hold(value: Any) -> None:
    """What JSON would lose refuses the row there as well."""
    with pytest.raises(RowFault) as caught:
        contact({"email": A, "x": value}, ColumnRules(properties=None))
    assert caught.value.field == "x"


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3), st.dates(),
    st.datetimes(timezones=st.sampled_from([None, UTC])), st.decimals(allow_nan=False), st.uuids(), st.fractions(),
)  # fmt: skip


@LAW
@hypothesis_given(st.sampled_from([*KINDS, "odd"]), SCALARS)
def test_any_value_is_sent_or_refused(column: str, value: Any) -> None:
    """Whatever a value is: it is JSON of the property's type, or the row is refused; it never becomes a null."""
    try:
        encoded = encode(contact({"email": A, column: value}))
    except RowFault as fault:
        assert fault.message  # noqa: PT017  # that it may be raised is half of the law
        return
    properties = json.loads(encoded).get("Properties", {})
    assert (properties == {}) == is_null(value)
    kinds = {"str": str, "odd": str, "int": int, "float": float, "bool": bool, "datetime": int | str}
    for sent in properties.values():
        assert isinstance(sent, kinds[column])
        assert column == "bool" or not isinstance(sent, bool)


# Rows


def shown(row: Any) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    taken = take_apart(row)
    return taken.names, tuple(taken.values)


@pytest.mark.parametrize(
    "row",
    [
        {"email": A, "age": 7},
        OrderedDict(email=A, age=7),
        Record(email=A, age=7),
        type("Sub", (dict,), {})(email=A, age=7),
    ],
    ids=lambda row: type(row).__name__,
)
def test_rows_that_can_be_taken(row: Any) -> None:
    """Anything with keys() and [] is a row."""
    assert shown(row) == (("email", "age"), (A, 7))
    assert take_apart(row).as_dict() == {"email": A, "age": 7}


def test_a_bare_address_is_a_row() -> None:
    """A text is a row of an address."""
    assert shown(A) == (("email",), (A,))


def test_contacts_are_rows() -> None:
    """A Contact gives what was said of it, and nothing for what was not."""
    assert shown(Contact(A)) == (("email", "properties"), (A, {}))
    assert shown(Contact(A, name="Ann", properties={"x": 1}, excluded=False)) == (
        ("email", "properties", "name", "isexcludedfromcampaigns"),
        (A, {"x": 1}, "Ann", False),
    )


class Liar:
    def keys(self) -> list[str]:
        return ["email"]

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)


class Short(Liar):
    def __getitem__(self, key: str) -> Any:
        raise IndexError(key)


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (None, "NoneType"),
        (7, "int"),
        ((A, 7), "tuple"),
        ([A], "list"),
        (b"a@b.de", "bytes"),
        (Liar(), "Liar"),
        (Short(), "Short"),
    ],
)
def test_what_is_no_row(row: Any, kind: str) -> None:
    """Anything else is refused, by its type alone."""
    with pytest.raises(RowFault) as caught:
        take_apart(row)
    assert (caught.value.field, caught.value.message) == (None, f"a row has keys() and []; this is {kind}")


def test_a_repr_of_a_row_shows_no_value() -> None:
    """The values of a row are not in its repr."""
    assert "example" not in repr(Given(("email",), (A,)))


# Layouts


def test_mailjets_own_contact_object() -> None:
    """A row whose properties stand in a mapping is laid flat: values keep their names, wherever the mapping stands."""
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
    """Properties of any other shape refuse the row: Mailjet would take them and lose them."""
    with pytest.raises(RowFault) as caught:
        flatten(take_apart({"email": A, "properties": inner}), 1)
    assert (caught.value.field, caught.value.message) == ("Properties", "Properties is no mapping of names to values")


@pytest.mark.parametrize(
    ("names", "rules", "indices"),
    [
        (("EMAIL", "Name", "int"), RULES, (0, 1, None, ["Int"], True)),
        (("int", "str", "email"), RULES, (2, None, None, ["Int", "Str"], True)),
        (("IsExcludedFromCampaigns", "email"), RULES, (1, None, 0, [], True)),
        (("Mail", "Alter", "x"), ColumnRules(properties=KNOWN, columns={"Mail": "email", "Alter": "INT"}),
         (0, None, None, ["Int"], False)),
        (("name", "email"), ColumnRules(properties=KNOWN, columns={"email": "email"}), (1, None, None, [], False)),
        (("email", "name"), ColumnRules(properties=KNOWN, via_csv=True), (0, None, None, ["name"], True)),
        (("email", "properties"), ColumnRules(properties=None, text=True), (0, None, None, ["properties"], True)),
        (("x", "email", "name"), ColumnRules(properties=KNOWN, only_address=True), (1, None, None, [], False)),
        (("email",), ColumnRules(properties=KNOWN, only_address=True), (0, None, None, [], True)),
        (("x", "y"), ColumnRules(properties=None), (None, None, None, ["x", "y"], True)),
        ((), RULES, (None, None, None, [], True)),
    ],
)  # fmt: skip
def test_what_stands_where(names: Sequence[str], rules: ColumnRules, indices: tuple[Any, ...]) -> None:
    """Address, name and exclusion are known by their names in any case, the rest are properties as the account spells
    them.
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
        (("x", "y"), RULES, "email", NO_ADDRESS),
        (("bob@example.org", "Bob"), RULES, "email", NO_ADDRESS),
        (("email", "IsExcludedFromCampaigns"), ColumnRules(properties=KNOWN, via_csv=True), "IsExcludedFromCampaigns",
         "the CSV way cannot set IsExcludedFromCampaigns"),
    ],
)  # fmt: skip
def test_faults_of_columns(names: Sequence[Any], rules: ColumnRules, field: str | None, problem: str) -> None:
    """Two columns for one thing, and a property that is not defined, are faults of the columns."""
    with pytest.raises(ColumnFault) as caught:
        layout_of(names, rules)
    assert (caught.value.field, caught.value.message) == (field, problem)


def test_a_fault_of_columns_refuses_a_run() -> None:
    """The error of a run names the column once."""
    assert str(refuse_columns(ColumnFault("x", "it is bad"))) == "it is bad (column 'x'); nothing was sent"
    assert str(refuse_columns(ColumnFault("x", "'x' is bad"))) == "'x' is bad; nothing was sent"
    assert str(refuse_columns(ColumnFault(None, "it is bad"))) == "it is bad; nothing was sent"


def test_a_row_without_an_address_column() -> None:
    """Rows without an address are refused one by one: others may have one."""
    with pytest.raises(RowFault) as caught:
        contact({"name": "Ann"})
    assert caught.value.message == "the address is missing"


def test_columns_that_are_missing() -> None:
    """What the caller picks has to be there, as it is spelled."""
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
    """Properties are the targets that are nothing else."""
    assert property_names(names, rules) == properties


# Encoding


def test_what_is_encoded() -> None:
    """A contact has Mailjet's names, and nothing that was not said."""
    row = {"email": f" {A} ", "name": 7, "IsExcludedFromCampaigns": 0, "str": "né\u2028"}
    assert json.loads(encode(contact(row))) == {
        "Email": A,
        "Name": "7",
        "IsExcludedFromCampaigns": False,
        "Properties": {"Str": "né\u2028"},
    }


@pytest.mark.parametrize(("column", "field"), [("str", "Str"), ("name", "Name")])
def test_half_a_character(column: str, field: str) -> None:
    """Half a character is no text that could be sent: the row is refused, and its column named."""
    with pytest.raises(RowFault) as caught:
        encode(contact({"email": A, "odd": "x", column: "a\ud800"}))
    assert (caught.value.field, caught.value.message) == (field, "the value is no valid Unicode text")


@pytest.mark.parametrize(("column", "value"), [("name", ["x"]), ("name", math.inf), ("IsExcludedFromCampaigns", "yes")])
def test_names_and_exclusions_that_do_not_fit(column: str, value: Any) -> None:
    """A Name that is no text, and an exclusion that is neither yes nor no, refuse the row."""
    with pytest.raises(RowFault) as caught:
        contact({"email": A, column: value})
    assert caught.value.field == column


# Many rows at once

ALIKE = st.one_of(
    *(
        st.lists(one, max_size=6)
        for one in (
            st.sampled_from([0, 7, -7, 2**63 - 1, 2**63, -(2**63) - 1]),
            st.sampled_from([0.0, 1.5, 7.0, math.nan, math.inf, 1e300]),
            st.booleans(),
            st.sampled_from(
                ["", " ", "7", "007", "+7", "9223372036854775808", "1.5", "1e999", ".5", "x", "true", "７"]
            ),
            st.one_of(st.none(), st.sampled_from([7, "7", 1.5, True, math.nan, b"x", Word.RED, date(2026, 1, 2)])),
        )
    )
)
TEXTUAL = st.lists(
    st.sampled_from(["", "7", "007", "1.5", "1e999", "9223372036854775808", "x", "true", " 7"]), max_size=6
)


def one_by_one(kind: str, values: Sequence[Any], *, text: bool) -> tuple[list[Any], dict[int, tuple[str | None, str]]]:
    (column,) = layout_of((kind, "email"), RULES).properties
    found, faults = [], {}
    for index, value in enumerate(values):
        try:
            found.append(of_kind(column.read(value, text=text)))
        except RowFault as fault:
            found.append(of_kind(None))
            faults[index] = (fault.field, fault.message)
    return found, faults


@LAW
@hypothesis_given(
    st.sampled_from([*KINDS, "odd"]), st.one_of(TEXTUAL.map(lambda v: (v, True)), ALIKE.map(lambda v: (v, False)))
)
def test_a_column_at_a_glance_is_a_column_value_by_value(kind: str, column: tuple[list[Any], bool]) -> None:
    """What is read of many values at once is what is read of each of them, the faults too."""
    values, text = column
    faults: dict[int, RowFault] = {}
    (reader,) = layout_of((kind, "email"), RULES).properties
    found = [of_kind(value) for value in reader.read_all(list(values), faults, text=text)]
    told = {index: (fault.field, fault.message) for index, fault in faults.items()}
    assert (found, told) == one_by_one(kind, values, text=text)
    if text:
        checked: dict[int, RowFault] = {}
        reader.check_texts(values, checked)
        assert checked.keys() == faults.keys()


ALMOST = st.text(st.sampled_from("aA0._+-@é \n\u00a0"), max_size=8)


@LAW
@hypothesis_given(
    st.lists(st.sampled_from([A, "b-c@d-e.f.gh", "é@b.de", "a@b.de\nc@d.ef"]) | ALMOST, min_size=1, max_size=3)
)
def test_addresses_that_are_seen_at_a_glance_are_addresses(values: list[str]) -> None:
    """Addresses that pass together also pass one by one, and unchanged."""
    if are_addresses(values):
        assert all(map(is_address, values))
    assert are_addresses(values) or not all(value in (A, "b-c@d-e.f.gh") for value in values)


def test_an_address_that_is_too_long_is_seen_too() -> None:
    """Its length counts also where many are looked at together."""
    assert are_addresses([A, f"{'a' * (MAX_ADDRESS - 5)}@b.de"])
    assert not are_addresses([A, f"{'a' * (MAX_ADDRESS - 4)}@b.de"])
    assert not are_addresses([A, None])


ADDRESSES: list[Any] = [A, f" {A} ", "bob@example.org", "nobody", "", None, 7, "a" * 400 + "@b.de"]


@LAW
@hypothesis_given(st.lists(st.tuples(st.sampled_from(ADDRESSES), st.sampled_from(["7", 7, "x", None])), min_size=1))
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


def test_the_first_fault_of_a_row_is_told() -> None:
    """A row with several faults is refused for its address before its values, and for one reason."""
    faults: dict[int, RowFault] = {}
    layout_of(("int", "name", "email"), RULES).contacts([["x", "x"], [["y"], ["y"]], ["nobody", A]], 2, faults)
    assert {index: fault.field for index, fault in faults.items()} == {0: "email", 1: "name"}


def test_a_block_gives_its_rows() -> None:
    """Of many rows with the same names each can be had, with its record where it came from a CSV file."""
    plain = Block.of(("email",), [(A,), ("b@c.de",)], number=5)
    assert (len(plain), plain.given(1).as_dict(), plain.number) == (2, {"email": "b@c.de"}, 5)
    assert "example" not in repr(plain)
    records = Block.of(("email",), [(A,), ("b@c.de",), ("d@e.de",)], [f"{A}\n", "b@c.de\n", "d@e.de\n"])
    some = records.at([2, 0])
    assert (some.rows, some.kept(slice(0, 2))) == ([("d@e.de",), (A,)], f"d@e.de\n{A}\n")
    assert plain.at([1]).kept(slice(0, 1)) == [["b@c.de"]]
    assert Block.of((), [(), ()]).rows == [(), ()]


def test_rows_with_the_same_names_make_a_block() -> None:
    """What follows each other is put together, and what is no row stands alone."""
    one, two, other = Given(("email",), (A,)), Given(("email",), ["b@c.de"]), Given(("email", "x"), (A, 7))
    found = list(blocks_of([one, two, "none", "none", one, other, other]))
    assert found == [
        Block.of(("email",), [(A,), ("b@c.de",)]),
        "none",
        "none",
        Block.of(("email",), [(A,)]),
        Block.of(("email", "x"), [(A, 7), (A, 7)]),
    ]
    assert list(blocks_of([])) == []


class OfAnArray:
    """A number as an array has it: no number of Python's, but it can give one."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def item(self) -> Any:
        return self.value


OfAnArray.__module__ = "numpy"


@pytest.mark.parametrize(
    ("kind", "value", "sent"),
    [("int", 7, 7), ("int", 7.0, 7), ("float", 1.5, 1.5), ("bool", True, True), ("str", 3, "3"), ("datetime", 5, 5)],
)
def test_numbers_of_arrays_are_numbers(kind: str, value: Any, sent: Any) -> None:
    """What an array gives is taken as Python's own value of it."""
    column = layout_of(("email", kind), RULES).properties[0]
    assert column.read(OfAnArray(value)) == sent


@pytest.mark.parametrize(
    ("kind", "value"),
    [("datetime", 10**30), ("datetime", -(10**30)), ("str", Decimal("Infinity")), ("str", OfAnArray(float("inf")))],
)
def test_values_without_a_meaning_are_refused(kind: str, value: Any) -> None:
    """A time that no calendar has, and what is infinite, cost their row, with the name of the column."""
    with pytest.raises(RowFault) as caught:
        layout_of(("email", kind), RULES).properties[0].read(value)
    assert caught.value.field == kind


def test_a_signalling_nan_is_a_null() -> None:
    """It raises at every comparison, and it means nothing all the same."""
    assert is_null(Decimal("sNaN"))
    assert is_null(Fraction(1, 2)) is False


@pytest.mark.parametrize("address", ["a@हिन्दी.भारत", "a@exa\u0308mple.org"])
def test_domains_in_any_script_are_addresses(address: str) -> None:
    """Marks above and below letters are part of names."""
    assert check_address(address) == address


def test_what_nobody_sees_is_no_part_of_an_address() -> None:
    """A character without width came there by accident, and would make another person of it."""
    with pytest.raises(RowFault):
        check_address("a\u200bb@example.org")


def test_a_column_name_that_is_an_address_is_not_repeated() -> None:
    """Somebody's address may stand in a header by mistake: it is not put into an exception."""
    with pytest.raises(ColumnFault) as caught:
        layout_of(("email", "bob@example.org"), RULES)
    assert "bob" not in str(refuse_columns(caught.value))


# Values of all kinds


class Touchy:
    """A value that raises whatever is asked of it."""

    def _raise(self, *_: Any) -> Any:
        raise RuntimeError("do not touch")

    __eq__ = __bool__ = __str__ = __repr__ = __float__ = __len__ = _raise
    __hash__ = object.__hash__


class TouchyText(str):
    """A text that does the same."""

    __slots__ = ()
    __eq__ = __bool__ = __str__ = __repr__ = __len__ = strip = Touchy._raise
    __hash__ = str.__hash__


class TouchyFloat(float):
    __ne__ = __eq__ = __str__ = __float__ = __floordiv__ = Touchy._raise
    __hash__ = float.__hash__


class TouchyWord(Enum):
    RED = "red"

    @property
    def value(self) -> Any:
        raise RuntimeError("do not touch")


MANY = np.array([1, 2])
ODD_VALUES = [
    Touchy(),
    TouchyFloat(1),
    TouchyWord.RED,
    MANY,
    np.array(["x", "y"]),
    np.array([]),
    np.timedelta64(5, "ns"),
]


@pytest.mark.parametrize("column", ["email", "name", "IsExcludedFromCampaigns", *KINDS])
@pytest.mark.parametrize("value", ODD_VALUES, ids=lambda value: type(value).__name__)
def test_odd_values_cost_their_own_row(column: str, value: Any) -> None:
    """Whatever a value raises when it is looked at, in any role, it is that row's fault."""
    good = {"email": A, "name": "Ann", "IsExcludedFromCampaigns": True}
    sent = {"Email": A, "Name": "Ann", "IsExcludedFromCampaigns": True}
    rows = [good | {column: good.get(column)} for _ in range(3)]
    rows[1][column] = value
    columns = [[row[name] for row in rows] for name in rows[0]]
    faults: dict[int, RowFault] = {}
    contacts = layout_of(tuple(rows[0]), RULES).contacts(columns, 3, faults)
    assert {index: fault.field for index, fault in faults.items()} == {1: column}
    assert [contacts.at(index) for index in (0, 2)] == [sent, sent]


@pytest.mark.parametrize(
    "value", [pd.NA, pd.NaT, math.nan, np.float32("nan"), np.datetime64("NaT", "s"), np.timedelta64("NaT", "s")]
)
@pytest.mark.parametrize("column", ["name", "IsExcludedFromCampaigns", *KINDS])
def test_nulls_of_frames_and_arrays(column: str, value: Any) -> None:
    """They are nulls in every role; where an address should be, it is missing."""
    assert is_null(value)
    assert contact({"email": A, column: value}) == {"Email": A}
    with pytest.raises(RowFault) as caught:
        check_address(value)
    assert caught.value.message == "the address is missing"


def test_a_text_of_a_class_of_its_own() -> None:
    """What is sent is the text, whatever its class makes of it; an empty one is no name."""
    sent = contact({"email": TouchyText(A), "name": TouchyText("Ann"), "str": TouchyText("x")})
    assert {type(value) for value in (sent["Email"], sent["Name"], sent["Properties"]["Str"])} == {str}
    assert contact({"email": A, "name": np.str_("")}) == {"Email": A}
    assert contact({"email": A, "name": TouchyText("")}) == {"Email": A}
    free = layout_of(("email", "x"), ColumnRules(properties=None)).properties[0]
    assert type(free.read(TouchyText("x"))) is str


DURATION = "the value is a timedelta64, which is neither text nor number"
NANO = np.datetime64("2026-11-24T12:30:00.123456789", "ns")


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (NANO, "2026-11-24T12:30:00.123456"),
        (np.array(NANO), "2026-11-24T12:30:00.123456"),
        (np.datetime64("2026-11-24", "D"), "2026-11-24"),
        (np.datetime64("2026-11-24T12:30", "s"), "2026-11-24T12:30:00"),
        (np.int64(7), "7"),
        (np.array(7), "7"),
        (np.array(math.nan), None),
        (np.array("NaT", "datetime64[ns]"), None),
    ],
)
def test_values_of_arrays(value: Any, sent: str | None) -> None:
    """A date is a date, cut to microseconds, and no number."""
    assert layout_of(("email", "str"), RULES).properties[0].read(value) == sent


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("datetime", NANO, "the value has no time zone"),
        ("int", NANO, "the value is no whole number"),
        ("str", np.timedelta64(5, "ns"), DURATION),
        ("str", np.timedelta64(5, "s"), DURATION),
        ("int", np.timedelta64(5, "ns"), DURATION),
        ("float", np.timedelta64(5, "h"), DURATION),
        ("str", np.datetime64(10**18, "s"), "the value is a datetime64, which is no text"),
        ("datetime", np.datetime64(10**18, "s"), "the value is no date"),
        ("str", MANY, "the value is a ndarray, which is no text"),
        ("str", TouchyWord.RED, "the value is a TouchyWord that cannot be read"),
    ],
)
def test_values_of_arrays_that_do_not_fit(kind: str, value: Any, message: str) -> None:
    """A duration is no number, and neither is a date that no calendar of Python's has."""
    with pytest.raises(RowFault) as caught:
        layout_of(("email", kind), RULES).properties[0].read(value)
    assert caught.value.message == message


class Unhashable(Liar):
    def keys(self) -> Any:
        return [["email"]]

    def __getitem__(self, key: Any) -> Any:
        return A


class Broken(dict[str, Any]):
    def values(self) -> Any:
        raise RuntimeError("do not touch")


def test_names_that_are_no_names() -> None:
    """Names that cannot be told apart cost their row, and rows beside those with odd names are not touched."""
    with pytest.raises(RowFault):
        take_apart(Unhashable())
    with pytest.raises(RowFault) as caught:
        flatten(Given(("email", "Properties"), (A, Broken(x=1))), 1)
    assert (caught.value.field, caught.value.message) == ("Properties", "Properties cannot be read")
    rows = [Given(("email",), (A,)), Given((pd.NA,), (A,)), Given(("email",), (A,))]
    assert [len(block) for block in blocks_of(rows)] == [1, 1, 1]
