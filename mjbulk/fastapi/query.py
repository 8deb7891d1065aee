"""What the query of a request asks for, and whether a parameter is misspelled."""

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from inspect import isclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.routing import APIRoute
from fastapi.security import APIKeyQuery
from pydantic import BaseModel

from mjbulk.fastapi.problems import Problem


def check_names(request: Request) -> None:
    """Raise Problem for a misspelled parameter: an import without it could be another one than was meant. What is not
    like one of the route, or of a dependency of the application, is the application's.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or not request.query_params:
        return
    known = list(dict.fromkeys(_parameters(route.dependant)))
    for name in request.query_params.keys() - known:
        if meant := get_close_matches(name.casefold(), known, 1, 0.75):
            raise Problem(422, "request", f"there is no parameter {name[:40]!r}: {meant[0]} is one")


def _parameters(dependant: Any) -> Iterator[str]:
    """Name the query parameters of a route or a dependency, and of those that it depends on."""
    for field in dependant.query_params:
        kind = field.field_info.annotation
        if isclass(kind) and issubclass(kind, BaseModel):
            yield from (inner.alias or name for name, inner in kind.model_fields.items())
        else:
            yield field.alias
    if isinstance(dependant.call, APIKeyQuery):
        yield dependant.call.model.name
    for inner in dependant.dependencies:
        yield from _parameters(inner)


def _ask(  # noqa: PLR0917  # FastAPI calls it
    list: Annotated[str | None, Query(max_length=200, description="ID, address or name")] = None,  # noqa: A002
    action: Annotated[str | None, Query(description="addforce, addnoforce, remove or unsub")] = None,
    via: Annotated[str, Query(pattern="^(json|csv)$")] = "json",
    delimiter: Annotated[str, Query(max_length=2)] = ",",
    encoding: Annotated[str, Query(max_length=40)] = "utf-8",
    timezone: Annotated[str | None, Query(max_length=80)] = None,
    date_format: Annotated[str | None, Query(max_length=80, description="strptime's, as in %d/%m/%Y")] = None,
    nulls: Annotated[str, Query(pattern="^(keep|unassign)$", description="what an empty cell does")] = "keep",
    types: Annotated[str | None, Query(max_length=20_000, description="of properties to create: age=int")] = None,
    columns: Annotated[str | None, Query(max_length=20_000, description="a=email,b=firstname")] = None,
) -> dict[str, Any]:
    """Take what a request asks for. Raises Problem for types that are no pairs."""
    return {
        "list": list,
        "action": action,
        "via": via,
        "delimiter": "\t" if delimiter == "\\t" else delimiter,
        "encoding": encoding,
        "timezone": timezone,
        "date_format": date_format,
        "nulls": nulls,
        "types": _pairs(types, _typed),
        "columns": _pairs(columns, _picked),
    }


def _pairs(text: str | None, pair: Callable[[str], tuple[str, str]]) -> Mapping[str, str] | None:
    return None if text is None else dict(map(pair, text.split(",")))


def _picked(text: str) -> tuple[str, str]:
    source, equals, target = text.partition("=")
    return source, target if equals else source


def _typed(text: str) -> tuple[str, str]:
    name, _, word = text.rpartition("=")
    if not name:
        raise Problem(
            422, "request", "types= has a name and a type for each property, as in types=age=int,born=datetime"
        )
    return name, word


Asked = Annotated[dict[str, Any], Depends(_ask)]
