"""What the value of a property may be, and how it is sent (FACTS 8.2).

A value that does not fit is a fault of its row. A column whose values all have the right type already is recognised in
one pass, and taken as it is.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from typing import Any
from uuid import UUID

from attrs import frozen

_YEAR_1, _YEAR_9999 = -62135596800, 253402300799  # as Unix times
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}\Z")
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?\Z")


class RowFault(Exception):  # a fault of data, not an error of the program
    """A row cannot be sent. ``field`` names the column at fault, ``message`` says why."""

    def __init__(self, field: str | None, message: str) -> None:
        super().__init__()
        self.field = field
        self.message = message


class ColumnFault(RowFault):
    """The names of a row are wrong, not its values. Before anything was sent it refuses the whole run."""


def is_null(value: Any) -> bool:
    """Say whether a value stands for nothing: None, NaN, or what data frames and arrays have for either."""
    if value is None:
        return True
    try:
        if isinstance(value, str | int):
            return False
        if isinstance(value, Decimal):
            return value.is_nan()
        if isinstance(value, Real) or type(value).__name__ in ("datetime64", "timedelta64"):
            return bool(value != value)  # noqa: PLR0124  # only NaN and NaT differ from themselves
    except Exception:  # noqa: BLE001  # a user's value may raise anything when it is looked at
        return False
    return type(value).__name__ in ("NAType", "NaTType")


# Values: each function gives a value of one type, or raises ValueError, whose text comes after "the value"


def _as_str(text: str) -> str:
    """Give the text itself, whatever a subclass of str makes of it."""
    return str.__str__(text)


def to_str(value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return _as_str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | Decimal) and value in (float("inf"), float("-inf")):
        raise ValueError("is infinite")
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Real | Decimal | UUID):
        return str(value)
    raise ValueError(f"is a {type(value).__name__}, which is no text")


def _to_int(value: Any) -> int:
    if (isinstance(value, str) and _WHOLE.match(value.strip())) or (
        isinstance(value, float | Decimal) and value == value // 1
    ):
        value = int(value)
    elif isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError("is no whole number")
    if not -(2**63) <= value < 2**63:
        raise ValueError("is too large a number")
    return int(value)


def _to_float(value: Any) -> float:
    if isinstance(value, str) and _REAL.match(value.strip()):
        value = float(value)
    elif isinstance(value, bool) or not isinstance(value, Real | Decimal):
        raise ValueError("is no number")
    number = float(value)
    if number in (float("inf"), float("-inf")):
        raise ValueError("is infinite")
    return number


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().casefold() if isinstance(value, str | int) else ""
    if word not in _BOOLEANS:
        raise ValueError("is neither true nor false")
    return _BOOLEANS[word]


def _to_datetime(value: Any) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool):
        if not _YEAR_1 <= value <= _YEAR_9999:
            raise ValueError("is no Unix time")
        return int(value)
    if isinstance(value, str):
        try:
            text = value.strip()
            value = date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text)
        except ValueError:
            raise ValueError("is no date and time in RFC 3339") from None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("has no time zone")
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00Z"
    raise ValueError("is no date")


def to_any(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return _to_datetime(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _as_str(value)
    if isinstance(value, Real | Decimal):
        return _to_int(value) if isinstance(value, Integral) else _to_float(value)
    return to_str(value)


CONVERT: dict[str, Callable[[Any], Any]] = {
    "str": to_str,
    "int": _to_int,
    "float": _to_float,
    "bool": _to_bool,
    "datetime": _to_datetime,
    "any": to_any,
}
"""By the types of properties; ``any`` stands for an unknown one."""


def _converted(convert: Callable[[Any], Any], source: str, value: Any) -> Any:
    """Convert a value, which may be one of numpy. Raises RowFault if it does not fit."""
    try:
        if type(value).__module__ == "numpy":
            value = _python_value(value)
            if is_null(value):
                return None
        return convert(value)
    except (ValueError, OverflowError, ArithmeticError) as why:
        raise RowFault(source, f"the value {why}") from None
    except Exception:  # noqa: BLE001  # a user's value may raise anything when it is read
        raise RowFault(source, f"the value is a {type(value).__name__} that cannot be read") from None


def _python_value(value: Any) -> Any:
    """Give Python's own value for one of numpy; one without such a value stays as it is."""
    unit = str(getattr(value, "dtype", ""))
    if unit.startswith("datetime64") and unit.endswith(_BELOW_MICROSECONDS):
        value = value.astype("datetime64[us]")  # Python has no nanoseconds
    try:
        own = value.item()
    except (AttributeError, ValueError):  # an array of no value, or of many
        return value
    if unit.startswith("timedelta64") and own is not None:  # numpy calls it a number
        raise ValueError("is a timedelta64, which is neither text nor number")
    no_form = unit.startswith("datetime64") and isinstance(own, int)  # Python has no such date, and gives a number
    return value if no_form else own


