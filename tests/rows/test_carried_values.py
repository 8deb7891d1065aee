"""Values as people really have them: the same one arrives alike, whatever carries it, on either way."""

import csv
import io
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
import pytest
import yarl
from carried import ADD, EXTRA, A, B, arrives, refusal, rejection, with_properties
from support import World, extra

import mjbulk
from mjbulk.rows.arrow_values import OddValue, values_of


@pytest.fixture
def there(world: World) -> World:
    """A world whose account has a property of each type."""
    return with_properties(world)


EACH_WAY = pytest.mark.parametrize("via", ["json", "csv"])
EAST = timezone(timedelta(hours=2))
UNIQUE = UUID("12345678-1234-5678-1234-567812345678")


class Colour(Enum):
    ONE = 1
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    RED = "red"


# One value, of Python

OF_PYTHON: list[tuple[str, Any, Any]] = [
    ("text", 75001.0, "75001"),
    ("text", 33612345678.0, "33612345678"),
    ("text", 1e16, "10000000000000000"),
    ("text", 0.1, "0.1"),
    ("text", 1e-7, "0.0000001"),
    ("text", Decimal("0E-8"), "0.00000000"),
    ("text", Decimal("1E+2"), "100"),
    ("text", Decimal("1.10"), "1.10"),
    ("text", 2**64 + 1, "18446744073709551617"),
    ("text", True, "true"),
    ("text", time(10, 30), "10:30:00"),
    ("text", date(2026, 1, 2), "2026-01-02"),
    ("text", datetime(2026, 1, 2, 3, tzinfo=EAST), "2026-01-02T03:00:00+02:00"),
    ("text", IPv4Address("10.0.0.1"), "10.0.0.1"),
    ("text", IPv6Address("2001:db8::1"), "2001:db8::1"),
    ("text", yarl.URL("https://example.org/a?b=c"), "https://example.org/a?b=c"),
    ("text", UNIQUE, str(UNIQUE)),
    ("text", Colour.ONE, "1"),
    ("text", Colour.RED, "red"),
    ("text", Word.RED, "red"),
    ("text", Level.HIGH, "3"),
    ("text", Fraction(1, 4), "1/4"),
    ("whole", 30.0, 30),
    ("whole", "30.0", 30),
    ("whole", " 30 ", 30),
    ("whole", Decimal("30.00"), 30),
    ("whole", Level.HIGH, 3),
    ("whole", 2**63 - 1, 2**63 - 1),
    ("real", 30, 30.0),
    ("real", "1.5e1", 15.0),
    ("real", Decimal("0.1"), 0.1),
    *(("flag", value, True) for value in ("t", "yes", "Y", "on", "1", 1, 1.0, "1.0", "TRUE", Decimal(1), True)),
    *(("flag", value, False) for value in ("f", "no", "N", "off", "0", 0, 0.0, "0.0", "False", False)),
    ("born", 20251231, "2025-12-31T00:00:00Z"),
    ("born", "20251231", "2025-12-31T00:00:00Z"),
    ("born", 20251231.0, "2025-12-31T00:00:00Z"),
    ("born", 1705312800, "2024-01-15T10:00:00Z"),
    ("born", "1705312800", "2024-01-15T10:00:00Z"),
    ("born", "1705312800.0", "2024-01-15T10:00:00Z"),
    ("born", Decimal(1705312800), "2024-01-15T10:00:00Z"),
    ("born", date(2025, 12, 31), "2025-12-31T00:00:00Z"),
    ("born", "2025-12-31", "2025-12-31T00:00:00Z"),
    ("born", "2025-12-31 12:30:00+02", "2025-12-31T10:30:00Z"),
    ("born", datetime(2025, 12, 31, 12, 30, tzinfo=EAST), "2025-12-31T10:30:00Z"),
]


@EACH_WAY
async def test_values_of_python(there: World, via: Any) -> None:
    """What is sent of each: in a property of this type it arrives as that."""
    rows = [{"email": f"p{at}@example.org", name: value} for at, (name, value, _) in enumerate(OF_PYTHON)]
    names = {name: None for name, _, _ in OF_PYTHON}
    found = await arrives(there, [{"email": None, **names, **row} for row in rows], via=via)
    arrived = [(name, value, found[f"p{at}@example.org"][name]) for at, (name, value, _) in enumerate(OF_PYTHON)]
    assert arrived == OF_PYTHON
    assert [type(value) for _, _, value in arrived] == [type(value) for _, _, value in OF_PYTHON]


