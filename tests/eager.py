"""Eager tasks: they run up to their first wait before ``create_task`` returns, and may end by then.

Python 3.12 has a task factory for them. On Python 3.11 a stand-in does the same with a task that is written in Python.
"""

import asyncio
from asyncio import tasks
from typing import Any

from mjbulk.testing import VirtualClockLoop


def _stand_in(loop: Any, work: Any, **more: Any) -> Any:
    private: Any = tasks
    task = private._PyTask(work, loop=loop, **more)
    if not loop.is_running():
        return task
    loop._ready.pop()  # its first step, which is taken here
    caller = asyncio.current_task(loop)
    if caller is not None:
        private._leave_task(loop, caller)
    try:
        task._context.run(task._Task__step)
    finally:
        if caller is not None:
            private._enter_task(loop, caller)
    return task


FACTORY: Any = getattr(asyncio, "eager_task_factory", _stand_in)


def eager_loop() -> asyncio.AbstractEventLoop:
    """Make a loop of asyncio's own with eager tasks."""
    return _with_eager_tasks(asyncio.SelectorEventLoop())


def eager_virtual_loop() -> asyncio.AbstractEventLoop:
    """Make a loop with a virtual clock and eager tasks."""
    return _with_eager_tasks(VirtualClockLoop())


def _with_eager_tasks(loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
    loop.set_task_factory(FACTORY)
    return loop
