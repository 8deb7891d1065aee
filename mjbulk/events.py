"""One record for whatever happens. Progress, logs, traces and hooks are its sinks.

No event holds an address, a value, a key or a body: numbers, statuses, words of ours and JobRefs only.
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
    """Something that happened. What does not apply is None."""

    name: EventName
    run_id: str | None = None
    chunk: int | None = None
    """Number of the chunk in its run, from 1."""
    job: JobRef | None = None
    status: str | None = None
    """A job's status in Mailjet's word, or an answer's HTTP status."""
    call: str | None = None
    """The call without its ids."""
    attempt: int | None = None
    verdict: str | None = None
    seconds: float | None = None
    size: int | None = None
    """Bytes sent."""
    rows: int | None = None
    cause: str | None = None


@public
class Hook(Protocol):
    """Called with every event, in the event loop: it must be quick, and what it raises is logged and dropped."""

    def __call__(self, event: Event, /) -> None: ...


Emit = Callable[[Event], None]
_log = logging.getLogger("mjbulk")
_log.addHandler(logging.NullHandler())


def emitter(hooks: Sequence[Hook]) -> Emit:
    """Make the one function that sends an event to all sinks."""

    def emit(event: Event) -> None:
        _log.debug("%s", event)
        for hook in hooks:
            try:
                hook(event)
            except Exception:  # noqa: BLE001  # a hook is the host's code: it must not end an import
                _log.warning("a hook failed at %s", event.name, exc_info=False)

    return emit
