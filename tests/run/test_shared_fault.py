"""What nearly all of the first rows of a source are refused for."""

import pytest

from mjbulk.errors import UsageError
from mjbulk.rows.values import RowFault
from mjbulk.run.shared_fault import SharedFault

TYPE = RowFault("value.type", "age", "the value is no whole number")
RANGE = RowFault("value.range", "age", "the value is too large")
ADDRESS = RowFault("address.invalid", "email", "this is no e-mail address")


def add(*faults: tuple[RowFault, int]) -> None:
    shared = SharedFault()
    for fault, rows in faults:
        for _ in range(rows):
            shared.add(fault)


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ([(TYPE, 100)], "its first 100 rows are all refused for one cause: the value is no whole number"),
        ([(RANGE, 5), (TYPE, 95)], "95 of its first 100 rows are refused for one cause: the value is no whole number"),
        ([(ADDRESS, 49), (TYPE, 51)], "51 of its first 100 rows are refused for one cause: the value is no"),
        (
            [(ADDRESS, 20), (RANGE, 4), (TYPE, 76)],
            "76 of its first 100 rows are refused for one cause: ",
        ),
        ([(TYPE, 5), (ADDRESS, 95)], "95 of its first 100 rows are refused for one cause: this is no e-mail address"),
    ],
)
def test_nearly_all_of_the_first_rows_have_one_fault(faults: list[tuple[RowFault, int]], said: str) -> None:
    """Those without a good address say nothing about other columns."""
    with pytest.raises(UsageError) as refused:
        add(*faults)
    assert str(refused.value).startswith(said)
    assert refused.value.kind in ("value.type", "address.invalid")


@pytest.mark.parametrize(
    "faults",
    [
        [(TYPE, 99)],
        [(RANGE, 6), (TYPE, 94), (TYPE, 500)],
        [(ADDRESS, 50), (TYPE, 50), (TYPE, 500)],
        [(ADDRESS, 94), (TYPE, 6)],
        [(ADDRESS, 20), (RANGE, 5), (TYPE, 75)],
    ],
)
def test_other_rows_are_rejected_one_by_one(faults: list[tuple[RowFault, int]]) -> None:
    """Fewer rows, or several faults; rows that come later decide nothing."""
    add(*faults)
