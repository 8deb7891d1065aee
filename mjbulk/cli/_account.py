"""``mjbulk lists`` and ``mjbulk properties``: show the lists and properties of the account, or create one."""

import json
from typing import Annotated, Literal

from cyclopts import Parameter

from mjbulk.cli._ends import DONE
from mjbulk.cli._options import AsJson, SettingsSaid, client_of
from mjbulk.cli._output import printable, say
from mjbulk.resources import ContactsList, Property
from mjbulk.terms import Datatype


async def lists(
    *,
    create: Annotated[str | None, Parameter(help="Make a list of this name, and show it.")] = None,
    as_json: AsJson = False,
    settings: SettingsSaid = None,
) -> int:
    """Show the lists of the account, or make one.

    A line each: ID, address, subscribers and name; with --json an object.

    Exit status: 0 shown or made; 2 refused; 3 no answer, or the result could not be written.
    """
    async with client_of(settings) as client:
        found = [await client.create_list(create)] if create is not None else [one async for one in client.lists()]
    for one in found:
        if not one.deleted:
            _show(one, ("id", "address", "subscribers", "name"), as_json=as_json)
    return DONE


async def properties(
    *,
    create: Annotated[str | None, Parameter(help="Make a property of this name, and show it.")] = None,
    datatype: Annotated[Datatype, Parameter(help="The type of the property that is made.")] = "str",
    namespace: Annotated[Literal["static", "historic"], Parameter(help="Its namespace.")] = "static",
    as_json: AsJson = False,
    settings: SettingsSaid = None,
) -> int:
    """Show the contact properties of the account, or make one.

    A line each: ID, datatype, namespace and name; with --json an object.

    Exit status: 0 shown or made; 2 refused; 3 no answer, or the result could not be written.
    """
    async with client_of(settings) as client:
        if create is not None:
            found = [await client.create_property(create, datatype, namespace=namespace)]
        else:
            found = [one async for one in client.properties()]
    for one in found:
        _show(one, ("id", "datatype", "namespace", "name"), as_json=as_json)
    return DONE


def _show(one: ContactsList | Property, names: tuple[str, ...], *, as_json: bool) -> None:
    row = {name: getattr(one, name) for name in names}
    say(json.dumps(row) if as_json else "\t".join(printable(str(value)) for value in row.values()))
