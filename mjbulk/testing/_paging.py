"""Query parameters of lists: filters, sorting, pages (documented; recorded where the code says so: FACTS 9.8)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mjbulk.testing._answers import EmulatedAnswer, Writer
from mjbulk.testing._rules import whole_number

Row = dict[str, Any]
Filter = Callable[[Row, str], bool]
_DEFAULT, _MOST = 10, 1000


def page(
    rows: Iterable[Row],
    query: Mapping[str, str],
    writer: Writer,
    *,
    filters: Mapping[str, Filter] | None = None,
    sorts: Iterable[str] = ("ID",),
) -> EmulatedAnswer:
    """Give one page of rows, in the answer's envelope.

    ``query`` has names in lower case; unknown ones are ignored (recorded). Limit=0 means 1,000; a Limit above that
    counts as 1,000 (a guess). Total is the number of rows on the page, unless ``countrecords`` (recorded) or
    ``countonly`` asks for the number of all rows.
    """
    found = [row for row in rows if all(f(row, query[n]) for n, f in (filters or {}).items() if n in query)]
    if query.get("countonly", "") in {"1", "true"}:
        return writer.data([], total=len(found))
    key, _, order = query.get("sort", "").partition(" ")
    name = next((name for name in sorts if name.casefold() == key.casefold()), None)
    if name is not None:
        found.sort(key=lambda row: row[name], reverse=order.strip().casefold() == "desc")
    limit = _number(query.get("limit"), _DEFAULT) or _MOST
    offset = _number(query.get("offset"), 0)
    shown = found[offset : offset + min(limit, _MOST)]
    return writer.data(shown, total=len(found) if query.get("countrecords") == "1" else None)


def _number(text: str | None, default: int) -> int:
    number = whole_number(text)
    return default if number is None or number < 0 else number


def equals(name: str) -> Filter:
    """Make a filter for equal values: numbers are compared by their digits, texts without case."""
    return lambda row, wanted: str(row[name]).casefold() == wanted.casefold()


def is_true(name: str) -> Filter:
    """Make a filter for a boolean, written as ``true``/``false`` or ``1``/``0``."""
    return lambda row, wanted: row[name] == (wanted.casefold() in {"1", "true"})


def at_least(name: str) -> Filter:
    """Make a filter for numbers from a given one on."""
    return lambda row, wanted: row[name] >= _number(wanted, 0)


def at_most(name: str) -> Filter:
    """Make a filter for numbers up to a given one."""
    return lambda row, wanted: row[name] <= _number(wanted, 0)
