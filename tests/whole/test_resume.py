"""Runs that go on: after a stop, after a lost answer, without their source, and what is refused."""

import asyncio
import io
import re
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support import KEYS, Database, World, balanced

import mjbulk
from mjbulk.journal.protocol import NoJournal
from mjbulk.journal.records import NoteRecord
from mjbulk.testing import Fault, Knobs

ROWS: list[dict[str, Any]] = [{"email": f"p{n}@example.org", "age": n} for n in range(1, 61)]
Begin = Callable[..., mjbulk.Client]


@pytest.fixture
def begin(world: World, database: Database) -> Begin:
    """A client with the journal of this test, as a new process would make it."""

    def client(**said: Any) -> mjbulk.Client:
        settings = {"chunk_rows": 10, "concurrency": 2, "attempts": 2, "poll_min": 0.1, **said.pop("settings", {})}
        return mjbulk.Client(
            KEYS, world.settings(**settings), journal=database.url, hooks=[world.events.append], **said
        )

    return client


async def stopped_after(run: mjbulk.ImportRun, accepted: int) -> mjbulk.Report:
    async for progress in run:
        if progress.accepted >= accepted:
            break
    return await run.stop()


async def test_the_same_call_goes_on_where_it_stood(world: World, begin: Begin) -> None:
    """Settled chunks are skipped, and the books are those of an undisturbed run; the third call tells what was."""
    world.emulator.reject("p7@example.org", "Invalid email")
    rows = [*ROWS[:30], {"email": "no address"}, *ROWS[30:]]
    async with begin(settings={"max_jobs": 1}) as client:
        first = await stopped_after(client.start_import(rows, lists={1: "addnoforce"}, run_id="r"), 15)
        assert 15 <= first.accepted < 60
        assert [run.state async for run in client.runs()] == ["resumable"]
    posts = world.posts()
    async with begin() as client:
        report = balanced(await client.import_contacts(rows, lists={1: "addnoforce"}, run_id="r"))
    assert (report.rows, report.accepted, report.rejected) == (61, 59, 2)
    assert world.posts() == 6
    assert posts < 6
    assert {r.row: r.data for r in report.rejections} == {7: rows[6], 31: rows[30]}
    async with begin() as client:
        stored = await client.import_contacts(rows, lists={1: "addnoforce"}, run_id="r")
        info = await client.get_run("r")
    assert world.posts() == 6
    assert stored.stored
    assert (stored.as_dict()["accepted"], stored.rejected, len(stored.jobs)) == (59, 2, 6)
    assert {r.row: (r.message, r.data) for r in stored.rejections}[7] == ("Invalid email", None)
    assert (info.state, info.rows, info.accepted) == ("settled", 61, 59)


async def test_a_stop_waits_for_requests_and_not_for_jobs(world: World, begin: Begin) -> None:
    """What is under way is answered and written down, and that is all: no other chunk is sent, no job waited for."""
    world.emulator.knobs = Knobs(queue_seconds=60.0)
    world.emulator.fault("POST contact/managemanycontacts", Fault.delay(after=2.0), times=None)
    async with begin() as client:
        run = client.start_import(ROWS, lists={1: "addnoforce"}, run_id="r")
        await asyncio.sleep(1.0)
        assert world.posts() == 2
        began = asyncio.get_running_loop().time()
        report = balanced(await run.stop())
        assert asyncio.get_running_loop().time() - began < 2.1
        assert (report.unknown, report.not_sent) == (20, 40)
        assert [chunk.state async for chunk in client.run_chunks("r")][:2] == ["watched"] * 2
    assert world.posts() == 2


async def test_a_stop_sends_no_other_half(world: World, begin: Begin) -> None:
    """If a chunk was halved, the half in flight gets its answer; the other half waits until the run is resumed."""
    world.emulator.knobs = Knobs(queue_seconds=60.0)
    world.emulator.fault("POST contact/managemanycontacts", Fault.answer(413))
    world.emulator.fault("POST contact/managemanycontacts", Fault.delay(after=2.0), times=None)
    async with begin(settings={"chunk_rows": 60}) as client:
        run = client.start_import(ROWS, lists={1: "addnoforce"}, run_id="r")
        await asyncio.sleep(1.0)
        assert world.posts() == 2
        report = balanced(await run.stop())
        assert (report.unknown, report.not_sent) == (30, 30)
        assert [chunk.state async for chunk in client.run_chunks("r")] == ["watched", "unsent"]
    assert world.posts() == 2


