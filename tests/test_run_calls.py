"""The calls about runs: those under way, and those that a journal knows. Runs that go on are in ``tests/whole``."""

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from support import KEYS, World, balanced

import mjbulk
from mjbulk.testing import Fault

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
ROWS = [{"email": f"p{n}@example.org"} for n in range(1, 61)]
Begin = Callable[..., mjbulk.Client]


@pytest.fixture
def begin(world: World, tmp_path: Path) -> Begin:
    """A client with a journal, as a new process would make it."""

    def client(**said: Any) -> mjbulk.Client:
        settings = {"chunk_rows": 10, "concurrency": 2, "attempts": 2, "poll_min": 0.1, **said}
        return mjbulk.Client(KEYS, world.settings(**settings), journal=tmp_path / "j.db", hooks=[world.events.append])

    return client


async def test_runs_under_way_stand_in_their_order(world: World) -> None:
    """And one that has ended is there no more."""
    async with world.client() as client:
        assert not client.active_runs
        runs = [client.start_import([{"email": f"{n}@example.org"}], lists=ADD, run_id=f"r{n}") for n in range(5)]
        assert list(client.active_runs) == runs
        await runs[2].stop()
        assert list(client.active_runs) == [*runs[:2], *runs[3:]]
        await asyncio.wait([run.task for run in runs])
        assert not client.active_runs


def books(report: mjbulk.Report) -> list[Any]:
    """What a report says of the rows and their jobs, without what a journal does not keep."""
    rejected = sorted((r.row or 0, r.message, r.match, r.origin) for r in balanced(report).rejections)
    rows = [list(report.accepted_rows()), list(report.superseded_rows()), rejected]
    unsettled = {(why.rows, why.job) for why in report.unsettled}
    return [report.as_dict() | {"seconds": 0, "unsettled": None}, rows, unsettled, set(report.jobs), str(report.halted)]


async def test_the_report_of_a_run_is_in_its_journal(world: World, begin: Begin) -> None:
    """With each outcome, also in a process that has never seen the run; nothing is sent for it."""
    world.emulator.reject("p7@example.org", "Invalid email")
    world.emulator.fault("POST contact/managemanycontacts", Fault.drop_after(), after=2)
    rows = [*ROWS[:30], {"email": "no address"}, *ROWS[30:33], ROWS[31], *ROWS[33:]]
    async with begin(concurrency=1) as client:
        report = await client.import_contacts(rows, lists={1: "addforce"}, run_id="r")
    assert (report.accepted, report.rejected, report.superseded, report.unknown) == (49, 2, 1, 10)
    world.events.clear()
    async with begin() as client:
        stored = await client.get_report("r")
    assert stored.stored
    assert books(stored) == books(report)
    assert stored.spec == report.spec
    assert not world.requests()


async def test_rows_that_were_merged_and_rejected_are_rejected_in_the_journal(world: World, begin: Begin) -> None:
    """Also beside merged rows of somebody else in the same job, which were superseded."""
    world.emulator.reject("p7@example.org", "Invalid email")
    async with begin() as client:
        report = await client.import_contacts([*ROWS[:8], *ROWS[5:8]], lists=ADD, run_id="r")
        assert (report.accepted, report.rejected, report.superseded) == (7, 2, 2)
        stored = await client.get_report("r")
    assert books(stored) == books(report)
    assert [stored.outcome_of(row).state for row in (6, 7, 9, 10)] == ["superseded", "rejected", "accepted", "rejected"]


