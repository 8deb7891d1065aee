"""How many polls each way of polling needs, and how late it sees the end of a job: without network and clock."""

import heapq
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median

from benchmarks.jobs import ModelJob, long_queues, mix, short
from mjbulk.jobs.forecast import Bounds, JobStatistics, NextLook, OtherJobs, next_look
from mjbulk.jobs.learning import learn, learn_running
from mjbulk.jobs.track import Track

SEEDS = (1, 2, 3, 4, 5)
ALONE = 1e5
"""Seconds: longer than any job takes."""


@dataclass(frozen=True)
class Seen:
    """How the end of one job was seen."""

    polls: int
    seconds: float
    """Lateness: time seen - time ended."""
    late: float
    """Relative lateness: (time seen - time ended) / (time ended - time posted)."""


def _seen(polls: int, now: float, job: ModelJob) -> Seen:
    """Make the record of a job whose end was seen ``now``, in seconds after it was posted."""
    return Seen(polls, now - job.ends, (now - job.ends) / job.ends)


def predictive(
    jobs: Iterable[ModelJob], most: float = math.inf, apart: float = ALONE, at_once: int = 1, *, least: float = 1.0
) -> list[Seen]:
    """Poll as mjbulk does, one client for all jobs; ``least`` and ``most`` are ``poll_min`` and ``poll_max``.

    ``apart`` is the time between two posts in seconds; by default each job has ended when the next one is posted.
    Each time ``at_once`` jobs are posted.
    """
    learned, bounds, seen = JobStatistics(), Bounds(least=least, most=most, first=0.1), []
    posted = [(index // at_once * apart, index, job) for index, job in enumerate(jobs)]
    tracks = [Track(kind="contact", rows=job.rows, posted=when, new=True, age_known=True) for when, _, job in posted]
    looks: dict[int, NextLook] = {}
    late = under_way = 0
    heapq.heapify(posted)
    while posted:
        now, index, job = heapq.heappop(posted)
        track = tracks[index]
        if now > track.posted:
            reply = job.reply(now - track.posted)
            last = looks.pop(index)
            late -= last.late
            if reply.status == "Completed":
                learned, under_way = learn(learned, track, reply, now, look=last), under_way - 1
                seen.append(_seen(track.looks + 1, now - track.posted, job))
                continue
            before, track = track, track.after(reply, now)
            tracks[index], learned = track, learn_running(learned, before, last)
        else:
            under_way += 1
        look = looks[index] = next_look(track, learned, now, bounds, OtherJobs(count=under_way - 1, late=late))
        late += look.late
        heapq.heappush(posted, (now + look.wait, index, job))
    return seen


def stepwise(jobs: Iterable[ModelJob], wait: Callable[[int], float]) -> list[Seen]:
    """Poll at intervals: ``wait`` gives the seconds until the next poll from the number of polls so far."""
    seen = []
    for job in jobs:
        now, polls = 0.0, 0
        while now < job.ends:
            now, polls = now + wait(polls), polls + 1
        seen.append(_seen(polls, now, job))
    return seen


Ways = dict[str, Callable[[Iterable[ModelJob]], list[Seen]]]
WAYS: Ways = {
    "mjbulk, one job after the other": predictive,
    "mjbulk, posted 30 s apart": partial(predictive, apart=30.0),
    "mjbulk, posted all at once": partial(predictive, apart=0.0),
    "every 5 s": lambda jobs: stepwise(jobs, lambda _: 5.0),
    "every 30 s": lambda jobs: stepwise(jobs, lambda _: 30.0),
    "1 s, doubling to 60 s": lambda jobs: stepwise(jobs, lambda polls: min(2.0**polls, 60.0)),
}
DEFAULT = "mjbulk, posted 30 s apart, `poll_max` 300 s (the default)"
MIXES: dict[str, Callable[[int, int], Iterable[ModelJob]]] = {
    "Jobs of seconds to hours": mix,
    "Long queues, short imports": long_queues,
    "Jobs below 2 s": short,
}


def table(number: int, jobs: Callable[[int, int], Iterable[ModelJob]]) -> str:
    """Give the table of all ways for one mix, over this number of jobs for each seed."""
    ways: Ways = {**WAYS, DEFAULT: partial(predictive, most=300.0, apart=30.0)}
    lines = ["| | polls a job | most | late, mean | median | p90 | p90, s |", f"| --- |{' ---: |' * 6}"]
    for name, way in ways.items():
        seen = [one for seed in SEEDS for one in way(jobs(number, seed))]
        figures = f"{fmean(one.polls for one in seen):.1f} | {max(one.polls for one in seen):,}"
        late, seconds = sorted(one.late for one in seen), sorted(one.seconds for one in seen)
        p90 = len(seen) * 9 // 10
        lateness = f"{fmean(late):.1%} | {median(late):.1%} | {late[p90]:.1%} | {seconds[p90]:.2g}"
        lines.append(f"| {name} | {figures} | {lateness} |")
    return "\n".join(lines)
