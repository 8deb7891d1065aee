"""What is answered where something is refused: ``{"detail": {"code", "message", "column"?, "row"?}}``."""

import ast
import re
from collections.abc import Mapping
from typing import Any

from fastapi import HTTPException
from fastapi.exceptions import RequestValidationError

from mjbulk.errors import CredentialsRefused, Error, ImportHalted, JournalRefused, SourceError, UsageError


class Problem(HTTPException):
    """An answer that says what was refused, and what helps."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        column: str | None = None,
        row: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take a word that stays as ``code``, and a sentence."""
        detail: dict[str, Any] = {"code": code, "message": message}
        where = {"column": column, "row": row}
        detail |= {name: value for name, value in where.items() if value is not None}
        super().__init__(status, detail, headers=dict(headers) if headers else None)


_TEXT = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_MAPPING = re.compile(rf"\b(columns|types)=(\{{(?:{_TEXT}|[:, ])*\}})")
_QUOTED = re.compile(rf"\b(delimiter|encoding|timezone|date_format)=({_TEXT})")
_NOT_IN_A_QUERY = (
    ("create_properties=True creates what is missing, ", ""),
    ("; header_row= says in which line of the file the names stand", "; the names have to stand in its first line"),
    ("it needs create_properties=True", "this application creates none"),
    (
        "this is not utf-8: say encoding=",
        "this is not utf-8: say encoding=, often cp1252 (Windows, Excel), or save it as UTF-8",
    ),
)
"""Advice for programs that a request cannot follow, and what is said in its place."""


def as_query(sentence: str) -> str:
    """Spell the keywords in a sentence of the library as parameters of a query."""
    for ours, theirs in _NOT_IN_A_QUERY:
        sentence = sentence.replace(ours, theirs)
    sentence = _MAPPING.sub(lambda found: f"{found[1]}={_pairs(ast.literal_eval(found[2]))}", sentence)
    return _QUOTED.sub(lambda found: f"{found[1]}={ast.literal_eval(found[2])}".replace("\t", "\\t"), sentence)


def _pairs(names: Mapping[str, str]) -> str:
    return ",".join(f"{name}={word}" for name, word in names.items())


def refusal(why: Error) -> Problem:
    """Say that an upload was refused, and nothing of it was sent."""
    if isinstance(why, ImportHalted) and isinstance(why.__cause__, Error):
        why = why.__cause__
    if isinstance(why, CredentialsRefused):
        return Problem(422, "credentials.refused", "Mailjet does not take the keys of this tenant; nothing was sent")
    if isinstance(why, JournalRefused):
        return Problem(422, "run.refused", str(why))
    if isinstance(why, SourceError):
        message = as_query(f"{why}; nothing was sent")
        return Problem(422, "source.unreadable", message, column=why.column, row=why.row)
    if isinstance(why, UsageError):
        code = "source" if why.kind == "usage" else why.kind
        return Problem(422, code, as_query(str(why)), column=why.column, row=why.row)
    return Problem(422, "run.refused", f"{why}; nothing was sent")


def not_valid(why: RequestValidationError) -> Problem:
    """Say which part of a request is wrong."""
    first = why.errors()[0]
    place = [str(part) for part in first["loc"]]
    return Problem(422, "request", f"{place[0]} {'.'.join(place[1:])}: {first['msg']}")


def not_found() -> Problem:
    """Say that the tenant has no such run, whether somebody else has one or not."""
    return Problem(404, "run.unknown", "there is no such run")
