"""Tables of all libraries through one door, and Parquet files."""

import asyncio
import datetime as dt
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from subprocess import check_output
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
import pytest
from pyarrow import parquet
from support import World, balanced, extra

import mjbulk
import mjbulk.rows
from mjbulk.rows.arrow_values import OddValue
from mjbulk.rows.sources import Source, reopen, source_of

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
COLUMNS: dict[str, list[Any]] = {
    "email": ["a@example.org", "not an address", "b@example.org"],
    "city": ["Graz", "Wien", None],
    "age": [7, 8, None],
    "internal": [1.5, 2.5, 3.5],
}


class Stream:
    """What any library's table is: something that gives an Arrow stream."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return pa.table(COLUMNS).__arrow_c_stream__(requested_schema)


TABLES: dict[str, Callable[[], Any]] = {
    "pyarrow": lambda: pa.table(COLUMNS),
    "a record batch": lambda: pa.record_batch(COLUMNS),
    "a reader": lambda: pa.table(COLUMNS).to_reader(),
    "a stream": Stream,
    "pandas": lambda: extra("pandas").DataFrame(COLUMNS),
    "polars": lambda: extra("polars").DataFrame(COLUMNS),
    "duckdb": lambda: extra("duckdb").from_arrow(pa.table(COLUMNS)).project("email, city, age, internal"),
}
OF_OTHERS = {"pandas", "polars", "duckdb"}
EACH_KIND = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.extra] if kind in OF_OTHERS else []) for kind in TABLES]
)


async def rows_of(source: Source) -> list[dict[str, Any]]:
    """Give all rows of a source of tables."""
    blocks: list[Any] = [block async for batch in source.batches() for block in batch]
    return [dict(zip(block.names, row, strict=True)) for block in blocks for row in block.rows]


async def values_of(column: Any) -> list[Any]:
    """Give the values that a column has in rows."""
    return [row["it"] for row in await rows_of(source_of(pa.table({"it": column})))]


@pytest.mark.parametrize("via", ["json", "csv"])
@EACH_KIND
async def test_tables_of_all_libraries_give_the_same(world: World, kind: str, via: Any) -> None:
    """Nulls leave properties alone, columns that were not picked stay here, a bad row costs its own number."""
    async with world.client() as client:
        columns = ["email", "city", "age"]
        report = balanced(await client.import_contacts(TABLES[kind](), lists=ADD, columns=columns, via=via))
    assert (report.rows, report.accepted, report.rejected) == (3, 2, 1)
    properties = {who: dict(found.properties) for who, found in world.emulator.contacts.items()}
    assert properties == {"a@example.org": {"city": "Graz", "age": 7}, "b@example.org": {}}
    (rejection,) = report.rejections
    assert (rejection.row, rejection.field, rejection.data) == (
        2,
        "email",
        {"email": "not an address", "city": "Wien", "age": 8, "internal": 2.5},
    )


@EACH_KIND
async def test_a_table_can_be_read_again_and_a_reader_cannot(kind: str) -> None:
    """What has a length is a table."""
    source = source_of(TABLES[kind]())
    assert source.rereadable == (kind not in {"a reader", "a stream"})
    assert len(await rows_of(source)) == 3
    if source.rereadable:
        assert len(await rows_of(source)) == 3
    else:
        with pytest.raises(mjbulk.UsageError, match="only once"):
            source.batches()


async def test_large_tables_come_a_few_rows_at_a_time() -> None:
    """One batch of a table is many blocks."""
    table = pa.table({"email": [f"p{n}@example.org" for n in range(2_001)]})
    sizes = [len(block) async for batch in source_of(table).batches() for block in batch]
    assert (sum(sizes), max(sizes)) == (2_001, 500)


# Values


async def test_values_as_python_has_them() -> None:
    """Nulls, dictionaries, decimals, dates, structs and maps; a time with a zone keeps it, one without has none."""
    when = dt.datetime(2026, 11, 24, 12, 30, 0, 123456, tzinfo=ZoneInfo("Europe/Vienna"))
    assert await values_of(pa.array(["Graz", None, "Graz"]).dictionary_encode()) == ["Graz", None, "Graz"]
    assert await values_of(pa.nulls(2)) == [None, None]
    assert await values_of(pa.array([Decimal("1.25")])) == [Decimal("1.25")]
    assert await values_of(pa.array([dt.date(2026, 11, 24)])) == [dt.date(2026, 11, 24)]
    assert await values_of(pa.array([{"city": "Graz"}])) == [{"city": "Graz"}]
    assert await values_of(pa.array([[("city", "Graz")]], pa.map_(pa.string(), pa.string()))) == [{"city": "Graz"}]
    for unit in ("us", "ns"):
        (aware,) = await values_of(pa.array([when], pa.timestamp(unit, "Europe/Vienna")))
        assert (type(aware), aware, aware.utcoffset()) == (dt.datetime, when, dt.timedelta(hours=1))
        (naive,) = await values_of(pa.array([when.replace(tzinfo=None)], pa.timestamp(unit)))
        assert (type(naive), naive.tzinfo) == (dt.datetime, None)


@pytest.mark.extra
async def test_columns_of_categories(world: World) -> None:
    """Categories of polars come as texts."""
    pl = extra("polars")
    values = ["Graz", "Wien", None]
    for kind in (pl.Categorical, pl.Enum(["Graz", "Wien"])):
        assert [
            row["it"] for row in await rows_of(source_of(pl.DataFrame({"it": pl.Series(values, dtype=kind)})))
        ] == values
    people = pl.Series([f"{name}@example.org" for name in "abc"], dtype=pl.Categorical)
    frame = pl.DataFrame({"email": people, "city": pl.Series(values, dtype=pl.Categorical)})
    async with world.client() as client:
        assert (await client.import_contacts(frame, lists=ADD)).accepted == 3
        assert (await client.exclude_contacts(people)).accepted == 3
    assert dict(world.emulator.contacts["b@example.org"].properties) == {"city": "Wien"}


async def test_dictionaries_of_bytes() -> None:
    """Dictionaries come as their values, also those that Arrow itself cannot look up."""
    bytes_ = pa.array([b"x", None], pa.binary_view()).cast(pa.binary())
    assert await values_of(bytes_.dictionary_encode()) == [b"x", None]


async def test_columns_that_arrow_cannot_convert_at_once() -> None:
    """They are read value by value, and what has no form in Python stands for itself."""
    views = pa.array([b"x", b"y"], pa.binary_view())
    assert await values_of(pa.DictionaryArray.from_arrays(pa.array([1, 0, None]), views)) == [b"y", b"x", None]
    times = pa.array([0, 10**15], pa.timestamp("s"))
    first, second, _ = await values_of(pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), times))
    assert (first, second) == (dt.datetime(1970, 1, 1), OddValue("timestamp[s]"))  # noqa: DTZ001  # Arrow's has no zone


async def test_values_that_python_has_no_form_for() -> None:
    """They stand for themselves, and their neighbours are not touched."""
    first, second, third = await values_of(pa.array([0, 10**15, None], pa.timestamp("s")))
    assert (first, third) == (dt.datetime(1970, 1, 1), None)  # noqa: DTZ001  # Arrow's has no zone either
    assert second == OddValue("timestamp[s]")
    assert str(second) == "(timestamp[s] that Python has no form for)"
    (twice,) = await values_of(pa.array([[("a", "1"), ("a", "2")]], pa.map_(pa.string(), pa.string())))
    assert isinstance(twice, OddValue)


ODD = {
    "out of range": pa.array([10**15] * 2, pa.timestamp("s", "UTC")),
    "an unknown zone": pa.array([0] * 2, pa.timestamp("us", "Nowhere/At_all")),
    "a list": pa.array([["Graz"]] * 2),
    "a struct": pa.array([{"city": "Graz"}] * 2),
    "bytes": pa.array([b"Graz"] * 2),
    "a duration": pa.array([5] * 2, pa.duration("ns")),
    "infinity": pa.array([float("inf")] * 2),
}


@pytest.mark.parametrize("via", ["json", "csv"])
@pytest.mark.parametrize("kind", ODD)
async def test_values_that_cannot_be_sent_reject_their_rows(world: World, kind: str, via: Any, tmp_path: Path) -> None:
    """Each by its number, and the rejections can be written; where the column is not picked nothing is wrong."""
    table = pa.table({"email": ["a@example.org", "b@example.org"], "seen": ODD[kind]})
    world.emulator.create_property("seen", "datetime" if "zone" in kind or "range" in kind else "str")
    async with world.client() as client:
        report = balanced(await client.import_contacts(table, lists=ADD, via=via))
        assert [(r.row, r.field) for r in report.rejections] == [(1, "seen"), (2, "seen")]
        for name in ("out.csv", "out.jsonl"):
            assert report.write_rejections(tmp_path / name) == 2
        assert (await client.import_contacts(table, lists=ADD, via=via, columns=["email"])).ok


async def test_contacts_in_a_table(world: World) -> None:
    """Mailjet's own contact object, as a table has it."""
    table = pa.table(
        {"Email": ["a@example.org"], "Name": ["Ann"], "Properties": pa.array([{"city": "Graz", "age": None}])}
    )
    async with world.client() as client:
        assert (await client.import_contacts(table, lists=ADD)).ok
    found = world.emulator.contacts["a@example.org"]
    assert (found.name, dict(found.properties)) == ("Ann", {"city": "Graz"})