NESTED = "give its parts columns of their own, or json.dumps() of it to a property of type str"
REFUSED: list[tuple[str, Any, str]] = [
    ("text", b"Graz", "the value is a bytes, which is no text"),
    ("text", ["Graz"], f"the value is a list: {NESTED}"),
    ("text", {"city": "Graz"}, f"the value is a dict: {NESTED}"),
    ("whole", [7], f"the value is a list: {NESTED}"),
    ("flag", (True, False), f"the value is a tuple: {NESTED}"),
    ("born", {"year": 2026}, f"the value is a dict: {NESTED}"),
    ("text", timedelta(1), "the value is a timedelta, which is no text"),
    ("text", math.inf, "the value is infinite"),
    ("text", Decimal("1E+99999999"), "the value is a number of too many digits"),
    ("whole", 7.5, "the value is no whole number"),
    ("whole", "7.5", "the value is no whole number"),
    ("whole", True, "the value is no whole number"),
    ("whole", 2**63, "the value is too large a number"),
    ("real", "1,5", "the value is no number: it has a comma: write it as in 2652.19"),
    ("flag", "maybe", "the value is neither true nor false"),
    ("flag", 2, "the value is neither true nor false"),
    ("born", 1985, "the value is a number that is no date: neither YYYYMMDD nor Unix seconds from 1973 to 2286"),
    ("born", "45306", "the value is a number that is no date: neither YYYYMMDD nor Unix seconds from 1973 to 2286"),
    (
        "born",
        157766400000,
        "the value is a number too large for Unix seconds: milliseconds have to be divided by 1,000",
    ),
    (
        "born",
        "1705312800000",
        "the value is a number too large for Unix seconds: milliseconds have to be divided by 1,000",
    ),
    ("born", 20251331, "the value is a number of eight digits that is no date"),
    ("born", time(10, 30), "the value is no date and time in RFC 3339 (date_format= names another form)"),
    ("born", "31.12.2025", "the value is no date and time in RFC 3339 (date_format= names another form)"),
    ("email", "a\u00adnn@example.org", "the address has a character that no address has: SOFT HYPHEN (U+00AD)"),
    (
        "email",
        "o\u2019hara@example.org",
        "the address has a character that no address has: RIGHT SINGLE QUOTATION MARK (U+2019)",
    ),
    (
        "email",
        f"Ann <{A}>",
        "the address has a name before it: give what stands between < and > alone, and the name as 'name'",
    ),
    ("email", f"{A}; {B}", "there are several addresses in one cell: give a row for each"),
]


@EACH_WAY
async def test_values_that_are_refused(there: World, via: Any) -> None:
    """Each costs its own row, and the words say why; they repeat no value."""
    names = {"email": A, "text": None, "whole": None, "real": None, "flag": None, "born": None}
    rows = [{**names, "email": f"p{at}@example.org", name: value} for at, (name, value, _) in enumerate(REFUSED)]
    async with there.client() as client:
        report = await client.import_contacts(rows, lists=ADD, via=via)
    assert [(one.field, one.message) for one in report.rejections] == [(name, why) for name, _, why in REFUSED]
    assert report.accepted == 0


# Values of libraries


def of_numpy() -> list[tuple[str, Any, Any]]:
    np = extra("numpy")
    return [
        ("text", np.float32(0.1), "0.1"),
        ("text", np.float16(0.1), "0.1"),
        ("text", np.float64(75001), "75001"),
        ("text", np.str_("x"), "x"),
        ("text", np.int64(7), "7"),
        ("whole", np.float32(7), 7),
        ("whole", np.uint8(7), 7),
        ("real", np.float32(0.1), 0.1),
        ("flag", np.bool_(True), True),
        ("flag", np.int8(0), False),
        ("born", np.datetime64("2026-01-02"), "2026-01-02T00:00:00Z"),
        ("born", np.int64(20260102), "2026-01-02T00:00:00Z"),
    ]


def of_pandas() -> list[tuple[str, Any, Any]]:
    pd = extra("pandas")
    return [
        ("text", pd.Period("2026-01", "M"), "2026-01"),
        ("text", pd.Period("2026-01-02", "D"), "2026-01-02"),
        ("text", pd.Timestamp("2026-01-02T03:04:05.123456789Z"), "2026-01-02T03:04:05.123456+00:00"),
        ("born", pd.Timestamp("2026-01-02T03:04:05+02:00"), "2026-01-02T01:04:05Z"),
        ("born", pd.Period("2026-01-02", "D"), "2026-01-02T00:00:00Z"),
    ]


