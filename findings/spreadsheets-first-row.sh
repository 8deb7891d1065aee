#!/bin/sh
# In a sheet of a spreadsheet whose first cell is not A1, python-calamine counts from two different places at once.
# - iter_rows() begins with row 1 of the sheet, but with the first column that has a cell.
# - to_python() begins with the first row and the first column that have a cell; with skip_empty_area=False both with 1.
# - height counts from the first row that has a cell, and total_height is one less than the rows that iter_rows() gives.
# Who numbers the rows of iter_rows() by height, start or total_height is wrong; enumerate() is right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q openpyxl==3.1.5 python-calamine==0.9.1
"$folder/venv/bin/python" - "$folder/book.xlsx" <<'END'
import sys
from importlib.metadata import version

import openpyxl
import python_calamine

print("versions:", *(f"{name} {version(name)}" for name in ("openpyxl", "python-calamine")))
print("shows: what is given of a sheet with two cells, B5 and B6")
book = openpyxl.Workbook()
book.active["B5"], book.active["B6"] = "city", "Graz"
book.save(sys.argv[1])

sheet = python_calamine.CalamineWorkbook.from_path(sys.argv[1]).get_sheet_by_index(0)
CASES = [
    ("iter_rows", [[""], [""], [""], [""], ["city"], ["Graz"]], list(sheet.iter_rows())),
    ("to_python", [["city"], ["Graz"]], sheet.to_python()),
    ("to_python, the last row of the whole", ["", "Graz"], sheet.to_python(skip_empty_area=False)[-1]),
    ("rows of the whole", 6, len(sheet.to_python(skip_empty_area=False))),
    ("height", 2, sheet.height),
    ("total_height", 5, sheet.total_height),
    ("start", (4, 1), sheet.start),
]
good = True
for name, expected, seen in CASES:
    good &= expected == seen
    print(f"{name}: expected {expected!r}, seen {seen!r}:", "same" if expected == seen else "CHANGED")
sys.exit(not good)
END
