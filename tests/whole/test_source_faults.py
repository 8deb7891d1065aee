"""Faults that rows share, and sources without rows: an import does not end as if all were well."""

import io
import pickle
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support import KEYS, World, balanced

import mjbulk
from mjbulk.testing import Fault

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
GOOD = {"email": "ann@example.org", "age": 7}
NOBODY = {"email": "x", "age": 7}


def bad(count: int) -> list[dict[str, Any]]:
    """Give rows that are all refused for one cause."""
    return [{"email": f"p{number}@example.org", "age": "about thirty"} for number in range(count)]


@pytest.mark.parametrize("how", ["import", "plan", "rows", "csv"])
async def test_a_fault_that_the_first_rows_share_refuses_the_source(world: World, how: str) -> None:
    """Nothing is sent, the cause and the column are named, and no value is. A plan says the same."""
    rows = [*bad(100), GOOD]
    source: Any = rows
    if how == "csv":
        source = mjbulk.csv_source([b"email,age\n", *(f"{row['email']},{row['age']}\n".encode() for row in rows)])
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError, match=r"first 100 rows are all .* cause: .*'age'") as caught:
            await (client.plan_import if how == "plan" else client.import_contacts)(source, lists=ADD)
    assert "thirty" not in str(caught.value)
    assert world.posts() == 0


@pytest.mark.parametrize(
    "rows",
    [
        bad(99),
        [*bad(99), GOOD],
        [GOOD, *bad(200)],
        [*bad(50), *[{**GOOD, "age": 2**70}] * 6, *bad(99)],
        [*bad(49), *[NOBODY] * 51],
    ],
    ids=["few", "a good one behind them", "a good one before them", "another cause among them", "two causes"],
)
async def test_other_rows_are_rejected_one_by_one(world: World, rows: list[dict[str, Any]]) -> None:
    """Short sources have a report, and so has one whose rows do not share their fault."""
    async with world.client() as client:
        report = balanced(await client.import_contacts(rows, lists=ADD))
    good = rows.count(GOOD)
    assert (report.accepted, report.rejected) == (good, len(rows) - good)


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        ([*bad(50), NOBODY, *bad(2_949)], 99),
        ([*bad(52), *[NOBODY] * 48, *bad(52)], 52),
        ([*[{**GOOD, "age": 2**70}] * 3, *bad(200)], 97),
        ([*[NOBODY] * 95, *bad(5)], 95),
    ],
    ids=["a bad address among them", "many bad addresses among them", "a few other faults", "nearly all addresses"],
)
async def test_a_fault_that_nearly_all_of_the_first_rows_have_refuses_the_source(
    world: World, rows: list[dict[str, Any]], count: int
) -> None:
    """A row without a good address says nothing about the other columns."""
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError, match=rf"^{count} of its first 100 rows are refused for one cause: "):
            await client.import_contacts(rows, lists=ADD)


def seen(count: int, *naive: int) -> list[dict[str, Any]]:
    """Give rows with a time, of which some have no zone."""
    when = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    return [
        {"email": f"p{row}@example.org", "seen": when.replace(tzinfo=None) if row in naive else when}
        for row in range(1, count + 1)
    ]


CREATED: dict[str, Any] = {"create_properties": True, "types": {"seen": "datetime"}}


@pytest.mark.parametrize("how", [{}, CREATED], ids=["known", "created"])
@pytest.mark.parametrize("kind", ["rows", "csv"])
async def test_a_time_without_a_zone_rejects_its_row(world: World, how: Any, kind: str) -> None:
    """Wherever it stands, if others have one."""
    if not how:
        world.emulator.create_property("seen", "datetime")
    rows = seen(2_000, 8, 1_900)
    lines = [f"{row['email']},{row['seen'].isoformat()}\n".encode() for row in rows]
    source: Any = mjbulk.csv_source([b"email,seen\n", *lines]) if kind == "csv" else rows
    async with world.client(chunk_rows=500) as client:
        report = balanced(await client.import_contacts(source, lists=ADD, **how))
    assert [(one.row, one.code, one.field) for one in report.rejections] == [
        (8, "value.zone", "seen"),
        (1_900, "value.zone", "seen"),
    ]


