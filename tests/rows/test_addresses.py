"""Addresses: what can be one, and which belong to one person."""

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from touchy import NA

from mjbulk.rows.addresses import MAX_ADDRESS, are_addresses, check_address, is_address, key_of
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
    "<a@b.de>",
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
    "mailto:a@b.de",
    "a@b,de",
    "a@b/c.de",
    "a@b.d\x7fe",
]


@pytest.mark.parametrize(
    "address",
    [*BAD, "a b@c.de", "a@b c.de", "a\n@b.de", "a@b.de\nx", "a\0@b.de", "a@b\u2028.de", '"a\nb"@c.de', "a\u00a0b@c.de"],
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


def test_what_nobody_sees_is_no_part_of_an_address() -> None:
    """An invisible character came in by accident, and would make another person of the address."""
    with pytest.raises(RowFault):
        check_address("a\u200bb@example.org")


# One person


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (" Ann@Example.org", "ann@example.ORG ", True),
        ("straße@b.de", "STRASSE@b.de", True),
        ("a@b.de", "a+x@b.de", False),
        ("a@b.de", "a.@b.de", False),
    ],
)
def test_who_is_one_person(one: str, other: str, *, same: bool) -> None:
    """Two addresses are one person where they differ only in case and in the blanks around them."""
    assert (key_of(one) == key_of(other)) is same


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