async def test_a_chunk_whose_known_job_has_ended_holds_no_slot(world: World, begin: Begin) -> None:
    """What is left to be sent of it waits its turn like all else: it keeps no slot from a chunk before it."""
    world.emulator.knobs = Knobs(queue_seconds=60.0)
    for fault in (Fault.stall(apply=False), Fault.answer(413), Fault.delay(after=2.0)):
        world.emulator.fault("POST contact/managemanycontacts", fault)
    async with begin(settings={"chunk_rows": 30}) as client:
        run = client.start_import(ROWS, lists={1: "addnoforce"}, run_id="r")
        await asyncio.sleep(1.0)
        balanced(await run.stop())
        assert [chunk.state async for chunk in client.run_chunks("r")] == ["sending", "watched", "unsent"]
    async with begin(settings={"max_jobs": 1}) as client:
        report = balanced(await client.import_contacts(ROWS, lists={1: "addnoforce"}, run_id="r", timeout=600))
    assert (report.accepted, len(report.jobs)) == (60, 3)


async def test_a_chunk_with_a_known_job_takes_one_slot_at_a_time(world: World, begin: Begin) -> None:
    """One for its known job, and later one for what is left; all are given back, and the next run has them."""
    world.emulator.knobs = Knobs(queue_seconds=60.0)
    for fault in (Fault.answer(413), Fault.delay(after=2.0)):
        world.emulator.fault("POST contact/managemanycontacts", fault)
    async with begin(settings={"chunk_rows": 30}) as client:
        run = client.start_import(ROWS[:30], lists={1: "addnoforce"}, run_id="r")
        await asyncio.sleep(1.0)
        await run.stop()
        assert [chunk.state async for chunk in client.run_chunks("r")] == ["watched", "unsent"]
    async with begin(settings={"chunk_rows": 30, "max_jobs": 2}) as client:
        report = balanced(await client.import_contacts(ROWS[:30], lists={1: "addnoforce"}, run_id="r"))
        assert (report.accepted, len(report.jobs)) == (30, 2)
        began = asyncio.get_running_loop().time()
        await client.import_contacts(ROWS, lists={1: "addnoforce"})
        assert asyncio.get_running_loop().time() - began < 100


async def test_a_source_that_changed_is_refused(world: World, begin: Begin) -> None:
    """Before anything is sent, with the rows that differ: one changed, one gone, one more, one that was bad before."""
    rows = [*ROWS[:30], {"email": "no address"}, *ROWS[30:]]
    world.emulator.fault("POST contact/managemanycontacts", Fault.drop_after(), times=None, after=3)
    async with begin() as client:
        with pytest.raises(mjbulk.ImportHalted):
            await client.import_contacts(rows, lists={1: "addnoforce"}, run_id="r")
    posts = world.posts()
    changed = {
        "rows 1-10": [{**rows[0], "age": 99}, *rows[1:]],
        "rows 11-20": [*rows[:15], *rows[16:]],
        "rows 32-41": [*rows[:30], {"email": "now@example.org"}, *rows[31:]],
        "rows 21-61": rows[:20],
    }
    for where, source in changed.items():
        async with begin() as client:
            with pytest.raises(mjbulk.JournalRefused, match=f"{where} are not what they were.*new run_id"):
                await client.import_contacts(source, lists={1: "addnoforce"}, run_id="r")
    assert world.posts() == posts


async def test_a_run_of_other_terms_is_refused(world: World, begin: Begin, database: Database) -> None:
    """Another list, action, way or columns; what is the caller's to change may change. Another account has runs of its
    own: it learns nothing of this one, and may use its name.
    """
    async with begin() as client:
        await client.import_contacts(ROWS, lists={1: "addnoforce"}, run_id="r")
        posts = world.posts()
        other: list[tuple[Any, dict[str, Any], str]] = [
            ({2: "addnoforce"}, {}, "lists"),
            ({1: "addforce"}, {}, "lists"),
            (None, {}, "lists"),
            ({1: "addnoforce"}, {"via": "csv"}, "via"),
            ({1: "addnoforce"}, {"columns": ["email"]}, "columns"),
            ({1: "addnoforce"}, {"nulls": "unassign"}, "nulls"),
        ]
        for lists, how, name in other:
            with pytest.raises(mjbulk.JournalRefused, match=f"another {name}=.*nothing was sent"):
                await client.import_contacts(ROWS, lists=lists, run_id="r", **how)
        again = await client.import_contacts(ROWS, lists={1: "addnoforce"}, run_id="r", timeout=9, max_rejected=1)
        assert again.stored
    stranger = mjbulk.Client(mjbulk.Credentials("another", "key"), world.settings(), journal=database.url)
    async with stranger as client:
        assert [run async for run in client.runs()] == []
        with pytest.raises(mjbulk.UsageError, match="no run 'r'"):
            await client.get_run("r")
        assert [run async for run in client.runs()] == []
    assert world.posts() == posts


