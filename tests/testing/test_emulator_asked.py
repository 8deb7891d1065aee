"""What lists can be asked, and small forms of single objects: what other programs send is played or refused, and never
ignored.
"""

import re
from asyncio import sleep
from typing import Any

import attrs
import orjson
import pytest
from test_emulator import QUICK, WHOLE, Api, served

PEOPLE = ("a@example.org", "b@example.org")


async def peopled(api: Api) -> None:
    """Two people on list 1, of whom the second has unsubscribed; a second list; a property."""
    api.emulator.create_property("firstname", "str")
    await api("POST", "REST/contactslist", {"Name": "Second"})
    for email in PEOPLE:
        await api("POST", "REST/contactslist/1/managecontact", {"Email": email, "Action": "addforce"})
    api.emulator.unsubscribe("b@example.org")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("listrecipient?ContactEmail=nobody@example.org", 0),
        ("listrecipient?ContactEmail=A@example.org&ContactsList=1", 1),
        ("listrecipient?ContactsList=2", 0),
        ("listrecipient?Unsub=true", 1),
        ("listrecipient?Active=false", 0),
        ("listrecipient?IsExcludedFromCampaigns=false", 2),
        ("contact?IsUnsubscribed=true", 0),
        ("contact?IsUnsubscribed=false", 2),
        ("contact?ContactsList=nothing", 0),
        ("contactdata?ContactEmail=a@example.org", 1),
        ("contactdata?IsExcludedFromCampaigns=1", 0),
        ("contactslist?ID=2", 1),
        ("contact?Limit=0&Offset=1", 2),
        ("contact?Sort=CreatedAt DESC", 2),
        ("contact?Sort=Email asc", 2),
        ("apikey?IsActive=true", 1),
        ("user?UserName=somebody", 0),
    ],
)
async def test_what_is_asked_is_played(query: str, found: int) -> None:
    """Filters choose, Limit=0 begins at the first row, and sorting goes by the fields that can be sorted by."""
    async with served() as api:
        await peopled(api)
        assert len((await api("GET", f"REST/{query}")).data) == found


UNPLAYED = {
    "contact": ("Campaign", "LastActivityAt", "Status"),
    "contactdata": ("Campaign", "DateFormat", "Fields", "LastActivityAt", "Status", "TimeZone"),
    "listrecipient": ("Blocked", "IgnoreDeleted", "LastActivityAt", "Opened", "Status", "style"),
    "user": ("IsActivated", "NewEmail"),
    "apikey": ("ConfirmKey", "CustomStatus", "KeyType"),
}


@pytest.mark.parametrize(("resource", "name"), [(one, name) for one, names in UNPLAYED.items() for name in names])
async def test_filters_that_are_not_played_are_refused(resource: str, name: str) -> None:
    """The API has them (its metadata, recorded 2021-06-28, names all but ``style``): everybody would be no answer."""
    async with served() as api:
        reply = await api("GET", f"REST/{resource}?{name}=1")
        assert (reply.status, name.casefold() in reply.error) == (400, True)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("contact?Sort=Bogus DESC", "bogus desc"),
        ("contact?Sort=id%2Bdesc", "id+desc"),
        ("contact?Sort=ID DESC", "id desc"),
        ("listrecipient?Sort=ListName", "listname"),
        ("csvimport?Sort=ID", "id"),
        ("contactmetadata?Sort=Datatype", "datatype"),
        ("batchjob?Sort=ID down", "id down"),
    ],
)
async def test_what_cannot_be_sorted_by_is_refused(query: str, field: str) -> None:
    """A field that is unknown, or known and not downwards, has the observed answer (java#155)."""
    async with served() as api:
        reply = await api("GET", f"REST/{query}")
        text = f"Unexpected error during GET: Invalid sort specification: Cannot sort on field {field}"
        assert (reply.status, reply.error, reply.info) == (400, text, "")


@pytest.mark.parametrize(
    "query", ["contact?IsExcludedFromCampaigns=maybe", "listrecipient?Unsub=", "batchjob?MaxJobEnd=x"]
)
async def test_values_of_filters_that_cannot_be_read_are_refused(query: str) -> None:
    """A text that is not a boolean or not a date is not taken for one."""
    async with served() as api:
        assert (await api("GET", f"REST/{query}")).status == 400


