"""What tools find that show the local variables of an exception: Sentry, loguru, rich, structlog, pytest."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import mjbulk

HOME = str(Path(mjbulk.__file__).parent)
ADDRESS, NAME, VALUE = "canary.address@example.org", "CanaryName", "CanaryValue"
PUBLIC, PRIVATE = "canarypublic0123456789abcdef0123", "canaryprivate0123456789abcdef012"
PASSWORD = "canarypassword"
SIGNED = b64encode(f"{PUBLIC}:{PRIVATE}".encode()).decode()
CANARIES = (ADDRESS.partition("@")[0], NAME, VALUE, PUBLIC, PRIVATE, PASSWORD, SIGNED[:24])
ROW: dict[str, Any] = {"email": ADDRESS, "name": NAME, "city": VALUE}
_DEEPEST, _MOST = 6, 50


def exceptions_of(error: BaseException) -> Iterator[BaseException]:
    """Give an exception, what it came from, and the members of groups."""
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


def frames_of(error: BaseException) -> Iterator[FrameType]:
    """Give the frames of all of its tracebacks."""
    for one in exceptions_of(error):
        trace = one.__traceback__
        while trace is not None:
            yield trace.tb_frame
            trace = trace.tb_next


def shown(value: Any, depth: int = 0) -> Iterator[str]:
    """Give what a reporter shows of a value: containers by their members, anything else by its repr."""
    if depth < _DEEPEST and isinstance(value, Mapping):
        for key, item in list(value.items())[:_MOST]:
            yield from shown(key, depth + 1)
            yield from shown(item, depth + 1)
    elif depth < _DEEPEST and isinstance(value, list | tuple | set | frozenset):
        for item in list(value)[:_MOST]:
            yield from shown(item, depth + 1)
    else:
        try:
            yield repr(value)
            if isinstance(value, str | bytes):
                yield repr(value[:1000])  # rich cuts long ones before it shows them
        except Exception as why:  # noqa: BLE001  # Python's own TracebackException dies of it
            yield f"{CANARIES[0]}: its repr raises {type(why).__name__}"


def leaks(error: BaseException) -> list[str]:
    """Name what stands in an exception, and in local variables of the frames of mjbulk, and should not."""
    found = []
    for one in exceptions_of(error):
        if isinstance(one, mjbulk.Error):
            for what, text in {"str": str(one), "args": repr(one.args), "repr": repr(one)}.items():
                found += [f"{what} of {type(one).__name__}: {canary}" for canary in CANARIES if canary in text]
        notes = getattr(one, "__notes__", [])
        found += [f"a note of {type(one).__name__}: {canary}" for canary in CANARIES if canary in str(notes)]
    for frame in frames_of(error):
        file = frame.f_code.co_filename
        if file.startswith(HOME) or (file.startswith("<attrs") and "mjbulk" in file):
            for name, value in frame.f_locals.items():
                texts = "\n".join(shown(value))
                where = f"{file.removeprefix(HOME)}:{frame.f_code.co_name} {name}"
                found += [f"{where}: {canary}" for canary in CANARIES if canary in texts]
    return found
