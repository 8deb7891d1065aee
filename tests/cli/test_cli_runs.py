"""The command line and its journal: runs that go on, are shown and are forgotten."""

import csv
import json
import os
import shlex
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import TO_LIST, command, people, running, wait_for

from mjbulk.cli import main
from mjbulk.testing import Fault, Knobs, Mailjet

POST = "POST contact/managemanycontacts"
Output = pytest.CaptureFixture[str]
Shown = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Sixty people; one of them is no address."""
    path = tmp_path / "contacts.csv"
    path.write_text(people(59) + "nobody\n")
    return str(path)


@pytest.fixture
def shown(capsys: Output) -> Shown:
    """What ``mjbulk runs --json`` prints."""

    def show(*arguments: str) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert main(["runs", "--json", *arguments]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return show


def usual() -> Path:
    return Path(os.environ["XDG_STATE_HOME"]) / "mjbulk" / "journal.db"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_run_is_kept_and_not_done_twice(mailjet: Mailjet, file: str, capsys: Output) -> None:
    """In a file of its owner alone; the same command again tells what was, with the same exit status."""
    before = os.umask(0)
    try:
        assert main(["import", file, *TO_LIST, "--run-id", "r"]) == 1
    finally:
        os.umask(before)
    assert (mode(usual()), mode(usual().parent)) == (0o600, 0o700)
    first = capsys.readouterr()
    assert "ended before" not in first.out + first.err
    assert main(["import", file, *TO_LIST, "--run-id", "r"]) == 1
    again = capsys.readouterr()
    assert "59 accepted, 1 rejected" in again.out
    assert "it had ended before, nothing was sent now" in again.out
    assert "another --run-id imports again" in again.err
    assert mailjet.emulator.count(POST) == 1


def test_nothing_is_kept_where_that_is_said(
    mailjet: Mailjet, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor in the usual place where another one is said, by an option or by the environment."""
    assert main(["import", file, *TO_LIST, "--no-journal"]) == 1
    assert main(["import", file, *TO_LIST, "--journal", str(tmp_path / "a.db")]) == 1
    assert main(["exclude", file, "--journal", str(tmp_path / "b.db")]) == 1
    monkeypatch.setenv("MJBULK_JOURNAL", str(tmp_path / "c.db"))
    assert main(["import", file, *TO_LIST]) == 1
    assert main(["runs"]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["a.db", "b.db", "c.db"]
    assert not usual().exists()
    assert main(["import", file, *TO_LIST, "--no-journal", "--journal", "a.db"]) == 2


def test_no_place_for_a_journal(
    mailjet: Mailjet, file: str, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the journal cannot be written, the command says so before anything is sent, and what to do instead."""
    monkeypatch.setenv("XDG_STATE_HOME", file)
    assert main(["import", file, *TO_LIST]) == 2
    assert "say --journal FILE, or --no-journal; nothing was sent" in capsys.readouterr().err
    (tmp_path / "other.db").write_bytes(b"This is no database at all." * 100)
    assert main(["import", file, *TO_LIST, "--journal", str(tmp_path / "other.db")]) == 2
    assert main(["import", file, *TO_LIST, "--journal", str(tmp_path / "nowhere" / "a.db")]) == 2
    assert "say another --journal FILE, or --no-journal" in capsys.readouterr().err
    assert mailjet.requests == 0
    for words in (["resume", "r"], ["runs"], ["purge", "r"]):
        assert main([*words, "--journal", str(tmp_path / "nowhere.db")]) == 2
        assert "there is no journal" in capsys.readouterr().err
    assert main(["import", file, *TO_LIST, "--no-journal"]) == 1


def test_without_a_state_folder_it_is_under_home(tmp_path: Path, mailjet: Mailjet, file: str) -> None:
    """As the XDG specification has it; a relative path counts as none."""
    env = {**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": "state"}
    done = subprocess.run(command("import", file, *TO_LIST), env=env, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 1
    assert (tmp_path / ".local" / "state" / "mjbulk" / "journal.db").exists()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("again", [["resume", "r"], ["import", "FILE", *TO_LIST, "--run-id", "r"]])
def test_a_run_goes_on_after_kill(mailjet: Mailjet, file: str, again: list[str], shown: Shown, capsys: Output) -> None:
    """By its name, with its file found again, or by the same command; no settled row is sent twice."""
    mailjet.emulator.knobs = Knobs(queue_seconds=0.4)
    with running("import", file, *TO_LIST, "--run-id", "r", "--chunk-size", "10", "--max-jobs", "2") as process:
        wait_for(lambda: len(mailjet.emulator.jobs) > 2)
        process.kill()
        process.wait(60)
    (run,) = shown()
    assert (run["run_id"], run["state"]) == ("r", "resumable")
    assert main(["runs"]) == 0
    assert "  next: mjbulk resume r\n" in capsys.readouterr().out
    assert {chunk["state"] for chunk in shown("r")[0]["chunks"]} >= {"settled"}
    assert main([file if word == "FILE" else word for word in again]) == 1
    assert "59 accepted, 1 rejected" in capsys.readouterr().out
    assert mailjet.emulator.count(POST) <= 6 + 2  # two may have been under way when it was killed
    assert [run["state"] for run in shown()] == ["settled"]
    assert len(mailjet.contacts) == 59


def test_a_run_that_was_stopped_goes_on(mailjet: Mailjet, file: str, tmp_path: Path) -> None:
    """What to do is said, as it has to be typed; what was under way is found again."""
    mailjet.emulator.knobs = Knobs(queue_seconds=1.0)
    options = ["--chunk-size", "10", "--max-jobs", "2", "--journal", str(tmp_path / "my journal.db")]
    with running("import", file, *TO_LIST, *options) as process:
        wait_for(lambda: mailjet.emulator.jobs)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    (said,) = [line for line in err.splitlines() if "next: " in line]
    words = said.removeprefix("mjbulk: next: mjbulk ").removesuffix(" goes on where it stood")
    assert words.endswith(f"--journal '{tmp_path}/my journal.db'")
    assert main([*shlex.split(words), "--chunk-size", "10"]) == 1
    assert mailjet.emulator.count(POST) == 6
    assert len(mailjet.contacts) == 59


def test_a_run_from_a_pipe_goes_on(mailjet: Mailjet, file: str, shown: Shown, capsys: Output) -> None:
    """Without its source what is known is settled; with it, it goes to its end."""
    mailjet.emulator.knobs = Knobs(queue_seconds=1.0)
    text = Path(file).read_text()
    options = ["--chunk-size", "10", "--max-jobs", "2", "--run-id", "r"]
    with running("import", "-", *TO_LIST, *options, stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(text)
        process.stdin.close()
        wait_for(lambda: len(mailjet.emulator.jobs) == 2)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        assert process.stderr
        assert "next: mjbulk resume r - goes on where it stood" in process.stderr.read()
    mailjet.emulator.knobs = Knobs(queue_seconds=0.01)
    assert main(["resume", "r"]) == 3
    out, err = capsys.readouterr()
    assert "20 accepted" in out
    assert "its source is not at hand" in err
    assert "next: mjbulk resume r [FILE|-] goes on where it stood" in err
    assert [run["state"] for run in shown()] == ["needs_source"]
    assert main(["runs"]) == 0
    assert "  next: mjbulk resume r FILE\n" in capsys.readouterr().out
    assert main(["resume", "r", "--delimiter", ";"]) == 2
    assert main(["resume", "r", file, "--resend", "sometimes"]) == 2
    words = command("resume", "r", "-", "--json", "--chunk-size", "10")
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    books = json.loads(done.stdout)
    assert (done.returncode, books["accepted"], books["rejected"]) == (1, 59, 1)
    assert main(["resume", "r", file]) == 1
    assert mailjet.emulator.count(POST) == 6


def test_a_run_in_doubt_is_settled_by_the_callers_word(mailjet: Mailjet, file: str, capsys: Output) -> None:
    """A request that could do harm twice is not retried without the option for it."""
    mailjet.drop_answer(POST)
    words = ["import", file, "--list", "1", "--action", "addforce", "--run-id", "r", "--chunk-size", "10"]
    assert main(words) == 3
    assert "mjbulk resume r --resend always sends them again" in capsys.readouterr().err
    assert main(["resume", "r"]) == 3
    assert mailjet.emulator.count(POST) == 6
    assert main(["resume", "r", "--resend", "always"]) == 1
    assert mailjet.emulator.count(POST) == 7


def test_runs_are_shown(
    mailjet: Mailjet, file: str, shown: Shown, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a table or as objects: all of this account, or the chunks and jobs of one."""
    mailjet.emulator.fault(POST, Fault.answer(403, "{}"), times=None, after=3)
    assert main(["import", file, *TO_LIST, "--run-id", "a", "--chunk-size", "20", "--partition", "p"]) == 1
    assert main(["import", file, *TO_LIST, "--run-id", "b", "--chunk-size", "20"]) == 3
    capsys.readouterr()
    assert main(["runs"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "partition", "state", "begun", "took", "rows", "rejected"]
    assert [line.split()[:3] for line in lines if not line.startswith(" ")] == [
        ["b", "resumable", lines[0].split()[2]],
        ["a", "p", "complete"],
    ]
    assert lines[1] == "  addnoforce 1 - contacts.csv"
    assert lines[2].startswith("  59 not sent: Mailjet answered 403")
    assert [(run["run_id"], run["partition"], run["not_sent"]) for run in shown()] == [("b", None, 59), ("a", "p", 0)]
    assert main(["runs", "a"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  60 rows: 59 accepted, 1 rejected" in lines
    assert "  rejected by code: address.invalid 1" in lines
    head, *lines = lines[lines.index("") + 1 :]
    assert head.split()[:6] == ["partition", "chunk", "of", "rows", "state", "job"]
    assert [line.split()[1:3] for line in lines] == [["1", "1-20"], ["2", "21-40"], ["3", "41-59"]]
    assert all(" contact:" in line and " settled " in line for line in lines)
    (one,) = shown("b")
    (as_all, _) = shown()
    assert {name: value for name, value in one.items() if name not in ("by_code", "chunks")} == as_all
    assert (one["lists"], one["source"], one["complete"], one["not_sent"]) == ([[1, "addnoforce"]], file, False, 59)
    assert one["cause"].startswith("Mailjet answered 403")
    assert {chunk["state"] for chunk in one["chunks"]} == {"unsent"}
    (one,) = shown("a")
    assert (one["by_code"], one["complete"]) == ({"address.invalid": 1}, True)
    assert [chunk["span"] for chunk in one["chunks"]] == [[1, 20], [21, 40], [41, 59]]
    capsys.readouterr()
    assert main(["runs", "c"]) == 2
    assert main(["resume", "a"]) == 2
    assert "no run 'a' of this account as such; it has the partitions 'p'" in capsys.readouterr().err
    assert main(["resume", "a", "--partition", "p"]) == 1
    monkeypatch.setenv("MJ_APIKEY_PUBLIC", "another")
    assert shown() == []


def test_a_run_is_forgotten(mailjet: Mailjet, file: str, shown: Shown, capsys: Output) -> None:
    """Its name is free then; a run that is not there cannot be."""
    assert main(["import", file, *TO_LIST, "--run-id", "r"]) == 1
    assert main(["import", file, "--no-list", "--run-id", "r"]) == 2
    assert main(["purge", "r"]) == 0
    assert shown() == []
    assert main(["purge", "r"]) == 2
    assert main(["import", file, "--no-list", "--run-id", "r"]) == 1


def test_an_address_with_a_password_is_not_said_again(
    mailjet: Mailjet, file: str, tmp_path: Path, capsys: Output
) -> None:
    """What to do next names no URL."""
    mailjet.emulator.fault(POST, Fault.answer(403, "{}"), times=None)
    url = f"sqlite:///{tmp_path}/a.db?timeout=5"
    assert main(["import", file, *TO_LIST, "--journal", url, "--run-id", "r"]) == 3
    assert "next: mjbulk resume r --journal URL goes on" in capsys.readouterr().err


# The list of runs


def test_the_newest_run_is_the_first(
    mailjet: Mailjet, file: str, shown: Shown, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within 80 columns; by state, and only some of them."""
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("one", "two"):
        assert main(["import", file, *TO_LIST, "--run-id", name]) == 1
    mailjet.emulator.fault(POST, Fault.answer(403, "{}"), times=None)
    assert main(["exclude", file, "--run-id", "three-with-a-long-name"]) == 3
    assert [run["run_id"] for run in shown()] == ["three-with-a-long-name", "two", "one"]
    assert [run["run_id"] for run in shown("--limit", "2")] == ["three-with-a-long-name", "two"]
    assert shown("--limit", "0") == []
    assert [run["run_id"] for run in shown("--state", "settled")] == ["two", "one"]
    assert [run["run_id"] for run in shown("--state", "complete", "--limit", "1")] == ["two"]
    assert [run["run_id"] for run in shown("--state", "resumable")] == ["three-with-a-long-name"]
    (first, *_) = shown()
    assert (first["lists"], first["excluded"], first["source"]) == (None, True, file)
    assert shown()[1]["lists"] == [[1, "addnoforce"]]
    assert shown()[1]["seconds"] > 0
    capsys.readouterr()
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[2] == "  exclude - contacts.csv"
    assert "59 not sent: Mailjet answered 403" in lines[3]
    assert main(["runs", "--state", "running"]) == 0
    assert capsys.readouterr() == ("", "mjbulk: no run is running\n")
    assert main(["runs", "--limit", "0"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["runs", "--limit", "-1"]) == 2
    assert main(["runs", "--state", "lost"]) == 2


def test_rejections_of_a_run_that_has_ended_are_written(
    mailjet: Mailjet, file: str, tmp_path: Path, capsys: Output
) -> None:
    """From the journal, without addresses; those of a run that has not ended are refused."""
    assert main(["import", file, *TO_LIST, "--run-id", "r"]) == 1
    rejects = tmp_path / "r.csv"
    capsys.readouterr()
    assert main(["runs", "r", "--rejects", str(rejects)]) == 0
    assert f"1 rejected row in {rejects}, without addresses and rows: a journal keeps none" in capsys.readouterr().err
    (row,) = csv.DictReader(rejects.read_text().splitlines())
    assert (row["row"], row["email"], row["code"]) == ("60", "", "address.invalid")
    assert main(["runs", "--rejects", str(rejects)]) == 2
    assert main(["runs", "r", "--rejects", "r.txt"]) == 2
    assert main(["runs", "nothing", "--rejects", str(rejects)]) == 2
    (tmp_path / "folder.csv").mkdir()
    assert main(["runs", "r", "--rejects", str(tmp_path / "folder.csv")]) == 3
    assert "could not be written" in capsys.readouterr().err


def test_a_journal_replaces_no_file_that_has_more(mailjet: Mailjet, file: str, tmp_path: Path, capsys: Output) -> None:
    """Somebody may have corrected the rows: no command for a run that has ended takes them away."""
    rejects = tmp_path / "r.csv"
    words = [*TO_LIST, "--run-id", "r", "--rejects", str(rejects)]
    assert main(["import", file, *words]) == 1
    whole = rejects.read_text()
    assert "nobody" in whole
    again = (["import", file, *words], 1), (["resume", "r", *words[-2:]], 1), (["runs", "r", *words[-2:]], 2)
    for command_line, status in again:
        capsys.readouterr()
        assert main(command_line) == status
        sentence = f"{rejects} is left as it is: this run had ended before; name another file for its rejected rows"
        sentence = sentence if status == 1 else f"--rejects names a file that is there: {rejects}"
        assert sentence in capsys.readouterr().err, command_line
        assert rejects.read_text() == whole
    other = tmp_path / "other.csv"
    assert main(["import", file, *words[:-1], str(other)]) == 1
    assert f"their reasons are in {other}: correct the rows" in capsys.readouterr().err
    assert other.read_text() == whole


@pytest.mark.parametrize("way", ["import", "resume", "resume FILE"])
def test_the_rejected_rows_of_a_run_that_has_ended(
    mailjet: Mailjet, file: str, tmp_path: Path, capsys: Output, way: str
) -> None:
    """Its source is read again for them, and nothing is sent. If that has changed, the journal has the reasons."""
    words = {
        "import": ["import", file, *TO_LIST, "--run-id", "r"],
        "resume": ["resume", "r"],
        "resume FILE": ["resume", "r", file],
    }[way]
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    assert main(["import", file, *TO_LIST, "--run-id", "r"]) == 1
    assert "next: mjbulk resume r --rejects FILE.csv writes them with their reasons" in capsys.readouterr().err
    posts = mailjet.emulator.count("POST contact/managemanycontacts")
    assert main([*words, "--rejects", str(first)]) == 1
    (row,) = csv.reader(first.read_text().splitlines()[1:])
    assert (row[0], "nobody" in row[1], "nobody" in row[7]) == ("60", True, True)
    Path(file).write_text("email\nanother@example.org\n")
    capsys.readouterr()
    assert main([*words, "--rejects", str(second)]) == 1
    err = capsys.readouterr().err
    assert "the rejected rows are written without addresses and rows: the source has changed" in err
    assert f"their reasons are in {second}, without addresses and rows" in err
    (row,) = csv.reader(second.read_text().splitlines()[1:])
    assert (row[0], row[1], len(row)) == ("60", "", 7)
    assert mailjet.emulator.count("POST contact/managemanycontacts") == posts
    assert main(["import", str(second), *TO_LIST]) == 2
    assert "mjbulk resume RUN_ID FILE --rejects OUT.csv reads them from the source again" in capsys.readouterr().err


def test_an_unfinished_import_that_is_repeated_is_told(
    mailjet: Mailjet, file: str, tmp_path: Path, capsys: Output, shown: Shown
) -> None:
    """Without a --run-id the same command is another run, and says so, quiet or not; other files and lists do not."""
    mailjet.emulator.fault(POST, Fault.answer(403, "{}"), times=1)
    assert main(["import", file, *TO_LIST]) == 3
    (run_id,) = [run["run_id"] for run in shown("--state", "resumable")]
    other = tmp_path / "other.csv"
    other.write_text("email\na@example.org\n")
    said = f"run {run_id} of this file was not finished: mjbulk resume {run_id} continues it; this is another run"
    for words, told in (
        ([str(other), *TO_LIST], False),
        ([file, "--no-list"], False),
        ([file, *TO_LIST, "--run-id", "named"], False),
        ([file, *TO_LIST, "--no-journal"], False),
        ([file, *TO_LIST, "-q"], True),
    ):
        capsys.readouterr()
        assert main(["import", *words]) in (0, 1)
        assert (said in capsys.readouterr().err) is told, words
    assert len(shown()) == 5
    assert main(["resume", run_id]) == 1
    capsys.readouterr()
    assert main(["import", file, *TO_LIST]) == 1
    assert "not finished" not in capsys.readouterr().err


def test_old_runs_are_forgotten(mailjet: Mailjet, file: str, shown: Shown, capsys: Output) -> None:
    """By their age; a dry run forgets nothing."""
    for name in ("one", "two"):
        assert main(["import", file, *TO_LIST, "--run-id", name]) == 1
    capsys.readouterr()
    assert main(["purge", "--older-than", "1h"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["purge", "--older-than", "0s", "--dry-run"]) == 0
    assert capsys.readouterr().out == "run one would be forgotten\nrun two would be forgotten\n"
    assert main(["purge", "one", "--dry-run"]) == 0
    assert len(shown()) == 2
    assert main(["purge", "--older-than", "0d"]) == 0
    assert capsys.readouterr().out == "run one is forgotten\nrun two is forgotten\n"
    assert shown() == []
    for wrong in (["90"], ["-1d"], ["soon"], ["1y"]):
        assert main(["purge", "--older-than", *wrong]) == 2
    assert "as in 90d" in capsys.readouterr().err
    assert main(["purge"]) == 2
    assert main(["purge", "one", "--older-than", "1d"]) == 2
    assert main(["purge", "--older-than", "99999999999w"]) == 0


def test_a_run_that_is_under_way_is_not_forgotten(mailjet: Mailjet, file: str, shown: Shown, capsys: Output) -> None:
    """However old it is."""
    mailjet.emulator.knobs = Knobs(queue_seconds=60.0)
    with running("import", file, *TO_LIST, "--run-id", "r") as process:
        wait_for(lambda: mailjet.emulator.jobs)
        assert [run["state"] for run in shown()] == ["running"]
        assert main(["purge", "--older-than", "0s"]) == 0
        assert capsys.readouterr().out == ""
        assert main(["purge", "r"]) == 2
        assert main(["runs"]) == 0
        assert "it is under way" in capsys.readouterr().out
        process.kill()
        process.wait(60)
    assert main(["purge", "--older-than", "0s"]) == 0
    assert shown() == []
