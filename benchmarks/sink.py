"""A raw HTTP/1.1 server that accepts contacts and counts them: clients are measured against it.

It replaces Mailjet for measurements of speed, and for nothing else: it refuses nothing, and every job completes. It
does as little as possible, so that the client is what is measured. ``python -m benchmarks.sink --port 0`` prints its
port, and serves until it is killed; ``GET /stats`` gives its counts, ``POST /reset`` sets them to zero.

It answers (ignoring case) the pages of contactmetadata and contactslist, POST and GET of both
managemanycontacts, POST CSVData, POST and GET of csvimport; bodies with a Content-Length or chunked, kept connections,
pipelined requests, and ``Expect: 100-continue``.

``--count scan`` counts contacts by their ``"Email":`` and records by the line ends outside of quotes, as bytes arrive.
``--count parse`` reads JSON and CSV with a parser, and knows the addresses too: exact for any body, and slower.
"""

import argparse
import asyncio
import csv
import io
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import attrs
import orjson
from attrs import define, field, frozen

from benchmarks.rows import PROPERTIES

_KEY = b'"Email":'
_MAX_HEAD = 64 * 1024
_REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 404: "Not Found"}
_STAMP = "2026-01-01T00:00:00Z"


# Counting


class Counter(Protocol):
    """A counter of the rows in a body, fed while the body arrives."""

    size: int

    def feed(self, piece: bytes) -> None: ...

    def end(self) -> int:
        """Give the number of contacts, or of records with their header. Raises ValueError for a bad body."""

    def addresses(self, *, header: bool) -> list[str]:
        """Give the addresses, if they are parsed."""


@define
class Plain:
    """A body without rows."""

    size: int = 0
    pieces: list[bytes] = field(factory=list)

    def feed(self, piece: bytes) -> None:
        self.size += len(piece)
        self.pieces.append(piece)

    def whole(self) -> bytes:
        return b"".join(self.pieces)

    def end(self) -> int:
        return 0

    def addresses(self, *, header: bool) -> list[str]:  # noqa: ARG002
        return []


@define
class ScannedContacts(Plain):
    """Contacts, counted by the key ``"Email":``, which cannot occur in a JSON string: its quotes would be escaped."""

    found: int = 0
    tail: bytes = b""

    def feed(self, piece: bytes) -> None:
        self.size += len(piece)
        text = self.tail + piece
        self.found += text.count(_KEY)
        self.tail = text[1 - len(_KEY) :]

    def end(self) -> int:
        return self.found


@define
class ParsedContacts(Plain):
    """Contacts, counted by a JSON parser."""

    contacts: list[Any] = field(factory=list)

    def end(self) -> int:
        self.contacts = orjson.loads(self.whole())["Contacts"]
        return len(self.contacts)

    def addresses(self, *, header: bool) -> list[str]:  # noqa: ARG002
        return [contact["Email"] for contact in self.contacts]


@define
class ScannedRecords(Plain):
    """CSV records, counted by the line ends outside of quotes. A doubled quote in a quoted cell toggles twice."""

    lines: int = 0
    quoted: bool = False
    open: bool = False

    def feed(self, piece: bytes) -> None:
        self.size += len(piece)
        parts = piece.split(b'"')
        self.lines += b"".join(parts[self.quoted :: 2]).count(b"\n")
        self.quoted ^= len(parts) % 2 == 0
        self.open = self.quoted or not piece.endswith(b"\n")

    def end(self) -> int:
        return self.lines + self.open


@define
class ParsedRecords(Plain):
    """CSV records, counted by a CSV parser."""

    records: list[list[str]] = field(factory=list)

    def end(self) -> int:
        text = io.StringIO(self.whole().decode(), newline="")
        self.records = [cells for cells in csv.reader(text, strict=True) if cells]
        return len(self.records)

    def addresses(self, *, header: bool) -> list[str]:
        names = [name.casefold() for name in self.records[0]] if header and self.records else []
        column = names.index("email") if "email" in names else 0
        return [cells[column] for cells in self.records[header:]]


# State


@define
class Stats:
    """Counts since the start, or since the last reset."""

    rows: int = 0
    """Contacts in JSON bodies, and records of CSV files that were imported, without their headers."""
    records: int = 0
    """CSV records that were uploaded, with their headers."""
    addresses: int | None = None
    """Different addresses in the rows; None if they are not parsed."""
    requests: int = 0
    uploads: int = 0
    """Bodies with rows in them."""
    bytes: int = 0
    """Bytes of all bodies."""
    largest: int = 0
    """Bytes of the largest body."""
    jobs: int = 0
    unfinished: int = 0
    """The most jobs that were unfinished at once."""
    unfinished_rows: int = 0
    """The most rows that were in unfinished jobs at once."""


@frozen
class _Job:
    rows: int
    due: float


@frozen
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes = b""


