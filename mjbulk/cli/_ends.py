"""How commands end: exit statuses, what to do next, and signals."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from mjbulk.cli._output import counted, note, printable, say, tell
from mjbulk.cli._words import as_options
from mjbulk.errors import ApiError, Error, JournalError, SourceError, UsageError

if TYPE_CHECKING:
    from mjbulk.models import Unsettled
    from mjbulk.outcomes.report import Report

__all__ = ["DONE", "REFUSED", "REJECTED", "UNFINISHED", "check_target", "on_signals", "say"]  # for the sandbox, too

DONE = 0
REJECTED = 1
REFUSED = 2
UNFINISHED = 3
WITHOUT = "without addresses and rows"
"""What a journal does not keep of rejected rows."""
_SHOWN = 10
_SAME = "for that reason"
_FEW = 3
"""Jobs with one cause that are named one by one."""
_REFUSALS = (400, 401, 403, 404, 405)
"""HTTP statuses with which Mailjet refuses a request, which then has had no effect."""


def status_of(error: Error) -> int:
    """Give the exit status of a command that ended with an error."""
    refused = isinstance(error, UsageError) or (isinstance(error, ApiError) and error.status in _REFUSALS)
    unread = isinstance(error, SourceError)  # a run that has sent something ends with a report
    return REFUSED if refused or unread else UNFINISHED


def next_after(error: Error) -> str | None:
    """Say what to do after an error that has ended a command, if it does not say so itself."""
    return _correct(error, None) if isinstance(error, SourceError) else None


def check_target(option: str, path: Path) -> None:
    """Check, before anything is sent, that a file can be written. Raises UsageError if it cannot."""
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"{option} names a folder that is not there or cannot be written to")


def status_of_report(report: "Report") -> int:
    """Give the exit status for the books of a run."""
    if isinstance(report.halted, JournalError) and not report.requests:
        return REFUSED
    if isinstance(report.halted, SourceError) and not _sent(report):
        return REFUSED
    if not report.complete:
        return UNFINISHED
    return REJECTED if report.rejected else DONE


def _sent(report: "Report") -> bool:
    """Tell whether something was sent, or may have been."""
    return bool(report.jobs or report.accepted or report.superseded or report.unknown)


def _unless_sent(report: "Report") -> str:
    """Say that nothing was sent, if no row was read and the cause does not say it."""
    return "" if report.rows or "nothing was sent" in str(report.halted) else "; nothing was sent"


@frozen(kw_only=True)
class GoOn:
    """The commands that go on from the end of a run which a journal has."""

    resume: str
    """Resumes it."""
    show: str
    """Shows its chunks and jobs."""
    new: bool = True
    """Whether this command may have begun it: then a journal has it only if rows of it were read."""


def tell_next(report: "Report", rejects: str | None, go_on: GoOn | None) -> None:
    """Print what to do next about rows that were not accepted; ``go_on`` is None for a run that is in no journal."""
    if report.stored:
        note("this run had ended before, nothing was sent now: another --run-id imports again")
    if report.halted is not None:
        tell(f"stopped before its end: {as_options(str(report.halted))}{_unless_sent(report)}")
    _tell_unsettled(report, go_on)
    if report.rejected:
        _tell_causes(report)
        note(f"rejected rows: {report.rejected}; {_reasons(report, rejects, go_on)}")
    if not report.complete:
        tell(f"next: {_advice(report) if go_on is None else _how_to_go_on(report, go_on)}")


def _tell_causes(report: "Report") -> None:
    """Print why rows were rejected. If one cause did that to most of all rows, the file, or how it is read, is wrong:
    then the column is named.
    """
    causes = Counter((rejection.code, rejection.field) for rejection in report.rejections)
    codes: Counter[str] = Counter()
    for (code, _), count in causes.items():
        codes[code] += count
    if codes:
        note(f"rejected by code: {', '.join(f'{printable(code)} {count:,}' for code, count in codes.most_common())}")
    if 2 * report.rejected <= report.rows:
        return
    for (code, column), count in causes.most_common(1):
        if 2 * count > report.rejected:
            where = f" in {printable(repr(column))}" if column and "@" not in column else ""
            note(f"most rejected rows: {printable(code)}{where}, {counted(count, 'row')}")


def _reasons(report: "Report", rejects: str | None, go_on: GoOn | None) -> str:
    """Say where the reasons of rejections are, or how they are kept."""
    if rejects:
        if report.stored and not any(rejection.data for rejection in report.rejections.page()):
            return f"their reasons are in {rejects}, {WITHOUT}"
        where = "in the columns after 'code'" if rejects.casefold().endswith(".csv") else "in 'data'"
        return f"their reasons are in {rejects}: correct the rows {where}, and import that file"
    if go_on is None:
        return "their reasons are not kept: --rejects FILE.csv keeps them"
    before = "next: " if report.complete else ""
    return f"{before}{go_on.resume} --rejects FILE.csv writes them with their reasons"


def _tell_unsettled(report: "Report", go_on: GoOn | None) -> None:
    """Print why rows are unknown or were not sent: a line for each cause, and for a few each job."""
    by_cause: dict[tuple[str, bool, bool], list[Unsettled]] = {}
    for why in report.unsettled:
        unsent = any(rows.start in report.rows_not_sent for rows in why.rows[:1])
        by_cause.setdefault((why.cause, why.job is None, unsent), []).append(why)
    for (cause, jobless, unsent), some in list(by_cause.items())[:_SHOWN]:
        said = _SAME if report.halted is not None and cause == str(report.halted) else cause
        if jobless:
            state = f"not sent{', ' if said == _SAME else ': '}" if unsent else ""
            tell(_about(_joined(rows for why in some for rows in why.rows), f"{state}{said}"))
        elif len(some) <= _FEW:
            for why in some:
                tell(f"{_about(why.rows, said)} (mjbulk watch {why.job})")
        else:
            tell(_of_many(said, some, go_on))
    if len(by_cause) > _SHOWN:
        tell(f"... and rows for {len(by_cause) - _SHOWN} more causes")


def _joined(rows: Iterable[range]) -> list[range]:
    """Join ranges that follow each other."""
    joined: list[range] = []
    for some in sorted(rows, key=lambda rows: rows.start):
        if joined and joined[-1].stop == some.start:
            joined[-1] = range(joined[-1].start, some.stop)
        else:
            joined.append(some)
    return joined


def _about(rows: Sequence[range], cause: str) -> str:
    spans = [f"{some.start}-{some.stop - 1}" if len(some) > 1 else f"{some.start}" for some in rows[:_SHOWN]]
    more = ", ..." if len(rows) > _SHOWN else ""
    where = f"row{'' if sum(map(len, rows)) == 1 else 's'} {', '.join(spans)}{more}: " if spans else ""
    return f"{where}{as_options(cause)}"


def _of_many(cause: str, some: Sequence["Unsettled"], go_on: GoOn | None) -> str:
    rows = counted(sum(len(rows) for why in some for rows in why.rows), "row")
    jobs = [why.job for why in some if why.job is not None]
    named = f"{jobs[0]}, ..." if go_on is not None else ", ".join(map(str, jobs))  # without a journal, here alone
    where = f" in {counted(len(jobs), 'job')} ({named})" if jobs else ""
    each = f"; {go_on.show} shows each" if go_on is not None else ""
    return f"{rows}{where}: {as_options(cause)}{each}"


def _how_to_go_on(report: "Report", go_on: GoOn) -> str:
    """Say what to do about a run that is in a journal."""
    resume = go_on.resume
    absent = go_on.new and not report.rows  # the journal does not have it
    if isinstance(report.halted, JournalError):
        other = "" if report.requests else "; or say another --journal FILE, or --no-journal"
        return f"make the journal usable, then {'run the same command again' if absent else resume}{other}"
    if isinstance(report.halted, SourceError):
        return _correct(report.halted, f"then {resume}" if _sent(report) else None)
    if report.halted is not None and absent:
        return "run the same command again; with a --run-id it goes on where it stood"
    if report.halted is not None or report.not_sent:
        return f"{resume} goes on where it stood"
    if all(why.job is not None for why in report.unsettled):
        unknown = counted(report.unknown, "row")
        return f"see what the jobs say (mjbulk errors); another --run-id imports the {unknown} again"
    if report.spec.resend == "never" and not _risky(report):
        return f"{resume} sends again what does no harm twice"
    return f"{_first(report)}; {resume} --resend always sends them again, whatever these people have chosen since"


def _correct(fault: SourceError, then: str | None) -> str:
    """Say what to do about a source that cannot be read to its end."""
    if then is None:
        return "correct the file, or say how it is read (mjbulk import --help: Source), and try again"
    before = "" if fault.row is None else f" from row {fault.row} on; the rows before it have to stay as they are"
    return f"correct the file{before}; {then}"


def _advice(report: "Report") -> str:
    """Say what to do about a run that is in no journal."""
    if isinstance(report.halted, SourceError):
        then = None if not _sent(report) else "then import it"
        return _correct(report.halted, then) if not _risky(report) or then is None else _first(report)
    if not _risky(report):
        return "run the same command again; to import a row twice does no harm here"
    return _first(report) if report.unknown else "import the rows that were not sent"


def _first(report: "Report") -> str:
    what = f"; {_risky(report)} may have been applied to them" if _risky(report) else ""
    how = " (mjbulk watch JOB)" if any(why.job for why in report.unsettled) else ""
    return f"find out about the {counted(report.unknown, 'unknown row')} first{how}{what}"


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
