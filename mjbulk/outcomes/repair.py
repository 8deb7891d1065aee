"""Rejected rows, corrected, as the rows of a new import.

Rows of one person that are sent together are one contact, and Mailjet takes or refuses it as a whole: each of its rows
is rejected. If only some of them are corrected, the values of the others are still wanted. So a corrected row is given
with the values of the earlier rows of its contact that were left alone; its own values win, column by column.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from attrs import field, frozen

from mjbulk.errors import SourceError
from mjbulk.models import Rejection, Row
from mjbulk.rows.block import EXCLUDED, NAME, PROPERTIES, Given
from mjbulk.rows.layout import flatten
from mjbulk.rows.objects import take_apart
from mjbulk.rows.plain import is_null
from mjbulk.rows.values import RowFault
from mjbulk.terms import RunSpec

Fix = Callable[[Rejection], Row | None]
"""Gives the corrected row, or None to leave it alone."""


def corrected_rows(
    rejections: Iterable[Rejection], fix: Fix, spec: RunSpec, columns: Iterable[str] = ()
) -> Iterator[tuple[int, Row]]:
    """Give the rows that ``fix`` has corrected, with their numbers.

    ``rejections`` are in the order of their rows. ``columns`` are those that each row has to have. Raises SourceError
    if ``fix`` raises.
    """
    reading = _Reading(spec)
    empty = {reading.meaning(name): (name, None) for name in columns}
    left_alone: dict[int, Mapping[Any, tuple[Any, Any]]] = {}  # by the first row of the contact
    for rejection in rejections:
        number, row = rejection.row or 0, _corrected(rejection, fix)
        first, last = rejection.merged or (number, number)
        below = left_alone.pop(first, empty)
        if row is not None:
            yield number, reading.over(below, row) if below else row
        elif number < last:
            left_alone[first] = reading.merged(below, rejection.data) or below


def columns_of_merged(rejections: Iterable[Rejection], spec: RunSpec) -> list[str]:
    """Name the columns of all rows that were merged. On the CSV way the first row has to have the columns of all others
    (FACTS 4.3), and corrected rows have those of several.
    """
    reading, names = _Reading(spec), dict[Any, str]()
    for rejection in rejections:
        if rejection.merged is not None and rejection.data is not None:
            for meaning, (name, _) in (reading.columns(rejection.data) or {}).items():
                names.setdefault(meaning, name)
    return list(names.values())


def _corrected(rejection: Rejection, fix: Fix) -> Row | None:
    try:
        return None if rejection.data is None else fix(rejection)
    except Exception as failure:
        raise SourceError(f"fix raised {type(failure).__name__}", row=rejection.row) from failure


@frozen
class _Reading:
    """How the rows of a run are read: what a column means, and which value leaves an earlier one alone."""

    _spec: RunSpec = field(repr=False)

    def over(self, below: Mapping[Any, tuple[Any, Any]], row: Row) -> Row:
        """Give a row with the values of earlier ones below its own; unchanged if it cannot be taken apart."""
        merged = self.merged(below, row)
        return row if merged is None else dict(merged.values())

    def merged(self, below: Mapping[Any, tuple[Any, Any]], row: Any) -> dict[Any, tuple[Any, Any]] | None:
        """Merge a row into earlier values. Gives None if it cannot be taken apart."""
        columns = self.columns(row)
        if columns is None:
            return None
        wins = {
            meaning: column
            for meaning, column in columns.items()
            if meaning not in below or not self._leaves_alone(meaning, column[1])
        }
        return {**below, **wins}

    def columns(self, row: Any) -> dict[Any, tuple[Any, Any]] | None:
        """Give names and values of a row by what each column means. Gives None if it cannot be taken apart, or if two
        columns mean the same.
        """
        try:
            given = self._flat(take_apart(row))
            columns = {self.meaning(name): (name, value) for name, value in zip(given.names, given.values, strict=True)}
        except RowFault:
            return None
        return columns if len(columns) == len(given.names) else None

    def _flat(self, row: Given) -> Given:
        """Lay a mapping of properties flat. In text there is none."""
        nested = [at for at, name in enumerate(row.names) if self.meaning(name) == PROPERTIES]
        return flatten(row, nested[0]) if nested and not self._spec.text else row

    def meaning(self, name: Any) -> Any:
        """Say what a column means: the casefolded name of a property, or of a field of a contact."""
        if not isinstance(name, str):
            return name
        picked = self._spec.columns
        if picked is None:
            return name.casefold()
        return picked[name].casefold() if name in picked else (name,)

    def _leaves_alone(self, meaning: Any, value: Any) -> bool:
        """Say whether a value leaves the value of an earlier row as it is, as it does when rows are merged."""
        of_contact = meaning in (NAME, EXCLUDED)
        blank = isinstance(value, str) and not value
        if is_null(value) or (blank and self._spec.text):
            return of_contact or self._spec.nulls == "keep"
        return blank and (of_contact or self._spec.via == "csv")
