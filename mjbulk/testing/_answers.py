"""Answers before they become HTTP: Mailjet's envelopes, and the pages of the proxy in front of it.

Spacing and order of keys are recorded for every body here, unless the function says otherwise. The reason phrase of an
error is its ErrorMessage (recorded: FACTS 9.3).
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
class EmulatedAnswer:
    """Status, body and headers of an answer; `connection` says whether the server closes or resets the connection."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    reason: str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    connection: Literal["keep", "close", "reset"] = "keep"
    chunked: bool = False


@attrs.frozen
class Writer:
    """A writer of JSON answers in the form that the knobs ask for."""

    as_strings: bool = False

    def data(
        self, rows: list[dict[str, Any]], *, status: int = 200, count: int | None = None, total: int | None = None
    ) -> EmulatedAnswer:
        """Make the envelope of the REST API. Count and Total are the number of ``rows`` unless they are given."""
        data = render(rows, as_strings=self.as_strings)
        shown = len(rows) if count is None else count
        reason = {200: "OK", 201: "Created"}[status]
        body = f'{{ "Count" : {shown}, "Data" : {data}, "Total" : {shown if total is None else total} }}'
        return EmulatedAnswer(status, body.encode(), reason=reason)


def error(
    status: int, message: Any, info: Any = "", *, content_type: str = JSON, identifier: str = ""
) -> EmulatedAnswer:
    """Make the standard payload of an error; an ``identifier``, which a 500 has, comes first in it."""
    payload: dict[str, Any] = {"ErrorIdentifier": identifier} if identifier else {}
    payload |= {"ErrorInfo": info, "ErrorMessage": message, "StatusCode": status}
    reason = _UNFIT.sub(" ", message if isinstance(message, str) else render(message)).strip()[:1000]
    return EmulatedAnswer(status, render(payload).encode(), content_type, reason)


def invalid(info: Any, message: str = "Object properties invalid") -> EmulatedAnswer:
    """Make a 400 about properties of the body."""
    return error(400, message, info)


def not_found() -> EmulatedAnswer:
    """Make the 404 for an object that does not exist."""
    return error(404, "Object not found")


def source_not_found(content_type: str) -> EmulatedAnswer:
    """Make the 404 of the DATA API. Its Content-Type is that of the path, although the body is JSON."""
    return error(404, "Source object not found", content_type=content_type)


def method_not_allowed() -> EmulatedAnswer:
    """Make the 405 for a method that the resource does not have."""
    return error(405, "Method not allowed")


def wrong_path(name: str) -> EmulatedAnswer:
    """Make the answer for an unknown resource, which is a 500 and not a 404."""
    answer = error(500, f'Could not determine HTTP module for request "{name}"', "EFPWebError")
    return attrs.evolve(answer, body=answer.body + b"\n", reason="Internal error")


def not_allowed(message: str) -> EmulatedAnswer:
    """Make the 401 for what nobody may do, which has a body in JSON (observed: FACTS 9.5)."""
    return error(401, message)


def member_not_allowed(name: str) -> EmulatedAnswer:
    """Make the 401 for a member that may not be set (observed: FACTS 9.5)."""
    return not_allowed(f'Internal error: MJ19 Setting a value for property "{name}" is not allowed')


def unchanged() -> EmulatedAnswer:
    """Make the 304 of a PUT that changed nothing."""
    return EmulatedAnswer(304, reason="Content not changed")


def deleted() -> EmulatedAnswer:
    """Make the 204 of a DELETE that worked."""
    return EmulatedAnswer(204, reason="No content")


def nothing_more(guid: str) -> EmulatedAnswer:
    """Make the 200 without a body of version 4 (recorded: FACTS 8.7)."""
    headers = {"X-Mj-Request-Guid": guid}
    return EmulatedAnswer(200, content_type="application/json; charset=UTF-8", reason="OK", headers=headers)


def unauthorized() -> EmulatedAnswer:
    """Make the 401 for wrong credentials, which has no body and comes in chunks (recorded: FACTS 9.5)."""
    realm = {"WWW-Authenticate": 'Basic realm="Provide an apiKey and secretKey"'}
    return EmulatedAnswer(401, content_type="text/html", reason="Unauthorized", headers=realm, chunked=True)


def proxy_page(status: int, title: str, *, headers: Mapping[str, str] | None = None) -> EmulatedAnswer:
    """Make a page of the proxy, in the form that users have seen for 413 and 429."""
    body = f"<html><body><h1>{status} {title}</h1></body></html>\r\n".encode()
    return EmulatedAnswer(status, body, "text/html", title, headers or {})


def wrong_version() -> EmulatedAnswer:
    """Make the page of the proxy for a version that the API does not have (recorded: FACTS 9.6)."""
    title = "404 Not Found"
    head = f"<html>\r\n<head><title>{title}</title></head>\r\n"
    body = f'<body bgcolor="white">\r\n<center><h1>{title}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n'
    return EmulatedAnswer(404, f"{head}{body}</html>\r\n".encode(), "text/html", "Not Found")


def reset() -> EmulatedAnswer:
    """Make the server reset the connection instead of answering."""
    return EmulatedAnswer(0, connection="reset")


def no_property(name: str, kind: str) -> EmulatedAnswer:
    """Make the 400 for an unknown key on a single object."""
    return error(400, f'{NOT_JSON_HINT}object ""->"{kind}" has no property "{name}"')
