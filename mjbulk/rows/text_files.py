"""Text files to batches of rows: CSV and JSON Lines.

A malformed record or line becomes a `BadRow`: it costs its own number, and reading goes on behind it.
"""

import json
import logging
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from itertools import groupby
from typing import Any

import orjson

from mjbulk.discreet import discreet
from mjbulk.errors import UsageError
from mjbulk.rows.block import Block, Given
from mjbulk.rows.csv_form import CsvCleaner, CsvForm
from mjbulk.rows.csv_text import MAX_RECORD, CsvRecords, Records, encode_record
from mjbulk.rows.decoding import refuse_bom, texts_of, with_last
from mjbulk.rows.findings import Findings
from mjbulk.rows.iterables import BATCH, BadRow, Batch, batch_of
from mjbulk.rows.other_texts import JSON_ARRAY, refuse_other_text
from mjbulk.rows.packed import Pieces, SourceUnreadable
from mjbulk.rows.values import RowFault

# CSV


@discreet
async def csv_batches(pieces: Pieces, encoding: str, form: CsvForm, findings: Findings) -> AsyncGenerator[Batch, None]:
    """Give the rows of CSV, and note what may surprise. The first record names the columns; the first block has these
    names and no row.

    Raises UsageError if the first record is missing or cannot be read, SourceUnreadable if the text ends early.
    """
    cleaner = CsvCleaner(form)
    records: CsvRecords | None = None
    names: tuple[str, ...] | None = None
    head: Batch = []
    row = 1
    async with aclosing(texts_of(pieces, encoding)) as texts:
        async for text, last in texts:
            text = cleaner.clean(text, last=last)  # noqa: PLW2901  # only the clean text is read
            if not cleaner.begun:
                continue
            if records is None:
                records = CsvRecords(cleaner.delimiter, 1 + cleaner.skipped)
                refuse_other_text(text)
            found = cleaner.finish(records.feed(text, last=last))
            first = 0
            if names is None and len(found):
                names, first = _header(found, cleaner.delimiter), 1
                head = [Block(names, [()] * len(names), 0)]  # so they are checked even if no row follows
            if len(found) > first or last:  # columns are judged together with the first rows
                if form.null is None and "\\" in text and _NULL in text:
                    _note_nulls(found.rows[first:], row, names or (), findings)
                row += len(found) - first
                yield [*head, *_csv_blocks(found, first, names or (), verbatim=cleaner.delimiter == ",")]
                head = []
            if records.unfinished > MAX_RECORD:
                raise SourceUnreadable("a line has no end")
    if names is None:
        if form.header_row > 1:
            raise UsageError(
                f"the file has no record in line {form.header_row}, where header_row= says the names stand"
            )
        raise UsageError("the file is empty: its first record has to name the columns")


_NULL = "\\N"
_log = logging.getLogger("mjbulk")


def _note_nulls(rows: Sequence[Sequence[str]], row: int, names: Sequence[str], findings: Findings) -> None:
    r"""Note cells that are ``\N``, the null of MySQL and PostgreSQL: without ``null=`` they are sent as texts."""
    for number, cells in enumerate(rows, row):
        for name, cell in zip(names, cells, strict=False):
            if cell == _NULL:
                if not any(finding.code == "file.null" for finding in findings):
                    _log.warning("the source has cells that are %s: null=%r makes nulls of them", _NULL, _NULL)
                why = f"a cell is {_NULL}, and is sent as this text: null={_NULL!r} makes a null of it"
                findings.note("file.null", why, column=name, row=number)


_TAR = "\0ustar"
_AFTER_QUOTE = re.compile(r'"([;\t|,])')


def _header(records: Records, delimiter: str) -> tuple[str, ...]:
    """Give the names of the columns, which the first record has. Raises UsageError if it cannot be read."""
    if 0 in records.faults:
        others = [mark for mark in _AFTER_QUOTE.findall(records.raws[0]) if mark != delimiter]
        helps = f", and {others[0]!r} stands there: say delimiter={others[0]!r}" if others else ""
        raise UsageError(f"the first record cannot be read: {records.faults[0]}{helps}")
    if "\0" in records.raws[0]:
        if _TAR in records.raws[0]:
            raise UsageError("the file is a tar archive: open a member, as tarfile's extractfile() does, and give that")
        raise UsageError("the first record has NULs in it, as text in UTF-16 has: say encoding=")
    return tuple(name.strip() for name in records.rows[0])


