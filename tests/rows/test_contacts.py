"""Contacts in JSON: encoding many at once gives the bytes of each alone."""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.rows.contacts import Contacts, encode, merge
from mjbulk.rows.values import RowFault

LAW = settings(derandomize=True, deadline=None, max_examples=300)
A = "ann@example.org"


class Word(StrEnum):
    RED = "red"


TEXTS = st.text(st.sampled_from('a,":{}[]\\\0\n\u2028é😀'), max_size=6)
LINES = st.lists(TEXTS, min_size=6, max_size=6)
COLUMNS = st.one_of(
    LINES,
    *(
        st.lists(one, min_size=6, max_size=6)
        for one in (
            st.none() | TEXTS,
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
            st.booleans(),
            st.none() | st.booleans() | TEXTS | st.integers(-9, 9) | st.just(Word.RED),
        )
    ),
)
NAMES = st.sampled_from(["a", "b", 'q"', "null", "Email", "x,y", "}", "\0"])


@pytest.mark.unmeasured
@LAW
@given(
    LINES,
    st.dictionaries(st.sampled_from(["Name", "IsExcludedFromCampaigns"]), COLUMNS),
    st.dictionaries(NAMES, COLUMNS, max_size=4),
    st.booleans(),
    st.integers(1, 6),
)
def test_many_are_what_each_is_alone(
    emails: list[str],
    others: Mapping[str, Sequence[Any]],
    properties: Mapping[str, Sequence[Any]],
    nulls: Any,
    size: int,
) -> None:
    """Whatever the values are, the bytes of many contacts are those of each alone."""
    fields = {"Email": emails[:size], **{name: values[:size] for name, values in others.items()}}
    contacts = Contacts(fields, {name: values[:size] for name, values in properties.items()}, nulls)
    faults: dict[int, RowFault] = {}
    assert contacts.encode(faults) == [encode(contacts.at(index)) for index in range(size)]
    assert faults == {}
    for index in range(size):
        known = orjson.loads(encode(contacts.at(index))).get("Properties", {})
        assert known == {name: v[index] for name, v in properties.items() if nulls or v[index] is not None}


def test_nothing_is_sent_that_was_not_given() -> None:
    """A contact without a name or properties is sent without them; a null is sent where it unassigns."""
    bare = Contacts({"Email": ["a@b.de", "c@b.de"], "Name": ["Ann", None]}, {"age": [None, 7]})
    assert bare.encode({}) == [b'{"Email":"a@b.de","Name":"Ann"}', b'{"Email":"c@b.de","Properties":{"age":7}}']
    unassigning = Contacts({"Email": ["a@b.de"]}, {"age": [None]}, nulls=True)
    assert unassigning.encode({}) == [b'{"Email":"a@b.de","Properties":{"age":null}}']
    assert "Ann" not in repr(bare)


def test_a_text_that_cannot_be_sent_costs_its_own_row() -> None:
    """Of many contacts one with half a character in it is named by its index, and the others are encoded."""
    faults: dict[int, RowFault] = {}
    first, broken, last = Contacts({"Email": [A, A, A]}, {"city": [None, "\ud800", None]}).encode(faults)
    assert first == last == encode({"Email": A})
    assert broken == b""
    assert {index: fault.field for index, fault in faults.items()} == {1: "city"}


@pytest.mark.parametrize(
    ("contact", "field"),
    [
        ({"Email": A, "Properties": {"odd": "x", "Str": "a\ud800"}}, "Str"),
        ({"Email": A, "Name": "a\ud800", "Properties": {"odd": "x"}}, "Name"),
        ({"Email": A, "Properties": {"\ud800": "x"}}, None),
    ],
)
def test_half_a_character(contact: Mapping[str, Any], field: str | None) -> None:
    """Half a character cannot be sent: the row is refused, and its column named, unless the name itself is at fault."""
    with pytest.raises(RowFault) as caught:
        encode(contact)
    assert (caught.value.field, caught.value.message) == (field, "the value is no valid Unicode text")


VALUES = st.text(max_size=3)
PROPERTIES = st.dictionaries(
    st.sampled_from("abc"), st.none() | st.integers(-(2**63), 2**64 - 1) | VALUES | st.booleans()
)
CONTACTS = st.fixed_dictionaries(
    {"Email": st.just(A)},
    optional={"Name": VALUES, "IsExcludedFromCampaigns": st.booleans(), "Properties": PROPERTIES.filter(bool)},
)


@pytest.mark.unmeasured
@LAW
@given(CONTACTS, CONTACTS)
def test_the_later_row_wins_key_by_key(earlier: dict[str, Any], later: dict[str, Any]) -> None:
    """Each value of a person is that of the later row, and of the earlier row where the later one has none."""
    merged = json.loads(merge(encode(earlier), encode(later)))
    for key in ("Email", "Name", "IsExcludedFromCampaigns"):
        assert merged.get(key) == later.get(key, earlier.get(key))
    assert merged.get("Properties", {}) == earlier.get("Properties", {}) | later.get("Properties", {})
    assert set(merged) == set(earlier) | set(later)
