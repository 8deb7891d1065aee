"""Whose requests are counted: each run counts those that it has caused, whichever task sends them.

Runs of one key share their transport, the task that polls, and what is asked about the account. So a request is counted
by the context of the task that sends it. A task inherits it from the task that starts it; one that is shared takes the
count of the run that it works for.
"""

from contextvars import ContextVar

from attrs import define


@define
class RequestCount:
    """How many requests were sent, retries included."""

    sent: int = 0

    def begin(self) -> None:
        """Count the requests of this task from now on, and those of the tasks that it starts."""
        _COUNT.set(self)


_COUNT: ContextVar[RequestCount | None] = ContextVar("mjbulk requests", default=None)


def current_count() -> RequestCount | None:
    """Give the count of this task; None where nobody counts."""
    return _COUNT.get()


def count_request() -> None:
    """Count a request that is sent now."""
    if (count := _COUNT.get()) is not None:
        count.sent += 1
