"""The virtual clock: what jumps, what is waited for, and what is called a deadlock."""

import asyncio
import inspect
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import mjbulk
from mjbulk.testing import Emulator, Knobs, VirtualClockLoop

pytestmark = pytest.mark.smoke

DAY = 86_400.0


def run(main: Coroutine[Any, Any, Any], max_real_wait: float = 5.0) -> Any:
    with asyncio.Runner(loop_factory=lambda: VirtualClockLoop(max_real_wait)) as runner:
        return runner.run(main)


def test_a_day_takes_no_time() -> None:
    """A sleep moves the loop's clock by its length, and the real clock by next to nothing."""
    began = time.monotonic()

    async def sleep() -> float:
        await asyncio.sleep(DAY)
        return asyncio.get_running_loop().time()

    assert run(sleep()) == DAY
    assert time.monotonic() - began < 5.0


def test_timers_come_in_their_order_at_their_times() -> None:
    """Each timer sees the time for which it was set, whatever was set before it."""
    seen: list[float] = []

    async def note(after: float) -> None:
        await asyncio.sleep(after)
        seen.append(asyncio.get_running_loop().time())

    async def all_of_them() -> None:
        await asyncio.gather(*map(note, [DAY, 0.001, 3.0, 2.0, 3.0]))

    run(all_of_them())
    assert seen == [0.001, 2.0, 3.0, 3.0, DAY]


def test_a_timeout_ends_a_wait_without_end() -> None:
    """A timeout is a timer: it is reached at once, at its time."""

    async def wait() -> float:
        with suppress(TimeoutError):
            async with asyncio.timeout(DAY):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run(wait()) == DAY


def test_no_time_passes_while_a_thread_works() -> None:
    """The loop waits for a thread for longer than it would be idle, and the timers wait with it."""

    async def work() -> tuple[str, float]:
        timer = asyncio.create_task(asyncio.sleep(DAY))
        await asyncio.to_thread(time.sleep, 0.05)
        first = "timer" if timer.done() else "thread"
        await timer
        return first, asyncio.get_running_loop().time()

    assert run(work(), max_real_wait=0.01) == ("thread", DAY)


def test_a_thread_that_the_loop_did_not_start_can_wake_it() -> None:
    """Where no timer is set, the loop waits for a call from any thread."""

    async def wait() -> float:
        loop, called = asyncio.get_running_loop(), asyncio.Event()
        thread = threading.Timer(0.05, loop.call_soon_threadsafe, [called.set])
        thread.start()
        await called.wait()
        return loop.time()

    assert run(wait()) == 0.0


def test_a_deadlock_is_an_error() -> None:
    """Where nothing can ever happen the loop says so, and does not hang."""
    with pytest.raises(RuntimeError, match="a deadlock in virtual time"):
        run(asyncio.Event().wait(), max_real_wait=0.01)


def test_an_import_whose_job_takes_a_day() -> None:
    """An emulator in the same loop has the same clock: an import over real sockets waits a day for its job."""

    async def go() -> tuple[int, float]:
        async with Emulator(Knobs(queue_seconds=DAY)) as emulator:
            settings = mjbulk.Settings(api_url=emulator.url)
            async with mjbulk.Client(mjbulk.Credentials("a", "b"), settings) as client:
                report = await client.import_contacts([{"email": "a@example.org"}], lists={1: "addnoforce"})
            return report.accepted, report.seconds

    accepted, seconds = run(go())
    assert accepted == 1
    assert DAY <= seconds < 1.2 * DAY


def example() -> str:
    """Give the code of the docstring."""
    text = inspect.getdoc(VirtualClockLoop) or ""
    return textwrap.dedent(text.partition("::\n")[2].partition("Without pytest")[0])


TESTS = """
import asyncio

async def test_a_day():
    await asyncio.sleep(86_400)
    assert asyncio.get_running_loop().time() == 86_400
"""


def test_its_example_for_pytest(tmp_path: Path) -> None:
    """The lines of the docstring, as a conftest.py, let a test of pytest-asyncio sleep for a day."""
    (tmp_path / "conftest.py").write_text(example())
    (tmp_path / "test_a_day.py").write_text(TESTS)
    options = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, "-o", "asyncio_mode=auto"]
    command = [sys.executable, "-m", "pytest", *options, "test_a_day.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, "1 passed" in ended.stdout) == (0, True), ended.stdout
