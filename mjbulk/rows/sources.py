"""Anything that an import can read, as a source of rows. No source is read whole: rows come a batch at a time.

A source gives its rows in order, and its reader numbers them from 1. A malformed row (a record that is no CSV, a line
that is no JSON) comes as a `BadRow`, so that it costs only its own number.
"""

import codecs
import logging
import os
import re
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

from mjbulk.discreet import discreet
from mjbulk.errors import SourceError, UsageError
from mjbulk.models import Row, SupportsArrow, SupportsCursor
from mjbulk.public import public
from mjbulk.rows import spreadsheets, tables
from mjbulk.rows.addresses import is_address
from mjbulk.rows.amount import Amount
from mjbulk.rows.csv_form import CsvForm
from mjbulk.rows.csv_text import MAX_RECORD
from mjbulk.rows.files import File, Path_, path_of, pieces_of, raw_pieces_of
from mjbulk.rows.findings import Findings
from mjbulk.rows.foreign import is_query, is_table, refuse_foreign
from mjbulk.rows.iterables import (
    BATCH,
    Batch,
    async_batches,
    batch_of,
    cursor_batch,
    fetched,
    iterable_batches,
    numbered_batches,
    thread_batches,
)
from mjbulk.rows.packed import SourceUnreadable
from mjbulk.rows.rejects import begins_json, lines_of_json, own_batches
from mjbulk.rows.text_files import csv_batches, jsonl_batches


@public
class Source:
    """Rows to read. Made by `csv_source`, `jsonl_source`, `excel_source` or `in_thread`, or of what an import is
    given.
    """

    def __init__(
        self,
        batches: Callable[[], AsyncGenerator[Batch, None]],
        *,
        text: bool = False,
        rereadable: bool = False,
        kind: str = "",
        location: Mapping[str, Any] | None = None,
        picking: Callable[[Collection[str]], AsyncGenerator[Batch, None]] | None = None,
        query: bool = False,
        findings: Findings | None = None,
        amount: Amount | None = None,
    ) -> None:
        """Take a function that reads the rows, and notes what may surprise in ``findings``.

        ``text`` says whether all values are texts, ``rereadable`` whether it can be read more than once. With the
        ``location`` of its file `reopen` makes the same source, in another process too. ``picking`` reads the rows of a
        source that may have to leave out columns that are not picked. ``query`` says that each reading asks for the
        rows again. ``amount`` counts what was read of a file.
        """
        self.location = location
        self._batches = batches
        self._picking = picking
        self._query = query
        self.text = text
        self.rereadable = rereadable
        self.kind = kind
        self.findings = findings or Findings()
        """What may surprise in what was read so far."""
        self._begun = False
        self._amount = amount or Amount()

    @property
    def share(self) -> float | None:
        """The share of its file that was read, from 0 to 1; None if that is not known."""
        return self._amount.share

    def __repr__(self) -> str:
        return f"Source({self.kind})"

    def batches(self, picked: Collection[str] = ()) -> AsyncGenerator[Batch, None]:
        """Give the rows. Columns that are not ``picked`` may be missing, where some are.

        Raises UsageError if they were read before and can be read only once.
        """
        if self._begun and not self.rereadable:
            raise UsageError("this source was read before and can be read only once")
        self._begun = True
        self.findings.clear()
        if self._query:
            self.findings.note("source.query", _QUERY)
        batches = self._picking(picked) if self._picking is not None and picked else self._batches()
        return _watched(batches, self.findings)


_QUERY = (
    "each reading of this source is a new query, whose rows or their order may differ; a run that is resumed is "
    "refused where they do: sort it by what does not change, or write it to a file"
)
_EMPTY = "the source had no rows: was it read before?"
_log = logging.getLogger("mjbulk")


