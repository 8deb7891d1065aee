"""The sink counts the rows of each client truthfully, and the command prints ratios of figures that it has checked."""

import asyncio
import csv
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import orjson
import pytest
from mailjet_rest import Client as MailjetRest

from benchmarks import contest, processes, run, sink
from benchmarks import rows as made
from mjbulk import Client, Credentials, Settings

pytestmark = pytest.mark.long

CONTACTS = "/v3/REST/contact/managemanycontacts"
UPLOAD = "/v3/DATA/contactslist/1/CSVData/text:plain"
HAND_MADE = b'{"ContactsLists":[{"ListID":1,"Action":"addnoforce"}],"Contacts":[%s]}'


@pytest.fixture(scope="module")
def exact_sink() -> Iterator[str]:
    with processes.sink("--count", "parse") as url:
        yield url


@pytest.fixture
def exact(exact_sink: str) -> str:
    """A sink that parses, and has counted nothing yet."""
    with urlopen(Request(f"{exact_sink}/reset", method="POST"), timeout=5) as reply:
        assert reply.status == 200
    return exact_sink


def told(url: str, *names: str) -> tuple[Any, ...]:
    stats = processes.stats_of(url)
    return tuple(stats[name] for name in names)


def contacts(count: int, start: int = 0) -> bytes:
    return HAND_MADE % b",".join(b'{"Email":"c%d@example.com"}' % n for n in range(start, start + count))


def in_chunks(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x;note=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nTrailer: 1\r\n\r\n"


def post(body: bytes, *, chunk: int = 0, path: str = CONTACTS) -> bytes:
    length = b"Transfer-Encoding: chunked" if chunk else b"Content-Length: %d" % len(body)
    head = b"POST %s HTTP/1.1\r\nHost: sink\r\n%s\r\n\r\n" % (path.encode(), length)
    return head + (in_chunks(body, chunk) if chunk else body)


def answers(connection: sink.Connection, wire: "Wire", pieces: list[bytes]) -> list[bytes]:
    connection.connection_made(wire)
    for piece in pieces:
        connection.data_received(piece)
    return wire.written


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True


# Counting, without a network


def split(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("parse", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 64, 100_000])
@pytest.mark.parametrize("chunk", [0, 1, 5, 1000])
def test_requests_are_counted_wherever_their_bytes_are_split(*, parse: bool, size: int, chunk: int) -> None:
    known = sink.Sink(parse=parse, jobs_last=0)
    pipelined = post(contacts(3), chunk=chunk) + post(contacts(4, 2), chunk=chunk)
    written = answers(sink.Connection(known, 0), Wire(), split(pipelined, size))
    assert [orjson.loads(reply.partition(b"\r\n\r\n")[2])["Data"][0]["JobID"] for reply in written] == [1, 2]
    assert all(reply.startswith(b"HTTP/1.1 201 ") for reply in written)
    assert (known.stats.rows, known.stats.addresses) == (7, 6 if parse else None)


@pytest.mark.parametrize("parse", [False, True])
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize(
    "text",
    [
        "email,name\n",
        "email,name\na@x.com,A\n",
        "email,name\r\na@x.com,A\r\nb@x.com,B",
        'email,name\na@x.com,"one\ntwo\r\nthree"\nb@x.com,"say ""hi""\n"\n',
        '"email","name"\n"a@x.com",""\n"b@x.com",""""\n"c@x.com","\n"',
    ],
)
def test_records_are_counted_as_a_csv_reader_counts_them(*, parse: bool, size: int, text: str) -> None:
    counter = sink.ParsedRecords() if parse else sink.ScannedRecords()
    for piece in split(text.encode(), size):
        counter.feed(piece)
    assert counter.end() == len(list(csv.reader(StringIO(text, newline=""))))
    assert counter.size == len(text)


def test_a_scan_is_not_fooled_by_the_text_of_a_value() -> None:
    counter = sink.ScannedContacts()
    counter.feed(orjson.dumps({"Contacts": [{"Email": "a@x.com", "Name": 'the "Email": of A', "Properties": {}}]}))
    assert counter.end() == 1


def test_a_slow_sink_answers_in_order() -> None:
    async def ask() -> list[bytes]:
        server = await asyncio.get_running_loop().create_server(
            lambda: sink.Connection(sink.Sink(parse=False, jobs_last=0), 0.02), "127.0.0.1", 0
        )
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(post(contacts(1)) + post(contacts(1)) + b"GET /v3/none HTTP/1.0\r\n\r\n")
            replies = (await reader.read()).split(b"HTTP/1.1 ")
            writer.close()
            await writer.wait_closed()
        return replies

    _, first, second, last = asyncio.run(ask())
    assert b'"JobID":1}' in first
    assert b'"JobID":2}' in second
    assert last.startswith(b"404 ")
    assert b"Connection: close" in last


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        post(b"no JSON"),
        post(b'{"Contacts": 3}'),
        post(b'a,"b', path=UPLOAD),
        b"POST %s HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n" % CONTACTS.encode(),
        b"POST %s HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n" % CONTACTS.encode(),
        b"x" * 70_000,
    ],
)
def test_what_is_no_request_is_refused_and_counts_nothing(request_: bytes) -> None:
    known, wire = sink.Sink(parse=True, jobs_last=0), Wire()
    written = answers(sink.Connection(known, 0), wire, [request_])
    assert [reply[:13] for reply in written] == [b"HTTP/1.1 400 "]
    assert wire.closed
    assert (known.stats.rows, known.stats.records) == (0, 0)


