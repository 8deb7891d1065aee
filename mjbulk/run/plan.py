"""The same way as an import without sending: what it would take, and what would go wrong."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from attrs import field, frozen

from mjbulk.chunks.chunker import Chunker
from mjbulk.chunks.people import PeopleCount
from mjbulk.errors import UsageError
from mjbulk.models import Finding, Rejections
from mjbulk.outcomes.rejections import RejectionStore
from mjbulk.public import public
from mjbulk.rows.addresses import keys_of
from mjbulk.rows.sources import Source
from mjbulk.run.engine import Engine
from mjbulk.run.reader import EncodedRows, Reader
from mjbulk.terms import Action, RunSpec


@public
@frozen(kw_only=True)
class Plan:
    """What an import would send, and what would go wrong. No contact was sent to find that out."""

    rows: int
    """Rows of the source."""
    chunks: int
    """Requests that carry rows. Where people recur it is the least number: rows that wait for a job of their person go
    out in chunks of their own, and how many those are depends on when jobs end."""
    requests: int
    """POSTs: for chunks, on the CSV way two for each, and for properties to be created."""
    bytes: int
    """Bytes of all chunks, encoded."""
    rejections: Rejections = field(repr=lambda them: f"<{len(them)}>")
    """Rows that would be refused here, with their numbers."""
    superseded: int
    """Rows of a person who comes again in the same chunk."""
    recurring: int
    """Rows of people who come again at all. A row waits while a job with an earlier row of its person is unfinished."""
    new_properties: Sequence[str]
    """Columns that are no property yet and would be created: with create_properties=True, and on the CSV way, which
    would silently create them and wants that keyword."""
    unknown_properties: Sequence[str]
    """Columns that are no property yet and would be refused."""
    forced: int
    """People whom ``addforce`` would subscribe, whatever they chose before."""
    findings: Sequence[Finding] = ()
    """What may surprise in the source, or in what is made of its values: each once, with a count and the first row."""


async def make_plan(source: Source, spec: RunSpec, engine: Engine) -> Plan:
    """Read a source as an import would. Raises UsageError if it could not be read a second time, for the import."""
    if not source.rereadable:
        raise UsageError("a plan reads the source, and this one can be read only once: give a list, a file or a table")
    rejections = RejectionStore(folder=engine.settings.spool_dir)
    reader = Reader(source, spec, engine, rejections.add, dry=True)
    await reader.prepare()
    count = _Count(reader)
    async with aclosing(reader.batches()) as batches:
        async for batch in batches:
            await reader.judge(batch)
            for block in batch:
                for rows in await reader.encode(block):
                    count.add(rows)
            await asyncio.sleep(0)
    reader.end()
    count.end()
    new = spec.create_properties or spec.via == "csv"
    created = len(reader.missing) if spec.create_properties else 0
    forced = any(action is Action.ADDFORCE for _, action in spec.lists or ())
    return Plan(
        rows=reader.rows,
        chunks=count.chunks,
        requests=count.chunks * (2 if spec.via == "csv" else 1) + created,
        bytes=count.bytes,
        rejections=rejections,
        superseded=count.superseded,
        recurring=count.people.recurring,
        new_properties=tuple(reader.missing) if new else (),
        unknown_properties=() if new else tuple(reader.missing),
        forced=len(count.people) if forced else 0,
        findings=(*source.findings, *reader.findings),
    )


class _Count:
    """Counts the chunks that rows would make, if each were done at once. Mutable state: the figures."""

    def __init__(self, reader: Reader) -> None:
        """Begin with nothing."""
        self.chunks = self.bytes = self.superseded = 0
        self.people = PeopleCount()
        self._reader = reader
        self._chunker: Chunker | None = None

    def add(self, rows: EncodedRows) -> None:
        """Count rows. Raises UsageError if the first chunk shows that the source cannot be sent."""
        if self._chunker is None:
            self._chunker = Chunker(self._reader.rules, _NOTHING_HELD)
        self.people.add(keys_of(rows.addresses))
        self._chunker.add(rows.numbers, rows.addresses, rows.encoded, rows.block)
        self._take(self._chunker)

    def end(self) -> None:
        """Count what is left."""
        if self._chunker is not None:
            self._chunker.end()
            self._take(self._chunker)

    def _take(self, chunker: Chunker) -> None:
        while chunker.cut:
            self._reader.commit()
            chunk = chunker.cut.popleft()
            self.chunks += 1
            self.bytes += len(chunk.body.data)
            self.superseded += len(chunk.superseded)
            chunker.done(chunk.number)


class _NothingHeld:
    """Takes rows that are held for a moment: nobody asks for them."""

    def add(self, value: object) -> int:  # noqa: ARG002  # as a store does
        return 0


_NOTHING_HELD = _NothingHeld()
