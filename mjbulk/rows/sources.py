"""Anything that an import can read, as a source of rows. No source is read whole: rows come a batch at a time.

A source gives its rows in order, and its reader numbers them from 1. A malformed row (a record that is no CSV, a line
that is no JSON) comes as a `BadRow`, so that it costs only its own number.
"""

import codecs
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from mjbulk.errors import SourceError, UsageError
from mjbulk.models import Row, SupportsArrow
from mjbulk.public import public
from mjbulk.rows.files import File, Path_, SourceUnreadable, pieces_of
from mjbulk.rows.iterables import BATCH, Batch, async_batches, iterable_batches, numbered_batches, thread_batches
from mjbulk.rows.text_files import csv_batches, jsonl_batches


@public
class Source:
    """Rows to read. Made by `csv_source`, `jsonl_source` or `in_thread`, or from what an import is given."""

    def __init__(
        self,
        batches: Callable[[], AsyncGenerator[Batch, None]],
        *,
        text: bool = False,
        rereadable: bool = False,
        kind: str = "",
        location: Mapping[str, str] | None = None,
    ) -> None:
        """Take a function that reads the rows.

        ``text`` says whether all values are texts, ``rereadable`` whether it can be read more than once. With the
        ``location`` of its file `reopen` makes the same source, in another process too.
        """
        self.location = location
        self._batches = batches
        self.text = text
        self.rereadable = rereadable
        self.kind = kind
        self._begun = False

    def __repr__(self) -> str:
        return f"Source({self.kind})"

    def batches(self) -> AsyncGenerator[Batch, None]:
        """Give the rows. Raises UsageError if they were read before and can be read only once."""
        if self._begun and not self.rereadable:
            raise UsageError("this source was read before and can be read only once")
        self._begun = True
        return _halting(self._batches())


async def _halting(batches: AsyncGenerator[Batch, None]) -> AsyncGenerator[Batch, None]:
    """Raise SourceError, with the number of the row, if a source is unreadable."""
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


Addresses = Path_ | Source | SupportsArrow | Iterable[Row] | AsyncIterable[Row] | Iterable[str] | AsyncIterable[str]
Rows = Path_ | Source | SupportsArrow | Iterable[Row] | AsyncIterable[Row]


@public
def csv_source(file: File, *, encoding: str = "utf-8", delimiter: str = ",") -> Source:
    """Read contacts from CSV: a path, a file opened for bytes, or bytes that come in pieces (``request.stream()``).

    The first record names the columns. ``encoding`` is never guessed: it is UTF-8 (with or without a BOM) unless you
    say otherwise. Gzip is known by its first two bytes, and unpacked. Raises UsageError for an encoding that does not
    exist, and for a delimiter that is not one character, or is a quote or a line end.
    """
    try:
        "a".encode(encoding)
    except (LookupError, UnicodeError):
        raise UsageError(f"there is no encoding {encoding!r} of text") from None
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UsageError("delimiter= is one character, and no quote or line end")
    codec = codecs.lookup(encoding).name
    name = "utf-8-sig" if codec == "utf-8" else codec
    pieces = pieces_of(file)
    how = {"encoding": encoding, "delimiter": delimiter}
    return _file_source("csv", file, how, lambda: csv_batches(pieces(), name, delimiter), text=True)


@public
def jsonl_source(file: File) -> Source:
    """Read contacts from JSON Lines: one object a line, in UTF-8. Gzip is unpacked, as by `csv_source`."""
    pieces = pieces_of(file)
    return _file_source("jsonl", file, {}, lambda: jsonl_batches(pieces()))


