"""What is answered where something is refused: ``{"detail": {"code", "message", "column"?, "row"?}}``."""

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


def refusal(why: Error) -> Problem:
    """Say that an upload was refused, and nothing of it was sent."""
    if isinstance(why, ImportHalted) and isinstance(why.__cause__, Error):
        why = why.__cause__
    if isinstance(why, CredentialsRefused):
        return Problem(422, "credentials.refused", "Mailjet does not take the keys of this tenant; nothing was sent")
    if isinstance(why, JournalRefused):
        return Problem(422, "run.refused", str(why))
    if isinstance(why, SourceError):
        return Problem(422, "source.unreadable", f"{why}; nothing was sent", column=why.column, row=why.row)
    if isinstance(why, UsageError):
        return Problem(422, "source" if why.kind == "usage" else why.kind, str(why), column=why.column)
    return Problem(422, "run.refused", f"{why}; nothing was sent")


def not_valid(why: RequestValidationError) -> Problem:
    """Say which part of a request is wrong."""
    first = why.errors()[0]
    place = [str(part) for part in first["loc"]]
    return Problem(422, "request", f"{place[0]} {'.'.join(place[1:])}: {first['msg']}")


def not_found() -> Problem:
    """Say that the tenant has no such run, whether somebody else has one or not."""
    return Problem(404, "run.unknown", "there is no such run")
