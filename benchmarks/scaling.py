"""How the cost of a row changes with the size of the work: what should be flat, and where it is not.

Four sweeps: the rows of an import, the requests under way, the imports side by side, and the share of rows whose person
came before. Each point is a process of its own (`benchmarks.with_sizes`) with a sink of its own; rounds go over all
points in turn, so that other work of the machine meets them alike. Imports of few rows are repeated in their process,
since a clock cannot tell one of them from the noise; the mean of them counts.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.plots import Line, Plot
from benchmarks.processes import Refused, run, sink, stats_of
from benchmarks.rows import write_csv

_MICRO = 1e6
_WARM = 1_000
"""Rows that `benchmarks.with_sizes` sends before it measures."""
_LEAST_ROWS, _MOST_TIMES = 200_000, 20
"""Of small imports a process makes as many as have these rows, but no more than that."""
_ALLOWED = 0.10
"""By which share a cost may differ from that of the largest size and still be called flat."""
_LASTS = 5.0
"""Seconds that jobs last where people stay in flight: more than 170,000, if a machine sends as many in that time."""
_MOST_LASTING = 3_000_000
"""The most rows of such an import: its jobs go in a dozen waves."""
_RECURRING_LASTS = 1.0
"""The same where people come again: rows wait for the jobs of earlier ones."""
_ANSWER = 0.02
"""Seconds for an answer, where what is swept is the number of requests under way."""
_POLL_MIN_AT_ONCE, _POLL_MIN = 0.01, 1.0
"""`poll_min` where jobs end at once, and where they last: the default."""
_IMPORT_ROWS = 1_000
"""Rows of each of several imports side by side."""
CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64)
IMPORTS = (1, 2, 5, 10, 20, 50, 100, 200)
SHARES = (0.0, 0.01, 0.3)


@dataclass(frozen=True)
class Point:
    """One size, and how it is run."""

    x: float
    rows: int
    """Rows of one import."""
    imports: int = 1
    arguments: tuple[str, ...] = ()
    jobs_last: float = 0.0
    answers_take: float = 0.0
    repeat: int = 1

    @property
    def all_rows(self) -> int:
        return self.rows * self.imports * self.repeat


@dataclass
class Cost:
    """What a row cost at one point, in µs, in each round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def measure(point: Point) -> tuple[float, float]:
    """Run one point, and give the seconds and the processor seconds of all its rows.

    Raises Refused if the program or the sink has counted other rows than were sent.
    """
    with sink("--jobs-last", str(point.jobs_last), "--slow", str(point.answers_take)) as url:
        numbers: dict[str, float] = {"--rows": point.rows, "--imports": point.imports, "--repeat": point.repeat}
        numbers |= {"--poll-min": _POLL_MIN if point.jobs_last else _POLL_MIN_AT_ONCE}
        arguments = [part for name, number in numbers.items() for part in (name, str(number))]
        command = [sys.executable, "-m", "benchmarks.with_sizes", "--url", url, *arguments, *point.arguments]
        took, _ = run(command)
        counted = stats_of(url)["rows"]
    check(point, took["rows"][0], counted)
    return sum(took["seconds"]), sum(took["cpu"])


def check(point: Point, told: int, counted: int) -> None:
    """Raise Refused unless each row has its outcome and was sent, or was merged into a later one of its person."""
    wanted = point.all_rows + _WARM
    merges = "--recurring" in point.arguments
    if told != wanted or counted > wanted or (counted < wanted and not merges):
        raise Refused(f"{point.x:g}: of {wanted} rows it tells {told}, and the sink counted {counted}")


def costs(points: Sequence[Point], rounds: int) -> list[Cost]:
    """Measure all points in turn, several times."""
    found = [Cost() for _ in points]
    for _ in range(rounds):
        for point, cost in zip(points, found, strict=True):
            seconds, cpu = measure(point)
            cost.wall.append(_MICRO * seconds / point.all_rows)
            cost.cpu.append(_MICRO * cpu / point.all_rows)
    return found


# The points of each sweep


def by_rows(sizes: Sequence[int], *arguments: str, jobs_last: float = 0.0) -> list[Point]:
    """Give imports of more and more rows on the JSON way."""
    return [
        Point(n, n, arguments=arguments, jobs_last=jobs_last, repeat=1 if jobs_last else _repeats(n)) for n in sizes
    ]


def by_file(sizes: Sequence[int], folder: Path) -> list[Point]:
    """Give imports of larger and larger files on the CSV way. The files are written now."""
    points = []
    for rows in sizes:
        file = folder / f"{rows}.csv"
        write_csv(file, sys.maxsize, rows)
        points.append(Point(rows, rows, arguments=("--file", str(file)), repeat=_repeats(rows)))
    return points


def by_concurrency(rows: int) -> list[Point]:
    return [Point(at, rows, arguments=("--concurrency", str(at)), answers_take=_ANSWER) for at in CONCURRENCIES]


def by_imports(most: int) -> list[Point]:
    some = [number for number in IMPORTS if number <= most]
    return [Point(at, _IMPORT_ROWS, at, repeat=_repeats(_IMPORT_ROWS * at)) for at in some]


def by_recurring(rows: int) -> list[Point]:
    return [Point(share, rows, arguments=("--recurring", str(share)), jobs_last=_RECURRING_LASTS) for share in SHARES]


