"""What a run needs to know of an encoding, whichever of the two it is."""

from collections.abc import Sequence
from typing import Protocol

from mjbulk.chunks.chunker import Limits
from mjbulk.chunks.frame import Frame
from mjbulk.rows.block import Block
from mjbulk.rows.layout import Layout
from mjbulk.rows.values import RowFault


class Encoder(Protocol):
    """Turns rows into the entries of a body."""

    frame: Frame
    limits: Limits
    meaning: bytes
    """Extra bytes for the digest of a chunk: on the CSV way the header, without which cells mean nothing."""

    def encode(
        self, block: Block, layout: Layout, faults: dict[int, RowFault]
    ) -> tuple[Sequence[str], Sequence[bytes]]:
        """Give addresses and encodings of rows, and note in ``faults`` the places of those that cannot be sent."""

    def merge(self, earlier: bytes, later: bytes) -> bytes:
        """Make one entry of two rows of a person, the later winning."""
