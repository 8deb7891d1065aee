"""Values of properties: what fits a type, and what becomes of it."""

import math
from collections import UserDict
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Network
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from touchy import ODD_VALUES, Many, TouchyText, TouchyWord

from mjbulk.rows.convert import converter
from mjbulk.rows.plain import is_null, plain
from mjbulk.rows.values import Column, RowFault

LAW = settings(derandomize=True, deadline=None, max_examples=150)
KINDS = ["str", "int", "float", "bool", "datetime"]


class Colour(Enum):
    RED = "red"
    ONE = 1


class Word(StrEnum):
    RED = "red"


class OfAnArray:
    """A value as numpy has it: none of Python's, but it can give one. test_arrays.py has the real ones."""

    def __init__(self, value: Any, dtype: str = "") -> None:
        self.value = value
        self.dtype = dtype

    def item(self) -> Any:
        many = isinstance(self.value, list)
        if many:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return 17 if self.dtype == "datetime64[ns]" else self.value  # nanoseconds come as a number

    def astype(self, dtype: str) -> "OfAnArray":
        return OfAnArray(self.value, dtype)


OfAnArray.__module__ = "numpy"


class Url:
    """As pydantic and yarl have them: a class of their own, whose text it is."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


Url.__module__, Url.__name__ = "yarl._url", "URL"


class Timestamp(datetime):
    """As pandas has it: a datetime that knows nanoseconds."""

    def to_pydatetime(self, *, warn: bool) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC)


Timestamp.__module__ = "pandas._libs"


class Decimal128:
    """As bson has it."""

    def to_decimal(self) -> Decimal:
        return Decimal("1.10")


Decimal128.__module__ = "bson.decimal128"


class Single(OfAnArray):
    """As numpy has a float of 32 bits: its text is shorter than its value as a float."""

    def __str__(self) -> str:
        return "0.1"


Single.__module__ = "numpy"


class Masked:
    """As numpy has nothing: its item is zero."""

    def item(self) -> float:
        return 0.0


Masked.__module__, Masked.__name__ = "numpy.ma.core", "MaskedConstant"


class ArrayOfOne(OfAnArray):
    """Another row has two values there."""

    shape = (1,)

    def tolist(self) -> list[Any]:
        return [self.value]


ArrayOfOne.__module__ = "numpy"


class Secret:
    """The class below pydantic's secrets."""


Secret.__module__, Secret.__name__ = "pydantic.types", "_SecretBase"


class SecretStr(Secret):
    """As pydantic has it."""


class OddValue:
    """As a table has what Python has no form for."""

    type = "time of no calendar"


OddValue.__module__ = "mjbulk.rows.arrow_values"


def column(kind: str) -> Column:
    """Give a column that sets a property of this type; ``odd`` is an unknown type."""
    return Column(0, kind, kind.capitalize(), kind, converter(kind), plain=kind in ("str", "any", "odd"))


def refused(kind: str, value: Any) -> RowFault:
    """Give the fault of a value that is refused, of which many values at once say the same."""
    with pytest.raises(RowFault) as caught:
        column(kind).read(value)
    faults: dict[int, RowFault] = {}
    assert list(column(kind).read_all([value], faults)) == [None]
    assert (faults[0].field, faults[0].message) == (caught.value.field, caught.value.message)
    return caught.value


def of_kind(value: Any) -> tuple[type, Any]:
    return (str if isinstance(value, str) else type(value), value)


# Nulls

NULLS = [None, math.nan, -math.nan, Decimal("NaN"), *(type(name, (), {})() for name in ("NAType", "NaTType"))]
NULLS.append(type("UnsetType", (), {})())
NULL_NAMES = ["None", "nan", "-nan", "NaN", "NA", "NaT", "UNSET"]


@pytest.mark.parametrize("value", NULLS, ids=NULL_NAMES)
def test_nulls(value: Any) -> None:
    """None, NaN, and what data frames have for both stand for nothing."""
    assert is_null(value)
    assert [column(kind).read(value) for kind in KINDS] == [None] * 5


