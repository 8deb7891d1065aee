"""The two ways into Mailjet: what a row becomes on each, and how a chunk is handed over.

Both give the same to a run: a frame around encoded rows, the encoding of one row, the merging of two rows of one
person, and a job for a body.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from attrs import define, field

from mjbulk.chunks.chunker import Limits
from mjbulk.config import JSON_ROWS, Settings
from mjbulk.mailjet.account import Account
from mjbulk.mailjet.replies import decode_data_id, decode_job_id
from mjbulk.mailjet.requests import (
    Content,
    Frame,
    contacts_frame,
    contacts_request,
    csv_frame,
    csvimport_request,
    upload_request,
)
from mjbulk.mailjet.transport import Doubt, Patience, Transport
from mjbulk.mailjet.verdict import harmless_again
from mjbulk.models import EXCLUSIONS, Action, ImportOptions, JobRef, Resend, RunSpec
from mjbulk.rows.block import Block, Layout
from mjbulk.rows.contacts import Contacts, merge
from mjbulk.rows.csv_text import decode_record, encode_record, write_records
from mjbulk.rows.values import Column, ColumnFault, RowFault
from mjbulk.run.engine import Engine


async def _unheard(_: int) -> None:
    """Nobody wants to know."""


@define(kw_only=True)
class Passage:
    """One body on its way. Mutable: what becomes known of it."""

    doubt: Doubt = field(factory=Doubt)
    patience: Patience | None = None
    """For the call that carries the rows."""
    data_id: int | None = None
    """What was uploaded, on the CSV way."""
    uploaded: Callable[[int], Awaitable[None]] = _unheard
    """Is told of the DataID before it is used."""


class Way(Protocol):
    """How rows get into Mailjet."""

    frame: Frame
    limits: Limits
    meaning: bytes
    """What the encodings of rows do not say themselves, and what they mean depends on."""
    carrier: str
    """The call that carries the rows: what it refuses may be the fault of one of them."""

    def encode(
        self, block: Block, layout: Layout, faults: dict[int, RowFault]
    ) -> tuple[Sequence[str], Sequence[bytes]]:
        """Give addresses and encodings of rows, and note in ``faults`` the places of those that cannot be sent."""

    def merge(self, earlier: bytes, later: bytes) -> bytes:
        """Make one entry of two rows of a person, the later winning."""

    def harmless(self, body: Content) -> bool:
        """Whether entries may be handed over again when nobody knows if they were applied."""

    async def submit(self, body: Content, passage: Passage) -> JobRef:
        """Hand over entries of a chunk. Raises what the transport raises."""

    async def find(self, passage: Passage) -> JobRef | None:
        """Look for the job of entries whose answer was lost, where there is a way to."""


class JsonWay:
    """contact/managemanycontacts: one POST a chunk."""

    carrier = "POST contact/managemanycontacts"
    meaning = b""  # objects name their members

    def __init__(
        self, transport: Transport, settings: Settings, spec: RunSpec, lists: Sequence[tuple[int, Action]] | None
    ) -> None:
        """``lists`` are the run's, with their IDs."""
        self._transport = transport
        self._spec = spec
        self._actions = [action for _, action in lists or ()]
        self.frame = contacts_frame(lists)
        self.limits = Limits(rows=settings.chunk_rows or JSON_ROWS, bytes=settings.chunk_bytes)

    def encode(
        self, block: Block, layout: Layout, faults: dict[int, RowFault]
    ) -> tuple[Sequence[str], Sequence[bytes]]:
        """Give addresses and JSON of rows."""
        if self._spec.excluded is None:
            contacts = layout.contacts(block.columns, len(block), faults)
        else:
            addresses = layout.addresses(block.columns, len(block), faults)
            contacts = Contacts({"Email": addresses, "IsExcludedFromCampaigns": [self._spec.excluded] * len(block)})
        return contacts.addresses, contacts.encode(faults)

    def merge(self, earlier: bytes, later: bytes) -> bytes:
        """Merge two rows, key by key."""
        return merge(earlier, later)

    def harmless(self, body: Content) -> bool:
        """Whether all of them converge."""
        excludes = b'"IsExcludedFromCampaigns":' in body[:]
        return harmless_again(self._actions, excludes=excludes, resend=self._spec.resend)

    async def submit(self, body: Content, passage: Passage) -> JobRef:
        """POST the entries."""
        job_id = await self._transport.send(
            contacts_request(body),
            decode_job_id,
            harmless=self.harmless(body),
            doubt=passage.doubt,
            patience=passage.patience,
        )
        return JobRef("contact", job_id)

    async def find(self, passage: Passage) -> JobRef | None:  # noqa: ARG002  # of the protocol
        """A job that took contacts says nothing by which it could be known."""
        return None


DATETIME_FORMAT = "yyyy/mm/dd hh:nn:ss"


