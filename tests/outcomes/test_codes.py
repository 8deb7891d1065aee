"""Texts of Mailjet as words that stay."""

import re

import pytest

from mjbulk.errors import ApiError
from mjbulk.outcomes.codes import OTHER, code_of


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("MJ08 Property firstname is invalid", "mailjet.MJ08"),
        ('{"ErrorMessage": "MJ18: a contact bob@example.org"}', "mailjet.MJ18"),
        (str(ApiError(413, "POST contact/managemanycontacts")), "mailjet.413"),
        ("Too few columns at line 17", "mailjet.too-few-columns-at-line"),
        ("Duplicated email", "mailjet.duplicated-email"),
        ("invalid e-mail: bob@example.org", "mailjet.invalid-e-mail"),
        ("<bob@example.org> is refused!", "mailjet.is-refused"),
        ('Refused: "no, bob", thanks', "mailjet.refused-thanks"),
        ("can't take 'bob smith' now", "mailjet.cant-take-now"),
        ("value 'o'neil' is bad", "mailjet.value-is-bad"),
        ("value (“bob”) «smith» `x` is bad", "mailjet.value-is-bad"),
        ("value 'bob that never ends", "mailjet.value"),
        ('value "bob that never ends', "mailjet.value"),
        ("see https://example.org/bob or example.org", "mailjet.see-or"),
        ("List index (0) out of bounds", "mailjet.list-index-out-of-bounds"),
        ("Adresse électronique INVALIDE", "mailjet.adresse-electronique-invalide"),
        ("one two three four five six seven", "mailjet.one-two-three-four-five-six"),
        (f"{'a' * 30} {'b' * 30}", f"mailjet.{'a' * 30}"),
        ("a" * 49, OTHER),
        ("", OTHER),
        ("17 2.5 東京", OTHER),
    ],
)
def test_texts_and_their_codes(text: str, code: str) -> None:
    """Mailjet's own code, else its words without what differs from row to row."""
    assert code_of(text) == code
    assert len(code) <= 56
    assert re.fullmatch(r"mailjet\.[A-Za-z0-9-]+", code)


@pytest.mark.parametrize("value", ["Smith", "van der Berg", " Smith ", "c++", "a.b"])
def test_values_of_the_row_are_no_words_of_its_code(value: str) -> None:
    """A value that stands in the text without quotes makes no code of its own; part of a word stays."""
    assert code_of(f"value {value} for smithery", ("", 7, None, value)) == "mailjet.value-for-smithery"
