"""Imports past one process: ``python -m benchmarks.fleet`` prints three tables, with the extras dask, arrow, postgres.

The first one is of one Dask worker against two (processes of one thread each), with a journal in SQLite. Rounds go A B,
A B. Processor time says what bounds them: that of the workers, of the sink, and of this process with Dask's scheduler.
The second one says where the threads of the workers were meanwhile: Dask looks a hundred times a second, and sees a
thread oftener where it lets others go on (in a wait or in C) than in Python.

The third one is of the journal in PostgreSQL: several processes write partitions of one run into it, and each hears
how long its commits take. The server is a private one on disk, and waits for its disk.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from attrs import frozen

from benchmarks.processes import sink, stats_of
from benchmarks.rows import rows
from mjbulk import Client, Credentials, Event, Settings

_HOME = Path(__file__).parents[1]
_PARTS = 8


# Workers


@frozen
class Took:
    """What a run of all partitions took, in seconds."""

    seconds: float
    workers: float
    """Processor time of the workers."""
    busiest: float
    """That of the one that had most."""
    sink: float
    here: float
    """Processor time of this process."""
    where: Counter[str]
    """How often the thread of a worker was seen in a package."""


def write_parts(folder: Path, count: int) -> list[Path]:
    """Write the rows into Parquet parts."""
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    table, paths = arrow.Table.from_pylist(list(rows(count))), []
    for part in range(_PARTS):
        paths.append(folder / f"part-{part}.parquet")
        parquet.write_table(table.slice(part * count // _PARTS, count // _PARTS), paths[-1])
    return paths


async def with_workers(workers: int, paths: Sequence[Path], count: int, journal: Path) -> Took:
    """Import all parts by a number of workers. Raises RuntimeError if the sink has counted other rows."""
    dask, ours = import_module("distributed"), import_module("mjbulk.dask")
    with sink("--jobs-last", "0.1") as url:
        os.environ.update(MJ_API_URL=url, MJ_APIKEY_PUBLIC="public", MJ_APIKEY_PRIVATE="private", MJBULK_POLL_MIN="0.1")
        how = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0", "asynchronous": True}
        async with dask.Client(**how) as client:
            warm = [[{"email": f"{n}@example.org"}] for n in range(2 * workers)]
            for name, parts in (("warm", warm), ("run", paths)):
                clock = time.time()
                before, here, began = await client.run(time.process_time), time.process_time(), time.perf_counter()
                sunk = _cpu_of_sink()
                said = {"run_id": name, "lists": {1: "addnoforce"}, "journal": str(journal)}
                report = await ours.import_partitions(client, parts, **said)
                seconds = time.perf_counter() - began
            after = await client.run(time.process_time)
            where = seen_in(await client.profile(start=clock))
        if (report.accepted, stats_of(url)["rows"]) != (count, count + 2 * workers):
            raise RuntimeError(f"of {count} rows {report.accepted} were accepted")
        each = [after[worker] - before[worker] for worker in after]
        return Took(seconds, sum(each), max(each), _cpu_of_sink() - sunk, time.process_time() - here, where)


def seen_in(profile: Mapping[str, Any]) -> Counter[str]:
    """Count in which packages the innermost functions of a tree of calls were seen; see ``distributed.profile``."""
    inner = list(profile["children"].values())
    counted = sum((seen_in(one) for one in inner), Counter[str]())
    if alone := profile["count"] - sum(one["count"] for one in inner):
        counted[_package(**profile["description"])] += alone
    return counted


def _package(filename: str, name: str, **_: Any) -> str:
    if (name, Path(filename).name) == ("_run_once", "base_events.py"):  # Dask leaves out what it calls: select
        return "waiting for answers, jobs and times"
    parts = Path(filename).parts
    if "mjbulk" in parts:
        inside = parts[len(parts) - parts[::-1].index("mjbulk") :]
        return f"mjbulk.{inside[0].removesuffix('.py')}"
    return parts[parts.index("site-packages") + 1] if "site-packages" in parts else f"Python's {Path(filename).stem}"


def _cpu_of_sink() -> float:
    """Give the processor time of the sink that this process has started."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_sink = b"benchmarks.sink" in (process / "cmdline").read_bytes().split(b"\0")
            words = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if is_sink and int(words[1]) == os.getpid():
            return sum(map(int, words[11:13])) / os.sysconf("SC_CLK_TCK")
    raise RuntimeError("there is no sink")


