"""A thread for calls that may never come back, and that nobody waits for.

To open a pipe, or to read a file on a network or a server's socket, may take forever. The threads of
``asyncio.to_thread``, and of every executor in ``concurrent.futures``, are joined when the loop or the program ends:
one such call would keep the program alive. The thread here is a daemon. A caller that is cancelled abandons its call,
and the program ends while the call is still under way.
"""

import asyncio
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

_T = TypeVar("_T")
_Asked = SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
"""The calls that a thread has to make; None ends it."""


class DaemonThread(Executor):
    """A daemon thread that makes one call after the other, in their order. It starts with the first one.

    Mutable state: the queue of calls, the future of the last one, and whether it has started and ended.
    """

    def __init__(self, name: str) -> None:
        """Start no thread yet; ``name`` is its name."""
        self._name = name
        self._asked = _Asked()
        self._last: Future[Any] | None = None
        self.ended = False
        """Whether `end` was called: a call under way may look, and come back."""

    def submit(self, call: Callable[..., _T], /, *args: Any, **named: Any) -> "Future[_T]":
        """Have the thread make a call. The call cannot be cancelled. Raises RuntimeError after `end`."""
        if self.ended:
            raise RuntimeError("this thread was ended")
        future = Future[_T]()
        future.set_running_or_notify_cancel()
        if self._last is None:
            Thread(target=_work, args=(self._asked,), name=self._name, daemon=True).start()
            weakref.finalize(self, self._asked.put, None).atexit = False  # it ends if it is forgotten, too
        self._last = future
        self._asked.put((future, partial(call, *args, **named)))
        return future

    async def ask(self, call: Callable[..., _T], *args: Any) -> _T:
        """Wait until the thread has made a call, and give its result. Cancelling ends the wait alone.

        As with ``asyncio.to_thread``, the call sees the context variables of the caller.
        """
        run: Callable[..., _T] = copy_context().run
        return await asyncio.get_running_loop().run_in_executor(self, partial(run, call, *args))

    def end(self, close: Callable[[], object] = lambda: None) -> None:
        """End the thread after the calls so far, and wait for nothing.

        ``close`` is called after them: here and at once if all have come back, else in the thread.
        """
        if self._last is None or self._last.done():
            close()
        else:
            self.submit(close)
        self.ended = True
        self._asked.put(None)


def _work(asked: _Asked) -> None:
    """Make the calls. It holds no reference to the `DaemonThread`, nor to a call that was made."""
    while (one := asked.get()) is not None:
        future, call = one
        try:
            future.set_result(call())
        except BaseException as why:  # noqa: BLE001  # whatever it is, it belongs to the caller
            future.set_exception(why)
        del one, future, call
