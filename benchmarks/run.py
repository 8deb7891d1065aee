"""The command: it makes tables, prints them, and writes them into RESULTS.md if it is told to.

Each contender is a process of its own, with a sink process of its own, and sends the same rows. Rounds go A B C, A B C,
so that other work of the machine slows all contenders alike. A figure is printed only if the sink has counted as many
rows as were sent.
"""

import argparse
import io
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from benchmarks import backend, expected, extremes, plots, polling, quota, results, scale_check, scaling, sources, start
from benchmarks.against import build
from benchmarks.client_polling import through_client
from benchmarks.contest import (
    CSV,
    INGESTER,
    JOURNAL,
    JSON,
    MJBULK,
    RECURRING,
    SMALL,
    Contender,
    Task,
    compare,
    fill,
    print_ratios,
)
from benchmarks.expected import Constants
from benchmarks.processes import MEGA, Refused, run, sink, stats_of
from benchmarks.rows import CHUNK, write_csv
from benchmarks.sizes import LONG, QUICK, USUAL, Sizes

_RATE = 50
"""Requests a second for watching many jobs."""
_SMALL_LASTS = 0.1
"""Seconds that a job of ten rows lasts."""
_SIDE_BY_SIDE = 100
"""Imports of ten rows that begin together."""
_LATENCY = 0.02
"""Seconds for an answer, then."""
_LONG_ALONE = ("memory", "extremes")
"""Tables that are made with ``--long``, or when they are named."""
_COMPARED = ("json", "csv", "side", "start")
"""Tables that another commit takes part in."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the tables that the arguments name, and give the exit status: 1 if a figure was refused."""
    options = _options(arguments)
    sizes = QUICK if options.quick else LONG if options.long else USUAL
    print(f"{_machine()}; {CHUNK:,} rows a chunk of JSON.")
    refused = False
    with tempfile.TemporaryDirectory(prefix="mjbulk-benchmark-") as folder:
        try:
            if options.against:
                python, home = build(options.against, Path(folder))
                options.others = (Contender(f"mjbulk of {options.against}", "with_mjbulk", python=python, home=home),)
        except subprocess.CalledProcessError as why:
            print(f"refused: {why}", file=sys.stderr)
            return 1
        tables = _tables(options, Path(folder), sizes)
        for name in [name for name in tables if name in _chosen(options, tables)]:
            try:
                _make(name, tables[name], write=options.write)
            except (Refused, subprocess.CalledProcessError) as why:
                print(f"refused: {name}: {why}", file=sys.stderr)
                refused = True
    return int(refused)


def _machine() -> str:
    return f"Python {platform.python_version()} on {platform.system()}, {os.cpu_count()} cores"


def _chosen(options: argparse.Namespace, tables: Iterable[str]) -> Sequence[str]:
    if options.only:
        return list(options.only)
    if options.against:
        return _COMPARED
    return [name for name in tables if options.long or name not in _LONG_ALONE]


def _make(name: str, table: Callable[[], None], *, write: bool) -> None:
    """Make a table. What is written into RESULTS.md is printed too, when it is complete."""
    began = time.monotonic()
    if write:
        made = io.StringIO()
        with redirect_stdout(made):
            table()
        results.write(name, f"{made.getvalue()}\n{time.strftime('%Y-%m-%d')}, {_machine()}.")
        print(made.getvalue())
    else:
        table()
    print(f"\n({name}: {time.monotonic() - began:.0f} s)", flush=True)


def _tables(options: argparse.Namespace, folder: Path, sizes: Sizes) -> dict[str, Callable[[], None]]:
    """Give what makes each table, in the order in which they are made."""
    rows, rounds = options.rows or sizes.rows, options.rounds or sizes.rounds
    swept = options.rounds or sizes.swept_rounds
    drawn = options.write
    return {
        "json": lambda: _json(rows, rounds, options.others),
        "csv": lambda: _csv(folder, options.megabytes or sizes.megabytes, rounds, options.others),
        "lasting": lambda: _lasting(options.rows or sizes.lasting_rows, sizes.lasting, sizes.lasting_rounds),
        "small": lambda: _small(options.rounds or sizes.small_rounds),
        "side": lambda: _side_by_side(rounds, options.others),
        "start": lambda: _start(options.rounds or sizes.starts, options.others),
        "rows": lambda: _sweep(scaling.rows_sweep(sizes.swept_rows, swept, folder), drawn=drawn),
        "concurrency": lambda: _sweep(scaling.concurrency_sweep(sizes.concurrency_rows, swept), drawn=drawn),
        "imports": lambda: _sweep(scaling.imports_sweep(sizes.imports, swept), drawn=drawn),
        "recurring": lambda: _sweep(scaling.recurring_sweep(sizes.recurring_rows, swept), drawn=drawn),
        "scale": lambda: _scale(write=options.write),
        "sources": lambda: _sources(options.rows or sizes.source_rows, sizes.source_rounds),
        "journal": lambda: _journal(rows, rounds),
        "ingester": lambda: _ingester(rows, rounds),
        "backend": lambda: _backend(sizes),
        "quota": lambda: _quota(sizes),
        "polling": lambda: _polling(sizes),
        "memory": lambda: _memory(folder, sizes, full=not options.quick),
        "extremes": lambda: _extremes(folder, sizes.extreme_megabytes),
    }


