"""Error files of both kinds, whole and broken."""

import csv
import io
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.outcomes.error_file import EMPTY, MISSING, ErrorFile, RowError, parse

LAW = settings(derandomize=True, deadline=None, max_examples=120)
A, B = "a@example.org", "b@example.org"
NONE = "(no reason given)"


def of_json(data: Any) -> ErrorFile:
    return parse(data if isinstance(data, bytes) else json.dumps(data).encode(), csv_file=False)


def of_csv(text: str) -> ErrorFile:
    return parse(text.encode(), csv_file=True)


def said(file: ErrorFile) -> list[tuple[str | None, str, str | None]]:
    return [(error.email, error.message, error.field) for error in file.errors]


# Bytes that are no error file


@pytest.mark.parametrize("csv_file", [False, True])
@pytest.mark.parametrize("data", [b"", b" \r\n\t", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_an_empty_file(data: bytes, *, csv_file: bool) -> None:
    """A file with nothing in it is not "no errors"."""
    assert parse(data, csv_file=csv_file) is EMPTY
    assert EMPTY.problem == "its error file is empty"
    assert MISSING.problem == "its error file is missing"


@pytest.mark.parametrize("csv_file", [False, True])
@pytest.mark.parametrize("data", [b"<html><body>502</body></html>", b"\n <!DOCTYPE html>", b"\xef\xbb\xbf<x"])
def test_a_page_of_html(data: bytes, *, csv_file: bool) -> None:
    """A page of a proxy is no error file."""
    assert parse(data, csv_file=csv_file) == ErrorFile(problem="its error file is a page of HTML")


# JSON, in every shape that it may have

BAD = [{"Email": A, "Error": "no"}, {"Email": B, "Error": "neither"}]
TWO = [(A, "no", None), (B, "neither", None)]


@pytest.mark.parametrize(
    "data",
    [
        BAD,
        {"Errors": BAD},
        {"Count": 2, "Data": BAD, "Total": 2},
        {"contacts": BAD},
        {"rows": BAD},
        {"items": BAD},
        {"Data": {"x": 1}, "Errors": BAD},
        [[BAD[0]], [BAD[1]]],
        {A: "no", B: "neither"},
        [{"EMAIL": A, "ErrorMessage": "no"}, {"email": B, "Reason": "neither"}],
        [{"Contact": {"Email": A, "Name": "A"}, "Error": "no"}, {"Contact": B, "Message": "neither"}],
        [{"Error": {A: "no"}}, {"Error": {B: "neither"}}],
        b'{"Email":"a@example.org","Error":"no"}\n{"Email":"b@example.org","Error":"neither"}',
        b'[{"Email":"a@example.org","Error":"no"}]\r\n\r\n[{"Email":"b@example.org","Error":"neither"}]\r\n',
        b"\xef\xbb\xbf" + json.dumps(BAD).encode(),
        json.dumps(BAD, indent=2).encode(),
    ],
    ids=lambda data: str(data)[:50],
)
def test_shapes_of_json(data: Any) -> None:
    """Whatever stands around them, two rows and their errors are found, in order."""
    file = of_json(data)
    assert said(file) == TWO
    assert file.problem is None
    assert all(error.sure for error in file.errors)


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"Email": A, "Error": {"age": "no number"}}, (A, "no number", "age")),
        ({"Email": A, "Error": "no number", "Field": "age"}, (A, "no number", "age")),
        ({"Email": A, "Error": "no number", "Property": "age"}, (A, "no number", "age")),
        ({"Email": A, "Error": "no number", "Field": 7}, (A, "no number", None)),
        ({"Email": A, "Error": {"a": 1, "b": 2}}, (A, '{"a":1,"b":2}', None)),
        ({"Email": A, "Error": ["no", "neither"]}, (A, '["no","neither"]', None)),
        ({"Email": A, "Errors": [{"Message": "no"}]}, (A, '[{"Message":"no"}]', None)),
        ({"Contact": {"Email": A}, "Errors": [{"Field": "age"}]}, (A, '[{"Field":"age"}]', None)),
        ({"Email": A, "Error": ""}, (A, NONE, None)),
        ({"Email": A, "Error": None, "Message": "no"}, (A, "no", None)),
        ({"Email": A}, (A, NONE, None)),
        ({"Email": "  ", "Error": "no"}, (None, "no", None)),
        ({"Email": 7, "Error": "no"}, (None, "no", None)),
        ({"Email": None, "Error": "no"}, (None, "no", None)),
        ({"ErrorInfo": "", "ErrorMessage": "Object not found", "StatusCode": 404}, (None, "Object not found", None)),
        ({"Email": A, "Error": {B: "no"}}, (A, "no", None)),
        ({}, (None, NONE, None)),
    ],
    ids=lambda value: str(value)[:50],
)
def test_entries_of_json(row: Any, error: tuple[str | None, str, str | None]) -> None:
    """An address, a text and a field are taken from wherever they stand; what is missing is said to be."""
    assert said(of_json([row])) == [error]


