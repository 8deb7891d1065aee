"""``mjbulk plan``: what an import would send, and what would go wrong."""

import json
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from mjbulk.cli._ends import DONE, REJECTED, plain, say
from mjbulk.cli._import import lists_of, source_of
from mjbulk.cli._options import AsJson, RunSaid, SettingsSaid
from mjbulk.models import ActionWord

if TYPE_CHECKING:
    from mjbulk.plan import Plan


async def plan(
    file: Annotated[str, Parameter(help="A file *.csv or *.jsonl.")],
    /,
    *,
    lists: Annotated[tuple[str, ...], Parameter(name="--list", help="A list, by ID, address or name.")] = (),
    actions: Annotated[tuple[ActionWord, ...], Parameter(name="--action", help="What is done with the list.")] = (),
    no_list: Annotated[bool, Parameter(help="Put the contacts on no list.")] = False,
    format_: Annotated[Literal["csv", "jsonl"] | None, Parameter(name="--format", help="What the file is.")] = None,
    delimiter: Annotated[str | None, Parameter(help="What stands between two fields of CSV.")] = None,
    encoding: Annotated[str | None, Parameter(help="The encoding of CSV.")] = None,
    as_json: AsJson = False,
    how: RunSaid = None,
    settings: SettingsSaid = None,
) -> int:
    """Say what an import of a file would send and what would go wrong, without sending a contact.

    Exit status 0 if nothing would go wrong here, 1 if rows would be refused or properties are missing.
    """
    from mjbulk.client import Client  # noqa: PLC0415  # help must not wait for the engine
    from mjbulk.config import Settings  # noqa: PLC0415

    source = source_of(file, format_, delimiter, encoding)
    where = lists_of(lists, actions, no_list=no_list)
    async with Client(settings=Settings(**settings or {})) as client:
        made = await client.plan_import(source, lists=where, **how or {})
    _show(made, as_json=as_json)
    return REJECTED if len(made.rejections) or made.new_properties or made.unknown_properties else DONE


def _show(made: "Plan", *, as_json: bool) -> None:
    names = ("rows", "chunks", "requests", "bytes", "superseded", "forced", "new_properties", "unknown_properties")
    figures = {name: getattr(made, name) for name in names} | {"rejected": len(made.rejections)}
    if as_json:
        say(json.dumps(figures))
        return
    for name, value in figures.items():
        say(f"{name.replace('_', ' '):20} {', '.join(value) if isinstance(value, tuple) else f'{value:,}'}")
    for rejection in made.rejections:
        say(f"row {rejection.row}: {plain(rejection.field or '')} {plain(rejection.message)}")
