"""The values of Arrow's columns as Python's own. Needs the extra ``arrow``.

A column is converted at once where that is possible, and value by value where one of them has no form in Python.
"""

import math
import struct
from contextlib import suppress
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
from attrs import frozen

_EXTENSION = b"ARROW:extension:name"
_PERIOD = "pandas.period"
_HALF = "<e"


def has_no_zone(column: Any) -> bool:
    """Say whether the type of a column is a date and time without a time zone."""
    return bool(pa.types.is_timestamp(column.type)) and column.type.tz is None


def values_of(column: Any, field: Any) -> list[Any]:
    """Give the values of a column as Python has them. ``field`` is what its schema says of it."""
    extension = getattr(column.type, "extension_name", "") or (field.metadata or {}).get(_EXTENSION, b"").decode()
    if extension == _PERIOD:
        return _periods(column)
    with suppress(Exception):  # what Arrow cannot do at once is done value by value
        column = _convertible(column)
    try:
        return _as_python(column)
    except Exception:  # noqa: BLE001  # one of them has no form in Python
        return [_value(column, index) for index in range(len(column))]


def _periods(column: Any) -> list[Any]:
    """Give periods of pandas as their texts: Arrow itself has them as bare numbers."""
    if isinstance(column.type, pa.BaseExtensionType):  # else pandas has not told Arrow of its types
        with suppress(Exception):
            return [None if text == "NaT" else text for text in map(str, column.to_pandas())]
    return [OddValue(_PERIOD) if value.is_valid else None for value in column]


def _convertible(column: Any) -> Any:
    """Give a column in a type whose values Python has."""
    if pa.types.is_dictionary(column.type):  # at once: value by value takes many times as long
        if pa.types.is_string_view(column.type.value_type):  # as polars makes them: Arrow cannot decode these
            column = pa.DictionaryArray.from_arrays(column.indices, column.dictionary.cast(pa.large_string()))
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":  # Python has no nanoseconds
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    if pa.types.is_float32(column.type):  # the shortest number that it can be, and not all digits of a float
        column = column.cast(pa.string()).cast(pa.float64())
    return column


def _as_python(column: Any) -> list[Any]:
    is_map = pa.types.is_map(column.type)
    found = list(column.to_pylist(maps_as_pydicts="strict") if is_map else column.to_pylist())
    return list(map(_shortest, found)) if pa.types.is_float16(column.type) else found


def _shortest(value: float | None) -> float | None:
    """Give the shortest number that a half is."""
    if value is None or not math.isfinite(value):
        return value
    half = struct.pack(_HALF, value)
    numbers = (float(f"{value:.{digits}g}") for digits in range(1, 6))
    return next(number for number in numbers if struct.pack(_HALF, number) == half)


def _value(column: Any, index: int) -> Any:
    try:
        return _as_python(column.slice(index, 1))[0]
    except Exception:  # noqa: BLE001  # as above
        return OddValue(str(column.type))


@frozen
class OddValue:
    """A value that Python has no form for, such as a date after the year 9999. A row with one cannot be sent."""

    type: str
    """Its type, as Arrow calls it."""

    def __str__(self) -> str:
        return f"({self.type} that Python has no form for)"
