"""An ingester with a journal: what it writes, what is left of it, and what becomes of it after a crash."""

import asyncio
import sqlite3
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from support import KEYS, Database, World

import mjbulk
from mjbulk.journal.protocol import Journal
from mjbulk.journal.records import Record
from mjbulk.journal.sql import SqlJournal
from mjbulk.testing import Emulator, Fault, Knobs

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
FORCE: dict[int, mjbulk.ActionWord] = {1: "addforce"}
UNSUB: dict[int, mjbulk.ActionWord] = {1: "unsub"}
CHUNK_TABLES = ("chunks", "parts", "rejections")
SETTINGS = {"chunk_rows": 4, "attempts": 3, "read_timeout": 5.0}
Begin = Callable[..., mjbulk.Client]


def who(number: int) -> dict[str, Any]:
    return {"email": f"p{number}@example.org"}


def left_in(file: Path) -> dict[str, int]:
    """How many records of chunks there are in a journal."""
    with closing(sqlite3.connect(file)) as connection:
        return {
            name: connection.execute(f"select count(*) from mjbulk_2_{name}").fetchone()[0] for name in CHUNK_TABLES
        }


NOTHING = dict.fromkeys(CHUNK_TABLES, 0)


@pytest.fixture
def begin(world: World, tmp_path: Path) -> Begin:
    """A client with a journal, as a new process would make it."""

    def client(**said: Any) -> mjbulk.Client:
        return mjbulk.Client(KEYS, world.settings(**{**SETTINGS, **said}), journal=tmp_path / "j.db")

    return client


async def ingesters(client: mjbulk.Client) -> list[mjbulk.RunInfo]:
    return [info async for info in client.runs(ingesters=True) if info.ingester]


async def all_settled(client: mjbulk.Client) -> list[mjbulk.RunInfo]:
    """Wait until no run of an ingester is left but those that are open."""
    while True:
        await asyncio.sleep(10)
        infos = await ingesters(client)
        if not any(info.state == "resumable" for info in infos) and not client.active_runs:
            return infos


# What is kept


async def test_chunks_that_have_ended_are_counts_of_the_run(database: Database, world: World) -> None:
    """Their records are deleted: the journal is as large after many chunks as after one. `runs` has the run only on
    request, and its outcomes are not stored.
    """
    world.emulator.reject("p7@example.org", "Invalid email")
    client = mjbulk.Client(KEYS, world.settings(**SETTINGS), journal=database.url)
    async with client:
        async with client.ingest(lists=ADD, linger=0.1) as ingester:
            for number in range(40):
                with suppress(mjbulk.OutcomeRejected):
                    await ingester.send(
                        who(number) if number % 10 else {"email": "nobody"}, lists=(ADD, UNSUB)[number % 2]
                    )
            await ingester.send(who(1), lists=ADD)
            await ingester.flush()
            info = (await ingesters(client))[0]
            assert (info.state, info.ingester) == ("running", True)
            assert not [one async for one in client.runs()]
        info = (await ingesters(client))[0]
        assert (info.state, info.complete, info.cause, info.ingester) == ("settled", True, None, True)
        assert (info.rows, info.accepted, info.rejected) == (41, 36, 5)
        assert [chunk async for chunk in client.run_chunks(info.run_id)] == []
        assert (await client.get_run(info.run_id)) == info
        with pytest.raises(mjbulk.UsageError, match="that of an ingester"):
            await client.get_report(info.run_id)
        with pytest.raises(mjbulk.UsageError, match="has no source"):
            await client.resume_import(info.run_id, [who(1)])
        assert list(await client.resume_all()) == []
        posts = world.posts()
        report = await client.resume_import(info.run_id)
        assert (report.complete, report.accepted, report.rejected, world.posts()) == (True, 36, 5, posts)
        await client.purge_run(info.run_id)
        assert not await ingesters(client)
    database.sql("select 1 / (case when (select count(*) from mjbulk_2_chunks) = 0 then 1 else 0 end)")


async def test_a_journal_does_not_grow(begin: Begin, tmp_path: Path) -> None:
    """Neither with chunks nor with rejections, while the ingester goes on."""
    async with begin() as client, client.ingest(lists=ADD, linger=0.1) as ingester:
        for number in range(20):
            await ingester.put(who(number % 3))
        left = left_in(tmp_path / "j.db")
        assert left["chunks"] <= 1
        assert left["parts"] <= 1
    assert left_in(tmp_path / "j.db") == NOTHING


async def test_a_row_after_one_in_doubt_leaves_no_record(world: World, begin: Begin, tmp_path: Path) -> None:
    """The chunk in doubt has ended, and was counted as unknown: nothing is written of it later."""
    async with begin() as client:
        async with client.ingest(lists=FORCE, linger=0.1) as ingester:
            world.emulator.fault("POST contact/managemanycontacts", Fault.drop_after())
            assert (await ingester.put(who(1))).state == "unknown"
            assert (await ingester.put(who(2))).ok
            assert (await ingester.put(who(1))).ok
        assert left_in(tmp_path / "j.db") == NOTHING
        info = (await ingesters(client))[0]
        assert (info.state, info.rows, info.unknown, info.accepted) == ("settled", 3, 1, 2)


