"""What a run needs from an encoding, JSON or CSV."""

from collections.abc import Sequence
from typing import Protocol

from mjbulk.chunks.chunk import Limits
from mjbulk.chunks.frame import Frame
from mjbulk.rows.block import Block
from mjbulk.rows.layout import Layout
from mjbulk.rows.values import RowFault


class Encoder(Protocol):
    """An encoder of rows into the entries of a body."""

    frame: Frame
    limits: Limits
    meaning: bytes
    """Extra bytes for the digest of a chunk: on the CSV way the header, without which cells mean nothing."""

    def encode(
        self, block: Block, layout: Layout, faults: dict[int, RowFault]
    ) -> tuple[Sequence[str], Sequence[bytes]]:
        """Give addresses and entries of rows, and note in ``faults`` the indexes of rows that cannot be sent."""

    def merge(self, earlier: bytes, later: bytes) -> bytes:
        """Merge the entries of two rows of one person; values of the later row win."""
