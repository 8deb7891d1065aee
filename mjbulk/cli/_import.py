"""``mjbulk import``: import a file or stdin to its end. Other commands that end with a report use its functions."""

import asyncio
import json
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mjbulk.cli._ends import UNFINISHED, GoOn, on_signals, status_of_report, tell_next
from mjbulk.cli._journal import DEFAULT_WRITABLE, WritableJournal
from mjbulk.cli._options import AsJson, RunSaid, SettingsSaid, checked_terms, client_of
from mjbulk.cli._output import OUTPUT, printable, said_all, say, tell
from mjbulk.cli._plan import make_plan
from mjbulk.cli._progress import ReportEvery, check_every, shown
from mjbulk.cli._rejects import Rejects, check_own, check_rejects, keep, with_rows, write_rejects
from mjbulk.cli._source import BY_ITS_NAME, FILE_HELP, NOWHERE, Form, Where
from mjbulk.errors import Error, ImportHalted
from mjbulk.terms import Action, list_actions

if TYPE_CHECKING:
    from mjbulk.client import Client
    from mjbulk.outcomes.report import Report
    from mjbulk.rows.sources import Source
    from mjbulk.run.run import ImportRun

EVERY = 60.0


async def import_contacts(
    file: Annotated[str, Parameter(allow_leading_hyphen=True, help=FILE_HELP)],
    /,
    *,
    where: Where = NOWHERE,
    form: Form = BY_ITS_NAME,
    rejects: Rejects = None,
    as_json: AsJson = False,
    report_every: ReportEvery = EVERY,
    dry_run: Annotated[bool, Parameter(group=OUTPUT, help="Send no contact: do what mjbulk plan does.")] = False,
    journal: WritableJournal = DEFAULT_WRITABLE,
    how: RunSaid = None,
    settings: SettingsSaid = None,
) -> int:
    """Import contacts from a file or stdin, and account for every row.

    Say where they go: --list 42 --action addnoforce, or --no-list. A run that was stopped goes on by mjbulk resume.

    Exit status: 0 every row accepted or superseded; 1 settled, and some rows rejected; 2 refused before anything was
    sent; 3 not complete: unknown or unsent rows, interrupted, halted, or the result could not be written.
    """
    lists, source = where.lists(), form.source(file)
    terms, every = checked_terms(how), check_every(report_every)
    run_id, partition = terms.get("run_id"), terms.get("partition")
    check_rejects(rejects, file, None if dry_run else run_id)
    if dry_run:
        return await make_plan(source, lists, terms, rejects, as_json=as_json, settings=settings)
    async with client_of(settings, journal.target()) as client:
        await check_own(client, rejects, run_id)
        if run_id is None:
            await tell_unfinished(client, source, list_actions(lists), journal)
        report = await run_to_its_end(client.start_import(source, lists=lists, **terms), every)
        report = await with_rows(client, report, rejects, partition, source)
    return finish(report, rejects, as_json=as_json, go_on=how_to_go_on(report, source, journal, how))


def how_to_go_on(report: "Report", source: "Source", journal: WritableJournal, how: RunSaid) -> GoOn | None:
    """Give the commands that go on with a run; None if it is in no journal."""
    if journal.no_journal:
        return None
    return journal.go_on(report.run_id, (how or {}).get("partition"), "" if source.location else "-")


async def tell_unfinished(
    client: "Client", source: "Source", lists: tuple[tuple[int | str, Action], ...] | None, journal: WritableJournal
) -> None:
    """Name the newest run that takes the same file to the same lists and was not finished: this one is another."""
    if source.location is None or journal.no_journal:
        return
    same = (source.location["path"], None, None if lists is None else tuple((ref, word.value) for ref, word in lists))
    found = None
    with suppress(Error):  # the run tells what is wrong with its journal
        async for info in client.runs():
            if info.state == "resumable" and (info.source, info.excluded, info.lists) == same:
                found = info
    if found is not None:
        resume = journal.go_on(found.run_id, found.partition).resume
        tell(f"run {printable(found.run_id)} of this file was not finished: {resume} continues it; this is another run")


async def run_to_its_end(run: "ImportRun", every: float) -> "Report":
    """Wait for a run, stop it on a signal, and give its report, which may be partial."""
    stops: list[asyncio.Task[Report]] = []
    with ExitStack() as stack:
        stack.enter_context(on_signals(lambda: stops.append(asyncio.create_task(run.stop()))))
        stack.enter_context(shown(run, every))
        try:
            return await run
        except ImportHalted as halted:
            return halted.report
        except asyncio.CancelledError:
            return await run.stop()


def finish(report: "Report", rejects: str | None, *, as_json: bool, go_on: GoOn | None) -> int:
    """Write the report, which may be partial, and give the exit status; ``go_on`` goes on with the run."""
    status = status_of_report(report)
    if rejects is not None and report.stored and keep(rejects):
        rejects = None
    if rejects is not None and not write_rejects(report.rejections, rejects, report, text=report.spec.text):
        status, rejects = UNFINISHED, None
    figures = {name: value for name, value in report.as_dict().items() if name not in ("halted", "unsettled")}
    say(json.dumps(figures) if as_json else str(report))
    if not said_all():
        tell(f"the result, which could not be written to stdout: {report}")
    tell_next(report, rejects, go_on)
    return status
