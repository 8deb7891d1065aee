"""What tools may see that show the local variables of an exception, as Sentry, loguru, rich and pytest do.

They show each frame of a traceback, and so the rows, bodies and keys in it. Three things keep these out:

- Calls that users make are `discreet`: when one ends by an exception, its own variables, and those of all plain
  functions below it, are dropped before anybody sees the traceback.
- What waits is a coroutine or a generator, whose frame may still be in use: it holds bodies and secrets in types whose
  repr shows nothing, which are here.
- An exception of mjbulk that is raised ``from None`` does not keep the one before it.
"""

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing, suppress
from functools import wraps
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, isasyncgenfunction, iscoroutinefunction
from types import FrameType, TracebackType
from typing import Any, SupportsIndex, TypeVar, cast

from mjbulk.errors import Error

_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")
_C = TypeVar("_C", bound=type[Any])
_PACKAGE = __name__.partition(".")[0]
_MAY_GO_ON = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR


class Secret(str):
    """A text that its repr does not show. A part of it is a secret too."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __getitem__(self, key: SupportsIndex | slice, /) -> str:
        return Secret(super().__getitem__(key))


class Hidden(bytes):
    """Bytes that their repr does not show. A part of them is hidden too; ``[:]`` gives plain ones, for orjson."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"

    __str__ = __repr__

    def __getitem__(self, key: Any, /) -> Any:
        part = super().__getitem__(key)
        if key == slice(None):
            return bytes(part)
        return Hidden(part) if isinstance(part, bytes) else part


def forget(error: BaseException) -> None:
    """Drop what plain functions of mjbulk have in the tracebacks of an exception, and of those that it came from."""
    for one in _all(error):
        if isinstance(one, Error) and one.__suppress_context__:
            one.__context__ = None
        _clear(one.__traceback__)


def _all(error: BaseException) -> Iterator[BaseException]:
    pending, seen = [error], set[int]()
    while pending:
        one = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        pending += [other for other in (one.__cause__, one.__context__) if other is not None]
        if isinstance(one, BaseExceptionGroup):
            pending += one.exceptions


def _clear(trace: TracebackType | None) -> None:
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        if _is_ours(frame) and not frame.f_code.co_flags & _MAY_GO_ON:
            with suppress(RuntimeError):  # it runs: what it has is wanted
                frame.clear()


def _is_ours(frame: FrameType) -> bool:
    """Say whether a frame is of mjbulk, or of what attrs has made for a class of it."""
    made = frame.f_code.co_filename
    home = made.rpartition(" ")[2] if made.startswith("<attrs ") else str(frame.f_globals.get("__name__"))
    return home.partition(".")[0] == _PACKAGE


def discreet(call: _F) -> _F:
    """Make a call that leaves nobody's data in the traceback of an exception."""
    if isasyncgenfunction(call):
        return cast("_F", wraps(call)(lambda *args, **kwargs: _iterated(call(*args, **kwargs))))
    if iscoroutinefunction(call):
        made = wraps(call)(lambda *args, **kwargs: _named(awaited(call(*args, **kwargs)), call))
        mark = getattr(inspect, "markcoroutinefunction", None)  # from Python 3.12 on
        return cast("_F", made if mark is None else mark(made))

    @wraps(call)
    def plain(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except BaseException as error:
            del args, kwargs
            forget(error)
            raise

    return cast("_F", plain)


def _named(work: Coroutine[Any, Any, _T], call: Callable[..., Any]) -> Coroutine[Any, Any, _T]:
    """Name a coroutine after its call, as Python does in its warning of one that was never awaited."""
    cast("Any", work).__qualname__ = call.__qualname__
    return work


async def awaited(work: Coroutine[Any, Any, _T]) -> _T:
    """Await a coroutine. If it raises, drop its variables: it has ended."""
    frame = cast("Any", work).cr_frame
    try:
        return await work
    except BaseException as error:
        frame.clear()
        forget(error)
        raise


async def _iterated(items: AsyncGenerator[_T, None]) -> AsyncGenerator[_T, None]:
    frame = cast("Any", items).ag_frame
    try:
        async with aclosing(items):
            async for item in items:
                yield item
    except BaseException as error:
        item = None
        with suppress(RuntimeError):
            frame.clear()
        forget(error)
        raise


def discreet_init(cls: _C) -> _C:
    """Make the constructor of a class `discreet`."""
    cls.__init__ = discreet(cls.__init__)  # attrs has written it
    return cls
