"""How much work the benchmarks do: to see that they run, in ten minutes on two cores, and in full."""

from dataclasses import dataclass

from benchmarks.processes import MEGA


@dataclass(frozen=True)
class Sizes:
    """The usual sizes: all tables but those of `LONG` in about ten minutes."""

    rows: int = 300_000
    megabytes: int = 100
    rounds: int = 3
    lasting: float = 5.0
    lasting_rows: int = 50_000
    lasting_rounds: int = 1
    small_rounds: int = 20
    """Imports of ten rows, one after the other."""
    starts: int = 5
    """Fresh processes."""
    source_rows: int = 20_000
    source_rounds: int = 1
    uploads: int = 200
    large_upload: int = 64
    """MiB."""
    swept_rows: tuple[int, ...] = (10_000, 30_000, 100_000, 300_000, 1_000_000)
    swept_rounds: int = 1
    concurrency_rows: int = 100_000
    imports: int = 200
    recurring_rows: int = 300_000
    learn: float = 30.0
    measure: float = 30.0
    """Seconds for the figures of the quota."""
    modelled: int = 240
    polled: int = 60
    watched: int = 1_000
    """Numbers of jobs for the figures of polling: in the model, with a client, and all at once."""
    memory_rows: int = 5_000_000
    memory_megabytes: float = 1024**3 / MEGA
    answers_take: float = 0.1
    """Seconds for an answer, so that rows are read faster than they are sent."""
    jobs_last: float = 10.0
    imports_last: float = 30.0
    """Seconds. A csvimport has about 28 times the rows of a JSON job, so fewer jobs reach the limit of rows."""
    extreme_megabytes: int = 100


USUAL = Sizes()
LONG = Sizes(
    rounds=5,
    lasting_rows=100_000,
    lasting_rounds=3,
    small_rounds=60,
    starts=15,
    source_rows=50_000,
    source_rounds=2,
    large_upload=1024,
    swept_rows=(10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000),
    swept_rounds=3,
    measure=120.0,
    modelled=960,
    polled=240,
    watched=10_000,
    extreme_megabytes=500,
)
QUICK = Sizes(
    rows=20_000,
    megabytes=20,
    rounds=2,
    lasting=0.5,
    lasting_rows=20_000,
    small_rounds=10,
    starts=2,
    source_rows=2_000,
    uploads=20,
    large_upload=16,
    swept_rows=(1_000, 10_000),
    concurrency_rows=5_000,
    imports=5,
    recurring_rows=5_000,
    learn=15.0,
    measure=10.0,
    modelled=48,
    polled=12,
    watched=200,
    memory_rows=200_000,
    memory_megabytes=50,
    jobs_last=4.0,
    imports_last=4.0,
    extreme_megabytes=10,
)
