"""The calls of one request and one job, beside those that whole imports show."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import pytest
from support import KEYS, World

import mjbulk
from mjbulk.mailjet.replies import decode_job_id
from mjbulk.mailjet.requests import csvimport_request
from mjbulk.testing import Fault

pytestmark = pytest.mark.smoke

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}


async def test_a_csvimport_with_dates(world: World) -> None:
    """The options go as a string in a string, name the columns, and the text has no header row."""
    world.emulator.create_property("born", "datetime")
    options = mjbulk.ImportOptions(datetime_format="yyyy/mm/dd", timezone_offset=2, field_names=["email", "born"])
    async with world.client() as client:
        data_id = await client.upload_csvdata(1, b"a@example.org,2018/10/12\nb@example.org,12.10.2018\n")
        job = await (await client.submit_csvimport(data_id, list_id=1, method="addnoforce", import_options=options))
    assert [(r.email, r.field) for r in job.rejections] == [("b@example.org", "born")]
    assert world.emulator.contacts["a@example.org"].properties["born"] == "2018-10-11T22:00:00Z"
    (made,) = world.emulator.jobs.values()
    assert made.import_options == '{"DateTimeFormat":"yyyy/mm/dd","TimezoneOffset":2,"FieldNames":["email","born"]}'


@pytest.mark.parametrize("wrong", [{"timezone_offset": 13}, {"timezone_offset": True}, {"field_names": ()}])
def test_options_that_mailjet_does_not_know(wrong: dict[str, Any]) -> None:
    """They are refused where they are made."""
    good: dict[str, Any] = {"datetime_format": "yyyy", "timezone_offset": -12, "field_names": ["email"]}
    assert mjbulk.ImportOptions(**good)
    with pytest.raises(mjbulk.UsageError):
        mjbulk.ImportOptions(**{**good, **wrong})


async def test_dates_of_an_import_are_written_as_the_options_say(world: World) -> None:
    """The columns stand in their order, without a header, whatever the order of the source and the zone of a date."""
    world.emulator.create_property("born", "datetime")
    zone = dt.timezone(dt.timedelta(hours=-5))
    rows = [{"city": "Graz", "born": dt.datetime(2020, 1, 1, 20, 30, tzinfo=zone), "email": "a@example.org", "age": 7}]
    async with world.client() as client:
        assert (await client.import_contacts(rows, lists=ADD, via="csv")).ok
    (job,) = world.emulator.jobs.values()
    assert '"FieldNames":["city","born","email","age"]' in job.import_options
    assert job.body == b"Graz,2020/01/02 01:30:00,a@example.org,7\n"
    found = world.emulator.contacts["a@example.org"].properties
    assert found == {"city": "Graz", "born": "2020-01-02T01:30:00Z", "age": 7}


async def test_the_exclusion_list_by_a_csvimport(world: World) -> None:
    """It takes no list: that is said here, and what Mailjet says of it is understood."""
    async with world.client() as client:
        data_id = await client.upload_csvdata(1, b"email\na@example.org\n")
        for method, excluded in (("excludemarketing", True), ("includemarketing", False)):
            job = await (await client.submit_csvimport(data_id, method=method))  # type: ignore[arg-type]  # one of two words
            assert (job.ok, world.emulator.contacts["a@example.org"].excluded) == (True, excluded)
        assert world.emulator.contacts["a@example.org"].lists == {}
        with pytest.raises(mjbulk.UsageError, match="takes no list"):
            await client.submit_csvimport(data_id, list_id=1, method="excludemarketing")
        with pytest.raises(mjbulk.UsageError, match="needs a list"):
            await client.submit_csvimport(data_id, method="unsub")
        request = csvimport_request(data_id, method="excludemarketing", list_id=1)
        with pytest.raises(mjbulk.ApiError, match="MJ08: a value is invalid") as refused:
            await client._ready().transport.send(request, decode_job_id, harmless=False)
    assert "can not be applied to a list" in refused.value.text
    assert "applied to a list" not in str(refused.value)


@pytest.mark.parametrize("lists", [None, ADD])
async def test_rows_that_exclude(world: World, lists: Any) -> None:
    """IsExcludedFromCampaigns goes with contacts, with lists and without, and words for it are taken."""
    rows: list[Any] = [
        {"email": "a@example.org", "IsExcludedFromCampaigns": "true"},
        mjbulk.Contact("b@x.org", excluded=True),
    ]
    async with world.client() as client:
        assert (await client.import_contacts(rows, lists=lists)).ok
        assert [world.emulator.contacts[who].excluded for who in ("a@example.org", "b@x.org")] == [True, True]
        back: list[Any] = [{"Email": "a@example.org", "IsExcludedFromCampaigns": False}, {"email": "b@x.org"}]
        assert (await client.import_contacts(back, lists=lists)).ok
    assert [world.emulator.contacts[who].excluded for who in ("a@example.org", "b@x.org")] == [False, True]
    assert world.emulator.contacts["a@example.org"].lists == dict(lists or {})


async def test_an_error_threshold_ends_a_csvimport(world: World) -> None:
    """ErrTreshold is sent as Mailjet spells it; what it cannot be is refused here."""
    async with world.client() as client:
        data_id = await client.upload_csvdata(1, b"email\n" + b"nobody\n" * 5)
        job = await (await client.submit_csvimport(data_id, list_id=1, method="unsub", error_threshold=2)).wait()
        assert (job.status, len(job.rejections)) == ("Abort", 3)
        with pytest.raises(mjbulk.UsageError, match="0 to 32767"):
            await client.submit_csvimport(data_id, list_id=1, method="unsub", error_threshold=32768)


async def test_an_error_file_is_whole_or_not_there(world: World, tmp_path: Path) -> None:
    """A connection that breaks is no end of the file; where it cannot be had, what stood there stays."""
    path = tmp_path / "errors.csv"
    async with world.client() as client:
        data_id = await client.upload_csvdata(1, b"email\n" + b"nobody\n" * 20_000)
        job = await (await client.submit_csvimport(data_id, list_id=1, method="addnoforce"))
        world.emulator.fault("GET batchjob/csverror", Fault.truncated(300_000))
        world.emulator.fault("GET batchjob/csverror", Fault.truncated(200_000, chunked=True))
        size = await client.save_error_file(str(job.ref), path)
        lines = path.read_bytes().splitlines()
        assert (len(lines), size) == (20_001, path.stat().st_size)
        path.write_text("mine")
        world.emulator.fault("GET batchjob/csverror", Fault.answer(404))
        with pytest.raises(mjbulk.ApiError):
            await client.save_error_file(job.ref, path)
        assert path.read_text() == "mine"
        assert [found.name for found in tmp_path.iterdir()] == ["errors.csv"]


async def test_one_answer_a_connection(world: World) -> None:
    """A server that closes each connection loses nothing."""
    rows = [{"email": f"u{n}@example.org", "city": "Graz"} for n in range(50)] + [{"email": "bad@example.org"}]
    ways: tuple[Any, ...] = ("json", "csv")
    for via in ways:
        async with world.turned(requests_per_connection=1) as closing, closing.client(chunk_rows=10) as client:
            closing.emulator.create_property("city")
            closing.emulator.reject("bad@example.org", "No")
            report = await client.import_contacts([{"city": None, **row} for row in rows], lists=ADD, via=via)
        assert (report.accepted, report.rejected, len(report.jobs)) == (50, 1, 6)


async def test_a_thousand_lists_and_more(world: World) -> None:
    """Lists, properties and subscriptions are read to their last page; Count and Total say nothing of it."""
    for number in range(1200):
        world.emulator.create_list(f"list {number}")
    account = world.emulator.account(KEYS.public)
    async with world.client() as client:
        await client.import_contacts([{"email": "a@example.org"}], lists=ADD)
        someone = account.find("a@example.org")
        assert someone is not None
        for number in account.lists:
            someone.act(number, "addforce", "2020-01-01T00:00:00Z")
        assert len([one async for one in client.lists()]) == 1201
        assert len([one async for one in client.subscriptions("a@example.org")]) == 1201
        assert (await client.update_subscriptions("a@example.org", {"list 1199": "unsub"}))[0].unsubscribed


NO_KEYS = r"credentials are mjbulk\.Credentials\(public, private\)"
MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "keys as two texts": (lambda: mjbulk.Client(*KEY_AND_SECRET), NO_KEYS),
    "keys as a pair": (lambda: mjbulk.Client(KEY_AND_SECRET), NO_KEYS),
    "settings as a dict": (lambda: mjbulk.Client(KEYS, NO_SETTINGS), r"settings= is mjbulk\.Settings\(\.\.\.\)"),
    "assumptions as a dict": (
        lambda: mjbulk.Client(KEYS, assumptions=NO_SETTINGS),
        r"assumptions= is mjbulk\.Assumptions",
    ),
    "the settings of a pool": (lambda: mjbulk.SessionPool(NO_SETTINGS), r"settings= is mjbulk\.Settings"),
}
KEY_AND_SECRET: Any = ("f0" * 16, "5ec2e7")
NO_SETTINGS: Any = {}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_a_client_cannot_be_made_of(mistake: str) -> None:
    """It is refused in words that say what is wanted, and quote no key."""
    make, said = MISTAKES[mistake]
    with pytest.raises(mjbulk.UsageError, match=said) as caught:
        make()
    assert "5ec2e7" not in repr(caught.value)


async def test_a_tenant_without_keys_gets_no_client(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that the environment has are of another account: a look-up that finds nothing does not lead there."""
    monkeypatch.setenv("MJ_APIKEY_PUBLIC", "of-the-host")
    monkeypatch.setenv("MJ_APIKEY_PRIVATE", "secret")
    nobody: Any = None
    async with mjbulk.SessionPool(world.settings()) as pool:
        with pytest.raises(mjbulk.UsageError, match="keys of the environment are of no tenant"):
            pool.client(nobody)


