"""``mjbulk plan``: what an import would send, and what would go wrong."""

import json
from typing import TYPE_CHECKING, Annotated

import attrs
from cyclopts import Parameter

from mjbulk.cli._ends import DONE, REJECTED, printable, say
from mjbulk.cli._options import AsJson, RunSaid, SettingsSaid, client_of
from mjbulk.cli._source import BY_ITS_NAME, NOWHERE, Form, Where

if TYPE_CHECKING:
    from mjbulk.run.plan import Plan


async def plan(
    file: Annotated[
        str, Parameter(allow_leading_hyphen=True, help="A file *.csv, *.jsonl (both also *.gz), *.parquet or *.xlsx.")
    ],
    /,
    *,
    where: Where = NOWHERE,
    form: Form = BY_ITS_NAME,
    as_json: AsJson = False,
    how: RunSaid = None,
    settings: SettingsSaid = None,
) -> int:
    """Say what an import of a file would send and what would go wrong, without sending a contact.

    Exit status 0 if nothing would go wrong here, 1 if rows would be refused or properties are missing.
    """
    source, lists = form.source(file), where.lists()
    async with client_of(settings) as client:
        made = await client.plan_import(source, lists=lists, **how or {})
    _show(made, as_json=as_json)
    return REJECTED if len(made.rejections) or made.new_properties or made.unknown_properties else DONE


def _show(made: "Plan", *, as_json: bool) -> None:
    names = ("rows", "chunks", "requests", "bytes", "superseded", "forced", "new_properties", "unknown_properties")
    figures = {name: getattr(made, name) for name in names} | {"rejected": len(made.rejections)}
    if as_json:
        say(json.dumps(figures | {"findings": [attrs.asdict(finding) for finding in made.findings]}))
        return
    for name, value in figures.items():
        shown = printable(", ".join(value) or "none") if isinstance(value, tuple) else f"{value:,}"
        say(f"{name.replace('_', ' '):20} {shown}")
    for finding in made.findings:
        rows = "1 row" if finding.count == 1 else f"{finding.count:,} rows"
        where = rows + (f" from row {finding.first_row:,} on" if finding.first_row else "")
        column = f", column {printable(finding.column)}" if finding.column is not None else ""
        say(f"{where}{column}: {printable(finding.message)}")
    for rejection in made.rejections:
        column = f", column {printable(rejection.field)}" if rejection.field else ""
        say(f"row {rejection.row}{column}: {printable(rejection.message)}")