class Sink:
    """The server without HTTP. Mutable state: the counts, the uploads and the jobs."""

    def __init__(self, *, parse: bool, jobs_last: float) -> None:
        self._parse = parse
        self._jobs_last = jobs_last
        self.reset()

    def reset(self) -> None:
        self.stats = Stats(addresses=0 if self._parse else None)
        self._seen: set[str] = set()
        self._uploads: dict[int, tuple[int, Counter]] = {}
        self._jobs: dict[int, _Job] = {}
        self._unfinished: deque[_Job] = deque()
        self._unfinished_rows = 0
        self._last_id = 0

    def counter(self, method: str, path: str) -> Counter:
        """Choose how the body of a request is counted."""
        if method == "POST" and path.endswith("/managemanycontacts"):
            return ParsedContacts() if self._parse else ScannedContacts()
        if method == "POST" and "/csvdata/" in path:
            return ParsedRecords() if self._parse else ScannedRecords()
        return Plain()

    def answer(self, method: str, path: str, body: Counter) -> Reply:
        """Answer a request; ``path`` is in lower case and without its query."""
        if path in ("/stats", "/reset"):
            return self._manage(method, path)
        stats = self.stats
        stats.requests += 1
        stats.bytes += body.size
        stats.largest = max(stats.largest, body.size)
        parts = path.strip("/").split("/")[1:]
        return self._take(parts, body) if method == "POST" else self._tell(parts)

    def _take(self, parts: list[str], body: Counter) -> Reply:
        match parts:
            case ["rest", "contact", "managemanycontacts"] | ["rest", "contactslist", _, "managemanycontacts"]:
                return self._take_contacts(body)
            case ["data", "contactslist", _, "csvdata", _]:
                return self._take_records(body)
            case ["rest", "csvimport"]:
                return self._import(body)
        return _missing()

    def _tell(self, parts: list[str]) -> Reply:
        match parts:
            case ["rest", "contact", "managemanycontacts", job_id] | [
                "rest",
                "contactslist",
                _,
                "managemanycontacts",
                job_id,
            ]:
                return self._tell_job(job_id)
            case ["rest", "csvimport", job_id]:
                return self._tell_import(job_id)
            case ["rest", "contactmetadata"]:
                return _page(_properties())
            case ["rest", "contactslist"]:
                return _page([{"ID": 1, "Name": "benchmark", "Address": "benchmark", "IsDeleted": False}])
        return _missing()

    def _manage(self, method: str, path: str) -> Reply:
        if (method, path) == ("GET", "/stats"):
            return Reply(200, orjson.dumps(attrs.asdict(self.stats)))
        if (method, path) == ("POST", "/reset"):
            self.reset()
            return Reply(200, b"{}")
        return _missing()

    def _take_contacts(self, body: Counter) -> Reply:
        rows = body.end()
        self.stats.uploads += 1
        job_id = self._start(rows, body.addresses(header=False))
        return Reply(201, orjson.dumps({"Count": 1, "Data": [{"JobID": job_id}], "Total": 1}))

    def _take_records(self, body: Counter) -> Reply:
        records = body.end()
        self.stats.uploads += 1
        self.stats.records += records
        self._last_id += 1
        self._uploads[self._last_id] = (records, body)
        return Reply(200, b'{ "ID": %d }' % self._last_id)

    def _import(self, body: Counter) -> Reply:
        asked = orjson.loads(body.whole()) if isinstance(body, Plain) else {}
        if asked.get("DataID") not in self._uploads:
            return _missing()
        records, upload = self._uploads[asked["DataID"]]
        header = not asked.get("ImportOptions")
        job_id = self._start(records - header, upload.addresses(header=header))
        return Reply(201, orjson.dumps({"Count": 1, "Data": [{"ID": job_id, "Status": "Upload"}], "Total": 1}))

    def _start(self, rows: int, addresses: list[str]) -> int:
        stats, now = self.stats, time.monotonic()
        self._finish(now)
        self._last_id += 1
        job = self._jobs[self._last_id] = _Job(rows, now + self._jobs_last)
        self._unfinished.append(job)
        self._unfinished_rows += rows
        stats.rows += rows
        stats.jobs += 1
        stats.unfinished = max(stats.unfinished, len(self._unfinished))
        stats.unfinished_rows = max(stats.unfinished_rows, self._unfinished_rows)
        if self._parse:
            self._seen.update(address.strip().casefold() for address in addresses)
            stats.addresses = len(self._seen)
        return self._last_id

    def _finish(self, now: float) -> None:
        """Remove the jobs that have ended; all take equally long, so the oldest one ends first."""
        while self._unfinished and self._unfinished[0].due <= now:
            self._unfinished_rows -= self._unfinished.popleft().rows

    def _tell_job(self, job_id: str) -> Reply:
        job = self._jobs.get(_number(job_id))
        if job is None:
            return _missing()
        ended = job.due <= time.monotonic()
        row = {
            "Count": job.rows if ended else 0,
            "Error": "",
            "ErrorFile": "",
            "JobEnd": _STAMP if ended else "",
            "JobStart": _STAMP,
            "Status": "Completed" if ended else "Importing",
        }
        return _page([row])

    def _tell_import(self, job_id: str) -> Reply:
        job = self._jobs.get(_number(job_id))
        if job is None:
            return _missing()
        ended = job.due <= time.monotonic()
        row = {
            "Count": job.rows,
            "Current": job.rows if ended else 0,
            "Errcount": 0,
            "ID": _number(job_id),
            "Status": "Completed" if ended else "Importing",
        }
        return _page([row])


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _properties() -> list[dict[str, Any]]:
    known = {"name": "str", **PROPERTIES}
    return [
        {"ID": number, "Name": name, "Datatype": word, "NameSpace": "static"}
        for number, (name, word) in enumerate(known.items(), 1)
    ]


