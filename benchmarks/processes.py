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

    Raises Refused if it fails, or takes longer than `_PATIENCE`.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as faults:
        found = Path(folder) / "peak"
        whole = [sys.executable, "-I", "-S", str(Path(__file__).with_name("peak.py")), str(found), *command]
        its_own = {**os.environ, "PYTHONPATH": str(home)}
        with subprocess.Popen(
            whole, stdout=said, stderr=faults, cwd=home, env=its_own, start_new_session=True
        ) as process:
            _wait(process)
        status, peak = map(int, found.read_text(encoding="ascii").split()) if found.exists() else (1, 0)
        said.seek(0)
        faults.seek(0)
        if status:
            raise Refused(f"{command[-1]} ended with {status}: {faults.read().decode()[-2000:]}")
        return json.load(said), peak * (1 if sys.platform == "darwin" else 1024) / MEGA


def _wait(process: "subprocess.Popen[bytes]") -> None:
    """Wait for a process. It and what it started are killed after `_PATIENCE`, and if this process stops."""
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
