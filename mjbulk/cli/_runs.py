"""``mjbulk resume``, ``runs`` and ``purge``: the runs that are in a journal."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mjbulk.cli._ends import DONE, printable, say
from mjbulk.cli._import import BooksAsJson, Rejects, check_rejects, finish, run_to_its_end
from mjbulk.cli._journal import DEFAULT_EXISTING, ExistingJournal
from mjbulk.cli._options import AsJson, SettingsSaid, client_of
from mjbulk.cli._source import BY_ITS_NAME, Form
from mjbulk.errors import UsageError
from mjbulk.models import COUNT_NAMES, Counts
from mjbulk.terms import Resend

if TYPE_CHECKING:
    from mjbulk.journal.info import ChunkInfo, RunInfo

_Cells = Mapping[str, str | int]
_RunId = Annotated[str, Parameter(name="RUN_ID", help="The name of a run, as mjbulk runs shows it.")]


async def resume(
    run_id: _RunId,
    file: Annotated[
        str | None,
        Parameter(allow_leading_hyphen=True, help="Its source, or - for stdin; a file is found again by itself."),
    ] = None,
    /,
    *,
    form: Form = BY_ITS_NAME,
    rejects: Rejects = None,
    as_json: BooksAsJson = False,
    journal: ExistingJournal = DEFAULT_EXISTING,
    partition: Annotated[str | None, Parameter(help="Which part of a run that many workers share.")] = None,
    resend: Annotated[Resend, Parameter(help="Whether to send rows again whose answers were lost.")] = "safe",
    settings: SettingsSaid = None,
) -> int:
    """Go on with a run, on the terms on which it was begun.

    Without its source the jobs that are known are settled, and nothing is sent.
    """
    if file is None and form != BY_ITS_NAME:
        raise UsageError("--format, --delimiter, --sheet and the like go with a file: a run knows those of its own")
    source = None if file is None else form.source(file)
    check_rejects(rejects, file or "")
    async with client_of(settings, journal.existing()) as client:
        report = await run_to_its_end(client.resume_import(run_id, source, partition=partition, resend=resend))
    return finish(
        report,
        rejects,
        as_json=as_json,
        resume=journal.resume(run_id, partition, shlex.quote(file) if file else "[FILE|-]"),
    )


async def runs(
    run_id: Annotated[str | None, Parameter(name="RUN_ID", help="Show the chunks and jobs of this run.")] = None,
    /,
    *,
    as_json: AsJson = False,
    journal: ExistingJournal = DEFAULT_EXISTING,
    settings: SettingsSaid = None,
) -> int:
    """Show the runs of this account and how far they are, or the chunks and jobs of one.

    What is under way counts as unknown. With --json an object a line.
    """
    async with client_of(settings, journal.existing()) as client:
        if run_id is None:
            lines = [(info.as_dict(), _run_line(info)) async for info in client.runs()]
        else:
            lines = [(info.as_dict(), _chunk_line(info)) async for info in client.run_chunks(run_id)]
    for line in (json.dumps(fields) for fields, _ in lines) if as_json else _table([cells for _, cells in lines]):
        say(line)
    return DONE


def _run_line(info: "RunInfo") -> _Cells:
    done = info.accepted + info.rejected + info.superseded
    return {
        "run": printable(info.run_id),
        "partition": printable(info.partition or ""),
        "state": info.state,
        "begun": info.created,
        "done": f"{done / info.rows:.0%}" if info.rows else "",
        **_books(info),
    }


def _chunk_line(info: "ChunkInfo") -> _Cells:
    return {
        "partition": printable(info.partition or ""),
        "chunk": str(info.number),
        "of rows": f"{info.span.start}-{info.span.stop - 1}",
        "state": info.state,
        "job": str(info.job or ""),
        **_books(info),
        "cause": printable(info.cause),
    }


def _books(counts: Counts) -> _Cells:
    return {name.replace("_", " "): getattr(counts, name) for name in COUNT_NAMES}


def _table(rows: Sequence[_Cells]) -> Iterator[str]:
    """Give rows as lines of columns, with numbers to the right; an empty column is left out."""
    columns = []
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows]
        texts = [name, *(f"{value:,}" if isinstance(value, int) else value for value in values)]
        if any(texts[1:]):
            width = max(map(len, texts))
            columns.append([text.rjust(width) if isinstance(values[0], int) else text.ljust(width) for text in texts])
    for line in zip(*columns, strict=True):
        yield "  ".join(line).rstrip()


async def purge(
    run_id: _RunId, /, *, journal: ExistingJournal = DEFAULT_EXISTING, settings: SettingsSaid = None
) -> int:
    """Have the journal forget a run: it cannot go on any more, and its name is free."""
    async with client_of(settings, journal.existing()) as client:
        await client.purge_run(run_id)
    say(f"run {printable(run_id)} is forgotten")
    return DONE
