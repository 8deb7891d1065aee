"""``mjbulk exclude`` and ``mjbulk include``: the exclusion list, for a file or for one address."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mjbulk.cli._ends import DONE, say
from mjbulk.cli._import import BooksAsJson, Rejects, check_rejects, finish, how_to_resume, run_to_its_end
from mjbulk.cli._journal import DEFAULT_WRITABLE, WritableJournal
from mjbulk.cli._options import RunSaid, SettingsSaid, client_of
from mjbulk.cli._source import BY_ITS_NAME, Form


def _command(*, excluded: bool, about: str) -> Callable[..., Awaitable[int]]:
    async def command(
        file: Annotated[str, Parameter(allow_leading_hyphen=True, help="A file, - for stdin, or one address.")],
        /,
        *,
        form: Form = BY_ITS_NAME,
        rejects: Rejects = None,
        as_json: BooksAsJson = False,
        journal: WritableJournal = DEFAULT_WRITABLE,
        how: RunSaid = None,
        settings: SettingsSaid = None,
    ) -> int:
        if _is_address(file):
            async with client_of(settings) as client:
                contact = await client.set_excluded(file, excluded=excluded)
            say(f"contact {contact.id} is {'on' if contact.excluded else 'off'} the exclusion list")
            return DONE
        source = form.source(file)
        check_rejects(rejects, file)
        async with client_of(settings, journal.target()) as client:
            report = await run_to_its_end(client.start_exclusion(source, excluded=excluded, **how or {}))
        return finish(report, rejects, as_json=as_json, resume=how_to_resume(report, source, journal, how))

    command.__doc__ = f"{about}\n\nOf a file only the addresses are read."
    return command


exclude = _command(
    excluded=True,
    about="Put people on the exclusion list: they get no marketing mail, whatever lists they are on.",
)
include = _command(excluded=False, about="Take people off the exclusion list.")


def _is_address(file: str) -> bool:
    return "@" in file and not Path(file).exists()