async def test_a_name_that_means_another_list_now_is_refused(world: World, begin: Begin) -> None:
    """The run was begun for the list of that name, not for whichever has it later."""
    news = world.emulator.create_list("news")
    world.emulator.fault("POST contact/managemanycontacts", Fault.drop_before(), times=None, after=2)
    async with begin() as client:
        with pytest.raises(mjbulk.ImportHalted):
            await client.import_contacts(ROWS, lists={"news": "addnoforce"}, run_id="r")
    posts = world.posts()
    news.name = "old news"
    world.emulator.create_list("news")
    async with begin() as client:
        with pytest.raises(mjbulk.JournalRefused, match="for other lists"):
            await client.import_contacts(ROWS, lists={"news": "addnoforce"}, run_id="r")
    assert world.posts() == posts


async def test_two_at_one_run(world: World, begin: Begin) -> None:
    """The second is refused, in this client and in another; partitions are runs of their own."""
    async with begin() as one, begin() as two:
        run = one.start_import(ROWS, lists={1: "addnoforce"}, run_id="r", partition="a")
        async for progress in run:
            if progress.rows:
                break
        for client in (one, two):
            with pytest.raises(mjbulk.JournalRefused, match="under way"):
                await client.import_contacts(ROWS, lists={1: "addnoforce"}, run_id="r", partition="a")
        with pytest.raises(mjbulk.JournalRefused, match="under way"):
            await two.purge_run("r")
        assert (await two.get_run("r")).state == "running"
        other = await two.import_contacts(ROWS[:7], lists={1: "addnoforce"}, run_id="r", partition="b")
        assert (await run).accepted == 60
        assert other.accepted == 7
        both = await one.get_run("r")
        assert (both.state, both.rows, both.accepted, both.partition) == ("settled", 67, 67, None)
        await one.purge_run("r")
        with pytest.raises(mjbulk.UsageError, match="no run"):
            await one.get_run("r")


@pytest.mark.parametrize("action", ["addforce", "remove", "unsub"])
async def test_a_lost_answer_that_could_do_harm(world: World, begin: Begin, action: mjbulk.ActionWord) -> None:
    """It is not retried, in the run or when it is resumed; the caller's word settles it, from the same source."""
    world.emulator.fault("POST contact/managemanycontacts", Fault.drop_after(), after=1)
    async with begin() as client:
        report = balanced(await client.import_contacts(ROWS, lists={1: action}, run_id="r"))
        assert (report.accepted, report.unknown) == (50, 10)
        (why,) = report.unsettled
        assert "lost" in why.cause or "without an answer" in why.cause
        assert (await client.get_run("r")).state == "settled"
    async with begin() as client:
        stored = await client.resume_import("r", ROWS)
        assert (stored.stored, stored.unknown) == (True, 10)
        assert [unsettled.rows for unsettled in stored.unsettled] == [why.rows]
        assert world.posts() == 6
        settled = balanced(await client.resume_import("r", ROWS, resend="always"))
        assert (settled.accepted, settled.unknown, settled.unsettled) == (60, 0, ())
    assert world.posts() == 7


async def test_a_later_row_that_went_out_keeps_an_earlier_one_from_going_again(world: World, begin: Begin) -> None:
    """With addnoforce too: the earlier values would win. Without a later row of its people it goes."""
    rows = [*ROWS[:40], {"email": "p3@example.org", "age": 99}, *ROWS[40:]]
    world.emulator.fault("POST contact/managemanycontacts", Fault.drop_before(), times=2)
    async with begin(settings={"concurrency": 1}) as client:
        report = await client.import_contacts(rows, lists={1: "addnoforce"}, run_id="r", resend="never")
        assert report.unknown == 20
    async with begin() as client:
        safe = balanced(await client.resume_import("r", rows))
        assert (safe.accepted, safe.unknown) == (51, 10)
        assert [unsettled.rows for unsettled in safe.unsettled] == [(range(1, 11),)]
        assert world.emulator.contacts["p3@example.org"].properties["age"] == 99
        always = await client.resume_import("r", rows, resend="always")
        assert always.ok


async def rows_once() -> AsyncIterator[dict[str, Any]]:
    for row in ROWS:
        yield row


async def test_without_its_source_a_run_settles_what_is_known(world: World, begin: Begin) -> None:
    """Known jobs are watched to their end, the rest waits; with the source it goes to its own end."""
    world.emulator.knobs = Knobs(queue_seconds=30)
    async with begin(settings={"max_jobs": 3}) as client:
        run = client.start_import(rows_once(), lists={1: "addnoforce"}, run_id="r")
        async for progress in run:
            if progress.jobs.get("Allocated") == 3:
                break
        await run.stop()
        assert [run.state async for run in client.runs()] == ["resumable"]
    async with begin() as client:
        partial = balanced(await client.resume_import("r").wait())
        assert partial.accepted == 30
        assert not partial.complete
        assert "source is not at hand" in str(partial.halted)
        assert (await client.get_run("r")).state == "needs_source"
        posts = world.posts()
        whole = balanced(await client.import_contacts(rows_once(), lists={1: "addnoforce"}, run_id="r"))
        assert (whole.rows, whole.accepted) == (60, 60)
        assert world.posts() == 6
        assert posts == 3


