"""What `benchmarks.expected` is built on and held to: constants that are measured here, and small imports.

Times, requests, journal and spill are those of imports into the emulator, under a virtual clock: the same each time,
and without processor time. Processor time and memory are those of processes that send to the sink.
"""

import asyncio
import math
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

from benchmarks import expected
from benchmarks.expected import Constants, Work
from benchmarks.processes import MEGA, run, sink
from benchmarks.rows import PROPERTIES, rows
from mjbulk import Client, Credentials, Settings
from mjbulk.mailjet.quota import LocalQuota
from mjbulk.spill import Memory
from mjbulk.testing import Emulator, Fault, Knobs, VirtualClockLoop

ALLOWED = 0.10
"""By which share a figure may differ from what was computed."""
SMALL: Mapping[str, Work] = {
    "one wave of jobs": Work(rows=5_000, chunk=100, job_seconds=90.0, answer=0.0),
    "20 jobs at once": Work(rows=10_000, chunk=100, job_seconds=90.0, answer=0.0, max_jobs=20),
    "1,000 rows at once": Work(rows=5_000, chunk=100, job_seconds=600.0, answer=0.0, max_rows=1_000),
    "12 jobs at once, short ones": Work(rows=3_000, chunk=50, job_seconds=10.0, answer=0.0, max_jobs=12),
    "4 workers, 5 jobs at once each": Work(rows=10_000, chunk=100, job_seconds=90.0, answer=0.0, workers=4, max_jobs=5),
    "5 requests a second": Work(rows=20_000, chunk=100, job_seconds=10.0, answer=0.0, rate=5.0),
    "4 workers, 5 requests a second": Work(
        rows=20_000, chunk=100, job_seconds=10.0, answer=0.0, rate=5.0, workers=4, max_jobs=20
    ),
    "1 request a second, one wave": Work(rows=3_000, chunk=100, job_seconds=90.0, answer=0.0, rate=1.0),
    "2 requests a second, 20 jobs at once": Work(
        rows=10_000, chunk=100, job_seconds=90.0, answer=0.0, rate=2.0, max_jobs=20
    ),
    "answers of 1 s, 2 at once": Work(rows=10_000, chunk=100, job_seconds=10.0, answer=1.0, concurrency=2),
}
"""Small imports, each bounded by something else."""


_LARGE_ROWS, _SMALLER = 300_000, 100
LARGE = {
    f"{name}: {_LARGE_ROWS:,} rows": replace(expected.CASES[name], rows=_LARGE_ROWS)
    for name in ("the defaults", "4 workers, 5 requests a second", "jobs of 2 s")
}
"""Imports that the plot has a line for. `shrunk`, each is small too: as many chunks, of few rows."""


