"""People who left after their row was first sent stay unsubscribed: no retry, resume or repair subscribes them again.

Only the caller's explicit ``resend="always"`` does.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from commands import command
from support import KEYS, World, balanced
from test_lost_imports import Mortal

import mjbulk
from mjbulk.journal.sql import SqlJournal
from mjbulk.testing import Emulator, Fault, Knobs

LEFT = "left@example.org"
ROWS = [{"email": who} for who in ("a@example.org", LEFT, "b@example.org")]
AT_ONCE = Knobs(queue_seconds=0.0, prepare_seconds=0.0, import_seconds=0.0)
LOST = {
    "dropped": Fault.drop_after(),
    "unreadable": Fault.garbage(),
    "failed": Fault.answer(500, apply=True),
    "late": Fault.delay(after=120.0),
}
CARRIERS = {"json": "POST contact/managemanycontacts", "csv": "POST csvimport"}
Go = Callable[[mjbulk.Client, Any], Awaitable[object]]


async def the_same_call(client: mjbulk.Client, how: Any) -> object:
    return await client.import_contacts(ROWS, **how)


async def with_its_source(client: mjbulk.Client, how: Any) -> object:
    return await client.resume_import("r", ROWS).wait()


async def without_its_source(client: mjbulk.Client, how: Any) -> object:
    return await client.resume_import("r").wait()


async def repaired(client: mjbulk.Client, how: Any) -> object:
    report = await client.import_contacts(ROWS, **how)
    return await client.retry_rejected(report, lambda rejection: rejection.data)


WAYS = (the_same_call, with_its_source, without_its_source, repaired)


def leaving(emulator: Emulator, fault: Fault) -> Fault:
    """A fault after which the person leaves at once: what was sent has had its effect."""

    def leave(body: bytes) -> bytes:
        emulator.unsubscribe(LEFT)
        return body

    return attrs.evolve(fault, edit=leave)


@pytest.fixture(params=["json", "csv"])
def via(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def quick() -> AsyncIterator[World]:
    async with Emulator(AT_ONCE) as emulator:
        yield World(emulator)


def subscribed(world: World) -> bool:
    return world.emulator.contacts[LEFT].subscribed(1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("lost", LOST)
async def test_a_lost_answer(quick: World, tmp_path: Path, via: str, lost: str, way: Go) -> None:
    """A request that was applied is not retried, in the run or after it."""
    quick.emulator.fault(CARRIERS[via], leaving(quick.emulator, LOST[lost]))
    how: Any = {"lists": {1: "addforce"}, "run_id": "r", "via": via}
    for go in (the_same_call, way):
        async with mjbulk.Client(KEYS, quick.settings(), journal=tmp_path / "imports.db") as client:
            await go(client, how)
            assert not subscribed(quick)


async def test_the_word_of_the_caller(quick: World, tmp_path: Path, via: str) -> None:
    """Only this word retries, and then people who have left are subscribed."""
    quick.emulator.fault(CARRIERS[via], leaving(quick.emulator, LOST["dropped"]))
    how: Any = {"lists": {1: "addforce"}, "run_id": "r", "via": via}
    async with mjbulk.Client(KEYS, quick.settings(), journal=tmp_path / "imports.db") as client:
        report = balanced(await client.import_contacts(ROWS, **how, resend="always"))
        assert report.ok
        assert subscribed(quick) == (via == "json")  # as CSV the import is found: nothing has to be retried


@pytest.mark.parametrize("way", WAYS)
async def test_a_crash_at_each_write(via: str, way: Go) -> None:
    """The process ends, the person leaves, and the run goes on."""
    how: Any = {"lists": {1: "addforce"}, "run_id": "r", "via": via}
    left = 0
    for writings in range(1, 9):
        for written in (False, True):
            async with Emulator(AT_ONCE) as emulator:
                world, journal = World(emulator), SqlJournal("sqlite://", lambda _: None)
                first, second = (
                    client_of(world, life) for life in (Mortal(journal, writings, written=written), journal)
                )
                await first.start_import(ROWS, **how).wait()
                await first.aclose()
                if LEFT in emulator.contacts:
                    emulator.unsubscribe(LEFT)
                    left += 1
                    await way(second, how)
                    assert not subscribed(world)
                await second.aclose()
                await journal.aclose()
    assert left >= 6


def client_of(world: World, journal: Any) -> mjbulk.Client:
    return mjbulk.Client.pooled(KEYS, world.settings(), mjbulk.Assumptions(), (), journal=journal, quota=None)


@pytest.mark.parametrize("resend", ["safe", "never", "always"])
async def test_a_repair(quick: World, via: str, resend: Any) -> None:
    """A row was rejected, its person leaves, and the corrected row is sent."""
    emulator = quick.emulator
    emulator.reject(LEFT, "Invalid email")
    async with quick.client() as client:
        how: Any = {"lists": {1: "addforce"}, "via": via, "resend": resend}
        report = await client.import_contacts(ROWS, **how)
        emulator._world.rejects.clear()
        emulator.unsubscribe(LEFT)
        again = await client.retry_rejected(report, lambda rejection: rejection.data)
    assert (report.rejected, again.accepted) == (1, 1)
    assert subscribed(quick) == (resend == "always")


@pytest.mark.parametrize("source_at_hand", [True, False])
@pytest.mark.parametrize(("via", "by_row"), [("json", False), ("csv", False), ("json", True)])
async def test_the_exclusion_list(
    quick: World, tmp_path: Path, via: Any, *, by_row: bool, source_at_hand: bool
) -> None:
    """People who were put on it meanwhile are not taken off it, by its own call or by a value of a row."""
    emulator = quick.emulator

    def exclude(body: bytes) -> bytes:
        emulator.here(lambda: emulator._first().person(LEFT, "").exclude(True, ""))
        return body

    emulator.fault(CARRIERS[via], attrs.evolve(Fault.drop_after(), edit=exclude))
    rows = [{**row, "IsExcludedFromCampaigns": False} for row in ROWS] if by_row else ROWS
    async with mjbulk.Client(KEYS, quick.settings(), journal=tmp_path / "imports.db") as client:
        if by_row:
            run = client.start_import(rows, lists=None, run_id="r")
        else:
            run = client.start_exclusion(rows, excluded=False, run_id="r", via=via)
        report = await run.wait()
        assert emulator.contacts[LEFT].excluded
        await client.resume_import("r", rows if source_at_hand else None).wait()
        assert emulator.contacts[LEFT].excluded
        if not by_row:
            with pytest.raises(mjbulk.UsageError, match="exclusion list"):
                await client.retry_rejected(report, lambda rejection: rejection.data)


@pytest.mark.parametrize("resend", ["safe", "always"])
async def test_a_mended_row_takes_nobody_off_the_exclusion_list(quick: World, resend: Any) -> None:
    """A row that says so in a column is refused in a repair, also if it was corrected twice; other rows are sent."""
    emulator = quick.emulator
    for who in (LEFT, "b@example.org"):
        emulator.reject(who, "Invalid email")
    rows = [{**row, "IsExcludedFromCampaigns": row["email"][0] == "b"} for row in ROWS]
    async with quick.client() as client:
        report = await client.import_contacts(rows, lists=None, resend=resend)
        emulator._world.rejects.clear()
        emulator.here(lambda: emulator._first().person(LEFT, "").exclude(True, ""))
        again = balanced(await client.retry_rejected(report, lambda rejection: rejection.data))
        if resend == "safe":
            assert [r.field for r in again.rejections] == ["IsExcludedFromCampaigns"]
            await client.retry_rejected(again, lambda rejection: rejection.data)
    assert (report.rejected, again.accepted) == (2, 1 if resend == "safe" else 2)
    assert emulator.contacts[LEFT].excluded == (resend == "safe")
    assert emulator.contacts["b@example.org"].excluded


async def test_single_requests(quick: World) -> None:
    """They are not retried either."""
    emulator = quick.emulator
    async with quick.client() as client:
        for call, submit in (
            ("POST contact/managemanycontacts", lambda: client.submit_contacts(ROWS, lists={1: "addforce"})),
            ("POST contactslist/managemanycontacts", lambda: client.submit_list_contacts(1, ROWS, action="addforce")),
            ("POST contact/managecontactslists", lambda: client.update_subscriptions(LEFT, {1: "addforce"})),
        ):
            emulator.fault(call, leaving(emulator, Fault.drop_after()))
            with pytest.raises(mjbulk.NoAnswer):
                await submit()
            assert not subscribed(quick)
            assert emulator.count(call) == 1


@pytest.mark.real_time
async def test_the_command_line(quick: World, tmp_path: Path, via: str) -> None:
    """``mjbulk import`` and ``mjbulk resume``: only the caller's word retries."""
    file, emulator = tmp_path / "people.csv", quick.emulator
    file.write_text("email\n" + "".join(f"{row['email']}\n" for row in ROWS))
    emulator.unsubscribe(LEFT)
    emulator.fault(CARRIERS[via], Fault.drop_before())
    kept = ["--journal", str(tmp_path / "imports.db")]
    first = ["import", str(file), "--list", "1", "--action", "addforce", "--via", via, "--run-id", "r", *kept]
    resume = ["resume", "r", *kept]
    for arguments in (first, resume):
        assert await exit_status(quick, arguments) == 3
        assert not subscribed(quick)
    assert await exit_status(quick, [*resume, "--resend", "always"]) == 0
    assert subscribed(quick)


async def exit_status(world: World, arguments: Sequence[str]) -> int | None:
    settings = {"MJ_API_URL": world.emulator.url, "MJBULK_POLL_MIN": "0.01", "MJBULK_READ_TIMEOUT": "0.5"}
    keys = {"MJ_APIKEY_PUBLIC": KEYS.public, "MJ_APIKEY_PRIVATE": KEYS.private}
    process = await asyncio.create_subprocess_exec(*command(*arguments), env={**os.environ, **settings, **keys})
    return await process.wait()
