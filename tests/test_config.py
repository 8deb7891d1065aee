"""Keys, settings and assumptions: from arguments, the environment, a file, and defaults."""

import copy
import math
import pickle
import ssl
from pathlib import Path
from typing import Any

import attrs
import pytest

from mjbulk.config import Assumptions, Credentials, Settings
from mjbulk.errors import UsageError

PUBLIC, PRIVATE = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"


VARIABLES = {
    field.name: "MJ_API_URL" if field.name == "api_url" else f"MJBULK_{field.name.upper()}"
    for field in attrs.fields(Settings)
    if field.name != "ssl"
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment in which the tests run gets into them."""
    for variable in ("MJ_APIKEY_PUBLIC", "MJ_APIKEY_PRIVATE", "MJBULK_CONFIG", *VARIABLES.values()):
        monkeypatch.delenv(variable, raising=False)


# Keys


def test_keys_are_in_no_repr() -> None:
    """Neither key is in a repr, a str or a format of the credentials."""
    keys = Credentials(PUBLIC, PRIVATE)
    for shown in (repr(keys), str(keys), f"{keys}", f"{keys!r}", f"{[keys]}"):
        assert PUBLIC not in shown
        assert PRIVATE not in shown


def test_keys_are_not_pickled() -> None:
    """Keys cannot be pickled or copied to another process by accident."""
    for save in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError) as caught:
            save(Credentials(PUBLIC, PRIVATE))
        assert str(caught.value) == "keys are not pickled"


def test_equal_keys_are_equal() -> None:
    """Credentials are equal where both keys are, and can be looked up by that; a wrong secret is somebody else."""
    keys = Credentials(PUBLIC, PRIVATE)
    assert keys == Credentials(PUBLIC, PRIVATE)
    assert {keys: 1}[Credentials(PUBLIC, PRIVATE)] == 1
    others: list[Any] = [Credentials(PUBLIC, PUBLIC), Credentials(PRIVATE, PRIVATE), (PUBLIC, PRIVATE), None]
    assert [keys == other for other in others] == [False] * 4


@pytest.mark.parametrize("bad", ["", " ", "abc\n", "ab c", "a:b", "ключ", "a\0b", "abc\t", None])
@pytest.mark.parametrize("which", ["public", "private"])
def test_what_can_be_no_key(which: str, bad: Any) -> None:
    """What can be no key is refused at once, in words that do not repeat it."""
    with pytest.raises(UsageError) as caught:
        Credentials(**{"public": PUBLIC, "private": PRIVATE, which: bad})
    assert str(caught.value).startswith(f"the {which} key is empty, or has a blank, a colon or a line end in it")


def test_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment comes before the file that it names."""
    config = tmp_path / "mjbulk.toml"
    config.write_text(f'MJ_APIKEY_PUBLIC = "{PRIVATE}"\nMJ_APIKEY_PRIVATE = "{PUBLIC}"\n', encoding="utf-8")
    monkeypatch.setenv("MJBULK_CONFIG", str(config))
    assert Credentials.load() == Credentials(PRIVATE, PUBLIC)
    monkeypatch.setenv("MJ_APIKEY_PUBLIC", PUBLIC)
    monkeypatch.setenv("MJ_APIKEY_PRIVATE", PRIVATE)
    assert Credentials.load() == Credentials(PUBLIC, PRIVATE)


@pytest.mark.parametrize("text", ["", 'MJ_APIKEY_PUBLIC = "a"\n', "MJ_APIKEY_PUBLIC = 1\nMJ_APIKEY_PRIVATE = 2\n"])
def test_keys_that_are_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    """Where the keys are neither in the environment nor in a file, the error says where they belong."""
    for config in ("", str(tmp_path / "mjbulk.toml")):
        monkeypatch.setenv("MJBULK_CONFIG", config)
        (tmp_path / "mjbulk.toml").write_text(text, encoding="utf-8")
        with pytest.raises(UsageError) as caught:
            Credentials.load()
        assert "set MJ_APIKEY_PUBLIC and MJ_APIKEY_PRIVATE" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"), [(b"a = ", "is no TOML"), (b"\xff", "is no TOML"), (None, "cannot be read")]
)
def test_a_file_of_keys_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, problem: str
) -> None:
    """A file that is missing or no TOML is an error, and nothing of it is repeated."""
    config = tmp_path / "mjbulk.toml"
    if content is not None:
        config.write_bytes(content)
    monkeypatch.setenv("MJBULK_CONFIG", str(config))
    with pytest.raises(UsageError) as caught:
        Credentials.load()
    assert problem in str(caught.value)
    assert str(config) not in str(caught.value)


