"""Open files: pipes are awaited without the lock of their reader, all others are read."""

import asyncio
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mjbulk.rows.open_file import OpenFile
from mjbulk.threads import DaemonThread


@pytest.fixture
def pipe() -> Iterator[tuple[io.BufferedReader, io.FileIO]]:
    """A pipe: its reader, as open() makes one, and its writer."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", 0) as writer:
        yield reader, writer


def wanted() -> bool:
    return False


async def test_bytes_of_a_pipe_come_at_once(pipe: tuple[io.BufferedReader, io.FileIO]) -> None:
    """No piece has to be full, and the end comes when the writer has closed."""
    reader, writer = pipe
    file, thread = OpenFile(reader, wanted), DaemonThread("test")
    for piece in (b"email\n", b"a@example.org\n"):
        writer.write(piece)
        assert await thread.ask(file.read, 2**16) == piece
    writer.close()
    assert await thread.ask(file.read, 2**16) == b""
    thread.end()


def test_what_the_reader_has_in_its_buffer_is_not_lost(pipe: tuple[io.BufferedReader, io.FileIO]) -> None:
    """The user may have read a part of the pipe."""
    reader, writer = pipe
    writer.write(b"a note\nemail\na@example.org\n")
    assert reader.readline() == b"a note\n"
    file = OpenFile(reader, wanted)
    writer.write(b"b@example.org\n")
    assert file.read(2**16) == b"email\na@example.org\n"
    assert file.read(2**16) == b"b@example.org\n"


def test_a_pipe_without_a_buffer(pipe: tuple[io.BufferedReader, io.FileIO]) -> None:
    """It is read like any other."""
    reader, writer = pipe
    writer.write(b"email\n")
    assert OpenFile(reader.raw, wanted).read(2**16) == b"email\n"


def test_a_wait_that_nobody_wants_any_more_ends(pipe: tuple[io.BufferedReader, io.FileIO]) -> None:
    """The thread comes back, and takes nothing of what comes later from the next who reads."""
    reader, writer = pipe
    given_up = threading.Event()
    file, found = OpenFile(reader, given_up.is_set), list[bytes]()
    thread = threading.Thread(target=lambda: found.append(file.read(2**16)))
    thread.start()
    given_up.set()
    thread.join(5)
    assert found == [b""]
    writer.write(b"later\n")
    assert reader.readline() == b"later\n"


def test_other_files_are_read_as_they_are(tmp_path: Path) -> None:
    """A file on disk, and whatever else has bytes; a closed file raises its own error."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"email\n")
    with path.open("rb") as on_disk:
        for one in (on_disk, io.BytesIO(b"email\n")):
            file = OpenFile(one, wanted)
            assert [file.read(4), file.read(4), file.read(4)] == [b"emai", b"l\n", b""]
    with pytest.raises(ValueError, match="closed file"):
        OpenFile(on_disk, wanted).read(4)


READING = """
import asyncio, sys
from mjbulk.rows.files import pieces_of

async def read(file):
    try:
        async with asyncio.timeout(0.2):
            async for piece in pieces_of(file)():
                print(piece)
    except TimeoutError:
        print("timeout")

asyncio.run(read(sys.stdin.buffer))
"""


@pytest.mark.real_time
async def test_a_program_ends_in_order_while_its_standard_input_is_awaited() -> None:
    """Python would abort it if the thread held the lock of the reader."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READING, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdin
    program.stdin.write(b"email\n")
    assert program.stdout
    assert program.stderr
    assert await program.stdout.read() == b"b'email\\n'\ntimeout\n"
    assert await program.stderr.read() == b""
    assert await program.wait() == 0
    program.stdin.close()
