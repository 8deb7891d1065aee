"""From rows to the contacts of contact/managemanycontacts (FACTS 1.2)."""

from collections.abc import Sequence

from mjbulk.chunks.chunk import Limits
from mjbulk.chunks.frame import contacts_frame
from mjbulk.config import JSON_ROWS, Settings
from mjbulk.rows.block import Block
from mjbulk.rows.contacts import Contacts, merge
from mjbulk.rows.layout import Layout
from mjbulk.rows.values import RowFault
from mjbulk.terms import Action, RunSpec


class JsonEncoder:
    """The encoder of the JSON way: one JSON object for each row."""

    meaning = b""  # each object has the names of its members

    def __init__(self, settings: Settings, spec: RunSpec, lists: Sequence[tuple[int, Action]] | None) -> None:
        """Take the keywords of the run, and ``lists``: the ID of each of its lists, and the action."""
        self._spec = spec
        self.frame = contacts_frame(lists)
        self.limits = Limits(rows=settings.chunk_rows or JSON_ROWS, bytes=settings.chunk_bytes)

    def encode(
        self, block: Block, layout: Layout, faults: dict[int, RowFault]
    ) -> tuple[Sequence[str], Sequence[bytes]]:
        """Give addresses and JSON of rows, and note in ``faults`` the indexes of rows that cannot be sent."""
        if self._spec.excluded is None:
            contacts = layout.contacts(block.columns, len(block), faults)
        else:
            addresses = layout.addresses(block.columns, len(block), faults)
            contacts = Contacts({"Email": addresses, "IsExcludedFromCampaigns": [self._spec.excluded] * len(block)})
        return contacts.addresses, contacts.encode(faults)

    def merge(self, earlier: bytes, later: bytes) -> bytes:
        """Merge two rows, key by key."""
        return merge(earlier, later)
