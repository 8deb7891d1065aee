"""JSON in the spacing of Mailjet's answers: ``{ "Count" : 1, "Data" : [{ "JobID" : 7 }], "Total" : 1 }``."""

from typing import Any

import orjson


def render(value: Any, *, as_strings: bool = False) -> str:
    """Write plain values as JSON; ``as_strings`` quotes numbers and booleans, as the examples of the guides do."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_quote(k)} : {render(v, as_strings=as_strings)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(render(v, as_strings=as_strings) for v in value) + "]"
    if isinstance(value, str):
        return _quote(value)
    text = orjson.dumps(value).decode()
    return f'"{text}"' if as_strings and isinstance(value, (int, float)) else text


def _quote(text: str) -> str:
    """Quote a text; its slashes are escaped (recorded: FACTS 9.2)."""
    return orjson.dumps(text).decode().replace("/", "\\/")
