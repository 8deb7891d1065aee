"""Which column of a row is what, and what of a row is sent.

A `Layout` is made once for each distinct set of names. It says which column has the address, which the name, and which
set properties, of what type; and it turns the values of rows into contacts as Mailjet takes them. Wrong names are a
fault of columns, wrong values a fault of the row.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import frozen

from mjbulk.errors import UsageError
from mjbulk.resources import Property
from mjbulk.rows.addresses import EMAIL, are_addresses, check_address
from mjbulk.rows.block import EXCLUDED, NAME, PROPERTIES, Block, Given
from mjbulk.rows.contacts import Contacts
from mjbulk.rows.convert import converter
from mjbulk.rows.dates import NO_ZONE, Dates
from mjbulk.rows.names import clean_name, listed, meant, no_address
from mjbulk.rows.plain import is_null
from mjbulk.rows.values import Column, ColumnFault, RowFault

_EXCLUSION = "IsExcludedFromCampaigns"
_INCLUDES = (
    "who was put on the exclusion list meanwhile would be taken off it: leave this out, or make the run with "
    'resend="always"'
)
_CONVERTED = frozenset({"int", "float", "bool", "datetime"})
"""Types whose values are sent as something else than text, if their type is known."""
_ROLES = frozenset({EMAIL, NAME, EXCLUDED, PROPERTIES})


_ANYWHERE = Dates()


@frozen(kw_only=True)
class ColumnRules:
    """What the caller and the account say about columns: the same for all rows of a run."""

    properties: Mapping[str, Property] | None
    """The properties of the account by their casefolded names; it may grow, and each new layout looks at it. None
    allows all names, and values keep their types."""
    columns: Mapping[str, str] | None = None
    """The columns that are read, and what each is called at Mailjet; None reads all, by their own names."""
    nulls: Literal["keep", "unassign"] = "keep"
    """Whether a null leaves its property alone, or unassigns it."""
    text: bool = False
    """Whether all values are texts, and only an empty one is a null, as in CSV."""
    only_address: bool = False
    """Whether only the address is read."""
    via_csv: bool = False
    """Whether rows are sent as CSV, which carries an address and properties and nothing else (FACTS 4.4)."""
    dates: Dates = _ANYWHERE
    """How dates and times are read."""
    includes: bool = True
    """Whether a row may take a person off the exclusion list (FACTS 1.6)."""


@frozen(kw_only=True, eq=False)
class Layout:
    """Which column of a row is what, by its index. Made by `layout_of`."""

    email: int | None
    """None: rows with these names have no address, and are refused one by one."""
    name: int | None
    excluded: int | None
    nested: int | None
    """The column of a mapping of properties, as Mailjet's own contact object has one: such rows are flattened first."""
    properties: tuple[Column, ...]
    rules: ColumnRules
    whole: bool = False
    """Whether all columns of these rows are sent, in their order."""
    unnamed: tuple[int, ...] = ()
    """Columns without a name: they do not count, as long as they are empty."""

    def contact(self, values: Sequence[Any]) -> dict[str, Any]:
        """Give the contact of one row as Mailjet takes it.

        Raises RowFault if a value does not fit.
        """
        faults: dict[int, RowFault] = {}
        contacts = self.contacts([[value] for value in values], 1, faults)
        if faults:
            raise faults[0]
        return contacts.at(0)

    def contacts(self, columns: Sequence[Sequence[Any]], size: int, faults: dict[int, RowFault]) -> Contacts:
        """Give the contacts of ``size`` rows, and note in ``faults``, by index, those that cannot be sent.

        What the contacts have at these indices means nothing.
        """
        fields: dict[str, Sequence[Any]] = {"Email": self.addresses(columns, size, faults)}
        if self.name is not None:
            fields["Name"] = _read_field(NAME, "str", columns[self.name], faults)
        if self.excluded is not None:
            fields[_EXCLUSION] = _read_field(_EXCLUSION, "bool", columns[self.excluded], faults)
            if not self.rules.includes:
                included = [index for index, value in enumerate(fields[_EXCLUSION]) if value is False]
                faults.update(dict.fromkeys(included, RowFault("exclusion.ended", _EXCLUSION, _INCLUDES)))
        properties = {
            column.target: column.read_all(columns[column.index], faults, text=self.rules.text)
            for column in self.properties
        }
        return Contacts(fields, properties, self.rules.nulls == "unassign")

    def without_zone(self, block: Block) -> ColumnFault | None:
        """Give the fault of the first column that sets a date and time and, by its type, never has a time zone."""
        if self.rules.dates.zone is not None:
            return None
        columns = [column for column in self.properties if column.index in block.zoneless]
        return next(
            (ColumnFault("value.zone", of.source, NO_ZONE) for of in columns if of.datatype == "datetime"), None
        )

    def check_zones(self, block: Block, numbers: Sequence[int], faults: Mapping[int, RowFault]) -> None:
        """Raise UsageError for a column of times without a time zone: by its type, or because most of its values have
        none. ``numbers`` are those of the rows. A column in which a few have none is not at fault: its rows are.
        """
        if (typed := self.without_zone(block)) is not None:
            raise refuse_columns(typed)
        zoneless = {at: fault for at, fault in sorted(faults.items()) if fault.code == "value.zone"}
        for at, fault in zoneless.items():
            wrong = sum(other.field == fault.field for other in zoneless.values())
            filled = self._filled(block, fault.field)
            if 2 * wrong > filled:
                all_of_them = wrong == filled and numbers[at] == 1
                raise refuse_columns(fault, row=None if all_of_them else numbers[at])

    def _filled(self, block: Block, name: str | None) -> int:
        """Count the values of a column."""
        values = next((block.columns[column.index] for column in self.properties if column.source == name), ())
        return sum(not (value == "" if self.rules.text else is_null(value)) for value in values)

    def addresses(self, columns: Sequence[Sequence[Any]], size: int, faults: dict[int, RowFault]) -> Sequence[str]:
        """Give the addresses of ``size`` rows, and note the bad ones in ``faults``, by index."""
        values: Sequence[Any] = [None] * size if self.email is None else columns[self.email]
        if are_addresses(values):
            return values
        found = []
        for index, value in enumerate(values):
            try:
                found.append(check_address(value))
            except RowFault as fault:
                faults.setdefault(index, fault)
                found.append("")
        return found


