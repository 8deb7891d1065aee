"""A source to encoded rows: how they are numbered, what is refused here, and how they are sent."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from attrs import evolve
from fake_run import FakeAccount, account_of, context

from mjbulk.config import Assumptions
from mjbulk.errors import ApiError, CredentialsRefused, UsageError
from mjbulk.models import Rejection
from mjbulk.resources import Property
from mjbulk.rows.block import Block, Given
from mjbulk.rows.iterables import BadRow
from mjbulk.rows.sources import Source
from mjbulk.rows.values import RowFault
from mjbulk.run.reader import EncodedRows, Reader
from mjbulk.run.senders import CsvSender, JsonSender
from mjbulk.terms import Action, RunSpec

SPEC = RunSpec(lists=((1, Action.ADDNOFORCE),))
BAD = BadRow(Given(("email",), ("x",)), RowFault("row.unreadable", None, "no record"))


def block(*rows: dict[str, Any], number: int | None = None) -> Block:
    return Block.of(tuple(rows[0]), [tuple(row.values()) for row in rows], None, number)


def nested(*properties: Any) -> list[dict[str, Any]]:
    return [{"Email": f"n{at}@example.org", "Properties": some} for at, some in enumerate(properties)]


def people(*numbers: int, **more: Any) -> list[dict[str, Any]]:
    return [{"email": f"p{number}@example.org", **more} for number in numbers]


class Case:
    def __init__(
        self,
        *batches: Sequence[Block | BadRow],
        spec: RunSpec = SPEC,
        properties: str = "",
        text: bool = False,
        dry: bool = False,
        **settings: Any,
    ) -> None:
        async def given() -> Any:
            for batch in batches:
                yield batch

        self.run = context(settings=settings)
        self.account: FakeAccount = account_of(self.run)
        self.account.properties = {
            name: Property(id=1, name=name, datatype="int" if name == "age" else "str") for name in properties.split()
        }
        self.rejections: list[Rejection] = []
        self.reader = Reader(
            Source(given, text=text), spec, self.run.engine, self.rejections.append, digests=True, dry=dry
        )

    async def read(self) -> list[EncodedRows]:
        """Read all of it, as a run does."""
        await self.reader.prepare()
        encoded: list[EncodedRows] = []
        async for batch in self.reader.batches():
            await self.reader.judge(batch)
            for one in batch:
                first, last = self.reader.next_rows(one)
                encoded += await self.reader.encode(one)
                assert (self.reader.row, last - first + 1) == (last, len(one))
        return encoded

    @property
    def refused(self) -> list[tuple[int | None, str | None, str]]:
        return [(one.row, one.field, one.message) for one in self.rejections]


def rows_of(encoded: Sequence[EncodedRows]) -> list[tuple[int, str, Any]]:
    """Number, address and content of each row."""
    return [
        (number, address, orjson.loads(row))
        for some in encoded
        for number, address, row in zip(some.numbers, some.addresses, some.encoded, strict=True)
    ]


# Rows


async def test_rows_are_numbered_in_the_order_of_the_source() -> None:
    """Those that are refused too; over the ends of blocks and batches."""
    case = Case([block(*people(1, 2)), BAD], [block(*people(4))])
    assert [(number, who) for number, who, _ in rows_of(await case.read())] == [
        (1, "p1@example.org"),
        (2, "p2@example.org"),
        (4, "p4@example.org"),
    ]
    assert (case.reader.rows, case.reader.row, list(case.reader.seen)) == (4, 4, [1, 2, 3, 4])
    assert case.refused == [(3, None, "no record")]
    (rejection,) = case.rejections
    assert (rejection.origin, rejection.data) == ("mjbulk", {"email": "x"})


async def test_rows_may_have_numbers() -> None:
    """A repair has those of its run, with gaps in between."""
    case = Case([block(*people(5), number=5), evolve(BAD, number=9), block(*people(12), number=12)])
    assert [number for number, _, _ in rows_of(await case.read())] == [5, 12]
    assert (case.reader.rows, case.reader.row, list(case.reader.seen)) == (3, 12, [5, 9, 12])
    assert case.refused == [(9, None, "no record")]


async def test_rows_with_a_fault_are_refused_by_their_numbers() -> None:
    """The others of their block are given, with their own numbers, addresses and values."""
    rows: list[dict[str, Any]] = [
        {"email": "a@example.org", "age": 7},
        {"email": "bad", "age": 7},
        {"email": "c@example.org", "age": "old"},
        {"email": " d@example.org ", "age": 8},
    ]
    (some,) = await (case := Case([block(*rows)], properties="age")).read()
    assert rows_of([some]) == [
        (1, "a@example.org", {"Email": "a@example.org", "Properties": {"age": 7}}),
        (4, "d@example.org", {"Email": "d@example.org", "Properties": {"age": 8}}),
    ]
    assert some.block.rows == [("a@example.org", 7), (" d@example.org ", 8)]
    assert [(row, name) for row, name, _ in case.refused] == [(2, "email"), (3, "age")]
    assert [(one.email, one.data) for one in case.rejections] == [("bad", rows[1]), ("c@example.org", rows[2])]


async def test_a_block_of_bad_rows_gives_nothing() -> None:
    """An empty one gives nothing either: a file may be only a header."""
    case = Case([block({"email": "bad"}, {"email": None}), Block(("email",), [[]], 0)])
    assert await case.read() == []
    assert (len(case.rejections), case.reader.rows) == (2, 2)


async def test_a_row_that_is_larger_than_any_chunk_is_refused() -> None:
    """Alone."""
    case = Case([block(*people(1), *people(2))], chunk_bytes=1000)
    large = Case(
        [block({"email": "a@example.org", "city": "x" * 1000}, *people(2, city=""))],
        chunk_bytes=1000,
        properties="city",
    )
    assert len(rows_of(await case.read())) == 2
    assert [number for number, _, _ in rows_of(await large.read())] == [2]
    assert [row for row, _, _ in large.refused] == [1]
    assert "larger than a chunk of 1000 bytes" in large.refused[0][2]


async def test_mappings_of_properties_are_laid_flat() -> None:
    """Rows that follow each other and set the same ones are encoded together; each keeps the form it was given in."""
    rows = nested({"age": 1}, {"age": 2}, 7, {"city": "Graz"})
    encoded = await (case := Case([block(*rows)], properties="age city")).read()
    assert [list(some.numbers) for some in encoded] == [[1, 2], [4]]
    assert [some.block.rows for some in encoded] == [
        [("n0@example.org", {"age": 1}), ("n1@example.org", {"age": 2})],
        [("n3@example.org", {"city": "Graz"})],
    ]
    assert [(one.row, one.data) for one in case.rejections] == [(3, rows[2])]


async def test_rows_without_an_address_are_refused_one_by_one() -> None:
    """Where others have one."""
    case = Case([block(*people(1)), block({"name": "Ann"})])
    assert len(rows_of(await case.read())) == 1
    assert case.refused == [(2, "email", "the address is missing")]


# Columns


async def test_a_fault_of_a_column_refuses_the_source_until_a_chunk_is_cut() -> None:
    """Then it rejects its rows."""
    unknown = block(*people(2, 3, shoe=42))
    with pytest.raises(UsageError, match="no property 'shoe'"):
        await Case([block(*people(1)), unknown]).read()
    case = Case([block(*people(1))])
    await case.read()
    case.reader.commit()
    assert await case.reader.encode(unknown) == ()
    assert [(row, name) for row, name, _ in case.refused] == [(2, "shoe"), (3, "shoe")]
    assert [one.data for one in case.rejections] == people(2, 3, shoe=42)


async def test_a_fault_of_a_column_rejects_its_rows_once_a_property_was_created() -> None:
    """Something was done for the source."""
    case = Case([block(*people(1, shoe=42))], [block({**people(2)[0], "shoe": 1, "hat": 2})])
    case.reader._spec = evolve(SPEC, create_properties=True)
    case.account.refused.add("hat")
    assert [number for number, _, _ in rows_of(await case.read())] == [1]
    assert [(row, name) for row, name, _ in case.refused] == [(2, "hat")]
    assert case.account.created == ["shoe", "hat"]


@pytest.mark.parametrize("via", ["json", "csv"])
async def test_a_property_that_somebody_has_created_meanwhile(via: Any) -> None:
    """It may be spelled otherwise, or be of another type: rows that were good may be bad then."""
    spec = evolve(SPEC, via=via, create_properties=True)
    case = Case([block(*people(1, shoe="x"), *people(2, shoe="42"), {"email": "bad", "shoe": "7"})], spec=spec)

    async def found(name: str, datatype: str) -> Property:
        return Property(id=7, name="SHOE", datatype="int")

    case.account.ensure_property = found  # type: ignore[method-assign]  # it is there now
    (some,) = await case.read()
    if via == "json":
        assert rows_of([some]) == [(2, "p2@example.org", {"Email": "p2@example.org", "Properties": {"SHOE": 42}})]
    else:
        assert (list(some.numbers), some.encoded, case.reader.rules.meaning) == (
            [2],
            [b"p2@example.org,42\n"],
            b"email,SHOE\n",
        )
    assert [(one.row, one.code) for one in case.rejections] == [(3, "address.invalid"), (1, "value.type")]


async def test_a_mapping_with_an_unknown_property_is_refused_likewise() -> None:
    """All rows that have it."""
    unknown = block(*nested({"shoe": 1}, {"shoe": 2}))
    with pytest.raises(UsageError, match="no property 'shoe'"):
        await Case([unknown]).read()
    case = Case([block(*people(1))])
    await case.read()
    case.reader.commit()
    assert await case.reader.encode(unknown) == []
    assert [(one.row, (one.data or {})["Properties"]) for one in case.rejections] == [
        (2, {"shoe": 1}),
        (3, {"shoe": 2}),
    ]


async def test_a_source_without_an_address_is_refused_at_the_first_chunk_or_at_the_end() -> None:
    """A header alone is enough for that; without one there is nothing to judge."""
    case = Case([Block(("name",), [[]], 0)])
    await case.read()
    with pytest.raises(UsageError, match="no column 'email'"):
        case.reader.end()
    with pytest.raises(UsageError, match="no column 'email'"):
        case.reader.commit()
    empty = Case([])
    await empty.read()
    empty.reader.end()


async def test_on_the_csv_way_all_rows_have_the_columns_of_the_first() -> None:
    """Another column is a fault of its rows, once a chunk was cut."""
    spec = evolve(SPEC, via="csv")
    wide = block(*people(2, age=7))
    with pytest.raises(UsageError, match="the first row has no column 'age'"):
        await Case([block(*people(1)), wide], spec=spec, properties="age").read()
    case = Case([block(*people(1))], spec=spec, properties="age")
    await case.read()
    case.reader.commit()
    assert await case.reader.encode(wide) == ()
    assert [row for row, _, _ in case.refused] == [2]


async def test_a_dry_run_takes_what_is_missing_as_created() -> None:
    """And says what it is."""
    case = Case([block(*people(1, shoe=42))], dry=True)
    assert len(await case.read()) == 1
    assert (case.reader.missing, case.account.created) == (["shoe"], [])


# The account


async def test_lists_are_given_by_their_ids() -> None:
    """An import without a list has none; on the CSV way an exclusion is uploaded under any list."""
    assert await Case().reader.prepare() == ((1, Action.ADDNOFORCE),)
    assert await Case(spec=RunSpec(lists=None)).reader.prepare() is None
    assert await Case(spec=RunSpec(lists=None, via="csv", excluded=True)).reader.prepare() is None


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (ApiError(401, call="GET contactmetadata"), CredentialsRefused),
        (ApiError(403, call="GET contactmetadata"), CredentialsRefused),
        (ApiError(401, call="GET contactmetadata", text="Operation not allowed"), ApiError),
        (ApiError(500, call="GET contactmetadata"), ApiError),
    ],
)
async def test_wrong_keys_are_told_from_other_refusals(refusal: ApiError, kind: type[ApiError]) -> None:
    """A refusal of one call has a text of Mailjet's."""
    case = Case()

    async def refuse(names: Any = (), *, since: int | None = None) -> Any:
        raise refusal

    case.account.known_properties = refuse  # type: ignore[method-assign]  # it refuses from now on
    with pytest.raises(ApiError) as raised:
        await case.reader.prepare()
    assert type(raised.value) is kind


