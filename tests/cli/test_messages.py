"""What the command line says where something is wrong: what was found, and the next step that helps."""

import ast
import gzip
import io
import json
import os
import re
import socket
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from carriers import sheet_file
from commands import TO_LIST, people

import mjbulk
from mjbulk.cli import main
from mjbulk.cli._words import as_options
from mjbulk.testing import Fault, Knobs, Mailjet

Output = pytest.CaptureFixture[str]
Say = Callable[..., str]
POST = "POST contact/managemanycontacts"
KEYWORD = re.compile(
    r"(?<![\w-])(?!jq )[a-z]+(?:_[a-z]+)*=(?![a-z])|_source\(|\bcsv_source|create_properties|header_row"
)
"""What is said to programs, and not to people in a shell."""


@pytest.fixture
def said(mailjet: Mailjet, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> Iterator[Say]:
    """Imports what it is given as a file, and gives what stderr says: status 2, and nothing was sent."""
    monkeypatch.chdir(tmp_path)

    def say(content: bytes | str, *options: str, name: str = "contacts.csv", status: int = 2) -> str:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        assert main(["import", name, *TO_LIST, *options]) == status
        err = capsys.readouterr().err
        assert "Traceback" not in err
        assert not KEYWORD.search(err)
        assert "same command" not in err
        return err

    yield say
    assert mailjet.emulator.count(POST) == 0


# Columns


CREATE = "--create-properties"


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("email;city\na@example.org;Graz\n", [], "'email;city', is one cell with ';' in it: say --delimiter ';'"),
        ("email\tcity\na@example.org\tGraz\n", [], r"say --delimiter '\t'"),
        ('"email";"city"\n"a@example.org";"Graz"\n', [], "and ';' stands there: say --delimiter ';'"),
        ('"email"\t"city"\n"a@example.org"\t"Graz"\n', [], r"say --delimiter '\t'"),
        ('"email","city"\n"a@example.org","Graz"\n', ["--delimiter", ";"], "say --delimiter ,"),
        ('"email","ci"ty"\n', [], "the first record cannot be read: this is no CSV: ',' expected after '\"'; nothing"),
        ("E-mail ,Ort\na@example.org,Graz\n", [], "but 'E-mail', 'Ort': --columns E-mail=email,Ort takes that"),
        ("id,Ort\n7,Graz\n", [], "but 'id', 'Ort': --columns can name the one that it is; --header-row says in"),
        ("Notes\nemail,city\na@example.org,Graz\n", [], "--header-row"),
        ("a@example.org,Graz\n", [], "an address stands where the names of the columns should be"),
        ("email,shoe,hat,age\na@example.org,9,8,7\n", [], "no properties 'shoe', 'hat'"),
        ("email,shoe\na@example.org,9\n", [], "--create-properties creates what is missing, --columns picks"),
        ("email,agee\na@example.org,9\n", [], "there is no property 'agee' (did you mean 'age'?)"),
        ("email,age\na@example.org,9\n", ["--columns", "emial,agee"], "'emial', 'agee', which the source"),
        ("email,age\na@example.org,9\n", ["--columns", "emial,agee"], "(did you mean 'email' and 'age'?)"),
        ("email,age\na@example.org,7\n", ["--columns", "email", "--delimiter", ";"], "leave --delimiter out, or"),
        ("email;age\na@example.org;7\n", ["--columns", "email"], "say --delimiter ';'"),
        ("email,\na@example.org,\nb@example.org,x\n", [], "column 2 has no name, and row 2 (line 3) has a value in it"),
        ("email,\na@example.org,x\n", [CREATE], "column 2 has no name, and row 1 (line 2) has a value in it: name it,"),
        ("email,age\n", ["--types", "age=int"], "it needs --create-properties"),
        ("email,age\na@example.org,7\n", ["--types", "agee=int", CREATE], "--types names 'agee'"),
        ("email,age\na@example.org,7\n", ["--types", "age=str", CREATE], "this property is of type int"),
        ("email\na@example.org\n", ["--nulls", "unassign", "--via", "csv"], "the CSV way cannot"),
        ("email\na@example.org\n", ["--timezone", "Pariss"], "did you mean 'Europe/Paris'?"),
        ("email\na@example.org\n", ["--delimiter", ";;"], "--delimiter is one character"),
        ("email\na@example.org\n", ["--concurrency", "0"], "--concurrency is a whole number"),
        ("email\na@example.org\n", ["--chunk-rows", "0"], "--chunk-rows is a whole number"),
        ("email\na@example.org\n", ["--run-id", "a\n"], "--run-id and --partition are texts"),
        ("email\na@example.org\n", ["--report-every", "-1"], "--report-every is a number of seconds"),
    ],
)  # fmt: skip
def test_a_fault_of_columns_or_options(
    said: Say, mailjet: Mailjet, text: str, options: list[str], sentence: str
) -> None:
    """Says what is there, by repr, what was probably meant, and the option that helps."""
    mailjet.emulator.create_property("age", "int")
    mailjet.emulator.create_property("born", "datetime")
    err = said(text, *options)
    assert sentence in err
    assert "@" not in err.replace("an @ in it", "")