async def test_the_count_of_a_page_and_the_total_of_all() -> None:
    """A loop that goes on while Offset + Count < Total reads every row."""
    async with served() as api:
        await peopled(api)
        read: list[str] = []
        while True:
            reply = await api("GET", f"REST/contact?Limit=1&CountRecords=1&Offset={len(read)}")
            read += [row["Email"] for row in reply.data]
            answer = orjson.loads(reply.text)
            assert (answer["Count"], answer["Total"]) == (1, 2)
            if len(read) >= answer["Total"]:
                break
        assert read == list(PEOPLE)
        both = await api("GET", "REST/contact?countOnly=1")
        assert both.text == '{ "Count" : 2, "Data" : [], "Total" : 2 }'


async def test_a_recipient_by_its_id() -> None:
    """A subscription keeps its ID, is found by it, and tells when it ended; removed and added again it is another."""
    async with served() as api:
        await peopled(api)
        first, second = (await api("GET", "REST/listrecipient")).data
        assert (await api("GET", f"REST/listrecipient/{second['ID']}")).data == [second]
        assert (first["UnsubscribedAt"], second["UnsubscribedAt"][:2]) == ("", "20")
        for unknown in ("999", "export"):
            assert (await api("GET", f"REST/listrecipient/{unknown}")).status == 404
        path = "REST/contact/b@example.org/managecontactslists"
        await api("POST", path, {"ContactsLists": [{"ListID": 1, "Action": "addforce"}]})
        again = (await api("GET", f"REST/listrecipient/{second['ID']}")).row
        assert (again["IsUnsubscribed"], again["UnsubscribedAt"]) == (False, "")
        for action in ("remove", "addnoforce"):
            await api("POST", path, {"ContactsLists": [{"ListID": 1, "Action": action}]})
        assert (await api("GET", f"REST/listrecipient/{second['ID']}")).status == 404
        assert (await api("GET", "REST/listrecipient?ContactEmail=b@example.org")).row["ID"] > second["ID"]


@pytest.mark.parametrize(
    ("body", "status", "value"),
    [
        ({"Data": [{"Name": "firstname", "value": "new"}]}, 200, "new"),
        ({"data": [{"name": "FIRSTNAME", "Value": "new"}]}, 200, "new"),
        ({"Data": [{"Name": "firstname", "Value": None}]}, 200, None),
        ({"Data": [{"Name": "firstname"}]}, 400, "old"),
        ({"Data": ["x"]}, 400, "old"),
        ({"Data": [None]}, 400, "old"),
        ({"Data": {"firstname": "x"}}, 400, "old"),
        ({"Data": [{"Name": "firstname", "Value": {"a": 1}}]}, 400, "old"),
    ],
)
async def test_values_are_stored_or_refused(body: Any, status: int, value: str | None) -> None:
    """Names have no case inside Data either; what is no name and value is refused, and loses nothing."""
    async with served() as api:
        await peopled(api)
        await api("PUT", "REST/contactdata/a@example.org", {"Data": [{"Name": "firstname", "Value": "old"}]})
        assert (await api("PUT", "REST/contactdata/a@example.org", body)).status == status
        assert api.emulator.contacts["a@example.org"].properties.get("firstname") == value


async def test_a_contact_cannot_be_deleted() -> None:
    """The answer is a 401 with JSON, whatever the keys (php#98, node#129)."""
    async with served() as api:
        await peopled(api)
        reply = await api("DELETE", "REST/contact/a@example.org")
        assert reply.text == '{ "ErrorInfo" : "", "ErrorMessage" : "Operation not allowed", "StatusCode" : 401 }'
        assert (reply.status, reply.reason, "a@example.org" in api.emulator.contacts) == (
            401,
            "Operation not allowed",
            True,
        )


