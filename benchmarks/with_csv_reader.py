"""A bare pass of ``csv.reader`` over the file, without sending. It is the least work that reading CSV can take."""

import argparse
import csv
from pathlib import Path

from benchmarks.measure import contend


def _read(options: argparse.Namespace) -> int:
    with Path(options.file).open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.reader(file)) - 1


if __name__ == "__main__":
    contend(_read)
