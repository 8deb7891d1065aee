"""Calls about an account: its lists and properties, page by page (FACTS 8.1, 8.2, 9.8).

Imports want all of them before they send anything. So both are remembered for a while, and imports side by side share
one question. Whatever Mailjet refuses afterwards may contradict what is remembered: `forget` is called then.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import TypeVar

from mjbulk.discreet import discreet
from mjbulk.errors import ApiError, UsageError
from mjbulk.likely import did_you_mean
from mjbulk.mailjet.remembered import Remembered
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
from mjbulk.resources import ContactsList, Property, Subscription
from mjbulk.terms import Action, Datatype, ListRef

_T = TypeVar("_T")


class AccountCalls:
    """The lists and properties of one API key. Mutable state: what is remembered of them."""

    def __init__(self, transport: Transport, remember: float = 0.0) -> None:
        """Send all requests through ``transport``. Lists and properties are remembered for ``remember`` seconds."""
        self._transport = transport
        self._lists = Remembered(self._all_lists, remember)
        self._properties = Remembered(self._all_properties, remember)
        self._creating = asyncio.Lock()

    def forget(self) -> None:
        """Forget lists and properties: they may not be what they were."""
        self._lists.forget()
        self._properties.forget()

    async def aclose(self) -> None:
        """End the questions under way."""
        await self._lists.aclose()
        await self._properties.aclose()

    def lists(self) -> AsyncIterator[ContactsList]:
        """Ask for the lists. Deleted ones may be among them: `ContactsList.deleted` says so (FACTS 8.1)."""
        return self._pages(lambda offset: page_request("contactslist", offset), decode_lists)

    def properties(self) -> AsyncIterator[Property]:
        """Ask for the contact properties."""
        return self._pages(lambda offset: page_request("contactmetadata", offset), decode_properties)

    @discreet
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
        found = await self._lists.get(lambda known: () if known else ("any",))
        if not found:
            raise UsageError("the account has no list, and CSV data has to be uploaded under one")
        return found[0].id

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
        made = (await self._transport.send(create_list_request(name), decode_lists))[0]
        self._lists.forget()
        return made

    async def create_property(self, name: str, datatype: Datatype, namespace: str = "static") -> Property:
        """Create a property."""
        made = (await self._transport.send(create_property_request(name, datatype, namespace), decode_properties))[0]
        self._properties.forget()
        return made

    async def ensure_property(self, name: str, datatype: Datatype) -> Property:
        """Create a property, or give the one that was created meanwhile: here, elsewhere, or by a request whose answer
        was lost. Raises ApiError if there is none, and none can be created.
        """
        async with self._creating:
            known = self._properties.kept
            if known is not None and name.casefold() in known:
                return known[name.casefold()]
            request = create_property_request(name, datatype, "static")
            try:  # a second request is refused, and does no harm
                made = (await self._transport.send(request, decode_properties, harmless=True))[0]
            except ApiError as refusal:
                if refusal.status != 400:
                    raise
                self._properties.forget()
                found = (await self.known_properties()).get(name.casefold())
                if found is None:
                    raise
                return found
            if known is not None:
                known[name.casefold()] = made
            return made

    @property
    def mark(self) -> int:
        """Give a mark for `known_properties`."""
        return self._properties.mark

    async def known_properties(self, names: Collection[str] = (), *, since: int | None = None) -> dict[str, Property]:
        """Give the properties by casefolded name (FACTS 1.10).

        If one of the ``names`` is not among those that are remembered, the question is asked again, unless it was asked
        after the mark ``since``.
        """
        return dict(await self._properties.get(lambda known: _absent(names, known), since=since))

    async def _all_lists(self) -> list[ContactsList]:
        return [one async for one in self.lists() if not one.deleted]

    async def _all_properties(self) -> dict[str, Property]:
        return {known.name.casefold(): known async for known in self.properties()}

    async def resolve(self, lists: Sequence[tuple[ListRef, Action]]) -> list[tuple[int, Action]]:
        """Give the IDs of lists: a number is an ID, a word is an address or else the exact name of one list.

        Raises UsageError for a list that does not exist, for a name that several lists have, and for a list that
        ``lists`` names twice.
        """
        known = await self._lists.get(lambda known: [repr(ref) for ref, _ in lists if len(_ids(ref, known)) != 1])
        resolved = [(list_id(ref, known), action) for ref, action in lists]
        if len(dict(resolved)) != len(resolved):
            raise UsageError("lists= names one list twice")
        return resolved


def list_id(ref: ListRef, known: Sequence[ContactsList]) -> int:
    """Find the ID of a list among the ``known`` ones. Raises UsageError."""
    found = _ids(ref, known)
    if len(found) != 1:
        problem = "no list" if not found else f"{len(found)} lists"
        meant = did_you_mean(ref, _words(known)) if isinstance(ref, str) and not found else ""
        raise UsageError(f"this account has {problem} with the {_kind(ref)} {ref!r}{meant}", kind="list")
    return found[0]


def _words(known: Sequence[ContactsList]) -> list[str]:
    return [word for one in known for word in (one.name, one.address)]


def _ids(ref: ListRef, known: Sequence[ContactsList]) -> list[int]:
    if isinstance(ref, int):
        return [one.id for one in known if one.id == ref]
    return [one.id for one in known if one.address == ref] or [one.id for one in known if one.name == ref]


def _kind(ref: ListRef) -> str:
    return "ID" if isinstance(ref, int) else "address or name"


def _absent(names: Collection[str], known: Mapping[str, Property]) -> set[str]:
    return {name.casefold() for name in names} - known.keys()


def property_problems(names: Sequence[str], known: Mapping[str, Property]) -> list[str]:
    """Give the names that are no property yet. Names that differ in case alone count once."""
    return list({name.casefold(): name for name in names if name.casefold() not in known}.values())
