"""A run that was refused before anything was sent leaves nothing, and a source that was cut is never taken for a whole
one.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support import World, balanced

import mjbulk

ADD: Any = {1: "addnoforce"}


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return str(tmp_path / "imports.db")


def a_client(world: World, journal: str) -> mjbulk.Client:
    return mjbulk.Client(mjbulk.Credentials("key", "secret"), world.settings(chunk_rows=10), journal=journal)


async def runs_of(client: mjbulk.Client) -> list[mjbulk.RunInfo]:
    return [run async for run in client.runs()]


# Refused


def headless(folder: Path) -> Path:
    path = folder / "a.csv"
    path.write_text("ann@example.org,Graz\nbob@example.org,Linz\n", encoding="utf-8")
    return path


def with_header(header: str) -> Any:
    def make(folder: Path) -> Path:
        path = folder / "a.csv"
        path.write_text(f"{header}\nann@example.org,Graz,1\n", encoding="utf-8")
        return path

    return make


@pytest.mark.parametrize(
    ("make", "how"),
    [
        (lambda folder: folder / "missing.csv", {}),
        (with_header("email,unknown,city"), {}),
        (with_header("email,city,age"), {"columns": {"email": "email", "typo": "city"}}),
        (with_header("email,city,age"), {"lists": {"no such list": "addnoforce"}}),
        (headless, {"create_properties": True}),
    ],
)
async def test_a_refused_run_leaves_nothing(world: World, tmp_path: Path, journal: str, make: Any, how: Any) -> None:
    """Its name is free, for other terms too, runs() does not show it, and nothing resumes it."""
    how = {"lists": ADD, "run_id": "monday", **how}
    async with a_client(world, journal) as client:
        with pytest.raises(mjbulk.UsageError):
            await client.import_contacts(make(tmp_path), **how)
        assert await runs_of(client) == []
    async with a_client(world, journal) as client:
        assert await runs_of(client) == []
        with pytest.raises(mjbulk.UsageError, match="no run 'monday'"):
            await client.resume_import("monday")
        good = with_header("email,city,age")(tmp_path)
        assert (await client.import_contacts(good, lists=ADD, run_id="monday", create_properties=True)).ok
    assert world.posts() == 1


async def test_a_run_that_is_refused_in_its_second_batch_leaves_nothing(world: World, journal: str) -> None:
    """Rows that were refused before that were written down already; what was to be written later is not."""
    bad: list[Any] = [{"email": f"not an address {n}"} if n % 2 else {} for n in range(1500)]
    rows = [*bad, {"email": "a@example.org", "unknown": 1}]
    async with a_client(world, journal) as client:
        with pytest.raises(mjbulk.UsageError, match="unknown"):
            await client.import_contacts(rows, lists=ADD, run_id="monday")
        assert await runs_of(client) == []
    async with a_client(world, journal) as client:
        assert await runs_of(client) == []
        assert (await client.import_contacts(rows[:-1], lists=ADD, run_id="monday")).rejected == 1500


@pytest.mark.parametrize(
    "text",
    [
        "ann@example.org,Graz\nbob@example.org,Linz\n",
        "email;town\nann@example.org;Graz\n",
        "email,town,Town\nann@example.org,Graz,Linz\n",
        "email,town,\nann@example.org,Graz,x\n",
        "email,tow\nann@example.org,Graz\n",
    ],
    ids=["no header", "semicolons", "twice", "no name", "typo"],
)
async def test_no_property_is_created_for_a_source_that_is_refused(world: World, tmp_path: Path, text: str) -> None:
    """The columns of the first batch are judged as a whole before."""
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    before = set(world.emulator.properties)
    columns = {"email": "email", "town": "town"} if text.startswith("email,tow\n") else None
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError):
            await client.import_contacts(path, lists=ADD, create_properties=True, columns=columns)
    assert set(world.emulator.properties) == before
    assert not [call for call in world.emulator.calls if call.method == "POST"]


@pytest.mark.parametrize("via", ["json", "csv"])
async def test_no_property_is_created_for_values_that_cannot_be_sent(world: World, via: Any) -> None:
    """The values of the first batch are judged before: here a time has no zone."""
    rows = [{"email": "ann@example.org", "town": "Graz", "seen": datetime(2026, 1, 2, 3, 4)}]  # noqa: DTZ001  # meant
    terms: dict[str, Any] = {"create_properties": True, "types": {"seen": "datetime"}, "via": via}
    before = set(world.emulator.properties)
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError, match="without a time zone"):
            await client.import_contacts(rows, lists=ADD, **terms)
        assert set(world.emulator.properties) == before
        assert (await client.import_contacts(rows, lists=ADD, **terms, timezone="Europe/Vienna")).ok
    assert {"town", "seen"} <= set(world.emulator.properties)


async def test_a_later_column_that_cannot_be_created_rejects_its_rows(world: World) -> None:
    """Once a chunk was cut, the rest of the source goes on."""
    rows: list[dict[str, Any]] = [{"email": f"p{n}@example.org"} for n in range(600)]
    rows += [{"email": "late@example.org", "": "x"}, {"email": "later@example.org", "shoe": "42"}]
    async with world.client(chunk_rows=10) as client:
        report = balanced(await client.import_contacts(rows, lists=ADD, create_properties=True))
    assert [(r.row, r.origin) for r in report.rejections] == [(601, "mjbulk")]
    assert (report.accepted, report.complete) == (601, True)
    assert world.emulator.contacts["later@example.org"].properties == {"shoe": "42"}


# Cut


async def test_a_source_that_was_cut_is_not_settled(world: World, journal: str) -> None:
    """Neither in the process that met it, nor where a later one looks, nor after its jobs were taken up again."""

    async def upload(rows: int) -> AsyncIterator[dict[str, str]]:
        for n in range(rows):
            yield {"email": f"p{n}@example.org" if n % 50 else "bad"}
        raise ConnectionResetError

    async with a_client(world, journal) as client:
        with pytest.raises(mjbulk.ImportHalted) as halted:
            await client.import_contacts(upload(1234), lists=ADD, run_id="upload")
        report = balanced(halted.value.report)
        assert report.rows == 1234
        assert report.not_sent > 0
        here = await client.get_run("upload")
    async with a_client(world, journal) as client:
        there = await client.get_run("upload")
        assert there == here
        assert (there.state, there.complete, there.rows) == ("needs_source", False, 1234)
        assert there.cause
        assert (there.accepted, there.rejected, there.not_sent) == (report.accepted, report.rejected, report.not_sent)
        again = balanced(await client.resume_import("upload").wait())
        assert (again.complete, again.not_sent) == (False, report.not_sent)
        assert (await client.get_run("upload")).state == "needs_source"


async def test_rows_that_were_held_when_a_run_stopped_stay_in_its_books(world: World, journal: str) -> None:
    """They are not sent, by their numbers, and go out when the run goes on."""
    rows = [{"email": "hot@example.org" if n % 10 == 0 else f"p{n}@example.org", "age": n} for n in range(200)]
    async with world.turned(import_seconds=1000.0) as slow:
        slow.emulator.create_property("age", "int")
        async with a_client(slow, journal) as client:
            run = client.start_import(rows, lists=ADD, run_id="r")
            async for progress in run:
                if progress.held and sum(progress.jobs.values()) > 5:
                    held = progress.held
                    break
            report = balanced(await run.stop())
        assert held > 0
        assert report.not_sent >= held
        told = [row for why in report.unsettled for ranges in why.rows for row in ranges]
        assert sorted(told) == sorted(set(told))
        assert len(told) == report.unknown + report.not_sent
        async with a_client(slow, journal) as client:
            assert (await client.get_run("r")).not_sent == report.not_sent
            assert balanced(await client.import_contacts(rows, lists=ADD, run_id="r")).ok
        assert slow.emulator.contacts["hot@example.org"].properties == {"age": 190}
