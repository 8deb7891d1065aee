"""Imports of many runs and of several processes with one journal."""

import asyncio
from pathlib import Path

import pytest
from commands import TO_LIST, people, running
from support import KEYS, Database, World, balanced

import mjbulk
from mjbulk.events import Event
from mjbulk.testing import Knobs, Mailjet


async def test_fifty_runs_side_by_side(world: World, database: Database) -> None:
    """In one journal, of two clients of one pool; each account sees its own."""
    world.emulator.knobs = Knobs(queue_seconds=1.0)
    keys = [KEYS, mjbulk.Credentials("another-key", "another-secret")]
    async with mjbulk.SessionPool(world.settings(chunk_rows=5), journal=database.url) as pool:
        clients = [pool.client(one) for one in keys]
        runs = [
            clients[n % 2].start_import(
                [{"email": f"p{n}-{row}@example.org"} for row in range(20)], lists={1: "addnoforce"}, run_id=f"r{n}"
            )
            for n in range(50)
        ]
        reports = [balanced(await run) for run in runs]
        assert all(report.ok and report.accepted == 20 for report in reports)
        for place_of, client in enumerate(clients):
            infos = [info async for info in client.runs()]
            assert {info.run_id for info in infos} == {f"r{n}" for n in range(place_of, 50, 2)}
            assert {(info.state, info.accepted) for info in infos} == {("settled", 20)}
        with pytest.raises(mjbulk.UsageError, match="no run 'r1'"):
            await clients[0].get_run("r1")
    assert world.posts() == 200


@pytest.mark.smoke
@pytest.mark.parametrize("moment", [3, 30, 90])
async def test_a_client_that_is_closed_while_a_run_writes(world: World, database: Database, moment: int) -> None:
    """Whatever is under way then is on disk when it has closed, and goes on from there."""
    rows = [{"email": f"p{n}@example.org"} for n in range(300)]
    events: list[Event] = []
    now = asyncio.Event()

    def look(event: Event) -> None:
        events.append(event)
        if sum(event.rows or 0 for event in events if event.name == "journal.writing") >= moment:
            now.set()

    settings = world.settings(chunk_rows=10, concurrency=3)
    async with mjbulk.Client(KEYS, settings, journal=database.url, hooks=[look]) as client:
        run = client.start_import(rows, lists={1: "addnoforce"}, run_id="r")
        await now.wait()
        await client.aclose()
    report = balanced(await run.wait())
    assert not report.complete
    async with mjbulk.Client(KEYS, settings, journal=database.url) as client:
        info = await client.get_run("r")
        assert (info.state, info.accepted) == ("resumable", report.accepted)
        assert (await client.import_contacts(rows, lists={1: "addnoforce"}, run_id="r")).ok
    assert world.posts() == 30


@pytest.mark.real_time
def test_two_processes_on_one_journal(mailjet: Mailjet, database: Database, tmp_path: Path) -> None:
    """With runs of their own both come to their end; with the same one the second is refused."""
    mailjet.emulator.knobs = Knobs(queue_seconds=0.5)
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(people(50).replace("p", name))
    words = [*TO_LIST, "--chunk-size", "5", "--max-jobs", "3", "--quiet", "--journal", database.url]
    with (
        running("import", f"{tmp_path}/a.csv", *words, "--run-id", "a") as a,
        running("import", f"{tmp_path}/b.csv", *words, "--run-id", "b") as b,
    ):
        outcomes = [process.communicate(timeout=40) for process in (a, b)]
    assert (a.returncode, b.returncode) == (0, 0)
    said = [line for _, errors in outcomes for line in errors.splitlines()]
    assert [line for line in said if "50 rows · accepted" not in line] == []  # how far they are, if they are slow
    assert len(mailjet.contacts) == 100
