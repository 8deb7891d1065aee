"""What stands around and within CSV."""

import io
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.errors import UsageError
from mjbulk.rows.csv_form import CsvCleaner, CsvForm, Escapes, show
from mjbulk.rows.csv_text import MAX_RECORD, CsvRecords, is_strict
from mjbulk.rows.findings import Findings
from mjbulk.rows.names import NO_ADDRESS, clean_name, listed, no_address, not_there
from mjbulk.rows.sources import Source, csv_source, reopen

LAW = settings(derandomize=True, deadline=None, max_examples=200)


def clean(text: str, size: int, **form: Any) -> str:
    """Clean a text that comes in pieces."""
    cleaner = CsvCleaner(CsvForm(**form))
    pieces = [cleaner.clean(text[start : start + size], last=False) for start in range(0, len(text), size)]
    return "".join([*pieces, cleaner.clean("", last=True)])


@LAW
@given(st.text(st.sampled_from('a,"\n\r\0\x1as=ep;\ufeff'), max_size=30), st.integers(1, 30), st.integers(1, 3))
def test_pieces_may_be_cut_anywhere(text: str, size: int, row: int) -> None:
    """The clean text is the same."""
    assert clean(text, size, header_row=row) == clean(text, 1_000, header_row=row)


@LAW
@given(st.text(st.sampled_from("ab\\N\n,\u0800"), max_size=20), st.integers(1, 20))
def test_escapes_may_be_cut_anywhere(text: str, size: int) -> None:
    """What is hidden and shown again is the text without its escapes."""
    whole = Escapes("\\").hide(text, last=True)
    escapes = Escapes("\\")
    pieces = [escapes.hide(text[start : start + size], last=False) for start in range(0, len(text), size)]
    assert "".join([*pieces, escapes.hide("", last=True)]) == whole
    meanings = {"b": "\b"}
    expected, rest = "", list(text)
    while rest:
        letter = rest.pop(0)
        escaped = rest.pop(0) if letter == "\\" and rest else None
        expected += letter if escaped is None else meanings.get(escaped, escaped)
    assert show(whole) == expected


def test_a_line_without_end_is_not_waited_for() -> None:
    """The same goes for end marks of many megabytes."""
    cleaner = CsvCleaner(CsvForm())
    assert cleaner.clean("x" * MAX_RECORD, last=False) == ""
    assert len(cleaner.clean("xx", last=False)) == MAX_RECORD + 2
    assert len(cleaner.clean("\0" * (MAX_RECORD + 1), last=False)) == MAX_RECORD + 1
    assert cleaner.clean("\0", last=True) == ""


@pytest.mark.parametrize("row", range(1, 5))
def test_the_first_lines_are_left_out(row: int) -> None:
    """As many as are said; behind the last there is nothing."""
    assert clean("1\n2\n3\n", 2, header_row=row) == "".join(f"{n}\n" for n in range(row, 4))


@pytest.mark.parametrize(
    ("raw", "strict"),
    [
        ("a,b\n", True),
        ('"a,""b""",c\r\n', True),
        ('"two\nlines",\n', True),
        ('5" disk,b\n', False),
        ('a, "b"\n', False),
        ('"a"b,c\n', False),
        ('a,"b\n', False),
    ],
)
def test_which_records_are_read_alike(raw: str, strict: bool) -> None:  # noqa: FBT001  # a table
    """Quotes stand around whole cells."""
    assert is_strict(raw) is strict


def test_a_long_record_is_looked_at_in_one_pass() -> None:
    """However many quotes it has."""
    assert is_strict('"' + '""' * 100_000 + '"\n')
    assert not is_strict('"' + '""' * 100_000 + "\n")


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_records_are_written_again_where_readers_differ(delimiter: str) -> None:
    """Only where they are sent as they are, with commas; malformed ones stay as they are."""
    cleaner = CsvCleaner(CsvForm(delimiter=delimiter))
    text = 'a,5" disk\n"b",c\n"x"y\n'.replace(",", delimiter)
    found = cleaner.finish(CsvRecords(delimiter).feed(text, last=True))
    again = ['a,"5"" disk"\n', '"b",c\n', '"x"y\n'] if delimiter == "," else text.splitlines(keepends=True)
    assert found.raws == again
    assert list(found.faults) == [2]


def test_end_marks_are_no_records() -> None:
    """Faults stay with their records."""
    found = CsvCleaner(CsvForm()).finish(CsvRecords().feed('\x1a\na,b\n"x"y\n\\.\n""\n', last=True))
    assert found.rows == [["a", "b"], (), [""]]
    assert list(found.faults) == [1]


# Names


@pytest.mark.parametrize("name", ["email", " email\t", "\ufeffemail", "\ufeff email "])
def test_names_are_compared_without_what_cannot_be_seen(name: str) -> None:
    """Blanks, and a byte order mark that was read as a letter."""
    assert clean_name(name) == "email"


@pytest.mark.parametrize(
    "name", ["E-Mail", "eMail Address", "Adresse e-mail", "courriel", "primary_email", "Mailadresse"]
)
def test_names_of_addresses_are_proposed(name: str) -> None:
    """In the form in which they are given."""
    assert f"columns={{'id': 'id', {name!r}: 'email'}} takes that" in no_address(["id", name, " "], text=True)


