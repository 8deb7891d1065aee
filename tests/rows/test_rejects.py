"""Files of rejected rows are sources: what was rejected comes back, and what mjbulk has put beside it does not."""

import csv
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
from support import extra

import mjbulk
from mjbulk.errors import UsageError
from mjbulk.models import Rejection
from mjbulk.outcomes.rejection_files import write_rejections
from mjbulk.outcomes.rejections import RejectionStore
from mjbulk.rows.block import Block
from mjbulk.rows.iterables import BadRow
from mjbulk.rows.rejects import REJECTION_COLUMNS, guarded, unguarded
from mjbulk.rows.sources import Source, source_of

ROWS: list[dict[str, Any]] = [
    {"email": "nobody", "phone": "+49 171 123", "city": "Graz"},
    {"email": "'+quoted", "phone": "-", "city": ""},
    {"email": "a@example.org", "phone": "'quoted'", "city": '"=1", x\n=2'},
]


def rejected(rows: list[Any], **more: Any) -> RejectionStore:
    known: dict[str, Any] = {"message": "no", "code": "address.invalid", "email": "+x", "origin": "mjbulk", **more}
    return RejectionStore([Rejection(row=7 * at, data=row, **known) for at, row in enumerate(rows, 1)])


async def rows_of(source: Source) -> list[Any]:
    """Give the rows of a source, a fault for each that is bad."""
    found: list[Any] = []
    async for batch in source.batches():
        for block in batch:
            if isinstance(block, BadRow):
                found.append((block.fault.code, block.given.as_dict() if block.given else None))
            else:
                found += [dict(zip(block.names, values, strict=True)) for values in block.rows]
    return found


def file_of(folder: Path, ending: str, rejections: RejectionStore) -> Path:
    path = folder / f"bad.{ending}"
    write_rejections(rejections, path)
    return path


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json"])
async def test_rejected_rows_come_back_as_they_were(tmp_path: Path, ending: str) -> None:
    """Neither the reasons nor a guard against formulas is left in them."""
    assert await rows_of(source_of(file_of(tmp_path, ending, rejected(ROWS)))) == ROWS


@pytest.mark.extra
async def test_a_spreadsheet_of_rejected_rows_is_known_too(tmp_path: Path) -> None:
    """Somebody has opened the file, and saved it so."""
    openpyxl = extra("openpyxl")
    text = file_of(tmp_path, "csv", rejected(ROWS)).read_text(encoding="utf-8")
    book = openpyxl.Workbook()
    for cells in csv.reader(io.StringIO(text, newline="")):
        book.active.append(cells)
    book.save(tmp_path / "bad.xlsx")
    found = await rows_of(mjbulk.excel_source(tmp_path / "bad.xlsx"))
    assert [row["phone"] for row in found] == [row["phone"] for row in ROWS]


async def test_values_of_any_form_survive_a_table(tmp_path: Path) -> None:
    """A guard is taken off exactly where it was put."""
    random.seed(5)
    texts = ["".join(random.choices("'\"=+-@\t\n\r ,;a1＝", k=random.randint(0, 5))) for _ in range(3000)]
    assert [unguarded(guarded(text)) for text in texts] == texts
    rows = [{"email": "x", "v": text, "=w": "1"} for text in texts]
    assert await rows_of(source_of(file_of(tmp_path, "csv", rejected(rows)))) == rows


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
async def test_reasons_without_rows_are_refused(tmp_path: Path, ending: str) -> None:
    """A journal keeps no rows: it is said how to come by them."""
    source = source_of(file_of(tmp_path, ending, rejected([None, None])))
    with pytest.raises(UsageError, match=r"numbers and reasons, but not the rows.*reads them from the source again"):
        await rows_of(source)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
async def test_a_row_that_is_missing_is_rejected(tmp_path: Path, ending: str) -> None:
    """The others are taken."""
    found = await rows_of(source_of(file_of(tmp_path, ending, rejected([None, *ROWS[:2]]))))
    assert found == [("row.unreadable", None), *ROWS[:2]]


