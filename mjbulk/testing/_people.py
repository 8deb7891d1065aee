"""Which people a list of contacts, of their values or of their subscriptions is about: filters that those share."""

from collections.abc import Callable

from mjbulk.testing._answers import error
from mjbulk.testing._ask import Ask, Refused
from mjbulk.testing._paging import Row, read_flag
from mjbulk.testing._rules import person, whole_number
from mjbulk.testing._state import Person

UNPLAYED = ("campaign", "lastactivityat", "status")
"""Filters that contact, contactdata and listrecipient have, and that the emulator does not play."""


def chosen(ask: Ask, *, address: str) -> list[Person]:
    """Give the people that the query asks for; ``address`` is the name of the filter for their e-mail address."""
    query, people = ask.query, list(ask.account.people.values())
    if address in query:
        found = ask.account.people.get(person(query[address]))
        people = [] if found is None else [found]
    if "contactslist" in query:
        wanted = whole_number(query["contactslist"])
        people = [who for who in people if wanted in who.lists]
    if "isexcludedfromcampaigns" in query:
        excluded = _flag(query["isexcludedfromcampaigns"])
        people = [who for who in people if who.excluded == excluded]
    return people


def _flag(text: str) -> bool:
    try:
        return read_flag(text)
    except ValueError as problem:
        raise Refused(error(400, f"Unexpected error during GET: {problem}")) from None


def is_unsubscribed(text: str) -> Callable[[Row], bool]:
    """Make the filter IsUnsubscribed of contacts, which is true for nobody: it asks for a time that Mailjet does not
    set any more (observed: FACTS 9.8).
    """
    wanted = read_flag(text)
    return lambda _: not wanted
