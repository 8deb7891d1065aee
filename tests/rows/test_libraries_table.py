"""Files, bodies, tables in pieces and spreadsheets of libraries that the extra ``test`` does not install."""

import datetime as dt
import io
import sqlite3
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
import pytest
from carriers import (
    ADD,
    ARRIVES,
    CSV,
    JSONL,
    ROWS,
    SHEET,
    Case,
    cases,
    check,
    close_files,
    in_pieces,
    lines,
    opened,
    written,
)
from django_ready import django_ready
from fastapi import FastAPI, File, Request, UploadFile
from postgres import Postgres
from support import World, balanced, extra

import mjbulk
from mjbulk.rows.sources import source_of

pytestmark = pytest.mark.extra
csv: Any = mjbulk.csv_source  # wrong kinds are given too
jsonl: Any = mjbulk.jsonl_source
excel: Any = mjbulk.excel_source


@pytest.fixture(autouse=True)
def _files_are_closed() -> Iterator[None]:
    yield
    close_files()


# Files and bodies


@asynccontextmanager
async def aiofiles_file(folder: Path) -> AsyncIterator[Any]:
    async with extra("aiofiles").open(written(folder, "a.csv"), "rb") as file:
        yield csv(file)


def store() -> Any:
    made = extra("obstore.store").MemoryStore()
    made.put("people", CSV)
    return made


@asynccontextmanager
async def obstore_reader(folder: Path) -> AsyncIterator[Any]:
    yield csv(await extra("obstore").open_reader_async(store(), "people"))


@asynccontextmanager
async def obstore_stream(folder: Path) -> AsyncIterator[Any]:
    yield csv((await store().get_async("people")).stream(min_chunk_size=1))


def httpx_response(folder: Path) -> Any:
    return extra("httpx").Response(200, content=in_pieces(CSV))


def django(name: str) -> Any:
    """Give a class of Django's uploads."""
    django_ready()
    return getattr(extra("django.core.files.uploadedfile"), name)


def temporary(folder: Path) -> Any:
    file = opened(django("TemporaryUploadedFile")("a.csv", "text/csv", len(CSV), None))
    file.write(CSV)
    file.seek(0)
    return csv(file)


FILES: Mapping[str, Any] = {
    "a file of aiofiles": aiofiles_file,
    "a reader of obstore": lambda folder: csv(extra("obstore").open_reader(store(), "people")),
    "a reader of obstore that is awaited": obstore_reader,
    "a stream of obstore": lambda folder: csv(store().get("people").stream()),
    "a stream of obstore that is awaited": obstore_stream,
    "a body of httpx": lambda folder: csv(httpx_response(folder).aiter_bytes()),
    "a body of httpx, in chunks": lambda folder: csv(httpx_response(folder).aiter_bytes(5)),
    "a raw body of httpx": lambda folder: csv(httpx_response(folder).aiter_raw()),
    "a body of httpx that is not awaited": lambda folder: csv(extra("httpx").Response(200, content=CSV).iter_bytes()),
    "an upload of Django": lambda folder: csv(django("SimpleUploadedFile")("a.csv", CSV)),
    "a large upload of Django": temporary,
    "chunks of an upload of Django": lambda folder: csv(django("SimpleUploadedFile")("a.csv", CSV).chunks(10)),
    "JSON Lines of an upload of Django": lambda folder: jsonl(django("SimpleUploadedFile")("a.jsonl", JSONL)),
}


@cases(FILES)
async def test_files_of_libraries(world: World, case: Case, tmp_path: Path) -> None:
    """They give the same as a path."""
    await check(world, case, tmp_path)