@pytest.mark.parametrize(
    ("member", "allowed"), [("UnsubscribedAt", ()), ("LastActivityAt", ()), ("LastUpdateAt", None)]
)
async def test_members_that_cannot_be_set(member: str, allowed: Any) -> None:
    """A PUT may send members back, except for those that were refused (java#46); a switch lets these pass."""
    async with served() as api:
        await peopled(api)
        body = {"Name": "Ann", member: ""}
        reply = await api("PUT", "REST/contact/a@example.org", body)
        if allowed is None:
            assert (reply.status, reply.row["Name"]) == (200, "Ann")
            return
        text = f'Internal error: MJ19 Setting a value for property "{member}" is not allowed'
        assert (reply.status, reply.error) == (401, text)
        assert (await api("POST", "REST/contact", {"Email": "c@example.org", member: ""})).error == text
        api.emulator.knobs = attrs.evolve(QUICK, refused_members=allowed)
        assert (await api("PUT", "REST/contact/a@example.org", body)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "contact", {"Email": "c@example.org", "Name": None, "IsExcludedFromCampaigns": None}),
        ("PUT", "contact/a@example.org", {"Name": None, "IsExcludedFromCampaigns": None}),
        ("POST", "contactslist/1/managecontact", {"Email": "a@example.org", "Action": "addforce", "Name": None}),
    ],
)
async def test_null_is_as_missing(method: str, path: str, body: Any) -> None:
    """Clients that write absent members as null set nothing."""
    async with served() as api:
        await peopled(api)
        assert (await api(method, f"REST/{path}", body)).status in (200, 201, 304)
        assert {who.name for who in api.emulator.contacts.values()} == {""}
        assert not any(who.excluded for who in api.emulator.contacts.values())


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "contact", {"Email": "c@example.org", "Name": ["x"]}),
        ("PUT", "contact/a@example.org", {"IsExcludedFromCampaigns": [True]}),
        ("POST", "contactslist/1/managecontact", {"Email": "a@example.org", "Action": None, "Name": {"x": 1}}),
        ("POST", "contactmetadata", {"Name": "x", "Datatype": ["str"]}),
        ("POST", "csvimport", {"Method": {"x": None}}),
    ],
)
async def test_refusals_write_no_python(method: str, path: str, body: Any) -> None:
    """A value of another kind is refused, and shown as JSON."""
    async with served() as api:
        await peopled(api)
        reply = await api(method, f"REST/{path}", body)
        assert reply.status == 400
        assert not {"None", "True", "'"} & set(reply.text.replace('"', " ").replace("[", " ").split()), reply.text
        assert "'" not in reply.text


async def test_jobs_by_date() -> None:
    """The date filters of batchjob take RFC 3339, and Unix seconds too."""
    async with served() as api:
        await api.run([{"Email": "a@example.org"}])
        for query, found in {
            "MaxRequestAt=2099-01-01T00:00:00Z": 1,
            "MinRequestAt=2099-01-01T00:00:00Z": 0,
            "MinJobEnd=2020-01-01": 1,
            "MaxJobStart=1": 0,
            "APIKey=1643971": 1,
            "APIKey=1": 0,
        }.items():
            assert len((await api("GET", f"REST/batchjob?{query}")).data) == found, query


async def test_an_import_by_batchjob() -> None:
    """POST batchjob starts the import of an upload; no other type of job is played; PUT aborts one."""
    async with served() as api:
        body = {"JobType": "Contact list import csv", "Method": "addnoforce", "RefId": 1, "Status": "upload"}
        made = await api("POST", "REST/batchjob", {**body, "DataID": await api.upload("email\na@example.org\n")})
        assert (made.status, made.row["RefId"], made.row["JobType"]) == (201, 1, "Contact list import csv")
        await api("PUT", f"REST/batchjob/{made.row['ID']}", {})
        other = await api("POST", "REST/batchjob", {**body, "DataID": await api.upload("email\nb@example.org\n")})
        gone = await api("PUT", f"REST/batchjob/{other.row['ID']}", {"Status": "Abort"})
        assert (gone.status, gone.row["Status"]) == (200, "Abort")
        assert (await api("POST", "REST/batchjob", {**body, "JobType": "Send newsletter"})).status == 400
        await sleep(WHOLE)
        assert list(api.emulator.contacts) == ["a@example.org"]


async def test_an_import_into_a_list_by_its_address() -> None:
    """ContactsListALT is the address of the list, in any case of letters."""
    async with served() as api:
        address = api.emulator.lists[1].address
        job = await api.run_csv("email\na@example.org\n", ContactsListID=None, ContactsListALT=address.upper())
        assert (job["ContactsListID"], job["Status"]) == (1, "Completed")
        data = await api.upload("email\n")
        body = {"ContactsListALT": "nothing00", "DataID": data, "Method": "addnoforce"}
        assert (await api("POST", "REST/csvimport", body)).status == 400


