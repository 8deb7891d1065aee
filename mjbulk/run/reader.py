"""A source to encoded rows: what is asked of the account first, and what is refused here by column or by row.

A run sends the rows; a plan only counts them, and so takes what is missing of the account as if it were there.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from zoneinfo import ZoneInfo

from attrs import field, frozen

from mjbulk.chunks.as_csv import CsvEncoder
from mjbulk.chunks.as_json import JsonEncoder
from mjbulk.chunks.builder import Rules
from mjbulk.chunks.chunk import SizeLimit
from mjbulk.chunks.encoder import Encoder
from mjbulk.errors import ApiError, CredentialsRefused, UsageError
from mjbulk.models import Rejection
from mjbulk.outcomes.row_set import RowSet
from mjbulk.rows.addresses import EMAIL
from mjbulk.rows.block import Block, Given, blocks_of
from mjbulk.rows.dates import Dates
from mjbulk.rows.findings import Findings
from mjbulk.rows.iterables import BadRow, Batch
from mjbulk.rows.layout import ColumnRules, Layout, check_unnamed, refuse_columns
from mjbulk.rows.looks import Looks
from mjbulk.rows.names import clean_name
from mjbulk.rows.objects import Nameless
from mjbulk.rows.sources import Source
from mjbulk.rows.surprises import note_surprises
from mjbulk.rows.values import ColumnFault, RowFault
from mjbulk.run.columns import Columns, laid_flat
from mjbulk.run.engine import Engine
from mjbulk.run.senders import CsvSender, JsonSender, Sender
from mjbulk.run.shared_fault import SharedFault
from mjbulk.terms import EXCLUSIONS, Action, RunSpec


@frozen
class EncodedRows:
    """Good rows of a source, column by column."""

    numbers: Sequence[int]
    addresses: Sequence[str] = field(repr=False)
    """Without blanks around them."""
    encoded: Sequence[bytes] = field(repr=False)
    block: Block = field(repr=False)
    """The same rows as they were given."""

    def at(self, indices: Sequence[int]) -> "EncodedRows":
        """Give the rows at some indices."""
        return EncodedRows(
            [self.numbers[at] for at in indices],
            [self.addresses[at] for at in indices],
            [self.encoded[at] for at in indices],
            self.block.at(indices),
        )


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
        fresh: bool = True,
        lasting: bool = False,
    ) -> None:
        """Read nothing yet. ``reject`` is called with each row that is refused here. ``digests`` says that chunks have
        digests. With ``dry`` nothing is created at Mailjet. ``fresh`` says that the run has sent nothing before.
        ``lasting`` says that rows come one by one for as long as the process lives: each fault rejects its row.
        """
        self.row = 0
        """The number of the row that was read last."""
        self.rows = 0
        """How many rows were read."""
        self.seen = RowSet()
        """Their numbers."""
        self.sender: Sender
        self.rules: Rules
        self.findings = Findings()
        """With ``dry``, what may surprise in what is made of the values."""
        self._looks = Looks()
        self.learned = SizeLimit(engine.settings.chunk_bytes, engine.window.share)
        """How large a body may be; who sends them tells it what went through."""
        self._source = source
        self._spec = spec
        self._engine = engine
        self._reject = reject
        self._digests = digests
        self._dry = dry
        self._columns: Columns
        self._encoder: Encoder | None = None
        self._header = False
        self._committed = self._lasting = lasting
        self._shared = SharedFault() if fresh and not lasting else None

    @property
    def missing(self) -> Sequence[str]:
        """Properties that rows set and that were not there."""
        return self._columns.missing

    # The account

    async def prepare(self) -> Sequence[tuple[int, Action]] | None:
        """Ask for properties and lists: wrong keys and unknown lists show here, before anything is sent.

        Gives the lists of the run by their IDs.
        """
        account, spec = self._engine.account, self._spec
        mark = account.mark
        try:
            properties = await account.known_properties()
            lists = meant = await account.resolve(spec.lists) if spec.lists else None
            if spec.via == "csv" and lists is None:
                lists = [(await account.any_list(), Action.ADDNOFORCE)]
        except ApiError as refusal:
            if refusal.status not in (401, 403) or refusal.text:  # with a text, it is about this call (FACTS 9.5)
                raise
            raise CredentialsRefused(
                refusal.status, call=refusal.call, text=refusal.text, advice=refusal.sentence
            ) from None
        self._lists = lists
        rules = ColumnRules(
            properties=properties,
            columns=spec.columns,
            nulls=spec.nulls,
            text=self._source.text,
            only_address=spec.excluded is not None,
            via_csv=spec.via == "csv",
            dates=Dates(ZoneInfo(spec.timezone) if spec.timezone else None, spec.date_format),
            includes=not spec.repairs,
        )
        self._columns = Columns(spec, rules, account, since=None if self._lasting else mark, dry=self._dry)
        self._columns.refusable = not self._lasting
        return meant

    # Rows

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Give the rows of the source as it has them. Raises what the source raises."""
        async with aclosing(self._source.batches(set(map(clean_name, self._spec.columns or ())))) as batches:
            async for batch in batches:
                yield batch

    async def judge(self, batch: Batch) -> None:
        """Look at the columns of the first batch. Raises UsageError if the source cannot be sent."""
        await self._columns.judge(batch, self.row)

    async def encode(self, block: Block | BadRow) -> Sequence[EncodedRows]:
        """Encode the rows that can be sent; a row that cannot is rejected by its number.

        Raises UsageError if the columns cannot be sent and nothing was given on yet.
        """
        first, self.row = self.next_rows(block)
        numbers = range(first, self.row + 1)
        self.rows += len(block)
        if not self._lasting:
            self.seen.add_range(numbers)
        if isinstance(block, BadRow):
            if isinstance(block.fault, Nameless) and not self._columns.any and not self._lasting:
                raise UsageError(block.fault.message)
            self._refuse(first, block.given, block.fault)
            return ()
        try:
            layout = await self._columns.layout(block.names)
        except ColumnFault as fault:
            return self._refuse_all(numbers, block, fault)
        if (zoneless := layout.without_zone(block)) and not self._committed:
            raise refuse_columns(zoneless)
        if not len(block):
            self._header = True
            return ()
        if self._header and not self._committed:  # all rows have these names
            self._columns.check(header=True)
        if layout.nested is not None:
            return await self._encode_nested(first, block, layout.nested)
        return await self._encode(numbers, block, layout, block)

    def next_rows(self, block: Block | BadRow) -> tuple[int, int]:
        """Give the first and the last number of the rows of the next block."""
        first = block.number or self.row + 1
        return first, first + len(block) - 1

    def commit(self) -> None:
        """Hear that a chunk was cut. Raises UsageError if no row so far has what the caller asks for."""
        if not self._committed:
            self._columns.check(header=self._header)
        self._committed, self._columns.refusable = True, False

    @property
    def good(self) -> bool:
        """Whether some row so far has an address, and each column that was picked was in one."""
        return self._columns.good

    def end(self) -> None:
        """Hear that the source has ended. Raises UsageError as `commit` does."""
        if self._columns.any:
            self.commit()
        self._looks.tell(self.findings)

    async def _encode_nested(self, first: int, block: Block, nested: int) -> Sequence[EncodedRows]:
        """Lay rows flat, and encode those together that follow each other and set the same properties."""
        encoded: list[EncodedRows] = []
        begin = 0
        for some in blocks_of(laid_flat(Given(block.names, values), nested) for values in block.rows):
            size = len(some) if isinstance(some, Block) else 1
            original = block.at(range(begin, begin + size))
            if isinstance(some, Block):
                encoded += await self._encode_laid(range(first + begin, first + begin + size), some, original)
            else:
                self._refuse(first + begin, original.given(0), some)
            begin += size
        return encoded

    async def _encode_laid(self, numbers: Sequence[int], block: Block, original: Block) -> Sequence[EncodedRows]:
        try:
            layout = await self._columns.layout(block.names)
        except ColumnFault as fault:
            return self._refuse_all(numbers, original, fault)
        return await self._encode(numbers, block, layout, original)

    async def _encode(
        self, numbers: Sequence[int], block: Block, layout: Layout, original: Block
    ) -> Sequence[EncodedRows]:
        """Encode rows that have one layout; ``original`` is how they were given. If one of them is good, the properties
        that are missing are created.
        """
        if layout.email is None:
            return self._refuse_all(numbers, original, RowFault("address.missing", EMAIL, "the address is missing"))
        chosen = self._encoder
        try:
            good, rows = self._good_rows(numbers, block, layout, original)
        except ColumnFault as fault:
            return self._refuse_all(numbers, original, fault)
        if not good:
            return ()
        try:
            created = await self._columns.create(layout)
        except ColumnFault as fault:
            return self._refuse_all(rows.numbers, rows.block, fault)
        if not created:
            return [rows]
        self._encoder = chosen  # a property may be another than was planned
        return await self._encode_laid(rows.numbers, block.at(good), rows.block)

    def _good_rows(
        self, numbers: Sequence[int], block: Block, layout: Layout, original: Block
    ) -> tuple[Sequence[int], EncodedRows]:
        """Encode rows, and reject bad ones; give the indexes of those that are good, and these rows. It waits for
        nothing, so nobody sees what it has.

        Raises ColumnFault for what all rows have.
        """
        encoder = self._encoder or self._choose(layout)
        faults: dict[int, RowFault] = {}
        unnamed = check_unnamed(layout.unnamed, block, numbers[0], faults)
        if unnamed is not None and not self._committed:
            raise refuse_columns(unnamed, row=numbers[min(faults)])
        addresses, encoded = encoder.encode(block, layout, faults)
        self._find_faults(numbers, block, layout, encoded, faults)
        rows = EncodedRows(numbers, addresses, encoded, original)
        good = self._refuse_faulty(rows, faults)
        return good, rows if len(good) == len(block) else rows.at(good)

    def _check_sizes(self, encoded: Sequence[bytes], faults: dict[int, RowFault]) -> None:
        if self.rules.too_large(max(encoded, key=len)):
            for index, row in enumerate(encoded):
                if why := self.rules.too_large(row):
                    faults.setdefault(index, RowFault("row.too_large", None, why))

    def _find_faults(
        self,
        numbers: Sequence[int],
        block: Block,
        layout: Layout,
        encoded: Sequence[bytes],
        faults: dict[int, RowFault],
    ) -> None:
        """Find faults that show once rows are encoded. Where no chunk was cut, refuse the source for what a whole
        column has; a plan notes what may surprise.
        """
        self._check_sizes(encoded, faults)
        if not self._committed:
            layout.check_zones(block, numbers, faults)
        if self._dry:
            note_surprises(self.findings, layout, block, numbers[0], faults)
            if self._spec.create_properties:
                self._looks.see(layout, block, numbers[0], faults, untyped=self._columns.untyped)

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

    # Refusing

    def _refuse_all(self, numbers: Sequence[int], block: Block, fault: RowFault) -> Sequence[EncodedRows]:
        """Reject rows for their columns, or the whole source where nothing of it was given on yet."""
        if isinstance(fault, ColumnFault) and self._columns.refusable:
            raise refuse_columns(fault) from None
        for index, number in enumerate(numbers):
            self._refuse(number, block.given(index), fault)
        return ()

    def _refuse_faulty(self, rows: EncodedRows, faults: Mapping[int, RowFault]) -> Sequence[int]:
        """Reject the rows that have faults, and give the indexes of the others."""
        for place, index in enumerate(sorted(faults)):
            if place != index:  # a good row stands before it
                self._shared = None
            self._refuse(rows.numbers[index], rows.block.given(index), faults[index])
        size = len(rows.numbers)
        good = [index for index in range(size) if index not in faults] if faults else range(size)
        if good:
            self._shared = None
        return good

    def _refuse(self, row: int, given: Given | None, fault: RowFault) -> None:
        if self._shared is not None:
            self._shared.add(fault)
        data = given.as_dict() if given else None
        layout = self._columns.known(given.names) if given else None
        address = given.values[layout.email] if given and layout and layout.email is not None else None
        self._reject(
            Rejection(
                row=row,
                email=address if isinstance(address, str) else None,
                field=fault.field,
                code=fault.code,
                message=fault.message,
                origin="mjbulk",
                data=data,
            )
        )
