"""Columns of a source: judged together at first and one by one later, and the properties that they need."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from attrs import evolve
from fake_run import FakeAccount

from mjbulk.errors import ApiError, UsageError
from mjbulk.resources import Property
from mjbulk.rows.block import Block
from mjbulk.rows.iterables import BadRow
from mjbulk.rows.layout import ColumnRules
from mjbulk.rows.values import ColumnFault, RowFault
from mjbulk.run.columns import Columns, _names_of
from mjbulk.terms import RunSpec


class Case:
    def __init__(self, *known: str, dry: bool = False, create: bool = True, **terms: Any) -> None:
        self.account = FakeAccount()
        properties = {name.casefold(): Property(id=1, name=name, datatype="str") for name in known}
        spec = RunSpec(lists=None, create_properties=create, **terms)
        account: Any = self.account
        self.columns = Columns(spec, ColumnRules(properties=properties, columns=spec.columns), account, dry=dry)

    async def judge(self, *rows: Sequence[str] | dict[str, Any] | BadRow) -> list[str]:
        """Judge a batch, send the rows that have an address, and give the properties that were created so far."""
        batch = [_block(row) for row in rows]
        await self.columns.judge(batch)
        for names in _names_of(batch):
            with suppress(AddressMissing):
                await self.send(*names)
        return self.account.created

    async def send(self, *names: str) -> list[str]:
        """Send a row with these names, and give the properties that it sets."""
        try:
            layout = await self.columns.layout(names)
        except ColumnFault as fault:
            raise AddressMissing if fault.code == "address.missing" else fault from None
        if layout.email is None:
            raise AddressMissing
        if await self.columns.create(layout):
            layout = await self.columns.layout(names)
        return [column.target for column in layout.properties]

    async def layout(self, *names: str) -> list[str]:
        layout = await self.columns.layout(names)
        return [column.target for column in layout.properties]


class AddressMissing(Exception):
    """A row has no address."""


def _block(row: Sequence[str] | dict[str, Any] | BadRow) -> Block | BadRow:
    if isinstance(row, BadRow):
        return row
    values = row if isinstance(row, dict) else dict.fromkeys(row, "x")
    return Block.of(tuple(values), [tuple(values.values())])


# The first batch


async def test_what_is_missing_in_the_first_batch_is_created() -> None:
    """Once, in the order of the columns, and each name as it was first spelled."""
    case = Case("city")
    assert await case.judge(["email", "City", "shoe", "Age"], ["email", "AGE", "hat"]) == ["shoe", "Age", "hat"]
    assert case.columns.missing == ["shoe", "Age", "hat"]
    assert await case.layout("email", "AGE", "hat", "city") == ["Age", "hat", "city"]
    assert case.account.created == ["shoe", "Age", "hat"]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([["email", "a"], ["email", "b", "B"]], "two columns"),
        ([["email", "a"], ["email", " "]], "no name"),
        ([["email", "a"], ["email", "email ", "Email"]], "two columns"),
    ],
)
async def test_nothing_is_created_for_columns_that_are_not_all_good(rows: Any, why: str) -> None:
    """A later row of the first batch has a fault: the whole source is refused, with nothing done."""
    case = Case()
    with pytest.raises(UsageError, match=why):
        await case.judge(*rows)
    assert case.account.created == []


async def test_nothing_is_created_where_a_column_that_was_picked_is_missing() -> None:
    """It may be a typo, and the others the wrong ones too."""
    case = Case(columns={"email": "email", "town": "town", "ctiy": "city"})
    with pytest.raises(UsageError, match="'ctiy'"):
        await case.judge(["email", "town", "city"])
    assert case.account.created == []


async def test_a_file_without_a_header_creates_nothing() -> None:
    """Its first row looks like one, with somebody's address as a name."""
    case = Case()
    assert await case.judge(["ann@example.org", "Graz"]) == []
    with pytest.raises(ColumnFault) as fault:
        await case.layout("ann@example.org", "Graz")
    assert "no column 'email'" in fault.value.message
    assert case.account.created == []


async def test_rows_without_an_address_create_nothing() -> None:
    """They are rejected one by one, where others have one."""
    case = Case()
    assert await case.judge(["email", "a"], ["b", "c"]) == ["a"]


async def test_a_mapping_of_properties_is_judged_as_well() -> None:
    """A row whose mapping is none is rejected later, and does not count here."""
    case = Case()
    rows: list[Any] = [
        {"Email": "a", "Properties": {"shoe": 1}},
        {"Email": "a", "Properties": {"hat": 1}},
        {"Email": "a", "Properties": 7},
    ]
    assert await case.judge(*rows) == ["shoe", "hat"]


