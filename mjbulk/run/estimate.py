"""How long a run still takes: by what is foretold of its jobs, and by how soon rows and requests go through now.

=======  =====================================================================  =========
symbol   meaning                                                                unit
=======  =====================================================================  =========
r_i      the time that job i had left at its last reply (random)                s
s_i      the time since that reply                                              s
t        a time from now on                                                     s
R        rows that wait for a job                                               rows
n        rows of one job                                                        rows
Q, W     the medians of how long a job waits in Mailjet's queue and imports     s
v        rows that get their outcome, per second                                1/s
=======  =====================================================================  =========

**Jobs whose rows are seen as they are done.** All of them have ended by t with the probability
``product of P(r_i <= s_i + t)``. If the forecasts were independent, the median would be the t at which that is 1/2. For
k jobs it is taken as 1/2^k, and as 1/2^5 for more than five: what makes one of them wrong makes others wrong as well,
and the greatest of many forecasts is most often too great. This was found on the jobs of `benchmarks.jobs`.

**Jobs of which nothing is seen.** What is not known of them is the same for all, so the last ends at the median of the
one that has most left. Those in Mailjet's queue end at the latest after their rows / v and W.

**Rows that wait.** They get a job when others end, n of them at once, the first ones when the first job ends. So the
last of them have their outcome after ``(R - n) / v``, the time of the job that ends first, and Q + W.

**Requests.** While requests wait for their turn, what is left takes at least their number / the rate at which they go.
"""

import math
from collections.abc import Sequence

from attrs import frozen

from mjbulk.jobs.durations import LogLogistic

_ALIKE = 5
_HALVINGS = 12
"""So the median is found to a part in 4,000."""
_MOST = 1e9
"""Seconds: 30 years."""


@frozen(kw_only=True)
class JobAhead:
    """What is foretold of a job that has not ended."""

    left: LogLogistic
    """r."""
    since: float
    """s."""
    look: float
    """Seconds until the next look at it: its end is not seen before that."""
    rows: int
    waits: bool
    """Whether it waits in Mailjet's queue, as far as is known."""
    seen: bool
    """Whether its rows are seen as they are done."""

    @property
    def median(self) -> float:
        """The median of the time until its end is seen."""
        return max(self.left.median - self.since, self.look, 0.0)

    def log_ended(self, seconds: float) -> float:
        """Give ``ln P(r <= s + t)``."""
        ratio = max(self.since + seconds, 1e-9) / self.left.median
        return -math.log1p(math.exp(min(-self.left.shape * math.log(ratio), 600.0)))


@frozen(kw_only=True)
class Throughput:
    """How soon rows and requests go through now."""

    rows: float
    """v; 0 if it is not known."""
    requests: float
    """Requests per second while some of them wait for their turn; infinite if none does."""


def _jobs_left(jobs: Sequence[JobAhead], rate: float, work: float) -> float:
    """Give the seconds until the ends of all jobs are seen; ``rate`` is v, and ``work`` is W."""
    queued = [job for job in jobs if job.waits]
    through = sum(job.rows for job in queued) / rate + work if rate else math.inf
    ends = [min(max(job.median for job in queued), through)] if queued else []
    ends += [job.median for job in jobs if not job.waits and not job.seen]
    ends += [job.look for job in jobs]
    return max(_all_ended([job for job in jobs if job.seen]), *ends)


def _all_ended(jobs: Sequence[JobAhead]) -> float:
    """Give the t at which all jobs have ended whose rows are seen."""
    wanted = min(len(jobs), _ALIKE) * math.log(0.5)
    least, most = 0.0, 1e-3
    while most < _MOST and sum(job.log_ended(most) for job in jobs) < wanted:
        least, most = most, most * 2
    for _ in range(_HALVINGS if least else 0):
        middle = (least + most) / 2
        if sum(job.log_ended(middle) for job in jobs) < wanted:
            least = middle
        else:
            most = middle
    return most if least else 0.0


def run_left(
    jobs: Sequence[JobAhead], waiting: int, through: Throughput, *, size: float, usual: tuple[float, float]
) -> float | None:
    """Give the seconds until all rows that were read have their outcome, as likely as not; None if it is not known.

    ``waiting`` is R, ``size`` is n, and ``usual`` are Q and W.
    """
    queue, work = usual
    ends = [_jobs_left(jobs, through.rows, work)] if jobs else []
    rate = through.rows or (sum(job.rows for job in jobs) / (queue + work) if jobs else 0.0)
    if waiting > 0 and rate > 0:
        first = min((job.median for job in jobs), default=0.0)
        ends.append(max(waiting - size, 0.0) / rate + first + queue + work)
    if not ends:
        return None
    chunks = waiting / size if size else 0.0
    return max(*ends, (2 * len(jobs) + 3 * chunks) / through.requests)