def of_others() -> list[tuple[str, Any, Any]]:
    bson, pydantic = extra("bson"), extra("pydantic")
    return [
        ("text", bson.ObjectId("507f1f77bcf86cd799439011"), "507f1f77bcf86cd799439011"),
        ("text", bson.Decimal128("1.10"), "1.10"),
        ("whole", bson.Decimal128("7"), 7),
        ("whole", bson.Int64(7), 7),
        ("real", bson.Decimal128("0.1"), 0.1),
        ("text", pydantic.HttpUrl("https://example.org/a"), "https://example.org/a"),
        ("text", pydantic.AnyUrl("ftp://example.org/a"), "ftp://example.org/a"),
        ("text", pydantic.PostgresDsn("postgresql://example.org/a"), "postgresql://example.org/a"),
        ("text", pydantic.TypeAdapter(pydantic.IPvAnyAddress).validate_python("10.0.0.1"), "10.0.0.1"),
    ]


VALUES_OF: dict[str, Callable[[], list[tuple[str, Any, Any]]]] = {
    "numpy": of_numpy, "pandas": of_pandas, "bson and pydantic": of_others
}  # fmt: skip


@EXTRA
@EACH_WAY
@pytest.mark.parametrize("library", VALUES_OF)
async def test_values_of_libraries(there: World, library: str, via: Any) -> None:
    """They are Python's own, as far as it has them."""
    cases = VALUES_OF[library]()
    names = {"email": None, **dict.fromkeys(name for name, _, _ in cases)}
    rows = [{**names, "email": f"p{at}@example.org", name: value} for at, (name, value, _) in enumerate(cases)]
    found = await arrives(there, rows, via=via)
    assert [(name, value, found[f"p{at}@example.org"][name]) for at, (name, value, _) in enumerate(cases)] == cases


@EXTRA
@pytest.mark.parametrize("kind", ["SecretStr", "SecretBytes", "starlette"])
async def test_secrets(there: World, kind: str) -> None:
    """They are no values of a contact, whatever their text."""
    pydantic = extra("pydantic")
    secret = {
        "SecretStr": lambda: pydantic.SecretStr("hush"),
        "SecretBytes": lambda: pydantic.SecretBytes(b"hush"),
        "starlette": lambda: extra("starlette.datastructures").Secret("hush"),
    }[kind]()
    row, field, message = await rejection(there, [{"email": A, "text": secret}])
    assert (row, field) == (1, "text")
    assert message.endswith("what is secret is not sent")
    assert "hush" not in message


# Columns of Arrow

MORNING = datetime(2026, 1, 2, 3, tzinfo=UTC)


ARROW: dict[str, tuple[str, Callable[[], Any], Any]] = {
    "float32": ("text", lambda: pa.array([0.1], pa.float32()), "0.1"),
    "float32 for a float": ("real", lambda: pa.array([0.1], pa.float32()), 0.1),
    "float32 that is whole": ("text", lambda: pa.array([16777216.0], pa.float32()), "16777216"),
    "float16": ("text", lambda: pa.array([0.1], pa.float32()).cast(pa.float16()), "0.1"),
    "float64 with a gap": ("text", lambda: pa.array([75001.0], pa.float64()), "75001"),
    "decimal": ("text", lambda: pa.array([Decimal("0E-8")], pa.decimal128(20, 8)), "0.00000000"),
    "decimal256": ("text", lambda: pa.array([Decimal("1.10")], pa.decimal256(40, 2)), "1.10"),
    "time64": ("text", lambda: pa.array([time(10, 30)], pa.time64("us")), "10:30:00"),
    "time32": ("text", lambda: pa.array([time(10, 30)], pa.time32("s")), "10:30:00"),
    "date32": ("born", lambda: pa.array([date(2026, 1, 2)], pa.date32()), "2026-01-02T00:00:00Z"),
    "date64": ("born", lambda: pa.array([date(2026, 1, 2)], pa.date64()), "2026-01-02T00:00:00Z"),
    "a timestamp": ("born", lambda: pa.array([MORNING], pa.timestamp("ns", "Europe/Paris")), "2026-01-02T03:00:00Z"),
    "eight digits": ("born", lambda: pa.array([20260102], pa.int32()), "2026-01-02T00:00:00Z"),
    "uint64": ("text", lambda: pa.array([2**64 - 1], pa.uint64()), "18446744073709551615"),
    "bool": ("text", lambda: pa.array([True]), "true"),
    "ones": ("flag", lambda: pa.array([1], pa.int8()), True),
    "bool8": ("flag", lambda: pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1], pa.int8())), True),
    "uuid": ("text", lambda: pa.array([UNIQUE.bytes], pa.uuid()), str(UNIQUE)),
    "a string view": ("text", lambda: pa.array(["x"], pa.string_view()), "x"),
    "a dictionary": ("text", lambda: pa.array(["x"]).dictionary_encode(), "x"),
    "run ends": ("text", lambda: pa.RunEndEncodedArray.from_arrays([1], ["x"]), "x"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ARROW)
