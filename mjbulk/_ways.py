"""The two ways into Mailjet: what a row becomes on each, and how a chunk is handed over.

Both give the same to a run: a frame around encoded rows, the encoding of one row, the merging of two rows of one
person, and a job for a body.
"""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from mjbulk._chunking import Chunk, Limits, encode_record
from mjbulk._engine import Engine
from mjbulk._rows import Column, ColumnFault, Given, Layout, RowFault, encode, merge
from mjbulk._transport import Doubt, Transport
from mjbulk._verdict import harmless_again
from mjbulk._wire import (
    Frame,
    contacts_frame,
    contacts_request,
    csv_frame,
    csvimport_request,
    decode_data_id,
    decode_job_id,
    upload_request,
)
from mjbulk.config import Settings
from mjbulk.models import EXCLUSIONS, Action, ImportOptions, JobRef, RunSpec


class Way(Protocol):
    """How rows get into Mailjet."""

    frame: Frame
    limits: Limits
    carrier: str
    """The call that carries the rows: what it refuses may be the fault of one of them."""

    def encode(self, row: Given, layout: Layout) -> tuple[str, bytes]:
        """Give the address of a row, and its encoding. Raises RowFault."""

    def merge(self, earlier: bytes, later: bytes) -> bytes:
        """Make one entry of two rows of a person, the later winning."""

    async def submit(self, chunk: Chunk, places: slice, doubt: Doubt) -> JobRef:
        """Hand over entries of a chunk. Raises what the transport raises."""


class JsonWay:
    """contact/managemanycontacts: one POST a chunk."""

    carrier = "POST contact/managemanycontacts"

    def __init__(
        self, transport: Transport, settings: Settings, spec: RunSpec, lists: Sequence[tuple[int, Action]] | None
    ) -> None:
        """``lists`` are the run's, with their IDs."""
        self._transport = transport
        self._spec = spec
        self._actions = [action for _, action in lists or ()]
        self.frame = contacts_frame(lists)
        self.limits = Limits(rows=settings.chunk_rows or 1000, bytes=settings.chunk_bytes)

    def encode(self, row: Given, layout: Layout) -> tuple[str, bytes]:
        """Give the address of a row, and its JSON."""
        if self._spec.excluded is None:
            contact = layout.contact(row.values)
        else:
            contact = {"Email": layout.address(row.values), "IsExcludedFromCampaigns": self._spec.excluded}
        return contact["Email"], encode(contact)

    def merge(self, earlier: bytes, later: bytes) -> bytes:
        """Merge two rows, key by key."""
        return merge(earlier, later)

    async def submit(self, chunk: Chunk, places: slice, doubt: Doubt) -> JobRef:
        """POST the entries."""
        encoded = chunk.encoded[places]
        excludes = any(b'"IsExcludedFromCampaigns":' in row for row in encoded)
        job_id = await self._transport.send(
            contacts_request(self.frame.body(encoded)),
            decode_job_id,
            harmless=harmless_again(self._actions, excludes=excludes, resend=self._spec.resend),
            doubt=doubt,
        )
        return JobRef("contact", job_id)


DATETIME_FORMAT = "yyyy/mm/dd hh:nn:ss"


