"""One record for everything that happens: the log, traces and hooks get it. `mjbulk/guides/operations.md` has a table
of all events with their fields.

An event has only numbers, statuses, words of mjbulk, JobRefs and the name of the server. It never has an address, a
value, a key or a body.

What lasts (a run, a chunk, a job, a request, a write) has a *scope*: its `Event.id` is in all events about it, and is
the `Event.parent` of what happens within it. So a hook can tell what belongs together, also where runs of several
clients have one name. A task works within one scope, which the tasks that it starts inherit.
"""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from inspect import isasyncgenfunction, iscoroutinefunction
from itertools import count
from typing import Any, Literal, Protocol, Self

import attrs
from attrs import field, frozen

from mjbulk.errors import UsageError
from mjbulk.models import COUNT_NAMES, Counts, JobRef
from mjbulk.public import public

EventName = Literal[
    "run.started",
    "run.ended",
    "rows.settled",
    "chunk.started",
    "chunk.sent",
    "chunk.settled",
    "request.sending",
    "request",
    "job.watched",
    "job",
    "job.stalled",
    "job.ended",
    "journal.writing",
    "journal.written",
    "journal.failed",
    "outcomes.unseen",
]


@public
@frozen(kw_only=True)
class Event:
    """Something that happened. Fields that do not apply are None."""

    name: EventName
    """What happened: a word of the table in ``guides/operations.md``."""
    id: int | None = None
    """Names in this process what the event is about: a run, a chunk, a job, an attempt at a request, a write."""
    parent: int | None = None
    """The ``id`` of what that is a part of."""
    run_id: str | None = None
    """The name of the run."""
    chunk: int | None = None
    """Number of the chunk in its run, from 1."""
    job: JobRef | None = None
    """The job."""
    status: str | None = None
    """A job's status in Mailjet's word, or the HTTP status of an answer."""
    server: str | None = None
    """Host and port of the server."""
    call: str | None = None
    """The call without its ids."""
    attempt: int | None = None
    """Number of the attempt at a request, from 1."""
    verdict: str | None = None
    """What is known of a request: ``applied``, ``not applied``, ``refused``, ``fatal``, ``unknown``, ``ambiguous``."""
    wait: float | None = None
    """Seconds: how long a request has waited for its turn, or for how long no other may leave after its answer."""
    seconds: float | None = None
    """Seconds that it took, or has taken so far."""
    size: int | None = None
    """Bytes that were sent."""
    rows: int | None = None
    """Number of rows."""
    accepted: int | None = None
    """Rows that were accepted."""
    rejected: int | None = None
    """Rows that were rejected."""
    superseded: int | None = None
    """Rows that were superseded."""
    unknown: int | None = None
    """Rows whose outcome is unknown."""
    not_sent: int | None = None
    """Rows that were not sent."""
    jobs: int | None = None
    """Number of the jobs of a run."""
    requests: int | None = None
    """Number of the requests of a run."""
    cause: str | None = None
    """Why, in a sentence without personal data."""

    @property
    def counts(self) -> Counts:
        """The outcomes as `Counts`: what is None counts as 0."""
        return Counts(**{name: getattr(self, name) or 0 for name in COUNT_NAMES})

    def as_dict(self) -> dict[str, Any]:
        """Give the fields that are set as plain data, for JSON."""
        known = {name: getattr(self, name) for name in _NAMES}
        return {
            name: str(value) if isinstance(value, JobRef) else value
            for name, value in known.items()
            if value is not None
        }


_NAMES = tuple(one.name for one in attrs.fields(Event))


@public
class Hook(Protocol):
    """A plain function that is called with every event, in the event loop. It has to be quick. If it raises, that is
    logged, and nothing else happens. An ``async def`` is refused: it would not be awaited.
    """

    def __call__(self, event: Event, /) -> None: ...


Emit = Callable[[Event], None]
_ids = count(1)
_SCOPE: ContextVar["Scope | None"] = ContextVar("mjbulk scope", default=None)


@frozen
class Scope:
    """What lasts, and what happens within it."""

    parent: int | None = None
    run_id: str | None = None
    chunk: int | None = None
    job: JobRef | None = None
    id: int = field(factory=lambda: next(_ids), init=False)

    @staticmethod
    def current() -> "Scope | None":
        """Give that in which this task works; None outside of runs."""
        return _SCOPE.get()

    def within(self, **more: Any) -> Self:
        """Give a scope within this one."""
        return type(self)(**{"parent": self.id, "run_id": self.run_id, "chunk": self.chunk, "job": self.job, **more})

    def enter(self) -> None:
        """Have this task, and those that it starts, work within this scope from now on."""
        _SCOPE.set(self)

    def event(self, name: EventName, **known: Any) -> Event:
        """Make an event about it."""
        about: Mapping[str, Any] = {"run_id": self.run_id, "chunk": self.chunk, "job": self.job, **known}
        return Event(name=name, id=self.id, parent=self.parent, **about)


def scope_within(**more: Any) -> Scope:
    """Give a scope within that of this task, or of its own where there is none."""
    current = _SCOPE.get()
    return Scope(**more) if current is None else current.within(**more)


def hooks_of(hooks: Sequence[Hook]) -> tuple[Hook, ...]:
    """Check the hooks that a user gives. Raises UsageError for what is no plain function."""
    for hook in hooks:
        calls: Any = (hook, getattr(hook, "__call__", None))  # noqa: B004  # an object may have an async __call__
        if not callable(hook):
            raise UsageError("hooks= are functions, each of which takes one event")
        if any(map(iscoroutinefunction, calls)) or any(map(isasyncgenfunction, calls)):
            raise UsageError("a hook is a plain function and no 'async def': it may put the event into a queue")
    return tuple(hooks)
