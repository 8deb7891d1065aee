"""Keys, settings and assumptions about the API: from arguments, then from the environment, then from defaults."""

import hmac
import json
import os
import ssl as ssl_module
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import attrs
from attrs import field, frozen
from attrs.validators import matches_re, optional

from mjbulk.discreet import discreet, discreet_init
from mjbulk.errors import UsageError
from mjbulk.likely import did_you_mean
from mjbulk.public import public
from mjbulk.validators import BOOL, NOT_NEGATIVE, POSITIVE, POSITIVE_INT, checked, of_type

_T = TypeVar("_T")
JSON_ROWS = 1000
"""Rows of a chunk on the JSON way, by default (FACTS 1.9)."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


_KEY = checked(matches_re("[!-9;-~]+"), "the {} key is empty, or has a blank, a colon or a line end in it")
"""Without this check, a line end after a key in a file would show as a 401."""


@public
@discreet_init
@frozen(repr=False, eq=False)
class Credentials:
    """An API key and its secret. Neither is in its repr, and it cannot be pickled.

    Raises UsageError for what cannot be a key.
    """

    public: str = field(validator=_KEY)
    """The API key."""
    private: str = field(validator=_KEY)
    """Its secret."""

    @classmethod
    @discreet
    def load(cls, profile: str | None = None) -> Self:
        """Take the keys from MJ_APIKEY_PUBLIC and MJ_APIKEY_PRIVATE, else from the TOML file that MJBULK_CONFIG names.
        Those of a ``profile`` come from its table in that file alone: ``[profile.NAME]``.

        Raises UsageError if they are in neither.
        """
        if profile is not None:
            return cls(*(_profile_key(profile, name) for name in _KEY_NAMES))
        known = _config_file() if not all(map(os.environ.get, _KEY_NAMES)) else {}
        public, private = (os.environ.get(name) or known.get(name) for name in _KEY_NAMES)
        if not isinstance(public, str) or not isinstance(private, str):
            raise UsageError(
                "no API key: set MJ_APIKEY_PUBLIC and MJ_APIKEY_PRIVATE (mjbulk sandbox serves a stand-in that "
                "takes any), or name a TOML file with both in MJBULK_CONFIG"
                ' (MJ_APIKEY_PUBLIC = "...", a line each)'
            )
        return cls(public, private)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Credentials):
            return NotImplemented
        same = hmac.compare_digest(self.public, other.public)
        return hmac.compare_digest(self.private, other.private) and same

    def __hash__(self) -> int:
        return hash((self.public, self.private))

    def __repr__(self) -> str:
        return "Credentials(***)"

    def __reduce__(self) -> str:
        raise TypeError("keys are not pickled")


def _config_file() -> dict[str, Any]:
    path = os.environ.get("MJBULK_CONFIG")
    if not path:
        return {}
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as why:
        raise UsageError(f"the file that MJBULK_CONFIG names cannot be read: {why.strerror}") from None
    except ValueError:
        raise UsageError("the file that MJBULK_CONFIG names is no TOML") from None


_KEY_NAMES = ("MJ_APIKEY_PUBLIC", "MJ_APIKEY_PRIVATE")


@discreet
def _profile(name: str) -> dict[str, Any]:
    """Give the table of a profile: ``[profile.NAME]``, or ``[NAME]``. Raises UsageError if there is none."""
    if not os.environ.get("MJBULK_CONFIG"):
        raise UsageError("a profile is in a TOML file, which MJBULK_CONFIG has to name")
    known = _config_file()
    nested = known.get("profile", known.get("profiles"))
    tables = {**known, **(nested if isinstance(nested, dict) else {})}
    found = tables.get(name)
    if not isinstance(found, dict):
        there = [word for word, table in tables.items() if isinstance(table, dict) and table is not nested]
        has = f"it has {', '.join(map(repr, there))}" if there else f"it has none; one begins with [profile.{name}]"
        raise UsageError(f"the file that MJBULK_CONFIG names has no profile {name!r}: {has}")
    return found


@discreet
def _profile_key(profile: str, name: str) -> str:
    key = _profile(profile).get(name)
    if not isinstance(key, str):
        raise UsageError(f"profile {profile!r} has no {name}")
    return key


@discreet
def profile_settings(profile: str) -> dict[str, Any]:
    """Give the settings that a profile has, by their names or by those of the environment. Raises UsageError for an
    unknown name.
    """
    found = {_setting_of(name): value for name, value in _profile(profile).items() if name not in _KEY_NAMES}
    known = {f.name for f in attrs.fields(Settings)} - {"ssl"}
    if unknown := sorted(found.keys() - known):
        raise UsageError(f"profile {profile!r} has no setting {unknown[0]!r}{did_you_mean(unknown[0], known)}")
    return found


def _setting_of(variable: str) -> str:
    return "api_url" if variable == "MJ_API_URL" else variable.removeprefix("MJBULK_").lower()


def _setting(name: str, default: _T, read: Callable[[str], _T], *, variable: str = "", **more: Any) -> _T:
    """Make a field whose value comes from the environment, or else is the default, if no argument is given."""
    where = variable or f"MJBULK_{name.upper()}"

    def from_environment() -> _T:
        text = os.environ.get(where)
        if text is None or not text.strip():
            return default
        try:
            return read(text)
        except ValueError:
            raise UsageError(f"{where} in the environment cannot be read") from None

    return field(factory=from_environment, **more)  # type: ignore[no-any-return]


_COUNT = checked(POSITIVE_INT, "{} is a whole number above 0")
_COUNT_OR_NONE = checked(optional(POSITIVE_INT), "{} is a whole number above 0")
_SECONDS = checked(NOT_NEGATIVE, "{} is a number of seconds")
_SECONDS_OR_NONE = checked(optional(NOT_NEGATIVE), "{} is a number of seconds")
_BOOL = checked(BOOL, "{} is true or false")
_BOOL_OR_NONE = checked(optional(BOOL), "{} is true or false")
_NUMBER = checked(POSITIVE, "{} is a number above 0")
_NUMBER_OR_NONE = checked(optional(POSITIVE), "{} is a number above 0")


@public
@discreet_init
@frozen(kw_only=True)
class Settings:
    """Numbers and addresses. A setting without an argument comes from ``MJBULK_<NAME>``, or else is the default.

    Raises UsageError for an impossible value.
    """

    api_url: str = _setting("api_url", "https://api.mailjet.com", str.strip, variable="MJ_API_URL")
    """Scheme, host and port: https, or http to loopback or to ``insecure_host`` only."""
    concurrency: int = _setting("concurrency", 8, int, validator=_COUNT)
    """Requests in flight per API key."""
    max_jobs: int = _setting("max_jobs", 256, int, validator=_COUNT)
    """Unfinished jobs per API key."""
    max_rows: int = _setting("max_rows", 1_000_000, int, validator=_COUNT)
    """Rows in unfinished jobs per API key."""
    attempts: int = _setting("attempts", 10, int, validator=_COUNT)
    """How often one submit is sent at most. An answer of 429 does not count: the ``timeout`` of a run bounds how long
    it waits for its quota. Polls and downloads are retried without end."""
    give_up_after: float = _setting("give_up_after", 60.0, float, validator=_NUMBER)
    """Seconds after its first failure at which a submit is given up; the run then halts. An answer of 429 is no
    failure: the ``timeout`` of a run bounds how long it waits for its quota."""
    max_rate: float | None = _setting("max_rate", None, float, validator=_NUMBER_OR_NONE)
    """Requests a second per API key. None: the rate is learned from a 429."""
    chunk_rows: int | None = _setting("chunk_rows", None, int, validator=_COUNT_OR_NONE)
    """Rows of a chunk. None: 1,000 on the JSON way, and as many as fit into ``chunk_bytes`` on the CSV way."""
    chunk_bytes: int = _setting("chunk_bytes", 2 * 2**20, int, validator=_COUNT)
    """Bytes of a chunk, encoded."""
    poll_min: float = _setting("poll_min", 1.0, float, validator=_SECONDS)
    """The least number of seconds between two polls of one job. While a job is younger than 2 s they may be nearer, to
    0.3 of it, if jobs of its size have ended so soon.
    """
    poll_max: float | None = _setting("poll_max", 300.0, float, validator=_NUMBER_OR_NONE)
    """The greatest number of seconds between two polls of one job; None for no limit."""
    account_ttl: float = _setting("account_ttl", 60.0, float, validator=_SECONDS)
    """Seconds for which the lists and properties of an account are remembered. If something is missing in them, mjbulk
    asks again, and then remembers for as long that it is missing."""
    drain: float | None = _setting(
        "drain", None, float, validator=checked(optional(NOT_NEGATIVE), "{} is a number of seconds")
    )
    """Seconds that leaving a client waits for its runs; None waits for their end."""
    stop_within: float = _setting("stop_within", 10.0, float, validator=_NUMBER)
    """Seconds that a stop may take: for requests under way, the source and the journal together."""
    spool_dir: str | None = _setting("spool_dir", None, str.strip)
    """Folder for the rows of unfinished jobs and for rejections, in files without a name; by default the system's
    temporary folder. They take up to twice the room of these rows, and 16 MiB."""
    connect_timeout: float = _setting("connect_timeout", 10.0, float, validator=_NUMBER)
    """Seconds that a connection may take to be made. The lookup of its name, and the answer of a proxy, may take as
    long again."""
    read_timeout: float = _setting("read_timeout", 60.0, float, validator=_NUMBER)
    """Seconds without a byte in either direction after which a request is given up. A request that is slow may take
    as long as it takes."""
    min_upload_rate: float | None = _setting("min_upload_rate", None, float, validator=_NUMBER_OR_NONE)
    """Deprecated: it has no effect any more."""
    proxy: str | None = _setting("proxy", None, str.strip, repr=False)
    """Address of an HTTP proxy. Proxies of the environment are not used."""
    ssl: ssl_module.SSLContext | None = field(default=None, repr=False)
    """A context with a private CA. Checking cannot be turned off."""
    insecure_host: str | None = _setting("insecure_host", None, str.strip)
    """A host to which http without TLS is allowed."""

    def __attrs_post_init__(self) -> None:
        """Refuse settings with which others could read the keys. Turning validators off in attrs leaves this on."""
        self._check_url()
        if self.ssl is not None:
            self._check_ssl(self.ssl)
        if self.min_upload_rate is not None:
            said = "min_upload_rate has no effect any more: slow uploads may take as long as they take"
            warnings.warn(said, DeprecationWarning, stacklevel=4)

    def _check_ssl(self, context: object) -> None:
        if not isinstance(context, ssl_module.SSLContext):
            raise UsageError("ssl is an ssl.SSLContext, or None for the system's trust")
        if context.verify_mode is not ssl_module.CERT_REQUIRED or not context.check_hostname:
            raise UsageError("this SSL context does not check certificates and host names")

    def _check_url(self) -> None:
        try:
            parts = urlsplit(self.api_url)
            host, _ = parts.hostname, parts.port
            bare = parts.path in ("", "/") and not parts.query and not parts.fragment and "@" not in parts.netloc
        except ValueError:
            host = None
        if not host or not bare or parts.scheme not in ("http", "https"):
            raise UsageError("api_url is scheme, host and port, as in https://api.mailjet.com")
        if parts.scheme == "http" and host not in (*_LOOPBACK, self.insecure_host):
            raise UsageError(
                "api_url has to be https: the keys would be readable on their way (insecure_host= allows a host)"
            )


def _are_status_words(_: object, attribute: object, words: Any) -> None:  # noqa: ARG001  # as attrs calls it
    folded = isinstance(words, tuple) and all(isinstance(word, str) and word == word.casefold() for word in words)
    if not folded or "completed" not in words:
        raise ValueError


@public
@frozen(kw_only=True)
class Assumptions:
    """What was not yet observed about the API: a field for each assumption. Its default is the careful choice.
    What is known stands in ``mjbulk/mailjet/FACTS.md``.

    ``mjbulk check`` finds them out for an account, and writes a file that `load` reads. Raises UsageError for an
    impossible value.
    """

    count_includes_rejected: bool | None = field(default=None, validator=_BOOL_OR_NONE)
    """Whether Count of a JSON job includes rows that were rejected. None: the counts agree if either reading agrees
    (FACTS 2.4)."""
    csv_count_includes_rejected: bool | None = field(default=None, validator=_BOOL_OR_NONE)
    """The same for Count of a csvimport, about which Mailjet's own pages contradict each other (FACTS 5.4)."""
    errors_are_announced: bool = field(default=False, validator=_BOOL)
    """Whether ErrorFile, Error or Errcount announces every error file. With False, one more request asks for it after
    each job, so that no row in a file that was not announced counts as accepted (FACTS 2.6)."""
    csv_empty_cell_keeps: bool = field(default=True, validator=_BOOL)
    """Whether an empty cell of a csvimport leaves a property unchanged. With False, rows with an empty cell are refused
    on the CSV way (FACTS 4.4)."""
    terminal_statuses: tuple[str, ...] = field(
        default=("completed", "error", "abort", "aborted"),
        validator=checked(_are_status_words, "{} are words in lower case, and 'completed' is one of them"),
    )
    """The words that end a job, in lower case (FACTS 2.3, 5.5)."""
    new_job_seconds: float = field(default=60.0, validator=_SECONDS)
    """Seconds after its creation for which a job may answer 404 (FACTS 2.9)."""
    counts_lag_seconds: float = field(default=42.0, validator=_SECONDS)
    """Seconds after a job's end for which its counts may lag (FACTS 2.4)."""
    error_file_seconds: float = field(default=63.0, validator=_SECONDS)
    """Seconds after a job's end for which its error file may not be there yet (FACTS 3.3)."""
    proxy_pages_are_true: bool = field(default=False, validator=_BOOL)
    """Whether pages of nginx, HAProxy and squid which say that a request reached nobody are believed (FACTS 10.1, 10.2
    and 10.3). With False such an answer leaves it in doubt."""
    max_body_bytes: int | None = field(default=None, validator=_COUNT_OR_NONE)
    """Bytes of the largest body that Mailjet takes (FACTS 1.9). Chunks have no more."""
    max_rows: int | None = field(default=None, validator=_COUNT_OR_NONE)
    """The most contacts that one JSON request may have (FACTS 1.9). Chunks have no more."""

    @classmethod
    @discreet
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file that ``mjbulk check`` has written. Raises UsageError for any other file."""
        try:
            found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as why:
            raise UsageError(f"the file of assumptions cannot be read: {why.strerror}") from None
        except ValueError:
            raise UsageError("the file of assumptions is no TOML") from None
        unknown = set(found) - {f.name for f in attrs.fields(cls)}
        if unknown:
            raise UsageError(f"the file of assumptions has an unknown field {min(unknown)!r}")
        if isinstance(found.get("terminal_statuses"), list):
            found["terminal_statuses"] = tuple(found["terminal_statuses"])
        return cls(**found)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a TOML file that `load` reads. Raises OSError if it cannot be written."""
        lines = [f"# {f.name} = (not known)" if v is None else f"{f.name} = {_toml(v)}" for f, v in self._fields()]
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _fields(self) -> list[tuple[Any, Any]]:
        return [(f, getattr(self, f.name)) for f in attrs.fields(type(self))]


def _toml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


_NO_KEYS = "credentials are mjbulk.Credentials(public, private)"


def credentials_of(given: object) -> Credentials:
    """Give these credentials, or those of the environment for None. Raises UsageError for anything else."""
    return of_type(given, Credentials, f"{_NO_KEYS}, or None for those of the environment") or Credentials.load()


def credentials_of_a_tenant(given: object) -> Credentials:
    """Give these credentials. Raises UsageError for anything else, also for None: the environment's keys are of no
    tenant.
    """
    credentials = of_type(given, Credentials, _NO_KEYS)
    if credentials is None:
        raise UsageError(f"{_NO_KEYS}, and not None: keys of the environment are of no tenant")
    return credentials


def settings_of(given: object) -> Settings:
    """Give these settings, or those of the environment for None. Raises UsageError for anything else."""
    return of_type(given, Settings, "settings= is mjbulk.Settings(...), as in Settings(concurrency=4)") or Settings()


def assumptions_of(given: object) -> Assumptions:
    """Give these assumptions, or the defaults for None. Raises UsageError for anything else."""
    return of_type(given, Assumptions, "assumptions= is mjbulk.Assumptions(...)") or Assumptions()
