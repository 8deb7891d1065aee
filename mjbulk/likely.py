"""What somebody probably meant by a word that is not known."""

from collections.abc import Iterable
from difflib import get_close_matches

_MOST = 5_000
"""Words that are compared: that takes time."""


def likely(word: str, known: Iterable[str], *, share: float = 0.6) -> str | None:
    """Give the known word that is most like a word; None if none has this ``share`` of its letters. A word with an @ in
    it may be an address.
    """
    words = {other.casefold(): other for other, _ in zip(known, range(_MOST), strict=False) if "@" not in other}
    found = get_close_matches(word.strip().casefold(), words, n=1, cutoff=share)
    return words[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Ask for the known word that is most like a word, in brackets after a blank; empty if none is."""
    meant = likely(word, known)
    return "" if meant is None else f" (did you mean {meant!r}?)"
