"""listrecipient: who is on which list."""

from typing import Any

from mjbulk.testing._answers import EmulatedAnswer, not_found
from mjbulk.testing._ask import Ask, Handlers, Refused
from mjbulk.testing._paging import Listing, equals, is_true, page
from mjbulk.testing._people import UNPLAYED, chosen
from mjbulk.testing._rules import whole_number
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


def read_recipients(ask: Ask) -> EmulatedAnswer:
    """Answer GET listrecipient[/{ID}]: one row for each subscription, without the address (recorded)."""
    if ask.route.id:
        wanted = whole_number(ask.route.id)
        rows = (_row(ask, who, n) for who in ask.account.people.values() for n in who.lists)
        found = next((row for row in rows if row["ID"] == wanted), None)
        if found is None:
            raise Refused(not_found())
        return ask.writer.data([found])
    people = chosen(ask, address="contactemail")
    return page((_row(ask, who, n) for who in people for n in who.lists), ask.query, ask.writer, _LISTING)


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


RECIPIENT_ROUTES: Handlers = {"listrecipient": {"GET": read_recipients}}
