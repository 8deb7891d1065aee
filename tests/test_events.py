"""One record for whatever happens, and its sinks."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextvars import copy_context
from functools import partial
from typing import Any
from unittest.mock import AsyncMock, Mock

import attrs
import pytest

import mjbulk
from mjbulk.events import Event, Scope, hooks_of, scope_within
from mjbulk.log import emitter
from mjbulk.models import JobRef

EVENT = Event(name="chunk.sent", run_id="r1", chunk=3, job=JobRef("contact", 113))


def test_every_hook_gets_every_event_in_order() -> None:
    """Hooks are called one after the other, with the record itself."""
    seen: list[tuple[str, Event]] = []
    emit = emitter([lambda event: seen.append(("a", event)), lambda event: seen.append(("b", event))])
    emit(EVENT)
    assert [name for name, _ in seen] == ["a", "b"]
    assert all(event is EVENT for _, event in seen)


def test_a_hook_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """What a hook raises is logged without its text, and the next hook is called."""

    def fails(event: Event) -> None:
        raise ValueError("somebody@example.org")

    seen: list[Event] = []
    with caplog.at_level(logging.WARNING, "mjbulk"):
        emitter([fails, seen.append])(EVENT)
    assert seen == [EVENT]
    assert caplog.messages[0].startswith("a hook failed at chunk.sent, and may fail again:\nTraceback")
    assert "somebody" not in caplog.text


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_a_hook_cannot_swallow_the_end_of_a_program(signal: type[BaseException]) -> None:
    """What ends a program or a task is no failure of a hook."""

    def ends(event: Event) -> None:
        raise signal

    with pytest.raises(signal):
        emitter([ends])(EVENT)


async def _hook(event: Event) -> None:
    """A coroutine function."""


class _Hook:
    """An object that is called with events."""

    async def __call__(self, event: Event) -> None: ...


async def _stream(event: Event) -> AsyncIterator[Event]:
    yield event


_HOOKS = {"function": _hook, "object": _Hook(), "partial": partial(_hook), "generator": _stream, "mock": AsyncMock()}


@pytest.mark.parametrize("hook", _HOOKS.values(), ids=_HOOKS)
@pytest.mark.parametrize("make", [mjbulk.Client, mjbulk.SessionPool])
def test_a_hook_that_nobody_would_await_is_refused(make: Any, hook: Any) -> None:
    """Whatever is async def, before anything is opened."""
    more: Any = {"credentials": mjbulk.Credentials("a", "b")} if make is mjbulk.Client else {}
    with pytest.raises(mjbulk.UsageError, match="no 'async def'"):
        make(hooks=[print, hook], **more)


def test_hooks_are_functions() -> None:
    """Anything that can be called is one; a word is none."""
    hooks: Any = [print, partial(print, sep=""), Mock()]
    assert hooks_of(hooks) == tuple(hooks)
    with pytest.raises(mjbulk.UsageError, match="hooks= are functions"):
        hooks_of("print")  # type: ignore[arg-type]  # that it is none is the test


def test_events_are_log_lines_of_the_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    """Without hooks an event is a log line for who asks for it, and for nobody else."""
    emit = emitter([])
    with caplog.at_level(logging.INFO, "mjbulk"):
        emit(EVENT)
    assert caplog.messages == []
    with caplog.at_level(logging.DEBUG, "mjbulk"):
        emit(EVENT)
    assert [(record.name, record.levelname) for record in caplog.records] == [("mjbulk", "DEBUG")]
    assert caplog.messages == ["chunk.sent run_id=r1 chunk=3 job=contact:113"]


def test_an_event_is_frozen_and_has_no_place_for_data() -> None:
    """An event cannot be changed by a hook, and no field of it is made for an address, a value or a body."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        EVENT.chunk = 4  # type: ignore[misc]  # that it cannot be set is the test
    fields = {field.name for field in attrs.fields(Event)}
    assert fields == {
        *("name", "id", "parent", "run_id", "chunk", "job", "status", "server", "call", "attempt", "verdict"),
        *("wait", "seconds", "size", "rows", "jobs", "requests", "cause"),
        *("accepted", "rejected", "superseded", "unknown", "not_sent"),
    }


def test_the_library_is_silent_until_it_is_asked() -> None:
    """A program that configures no logging sees nothing of it: the logger has a handler that drops everything."""
    handlers = logging.getLogger("mjbulk").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)


def test_what_lasts_is_in_the_events_about_its_parts() -> None:
    """A task works within a scope, and so do those that it starts; what is known of it is known of its parts."""
    assert Scope.current() is None
    alone = scope_within(job=JobRef("contact", 1))
    assert (alone.parent, alone.run_id) == (None, None)

    def within() -> None:
        run = Scope(run_id="r")
        chunk = run.within(chunk=3)
        chunk.enter()
        assert Scope.current() is chunk
        part = scope_within(job=JobRef("contact", 2)).event("job", status="Importing")
        assert part.parent == chunk.id
        assert chunk.parent == run.id
        assert part.as_dict() == {
            "name": "job",
            "id": part.id,
            "parent": chunk.id,
            "run_id": "r",
            "chunk": 3,
            "job": "contact:2",
            "status": "Importing",
        }
        assert len({run.id, chunk.id, part.id, alone.id}) == 4

    copy_context().run(within)
    assert Scope.current() is None


def test_the_outcomes_of_an_event() -> None:
    """As counts, of which those that are not known are 0."""
    assert (
        Event(name="chunk.settled", rows=3, accepted=2, unknown=1).counts.summary() == "3 rows: 2 accepted, 1 unknown"
    )
