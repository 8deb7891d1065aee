"""The type that the values of a column look like, where it would become a property of type str: a plan tells it.

A look is a type with its values, and with the texts that are written like them. All looks are possible for a column at
first; each value leaves those that it fits. The first one that is left in the end is told.
"""

import re
from collections.abc import Collection, Sequence
from datetime import date
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from attrs import define, field, frozen

from mjbulk.rows.block import Block
from mjbulk.rows.findings import Findings
from mjbulk.rows.layout import Layout
from mjbulk.rows.plain import is_null, plain
from mjbulk.rows.values import Column

_WHOLE = r"-?(?:0|[1-9][0-9]{0,17})"
"""No zero leads a number: postal codes and telephone numbers are texts."""
_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12][0-9]|3[01])", r"(?:0?[1-9]|1[0-2])", r"[12][0-9]{3}"


def _pattern(written: str) -> re.Pattern[str]:
    return re.compile(written)


@frozen(eq=False)
class _Look:
    """What values may look like."""

    words: str
    kind: str
    """A type of properties."""
    types: Any = ()
    """Values of these types have the look."""
    written: re.Pattern[str] = field(default=r"(?!)", converter=_pattern)
    """Texts have it that match this."""
    form: str = ""
    """How dates are written, if it has to be said."""
    helps: str = ""
    """What else has to be done for the property to have this type."""

    def fits(self, texts: Sequence[str], others: Sequence[Any], *, text: bool) -> bool:
        """Say whether all values have this look. Where not all values are texts, a text in digits is meant as one."""
        if texts and not (text or self.kind == "datetime"):
            return False
        return all(map(self.written.fullmatch, texts)) and all(map(self._is_of_type, others))

    def _is_of_type(self, value: Any) -> bool:
        return isinstance(value, self.types) and (self.kind == "bool" or not isinstance(value, bool))


_LOOKS = (
    _Look("truths", "bool", bool, "(?i:true|false)"),
    _Look("whole numbers", "int", Integral, _WHOLE),
    _Look("numbers", "float", Real | Decimal, rf"{_WHOLE}(?:\.[0-9]+)?"),
    _Look(
        "numbers with a comma",
        "float",
        (),
        rf"{_WHOLE}(?:,[0-9]+)?|-?[1-9][0-9]{{0,2}}(?:\.[0-9]{{3}})+,[0-9]+",
        helps=", once they are written as in 2652.19",
    ),
    _Look("dates", "datetime", date, rf"{_YEAR}-[01][0-9]-[0-3][0-9](?:[T ][0-2][0-9]:[0-5][0-9].*)?"),
    _Look("dates", "datetime", (), rf"{_DAY}\.{_MONTH}\.{_YEAR}", "%d.%m.%Y"),
    _Look("dates", "datetime", (), rf"{_DAY}/{_MONTH}/{_YEAR}", "%d/%m/%Y"),
    _Look("dates", "datetime", (), rf"{_MONTH}/{_DAY}/{_YEAR}", "%m/%d/%Y"),
    _Look("dates", "datetime", (), rf"{_DAY}-{_MONTH}-{_YEAR}", "%d-%m-%Y"),
)


@define
class _Seen:
    """What a column has shown so far. Mutable state: all of it."""

    source: str
    first: int
    rows: int = 0
    left: Sequence[_Look] = _LOOKS


class Looks:
    """The looks of all columns that become properties of type str because nothing says otherwise.

    Mutable state: what each of them has shown so far.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._seen: dict[str, _Seen] = {}

    def see(
        self, layout: Layout, block: Block, first: int, refused: Collection[int], *, untyped: Collection[str]
    ) -> None:
        """Look at rows of which ``first`` is the number of the first; those that are ``refused``, by index, are left
        out. ``untyped`` names the properties that would be made so.
        """
        for column in layout.properties:
            seen = self._seen.get(column.target)
            if column.target in untyped and (seen is None or seen.left):
                values = [None if at in refused else value for at, value in enumerate(block.columns[column.index])]
                self._see(column, values, first, text=layout.rules.text)

    def _see(self, column: Column, values: Sequence[Any], first: int, *, text: bool) -> None:
        given = values if text else list(map(plain, values))
        texts = [value.strip() for value in given if isinstance(value, str) and value.strip()]
        others = [value for value in given if not (isinstance(value, str) or is_null(value))]
        if texts or others:
            seen = self._seen.get(column.target)
            if seen is None:
                row = first + next(at for at, value in enumerate(given) if not _is_empty(value))
                seen = self._seen[column.target] = _Seen(column.source, row)
            seen.rows += len(texts) + len(others)
            seen.left = [look for look in seen.left if look.fits(texts, others, text=text)]

    def tell(self, findings: Findings) -> None:
        """Note what columns look like, each once."""
        for target, seen in self._seen.items():
            if seen.left:
                message = f"it would become the property {target!r} of type str, and has {_said(target, seen.left)}"
                findings.note("property.str", message, column=seen.source, row=seen.first, rows=seen.rows)


def _is_empty(value: Any) -> bool:
    return is_null(value) or (isinstance(value, str) and not value.strip())


def _said(target: str, left: Sequence[_Look]) -> str:
    """Say what the values of a property look like, and what makes the property one of that type."""
    look = left[0]
    forms = " or ".join(repr(one.form) for one in left if one.form)
    form = f" with date_format={forms}" if look.form else ""
    return f"{look.words} alone: types={ ({target: look.kind})!r}{form} says otherwise{look.helps}"
