"""Each fault of the emulator breaks the wire as it says, and tells by the jobs whether there was an effect."""

import asyncio
from typing import Any

import aiohttp
import orjson
import pytest
from test_emulator import served

from mjbulk.testing import Fault

pytestmark = pytest.mark.smoke

CALL = "contact/managemanycontacts"
GOOD = [{"Email": "a@example.org"}]


@pytest.mark.parametrize(
    ("fault", "applied"),
    [
        (Fault.drop_unread(), 0),
        (Fault.drop_unread(reset=False), 0),
        (Fault.drop_before(), 0),
        (Fault.drop_before(reset=True), 0),
        (Fault.drop_after(), 1),
        (Fault.drop_after(reset=True), 1),
    ],
)
async def test_dropped_connections(fault: Fault, applied: int) -> None:
    """The connection ends without an answer, before or after the effect."""
    async with served() as api:
        api.emulator.fault(CALL, fault)
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
            await api.submit(GOOD)
        assert len(api.emulator.jobs) == applied
        assert api.emulator.calls[-1].status == 0
        await api.submit(GOOD)
        assert len(api.emulator.jobs) == applied + 1


async def test_drop_answer() -> None:
    """drop_answer lets the effect happen and loses the answer, as often as asked."""
    async with served() as api:
        api.emulator.drop_answer("POST Contact/ManageManyContacts", times=2)
        for _ in range(2):
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await api.submit(GOOD)
        await api.submit(GOOD)
        assert len(api.emulator.jobs) == 3


async def test_which_requests_meet_a_fault() -> None:
    """A fault waits for ``after`` good requests, is used up after ``times``, and keeps to its route and method."""
    async with served() as api:
        api.emulator.fault("GET csvimport", Fault.answer(503), times=2, after=1)
        statuses = [(await api("GET", "REST/csvimport")).status for _ in range(4)]
        assert statuses == [200, 503, 503, 200]
        api.emulator.fault("POST csvimport", Fault.answer(503))
        api.emulator.fault("*", Fault.answer(500), times=None)
        assert (await api("GET", "REST/csvimport")).status == 500
        assert (await api("POST", "REST/csvimport", {})).status == 503
        assert (await api("GET", "REST/contact")).status == 500


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        (Fault.answer(429, headers={"Retry-After": "3"}), 429, "429"),
        (Fault.answer(500), 500, "500"),
        (Fault.answer(502, "<html>bad gateway</html>"), 502, "<html>bad gateway</html>"),
        (Fault.garbage(), 200, "Please log in"),
        (Fault.garbage(b"{", apply=False), 200, "{"),
        (Fault.redirect("https://files.example.net/"), 302, ""),
    ],
)
async def test_other_answers(fault: Fault, status: int, text: str) -> None:
    """Another status, body or header stands in place of the true answer."""
    async with served() as api:
        api.emulator.fault(CALL, fault)
        reply = await api("POST", f"REST/{CALL}", {"Contacts": GOOD})
        assert (reply.status, text in reply.text) == (status, True)
        assert len(api.emulator.jobs) == fault.apply
        for name, value in fault.headers.items():
            assert reply.headers[name] == value


@pytest.mark.parametrize(
    ("edit", "data"),
    [
        (lambda body: body.replace(b"1070309283", b"0"), [{"JobID": 0}]),
        (lambda body: body.replace(b'"JobID" : 1070309283', b""), [{}]),
    ],
)
async def test_edited_answers(edit: Any, data: Any) -> None:
    """The true answer may be changed: a wrong or missing JobID."""
    async with served() as api:
        api.emulator.fault(CALL, Fault.edited(edit))
        reply = await api("POST", f"REST/{CALL}", {"Contacts": GOOD})
        assert (reply.status, reply.data, len(api.emulator.jobs)) == (201, data, 1)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("reset", [False, True])
async def test_truncated_answers(*, chunked: bool, reset: bool) -> None:
    """The head promises more of the body than comes."""
    async with served() as api:
        api.emulator.fault(CALL, Fault.truncated(10, chunked=chunked, reset=reset))
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
            await api.submit(GOOD)
        assert len(api.emulator.jobs) == 1


async def test_chunked_and_trickling_answers_are_whole() -> None:
    """An answer in chunks, byte by byte, is late and whole."""
    async with served() as api:
        loop = asyncio.get_running_loop()
        api.emulator.fault(CALL, Fault(chunked=True, trickle=1.0))
        began = loop.time()
        assert await api.submit(GOOD) == 1070309283
        assert loop.time() - began > 60


async def test_raw_answers() -> None:
    """Anything may stand in place of an answer, even what is no HTTP."""
    async with served() as api:
        api.emulator.fault(CALL, Fault(raw=b"HTTP/9.9 zweihundert\r\n\r\n", end="close"))
        with pytest.raises(aiohttp.ClientResponseError):
            await api.submit(GOOD)


@pytest.mark.parametrize(("fault", "early"), [(Fault.delay(before=5.0), 0), (Fault.delay(after=5.0), 1)])
async def test_delays(fault: Fault, early: int) -> None:
    """A delay before the effect or after it; a client that leaves does not undo the effect."""
    async with served() as api:
        api.emulator.fault(CALL, fault)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(api.submit(GOOD), 3.0)
        assert len(api.emulator.jobs) == early
        await asyncio.sleep(3.0)
        assert len(api.emulator.jobs) == 1


@pytest.mark.parametrize("at", [None, 10])
async def test_stalls_end_with_the_server(at: int | None) -> None:
    """Silence for ever, with the head or without; the server can end all the same."""
    async with served() as api:
        api.emulator.fault(CALL, Fault.stall(at=at))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(api.submit(GOOD), 3600.0)
        api.emulator.fault(CALL, Fault.stall(apply=False))
        waiting = asyncio.create_task(api.submit(GOOD))
        await asyncio.sleep(1.0)
        assert len(api.emulator.jobs) == 1
        await api.emulator.aclose()
        with pytest.raises(aiohttp.ClientError):
            await waiting


async def test_a_large_upload_may_be_cut_unread() -> None:
    """A request whose body is never read ends in a reset, large or small."""
    async with served() as api:
        api.emulator.fault("contactslist/csvdata", Fault.drop_unread())
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
            await api.upload("email\n" + "a@example.org\n" * 500_000)
        assert api.emulator.calls[-1].size == 0


async def test_errors_before_the_effect_leave_the_script_in_order() -> None:
    """Of two faults for one call the earlier comes first."""
    async with served() as api:
        api.emulator.fault(CALL, Fault.answer(500))
        api.emulator.fault(CALL, Fault.answer(502))
        statuses = [(await api("POST", f"REST/{CALL}", {"Contacts": GOOD})).status for _ in range(3)]
        assert statuses == [500, 502, 201]
        assert orjson.loads((await api("GET", "REST/batchjob")).text)["Count"] == 1