class CsvWay:
    """CSVData and csvimport: the text is uploaded, and then imported by its DataID.

    The columns are those of the first row. Records of a CSV file are passed on as they stand; where columns are left
    out, dates converted or another delimiter was used, they are written anew. An empty cell leaves a property alone.
    """

    carrier = "POST contactslist/CSVData"

    def __init__(self, engine: Engine, list_id: int, method: str, first: Layout, resend: Resend) -> None:
        """``first`` is the layout of the first row. The exclusion list's methods upload under a list, and import
        without.
        """
        self._transport = engine.transport
        self._account = engine.account
        self._lag = engine.settings.read_timeout
        self._resend = resend
        self._refuse_empty = not engine.assumptions.csv_empty_cell_keeps
        self._list_id = list_id
        self._method = method
        self._header = self._header_of(first)
        self._at = self._header.index("email")
        self.meaning = encode_record(self._header)
        self._plans = WeakKeyDictionary[Layout, list[Column | None]]()
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

    def encode(
        self, block: Block, layout: Layout, faults: dict[int, RowFault]
    ) -> tuple[Sequence[str], Sequence[bytes]]:
        """Give addresses and records of rows."""
        plan = self._plans.get(layout) or self._plan(layout)
        addresses = layout.addresses(block.columns, len(block), faults)
        columns = [addresses if column is None else _cells(column, block, layout, faults) for column in plan]
        records = self._records(block, layout, addresses, columns)
        if self._refuse_empty:
            self._refuse("".__eq__, "an empty cell would erase the property", columns, faults)
        if "\0" in "".join(records):
            self._refuse(_has_nul, "the value has a NUL in it, which CSV cannot carry", columns, faults)
        return addresses, _encode_all(records, faults)

    def _records(
        self, block: Block, layout: Layout, addresses: Sequence[str], columns: Sequence[Sequence[str]]
    ) -> Sequence[str]:
        """Give records as they stand in the file, and write anew what differs from that."""
        raws = block.raws if self._options is None and layout.whole and not layout.terms.columns else None
        if raws is None:
            return write_records(columns)
        given = block.columns[layout.email or 0]
        if addresses is given:
            return raws
        trimmed = zip(raws, given, addresses, write_records(columns), strict=True)
        return [raw if old == new else record for raw, old, new, record in trimmed]

    def _refuse(
        self,
        wrong: Callable[[str], bool],
        why: str,
        columns: Sequence[Sequence[str]],
        faults: dict[int, RowFault],
    ) -> None:
        """Refuse the rows that have a cell that cannot be sent."""
        for name, cells in zip(self._header, columns, strict=True):
            for place, cell in enumerate(cells):
                if wrong(cell):
                    faults.setdefault(place, RowFault(name, why))

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
        first, second = (decode_record(record.decode()) for record in (earlier, later))
        merged = [new or old for old, new in zip(first, second, strict=True)]
        return later if merged == second else encode_record(merged)

    def harmless(self, body: Content) -> bool:  # noqa: ARG002  # of the protocol
        """Whether the method converges."""
        actions = [] if self._method in EXCLUSIONS else [Action(self._method)]
        return harmless_again(actions, excludes=self._method in EXCLUSIONS, resend=self._resend)

    async def submit(self, body: Content, passage: Passage) -> JobRef:
        """Upload the records, and import them. An upload has no effect before it is imported: it may always be sent
        again.
        """
        if passage.data_id is None:
            upload = upload_request(self._list_id, body)
            data_id = await self._transport.send(upload, decode_data_id, harmless=True, patience=passage.patience)
            await passage.uploaded(data_id)
            passage.data_id = data_id
        list_id = None if self._method in EXCLUSIONS else self._list_id
        request = csvimport_request(passage.data_id, list_id=list_id, method=self._method, options=self._options)
        job_id = await self._transport.send(request, decode_job_id, harmless=False, doubt=passage.doubt)
        return JobRef("csvimport", job_id)

    async def find(self, passage: Passage) -> JobRef | None:
        """Look for the import of what was uploaded, when a request that was under way must have been applied."""
        return await find_import(self._account, passage.data_id, self._lag)


async def find_import(account: Account, data_id: int | None, lag: float) -> JobRef | None:
    """Look for the csvimport of a DataID, after the ``lag`` within which what is applied is applied."""
    if data_id is None:
        return None
    await asyncio.sleep(lag)
    job_id = await account.import_of(data_id)
    return None if job_id is None else JobRef("csvimport", job_id)


def _cells(column: Column, block: Block, layout: Layout, faults: dict[int, RowFault]) -> Sequence[str]:
    """Give a column as text; a text of the source stays as it is written, where it fits."""
    if column.index < 0:
        return [""] * len(block)
    values = block.columns[column.index]
    text = layout.terms.text
    if not text or column.datatype == "datetime":
        return [_cell(column, value) for value in column.read_all(values, faults, text=text)]
    if not column.plain:
        column.check_texts(values, faults)
    return values


def _cell(column: Column, value: Any) -> str:
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
    when = when.astimezone(UTC)
    return f"{when.year:04}/{when:%m/%d %H:%M:%S}"  # %Y has fewer digits before the year 1000


def _has_nul(cell: str) -> bool:
    return "\0" in cell


def _encode_all(records: Sequence[str], faults: dict[int, RowFault]) -> list[bytes]:
    """Encode records, and note in ``faults`` the places of those that cannot be."""
    try:
        return list(map(str.encode, records))
    except UnicodeEncodeError:
        for place, record in enumerate(records):
            if not _is_text(record):
                faults.setdefault(place, RowFault(None, "the row is no valid Unicode text"))
        return [record.encode(errors="replace") for record in records]


def _is_text(record: str) -> bool:
    try:
        record.encode()
    except UnicodeEncodeError:
        return False
    return True