@pytest.mark.parametrize(
    ("text", "mentioned"),
    [
        ("a@example.org: no", [A]),
        ("no: <a@example.org>", [A]),
        ('"a@example.org" is no address', [A]),
        ("no: 'a@example.org'.", ["'a@example.org'.", A]),
        ("a@example.org is a duplicate of b@example.org!", [A, "b@example.org!", B]),
        ("mailto:a@example.org,b@example.org", [A, B]),
        ("a@b@c.org", ["a@b"]),
        ("@example.org a@ @", []),
        ("no address", []),
        ("ä@exämple.org", ["ä@exämple.org"]),
    ],
)
def test_addresses_that_a_text_mentions(text: str, mentioned: list[str]) -> None:
    """Addresses in a text are found, with and without the marks around them."""
    assert of_json([text]).errors == [RowError(message=text, cells=mentioned)]
    assert of_json(f"{text}\n".encode()).errors == [RowError(message=text, cells=mentioned)]
    assert list(of_json([{"Error": text}]).errors[0].cells) == mentioned


@pytest.mark.parametrize("value", [7, None, True, [None, 7], [[], {}, 1.5]])
def test_values_that_say_nothing(value: Any) -> None:
    """What is neither an object nor a text is still an error of some row."""
    file = of_json(value)
    assert file.errors
    assert all(error == RowError() or error.message == NONE for error in file.errors)


@pytest.mark.parametrize(
    "data", [b"[]", b"{}", b'{"Errors":[]}', b'{"Count":0,"Data":[],"Total":0}', b"[]\n[]\n", b"[[],[]]"]
)
def test_json_without_entries(data: bytes) -> None:
    """A file that names no row is empty, in any shape; an object without anything is an error of some row."""
    file = of_json(data)
    assert (file.problem is None) == (data == b"{}")
    assert len(file.errors) == (data == b"{}")


