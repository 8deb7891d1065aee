"""Tasks that the event loop must not lose, and that end in order even if a caller is cancelled.

An event loop holds its tasks weakly, and a host may cancel whatever waits for them: once (``asyncio.timeout``), twice,
or at each of its awaits (the cancel scopes of anyio). So what has to be ended in order runs in a task of its own, which
is kept here until it has ended, and is waited for as far as the host lets it.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")
_KEPT: set[asyncio.Task[Any]] = set()


def keep(work: Coroutine[Any, Any, _T], name: str | None = None) -> "asyncio.Task[_T]":
    """Run a coroutine in a task that is kept until it has ended."""
    task = asyncio.create_task(work, name=name)
    if not task.done():  # an eager task may have ended
        _KEPT.add(task)
        task.add_done_callback(_KEPT.discard)
    return task


async def finish(work: Coroutine[Any, Any, _T]) -> _T:
    """Run cleanup to its end, and wait for it. Cancelling ends the wait alone."""
    return await asyncio.shield(keep(work))


async def ended(tasks: Collection["asyncio.Future[Any]"]) -> None:
    """Wait until tasks have ended that end by themselves, also where this wait is cancelled meanwhile.

    A loop that shuts down cancels all tasks once, those that wait and those that they wait for.
    """
    cancelled: asyncio.CancelledError | None = None
    pending: Collection[asyncio.Future[Any]] = tasks
    while pending := [task for task in pending if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as again:
            cancelled = again
    if cancelled is not None:
        raise cancelled


@contextmanager
def reported(failed: Callable[[BaseException], object]) -> Iterator[None]:
    """Call a function with whatever is raised, and go on."""
    try:
        yield
    except BaseException as failure:  # noqa: BLE001  # whatever it is, it must not look as if all were well
        failed(failure)
