"""Files of rejected rows: what stands in them beside the rows, and the rows alone, so that a file can be imported once
its rows are corrected.

In CSV, a quote guards a cell that a spreadsheet would take for a formula. No cell that begins like a guarded one is
left without a guard, so taking it off gives what was there before.
"""

import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from mjbulk.discreet import discreet
from mjbulk.errors import UsageError
from mjbulk.rows.block import Block, Given, blocks_of
from mjbulk.rows.codes import Code
from mjbulk.rows.iterables import BadRow, Batch, batch_of
from mjbulk.rows.packed import Pieces, SourceUnreadable
from mjbulk.rows.values import RowFault

REJECTION_COLUMNS = ("row", "email", "field", "message", "match", "origin", "code")
"""What a table has before the columns of a row, and an object beside its ``data``."""
_OF_TABLE = len(REJECTION_COLUMNS)
_MEMBERS = frozenset({*REJECTION_COLUMNS, "candidates", "data"})
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  # full-width forms work as well
_NO_ROWS = (
    "this file of rejected rows has their numbers and reasons, but not the rows: it was written from a journal, which "
    "keeps none; get_report(rows=True) reads them from the source again"
)
_NO_ROW = "the file of rejected rows has a number and a reason here, but not the row: take it from the source"
_FIELDS: Code = "row.fields"
_SIZE = re.compile(r"the row has ([0-9]+) fields")


def guarded(text: str) -> str:
    """Give the text of a cell, so that a spreadsheet does not take it for a formula."""
    return f"'{text}" if text.lstrip(" \"'").startswith(_FORMULA) else text


def unguarded(text: str) -> str:
    """Give the text of a cell as it was before `guarded`."""
    return text[1:] if text.startswith("'") and guarded(text[1:]) == text else text


@discreet
async def own_batches(batches: AsyncGenerator[Batch, None], *, objects: bool = False) -> AsyncGenerator[Batch, None]:
    """Give the rows of a file; of a file of rejected rows what was rejected, without the reasons. ``objects`` says that
    it is no table.

    Raises UsageError if there are reasons and no rows.
    """
    begun, own_of = False, _own_of_object if objects else _own_of_table
    async with aclosing(batches):
        async for batch in batches:
            rows = [own for block in batch for own in own_of(block)]
            if not begun:
                _refuse_reasons(rows)
            begun = begun or any(map(len, rows))
            yield rows


def _refuse_reasons(rows: Batch) -> None:
    """Raise UsageError if the first rows are reasons alone."""
    first = [row for row in rows if len(row)]
    if first and all(isinstance(row, BadRow) and row.fault.message == _NO_ROW for row in first):
        raise UsageError(_NO_ROWS)


# Tables


def _own_of_table(block: Block | BadRow) -> Iterator[Block | BadRow]:
    given = block.given if isinstance(block, BadRow) else block
    if given is None or given.names[:_OF_TABLE] != REJECTION_COLUMNS:
        yield block
    elif isinstance(block, BadRow):
        yield _of_record(block)
    else:
        yield from _of_table(block)


def _of_table(block: Block) -> Iterator[Block | BadRow]:
    names = _own_names(block.names)
    if len(block):
        yield from blocks_of(_own_row(names, row) for row in block.rows)
    else:
        yield Block(names, [()] * len(names), 0)


def _of_record(row: BadRow) -> BadRow:
    """Give a record that has more or fewer fields than the header."""
    given = row.given or Given((), ())
    own = tuple(unguarded(name) for name in given.names[_OF_TABLE:])
    return BadRow(Given(own, _values(given.values)), row.fault, row.number)


def _own_names(names: Sequence[str]) -> tuple[str, ...]:
    """Give the names of the rows' own columns. Those of rows that had more fields than their header are left out.

    Raises UsageError if there are none.
    """
    own = [unguarded(name) for name in names[_OF_TABLE:]]
    if not own:
        raise UsageError(_NO_ROWS)
    more = len(own)
    while more and own[more - 1] == _field(more):
        more -= 1
    return tuple(own[: more or None])


def _field(number: int) -> str:
    """Name a field for which the header has no name."""
    return f"field {number}"


def _values(cells: Sequence[Any]) -> list[Any]:
    return [unguarded(cell) if isinstance(cell, str) else cell for cell in cells[_OF_TABLE:]]


def _own_row(names: tuple[str, ...], cells: Sequence[Any]) -> Given | BadRow:
    """Give a row; one that has still more or fewer fields than its header is bad."""
    own = _values(cells)
    size = max((number for number, cell in enumerate(own, 1) if cell not in (None, "")), default=0)
    if not size:
        return _without_row()
    about = dict(zip(REJECTION_COLUMNS, cells, strict=False))
    if size > len(names):
        more = tuple(map(_field, range(len(names) + 1, size + 1)))
        message = f"the row has {size} fields, the header has {len(names)}"
        return BadRow(Given((*names, *more), own[:size]), RowFault(_FIELDS, None, message))
    if _is_as_it_was(about, size):
        return BadRow(Given(names[:size], own[:size]), RowFault(_FIELDS, None, about["message"]))
    return Given(names, own[: len(names)])


def _is_as_it_was(about: Mapping[str, Any], size: int) -> bool:
    """Say whether a row that had too many or too few fields has as many now: its values may be in the wrong columns."""
    said = _SIZE.match(str(about["message"])) if about["code"] == _FIELDS else None
    return said is not None and int(said[1]) == size


def _without_row() -> BadRow:
    return BadRow(None, RowFault("row.unreadable", None, _NO_ROW))


# Objects


def _own_of_object(block: Block | BadRow) -> Batch:
    if isinstance(block, BadRow) or len(block.names) != len(_MEMBERS) or set(block.names) != _MEMBERS:
        return [block]
    rows = (dict(zip(block.names, values, strict=True)) for values in block.rows)
    return batch_of([_own_object(row) for row in rows])


def _own_object(about: Mapping[str, Any]) -> Any:
    data = about["data"]
    if data is None:
        return _without_row()
    if isinstance(data, dict) and _is_as_it_was(about, len(data)):
        return BadRow(Given(tuple(data), tuple(data.values())), RowFault(_FIELDS, None, str(about["message"])))
    return data


_JSON_HEAD, _JSON_END = b'"rejections":[', b"]}"


def begins_json(line: bytes) -> bool:
    """Say whether a line is the first one of a JSON file of rejected rows."""
    return line.startswith(b"{") and line.rstrip().endswith(_JSON_HEAD)


@discreet
async def lines_of_json(pieces: Pieces) -> Pieces:
    """Give JSON Lines of a JSON file of rejected rows, which has an object a line between its first and its last one.

    Raises SourceUnreadable if the last one is missing.
    """
    rest, line = b"", b""
    async with aclosing(pieces):
        async for piece in pieces:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:  # the last one is looked at in the end
                if not begins_json(line) and line.rstrip() != _JSON_END:
                    yield line.rstrip().removesuffix(b",") + b"\n"
    if (rest or line).rstrip() != _JSON_END:
        raise SourceUnreadable("the file of rejected rows ends early")
