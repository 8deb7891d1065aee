"""The emulator plays managemanycontacts as it is recorded, and knows what became of every row.

The client that the other tests of the emulator share is here as well.
"""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import attrs
import orjson
import pytest

from mjbulk.testing import Emulator, Knobs

pytestmark = pytest.mark.smoke

QUICK = Knobs(queue_seconds=1.0, prepare_seconds=1.0, import_seconds=2.0)
WHOLE = 4.0
UPLOAD = "DATA/contactslist/1/CSVData/text:plain"


@attrs.frozen
class Reply:
    """What came back."""

    status: int
    reason: str | None
    headers: Mapping[str, str]
    text: str

    @property
    def data(self) -> Any:
        return orjson.loads(self.text)["Data"]

    @property
    def row(self) -> Any:
        return self.data[0]

    @property
    def error(self) -> Any:
        return orjson.loads(self.text)["ErrorMessage"]

    @property
    def info(self) -> Any:
        return orjson.loads(self.text)["ErrorInfo"]


@attrs.frozen
class Api:
    """A plain client and the emulator it talks to."""

    emulator: Emulator
    session: aiohttp.ClientSession

    async def __call__(self, method: str, path: str, json: Any = None, *, key: str = "key", **more: Any) -> Reply:
        headers = {"Authorization": aiohttp.encode_basic_auth(key, "secret"), **more.pop("headers", {})}
        data = more.pop("data", None if json is None else orjson.dumps(json))
        url = path if path.startswith("http") else f"{self.emulator.url}/v3/{path}"
        data = io.BytesIO(data) if isinstance(data, bytes) else data
        async with self.session.request(
            method, url, data=data, headers=headers, allow_redirects=False, **more
        ) as reply:
            return Reply(reply.status, reply.reason, reply.headers, (await reply.read()).decode())

    async def submit(self, contacts: list[Any], lists: dict[int, str] | None = None, **more: Any) -> int:
        body: dict[str, Any] = {"Contacts": contacts}
        if lists:
            body["ContactsLists"] = [{"ListID": number, "Action": action} for number, action in lists.items()]
        job: int = (await self("POST", "REST/contact/managemanycontacts", body, **more)).row["JobID"]
        return job

    async def run(self, contacts: list[Any], lists: dict[int, str] | None = None) -> Any:
        job = await self.submit(contacts, lists)
        await asyncio.sleep(WHOLE)
        return (await self.job(job)) | {"JobID": job}

    async def job(self, job: int) -> Any:
        return (await self("GET", f"REST/contact/managemanycontacts/{job}")).row

    async def upload(self, text: str) -> int:
        data_id: int = orjson.loads((await self("POST", UPLOAD, data=text.encode())).text)["ID"]
        return data_id

    async def start_csv(self, text: str, **more: Any) -> int:
        body = {"ContactsListID": 1, "DataID": await self.upload(text), "Method": "addnoforce"} | more
        reply = await self("POST", "REST/csvimport", {k: v for k, v in body.items() if v is not None})
        job: int = reply.row["ID"]
        return job

    async def run_csv(self, text: str, **more: Any) -> Any:
        job = await self.start_csv(text, **more)
        await asyncio.sleep(WHOLE)
        return (await self("GET", f"REST/csvimport/{job}")).row

    async def json_errors(self, job: int) -> Reply:
        return await self("GET", f"DATA/batchjob/{job}/JSONError/application:json/LAST")

    async def csv_errors(self, job: int) -> Reply:
        return await self("GET", f"DATA/BatchJob/{job}/CSVError/text:csv")


@asynccontextmanager
async def served(knobs: Knobs = QUICK) -> AsyncIterator[Api]:
    """An emulator in this loop, with a plain client."""
    async with Emulator(knobs) as emulator, aiohttp.ClientSession() as session:
        yield Api(emulator, session)


async def test_post_answers_201_with_the_recorded_envelope() -> None:
    """A call answers 201 and a JobID, in the spacing of the real server."""
    async with served() as api:
        reply = await api("POST", "REST/contact/managemanycontacts", {"Contacts": [{"Email": "a@example.org"}]})
        assert (reply.status, reply.reason, reply.headers["Content-Type"]) == (201, "Created", "application/json")
        assert reply.text == '{ "Count" : 1, "Data" : [{ "JobID" : 1070309283 }], "Total" : 1 }'


