"""The type that the values of a column look like: a plan tells it where the property would be of type str."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from mjbulk.models import Finding
from mjbulk.resources import Property
from mjbulk.rows.block import Block
from mjbulk.rows.findings import Findings
from mjbulk.rows.layout import ColumnRules, layout_of
from mjbulk.rows.looks import Looks

NAMES = ("email", "x")


def found(
    *blocks: Sequence[Any], text: bool = True, refused: Sequence[int] = (), untyped: Any = ("x",)
) -> list[Finding]:
    """The findings about a column ``x`` whose values come in blocks."""
    rules = ColumnRules(properties={"x": Property(id=1, name="x", datatype="str")}, text=text)
    looks, findings, first = Looks(), Findings(), 1
    for values in blocks:
        block = Block.of(NAMES, [("a@example.org", value) for value in values])
        looks.see(layout_of(NAMES, rules), block, first, refused, untyped=untyped)
        first += len(values)
    looks.tell(findings)
    return list(findings)


def said(*blocks: Sequence[Any], **how: Any) -> str:
    """What helps, or nothing."""
    return "".join(one.message.partition(" and has ")[2] for one in found(*blocks, **how))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["12,5", "7", "-2.652,19"], "numbers with a comma alone: types={'x': 'float'} says otherwise, once they are"),
        (["12.5", "7", " -0.1 "], "numbers alone: types={'x': 'float'} says otherwise"),
        (["7", "0", "-12", "", "  "], "whole numbers alone: types={'x': 'int'} says otherwise"),
        (["true", "FALSE"], "truths alone: types={'x': 'bool'} says otherwise"),
        (["2020-01-02", "2020-12-31T23:59:00Z"], "dates alone: types={'x': 'datetime'} says otherwise"),
        (["02.01.2020", "2.1.1999"], "dates alone: types={'x': 'datetime'} with date_format='%d.%m.%Y' says otherwise"),
        (["02/01/2020", "2/1/1999"], "with date_format='%d/%m/%Y' or '%m/%d/%Y' says otherwise"),
        (["02/01/2020", "31/1/1999"], "with date_format='%d/%m/%Y' says otherwise"),
        (["02/01/2020", "1/31/1999"], "with date_format='%m/%d/%Y' says otherwise"),
        (["02-01-2020"], "with date_format='%d-%m-%Y' says otherwise"),
    ],
)
def test_texts_of_one_look(values: list[str], words: str) -> None:
    """Numbers, truths and dates: the type that helps is named, and how they are read."""
    assert words in said(values)


@pytest.mark.parametrize(
    "values",
    [
        ["Graz"],
        ["7", "Graz"],
        ["12,5", "12.5"],
        ["80331", "01067"],
        ["+4369912345"],
        ["12345678901234567890"],
        ["2020-01-02", "7"],
        ["02.01.2020", "2020-01-02"],
        ["02/13/2020", "13/02/2020"],
        ["", " "],
    ],
)
def test_texts_that_stay_texts(values: list[str]) -> None:
    """They have several looks, or none: postal codes and telephone numbers as well."""
    assert said(values) == ""
    assert said(*[[value] for value in values]) == ""


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None, 2], "int"),
        ([1, 0.5, Decimal("1.5")], "float"),
        ([True, False], "bool"),
        ([datetime(2026, 1, 2, tzinfo=UTC), date(2026, 1, 2), "2026-01-02"], "datetime"),
        (["02.01.2020"], "datetime"),
        ([1, True], None),
        ([1, "1"], None),
        (["1", "2"], None),
        (["true"], None),
        ([1, [1]], None),
    ],
)
def test_values_that_have_types(values: list[Any], kind: str | None) -> None:
    """Where values need not be texts, a number in a text is meant as one; a date may have no other form."""
    assert said(values, text=False) == "" if kind is None else f"'{kind}'" in said(values, text=False)


def test_rows_are_counted_over_all_blocks() -> None:
    """Without those that are empty or refused; the first one is named."""
    (one,) = found(["", "7"], ["8", "", "9"])
    assert (one.code, one.column, one.first_row, one.count) == ("property.str", "x", 2, 3)
    (one,) = found(["Graz", "7"], refused=[0])
    assert (one.first_row, one.count) == (2, 1)
    assert found(["7"], ["Graz"], ["8"]) == []


def test_what_has_its_type_is_not_told() -> None:
    """The property is there, or its type was said."""
    assert found(["7"], untyped=()) == []