@pytest.mark.parametrize("via", ["json", "csv"])
async def test_the_rejected_rows_of_a_run_that_has_ended_are_read_again(
    world: World, begin: Begin, tmp_path: Path, via: Any
) -> None:
    """Nothing is sent or written, and the books are those of the run, also with rows in doubt."""
    world.emulator.reject("p7@example.org", "Invalid email")
    world.emulator.fault("POST contact/managemanycontacts", Fault.drop_after(), after=2)
    path = tmp_path / "a.csv"
    addresses = [row["email"] for row in (*ROWS[:30], {"email": "nobody"}, *ROWS[30:], {"email": "nowhere"})]
    path.write_text("".join(f"{address}\n" for address in ("email", *addresses)))
    async with begin(concurrency=1) as client:
        report = await client.import_contacts(path, lists={1: "addforce"}, run_id="r", via=via)
    assert (report.rejected, report.unknown) == (3, 10 if via == "json" else 0)
    async with begin() as client:
        before = await client.get_run("r")
        sent = [call for call in world.emulator.calls if call.method != "GET"]
        given = mjbulk.csv_source(io.BytesIO(path.read_bytes()))
        again = [await client.get_report("r", rows=True), await client.get_report("r", source=given)]
        assert await client.get_run("r") == before
        assert [call for call in world.emulator.calls if call.method != "GET"] == sent
    for found in again:
        assert found.stored
        assert books(found) == books(report)
        assert sorted((one.row, one.email, one.data) for one in found.rejections) == [
            (7, addresses[6], {"email": addresses[6]}),
            (31, "nobody", {"email": "nobody"}),
            (62, "nowhere", {"email": "nowhere"}),
        ]


