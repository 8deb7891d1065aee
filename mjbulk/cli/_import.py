"""``mjbulk import``: import a file or stdin to its end. Other commands that end with a report use its functions."""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from mjbulk.cli._ends import UNFINISHED, check_target, on_signals, say, status_of_report, tell, tell_next
from mjbulk.cli._journal import DEFAULT_WRITABLE, WritableJournal
from mjbulk.cli._options import AsJson, RunSaid, SettingsSaid, client_of
from mjbulk.cli._source import BY_ITS_NAME, NOWHERE, Form, Where
from mjbulk.errors import ImportHalted, UsageError

if TYPE_CHECKING:
    from mjbulk.outcomes.report import Report
    from mjbulk.rows.sources import Source
    from mjbulk.run.run import ImportRun

_OUTPUT = Group("Output", sort_key=30)
Rejects = Annotated[
    str | None,
    Parameter(group=_OUTPUT, help="Write rejected rows, with reasons, to a file *.csv, *.jsonl or *.json."),
]
BooksAsJson = Annotated[AsJson, Parameter(group=_OUTPUT)]


async def import_contacts(
    file: Annotated[
        str,
        Parameter(
            allow_leading_hyphen=True,
            help="A file *.csv, *.jsonl (both also *.gz), *.parquet or *.xlsx; - reads stdin.",
        ),
    ],
    /,
    *,
    where: Where = NOWHERE,
    form: Form = BY_ITS_NAME,
    rejects: Rejects = None,
    as_json: BooksAsJson = False,
    journal: WritableJournal = DEFAULT_WRITABLE,
    how: RunSaid = None,
    settings: SettingsSaid = None,
) -> int:
    """Import contacts from a file or stdin, and account for every row.

    Say where they go: --list 42 --action addnoforce, or --no-list. A run that was stopped goes on by mjbulk resume.
    """
    source, lists = form.source(file), where.lists()
    check_rejects(rejects, file)
    async with client_of(settings, journal.target()) as client:
        report = await run_to_its_end(client.start_import(source, lists=lists, **how or {}))
    return finish(report, rejects, as_json=as_json, resume=how_to_resume(report, source, journal, how))


def how_to_resume(report: "Report", source: "Source", journal: WritableJournal, how: RunSaid) -> str | None:
    """Give the command that resumes a run; None if it is in no journal."""
    if journal.no_journal:
        return None
    return journal.resume(report.run_id, (how or {}).get("partition"), "" if source.location else "-")


async def run_to_its_end(run: "ImportRun") -> "Report":
    """Wait for a run, stop it on a signal, and give its report, which may be partial."""
    stops: list[asyncio.Task[Report]] = []
    with ExitStack() as stack:
        stack.enter_context(on_signals(lambda: stops.append(asyncio.create_task(run.stop()))))
        stack.enter_context(shown(run))
        try:
            return await run
        except ImportHalted as halted:
            return halted.report
        except asyncio.CancelledError:
            return await run.stop()


def finish(report: "Report", rejects: str | None, *, as_json: bool, resume: str | None) -> int:
    """Write the report, which may be partial, and give the exit status; ``resume`` is the command that resumes the
    run.
    """
    status = status_of_report(report)
    if rejects is not None:
        try:
            report.write_rejections(rejects)
        except OSError as why:
            tell(f"the rejected rows could not be written to {rejects}: {why.strerror}")
            status, rejects = UNFINISHED, None
    figures = {name: value for name, value in report.as_dict().items() if name not in ("halted", "unsettled")}
    say(json.dumps(figures) if as_json else str(report))
    tell_next(report, rejects, resume)
    return status


def check_rejects(rejects: str | None, file: str) -> None:
    """Check, before anything is sent, that rejections can be written. Raises UsageError if they cannot."""
    if rejects is None:
        return
    target = Path(rejects)
    if target.suffix.casefold() not in (".csv", ".jsonl", ".json"):
        raise UsageError("--rejects writes a file *.csv, *.jsonl or *.json")
    check_target("--rejects", target)
    with suppress(OSError):
        if target.samefile(file):
            raise UsageError("--rejects names the file that is imported")


# Progress


@contextmanager
def shown(run: "ImportRun") -> Iterator[None]:
    """Show the progress of a run, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (SpinnerColumn(), BarColumn(bar_width=24), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("", total=None)

        async def follow() -> None:
            while True:
                now = run.progress
                waiting = sum(count for word, count in now.jobs.items() if word.casefold() != "completed")
                text = f"{now.settled:,} of {now.rows:,} rows read so far, {now.rejected:,} rejected, {waiting:,} jobs"
                bar.update(line, description=text, completed=now.settled, total=now.rows or None)
                await asyncio.sleep(0.1)

        task = asyncio.create_task(follow())
        try:
            yield
        finally:
            task.cancel()
