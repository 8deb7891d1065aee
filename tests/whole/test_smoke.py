"""The smoke set under the real clock: whole imports and what they stand on, for every Python and every event loop.

``pytest -m "smoke and real_time" --loop uvloop`` runs it under another loop.
"""

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from support import KEYS, World, balanced

import mjbulk
from mjbulk.testing import Emulator, Fault, Knobs, Mailjet
from mjbulk.testing.fixture import QUICK

pytestmark = [pytest.mark.smoke, pytest.mark.real_time]

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
POST = "POST contact/managemanycontacts"
BOTH_WAYS = pytest.mark.parametrize("via", ["json", "csv"])


class QuickWorld(World):
    """A world of jobs that take milliseconds, and of clients that look for them as often."""

    def settings(self, **said: Any) -> mjbulk.Settings:
        return super().settings(**{"poll_min": 0.01, **said})


@pytest.fixture
async def world() -> AsyncIterator[QuickWorld]:
    async with Emulator(QUICK) as emulator:
        emulator.create_property("city", "str")
        yield QuickWorld(emulator)


def people(count: int) -> list[dict[str, Any]]:
    return [{"email": f"p{number}@example.org", "city": "Graz"} for number in range(1, count + 1)]


async def test_the_loop_is_the_one_that_was_asked_for(pytestconfig: pytest.Config) -> None:
    """Otherwise the others show nothing."""
    loop, wanted = asyncio.get_running_loop(), pytestconfig.getoption("loop")
    assert (type(loop).__module__ == "uvloop") == (wanted == "uvloop")
    assert (loop.get_task_factory() is not None) == (wanted == "eager")


@BOTH_WAYS
def test_imports_under_anyio(via: Any) -> None:
    """In its task groups, and in a scope that gives up one of them: the others, and the client, go on."""

    async def one(client: mjbulk.Client, number: int, reports: dict[int, mjbulk.Report]) -> None:
        rows = [{"email": f"p{number}-{row}@example.org"} for row in range(100)]
        reports[number] = balanced(await client.import_contacts(rows, lists=ADD, via=via))

    async def main() -> None:
        async with Emulator(QUICK) as emulator, QuickWorld(emulator).client() as client:
            reports: dict[int, mjbulk.Report] = {}
            emulator.knobs = Knobs(queue_seconds=60.0)
            with anyio.move_on_after(0.5) as scope:
                await one(client, 0, reports)
            assert scope.cancelled_caught
            emulator.knobs = QUICK
            async with anyio.create_task_group() as group:
                for number in range(1, 4):
                    group.start_soon(one, client, number, reports)
            assert {number: report.accepted for number, report in reports.items()} == dict.fromkeys((1, 2, 3), 100)

    anyio.run(main)


@BOTH_WAYS
async def test_an_import(world: QuickWorld, via: Any) -> None:
    """Rows that are taken, merged, refused here and refused there: each has one outcome, in several jobs."""
    rows = people(2_500)
    rows[6]["email"] = "no address"
    rows[8]["email"] = "P10@example.org"
    world.emulator.reject("p1999@example.org", "Refused, for a test")
    async with world.client(chunk_rows=500) as client:
        report = balanced(await client.import_contacts(rows, lists=ADD, via=via))
    assert (report.accepted, report.rejected, report.superseded, len(report.jobs)) == (2_497, 2, 1, 5)
    assert [(r.row, r.origin) for r in report.rejections] == [(7, "mjbulk"), (1999, "mailjet")]
    assert world.emulator.contacts["p1@example.org"].properties == {"city": "Graz"}


@BOTH_WAYS
async def test_a_file(world: QuickWorld, tmp_path: Path, via: Any) -> None:
    """A compressed file is read in a thread while its rows go out."""
    text = "email,city\n" + "".join(f"p{n}@example.org,Graz\n" for n in range(20_000))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode(), 1))
    async with world.client() as client:
        report = balanced(await client.import_contacts(tmp_path / "a.csv.gz", lists=ADD, via=via))
    assert (report.accepted, len(world.emulator.contacts)) == (20_000, 20_000)