# How rows are sent


@pytest.mark.parametrize(
    ("spec", "kind", "method"),
    [
        (SPEC, JsonSender, None),
        (evolve(SPEC, via="csv"), CsvSender, "addnoforce"),
        (RunSpec(lists=None, via="csv", excluded=True), CsvSender, "excludemarketing"),
        (RunSpec(lists=None, via="csv", excluded=False), CsvSender, "includemarketing"),
    ],
)
async def test_the_first_row_decides_how_all_are_sent(spec: RunSpec, kind: Any, method: str | None) -> None:
    """Which sender, and which frame, limits and digests all chunks have."""
    case = Case([block(*people(1))], spec=spec, chunk_rows=7)
    await case.read()
    sender: Any = case.reader.sender
    assert isinstance(sender, kind)
    assert method is None or sender._method == method
    rules = case.reader.rules
    assert (rules.limits.rows, rules.digests, rules.learned) == (7, True, case.reader.learned)
    assert bool(rules.meaning) is (spec.via == "csv")


async def test_an_empty_cell_may_erase_a_property_if_that_is_assumed() -> None:
    """Then a row with one is refused."""
    case = Case([block(*people(1, city=""), *people(2, city="Graz"))], spec=evolve(SPEC, via="csv"), properties="city")
    case.reader._engine = evolve(case.reader._engine, assumptions=Assumptions(csv_empty_cell_keeps=False))
    (some,) = await case.read()
    assert list(some.numbers) == [2]
    assert [row for row, _, _ in case.refused] == [1]
