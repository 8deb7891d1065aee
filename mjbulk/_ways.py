"""The two ways into Mailjet: what a row becomes on each, and how a chunk is handed over.

Both give the same to a run: a frame around encoded rows, the encoding of one row, the merging of two rows of one person, and a
job for a body.
"""

from collections.abc import Sequence
from typing import Protocol

from mjbulk._chunking import Chunk, Limits
from mjbulk._rows import Given, Layout, encode, merge
from mjbulk._transport import Doubt, Transport
from mjbulk._verdict import harmless_again
from mjbulk._wire import Frame, contacts_frame, contacts_request, decode_job_id
from mjbulk.config import Settings
from mjbulk.models import Action, JobRef, RunSpec


class Way(Protocol):
    """How rows get into Mailjet."""

    frame: Frame
    limits: Limits

    def encode(self, row: Given, layout: Layout) -> tuple[str, bytes]:
        """Give the address of a row, and its encoding. Raises RowFault."""

    def merge(self, earlier: bytes, later: bytes) -> bytes:
        """Make one entry of two rows of a person, the later winning."""

    async def submit(self, chunk: Chunk, places: slice, doubt: Doubt) -> JobRef:
        """Hand over entries of a chunk. Raises what the transport raises."""


class JsonWay:
    """contact/managemanycontacts: one POST a chunk."""

    def __init__(
        self, transport: Transport, settings: Settings, spec: RunSpec, lists: Sequence[tuple[int, Action]] | None
    ) -> None:
        """``lists`` are the run's, with their IDs."""
        self._transport = transport
        self._spec = spec
        self._actions = [action for _, action in lists or ()]
        self.frame = contacts_frame(lists)
        self.limits = Limits(rows=settings.chunk_rows or 1000, bytes=settings.chunk_bytes)

    def encode(self, row: Given, layout: Layout) -> tuple[str, bytes]:
        """Give the address of a row, and its JSON."""
        contact = layout.contact(row.values)
        return contact["Email"], encode(contact)

    def merge(self, earlier: bytes, later: bytes) -> bytes:
        """Merge two rows, key by key."""
        return merge(earlier, later)

    async def submit(self, chunk: Chunk, places: slice, doubt: Doubt) -> JobRef:
        """POST the entries."""
        encoded = chunk.encoded[places]
        excludes = any(b'"IsExcludedFromCampaigns":' in row for row in encoded)
        job_id = await self._transport.send(
            contacts_request(self.frame.body(encoded)),
            decode_job_id,
            harmless=harmless_again(self._actions, excludes=excludes, resend=self._spec.resend),
            doubt=doubt,
        )
        return JobRef("contact", job_id)
