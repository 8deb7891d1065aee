"""``mjbulk import``: a file or stdin, to its end."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from cyclopts import Group, Parameter

from mjbulk.cli._ends import UNFINISHED, on_signals, say, status_of_report, tell, tell_next
from mjbulk.cli._options import AsJson, RunSaid, SettingsSaid
from mjbulk.errors import ImportHalted, UsageError
from mjbulk.models import ActionWord

if TYPE_CHECKING:
    from mjbulk._sources import Source
    from mjbulk.report import Report
    from mjbulk.runs import ImportRun

_T = TypeVar("_T")
_BLOCK = 256 * 1024
_ENDINGS: dict[str, Literal["csv", "jsonl"]] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_LISTS = Group("Lists", sort_key=10)
_SOURCE = Group("Source", sort_key=20)
_OUTPUT = Group("Output", sort_key=30)


async def import_contacts(
    file: Annotated[str, Parameter(allow_leading_hyphen=True, help="A file *.csv or *.jsonl; - reads stdin.")],
    /,
    *,
    lists: Annotated[
        tuple[str, ...], Parameter(name="--list", group=_LISTS, help="A list, by ID, address or name; repeat for more.")
    ] = (),
    actions: Annotated[
        tuple[ActionWord, ...],
        Parameter(
            name="--action", group=_LISTS, help="What is done with the list: one for each --list, or one for all."
        ),
    ] = (),
    no_list: Annotated[bool, Parameter(group=_LISTS, help="Put the contacts on no list.")] = False,
    format_: Annotated[
        Literal["csv", "jsonl"] | None,
        Parameter(name="--format", group=_SOURCE, help="What the file is, where its ending does not say."),
    ] = None,
    delimiter: Annotated[str | None, Parameter(group=_SOURCE, help="What stands between two fields of CSV.")] = None,
    encoding: Annotated[str | None, Parameter(group=_SOURCE, help="The encoding of CSV; UTF-8 if not said.")] = None,
    rejects: Annotated[
        str | None, Parameter(group=_OUTPUT, help="Write rejected rows and their reasons to a file *.csv or *.jsonl.")
    ] = None,
    as_json: Annotated[AsJson, Parameter(group=_OUTPUT)] = False,
    how: RunSaid = None,
    settings: SettingsSaid = None,
) -> int:
    """Import contacts from a file or stdin, and account for every row.

    Say where they go: --list 42 --action addnoforce, or --no-list.
    """
    from mjbulk.client import Client  # noqa: PLC0415  # help must not wait for the engine
    from mjbulk.config import Settings  # noqa: PLC0415

    source = source_of(file, format_, delimiter, encoding)
    where = lists_of(lists, actions, no_list=no_list)
    check_rejects(rejects, file)
    async with Client(settings=Settings(**settings or {})) as client:
        report = await run_to_its_end(client.start_import(source, lists=where, **how or {}))
    return finish(report, rejects, as_json=as_json)


async def run_to_its_end(run: "ImportRun") -> "Report":
    """Wait for a run, and stop it on a signal; give its report, whole or partial."""
    stops: list[asyncio.Task[Report]] = []
    with ExitStack() as stack:
        stack.enter_context(on_signals(lambda: stops.append(asyncio.create_task(run.stop()))))
        stack.enter_context(shown(run))
        try:
            return await run
        except ImportHalted as halted:
            return halted.report
        except asyncio.CancelledError:
            return await run.stop()


def finish(report: "Report", rejects: str | None, *, as_json: bool) -> int:
    """Write what is known of the rows, whole or partial, and give the exit status."""
    status = status_of_report(report)
    if rejects is not None:
        try:
            report.write_rejections(rejects)
        except OSError as why:
            tell(f"the rejected rows could not be written to {rejects}: {why.strerror}")
            status, rejects = UNFINISHED, None
    say(json.dumps(report.as_dict()) if as_json else str(report))
    tell_next(report, rejects)
    return status


# Arguments


def lists_of(
    lists: Sequence[str], actions: Sequence[ActionWord], *, no_list: bool
) -> Mapping[str | int, ActionWord] | None:
    """Pair lists and actions. Raises UsageError where they are no pairs."""
    if no_list:
        if lists or actions:
            raise UsageError("--no-list goes without --list and --action")
        return None
    if not lists:
        raise UsageError("say where the contacts go: --list LIST --action ACTION, or --no-list")
    if not actions:
        raise UsageError("--list needs an --action: addnoforce, addforce, remove or unsub")
    if len(actions) not in (1, len(lists)):
        raise UsageError(f"{len(lists)} --list and {len(actions)} --action: give one for each, or one for all")
    words = actions if len(actions) == len(lists) else [actions[0]] * len(lists)
    pairs: dict[str | int, ActionWord] = dict(zip(lists, words, strict=True))
    if len(pairs) != len(lists):
        raise UsageError("a list is named twice")
    return pairs


def source_of(
    file: str, format_: Literal["csv", "jsonl"] | None, delimiter: str | None, encoding: str | None
) -> "Source":
    """Make a source of a path or ``-``. Raises UsageError for what can be none."""
    from mjbulk._sources import csv_source, jsonl_source  # noqa: PLC0415

    if file.startswith("-") and file != "-":
        raise UsageError(f"unknown option {file} (a file of that name is ./{file})")
    kind = format_ or ("csv" if file == "-" else _ENDINGS.get(Path(file).suffix.casefold()))
    if kind is None:
        raise UsageError("the file's ending does not say what it is: add --format csv or --format jsonl")
    rows: str | AsyncIterator[bytes] = file
    if file == "-":
        rows = _pieces(sys.stdin.fileno)
    elif Path(file).is_fifo():
        rows = _pieces(lambda: os.open(file, os.O_RDONLY | os.O_CLOEXEC))
    if kind == "csv":
        return csv_source(rows, encoding=encoding or "utf-8", delimiter="," if delimiter is None else delimiter)
    if delimiter is not None or encoding is not None:
        raise UsageError("--delimiter and --encoding are for CSV")
    return jsonl_source(rows)


def check_rejects(rejects: str | None, file: str) -> None:
    """Find out before anything is sent whether rejections can be written. Raises UsageError where they cannot."""
    if rejects is None:
        return
    target = Path(rejects)
    if target.suffix.casefold() not in (".csv", ".jsonl"):
        raise UsageError("--rejects writes a file *.csv or *.jsonl")
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise UsageError("--rejects names a folder that is not there or cannot be written to")
    with suppress(OSError):
        if target.samefile(file):
            raise UsageError("--rejects names the file that is imported")


async def _pieces(opened: Callable[[], int]) -> AsyncIterator[bytes]:
    """Read a pipe, which may stay silent for ever, in threads that do not keep the process alive."""
    descriptor = await _in_thread(opened)
    while block := await _in_thread(lambda: os.read(descriptor, _BLOCK)):
        yield block


async def _in_thread(call: Callable[[], _T]) -> _T:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[_T] = loop.create_future()

    def give(outcome: _T | OSError) -> None:
        if ready.cancelled():
            return
        if isinstance(outcome, OSError):
            ready.set_exception(outcome)
        else:
            ready.set_result(outcome)

    def work() -> None:
        outcome: _T | OSError
        try:
            outcome = call()
        except OSError as why:
            outcome = why
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(give, outcome)

    threading.Thread(target=work, daemon=True).start()
    return await ready


# Progress


@contextmanager
def shown(run: "ImportRun") -> Iterator[None]:
    """Show how a run is going, on a terminal alone."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (SpinnerColumn(), BarColumn(bar_width=24), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("", total=None)

        async def follow() -> None:
            while True:
                now = run.progress
                waiting = sum(count for word, count in now.jobs.items() if word.casefold() != "completed")
                text = f"{now.settled:,} of {now.rows:,} rows read so far, {now.rejected:,} rejected, {waiting:,} jobs"
                bar.update(line, description=text, completed=now.settled, total=now.rows or None)
                await asyncio.sleep(0.1)

        task = asyncio.create_task(follow())
        try:
            yield
        finally:
            task.cancel()