@pytest.mark.parametrize("value", ["", 0, False, 0.0, math.inf, Decimal(0), "NaN", [], "None"], ids=repr)
def test_no_nulls(value: Any) -> None:
    """Nothing else is a null: not zero, not a text."""
    assert not is_null(value)


def test_a_signalling_nan_is_a_null() -> None:
    """It raises whenever it is compared, and stands for nothing all the same."""
    assert is_null(Decimal("sNaN"))
    assert is_null(Fraction(1, 2)) is False


def test_what_is_empty_where_all_values_are_text() -> None:
    """An empty text is a null there, whatever the type; elsewhere a blank one is, for every type but text."""
    assert [column(kind).read("", text=True) for kind in KINDS] == [None] * 5
    assert column("str").read(" ", text=True) == " "
    assert [column("str").read(blank) for blank in ("", " ")] == ["", " "]
    for blank in ("", " ", "\t\n"):
        assert [column(kind).read(blank) for kind in KINDS[1:]] == [None] * 4
    assert column("odd").read("") == ""


# Values that fit

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
    ("str", 75001.0, "75001"),
    ("str", 33612345678.0, "33612345678"),
    ("str", 1e16, "10000000000000000"),
    ("str", -0.0, "0"),
    ("str", 1e-7, "0.0000001"),
    ("str", Decimal("0E-8"), "0.00000000"),
    ("str", Decimal("1E+2"), "100"),
    ("str", Decimal("-1.5E-3"), "-0.0015"),
    ("str", Timestamp(2026, 1, 2), "2026-01-02T00:00:00+00:00"),
    ("str", Decimal128(), "1.10"),
    ("str", Single(0.10000000149011612, "float32"), "0.1"),
    ("str", time(10, 30), "10:30:00"),
    ("str", IPv4Address("10.0.0.1"), "10.0.0.1"),
    ("str", IPv6Network("2001:db8::/32"), "2001:db8::/32"),
    ("str", Url("https://example.org"), "https://example.org"),
    *(
        ("int", value, 7)
        for value in (7, "7", " 7 ", "+7", "007", 7.0, Decimal(7), Decimal("7.0"), "7.0", "7.", "7.00")
    ),
    ("int", Colour.ONE, 1),
    *(("int", value, -7) for value in (-7, "-7", -7.0)),
    *(("int", value, value) for value in (0, 2**63 - 1, -(2**63), 2**53 + 1)),
    ("int", "9223372036854775807", 2**63 - 1),
    *(
        ("float", value, 1.5)
        for value in (1.5, "1.5", " 1.5 ", "+1.50", "15e-1", "1.5E0", Decimal("1.5"), Fraction(3, 2))
    ),
    *(("float", value, 0.5) for value in (".5", "0.5", 0.5)),
    *(("float", value, 7.0) for value in (7, "7", "7.", "7.0")),
    *(("bool", value, True) for value in (True, "true", " TRUE ", "True", "1", 1, "t", "yes", "Y", "on", 1.0, "1.0")),
    *(("bool", value, False) for value in (False, "false", "FALSE", "0", 0, "f", "no", "N", "off", 0.0, "0.0")),
    *(("bool", value, True) for value in (Decimal(1), Decimal("1.00"), Fraction(1))),
    *(("datetime", value, "2026-01-02T00:00:00Z") for value in ("2026-01-02", " 20260102 ", date(2026, 1, 2))),
    ("datetime", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
    ("datetime", "2026-01-02 03:04:05+02:00", "2026-01-02T01:04:05Z"),
    ("datetime", datetime(2026, 1, 2, 3, tzinfo=BERLIN), "2026-01-02T01:00:00Z"),
    ("datetime", datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC), "2026-01-02T03:04:05.000600Z"),
    ("odd", 7, "7"),
    ("odd", "x", "x"),
]


