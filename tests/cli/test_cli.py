"""The command line, in process where that shows the same, else as a process."""

import asyncio
import csv
import gzip
import io
import json
import os
import pty
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_type_hints

import attrs
import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
import pytest
from carriers import sheet_file
from commands import TO_LIST, command, people, running, wait_for
from pyarrow import parquet

from mjbulk import Client, Contact, JobRef
from mjbulk.cli import main
from mjbulk.config import Assumptions, Settings
from mjbulk.terms import RunKeywords
from mjbulk.testing import Fault, Knobs, Mailjet

BOOKS = ("rows", "accepted", "rejected", "superseded", "unknown", "not_sent")
KEYS = {"run_id", *BOOKS, "jobs", "requests", "seconds", "complete"}
POST = "POST contact/managemanycontacts"
SECRET = "test-private-key"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes a file of the test's own, and gives its path."""

    def write_file(text: str | bytes, name: str = "contacts.csv") -> str:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write_file


@pytest.fixture
def here(write: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A file in the current folder."""
    file = Path(write("email\na@example.org\n"))
    monkeypatch.chdir(file.parent)
    return file.name


Write = Callable[..., str]
Output = pytest.CaptureFixture[str]


# import


def test_a_clean_file_exits_0(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """A file whose every row is accepted gives status 0, one line of books, and nothing else."""
    assert (
        main(["import", write("email,name\na@example.org,Ann\nb@example.org,Bob\n"), *TO_LIST, "--run-id", "r1"]) == 0
    )
    out, err = capsys.readouterr()
    assert out.startswith("r1: 2 rows: 2 accepted in 1 job, ")
    assert (out.count("\n"), err) == (1, "")
    assert mailjet.contacts["a@example.org"].lists == {1: "addnoforce"}


def test_rejected_rows_are_written_with_their_numbers(
    mailjet: Mailjet, write: Write, tmp_path: Path, capsys: Output
) -> None:
    """Rows that are bad here or refused there give status 1 and stand in the rejects file, whole."""
    mailjet.emulator.create_property("age", "int")
    mailjet.reject("c@example.org", "Mailbox does not exist")
    rejects = tmp_path / "rejects.csv"
    file = write("email,age\na@example.org,1\nnobody,2\nc@example.org,3\nd@example.org,old\n,5\n")
    assert main(["import", file, *TO_LIST, "--rejects", str(rejects)]) == 1
    rows = {row["row"]: row for row in csv.DictReader(io.StringIO(rejects.read_text()))}
    assert set(rows) == {"2", "3", "4", "5"}
    assert list(rows["3"])[:7] == ["row", "email", "field", "message", "match", "origin", "code"]
    assert (rows["3"]["message"], rows["3"]["origin"], rows["3"]["age"]) == ("Mailbox does not exist", "mailjet", "3")
    assert (rows["4"]["field"], rows["4"]["origin"], rows["4"]["age"]) == ("age", "mjbulk", "old")
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o600
    out, err = capsys.readouterr()
    assert "1 accepted, 4 rejected" in out
    assert f"rejected rows: 4; their reasons are in {rejects}" in err
    assert "@" not in out + err


def test_rejects_as_json_lines(mailjet: Mailjet, write: Write, tmp_path: Path, capsys: Output) -> None:
    """A rejects file *.jsonl has an object a line, *.json one in all; without one it is said how to keep them."""
    file = write("email\nnobody\n")
    assert main(["import", file, *TO_LIST, "--rejects", str(tmp_path / "r.jsonl")]) == 1
    (line,) = (tmp_path / "r.jsonl").read_text().splitlines()
    assert (json.loads(line)["row"], json.loads(line)["field"]) == (1, "email")
    assert main(["import", file, *TO_LIST, "--rejects", str(tmp_path / "r.json")]) == 1
    whole = json.loads((tmp_path / "r.json").read_text())
    assert (whole["rejected"], whole["rejections"]) == (1, [json.loads(line)])
    assert main(["import", file, *TO_LIST]) == 1
    assert "--rejects FILE.csv writes them with their reasons" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json"])
def test_a_file_of_rejected_rows_is_corrected_and_imported(
    mailjet: Mailjet, write: Write, tmp_path: Path, capsys: Output, ending: str
) -> None:
    """What was good in a row arrives as it was; row numbers are those of the new file."""
    for name in ("phone", "note"):
        mailjet.emulator.create_property(name, "str")
    file = write("email,phone,note\na@example.org,1,x\nnobody,+49 171 123,'=x\nnowhere,-5,\n")
    bad, worse = tmp_path / f"bad.{ending}", tmp_path / f"worse.{ending}"
    assert main(["import", file, *TO_LIST, "--rejects", str(bad)]) == 1
    how = "the columns after 'code'" if ending == "csv" else "'data'"
    assert f"their reasons are in {bad}: correct the rows in {how}, and import that file" in capsys.readouterr().err
    assert main(["plan", str(bad), *TO_LIST]) == 1
    bad.write_text(bad.read_text().replace("nobody", "b@example.org"))
    assert main(["import", str(bad), *TO_LIST, "--rejects", str(worse)]) == 1
    assert dict(mailjet.contacts["b@example.org"].properties) == {"phone": "+49 171 123", "note": "'=x"}
    worse.write_text(worse.read_text().replace("nowhere", "c@example.org"))
    assert main(["import", str(worse), *TO_LIST]) == 0
    assert dict(mailjet.contacts["c@example.org"].properties) == {"phone": "-5"}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json"])
def test_a_file_that_is_there_is_not_replaced(
    mailjet: Mailjet, write: Write, tmp_path: Path, capsys: Output, ending: str
) -> None:
    """Before anything is sent; an empty one is no loss, nor is a pipe, which gets the rows."""
    file = write("email\na@example.org\nnobody\n")
    there = Path(write('{"row":1,"mine":', f"there.{ending}"))
    rejects = ["--rejects", str(there)]
    for words in (
        ["import", file, *TO_LIST, *rejects],
        ["import", file, *TO_LIST, *rejects, "--run-id", "new"],
        ["import", file, *TO_LIST, *rejects, "--no-journal", "--run-id", "new"],
        ["import", file, *TO_LIST, *rejects, "--dry-run"],
        ["exclude", file, *rejects],
        ["plan", file, *TO_LIST, *rejects],
    ):
        assert main(words) == 2, words
        assert f"--rejects names a file that is there: {there}; name another one" in capsys.readouterr().err
    assert there.read_text() == '{"row":1,"mine":'
    assert mailjet.emulator.count(POST) == 0
    there.write_text("")
    assert main(["import", file, *TO_LIST, *rejects, "--run-id", "r"]) == 1
    assert "nobody" in there.read_text()
    assert main(["runs", "r", *rejects]) == 2
    pipe = tmp_path / f"pipe.{ending}"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        assert main(["import", file, *TO_LIST, "--rejects", str(pipe)]) == 1
        assert "nobody" in reader.communicate(timeout=60)[0]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_run_that_goes_on_replaces_its_own_file(
    mailjet: Mailjet, write: Write, tmp_path: Path, capsys: Output
) -> None:
    """The same command again works after a stop; a file that it has not written stays."""
    file = write("email\nnobody\n" + people(30).partition("\n")[2] + "nowhere\n")
    rejects = tmp_path / "r.csv"
    words = ["import", file, *TO_LIST, "--run-id", "r", "--chunk-size", "10", "--attempts", "1"]
    mailjet.fault(POST, Fault.answer(500), times=None, after=1)
    assert main([*words, "--rejects", str(rejects)]) == 3
    assert rejects.read_text().count("\n") == 3
    other = Path(write("mine", "other.csv"))
    for again in (words, ["resume", "r"]):
        assert main([*again, "--rejects", str(other)]) == 2
    assert "names a file that is there" in capsys.readouterr().err
    assert other.read_text() == "mine"
    assert main(["resume", "r", "--rejects", str(rejects), "--attempts", "1"]) == 3
    assert rejects.read_text().count("\n") == 3


def test_the_main_cause_of_rejections_is_told(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """Where most rows were rejected, without a name that may be somebody's address."""
    mailjet.emulator.create_property("Umsatz", "int")
    mailjet.emulator.create_property("x@example.org", "int")
    many = "".join(f"p{number}@example.org,{'viel' if number else 1}\n" for number in range(9)) + "nobody,1\n"
    assert main(["import", write(f"email,Umsatz\n{many}"), *TO_LIST]) == 1
    assert "most rejected rows: value.type in 'Umsatz', 8 rows\n" in capsys.readouterr().err
    assert main(["import", write(f"email,x@example.org\n{many}"), *TO_LIST]) == 1
    assert "most rejected rows: value.type, 8 rows\n" in capsys.readouterr().err
    for text in ("a@example.org\nnobody\n", 'nobody\n""\n'):
        assert main(["import", write(f"email\n{text}"), *TO_LIST]) == 1
        assert "most" not in capsys.readouterr().err


def test_json_prints_one_object(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """--json prints exactly the books and figures, and nothing else."""
    assert main(["import", write("email\na@example.org\nnobody\n"), *TO_LIST, "--json"]) == 1
    books = json.loads(capsys.readouterr().out)
    assert set(books) == KEYS
    assert (books["rows"], books["accepted"], books["rejected"], books["jobs"]) == (2, 1, 1, 1)
    assert books["complete"] is True


def test_no_list_and_several_lists(mailjet: Mailjet, write: Write) -> None:
    """--no-list touches no list; each --list has its own --action, or all have one."""
    second = str(mailjet.emulator.create_list("second").id)
    file = write("email\na@example.org\n")
    assert main(["import", file, "--no-list"]) == 0
    assert mailjet.contacts["a@example.org"].lists == {}
    assert main(["import", file, "--list", "1", "--action", "addforce", "--list", "second", "--action", "unsub"]) == 0
    assert mailjet.contacts["a@example.org"].lists == {1: "addforce", int(second): "unsub"}
    assert main(["import", file, "--list", "1", "--list", second, "--action", "addnoforce"]) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "say where the contacts go"),
        (["--list", "1"], "--list needs an --action"),
        (["--no-list", "--list", "1"], "--no-list goes without"),
        (["--list", "1", "--list", "2", "--list", "3", *("--action", "remove") * 2], "3 --list and 2 --action"),
        (["--list", "1", "--list", "1", "--action", "remove"], "a list is named twice"),
        (["--list", "0", "--action", "remove"], "a list is a number above 0"),
        (["--list", "1", "--action", "destroy"], '"destroy"'),
        ([*TO_LIST, "--rejects", "r.txt"], "--rejects writes a file *.csv, *.jsonl or *.json"),
        ([*TO_LIST, "--rejects", "nowhere/r.csv"], "a folder that is not there"),
        ([*TO_LIST, "--rejects", "contacts.csv"], "names the file that is imported"),
        ([*TO_LIST, "--format", "jsonl", "--delimiter", ";"], "are for CSV"),
        ([*TO_LIST, "--sheet", "1"], "--sheet is for spreadsheets"),
        ([*TO_LIST, "--delimiter", ";;"], "--delimiter is one character"),
        ([*TO_LIST, "--encoding", "klingon"], "no encoding 'klingon'"),
        ([*TO_LIST, "--columns", "a,,b"], "a column has no name"),
        ([*TO_LIST, "--create-properties", "--types", "age"], "is not NAME=WORD"),
        ([*TO_LIST, "--create-properties", "--types", "age=number"], "--types takes one of"),
        ([*TO_LIST, "--concurrency", "0"], "concurrency is a whole number"),
        ([*TO_LIST, "--concurrency", "many"], "--concurrency"),
        ([*TO_LIST, "--api-url", "http://mailjet.example"], "has to be https"),
        ([*TO_LIST, "--no-such-option"], "--no-such-option"),
    ],
)
def test_wrong_arguments_exit_2_before_anything_is_sent(
    arguments: list[str], sentence: str, here: str, mailjet: Mailjet, capsys: Output
) -> None:
    """Whatever is wrong with the arguments is said in a sentence, and no request is made."""
    assert main(["import", here, *arguments]) == 2
    out, err = capsys.readouterr()
    assert sentence in " ".join(err.replace("│", " ").split())
    assert (out, mailjet.requests) == ("", 0)


