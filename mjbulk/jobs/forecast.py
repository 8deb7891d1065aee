"""When to look at a job again: the theory, and what is learned from jobs that have ended.

A job waits in a queue and then imports. How long either takes differs by orders of magnitude, so times are thought of
in ratios: each is a log-logistic distribution, which has a median, a spread, and a tail in which a time that has gone
on for long goes on for a share of that again. Its quantiles, also those of what is left after some time, are formulas.
A time that goes far beyond its spread is trusted less and less: then nothing is known but its age.

- **Learned**: the queue and the import apart, for each kind of job: mean and spread of the logarithm over the jobs that
  ended, newer ones counting more; the import as a line over the logarithm of its rows. Before anything is learned a
  wide guess stands in. It counts less, the more jobs have ended, and more, the more are late: of jobs that were posted
  together the short ones end first, and tell little of the others.
- **Progress**: rows done give a pace, and so the time left. Its uncertainty is that of work in independent pieces:
  large at the beginning, and learned from how far earlier forecasts were off. Forecasts from progress and from earlier
  jobs are averaged in logarithms, each by its certainty. Rows that stand still may stand as long again.
- **The wait**: a look costs a request, a late look costs time. The next look comes when the lateness to be expected of
  it, as a share of the job's life, is the price of a look. Where nothing is known that makes the wait a share of the
  time gone by; where the end is known well it is just behind it. A look that shows progress also sharpens the forecast,
  so it has a lower price; where rows should be seen and none is done, the end is far, and the price is higher. Looks
  are dearer, the more jobs share a quota. And what few jobs have taught is not trusted at once: a job that shows no row
  is first looked at after seconds, and then after its age times the number of jobs that are known.

Assumed of real jobs: a status says whether a job has begun (a word of the queue, no JobStart, no row done: it has not);
Count or Current grow while it imports; jobs of one kind resemble each other. Where one of these does not hold, looks
are more or later, and nothing else is wrong.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import attrs
from attrs import evolve, field, frozen

from mjbulk.jobs.durations import FORGETTING, LogLogistic, Prior, Regression
from mjbulk.mailjet.replies import JobReply
from mjbulk.models import JobKind

_QUEUED = ("", "allocated", "upload", "pending")
"""Words of a job that has not begun. An unknown word counts as begun."""
_BLIND_PRICE = 0.0085
_BEGUN_PRICE = 0.03
_SEEING_PRICE = 0.002
"""Shares of a job's life: the lateness that a look is worth, where its progress is not seen, where it should be but has
not begun, and where it is."""
_DEARER = 9.0
"""A look costs as much again where 10 to this power of jobs are under watch."""
_CASES = 34
_PAIRS = tuple(((i + 0.5) / _CASES, (21 * i % _CASES + 0.5) / _CASES) for i in range(_CASES))
"""Equally likely cases of two independent times, spread evenly over the square (a Fibonacci lattice)."""
_SHORTEST = 0.1
"""Seconds: what is shorter cannot be told apart."""
_HALF_A_SECOND = 0.5
"""What whole seconds mean by 0."""
_UNEVEN_WEIGHT = 3.0
"""What the guess counts that work is somewhat uneven, in jobs."""
_UNEVEN_LEAST = 1e-3
_LATE_VARIANCE = 0.25
"""The most that a forecast from progress is in doubt by what is still to come."""
_STALLED_AFTER = 1800.0
"""Seconds without a change, after which a job is named as one that does not move."""
_NEW_LOOKS = 5
"""A job that was just created may answer 404 for as long as is assumed, or for so many looks, whichever is later."""
_LOST_LOOKS = 3
"""A job that was seen before may answer 404 so often in a row."""
_LOST_WAIT = 12.0
_MOST_DOUBLINGS = 5


def finished(status: str, words: Collection[str]) -> bool:
    """Whether a job with this status has ended.

    ``words`` are those that end one; any other, also one that Mailjet may invent tomorrow, means that it runs.
    """
    return status.strip().casefold() in words


@frozen(kw_only=True)
class Bounds:
    """Seconds between two looks at one job."""

    least: float = 1.0
    most: float = 300.0


# What is learned

_QUEUE = Prior(x=0.0, y=math.log(20.0), slope=0.0, variance=4.0)
_IMPORT = Prior(x=math.log(1000.0), y=math.log(60.0), slope=0.5, variance=4.0)


@frozen(kw_only=True)
class JobStatistics:
    """What ended jobs of one kind have taught. Plain numbers: `as_dict` and `of` are inverse."""

    queue: Regression = field(factory=Regression)
    work: Regression = field(factory=Regression)
    uneven: float = 0.04 * _UNEVEN_WEIGHT
    """Sum of how far forecasts from progress were off, as a variance for work of length 1."""
    uneven_weight: float = _UNEVEN_WEIGHT

    @property
    def seen_rows(self) -> bool:
        """Whether jobs of this kind show their rows while they import."""
        return self.uneven_weight > _UNEVEN_WEIGHT

    def as_dict(self) -> dict[str, Any]:
        """Give plain data, for JSON."""
        return attrs.asdict(self)

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> Self:
        """Take plain data. Raises ValueError for what is none of ours."""
        try:
            made = cls(**{**known, "queue": Regression(**known["queue"]), "work": Regression(**known["work"])})
            numbers = [*attrs.astuple(made.queue), *attrs.astuple(made.work), made.uneven, made.uneven_weight]
            usable = all(math.isfinite(number) for number in numbers) and made.uneven_weight > 0
            usable = usable and min(made.queue.weight, made.work.weight, made.uneven) >= 0
        except (KeyError, TypeError):
            usable = False
        if not usable:
            raise ValueError("this is nothing that was learned of jobs")
        return made


# One job


@frozen(kw_only=True)
class Track:
    """What was seen of one job, in seconds of the loop's clock."""

    kind: JobKind
    rows: int = 0
    """What it holds; 0 where that is not known."""
    posted: float
    new: bool = False
    """Whether it was created not long ago: it may not be found yet."""
    age_known: bool = False
    """Whether ``posted`` is when it was created, and not when its watching began."""
    reply: JobReply | None = None
    """Its last reply."""
    looks: int = 0
    lost: int = 0
    """How many looks in a row were answered with 404."""
    failures: int = 0
    """How many looks in a row were not answered."""
    seen: float = field(default=attrs.Factory(lambda self: self.posted, takes_self=True))
    """When it last replied."""
    moved: float = field(default=attrs.Factory(lambda self: self.posted, takes_self=True))
    """When it was first seen as it is now."""
    queued: float = field(default=attrs.Factory(lambda self: self.posted, takes_self=True))
    """When it was last seen in the queue."""
    begun: float | None = None
    """When it was first seen out of it."""
    idle: float = field(default=attrs.Factory(lambda self: self.posted, takes_self=True))
    """When it was last seen without a row done."""
    share: float = 0.0
    """Of its rows, how many are done."""
    first: tuple[float, float] | None = None
    """When it was first seen with rows done, and which share."""
    probe: tuple[float, float] | None = None
    """The same of a tenth and more: forecasts are judged by it in the end."""

    @property
    def stalled(self) -> bool:
        """Whether it has not moved for long, as far as it was seen."""
        return self.reply is not None and self.seen - self.moved >= _STALLED_AFTER

    def after(self, reply: JobReply, now: float) -> "Track":
        """Take in a reply. A job that goes back to the queue, or loses rows, is forecast anew from there."""
        share = _share(reply, self.kind, self.rows)
        waits = reply.status.strip().casefold() in _QUEUED and reply.job_start is None and share == 0
        back = waits or share < self.share
        first = (now, share) if share and (back or self.first is None) else None if back else self.first
        probe = None if back else self.probe
        return evolve(
            self,
            reply=reply,
            looks=self.looks + 1,
            lost=0,
            failures=0,
            seen=now,
            moved=self.moved if self.reply is not None and _same(reply, self.reply) else now,
            queued=now if waits else self.queued,
            begun=None if waits else now if self.begun is None else self.begun,
            idle=self.idle if share else now,
            share=share,
            first=first,
            probe=(now, share) if probe is None and 0.1 <= share < 1 else probe,
        )

    def after_404(self) -> "Track":
        """Take in that it was not found."""
        return evolve(self, looks=self.looks + 1, lost=self.lost + 1, failures=0)

    def after_failure(self) -> "Track":
        """Take in that there was no answer, which says nothing of the job."""
        return evolve(self, failures=self.failures + 1)

    def gone(self, now: float, new_seconds: float) -> bool:
        """Whether its 404 means that there is no such job (any more).

        ``new_seconds`` is for how long one that was just created may not be found.
        """
        if self.reply is not None:
            return self.lost > _LOST_LOOKS
        return not self.new or (now - self.posted >= new_seconds and self.lost >= _NEW_LOOKS)


