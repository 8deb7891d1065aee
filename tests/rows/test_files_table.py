"""Files, streams, and the ways in which CSV, JSON Lines and spreadsheets are written: what arrives of each.

Each case says what arrives at the emulator, or why the source is refused. Libraries beyond those of the extra ``test``
have a table of their own.
"""

import array
import asyncio
import bz2
import gzip
import io
import lzma
import mmap
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import anyio.streams.memory
import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
import pytest
import requests
import urllib3
from aiohttp import web
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
    sheet_file,
    written,
)
from starlette.datastructures import UploadFile
from starlette.requests import Request
from support import World, balanced

import mjbulk
from mjbulk.rows import packed, spreadsheets

csv: Any = mjbulk.csv_source  # wrong kinds are given too
jsonl: Any = mjbulk.jsonl_source
excel: Any = mjbulk.excel_source


@pytest.fixture(autouse=True)
def _files_are_closed() -> Iterator[None]:
    yield
    close_files()


# Files and streams


def zip_member(folder: Path) -> Any:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("people.csv", CSV)
    return csv(opened(opened(zipfile.ZipFile(folder / "a.zip")).open("people.csv")))


def tar_member(folder: Path) -> Any:
    with tarfile.open(folder / "a.tar", "w") as archive:
        archive.add(written(folder, "people.csv"), "people.csv")
    return csv(opened(tarfile.open(folder / "a.tar")).extractfile("people.csv"))


def spooled(folder: Path) -> Any:
    file = opened(tempfile.SpooledTemporaryFile(max_size=10))
    file.write(CSV)
    file.seek(0)
    return csv(file)


@asynccontextmanager
async def process_output(folder: Path) -> AsyncIterator[Any]:
    path = written(folder, "a.csv")
    script = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: ASYNC220  # it is short
        yield csv(process.stdout)


def mapped(folder: Path) -> Any:
    with written(folder, "a.csv").open("rb") as file:
        return csv(opened(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))


@asynccontextmanager
async def stream_reader(folder: Path) -> AsyncIterator[Any]:
    reader = asyncio.StreamReader()
    reader.feed_data(CSV)
    reader.feed_eof()
    yield csv(reader)


@asynccontextmanager
async def anyio_file(folder: Path) -> AsyncIterator[Any]:
    async with await anyio.open_file(written(folder, "a.csv"), "rb") as file:
        yield csv(file)


@asynccontextmanager
async def anyio_stream(folder: Path) -> AsyncIterator[Any]:
    sender, receiver = anyio.create_memory_object_stream[bytes](100)
    for piece in lines():
        await sender.send(piece)
    await sender.aclose()
    async with receiver:
        yield csv(receiver)


@asynccontextmanager
async def upload(folder: Path) -> AsyncIterator[Any]:
    yield csv(UploadFile(io.BytesIO(CSV), filename="a.csv"))