def shrunk(work: Work) -> Work:
    """Give an import of as many chunks, which takes as long, without the processor time of its rows."""
    return replace(work, rows=work.rows // _SMALLER, chunk=work.chunk // _SMALLER, max_rows=work.max_rows // _SMALLER)


@dataclass(frozen=True)
class Took:
    """What an import into the emulator took."""

    seconds: float
    requests: int
    journal: int
    """Bytes of all journals, after the import."""
    spill: int
    """The most bytes that the files without a name had, together."""


def emulate(work: Work, *, journal: bool = False) -> Took:
    """Import into the emulator, under a virtual clock. All rows in flight are written to the spill, the newest too."""
    written = patch("mjbulk.run.engine.Memory", partial(Memory, room=0))
    with written, asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(_emulate(work, journal=journal))


async def _emulate(work: Work, *, journal: bool) -> Took:
    loop = asyncio.get_running_loop()
    knobs = Knobs(keep_rows=False).changed(job_seconds=work.job_seconds)
    async with Emulator(knobs) as emulator:
        for name, kind in PROPERTIES.items():
            emulator.create_property(name, kind)
        if work.answer:
            emulator.fault("*", Fault(delay_after=work.answer), times=None)
        settings = Settings(
            api_url=emulator.url,
            chunk_rows=work.chunk,
            max_rate=None if math.isinf(work.rate) else work.rate,
            max_jobs=work.max_jobs,
            max_rows=work.max_rows,
            concurrency=work.concurrency,
        )
        quota, most = LocalQuota(), 0
        with tempfile.TemporaryDirectory() as folder:

            async def worker(number: int) -> None:
                file = Path(folder) / f"{number}.db" if journal else None
                async with Client(Credentials("one", "secret"), settings, quota=quota, journal=file) as client:
                    count = work.rows // work.workers
                    source = [{**row, "email": f"{number}.{row['email']}"} for row in rows(count)]
                    report = await client.import_contacts(
                        source, lists={1: "addnoforce"}, via="csv" if work.csv else "json"
                    )
                    assert report.accepted == count, report

            async def look() -> None:
                nonlocal most
                while True:
                    most = max(most, _unnamed())
                    await asyncio.sleep(1.0)

            before, began = _unnamed(), loop.time()
            looking = asyncio.ensure_future(look())
            await asyncio.gather(*map(worker, range(work.workers)))
            seconds = loop.time() - began
            looking.cancel()
            return Took(seconds, emulator.requests, _size(Path(folder)), most - before)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _unnamed() -> int:
    """Give the bytes of all files of this process that have no name any more: those of the spill. 0 but on Linux."""
    total = 0
    for file in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            found = file.stat()
            total += found.st_size if not found.st_nlink else 0
    return total


# Constants


def measure() -> Constants:
    """Measure all constants on this machine."""
    large, small = _sent(200_000, chunk=1_000), _sent(50_000, chunk=100)
    per_row, per_small = large["cpu"] / 200_000, small["cpu"] / 50_000
    requests = 3 * (1 / 100 - 1 / 1_000)  # of a row, more with the small chunks
    cpu_request = max((per_small - per_row) / requests, 0.0)
    few, many = _sent(10_000, chunk=1_000, lasts=8.0), _sent(150_000, chunk=1_000, lasts=8.0)
    memory_row = (many["peak"] - few["peak"]) / 140_000
    short = Work(rows=1_000, chunk=10, job_seconds=2.0, answer=0.0)
    longer = replace(short, rows=5_000)
    journals = [emulate(work, journal=True).journal for work in (short, longer)]
    per_chunk = (journals[1] - journals[0]) / (longer.chunks - short.chunks)
    return Constants(
        cpu_row=per_row - cpu_request * 3 / 1_000,
        cpu_request=cpu_request,
        memory_base=few["peak"] - 10_000 * memory_row,
        memory_row=memory_row,
        journal_base=journals[0] - short.chunks * per_chunk,
        journal_chunk=per_chunk,
        spill_row=emulate(SMALL["one wave of jobs"]).spill / SMALL["one wave of jobs"].rows,
    )


def _sent(count: int, *, chunk: int, lasts: float = 0.0) -> dict[str, float]:
    """Send rows to the sink, and give the seconds, the processor seconds, and the most bytes of memory."""
    with sink("--jobs-last", str(lasts)) as url:
        program = [sys.executable, "-m", "benchmarks.with_sizes", "--url", url, "--rows", str(count)]
        least = 1.0 if lasts else 0.01
        took, peak = run([*program, "--chunk-rows", str(chunk), "--poll-min", str(least)])
    return {"seconds": took["seconds"][0], "cpu": took["cpu"][0], "peak": peak * MEGA}


# Checks


@dataclass(frozen=True)
class Checked:
    """A figure that was computed and measured."""

    name: str
    what: str
    computed: float
    measured: float

    @property
    def off(self) -> float:
        return self.computed / self.measured - 1

    @property
    def line(self) -> str:
        mark = "" if abs(self.off) <= ALLOWED else " (more than 10 %)"
        computed, measured = (f"{one:,.0f}" if one >= 1_000 else f"{one:.4g}" for one in (self.computed, self.measured))
        return f"| {self.name} | {self.what} | {computed} | {measured} | {self.off:+.0%}{mark} |"


def emulated(name: str, work: Work, known: Constants) -> list[Checked]:
    """Compare the time and the requests of a small import with what is computed for no processor time."""
    found, took = expected.expect(work, replace(known, cpu_row=0.0, cpu_request=0.0)), emulate(work)
    return [
        Checked(name, "seconds", found.seconds, took.seconds),
        Checked(name, "requests", found.requests, took.requests),
    ]


def stored(known: Constants) -> list[Checked]:
    """Compare the bytes of a journal and of the spill."""
    work = Work(rows=10_000, chunk=100, job_seconds=2.0, answer=0.0)
    found, took = expected.expect(work, known), emulate(work, journal=True)
    pairs = {"bytes of the journal": (found.journal, took.journal), "bytes of the spill": (found.spill, took.spill)}
    return [Checked("100 chunks", what, *pair) for what, pair in pairs.items()]


def sent(known: Constants) -> list[Checked]:
    """Compare processor time and memory: with jobs that end at once, and with many rows in flight."""
    quick = Work(rows=300_000, job_seconds=0.01, answer=0.0)
    took, held = _sent(quick.rows, chunk=quick.chunk), _sent(100_000, chunk=1_000, lasts=8.0)
    found = expected.expect(quick, known)
    lasting = expected.expect(Work(rows=100_000, job_seconds=8.0, answer=0.0), known)
    return [
        Checked("300,000 rows", "seconds of processor time", found.cpu, took["cpu"]),
        Checked("100,000 rows in flight", "bytes of memory", lasting.memory, held["peak"]),
    ]


def table(known: Constants) -> tuple[str, list[tuple[Work, float]]]:
    """Give the table of all comparisons, and the imports of `LARGE` with their seconds."""
    lines, points = ["| small import | | computed | measured | |", "| --- | --- | ---: | ---: | ---: |"], []
    for name, work in SMALL.items():
        lines += [one.line for one in emulated(name, work, known)]
    for name, work in LARGE.items():
        checked = emulated(f"{name}, as {work.rows // _SMALLER:,}", shrunk(work), known)
        points.append((work, checked[0].measured))
        lines += [one.line for one in checked]
    lines += [one.line for one in (*stored(known), *sent(known))]
    return "\n".join(lines), points


def main(*, measure: bool, check: bool) -> int:
    """Write the constants of this machine, or compare small imports with what is computed."""
    if measure:
        _measure().write()
        print(expected.CONSTANTS.read_text(encoding="utf-8"), end="")
    if check:
        text, _ = table(Constants.load())
        print(text)
        return int("more than" in text)
    return 0


_measure = measure
