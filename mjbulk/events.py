"""One record for everything that happens. Logs, traces and hooks get it.

An event has only numbers, statuses, words of mjbulk and JobRefs. It never has an address, a value, a key or a body.
"""

import logging
from collections.abc import Callable, Sequence
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any, Literal, Protocol

from attrs import frozen

from mjbulk.errors import UsageError
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
    """A plain function that is called with every event, in the event loop. It has to be quick. If it raises, that is
    logged, and nothing else happens. An ``async def`` is refused: it would not be awaited.
    """

    def __call__(self, event: Event, /) -> None: ...


Emit = Callable[[Event], None]
_log = logging.getLogger("mjbulk")
_log.addHandler(logging.NullHandler())


def hooks_of(hooks: Sequence[Hook]) -> tuple[Hook, ...]:
    """Check the hooks that a user gives. Raises UsageError for what is no plain function."""
    for hook in hooks:
        calls: Any = (hook, getattr(hook, "__call__", None))  # noqa: B004  # an object may have an async __call__
        if not callable(hook):
            raise UsageError("hooks= are functions, each of which takes one event")
        if any(map(iscoroutinefunction, calls)) or any(map(isasyncgenfunction, calls)):
            raise UsageError("a hook is a plain function and no 'async def': it may put the event into a queue")
    return tuple(hooks)


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
