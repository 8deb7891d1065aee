"""Faults from a file in JSON: which request of which call gets which fault.

The file is a list of objects with ``call``, ``fault``, and ``times`` and ``after`` as `Emulator.fault` takes them.
``fault`` is the name of one of the makers of `Fault`, or an object of that name and its arguments::

    [{"call": "POST contact/managemanycontacts", "fault": "drop_after"},
     {"call": "POST csvimport", "fault": {"answer": {"status": 503}}, "times": 2, "after": 1}]
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from mjbulk.testing._faults import Fault

KINDS: Mapping[str, Mapping[str, type]] = {
    "answer": {"status": int, "body": str, "headers": dict, "apply": bool},
    "delay": {"before": float, "after": float},
    "drop_after": {"reset": bool},
    "drop_before": {"reset": bool},
    "drop_unread": {"reset": bool},
    "garbage": {"body": str, "apply": bool},
    "redirect": {"to": str, "status": int},
    "stall": {"apply": bool, "at": int},
    "truncated": {"at": int, "chunked": bool, "reset": bool},
}
"""The makers of `Fault` that a file can name, with the types of their arguments."""
_NEEDED = {"answer": "status", "redirect": "to", "truncated": "at"}
_WORDS = {int: "a whole number", float: "a number of seconds", str: "a text", bool: "true or false", dict: "an object"}
_HEADER = re.compile(r"[\x20-\x7e]*")


@attrs.frozen
class Entry:
    """One entry of the file, as the arguments of `Emulator.fault`."""

    call: str
    fault: Fault
    times: int | None = 1
    after: int = 0


def read_faults(content: bytes) -> list[Entry]:
    """Read the content of a file of faults. Raises ValueError that names the entry and says what is wrong with it."""
    try:
        given = orjson.loads(content)
    except ValueError as problem:
        raise ValueError(f"it is not JSON: {problem}") from None
    if isinstance(given, list):
        return [_numbered(number, one) for number, one in enumerate(given, 1)]
    raise ValueError("it has to be a list of entries, each with call and fault")


def _numbered(number: int, given: Any) -> Entry:
    try:
        return _entry(given)
    except ValueError as problem:
        raise ValueError(f"entry {number}: {problem}") from None


def _entry(given: Any) -> Entry:
    if not isinstance(given, dict) or not isinstance(given.get("call"), str):
        raise ValueError("it has to be an object with call and fault")  # noqa: TRY004
    if strange := given.keys() - {"call", "fault", "times", "after"}:
        raise ValueError(f"{min(strange)} is none of call, fault, times, after")
    times = given.get("times", 1)
    return Entry(
        given["call"],
        _fault(given.get("fault")),
        None if times is None else _count("times", times, least=1),
        _count("after", given.get("after", 0), least=0),
    )


def _count(name: str, given: Any, *, least: int) -> int:
    if not _is(given, int) or given < least:
        raise ValueError(f"{name} has to be a whole number, at least {least}")
    return int(given)


def _fault(given: Any) -> Fault:
    kind, arguments = next(iter(given.items())) if isinstance(given, dict) and len(given) == 1 else (given, {})
    if not isinstance(kind, str) or kind not in KINDS or not isinstance(arguments, dict):
        raise ValueError(f"fault has to be one of {', '.join(KINDS)}, or an object of one of them and its arguments")
    for name, value in arguments.items():
        _check(kind, name, value)
    if (needed := _NEEDED.get(kind)) and needed not in arguments:
        raise ValueError(f"{kind} needs {needed}")
    if kind == "garbage" and "body" in arguments:
        arguments["body"] = arguments["body"].encode()
    made: Fault = getattr(Fault, kind)(**arguments)
    return made


def _check(kind: str, name: str, value: Any) -> None:
    wanted = KINDS[kind].get(name)
    if wanted is None:
        raise ValueError(f"{kind} has {', '.join(KINDS[kind])}, and no {name}")
    if not _is(value, wanted):
        raise ValueError(f"{name} of {kind} has to be {_WORDS[wanted]}")
    if name == "status" and not 200 <= value <= 599:
        raise ValueError("a status is a number from 200 to 599")
    texts = [*value, *value.values()] if name == "headers" else [value] if name == "to" else []
    if not all(isinstance(text, str) and _HEADER.fullmatch(text) for text in texts):
        raise ValueError(f"{name} of {kind} can have printable ASCII only")


def _is(value: Any, wanted: type) -> bool:
    if wanted in (int, float):
        fits = isinstance(value, (int, wanted)) and not isinstance(value, bool)
        return fits and value >= 0 and math.isfinite(value)
    return isinstance(value, wanted)
