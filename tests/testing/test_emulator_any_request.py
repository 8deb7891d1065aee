"""No request whatever crashes the emulator: all routes, methods, types of JSON and queries.

``MJBULK_EXAMPLES=20000 python -m pytest tests/testing/test_emulator_any_request.py`` tries more.
"""

import asyncio
import base64
import json
import os
import re
from typing import Any
from urllib.parse import quote

import attrs
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_emulator import QUICK, WHOLE, served
from yarl import URL

from mjbulk.testing import Knobs
from mjbulk.testing._answers import EmulatedAnswer
from mjbulk.testing._dispatch import Dispatcher, calls
from mjbulk.testing._routes import parse_query, parse_route
from mjbulk.testing._world import World

EXAMPLES = int(os.environ.get("MJBULK_EXAMPLES", "100"))
AT_ONCE = Knobs(queue_seconds=0.0, prepare_seconds=0.0, import_seconds=0.0)
KEY = "Basic " + base64.b64encode(b"key:secret").decode()
FIRST_JOB, FIRST_DATA = Knobs().first_job_id, Knobs().first_data_id

METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
PATHS = [
    *sorted({call.partition(" ")[2].removeprefix("v4/") for call in calls()}),
    "sender",
    "contact/export",
    "nothing",
]
THINGS = st.sampled_from(
    ["1", "2", "0", "-1", "a@example.org", "254509966", "225690164", "67391", "static|age", "age", "managemanycontacts"]
    + [str(FIRST_JOB + n) for n in range(3)]
    + [str(FIRST_DATA), "LAST", "text:plain", "application:json", "9" * 19, "9" * 40, "\r\nX: y", "%", "é\0"]
)
ACTIONS = ["addforce", "addnoforce", "remove", "unsub", "excludemarketing", "includemarketing"]
TEXTS = [
    *(
        "1",
        "true",
        "false",
        "a@example.org",
        "b@example.org",
        "age",
        "born",
        "str",
        "int",
        "datetime",
        "Abort",
        "Upload",
    ),
    *("2030-01-01", "2018-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "-9999999999999999999", "1e999", "Upload"),
    *('{"TimezoneOffset": "x"}', '{"FieldNames": [[1], null]}', '{"DateTimeFormat": "%q"}', "Contact list import csv"),
    *("email,age\na@example.org,1\n", str(FIRST_DATA), "ID", "ID DESC", "Email desc", "Nothing", "\ud800"),
]
WORDS = st.sampled_from([*ACTIONS, *TEXTS])
KEYS = [
    *("Action", "Active", "Address", "APIKey", "Campaign", "Contact", "ContactEmail", "Contacts", "ContactsList"),
    *("ContactsListALT", "ContactsListID", "ContactsLists", "countOnly", "countrecords", "CreatedAt", "Data", "DataID"),
    *("Datatype", "Email", "ErrTreshold", "ExcludeID", "ID", "ImportOptions", "IsDeleted", "IsExcludedFromCampaigns"),
    *("IsUnsubscribed", "JobType", "LastActivityAt", "Limit", "ListID", "ListName", "MaxJobEnd", "MaxRequestAt", "age"),
    *("Method", "MinJobStart", "Name", "NameSpace", "Offset", "Properties", "RefID", "RefId", "Sort", "Status", "born"),
    *("Unsub", "User", "Value", "action", "email", "name", "value"),
]
NAMES = st.sampled_from(KEYS)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5)


def objects(values: Any) -> Any:
    return st.lists(st.tuples(NAMES, values), max_size=2).map(dict)


FLAT = SCALARS | st.lists(SCALARS, max_size=2) | objects(SCALARS)
JSON = FLAT | st.lists(FLAT, max_size=2) | objects(FLAT)
LISTS = st.lists(
    st.fixed_dictionaries({"ListID": st.just(1) | JSON, "Action": st.sampled_from(ACTIONS) | JSON}), max_size=2
)
PEOPLE = st.lists(
    st.fixed_dictionaries({"Email": WORDS | JSON}, optional={"Properties": objects(JSON)}) | JSON, max_size=2
)
BODIES = st.one_of(
    objects(JSON),
    st.fixed_dictionaries({"Contacts": PEOPLE}, optional={"ContactsLists": LISTS, "Action": st.sampled_from(ACTIONS)}),
    st.fixed_dictionaries(
        {"Email": WORDS | JSON}, optional={"Name": JSON, "Action": WORDS, "Properties": objects(JSON)}
    ),
    st.fixed_dictionaries({"Data": st.lists(st.fixed_dictionaries({"Name": WORDS, "Value": JSON}) | JSON, max_size=3)}),
    st.fixed_dictionaries(
        {"Method": st.sampled_from(ACTIONS), "DataID": st.just(FIRST_DATA) | JSON},
        optional={
            "ContactsListID": st.just(1) | JSON,
            "ImportOptions": WORDS | JSON,
            "ErrTreshold": JSON,
            "Status": WORDS,
        },
    ),
    JSON,
)