FIELDS: dict[str, Any] = {"code": "row.fields", "field": None}


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize(
    "data",
    [{"email": "a", "city": "b", "field 3": "c", "field 4": "d"}, {"email": "a"}],
    ids=["more", "fewer"],
)
async def test_a_row_with_too_many_or_too_few_fields_is_rejected_again(
    tmp_path: Path, ending: str, data: dict[str, str]
) -> None:
    """Its values may stand in the wrong columns. Once it is corrected it is taken; what was too much is no column."""
    message = f"the row has {len(data)} fields, the header has 2"
    other = {"email": "b", "city": "x"}
    rows = RejectionStore([*rejected([other]), *rejected([data], **FIELDS, message=message)])
    path = file_of(tmp_path, ending, rows)
    assert await rows_of(source_of(path)) == [other, ("row.fields", data)]
    text = path.read_text()
    if ending == "csv":
        path.write_text(text.replace(",a,\n", ",a,y\n").replace("a,b,c,d", "a,b,,"))
    else:
        *lines, last = map(json.loads, text.splitlines())
        last["data"] = {"email": "a", "city": "y"}
        path.write_text("".join(f"{json.dumps(line)}\n" for line in (*lines, last)))
    mended = await rows_of(source_of(path))
    assert [set(row) for row in mended] == [{"email", "city"}] * 2


async def test_a_record_that_has_not_the_fields_of_its_file_is_bad(tmp_path: Path) -> None:
    """It is shown without the reasons."""
    path = file_of(tmp_path, "csv", rejected(ROWS[:1]))
    with path.open("a") as file:
        file.write("1,x,,no,exact,mjbulk,c,'+a,b,c,d\r\n1,x\r\n")
    more = {"email": "+a", "phone": "b", "city": "c", "field 11": "d"}
    assert await rows_of(source_of(path)) == [ROWS[0], ("row.fields", more), ("row.fields", {})]


@pytest.mark.parametrize(
    "header", [REJECTION_COLUMNS[1:], (*REJECTION_COLUMNS[:-1], "Code"), ("id", *REJECTION_COLUMNS)]
)
async def test_other_files_are_read_as_they_are(header: tuple[str, ...]) -> None:
    """The header has to be that of rejected rows exactly."""
    names = [*header, "phone"]
    source = mjbulk.csv_source([f"{','.join(names)}\n{',' * (len(names) - 1)}'+1\n".encode()])
    (row,) = await rows_of(source)
    assert (list(row), row["phone"]) == (names, "'+1")


async def test_objects_that_are_no_rejected_rows_are_read_as_they_are() -> None:
    """One member more, one less, and what is no row at all."""
    whole = dict.fromkeys((*REJECTION_COLUMNS, "candidates", "data"), "x")
    less = {name: "x" for name in whole if name != "match"}
    lines = [whole | {"more": 1}, less, 7]
    found = await rows_of(mjbulk.jsonl_source(["".join(f"{json.dumps(line)}\n" for line in lines).encode()]))
    assert found == [*lines[:2], ("row.nameless", None)]


async def test_a_json_file_that_ends_early_fails(tmp_path: Path) -> None:
    """What came before is taken. A file without rejected rows has none, and another one *.json is no source."""
    path = file_of(tmp_path, "json", rejected(ROWS))
    path.write_text("\n".join(path.read_text().split("\n")[:-2]))
    with pytest.raises(mjbulk.SourceError, match=r"at row 3: .* ends early"):
        await rows_of(source_of(path))
    assert await rows_of(source_of(file_of(tmp_path, "json", rejected([])))) == []
    path.write_text("[1]")
    for other in (path, tmp_path / "none.json"):
        with pytest.raises(UsageError, match=r"\*\.json is not known"):
            source_of(other)


async def test_a_header_alone_has_the_columns_of_the_rows() -> None:
    """They are judged even where no row follows."""
    batches = [
        batch async for batch in mjbulk.csv_source([f"{','.join(REJECTION_COLUMNS)},email,'=x".encode()]).batches()
    ]
    (block,) = [block for batch in batches for block in batch if isinstance(block, Block) and block.names]
    assert (block.names, len(block)) == (("email", "=x"), 0)
