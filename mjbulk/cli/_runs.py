"""``mjbulk runs`` and ``purge``: the runs that are in a journal."""

import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from mjbulk.cli._ends import DONE, UNFINISHED, WITHOUT
from mjbulk.cli._journal import DEFAULT_EXISTING, ExistingJournal
from mjbulk.cli._options import AsJson, SettingsSaid
from mjbulk.cli._output import counted, note, printable, say
from mjbulk.cli._rejects import Rejects, by_code, check_rejects, in_words, write_rejects
from mjbulk.cli._table import Cells, cut, table, width
from mjbulk.cli._words import as_options
from mjbulk.errors import UsageError

if TYPE_CHECKING:
    from mjbulk.client import Client
    from mjbulk.journal.info import ChunkInfo, RunInfo

_State = Literal["running", "resumable", "needs_source", "settled", "complete"]


async def runs(
    run_id: Annotated[str | None, Parameter(name="RUN_ID", help="Show this run, its chunks and jobs.")] = None,
    /,
    *,
    state: Annotated[_State | None, Parameter(help="Show only runs that are in this state.")] = None,
    limit: Annotated[int | None, Parameter(help="Show only so many of the newest runs.")] = None,
    partition: Annotated[str | None, Parameter(help="Which part of RUN_ID --rejects is about.")] = None,
    rejects: Rejects = None,
    as_json: AsJson = False,
    journal: ExistingJournal = DEFAULT_EXISTING,
    settings: SettingsSaid = None,
) -> int:
    """Show the runs of this account, the newest first; or one, with its rejections by code, its chunks and jobs.

    What is in flight counts as unknown. With --json an object a line for each run; that of RUN_ID has its rejections
    by_code and its chunks, too. With --rejects the rejected rows of RUN_ID, which has ended, are written from the
    journal, without addresses and rows, to a file that is not there yet.

    Exit status: 0 shown; 2 no journal, or no such run; 3 the result could not be written.
    """
    if limit is not None and limit < 0:
        raise UsageError("--limit is a number of runs, 0 or more")
    if run_id is not None:
        check_rejects(rejects)
        async with journal.client(settings) as client:
            return await _show_one(client, journal, run_id, partition, rejects, as_json=as_json)
    if rejects is not None:
        raise UsageError("--rejects needs a RUN_ID: mjbulk runs shows them")
    async with journal.client(settings) as client:
        infos = [info async for info in client.runs()]
    infos.reverse()  # of two that began in the same second the later one is the first
    infos.sort(key=_created, reverse=True)
    infos = [info for info in infos if _is(info, state)][:limit]
    for line in map(_as_json, infos) if as_json else _list(infos, journal):
        say(line)
    if not infos and limit != 0 and not as_json:
        note("no run is in the journal" if state is None else f"no run is {state}")
    return DONE


def _as_json(info: "RunInfo", **more: object) -> str:
    return json.dumps({**in_words(info.as_dict()), **more})


def _created(info: "RunInfo") -> datetime:
    return datetime.fromisoformat(info.created) if info.created else datetime.min.replace(tzinfo=UTC)


def _is(info: "RunInfo", state: str | None) -> bool:
    return state is None or (info.complete if state == "complete" else info.state == state)


def _list(infos: Sequence["RunInfo"], journal: ExistingJournal) -> Iterator[str]:
    """Give a line for each run, and below it what it does, with which file, why it is not complete, and what helps."""
    head, *lines = [*table([_run_cells(info) for info in infos], width(), short=("partition",)), ""]
    if infos:
        yield head
    for info, line in zip(infos, lines, strict=False):
        yield line
        yield from _below(info, journal)


def _run_cells(info: "RunInfo") -> Cells:
    return {
        "run": printable(info.run_id),
        "partition": printable(info.partition or ""),
        "state": "complete" if info.complete else info.state,
        "begun": _moment(info),
        "took": _took(info.seconds) if info.seconds else "",
        "rows": info.rows,
        "rejected": info.rejected,
    }


def _moment(info: "RunInfo") -> str:
    """Say when a run began, in the zone of this machine."""
    return _created(info).astimezone().strftime("%Y-%m-%d %H:%M") if info.created else ""


