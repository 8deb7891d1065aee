"""What a look at a job teaches for the forecasts of the next ones.

The symbols are those of `mjbulk.jobs.forecast`.
"""

import math

from attrs import evolve

from mjbulk.jobs.durations import FORGETTING, Calibration
from mjbulk.jobs.forecast import SHORTEST, JobStatistics, NextLook, phase
from mjbulk.jobs.track import Track
from mjbulk.mailjet.replies import JobReply

_HALF_A_SECOND = 0.5
"""Seconds that a difference of 0 between two times in whole seconds is taken as."""


def learn_running(statistics: JobStatistics, before: Track, look: NextLook | None) -> JobStatistics:
    """Add a look at a job that has not ended."""
    blind = _corrected(statistics, before, look, 0.0)
    return statistics if blind is statistics.blind else evolve(statistics, blind=blind)


def _corrected(statistics: JobStatistics, track: Track, look: NextLook | None, came: float) -> Calibration:
    """Add the lateness that was foretold of a look, and that which came. Before the first one too little is known."""
    named = phase(track, statistics)
    if look is None or not named or not track.age_known or track.seen_at <= track.posted:
        return statistics.blind
    return statistics.blind.after(named, track.seen_at - track.posted, look.foretold, came)


def learn(
    statistics: JobStatistics,
    track: Track,
    last: JobReply,
    now: float,
    *,
    sent: float | None = None,
    look: NextLook | None = None,
    short: bool = True,
) -> JobStatistics:
    """Add a job whose look at ``now`` found it ended, and whose look before did not.

    The look was ``sent`` before that, and was decided on as ``look``. ``short`` says whether this is a lesson about
    short jobs, too.

    JobEnd - JobStart is the duration of its import, by one clock. It is used as far as the looks allow it; without it
    the middle of what they allow is used.
    """
    begun, seen = track.begun_at if track.begun_at is not None else now, track.seen_at
    least, most = max(seen - begun, 0.0), now - track.queued_at
    took = (least + most) / 2
    if last.job_start is not None and last.job_end is not None:
        by_mailjet = (last.job_end - last.job_start).total_seconds() or _HALF_A_SECOND
        took = min(max(by_mailjet, least), most)
    ended = min(max((seen + now) / 2, track.queued_at + took), begun + took)
    waited = ended - took - track.posted
    rows = track.rows or last.count or 0
    queue, work = statistics.queue, statistics.work
    return evolve(
        statistics,
        queue=queue.with_point(0.0, math.log(max(waited, SHORTEST))) if track.age_known else queue,
        work=work.with_point(math.log(rows), math.log(max(took, SHORTEST))) if rows else work,
        short=statistics.short.after(track.rows, track.seen_at - track.posted, (sent or now) - track.posted)
        if track.age_known and short
        else statistics.short,
        blind=_corrected(statistics, track, look, (now - ended) / max(ended - track.posted, SHORTEST)),
        **_judged(statistics, track, ended),
    )


def _judged(statistics: JobStatistics, track: Track, ended: float) -> dict[str, float]:
    """Learn u from the forecast at the probe: ``u = ln(true r / forecast r)^2 f (1 - f)``.

    The variance of that forecast is ``u / f + u / (1 - f) = u / (f (1 - f))``.
    """
    if track.probe is None or track.first is None:
        return {}
    probed_at, share = track.probe
    since, left = probed_at - (track.idle_at + track.first[0]) / 2, ended - probed_at
    if since <= SHORTEST or left <= SHORTEST:
        return {}
    uneven = math.log(left * share / (since * (1 - share))) ** 2 * share * (1 - share)
    return {
        "uneven": FORGETTING * statistics.uneven + uneven,
        "uneven_weight": FORGETTING * statistics.uneven_weight + 1,
    }
