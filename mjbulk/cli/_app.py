"""All commands, and how they end: with an exit status, and without a traceback for an `Error` of mjbulk."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

from cyclopts import App, Parameter

from mjbulk.cli._account import lists, properties
from mjbulk.cli._check import check
from mjbulk.cli._contact import subscriptions
from mjbulk.cli._demo import demo
from mjbulk.cli._ends import REFUSED, UNFINISHED, status_of, tell
from mjbulk.cli._exclude import exclude, include
from mjbulk.cli._import import import_contacts
from mjbulk.cli._jobs import abort, batchjob, errors, watch
from mjbulk.cli._plan import plan
from mjbulk.cli._runs import purge, resume, runs
from mjbulk.cli._sandbox import sandbox
from mjbulk.cli._submit import submit
from mjbulk.errors import Error


def _version() -> str:
    try:
        return version("mjbulk")
    except PackageNotFoundError:
        return "of a source tree, not installed"


app = App(
    name="mjbulk",
    help="Put any number of contacts into Mailjet, and know what became of every one of them.",
    help_epilogue=(
        "The API key comes from MJ_APIKEY_PUBLIC and MJ_APIKEY_PRIVATE, or the TOML file that MJBULK_CONFIG names. "
        "Exit status: 0 every row accepted; 1 some rows rejected; 2 refused before anything was sent; 3 not complete."
    ),
    help_format="plaintext",
    version=lambda: f"mjbulk {_version()}",
    version_flags=["--version"],
    default_parameter=Parameter(negative=(), show_default=False),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
_COMMANDS = {
    "import": import_contacts,
    "exclude": exclude,
    "include": include,
    "resume": resume,
    "runs": runs,
    "purge": purge,
    "plan": plan,
    "submit": submit,
    "watch": watch,
    "errors": errors,
    "abort": abort,
    "batchjob": batchjob,
    "subscriptions": subscriptions,
    "lists": lists,
    "properties": properties,
    "check": check,
    "sandbox": sandbox,
    "demo": demo,
}


def _about(command: Callable[..., object]) -> str:
    """Give the help text of a command, without the line breaks of its docstring."""
    return "\n\n".join(" ".join(part.split()) for part in (command.__doc__ or "").split("\n\n"))


for _name, _command in _COMMANDS.items():
    app.command(_command, name=_name, help=_about(_command))


def run(arguments: Sequence[str]) -> int:
    """Run a command and give its exit status."""
    try:
        status = app(list(arguments))
        sys.stdout.flush()
    except SystemExit as end:  # the parser's own errors
        return end.code if isinstance(end.code, int) else REFUSED
    except Error as error:
        tell(str(error))
        return status_of(error)
    except KeyboardInterrupt:
        tell("interrupted")
        return UNFINISHED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the flush at exit would fail again
        return UNFINISHED
    return status if isinstance(status, int) else 0
