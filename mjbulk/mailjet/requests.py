"""Requests to Mailjet: their addresses and bodies, as in FACTS.md."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol
from urllib.parse import quote

import orjson
from attrs import field, frozen

from mjbulk.models import ImportOptions, JobRef
from mjbulk.terms import Action

JSON = "application/json"
TEXT = "text/plain"
PAGE = 1000
"""Rows of a page: the largest Limit that Mailjet documents (FACTS 9.8)."""

Kind = Literal["submit", "poll", "download", "account"]
"""What a request is for: the quota grants by it."""


class Content(Protocol):
    """The bytes of a body, in memory or elsewhere."""

    def __len__(self) -> int:
        """Give the number of bytes."""

    def __getitem__(self, part: slice, /) -> bytes:
        """Give a part of the bytes."""


@frozen(kw_only=True)
class Request:
    """One request: everything that the transport needs."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str = field(repr=False)
    """Everything behind the origin, percent-encoded. It may contain an e-mail address."""
    call: str
    """The call without IDs and addresses, for errors, events and logs."""
    body: Content | None = field(default=None, repr=lambda body: f"<{len(body or b'')} bytes>")
    content_type: str = JSON
    kind: Kind = "account"
    may_be_missing: bool = False
    """Whether a 404 is as good an answer as any."""


_JOBS = {
    "contact": "contact/managemanycontacts",
    "contactslist": "contactslist/managemanycontacts",
    "csvimport": "csvimport",
}


def contacts_request(body: Content) -> Request:
    """POST contact/managemanycontacts: contacts for any number of lists, or none (FACTS 1.1)."""
    path = "/v3/REST/contact/managemanycontacts"
    return Request(method="POST", path=path, call=_post("contact"), body=body, kind="submit")


def list_contacts_request(list_id: int, body: bytes) -> Request:
    """POST contactslist/{ID}/managemanycontacts: contacts for one list (FACTS 1.1)."""
    path = f"/v3/REST/contactslist/{list_id:d}/managemanycontacts"
    return Request(method="POST", path=path, call=_post("contactslist"), body=body, kind="submit")


def _post(kind: str) -> str:
    return f"POST {_JOBS[kind]}"


def job_request(ref: JobRef) -> Request:
    """GET the state of a job. The path of a ``contactslist`` job has both IDs (FACTS 2.1)."""
    path = {
        "contact": f"/v3/REST/contact/managemanycontacts/{ref.id:d}",
        "contactslist": f"/v3/REST/contactslist/{ref.list_id or 0:d}/managemanycontacts/{ref.id:d}",
        "csvimport": f"/v3/REST/csvimport/{ref.id:d}",
    }[ref.kind]
    return Request(method="GET", path=path, call=f"GET {_JOBS[ref.kind]}", kind="poll")


def error_file_request(ref: JobRef, *, may_be_missing: bool = False) -> Request:
    """GET the error file of a job by its ID (FACTS 3.1, 6.1). A URL in a reply is never followed (FACTS 2.6)."""
    if ref.kind == "csvimport":
        path, call = f"/v3/DATA/BatchJob/{ref.id:d}/CSVError/text:csv", "GET CSVError"
    else:
        path, call = f"/v3/DATA/batchjob/{ref.id:d}/JSONError/application:json/LAST", "GET JSONError"
    return Request(method="GET", path=path, call=call, kind="download", may_be_missing=may_be_missing)


def upload_request(list_id: int, body: Content) -> Request:
    """POST DATA contactslist/{ID}/CSVData: upload CSV text, which an import then names by its DataID (FACTS 4.1)."""
    path = f"/v3/DATA/contactslist/{list_id:d}/CSVData/text:plain"
    call = "POST contactslist/CSVData"
    return Request(method="POST", path=path, call=call, body=body, content_type=TEXT, kind="submit")


def csvimport_request(
    data_id: int,
    *,
    method: str,
    list_id: int | None = None,
    options: ImportOptions | None = None,
    error_threshold: int | None = None,
) -> Request:
    """POST csvimport (FACTS 5.1).

    The methods for the exclusion list take no list (FACTS 5.2); options are JSON inside a string (FACTS 5.3).
    """
    body: dict[str, Any] = {"DataID": data_id, "Method": method}
    if list_id is not None:
        body["ContactsListID"] = list_id
    if error_threshold is not None:
        body["ErrTreshold"] = error_threshold
    if options is not None:
        fields = {
            "DateTimeFormat": options.datetime_format,
            "TimezoneOffset": options.timezone_offset,
            "FieldNames": list(options.field_names),
        }
        body["ImportOptions"] = orjson.dumps(fields).decode()
    data = orjson.dumps(body)
    return Request(method="POST", path="/v3/REST/csvimport", call="POST csvimport", body=data, kind="submit")


