"""Rules for values: addresses, property types, booleans, datetimes, keys without case.

The texts "Property type does not match definition" and "property not defined" are documented or observed; the text
about a bad address is a guess.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

BAD_ADDRESS = "Invalid email address"
NO_ADDRESS = "MJ08 Property email is invalid: MJ03 A non-empty value is required"
BAD_TYPE = "Property type does not match definition"
NOT_DEFINED = "property not defined"
DATATYPES = ("str", "int", "float", "bool", "datetime")
SUBSCRIPTION_ACTIONS = ("addforce", "addnoforce", "remove", "unsub")

_LABEL = r"[^\s@.\-\x00-\x1f\x7f-\x9f](?:[^\s@.\x00-\x1f\x7f-\x9f]*[^\s@.\-\x00-\x1f\x7f-\x9f])?"
_ADDRESS = re.compile(
    r'(?:"(?:[^\s"\\\x00-\x1f\x7f-\x9f]|\\[^\s\x00-\x1f\x7f-\x9f])++"|[^\s@"\x00-\x1f\x7f-\x9f]++)'
    rf"@{_LABEL}(?:\.{_LABEL})+"
)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_LONGEST_ADDRESS = 320


def is_address(text: Any) -> bool:
    """Tell whether this may be an e-mail address, in time linear in its length."""
    return isinstance(text, str) and len(text) <= _LONGEST_ADDRESS and _ADDRESS.fullmatch(text) is not None


def person(address: str) -> str:
    """Give the key of a person: two addresses with the same key are one person."""
    return address.strip().casefold()


def truth(value: Any) -> bool | None:
    """Read a boolean as Mailjet does (FACTS 1.10: ``true`` and ``"true"``); give None for anything else."""
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.casefold())
    return value if isinstance(value, bool) else None


def whole_number(value: Any) -> int | None:
    """Read an integer of 64 bits from a number or its digits (observed: ``"ListID":"61309"`` is accepted); give None
    for anything else.
    """
    number = int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else value
    fits = isinstance(number, int) and not isinstance(number, bool) and -(2**63) <= number < 2**63
    return number if fits else None


def convert(value: Any, datatype: str) -> Any:
    """Convert a value to the type of its property. Raises ValueError if it does not fit.

    The conversions are guesses: digits become numbers, and scalars become strings. It is documented that a Unix time or
    RFC 3339 is a datetime.
    """
    converted = _CONVERSIONS[datatype](value)
    if converted is None:
        raise ValueError(BAD_TYPE)
    return converted


def _real_number(value: Any) -> float | None:
    written = isinstance(value, str) and _NUMBER.fullmatch(value)
    given = isinstance(value, (int, float)) and not isinstance(value, bool)
    number = float(value) if written or given else math.inf
    return number if math.isfinite(number) else None


def _point_in_time(value: Any) -> str | None:
    seconds = whole_number(value)
    try:
        if seconds is not None:
            return stamp(datetime.fromtimestamp(seconds, UTC))
        if isinstance(value, str) and len(value) >= len("2018-01-01"):
            moment = datetime.fromisoformat(value)
            return stamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError, OSError):
        return None
    return None


def string(value: Any) -> str | None:
    """Read a text; scalars become texts, and None is given for anything else."""
    if value is None or isinstance(value, (dict, list)):
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "str": string,
    "int": whole_number,
    "float": _real_number,
    "bool": truth,
    "datetime": _point_in_time,
}


def stamp(moment: datetime) -> str:
    """Write a time as RFC 3339 in UTC, as Mailjet's answers do."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_TOKENS = {"yyyy": "%Y", "yy": "%y", "mm": "%m", "dd": "%d", "hh": "%H", "nn": "%M", "ss": "%S"}


def datetime_reader(fmt: str, offset_hours: int) -> "DateTimeReader":
    """Make a reader for the DateTimeFormat of ImportOptions (FACTS 5.3: yy mm dd hh nn ss, any case)."""
    pattern = re.sub("|".join(_TOKENS), lambda m: _TOKENS[m[0].lower()], fmt.replace("%", "%%"), flags=re.IGNORECASE)
    return DateTimeReader(pattern, timezone(timedelta(hours=offset_hours)))


class DateTimeReader:
    """A reader of CSV cells as datetimes in one format; it accepts RFC 3339 too."""

    def __init__(self, pattern: str, zone: timezone) -> None:
        self._pattern, self._zone = pattern, zone

    def __call__(self, text: str) -> Any:
        try:
            return stamp(datetime.strptime(text, self._pattern).replace(tzinfo=self._zone))
        except ValueError:
            return convert(text, "datetime")


def fold_keys(record: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Give a record with ``names`` in their proper case, whatever case the caller used (observed)."""
    canonical = {name.casefold(): name for name in names}
    return {canonical.get(key.casefold(), key): value for key, value in record.items()}