@pytest.mark.parametrize("others", [[f"c{n}" for n in range(8)], ["x" * 41]])
def test_what_the_proposal_leaves_out_is_said(others: list[str]) -> None:
    """Where it does not name the other columns they would not be sent."""
    said = "columns={'E-Mail': 'email'} takes that, and the other columns are not sent then"
    assert said in no_address(["E-Mail", *others], text=True)
    assert "not sent" not in no_address(["E-Mail", *others[1:]], text=True)


def test_what_is_said_of_names() -> None:
    """They are listed, a few and shortened; where one has an @ none of them is said."""
    assert listed([]) == "no column at all"
    assert listed(["x" * 50]) == repr("x" * 40)
    assert "Smith" not in no_address(["Smith", "smith@example.org"], text=True)
    assert not_there("a", ["b"]) == "columns= picks 'a', which the source does not have; it has 'b'"
    assert "x@" not in not_there("a", ["x@example.org"])
    assert no_address(["a;b"], text=False).startswith(f"{NO_ADDRESS}, but 'a;b'")
    assert "delimiter=';'" in no_address(["a;b"], text=True)
    assert no_address(["a,b"], text=True).endswith("with ',' in it: leave delimiter= out, or say delimiter=','")


def test_columns_the_wrong_way_round() -> None:
    """Where the picked name is that of the address, the mapping is shown as it should be."""
    said = "it has 'E-Mail', 'city': columns={'E-Mail': 'email', 'city': 'city'} takes that"
    assert not_there(["email"], ["E-Mail", "city"]).endswith(said)
    assert not_there(["email"], ["city"]).endswith("it has 'city'")


def test_what_helps_with_columns_that_are_not_there() -> None:
    """A likely name, the delimiter of a file, or that dots do not reach into values."""
    assert not_there("vile", ["file"]).endswith("it has 'file' (did you mean 'file'?)")
    one_cell = "'a,b', is one cell with ',' in it: leave delimiter= out, or say delimiter=','"
    assert not_there(["a", "b"], ["a,b"], text=True).endswith(one_cell)
    assert not_there(["email"], ["id", "email|a"], text=True).endswith(
        "has '|' in a cell, 'email|a': say delimiter='|'"
    )
    assert "delimiter" not in no_address(["id", "a;b", "e-mail, home"], text=True)
    assert not_there(["a", "b"], ["a;b"], text=True).endswith("is one cell with ';' in it: say delimiter=';'")
    assert "delimiter" not in not_there("a", ["a,b"])
    dots = "which the source does not have: dots do not reach into the values of 'address': give each value a column"
    assert dots in not_there(["x", "address.city"], ["email", "address"])
    assert "dots" not in not_there("address.city", ["email", "town"])


# Sources


@pytest.mark.parametrize("said", [{}, {"header_row": 2, "null": "-", "escape": "\\"}])
async def test_how_a_file_is_written_stays_with_its_source(tmp_path: Any, said: dict[str, Any]) -> None:
    """A run that is resumed reads the same rows."""
    head = "notes\n" if said else ""
    (tmp_path / "a.csv").write_text(
        f"{head}email,city\na@example.org,-\nb@example.org,a\\,b\n".replace("\\", "\\" if said else "")
    )
    source = csv_source(tmp_path / "a.csv", **said)
    again = reopen(source.location or {})
    assert again.location == source.location
    assert {*(source.location or {})} == {"kind", "path", "encoding", "delimiter", *said}
    assert await rows_of(again) == await rows_of(source)


async def rows_of(source: Source) -> list[Any]:
    """Give the rows of a source."""
    return [
        row
        for batch in [found async for found in source.batches()]
        for block in batch
        for row in getattr(block, "rows", ["bad"])
    ]


async def test_cells_that_look_like_nulls(caplog: pytest.LogCaptureFixture) -> None:
    """They are texts, and a plan and the log say so, with the column and the first row."""
    text = "email,name,city\na@example.org,Ann,\nb@example.org,\\N,\\N\nc@example.org,\\N,x\n"
    source = csv_source(io.BytesIO(text.encode()))
    await rows_of(source)
    found = [(finding.code, finding.column, finding.count, finding.first_row) for finding in source.findings]
    assert found == [("file.null", "name", 2, 2), ("file.null", "city", 1, 2)]
    assert len(caplog.records) == 1
    source = csv_source(io.BytesIO(text.encode()), null="\\N")
    rows = await rows_of(source)
    assert list(source.findings) == list(Findings())
    assert rows[-1] == ("c@example.org", "", "x")


def test_forms_that_cannot_be() -> None:
    """Each is named."""
    for wrong in ({"delimiter": ""}, {"header_row": True}, {"escape": '"'}, {"null": 7}):
        with pytest.raises(UsageError, match=f"{next(iter(wrong))}= is"):
            CsvForm(**wrong).check()


def test_large_files_with_escapes_take_one_pass() -> None:
    """However they are cut."""
    text = "".join(random.Random(1).choices("ab\\,\n", k=200_000))
    assert clean(text, 1_000, escape="\\") == clean(text, 10**6, escape="\\")
