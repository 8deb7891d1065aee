"""What tests of the command line share: files, and processes that are ended with the test."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

TO_LIST = ("--list", "1", "--action", "addnoforce")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mjbulk.cli", *arguments]


@contextlib.contextmanager
def running(*arguments: str, **more: Any) -> "Iterator[subprocess.Popen[str]]":
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    process = subprocess.Popen(command(*arguments), text=True, **pipes)
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(done: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def people(count: int) -> str:
    return "email\n" + "".join(f"p{number}@example.org\n" for number in range(count))