async def test_without_its_source_rows_that_were_held_are_not_sent(world: World, tmp_path: Path) -> None:
    """Also where the process was killed: the journal knows them by their numbers alone, as it does refused rows."""

    def client(name: str) -> mjbulk.Client:
        return mjbulk.Client(KEYS, world.settings(chunk_rows=2, max_jobs=1, poll_min=0.1), journal=tmp_path / name)

    world.emulator.knobs = Knobs(queue_seconds=30)
    rows = [{"email": f"p{person}@example.org"} for person in (1, 2, 1, 3, 4, 1, 5, 6)]
    async with client("j.db") as first:
        run = first.start_import([*rows, {"email": "no address"}], lists={1: "addnoforce"}, run_id="r")
        async for progress in run:
            if progress.held and progress.jobs:
                break
        with (
            closing(sqlite3.connect(tmp_path / "j.db")) as journal,
            closing(sqlite3.connect(tmp_path / "k.db")) as copy,
        ):
            journal.backup(copy)
        await run.stop()
    async with client("k.db") as second:
        report = balanced(await second.resume_import("r").wait())
        assert (report.rows, report.accepted, report.superseded, report.rejected, report.not_sent) == (9, 2, 1, 1, 5)
        assert {report.outcome_of(row).state for row in range(4, 9)} == {"not_sent"}
        stored = balanced(await second.get_report("r"))
        assert [stored.outcome_of(row).state for row in range(1, 10)] == [
            report.outcome_of(row).state for row in range(1, 10)
        ]
        whole = balanced(await second.resume_import("r", [*rows, {"email": "no address"}]))
        assert (whole.rows, whole.accepted, whole.superseded, whole.rejected) == (9, 7, 1, 1)


async def test_without_its_source_a_rejection_waits_for_it(world: World, begin: Begin) -> None:
    """An error file names a person, and the journal knows none: the rows are unknown until the source is there."""
    world.emulator.reject("p7@example.org", "Invalid email")
    world.emulator.knobs = Knobs(queue_seconds=30)
    async with begin() as client:
        run = client.start_import(rows_once(), lists={1: "addnoforce"}, run_id="r")
        async for progress in run:
            if progress.jobs.get("Allocated") == 6:
                break
        await run.stop()
    async with begin() as client:
        partial = balanced(await client.resume_import("r").wait())
        assert (partial.accepted, partial.unknown) == (50, 10)
        whole = balanced(await client.resume_import("r", rows_once()))
        assert (whole.accepted, [r.row for r in whole.rejections]) == (59, [7])
        assert whole.complete


async def test_without_its_source_rejections_of_before_are_told(world: World, begin: Begin) -> None:
    """Those of a chunk that was settled, also where it was halved: by their rows, without addresses and data."""
    for number in (2, 7):
        world.emulator.reject(f"p{number}@example.org", f"Invalid email {number}")
    world.emulator.knobs = Knobs(import_seconds=lambda job: 0.1 if re.search(rb'"p[27]@', job.body or b"") else 60.0)
    world.emulator.fault("POST contact/managemanycontacts", Fault.answer(413))
    rows = [*ROWS[:8], {**ROWS[6], "age": 99}, {"email": "no address"}, *ROWS[8:30]]
    async with begin(settings={"concurrency": 1}) as client:
        run = client.start_import(iter(rows), lists={1: "addnoforce"}, run_id="r")
        async for progress in run:
            if progress.rejected == 4:
                break
        await asyncio.sleep(5.0)
        before = await run.stop()
        halves = [chunk async for chunk in client.run_chunks("r") if chunk.number == 1]
    assert [(chunk.state, chunk.rejected) for chunk in halves] == [("settled", 1), ("settled", 2)]
    assert (before.rejected, before.unknown > 0, before.not_sent) == (4, True, 0)
    posts = world.posts()
    async with begin() as client:
        report = balanced(await client.resume_import("r").wait())
        assert (report.rows, report.accepted, report.rejected, report.superseded) == (32, 28, 4, 0)
        assert report.complete
        info = await client.get_run("r")
    assert (info.accepted, info.rejected, info.unknown, info.state) == (28, 4, 0, "settled")
    mine, theirs = [r for r in report.rejections if r.row == 10], [r for r in report.rejections if r.row != 10]
    assert [(r.row, r.message, r.match) for r in sorted(theirs, key=lambda r: r.row or 0)] == [
        (2, "Invalid email 2", "exact"),
        (7, "Invalid email 7", "exact"),
        (9, "Invalid email 7", "exact"),
    ]
    assert [r.origin for r in (*mine, *theirs)] == ["mjbulk", "mailjet", "mailjet", "mailjet"]
    assert all(r.email is None and r.data is None for r in report.rejections)
    told = {r.row: (r.code, r.field, r.message) for r in before.rejections}
    assert {r.row: (r.code, r.field, r.message) for r in report.rejections} == told
    assert world.posts() == posts