async def _watched(batches: AsyncGenerator[Batch, None], findings: Findings) -> AsyncGenerator[Batch, None]:
    """Raise SourceError, with the number of the row, if a source is unreadable; and note if it has no row."""
    rows = 0
    async with aclosing(batches):
        try:
            async for batch in batches:
                rows += sum(map(len, batch))
                yield batch
        except SourceUnreadable as why:
            if isinstance(why.cause, SourceError):  # it has the row already
                raise why.cause from why.cause.__cause__
            raise SourceError(why.problem, row=rows + 1) from why.cause
    if not rows:
        findings.note("source.empty", _EMPTY, rows=0)
        _log.warning("%s", _EMPTY)


Rows = (
    Path_
    | Source
    | SupportsArrow
    | SupportsCursor
    | Iterable[Row]
    | AsyncIterable[Row]
    | Iterable[SupportsArrow]
    | AsyncIterable[SupportsArrow]
)
Addresses = Rows | Iterable[str] | AsyncIterable[str]


@public
@discreet
def csv_source(
    file: File,
    *,
    encoding: str = "utf-8",
    delimiter: str = ",",
    header_row: int = 1,
    null: str | None = None,
    escape: str | None = None,
) -> Source:
    r"""Read contacts from CSV: a path, anything with ``read`` that gives bytes (also if it is awaited, as that of an
    ``UploadFile``), or an iterable or async iterable of bytes (``request.stream()``).

    The first record names the columns; ``header_row`` is its line, where notes stand before it. ``encoding`` is never
    guessed: it is UTF-8 (with or without a BOM) unless you say otherwise. A first line ``sep=;`` is obeyed. A cell that
    is ``null``, such as ``\N``, is a null, as an empty one is. ``escape`` is what stands before a character that means
    itself, as the backslash of MySQL. Gzip is known by its first two bytes, and unpacked. Raises UsageError for an
    encoding that does not exist, for a delimiter that is not one character, or is a quote or a line end, and for what
    is no file.
    """
    try:
        "a".encode(encoding)
    except (LookupError, UnicodeError):
        raise UsageError(f"there is no encoding {encoding!r} of text") from None
    form = CsvForm(delimiter=delimiter, header_row=header_row, null=null, escape=escape)
    form.check()
    codec = codecs.lookup(encoding).name
    name = "utf-8-sig" if codec == "utf-8" else codec
    amount = Amount()
    pieces = pieces_of(file, amount)
    said = {"header_row": header_row, "null": null, "escape": escape}
    how = {"encoding": encoding, "delimiter": delimiter} | {
        name: value for name, value in said.items() if value != _UNSAID[name]
    }
    found = Findings()
    read = lambda: own_batches(csv_batches(pieces(), name, form, found))  # noqa: E731  # in a line of its own
    return _file_source("csv", file, how, read, text=True, findings=found, amount=amount)


_UNSAID = {"header_row": 1, "null": None, "escape": None}


@public
@discreet
def jsonl_source(file: File) -> Source:
    """Read contacts from JSON Lines: one object a line, in UTF-8. Gzip is unpacked, as by `csv_source`.

    Raises UsageError for what is no file. A line that is no object rejects its row.
    """
    amount = Amount()
    pieces = pieces_of(file, amount)
    return _file_source("jsonl", file, {}, lambda: own_batches(jsonl_batches(pieces()), objects=True), amount=amount)


def rejections_source(path: Path_) -> Source:
    """Read the rows in a JSON file of rejected rows."""
    pieces = pieces_of(path_of(path), Amount())
    read = lambda: own_batches(jsonl_batches(lines_of_json(pieces())), objects=True)  # noqa: E731  # in a line of its own
    return _file_source("json", path, {}, read)


