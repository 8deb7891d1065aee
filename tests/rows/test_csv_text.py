"""CSV text to records, and back."""

import contextlib
import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.rows.csv_text import MAX_RECORD, CsvRecords, decode_record, encode_record, read_records, write_records

LAW = settings(derandomize=True, deadline=None, max_examples=300)

CELLS = st.text(st.sampled_from('ab,;"\n\r\u2028 é'), max_size=6)
TABLES = st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=12)


def written(table: list[list[str]], ending: str) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator=ending).writerows(table)
    return out.getvalue()


@pytest.mark.unmeasured
@LAW
@given(TABLES, st.sampled_from(["\n", "\r\n"]), st.integers(1, 40), st.booleans())
def test_records_are_those_of_the_csv_module(table: Any, ending: str, piece: int, whole: Any) -> None:
    """However the text is cut, records are what they are, and their raw texts join to the text."""
    text = written(table, ending)
    text = text if whole else text.removesuffix(ending)
    records = CsvRecords()
    found = [records.feed(text[start : start + piece]) for start in range(0, len(text), piece)]
    found.append(records.feed("", last=True))
    assert [row for some in found for row in some.rows] == table
    assert [some.faults for some in found if some.faults] == []
    assert "".join(raw for some in found for raw in some.raws) == (
        text if text.endswith("\n") or not text else text + "\n"
    )


RAGGED = st.text(st.sampled_from('a,"\n\r '), max_size=30)


@LAW
@given(RAGGED, st.integers(1, 30))
def test_many_records_at_once_are_those_read_with_care(text: str, piece: int) -> None:
    """Of any text, well-formed or not: the same records and the same faults, however it is cut."""
    records = CsvRecords()
    pieces = [records.feed(text[start : start + piece]) for start in range(0, len(text), piece)]
    pieces.append(records.feed("", last=True))
    lines = [line if line.endswith("\n") else line + "\n" for line in io.StringIO(text, newline="\n")]
    careful, done = CsvRecords()._read_carefully(lines, last=True)
    assert done == len(lines)
    assert [list(row) for some in pieces for row in some.rows] == list(map(list, careful.rows))
    assert [raw for some in pieces for raw in some.raws] == careful.raws
    assert [line for some in pieces for line in some.lines] == careful.lines
    assert all(raw.startswith(lines[line - 1]) for line, raw in zip(careful.lines, careful.raws, strict=True))
    assert [why for some in pieces for why in some.faults.values()] == list(careful.faults.values())


WIDE = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=12, max_size=40)
)


@settings(LAW, max_examples=60)
@given(WIDE, st.sampled_from(["\n", "\r\n"]), st.sampled_from([",", ";"]))
def test_records_that_are_split_are_those_of_the_csv_module(table: Any, ending: str, delimiter: str) -> None:
    """Where all have as many cells as the first one, and few have quotes, which may go over several lines."""
    few = [row if at % 9 == 3 else [cell.translate(_NO_QUOTES) for cell in row] for at, row in enumerate(table)]
    cells = [[quoted(cell) for cell in row] if at % 9 == 3 else row for at, row in enumerate(few)]
    raws = [delimiter.join(row) + ending for row in cells]
    header = delimiter.join("abc"[: len(few[0])]) + ending
    records = CsvRecords(delimiter)
    records.feed(header)
    found = records.feed("".join(raws), last=True)
    kept = [at for at, raw in enumerate(raws) if raw != ending]  # blank lines are no records
    assert [list(row) for row in found.rows] == [few[at] for at in kept]
    assert list(found.raws) == [raws[at] for at in kept]


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


_NO_QUOTES = str.maketrans(dict.fromkeys('",;\n\r', "x"))


