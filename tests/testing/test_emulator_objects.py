"""The emulator plays contacts, lists and properties as they are recorded."""

from typing import Any

import orjson
import pytest
from test_emulator import served


async def test_contact_by_id_or_address() -> None:
    """A contact is read by ID or (encoded) address, changed as a patch, and 304 says that nothing changed."""
    async with served() as api:
        made = await api("POST", "REST/contact", {"Email": "a+b@example.org"})
        assert (made.status, made.row["IsExcludedFromCampaigns"]) == (201, False)
        path = "REST/contact/a%2Bb%40EXAMPLE.org"
        assert (await api("GET", f"REST/contact/{made.row['ID']}")).row == (await api("GET", path)).row
        changed = await api("PUT", path, {"IsExcludedFromCampaigns": "true"})
        assert (changed.status, changed.row["IsExcludedFromCampaigns"]) == (200, True)
        assert changed.row["ExclusionFromCampaignsUpdatedAt"].endswith("Z")
        same = await api("PUT", path, {"IsExcludedFromCampaigns": "true"})
        assert (same.status, same.reason, same.text) == (304, "Content not changed", "")


@pytest.mark.parametrize(
    ("body", "message", "info"),
    [
        (
            {"Email": "a@example.org"},
            'MJ18 A Contact resource with value "a@example.org" for Email already exists.',
            "",
        ),
        (
            {"Contacts": []},
            'Invalid json input: object ""->"TContact" has no property "Contacts"',
            "",
        ),
        (
            {},
            "Object properties invalid",
            "MJ08 Property email is invalid: MJ03 A non-empty value is required",
        ),
    ],
)
async def test_contacts_that_cannot_be_made(body: Any, message: str, info: str) -> None:
    """POST contact refuses known addresses, unknown and read-only keys, in the recorded words."""
    async with served() as api:
        await api("POST", "REST/contact", {"Email": "a@example.org"})
        reply = await api("POST", "REST/contact", body)
        assert (reply.status, reply.error, reply.info) == (400, message, info)
        assert reply.reason == message


async def test_lists_of_a_contact() -> None:
    """managecontactslists acts at once or tells the wrong lists; getcontactslists shows them as recorded."""
    async with served() as api:
        await api("POST", "REST/contact", {"Email": "a@example.org"})
        path = "REST/contact/a@example.org"
        done = await api("POST", f"{path}/managecontactslists", {"ContactsLists": [{"ListID": "1", "Action": "unsub"}]})
        assert done.row == {"ContactsLists": [{"ListID": 1, "Action": "unsub"}]}
        row = (await api("GET", f"{path}/getcontactslists")).row
        assert row.pop("SubscribedAt").endswith("Z")
        assert row == {"IsActive": True, "IsUnsub": True, "ListID": 1}
        wrong = await api("POST", f"{path}/managecontactslists", {"ContactsLists": [{"ListID": 5, "Action": "unsub"}]})
        assert wrong.info["ContactsLists"][0]["Error"] == "List ID 5 is invalid or deleted"
        assert (await api("GET", "REST/contact/b@example.org/getcontactslists")).error == "Object not found"
        for _ in range(10):
            number = api.emulator.create_list("another").id
            await api("POST", f"{path}/managecontactslists", {"ContactsLists": [{"ListID": number, "Action": "unsub"}]})
        assert len((await api("GET", f"{path}/getcontactslists")).data) == 10
        assert len((await api("GET", f"{path}/getcontactslists?Limit=5&Offset=10")).data) == 1


async def test_a_deleted_list_can_be_read_and_not_used() -> None:
    """DELETE is 204 and soft: the list shows IsDeleted, and calls that name it are refused."""
    async with served() as api:
        made = await api("POST", "REST/contactslist", {"Name": "Test List"})
        assert (made.status, len(made.row["Address"]), made.row["ID"]) == (201, 9, 2)
        gone = await api("DELETE", "REST/contactslist/2")
        assert (gone.status, gone.reason, gone.text) == (204, "No content", "")
        assert (await api("GET", "REST/contactslist/2")).row["IsDeleted"] is True
        body = {"ContactsLists": [{"ListID": 2, "Action": "addforce"}], "Contacts": [{"Email": "a@example.org"}]}
        assert (await api("POST", "REST/contact/managemanycontacts", body)).status == 400
        upload = await api("POST", "DATA/contactslist/2/CSVData/text:plain", data=b"email\n")
        assert (upload.status, upload.error) == (404, "Source object not found")


