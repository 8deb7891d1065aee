"""An open file, read in a thread that may be abandoned.

A buffered reader holds a lock while it waits for bytes. Where a program ends meanwhile, Python closes the reader (that
of ``sys.stdin`` always), does not get the lock, and aborts the process: "could not acquire lock ... at interpreter
shutdown, possibly due to daemon threads". So the bytes of a pipe are awaited first, without the lock, and are read when
they are there.
"""

import io
import os
import select
import stat
from collections.abc import Callable
from typing import Any

_LOOK = 0.5
"""Seconds after which a thread that waits for bytes looks whether somebody still wants them."""


class OpenFile:
    """Reads an open file. Mutable state: how it is read, once that is known."""

    def __init__(self, file: Any, given_up: Callable[[], bool], read: Callable[[int], Any] | None = None) -> None:
        """Read nothing yet. ``given_up`` says that the bytes are not wanted any more; ``read`` is how the file is read,
        if that is not its method of this name.
        """
        self._file = file
        self._plain = read or file.read
        self._given_up = given_up
        self._read: Callable[[int], Any] | None = None

    def read(self, size: int) -> Any:
        """Wait for bytes, and give up to ``size`` of them: none at the end of the file, or if that was given up."""
        if self._read is None:
            pipe = _pipe_of(self._file)
            self._read = self._plain if pipe is None else self._when_readable(pipe)
        return self._read(size)

    def _when_readable(self, pipe: int) -> Callable[[int], Any]:
        """Give the function that reads a pipe. What its buffer has already comes with the bytes after it."""
        readable = select.poll()
        readable.register(pipe, select.POLLIN)
        read_once = getattr(self._file, "read1", self._file.read)

        def read(size: int) -> Any:
            while not readable.poll(_LOOK * 1000):
                if self._given_up():
                    return b""
            return read_once(size)

        return read


def _pipe_of(file: Any) -> int | None:
    """Give the descriptor of an open pipe, socket or terminal; None for all other files."""
    raw = getattr(file, "raw", file)
    if not isinstance(raw, io.FileIO):
        return None
    mode = os.fstat(raw.fileno()).st_mode
    return raw.fileno() if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode) else None
