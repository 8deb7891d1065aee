"""A process that was stopped and goes on: what has arrived meanwhile is read before a time limit counts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from support import KEYS

from mjbulk.config import Settings
from mjbulk.mailjet.http import Exchange
from mjbulk.mailjet.requests import Request
from mjbulk.mailjet.response import ExchangeFailed, Response
from mjbulk.mailjet.verdict import Failure
from mjbulk.mailjet.window import Window

POST = Request(method="POST", path="/v3/REST/contact", call="POST contact", body=b"a body")
LARGE = b"x" * 2**20
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(LARGE), LARGE)
READ_TIMEOUT = 60.0


def stop_the_process(seconds: float) -> None:
    """Let time go on and nothing else; then the next select was interrupted, and reports nothing."""
    clock: Any = asyncio.get_running_loop()._clock  # type: ignore[attr-defined]  # of the virtual loop

    def interrupted(_: float | None = None) -> list[Any]:
        del clock.select
        clock.now += seconds
        return []

    clock.select = interrupted


@asynccontextmanager
async def answering(*pieces: bytes) -> AsyncIterator[Exchange]:
    """Give an exchange with a server that writes each piece after half a second; the client is stopped then."""

    served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"a body")
        for piece in pieces:
            await asyncio.sleep(0.5)
            writer.write(piece)
            stop_the_process(READ_TIMEOUT + 5.0)
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        served.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        limits: Any = {"connect_timeout": 1000.0, "read_timeout": READ_TIMEOUT}
        exchange = Exchange(KEYS, Settings(api_url=f"http://127.0.0.1:{port}", **limits), Window(8, 1000))
        try:
            yield exchange
        finally:
            await exchange.aclose()
            await served.wait()


async def once(exchange: Exchange) -> Response:
    return await exchange.once(POST, keep=True, max_reply=2e6, sink=None)


@pytest.mark.parametrize("pieces", [[ANSWER], [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"]])
async def test_an_answer_that_has_arrived_is_read(pieces: list[bytes]) -> None:
    """Whole, and of any size, although its time was over before."""
    async with answering(*pieces) as exchange:
        assert len((await once(exchange)).body) in (4, len(LARGE))


async def test_what_has_not_arrived_is_not_waited_for_again() -> None:
    """Nothing came while the process was stopped: that was the silence."""
    async with answering(b"") as exchange:
        with pytest.raises(ExchangeFailed) as caught:
            await once(exchange)
        assert caught.value.failure is Failure.TIMED_OUT
        assert asyncio.get_running_loop().time() < READ_TIMEOUT + 6.0


async def test_a_part_begins_a_new_silence() -> None:
    """What has come so far is read, and the rest may take as long as it might before."""
    async with answering(ANSWER[:1000]) as exchange:
        with pytest.raises(ExchangeFailed) as caught:
            await once(exchange)
        assert caught.value.failure is Failure.TIMED_OUT
        assert 2 * READ_TIMEOUT + 5.0 <= asyncio.get_running_loop().time() < 2 * READ_TIMEOUT + 7.0