# Frames of pandas


@pytest.mark.extra
async def test_the_index_of_a_frame() -> None:
    """An index without a name, as any filtered frame has, is no column; one with a name is."""
    pd = extra("pandas")
    frame = pd.DataFrame({"email": ["a@example.org", "b@example.org", "c@example.org"], "age": [7, 8, 9]})
    shuffled = frame.loc[[2, 0, 1]]
    assert "__index_level_0__" in pa.table(shuffled).column_names
    assert (await rows_of(source_of(shuffled)))[0] == {"email": "c@example.org", "age": 9}
    assert (await rows_of(source_of(frame.set_index("email"))))[0] == {"age": 7, "email": "a@example.org"}


@pytest.mark.extra
async def test_a_frame_without_columns_is_refused(world: World) -> None:
    """Its rows are not lost: they have no address."""
    pd = extra("pandas")
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError, match="no column 'email'"):
            await client.import_contacts(pd.DataFrame(index=[4, 7]), lists=ADD)


@pytest.mark.extra
async def test_frames_that_arrow_cannot_take(world: World) -> None:
    """The column is named, none of its values is."""
    pd = extra("pandas")
    frame = pd.DataFrame({"email": ["secret@example.org", 7], "age": [7, 8]})
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError, match="for its column 'email'") as caught:
            await client.import_contacts(frame, lists=ADD)
        assert "secret" not in str(caught.value)
        with pytest.raises(mjbulk.UsageError, match="a name of its own"):
            await client.import_contacts(pd.concat([frame[["age"]], frame[["age"]]], axis=1), lists=ADD)


