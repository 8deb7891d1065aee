"""Source to chunks: what is asked of the account first, and what is refused here by column or by row.

A run sends the chunks; a plan only counts them, and so takes what is missing of the account as if it were there.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from mjbulk.chunks.as_csv import CsvEncoder
from mjbulk.chunks.as_json import JsonEncoder
from mjbulk.chunks.chunker import Chunk, Chunker, SizeLimit
from mjbulk.chunks.encoder import Encoder
from mjbulk.errors import ApiError, CredentialsRefused, UsageError
from mjbulk.mailjet.account import property_problems
from mjbulk.models import Property, Rejection
from mjbulk.rows.addresses import EMAIL
from mjbulk.rows.block import Block, Given, blocks_of
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
from mjbulk.terms import EXCLUSIONS, Action, RunSpec

_LAYOUTS = 1_000
"""More than a batch has rows: what is in use is not forgotten."""


class Intake:
    """Reads a source into chunks. Mutable state: where it stands, the layouts, and the chunk that is not yet full."""

    def __init__(
        self,
        source: Source,
        spec: RunSpec,
        engine: Engine,
        reject: Callable[[Rejection], object],
        *,
        pause: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0),
        rows_of: Callable[[int], int | None] | None = None,
        dry: bool = False,
    ) -> None:
        """``reject`` is told of each row that is refused here, ``pause`` awaited after each batch; ``rows_of`` gives
        how many rows a chunk held when it was cut before. With ``dry`` nothing is created at Mailjet.
        """
        self._pause = pause
        self._rows_of = rows_of
        self.row = 0
        """The number of the row that was read last."""
        self.rows = 0
        """How many rows were read."""
        self.missing: list[str] = []
        """Properties that rows set and that were not there."""
        self.sender: Sender
        self.learned = SizeLimit(engine.settings.chunk_bytes)
        """How large a body may be; who sends them tells it what went through."""
        self._source = source
        self._spec = spec
        self._engine = engine
        self._reject = reject
        self._dry = dry
        self._encoder: Encoder
        self._gave_a_chunk = False
        self._chunker: Chunker | None = None
        self._layouts: dict[tuple[str, ...], Layout] = {}  # the last used at the end
        self._unseen: Sequence[str] = list(spec.columns or ())  # columns that were picked, and in no row so far
        self._addressed = False

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
        self._rules = ColumnRules(
            properties=self._properties,
            columns=spec.columns,
            nulls=spec.nulls,
            text=self._source.text,
            only_address=spec.excluded is not None,
            via_csv=spec.via == "csv",
            includes=not spec.repairs,
        )
        return meant

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """Give the chunks in the order of the source.

        Raises UsageError where the columns cannot be sent and no chunk was given yet, and what the source raises.
        """
        async with aclosing(self._source.batches()) as batches:
            async for batch in batches:
                for block in batch:
                    for chunk in await self._take(block):
                        yield self._checked(chunk)
                await self._pause()
        if self._layouts and not self._gave_a_chunk:
            self._check_columns()
        if self._chunker is not None and (last := self._chunker.flush()) is not None:
            yield self._checked(last)

    async def _take(self, block: Block | BadRow) -> Sequence[Chunk]:
        """Encode rows and put them into chunks; a row that cannot be sent is rejected by its number."""
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
            return await self._take_nested(first, block, layout.nested)
        return self._encode(first, block, layout, block)

    async def _take_nested(self, first: int, block: Block, nested: int) -> Sequence[Chunk]:
        """Lay rows flatten, and take those together that follow each other and set the same properties."""
        chunks: list[Chunk] = []
        begin = 0
        for some in blocks_of(_laid(Given(block.names, values), nested) for values in block.rows):
            size = len(some) if isinstance(some, Block) else 1
            original = block.at(range(begin, begin + size))
            if isinstance(some, Block):
                chunks += await self._take_laid(first + begin, some, original)
            else:
                self._refuse(first + begin, original.given(0), some)
            begin += size
        return chunks

    async def _take_laid(self, first: int, block: Block, original: Block) -> Sequence[Chunk]:
        try:
            layout = await self._layout(block.names)
        except ColumnFault as fault:
            return self._refuse_all(first, original, fault)
        return self._encode(first, block, layout, original)

    def _encode(self, first: int, block: Block, layout: Layout, original: Block) -> Sequence[Chunk]:
        """Encode rows that have one layout; ``original`` is how they were given."""
        if layout.email is None:
            return self._refuse_all(first, original, RowFault(EMAIL, "the address is missing"))
        if self._chunker is None:
            self._encoder, self.sender = self._choose(layout)
            how, learned, rows_of = self._encoder, self.learned, self._rows_of
            self._chunker = Chunker(how.frame, how.limits, how.merge, learned, rows_of, meaning=how.meaning)
        faults: dict[int, RowFault] = {}
        try:
            addresses, encoded = self._encoder.encode(block, layout, faults)
        except ColumnFault as fault:
            return self._refuse_all(first, original, fault)
        too_large = self._chunker.too_large
        if too_large(max(encoded, key=len)):
            for place, row in enumerate(encoded):
                if why := too_large(row):
                    faults.setdefault(place, RowFault(None, why))
        for place in sorted(faults):
            self._refuse(first + place, original.given(place), faults[place])
        numbers: Sequence[int] = range(first, first + len(block))
        if faults:
            good = [place for place in range(len(block)) if place not in faults]
            numbers = [first + place for place in good]
            addresses, encoded = [addresses[place] for place in good], [encoded[place] for place in good]
            original = original.at(good)
        return self._chunker.add(numbers, addresses, encoded, original)

    def _refuse_all(self, first: int, block: Block, fault: RowFault) -> Sequence[Chunk]:
        """Reject rows for their columns, or the whole source where nothing of it was given on yet."""
        if isinstance(fault, ColumnFault) and not self._gave_a_chunk:
            raise refuse_columns(fault) from None
        for place in range(len(block)):
            self._refuse(first + place, block.given(place), fault)
        return ()

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
            types = {name.casefold(): word for name, word in self._spec.types.items()}
            for name in property_problems(property_names(names, self._rules), self._properties):
                datatype = types.get(name.casefold(), "str")
                self.missing.append(name)
                made = Property(id=0, name=name, datatype=datatype)
                if not self._dry:
                    made = await self._engine.account.create_property(name, datatype)
                self._properties[name.casefold()] = made
        layout = layout_of(names, self._rules)
        unseen = set(missing_columns(names, self._spec.columns))
        self._unseen = [name for name in self._unseen if name in unseen]
        self._addressed = self._addressed or layout.email is not None or layout.nested is not None
        return layout

    def _choose(self, first: Layout) -> tuple[Encoder, Sender]:
        """Choose how rows are encoded and sent; on the CSV way the first row says which columns there are."""
        engine, spec, lists = self._engine, self._spec, self._lists
        if spec.via == "json":
            return JsonEncoder(engine.settings, spec, lists), JsonSender(engine.transport, spec, lists)
        list_id, action = (lists or [])[0]
        method = action.value if spec.excluded is None else EXCLUSIONS[not spec.excluded]
        encoder = CsvEncoder(engine.settings, first, empty_cell_keeps=engine.assumptions.csv_empty_cell_keeps)
        return encoder, CsvSender(engine, list_id, method, encoder.options, spec.resend)

    def _checked(self, chunk: Chunk) -> Chunk:
        if not self._gave_a_chunk:
            self._check_columns()
        self._gave_a_chunk = True
        return chunk

    def _check_columns(self) -> None:
        """Refuse the source where no row so far has an address, or where a column that was picked is in none."""
        if self._unseen:
            raise UsageError(f"columns= picks {self._unseen[0]!r}, which the source does not have")
        if not self._addressed:
            raise UsageError(NO_ADDRESS)

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


def _laid(row: Given, nested: int) -> Given | RowFault:
    """Lay a row flatten, or say why it cannot be."""
    try:
        return flatten(row, nested)
    except RowFault as fault:
        return fault
