#!/bin/sh
# calamine and fastexcel read spreadsheets with the same Rust library, and give cells differently.
# - A time of day, 08:05: calamine gives a time; fastexcel gives a moment on 31 December 1899.
# - A column that has numbers and texts: calamine keeps the type of each cell; fastexcel makes texts of all of them.
# - An error such as #N/A, and a formula that no program has calculated yet: calamine gives an empty text, as for a cell
#   that is empty. Who reads it cannot tell them apart.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q fastexcel==0.21.0 openpyxl==3.1.5 pyarrow==26.0.1 python-calamine==0.9.1
"$folder/venv/bin/python" - "$folder/book.xlsx" <<'END'
import datetime as dt
import sys
from importlib.metadata import version

import fastexcel
import openpyxl
import python_calamine

print("versions:", *(f"{name} {version(name)}" for name in ("fastexcel", "openpyxl", "python-calamine")))
print("shows: what both give of the same cells")
book = openpyxl.Workbook()
for row in (["time", "mixed", "error", "formula", "empty"], [dt.time(8, 5), 7, "#N/A", "=1+1", None], [None, "x", None, None, None]):
    book.active.append(row)
book.save(sys.argv[1])

by_calamine = python_calamine.CalamineWorkbook.from_path(sys.argv[1]).get_sheet_by_index(0).to_python()[1]
by_fastexcel = fastexcel.read_excel(sys.argv[1]).load_sheet(0).to_arrow().to_pylist()[0]
CASES = [
    ("calamine, time", dt.time(8, 5), by_calamine[0]),
    ("fastexcel, time", dt.datetime(1899, 12, 31, 8, 5), by_fastexcel["time"]),
    ("calamine, 7 in a mixed column", 7.0, by_calamine[1]),
    ("fastexcel, 7 in a mixed column", "7", by_fastexcel["mixed"]),
    ("calamine, #N/A", "", by_calamine[2]),
    ("calamine, a formula", "", by_calamine[3]),
]
good = True
for name, expected, seen in CASES:
    same = type(expected) is type(seen) and expected == seen
    good &= same
    print(f"{name}: expected {expected!r}, seen {seen!r}:", "same" if same else "CHANGED")
sys.exit(not good)
END