async def test_jobs_under_way_are_settled_by_the_next_one(tmp_path: Path) -> None:
    """Also rejections, by their number; and rows in no chunk count as not sent. New rows do not wait for that."""
    async with Emulator(Knobs(queue_seconds=60.0)) as emulator:
        world = World(emulator)
        emulator.reject("p1@example.org", "Invalid email")

        def client() -> mjbulk.Client:
            return mjbulk.Client(
                KEYS, world.settings(**SETTINGS), journal=tmp_path / "j.db", hooks=[world.events.append]
            )

        async with client() as first, first.ingest(lists=ADD, linger=0.1, max_chunks=1) as ingester:
            sent = [await ingester.send(who(number)) for number in range(3)]
            await asyncio.sleep(2)
            sent.append(await ingester.send(who(9)))
            await ingester.aclose()
            assert [future.result().state for future in sent] == ["unknown"] * 3 + ["not_sent"]
            info = (await ingesters(first))[0]
            assert (info.state, info.unknown, info.not_sent) == ("resumable", 3, 1)
        async with client() as second, second.ingest(lists=ADD, linger=0.1) as ingester:
            new = await ingester.send(who(5))
            await asyncio.sleep(2)
            assert world.posts() == 2
            before, after = sorted(await all_settled(second), key=lambda info: info.state == "running")
            assert (before.state, before.accepted, before.rejected, before.not_sent) == ("settled", 2, 1, 1)
            assert after.state == "running"
            assert (await new).ok
        assert world.posts() == 2
        assert left_in(tmp_path / "j.db") == NOTHING


async def test_what_an_ingester_resumes_ends_with_it(tmp_path: Path) -> None:
    """It can be resumed again: by `resume_all` too."""
    async with Emulator(Knobs(queue_seconds=60.0)) as emulator:
        world = World(emulator)
        async with mjbulk.Client(KEYS, world.settings(), journal=tmp_path / "j.db") as client:
            async with client.ingest(lists=ADD, linger=0.1) as ingester:
                await ingester.send(who(1))
                await asyncio.sleep(2)
                await ingester.aclose()
            async with client.ingest(lists=ADD) as ingester:
                await asyncio.sleep(2)
                assert len(client.active_runs) == 1
            assert not client.active_runs
            assert [info.state for info in await ingesters(client)] == ["resumable"]
            runs = await client.resume_all()
            assert [(await run).accepted for run in runs] == [1]
            assert [info.state for info in await ingesters(client)] == ["settled"]
        assert world.posts() == 1


async def test_two_ingesters_at_once_do_not_take_each_others_run(begin: Begin, world: World) -> None:
    """Their clients may be in one process or in two."""
    async with begin() as client, begin() as other:
        async with client.ingest(lists=ADD) as one, client.ingest(lists=FORCE) as two, other.ingest(lists=ADD) as three:
            outcomes = await asyncio.gather(*(ingester.put(who(n)) for n, ingester in enumerate((one, two, three))))
            assert all(outcome.ok for outcome in outcomes)
            assert [info.state for info in await ingesters(client)] == ["running"] * 3
        assert [info.state for info in await ingesters(client)] == ["settled"] * 3


# When the journal fails


class Mortal:
    """A journal as a process has it that is killed at its n-th writing: before or after that is on disk.

    The process is dead from then on: nothing more is written. What it has written is there for the next one.
    """

    def __init__(self, journal: Journal, writings: float, *, written: bool) -> None:
        self._journal = journal
        self._written = written
        self._later: list[Record] = []
        self.left = writings

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def later(self, *records: Record) -> None:
        self._later.extend(records)

    async def put(self, *records: Record, run: int | None = None) -> None:
        self.left -= 1
        waiting, self._later = self._later, []
        if self.left > 0 or (self.left == 0 and self._written):
            await self._journal.put(*waiting, *records, run=run)
        if self.left <= 0:
            raise mjbulk.JournalError("the process was killed")


