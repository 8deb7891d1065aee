"""Answers before they meet HTTP: Mailjet's envelopes, and the pages of the proxy before it.

All bodies here are recorded, in spacing and order of keys, unless their function says otherwise. The reason phrase
of an error is its ErrorMessage (recorded).
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from mjbulk.testing._fpjson import render

JSON = "application/json"
NOT_JSON_HINT = "Invalid json input: "
_UNFIT = re.compile(r"[^\x20-\x7e]+")


@attrs.frozen
class Answer:
    """Status, body and headers of an answer; `connection` says whether the server hangs up instead."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    reason: str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    connection: Literal["keep", "close", "reset"] = "keep"


@attrs.frozen
class Writer:
    """Writes the JSON answers in the form that the knobs ask for."""

    as_strings: bool = False

    def data(self, rows: list[dict[str, Any]], *, status: int = 200, total: int | None = None) -> Answer:
        """The envelope of the REST API; Count and Total are the page's own unless ``total`` is given."""
        data = render(rows, as_strings=self.as_strings)
        count = len(rows) if total is None else total
        reason = {200: "OK", 201: "Created"}[status]
        return Answer(status, f'{{ "Count" : {count}, "Data" : {data}, "Total" : {count} }}'.encode(), reason=reason)


def error(status: int, message: Any, info: Any = "", *, content_type: str = JSON, identifier: str = "") -> Answer:
    """The standard payload; a 500 has an ErrorIdentifier before it."""
    payload: dict[str, Any] = {"ErrorIdentifier": identifier} if identifier else {}
    payload |= {"ErrorInfo": info, "ErrorMessage": message, "StatusCode": status}
    reason = _UNFIT.sub(" ", message if isinstance(message, str) else render(message)).strip()[:1000]
    return Answer(status, render(payload).encode(), content_type, reason)


def invalid(info: Any, message: str = "Object properties invalid") -> Answer:
    """A 400 about properties of the body."""
    return error(400, message, info)


def not_found() -> Answer:
    """No such object."""
    return error(404, "Object not found")


def source_not_found(content_type: str) -> Answer:
    """No such DATA object; the Content-Type is that of the path, though the body is JSON."""
    return error(404, "Source object not found", content_type=content_type)


def method_not_allowed() -> Answer:
    """The resource has no such method."""
    return error(405, "Method not allowed")


def wrong_path(name: str) -> Answer:
    """An unknown resource is a 500, not a 404."""
    answer = error(500, f'Could not determine HTTP module for request "{name}"', "EFPWebError")
    return attrs.evolve(answer, reason="Internal error")


def unchanged() -> Answer:
    """A PUT that changed nothing."""
    return Answer(304, reason="Content not changed")


def deleted() -> Answer:
    """A DELETE that worked."""
    return Answer(204, reason="No content")


def unauthorized() -> Answer:
    """Wrong credentials: no JSON, no body at all."""
    realm = {"WWW-Authenticate": 'Basic realm="Provide an apiKey and secretKey"'}
    return Answer(401, content_type="text/html", reason="Unauthorized", headers=realm)


def proxy_page(status: int, title: str, *, headers: Mapping[str, str] | None = None) -> Answer:
    """A page of the proxy, for 413 and 429 as users saw it; for 404 its form is a guess."""
    body = f"<html><body><h1>{status} {title}</h1></body></html>\r\n".encode()
    return Answer(status, body, "text/html", title, headers or {})


def reset() -> Answer:
    """No answer: the connection is reset."""
    return Answer(0, connection="reset")


def no_property(name: str, kind: str) -> Answer:
    """An unknown key on a single object is a hard 400."""
    return error(400, f'{NOT_JSON_HINT}object ""->"{kind}" has no property "{name}"')