def unnamed_columns(names: Sequence[Any], rules: ColumnRules) -> tuple[int, ...]:
    """Give the indexes of columns that have no name and would be read if they had one."""
    if rules.columns is not None or rules.only_address:
        return ()
    return tuple(at for at, name in enumerate(names) if isinstance(name, str) and not clean_name(name))


def check_unnamed(unnamed: Sequence[int], block: Block, first: int, faults: dict[int, RowFault]) -> ColumnFault | None:
    """Note in ``faults``, by index, the rows that have a value in a column without a name. If there are any, give a
    fault for all of them, which names the first one; ``first`` is the number of the first row of the block.
    """
    found = [(index, at) for at in unnamed for index, value in enumerate(block.columns[at]) if not _is_empty(value)]
    for index, at in found:
        faults.setdefault(index, _unnamed(at + 1, "a value in it"))
    if not found:
        return None
    index, at = min(found)
    line = f" (line {block.lines[index]})" if block.lines else ""
    return _unnamed(at + 1, f"row {first + index}{line} has a value in it")


def _is_empty(value: Any) -> bool:
    return is_null(value) or (isinstance(value, str) and not str.__len__(value))


def _unnamed(number: int, has: str) -> ColumnFault:
    helps = "; DataFrame.to_csv() writes its index there, unless index=False" if number == 1 else ""
    why = f"column {number} has no name, and {has}: name it, or pick others with columns={helps}"
    return ColumnFault("column.unnamed", None, why)


def _read_field(source: str, datatype: str, values: Sequence[Any], faults: dict[int, RowFault]) -> Sequence[Any]:
    """Read a column that sets no property. An empty text in it is a null."""
    column = Column(0, source, source, datatype, converter(datatype), plain=datatype == "str")
    try:
        blank = "" in values
    except Exception:  # noqa: BLE001  # a user's value may raise anything when it is compared
        blank = True
    if blank:
        values = [None if isinstance(value, str) and not str.__len__(value) else value for value in values]
    return column.read_all(values, faults)


