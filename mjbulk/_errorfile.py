"""Error files to entries: what Mailjet says of the rows that a job refused.

CSVError is known: a copy of the failing lines, each with `` ###message###field`` as its last field, unquoted, on lines
that may be short. Nobody has published a JSONError, so every likely shape is read: a list, an object with a list, one
object a line, or text that names addresses. A file says that it is whole by its own end; one that does not is reported
as cut.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import orjson
from attrs import evolve, frozen

_ADDRESS = re.compile(r"""[^\s<>()\[\],;:"@]+@[^\s<>()\[\],;:"@]+""")
_NO_REASON = "(no reason given)"


@frozen(kw_only=True)
class Entry:
    """What an error file says of one row."""

    email: str | None = attrs.field(default=None, repr=False)
    """The address that stands where the address has to stand."""
    message: str = attrs.field(default=_NO_REASON, repr=False)
    field: str | None = None
    cells: Sequence[str] = attrs.field(default=(), repr=False)
    """Other texts of the entry by which the row may be known."""


@frozen(kw_only=True)
class ErrorFile:
    """What could be read of an error file."""

    entries: Sequence[Entry] = ()
    problem: str | None = None
    """Why it is not whole, or not to be read; None where it is whole."""


MISSING = ErrorFile(problem="its error file is missing")


def parse(data: bytes, *, csv_file: bool) -> ErrorFile:
    """Read an error file whole. Never raises: what is wrong stands in ``problem``."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    if not text.strip():
        return ErrorFile(problem="its error file is empty")
    if text.lstrip()[:1] == "<":
        return ErrorFile(problem="its error file is a page of HTML")
    return _parse_csv(text) if csv_file else _parse_json(text)


# JSONError


def _parse_json(text: str) -> ErrorFile:
    try:
        entries = list(_entries(orjson.loads(text)))
    except orjson.JSONDecodeError:
        return _parse_lines(text)
    return ErrorFile(entries=entries, problem=None if entries else "its error file is empty")


def _parse_lines(text: str) -> ErrorFile:
    """Read one JSON object a line, or lines of text."""
    as_json = text.lstrip()[:1] in "[{"
    entries: list[Entry] = []
    for line in text.splitlines(keepends=True):
        if not line.strip():
            continue
        if not as_json:
            if not line.endswith("\n"):
                return ErrorFile(entries=entries, problem="its error file ends within a line")
            entries.extend(_entries(line.strip()))
            continue
        try:
            entries.extend(_entries(orjson.loads(line)))
        except orjson.JSONDecodeError:
            return ErrorFile(entries=entries, problem="its error file is cut or no JSON")
    return ErrorFile(entries=entries)


def _entries(value: Any) -> Iterator[Entry]:
    if isinstance(value, list):
        for item in value:
            yield from _entries(item)
    elif isinstance(value, dict):
        yield from _of_object({key.casefold(): item for key, item in value.items()})
    elif isinstance(value, str):
        yield Entry(message=value, cells=_addresses(value))
    else:
        yield Entry()


_LISTS = ("errors", "data", "contacts", "rows", "items")


def _of_object(row: dict[str, Any]) -> Iterator[Entry]:
    nested = next((row[key] for key in _LISTS if isinstance(row.get(key), list)), None)
    contact = row.get("contact")
    if nested is not None:
        yield from _entries(nested)
    elif isinstance(contact, dict):
        yield from _of_object({key.casefold(): item for key, item in contact.items()} | {"error": row.get("error")})
    elif "email" not in row and row and all("@" in key for key in row):
        for address, said in row.items():
            yield evolve(next(_of_object({"error": said})), email=address)
    else:
        yield _entry(row)


def _entry(row: dict[str, Any]) -> Entry:
    said = next((row[key] for key in ("error", "errormessage", "message", "errorinfo", "reason") if row.get(key)), None)
    blamed = row.get("field", row.get("property"))
    if isinstance(said, dict) and len(said) == 1:
        ((blamed, said),) = said.items()
    email = row.get("email", contact if isinstance(contact := row.get("contact"), str) else None)
    message = said if isinstance(said, str) else orjson.dumps(said).decode() if said else _NO_REASON
    return Entry(
        email=email if isinstance(email, str) else None,
        message=message,
        field=blamed if isinstance(blamed, str) else None,
        cells=_addresses(message),
    )


def _addresses(text: str) -> list[str]:
    """Find the addresses that a text mentions, without the marks that may stand around them."""
    return [address.strip("'`.!?") for address in _ADDRESS.findall(text)]


# CSVError

_MARK = re.compile(r", ?###")


def _parse_csv(text: str) -> ErrorFile:
    lines = io.StringIO(text, newline="\n").readlines()
    header: list[str] = []
    if not _MARK.search(lines[0]):
        header = _cells(lines.pop(0))
        if header[-1:] != ["error"]:
            return ErrorFile(problem="its error file does not begin with a header")
    email = next((i for i, name in enumerate(header) if name.strip().casefold() == "email"), None)
    entries: list[Entry] = []
    pending = ""
    for line in lines:
        pending += line
        if not pending.strip():
            pending = ""
        elif (cut := _error_begins(pending)) is not None and line.endswith("\n"):
            entries.append(_csv_entry(pending, cut, email))
            pending = ""
    if pending:
        return ErrorFile(entries=entries, problem="its error file ends within a line")
    return ErrorFile(entries=entries, problem=None if entries else "its error file is empty")


def _error_begins(record: str) -> re.Match[str] | None:
    """Find where the error begins: the last mark of the record, outside of quotes; None where the record goes on."""
    marks = list(_MARK.finditer(record))
    for mark in reversed(marks):
        if record.count('"', 0, mark.start()) % 2 == 0:
            return mark
    return None


def _csv_entry(record: str, mark: re.Match[str], email: int | None) -> Entry:
    cells = _cells(record[: mark.start()])
    message, _, blamed = record[mark.end() :].strip().partition("###")
    return Entry(
        email=cells[email] if email is not None and email < len(cells) else None,
        message=message or _NO_REASON,
        field=blamed or None,
        cells=cells,
    )


def _cells(record: str) -> list[str]:
    try:
        return next(iter(csv.reader(io.StringIO(record, newline=""))), [])
    except csv.Error:
        return record.rstrip("\r\n").split(",")
