"""How clients and pools close: all that they have open, within one time, whatever fails meanwhile."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import KEYS, World, balanced

import mjbulk
from mjbulk.journal.protocol import NoJournal
from mjbulk.mailjet.quota import LocalQuota
from mjbulk.testing import Fault, Knobs

pytestmark = pytest.mark.eager

ADD: Any = {1: "addnoforce"}
POST = "POST contact/managemanycontacts"
TENANTS = [mjbulk.Credentials(f"key-{number}", "secret") for number in range(3)]


def people(count: int) -> list[dict[str, Any]]:
    return [{"email": f"p{n}@example.org"} for n in range(count)]


class Unclosable(LocalQuota):
    """A quota whose connections cannot be closed."""

    async def aclose(self) -> None:
        await asyncio.sleep(0.1)
        raise ConnectionError("the quota is gone")


class Endless(LocalQuota):
    """A quota whose connections never close."""

    async def aclose(self) -> None:
        await asyncio.sleep(1e6)


@contextmanager
def nothing_left(*journals: Path) -> Iterator[None]:
    """See that nothing stays open: a session of aiohttp or a connection of SQLite would warn."""
    before = asyncio.all_tasks()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
        gc.collect()
    assert asyncio.all_tasks() == before
    for journal in journals:
        assert not journal.with_name(f"{journal.name}-wal").exists()


# Whatever fails


async def test_a_quota_that_cannot_be_closed(world: World, tmp_path: Path) -> None:
    """Its error is raised, after connections and journal were closed; closing once more does nothing."""
    journal = tmp_path / "imports.db"
    with nothing_left(journal):
        client = mjbulk.Client(KEYS, world.settings(), journal=journal, quota=Unclosable())
        with pytest.raises(ConnectionError, match="the quota is gone"):
            async with client:
                assert (await client.import_contacts(people(5), lists=ADD)).ok
        await client.aclose()


async def test_a_pool_whose_quota_cannot_be_closed(world: World, tmp_path: Path) -> None:
    """All clients are closed before the journal. The first error is raised, with a note for each of the others."""
    journal = tmp_path / "imports.db"
    with nothing_left(journal):
        pool = await mjbulk.SessionPool(world.settings(), journal=journal, quota=Unclosable()).__aenter__()
        for tenant in TENANTS:
            assert (await pool.client(tenant).import_contacts(people(5), lists=ADD)).ok
        with pytest.raises(ConnectionError, match="the quota is gone") as caught:
            await pool.__aexit__(None, None, None)
        await pool.aclose()
        with pytest.raises(mjbulk.UsageError, match="this pool is closed"):
            await pool.__aenter__()
    assert caught.value.__notes__ == ["another client could not be closed either: ConnectionError"] * 2


# Callers that are cancelled


@pytest.mark.parametrize("times", [1, 2])
async def test_a_pool_that_is_cancelled_while_it_drains(world: World, tmp_path: Path, times: int) -> None:
    """The drain is over, all runs stop so that they can go on, and everything is closed; a second close waits too."""
    world.emulator.knobs = Knobs(import_seconds=1000.0)
    journal = tmp_path / "imports.db"
    with nothing_left(journal):
        pool = await mjbulk.SessionPool(world.settings(), journal=journal).__aenter__()
        runs = [pool.client(tenant).start_import(people(5), lists=ADD, run_id="r") for tenant in TENANTS]
        await asyncio.sleep(100)
        leaving = asyncio.create_task(pool.__aexit__(None, None, None))
        for _ in range(times):
            await asyncio.sleep(1)
            leaving.cancel()
        await asyncio.wait({leaving})
        await pool.aclose()
        assert leaving.cancelled()
        assert [run.report is not None and balanced(run.report).unknown for run in runs] == [5, 5, 5]
        with pytest.raises(mjbulk.UsageError, match="not open"):
            pool.client(TENANTS[0])
        with pytest.raises(mjbulk.UsageError, match="not open"):
            await pool_client_is_closed(pool)
    async with mjbulk.Client(TENANTS[0], world.settings(), journal=journal) as client:
        assert [info.state async for info in client.runs()] == ["resumable"]


async def pool_client_is_closed(pool: mjbulk.SessionPool) -> None:
    await next(iter(pool._clients.values())).import_contacts([], lists=None)


async def test_two_who_close_wait_for_one_closing(world: World, tmp_path: Path) -> None:
    """Nobody goes on before everything is closed."""
    journal = tmp_path / "imports.db"
    with nothing_left(journal):
        client = await mjbulk.Client(KEYS, world.settings(), journal=journal, quota=Unclosable()).__aenter__()
        await client.import_contacts(people(5), lists=ADD)
        both = [asyncio.create_task(client.aclose()) for _ in range(2)]
        results = await asyncio.gather(*both, return_exceptions=True)
        assert [type(result) for result in results] == [ConnectionError, ConnectionError]


# Within a time


class SlowJournal(NoJournal):
    """A journal that takes all the time that it is given, to release a run and to close."""

    async def release(self, *_: Any, **__: Any) -> None:
        await asyncio.sleep(1e6)

    async def aclose(self, within: float = 1e6) -> None:
        await asyncio.sleep(within)


async def endless() -> AsyncIterator[dict[str, Any]]:
    """A source that does not end when it is told to."""
    try:
        for row in people(2000):
            yield row
        await asyncio.sleep(1e6)
    finally:
        try:
            await asyncio.sleep(1e6)
        except asyncio.CancelledError:
            await asyncio.sleep(1e6)


@pytest.mark.parametrize("drain", [0.0, 20.0])
@pytest.mark.parametrize("tenants", [0, 3])
async def test_closing_takes_one_time_for_everything(world: World, drain: float, tenants: int) -> None:
    """Requests that are not answered, sources that do not end, a quota and a journal that do not close: it takes
    ``drain`` and ``stop_within``, and a second for each of them that no longer answers, for a client (0 tenants) and
    for a pool of any number.
    """
    world.emulator.fault(POST, Fault.stall(), times=None)
    loop, settings = asyncio.get_running_loop(), world.settings(stop_within=8.0, chunk_rows=100, drain=drain)
    owner: Any = mjbulk.SessionPool(settings, quota=Endless())
    if not tenants:
        owner = mjbulk.Client(KEYS, settings, quota=Endless())
    owner._journal = SlowJournal()
    await owner.__aenter__()
    clients = [owner.client(key) for key in TENANTS] if tenants else [owner]
    runs = [client.start_import(endless(), lists=ADD) for client in clients]
    await asyncio.sleep(5)
    began = loop.time()
    with pytest.raises(mjbulk.Error, match="the quota has not closed within"):
        await owner.__aexit__(None, None, None)
    assert drain + 8 <= loop.time() - began <= drain + 8 + 3
    assert all(run.report is not None for run in runs)


async def test_an_idle_client_closes_at_once(world: World, tmp_path: Path) -> None:
    """Nothing is waited for that is not there."""
    loop = asyncio.get_running_loop()
    async with mjbulk.Client(KEYS, world.settings(), journal=tmp_path / "imports.db") as client:
        assert (await client.import_contacts(people(5), lists=ADD)).ok
        began = loop.time()
    assert loop.time() == began


# What is seen


async def test_the_repr_of_a_run_says_what_it_waits_for(world: World) -> None:
    """Without a row or a person."""
    world.emulator.knobs = Knobs(import_seconds=100.0)
    more = asyncio.Event()

    async def rows() -> AsyncIterator[dict[str, Any]]:
        yield people(1)[0]
        await more.wait()

    async with world.client() as client:
        run = client.start_import(rows(), lists=ADD)
        shown = [repr(run)]
        await asyncio.sleep(5)
        shown.append(repr(run))
        more.set()
        await asyncio.sleep(5)
        shown.append(repr(run))
        await run
        shown.append(repr(run))
    waits = [text.partition("waits for ")[2].partition(",")[0] for text in shown[:-1]]
    assert waits == ["its journal", "its source", "the end of its jobs"]
    assert shown[-1] == f"<ImportRun {run.run_id} ended>"
    assert "example.org" not in str(shown)