def _repeats(rows: int) -> int:
    return min(-(-_LEAST_ROWS // rows), _MOST_TIMES)


# Tables


Series = dict[str, tuple[Sequence[Point], Sequence[Cost]]]
"""By name: the points, and what each cost."""


def verdict(name: str, points: Sequence[Point], values: Sequence[float]) -> str:
    """Say whether costs are flat."""
    shares = [value / values[-1] - 1 for value in values]
    flat = [point.x for point, share in zip(points, shares, strict=True) if abs(share) <= _ALLOWED]
    if len(flat) == len(points):
        return f"- {name}: flat within {_ALLOWED:.0%} (at most {max(map(abs, shares)):.0%})."
    most = max(zip(shares, points, strict=True), key=lambda pair: abs(pair[0]))
    return f"- {name}: not flat, {most[0]:+.0%} at {most[1].x:,.0f}; within {_ALLOWED:.0%} from {min(flat):,.0f} on."


def table(first: str, series: Series, show: Callable[[float], str] = "{:,.0f}".format) -> str:
    """Give a table with a line for each size: wall and CPU of a row in µs, the median of the rounds."""
    names = [f"{name}, {kind}" for name in series for kind in ("wall", "CPU")]
    lines = [f"| {first} | {' | '.join(names)} |", f"| ---: |{' ---: |' * len(names)}"]
    for x in sorted({point.x for points, _ in series.values() for point in points}):
        cells = []
        for points, found in series.values():
            cost = next((one for point, one in zip(points, found, strict=True) if point.x == x), None)
            cells += ["", ""] if cost is None else [f"{median(cost.wall):.1f}", f"{median(cost.cpu):.1f}"]
        lines.append(f"| {show(x)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def lines(series: Series, kinds: Sequence[str] = ("wall", "CPU")) -> list[Line]:
    """Give what is drawn of the costs: medians, with the least and the most of the rounds."""
    return [
        Line(
            f"{name}, {kind}",
            [point.x for point in points],
            [_of(cost, kind) for cost in found],
            "dashed" if kind == "CPU" else "line",
        )
        for name, (points, found) in series.items()
        for kind in kinds
    ]


def _of(cost: Cost, kind: str) -> Sequence[float]:
    return cost.cpu if kind == "CPU" else cost.wall


# The sweeps


@dataclass(frozen=True)
class Sweep:
    """What one sweep found: text in Markdown, and a plot."""

    text: str
    plot: Plot


def rows_sweep(sizes: Sequence[int], rounds: int, folder: Path) -> Sweep:
    """Vary the rows of an import."""
    lasting = f"JSON, jobs of {_LASTS:g} s"
    not_all = [size for size in sizes if size <= _MOST_LASTING]
    points = {"JSON": by_rows(sizes), "CSV": by_file(sizes, folder), lasting: by_rows(not_all, jobs_last=_LASTS)}
    together = [point for some in points.values() for point in some]
    found = iter(costs(together, rounds))
    series: Series = {name: (some, [next(found) for _ in some]) for name, some in points.items()}
    drawn = [*lines({name: series[name] for name in ("JSON", "CSV")}), *lines({lasting: series[lasting]}, ("CPU",))]
    said = [
        verdict(f"{name}, {kind}", some, [median(_of(cost, kind)) for cost in its])
        for name, (some, its) in series.items()
        for kind in (("CPU",) if name == lasting else ("wall", "CPU"))
    ]
    text = f"µs a row, {_rounds(rounds)}.\n\n{table('rows', series)}\n\nAgainst the largest size:\n\n" + "\n".join(said)
    return Sweep(text, Plot("rows.svg", "Cost of a row", "rows of the import", "µs a row", drawn))


def concurrency_sweep(rows: int, rounds: int) -> Sweep:
    """Vary the requests under way."""
    points = by_concurrency(rows)
    series: Series = {"JSON": (points, costs(points, rounds))}
    text = f"µs a row, {rows:,} rows, answers of {_ANSWER:g} s, {_rounds(rounds)}.\n\n{table('`concurrency`', series)}"
    return Sweep(text, Plot("concurrency.svg", "Requests under way", "concurrency", "µs a row", lines(series), base=2))


def imports_sweep(most: int, rounds: int) -> Sweep:
    """Vary the imports that run side by side in one process."""
    points = by_imports(most)
    series: Series = {"JSON": (points, costs(points, rounds))}
    text = f"µs a row, imports of {_IMPORT_ROWS:,} rows, {_rounds(rounds)}.\n\n{table('imports', series)}"
    return Sweep(text, Plot("imports.svg", "Imports side by side", "imports", "µs a row", lines(series)))


def recurring_sweep(rows: int, rounds: int) -> Sweep:
    """Vary the share of rows whose person came before."""
    points = by_recurring(rows)
    series: Series = {"JSON": (points, costs(points, rounds))}
    said = f"µs a row, {rows:,} rows, jobs of {_RECURRING_LASTS:g} s, {_rounds(rounds)}."
    text = f"{said}\n\n{table('rows of one person that recur', series, '{:.0%}'.format)}"
    drawn = [Line(line.name, [100 * x for x in line.x], line.y, line.style) for line in lines(series)]
    return Sweep(text, Plot("recurring.svg", "People who recur", "% of the rows", "µs a row", drawn, base=0))


def _rounds(rounds: int) -> str:
    return "one round" if rounds == 1 else f"the median of {rounds} interleaved rounds"
