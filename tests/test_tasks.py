"""Tasks that are kept until they end, and cleanup that cancelling does not interrupt."""

import asyncio
import gc
import warnings
import weakref
from typing import Any

import pytest
from support import settled

from mjbulk import tasks
from mjbulk.errors import Error

pytestmark = [pytest.mark.smoke, pytest.mark.eager]


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

    tasks.keep(wait(), name="mjbulk x")
    await settled()
    gc.collect()
    assert [task.get_name() for task in tasks._KEPT] == ["mjbulk x"]
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
    await asyncio.wait({kept})
    await settled()
    assert not tasks._KEPT


async def test_cleanup_gives_its_result_and_its_error() -> None:
    """The caller that waits for it gets them."""
    event = asyncio.Event()
    event.set()
    assert await tasks.finish(_wait_for(event)) == "done"
    with pytest.raises(ValueError, match="no"):
        await tasks.finish(_fail())


@pytest.mark.parametrize(("kind", "logged"), [(Error, []), (ValueError, [ValueError])])
async def test_cleanup_that_fails_when_its_wait_was_cancelled(kind: type[Exception], logged: list[type]) -> None:
    """A sentence for the caller is not logged; a fault is."""
    said: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["exception"]))
    event = asyncio.Event()

    async def fail() -> None:
        await event.wait()
        raise kind("no")

    wait = asyncio.create_task(tasks.finish(fail()))
    await settled()
    wait.cancel()
    await asyncio.wait({wait})
    event.set()
    await settled()
    gc.collect()
    assert [type(one) for one in said] == logged


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


# What a host may do with tasks


async def test_work_begins_after_its_owner_holds_it() -> None:
    """An eager task would begin at once, and end before its owner holds it."""
    held: list[object] = []

    async def work() -> object:
        return held[0]

    held.append(tasks.keep(work()))
    assert await held[0] is held[0]  # type: ignore[misc]  # it can be awaited


async def test_work_that_is_cancelled_before_it_begins() -> None:
    """It never runs, nobody waits for it for ever, and Python does not complain that it was never awaited."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        running = tasks.keep(_fail())
        assert running.cancel()
        await asyncio.wait({running})
        gc.collect()
    assert (running.cancelled(), running.cancel()) == (True, False)


async def test_an_error_goes_to_who_waits_and_not_to_the_task() -> None:
    """Tools that watch tasks report those that end by an error."""
    watched = []
    loop = asyncio.get_running_loop()
    factory: Any = loop.get_task_factory() or (lambda loop, work, **more: asyncio.Task(work, loop=loop, **more))

    def watch(*args: Any, **more: Any) -> Any:
        watched.append(factory(*args, **more))
        return watched[-1]

    loop.set_task_factory(watch)
    running = tasks.keep(_fail())
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await running
    await settled()
    assert [task.exception() for task in watched] == [None]


async def test_an_error_that_nobody_waits_for_is_logged() -> None:
    """As that of any task."""
    said: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["exception"]))
    tasks.keep(_fail())
    await settled()
    gc.collect()
    assert [type(one) for one in said] == [ValueError]


async def test_a_task_that_has_ended_is_no_circle() -> None:
    """It is gone at once, with its error and all that its error holds: no garbage collection is needed."""
    gc.disable()
    try:
        failing, cancelled = tasks.keep(_fail()), tasks.keep(_nothing())
        cancelled.cancel()
        await asyncio.wait({failing, cancelled})
        assert str(failing.exception()) == "no"
        await settled()
        gone = [weakref.ref(failing), weakref.ref(cancelled)]
        del failing, cancelled
        assert [one() for one in gone] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_ends_the_loop(end: type[BaseException]) -> None:
    """As from any task."""

    async def stop() -> None:
        raise end

    async def main() -> None:
        await asyncio.wait({tasks.keep(stop())}, timeout=5)

    with pytest.raises(end):
        asyncio.run(main())
    assert not tasks._KEPT
    gc.collect()  # it is logged now, and not within ast.parse, where Python 3.11 would raise SystemError