async def test_the_guides_first_call_works_as_written() -> None:
    """The guide's call, with lower-case "action" and two lists, updates people, lists and properties."""
    async with served() as api:
        api.emulator.create_list("Second")
        api.emulator.create_property("Property1")
        body = {
            "ContactsLists": [{"ListID": 1, "action": "addnoforce"}, {"ListID": "2", "action": "addforce"}],
            "Contacts": [{"Email": "jimsmith@example.com", "Name": "Jim", "Properties": {"Property1": "value"}}],
        }
        job = (await api("POST", "REST/contact/managemanycontacts", body)).row["JobID"]
        await asyncio.sleep(WHOLE)
        assert (await api.job(job))["Status"] == "Completed"
        jim = api.emulator.contacts["jimsmith@example.com"]
        assert (jim.name, jim.lists, jim.properties) == (
            "Jim",
            {1: "addnoforce", 2: "addforce"},
            {"Property1": "value"},
        )


async def test_a_job_walks_through_its_stages_and_has_its_effect_at_the_end() -> None:
    """Allocated, Prepare, Importing with a growing Count, Completed; nothing is applied before the end."""
    async with served() as api:
        job = await api.submit([{"Email": f"{n}@example.org"} for n in range(10)])
        seen = []
        for seconds in (0.5, 1.0, 1.5):
            await asyncio.sleep(seconds)
            row = await api.job(job)
            seen.append((row["Status"], row["Count"], len(api.emulator.contacts)))
        assert [status for status, _, _ in seen] == ["Allocated", "Prepare", "Importing"]
        assert 0 < seen[2][1] < 10
        assert {people for _, _, people in seen} == {0}
        await asyncio.sleep(1.5)
        row = await api.job(job)
        assert (row["Status"], row["Count"], row["ErrorFile"]) == ("Completed", 10, "")
        assert len(api.emulator.contacts) == 10


async def test_the_job_does_not_repeat_its_id_and_echoes_its_lists() -> None:
    """A job's answer has the documented fields, ContactsLists among them, and no JobID."""
    async with served() as api:
        job = await api.submit([{"Email": "a@example.org"}], {1: "addforce"})
        row = await api.job(job)
        assert list(row) == ["ContactsLists", "Count", "Error", "ErrorFile", "JobEnd", "JobStart", "Status"]
        assert row["ContactsLists"] == [{"ListID": 1, "Action": "addforce"}]


async def test_201_says_nothing_about_the_rows() -> None:
    """Rows without an address, with a bad one, or no object at all, are rejected by the job."""
    async with served() as api:
        row = await api.run([{"ContactID": 123}, {"Email": "nonsense"}, {"Email": "a@example.org"}, 7])
        job = api.emulator.jobs[row["JobID"]]
        assert row["Status"] == "Completed"
        assert job.outcomes == ["rejected", "rejected", "applied", "rejected"]
        assert list(api.emulator.contacts) == ["a@example.org"]
        errors = orjson.loads((await api.json_errors(row["JobID"])).text)
        assert [error["Email"] for error in errors] == ["", "nonsense", 7]


async def test_row_keys_have_no_case() -> None:
    """Keys of contacts are matched in any case."""
    async with served() as api:
        await api.run([{"email": "a@example.org", "NAME": "A", "isexcludedfromcampaigns": "true"}])
        person = api.emulator.contacts["a@example.org"]
        assert (person.name, person.excluded) == ("A", True)


@pytest.mark.parametrize(("given", "excluded"), [(True, True), ("true", True), ("False", False), (None, False)])
async def test_exclusion_takes_booleans_and_their_words(given: Any, *, excluded: bool) -> None:
    """IsExcludedFromCampaigns may be a boolean or its word."""
    async with served() as api:
        await api.run([{"Email": "a@example.org", "IsExcludedFromCampaigns": given}])
        assert api.emulator.contacts["a@example.org"].excluded is excluded


async def test_addnoforce_keeps_an_unsubscription_and_addforce_ends_it() -> None:
    """addnoforce leaves somebody who left alone; addforce subscribes them again."""
    async with served() as api:
        await api.run([{"Email": "a@example.org"}], {1: "addnoforce"})
        api.emulator.unsubscribe("A@example.org", 1)
        await api.run([{"Email": "a@example.org"}], {1: "addnoforce"})
        assert api.emulator.contacts["a@example.org"].lists == {1: "unsub"}
        assert not api.emulator.contacts["a@example.org"].subscribed(1)
        await api.run([{"Email": "a@example.org"}], {1: "addforce"})
        assert api.emulator.contacts["a@example.org"].lists == {1: "addforce"}
        assert api.emulator.contacts["a@example.org"].subscribed(1)


