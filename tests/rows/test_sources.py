"""Sources: what can be one, whether it is read again, and where it fails."""

import asyncio
import gc
import gzip
import io
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
import pytest
from carriers import sheet_file
from pyarrow import parquet
from support import World, balanced

import mjbulk
from mjbulk.rows.layout import Layout
from mjbulk.rows.sources import Source, numbered_source, reopen, source_of

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
LINES = [b"email,city\n", *(b"p%d@example.org,Graz\n" % n for n in range(1, 10_001))]
CSV = b"".join(LINES)
JSONL = b"".join(b'{"email":"p%d@example.org","city":"Graz"}\n' % n for n in range(1, 10_001))


async def rows_of(source: Source) -> list[dict[str, Any]]:
    """Give all rows of a source that have no fault."""
    blocks = [block async for batch in source.batches() for block in batch]
    return [dict(zip(block.names, row, strict=True)) for block in blocks for row in block.rows]  # type: ignore[union-attr]


async def test_a_file_is_found_again_by_its_location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The location of a file has all that makes the same source of it, whatever the working directory; a stream has
    none.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_bytes("email;name\na@example.org;Zoë\n".encode("latin-1"))
    (tmp_path / "a.jsonl").write_text('{"email":"a@example.org"}\n')
    sources = [mjbulk.csv_source("a.csv", encoding="latin-1", delimiter=";"), source_of("a.jsonl")]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    locations = [source.location or {} for source in sources]
    assert locations[0] == {
        "kind": "csv", "path": str(tmp_path / "a.csv"), "encoding": "latin-1", "delimiter": ";",
    }  # fmt: skip
    again = [reopen(location) for location in locations]
    assert [source.location for source in again] == locations
    assert await rows_of(again[0]) == [{"email": "a@example.org", "name": "Zoë"}]
    assert await rows_of(again[1]) == [{"email": "a@example.org"}]
    with (tmp_path / "a.csv").open("rb") as file:
        assert mjbulk.csv_source(file).location is None
    assert source_of([]).location is None
    assert source_of("missing.csv").location is None


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.ndjson", "A.JSONL.GZ"])
async def test_files_are_known_by_their_names(name: str, tmp_path: Path) -> None:
    """CSV and JSON Lines, as they are and packed: they give the same rows, and can be read again."""
    content = CSV if ".csv" in name else JSONL
    (tmp_path / name).write_bytes(gzip.compress(content) if name.casefold().endswith(".gz") else content)
    source = source_of(tmp_path / name)
    for _ in range(2):
        rows = await rows_of(source)
        assert (len(rows), rows[-1]) == (10_000, {"email": "p10000@example.org", "city": "Graz"})
    assert await rows_of(reopen(source.location or {})) == rows


@pytest.mark.parametrize(
    ("name", "helps"),
    [
        *((name, "use csv_source() or jsonl_source()") for name in ("a.txt", "a", "a.gz", "a.parquet.gz")),
        ("a.TSV", "use csv_source(path, delimiter='\\t')"),
        ("a.json", "of an array give json.load(), and of one object a line jsonl_source()"),
        ("a.csv.zip", "open a member with zipfile's"),
        ("a.csv.bz2", "open it with bz2.open"),
        ("a.csv.xz", "open it with lzma.open"),
        ("a.csv.zst", "unpack it first"),
    ],
)
def test_other_files_are_refused(name: str, helps: str) -> None:
    """A name that does not say what the file is, or says that it is packed: what helps is in the sentence."""
    with pytest.raises(mjbulk.UsageError, match=re.escape(f"not known: {helps}")):
        source_of(name)


async def test_packed_streams_and_files() -> None:
    """Gzip is known by its first bytes where there is no name."""

    async def stream(content: bytes) -> AsyncIterator[bytes]:
        packed = gzip.compress(content)
        for start in range(0, len(packed), 100):
            yield packed[start : start + 100]

    sources = [mjbulk.csv_source(stream(CSV)), mjbulk.jsonl_source(io.BytesIO(gzip.compress(JSONL)))]
    sources += [mjbulk.jsonl_source(stream(JSONL)), mjbulk.csv_source(io.BytesIO(gzip.compress(CSV)))]
    for source in sources:
        assert len(await rows_of(source)) == 10_000


@pytest.mark.parametrize("rows", [7, None, b"a@example.org", {"email": "a@example.org"}])
def test_what_is_no_source(rows: Any) -> None:
    """What has no rows, and a single row, is refused by its type."""
    with pytest.raises(mjbulk.UsageError, match=f"a {type(rows).__name__} is no source of rows"):
        source_of(rows)


