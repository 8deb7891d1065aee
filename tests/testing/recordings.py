"""Requests that were sent to the real API, and what it answered, as mailjet-gem recorded them.

The cassettes are those of github.com/mailjet/mailjet-gem at dd22b912, in its folder spec/cassettes. Each row has the
name and the day of one. Only what was asked and what came back stands here; IDs, addresses of lists, times may be any.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest.mock import ANY

import attrs


class Like:
    """Equal to whatever fits."""

    def __init__(self, fits: Callable[[Any], bool]) -> None:
        self.fits = fits

    def __eq__(self, other: object) -> bool:
        return self.fits(other)

    def __hash__(self) -> int:
        return 0


WHEN = Like(lambda it: bool(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", it)))
UNIX = Like(lambda it: isinstance(it, int) and it > 1_600_000_000)
ID = Like(lambda it: isinstance(it, int) and it > 0)
ADDRESS = Like(lambda it: bool(re.fullmatch(r"[A-Za-z][a-z0-9]{8}", it)))
NOT_FOUND = {"ErrorInfo": "", "ErrorMessage": "Object not found", "StatusCode": 404}
NO_SOURCE = {"ErrorInfo": "", "ErrorMessage": "Source object not found", "StatusCode": 404}
LIST = {"Address": ADDRESS, "CreatedAt": WHEN, "ID": ID, "IsDeleted": False, "Name": "Test List", "SubscriberCount": 0}
CONTACT = {
    "CreatedAt": WHEN,
    "DeliveredCount": 0,
    "Email": "passenger1@example.com",
    "ExclusionFromCampaignsUpdatedAt": "",
    "ID": ID,
    "IsExcludedFromCampaigns": False,
    "IsOptInPending": False,
    "IsSpamComplaining": False,
    "LastActivityAt": "",
    "LastUpdateAt": "",
    "Name": "",
    "UnsubscribedAt": "",
    "UnsubscribedBy": "",
}
BY_A_JOB = {**CONTACT, "Email": "passenger3@example.com", "LastActivityAt": WHEN, "LastUpdateAt": WHEN}
EXCLUDED_LATER = {**BY_A_JOB, "Email": "passenger2@example.com", "ExclusionFromCampaignsUpdatedAt": WHEN}
NAMED = {**CONTACT, "Email": "passenger4@example.com", "Name": "NaedDCBRlB"}
FOUR = [CONTACT, EXCLUDED_LATER, BY_A_JOB, NAMED]
SAVED = {
    **CONTACT,
    "Email": "save_resource_test@example.com",
    "ExclusionFromCampaignsUpdatedAt": WHEN,
    "IsExcludedFromCampaigns": True,
    "Name": "Save Resource",
}
SENT_BACK = {
    "CreatedAt": "2020-12-10 17:35:35 UTC",
    "DeliveredCount": 0,
    "Email": "save_resource_test@example.com",
    "Id": 254509970,
    "Name": "Joe Doe",
}
PROPERTY = {"Datatype": "str", "ID": ID, "Name": "middle_name", "NameSpace": "static"}
SUBSCRIBED = {"IsActive": True, "IsUnsub": False, "ListID": ID, "SubscribedAt": WHEN}
RECIPIENT = {
    "ContactID": ID,
    "ID": ID,
    "IsActive": True,
    "IsUnsubscribed": False,
    "ListID": ID,
    "ListName": "First list",
    "SubscribedAt": WHEN,
    "UnsubscribedAt": "",
}
PAIRS = [("firstname", "Value"), ("name", "Value"), ("country", "Value"), ("newsletter_sub", "N")]
DATA = [{"Name": name, "Value": value} for name, value in PAIRS]
VALUES = {"ContactID": ID, "Data": DATA, "ID": ID, "MethodCollection": ""}
JOB = {  # it was of a newsletter: its type, its reference and its times are others
    "AliveAt": UNIX,
    "APIKeyID": ID,
    "Blocksize": 0,
    "Count": 1,
    "Current": ANY,
    "DataID": 0,
    "Errcount": 0,
    "ErrTreshold": 0,
    "ID": ID,
    "JobEnd": UNIX,
    "JobStart": UNIX,
    "JobType": ANY,
    "Method": "Unknown",
    "RefId": ANY,
    "RequestAt": ANY,
    "Status": "Completed",
    "Throttle": 0,
}
NAIVE = Like(lambda it: bool(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d", it)))
IMPORT = {  # no recording: mailjet-gem put the documented example into should_not_be_nil of csvimport, 2021-06-28
    "AliveAt": NAIVE,
    "ContactsListID": ID,
    "Count": 12,
    "Current": 10,
    "DataID": ID,
    "Errcount": 0,
    "ErrTreshold": 1,
    "ID": ID,
    "ImportOptions": "",
    "JobEnd": ANY,  # it has ended there, although it is an Upload
    "JobStart": NAIVE,
    "Method": "addnoforce",
    "RequestAt": NAIVE,
    "Status": ANY,
}
USER = (
    *("ACL", "CreatedAt", "Email", "FirstIp", "ID", "LastIp", "LastLoginAt", "Locale", "MaxAllowedAPIKeys", "Timezone"),
    *("Username", "WarnedRatelimitAt"),
)
PROFILE = (
    *("AddressCity", "AddressCountry", "AddressPostalCode", "AddressState", "AddressStreet", "BillingEmail"),
    *("BirthdayAt", "CompanyName", "CompanyNumOfEmployees", "ContactPhone", "EstimatedVolume", "Features", "Firstname"),
    *("ID", "Industry", "JobTitle", "Lastname", "UserID", "VAT", "VATNumber", "Website"),
)
KEY = (
    *("ACL", "APIKey", "CreatedAt", "ID", "IsActive", "IsMaster", "Name", "QuarantineValue", "RegionID", "Runlevel"),
    *("SecretKey", "Skipspamd", "TrackHost", "UserID"),
)


LISTED = (
    "POST",
    "contact/passenger1@example.com/managecontactslists",
    {"ContactsLists": [{"ListID": 1, "Action": "addforce"}]},
)
PROPERTIES = [("POST", "contactmetadata", {"Name": name}) for name, _ in PAIRS]
VALUED = ("PUT", "contactdata/passenger1@example.com", {"Data": DATA})
SAVED_BEFORE = ("POST", "contact", {key: SAVED[key] for key in ("Email", "Name", "IsExcludedFromCampaigns")})
CSV = b'"email","age"\n"foo@example.org",42\n"bar@example.com",13\n"sam@ple.co.uk",37'
PAGE = (
    '<html>\r\n<head><title>404 Not Found</title></head>\r\n<body bgcolor="white">\r\n<center><h1>404 Not Found</h1>'
    "</center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
WRONG_PATH = (
    '{ "ErrorInfo" : "EFPWebError", "ErrorMessage" : "Could not determine HTTP module for request '
    '\\"wrongresourcepath\\"", "StatusCode" : 500 }\n'
)


def any_row(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names, ANY)


def rows(*data: Mapping[str, Any], total: int | None = None) -> dict[str, Any]:
    return {"Count": len(data), "Data": list(data), "Total": len(data) if total is None else total}


@attrs.frozen
class Recording:
    """A request and its answer: status and reason phrase, its type, and JSON or another text."""

    name: str
    day: str
    request: str
    status: str
    answer: Any
    sent: Any = None
    type: str = "application/json"
    guid: bool = False
    """Whether it has an X-Mj-Request-Guid."""
    before: Sequence[tuple[str, str, Any]] = ()
    """Requests that make what the recorded account had."""


R = Recording
LISTS, FOUND, RESOURCE = "Mailjet_API_Resource", "Mailjet_Contact/_find", "Mailjet_Resource"
SUBSCRIPTIONS, DELETED = "Mailjet_Contact_getcontactslists/_find", "Mailjet_ContactPii/_delete"
RECORDINGS = [
    R(
        f"{LISTS}/creates_new_contact_lists",
        "2020-11-06",
        "POST REST/contactslist",
        "201 Created",
        rows(LIST),
        {"Name": "Test List"},
    ),
    R(f"{LISTS}/it_retrieves_lists_by_id", "2020-11-06", "GET REST/contactslist/2", "200 OK", rows(LIST)),
    R(f"{LISTS}/updates_list_fields", "2020-11-06", "PUT REST/contactslist/2", "304 Content not changed", "", {}),
    R(f"{LISTS}/deletes_list_fields", "2020-11-09", "DELETE REST/contactslist/2", "204 No content", ""),
    R(
        f"{LISTS}/deletes_list_fields, third answer",
        "2020-11-09",
        "GET REST/contactslist/2",
        "200 OK",
        rows({**LIST, "IsDeleted": True}),
        before=[("DELETE", "contactslist/2", None)],
    ),
    R(
        f"{LISTS}/retrieves_all_contact_lists",
        "2020-11-06",
        "GET REST/contactslist?Limit=0",
        "200 OK",
        rows({**LIST, "Name": "First list", "SubscriberCount": 1}, LIST),
        before=[LISTED],
    ),
    R(
        f"{LISTS}/the_resource_path_does_not_exist/raises_an_error",
        "2020-11-09",
        "GET wrongresourcepath?Limit=0",
        "500 Internal error",
        WRONG_PATH,
    ),
    R(
        f"{LISTS}/API_responds_with_non_JSON_content_type/raises_an_error",
        "2020-11-09",
        "GET .1/REST/contactslist",
        "404 Not Found",
        PAGE,
        type="text/html",
    ),
    R(
        f"{RESOURCE}/invalid_credentials/should_raise_api_connection_error",
        "2023-01-10",
        "GET REST/apikey?Limit=1",
        "401 Unauthorized",
        "",
        type="text/html",
    ),
    R("Mailjet_Contact/returns_all_contacts", "2020-10-15", "GET REST/contact", "200 OK", rows(*FOUR)),
    R(
        "Mailjet_Contact/returns_all_contacts_when_parameters_invalid",
        "2020-10-15",
        "GET REST/contact?InvalidParameter=0",
        "200 OK",
        rows(*FOUR),
    ),
    R("Mailjet_Contact/returns_first_contact", "2020-10-15", "GET REST/contact?Limit=1", "200 OK", rows(CONTACT)),
    R(
        "Mailjet_Contact/returns_specified_amount_of_contacts",
        "2020-10-15",
        "GET REST/contact?Limit=2",
        "200 OK",
        rows(*FOUR[:2]),
    ),
    R(
        "Mailjet_Contact/returns_total_amount_of_contacts",
        "2020-10-15",
        "GET REST/contact?countrecords=1&limit=1",
        "200 OK",
        rows(CONTACT, total=4),
    ),
    R(f"{FOUND}/finds_contact_by_ID", "2020-10-15", "GET REST/contact/254509966", "200 OK", rows(CONTACT)),
    R(
        f"{FOUND}/finds_contact_by_email",
        "2020-10-15",
        "GET REST/contact/passenger1@example.com",
        "200 OK",
        rows(CONTACT),
    ),
    R(
        f"{FOUND}/finds_contact_by_email_with_non_ascii_chars",
        "2020-11-04",
        "GET REST/contact/non%C3%A7ascii@example.com",
        "200 OK",
        rows({**SAVED, "Email": "nonçascii@example.com", "Name": ""}),
        before=[("POST", "contact", {"Email": "nonçascii@example.com", "IsExcludedFromCampaigns": True})],
    ),
    R(
        f"{FOUND}/returns_nil_when_contact_not_found",
        "2020-10-15",
        "GET REST/contact/unknown@example.com",
        "404 Object not found",
        NOT_FOUND,
    ),
    R(
        "resource/test_contact/create",
        "2020-12-11",
        "POST REST/contact",
        "201 Created",
        rows({**CONTACT, "Email": "create_resource_test@example.com", "Name": "Create Resource"}),
        {"Name": "Create Resource", "Email": "create_resource_test@example.com"},
    ),
    R(
        "resource/test_contact/update",
        "2020-12-10",
        "GET REST/contact/254509970",
        "200 OK",
        rows(SAVED),
        before=[SAVED_BEFORE],
    ),
    R(
        "resource/test_contact/update, second answer",
        "2020-12-10",
        "PUT REST/contact/254509970",
        "200 OK",
        rows({**SAVED, "LastUpdateAt": WHEN, "Name": "Joe Doe"}),
        SENT_BACK,
        before=[SAVED_BEFORE],
    ),
    R(
        f"{DELETED}/removes_existing_contact_by_ID",
        "2023-11-11",
        "DELETE v4/contacts/254509966",
        "200 OK",
        "",
        type="application/json; charset=UTF-8",
        guid=True,
    ),
    R(
        f"{DELETED}/return_message_for_delete_unexisting_contact",
        "2023-11-11",
        "DELETE v4/contacts/123456",
        "200 OK",
        "",
        type="application/json; charset=UTF-8",
        guid=True,
    ),
    R(
        f"{SUBSCRIPTIONS}/returns_all_records",
        "2020-10-29",
        "GET REST/contact/254509966/getcontactslists",
        "200 OK",
        rows(SUBSCRIBED),
        before=[LISTED],
    ),
    R(
        f"{SUBSCRIPTIONS}/returns_nil_when_appropriate_list_not_found",
        "2020-10-29",
        "GET REST/contact/123/getcontactslists",
        "404 Object not found",
        NOT_FOUND,
    ),
    R(
        "Mailjet_Contactmetadata/_persisted_/returns_true_for_created_resource",
        "2020-12-20",
        "POST REST/contactmetadata",
        "201 Created",
        rows(PROPERTY),
        {"Datatype": "str", "Name": "middle_name", "NameSpace": "static"},
    ),
    R(
        f"{RESOURCE}/contactmetadata/should_not_be_nil",
        "2021-06-28",
        "GET REST/contactmetadata?Limit=1",
        "200 OK",
        rows({**PROPERTY, "Name": "firstname"}),
        before=PROPERTIES,
    ),
    R(
        f"{RESOURCE}/contactdata/should_not_be_nil",
        "2021-06-28",
        "GET REST/contactdata?Limit=1",
        "200 OK",
        rows(VALUES),
        before=[*PROPERTIES, VALUED],
    ),
    R(
        f"{RESOURCE}/listrecipient/should_not_be_nil",
        "2021-06-28",
        "GET REST/listrecipient?Limit=1",
        "200 OK",
        rows(RECIPIENT),
        before=[LISTED],
    ),
    R(f"{RESOURCE}/batchjob/should_not_be_nil", "2021-06-28", "GET REST/batchjob?Limit=1", "200 OK", rows(JOB)),
    R(f"{RESOURCE}/user/should_not_be_nil", "2021-06-28", "GET REST/user?Limit=1", "200 OK", rows(any_row(*USER))),
    R(
        f"{RESOURCE}/myprofile/should_not_be_nil",
        "2021-06-28",
        "GET REST/myprofile?Limit=1",
        "200 OK",
        rows(any_row(*PROFILE)),
    ),
    R(
        "Mailjet_Apikey/date_format_on_API_request/is_a_kind_of_DateTime",
        "2020-11-09",
        "GET REST/apikey?Limit=1",
        "200 OK",
        rows(any_row(*KEY)),
    ),
    R(
        "Mailjet_ContactslistCsv/returns_id",
        "2023-10-09",
        "POST DATA/contactslist/1/CSVData/text:plain",
        "200 OK",
        {"ID": ID},
        CSV,
    ),
    R(
        "Mailjet_ContactslistCsv/retruns_error_response",
        "2023-10-09",
        "POST DATA/contactslist/invalid_id/CSVData/text:plain",
        "404 Source object not found",
        NO_SOURCE,
        CSV,
        "text/plain",
    ),
    R(
        "Mailjet_RetrieveErrosCsv/retruns_error_response",
        "2023-10-26",
        "GET DATA/BatchJob/99999/CSVError/text:csv",
        "404 Source object not found",
        NO_SOURCE,
        type="text/csv",
    ),
]
