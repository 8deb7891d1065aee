"""Error files to errors: what Mailjet says about the rows that a job refused.

A CSVError is known (FACTS 6.2): a copy of the lines that failed, each with `` ###message###field`` as its last field,
without quotes. Lines may have too few fields. No JSONError was ever published (FACTS 3.2), so every likely shape is
read: a list, an object with a list, one object a line, or text that names addresses. The end of a file shows whether
it is whole; a file that is cut has a `problem`.
"""

import csv
import io
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import orjson
from attrs import evolve, frozen

_MARKS = r"""\s<>()\[\],;:"@"""
_ADDRESS = re.compile(
    rf"(?<![^{_MARKS}])[^{_MARKS}]+@[^{_MARKS}]+"
)  # from the beginning of a word on, which takes linear time
_NO_REASON = "(no reason given)"
_DEEPEST = 32
"""Levels of JSON that are read."""


@frozen(kw_only=True)
class RowError:
    """What an error file says about one row."""

    email: str | None = attrs.field(default=None, repr=False)
    """The address of the row, from the field or column of addresses."""
    sure: bool = True
    """Whether that is known. In a line with more or fewer cells than the header, the cell may be of another column."""
    message: str = attrs.field(default=_NO_REASON, repr=False)
    field: str | None = None
    cells: Sequence[str] = attrs.field(default=(), repr=False)
    """Other texts of the error that may identify the row."""


@frozen(kw_only=True)
class ErrorFile:
    """What could be read of an error file."""

    errors: Sequence[RowError] = ()
    problem: str | None = None
    """Why it is not whole, or cannot be read; None if it is whole."""


MISSING = ErrorFile(problem="its error file is missing")
EMPTY = ErrorFile(problem="its error file is empty")