def starlette_request(folder: Path) -> Any:
    bodies = [{"type": "http.request", "body": piece, "more_body": True} for piece in lines()]
    events = iter([*bodies, {"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        return next(events)

    return csv(Request({"type": "http", "method": "POST", "headers": []}, receive).stream())


def requests_response(folder: Path) -> requests.Response:
    response = requests.Response()
    response.raw = urllib3.HTTPResponse(io.BytesIO(CSV), preload_content=False)
    return response


class Awaited:
    """A reader whose methods do not say that they are awaited, as those of extensions in C and Rust do not."""

    def __init__(self) -> None:
        self._file = io.BytesIO(CSV)

    def read(self, size: int = -1, /) -> Any:
        asyncio.get_running_loop()  # it can be called there alone

        async def piece() -> memoryview:
            return memoryview(self._file.read(size))

        return piece()


class AwaitedAnywhere(Awaited):
    def read(self, size: int = -1, /) -> Any:
        future = asyncio.Future[bytes](loop=self.loop)
        future.set_result(self._file.read(size))
        return future

    loop: asyncio.AbstractEventLoop


@asynccontextmanager
async def awaited_anywhere(folder: Path) -> AsyncIterator[Any]:
    reader = AwaitedAnywhere()
    reader.loop = asyncio.get_running_loop()
    yield csv(reader)


class OnlyWhole:
    """What psycopg's COPY is: its ``read`` takes no size, and it is iterated."""

    async def read(self) -> bytes:
        raise AssertionError

    async def __aiter__(self) -> AsyncIterator[memoryview]:
        for line in lines():
            yield memoryview(line)


FILES: Mapping[str, Any] = {
    "a path": lambda folder: written(folder, "a.csv"),
    "a path as text": lambda folder: str(written(folder, "a.csv")),
    "a path to packed": lambda folder: written(folder, "a.csv.gz", gzip.compress(CSV)),
    "a path of anyio": lambda folder: anyio.Path(written(folder, "a.csv")),
    "csv_source of a path": lambda folder: csv(written(folder, "people.txt")),
    "BytesIO": lambda folder: csv(io.BytesIO(CSV)),
    "an open file": lambda folder: csv(opened(written(folder, "a.csv").open("rb"))),
    "an unbuffered file": lambda folder: csv(opened(written(folder, "a.csv").open("rb", buffering=0))),
    "gzip.open": lambda folder: csv(opened(gzip.open(written(folder, "a.gz", gzip.compress(CSV))))),
    "bz2.open": lambda folder: csv(opened(bz2.open(written(folder, "a.bz2", bz2.compress(CSV))))),
    "lzma.open": lambda folder: csv(opened(lzma.open(written(folder, "a.xz", lzma.compress(CSV))))),
    "a zip member": zip_member,
    "a tar member": tar_member,
    "a spooled file": spooled,
    "a mapped file": mapped,
    "output of a process": process_output,
    "a list of bytes": lambda folder: csv([CSV[:20], CSV[20:]]),
    "lines": lambda folder: csv(lines()),
    "bytearrays": lambda folder: csv([bytearray(CSV)]),
    "memoryviews": lambda folder: csv(memoryview(line) for line in lines()),
    "arrays": lambda folder: csv([array.array("b", CSV)]),
    "awaited bytes": lambda folder: csv(in_pieces(CSV)),
    "awaited lines": lambda folder: csv(in_pieces(CSV, 30)),
    "a stream of asyncio": stream_reader,
    "a file of anyio": anyio_file,
    "a stream of anyio": anyio_stream,
    "an upload of starlette": upload,
    "its file": lambda folder: csv(UploadFile(io.BytesIO(CSV)).file),
    "a body of starlette": starlette_request,
    "a body of requests": lambda folder: csv(requests_response(folder).iter_content(10)),
    "a response of requests": lambda folder: csv(requests_response(folder)),
    "its raw file": lambda folder: csv(requests_response(folder).raw),
    "a response of urllib3": lambda folder: csv(urllib3.HTTPResponse(io.BytesIO(CSV), preload_content=False)),
    "a reader that wants the loop": lambda folder: csv(Awaited()),
    "a reader of futures": awaited_anywhere,
    "what is iterated and read whole": lambda folder: csv(OnlyWhole()),
    "JSON Lines: a path": lambda folder: written(folder, "a.jsonl", JSONL),
    "JSON Lines: an upload": lambda folder: jsonl(UploadFile(io.BytesIO(JSONL))),
    "JSON Lines: awaited bytes": lambda folder: jsonl(in_pieces(JSONL)),
    "JSON Lines: lines": lambda folder: jsonl(lines(JSONL)),
    "JSON Lines: packed bytes": lambda folder: jsonl([gzip.compress(JSONL)]),
}


@cases(FILES)
async def test_whatever_gives_bytes_is_read(world: World, case: Case, tmp_path: Path) -> None:
    """Files of all kinds give the same."""
    await check(world, case, tmp_path)


@pytest.mark.parametrize("of", ["content", "chunks", "part", "response"])
async def test_bodies_of_aiohttp(world: World, of: str) -> None:
    """The body of a request, its chunks, a part of a form, and the body of a response."""
    reports = []

    async def take(request: web.Request) -> web.Response:
        file: Any = request.content
        if of == "part":
            file = await (await request.multipart()).next()
        async with world.client() as client:
            reports.append(
                await client.import_contacts(csv(file.iter_chunked(9) if of == "chunks" else file), lists=ADD)
            )
        return web.Response()

    async def give(request: web.Request) -> web.Response:
        return web.Response(body=CSV)

    app = web.Application()
    app.add_routes([web.post("/", take), web.get("/", give)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        async with aiohttp.ClientSession() as session:
            if of == "response":
                async with session.get(url) as response, world.client() as client:
                    reports.append(await client.import_contacts(csv(response.content), lists=ADD))
            else:
                async with session.post(url, data={"file": io.BytesIO(CSV)} if of == "part" else CSV) as answer:
                    assert answer.status == 200
    finally:
        await runner.cleanup()
    assert balanced(reports[0]).accepted == 2
    assert {who: dict(contact.properties) for who, contact in world.emulator.contacts.items()} == ARRIVES


# How CSV is written


def text(data: str | bytes, *, encoding: str = "utf-8", size: int = 10**6, **how: Any) -> Callable[[Path], Any]:
    """Make a source of CSV in pieces of a size."""
    content = data if isinstance(data, bytes) else data.encode(encoding)
    return lambda folder: csv(in_pieces(content, size), encoding=encoding, **how)


PLAIN = CSV.decode()
SEMICOLONS = 'email;city;age\nann@example.org;Graz;7\nbob@example.org;Wien, ""1010"";8\n'.replace('""', '"')
TABS = SEMICOLONS.replace(";", "\t")
NOTES = 'Export of 27 November\nby O"Brien, 2 rows\n'
MYSQL = 'email\tcity\tage\nann@example.org\tGraz\t7\nbob@example.org\tWien, \\"1010\\"\t8\n'
FORMS: Mapping[str, Any] = {
    "commas": text(PLAIN),
    "semicolons": text(SEMICOLONS, delimiter=";"),
    "sep=;": text(f"sep=;\r\n{SEMICOLONS}"),
    "sep=; in quotes": text(f'"sep=;"\n{SEMICOLONS}'),
    "SEP=;, cut anywhere": text(f"\ufeffSEP=;\r\n{SEMICOLONS}", size=1),
    "sep= and a tab": text(f"sep=\t\n{TABS}"),
    "sep=, though it is said otherwise": text(f"sep=,\n{PLAIN}", delimiter=";"),
    "sep= and notes": text(f"sep=;\n{NOTES}{SEMICOLONS}", header_row=4),
    "tabs": text(TABS, delimiter="\t"),
    "a mark of UTF-8": text("\ufeff" + PLAIN),
    "UTF-16": text(PLAIN, encoding="utf-16"),
    "UTF-16 without its mark": text(PLAIN, encoding="utf-16-le"),
    "UTF-16 with a mark that is read": text("\ufeff" + PLAIN, encoding="utf-16-le"),
    "CR LF": text(PLAIN.replace("\n", "\r\n")),
    "CR": text(PLAIN.replace("\n", "\r")),
    "CR, cut anywhere": text(PLAIN.replace("\n", "\r"), size=1),
    "CR LF, cut anywhere": text(PLAIN.replace("\n", "\r\n"), size=1),
    "CR and no last line end": text(PLAIN.replace("\n", "\r").rstrip()),
    "blank lines": text("\n\n" + PLAIN.replace("\n", "\n\n")),
    "no last line end": text(PLAIN.rstrip()),
    "Ctrl-Z": text(PLAIN + "\x1a"),
    "Ctrl-Z on a line": text(PLAIN + "\x1a\r\n"),
    "Ctrl-Z behind a row": text(PLAIN.rstrip() + "\x1a"),
    "Ctrl-Z, cut anywhere": text(PLAIN + "\x1a\x1a", size=1),
    "the end of COPY": text(PLAIN + "\\.\n"),
    "the end of COPY, cut anywhere": text(PLAIN + "\\.\n", size=1),
    "NULs at the end": text(PLAIN + "\0" * 3_000, size=1_000),
    "NULs behind a row": text(PLAIN.rstrip() + "\0" * 100),
    "notes": text(NOTES + PLAIN, header_row=3),
    "notes, cut anywhere": text(NOTES + PLAIN, header_row=3, size=1),
    "notes in CR": text((NOTES + PLAIN).replace("\n", "\r"), header_row=3),
    "a blank line of notes": text("notes\n\n" + PLAIN, header_row=3),
    "names with blanks": text(PLAIN.replace("email,city,age", " Email , City,AGE ")),
    "all in quotes": text('"email","city","age"\n"ann@example.org","Graz","7"\n"bob@example.org","Wien, ""1010""","8"\n'),
    "commas behind all": text(PLAIN.replace("\n", ",,\n")),
    "commas behind rows": text("email,city,age\n" + PLAIN.partition("\n")[2].replace("\n", ",\n")),
    "commas behind the header": text(PLAIN.replace("age\n", "age,,\n")),
    "an empty column without a name": text('email,,city,age\nann@example.org,,Graz,7\nbob@example.org,,"Wien, ""1010""",8\n'),
    "MySQL": text(MYSQL, delimiter="\t", escape="\\", null="\\N"),
    "MySQL, cut anywhere": text(MYSQL, delimiter="\t", escape="\\", null="\\N", size=1),
    "MySQL with quotes": text(
        'email,city,age\n"ann@example.org","Graz",7\n"bob@example.org","Wien, \\"1010\\"",8\n', escape="\\"
    ),
    "PostgreSQL's text and its end": text(MYSQL + "\\.\n", delimiter="\t", escape="\\", null="\\N"),
    "PostgreSQL's text": text(MYSQL.replace('\\"', '"'), delimiter="\t", escape="\\", null="\\N"),
    "quotes within a cell": Case(
        text('email,city,age\nann@example.org,5" disk,7\n'), arrives={"ann@example.org": {"city": '5" disk', "age": 7}}
    ),
    "nulls of MySQL": Case(
        text("email\tcity\tage\nann@example.org\t\\N\t7\nbob@example.org\tN\t\\N\n", delimiter="\t", escape="\\", null="\\N"),
        arrives={"ann@example.org": {"age": 7}, "bob@example.org": {"city": "N"}},
    ),
    "nulls without escapes": Case(
        text("email,city,age\nann@example.org,NULL,7\nbob@example.org,Null,NULL\n", null="NULL"),
        arrives={"ann@example.org": {"age": 7}, "bob@example.org": {"city": "Null"}},
    ),
    "escaped letters": Case(
        text("email,city\nann@example.org,a\\tb\\\\c\\,d\\xe\\é\\ф\\☃\n", escape="\\"),
        arrives={"ann@example.org": {"city": "a\tb\\c,dxeéф☃"}},
    ),
    "an escaped line end": Case(
        text("email;city\nann@example.org;two\\\nlines\n", escape="\\", delimiter=";"),
        arrives={"ann@example.org": {"city": "two\nlines"}},
    ),
    "an escape at the end": Case(
        text("email,city\nann@example.org,Graz\\", escape="\\"), arrives={"ann@example.org": {"city": "Graz\\"}}
    ),
    "another name": Case(
        text("E-mail ,city,age,internal,internal\nann@example.org,Graz,7,x,y\n"),
        arrives={"ann@example.org": {"city": "Graz", "age": 7}},
        how={"columns": {"E-mail": "email", "city ": "city", "age": "age"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("via", ["json", "csv"])
@cases(FORMS)
async def test_csv_is_read_however_it_is_written(world: World, case: Case, via: str, tmp_path: Path) -> None:
    """The same arrives on either way: no end mark is a row, and no record is sent that a strict reader joins."""
    report = await check(world, case, tmp_path, via=via)
    assert report.ok


# How JSON Lines are written

LINES: Mapping[str, Any] = {
    "lines": lambda folder: jsonl([JSONL]),
    "a mark of UTF-8": lambda folder: jsonl([b"\xef\xbb\xbf" + JSONL]),
    "CR LF": lambda folder: jsonl([JSONL.replace(b"\n", b"\r\n")]),
    "CR": lambda folder: jsonl([JSONL.replace(b"\n", b"\r")]),
    "Ctrl-Z": lambda folder: jsonl([JSONL.rstrip() + b"\x1a"]),
    "NULs at the end": lambda folder: jsonl(in_pieces(JSONL + b"\0" * 50)),
    "a large number": Case(
        lambda folder: jsonl([b'{"email":"ann@example.org","city":18446744073709551616}\n']),
        arrives={"ann@example.org": {"city": "18446744073709551616"}},
    ),
    "a large number and a float": Case(
        lambda folder: jsonl([b'{"email":"ann@example.org","city":123456789012345678901234567890,"age":7}\n']),
        arrives={"ann@example.org": {"city": "123456789012345678901234567890", "age": 7}},
    ),
}


@cases(LINES)
async def test_json_lines_are_read_however_they_are_written(world: World, case: Case, tmp_path: Path) -> None:
    """Numbers stay exact."""
    assert (await check(world, case, tmp_path)).ok


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"email":"ann@example.org","age":NaN}', "the line is no JSON: NaN is none"),
        (b'{"email":"ann@example.org","city":"\\ud83d"}', "the line has half of a character (a surrogate) in it"),
        (b'{"email":"ann@example.org","\\uDC00":1}', "the line has half of a character (a surrogate) in it"),
        (b'{"email":"ann@example.org","city":"\\ud83d', "the line is no JSON"),
        (b'{"email":"ann@example.org","age": -Infinity }', "the line is no JSON: -Infinity is none"),
        (b'{"email":"ann@example.org","city":"NaN","age":}', "the line is no JSON"),
        (b'{"email":"ann@example.org","age":' + b"1" * 5_000 + b"}", "the line is no JSON"),
    ],
)
async def test_lines_that_are_no_json_say_why(world: World, line: bytes, why: str) -> None:
    """They cost their own number."""
    async with world.client() as client:
        report = balanced(await client.import_contacts(jsonl([JSONL, line]), lists=ADD))
    (rejection,) = report.rejections
    assert (report.accepted, rejection.row) == (2, 3)
    assert rejection.message.startswith(why)


# Tables in pieces


class Batch:
    """What has one interface of Arrow alone."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._batch = pa.RecordBatch.from_pylist(rows)

    def __arrow_c_array__(self, requested_schema: object = None) -> Any:
        return self._batch.__arrow_c_array__(requested_schema)


async def awaited(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


def later(*items: Any) -> Iterator[Any]:
    yield from items


PIECES = [pa.Table.from_pylist(ROWS[:1]), pa.Table.from_pylist(ROWS[1:])]


def parquet_batches(folder: Path) -> Any:
    from pyarrow import parquet  # only this case needs it

    parquet.write_table(pa.concat_tables(PIECES), folder / "a.parquet")
    return opened(parquet.ParquetFile(folder / "a.parquet")).iter_batches(1)


TABLES: Mapping[str, Any] = {
    "Parquet in batches": parquet_batches,
    "a list of tables": lambda folder: PIECES,
    "tables one after the other": lambda folder: later(*PIECES),
    "tables that are awaited": lambda folder: awaited(*PIECES),
    "tables in a thread": lambda folder: mjbulk.in_thread(later(*PIECES)),
    "record batches": lambda folder: pa.concat_tables(PIECES).to_batches(),
    "a batch": lambda folder: Batch(ROWS),
    "batches": lambda folder: [Batch(ROWS[:1]), Batch(ROWS[1:])],
    "an array of structs": lambda folder: pa.array(ROWS),
    "an empty table, and others": lambda folder: [PIECES[0].slice(0, 0), *PIECES],
    "tables and rows": lambda folder: [PIECES[0], ROWS[1]],
    "twice the same column": Case(
        lambda folder: pa.concat_tables(PIECES).append_column("more", [[1, 2]]).append_column("more", [[1, 2]]),
        how={"columns": ["email", "city", "age"]},
    ),
}


@cases(TABLES)
async def test_tables_come_whole_or_in_pieces(world: World, case: Case, tmp_path: Path) -> None:
    """Rows are numbered through all pieces."""
    assert (await check(world, case, tmp_path)).rows == 2


@pytest.mark.parametrize("of", [lambda: Batch(ROWS), lambda: [PIECES[0]], lambda: [pa.array(["ann@example.org"])]])
async def test_pieces_as_addresses(world: World, of: Callable[[], Any]) -> None:
    """Arrays of one column are addresses."""
    async with world.client() as client:
        await client.exclude_contacts(of())
    assert world.emulator.contacts["ann@example.org"].excluded


class Broken:
    """A table whose database has closed the connection."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        raise self._failure


class BrokenBatch:
    def __arrow_c_array__(self, requested_schema: object = None) -> Any:
        raise OSError("no such column: town")


@pytest.mark.parametrize("table", [Broken(LookupError("no such column: town")), [BrokenBatch()]])
async def test_a_failing_query_keeps_the_words_of_its_library(world: World, table: Any) -> None:
    """As the cause of the error, which has none of them."""
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError, match="the words of its library are the cause") as caught:
            await client.import_contacts(table, lists=ADD)
    assert str(caught.value.__cause__) in ("'no such column: town'", "no such column: town")
    assert "town" not in str(caught.value)


# Spreadsheets


def async_file(data: bytes) -> Any:
    return UploadFile(io.BytesIO(data), filename="a.xlsx")


SHEETS: Mapping[str, Any] = {
    "a path": lambda folder: written(folder, "a.xlsx", SHEET),
    "a path as text": lambda folder: str(written(folder, "A.XLSX", SHEET)),
    "excel_source of a path": lambda folder: excel(written(folder, "a.bin", SHEET)),
    "an open file": lambda folder: excel(opened(written(folder, "a.xlsx", SHEET).open("rb"))),
    "BytesIO": lambda folder: excel(io.BytesIO(SHEET)),
    "an upload": lambda folder: excel(async_file(SHEET)),
    "bytes in pieces": lambda folder: excel(in_pieces(SHEET, 100)),
    "by its name": lambda folder: excel(io.BytesIO(SHEET), sheet="People"),
    "empty rows and columns": lambda folder: excel(
        io.BytesIO(sheet_file([[], [*ROWS[0], None, ""], [], *([*row.values(), None] for row in ROWS), [None] * 3]))
    ),
    "numbers as they are meant": Case(
        lambda folder: excel(
            io.BytesIO(
                sheet_file(
                    [
                        ["email", "zip", "phone", "age", "vip", "rate"],
                        ["ann@example.org", "01234", 33612345678.0, 30.0, True, 0.1],
                        ["bob@example.org", 75001, "+43 1", None, None, 2.0],
                        ["cyd@example.org", 75001.0, 1e15, 2.0, False, 1e16],
                    ]
                )
            )
        ),
        arrives={
            "ann@example.org": {"zip": "01234", "phone": "33612345678", "age": 30, "vip": True, "rate": 0.1},
            "bob@example.org": {"zip": "75001", "phone": "+43 1", "rate": 2.0},
            "cyd@example.org": {"zip": "75001", "phone": "1000000000000000", "age": 2, "vip": False, "rate": 1e16},
        },
    ),
}


@cases(SHEETS)
async def test_spreadsheets(world: World, case: Case, tmp_path: Path) -> None:
    """Numbers that are whole are whole numbers, texts keep their zeros, and an empty cell is a null."""
    for name, datatype in {"zip": "str", "phone": "str", "vip": "bool", "rate": "float"}.items():
        world.emulator.create_property(name, datatype)
    assert (await check(world, case, tmp_path)).ok


def bomb() -> bytes:
    """Make a small file that unpacks to a large one, and lies about it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"0" * 2**22)
    data = bytearray(file.getvalue())
    for mark, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.index(mark) + at
        data[place : place + 4] = (100).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize("data", [bomb, lambda: b"x" * 2**22, lambda: sheet_file([["x" * 2**22]])])
@pytest.mark.parametrize("how", ["path", "upload"])
async def test_a_spreadsheet_is_bounded_unpacked(
    world: World, data: Callable[[], bytes], how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says of its own size does not count."""
    monkeypatch.setattr(spreadsheets, "MAX_BYTES", 2**20)
    source = excel(written(tmp_path, "a.xlsx", data()) if how == "path" else async_file(data()))
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError, match="larger than 1 MiB, unpacked"):
            await client.import_contacts(source, lists=ADD)


# What is no source, and what helps


class Frame:
    """A frame of an engine that does not speak Arrow: iterating it gives the names of its columns."""

    dtypes: Any = ()

    def __iter__(self) -> Iterator[str]:
        return iter(ROWS[0])


class DaskFrame(Frame):
    def compute(self) -> None: ...


class ModinFrame(Frame):
    def _to_pandas(self) -> None: ...


class SparkFrame(Frame):
    def toArrow(self) -> None: ...  # noqa: N802  # its name


class Response:
    """What the responses of httpx and aiohttp are."""

    def read(self) -> bytes:
        raise AssertionError


HEAD = 50
WRONG: Mapping[str, tuple[Callable[[Path], Any], str]] = {
    "an open file": (lambda folder: opened(written(folder, "a.csv").open("rb")), "is an open file: say what is in it: csv_source"),
    "an open text file": (lambda folder: opened(written(folder, "a.csv").open()), "is an open file"),
    "an upload": (lambda folder: async_file(CSV), "a UploadFile is an open file"),
    "a file in a thread": (lambda folder: mjbulk.in_thread(opened(written(folder, "a.csv").open("rb"))), "is an open file"),
    "a stream of aiohttp": (lambda folder: object.__new__(aiohttp.StreamReader), "a StreamReader is an open file"),
    "lines of bytes": (lambda folder: lines(), "the source gives bytes, as a file does"),
    "awaited bytes": (lambda folder: in_pieces(CSV), "the source gives bytes, as a file does"),
    "lines of text": (lambda folder: PLAIN.splitlines(), "the source gives lines of text"),
    "lines of text with their ends": (lambda folder: iter(["ann@example.org\n"]), "the source gives lines of text"),
    "awaited lines": (lambda folder: awaited("email", "ann@example.org"), "the source gives lines of text"),
    "lines of JSON": (lambda folder: JSONL.decode().splitlines(), "the source gives lines of text"),
    "bytes": (lambda folder: CSV, "a bytes is no source of rows"),
    "bytes as a file": (lambda folder: csv(CSV), "the bytes of a file: give io.BytesIO"),
    "the text of CSV": (lambda folder: PLAIN, "the text of a file and not its path"),
    "the text of CSV as a file": (lambda folder: csv(PLAIN), "the text of a file and not its path"),
    "a long text": (lambda folder: csv("email," * 1_000), "the text of a file and not its path"),
    "a longer name than files have": (lambda folder: csv("email," * 100), "cannot be opened: File name too long"),
    "a path with a NUL": (lambda folder: "people\0.csv", "the text of a file and not its path"),
    "an address of the web": (lambda folder: "https://example.org/people.csv", "a URL is not a path"),
    "an address of a store": (lambda folder: csv("s3://bucket/people.csv"), "a URL is not a path"),
    "a folder": (csv, "cannot be opened: Is a directory"),
    "a text file": (lambda folder: csv(io.StringIO(PLAIN)), "does not give bytes: open it with 'rb'"),
    "a file opened for text": (lambda folder: csv(opened(written(folder, "a.csv").open())), "does not give bytes"),
    "a list of texts": (lambda folder: csv(PLAIN.splitlines()), "gives str, not bytes"),
    "awaited texts": (lambda folder: csv(awaited(PLAIN)), "gives str, not bytes"),
    "bytes of another library": (lambda folder: csv(array.array("B", CSV)), "the bytes of a file: give io.BytesIO"),
    "a path in an archive": (lambda folder: csv(zipfile.Path(io.BytesIO(zipped()), "people.csv")), r"what its open\('rb'\) gives"),
    "an archive that is open": (lambda folder: csv(zipfile.ZipFile(io.BytesIO(zipped()))), r"what its open\(\) gives for one"),
    "a tar archive": (lambda folder: csv([tarred()]), r"a tar archive: open a member, as tarfile's extractfile\(\)"),
    "a packed tar archive": (lambda folder: csv([gzip.compress(tarred())]), "a tar archive"),
    "the text of one line": (lambda folder: "Ann Smith,+43 664", "a path without an ending is not known: use csv_source"),
    "an address": (lambda folder: "ann@localhost", "a path without an ending is not known"),
    "a JSON object": (lambda folder: '{"email": "ann@example.org"}', "a path without an ending is not known"),
    "an ending that is not known": (lambda folder: "people.tsv", r"a file named \*\.tsv is not known"),
    "a dict as a file": (lambda folder: csv(ROWS[0]), "a dict is no file"),
    "a response": (lambda folder: csv(Response()), "gives its bytes only as a whole"),
    "a frame of dask": (lambda folder: DaskFrame(), r"does not give them to Arrow; give \.compute\(\)"),
    "a frame of modin": (lambda folder: ModinFrame(), r"give \._to_pandas\(\)"),
    "a frame of Spark": (lambda folder: SparkFrame(), r"give \.toArrow\(\)"),
    "an old frame": (lambda folder: Frame(), "a newer version of its library has it"),
    "a zip archive": (lambda folder: csv([zipped()]), "the file is a zip archive, as .xlsx files are: excel_source"),
    "a spreadsheet as CSV": (lambda folder: csv([SHEET]), r"excel_source\(\) reads spreadsheets"),
    "a spreadsheet as JSON Lines": (lambda folder: jsonl(in_pieces(SHEET, 1)), r"excel_source\(\) reads spreadsheets"),
    "a spreadsheet under another name": (lambda folder: written(folder, "a.csv", SHEET), r"excel_source\(\)"),
    "an old spreadsheet": (lambda folder: csv([b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(HEAD)]), "older Office"),
    "an empty zip archive": (lambda folder: csv([b"PK\x05\x06" + bytes(18)]), "an empty zip archive"),
    "bzip2": (lambda folder: csv([bz2.compress(CSV)]), r"packed with bzip2: open it with Python's bz2\.open"),
    "xz": (lambda folder: csv([lzma.compress(CSV)]), r"packed with xz: open it with Python's lzma\.open"),
    "zstandard": (lambda folder: csv([b"\x28\xb5\x2f\xfd" + bytes(HEAD)]), "packed with zstandard"),
    "7z": (lambda folder: csv([b"7z\xbc\xaf\x27\x1c" + bytes(HEAD)]), "a 7z archive"),
    "RAR": (lambda folder: jsonl([b"Rar!\x1a\x07" + bytes(HEAD)]), "a RAR archive"),
    "Parquet": (lambda folder: csv([b"PAR1" + bytes(HEAD)]), "a Parquet file: give its path"),
    "Arrow": (lambda folder: csv([b"ARROW1" + bytes(HEAD)]), "an Arrow file"),
    "SQLite": (lambda folder: csv([b"SQLite format 3\0" + bytes(HEAD)]), "a SQLite database"),
    "PDF": (lambda folder: csv([b"%PDF-1.7"]), "a PDF"),
    "a zip archive by its name": (lambda folder: written(folder, "a.zip", SHEET), "not known: open a member"),
    "a JSON array": (lambda folder: jsonl([b'\n[{"email":"ann@example.org"}]']), r"a JSON array.*jq -c '\.\[\]'"),
    "a JSON array over lines": (lambda folder: jsonl([b'[\n{"email":"ann@example.org"}\n]\n']), "a JSON array"),
    "an object over lines": (lambda folder: jsonl([b'{\n"email":"ann@example.org"}']), r"several lines.*jq -c \."),
    "no spreadsheet": (lambda folder: excel(io.BytesIO(bytes(range(200)))), "no spreadsheet, or is damaged"),
    "a text as a spreadsheet": (lambda folder: written(folder, "a.xls", CSV), r"is a text, and no spreadsheet.*csv_source\(\)"),
    "a web page as a spreadsheet": (lambda folder: excel(io.BytesIO(b"<html>\n<table>")), "is a text, and no spreadsheet"),
    "a spreadsheet that was read": (lambda folder: excel(read_before(SHEET)), r"is empty: was it read before\?"),
    "an empty spreadsheet": (lambda folder: written(folder, "a.xlsx", b""), "the file is empty; nothing was sent"),
    "notes before the header of a sheet": (
        lambda folder: excel(io.BytesIO(sheet_file([["Export", ""], ["email", "city"]]))),
        "but 'Export', '': .*the names have to stand in the first row",
    ),
    "a zip archive as a spreadsheet": (lambda folder: excel(io.BytesIO(zipped())), "no spreadsheet, or is damaged"),
    "a cut spreadsheet": (lambda folder: excel(io.BytesIO(SHEET[:-100])), "no spreadsheet, or is damaged"),
    "a damaged spreadsheet": (lambda folder: excel(io.BytesIO(damaged())), "no spreadsheet, or is damaged"),
    "a spreadsheet that is missing": (lambda folder: folder / "a.xlsx", "cannot be opened: No such file"),
    "no such sheet": (lambda folder: excel(io.BytesIO(SHEET), sheet="persons"), "no sheet 'persons': it has 'People'"),
    "no such number of a sheet": (lambda folder: excel(io.BytesIO(SHEET), sheet=1), "no sheet 1: it has 'People'"),
    "a sheet that is none": (lambda folder: excel(io.BytesIO(SHEET), sheet=None), "sheet= is the name of a sheet"),
    "an empty sheet": (lambda folder: excel(io.BytesIO(sheet_file([]))), "the sheet is empty"),
    "header_row= that is none": (lambda folder: csv(io.BytesIO(), header_row=0), "header_row= is the number of a line"),
    "header_row= behind the end": (text(PLAIN, header_row=9), "no record in line 9, where header_row= says"),
    "header_row= behind the end, cut": (text(PLAIN, header_row=9, size=1), "no record in line 9, where"),
    "null= that is none": (lambda folder: csv(io.BytesIO(), null=0), "null= is the text of a cell"),
    "escape= that is none": (lambda folder: csv(io.BytesIO(), escape="\\\\"), "escape= is one character"),
    "escape= that is the delimiter": (lambda folder: csv(io.BytesIO(), escape=","), "escape= is one character"),
    "a mark of UTF-8 read as letters": (text(("\ufeff" + PLAIN).encode(), encoding="cp1252"), "say encoding='utf-8'"),
    "the same in rows": (lambda folder: [{"ï»¿email": "ann@example.org"}], "encoding='utf-8-sig'"),
    "no address column": (
        text("E-mail,Ort\nann@example.org,Graz\n"),
        r"no column 'email', but 'E-mail', 'Ort': columns=\{'E-mail': 'email', 'Ort': 'Ort'\} takes that; nothing was sent",
    ),
    "no column of that kind": (text("id,Ort\n7,Graz\n"), "but 'id', 'Ort': columns= can name .*; header_row= says"),
    "notes before the header": (text(NOTES + PLAIN), "but 'Export of 27 November': .*header_row= says in which line"),
    "many columns": (text(",".join(f"c{n}" for n in range(20)) + "\n1\n"), "'c7' and 12 more"),
    "rows without an address": (lambda folder: [{"Mail": "ann@example.org"}], r"columns=\{'Mail': 'email'\} takes that;"),
    "semicolons": (text(SEMICOLONS), "one cell with ';' in it: say delimiter=';'"),
    "semicolons, and a comma in a name": (text("email;city, zip\n"), "has ';' in a cell, 'email;city': say delimiter=';'"),
    "tabs": (text(TABS), r"one cell with '\\t' in it: say delimiter="),
    "no header": (text("ann@example.org,Graz\n"), "an address stands where the names of the columns should be"),
    "a column that is missing": (
        lambda folder: Case(text(PLAIN), how={"columns": ["email", "town"]}), "picks 'town'.*; it has 'email', 'city', 'age'",
    ),
    "a column that is missing, without a header": (
        lambda folder: Case(text("x@example.org,Graz\n1,2\n"), how={"columns": ["email"]}), "does not have; nothing was sent",
    ),
    "the index of a frame": (text(",email\n0,ann@example.org\n"), "column 1 has no name, and row 1 .line 2. has a value in it.*index=False"),
    "a column without a name": (text("email,\nann@example.org,x\n"), "column 2 has no name, and row 1 .line 2. has a value in it: name it, or pick others with columns="),
    "a name that is no Unicode": (lambda folder: [{"email": "a@example.org", "\ud800": 1}], "no valid Unicode"),
}  # fmt: skip


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("people.csv", CSV)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("people.csv")
        member.size = len(CSV)
        archive.addfile(member, io.BytesIO(CSV))
    return file.getvalue()


def read_before(data: bytes) -> io.BytesIO:
    file = io.BytesIO(data)
    file.read()
    return file


def damaged() -> bytes:
    data = bytearray(SHEET)
    data[100:140] = b"\xff" * 40
    return bytes(data)


async def take(client: mjbulk.Client, make: Callable[[Path], Any], folder: Path) -> None:
    made = make(folder)
    case = made if isinstance(made, Case) else Case(lambda _: made)
    await client.import_contacts(case.make(folder), lists=ADD, **case.how)


@pytest.mark.parametrize(("make", "why"), WRONG.values(), ids=WRONG)
async def test_what_is_no_source_is_refused_with_what_helps(
    world: World, make: Callable[[Path], Any], why: str, tmp_path: Path
) -> None:
    """In one sentence, before anything is sent, and without any data."""
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError, match=f"(?s){why}") as caught:
            await take(client, make, tmp_path)
    assert "@" not in str(caught.value).replace("(a name with an @ in it)", "")
    assert "Graz" not in str(caught.value)
    assert world.emulator.contacts == {}


# Kinds of files that begin alike


async def test_a_text_may_begin_like_a_file_of_another_kind(world: World) -> None:
    """A name of a column may begin with the first letters of a mark; a short file waits for nothing."""
    assert packed.kind_of_bytes(b"PA,email\n") is None
    async with world.client() as client:
        report = await client.import_contacts(
            csv(in_pieces(b"P,email\n1,ann@example.org\n", 1)), lists=ADD, columns=["email"]
        )
    assert report.ok
