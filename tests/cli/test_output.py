"""Output that cannot be written: told on stderr, with status 3, and never a traceback."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import TO_LIST, command, people

from mjbulk.cli import main
from mjbulk.cli._output import Guarded, counted, guarded, say, tell
from mjbulk.testing import Mailjet

FULL = Path("/dev/full")
full = pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Two people."""
    path = tmp_path / "contacts.csv"
    path.write_text(people(2))
    return str(path)


def run(words: list[str], stdout: object = None, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a command with a stdout that cannot be written; usually Python has a buffer for it, and fails at its end."""
    more = {**os.environ, "PYTHONUNBUFFERED": "", **env}
    return subprocess.run(words, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, env=more)  # type: ignore[call-overload,no-any-return]  # what it takes as stdout


@full
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_told(mailjet: Mailjet, file: str, unbuffered: str) -> None:
    """The import went well, and its books stand on stderr."""
    with FULL.open("w") as nowhere:
        words = command("import", file, *TO_LIST, "--run-id", "r")
        done = run(words, nowhere, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 3
    assert "No space left on device" in done.stderr
    assert "r: 2 rows: 2 accepted" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(mailjet.contacts) == 2


@full
@pytest.mark.parametrize("words", [["--help"], ["help", "settings"], ["lists"], ["lists", "--json"], ["--version"]])
def test_no_command_breaks_of_it(mailjet: Mailjet, words: list[str]) -> None:
    """Whatever writes: a command, or the help."""
    with FULL.open("w") as nowhere:
        done = run(command(*words), nowhere)
    assert (done.returncode, done.stderr.count("could not be written")) == (3, 1)
    assert "Traceback" not in done.stderr


@full
def test_a_refusal_stays_one(mailjet: Mailjet) -> None:
    """Nothing was sent: that says more than the output that was lost."""
    with FULL.open("w") as nowhere:
        assert run(command("import", "nowhere.csv", *TO_LIST), nowhere).returncode == 2


def test_a_closed_stdout_is_told(mailjet: Mailjet, file: str) -> None:
    """As a shell closes it by ``>&-``."""
    line = ["sh", "-c", '"$@" >&-', "sh", *command("import", file, *TO_LIST)]
    done = run(line)
    assert done.returncode == 3
    assert "2 accepted" in done.stderr
    assert "Bad file descriptor" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_stderr_breaks_nothing(mailjet: Mailjet, file: str) -> None:
    """What is told is lost; the status is that of the import."""
    line = ["sh", "-c", '"$@" 2>&-', "sh", *command("import", file, *TO_LIST)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, "2 accepted" in done.stdout) == (0, True)


def test_a_closed_stdin_is_told(mailjet: Mailjet) -> None:
    """There is nothing to read."""
    done = run(["sh", "-c", '"$@" <&-', "sh", *command("import", "-", *TO_LIST)])
    assert done.returncode == 2
    assert "there is no stdin" in done.stderr


def test_a_reader_that_leaves_gets_no_books(mailjet: Mailjet, file: str) -> None:
    """So they are told: somebody may look for them."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as broken:
        done = run(command("import", file, *TO_LIST), broken)
    assert done.returncode == 3
    assert "2 accepted" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_an_encoding_that_lacks_letters_is_told(mailjet: Mailjet, encoding: str) -> None:
    """What it has is written, and the others so that they can be read."""
    mailjet.emulator.create_list("Zażółć – ☃")
    done = subprocess.run(
        command("lists"),
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3
    assert b"\\u2603" in done.stdout
    assert b"PYTHONIOENCODING=utf-8" in done.stderr
    assert b"Traceback" not in done.stderr
    whole = subprocess.run(command("lists"), env={**os.environ, "PYTHONIOENCODING": "utf-8"}, check=False)
    assert whole.returncode == 0


def test_what_stands_for_a_control_character_is_no_loss(mailjet: Mailjet) -> None:
    """It was put there by the command itself."""
    mailjet.emulator.create_list("bell \a")
    done = subprocess.run(
        command("lists"), env={**os.environ, "PYTHONIOENCODING": "latin-1"}, capture_output=True, check=False
    )
    assert (done.returncode, b"bell ?" in done.stdout) == (0, True)


# By itself


class Broken(io.StringIO):
    """Fails from some write on."""

    def write(self, text: str, /) -> int:
        if "fail" in text:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_the_first_failure_counts() -> None:
    """What comes after it is dropped."""
    stream = Broken()
    guard = Guarded(stream)
    guard.writelines(["a", "fail", "b"])
    guard.flush()
    assert (stream.getvalue(), guard.why) == ("a", "No space left on device")


def test_a_stream_that_is_closed_later() -> None:
    """Fails like one that was closed before."""
    stream = io.StringIO()
    guard = Guarded(stream)
    stream.close()
    assert not guard.isatty()
    guard.flush()
    guard.write("a")
    assert guard.why == "it is closed"
    assert Guarded(None).isatty() is False


def test_the_streams_are_put_back(capsys: pytest.CaptureFixture[str]) -> None:
    """Also after a failure."""
    out, err = sys.stdout, sys.stderr
    with guarded() as guard:
        say("a")
        tell("b")
        assert sys.stdout is guard
    assert (sys.stdout, sys.stderr) == (out, err)
    assert capsys.readouterr() == ("a\n", "mjbulk: b\n")


def test_numbers_with_their_nouns() -> None:
    """One is no many."""
    assert [counted(n, "row") for n in (0, 1, 2, 1250)] == ["0 rows", "1 row", "2 rows", "1,250 rows"]
    assert counted(2, "person", "people") == "2 people"


@pytest.mark.parametrize(("options", "lines"), [([], 0), (["-v"], 2), (["-q"], 0)])
def test_how_much_is_told(
    mailjet: Mailjet, file: str, options: list[str], lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """-v tells what the log says; -q only what went wrong; without either, what helps."""
    assert main(["import", file, *TO_LIST, "--run-id", "r", *options]) == 0
    err = capsys.readouterr().err
    assert len([line for line in err.splitlines() if "run r " in line]) == lines
    assert main(["import", file, *TO_LIST, "--run-id", "r", *options]) == 0
    assert ("another --run-id imports again" in capsys.readouterr().err) is (options != ["-q"])
    Path(file).write_text(people(2) + "nobody\n")
    assert main(["import", file, *TO_LIST, "--columns", "x", *options]) == 2
    assert "--columns picks 'x'" in capsys.readouterr().err