# Settings


DEFAULTS = {
    "api_url": "https://api.mailjet.com",
    "concurrency": 8,
    "max_jobs": 256,
    "max_rows": 1_000_000,
    "attempts": 10,
    "give_up_after": 60.0,
    "chunk_bytes": 2 * 1024 * 1024,
    "poll_min": 1.0,
    "max_rate": None,
    "poll_max": 300.0,
    "account_ttl": 60.0,
    "drain": None,
    "connect_timeout": 10.0,
    "read_timeout": 60.0,
    "min_upload_rate": None,
    "proxy": None,
    "ssl": None,
    "insecure_host": None,
}


def settings_of(name: str, value: Any) -> Settings:
    return Settings(**{name: value})


def test_defaults() -> None:
    """What is not said is the documented default."""
    settings = Settings()
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("MJ_API_URL", " http://127.0.0.1:8025 ", "api_url", "http://127.0.0.1:8025"),
        ("MJBULK_CONCURRENCY", "3", "concurrency", 3),
        ("MJBULK_MAX_ROWS", " 7\n", "max_rows", 7),
        ("MJBULK_CHUNK_ROWS", "50", "chunk_rows", 50),
        ("MJBULK_GIVE_UP_AFTER", "1.5", "give_up_after", 1.5),
        ("MJBULK_DRAIN", "0", "drain", 0.0),
        ("MJBULK_MAX_RATE", "12.5", "max_rate", 12.5),
        ("MJBULK_PROXY", "http://proxy:3128", "proxy", "http://proxy:3128"),
        ("MJBULK_CONCURRENCY", "  ", "concurrency", 8),
        ("MJBULK_DRAIN", "", "drain", None),
        ("MJBULK_API_URL", "http://127.0.0.1:1", "api_url", "https://api.mailjet.com"),
    ],
)
def test_settings_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, name: str, value: Any
) -> None:
    """A variable that is set and not blank stands above the default, and below what is said."""
    monkeypatch.setenv(variable, text)
    assert getattr(Settings(), name) == value
    said: Any = {"api_url": "https://x.example", "proxy": "http://p:1"}.get(name, 5)
    assert getattr(settings_of(name, said), name) == said


@pytest.mark.parametrize(
    ("variable", "text"), [("MJBULK_CONCURRENCY", "many"), ("MJBULK_MAX_JOBS", "1.5"), ("MJBULK_DRAIN", "soon")]
)
def test_variables_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, variable: str, text: str) -> None:
    """A variable that is no number is named, and not repeated."""
    monkeypatch.setenv(variable, text)
    with pytest.raises(UsageError) as caught:
        Settings()
    assert str(caught.value) == f"{variable} in the environment cannot be read; nothing was sent"


def test_every_setting_has_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting but the SSL context can be said by its variable."""
    for name, variable in VARIABLES.items():
        if name == "min_upload_rate":
            continue
        monkeypatch.setenv(variable, "https://7.example" if name == "api_url" else "7")
        assert str(getattr(Settings(), name)) in ("7", "7.0", "https://7.example")


def test_the_least_rate_of_uploads_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller that still says it, as an argument or in the environment, is warned."""
    with pytest.warns(DeprecationWarning, match="min_upload_rate has no effect any more"):
        assert Settings(min_upload_rate=65536.0).read_timeout == 60.0
    monkeypatch.setenv("MJBULK_MIN_UPLOAD_RATE", "7")
    with pytest.warns(DeprecationWarning, match="slow uploads may take as long as they take"):
        Settings()