@public
def in_thread(rows: Iterable[Row]) -> Source:
    """Read contacts from an iterable that may block, such as a database cursor, in a thread of its own: meanwhile the
    event loop goes on.

    The thread begins the iteration, takes all rows and, if it is a generator, closes it. What can be used in one thread
    alone, such as a connection of sqlite3, has to be made there: in a generator, before its first row. Raises
    UsageError for what is no iterable of rows.
    """
    if hasattr(rows, "__arrow_c_stream__"):  # tables are always read in a thread
        return source_of(rows)
    if not isinstance(rows, Iterable) or isinstance(rows, str | bytes | bytearray | dict | os.PathLike):
        raise UsageError(f"in_thread() takes an iterable of rows, not a {type(rows).__name__}")
    rereadable = not isinstance(rows, Iterator)
    return Source(lambda: thread_batches(rows), rereadable=rereadable, kind="iterable in a thread")


def parquet_source(path: Path_) -> Source:
    """Read contacts from a Parquet file. Needs the extra ``arrow``."""
    path = Path(path)
    read = _tables().read_parquet
    return _file_source("parquet", path, {}, lambda: read(path, BATCH))


def _tables() -> Any:
    """Import the module that reads tables. Raises UsageError if its extra is missing."""
    from mjbulk.rows import tables  # noqa: PLC0415  # a large library, for those who use it

    return tables


def _file_source(
    kind: str,
    file: Any,
    how: Mapping[str, str],
    batches: Callable[[], AsyncGenerator[Batch, None]],
    *,
    text: bool = False,
) -> Source:
    """Make a source of bytes. That of a file on disk can be read again, and has a location."""
    path = Path(file).absolute() if isinstance(file, str | os.PathLike) else None
    there = path is not None and path.is_file()
    rereadable = there or (path is not None and not path.exists())  # a missing file shows when it is read
    named = str(path).encode("utf-8", "ignore").decode() == str(path)  # else no journal can keep the path
    location = {"kind": kind, "path": str(path), **how} if there and named else None
    return Source(batches, text=text, rereadable=rereadable, kind=kind, location=location)


_KINDS: Mapping[str, Callable[..., Source]] = {"csv": csv_source, "jsonl": jsonl_source, "parquet": parquet_source}
_ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def reopen(location: Mapping[str, str]) -> Source:
    """Make the source that has this ``location``. Its file is opened when the source is read."""
    how = dict(location)
    make = _KINDS[how.pop("kind")]
    return make(Path(how.pop("path")), **how)


def kind_of(path: Path) -> str | None:
    """Say what a file is, by its name: ``csv`` or ``jsonl``, both also as ``*.gz``, or ``parquet``; None for others."""
    name = path.name.casefold()
    kind = _ENDINGS.get(Path(name.removesuffix(".gz")).suffix)
    return None if kind == "parquet" and name.endswith(".gz") else kind


def source_of(rows: Any) -> Source:
    """Make a source of what an import is given.

    Raises UsageError for what cannot be one.
    """
    if isinstance(rows, Source):
        return rows
    if isinstance(rows, str | os.PathLike):
        return _path_source(Path(rows))
    if hasattr(rows, "__arrow_c_stream__"):  # first: a data frame is an iterable too, of column names
        rereadable = hasattr(rows, "__len__")  # a table has a length, a reader has none
        read = _tables().read_table
        return Source(lambda: read(rows, BATCH), rereadable=rereadable, kind="table")
    if isinstance(rows, AsyncIterable):
        return Source(lambda: async_batches(rows), kind="async iterable")
    if isinstance(rows, Iterable) and not isinstance(rows, bytes | bytearray | dict):
        rereadable = not isinstance(rows, Iterator)
        return Source(lambda: iterable_batches(rows), rereadable=rereadable, kind="iterable")
    raise UsageError(
        f"a {type(rows).__name__} is no source of rows: give a path, a source, a table (a lazy one collected), "
        "or an iterable of rows"
    )


def _path_source(path: Path) -> Source:
    kind = kind_of(path)
    if kind is None:
        raise UsageError(f"a file named *{path.suffix or path.name} is not known: use csv_source() or jsonl_source()")
    return _KINDS[kind](path)


def numbered_source(rows: Iterable[tuple[int, Row]], *, text: bool) -> Source:
    """Make a source of rows that already have numbers. ``text`` says whether their values came as text."""
    return Source(lambda: numbered_batches(rows, text=text), text=text, kind="numbered rows")
