"""``mjbulk subscriptions``: the lists of one contact."""

import json
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mjbulk.cli._ends import DONE
from mjbulk.cli._options import AsJson, SettingsSaid, client_of
from mjbulk.cli._output import printable, say, tell
from mjbulk.cli._source import NO_LISTS, Lists
from mjbulk.errors import ApiError

if TYPE_CHECKING:
    from mjbulk.resources import Subscription


async def subscriptions(
    contact: Annotated[str, Parameter(help="The contact's address or ID.")],
    /,
    *,
    lists: Lists = NO_LISTS,
    as_json: AsJson = False,
    settings: SettingsSaid = None,
) -> int:
    """Show the lists that a contact is on; with --list and --action do that first, and show these lists alone.

    It is one request: where one list is wrong, Mailjet does nothing.

    Exit status: 0 shown; 2 no such contact, or a list is wrong: nothing was done; 3 no answer, or the result could not
    be written.
    """
    who = int(contact) if contact.isascii() and contact.isdigit() else contact
    actions = lists.pairs() if lists.refs or lists.actions else None
    async with client_of(settings) as client:
        if actions is None:
            found = [one async for one in client.subscriptions(who)]
        else:
            try:
                found = [*await client.update_subscriptions(who, actions)]
            except ApiError as refusal:
                for list_id, text in refusal.lists.items():
                    tell(f"list {list_id}: {printable(text)}")
                raise
    for one in found:
        _show(one, as_json=as_json)
    return DONE


def _show(one: "Subscription", *, as_json: bool) -> None:
    since = one.subscribed_at.isoformat() if one.subscribed_at else None
    row = {"list": one.list_id, "active": one.active, "unsubscribed": one.unsubscribed, "subscribed_at": since}
    if as_json:
        say(json.dumps(row))
        return
    say(f"{one.list_id}\t{'unsubscribed' if one.unsubscribed else 'subscribed'}\t{since or ''}")
