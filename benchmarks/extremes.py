"""Files that few have: one of 2,000 columns, and one with rows of a megabyte. What counts is the memory."""

import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import HOME, MEGA, Refused, run, sink, stats_of
from benchmarks.rows import PROPERTIES, rows

COLUMNS = 2_000
_EVERY = 10
"""One row in this many has a text of a megabyte: between them are usual rows."""


def wide(file: Path, count: int) -> None:
    """Write rows with the usual columns among as many others as make `COLUMNS`. The others are cells of a few bytes."""
    others = COLUMNS - 1 - len(PROPERTIES)
    with file.open("w", encoding="ascii", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow([*(f"other{at}" for at in range(others)), "email", *PROPERTIES])
        filler = [str(at % 1000) for at in range(others)]
        for row in rows(count):
            writer.writerow([*filler, row["email"], *(_cell(row[name]) for name in PROPERTIES)])


def long(file: Path, count: int) -> None:
    """Write rows of which one in `_EVERY` has a text of 1 MB."""
    text = "x" * MEGA
    with file.open("w", encoding="ascii", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["email", "plan"])
        writer.writerows((row["email"], row["plan"] if at % _EVERY else text) for at, row in enumerate(rows(count)))


def _cell(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


@dataclass(frozen=True)
class Extreme:
    """One kind of file."""

    name: str
    write: Callable[[Path, int], None]
    pick: bool


EXTREMES = (
    Extreme(f"{COLUMNS:,} columns, of which {1 + len(PROPERTIES)} are sent", wide, pick=True),
    Extreme("a row in ten of 1 MB", long, pick=False),
)


def print_table(folder: Path, megabytes: int) -> None:
    """Import files of about this size on each way, and print a table. Raises Refused unless each row was sent."""
    print(
        "| file | way | rows | MB | MB a second | CPU s | peak MB |\n| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    )
    for extreme in EXTREMES:
        file = folder / "extreme.csv"
        extreme.write(file, 1_000)
        count = max(int(1_000 * megabytes * MEGA / file.stat().st_size), 20)
        extreme.write(file, count)
        for via in ("json", "csv"):
            print(_line(extreme, file, count, via), flush=True)


def _line(extreme: Extreme, file: Path, count: int, via: str) -> str:
    program = [sys.executable, "-m", "benchmarks.with_extremes", "--file", str(file), "--via", via]
    with sink() as url:
        took, peak = run([*program, "--url", url, *(["--pick"] if extreme.pick else [])], HOME)
        counted = stats_of(url)["rows"]
    if not took["rows"] == counted == count or took["pyarrow"]:
        raise Refused(f"{extreme.name}: of {count} rows it tells {took['rows']}, and the sink counted {counted}")
    size = file.stat().st_size / MEGA
    figures = f"{count:,} | {size:,.0f} | {size / took['seconds']:.1f} | {took['cpu']:.1f} | {peak:.0f}"
    return f"| {extreme.name} | {via.upper()} | {figures} |"
