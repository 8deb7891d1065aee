"""A journal that is damaged, foreign, locked or full is refused with nothing sent, or the run is right all the same."""

import asyncio
import gc
import os
import re
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attrs import frozen
from sqlalchemy import Engine, event
from support import KEYS, World, balanced

import mjbulk
from mjbulk.journal.backends import Patience
from mjbulk.journal.records import fingerprint, number_of
from mjbulk.journal.sql import SqlJournal
from mjbulk.testing import Fault, Knobs

pytestmark = pytest.mark.long

PLACES = int(os.environ.get("MJBULK_TEST_PLACES", "30"))
"""How many places of each file are damaged, one after the other."""
ROWS: list[dict[str, Any]] = [{"email": f"p{n}@example.org", "age": n} for n in range(1, 31)]
ROWS[11] = {"email": "no address"}
HOW: Any = {"lists": {1: "addnoforce"}, "run_id": "r", "resend": "never"}


@frozen
class Stopped:
    """A run that was stopped: chunks are settled, watched, in doubt and not sent; a row was rejected by Mailjet, one
    was refused here.
    """

    world: World
    path: Path
    closed: bytes
    """The file as it is when its process has ended."""
    database: bytes
    """The file as it was left by a process that was killed,"""
    wal: bytes
    """and what was written beside it."""

    def lay(self, database: bytes, wal: bytes = b"") -> None:
        """Put the files where the journal is."""
        for file in self.path.parent.iterdir():
            file.unlink()
        self.path.write_bytes(database)
        if wal:
            self.path.with_name(f"{self.path.name}-wal").write_bytes(wal)

    async def go_on(self) -> mjbulk.Report | None:
        """Let the run go on; None where its journal is refused, and then nothing may be sent."""
        posts = self.world.posts()
        try:
            async with a_client(self.world, self.path) as client:
                return balanced(await client.import_contacts(ROWS, **HOW))
        except mjbulk.JournalRefused:
            assert self.world.posts() == posts
            return None

    def is_right(self, report: mjbulk.Report, posts: int) -> bool:
        """Whether it is what it would have been, with as many requests."""
        outcomes = (report.accepted, report.rejected, report.unknown, [r.row for r in report.rejections])
        return (outcomes, self.world.posts() - posts) == ((23, 2, 5, [3, 12]), 2)

    def is_true(self, report: mjbulk.Report) -> bool:
        """Whether Mailjet has taken what it claims."""
        jobs = [self.world.emulator.jobs[job.id] for job in report.jobs]
        return len(set(report.jobs)) == len(jobs) and report.accepted == sum(job.applied for job in jobs)


def a_client(world: World, path: Path) -> mjbulk.Client:
    settings = world.settings(chunk_rows=5, concurrency=1, max_jobs=1, attempts=2, poll_min=0.1)
    return mjbulk.Client(KEYS, settings, journal=path)


@pytest.fixture
async def stopped(world: World, tmp_path: Path) -> Stopped:
    (tmp_path / "made").mkdir()
    made, path = tmp_path / "made" / "imports.db", tmp_path / "imports.db"
    emulator = world.emulator
    emulator.reject("p3@example.org", "Invalid email")
    emulator.fault("POST contact/managemanycontacts", Fault.drop_after(), after=1)
    async with a_client(world, made) as client:
        run = client.start_import(ROWS, **HOW)
        async for progress in run:
            if progress.accepted >= 8:
                emulator.knobs = Knobs(queue_seconds=1000)
            if progress.accepted >= 8 and progress.jobs.get("Allocated"):
                await run.stop()
        database, wal = made.read_bytes(), made.with_name("imports.db-wal").read_bytes()
    emulator.knobs = Knobs(queue_seconds=0.0, prepare_seconds=0.0, import_seconds=0.0)
    folder = tmp_path / "journal"
    folder.mkdir()
    return Stopped(world, folder / path.name, made.read_bytes(), database, wal)


