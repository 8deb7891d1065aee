"""``mjbulk exclude`` and ``mjbulk include``: the exclusion list, for a file or for one address."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from mjbulk.cli._ends import DONE, say
from mjbulk.cli._import import check_rejects, finish, run_to_its_end, source_of
from mjbulk.cli._options import AsJson, RunSaid, SettingsSaid

_File = Annotated[
    str, Parameter(name="FILE", allow_leading_hyphen=True, help="A file *.csv or *.jsonl, - for stdin, or one address.")
]
_Format = Annotated[Literal["csv", "jsonl"] | None, Parameter(name="--format", help="What the file is.")]
_Rejects = Annotated[str | None, Parameter(help="Write rejected rows and their reasons to a file *.csv or *.jsonl.")]


async def exclude(
    file: _File,
    /,
    *,
    format_: _Format = None,
    rejects: _Rejects = None,
    as_json: AsJson = False,
    how: RunSaid = None,
    settings: SettingsSaid = None,
) -> int:
    """Put people on the exclusion list: they get no marketing mail, whatever lists they are on.

    Of a file only the addresses are read.
    """
    return await _set(file, format_, rejects, how, settings, as_json=as_json, excluded=True)


async def include(
    file: _File,
    /,
    *,
    format_: _Format = None,
    rejects: _Rejects = None,
    as_json: AsJson = False,
    how: RunSaid = None,
    settings: SettingsSaid = None,
) -> int:
    """Take people off the exclusion list.

    Of a file only the addresses are read.
    """
    return await _set(file, format_, rejects, how, settings, as_json=as_json, excluded=False)


async def _set(
    file: str,
    format_: Literal["csv", "jsonl"] | None,
    rejects: str | None,
    how: RunSaid,
    settings: SettingsSaid,
    *,
    as_json: bool,
    excluded: bool,
) -> int:
    from mjbulk.client import Client  # noqa: PLC0415  # help must not wait for the engine
    from mjbulk.config import Settings  # noqa: PLC0415

    if _is_address(file):
        async with Client(settings=Settings(**settings or {})) as client:
            contact = await client.set_excluded(file, excluded=excluded)
        say(f"contact {contact.id} is {'on' if contact.excluded else 'off'} the exclusion list")
        return DONE
    source = source_of(file, format_, None, None)
    check_rejects(rejects, file)
    async with Client(settings=Settings(**settings or {})) as client:
        report = await run_to_its_end(client.start_exclusion(source, excluded=excluded, **how or {}))
    return finish(report, rejects, as_json=as_json)


def _is_address(file: str) -> bool:
    return "@" in file and not Path(file).exists()
