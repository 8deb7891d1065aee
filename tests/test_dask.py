"""Partitions of a run on a Dask cluster: what they may be, how they fail and stop, and workers that are killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support import extra

import mjbulk
from mjbulk.testing import Fault, Mailjet

pytestmark = [
    pytest.mark.extra,
    pytest.mark.real_time,
    pytest.mark.usefixtures("mailjet"),
    pytest.mark.filterwarnings("default"),  # what Dask leaves open is its own
]
ROOT = Path(__file__).parent.parent
POST = "POST contact/managemanycontacts"


def people(first: int, last: int) -> list[dict[str, str]]:
    return [{"email": f"p{n}@example.org"} for n in range(first, last)]


@asynccontextmanager
async def cluster(*, processes: bool = False, asynchronous: bool = True) -> AsyncIterator[Any]:
    """Two workers of one thread each."""
    client = extra("distributed").Client
    how = {"n_workers": 2, "threads_per_worker": 1, "processes": processes, "dashboard_address": ":0"}
    if asynchronous:
        async with client(asynchronous=True, **how) as one:
            yield one
    else:
        with await asyncio.to_thread(client, **how) as one:
            yield one


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Imports partitions, with what all tests say."""
    monkeypatch.setenv("MJBULK_CHUNK_ROWS", "10")
    monkeypatch.setenv("MJBULK_POLL_MIN", "0.02")
    extra("distributed")
    from mjbulk.dask import import_partitions  # noqa: PLC0415  # where it is installed

    async def imports(client: Any, partitions: Any, **said: Any) -> Any:
        known = {"run_id": "r", "lists": {1: "addnoforce"}, "journal": str(tmp_path / "imports.db")}
        return await import_partitions(client, partitions, **{**known, **said})

    return imports


def sent(mailjet: Mailjet) -> Counter[str]:
    """Count how often each person was sent."""
    return Counter(row["Email"] for job in mailjet.emulator.jobs.values() for row in job.rows)


def names(report: Any) -> dict[str, int]:
    return {part.partition: part.accepted for part in report.parts}


async def test_whatever_has_partitions(mailjet: Mailjet, imported: Callable[..., Any], tmp_path: Path) -> None:
    """Files, sources, delayed objects, rows, bags, frames, with names of yours, too; by a client of either kind."""
    dask, bag, frame = extra("dask"), extra("dask.bag"), extra("dask.dataframe")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "part.csv").write_text("email;x\n" if folder == "b" else "email\np1@example.org\n")
    with (tmp_path / "b" / "part.csv").open("a") as file:
        file.write("p2@example.org;1\n")
    files = [tmp_path / "a" / "part.csv", mjbulk.csv_source(tmp_path / "b" / "part.csv", delimiter=";")]
    async with cluster() as client:
        report = await imported(client, files, columns=["email"])
        assert names(report) == {"part.csv": 1, "part.csv#2": 1}
        report = await imported(client, [dask.delayed(people)(0, 3), people(3, 5)], run_id="delayed")
        assert names(report) == {"part-00000": 3, "part-00001": 2}
        report = await imported(client, bag.from_sequence(range(9), npartitions=3).map(person), run_id="bag")
        assert names(report) == {"part-00000": 3, "part-00001": 3, "part-00002": 3}
        rows = frame.from_pandas(extra("pandas").DataFrame(people(0, 10)), npartitions=2)
        assert names(await imported(client, rows, run_id="frame")) == {"part-00000": 5, "part-00001": 5}
        assert names(await imported(client, {"monday": people(0, 2)}, run_id="named", max_rate=100)) == {}
    async with cluster(asynchronous=False) as client:
        assert (await imported(client, [people(0, 2), people(2, 4)], run_id="sync")).accepted == 4


def person(n: int) -> dict[str, str]:
    return people(n, n + 1)[0]


@pytest.mark.parametrize(
    ("partitions", "said"),
    [
        ("parts", "this is one path: list its folder"),
        ([], "there are no partitions"),
        (7, "a int has no partitions"),
        ([mjbulk.in_thread([])], "partition 'part-00000' is a source without a file"),
        (["x/a", "y/a", "z/a#2"], "two partitions have the name 'a#2'"),
        ({1: [], "1": []}, "two partitions have the name '1'"),
        ({"a": [], "": []}, "partition= is the name"),
        ({"a": [], "b\n": []}, "without control characters"),
    ],
)
async def test_what_has_no_partitions(imported: Callable[..., Any], partitions: Any, said: str) -> None:
    """It is refused before a worker has anything."""
    async with cluster() as client:
        with pytest.raises(mjbulk.UsageError, match=said):
            await imported(client, partitions)