@pytest.mark.parametrize("of", ["file", "its file", "stream", "excel"])
async def test_uploads_to_fastapi(world: World, of: str) -> None:
    """A form with a file, and a body that is read while it arrives."""
    httpx, app, reports = extra("httpx"), FastAPI(), []
    extra("python_multipart")

    @app.post("/file")
    async def file(file: UploadFile = File()) -> None:  # noqa: B008, FAST002  # as its guides have it
        source = {"file": csv, "its file": lambda it: csv(it.file), "excel": excel}[of](file)
        async with world.client() as client:
            reports.append(await client.import_contacts(source, lists=ADD))

    @app.post("/stream")
    async def stream(request: Request) -> None:
        async with world.client() as client:
            reports.append(await client.import_contacts(csv(request.stream()), lists=ADD))

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as session:
        if of == "stream":
            answer = await session.post("/stream", content=CSV)
        else:
            answer = await session.post("/file", files={"file": ("a", SHEET if of == "excel" else CSV)})
    assert answer.status_code == 200
    assert balanced(reports[0]).accepted == 2
    assert {who: dict(contact.properties) for who, contact in world.emulator.contacts.items()} == ARRIVES


@pytest.mark.real_time
@pytest.mark.parametrize("how", ["awaited", "blocking"])
@pytest.mark.parametrize("form", ["csv", "text"])
async def test_copies_of_postgresql(world: World, postgres: Postgres, how: str, form: str) -> None:
    """COPY gives a buffer for each row; its text has escapes and nulls of its own."""
    query = "select * from (values ('ann@example.org','Graz',7),('bob@example.org','Wien, \"1010\"',8)) as t(email,city,age)"
    statement = f"copy ({query}) to stdout ({'format csv, header' if form == 'csv' else 'header'})"
    said = {} if form == "csv" else {"delimiter": "\t", "escape": "\\", "null": "\\N"}
    url = postgres.url(postgres.create_database()).replace("+psycopg", "")
    async with world.client() as client:
        if how == "awaited":
            connection = await psycopg.AsyncConnection.connect(url)
            async with connection, connection.cursor() as cursor, cursor.copy(statement) as copy:
                report = await client.import_contacts(csv(copy, **said), lists=ADD)
        else:
            with psycopg.connect(url) as connection_, connection_.cursor() as cursor_, cursor_.copy(statement) as copy_:
                report = await client.import_contacts(csv(copy_, **said), lists=ADD)
    assert report.ok
    assert {who: dict(contact.properties) for who, contact in world.emulator.contacts.items()} == ARRIVES


# Tables in pieces


def sql_chunks(folder: Path) -> Any:
    connection = opened(closing(sqlite3.connect(":memory:")))
    pandas = extra("pandas")
    pandas.DataFrame(ROWS).to_sql("people", connection, index=False)
    return pandas.read_sql("select * from people", connection, chunksize=1)


def mixed() -> Any:
    frame = extra("pandas").DataFrame(ROWS)
    frame["internal"] = ["x", 7]
    return frame


def twice() -> Any:
    pandas = extra("pandas")
    return pandas.concat(
        [pandas.DataFrame(ROWS), pandas.DataFrame({"x": [1, 2]}), pandas.DataFrame({"x": [1, 2]})], axis=1
    )


def unnamed() -> Any:
    frame = extra("pandas").DataFrame(ROWS)
    frame[""] = [1, 2]
    return frame


def duck(statement: str = "select * from people") -> Any:
    connection = opened(extra("duckdb").connect())
    connection.register("people", pa.Table.from_pylist(ROWS))
    return connection.sql(statement)


