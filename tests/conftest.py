"""Loops and fixtures for tests."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from postgres import Postgres, programs, serving
from support import Place, World

from mjbulk.testing import Emulator, VirtualClockLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Async tests run under the virtual clock, unless they are marked ``real_time``."""
    if item.get_closest_marker("real_time"):
        return {"real": asyncio.SelectorEventLoop}
    return {"virtual": VirtualClockLoop}


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


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A database of the test's own, of each kind that a journal may lie in."""
    if request.param == "sqlite":
        file = tmp_path / "imports.db"
        return Place(str(file), lambda statement: _sqlite(file, statement))
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create_database()
    return Place(server.url(name), lambda statement: server.sql(statement, name))


def _sqlite(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """In CI everything that a test needs is there: a skip is a failure."""
    if os.environ.get("CI") == "true" and terminalreporter.stats.get("skipped"):
        raise pytest.UsageError("tests were skipped in CI, where none may be")