@public
@discreet
def excel_source(file: File, *, sheet: str | int = 0) -> Source:
    """Read contacts from a spreadsheet (.xlsx, .xlsm, .xlsb, .xls or .ods): a path, or a file as `csv_source` takes it.

    ``sheet`` is its name or its number, from 0 on. The first row with a value names the columns; empty rows count for
    nothing. Numbers that are whole are whole numbers. A formula has the value that was last saved with it, and none if
    no program has calculated it. Needs the extra ``excel``. Raises UsageError if the sheet does not exist, and if the
    file is no spreadsheet or is too large.
    """
    if type(sheet) not in (int, str):
        raise UsageError("sheet= is the name of a sheet or its number, from 0 on")
    spreadsheets.check_extra()
    path = path_of(file) if isinstance(file, str | os.PathLike) else None
    pieces = raw_pieces_of(file) if path is None else None
    amount = Amount()
    read = lambda: own_batches(spreadsheets.sheet_batches(path, pieces, sheet, amount))  # noqa: E731  # in a line of its own
    return _file_source("excel", file, {"sheet": sheet}, read, amount=amount)


@public
@discreet
def in_thread(rows: Iterable[Row] | SupportsCursor) -> Source:
    """Read contacts from an iterable that may block, such as a database cursor, in a thread of its own: meanwhile the
    event loop goes on.

    The thread begins the iteration, takes all rows and, if it is a generator, closes it. What can be used in one thread
    alone, such as a connection of sqlite3, has to be made there: in a generator, before its first row. Raises
    UsageError for what is no iterable of rows.
    """
    if is_table(rows):  # tables are always read in a thread
        return source_of(rows)
    if (cursor := _as_cursor(rows)) is not None:
        named = cursor_batch(rows)
        return Source(lambda: thread_batches(cursor, named), kind="cursor in a thread")
    refuse_foreign(rows)
    if not isinstance(rows, Iterable) or isinstance(rows, str | bytes | bytearray | dict | os.PathLike):
        raise UsageError(f"in_thread() takes an iterable of rows, not a {type(rows).__name__}")
    rereadable = not isinstance(rows, Iterator)
    return Source(lambda: thread_batches(rows), rereadable=rereadable, kind="iterable in a thread")


def parquet_source(path: Path_) -> Source:
    """Read contacts from a Parquet file. Needs the extra ``arrow``."""
    path = path_of(path)
    tables.check_extra()
    amount = Amount()
    return _file_source("parquet", path, {}, lambda: tables.read_parquet(path, BATCH, amount), amount=amount)


def _file_source(
    kind: str,
    file: Any,
    how: Mapping[str, Any],
    batches: Callable[[], AsyncGenerator[Batch, None]],
    *,
    text: bool = False,
    findings: Findings | None = None,
    amount: Amount | None = None,
) -> Source:
    """Make a source of bytes. That of a file on disk can be read again, and has a location."""
    path = Path(file).absolute() if isinstance(file, str | os.PathLike) else None
    there, rereadable = False, False
    if path is not None:
        with suppress(OSError):  # a name may be too long for a file
            there = path.is_file()
            rereadable = there or not path.exists()  # a missing file shows when it is read
    named = str(path).encode("utf-8", "ignore").decode() == str(path)  # else no journal can keep the path
    location = {"kind": kind, "path": str(path), **how} if there and named else None
    return Source(
        batches, text=text, rereadable=rereadable, kind=kind, location=location, findings=findings, amount=amount
    )


_KINDS: Mapping[str, Callable[..., Source]] = {
    "csv": csv_source,
    "jsonl": jsonl_source,
    "parquet": parquet_source,
    "excel": excel_source,
    "json": rejections_source,
}
_ENDINGS = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"), "excel"),
}
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,10}")
"""What is no such ending may be data: the text of a file may stand where its path should."""
_HELP = {
    ".tsv": "use csv_source(path, delimiter='\\t')",
    ".json": "of an array give json.load(), and of one object a line jsonl_source()",
    ".zip": "open a member with zipfile's open(), and give that file to csv_source() or jsonl_source()",
    ".bz2": "open it with bz2.open(), and give that file to csv_source() or jsonl_source()",
    ".xz": "open it with lzma.open(), and give that file to csv_source() or jsonl_source()",
    ".zst": "unpack it first, or give a file that unpacks it to csv_source() or jsonl_source()",
}


