"""``mjbulk resume``: go on with a run that is in a journal."""

import shlex
from typing import Annotated

from cyclopts import Parameter

from mjbulk.cli._import import EVERY, finish, run_to_its_end
from mjbulk.cli._journal import DEFAULT_EXISTING, ExistingJournal
from mjbulk.cli._options import AsJson, SettingsSaid
from mjbulk.cli._progress import ReportEvery, check_every
from mjbulk.cli._rejects import Rejects, check_own, check_rejects, with_rows
from mjbulk.cli._source import BY_ITS_NAME, Form
from mjbulk.errors import UsageError
from mjbulk.terms import Resend


async def resume(
    run_id: Annotated[str, Parameter(name="RUN_ID", help="The name of a run, as mjbulk runs shows it.")],
    file: Annotated[
        str | None,
        Parameter(allow_leading_hyphen=True, help="Its source, or - for stdin; a file is found again by itself."),
    ] = None,
    /,
    *,
    form: Form = BY_ITS_NAME,
    rejects: Rejects = None,
    as_json: AsJson = False,
    report_every: ReportEvery = EVERY,
    journal: ExistingJournal = DEFAULT_EXISTING,
    partition: Annotated[str | None, Parameter(help="Which part of a run that many workers share.")] = None,
    resend: Annotated[Resend, Parameter(help="Whether to retry rows whose answers were lost.")] = "safe",
    settings: SettingsSaid = None,
) -> int:
    """Go on with a run, on the terms on which it was begun.

    Without its source the jobs that are known are settled, and nothing is sent.

    Exit status: 0 every row accepted or superseded; 1 settled, and some rows rejected; 2 no such run, or refused before
    anything was sent; 3 not complete, or the result could not be written.
    """
    if file is None and form != BY_ITS_NAME:
        raise UsageError("--format, --delimiter, --sheet and the like go with a file: a run knows those of its own")
    source, every = None if file is None else form.source(file), check_every(report_every)
    check_rejects(rejects, file or "", run_id)
    async with journal.client(settings) as client:
        await check_own(client, rejects, run_id)
        run = client.resume_import(run_id, source, partition=partition, resend=resend)
        report = await with_rows(client, await run_to_its_end(run, every), rejects, partition, source)
    given = shlex.quote(file) if file else "[FILE|-]"
    return finish(report, rejects, as_json=as_json, go_on=journal.go_on(run_id, partition, given, new=False))
