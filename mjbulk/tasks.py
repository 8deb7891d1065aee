"""Tasks that the event loop must not lose, and that end in order even if a caller is cancelled.

An event loop holds its tasks weakly, and a host may cancel whatever waits for them: once (``asyncio.timeout``), twice,
or at each of its awaits (the cancel scopes of anyio). So what has to be ended in order runs in a task of its own, which
is kept here until it has ended, and is waited for as far as the host lets it.

A host may also set how tasks are made: eager ones, or ones that are watched. So every task of mjbulk is a `Running`,
for which that makes no difference.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from mjbulk.discreet import forget
from mjbulk.errors import Error, UsageError

_T = TypeVar("_T")
_KEPT: set[asyncio.Task[None]] = set()


class Running(asyncio.Future[_T]):
    """A coroutine in a task of its own: it can be awaited, waited for and cancelled as a task can. `keep` makes it.

    Three things differ from a task of asyncio:

    - The coroutine begins after `keep` has returned. An eager task begins at once: it could end before its owner holds
      it, or change what its owner is about to change.
    - The task is kept until it has ended.
    - The task never ends by an exception: the callers that wait here get it. A tool that watches tasks, such as Sentry,
      would report an exception of the task itself, even if those callers handle it.
    """

    def __init__(self, work: Coroutine[Any, Any, _T], name: str | None) -> None:
        """Start the task in the loop that runs."""
        super().__init__(loop=asyncio.get_running_loop())
        self._is_held = False
        self._task = asyncio.create_task(self._run(work), name=name)  # noqa: TID251  # see the class
        self._is_held = True
        _KEPT.add(self._task)
        self._task.add_done_callback(lambda task: self._let_go(task, work))

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the task. A caller that waits here goes on when it has ended."""
        return not self.done() and self._task.cancel(msg)

    async def _run(self, work: Coroutine[Any, Any, _T]) -> None:
        try:
            if not self._is_held:
                await asyncio.sleep(0)
            self.set_result(await work)
        except asyncio.CancelledError:
            super().cancel()
            raise
        except BaseException as failure:
            forget(failure)
            self.set_exception(failure)
            if isinstance(failure, KeyboardInterrupt | SystemExit):
                raise  # it ends the loop
        finally:
            del self  # the exception has this frame, and would hold itself

    def _let_go(self, task: asyncio.Task[None], work: Coroutine[Any, Any, _T]) -> None:
        """Forget a task that has ended. If it was cancelled before it began, end its coroutine too."""
        _KEPT.discard(task)
        del self._task
        if not task.cancelled():
            task.exception()  # asyncio would log an error that is never retrieved
        work.close()
        if not self.done():
            super().cancel()


def keep(work: Coroutine[Any, Any, _T], name: str | None = None) -> Running[_T]:
    """Run a coroutine in a task of its own. It begins after this call."""
    return Running(work, name)


async def finish(work: Coroutine[Any, Any, _T]) -> _T:
    """Run cleanup to its end, and wait for it. Cancelling ends the wait alone."""
    cleanup = keep(work)
    try:
        return await asyncio.shield(cleanup)
    except asyncio.CancelledError:
        cleanup.add_done_callback(_hear)
        raise


def _hear(cleanup: "asyncio.Future[Any]") -> None:
    """Hear how cleanup has ended for which no caller waits any more. An Error is a sentence for that caller, and no
    fault to be logged.
    """
    failure = None if cleanup.cancelled() else cleanup.exception()
    if failure is not None and not isinstance(failure, Error):
        cleanup.get_loop().call_exception_handler({"message": "cleanup has failed", "exception": failure})


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


def is_stray() -> bool:
    """Tell, where a CancelledError was caught, that this task was not cancelled: what it called has raised it."""
    task = asyncio.current_task()
    return task is not None and not task.cancelling()


class Home:
    """The event loop to which something belongs: the first one in which it is used. Mutable state: that loop."""

    def __init__(self, what: str) -> None:
        """Belong to no loop yet. ``what`` is its name in errors, such as ``this client``."""
        self._what = what
        self._loop: asyncio.AbstractEventLoop | None = None

    def check(self) -> None:
        """Raise UsageError in any other loop, and if asyncio runs none."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise UsageError(
                f"{self._what} needs an event loop of asyncio, and none runs here: use asyncio.run (trio has others)"
            ) from None
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            ended = "an event loop that has ended: make another one here"
            other = "another event loop: use it and close it there"
            raise UsageError(f"{self._what} belongs to {ended if self._loop.is_closed() else other}")

    def leave(self) -> bool:
        """Belong to no loop any more. Give False, and do nothing, where it belongs to another one than runs here."""
        if self._loop not in (None, asyncio.get_running_loop()):
            return False
        self._loop = None
        return True


class Alarm:
    """Has a function called once, at a time of the event loop. Mutable state: that time."""

    def __init__(self, call: Callable[[], object]) -> None:
        """Set no time yet."""
        self._call = call
        self._handle: asyncio.TimerHandle | None = None

    def set(self, when: float | None) -> None:
        """Set another time in place of the one that was set; None for none."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None if when is None else asyncio.get_running_loop().call_at(when, self._call)


class Deadline:
    """The end of a time in which several steps have to be done."""

    def __init__(self, seconds: float) -> None:
        """Let the time begin."""
        self._end = asyncio.get_running_loop().time() + seconds

    def left(self) -> float:
        """Give the seconds that are left: one at least, so that a last step is not cut short."""
        return max(self._end - asyncio.get_running_loop().time(), 1.0)


@contextmanager
def reported(failed: Callable[[BaseException], object]) -> Iterator[None]:
    """Call a function with whatever is raised, and go on."""
    try:
        yield
    except BaseException as failure:  # noqa: BLE001  # whatever it is, it must not look as if all were well
        failed(failure)