def test_the_most_jobs_at_once_are_told_and_jobs_end_in_time() -> None:
    async def ask() -> tuple[str, str, sink.Stats]:
        known = sink.Sink(parse=False, jobs_last=0.05)
        wire = Wire()
        connection = sink.Connection(known, 0)
        connection.connection_made(wire)
        connection.data_received(post(contacts(2)) + post(contacts(3)))
        status = f"GET {CONTACTS}/2 HTTP/1.1\r\n\r\n".encode()
        connection.data_received(status)
        await asyncio.sleep(0.06)
        connection.data_received(status)
        connection.data_received(post(contacts(1)))
        jobs = [orjson.loads(reply.partition(b"\r\n\r\n")[2])["Data"][0] for reply in wire.written[2:4]]
        return jobs[0]["Status"], f"{jobs[1]['Status']} {jobs[1]['Count']}", known.stats

    before, after, stats = asyncio.run(ask())
    assert (before, after) == ("Importing", "Completed 3")
    assert (stats.jobs, stats.unfinished, stats.unfinished_rows) == (3, 2, 5)


# The sink as a process


def test_a_body_that_is_sent_byte_by_byte_is_counted(exact: str) -> None:
    host, port = exact.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post(contacts(2), chunk=9):
            connection.sendall(bytes([byte]))
        assert connection.recv(4096).startswith(b"HTTP/1.1 201 ")
    assert told(exact, "rows", "addresses", "uploads") == (2, 2, 1)


def test_a_sink_waits_for_the_body_that_it_was_asked_whether_it_wants(exact: str) -> None:
    body = contacts(5)
    head, _, _ = post(body).partition(b"\r\n\r\n")
    host, port = exact.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert told(exact, "rows") == (0,)
        connection.sendall(body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 201 ")
    assert told(exact, "rows") == (5,)


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl here")
@pytest.mark.parametrize("headers", [["Expect:"], ["Expect: 100-continue"], ["Transfer-Encoding: chunked"]])
def test_what_curl_uploads_is_counted(exact: str, tmp_path: Path, headers: list[str]) -> None:
    file = tmp_path / "contacts.csv"
    count = made.write_csv(file, 200_000)
    assert b'00\nthe ""round"" one"' in file.read_bytes()
    options = [part for header in headers for part in ("-H", header)]
    command = ["curl", "-sSf", *options, "--data-binary", f"@{file}", exact + UPLOAD]
    data_id = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=10).stdout)["ID"]
    assert told(exact, "records", "rows", "largest") == (count + 1, 0, file.stat().st_size)
    body = json.dumps({"ContactsListID": 1, "DataID": data_id, "Method": "addnoforce"})
    command = ["curl", "-sSf", "-d", body, f"{exact}/v3/rest/CSVImport"]
    job_id = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=10).stdout)["Data"][0]["ID"]
    with urlopen(f"{exact}/v3/REST/csvimport/{job_id}", timeout=5) as reply:
        job = json.load(reply)["Data"][0]
    assert (job["Status"], job["Count"], job["Errcount"]) == ("Completed", count, 0)
    assert told(exact, "rows", "addresses") == (count, count)


def test_an_import_that_names_its_fields_has_no_header(exact: str) -> None:
    host = exact.removeprefix("http://")
    connection = HTTPConnection(host, timeout=5)
    connection.request("POST", UPLOAD, body=b"A,a@x.com\nB,b@x.com\n")
    data_id = json.loads(connection.getresponse().read())["ID"]
    connection.request("POST", "/v3/REST/csvimport", body=json.dumps({"DataID": data_id, "ImportOptions": "{}"}))
    assert connection.getresponse().read().startswith(b'{"Count":1')
    connection.close()
    assert told(exact, "records", "rows", "addresses") == (2, 2, 2)


def test_what_mailjet_rest_sends_is_counted(exact: str) -> None:
    with MailjetRest(auth=("public", "private"), version="v3", api_url=exact) as client:
        for chunk in made.chunks_of(2500):
            reply = client.contact_managemanycontacts.create(data={"Contacts": chunk})
            job = client.contact_managemanycontacts.get(id=reply.json()["Data"][0]["JobID"]).json()["Data"][0]
            assert (job["Status"], job["Count"]) == ("Completed", len(chunk))
    assert told(exact, "rows", "addresses", "uploads", "requests") == (2500, 2500, 3, 6)


