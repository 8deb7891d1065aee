"""Tools that show local variables of exceptions find nobody's data and no key in the frames of mjbulk."""

import asyncio
import json
import os
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
import sqlalchemy.event
from frames import ADDRESS, CANARIES, PASSWORD, PRIVATE, PUBLIC, ROW, VALUE, leaks

import mjbulk
from mjbulk.mailjet.http import Exchange
from mjbulk.mailjet.requests import Request
from mjbulk.testing import Emulator, Fault

KEYS = mjbulk.Credentials(PUBLIC, PRIVATE)
ADD: Any = {1: "addnoforce"}
ADD_FORCE: Any = {1: "addforce"}
MANY = "POST contact/managemanycontacts"
HOOKS: Any = [ADDRESS]
Story = Callable[[Emulator, Path], Awaitable[object]]
STORIES: dict[str, Story] = {}
SOON: dict[str, Any] = {"attempts": 2, "give_up_after": 2.0, "read_timeout": 2.0, "connect_timeout": 1.0}


def row() -> dict[str, Any]:  # a call, because loguru shows the variables of a line that raises, those of this file too
    return dict(ROW)


def rows() -> list[Any]:
    return [ROW, {**ROW, "email": f"other.{ADDRESS}"}]


def text() -> bytes:
    return f"email,city\n{ADDRESS},{VALUE}\n".encode()


def password() -> str:
    return PASSWORD


def story(tell: Story) -> Story:
    STORIES[tell.__name__] = tell
    return tell


def client(emulator: Emulator, **more: Any) -> mjbulk.Client:
    journal, quota = more.pop("journal", None), more.pop("quota", None)
    settings = mjbulk.Settings(**{"api_url": emulator.url, **SOON, **more})
    return mjbulk.Client(KEYS, settings, journal=journal, quota=quota)


# Keywords, columns, sources


def refused(source: Any, **how: Any) -> Story:
    async def tell(emulator: Emulator, _: Path) -> None:
        async with client(emulator) as mailjet:
            await mailjet.import_contacts(source() if callable(source) else source, **{"lists": ADD, **how})

    return tell


def raising() -> Iterator[Any]:
    yield row()
    raise RuntimeError("away")


async def raising_later() -> AsyncIterator[Any]:
    yield row()
    raise RuntimeError("away")


async def raising_pieces() -> AsyncIterator[bytes]:
    yield text()
    raise RuntimeError("away")


class Unreadable:
    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("away")

    def __repr__(self) -> str:
        return f"<{ADDRESS}>"


STORIES |= {
    "a_wrong_keyword": refused(rows(), run_idd="x"),
    "a_wrong_list": refused(rows(), lists={"no such list": "addforce"}),
    "a_wrong_action": refused(rows(), lists={1: "adforce"}),
    "an_unknown_property": refused([{**row(), "nothing": VALUE}]),
    "two_columns": refused([{**row(), "EMAIL": ADDRESS}]),
    "no_address": refused([{"mail": ADDRESS}]),
    "no_rows": refused(ADDRESS),
    "a_dict": refused(row()),
    "bytes": refused(text()),
    "tuples": refused([(ADDRESS, VALUE)]),
    "a_text": refused([f"{ADDRESS},{VALUE}"]),
    "csv_text": refused(lambda: mjbulk.csv_source(text().decode())),
    "csv_list": refused(lambda: mjbulk.csv_source(cast("Any", [text().decode()]))),
    "no_utf8": refused(lambda: mjbulk.csv_source(iter([text() + b"\xff\n"]))),
    "a_json_array": refused(lambda: mjbulk.jsonl_source(iter([b'[{"email": "' + ADDRESS.encode() + b'"}]']))),
    "a_source_that_raises": refused(raising),
    "an_async_source_that_raises": refused(raising_later),
    "pieces_that_raise": refused(lambda: mjbulk.csv_source(raising_pieces())),
    "a_thread_that_raises": refused(lambda: mjbulk.in_thread(raising())),
    "an_iterable_that_raises": refused(Unreadable),
    "too_many_rejected": refused([row(), {**row(), "email": f"{ADDRESS} {VALUE}"}], max_rejected=0),
    "no_time_zone": refused([{**row(), "born": "2026-01-02T03:04:05"}]),
    "names_that_are_data": refused([{ADDRESS: 1, VALUE: 2}]),
    "no_header": refused(lambda: mjbulk.csv_source(iter([text().partition(b"\n")[2] * 2]))),
    "a_table_without_a_header": refused(lambda: pa.table({ADDRESS: [ADDRESS], VALUE: [VALUE]})),
    "tables_without_a_header": refused(lambda: iter([pa.table({ADDRESS: [ADDRESS], VALUE: [VALUE]})])),
    "a_wrong_csv_keyword": refused(rows(), via="csv", lists={1: "addforce", 2: "addforce"}),
}


