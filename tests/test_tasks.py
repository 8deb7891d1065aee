"""Tasks that are kept until they end, and cleanup that cancelling does not interrupt."""

import asyncio
import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest
from support import settled

from mjbulk import tasks
from mjbulk.testing import VirtualClockLoop


async def _wait_for(event: asyncio.Event) -> str:
    await event.wait()
    return "done"


async def _fail() -> None:
    raise ValueError("no")


async def _nothing() -> None:
    """Do nothing."""


async def test_a_task_is_kept_that_nobody_else_holds() -> None:
    """An event loop holds its tasks weakly: one that only waits could be collected with what it waits for."""
    ended: list[str] = []

    async def wait() -> None:
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(5, event.set)
        await event.wait()
        ended.append("yes")

    name = tasks.keep(wait(), name="mjbulk x").get_name()
    gc.collect()
    assert name == "mjbulk x"
    assert len(tasks._KEPT) == 1
    await asyncio.sleep(6)
    assert (ended, len(tasks._KEPT)) == (["yes"], 0)


async def test_a_task_that_fails_or_is_cancelled_is_not_kept() -> None:
    """It has ended."""
    failing, cancelled = tasks.keep(_fail()), tasks.keep(asyncio.sleep(1e6))
    await settled()
    cancelled.cancel()
    with pytest.raises(ValueError, match="no"):
        await failing
    await asyncio.wait({cancelled})
    assert not tasks._KEPT


async def test_cleanup_goes_on_when_its_wait_is_cancelled() -> None:
    """Once, twice, or at every await."""
    event = asyncio.Event()
    wait = asyncio.create_task(tasks.finish(_wait_for(event)))
    await settled()
    wait.cancel()
    await settled()
    wait.cancel()
    await asyncio.wait({wait})
    assert wait.cancelled()
    (kept,) = tasks._KEPT
    event.set()
    assert await kept == "done"


async def test_cleanup_gives_its_result_and_its_error() -> None:
    """The caller that waits for it gets them."""
    event = asyncio.Event()
    event.set()
    assert await tasks.finish(_wait_for(event)) == "done"
    with pytest.raises(ValueError, match="no"):
        await tasks.finish(_fail())


async def test_what_ends_by_itself_is_waited_for_also_when_that_is_cancelled() -> None:
    """The wait is cancelled when all have ended, and not before."""
    first, second = asyncio.Event(), asyncio.Event()
    those = [asyncio.create_task(_wait_for(event)) for event in (first, second)]
    wait = asyncio.create_task(tasks.ended(those))
    for event in (first, second):
        await settled()
        wait.cancel()
        await settled()
        assert not wait.done()
        event.set()
    await asyncio.wait({wait})
    assert wait.cancelled()
    assert [await one for one in those] == ["done", "done"]


async def test_nobody_is_waited_for_where_all_have_ended() -> None:
    """However they ended: errors stay with their tasks."""
    failing, gone = asyncio.create_task(_fail()), asyncio.create_task(asyncio.sleep(1e6))
    await asyncio.sleep(0)
    gone.cancel()
    await tasks.ended([failing, gone])
    await tasks.ended([])
    assert (str(failing.exception()), gone.cancelled()) == ("no", True)


def _virtual() -> asyncio.AbstractEventLoop:
    return VirtualClockLoop()


LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [_virtual]
if sys.version_info >= (3, 12):

    def _eager() -> asyncio.AbstractEventLoop:
        loop = VirtualClockLoop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    LOOPS.append(_eager)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_task_that_ends_at_once_is_not_kept(loop: Any) -> None:
    """A task factory may run it up to its first wait, or to its end, before anybody holds it."""

    async def story() -> list[int]:
        event = asyncio.Event()
        ended, waits = tasks.keep(_nothing()), tasks.keep(_wait_for(event))
        await settled()
        kept = [len(tasks._KEPT)]
        event.set()
        await waits
        await asyncio.sleep(0)
        assert ended.done()
        return [*kept, len(tasks._KEPT)]

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(story()) == [1, 0]