async def test_only_the_first_batch_is_judged_whole() -> None:
    """One that has nothing but rows that cannot be read is not the first."""
    case = Case()
    bad = BadRow(None, RowFault("row.unreadable", None, "no row"))
    assert await case.judge(bad) == []
    assert await case.judge(bad, ["email", "a"]) == ["a"]
    await case.columns.judge([_block(["email", "b"])])
    assert case.columns.missing == ["a"]


async def test_nothing_is_judged_where_nothing_is_created() -> None:
    """Then the layouts tell what is missing."""
    case = Case(create=False)
    assert await case.judge(["b", "c"]) == []
    with pytest.raises(ColumnFault) as fault:
        await case.layout("email", "b")
    assert fault.value.message == "there is no property 'b'"


async def test_nothing_is_created_before_a_row_can_be_sent() -> None:
    """Then all is created that the first batch sets, and later what the row sets."""
    case = Case()
    await case.columns.judge([_block(["email", "a"]), _block(["email", "b"])])
    assert await case.layout("email", "b") == ["b"]
    assert (case.account.created, case.columns.refusable) == ([], True)
    assert await case.send("email", "b") == ["b"]
    assert (case.account.created, case.columns.refusable) == (["a", "b"], False)
    assert await case.layout("email", "c") == ["c"]
    assert await case.layout("email", "d") == ["d"]
    await case.send("email", "d")
    assert case.account.created == ["a", "b", "d"]
    assert case.columns.missing == ["a", "b", "c", "d"]


async def test_a_property_may_be_another_than_was_planned() -> None:
    """Somebody has created it meanwhile."""
    case = Case()

    async def found(name: str, datatype: str) -> Property:
        return Property(id=7, name="SHOE", datatype="int")

    case.account.ensure_property = found  # type: ignore[method-assign]  # it is there now
    layout = await case.columns.layout(("email", "shoe"))
    assert await case.columns.create(layout)
    layout = await case.columns.layout(("email", "shoe"))
    assert [(column.target, column.datatype) for column in layout.properties] == [("SHOE", "int")]
    assert not await case.columns.create(layout)


async def test_a_name_that_mailjet_refuses_refuses_the_source() -> None:
    """It says what the status was; nothing was done for the source before."""
    case = Case()
    case.account.refused.add("b")
    with pytest.raises(ColumnFault) as refused:
        await case.judge(["email", "a"], ["email", "b"])
    assert "400 MJ08" in refused.value.message
    assert case.columns.refusable
    assert await case.layout("email", "a") == ["a"]


async def test_another_error_of_mailjet_is_raised() -> None:
    """No column is at fault."""
    case = Case()

    async def fail(name: str, datatype: str) -> Property:
        raise ApiError(500, call="POST contactmetadata")

    case.account.ensure_property = fail  # type: ignore[method-assign]  # it fails from now on
    with pytest.raises(ApiError):
        await case.judge(["email", "a"])


async def test_a_type_for_nearly_the_name_of_a_property_is_refused() -> None:
    """In rows that may have other columns later, too: a property that was created as a text stays one."""
    case = Case(types={"birth_dat": "datetime", "shoe": "int"})
    with pytest.raises(
        UsageError, match="types= names 'birth_dat', which no row so far sets, and 'birth_date' would be"
    ):
        await case.judge(["email", "town", "birth_date"])
    assert case.account.created == []
    case = Case(types={"birth_dat": "datetime", "birth_date": "str", "towns": "int"})
    with pytest.raises(UsageError, match="'towns'"):
        await case.judge(["email", "town", "birth_date"])
    case = Case("town", types={"birth_dat": "datetime", "birth_date": "str", "towns": "int"})
    await case.judge(["email", "town", "birth_date"])
    case = Case(types={"score2": "int"})
    await case.judge(["email", "score1"])  # another number, another property


async def test_no_property_is_created_by_an_address() -> None:
    """The first row of a file without a header may have one in it, and it is not repeated."""
    case = Case()
    with pytest.raises(UsageError) as caught:
        await case.judge(["email", "town", "ann@example.org"])
    assert str(caught.value) == (
        "the name of a new property would be an address (column (a name with an @ in it)): "
        "is the row with the names of the columns missing? columns= picks the columns to take; nothing was sent"
    )
    assert case.account.created == []


# Later


async def test_a_later_column_is_created_when_it_comes() -> None:
    """With the type that the caller has said for it."""
    case = Case(types={"SHOE": "int"})
    await case.judge(["email", "a"])
    assert await case.send("email", "a", "shoe") == ["a", "shoe"]
    layout = await case.columns.layout(("email", "shoe"))
    assert [column.datatype for column in layout.properties] == ["int"]
    assert case.account.created == ["a", "shoe"]


