"""CSV and JSON Lines as rows."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

import mjbulk
from mjbulk.rows.block import Block
from mjbulk.rows.csv_form import CsvForm
from mjbulk.rows.csv_text import MAX_RECORD
from mjbulk.rows.findings import Findings
from mjbulk.rows.iterables import BATCH, BadRow, Batch
from mjbulk.rows.objects import Nameless
from mjbulk.rows.packed import SourceUnreadable
from mjbulk.rows.text_files import csv_batches, jsonl_batches


async def pieces_of(*pieces: bytes) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        yield piece


def csv(*pieces: bytes, encoding: str = "utf-8-sig", delimiter: str = ",") -> AsyncGenerator[Batch, None]:
    return csv_batches(pieces_of(*pieces), encoding, CsvForm(delimiter=delimiter), Findings())


async def rows_of(batches: AsyncGenerator[Batch, None]) -> list[Any]:
    """Give each row as a dict; for a bad row give what is wrong with it."""
    found: list[Any] = []
    async for batch in batches:
        for one in batch:
            if isinstance(one, Block):
                found += [one.given(index).as_dict() for index in range(len(one))]
            else:
                found.append(one.fault.message)
    return found


# CSV


@pytest.mark.parametrize("size", [1, 2, 7, 1_000])
async def test_csv_in_any_pieces(size: int) -> None:
    """The first record names the columns, without blanks around the names; a quoted cell may hold a line end."""
    text = b'email, city ,note\r\na@b.de,Graz,"two\nlines"\r\n\r\nc@d.ef,"Wien, 1010",\r\n'
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert await rows_of(csv(*pieces)) == [
        {"email": "a@b.de", "city": "Graz", "note": "two\nlines"},
        {"email": "c@d.ef", "city": "Wien, 1010", "note": ""},
    ]


async def test_the_columns_of_csv_come_before_its_rows() -> None:
    """A block without rows has them, so that they are checked where no row follows."""
    batches = [batch async for batch in csv(b"email,city\n")]
    assert batches[0] == [Block(("email", "city"), [(), ()], 0)]
    assert await rows_of(csv(b"email,city\n")) == []


@pytest.mark.parametrize(("delimiter", "raws"), [(",", ["a@b.de,7\n"]), (";", None)])
async def test_records_are_kept_as_they_stand(delimiter: str, raws: list[str] | None) -> None:
    """Mailjet's delimiter is a comma: only with it can a record be sent as it is."""
    text = f"email{delimiter}age\na@b.de{delimiter}7".encode()
    blocks = [one async for batch in csv(text, delimiter=delimiter) for one in batch]
    assert [(len(block), block.raws) for block in blocks if isinstance(block, Block)][1:] == [(1, raws)]


async def test_records_that_do_not_fit_the_header() -> None:
    """A record that is shorter, longer or malformed costs its own number; its cells are known where it has some."""
    text = b'email,city\na@b.de,Graz\nb@c.de\nc@d.ef,Linz,x,y\nd@e.fg,"x"y\ne@f.gh,W\n'
    batches = [batch async for batch in csv(text)]
    bad = [one for batch in batches for one in batch if isinstance(one, BadRow)]
    assert [one.fault.message for one in bad[:2]] == [
        "the row has 1 fields, the header has 2",
        "the row has 4 fields, the header has 2",
    ]
    assert bad[2].fault.message.startswith("this is no CSV")
    assert [one.given.as_dict() if one.given else None for one in bad] == [
        {"email": "b@c.de"},
        {"email": "c@d.ef", "city": "Linz", "field 3": "x", "field 4": "y"},
        None,
    ]
    assert [one.number for one in bad] == [None] * 3
    assert sum(len(one) for batch in batches for one in batch) == 5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b'email,"x"y\na@b.de,7\n', "the first record cannot be read: this is no CSV"),
        ("email\na@b.de\n".encode("utf-16-be"), "NULs in it, as text in UTF-16 has: say encoding="),
        ("email\n".encode("utf-16"), "mark of UTF-16: say encoding='utf-16'"),
    ],
)
async def test_a_first_record_that_cannot_be_read(text: bytes, problem: str) -> None:
    """Nothing can be read without names of columns."""
    with pytest.raises(mjbulk.UsageError, match=problem):
        await rows_of(csv(text))


async def test_an_encoding_that_is_not_that_of_the_file() -> None:
    """The rows before the first byte that cannot be decoded are given."""
    batches = csv(b"email,city\na@b.de,Graz\nc@d.ef,K\xf6ln\n")
    assert [len(one) for one in await anext(batches)] == [0, 1]
    with pytest.raises(SourceUnreadable) as caught:
        await anext(batches)
    assert caught.value.problem == "this is not utf-8: say encoding="


# JSON Lines


@pytest.mark.parametrize("size", [1, 2, 7, 1_000])
async def test_json_lines_in_any_pieces(size: int) -> None:
    """A line is a row, after a byte order mark as well; a blank line is none, and the last line end may be missing."""
    text = '\ufeff{"email":"a@b.de","city":"Köln"}\r\n\n  \n{"email":"c@d.ef","age":7}'.encode()
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert await rows_of(jsonl_batches(pieces_of(*pieces))) == [
        {"email": "a@b.de", "city": "Köln"},
        {"email": "c@d.ef", "age": 7},
    ]


async def test_lines_that_are_no_rows() -> None:
    """What is no JSON, and JSON that is no row, costs its own number; a text in JSON is an address."""
    assert await rows_of(jsonl_batches(pieces_of(b'{"email":\n[1]\n"a@b.de"\n\xff\n'))) == [
        "the line is no JSON",
        Nameless([1]).message,
        {"email": "a@b.de"},
        "the line is no JSON",
    ]


async def test_many_lines_come_in_batches() -> None:
    """However many lines a piece has."""
    text = b'{"email":"a@b.de"}\n' * (2 * BATCH + 1)
    sizes = [sum(map(len, batch)) async for batch in jsonl_batches(pieces_of(text))]
    assert sizes == [BATCH, BATCH, 1]


async def test_json_lines_of_another_encoding() -> None:
    """They are UTF-8, and a mark of another encoding refuses them."""
    with pytest.raises(mjbulk.UsageError, match="mark of UTF-32: JSON Lines are UTF-8"):
        await rows_of(jsonl_batches(pieces_of('{"email":"a@b.de"}'.encode("utf-32"))))


# Both


@pytest.mark.parametrize("read", [csv, lambda *pieces: jsonl_batches(pieces_of(*pieces))], ids=["csv", "jsonl"])
async def test_a_line_without_end_is_given_up(read: Any) -> None:
    """What is no text file has no line ends, and would fill the memory."""
    with pytest.raises(SourceUnreadable) as caught:
        await rows_of(read(b"email\n", *[b"x" * 2**20] * (MAX_RECORD // 2**20 + 1)))
    assert caught.value.problem == "a line has no end"