@pytest.mark.parametrize("action", ["addforce", "addnoforce"])
async def test_an_import_whose_answer_was_lost_is_found_by_its_data(
    world: World, begin: Begin, action: mjbulk.ActionWord
) -> None:
    """Whatever the action: what is found is adopted. Other imports, before and after it, are not taken for it."""
    world.emulator.fault("POST csvimport", Fault.drop_after(), after=1)
    async with begin() as client:
        report = balanced(await client.import_contacts(ROWS, lists={1: action}, run_id="r", via="csv"))
    assert report.ok
    assert len(set(report.jobs)) == 6
    assert (world.posts("contactslist/csvdata"), world.posts("csvimport")) == (6, 6)


@pytest.mark.parametrize(("action", "posts", "unknown"), [("addnoforce", 7, 0), ("addforce", 6, 10), ("unsub", 6, 10)])
async def test_an_import_that_never_was(
    world: World, begin: Begin, action: mjbulk.ActionWord, posts: int, unknown: int
) -> None:
    """It is not found: what converges is retried, with the data that were uploaded; other rows are unknown."""
    world.emulator.fault("POST csvimport", Fault.drop_before(), after=1)
    async with begin() as client:
        report = balanced(await client.import_contacts(ROWS, lists={1: action}, run_id="r", via="csv"))
    assert report.unknown == unknown
    assert (world.posts("contactslist/csvdata"), world.posts("csvimport")) == (6, posts)


async def test_an_exclusion_that_was_lost(world: World, begin: Begin) -> None:
    """An exclusion as JSON is not retried, nor is one within a row; as CSV it is found."""
    world.emulator.drop_answer("POST contact/managemanycontacts")
    world.emulator.drop_answer("POST csvimport")
    people = [row["email"] for row in ROWS]
    async with begin() as client:
        assert (await client.exclude_contacts(people, run_id="json")).unknown == 10
        assert (await client.include_contacts(people, run_id="csv", via="csv")).ok
        world.emulator.drop_answer("POST contact/managemanycontacts")
        marked = [{"email": who, "IsExcludedFromCampaigns": True} for who in people]
        assert (await client.import_contacts(marked, lists=None, run_id="rows")).unknown == 10
        assert (await client.resume_import("rows", marked)).unknown == 10


