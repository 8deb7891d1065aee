"""Bytes of paths, open files and streams, a piece at a time: gzip is unpacked, text is decoded.

A failure while they are read becomes `SourceUnreadable`; the caller, which counts the rows, adds the row number.
"""

import asyncio
import codecs
import os
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any, BinaryIO

from mjbulk.errors import UsageError
from mjbulk.rows.open_file import OpenFile
from mjbulk.threads import DaemonThread

Path_ = str | os.PathLike[str]
File = Path_ | BinaryIO | AsyncIterable[bytes]
Pieces = AsyncGenerator[bytes, None]
_PIECE_BYTES = 64 * 1024
_THREAD = "mjbulk file"
_GZIP = b"\x1f\x8b"
_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks; no text in UTF-8 begins with one of them."""


class SourceUnreadable(Exception):  # a signal to the reader of the rows, not an error of the program
    """A source cannot be read to its end. ``cause`` is what was raised, if anything was."""

    def __init__(self, problem: str, cause: BaseException | None = None) -> None:
        super().__init__()
        self.problem = problem
        self.cause = cause


Failures = (Exception, asyncio.CancelledError)
"""What a user's source may raise; CancelledError where something within it was cancelled."""


def unreadable_after(failure: Exception | asyncio.CancelledError) -> SourceUnreadable:
    """Give the signal for what a user's source has raised. Raise the failure itself if it cancels the task that
    reads, and not something within the source.
    """
    reader = asyncio.current_task()
    if isinstance(failure, asyncio.CancelledError) and reader is not None and reader.cancelling():
        raise failure
    return SourceUnreadable(f"it raised {type(failure).__name__}", failure)


def pieces_of(file: File) -> Callable[[], Pieces]:
    """Give a function that reads the bytes of a file, piece by piece. Raises UsageError for what is no file.

    Bytes that begin like gzip are unpacked: neither CSV nor JSON begins with these two bytes in any encoding. A file
    whose name ends in ``.gz`` must begin with them.
    """
    if isinstance(file, str | os.PathLike):
        path = Path(file)
        return lambda: _unpacked(_pieces_of_path(path), required=path.suffix.casefold() == ".gz")
    if isinstance(file, AsyncIterable):
        return lambda: _unpacked(_pieces_of_stream(file))
    if hasattr(file, "read"):
        return lambda: _unpacked(_pieces_of_file(file))
    raise UsageError(f"a {type(file).__name__} is no file: give a path, a file opened for bytes, or async bytes")


async def _pieces_of_path(path: Path) -> Pieces:
    thread, opened = DaemonThread(_THREAD), ExitStack()
    try:
        try:  # unbuffered: bytes of a pipe come at once
            file = await thread.ask(lambda: opened.enter_context(path.open("rb", buffering=0)))
        except OSError as why:
            raise UsageError(f"the file cannot be opened: {why.strerror}") from None
        async with aclosing(_pieces(file, thread)) as pieces:
            async for piece in pieces:
                yield piece
    finally:
        thread.end(opened.close)


async def _pieces_of_file(file: Any) -> Pieces:
    thread = DaemonThread(_THREAD)
    try:
        async with aclosing(_pieces(file, thread)) as pieces:
            async for piece in pieces:
                yield piece
    finally:
        thread.end()


async def _pieces(file: Any, thread: DaemonThread) -> Pieces:
    reader = OpenFile(file, lambda: thread.ended)
    while True:
        try:
            piece = await thread.ask(reader.read, _PIECE_BYTES)
        except Failures as why:
            raise unreadable_after(why) from None
        if not isinstance(piece, bytes):
            raise UsageError("the file does not give bytes: open it with 'rb', and so that reading it waits")
        if not piece:
            return
        yield piece


async def _pieces_of_stream(stream: AsyncIterable[Any]) -> Pieces:
    pieces = aiter(stream)
    while True:
        try:
            piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except Failures as why:
            raise unreadable_after(why) from None
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise UsageError(f"the stream gives {type(piece).__name__}, not bytes")
        for start in range(0, len(piece), _PIECE_BYTES):
            yield bytes(piece[start : start + _PIECE_BYTES])


# gzip


async def _unpacked(packed: Pieces, *, required: bool = False) -> Pieces:
    """Unpack gzip, and pass on anything else. Raises UsageError if gzip is ``required`` and it is none."""
    async with aclosing(packed):
        head = b""
        async for piece in packed:
            head += piece
            if len(head) >= len(_GZIP):
                break
        is_gzip = head.startswith(_GZIP)
        if required and not is_gzip:
            raise UsageError("the file's name ends in .gz, and it is no gzip")
        gzip = _Gzip()
        for part in gzip.feed(head) if is_gzip else [head]:
            yield part
        async for piece in packed:
            for part in gzip.feed(piece) if is_gzip else [piece]:
                yield part
        gzip.end()


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
                part = self._member.decompress(data, _PIECE_BYTES)
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


# Text


async def with_last(pieces: Pieces) -> AsyncGenerator[tuple[bytes, bool], None]:
    """Give each piece with False, and after them an empty one with True: it is the last."""
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece, False
    yield b"", True


async def texts_of(pieces: Pieces, encoding: str) -> AsyncGenerator[tuple[str, bool], None]:
    """Decode pieces up to the first byte that cannot be decoded. Gives each text, and whether it is the last."""
    decoder = codecs.getincrementaldecoder(encoding)()
    begun = False
    async with aclosing(with_last(pieces)) as marked:
        async for piece, last in marked:
            state = decoder.getstate()
            text = _decoded(decoder, piece, last=last)
            if text is None:
                if not begun:
                    refuse_bom(piece, "say encoding={!r}")
                decoder.setstate(state)
                yield _up_to_fault(decoder, piece), False
                raise SourceUnreadable(f"this is not {encoding.removesuffix('-sig')}: say encoding=")
            begun = begun or bool(piece)
            yield text, last


def _decoded(decoder: codecs.IncrementalDecoder, piece: bytes, *, last: bool = False) -> str | None:
    try:
        return decoder.decode(piece, last)
    except UnicodeError:
        return None


def _up_to_fault(decoder: codecs.IncrementalDecoder, piece: bytes) -> str:
    """Decode what comes before the first byte that cannot be decoded. Bisection finds that byte in any encoding."""
    good, bad = 0, len(piece) + 1
    state = decoder.getstate()
    text = ""
    while bad - good > 1:
        middle = (good + bad) // 2
        decoder.setstate(state)
        found = _decoded(decoder, piece[:middle])
        good, bad, text = (good, middle, text) if found is None else (middle, bad, found)
    return text


def refuse_bom(beginning: bytes, advice: str) -> None:
    """Raise UsageError if bytes begin like UTF-16 or UTF-32. The name replaces ``{}`` in ``advice``."""
    for mark, name in _BOMS.items():
        if beginning.startswith(mark):
            raise UsageError(f"it begins with the byte order mark of {name.upper()}: {advice.format(name)}")