def test_an_address_among_the_names_is_not_repeated(said: Say) -> None:
    """Whatever else is wrong: a file without a header has people where names should be."""
    for text in ("ann@example.org\nbob@example.org\n", "x,ann@example.org\n1,bob@example.org\n", "ann@example.org;7\n"):
        assert "example.org" not in said(text)
    assert "example.org" not in said("email,ann@example.org\nbob@example.org,7\n")


def test_a_column_is_refused_at_the_first_record(said: Say, mailjet: Mailjet) -> None:
    """A file of any size is read no further than its header."""
    rows = "".join(f"p{n}@example.org,7\n" for n in range(200_000))
    began = time.monotonic()
    assert "--columns picks 'mail'" in said("Email,age\n" + rows, "--columns", "mail")
    assert time.monotonic() - began < 5


def test_case_does_not_matter_for_a_column_that_is_picked(mailjet: Mailjet, tmp_path: Path) -> None:
    """``--columns email`` takes ``Email``; where both are there, the exact one."""
    mailjet.emulator.create_property("city")
    file = tmp_path / "contacts.csv"
    file.write_text("Email,CITY,x\na@example.org,Graz,1\n")
    assert main(["import", str(file), *TO_LIST, "--columns", "email,city"]) == 0
    assert mailjet.contacts["a@example.org"].properties == {"city": "Graz"}
    file.write_text("email,EMAIL,Ort\nb@example.org,nobody,Wien\n")
    assert main(["import", str(file), *TO_LIST, "--columns", "email,ort=city"]) == 0
    assert mailjet.contacts["b@example.org"].properties == {"city": "Wien"}


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("sep=;\r\nemail;city\r\na@example.org;Graz\r\n", []),
        ("email;city\na@example.org;Graz\n", ["--delimiter", ";"]),
        ("email\tcity\na@example.org\tGraz\n", ["--delimiter", "tab"]),
        ("E-mail,city\na@example.org,Graz\n", ["--columns", "E-mail=email,city"]),
        ("Email , City \na@example.org,Graz\n", []),
        ("Export\n\nemail,city\na@example.org,Graz\n", ["--header-row", "3"]),
        ("\ufeffemail,city\na@example.org,Graz\n", []),
    ],
)
def test_what_the_messages_advise_works(mailjet: Mailjet, tmp_path: Path, text: str, options: list[str]) -> None:
    """A first line ``sep=;``, other delimiters and names, blanks, notes before the header, a byte order mark."""
    mailjet.emulator.create_property("city")
    file = tmp_path / "contacts.csv"
    file.write_bytes(text.encode())
    assert main(["import", str(file), *TO_LIST, *options]) == 0
    assert mailjet.contacts["a@example.org"].properties == {"city": "Graz"}


def test_a_byte_order_mark_that_is_read_as_letters(said: Say) -> None:
    """The file is in UTF-8, whatever was said."""
    content = "\ufeffemail\na@example.org\n".encode()
    assert "it begins with the byte order mark of UTF-8: say --encoding utf-8" in said(content, "--encoding", "cp1252")