def _page(data: list[dict[str, Any]]) -> Reply:
    return Reply(200, orjson.dumps({"Count": len(data), "Data": data, "Total": len(data)}))


def _missing() -> Reply:
    return Reply(404, b'{ "ErrorInfo" : "", "ErrorMessage" : "Object not found", "StatusCode" : 404 }')


# HTTP


class Connection(asyncio.Protocol):
    """One connection: it turns bytes into requests, and answers into bytes.

    Mutable state: the next step, and the bytes that are not used yet.
    """

    def __init__(self, sink: Sink, slow: float) -> None:
        self._sink = sink
        self._slow = slow
        self._buffer = bytearray()
        self._step: Callable[[], bool] = self._head
        self._waiting = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._go_on()

    def _go_on(self) -> None:
        try:
            while not self._waiting and self._step():
                pass
        except (ValueError, KeyError, TypeError, csv.Error):
            self._keep = False
            self._send(Reply(400, b'{ "ErrorMessage" : "Invalid input", "StatusCode" : 400 }'))

    def _line(self) -> bytes | None:
        """Take a line from the buffer, without its line end."""
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _MAX_HEAD:
                raise ValueError("a head without an end")
            return False
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        self._method, target, version = first.split(" ")
        self._path = target.partition("?")[0].casefold()
        pairs = (line.partition(":") for line in lines)
        headers = {name.casefold(): value.strip() for name, _, value in pairs}
        self._keep = version == "HTTP/1.1" and headers.get("connection", "").casefold() != "close"
        self._body = self._sink.counter(self._method, self._path)
        self._left = int(headers.get("content-length", 0))
        chunked = headers.get("transfer-encoding", "").casefold() == "chunked"
        self._step = self._chunk_head if chunked else self._rest
        if headers.get("expect", "").casefold() == "100-continue" and not self._buffer:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _take(self) -> bool:
        """Pass on the bytes of the body or chunk that have arrived, and tell whether it is complete."""
        piece = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        self._left -= len(piece)
        if piece:
            self._body.feed(piece)
        return not self._left

    def _rest(self) -> bool:
        if not self._take():
            return False
        self._finish()
        return True

    def _chunk_head(self) -> bool:
        line = self._line()
        if line is None:
            return False
        self._left = int(line.partition(b";")[0], 16)
        self._step = self._chunk if self._left else self._trailer
        return True

    def _chunk(self) -> bool:
        if not self._take() or len(self._buffer) < 2:
            return False
        if self._line() != b"":
            raise ValueError("a chunk is longer than it says")
        self._step = self._chunk_head
        return True

    def _trailer(self) -> bool:
        line = self._line()
        if line == b"":
            self._finish()
        return line is not None

    def _finish(self) -> None:
        self._step = self._head
        reply = self._sink.answer(self._method, self._path, self._body)
        self._body = Plain()
        if not self._slow:
            self._send(reply)
            return
        self._waiting = True
        self._transport.pause_reading()
        asyncio.get_running_loop().call_later(self._slow, self._send_late, reply)

    def _send_late(self, reply: Reply) -> None:
        if not self._transport.is_closing():
            self._waiting = False
            self._transport.resume_reading()
            self._send(reply)
            self._go_on()

    def _send(self, reply: Reply) -> None:
        end = "" if self._keep else "Connection: close\r\n"
        head = (
            f"HTTP/1.1 {reply.status} {_REASONS[reply.status]}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(reply.body)}\r\n{end}\r\n"
        )
        self._transport.write(head.encode() + reply.body)
        if not self._keep:
            self._waiting = True
            self._transport.close()


async def serve(port: int, *, parse: bool, jobs_last: float, slow: float) -> None:
    """Serve on loopback until the process is killed."""
    sink = Sink(parse=parse, jobs_last=jobs_last)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(sink, slow), "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main(arguments: list[str] | None = None) -> None:
    """Serve as the arguments say."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.sink", description=__doc__)
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_argument("--port", type=int, default=0, help="0 for any free one")
    options.add_argument("--count", choices=("scan", "parse"), default="scan")
    options.add_argument("--jobs-last", type=float, default=0.0, metavar="SECONDS", help="how long a job takes")
    options.add_argument("--slow", type=float, default=0.0, metavar="SECONDS", help="how long an answer takes")
    said = options.parse_args(arguments)
    asyncio.run(serve(said.port, parse=said.count == "parse", jobs_last=said.jobs_last, slow=said.slow))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
