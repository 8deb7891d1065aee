"""From a request to its answer, without sockets: version, rate, credentials, poison, route, method, handler."""

import base64
import binascii
import difflib
from collections.abc import Mapping

from mjbulk.testing._answers import (
    EmulatedAnswer,
    error,
    method_not_allowed,
    not_found,
    proxy_page,
    source_not_found,
    unauthorized,
    wrong_path,
    wrong_version,
)
from mjbulk.testing._ask import Ask, Handlers, Refused
from mjbulk.testing._data import DATA_ROUTES
from mjbulk.testing._rest_account import ACCOUNT_ROUTES
from mjbulk.testing._rest_batchjobs import BATCHJOB_ROUTES
from mjbulk.testing._rest_contacts import CONTACT_ROUTES, V4_ROUTES
from mjbulk.testing._rest_jobs import JOB_ROUTES
from mjbulk.testing._rest_lists import LIST_ROUTES
from mjbulk.testing._rest_recipients import RECIPIENT_ROUTES
from mjbulk.testing._rest_values import VALUE_ROUTES
from mjbulk.testing._routes import Route
from mjbulk.testing._world import World

_REST: Handlers = {
    **JOB_ROUTES,
    **BATCHJOB_ROUTES,
    **CONTACT_ROUTES,
    **VALUE_ROUTES,
    **RECIPIENT_ROUTES,
    **LIST_ROUTES,
    **ACCOUNT_ROUTES,
}
_ROUTES: Mapping[str, Handlers] = {"rest": _REST, "data": DATA_ROUTES, "v4": V4_ROUTES}
_RESOURCES = {name.partition("/")[0] for name in _ROUTES["rest"]}


def calls() -> list[str]:
    """Give the name of every call: its method and its route, as in "POST csvimport"."""
    return [f"{method} {name}" for api in _ROUTES.values() for name, methods in api.items() for method in methods]


def call_name(call: str) -> str:
    """Write the name of a call in lower case: a route, with or without a method before it, or ``*`` for all requests.

    Raises ValueError if there is no such call, and says which ones are like it.
    """
    known = calls()
    routes = [name.partition(" ")[2] for name in known]
    name = " ".join(call.casefold().split())
    if name in {"*", *routes, *(one.casefold() for one in known)}:
        return name
    like = difflib.get_close_matches(call, dict.fromkeys([*known, *routes]), n=3, cutoff=0.5)
    hint = f"; there is {', '.join(like)}" if like else ""
    raise ValueError(f"{call!r} is no call of the API that the emulator plays{hint}")


class Dispatcher:
    """What the server answers to a request. Mutable state: how often each key has called in the current second."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._second = -1
        self._counts: dict[str, int] = {}

    def answer(
        self, method: str, route: Route | None, authorization: str, query: Mapping[str, str], body: bytes
    ) -> EmulatedAnswer:
        """Let a request have its effect, and give its answer."""
        if route is None:
            return wrong_version()
        self._world.settle()
        key, secret = _credentials(authorization)
        refusal = self._too_fast(key) or self._wrong_key(key, secret) or self._poison(body)
        if refusal is not None:
            return refusal
        try:
            return _handle(Ask(self._world, key, method, route, query, body))
        except Refused as refused:
            return refused.answer

    def _too_fast(self, key: str) -> EmulatedAnswer | None:
        """Give the 429 for a key that calls too often: a page of the proxy without a Retry-After (FACTS 9.9)."""
        knobs, second = self._world.knobs, int(self._world.elapsed())
        if knobs.rate_limit is None:
            return None
        if second != self._second:
            self._second, self._counts = second, {}
        self._counts[key] = self._counts.get(key, 0) + 1
        if self._counts[key] <= knobs.rate_limit:
            return None
        headers = {} if knobs.retry_after is None else {"Retry-After": str(knobs.retry_after)}
        return proxy_page(429, "Too Many Requests", headers=headers)

    def _wrong_key(self, key: str, secret: str) -> EmulatedAnswer | None:
        known = self._world.knobs.credentials
        fits = bool(key) if known is None else (key, secret) in known
        return None if fits else unauthorized()

    def _poison(self, body: bytes) -> EmulatedAnswer | None:
        status = self._world.poisoned(body)
        if status is None:
            return None
        if status < 500:
            return error(status, "Object properties invalid")
        message = "An Unexpected Error occurred during API request"
        return error(status, message, identifier=self._world.guid().upper())


def _handle(ask: Ask) -> EmulatedAnswer:
    route = ask.route
    methods = _ROUTES[route.api].get(route.name)
    if methods is not None:
        handler = methods.get(ask.method)
        return method_not_allowed() if handler is None else handler(ask)
    if route.api == "data":
        return source_not_found(route.mime or "text/plain")
    return not_found() if route.name.partition("/")[0] in _RESOURCES else wrong_path(route.resource)


def _credentials(authorization: str) -> tuple[str, str]:
    scheme, _, token = authorization.partition(" ")
    if scheme.casefold() != "basic":
        return "", ""
    try:
        key, _, secret = base64.b64decode(token, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return key, secret
