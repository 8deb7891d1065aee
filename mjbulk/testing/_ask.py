"""One request as the handlers see it, and how they refuse it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import orjson

from mjbulk.testing._answers import NOT_JSON_HINT, EmulatedAnswer, Writer, error, invalid, no_property, not_found
from mjbulk.testing._fpjson import shown
from mjbulk.testing._routes import Route
from mjbulk.testing._rules import SUBSCRIPTION_ACTIONS, fold_keys, whole_number
from mjbulk.testing._state import EmulatedAccount, EmulatedList, Person
from mjbulk.testing._world import World


class Refused(Exception):
    """Raised by a handler: the request gets this answer and has no effect."""

    def __init__(self, answer: EmulatedAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@attrs.frozen
class Ask:
    """What a handler needs to know of a request."""

    world: World
    key: str
    method: str
    route: Route
    query: Mapping[str, str] = attrs.field(factory=dict)
    """Names in lower case. If a parameter is repeated, its first value counts (documented: FACTS 9.8)."""
    body: bytes = attrs.field(default=b"", repr=False)

    @property
    def account(self) -> EmulatedAccount:
        """The account of the caller's API key."""
        return self.world.account(self.key)

    @property
    def writer(self) -> Writer:
        """The form of the answer."""
        return Writer(self.world.knobs.numbers_as_strings)

    def json(self, names: Iterable[str]) -> dict[str, Any]:
        """Read the body as a JSON object, and give its keys the case of ``names``.

        Raises Refused for anything else; the text after the hint is a guess.
        """
        try:
            body = orjson.loads(self.body)
        except ValueError as problem:
            raise Refused(error(400, f"{NOT_JSON_HINT}{problem}")) from None
        if not isinstance(body, dict):
            raise Refused(error(400, f"{NOT_JSON_HINT}expected an object"))
        return fold_keys(body, names)

    def fields(self, names: Iterable[str], kind: str) -> dict[str, Any]:
        """Read the body as a JSON object of the class ``kind``; any other key is refused (observed: FACTS 9.3)."""
        body = self.json(known := tuple(names))
        strange = next((name for name in body if name not in known), None)
        if strange is not None:
            raise Refused(no_property(strange, kind))
        return body

    def known_list(self, *, deleted: bool = False) -> EmulatedList:
        """Find the list in the path, by ID or address; Refused with a 404 if there is none."""
        which = list_key(self.route.id)
        found = self.account.find_list(which) if deleted else self.account.usable_list(which)
        if found is None:
            raise Refused(not_found())
        return found

    def known_person(self) -> Person:
        """Find the contact in the path, by ID or address; Refused with a 404 if there is none."""
        found = self.account.find(list_key(self.route.id))
        if found is None:
            raise Refused(not_found())
        return found

    def subscriptions(self, given: Any) -> list[tuple[int, str]]:
        """Read list IDs and actions from ContactsLists. One wrong item refuses them all (recorded: FACTS 8.6)."""
        if not isinstance(given, list):
            raise Refused(invalid({"ContactsLists": "MJ08 Property ContactsLists is invalid"}))
        items = [fold_keys(item, ("ListID", "Action")) if isinstance(item, dict) else {} for item in given]
        wrong = [{**item, "Error": why} for item in items if (why := self._wrong(item))]
        if wrong and self.world.knobs.list_errors == "message":
            raise Refused(error(400, {"ContactsLists": wrong}))
        if wrong:
            raise Refused(invalid({"ContactsLists": wrong}))
        return [(whole_number(item["ListID"]) or 0, item["Action"].casefold()) for item in items]

    def _wrong(self, item: Mapping[str, Any]) -> str:
        """Say what is wrong with an item. The text about a list is recorded; the one about an action is recorded on a
        similar call.
        """
        given, action = item.get("ListID", ""), item.get("Action", "")
        documented = self.world.knobs.list_errors == "message"
        if self.account.usable_list(whole_number(given)) is None:
            return "listID missing or not valid" if documented else f"List ID {shown(given)} is invalid or deleted"
        if not is_action(action):
            return "action missing or not valid" if documented else f"Invalid action: {shown(action)}"
        return ""


Handler = Callable[[Ask], EmulatedAnswer]
Handlers = dict[str, dict[str, Handler]]


def list_key(text: str) -> int | str:
    """Read an ID if the text is a number; otherwise keep it as an address."""
    number = whole_number(text)
    return text if number is None else number


def is_action(word: Any) -> bool:
    """Tell whether this is one of the four actions on a list."""
    return isinstance(word, str) and word.casefold() in SUBSCRIPTION_ACTIONS
