"""From rows to the contacts of contact/managemanycontacts."""

import json

import pytest

from mjbulk.chunks.as_json import JsonEncoder
from mjbulk.config import Settings
from mjbulk.resources import Property
from mjbulk.rows.block import Block
from mjbulk.rows.layout import ColumnRules, layout_of
from mjbulk.rows.values import RowFault
from mjbulk.terms import Action, RunSpec

KNOWN = {"age": Property(id=1, name="age", datatype="int")}
ROWS = Block.of(("email", "age"), [(" ann@x.org", 7), ("bob@x.org", "old"), ("eve@x.org", None), ("nobody", 1)])


def encoded(encoder: JsonEncoder) -> tuple[list[str], list[object], dict[int, RowFault]]:
    """Addresses, contacts and faults of `ROWS`."""
    faults: dict[int, RowFault] = {}
    layout = layout_of(ROWS.names, ColumnRules(properties=KNOWN))
    addresses, contacts = encoder.encode(ROWS, layout, faults)
    return list(addresses), list(map(json.loads, contacts)), faults


def test_a_row_is_a_contact() -> None:
    """Each row is one JSON object, a bad one is a fault by its index, and addresses have no blanks around them."""
    encoder = JsonEncoder(Settings(), RunSpec(lists=None), [(7, Action.ADDFORCE)])
    addresses, contacts, faults = encoded(encoder)
    assert addresses[:3] == ["ann@x.org", "bob@x.org", "eve@x.org"]
    assert (contacts[0], contacts[2]) == ({"Email": "ann@x.org", "Properties": {"age": 7}}, {"Email": "eve@x.org"})
    assert sorted(faults) == [1, 3]
    assert b'"ListID":7' in encoder.frame.head


@pytest.mark.parametrize("excluded", [True, False])
def test_an_exclusion_sends_the_address_alone(excluded: bool) -> None:  # noqa: FBT001  # pytest gives it so
    """A run that excludes people, or includes them again, changes nothing else of them."""
    addresses, contacts, faults = encoded(JsonEncoder(Settings(), RunSpec(lists=None, excluded=excluded), None))
    assert addresses[0] == "ann@x.org"
    assert contacts[:2] == [{"Email": name, "IsExcludedFromCampaigns": excluded} for name in addresses[:2]]
    assert sorted(faults) == [3]


def test_the_limits_are_those_of_the_settings() -> None:
    """A chunk has 1,000 rows where nothing is said."""
    assert JsonEncoder(Settings(), RunSpec(lists=None), None).limits.rows == 1000
    said = JsonEncoder(Settings(chunk_rows=7, chunk_bytes=5000), RunSpec(lists=None), None).limits
    assert (said.rows, said.bytes) == (7, 5000)


def test_two_rows_of_a_person_are_merged_key_by_key() -> None:
    """The later one wins; what it does not say stays."""
    encoder = JsonEncoder(Settings(), RunSpec(lists=None), None)
    earlier = b'{"Email":"a@x.org","Name":"A","Properties":{"x":1,"y":1}}'
    merged = json.loads(encoder.merge(earlier, b'{"Email":"A@x.org","Properties":{"y":2}}'))
    assert merged == {"Email": "A@x.org", "Name": "A", "Properties": {"x": 1, "y": 2}}
    assert encoder.meaning == b""
