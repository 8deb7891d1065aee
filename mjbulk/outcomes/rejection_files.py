"""Files of rejections: CSV that is safe to open, JSON Lines, or JSON. Only a few rejections are in memory at once."""

import csv
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

import orjson

from mjbulk.errors import UsageError
from mjbulk.models import Rejection, Rejections
from mjbulk.rows.rejects import REJECTION_COLUMNS, guarded


@contextmanager
def whole_or_not_at_all(target: Path) -> Iterator[IO[bytes]]:
    """Write a file that appears under its name when it is whole, or not at all. Only its owner can read it.

    It is written beside its place, under a name that no other file has: two writers of one file do not meet. A pipe or
    a device gets it at once.
    """
    if target.exists() and not (target.is_file() or target.is_dir()):
        with target.open("wb") as pipe:
            yield pipe
        return
    with NamedTemporaryFile(dir=target.parent, prefix=".mjbulk-", suffix=".partial", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(target)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def write_rejections(
    rejections: Rejections,
    path: str | os.PathLike[str],
    head: Mapping[str, Any] | None = None,
    *,
    text: bool = False,
) -> int:
    """Write rejections to a file by the ending of its name, and give their number. ``head`` is what JSON has beside
    them. ``text`` says that they are rows of a text file, where an empty text is a null: so it is one in JSON. Raises
    UsageError for another ending.
    """
    target = Path(path)
    writers: dict[str, Callable[[Rejections, IO[bytes]], None]] = {
        ".csv": write_csv,
        ".jsonl": partial(write_jsonl, text=text),
        ".json": partial(write_json, head or {"rejected": len(rejections)}, text=text),
    }
    write = writers.get(target.suffix.casefold())
    if write is None:
        raise UsageError(f"rejections are written as {', '.join(writers)}")
    with whole_or_not_at_all(target) as file:
        write(rejections, file)
    return len(rejections)


def write_jsonl(rejections: Rejections, file: IO[bytes], *, text: bool = False) -> None:
    """Write one object a line."""
    file.writelines(_object(rejection, text=text) + b"\n" for rejection in rejections)


def write_json(head: Mapping[str, Any], rejections: Rejections, file: IO[bytes], *, text: bool = False) -> None:
    """Write one object: the fields of ``head``, and the rejections as a list with one line for each."""
    file.write(as_json(head)[:-1] + b',"rejections":[')
    for number, rejection in enumerate(rejections):
        file.write((b",\n" if number else b"\n") + _object(rejection, text=text))
    file.write(b"\n]}\n")


def _object(rejection: Rejection, *, text: bool) -> bytes:
    row, data = {name: getattr(rejection, name) for name in REJECTION_COLUMNS}, rejection.data
    if text and data is not None:
        data = {name: None if value == "" else value for name, value in data.items()}
    return as_json({**row, "candidates": list(rejection.candidates), "data": data})


def as_json(row: Any) -> bytes:
    """Give any data as JSON. Values that JSON does not have are written as the nearest ones that it has."""
    try:
        return orjson.dumps(row, default=_text, option=orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError:  # a row is often rejected because a value has no JSON
        return json.dumps(_plain(row)).encode()


def _plain(value: Any) -> Any:
    """Give data of types that JSON has. Lone surrogates and numbers of any length stay as they are."""
    if isinstance(value, Mapping):
        return {_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _text(value)


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # a value of the user's may raise anything
        return f"({type(value).__name__})"


def write_csv(rejections: Rejections, file: IO[bytes]) -> None:
    """Write a CSV file that is safe to open in a spreadsheet."""
    columns: dict[str, None] = {}
    for rejection in rejections:
        columns.update(dict.fromkeys(map(str, rejection.data or ())))
    lines = _Lines(file)
    writer = csv.writer(lines)
    writer.writerow([*REJECTION_COLUMNS, *(_defanged(name) for name in columns)])
    for rejection in rejections:
        data: Mapping[str, Any] = rejection.data or {}
        known = [getattr(rejection, name) for name in REJECTION_COLUMNS]
        writer.writerow([_defanged(value) for value in (*known, *(data.get(name) for name in columns))])


class _Lines:
    """A file of bytes to which the csv module can write."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        self._file.write(text.encode("utf-8", "backslashreplace"))
        return len(text)


def _defanged(value: Any) -> str:
    """Give the text of a cell, so that a spreadsheet does not take it for a formula."""
    if value is None:
        return ""
    return _text(value) if isinstance(value, int | float) else guarded(_text(value))
