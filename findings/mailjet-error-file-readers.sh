#!/bin/sh
# Mailjet reports the refused lines of a CSV import in a CSV file: the lines unchanged, each with ` ###message###field`
# as one more cell. A line that had too few cells stays short. Common readers make something else of a file with such a line:
# some give the message to another column, one refuses the file, and DuckDB either takes `#` for the beginning of a comment,
# and reads no row at all, or takes each line as one cell, as the other lines have it. It says nothing in both cases.
# The files are the examples that Mailjet publishes, with other addresses:
# https://github.com/mailjet/api-documentation/blob/3a446e6/guides/_contacts_bulk.md
# https://github.com/mailjet/mailjet-apiv3-php-simple/issues/67
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q duckdb==2.0.1 pandas==3.1.1 polars==2.1.0 pyarrow==26.0.1
cd "$folder"
venv/bin/python - <<'END'
import csv
import sys
from importlib.metadata import version
from pathlib import Path

import duckdb
import pandas
import polars
from pyarrow import csv as arrow_csv

print("versions:", *(f"{name} {version(name)}" for name in ("duckdb", "pandas", "polars", "pyarrow")))
print("shows: what readers with their default settings make of Mailjet's error files")

MIXED = [
    ["email,importcsv,error"],
    ['"api@example.org","test4", ###Duplicated email###email'],
    ['"bar@example.org", ###Too few columns at line'],
]
Path("short.csv").write_text('email,age,error\n"bar@example.org", ###Too few columns at line\n')
Path("mixed.csv").write_text("".join(line + "\n" for (line,) in MIXED))
SHORT, WHOLE = " ###Too few columns at line", " ###Duplicated email###email"


def dict_reader(path):
    with open(path, newline="") as file:
        return [list(row.values()) for row in csv.DictReader(file)]


def with_pandas(path):
    return pandas.read_csv(path).astype(object).where(lambda frame: frame.notna(), None).to_numpy().tolist()


def with_polars(path):
    return [list(row) for row in polars.read_csv(path).rows()]


def with_pyarrow(path):
    try:
        return [list(row.values()) for row in arrow_csv.read_csv(path).to_pylist()]
    except Exception as error:
        return type(error).__name__


def with_duckdb(path):
    return [list(row) for row in duckdb.read_csv(path).fetchall()]


moved = ["bar@example.org", SHORT, None]
right = ["api@example.org", "test4", WHOLE]
expected = {
    dict_reader: ([moved], [right, moved]),
    with_pandas: ([moved], [right, moved]),
    with_polars: ([moved], [right, moved]),
    with_pyarrow: ("ArrowInvalid", "ArrowInvalid"),
    with_duckdb: ([], MIXED[1:]),
}
changed = False
for read, wanted in expected.items():
    for path, want in zip(("short.csv", "mixed.csv"), wanted):
        seen = read(path)
        changed |= seen != want
        print(f"{read.__name__}, {path}: expected {want}, seen {seen}:", "same" if seen == want else "CHANGED")
comment = duckdb.sql("SELECT Comment FROM sniff_csv('short.csv')").fetchall()[0][0]
changed |= comment != "#"
print(f"DuckDB's sniffer, mark of a comment: expected '#', seen {comment!r}:", "same" if comment == "#" else "CHANGED")
sys.exit(changed)
END