# Files of another kind


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("contacts.csv", "email\na@example.org\n" * 100)
    return file.getvalue()


ARRAY = json.dumps([{"email": f"p{n}@example.org"} for n in range(3)], indent=1)
LINES = "".join(f'{{"email": "p{n}@example.org"}}\n' for n in range(3))
PAGE = "<!DOCTYPE html>\n<html><head><title>Sign in, please</title></head>\n<body>p@example.org</body></html>\n"
SHEET = sheet_file([["email"], ["a@example.org"]])


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (zipped(), "contacts.csv", "the file is a zip archive"),
        (zipped(), "contacts.zip", "unzip -p ARCHIVE MEMBER | mjbulk import -"),
        (zipped(), "contacts.jsonl", "the file is a zip archive"),
        (zipped(), "contacts.parquet", "no Parquet"),
        (SHEET, "contacts.csv", "--format excel reads a spreadsheet"),
        (SHEET, "contacts.jsonl", "--format excel reads a spreadsheet"),
        (b"BZh91AY&SY" + bytes(50), "contacts.csv.bz2", "bzcat FILE | mjbulk import -"),
        (b"%PDF-1.7\n" + bytes(50), "contacts.csv", "the file is a PDF"),
        (b"PAR1" + bytes(50), "contacts.csv", "--format parquet reads it"),
        (b"SQLite format 3\0" + bytes(50), "contacts.csv", "SQLite database"),
        (ARRAY, "contacts.csv", "jq -c '.[]' FILE | mjbulk import - --format jsonl"),
        (ARRAY, "contacts.jsonl", "jq -c '.[]' FILE | mjbulk import - --format jsonl"),
        (ARRAY, "contacts.json", "jq -c '.[]' FILE | mjbulk import - --format jsonl"),
        ("\ufeff\n" + ARRAY, "contacts.csv", "this is a JSON array"),
        (LINES, "contacts.csv", "--format jsonl reads it"),
        (LINES, "contacts.txt", "--format csv, jsonl, parquet or excel"),
        (PAGE, "contacts.csv", "this is a web page"),
        (PAGE, "contacts.jsonl", "this is a web page"),
        ("<?xml version='1.0'?>\n<people/>\n", "contacts.csv", "this is XML"),
        ("email,name\na@example.org,Ann\n", "contacts.jsonl", "--format csv reads it"),
        (
            "email,name\na@example.org,Ann\n",
            "contacts.xlsx",
            "no spreadsheet, whatever its name says: if it is CSV, --format",
        ),
        (b"a.csv".ljust(256, b"\0") + b"\0ustar".ljust(256, b"\0"), "contacts.csv", "tar -xOf ARCHIVE MEMBER | mjbulk"),
        ("email,name\na@example.org,Ann\n", "contacts.csv.gz", "it is no gzip"),
        ("", "contacts.csv", "the file is empty"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_a_sentence(
    said: Say, content: bytes | str, name: str, sentence: str
) -> None:
    """By what it is, and not row by row."""
    err = said(content, name=name)
    assert sentence in err
    assert err.count("\n") == 1
    assert "example.org" not in err


def test_another_encoding_is_named(said: Say) -> None:
    """A file in Latin-1 can never be sent as it is: what helps is the encoding, and not the same command."""
    err = said("email,name\na@example.org,Andr\xe9\n".encode("latin-1"))
    assert "this is not utf-8: say --encoding, often cp1252" in err
    assert "next: correct the file, or say how it is read" in err
    assert "--encoding utf-16" in said("email\na@example.org\n".encode("utf-16"))


def test_a_fault_of_the_source_in_the_middle(mailjet: Mailjet, tmp_path: Path, capsys: Output) -> None:
    """What was sent is settled; the row is named, and what helps is not the same command."""
    file = tmp_path / "contacts.csv"
    file.write_bytes(people(50).encode() + b"\xff@example.org\n" + b"x@example.org\n" * 2)
    assert main(["import", str(file), *TO_LIST, "--chunk-size", "10", "--run-id", "r"]) == 3
    out, err = capsys.readouterr()
    assert "accepted" in out
    assert (
        "next: correct the file from row 51 on; the rows before it have to stay as they are; then mjbulk resume r"
        in err
    )
    assert "same command" not in err
    file.write_bytes(people(51).encode())
    assert main(["resume", "r", str(file), "--chunk-size", "10"]) == 0
    assert len(mailjet.contacts) == 51


def test_rows_that_were_not_sent_are_joined(mailjet: Mailjet, tmp_path: Path, capsys: Output) -> None:
    """Chunks that follow each other are one span of rows."""
    mailjet.fault("contact/managemanycontacts", Fault.answer(403, "{}"), times=None, after=1)
    file = tmp_path / "contacts.csv"
    file.write_text(people(80))
    command = ["import", str(file), "--no-list", "--chunk-size", "5", "--concurrency", "1", "--max-jobs", "1"]
    assert main(command) == 3
    assert "mjbulk: rows 6-80: not sent, for that reason\n" in capsys.readouterr().err


def test_why_rows_were_rejected(mailjet: Mailjet, tmp_path: Path, capsys: Output) -> None:
    """Without a file of them, and without a journal, it is told how many have which code."""
    file = tmp_path / "contacts.csv"
    file.write_text(people(5) + "nobody\nnobody else\n" + '""\n')
    assert main(["import", str(file), "--no-list", "--no-journal"]) == 1
    assert "mjbulk: rejected by code: address.invalid 2, address.missing 1\n" in capsys.readouterr().err


def test_a_file_of_which_nothing_was_sent(mailjet: Mailjet, tmp_path: Path, capsys: Output) -> None:
    """It is said, also where the file fails at its first row."""
    file = tmp_path / "contacts.csv"
    file.write_bytes("email,name\na@example.org,Jürgen\n".encode("cp1252"))
    assert main(["import", str(file), "--no-list", "--no-journal"]) == 2
    assert "or save it as UTF-8; nothing was sent\nmjbulk: next: correct the file" in capsys.readouterr().err
    assert mailjet.emulator.count("POST contact/managemanycontacts") == 0


def test_a_journal_in_no_folder(mailjet: Mailjet, tmp_path: Path, capsys: Output) -> None:
    """It has no run that could be resumed."""
    file = tmp_path / "contacts.csv"
    file.write_text(people(2))
    assert main(["import", str(file), "--no-list", "--journal", str(tmp_path / "none" / "j.db")]) == 2
    said = capsys.readouterr().err
    assert (
        "No such file or directory; nothing was sent\nmjbulk: next: make the journal usable, then run the same" in said
    )
    assert "resume" not in said
    assert mailjet.emulator.count("POST contact/managemanycontacts") == 0


def test_jobs_that_no_journal_has(mailjet: Mailjet, tmp_path: Path, capsys: Output) -> None:
    """All are named, and how to ask for one: nothing else remembers them."""
    mailjet.fault("GET contact/managemanycontacts", Fault.answer(403, "{}"), times=None)
    file = tmp_path / "contacts.csv"
    file.write_text(people(20))
    how = ["--list", "1", "--action", "addforce", "--chunk-size", "5", "--concurrency", "4"]
    assert main(["import", str(file), *how, "--no-journal"]) == 3
    said = capsys.readouterr().err
    named = {str(mjbulk.JobRef("contact", one)) for one in mailjet.emulator.jobs}
    assert len(named) == 4
    assert all(job in said for job in named), said
    assert "unknown rows first (mjbulk watch JOB); addforce may have been applied to them" in said


def test_a_quote_that_is_never_closed(mailjet: Mailjet, tmp_path: Path) -> None:
    """It costs its own row, and the reason says what it is, also where the limit of a cell is reached."""
    file, rejects = tmp_path / "contacts.csv", tmp_path / "r.csv"
    rows = "".join(f"p{n}@example.org,{'x' * 4000}\n" for n in range(2200))
    file.write_text('email,name\na@example.org,"open\n' + rows)
    assert main(["plan", str(file), "--no-list", "--rejects", str(rejects)]) == 1
    (line,) = rejects.read_text().splitlines()[1:]
    assert "a quote is opened and never closed" in line


@pytest.mark.parametrize("word", ["\\t", "tab", "\t"])
def test_a_tab_can_be_typed(mailjet: Mailjet, tmp_path: Path, word: str) -> None:
    """In the ways in which people try."""
    file = tmp_path / "contacts.csv"
    file.write_text("email\tname\na@example.org\tAnn\n")
    assert main(["import", str(file), *TO_LIST, "--delimiter", word]) == 0


# Files that are not there, and servers


def test_a_missing_file_is_told_at_once(mailjet: Mailjet, tmp_path: Path, capsys: Output) -> None:
    """Before anything is asked of a server that may be away, with the file that was probably meant."""
    (tmp_path / "contacts.csv").write_text("email\n")
    mailjet.emulator.fault("*", Fault.stall(), times=None)
    began = time.monotonic()
    for command in ("import", "plan", "submit"):
        assert main([command, str(tmp_path / "contcats.csv"), *TO_LIST]) == 2
        assert "contcats.csv cannot be opened: No such file or directory (did you mean" in capsys.readouterr().err
    assert main(["exclude", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    assert time.monotonic() - began < 3
    assert mailjet.requests == 0


def test_a_server_that_is_not_there_is_told_within_seconds(mailjet: Mailjet, tmp_path: Path, capsys: Output) -> None:
    """With host, port and the reason; nothing was sent, so nothing can be resumed."""
    file = tmp_path / "contacts.csv"
    file.write_text(people(1))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        began = time.monotonic()
        assert main(["import", str(file), *TO_LIST, "--api-url", f"http://127.0.0.1:{port}"]) == 3
    assert time.monotonic() - began < 6
    err = capsys.readouterr().err
    assert f"nothing listens at 127.0.0.1:{port}" in err
    assert "next: run the same command again" in err
    assert "mjbulk resume" not in err
    assert main(["runs"]) == 2 or capsys.readouterr().out == ""


def test_what_is_not_there_is_named(mailjet: Mailjet, tmp_path: Path, capsys: Output) -> None:
    """A contact, a job, a list, a run, a command, an option: with what is there, or what was meant."""
    file = tmp_path / "contacts.csv"
    file.write_text(people(1))
    mailjet.emulator.create_list("Newsletter")
    assert main(["import", str(file), *TO_LIST, "--run-id", "monday"]) == 0
    capsys.readouterr()
    for words, sentence in (
        (["exclude", "nobody@example.org"], "no contact has this address"),
        (["subscriptions", "nobody@example.org"], "no contact has this address"),
        (["watch", "contact:7"], "there is no such job"),
        (["batchjob", "7"], "there is no such job"),
        (["abort", "csvimport:7"], "there is no such job"),
        (["errors", "contact:7", "--out", str(tmp_path / "e")], "this job has no error file"),
        (["import", str(file), "--list", "Newsletters", "--action", "unsub"], "did you mean 'Newsletter'?"),
        (["import", str(file), "--list", "99", "--action", "unsub"], "mjbulk lists shows them"),
        (["import", str(file), "--action", "unsub"], "--list LIST --action ACTION"),
        (["import", str(file), "--list", "1"], "addforce (adds, and subscribes again people who have unsubscribed)"),
        (["import", str(file), "--list", "1", "--action", "addfroce"], "unsub: unsubscribes from the list"),
        (["resume", "mondy"], "has no run 'mondy' of this account (did you mean 'monday'?): mjbulk runs shows its"),
        (["runs", "mondy"], "has no run 'mondy' of this account (did you mean 'monday'?): mjbulk runs shows its"),
        (["purge", "other"], "mjbulk runs shows its runs, and another --journal has others"),
        (["runs", "--journal", "nowhere.db"], "no journal nowhere.db, so no run was kept in it: --journal names"),
        (["improt", "x.csv"], 'Did you mean "import"?'),
        (["import", str(file), "--acton", "unsub"], "Did you mean --action?"),
        (["help", "setings"], "did you mean 'settings'?"),
        (["import", "https://example.org/contacts.csv", *TO_LIST], "curl -fsS URL | mjbulk import - --format csv"),
        (["plan", "-", "--no-list"], "can be read only once: write it to a file"),
        (["import", str(file), str(file), *TO_LIST], "more arguments than this command takes"),
    ):
        assert main(words) == 2, words
        err = capsys.readouterr().err
        assert sentence in err, words
        assert "nobody@" not in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["exclude", "FILE", "--list", "1"], "exclude has no --list; import, plan, submit, subscriptions have it."),
        (["exclude", "FILE", "--list", "1"], "For one list: mjbulk import FILE --list LIST --action unsub. See"),
        (["include", "FILE", "--action=unsub"], "The exclusion list is that of the whole account."),
        (["watch", "contact:7", "--older-than", "1d"], "mjbulk watch has no --older-than; purge has it. See"),
        (["exclude", "FILE", "--sheeet", "1"], "Did you mean --sheet?"),
        (["exclude", "a@example.org", "--sheet", "1"], "go with a file, and this is one address"),
        (["exclude", "a@example.org", "--journal", "x.db"], "go with a file, and this is one address"),
        (["exclude", "a@example.org", "--run-id", "r"], "go with a file, and this is one address"),
    ],
)  # fmt: skip
def test_an_option_of_other_commands_is_not_guessed(
    mailjet: Mailjet, tmp_path: Path, capsys: Output, words: list[str], sentence: str
) -> None:
    """It is said which commands have it, and not which option looks like it."""
    (tmp_path / "contacts.csv").write_text(people(1))
    assert main([str(tmp_path / "contacts.csv") if word == "FILE" else word for word in words]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert ("Did you mean" in err) is ("Did you mean" in sentence)
    assert mailjet.requests == 0


@pytest.mark.parametrize("command", ["exclude", "import"])
def test_a_sheet_that_is_not_there(mailjet: Mailjet, tmp_path: Path, capsys: Output, command: str) -> None:
    """All commands read a spreadsheet alike: the first sheet, or the one that is named."""
    file = tmp_path / "contacts.xlsx"
    file.write_bytes(sheet_file([["email"], ["a@example.org"]]))
    options = TO_LIST if command == "import" else []
    assert main([command, str(file), *options, "--sheet", "Peopel"]) == 2
    assert "there is no sheet 'Peopel': it has" in capsys.readouterr().err
    assert main([command, str(file), *options, "--delimiter", ";"]) == 2
    assert "--delimiter, --encoding, --header-row, --null and --escape are for CSV" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["runs", "resume", "purge"])