_BELOW_MICROSECONDS = ("ns]", "ps]", "fs]", "as]")


# Columns


@frozen
class Column:
    """A column that sets a property."""

    index: int
    """Its index among the columns of a row."""
    source: str
    """Its name in the source."""
    target: str
    """The property, as the account spells it."""
    datatype: str
    """The type of the property, casefolded."""
    convert: Callable[[Any], Any]
    plain: bool
    """Whether a text is sent as it is."""

    def read(self, value: Any, *, text: bool = False) -> Any:
        """Convert a value; a null gives None. With ``text`` an empty text is a null, and nothing else is.

        Raises RowFault if the value does not fit.
        """
        if value == "" if text else is_null(value):
            return None
        return value if self.plain and type(value) is str else _converted(self.convert, self.source, value)

    def read_all(self, values: Sequence[Any], faults: dict[int, RowFault], *, text: bool = False) -> Sequence[Any]:
        """Convert the values of many rows, and note in ``faults``, by index, those that do not fit: they give None.

        A column whose values all have the right type already is returned as it is. Texts that are equal are converted
        once.
        """
        if text and self.plain:
            return [value or None for value in values] if "" in values else values
        if text:
            known = self._read_texts(set(values))
            found = list(map(known.__getitem__, values))
        elif _fits(self.datatype, values):
            return values
        else:
            found = [self._value_or_fault(value) for value in values]
        if RowFault in set(map(type, found)):
            for index, value in enumerate(found):
                if isinstance(value, RowFault):
                    faults.setdefault(index, value)
                    found[index] = None
        return found

    def check_texts(self, texts: Sequence[str], faults: dict[int, RowFault]) -> None:
        """Note in ``faults``, by index, the texts that do not fit."""
        known = self._read_texts(set(texts))
        if RowFault in set(map(type, known.values())):
            self.read_all(texts, faults, text=True)

    def _read_texts(self, texts: Collection[str]) -> Mapping[str, Any]:
        """Give for each text its value, or what is wrong with it."""
        matches, make = _FROM_TEXT.get(self.datatype, (None, str))
        if matches is not None and all(map(matches, texts)):
            values = list(map(make, texts))
            if _fits(self.datatype, values):
                return dict(zip(texts, values, strict=True))
        return {value: self._value_or_fault(value, text=True) for value in texts}

    def _value_or_fault(self, value: Any, *, text: bool = False) -> Any:
        try:
            return self.read(value, text=text)
        except RowFault as fault:
            return fault


_FROM_TEXT: dict[str, tuple[Callable[[str], object], Callable[[str], Any]]] = {
    "int": (_WHOLE.match, int),
    "float": (_REAL.match, float),
}
"""What a text must match, and what makes a value of it."""
_EXACT_TYPE = {"str": str, "int": int, "float": float, "bool": bool}


def _fits(datatype: str, values: Sequence[Any]) -> bool:
    """Say whether all values have exactly the type of the property, and can be sent: none is a null."""
    if set(map(type, values)) != {_EXACT_TYPE.get(datatype)}:
        return False
    if datatype == "int":
        return bool(min(values) >= -(2**63) and max(values) < 2**63)
    return datatype != "float" or all(map(math.isfinite, values))
