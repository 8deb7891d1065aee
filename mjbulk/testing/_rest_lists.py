"""contactslist and contactmetadata."""

from typing import Any

from mjbulk.testing._answers import EmulatedAnswer, deleted, error, invalid, not_found, unchanged
from mjbulk.testing._ask import Ask, Handlers, Refused, list_key
from mjbulk.testing._fpjson import shown
from mjbulk.testing._paging import Listing, differs, equals, is_true, page
from mjbulk.testing._rules import DATATYPES, truth
from mjbulk.testing._state import EmulatedList, EmulatedProperty

_LIST_KEYS = ("Name", "IsDeleted", "Address", "CreatedAt", "ID", "SubscriberCount")
_PROPERTY_KEYS = ("Datatype", "ID", "Name", "NameSpace")
_EMPTY_NAME = "MJ08 Property Name is invalid: MJ04 Value must have at least length 1"
_LISTS = Listing(
    filters={
        "address": equals("Address"),
        "name": equals("Name"),
        "isdeleted": is_true("IsDeleted"),
        "excludeid": differs("ID"),
        "id": equals("ID"),  # a guess: the metadata does not have it, and plugins of Mailjet's use it
    },
    sorts={"ID": True, "IsDeleted": True, "Name": True, "CreatedAt": True},
)
_PROPERTIES = Listing(
    filters={"datatype": equals("Datatype"), "namespace": equals("NameSpace")}, sorts={"ID": True, "Name": True}
)


def _list_row(ask: Ask, item: EmulatedList) -> dict[str, Any]:
    return {
        "Address": item.address,
        "CreatedAt": item.created,
        "ID": item.id,
        "IsDeleted": item.deleted,
        "Name": item.name,
        "SubscriberCount": ask.account.members(item.id),
    }


def read_lists(ask: Ask) -> EmulatedAnswer:
    """Answer GET contactslist[/{ID or address}]; a deleted list can still be read (FACTS 8.1)."""
    if ask.route.id:
        return ask.writer.data([_list_row(ask, ask.known_list(deleted=True))])
    rows = (_list_row(ask, item) for item in ask.account.lists.values())
    return page(rows, ask.query, ask.writer, _LISTS)


def create_list(ask: Ask) -> EmulatedAnswer:
    """Answer POST contactslist. The refusal of an empty name is recorded. Addresses are unique (documented), names are
    not.
    """
    body = ask.fields(_LIST_KEYS, "TContactsList")
    name, gone = _name(body, ""), _is_deleted(body, default=False)
    made = ask.account.create_list(name, ask.world.stamp())
    made.deleted = gone
    return ask.writer.data([_list_row(ask, made)], status=201)


def change_list(ask: Ask) -> EmulatedAnswer:
    """Answer PUT contactslist/{ID or address}, which renames, deletes and restores (documented: FACTS 8.1)."""
    item = ask.known_list(deleted=True)
    body = ask.fields(_LIST_KEYS, "TContactsList")
    name, gone = _name(body, item.name), _is_deleted(body, default=item.deleted)
    if (name, gone) == (item.name, item.deleted):
        return unchanged()
    item.name, item.deleted = name, gone
    return ask.writer.data([_list_row(ask, item)])


def delete_list(ask: Ask) -> EmulatedAnswer:
    """Answer DELETE contactslist/{ID or address}: 204, and the list can still be read (recorded)."""
    ask.known_list().deleted = True
    return deleted()


def _is_deleted(body: dict[str, Any], *, default: bool) -> bool:
    given = body.get("IsDeleted")
    gone = default if given is None else truth(given)
    if gone is None:
        raise Refused(invalid(f"MJ08 Property IsDeleted is invalid: {shown(given)}"))
    return gone


def _property_row(item: EmulatedProperty) -> dict[str, Any]:
    return {"Datatype": item.datatype, "ID": item.id, "Name": item.name, "NameSpace": item.namespace}


def read_properties(ask: Ask) -> EmulatedAnswer:
    """Answer GET contactmetadata[/{ID or Namespace|Name}], in pages."""
    if ask.route.id:
        return ask.writer.data([_property_row(_known(ask))])
    return page(map(_property_row, ask.account.properties.values()), ask.query, ask.writer, _PROPERTIES)


def create_property(ask: Ask) -> EmulatedAnswer:
    """Answer POST contactmetadata. A known name gives a 400, as observed on other resources; the text is modelled on
    theirs.
    """
    body, account = ask.fields(_PROPERTY_KEYS, "TContactMetaData"), ask.account
    name, space = _name(body, ""), shown(body.get("NameSpace")) or "static"
    _refuse_known(ask, name, space)
    limit = ask.world.knobs.property_limit
    if len(account.properties) + 2 > limit:
        raise Refused(error(400, f"Number of contact properties exceeds the limit of {limit}"))
    made = account.create_property(name, _datatype(body, "str"), space)
    return ask.writer.data([_property_row(made)], status=201)


def change_property(ask: Ask) -> EmulatedAnswer:
    """Answer PUT contactmetadata/{ID}, which changes name and type; stored values stay (documented: FACTS 8.2)."""
    item = _known(ask)
    body = ask.fields(_PROPERTY_KEYS, "TContactMetaData")
    name, datatype = _name(body, item.name), _datatype(body, item.datatype)
    if (name, datatype) == (item.name, item.datatype):
        return unchanged()
    if name.casefold() != item.name.casefold():
        _refuse_known(ask, name, item.namespace)
    ask.account.rename_property(item, name)
    item.datatype = datatype
    return ask.writer.data([_property_row(item)])


def _refuse_known(ask: Ask, name: str, space: str) -> None:
    if name.casefold() in ask.account.properties:
        text = f'MJ18 A ContactMetadata resource with value "{space}|{name}" for Namespace|Name already exists.'
        raise Refused(error(400, text))


def _name(body: dict[str, Any], default: str) -> str:
    name = body.get("Name", default)
    if not name or not isinstance(name, str):
        raise Refused(invalid(_EMPTY_NAME))
    return name


def delete_property(ask: Ask) -> EmulatedAnswer:
    """Answer DELETE contactmetadata/{ID}: 204, and the values are deleted too (documented: FACTS 8.2)."""
    ask.account.delete_property(_known(ask))
    return deleted()


def _datatype(body: dict[str, Any], default: str) -> str:
    given = body.get("Datatype", default)
    if given not in DATATYPES:
        raise Refused(invalid(f"MJ08 Property Datatype is invalid: {shown(given)}"))
    return str(given)


def _known(ask: Ask) -> EmulatedProperty:
    which = list_key(ask.route.id)
    for item in ask.account.properties.values():
        if which == item.id or str(which).casefold() == f"{item.namespace}|{item.name}".casefold():
            return item
    raise Refused(not_found())


LIST_ROUTES: Handlers = {
    "contactslist": {"GET": read_lists, "POST": create_list, "PUT": change_list, "DELETE": delete_list},
    "contactmetadata": {
        "GET": read_properties,
        "POST": create_property,
        "PUT": change_property,
        "DELETE": delete_property,
    },
}
