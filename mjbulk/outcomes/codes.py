"""A text of Mailjet's as a word that stays, so that programs can count rejections by their cause.

Mailjet's own code is taken where the text has one. Otherwise the words of the text are taken, without what differs from
row to row: addresses, what stands in quotes, all that has a digit, and the values of the row.
"""

import re
import unicodedata
from collections.abc import Iterable

_CODE = re.compile(r"\bMJ[0-9]{2,4}\b")
_STATUS = re.compile(r"Mailjet answered ([0-9]{3}) ")
"""How a refusal without a text is written (`mjbulk.ApiError`)."""
_QUOTED = re.compile(
    r'"[^"]*(?:"|\Z)|`[^`]*(?:`|\Z)'
    r"|[«“„\u2018][^»”“\u2019]*(?:[»”“\u2019]|\Z)"
    r"|(?<![^\s(\[{:=,;])'.*?(?:'(?![^\W_])|\Z)",
    re.DOTALL,
)  # a quote that is never closed goes on to the end
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*\Z")
_AROUND = "()[]{}<>.,:;!?#*=_/\\|'-"
_MOST_TEXT, _MOST_WORDS, _MOST_LETTERS = 300, 6, 48
OTHER = "mailjet.other"
"""The code of a text of which no word is left."""


def code_of(text: str, values: Iterable[object] = ()) -> str:
    """Give the code of a text. ``values`` are those of the row: what stands in its place in other rows is another one.

    It has at most 56 characters.
    """
    if found := _CODE.search(text):
        return f"mailjet.{found[0]}"
    if found := _STATUS.match(text):
        return f"mailjet.{found[1]}"
    bare = _QUOTED.sub(" ", _without(text[:_MOST_TEXT], values))
    letters = unicodedata.normalize("NFKD", bare.casefold())
    words = (_word(part) for part in "".join(filter(_counts, letters)).split())
    slug = ""
    for word in [word for word in words if word][:_MOST_WORDS]:
        longer = f"{slug}-{word}" if slug else word
        if len(longer) > _MOST_LETTERS:
            break
        slug = longer
    return f"mailjet.{slug}" if slug else OTHER


def _without(text: str, values: Iterable[object]) -> str:
    for value in values:
        if isinstance(value, str) and (bare := value.strip()) and bare in text:
            text = re.sub(rf"(?<!\w){re.escape(bare)}(?!\w)", " ", text)
    return text


def _counts(character: str) -> bool:
    return not unicodedata.combining(character)


def _word(part: str) -> str | None:
    """Give a word of letters; None for numbers, addresses, names with dots and other signs."""
    bare = part.strip(_AROUND).replace("'", "").replace("\u2019", "")
    return bare if _WORD.match(bare) else None
