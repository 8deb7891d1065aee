"""From paths to names of routes. Resources and actions are matched without case (observed: FACTS 1.10)."""

import re
from urllib.parse import parse_qsl, unquote

import attrs

from mjbulk.testing._rules import whole_number

_TYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+")


@attrs.frozen
class Route:
    """Where a request goes: ``name`` is the resource, or resource/action, in lower case."""

    name: str
    id: str = ""
    """The object in the path: an ID, an address, ``Namespace|Name``."""
    extra: str = ""
    """The job in the path."""
    mime: str = ""
    """The type in a DATA path, as a Content-Type."""
    resource: str = ""
    """The resource as the caller wrote it."""
    api: str = "rest"
    """``rest``, ``data`` or ``v4``."""


def parse_route(raw_path: str) -> Route | None:
    """Read the route of a path, and ignore its query; give None if the API has no such version.

    Segments are decoded one by one, so that a ``%2F`` does not split one.
    """
    segments = [unquote(part) for part in raw_path.partition("?")[0].strip("/").split("/")]
    if segments[0] == "v4":
        return _v4(segments[1:])
    if segments[0] != "v3":
        return None
    api = segments[1].casefold() if len(segments) > 1 else ""
    rest = segments[2:] + [""] * 5
    if api == "rest":
        return _rest(rest)
    if api == "data":
        return _data(rest)
    return Route("unknown", resource=segments[-1])


def _rest(parts: list[str]) -> Route:
    resource, who, action, extra = parts[:4]
    name = resource.casefold()
    if name == "contact" and who.casefold() == "managemanycontacts":
        return Route("contact/managemanycontacts", extra=action, resource=resource)
    if action:
        return Route(f"{name}/{action.casefold()}", who, extra, resource=resource)
    return Route(name, who, resource=resource)


def _data(parts: list[str]) -> Route:
    resource, who, kind, mime, last = parts[:5]
    name = f"{resource.casefold()}/{kind.casefold()}"
    read = mime.casefold().replace(":", "/")
    return Route(name, who, last.casefold(), read if _TYPE.fullmatch(read) else "", resource, "data")


def _v4(parts: list[str]) -> Route | None:
    """Read a path of version 4, of which contacts alone are played, and they by their numbers alone."""
    if len(parts) != 2 or parts[0] != "contacts" or whole_number(parts[1]) is None:
        return None
    return Route("v4/contacts", parts[1], api="v4")


def parse_query(raw_path: str) -> dict[str, str]:
    """Read the query of a path: names in lower case, of a repeated one the first value (documented: FACTS 9.8)."""
    query: dict[str, str] = {}
    for name, value in parse_qsl(raw_path.partition("?")[2], keep_blank_values=True):
        query.setdefault(name.casefold(), value)
    return query
