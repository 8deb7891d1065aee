"""One partition of a run, imported by whatever worker has it: once, twice, and by two workers at the same time."""

import asyncio
import csv
import pickle
import signal
import sqlite3
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from partition_worker import STARTED, begin, end, kill
from support import Database, extra

import mjbulk
import mjbulk.journal.postgres
import mjbulk.journal.sql  # so that an import here begins at once
from mjbulk.partition import PartitionSpec, import_partition, work
from mjbulk.partition.rejected import RejectedFile
from mjbulk.partition.signals import held_signals
from mjbulk.testing import Fault, Mailjet

pytestmark = [pytest.mark.real_time, pytest.mark.usefixtures("mailjet", "_small_chunks")]
POST = "POST contact/managemanycontacts"
ROWS = [{"email": f"p{n}@example.org"} for n in range(200)]
BAD = {"email": "nobody"}


@pytest.fixture
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MJBULK_CHUNK_ROWS", "10")
    monkeypatch.setenv("MJBULK_POLL_MIN", "0.02")


@pytest.fixture(autouse=True)
def _no_worker_is_left() -> Iterator[None]:
    yield
    while STARTED:
        kill(STARTED.pop())


@pytest.fixture
def spec_of(tmp_path: Path) -> Callable[..., PartitionSpec]:
    def make(**said: Any) -> PartitionSpec:
        return PartitionSpec(**{"run_id": "r", "lists": {1: "addnoforce"}, "journal": tmp_path / "imports.db", **said})

    return make


SpecOf = Callable[..., PartitionSpec]


def sent(mailjet: Mailjet) -> Counter[str]:
    """Count how often each person was sent."""
    return Counter(row["Email"] for job in mailjet.emulator.jobs.values() for row in job.rows)