def _csv_blocks(records: Records, first: int, names: tuple[str, ...], *, verbatim: bool) -> Batch:
    """Group the records from ``first`` on. Each one that is malformed, or shorter or longer than the header, is a
    `BadRow`; but empty cells without a name may be missing, or stand behind the last one.
    """
    if records.columns is not None and len(records.columns) == len(names) and not first:
        raws = records.raws if verbatim else None
        return [Block(names, records.columns, len(records), raws, lines=records.lines)]
    rows, raws, lines = records.rows, records.raws, records.lines
    if set(map(len, rows[first:])) == {len(names)} and not records.faults:
        return [Block.of(names, rows[first:], raws[first:] if verbatim else None, lines=lines[first:])]
    batch: list[Block | BadRow] = []
    named = max((at for at, name in enumerate(names, 1) if name), default=0)

    def kind(index: int) -> int | str:
        cells = rows[index]
        size = len(cells)
        if size == len(names) or index in records.faults:
            return size
        return "fits" if size >= named and not any(cells[len(names) :]) else size

    for size, group in groupby(range(first, len(records)), kind):
        some = list(group)
        part = slice(some[0], some[-1] + 1)
        if size == len(names):
            batch.append(Block.of(names, rows[part], raws[part] if verbatim else None, lines=lines[part]))
        elif size == "fits":
            fitted = [_fitted(cells, len(names)) for cells in rows[part]]
            written = [encode_record(cells).decode() for cells in fitted] if verbatim else None
            batch.append(Block.of(names, fitted, written, lines=lines[part]))
        else:
            batch.extend(_bad_record(rows[index], records.faults.get(index), names) for index in some)
    return batch


def _fitted(cells: Sequence[str], size: int) -> Sequence[str]:
    return [*cells[:size], *[""] * (size - len(cells))]


def _bad_record(cells: Sequence[str], fault: str | None, names: tuple[str, ...]) -> BadRow:
    if fault is not None:
        return BadRow(None, RowFault("row.unreadable", None, fault))
    message = f"the row has {len(cells)} fields, the header has {len(names)}"
    more = tuple(f"field {number}" for number in range(len(names) + 1, len(cells) + 1))
    return BadRow(Given((*names, *more), cells), RowFault("row.fields", None, message))


# JSON Lines


@discreet
async def jsonl_batches(pieces: Pieces) -> AsyncGenerator[Batch, None]:
    """Give the rows of JSON Lines; blank lines are none.

    Raises UsageError if it begins like UTF-16 or UTF-32, or is JSON over several lines; SourceUnreadable if the bytes
    end early.
    """
    rest: bytes | None = None
    begun = False
    async with aclosing(with_last(pieces)) as marked:
        async for piece, last in marked:
            if rest is None:
                refuse_bom(piece, "JSON Lines are UTF-8")
            text = (rest or b"") + piece
            *lines, rest = text.replace(b"\r", b"\n").split(b"\n")  # within a value, JSON has no line end
            if last:
                lines.append(rest)
            read = _json_with_care if _has_large_number(text) else _json_row
            full = [line for line in lines if line.strip(_NO_JSON)]
            if full and not begun:
                begun = True
                _refuse_json(full[0])
            found = list(map(read, full))
            for start in range(0, len(found), BATCH):
                yield batch_of(found[start : start + BATCH])
            if len(rest) > MAX_RECORD:
                raise SourceUnreadable("a line has no end")


_BOM = b"\xef\xbb\xbf"
_NO_JSON = b" \t\r\n\v\f\0\x1a"  # blanks, and what some systems put at the end of a file
_AS_ZEROS = bytes(ord("0") if chr(byte).isdecimal() else ord(" ") for byte in range(128)) + b" " * 128
_LARGE_NUMBER = b"0" * 20
"""Digits of a number of which orjson makes a float, which is another number."""
_NO_NUMBER = re.compile(rb"[:\[,]\s*(-?Infinity|NaN)\s*[,}\]]")


def _refuse_json(first: bytes) -> None:
    """Raise UsageError if the first line shows that objects are not each on a line of their own."""
    line = first.removeprefix(_BOM).strip(_NO_JSON)
    if line.startswith(b"["):
        raise UsageError(JSON_ARRAY)
    if line == b"{":
        raise UsageError("an object goes over several lines, and JSON Lines are one object a line: jq -c . makes them")
    if not line.startswith(b"{"):
        refuse_other_text(line.decode("utf-8", "replace"), json=True)


def _has_large_number(text: bytes) -> bool:
    """Say whether there are many digits in a row: measured, 20 times as fast as a regular expression."""
    return _LARGE_NUMBER in text.translate(_AS_ZEROS)


def _json_row(line: bytes) -> Any:
    try:
        return orjson.loads(line.removeprefix(_BOM))
    except orjson.JSONDecodeError:
        if line != line.strip(_NO_JSON):
            return _json_row(line.strip(_NO_JSON))
        return BadRow(None, RowFault("row.unreadable", None, _why_no_row(line)))


def _why_no_row(line: bytes) -> str:
    """Say why a line cannot be read. Python's own reader takes halves of characters, too."""
    if number := _NO_NUMBER.search(line):
        return f"the line is no JSON: {number[1].decode()} is none, and null stands for nothing"
    with suppress(ValueError, RecursionError):
        json.loads(line, parse_constant=_no_number)
        return "the line has half of a character (a surrogate) in it"
    return "the line is no JSON"


def _json_with_care(line: bytes) -> Any:
    """Read a line that may have a number of many digits."""
    if _has_large_number(line):
        with suppress(ValueError, RecursionError):  # then it is no JSON for orjson either
            return json.loads(line.strip(_NO_JSON).removeprefix(_BOM), parse_constant=_no_number)
    return _json_row(line)


def _no_number(word: str) -> Any:
    raise ValueError(word)
