"""The thread that reads a file: calls in their order, an end that waits for nobody."""

import asyncio
import threading
from typing import Any

import pytest

from mjbulk.rows.file_thread import FileThread


class Strange(BaseException):
    """What is no Exception."""


def raising(failure: BaseException) -> None:
    raise failure


async def thread_of(calls: FileThread) -> threading.Thread:
    """Give the thread in which calls are made."""
    thread: threading.Thread = await calls.ask(threading.current_thread)
    return thread


async def test_calls_are_made_in_one_thread() -> None:
    """It is the same for all calls, is no thread of the caller's, and does not keep the process alive."""
    calls = FileThread()
    first, second = await thread_of(calls), await thread_of(calls)
    assert first is second is not threading.current_thread()
    assert first.daemon
    calls.end()
    first.join(5)
    assert not first.is_alive()


@pytest.mark.parametrize("failure", [OSError, Strange])
async def test_what_a_call_raises_is_raised_for_the_caller(failure: Any) -> None:
    """Whatever it is, and the thread makes the next call after it."""
    calls = FileThread()
    with pytest.raises(failure):
        await calls.ask(raising, failure())
    assert await calls.ask(int, "7") == 7
    calls.end()


def test_a_thread_without_a_call_closes_at_once() -> None:
    """What is to be closed is closed in the thread that ends it."""
    closed_in = []
    FileThread().end(lambda: closed_in.append(threading.current_thread()))
    assert closed_in == [threading.current_thread()]


async def test_an_idle_thread_closes_at_once() -> None:
    """A thread whose calls have all come back closes at once too."""
    calls, closed_in = FileThread(), []
    await calls.ask(int)
    calls.end(lambda: closed_in.append(threading.current_thread()))
    assert closed_in == [threading.current_thread()]


async def test_nobody_waits_for_a_call_that_does_not_come_back() -> None:
    """The end does not wait for it; what was opened is closed in the thread, once the call has come back."""
    calls, reading, closed = FileThread(), threading.Event(), threading.Event()
    thread = await thread_of(calls)
    waiting = asyncio.create_task(calls.ask(reading.wait))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    calls.end(closed.set)
    assert not closed.is_set()
    reading.set()
    thread.join(5)
    assert (closed.is_set(), thread.is_alive()) == (True, False)