@pytest.mark.extra
@pytest.mark.parametrize("kind", ["sparse", "int128"])
async def test_a_column_that_cannot_be_given_is_named(world: World, kind: str) -> None:
    """Also where its library does not say which it is."""
    pd, pl = extra("pandas"), extra("polars")
    frame = {
        "sparse": pd.DataFrame({"email": ["ann@example.org"], "age": pd.arrays.SparseArray([1.0])}),
        "int128": pl.DataFrame({"email": ["ann@example.org"], "age": pl.Series([2**100], dtype=pl.Int128)}),
    }[kind]
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError, match=r"for its column 'age'.*one type that Arrow has"):
            await client.import_contacts(frame, lists=ADD)


@pytest.mark.parametrize(
    "of",
    [
        lambda values: pa.chunked_array([values]),
        pytest.param(lambda values: extra("pandas").Series(values), marks=pytest.mark.extra),
        pytest.param(lambda values: extra("polars").Series(values), marks=pytest.mark.extra),
    ],
    ids=["pyarrow", "pandas", "polars"],
)
async def test_a_single_column_is_addresses(world: World, of: Callable[[list[str]], Any]) -> None:
    """A Series goes onto the exclusion list."""
    async with world.client() as client:
        report = await client.exclude_contacts(of(["a@example.org", "b@example.org"]))
    assert (report.accepted, world.emulator.contacts["b@example.org"].excluded) == (2, True)


@pytest.mark.extra
def test_a_lazy_frame_has_to_be_collected() -> None:
    """It has no rows yet."""
    with pytest.raises(mjbulk.UsageError, match=r"polars's LazyFrame is no source of rows: .*give \.collect\(\)"):
        source_of(extra("polars").LazyFrame(COLUMNS))


# Parquet


def write_parquet(path: Path, rows: int, **how: Any) -> None:
    table = pa.table({"email": [f"p{n}@example.org" for n in range(1, rows + 1)], "city": ["Graz"] * rows})
    parquet.write_table(table, path, **how)


