"""What ``mjbulk help`` shows beside the commands: examples, actions, settings, profiles, exit statuses."""

import textwrap
from collections.abc import Callable, Iterator, Mapping

from mjbulk.cli._source import ACTIONS
from mjbulk.cli._table import width
from mjbulk.errors import UsageError
from mjbulk.likely import did_you_mean

EXAMPLES: Mapping[str, tuple[str, str]] = {
    "import": (
        "mjbulk import contacts.csv --list 42 --action addnoforce --rejects bad.csv",
        "mjbulk import crm.csv --no-list --delimiter ';' --columns E-Mail=email,city",
    ),
    "exclude": ("mjbulk exclude ann@example.org", "mjbulk exclude gone.csv --rejects bad.csv"),
    "include": ("mjbulk include ann@example.org", "mjbulk include back.csv --via csv"),
    "resume": ("mjbulk resume crm-2026-11-23", "mjbulk resume crm-2026-11-23 contacts.csv --resend always"),
    "runs": ("mjbulk runs --state resumable --limit 10", "mjbulk runs crm-2026-11-23 --rejects bad.csv"),
    "purge": ("mjbulk purge crm-2026-11-23", "mjbulk purge --older-than 90d --dry-run"),
    "plan": (
        "mjbulk plan contacts.csv --list 42 --action addnoforce",
        "mjbulk plan contacts.csv --no-list --create-properties --rejects bad.csv",
    ),
    "submit": (
        "mjbulk submit few.csv --list 42 --action unsub",
        "head -n 100 contacts.csv | mjbulk submit - --no-list",
    ),
    "watch": ("mjbulk watch contact:113", "mjbulk watch contactslist:42/113 --timeout 600 --json"),
    "errors": ("mjbulk errors contact:113", "mjbulk errors csvimport:7 --out errors.csv"),
    "abort": ("mjbulk abort csvimport:7", "mjbulk abort csvimport:7 --profile staging"),
    "batchjob": ("mjbulk batchjob 113", "mjbulk batchjob 113 | jq .Status"),
    "subscriptions": (
        "mjbulk subscriptions ann@example.org",
        "mjbulk subscriptions ann@example.org --list 42 --action unsub",
    ),
    "lists": ("mjbulk lists", "mjbulk lists --create News"),
    "properties": ("mjbulk properties --json", "mjbulk properties --create age --datatype int"),
    "check": ("mjbulk check --yes --out found.toml", "mjbulk import contacts.csv --no-list --assumptions found.toml"),
    "sandbox": ("mjbulk sandbox", "mjbulk sandbox --port 0"),
    "demo": ("mjbulk demo", "COLUMNS=120 mjbulk demo"),
    "help": ("mjbulk help settings", "mjbulk help import"),
}
_KEYS = "Keys: MJ_APIKEY_PUBLIC and MJ_APIKEY_PRIVATE, or a profile (mjbulk help profiles)."
_TALKS = "Settings such as --concurrency and --chunk-size: mjbulk help settings. "
PROFILES = """\
Keys come from MJ_APIKEY_PUBLIC and MJ_APIKEY_PRIVATE in the environment, or
from the TOML file that MJBULK_CONFIG names. It may have profiles, each with
keys and settings of its own; --profile NAME takes one, and then the keys of
the environment do not count. Its form:

    MJ_APIKEY_PUBLIC = "..."
    MJ_APIKEY_PRIVATE = "..."

    [profile.staging]
    MJ_APIKEY_PUBLIC = "..."
    MJ_APIKEY_PRIVATE = "..."
    concurrency = 4

Let only yourself read it: chmod 600 FILE. No option takes a key, because all
users of a machine can see the arguments of a command.
"""
STATUSES = """\
Exit statuses:

    0   done; of an import: every row was accepted or superseded
    1   done, and something was rejected: rows of an import or of a job; what
        a plan found wrong; books of the demo that do not agree
    2   wrong usage, configuration or input: refused before anything was sent
    3   not complete: unknown or unsent rows, interrupted, halted; what is
        waited for has not ended; or the result could not be written

What to do next is told on stderr.
"""
SUMMARY = (
    "More: mjbulk help COMMAND, actions, settings, profiles, status. "
    f"{_KEYS} Exit status: 0 done; 1 something was rejected; 2 refused before anything was sent; 3 not complete."
)


def epilogue(name: str) -> str:
    """Give what stands below the options of a command."""
    examples = "\n".join(f"  {example}" for example in EXAMPLES[name])
    shared = "" if name in ("help", "sandbox", "demo") else f"\n\n{_TALKS}{_KEYS}"
    return f"Examples:\n{examples}{shared}"


def _settings() -> Iterator[str]:
    from mjbulk.cli._options import settings_table  # noqa: PLC0415  # it is made of the docstrings of others

    yield "Settings are options of all commands that talk to Mailjet. One that is not"
    yield "given comes from MJBULK_<NAME> in the environment (--api-url: MJ_API_URL), then"
    yield "from the default, which is shown as it is here."
    for option, text in settings_table():
        yield f"\n{option}"
        yield from textwrap.wrap(text, width() - 4, initial_indent="    ", subsequent_indent="    ")


def _actions() -> Iterator[str]:
    yield "What an --action does with a contact and a --list:\n"
    for word, what in ACTIONS.items():
        yield from textwrap.wrap(f"{word:10}  {what}", width(), initial_indent="  ", subsequent_indent=" " * 14)
    yield "\nOnly addnoforce is retried by itself after a lost answer: the others may undo what"
    yield "a person has chosen since."


_TOPICS: Mapping[str, Callable[[], Iterator[str]]] = {
    "actions": _actions,
    "settings": _settings,
    "profiles": lambda: iter(PROFILES.splitlines()),
    "status": lambda: iter(STATUSES.splitlines()),
}


def topic(name: str) -> Iterator[str]:
    """Give the lines about what commands share. Raises UsageError if there is no such topic."""
    if name not in _TOPICS:
        known = [*_TOPICS, *EXAMPLES]
        there = f"mjbulk help takes {', '.join(known[:-1])} or {known[-1]}"
        raise UsageError(f"there is no help about {name!r}{did_you_mean(name, known)}: {there}")
    return _TOPICS[name]()