@pytest.mark.parametrize("strict", [True, False])
async def test_a_misspelt_member_of_an_import(strict: bool) -> None:  # noqa: FBT001 - pytest gives it by position
    """ErrThreshold with two h is refused, or ignored, as a switch says."""
    async with served(attrs.evolve(QUICK, strict_imports=strict)) as api:
        body = {"ContactsListID": 1, "DataID": await api.upload("email\n"), "Method": "addnoforce", "ErrThreshold": 1}
        reply = await api("POST", "REST/csvimport", body)
        assert reply.status == (400 if strict else 201)
        assert not strict or 'no property "ErrThreshold"' in reply.error


@pytest.mark.parametrize("resource", ["user", "myprofile", "apikey"])
async def test_rows_of_the_account(resource: str) -> None:
    """Programs that read them before anything else find one row, which is found again by its ID."""
    async with served() as api:
        row = (await api("GET", f"REST/{resource}")).row
        assert (await api("GET", f"REST/{resource}/{row['ID']}")).row == row
        assert (await api("GET", f"REST/{resource}/7")).status == 404
        assert (await api("POST", f"REST/{resource}", {})).status == 405


async def test_addresses_of_lists() -> None:
    """They have nine characters, digits among them, and may begin with a capital; they are found in any case."""
    async with served() as api:
        addresses = [api.emulator.create_list("x").address for _ in range(200)]
        assert {len(address) for address in addresses} == {9}
        assert any(address[0].isupper() for address in addresses)
        assert any(char.isdigit() for address in addresses for char in address)
        for address in addresses[:20]:
            assert (await api("GET", f"REST/contactslist/{address.swapcase()}")).row["Address"] == address


async def test_a_401_comes_in_chunks() -> None:
    """The answer to wrong keys has no length (recorded 2023-01-10)."""
    async with served(attrs.evolve(QUICK, credentials=[])) as api:
        reply = await api("GET", "REST/contact")
        assert (reply.status, reply.headers.get("Transfer-Encoding")) == (401, "chunked")
        assert "Content-Length" not in reply.headers


async def test_a_contact_is_deleted() -> None:
    """It keeps its ID under a name and an address that are nobody's, on no list; its old address can come in again."""
    async with served() as api:
        api.emulator.create_property("city")
        await api.run([{"Email": "a@example.org", "Name": "Ann", "Properties": {"city": "Graz"}}], {1: "addforce"})
        old = (await api("GET", "REST/contact/a@example.org")).row["ID"]
        for _ in range(2):
            assert (await api("DELETE", f"{api.emulator.url}/v4/contacts/{old}")).status == 200
        assert "a@example.org" not in api.emulator.contacts
        row = (await api("GET", f"REST/contact/{old}")).row
        assert (row["Name"], bool(re.fullmatch(r"\\x[0-9a-f]{40}@domain\.invalid", row["Email"]))) == (
            "Anonymized",
            True,
        )
        assert (await api("GET", f"REST/contactdata/{old}")).row["Data"] == []
        assert (await api("GET", "REST/contactslist/1")).row["SubscriberCount"] == 0
        await api.run([{"Email": "a@example.org"}])
        assert (await api("GET", "REST/contact/a@example.org")).row["ID"] != old


@pytest.mark.parametrize("path", ["contacts/a@example.org", "contacts", "contact/254509966", "contacts/1/x", "sms"])
async def test_nothing_else_of_version_4_is_played(path: str) -> None:
    """Other paths are answered with the page of the proxy, and delete nobody; other methods with a 405."""
    async with served() as api:
        await api("POST", "REST/contact", {"Email": "a@example.org"})
        assert (await api("DELETE", f"{api.emulator.url}/v4/{path}")).headers["Content-Type"] == "text/html"
        assert (await api("GET", f"{api.emulator.url}/v4/contacts/254509966")).status == 405
        assert list(api.emulator.contacts) == ["a@example.org"]


