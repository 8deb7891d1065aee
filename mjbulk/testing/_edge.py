"""Between answers and sockets: reads the body of a request, and writes an answer as it is or as a fault changes it."""

import asyncio
import gzip
import logging
import socket
import struct
import zlib

import attrs
from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.log import server_logger

from mjbulk.testing._answers import EmulatedAnswer
from mjbulk.testing._faults import Fault


class _WithoutRequest(logging.Filter):
    """Make one line of what aiohttp says about a request that is no HTTP, without the request: it may hold an
    address.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        problem = record.exc_info[1] if record.exc_info else None
        if isinstance(problem, HttpProcessingError):
            record.msg = "the emulator has answered 400 to a request that is no proper HTTP: %s"
            record.args, record.exc_info = (type(problem).__name__,), None
        return True


SERVER_LOG = server_logger.getChild("emulator")
SERVER_LOG.addFilter(_WithoutRequest())


async def read_body(request: web.BaseRequest, limit: int | None) -> bytes | None:
    """Read the whole body. Give None if it is larger than the limit or ends too early.

    A Content-Length above the limit is enough for None: nothing is read then.
    """
    if limit is not None and (request.content_length or 0) > limit:
        return None
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.content.iter_any():
            size += len(chunk)
            if limit is not None and size > limit:
                return None
            chunks.append(chunk)
    except (ConnectionError, web.RequestPayloadError):
        return None
    return b"".join(chunks)


def unpacked(request: web.BaseRequest, body: bytes) -> bytes:
    """Decompress the body of a request that says it is compressed; give it as it is if it is not."""
    if request.headers.get("Content-Encoding", "").casefold() != "gzip":
        return body
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error):
        return body


def altered(answer: EmulatedAnswer, fault: Fault) -> EmulatedAnswer:
    """Give the answer as the fault changes it."""
    body = answer.body if fault.body is None else fault.body
    headers = {**answer.headers, **fault.headers}
    return attrs.evolve(
        answer,
        status=answer.status if fault.status is None else fault.status,
        reason=answer.reason if fault.status is None else None,
        body=body if fault.edit is None else fault.edit(body),
        content_type=headers.pop("Content-Type", answer.content_type),
        headers=headers,
    )


async def send(
    request: web.BaseRequest, answer: EmulatedAnswer, fault: Fault, closing: asyncio.Event
) -> web.StreamResponse:
    """Send the answer. ``closing`` ends faults that would never end by themselves."""
    if answer.connection == "reset":
        _end(request, "reset")
        return web.Response()
    if fault.breaks_wire:
        await _break(request, answer, fault, closing)
        return web.Response()
    response = _Nameless(
        status=answer.status,
        reason=answer.reason,
        body=answer.body if answer.status not in {204, 304} else None,
        headers={**answer.headers, "Content-Type": answer.content_type},
    )
    if answer.chunked:
        response.enable_chunked_encoding()
    if answer.connection == "close":
        response.force_close()
    return response


class _Nameless(web.Response):
    """An answer without a Server header, as all recorded ones are (FACTS 9.2), unless it was given one."""

    async def _prepare_headers(self) -> None:
        named = "Server" in self.headers
        await super()._prepare_headers()
        if not named:
            self.headers.popall("Server", None)


async def sleep(seconds: float, closing: asyncio.Event) -> None:
    """Sleep, at most until the server closes."""
    if seconds <= 0:
        return
    try:
        async with asyncio.timeout(seconds):
            await closing.wait()
    except TimeoutError:
        return


async def _break(request: web.BaseRequest, answer: EmulatedAnswer, fault: Fault, closing: asyncio.Event) -> None:
    transport = request.transport
    if transport is None:
        return
    if fault.raw is not None:
        transport.write(fault.raw)
    else:
        transport.write(_head(answer, chunked=fault.chunked))
        for piece in _pieces(answer.body, fault):
            transport.write(piece)
            await sleep(fault.trickle, closing)
    if fault.end == "stall":
        await closing.wait()
    _end(request, fault.end)


def _head(answer: EmulatedAnswer, *, chunked: bool) -> bytes:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(answer.body)}"
    lines = [f"HTTP/1.1 {answer.status} {answer.reason or 'Fault'}", framing, f"Content-Type: {answer.content_type}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _pieces(body: bytes, fault: Fault) -> list[bytes]:
    shown = body if fault.cut is None else body[: fault.cut]
    opening, closing = b"", b""
    if fault.chunked:
        opening = b"%x\r\n" % len(body)
        closing = b"\r\n0\r\n\r\n" if len(shown) == len(body) and fault.end == "keep" else b""
    if fault.trickle > 0:
        return [opening, *(shown[i : i + 1] for i in range(len(shown))), closing]
    return [opening + shown + closing]


def _end(request: web.BaseRequest, how: str) -> None:
    transport = request.transport
    if transport is None:
        return
    if how == "reset":
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()