def test_the_journal_that_does_not_have_a_run_is_named(
    mailjet: Mailjet, tmp_path: Path, capsys: Output, command: str
) -> None:
    """By its path, wherever that was said, or its URL; a next command has the option that was given."""
    file, other = tmp_path / "contacts.csv", tmp_path / "other runs.db"
    file.write_text(people(1))
    assert main(["import", str(file), *TO_LIST, "--run-id", "monday"]) == 0
    usual = Path(os.environ["XDG_STATE_HOME"]) / "mjbulk" / "journal.db"
    assert main(["import", str(file), *TO_LIST, "--run-id", "tuesday", "--journal", str(other)]) == 0
    for option, name, runs in (
        ([], str(usual), "mjbulk runs"),
        (["--journal", str(other)], str(other), f"mjbulk runs --journal '{other}'"),
        (["--journal", f"sqlite:///{other}?timeout=5"], f"sqlite:///{other}", "mjbulk runs --journal URL"),
    ):
        capsys.readouterr()
        assert main([command, "friday", *option]) == 2
        sentence = f"the journal {name} has no run 'friday' of this account"
        assert capsys.readouterr().err.startswith(
            f"mjbulk: {sentence}: {runs} shows its runs, and another --journal has others"
        )


# What to do next


def test_a_journal_keeps_the_reasons(mailjet: Mailjet, tmp_path: Path, capsys: Output) -> None:
    """So the next step is the command that writes them; without a journal it is an option for the next time."""
    file = tmp_path / "contacts.csv"
    file.write_text(people(1) + "nobody\n")
    assert main(["import", str(file), *TO_LIST, "--run-id", "r 1"]) == 1
    next_step = "next: mjbulk resume 'r 1' --rejects FILE.csv writes them with their reasons"
    assert next_step in capsys.readouterr().err
    assert main(["import", str(file), *TO_LIST, "--run-id", "r 1"]) == 1
    assert next_step in capsys.readouterr().err
    assert main(["import", str(file), *TO_LIST, "--no-journal"]) == 1
    err = capsys.readouterr().err
    assert "mjbulk runs" not in err
    assert "--rejects FILE.csv" in err


