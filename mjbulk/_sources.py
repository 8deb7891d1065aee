"""Paths, files, iterables and async iterables to rows, a batch at a time. Nothing is read whole.

A source gives its rows in order; their numbers count from 1 and are given by whoever reads them. A row that is
malformed in itself (a record that is no CSV, a line that is no JSON) is given as a `BadRow`, so that it costs its own
number only.
"""

import asyncio
import codecs
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import orjson
from attrs import frozen

from mjbulk._chunking import MAX_RECORD, CsvRecords, Record
from mjbulk._rows import Block, Given, given
from mjbulk._values import RowFault
from mjbulk.errors import SourceError, UsageError
from mjbulk.models import Row

Path_ = str | os.PathLike[str]
_BLOCK = 256 * 1024
_BATCH = 500


@frozen
class BadRow:
    """A row that cannot even be taken apart."""

    given: Given | None
    fault: RowFault

    def __len__(self) -> int:
        return 1


Batch = Sequence[Block | BadRow]


class Source:
    """Rows that can be read, once or again. Made by `csv_source`, `jsonl_source`, or from what an import is given."""

    def __init__(
        self,
        batches: Callable[[], AsyncGenerator[Batch, None]],
        *,
        text: bool = False,
        again: bool = False,
        what: str = "",
        place: Mapping[str, str] | None = None,
    ) -> None:
        """``text`` says that all values are text, ``again`` that it can be read more than once, ``place`` where its
        file is: `reopen` makes the same source of it, in another process too.
        """
        self.place = place
        self._batches = batches
        self.text = text
        self.again = again
        self.what = what
        self._read = False

    def __repr__(self) -> str:
        return f"Source({self.what})"

    def batches(self) -> AsyncGenerator[Batch, None]:
        """Give the rows. Raises UsageError where they were read before and cannot be read again."""
        if self._read and not self.again:
            raise UsageError("this source was read before and can be read only once")
        self._read = True
        return self._batches()


