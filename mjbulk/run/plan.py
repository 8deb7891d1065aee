"""The same way as an import without sending: what it would take, and what would go wrong."""

from collections.abc import Sequence
from contextlib import aclosing

from attrs import field, frozen

from mjbulk.chunks.people import Lanes
from mjbulk.errors import UsageError
from mjbulk.models import Rejections
from mjbulk.outcomes.rejections import RejectionStore
from mjbulk.public import public
from mjbulk.rows.sources import Source
from mjbulk.run.engine import Engine
from mjbulk.run.reader import Intake
from mjbulk.terms import Action, RunSpec


@public
@frozen(kw_only=True)
class Plan:
    """What an import would send, and what would go wrong. No contact was sent to find that out."""

    rows: int
    """Rows of the source."""
    chunks: int
    requests: int
    """POSTs: for chunks, on the CSV way two for each, and for properties to be created."""
    bytes: int
    """Bytes of all chunks, encoded."""
    rejections: Rejections = field(repr=lambda them: f"<{len(them)}>")
    """Rows that would be refused here, with their numbers."""
    superseded: int
    """Rows of a person who comes again later."""
    new_properties: Sequence[str]
    """Columns that are no property yet and that the CSV way would silently make one: there it wants
    create_properties=True."""
    unknown_properties: Sequence[str]
    """Columns that are no property yet: the JSON way refuses them without create_properties=True."""
    forced: int
    """People whom ``addforce`` would subscribe, whatever they chose before."""


async def make_plan(source: Source, spec: RunSpec, engine: Engine) -> Plan:
    """Read a source as an import would. Raises UsageError where it could not be read a second time, for the import."""
    if not source.rereadable:
        raise UsageError("a plan reads the source, and this one can be read only once")
    rejections = RejectionStore()
    intake = Intake(source, spec, engine, rejections.add, dry=True)
    await intake.prepare()
    lanes = Lanes()
    chunks = size = entries = 0
    async with aclosing(intake.chunks()) as given:
        async for chunk in given:
            chunks += 1
            size += len(chunk.body.data)
            entries += len(chunk.rows)
            lanes.enter(chunk.number, chunk.people)
    created = len(intake.missing) if spec.create_properties else 0
    forced = any(action is Action.ADDFORCE for _, action in spec.lists or ())
    return Plan(
        rows=intake.rows,
        chunks=chunks,
        requests=chunks * (2 if spec.via == "csv" else 1) + created,
        bytes=size,
        rejections=rejections,
        superseded=entries - lanes.people,
        new_properties=tuple(intake.missing) if spec.via == "csv" else (),
        unknown_properties=tuple(intake.missing) if spec.via == "json" else (),
        forced=lanes.people if forced else 0,
    )
