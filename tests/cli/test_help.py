"""Help: two examples and the exit statuses of each command, settings in one place, profiles."""

import contextlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from commands import TO_LIST, people

import mjbulk
from mjbulk.cli import main
from mjbulk.cli._app import _COMMANDS
from mjbulk.cli._help import EXAMPLES
from mjbulk.testing import Knobs, Mailjet

Output = pytest.CaptureFixture[str]
COMMANDS = sorted(_COMMANDS)


@pytest.fixture
def shown(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What a command prints, on a terminal of some width."""

    def show(*arguments: str, width: int = 80, status: int = 0) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        capsys.readouterr()
        assert main(list(arguments)) == status
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_shows_two_examples_and_its_statuses(name: str, shown: Callable[..., str]) -> None:
    """Within 80 columns, or 120; settings have no box."""
    text = shown(name, "--help", width=120)
    assert max(map(len, text.splitlines())) <= 120
    text = shown(name, "--help")
    assert max(map(len, text.splitlines())) <= 80
    for example in EXAMPLES[name]:
        assert f"  {example}\n" in text
    assert "Exit status: 0 " in " ".join(text.split()) or name == "sandbox"
    assert "--poll-min" not in text
    assert len(text.splitlines()) < 110
    if name not in ("demo", "sandbox", "help"):
        assert "mjbulk help settings" in " ".join(text.split())


def test_an_action_is_explained_wherever_one_is_asked_for(shown: Callable[..., str]) -> None:
    """What addforce, addnoforce, remove and unsub do."""
    for name in ("import", "plan", "submit", "subscriptions"):
        text = re.sub(r"[\s│]+", " ", shown(name, "--help"))
        for word in ("addnoforce: adds;", "addforce: adds, and subscribes", "remove: takes off", "unsub: unsubscribes"):
            assert word in text, (name, word)
    assert "addforce    adds, and subscribes again" in shown("help", "actions")


def test_topics(shown: Callable[..., str]) -> None:
    """Settings, with their defaults; the form of the file of profiles; exit statuses; a command."""
    settings = shown("help", "settings")
    assert "--concurrency\n    Requests in flight per API key. [default: 8]" in settings
    assert "MJ_API_URL" in settings
    assert max(map(len, settings.splitlines())) <= 80
    assert "[profile.staging]\n    MJ_APIKEY_PUBLIC" in shown("help", "profiles")
    assert "    3   not complete" in shown("help", "status")
    assert shown("help", "import") == shown("import", "--help")
    assert shown("help") == shown("--help")


def test_a_topic_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """What there is is listed."""
    assert main(["help", "nonsense"]) == 2
    err = capsys.readouterr().err
    assert "there is no help about 'nonsense': mjbulk help takes actions, settings, profiles, status, import," in err
    assert err.rstrip().endswith("demo or help")


def test_the_module_is_the_command() -> None:
    """``python -m mjbulk`` does what ``mjbulk`` does; both know their version."""
    done = subprocess.run([sys.executable, "-m", "mjbulk", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"mjbulk {mjbulk.__version__}\n"
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", mjbulk.__version__)
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "mjbulk/version.py"
    with contextlib.suppress(metadata.PackageNotFoundError):  # as in a source tree
        assert metadata.version("mjbulk") == mjbulk.__version__


# Profiles


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with keys, and with two profiles."""
    path = tmp_path / "mjbulk.toml"
    path.write_text(
        'MJ_APIKEY_PUBLIC = "a"\nMJ_APIKEY_PRIVATE = "b"\n'
        '[profile.staging]\nMJ_APIKEY_PUBLIC = "sa"\nMJ_APIKEY_PRIVATE = "sb"\nchunk_rows = 2\n'
        '[other]\nMJ_APIKEY_PUBLIC = "oa"\nMJ_APIKEY_PRIVATE = "ob"\n'
        '[broken]\nMJ_APIKEY_PUBLIC = "xa"\nchunk_row = 2\n'
    )
    monkeypatch.setenv("MJBULK_CONFIG", str(path))
    return path


def test_a_profile_has_keys_and_settings(mailjet: Mailjet, config: Path, tmp_path: Path) -> None:
    """They count instead of the keys of the environment; an option counts more."""
    mailjet.emulator.knobs = Knobs(credentials=[("sa", "sb")])
    file = tmp_path / "contacts.csv"
    file.write_text(people(6))
    assert main(["import", str(file), *TO_LIST, "--profile", "staging"]) == 0
    assert len(mailjet.emulator.jobs) == 3
    assert main(["import", str(file), *TO_LIST, "--profile", "staging", "--chunk-size", "6"]) == 0
    assert len(mailjet.emulator.jobs) == 4
    assert main(["lists"]) == 2
    config.write_text(config.read_text().replace("chunk_rows", "MJBULK_CHUNK_ROWS"))
    assert main(["import", str(file), *TO_LIST, "--profile", "staging"]) == 0
    assert len(mailjet.emulator.jobs) == 7
    mailjet.emulator.knobs = Knobs(credentials=[("oa", "ob")])
    assert main(["lists", "--profile", "other"]) == 0


def test_a_profile_that_cannot_be_used(
    mailjet: Mailjet, config: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Says what there is; no key is printed."""
    for name, sentence in (
        ("stagin", "has no profile 'stagin': it has 'other', 'broken', 'staging'"),
        ("broken", "profile 'broken' has no MJ_APIKEY_PRIVATE"),
    ):
        assert main(["lists", "--profile", name]) == 2
        err = capsys.readouterr().err
        assert sentence in err
        assert "xa" not in err.replace("'", "")
    config.write_text('[x]\nMJ_APIKEY_PUBLIC = "a"\nMJ_APIKEY_PRIVATE = "b"\nchunk_row = 1\n')
    assert main(["lists", "--profile", "x"]) == 2
    assert "profile 'x' has no setting 'chunk_row' (did you mean 'chunk_rows'?)" in capsys.readouterr().err
    config.write_text("")
    assert main(["lists", "--profile", "x"]) == 2
    assert "one begins with [profile.x]" in capsys.readouterr().err
    monkeypatch.delenv("MJBULK_CONFIG")
    assert main(["lists", "--profile", "x"]) == 2
    err = capsys.readouterr().err
    assert "MJBULK_CONFIG" in err
    assert "mjbulk help profiles" in err
