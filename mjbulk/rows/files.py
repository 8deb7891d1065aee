"""Bytes of paths, open files and streams, in pieces of about 64 KiB and never by lines.

A failure while they are read becomes `SourceUnreadable`; the caller, which counts the rows, adds the row number.
"""

import asyncio
import io
import os
import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, aclosing
from inspect import isawaitable, iscoroutinefunction, signature
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from zipfile import ZipFile

from mjbulk.discreet import discreet
from mjbulk.errors import UsageError
from mjbulk.public import public
from mjbulk.rows.amount import Amount
from mjbulk.rows.loop_hold import BREATH
from mjbulk.rows.open_file import OpenFile
from mjbulk.rows.packed import PIECE_BYTES, Pieces, SourceUnreadable, unpacked
from mjbulk.threads import DaemonThread


@public
class SupportsAsyncRead(Protocol):
    """A file whose bytes are awaited: an ``UploadFile``, or a file of anyio or aiofiles."""

    def read(self, size: int = -1, /) -> Awaitable[bytes]:
        """Give up to ``size`` bytes, and none at the end."""
        ...


Path_ = str | os.PathLike[str]
File = Path_ | BinaryIO | SupportsAsyncRead | AsyncIterable[bytes] | Iterable[bytes]
_THREAD = "mjbulk file"
_SMALL = 4096
"""Pieces of fewer bytes are joined."""
_LONGEST_PATH = 4096
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_NO_BYTES = "the file does not give bytes: open it with 'rb', and so that reading it waits"
_GIVE = "give a path, a file opened for bytes, or bytes in pieces"
_NO_SIZE = (
    "it gives its bytes only as a whole: give what gives them in pieces, such as response.content of aiohttp, or "
    "response.aiter_bytes() of httpx"
)
Failures = (Exception, asyncio.CancelledError)
"""What a user's source may raise; CancelledError where something within it was cancelled."""


def unreadable_after(failure: BaseException) -> SourceUnreadable:
    """Give the signal for what a user's source has raised. Raise the failure itself if it cancels the task that
    reads, and not something within the source.
    """
    reader = asyncio.current_task()
    if isinstance(failure, asyncio.CancelledError) and reader is not None and reader.cancelling():
        raise failure
    return SourceUnreadable(f"it raised {type(failure).__name__}", failure)


def path_of(file: Path_) -> Path:
    """Give a path. Raises UsageError, without a word of it, for the text of a file, and for a URL."""
    path = os.fsdecode(file)
    if len(path) > _LONGEST_PATH or re.search("[\n\r\0]", path):
        raise UsageError("this is the text of a file and not its path: give io.BytesIO(text.encode()) to csv_source()")
    if _URL.match(path):
        raise UsageError(
            "a URL is not a path: open it, with fsspec or an HTTP client, and give what gives its bytes to csv_source()"
        )
    return Path(path)


def pieces_of(file: File, amount: Amount | None = None) -> Callable[[], Pieces]:
    """Give a function that reads the bytes of a file, piece by piece. Raises UsageError for what is no file. ``amount``
    counts them as they are in the file.

    Bytes that begin like gzip are unpacked: neither CSV nor JSON begins with these two bytes in any encoding. A file
    whose name ends in ``.gz`` must begin with them.
    """
    if isinstance(file, str | os.PathLike):
        path, counts = path_of(file), amount or Amount()
        packed = counts.counted(path, lambda: _pieces_of_path(path))
        return lambda: unpacked(packed(), required=path.suffix.casefold() == ".gz")
    raw = (amount or Amount()).counted(file, raw_pieces_of(file))
    return lambda: unpacked(raw())


def raw_pieces_of(file: Any) -> Callable[[], Pieces]:
    """Do the same for what is no path, and leave it packed."""
    if _is_bytes(file):
        raise UsageError("these are the bytes of a file: give io.BytesIO(them)")
    if isinstance(file, ZipFile):
        raise UsageError("a ZipFile has files in it: give what its open() gives for one of them")
    if isinstance(file, io.TextIOBase):
        raise UsageError(_NO_BYTES)
    read = _reading(file)
    if read is not None:
        return lambda: _pieces_of_async(read) if iscoroutinefunction(read) else _pieces_of_file(file, read)
    if isinstance(file, AsyncIterable):
        return lambda: _pieces_of_stream(file)
    if isinstance(file, Iterable) and not isinstance(file, dict):
        return lambda: _pieces_of_iterable(file)
    if hasattr(file, "read"):
        raise UsageError(f"a {type(file).__name__} is no file: {_NO_SIZE}")
    opens = "give what its open('rb') gives" if callable(getattr(file, "open", None)) else _GIVE
    raise UsageError(f"a {type(file).__name__} is no file: {opens}")


def _is_bytes(file: Any) -> bool:
    """Say whether this is bytes of any library. A file that is mapped into memory can be read, too."""
    if hasattr(file, "read"):
        return False
    try:
        return memoryview(file).ndim == 1
    except TypeError:
        return False


def _reading(file: Any) -> Callable[[int], Any] | None:
    """Give the method that reads some bytes of an open file; None where it can only be iterated."""
    for name in ("read_chunk", "read"):  # the first is that of a part of aiohttp's multipart
        read = getattr(file, name, None)
        if callable(read) and _takes_size(read):
            return read  # type: ignore[no-any-return]  # it is of a user's object
    return None


