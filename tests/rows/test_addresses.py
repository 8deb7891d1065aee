"""Addresses: what can be one, and which belong to one person."""

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from touchy import NA

from mjbulk.rows.addresses import MAX_ADDRESS, are_addresses, check_address, is_address, key_of, keys_of
from mjbulk.rows.values import RowFault

LAW = settings(derandomize=True, deadline=None, max_examples=150)
A = "ann@example.org"


# One address

GOOD = [
    "a@b.de",
    "A.b+c@Example.ORG",
    "a_b-c'd/e=f?g!#$%&*^`{|}~@x.y.z.example",
    "ä@exämple.рф",
    "a@b-c.d1",
    "a@1.2",
    '"a"@b.de',
    "a..b@c.de",
    ".a@b.de",
    "用户@例子.广告",
    '"x@y"@z.example',
    "a@xn--bcher-kva.example",
    "a@b.c",
]


@pytest.mark.parametrize("address", [*GOOD, '"a b"@c.de', f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 63}.{'e' * 60}"])
def test_addresses_that_are_taken(address: str) -> None:
    """An address is sent unchanged, but without the blanks around it."""
    assert check_address(address) == address
    assert check_address(f" \t{address}\r\n") == address


BAD = [
    "a",
    "a@",
    "@b.de",
    "a@b",
    "a@@b.de",
    "a@b@c.de",
    "a@.de",
    "a@b..de",
    "a@b.de.",
    "a@-b.de",
    "a@b-.de",
    "a@b_.de",
    "a@b.de,",
    "a,b@c.de",
    "a;b@c.de",
    "a:b@c.de",
    "a(b)@c.de",
    "a[b]@c.de",
    "a\\b@c.de",
    '"a@b.de',
    'a"b"@c.de',
    '""@b.de',
    "a@[127.0.0.1]",
    "a@b,de",
    "a@b/c.de",
    "a@b.d\x7fe",
]


@pytest.mark.parametrize(
    "address",
    [*BAD, "a b@c.de", "a@b c.de", "a\n@b.de", "a@b.de\nx", "a\0@b.de", '"a\nb"@c.de'],
)
def test_what_is_no_address(address: str) -> None:
    """Any other text is refused, with a message that does not repeat it."""
    with pytest.raises(RowFault) as caught:
        check_address(address)
    assert (caught.value.field, caught.value.message) == ("email", "this is no e-mail address")
    assert str(caught.value) == ""


@pytest.mark.parametrize("value", [None, "", " ", "\t\n", math.nan, Decimal("NaN"), NA])
def test_an_address_that_is_missing(value: Any) -> None:
    """A null, and a text of blanks, is a missing address."""
    with pytest.raises(RowFault) as caught:
        check_address(value)
    assert caught.value.message == "the address is missing"


@pytest.mark.parametrize(("value", "kind"), [(7, "int"), (b"a@b.de", "bytes"), (True, "bool"), ([A], "list")])
def test_an_address_that_is_no_text(value: Any, kind: str) -> None:
    """What is no text is no address."""
    with pytest.raises(RowFault) as caught:
        check_address(value)
    assert caught.value.message == f"the address is a {kind}, not a text"


@pytest.mark.parametrize(("length", "taken"), [(MAX_ADDRESS, True), (MAX_ADDRESS + 1, False), (10**6, False)])
def test_how_long_an_address_may_be(length: int, *, taken: bool) -> None:
    """An address has at most 320 characters."""
    address = f"{'a' * (length - 5)}@b.de"
    if taken:
        assert check_address(address) == address
    else:
        with pytest.raises(RowFault):
            check_address(address)


@LAW
@given(st.text(max_size=30))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    """Whatever a text is: it is taken without the blanks around it, or refused; it is never changed."""
    try:
        address = check_address(text)
    except RowFault:
        return
    assert address == text.strip()
    assert address.count("@") >= 1
    assert not any(character in address for character in "\r\n\0,;")


@pytest.mark.parametrize("address", ["a@हिन्दी.भारत", "a@exa\u0308mple.org"])
def test_domains_in_any_script_are_addresses(address: str) -> None:
    """Marks above and below letters are part of names."""
    assert check_address(address) == address


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("a\u00adb@c.de", "SOFT HYPHEN (U+00AD)"),
        ("a\u200bb@c.de", "ZERO WIDTH SPACE (U+200B)"),
        ("a@b\u200d.de", "ZERO WIDTH JOINER (U+200D)"),
        ("a\u200cb@c.de", "ZERO WIDTH NON-JOINER (U+200C)"),
        *((f"a{chr(code)}@b.de", f" ISOLATE (U+{code:04X})") for code in range(0x2066, 0x2069)),
        ("a\u2069@b.de", "POP DIRECTIONAL ISOLATE (U+2069)"),
        ("a\ufe0f@b.de", "VARIATION SELECTOR-16 (U+FE0F)"),
        ("a\U000e0100@b.de", "VARIATION SELECTOR-17 (U+E0100)"),
        ("\ufeffa@b.de", "ZERO WIDTH NO-BREAK SPACE (U+FEFF)"),
        ("a\u3164@b.de", "HANGUL FILLER (U+3164)"),
        ("a\u00a0b@c.de", "NO-BREAK SPACE (U+00A0)"),
        ("a@b\u2028.de", "LINE SEPARATOR (U+2028)"),
        ("o\u2019hara@b.de", "RIGHT SINGLE QUOTATION MARK (U+2019)"),
        ("\u201ca\u201d@b.de", "LEFT DOUBLE QUOTATION MARK (U+201C)"),
        ("a\u2013b@c.de", "EN DASH (U+2013)"),
        ("a\uff20b.de", "FULLWIDTH COMMERCIAL AT (U+FF20)"),
        ("a@b\u3002de", "IDEOGRAPHIC FULL STOP (U+3002)"),
        ("a@b\u2024de", "ONE DOT LEADER (U+2024)"),
        ("a\ufffdb@c.de", "REPLACEMENT CHARACTER (U+FFFD)"),
        ("a\ue000@b.de", "a character without a name (U+E000)"),
    ],
)
def test_characters_that_nobody_sees_or_that_look_like_others(address: str, name: str) -> None:
    """They came in by accident, and would make another person of the address. The character is told by its name."""
    with pytest.raises(RowFault) as caught:
        check_address(address)
    assert caught.value.message.startswith("the address has a character that no address has: ")
    assert caught.value.message.endswith(name)


