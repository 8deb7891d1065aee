"""The same value arrives alike, whatever carries it: a law over all carriers, as the emulator reads what is sent."""

import asyncio
import csv
import io
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import make_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from support import extra

from mjbulk.chunks.as_csv import DATETIME_FORMAT, CsvEncoder
from mjbulk.config import Settings
from mjbulk.resources import Property
from mjbulk.rows.csv_text import decode_record
from mjbulk.rows.dates import Dates
from mjbulk.rows.layout import ColumnRules, layout_of
from mjbulk.rows.sources import Source, csv_source, in_thread, jsonl_source, source_of
from mjbulk.testing._rules import convert, datetime_reader

LAW = settings(derandomize=True, deadline=None, max_examples=60)
PARIS = ZoneInfo("Europe/Paris")
PROPERTIES = {kind: Property(id=0, name=kind, datatype=kind) for kind in ("str", "int", "float", "bool", "datetime")}


# What each carrier makes of some values


def rows_of(kind: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"email": f"p{number}@example.org", kind: value} for number, value in enumerate(values)]


def objects(kind: str, values: Sequence[Any]) -> list[Any]:
    made = make_dataclass("Row", ["email", kind])
    return [made(*row.values()) for row in rows_of(kind, values)]


def table(kind: str, values: Sequence[Any]) -> Any:
    decimals = [value for value in values if isinstance(value, Decimal)]
    column = pa.array(values, pa.decimal128(30, 8)) if decimals else pa.array(list(map(texts_of_ids, values)))
    return pa.table({"email": [f"p{number}@example.org" for number in range(len(values))], kind: column})


