"""What somebody probably meant."""

import pytest

from mjbulk.likely import did_you_mean, likely

KNOWN = ["Newsletter", "age", "ann@example.org", "First list"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("newsleter", "Newsletter"),
        (" AGE ", "age"),
        ("agee", "age"),
        ("first  list", "First list"),
        ("shoe", None),
        ("ann@example.or", None),
        ("", None),
    ],
)
def test_the_word_that_is_most_like_it(word: str, meant: str | None) -> None:
    """Case and blanks do not count; what may be an address is never given."""
    assert likely(word, KNOWN) == meant
    assert did_you_mean(word, KNOWN) == ("" if meant is None else f" (did you mean {meant!r}?)")


def test_only_some_words_are_compared() -> None:
    """An account may have any number of lists."""
    assert likely("word", (f"word {n}" for n in range(10**9))) is not None
