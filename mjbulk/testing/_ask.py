"""One request on its way through the handlers, and the ways to refuse it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import orjson

from mjbulk.testing._answers import NOT_JSON_HINT, Answer, Writer, error, invalid, not_found
from mjbulk.testing._routes import Route
from mjbulk.testing._rules import SUBSCRIPTION_ACTIONS, fold_keys, whole_number
from mjbulk.testing._state import Account, EmulatedList, Person
from mjbulk.testing._world import World


class Refused(Exception):
    """The request gets this answer and has no effect."""

    def __init__(self, answer: Answer) -> None:
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
    """Names in lower case; of a repeated parameter the first (documented)."""
    body: bytes = attrs.field(default=b"", repr=False)

    @property
    def account(self) -> Account:
        """The account of the caller's API key."""
        return self.world.account(self.key)

    @property
    def writer(self) -> Writer:
        """The form of the answer."""
        return Writer(self.world.knobs.numbers_as_strings)

    def json(self, names: Iterable[str]) -> dict[str, Any]:
        """The body as an object whose keys have the case of ``names``; the text after the hint is a guess."""
        try:
            body = orjson.loads(self.body)
        except ValueError as problem:
            raise Refused(error(400, f"{NOT_JSON_HINT}{problem}")) from None
        if not isinstance(body, dict):
            raise Refused(error(400, f"{NOT_JSON_HINT}expected an object"))
        return fold_keys(body, names)

    def known_list(self, *, deleted: bool = False) -> EmulatedList:
        """The list in the path, by ID or address."""
        which = list_key(self.route.id)
        found = self.account.find_list(which) if deleted else self.account.usable_list(which)
        if found is None:
            raise Refused(not_found())
        return found

    def known_person(self) -> Person:
        """The contact in the path, by ID or address."""
        found = self.account.find(list_key(self.route.id))
        if found is None:
            raise Refused(not_found())
        return found

    def subscriptions(self, given: Any) -> list[tuple[int, str]]:
        """List IDs and actions out of ContactsLists; refuses all of it when one is wrong (recorded)."""
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
        """The text of the list is recorded; that of the action is, on a sibling."""
        given, action = item.get("ListID", ""), item.get("Action", "")
        documented = self.world.knobs.list_errors == "message"
        if self.account.usable_list(whole_number(given)) is None:
            return "listID missing or not valid" if documented else f"List ID {given} is invalid or deleted"
        if not is_action(action):
            return "action missing or not valid" if documented else f"Invalid action: {action}"
        return ""


Handler = Callable[[Ask], Answer]
Handlers = dict[str, dict[str, Handler]]


def list_key(text: str) -> int | str:
    """An ID where it is one, else an address."""
    number = whole_number(text)
    return text if number is None else number


def is_action(word: Any) -> bool:
    """Whether this is one of the four actions on a list."""
    return isinstance(word, str) and word.casefold() in SUBSCRIPTION_ACTIONS