def damaged(data: bytes, chance: Random) -> Iterator[bytes]:
    """Damage a file in each of its parts: a bit, some bytes, a page; and cut it off."""
    step = len(data) / PLACES
    for place in range(PLACES):
        at = int((place + chance.random()) * step)
        for new in (bytes([data[at] ^ 1 << chance.randrange(8)]), bytes(16), chance.randbytes(24), None):
            if new is None:
                yield data[:at]
            elif data[at : at + len(new)] != new:
                yield data[:at] + new + data[at + len(new) :]


async def test_a_file_that_was_overwritten_or_cut(stopped: Stopped) -> None:
    """It is refused with nothing sent, or nothing that matters was hit and the run is what it would have been."""
    refused = 0
    for database in damaged(stopped.closed, Random(1)):
        stopped.lay(database)
        posts = stopped.world.posts()
        report = await stopped.go_on()
        refused += report is None
        assert report is None or stopped.is_right(report, posts)
    assert refused > PLACES


@pytest.mark.parametrize("table", ["runs", "chunks", "parts", "rejections"])
async def test_a_record_that_is_another(stopped: Stopped, table: str) -> None:
    """Whichever of its values was changed, without its check sum."""
    stopped.lay(stopped.closed)
    with closing(sqlite3.connect(stopped.path)) as database:
        columns = [name for _, name, *_ in database.execute(f"pragma table_info(mjbulk_2_{table})") if name != "run"]
    for column in columns:
        for order in ("asc", "desc"):
            stopped.lay(stopped.closed)
            other = f"not {column}" if column in ("whole", "closed", "overtaken") else f"coalesce({column}, 0) || '1'"
            one = f"(select rowid from mjbulk_2_{table} order by rowid {order} limit 1)"
            change(stopped.path, f"update mjbulk_2_{table} set {column} = {other} where rowid = {one}")
            posts = stopped.world.posts()
            report = await stopped.go_on()
            again = table == "rejections" and order == "asc"  # a row that was refused here is found out again
            assert report is None or (again and stopped.is_right(report, posts)), column


async def test_a_record_that_is_found_no_more(stopped: Stopped) -> None:
    """Wherever the number of its run stands in a row or in an index, it is missed when that is another."""
    run = number_of(fingerprint(KEYS.public), "r", "").to_bytes(8)
    places = [found.start() for found in re.finditer(re.escape(run), stopped.closed)]
    assert len(places) > 20
    for at in places:
        stopped.lay(stopped.closed[: at + 7] + bytes([run[7] ^ 1]) + stopped.closed[at + 8 :])
        assert await stopped.go_on() is None


async def test_what_was_written_beside_it_is_overwritten_or_cut(stopped: Stopped) -> None:
    """From there on it is lost, as after a loss of power: chunks may be sent twice, but nothing false is claimed."""
    for wal in damaged(stopped.wal, Random(2)):
        stopped.lay(stopped.database, wal)
        report = await stopped.go_on()
        assert report is None or stopped.is_true(report)


async def test_what_was_written_beside_it_is_gone(stopped: Stopped) -> None:
    """The run starts over, as after a loss of power: all rows are sent a second time, and nothing false is claimed."""
    stopped.lay(stopped.database)
    report = await stopped.go_on()
    assert report is not None
    assert stopped.is_true(report)
    assert (report.accepted, report.unknown) == (28, 0)


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)


def something_else(path: Path) -> None:
    path.unlink()
    change(path, "create table contacts (email text)")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FOREIGN: list[tuple[Callable[[Path], Any], str]] = [
    (lambda path: change(path, "update mjbulk_format set version = version + 1"), "another version"),
    (lambda path: change(path, "drop table mjbulk_2_rejections"), "tables are missing"),
    (something_else, "database of something else"),
    (a_folder, "to be a file"),
    (lambda path: path.write_text("email,age\nann@example.org,33\n" * 300), "not a database"),
    (lambda path: path.write_bytes(b""), "is empty"),
]


