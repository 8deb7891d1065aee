"""The people, lists and properties of one account, and what actions do to them, without HTTP and without a clock."""

import itertools
import random
import string
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from mjbulk.public import public
from mjbulk.testing._rules import person

_SMALL = string.ascii_lowercase + string.digits


@public
@attrs.frozen(kw_only=True)
class EmulatedContact:
    """A person as the emulator had them at one moment."""

    email: str
    """The address as it was written when the contact was created."""
    id: int
    """The number of the contact."""
    name: str
    """The contact's Name; empty if it has none."""
    excluded: bool
    """Whether they are excluded from campaigns."""
    properties: Mapping[str, Any]
    """The values of its properties, by their names."""
    lists: Mapping[int, str]
    """List ID to the action that put the person there: "addnoforce" or "addforce", or "unsub" once unsubscribed."""

    def subscribed(self, list_id: int) -> bool:
        """Tell whether the person is on the list and has not unsubscribed."""
        return self.lists.get(list_id, "unsub") != "unsub"


@attrs.define(eq=False)
class Subscription:
    """That a person is on a list: a listrecipient."""

    id: int
    word: str
    """The action that put the person there, or "unsub" once unsubscribed."""
    subscribed_at: str
    unsubscribed_at: str = ""

    @property
    def unsubscribed(self) -> bool:
        """Whether the person has unsubscribed from the list."""
        return self.word == "unsub"


@attrs.define(eq=False)
class Person:
    """A contact in the account. Mutable; `seen` gives a copy for tests."""

    email: str
    id: int
    created: str
    recipient_ids: Iterator[int] = attrs.field(repr=False)
    """The IDs of subscriptions that are made; all people of the account take from it."""
    name: str = ""
    excluded: bool = False
    excluded_at: str = ""
    updated_at: str = ""
    active_at: str = ""
    properties: dict[str, Any] = attrs.field(factory=dict)
    lists: dict[int, Subscription] = attrs.field(factory=dict)

    def seen(self) -> EmulatedContact:
        """Give a copy for tests, which does not change any more."""
        return EmulatedContact(
            email=self.email,
            id=self.id,
            name=self.name,
            excluded=self.excluded,
            properties=MappingProxyType(dict(self.properties)),
            lists=MappingProxyType({number: one.word for number, one in self.lists.items()}),
        )

    def exclude(self, excluded: bool, now: str) -> None:  # noqa: FBT001 - it is the value of IsExcludedFromCampaigns
        """Exclude the contact from campaigns, or include it."""
        if excluded != self.excluded:
            self.excluded, self.excluded_at = excluded, now

    def touch(self, now: str) -> None:
        """Note that a job wrote this person: it sets both times (recorded: FACTS 8.4)."""
        self.updated_at = self.active_at = now

    def act(self, list_id: int, action: str, now: str) -> None:
        """Do an action on a list (FACTS 1.3): addforce resets an unsubscription, addnoforce leaves it."""
        if action == "remove":
            self.lists.pop(list_id, None)
            return
        here = self.lists.get(list_id)
        if here is None:
            here = self.lists[list_id] = Subscription(next(self.recipient_ids), action, now)
        elif action != "addnoforce" or not here.unsubscribed:
            here.word = action
        here.unsubscribed_at = (here.unsubscribed_at or now) if here.unsubscribed else ""


@attrs.define(eq=False)
class EmulatedList:
    """A contacts list. A deleted list can still be read (observed: FACTS 8.1), but no longer used."""

    id: int
    name: str
    address: str
    created: str
    deleted: bool = False


@attrs.define(eq=False)
class EmulatedProperty:
    """A contact property (contactmetadata)."""

    id: int
    name: str
    datatype: str = "str"
    namespace: str = "static"


class EmulatedAccount:
    """What one API key sees. A new account has one list, ID 1."""

    def __init__(self, *, seed: int = 0, now: str = "") -> None:
        self.key = ""
        self.people: dict[str, Person] = {}
        self.people_by_id: dict[int, Person] = {}
        self.lists: dict[int, EmulatedList] = {}
        self.properties: dict[str, EmulatedProperty] = {}
        self._next_property = 67_391
        self._recipient_ids = itertools.count(225_690_164)
        self._random = random.Random(seed)  # noqa: S311 - addresses of lists, no secret
        self.create_list("First list", now)

    def find(self, who: str | int) -> Person | None:
        """Find a person by address (any case) or ID."""
        return self.people_by_id.get(who) if isinstance(who, int) else self.people.get(person(who))

    def person(self, email: str, now: str) -> Person:
        """Find the person with this address, or create one."""
        known = self.people.get(key := person(email))
        if known is None:
            known = self.people[key] = Person(
                email=email, id=254_509_966 + len(self.people_by_id), created=now, recipient_ids=self._recipient_ids
            )
            self.people_by_id[known.id] = known
        return known

    def make_anonymous(self, who: Person, now: str) -> None:
        """Take a person's name, values and lists away, and give them an address that is nobody's (FACTS 8.7)."""
        del self.people[person(who.email)]
        who.email = f"\\x{self._random.getrandbits(160):040x}@domain.invalid"
        who.name, who.updated_at = "Anonymized", now
        who.properties.clear()
        who.lists.clear()
        self.people[person(who.email)] = who

    def create_list(self, name: str, now: str) -> EmulatedList:
        """Create a list; its address is nine letters and digits, and may begin with a capital (FACTS 8.1)."""
        address = self._random.choice(string.ascii_letters) + "".join(self._random.choices(_SMALL, k=8))
        made = EmulatedList(id=len(self.lists) + 1, name=name, address=address, created=now)
        self.lists[made.id] = made
        return made

    def find_list(self, which: str | int) -> EmulatedList | None:
        """Find a list by ID or address (documented), deleted or not."""
        if isinstance(which, int):
            return self.lists.get(which)
        wanted = which.casefold()
        return next((found for found in self.lists.values() if found.address.casefold() == wanted), None)

    def usable_list(self, which: str | int | None) -> EmulatedList | None:
        """Find a list by ID or address, unless it is deleted."""
        found = None if which is None else self.find_list(which)
        return None if found is None or found.deleted else found

    def members(self, list_id: int) -> int:
        """Count the people who are subscribed to a list."""
        return sum(list_id in who.lists and not who.lists[list_id].unsubscribed for who in self.people.values())

    def create_property(self, name: str, datatype: str = "str", namespace: str = "static") -> EmulatedProperty:
        """Create a property. The caller has checked that its name is new."""
        made = EmulatedProperty(id=self._next_property, name=name, datatype=datatype, namespace=namespace)
        self._next_property += 1
        self.properties[name.casefold()] = made
        return made

    def delete_property(self, which: EmulatedProperty) -> None:
        """Delete a property and all its values (documented: FACTS 8.2)."""
        del self.properties[which.name.casefold()]
        for who in self.people.values():
            who.properties.pop(which.name, None)

    def rename_property(self, which: EmulatedProperty, name: str) -> None:
        """Rename a property; its values keep. The caller has checked that the name is new."""
        del self.properties[which.name.casefold()]
        for who in self.people.values():
            if which.name in who.properties:
                who.properties[name] = who.properties.pop(which.name)
        which.name = name
        self.properties[name.casefold()] = which
