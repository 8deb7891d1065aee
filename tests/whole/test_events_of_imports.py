"""The guide's table of events, held against whole imports; and what the log says of them."""

import asyncio
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest
from support import KEYS, World, balanced

import mjbulk
from mjbulk.events import EventName
from mjbulk.journal.records import RunRecord
from mjbulk.journal.sql import SqlJournal
from mjbulk.models import COUNT_NAMES
from mjbulk.testing import Fault

GUIDE = (
    (Path(mjbulk.__file__).parent / "guides" / "operations.md").read_text(encoding="utf-8").partition("\n## Events")[2]
)
TABLE = {
    name: (set(re.findall(r"\w+", always)), set(re.findall(r"\w+", sometimes)))
    for name, always, sometimes in re.findall(r"^\| `([a-z.]+)` \| `([^|]*)` \|([^|]*)\| .+ \|$", GUIDE, re.MULTILINE)
}
ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
FORCE: dict[int, mjbulk.ActionWord] = {1: "addforce"}
POST = "POST contact/managemanycontacts"


def people(count: int) -> list[dict[str, Any]]:
    """Rows, the fourth of which is bad."""
    rows = [{"email": f"canary{number}@example.org"} for number in range(count)]
    rows[3] = {"email": "canary-bad"}
    return rows


def seen(events: Iterable[mjbulk.Event]) -> dict[str, list[set[str]]]:
    """The fields of each event, by their names."""
    found: dict[str, list[set[str]]] = defaultdict(list)
    for event in events:
        found[event.name].append({*event.as_dict()} - {"name"})
    return found


def outcomes(events: Iterable[mjbulk.Event], *names: str) -> Counter[str]:
    return sum(
        (
            Counter({name: getattr(event, name) or 0 for name in COUNT_NAMES[1:]})
            for event in events
            if event.name in names
        ),
        Counter(),
    )


async def much_happens(world: World, journal: Path) -> None:
    """Imports on both ways with faults, a halt, an ingester, a watcher."""
    emulator = world.emulator
    emulator.reject("canary7@example.org", "No")
    for status in (429, 500):
        emulator.fault(POST, Fault.answer(status))
    emulator.fault("POST contactslist/csvdata", Fault.drop_after())
    settings = world.settings(chunk_rows=20)
    async with mjbulk.Client(KEYS, settings, journal=journal, hooks=[world.events.append]) as client:
        for via in ("json", "csv"):
            balanced(await client.import_contacts(people(50), lists=ADD, via=via, run_id=via))
        emulator.fault(POST, Fault.answer(403), times=None)
        halted = client.start_import(people(50), lists=FORCE)
        await halted.wait()
        emulator._faults.__init__()  # type: ignore[misc]  # the weather is good again
        async with client.ingest(lists=ADD) as ingester:
            rows = [await ingester.send({"email": f"canary{number}@example.org"}) for number in range(5)]
            rows[4].cancel()
            await ingester.send({"email": "canary7@example.org"})  # it is rejected, and nobody looks
        await (await client.submit_contacts([{"email": "canary@example.org"}], lists=ADD))


