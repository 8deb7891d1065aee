"""Keys, settings and what is assumed of the API: from arguments, then from the environment, then from defaults."""

import hmac
import json
import os
import ssl as ssl_module
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import attrs
from attrs import field, frozen
from attrs.validators import matches_re, optional

from mjbulk.errors import UsageError
from mjbulk.public import public
from mjbulk.validators import BOOL, NOT_NEGATIVE, POSITIVE, POSITIVE_INT, checked

_T = TypeVar("_T")
JSON_ROWS = 1000
"""Rows of a chunk on the JSON way where nothing was said."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


_KEY = checked(matches_re("[!-9;-~]+"), "the {} key is empty, or has a blank, a colon or a line end in it")
"""Without it, a line end that was read from a file would only show as a 401."""


@public
@frozen(repr=False, eq=False)
class Credentials:
    """An API key and its secret. Neither is in its repr, and it cannot be pickled.

    Raises UsageError for what cannot be a key.
    """

    public: str = field(validator=_KEY)
    private: str = field(validator=_KEY)

    @classmethod
    def load(cls) -> Self:
        """Take the keys from MJ_APIKEY_PUBLIC and MJ_APIKEY_PRIVATE, else from the TOML file that MJBULK_CONFIG names.

        Raises UsageError where they are in neither.
        """
        known: dict[str, Any] = {**_config_file(), **{name: value for name, value in os.environ.items() if value}}
        public, private = known.get("MJ_APIKEY_PUBLIC"), known.get("MJ_APIKEY_PRIVATE")
        if not isinstance(public, str) or not isinstance(private, str):
            raise UsageError(
                "no API key: set MJ_APIKEY_PUBLIC and MJ_APIKEY_PRIVATE, or name a TOML file with both in MJBULK_CONFIG"
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


def _setting(name: str, default: _T, read: Callable[[str], _T], *, variable: str = "", **more: Any) -> _T:
    """Make a field that, where nothing is said, comes from the environment and then from the default."""
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
@frozen(kw_only=True)
class Settings:
    """Numbers and addresses. What is not said comes from ``MJBULK_<NAME>``, then from the defaults.

    Raises UsageError for a value that cannot be.
    """

    api_url: str = _setting("api_url", "https://api.mailjet.com", str.strip, variable="MJ_API_URL")
    """Scheme, host and port: https, or http to loopback alone or to ``insecure_host``."""
    concurrency: int = _setting("concurrency", 8, int, validator=_COUNT)
    """Requests under way per API key."""
    max_jobs: int = _setting("max_jobs", 256, int, validator=_COUNT)
    """Unfinished jobs per API key."""
    max_rows: int = _setting("max_rows", 1_000_000, int, validator=_COUNT)
    """Rows in unfinished jobs per API key."""
    attempts: int = _setting("attempts", 10, int, validator=_COUNT)
    """How often one submit is sent at most; polls and downloads are asked for without end."""
    give_up_after: float = _setting("give_up_after", 60.0, float, validator=_NUMBER)
    """Seconds after its first failure at which a submit is given up; the run then halts."""
    max_rate: float | None = _setting("max_rate", None, float, validator=_NUMBER_OR_NONE)
    """Requests a second per API key; None lets a 429 teach the rate."""
    chunk_rows: int | None = _setting("chunk_rows", None, int, validator=_COUNT_OR_NONE)
    """Rows of a chunk; not said: 1,000 on the JSON way, bytes alone on the CSV way."""
    chunk_bytes: int = _setting("chunk_bytes", 2 * 2**20, int, validator=_COUNT)
    """Bytes of a chunk, encoded."""
    poll_min: float = _setting("poll_min", 1.0, float, validator=_SECONDS)
    """Seconds between two looks at one job, at least."""
    poll_max: float | None = _setting("poll_max", 300.0, float, validator=_NUMBER_OR_NONE)
    """Seconds between two looks at one job, at most; None for no bound."""
    drain: float | None = _setting(
        "drain", None, float, validator=checked(optional(NOT_NEGATIVE), "{} is a number of seconds")
    )
    """Seconds that leaving a client waits for its runs; None waits for their end."""
    connect_timeout: float = _setting("connect_timeout", 10.0, float, validator=_NUMBER)
    """Seconds to connect."""
    read_timeout: float = _setting("read_timeout", 60.0, float, validator=_NUMBER)
    """Seconds without a byte of an answer."""
    min_upload_rate: float = _setting("min_upload_rate", 64 * 1024.0, float, validator=_NUMBER)
    """Bytes a second: a request may take ``read_timeout`` and its bytes by this rate in all."""
    proxy: str | None = _setting("proxy", None, str.strip, repr=False)
    """Address of an HTTP proxy; proxies of the environment are not used."""
    ssl: ssl_module.SSLContext | None = field(default=None, repr=False)
    """A context with a private CA. There is no way to turn checking off."""
    insecure_host: str | None = _setting("insecure_host", None, str.strip)
    """A host to which plain http is allowed."""

    def __attrs_post_init__(self) -> None:
        """Refuse where keys could be read by others. No setting of attrs turns this off."""
        self._check_url()
        if self.ssl is not None:
            self._check_ssl(self.ssl)

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
    """What nobody could yet observe of the API, one field each, with the careful choice as default.

    ``mjbulk check`` settles them for an account, and writes a file that `load` reads. Raises UsageError for a value
    that cannot be.
    """

    count_includes_rejected: bool | None = field(default=None, validator=_BOOL_OR_NONE)
    """Whether Count of a JSON job counts rows that were rejected; None takes either reading, where it agrees."""
    csv_count_includes_rejected: bool | None = field(default=None, validator=_BOOL_OR_NONE)
    """The same of Count of a csvimport, where Mailjet's own pages contradict each other."""
    errors_are_announced: bool = field(default=False, validator=_BOOL)
    """Whether ErrorFile, Error or Errcount tells of every error file. With False it is asked for after each job: one
    request more, and no row counts as accepted that stands in a file nobody spoke of."""
    csv_empty_cell_keeps: bool = field(default=True, validator=_BOOL)
    """Whether an empty cell of a csvimport leaves a property alone. With False, rows with one are refused on the CSV
    way."""
    terminal_statuses: tuple[str, ...] = field(
        default=("completed", "error", "abort", "aborted"),
        validator=checked(_are_status_words, "{} are words in lower case, and 'completed' is one of them"),
    )
    """The words that end a job, in lower case."""
    new_job_seconds: float = field(default=60.0, validator=_SECONDS)
    """For how long a job that was just created may answer 404."""
    counts_lag_seconds: float = field(default=42.0, validator=_SECONDS)
    """For how long after a job's end its counts may be behind."""
    error_file_seconds: float = field(default=63.0, validator=_SECONDS)
    """For how long after a job's end its error file may not be there."""
    max_body_bytes: int | None = field(default=None, validator=_COUNT_OR_NONE)
    """The largest body that Mailjet takes; chunks stay below it."""
    max_rows: int | None = field(default=None, validator=_COUNT_OR_NONE)
    """The most contacts that one JSON request may have; chunks stay below it."""

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what ``mjbulk check`` has written. Raises UsageError for a file that is something else."""
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
        """Write a file that `load` reads."""
        lines = [f"# {f.name} = (not known)" if v is None else f"{f.name} = {_toml(v)}" for f, v in self._fields()]
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _fields(self) -> list[tuple[Any, Any]]:
        return [(f, getattr(self, f.name)) for f in attrs.fields(type(self))]


def _toml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