@pytest.mark.parametrize(("kind", "value", "sent"), VALUES, ids=lambda value: repr(value)[:24])
def test_values_that_fit(kind: str, value: Any, sent: Any) -> None:
    """A value of another type becomes one of the property's type where nothing is lost by that."""
    assert of_kind(column(kind).read(value)) == of_kind(sent)
    assert list(map(of_kind, column(kind).read_all([value], {}))) == [of_kind(sent)]


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("x", "x"), (True, True), (7, 7), (1.5, 1.5), (Decimal("1.5"), 1.5), (Decimal(7), 7), (Fraction(3, 2), 1.5),
        (7.0, 7), (1e300, 1e300), ("", ""),
        (date(2026, 1, 2), "2026-01-02T00:00:00Z"), (UNIQUE, str(UNIQUE)), (Colour.RED, "red"), (Word.RED, "red"),
    ],
)  # fmt: skip
def test_values_without_a_type(value: Any, sent: Any) -> None:
    """Where the type of a property is not known, a value is sent as what it is."""
    assert of_kind(column("any").read(value)) == of_kind(sent)


@pytest.mark.parametrize(
    ("kind", "value", "sent"),
    [("int", 7, 7), ("int", 7.0, 7), ("float", 1.5, 1.5), ("bool", True, True), ("str", 3, "3")],
)
def test_numbers_of_arrays_are_numbers(kind: str, value: Any, sent: Any) -> None:
    """A value of numpy is read as Python's own value of it."""
    assert column(kind).read(OfAnArray(value)) == sent


def test_an_array_of_one_value_is_no_value() -> None:
    """It is a list, as one of two values is."""
    assert plain(ArrayOfOne(7)) == [7]


def test_nulls_and_dates_of_arrays() -> None:
    """What stands for nothing there is a null here, and a date is a date, cut to microseconds."""
    assert column("float").read(OfAnArray(math.nan)) is None
    assert column("float").read(Masked()) is plain(Masked()) is None
    assert column("float").read(OfAnArray(None, "timedelta64[ns]")) is None
    nano = OfAnArray(datetime(2026, 11, 24, 12, 30, 0, 123456), "datetime64[ns]")  # noqa: DTZ001  # they have no zone
    assert column("str").read(nano) == "2026-11-24T12:30:00.123456"


def test_a_text_of_a_class_of_its_own() -> None:
    """The text is sent, whatever its class makes of it."""
    for kind in ("str", "any"):
        assert type(column(kind).read(TouchyText("x"))) is str


# Values that do not fit