async def test_a_disk_that_is_full_halts_the_run(world: World, begin: Begin) -> None:
    """Rows cannot be stored any more: the report has what is known, and the run can be resumed later."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    rows = [{"email": f"p{n}@example.org", "city": f"{n:04}" * 250} for n in range(1, 301)]
    async with begin(settings={"chunk_rows": 60}) as client:
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, limits[1]))
        try:
            with pytest.raises(mjbulk.ImportHalted, match=r"File too large|cannot be") as caught:
                await client.import_contacts(rows, lists={1: "addnoforce"}, run_id="r")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert balanced(caught.value.report).accepted < 300
    async with begin() as client:
        assert balanced(await client.import_contacts(rows, lists={1: "addnoforce"}, run_id="r")).ok


async def test_what_jobs_taught_is_known_to_the_next_process(world: World, begin: Begin) -> None:
    """A new client knows how long jobs take before its first look; what cannot be read is learned again."""
    world.emulator.knobs = type(world.emulator.knobs)(queue_seconds=600, import_seconds=60)
    async with begin() as client:
        await client.import_contacts(ROWS, lists={1: "addnoforce"}, run_id="first")
    looks = world.emulator.count("GET contact/managemanycontacts")
    async with begin() as client:
        await client.import_contacts(ROWS, lists={1: "addnoforce"}, run_id="second")
    assert world.emulator.count("GET contact/managemanycontacts") - looks < looks / 2
    async with begin() as client:
        owner = client._ready().owner
        await client._journal.put(NoteRecord(account=owner, name="jobs: contact", text="{}"))
    async with begin() as client:
        assert (await client.import_contacts(ROWS, lists={1: "addnoforce"}, run_id="third")).ok


async def test_a_run_that_was_refused_leaves_nothing(world: World, begin: Begin) -> None:
    """A wrong list, a wrong column: it was never begun, and its name is free for other terms."""
    async with begin() as client:
        for rows, number in ((ROWS, 99), ([{"email": "a@example.org", "shoe": 9}], 1)):
            with pytest.raises(mjbulk.UsageError):
                await client.import_contacts(rows, lists={number: "addforce"}, run_id="r")
            assert [run async for run in client.runs()] == []
        assert (await client.import_contacts(ROWS, lists={1: "addnoforce"}, run_id="r")).ok


async def test_a_run_that_goes_on_again_is_not_settled(world: World, begin: Begin) -> None:
    """Its source was missing, and is given now: while it sends it is running, and after a stop it can be resumed."""
    world.emulator.knobs = Knobs(queue_seconds=30)
    async with begin(settings={"max_jobs": 3}) as client:
        await stopped_after(client.start_import(rows_once(), lists={1: "addnoforce"}, run_id="r"), 1)
        await client.resume_import("r").wait()
        assert [run.state async for run in client.runs()] == ["needs_source"]
        run = client.start_import(rows_once(), lists={1: "addnoforce"}, run_id="r")
        async for progress in run:
            if progress.jobs.get("Allocated"):
                assert [run.state async for run in client.runs()] == ["running"]
                break
        await run.stop()
        assert [run.state async for run in client.runs()] == ["resumable"]
        assert (await client.import_contacts(rows_once(), lists={1: "addnoforce"}, run_id="r")).ok


async def test_jobs_that_are_watched_again_are_in_the_report(world: World, begin: Begin) -> None:
    """They are in the stored report too, so that all of them can be found at Mailjet."""
    world.emulator.knobs = type(world.emulator.knobs)(queue_seconds=30)
    async with begin() as client:
        run = client.start_import(ROWS, lists={1: "addnoforce"}, run_id="r")
        async for progress in run:
            if progress.jobs.get("Allocated") == 6:
                break
        taken = (await run.stop()).jobs
    async with begin() as client:
        report = balanced(await client.import_contacts(ROWS, lists={1: "addnoforce"}, run_id="r"))
        stored = await client.import_contacts(ROWS, lists={1: "addnoforce"}, run_id="r")
    assert len(taken) == 6
    assert sorted(map(str, report.jobs)) == sorted(map(str, stored.jobs)) == sorted(map(str, taken))


@pytest.mark.parametrize("alone", [False, True])
async def test_a_row_that_is_refused_when_it_is_sent_again(world: World, begin: Begin, *, alone: bool) -> None:
    """It is rejected if other rows of its chunk are accepted. If it is alone in its chunk, it is not known what the
    first request did. It is not sent a third time: Mailjet has said what it does to it.
    """
    rows = ROWS[6:7] if alone else ROWS[:10]
    counts = (0, 0, 1) if alone else (9, 1, 0)
    world.emulator.poison("p7@example.org")
    world.emulator.fault("POST contact/managemanycontacts", Fault.drop_before())
    async with begin() as client:
        report = balanced(await client.import_contacts(rows, lists={1: "addnoforce"}, run_id="r"))
    assert (report.accepted, report.rejected, report.unknown) == counts
    causes = ["refused when it was retried" in why.cause for why in report.unsettled]
    assert causes == ([True] if alone else [])
    posts = world.posts()
    for resend in ("safe", "always"):
        async with begin() as client:
            stored = await client.import_contacts(rows, lists={1: "addnoforce"}, run_id="r", resend=resend)
            assert (stored.stored, stored.accepted, stored.rejected, stored.unknown) == (True, *counts)
    assert world.posts() == posts


@pytest.mark.parametrize("answer_takes", [0.0, 5.0])
async def test_a_later_row_that_has_waited_goes_out_as_well(world: World, begin: Begin, answer_takes: float) -> None:
    """Whether its chunk was cut before the earlier one was in doubt, or after it: the earlier one stays as it is."""
    rows = [*ROWS[:11], {"email": "p3@example.org", "age": 99}]
    lost = Fault(apply=False, delay_before=answer_takes, raw=b"", end="close")
    world.emulator.fault("POST contact/managemanycontacts", lost)
    async with begin() as client:
        report = await client.import_contacts(rows, lists={1: "addnoforce"}, run_id="r", resend="never")
        assert (report.accepted, report.unknown) == (2, 10)
    async with begin() as client:
        assert (await client.resume_import("r", rows)).unknown == 10
    assert world.emulator.contacts["p3@example.org"].properties["age"] == 99


async def test_a_later_row_that_has_not_gone_out_keeps_nothing_back(world: World, begin: Begin) -> None:
    """A run that halts while it waits: what is in doubt goes again, and then the later row."""
    rows = [*ROWS[:11], {"email": "p3@example.org", "age": 99}]
    world.emulator.fault("POST contact/managemanycontacts", Fault.drop_after(), times=None)
    async with begin() as client:
        with pytest.raises(mjbulk.ImportHalted):
            await client.import_contacts(rows, lists={1: "addnoforce"}, run_id="r")
    world.emulator._faults._entries.clear()
    async with begin() as client:
        report = balanced(await client.resume_import("r", rows))
    assert (report.accepted, report.unknown) == (12, 0)
    assert world.emulator.contacts["p3@example.org"].properties["age"] == 99


# What was found wanting


@pytest.mark.parametrize("bad_before", [True, False])
async def test_a_row_that_was_refused_and_is_good_now_counts_once(
    world: World, begin: Begin, *, bad_before: bool
) -> None:
    """Rows after the last known chunk are read again: what they are now counts, in the stored report as well."""
    now, before = list(ROWS), list(ROWS)
    (before if bad_before else now)[44] = {"email": "no address"}

    async def failing() -> AsyncIterator[dict[str, Any]]:
        for row in before[:48]:
            yield row
        raise ConnectionError

    how: Any = {"lists": {1: "addnoforce"}, "run_id": "r"}
    async with begin(settings={"chunk_rows": 40}) as client:
        with pytest.raises(mjbulk.ImportHalted):
            await client.import_contacts(failing(), **how)
    async with begin(settings={"chunk_rows": 40}) as client:
        report = balanced(await client.import_contacts(now, **how))
        stored = balanced(await client.import_contacts(now, **how))
    assert (report.rows, report.rejected) == (60, 0 if bad_before else 1)
    assert (stored.rows, stored.accepted, stored.rejected) == (60, report.accepted, report.rejected)


async def test_columns_that_have_changed_their_places_are_refused(world: World, begin: Begin) -> None:
    """Records of a CSV file do not name their columns: the header counts as well."""
    for name in ("first", "last"):
        world.emulator.create_property(name, "str")
    records = "".join(f"p{n}@example.org,F{n},L{n}\n" for n in range(40))
    how: Any = {"lists": {1: "addnoforce"}, "run_id": "r", "via": "csv"}
    world.emulator.fault("POST csvimport", Fault.answer(401, b""), times=None, after=2)
    async with begin() as client:
        await client.start_import(csv_of("email,first,last", records), **how).wait()
    world.emulator._faults._entries.clear()
    async with begin() as client:
        with pytest.raises(mjbulk.JournalRefused, match="the source has changed"):
            await client.import_contacts(csv_of("email,last,first", records), **how)
        assert (await client.import_contacts(csv_of("email,first,last", records), **how)).ok
    assert {one.properties["first"][0] for one in world.emulator.contacts.values()} == {"F"}


def csv_of(header: str, records: str) -> mjbulk.Source:
    return mjbulk.csv_source(io.BytesIO(f"{header}\n{records}".encode()))


async def test_two_names_of_one_journal_are_one(world: World, tmp_path: Path) -> None:
    """A link leads to the same file, so a run that is under way there is refused."""
    world.emulator.fault("POST contact/managemanycontacts", Fault.delay(after=1.0), times=None)
    file, link = tmp_path / "imports.db", tmp_path / "link.db"
    link.symlink_to(file)
    async with mjbulk.Client(KEYS, world.settings(), journal=file) as one:
        run = one.start_import(ROWS, lists={1: "addforce"}, run_id="r")
        await asyncio.sleep(0.5)
        async with mjbulk.Client(KEYS, world.settings(), journal=link) as two:
            with pytest.raises(mjbulk.JournalRefused, match="under way"):
                await two.import_contacts(ROWS, lists={1: "addforce"}, run_id="r")
        assert (await run).ok
    assert world.posts() == 1


async def test_a_stop_tells_of_every_row(world: World, begin: Begin) -> None:
    """Also of the chunk that waits for room."""
    world.emulator.fault("POST contact/managemanycontacts", Fault.delay(after=3.0), times=None)
    async with begin() as client:
        run = client.start_import(
            [{"email": f"p{n}@example.org"} for n in range(200)], lists={1: "addforce"}, run_id="r"
        )
        await asyncio.sleep(1.0)
        report = balanced(await run.stop())
    assert report.unknown + report.not_sent == report.rows
    assert {row for why in report.unsettled for rows in why.rows for row in rows} == set(range(1, report.rows + 1))


async def test_a_stop_does_not_wait_for_a_source_that_will_not_close(world: World, begin: Begin) -> None:
    """What it does when it is closed is the user's: the run ends within its bounds all the same."""

    async def rows() -> AsyncIterator[dict[str, Any]]:
        try:
            for row in ROWS:
                yield row
            await asyncio.sleep(1e6)
        finally:
            await asyncio.sleep(5_000.0)

    async with begin() as client:
        run = client.start_import(rows(), lists={1: "addnoforce"}, run_id="r")
        await asyncio.sleep(5.0)
        began = asyncio.get_running_loop().time()
        balanced(await run.stop())
        assert asyncio.get_running_loop().time() - began < 30


