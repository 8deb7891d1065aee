"""From rows to the CSV records of an upload to CSVData (FACTS 4.3, 4.4)."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from operator import ne
from typing import Any
from weakref import WeakKeyDictionary

from mjbulk.chunks.chunk import Limits
from mjbulk.chunks.frame import csv_frame
from mjbulk.config import Settings
from mjbulk.models import ImportOptions
from mjbulk.rows.block import Block
from mjbulk.rows.codes import Code
from mjbulk.rows.csv_text import decode_record, encode_record, write_records
from mjbulk.rows.layout import Layout
from mjbulk.rows.values import Column, ColumnFault, RowFault

DATETIME_FORMAT = "yyyy/mm/dd hh:nn:ss"  # FACTS 5.3


class CsvEncoder:
    """The encoder of the CSV way: one CSV record for each row.

    The columns are those of the first row. Records of a CSV file are passed on unchanged, unless columns are left out,
    dates are converted or the file has another delimiter: then they are written from their cells. An empty cell leaves
    a property alone (FACTS 4.4).
    """

    def __init__(self, settings: Settings, first: Layout, *, empty_cell_keeps: bool) -> None:
        """Take the columns from ``first``, the layout of the first row. ``empty_cell_keeps`` says whether an empty cell
        leaves a property alone at Mailjet; if not, rows with empty cells are refused.
        """
        self._refuse_empty = not empty_cell_keeps
        self._header = self._header_of(first)
        self.meaning = encode_record(self._header)
        self._plans = WeakKeyDictionary[Layout, list[Column | None]]()
        self.options: ImportOptions | None = None
        """How the csvimport reads dates (FACTS 4.5); None if no column has dates."""
        if any(column.datatype == "datetime" for column in first.properties):
            self.options = ImportOptions(datetime_format=DATETIME_FORMAT, timezone_offset=0, field_names=self._header)
        self.frame = csv_frame(b"" if self.options else self.meaning)
        self.limits = Limits(rows=settings.chunk_rows or float("inf"), bytes=settings.chunk_bytes)

    @staticmethod
    def _header_of(first: Layout) -> list[str]:
        """Name the columns in the order of the source, the address included."""
        names = {column.index: column.target for column in first.properties}
        if first.email is not None:
            names[first.email] = "email"
        return [name for _, name in sorted(names.items())]

    def encode(
        self, block: Block, layout: Layout, faults: dict[int, RowFault]
    ) -> tuple[Sequence[str], Sequence[bytes]]:
        """Give addresses and records of rows, and note in ``faults`` the indexes of rows that cannot be sent."""
        plan = self._plans.get(layout) or self._plan(layout)
        addresses = layout.addresses(block.columns, len(block), faults)
        columns = [addresses if column is None else _cells(column, block, layout, faults) for column in plan]
        records = self._records(block, layout, plan, columns)
        if self._refuse_empty:
            self._refuse("".__eq__, "value.null", "an empty cell would erase the property", columns, faults)
        if "\0" in "".join(records):
            self._refuse(_has_nul, "value.nul", "the value has a NUL in it, which CSV cannot carry", columns, faults)
        return addresses, _encode_all(records, faults)

    def _records(
        self, block: Block, layout: Layout, plan: Sequence[Column | None], columns: Sequence[Sequence[str]]
    ) -> Sequence[str]:
        """Give the records of the file unchanged if their cells are sent unchanged; write the others from their
        cells.
        """
        whole = layout.whole and len(plan) == len(block.names) and not layout.rules.columns
        raws = block.raws if whole else None
        if raws is None:
            return write_records(columns)
        given = [block.columns[(layout.email or 0) if column is None else column.index] for column in plan]
        anew = [cells for cells in zip(columns, given, strict=True) if cells[0] is not cells[1]]
        if not anew:
            return raws
        changed = map(any, zip(*(map(ne, *cells) for cells in anew), strict=True))
        records = zip(raws, write_records(columns), changed, strict=True)
        return [record if other else raw for raw, record, other in records]

    def _refuse(
        self,
        wrong: Callable[[str], bool],
        code: Code,
        why: str,
        columns: Sequence[Sequence[str]],
        faults: dict[int, RowFault],
    ) -> None:
        """Note as faults the rows with a cell for which ``wrong`` is true."""
        for name, cells in zip(self._header, columns, strict=True):
            for index, cell in enumerate(cells):
                if wrong(cell):
                    faults.setdefault(index, RowFault(code, name, why))

    def _plan(self, layout: Layout) -> list[Column | None]:
        """Say which column of these rows fills which column of the header. Raises ColumnFault for an extra column."""
        by_target = {column.target: column for column in layout.properties}
        for name in by_target:
            if name not in self._header:
                raise ColumnFault(
                    "column.extra",
                    name,
                    f"the first row has no column {name!r}: on the CSV way all rows have its columns",
                )
        missing = Column(-1, "", "", "str", str, plain=True)
        plan = [None if name == "email" else by_target.get(name, missing) for name in self._header]
        self._plans[layout] = plan
        return plan

    def merge(self, earlier: bytes, later: bytes) -> bytes:
        """Merge two records: a cell of the later one wins unless it is empty."""
        first, second = (decode_record(record.decode()) for record in (earlier, later))
        merged = [new or old for old, new in zip(first, second, strict=True)]
        return later if merged == second else encode_record(merged)


def _cells(column: Column, block: Block, layout: Layout, faults: dict[int, RowFault]) -> Sequence[str]:
    """Give a column as text. A text of a file that Mailjet can read is kept unchanged."""
    if column.index < 0:
        return [""] * len(block)
    values = block.columns[column.index]
    if not layout.rules.text:
        return [_cell(column, value) for value in column.read_all(values, faults)]
    return column.write_all(values, faults, partial(_cell, column))


def _cell(column: Column, value: Any) -> str:
    if value is None or value == "":
        return ""
    if column.datatype == "datetime":
        return _stamp(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def _stamp(value: str | int) -> str:
    """Write a date in `DATETIME_FORMAT` and UTC."""
    when = datetime.fromtimestamp(value, UTC) if isinstance(value, int) else datetime.fromisoformat(value)
    when = when.astimezone(UTC)
    return f"{when.year:04}/{when:%m/%d %H:%M:%S}"  # %Y has fewer digits before the year 1000


def _has_nul(cell: str) -> bool:
    return "\0" in cell


def _encode_all(records: Sequence[str], faults: dict[int, RowFault]) -> list[bytes]:
    """Encode records, and note in ``faults`` the indexes of those that are no valid Unicode."""
    try:
        return list(map(str.encode, records))
    except UnicodeEncodeError:
        for index, record in enumerate(records):
            if not _is_text(record):
                faults.setdefault(index, RowFault("value.unicode", None, "the row is no valid Unicode text"))
        return [record.encode(errors="replace") for record in records]


def _is_text(record: str) -> bool:
    try:
        record.encode()
    except UnicodeEncodeError:
        return False
    return True