async def test_columns_of_arrow(there: World, kind: str) -> None:
    """What is sent of each type."""
    name, make, sent = ARROW[kind]
    found = await arrives(there, pa.table({"email": [A], name: make()}))
    assert found == {A: {name: sent}}


@EXTRA
@pytest.mark.parametrize("kind", ["a column", "an index of periods", "with a gap"])
async def test_periods_of_pandas(there: World, kind: str) -> None:
    """Arrow itself has them as bare numbers."""
    pd = extra("pandas")
    frame = pd.DataFrame(
        {"email": [A, B], "text": pd.PeriodIndex(["2026-01", None if kind == "with a gap" else "2026-02"], freq="M")}
    )
    if kind == "an index of periods":
        frame = frame.set_index("text")
    assert await arrives(there, frame) == {
        A: {"text": "2026-01"},
        B: {} if kind == "with a gap" else {"text": "2026-02"},
    }


def test_periods_that_pandas_has_not_told_of() -> None:
    """They are bare numbers where a file is read without it: refused, and never sent as such."""
    field = pa.field("text", pa.int64(), metadata={"ARROW:extension:name": "pandas.period"})
    assert values_of(pa.array([672, None], pa.int64()), field) == [OddValue("pandas.period"), None]


async def test_values_that_python_has_no_form_for(there: World) -> None:
    """They are refused, by the name of their type."""
    table = pa.table({"email": [A], "text": pa.array([10**15], pa.timestamp("s", "UTC"))})
    found = await rejection(there, table)
    assert found == (1, "text", "the value is a timestamp[s, tz=UTC] that Python has no form for")


@EXTRA
async def test_objects_of_polars(there: World) -> None:
    """They cross Arrow as addresses in memory, in bytes: refused."""
    pl = extra("polars")
    frame = pl.DataFrame({"email": [A], "text": pl.Series([UNIQUE], dtype=pl.Object)})
    assert await rejection(there, frame) == (1, "text", "the value is a bytes, which is no text")


# Dates and times without a zone

NAIVE = datetime(2026, 7, 2, 3, 0)  # noqa: DTZ001  # that is the point


def lines(text: str) -> Any:
    return mjbulk.jsonl_source(io.BytesIO(text.encode()))


def cells(text: str) -> Any:
    return mjbulk.csv_source(io.BytesIO(text.encode()))


def of_frame(library: str) -> Any:
    frames = extra(library)
    return frames.DataFrame({"email": [A], "born": [NAIVE]})


ZONELESS: dict[str, Callable[[], Any]] = {
    "dicts": lambda: [{"email": A, "born": NAIVE}],
    "contacts": lambda: [mjbulk.Contact(A, properties={"born": NAIVE})],
    "texts": lambda: [{"email": A, "born": "2026-07-02T03:00:00"}],
    "JSON Lines": lambda: lines(f'{{"email": "{A}", "born": "2026-07-02 03:00"}}'),
    "CSV": lambda: cells(f"email,born\n{A},2026-07-02 03:00:00\n"),
    "Arrow": lambda: pa.table({"email": [A], "born": pa.array([NAIVE], pa.timestamp("us"))}),
    "Arrow's nanoseconds": lambda: pa.table({"email": [A], "born": pa.array([NAIVE], pa.timestamp("ns"))}),
}
ZONELESS_OF_LIBRARIES: dict[str, Callable[[], Any]] = {
    "pandas": lambda: of_frame("pandas"),
    "polars": lambda: of_frame("polars"),
    "DuckDB": lambda: extra("duckdb").connect().sql(f"select '{A}' email, timestamp '2026-07-02 03:00' born"),
    "a cursor of DuckDB": lambda: (
        extra("duckdb").connect().execute(f"select '{A}' email, timestamp '2026-07-02 03:00' born")
    ),
    "numpy": lambda: [{"email": A, "born": extra("numpy").datetime64("2026-07-02T03:00")}],
    "records of pandas": lambda: of_frame("pandas").to_dict("records"),
}
ALL_ZONELESS = {**ZONELESS, **ZONELESS_OF_LIBRARIES}
EACH_ZONELESS = pytest.mark.parametrize(
    "kind", [*ZONELESS, *(pytest.param(kind, marks=[EXTRA]) for kind in ZONELESS_OF_LIBRARIES)]
)
REFUSAL = (
    "there are dates and times without a time zone: timezone= says it, as in timezone='Europe/Paris' (column 'born')"
)


