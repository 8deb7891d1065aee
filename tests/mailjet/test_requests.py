"""Requests as Mailjet takes them."""

import json
from typing import Any

import attrs
import pytest

from mjbulk.mailjet import requests as wire
from mjbulk.mailjet.requests import Request
from mjbulk.models import ImportOptions, JobRef
from mjbulk.terms import Action

ADDRESS = "somebody@example.org"


# Requests

REQUESTS: list[tuple[Request, str, str, str]] = [
    (wire.contacts_request(b"{}"), "POST", "/v3/REST/contact/managemanycontacts", "POST contact/managemanycontacts"),
    (
        wire.list_contacts_request(42, b"{}"),
        "POST",
        "/v3/REST/contactslist/42/managemanycontacts",
        "POST contactslist/managemanycontacts",
    ),
    (
        wire.job_request(JobRef("contact", 113)),
        "GET",
        "/v3/REST/contact/managemanycontacts/113",
        "GET contact/managemanycontacts",
    ),
    (
        wire.job_request(JobRef("contactslist", 113, 42)),
        "GET",
        "/v3/REST/contactslist/42/managemanycontacts/113",
        "GET contactslist/managemanycontacts",
    ),
    (wire.job_request(JobRef("csvimport", 7)), "GET", "/v3/REST/csvimport/7", "GET csvimport"),
    (
        wire.error_file_request(JobRef("contact", 113)),
        "GET",
        "/v3/DATA/batchjob/113/JSONError/application:json/LAST",
        "GET JSONError",
    ),
    (
        wire.error_file_request(JobRef("contactslist", 113, 42)),
        "GET",
        "/v3/DATA/batchjob/113/JSONError/application:json/LAST",
        "GET JSONError",
    ),
    (
        wire.error_file_request(JobRef("csvimport", 7)),
        "GET",
        "/v3/DATA/BatchJob/7/CSVError/text:csv",
        "GET CSVError",
    ),
    (
        wire.upload_request(42, b"email\n"),
        "POST",
        "/v3/DATA/contactslist/42/CSVData/text:plain",
        "POST contactslist/CSVData",
    ),
    (wire.csvimport_request(1, method="addforce"), "POST", "/v3/REST/csvimport", "POST csvimport"),
    (wire.abort_request(7), "PUT", "/v3/REST/csvimport/7", "PUT csvimport"),
    (wire.batchjob_request(7), "GET", "/v3/REST/batchjob/7", "GET batchjob"),
    (
        wire.page_request("contactslist", 1000),
        "GET",
        "/v3/REST/contactslist?Limit=1000&Offset=1000",
        "GET contactslist",
    ),
    (
        wire.page_request("contactslist", 0, Name="a&b=c d/é", Address="x"),
        "GET",
        "/v3/REST/contactslist?Limit=1000&Offset=0&Name=a%26b%3Dc%20d%2F%C3%A9&Address=x",
        "GET contactslist",
    ),
    (wire.contact_request(ADDRESS), "GET", "/v3/REST/contact/somebody%40example.org", "GET contact"),
    (
        wire.contact_request("a/../b?c#d@example.org"),
        "GET",
        "/v3/REST/contact/a%2F..%2Fb%3Fc%23d%40example.org",
        "GET contact",
    ),
    (wire.exclude_request(12, excluded=True), "PUT", "/v3/REST/contact/12", "PUT contact"),
    (
        wire.subscriptions_request(12, 1000),
        "GET",
        "/v3/REST/contact/12/getcontactslists?Limit=1000&Offset=1000",
        "GET contact/getcontactslists",
    ),
    (
        wire.subscribe_request(ADDRESS, [(1, Action.UNSUB)]),
        "POST",
        "/v3/REST/contact/somebody%40example.org/managecontactslists",
        "POST contact/managecontactslists",
    ),
    (wire.create_list_request("news"), "POST", "/v3/REST/contactslist", "POST contactslist"),
    (
        wire.create_property_request("age", "int", "static"),
        "POST",
        "/v3/REST/contactmetadata",
        "POST contactmetadata",
    ),
    (wire.contact_data_request(ADDRESS), "GET", "/v3/REST/contactdata/somebody%40example.org", "GET contactdata"),
    (wire.delete_list_request(42), "DELETE", "/v3/REST/contactslist/42", "DELETE contactslist"),
    (wire.delete_property_request(7), "DELETE", "/v3/REST/contactmetadata/7", "DELETE contactmetadata"),
]


@pytest.mark.parametrize(
    ("request_", "method", "path", "call"), REQUESTS, ids=[f"{r.call} {r.path}" for r, *_ in REQUESTS]
)
def test_where_a_request_goes(request_: Request, method: str, path: str, call: str) -> None:
    """Each call has its method, its address, and a name without ids and addresses."""
    assert (request_.method, request_.path, request_.call) == (method, path, call)
    assert (request_.body is None) == (method in ("GET", "DELETE"))
    assert request_.content_type == (wire.TEXT if call == "POST contactslist/CSVData" else wire.JSON)
    assert not any(character.isdigit() or character in "@?" for character in call)


@pytest.mark.parametrize(
    "request_", [request for request, *_ in REQUESTS], ids=[f"{r.call} {r.path}" for r, *_ in REQUESTS]
)
def test_a_repr_of_a_request_shows_its_size_only(request_: Request) -> None:
    """Neither a body nor an address in a path is in the repr of a request."""
    shown = repr(attrs.evolve(request_, body=ADDRESS.encode()))
    assert "somebody" not in shown
    assert f"body=<{len(ADDRESS)} bytes>" in shown
    assert "body=<0 bytes>" in repr(attrs.evolve(request_, body=None))


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (wire.csvimport_request(5, method="excludemarketing"), {"DataID": 5, "Method": "excludemarketing"}),
        (
            wire.csvimport_request(2**63 - 1, method="addforce", list_id=42, error_threshold=0),
            {"DataID": 2**63 - 1, "Method": "addforce", "ContactsListID": 42, "ErrTreshold": 0},
        ),
        (
            wire.csvimport_request(
                5,
                method="remove",
                options=ImportOptions(datetime_format="dd/mm/yyyy", timezone_offset=-2, field_names=("email", "né")),
            ),
            {
                "DataID": 5,
                "Method": "remove",
                "ImportOptions": '{"DateTimeFormat":"dd/mm/yyyy","TimezoneOffset":-2,"FieldNames":["email","né"]}',
            },
        ),
        (wire.abort_request(7), {"Status": "Abort"}),
        (wire.exclude_request(7, excluded=False), {"IsExcludedFromCampaigns": False}),
        (
            wire.subscribe_request(7, [(1, Action.UNSUB), (2, Action.ADDFORCE)]),
            {"ContactsLists": [{"ListID": 1, "Action": "unsub"}, {"ListID": 2, "Action": "addforce"}]},
        ),
        (wire.create_list_request("né"), {"Name": "né"}),
        (
            wire.create_property_request("age", "int", "static"),
            {"Name": "age", "Datatype": "int", "NameSpace": "static"},
        ),
    ],
    ids=lambda value: value.call if isinstance(value, Request) else "",
)
def test_what_a_body_says(request_: Request, body: Any) -> None:
    """Bodies have Mailjet's own names, ErrTreshold as it is spelled there, and options as JSON within a string."""
    assert json.loads((request_.body or b"")[:]) == body
