"""A worker of some engine: it imports one partition. Its task comes as a pickle on stdin, and the report of it goes as
one to stdout.
"""

import pickle
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mjbulk.partition import PartitionReport, PartitionSpec, import_partition

STARTED: list[subprocess.Popen[bytes]] = []
"""All workers, so that a test that fails leaves none."""


def begin(spec: PartitionSpec, partition: str, rows: Iterable[Any]) -> subprocess.Popen[bytes]:
    """Start a worker."""
    command = [sys.executable, str(Path(__file__))]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    STARTED.append(worker)
    assert worker.stdin is not None
    worker.stdin.write(pickle.dumps((spec, partition, rows)))
    worker.stdin.close()
    return worker


def end(worker: subprocess.Popen[bytes]) -> PartitionReport:
    """Wait for the end of a worker, and give its report."""
    with worker:
        assert worker.stdout is not None
        said = worker.stdout.read()
    assert worker.returncode == 0
    report: PartitionReport = pickle.loads(said)
    return report


def kill(worker: subprocess.Popen[bytes]) -> None:
    """End a worker at once."""
    with worker:
        worker.kill()


if __name__ == "__main__":
    sys.stdout.buffer.write(pickle.dumps(import_partition(*pickle.load(sys.stdin.buffer))))
