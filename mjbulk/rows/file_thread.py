"""A thread that opens and reads one file, and that nobody waits for."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any


class FileThread(Executor):
    """A daemon thread that makes one call after the other. To open or read a pipe may take forever: neither a run nor
    the end of the program waits for it.

    Mutable state: the queue of calls, and the future of the last one.
    """

    def __init__(self) -> None:
        self._last: Future[Any] | None = None
        self._asked: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        Thread(target=self._work, name="mjbulk-file", daemon=True).start()

    def submit(self, call: Callable[..., Any], /, *args: Any, **named: Any) -> "Future[Any]":
        """Have the thread make a call. The call cannot be cancelled."""
        self._last = future = Future[Any]()
        future.set_running_or_notify_cancel()
        self._asked.put((future, partial(call, *args, **named)))
        return future

    async def ask(self, call: Callable[..., Any], *args: Any) -> Any:
        """Wait until the thread has made a call, and give its result."""
        return await asyncio.get_running_loop().run_in_executor(self, call, *args)

    def end(self, close: Callable[[], object] = lambda: None) -> None:
        """End the thread after the call under way, and then ``close`` what was opened: at once where there is none."""
        if self._last is None or self._last.done():
            close()
        else:
            self.submit(close)
        self._asked.put(None)

    def _work(self) -> None:
        for future, call in iter(self._asked.get, None):
            try:
                future.set_result(call())
            except BaseException as why:  # noqa: BLE001  # whatever it is, it belongs to the caller
                future.set_exception(why)