def flatten(row: Given, nested: int) -> Given:
    """Replace a row's mapping of properties by its items, which come after the other values.

    Raises RowFault if it is no mapping: Mailjet accepts such a row, and may lose the values (FACTS 1.4).
    """
    inner = row.values[nested]
    if is_null(inner):
        inner = {}
    if not isinstance(inner, Mapping):
        raise RowFault("properties.invalid", "Properties", "Properties is no mapping of names to values")
    try:
        own, values = tuple(inner), tuple(inner.values())
        hash(own)
    except Exception:  # noqa: BLE001  # a user's mapping may raise anything when it is taken apart
        raise RowFault("properties.invalid", "Properties", "Properties cannot be read") from None
    if any(isinstance(name, str) and name.casefold() == PROPERTIES for name in own):
        raise RowFault("properties.invalid", "Properties", "there are Properties in Properties")
    names = (*row.names[:nested], *row.names[nested + 1 :], *own)
    return Given(names, (*row.values[:nested], *row.values[nested + 1 :], *values))


def layout_of(names: Sequence[str], rules: ColumnRules) -> Layout:
    """Say which column is what in rows with these names.

    Raises ColumnFault if two columns mean the same thing, if a property is not defined or not static (FACTS 1.4), and
    if rows that are sent as CSV, or whose columns were picked, cannot have such a column.
    """
    roles: dict[str, int] = {}
    rest = []
    chosen = _chosen(names, rules.columns)
    for index, source, target in chosen:
        folded = target.casefold()
        if rules.only_address and folded != EMAIL:
            continue
        if folded not in _roles(rules):
            rest.append((index, source, target))
        elif folded in roles:
            raise ColumnFault("column.twice", source, f"two columns are {folded!r}", _PICK)
        elif folded == EXCLUDED and rules.via_csv:
            raise ColumnFault("column.not_sendable", source, "the CSV way cannot set IsExcludedFromCampaigns")
        elif folded == PROPERTIES and rules.columns is not None:
            raise ColumnFault(
                "column.not_sendable", source, "columns= picks properties by their own names, not a mapping of them"
            )
        else:
            roles[folded] = index
    try:
        properties = _property_columns(rest, rules)
    except ColumnFault:
        if EMAIL in roles:
            raise
        raise ColumnFault("address.missing", EMAIL, no_address(names, text=rules.text)) from None
    return Layout(
        email=roles.get(EMAIL),
        name=roles.get(NAME),
        excluded=roles.get(EXCLUDED),
        nested=roles.get(PROPERTIES),
        properties=properties,
        rules=rules,
        whole=len(roles) + len(rest) == len(names),
        unnamed=unnamed_columns(names, rules),
    )


def _roles(rules: ColumnRules) -> frozenset[str]:
    """Give the names that are no properties. On the CSV way the name of a contact is a property (FACTS 4.4); a text
    cannot be a mapping of properties.
    """
    without = ({NAME} if rules.via_csv else set()) | ({PROPERTIES} if rules.text else set())
    return _ROLES - without


def _chosen(names: Sequence[Any], columns: Mapping[str, str] | None) -> list[tuple[int, str, str]]:
    """Give the columns that are read: the index, the name in the source and the name at Mailjet. A column without a
    name is not read.

    Raises ColumnFault for a name that cannot be sent or stands there twice.
    """
    picked = None if columns is None else {clean_name(name): target for name, target in columns.items()}
    chosen: dict[str, tuple[int, str, str]] = {}
    for index, name in enumerate(names):
        if isinstance(name, str):
            source = clean_name(name)
            if not source or (picked is not None and source not in picked):
                continue
            _check_name(source)
        elif picked is None:
            raise ColumnFault("column.name", None, f"the name of a column is a {type(name).__name__}, not a text")
        else:
            continue
        if source in chosen:
            raise ColumnFault("column.twice", source, f"two columns are named {source!r}", _PICK)
        chosen[source] = (index, source, source if picked is None else picked[source])
    return list(chosen.values())


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ColumnFault("column.name", None, "the name of a column is no valid Unicode text") from None
    if name.startswith(_MISREAD_BOM):
        why = "the first name begins with a byte order mark that was read as letters"
        raise ColumnFault("column.name", None, f"{why}: read the file with encoding='utf-8-sig'")