@pytest.mark.parametrize(("put", "why"), FOREIGN, ids=[why for _, why in FOREIGN])
async def test_what_is_no_journal(stopped: Stopped, put: Callable[[Path], Any], why: str) -> None:
    """It is refused before anything is asked of Mailjet, and left as it is."""
    stopped.lay(stopped.closed)
    put(stopped.path)
    before = stopped.path.read_bytes() if stopped.path.is_file() else b""
    requests = stopped.world.emulator.requests
    async with a_client(stopped.world, stopped.path) as client:
        with pytest.raises(mjbulk.JournalRefused, match=f"{why}.*nothing was sent"):
            await client.import_contacts(ROWS, **HOW)
    assert stopped.world.emulator.requests == requests
    assert before == (stopped.path.read_bytes() if stopped.path.is_file() else b"")


# What the system refuses


@contextmanager
def listening(name: str, listener: Callable[..., Any]) -> Iterator[None]:
    """Have every database connection call a function."""
    event.listen(Engine, name, listener)
    try:
        yield
    finally:
        event.remove(Engine, name, listener)


async def halts_and_goes_on(
    world: World, path: Path, trouble: Any, rows: Sequence[dict[str, Any]] = ROWS
) -> mjbulk.Report | None:
    """Run into a trouble, and go on without it. Give the report of the first, or None where it did not halt."""
    jobs = len(world.emulator.jobs)
    async with a_client(world, path) as client:
        with trouble:
            report = await client.start_import(rows, **HOW).wait()
    if report.halted is None:
        return None
    assert isinstance(report.halted, mjbulk.JournalError)
    assert len(balanced(report).jobs) == len(world.emulator.jobs) - jobs
    assert report.accepted <= sum(world.emulator.jobs[job.id].applied for job in report.jobs)
    async with a_client(world, path) as client:
        whole = balanced(await client.import_contacts(rows, **HOW))
    in_doubt = (len(world.emulator.jobs) - jobs) * 5
    assert (whole.rejected, whole.not_sent) == (1, 0)
    assert whole.accepted + whole.unknown == len(rows) - 1 <= in_doubt + whole.unknown
    sent = [job.body for job in list(world.emulator.jobs.values())[jobs:]]
    assert len(set(sent)) == len(sent)
    return report


def small_pages(path: Path) -> None:
    """Make the file with pages of 512 bytes, which a few records fill."""
    with closing(sqlite3.connect(path)) as database:
        for statement in ("PRAGMA page_size=512", "PRAGMA journal_mode=WAL", "VACUUM"):
            database.execute(statement)


async def test_a_disk_that_is_full(world: World, tmp_path: Path) -> None:
    """At whichever write, before anything is accepted and after: halted, with all that is known in the report, and
    nothing is sent without its intent.
    """
    rows = [*ROWS, *({"email": f"q{n}@example.org"} for n in range(40))]
    known = []
    for pages in count(16):
        path = tmp_path / f"{pages}.db"
        small_pages(path)
        full = listening(
            "connect", lambda connection, _, most=pages: connection.execute(f"PRAGMA max_page_count={most}")
        )
        report = await halts_and_goes_on(world, path, full, rows)
        if report is None:
            break
        known.append(report.accepted)
    assert known[0] == 0 < known[-1]


@pytest.mark.parametrize("once", [False, True])
async def test_an_error_at_each_commit(world: World, tmp_path: Path, *, once: bool) -> None:
    """As a disk gives one that fails: halted, with all that is known in the report; nothing is written after it,
    because it is not known what is on disk.
    """
    for number in count(1):
        commits = count(1)

        def fail(_: Any, commits: Iterator[int] = commits, fails: int = number) -> None:
            commit = next(commits)
            if commit == fails or (commit > fails and not once):
                raise sqlite3.OperationalError("disk I/O error")

        if await halts_and_goes_on(world, tmp_path / f"{number}.db", listening("commit", fail)) is None:
            break
    assert number > 20


