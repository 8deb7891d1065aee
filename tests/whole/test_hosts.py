"""What the program around mjbulk may do: eager tasks, tasks that are watched, other event loops, cancellations.

All of it runs with eager tasks too.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support import KEYS, World, balanced, settled

import mjbulk
from mjbulk.mailjet.quota import LocalQuota
from mjbulk.testing import Emulator, Fault, Knobs

pytestmark = [pytest.mark.smoke, pytest.mark.eager]

ADD: Any = {1: "addnoforce"}
POST = "POST contact/managemanycontacts"


def people(count: int) -> list[dict[str, Any]]:
    return [{"email": f"p{n}@example.org"} for n in range(count)]


def client_of(world: World, journal: Path | None = None, **said: Any) -> mjbulk.Client:
    return mjbulk.Client(KEYS, world.settings(chunk_rows=5), journal=journal, **said)


# Eager tasks


@pytest.mark.parametrize("via", ["json", "csv"])
async def test_an_import(world: World, tmp_path: Path, via: Any) -> None:
    """In several chunks, with a journal: it ends, and its books are those of usual tasks."""
    async with client_of(world, tmp_path / "imports.db") as client:
        report = balanced(await client.import_contacts(people(200), lists=ADD, via=via, run_id="r"))
        again = await client.import_contacts(people(200), lists=ADD, via=via, run_id="r")
    assert (report.accepted, again.stored, again.accepted) == (200, True, 200)


@pytest.mark.parametrize("journal", [None, "imports.db"])
async def test_a_run_that_is_refused(world: World, tmp_path: Path, journal: str | None) -> None:
    """It raises, and gives no report: what it was asked to resume is not there, or its column is not."""
    async with client_of(world, tmp_path / journal if journal else None) as client:
        with pytest.raises(mjbulk.UsageError, match="journal"):
            await client.resume_import("nobody")
        with pytest.raises(mjbulk.UsageError, match="town"):
            await client.import_contacts([{"email": "a@example.org", "town": "Graz"}], lists=ADD)
        run = client.start_import(people(5), lists={"no such list": "addnoforce"})
        assert isinstance((await run.wait()).halted, mjbulk.UsageError)
    assert world.posts() == 0


# Tools that watch tasks


class Failing:
    """A source that fails."""

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self._rows()

    async def _rows(self) -> AsyncIterator[dict[str, Any]]:
        for row in people(12):
            yield row
        raise OSError("no")


class NoQuota(LocalQuota):
    """A quota that cannot be asked, and cannot be closed."""

    async def change(self, *_: Any) -> Any:
        raise LookupError("no")

    async def aclose(self) -> None:
        raise LookupError("no")


async def halted_by_mailjet(world: World, journal: Path) -> None:
    world.emulator.fault(POST, Fault.answer(403, "{}"), times=None)
    async with client_of(world, journal) as client:
        await client.import_contacts(people(40), lists=ADD)


async def halted_by_an_unanswered_request(world: World, journal: Path) -> None:
    world.emulator.fault(POST, Fault.drop_before(), times=None)
    async with client_of(world, journal) as client:
        await client.import_contacts(people(40), lists=ADD)


async def halted_by_its_source(world: World, journal: Path) -> None:
    async with client_of(world, journal) as client:
        await client.import_contacts(Failing(), lists=ADD)


async def halted_by_its_journal(world: World, journal: Path) -> None:
    def break_it(event: mjbulk.Event) -> None:
        if event.name == "request.sending":
            with closing(sqlite3.connect(journal)) as connection:
                for (name,) in connection.execute(
                    "SELECT name FROM sqlite_master WHERE name LIKE '%_parts'"
                ).fetchall():
                    connection.execute(f"DROP TABLE {name}")

    async with client_of(world, journal, hooks=[break_it]) as client:
        await client.import_contacts(people(40), lists=ADD)


async def halted_by_its_quota(world: World, journal: Path) -> None:
    async with client_of(world, journal, quota=NoQuota()) as client:
        await client.import_contacts(people(40), lists=ADD)


async def halted_by_its_timeout(world: World, journal: Path) -> None:
    world.emulator.knobs = Knobs(import_seconds=100.0)
    async with client_of(world, journal) as client:
        await client.import_contacts(people(40), lists=ADD, timeout=5)


async def refused(world: World, journal: Path) -> None:
    async with client_of(world, journal) as client:
        await client.resume_import("nobody")


async def a_job_that_is_not_there(world: World, journal: Path) -> None:
    async with client_of(world, journal) as client:
        await client.watch("contact:7")


async def a_pool_that_cannot_be_closed(world: World, journal: Path) -> None:
    async with mjbulk.SessionPool(world.settings(), journal=journal, quota=NoQuota()) as pool:
        async for _ in pool.client(KEYS).lists():
            pass


STORIES = [
    halted_by_mailjet,
    halted_by_an_unanswered_request,
    halted_by_its_source,
    halted_by_its_journal,
    halted_by_its_quota,
    halted_by_its_timeout,
    refused,
    a_job_that_is_not_there,
    a_pool_that_cannot_be_closed,
]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_no_task_ends_by_an_error_that_the_caller_handles(
    world: World, tmp_path: Path, story: Callable[[World, Path], Coroutine[Any, Any, None]]
) -> None:
    """A tool that reports tasks which fail (Sentry) has nothing to report, and nothing is logged as never retrieved."""
    loop, made, said = asyncio.get_running_loop(), list[asyncio.Task[Any]](), list[object]()
    factory: Any = loop.get_task_factory() or (lambda loop, work, **more: asyncio.Task(work, loop=loop, **more))

    def watch(*args: Any, **more: Any) -> Any:
        made.append(factory(*args, **more))
        return made[-1]

    loop.set_task_factory(watch)
    loop.set_exception_handler(lambda _, context: said.append(context))
    with pytest.raises(Exception, match=r".") as caught:
        await story(world, tmp_path / "imports.db")
    await settled()
    assert isinstance(caught.value, mjbulk.Error | LookupError)
    assert all(task.done() for task in made if "mjbulk" in task.get_name())
    failed = [task for task in made if task.done() and not task.cancelled() and task.exception() is not None]
    assert (failed, said) == ([], [])


# Cancellations without a caller


class Cancelling(LocalQuota):
    """A quota that raises a CancelledError once, by itself."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    async def change(self, key: str, step: Any) -> Any:
        self.left -= 1
        if not self.left:
            raise asyncio.CancelledError
        return await super().change(key, step)


@pytest.mark.parametrize("at", [1, 2, 3, 5, 8, 13])
async def test_a_quota_that_cancels_by_itself(world: World, at: int) -> None:
    """Whichever request it was: the run halts, nobody waits for ever, and the next run goes through."""
    async with client_of(world, quota=Cancelling(at)) as client:
        run = client.start_import(people(20), lists=ADD)
        async with asyncio.timeout(3600):
            report = balanced(await run.wait())
        assert str(report.halted) == "the quota was cancelled"
        assert (await client.import_contacts(people(20), lists=ADD)).ok


async def test_a_hook_that_cancels_by_itself(world: World) -> None:
    """Those who wait for the job raise an Error, and a later wait ends well."""
    raising = ["job"]

    def hook(event: mjbulk.Event) -> None:
        if event.name in raising:
            raising.clear()
            raise asyncio.CancelledError

    async with client_of(world, hooks=[hook]) as client:
        watcher = await client.submit_contacts(people(3), lists=ADD)
        async with asyncio.timeout(3600):
            for result in await asyncio.gather(watcher.wait(), watcher.wait(), return_exceptions=True):
                assert isinstance(result, mjbulk.Error)
            assert (await watcher).ok


EVENTS = ["run.started", "request", "chunk.started", "chunk.sent", "job.ended", "chunk.settled", "run.ended"]


@pytest.mark.parametrize("name", EVENTS)
async def test_a_hook_that_cancels_an_import(world: World, tmp_path: Path, name: str) -> None:
    """Nobody who waits for the run looks as if they were cancelled: it says why it ended, and the next one goes on."""
    raising = [name]

    def hook(event: mjbulk.Event) -> None:
        if event.name in raising:
            raising.clear()
            raise asyncio.CancelledError

    async with client_of(world, tmp_path / "imports.db", hooks=[hook]) as client, asyncio.timeout(3600):
        run = client.start_import(people(20), lists=ADD, run_id="r")
        waiting = asyncio.create_task(run.wait())
        seen = [progress async for progress in run]
        report = balanced(await waiting)
        assert seen[-1].unknown == report.unknown
        assert (name == "run.ended") == report.ok
        assert report.ok or "cancelled" in str(report.halted)
        assert (await client.import_contacts(people(20), lists=ADD, run_id="r")).ok


# Other event loops, and none


def step(work: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine as a loop of another library does: asyncio has none that runs."""
    with pytest.raises(mjbulk.UsageError, match="needs an event loop of asyncio, and none runs here"):
        work.send(None)


def test_without_a_loop_of_asyncio(tmp_path: Path) -> None:
    """One sentence says so, whichever call is the first, and nothing counts as closed."""
    client, pool = mjbulk.Client(KEYS, journal=tmp_path / "imports.db"), mjbulk.SessionPool()
    for owner in (client, pool):
        step(owner.__aenter__())
        step(owner.aclose())

    async def later() -> None:
        async with client, pool:
            await asyncio.to_thread(in_a_thread)

    def in_a_thread() -> None:
        for owner in (client, pool, pool.client(KEYS)):
            step(owner.aclose())
        with pytest.raises(mjbulk.UsageError, match="needs an event loop of asyncio, and none runs here"):
            client.start_import([], lists=None)
        with pytest.raises(mjbulk.UsageError, match="needs an event loop of asyncio, and none runs here"):
            client.watch("contact:1")

    asyncio.run(later())


def in_another_loop(use: Callable[[], Awaitable[object]]) -> None:
    async def main() -> None:
        await use()

    with pytest.raises(mjbulk.UsageError, match="belongs to another event loop"):
        asyncio.run(main())


@pytest.mark.real_time
async def test_in_another_loop() -> None:
    """Each use is refused by one sentence, closing too; the loop that it belongs to can still use and close it."""
    async with Emulator() as emulator, mjbulk.SessionPool(World(emulator).settings()) as pool:
        pooled = pool.client(KEYS)
        async with mjbulk.Client(KEYS, World(emulator).settings()) as client:
            watcher, run = client.watch("contact:1"), client.start_import(people(3), lists=ADD)

            async def enter() -> None:
                async with client:
                    """Nobody comes here."""

            uses: list[Any] = [
                enter,
                client.aclose,
                pool.aclose,
                pooled.aclose,
                lambda: client.import_contacts([], lists=None),
                lambda: pooled.import_contacts([], lists=None),
                lambda: anext(client.lists()),
                watcher.wait,
                run.wait,
                run.stop,
                run.result,
                lambda: anext(aiter(run)),
                lambda: anext(aiter(watcher)),
            ]
            for use in uses:
                await asyncio.to_thread(in_another_loop, use)
            assert (await run).ok
            assert (await pooled.import_contacts(people(3), lists=ADD)).ok
