"""What is kept out of the frames of an exception, and what stays there."""

import asyncio
import copy
import inspect
import pickle
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from types import FunctionType
from typing import Any

import pytest

from mjbulk.discreet import Hidden, Secret, discreet, forget
from mjbulk.errors import Error
from mjbulk.tasks import keep


def of_mjbulk(function: Any) -> Any:
    """Let a function be one of mjbulk: what it is called with may go."""
    home = {**function.__globals__, "__name__": "mjbulk.test"}
    return FunctionType(function.__code__, home, function.__name__, function.__defaults__, function.__closure__)


def variables(error: BaseException, name: str) -> list[Any]:
    """Give the variables of the frames of a function in the traceback of an exception."""
    found, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == name:
            found.append(dict(trace.tb_frame.f_locals))
        trace = trace.tb_next
    return found


def fails(data: str, error: type[BaseException] = ValueError) -> None:
    raise error


ours = of_mjbulk(fails)


def test_texts_and_bytes_that_are_not_shown() -> None:
    """Neither they nor a part of them is in a repr; they are what they were."""
    secret, hidden = Secret("canary"), Hidden(b"canary")
    for shown in (secret, secret[:3], [secret], {secret: secret}, hidden, hidden[:3], (hidden,)):
        assert "can" not in repr(shown)
    assert "can" not in str(hidden)
    assert (f"{secret}!", secret[0], hidden[0], bytes(hidden)) == ("canary!", "c", ord("c"), b"canary")
    assert b"".join([hidden, hidden]) == b"canarycanary"
    assert pickle.loads(pickle.dumps(hidden)) == copy.copy(hidden) == b"canary"


def test_a_plain_call() -> None:
    """Its own variables go, and those of plain functions of mjbulk below it; those of callers and others stay."""

    def caller(data: str) -> None:
        discreet(of_mjbulk(called))(data)

    def called(data: str) -> None:
        (ours if data == "ours" else fails)(data)

    for data, left in (("ours", {}), ("others", {"data": "others", "error": ValueError})):
        with pytest.raises(ValueError) as caught:
            caller(data)
        assert variables(caught.value, "called") == [{}]
        assert variables(caught.value, "fails") == [left]
        assert variables(caught.value, "caller")[0]["data"] == data


async def test_a_coroutine() -> None:
    """Its variables go when it ends by an exception, and when it is cancelled."""

    async def waits(data: str) -> None:
        await asyncio.sleep(10 if data == "long" else 0)
        ours(data)

    for data, kind in (("long", TimeoutError), ("short", ValueError)):
        with pytest.raises(kind) as caught:
            async with asyncio.timeout(1):
                await discreet(waits)(data)
        cause = caught.value.__cause__ or caught.value.__context__ or caught.value
        assert variables(cause, "waits") == [{}]
    if sys.version_info >= (3, 12):
        assert inspect.iscoroutinefunction(discreet(waits))
    assert discreet(waits).__name__ == "waits"
    assert inspect.signature(discreet(waits)) == inspect.signature(waits)


async def test_a_coroutine_has_the_name_of_its_call() -> None:
    """Python's warning of one that was never awaited names what was called, and so does the repr of a task."""

    @discreet
    async def import_contacts() -> None: ...

    work: Any = import_contacts()
    assert work.__qualname__ == import_contacts.__qualname__
    await work


async def test_an_async_generator() -> None:
    """Its variables go, and so does the last of its items; one that is left early is closed at once."""
    closed = []

    async def items(data: str) -> AsyncIterator[str]:
        try:
            yield data
            await asyncio.sleep(0)
            raise ValueError
        finally:
            closed.append(data)

    async def read() -> list[str]:
        return [item async for item in discreet(items)("all")]

    with pytest.raises(ValueError) as caught:
        await read()
    assert variables(caught.value, "items") == [{}]
    assert "all" not in str(variables(caught.value, "_iterated"))
    async with aclosing(discreet(items)("one")) as some:  # type: ignore[type-var]
        async for _ in some:
            break
    assert closed == ["all", "one"]


def test_what_an_exception_came_from() -> None:
    """A cause stays, and its frames are cleared too. What an error of mjbulk replaced does not stay."""

    def raised(make: Callable[[], Any]) -> BaseException:
        with pytest.raises(Exception) as caught:
            make()
        forget(caught.value)
        return caught.value

    def replaced() -> None:
        try:
            ours("x")
        except ValueError:
            raise Error("told") from None

    def caused() -> None:
        try:
            ours("x")
        except ValueError as why:
            raise Error("told") from why

    def grouped() -> None:
        try:
            ours("x")
        except ValueError as why:
            raise ExceptionGroup("some", [why]) from None

    assert raised(replaced).__context__ is None
    cause = raised(caused).__cause__
    assert cause is not None
    assert variables(cause, "fails") == [{}]
    group = raised(grouped)
    assert isinstance(group, ExceptionGroup)
    assert isinstance(group.__context__, ValueError)
    assert variables(group.exceptions[0], "fails") == [{}]


async def test_a_task() -> None:
    """A task that fails keeps nothing either."""

    async def work() -> None:
        ours("x")

    with pytest.raises(ValueError) as caught:
        await keep(work())
    assert variables(caught.value, "fails") == [{}]
