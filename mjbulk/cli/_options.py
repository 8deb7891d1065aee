"""Options that are made from the records of the core, so that none of them is defined twice."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, get_type_hints
from zoneinfo import available_timezones

import attrs
from cyclopts import Group, Parameter, Token
from docstring_parser import parse_from_object

from mjbulk.cli._output import OUTPUT, speak
from mjbulk.config import Assumptions, Credentials, Settings, profile_settings
from mjbulk.errors import UsageError
from mjbulk.likely import likely
from mjbulk.terms import RunKeywords

if TYPE_CHECKING:
    from mjbulk.client import Client

_NO_OPTIONS = ("ssl", "drain")
"""Settings that are no options: an object, and a bound for programs that leave a client while its runs go on."""
_ASSUMPTIONS = "assumptions"
_SETTINGS = Group("Settings", sort_key=90, show=False)
_IMPORT = Group("Import", sort_key=50)


def _record(name: str, hints: Mapping[str, Any], parameter: Callable[[str], Parameter]) -> Any:
    """Make a record whose fields are options; it holds only the options that were given."""
    return TypedDict(name, {key: Annotated[hint, parameter(key)] for key, hint in hints.items()}, total=False)  # type: ignore[operator]  # its fields come from another record


# Settings


_FIELDS = {f.name: f for f in attrs.fields(Settings) if f.name not in _NO_OPTIONS}
_COMMON = {
    "profile": Parameter(group=OUTPUT, help="Take keys and settings from this profile: mjbulk help profiles."),
    "verbose": Parameter(group=OUTPUT, name=["--verbose", "-v"], help="Tell on stderr what the log says, too."),
    "quiet": Parameter(group=OUTPUT, name=["--quiet", "-q"], help="Tell on stderr only what went wrong."),
}
"""Options that go with all commands that talk to Mailjet, and are no settings."""


def _settings() -> Any:
    hints = {name: hint for name, hint in get_type_hints(Settings).items() if name in _FIELDS}

    def parameter(name: str) -> Parameter:
        alias = "--chunk-size" if name == "chunk_rows" else None
        return _COMMON.get(name) or Parameter(alias=alias, group=_SETTINGS, show=False)

    common = {"profile": str, "verbose": bool, "quiet": bool}
    return _record("SettingsOptions", {**common, **hints, _ASSUMPTIONS: Path}, parameter)


def settings_table() -> list[tuple[str, str]]:
    """Give each setting as an option, with what it means and its default here."""
    texts = {item.arg_name: " ".join((item.description or "").split()) for item in parse_from_object(Settings).params}
    rows = [
        (_option(name) + (", --chunk-size" if name == "chunk_rows" else ""), f"{_as_help(texts[name])}{_default(one)}")
        for name, one in _FIELDS.items()
        if name != "min_upload_rate"  # deprecated, without effect
    ]
    return [*rows, (_option(_ASSUMPTIONS), "A file that mjbulk check has written.")]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _as_help(text: str) -> str:
    """Write the names of settings as options."""
    return re.sub(r"``(\w+)``", lambda name: _option(name[1]), text)


def _default(field: "attrs.Attribute[Any]") -> str:
    """Show the default of a setting, unless it may be a secret."""
    try:
        value = field.default.factory()  # type: ignore[union-attr]  # every setting has one
    except UsageError:
        return " [the environment's cannot be read]"
    return f" [default: {value}]" if field.repr and value is not None else ""


# Keywords of a run


def _names(_: object, tokens: Sequence[Token]) -> list[str] | dict[str, str]:
    """Read ``a,b`` as a choice of columns, and ``source=target,...`` as their new names."""
    parts = [part.strip() for token in tokens for part in token.value.split(",")]
    if not all(parts):
        raise ValueError("a column has no name")
    if not any("=" in part for part in parts):
        return parts
    return _pairs(_, tokens, alone=True)


def _pairs(_: object, tokens: Sequence[Token], *, alone: bool = False) -> dict[str, str]:
    """Read ``name=word,...``."""
    pairs: dict[str, str] = {}
    for part in (part for token in tokens for part in token.value.split(",")):
        name, sign, word = (piece.strip() for piece in part.partition("="))
        if not name or (sign and not word) or not (sign or alone):
            raise ValueError(f"{part!r} is not NAME=WORD")
        pairs[name] = word or name
    return pairs


_HELP = {
    "columns": "Columns to take, as in a,b; or with new names, as in source=target,...; all if not said.",
    "nulls": "What an empty value does to its property: keep leaves it alone, unassign unassigns it.",
    "via": "The way to send: contacts as JSON, or an uploaded CSV file.",
    "run_id": "A name for the run: the same command again goes on where it stood.",
    "partition": "A name for the part of the run that this is, where many workers share one.",
    "resend": "Whether to send again after a lost answer: safe where twice does no harm.",
    "on_mismatch": "Whether rows are accepted where Mailjet's counts do not agree.",
    "create_properties": "Create properties that are not there yet.",
    "types": "Types of the properties to create, as in age=int,birthday=datetime (str if not said).",
    "timezone": "The zone of dates and times without one, as in Europe/Paris.",
    "date_format": "How texts are read as dates, in the words of strptime, as in %d/%m/%Y.",
    "max_rejected": "Stop when more rows than this are rejected.",
    "timeout": "Stop after so many seconds.",
}
_READ: dict[str, tuple[str, Callable[..., Any]]] = {"columns": ("NAMES", _names), "types": ("NAME=TYPE,...", _pairs)}
"""Keywords with a form of their own on the command line: the name of the form, and its reader."""


def _keywords() -> Any:
    keywords = get_type_hints(RunKeywords)
    hints = {name: Any if name in _READ else hint for name, hint in keywords.items()}  # what `_READ` makes is no text

    def parameter(name: str) -> Parameter:
        metavar, read = _READ.get(name, (None, None))
        return Parameter(help=_HELP.get(name), converter=read, metavar=metavar, group=_IMPORT)

    return _record("RunOptions", hints, parameter)


if TYPE_CHECKING:
    SettingsOptions = dict[str, Any]
    RunOptions = dict[str, Any]
else:
    SettingsOptions = _settings()
    RunOptions = _keywords()

SettingsSaid = Annotated[SettingsOptions | None, Parameter(name="*")]
"""The settings that were given, for ``Settings(**said)``."""
RunSaid = Annotated[RunOptions | None, Parameter(name="*")]
"""The keywords of an import that were given."""
AsJson = Annotated[bool, Parameter(name="--json", group=OUTPUT, help="Print JSON on stdout, and nothing else there.")]


def checked_terms(how: "RunOptions | None") -> dict[str, Any]:
    """Give the keywords that were given. Raises UsageError for a zone that does not exist, with the one that is like
    it.
    """
    terms = dict(how or {})
    zone = terms.get("timezone")
    if zone is not None and zone not in (known := available_timezones()) and (meant := _zone_like(zone, known)):
        raise UsageError(f"--timezone is the IANA name of a zone, and {zone!r} is none (did you mean {meant!r}?)")
    return terms


def _zone_like(name: str, known: Collection[str]) -> str | None:
    """Give the zone that was probably meant, by its whole name or by its city."""
    cities = {zone.rpartition("/")[2]: zone for zone in sorted(known)}
    city = likely(name, cities)
    return likely(name, known) or (cities[city] if city is not None else None)


def client_of(said: "SettingsOptions | None", journal: str | None = None) -> "Client":
    """Make a client with a journal and with the settings and the assumptions that were given."""
    from mjbulk.client import Client  # noqa: PLC0415  # help must not wait for the engine

    settings = dict(said or {})
    file, profile = settings.pop(_ASSUMPTIONS, None), settings.pop("profile", None)
    speak(quiet=settings.pop("quiet", False), verbose=settings.pop("verbose", False))
    assumptions = None if file is None else Assumptions.load(file)
    credentials = Credentials.load(profile)
    settings = {**profile_settings(profile), **settings} if profile is not None else settings
    return Client(credentials, Settings(**settings), journal=journal, assumptions=assumptions)
