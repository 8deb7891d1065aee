"""A model of background jobs for figures of polling: invented, seeded, and harder to predict than one tenant's day.

A job is queued for about 0.5, 5, 60 or 600 s and imported in about 1 s, 10 s, 1 min, 10 min, 1 h or 3 h: all 24 pairs
equally often, in random order, so that the duration of one job says little about the next. Times are log-normal around
these values (sigma 0.5), and clipped to 0.5 to 600 s and 1 s to 3 h. The number of rows is log-uniform from 500 to
200,000, and says nothing about the time. A job prepares for up to a tenth of its import, with no row done. Then a third
of the jobs are even, a third go at several speeds (sigma 0.6 of the logarithm), and a third become steadily faster or
slower.

In the mix with long queues the wait is log-uniform from a minute to two hours, and the import from 1 s to 10 s. Short
jobs take 0.1 s to 2 s (log-uniform), and wait for a third of that.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from random import Random

from mjbulk.mailjet.replies import JobReply

QUEUES = (0.5, 5.0, 60.0, 600.0)
_DAY = datetime(2026, 1, 1, tzinfo=UTC)
IMPORTS = (1.0, 10.0, 60.0, 600.0, 3600.0, 10800.0)


@dataclass(frozen=True)
class ModelJob:
    """The true course of a job. Its times are seconds: waiting in the queue, and importing."""

    rows: int
    queue: float
    work: float
    prepare: float
    """Share of the import time before the first row is done."""
    done: tuple[float, ...]
    """Shares of its rows that are done, at equally spaced times of the remaining import."""

    @property
    def ends(self) -> float:
        return self.queue + self.work

    def share(self, worked: float) -> float:
        """Give the share of rows that are done after a share of the import time."""
        if worked <= self.prepare:
            return 0.0
        point = min((worked - self.prepare) / (1 - self.prepare), 1.0) * (len(self.done) - 1)
        before = min(int(point), len(self.done) - 2)
        return self.done[before] + (self.done[before + 1] - self.done[before]) * (point - before)

    def reply(self, seconds: float) -> JobReply:
        """Give the answer about the job, this many seconds after it was posted."""
        if seconds < self.queue:
            return JobReply(status="Allocated", count=0)
        start = _at(self.queue)
        if seconds >= self.ends:
            return JobReply(status="Completed", count=self.rows, job_start=start, job_end=_at(self.ends))
        count = int(self.rows * self.share((seconds - self.queue) / self.work))
        return JobReply(status="Importing" if count else "Prepare", count=count, job_start=start)


def mix(number: int, seed: int) -> Iterator[ModelJob]:
    """Make jobs of seconds to hours, the same ones for the same seed."""
    chance = Random(seed)
    pairs = [(queue, work) for queue in QUEUES for work in IMPORTS]
    kinds = [pairs[index % len(pairs)] for index in range(number)]
    chance.shuffle(kinds)
    for queue, work in kinds:
        rows = _log_uniform(chance, 500, 200_000)
        yield _job(chance, rows, _around(chance, queue, 0.5, 600.0), _around(chance, work, 1.0, 10800.0))


def long_queues(number: int, seed: int) -> Iterator[ModelJob]:
    """Make jobs that wait for long and are soon done, the same ones for the same seed."""
    chance = Random(seed)
    for _ in range(number):
        rows = _log_uniform(chance, 500, 200_000)
        yield _job(chance, rows, _log_uniform(chance, 60.0, 7200.0), _log_uniform(chance, 1.0, 10.0))


def short(number: int, seed: int) -> Iterator[ModelJob]:
    """Make jobs of at most 2 s, the same ones for the same seed."""
    chance = Random(seed)
    for _ in range(number):
        rows, seconds = _log_uniform(chance, 500, 200_000), _log_uniform(chance, 0.1, 2.0)
        yield _job(chance, rows, seconds / 3, seconds * 2 / 3)


def _job(chance: Random, rows: float, queue: float, work: float) -> ModelJob:
    return ModelJob(rows=int(rows), queue=queue, work=work, prepare=0.1 * chance.random(), done=_done(chance))


def _at(seconds: float) -> datetime:
    """Give a time in whole seconds, as Mailjet does."""
    return _DAY + timedelta(seconds=int(seconds))


def _log_uniform(chance: Random, least: float, most: float) -> float:
    return math.exp(chance.uniform(math.log(least), math.log(most)))


def _around(chance: Random, seconds: float, least: float, most: float) -> float:
    return min(max(seconds * math.exp(chance.gauss(0, 0.5)), least), most)


def _done(chance: Random) -> tuple[float, ...]:
    shape, growth = chance.randrange(3), chance.gauss(0, 1)
    speeds = {
        0: [1.0],
        1: [math.exp(chance.gauss(0, 0.6)) for _ in range(chance.choice((2, 4, 12)))],
        2: [math.exp(growth * piece / 12) for piece in range(12)],
    }[shape]
    total = sum(speeds)
    return (0.0, *(done / total for done in accumulate(speeds)))
