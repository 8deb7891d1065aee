"""Values of numpy's arrays and of pandas' frames: what fits, what is a null, and what is refused."""

import math
from typing import Any

import pytest
from support import extra
from test_layout import contact
from test_values import KINDS, column, refused

from mjbulk.rows.addresses import check_address
from mjbulk.rows.block import Given, blocks_of
from mjbulk.rows.dates import NO_ZONE
from mjbulk.rows.objects import Nameless, take_apart
from mjbulk.rows.plain import is_null
from mjbulk.rows.values import RowFault

np = extra("numpy")
pd = extra("pandas")
pytestmark = pytest.mark.extra

A = "ann@example.org"


@pytest.mark.parametrize(
    "value",
    [pd.NA, pd.NaT, np.ma.masked, math.nan, np.float32("nan"), np.datetime64("NaT", "s"), np.timedelta64("NaT", "s")],
)
def test_nulls_of_frames_and_arrays(value: Any) -> None:
    """What pandas and numpy have for None and NaN stands for nothing in a column of any type."""
    assert is_null(value)
    assert [column(kind).read(value) for kind in KINDS] == [None] * 5


@pytest.mark.parametrize("value", [pd.NA, pd.NaT, np.datetime64("NaT", "s")], ids=repr)
def test_rows_with_nulls(value: Any) -> None:
    """A null leaves every column of its row alone, is no address, and its name makes a block of its own."""
    assert contact({"email": A, "int": value, "name": value, "IsExcludedFromCampaigns": value}) == {"Email": A}
    with pytest.raises(RowFault) as caught:
        check_address(value)
    assert caught.value.message == "the address is missing"
    rows = [Given(("email",), (A,)), Given((value,), (A,)), Given(("email",), (A,))]
    assert [len(block) for block in blocks_of(rows)] == [1, 1, 1]


def test_an_empty_text_of_an_array_is_no_name() -> None:
    """numpy has a class of its own for texts."""
    assert contact({"email": A, "name": np.str_("")}) == {"Email": A}


def test_elements_of_structured_arrays_are_rows() -> None:
    """They have names, and other numpy values have none."""
    rows = np.array([(A, 7, "2026-01-02")], dtype=[("email", "U40"), ("age", "i4"), ("born", "datetime64[ns]")])
    for given in (take_apart(rows[0]), take_apart(pd.DataFrame({"email": [A], "age": [7]}).to_records(index=False)[0])):
        assert given.names[:2] == ("email", "age")
        assert contact({"email": given.values[0]}) == {"Email": A}
        assert column("int").read(given.values[1]) == 7
    assert column("str").read(take_apart(rows[0]).values[2]) == "2026-01-02T00:00:00"
    for nameless in (np.void(b"x"), np.int64(7)):
        with pytest.raises(Nameless):
            take_apart(nameless)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.array([1, 2]), np.array(["x", "y"]), np.array([]), np.timedelta64(5, "ns")])
def test_arrays_cost_their_own_row(kind: str, value: Any) -> None:
    """What has many values, or none, is no value, and the rows beside it are not touched."""
    faults: dict[int, RowFault] = {}
    assert column(kind).read_all([None, value, None], faults) == [None, None, None]
    assert {index: fault.field for index, fault in faults.items()} == {1: kind}


DURATION = "the value is a timedelta64, which is neither text nor number"
NANO = np.datetime64("2026-11-24T12:30:00.123456789", "ns")


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (NANO, "2026-11-24T12:30:00.123456"),
        (np.array(NANO), "2026-11-24T12:30:00.123456"),
        (np.datetime64("2026-11-24", "D"), "2026-11-24"),
        (np.datetime64("2026-11-24T12:30", "s"), "2026-11-24T12:30:00"),
        (np.int64(7), "7"),
        (np.array(7), "7"),
        (np.array(math.nan), None),
        (np.array("NaT", "datetime64[ns]"), None),
    ],
)
def test_values_of_arrays(value: Any, sent: str | None) -> None:
    """A date is a date, cut to microseconds, and no number."""
    assert column("str").read(value) == sent


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("datetime", NANO, NO_ZONE),
        ("int", NANO, "the value is no whole number"),
        ("str", np.timedelta64(5, "ns"), DURATION),
        ("str", np.timedelta64(5, "s"), DURATION),
        ("int", np.timedelta64(5, "ns"), DURATION),
        ("float", np.timedelta64(5, "h"), DURATION),
        ("str", np.datetime64(10**18, "s"), "the value is a datetime64, which is no text"),
        ("datetime", np.datetime64(10**18, "s"), "the value is no date"),
        (
            "str",
            np.array([1, 2]),
            "the value is a list: give its parts columns of their own, or json.dumps() of it to a property of type str",
        ),
        (
            "int",
            np.array([1]),
            "the value is a list: give its parts columns of their own, or json.dumps() of it to a property of type str",
        ),
    ],
)
def test_values_of_arrays_that_do_not_fit(kind: str, value: Any, message: str) -> None:
    """A duration is no number, and neither is a date outside Python's calendar."""
    assert refused(kind, value).message == message
