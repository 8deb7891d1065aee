"""Programs that users want to write run unchanged, and so does the README's code."""

import asyncio
import importlib.util
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
import pytest
from postgres import Postgres
from pyarrow import parquet
from support import extra, most_within

import mjbulk
from benchmarks import redis_server
from mjbulk.testing import Fault, Knobs, Mailjet

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
README = (HERE.parent / "README.md").read_text(encoding="utf-8")
GUIDES = sorted((HERE.parent / "mjbulk" / "guides").glob("*.md"))
TEXTS = {"README": README, **{guide.stem: guide.read_text(encoding="utf-8") for guide in GUIDES}}
CODE = [
    (name, code)
    for name, text in TEXTS.items()
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    if "from airflow" not in code  # tests/airflow runs it
]
EXTRAS = {"from celery": "celery"}
"""What code of the guides imports that ``test`` does not install."""
BARE = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull]

pytestmark = [pytest.mark.unmeasured, pytest.mark.real_time, pytest.mark.usefixtures("mailjet")]


def load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*command: str, cwd: Path = HERE) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def with_list_42(mailjet: Mailjet) -> None:
    while 42 not in mailjet.emulator.lists:
        assert mailjet.emulator.create_list("one of many").id <= 42


CONTACTS = """
create table contacts as select
    n + 1000000 as crm_id,
    case n when 7000 then 'not an address' else 'p' || n || '@example.org' end as email,
    'Ann ' || n as name, case when n % 2 = 0 then 'Graz' end as city, n / 4.0 as ltv, n % 5 <> 1 as consent
from generate_series(1, 12000) as n
"""