@pytest.mark.parametrize("how", [{}, CREATED], ids=["known", "created"])
async def test_times_that_have_no_zone_as_a_rule_refuse_the_source(world: World, how: Any) -> None:
    """The first row is named."""
    if not how:
        world.emulator.create_property("seen", "datetime")
    rows: list[Any] = [{"email": "", "seen": None}, 7, *seen(4, 1, 2, 3)]
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError, match=r"without a time zone: .* \(row 3, column 'seen'\)") as caught:
            await client.import_contacts(rows, lists=ADD, **how)
    assert (caught.value.row, caught.value.column, caught.value.kind) == (3, "seen", "value.zone")
    assert pickle.loads(pickle.dumps(caught.value)).row == 3
    assert (world.posts(), world.posts("contactmetadata")) == (0, 0)


@pytest.mark.parametrize("via", ["json", "csv"])
async def test_only_a_good_row_creates_a_property(world: World, via: Any) -> None:
    """Neither a source whose rows are all rejected does so, nor one that is refused, nor a header."""
    others = [NOBODY, {**GOOD, "email": ""}, {**GOOD, "age": "old"}]
    before = set(world.emulator.properties)
    async with world.client() as client:
        for rows in (bad(3), [NOBODY] * 150, others * 300, [], [*bad(150), GOOD], [*others * 300, GOOD]):
            lines = [f"{row['email']},{row['age']},x\n".encode() for row in rows]
            text: Any = mjbulk.csv_source([b"email,age,shoe\n", *lines])
            expected, accepted = 2 * (rows[-1:] == [GOOD] and rows[:-1] == others * 300), 0
            for source in ([{**row, "shoe": "x"} for row in rows], text):
                with suppress(mjbulk.UsageError):
                    report = await client.import_contacts(source, lists=ADD, create_properties=True, via=via)
                    accepted += balanced(report).accepted
            assert accepted == expected
            assert set(world.emulator.properties) - before == ({"shoe"} if accepted else set())
    assert dict(world.emulator.contacts["ann@example.org"].properties) == {"age": 7, "shoe": "x"}


@pytest.mark.parametrize("header", ["email,city,age", "email,city"])
async def test_malformed_rows_share_a_fault_too(world: World, header: str) -> None:
    """Rows that are all longer than their header."""
    lines = [f"p{number}@example.org,Graz,7,x\n".encode() for number in range(150)]
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError, match="the row has 4 fields, the header has"):
            await client.import_contacts(mjbulk.csv_source([f"{header}\n".encode(), *lines]), lists=ADD)


async def test_a_run_that_has_sent_something_is_not_refused_when_it_goes_on(world: World, tmp_path: Path) -> None:
    """Its first rows are refused now, because the property is of another type: they were sent before."""
    journal = tmp_path / "journal.db"
    rows = bad(1_500)
    world.emulator.create_property("shoe", "str")

    def failing() -> Iterator[dict[str, Any]]:
        yield from ({"email": row["email"], "shoe": row["age"]} for row in rows)
        raise LookupError

    async with mjbulk.Client(KEYS, world.settings(chunk_rows=100), journal=journal) as client:
        with pytest.raises(mjbulk.ImportHalted):
            await client.import_contacts(failing(), lists=ADD, run_id="monday")
    assert world.posts() > 0
    async with mjbulk.Client(KEYS, world.settings(chunk_rows=100), journal=journal) as client:
        with pytest.raises(mjbulk.Error) as caught:
            await client.import_contacts(rows, lists=ADD, run_id="monday")
    assert "for one cause" not in str(caught.value)


async def test_a_column_without_a_name_that_has_a_value_later_rejects_its_row(world: World) -> None:
    """Once rows were sent; before, it refuses the source."""
    lines = [
        b"email,city,\n",
        *(b"p%d@example.org,Graz,\n" % number for number in range(1_500)),
        b"x@example.org,Graz,7\n",
    ]
    pieces = [b"".join(lines[:1_000]), b"".join(lines[1_000:])]

    async def stream(fill: int) -> Any:
        for piece in pieces:
            yield piece + b"" if fill else piece

    async with world.client(chunk_rows=100) as client:
        report = balanced(await client.import_contacts(mjbulk.csv_source(stream(0)), lists=ADD))
    (rejection,) = report.rejections
    assert (report.accepted, rejection.row) == (1_500, 1_501)
    assert rejection.message.startswith("column 3 has no name, and a value in it")