def texts_of_ids(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


def in_parquet(kind: str, values: Sequence[Any]) -> Any:
    file = io.BytesIO()
    parquet.write_table(table(kind, values), file)
    return parquet.read_table(pa.py_buffer(file.getvalue()))


def of_json(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def json_lines(kind: str, values: Sequence[Any]) -> Source:
    lines = [orjson.dumps({name: of_json(value) for name, value in row.items()}) for row in rows_of(kind, values)]
    return jsonl_source(io.BytesIO(b"\n".join(lines)))


def text_of(kind: str, value: Any) -> str:
    """Write a value as a file has it; a whole float for text is a text of its own there."""
    if isinstance(value, float) and kind == "str":
        return format(Decimal(int(value) if value.is_integer() else repr(value)), "f")
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def cells(kind: str, values: Sequence[Any]) -> Source:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["email", kind])
    writer.writerows([row["email"], text_of(kind, row[kind])] for row in rows_of(kind, values))
    return csv_source(io.BytesIO(out.getvalue().encode()))


CARRIERS: dict[str, Callable[[str, Sequence[Any]], Any]] = {
    "dicts": rows_of,
    "a thread's dicts": lambda kind, values: in_thread(rows_of(kind, values)),
    "objects": objects,
    "a table": table,
    "a Parquet file": in_parquet,
    "JSON Lines": json_lines,
    "CSV": cells,
}


def pandas_frame(kind: str, values: Sequence[Any]) -> Any:
    return extra("pandas").DataFrame(rows_of(kind, values))


def pandas_records(kind: str, values: Sequence[Any]) -> Any:
    return pandas_frame(kind, values).to_dict("records")


def polars_frame(kind: str, values: Sequence[Any]) -> Any:
    return extra("polars").DataFrame(table(kind, values))


def duckdb_relation(kind: str, values: Sequence[Any]) -> Any:
    given = table(kind, values)
    return extra("duckdb").connect().from_arrow(given)


LIBRARIES: dict[str, Callable[[str, Sequence[Any]], Any]] = {
    "pandas": pandas_frame,
    "records of pandas": pandas_records,
    "polars": polars_frame,
    "DuckDB": duckdb_relation,
}


# What arrives


async def stored(source: Source, kind: str, via: str) -> list[Any]:
    """Give what the emulator stores of the values of a source."""
    dates = Dates(PARIS)
    rules = ColumnRules(properties=PROPERTIES, text=source.text, via_csv=via == "csv", dates=dates)
    found: list[Any] = []
    async with aclosing(source.batches()) as batches:
        async for batch in batches:
            for block in batch:
                if len(block):
                    found += read_back(block, kind, rules, via)
    return found


def read_back(block: Any, kind: str, rules: ColumnRules, via: str) -> list[Any]:
    layout, faults = layout_of(block.names, rules), dict[int, Any]()
    if via == "json":
        contacts = layout.contacts(block.columns, len(block), faults).encode(faults)
        values = [orjson.loads(contact).get("Properties", {}).get(kind) for contact in contacts]
        assert not faults, faults[min(faults)].message
        return [None if value is None else convert(value, kind) for value in values]
    encoder = CsvEncoder(Settings(), layout, empty_cell_keeps=True)
    _, records = encoder.encode(block, layout, faults)
    assert not faults, faults[min(faults)].message
    read = datetime_reader(DATETIME_FORMAT, 0) if kind == "datetime" else lambda cell: convert(cell, kind)
    return [read(cell) if cell else None for _, cell in (decode_record(record.decode()) for record in records)]


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53).map(float)
DAYS = st.dates(date(1000, 1, 1), date(9998, 1, 1))
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
TIMES = st.datetimes(datetime(1970, 2, 1), datetime(2037, 1, 1)).map(lambda when: when.replace(hour=12))  # noqa: DTZ001
VALUES: dict[str, list[st.SearchStrategy[Any]]] = {
    "str": [
        WORDS, st.integers(-(2**63), 2**63 - 1), NUMBERS, st.booleans(), DAYS, st.uuids(),
        st.decimals(-(10**20), 10**20, places=8), st.times().map(lambda at: at.replace(microsecond=0)),
        TIMES.map(lambda when: when.replace(tzinfo=UTC).isoformat()),
    ],
    "int": [
        st.integers(-(2**63), 2**63 - 1), st.integers(-(2**53), 2**53).map(float),
        st.integers(-(10**9), 10**9).map(lambda number: f"{number}.0"), st.integers(0, 9).map(Decimal),
    ],
    "float": [NUMBERS, st.integers(-(2**53), 2**53), st.decimals(-(10**9), 10**9, places=8)],
    "bool": [st.booleans(), st.integers(0, 1), st.sampled_from([0.0, 1.0]), st.sampled_from(["t", "no", "1", "True"])],
    "datetime": [
        DAYS, TIMES, TIMES.map(lambda when: when.replace(microsecond=0, tzinfo=UTC)), st.integers(10**8, 10**10),
        st.integers(10**8, 10**9).map(float), st.sampled_from([20251231, 19750204]),
        st.sampled_from(["20251231", "1705312800", "2025-12-31", "2025-12-31T10:00:00", "2025-12-31 10:00+02:00"]),
    ],
}  # fmt: skip


@st.composite
def columns(draw: st.DrawFn) -> tuple[str, list[Any]]:
    """Draw a column: values of one type, as a table has them, and nulls."""
    kind = draw(st.sampled_from(list(VALUES)))
    values = draw(st.lists(draw(st.sampled_from(VALUES[kind])) | st.none(), min_size=1, max_size=6))
    return kind, values


def check(carriers: dict[str, Callable[[str, Sequence[Any]], Any]], kind: str, values: list[Any]) -> None:
    async def look() -> None:
        first = await stored(source_of(rows_of(kind, values)), kind, "json")
        assert [one is None for one in first] == [value is None for value in values]
        for name, make in carriers.items():
            for via in ("json", "csv"):
                assert await stored(source_of(make(kind, values)), kind, via) == first, (name, via)

    asyncio.run(look())


@pytest.mark.unmeasured
@LAW
@given(columns())
def test_the_same_value_arrives_alike(column: tuple[str, list[Any]]) -> None:
    """From a dict, an object, a table, Parquet, JSON Lines and CSV, on either way."""
    check(CARRIERS, *column)


@pytest.mark.extra
@settings(LAW, max_examples=25)
@given(columns())
def test_the_same_value_arrives_alike_from_libraries(column: tuple[str, list[Any]]) -> None:
    """From frames of pandas and polars and from DuckDB, too."""
    check(LIBRARIES, *column)