# Answers


def answered(call: str, fault: Fault, via: Any = "json", lists: Any = ADD, **settings: Any) -> Story:
    async def tell(emulator: Emulator, _: Path) -> None:
        emulator.fault(call, fault, times=None)
        async with client(emulator, **settings) as mailjet:
            report = await mailjet.import_contacts(rows(), lists=lists, via=via, timeout=60)
            report.raise_for_rows()
            if not report.complete:
                raise mjbulk.ImportHalted(report, report.run_id)

    return tell


FAULTS = {
    "401": Fault.answer(401, b""),
    "403": Fault.answer(403, b'{"ErrorMessage": "' + ADDRESS.encode() + b'"}'),
    "404": Fault.answer(404, b'{"ErrorMessage": "' + ADDRESS.encode() + b'"}'),
    "500": Fault.answer(500, f"<p>{ADDRESS}"),
    "garbage": Fault.garbage(f"<p>{ADDRESS} {VALUE}".encode()),
    "a_reset": Fault.drop_after(reset=True),
    "silence": Fault.stall(),
}
PLACES = {
    "submit": (MANY, "json"),
    "upload": ("POST contactslist/CSVData", "csv"),
    "csvimport": ("POST csvimport", "csv"),
    "poll": ("GET contact/managemanycontacts", "json"),
    "csv_poll": ("GET csvimport", "csv"),
    "properties": ("GET contactmetadata", "json"),
}
STORIES |= {
    f"{name}_to_{place}": answered(call, fault, via)
    for name, fault in FAULTS.items()
    for place, (call, via) in PLACES.items()
    if place != "csvimport" or name in ("401", "403", "404", "500")  # one whose answer was lost is found again
}
STORIES |= {f"{name}_to_force": answered(MANY, fault, "json", ADD_FORCE) for name, fault in FAULTS.items()}


@story
async def a_row_that_is_refused(emulator: Emulator, _: Path) -> None:
    emulator.reject(ADDRESS, f"no {VALUE}", "email")
    async with client(emulator) as mailjet:
        (await mailjet.import_contacts(rows(), lists=ADD)).raise_for_rows()


@story
async def an_error_file_that_cannot_be_written(emulator: Emulator, folder: Path) -> None:
    emulator.reject(ADDRESS, f"no {VALUE}", "email")
    async with client(emulator) as mailjet:
        job = (await mailjet.import_contacts(rows(), lists=ADD)).jobs[0]
        await mailjet.save_error_file(job, folder / "nowhere" / "file")


@story
async def a_run_that_is_stopped(emulator: Emulator, _: Path) -> None:
    emulator.fault(MANY, Fault.stall(), times=None)
    async with client(emulator) as mailjet:
        run = mailjet.start_import(rows(), lists=ADD)
        await asyncio.sleep(1.0)
        await run.stop()
        await run


def timed_out(call: Callable[[mjbulk.Client], Awaitable[object]], *calls: str) -> Story:
    async def tell(emulator: Emulator, _: Path) -> None:
        for name in calls:
            emulator.fault(name, Fault.stall(), times=None)
        async with client(emulator, read_timeout=60.0) as mailjet, asyncio.timeout(1.0):
            await call(mailjet)

    return tell


async def all_of(mailjet: mjbulk.Client) -> None:
    async with aclosing(mailjet.subscriptions(ADDRESS)) as found:  # type: ignore[type-var]
        async for _ in found:
            pass


