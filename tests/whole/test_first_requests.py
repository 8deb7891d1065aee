"""What cannot get better by itself: it fails at the first request of a client, and is waited for later."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import KEYS, World, balanced

import mjbulk
from mjbulk.testing import Fault

ROWS = [{"email": f"p{number}@example.org"} for number in range(20)]
FORCE: Any = {1: "addforce"}
PAGE = "<html><h1>Access denied</h1></html>"
CA = Path(__file__).parent.parent / "mailjet" / "data" / "loopback.pem"


@contextmanager
def nobody() -> Iterator[int]:
    """Give a port on which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def first_import(settings: mjbulk.Settings) -> mjbulk.Report:
    async with mjbulk.Client(KEYS, settings) as client:
        return balanced(await client.start_import(ROWS, lists=FORCE).wait())


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:{nobody}", "nothing listens at 127.0.0.1:{nobody}"),
        ("https://127.0.0.1:{nobody}", "nothing listens at 127.0.0.1:{nobody}"),
        ("https://nobody.invalid", "the name nobody.invalid is not found"),
        ("https://127.0.0.1:{plain}", "what listens at 127.0.0.1:{plain} speaks no TLS"),
    ],
)
async def test_nobody_or_somebody_else_is_there(url: str, said: str, world: World) -> None:
    """Within five seconds, with the host, the port, and the reason."""
    plain = int(world.emulator.url.rpartition(":")[2])
    with nobody() as port:
        ports = {"nobody": port, "plain": plain}
        report = await first_import(mjbulk.Settings(api_url=url.format(**ports)))
    assert said.format(**ports) in str(report.halted)
    assert report.not_sent == report.rows
    assert report.seconds < 5.0


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, "", "the API key or its secret is wrong"),
        (403, PAGE, "answered 403 with a page"),
        (407, PAGE, "a proxy in between wants a user and a password"),
        (400, "<html>No required SSL certificate was sent</html>", "400"),
    ],
)
async def test_who_answers_refuses_everything(world: World, status: int, body: str, said: str) -> None:
    """One request shows it."""
    world.emulator.fault("*", Fault.answer(status, body), times=None)
    report = await first_import(world.settings())
    assert said in str(report.halted)
    assert (world.requests(), len(world.emulator.calls), report.not_sent) == (0, 1, report.rows)


async def test_later_the_same_is_waited_for(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A firewall's page, after a request was answered: a warning says it once for each call, and nothing is lost."""
    world.weather(lambda _, now: Fault.answer(403, PAGE) if 1.0 <= now < 20.0 else None)
    with caplog.at_level(logging.WARNING):
        async with world.client(chunk_rows=1, max_rate=5.0) as client:
            report = balanced(await client.import_contacts(ROWS, lists=FORCE))
    assert report.ok
    warnings = [record.getMessage() for record in caplog.records if "with a page" in record.getMessage()]
    calls = [warning.partition(" has failed twice in a row")[0] for warning in warnings]
    assert "POST contact/managemanycontacts" in calls
    assert len(calls) == len(set(calls))


async def test_a_run_that_goes_on_waits_from_its_first_request_on(world: World, tmp_path: Path) -> None:
    """It worked in an earlier process."""
    settings = world.settings(chunk_rows=5)
    how: Any = {"lists": FORCE, "run_id": "r"}
    async with mjbulk.Client(KEYS, settings, journal=str(tmp_path / "j.db")) as client:
        run = client.start_import(ROWS, **how)
        async for progress in run:
            if progress.jobs:
                break
        await run.stop()
    away = world.emulator.now + 20.0
    world.weather(lambda _, now: Fault.answer(403, PAGE) if now < away else None)
    async with mjbulk.Client(KEYS, settings, journal=str(tmp_path / "j.db")) as client:
        report = balanced(await client.import_contacts(ROWS, **how))
    assert report.ok


async def test_a_certificate_that_is_not_trusted_fails_at_once(world: World) -> None:
    """What is said of it is tested elsewhere."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CA)
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        report = await first_import(world.settings(api_url=f"https://127.0.0.1:{port}"))
    assert f"the certificate of 127.0.0.1:{port}" in str(report.halted)
    assert report.seconds < 5.0
