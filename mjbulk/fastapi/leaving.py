"""When the server ends: it waits for answers that go on before it ends the lifespan, and these have to hear of it."""

import asyncio
import signal
from collections.abc import Callable

_LOOK = 0.1


def server_ends() -> bool:
    """Say whether uvicorn was asked to end: its signal handler is a method of the server, which knows."""
    handlers = (signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT))
    return any(getattr(getattr(handler, "__self__", None), "should_exit", False) is True for handler in handlers)


async def when_server_ends(call: Callable[[], object]) -> None:
    """Call a function when the server was asked to end."""
    while not server_ends():  # noqa: ASYNC110  # nothing tells it
        await asyncio.sleep(_LOOK)
    call()