CALLS: dict[str, tuple[Callable[[mjbulk.Client], Awaitable[object]], str]] = {
    "import": (lambda it: it.import_contacts(rows(), lists=ADD), MANY),
    "import_csv": (lambda it: it.import_contacts(rows(), lists=ADD, via="csv"), "POST contactslist/CSVData"),
    "poll": (lambda it: it.import_contacts(rows(), lists=ADD), "GET contact/managemanycontacts"),
    "exclude": (lambda it: it.exclude_contacts([ADDRESS]), MANY),
    "plan": (lambda it: it.plan_import(rows(), lists=ADD), "GET contactmetadata"),
    "submit_contacts": (lambda it: it.submit_contacts(rows(), lists=ADD), MANY),
    "submit_list_contacts": (
        lambda it: it.submit_list_contacts(1, rows(), action="addforce"),
        "POST contactslist/managemanycontacts",
    ),
    "upload_csvdata": (lambda it: it.upload_csvdata(1, text()), "POST contactslist/CSVData"),
    "set_excluded": (lambda it: it.set_excluded(ADDRESS, excluded=True), "PUT contact"),
    "subscriptions": (all_of, "GET contact/getcontactslists"),
    "update_subscriptions": (lambda it: it.update_subscriptions(ADDRESS, ADD), "POST contact/managecontactslists"),
    "watch": (lambda it: it.watch("contact:1").wait(), "GET contact/managemanycontacts"),
}
STORIES |= {f"{name}_in_time": timed_out(call, where) for name, (call, where) in CALLS.items()}


def called(call: Callable[[mjbulk.Client], Awaitable[object]], where: str, fault: Fault) -> Story:
    async def tell(emulator: Emulator, _: Path) -> None:
        emulator.fault(where, fault, times=None)
        async with client(emulator) as mailjet:
            await call(mailjet)

    return tell


SINGLE = (
    "submit_contacts",
    "submit_list_contacts",
    "upload_csvdata",
    "set_excluded",
    "subscriptions",
    "update_subscriptions",
)
STORIES |= {
    f"{fault}_to_{name}": called(*CALLS[name], FAULTS[fault])
    for name in SINGLE
    for fault in ("401", "404", "500", "a_reset")
}
STORIES |= {
    f"{name}_without_a_fault": called(call, "nothing", FAULTS["401"])
    for name, call in {
        "set_excluded_of_nobody": lambda it: it.set_excluded(f"{ADDRESS} {VALUE}", excluded=True),
        "submit_bad_rows": lambda it: it.submit_contacts([row(), {"email": VALUE}], lists=ADD),
        "submit_odd_rows": lambda it: it.submit_list_contacts(1, [row(), Unreadable()], action="addforce"),
        "upload_to_no_list": lambda it: it.upload_csvdata("nothing", text()),
        "update_wrong_lists": lambda it: it.update_subscriptions(ADDRESS, {"nothing": "addforce"}),
        "watch_nothing": lambda it: it.watch(ADDRESS).wait(),
        "watch_an_unknown_job": lambda it: it.watch("contact:999").wait(),
        "a_run_of_nobody": lambda it: it.get_report("x"),
    }.items()
}


# An ingester


@story
async def a_row_that_an_ingester_refuses(emulator: Emulator, _: Path) -> None:
    async with client(emulator) as mailjet, mailjet.ingest(lists=ADD) as ingester:
        await ingester.put({**row(), "email": f"{ADDRESS} {VALUE}"})


@story
async def a_row_that_mailjet_refuses_an_ingester(emulator: Emulator, _: Path) -> None:
    emulator.reject(ADDRESS, f"no {VALUE}", "email")
    async with client(emulator) as mailjet, mailjet.ingest(lists=ADD) as ingester:
        (await ingester.put(row())).raise_for_outcome()


@story
async def a_row_that_is_put_in_vain(emulator: Emulator, _: Path) -> None:
    emulator.fault(MANY, Fault.stall(), times=None)
    async with client(emulator) as mailjet, mailjet.ingest(lists=ADD) as ingester, asyncio.timeout(1.0):
        await ingester.put(row())


@story
async def an_ingester_that_is_closed(emulator: Emulator, _: Path) -> None:
    async with client(emulator) as mailjet:
        async with mailjet.ingest(lists=ADD) as ingester:
            pass
        await ingester.put(row())


# Journals, quotas, keys


@story
async def a_journal_that_is_none(emulator: Emulator, folder: Path) -> None:
    (folder / "j.db").write_text(ADDRESS * 1000)
    async with client(emulator, journal=folder / "j.db") as mailjet:
        await mailjet.import_contacts(rows(), lists=ADD)


@story
async def terms_that_changed(emulator: Emulator, folder: Path) -> None:
    async with client(emulator, journal=folder / "j.db") as mailjet:
        await mailjet.import_contacts(rows(), lists=ADD, run_id="r")
        await mailjet.import_contacts(rows(), lists=None, run_id="r")