async def test_an_answer_is_lost_and_a_body_is_too_large(world: QuickWorld) -> None:
    """One chunk goes again and one in halves; nobody is left out."""
    world.emulator.fault(POST, Fault.drop_after())
    world.emulator.fault(POST, Fault.answer(413), after=1)
    async with world.client(chunk_rows=10) as client:
        report = balanced(await client.import_contacts(people(40), lists=ADD))
    assert (report.accepted, len(report.jobs), len(world.emulator.contacts)) == (40, 5, 40)


async def test_a_run_is_halted(world: QuickWorld) -> None:
    """A refusal for which no row is at fault ends the run, and its report says which rows were not sent."""
    world.emulator.fault(POST, Fault.answer(403, "{}"), times=None)
    async with world.client(chunk_rows=10) as client:
        with pytest.raises(mjbulk.ImportHalted) as caught:
            await client.import_contacts(people(40), lists=ADD)
    assert balanced(caught.value.report).not_sent == 40


async def test_a_run_goes_on_from_its_journal(world: QuickWorld, tmp_path: Path) -> None:
    """A run that was stopped goes on in another client, and sends no chunk twice."""
    async with client_with(world, tmp_path / "imports.db", max_jobs=2) as client:
        run = client.start_import(people(60), lists=ADD, run_id="r")
        async for progress in run:
            if progress.accepted:
                break
        balanced(await run.stop())
        assert world.posts() < 12
    async with client_with(world, tmp_path / "imports.db") as client:
        report = balanced(await client.resume_import("r", people(60)))
        assert (report.accepted, world.posts()) == (60, 12)
        assert [(info.run_id, info.state) async for info in client.runs()] == [("r", "settled")]


def client_with(world: QuickWorld, journal: Path, **said: Any) -> mjbulk.Client:
    return mjbulk.Client(KEYS, world.settings(chunk_rows=5, **said), journal=journal)


async def test_one_job_has_many_watchers(world: QuickWorld) -> None:
    """Two await it, one reads its progress, one gives up: one stream of polls serves all."""
    world.emulator.knobs = Knobs(queue_seconds=0.2, prepare_seconds=0.0, import_seconds=0.0)
    async with world.client() as client:
        watcher = await client.submit_contacts(people(3), lists=ADD)
        impatient = asyncio.create_task(watcher.wait())
        both = asyncio.gather(watcher.wait(), watcher.wait())
        await asyncio.sleep(0)
        impatient.cancel()
        seen = [progress async for progress in watcher]
        first, second = await both
    assert impatient.cancelled()
    assert (first.ok, second.ok, seen[-1].ended) == (True, True, True)


async def test_a_program_that_gives_up(world: QuickWorld) -> None:
    """A timeout around an import stops it, and nothing is sent after that."""
    world.emulator.knobs = Knobs(queue_seconds=60.0)
    async with world.client(chunk_rows=10, max_jobs=2) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.import_contacts(people(100), lists=ADD)
        assert world.posts() == 2
    assert world.posts() == 2


LOADS = ([{"email": f"a{n}@example.org"} for n in range(50)], [{"email": f"b{n}@example.org"} for n in range(30)])


async def test_tenants_side_by_side(world: QuickWorld) -> None:
    """Each key has its client, its account and its report."""
    keys = [mjbulk.Credentials(name, "secret") for name in ("one", "two")]
    async with mjbulk.SessionPool(world.settings(chunk_rows=10)) as pool:
        imports = [pool.client(key).import_contacts([*rows], lists=ADD) for key, rows in zip(keys, LOADS, strict=True)]
        reports = await asyncio.gather(*imports)
    assert [balanced(report).accepted for report in reports] == [50, 30]


async def test_the_emulator_in_a_thread(mailjet: Mailjet) -> None:
    """The fixture that users have serves a client in this loop, which finds it in the environment."""
    mailjet.reject("p2@example.org", "No")
    report = balanced(await mjbulk.import_contacts([{"email": f"p{n}@example.org"} for n in (1, 2)], lists=ADD))
    assert (report.accepted, report.rejected) == (1, 1)