def _took(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _below(info: "RunInfo", journal: ExistingJournal) -> Iterator[str]:
    source = f" - {printable(info.name)}" if info.name else ""
    yield f"  {cut(printable(info.action) + source, width() - 2)}"
    if not info.complete:
        yield from textwrap.wrap(_why(info), width(), initial_indent="  ", subsequent_indent="    ")
    if info.state in ("resumable", "needs_source"):
        source = "" if info.state == "resumable" else "FILE"
        yield f"  next: {printable(journal.go_on(info.run_id, info.partition, source).resume)}"


def _why(info: "RunInfo") -> str:
    """Say why a run is not complete, and which rows that leaves."""
    left = [f"{n:,} {name.replace('_', ' ')}" for name in ("unknown", "not_sent") if (n := getattr(info, name))]
    why = printable(as_options(info.cause or "") or ("it is under way" if info.state == "running" else ""))
    return ": ".join(part for part in (", ".join(left), why) if part) or "its source was not read to its end"


# One run


async def _show_one(
    client: "Client",
    journal: ExistingJournal,
    run_id: str,
    partition: str | None,
    rejects: str | None,
    *,
    as_json: bool,
) -> int:
    info = await client.get_run(run_id)
    report = await client.get_report(run_id, partition=partition) if rejects is not None else None
    chunks = [chunk async for chunk in client.run_chunks(run_id)]
    codes = await _codes_of(client, run_id, chunks)
    if as_json:
        parts = [in_words(chunk.as_dict()) for chunk in chunks]
        lines = [_as_json(info, by_code=dict(codes.most_common()), chunks=parts)]
    else:
        lines = [*_list([info], journal), *_about_one(info, codes, chunks)]
    for line in lines:
        say(line)
    if rejects is None or report is None:
        return DONE
    if not write_rejects(report.rejections, rejects):
        return UNFINISHED
    note(f"{counted(len(report.rejections), 'rejected row')} in {rejects}, {WITHOUT}: a journal keeps none")
    return DONE


async def _codes_of(client: "Client", run_id: str, chunks: Sequence["ChunkInfo"]) -> Counter[str]:
    """Count the rejections of a run by their codes, in those of its partitions that have ended."""
    codes: Counter[str] = Counter()
    for partition in {chunk.partition for chunk in chunks} or {None}:
        with suppress(UsageError):  # it has not ended
            codes.update(by_code((await client.get_report(run_id, partition=partition)).rejections))
    return codes


def _about_one(info: "RunInfo", codes: Counter[str], chunks: Sequence["ChunkInfo"]) -> Iterator[str]:
    yield f"  {info.summary()}"
    if codes:
        shown = ", ".join(f"{printable(code)} {count:,}" for code, count in codes.most_common())
        yield from textwrap.wrap(f"rejected by code: {shown}", width(), initial_indent="  ", subsequent_indent="    ")
    if chunks:
        yield ""
    yield from table([_chunk_cells(chunk) for chunk in chunks], width(), short=("cause", "partition"))


def _chunk_cells(info: "ChunkInfo") -> Cells:
    counts = {"accepted": info.accepted, "rejected": info.rejected}
    others = {name: getattr(info, name) for name in ("superseded", "unknown", "not_sent")}
    more = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in others.items() if count)
    return {
        "partition": printable(info.partition or ""),
        "chunk": info.number,
        "of rows": f"{info.span.start}-{info.span.stop - 1}",
        "state": info.state,
        "job": str(info.job or ""),
        **counts,
        "others": more,
        "cause": printable(as_options(info.cause)),
    }


# Forgetting


_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)", re.IGNORECASE)
_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def _age(text: str) -> timedelta:
    found = _AGE.fullmatch(text.strip())
    try:
        return timedelta(seconds=float(found[1]) * _UNITS[found[2].casefold()]) if found else _no_age()
    except OverflowError:
        return timedelta.max


def _no_age() -> timedelta:
    raise UsageError("--older-than is a number with a unit (s, min, h, d, w), as in 90d")


async def purge(
    run_id: Annotated[str | None, Parameter(name="RUN_ID", help="The name of a run, as mjbulk runs shows it.")] = None,
    /,
    *,
    older_than: Annotated[
        str | None, Parameter(metavar="AGE", help="Forget all runs that began longer ago, as in 90d, 12h or 30min.")
    ] = None,
    dry_run: Annotated[bool, Parameter(help="Say what would be forgotten, and forget nothing.")] = False,
    journal: ExistingJournal = DEFAULT_EXISTING,
    settings: SettingsSaid = None,
) -> int:
    """Have the journal forget a run, or all old ones: they cannot go on any more, and their names are free.

    Runs that are under way are kept.

    Exit status: 0 forgotten; 2 no journal, no such run, or it is under way; 3 the result could not be written.
    """
    if (run_id is None) is (older_than is None):
        raise UsageError("say which runs: a RUN_ID, or --older-than 90d")
    age = None if older_than is None else _age(older_than)
    async with journal.client(settings) as client:
        names = [run_id] if run_id is not None else await _older(client, age or timedelta())
        for name in names:
            if name is not None:
                await (client.get_run(name) if dry_run else client.purge_run(name))
                say(f"run {printable(name)} {'would be' if dry_run else 'is'} forgotten")
    if older_than is not None:
        note(f"{counted(len(names), 'run')} older than {older_than}; those under way are kept")
    return DONE


async def _older(client: "Client", age: timedelta) -> list[str]:
    """Name the runs that began longer ago, the oldest first; those that are under way are left out."""
    now = datetime.now(UTC)
    infos = [info async for info in client.runs()]
    kept = {info.run_id for info in infos if info.state == "running" or now - _created(info) < age}
    return list(dict.fromkeys(info.run_id for info in infos if info.run_id not in kept))