@story
async def a_source_that_changed(emulator: Emulator, folder: Path) -> None:
    emulator.fault("GET contact/managemanycontacts", Fault.stall(), times=None)
    async with client(emulator, journal=folder / "j.db", chunk_rows=1) as mailjet:
        run = mailjet.start_import(rows(), lists=ADD, run_id="r")
        await asyncio.sleep(1.0)
        await run.stop()
        await mailjet.import_contacts([row(), {**row(), "email": f"third.{ADDRESS}"}], lists=ADD, run_id="r")


@contextmanager
def sqlite_connections() -> Iterator[list[Any]]:
    """Give the connections that are opened meanwhile."""
    opened: list[Any] = []

    def keep(connection: Any, _: object) -> None:
        opened.append(connection)

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", keep)
    try:
        yield opened
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "connect", keep)


def full(connection: Any) -> None:
    connection.execute("pragma max_page_count = 1")  # as few as it has


def refusing(connection: Any) -> None:
    says = f"begin select raise(abort, '{ADDRESS} {VALUE}'); end"
    connection.execute(f"create temp trigger refuses before insert on main.mjbulk_2_parts {says}")
    connection.execute(f"create temp trigger refuses_too before update on main.mjbulk_2_parts {says}")


def failing(fail: Callable[[Any], None], tell: Callable[[mjbulk.Client], Awaitable[object]]) -> Story:
    """Have a journal fail when the first chunk has come, of which each row is rejected."""

    async def told(emulator: Emulator, folder: Path) -> None:
        def edit(body: bytes) -> bytes:
            for connection in opened:
                fail(connection)
            return body

        reject_many(emulator)
        emulator.fault(MANY, Fault.edited(edit))
        with sqlite_connections() as opened:
            async with client(emulator, journal=folder / "j.db") as mailjet:
                await tell(mailjet)

    return told


def many() -> list[dict[str, Any]]:
    return [{**ROW, "email": f"p{number}.{ADDRESS}"} for number in range(30)]


def reject_many(emulator: Emulator) -> None:
    for person in (ROW, *many()):
        emulator.reject(person["email"], f"no {VALUE} {'x' * 200}", "email")


async def put_many(mailjet: mjbulk.Client) -> None:
    async with mailjet.ingest(lists=ADD, linger=0.1) as ingester:
        await ingester.send(row())
        await asyncio.sleep(60)
        await ingester.put(row())


STORIES |= {
    "a_journal_that_is_full": failing(full, lambda it: it.import_contacts(many(), lists=ADD)),
    "a_journal_that_refuses": failing(refusing, lambda it: it.import_contacts(many(), lists=ADD)),
    "a_journal_that_refuses_an_ingester": failing(refusing, put_many),
}


def constructed(make: Callable[[], object]) -> Story:
    async def tell(_: Emulator, __: Path) -> None:
        make()

    return tell


STORIES |= {
    f"constructed_{number}": constructed(make)
    for number, make in enumerate(
        [
            lambda: mjbulk.Client(KEYS, journal=f"postgresql+nothing://app:{password()}@localhost/x"),
            lambda: mjbulk.Client(KEYS, journal=f"postgresql+psycopg://app:{password()}"),
            lambda: mjbulk.Client(KEYS, journal=f"redis://app:{password()}@localhost"),
            lambda: mjbulk.SessionPool(journal=f"postgresql+nothing://app:{password()}@localhost/x"),
            lambda: mjbulk.RedisQuota(f"http://:{password()}@localhost", max_rate=1),
            lambda: mjbulk.RedisQuota(f"redis://:{password()}@localhost", max_rate=0),
            lambda: mjbulk.Credentials(f"{PUBLIC} ", f"{PRIVATE}\n"),
            lambda: mjbulk.Credentials(PUBLIC, ""),
            lambda: mjbulk.Settings(proxy=f"http://app:{password()}@localhost", attempts=0),
            lambda: mjbulk.Settings(api_url=f"https://app:{password()}@localhost"),
            lambda: mjbulk.Client(KEYS, mjbulk.Settings(proxy=f"http://app:{password()}@localhost")).watch("contact:1"),
            lambda: mjbulk.Client(KEYS, hooks=HOOKS),
            lambda: mjbulk.JobRef.parse(ADDRESS),
        ]
    )
}