PICK = {"columns": ["email", "city", "age"]}
TABLES: Mapping[str, Any] = {
    "pandas: chunks of CSV": lambda folder: opened(extra("pandas").read_csv(written(folder, "a.csv"), chunksize=1)),
    "pandas: chunks of a query": sql_chunks,
    "pandas: a list of frames": lambda folder: [extra("pandas").DataFrame([row]) for row in ROWS],
    "pandas: frames in a thread": lambda folder: mjbulk.in_thread(iter([extra("pandas").DataFrame(ROWS)])),
    "pandas: mixed types that are not picked": Case(lambda folder: mixed(), how=PICK),
    "pandas: a name that is there twice and not picked": Case(lambda folder: twice(), how=PICK),
    "pandas: no name, not picked": Case(lambda folder: unnamed(), how=PICK),
    "polars: slices": lambda folder: extra("polars").DataFrame(ROWS).iter_slices(1),
    "polars: batches of CSV": lambda folder: extra("polars").scan_csv(written(folder, "a.csv")).collect_batches(),
    "polars: partitions": lambda folder: extra("polars").DataFrame(ROWS).partition_by("email"),
    "polars: numbers of 128 bits that are not picked": Case(
        lambda folder: extra("polars").DataFrame(ROWS).with_columns(big=extra("polars").lit(2**100, dtype=extra("polars").Int128)),
        how=PICK,
    ),
    "polars: objects that are not picked": Case(
        lambda folder: extra("polars").DataFrame(ROWS).with_columns(o=extra("polars").Series([{1}, {2}], dtype=extra("polars").Object)),
        how=PICK,
    ),
    "DuckDB: a relation": lambda folder: duck(),
    "DuckDB: batches": lambda folder: duck().to_arrow_reader(1),
    "DuckDB: a name that is there twice and not picked": Case(
        lambda folder: duck("select *, 1 as x, 2 as x from people"), how=PICK
    ),
    "DuckDB: numbers of 128 bits that are not picked": Case(
        lambda folder: duck("select *, 2::hugeint ** 100 as big from people"), how=PICK
    ),
    "pyarrow: a scanner": lambda folder: _dataset(folder).scanner().to_batches(),
    "pyarrow: a reader of CSV": lambda folder: extra("pyarrow.csv").open_csv(written(folder, "a.csv")),
    "pyarrow: a dataset's reader": lambda folder: _dataset(folder).scanner().to_reader(),
}  # fmt: skip


def _dataset(folder: Path) -> Any:
    from pyarrow import dataset, parquet

    parquet.write_table(pa.Table.from_pylist(ROWS), folder / "a.parquet")
    return dataset.dataset(folder / "a.parquet")


@cases(TABLES)
async def test_tables_of_libraries(world: World, case: Case, tmp_path: Path) -> None:
    """Whole or in pieces; what is not picked does not count."""
    await check(world, case, tmp_path)


async def test_a_failing_query_is_named_by_its_library(world: World) -> None:
    """The words of DuckDB are the cause; a relation is a query, of which a plan tells."""
    relation = duck("select email, city::int as city from people")
    async with world.client() as client:
        with pytest.raises(mjbulk.Error) as caught:
            await client.import_contacts(relation, lists=ADD)
        assert "Graz" not in str(caught.value)
        plan = await client.plan_import(duck(), lists=ADD)
    assert plan.rows == 2
    assert [finding.code for finding in plan.findings] == ["source.query"]


