"""JSON in the spacing of Mailjet's answers: ``{ "Count" : 1, "Data" : [{ "JobID" : 7 }], "Total" : 1 }``."""

from typing import Any

import orjson

_DEEPEST = 100


def render(value: Any, *, as_strings: bool = False, depth: int = 0) -> str:
    """Write plain values as JSON; ``as_strings`` quotes numbers and booleans, as the examples of the guides do.

    What is nested deeper than 100 levels is cut off: a request may have more, and Python cannot write it.
    """
    if isinstance(value, (dict, list)) and depth > _DEEPEST:
        return '"..."'
    if isinstance(value, dict):
        pairs = ((_quote(name), render(v, as_strings=as_strings, depth=depth + 1)) for name, v in value.items())
        return "{ " + ", ".join(f"{name} : {text}" for name, text in pairs) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(render(v, as_strings=as_strings, depth=depth + 1) for v in value) + "]"
    if isinstance(value, str):
        return _quote(value)
    text = orjson.dumps(value).decode()
    return f'"{text}"' if as_strings and isinstance(value, (int, float)) else text


def shown(value: Any) -> str:
    """Write a value of the request into a message: a text as it is, nothing for null, anything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else render(value)


def _quote(text: str) -> str:
    """Quote a text; its slashes are escaped (recorded: FACTS 9.2)."""
    return orjson.dumps(text).decode().replace("/", "\\/")