@dataclass
class OfDataclasses:
    email: str
    age: int | None = None


@attrs.define
class OfAttrs:
    email: str


class OfTuples(NamedTuple):
    email: str


async def test_rows_that_have_a_type(world: World) -> None:
    """What is taken is also what type checkers take: mypy reads this test as a user's program."""
    world.emulator.account(KEYS.public).create_property("age", "int")
    data_classes: list[OfDataclasses] = [OfDataclasses("a@example.org", 7)]
    of_attrs: list[OfAttrs] = [OfAttrs("b@example.org")]
    tuples: list[OfTuples] = [OfTuples("c@example.org")]
    async with world.client() as client, client.ingest(lists=ADD) as ingester:
        reports = [
            await client.import_contacts(data_classes, lists=ADD),
            await client.import_contacts(of_attrs, lists=ADD),
            await client.import_contacts(tuples, lists=ADD),
        ]
        assert (await ingester.put(OfDataclasses("d@example.org"))).ok
    assert all(report.ok for report in reports)


async def test_what_is_no_job(world: World) -> None:
    """A number alone is refused, because it does not say of which kind the job is."""
    number: Any = 113
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError, match="this is no job: write contact:ID"):
            client.watch(number)
        with pytest.raises(mjbulk.UsageError, match="only a csvimport can be aborted"):
            await client.abort_csvimport(mjbulk.JobRef.parse("contact:7"))