_READ_AS = "use csv_source() or jsonl_source()"


def reopen(location: Mapping[str, Any]) -> Source:
    """Make the source that has this ``location``. Its file is opened when the source is read."""
    how = dict(location)
    make = _KINDS[how.pop("kind")]
    return make(Path(how.pop("path")), **how)


def kind_of(path: Path) -> str | None:
    """Say what a file is, by its name: ``csv`` or ``jsonl``, both also as ``*.gz``, ``parquet`` or ``excel``; ``json``
    for one of rejected rows; None for others.
    """
    name = path.name.casefold()
    if name.endswith(".json"):
        return "json" if begins_json(_first_line(path)) else None
    kind = _ENDINGS.get(Path(name.removesuffix(".gz")).suffix)
    return None if kind not in ("csv", "jsonl") and name.endswith(".gz") else kind


def _first_line(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        return file.readline(MAX_RECORD)
    return b""


def source_of(rows: Any) -> Source:
    """Make a source of what an import is given.

    Raises UsageError for what cannot be one.
    """
    if isinstance(rows, Source):
        return rows
    if isinstance(rows, str | os.PathLike):
        return _path_source(path_of(rows))
    if is_table(rows):  # first: a data frame is an iterable too, of column names
        rereadable = hasattr(rows, "__len__") or is_query(rows)  # a table has a length, a reader has none
        tables.check_extra()
        return Source(
            lambda: tables.read_table(rows, BATCH),
            rereadable=rereadable,
            kind="table",
            picking=lambda picked: tables.read_table(rows, BATCH, picked),
            query=is_query(rows),
        )
    refuse_foreign(rows)
    if isinstance(rows, AsyncIterable):
        group = cursor_batch(rows) if _is_cursor(rows) else batch_of
        return Source(lambda: async_batches(rows, group), kind="async iterable")
    if (cursor := _as_cursor(rows)) is not None:
        named = cursor_batch(rows)
        return Source(lambda: iterable_batches(cursor, named), kind="cursor")
    if isinstance(rows, Iterable) and not isinstance(rows, bytes | bytearray | memoryview | dict):
        rereadable = not isinstance(rows, Iterator)
        return Source(lambda: iterable_batches(rows), rereadable=rereadable, kind="iterable")
    one = "one row in a list, as in [row]" if isinstance(rows, dict) else "an iterable of rows"
    raise UsageError(
        f"a {type(rows).__name__} is no source of rows: give a path, a source, a table (a lazy one collected), or {one}"
    )


def _is_cursor(rows: Any) -> bool:
    """Say whether this is a cursor of a database, which knows the names of its columns (PEP 249)."""
    return hasattr(rows, "description") and hasattr(rows, "fetchmany")


def _as_cursor(rows: Any) -> Iterable[Any] | None:
    """Give the rows of a cursor; None for anything else."""
    if not _is_cursor(rows):
        return None
    return rows if isinstance(rows, Iterable) else fetched(rows)


def _path_source(path: Path) -> Source:
    kind = kind_of(path)
    if kind is None:
        known = "an address goes into a list, as in [address]" if is_address(str(path)) else _READ_AS
        helps = _HELP.get(path.suffix.casefold(), known)
        named = f"a file named *{path.suffix}" if _ENDING.fullmatch(path.suffix) else "a path without an ending"
        raise UsageError(f"{named} is not known: {helps}")
    return _KINDS[kind](path)


def numbered_source(rows: Iterable[tuple[int, Row]], *, text: bool) -> Source:
    """Make a source of rows that already have numbers. ``text`` says whether their values came as text."""
    return Source(lambda: numbered_batches(rows, text=text), text=text, kind="numbered rows")
