"""Query parameters of lists: filters, sorting, pages (documented; recorded where the code says so: FACTS 9.8)."""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from mjbulk.testing._answers import EmulatedAnswer, Writer, error
from mjbulk.testing._rules import whole_number

Row = dict[str, Any]
Filter = Callable[[str], Callable[[Row], bool]]
"""From the text in the query to a test of rows; ValueError if the text cannot be read."""
_DEFAULT, _MOST = 10, 1000


@attrs.frozen(kw_only=True)
class Listing:
    """What the list of a resource can be asked, as the metadata of the API says it."""

    filters: Mapping[str, Filter] = attrs.field(factory=dict)
    """By name in lower case."""
    unplayed: Collection[str] = ()
    """Filters in lower case that the API has and the emulator does not play."""
    sorts: Mapping[str, bool] = attrs.field(factory=dict)
    """Fields that rows can be sorted by, and whether downwards, too."""


def page(rows: Iterable[Row], query: Mapping[str, str], writer: Writer, listing: Listing) -> EmulatedAnswer:
    """Give one page of rows, in the answer's envelope.

    ``query`` has names in lower case. Names that the API does not have are ignored (recorded), filters that the
    emulator does not play are refused: else everybody would pass for somebody. Limit=0 means 1,000 rows from the first
    one on (observed); a Limit above that counts as 1,000 (a guess). Total is the number of rows on the page, with
    ``countrecords`` (recorded) or ``countonly`` that of all rows.
    """
    refusal = _unplayed(query, listing) or _unsortable(query, listing)
    if refusal is not None:
        return refusal
    try:
        tests = [make(query[name]) for name, make in listing.filters.items() if name in query]
    except ValueError as problem:
        return error(400, f"Unexpected error during GET: {problem}")
    found = [row for row in rows if all(test(row) for test in tests)]
    if query.get("countonly", "") in {"1", "true"}:
        return writer.data([], count=len(found), total=len(found))
    _sort(found, query, listing)
    limit = _number(query.get("limit"), _DEFAULT)
    offset = _number(query.get("offset"), 0) if limit else 0
    shown = found[offset : offset + min(limit or _MOST, _MOST)]
    return writer.data(shown, total=len(found) if query.get("countrecords") == "1" else None)


def _unplayed(query: Mapping[str, str], listing: Listing) -> EmulatedAnswer | None:
    name = next((name for name in query if name in listing.unplayed), None)
    return None if name is None else error(400, f'The emulator does not play the filter "{name}", which Mailjet has')


def _order(query: Mapping[str, str]) -> tuple[str, str]:
    name, _, order = query.get("sort", "").partition(" ")
    return name.casefold(), order.strip().casefold()


def _unsortable(query: Mapping[str, str], listing: Listing) -> EmulatedAnswer | None:
    """Refuse a sort that the resource does not have, in the observed words."""
    name, order = _order(query)
    downwards = {field.casefold(): may for field, may in listing.sorts.items()}
    allowed = name in downwards and (order in {"", "asc"} or (order == "desc" and downwards[name]))
    if not query.get("sort") or allowed:
        return None
    field = query["sort"].lower()
    return error(400, f"Unexpected error during GET: Invalid sort specification: Cannot sort on field {field}")


def _sort(found: list[Row], query: Mapping[str, str], listing: Listing) -> None:
    name, order = _order(query)
    key = next((field for field in listing.sorts if field.casefold() == name), None)
    if key is not None:
        found.sort(key=lambda row: row[key], reverse=order == "desc")


def _number(text: str | None, default: int) -> int:
    number = whole_number(text)
    return default if number is None or number < 0 else number


def equals(name: str) -> Filter:
    """Make a filter for equal values: numbers are compared by their digits, texts without case."""
    return lambda wanted: lambda row: str(row[name]).casefold() == wanted.casefold()


def differs(name: str) -> Filter:
    """Make a filter for all values but one."""
    return lambda wanted: lambda row: str(row[name]).casefold() != wanted.casefold()


def is_true(name: str) -> Filter:
    """Make a filter for a boolean, written as ``true``/``false`` or ``1``/``0``."""

    def make(text: str) -> Callable[[Row], bool]:
        wanted = read_flag(text)
        return lambda row: row[name] == wanted

    return make


def at_least(name: str) -> Filter:
    """Make a filter for Unix seconds from a given time on."""

    def make(text: str) -> Callable[[Row], bool]:
        least = _seconds(text)
        return lambda row: row[name] >= least

    return make


def at_most(name: str) -> Filter:
    """Make a filter for Unix seconds up to a given time."""

    def make(text: str) -> Callable[[Row], bool]:
        most = _seconds(text)
        return lambda row: row[name] <= most

    return make


def read_flag(text: str) -> bool:
    """Read the value of a boolean filter; ValueError if it is none (that this is refused is a guess)."""
    flag = {"1": True, "true": True, "0": False, "false": False}.get(text.casefold())
    if flag is None:
        raise ValueError(f'"{text}" is not a boolean')
    return flag


def _seconds(text: str) -> float:
    """Read a time: RFC 3339 (documented) or Unix seconds (a guess)."""
    number = whole_number(text)
    if number is not None:
        return number
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f'"{text}" is not a date') from None