@pytest.mark.parametrize(
    ("rows", "helps"),
    [
        ({"email": "a@example.org"}, r"one row in a list, as in \[row\]; nothing was sent$"),
        ("ann@example.org", r"is not known: an address goes into a list, as in \[address\]; nothing was sent$"),
        ("a" * 5000 + "@example.org", "not"),
    ],
)
def test_what_helps_with_one_row(rows: Any, helps: str) -> None:
    """A single row, and a single address, are told that they go into a list. The address is not repeated."""
    with pytest.raises(mjbulk.UsageError, match=helps) as caught:
        source_of(rows)
    assert "@" not in str(caught.value)


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n"])
def test_delimiters_that_are_none(delimiter: str) -> None:
    """A delimiter is one character that CSV has no other use for."""
    with pytest.raises(mjbulk.UsageError, match="delimiter= is one character"):
        mjbulk.csv_source("a.csv", delimiter=delimiter)


async def test_what_is_read_once_and_what_again() -> None:
    """A list can be read again; an iterator and an open file cannot, and say so at once."""
    rows = [{"email": "a@example.org"}]
    again = source_of(rows)
    assert again.rereadable
    assert [await rows_of(again) for _ in range(2)] == [rows, rows]
    for once in (source_of(iter(rows)), mjbulk.csv_source(io.BytesIO(b"email\na@example.org\n"))):
        assert not once.rereadable
        assert await rows_of(once) == rows
        with pytest.raises(mjbulk.UsageError, match="can be read only once"):
            once.batches()


async def test_a_cursor_may_be_read_in_a_thread(world: World) -> None:
    """What belongs to one thread is made there, by the first row."""

    def rows() -> Iterator[sqlite3.Row]:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.row_factory = sqlite3.Row
            yield from connection.execute("select 'a@example.org' as email union select 'b@example.org'")

    async with world.client() as client:
        report = balanced(await client.import_contacts(mjbulk.in_thread(rows()), lists=ADD))
    assert (report.rows, report.accepted) == (2, 2)


async def test_what_is_read_in_a_thread() -> None:
    """A list can be read again, a generator cannot; a table is read in a thread anyway."""
    source = mjbulk.in_thread([{"email": "a@example.org"}])
    for _ in range(2):
        assert await rows_of(source) == [{"email": "a@example.org"}]
    assert not mjbulk.in_thread(iter([])).rereadable
    assert mjbulk.in_thread(pa.table({"email": ["a@example.org"]})).kind == "table"
    not_iterables: list[Any] = ["a.csv", b"email", {"email": "a@example.org"}, Path("a.csv"), 7]
    for wrong in not_iterables:
        with pytest.raises(mjbulk.UsageError, match=f"an iterable of rows, not a {type(wrong).__name__}"):
            mjbulk.in_thread(wrong)


async def test_rows_with_numbers_are_a_source() -> None:
    """It is read once, and its rows keep their numbers."""
    source = numbered_source([(7, {"email": "a@example.org", "age": 8})], text=True)
    assert (source.text, source.rereadable, repr(source)) == (True, False, "Source(numbered rows)")
    (batch,) = [batch async for batch in source.batches()]
    (block,) = batch
    assert (block.number, block.rows) == (7, [("a@example.org", "8")])  # type: ignore[union-attr]  # no row is bad


# Encodings


async def test_encodings_are_not_guessed() -> None:
    """UTF-8 has its mark or none; what is said of the encoding is followed; what looks like another is refused."""
    text = "email,city\na@example.org,Köln\n"
    for encoding in ("utf-8", "utf-8-sig"):
        assert await rows_of(mjbulk.csv_source(io.BytesIO(text.encode(encoding)))) == [
            {"email": "a@example.org", "city": "Köln"}
        ]
    for encoding in ("utf-16", "utf-16-le", "cp1252", "utf-32"):
        file = io.BytesIO(text.encode(encoding))
        assert len(await rows_of(mjbulk.csv_source(file, encoding=encoding))) == 1
        with pytest.raises(mjbulk.Error, match="say encoding="):
            await rows_of(mjbulk.csv_source(io.BytesIO(text.encode(encoding))))
    without_mark = io.BytesIO("email\na@example.org\n".encode("utf-16-be"))
    with pytest.raises(mjbulk.UsageError, match="NULs in it, as text in UTF-16 has: say encoding="):
        await rows_of(mjbulk.csv_source(without_mark))
    with pytest.raises(mjbulk.UsageError, match="mark of UTF-16: JSON Lines are UTF-8"):
        await rows_of(mjbulk.jsonl_source(io.BytesIO('{"email":"a@example.org"}'.encode("utf-16"))))


@pytest.mark.parametrize("encoding", ["latin-17", "base64", "hex"])
def test_encodings_that_are_none(encoding: str) -> None:
    """An unknown name, and codecs that are no encodings of text."""
    with pytest.raises(mjbulk.UsageError, match="no encoding"):
        mjbulk.csv_source("a.csv", encoding=encoding)


# Failures