@pytest.mark.parametrize(
    "arguments", [[], ["import"], ["nonsense"], ["import", "--jsn"], ["watch", "113"], ["errors", "contact:0"]]
)
def test_a_wrong_command_exits_2(arguments: list[str], mailjet: Mailjet, capsys: Output) -> None:
    """An unknown command, and one without its arguments, is refused (no command at all shows the help)."""
    assert main(arguments) == (2 if arguments else 0)
    assert "Traceback" not in capsys.readouterr().err
    assert mailjet.requests == 0


def test_a_file_that_is_not_there_exits_2(mailjet: Mailjet, tmp_path: Path, capsys: Output) -> None:
    """A missing file, or one of an unknown kind, is refused, and nothing is posted."""
    assert main(["import", str(tmp_path / "missing.csv"), *TO_LIST]) == 2
    assert "cannot be opened" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "contacts.txt"), *TO_LIST]) == 2
    assert "--format csv" in capsys.readouterr().err
    assert mailjet.emulator.count(POST) == 0


def test_wrong_keys_exit_2_after_one_request(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """Keys that Mailjet does not take are found by the first request, and never printed."""
    mailjet.emulator.knobs = Knobs(credentials=[("another", "pair")])
    assert main(["import", write("email\na@example.org\n"), *TO_LIST]) == 2
    out, err = capsys.readouterr()
    assert "401" in err
    assert SECRET not in out + err
    assert mailjet.requests == 1


def test_missing_keys_exit_2(mailjet: Mailjet, write: Write, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keys it is said where they come from; a TOML file will do."""
    file = write("email\na@example.org\n")
    monkeypatch.delenv("MJ_APIKEY_PUBLIC")
    monkeypatch.delenv("MJ_APIKEY_PRIVATE")
    assert main(["import", file, *TO_LIST]) == 2
    assert "MJBULK_CONFIG" in capsys.readouterr().err
    monkeypatch.setenv("MJBULK_CONFIG", write('MJ_APIKEY_PUBLIC = "a"\nMJ_APIKEY_PRIVATE = "b"\n', "keys.toml"))
    assert main(["import", file, *TO_LIST]) == 0


def test_an_unknown_list_or_column_exits_2_without_a_post(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """What the account or the file does not have is found before anything is posted."""
    assert main(["import", write("email\na@example.org\n"), "--list", "99", "--action", "remove"]) == 2
    assert "99" in capsys.readouterr().err
    assert main(["import", write("email,shoe\na@example.org,9\n"), *TO_LIST]) == 2
    assert "shoe" in capsys.readouterr().err
    assert main(["import", write("email\na@example.org\n"), *TO_LIST, "--columns", "email,shoe"]) == 2
    assert "shoe" in capsys.readouterr().err
    assert main(["import", write("mail\na@example.org\n"), *TO_LIST]) == 2
    assert mailjet.emulator.count(POST) == 0


def test_a_server_that_is_down_exits_3(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """Where nobody listens the import halts in the time that is allowed, and says what to do next."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        file = write("email\na@example.org\n")
        began = time.monotonic()
        assert main(["import", file, *TO_LIST, "--api-url", url, "--give-up-after", "0.2", "--json"]) == 3
    assert time.monotonic() - began < 5
    out, err = capsys.readouterr()
    assert set(json.loads(out)) == KEYS
    assert json.loads(out)["complete"] is False
    assert "nothing listens at 127.0.0.1:" in err
    assert "goes on where it stood" in err
    assert "Traceback" not in err


def test_too_many_rejections_halt_and_are_written(
    mailjet: Mailjet, write: Write, tmp_path: Path, capsys: Output
) -> None:
    """--max-rejected halts with status 3, and the rejects file has what was rejected until then."""
    file = write("email\n" + "nobody\n" * 3 + "a@example.org\nb@example.org\n")
    rejects = tmp_path / "r.csv"
    arguments = ["--max-rejected", "1", "--chunk-size", "1", "--rejects", str(rejects)]
    assert main(["import", file, *TO_LIST, *arguments]) == 3
    assert len(rejects.read_text().splitlines()) >= 3
    assert "rows were rejected, 1 is allowed" in capsys.readouterr().err


def test_rejects_that_cannot_be_written_exit_3(mailjet: Mailjet, write: Write, tmp_path: Path, capsys: Output) -> None:
    """Where the rejects file fails in the end, the books are printed all the same."""
    (tmp_path / "r.csv").mkdir()
    assert main(["import", write("email\nnobody\n"), *TO_LIST, "--rejects", str(tmp_path / "r.csv")]) == 3
    out, err = capsys.readouterr()
    assert "1 rejected" in out
    assert "could not be written" in err


@pytest.mark.parametrize(
    ("how", "advice"),
    [
        (["addnoforce", "--no-journal"], "run the same command again"),
        (["addforce", "--no-journal"], "addforce may have been applied"),
        (["addnoforce", "--run-id", "r 1"], "next: mjbulk resume 'r 1' sends again what does no harm twice"),
        (["addforce", "--run-id", "r"], "next: find out about the 1 unknown row first; addforce may"),
        (["addforce", "--run-id", "r"], "mjbulk resume r --resend always sends them again"),
    ],
)
def test_unknown_rows_exit_3(how: list[str], advice: str, mailjet: Mailjet, here: str, capsys: Output) -> None:
    """Rows whose answer was lost are unknown; what to do depends on whether twice does harm."""
    mailjet.drop_answer("contact/managemanycontacts")
    assert main(["import", here, "--list", "1", "--resend", "never", "--action", *how]) == 3
    out, err = capsys.readouterr()
    assert "1 unknown" in out
    assert "row 1: " in err
    assert advice in err


def test_unsent_rows_alone_can_be_imported(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """Where no row is unknown, the unsent ones are what is left to do, also with an action that may do harm twice."""
    arguments = ["--list", "1", "--action", "unsub", "--chunk-rows", "1", "--no-journal"]
    mailjet.emulator.fault(POST, Fault.answer(403, "{}"), times=None)
    assert main(["import", write(people(3)), *arguments]) == 3
    out, err = capsys.readouterr()
    assert "3 rows: 3 not sent" in out
    assert "next: import the rows that were not sent" in err


def test_a_timeout_leaves_unsent_rows(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """--timeout stops a run; jobs under way are named so that they can be watched."""
    mailjet.emulator.knobs = Knobs(queue_seconds=60.0)
    arguments = ["--timeout", "2", "--chunk-rows", "1", "--max-jobs", "1", "--no-journal"]
    assert main(["import", write(people(3)), "--list", "1", "--action", "remove", *arguments, "--json"]) == 3
    out, err = capsys.readouterr()
    books = json.loads(out)
    assert (books["unknown"], books["accepted"]) == (1, 0)
    assert "mjbulk watch contact:" in err
    assert "remove may have been applied" in err


# Sources


_SHEET = sheet_file([["email", "city"], ["a@example.org", "Two lines"]])


def as_parquet(columns: dict[str, list[str]]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "arguments", "name"),
    [
        (b'\xef\xbb\xbfemail;city\r\n"a@example.org";"Two\nlines"\r\n', ["--delimiter", ";"], "c.csv"),
        ("email,city\na@example.org,Two\u00a0lines\n".encode("cp1252"), ["--encoding", "cp1252"], "c.csv"),
        (b'{"email": "a@example.org", "city": "Two lines"}\n', [], "c.jsonl"),
        (b"email,city\na@example.org,Two lines\n", ["--format", "csv"], "c.txt"),
        (gzip.compress(b"email,city\na@example.org,Two lines\n", mtime=0), [], "c.csv.gz"),
        (gzip.compress(b'{"email": "a@example.org", "city": "Two lines"}\n', mtime=0), [], "c.jsonl.gz"),
        (as_parquet({"email": ["a@example.org"], "city": ["Two lines"]}), [], "c.parquet"),
        (as_parquet({"email": ["a@example.org"], "city": ["Two lines"]}), ["--format", "parquet"], "c"),
        (_SHEET, [], "c.xlsx"),
        (_SHEET, ["--format", "excel", "--sheet", "People"], "c"),
        (b"notes\nemail,city\na@example.org,Two\\\nlines\n", ["--header-row", "2", "--escape", "\\"], "c.csv"),
        (b"email,city,x\na@example.org,Two lines,NULL\n", ["--null", "NULL", "--columns", "email,city"], "c.csv"),
        (b"mail,ort,x\na@example.org,Two lines,1\n", ["--columns", "mail=email,ort=city"], "c.csv"),
        (b"email,city,x\na@example.org,Two lines,1\n", ["--columns", "email,city"], "c.csv"),
    ],
)
def test_files_of_all_kinds(mailjet: Mailjet, write: Write, content: bytes, arguments: list[str], name: str) -> None:
    """A file is read by its ending or as it is said, with its columns picked or renamed."""
    mailjet.emulator.create_property("city")
    assert main(["import", write(content, name), *TO_LIST, *arguments]) == 0
    assert mailjet.contacts["a@example.org"].properties["city"].split() == ["Two", "lines"]


def test_properties_are_created_with_their_types(mailjet: Mailjet, write: Write) -> None:
    """--create-properties and --types make what is missing."""
    file = write("email,age,city\na@example.org,7,Bergen\n")
    assert main(["import", file, *TO_LIST, "--create-properties", "--types", "age=int"]) == 0
    assert mailjet.contacts["a@example.org"].properties == {"age": 7, "city": "Bergen"}
    assert main(["import", write("email,age\na@example.org,\n"), *TO_LIST, "--nulls", "unassign"]) == 0
    assert "age" not in mailjet.contacts["a@example.org"].properties


def test_stdin_is_read_as_it_comes(mailjet: Mailjet) -> None:
    """- reads bytes from a pipe to their end."""
    rows = "email\n" + "".join(f"p{number}@example.org\n" for number in range(20_000))
    done = subprocess.run(command("import", "-", *TO_LIST), input=rows.encode(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"20000 rows: 20000 accepted" in done.stdout
    lines = b'{"email": "z@example.org"}\n'
    again = command("import", "-", "--format", "jsonl", *TO_LIST)
    assert subprocess.run(again, input=lines, capture_output=True, check=True).stderr == b""
    assert "z@example.org" in mailjet.contacts
    packed = gzip.compress(b"email\ny@example.org\n")
    assert subprocess.run(command("import", "-", *TO_LIST), input=packed, capture_output=True, check=True).stderr == b""
    assert "y@example.org" in mailjet.contacts
    refused = subprocess.run(command("import", "-", *TO_LIST, "--format", "parquet"), capture_output=True, check=False)
    assert (refused.returncode, b"cannot be read from a pipe" in refused.stderr) == (2, True)


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_an_import_and_accounts_for_it(mailjet: Mailjet, write: Write, number: int) -> None:
    """Ctrl-C and SIGTERM end a slow import with the books, the jobs under way, and status 3."""
    mailjet.emulator.knobs = Knobs(queue_seconds=60.0)
    with running("import", write(people(5)), *TO_LIST, "--chunk-rows", "2", "--max-jobs", "1", "--json") as process:
        wait_for(lambda: mailjet.emulator.jobs)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 3
    books = json.loads(out)
    assert (books["accepted"], books["unknown"], books["complete"]) == (0, 2, False)
    assert "it was stopped" in err
    assert "mjbulk watch contact:" in err
    assert f"next: mjbulk resume {books['run_id']} goes on where it stood" in err
    assert "Traceback" not in err


def test_a_signal_ends_an_import_from_a_silent_pipe(mailjet: Mailjet) -> None:
    """The import ends although the pipe stays open."""
    with running("import", "-", *TO_LIST, stdin=subprocess.PIPE) as process:
        wait_for(lambda: mailjet.requests >= 2)
        process.send_signal(signal.SIGINT)
        assert process.stdout
        assert process.stderr
        assert process.wait(60) == 3
        assert "0 rows" in process.stdout.read()
        assert "Traceback" not in process.stderr.read()


def test_a_named_pipe_is_read_and_left(mailjet: Mailjet, tmp_path: Path) -> None:
    """A named pipe is a file like any other, and one that nobody writes to does not keep the program."""
    pipe = tmp_path / "contacts.csv"
    os.mkfifo(pipe)
    with running("import", str(pipe), *TO_LIST) as process:
        pipe.write_text(people(3))
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "3 accepted" in out
    before = mailjet.requests
    with running("import", str(pipe), *TO_LIST) as process:
        wait_for(lambda: mailjet.requests >= before + 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 3


def test_progress_is_shown_on_a_terminal_alone(mailjet: Mailjet, write: Write) -> None:
    """On a terminal the progress goes to stderr; stdout has the books only, and ps shows no key."""
    mailjet.emulator.knobs = Knobs(queue_seconds=0.5)
    main_end, terminal = pty.openpty()
    try:
        with running("import", write(people(5)), *TO_LIST, "--json", stderr=terminal) as process:
            arguments = Path(f"/proc/{process.pid}/cmdline")
            assert not arguments.exists() or SECRET not in arguments.read_text()
            assert process.stdout
            assert set(json.loads(process.stdout.read())) == KEYS
            assert process.wait(60) == 0
        shown = os.read(main_end, 65536).decode()
    finally:
        os.close(main_end)
        os.close(terminal)
    assert "accepted 0 · rejected 0 · waiting 5 (1 job)" in shown
    assert "0%" in shown
    assert "@" not in shown


# watch and errors


async def submit(*addresses: str) -> JobRef:
    async with Client() as client:
        return (await client.submit_contacts([Contact(address) for address in addresses], lists=None)).ref


def submitted(mailjet: Mailjet, write: Write, text: str = "email\na@example.org\nb@example.org\n") -> str:
    assert main(["import", write(text), *TO_LIST]) in (0, 1)
    return f"contact:{max(mailjet.emulator.jobs)}"


def test_watch_tells_how_a_job_ended(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """A job that rejected nothing gives 0, one with rejected rows 1, as a line or as an object."""
    job = submitted(mailjet, write)
    capsys.readouterr()
    assert main(["watch", job]) == 0
    assert capsys.readouterr() == (f"{job}: Completed, 2 contacts, 0 rejected\n", "")
    mailjet.reject("b@example.org", "Mailbox does not exist")
    job = submitted(mailjet, write)
    capsys.readouterr()
    assert main(["watch", job, "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == {"job": job, "status": "Completed", "count": 2, "rejected": 1, "ok": False}
    assert f"mjbulk errors {job}" in err
    assert "@" not in out + err


def test_errors_prints_rejected_rows(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """The rejections of a job come as lines or as JSON Lines, and cannot steer a terminal."""
    mailjet.reject("b@example.org", "No \x1b[31mmailbox")
    job = submitted(mailjet, write)
    capsys.readouterr()
    assert main(["errors", job]) == 1
    assert capsys.readouterr().out == "b@example.org\t\tNo \N{REPLACEMENT CHARACTER}[31mmailbox\n"
    assert main(["errors", job, "--json"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"email": "b@example.org", "field": None, "message": "No \x1b[31mmailbox"}
    assert main(["errors", submitted(mailjet, write, "email\na@example.org\n")]) == 0


def test_a_job_that_failed_exits_1(mailjet: Mailjet, capsys: Output) -> None:
    """A job that ended in Error is said to have failed; its error text is shown by the command that shows errors."""
    mailjet.emulator.knobs = Knobs(queue_seconds=0.01, abort_after=1, abort_error="out of order")
    mailjet.reject("p0@example.org", "Mailbox does not exist")
    job = str(asyncio.run(submit("p0@example.org", "p1@example.org")))
    assert main(["watch", job]) == 1
    assert f"mjbulk errors {job}" in capsys.readouterr().err
    assert main(["errors", job]) == 1
    assert "the job as a whole: out of order" in capsys.readouterr().err


def test_a_job_that_goes_on_exits_3(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """A job that has not ended in time is said to go on; its errors cannot be read yet."""
    mailjet.emulator.knobs = Knobs(queue_seconds=60.0)
    assert main(["import", write(people(1)), *TO_LIST, "--timeout", "2"]) == 3
    job = f"contact:{max(mailjet.emulator.jobs)}"
    capsys.readouterr()
    assert main(["watch", job, "--timeout", "0.2"]) == 3
    assert f"mjbulk watch {job}" in capsys.readouterr().err
    assert main(["watch", job, "--timeout", "0.2", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["ok"] is False
    assert main(["errors", job]) == 3
    assert "has not ended" in capsys.readouterr().err


def test_a_server_that_does_not_answer_exits_3(mailjet: Mailjet, capsys: Output) -> None:
    """Where nothing can be learned of a job, watch and errors say so when their time is up."""
    mailjet.emulator.fault("*", Fault.stall(), times=None)
    assert main(["watch", "contact:7", "--timeout", "0.2"]) == 3
    assert "nothing is known" in capsys.readouterr().out
    assert main(["watch", "contactslist:1/7", "--timeout", "0.2", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["status"] is None
    assert main(["errors", "csvimport:7", "--timeout", "0.2"]) == 3
    assert "no answer within 0.2 s" in capsys.readouterr().err


def test_watch_ends_at_a_signal(mailjet: Mailjet, write: Write) -> None:
    """Ctrl-C gives up watching, and not the job."""
    mailjet.emulator.knobs = Knobs(queue_seconds=60.0)
    assert main(["import", write(people(1)), *TO_LIST, "--timeout", "2"]) == 3
    before = mailjet.requests
    with running("watch", f"contact:{max(mailjet.emulator.jobs)}") as process:
        wait_for(lambda: mailjet.requests > before + 1)  # the second look comes after the answer to the first
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "Allocated" in out
    assert "the job goes on at Mailjet" in err


def test_watching_with_wrong_keys_exits_2(mailjet: Mailjet, capsys: Output) -> None:
    """A refusal of the keys is a wrong configuration for every command."""
    mailjet.emulator.knobs = Knobs(credentials=[("another", "pair")])
    assert main(["watch", "contact:7"]) == 2
    assert "401" in capsys.readouterr().err


# the account, the exclusion list, plans


def test_the_exclusion_list(mailjet: Mailjet, write: Write, tmp_path: Path, capsys: Output) -> None:
    """A file of people and one address go onto the exclusion list, and off it."""
    file = write("email;age\na@example.org;7\nbad;8\nb@example.org;9\n")
    assert main(["exclude", file, "--delimiter", ";", "--rejects", str(tmp_path / "out.csv")]) == 1
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("2,bad,email,")
    assert mailjet.contacts["b@example.org"].excluded
    assert "2 accepted, 1 rejected" in capsys.readouterr().out
    assert main(["include", "a@example.org"]) == 0
    assert not mailjet.contacts["a@example.org"].excluded
    assert main(["include", file, "--delimiter", ";", "--via", "csv", "--json"]) == 1
    assert not mailjet.contacts["b@example.org"].excluded
    assert main(["exclude", "nobody@example.org"]) == 2


def test_the_lists_of_one_contact(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """They are shown by address or ID, and changed; what Mailjet says of a wrong list is told."""
    second = str(mailjet.emulator.create_list("second").id)
    assert main(["import", write(people(1)), *TO_LIST]) == 0
    capsys.readouterr()
    number = str(mailjet.contacts["p0@example.org"].id)
    arguments = ["--list", second, "--list", "1", "--action", "addforce", "--action", "unsub"]
    assert main(["subscriptions", "p0@example.org", *arguments, "--json"]) == 0
    found = {row["list"]: row["unsubscribed"] for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert found == {1: True, int(second): False}
    assert main(["subscriptions", number]) == 0
    lines = [line.split("\t")[:2] for line in capsys.readouterr().out.splitlines()]
    assert sorted(lines) == [["1", "unsubscribed"], [second, "subscribed"]]
    assert main(["subscriptions", number, "--list", "77", "--list", "1", "--action", "addforce"]) == 2
    out, err = capsys.readouterr()
    assert (out, "list 77: List ID 77 is invalid or deleted" in err) == ("", True)
    assert mailjet.contacts["p0@example.org"].lists[1] == "unsub"
    for wrong in (["nobody@example.org"], ["no address"], ["-1"], [number, "--list", "1"], [number, *TO_LIST[2:]]):
        assert main(["subscriptions", *wrong]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_contacts_are_sent_in_one_request(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """One list has a call of its own; the job that is printed can be watched."""
    mailjet.emulator.create_property("age", "int")
    second = str(mailjet.emulator.create_list("second").id)
    file = write("email;age\na@example.org;7\nb@example.org;\n")
    assert main(["submit", file, "--delimiter", ";", *TO_LIST]) == 0
    job = capsys.readouterr().out.strip()
    assert job.startswith("contactslist:1/")
    assert main(["watch", job]) == 0
    assert mailjet.contacts["a@example.org"].properties == {"age": 7}
    assert mailjet.contacts["b@example.org"].properties == {}
    for where in (["--list", "1", "--list", second, "--action", "remove"], ["--no-list"]):
        assert main(["submit", file, "--delimiter", ";", *where]) == 0
        assert "contact:" in capsys.readouterr().out
    assert mailjet.emulator.count("POST contactslist/managemanycontacts") == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (people(1001), "more than 1,000 rows: mjbulk import takes any number"),
        ("email,age\na@example.org,7\nb@example.org\n", "row 2: the row has 1 fields, the header has 2"),
        ("email,age\na@example.org,7\nnobody,8\n", "row 2, column 'email': this is no e-mail address"),
        ("age,shoe\n7,8\n", "row 1, column 'email': the address is missing"),
        ("email\n", "there are no contacts"),
        ("", "the file is empty"),
    ],
)
def test_what_cannot_be_sent_in_one_request(
    mailjet: Mailjet, write: Write, capsys: Output, text: str, sentence: str
) -> None:
    """A row that cannot be sent refuses all of it by its number, before anything is sent."""
    assert main(["submit", write(text), *TO_LIST]) == 2
    assert sentence in capsys.readouterr().err
    assert mailjet.requests == 0


def test_an_error_file_is_written_whole(mailjet: Mailjet, write: Write, tmp_path: Path, capsys: Output) -> None:
    """It is what Mailjet gives; where there is none, or no place for it, that is said."""
    mailjet.reject("p0@example.org", "No")
    job = submitted(mailjet, write, people(2))
    out = tmp_path / "errors.json"
    capsys.readouterr()
    assert main(["errors", job, "--out", str(out)]) == 0
    assert json.loads(out.read_bytes()) == [{"Email": "p0@example.org", "Error": "No"}]
    assert capsys.readouterr().out == f"{out.stat().st_size} bytes in {out}\n"
    assert main(["errors", "contact:7", "--out", str(tmp_path / "none")]) == 2
    assert main(["errors", job, "--out", str(tmp_path / "nowhere" / "errors.json")]) == 2
    assert main(["errors", job, "--out", str(tmp_path)]) == 3
    err = capsys.readouterr().err
    for sentence in (
        "Mailjet answered 404 (it does not exist) to GET JSONError",
        "--out names a folder",
        "could not be written",
    ):
        assert sentence in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contacts.csv", "errors.json"]


def test_a_batchjob_is_shown(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """As Mailjet shows it; a number that no job has is refused."""
    job = submitted(mailjet, write).partition(":")[2]
    capsys.readouterr()
    assert main(["batchjob", job]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["ID"], shown["Status"]) == (int(job), "Completed")
    for wrong in ("7", "0", "-7", "seven"):
        assert main(["batchjob", wrong]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_plan_is_shown_and_nothing_is_sent(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """Rows that would be refused and properties that are missing are named; no contact is sent."""
    file = write("email,shoe\na@example.org,7\nbad,8\n")
    assert main(["plan", file, *TO_LIST]) == 1
    out = capsys.readouterr().out
    assert "unknown properties   shoe" in out
    assert "new properties       none" in out
    assert "row 2, column email: this is no e-mail address" in out
    assert main(["plan", file, *TO_LIST, "--json", "--create-properties"]) == 1
    assert json.loads(capsys.readouterr().out)["requests"] == 2
    assert main(["plan", write("email\na@example.org\n"), "--no-list"]) == 0
    for wrong, sentence in (("missing.csv", "cannot be opened"), ("-", "only once")):
        assert main(["plan", wrong, "--no-list"]) == 2
        assert sentence in capsys.readouterr().err
    assert not mailjet.contacts
    assert all(call.method == "GET" for call in mailjet.emulator.calls)


def test_findings_of_a_plan_are_shown(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """What may surprise is no fault: it is shown, with a count and the first row, and the plan is a good one."""
    mailjet.emulator.create_property("born", "datetime")
    one = write("email,born\na@example.org,\nb@example.org,20260102\n")
    assert main(["plan", one, *TO_LIST]) == 0
    shown = "numbers of eight digits (20251231) are read as dates"
    assert f"1 row from row 2 on, column born: {shown}" in capsys.readouterr().out
    assert main(["plan", one, *TO_LIST, "--json", "--timezone", "Europe/Paris"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["findings"]
    assert found == {
        "code": "value.date_of_digits", "column": "born", "count": 1, "first_row": 2, "message": shown
    }  # fmt: skip
    assert main(["plan", write("email,born\na@example.org,2/1/2026\n"), *TO_LIST, "--date-format", "%d/%m/%Y"]) == 0
    assert "1 row from row 1 on" not in capsys.readouterr().out


def test_lists_and_properties_are_shown_and_made(mailjet: Mailjet, capsys: Output) -> None:
    """What is made is shown, and then stands among the others."""
    assert main(["lists", "--create", "News"]) == 0
    assert main(["lists"]) == 0
    assert [line.split("\t")[-1] for line in capsys.readouterr().out.splitlines()] == ["News", "First list", "News"]
    assert main(["properties", "--create", "shoe", "--datatype", "int"]) == 0
    assert main(["properties", "--json"]) == 0
    made, listed = capsys.readouterr().out.splitlines()
    assert made.endswith("int\tstatic\tshoe")
    assert json.loads(listed)["name"] == "shoe"
    assert mailjet.emulator.properties["shoe"].datatype == "int"


def test_an_account_is_checked_with_consent_alone(mailjet: Mailjet, tmp_path: Path, capsys: Output) -> None:
    """Nothing is asked without --yes; with it the assumptions are shown and written, and the list is gone."""
    assert main(["check"]) == 2
    assert main(["check", "--yes", "--out", str(tmp_path / "nowhere" / "found.toml")]) == 2
    assert mailjet.requests == 0
    assert main(["check", "--yes", "--out", str(tmp_path / "found.toml")]) == 0
    assert "count_includes_rejected" in capsys.readouterr().out
    assert Assumptions.load(tmp_path / "found.toml").count_includes_rejected is not None
    assert all(one.deleted for number, one in mailjet.emulator.lists.items() if number != 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_check_that_is_interrupted_removes_what_it_made(mailjet: Mailjet, number: int) -> None:
    """A check that is stopped tidies up, and names what it could not remove."""
    mailjet.emulator.knobs = Knobs(import_seconds=60.0)
    if number == signal.SIGTERM:
        mailjet.emulator.fault("DELETE contactslist", Fault.answer(403, "{}"), times=None)
    with running("check", "--yes") as process:
        wait_for(lambda: len(mailjet.emulator.jobs) == 6)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, "Traceback" in err) == (3, "", False)
    assert "interrupted" in err
    left = [one.name for one in mailjet.emulator.lists.values() if not one.deleted]
    named = "left in the account: the list 'mjbulk check" in err
    assert (named, len(left)) == ((True, 2) if number == signal.SIGTERM else (False, 1))
    assert not mailjet.emulator.properties


def test_what_was_found_of_an_account_holds_for_an_import(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """--assumptions takes the file of a check: here jobs of more than two rows are not made."""
    found = write("max_rows = 2\n", "found.toml")
    assert main(["import", write(people(5)), *TO_LIST, "--assumptions", found, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["jobs"] == 3
    assert main(["lists", "--assumptions", write("max_rows = 0\n", "wrong.toml")]) == 2
    assert main(["lists", "--assumptions", "missing.toml"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_csvimport_is_aborted(mailjet: Mailjet, write: Write, capsys: Output) -> None:
    """A job that takes long is aborted by its ID; a job of another kind is refused."""
    mailjet.emulator.knobs = Knobs(import_seconds=60.0)
    assert main(["import", write(people(1)), *TO_LIST, "--via", "csv", "--timeout", "2"]) == 3
    capsys.readouterr()
    assert main(["abort", f"csvimport:{max(mailjet.emulator.jobs)}"]) == 0
    assert "Abort" in capsys.readouterr().out
    assert main(["abort", "contact:7"]) == 2
    capsys.readouterr()
    assert main(["abort", "--help"]) == 0
    assert "contactslist:" not in capsys.readouterr().out


@pytest.mark.parametrize("via", ["json", "csv"])
def test_a_real_file_through_the_sandbox(tmp_path: Path, via: str) -> None:
    """20,000 rows, 1 % of them bad, from one process to another: exact counts, and every bad row by its number."""
    with (tmp_path / "real.csv").open("w", encoding="utf-8-sig", newline="") as file:
        file.write("Email,city\r\n")
        for row in range(1, 20_001):
            address = f"row{row}.example.org" if row % 100 == 0 else f"row{row}@example.org"
            file.write(f'{address},"Zürich, ""Süd""\n{row} 東京"\r\n')
    with running("sandbox", "--port", "0") as sandbox:
        assert sandbox.stdout is not None
        url = next(word for line in sandbox.stdout for word in line.split() if "127.0.0.1" in word)
        url = url.removeprefix("MJ_API_URL=").rstrip(";")
        env = {**os.environ, "MJ_API_URL": url, "MJ_APIKEY_PUBLIC": "x", "MJ_APIKEY_PRIVATE": "y"}
        out = tmp_path / "out.csv"
        words = ["--list", "1", "--action", "addnoforce", "--via", via, "--create-properties", "--json"]
        ended = subprocess.run(
            command("import", "real.csv", *words, "--rejects", str(out)),
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    figures = json.loads(ended.stdout)
    assert (ended.returncode, figures["accepted"], figures["rejected"], figures["rows"]) == (1, 19_800, 200, 20_000)
    with out.open(newline="", encoding="utf-8") as file:
        assert [int(row["row"]) for row in csv.DictReader(file)] == list(range(100, 20_001, 100))


# sandbox and demo


def test_the_sandbox_takes_an_import_and_ends_at_ctrl_c(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it prints is what has to be set for an import to work, and comes at once through a pipe."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    with running("sandbox", "--port", "0") as process:
        assert process.stdout
        assert "listens at http://127.0.0.1:" in process.stdout.readline()
        for pair in process.stdout.readline().removeprefix("export ").split():
            monkeypatch.setenv(*pair.split("=", 1))
        assert main(["import", write(people(3)), *TO_LIST, "--poll-min", "0.1"]) == 0
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def test_the_sandbox_stays_on_this_machine(capsys: Output) -> None:
    """An address that other machines can reach needs a second option; a port in use gives an error."""
    for host in ("0.0.0.0", "mailjet.example"):
        assert main(["sandbox", "--host", host]) == 2
        assert "--expose" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["sandbox", "--host", "localhost", "--port", port]) == 2
    sentence = f"localhost, port {port}, cannot be listened on: Address already in use; --port 0 takes a free port"
    assert capsys.readouterr().err == f"mjbulk: {sentence}\n"
    host = "x" * 64
    assert main(["sandbox", "--host", host, "--expose"]) == 2
    assert capsys.readouterr().err == f"mjbulk: {host}, port 8025, cannot be listened on: no such address\n"
    assert main(["sandbox", "--port", "65536"]) == 2
    assert "from 0 to 65535" in capsys.readouterr().err


def test_the_sandbox_can_be_told_what_shall_happen(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """A person is refused, a request is answered 503, other keys get 401; keys are not printed."""
    (tmp_path / "faults.json").write_text(
        '[{"call": "POST contact/managemanycontacts", "fault": {"answer": {"status": 503}}}]'
    )
    words = [
        "--reject",
        "p1@example.org=Blocked = there",
        "--key",
        "ours:s1",
        "--faults",
        str(tmp_path / "faults.json"),
    ]
    with running("sandbox", "--port", "0", "--job-seconds", "0.1", "--rate", "100", *words) as process:
        assert process.stdout
        process.stdout.readline()
        said = process.stdout.readline()
        assert "ours" not in said
        monkeypatch.setenv(*said.strip().removeprefix("export ").split("=", 1))
        for key, status in {"other": 2, "ours": 1}.items():
            monkeypatch.setenv("MJ_APIKEY_PUBLIC", key)
            monkeypatch.setenv("MJ_APIKEY_PRIVATE", "s1")
            out = tmp_path / f"{key}.csv"
            words = ["--poll-min", "0.05", "--rejects", str(out), "--resend", "always"]
            assert main(["import", write(people(3)), *TO_LIST, *words]) == status, capsys.readouterr().err
    assert "Blocked = there" in out.read_text()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--reject", "a@example.org"], "--reject takes ADDRESS=REASON"),
        (["--key", "secretless"], "--key takes KEY:SECRET"),
        (["--rate", "0"], "at least one request a second"),
        (["--job-seconds", "-1"], "a number of seconds"),
        (["--faults", "nothing.json"], "nothing.json cannot be read: No such file"),
        (["--faults", "faults.json"], "entry 1: 'POST contct' is no call"),
    ],
)
def test_what_the_sandbox_cannot_be_told(
    words: list[str], problem: str, capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mistake is named before anything is served."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faults.json").write_text('[{"call": "POST contct", "fault": "drop_after"}]')
    assert main(["sandbox", "--port", "0", *words]) == 2
    assert problem in " ".join(capsys.readouterr().err.split())


def test_the_demo_shows_rejected_rows(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo needs no key and no network, names each bad row, and finds the books right."""
    monkeypatch.delenv("MJ_APIKEY_PUBLIC", raising=False)
    monkeypatch.setenv("MJBULK_PROXY", "http://nowhere.invalid")
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["demo"]) == 0
    out, _ = capsys.readouterr()
    for shown in ("17 │ no address at all", "1404 │", "Mailbox does not exist", "5991 accepted, 9 rejected", "agree"):
        assert shown in out


# The program as such


def test_the_version_is_printed(capsys: Output) -> None:
    """--version prints the name and a version."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("mjbulk ")


def test_help_has_every_option_and_none_for_keys(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """All settings and run keywords are options; a key cannot be one, nor is a proxy's password shown. Settings are in
    one place.
    """
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["import", "--help"]) == 0
    text = capsys.readouterr().out
    for name in (*get_type_hints(RunKeywords), "list", "action", "no-list", "rejects", "json", "delimiter", "format"):
        assert f"--{name.replace('_', '-')} " in text, name
    assert "mjbulk help settings" in text
    assert main(["help", "settings"]) == 0
    settings = capsys.readouterr().out
    for name in {f.name for f in attrs.fields(Settings)} - {"ssl", "drain", "min_upload_rate"} | {"chunk-size"}:
        assert f"--{name.replace('_', '-')}" in settings, name
    assert "--max-jobs" not in text
    options = {word for word in (text + settings).split() if word.startswith("--")}
    assert not {word for word in options if "key" in word or "secret" in word or "password" in word or "ssl" in word}


def test_help_hides_what_may_be_secret() -> None:
    """A proxy's password in the environment is in no help text, and an unreadable variable does not break it."""
    said = {"MJBULK_PROXY": "http://user:hunter2@proxy.example", "MJBULK_MAX_JOBS": "many", "COLUMNS": "200"}
    done = subprocess.run(
        command("help", "settings"), env={**os.environ, **said}, capture_output=True, text=True, check=True
    )
    assert "hunter2" not in done.stdout
    assert "environment's cannot be read" in done.stdout


def test_help_does_not_load_the_engine() -> None:
    """Help must not wait for the HTTP library."""
    code = "import sys; from mjbulk.cli import main; main(['--help']); print({'aiohttp', 'orjson'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("missing", ["cyclopts", "rich"])
def test_a_missing_extra_is_named(missing: str) -> None:
    """Without the extra the program says how to get it, and exits 2."""
    code = f"import sys; sys.modules['{missing}'] = None; from mjbulk.cli import main; sys.exit(main(['--help']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'mjbulk[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_traceback(mailjet: Mailjet, write: Write) -> None:
    """``mjbulk ... | head`` does not end in a traceback."""
    job = submitted(mailjet, write)
    reader, writer = os.pipe()
    os.close(reader)
    with running("watch", job, stdout=writer) as process:
        os.close(writer)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert err == ""
