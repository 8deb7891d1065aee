"""The documentation of the public calls: each name, method, field and error is described, and pdoc renders it."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support import extra

import mjbulk

DASK = ("mjbulk.dask",) if find_spec("distributed") else ()
PACKAGES = ("mjbulk", *DASK, "mjbulk.fastapi", "mjbulk.otel", "mjbulk.partition", "mjbulk.testing")
GUIDES = Path(mjbulk.__file__).parent / "guides"
NAMES = [(package, name) for package in PACKAGES for name in importlib.import_module(package).__all__]
CALLS = [name for _, name in NAMES if name in {"Client", "SessionPool", "JobWatcher", "ImportRun", "Ingester", "Plan"}]
FUNCTIONS = [name for name in mjbulk.__all__ if inspect.isroutine(getattr(mjbulk, name))]
RAISES = re.compile(r"\b[Rr]ais(es?|ing)\b|\bSee `|errors are those of")
UNITS = re.compile(r"second|byte|zone|number", re.IGNORECASE)

pytestmark = pytest.mark.unmeasured


def thing_of(package: str, name: str) -> Any:
    return getattr(importlib.import_module(package), name)


def members(cls: type) -> Iterator[tuple[str, str]]:
    """Give the public methods and properties of a class of ours, with their docstrings."""
    for name, member in inspect.getmembers(cls):
        described = isinstance(member, property) or inspect.isroutine(member)
        if described and not name.startswith("_") and name in {key for one in ours(cls) for key in vars(one)}:
            yield name, inspect.getdoc(member) or ""


def ours(cls: type) -> list[type]:
    return [one for one in cls.__mro__ if one.__module__.startswith("mjbulk")]


@cache
def bodies() -> dict[tuple[bool, str], list[ast.stmt]]:
    """Give the bodies of all classes by their names, of those of the emulator and of all others."""
    files = Path(mjbulk.__file__).parent.rglob("*.py")
    trees = [("testing" in file.parts, ast.parse(file.read_text(encoding="utf-8"))) for file in files]
    return {(fake, one.name): one.body for fake, tree in trees for one in tree.body if isinstance(one, ast.ClassDef)}


def fields(cls: type) -> dict[str, str]:
    """Give the annotated fields of a class of ours, with the texts below them."""
    found: dict[str, str] = {}
    for one in reversed(ours(cls)):
        body = bodies()["testing" in one.__module__, one.__name__]
        for field, below in zip(body, [*body[1:], None], strict=True):
            match field, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(text)):
                    found[name] = str(text)
                case ast.AnnAssign(target=ast.Name(name)), _:
                    found.setdefault(name, "")
    return {name: text for name, text in found.items() if not name.startswith("_")}


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_every_public_name_is_described(package: str, name: str) -> None:
    """A class with its methods and its fields; seconds and bytes have their units."""
    thing = thing_of(package, name)
    if not isinstance(thing, type):
        assert not inspect.isroutine(thing) or inspect.getdoc(thing)
        return
    assert vars(thing).get("__doc__")
    assert [method for method, text in members(thing) if not text] == []
    said = inspect.getdoc(thing) or ""
    texts = {field: text or (said if f"``{field}``" in said else "") for field, text in fields(thing).items()}
    assert [field for field, text in texts.items() if not text] == []
    timed = [name for name in texts if re.search(r"seconds|timeout|_bytes|^size$|^eta$", name)]
    assert [field for field in timed if not UNITS.search(texts[field])] == []


@pytest.mark.parametrize("name", CALLS)
def test_calls_say_what_they_raise(name: str) -> None:
    """Each call that is awaited or iterated says so, or names the call that does."""
    cls = getattr(mjbulk, name)
    waits = ("Coroutine", "AsyncIterator", "Awaitable")
    silent = []
    for method, text in members(cls):
        member = inspect.unwrap(getattr(cls, method)) if inspect.isroutine(getattr(cls, method)) else None
        given = str(inspect.signature(member).return_annotation) if member else ""
        if member and (inspect.iscoroutinefunction(member) or given.startswith(waits)) and not RAISES.search(text):
            silent.append(method)
    assert silent == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_say_what_they_raise(name: str) -> None:
    """The functions of the package say it, too."""
    assert RAISES.search(inspect.getdoc(getattr(mjbulk, name)) or "")


def test_the_guides_are_rendered_with_the_api() -> None:
    """Each guide of the folder, and nothing else."""
    included = re.findall(r"^\.\. include:: guides/(.*)$", mjbulk.__doc__ or "", re.MULTILINE)
    assert sorted(included) == sorted(guide.name for guide in GUIDES.glob("*.md"))


@pytest.mark.extra
@pytest.mark.real_time
def test_pdoc_renders_the_api_and_the_guides(tmp_path: Path) -> None:
    """As the README says it."""
    extra("pdoc")
    command = [sys.executable, "-m", "pdoc", "mjbulk", "-o", str(tmp_path)]
    assert subprocess.run(command, check=False, capture_output=True, timeout=200).returncode == 0
    page = (tmp_path / "mjbulk.html").read_text(encoding="utf-8")
    assert "retry_rejected" in page
    assert "What at least once means" in page
