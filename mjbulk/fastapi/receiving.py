"""An upload: pieces of a body become a file, counted, unpacked, with a digest.

Nothing of it is in memory but a few pieces. The blocking part of the work is done in threads.
"""

import asyncio
import os
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path
from typing import Any

from attrs import frozen
from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from mjbulk.fastapi.problems import Problem
from mjbulk.rows.sources import kind_of

_AT_ONCE = 256 * 1024
"""Bytes that are handed to a thread together."""
_UNPACKED_AT_ONCE = 1024 * 1024
_SILENCE = 120.0
"""Seconds without a byte after which an upload is cut."""
_HEADERS = 16 * 1024
"""Bytes of the headers of a part."""
_NAME = 200
_KINDS = {
    "text/csv": "csv",
    "application/csv": "csv",
    "application/x-ndjson": "jsonl",
    "application/ndjson": "jsonl",
    "application/jsonl": "jsonl",
    "application/x-jsonlines": "jsonl",
    "application/vnd.ms-excel": "excel",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "excel",
    "application/vnd.oasis.opendocument.spreadsheet": "excel",
    "application/vnd.ms-excel.sheet.macroenabled.12": "excel",
    "application/vnd.ms-excel.sheet.binary.macroenabled.12": "excel",
}
_ANY = ("", "application/octet-stream", "application/gzip", "application/x-gzip", "text/plain")
"""Types that do not say what a file is: its first bytes do."""
_GZIP = b"\x1f\x8b"
_SHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_ENDINGS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")


@frozen(kw_only=True)
class Upload:
    """A file that was received."""

    name: str | None
    digest: str
    kind: str
    file: str


class _TooLarge(Exception):  # it is a signal
    """More bytes came than are taken."""