def compare_workers(count: int, rounds: int) -> None:
    """Print the table of one worker and two."""
    took: dict[int, list[Took]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory(prefix="mjbulk-benchmark-") as folder:
        paths = write_parts(Path(folder), count)
        for number in range(rounds):
            for workers, ones in took.items():
                journal = Path(folder) / f"{number}-{workers}.db"
                ones.append(asyncio.run(with_workers(workers, paths, count, journal)))
    print(f"\n### {count:,} rows in {_PARTS} Parquet parts\n\nMedian of {rounds} rounds in turns.\n")
    print("| | seconds | CPU s of workers | of the busiest | of the sink | of scheduler and client |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    names = ("seconds", "workers", "busiest", "sink", "here")
    for workers, ones in took.items():
        figures = [median(getattr(one, name) for one in ones) for name in names]
        print(f"| {workers} | {' | '.join(f'{figure:.1f}' for figure in figures)} |")
    _print_where({workers: sum((one.where for one in ones), Counter[str]()) for workers, ones in took.items()})
    ratios = [one.seconds / two.seconds for one, two in zip(took[1], took[2], strict=True)]
    print(f"\nTwo workers are {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) times as fast.", flush=True)


def _print_where(seen: Mapping[int, Counter[str]]) -> None:
    """Print the table of packages: those that had a hundredth of the time."""
    print(f"\n| where the threads were | {' | '.join(f'{workers} at once' for workers in seen)} |")
    print(f"| --- | {' | '.join('---:' for _ in seen)} |")
    for name, _ in sum(seen.values(), Counter[str]()).most_common():
        shares = [counted[name] / counted.total() for counted in seen.values()]
        if max(shares) >= 0.01:
            print(f"| {name} | {' | '.join(f'{share:.0%}' for share in shares)} |")


# Writers of a journal


async def write(url: str, journal: str, partition: str, count: int) -> dict[str, Any]:
    """Import a partition, and tell how long its commits took."""
    commits: list[tuple[int, float]] = []

    def hear(event: Event) -> None:
        if event.name == "journal.written" and event.rows is not None and event.seconds is not None:
            commits.append((event.rows, event.seconds))

    settings = Settings(api_url=url, poll_min=0.1, chunk_rows=100)
    people = ({"email": f"{partition}-{n}@example.org"} for n in range(count))
    async with Client(Credentials("public", "private"), settings, journal=journal, hooks=[hear]) as client:
        began, cpu = time.time(), time.process_time()
        report = await client.import_contacts(people, lists={1: "addnoforce"}, run_id="fleet", partition=partition)
        ended, cpu = time.time(), time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"rows": report.accepted, "began": began, "ended": ended, "commits": commits, "cpu": cpu, "peak": peak}


def compare_writers(writers: int, count: int, rounds: int) -> None:
    """Print the table of a journal with one writer and with several."""
    sys.path.append(str(_HOME / "tests"))
    postgres = import_module("postgres")
    print(f"\n### A journal in PostgreSQL: partitions of {count:,} rows, 100 rows a chunk\n")
    print("| writers | commits a second | records a commit | ms a commit, median | 95 of 100 | share of the time |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    with postgres.serving(postgres.programs(), durable=True) as server:
        for some in (1, writers):
            for _ in range(rounds):
                journal = server.url(server.create_database())
                print(f"| {some} | {' | '.join(_figures(_write_all(journal, some, count), count))} |", flush=True)


def _write_all(journal: str, writers: int, count: int) -> list[Mapping[str, Any]]:
    command = [sys.executable, "-m", "benchmarks.fleet", "--journal", journal, "--rows", str(count)]
    with sink("--jobs-last", "0.1") as url:
        begun = [
            subprocess.Popen([*command, "--url", url, "--write", f"part-{n}"], stdout=subprocess.PIPE, cwd=_HOME)
            for n in range(writers)
        ]
        return [json.loads(one.communicate()[0]) for one in begun]


def _figures(found: Sequence[Mapping[str, Any]], count: int) -> list[str]:
    """Give the figures of a round. Raises RuntimeError if rows were lost."""
    if any(one["rows"] != count for one in found):
        raise RuntimeError("rows were lost")
    lasted = [one["ended"] - one["began"] for one in found]
    took = [seconds for one in found for _, seconds in one["commits"]]
    records = sum(rows for one in found for rows, _ in one["commits"])
    whole = max(one["ended"] for one in found) - min(one["began"] for one in found)
    return [
        f"{len(took) / whole:,.0f}",
        f"{records / len(took):.1f}",
        f"{median(took) * 1000:.1f}",
        f"{quantiles(took, n=20)[-1] * 1000:.1f}",
        f"{sum(took) / sum(lasted):.0%}",
    ]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=800_000, help="of the first table")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--partition", type=int, default=20_000, help="rows of each writer")
    for name in ("--url", "--journal", "--write"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        print(json.dumps(asyncio.run(write(options.url, options.journal, options.write, options.rows))))
        return
    compare_workers(options.rows, options.rounds)
    compare_writers(options.writers, options.partition, options.rounds)


if __name__ == "__main__":
    main()