@pytest.mark.extra
def test_a_nightly_import_from_a_database(
    mailjet: Mailjet, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cursor of PostgreSQL goes in whole, once a day; a bad row is named by a column that was not sent."""
    extra("asyncpg")
    with_list_42(mailjet)
    mailjet.emulator.create_property("city", "str")
    mailjet.emulator.create_property("ltv", "float")
    mailjet.reject("p11999@example.org", "Refused there")
    database = postgres.create_database()
    postgres.sql(CONTACTS, database)
    for name, value in postgres.environment(database).items():
        monkeypatch.setenv(name, value)
    ended = run(str(PROGRAMS / "p01_nightly.py"), cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (1, "")
    line, *refused = ended.stdout.splitlines()
    assert "9600 rows: 9598 accepted, 2 rejected" in line
    assert refused == ["1007000 this is no e-mail address", "1011999 Refused there"]
    assert len(mailjet.contacts) == 9_598
    even, odd = mailjet.contacts["p11998@example.org"], mailjet.contacts["p11997@example.org"]
    assert (even.name, even.properties, even.lists) == (
        "Ann 11998",
        {"city": "Graz", "ltv": 2999.5},
        {42: "addnoforce"},
    )
    assert odd.properties == {"ltv": 2999.25}
    posts = mailjet.emulator.count("POST contact/managemanycontacts")
    again = run(str(PROGRAMS / "p01_nightly.py"), cwd=tmp_path)
    assert (again.returncode, "9598 accepted, 2 rejected" in again.stdout) == (1, True), again.stderr
    assert mailjet.emulator.count("POST contact/managemanycontacts") == posts


async def test_parallel_imports(mailjet: Mailjet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Many files go to many lists side by side; one that is refused does not cancel the others."""
    program = load(PROGRAMS / "p03_parallel.py")
    files = {}
    for list_id in (1, 2):
        files[list_id] = tmp_path / f"{list_id}.csv"
        files[list_id].write_text("email\na@example.org\nb@example.org\n")
    await program.main(files, mjbulk.Action.ADDNOFORCE)
    printed = capsys.readouterr().out
    assert re.search(r"^1 \w+: 2 rows: 2 accepted", printed, re.MULTILINE)
    assert re.search(r"^2 .*no list with the ID 2", printed, re.MULTILINE)
    assert mailjet.contacts["a@example.org"].lists == {1: "addnoforce"}


async def begun(journal: Path, *run_ids: str) -> None:
    """Begin runs, and stop them before their end."""
    settings = mjbulk.Settings(chunk_rows=5, max_jobs=2)
    async with mjbulk.Client(settings=settings, journal=journal) as client:
        for run_id in run_ids:
            run = client.start_import(journal.parent / "contacts.csv", lists={1: "addnoforce"}, run_id=run_id)
            async for progress in run:
                if progress.accepted:
                    break
            await run.stop()


def test_runs_that_were_interrupted(mailjet: Mailjet, tmp_path: Path) -> None:
    """All that can go on do, side by side; their files are found again."""
    mailjet.emulator.knobs = Knobs(queue_seconds=0.05)
    (tmp_path / "contacts.csv").write_text("email\n" + "".join(f"p{n}@example.org\n" for n in range(40)))
    asyncio.run(begun(tmp_path / "imports.db", "a", "b"))
    ended = run(str(PROGRAMS / "p06_resume.py"), cwd=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")

    async def states() -> list[tuple[str, int]]:
        async with mjbulk.Client(journal=tmp_path / "imports.db") as client:
            return [(info.state, info.accepted) async for info in client.runs()]

    assert asyncio.run(states()) == [("settled", 40), ("settled", 40)]
    assert mailjet.emulator.count("POST contact/managemanycontacts") <= 16 + 2


def test_a_task_that_is_tried_again(mailjet: Mailjet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try of a scheduler's task goes on where the one before it stood."""
    with_list_42(mailjet)
    monkeypatch.setenv("IMPORTS_DB", str(tmp_path / "imports.db"))
    monkeypatch.setenv("MJBULK_CHUNK_ROWS", "5")
    monkeypatch.setenv("MJBULK_CONCURRENCY", "1")
    (tmp_path / "contacts.csv").write_text("email\n" + "".join(f"p{n}@example.org\n" for n in range(39)) + "nobody\n")
    load_task = load(PROGRAMS / "p11_airflow.py").load
    for after in (2, 1):
        mailjet.emulator.fault("POST contact/managemanycontacts", Fault.answer(403, "{}"), after=after)
        with pytest.raises(mjbulk.ImportHalted):
            load_task(str(tmp_path / "contacts.csv"), "2026-11-23")
    books = load_task(str(tmp_path / "contacts.csv"), "2026-11-23")
    assert (books["accepted"], books["rejected"], books["complete"]) == (39, 1, True)
    assert mailjet.emulator.count("POST contact/managemanycontacts") == 8 + 2
    stored = load_task(str(tmp_path / "contacts.csv"), "2026-11-23")
    assert {**stored, "seconds": 0} == {**books, "seconds": 0}


@pytest.fixture
def redis_of_the_host(tmp_path: Path) -> Iterator[None]:
    """A Redis at the port that each client expects, unless there is one."""
    found = redis_server.program()
    if found is None:
        pytest.skip("Redis is not installed (on Debian: apt-get install redis-server)")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 6379)) == 0:
            yield
            return
    server = redis_server.RedisServer(found, tmp_path)
    server.start("--port", "6379", "--bind", "127.0.0.1")
    yield
    server.kill()


@pytest.mark.extra
@pytest.mark.usefixtures("redis_of_the_host")
def test_a_lake_of_parquet(
    mailjet: Mailjet, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes of Dask share a journal in PostgreSQL and a quota in Redis; run again, they send nothing."""
    extra("distributed")
    (tmp_path / "parts").mkdir()
    for part in range(4):
        people = [f"p{part * 100 + n}@example.org" for n in range(49)] + ["nobody"]
        parquet.write_table(pa.table({"email": people}), tmp_path / "parts" / f"part-{part}.parquet")
    postgres.sql("drop database if exists imports")
    postgres.sql("create database imports")
    for name, value in postgres.environment("imports").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MJBULK_CHUNK_ROWS", "10")
    for ends in ("", "; they had ended before, nothing was sent now"):
        ended = run(str(PROGRAMS / "p16_dask.py"), cwd=tmp_path)
        said = f"lake-2026-11-27: 200 rows: 196 accepted, 4 rejected in 4 partitions{ends}\n"
        assert (ended.returncode, ended.stdout) == (0, said), ended.stderr
    assert mailjet.emulator.count("POST contact/managemanycontacts") == 20
    assert len(mailjet.contacts) == 196
    assert most_within(1.0, [call.time for call in mailjet.emulator.calls]) <= 25  # 20 are sent, and some come late


def test_a_mended_file(mailjet: Mailjet, tmp_path: Path) -> None:
    """The caller's function corrects rejected rows, and they are imported."""
    with_list_42(mailjet)
    (tmp_path / "contacts.csv").write_text('email\na@example.org\n"b@example,org"\n')
    ended = run(str(PROGRAMS / "p05_retry.py"), cwd=tmp_path)
    first, second = ended.stdout.splitlines()
    assert "2 rows: 1 accepted, 1 rejected" in first, ended.stderr
    assert "1 row: 1 accepted" in second
    assert sorted(mailjet.contacts) == ["a@example.org", "b@example.org"]


def test_the_exclusion_list(mailjet: Mailjet, tmp_path: Path) -> None:
    """A file, two bare addresses and one contact go onto the exclusion list, and off it."""

    async def known() -> None:
        await mjbulk.import_contacts([{"email": "c@example.org"}], lists=None)

    asyncio.run(known())
    (tmp_path / "gdpr.csv").write_text("email,age\nx@example.org,7\n")
    ended = run(str(PROGRAMS / "p04_exclude.py"), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    excluded = {address: mailjet.contacts[address].excluded for address in mailjet.contacts}
    assert excluded == {"a@example.org": True, "b@example.org": True, "x@example.org": True, "c@example.org": False}


def test_a_watched_job(mailjet: Mailjet) -> None:
    """A job is found again by its text, in another process; the exit status tells how it ended."""

    async def submit() -> str:
        mailjet.reject("b@example.org", "No")
        async with mjbulk.Client() as client:
            rows = [{"email": "a@example.org"}, {"email": "b@example.org"}]
            return str((await client.submit_list_contacts(1, rows, action="addnoforce")).ref)

    ref = asyncio.run(submit())
    ended = run("programs/p07_watch.py", ref)
    assert (ended.returncode, ended.stdout) == (1, "b@example.org No\n"), ended.stderr


def test_tests_of_users(tmp_path: Path) -> None:
    """The fixture works in a project that knows nothing of this one."""
    (tmp_path / "test_program.py").write_text((PROGRAMS / "p09_test.py").read_text(encoding="utf-8"))
    ended = run(*BARE, "-o", "asyncio_mode=auto", "test_program.py", cwd=tmp_path)
    assert (ended.returncode, "2 passed" in ended.stdout) == (0, True), ended.stdout


(PASTED,) = (code for name, code in CODE if name == "README" and "def test_" in code)


def test_the_example_as_it_is_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the README needs no plugin of pytest; that it does not mind one is seen below."""
    (tmp_path / "test_pasted.py").write_text(PASTED)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    ended = run(*BARE, "-p", "mjbulk", "test_pasted.py", cwd=tmp_path)
    assert (ended.returncode, "1 passed" in ended.stdout) == (0, True), ended.stdout


ASYNC = """
import pytest
import mjbulk

{mark}

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.parametrize("number", range(2))
async def test_two(mailjet, number):
    mailjet.reject("b@example.org", "No")
    rows = [{{"email": "a@example.org"}}, {{"email": "b@example.org"}}]
    report = await mjbulk.import_contacts(rows, lists={{1: "unsub"}})
    assert (report.accepted, report.rejected, mailjet.requests > 2) == (1, 1, True)
    assert mailjet.contacts["a@example.org"].lists == {{1: "unsub"}}
"""
SCOPES = ("function", "class", "module", "package", "session")
MARKS = [*(f'asyncio(loop_scope="{scope}")' for scope in SCOPES), "anyio"]


def test_the_fixture_in_async_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It works in each loop scope of pytest-asyncio, under the plugin of anyio, and with workers of xdist."""
    for number, mark in enumerate(MARKS):
        (tmp_path / f"test_{number}.py").write_text(ASYNC.format(mark=f"pytestmark = pytest.mark.{mark}"))
    (tmp_path / "test_pasted.py").write_text(PASTED)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # each worker would import all that is installed here
    scopes = [f"test_{number}.py" for number in range(len(SCOPES))]
    plugins = ["-p", "mjbulk", "-p", "asyncio", "-p", "xdist", "-n", "2"]
    ended = run(*BARE, *plugins, "test_pasted.py", *scopes, cwd=tmp_path)
    assert (ended.returncode, "11 passed" in ended.stdout) == (0, True), ended.stdout
    plugins = ["-p", "mjbulk", "-p", "anyio"]
    ended = run(*BARE, *plugins, f"test_{len(SCOPES)}.py", cwd=tmp_path)
    assert (ended.returncode, "2 passed" in ended.stdout) == (0, True), ended.stdout


@pytest.mark.extra
@pytest.mark.parametrize("library", ["pandas", "polars"])
async def test_a_data_frame(mailjet: Mailjet, tmp_path: Path, library: str) -> None:
    """A frame with somebody's own column names, nulls and NaN goes in as it is, of either library."""
    extra(library)
    with_list_42(mailjet)
    mailjet.emulator.create_property("firstname", "str")
    mailjet.emulator.create_property("ltv", "float")
    program = (PROGRAMS / "p10_pandas.py").read_text(encoding="utf-8")
    (tmp_path / "frames.py").write_text(program.replace("import pandas as pd", f"import {library} as pd"))
    report = await load(tmp_path / "frames.py").cell()
    assert report.ok
    assert mailjet.contacts["a@example.org"].properties == {}
    assert mailjet.contacts["a@example.org"].lists == {42: "addnoforce"}


async def test_low_level_calls(mailjet: Mailjet) -> None:
    """One request, one job: contacts, an upload, an import, subscriptions and lists."""
    with_list_42(mailjet)
    async with mjbulk.Client() as client:
        await load(PROGRAMS / "p12_lowlevel.py").main(client)
    assert 42 in mailjet.contacts["a@example.org"].lists


def case(name: str, code: str) -> Any:
    """Mark code that needs a library that is not installed everywhere."""
    needs = [library for word, library in EXTRAS.items() if word in code]
    return pytest.param(code, needs, id=name, marks=[pytest.mark.extra] if needs else [])


@pytest.mark.parametrize(("code", "needs"), [case(name, code) for name, code in CODE])
def test_the_readme_and_the_guides(mailjet: Mailjet, tmp_path: Path, code: str, needs: list[str]) -> None:
    """Their code runs unchanged."""
    for library in needs:
        extra(library)
    (tmp_path / "contacts.csv").write_text("email\nann@example.org\nnot an address\n")
    name = "test_readme.py" if "def test_" in code else "readme.py"
    (tmp_path / name).write_text(code)
    ended = run(*(BARE if name.startswith("test_") else ()), name, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert len(README.splitlines()) <= 300