class _Sink:
    """Writes the bytes of a file. Mutable state: the open file, its digest and its size."""

    def __init__(self, folder: Path, most: int) -> None:
        self.name: str | None = None
        self.type = ""
        self.files = 0
        self._folder = folder
        self._most = most
        self._digest = sha256()
        self._head = b""
        self._gzip: Any = None
        self._begun = False
        self._size = 0
        self._came = 0
        self._file = os.open(folder / "upload", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)

    def feed(self, data: bytes) -> None:
        """Take some bytes of the file. Raises _TooLarge, and zlib.error for what cannot be unpacked."""
        self._digest.update(data)
        if not self._begun:
            data = self._head + data
            if len(data) < len(_GZIP):
                self._head = data
                return
            self._begin(data)
        if self._gzip is None:
            self._write(data)
        else:
            self._unpack(data)

    def _begin(self, data: bytes) -> None:
        self._begun, self._head = True, b""
        if data.startswith(_GZIP):
            self._gzip = zlib.decompressobj(wbits=31)

    def _unpack(self, data: bytes) -> None:
        while data:
            if self._gzip.eof:
                data = data.lstrip(b"\0")  # some programs fill up a file
                if not data:
                    return
                self._gzip = zlib.decompressobj(wbits=31)
            piece = self._gzip.decompress(data, _UNPACKED_AT_ONCE)
            self._write(piece)
            data = self._gzip.unconsumed_tail or self._gzip.unused_data
            while not data and len(piece) == _UNPACKED_AT_ONCE:  # there may be more within
                piece = self._gzip.decompress(b"", _UNPACKED_AT_ONCE)
                self._write(piece)

    def _write(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._most:
            raise _TooLarge
        while data:
            data = data[os.write(self._file, data) :]

    def count(self, data: bytes) -> None:
        """Count bytes of the body, whatever they are."""
        self._came += len(data)
        if self._came > self.room:
            raise _TooLarge

    @property
    def room(self) -> int:
        """How many bytes a body may have: a form has some around the file."""
        return self._most + _HEADERS

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def finish(self) -> Upload:
        """Give the file under its own name. Raises Problem if it was cut off, or if it is of no type that is known."""
        if not self._begun:
            head = self._head
            self._begin(head)
            self._write(head)
        if self._gzip is not None and not self._gzip.eof:
            raise Problem(422, "source.unreadable", "the file is gzip, and is cut off; nothing was sent")
        kind = self._kind()
        endings = [end for end in _ENDINGS if (self.name or "").casefold().endswith(end)]
        file = f"upload{(endings or ['.xlsx'])[0]}" if kind == "excel" else f"upload.{kind}"
        (self._folder / "upload").rename(self._folder / file)
        return Upload(name=self.name, digest=self._digest.hexdigest(), kind=kind, file=file)

    def _kind(self) -> str:
        named = kind_of(Path(self.name)) if self.name else None
        if named in ("csv", "jsonl", "excel"):
            return named
        if self.type in _KINDS:
            return _KINDS[self.type]
        if self.type not in _ANY:
            raise Problem(415, "upload.type", f"{self.type[:80]!r} is no type of CSV, JSON Lines or a spreadsheet")
        os.lseek(self._file, 0, os.SEEK_SET)
        head = os.read(self._file, 16)
        return "excel" if head.startswith(_SHEETS) else "jsonl" if head.lstrip().startswith(b"{") else "csv"


class _Form:
    """Finds the file of a multipart body. Mutable state: the parser, and the headers of the part that goes on."""

    def __init__(self, boundary: bytes, sink: _Sink) -> None:
        self._sink = sink
        self._field = self._value = b""
        self._headers: dict[str, bytes] = {}
        self._size = 0
        self._takes = False
        self.ended = False
        hear: dict[str, Callable[..., None]] = {
            "on_part_begin": self._begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_end": self._on_end,
        }
        self._parser = MultipartParser(boundary, hear)  # type: ignore[arg-type]  # a TypedDict of functions

    def feed(self, data: bytes) -> None:
        """Take some bytes of the body."""
        try:
            self._parser.write(data)
        except FormParserError as why:
            raise _malformed() from why

    def finish(self) -> None:
        """Raise Problem if there was no file, or if the body has no end."""
        if not self.ended:
            raise _malformed()
        if not self._sink.files:
            raise Problem(422, "upload.file", "the form has no part named 'file' with a file in it")

    def _begin(self) -> None:
        self._headers, self._field, self._value, self._size, self._takes = {}, b"", b"", 0, False

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += self._bounded(data[start:end])

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._bounded(data[start:end])

    def _bounded(self, some: bytes) -> bytes:
        self._size += len(some)
        if self._size > _HEADERS:
            raise _malformed()
        return some

    def _on_header(self) -> None:
        self._headers[self._field.decode("latin-1").casefold()] = self._value
        self._field = self._value = b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        if options.get(b"name") != b"file":
            return
        self._takes = True
        self._sink.files += 1
        if self._sink.files > 1:
            raise Problem(422, "upload.file", "the form has several files: an upload is one")
        self._sink.name = plain_name(options.get(b"filename", b"").decode("utf-8", "replace"))
        self._sink.type = plain_type(self._headers.get("content-type", b"").decode("latin-1"))

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._takes:
            self._sink.feed(data[start:end])

    def _on_end(self) -> None:
        self.ended = True


def _malformed() -> Problem:
    return Problem(422, "upload.form", "the body is no multipart/form-data, or is cut off")


def plain_name(name: str) -> str | None:
    """Give the name of a file without a path and without what cannot be shown."""
    shown = "".join(letter for letter in name.replace("\\", "/").rpartition("/")[2] if letter.isprintable())
    return shown.strip()[:_NAME] or None


def plain_type(header: str) -> str:
    """Give a content type without its parameters."""
    return header.partition(";")[0].strip().casefold()


async def receive(request: Request, folder: Path, most: int, waits: "Waits") -> Upload:
    """Write the body of a request into a folder. Raises Problem for what is no upload or is too large."""
    sink = _Sink(folder, most)
    try:
        feed, finish = _reader(request.headers, sink)
        try:
            async with aclosing(_batches(request, sink, waits)) as batches:
                async for batch in batches:
                    await asyncio.to_thread(feed, batch)
            finish()
            return await asyncio.to_thread(sink.finish)
        except _TooLarge:
            raise Problem(
                413, "upload.size", f"the upload has more than {most:,} bytes, as it is or unpacked"
            ) from None
        except OSError as why:
            said = why.strerror or type(why).__name__
            raise Problem(503, "upload.disk", f"the upload cannot be kept ({said}); nothing was sent") from None
        except zlib.error:
            raise Problem(422, "source.unreadable", "the file is gzip, and is damaged; nothing was sent") from None
    finally:
        sink.close()


def _reader(headers: Mapping[str, str], sink: _Sink) -> tuple[Callable[[bytes], None], Callable[[], None]]:
    """Give what takes the bytes of a body, and what is called at its end."""
    if headers.get("content-encoding", "identity").strip().casefold() not in ("identity", "gzip", "x-gzip"):
        raise Problem(415, "upload.encoding", "a body is sent as it is, or as gzip")
    kind = plain_type(headers.get("content-type", ""))
    if kind == "multipart/form-data":
        _, options = parse_options_header(headers["content-type"])
        boundary = options.get(b"boundary", b"")
        if not 0 < len(boundary) <= 200:
            raise _malformed()
        form = _Form(boundary, sink)
        return form.feed, form.finish
    sink.type = kind
    _, options = parse_options_header(headers.get("content-disposition", ""))
    sink.name = plain_name(options.get(b"filename", b"").decode("utf-8", "replace"))
    return sink.feed, lambda: None


async def _batches(request: Request, sink: _Sink, waits: "Waits") -> AsyncGenerator[bytes, None]:
    """Give the body in batches. Raises _TooLarge, and Problem if it is cut."""
    if int(request.headers.get("content-length", 0)) > sink.room:
        raise _TooLarge
    pieces: list[bytes] = []
    size = 0
    stream = aiter(request.stream())
    while (piece := await waits.next(stream)) is not None:
        sink.count(piece)
        pieces.append(piece)
        size += len(piece)
        if size >= _AT_ONCE:
            yield b"".join(pieces)
            pieces, size = [], 0
    if pieces:
        yield b"".join(pieces)


class Waits:
    """The waits for pieces of uploads. Mutable state: those under way, and whether all of them were cut."""

    def __init__(self, silence: float = _SILENCE) -> None:
        """Wait for a piece for this many seconds at most."""
        self._silence = silence
        self._limits: set[asyncio.Timeout] = set()
        self._is_cut = False

    async def next(self, stream: AsyncIterator[bytes]) -> bytes | None:
        """Give the next piece, None at the end. Raises Problem if the upload is cut."""
        if self._is_cut:
            raise _leaving()
        try:
            async with asyncio.timeout(self._silence) as limit:
                self._limits.add(limit)
                try:
                    return await anext(stream, None)
                finally:
                    self._limits.discard(limit)
        except TimeoutError:
            raise _leaving() if self._is_cut else Problem(408, "upload.cut", "no byte came for too long") from None
        except ClientDisconnect:
            raise Problem(400, "upload.cut", "the upload was cut off; nothing was sent") from None

    def cut(self) -> None:
        """Cut all uploads under way: this worker ends."""
        self._is_cut = True
        for limit in self._limits:
            limit.reschedule(asyncio.get_running_loop().time())


def _leaving() -> Problem:
    return Problem(503, "worker.ends", "this worker ends: upload the file again", headers={"Retry-After": "1"})
