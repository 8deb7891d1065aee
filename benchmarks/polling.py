"""How often each way of polling asks, and how late it sees that a job has ended: no network, no clock."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean, quantiles

from benchmarks.jobs import ModelJob, mix
from mjbulk._polling import Bounds, Learned, Track, learn, next_look

SEEDS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Seen:
    """What finding the end of one job took."""

    polls: int
    late: float
    """(seen - ended) / (ended - posted)."""


def predictive(jobs: Iterable[ModelJob], most: float = math.inf) -> list[Seen]:
    """Poll as mjbulk does, one client for all jobs; ``most`` is ``poll_max``."""
    learned, bounds, seen = Learned(), Bounds(least=1.0, most=most), []
    for job in jobs:
        now, track = 0.0, Track(kind="contact", rows=job.rows, posted=0.0, new=True, whole=True)
        while True:
            now += next_look(track, learned, now, bounds).wait
            reply = job.reply(now)
            if reply.status == "Completed":
                break
            track = track.after(reply, now)
        learned = learn(learned, track, reply, now)
        seen.append(Seen(track.looks + 1, (now - job.ends) / job.ends))
    return seen


def stepwise(jobs: Iterable[ModelJob], wait: Callable[[int], float]) -> list[Seen]:
    """Poll at intervals: ``wait`` gives the seconds after so many looks."""
    seen = []
    for job in jobs:
        now, polls = 0.0, 0
        while now < job.ends:
            now, polls = now + wait(polls), polls + 1
        seen.append(Seen(polls, (now - job.ends) / job.ends))
    return seen


WAYS: dict[str, Callable[[Iterable[ModelJob]], list[Seen]]] = {
    "mjbulk, `poll_max` none": predictive,
    "mjbulk, `poll_max` 300 s (the default)": lambda jobs: predictive(jobs, 300.0),
    "every 5 s": lambda jobs: stepwise(jobs, lambda _: 5.0),
    "every 30 s": lambda jobs: stepwise(jobs, lambda _: 30.0),
    "1 s, doubling to 60 s": lambda jobs: stepwise(jobs, lambda polls: min(2.0**polls, 60.0)),
}


def table(number: int) -> str:
    """Give the table of all ways, over so many jobs of each seed."""
    lines = [
        f"### Polling: {len(SEEDS)} x {number:,} jobs, seeds {', '.join(map(str, SEEDS))}\n",
        "| | polls a job | most | late, mean | late, 95th percentile |\n| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, way in WAYS.items():
        seen = [one for seed in SEEDS for one in way(mix(number, seed))]
        late = [one.late for one in seen]
        figures = f"{fmean(one.polls for one in seen):.1f} | {max(one.polls for one in seen)}"
        lines.append(f"| {name} | {figures} | {fmean(late):.1%} | {quantiles(late, n=20)[-1]:.1%} |")
    return "\n".join(lines)
