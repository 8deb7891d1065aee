"""Text files to batches of rows: CSV and JSON Lines.

A malformed record or line becomes a `BadRow`: it costs its own number, and reading goes on behind it.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import groupby
from typing import Any

import orjson

from mjbulk.errors import UsageError
from mjbulk.rows.block import Block, Given
from mjbulk.rows.csv_text import MAX_RECORD, CsvRecords, Records
from mjbulk.rows.files import Pieces, SourceUnreadable, refuse_bom, texts_of, with_last
from mjbulk.rows.iterables import BATCH, BadRow, Batch, batch_of
from mjbulk.rows.values import RowFault

# CSV


async def csv_batches(pieces: Pieces, encoding: str, delimiter: str) -> AsyncGenerator[Batch, None]:
    """Give the rows of CSV. The first record names the columns; the first block has these names and no row.

    Raises UsageError if the first record is missing or cannot be read, SourceUnreadable if the text ends early.
    """
    records = CsvRecords(delimiter)
    names: tuple[str, ...] | None = None
    async with aclosing(texts_of(pieces, encoding)) as texts:
        async for text, last in texts:
            found = records.feed(text, last=last)
            first = 0
            if names is None and len(found):
                names, first = _header(found), 1
                yield [Block(names, [()] * len(names), 0)]  # so they are checked even if no row follows
            yield _csv_blocks(found, first, names or (), verbatim=delimiter == ",")
            if records.unfinished > MAX_RECORD:
                raise SourceUnreadable("a line has no end")
    if names is None:
        raise UsageError("the file is empty: its first record has to name the columns")


def _header(records: Records) -> tuple[str, ...]:
    """Give the names of the columns, which the first record has."""
    if 0 in records.faults:
        raise UsageError(f"the first record cannot be read: {records.faults[0]}")
    if "\0" in records.raws[0]:
        raise UsageError("the first record has NULs in it, as text in UTF-16 has: say encoding=")
    return tuple(name.strip() for name in records.rows[0])


def _csv_blocks(records: Records, first: int, names: tuple[str, ...], *, verbatim: bool) -> Batch:
    """Group the records from ``first`` on. Each one that is malformed, or shorter or longer than the header, is a
    `BadRow`.
    """
    batch: list[Block | BadRow] = []
    for size, group in groupby(map(len, records.rows[first:])):
        end = first + len(list(group))
        if size == len(names):
            raws = records.raws[first:end] if verbatim else None
            batch.append(Block.of(names, records.rows[first:end], raws))
        else:
            batch.extend(_bad_record(records, index, names) for index in range(first, end))
        first = end
    return batch


def _bad_record(records: Records, index: int, names: tuple[str, ...]) -> BadRow:
    if index in records.faults:
        return BadRow(None, RowFault(None, records.faults[index]))
    cells = records.rows[index]
    message = f"the row has {len(cells)} fields, the header has {len(names)}"
    more = tuple(f"field {number}" for number in range(len(names) + 1, len(cells) + 1))
    return BadRow(Given((*names, *more), cells), RowFault(None, message))


# JSON Lines


async def jsonl_batches(pieces: Pieces) -> AsyncGenerator[Batch, None]:
    """Give the rows of JSON Lines; blank lines are none.

    Raises UsageError if it begins like UTF-16 or UTF-32, SourceUnreadable if the bytes end early.
    """
    rest: bytes | None = None
    async with aclosing(with_last(pieces)) as marked:
        async for piece, last in marked:
            if rest is None:
                refuse_bom(piece, "JSON Lines are UTF-8")
            *lines, rest = ((rest or b"") + piece).split(b"\n")
            if last:
                lines.append(rest)
            found = [_json_row(line) for line in lines if line.strip()]
            for start in range(0, len(found), BATCH):
                yield batch_of(found[start : start + BATCH])
            if len(rest) > MAX_RECORD:
                raise SourceUnreadable("a line has no end")


def _json_row(line: bytes) -> Any:
    try:
        return orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return BadRow(None, RowFault(None, "the line is no JSON"))