async def test_unsub_and_remove() -> None:
    """unsub keeps the person on the list, unsubscribed; remove takes them off it."""
    async with served() as api:
        await api.run([{"Email": "a@example.org"}], {1: "unsub"})
        assert api.emulator.contacts["a@example.org"].lists == {1: "unsub"}
        await api.run([{"Email": "a@example.org"}], {1: "remove"})
        assert api.emulator.contacts["a@example.org"].lists == {}


async def test_null_unassigns_and_what_is_not_said_stays() -> None:
    """A property that is null is unassigned; one that is missing is left alone."""
    async with served() as api:
        api.emulator.create_property("age", "int")
        api.emulator.create_property("town")
        await api.run([{"Email": "a@example.org", "Name": "A", "Properties": {"age": "42", "town": "Ulm"}}])
        assert api.emulator.contacts["a@example.org"].properties == {"age": 42, "town": "Ulm"}
        await api.run([{"Email": "a@example.org", "Properties": {"age": None}}])
        person = api.emulator.contacts["a@example.org"]
        assert (person.name, person.properties) == ("A", {"town": "Ulm"})


@pytest.mark.parametrize(
    ("datatype", "good", "kept", "bad"),
    [
        ("int", -3, -3, "x"),
        ("int", "7", 7, 1.5),
        ("float", "1.5e3", 1500.0, "1,5"),
        ("float", 2, 2.0, True),
        ("bool", "TRUE", True, "yes"),
        ("datetime", 0, "1970-01-01T00:00:00Z", "yesterday"),
        ("datetime", "2020-01-01T02:00:00+02:00", "2020-01-01T00:00:00Z", 10**18),
        ("str", 5, "5", {"a": 1}),
    ],
)
async def test_a_value_of_another_type_rejects_its_row(datatype: str, good: Any, kept: Any, bad: Any) -> None:
    """A row whose property does not fit its type is rejected with the documented text; others pass."""
    async with served() as api:
        api.emulator.create_property("p", datatype)
        rows = [{"Email": f"{n}@example.org", "Properties": {"p": value}} for n, value in enumerate((good, bad))]
        job = api.emulator.jobs[(await api.run(rows))["JobID"]]
        assert api.emulator.contacts["0@example.org"].properties == {"p": kept}
        assert (job.errors[1].message, job.errors[1].field) == ("Property type does not match definition", "p")


async def test_a_list_of_properties_fails_the_whole_job() -> None:
    """Properties as a list of names and values is taken with 201, then the job ends in "property not defined"."""
    async with served() as api:
        api.emulator.create_property("age")
        wrong = {"Email": "b@example.org", "Properties": [{"Name": "age", "Value": 1}]}
        row = await api.run([{"Email": "a@example.org"}, wrong])
        assert (row["Status"], row["Error"], row["Count"]) == ("Error", "property not defined", 0)
        assert len(api.emulator.contacts) == 0
        assert (await api.json_errors(row["JobID"])).status == 404


async def test_properties_as_text_are_ignored() -> None:
    """Properties as a JSON string vanish without a word."""
    async with served() as api:
        api.emulator.create_property("age")
        row = await api.run([{"Email": "a@example.org", "Properties": '{"age": 1}'}])
        assert (row["Status"], dict(api.emulator.contacts["a@example.org"].properties)) == ("Completed", {})


async def test_the_job_that_ends_last_wins() -> None:
    """Of two unfinished jobs with one person the effects are applied in the order of their ends."""
    slow_first = iter([3.0, 1.0])
    async with served(
        Knobs(queue_seconds=0.0, prepare_seconds=0.0, import_seconds=lambda _job: next(slow_first))
    ) as api:
        await api.submit([{"Email": "a@example.org", "Name": "first"}])
        await api.submit([{"Email": "a@example.org", "Name": "second"}])
        await asyncio.sleep(2.0)
        assert api.emulator.contacts["a@example.org"].name == "second"
        await asyncio.sleep(2.0)
        assert api.emulator.contacts["a@example.org"].name == "first"


async def test_of_two_rows_of_one_person_the_later_wins() -> None:
    """In one call the later row is applied, in any case of the address."""
    async with served() as api:
        rows = [{"Email": "a@example.org", "Name": "1"}, {"Email": "A@Example.org", "Name": "2"}]
        row = await api.run(rows)
        assert api.emulator.contacts["a@example.org"].name == "2"
        assert api.emulator.jobs[row["JobID"]].outcomes == ["superseded", "applied"]
        assert row["Count"] == 2