def page_request(resource: str, offset: int, **filters: str) -> Request:
    """GET one page of a resource (FACTS 9.8)."""
    more = "".join(f"&{name}={quote(value, safe='')}" for name, value in filters.items())
    path = f"/v3/REST/{resource}?Limit={PAGE}&Offset={offset:d}{more}"
    return Request(method="GET", path=path, call=f"GET {resource}")


def sign_of_life_request() -> Request:
    """GET one list: the smallest question to which every key has an answer (FACTS 8.1)."""
    return Request(method="GET", path="/v3/REST/contactslist?Limit=1", call="GET contactslist", kind="poll")


def contact_path(contact: str | int) -> str:
    """Give the path of one contact, by its ID or its address (FACTS 8.4)."""
    return f"contact/{contact:d}" if isinstance(contact, int) else f"contact/{quote(contact, safe='')}"


def contact_request(contact: str | int) -> Request:
    """GET one contact."""
    return Request(method="GET", path=f"/v3/REST/{contact_path(contact)}", call="GET contact")


def exclude_request(contact: str | int, *, excluded: bool) -> Request:
    """PUT contact: put it on the exclusion list or take it off. A 304 means that nothing had to change (FACTS 8.5)."""
    body = orjson.dumps({"IsExcludedFromCampaigns": excluded})
    return Request(method="PUT", path=f"/v3/REST/{contact_path(contact)}", call="PUT contact", body=body)


def subscriptions_request(contact: str | int, offset: int) -> Request:
    """GET one page of contact/{ID}/getcontactslists (FACTS 8.6)."""
    path = f"/v3/REST/{contact_path(contact)}/getcontactslists?Limit={PAGE}&Offset={offset:d}"
    return Request(method="GET", path=path, call="GET contact/getcontactslists")


def subscribe_request(contact: str | int, lists: Sequence[tuple[int, Action]]) -> Request:
    """POST contact/{ID}/managecontactslists (FACTS 8.6)."""
    body = orjson.dumps({"ContactsLists": [{"ListID": number, "Action": action.value} for number, action in lists]})
    path = f"/v3/REST/{contact_path(contact)}/managecontactslists"
    return Request(method="POST", path=path, call="POST contact/managecontactslists", body=body)


def abort_request(job_id: int) -> Request:
    """PUT csvimport/{ID} with the only status that Mailjet accepts there: "Abort" (FACTS 5.6)."""
    body = orjson.dumps({"Status": "Abort"})
    return Request(method="PUT", path=f"/v3/REST/csvimport/{job_id:d}", call="PUT csvimport", body=body)


def batchjob_request(job_id: int) -> Request:
    """GET batchjob/{ID} (FACTS 7.1)."""
    return Request(method="GET", path=f"/v3/REST/batchjob/{job_id:d}", call="GET batchjob")


def create_property_request(name: str, datatype: str, namespace: str) -> Request:
    """POST contactmetadata (FACTS 8.2)."""
    body = orjson.dumps({"Name": name, "Datatype": datatype, "NameSpace": namespace})
    return Request(method="POST", path="/v3/REST/contactmetadata", call="POST contactmetadata", body=body)


def create_list_request(name: str) -> Request:
    """POST contactslist (FACTS 8.1)."""
    body = orjson.dumps({"Name": name})
    return Request(method="POST", path="/v3/REST/contactslist", call="POST contactslist", body=body)


def delete_list_request(list_id: int) -> Request:
    """DELETE contactslist/{ID}. Its contacts stay in the account."""
    return Request(method="DELETE", path=f"/v3/REST/contactslist/{list_id:d}", call="DELETE contactslist")


def delete_property_request(property_id: int) -> Request:
    """DELETE contactmetadata/{ID}. Its values are deleted with it (FACTS 8.2)."""
    return Request(method="DELETE", path=f"/v3/REST/contactmetadata/{property_id:d}", call="DELETE contactmetadata")


def contact_data_request(contact: str | int) -> Request:
    """GET contactdata: the values of one contact (FACTS 8.3)."""
    who = contact_path(contact).removeprefix("contact/")
    return Request(method="GET", path=f"/v3/REST/contactdata/{who}", call="GET contactdata")