def test_an_interrupted_run_with_many_jobs_is_told_in_a_line(mailjet: Mailjet, tmp_path: Path, capsys: Output) -> None:
    """Not job by job: the journal has them."""
    mailjet.emulator.knobs = Knobs(queue_seconds=60.0)
    file = tmp_path / "contacts.csv"
    file.write_text(people(60))
    assert main(["import", str(file), *TO_LIST, "--chunk-size", "1", "--timeout", "3", "--run-id", "r"]) == 3
    err = capsys.readouterr().err
    assert len(err.splitlines()) <= 4
    assert re.search(r"\d+ rows in \d+ jobs \(contact:\d+, ...\): ", err)
    assert "mjbulk runs r shows each" in err
    assert "next: mjbulk resume r goes on where it stood" in err


def test_one_is_no_many(mailjet: Mailjet, tmp_path: Path, capsys: Output) -> None:
    """A row, a job, a contact."""
    file = tmp_path / "contacts.csv"
    file.write_text(people(1))
    assert main(["import", str(file), *TO_LIST]) == 0
    assert ": 1 row: 1 accepted in 1 job, " in capsys.readouterr().out
    assert main(["watch", f"contact:{max(mailjet.emulator.jobs)}"]) == 0
    assert "1 contact, " in capsys.readouterr().out
    file.write_text("email\nnobody\nnobody\na@example.org\n")
    assert main(["import", str(file), *TO_LIST, "--max-rejected", "0"]) == 3
    assert re.search(r"(1 row was|2 rows were) rejected, 0 are allowed", capsys.readouterr().err)