async def test_readers_that_were_read_before_say_so(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """They give nothing, without an error: the report, the log and a plan say it."""
    reader = duck().to_arrow_reader()
    reader.read_all()
    async with world.client() as client:
        report = await client.import_contacts(reader, lists=ADD)
        plan = await client.plan_import([], lists=ADD)
    assert report.rows == 0
    assert "had no rows: was it read before?" in str(report)
    assert [record.getMessage() for record in caplog.records].count("the source had no rows: was it read before?") == 2
    assert [finding.code for finding in plan.findings] == ["source.empty"]


# Spreadsheets

TYPES = {"zip": "str", "vip": "bool", "rate": "float", "born": "datetime", "shop": "str", "seen": "str"}
VALUES = {"zip": "01234", "age": 30, "vip": True, "rate": 0.5, "born": "1985-12-31T00:00:00Z", "shop": "x"}
GAPS = {"zip": "75001", "shop": "7"}


def workbook(**how: Any) -> bytes:
    """Make a workbook with values of many kinds on its second sheet."""
    book = extra("openpyxl").Workbook()
    sheet = book.create_sheet("People")
    sheet.append(["email", *TYPES, "age"])
    sheet.append(["ann@example.org", "01234", True, 0.5, dt.date(1985, 12, 31), "x", None, 30])
    sheet.append(["bob@example.org", 75001, None, None, None, 7, None, None])
    file = io.BytesIO()
    book.save(file)
    book.close()
    return file.getvalue()


def old(folder: Path) -> Any:
    book = extra("xlwt").Workbook()
    sheet = book.add_sheet("People")
    for number, row in enumerate([list(ROWS[0]), *map(dict.values, ROWS)]):
        for at, value in enumerate(row):
            sheet.write(number, at, value)
    book.save(folder / "a.xls")
    return folder / "a.xls"


def open_document(folder: Path) -> Any:
    opendocument, table, text = (extra(f"odf.{name}") for name in ("opendocument", "table", "text"))

    book = opendocument.OpenDocumentSpreadsheet()
    sheet = table.Table(name="People")
    for row in [list(ROWS[0]), *map(dict.values, ROWS)]:
        line = table.TableRow()
        for value in row:
            kind = {"valuetype": "float", "value": value} if isinstance(value, int) else {"valuetype": "string"}
            cell = table.TableCell(**kind)
            cell.addElement(text.P(text=str(value)))
            line.addElement(cell)
        sheet.addElement(line)
    book.spreadsheet.addElement(sheet)
    book.save(folder / "a.ods")
    return folder / "a.ods"


def in_zip(folder: Path) -> Any:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("people.xlsx", SHEET)
    return excel(opened(opened(zipfile.ZipFile(folder / "a.zip")).open("people.xlsx")))


BOOK: Mapping[str, Mapping[str, Any]] = {"ann@example.org": VALUES, "bob@example.org": GAPS}
SHEETS: Mapping[str, Any] = {
    "openpyxl: by name": Case(lambda folder: excel(io.BytesIO(workbook()), sheet="People"), arrives=BOOK),
    "openpyxl: by number": Case(lambda folder: excel(written(folder, "a.xlsx", workbook()), sheet=1), arrives=BOOK),
    "an old one": old,
    "an open document": open_document,
    "of a zip archive": in_zip,
    "an upload of Django": lambda folder: excel(django("SimpleUploadedFile")("a.xlsx", SHEET)),
    "a large upload, by lines": lambda folder: excel(lines(SHEET)),
}


@cases(SHEETS)
async def test_spreadsheets_of_libraries(world: World, case: Case, tmp_path: Path) -> None:
    """Leading zeros, booleans with gaps, dates, and columns of several types."""
    for name, datatype in TYPES.items():
        world.emulator.create_property(name, datatype)
    assert (await check(world, case, tmp_path)).ok


async def test_times_in_a_spreadsheet() -> None:
    """A time of day, and a moment: as Python has them."""
    book = extra("openpyxl").Workbook()
    book.active.append(["email", "opens", "seen"])
    book.active.append(["ann@example.org", dt.time(8, 5), dt.datetime(2026, 11, 27, 12, 30)])  # noqa: DTZ001  # it has no zone
    file = io.BytesIO()
    book.save(file)
    blocks: list[Any] = [block async for batch in excel(io.BytesIO(file.getvalue())).batches() for block in batch]
    assert blocks[-1].rows == [("ann@example.org", dt.time(8, 5), dt.datetime(2026, 11, 27, 12, 30))]  # noqa: DTZ001  # as above


@pytest.mark.parametrize("make", [lambda: extra("polars").LazyFrame(ROWS), lambda: extra("httpx").Response(200)])
def test_what_is_no_source(make: Any) -> None:
    """A frame that was not collected, and a whole response."""
    with pytest.raises(mjbulk.UsageError):
        source_of(make())
