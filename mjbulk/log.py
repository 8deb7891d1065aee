"""What the log says: it is one consumer of events, beside the hooks.

=================  ===========================================================================
logger             what it tells
=================  ===========================================================================
mjbulk             runs, chunks, rows, sources, ingesters, hooks
mjbulk.requests    requests, the pauses and outages of a key, a quota that is shared
mjbulk.jobs        jobs
mjbulk.journal     writes, and sessions of a database
=================  ===========================================================================

Each event is a line of the level DEBUG, with the fields that are set. What concerns people is said once, at INFO or
WARNING: a failure when it is the second in a row, and the end of a row of failures that was said.

The traceback of a hook that raises has its frames and the kind of the exception. It has no text of an exception and no
line of code: a hook is the user's code, and may quote anything.
"""

import logging
import traceback
from collections.abc import Callable, Mapping, Sequence

from mjbulk.events import Emit, Event, Hook
from mjbulk.models import summary_of_run

_log = logging.getLogger("mjbulk")
_log.addHandler(logging.NullHandler())
_requests, _jobs, _journal = (logging.getLogger(f"mjbulk.{name}") for name in ("requests", "jobs", "journal"))
_LOGGERS = {"request": _requests, "job": _jobs, "journal": _journal}
"""By the first word of an event's name."""
_FAILED = ("not applied", "ambiguous", "unknown", "fatal")
"""Verdicts on attempts that are failures."""
_MOST_RUNS = 1000
"""Runs, and ingesters, of which it is remembered why their last rows were unknown."""


class Log:
    """Logs events. Mutable state: the failures in a row of each call and of the journal, and the cause for which rows
    of each run were unknown last.
    """

    def __init__(self) -> None:
        """Begin with no failure."""
        self._failures: dict[str, int] = {}
        self._unknown: dict[int | None, str | None] = {}
        self._say: Mapping[str, Callable[[Event], None]] = {
            "run.started": self._run_started,
            "run.ended": self._run_ended,
            "chunk.settled": self._chunk_settled,
            "request": self._request,
            "job.stalled": self._job_stalled,
            "journal.written": self._written,
            "journal.failed": self._not_written,
        }

    def __call__(self, event: Event) -> None:
        """Log an event."""
        logger = _LOGGERS.get(event.name.partition(".")[0], _log)
        if logger.isEnabledFor(logging.DEBUG):
            fields = " ".join(f"{name}={value}" for name, value in event.as_dict().items() if name != "name")
            logger.debug("%s %s", event.name, fields)
        say = self._say.get(event.name)
        if say is not None:
            say(event)

    # Runs

    def _run_started(self, event: Event) -> None:
        _log.info("run %s starts", event.run_id)

    def _run_ended(self, event: Event) -> None:
        self._unknown.pop(event.id, None)
        figures = summary_of_run(event.counts, jobs=event.jobs or 0, seconds=event.seconds or 0.0)
        _log.info("run %s has ended: %s", event.run_id, figures)
        if event.cause is not None:
            _log.warning("run %s has stopped early: %s", event.run_id, event.cause)

    def _chunk_settled(self, event: Event) -> None:
        """Warn of rows that are unknown, once for all chunks in a row with the same cause."""
        if not event.unknown:
            self._unknown.pop(event.parent, None)
        elif event.parent not in self._unknown or self._unknown[event.parent] != event.cause:
            self._unknown[event.parent] = event.cause
            if len(self._unknown) > _MOST_RUNS:
                del self._unknown[next(iter(self._unknown))]
            chunk = f"chunk {event.chunk} of {event.run_id}"
            _log.warning("%d rows are unknown (%s, and maybe more): %s", event.unknown, chunk, event.cause)

    # Requests, jobs, the journal

    def _request(self, event: Event) -> None:
        if event.wait is not None:
            why = "429 (too many requests)" if event.status == "429" else f"status {event.status}"
            _requests.warning("%s: %s, no request of this key leaves for %.1f s", event.call, why, event.wait)
        if event.verdict in _FAILED and event.status != "429":
            self._failed(_requests, event.call or "", event.cause)
        elif event.verdict not in (None, *_FAILED):
            self._succeeded(_requests, event.call or "")

    def _job_stalled(self, event: Event) -> None:
        _jobs.info("job %s is late: it has not moved for half an hour; it is watched on", event.job)

    def _written(self, event: Event) -> None:  # noqa: ARG002  # what was written does not matter
        self._succeeded(_journal, "the journal")

    def _not_written(self, event: Event) -> None:
        self._failed(_journal, "the journal", event.cause)

    # Failures in a row

    def _failed(self, logger: logging.Logger, what: str, why: str | None) -> None:
        """Count a failure, and warn if it is the second in a row."""
        self._failures[what] = self._failures.get(what, 0) + 1
        if self._failures[what] == 2:
            logger.warning("%s has failed twice in a row: %s", what, why)

    def _succeeded(self, logger: logging.Logger, what: str) -> None:
        failures = self._failures.pop(what, 0)
        if failures >= 2:
            logger.info("%s succeeds again, after %d failures in a row", what, failures)


class _Guarded:
    """A hook that ends nothing by raising. Mutable state: which kinds of exceptions of it were logged."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook
        self._logged: set[type[Exception]] = set()

    def __call__(self, event: Event) -> None:
        try:
            self._hook(event)
        except Exception as failure:  # noqa: BLE001  # a hook is the user's code, and must not end an import
            if type(failure) not in self._logged:
                self._logged.add(type(failure))
                _log.warning("a hook failed at %s, and may fail again:\n%s", event.name, _frames_of(failure))


def _frames_of(failure: Exception) -> str:
    """Give the traceback with no text of the exception and no line of code, and without our own frame."""
    frames = traceback.extract_tb(failure.__traceback__)[1:]
    lines = [f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}' for frame in frames]
    kind = f"{type(failure).__module__}.{type(failure).__qualname__}"
    return "\n".join(["Traceback (most recent call last):", *lines, kind])


def guarded(hooks: Sequence[Hook]) -> tuple[Hook, ...]:
    """Give hooks that end nothing by raising. Each kind of exception of each hook is logged once, for all clients."""
    return tuple(hook if isinstance(hook, _Guarded) else _Guarded(hook) for hook in hooks)


def emitter(hooks: Sequence[Hook]) -> Emit:
    """Make the function that logs an event and calls all hooks with it."""
    sinks = (Log(), *guarded(hooks))

    def emit(event: Event) -> None:
        for sink in sinks:
            sink(event)

    return emit