async def test_a_parquet_file(world: World, tmp_path: Path) -> None:
    """It is known by its name, read by row groups, and found again by its location."""
    write_parquet(tmp_path / "a.parquet", 20_000, row_group_size=3_000)
    source = source_of(tmp_path / "a.parquet")
    assert source.location == {"kind": "parquet", "path": str(tmp_path / "a.parquet")}
    assert [len(await rows_of(it)) for it in (source, source, reopen(source.location))] == [20_000] * 3
    async with world.client(chunk_rows=5_000) as client:
        assert (await client.plan_import(tmp_path / "a.parquet", lists=ADD)).rows == 20_000
        report = balanced(await client.import_contacts(tmp_path / "a.parquet", lists=ADD))
    assert (report.accepted, len(report.jobs)) == (20_000, 4)
    assert dict(world.emulator.contacts["p20000@example.org"].properties) == {"city": "Graz"}


async def test_files_that_are_no_parquet(tmp_path: Path) -> None:
    """A file that is not there, another one, and one that was cut off."""
    write_parquet(tmp_path / "whole.parquet", 100)
    whole = (tmp_path / "whole.parquet").read_bytes()
    for content in (b"", b"email\na@example.org\n", whole[:-9], whole[: len(whole) // 2]):
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(mjbulk.UsageError, match="is no Parquet, or is cut off"):
            await rows_of(source_of(tmp_path / "a.parquet"))
    with pytest.raises(mjbulk.UsageError, match="cannot be opened: No such file"):
        await rows_of(source_of(tmp_path / "missing.parquet"))


# Failures


def failing_reader() -> Any:
    def batches() -> Iterator[Any]:
        for start in range(1, 7_001, 1_000):
            yield pa.record_batch({"email": [f"p{n}@example.org" for n in range(start, start + 1_000)]})
        raise LookupError

    return pa.RecordBatchReader.from_batches(pa.schema([("email", pa.string())]), batches())


def damaged_parquet(path: Path) -> Path:
    write_parquet(path, 20_000, row_group_size=7_000, write_page_checksum=True, compression=None, use_dictionary=False)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"p7002@example.org", b"p7002@example.net"))
    return path


@pytest.mark.parametrize("kind", ["a reader", "a file"])
async def test_a_table_that_fails_in_the_middle_halts_the_run(world: World, kind: str, tmp_path: Path) -> None:
    """What was sent is in the report, and the cause says at which row it was."""
    source = failing_reader() if kind == "a reader" else damaged_parquet(tmp_path / "a.parquet")
    async with world.client(chunk_rows=1_500) as client:
        with pytest.raises(mjbulk.ImportHalted) as caught:
            await client.import_contacts(source, lists=ADD)
    report, cause = balanced(caught.value.report), caught.value.__cause__
    assert isinstance(cause, mjbulk.SourceError)
    assert (cause.row, cause.sentence) == (7_001, f"it raised {type(cause.__cause__).__name__}")
    assert (report.rows, report.accepted, report.not_sent) == (7_000, 6_000, 1_000)


async def test_reading_pauses_when_the_pipeline_is_full(world: World) -> None:
    """Batches are taken from a reader as there is room."""
    taken = 0

    def batches() -> Iterator[Any]:
        nonlocal taken
        for taken in range(1, 10_001):
            yield pa.record_batch({"email": [f"p{taken}@example.org"]})

    reader = pa.RecordBatchReader.from_batches(pa.schema([("email", pa.string())]), batches())
    async with world.turned(import_seconds=7_200.0) as other, other.client(max_jobs=3, chunk_rows=100) as client:
        run = client.start_import(reader, lists=ADD)
        await asyncio.sleep(3_600)
        assert 300 <= taken <= 500
        await run.stop()


# The extra


async def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is missing is said, with the command that brings it, before anything is sent; rows do without it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for rows in (Stream(), tmp_path / "a.parquet"):
        with pytest.raises(mjbulk.UsageError, match=r"pip install 'mjbulk\[arrow\]'"):
            source_of(rows)
    assert source_of([{"email": "a@example.org"}]).kind == "iterable"


def test_rows_and_text_load_no_pyarrow() -> None:
    """The library is large: only tables pay for it."""
    code = (
        "import sys; from mjbulk.rows.sources import source_of; import mjbulk.client;"
        "source_of([]); source_of('a.csv.gz'); source_of('a.jsonl'); print('pyarrow' in sys.modules)"
    )
    assert check_output([sys.executable, "-c", code], text=True).strip() == "False"