async def test_lists_are_filtered_counted_and_renamed() -> None:
    """contactslist counts its subscribers, filters by name, takes a new name and refuses an empty one."""
    async with served() as api:
        await api.run([{"Email": "a@example.org"}, {"Email": "b@example.org"}], {1: "addforce"})
        api.emulator.unsubscribe("b@example.org")
        assert (await api("GET", "REST/contactslist/1")).row["SubscriberCount"] == 1
        assert (await api("PUT", "REST/contactslist/1", {"Name": "News"})).row["Name"] == "News"
        assert (await api("PUT", "REST/contactslist/1", {"Name": "News"})).status == 304
        await api("POST", "REST/contactslist", {"Name": "Other"})
        assert [row["ID"] for row in (await api("GET", "REST/contactslist?Name=news")).data] == [1]
        assert [row["ID"] for row in (await api("GET", "REST/contactslist?ExcludeID=1")).data] == [2]
        empty = await api("POST", "REST/contactslist", {"Name": ""})
        assert empty.info == "MJ08 Property Name is invalid: MJ04 Value must have at least length 1"


async def test_properties_come_in_pages_of_ten() -> None:
    """contactmetadata: 10 a page, at most 1,000, 0 for 1,000; Count and Total are the page's own."""
    async with served() as api:
        for number in range(12):
            api.emulator.create_property(f"p{number}")
        reply = await api("GET", "REST/contactmetadata")
        assert len(reply.data) == orjson.loads(reply.text)["Total"] == 10
        assert reply.row == {"Datatype": "str", "ID": 67391, "Name": "p0", "NameSpace": "static"}
        assert len((await api("GET", "REST/contactmetadata?Limit=0")).data) == 12
        assert [row["Name"] for row in (await api("GET", "REST/contactmetadata?Limit=9&Offset=10")).data] == [
            "p10",
            "p11",
        ]
        assert (
            await api("GET", "REST/contactmetadata?countOnly=1")
        ).text == '{ "Count" : 12, "Data" : [], "Total" : 12 }'
        total = (await api("GET", "REST/contactmetadata?countrecords=1&limit=1&limit=9")).text
        assert orjson.loads(total)["Total"] == 12
        assert len(orjson.loads(total)["Data"]) == 1
        sort = (await api("GET", "REST/contactmetadata?Sort=Name DESC&limit=1")).row["Name"]
        assert sort == "p9"


async def test_properties_are_made_changed_and_deleted() -> None:
    """contactmetadata refuses a known name, changes the type, and deletes the values with the property."""
    async with served() as api:
        made = await api("POST", "REST/contactmetadata", {"Name": "age", "Datatype": "int", "NameSpace": "static"})
        assert made.status == 201
        again = await api("POST", "REST/contactmetadata", {"Name": "Age"})
        assert (again.status, again.error[:5]) == (400, "MJ18 ")
        assert (await api("POST", "REST/contactmetadata", {"Name": "x", "Datatype": "text"})).status == 400
        await api.run([{"Email": "a@example.org", "Properties": {"AGE": 5}}])
        assert (await api("PUT", "REST/contactmetadata/static|age", {"Datatype": "str"})).row["Datatype"] == "str"
        data = (await api("GET", "REST/contactdata/a@example.org")).row
        assert data["Data"] == [{"Name": "age", "Value": "5"}]
        assert (await api("DELETE", f"REST/contactmetadata/{made.row['ID']}")).status == 204
        assert api.emulator.contacts["a@example.org"].properties == {}