async def test_the_table_of_events_is_true(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each event has the fields that the table says, and no others; each event and each field of the table is seen. No
    line of the log has an address, at DEBUG too.
    """
    assert list(TABLE) == list(get_args(EventName))
    fields = {field.name for field in attrs.fields(mjbulk.Event)}
    assert all(always | sometimes <= fields for always, sometimes in TABLE.values())
    with caplog.at_level(logging.DEBUG, "mjbulk"):
        await much_happens(world, tmp_path / "j.db")
    found = seen(world.events)
    assert set(TABLE) - set(found) == {"job.stalled", "journal.failed"}  # the next tests have these
    never = set()
    for name, shapes in found.items():
        always, sometimes = TABLE[name]
        assert [shape for shape in shapes if not always <= shape <= always | sometimes] == [], name
        never |= {(name, field) for field in sometimes - set[str]().union(*shapes)}
    assert never == {("job.ended", "cause"), ("rows.settled", "unknown")}
    assert len(caplog.records) > 100
    loggers = {"mjbulk", "mjbulk.requests", "mjbulk.jobs", "mjbulk.journal"}
    assert {record.name for record in caplog.records} == loggers
    assert not [record.getMessage() for record in caplog.records if "canary" in record.getMessage()]
    assert "canary" not in repr(world.events)


async def test_a_journal_that_fails(tmp_path: Path) -> None:
    """A write that fails is an event, with what the run says of it."""
    events: list[mjbulk.Event] = []
    journal = SqlJournal(tmp_path / "j.db", events.append)
    run = RunRecord(run=1, run_id="r", account="a", spec="{}", created="")
    await journal.open_run(run)
    await journal.put(run)
    store: Any = journal._store
    store.write = _full
    with pytest.raises(mjbulk.JournalError) as failure:
        await journal.put(run)
    await journal.aclose()
    assert [event.name for event in events if event.name.startswith("journal")][:4] == [
        *("journal.writing", "journal.written", "journal.writing", "journal.failed"),
    ]
    failed = events[3]
    assert (failed.id, failed.cause) == (events[2].id, str(failure.value))
    assert {*failed.as_dict()} - {"name"} == TABLE["journal.failed"][0]


def _full(records: Any) -> Any:
    raise OSError(28, "No space left on device")


async def test_jobs_that_do_not_move_and_watches_that_end(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Late is what is stalled in a snapshot: one event, one line; a job that nobody awaits any more is told too."""
    caplog.set_level(logging.INFO, "mjbulk")
    async with world.turned(import_seconds=7200.0, queue_seconds=3600.0) as other:
        async with other.client() as client:
            late = [one async for one in client.start_import(people(5), lists=ADD) if one.stalled]
            watcher = await client.submit_contacts(people(4)[:1], lists=ADD)
            with pytest.raises(TimeoutError):
                await watcher.wait(timeout=1)
            await asyncio.sleep(400)
        events = other.events
    stalled = [event for event in events if event.name == "job.stalled"]
    assert stalled
    assert {event.job for event in stalled} == {job for one in late for job in one.stalled}
    lines = [record.getMessage() for record in caplog.records if record.name == "mjbulk.jobs"]
    assert [line.partition(" is late")[0] for line in lines] == [f"job {event.job}" for event in stalled]
    for name in ("job.stalled", "job.ended"):
        always, sometimes = TABLE[name]
        assert all(always <= shape <= always | sometimes for shape in seen(events)[name])
    assert [event.cause for event in events if event.name == "job.ended"] == [None, "nobody waits for it any more"]


async def test_outcomes_add_up(world: World, tmp_path: Path) -> None:
    """Of chunks and of rows in no chunk together: the books of the run, whole or halted, and resumed alone its rest."""
    world.emulator.reject("canary7@example.org", "No")
    settings = world.settings(chunk_rows=10)
    how: Any = {"lists": FORCE, "run_id": "r"}
    totals: Counter[str] = Counter()
    for after in (3, None):
        world.emulator._faults.__init__()  # type: ignore[misc]  # the weather is good again
        if after:
            world.emulator.fault(POST, Fault.answer(403), times=None, after=after)
        events: list[mjbulk.Event] = []
        async with mjbulk.Client(KEYS, settings, journal=tmp_path / "j.db", hooks=[events.append]) as client:
            report = balanced(await client.start_import(people(100), **how).wait())
        (ended,) = [event for event in events if event.name == "run.ended"]
        assert ended.counts == mjbulk.Counts(**{name: getattr(report, name) for name in COUNT_NAMES})
        assert (ended.jobs, ended.requests, ended.seconds) == (len(report.jobs), report.requests, report.seconds)
        own = outcomes(events, "chunk.settled", "rows.settled")
        if after:
            assert own == outcomes(events, "run.ended")
            assert own["not_sent"] > 0
            totals = own
        else:
            assert report.complete
            assert "rows.settled" not in {event.name for event in events}
            assert own["accepted"] + totals["accepted"] == report.accepted
            assert own.total() == totals["not_sent"] + totals["unknown"]


async def test_the_outcomes_of_rows_that_are_held_add_up(world: World) -> None:
    """A row that waits for a job is in no chunk when the run is stopped."""
    async with world.client(chunk_rows=10) as client:
        run = client.start_import([*people(20), {"email": "canary0@example.org"}], lists=ADD)
        async for progress in run:
            if progress.jobs:
                break
        report = balanced(await run.stop())
    assert report.not_sent == 1
    told = [event for event in world.events if event.name == "rows.settled"]
    assert [(event.rejected, event.not_sent) for event in told] == [(1, None), (0, 1)]
    assert outcomes(world.events, "chunk.settled", "rows.settled") == outcomes(world.events, "run.ended")


async def test_the_outcomes_of_an_ingester_add_up(world: World) -> None:
    """Rows that are refused here, and those that are in no chunk when it is closed."""
    rows = people(10)
    async with world.client() as client, client.ingest(lists=ADD, linger=60) as ingester:
        for row in rows:
            with suppress(mjbulk.OutcomeRejected):
                await ingester.send(row)
        await ingester.aclose()
    assert outcomes(world.events, "chunk.settled", "rows.settled") == {"rejected": 1, "not_sent": 9}


async def test_what_is_a_part_of_what(world: World, tmp_path: Path) -> None:
    """Requests of a chunk, looks of a job, jobs of a chunk, chunks of a run; also of two runs of one name."""
    async with world.turned() as other:
        other.events = world.events
        async with world.client(chunk_rows=10) as first, other.client(chunk_rows=10) as second:
            how: Any = {"lists": ADD, "run_id": "r"}
            await asyncio.gather(*(one.import_contacts(people(30), **how) for one in (first, second)))
    kinds = {event.id: event.name.partition(".")[0] for event in world.events}
    about = {event.id: event for event in world.events}
    parents = Counter(
        (event.call, kinds.get(event.parent or 0)) for event in world.events if event.name == "request.sending"
    )
    assert {pair for pair in parents if pair[0] == POST} == {(POST, "chunk")}
    assert {pair[1] for pair in parents if pair[0] == "GET contact/managemanycontacts"} == {"job"}
    assert {pair[1] for pair in parents if pair[0] == "GET contactslist"} == {"run"}
    assert {kinds[event.parent or 0] for event in world.events if event.name.startswith("job")} == {"chunk"}
    runs = {about[event.parent or 0].id for event in world.events if event.name.startswith("chunk")}
    assert len(runs) == 2
    assert {event.run_id for event in world.events} == {"r"}
    ports = defaultdict(set)
    for event in world.events:
        if event.server is not None:
            top = event.id
            while top is not None and (parent := about[top].parent) is not None:
                top = parent
            ports[top].add(event.server)
    assert all(len(servers) == 1 for servers in ports.values())


async def test_no_error_file_is_no_failure(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A 404 where no error file was announced is as good as any answer."""
    with caplog.at_level(logging.INFO, "mjbulk.requests"):
        async with world.client() as client:
            pass
        settings = world.settings(chunk_rows=1)
        assumed = mjbulk.Assumptions(errors_are_announced=False)
        async with mjbulk.Client(KEYS, settings, assumptions=assumed, hooks=[world.events.append]) as client:
            await client.import_contacts(people(5), lists=ADD)
    files = [event for event in world.events if event.name == "request" and event.call == "GET JSONError"]
    assert {(event.status, event.verdict, event.cause) for event in files} == {("404", "applied", None)}
    assert caplog.records == []


async def test_requests_that_are_cancelled_end(world: World) -> None:
    """Hooks that heard of its beginning hear of its end, without a verdict."""
    world.weather(lambda call, now: Fault.delay(before=60) if "contactslist" in call else None)
    async with world.client() as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await anext(aiter(client.lists()))
    (begun,) = [event for event in world.events if event.name == "request.sending"]
    (ended,) = [event for event in world.events if event.name == "request"]
    assert (ended.id, ended.verdict, ended.cause) == (begun.id, None, "it was cancelled")
    assert ended.seconds == pytest.approx(1, abs=0.1)


async def test_an_outage_is_said_once_and_its_end(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The server is away for a minute: two failures in a row of each call are a warning, and the end is said."""
    world.weather(lambda _, now: Fault.drop_before() if 1.0 <= now < 40.0 else None)
    with caplog.at_level(logging.INFO, "mjbulk"):
        async with world.client(chunk_rows=1, max_rate=5.0) as client:
            report = balanced(await client.import_contacts(people(20), lists=ADD, run_id="r"))
    assert report.accepted == 19
    lines = [f"{one.name} {one.levelname}: {one.getMessage()}" for one in caplog.records]
    assert lines[0] == "mjbulk INFO: run r starts"
    assert lines[-1] == f"mjbulk INFO: run r has ended: {str(report).partition(': ')[2]}"
    warnings = [line for line in lines if "WARNING" in line]
    assert len(warnings) == len(set(warnings)) <= 5
    assert [line for line in warnings if "submits wait until answers come again" in line]
    assert len([line for line in lines if "answers come again, after" in line]) == 1
    for line in warnings:
        if "has failed twice in a row" in line:
            call = line.partition(": ")[2].partition(" has")[0]
            assert [one for one in lines if one.startswith(f"mjbulk.requests INFO: {call} succeeds again")]
