"""The file of the rejected rows of a run: JSON Lines, in the order in which they became known.

All functions block: they are called in threads.
"""

import os
from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import orjson

from mjbulk.models import Rejection, Rejections
from mjbulk.outcomes.rejection_files import as_json, write_csv

_FIELDS = ("row", "email", "field", "code", "message", "origin", "match", "data")


def as_row(rejection: Rejection) -> dict[str, Any]:
    """Give a rejected row as JSON has it."""
    row: dict[str, Any] = orjson.loads(as_json({name: getattr(rejection, name) for name in _FIELDS}))
    return row


def write_rejections(path: Path, at: int, rejections: Sequence[Rejection]) -> int:
    """Write rejected rows into the file at byte ``at``, in the place of whatever follows, and give where they end."""
    file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    with os.fdopen(file, "wb") as lines:
        lines.truncate(at)  # what a write left that failed, on a full disk
        lines.seek(at)
        lines.write(b"".join(as_json(as_row(rejection)) + b"\n" for rejection in rejections))
        return lines.tell()


def read_page(
    path: Path, after: int, limit: int, code: str | None = None, until: float = inf
) -> tuple[list[dict[str, Any]], int | None]:
    """Read rows from a place in the file to another one, and give the next place; None where nothing follows."""
    rows: list[dict[str, Any]] = []
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return rows, None
    with file:
        file.seek(after)
        for line in file:
            if after >= until or not line.endswith(b"\n"):  # it is being written
                return rows, None
            if len(rows) == limit:
                return rows, after
            row = orjson.loads(line)
            if code is None or row["code"] == code:
                rows.append(row)
            after += len(line)
    return rows, None


class _StoredRejections(Rejections):
    """The rejected rows of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[Rejection]:
        after: int | None = 0
        while after is not None:
            rows, after = read_page(self._path, after, 1000)
            yield from (Rejection(**row) for row in rows)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def csv_of(path: Path) -> IO[bytes]:
    """Give the rejected rows as CSV that is safe to open, in a file without a name."""
    file = TemporaryFile(dir=path.parent)  # noqa: SIM115  # the caller closes it
    write_csv(_StoredRejections(path), file)
    file.seek(0)
    return file