async def test_the_rows_of_a_run_without_a_good_one_are_read_again(begin: Begin, tmp_path: Path) -> None:
    """No chunk was cut."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"email": "nobody"}\n7\n')
    async with begin() as client:
        await client.import_contacts(path, lists=ADD, run_id="r")
        found = await client.get_report("r", rows=True)
        assert [(one.row, one.data) for one in balanced(found).rejections] == [(1, {"email": "nobody"}), (2, None)]
        assert len((await client.get_report("r")).rejections) == 2


async def test_rows_are_not_read_again_from_another_source(begin: Begin, tmp_path: Path) -> None:
    """Nor from none, nor where rows are to be sent. The run stays what it was."""
    path = tmp_path / "a.csv"
    path.write_text("email\na@example.org\nnobody\nb@example.org\n")
    async with begin() as client:
        await client.import_contacts(path, lists=ADD, run_id="r")
        before = await client.get_run("r")
        for text in ("email\nb@example.org\nnobody\na@example.org\n", "email\na@example.org\nnobody\n"):
            path.write_text(text)
            with pytest.raises(mjbulk.JournalRefused, match="has changed"):
                await client.get_report("r", rows=True)
        path.unlink()
        with pytest.raises(mjbulk.UsageError, match="source of run 'r' is not at hand"):
            await client.get_report("r", rows=True)
        assert await client.get_run("r") == before
        await stopped(client, "s")
        with pytest.raises(mjbulk.UsageError, match="run 's' is not complete: resume it"):
            await client.get_report("s", source=ROWS)


async def test_the_report_of_a_run_that_stopped_early_says_so(world: World, begin: Begin) -> None:
    """It is the one that the exception had."""
    world.emulator.fault("POST contact/managemanycontacts", Fault.delay(after=3.0), times=None)
    async with begin() as client:
        run = client.start_import(ROWS, lists=ADD, run_id="r")
        await asyncio.sleep(1.0)
        report = await run.stop()
        assert report.unknown
        assert report.not_sent
        assert books(await client.get_report("r")) == books(report)


async def test_a_run_that_has_not_ended_has_no_report(begin: Begin) -> None:
    """Here, in another process, or in one that has ended before the run did; nor has a run that never was."""
    async with begin() as client:
        run = client.start_import(ROWS, lists=ADD, run_id="r")
        async for progress in run:
            if progress.jobs:
                break
        async with begin() as other:
            for either in (client, other):
                with pytest.raises(mjbulk.UsageError, match="is under way"):
                    await either.get_report("r")
        await run.stop()
        with pytest.raises(mjbulk.UsageError, match="no run 'nobody'"):
            await client.get_report("nobody")
        journal: Any = client._journal
        find = journal.find

        async def find_unclosed(*which: str) -> Any:
            known = await find(*which)
            return known and evolve(known, run=evolve(known.run, closed=False))

        journal.find = find_unclosed
        with pytest.raises(mjbulk.UsageError, match="before the run did: resume it"):
            await client.get_report("r")


async def test_each_partition_has_a_report(begin: Begin) -> None:
    """Rows of two partitions have the same numbers, so there is none of both."""
    async with begin() as client:
        for rows, name in ((ROWS[:10], "a"), (ROWS[10:40], "b")):
            await client.import_contacts(rows, lists=ADD, run_id="r", partition=name)
        assert [(await client.get_report("r", partition=name)).accepted for name in ("a", "b")] == [10, 30]
        with pytest.raises(mjbulk.UsageError, match="partitions 'a', 'b'"):
            await client.get_report("r")


async def stopped(client: mjbulk.Client, run_id: str, **how: Any) -> mjbulk.Report:
    """Begin an import, and stop it when its first job is known."""
    run = client.start_import(how.pop("rows", ROWS), lists=ADD, run_id=run_id, **how)
    async for progress in run:
        if progress.jobs:
            break
    return await run.stop()


async def test_all_runs_that_can_go_on_are_resumed(world: World, begin: Begin, tmp_path: Path) -> None:
    """Each in its own task: those whose file is there to their ends, others as far as it goes without their source.
    A run that has ended, or that only its source can help, is left alone.
    """
    (file := tmp_path / "rows.csv").write_text("email\n" + "\n".join(row["email"] for row in ROWS))
    world.emulator.fault("POST contact/managemanycontacts", Fault.delay(after=3.0), times=None)
    async with begin() as client:
        await client.import_contacts(ROWS[:10], lists=ADD, run_id="ended")
        for run_id, rows in (("file", file), ("rows", ROWS), ("part", ROWS)):
            await stopped(client, run_id, rows=rows, partition="1" if run_id == "part" else None)
        await client.resume_import("rows").wait()
        states = {info.run_id: info.state async for info in client.runs()}
    assert states == {"ended": "settled", "file": "resumable", "rows": "needs_source", "part": "resumable"}
    async with begin() as client:
        resumed = {run.run_id: run for run in await client.resume_all()}
        assert {*client.active_runs} == {*resumed.values()}
        assert resumed.keys() == {"file", "part"}
        assert (await resumed["file"]).ok
        assert (await resumed["part"].wait()).halted


async def test_runs_of_another_process_are_left_out(begin: Begin) -> None:
    """Also those that it has opened since they were listed."""
    async with begin() as one, begin() as other:
        for run_id in ("a", "b", "c"):
            await stopped(one, run_id)
        under_way = await one.resume_import("a", ROWS).started()
        journal: Any = other._journal
        find = journal.find

        async def late(*which: str) -> Any:
            if which[0] == "b":
                await one.resume_import("b", ROWS).started()
            return await find(*which)

        journal.find = late
        assert [run.run_id for run in await other.resume_all()] == ["c"]
        assert (await under_way).ok


async def test_a_run_that_cannot_be_opened_is_given(begin: Begin) -> None:
    """Awaiting it tells why."""
    async with begin() as client:
        await stopped(client, "a")

        async def damaged(_: object) -> Any:
            raise mjbulk.JournalRefused("the journal is damaged")

        journal: Any = client._journal
        journal.open_run = damaged
        (run,) = await client.resume_all()
        with pytest.raises(mjbulk.JournalRefused, match="damaged"):
            await run


@pytest.mark.parametrize(("resend", "kept"), [("never", "never"), ("always", "safe"), ("safe", "safe")])
async def test_nothing_is_resumed_with_more_than_care(begin: Begin, resend: Any, kept: str) -> None:
    """The word of the caller was for the people as they were then."""
    async with begin() as client:
        await stopped(client, "a", resend=resend)
        (run,) = await client.resume_all()
        assert (await run.wait()).spec.resend == kept