def _takes_size(read: Callable[..., Any]) -> bool:
    try:
        signature(read).bind(PIECE_BYTES)
    except TypeError:
        return False
    except ValueError:  # a method in C may say nothing about itself
        return True
    return True


@discreet
async def _pieces_of_path(path: Path) -> Pieces:
    thread, opened = DaemonThread(_THREAD), ExitStack()
    try:
        try:  # unbuffered: bytes of a pipe come at once
            file = await thread.ask(lambda: opened.enter_context(path.open("rb", buffering=0)))
        except OSError as why:
            raise UsageError(f"the file cannot be opened: {why.strerror}") from None
        async with aclosing(_pieces(file, file.read, thread)) as pieces:
            async for piece in pieces:
                yield piece
    finally:
        thread.end(opened.close)


@discreet
async def _pieces_of_file(file: Any, read: Callable[[int], Any]) -> Pieces:
    thread = DaemonThread(_THREAD)
    try:
        async with aclosing(_pieces(file, read, thread)) as pieces:
            async for piece in pieces:
                yield piece
    finally:
        thread.end()


@discreet
async def _pieces(file: Any, read: Callable[[int], Any], thread: DaemonThread) -> Pieces:
    reader = OpenFile(file, lambda: thread.ended, read)
    while True:
        try:
            piece = await thread.ask(reader.read, PIECE_BYTES)
            if isawaitable(piece):  # the function did not say so
                piece = await piece
        except RuntimeError as why:
            if "no running event loop" not in str(why):
                raise unreadable_after(why) from None
            break  # nor did this one, which wants to be called in the loop
        except Failures as why:
            raise unreadable_after(why) from None
        if not (data := _bytes_of(piece)):
            return
        yield data
    async with aclosing(_pieces_of_async(read)) as pieces:
        async for data in pieces:
            yield data


@discreet
async def _pieces_of_async(read: Callable[[int], Any]) -> Pieces:
    """Read a file whose bytes are awaited in the event loop."""
    while True:
        try:
            piece = await read(PIECE_BYTES)
        except Failures as why:
            raise unreadable_after(why) from None
        if not (data := _bytes_of(piece)):
            return
        yield data


def _bytes_of(piece: Any) -> bytes:
    """Give the bytes of what an open file gives. Raises UsageError for texts, and for a file that does not wait."""
    try:
        return piece if isinstance(piece, bytes) else bytes(memoryview(piece))
    except TypeError:
        raise UsageError(_NO_BYTES) from None


# Iterables of bytes


@discreet
async def _pieces_of_stream(stream: AsyncIterable[Any]) -> Pieces:
    clock = asyncio.get_running_loop().time
    gathered = _Gathered()
    pieces: AsyncIterator[Any] | None = None
    while True:
        try:
            pieces = aiter(stream) if pieces is None else pieces
            piece = await anext(pieces)
        except StopAsyncIteration:
            break
        except Failures as why:
            for data in gathered.take():
                yield data
            raise unreadable_after(why) from None
        gathered.add(piece, clock())
        if gathered.enough(clock()):
            for piece in gathered.take():
                yield piece
    for piece in gathered.take():
        yield piece


@discreet
async def _pieces_of_iterable(stream: Iterable[Any]) -> Pieces:
    """Read in a thread: these are bodies of requests, parts of uploads and the like, which block."""
    thread = DaemonThread(_THREAD)
    clock = asyncio.get_running_loop().time
    gathered = _Gathered()
    pieces: list[Iterator[Any]] = []

    def gather() -> bool:
        """Take pieces until there are enough, and say whether more may come."""
        pieces[:] = pieces or [iter(stream)]
        for piece in pieces[0]:
            gathered.add(piece, clock())
            if thread.ended or gathered.enough(clock()):
                return True
        return False

    try:
        more = True
        while more:
            try:
                more = await thread.ask(gather)
            except UsageError:
                raise
            except Failures as why:
                for piece in gathered.take():
                    yield piece
                raise unreadable_after(why) from None
            for piece in gathered.take():
                yield piece
    finally:
        thread.end()


class _Gathered:
    """Small pieces that follow each other quickly, joined; large ones are parted. Mutable state: those so far."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._since = 0.0

    def add(self, piece: Any, now: float) -> None:
        """Take a piece. Raises UsageError for what is no bytes."""
        if not self._pieces:
            self._since = now
        try:
            data = piece if isinstance(piece, bytes) else bytes(memoryview(piece))
        except TypeError:
            raise UsageError(f"the stream gives {type(piece).__name__}, not bytes") from None
        self._pieces.append(data)
        self._size += len(data)

    def enough(self, now: float) -> bool:
        """Say whether to go on with what has come: nothing waits for more than some milliseconds where more comes."""
        last = len(self._pieces[-1])
        return self._size >= PIECE_BYTES or last >= _SMALL or now - self._since >= BREATH

    def take(self) -> Iterator[bytes]:
        """Give what has come."""
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._size = [], 0
        for start in range(0, len(data), PIECE_BYTES):
            yield data[start : start + PIECE_BYTES]