def until(seen: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    end = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_partition_that_runs_again_sends_nothing(mailjet: Mailjet, spec_of: SpecOf) -> None:
    """It gives the same report, also from a pickled spec; partitions of a run do not know each other's rows."""
    spec = spec_of()
    first = import_partition(spec, "a", [*ROWS[:30], BAD])
    posts = mailjet.emulator.count(POST)
    assert (first.rows, first.accepted, first.rejected, list(first.accepted_rows())) == (31, 30, 1, [range(1, 31)])
    again = import_partition(pickle.loads(pickle.dumps(spec)), "a", [*ROWS[:30], BAD])
    assert (again == first, again.stored, first.stored) == (True, True, False)
    assert mailjet.emulator.count(POST) == posts == 3
    whole = first.merge(import_partition(spec, "b", ROWS[30:40]))
    assert (whole.accepted, whole.rejected, len(mailjet.contacts)) == (40, 1, 40)


def test_the_books_of_a_run_are_those_of_its_partitions(spec_of: SpecOf) -> None:
    """Any process sees them in the journal: all together, and each."""
    spec = spec_of()
    for name, rows in (("a", ROWS[:30]), ("b", ROWS[30:40])):
        import_partition(spec, name, rows)

    async def seen() -> list[tuple[int, str]]:
        async with mjbulk.Client(journal=spec.journal) as client:
            infos = [await client.get_run("r"), *[await client.get_run("r", partition=name) for name in "ab"]]
            with pytest.raises(mjbulk.UsageError, match="no partition 'c' of run 'r'"):
                await client.get_run("r", partition="c")
            return [(info.accepted, info.state) for info in infos]

    assert asyncio.run(seen()) == [(40, "settled"), (30, "settled"), (10, "settled")]


async def test_a_loop_that_runs_already(spec_of: SpecOf) -> None:
    """The import has its own loop in another thread: in a notebook, or in a worker that is asynchronous."""
    assert import_partition(spec_of(), "a", ROWS[:3]).accepted == 3


def test_rejected_rows_go_to_a_file(mailjet: Mailjet, spec_of: SpecOf, tmp_path: Path) -> None:
    """Its name is the same each time, and its rows stay when the partition runs again: a journal has no addresses."""
    spec = spec_of(rejections=tmp_path / "not" / "there")
    report = import_partition(spec, "2026/a b.parquet", [BAD, *ROWS[:3]])
    assert report.rejections_path is not None
    path = Path(report.rejections_path)
    assert path.parent == tmp_path / "not" / "there"
    with path.open(newline="") as file:
        assert [(row["row"], row["email"]) for row in csv.DictReader(file)] == [("1", "nobody")]
    before = path.read_bytes()
    assert import_partition(spec, "2026/a b.parquet", [BAD, *ROWS[:3]]) == report
    assert path.read_bytes() == before
    path.unlink()  # as if a worker had ended before it was written
    assert import_partition(spec, "2026/a b.parquet", iter([BAD, *ROWS[:3]])) == report
    assert path.read_bytes() == before
    import_partition(spec, "2026/a b.parquet", [])
    assert path.read_bytes() == before
    path.unlink()
    import_partition(spec, "2026/a b.parquet", [])  # it has changed, and its rows cannot be told
    assert path.read_text().splitlines()[1].startswith("1,,email,")
    other = import_partition(spec, "2026/a_b.parquet", [BAD])
    assert other.rejections_path != report.rejections_path
    assert import_partition(spec, "good", ROWS[:3]).rejections_path is None
    assert len(list(path.parent.iterdir())) == 2


@pytest.mark.extra
def test_rejected_rows_go_to_an_object_store(mailjet: Mailjet, spec_of: SpecOf) -> None:
    """Of any kind that fsspec knows. One that it does not know refuses the partition."""
    memory = extra("fsspec").filesystem("memory")
    spec = spec_of(rejections="memory://bucket/rejected/")
    report = import_partition(spec, "a", [BAD, *ROWS[:3]])
    assert report.rejections_path is not None
    assert report.rejections_path.startswith("memory://bucket/rejected/r.a-")
    (before,) = map(memory.cat_file, memory.find("bucket"))
    assert b"nobody" in before
    assert import_partition(spec, "a", [BAD, *ROWS[:3]]) == report
    assert list(map(memory.cat_file, memory.find("bucket"))) == [before]
    with pytest.raises(mjbulk.UsageError, match="rejections= at nowhere:// needs fsspec"):
        import_partition(spec_of(rejections="nowhere://bucket"), "b", ROWS)


def test_a_folder_that_cannot_be_made(mailjet: Mailjet, spec_of: SpecOf, tmp_path: Path) -> None:
    """It refuses the partition before anything is sent."""
    (tmp_path / "file").touch()
    with pytest.raises(mjbulk.UsageError, match="the folder of rejections= cannot be made"):
        import_partition(spec_of(rejections=tmp_path / "file" / "folder"), "a", ROWS)
    assert mailjet.requests == 0


@pytest.mark.parametrize("name", ["", None, 7, "a\0b", "\ud800"])
def test_a_partition_has_a_name(spec_of: SpecOf, tmp_path: Path, name: Any) -> None:
    """Without one the journal could not tell it from the others."""
    with pytest.raises(mjbulk.UsageError, match="partition="):
        import_partition(spec_of(rejections=tmp_path / "rejected"), name, ROWS)
    assert not (tmp_path / "rejected").exists()


def test_an_error_takes_no_row_with_it(mailjet: Mailjet, spec_of: SpecOf) -> None:
    """It goes to the engine as a pickle, and says why the partition has stopped; the next call goes on."""
    mailjet.fault(POST, Fault.answer(403, "{}"), after=2)
    with pytest.raises(mjbulk.ImportHalted) as caught:
        import_partition(spec_of(), "a", [BAD, *ROWS[:50]])
    assert isinstance(caught.value.__cause__, mjbulk.ApiError)
    told = pickle.dumps(caught.value)
    assert not any(word in told for word in (b"nobody", b"example.org", b"MJ_", b"private"))
    assert (caught.value.run_id, caught.value.report.rejected, len(caught.value.report.rejections)) == ("r", 1, 0)
    report = import_partition(spec_of(), "a", [BAD, *ROWS[:50]])
    assert (report.accepted, report.rejected) == (50, 1)
    assert max(sent(mailjet).values()) == 1


@pytest.mark.parametrize("journal", ["imports.db", "$BAD_JOURNAL"])
def test_the_variables_of_an_error_have_no_row_and_no_secret(
    spec_of: SpecOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: str
) -> None:
    """Tools show them, and engines keep them in their logs."""
    monkeypatch.setenv("BAD_JOURNAL", "nonsense://me:secret-of-tests@host/db")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(mjbulk.UsageError) as caught:
        import_partition(spec_of(journal=journal), "a", [{"email": "p1@example.org", "wrong": 1}])
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    seen = [repr(frame.f_locals) for frame in frames if frame.f_globals["__name__"].startswith("mjbulk")]
    assert seen
    assert not [one for one in seen if "example.org" in one or "secret-of-tests" in one]


def test_a_file_of_rejected_rows_that_cannot_be_written(mailjet: Mailjet, spec_of: SpecOf, tmp_path: Path) -> None:
    """It is an error each time, until it can be written. Each row is sent once."""
    spec = spec_of(rejections=tmp_path)
    path = Path(RejectedFile(str(tmp_path), "r", "a").path)
    path.mkdir()
    for _ in range(2):
        with pytest.raises(OSError, match="directory"):
            import_partition(spec, "a", [*ROWS[:3], BAD])
    path.rmdir()
    report = import_partition(spec, "a", [*ROWS[:3], BAD])
    assert (report.rejected, report.rejections_path, mailjet.emulator.count(POST)) == (1, str(path), 1)
    assert "nobody" in path.read_text()


def test_two_workers_at_the_same_time(mailjet: Mailjet, database: Database, spec_of: SpecOf) -> None:
    """The second one waits for the first, and gives the same report. Each row is sent once."""
    mailjet.knobs(job_seconds=1.0)
    spec = spec_of(journal=database.url, lists={1: "addforce"})
    first = begin(spec, "a", [*ROWS, BAD])
    until(lambda: mailjet.emulator.count(POST) > 0)
    second = import_partition(spec, "a", [*ROWS, BAD])
    assert end(first) == second
    assert (second.accepted, second.rejected) == (200, 1)
    assert sent(mailjet) == Counter(row["email"] for row in ROWS)


def test_a_worker_that_is_killed_twice(mailjet: Mailjet, database: Database, spec_of: SpecOf, tmp_path: Path) -> None:
    """While its partition is run again, and while another one waits for it: the books are those of any other run."""
    mailjet.knobs(job_seconds=0.3)
    spec = spec_of(journal=database.url, rejections=tmp_path / "rejected", max_rate=40)
    worker = begin(spec, "a", [BAD, *ROWS])
    until(lambda: mailjet.emulator.count(POST) >= 4)
    kill(worker)
    worker = begin(spec, "a", [BAD, *ROWS])
    until(lambda: mailjet.emulator.count(POST) >= 12)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(import_partition, spec, "a", [BAD, *ROWS])
        time.sleep(0.1)
        kill(worker)
        report = waits.result()
    assert (report.rows, report.accepted, report.rejected) == (201, 200, 1)
    assert list(report.accepted_rows()) == [range(2, 202)]
    assert mailjet.emulator.count(POST) <= 20 + 2 * 8  # at most those under way were in doubt
    assert set(sent(mailjet)) == {row["email"] for row in ROWS}
    assert "nobody" in Path(report.rejections_path or "").read_text()


def test_the_wait_for_another_worker_has_an_end(
    mailjet: Mailjet, spec_of: SpecOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is refused, and nothing was sent by it."""
    monkeypatch.setattr(work, "_PATIENCE", 0.3)
    spec = spec_of()

    async def both() -> None:
        async with mjbulk.Client(journal=spec.journal) as client:
            run = client.start_import(_slowly(), lists={1: "addnoforce"}, run_id="r", partition="a")
            await run.opened()
            with pytest.raises(mjbulk.JournalRefused) as caught:
                await asyncio.to_thread(import_partition, spec, "a", ROWS)
            assert caught.value.kind == "run.under_way"
            await run.stop()

    asyncio.run(both())
    assert mailjet.emulator.count(POST) == 0


class _Late(BaseException):
    """What a handler of a signal raises."""


@pytest.fixture
def _time_limit() -> Iterator[None]:
    def handle(*_: Any) -> None:
        raise _Late

    before = signal.signal(signal.SIGUSR1, handle)
    yield
    assert signal.getsignal(signal.SIGUSR1) is handle
    signal.signal(signal.SIGUSR1, before)


def _end_in(seconds: float) -> None:
    """Let the time limit run out."""
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(seconds, signal.pthread_kill, (main, signal.SIGUSR1)).start()


@pytest.mark.usefixtures("_time_limit")
def test_a_time_limit_is_not_lost_in_a_callback(mailjet: Mailjet, spec_of: SpecOf) -> None:
    """It stops the import in order, wherever the event loop is: the next call goes on."""
    mailjet.knobs(job_seconds=0.5)

    def rows() -> Iterator[dict[str, str]]:
        yield from ROWS[:100]
        asyncio.get_running_loop().call_later(0.2, signal.raise_signal, signal.SIGUSR1)
        yield from ROWS[100:]

    spec = spec_of(lists={1: "addforce"})
    with pytest.raises(_Late):
        import_partition(spec, "a", rows())
    report = import_partition(spec, "a", ROWS)
    assert (report.accepted, report.unknown, max(sent(mailjet).values())) == (200, 0, 1)


@pytest.mark.usefixtures("_time_limit")
def test_a_time_limit_ends_a_source_that_blocks(spec_of: SpecOf) -> None:
    """It is raised there, too: nothing else could end it."""

    def rows() -> Iterator[dict[str, str]]:
        yield ROWS[0]
        _end_in(0.1)
        time.sleep(60)

    began = time.monotonic()
    with pytest.raises(_Late):
        import_partition(spec_of(), "a", rows())
    assert time.monotonic() < began + 20


@pytest.mark.usefixtures("_time_limit")
async def test_a_time_limit_where_a_loop_runs_already(mailjet: Mailjet, spec_of: SpecOf) -> None:
    """As in a notebook, with Ctrl-C: the import does not go on in its thread."""
    mailjet.knobs(job_seconds=30)
    _end_in(0.3)
    with pytest.raises(_Late):
        import_partition(spec_of(), "a", ROWS)
    for thread in threading.enumerate():
        if thread.name == "mjbulk partition":
            thread.join(5)
            assert not thread.is_alive()


@pytest.mark.usefixtures("_time_limit")
def test_a_second_interruption_is_raised_at_once() -> None:
    """A user who presses Ctrl-C twice does not wait for the end of an import."""
    stops: list[int] = []

    def interrupted_twice() -> None:
        with held_signals(lambda: stops.append(1)):
            signal.raise_signal(signal.SIGUSR1)
            stops.append(2)
            signal.raise_signal(signal.SIGUSR1)
            stops.append(3)

    with pytest.raises(_Late):
        interrupted_twice()
    assert stops == [1, 2, 1]


async def _slowly() -> Any:
    yield ROWS[0]
    await asyncio.sleep(60)


def test_the_journal_has_no_address(spec_of: SpecOf) -> None:
    """What a partition leaves there is what any run leaves."""
    spec = spec_of()
    import_partition(spec, "a", ROWS[:3])
    with sqlite3.connect(spec.journal) as connection:
        assert "example.org" not in "\n".join(connection.iterdump())
