"""``mjbulk plan``: what an import would send, and what would go wrong."""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import attrs
from cyclopts import Parameter

from mjbulk.cli._ends import DONE, REJECTED, UNFINISHED
from mjbulk.cli._options import AsJson, RunSaid, SettingsSaid, checked_terms, client_of
from mjbulk.cli._output import counted, printable, say, tell
from mjbulk.cli._rejects import Rejects, by_code, check_rejects, in_words, write_rejects
from mjbulk.cli._source import BY_ITS_NAME, FILE_HELP, NOWHERE, Form, Where
from mjbulk.cli._words import as_options

if TYPE_CHECKING:
    from mjbulk.rows.sources import Source
    from mjbulk.run.plan import Plan

_EXAMPLES = 10


async def plan(
    file: Annotated[str, Parameter(allow_leading_hyphen=True, help=FILE_HELP)],
    /,
    *,
    where: Where = NOWHERE,
    form: Form = BY_ITS_NAME,
    rejects: Rejects = None,
    as_json: AsJson = False,
    how: RunSaid = None,
    settings: SettingsSaid = None,
) -> int:
    """Say what an import of a file would send and what would go wrong, without sending a contact.

    Exit status: 0 nothing would go wrong here; 1 rows would be refused, or properties are missing that the import would
    not create; 2 the import would be refused; 3 the result could not be written.
    """
    lists, source = where.lists(), form.source(file)
    check_rejects(rejects, file)
    return await make_plan(source, lists, checked_terms(how), rejects, as_json=as_json, settings=settings)


async def make_plan(
    source: "Source",
    lists: Mapping[str | int, Any] | None,
    terms: dict[str, Any],
    rejects: str | None,
    *,
    as_json: bool,
    settings: SettingsSaid,
) -> int:
    """Plan an import, show the plan, and give the exit status."""
    async with client_of(settings) as client:
        made = await client.plan_import(source, lists=lists, **terms)
    created = made.new_properties if terms.get("create_properties") else ()
    refused = [*made.unknown_properties, *(made.new_properties if not created else ())]
    for line in [_as_json(made)] if as_json else _lines(made, refused, rejects):
        say(line)
    written = rejects is None or write_rejects(made.rejections, rejects, text=source.text)
    if refused:
        tell("next: --create-properties creates what is missing, --columns picks the columns to take")
    if not written:
        return UNFINISHED
    return REJECTED if len(made.rejections) or refused else DONE


_NAMES = (
    "rows", "chunks", "requests", "bytes", "superseded", "recurring", "forced", "new_properties", "unknown_properties",
)  # fmt: skip


def _as_json(made: "Plan") -> str:
    figures = {name: getattr(made, name) for name in _NAMES}
    codes = by_code(made.rejections)
    findings = [attrs.asdict(finding) for finding in made.findings]
    return json.dumps(in_words(figures | {"rejected": len(made.rejections), "by_code": codes, "findings": findings}))


def _lines(made: "Plan", refused: list[str], rejects: str | None) -> Iterator[str]:
    yield _verdict(made, refused)
    yield from _figures(made)
    yield from map(_finding, made.findings)
    if made.forced:
        yield (
            f"addforce subscribes {counted(made.forced, 'person', 'people')}, also those who have unsubscribed; "
            "addnoforce leaves these alone"
        )
    if made.recurring:
        yield f"{counted(made.recurring, 'row')} of people who come again: each waits for the one before it"
    yield from _refused_rows(made, rejects)


def _verdict(made: "Plan", refused: list[str]) -> str:
    good = made.rows - len(made.rejections)
    if refused:
        names = printable(", ".join(map(repr, refused)))
        noun = "property" if len(refused) == 1 else "properties"
        return f"The import would be refused: the account has no {noun} {names}."
    if not made.rows:
        return "The import would send nothing: the source has no rows."
    what = f"in {counted(made.chunks, 'job')}, by {counted(made.requests, 'request')}"
    created = printable(", ".join(map(repr, made.new_properties)))
    new = f"; it would create the properties {created}" if created else ""
    if not made.rejections:
        return f"The import would send {'its row' if made.rows == 1 else f'all {made.rows:,} rows'} {what}{new}."
    of = f"{good:,} of {counted(made.rows, 'row')}"
    return f"The import would send {of} {what}, and refuse {len(made.rejections):,}{new}."


def _figures(made: "Plan") -> Iterator[str]:
    for name in _NAMES:
        value = getattr(made, name)
        shown = printable(", ".join(value) or "none") if isinstance(value, tuple) else f"{value:,}"
        yield f"{name.replace('_', ' '):20} {shown}"
    yield f"{'rejected':20} {len(made.rejections):,}"
    for code, count in by_code(made.rejections).items():
        yield f"  {code:18} {count:,}"


def _finding(finding: Any) -> str:
    rows = counted(finding.count, "row")
    where = rows + (f" from row {finding.first_row:,} on" if finding.first_row else "")
    column = f", column {printable(finding.column)}" if finding.column is not None else ""
    return f"{where}{column}: {printable(as_options(finding.message))}"


def _refused_rows(made: "Plan", rejects: str | None) -> Iterator[str]:
    """Say which rows would be refused: some of them."""
    for rejection in islice(made.rejections, _EXAMPLES):
        column = f", column {printable(rejection.field)}" if rejection.field else ""
        yield f"row {rejection.row}{column}: {printable(as_options(rejection.message))}"
    if len(made.rejections) > _EXAMPLES:
        where = f"all are in {rejects}" if rejects else "--rejects FILE.csv writes all of them"
        yield f"... and {counted(len(made.rejections) - _EXAMPLES, 'more row', 'more rows')}: {where}"