@story
async def a_redis_that_is_not_there(emulator: Emulator, _: Path) -> None:
    quota = mjbulk.RedisQuota(f"redis://:{password()}@127.0.0.1:1", max_rate=5)
    async with client(emulator, quota=quota) as mailjet:
        await mailjet.import_contacts(rows(), lists=ADD)


@story
async def a_redis_that_refuses_the_password(emulator: Emulator, _: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            writer.write(f"-WRONGPASS invalid username-password pair: {PASSWORD}\r\n".encode())
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        quota = mjbulk.RedisQuota(f"redis://app:{password()}@127.0.0.1:{port}", max_rate=5)
        async with client(emulator, quota=quota) as mailjet:
            await mailjet.import_contacts(rows(), lists=ADD)


@story
async def a_database_that_is_not_there(emulator: Emulator, _: Path) -> None:
    async with client(emulator, journal=f"postgresql+psycopg://app:{password()}@127.0.0.1:1/x") as mailjet:
        await mailjet.import_contacts(rows(), lists=ADD)


@story
async def no_server(emulator: Emulator, _: Path) -> None:
    async with client(emulator, api_url="http://127.0.0.1:1") as mailjet:
        await mailjet.import_contacts(rows(), lists=ADD)


@story
async def a_proxy_that_is_not_there(emulator: Emulator, _: Path) -> None:
    async with client(emulator, proxy=f"http://app:{password()}@127.0.0.1:1") as mailjet:
        await mailjet.import_contacts(rows(), lists=ADD)


@story
async def a_client_of_its_own(emulator: Emulator, _: Path) -> None:
    await mjbulk.import_contacts(rows(), lists=ADD, credentials=KEYS, journal=f"postgresql+psycopg://app:{password()}")


@story
async def a_repair_that_raises(emulator: Emulator, _: Path) -> None:
    emulator.reject(ADDRESS, f"no {VALUE}", "email")

    def fix(_: mjbulk.Rejection) -> Any:
        raise RuntimeError("away")

    async with client(emulator) as mailjet:
        report = await mailjet.import_contacts(rows(), lists=ADD)
        await mailjet.retry_rejected(report, fix)


async def failure_of(tell: Story, emulator: Emulator, folder: Path) -> BaseException:
    """Give the exception that a story ends with."""
    try:
        await tell(emulator, folder)
    except Exception as error:  # noqa: BLE001  # whatever it is
        return error
    raise AssertionError("nothing was raised")


def prepare(emulator: Emulator) -> None:
    for name, kind in {"city": "str", "name": "str", "born": "datetime"}.items():
        emulator.create_property(name, kind)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator() as made:
        prepare(made)
        yield made


@pytest.mark.parametrize("name", STORIES)
async def test_frames_hold_nothing(name: str, emulator: Emulator, tmp_path: Path) -> None:
    """No local variable of mjbulk in any traceback shows an address, a value, a key or a password."""
    error = await failure_of(STORIES[name], emulator, tmp_path)
    assert not (found := leaks(error)), "\n".join(found)


def test_keys_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is nowhere in the frames."""
    monkeypatch.delenv("MJ_APIKEY_PUBLIC", raising=False)
    monkeypatch.setenv("MJ_APIKEY_PRIVATE", PRIVATE)
    monkeypatch.setenv("OTHER", PASSWORD)
    for public in (None, "", " bad key", "x\n"):
        if public is not None:
            monkeypatch.setenv("MJ_APIKEY_PUBLIC", public)
        with pytest.raises(mjbulk.UsageError) as caught:
            mjbulk.Client()
        assert leaks(caught.value) == []


# The tools themselves


def by_python(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def by_sentry(error: BaseException) -> str:
    sdk = pytest.importorskip("sentry_sdk", reason="sentry-sdk is not installed")
    envelopes = []

    class Kept(sdk.transport.Transport):  # type: ignore[name-defined, misc]
        def capture_envelope(self, envelope: Any) -> None:
            envelopes.append(envelope)

    client = sdk.Client(dsn="http://key@127.0.0.1:1/1", transport=Kept, default_integrations=False)
    event, hint = sdk.utils.event_from_exception(error, client_options=client.options)
    client.capture_event(event, hint)
    return json.dumps([item.payload.json for envelope in envelopes for item in envelope.items])


def by_loguru(error: BaseException) -> str:
    logger = pytest.importorskip("loguru", reason="loguru is not installed").logger
    written = StringIO()
    handler = logger.add(written, diagnose=True, backtrace=True, colorize=False)
    try:
        logger.opt(exception=error).error("it failed")
    finally:
        logger.remove(handler)
    return written.getvalue()


def by_rich(error: BaseException) -> str:
    rich = pytest.importorskip("rich.traceback", reason="rich is not installed")
    console = pytest.importorskip("rich.console").Console(file=StringIO(), width=400)
    console.print(
        rich.Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True, extra_lines=0)
    )
    return str(console.file.getvalue())


def by_structlog(error: BaseException) -> str:
    tracebacks = pytest.importorskip("structlog.tracebacks", reason="structlog is not installed")
    transform = tracebacks.ExceptionDictTransformer(show_locals=True, use_rich=False)
    return json.dumps(transform((type(error), error, error.__traceback__)), default=repr)


EXTRA = pytest.mark.extra
SHOWN = [
    "import_in_time",
    "import_csv_in_time",
    "poll_in_time",
    "submit_contacts_in_time",
    "submit_list_contacts_in_time",
    "upload_csvdata_in_time",
    "a_row_that_is_refused",
    "a_row_that_is_put_in_vain",
    "a_row_that_an_ingester_refuses",
    "a_client_of_its_own",
    "a_redis_that_is_not_there",
    "a_database_that_is_not_there",
    "a_proxy_that_is_not_there",
    "a_redis_that_refuses_the_password",
    "a_journal_that_refuses_an_ingester",
    "terms_that_changed",
]
"""Stories whose own frames have nobody's data, and whose requests have no address in their URLs."""


@pytest.mark.parametrize(
    "tool", [by_python, by_rich, *(pytest.param(tool, marks=EXTRA) for tool in (by_sentry, by_loguru, by_structlog))]
)
@pytest.mark.parametrize("name", SHOWN)
async def test_tools_show_nothing(
    name: str, tool: Callable[[BaseException], str], emulator: Emulator, tmp_path: Path
) -> None:
    """What a tool says of an exception has no canary: not in our frames, and not in those of libraries below them."""
    told = tool(await failure_of(STORIES[name], emulator, tmp_path))
    assert "mjbulk" in told
    assert [canary for canary in CANARIES if canary in told] == []


_SHOWN_BY_PYTEST = """
import asyncio
from pathlib import Path
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from test_reporters import SHOWN, STORIES, prepare
from mjbulk.testing import Emulator, VirtualClockLoop

@pytest.mark.parametrize("name", SHOWN[::4])
def test_it(name, tmp_path):
    async def tell():
        async with Emulator() as emulator:
            prepare(emulator)
            await STORIES[name](emulator, tmp_path)
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(tell())
"""


@pytest.mark.real_time
@pytest.mark.timeout(120)
def test_pytest_shows_nothing(tmp_path: Path) -> None:
    """``pytest --showlocals`` shows no canary either."""
    (tmp_path / "test_shown.py").write_text(_SHOWN_BY_PYTEST)
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent), str(here.parent.parent)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--showlocals", "--tb=long", "-q", "-p", "no:cacheprovider", "test_shown.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{len(SHOWN[::4])} failed" in done.stdout, done.stdout[-2000:]
    assert [canary for canary in CANARIES if canary in done.stdout] == []


async def test_urls_hold_no_address(emulator: Emulator) -> None:
    """What notes URLs sees nobody: not in imports on both ways, ingesters and watchers."""
    seen: list[str] = []
    emulator.reject(ADDRESS, f"no {VALUE}", "email")
    once = Exchange.once

    async def noted(self: Exchange, request: Request, **how: Any) -> Any:
        seen.append(request.path)
        return await once(self, request, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Exchange, "once", noted)
        async with client(emulator) as mailjet:
            for via in ("json", "csv"):
                report = await mailjet.import_contacts(rows(), lists=ADD, via=via)
                await mailjet.watch(report.jobs[0]).wait()
            await mailjet.exclude_contacts([ADDRESS])
            async with mailjet.ingest(lists=ADD) as ingester:
                await ingester.send(row())
            paths = len(seen)
            with pytest.raises(mjbulk.ApiError):
                await mailjet.set_excluded(f"nobody.{ADDRESS}", excluded=True)
    assert paths > 10
    assert [path for path in seen[:paths] if "@" in path or "%40" in path or ADDRESS.partition("@")[0] in path] == []
    assert "%40" in seen[-1]
