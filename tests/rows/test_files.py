"""Bytes of files and streams: pieces of bounded size, gzip, encodings."""

import asyncio
import gzip
import io
import os
import random
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support import KEYS

import mjbulk
from mjbulk.rows.decoding import texts_of
from mjbulk.rows.files import pieces_of
from mjbulk.rows.packed import SourceUnreadable
from mjbulk.testing import Emulator

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
TEXT = b"".join(b"row %d is %d\n" % (n, n * n) for n in range(5_000))


async def in_pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def read(file: Any) -> tuple[bytes, str]:
    """Give what can be read, and why it ends."""
    found = []
    try:
        async for piece in pieces_of(file)():
            found.append(piece)  # noqa: PERF401  # it may raise
    except SourceUnreadable as why:
        return b"".join(found), why.problem
    return b"".join(found), "its end"


async def decode(data: bytes, encoding: str, size: int) -> tuple[str, str]:
    """Give what can be decoded, and why it ends."""
    found = []
    try:
        async for text, _ in texts_of(pieces_of(in_pieces(data, size))(), encoding):
            found.append(text)
    except SourceUnreadable as why:
        return "".join(found), why.problem
    return "".join(found), "its end"


@pytest.mark.parametrize("size", [1, 2, 7, 1_000, 10**6])
async def test_gzip_is_unpacked_in_any_pieces(size: int) -> None:
    """Members that follow each other, padding between and after them, and pieces that cut anywhere."""
    packed = gzip.compress(TEXT[:20_000]) + b"\0" * 5 + gzip.compress(b"") + gzip.compress(TEXT[20_000:]) + b"\0" * 512
    assert await read(in_pieces(packed, size)) == (TEXT, "its end")
    assert await read(io.BytesIO(packed)) == (TEXT, "its end")
    assert await read(in_pieces(TEXT, size)) == (TEXT, "its end")


async def test_gzip_that_is_cut_off_is_not_taken_for_whole() -> None:
    """Wherever it is cut: within a head, the data, a checksum, or right after a piece of any of them."""
    packed = gzip.compress(TEXT[:3_000]) + gzip.compress(TEXT[3_000:3_100])
    whole = len(gzip.compress(TEXT[:3_000]))
    for end in range(2, len(packed)):
        found, why = await read(io.BytesIO(packed[:end]))
        assert TEXT.startswith(found)
        assert why == ("its end" if end == whole else "its gzip is cut off")


async def test_gzip_that_is_damaged_or_has_something_else_behind_it() -> None:
    """A wrong checksum, and bytes after the end that are no gzip."""
    packed = bytearray(gzip.compress(TEXT))
    assert await read(io.BytesIO(bytes(packed) + b"email\n")) == (TEXT, "its gzip is damaged")
    packed[-5] ^= 1
    assert (await read(io.BytesIO(bytes(packed))))[1] == "its gzip is damaged"


async def test_a_little_gzip_of_very_much_comes_in_small_pieces() -> None:
    """64 MiB that are 64 KiB on disk never stand in memory at once."""
    packed = gzip.compress(b"\0" * 2**26)
    assert len(packed) < 2**17
    sizes = [len(piece) async for piece in pieces_of(io.BytesIO(packed))()]
    assert (sum(sizes), max(sizes)) == (2**26, 2**17)


async def test_a_name_that_says_gzip_has_to_be_right(tmp_path: Path) -> None:
    """A file *.gz that is text, or empty as after an upload that failed, is refused; gzip under another name is not."""
    for content in (b"email\n", b"", b"\x1f"):
        (tmp_path / "a.csv.gz").write_bytes(content)
        with pytest.raises(mjbulk.UsageError, match="is no gzip"):
            await read(tmp_path / "a.csv.gz")
    (tmp_path / "a.csv").write_bytes(gzip.compress(TEXT))
    assert await read(tmp_path / "a.csv") == (TEXT, "its end")


