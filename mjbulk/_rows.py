"""What a row may be, and what of it is sent.

A row comes as names and values. A `Layout` is made once for each distinct set of names; it says which value is the
address, which the name, which are properties and of what type, and turns the values of a row into what Mailjet takes.
What is wrong with the names is a fault of columns; what is wrong with values is a fault of the row.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from typing import Any, Literal
from uuid import UUID

import orjson
from attrs import field, frozen

from mjbulk.errors import UsageError
from mjbulk.models import Contact, Property

EMAIL = "email"
NAME = "name"
EXCLUDED = "isexcludedfromcampaigns"
PROPERTIES = "properties"
_ROLES = frozenset({EMAIL, NAME, EXCLUDED, PROPERTIES})
MAX_ADDRESS = 320
NO_ADDRESS = "the source has no column 'email'; columns= can name the one that it is"

_LABEL = r"[^\W_](?:[\w-]*[^\W_])?"
_ADDRESS = re.compile(rf"""(?:[^\s@"(),:;<>\[\]\\\x00-\x1f\x7f]+|"[^"\x00-\x1f\x7f]+")@{_LABEL}(?:\.{_LABEL})+\Z""")
_WORDS = {"true": True, "1": True, "false": False, "0": False}
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}\Z")
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?\Z")


class RowFault(Exception):  # a fault of data, not an error of the program
    """A row cannot be sent. ``field`` names the column that is to blame, ``message`` says why."""

    def __init__(self, field: str | None, message: str) -> None:
        super().__init__()
        self.field = field
        self.message = message


class ColumnFault(RowFault):
    """The names of a row are wrong, not its values: before anything was sent, this refuses the whole run."""


@frozen
class Given:
    """A row as it was given."""

    names: tuple[str, ...]
    values: Sequence[Any] = field(repr=False)
    raw: str | None = field(default=None, repr=False)
    """The record as it stands in a CSV file."""
    number: int | None = None
    """The number that the row has already; None gives it the next one."""

    def as_dict(self) -> dict[str, Any]:
        """Give it back."""
        return dict(zip(self.names, self.values, strict=False))


def given(row: Any) -> Given:
    """Take a row apart: anything with ``keys()`` and ``[]``, a `Contact`, or a bare address.

    Raises RowFault for anything else.
    """
    if type(row) is dict:
        return Given(tuple(row), tuple(row.values()))
    if isinstance(row, str):
        return Given((EMAIL,), (row,))
    if isinstance(row, Contact):
        names = [EMAIL, PROPERTIES]
        values: list[Any] = [row.email, row.properties]
        for name, value in ((NAME, row.name), (EXCLUDED, row.excluded)):
            if value is not None:
                names.append(name)
                values.append(value)
        return Given(tuple(names), tuple(values))
    try:
        names_ = tuple(row.keys())
        return Given(names_, tuple(row[name] for name in names_))
    except (AttributeError, TypeError, KeyError):
        raise RowFault(None, f"a row has keys() and []; this is {type(row).__name__}") from None


def key_of(address: str) -> str:
    """Give the form in which an address stands for a person: trimmed and casefolded."""
    return address.strip().casefold()


def is_null(value: Any) -> bool:
    """Whether a value stands for nothing: None, NaN, and what data frames have for both."""
    if value is None:
        return True
    if isinstance(value, float | Decimal):
        return value != value  # noqa: PLR0124  # only NaN differs from itself
    return type(value).__name__ in ("NAType", "NaTType")


# Values


def _to_str(value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
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
    if word not in _WORDS:
        raise ValueError("is neither true nor false")
    return _WORDS[word]


def _to_datetime(value: Any) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
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


def _to_any(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return _to_datetime(value)
    if isinstance(value, bool | str):
        return value
    if isinstance(value, Real | Decimal):
        return _to_int(value) if isinstance(value, Integral) else _to_float(value)
    return _to_str(value)


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "str": _to_str,
    "int": _to_int,
    "float": _to_float,
    "bool": _to_bool,
    "datetime": _to_datetime,
    "any": _to_any,
}


def check_address(value: Any) -> str:
    """Give an address without the blanks around it.

    Raises RowFault where it is missing or can be none.
    """
    if is_null(value) or value == "":
        raise RowFault(EMAIL, "the address is missing")
    if not isinstance(value, str):
        raise RowFault(EMAIL, f"the address is a {type(value).__name__}, not a text")
    address = value.strip()
    if not address:
        raise RowFault(EMAIL, "the address is missing")
    if len(address) > MAX_ADDRESS or not _ADDRESS.match(address):
        raise RowFault(EMAIL, "this is no e-mail address")
    return address


# Layouts


@frozen
class Column:
    """A column that sets a property."""

    index: int
    source: str
    target: str
    """The property, as the account spells it."""
    datatype: str
    convert: Callable[[Any], Any]
    plain: bool
    """Whether a text can be taken as it is."""

    def value(self, values: Sequence[Any]) -> Any:
        """Give the value of a row, converted; None for a null. Raises RowFault where it does not fit."""
        value = values[self.index]
        if is_null(value):
            return None
        plain = value == "" or (self.plain and type(value) is str)
        return value if plain else _converted(self.convert, self.source, value)


@frozen(kw_only=True)
class Terms:
    """What the caller and the account say of columns: the same for all rows of a run."""

    properties: Mapping[str, Property] | None
    """Those of the account, by their casefolded names; None takes any, with values as they are. Looked at whenever a
    layout is made: it may grow."""
    columns: Mapping[str, str] | None = None
    nulls: Literal["keep", "unassign"] = "keep"
    text: bool = False
    """Whether all values are text, and an empty one is a null: in CSV there is no other."""
    only_address: bool = False
    """Whether nothing but the address is read."""
    csv_way: bool = False
    """Whether rows go as CSV: it can carry an address and properties, and nothing else."""


@frozen(kw_only=True, eq=False)
class Layout:
    """Where in a row stands what. See `layout_of`."""

    email: int | None
    """None: rows with these names have no address, and are refused one by one."""
    name: int | None
    excluded: int | None
    nested: int | None
    """Where a mapping of properties stands, in Mailjet's own contact object: such rows are laid flat first."""
    properties: tuple[Column, ...]
    terms: Terms
    whole: bool = False
    """Whether rows with these names are sent with all their columns, in their order."""

    def address(self, values: Sequence[Any]) -> str:
        """Give the address of a row. Raises RowFault where it is missing or can be none."""
        return check_address(None if self.email is None else values[self.email])

    def contact(self, values: Sequence[Any]) -> dict[str, Any]:
        """Give the contact of a row as Mailjet takes it.

        Raises RowFault where a value does not fit.
        """
        contact: dict[str, Any] = {"Email": self.address(values)}
        if self.name is not None and not is_null(name := values[self.name]) and name != "":
            contact["Name"] = _converted(_to_str, NAME, name)
        if self.excluded is not None and not is_null(excluded := values[self.excluded]) and excluded != "":
            contact["IsExcludedFromCampaigns"] = _converted(_to_bool, "IsExcludedFromCampaigns", excluded)
        if self.properties and (properties := self._properties(values)):
            contact["Properties"] = properties
        return contact

    def _properties(self, values: Sequence[Any]) -> dict[str, Any]:
        keep = self.terms.nulls == "keep"
        text = self.terms.text
        properties: dict[str, Any] = {}
        for column in self.properties:
            value = values[column.index]
            if value == "" if text else is_null(value):
                if not keep:
                    properties[column.target] = None
            elif column.plain and type(value) is str:
                properties[column.target] = value
            else:
                properties[column.target] = _converted(column.convert, column.source, value)
        return properties


def flat(row: Given, nested: int) -> Given:
    """Lay a row flat whose properties stand in a mapping of their own.

    Raises RowFault where that is no mapping.
    """
    inner = row.values[nested]
    if is_null(inner):
        inner = {}
    if not isinstance(inner, Mapping):
        raise RowFault("Properties", "Properties is no mapping of names to values")
    names = (*row.names[:nested], *row.names[nested + 1 :], *inner)
    return Given(names, (*row.values[:nested], *row.values[nested + 1 :], *inner.values()))


def _converted(convert: Callable[[Any], Any], source: str, value: Any) -> Any:
    try:
        return convert(value)
    except (ValueError, OverflowError, ArithmeticError) as why:
        raise RowFault(source, f"the value {why}") from None


def encode(contact: Mapping[str, Any]) -> bytes:
    """Encode one contact.

    Raises RowFault where a text in it is no valid Unicode.
    """
    try:
        return orjson.dumps(contact)
    except TypeError:
        raise RowFault(_undecodable(contact), "the value is no valid Unicode text") from None


def _undecodable(contact: Mapping[str, Any]) -> str | None:
    named = {**contact.get("Properties", {}), **contact}
    named.pop("Properties", None)
    for name, value in named.items():
        try:
            str(value).encode()
        except UnicodeEncodeError:
            return str(name)
    return None


def merge(earlier: bytes, later: bytes) -> bytes:
    """Merge two encoded rows of one person: the later one wins, key by key."""
    first, second = orjson.loads(earlier), orjson.loads(later)
    properties = {**first.get("Properties", {}), **second.get("Properties", {})}
    merged = first | second
    if properties:
        merged["Properties"] = properties
    return orjson.dumps(merged)


def layout_of(names: Sequence[str], terms: Terms) -> Layout:
    """Say what stands where in rows with these names.

    Raises ColumnFault: two columns for one thing, a property that is not defined.
    """
    roles: dict[str, int] = {}
    rest = []
    chosen = _chosen(names, terms.columns)
    for index, source, target in chosen:
        folded = target.casefold()
        if terms.only_address and folded != EMAIL:
            continue
        if folded not in _roles(terms):
            rest.append((index, source, target))
        elif folded in roles:
            raise ColumnFault(source, f"two columns are {folded!r}")
        elif folded == EXCLUDED and terms.csv_way:
            raise ColumnFault(source, "the CSV way cannot set IsExcludedFromCampaigns")
        else:
            roles[folded] = index
    try:
        properties = _property_columns(rest, terms)
    except ColumnFault:
        if EMAIL in roles:
            raise
        raise ColumnFault(EMAIL, NO_ADDRESS) from None
    return Layout(
        email=roles.get(EMAIL),
        name=roles.get(NAME),
        excluded=roles.get(EXCLUDED),
        nested=roles.get(PROPERTIES),
        properties=properties,
        terms=terms,
        whole=len(roles) + len(rest) == len(names),
    )


def _roles(terms: Terms) -> frozenset[str]:
    """Give the targets that are no properties: on the CSV way a name is one, and a text is no mapping of properties."""
    without = ({NAME} if terms.csv_way else set()) | ({PROPERTIES} if terms.text else set())
    return _ROLES - without


def _chosen(names: Sequence[str], columns: Mapping[str, str] | None) -> list[tuple[int, str, str]]:
    for name in names:
        if not isinstance(name, str):
            raise ColumnFault(None, f"the name of a column is a {type(name).__name__}, not a text")
    if len(set(names)) != len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise ColumnFault(twice, f"two columns are named {twice!r}")
    if columns is None:
        return [(index, name, name) for index, name in enumerate(names)]
    return [(index, name, columns[name]) for index, name in enumerate(names) if name in columns]


def _property_columns(chosen: Sequence[tuple[int, str, str]], terms: Terms) -> tuple[Column, ...]:
    columns = []
    seen: set[str] = set()
    for index, source, target in chosen:
        known = _defined(target, terms.properties)
        if known is None:
            raise ColumnFault(source, f"there is no property {target!r}")
        if known.namespace.casefold() != "static":
            raise ColumnFault(
                source, f"property {known.name!r} is {known.namespace}: only static ones can be set in bulk"
            )
        if known.name in seen:
            raise ColumnFault(source, f"two columns are property {known.name!r}")
        seen.add(known.name)
        convert = _CONVERT.get(known.datatype.casefold(), _to_str)  # a type that Mailjet may invent: as text
        plain = convert in (_to_str, _to_any)
        columns.append(Column(index, source, known.name, known.datatype.casefold(), convert, plain))
    return tuple(columns)


def _defined(name: str, properties: Mapping[str, Property] | None) -> Property | None:
    return Property(id=0, name=name, datatype="any") if properties is None else properties.get(name.casefold())


def missing_columns(names: Sequence[str], columns: Mapping[str, str] | None) -> list[str]:
    """Name the columns that the caller picks and that are not there."""
    return [name for name in columns or () if name not in set(names)]


def property_names(names: Sequence[str], terms: Terms) -> list[str]:
    """Give the properties that rows with these names set."""
    roles = _roles(terms)
    return [target for _, _, target in _chosen(names, terms.columns) if target.casefold() not in roles]


def refuse_columns(fault: ColumnFault) -> UsageError:
    """Give the error that refuses a run for its columns."""
    column = f" (column {fault.field!r})" if fault.field and repr(fault.field) not in fault.message else ""
    return UsageError(f"{fault.message}{column}")
