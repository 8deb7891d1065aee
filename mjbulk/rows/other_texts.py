"""Texts that are neither CSV nor JSON Lines, known by how they begin, and what helps."""

import re

from mjbulk.errors import UsageError

JSON_ARRAY = "this is a JSON array, and JSON Lines are one object a line: jq -c '.[]' makes them of it"
_JSON = "this is JSON, and not CSV: read it with jsonl_source()"
_OTHERS = (
    (
        re.compile(r"<(!doctype\s+html|html|head|body)\b", re.IGNORECASE),
        "this is a web page, and no data: see what it says",
    ),
    (re.compile(r"<(\?xml|!doctype)\b", re.IGNORECASE), "this is XML: write its rows as CSV or as JSON Lines"),
    (re.compile(r"\[\s*[\[{]"), JSON_ARRAY),
    (re.compile(r"\{\s*(\"|\})"), _JSON),
)
_HEADER = re.compile(r"[^{}\[\]<>]*[,;\t][^{}\[\]<>]*")


def refuse_other_text(text: str, *, json: bool = False) -> None:
    """Raise UsageError if a file of CSV, or of ``json`` lines, begins like a text of another kind."""
    begin = text.lstrip("\ufeff \t\r\n")
    what = next((what for pattern, what in _OTHERS if pattern.match(begin)), None)
    if json and what is None and _HEADER.fullmatch(begin):
        what = "the first line is no JSON, but looks like CSV: read it with csv_source()"
    if what is not None:
        raise UsageError(what)
