"""Contenders that do the same work in turn, and the tables of what they took.

Each contender is a process of its own, with a sink process of its own, and sends the same rows. Rounds go A B C, A B C,
so that other work of the machine slows all contenders alike. A figure is printed only if the sink has counted as many
rows as were sent.
"""

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.processes import HOME, MEGA, Refused, Took, run, sink, stats_of

_MAX_JOBS, _MAX_ROWS = 256, 1_000_000
"""How many unfinished jobs and rows mjbulk allows by default."""
_REGRESSION = 0.05
"""By which share this commit may be slower than another one, or take more processor time."""


@dataclass(frozen=True)
class Contender:
    """One way to do the work."""

    name: str
    module: str
    """A module of this package, or ``curl``."""
    sends: str = "rows"
    """Which count of the sink has to be the number of rows; ``records`` counts the header too. Empty: it sends none."""
    python: str = sys.executable
    home: Path = HOME
    """The Python and the folder that run it: those of another commit, for `benchmarks.against`."""

    @property
    def is_commit(self) -> bool:
        """Whether it is mjbulk at another commit."""
        return self.home != HOME


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
        return [contender.python, str(HOME / "benchmarks" / f"{contender.module}.py"), *arguments]
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
    print(f"\n## {title}\n\nMedian of {_times(rounds)}, least and most in brackets.\n")
    print(f"| | {task.unit} | CPU s | peak MB |\n| --- | ---: | ---: | ---: |")
    rates = {name: [task.amount / one.seconds for one in ones] for name, ones in took.items()}
    for name, ones in took.items():
        print(f"| {name} | {_spread(rates[name])} | {_cpu(ones)} | {median(one.peak for one in ones):.0f} |")
    print_ratios("speed", rates, {one.name for one in contenders[1:] if one.is_commit})
    if contenders[-1].is_commit:
        print_ratios("processor time", {name: [1 / (one.cpu or 1.0) for one in ones] for name, ones in took.items()})


def print_ratios(of: str, rates: Mapping[str, Sequence[float]], commits: Collection[str] | None = None) -> None:
    """Print the ratio of the first to each of the others, round by round: above 1, the first one is better.

    Against ``commits`` (None: all of them) it is an error to be slower: such a ratio is shown in red, with a word.
    """
    first, *others = rates
    if not others:
        return
    print(f"\n| ratio of {of} | median | least and most |\n| --- | ---: | ---: |")
    for other in others:
        ratios = [mine / theirs for mine, theirs in zip(rates[first], rates[other], strict=True)]
        line = f"| {first} / {other} | {median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |"
        worse = (commits is None or other in commits) and median(ratios) < 1 - _REGRESSION
        print(_in_red(f"{line} regression") if worse else line)
    sys.stdout.flush()


def _in_red(line: str) -> str:
    return f"\033[31m{line}\033[0m" if sys.stdout.isatty() else line


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
    print(f"\n## {title}\n")
    print("| rows | sent MB | most jobs unfinished | most rows unfinished | largest body | peak MB |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    sent, largest = took.stats["bytes"] / MEGA, took.stats["largest"]
    print(f"| {task.rows:,} | {sent:,.0f} | {most} | {rows:,} | {largest:,} | {took.peak:.0f} |", flush=True)
