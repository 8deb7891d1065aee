"""Calls about an account, with a fake of the transport that has pages."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from mjbulk.errors import ApiError, UsageError
from mjbulk.mailjet.account import AccountCalls, list_id, property_problems
from mjbulk.mailjet.requests import Request
from mjbulk.resources import ContactsList, Property
from mjbulk.terms import Action, ListRef

Row = dict[str, Any]


class FakeMailjet:
    """Stands where the transport does: gives the pages of its resources, and what was created."""

    def __init__(self, **resources: Sequence[Row]) -> None:
        self.resources: dict[str, Sequence[Row]] = resources
        self.refused: set[str] = set()
        self.statuses: list[int] = []
        """Those of the next POSTs, where they are refused."""
        self.requests: list[Request] = []
        self.harmless: list[bool] = []

    async def send(self, request: Request, decode: Callable[[bytes], Any], *, harmless: bool = False) -> Any:
        self.requests.append(request)
        self.harmless.append(harmless)
        await asyncio.sleep(0.01)
        address = urlsplit(request.path)
        name = address.path.removeprefix("/v3/REST/").rpartition("/")[2]
        if name in self.refused:
            raise ApiError(401, call=request.call)
        if request.method == "POST" and self.statuses:
            raise ApiError(self.statuses.pop(0), call=request.call, code="MJ18")
        if request.method == "POST":
            return decode(envelope([{"ID": 7, "Address": "new", **orjson.loads((request.body or b"")[:])}]))
        query = parse_qs(address.query)
        limit, offset = int(query["Limit"][0]), int(query["Offset"][0])
        return decode(envelope(self.resources.get(name, [])[offset : offset + limit]))


def envelope(rows: Sequence[Row]) -> bytes:
    return orjson.dumps({"Count": len(rows), "Data": rows, "Total": len(rows)})


def account_of(mailjet: FakeMailjet, remember: float = 60.0) -> AccountCalls:
    transport: Any = mailjet
    return AccountCalls(transport, remember)


def lists(number: int) -> list[Row]:
    return [{"ID": one, "Name": f"list {one}", "Address": f"address{one}"} for one in range(1, number + 1)]


# Pages


@pytest.mark.parametrize(("rows", "pages"), [(0, 1), (1, 1), (999, 1), (1000, 2), (1001, 2), (2500, 3)])
async def test_pages_are_read_until_one_is_not_full(rows: int, pages: int) -> None:
    """Each row comes once and in order; a page that is just full may have a next one."""
    mailjet = FakeMailjet(contactslist=lists(rows))
    assert [one.id async for one in account_of(mailjet).lists()] == list(range(1, rows + 1))
    assert len(mailjet.requests) == pages


async def test_deleted_lists_are_among_the_lists() -> None:
    """Mailjet shows them, and so do we; they are no list to upload under."""
    deleted = [{"ID": 1, "Name": "old", "Address": "gone", "IsDeleted": True}]
    account = account_of(FakeMailjet(contactslist=deleted))
    assert [one.deleted async for one in account.lists()] == [True]
    with pytest.raises(UsageError, match="the account has no list"):
        await account.any_list()
    assert await account_of(FakeMailjet(contactslist=[*deleted, *lists(3)[1:]])).any_list() == 2


async def test_subscriptions_of_one_contact() -> None:
    """Its lists, by ID or address of the contact."""
    rows = [{"ListID": 3, "IsActive": True, "IsUnsub": False}]
    mailjet = FakeMailjet(getcontactslists=rows)
    found = [one async for one in account_of(mailjet).subscriptions("a+b@example.org")]
    assert [(one.list_id, one.active, one.unsubscribed) for one in found] == [(3, True, False)]
    assert "contact/a%2Bb%40example.org/getcontactslists" in mailjet.requests[0].path


# Properties


async def test_properties_are_known_by_casefolded_names() -> None:
    """Mailjet compares names without case."""
    rows = [{"ID": 1, "Name": "Age", "Datatype": "int", "NameSpace": "static"}]
    known = await account_of(FakeMailjet(contactmetadata=rows)).known_properties()
    assert list(known) == ["age"]
    assert (known["age"].name, known["age"].datatype) == ("Age", "int")


def test_names_that_are_no_property() -> None:
    """Each once, whatever its case."""
    known = {"age": Property(id=1, name="Age", datatype="int", namespace="static")}
    assert property_problems(["AGE", "city", "City", "zip"], known) == ["City", "zip"]
    assert property_problems([], known) == []


async def test_what_is_created_is_given() -> None:
    """A list, and a property in the static namespace."""
    account = account_of(FakeMailjet())
    made = await account.create_list("customers")
    assert (made.id, made.name) == (7, "customers")
    created = await account.create_property("city", "str")
    assert (created.id, created.name, created.datatype, created.namespace) == (7, "city", "str", "static")


# What is remembered


PROPERTY = {"ID": 1, "Name": "Age", "Datatype": "int", "NameSpace": "static"}


async def test_imports_side_by_side_share_two_questions() -> None:
    """And those of the next minute ask none; the public calls always ask."""
    mailjet = FakeMailjet(contactslist=lists(2), contactmetadata=[PROPERTY])
    account = account_of(mailjet)

    async def prepare() -> None:
        assert "age" in await account.known_properties(["AGE"])
        assert await account.resolve([("list 1", Action.REMOVE)]) == [(1, Action.REMOVE)]
        assert await account.any_list() == 1

    await asyncio.gather(*(prepare() for _ in range(200)))
    await asyncio.sleep(30)
    await prepare()
    assert len(mailjet.requests) == 2
    assert [one.id async for one in account.lists()] == [1, 2]
    assert [one.name async for one in account.properties()] == ["Age"]
    assert len(mailjet.requests) == 4


@pytest.mark.parametrize("created", [True, False])
async def test_a_list_that_is_not_known_is_asked_for_again(*, created: bool) -> None:
    """It may be new, or have another name now; that there is none is remembered too."""
    mailjet = FakeMailjet(contactslist=lists(1))
    account, wanted = account_of(mailjet), [("list 2", Action.REMOVE)]
    await account.any_list()
    mailjet.resources["contactslist"] = lists(2) if created else [*lists(1), *lists(1)]
    for _ in range(3):
        if created:
            assert await account.resolve(wanted) == [(2, Action.REMOVE)]
        else:
            with pytest.raises(UsageError, match="no list"):
                await account.resolve(wanted)
    assert len(mailjet.requests) == 2


async def test_what_is_created_here_is_known_at_once() -> None:
    """Lists and properties."""
    mailjet = FakeMailjet(contactslist=lists(1))
    account = account_of(mailjet)
    for name in ("news", "city"):
        with pytest.raises(UsageError):
            await account.resolve([(name, Action.REMOVE)])
        assert name not in await account.known_properties([name])
    mailjet.resources = {"contactslist": [{"ID": 7, "Name": "news", "Address": "n"}], "contactmetadata": [PROPERTY]}
    await account.create_list("news")
    await account.create_property("Age", "int")
    assert await account.resolve([("news", Action.REMOVE)]) == [(7, Action.REMOVE)]
    assert "age" in await account.known_properties(["age"])


async def test_what_is_contradicted_is_asked_for_again() -> None:
    """Lists and properties."""
    mailjet = FakeMailjet(contactslist=lists(1))
    account = account_of(mailjet)
    for _ in range(2):
        await account.any_list()
        await account.known_properties()
        account.forget()
    assert len(mailjet.requests) == 4
    await account.aclose()


# Properties that have to be there


async def test_a_property_is_created_once_for_imports_side_by_side() -> None:
    """Whatever its case; and then it is known."""
    mailjet = FakeMailjet()
    account = account_of(mailjet)
    await account.known_properties(["shoe"])
    made = await asyncio.gather(*(account.ensure_property(name, "str") for name in ("shoe", "Shoe", "hat", "SHOE")))
    assert [one.name for one in made] == ["shoe", "shoe", "hat", "shoe"]
    assert {"shoe", "hat"} <= set(await account.known_properties(["shoe", "hat"]))
    assert [request.method for request in mailjet.requests] == ["GET", "POST", "POST"]
    assert mailjet.harmless[1:] == [True, True]


@pytest.mark.parametrize("remember", [60.0, 0.0])
async def test_a_property_that_was_created_elsewhere_is_found(remember: float) -> None:
    """Mailjet says that it is there already, so we ask again: it may have another spelling, and another type."""
    mailjet = FakeMailjet()
    account = account_of(mailjet, remember)
    assert await account.known_properties(["age"]) == {}
    mailjet.resources["contactmetadata"] = [PROPERTY]
    mailjet.statuses = [400]
    made = await account.ensure_property("age", "str")
    assert (made.name, made.datatype) == ("Age", "int")


@pytest.mark.parametrize("status", [400, 500])
async def test_a_property_that_cannot_be_created(status: int) -> None:
    """The refusal is raised; others may still be created."""
    mailjet = FakeMailjet()
    mailjet.statuses = [status]
    account = account_of(mailjet)
    with pytest.raises(ApiError) as refused:
        await account.ensure_property("age", "str")
    assert refused.value.status == status
    assert (await account.ensure_property("shoe", "str")).name == "shoe"


# Lists by name


KNOWN = [
    ContactsList(id=1, name="customers", address="abc"),
    ContactsList(id=2, name="twice", address="def"),
    ContactsList(id=3, name="twice", address="ghi"),
    ContactsList(id=4, name="abc", address="jkl"),
]


@pytest.mark.parametrize(("ref", "found"), [(1, 1), ("def", 2), ("customers", 1), ("abc", 1)])
def test_a_list_is_found_by_id_address_or_name(ref: ListRef, found: int) -> None:
    """A word is an address first: that is unique."""
    assert list_id(ref, KNOWN) == found


@pytest.mark.parametrize(
    ("ref", "problem"),
    [
        (9, "no list with the ID 9"),
        ("nothing", "no list with the address or name 'nothing'"),
        ("Customers", "no list with the address or name 'Customers'"),
        ("twice", "2 lists with the address or name 'twice'"),
    ],
)
def test_a_list_that_is_not_there_or_not_the_only_one(ref: ListRef, problem: str) -> None:
    """Names are exact, and a name of several lists means none of them."""
    with pytest.raises(UsageError, match=problem):
        list_id(ref, KNOWN)


async def test_lists_are_resolved_to_ids() -> None:
    """With their actions and in order; a deleted list cannot be named, nor one list twice."""
    account = account_of(
        FakeMailjet(contactslist=[*lists(2), {"ID": 3, "Name": "old", "Address": "gone", "IsDeleted": True}])
    )
    add, remove = Action.ADDNOFORCE, Action.REMOVE
    assert await account.resolve([("list 2", add), (1, remove)]) == [(2, add), (1, remove)]
    assert await account.resolve([]) == []
    with pytest.raises(UsageError, match="no list"):
        await account.resolve([("old", add)])
    with pytest.raises(UsageError, match="names one list twice"):
        await account.resolve([(1, add), ("list 1", remove)])


# The import of a file


@pytest.mark.parametrize(
    ("batchjobs", "csvimports", "found"),
    [
        ([{"ID": 5, "DataID": 42}], [], 5),
        ([{"ID": 6, "DataID": 41}, {"ID": 5, "DataID": 42}], [], 5),
        ([{"ID": 6, "DataID": 41}], [{"ID": 7, "DataID": 42}], 7),
        ([], [{"ID": one, "DataID": one} for one in range(1, 1500)], 42),
        ([], [], None),
        ([{"DataID": 42}], [{"ID": 8, "DataID": 9}], None),
    ],
)
async def test_the_import_of_uploaded_data(batchjobs: list[Row], csvimports: list[Row], found: int | None) -> None:
    """By the filter of batchjob, then through all csvimports; a filter that was ignored misleads neither."""
    mailjet = FakeMailjet(batchjob=batchjobs, csvimport=csvimports)
    assert await account_of(mailjet).import_of(42) == found
    assert "Data=42" in mailjet.requests[0].path


async def test_a_key_that_may_not_read_batchjobs() -> None:
    """Then the csvimports alone are read."""
    mailjet = FakeMailjet(csvimport=[{"ID": 7, "DataID": 42}])
    mailjet.refused = {"batchjob"}
    assert await account_of(mailjet).import_of(42) == 7
