"""What commands write: results to stdout, and all else to stderr. Neither can break a command.

Both streams are guarded while a command runs. The first failure of a stream is kept, and what comes after it is
dropped: the command goes on, and tells at its end that its result could not be written.
"""

import errno
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

from cyclopts import Group

OUTPUT = Group("Output", sort_key=30)
_STAND_IN = "\N{REPLACEMENT CHARACTER}"


class Guarded:
    """A stream that a command writes to. Mutable state: the first failure."""

    def __init__(self, stream: Any) -> None:
        """Guard a stream; None is one that is closed."""
        self.failure: Exception | None = None
        """What was raised first; None while all is written."""
        self.lost = 0
        """How many characters the encoding of the stream does not have: others stand for them."""
        self.quiet = False
        """Whether nothing is written about the work but what went wrong."""
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, as far as that is possible. Gives its length, as all streams do."""
        if self.failure is None and text:
            try:
                self._write(text)
            except (OSError, ValueError, AttributeError) as failure:
                self._fail(failure)
        return len(text)

    def _write(self, text: str) -> None:
        if self._stream is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        try:
            text.encode(encoding, getattr(self._stream, "errors", None) or "strict")
        except UnicodeEncodeError:
            plain = text.replace(_STAND_IN, "?")
            text = plain.encode(encoding, "backslashreplace").decode(encoding)
            self.lost += sum(given != written for given, written in zip(plain, text, strict=False))
        self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is in the buffer."""
        if self.failure is None and self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as failure:
                self._fail(failure)

    def isatty(self) -> bool:
        """Tell whether it is a terminal."""
        try:
            return self._stream is not None and bool(self._stream.isatty())
        except ValueError:
            return False

    def _fail(self, failure: Exception) -> None:
        """Keep the failure. What is in the buffer goes nowhere, or Python would fail with it when it ends."""
        self.failure = failure
        if self._stream is not None:
            with suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    @property
    def why(self) -> str | None:
        """Why not all was written as it is, as a sentence; None if it was."""
        if self.failure is not None:
            return getattr(self.failure, "strerror", None) or "it is closed"
        if self.lost:
            return f"its encoding, {self._stream.encoding}, lacks characters (PYTHONIOENCODING=utf-8 has all)"
        return None


@contextmanager
def guarded() -> Iterator[Guarded]:
    """Guard stdout and stderr, and give the guard of stdout."""
    out = Guarded(sys.stdout)
    log = logging.getLogger("mjbulk")
    level, handlers = log.level, log.handlers[:]
    with redirect_stdout(out), redirect_stderr(Guarded(sys.stderr)):
        try:
            yield out
        finally:
            log.setLevel(level)
            log.handlers[:] = handlers


def say(line: str) -> None:
    """Write a line of the result to stdout."""
    sys.stdout.write(f"{line}\n")


def said_all() -> bool:
    """Flush stdout, and tell whether all that was said was written."""
    sys.stdout.flush()
    return getattr(sys.stdout, "failure", None) is None


def tell(line: str) -> None:
    """Write a line about the work to stderr."""
    sys.stderr.write(f"mjbulk: {line}\n")


def note(line: str) -> None:
    """Write a line about the work that went well, unless the command is to be quiet."""
    if not is_quiet():
        tell(line)


def is_quiet() -> bool:
    """Tell whether only what went wrong is told."""
    return getattr(sys.stderr, "quiet", False)


def speak(*, quiet: bool, verbose: bool) -> None:
    """Say for the rest of the command how much is told on stderr: ``verbose`` tells what the log has, too."""
    if quiet:
        sys.stderr.quiet = True  # type: ignore[union-attr]  # it is guarded
    elif verbose:
        log = logging.getLogger("mjbulk")
        log.setLevel(logging.INFO)
        log.addHandler(_Teller())


class _Teller(logging.Handler):
    """Tells what is logged, in the line of its own that `tell` writes."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(printable(self.format(record)))


def printable(text: object) -> str:
    """Replace what could control a terminal or break a line, in a text from a file or from a server."""
    return "".join(c if c.isprintable() else _STAND_IN for c in str(text))


def counted(number: int, noun: str, many: str = "") -> str:
    """Give a number with its noun: ``1 row``, ``1,250 rows``."""
    return f"{number:,} {noun if number == 1 else many or f'{noun}s'}"
