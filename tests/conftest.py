"""Loops and fixtures for tests."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from importlib import import_module
from itertools import count
from pathlib import Path

import pytest
from eager import eager_loop, eager_virtual_loop
from postgres import Postgres, pooler, programs, serving
from support import Database, World

from mjbulk.testing import Emulator, VirtualClockLoop

Loop = Callable[[], asyncio.AbstractEventLoop]

if "PYTEST_XDIST_WORKER" in os.environ:  # coverage measures the workers, and not the processes that tests kill
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


def _uvloop() -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop = import_module("uvloop").new_event_loop()
    return loop


LOOPS: dict[str, Loop] = {"asyncio": asyncio.SelectorEventLoop, "uvloop": _uvloop, "eager": eager_loop}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--loop", choices=LOOPS, default="asyncio", help="the event loop of tests under the real clock")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Loop]:
    """Async tests run under the virtual clock, unless they are marked ``real_time``; with eager tasks too, if they are
    marked ``eager``.
    """
    if item.get_closest_marker("real_time"):
        name = config.getoption("loop")
        return {name: LOOPS[name]}
    virtual: dict[str, Loop] = {"virtual": VirtualClockLoop}
    return {**virtual, "eager": eager_virtual_loop} if item.get_closest_marker("eager") else virtual


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``-m smoke`` no other test module is imported: what it needs may not be installed. Tests of Airflow need an
    environment of their own, and are found with ``-m airflow`` alone.
    """
    if collection_path.name == "airflow" and config.option.markexpr != "airflow":
        return True
    if not config.option.markexpr.startswith("smoke") or not collection_path.name.startswith("test_"):
        return None
    return True if "pytest.mark.smoke" not in collection_path.read_text(encoding="utf-8") else None


EDGES = {"check", "cli", "fastapi", "testing"}
"""The folders of tests that coverage does not measure, as in ``tests/__main__.py``."""


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.path.parent.name in EDGES:
        item.add_marker("unmeasured")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that may take long come first: a process that begins with one at the end lets the others wait."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


_STATES = count()


@pytest.fixture(autouse=True)
def _state_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The command line keeps its journal there, and not in the home of who runs the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / f"state-{next(_STATES)}"))
    monkeypatch.delenv("MJBULK_JOURNAL", raising=False)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with Emulator() as emulator:
        emulator.create_property("city", "str")
        emulator.create_property("age", "int")
        yield World(emulator)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server, started for the first test that wants it and stopped after the last one."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed (on Debian: apt-get install postgresql)")
    with serving(found) as server:
        yield server


@pytest.fixture
def pooled(postgres: Postgres) -> Postgres:
    """The same server, in front of which poolers can be put."""
    if pooler() is None:
        pytest.skip("pgbouncer is not installed (on Debian: apt-get install pgbouncer)")
    return postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A database of the test's own, of each kind that a journal may lie in."""
    if request.param == "sqlite":
        file = tmp_path / "imports.db"
        return Database(str(file), lambda statement: _sqlite(file, statement))
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create_database()
    return Database(server.url(name), lambda statement: server.sql(statement, name))


def _sqlite(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """In CI a skip is a failure, but of tests that need an extra, which run there by that name."""
    skipped = terminalreporter.stats.get("skipped", [])
    if os.environ.get("CI") == "true" and not all(_needs_an_extra(report, config) for report in skipped):
        raise pytest.UsageError("tests were skipped in CI, where none may be")


def _needs_an_extra(report: pytest.TestReport | pytest.CollectReport, config: pytest.Config) -> bool:
    """Whether a test or a module was skipped that is marked ``extra``, where those were not asked for by name."""
    if "extra" in config.option.markexpr:
        return False
    if isinstance(report, pytest.CollectReport):
        return "pytestmark = pytest.mark.extra" in (config.rootpath / report.nodeid).read_text(encoding="utf-8")
    return "extra" in report.keywords
