"""The wait for jobs in a triggerer: what is kept of it, what it shares, and what ends it."""

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from airflow.serialization.encoders import encode_trigger
from connection_keys import PUBLIC, SECRET

import mjbulk
from mjbulk.airflow import MailjetJobTrigger, trigger
from mjbulk.testing import Fault, Knobs, Mailjet

pytestmark = [pytest.mark.airflow, pytest.mark.real_time]


@asynccontextmanager
async def busy() -> AsyncIterator[list[float]]:
    """Measure for how long the loop does not come to this task: the seconds of its processor, as others have it too."""
    spells, over = [0.0], asyncio.Event()

    async def measure() -> None:
        while not over.is_set():
            before = time.thread_time()
            await asyncio.sleep(0)
            spells.append(time.thread_time() - before)
            await asyncio.sleep(0.002)

    task = asyncio.create_task(measure())
    yield spells
    over.set()
    await task


async def jobs(mailjet: Mailjet, number: int) -> list[str]:
    """Begin jobs of one row."""
    async with mjbulk.Client(mjbulk.Credentials(PUBLIC, SECRET), mjbulk.Settings(api_url=mailjet.url)) as client:
        rows = [[{"email": f"p{n}@example.org"}] for n in range(number)]
        watchers = await asyncio.gather(*(client.submit_contacts(row, lists={1: "addnoforce"}) for row in rows))
        return [str(watcher.ref) for watcher in watchers]


async def event_of(one: MailjetJobTrigger) -> Any:
    events = [event.payload async for event in one.run()]
    assert len(events) == 1
    return events[0]


def test_what_is_kept_of_it_has_no_secret() -> None:
    """It is written into the database, and shown."""
    one = MailjetJobTrigger(["contact:1", "csvimport:2"], "nightly")
    path, kwargs = one.serialize()
    assert (path, kwargs) == (
        "mjbulk.airflow.MailjetJobTrigger",
        {"jobs": ["contact:1", "csvimport:2"], "mailjet_conn_id": "nightly"},
    )
    kept = json.dumps(encode_trigger(one)) + repr(one)
    assert PUBLIC not in kept
    assert SECRET not in kept
    assert MailjetJobTrigger(**kwargs).serialize() == one.serialize()


async def test_a_hundred_imports_wait_in_one_loop(mailjet: Mailjet) -> None:
    """They share a client, and do not keep the loop from the other triggers."""
    mailjet.emulator.knobs = Knobs(queue_seconds=1.0, import_seconds=0.0)
    names = await jobs(mailjet, 100)
    await asyncio.sleep(1.0)  # Airflow and the client are loaded before
    await event_of(MailjetJobTrigger(names[:1]))
    gc.collect()
    gc.freeze()  # what Airflow has in memory is its own
    longest = [await longest_spell(names)]
    while longest[-1] >= 0.1 and len(longest) < 3:  # the machine may have been busy with others
        longest.append(await longest_spell(names))
    gc.unfreeze()
    assert min(longest) < 0.1
    assert not any(trigger._SHARED.values())


async def longest_spell(names: list[str]) -> float:
    """Give for how long the loop does nothing else at most, while imports of one job each wait."""
    waits = []
    async with busy() as spells:
        for name in names:
            waits.append(asyncio.create_task(event_of(MailjetJobTrigger([name]))))
            await asyncio.sleep(0)  # as a triggerer does
        events = await asyncio.gather(*waits)
    assert events == [{"jobs": 1}] * 100
    return max(spells)


@pytest.mark.parametrize("fault", [None, Fault.answer(401, b""), Fault.answer(500, "p1@example.org")])
async def test_a_job_that_cannot_be_watched_ends_the_wait(mailjet: Mailjet, fault: Fault | None) -> None:
    """The task finds out what is wrong, and says it. What may pass is waited for."""
    names = await jobs(mailjet, 1)
    if fault is not None:
        mailjet.emulator.fault("GET contact/managemanycontacts", fault, times=2)
    assert await event_of(MailjetJobTrigger([*names, "contact:4"])) == {"jobs": 2}


async def test_a_triggerer_that_shuts_down_ends_the_wait(mailjet: Mailjet) -> None:
    """The client is closed with the last trigger."""
    mailjet.emulator.knobs = Knobs(queue_seconds=60.0)
    names = await jobs(mailjet, 2)
    waits = [asyncio.create_task(event_of(MailjetJobTrigger([name]))) for name in names]
    await asyncio.sleep(0.3)
    shared = list(trigger._SHARED[asyncio.get_running_loop()].values())
    assert [one.users for one in shared] == [2]
    for wait in waits:
        wait.cancel()
    await asyncio.wait(waits)
    assert not any(trigger._SHARED.values())
    assert "closed" in repr(shared[0].client)