def _same(one: JobReply, other: JobReply) -> bool:
    return (one.status, one.count, one.current) == (other.status, other.count, other.current)


def _share(reply: JobReply, kind: JobKind, rows: int) -> float:
    """Give the share of rows that are done: by Current of a csvimport, whose Count may be all that it found."""
    done, total = reply.count or 0, rows
    if kind == "csvimport" and reply.current is not None:
        done, total = reply.current, rows or done
    return min(max(done / total, 0.0), 1.0) if total > 0 else 0.0


# Forecast and decision


@frozen
class NextLook:
    """When to look at a job next."""

    wait: float
    """Seconds."""
    left: float
    """Seconds until it will have ended as likely as not."""
    late: bool
    """Whether it has been under way for longer than jobs of its kind are in the middle."""


@frozen(kw_only=True)
class OtherJobs:
    """Jobs that are under watch beside one."""

    count: int = 0
    late: int = 0
    """Those of its kind that are late."""


ALONE = OtherJobs()


def next_look(track: Track, learned: JobStatistics, now: float, bounds: Bounds, others: OtherJobs = ALONE) -> NextLook:
    """Decide when to look at a job that has not ended."""
    age = now - track.posted
    cases, price = _forecast(track, learned, now, others.late)
    wait = _worth_a_look(cases, age, price * (1 + math.log10(1 + others.count) / _DEARER))
    if track.first is None:
        wait = min(wait, (age + 1.0) * (1 + learned.work.weight))
    if track.lost:
        wait = min(wait, _LOST_WAIT)
    usual = learned.queue.predict(_QUEUE, 0.0).median + learned.work.predict(_IMPORT, _size(track)).median
    return NextLook(min(max(wait, bounds.least), bounds.most), cases[len(cases) // 2], age > usual)


def wait_after_failures(failures: int, bounds: Bounds) -> float:
    """Give the wait after so many looks without an answer: it doubles, up to half a minute where that is allowed."""
    return min(bounds.least * 2.0 ** min(failures, _MOST_DOUBLINGS), bounds.most)


def _size(track: Track) -> float | None:
    return math.log(track.rows) if track.rows else None


def _forecast(track: Track, learned: JobStatistics, now: float, late: int) -> tuple[Sequence[float], float]:
    """Give the seconds that may be left, as equally likely cases in order, and what a look is worth."""
    work = learned.work.predict(_IMPORT, _size(track), late)
    queue, age = learned.queue.predict(_QUEUE, 0.0, late), now - track.posted
    if track.begun is None:
        return sorted(queue.left(age, 1 - one) + work.left(0.0, 1 - other) for one, other in _PAIRS), _BLIND_PRICE
    age = now - min(max(track.posted + queue.median, track.queued), track.begun)
    if track.first is None:
        return [work.left(age, 1 - share) for share, _ in _PAIRS], _BEGUN_PRICE if learned.seen_rows else _BLIND_PRICE
    mean, variance = _by_progress(track, track.first, learned, now)
    other, doubt = work.log_left(age)
    certainty = 1 / variance + 1 / doubt
    together = LogLogistic.of((mean / variance + other / doubt) / certainty, 1 / certainty)
    return [together.left(0.0, 1 - share) for share, _ in _PAIRS], _SEEING_PRICE


def _by_progress(track: Track, first: tuple[float, float], learned: JobStatistics, now: float) -> tuple[float, float]:
    """Give median and variance of the logarithm of the seconds left, by the pace of its rows.

    The pace is taken since the first row, or since rows were first seen done, whichever is less uncertain.
    """
    uneven = max(learned.uneven / learned.uneven_weight, _UNEVEN_LEAST)
    seen, share = first
    since = max(track.seen - (track.idle + seen) / 2, _SHORTEST)
    variance, pace = uneven / track.share + ((seen - track.idle) / since) ** 2 / 12, since / track.share
    if track.share > share:
        more = track.share - share
        variance, pace = min((variance, pace), (uneven / more, (track.seen - seen) / more))
    left = max(pace * (1 - track.share), now - track.moved, 1e-3)
    return math.log(left), variance + min(uneven / (1 - track.share + 1e-3), _LATE_VARIANCE)


def _worth_a_look(cases: Sequence[float], age: float, price: float) -> float:
    """Give the wait at which the expected lateness, as a share of the job's life, is the price of a look.

    The lateness of a case is ``(wait - left) / (age + left)`` where it has ended by then: the sum over the cases grows
    in straight lines, so the answer is in closed form between two of them.
    """
    owed, rate = price * len(cases), 0.0
    for left in cases:
        if rate and owed / rate <= left:
            break
        owed += left / (age + left)
        rate += 1 / (age + left)
    return owed / rate


# Learning


def learn(learned: JobStatistics, track: Track, last: JobReply, now: float) -> JobStatistics:
    """Take in a job that was found ended ``now``, and not ended at its look before.

    JobEnd - JobStart is how long its import took, by one clock; it is believed within what was seen.
    """
    begun, seen = track.begun if track.begun is not None else now, track.seen
    least, most = max(seen - begun, 0.0), now - track.queued
    took = (least + most) / 2
    if last.job_start is not None and last.job_end is not None:
        told = (last.job_end - last.job_start).total_seconds() or _HALF_A_SECOND
        took = min(max(told, least), most)
    ended = min(max((seen + now) / 2, track.queued + took), begun + took)
    waited = ended - took - track.posted
    rows = track.rows or last.count or 0
    return evolve(
        learned,
        queue=learned.queue.with_point(0.0, math.log(max(waited, _SHORTEST))) if track.age_known else learned.queue,
        work=learned.work.with_point(math.log(rows), math.log(max(took, _SHORTEST))) if rows else learned.work,
        **_judged(learned, track, ended),
    )


def _judged(learned: JobStatistics, track: Track, ended: float) -> dict[str, float]:
    """Compare what progress foretold with what came."""
    if track.probe is None or track.first is None:
        return {}
    seen, share = track.probe
    since, left = seen - (track.idle + track.first[0]) / 2, ended - seen
    if since <= _SHORTEST or left <= _SHORTEST:
        return {}
    off = math.log(left * share / (since * (1 - share))) ** 2 * share * (1 - share)
    return {"uneven": FORGETTING * learned.uneven + off, "uneven_weight": FORGETTING * learned.uneven_weight + 1}
