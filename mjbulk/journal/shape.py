"""Which rows a chunk has, and which of them became one entry, as a short text for the journal.

Most chunks are a range of rows, and need no text. If people recur, a chunk differs from its range:

========  ==========================================================================================
holes     rows of its window that were held when it was cut, and are in a later chunk
extras    rows that were held before, and were sent in this chunk
merges    rows that were merged into an entry that an earlier row of the chunk had begun
========  ==========================================================================================

The *window* of a chunk has the rows after the last fresh row of the chunks before it, up to its own last fresh row. A
fresh row is one that was never held. A window also has the rows that mjbulk refused, which are not in the table.

The text is made of lists of gaps, as variable-length numbers. It is compressed if that makes it shorter.
"""

from array import array
from base64 import b85decode, b85encode
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from zlib import compress, decompress, error

from attrs import frozen


@frozen
class Shape:
    """How the rows of a chunk differ from its window."""

    holes: Sequence[int] = ()
    """Numbers of rows, ascending."""
    extras: Sequence[int] = ()
    """Numbers of rows, ascending."""
    merged: Sequence[int] = ()
    """Positions of merged rows among the rows of the chunk, ascending."""
    into: Sequence[int] = ()
    """For each of them the position of its entry."""

    def __bool__(self) -> bool:
        return bool(self.holes or self.extras or self.merged)


PLAIN = Shape()
"""The shape of a chunk whose rows are those of its window."""
_RAW, _PACKED = "r", "z"
"""The first character of a text: plain or compressed."""
_END = "."
"""The last character of a text, so that a text that was cut off is not taken for another one."""


def encode_shape(shape: Shape) -> str:
    """Give the text of a shape, which is empty if the rows of the chunk are those of its window."""
    if not shape:
        return ""
    lists = (_gaps(shape.holes), _gaps(shape.extras), _gaps(shape.merged), shape.into)
    raw = b"".join(_varints(chain((len(numbers),), numbers)) for numbers in lists)
    packed = compress(raw, 9)
    kind, data = (_PACKED, packed) if len(packed) < len(raw) else (_RAW, raw)
    return kind + b85encode(data).decode() + _END


def decode_shape(text: str) -> Shape:
    """Give the shape of a text. Raises ValueError if the text is cut off or damaged."""
    if not text:
        return PLAIN
    kind, data, end = text[0], b85decode(text[1:-1]), text[-1]
    if kind not in (_RAW, _PACKED) or end != _END:
        raise ValueError("the text is cut off, or none of a shape")
    try:
        numbers = _numbers(decompress(data) if kind == _PACKED else data)
        holes, extras, merged, into = (array("Q", (next(numbers) for _ in range(next(numbers)))) for _ in range(4))
        holes, extras, merged = (array("Q", accumulate(gaps)) for gaps in (holes, extras, merged))
    except (RuntimeError, StopIteration, OverflowError, error):
        raise ValueError("the text is damaged") from None
    if next(numbers, None) is not None or len(merged) != len(into):
        raise ValueError("the text is damaged")
    return Shape(holes, extras, merged, into)


def _gaps(numbers: Sequence[int]) -> Sequence[int]:
    return array("Q", (number - before for before, number in zip(chain((0,), numbers), numbers, strict=False)))


def _varints(numbers: Iterable[int]) -> bytes:
    """Encode numbers with seven bits in each byte, the lowest bits first. The high bit says that more bytes follow."""
    data = bytearray()
    for number in numbers:
        left = number
        while left > 0x7F:
            data.append(left & 0x7F | 0x80)
            left >>= 7
        data.append(left)
    return bytes(data)


def _numbers(data: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number = shift = 0
