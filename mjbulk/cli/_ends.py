"""What commands print and how they end: lines, exit statuses, what to do next, and signals."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mjbulk.errors import ApiError, Error, JournalError, UsageError

if TYPE_CHECKING:
    from mjbulk.models import Unsettled
    from mjbulk.outcomes.report import Report

DONE = 0
REJECTED = 1
REFUSED = 2
UNFINISHED = 3
_SHOWN = 10
_REFUSALS = (400, 401, 403, 404, 405)
"""HTTP statuses with which Mailjet refuses a request, which then has had no effect."""


def say(line: str) -> None:
    """Write a line of the result to stdout."""
    sys.stdout.write(f"{line}\n")


def tell(line: str) -> None:
    """Write a line about the work to stderr."""
    sys.stderr.write(f"mjbulk: {line}\n")


def printable(text: object) -> str:
    """Replace what could control a terminal or break a line, in a text from a file or from a server."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def status_of(error: Error) -> int:
    """Give the exit status of a command that ended with an error."""
    refused = isinstance(error, UsageError) or (isinstance(error, ApiError) and error.status in _REFUSALS)
    return REFUSED if refused else UNFINISHED


def check_target(option: str, path: Path) -> None:
    """Check, before anything is sent, that a file can be written. Raises UsageError if it cannot."""
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"{option} names a folder that is not there or cannot be written to")


def status_of_report(report: "Report") -> int:
    """Give the exit status for the books of a run."""
    if isinstance(report.halted, JournalError) and not report.requests:
        return REFUSED
    if not report.complete:
        return UNFINISHED
    return REJECTED if report.rejected else DONE


def tell_next(report: "Report", rejects: str | None, resume: str | None) -> None:
    """Print what to do next about rows that were not accepted; ``resume`` is the command that resumes the run."""
    if report.stored:
        tell("this run had ended before, nothing was sent now: another --run-id imports again")
    if report.halted is not None:
        tell(f"stopped before its end: {report.halted}")
    for why in list(report.unsettled)[:_SHOWN]:
        tell(_about(why))
    if len(report.unsettled) > _SHOWN:
        tell(f"... and {len(report.unsettled) - _SHOWN} more ranges of rows")
    if report.rejected:
        where = f"in {rejects}" if rejects else "not kept: --rejects FILE.csv keeps them"
        tell(f"rejected rows: {report.rejected}; their reasons are {where}")
    if not report.complete:
        tell("next: " + (_advice(report) if resume is None else _how_to_go_on(report, resume)))


def _about(why: "Unsettled") -> str:
    spans = [f"{rows.start}-{rows.stop - 1}" if len(rows) > 1 else f"{rows.start}" for rows in why.rows[:_SHOWN]]
    more = ", ..." if len(why.rows) > _SHOWN else ""
    where = f"row{'' if sum(map(len, why.rows)) == 1 else 's'} {', '.join(spans)}{more}: " if spans else ""
    return f"{where}{why.cause}" + (f" (mjbulk watch {why.job})" if why.job is not None else "")


def _how_to_go_on(report: "Report", resume: str) -> str:
    """Say what to do about a run that is in a journal."""
    if isinstance(report.halted, JournalError):
        other = "" if report.requests else "; or say another --journal FILE, or --no-journal"
        return f"make the journal usable, then {resume}{other}"
    if report.halted is not None or report.not_sent:
        return f"{resume} goes on where it stood"
    if all(why.job is not None for why in report.unsettled):
        return f"see what the jobs say (mjbulk errors); another --run-id imports the {report.unknown} rows again"
    if report.spec.resend == "never" and not _risky(report):
        return f"{resume} sends again what does no harm twice"
    return f"{_first(report)}; {resume} --resend always sends them again, whatever these people have chosen since"


def _advice(report: "Report") -> str:
    """Say what to do about a run that is in no journal."""
    if not _risky(report):
        return "run the same command again; to import a row twice does no harm here"
    return _first(report) if report.unknown else "import the rows that were not sent"


def _first(report: "Report") -> str:
    what = f"; {_risky(report)} may have been applied to them" if _risky(report) else ""
    return f"find out about the {report.unknown} unknown rows first{what}"


def _risky(report: "Report") -> str:
    """Name the actions that may do harm if they are done twice."""
    actions = {action.value for _, action in report.spec.lists or ()} - {"addnoforce"}
    words = {None: set(), True: {"exclude"}, False: {"include"}}[report.spec.excluded]
    return ", ".join(sorted(actions | words))


@contextmanager
def on_signals(call: Callable[[], object]) -> Iterator[None]:
    """Call a function at the first SIGINT or SIGTERM; a second signal ends the process as usual."""
    loop = asyncio.get_running_loop()
    caught = (signal.SIGINT, signal.SIGTERM)

    def release() -> None:
        with suppress(NotImplementedError, RuntimeError, ValueError):
            for number in caught:
                loop.remove_signal_handler(number)

    def first() -> None:
        release()
        call()

    # Impossible on Windows and outside the main thread: there Ctrl-C cancels the command.
    with suppress(NotImplementedError, RuntimeError, ValueError):
        for number in caught:
            loop.add_signal_handler(number, first)
    try:
        yield
    finally:
        release()
