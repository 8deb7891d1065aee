"""Every exception that mjbulk raises. Fields in, sentence out.

::

    mjbulk.Error
    ├── UsageError             a keyword, a column or a setting is wrong; nothing was sent
    │   └── CredentialsRefused (also an ApiError) Mailjet does not take these keys; nothing was sent
    ├── SourceError            the source failed or is malformed at a row
    ├── ApiError               Mailjet answered, and refused
    ├── NoAnswer               Mailjet gave no usable answer in the time that was allowed
    ├── JobFailed              one background job did not end well
    ├── ImportHalted           a run stopped before its end; ``__cause__`` says why
    │   └── ImportTimeout      ... because its own ``timeout`` ran out
    ├── RowsRejected           more rows were rejected than the caller allows
    └── JournalError           the durable record of a run cannot be used
        └── JournalRefused     (also a UsageError) ... for what is asked of it; nothing was sent

No e-mail address, no key and no text of the server is in ``str()``, ``repr()`` or ``args`` of any of them: what Mailjet
wrote stands in the attribute ``text``. All of them survive pickling.
"""

from collections.abc import Mapping
from typing import Any, Self

import mjbulk  # reports and jobs are loaded when somebody asks for type hints
from mjbulk.public import public

_MEANINGS = {
    "MJ03": "a value is missing",
    "MJ04": "a value is too short",
    "MJ08": "a value is invalid",
    "MJ18": "there is one already",
    "MJ19": "a value cannot be set",
    404: "it knows of none",
    429: "too many requests",
}
"""What Mailjet's codes mean, as observed, and two statuses without one."""


@public
class Error(Exception):
    """The base of all: a sentence without anybody's data in it."""

    def __init__(self, sentence: str = "") -> None:
        """Keep the sentence."""
        super().__init__()
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return self._of, (self.__dict__,)

    @classmethod
    def _of(cls, fields: dict[str, Any]) -> Self:
        """Make an error of its fields: what comes out of a pickle."""
        error = cls.__new__(cls)
        error.__dict__.update(fields)
        return error


@public
class UsageError(Error):
    """A keyword, a column, a setting or a list is wrong. Nothing was sent."""

    def __str__(self) -> str:
        return f"{self.sentence}; nothing was sent"


@public
class SourceError(Error):
    """The source failed, or a record in it cannot be read.

    ``row`` is the number of the row at which it happened, ``column`` its column where one is to blame.
    """

    def __init__(self, problem: str, *, row: int | None = None, column: str | None = None) -> None:
        """Say what is wrong with the source, and where."""
        super().__init__(problem)
        self.row = row
        self.column = column

    def __str__(self) -> str:
        where = "" if self.row is None else f" at row {self.row}"
        if self.column is not None:
            where += f", column {self.column!r}"
        return f"the source failed{where}: {self.sentence}"


@public
class ApiError(Error):
    """Mailjet answered and refused.

    ``status`` is the HTTP status, ``code`` Mailjet's own (``MJ08``) or None, ``call`` the call without its ids,
    ``text`` what Mailjet wrote (it may quote addresses: keep it out of logs).
    """

    def __init__(
        self,
        status: int,
        *,
        call: str,
        code: str | None = None,
        text: str = "",
        advice: str = "",
        lists: Mapping[int, str] | None = None,
    ) -> None:
        """Keep what is known of the answer."""
        super().__init__(advice)
        self.lists = dict(lists or {})
        self.status = status
        self.call = call
        self.code = code
        self.text = text

    def __str__(self) -> str:
        meaning = _MEANINGS.get(self.code or self.status)
        known = ": ".join(part for part in (self.code, meaning) if part)
        answer = f"{self.status} ({known})" if known else f"{self.status}"
        return f"Mailjet answered {answer} to {self.call}" + (f"; {self.sentence}" if self.sentence else "")


@public
class CredentialsRefused(ApiError, UsageError):
    """Mailjet does not take these keys. Nothing was sent."""


@public
class NoAnswer(Error):
    """Mailjet gave no usable answer.

    ``sent`` tells whether a request may have reached it: with False nothing was applied; with True nobody can know.
    """

    def __init__(self, call: str, *, why: str, attempts: int, sent: bool) -> None:
        """Keep what was tried."""
        super().__init__(why)
        self.call = call
        self.attempts = attempts
        self.sent = sent

    def __str__(self) -> str:
        tried = f"{self.attempts} attempts" if self.attempts != 1 else "1 attempt"
        in_doubt = self.sent and not self.call.startswith("GET ")
        doubt = "it may have been applied" if in_doubt else "nothing of it was applied"
        return f"no usable answer to {self.call} after {tried} ({self.sentence}); {doubt}"


@public
class JobFailed(Error):
    """A background job ended in another state than ``Completed``; ``job`` has its status and its error."""

    def __init__(self, job: "mjbulk.Job") -> None:
        """Keep the job."""
        super().__init__()
        self.job = job

    def __str__(self) -> str:
        return f"job {self.job.ref} ended as {self.job.status!r}; what it says stands in .job.error"


@public
class ImportHalted(Error):
    """A run stopped before its end. ``report`` has what is known of every row; ``__cause__`` says why it stopped."""

    def __init__(self, report: "mjbulk.Report", run_id: str, *, why: str = "") -> None:
        """Keep the books as far as they go."""
        super().__init__(why)
        self.report = report
        self.run_id = run_id

    def __str__(self) -> str:
        why = f": {self.sentence}" if self.sentence else ""
        return f"import {self.run_id} stopped before its end ({self.report.summary()}){why}"


@public
class ImportTimeout(ImportHalted):
    """The ``timeout`` of a run ran out. Jobs that Mailjet has taken go on there."""


@public
class RowsRejected(Error):
    """More rows were rejected than the caller allows; ``report`` has them."""

    def __init__(self, report: "mjbulk.Report", *, allowed: int) -> None:
        """Keep the report."""
        super().__init__()
        self.report = report
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.report.rejected} rows were rejected, {self.allowed} are allowed"


@public
class JournalError(Error):
    """The durable record of a run cannot be used: damaged, foreign, locked or full."""


@public
class JournalRefused(JournalError, UsageError):
    """A journal, or a run in it, is not what it has to be: damaged, foreign, open elsewhere, or begun on other terms.

    Nothing was sent.
    """