@EACH_ZONELESS
async def test_times_without_a_zone(there: World, kind: str) -> None:
    """Without timezone= they are one fault of the column, before anything is sent; with it they are in that zone."""
    assert await refusal(there, ALL_ZONELESS[kind]()) == REFUSAL
    sent = {A: {"born": "2026-07-02T01:00:00Z"}}
    assert await arrives(there, ALL_ZONELESS[kind](), timezone="Europe/Paris") == sent
    if kind != "contacts":
        assert await arrives(there, ALL_ZONELESS[kind](), timezone="Europe/Paris", via="csv") == sent


async def test_times_whose_type_has_no_zone(there: World) -> None:
    """Where the type is known, no value has to come; in a property of text they are no fault."""
    table = pa.table(
        {"email": [A], "born": pa.nulls(1, pa.timestamp("us")), "text": pa.array([NAIVE], pa.timestamp("us"))}
    )
    assert await refusal(there, table) == REFUSAL
    assert await arrives(there, table, columns=["email", "text"]) == {A: {"text": "2026-07-02T03:00:00"}}


async def test_times_without_a_zone_in_properties_to_be_created(there: World) -> None:
    """They refuse the source as well."""
    rows = [{"email": A, "left": NAIVE}]
    how: dict[str, Any] = {"create_properties": True, "types": {"left": "datetime"}}
    assert "there are dates and times without a time zone" in await refusal(there, rows, **how)


async def test_a_time_without_a_zone_behind_chunks(there: World) -> None:
    """Once rows were sent it costs its own row."""
    rows: list[dict[str, Any]] = [{"email": f"p{number}@example.org", "born": None} for number in range(1_500)]
    row, field, message = await rejection(there, [*rows, {"email": A, "born": NAIVE}])
    assert (row, field) == (1_501, "born")
    assert message.startswith("there are dates and times without a time zone")


@pytest.mark.parametrize(("text", "often"), [("2026-03-29T02:30:00", "never"), ("2026-10-25T02:30:00", "twice")])
async def test_times_when_clocks_change(there: World, text: str, often: str) -> None:
    """It is not known which one is meant: the row is refused."""
    found = await rejection(there, [{"email": A, "born": text}], timezone="Europe/Paris")
    assert found == (1, "born", f"the value is a time that Europe/Paris has {often}: clocks change then")


@pytest.mark.parametrize("name", ["Europe/Pariis", "Europe", "../etc/passwd", "", 7])
async def test_zones_that_are_none(there: World, name: Any) -> None:
    """They refuse the call."""
    words = "timezone= is the IANA name of a zone, such as 'Europe/Paris'"
    assert await refusal(there, [{"email": A}], timezone=name) == words


# date_format=


@pytest.mark.parametrize(
    ("form", "text", "sent"),
    [
        ("%d/%m/%Y", "31/12/2025", "2025-12-31T00:00:00Z"),
        ("%d%m%Y", "31122025", "2025-12-31T00:00:00Z"),
        ("%d.%m.%Y %H:%M %z", "31.12.2025 12:30 +0200", "2025-12-31T10:30:00Z"),
        ("%m/%d/%y", "12/31/25", "2025-12-31T00:00:00Z"),
    ],
)
@pytest.mark.parametrize("carrier", ["dicts", "CSV", "CSV on its own way"])
async def test_dates_of_another_form(there: World, form: str, text: str, sent: str, carrier: str) -> None:
    """Texts are read as the caller says, whatever has them."""
    source: Any = [{"email": A, "born": text}] if carrier == "dicts" else cells(f"email,born\n{A},{text}\n")
    via: Any = "csv" if carrier == "CSV on its own way" else "json"
    assert await arrives(there, source, date_format=form, via=via) == {A: {"born": sent}}


