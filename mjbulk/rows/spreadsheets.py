"""Spreadsheets to rows, with python-calamine. Needs the extra ``excel``.

Each cell has the type of its own: measured, fastexcel gives a column one type (a number in a column of texts becomes a
text, a time a moment of the year 1899), takes as long, and more memory. The file is unpacked here once, to count its
bytes: a small one may unpack to any size, and a sheet is read whole.
"""

import io
import zlib
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile, ZipFile, is_zipfile

from mjbulk.discreet import discreet
from mjbulk.errors import UsageError
from mjbulk.rows.amount import Amount
from mjbulk.rows.block import Block
from mjbulk.rows.files import unreadable_after
from mjbulk.rows.iterables import BATCH, Batch
from mjbulk.rows.names import listed
from mjbulk.rows.packed import Pieces
from mjbulk.threads import DaemonThread

MAX_BYTES = 512 * 2**20
"""Bytes that a spreadsheet may have, unpacked: about 1.7 million rows of 6 cells."""
_PIECE = 2**20
_BEGINNING = 8
"""Bytes that tell a text from a spreadsheet: none of these begins with eight letters."""
_EXACT = 2**53
"""From here on not each whole number is a float."""


def check_extra() -> None:
    """Raise UsageError if the extra is not installed. Nothing is loaded."""
    if find_spec("python_calamine") is None:
        raise UsageError("spreadsheets need python-calamine: pip install 'mjbulk[excel]'")


@discreet
async def sheet_batches(
    path: Path | None, pieces: Callable[[], Pieces] | None, sheet: str | int, amount: Amount
) -> AsyncGenerator[Batch, None]:
    """Give the rows of a sheet of the file at ``path``, or of the bytes that ``pieces`` gives, and count them.

    Raises UsageError if it cannot be read.
    """
    thread = DaemonThread("mjbulk spreadsheet")
    try:
        given = await _gathered(pieces()) if pieces is not None else None
        rows = await thread.ask(partial(_open, path, given, sheet, amount))
        names = await thread.ask(_header, rows)
        head = [Block(names, [()] * len(names), 0)]  # so they are checked even if no row follows
        while True:
            try:
                some = await thread.ask(lambda: list(islice(rows, BATCH)))
            except Exception as failure:  # noqa: BLE001  # the library may raise anything
                raise unreadable_after(failure) from None
            amount.reach(some[-1][0] if some else None)
            yield [*head, *([Block.of(names, [row for _, row in some])] if some else [])]
            head = []
            if not some:
                return
    finally:
        thread.end()


@discreet
async def _gathered(pieces: Pieces) -> io.BytesIO:
    found = io.BytesIO()
    async with aclosing(pieces):
        async for piece in pieces:
            found.write(piece)
            if found.tell() > MAX_BYTES:
                raise _too_large()
    return found


_Rows = Iterator[tuple[int, Sequence[Any]]]
"""Rows of a sheet, each with its number in it."""


def _open(path: Path | None, given: io.BytesIO | None, sheet: str | int, amount: Amount) -> _Rows:
    """Give the rows of a sheet that have a value."""
    from python_calamine import CalamineError, CalamineWorkbook  # noqa: PLC0415  # in the thread that reads

    try:
        file: BinaryIO = given if path is None and given is not None else path.open("rb")  # type: ignore[union-attr]
    except OSError as why:
        raise UsageError(f"the file cannot be opened: {why.strerror}") from None
    with file:
        _check_size(file)
        try:
            book = CalamineWorkbook.from_filelike(file)
            found = _sheet(book, sheet)
        except (CalamineError, OSError, ValueError) as why:
            raise UsageError(_what_is_no_spreadsheet(file, path, why)) from why
    amount.begin(found.end[0] + 1 if found.end else None)
    numbered = enumerate(found.iter_rows(), 1)
    return ((number, list(map(_value, row))) for number, row in numbered if any(value != "" for value in row))


def _what_is_no_spreadsheet(file: BinaryIO, path: Path | None, why: Exception) -> str:
    """Say what a file is that cannot be read: a table that is saved as text or as HTML may be named .xls."""
    file.seek(0)
    head = file.read(_BEGINNING)
    if not head:
        return f"the file is empty{': was it read before?' if path is None else ''}"
    if head.isascii() and "".join(head.decode().split()).isprintable():
        return "the file is a text, and no spreadsheet, whatever its name says: if it is CSV, read it with csv_source()"
    return f"the file is no spreadsheet, or is damaged ({type(why).__name__})"


def _sheet(book: Any, sheet: str | int) -> Any:
    names = book.sheet_names
    if isinstance(sheet, str):
        if sheet in names:
            return book.get_sheet_by_name(sheet)
    elif 0 <= sheet < len(names):
        return book.get_sheet_by_index(sheet)
    raise UsageError(f"there is no sheet {sheet!r}: it has {listed(names)}")


def _check_size(file: BinaryIO) -> None:
    """Raise UsageError if a file has more than `MAX_BYTES`, unpacked. What it says of its own size does not count."""
    left = MAX_BYTES - file.seek(0, io.SEEK_END)
    file.seek(0)
    if left >= 0 and is_zipfile(file):
        left = MAX_BYTES
        try:
            with ZipFile(file) as packed:
                for member in packed.infolist():
                    member.file_size, member.CRC = MAX_BYTES + 1, None  # type: ignore[assignment]  # read to its end
                    with packed.open(member) as data:
                        while left >= 0 and (piece := data.read(_PIECE)):
                            left -= len(piece)
        except (BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as why:
            raise UsageError(f"the file is no spreadsheet, or is damaged ({type(why).__name__})") from why
    if left < 0:
        raise _too_large()
    file.seek(0)


def _too_large() -> UsageError:
    return UsageError(
        f"the spreadsheet is larger than {MAX_BYTES // 2**20} MiB, unpacked: save the sheet as CSV, and give that"
    )


def _header(rows: _Rows) -> tuple[str, ...]:
    """Give the names of the columns, which the first row has. Raises UsageError if there is none."""
    first = next(rows, None)
    if first is None:
        raise UsageError("the sheet is empty: its first row has to name the columns")
    return tuple("" if value is None else str(value) for value in first[1])


def _value(value: Any) -> Any:
    """Give a value as it is meant: an empty cell has none, and a spreadsheet has no whole numbers but these."""
    if value == "":
        return None
    if type(value) is float and -_EXACT < value < _EXACT and value.is_integer():
        return int(value)
    return value
