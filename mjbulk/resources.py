"""What an account has, as Mailjet shows it: lists, properties, contacts and their subscriptions."""

from datetime import datetime

import attrs
from attrs import frozen

from mjbulk.public import public


@public
@frozen(kw_only=True)
class ContactsList:
    """One list of the account."""

    id: int
    """Mailjet's number of the list."""
    name: str
    """Its name, which several lists may have."""
    address: str
    """The unique word by which Mailjet also knows the list."""
    subscribers: int | None = None
    """How many people are on it and have not unsubscribed; None if that is not known."""
    deleted: bool = False
    """Whether it is deleted."""
    created: datetime | None = None
    """When it was created; None if that is not known."""


@public
@frozen(kw_only=True)
class Property:
    """One contact property of the account."""

    id: int
    """Mailjet's number of the property."""
    name: str
    """Its name. Case does not matter."""
    datatype: str
    """``str``, ``int``, ``float``, ``bool`` or ``datetime``."""
    namespace: str = "static"
    """``static`` or ``historic``. Only static properties can be set in bulk."""


@public
@frozen(kw_only=True)
class Subscription:
    """One list that a contact is on."""

    list_id: int
    """Mailjet's number of the list."""
    active: bool | None = None
    """Whether the list is in use; None if that is not known."""
    unsubscribed: bool | None = None
    """Whether the contact has unsubscribed from it."""
    subscribed_at: datetime | None = None
    """When the contact was added; None if that is not known."""


@public
@frozen(kw_only=True)
class ContactInfo:
    """One contact of the account."""

    id: int
    """Mailjet's number of the contact."""
    email: str = attrs.field(repr=False)
    """The address."""
    name: str = attrs.field(default="", repr=False)
    """The contact's Name; empty if it has none."""
    excluded: bool | None = None
    """Whether the contact is on the exclusion list."""
    created: datetime | None = None
    """When it was created; None if that is not known."""
