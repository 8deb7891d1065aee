#!/bin/sh
# Tables of pandas, polars and DuckDB pass to each other through one door, `__arrow_c_stream__`. What stands in a column that
# Arrow has no type for does not always pass, and nothing is said. Read as Python values on the other side:
# - polars, Object: eight bytes, which are the address of the object in memory;
# - pandas, Period: the months since 1970 as a number, 672 for 2026-01;
# - DuckDB, TIME WITH TIME ZONE: the time without its zone;
# - DuckDB, BIT: a padded binary form in place of its digits.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q duckdb==2.0.1 pandas==3.1.1 polars==2.1.0 pyarrow==26.0.1 pytz==2026.2
"$folder/venv/bin/python" - <<'END'
import datetime
import sys
from importlib.metadata import version

import duckdb
import pandas
import polars
import pyarrow

print("versions:", *(f"{name} {version(name)}" for name in ("duckdb", "pandas", "polars", "pyarrow")))
print("shows: values that change where pyarrow.RecordBatchReader.from_stream takes a table")


class Plan:
    pass


def passed(table):
    return pyarrow.RecordBatchReader.from_stream(table).read_all().column(0).to_pylist()[0]


plan = Plan()
objects = polars.DataFrame({"plan": polars.Series([plan], dtype=polars.Object)})
months = pandas.DataFrame({"month": pandas.PeriodIndex(["2026-01"], freq="M")})
times = duckdb.sql("SELECT TIMETZ '10:00:00+02'")
bits = duckdb.sql("SELECT '10101'::BIT")
zone = datetime.timezone(datetime.timedelta(hours=2))

changed = False
for name, there, was, table, want in (
    ("polars Object", objects["plan"][0], plan, objects, id(plan).to_bytes(8, sys.byteorder)),
    ("pandas Period", str(months["month"][0]), "2026-01", months, 672),
    ("DuckDB TIMETZ", times.fetchall()[0][0], datetime.time(10, tzinfo=zone), times, datetime.time(10)),
    ("DuckDB BIT", bits.fetchall()[0][0], "10101", bits, b"\x03\xf5"),
):
    seen = passed(table)
    same = there == was and seen == want
    changed |= not same
    print(f"{name} {there}: expected {want!r}, seen {seen!r}:", "same" if same else "CHANGED")
sys.exit(changed)
END