@pytest.mark.parametrize("accepted", [0, 10])
async def test_a_file_that_is_locked(world: World, tmp_path: Path, accepted: int) -> None:
    """By another process, before the run or within it."""
    path = tmp_path / "imports.db"
    async with a_client(world, path) as client:
        await client.import_contacts(ROWS[:5], lists={1: "addnoforce"}, run_id="before")
    posts = world.posts()
    journal = SqlJournal(path, lambda _: None, patience=Patience(locked=0.05))
    settings = world.settings(chunk_rows=5, concurrency=1, max_jobs=1, poll_min=0.1)
    client = mjbulk.Client.pooled(KEYS, settings, mjbulk.Assumptions(), (), journal=journal, quota=None)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        if not accepted:
            other.execute("BEGIN IMMEDIATE")
        run = client.start_import(ROWS, **HOW)
        async for progress in run:
            if progress.accepted == accepted > 0 and not other.in_transaction:
                other.execute("BEGIN IMMEDIATE")
        report = balanced(await run.wait())
        await client.aclose()
        await journal.aclose()
    assert isinstance(report.halted, mjbulk.JournalError)
    assert "locked" in str(report.halted)
    assert report.accepted == accepted
    assert world.posts() - posts == len(report.jobs) == accepted / 5
    async with a_client(world, path) as client:
        assert balanced(await client.import_contacts(ROWS, **HOW)).accepted == 29


@contextmanager
def nobody() -> Iterator[None]:
    """The user whom the super-user is, for a while: a super-user may write everywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(("file", "folder"), [(0o444, 0o777), (0o444, 0o555), (0o000, 0o777), (None, 0o555)])
async def test_a_file_that_may_not_be_written(stopped: Stopped, file: int | None, folder: int) -> None:
    """Nor its folder: nothing is sent, and the error says so."""
    posts = stopped.world.posts()
    with TemporaryDirectory(prefix="mjbulk-") as name:
        path = Path(name, "imports.db")
        path.write_bytes(stopped.closed)
        path.chmod(file or 0)
        if file is None:
            path.unlink()
        Path(name).chmod(folder)
        with nobody():
            async with a_client(stopped.world, path) as client:
                report = await client.start_import(ROWS, **HOW).wait()
        Path(name).chmod(0o700)
    assert isinstance(report.halted, mjbulk.JournalError)
    assert stopped.world.posts() == posts
    assert "journal cannot be used" in str(report.halted)


async def test_a_process_that_was_forked_meanwhile(world: World, tmp_path: Path) -> None:
    """It cannot use the client, nor begin the run by a client of its own, and its end takes nothing from its parent."""
    path = tmp_path / "imports.db"

    async def meddle() -> None:
        with pytest.raises(mjbulk.UsageError, match="another event loop"):
            await client.import_contacts(ROWS, **HOW)
        async with a_client(world, path) as own:
            with pytest.raises(mjbulk.JournalRefused, match="under way"):
                await own.import_contacts(ROWS, **HOW)

    async with a_client(world, path) as client:
        run = client.start_import(ROWS, **HOW)
        async for progress in run:
            if progress.accepted:
                break
        assert in_a_child(meddle) == 0
        async with a_client(world, path) as other:
            with pytest.raises(mjbulk.JournalRefused, match="under way"):
                await other.import_contacts(ROWS, **HOW)
        assert balanced(await run).accepted == 29
    async with a_client(world, path) as client:
        assert (await client.import_contacts(ROWS, **HOW)).stored


def in_a_child(work: Callable[[], Any]) -> int:
    """Run a coroutine function in a child that ends as processes do, and give its exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks beside threads
        child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        asyncio.run(work())
        gc.collect()
        status = 0
    finally:
        os._exit(status)
