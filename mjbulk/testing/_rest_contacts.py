"""contact, its subscriptions, contactdata and listrecipient."""

from typing import Any

from mjbulk.testing._answers import EmulatedAnswer, error, invalid, no_property, unchanged
from mjbulk.testing._ask import Ask, Handlers, Refused, is_action
from mjbulk.testing._import_json import set_properties
from mjbulk.testing._paging import equals, is_true, page
from mjbulk.testing._rules import BAD_ADDRESS, BAD_TYPE, NO_ADDRESS, convert, is_address, truth, whole_number
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
        "LastActivityAt": "",
        "LastUpdateAt": "",
        "Name": who.name,
        "UnsubscribedAt": "",
        "UnsubscribedBy": "",
    }


def read_contacts(ask: Ask) -> EmulatedAnswer:
    """Answer GET contact[/{ID or address}]."""
    if ask.route.id:
        return ask.writer.data([_row(ask.known_person())])
    people = list(ask.account.people.values())
    wanted = whole_number(ask.query.get("contactslist"))
    if wanted is not None:
        people = [who for who in people if wanted in who.lists]
    filters = {"email": equals("Email"), "isexcludedfromcampaigns": is_true("IsExcludedFromCampaigns")}
    return page(
        map(_row, people), ask.query, ask.writer, filters=filters, sorts=("ID", "Email", "DeliveredCount", "CreatedAt")
    )


def create_contact(ask: Ask) -> EmulatedAnswer:
    """Answer POST contact; the refusal of a known address is recorded (FACTS 8.4)."""
    if ask.route.id:
        return error(405, "Method not allowed")
    body = _fields(ask)
    email: Any = body.get("Email")
    if not is_address(email):
        raise Refused(invalid(f"MJ08 Property Email is invalid: {BAD_ADDRESS}" if email else NO_ADDRESS))
    if ask.account.find(email):
        raise Refused(error(400, f'MJ18 A Contact resource with value "{email}" for Email already exists.'))
    who = ask.account.person(email, ask.world.stamp())
    _change(ask, who, body)
    return ask.writer.data([_row(who)], status=201)


def change_contact(ask: Ask) -> EmulatedAnswer:
    """Answer PUT contact/{ID or address}, which acts like a patch (documented): 304 if nothing changes (FACTS 8.5)."""
    who = ask.known_person()
    return ask.writer.data([_row(who)]) if _change(ask, who, _fields(ask)) else unchanged()


def _fields(ask: Ask) -> dict[str, Any]:
    body = ask.json((*_WRITABLE, *_READ_ONLY))
    for name in body:
        if name in _READ_ONLY:
            raise Refused(invalid(f'MJ19 Setting a value for property "{name}" is not allowed'))
        if name not in _WRITABLE:
            raise Refused(no_property(name, "TContact"))
    return body


def _change(ask: Ask, who: Person, body: dict[str, Any]) -> bool:
    before = (who.name, who.excluded)
    excluded = body.get("IsExcludedFromCampaigns", who.excluded)
    if (value := truth(excluded)) is None:
        raise Refused(invalid(f"MJ08 Property IsExcludedFromCampaigns is invalid: {excluded}"))
    who.exclude(value, ask.world.stamp())
    who.name = str(body.get("Name", who.name))
    return before != (who.name, who.excluded)


def manage_lists(ask: Ask) -> EmulatedAnswer:
    """Answer POST contact/{ID or address}/managecontactslists: do all actions, or give a 400 that names the wrong ones
    (recorded).

    It is not recorded whether the answer is 200 or 201.
    """
    who = ask.known_person()
    actions = ask.subscriptions(ask.json(("ContactsLists",)).get("ContactsLists"))
    for list_id, action in actions:
        who.act(list_id, action, ask.world.stamp())
    echo = [{"ListID": list_id, "Action": action} for list_id, action in actions]
    return ask.writer.data([{"ContactsLists": echo}], status=201)


