"""The figures of a run while it goes on, and how they were when it ended."""

import asyncio
import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from mjbulk.jobs.forecast import JobStatistics, foretold, time_left, usual_times
from mjbulk.jobs.watched_job import WatchedJob
from mjbulk.mailjet.request_count import RequestCount
from mjbulk.models import Progress
from mjbulk.outcomes.ledger import Ledger
from mjbulk.run.engine import Engine
from mjbulk.run.estimate import JobAhead, Throughput, run_left

_LEAST_PAUSE = 0.2
"""Seconds for which an estimate is used, at least: it looks at all jobs."""
_PAUSE = 0.01
"""The same at most, while no rows are read, as a share of the time for which the run has gone on."""
_PAUSE_OF_LEFT = 0.1
"""The same as a share of the time that is left."""
_ENOUGH = 5
"""Requests that have to go before their rate is believed."""
_NOTHING = JobStatistics()


class UnderWay(Protocol):
    """What is under way: a pipeline, or several."""

    @property
    def held_rows(self) -> int:
        """How many rows wait for a job with an earlier row of their person."""

    def jobs(self) -> Iterable[WatchedJob]:
        """Give the jobs under watch."""

    def statuses(self) -> dict[str, int]:
        """Give how many jobs are in which status."""


class Figures:
    """The figures of one run, for snapshots. Mutable state: the newest estimate, and the last snapshot."""

    def __init__(self, ledger: Ledger, engine: Engine) -> None:
        """Begin to count the time."""
        self.requests = RequestCount()
        self._ledger = ledger
        self._engine = engine
        self._began = asyncio.get_running_loop().time()
        self._before = (0, 0.0)  # requests and seconds of earlier processes
        self._estimate: tuple[float, float, int] | None = None  # from when it is, the end that it foretells, the rows
        self._busy: tuple[float, int] | None = None  # since when requests wait, and how many had been granted then
        self._rate: float | None = None
        self._last: Progress | None = None

    @property
    def seconds(self) -> float:
        """For how long the run has gone on."""
        return asyncio.get_running_loop().time() - self._began

    def go_on(self, requests: int, seconds: float) -> None:
        """Hear what the run took in earlier processes."""
        self._before = (requests, seconds)

    @property
    def all_requests(self) -> int:
        """How many requests were sent for the run, in all processes."""
        return self._before[0] + self.requests.sent

    @property
    def all_seconds(self) -> float:
        """For how long the run has gone on, in all processes."""
        return self._before[1] + self.seconds

    def snapshot(self, rows: int, pipeline: UnderWay | None, waiting_for: str | None = None) -> Progress:
        """Give a snapshot of a run that has read this many rows. ``waiting_for`` says why nothing moves."""
        if self._last is not None:
            return self._last
        jobs = list(pipeline.jobs()) if pipeline is not None else []
        return Progress(
            **self._common(rows, pipeline),
            rate=self._rate_now(),
            eta=None if self._rate is not None else self._seconds_left(rows, jobs),
            stalled=tuple(job.ref for job in jobs if job.track.stalled),
            held=pipeline.held_rows if pipeline is not None else 0,
            waiting_for=waiting_for,
        )

    def stop(self) -> None:
        """Hear that the run is wound up: rows that are given up from now on are no work."""
        if self._rate is None:
            self._rate = self._rate_now()

    def end(self, rows: int, pipeline: UnderWay | None) -> None:
        """Hear that the run has ended: from now on all snapshots are the same."""
        self.stop()
        self._last = Progress(**self._common(rows, pipeline), rate=self._rate_now(), eta=0.0)

    def _common(self, rows: int, pipeline: UnderWay | None) -> dict[str, Any]:
        statuses = pipeline.statuses() if pipeline is not None else {}
        return {**self._ledger.counts(rows).as_dict(), "jobs": statuses, "requests": self.requests.sent}

    def _rate_now(self) -> float:
        if self._rate is not None:
            return self._rate
        return self._ledger.own / self.seconds if self.seconds > 0 else 0.0

    # What is left

    def _seconds_left(self, rows: int, jobs: Sequence[WatchedJob]) -> float | None:
        now = asyncio.get_running_loop().time()
        if self._estimate is not None:
            since, end, rows_then = self._estimate
            pause = min(_PAUSE * self.seconds, _PAUSE_OF_LEFT * (end - since)) if rows == rows_then else 0.0
            if now - since < max(_LEAST_PAUSE, pause):
                return max(end - now, 0.0)
        left = self._foretell(rows, jobs, now)
        self._estimate = None if left is None else (now, now + left, rows)
        return left

    def _foretell(self, rows: int, jobs: Sequence[WatchedJob], now: float) -> float | None:
        """Estimate the seconds until all rows that were read have their outcomes."""
        known = self._engine.scheduler.statistics.get(jobs[0].ref.kind, _NOTHING) if jobs else _NOTHING
        ahead = [_ahead(job, known, now) for job in jobs if foretold(job.track, known, now)]
        if jobs and not ahead:
            return None
        in_jobs = sum(job.track.rows for job in jobs)
        size = in_jobs / len(jobs) if jobs else 0.0
        done = self._ledger.by_jobs + sum(job.track.share * job.track.rows for job in jobs)
        return run_left(
            ahead,
            rows - self._ledger.settled - in_jobs,
            Throughput(rows=done / self.seconds if self.seconds > 0 else 0.0, requests=self._request_rate(now)),
            size=size,
            usual=usual_times(size, known) if jobs else (0.0, 0.0),
        )

    def _request_rate(self, now: float) -> float:
        """Give how many requests a second have had their turn since some of them wait; infinite if none does."""
        transport = self._engine.transport
        if not transport.waiting:
            self._busy = None
            return math.inf
        self._busy = self._busy or (now, transport.granted)
        since, granted = self._busy
        went = transport.granted - granted
        return went / (now - since) if went >= _ENOUGH and now > since else math.inf


def _ahead(job: WatchedJob, statistics: JobStatistics, now: float) -> JobAhead:
    return JobAhead(
        left=time_left(job.track, statistics),
        since=now - job.track.seen_at,
        look=job.due - now,
        rows=job.track.rows,
        waits=job.track.begun_at is None,
        seen=job.track.first is not None,
    )