class CsvWay:
    """CSVData and csvimport: the text is uploaded, and then imported by its DataID.

    The columns are those of the first row. Records of a CSV file are passed on as they stand; where columns are left
    out, dates converted or another delimiter was used, they are written anew. An empty cell leaves a property alone.
    """

    carrier = "POST contactslist/CSVData"

    def __init__(self, engine: Engine, list_id: int, method: str, first: Layout) -> None:
        """``first`` is the layout of the first row. The exclusion list's methods upload under a list, and import
        without.
        """
        self._transport = engine.transport
        self._refuse_empty = not engine.assumptions.csv_empty_cell_keeps
        self._list_id = list_id
        self._method = method
        self._header = self._header_of(first)
        self._plans: dict[Layout, list[Column | None]] = {}
        self._options = None
        dates = any(column.datatype == "datetime" for column in first.properties)
        if dates:
            self._options = ImportOptions(datetime_format=DATETIME_FORMAT, timezone_offset=0, field_names=self._header)
        self.frame = csv_frame(b"" if dates else encode_record(self._header))
        settings = engine.settings
        self.limits = Limits(rows=settings.chunk_rows or float("inf"), bytes=settings.chunk_bytes)

    @staticmethod
    def _header_of(first: Layout) -> list[str]:
        """Name the columns in their order; the address stands where it stands in the source."""
        places = {column.index: column.target for column in first.properties}
        if first.email is not None:
            places[first.email] = "email"
        return [name for _, name in sorted(places.items())]

    def encode(self, row: Given, layout: Layout) -> tuple[str, bytes]:
        """Give the address of a row, and its record."""
        address = layout.address(row.values)
        plan = self._plans.get(layout) or self._plan(layout)
        cells = [address if column is None else _cell(column, row.values) for column in plan]
        if self._refuse_empty and "" in cells:
            raise RowFault(self._header[cells.index("")], "an empty cell would erase the property on the CSV way")
        raw = row.raw
        if raw is not None and layout.whole and self._verbatim(row, layout, address):
            text = raw if raw.endswith("\n") else f"{raw}\n"
            try:
                return address, text.encode()
            except UnicodeEncodeError:
                raise RowFault(None, "the row is no valid Unicode text") from None
        return address, _record(cells, self._header)

    def _verbatim(self, row: Given, layout: Layout, address: str) -> bool:
        """Whether a record can go as it stands."""
        renamed = self._options is not None or layout.terms.columns is not None
        trimmed = layout.email is None or row.values[layout.email] != address
        return not renamed and not trimmed and "\0" not in (row.raw or "")

    def _plan(self, layout: Layout) -> list[Column | None]:
        """Say which column of these rows fills which column of the header."""
        by_target = {column.target: column for column in layout.properties}
        for name in by_target:
            if name not in self._header:
                raise ColumnFault(
                    name, f"the first row has no column {name!r}: on the CSV way all rows have its columns"
                )
        missing = Column(-1, "", "", "str", str, plain=True)
        plan = [None if name == "email" else by_target.get(name, missing) for name in self._header]
        self._plans[layout] = plan
        return plan

    def merge(self, earlier: bytes, later: bytes) -> bytes:
        """Merge two records: a cell of the later one wins unless it is empty."""
        first, second = (next(csv.reader([record.decode()])) for record in (earlier, later))
        merged = [new or old for old, new in zip(first, second, strict=True)]
        return later if merged == second else encode_record(merged)

    async def submit(self, chunk: Chunk, places: slice, doubt: Doubt) -> JobRef:
        """Upload the records, and import them. An upload has no effect before it is imported: it may always be sent
        again.
        """
        body = self.frame.body(chunk.encoded[places])
        data_id = await self._transport.send(upload_request(self._list_id, body), decode_data_id, harmless=True)
        list_id = None if self._method in EXCLUSIONS else self._list_id
        request = csvimport_request(data_id, list_id=list_id, method=self._method, options=self._options)
        return JobRef("csvimport", await self._transport.send(request, decode_job_id, harmless=False, doubt=doubt))


def _cell(column: Column, values: Sequence[Any]) -> str:
    if column.index < 0:
        return ""
    value = column.value(values)
    if value is None or value == "":
        return ""
    if column.datatype == "datetime":
        return _stamp(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def _stamp(value: str | int) -> str:
    """Write a date as `DATETIME_FORMAT` says, in UTC."""
    when = datetime.fromtimestamp(value, UTC) if isinstance(value, int) else datetime.fromisoformat(value)
    return when.astimezone(UTC).strftime("%Y/%m/%d %H:%M:%S")


def _record(cells: Sequence[str], header: Sequence[str]) -> bytes:
    for name, cell in zip(header, cells, strict=True):
        if "\0" in cell:
            raise RowFault(name, "the value has a NUL in it, which CSV cannot carry")
    try:
        return encode_record(cells)
    except UnicodeEncodeError:
        raise RowFault(None, "the row is no valid Unicode text") from None