WHOLE = ("concurrency", "max_jobs", "max_rows", "attempts", "chunk_rows", "chunk_bytes")
REAL = ("give_up_after", "max_rate", "connect_timeout", "read_timeout", "poll_max")
NO_TIME = ("drain", "poll_min", "account_ttl")


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", [0, -1, True, 1.0, "5", math.inf])
def test_numbers_that_are_not_whole(name: str, value: Any) -> None:
    """Counts are whole numbers above 0: no booleans, no texts, no floats."""
    with pytest.raises(UsageError) as caught:
        settings_of(name, value)
    assert str(caught.value).startswith(f"{name} is a whole number above 0")


@pytest.mark.parametrize("name", [*REAL, *NO_TIME])
@pytest.mark.parametrize("value", [-1, True, "5", math.inf, math.nan])
def test_seconds_that_cannot_be(name: str, value: Any) -> None:
    """Seconds are finite numbers, not below 0."""
    with pytest.raises(UsageError) as caught:
        settings_of(name, value)
    assert str(caught.value).startswith(f"{name} is a number")


@pytest.mark.parametrize(("name", "allowed"), [*((name, False) for name in REAL), *((name, True) for name in NO_TIME)])
def test_where_nothing_is_a_number_of_seconds(name: str, *, allowed: bool) -> None:
    """No time at all may be waited for at an end and between two looks, or remembered, and nothing else."""
    if allowed:
        assert getattr(settings_of(name, 0), name) == 0
    else:
        with pytest.raises(UsageError):
            settings_of(name, 0)


@pytest.mark.parametrize("name", ["chunk_rows", "max_rate", "poll_max", "drain"])
def test_what_may_be_none(name: str) -> None:
    """No bound is None, where there may be none."""
    assert getattr(settings_of(name, None), name) is None


@pytest.mark.parametrize("name", ["concurrency", "read_timeout", "poll_min", "account_ttl"])
def test_what_may_not_be_none(name: str) -> None:
    """Everywhere else None is no number."""
    with pytest.raises(UsageError):
        settings_of(name, None)


@pytest.mark.parametrize(
    ("url", "insecure_host"),
    [
        ("https://api.mailjet.com", None),
        ("https://api.us.mailjet.com/", None),
        ("https://10.0.0.1:8443", None),
        ("http://localhost:8025", None),
        ("http://127.0.0.1", None),
        ("http://[::1]:8025/", None),
        ("http://proxy.internal:80", "proxy.internal"),
    ],
)
def test_addresses_that_keys_may_go_to(url: str, insecure_host: str | None) -> None:
    """https to anybody, http to this machine alone, or to the one host that was allowed."""
    assert Settings(api_url=url, insecure_host=insecure_host).api_url == url


@pytest.mark.parametrize(
    ("url", "insecure_host", "problem"),
    [
        *((url, None, "api_url is scheme, host and port") for url in (
            "", "api.mailjet.com", "https://", "ftp://api.mailjet.com", "https://api.mailjet.com/v3",
            "https://api.mailjet.com?x=1", "https://api.mailjet.com#x", "https://key:secret@api.mailjet.com",
            "https://api.mailjet.com@evil.example", "https://api.mailjet.com:port", "https://api.mailjet.com:99999",
            "https://[::1", "file:///etc/passwd",
        )),
        ("http://api.mailjet.com", None, "api_url has to be https"),
        ("http://127.0.0.1.evil.example", None, "api_url has to be https"),
        ("http://localhost.evil.example", None, "api_url has to be https"),
        ("http://other.internal", "proxy.internal", "api_url has to be https"),
    ],
)  # fmt: skip
def test_addresses_that_keys_may_not_go_to(url: str, insecure_host: str | None, problem: str) -> None:
    """Any other address is refused, and not repeated: keys may stand in it."""
    with pytest.raises(UsageError) as caught:
        Settings(api_url=url, insecure_host=insecure_host)
    assert str(caught.value).startswith(problem)
    assert "secret" not in str(caught.value)