def parse(data: bytes, *, csv_file: bool) -> ErrorFile:
    """Read a whole error file. A file that cannot be read gives a ``problem``, and no exception."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    if not text.strip():
        return EMPTY
    if text.lstrip()[:1] == "<":
        return ErrorFile(problem="its error file is a page of HTML")
    return _parse_csv(text) if csv_file else _parse_json(text)


# JSONError


def _parse_json(text: str) -> ErrorFile:
    try:
        errors = list(_errors(orjson.loads(text)))
    except orjson.JSONDecodeError:
        return _parse_lines(text)
    return _of_whole(errors)


def _of_whole(errors: Sequence[RowError]) -> ErrorFile:
    """Make the error file of all errors in a whole file.

    If some have a reason and others have none, the others may be rows that Mailjet took. They are left out, and the
    file has a problem.
    """
    reasoned = [error for error in errors if error.message != _NO_REASON]
    if reasoned and len(reasoned) < len(errors):
        return ErrorFile(errors=reasoned, problem="its error file has rows without an error beside rows with one")
    return ErrorFile(errors=errors, problem=None if errors else EMPTY.problem)


def _parse_lines(text: str) -> ErrorFile:
    """Read one JSON object a line, or lines of text."""
    as_json = text.lstrip()[:1] in "[{"
    errors: list[RowError] = []
    for line in io.StringIO(text, newline="\n"):
        if not line.strip():
            continue
        if not as_json:
            if not line.endswith("\n"):
                return ErrorFile(errors=errors, problem="its error file ends within a line")
            errors.extend(_errors(line.strip()))
            continue
        try:
            errors.extend(_errors(orjson.loads(line)))
        except orjson.JSONDecodeError:
            return ErrorFile(errors=errors, problem="its error file is cut or no JSON")
    return _of_whole(errors)


def _errors(value: Any, depth: int = 0) -> Iterator[RowError]:
    if isinstance(value, list) and depth < _DEEPEST:
        for item in value:
            yield from _errors(item, depth + 1)
    elif isinstance(value, dict) and depth < _DEEPEST:
        yield from _of_object(_folded(value), depth + 1)
    elif isinstance(value, str):
        yield RowError(message=value, cells=_addresses(value))
    else:
        yield RowError()


def _folded(value: dict[str, Any]) -> dict[str, Any]:
    return {key.casefold(): item for key, item in value.items()}


_LISTS = ("errors", "data", "contacts", "rows", "items")


def _of_object(row: dict[str, Any], depth: int) -> Iterator[RowError]:
    nested = next((row[key] for key in _LISTS if isinstance(row.get(key), list)), None)
    contact = row.pop("contact", None)
    if isinstance(contact, dict):
        yield _error(_folded(contact) | row)
    elif "email" in row or contact is not None:
        yield _error({"email": contact} | row)
    elif nested is not None:
        yield from _errors(nested, depth)
    elif row and all("@" in key for key in row):
        yield from (evolve(_error({"error": said}), email=address) for address, said in row.items())
    else:
        yield _error(row)


_REASONS = ("error", "errormessage", "message", "errorinfo", "reason", "errors")


def _error(row: dict[str, Any]) -> RowError:
    said = next((row[key] for key in _REASONS if row.get(key)), None)
    email, blamed = row.get("email"), row.get("field", row.get("property"))
    if isinstance(said, dict) and len(said) == 1:
        ((blamed, said),) = said.items()
    if isinstance(blamed, str) and "@" in blamed:
        email, blamed = email or blamed, None
    message = said if isinstance(said, str) else _as_text(said) if said else _NO_REASON
    return RowError(
        email=email if isinstance(email, str) and email.strip() else None,
        message=message,
        field=blamed if isinstance(blamed, str) else None,
        cells=_addresses(message),
    )


def _as_text(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # too many levels
        return _NO_REASON


def _addresses(text: str) -> list[str]:
    """Find the addresses that a text mentions, each with and without punctuation around it."""
    found = _ADDRESS.findall(text)
    return list(dict.fromkeys([*found, *(address.strip("'`.!?") for address in found)]))


# CSVError

_MARK = re.compile(r" ?###")
_LATER_MARK = re.compile(r"(?<=,) ?###")
_FIELD = re.compile(r'"[^"]*+(?:""[^"]*+)*+"[^,\n]*+|[^,\n]*+')


def _parse_csv(text: str) -> ErrorFile:
    at, header = 0, list[str]()
    end, mark = _csv_record(text, 0, None)
    if mark is None:
        header = _cells(text[:end])
        if header[-1:] != ["error"]:
            return ErrorFile(problem="its error file does not begin with a header")
        at = end + 1
    errors: list[RowError] = []
    problem = None
    while at < len(text):
        end, mark = _csv_record(text, at, len(header) - 1)
        if end == len(text):
            problem = "its error file ends within a line" if text[at:].strip() else problem
        elif mark is not None:
            errors.append(_csv_error(text[at : max(mark.start() - 1, at)], text[mark.end() : end], header))
        elif text[at:end].strip():
            problem = "its error file has a line without an error"
        at = end + 1
    return ErrorFile(errors=errors, problem=problem or (None if errors else "its error file is empty"))


def _csv_record(text: str, start: int, columns: int | None) -> tuple[int, re.Match[str] | None]:
    """Give where a record ends, and the mark at which its error begins.

    A mark within quotes is data, and so is a mark without a blank at the beginning of the line. The error comes after
    the last column. In a line with more or fewer cells, it begins at the last mark.
    """
    at, index = start, 0
    while (mark := _MARK.match(text, at)) is None or (index == 0 and columns and text[at] == "#"):
        at = _FIELD.match(text, at).end()  # type: ignore[union-attr]  # where nothing else matches, nothing does
        if text[at : at + 1] != ",":
            return at, None
        at, index = at + 1, index + 1
    end = text.find("\n", mark.end())
    end = len(text) if end < 0 else end
    if index != columns:
        mark = deque((mark, *_LATER_MARK.finditer(text, mark.end(), end)), maxlen=1)[0]
    return end, mark


def _csv_error(record: str, error: str, header: Sequence[str]) -> RowError:
    cells = _cells(record)
    email = next((cell for cell, name in zip(cells, header, strict=False) if name.strip().casefold() == "email"), None)
    message, _, blamed = error.strip().partition("###")
    return RowError(
        email=email,
        sure=len(cells) == len(header) - 1,
        message=message or _NO_REASON,
        field=blamed or None,
        cells=cells,
    )


def _cells(record: str) -> list[str]:
    try:
        return next(iter(csv.reader(io.StringIO(record, newline=""))), [])
    except csv.Error:
        return record.rstrip("\r\n").split(",")