TABLES = tuple(_tables(argparse.Namespace(rows=0, rounds=0, write=False), Path(), USUAL))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    size.add_argument("--long", action="store_true", help=f"large sizes, and {', '.join(_LONG_ALONE)} too")
    parser.add_argument("--only", choices=TABLES, nargs="+", metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--write", action="store_true", help="write the tables into RESULTS.md, and their plots")
    parser.add_argument("--rows", type=int, metavar="N", help="of a round on the JSON way")
    parser.add_argument("--megabytes", type=int, metavar="N", help="of the CSV file")
    parser.add_argument("--rounds", type=int, metavar="N")
    helped = f"run this commit beside another one ({', '.join(_COMPARED)}): a regression above 5 %% is shown in red"
    parser.add_argument("--against", metavar="REF", help=helped)
    options = parser.parse_args(arguments)
    options.others = ()
    if options.write and options.against:
        parser.error("RESULTS.md has no table of another commit: --write or --against")
    if options.write and find_spec("matplotlib") is None:
        parser.error("plots need matplotlib: pip install -e '.[bench]'")
    return options


def _sweep(sweep: scaling.Sweep, *, drawn: bool) -> None:
    print(f"\n## {sweep.plot.title}\n\n{sweep.text}", flush=True)
    if drawn:
        _draw(sweep.plot)


def _draw(plot: plots.Plot) -> None:
    path = plots.draw(plot, results.RESULTS.parent)
    print(f"\n![{plot.title}]({path.name})")


def _scale(*, write: bool) -> None:
    """Compute large imports, and hold small ones to what is measured. What is written is measured on this machine."""
    if write:
        scale_check.measure().write()
    known = Constants.load()
    checked, points = scale_check.table(known)
    print(f"\n## Past this machine\n\n{expected.HEAD}")
    for name, work in expected.CASES.items():
        print(expected.line(name, work, known))
    print(f"\n{checked}", flush=True)
    if write:
        _draw(expected.plot(known, points))


def _sources(rows: int, rounds: int) -> None:
    better = "" if rounds == 1 else f", the best of {rounds} rounds"
    print(f"\n## Sources: {rows:,} rows each{better}\n")
    sources.print_table(rows, rounds)


def _backend(sizes: Sizes) -> None:
    print("\n## A FastAPI backend: one worker, many uploads side by side\n")
    backend.print_tables(sizes.uploads, 1_000, sizes.large_upload)


def _extremes(folder: Path, megabytes: int) -> None:
    print(f"\n## Wide files and long rows: {megabytes:,} MB each\n")
    extremes.print_table(folder, megabytes)


def _json(rows: int, rounds: int, others: Sequence[Contender]) -> None:
    task = Task(rows, "contacts a second", rows)
    compare(f"JSON way: {rows:,} rows from an iterable", (MJBULK, *(others or JSON[1:])), task, rounds)


def _lasting(rows: int, seconds: float, rounds: int) -> None:
    task = Task(rows, "contacts a second", rows, poll_min=1.0, jobs_last=seconds)
    compare(f"JSON way, jobs that last {seconds:g} s: {rows:,} rows from an iterable", JSON, task, rounds)


def _small(rounds: int) -> None:
    """Compare imports of ten rows with the least that one takes. Raises Refused unless all rows were sent."""
    with sink("--jobs-last", str(_SMALL_LASTS)) as url:
        arguments = ["--url", url, "--rounds", str(rounds), "--job-lasts", str(_SMALL_LASTS)]
        took, _ = run([sys.executable, "-m", "benchmarks.with_small", *arguments])
        sent = stats_of(url)["rows"]
    if sent != 2 * 10 * rounds:
        raise Refused(f"of {2 * 10 * rounds} rows the sink counted {sent}")
    print(f"\n## Ten rows, a job that lasts {_SMALL_LASTS:g} s: {rounds} times, in turns\n")
    print("| | median ms | least and most |\n| --- | ---: | ---: |")
    for name, seconds in took.items():
        print(f"| {name} | {median(seconds) * 1000:.1f} | {min(seconds) * 1000:.1f} to {max(seconds) * 1000:.1f} |")
    ratio = median(took["mjbulk"]) / median(took["by hand"])
    print(f"\nmjbulk takes {ratio:.2f} times as long as the least.", flush=True)


def _side_by_side(rounds: int, others: Sequence[Contender]) -> None:
    task = Task(10 * _SIDE_BY_SIDE, "imports a second", _SIDE_BY_SIDE, jobs_last=_SMALL_LASTS, answers_take=_LATENCY)
    server = f"answers of {_LATENCY:g} s, jobs of {_SMALL_LASTS:g} s"
    contenders = (SMALL, *(replace(other, module=SMALL.module) for other in others))
    compare(f"{_SIDE_BY_SIDE} imports of ten rows side by side: {server}", contenders, task, rounds)


def _start(rounds: int, others: Sequence[Contender]) -> None:
    commits = {one.name: (one.python, one.home) for one in (SMALL, *others)}
    print(f"\n## Until there is a client: {rounds} fresh processes of each, in turns\n")
    took = start.measure(commits, rounds)
    print(start.table(took), flush=True)
    for phase in start.PHASES if others else ():
        names = [f"{name}: {phase}" for name in commits]
        print_ratios("speed", {name: [1 / seconds for seconds in took[name]] for name in names})


def _journal(rows: int, rounds: int) -> None:
    task = Task(rows, "contacts a second", rows)
    compare(f"A journal on disk, JSON way: {rows:,} rows from an iterable", JOURNAL, task, rounds)


def _ingester(rows: int, rounds: int) -> None:
    task = Task(rows, "contacts a second", rows)
    compare(f"An ingester: {rows:,} rows, each put by a task that waits for its outcome", INGESTER, task, rounds)


def _csv(folder: Path, megabytes: float, rounds: int, others: Sequence[Contender]) -> None:
    file = folder / "contacts.csv"
    rows = write_csv(file, int(megabytes * MEGA))
    size = file.stat().st_size / MEGA
    usual = (MJBULK, *others) if others else CSV
    contenders = [one for one in usual if one.module != "curl" or shutil.which("curl")]
    compare(f"CSV way: {rows:,} rows, {size:.0f} MB", contenders, Task(rows, "MB a second", size, file), rounds)


def _quota(sizes: Sizes) -> None:
    title = f"The quota: a server that allows {quota.LIMIT} requests a second, and never says so"
    print(f"\n## {title}\n\n{quota.table(sizes.learn, sizes.measure)}", flush=True)


def _polling(sizes: Sizes) -> None:
    seeds = ", ".join(map(str, polling.SEEDS))
    for name, jobs in polling.MIXES.items():
        print(
            f"\n### Polling, {name.lower()}: {len(polling.SEEDS)} x {sizes.modelled:,} modelled jobs, seeds {seeds}\n"
        )
        print(polling.table(sizes.modelled, jobs), flush=True)
    print(f"\n### Polling: {sizes.polled} jobs through a client and the emulator, posted 30 s apart\n")
    print("| | polls a job | late, mean |\n| --- | ---: | ---: |")
    for name, most in (("`poll_max` none", None), ("`poll_max` 300 s (the default)", 300.0)):
        polls, late = through_client(sizes.polled, polling.SEEDS[0], most)
        print(f"| {name} | {polls:.1f} | {late:.1%} |", flush=True)
    _watching(sizes.watched)


def _watching(jobs: int) -> None:
    """Watch many jobs at once in a process of its own. Raises Refused unless the end of each was seen."""
    result, peak = run(
        [sys.executable, "-m", "benchmarks.with_watchers", "--jobs", str(jobs), "--max-rate", str(_RATE)]
    )
    if result["ended"] != jobs:
        raise Refused(f"{result['ended']} of {jobs} jobs were seen to their end")
    print(f"\n### Polling: {jobs:,} jobs at once, `max_rate` {_RATE}\n")
    print("| polls a job | most polls in a second | tasks beside the caller's | peak MB |")
    print("| ---: | ---: | ---: | ---: |")
    print(f"| {result['polls'] / jobs:.1f} | {result['most']} | {result['tasks']} | {peak:.0f} |", flush=True)


def _memory(folder: Path, sizes: Sizes, *, full: bool) -> None:
    rows = sizes.memory_rows
    task = Task(rows, "", rows, poll_min=1.0, jobs_last=sizes.jobs_last, answers_take=sizes.answers_take)
    server = f"answers of {sizes.answers_take:g} s, jobs of"
    title = f"Memory, JSON way: {rows:,} rows, {server} {sizes.jobs_last:g} s"
    fill(title, task, full=full)
    fill(f"{title}, every third row of a person who came before", task, full=full, contender=RECURRING)
    file = folder / "large.csv"
    rows = write_csv(file, int(sizes.memory_megabytes * MEGA))
    task = Task(rows, "", rows, file, poll_min=1.0, jobs_last=sizes.imports_last, answers_take=sizes.answers_take)
    title = f"Memory, CSV way: {rows:,} rows, {sizes.memory_megabytes:,.0f} MB, {server} {sizes.imports_last:g} s"
    fill(title, task, full=full)
