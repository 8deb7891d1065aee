"""What a 401 or a 403 means: wrong keys, a call that this key may not make, or a page of somebody else."""

from typing import Any

import pytest
from support import World, balanced

import mjbulk
from mjbulk.testing import Fault

ADD: Any = {1: "addnoforce"}
NOT_ALLOWED = '{"ErrorInfo":"","ErrorMessage":"Operation not allowed","StatusCode":401}'
PAGE = "<html><head><title>401 Unauthorized</title></head><body>ann@example.org: who are you?</body></html>"


def people(count: int) -> list[dict[str, Any]]:
    return [{"email": f"p{number}@example.org"} for number in range(count)]


@pytest.mark.parametrize("status", [401, 403])
async def test_what_this_key_may_not_do_is_a_refusal_of_that_call(world: World, status: int) -> None:
    """In the middle of a run too: it halts, says which call it was, and does not doubt the keys."""
    world.emulator.fault("POST contact/managemanycontacts", Fault.answer(status, NOT_ALLOWED), times=None, after=2)
    async with world.client(chunk_rows=10, concurrency=1) as client:
        with pytest.raises(mjbulk.ImportHalted) as halted:
            await client.import_contacts(people(40), lists={1: "addforce"})
    report = balanced(halted.value.report)
    assert report.not_sent == 20
    said = f"Mailjet answered {status} to POST contact/managemanycontacts; this API key may not do that"
    assert str(report.halted) == said
    assert not isinstance(report.halted, mjbulk.CredentialsRefused)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("server", ["tinyproxy/1.11.1", None])
async def test_a_page_comes_from_somebody_else(world: World, status: int, server: str | None) -> None:
    """It is one request, and the error says who answered, but not what."""
    headers = {"Server": server} if server else {"Server": "somebody@example.org"}
    world.emulator.fault("*", Fault.answer(status, PAGE, headers=headers), times=None)
    async with world.client() as client:
        with pytest.raises(mjbulk.ImportHalted) as halted:
            await client.import_contacts(people(40), lists=ADD)
    assert world.emulator.requests == 1
    cause = halted.value.report.halted
    assert isinstance(cause, mjbulk.NoAnswer)
    assert not cause.sent
    assert f"{server or 'an unnamed server'} answered {status} with a page" in str(cause)
    assert "proxy" in str(cause)
    assert "@" not in f"{halted.value}{cause!r}{vars(cause)}"


async def test_a_page_in_the_middle_leaves_nothing_in_doubt(world: World) -> None:
    """The server that sent it did not apply the rows."""
    world.emulator.fault("POST contact/managemanycontacts", Fault.answer(403), times=None, after=2)
    async with world.client(chunk_rows=10, concurrency=1) as client:
        with pytest.raises(mjbulk.ImportHalted) as halted:
            await client.import_contacts(people(40), lists={1: "addforce"})
    assert balanced(halted.value.report).not_sent == 20


async def test_a_single_call_that_is_not_allowed(world: World) -> None:
    """The same for calls that are no import."""
    world.emulator.fault("POST contactmetadata", Fault.answer(401, NOT_ALLOWED))
    async with world.client() as client:
        with pytest.raises(mjbulk.ApiError, match="POST contactmetadata; this API key may not do that") as refused:
            await client.create_property("shoe", "str")
    assert refused.value.text == "Operation not allowed"
