"""Files that are packed: gzip is unpacked, and what is no text is refused by what it is, known by its first bytes."""

import zlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from mjbulk.discreet import discreet
from mjbulk.errors import UsageError

Pieces = AsyncGenerator[bytes, None]
PIECE_BYTES = 128 * 1024
_GZIP = b"\x1f\x8b"
_SHEETS = "excel_source() reads spreadsheets"
_ARCHIVES = f"{_SHEETS}; of another archive open the member, as zipfile's open() does, and give that file"
_OTHERS = {
    b"PK\x03\x04": f"a zip archive, as .xlsx files are: {_ARCHIVES}",
    b"PK\x05\x06": "an empty zip archive",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": f"a file of an older Office, as .xls files are: {_SHEETS}",
    b"BZh": "packed with bzip2: open it with Python's bz2.open(), and give that file",
    b"\xfd7zXZ\0": "packed with xz: open it with Python's lzma.open(), and give that file",
    b"\x28\xb5\x2f\xfd": "packed with zstandard: unpack it first",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it first",
    b"Rar!\x1a\x07": "a RAR archive: unpack it first",
    b"PAR1": "a Parquet file: give its path, with the ending .parquet",
    b"ARROW1": "an Arrow file: open it with pyarrow.ipc, and give the reader",
    b"SQLite format 3\0": "a SQLite database: give the rows of a query",
    b"%PDF-": "a PDF",
}
"""Beginnings of files that neither CSV nor JSON Lines have, and what such a file is."""
_HEAD = max(map(len, _OTHERS))


class SourceUnreadable(Exception):  # a signal to the reader of the rows, not an error of the program
    """A source cannot be read to its end. ``cause`` is what was raised, if anything was."""

    def __init__(self, problem: str, cause: BaseException | None = None) -> None:
        super().__init__()
        self.problem = problem
        self.cause = cause


@discreet
async def unpacked(packed: Pieces, *, required: bool = False) -> Pieces:
    """Unpack gzip, and pass on text. Raises UsageError for other kinds of files, and if gzip is ``required`` and it is
    another.
    """
    async with aclosing(packed):
        head = b""
        async for piece in packed:
            head += piece
            if not _may_be_more(head):
                break
        is_gzip = head.startswith(_GZIP)
        if required and not is_gzip:
            raise UsageError("the file's name ends in .gz, and it is no gzip")
        gzip = _Gzip()
        for part in gzip.feed(head) if is_gzip else [_text(head)]:
            yield part
        async for piece in packed:
            for part in gzip.feed(piece) if is_gzip else [piece]:
                yield part
        gzip.end()


def _may_be_more(head: bytes) -> bool:
    """Say whether more bytes are needed to know what this is: no text has to wait for more of them than it has."""
    return len(head) < _HEAD and any(mark.startswith(head) for mark in (_GZIP, *_OTHERS))


def _text(head: bytes) -> bytes:
    what = kind_of_bytes(head)
    if what is not None:
        raise UsageError(f"the file is {what}")
    return head


def kind_of_bytes(head: bytes) -> str | None:
    """Say what a file with these first bytes is, if it is neither text nor gzip."""
    return next((what for mark, what in _OTHERS.items() if head.startswith(mark)), None)


class _Gzip:
    """Unpacks gzip, one member after the other. Its pieces are of bounded size, however well the bytes were packed.

    Mutable state: the member that has not ended.
    """

    def __init__(self) -> None:
        self._member: Any = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member is None:
                data = data.lstrip(b"\0")  # members may be padded
                if not data:
                    return
                self._member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            try:
                part = self._member.decompress(data, PIECE_BYTES)
            except zlib.error:
                raise SourceUnreadable("its gzip is damaged") from None
            if part:
                yield part
            if self._member.eof:
                data, self._member = self._member.unused_data, None
            else:
                data = self._member.unconsumed_tail

    def end(self) -> None:
        if self._member is not None:
            raise SourceUnreadable("its gzip is cut off")