async def test_partitions_that_fail(mailjet: Mailjet, imported: Callable[..., Any]) -> None:
    """What is refused is not run again, and says why. What halts goes on by itself. Other partitions end."""
    async with cluster() as client:
        parts = {"bad": [{"email": "a@example.org", "wrong": 1}], "good": people(0, 30)}
        with pytest.raises(mjbulk.UsageError, match="there is no property 'wrong'"):
            await imported(client, parts)
        assert len(mailjet.contacts) == 30
        mailjet.fault(POST, Fault.answer(403, "{}"), times=2)
        report = await imported(client, {"good": people(0, 30), "halts": people(30, 60)})
        assert names(report) == {"good": 30, "halts": 30}
    assert set(sent(mailjet).values()) == {1}


async def test_a_call_that_is_cancelled_stops_all(
    mailjet: Mailjet, imported: Callable[..., Any], tmp_path: Path
) -> None:
    """Partitions under way end, those to come do not begin, and the same call continues them."""
    mailjet.knobs(job_seconds=2)
    parts = {name: people(n * 100, n * 100 + 50) for n, name in enumerate("abc")}
    async with cluster() as client:
        call = asyncio.ensure_future(imported(client, parts))
        while mailjet.emulator.count(POST) < 10:
            await asyncio.sleep(0.01)
        began = time.monotonic()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        mailjet.knobs(job_seconds=0.01)
        async with mjbulk.Client(journal=tmp_path / "imports.db") as other:
            while (info := await other.get_run("r")).cause != "it was stopped":
                assert time.monotonic() < began + 10
                await asyncio.sleep(0.05)
        assert (info.state, info.rows) == ("resumable", 100)
        report = await imported(client, parts)
    assert (report.accepted, set(sent(mailjet).values())) == (150, {1})


@pytest.mark.timeout(120)
async def test_workers_that_are_killed(mailjet: Mailjet, imported: Callable[..., Any], tmp_path: Path) -> None:
    """And killed again: Dask runs their partitions once more, and the books are those of any run."""
    mailjet.knobs(job_seconds=0.3)
    parts = {f"part-{n}": [*people(n * 100, n * 100 + 100), {"email": "nobody"}] for n in range(4)}
    async with cluster(processes=True) as client:
        call = asyncio.ensure_future(imported(client, parts, rejections=str(tmp_path / "rejected")))
        for posts in (4, 16):
            while mailjet.emulator.count(POST) < posts:
                await asyncio.sleep(0.01)
            while not (running := await client.run(os.getpid, on_error="ignore")):
                await asyncio.sleep(0.01)  # the scheduler still knows the one that was killed
            os.kill(next(iter(running.values())), signal.SIGKILL)
        report = await call
    assert (report.rows, report.accepted, report.rejected, report.unknown) == (404, 400, 4, 0)
    assert set(sent(mailjet)) == {row["email"] for row in people(0, 400)}
    assert sum(sent(mailjet).values()) <= 400 + 2 * 8 * 10  # no more than was in doubt: what was under way
    assert len(list((tmp_path / "rejected").iterdir())) == 4


def test_all_workers_share_a_quota() -> None:
    """A small form of ``tests/dask_million.py``: no second of the server's clock holds more requests."""
    extra("distributed")
    command = [sys.executable, str(Path(__file__).with_name("dask_million.py")), "--journal", "sqlite"]
    sizes = ["--rows", "40000", "--parts", "2", "--rate", "20", "--late", "2"]
    ended = subprocess.run([*command, *sizes], cwd=ROOT, env=with_path(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    seen = json.loads(ended.stdout)
    assert (seen["complete"], seen["truth"]["sent twice"], seen["wrong"]) == (True, [], [])
    assert seen["requests"] > 100  # more than come within any second


def with_path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}


async def test_a_journal_in_a_file_is_for_one_machine(
    imported: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers on two would each have their own."""
    async with cluster() as client:

        async def elsewhere() -> dict[str, int]:
            return {"tcp://10.0.0.1:1": 1, "tcp://10.0.0.2:1": 1}

        monkeypatch.setattr(client, "nthreads", elsewhere)
        with pytest.raises(
            mjbulk.UsageError, match="the workers are on 2 machines, and cannot share a journal in a file"
        ):
            await imported(client, [people(0, 1)])