_MISREAD_BOM = "ï»¿"


def _property_columns(chosen: Sequence[tuple[int, str, str]], rules: ColumnRules) -> tuple[Column, ...]:
    columns = []
    seen: set[str] = set()
    defined = [(index, source, known) for index, source, target in chosen if (known := _defined(target, rules))]
    if len(defined) < len(chosen):
        raise _no_property([(source, target) for _, source, target in chosen if not _defined(target, rules)], rules)
    for index, source, known in defined:
        if known.namespace.casefold() != "static":
            raise ColumnFault(
                "column.not_static",
                source,
                f"property {known.name!r} is {known.namespace}: only static ones can be set in bulk",
            )
        if known.name in seen:
            raise ColumnFault("column.twice", source, f"two columns are property {known.name!r}", _PICK)
        seen.add(known.name)
        datatype = known.datatype.casefold()
        plain = datatype not in _CONVERTED
        columns.append(Column(index, source, known.name, datatype, converter(datatype, rules.dates), plain))
    return tuple(columns)


def _no_property(unknown: Sequence[tuple[str, str]], rules: ColumnRules) -> ColumnFault:
    """Say that some columns, given by their names in the source and at Mailjet, are no properties."""
    contact = next((source for source, target in unknown if not may_create(target, rules)), None)
    if contact is not None:
        return ColumnFault("column.not_sendable", contact, _NO_NAME)
    names = [target for _, target in unknown]
    what = f"there is no property {names[0]!r}" if len(names) == 1 else f"there are no properties {listed(names)}"
    known = [one.name for one in (rules.properties or {}).values()]
    return ColumnFault("column.unknown", unknown[0][0], what, meant(names, known) + _CREATE)


_NO_NAME = "the CSV way cannot set a contact's name: leave it out by columns=, or take via='json'"
_PICK = "; columns= picks the columns to take"
_CREATE = f"; create_properties=True creates what is missing, {_PICK.removeprefix('; ')}"


def may_create(name: str, rules: ColumnRules) -> bool:
    """Say whether a property of this name may be created: on the CSV way not for what is the name of a contact."""
    return not (rules.via_csv and name.casefold() == NAME)


def _defined(name: str, rules: ColumnRules) -> Property | None:
    if rules.properties is None:
        return Property(id=0, name=name, datatype="any")
    return rules.properties.get(name.casefold())


def missing_columns(names: Sequence[str], columns: Mapping[str, str] | None) -> list[str]:
    """Name the columns that the caller picks and that are not among ``names``."""
    found = {clean_name(name) for name in names if isinstance(name, str)}
    return [name for name in columns or () if clean_name(name) not in found]


def property_names(names: Sequence[str], rules: ColumnRules) -> list[str]:
    """Name the properties that rows with these names set."""
    roles = _roles(rules)
    return [target for _, _, target in _chosen(names, rules.columns) if target.casefold() not in roles]


def refuse_columns(fault: RowFault, *, row: int | None = None) -> UsageError:
    """Give the error that refuses a run for its columns; ``row`` is the first that shows it. It does not repeat a name
    with an @ in it, which may be somebody's address.
    """
    column = f"column {fault.field!r}" if fault.field and repr(fault.field) not in fault.message else ""
    found = "" if row is None or f"row {row} " in fault.message else f"row {row}"
    where = ", ".join(filter(None, (found, column)))
    named = None if fault.field and "@" in fault.field else fault.field
    advice = fault.advice if isinstance(fault, ColumnFault) else ""
    sentence = _WITH_AN_AT.sub("(a name with an @ in it)", f"{fault.message}{where and f' ({where})'}{advice}")
    return UsageError(sentence, kind=fault.code, column=None if fault.code == "address.missing" else named, row=row)


_WITH_AN_AT = re.compile(r"""'[^']*@[^']*'|"[^"]*@[^"]*\"""")