@pytest.mark.parametrize("way", ["json", "csv"])
def test_what_mjbulk_sends_is_counted(exact: str, tmp_path: Path, way: str) -> None:
    file = tmp_path / "contacts.csv"
    count = made.write_csv(file, 100_000)

    async def send() -> int:
        settings = Settings(api_url=exact, poll_min=0.01, chunk_rows=500)
        async with Client(Credentials("public", "private"), settings) as client:
            if way == "csv":
                return (await client.import_contacts(file, lists={1: "addnoforce"}, via="csv")).accepted
            return (await client.import_contacts(made.rows(count), lists={1: "addnoforce"})).accepted

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        assert runner.run(send()) == count
    chunks = -(-count // 500)
    assert told(exact, "rows", "addresses", "uploads", "jobs") == (count, count, chunks, chunks)


# The command


def test_the_command_prints_its_ratios() -> None:
    sizes = ["--rows", "2000", "--megabytes", "1", "--rounds", "1"]
    command = [sys.executable, "-m", "benchmarks", "--only", "json", "csv", *sizes]
    root = Path(run.__file__).parents[1]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=50, cwd=root)
    assert (done.returncode, done.stderr) == (0, "")
    ratios = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| mjbulk / ")]
    peers = {first.removeprefix("| mjbulk / ") for first, *_ in ratios}
    assert {"mailjet-rest, 16 threads", "aiohttp + orjson by hand", "csv.reader alone"} <= peers
    assert all(float(ratio) >= 0 for _, ratio, _ in ratios)


def test_the_figures_of_polling(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--quick", "--only", "polling"]) == 0
    rows = {line.split(" | ")[0].strip("| ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")}
    assert {"mjbulk, posted all at once", "1 s, doubling to 60 s", "`poll_max` none"} <= rows


@pytest.mark.parametrize(
    ("contender", "told_", "counted", "message"),
    [
        (contest.MJBULK, {"rows": 10}, {"rows": 9, "records": 0}, "of 10 rows it tells 10, the sink counted 9"),
        (contest.MJBULK, {"rows": 11}, {"rows": 10, "records": 0}, "of 10 rows it tells 11, the sink counted 10"),
        (contest.CSV[2], {}, {"rows": 0, "records": 10}, "of 11 rows the sink counted 10"),
        (contest.MJBULK, {"rows": 10, "pyarrow": True}, {"rows": 10, "records": 0}, "has loaded pyarrow"),
    ],
)
def test_a_figure_is_refused_where_the_counts_differ(
    contender: contest.Contender, told_: dict[str, Any], counted: dict[str, int], message: str
) -> None:
    with pytest.raises(processes.Refused, match=message):
        contest.check(contender, 10, told_, counted)
    contest.check(contender, 10, {"rows": 10}, {"rows": 10, "records": 11})


def test_memory_is_told_and_refused_where_the_bounds_were_not_reached(capsys: pytest.CaptureFixture[str]) -> None:
    task = contest.Task(3000, "", 3000, poll_min=0.05, jobs_last=0.1)
    contest.fill("Memory", task, full=False)
    assert re.match(r"\| 3,000 \| 0 \| [123] \| [123],000 \| ", capsys.readouterr().out.splitlines()[-1])
    with pytest.raises(processes.Refused, match=r"only [123] jobs with [123]000 rows were unfinished"):
        contest.fill("Memory", task, full=True)


def test_a_commit_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """``--against`` builds it before anything is measured."""
    assert run.main(["--quick", "--only", "json", "--against", "no-such-commit"]) == 1
    assert "refused" in capsys.readouterr().err


def test_a_commit_without_a_program_is_measured_by_the_one_of_this_commit(tmp_path: Path) -> None:
    """That program imports nothing of its folder."""
    other = replace(contest.SMALL, home=tmp_path)
    with processes.sink() as url:
        command = contest._command(other, contest.Task(20, "", 2), url)
        assert command[1] == str(Path(run.__file__).with_name("with_side_by_side.py"))
        env = {**os.environ, "PYTHONPATH": str(Path(run.__file__).parents[1])}
        done = subprocess.run(command, check=True, capture_output=True, timeout=50, cwd=tmp_path, env=env)
        contest.check(other, 20, json.loads(done.stdout), processes.stats_of(url))


def test_the_start_of_a_process_is_a_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--only", "start", "--rounds", "1"]) == 0
    lines = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| mjbulk: ")]
    assert len(lines) == 2
    assert all(float(line[3].split()[0]) > 0 for line in lines)


def test_a_contender_that_fails_is_refused() -> None:
    with pytest.raises(processes.Refused, match="ended with 3: it broke"):
        processes.run([sys.executable, "-c", "import sys; sys.stderr.write('it broke'); sys.exit(3)"])


@pytest.mark.parametrize(
    ("table", "first"), [("journal", "mjbulk with a journal"), ("ingester", "mjbulk, put by 10,000 tasks")]
)
def test_a_cost_is_a_ratio(table: str, first: str) -> None:
    command = [sys.executable, "-m", "benchmarks", "--only", table, "--rows", "3000", "--rounds", "1"]
    root = Path(run.__file__).parents[1]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=50, cwd=root)
    assert (done.returncode, done.stderr) == (0, "")
    (ratio,) = [line for line in done.stdout.splitlines() if line.startswith(f"| {first} / mjbulk |")]
    assert float(ratio.split("|")[2]) > 0
