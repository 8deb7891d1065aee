"""contact and its subscriptions."""

from collections.abc import Collection
from typing import Any

from mjbulk.testing._answers import (
    EmulatedAnswer,
    error,
    invalid,
    member_not_allowed,
    method_not_allowed,
    not_allowed,
    nothing_more,
    unchanged,
)
from mjbulk.testing._ask import Ask, Handlers, Refused
from mjbulk.testing._fpjson import shown
from mjbulk.testing._paging import Listing, page
from mjbulk.testing._people import UNPLAYED, chosen, is_unsubscribed
from mjbulk.testing._rules import BAD_ADDRESS, NO_ADDRESS, is_address, string, truth
from mjbulk.testing._state import Person

_WRITABLE = ("Email", "Name", "IsExcludedFromCampaigns")
_READ_ONLY = (
    "CreatedAt",
    "DeliveredCount",
    "ExclusionFromCampaignsUpdatedAt",
    "ID",
    "IsOptInPending",
    "IsSpamComplaining",
    "LastActivityAt",
    "LastUpdateAt",
    "UnsubscribedAt",
    "UnsubscribedBy",
)
_LISTING = Listing(
    filters={"isunsubscribed": is_unsubscribed},
    unplayed=UNPLAYED,
    sorts={"ID": False, "Email": True, "DeliveredCount": True, "CreatedAt": True},
)


def _row(who: Person) -> dict[str, Any]:
    return {
        "CreatedAt": who.created,
        "DeliveredCount": 0,
        "Email": who.email,
        "ExclusionFromCampaignsUpdatedAt": who.excluded_at,
        "ID": who.id,
        "IsExcludedFromCampaigns": who.excluded,
        "IsOptInPending": False,
        "IsSpamComplaining": False,
        "LastActivityAt": who.active_at,
        "LastUpdateAt": who.updated_at,
        "Name": who.name,
        "UnsubscribedAt": "",
        "UnsubscribedBy": "",
    }


def read_contacts(ask: Ask) -> EmulatedAnswer:
    """Answer GET contact[/{ID or address}]. The filter Email is a guess: the metadata does not have it."""
    if ask.route.id:
        return ask.writer.data([_row(ask.known_person())])
    return page(map(_row, chosen(ask, address="email")), ask.query, ask.writer, _LISTING)


def create_contact(ask: Ask) -> EmulatedAnswer:
    """Answer POST contact; the refusals of a known address and of members that cannot be set are observed (FACTS 8.4,
    9.5).
    """
    if ask.route.id:
        return method_not_allowed()
    body = ask.fields((*_WRITABLE, *_READ_ONLY), "TContact")
    _refuse_members(body, _READ_ONLY)
    email: Any = body.get("Email")
    if not is_address(email):
        raise Refused(invalid(f"MJ08 Property Email is invalid: {BAD_ADDRESS}" if email else NO_ADDRESS))
    if ask.account.find(email):
        raise Refused(error(400, f'MJ18 A Contact resource with value "{email}" for Email already exists.'))
    name, excluded = _wanted(body)
    who = ask.account.person(email, ask.world.stamp())
    who.name = name or ""
    who.exclude(bool(excluded), ask.world.stamp())
    return ask.writer.data([_row(who)], status=201)


def change_contact(ask: Ask) -> EmulatedAnswer:
    """Answer PUT contact/{ID or address}: it changes what it names, sets LastUpdateAt, and lets members pass that
    cannot be set (recorded: FACTS 8.4), except those that `Knobs.refused_members` names. 304 if nothing changes.
    """
    who = ask.known_person()
    body = ask.fields((*_WRITABLE, *_READ_ONLY), "TContact")
    _refuse_members(body, ask.world.knobs.refused_members)
    before = (who.name, who.excluded)
    name, excluded = _wanted(body)
    who.name = who.name if name is None else name
    who.exclude(who.excluded if excluded is None else excluded, ask.world.stamp())
    if before == (who.name, who.excluded):
        return unchanged()
    who.updated_at = ask.world.stamp()
    return ask.writer.data([_row(who)])


def refuse_contact(ask: Ask) -> EmulatedAnswer:
    """Answer DELETE contact, which nobody may do, whatever the keys (observed: FACTS 8.7)."""
    del ask
    return not_allowed("Operation not allowed")


def delete_contact(ask: Ask) -> EmulatedAnswer:
    """Answer DELETE /v4/contacts/{ID}: 200 and no body, for an unknown ID, too (recorded: FACTS 8.7).

    The contact is anonymous from then on (documented). That no list has it any more is a guess.
    """
    who = ask.account.people_by_id.get(int(ask.route.id))
    if who is not None:
        ask.account.make_anonymous(who, ask.world.stamp())
    return nothing_more(ask.world.guid())


def _refuse_members(body: dict[str, Any], refused: Collection[str]) -> None:
    name = next((name for name in body if name in refused), None)
    if name is not None:
        raise Refused(member_not_allowed(name))


def _wanted(body: dict[str, Any]) -> tuple[str | None, bool | None]:
    """Read the name and the exclusion; None for what is missing or null (that null is as missing is a guess)."""
    name, excluded = body.get("Name"), body.get("IsExcludedFromCampaigns")
    if name is not None and string(name) is None:
        raise Refused(invalid(f"MJ08 Property Name is invalid: {shown(name)}"))
    if excluded is not None and truth(excluded) is None:
        raise Refused(invalid(f"MJ08 Property IsExcludedFromCampaigns is invalid: {shown(excluded)}"))
    return string(name), truth(excluded)


def manage_lists(ask: Ask) -> EmulatedAnswer:
    """Answer POST contact/{ID or address}/managecontactslists: do all actions, or give a 400 that names the wrong ones
    (recorded).

    It is not recorded whether the answer is 200 or 201.
    """
    who = ask.known_person()
    actions = ask.subscriptions(ask.json(("ContactsLists",)).get("ContactsLists"))
    for list_id, action in actions:
        who.act(list_id, action, ask.world.stamp())
    echo = [{"Action": action, "ListID": list_id} for list_id, action in actions]
    return ask.writer.data([{"ContactsLists": echo}], status=201)


def read_lists(ask: Ask) -> EmulatedAnswer:
    """Answer GET contact/{ID or address}/getcontactslists. That it has pages, as a resource has, is a guess."""
    rows = [
        {"IsActive": True, "IsUnsub": here.unsubscribed, "ListID": list_id, "SubscribedAt": here.subscribed_at}
        for list_id, here in ask.known_person().lists.items()
    ]
    return page(rows, ask.query, ask.writer, Listing())


CONTACT_ROUTES: Handlers = {
    "contact": {"GET": read_contacts, "POST": create_contact, "PUT": change_contact, "DELETE": refuse_contact},
    "contact/managecontactslists": {"POST": manage_lists},
    "contact/getcontactslists": {"GET": read_lists},
}
V4_ROUTES: Handlers = {"v4/contacts": {"DELETE": delete_contact}}