def written(value: Any) -> bytes:
    """Write any value as JSON, infinities and broken texts too, which orjson would refuse."""
    return json.dumps(value).encode("utf-8", "replace")


@st.composite
def requests(draw: Any) -> tuple[str, str, bytes]:
    """Draw a method, a target with a query, and a body."""
    api = draw(st.sampled_from(["v3/REST", "v3/REST", "v3/DATA", "V3/rest", "v4"]))
    name, _, action = draw(st.sampled_from(PATHS)).partition("/")
    parts = [api, name, *draw(st.lists(THINGS, max_size=1)), *([action] if action else [])]
    parts += draw(st.lists(THINGS, max_size=2))
    query = draw(st.lists(st.tuples(NAMES, WORDS | st.text(max_size=4)), max_size=2))
    path = "/".join(quote(part, errors="replace", safe=":|@") for part in parts)
    asked = "&".join(f"{quote(k, errors='replace')}={quote(v, errors='replace')}" for k, v in query)
    body = draw(BODIES.map(written) | WORDS.map(lambda word: word.encode("utf-8", "replace")) | st.binary(max_size=20))
    return draw(METHODS), f"/{path}?{asked}" if asked else f"/{path}", body


HEADER = re.compile(r"[\x20-\x7e]*")


class Server:
    """The emulator without its sockets, with two properties; each request takes a second."""

    def __init__(self) -> None:
        self.world = World(AT_ONCE)
        self.dispatcher = Dispatcher(self.world)
        self.world.first_account().create_property("age", "int")
        self.world.first_account().create_property("born", "datetime")

    def __call__(self, method: str, target: str, body: bytes = b"") -> EmulatedAnswer:
        answer = self.dispatcher.answer(method, parse_route(target), KEY, parse_query(target), body)
        now = self.world.elapsed() + 1.0
        self.world.elapsed = lambda: now
        headers = [answer.reason or "", answer.content_type, *answer.headers.values()]
        assert all(HEADER.fullmatch(header) for header in headers), headers
        return answer


PREPARED: list[tuple[str, str, bytes]] = [
    ("POST", "/v3/REST/contact", b'{"Email": "a@example.org"}'),
    ("POST", "/v3/DATA/contactslist/1/CSVData/text:plain", b"email,age,born\na@example.org,x,1\nb@example.org\n"),
    ("POST", "/v3/REST/contactslist/1/managecontact", b'{"Email": "a@example.org", "Action": "addforce"}'),
]


@given(sent=st.lists(requests(), min_size=1, max_size=4))
@settings(max_examples=EXAMPLES, deadline=None, derandomize="MJBULK_EXAMPLES" not in os.environ)
def test_no_request_crashes_it(sent: list[tuple[str, str, bytes]]) -> None:
    """Whatever is sent, the answer is one of the API's own, and the jobs that came of it end."""
    server = Server()
    for method, target, body in [*PREPARED, *sent]:
        answer = server(method, target, body)
        assert answer.status < 500 or b"EFPWebError" in answer.body
        if answer.body[:1] == b"{":
            orjson.loads(answer.body)
    for resource in ("contact", "contactdata", "listrecipient", "batchjob", "csvimport", "contactslist", "apikey"):
        assert server("GET", f"/v3/REST/{resource}?Limit=0").status == 200
    assert all(job.ended for job in server.world.jobs.values())


NEST = b"[" * 1000 + b"]" * 1000


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("PUT", "REST/contactdata/a@example.org", b'{"Data": ["x", null, [[1]]]}'),
        ("POST", "REST/contact/managemanycontacts", b'{"Contacts": [1], "ContactsLists": [{"ListID": ' + NEST + b"}]}"),
        ("GET", "REST/contact/%0d%0aX-Header:%20y/%FF", b""),
        ("GET", "DATA/contactslist/1/CSVData/text:plain%0d%0aX:y", b""),
        ("GET", "DATA/BatchJob/1/CSVError/%e2%82%ac:%00", b""),
    ],
)
async def test_odd_requests(method: str, target: str, body: bytes) -> None:
    """Entries of no kind, deep nesting and line ends in paths are refused, over HTTP too."""
    async with served() as api:
        await api("POST", "REST/contact", {"Email": "a@example.org"})
        url = URL(f"{api.emulator.url}/v3/{target}", encoded=True)
        async with api.session.request(method, url, data=body, headers={"Authorization": KEY}) as reply:
            assert 400 <= reply.status < 500


@pytest.mark.parametrize("shape", ["list", "object", "data", "lines", "text", "copy"])
async def test_deep_nesting_in_a_job(shape: Any) -> None:
    """A contact may be nested deeper than Python can write: its row is rejected, its error file cut off."""
    async with served(attrs.evolve(QUICK, json_error_shape=shape)) as api:
        body = b'{"Contacts": [{"Email": ' + NEST + b"}, " + NEST + b"]}"
        job = (await api("POST", "REST/contact/managemanycontacts", data=body)).row["JobID"]
        await asyncio.sleep(WHOLE)
        assert api.emulator.jobs[job].outcomes == ["rejected", "rejected"]
        assert "..." in (await api.json_errors(job)).text
