"""What the value of a property may be, and how it is sent: "What is sent of a value" in FACTS.md.

Each function gives a value of one type for a plain one (see `mjbulk.rows.plain`), or raises ValueError, whose text
comes after "the value". None is called with a null, nor with a blank text unless the type is text.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from mjbulk.rows.codes import BadValue
from mjbulk.rows.dates import Dates

_YES = frozenset({"true", "t", "yes", "y", "on", "1", "1.0"})
_NO = frozenset({"false", "f", "no", "n", "off", "0", "0.0"})
WHOLE = re.compile(r"[+-]?[0-9]{1,19}\Z")
_WHOLE_OR_ZEROS = re.compile(r"([+-]?[0-9]{1,19})(?:\.0*)?\Z")
REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?\Z")
COMMA = re.compile(r"[+-]?[0-9][0-9.]*,[0-9.,]*[0-9]\Z")
"""A number that is written with a decimal comma, or with commas between thousands."""
_MOST_DIGITS = 1_000
"""Before or after the point of a Decimal: one line of it can stand for a number of gigabytes."""
_INT64 = range(-(2**63), 2**63)
_INFINITE = (float("inf"), float("-inf"))


def to_str(value: Any) -> str:
    """Write a value as text. A number is written plainly, and a whole one as a whole number."""
    if isinstance(value, str):
        return str.__str__(value)  # the text itself, whatever a subclass of str makes of it
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | Decimal):
        return _written(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Real):
        return str(value)
    raise ValueError(f"is a {type(value).__name__}, which is no text")


def _written(value: float | Decimal) -> str:
    if value in _INFINITE:
        raise BadValue("value.range", "is infinite")
    if isinstance(value, float):
        value = Decimal(int(value) if value == value // 1 else repr(value))
    _, digits, exponent = value.as_tuple()
    if isinstance(exponent, int) and max(len(digits) + exponent, -exponent) > _MOST_DIGITS:
        raise BadValue("value.range", "is a number of too many digits")
    return format(value, "f")


def to_int(value: Any) -> int:
    """Give a whole number: one that is written with a fraction of zeros as well."""
    if isinstance(value, str):
        found = _WHOLE_OR_ZEROS.match(value.strip())
        if found is None:
            raise _no_number("is no whole number", value, "2652")
        value = int(found[1])
    elif isinstance(value, bool) or not isinstance(value, Real | Decimal) or value in _INFINITE or value != value // 1:
        raise ValueError("is no whole number")
    if not _INT64[0] <= value <= _INT64[-1]:
        raise BadValue("value.range", "is too large a number")
    return int(value)


def _to_float(value: Any) -> float:
    if isinstance(value, str) and REAL.match(value.strip()):
        value = float(value)
    elif isinstance(value, bool) or not isinstance(value, Real | Decimal):
        raise _no_number("is no number", value, "2652.19")
    number = float(value)
    if number in _INFINITE:
        raise BadValue("value.range", "is infinite")
    return number


def _no_number(what: str, value: Any, example: str) -> ValueError:
    """Say that a value is no number; of a text with a comma also how numbers are written."""
    has_comma = isinstance(value, str) and COMMA.match(value.strip())
    return ValueError(f"{what}: it has a comma: write it as in {example}" if has_comma else what)


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, Real | Decimal):
        value = "1" if value == 1 else "0" if value == 0 else ""
    word = value.strip().casefold() if isinstance(value, str) else ""
    if word not in _YES | _NO:
        raise ValueError("is neither true nor false")
    return word in _YES


def to_any(value: Any) -> Any:
    """Give a value for a property whose type is not known, as what it is."""
    if isinstance(value, bool):
        return value
    if isinstance(value, date):
        return Dates()(value)
    if isinstance(value, Integral):
        return to_int(value)
    if isinstance(value, Real | Decimal):
        number = _to_float(value)
        return int(number) if value == value // 1 and abs(number) < 2.0**53 else number
    return to_str(value)


_CONVERT: Mapping[str, Callable[[Any], Any]] = {
    "str": to_str,
    "int": to_int,
    "float": _to_float,
    "bool": _to_bool,
    "any": to_any,
}


def converter(datatype: str, dates: Dates | None = None) -> Callable[[Any], Any]:
    """Give what converts the values of a property of this type, casefolded. ``any`` stands for an unknown property; a
    type that is not known is sent as text.
    """
    if datatype == "datetime":
        return dates or Dates()
    return _CONVERT.get(datatype, to_str)
