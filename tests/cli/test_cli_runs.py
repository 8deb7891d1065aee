"""The command line and its journal: runs that go on, are shown and are forgotten."""

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
        process.wait(10)
    (run,) = shown()
    assert (run["run_id"], run["state"]) == ("r", "resumable")
    assert {chunk["state"] for chunk in shown("r")} >= {"settled"}
    assert main([file if word == "FILE" else word for word in again]) == 1
    assert "59 accepted, 1 rejected" in capsys.readouterr().out
    assert mailjet.emulator.count(POST) <= 7
    assert [run["state"] for run in shown()] == ["settled"]
    assert len(mailjet.contacts) == 59


def test_a_run_that_was_stopped_goes_on(mailjet: Mailjet, file: str, tmp_path: Path) -> None:
    """What to do is said, as it has to be typed; what was under way is found again."""
    mailjet.emulator.knobs = Knobs(queue_seconds=1.0)
    options = ["--chunk-size", "10", "--max-jobs", "2", "--journal", str(tmp_path / "my journal.db")]
    with running("import", file, *TO_LIST, *options) as process:
        wait_for(lambda: mailjet.emulator.jobs)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=10)
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
        process.wait(10)
        assert process.stderr
        assert "next: mjbulk resume r - goes on where it stood" in process.stderr.read()
    mailjet.emulator.knobs = Knobs(queue_seconds=0.01)
    assert main(["resume", "r"]) == 3
    out, err = capsys.readouterr()
    assert "20 accepted" in out
    assert "its source is not at hand" in err
    assert "next: mjbulk resume r [FILE|-] goes on where it stood" in err
    assert [run["state"] for run in shown()] == ["needs_source"]
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
    assert head.split()[:6] == ["run", "partition", "state", "begun", "done", "rows"]
    assert [line.split()[:3] for line in lines] == [["a", "p", "settled"], ["b", "resumable", lines[1].split()[2]]]
    assert lines[0].split()[4:] == ["100%", "60", "59", "1", "0", "0", "0"]
    assert [(run["run_id"], run["partition"], run["not_sent"]) for run in shown()] == [("a", "p", 0), ("b", None, 59)]
    assert main(["runs", "a"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:6] == ["partition", "chunk", "of", "rows", "state", "job"]
    assert [line.split()[1:3] for line in lines] == [["1", "1-20"], ["2", "21-40"], ["3", "41-59"]]
    assert all(" contact:" in line and " settled " in line for line in lines)
    assert {chunk["state"] for chunk in shown("b")} == {"unsent"}
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