async def test_texts_without_the_form(there: World) -> None:
    """They are refused."""
    found = await rejection(there, [{"email": A, "born": "2025-12-31"}], date_format="%d/%m/%Y")
    assert found == (1, "born", "the value does not have the form that date_format= names")


@pytest.mark.parametrize("form", ["", "dd/mm/yyyy", "%Q", "%", 7])
async def test_forms_that_are_none(there: World, form: Any) -> None:
    """They refuse the call."""
    words = "date_format= is a form of strptime, such as '%d/%m/%Y %H:%M'"
    assert await refusal(there, [{"email": A}], date_format=form) == words


# Empty and blank texts


@EACH_WAY
@pytest.mark.parametrize("blank", ["", " "])
async def test_blank_texts(there: World, via: Any, blank: str) -> None:
    """They are nulls, for every type but text, as csv.DictReader has them."""
    header = "email,text,whole,real,flag,born"
    rows = csv.DictReader(io.StringIO(f"{header}\n{A},{blank},{blank},{blank},{blank},{blank}\n"))
    found = await arrives(there, rows, via=via)
    assert found[A] == ({"text": blank} if blank or via == "json" else {})


@EACH_WAY
async def test_blank_cells_of_a_file(there: World, via: Any) -> None:
    """A cell of blanks is a null as well where no text can be; an empty one is a null for text, too."""
    found = await arrives(there, cells(f"email,text,whole,real,flag,born\n{A},, , , ,\n{B}, ,7,1.5,true,\n"), via=via)
    assert found == {A: {}, B: {"text": " ", "whole": 7, "real": 1.5, "flag": True}}


async def test_blank_texts_unassign(there: World) -> None:
    """Where nulls do."""
    await arrives(there, [{"email": A, "whole": 7}])
    assert await arrives(there, [{"email": A, "whole": ""}], nulls="unassign") == {A: {}}


# Texts of files, on the CSV way

TEXTS: list[tuple[str, str, Any]] = [
    *(("whole", text, 30) for text in ("30", "30.0", "30.", " 30", "+30", "030")),
    *(("real", text, 1.5) for text in ("1.5", " 1.5 ", "15e-1", "+1.50")),
    *(("flag", text, True) for text in ("true", "TRUE", "t", "yes", "1", "1.0", "on")),
    *(("flag", text, False) for text in ("false", "f", "no", "0", "0.0", "off")),
    *(("born", text, "2025-12-31T00:00:00Z") for text in ("2025-12-31", "20251231", "20251231.0")),
    *(("born", text, "2024-01-15T10:00:00Z") for text in ("1705312800", "1705312800.0", "2024-01-15 12:00+02:00")),
    *(("text", text, text) for text in ("75001.0", "1E+2", "0E-8", "007", "true", " x ", 'a "b", c')),
]


@EACH_WAY
async def test_texts_of_files(there: World, via: Any) -> None:
    """They are read as their types want it, and where Mailjet could not read them they are written again."""
    out = io.StringIO()
    writer = csv.DictWriter(out, ["email", "text", "whole", "real", "flag", "born"])
    writer.writeheader()
    writer.writerows({"email": f"p{at}@example.org", name: text} for at, (name, text, _) in enumerate(TEXTS))
    found = await arrives(there, cells(out.getvalue()), via=via)
    assert [(name, text, found[f"p{at}@example.org"][name]) for at, (name, text, _) in enumerate(TEXTS)] == TEXTS


async def test_records_whose_texts_mailjet_can_read_are_sent_unchanged(there: World) -> None:
    """Only the others are written again."""
    async with there.client() as client:
        await client.import_contacts(cells(f'email,whole,text\n"{A}",030,"x"\n"{B}",8.0,"y"\n'), lists=ADD, via="csv")
    (upload,) = there.emulator._world.uploads.values()
    assert upload.body == f'email,whole,text\n"{A}",030,"x"\n{B},8,y\n'.encode()


# One person, many spellings