async def test_a_row_of_which_nothing_can_be_kept_harms_no_run(world: World, begin: Begin) -> None:
    """Its name of a column is no text, its message has a NUL: it is rejected by its number, in the journal as well."""
    world.emulator.reject("p5@example.org", "bad \0 value")
    odd = [*ROWS[:20], {"email": "x@example.org", "na\ud800me": 1}, {"email": "y@example.org", "na\0me": 1}]
    async with begin() as client:
        first, second = (
            client.start_import(rows, lists={1: "addnoforce"}, run_id=name)
            for name, rows in (("odd", [*odd, *ROWS[20:]]), ("even", ROWS))
        )
        assert [r.row for r in (await first).rejections] == [21, 22, 5]
        assert (await second).rejected == 1
    async with begin() as client:
        for name, rejected in (("odd", 3), ("even", 1)):
            stored = balanced(await client.resume_import(name, []).wait())
            assert (stored.stored, stored.rejected) == (True, rejected)


async def test_a_client_that_is_cancelled_while_it_closes(world: World, begin: Begin) -> None:
    """It lets go of everything all the same, and the run can go on."""
    client = begin()
    await client.__aenter__()
    client.start_import(ROWS, lists={1: "addnoforce"}, run_id="r")
    await asyncio.sleep(1.0)
    closing = asyncio.create_task(client.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await asyncio.sleep(20.0)
    async with begin() as other:
        assert (await other.import_contacts(ROWS, lists={1: "addnoforce"}, run_id="r")).accepted == 60


class Frozen(NoJournal):
    """A journal whose server stops without a word."""

    frozen = False

    async def put(self, *_: Any, **__: Any) -> None:
        if self.frozen:
            await asyncio.sleep(1e9)


async def test_a_stop_does_not_wait_for_a_journal_that_does_not_answer(world: World) -> None:
    """The run is halted, and says why, within a bounded time."""
    world.emulator.fault("POST contact/managemanycontacts", Fault.delay(after=3.0), times=None)
    journal = Frozen()
    settings = world.settings(chunk_rows=10)
    client = mjbulk.Client.pooled(KEYS, settings, mjbulk.Assumptions(), (), journal=journal, quota=None)
    run = client.start_import(ROWS, lists={1: "addnoforce"}, run_id="r")
    await asyncio.sleep(1.0)
    journal.frozen = True
    began = asyncio.get_running_loop().time()
    report = balanced(await run.stop())
    assert asyncio.get_running_loop().time() - began < 60
    assert report.halted is not None
    await client.aclose()


async def test_a_wrong_source_does_no_harm(world: World, begin: Begin) -> None:
    """It is refused before its end; the right one has as many rows as it had, and the books keep those."""
    world.emulator.drop_answer("POST contact/managemanycontacts")
    async with begin() as client:
        assert (await client.import_contacts(ROWS, lists={1: "addforce"}, run_id="r")).unknown == 10
        wrong = [{**ROWS[0], "age": 99}, *ROWS[1:10], {**ROWS[10], "city": None}, *ROWS[11:]]
        with pytest.raises(mjbulk.JournalRefused, match="changed"):
            await client.resume_import("r", wrong, resend="always")
        assert (await client.get_run("r")).rows == 60
        report = balanced(await client.resume_import("r", ROWS, resend="always"))
    assert (report.rows, report.accepted) == (60, 60)


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("again", ["the same call", "resume_import"])
async def test_an_import_in_doubt_is_looked_for_though_all_was_read(
    world: World, begin: Begin, again: str, *, applied: bool
) -> None:
    """It is not retried. If it is not found, the cause names it, as an upload alone has no effect; then the run has
    ended.
    """
    how: Any = {"lists": {1: "unsub"}, "via": "csv", "run_id": "r"}
    world.emulator.fault("POST csvimport", Fault.stall(apply=applied))
    async with begin(settings={"stop_within": 1.0}) as client:
        run = client.start_import(ROWS[:1], **how)
        await asyncio.sleep(5.0)
        assert (await run.stop()).unknown == 1
        assert (await client.get_run("r")).state == "resumable"
    for stored in (False, True):
        async with begin() as client:
            resumed = again == "resume_import" and not stored
            run = client.resume_import("r") if resumed else client.start_import(ROWS[:1], **how)
            report = await run.wait()
            assert (await client.get_run("r")).state == "settled"
        assert (report.stored, report.accepted, report.unknown) == (stored, applied, not applied)
        assert world.posts("csvimport") == 1
    if not applied and again == "the same call":
        assert report.unsettled[0].cause.startswith("no usable answer to POST csvimport after 1 attempt (the run ended")