@pytest.mark.parametrize("address", ["l\u00b7l@b.cat", "\u4e2d\u30fb\u56fd@b.jp", "i\u2764@b.ws"])
def test_signs_that_addresses_have(address: str) -> None:
    """Middle dots and pictures are signs of their own."""
    assert check_address(address) == address


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            f"Ann <{A}>",
            "the address has a name before it: give what stands between < and > alone, and the name as 'name'",
        ),
        (f"<{A}>", "the address has a name before it: give what stands between < and > alone, and the name as 'name'"),
        (f"{A}; bob@c.de", "there are several addresses in one cell: give a row for each"),
        (f"{A},bob@c.de,", "there are several addresses in one cell: give a row for each"),
        (f"{A} bob@c.de", "there are several addresses in one cell: give a row for each"),
        (f"mailto:{A}", "the address begins with mailto: give what follows it alone"),
        (f"Ann <{A}", "this is no e-mail address"),
        (f"{A}; bob", "this is no e-mail address"),
        ("mailto:ann", "this is no e-mail address"),
        ("Ann <ann>", "this is no e-mail address"),
        (f"{'a' * 400}@b.de", "the address has more than 320 characters"),
    ],
)
def test_what_helps(text: str, problem: str) -> None:
    """Where it can be seen what is meant, the sentence says what to give; it never repeats the text."""
    with pytest.raises(RowFault) as caught:
        check_address(text)
    assert caught.value.message == problem


# One person


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (" Ann@Example.org", "ann@example.ORG ", True),
        ("straße@b.de", "STRASSE@b.de", True),
        ("jos\u00e9@b.de", "jose\u0301@b.de", True),
        ("JOS\u00c9@b.de", "jose\u0301@B.DE", True),
        ("\u1fb4@b.gr", "\u03b1\u0345\u0301@b.gr", True),  # marks in another order
        ("a@ex\u00e4mple.org", "a@xn--exmple-cua.org", True),
        ("a@exa\u0308mple.org", "a@XN--EXMPLE-CUA.org", True),
        ("a@\u4f8b\u5b50.\u5e7f\u544a", "a@xn--fsqu00a.xn--4rr70v", True),
        ("a@i\u2764.ws", "a@xn--i-7iq.ws", True),  # registries have names that the standard has not
        ("\u00e9@a_b.de", "e\u0301@A_B.de", True),
        ("a@stra\u00dfe.de", "a@strasse.de", False),  # two domains
        ("stra\u00dfe", "STRASSE", True),
        ("a@b.de", "a+x@b.de", False),
        ("a@b.de", "a.@b.de", False),
    ],
)
def test_who_is_one_person(one: str, other: str, *, same: bool) -> None:
    """Two addresses are one person where they differ only in case, in the form of Unicode or of the domain, and in the
    blanks around them. Many at once have the same keys.
    """
    assert (key_of(one) == key_of(other)) is same
    some = [one.strip(), other.strip(), A]
    assert keys_of(some) == list(map(key_of, some))


@LAW
@given(st.text(max_size=20))
def test_any_text_has_a_key(text: str) -> None:
    """Cells of error files are looked up, whatever they are; a key is the key of itself."""
    assert key_of(key_of(text)) == key_of(text)


# Many at once

ALMOST = st.text(st.sampled_from("aA0._+-@é \n\u00a0"), max_size=8)


@LAW
@given(st.lists(st.sampled_from([A, "b-c@d-e.f.gh", "é@b.de", "a@b.de\nc@d.ef"]) | ALMOST, min_size=1, max_size=3))
def test_many_that_pass_together_are_addresses(values: list[str]) -> None:
    """Addresses that pass together also pass one by one, and unchanged; those of the usual kind do pass together."""
    if are_addresses(values):
        assert all(map(is_address, values))
    assert are_addresses(values) or not all(value in (A, "b-c@d-e.f.gh") for value in values)


def test_length_and_type_count_among_many() -> None:
    """One address that is too long, or no text, is enough to look at each alone."""
    assert are_addresses([A, f"{'a' * (MAX_ADDRESS - 5)}@b.de"])
    assert not are_addresses([A, f"{'a' * (MAX_ADDRESS - 4)}@b.de"])
    assert not are_addresses([A, None])


@pytest.mark.parametrize("address", ["\u017fam@example.org", "\u212aim@example.org"])
def test_letters_that_differ_by_case_alone(address: str) -> None:
    """The long s and the sign of kelvin are letters of a person, who is the one with the usual letter."""
    assert check_address(address) == address
    assert key_of(address) in ("sam@example.org", "kim@example.org")
