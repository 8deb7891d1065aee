"""Calls about an account: its lists and properties, page by page (FACTS 8.1, 8.2, 9.8)."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypeVar

from mjbulk.errors import ApiError, UsageError
from mjbulk.mailjet.replies import decode_jobs, decode_lists, decode_properties, decode_subscriptions
from mjbulk.mailjet.requests import (
    PAGE,
    Request,
    create_list_request,
    create_property_request,
    page_request,
    subscriptions_request,
)
from mjbulk.mailjet.transport import Transport
from mjbulk.models import ContactsList, Property, Subscription
from mjbulk.terms import Action, Datatype, ListRef

_T = TypeVar("_T")


class AccountCalls:
    """The lists and properties of one API key. It caches nothing: each call asks Mailjet."""

    def __init__(self, transport: Transport) -> None:
        """Send all requests through ``transport``."""
        self._transport = transport

    def lists(self) -> AsyncIterator[ContactsList]:
        """Give the lists. Deleted ones may be among them: `ContactsList.deleted` says so (FACTS 8.1)."""
        return self._pages(lambda offset: page_request("contactslist", offset), decode_lists)

    def properties(self) -> AsyncIterator[Property]:
        """Give the contact properties."""
        return self._pages(lambda offset: page_request("contactmetadata", offset), decode_properties)

    def subscriptions(self, contact: str | int) -> AsyncIterator[Subscription]:
        """Give the lists that a contact is on."""
        return self._pages(lambda offset: subscriptions_request(contact, offset), decode_subscriptions)

    async def import_of(self, data_id: int) -> int | None:
        """Find the ID of the csvimport of a DataID, or None.

        Ask batchjob with a filter first, then read every page of csvimport. The DataID of each reply is compared,
        because Mailjet ignores a filter that it does not know (FACTS 5.7).
        """
        try:
            filtered = await self._transport.send(page_request("batchjob", 0, Data=str(data_id)), decode_jobs)
        except ApiError:  # not every key may read batchjobs (FACTS 7.2)
            filtered = []
        for job in filtered:
            if job.data_id == data_id and job.id is not None:
                return job.id
        async for job in self._pages(lambda offset: page_request("csvimport", offset), decode_jobs):
            if job.data_id == data_id and job.id is not None:
                return job.id
        return None

    async def any_list(self) -> int:
        """Give the ID of any list: uploads need one (FACTS 5.2). Raises UsageError if the account has none."""
        async for one in self.lists():
            if not one.deleted:
                return one.id
        raise UsageError("the account has no list, and CSV data has to be uploaded under one")

    async def _pages(self, request: Callable[[int], Request], decode: Callable[[bytes], list[_T]]) -> AsyncIterator[_T]:
        """Read pages until one is not full: Count and Total are of the page, not of all rows (FACTS 9.8)."""
        offset = 0
        while True:
            page = await self._transport.send(request(offset), decode)
            for item in page:
                yield item
            if len(page) < PAGE:
                return
            offset += len(page)

    async def create_list(self, name: str) -> ContactsList:
        """Create a list."""
        return (await self._transport.send(create_list_request(name), decode_lists))[0]

    async def create_property(self, name: str, datatype: Datatype, namespace: str = "static") -> Property:
        """Create a property."""
        return (await self._transport.send(create_property_request(name, datatype, namespace), decode_properties))[0]

    async def known_properties(self) -> dict[str, Property]:
        """Give the properties by casefolded name (FACTS 1.10)."""
        return {known.name.casefold(): known async for known in self.properties()}

    async def resolve(self, lists: Sequence[tuple[ListRef, Action]]) -> list[tuple[int, Action]]:
        """Give the IDs of lists: a number is an ID, a word is an address or else the exact name of one list.

        Raises UsageError for a list that does not exist, for a name that several lists have, and for a list that
        ``lists`` names twice.
        """
        known = [one async for one in self.lists() if not one.deleted]
        resolved = [(list_id(ref, known), action) for ref, action in lists]
        if len(dict(resolved)) != len(resolved):
            raise UsageError("lists= names one list twice")
        return resolved


def list_id(ref: ListRef, known: Sequence[ContactsList]) -> int:
    """Find the ID of a list among the ``known`` ones. Raises UsageError."""
    if isinstance(ref, int):
        found = [one.id for one in known if one.id == ref]
    else:
        found = [one.id for one in known if one.address == ref] or [one.id for one in known if one.name == ref]
    if len(found) != 1:
        problem = "no list" if not found else f"{len(found)} lists"
        raise UsageError(f"this account has {problem} with the {_kind(ref)} {ref!r}")
    return found[0]


def _kind(ref: ListRef) -> str:
    return "ID" if isinstance(ref, int) else "address or name"


def property_problems(names: Sequence[str], known: Mapping[str, Property]) -> list[str]:
    """Give the names that are no property yet. Names that differ in case alone count once."""
    return list({name.casefold(): name for name in names if name.casefold() not in known}.values())