def test_the_answer_about_one_contact_can_be_json(mailjet: Mailjet, tmp_path: Path, capsys: Output) -> None:
    """As that about a file."""
    file = tmp_path / "contacts.csv"
    file.write_text(people(1))
    assert main(["import", str(file), "--no-list"]) == 0
    capsys.readouterr()
    assert main(["exclude", "p0@example.org", "--json"]) == 0
    number = mailjet.contacts["p0@example.org"].id
    assert json.loads(capsys.readouterr().out) == {"contact": number, "excluded": True}


# Spelling


@pytest.mark.parametrize(
    ("sentence", "spelt"),
    [
        ("say delimiter=';'", "say --delimiter ';'"),
        ("say delimiter='\\t'", r"say --delimiter '\t'"),
        ("columns={'E-Mail': 'email'} takes that", "--columns E-Mail=email takes that"),
        ("columns={'a b': 'email'} takes that", "--columns 'a b=email' takes that"),
        ("null='\\\\N' makes nulls", r"--null '\N' makes nulls"),
        ("create_properties=True creates", "--create-properties creates"),
        ('with resend="always"', "with --resend always"),
        ("take a new run_id for new terms", "take a new --run-id for new terms"),
        ("was begun with another columns=: take", "was begun with another --columns: take"),
        ("max_jobs is a whole number above 0", "--max-jobs is a whole number above 0"),
        ("concurrency is a whole number above 0", "--concurrency is a whole number above 0"),
        ("(insecure_host= allows a host)", "(--insecure-host allows a host)"),
        ("the source has no column 'email'", "the source has no column 'email'"),
        ("unless index=False", "unless index=False"),
        ("encoding='utf-16'", "--encoding utf-16"),
    ],
)
def test_keywords_are_spelt_as_options(sentence: str, spelt: str) -> None:
    """With their values as they have to be typed."""
    assert as_options(sentence) == spelt