async def test_managemanycontacts_of_a_list() -> None:
    """The call under a list, by ID or address, has its Action; its job is found under that list alone."""
    async with served() as api:
        address = (await api("GET", "REST/contactslist/1")).row["Address"]
        api.emulator.create_list("Second")
        body = {"Action": "addforce", "Contacts": [{"Email": "a@example.org"}]}
        job = (await api("POST", f"REST/contactslist/{address}/ManageManyContacts", body)).row["JobID"]
        await asyncio.sleep(WHOLE)
        assert (await api("GET", f"REST/contactslist/1/managemanycontacts/{job}")).row["Status"] == "Completed"
        assert api.emulator.contacts["a@example.org"].lists == {1: "addforce"}
        for path in (
            f"contactslist/2/managemanycontacts/{job}",
            "contactslist/1/managemanycontacts",
            f"contact/managemanycontacts/{job}",
        ):
            assert (await api("GET", f"REST/{path}")).status == 404, path


async def test_the_path_of_the_old_reference_page_is_wrong() -> None:
    """GET contact/{JobID}/managemanycontacts, which a page once showed, answers 404."""
    async with served() as api:
        job = await api.submit([{"Email": "a@example.org"}])
        assert (await api("GET", f"REST/contact/{job}/managemanycontacts")).status == 404
        assert (await api("GET", f"REST/contact/managemanycontacts/{job}")).status == 200


@pytest.mark.parametrize(
    ("body", "info"),
    [
        ({}, {"Contacts": "MJ08 Property Contacts is invalid: MJ03 A non-empty value is required"}),
        (
            {"Contacts": [{}], "ContactsLists": [{"ListID": 123456789, "Action": "addnoforce"}]},
            {
                "ContactsLists": [
                    {
                        "ListID": 123456789,
                        "Action": "addnoforce",
                        "Error": "List ID 123456789 is invalid or deleted",
                    }
                ]
            },
        ),
        (
            {"Contacts": [{}], "ContactsLists": [{"ListID": 1, "Action": "add"}]},
            {"ContactsLists": [{"ListID": 1, "Action": "add", "Error": "Invalid action: add"}]},
        ),
        (
            {"Contacts": [{}], "ContactsLists": "1"},
            {"ContactsLists": "MJ08 Property ContactsLists is invalid"},
        ),
    ],
)
async def test_a_wrong_call_is_a_400(body: Any, info: Any) -> None:
    """What is wrong with a call as a whole is told at once, with the reason phrase of its message."""
    async with served() as api:
        reply = await api("POST", "REST/contact/managemanycontacts", body)
        assert (reply.status, reply.reason, reply.info) == (400, "Object properties invalid", info)
        assert not api.emulator.jobs


async def test_wrong_action_under_a_list() -> None:
    """A wrong Action under a list is told in ErrorInfo, an unknown list is not found."""
    async with served() as api:
        body = {"Contacts": [{"Email": "a@example.org"}]}
        reply = await api("POST", "REST/contactslist/1/managemanycontacts", body)
        assert (reply.status, reply.info) == (400, {"Action": "Invalid action: "})
        assert (await api("POST", "REST/contactslist/99/managemanycontacts", body)).error == "Object not found"


@pytest.mark.parametrize("body", [b'{"Contacts": 7|8}', b"", b"[]", b"\x1f\x8b\x08\x00", b'{"Contacts": [NaN]}'])
async def test_what_is_no_json_object_is_a_400(body: bytes) -> None:
    """Malformed, empty, compressed or other bodies are "Invalid json input"; the phrase has no line break."""
    async with served() as api:
        reply = await api("POST", "REST/contact/managemanycontacts", data=body, headers={"Content-Encoding": "gzip"})
        assert reply.status == 400
        assert reply.error.startswith("Invalid json input: ")
        assert reply.reason == " ".join(reply.error.split())


async def test_twenty_thousand_rows_either_way() -> None:
    """Large calls and files are taken whole, fast and with the truth about every row."""
    async with served() as api:
        rows = [{"Email": f"user{n}@example.org" if n % 100 else "bad", "Name": f"User {n}"} for n in range(20_000)]
        began = time.perf_counter()
        row = await api.run(rows, {1: "addnoforce"})
        job = api.emulator.jobs[row["JobID"]]
        assert (row["Count"], job.applied, len(job.errors)) == (20_000, 19_800, 200)
        text = "email,name\n" + "".join(f'"{row["Email"]}","{row["Name"]}"\n' for row in rows)
        row = await api.run_csv(text)
        assert (row["Count"], row["Errcount"]) == (20_000, 200)
        assert len(api.emulator.contacts) == 19_800
        assert time.perf_counter() - began < 10.0
