"""At most one process holds a run and writes it, also if its lock was lost or given to two."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from journals import RUN, begin, chunk_of, cut, opened, rejection, run_of, settled, unheld
from postgres import Postgres
from sqlalchemy import Connection, event, text
from support import KEYS, Database, World, balanced

import mjbulk
from mjbulk.journal.records import NoteRecord
from mjbulk.journal.sql import SqlJournal
from mjbulk.testing import Knobs

TAKEN = "another process has run 'r' now: this process sends and writes nothing more of it"


async def lose_locks(database: Database, journal: SqlJournal) -> None:
    """Take the locks of a journal from it, unnoticed: as somebody who tidies up, or a pooler."""
    if "://" in database.url:
        await journal._in_thread(unlock_all)
    else:
        for lock in Path(database.url).parent.glob("*.lock"):
            lock.unlink()


def unlock_all(connection: Connection) -> None:
    with connection.begin():
        connection.execute(text("select pg_advisory_unlock_all()"))


async def test_each_opening_has_a_number_of_its_own(database: Database) -> None:
    """It is on disk when the run is open, whatever record of the run is written then."""
    seen = set()
    async with opened(database.url) as journal:
        for begun in (False, True, True):
            history = await journal.open_run(RUN)
            assert (history.begun, history.run.fence in seen) == (begun, False)
            for run in (history.run, RUN, evolve(RUN, fence=1)):
                await journal.put(run)
                known = await journal.find("r", "", "a")
                assert known is not None
                assert known.run.fence == history.run.fence
            seen.add(history.run.fence)
            await journal.release(RUN)


async def test_who_has_lost_a_run_writes_nothing_more_of_it(database: Database) -> None:
    """Nor forgets anything; other runs that it holds, and notes, are written in the same transaction."""
    other, note = run_of("other"), NoteRecord(account="a", name="rate", text="7.5")
    async with opened(database.url) as one, opened(database.url) as two:
        await begin(one)
        await begin(one, other)
        await one.put(*cut(RUN, 1), rejection(RUN, 0, 1))
        await lose_locks(database, one)
        history = await two.open_run(RUN)
        one.later(*cut(RUN, 2))
        for records in ([settled(RUN, 1), *cut(other, 1), note], [], [evolve(RUN, rows=9)]):
            with pytest.raises(mjbulk.JournalError, match=TAKEN) as caught:
                await one.put(*records, run=RUN.run)
            assert not isinstance(caught.value, mjbulk.UsageError)  # something was sent
        with pytest.raises(mjbulk.JournalError, match=TAKEN):
            await one.forget_refused(RUN.run, 0)
        with pytest.raises(mjbulk.JournalError, match=TAKEN):
            await one.release(RUN, forget=True)
        await one.put(*cut(other, 2), run=other.run)
        known = await two.find("r", "", "a")
        assert known is not None
        assert (known, known.refused) == (history, 1)
        assert await two.notes("a") == {"rate": "7.5"}
        await two.put(settled(RUN, 1))
        await two.release(RUN)
        assert (await one.open_run(RUN)).counts().accepted == 10
        await one.put(*cut(RUN, 2))
        assert {run.run_id: run.rows for run in await two.runs("a")} == {"r": 21, "other": 20}


async def test_who_begins_a_run_second_has_lost_it(database: Database) -> None:
    """Both found none, and both were let in."""
    async with opened(database.url) as one, opened(database.url) as two:
        for journal in (one, two):
            assert not (await journal.open_run(RUN)).begun
            await lose_locks(database, journal)
        await two.put(RUN, *cut(RUN, 1))
        with pytest.raises(mjbulk.JournalError, match=TAKEN):
            await one.put(RUN, *cut(RUN, 1), *cut(RUN, 2))
        await two.put(settled(RUN, 1))
        assert [(run.rows, run.accepted) for run in await two.runs("a")] == [(10, 10)]


async def test_who_begins_a_run_at_the_same_moment_has_lost_it(postgres: Postgres) -> None:
    """Neither transaction saw the record of the other."""
    name = postgres.create_database()
    async with opened(postgres.url(name)) as one, opened(postgres.url(name)) as two:
        for journal in (one, two):
            await journal.open_run(RUN)
            await journal._in_thread(unlock_all)
        connection = one._store._connection
        assert connection is not None

        def be_faster(_: Any, __: Any, statement: str, *___: Any) -> None:
            if "INSERT INTO mjbulk_2_runs" in statement and not faster:
                faster.append(two._store.do(two._store.write, [RUN, *cut(RUN, 1)]))

        faster: list[Any] = []
        event.listen(connection.engine, "before_cursor_execute", be_faster)
        with pytest.raises(mjbulk.JournalError, match=TAKEN):
            await one.put(RUN, *cut(RUN, 1), *cut(RUN, 2))
        assert faster == [{}]
        assert [run.rows for run in await two.runs("a")] == [10]


@pytest.mark.parametrize("again", [False, True])
async def test_a_run_that_was_forgotten_meanwhile(database: Database, *, again: bool) -> None:
    """Nothing is written of it, also if there is another one of that name."""
    async with opened(database.url) as one, opened(database.url) as two:
        await begin(one)
        await lose_locks(database, one)
        await two.purge(RUN)
        if again:
            await begin(two)
        with pytest.raises(mjbulk.JournalError, match=TAKEN if again else "run 'r' is no longer in the journal"):
            await one.put(*cut(RUN, 1))
        assert [run.rows for run in await two.runs("a")] == [0] * again


async def test_a_run_is_forgotten_by_who_holds_it(database: Database) -> None:
    """When it is released, in one step; other runs stay."""
    other = run_of("other")
    async with opened(database.url) as journal, opened(database.url) as two:
        for run in (RUN, other):
            await begin(journal, run)
            await journal.put(chunk_of(run, 1), settled(run, 1), rejection(run, 0, 1))
        journal.later(*cut(RUN, 2))
        await journal.release(RUN, forget=True)
        assert [run.run_id for run in await two.runs("a")] == ["other"]
        assert unheld(await two.open_run(RUN)).run == RUN
        await journal.release(evolve(RUN, run=5), forget=True)  # it is not open


ROWS = [{"email": f"p{n}@example.org"} for n in range(60)]


async def imported_twice(world: World, url: str, lose: Callable[[mjbulk.Client], Any]) -> tuple[Any, Any]:
    """Give the reports of two clients for the same run. The second begins while the first waits for jobs, when that has
    lost its locks.
    """
    world.emulator.knobs = Knobs(queue_seconds=10.0)
    settings = world.settings(chunk_rows=5, max_jobs=4)
    how: Any = {"lists": {1: "addforce"}, "run_id": "r"}
    async with mjbulk.Client(KEYS, settings, journal=url) as one, mjbulk.Client(KEYS, settings, journal=url) as two:
        first = one.start_import(ROWS, **how)
        while world.posts() < 4:  # no event says so
            await asyncio.sleep(1.0)
        await lose(one)
        second = two.start_import(ROWS, **how)
        reports = await first.wait(), await second.wait()
    assert world.posts() == 12
    assert len({row["Email"] for job in world.emulator.jobs.values() for row in job.rows}) == 60
    return reports


def assert_taken(first: Any, second: Any) -> None:
    """The first has halted and says why, the second has gone on from what was written."""
    assert str(first.halted) == TAKEN
    assert not isinstance(first.halted, mjbulk.UsageError)
    assert 0 < len(first.jobs) < 12
    assert balanced(second).halted is None
    assert second.accepted + second.unknown == 60


async def test_a_run_that_another_process_takes_halts(world: World, database: Database) -> None:
    """Before it sends anything more."""

    async def lose(client: mjbulk.Client) -> None:
        assert isinstance(client._journal, SqlJournal)
        await lose_locks(database, client._journal)

    assert_taken(*await imported_twice(world, database.url, lose))


async def test_a_run_whose_session_ends_is_taken(world: World, postgres: Postgres) -> None:
    """The driver opens another session by itself: that has no lock."""
    name = postgres.create_database()

    async def lose(_: mjbulk.Client) -> None:
        postgres.end_sessions(name)

    assert_taken(*await imported_twice(world, postgres.url(name), lose))


async def test_a_process_that_looks_at_its_runs_keeps_them(world: World, postgres: Postgres) -> None:
    """Its session was ended: to look at the runs opens another one, and takes their locks again."""
    name = postgres.create_database()

    async def lose(client: mjbulk.Client) -> None:
        postgres.end_sessions(name)
        assert [info.state async for info in client.runs()] == ["running"]

    first, second = await imported_twice(world, postgres.url(name), lose)
    assert balanced(first).ok
    assert isinstance(second.halted, mjbulk.JournalRefused)
    assert "under way in another process" in str(second.halted)
