"""How long an import takes, what it costs and what bounds it, on any machines.

=======  ========================================================================  ==========
symbol   meaning                                                                   unit
=======  ========================================================================  ==========
N, n     rows of the import, and of a chunk                                        rows
C        chunks: N / n, rounded up                                                 chunks
W        workers: processes with a part of the rows and a core each                none
R        quota: requests a second of the API key, for all workers together;
         a `RedisQuota` lets 0.9 to 0.97 of its `max_rate` pass                    1/s
k, L     requests under way of a worker (`concurrency`), and time for an answer    none, s
J        unfinished jobs of all workers: W times the least of `max_jobs` and
         `max_rows` / n                                                            jobs
T, l     life of a job at Mailjet, and how late its end is seen                    s
s, e     requests that submit a chunk (1, or 2 on the CSV way), and requests that
         its end takes (2: the look that sees it, and the error file)              none
c, q     processor time of a row, and of a request                                 s
=======  ========================================================================  ==========

**The pace.** A chunk takes all workers together at least the longest of three times::

    D = max( (n c + (s + e) q) / W,    (s + e) / R,    (s + e) L / (W k) )
             CPU                       quota           answers

and its submission alone ``d``, the same with s in the place of s + e (submissions go before looks). Jobs bound the pace
too: J of them in each ``T + l`` seconds.

**The time.** Jobs go in m waves of J (``m = C / J``, rounded up), the last one with r chunks. It is the longest of

- ``(m - 1) max(T + l, J D) + r D + T + l``, or ``C d + T + l`` for one wave: until the last job has ended;
- ``T + l + min(C, J) (e + s / 2) max(1 / R, L / (W k))``: the first jobs end together, and ends take requests: and
  while they end one after the other, about half as many looks as submissions come too early;
- ``C D``: all that has to be done.

**Looks.** How often a job is looked at, and l, are what the forecast itself does (`benchmarks.polling`) with jobs that
all take T: for the first J, of which nothing is known, and for later ones. Looks at the first J jobs, which begin
together, take their turns: two at one job are at least ``J / R`` or ``J L / (W k)`` apart. A job has at least one look,
and all have at most what R allows.

**Costs.** Requests: ``C (s + 1)`` and the looks. Processor time: ``N c``, and q for each request. Memory of a worker:
that of a process which has nothing in flight, and some bytes for each row in flight, up to 170,000 of them. In flight
are ``min(N, J n)`` rows, or as many as come in T + l. Journal: some bytes for a run, and some for each chunk. Spill of
a worker, at most: twice its rows in flight and 16 MiB (files are emptied when half of them is not needed), or all its
rows; the newest 4 MiB stay in memory.

Not in it: rejected rows and rows of recurring people (part of one more job each), the network's width, and jobs that
Mailjet lets wait for each other.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import fmean

from benchmarks.jobs import ModelJob
from benchmarks.plots import Line, Plot
from benchmarks.polling import predictive

CONSTANTS = Path(__file__).with_name("constants.json")
"""What `benchmarks.scale_check` has measured."""
_SEGMENT = 16 * 2**20
"""Bytes after which a file of the spill is full."""
_FEW = 170_000
"""People in a dict, at most (`mjbulk.chunks.people`). A table of up to a million takes no more than that dict did."""
_MODELLED = 32
"""Jobs under way, at most, for which the forecast is asked: more make its looks a little dearer, and that is all."""
_MEGA = 1e6


@dataclass(frozen=True, kw_only=True)
class Constants:
    """What was measured of one process on one machine, with the rows of `benchmarks.rows`."""

    cpu_row: float
    """c, in s: imports against the sink with chunks of 1,000 and of 100 rows give c and q."""
    cpu_request: float
    """q, in s."""
    memory_base: float
    """Bytes of a process: imports against the sink with few and with many rows in unfinished jobs."""
    memory_row: float
    """Bytes for a row in flight."""
    journal_base: float
    """Bytes of a journal of one run: SQLite files of imports of few and of many chunks."""
    journal_chunk: float
    """Bytes for a chunk."""
    spill_row: float
    """Bytes for a row in flight, on disk."""

    @classmethod
    def load(cls, path: Path = CONSTANTS) -> "Constants":
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path = CONSTANTS) -> None:
        rounded = {name: float(f"{value:.3g}") for name, value in asdict(self).items()}
        path.write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be done, and with what. The defaults are those of `mjbulk.Settings`."""

    rows: int
    chunk: int = 1_000
    job_seconds: float = 90.0
    rate: float = math.inf
    workers: int = 1
    concurrency: int = 8
    answer: float = 0.1
    max_jobs: int = 256
    max_rows: int = 1_000_000
    csv: bool = False

    @property
    def chunks(self) -> int:
        return -(-self.rows // self.chunk)

    @property
    def jobs(self) -> int:
        """J."""
        return self.workers * max(1, min(self.max_jobs, self.max_rows // self.chunk))


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What an import takes. Memory and spill are those of one worker; all other figures are of all of them."""

    seconds: float
    paces: dict[str, float]
    """Rows a second that each bound allows."""
    requests: float
    cpu: float
    memory: float
    journal: float
    spill: float

    @property
    def bound(self) -> str:
        """What bounds the pace."""
        return min(self.paces, key=self.paces.__getitem__)


@dataclass(frozen=True)
class Looks:
    """How often a job is looked at, and how late its end is seen, in s."""

    first: float
    later: float
    first_late: float
    later_late: float


@lru_cache(maxsize=256)
def looks(seconds: float, rows: int, jobs: int, gap: float) -> Looks:
    """Ask the forecast about the first jobs of a worker, and about later ones, with ``gap`` seconds between two looks.
    Later jobs come neither all together nor evenly: what it does in both cases is averaged.
    """
    jobs = min(jobs, _MODELLED)
    job = ModelJob(rows, 0.3 * seconds, 0.7 * seconds, 1 / 7, (0.0, 1.0))
    first = predictive([job] * jobs, most=300.0, apart=0.0, least=gap)
    life = seconds * (1 + fmean(one.late for one in first))
    later = [
        one
        for size in (1, jobs)
        for one in predictive([job] * (4 * jobs), 300.0, life * size / jobs, at_once=size, least=gap)[jobs:]
    ]
    late = seconds * fmean(one.late for one in later)
    return Looks(fmean(one.polls for one in first), fmean(one.polls for one in later), life - seconds, late)


def expect(work: Work, known: Constants) -> Expected:
    """Compute what an import takes."""
    submit, end = (2, 2) if work.csv else (1, 2)
    parts = _parts(work, known, submit + end)
    pace, submission = max(parts.values()), max(_parts(work, known, submit).values())
    jobs, chunks = work.jobs, work.chunks
    answered = max(1 / work.rate, work.answer / (work.workers * work.concurrency))
    alike = work.job_seconds, work.chunk, max(min(jobs, chunks) // work.workers, 1)
    seen, crowded = looks(*alike, 1.0), looks(*alike, max(min(jobs, chunks) * answered, 1.0))
    first, life = work.job_seconds + seen.first_late, work.job_seconds + seen.later_late
    waves = -(-chunks // jobs)
    seconds = max(
        first + (waves - 2) * max(life, jobs * pace) + (chunks - (waves - 1) * jobs) * pace + life
        if waves > 1
        else chunks * submission + first,
        first + min(chunks, jobs) * (end + submit / 2) * answered,
        chunks * pace,
    )
    room = (first / answered, seconds / answered) if answered else (math.inf, math.inf)
    requests = chunks * (submit + 1) + _looks(work, replace(seen, first=crowded.first), submit, *room)
    flight = min(work.rows, jobs * work.chunk, work.rows / (max(seconds - life, pace) or 1e-9) * life) / work.workers
    return Expected(
        seconds=seconds,
        paces={**{name: work.chunk / part for name, part in parts.items() if part}, "jobs": jobs * work.chunk / life},
        requests=requests,
        cpu=work.rows * known.cpu_row + requests * known.cpu_request,
        memory=known.memory_base + min(flight, _FEW) * known.memory_row,
        journal=work.workers * known.journal_base + chunks * known.journal_chunk,
        spill=min(work.rows / work.workers * known.spill_row, 2 * flight * known.spill_row + _SEGMENT),
    )


def _looks(work: Work, seen: Looks, submit: int, at_first: float, in_all: float) -> float:
    """Give the number of looks: those that are wanted, as far as there is room, and at least one a job.

    There is room for as many requests while the first jobs are under way, and ``in_all``.
    """
    early = min(work.chunks, work.jobs)
    late = work.chunks - early
    wanted = min(early * seen.first, at_first - early * submit if late else math.inf) + late * seen.later
    return max(min(wanted, in_all - work.chunks * (submit + 1)), work.chunks)


def _parts(work: Work, known: Constants, requests: int) -> dict[str, float]:
    """Give the seconds that a chunk takes all workers together, by what bounds it; 0 where nothing does."""
    return {
        "CPU": (work.chunk * known.cpu_row + requests * known.cpu_request) / work.workers,
        "quota": requests / work.rate,
        "answers": requests * work.answer / (work.workers * work.concurrency),
    }


CASES = {
    "the defaults": Work(rows=10_000_000),
    "4 workers": Work(rows=10_000_000, workers=4),
    "4 workers, 5 requests a second": Work(rows=10_000_000, workers=4, rate=5.0),
    "4 workers, chunks of 5,000 rows": Work(rows=10_000_000, workers=4, chunk=5_000),
    "4 workers, chunks of 5,000 rows, 5 requests a second": Work(rows=10_000_000, workers=4, chunk=5_000, rate=5.0),
    "jobs of 2 s": Work(rows=10_000_000, job_seconds=2.0),
}
"""Imports of ten million rows: those of the plot, and of a table."""


def line(name: str, work: Work, known: Constants) -> str:
    """Give a line of a table about one import."""
    found = expect(work, known)
    cells = [
        f"{found.seconds / 60:,.1f}",
        f"{found.bound}: {found.paces[found.bound]:,.0f}",
        f"{found.requests:,.0f}",
        f"{found.cpu / 60:,.1f}",
        *(f"{value / _MEGA:,.0f}" for value in (found.memory, found.journal, found.spill)),
    ]
    return f"| {name} | {' | '.join(cells)} |"


HEAD = f"""| | minutes | bound: rows a second | requests | CPU minutes | memory, MB | journal, MB | spill, MB |
| --- |{" ---: |" * 7}"""


def plot(known: Constants, measured: Sequence[tuple[Work, float]] = ()) -> Plot:
    """Draw the hours over the rows, and what was ``measured``, in s."""
    rows = [int(10 ** (exponent / 4)) for exponent in range(14, 33)]
    drawn = []
    for name, work in CASES.items():
        hours = [expect(replace(work, rows=number), known).seconds / 3600 for number in rows]
        drawn.append(Line(name, rows, [[one] for one in hours], "computed"))
    if measured:
        found = [[seconds / 3600] for _, seconds in measured]
        drawn.append(Line("measured", [work.rows for work, _ in measured], found, "points"))
    return Plot("scale.svg", "How long an import takes", "rows of the import", "hours", drawn, log_y=True)
