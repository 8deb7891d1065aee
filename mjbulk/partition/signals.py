"""What handlers of signals raise while an import is under way.

The ``execution_timeout`` of Airflow, the ``soft_time_limit`` of Celery and Ctrl-C are handlers that raise. Python calls
a handler between any two steps of the main thread. In an event loop, what it raises may end a single callback, and is
lost with it: the import would go on, without a limit. So it is kept here, the import is stopped in order, and then it
is raised.

While rows of the source are read, it is also raised at once: a source may block without end, and may raise anything.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

_Handler = Callable[[int, FrameType | None], Any]
_PACKAGE, _OF_SOURCES = "mjbulk.", "mjbulk.rows."


@contextmanager
def held_signals(stop: Callable[[], object]) -> Iterator[None]:
    """Keep what handlers raise, call ``stop``, and raise it at the end of the block. A second one is raised at once.

    In another thread than the main one, and in an interpreter within a program, this does nothing: no handler is called
    there.
    """
    raised: list[BaseException] = []

    def held(handler: _Handler) -> _Handler:
        def handle(number: int, frame: FrameType | None) -> None:
            try:
                handler(number, frame)
            except BaseException as why:
                raised.append(why)
                stop()
                if len(raised) > 1 or _reads_source(frame):
                    raise

        return handle

    before = _handlers() if threading.current_thread() is threading.main_thread() else {}
    ours = {number: held(handler) for number, handler in before.items()}
    try:
        with suppress(ValueError):  # of an interpreter within a program
            for number, handler in ours.items():
                signal.signal(number, handler)
        yield
    finally:
        for number, handler in ours.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, before[number])
        if raised:
            raise raised[0].with_traceback(None) from None


def _handlers() -> dict[int, _Handler]:
    """Give the handlers that are functions of Python."""
    found = {number: signal.getsignal(number) for number in signal.valid_signals()}
    return {number: handler for number, handler in found.items() if callable(handler)}


def _reads_source(frame: FrameType | None) -> bool:
    """Say whether the innermost frame of mjbulk is one that reads rows."""
    while frame is not None and not _name_of(frame).startswith(_PACKAGE):
        frame = frame.f_back
    return frame is not None and _name_of(frame).startswith(_OF_SOURCES)


def _name_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))