async def test_recipients_are_made_changed_and_removed() -> None:
    """listrecipient subscribes somebody by ID or address, once; unsubscribes them; and removes them."""
    async with served() as api:
        await api("POST", "REST/contact", {"Email": "a@example.org"})
        body = {"ContactAlt": "A@example.org", "ListID": "1", "IsUnsubscribed": "false"}
        made = await api("POST", "REST/listrecipient", body)
        assert (made.status, made.row["ListID"], made.row["IsUnsubscribed"]) == (201, 1, False)
        again = await api("POST", "REST/listrecipient", {"ContactID": made.row["ContactID"], "ListID": 1})
        assert (again.status, again.error) == (400, "A duplicate ListRecipient already exists.")
        path = f"REST/listrecipient/{made.row['ID']}"
        changed = await api("PUT", path, {"IsUnsubscribed": True, "IsActive": True})
        assert (changed.status, changed.row["UnsubscribedAt"][:2]) == (200, "20")
        assert (await api("PUT", path, {"IsUnsubscribed": True})).status == 304
        refused = await api("PUT", path, {"IsUnsubscribed": False, "UnsubscribedAt": ""})
        assert (refused.status, "MJ19" in refused.error) == (401, True)
        assert (await api("PUT", path, {"IsUnsubscribed": False})).row["UnsubscribedAt"] == ""
        assert api.emulator.contacts["a@example.org"].lists == {1: "addforce"}
        assert (await api("DELETE", "REST/listrecipient")).status == 405
        assert [(await api("DELETE", path)).status for _ in range(2)] == [204, 404]
        by_address = {
            "ContactID": made.row["ContactID"],
            "ListALT": api.emulator.lists[1].address,
            "IsUnsubscribed": True,
        }
        assert (await api("POST", "REST/listrecipient", by_address)).row["IsUnsubscribed"] is True


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"ListID": 1}, "MJ08 Property Contact is invalid: MJ03 A non-empty value is required"),
        ({"ContactALT": "a@example.org"}, "MJ08 Property List is invalid"),
        (
            {"ContactALT": "x", "ListID": 1},
            'Property "Contact", alternate key value "x" could not be resolved to an ID',
        ),
        ({"ContactALT": "a@example.org", "ListID": 9}, 'Property "List", alternate key value "9" could not be'),
        ({"ContactsList": 1}, 'Invalid json input: object ""->"TListRecipient" has no property "ContactsList"'),
        (
            {"ContactALT": "a@example.org", "ListID": 1, "IsUnsubscribed": "perhaps"},
            "IsUnsubscribed is invalid: perhaps",
        ),
        ({"ContactALT": "a@example.org", "ListID": 1, "IsActive": False}, "plays no recipients that are not active"),
    ],
)
async def test_recipients_that_cannot_be_made(body: Any, problem: str) -> None:
    """The refusals are in the observed words (go#110, node#185, java#47)."""
    async with served() as api:
        await api("POST", "REST/contact", {"Email": "a@example.org"})
        reply = await api("POST", "REST/listrecipient", body)
        assert (reply.status, problem in f"{reply.error} {reply.info}") == (400, True), reply.text


async def test_a_list_is_deleted_and_restored_by_its_member() -> None:
    """IsDeleted can be written, as the metadata of the API says."""
    async with served() as api:
        for gone in (True, False):
            reply = await api("PUT", "REST/contactslist/1", {"IsDeleted": gone})
            assert (reply.status, reply.row["IsDeleted"], api.emulator.lists[1].deleted) == (200, gone, gone)
        assert (await api("PUT", "REST/contactslist/1", {"IsDeleted": False})).status == 304
        assert (await api("POST", "REST/contactslist", {"Name": "x", "IsDeleted": True})).row["IsDeleted"] is True
        assert (await api("PUT", "REST/contactslist/1", {"IsDeleted": "x"})).status == 400


async def test_a_property_is_renamed() -> None:
    """Its values keep; a name that another property has is refused."""
    async with served() as api:
        await peopled(api)
        api.emulator.create_property("city")
        await api("PUT", "REST/contactdata/a@example.org", {"Data": [{"Name": "firstname", "Value": "Ann"}]})
        path = "REST/contactmetadata/static|firstname"
        assert (await api("PUT", path, {"Name": "City"})).error[:5] == "MJ18 "
        assert (await api("PUT", path, {"Name": "givenname"})).row["Name"] == "givenname"
        assert api.emulator.contacts["a@example.org"].properties == {"givenname": "Ann"}
        assert sorted(api.emulator.properties) == ["city", "givenname"]
        assert (await api("PUT", "REST/contactmetadata/static|givenname", {"Name": "GivenName"})).status == 200
        assert api.emulator.contacts["a@example.org"].properties == {"GivenName": "Ann"}