def context(mode: ssl.VerifyMode, *, names: bool) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = names
    made.verify_mode = mode
    return made


def test_a_private_authority() -> None:
    """A context that checks certificates and names is taken."""
    made = context(ssl.CERT_REQUIRED, names=True)
    assert Settings(ssl=made).ssl is made


@pytest.mark.parametrize(
    "made",
    [
        context(ssl.CERT_NONE, names=False),
        context(ssl.CERT_OPTIONAL, names=False),
        context(ssl.CERT_REQUIRED, names=False),
        False,
        True,
        "ca.pem",
    ],
)
def test_checking_cannot_be_turned_off(made: Any) -> None:
    """There is no way to turn checking of certificates or host names off."""
    with pytest.raises(UsageError) as caught:
        Settings(ssl=made)
    assert "SSL" in str(caught.value)


def test_a_repr_of_settings_shows_no_password() -> None:
    """The address of a proxy may have a password in it: it is not shown."""
    assert "secret" not in repr(Settings(proxy="http://user:secret@proxy:3128"))
    assert "concurrency=8" in repr(Settings())


# Assumptions


def test_the_careful_choices() -> None:
    """Where Mailjet's behaviour is unknown, the assumption is the one that loses nothing."""
    assumed = Assumptions()
    assert (assumed.count_includes_rejected, assumed.csv_count_includes_rejected) == (None, None)
    assert assumed.errors_are_announced is False
    assert assumed.terminal_statuses == ("completed", "error", "abort", "aborted")


@pytest.mark.parametrize(
    "assumed",
    [
        Assumptions(),
        Assumptions(
            count_includes_rejected=True,
            csv_count_includes_rejected=False,
            csv_empty_cell_keeps=False,
            errors_are_announced=True,
            terminal_statuses=("completed", "beendet: ö 🎉"),
            new_job_seconds=0,
            counts_lag_seconds=1.5,
            max_body_bytes=1,
        ),
    ],
)
def test_what_is_written_is_loaded(tmp_path: Path, assumed: Assumptions) -> None:
    """load() reads what write() has written."""
    assumed.write(tmp_path / "assumptions.toml")
    assert Assumptions.load(tmp_path / "assumptions.toml") == assumed


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        *(({"terminal_statuses": value}, "terminal_statuses are words") for value in (
            "completed", ("error",), (), ("completed", 7), 7, None, ("completed", "Stopped"),
        )),
        *(({name: value}, f"{name} is a number of seconds")
          for name in ("new_job_seconds", "counts_lag_seconds", "error_file_seconds")
          for value in (-1, True, "5", math.inf, math.nan, None)),
        *(({name: value}, f"{name} is true or false")
          for name in ("count_includes_rejected", "csv_count_includes_rejected", "csv_empty_cell_keeps",
                       "errors_are_announced")
          for value in ("true", 1, 0)),
        *(({name: None}, f"{name} is true or false") for name in ("csv_empty_cell_keeps", "errors_are_announced")),
        *(({"max_body_bytes": value}, "max_body_bytes is a whole number above 0") for value in (0, -1, True, 1.5, "9")),
    ],
)  # fmt: skip
def test_assumptions_that_cannot_be(how: dict[str, Any], problem: str) -> None:
    """A value that cannot be is refused in a sentence that names its field."""
    with pytest.raises(UsageError) as caught:
        Assumptions(**how)
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "the file of assumptions cannot be read"),
        ("a = ", "the file of assumptions is no TOML"),
        ("count_includes_rejekted = true", "the file of assumptions has an unknown field 'count_includes_rejekted'"),
        ('terminal_statuses = "completed"', "terminal_statuses are words"),
        ("max_body_bytes = 0", "max_body_bytes is a whole number above 0"),
    ],
)
def test_a_file_of_something_else(tmp_path: Path, text: str | None, problem: str) -> None:
    """A file that is missing, no TOML or of something else is refused."""
    if text is not None:
        (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        Assumptions.load(tmp_path / "x.toml")
    assert str(caught.value).startswith(problem)