@pytest.mark.parametrize(
    ("text", "how", "where"),
    [
        ("email,city,\na@example.org,,\n\n\nb@example.org,,7\nc@example.org,,8\n", {}, "row 2 (line 5)"),
        ("sep=;\nemail;city;\na@example.org;'x\ny';\nb@example.org;;7\n", {}, "row 2 (line 5)"),
        ("two\nnotes\nemail,city,\na@example.org,,\nb@example.org,,7\n", {"header_row": 3}, "row 2 (line 5)"),
        ("email,city,\r\na@example.org,'x\r\ny',\r\nb@example.org,,7\r\n", {}, "row 2 (line 4)"),
        ("email,city,\ra@example.org,,\rb@example.org,,7\r", {}, "row 2 (line 3)"),
        ("email,city,\na@example.org\nb@example.org,\nc@example.org,,7\n", {}, "row 3 (line 4)"),
        ("email,city,,\na@example.org\nb@example.org,,7\nc@example.org,,7\n", {}, "row 2 (line 3)"),
        ("email,city,\na@example.org,x\\\ny,\nb@example.org,,7\n", {"escape": "\\"}, "row 2"),
        ("email,city,\n" + "a@example.org,,\n" * 9_000 + "\nb@example.org,,7\n", {}, "row 9001 (line 9003)"),
    ],
    ids=["blank lines", "sep", "notes", "CRLF", "CR", "short rows", "two of them", "escapes", "many pieces"],
)  # fmt: skip
async def test_a_value_without_a_name_is_found(world: World, text: str, how: Any, where: str) -> None:
    """By the number of its row and, where no escape may hide the end of a line, by its line in the file."""
    source = mjbulk.csv_source(io.BytesIO(text.replace("'", '"').encode()), **how)
    async with world.client(chunk_rows=10_000) as client:
        with pytest.raises(mjbulk.UsageError) as refusal:
            await client.import_contacts(source, lists=ADD)
    assert f"column 3 has no name, and {where} has a value in it: name it" in str(refusal.value)
    assert (refusal.value.kind, world.emulator.contacts) == ("column.unnamed", {})


@pytest.mark.parametrize("create", [False, True])
async def test_a_value_without_a_name_in_other_sources(world: World, *, create: bool) -> None:
    """The number of the row says where it is."""
    rows: Any = [NOBODY, {"email": "a@example.org", "": None}, {"email": "b@example.org", "": "x"}]
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError, match="column 2 has no name, and row 3 has a value in it") as refused:
            await client.import_contacts(rows, lists=ADD, create_properties=create)
    assert refused.value.row == 3
    assert "(row" not in str(refused.value)


async def test_a_resumed_run_reads_a_file_as_it_was_read(world: World, tmp_path: Path) -> None:
    """What was said of the file is in the journal."""
    file = tmp_path / "a.csv"
    rows = "".join(f"p{number}@example.org;-;{number}\n" for number in range(300))
    file.write_text(f"notes\nemail;city;age\n{rows}")
    source = mjbulk.csv_source(file, delimiter=";", header_row=2, null="-", escape="\\")
    world.emulator.fault("POST contact/managemanycontacts", Fault.answer(500), times=None, after=1)
    journal = tmp_path / "journal.db"
    async with mjbulk.Client(KEYS, world.settings(chunk_rows=100, attempts=1), journal=journal) as client:
        with pytest.raises(mjbulk.ImportHalted):
            await client.import_contacts(source, lists=ADD, run_id="monday")
    async with world.turned() as other:
        for name, kind in {"city": "str", "age": "int"}.items():
            other.emulator.create_property(name, kind)
        async with mjbulk.Client(KEYS, other.settings(chunk_rows=100), journal=journal) as client:
            report = balanced(await client.resume_import("monday"))
    assert report.ok
    assert report.rows == 300
    assert dict(other.emulator.contacts["p250@example.org"].properties) == {"age": 250}


async def test_a_source_without_rows_says_so(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It may have been read before: in the report, in the log, and in a plan."""
    async with world.client() as client:
        report = await client.import_contacts(iter([]), lists=ADD)
        plan = await client.plan_import(mjbulk.in_thread([]), lists=ADD)
    said = "the source had no rows: was it read before?"
    assert str(report).endswith(said)
    assert [record.getMessage() for record in caplog.records] == [said, said]
    assert [finding.message for finding in plan.findings] == [said]
