"""listrecipient: who is on which list."""

from typing import Any

from mjbulk.testing._answers import (
    EmulatedAnswer,
    deleted,
    error,
    invalid,
    member_not_allowed,
    method_not_allowed,
    not_found,
    unchanged,
)
from mjbulk.testing._ask import Ask, Handlers, Refused
from mjbulk.testing._fpjson import shown
from mjbulk.testing._paging import Listing, equals, is_true, page
from mjbulk.testing._people import UNPLAYED, chosen
from mjbulk.testing._rules import truth, whole_number
from mjbulk.testing._state import Person

_LISTING = Listing(
    filters={
        "active": is_true("IsActive"),
        "contact": equals("ContactID"),
        "contactslist": equals("ListID"),
        "listname": equals("ListName"),
        "unsub": is_true("IsUnsubscribed"),
    },
    unplayed=(*UNPLAYED, "blocked", "ignoredeleted", "opened", "style"),
    sorts={"ID": False},
)
_CONTACT, _LIST = ("ContactID", "Contact", "ContactALT"), ("ListID", "List", "ListALT")
_READ_ONLY = ("ID", "ListName", "SubscribedAt", "UnsubscribedAt")
_MEMBERS = (*_CONTACT, *_LIST, *_READ_ONLY, "IsActive", "IsUnsubscribed")


def read_recipients(ask: Ask) -> EmulatedAnswer:
    """Answer GET listrecipient[/{ID}]: one row for each subscription, without the address (recorded)."""
    if ask.route.id:
        return ask.writer.data([_row(ask, *_known(ask))])
    people = chosen(ask, address="contactemail")
    return page((_row(ask, who, n) for who in people for n in who.lists), ask.query, ask.writer, _LISTING)


def create_recipient(ask: Ask) -> EmulatedAnswer:
    """Answer POST listrecipient (documented); the texts of its refusals are observed (FACTS 8.9)."""
    body = ask.fields(_MEMBERS, "TListRecipient")
    who, number = _contact(ask, body), _list(ask, body)
    unsubscribed = _flag(body, "IsUnsubscribed", default=False)
    _refuse_inactive(body)
    if number in who.lists:
        raise Refused(error(400, "A duplicate ListRecipient already exists."))
    who.act(number, "unsub" if unsubscribed else "addforce", ask.world.stamp())
    return ask.writer.data([_row(ask, who, number)], status=201)


def change_recipient(ask: Ask) -> EmulatedAnswer:
    """Answer PUT listrecipient/{ID}: it subscribes or unsubscribes (documented). UnsubscribedAt may not be sent back
    (observed: FACTS 8.9).
    """
    who, number = _known(ask)
    body = ask.fields(_MEMBERS, "TListRecipient")
    if "UnsubscribedAt" in body:
        raise Refused(member_not_allowed("UnsubscribedAt"))
    _refuse_inactive(body)
    before = who.lists[number].unsubscribed
    unsubscribed = _flag(body, "IsUnsubscribed", default=before)
    if unsubscribed == before:
        return unchanged()
    who.act(number, "unsub" if unsubscribed else "addforce", ask.world.stamp())
    return ask.writer.data([_row(ask, who, number)])


def delete_recipient(ask: Ask) -> EmulatedAnswer:
    """Answer DELETE listrecipient/{ID}: 204; without an ID 405 (observed: FACTS 8.9)."""
    if not ask.route.id:
        return method_not_allowed()
    who, number = _known(ask)
    who.act(number, "remove", ask.world.stamp())
    return deleted()


def _known(ask: Ask) -> tuple[Person, int]:
    wanted = whole_number(ask.route.id)
    pairs = ((who, n) for who in ask.account.people.values() for n, one in who.lists.items() if one.id == wanted)
    found = next(pairs, None)
    if found is None:
        raise Refused(not_found())
    return found


def _given(body: dict[str, Any], names: tuple[str, ...]) -> Any:
    given = next((body[name] for name in names if body.get(name)), None)
    if given is None:
        raise Refused(invalid(f"MJ08 Property {names[1]} is invalid: MJ03 A non-empty value is required"))
    return given


def _unresolved(name: str, given: Any) -> Refused:
    return Refused(
        error(400, f'Property "{name}", alternate key value "{shown(given)}" could not be resolved to an ID')
    )


def _contact(ask: Ask, body: dict[str, Any]) -> Person:
    given = _given(body, _CONTACT)
    number = whole_number(given)
    found = ask.account.find(shown(given) if number is None else number)
    if found is None:
        raise _unresolved("Contact", given)
    return found


def _list(ask: Ask, body: dict[str, Any]) -> int:
    given = _given(body, _LIST)
    number = whole_number(given)
    found = ask.account.usable_list(shown(given) if number is None else number)
    if found is None:
        raise _unresolved("List", given)
    return found.id


def _flag(body: dict[str, Any], name: str, *, default: bool) -> bool:
    given = body.get(name)
    value = default if given is None else truth(given)
    if value is None:
        raise Refused(invalid(f"MJ08 Property {name} is invalid: {shown(given)}"))
    return value


def _refuse_inactive(body: dict[str, Any]) -> None:
    if not _flag(body, "IsActive", default=True):
        raise Refused(invalid("The emulator plays no recipients that are not active"))


def _row(ask: Ask, who: Person, number: int) -> dict[str, Any]:
    here = who.lists[number]
    return {
        "ContactID": who.id,
        "ID": here.id,
        "IsActive": True,
        "IsUnsubscribed": here.unsubscribed,
        "ListID": number,
        "ListName": ask.account.lists[number].name,
        "SubscribedAt": here.subscribed_at,
        "UnsubscribedAt": here.unsubscribed_at,
    }


RECIPIENT_ROUTES: Handlers = {
    "listrecipient": {
        "GET": read_recipients,
        "POST": create_recipient,
        "PUT": change_recipient,
        "DELETE": delete_recipient,
    }
}
