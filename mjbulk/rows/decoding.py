"""Bytes to text, up to the first byte that cannot be decoded."""

import codecs
from collections.abc import AsyncGenerator
from contextlib import aclosing

from mjbulk.discreet import discreet
from mjbulk.errors import UsageError
from mjbulk.rows.packed import Pieces, SourceUnreadable

_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks; no text in UTF-8 begins with one of them."""
Texts = AsyncGenerator[tuple[str, bool], None]
"""Pieces of a text, each with whether it is the last."""


@discreet
async def with_last(pieces: Pieces) -> AsyncGenerator[tuple[bytes, bool], None]:
    """Give each piece with False, and after them an empty one with True: it is the last."""
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece, False
    yield b"", True


@discreet
async def texts_of(pieces: Pieces, encoding: str) -> Texts:
    """Decode pieces up to the first byte that cannot be decoded. Gives each text, and whether it is the last."""
    decoder = codecs.getincrementaldecoder(encoding)()
    begun = False
    async with aclosing(with_last(pieces)) as marked:
        async for piece, last in marked:
            state = decoder.getstate()
            text = _decoded(decoder, piece, last=last)
            if text is None:
                if not begun:
                    refuse_bom(piece, "say encoding={!r}")
                decoder.setstate(state)
                yield _up_to_fault(decoder, piece), False
                raise SourceUnreadable(f"this is not {encoding.removesuffix('-sig')}: say encoding=")
            begun = begun or bool(piece)
            yield text, last


def _decoded(decoder: codecs.IncrementalDecoder, piece: bytes, *, last: bool = False) -> str | None:
    try:
        return decoder.decode(piece, last)
    except UnicodeError:
        return None


def _up_to_fault(decoder: codecs.IncrementalDecoder, piece: bytes) -> str:
    """Decode what comes before the first byte that cannot be decoded. Bisection finds that byte in any encoding."""
    good, bad = 0, len(piece) + 1
    state = decoder.getstate()
    text = ""
    while bad - good > 1:
        middle = (good + bad) // 2
        decoder.setstate(state)
        found = _decoded(decoder, piece[:middle])
        good, bad, text = (good, middle, text) if found is None else (middle, bad, found)
    return text


def refuse_bom(beginning: bytes, advice: str) -> None:
    """Raise UsageError if bytes begin like UTF-16 or UTF-32. The name replaces ``{}`` in ``advice``."""
    for mark, name in _BOMS.items():
        if beginning.startswith(mark):
            raise UsageError(f"it begins with the byte order mark of {name.upper()}: {advice.format(name)}")