@pytest.mark.parametrize(
    ("text", "by_columns"),
    [
        ("1,2\n3,4\n", True),
        ("1,2\r\n3,4\r\n", True),
        ("1,2\n3,4\r\n", True),
        ("1,2\n3,4,5\n", False),
        ("1,2\n\n3,4\n", False),
        ("1,2\n3\n4,5,6\n", False),
        ("1,\r2\n3,4\n", False),
        ('1,2\n"3",4\n', False),
        (f"{'1,2' + chr(10)}" * 9 + '"3,\n""3",4\n', True),
        (f"{'1,2' + chr(10)}" * 9 + '"3",4,5\n', False),
        (f"{'1,2' + chr(10)}" * 9 + '"3"4,5\n', False),
        (f"{'x' * 4_200_000},2\n" * 2, False),
    ],
)
def test_text_is_split_where_that_gives_the_same(text: str, *, by_columns: bool) -> None:
    """Each record has as many cells as the first one of the file, and few have quotes."""
    records = CsvRecords()
    records.feed("a,b\n")
    found = records.feed(text, last=True)
    assert (found.columns is not None) is by_columns
    with contextlib.suppress(csv.Error):
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        assert [list(row) for row in found.rows] == [row for row in rows if row] or "\r2" in text


def test_a_column_alone_has_blank_lines() -> None:
    """They are no records there either."""
    records = CsvRecords()
    records.feed("a\n")
    assert [list(row) for row in records.feed("b\n\nc\n", last=True).rows] == [["b"], ["c"]]
    assert records.feed("d\ne\n", last=True).columns == [["d", "e"]]


def test_quotes_may_not_tell_where_a_record_ends() -> None:
    """A quote in a cell that is not quoted is a letter like others; both lines together are one record."""
    found = CsvRecords().feed('a"b,"c\nd",e"f\ng,h\n', last=True)
    assert found.rows == [['a"b', "c\nd", 'e"f'], ["g", "h"]]
    assert found.raws == ['a"b,"c\nd",e"f\n', "g,h\n"]
    assert found.lines == [1, 3]


def test_blank_lines_are_no_records() -> None:
    """They are left out, and so are their texts."""
    found = CsvRecords().feed("a,b\n\n\nc,d\n\n", last=True)
    assert (found.rows, found.raws) == ([["a", "b"], ["c", "d"]], ["a,b\n", "c,d\n"])
    assert found.lines == [1, 4]


@pytest.mark.parametrize("bad", ['x,"open\n', '"a"b,c\n', "x\ry,z\n"])
def test_a_malformed_record_costs_its_first_line_and_nothing_more(bad: str) -> None:
    """Reading goes on with the next line; a quote that is never closed does not swallow the rows behind it."""
    found = CsvRecords().feed(f"a,b\n{bad}c,d\ne,f\n", last=True)
    assert found.rows == [["a", "b"], (), ["c", "d"], ["e", "f"]]
    assert found.raws[1] == bad
    assert list(found.faults) == [1]
    assert found.lines == [1, 2, 3, 4]
    assert bad not in repr(found)


def test_a_quote_that_is_never_closed_is_not_waited_for_for_ever() -> None:
    """A record of many megabytes is given up, and its lines are read one by one."""
    line = "c" * 999_999 + "\n"
    records = CsvRecords()
    records.feed("no end of a line")
    assert records.unfinished == 16
    records = CsvRecords()
    found = [records.feed('a,"b\n'), *(records.feed(line) for _ in range(MAX_RECORD // len(line) + 1))]
    faults = [index in some.faults for some in found for index in range(len(some))]
    assert faults == [True, *[False] * (len(faults) - 1)]
    assert len(faults) == MAX_RECORD // len(line) + 2


def test_the_limit_of_the_csv_module_is_left_as_it_was() -> None:
    """The limit of a cell is global: it is lifted while a piece is read, and put back."""
    before = csv.field_size_limit()
    assert CsvRecords().feed("x" * (before + 1) + "\n", last=True).rows == [["x" * (before + 1)]]
    assert csv.field_size_limit() == before


@LAW
@given(st.lists(CELLS, min_size=2, max_size=4))
def test_an_encoded_record_reads_back(cells: list[str]) -> None:
    """What is encoded is what a reader of CSV finds."""
    (found,) = csv.reader(io.StringIO(encode_record(cells).decode(), newline=""))
    assert found == cells
    assert decode_record(encode_record(cells).decode()) == cells


@pytest.mark.unmeasured
@LAW
@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=5))
def test_many_records_are_written_as_each_is(rows: list[list[str]]) -> None:
    """Column by column, or one by one."""
    written = write_records(list(zip(*rows, strict=True)))
    assert [record.encode() for record in written] == list(map(encode_record, rows))
    assert read_records("".join(written)) == rows