@pytest.fixture
def fast_file() -> Iterator[Path]:
    """A file for a journal where a commit takes no time."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield Path(folder) / "j.db"


@pytest.fixture
async def journal(fast_file: Path) -> AsyncIterator[SqlJournal]:
    journal = SqlJournal(fast_file, lambda _: None)
    try:
        yield journal
    finally:
        await journal.aclose()


def pooled(world: World, journal: Any) -> mjbulk.Client:
    return mjbulk.Client.pooled(KEYS, world.settings(**SETTINGS), mjbulk.Assumptions(), (), journal=journal, quota=None)


async def test_a_journal_that_fails_is_told_to_each_caller(world: World, journal: SqlJournal) -> None:
    """Rows in no chunk are not sent, and nothing is silent; the next ingester can be made when it works again."""
    async with Emulator(Knobs(queue_seconds=60.0)) as emulator:
        world = World(emulator)
        mortal = Mortal(journal, float("inf"), written=False)
        client = pooled(world, mortal)
        async with client.ingest(lists=ADD, linger=0.1, max_chunks=1) as ingester:
            flying = await ingester.send(who(1))
            await asyncio.sleep(2)
            waiting = [await ingester.send(who(2)), await ingester.send(who(1), lists=UNSUB)]
            mortal.left = 1
            assert (await flying).state == "unknown"
            for future in waiting:
                outcome = await future
                assert (outcome.state, outcome.cause) == (
                    "not_sent",
                    "the ingester has failed: the process was killed",
                )
            with pytest.raises(mjbulk.Error, match="the process was killed") as caught:
                await ingester.send(who(3))
            assert isinstance(caught.value.__cause__, mjbulk.JournalError)
        await client.aclose()
        assert world.posts() == 1


async def test_a_journal_that_cannot_be_opened(world: World, tmp_path: Path) -> None:
    """It is told when the ingester is entered, before a row is taken."""
    (tmp_path / "j.db").mkdir()
    async with mjbulk.Client(KEYS, world.settings(), journal=tmp_path / "j.db") as client:
        ingester = client.ingest(lists=ADD)
        with pytest.raises(mjbulk.JournalError):
            await ingester.__aenter__()
        with pytest.raises(mjbulk.UsageError, match="enter this ingester first"):
            await ingester.send(who(1))
        await ingester.aclose()


# Crashes


async def life(world: World, journal: Any, how: dict[str, Any]) -> list[mjbulk.Outcome]:
    """Put rows of two waves, as a service does; give the outcomes that its callers got."""
    client = pooled(world, journal)
    outcomes: list[mjbulk.Outcome] = []

    async def put(ingester: mjbulk.Ingester, number: int) -> None:
        with suppress(mjbulk.Error):
            outcomes.append(await ingester.put(who(number), **({"lists": UNSUB} if number % 5 == 4 else {})))

    with suppress(mjbulk.JournalError):
        async with client.ingest(linger=0.1, **how) as ingester:
            await asyncio.gather(*(put(ingester, number) for number in (0, 1, 2, 3, 4, 1)))
            await asyncio.gather(*(put(ingester, number) for number in (4, 5, 1, 6)))
    await client.aclose()
    return outcomes


def rows_sent(emulator: Emulator) -> int:
    """How many entries came, however they came."""
    jobs = [job.body or b"" for job in emulator.jobs.values()]
    return sum(
        len(orjson.loads(body)["Contacts"]) if body.startswith(b"{") else body.count(b"\n") - 1 for body in jobs if body
    )


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(None, id="in turns"),
        pytest.param(True, id="written", marks=pytest.mark.long),
        pytest.param(False, id="unwritten", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize(
    "how",
    [{"lists": ADD}, {"lists": FORCE, "via": "csv"}],
    ids=["json", "csv"],
)
async def test_a_crash_at_each_writing(journal: SqlJournal, fast_file: Path, how: Any, *, written: bool | None) -> None:
    """Nothing is retried. Known jobs are settled and imports are found: each accepted row was applied, and what is
    unknown was in doubt. Nothing is left of chunks.
    """
    for writings in range(1, 40, 2 if written is None else 1):
        async with Emulator(Knobs(queue_seconds=20.0)) as emulator:
            world = World(emulator)
            emulator.reject("p3@example.org", "Invalid email")
            mortal = Mortal(journal, writings, written=writings % 4 == 1 if written is None else written)
            told = Counter(outcome.state for outcome in await life(world, mortal, how))
            sent = rows_sent(emulator)
            client = pooled(world, journal)
            was_written = await ingesters(client)
            async with client.ingest(**how) as ingester:
                infos = await all_settled(client)
                await ingester.put({"email": "new@example.org"})
            if was_written:
                [info] = [info for info in infos if info.run_id == was_written[0].run_id]
                check(info, emulator, told, csv="via" in how)
            else:
                assert sent == 0
            assert rows_sent(emulator) == sent + 1, "something was sent again"
            for left in await ingesters(client):
                await client.purge_run(left.run_id)
            await client.aclose()
        assert left_in(fast_file) == NOTHING
        if mortal.left > 0:
            return
    raise AssertionError("it writes without end")


def check(info: mjbulk.RunInfo, emulator: Emulator, told: Counter[Any], *, csv: bool) -> None:
    """Hold the counts of a run against the truth, and against what callers were told."""
    assert info.state == "settled"
    applied = sum(job.applied for job in emulator.jobs.values() if job.status == "Completed")
    new = 1
    assert info.accepted <= applied - new
    assert info.accepted + info.unknown >= applied - new
    assert info.accepted >= told["accepted"]
    assert info.rejected >= told["rejected"]
    assert info.accepted == applied - new or not csv, "an import was not found"
    assert info.unknown <= 8