class Failing(io.BytesIO):
    """A file on a disk that breaks."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError(5, "Input/output error")
        return super().read(10)


async def test_files_and_streams_that_fail(tmp_path: Path) -> None:
    """What was read before is given, and then what was raised."""

    async def stream() -> AsyncIterator[bytes]:
        yield TEXT[:10]
        raise ConnectionResetError

    assert await read(Failing(TEXT)) == (TEXT[:10], "it raised OSError")
    assert await read(stream()) == (TEXT[:10], "it raised ConnectionResetError")
    with pytest.raises(mjbulk.UsageError, match="cannot be opened: No such file"):
        await read(tmp_path / "missing.csv")


@pytest.mark.real_time
@pytest.mark.parametrize("how", ["timeout", "stop", "no writer"])
async def test_a_pipe_that_is_held_open_holds_up_nobody(tmp_path: Path, how: str) -> None:
    """The run ends in time, even if the pipe was never opened, and the loop never stops for it. The pipe is closed when
    its writer has ended."""
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    script = "import sys, time; f = open(sys.argv[1], 'wb', 0); f.write(b'email\\na@x.org\\n'); time.sleep(3)"
    writer = None if how == "no writer" else await asyncio.create_subprocess_exec(sys.executable, "-c", script, path)
    pauses: list[float] = []

    async def watch() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            pauses.append(time.monotonic() - before)

    before = time.monotonic()
    async with Emulator() as emulator, mjbulk.Client(KEYS, mjbulk.Settings(api_url=emulator.url)) as client:
        watching = asyncio.create_task(watch())
        run = client.start_import(path, lists=ADD, timeout=None if how == "stop" else 1)
        if how == "stop":
            await asyncio.sleep(1)
        with suppress(mjbulk.ImportHalted):
            await (run.stop() if how == "stop" else run)
        watching.cancel()
    assert time.monotonic() - before < 2.5
    assert max(pauses) < 0.5
    if writer is None:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    else:
        assert writer.returncode is None
        await writer.wait()
    for thread in threading.enumerate():
        if thread.name == "mjbulk file":
            await asyncio.to_thread(thread.join, 5)
            assert not thread.is_alive()


async def test_what_gives_no_bytes() -> None:
    """A file that was opened for text, one that does not wait for its bytes, a stream of texts, and no file at all."""

    class Impatient(io.BytesIO):
        def read(self, size: int | None = -1, /) -> Any:
            return None

    async def texts() -> AsyncIterator[str]:
        yield "email\n"

    for file in (io.StringIO(""), Impatient()):
        with pytest.raises(mjbulk.UsageError, match="does not give bytes"):
            await read(file)
    with pytest.raises(mjbulk.UsageError, match="gives str"):
        await read(texts())
    with pytest.raises(mjbulk.UsageError, match="int is no file"):
        await read(7)


async def test_a_stream_may_give_buffers_of_any_kind_and_size() -> None:
    """They are parted where they are large."""

    async def stream() -> AsyncIterator[Any]:
        yield bytearray(b"a" * 2**18)
        yield memoryview(b"b")

    sizes = [len(piece) async for piece in pieces_of(stream())()]
    assert sizes == [2**17, 2**17, 1]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "cp1252", "shift_jis", "iso2022_jp"])
@pytest.mark.parametrize("size", [1, 3, 1_000])
async def test_text_is_decoded_in_any_pieces(encoding: str, size: int) -> None:
    """A character may be cut, and a state of the encoding go from one piece to the next."""
    text = "email,city\n" + "".join(random.Random(7).choices("abcé" if encoding == "cp1252" else "ab\nカナ", k=2_000))
    assert await decode(text.encode(encoding), encoding, size) == (text, "its end")


@pytest.mark.parametrize(("encoding", "bad"), [("utf-8-sig", b"\xe9t"), ("shift_jis", b"\x81\x20"), ("ascii", b"\xff")])
@pytest.mark.parametrize("size", [1, 7, 64, 10**6])
async def test_text_goes_up_to_the_first_byte_that_cannot_be_decoded(encoding: str, bad: bytes, size: int) -> None:
    """Wherever pieces end; what stands after it is not given."""
    good = "a,b\n" * 100
    name = encoding.removesuffix("-sig")
    found = await decode(good.encode() + b"x" + bad + b"\nmore\n", encoding, size)
    assert found == (good + "x", f"this is not {name}: say encoding=")


async def test_text_that_ends_within_a_character() -> None:
    """Half a character at the end is a fault too: the file was cut."""
    assert await decode("a,é".encode()[:-1], "utf-8-sig", 100) == ("a,", "this is not utf-8: say encoding=")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
async def test_marks_of_other_encodings_are_named(encoding: str) -> None:
    """The error names the encoding of a byte order mark; the mark alone does not choose the encoding."""
    with pytest.raises(mjbulk.UsageError, match=f"mark of {encoding.upper()}: say encoding='{encoding}'"):
        await decode("email\n".encode(encoding), "utf-8-sig", 100)
