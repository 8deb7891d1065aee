"""contactdata, and contactslist/managecontact, which writes one contact with its values."""

from collections.abc import Iterable
from typing import Any

from mjbulk.testing._answers import NOT_JSON_HINT, EmulatedAnswer, error, invalid
from mjbulk.testing._ask import Ask, Handlers, Refused, is_action
from mjbulk.testing._fpjson import shown
from mjbulk.testing._import_json import set_properties
from mjbulk.testing._paging import Listing, page
from mjbulk.testing._people import UNPLAYED, chosen, is_unsubscribed
from mjbulk.testing._rules import BAD_TYPE, NO_ADDRESS, convert, fold_keys, is_address, string
from mjbulk.testing._state import Person

_LISTING = Listing(
    filters={"isunsubscribed": is_unsubscribed},
    unplayed=(*UNPLAYED, "dateformat", "fields", "timezone"),
    sorts={"ID": False},
)


def read_data(ask: Ask) -> EmulatedAnswer:
    """Answer GET contactdata[/{ID or address}]."""
    if ask.route.id:
        return ask.writer.data([_row(ask.known_person())])
    return page(map(_row, chosen(ask, address="contactemail")), ask.query, ask.writer, _LISTING)


def change_data(ask: Ask) -> EmulatedAnswer:
    """Answer PUT contactdata/{ID or address} with a list of names and values. A null unassigns; that an entry without a
    Value is refused, and that LastUpdateAt is set, are guesses.
    """
    who = ask.known_person()
    given = ask.json(("Data",)).get("Data")
    if given is not None and not isinstance(given, list):
        raise Refused(error(400, f"{NOT_JSON_HINT}Data is not a list"))
    values = dict(_pair(ask, item) for item in given or ())
    set_properties(who, values)
    if values:
        who.updated_at = ask.world.stamp()
    return ask.writer.data([_row(who)])


def _pair(ask: Ask, item: Any) -> tuple[str, Any]:
    entry = fold_keys(item, ("Name", "Value")) if isinstance(item, dict) else {}
    if "Value" not in entry:
        raise Refused(error(400, f"{NOT_JSON_HINT}an entry of Data is no object with Name and Value"))
    name, value = shown(entry.get("Name")), entry["Value"]
    defined = ask.account.properties.get(name.casefold())
    if defined is None:
        raise Refused(error(400, f'Invalid key name: "{name}"'))
    try:
        return defined.name, None if value is None else convert(value, defined.datatype)
    except ValueError:
        raise Refused(invalid(BAD_TYPE)) from None


def _row(who: Person) -> dict[str, Any]:
    data = [{"Name": name, "Value": string(value)} for name, value in who.properties.items()]
    return {"ContactID": who.id, "Data": data, "ID": who.id, "MethodCollection": ""}


def manage_contact(ask: Ask) -> EmulatedAnswer:
    """Answer POST contactslist/{ID}/managecontact, which changes one contact at once; the refusals are recorded."""
    wanted = ask.known_list()
    body = ask.json(("Email", "Name", "Action", "Properties"))
    email, name, action = body.get("Email"), body.get("Name"), body.get("Action")
    _refuse(_wrong(email, name, action))
    properties = _properties(ask, body.get("Properties"))
    who = ask.account.person(str(email), now := ask.world.stamp())
    who.name = who.name if name is None else string(name) or ""
    set_properties(who, properties)
    who.touch(now)
    who.act(wanted.id, str(action).casefold(), now)
    row = {"ContactID": who.id, "Email": who.email, "Action": action, "Name": who.name, "Properties": who.properties}
    return ask.writer.data([row], status=201)


def _wrong(email: Any, name: Any, action: Any) -> Iterable[tuple[str, str]]:
    if not is_address(email):
        yield "Email", NO_ADDRESS
    if name is not None and string(name) is None:
        yield "Name", f"MJ08 Property Name is invalid: {shown(name)}"
    if not is_action(action):
        yield "Action", f"Invalid action: {shown(action)}"


def _properties(ask: Ask, given: Any) -> dict[str, Any]:
    """Convert Properties. A string is silently ignored (observed); errors are given for each property (documented)."""
    values: dict[str, Any] = {}
    wrong: list[dict[str, str]] = []
    for name, value in given.items() if isinstance(given, dict) else ():
        defined = ask.account.properties.get(name.casefold())
        if defined is None:
            wrong.append({name: "Property not defined"})
            continue
        try:
            values[defined.name] = None if value is None else convert(value, defined.datatype)
        except ValueError:
            wrong.append({name: BAD_TYPE})
    _refuse([("Properties", wrong)] if wrong else [])
    return values


def _refuse(wrong: Iterable[tuple[str, Any]]) -> None:
    if info := dict(wrong):
        raise Refused(invalid(info))


VALUE_ROUTES: Handlers = {
    "contactdata": {"GET": read_data, "PUT": change_data},
    "contactslist/managecontact": {"POST": manage_contact},
}
