"""``mjbulk exclude`` and ``mjbulk include``: the exclusion list, for a file or for one address."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mjbulk.cli._ends import DONE
from mjbulk.cli._import import EVERY, finish, how_to_go_on, run_to_its_end
from mjbulk.cli._journal import DEFAULT_WRITABLE, WritableJournal
from mjbulk.cli._options import AsJson, RunSaid, SettingsSaid, checked_terms, client_of
from mjbulk.cli._output import say
from mjbulk.cli._progress import ReportEvery, check_every
from mjbulk.cli._rejects import Rejects, check_own, check_rejects, with_rows
from mjbulk.cli._source import BY_ITS_NAME, Form
from mjbulk.errors import UsageError


def _command(*, excluded: bool, about: str) -> Callable[..., Awaitable[int]]:
    async def command(
        file: Annotated[str, Parameter(allow_leading_hyphen=True, help="A file, - for stdin, or one address.")],
        /,
        *,
        form: Form = BY_ITS_NAME,
        rejects: Rejects = None,
        as_json: AsJson = False,
        report_every: ReportEvery = EVERY,
        journal: WritableJournal = DEFAULT_WRITABLE,
        how: RunSaid = None,
        settings: SettingsSaid = None,
    ) -> int:
        if _is_address(file):
            if (form, rejects, journal, how) != (BY_ITS_NAME, None, DEFAULT_WRITABLE, None):
                raise UsageError("options about files, runs and journals go with a file, and this is one address")
            async with client_of(settings) as client:
                contact = await client.set_excluded(file, excluded=excluded)
            sentence = f"contact {contact.id} is {'on' if contact.excluded else 'off'} the exclusion list"
            say(json.dumps({"contact": contact.id, "excluded": contact.excluded}) if as_json else sentence)
            return DONE
        source = form.source(file)
        terms, every = checked_terms(how), check_every(report_every)
        run_id, partition = terms.get("run_id"), terms.get("partition")
        check_rejects(rejects, file, run_id)
        async with client_of(settings, journal.target()) as client:
            await check_own(client, rejects, run_id)
            report = await run_to_its_end(client.start_exclusion(source, excluded=excluded, **terms), every)
            report = await with_rows(client, report, rejects, partition, source)
        return finish(report, rejects, as_json=as_json, go_on=how_to_go_on(report, source, journal, how))

    command.__doc__ = f"{about}\n\nOf a file only the addresses are read.\n\n{_STATUS}"
    return command


_STATUS = (
    "Exit status: 0 all done; 1 settled, and some rows rejected; 2 refused before anything was sent, or no contact has "
    "this address; 3 not complete, or the result could not be written."
)
exclude = _command(
    excluded=True,
    about="Put people on the exclusion list: they get no marketing mail, whatever lists they are on.",
)
include = _command(excluded=False, about="Take people off the exclusion list.")


def _is_address(file: str) -> bool:
    return "@" in file and not Path(file).exists()