def test_gzip_that_is_cut_off_is_a_fault_of_the_source(said: Say) -> None:
    """Nothing of it can be sent: correct the file."""
    data = gzip.compress(people(3).encode())
    assert "correct the file" in said(data[:-12], name="contacts.csv.gz")


# All sentences, wherever they go


WORDS = re.compile(r"(?<![\w.?&{/-])(?!jq )[a-z]+(?:_[a-z]+)*=(?!=)|_source\(\)")
"""Keywords and calls of programs."""
FOR_PROGRAMS = (
    "fix=", "hooks=", "every=", "PRAGMA", "lists= is a mapping", "use csv_source() or jsonl_source()",
    "open it with ", "open a member with ", "index=False", "by ssl=",
    "of an array give json.load()", "or give a file that unpacks it",
    "settings= is", "assumptions= is", "are those of csv_source()",
)  # fmt: skip
"""How sentences begin or what they have that no command line can cause, or that are about another program."""


OTHER_EDGES = ("cli", "fastapi", "testing", "check", "partition", "dask.py", "airflow", "airflow_provider.py")
"""What no command line calls, and the command line itself."""


def sentences() -> Iterator[str]:
    """Give the texts with blanks in the library that are no docstrings; what is filled in is an X."""
    for file in (Path(mjbulk.__file__).parent).rglob("*.py"):
        if file.relative_to(Path(mjbulk.__file__).parent).parts[0] in OTHER_EDGES:
            continue
        tree = ast.parse(file.read_text())
        alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        filled = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
        parts = {id(part) for node in filled for part in node.values}
        yield from (
            "".join(getattr(part, "value", "") if isinstance(part, ast.Constant) else "X" for part in node.values)
            for node in filled
        )
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone | parts:
                yield node.value


