"""A source to encoded rows: what is asked of the account first, and what is refused here by column or by row.

A run sends the rows; a plan only counts them, and so takes what is missing of the account as if it were there.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from attrs import evolve, field, frozen

from mjbulk.chunks.as_csv import CsvEncoder
from mjbulk.chunks.as_json import JsonEncoder
from mjbulk.chunks.builder import Rules
from mjbulk.chunks.chunk import SizeLimit
from mjbulk.chunks.encoder import Encoder
from mjbulk.errors import ApiError, CredentialsRefused, UsageError
from mjbulk.mailjet.account import property_problems
from mjbulk.models import Property, Rejection
from mjbulk.rows.addresses import EMAIL
from mjbulk.rows.block import PROPERTIES, Block, Given, blocks_of
from mjbulk.rows.iterables import BadRow
from mjbulk.rows.layout import (
    NO_ADDRESS,
    ColumnRules,
    Layout,
    flatten,
    layout_of,
    missing_columns,
    property_names,
    refuse_columns,
)
from mjbulk.rows.sources import Source
from mjbulk.rows.values import ColumnFault, RowFault
from mjbulk.run.engine import Engine
from mjbulk.run.senders import CsvSender, JsonSender, Sender
from mjbulk.terms import EXCLUSIONS, Action, Datatype, RunSpec

_LAYOUTS = 1_000
"""More than a batch has rows: what is in use is not forgotten."""


@frozen
class EncodedRows:
    """Good rows of a source, column by column."""

    numbers: Sequence[int]
    addresses: Sequence[str] = field(repr=False)
    """Without blanks around them."""
    encoded: Sequence[bytes] = field(repr=False)
    block: Block = field(repr=False)
    """The same rows as they were given."""


Batch = Sequence[Block | BadRow]


class Reader:
    """Reads a source. Mutable state: where it stands, its layouts, and how rows are encoded once that is known."""

    def __init__(
        self,
        source: Source,
        spec: RunSpec,
        engine: Engine,
        reject: Callable[[Rejection], object],
        *,
        digests: bool = False,
        dry: bool = False,
    ) -> None:
        """Read nothing yet. ``reject`` is called with each row that is refused here. ``digests`` says that chunks have
        digests. With ``dry`` nothing is created at Mailjet.
        """
        self.row = 0
        """The number of the row that was read last."""
        self.rows = 0
        """How many rows were read."""
        self.missing: list[str] = []
        """Properties that rows set and that were not there."""
        self.sender: Sender
        self.rules: Rules
        self.learned = SizeLimit(engine.settings.chunk_bytes)
        """How large a body may be; who sends them tells it what went through."""
        self.committed = False
        """Whether a chunk was cut: from then on a fault of a column rejects its rows, and no longer the source."""
        self._source = source
        self._spec = spec
        self._engine = engine
        self._reject = reject
        self._digests = digests
        self._dry = dry
        self._judged = False
        self._encoder: Encoder | None = None
        self._layouts: dict[tuple[str, ...], Layout] = {}  # the last used at the end
        self._unseen: Sequence[str] = list(spec.columns or ())  # columns that were picked, and in no row so far
        self._addressed = False

    # The account

    async def prepare(self) -> Sequence[tuple[int, Action]] | None:
        """Ask for properties and lists: wrong keys and unknown lists show here, before anything is sent.

        Gives the lists of the run by their IDs.
        """
        account, spec = self._engine.account, self._spec
        try:
            self._properties = await account.known_properties()
            lists = meant = await account.resolve(spec.lists) if spec.lists else None
            if spec.via == "csv" and lists is None:
                lists = [(await account.any_list(), Action.ADDNOFORCE)]
        except ApiError as refusal:
            if refusal.status not in (401, 403) or refusal.code:
                raise
            raise CredentialsRefused(
                refusal.status, call=refusal.call, text=refusal.text, advice=refusal.sentence
            ) from None
        self._lists = lists
        self._column_rules = ColumnRules(
            properties=self._properties,
            columns=spec.columns,
            nulls=spec.nulls,
            text=self._source.text,
            only_address=spec.excluded is not None,
            via_csv=spec.via == "csv",
            includes=not spec.repairs,
        )
        return meant

    # Rows

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Give the rows of the source as it has them. Raises what the source raises."""
        async with aclosing(self._source.batches()) as batches:
            async for batch in batches:
                yield batch

    async def judge(self, batch: Batch) -> None:
        """Look at the columns of the first batch as a whole, before any property is created.

        Raises UsageError if the source cannot be sent.
        """
        if self._judged or not self._spec.create_properties or self._dry:
            return
        self._judged = True
        try:
            missing = dict.fromkeys(name for names in _names_of(batch) for name in self._missing_in(names))
            if missing:
                self._check_columns()
            for name in missing:
                await self._create(name)
        except ColumnFault as fault:
            raise refuse_columns(fault) from None

    async def encode(self, block: Block | BadRow) -> Sequence[EncodedRows]:
        """Encode the rows that can be sent; a row that cannot is rejected by its number.

        Raises UsageError if the columns cannot be sent and nothing was given on yet.
        """
        first = block.number or self.row + 1
        self.row = first + len(block) - 1
        self.rows += len(block)
        if isinstance(block, BadRow):
            self._refuse(first, block.given, block.fault)
            return ()
        try:
            layout = await self._layout(block.names)
        except ColumnFault as fault:
            return self._refuse_all(first, block, fault)
        if not len(block):
            return ()
        if layout.nested is not None:
            return await self._encode_nested(first, block, layout.nested)
        return self._encode(first, block, layout, block)

    def next_rows(self, block: Block | BadRow) -> tuple[int, int]:
        """Give the first and the last number of the rows of the next block."""
        first = block.number or self.row + 1
        return first, first + len(block) - 1

    def commit(self) -> None:
        """Hear that a chunk was cut. Raises UsageError if no row so far has what the caller asks for."""
        if not self.committed:
            self._check_columns()
        self.committed = True

    def end(self) -> None:
        """Hear that the source has ended. Raises UsageError as `commit` does."""
        if self._layouts:
            self.commit()

    async def _encode_nested(self, first: int, block: Block, nested: int) -> Sequence[EncodedRows]:
        """Lay rows flat, and encode those together that follow each other and set the same properties."""
        encoded: list[EncodedRows] = []
        begin = 0
        for some in blocks_of(_laid(Given(block.names, values), nested) for values in block.rows):
            size = len(some) if isinstance(some, Block) else 1
            original = block.at(range(begin, begin + size))
            if isinstance(some, Block):
                encoded += await self._encode_laid(first + begin, some, original)
            else:
                self._refuse(first + begin, original.given(0), some)
            begin += size
        return encoded

    async def _encode_laid(self, first: int, block: Block, original: Block) -> Sequence[EncodedRows]:
        try:
            layout = await self._layout(block.names)
        except ColumnFault as fault:
            return self._refuse_all(first, original, fault)
        return self._encode(first, block, layout, original)

    def _encode(self, first: int, block: Block, layout: Layout, original: Block) -> Sequence[EncodedRows]:
        """Encode rows that have one layout; ``original`` is how they were given."""
        if layout.email is None:
            return self._refuse_all(first, original, RowFault(EMAIL, "the address is missing"))
        encoder = self._encoder or self._choose(layout)
        faults: dict[int, RowFault] = {}
        try:
            addresses, encoded = encoder.encode(block, layout, faults)
        except ColumnFault as fault:
            return self._refuse_all(first, original, fault)
        if self.rules.too_large(max(encoded, key=len)):
            for index, row in enumerate(encoded):
                if why := self.rules.too_large(row):
                    faults.setdefault(index, RowFault(None, why))
        if not faults:
            return [EncodedRows(range(first, first + len(block)), addresses, encoded, original)]
        for index in sorted(faults):
            self._refuse(first + index, original.given(index), faults[index])
        good = [index for index in range(len(block)) if index not in faults]
        if not good:
            return ()
        numbers = [first + index for index in good]
        return [
            EncodedRows(
                numbers, [addresses[index] for index in good], [encoded[index] for index in good], original.at(good)
            )
        ]

    def _choose(self, first: Layout) -> Encoder:
        """Choose how rows are encoded and sent; on the CSV way the first row says which columns there are."""
        engine, spec, lists = self._engine, self._spec, self._lists
        encoder: Encoder
        if spec.via == "json":
            encoder, self.sender = JsonEncoder(engine.settings, spec, lists), JsonSender(engine.transport, spec, lists)
        else:
            list_id, action = (lists or [])[0]
            method = action.value if spec.excluded is None else EXCLUSIONS[not spec.excluded]
            encoder = CsvEncoder(engine.settings, first, empty_cell_keeps=engine.assumptions.csv_empty_cell_keeps)
            self.sender = CsvSender(engine, list_id, method, encoder.options, spec.resend)
        self.rules = Rules(
            frame=encoder.frame,
            limits=encoder.limits,
            merge=encoder.merge,
            learned=self.learned,
            meaning=encoder.meaning,
            digests=self._digests,
        )
        self._encoder = encoder
        return encoder

    # Columns

    async def _layout(self, names: tuple[str, ...]) -> Layout:
        """Say what stands where in rows with these names; what was long not used is forgotten."""
        layout = self._layouts.pop(names, None) or await self._new_layout(names)
        self._layouts[names] = layout
        if len(self._layouts) > _LAYOUTS:
            del self._layouts[next(iter(self._layouts))]
        return layout

    async def _new_layout(self, names: tuple[str, ...]) -> Layout:
        """Look at names, creating properties where that is asked."""
        if self._spec.create_properties or self._dry:
            for name in self._missing_in(names):
                await self._create(name)
        layout = layout_of(names, self._column_rules)
        self._note_columns(names, layout)
        return layout

    def _note_columns(self, names: tuple[str, ...], layout: Layout) -> None:
        unseen = set(missing_columns(names, self._spec.columns))
        self._unseen = [name for name in self._unseen if name in unseen]
        self._addressed = self._addressed or layout.email is not None or layout.nested is not None

    def _missing_in(self, names: tuple[str, ...]) -> Sequence[str]:
        """Give the properties that rows with these names set and that are not there. Raises ColumnFault if the names
        would not do with them either.
        """
        missing = property_problems(property_names(names, self._column_rules), self._properties)
        made = {name.casefold(): Property(id=0, name=name, datatype=self._type_of(name)) for name in missing}
        layout = layout_of(names, evolve(self._column_rules, properties={**self._properties, **made}))
        self._note_columns(names, layout)
        if layout.email is None and layout.nested is None:
            return ()  # its rows are refused
        if not all(map(str.strip, missing)):
            raise ColumnFault(None, "a column has no name, so no property can be created for it")
        return missing

    async def _create(self, name: str) -> None:
        """Create a property; with ``dry``, take it as created. Raises ColumnFault if Mailjet refuses its name."""
        self.missing.append(name)
        made = Property(id=0, name=name, datatype=self._type_of(name))
        account = self._engine.account
        try:
            if not self._dry:
                made = await account.create_property(name, self._type_of(name))
        except ApiError as refusal:
            if refusal.status != 400:
                raise
            self._properties.update(await account.known_properties())  # somebody else may have been faster
            if name.casefold() not in self._properties:
                why = f"no property {name!r} can be created (Mailjet answered {refusal.status} {refusal.code or ''})"
                raise ColumnFault(name, why) from None
            return
        self._properties[name.casefold()] = made

    def _type_of(self, name: str) -> Datatype:
        types = {known.casefold(): word for known, word in self._spec.types.items()}
        return types.get(name.casefold(), "str")

    def _check_columns(self) -> None:
        """Refuse the source where no row so far has an address, or where a column that was picked is in none."""
        if self._unseen:
            raise UsageError(f"columns= picks {self._unseen[0]!r}, which the source does not have")
        if not self._addressed:
            raise UsageError(NO_ADDRESS)

    # Refusing

    def _refuse_all(self, first: int, block: Block, fault: RowFault) -> Sequence[EncodedRows]:
        """Reject rows for their columns, or the whole source where nothing of it was given on yet."""
        if isinstance(fault, ColumnFault) and not self.committed:
            raise refuse_columns(fault) from None
        for index in range(len(block)):
            self._refuse(first + index, block.given(index), fault)
        return ()

    def _refuse(self, row: int, given: Given | None, fault: RowFault) -> None:
        data = given.as_dict() if given else None
        layout = self._layouts.get(given.names) if given else None
        address = given.values[layout.email] if given and layout and layout.email is not None else None
        self._reject(
            Rejection(
                row=row,
                email=address if isinstance(address, str) else None,
                field=fault.field,
                message=fault.message,
                origin="mjbulk",
                data=data,
            )
        )


def _names_of(batch: Batch) -> Sequence[tuple[str, ...]]:
    """Give the distinct names of the rows of a batch, as they are when they are laid flat."""
    names: dict[tuple[str, ...], None] = {}
    for block in batch:
        if isinstance(block, BadRow):
            continue
        nested = [at for at, name in enumerate(block.names) if isinstance(name, str) and name.casefold() == PROPERTIES]
        if not nested:
            names[block.names] = None
            continue
        for values in block.rows:
            row = _laid(Given(block.names, values), nested[0])
            if isinstance(row, Given):
                names[row.names] = None
    return list(names)


def _laid(row: Given, nested: int) -> Given | RowFault:
    """Lay a row flat, or say why it cannot be."""
    try:
        return flatten(row, nested)
    except RowFault as fault:
        return fault