def read_lists(ask: Ask) -> EmulatedAnswer:
    """Answer GET contact/{ID or address}/getcontactslists. That it has pages, as a resource has, is a guess."""
    who = ask.known_person()
    rows = [
        {"IsActive": True, "IsUnsub": word == "unsub", "ListID": list_id, "SubscribedAt": who.subscribed_at[list_id]}
        for list_id, word in who.lists.items()
    ]
    return page(rows, ask.query, ask.writer, sorts=())


def read_data(ask: Ask) -> EmulatedAnswer:
    """Answer GET contactdata[/{ID or address}]."""
    if ask.route.id:
        return ask.writer.data([_data_row(ask.known_person())])
    return page(map(_data_row, ask.account.people.values()), ask.query, ask.writer)


def change_data(ask: Ask) -> EmulatedAnswer:
    """Answer PUT contactdata/{ID or address} with a list of names and values."""
    who = ask.known_person()
    values: dict[str, Any] = {}
    given = ask.json(("Data",)).get("Data")
    for item in given if isinstance(given, list) else []:
        name, value = str(item.get("Name", "")), item.get("Value")
        defined = ask.account.properties.get(name.casefold())
        if defined is None:
            raise Refused(error(400, f'Invalid key name: "{name}"'))
        try:
            values[defined.name] = None if value is None else convert(value, defined.datatype)
        except ValueError:
            raise Refused(invalid(BAD_TYPE)) from None
    set_properties(who, values)
    return ask.writer.data([_data_row(who)])


def _data_row(who: Person) -> dict[str, Any]:
    data = [{"Name": name, "Value": _text(value)} for name, value in who.properties.items()]
    return {"ContactID": who.id, "Data": data, "ID": who.id, "MethodCollection": ""}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def manage_contact(ask: Ask) -> EmulatedAnswer:
    """Answer POST contactslist/{ID}/managecontact, which changes one contact at once; the refusals are recorded."""
    wanted = ask.known_list()
    body = ask.json(("Email", "Name", "Action", "Properties"))
    email, action = body.get("Email"), body.get("Action", "")
    wrong = {} if is_address(email) else {"Email": NO_ADDRESS}
    if not is_action(action):
        wrong["Action"] = f"Invalid action: {action}"
    if wrong:
        raise Refused(invalid(wrong))
    properties = _managed_properties(ask, body.get("Properties"))
    who = ask.account.person(str(email), ask.world.stamp())
    who.name = str(body.get("Name", who.name))
    set_properties(who, properties)
    who.act(wanted.id, action.casefold(), ask.world.stamp())
    row = {"ContactID": who.id, "Email": who.email, "Action": action, "Name": who.name, "Properties": who.properties}
    return ask.writer.data([row], status=201)


def _managed_properties(ask: Ask, given: Any) -> dict[str, Any]:
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
    if wrong:
        raise Refused(invalid({"Properties": wrong}))
    return values


def read_recipients(ask: Ask) -> EmulatedAnswer:
    """Answer GET listrecipient: one row for each subscription, without the address (recorded)."""
    lists = ask.account.lists
    pairs = ((who, n) for who in ask.account.people.values() for n in who.lists)
    rows = (
        {
            "ContactID": who.id,
            "ID": who.id * 1000 + number,
            "IsActive": True,
            "IsUnsubscribed": who.lists[number] == "unsub",
            "ListID": number,
            "ListName": lists[number].name,
            "SubscribedAt": who.subscribed_at[number],
            "UnsubscribedAt": "",
        }
        for who, number in pairs
    )
    filters = {
        "contact": equals("ContactID"),
        "contactslist": equals("ListID"),
        "listname": equals("ListName"),
        "unsub": is_true("IsUnsubscribed"),
    }
    return page(rows, ask.query, ask.writer, filters=filters)


CONTACT_ROUTES: Handlers = {
    "contact": {"GET": read_contacts, "POST": create_contact, "PUT": change_contact},
    "contact/managecontactslists": {"POST": manage_lists},
    "contact/getcontactslists": {"GET": read_lists},
    "contactdata": {"GET": read_data, "PUT": change_data},
    "contactslist/managecontact": {"POST": manage_contact},
    "listrecipient": {"GET": read_recipients},
}
