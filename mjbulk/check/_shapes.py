"""Descriptions of the form of values and files, which show nothing of their content."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from mjbulk.check._findings import word

_SUBMITTED = {"email", "properties"}
_KNOWN = {"data", "batchjob", "jsonerror", "csverror", "application:json", "text:csv", "last", "v3", "rest"}


def time_shape(value: Any) -> str:
    """Say how a timestamp is written."""
    if value is None:
        return "missing"
    if value in ("", 0, "0"):
        return "empty text" if value == "" else "0"
    if isinstance(value, int):
        return "Unix seconds"
    if not isinstance(value, str):
        return "another form"
    if value.isdigit():
        return "Unix seconds as a text"
    try:
        zone = datetime.fromisoformat(value).tzinfo
    except ValueError:
        return "another form"
    return "ISO without a zone" if zone is None else "ISO with Z" if value.endswith("Z") else "ISO with an offset"


def number_shape(value: Any) -> str:
    """Say how a number is written."""
    if isinstance(value, int) and not isinstance(value, bool):
        return "numbers"
    return "texts" if isinstance(value, str) and value.isdigit() else "something else"


def address_shape(address: str, origin: str) -> str:
    """Say how the address of an error file is written, and show only known words of it."""
    if not address:
        return "empty"
    try:
        parts = urlsplit(address)
    except ValueError:
        return "another form"
    path = "/".join(part if not part or part.casefold() in _KNOWN else "#" for part in parts.path.split("/"))
    if not parts.netloc:
        return f"{'from the root on' if path.startswith('/') else 'relative'} ({path})"
    whole = f"{parts.scheme}://{parts.netloc}"
    return f"{'absolute, on our origin' if whole == origin else 'absolute, on another host'} ({path})"


def json_file_shape(data: bytes | None) -> str:
    """Say what form the error file of a JSON job has."""
    if data is None:
        return "there is none"
    text = data.decode("utf-8", "replace").strip()
    if not text or text[0] == "<":
        return "a page of HTML" if text else "it is empty"
    try:
        return _value_shape(orjson.loads(text))
    except orjson.JSONDecodeError:
        return _lines_shape(text.splitlines())


def _lines_shape(lines: list[str]) -> str:
    try:
        values = [orjson.loads(line) for line in lines if line.strip()]
    except orjson.JSONDecodeError:
        return "JSON that is cut or broken" if lines[0][:1] in ("[", "{") else "lines of text"
    return f"a JSON value a line: {_of_items(values)}"


def _value_shape(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {_of_items(value)}"
    if not isinstance(value, dict):
        return "one JSON value"
    under = next((key for key, item in value.items() if isinstance(item, list)), None)
    if under is None:
        return f"one object ({_keys([value])})"
    others = _keys([{key: 0 for key in value if key != under}])
    beside = f", beside {others}" if others else ""
    return f"an object with a list under {word(under)}{beside}: {_of_items(value[under])}"


def _of_items(items: list[Any]) -> str:
    if not items or not all(isinstance(item, dict) for item in items):
        return "texts" if items and all(isinstance(item, str) for item in items) else "nothing, or mixed values"
    added = {key for item in items for key in item if key.casefold() not in _SUBMITTED}
    if {key.casefold() for key in items[0]} >= _SUBMITTED:
        return f"the contacts as they were sent, with more keys ({_keys([dict.fromkeys(sorted(added))])})"
    return f"objects ({_keys(items)})"


def _keys(items: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(sorted({word(key) for item in items for key in item}))


def csv_file_shape(data: bytes | None) -> str:
    """Say what form the error file of a csvimport has."""
    if data is None:
        return "there is none"
    lines = data.decode("utf-8", "replace").splitlines()
    header = bool(lines) and lines[0].split(",")[-1].strip('" ') == "error"
    marked = sum(",###" in line.replace(", ###", ",###") for line in lines)
    return f"{'a header that ends in error' if header else 'no header'}, {marked} lines with ### before the error"