@EACH_WAY
async def test_one_person_in_two_forms_of_unicode(there: World, via: Any) -> None:
    """Two rows of one person are never in two unfinished jobs: the later one waits, and both arrive as given."""
    composed, decomposed = "jos\u00e9@example.org", "jose\u0301@example.org"
    rows = [{"email": composed, "whole": 1}, {"email": "x@example.org", "whole": 2}, {"email": decomposed, "whole": 3}]
    async with there.client() as client:
        plan = await client.plan_import(rows, lists=ADD, via=via)
        report = await client.import_contacts(rows, lists=ADD, via=via)
    assert (plan.recurring, report.accepted, len(report.jobs)) == (2, 3, 2)
    assert {composed, decomposed} <= set(there.emulator.contacts)


@pytest.mark.parametrize(
    "pair", [("a@ex\u00e4mple.org", "a@xn--exmple-cua.org"), ("a@EX\u00c4MPLE.org", "a@exa\u0308mple.org")]
)
async def test_one_person_at_two_spellings_of_a_domain(there: World, pair: tuple[str, str]) -> None:
    """The domain is compared as DNS has it."""
    async with there.client() as client:
        plan = await client.plan_import([{"email": address} for address in pair], lists=ADD)
    assert plan.recurring == 2


# Plan.findings


async def found_in(world: World, source: Any, **how: Any) -> list[tuple[str, str | None, int, int | None]]:
    async with world.client() as client:
        plan = await client.plan_import(source, lists=ADD, **how)
    assert all(one.message and "example.org" not in one.message for one in plan.findings)
    return [(one.code, one.column, one.count, one.first_row) for one in plan.findings]


async def test_what_may_surprise(there: World) -> None:
    """A plan tells it with a count and the first row; a refused row is none of it."""
    rows: list[dict[str, Any]] = [
        {"email": A, "text": "x", "whole": 7, "flag": True, "born": "2026-01-02T00:00:00Z"},
        {"email": "b@example.org", "text": 75001.0, "whole": "", "flag": "yes", "born": 1705312800},
        {"email": "c@example.org", "text": 1.5, "whole": 7.0, "flag": 1, "born": "1705312800"},
        {"email": "no address", "text": 2.0, "whole": " ", "flag": "t", "born": 20260102},
        {"email": "d@example.org", "text": 2.0, "whole": None, "flag": "TRUE", "born": date(2026, 1, 2)},
        {"email": "e@example.org", "text": None, "whole": None, "flag": None, "born": " 20260102 "},
        {"email": "f@example.org", "text": Decimal("1.0"), "whole": 1, "flag": False, "born": "2026-01-02"},
    ]
    assert sorted(await found_in(there, rows)) == [
        ("value.blank", "whole", 1, 2),
        ("value.boolean", "flag", 2, 2),
        ("value.date_of_digits", "born", 1, 6),
        ("value.day", "born", 2, 5),
        ("value.unix_time", "born", 2, 2),
        ("value.whole_float", "text", 2, 2),
    ]


async def test_what_does_not_surprise(there: World, tmp_path: Path) -> None:
    """Texts for text, numbers for numbers; an empty cell of a file is a null to everybody."""
    file, dated = tmp_path / "a.csv", tmp_path / "b.csv"
    file.write_text(f"email,text,whole,flag,born\n{A},75001.0,7.0,,\n")
    dated.write_text(f"email,born\n{A},20260102\n")
    assert await found_in(there, [{"email": A, "text": "x", "whole": 7, "flag": True, "real": 7.0, "born": None}]) == []
    assert await found_in(there, file) == []
    assert await found_in(there, dated) == [("value.date_of_digits", "born", 1, 1)]


async def test_what_is_said_or_not_sent_does_not_surprise(there: World) -> None:
    """Values that are not sent do not surprise; nor do dates whose form the caller has said."""
    assert await found_in(there, [{"email": A, "text": 2.0}], columns=["email"]) == []
    for value in ("31122025", 31122025):
        assert await found_in(there, [{"email": A, "born": value}], date_format="%d%m%Y") == []
    assert await found_in(there, [{"email": A, "born": 20251231}], date_format="%d/%m/%Y") == [
        ("value.date_of_digits", "born", 1, 1)
    ]


@EXTRA
async def test_a_frame_with_gaps_surprises(there: World) -> None:
    """An int column with a gap is a float column to pandas."""
    pd = extra("pandas")
    frame = pd.DataFrame({"email": [A, B, "c@example.org"], "text": [None, 75001, 75002]})
    assert await found_in(there, frame) == [("value.whole_float", "text", 2, 2)]
    assert (await arrives(there, frame))[B] == {"text": "75001"}