@pytest.mark.parametrize(
    ("data", "errors", "problem"),
    [
        (b'[{"Email":"a@example.org","Error":"no"},{"Em', 0, "cut or no JSON"),
        (b'{"Email":"a@example.org","Error":"no"}\n{"Em', 1, "cut or no JSON"),
        (b'{"Email":"a@example.org"}\n\xff\n', 1, "cut or no JSON"),
        (b"[" * 100_000, 0, "cut or no JSON"),
        (b'{"Email":NaN}', 0, "cut or no JSON"),
        (b"a@example.org: no\nb@example.org: nei", 1, "ends within a line"),
        (b"a@example.org: no", 0, "ends within a line"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_json_that_is_cut(data: bytes, errors: int, problem: str) -> None:
    """A file that does not end as a whole one does is reported as cut, with what could be read."""
    file = of_json(data)
    assert len(file.errors) == errors
    assert problem in (file.problem or "")


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_only_a_line_feed_ends_a_line(separator: str) -> None:
    """Other signs that some take for line ends stand within a line, of JSON and of text."""
    rows = [{"Email": A, "Error": f"no{separator}no"}, {"Email": B, "Error": "neither"}]
    if separator not in "\x0b\x0c\x1c\r":
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        assert said(of_json(lines.encode())) == [(A, f"no{separator}no", None), (B, "neither", None)]
    assert len(of_json(f"{A}: no{separator}no\n{B}: neither\n".encode()).errors) == 2


@pytest.mark.parametrize("deep", [33, 500, 1000])
def test_json_of_many_levels(deep: int) -> None:
    """Levels without end are not looked into: there is an error, and it is not known of which row."""
    for opening, closing in ((b"[", b"]"), (b'{"Data":[', b"]}"), (b'{"contact":', b"}"), (b'{"Error":[', b"]}")):
        file = of_json(opening * deep + b"7" + closing * deep)
        assert len(file.errors) == 1 or file.problem
        assert all(error.email is None for error in file.errors)


# CSV


def test_the_file_of_the_guides() -> None:
    """A short line under a header: the error is the last cell, and it is not known which cell is missing."""
    file = of_csv('email,age,error\n"bar@example.com", ###Too few columns at line\n')
    assert file == ErrorFile(
        errors=[
            RowError(email="bar@example.com", sure=False, message="Too few columns at line", cells=["bar@example.com"])
        ]
    )


def test_the_recorded_line() -> None:
    """A whole line, with message and field; lines end with either sign, and a mark of the byte order goes before."""
    for end in ("\n", "\r\n"):
        file = of_csv(f"\ufeffname,Email,error{end}x,{A}, ###Duplicated email###email{end}")
        assert file == ErrorFile(errors=[RowError(email=A, message="Duplicated email", field="email", cells=["x", A])])


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (f"{A},1, ###no", (A, "no", None, True)),
        (f"{A},1,###no###age", (A, "no", "age", True)),
        (f'"{A}","1", ###no###age', (A, "no", "age", True)),
        (f"{A},1, ######age", (A, NONE, "age", True)),
        (f"{A},1, ###", (A, NONE, None, True)),
        (f'{A},"1,2", ###no', (A, "no", None, True)),
        (f'"{A}" ,"1"x, ###no', (f"{A} ", "no", None, True)),
        (f'{A},"1, ###2", ###no', (A, "no", None, True)),
        (f'{A},"say ""x"", ###y", ###no', (A, "no", None, True)),
        (f'{A},"two\nlines", ###no', (A, "no", None, True)),
        (f'{A},5" disk, ###no', (A, "no", None, True)),
        (f"{A},5, ###no, ###age", (A, "no, ", "age", True)),
        (f'{A},5, ###a "quote###age', (A, 'a "quote', "age", True)),
        (f'{A},5, ###"quoted", and more###age', (A, '"quoted", and more', "age", True)),
        (f"{A},###5, ###no", (A, "no", None, True)),
        (f"{A},1,2, ###no", (A, "no", None, False)),
        (f"{A}, ###no", (A, "no", None, False)),
        (f'"{A},1, ###no', (f"{A},1", "no", None, False)),
        (" ###no", (None, "no", None, False)),
        (f" {A} ,1, ###no", (f" {A} ", "no", None, True)),
    ],
    ids=lambda value: str(value)[:30],
)
def test_lines_of_csv(line: str, error: tuple[str | None, str, str | None, bool]) -> None:
    """A line is data up to the mark behind its last column; the line after it is not touched by any of this."""
    file = of_csv(f"email,age,error\n{line}\n{B},1, ###neither\n")
    first, second = file.errors
    assert (first.email, first.message, first.field, first.sure) == error
    assert (second.email, second.message, second.sure) == (B, "neither", True)
    assert file.problem is None


@pytest.mark.parametrize(
    ("text", "errors", "problem"),
    [
        ("email,age,error\n", 0, "is empty"),
        ("email,age,error", 0, "is empty"),
        ("email,age,error\n\n\n", 0, "is empty"),
        (f"email,age\n{A},1\n", 0, "does not begin with a header"),
        (f"\nemail,age,error\n{A},1, ###no\n", 0, "does not begin with a header"),
        ("email,age,err", 0, "does not begin with a header"),
        ('{"ErrorMessage": "Object not found"}', 0, "does not begin with a header"),
        (f"email,age,error\n{A},1, ###no", 0, "ends within a line"),
        (f"email,age,error\n{A},1, ###no\n{B},1", 1, "ends within a line"),
        (f'email,age,error\n{A},1, ###no\n{B},"1\n2\n', 1, "without an error"),
        (f"email,age,error\n{A},1\n{B},1, ###no\n", 1, "has a line without an error"),
        (f"email,age,error\n{A},1, ###no\nand more\n{B},1, ###no\n", 2, "has a line without an error"),
    ],
)
def test_csv_that_is_cut_or_odd(text: str, errors: int, problem: str) -> None:
    """What is not as it should be is reported, with what could be read."""
    file = of_csv(text)
    assert len(file.errors) == errors
    assert problem in (file.problem or "")


def test_blank_lines_are_nothing() -> None:
    """Blank lines between and behind the others are no errors, and do not make a file odd."""
    file = of_csv(f"email,age,error\n\n{A},1, ###no\n\r\n  \n{B},1, ###no\n  ")
    assert ([error.email for error in file.errors], file.problem) == ([A, B], None)


def test_a_file_without_a_header() -> None:
    """Without a header no cell is known to be the address; all of them may be looked at."""
    file = of_csv(f"{A},1, ###no###age\n1,{B}, ###x, ###no\n")
    assert file.problem is None
    assert [(e.email, e.sure, e.message, list(e.cells)) for e in file.errors] == [
        (None, False, "no", [A, "1"]),
        (None, False, "no", ["1", B, " ###x"]),
    ]


def test_a_cell_larger_than_the_csv_module_takes() -> None:
    """A cell of any size is no reason to fail."""
    file = of_csv(f"email,age,error\n{A},{'x' * 200_000}, ###no\n")
    assert said(file) == [(A, "no", None)]


def written(names: Sequence[str], rows: Sequence[Sequence[str]], errors: Sequence[tuple[str, str]]) -> str:
    """A file as Mailjet writes it: failing lines as they were sent, each with its error added."""
    text = io.StringIO(newline="")
    text.write(",".join([*names, "error"]) + "\n")
    for row, (message, field) in zip(rows, errors, strict=True):
        line = io.StringIO(newline="")
        csv.writer(line).writerow(row)
        record = line.getvalue().removesuffix("\r\n")
        text.write(f"{record}, ###{message}{f'###{field}' if field else ''}\n")
    return text.getvalue()


CELLS = st.text(st.sampled_from('ab ,"\n\r#é'), max_size=6)
ROWS = st.lists(st.tuples(CELLS, st.sampled_from([A, B]), CELLS), min_size=1, max_size=5)
ERRORS = st.tuples(
    st.text(st.sampled_from('ab ,"é'), min_size=1, max_size=8).map(str.strip).filter(bool), st.sampled_from(["", "age"])
)


@LAW
@given(ROWS, st.data())
def test_what_is_written_is_read(rows: list[tuple[str, str, str]], data: st.DataObject) -> None:
    """Whatever the cells hold: each line gives its cells, its address, its message and its field."""
    errors = [data.draw(ERRORS) for _ in rows]
    file = of_csv(written(["x", "email", "y"], rows, errors))
    assert file.problem is None
    assert [tuple(error.cells) for error in file.errors] == rows
    assert said(file) == [(row[1], text, field or None) for row, (text, field) in zip(rows, errors, strict=True)]
    assert all(error.sure for error in file.errors)


def test_a_first_cell_may_look_like_a_mark() -> None:
    """An error stands behind its line: what begins a line is data, also where a later cell holds a line end."""
    file = of_csv(written(["x", "email", "y"], [("###", A, "\n")], [("a", "")]))
    assert [tuple(error.cells) for error in file.errors] == [("###", A, "\n")]
    assert said(file) == [(A, "a", None)]


# Anything at all


@LAW
@given(st.one_of(st.binary(max_size=60), st.text(st.sampled_from('a@.,:"[]{}#\n <é'), max_size=40).map(str.encode)))
def test_any_bytes_are_read(data: bytes) -> None:
    """Whatever bytes come: a file is read, and where it names no row, it says why."""
    for csv_file in (False, True):
        file = parse(data, csv_file=csv_file)
        assert file.errors or file.problem


PIECES = st.lists(
    st.sampled_from(['"', '""', ",", "\n", " ###", "###", "a@b.de", "email", "error", ", ###no\n"]), max_size=12
)


@LAW
@given(PIECES)
def test_any_csv_is_read(pieces: list[str]) -> None:
    """Whatever marks, quotes and line ends come in whatever order: a file is read."""
    for text in ("".join(pieces), "email,error\n" + "".join(pieces)):
        file = of_csv(text)
        assert file.errors or file.problem


@pytest.mark.parametrize(
    ("text", "csv_file"),
    [
        ("a" * 300_000 + "\n", False),
        ("a@" * 200_000 + "\n", False),
        ('["' + "<@" * 200_000 + '"]', False),
        ('email,error\na@b.de,5" x, ###no\n' + "a@b.de, ###no\n" * 20_000, True),
        ('email,error\n"a@b.de, ###no\n' + "a@b.de, ###no\n" * 20_000, True),
        ("email,error\n" + 'x,"' * 50_000 + "\n", True),
        ('email,error\n"' + '""' * 100_000, True),
        ('email,error\n"' + 'a""\n' * 50_000, True),
        ("email,error\nx" + ", ###" * 60_000 + "\n", True),
    ],
)
def test_time_is_linear(text: str, *, csv_file: bool) -> None:
    """No text of some hundred kilobytes keeps the program busy for seconds."""
    began = time.process_time()
    parse(text.encode(), csv_file=csv_file)
    assert time.process_time() - began < 3


def test_a_repr_shows_nobody() -> None:
    """No address, cell or message is in the repr of an error or a file."""
    file = of_csv(f"email,age,error\n{A},1, ###no {A}###age\n")
    assert "example" not in repr(file)
    assert "field='age'" in repr(file)


@pytest.mark.parametrize("silent", ['"Error": ""', '"Error": null', '"Status": "ok"'])
@pytest.mark.parametrize("form", ["[{}, {}]", "{}\n{}\n"])
def test_rows_without_an_error_beside_rows_with_one(form: str, silent: str) -> None:
    """They may be rows that were taken: what is known is the others, and that the file does not say it all."""
    rows = ['{"Email": "a@example.org", ' + silent + "}", '{"Email": "b@example.org", "Error": "bad"}']
    file = parse(form.format(*rows).encode(), csv_file=False)
    assert [(error.email, error.message) for error in file.errors] == [("b@example.org", "bad")]
    assert file.problem is not None
    alone = parse(form.format(rows[0], rows[0]).encode(), csv_file=False)
    assert ([error.message for error in alone.errors], alone.problem) == ([NONE] * 2, None)
