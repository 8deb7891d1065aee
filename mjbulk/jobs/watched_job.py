"""A job that is watched, and what its end was."""

import asyncio

from attrs import define, field, frozen

from mjbulk.events import Scope
from mjbulk.jobs.forecast import NextLook
from mjbulk.jobs.track import Track
from mjbulk.mailjet.replies import JobReply
from mjbulk.mailjet.request_count import RequestCount
from mjbulk.models import JobRef
from mjbulk.outcomes.error_file import ErrorFile

_SOON = 1.0
"""Seconds: who wants to know of a job that was not looked at yet waits for a look that comes so soon."""


@frozen(kw_only=True)
class EndedJob:
    """A job that has ended."""

    reply: JobReply
    """The reply that showed its end."""
    file: ErrorFile | None
    """Its error file; None if none was expected."""


@define(eq=False)
class WatchedJob:
    """A job that is watched. The scheduler alone changes it."""

    ref: JobRef
    track: Track
    ends: float
    """When it is expected to end (the median), by the loop's clock."""
    count: RequestCount | None = None
    """Counts the looks at it."""
    scope: Scope = field(factory=Scope)
    """That of its events and looks."""
    due: float = 0.0
    """When the next look at it is, by the same clock."""
    reply: JobReply | None = None
    """Its last reply."""
    waiters: list[asyncio.Future[Exception | None]] = field(factory=list)
    """One for each caller that waits for news. It gets None, or what has ended the polling."""
    final: JobReply | None = None
    """The reply that showed its end, while its error file is awaited."""
    look: NextLook | None = None
    """What was last decided about it."""
    file_misses: int = 0
    """Looks that did not find its error file."""
    reopened: bool = False
    """It seemed to have ended before, and is watched once more."""
    ended: EndedJob | None = None
    """What its end was."""

    @property
    def goes_on(self) -> bool:
        """Whether it goes on, as far as is known: it was looked at, or will not be soon, and no end is being read."""
        later = self.track.age_known and self.due > asyncio.get_running_loop().time() + _SOON
        return (later or self.reply is not None) and self.final is None and self.ended is None and not self.reopened

    def notify(self, failure: Exception | None = None) -> None:
        """Wake all callers that wait for news. With ``failure`` they raise it."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(failure)
