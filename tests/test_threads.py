"""The daemon thread: calls in their order, an end that waits for nobody."""

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from contextvars import ContextVar
from typing import Any

import pytest

from mjbulk.threads import DaemonThread

NAME = "mjbulk test"
WHO = ContextVar[str]("WHO")


class Strange(BaseException):
    """What is no Exception."""


def raising(failure: BaseException) -> None:
    raise failure


async def thread_of(calls: DaemonThread) -> threading.Thread:
    """Give the thread in which calls are made."""
    return await calls.ask(threading.current_thread)


async def test_calls_are_made_in_one_thread() -> None:
    """It is the same for all calls, is no thread of the caller's, and does not keep the process alive."""
    calls = DaemonThread(NAME)
    first, second = await thread_of(calls), await thread_of(calls)
    assert first is second is not threading.current_thread()
    assert (first.daemon, first.name) == (True, NAME)
    calls.end()
    first.join(5)
    assert not first.is_alive()


async def test_calls_are_made_in_their_order() -> None:
    """Each begins after the one before it has come back, and all callers have their answers."""
    calls, made = DaemonThread(NAME), list[int]()
    await asyncio.gather(*(calls.ask(made.append, number) for number in range(100)))
    calls.end()
    assert made == list(range(100))


def test_no_thread_starts_without_a_call() -> None:
    """One that is made and never used has none."""
    before = threading.active_count()
    calls = DaemonThread(NAME)
    calls.end()
    assert threading.active_count() == before


async def test_a_call_sees_the_context_of_its_caller() -> None:
    """As with asyncio.to_thread."""
    calls = DaemonThread(NAME)
    for who in ("ann", "bob"):
        WHO.set(who)
        assert await calls.ask(WHO.get) == who
    calls.end()


@pytest.mark.parametrize("failure", [OSError, Strange])
async def test_what_a_call_raises_is_raised_for_the_caller(failure: Any) -> None:
    """Whatever it is, and the thread makes the next call after it."""
    calls = DaemonThread(NAME)
    with pytest.raises(failure):
        await calls.ask(raising, failure())
    assert await calls.ask(int, "7") == 7
    calls.end()


def test_a_thread_without_a_call_closes_at_once() -> None:
    """What is to be closed is closed in the thread that ends it."""
    closed_in = []
    DaemonThread(NAME).end(lambda: closed_in.append(threading.current_thread()))
    assert closed_in == [threading.current_thread()]


async def test_an_idle_thread_closes_at_once() -> None:
    """A thread whose calls have all come back closes at once too, and takes no call after that."""
    calls, closed_in = DaemonThread(NAME), []
    await calls.ask(int)
    calls.end(lambda: closed_in.append(threading.current_thread()))
    assert closed_in == [threading.current_thread()]
    with pytest.raises(RuntimeError, match="was ended"):
        await calls.ask(int)


async def test_nobody_waits_for_a_call_that_does_not_come_back() -> None:
    """The end does not wait for it; what was opened is closed in the thread, once the call has come back."""
    calls, reading, closed = DaemonThread(NAME), threading.Event(), threading.Event()
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


async def test_a_thread_that_is_forgotten_ends() -> None:
    """And it keeps nothing of a call that it has made."""
    calls, argument = DaemonThread(NAME), Strange()
    gone = weakref.ref(argument)
    thread = await thread_of(calls)
    await calls.ask(id, argument)
    await calls.ask(int)
    del argument
    assert gone() is None
    del calls
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()


def test_the_program_ends_while_a_call_is_under_way() -> None:
    """Nothing joins the thread: neither the loop that ends nor the interpreter."""
    code = (
        "import asyncio, time\nfrom mjbulk.threads import DaemonThread\n"
        "async def main():\n await asyncio.wait_for(DaemonThread('').ask(time.sleep, 60), 0.05)\n"
        "try: asyncio.run(main())\nexcept TimeoutError: print('timeout')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert (done.stdout, done.stderr) == ("timeout\n", "")
