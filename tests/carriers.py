"""What the tables of cases share: two people in each form that a source may have, and what of them has to arrive."""

import io
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from attrs import frozen
from support import World, balanced

import mjbulk

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
ROWS: list[dict[str, Any]] = [
    {"email": "ann@example.org", "city": "Graz", "age": 7},
    {"email": "bob@example.org", "city": 'Wien, "1010"', "age": 8},
]
CSV = b'email,city,age\nann@example.org,Graz,7\nbob@example.org,"Wien, ""1010""",8\n'
JSONL = b"""{"email":"ann@example.org","city":"Graz","age":7}
{"email":"bob@example.org","city":"Wien, \\"1010\\"","age":8}
"""
ARRIVES = {row["email"]: {"city": row["city"], "age": row["age"]} for row in ROWS}
Make = Callable[[Path], Any]


@frozen
class Case:
    """A source, and what becomes of it."""

    make: Make
    """Gives the source, or an async context manager that does; it may write files."""
    arrives: Mapping[str, Mapping[str, Any]] = ARRIVES
    """Properties by addresses at the emulator."""
    how: Mapping[str, Any] = {}


def cases(table: Mapping[str, Any]) -> pytest.MarkDecorator:
    """Parametrize a test by the cases of a table."""
    named = {name: case if isinstance(case, Case) else Case(case) for name, case in table.items()}
    return pytest.mark.parametrize("case", list(named.values()), ids=list(named))


async def check(world: World, case: Case, folder: Path, **how: Any) -> mjbulk.Report:
    """Import a source, and compare what is at the emulator with what has to be there."""
    made = case.make(folder)
    context = made if isinstance(made, AbstractAsyncContextManager) and not hasattr(made, "read") else as_it_is(made)
    async with context as source, world.client() as client:
        report = balanced(await client.import_contacts(source, lists=ADD, **{**case.how, **how}))
    arrived = {address: dict(contact.properties) for address, contact in world.emulator.contacts.items()}
    assert arrived == case.arrives
    assert report.accepted == len(case.arrives)
    return report


@asynccontextmanager
async def as_it_is(source: Any) -> AsyncIterator[Any]:
    """Give a source that needs nothing around it."""
    yield source


def written(folder: Path, name: str, data: bytes = CSV) -> Path:
    """Write a file, and give its path."""
    path = folder / name
    path.write_bytes(data)
    return path


async def in_pieces(data: bytes, size: int = 7) -> AsyncIterator[bytes]:
    """Give bytes in pieces that are awaited."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def lines(data: bytes = CSV) -> Iterator[bytes]:
    """Give bytes line by line."""
    yield from data.splitlines(keepends=True)


def opened(file: Any) -> Any:
    """Have a file closed after the test."""
    return _OPEN.enter_context(file)


def close_files() -> None:
    """Close the files that were opened."""
    _OPEN.close()


_OPEN = ExitStack()

# Spreadsheets

_NAMESPACE = "http://schemas.openxmlformats.org"
_PARTS = {
    "[Content_Types].xml": f'<Types xmlns="{_NAMESPACE}/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_NAMESPACE}/package/2006/relationships"><Relationship Id="r1" '
    f'Type="{_NAMESPACE}/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_NAMESPACE}/spreadsheetml/2006/main" '
    f'xmlns:r="{_NAMESPACE}/officeDocument/2006/relationships"><sheets>'
    '<sheet name="People" sheetId="1" r:id="r1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_NAMESPACE}/package/2006/relationships"><Relationship '
    f'Id="r1" Type="{_NAMESPACE}/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/>'
    "</Relationships>",
}


def sheet_file(rows: list[list[Any]]) -> bytes:
    """Make a spreadsheet of one sheet, with texts, numbers, truth values and empty cells."""
    found = "".join(f"<row>{''.join(map(_cell, row))}</row>" for row in rows)
    sheet = f'<worksheet xmlns="{_NAMESPACE}/spreadsheetml/2006/main"><sheetData>{found}</sheetData></worksheet>'
    file = io.BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as packed:
        for name, text in {**_PARTS, "xl/worksheets/sheet1.xml": sheet}.items():
            packed.writestr(name, text)
    return file.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return "<c/>"
    if isinstance(value, bool):
        return f'<c t="b"><v>{int(value)}</v></c>'
    if isinstance(value, str):
        text = value.replace("&", "&amp;").replace("<", "&lt;")
        return f'<c t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'
    return f"<c><v>{value}</v></c>"


SHEET = sheet_file([list(ROWS[0]), *(list(row.values()) for row in ROWS)])
