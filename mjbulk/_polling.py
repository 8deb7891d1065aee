"""When to look at a job again.

A decision needs what the job said last, how many rows it holds, how long it has been running and how often it was
asked. The wait grows with the time that has gone by, so that a job is found ended late by a share of its own length.
"""

from collections.abc import Collection

from attrs import frozen

from mjbulk._wire import JobReply


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


def next_look(job: JobReply | None, *, rows: int, elapsed: float, looks: int, bounds: Bounds) -> float:
    """Give the seconds to wait before the next look at a job that has not ended.

    ``job`` is its last reply, ``rows`` what it holds (0 where that is not known), ``elapsed`` the seconds since it was
    posted, ``looks`` how often it was asked.
    """
    share = 0.1 if rows and job is not None and job.count else 0.2
    return min(max(elapsed * share if looks else 0.0, bounds.least), bounds.most)