class SupportsArrow(Protocol):
    """Whatever speaks the Arrow C stream interface: tables of pandas, polars, pyarrow, DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


Addresses = Path_ | Source | SupportsArrow | Iterable[Row] | AsyncIterable[Row] | Iterable[str] | AsyncIterable[str]
Rows = Path_ | Source | SupportsArrow | Iterable[Row] | AsyncIterable[Row]


def csv_source(
    file: Path_ | BinaryIO | AsyncIterable[bytes], *, encoding: str = "utf-8", delimiter: str = ","
) -> Source:
    """Read contacts from CSV: a path, a file opened for bytes, or bytes that come in pieces (``request.stream()``).

    The first record names the columns. ``encoding`` is never guessed: UTF-8 (with or without a BOM) unless it is said.
    Raises UsageError for an encoding or a delimiter that cannot be.
    """
    try:
        codec = codecs.lookup(encoding)
    except LookupError:
        raise UsageError(f"there is no encoding {encoding!r}") from None
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UsageError("delimiter= is one character, and no quote or line end")
    name = "utf-8-sig" if codec.name == "utf-8" else codec.name
    blocks, again = _blocks_of(file)
    return Source(
        lambda: _csv_batches(blocks(), name, delimiter),
        text=True,
        again=again,
        what="csv",
        place=_place("csv", file, encoding=encoding, delimiter=delimiter) if again else None,
    )


def jsonl_source(file: Path_ | BinaryIO | AsyncIterable[bytes]) -> Source:
    """Read contacts from JSON Lines: one object a line, in UTF-8."""
    blocks, again = _blocks_of(file)
    return Source(
        lambda: _jsonl_batches(blocks()), again=again, what="jsonl", place=_place("jsonl", file) if again else None
    )


def _place(kind: str, file: Any, **how: str) -> Mapping[str, str]:
    return {"kind": kind, "path": str(Path(file).absolute()), **how}


def reopen(place: Mapping[str, str]) -> Source:
    """Make the source again of which this is the ``place``. Its file is looked for when it is read."""
    how = dict(place)
    open_ = _KINDS[how.pop("kind")]
    return open_(Path(how.pop("path")), **how)


_KINDS: Mapping[str, Callable[..., Source]] = {"csv": csv_source, "jsonl": jsonl_source}


def source_of(rows: Any) -> Source:
    """Make a source of whatever an import is given.

    Raises UsageError for what can be none.
    """
    if isinstance(rows, Source):
        return rows
    if isinstance(rows, str | os.PathLike):
        return _file_source(Path(rows))
    if isinstance(rows, AsyncIterable):
        return Source(lambda: _async_batches(rows), what="async iterable")
    if isinstance(rows, Iterable) and not isinstance(rows, bytes | bytearray | dict):
        again = iter(rows) is not rows
        return Source(lambda: _iterable_batches(rows, _blocks), again=again, what="iterable")
    raise UsageError(f"a {type(rows).__name__} is no source of rows: give a path, a source, or an iterable of rows")


def _file_source(path: Path) -> Source:
    suffix = path.suffix.casefold()
    if suffix == ".csv":
        return csv_source(path)
    if suffix in (".jsonl", ".ndjson"):
        return jsonl_source(path)
    raise UsageError(f"a file named *{suffix or path.name} is not known: use csv_source() or jsonl_source()")


# Bytes

_Blocks = AsyncGenerator[bytes, None]


def _blocks_of(file: Path_ | BinaryIO | AsyncIterable[bytes]) -> tuple[Callable[[], _Blocks], bool]:
    """Give a way to read the bytes piece by piece, and whether they can be read again."""
    if isinstance(file, str | os.PathLike):
        path = Path(file)
        return lambda: _path_blocks(path), path.is_file()
    if isinstance(file, AsyncIterable):
        return lambda: _stream_blocks(file), False
    if hasattr(file, "read"):
        return lambda: _file_blocks(file), False
    raise UsageError(f"a {type(file).__name__} is no file: give a path, a file opened for bytes, or async bytes")


async def _path_blocks(path: Path) -> _Blocks:
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except OSError as why:
        raise UsageError(f"the file cannot be opened: {why.strerror}") from None
    try:
        async for block in _file_blocks(file):
            yield block
    finally:
        file.close()


async def _file_blocks(file: BinaryIO) -> _Blocks:
    while block := await asyncio.to_thread(file.read, _BLOCK):
        if not isinstance(block, bytes):
            raise UsageError("the file is opened for text: open it for bytes ('rb')")
        yield block


async def _stream_blocks(stream: AsyncIterable[bytes]) -> _Blocks:
    async for block in stream:
        for start in range(0, len(block), _BLOCK):
            yield bytes(block[start : start + _BLOCK])


# CSV


async def _csv_batches(blocks: _Blocks, encoding: str, delimiter: str) -> AsyncGenerator[Batch, None]:
    decode = codecs.getincrementaldecoder(encoding)().decode
    records = CsvRecords(delimiter)
    names: tuple[str, ...] | None = None
    rows = 0
    async for block, last in _with_last(blocks):
        try:
            found = records.feed(decode(block, last), last=last)
        except UnicodeError:
            raise SourceError(f"this is not {encoding}: say encoding=", row=rows + 1) from None
        if names is None and found:
            names = _header(found.pop(0))
        for start in range(0, len(found), _BATCH):
            yield _csv_blocks(found[start : start + _BATCH], names or (), verbatim=delimiter == ",")
        rows += len(found)
        if records.waiting > MAX_RECORD:
            raise SourceError("a line has no end", row=rows + 1)
    if names is None:
        raise UsageError("the file is empty: its first record has to name the columns")


def _header(record: Record) -> tuple[str, ...]:
    if record.fields is None:
        raise UsageError(f"the first record cannot be read: {record.fault}")
    return tuple(name.strip() for name in record.fields)


def _csv_blocks(records: Sequence[Record], names: tuple[str, ...], *, verbatim: bool) -> Batch:
    """Group records; those that are malformed, shorter or longer than the header stand alone."""
    batch: list[Block | BadRow] = []
    for size, group in groupby(records, key=lambda record: record.fields is not None and len(record.fields)):
        some = list(group)
        if size == len(names):
            batch.append(Block(names, [r.fields or () for r in some], [r.raw for r in some] if verbatim else None))
        else:
            batch.extend(_bad_record(record, names) for record in some)
    return batch


def _bad_record(record: Record, names: tuple[str, ...]) -> BadRow:
    if record.fields is None:
        return BadRow(None, RowFault(None, record.fault))
    message = f"the row has {len(record.fields)} fields, the header has {len(names)}"
    return BadRow(Given(names, record.fields), RowFault(None, message))


async def _with_last(blocks: _Blocks) -> AsyncGenerator[tuple[bytes, bool], None]:
    async for block in blocks:
        yield block, False
    yield b"", True


# JSON Lines


async def _jsonl_batches(blocks: _Blocks) -> AsyncGenerator[Batch, None]:
    rest = b""
    rows = 0
    async for block, last in _with_last(blocks):
        *lines, rest = (rest + block).split(b"\n")
        if last and rest:
            lines.append(rest)
        if len(rest) > MAX_RECORD:
            raise SourceError("a line has no end", row=rows + 1)
        found = [_json_row(line) for line in lines if line.strip()]
        for start in range(0, len(found), _BATCH):
            yield _blocks(found[start : start + _BATCH])
        rows += len(found)


def _json_row(line: bytes) -> Any:
    try:
        return orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return BadRow(None, RowFault(None, "the line is no JSON"))


def _blocks(rows: Iterable[Any]) -> Batch:
    """Take rows apart, and group those that follow each other and have the same names."""
    batch: list[Block | BadRow] = []
    names: tuple[str, ...] | None = None
    values: list[Sequence[Any]] = []
    for row in rows:
        if type(row) is dict:
            row_names, row_values = tuple(row), tuple(row.values())
        else:
            taken = row if isinstance(row, BadRow) else _take(row)
            if isinstance(taken, BadRow):
                batch.append(taken)
                names = None
                continue
            row_names, row_values = taken.names, tuple(taken.values)
        if row_names != names:
            names, values = row_names, []
            batch.append(Block(names, values))
        values.append(row_values)
    return batch


def _take(row: Any) -> Given | BadRow:
    try:
        return given(row)
    except RowFault as fault:
        return BadRow(None, fault)


# Iterables


async def _iterable_batches(
    rows: Iterable[Any], group: Callable[[Sequence[Any]], Batch]
) -> AsyncGenerator[Batch, None]:
    iterator = iter(rows)
    count = 0
    while True:
        batch, failure = _pull(iterator)
        count += len(batch)
        if batch:
            yield group(batch)
        if failure is not None:
            raise SourceError(f"it raised {type(failure).__name__}", row=count + 1) from failure
        if len(batch) < _BATCH:
            return


def _pull(iterator: Iterator[Any]) -> tuple[list[Any], Exception | None]:
    """Take rows, and keep those that came before a failure."""
    batch: list[Any] = []
    try:
        batch.extend(islice(iterator, _BATCH))
    except Exception as failure:  # noqa: BLE001  # whatever the user's iterator raises halts the run
        return batch, failure
    return batch, None


async def _async_batches(rows: AsyncIterable[Any]) -> AsyncGenerator[Batch, None]:
    batch: list[Any] = []
    count = 0
    iterator = aiter(rows)
    while True:
        try:
            row = await anext(iterator)
        except StopAsyncIteration:
            break
        except Exception as failure:
            if batch:
                yield _blocks(batch)
            raise SourceError(f"it raised {type(failure).__name__}", row=count + 1) from failure
        count += 1
        batch.append(row)
        if len(batch) == _BATCH:
            yield _blocks(batch)
            batch = []
    if batch:
        yield _blocks(batch)


def numbered_source(rows: Iterable[tuple[int, Row]]) -> Source:
    """Make a source of rows that have their numbers already."""

    def group(numbered: Sequence[tuple[int, Row]]) -> Batch:
        return [_numbered(number, _take(row)) for number, row in numbered]

    return Source(lambda: _iterable_batches(rows, group), what="mended rows")


def _numbered(number: int, row: Given | BadRow) -> Block | BadRow:
    return Block(row.names, [row.values], None, number) if isinstance(row, Given) else row
