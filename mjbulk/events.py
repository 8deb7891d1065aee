"""One record for everything that happens. Logs, traces and hooks get it.

An event has only numbers, statuses, words of mjbulk and JobRefs. It never has an address, a value, a key or a body.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from attrs import frozen

from mjbulk.models import JobRef
from mjbulk.public import public

EventName = Literal[
    "run.started",
    "run.ended",
    "chunk.sent",
    "chunk.settled",
    "request.sending",
    "request",
    "job",
    "journal.writing",
    "journal.written",
]


@public
@frozen(kw_only=True)
class Event:
    """Something that happened. Fields that do not apply are None."""

    name: EventName
    run_id: str | None = None
    chunk: int | None = None
    """Number of the chunk in its run, from 1."""
    job: JobRef | None = None
    status: str | None = None
    """A job's status in Mailjet's word, or the HTTP status of an answer."""
    call: str | None = None
    """The call without its ids."""
    attempt: int | None = None
    verdict: str | None = None
    seconds: float | None = None
    size: int | None = None
    """Bytes that were sent."""
    rows: int | None = None
    cause: str | None = None


@public
class Hook(Protocol):
    """A function that is called with every event, in the event loop. It has to be quick. If it raises, that is
    logged, and nothing else happens.
    """

    def __call__(self, event: Event, /) -> None: ...


Emit = Callable[[Event], None]
_log = logging.getLogger("mjbulk")
_log.addHandler(logging.NullHandler())


def emitter(hooks: Sequence[Hook]) -> Emit:
    """Make the function that logs an event and calls all hooks with it."""

    def emit(event: Event) -> None:
        _log.debug("%s", event)
        for hook in hooks:
            try:
                hook(event)
            except Exception:  # noqa: BLE001  # a hook is the user's code, and must not end an import
                _log.warning("a hook failed at %s", event.name, exc_info=False)

    return emit