async def test_contactdata_takes_names_and_values() -> None:
    """PUT contactdata takes the list form that the bulk call refuses, and knows undefined names."""
    async with served() as api:
        api.emulator.create_property("age", "int")
        await api("POST", "REST/contact", {"Email": "a@example.org"})
        await api("PUT", "REST/contactdata/a@example.org", {"Data": [{"Name": "age", "Value": 30}]})
        assert api.emulator.contacts["a@example.org"].properties == {"age": 30}
        wrong = await api("PUT", "REST/contactdata/a@example.org", {"Data": [{"Name": "createdate", "Value": 1}]})
        assert (wrong.status, wrong.error) == (400, 'Invalid key name: "createdate"')


async def test_managecontact_acts_at_once() -> None:
    """contactslist/{ID}/managecontact adds one contact now, and tells what is wrong in the recorded words."""
    async with served() as api:
        wrong = await api("POST", "REST/contactslist/1/managecontact", {"Email": ""})
        assert wrong.info == {
            "Email": "MJ08 Property email is invalid: MJ03 A non-empty value is required",
            "Action": "Invalid action: ",
        }
        body = {"Email": "a@example.org", "Action": "addforce", "Properties": {"age": 1}}
        undefined = await api("POST", "REST/contactslist/1/managecontact", body)
        assert undefined.info == {"Properties": [{"age": "Property not defined"}]}
        await api("POST", "REST/contactslist/1/managecontact", body | {"Properties": "{}"})
        recipient = (await api("GET", "REST/listrecipient?ContactsList=1")).row
        assert (recipient["ListID"], recipient["IsUnsubscribed"], "Email" in recipient) == (1, False, False)


async def test_contacts_are_listed_with_filters() -> None:
    """GET contact has the filters of its page, and sorts by address."""
    async with served() as api:
        await api.run([{"Email": "b@example.org"}, {"Email": "a@example.org", "IsExcludedFromCampaigns": True}])
        await api.run([{"Email": "c@example.org"}], {1: "addforce"})
        for query, emails in {
            "Sort=Email": ["a@example.org", "b@example.org", "c@example.org"],
            "ContactsList=1": ["c@example.org"],
            "IsExcludedFromCampaigns=true": ["a@example.org"],
            "email=B@example.org": ["b@example.org"],
        }.items():
            assert [row["Email"] for row in (await api("GET", f"REST/contact?{query}")).data] == emails, query
        assert len((await api("GET", "REST/contactdata")).data) == 3


MANAGED = {"Email": "a@b.example", "Action": "unsub", "Properties": {"age": "x"}}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "contact/a@example.org", {"IsExcludedFromCampaigns": "maybe"}, 400),
        ("PUT", "contactdata/a@example.org", {"Data": [{"Name": "age", "Value": "old"}]}, 400),
        ("POST", "contactslist/1/managecontact", MANAGED, 400),
        ("POST", "contactslist", {"Name": "x", "Colour": "red"}, 400),
        ("POST", "contactmetadata", {"Name": "x", "Colour": "red"}, 400),
        ("POST", "contactmetadata", {"Name": ""}, 400),
        ("PUT", "contactmetadata/67391", {"Datatype": "int"}, 304),
        ("GET", "contactmetadata/67391", None, 200),
        ("GET", "contactmetadata/static|nothing", None, 404),
        ("GET", "contact/a@example.org/nothing", None, 404),
        ("GET", "contact/999", None, 404),
        ("POST", "contact", {"Email": "a@@example.org"}, 400),
        ("POST", "contact/1/managecontactslists", {}, 404),
        ("PATCH", "contactslist/1", {}, 405),
    ],
)
async def test_other_answers_of_objects(method: str, path: str, body: Any, status: int) -> None:
    """Wrong values, unknown keys and absent objects each have their status, and change nothing."""
    async with served() as api:
        api.emulator.create_property("age", "int")
        await api("POST", "REST/contact", {"Email": "a@example.org"})
        assert (await api(method, f"REST/{path}", body)).status == status
        assert list(api.emulator.contacts) == ["a@example.org"]
        assert (list(api.emulator.lists), list(api.emulator.properties)) == ([1], ["age"])
