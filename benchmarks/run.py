"""The command: run contenders against a sink in several rounds, and print the ratios between them.

Each contender is a process of its own, with a sink process of its own, and sends the same rows. Rounds go A B C, A B C,
so that other work of the machine slows all contenders alike. A figure is printed only if the sink has counted as many
rows as were sent.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

from benchmarks import polling, quota, start
from benchmarks.against import build
from benchmarks.client_polling import through_client
from benchmarks.rows import CHUNK, write_csv

_HOME = Path(__file__).parents[1]
_MEGA = 1_000_000
_MAX_JOBS, _MAX_ROWS = 256, 1_000_000
"""How many unfinished jobs and rows mjbulk allows by default."""
_RATE = 50
"""Requests a second for watching many jobs."""
_SMALL_LASTS = 0.1
"""Seconds that a job of ten rows lasts."""
_SIDE_BY_SIDE = 100
"""Imports of ten rows that begin together."""
_LATENCY = 0.02
"""Seconds for an answer, then."""
_REGRESSION = 0.05
"""By which share this commit may be slower than another one; beyond it the ratio is shown in red on a terminal."""
_PATIENCE = 1800.0
"""Seconds after which a contender is killed."""


class Refused(Exception):
    """Raised instead of printing a figure that is wrong."""


# Processes


@contextmanager
def sink(*arguments: str) -> Iterator[str]:
    """Start a sink, and give its address."""
    command = [sys.executable, "-m", "benchmarks.sink", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_HOME) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def stats_of(url: str) -> dict[str, Any]:
    """Ask a sink what it has counted."""
    with urlopen(f"{url}/stats", timeout=30) as reply:
        stats: dict[str, Any] = json.load(reply)
    return stats


@dataclass
class Took:
    """What one contender took in one round."""

    seconds: float
    cpu: float | None
    """Seconds of processor time, all threads included; None if the contender does not print it."""
    peak: float
    """Megabytes: the most memory that the whole process had at once."""
    stats: dict[str, Any] = field(default_factory=dict)


def run(command: Sequence[str], home: Path = _HOME) -> tuple[dict[str, Any], float]:
    """Run a contender in a folder, and give what it printed and its peak of memory.

    Raises Refused if it fails.
    """
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as faults:
        its_own = {**os.environ, "PYTHONPATH": str(home)}
        process = subprocess.Popen(command, stdout=said, stderr=faults, cwd=home, env=its_own)
        usage = _wait(process)
        said.seek(0)
        faults.seek(0)
        if process.returncode:
            raise Refused(f"{command[-1]} ended with {process.returncode}: {faults.read().decode()[-2000:]}")
        scale = 1 if sys.platform == "darwin" else 1024
        return json.load(said), usage.ru_maxrss * scale / _MEGA


def _wait(process: "subprocess.Popen[bytes]") -> Any:
    """Wait for a process, and give its resource usage. It is killed after `_PATIENCE`, and if this process stops."""
    signal.signal(signal.SIGALRM, lambda *_: process.kill())
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


# Contenders


@dataclass(frozen=True)
class Contender:
    """One way to do the work."""

    name: str
    module: str
    """A module of this package, or ``curl``."""
    sends: str = "rows"
    """Which count of the sink has to be the number of rows; ``records`` counts the header too. Empty: it sends none."""
    python: str = sys.executable
    home: Path = _HOME
    """The Python and the folder that run it: those of another commit, for `benchmarks.against`."""


@dataclass(frozen=True)
class Task:
    """What each contender has to do."""

    rows: int
    unit: str
    amount: float
    """The work in this unit; divided by the seconds it gives the rate."""
    file: Path | None = None
    poll_min: float = 0.01
    jobs_last: float = 0.0
    answers_take: float = 0.0


MJBULK = Contender("mjbulk", "with_mjbulk")
JSON = (
    MJBULK,
    Contender("mailjet-rest, 16 threads", "with_mailjet_rest"),
    Contender("aiohttp + orjson by hand", "with_aiohttp"),
)
JOURNAL = (Contender("mjbulk with a journal", "with_journal"), MJBULK)
INGESTER = (Contender("mjbulk, put by 10,000 tasks", "with_ingester"), MJBULK)
SMALL = Contender("mjbulk", "with_side_by_side")
RECURRING = Contender("mjbulk, every third row recurs", "with_recurring", sends="")
CSV = (
    MJBULK,
    Contender("csv.reader alone", "with_csv_reader", sends=""),
    Contender("curl --data-binary", "curl", sends="records"),
)


def take_part(contender: Contender, task: Task) -> Took:
    """Run one contender against a sink of its own.

    Raises Refused if the sink has counted other rows than were sent.
    """
    with sink("--jobs-last", str(task.jobs_last), "--slow", str(task.answers_take)) as url:
        result, peak = run(_command(contender, task, url), contender.home)
        stats = stats_of(url)
    check(contender, task.rows, result, stats)
    return Took(result["seconds"], result.get("cpu"), peak, stats)


def check(contender: Contender, rows: int, result: Mapping[str, Any], stats: Mapping[str, Any]) -> None:
    """Compare what a contender has printed with what the sink has counted.

    Raises Refused if they differ.
    """
    wanted = rows + (contender.sends == "records")
    counted = stats[contender.sends] if contender.sends else wanted
    if result.get("rows", rows) != rows or counted != wanted:
        said = f"it tells {result['rows']}, " if "rows" in result else ""
        raise Refused(f"{contender.name}: of {wanted} rows {said}the sink counted {counted}")
    if result.get("pyarrow"):
        raise Refused(f"{contender.name} has loaded pyarrow")


def _command(contender: Contender, task: Task, url: str) -> list[str]:
    if contender.module == "curl":
        return _curl(f"{url}/v3/DATA/contactslist/1/CSVData/text:plain", task.file)
    arguments = ["--url", url, "--rows", str(task.rows), "--poll-min", str(task.poll_min)]
    if task.file is not None:
        arguments += ["--file", str(task.file)]
    if not (contender.home / "benchmarks" / f"{contender.module}.py").exists():  # of a commit that had no such program
        return [contender.python, str(_HOME / "benchmarks" / f"{contender.module}.py"), *arguments]
    return [contender.python, "-m", f"benchmarks.{contender.module}", *arguments]


def _curl(url: str, file: Path | None) -> list[str]:
    result = '{"seconds": %{time_total}}'
    headers = ["-H", "Expect:", "-H", "Content-Type: text/plain"]
    return ["curl", "-sSf", "-o", os.devnull, "-w", result, *headers, "--data-binary", f"@{file}", url]


# Rounds and tables


def compare(title: str, contenders: Sequence[Contender], task: Task, rounds: int) -> None:
    """Run all contenders in turn, and print their figures and the ratios of the first one to each of the others."""
    took: dict[str, list[Took]] = {contender.name: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            took[contender.name].append(take_part(contender, task))
    print(f"\n### {title}\n\nMedian of {_times(rounds)}, least and most in brackets.\n")
    print(f"| | {task.unit} | CPU s | peak MB |\n| --- | ---: | ---: | ---: |")
    rates = {name: [task.amount / one.seconds for one in ones] for name, ones in took.items()}
    for name, ones in took.items():
        print(f"| {name} | {_spread(rates[name])} | {_cpu(ones)} | {median(one.peak for one in ones):.0f} |")
    _print_ratios(rates)


def _print_ratios(rates: Mapping[str, Sequence[float]]) -> None:
    first, *others = rates
    if not others:
        return
    print("\n| ratio of speed | median | least and most |\n| --- | ---: | ---: |")
    for other in others:
        ratios = [mine / theirs for mine, theirs in zip(rates[first], rates[other], strict=True)]
        line = f"| {first} / {other} | {median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |"
        slower = first in other and median(ratios) < 1 - _REGRESSION  # than another commit of itself
        print(f"\033[31m{line}\033[0m" if slower and sys.stdout.isatty() else line)
    sys.stdout.flush()


def _times(rounds: int) -> str:
    return "one round" if rounds == 1 else f"{rounds} interleaved rounds"


def _spread(figures: Sequence[float]) -> str:
    digits = 0 if median(figures) >= 100 else 1
    return f"{median(figures):,.{digits}f} ({min(figures):,.{digits}f} to {max(figures):,.{digits}f})"


def _cpu(ones: Sequence[Took]) -> str:
    known = [one.cpu for one in ones if one.cpu is not None]
    return f"{median(known):.1f}" if known else "-"


def fill(title: str, task: Task, *, full: bool, contender: Contender = MJBULK) -> None:
    """Run mjbulk while its jobs take long, and print its memory.

    With ``full`` it has to reach its limit of unfinished jobs or rows. Raises Refused if it does not.
    """
    took = take_part(contender, task)
    most, rows = took.stats["unfinished"], took.stats["unfinished_rows"]
    if full and most < 0.9 * _MAX_JOBS and rows < 0.9 * _MAX_ROWS:  # a job ends at the sink before mjbulk can see it
        raise Refused(f"{contender.name}: only {most} jobs with {rows} rows were unfinished at once")
    print(f"\n### {title}\n")
    print("| rows | sent MB | most jobs unfinished | most rows unfinished | largest body | peak MB |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    sent, largest = took.stats["bytes"] / _MEGA, took.stats["largest"]
    print(f"| {task.rows:,} | {sent:,.0f} | {most} | {rows:,} | {largest:,} | {took.peak:.0f} |", flush=True)


# The command


@dataclass(frozen=True)
class Sizes:
    """How much work the benchmarks do."""

    rows: int = 300_000
    megabytes: int = 100
    rounds: int = 5
    memory_rows: int = 5_000_000
    memory_megabytes: float = 1024**3 / _MEGA
    answers_take: float = 0.1
    """Seconds for an answer, so that rows are read faster than they are sent."""
    jobs_last: float = 10.0
    imports_last: float = 30.0
    """Seconds. A csvimport has about 28 times the rows of a JSON job, so fewer jobs reach the limit of rows."""
    lasting: float = 5.0
    lasting_rows: int = 100_000
    small_rounds: int = 60
    """Imports of ten rows, one after the other."""
    starts: int = 15
    """Fresh processes."""
    learn: float = 30.0
    measure: float = 120.0
    """Seconds for the figures of the quota."""
    modelled: int = 960
    polled: int = 240
    watched: int = 10_000
    """Numbers of jobs for the figures of polling: in the model, with a client, and all at once."""


_QUICK = Sizes(
    rows=20_000,
    megabytes=20,
    rounds=2,
    memory_rows=200_000,
    memory_megabytes=50,
    jobs_last=4.0,
    imports_last=4.0,
    lasting=0.5,
    lasting_rows=20_000,
    small_rounds=10,
    starts=2,
    learn=15.0,
    measure=10.0,
    modelled=48,
    polled=12,
    watched=200,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that the arguments name, and give the exit status: 1 if a figure was refused."""
    options = _options(arguments)
    sizes = _QUICK if options.quick else Sizes()
    cores = os.cpu_count()
    print(f"Python {platform.python_version()} on {platform.system()}, {cores} cores; {CHUNK:,} rows a chunk of JSON.")
    try:
        with tempfile.TemporaryDirectory(prefix="mjbulk-benchmark-") as folder:
            if options.against:
                python, home = build(options.against, Path(folder))
                options.others = (Contender(f"mjbulk of {options.against}", "with_mjbulk", python=python, home=home),)
            tables = _tables(options, Path(folder), sizes)
            for name in [name for name in tables if name in options.only]:
                tables[name]()
    except (Refused, subprocess.CalledProcessError) as why:
        print(f"refused: {why}", file=sys.stderr)
        return 1
    return 0