NESTED = "give its parts columns of their own, or json.dumps() of it to a property of type str"
WRONG: list[tuple[str, Any, str]] = [
    ("str", math.inf, "is infinite"),
    ("str", b"x", "is a bytes, which is no text"),
    *((kind, ["x"], f"is a list: {NESTED}") for kind in ("str", "int", "float", "bool", "datetime", "odd")),
    ("any", {"x": 1}, f"is a dict: {NESTED}"),
    ("str", UserDict(x=1), f"is a UserDict: {NESTED}"),
    ("int", (1, 2), f"is a tuple: {NESTED}"),
    ("str", {"x"}, "is a set, which is no text"),
    ("str", 1j, "is a complex, which is no text"),
    *(("int", value, "is no whole number") for value in (True, False, 7.5, "7.5", "1e3", "７", "1_0", "7.0.0")),
    *(("int", value, "is no whole number") for value in ("x", "+", "- 7", "0x7", "9" * 20, b"7", 1j)),
    *(("int", value, "is no whole number") for value in (Decimal("7.5"), math.inf, -math.inf)),
    *(("int", value, "is too large a number") for value in (2**63, -(2**63) - 1, 1e300, "9223372036854775808")),
    ("str", TouchyWord.RED, "is a TouchyWord that cannot be read"),
    ("str", Many(), "is a Many, which is no text"),
    ("str", OfAnArray([1, 2]), "is a OfAnArray, which is no text"),
    ("str", OfAnArray(10**18, "datetime64[s]"), "is a OfAnArray, which is no text"),
    ("float", OfAnArray(5, "timedelta64[h]"), "is a timedelta64, which is neither text nor number"),
    ("int", Decimal("Infinity"), "is no whole number"),
    ("str", Decimal("1E+9999999"), "is a number of too many digits"),
    ("str", Decimal("1E-9999999"), "is a number of too many digits"),
    ("str", Decimal("-Infinity"), "is infinite"),
    ("str", SecretStr(), "is a SecretStr: what is secret is not sent"),
    ("int", OddValue(), "is a time of no calendar that Python has no form for"),
    *(("float", value, "is no number") for value in (True, "x", "1;5", "nan", "inf", "１", "1_0")),
    *(("float", value, "is no number") for value in ("1e9999", b"1", 1j)),
    *(("float", value, "is infinite") for value in (math.inf, -math.inf, "1e999", Decimal("1e400"))),
    *(("float", value, "is no number: it has a comma: write it as in 2652.19") for value in ("2652,19", "-2.652,19 ")),
    *(("int", value, "is no whole number: it has a comma: write it as in 2652") for value in ("2,652", "+2652,0")),
    *(("float", value, "is no number") for value in (",5", "5,", "a,5", "1,5 EUR")),
    ("float", 10**400, "int too large to convert to float"),
    *(("bool", value, "is neither true nor false") for value in ("maybe", 2, -1, 0.5, b"1", "１", None.__class__)),
    *(("datetime", value, "is no date") for value in (True, b"2026-01-02")),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "problem"), WRONG, ids=lambda value: repr(value)[:24])
def test_values_that_do_not_fit(kind: str, value: Any, problem: str) -> None:
    """What does not fit a property's type refuses the row, and names the column, not the value."""
    fault = refused(kind, value)
    assert (fault.field, fault.message) == (kind, f"the value {problem}")


@pytest.mark.parametrize("value", [math.inf, 2**63, ["x"], datetime(2026, 1, 2), Decimal("Infinity")])  # noqa: DTZ001
def test_values_without_a_type_that_json_cannot_hold(value: Any) -> None:
    """What JSON would lose refuses the row there as well."""
    assert refused("any", value).field == "any"


@pytest.mark.parametrize(
    ("kind", "value"),
    [("datetime", 10**30), ("datetime", -(10**30)), ("str", Decimal("Infinity")), ("str", OfAnArray(float("inf")))],
)
def test_values_without_a_meaning_are_refused(kind: str, value: Any) -> None:
    """A time that no calendar has, and what is infinite, cost their row, with the name of the column."""
    assert refused(kind, value).field == kind


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3), st.dates(),
    st.datetimes(timezones=st.sampled_from([None, UTC])), st.decimals(allow_nan=False), st.uuids(), st.fractions(),
)  # fmt: skip


@pytest.mark.unmeasured
@LAW
@given(st.sampled_from([*KINDS, "odd"]), SCALARS)
def test_any_value_is_sent_or_refused(kind: str, value: Any) -> None:
    """Whatever a value is: it is JSON of the property's type, or it is refused; it never becomes a null."""
    try:
        sent = column(kind).read(value)
    except RowFault as fault:
        assert fault.message  # noqa: PT017  # that it may be raised is half of the law
        return
    blank = isinstance(value, str) and not value.strip() and kind not in ("str", "odd")
    assert (sent is None) == (is_null(value) or blank)
    kinds = {"str": str, "odd": str, "int": int, "float": float, "bool": bool, "datetime": int | str}
    if sent is not None:
        assert isinstance(sent, kinds[kind])
        assert kind == "bool" or not isinstance(sent, bool)
        assert kind in ("str", "odd") or orjson.loads(orjson.dumps(sent)) == sent