async def test_a_later_column_that_cannot_be_is_a_fault_of_its_rows() -> None:
    """Once a property was created, the source is not refused any more: something was done for it."""
    case = Case()
    assert case.columns.refusable
    await case.judge(["email", "a"])
    assert not case.columns.refusable
    case.account.refused.add("b")
    for names in (("email", "b"), ("email", "b", "a"), ("email", "b")):
        with pytest.raises(ColumnFault) as fault:
            await case.send(*names)
        assert (fault.value.field, fault.value.message[:33]) == ("b", "no property 'b' can be created (M")
    assert case.account.created == ["a", "b"]
    assert await case.layout("email", "a") == ["a"]


async def test_a_source_can_be_refused_as_long_as_nothing_was_created_for_it() -> None:
    """Its first columns were there."""
    case = Case("a")
    await case.judge(["email", "a"])
    assert case.columns.refusable


@pytest.mark.parametrize("create", [False, True])
async def test_a_property_that_is_not_known_is_asked_for_again(*, create: bool) -> None:
    """It may have been created meanwhile: one question for the columns of the first batch, one for each later one."""
    case = Case("city", create=create)
    case.account.properties["a"] = Property(id=9, name="A", datatype="int")
    case.account.properties["b"] = Property(id=9, name="b", datatype="str")
    await case.judge(["email", "a", "city"], ["email", "B"])
    layout = await case.columns.layout(("email", "a", "city"))
    assert [(column.target, column.datatype) for column in layout.properties] == [("A", "int"), ("city", "str")]
    assert await case.layout("email", "city", "b") == ["city", "b"]
    assert case.account.created == []
    assert case.account.asked == ([{"a", "b"}] if create else [{"a"}, {"b"}])


async def test_columns_that_are_not_read_are_not_asked_for() -> None:
    """For the exclusion list only addresses are."""
    case = Case(create=False)
    case.columns._rules = evolve(case.columns._rules, only_address=True)
    assert await case.layout("email", "a") == []
    assert case.account.asked == []


async def test_a_dry_run_creates_nothing_and_takes_it_as_created() -> None:
    """Whether the run would create it or not: the plan says what is missing."""
    for create in (False, True):
        case = Case(dry=True, create=create)
        assert await case.judge(["email", "a"]) == []
        assert await case.layout("email", "a", "b") == ["a", "b"]
        assert (case.columns.missing, case.account.created) == (["a", "b"], [])


async def test_layouts_are_kept_and_old_ones_forgotten() -> None:
    """A source may have names without end."""
    case = Case(dry=True)
    first = await case.columns.layout(("email", "a"))
    assert await case.columns.layout(("email", "a")) is first
    assert case.columns.known(("email", "a")) is first
    for number in range(1000):
        await case.columns.layout(("email", "a"))
        await case.columns.layout(("email", f"p{number}"))
    assert await case.columns.layout(("email", "a")) is first
    assert case.columns.known(("email", "p0")) is None
    assert len(case.columns._layouts) == 1000


# What has to be there


async def test_a_source_without_an_address_is_refused() -> None:
    """When its rows are to be sent: until then one may come."""
    case = Case("a", create=False)
    assert not case.columns.any
    with pytest.raises(ColumnFault):
        await case.layout("b")
    await case.layout("a")
    assert case.columns.any
    with pytest.raises(UsageError, match="no column 'email'"):
        case.columns.check()
    await case.layout("email")
    case.columns.check()


async def test_a_column_that_was_picked_has_to_be_in_some_row() -> None:
    """Not in each."""
    case = Case("a", "b", create=False, columns={"email": "email", "a": "a", "b": "b"})
    await case.layout("email", "a")
    with pytest.raises(UsageError, match="'b'"):
        case.columns.check()
    await case.layout("email", "b")
    case.columns.check()


async def test_types_that_no_column_needs_are_refused() -> None:
    """Where all rows have the same names; otherwise the column may come later."""
    case = Case("age", types={"agee": "int", "Age": "str"})
    await case.layout("email", "age")
    case.columns.check()
    with pytest.raises(UsageError, match=r"types= names 'agee', and no column sets .* \(did you mean 'age'\?\)"):
        case.columns.check(header=True)


async def test_a_type_that_contradicts_the_property_is_refused() -> None:
    """Before anything is created."""
    case = Case("age", types={"AGE": "int", "hat": "int"})
    with pytest.raises(
        UsageError, match="age=int, and this property is of type str: mjbulk changes the type of no property"
    ):
        await case.judge(["email", "age", "hat"])
    assert case.account.created == []


async def test_picked_columns_are_found_by_their_letters() -> None:
    """In the first rows: the exact name counts more, and of two others that are alike none is taken."""
    picked = {"email": "email", "town": "City"}
    assert await Case("City", columns=picked).layout("Email", "Town") == ["City"]
    assert await Case("City", columns=picked).layout("email", "town", "TOWN") == ["City"]
    case = Case("City", columns=picked)
    await case.layout("email", "Town", "TOWN")
    with pytest.raises(UsageError, match="picks 'town'"):
        case.columns.check()