def _tables(options: argparse.Namespace, folder: Path, sizes: Sizes) -> dict[str, Callable[[], None]]:
    """Give what makes each table, in the order in which they are made."""
    rows, rounds = options.rows or sizes.rows, options.rounds or sizes.rounds
    return {
        "json": lambda: _json(rows, rounds, options.others),
        "lasting": lambda: _lasting(options.rows or sizes.lasting_rows, sizes.lasting, min(rounds, 3)),
        "small": lambda: _small(options.rounds or sizes.small_rounds),
        "side": lambda: _side_by_side(rounds, options.others),
        "start": lambda: _start(options.rounds or sizes.starts, options.others),
        "journal": lambda: _journal(rows, rounds),
        "ingester": lambda: _ingester(rows, rounds),
        "csv": lambda: _csv(folder, options.megabytes or sizes.megabytes, rounds, options.others),
        "quota": lambda: _quota(sizes),
        "polling": lambda: _polling(sizes),
        "memory": lambda: _memory(folder, sizes, full=not options.quick),
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--memory", action="store_true", help="also run with as many unfinished jobs as it allows")
    tables = ("json", "csv", "lasting", "small", "side", "start", "journal", "ingester", "memory", "quota", "polling")
    parser.add_argument("--only", choices=tables, nargs="+", default=("json", "csv"))
    parser.add_argument("--rows", type=int, metavar="N", help="of a round on the JSON way")
    parser.add_argument("--megabytes", type=int, metavar="N", help="of the CSV file")
    parser.add_argument("--rounds", type=int, metavar="N")
    parser.add_argument("--against", metavar="REF", help="run this commit beside another one: json, csv, side, start")
    options = parser.parse_args(arguments)
    options.others = ()
    options.only = [*options.only, *(["memory"] if options.memory else [])]
    return options


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
    print(f"\n### Ten rows, a job that lasts {_SMALL_LASTS:g} s: {rounds} times, in turns\n")
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
    print(f"\n### Until there is a client: {rounds} fresh processes of each, in turns\n")
    print(start.table(commits, rounds), flush=True)


def _journal(rows: int, rounds: int) -> None:
    task = Task(rows, "contacts a second", rows)
    compare(f"A journal on disk, JSON way: {rows:,} rows from an iterable", JOURNAL, task, rounds)


def _ingester(rows: int, rounds: int) -> None:
    task = Task(rows, "contacts a second", rows)
    compare(f"An ingester: {rows:,} rows, each put by a task that waits for its outcome", INGESTER, task, rounds)


def _csv(folder: Path, megabytes: float, rounds: int, others: Sequence[Contender]) -> None:
    file = folder / "contacts.csv"
    rows = write_csv(file, int(megabytes * _MEGA))
    size = file.stat().st_size / _MEGA
    usual = (MJBULK, *others) if others else CSV
    contenders = [one for one in usual if one.module != "curl" or shutil.which("curl")]
    compare(f"CSV way: {rows:,} rows, {size:.0f} MB", contenders, Task(rows, "MB a second", size, file), rounds)


def _quota(sizes: Sizes) -> None:
    title = f"The quota: a server that allows {quota.LIMIT} requests a second, and never says so"
    print(f"\n### {title}\n\n{quota.table(sizes.learn, sizes.measure)}", flush=True)


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
    rows = write_csv(file, int(sizes.memory_megabytes * _MEGA))
    task = Task(rows, "", rows, file, poll_min=1.0, jobs_last=sizes.imports_last, answers_take=sizes.answers_take)
    title = f"Memory, CSV way: {rows:,} rows, {sizes.memory_megabytes:,.0f} MB, {server} {sizes.imports_last:g} s"
    fill(title, task, full=full)