def test_each_sentence_of_the_library_can_be_said_in_a_shell() -> None:
    """No keyword and no call is left in one."""
    found = [one for one in sentences() if " " in one and WORDS.search(one)]
    assert len(found) > 40
    left = {as_options(one) for one in found if not any(words in one for words in FOR_PROGRAMS)}
    assert not [one for one in left if WORDS.search(one)]


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl", "r.json"])
def test_a_file_of_rejected_rows_names_options(mailjet: Mailjet, tmp_path: Path, capsys: Output, name: str) -> None:
    """Its reader has the command line. What Mailjet says stays as it is."""
    mailjet.emulator.create_property("born", "datetime")
    mailjet.reject("b@example.org", "say date_format= or timezone=")
    file, rejects = tmp_path / "contacts.csv", tmp_path / name
    file.write_text("email,born\na@example.org,1/1/26\nb@example.org,2026-01-01\nc@example.org,2026-01-01\n")
    words = [str(file), *TO_LIST, "--timezone", "UTC", "--rejects", str(rejects)]
    assert main(["import", *words, "--run-id", "r"]) == 1
    text = rejects.read_text()
    assert "RFC 3339 (--date-format names another form)" in text
    assert "say date_format= or timezone=" in text
    rejects.unlink()
    for command in (["plan", *words], ["runs", "r", "--rejects", str(tmp_path / f"of-{name}")]):
        assert main(command) in (0, 1)
    for written in (rejects, tmp_path / f"of-{name}"):
        assert "(--date-format names another form)" in written.read_text()


def test_json_names_options(mailjet: Mailjet, tmp_path: Path, capsys: Output) -> None:
    """The findings of a plan, and the cause of a run that has stopped."""
    file = tmp_path / "contacts.csv"
    file.write_text("email,name\na@example.org,\\N\n")
    assert main(["plan", str(file), *TO_LIST, "--json"]) == 0
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert "--null" in finding["message"]
    assert "null=" not in finding["message"]
    file.write_bytes(people(20).encode() + b"\xff@example.org\n")
    assert main(["import", str(file), *TO_LIST, "--chunk-size", "10", "--run-id", "r"]) == 3
    capsys.readouterr()
    assert main(["runs", "r", "--json"]) == 0
    (run,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert "say --encoding" in run["cause"]
    assert main(["runs", "r"]) == 0
    assert "say --encoding" in " ".join(capsys.readouterr().out.split())
