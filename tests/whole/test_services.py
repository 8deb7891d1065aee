"""Programs that are services, under a real server that is restarted in the middle of an import."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands import wait_for
from postgres import Postgres

import mjbulk
from mjbulk.testing import Knobs, Mailjet

PROGRAMS = Path(__file__).parents[1] / "programs"
ROWS = 100
POST = "POST contact/managemanycontacts"

pytestmark = pytest.mark.real_time


@contextmanager
def uvicorn(app: str, folder: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A server on a free port, in a folder of its own; it is told to end if it has not by then."""
    path = os.pathsep.join([str(PROGRAMS), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "uvicorn", app, "--port", "0", "--timeout-graceful-shutdown", "1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, text=True, **pipes) as process:  # type: ignore[call-overload]  # pipes
        try:
            assert process.stdout
            log = []
            for line in process.stdout:
                log.append(line)
                if found := re.search(r"running on (http://\S+)", line):
                    yield found[1], process
                    return
            pytest.fail("".join(log))
        finally:
            process.kill()


def ask(url: str, data: bytes | None = None, **headers: str) -> Any:
    request = urllib.request.Request(url, data, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def end(process: "subprocess.Popen[str]", number: int) -> str:
    """End a server by a signal, and give what it logged."""
    process.send_signal(number)
    log, _ = process.communicate(timeout=30)
    return log


def runs(journal: str, keys: mjbulk.Credentials | None = None) -> list[mjbulk.RunInfo]:
    async def find() -> list[mjbulk.RunInfo]:
        async with mjbulk.Client(keys, journal=journal) as client:
            return [run async for run in client.runs()]

    return asyncio.run(find())


@pytest.fixture
def slow(mailjet: Mailjet, monkeypatch: pytest.MonkeyPatch) -> Mailjet:
    """Its jobs take so long that two by two they are not done in a moment."""
    mailjet.emulator.knobs = Knobs(queue_seconds=0.4)
    while 42 not in mailjet.emulator.lists:
        mailjet.emulator.create_list("one of many")
    monkeypatch.setenv("MJBULK_CHUNK_ROWS", "10")
    monkeypatch.setenv("MJBULK_MAX_JOBS", "2")
    return mailjet


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_upload_that_was_interrupted(slow: Mailjet, tmp_path: Path, number: int) -> None:
    """The next process settles what was under way, by itself; what it had of the stream is in the books."""
    body = ("email;city\n" + "".join(f"p{row}@example.org;\n" for row in range(ROWS))).encode()
    slow.emulator.create_property("city", "str")
    slow.emulator.knobs = Knobs(queue_seconds=1.0)
    with uvicorn("p02_fastapi:app", tmp_path) as (url, process):
        upload = threading.Thread(target=_interrupted, args=(f"{url}/contacts", body))
        upload.start()
        wait_for(lambda: len(slow.emulator.jobs) > 2)
        log = end(process, number)
        upload.join()
    assert "never retrieved" not in log
    assert "Unclosed" not in log
    (run,) = runs(f"{tmp_path}/imports.db")
    assert (run.state, run.accepted < ROWS) == ("resumable", True)
    posts = slow.emulator.count(POST)
    slow.emulator.knobs = Knobs(queue_seconds=0.01)
    with uvicorn("p02_fastapi:app", tmp_path) as (url, process):
        wait_for(lambda: ask(f"{url}/imports/{run.run_id}")["state"] == "needs_source")
        books = ask(f"{url}/imports/{run.run_id}")
        assert books["run_id"] == run.run_id
        assert books["accepted"] >= max(20, run.accepted)
        assert books["accepted"] + books["not_sent"] + books["unknown"] == books["rows"] <= ROWS
        assert slow.emulator.count(POST) == posts
        whole = ask(f"{url}/contacts", body)
        assert (whole["accepted"], whole["complete"]) == (ROWS, True)
        assert "Traceback" not in end(process, signal.SIGTERM)
    assert {contact.lists[42] for contact in slow.contacts.values()} == {"addnoforce"}


def _interrupted(url: str, body: bytes) -> None:
    with pytest.raises((urllib.error.URLError, OSError)):
        ask(url, body)


# Tenants


TENANTS = """
import mjbulk
from fastapi import Request
from p08_tenants import app, tenant

async def by_header(request: Request) -> mjbulk.Credentials:
    return mjbulk.Credentials(request.headers["x-tenant"], "secret")

app.dependency_overrides[tenant] = by_header
"""


@pytest.fixture
def upload() -> Iterator[Path]:
    """The file that the program reads, where this user may make it and nobody else has."""
    file = Path("/data/upload.csv")
    made = not file.parent.exists()
    try:
        file.parent.mkdir(exist_ok=True)
        with file.open("x") as writing:
            writing.write("email\n" + "".join(f"p{row}@example.org\n" for row in range(ROWS)))
    except OSError as why:
        pytest.skip(f"program 08 reads {file}, which cannot be made here: {why.strerror}")
    yield file
    file.unlink()
    if made:
        file.parent.rmdir()


@pytest.fixture
def mj(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The database that the program names, as every client of this server finds it."""
    postgres.sql("create database mj")
    for name, value in postgres.environment("postgres").items():
        monkeypatch.setenv(name, value)
    yield "postgresql+psycopg:///mj"
    postgres.sql("drop database mj with (force)")


@pytest.mark.usefixtures("upload")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_imports_of_tenants_outlive_their_requests(slow: Mailjet, mj: str, tmp_path: Path, number: int) -> None:
    """A server that is told to end drains them; of one that is killed another process goes on, by the journal alone."""
    (tmp_path / "tenants.py").write_text(TENANTS)
    tenants = [mjbulk.Credentials(name, "secret") for name in ("anne", "bob")]
    with uvicorn("tenants:app", tmp_path) as (url, process):
        run_ids = [ask(f"{url}/sync", b"", **{"x-tenant": one.public}) for one in tenants]
        wait_for(lambda: len(slow.emulator.jobs) > 6)
        log = end(process, number)
    assert "Traceback" not in log
    for one, run_id in zip(tenants, run_ids, strict=True):
        (run,) = runs(mj, one)
        assert (run.run_id, run.state) == (run_id, "settled" if number == signal.SIGTERM else "resumable")
        assert asyncio.run(_resumed(mj, one, run_id)).ok
    assert [run.accepted for one in tenants for run in runs(mj, one)] == [ROWS, ROWS]
    assert slow.emulator.count(POST) <= 2 * ROWS / 10 + (0 if number == signal.SIGTERM else 4)
    assert len(slow.contacts) == ROWS


async def _resumed(journal: str, keys: mjbulk.Credentials, run_id: str) -> mjbulk.Report:
    async with mjbulk.Client(keys, journal=journal) as client:
        return await client.resume_import(run_id)


# Rows one by one

JSON = {"content-type": "application/json"}


def sign_up(url: str, email: str) -> int:
    """Send a form, and give the status of the answer."""
    try:
        ask(f"{url}/signups", json.dumps({"email": email, "firstname": "Ann"}).encode(), **JSON)
    except urllib.error.HTTPError as refusal:
        return refusal.code
    return 202


def test_sign_ups_go_together(slow: Mailjet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each form is answered at once, and all of them take a few jobs. A server that is told to end waits for these."""
    monkeypatch.delenv("MJBULK_CHUNK_ROWS")
    slow.emulator.create_property("firstname", "str")
    slow.reject("p7@example.org", "Invalid email")
    with uvicorn("p13_ingester:app", tmp_path) as (url, process):
        with ThreadPoolExecutor(8) as pool:
            forms = [*(f"p{number}@example.org" for number in range(ROWS)), "nobody"]
            statuses = list(pool.map(partial(sign_up, url), forms))
        log = end(process, signal.SIGTERM)
    assert statuses == [202] * ROWS + [422]
    assert re.findall("a sign-up was not taken: .*", log) == ["a sign-up was not taken: rejected None"]
    assert "Traceback" not in log
    assert len(slow.contacts) == ROWS - 1
    assert slow.contacts["p0@example.org"].properties == {"firstname": "Ann"}
    assert slow.emulator.count(POST) < ROWS / 5


CONSUMER = """
import asyncio
from pathlib import Path
from p14_queue import consume

async def messages():
    ended = {int(line.split()[0]) for line in Path("ended").read_text().splitlines()}
    for number in range(ROWS):
        if number not in ended:
            yield number, {"email": f"p{number}@example.org"}
            await asyncio.sleep(0.01)

async def main():
    with open("ended", "a", buffering=1) as file:
        await consume(messages(), lambda number: print(number, "acknowledged", file=file),
                      lambda number, code: print(number, "dead", file=file))

asyncio.run(main())
"""


def test_a_queue_is_consumed_at_least_once(slow: Mailjet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message whose contact is at Mailjet is acknowledged. After a crash the others come again, and none is lost."""
    monkeypatch.delenv("MJBULK_MAX_JOBS")
    slow.reject("p7@example.org", "Invalid email")
    (tmp_path / "ended").touch()
    command = [sys.executable, "-c", CONSUMER.replace("ROWS", str(ROWS))]
    path = os.pathsep.join([str(PROGRAMS), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path}

    def ended() -> dict[int, str]:
        lines = (line.split() for line in (tmp_path / "ended").read_text().splitlines())
        return {int(number): word for number, word in lines}

    with subprocess.Popen(command, cwd=tmp_path, env=env) as process:
        wait_for(lambda: len(ended()) > 15)
        process.kill()
    acknowledged = {number for number, word in ended().items() if word == "acknowledged"}
    assert 0 < len(acknowledged) < ROWS - 1
    assert {f"p{number}@example.org" for number in acknowledged} <= set(slow.contacts)
    subprocess.run(command, cwd=tmp_path, env=env, check=True, timeout=60)
    assert {number for number, word in ended().items() if word == "dead"} == {7}
    assert set(ended()) == set(range(ROWS))
    assert set(slow.contacts) == {f"p{number}@example.org" for number in range(ROWS) if number != 7}
    assert {contact.lists[42] for contact in slow.contacts.values()} == {"addnoforce"}