# Many values at once

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
    st.sampled_from(
        [
            "",
            "7",
            "007",
            "1.5",
            "1e999",
            "9223372036854775808",
            "x",
            "true",
            " 7",
            "7.0",
            " ",
            "yes",
            "TRUE",
            "20260102",
        ]
    ),
    max_size=6,
)


def one_by_one(kind: str, values: Sequence[Any], *, text: bool) -> tuple[list[Any], dict[int, tuple[str | None, str]]]:
    found, faults = [], {}
    for index, value in enumerate(values):
        try:
            found.append(of_kind(column(kind).read(value, text=text)))
        except RowFault as fault:
            found.append(of_kind(None))
            faults[index] = (fault.field, fault.message)
    return found, faults


@LAW
@given(st.sampled_from([*KINDS, "odd"]), st.one_of(TEXTUAL.map(lambda v: (v, True)), ALIKE.map(lambda v: (v, False))))
def test_many_values_at_once_are_read_as_each_is_alone(kind: str, some: tuple[list[Any], bool]) -> None:
    """What is read of many values at once is what is read of each of them, the faults too."""
    values, text = some
    faults: dict[int, RowFault] = {}
    found = [of_kind(value) for value in column(kind).read_all(list(values), faults, text=text)]
    noted = {index: (fault.field, fault.message) for index, fault in faults.items()}
    assert (found, noted) == one_by_one(kind, values, text=text)


@LAW
@given(st.sampled_from([*KINDS, "odd"]), TEXTUAL)
def test_texts_that_are_written_anew_mean_the_same(kind: str, texts: list[str]) -> None:
    """What is sent of a text has the value that was read of the text; where all stay, they are the same texts."""
    read: dict[int, RowFault] = {}
    values = column(kind).read_all(texts, read, text=True)
    faults: dict[int, RowFault] = {}
    sent = column(kind).write_all(texts, faults, lambda value: "" if value is None else str(value))
    assert faults.keys() == read.keys()
    for index, (text, value) in enumerate(zip(sent, values, strict=True)):
        if index not in faults:
            assert not text if value is None else column(kind).read(text) == column(kind).read(str(value))
    assert sent is texts or sent != texts or bool(faults)


def test_a_column_that_fits_is_not_copied() -> None:
    """Its values are given as they are, and texts as well where none is empty."""
    columns: dict[str, list[Any]] = {"str": ["x", ""], "int": [7, 8], "float": [7.5], "bool": [True]}
    for kind, values in columns.items():
        assert column(kind).read_all(values, {}) is values
    texts = ["x", "y"]
    assert column("str").read_all(texts, {}, text=True) is texts


@pytest.mark.parametrize(
    ("kind", "texts", "sent"),
    [
        ("int", ["7", "007", "", "-1", "7"], [7, 7, None, -1, 7]),
        ("int", ["7", "-1"], [7, -1]),
        ("float", ["7", ".5"], [7.0, 0.5]),
        ("bool", ["true", "0"], [True, False]),
    ],
)
def test_texts_of_numbers_become_numbers(kind: str, texts: list[str], sent: list[Any]) -> None:
    """Many texts at once become values of the property's type."""
    assert column(kind).read_all(texts, {}, text=True) == sent


def test_a_row_keeps_its_first_fault() -> None:
    """A fault that is known of a row already is not replaced."""
    first = RowFault("address.missing", "email", "the address is missing")
    faults = {0: first}
    column("int").read_all(["x", "y"], faults)
    assert faults[0] is first
    assert faults[1].field == "int"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", ODD_VALUES, ids=lambda value: type(value).__name__)
def test_odd_values_cost_their_own_row(kind: str, value: Any) -> None:
    """Whatever a value raises when it is looked at, it is the fault of its row alone."""
    faults: dict[int, RowFault] = {}
    assert column(kind).read_all([None, value, None], faults) == [None, None, None]
    assert {index: fault.field for index, fault in faults.items()} == {1: kind}