async def test_a_source_says_at_which_row_it_failed() -> None:
    """Rows count from 1, and the row that is missing is named; where the source names one, its word stands."""

    def rows(failure: Exception) -> Iterator[str]:
        yield from ["a@example.org"] * 3
        raise failure

    for failure, row in ((LookupError(), 4), (mjbulk.SourceError("it is damaged", row=9), 9)):
        with pytest.raises(mjbulk.SourceError) as caught:
            await rows_of(source_of(rows(failure)))
        assert caught.value.row == row


def failing_rows() -> Iterator[dict[str, str]]:
    for n in range(1, 7_778):
        yield {"email": f"p{n}@example.org"}
    raise LookupError


async def failing_async_rows() -> AsyncIterator[dict[str, str]]:
    for row in failing_rows():
        yield row


async def failing_stream() -> AsyncIterator[bytes]:
    yield b"".join(LINES[:5_000])
    yield b"".join(LINES[5_000:7_778]) + b"p7778@exam"
    raise LookupError


class FailingFile(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        if found := super().read(size):
            return found
        raise LookupError


def bad_encoding() -> bytes:
    return b"".join([*LINES[:7_778], b"p7778@example.org,K\xf6ln\n", *LINES[7_779:]])


def cut_gzip(content: bytes) -> bytes:
    """Cut it where all of the data has come, and its checksum has not."""
    return gzip.compress(content)[:-8]


FAILING: dict[str, tuple[Callable[[], Any], str]] = {
    "an iterator": (failing_rows, "it raised LookupError"),
    "an async iterator": (failing_async_rows, "it raised LookupError"),
    "a stream": (lambda: mjbulk.csv_source(failing_stream()), "it raised LookupError"),
    "a file": (lambda: mjbulk.csv_source(FailingFile(b"".join(LINES[:7_778]) + b"p7")), "it raised LookupError"),
    "JSON Lines": (
        lambda: mjbulk.jsonl_source(FailingFile(b"".join(JSONL.splitlines(keepends=True)[:7_777]) + b'{"em')),
        "it raised LookupError",
    ),
    "gzip": (
        lambda: mjbulk.csv_source(io.BytesIO(cut_gzip(b"".join(LINES[:7_778]) + b"p7"))),
        "its gzip is cut off",
    ),
    "an encoding": (lambda: mjbulk.csv_source(io.BytesIO(bad_encoding())), "this is not utf-8: say encoding="),
}


@pytest.mark.parametrize("kind", FAILING)
async def test_a_source_that_fails_in_the_middle_halts_the_run(world: World, kind: str) -> None:
    """Rows that were sent are in the report, the others are not_sent, and the cause says at which row it failed."""
    make, problem = FAILING[kind]
    async with world.client(chunk_rows=500) as client:
        with pytest.raises(mjbulk.ImportHalted) as caught:
            await client.import_contacts(make(), lists=ADD, create_properties=True)
    report = balanced(caught.value.report)
    cause = caught.value.__cause__
    assert isinstance(cause, mjbulk.SourceError)
    assert (cause.row, cause.sentence, report.halted) == (7_778, problem, cause)
    assert isinstance(cause.__cause__, LookupError) == ("LookupError" in problem)
    assert (report.rows, report.accepted, report.not_sent) == (7_777, 7_500, 277)
    assert len(world.emulator.contacts) == 7_500
    assert [(why.rows, why.cause) for why in report.unsettled] == [((range(7_501, 7_778),), str(cause))]


class Unwilling:
    """An iterable whose iteration cannot begin."""

    def __iter__(self) -> Iterator[dict[str, str]]:
        raise LookupError


class UnwillingAsync:
    """The same, for those who await its rows."""

    def __aiter__(self) -> AsyncIterator[dict[str, str]]:
        raise LookupError


@pytest.mark.parametrize("rows", [Unwilling, UnwillingAsync])
async def test_a_source_that_cannot_begin_halts_the_run(world: World, rows: Callable[[], Any]) -> None:
    """It fails at its first row."""
    async with world.client() as client:
        with pytest.raises(mjbulk.ImportHalted, match="failed at row 1: it raised LookupError"):
            await client.import_contacts(rows(), lists=ADD)


def given_as(how: str, rows: Iterator[dict[str, str]]) -> Any:
    """Give the same addresses as rows, as rows that are awaited, or as bytes of a file."""

    async def async_rows() -> AsyncIterator[dict[str, str]]:
        for row in rows:
            yield row

    async def pieces() -> AsyncIterator[bytes]:
        yield b"email\n"
        for row in rows:
            yield f"{row['email']}\n".encode()

    return {"rows": rows, "async rows": async_rows(), "bytes": mjbulk.csv_source(pieces())}[how]


class Strange(BaseException):
    """What a test runner's time limit is, or another framework's way of stopping a task."""


@pytest.mark.parametrize("size", [3, 700, 1_700])
@pytest.mark.parametrize("how", ["rows", "async rows", "bytes"])
@pytest.mark.parametrize("failure", [asyncio.CancelledError, Strange])
async def test_a_source_that_is_cancelled_does_not_look_whole(
    world: World, failure: type[BaseException], how: str, size: int
) -> None:
    """Something within a source was cancelled, or raised what is no Exception. Rows are missing then, so no report says
    that the import is complete.
    """

    def rows() -> Iterator[dict[str, str]]:
        yield from ({"email": f"p{number}@example.org"} for number in range(size))
        raise failure

    async with world.client() as client:
        run = client.start_import(given_as(how, rows()), lists=ADD)
        with pytest.raises(Strange if failure is Strange else mjbulk.ImportHalted) as caught:
            await run
        if isinstance(caught.value, mjbulk.ImportHalted):
            assert str(size + 1) in str(caught.value)
            assert not balanced(caught.value.report).complete
            assert caught.value.report.rows == size


# Memory


async def test_ever_new_names_do_not_stay_in_memory(world: World) -> None:
    """Of thousands of rows, each with names of its own, none takes memory for good. A picked column counts as found
    where the first row alone has it, and a refused row still has its address.
    """
    layouts = before = 0

    def count() -> int:
        return sum(isinstance(found, Layout) for found in gc.get_objects())

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal layouts, before
        before = count()
        first = {"email": "a@example.org", "town": "Graz", "age": 1}
        yield first
        yield from ({"email": f"p{n}@example.org", f"{n}": 1} for n in range(3_000))
        layouts = count() - before
        yield {**first, "age": "no number"}

    async with world.client(chunk_rows=5_000) as client:
        columns = {"email": "email", "town": "city", "age": "age"}
        report = balanced(await client.import_contacts(rows(), lists=ADD, columns=columns))
    assert 500 <= layouts <= 1_000
    assert (report.accepted, report.rejected) == (3_001, 1)
    assert [(found.row, found.email) for found in report.rejections] == [(3_002, "a@example.org")]


# Reading pauses


@pytest.mark.parametrize("kind", ["rows", "async rows", "bytes"])
async def test_reading_pauses_when_the_pipeline_is_full(world: World, kind: str) -> None:
    """With room for a few jobs, their rows are read and a few that wait for room; then no row is read for an hour."""
    taken = 0

    def rows() -> Iterator[dict[str, str]]:
        nonlocal taken
        for taken in range(1, 100_001):
            yield {"email": f"p{taken}@example.org"}

    async with world.turned(import_seconds=7_200.0) as other, other.client(max_jobs=3, chunk_rows=100) as client:
        run = client.start_import(given_as(kind, rows()), lists=ADD)
        await asyncio.sleep(10)
        before = taken
        ahead = 2**17 // len(b"p1000@example.org\n") if kind == "bytes" else 1_000  # small pieces of bytes are joined
        assert 300 <= before <= 300 + 100 + ahead
        await asyncio.sleep(3_600)
        assert taken == before
        await run.stop()


# How much was read


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.xlsx"])
async def test_the_share_of_a_file_grows_to_the_whole(tmp_path: Path, name: str) -> None:
    """By the bytes of text, and by the rows that other files have; a second reading begins again."""
    path, addresses = tmp_path / name, [f"p{number:05}@example.org" for number in range(12_000)]
    if name == "a.csv":
        path.write_text("\n".join(["email", *addresses]))
    elif name == "a.jsonl":
        path.write_text("".join(f'{{"email": "{address}"}}\n' for address in addresses))
    elif name == "a.parquet":
        parquet.write_table(pa.table({"email": addresses}), path, row_group_size=5_000)
    else:
        path.write_bytes(sheet_file([["email"], [None], *([address] for address in addresses), [None]]))
    source = source_of(path)
    for _ in range(2):
        shares, rows = [], 0
        async for batch in source.batches():
            rows += sum(map(len, batch))
            shares.append((source.share or 0.0, rows))
        assert (source.share, rows) == (1.0, 12_000)
        assert len(shares) > 2
        if name in ("a.parquet", "a.xlsx"):
            assert all(share == pytest.approx(rows / 12_000, abs=0.001) for share, rows in shares)
        else:
            assert all(share >= rows / 12_000 - 0.001 for share, rows in shares)


async def test_a_table_and_an_empty_sheet_have_no_share(tmp_path: Path) -> None:
    """It is known of files alone, and of nothing there is none."""
    table = source_of(pa.table({"email": ["a@example.org"]}))
    assert len(await rows_of(table)) == 1
    assert table.share is None
    parquet.write_table(pa.table({"email": pa.array([], "string")}), tmp_path / "a.parquet")
    empty = source_of(tmp_path / "a.parquet")
    assert await rows_of(empty) == []
    assert empty.share is None
