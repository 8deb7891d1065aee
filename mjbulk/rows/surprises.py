"""What is made of a value and may surprise, though it fits: a plan tells it."""

from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from decimal import Decimal
from numbers import Real
from types import NoneType
from typing import Any

from mjbulk.rows.block import Block
from mjbulk.rows.findings import Findings
from mjbulk.rows.layout import ColumnRules, Layout
from mjbulk.rows.plain import is_null, plain

_MESSAGES = {
    "value.whole_float": "numbers with a fraction of zero (75001.0) are sent as whole numbers (75001)",
    "value.unix_time": "numbers are read as Unix time, in seconds since 1970",
    "value.date_of_digits": "numbers of eight digits (20251231) are read as dates",
    "value.day": "days without a time are sent as midnight, in UTC or in the zone of timezone=",
    "value.boolean": "other words and numbers than true and false are read as such",
    "value.blank": "blank texts are nulls: only a property of type str can have one",
}
_UNSURPRISING = {"str": frozenset({str, int, bool, NoneType}), "bool": frozenset({bool, NoneType})}
"""Types of values that are sent as anybody expects."""


def note_surprises(findings: Findings, layout: Layout, block: Block, first: int, refused: Collection[int]) -> None:
    """Note what may surprise in rows of which ``first`` is the number of the first; those that are ``refused``, by
    index, are left out.
    """
    for column in () if layout.rules.only_address else layout.properties:
        values = block.columns[column.index]
        types = set(map(type, values))
        if types <= _UNSURPRISING.get(column.datatype, frozenset()):
            continue
        if column.datatype not in _JUDGES and not any(issubclass(kind, str) for kind in types):
            continue
        for index, value in enumerate(values):
            code = None if index in refused else _code(column.datatype, value, layout.rules)
            if code is not None:
                findings.note(code, _MESSAGES[code], column=column.source, row=first + index)


def _code(datatype: str, given: Any, rules: ColumnRules) -> str | None:
    """Give the code of what may surprise in a value that was taken, or None."""
    value = plain(given)
    if is_null(value) or (rules.text and value == ""):
        return None
    if isinstance(value, str) and datatype in ("int", "float", "bool", "datetime") and not value.strip():
        return "value.blank"
    if datatype == "datetime" and rules.dates.has_form(value):
        return None
    judge = _JUDGES.get(datatype)
    return judge(value) if judge else None


def _of_str(value: Any) -> str | None:
    return "value.whole_float" if isinstance(value, float) and value == value // 1 else None


def _of_bool(value: Any) -> str | None:
    as_expected = isinstance(value, bool) or str(value).strip().casefold() in ("true", "false")
    return None if as_expected else "value.boolean"


def _of_datetime(value: Any) -> str | None:
    if isinstance(value, str):
        value = value.strip()
        digits = value.partition(".")[0]
        if not digits.isdecimal():
            return "value.day" if len(value) <= len("2026-01-01") else None
        value = int(digits)
    if isinstance(value, Real | Decimal):
        return "value.date_of_digits" if value < 10**8 else "value.unix_time"
    return "value.day" if isinstance(value, date) and not isinstance(value, datetime) else None


_JUDGES: Mapping[str, Callable[[Any], str | None]] = {"str": _of_str, "bool": _of_bool, "datetime": _of_datetime}
