"""The processes of a benchmark: a sink that counts, and contenders that send to it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

HOME = Path(__file__).parents[1]
MEGA = 1_000_000
_PATIENCE = 1800.0
"""Seconds after which a contender is killed."""


class Refused(Exception):
    """Raised instead of printing a figure that is wrong."""


@contextmanager
def sink(*arguments: str) -> Iterator[str]:
    """Start a sink, and give its address."""
    command = [sys.executable, "-m", "benchmarks.sink", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HOME) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def stats_of(url: str) -> dict[str, Any]:
    """Ask a sink what it has counted."""
    with urlopen(f"{url}/stats", timeout=30) as reply:
        stats: dict[str, Any] = json.load(reply)
    return stats


@dataclass
class Took:
    """What one contender took in one round."""

    seconds: float
    cpu: float | None
    """Seconds of processor time, all threads included; None if the contender does not print it."""
    peak: float
    """Megabytes: the most memory that the whole process had at once."""
    stats: dict[str, Any] = field(default_factory=dict)


def run(command: Sequence[str], home: Path = HOME) -> tuple[dict[str, Any], float]:
    """Run a contender in a folder, and give what it printed and its peak of memory.

    Raises Refused if it fails.
    """
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as faults:
        its_own = {**os.environ, "PYTHONPATH": str(home)}
        process = subprocess.Popen(command, stdout=said, stderr=faults, cwd=home, env=its_own)
        usage = _wait(process)
        said.seek(0)
        faults.seek(0)
        if process.returncode:
            raise Refused(f"{command[-1]} ended with {process.returncode}: {faults.read().decode()[-2000:]}")
        scale = 1 if sys.platform == "darwin" else 1024
        return json.load(said), usage.ru_maxrss * scale / MEGA


def _wait(process: "subprocess.Popen[bytes]") -> Any:
    """Wait for a process, and give its resource usage. It is killed after `_PATIENCE`, and if this process stops."""
    signal.signal(signal.SIGALRM, lambda *_: process.kill())
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage
