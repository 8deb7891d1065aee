"""A journal's session at a PostgreSQL server: lost and opened again, silent, and behind a pooler."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any

import pytest
from journals import RUN, begin, cut, opened, run_of
from postgres import Postgres
from sqlalchemy import Connection, Engine, event, text
from support import KEYS, World, balanced

import mjbulk
from mjbulk.journal.backends import Patience
from mjbulk.journal.sql import SqlJournal
from mjbulk.testing import Knobs

ROWS = [{"email": f"p{n}@example.org"} for n in range(60)]
QUICK = Patience(again=0.5, free=0.5)


def asked(connection: Connection, statement: str) -> Any:
    with connection.begin():
        return connection.execute(text(statement)).scalar()


async def session_of(journal: SqlJournal) -> int:
    """The number of the session."""
    number: int = await journal._in_thread(asked, "select pg_backend_pid()")
    return number


# Lost sessions


@asynccontextmanager
async def sending(
    world: World, url: str, patience: Patience = QUICK, hooks: Sequence[mjbulk.Hook] = ()
) -> AsyncIterator[mjbulk.ImportRun]:
    """An import that waits for its first jobs, and has most of its chunks before it."""
    world.emulator.knobs = Knobs(queue_seconds=10.0)
    settings = world.settings(chunk_rows=5, max_jobs=4)
    journal = SqlJournal(url, world.events.append, patience=patience)
    client = mjbulk.Client.pooled(KEYS, settings, mjbulk.Assumptions(), hooks, journal=journal, quota=None)
    run = client.start_import(ROWS, lists={1: "addforce"}, run_id="r")
    while world.posts() < 4:  # no event says so
        await asyncio.sleep(1.0)
    try:
        yield run
    finally:
        await client.aclose()
        await journal.aclose()


@pytest.mark.smoke
@pytest.mark.parametrize("end", [Postgres.end_sessions, lambda server, _: server.restart()], ids=["sessions", "server"])
async def test_a_run_goes_on_when_its_session_was_ended(
    world: World, postgres: Postgres, end: Callable[[Postgres, str], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is sent twice, every row has an outcome, and a warning says what happened."""
    name = postgres.create_database()
    async with sending(world, postgres.url(name)) as run:
        end(postgres, name)
        assert balanced(await run).ok
    assert world.posts() == 12
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["the journal's session was lost, and another one was opened"]


@pytest.mark.parametrize("new", [True, False])
async def test_a_session_that_ends_at_each_statement(postgres: Postgres, *, new: bool) -> None:
    """The transaction writes all once: also if the session ends in its commit, or after that."""
    name = postgres.create_database()
    async with opened(postgres.url(name)) as journal:
        if not new:
            await begin(journal)
        for at in count(1):
            run = run_of(f"r{at}") if new else RUN
            if new:
                await journal.open_run(run)
            with ending(postgres, name, at) as left:
                await journal.put(run, *cut(run, 1 if new else at))
            if left[0] > 0:
                break
        assert at > 5
        rows = [info.rows for info in await journal.runs("a")]
        assert rows == [10] * at if new else [10 * at]


@contextmanager
def ending(postgres: Postgres, database: str, at: int) -> Iterator[list[int]]:
    """End the session before one of the next statements. The last ones are the commit, and what comes after it."""
    left = [at]

    def step(*_: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            postgres.end_sessions(database)

    def commit(connection: Connection) -> None:
        step()
        left[0] -= 1
        if left[0] == 0:
            driver: Any = connection.connection.driver_connection
            driver.commit()
            driver.pgconn.finish()

    event.listen(Engine, "before_cursor_execute", step)
    event.listen(Engine, "commit", commit)
    try:
        yield left
    finally:
        event.remove(Engine, "before_cursor_execute", step)
        event.remove(Engine, "commit", commit)


async def test_a_server_that_does_not_come_back(world: World, postgres: Postgres) -> None:
    """The run halts after a while, and says why; when the server is there again, the run goes on."""
    name = postgres.create_database()
    async with sending(world, postgres.url(name)) as run:
        postgres.sql(f"alter database {name} allow_connections false")
        postgres.end_sessions(name)
        with pytest.raises(mjbulk.ImportHalted, match="the journal cannot be used: the server lets nobody in"):
            await run
        postgres.sql(f"alter database {name} allow_connections true")
    posts = world.posts()
    async with mjbulk.Client(KEYS, world.settings(chunk_rows=5), journal=postgres.url(name)) as client:
        assert [info.state async for info in client.runs()] == ["resumable"]
        assert balanced(await client.import_contacts(ROWS, lists={1: "addforce"}, run_id="r")).accepted == 60
    assert (posts, world.posts()) == (4, 12)


async def test_a_journal_that_is_closed_while_its_server_is_away(postgres: Postgres) -> None:
    """What was put is written when the server is there again, if that is soon enough."""
    name = postgres.create_database()
    async with opened(postgres.url(name)) as other, opened(postgres.url(name)) as journal:
        await begin(journal)
        postgres.sql(f"alter database {name} allow_connections false")
        postgres.end_sessions(name)
        put = asyncio.create_task(journal.put(*cut(RUN, 1)))
        while journal._store.connected:
            await asyncio.to_thread(time.sleep, 0.01)
        closing = asyncio.create_task(journal.aclose(5.0))
        await asyncio.to_thread(postgres.sql, "select pg_sleep(0.3)")
        postgres.sql(f"alter database {name} allow_connections true")
        await asyncio.gather(put, closing)
        assert [(run.rows, run.state) for run in await other.runs("a")] == [(10, "resumable")]


async def test_a_lock_that_another_session_has(postgres: Postgres) -> None:
    """As the session before, if the server has not noticed its end: nothing is written any more after a while."""
    name = postgres.create_database()
    async with opened(postgres.url(name), patience=QUICK) as one, opened(postgres.url(name)) as two:
        await begin(one)
        await two.notes("a")
        postgres.end_sessions(name)
        assert await two._in_thread(two._store._backend.lock, RUN.run)
        with pytest.raises(mjbulk.JournalError, match="another session of the journal's server has run 'r' now"):
            await one.put(*cut(RUN, 1))
        await one.release(RUN)
        assert [run.rows for run in await one.runs("a")] == [0]


async def test_a_session_without_runs_is_opened_again_once(postgres: Postgres) -> None:
    """A server that is gone is told at once then."""
    name = postgres.create_database()
    async with opened(postgres.url(name)) as journal:
        await journal.notes("a")
        postgres.end_sessions(name)
        assert await journal.notes("a") == {}
        postgres.sql(f"alter database {name} allow_connections false")
        postgres.end_sessions(name)
        with pytest.raises(mjbulk.JournalError, match="cannot be used"):
            await journal.notes("a")


async def test_settings_of_the_session(postgres: Postgres) -> None:
    """It is not ended for being idle, whatever the server says, and neither side waits for the other forever."""
    name = postgres.create_database()
    postgres.sql(f"alter database {name} set idle_session_timeout = '1s'")
    postgres.sql(f"alter database {name} set default_transaction_isolation = 'serializable'")
    async with opened(postgres.url(name)) as journal:
        await begin(journal)
        session = await session_of(journal)
        await asyncio.to_thread(postgres.sql, "select pg_sleep(1.3)")
        assert await session_of(journal) == session
        shown = {
            setting: await journal._in_thread(asked, f"show {setting}")
            for setting in (
                *("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"),
                *("default_transaction_isolation", "synchronous_commit"),
            )
        }
        assert shown == {
            "default_transaction_isolation": "read committed",
            "synchronous_commit": "on",
            "statement_timeout": "20s",
            "lock_timeout": "10s",
            "idle_in_transaction_session_timeout": "1min",
        }
        driver: Any = (await journal._in_thread(lambda connection: connection.connection)).driver_connection
        limits = driver.info.get_parameters()
        assert {limits[name] for name in ("connect_timeout", "keepalives_idle", "tcp_user_timeout")} == {"10", "20000"}


# Silence


@contextmanager
def frozen(session: int) -> Iterator[None]:
    """Stop a process of the server as a debugger does."""
    os.kill(session, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(session, signal.SIGCONT)


@pytest.mark.real_time
async def test_a_session_that_is_silent(postgres: Postgres) -> None:
    """It counts as lost. What it still does is not known: nothing more is written of its run, which can go on later."""
    name = postgres.create_database()
    patience = Patience(silent=0.3, free=0.2)
    async with opened(postgres.url(name), patience=patience) as journal, opened(postgres.url(name)) as other:
        await begin(journal)
        with frozen(await session_of(journal)):
            with pytest.raises(mjbulk.JournalError, match="another session of the journal's server has run 'r' now"):
                await journal.put(*cut(RUN, 1))
            with pytest.raises(mjbulk.JournalRefused, match="another process"):
                await other.open_run(RUN)
        async with asyncio.timeout(60):
            while (await other.runs("a"))[0].state == "running":
                await asyncio.sleep(0.05)
        assert (await other.open_run(RUN)).last == 0


async def test_a_session_that_is_silent_when_all_is_done(world: World, postgres: Postgres) -> None:
    """Only the end of the run is not written: it halts, and goes on later."""
    name = postgres.create_database()
    sessions: list[int] = []

    def stop(event: mjbulk.Event) -> None:
        if event.name == "chunk.settled" and run.progress.accepted == 60:
            os.kill(sessions[0], signal.SIGSTOP)

    async with sending(world, postgres.url(name), Patience(silent=0.3, free=0.2), [stop]) as run:
        sessions.append(int(postgres.sql(f"select pid from pg_stat_activity where datname = '{name}'")))
        report = await run.wait()
        os.kill(sessions[0], signal.SIGCONT)
    assert isinstance(report.halted, mjbulk.JournalError)
    assert balanced(report).accepted == 60
    async with mjbulk.Client(KEYS, world.settings(chunk_rows=5), journal=postgres.url(name)) as client:
        assert [info.state async for info in client.runs()] == ["resumable"]
        assert balanced(await client.import_contacts(ROWS, lists={1: "addforce"}, run_id="r")).ok
    assert world.posts() == 12
