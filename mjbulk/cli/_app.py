"""All commands, and how they end: with an exit status, and without a traceback for an `Error` of mjbulk."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter, UnknownOptionError, UnusedCliTokensError
from rich.console import Console

from mjbulk.cli._account import lists, properties
from mjbulk.cli._check import check
from mjbulk.cli._contact import subscriptions
from mjbulk.cli._demo import demo
from mjbulk.cli._ends import DONE, REFUSED, UNFINISHED, next_after, status_of
from mjbulk.cli._exclude import exclude, include
from mjbulk.cli._help import EXAMPLES, SUMMARY, epilogue, topic
from mjbulk.cli._import import import_contacts
from mjbulk.cli._jobs import abort, batchjob, errors, watch
from mjbulk.cli._output import Guarded, guarded, say, tell
from mjbulk.cli._plan import plan
from mjbulk.cli._resume import resume
from mjbulk.cli._runs import purge, runs
from mjbulk.cli._sandbox import sandbox
from mjbulk.cli._source import ACTIONS
from mjbulk.cli._submit import submit
from mjbulk.cli._words import sentence_of
from mjbulk.errors import Error
from mjbulk.version import __version__

app = App(
    name="mjbulk",
    help="Put any number of contacts into Mailjet, and know what became of every one of them.",
    help_epilogue=SUMMARY,
    help_format="plaintext",
    version=f"mjbulk {__version__}",
    version_flags=["--version"],
    default_parameter=Parameter(negative=(), show_default=False),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


async def help_(
    name: Annotated[
        str | None, Parameter(name="TOPIC", help="A command, or actions, settings, profiles or status.")
    ] = None,
    /,
) -> int:
    """Show the help of a command, or about what all commands share.

    Exit status: 0 shown; 2 there is no such topic.
    """
    if name is None or name in _COMMANDS:
        app.help_print([] if name is None else [name])
    else:
        for line in topic(name):
            say(line)
    return DONE


_COMMANDS: Mapping[str, Callable[..., object]] = {
    "import": import_contacts,
    "plan": plan,
    "resume": resume,
    "runs": runs,
    "purge": purge,
    "exclude": exclude,
    "include": include,
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
    "help": help_,
}


_SENDS = frozenset({"import", "plan", "resume", "exclude", "include", "submit", "subscriptions", "check", "abort"})
"""Commands of which somebody may ask whether something was sent."""
_RUNS = frozenset({"import", "exclude", "include", "resume"})
"""Commands that begin a run, or continue one."""


def _about(command: Callable[..., object]) -> str:
    """Give the help text of a command, without the line breaks of its docstring."""
    return "\n\n".join(" ".join(part.split()) for part in (command.__doc__ or "").split("\n\n"))


for _number, (_name, _command) in enumerate(_COMMANDS.items()):
    app.command(_command, name=_name, help=_about(_command), help_epilogue=epilogue(_name), sort_key=_number)


def run(arguments: Sequence[str]) -> int:
    """Run a command and give its exit status."""
    with guarded() as out:
        app.console = Console()  # one that was made before has the width of that time
        status = _run(arguments)
        out.flush()
        return _unless_lost(status, out)


def _run(arguments: Sequence[str]) -> int:
    try:
        status = app(list(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as wrong:
        tell(_parser_sentence(wrong, arguments))
        return REFUSED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else REFUSED
    except Error as error:
        tell(sentence_of(error, sends=bool(arguments) and arguments[0] in _SENDS))
        if advice := next_after(error):
            tell(f"next: {advice}")
        return status_of(error)
    except KeyboardInterrupt:
        begun = bool(arguments) and arguments[0] in _RUNS
        tell("interrupted; if a run had begun, mjbulk runs shows it" if begun else "interrupted")
        return UNFINISHED
    return status if isinstance(status, int) else 0


def _parser_sentence(wrong: CycloptsError, arguments: Sequence[str]) -> str:
    """Say what is wrong with the arguments, and where the help is."""
    sentence = " ".join(str(wrong).split())
    if isinstance(wrong, UnknownOptionError) and arguments[0] in _COMMANDS:
        option = (wrong.token.keyword or wrong.token.value).partition("=")[0]
        sentence = _of_others(option, arguments[0]) or sentence
    if isinstance(wrong, UnusedCliTokensError):
        from mjbulk.journal.records import mask  # noqa: PLC0415  # help must not wait for the engine

        more = ", ".join(repr(mask(word)) for word in wrong.unused_tokens or ())
        sentence = f"There are more arguments than this command takes: {more}."
    if "for --action" in sentence:
        sentence += "".join(f" {word}: {what}." for word, what in ACTIONS.items())
    command = f" {arguments[0]}" if arguments and arguments[0] in EXAMPLES else ""
    return f"{re.sub(r'(?<![.?!])$', '.', sentence)} See mjbulk{command} --help"


def _of_others(option: str, command: str) -> str:
    """Say which commands have an option that this one does not; give nothing if there is none."""
    having = [
        name for name in _COMMANDS if any(option in one.names for one in app[name].assemble_argument_collection())
    ]
    if not having:
        return ""
    sentence = f"mjbulk {command} has no {option}; {', '.join(having)} {'has' if len(having) == 1 else 'have'} it."
    if command in ("exclude", "include") and option in ("--list", "--action", "--no-list"):
        sentence += " The exclusion list is that of the whole account. For one list: mjbulk import FILE --list LIST"
        sentence += " --action unsub."
    return sentence


def _unless_lost(status: int, out: Guarded) -> int:
    """Tell if the result could not be written, and give the exit status. A reader that has left knows it."""
    if out.why is None:
        return status
    if not isinstance(out.failure, BrokenPipeError):
        tell(f"the result could not be written to stdout as it is: {out.why}")
    return status if status == REFUSED else UNFINISHED
