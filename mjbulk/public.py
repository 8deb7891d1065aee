"""What is public says that it comes from the package that users import it from, wherever it is defined.

So a pickle, a traceback and a repr name ``mjbulk.Report``, and survive every later move of the code.

This needs one correction. `inspect` looks for the source of a class in the file of the module that the class
names, here ``mjbulk/__init__.py``, and reads that file through `linecache`. So the lines that `linecache` has of it go
on, after its own, with those of the modules in which public classes are defined. They are read when somebody asks for a
source, and not before.
"""

import linecache
import sys
import tokenize
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeVar, overload

_T = TypeVar("_T", bound=Any)
_ROOM = 1000
"""Lines that each file has room for: more than any has."""
_FACES = ("airflow", "fastapi", "partition", "testing")
"""Packages that have public names of their own."""
_SEAM = "# What follows stands in other files: the modules in which public classes are defined.\n"


def public(thing: _T) -> _T:
    """Let a class or a function say that it comes from ``mjbulk``, or from a package of `_FACES` if it stands there."""
    home = sys.modules[thing.__module__]
    package, name, *_ = home.__name__.split(".")
    face = sys.modules[f"{package}.{name}" if name in _FACES else package]
    line = vars(thing).get("__firstlineno__")  # from Python 3.13 on; it goes where __module__ is set
    thing.__module__ = face.__name__
    setattr(face, thing.__name__, thing)  # type hints in quotes are looked up there
    if isinstance(thing, type):
        before = _lines_of(str(face.__file__)).before(str(home.__file__))
        if line is not None:
            thing.__firstlineno__ = line + before  # type: ignore[attr-defined]  # it can be set
    return thing


class _Lines(Sequence[str]):
    """The lines of several files, each from the next multiple of `_ROOM` on."""

    def __init__(self, file: str) -> None:
        self._files = [file]

    def before(self, file: str) -> int:
        """Give how many lines stand before those of a file, which is added where it is not there yet."""
        if file not in self._files:
            self._files.append(file)
        return _ROOM * self._files.index(file)

    def __len__(self) -> int:
        return len(_joined(*self._files))

    def __iter__(self) -> Iterator[str]:
        return iter(_joined(*self._files))

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return _joined(*self._files)[index]


@lru_cache(maxsize=2)
def _joined(*files: str) -> Sequence[str]:
    lines: list[str] = []
    for number, file in enumerate(files):
        lines += [_SEAM, *["\n"] * _ROOM][: _ROOM * number - len(lines)]
        with suppress(OSError), tokenize.open(file) as source:  # it may have been delivered without its source
            lines += source
    return lines


@lru_cache
def _lines_of(face: str) -> _Lines:
    """Give the lines that `linecache` has of the file of a package from now on."""
    lines = _Lines(face)
    linecache.cache[face] = (0, None, lines, face)  # type: ignore[assignment]  # it asks for a list, and reads it only
    return lines
