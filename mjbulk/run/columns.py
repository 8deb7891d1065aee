"""What the columns of a source mean, and the properties that are created for them.

A run creates no property before the columns of its first batch are known to be good, all of them together: what looks
like a column may be the first row of a file without a header. Columns that come later are looked at one by one. In
either case a property is only planned at first, and created once a row that sets it can be sent.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from attrs import evolve

from mjbulk.errors import ApiError, UsageError
from mjbulk.likely import likely
from mjbulk.mailjet.account import AccountCalls, property_problems
from mjbulk.resources import Property
from mjbulk.rows.block import PROPERTIES, Block, Given
from mjbulk.rows.iterables import Batch
from mjbulk.rows.layout import (
    ColumnRules,
    Layout,
    check_unnamed,
    flatten,
    layout_of,
    may_create,
    missing_columns,
    property_names,
    refuse_columns,
    unnamed_columns,
)
from mjbulk.rows.names import aliases, clean_name, listed, meant, no_address, not_there
from mjbulk.rows.values import ColumnFault, RowFault
from mjbulk.terms import Datatype, RunSpec

_STAYS = "mjbulk changes the type of no property: leave types= out, or take another name by columns="
_NO_HEADER = ": is the row with the names of the columns missing? columns= picks the columns to take"
_NEARLY = 0.8
"""Names that are alike to this degree probably mean one property, unless their numbers differ."""
_DIGITS = re.compile(r"\d+")
_LAYOUTS = 1_000
"""More than a batch has rows: what is in use is not forgotten."""


class Columns:
    """The columns of one source. Mutable state: the layouts, the properties, and which columns were seen so far."""

    def __init__(
        self, spec: RunSpec, rules: ColumnRules, account: AccountCalls, *, since: int | None = None, dry: bool
    ) -> None:
        """Begin with the properties of the account; a question about them is new if it was asked after the mark
        ``since``. With ``dry`` missing ones are taken as created.
        """
        self.missing: list[str] = []
        """Properties that rows set and that were not there."""
        self.refusable = True
        """Whether a fault of a column refuses the source. Once a property was created, or a chunk was cut, it rejects
        its rows.
        """
        self._spec = spec
        self._properties: dict[str, Property] = dict(rules.properties or {})
        self._rules = evolve(rules, properties=self._properties)  # which grow
        self._planned: dict[str, str] = {}  # properties that are not there yet, by their casefolded names
        self._account = account
        self._since = since
        self._dry = dry
        self._judged = False
        self._refused: dict[str, ColumnFault] = {}  # by the casefolded names that Mailjet has refused
        self._layouts: dict[tuple[str, ...], Layout] = {}  # the last used at the end
        self._unseen: Sequence[str] = list(spec.columns or ())  # columns that were picked, and in no row so far
        self._aliases: dict[str, str] = {}  # how the source writes some of them, where case alone differs
        self._untyped = {name.casefold(): name for name in spec.types}  # types whose columns are in no row so far
        self._contradicted: str | None = None
        self._addressed = False
        self._first: tuple[str, ...] = ()  # the names of the first row

    async def judge(self, batch: Batch, before: int = 0) -> None:
        """Look at all columns of the first batch, and plan the properties that are missing. ``before`` is the number of
        the last row before it.

        Raises UsageError if the source cannot be sent.
        """
        names = _names_of(batch) if self._spec.create_properties and not self._judged else ()
        if not names:
            return
        self._judged = True
        try:
            self._check_unnamed(batch, before)
            await self._plan_all(names, batch, before)
        except ColumnFault as fault:
            raise refuse_columns(fault) from None

    def _check_unnamed(self, batch: Batch, before: int) -> None:
        for numbers, block in _numbered(batch, before):
            faults: dict[int, RowFault] = {}
            fault = check_unnamed(unnamed_columns(block.names, self._rules), block, numbers[0], faults)
            if fault is not None:
                raise refuse_columns(fault, row=numbers[min(faults)])

    async def _plan_all(self, names: Sequence[tuple[str, ...]], batch: Batch, before: int) -> None:
        missing: dict[str, str] = {}
        self._find_aliases(*names)
        await self._look_up(*names)
        for some in names:
            for name in self._missing_in(some):
                missing.setdefault(name.casefold(), name)
        if missing:
            self.check()
            self._check_types(missing.values())
            self._check_values(batch, missing.values(), before)
        for name in missing.values():
            self._plan(name)

    def _check_types(self, missing: Iterable[str]) -> None:
        """Raise UsageError if a property would become a text, and ``types=`` has nearly its name for one that no row
        sets: its type stays what it was made.
        """
        for name in missing:
            others = [other for other in self._untyped.values() if _DIGITS.findall(other) == _DIGITS.findall(name)]
            named = None if name.casefold() in self._types else likely(name, others, share=_NEARLY)
            if named is not None:
                raise UsageError(
                    f"types= names {named!r}, which no row so far sets, and {name!r} would be created with type str: "
                    "give types= the name that is meant, or both names"
                )

    def _check_values(self, batch: Batch, missing: Iterable[str], before: int) -> None:
        """Raise UsageError for a column whose values cannot be those of a property that would be created for it."""
        rules = self._rules_with(missing)
        for numbers, block in _numbered(batch, before):
            if nested_column(block.names) is not None:
                continue
            faults: dict[int, RowFault] = {}
            with suppress(ColumnFault):  # rows without an address, for example, are refused later
                layout = layout_of(block.names, rules)
                if layout.email is not None:
                    layout.contacts(block.columns, len(block), faults)
                layout.check_zones(block, numbers, faults)

    def _rules_with(self, missing: Iterable[str]) -> ColumnRules:
        """Give the rules as they are once some properties were created."""
        made = {name.casefold(): Property(id=0, name=name, datatype=self._type_of(name)) for name in missing}
        made = {name: one for name, one in made.items() if may_create(name, self._rules)}
        return evolve(self._rules, properties={**self._properties, **made})

    async def layout(self, names: tuple[str, ...]) -> Layout:
        """Say what stands where in rows with these names. Raises ColumnFault if such rows cannot be sent."""
        layout = self._layouts.pop(names, None) or await self._new_layout(names)
        self._layouts[names] = layout
        if len(self._layouts) > _LAYOUTS:
            del self._layouts[next(iter(self._layouts))]
        return layout

    async def create(self, layout: Layout) -> bool:
        """Hear that a row can be sent, and create the properties that are planned for it. Gives whether any was
        created: then the layouts of before mean nothing. With ``dry`` none is.

        Raises ColumnFault if Mailjet refuses the name of one.
        """
        keys = (column.target.casefold() for column in layout.properties) if self._planned else ()
        wanted = [key for key in keys if key in self._planned]
        if not wanted:
            return False
        try:
            for key in list(self._planned) if self.refusable else wanted:  # those of the first batch together
                await self._create(key, self._planned.pop(key))
        finally:
            self._layouts.clear()
        self.refusable = False
        return not self._dry

    def known(self, names: tuple[str, ...]) -> Layout | None:
        """Give the layout of rows with these names if there was one."""
        return self._layouts.get(names)

    @property
    def untyped(self) -> Sequence[str]:
        """Properties that were missing, and become texts because nothing says of which type they are."""
        return [name for name in self.missing if name.casefold() not in self._types]

    @property
    def any(self) -> bool:
        """Whether a row, or a header, was seen."""
        return bool(self._layouts)

    @property
    def good(self) -> bool:
        """Whether some row so far has an address, and each column that was picked was in one."""
        return self._addressed and not self._unseen

    def check(self, *, header: bool = False) -> None:
        """Raise UsageError if no row so far has an address, if a column that was picked is in none, or if a property
        has another type than is said. ``header`` says that all rows have the same names.
        """
        if self._unseen:
            why = not_there(self._unseen, self._first, text=self._rules.text)
            raise UsageError(why, kind="column.missing", column=self._unseen[0])
        if not self._addressed:
            raise UsageError(no_address(self._first, text=self._rules.text), kind="address.missing")
        if self._contradicted is not None:
            raise UsageError(self._contradicted)
        if header and self._untyped:
            wanted = list(self._untyped.values())
            names = [clean_name(name) for name in self._first]
            raise UsageError(f"types= names {listed(wanted)}, and no column sets such a property{meant(wanted, names)}")

    async def _new_layout(self, names: tuple[str, ...]) -> Layout:
        """Look at names, and plan properties that are missing, if they may be created."""
        self._find_aliases(names)
        await self._look_up(names)
        if self._spec.create_properties or self._dry:
            for name in self._missing_in(names):
                self._plan(name)
        layout = layout_of(names, self._rules)
        self._note(names, layout)
        return layout

    async def _look_up(self, *names: tuple[str, ...]) -> None:
        """Ask again for properties that are not known: they may have been created meanwhile."""
        if self._rules.only_address:
            return
        wanted = {name.casefold() for some in names for name in property_names(some, self._rules)}
        if wanted := wanted - self._properties.keys():
            known = await self._account.known_properties(wanted, since=self._since)
            self._properties |= {name: known[name] for name in wanted & known.keys()}

    def _find_aliases(self, *names: tuple[str, ...]) -> None:
        """See in the first rows how the source writes the columns that were picked."""
        columns = self._spec.columns
        if self._first or self._aliases or not columns:
            return
        for some in names:
            self._aliases |= aliases(columns, some)
        more = {found: columns[picked] for picked, found in self._aliases.items()}
        self._rules = evolve(self._rules, columns={**columns, **more})

    def _note(self, names: tuple[str, ...], layout: Layout) -> None:
        self._first = self._first or names
        unseen = set(missing_columns(names, self._spec.columns))
        unseen -= {picked for picked, found in self._aliases.items() if not missing_columns(names, {found: ""})}
        self._unseen = [name for name in self._unseen if name in unseen]
        for column in layout.properties if self._spec.types else ():
            self._note_type(column.target, column.datatype)
        self._addressed = self._addressed or layout.email is not None or layout.nested is not None

    def _note_type(self, name: str, datatype: str) -> None:
        """Note that a property is set, of which the account knows the type."""
        self._untyped.pop(name.casefold(), None)
        known = self._properties.get(name.casefold())
        if known is not None and name.casefold() in self._types and datatype != self._type_of(name):
            conflict = f"types= says {name}={self._type_of(name)}, and this property is of type {datatype}"
            self._contradicted = f"{conflict}: {_STAYS}"

    def _missing_in(self, names: tuple[str, ...]) -> Sequence[str]:
        """Give the properties that rows with these names set and that are not there. Raises ColumnFault if the names
        would not do with them either.
        """
        missing = property_problems(property_names(names, self._rules), self._properties)
        layout = layout_of(names, self._rules_with(missing))
        self._note(names, layout)
        if layout.email is None and layout.nested is None:
            return ()  # its rows are refused
        if self._spec.create_properties and (address := next((name for name in missing if "@" in name), None)):
            raise ColumnFault("column.name", address, "the name of a new property would be an address", _NO_HEADER)
        return missing

    def _plan(self, name: str) -> None:
        """Take a property as created. Raises ColumnFault if Mailjet has refused its name."""
        key = name.casefold()
        if key in self._refused:
            raise self._refused[key]
        self.missing.append(name)
        self._properties[key] = Property(id=0, name=name, datatype=self._type_of(name))
        if self._spec.create_properties:
            self._planned[key] = name

    async def _create(self, key: str, name: str) -> None:
        if self._dry:
            return
        try:
            self._properties[key] = await self._account.ensure_property(name, self._type_of(name))
        except ApiError as refusal:
            del self._properties[key]
            if refusal.status != 400:
                raise
            why = f"no property {name!r} can be created (Mailjet answered {refusal.status} {refusal.code or ''})"
            self._refused[key] = fault = ColumnFault("column.unknown", name, why)
            raise fault from None

    @property
    def _types(self) -> dict[str, Datatype]:
        return {known.casefold(): word for known, word in self._spec.types.items()}

    def _type_of(self, name: str) -> Datatype:
        return self._types.get(name.casefold(), "str")


def _numbered(batch: Batch, before: int) -> Iterator[tuple[range, Block]]:
    """Give the blocks of a batch that have rows, each with their numbers."""
    last = before
    for block in batch:
        first = block.number or last + 1
        last = first + len(block) - 1
        if isinstance(block, Block) and len(block):
            yield range(first, last + 1), block


def _names_of(batch: Batch) -> Sequence[tuple[str, ...]]:
    """Give the distinct names of the rows of a batch, as they are when they are laid flat."""
    names: dict[tuple[str, ...], None] = {}
    for block in batch:
        if isinstance(block, Block):
            names |= dict.fromkeys(_flat_names(block))
    return list(names)


def _flat_names(block: Block) -> Sequence[tuple[str, ...]]:
    nested = nested_column(block.names)
    if nested is None:
        return [block.names]
    rows = [laid_flat(Given(block.names, values), nested) for values in block.rows]
    return [row.names for row in rows if isinstance(row, Given)]


def nested_column(names: tuple[str, ...]) -> int | None:
    """Give the index of the column of a mapping of properties, None if there is none."""
    return next((at for at, name in enumerate(names) if isinstance(name, str) and name.casefold() == PROPERTIES), None)


def laid_flat(row: Given, nested: int) -> Given | RowFault:
    """Lay a row flat, or say why that is not possible."""
    try:
        return flatten(row, nested)
    except RowFault as fault:
        return fault
