"""What the looks at one job have shown, and whether the job has ended or is gone."""

from collections.abc import Collection

import attrs
from attrs import evolve, field, frozen

from mjbulk.mailjet.replies import JobReply
from mjbulk.models import JobKind

_QUEUED = ("", "allocated", "upload", "pending")
"""Words of a job that has not begun (FACTS 2.3). An unknown word counts as begun."""
_PROBE = 0.1
"""Share of rows from which on a forecast by progress is put to the test."""
_STALLED_AFTER = 1800.0
"""Seconds without a change after which a job counts as stalled."""
_NEW_LOOKS = 5
"""Looks for which a new job may answer 404, even when the assumed seconds are over."""
_LOST_LOOKS = 3
"""Looks in a row for which a job that was found before may answer 404."""


def finished(status: str, words: Collection[str]) -> bool:
    """Say whether a job with this status has ended.

    ``words`` are the ones that end a job. Any other word means that it runs, also one that is not known yet.
    """
    return status.strip().casefold() in words


@frozen(kw_only=True)
class Track:
    """What the looks at one job have shown. Times are seconds of the loop's clock."""

    kind: JobKind
    rows: int = 0
    """Rows of the job; 0 if the number is not known."""
    posted: float
    """When the job was posted, or when its watching began."""
    new: bool = False
    """The job was created a short time ago: it may not be found yet."""
    age_known: bool = False
    """``posted`` is when the job was created, and not when its watching began."""
    reply: JobReply | None = None
    """Its last reply."""
    looks: int = 0
    """Looks that were answered, 404 included."""
    not_found: int = 0
    """Looks in a row that were answered with 404."""
    failures: int = 0
    """Looks in a row that were not answered."""
    seen_at: float = field(default=attrs.Factory(lambda self: self.posted, takes_self=True))
    """Time of the last reply."""
    moved_at: float = field(default=attrs.Factory(lambda self: self.posted, takes_self=True))
    """Time since which all replies were the same."""
    queued_at: float = field(default=attrs.Factory(lambda self: self.posted, takes_self=True))
    """Time of the last reply from the queue."""
    begun_at: float | None = None
    """Time of the first reply after the queue."""
    idle_at: float = field(default=attrs.Factory(lambda self: self.posted, takes_self=True))
    """Time of the last reply without a row done."""
    share: float = 0.0
    """Share of the rows that are done, by the last reply."""
    first: tuple[float, float] | None = None
    """Time and share of the first reply with rows done."""
    probe: tuple[float, float] | None = None
    """Time and share of the first reply with a tenth of the rows done: the forecast from there is judged at the end."""

    @property
    def stalled(self) -> bool:
        """Replies have not changed for half an hour. A job without a look does not count as stalled."""
        return self.reply is not None and self.seen_at - self.moved_at >= _STALLED_AFTER

    def after(self, reply: JobReply, now: float) -> "Track":
        """Add a reply. When a job goes back to the queue, or loses rows, its progress begins from there."""
        share = _share(reply, self.kind, self.rows)
        waits = reply.status.strip().casefold() in _QUEUED and reply.job_start is None and share == 0
        back = waits or share < self.share
        first = (now, share) if share and (back or self.first is None) else None if back else self.first
        probe = None if back else self.probe
        return evolve(
            self,
            reply=reply,
            looks=self.looks + 1,
            not_found=0,
            failures=0,
            seen_at=now,
            moved_at=self.moved_at if self.reply is not None and _same(reply, self.reply) else now,
            queued_at=now if waits else self.queued_at,
            begun_at=None if waits else now if self.begun_at is None else self.begun_at,
            idle_at=self.idle_at if share else now,
            share=share,
            first=first,
            probe=(now, share) if probe is None and _PROBE <= share < 1 else probe,
        )

    def after_404(self) -> "Track":
        """Add a look that did not find the job."""
        return evolve(self, looks=self.looks + 1, not_found=self.not_found + 1, failures=0)

    def after_end(self) -> "Track":
        """Add the look that showed the end."""
        return evolve(self, failures=0)

    def after_failure(self) -> "Track":
        """Add a look without an answer, which says nothing about the job."""
        return evolve(self, failures=self.failures + 1)

    def gone(self, now: float, new_seconds: float) -> bool:
        """Say whether a 404 means that the job does not exist, or no longer (FACTS 2.9).

        A job that was found before has `_LOST_LOOKS` of them in a row. A new one may answer 404 for ``new_seconds`` or
        for `_NEW_LOOKS` looks, whichever is longer. Any other job does not exist.
        """
        if self.reply is not None:
            return self.not_found > _LOST_LOOKS
        return not self.new or (now - self.posted >= new_seconds and self.not_found >= _NEW_LOOKS)


def _same(one: JobReply, other: JobReply) -> bool:
    return (one.status, one.count, one.current) == (other.status, other.count, other.current)


def _share(reply: JobReply, kind: JobKind, rows: int) -> float:
    """Give the share of rows that are done.

    For a csvimport it comes from Current, because Count may be the number of rows in the file (FACTS 5.4).
    """
    done, total = reply.count or 0, rows
    if kind == "csvimport" and reply.current is not None:
        done, total = reply.current, rows or done
    return min(max(done / total, 0.0), 1.0) if total > 0 else 0.0
