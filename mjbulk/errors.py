"""Every exception that mjbulk raises. Each is made of fields, and gives a sentence.

::

    mjbulk.Error
    ├── UsageError             a keyword, a column or a setting is wrong; nothing was sent
    │   └── CredentialsRefused (also an ApiError) Mailjet does not take these keys; nothing was sent
    ├── SourceError            the source failed, or is malformed at a row
    ├── ApiError               Mailjet answered, and refused
    ├── NoAnswer               Mailjet gave no usable answer in the allowed time
    ├── JobFailed              one background job did not end well
    ├── ImportHalted           a run stopped before its end; ``__cause__`` says why
    │   └── ImportTimeout      ... because its own ``timeout`` ran out
    ├── RowsRejected           more rows were rejected than the caller allows
    ├── OutcomeError           of one row that was put
    │   ├── OutcomeRejected    ... it was rejected
    │   ├── OutcomeUnknown     ... it is not known whether it was applied
    │   └── OutcomeNotSent     ... it was not sent
    └── JournalError           the journal cannot be used
        └── JournalRefused     (also a UsageError) ... for this run; nothing was sent

``str()``, ``repr()`` and ``args`` of an exception never have an e-mail address, a key or a text of the server. What
Mailjet wrote is in the attribute ``text``. All exceptions can be pickled.

``args`` are plain data for JSON, and ``type(error)(*error.args)`` says the same sentence: task queues such as Celery
rebuild errors like that. Such an error has what its sentence says, and nothing else.
"""

from collections.abc import Mapping
from typing import Any

import mjbulk  # reports and jobs are loaded when they are needed
from mjbulk.public import public

_MEANINGS = {
    "MJ03": "a value is missing",
    "MJ04": "a value is too short",
    "MJ08": "a value is invalid",
    "MJ18": "there is one already",
    "MJ19": "a value cannot be set",
    404: "it does not exist",
    429: "too many requests",
}
"""What Mailjet's codes mean, by observation (FACTS 9.4), and two statuses without a code."""


@public
class Error(Exception):
    """The base of all exceptions: a sentence without personal data."""

    def __init__(self, sentence: str = "") -> None:
        """Keep the sentence."""
        super().__init__(sentence)
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


@public
class UsageError(Error):
    """A keyword, a column, a setting or a list is wrong. Nothing was sent.

    ``kind`` is a word that stays. For a fault of a column it is a code of rejections (``address.missing``,
    ``column.unknown``), or ``column.missing`` if one was picked that is not there; ``list`` for a list that does not
    exist; ``run.under_way`` for a run that somebody has open, ``run.unknown`` for one that is not in the journal;
    ``usage`` for all others. ``column`` names the column that is at fault, if there is one, and ``row`` is the number
    of the first row that shows it, if a value does.
    """

    def __init__(
        self, sentence: str = "", *, kind: str = "usage", column: str | None = None, row: int | None = None
    ) -> None:
        """Keep what was refused."""
        super().__init__(sentence)
        self.kind = kind
        self.column = column
        self.row = row

    def __str__(self) -> str:
        return f"{self.sentence}; nothing was sent"


@public
class SourceError(Error):
    """The source failed, or a record in it cannot be read.

    ``row`` is the number of that row, ``column`` the column that is at fault, if it is known.
    """

    def __init__(self, problem: str, row: int | None = None, column: str | None = None) -> None:
        """Say what is wrong with the source, and where."""
        super().__init__(problem)
        self.args = (problem, row, column)
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

    ``status`` is the HTTP status, ``code`` Mailjet's own code (``MJ08``) or None, ``call`` the call without its ids.
    ``text`` is what Mailjet wrote. Keep it out of logs: it may quote addresses.
    """

    def __init__(
        self,
        status: int,
        call: str,
        code: str | None = None,
        advice: str = "",
        *,
        text: str = "",
        lists: Mapping[int, str] | None = None,
    ) -> None:
        """Keep what is known of the answer."""
        super().__init__(advice)
        self.args = (status, call, code, advice)
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

    ``sent`` tells whether a request may have reached Mailjet. With False, nothing was applied; with True, that is not
    known.
    """

    def __init__(self, call: str, why: str, attempts: int, sent: bool) -> None:  # noqa: FBT001  # for args
        """Keep what was tried."""
        super().__init__(why)
        self.args = (call, why, attempts, sent)
        self.call = call
        self.attempts = attempts
        self.sent = sent

    def __str__(self) -> str:
        if not self.attempts and not self.sent:
            return f"{self.call} was not sent: {self.sentence}"
        tried = f"{self.attempts} attempts" if self.attempts != 1 else "1 attempt"
        in_doubt = self.sent and not self.call.startswith("GET ")
        doubt = "it may have been applied" if in_doubt else "nothing of it was applied"
        return f"no usable answer to {self.call} after {tried} ({self.sentence}); {doubt}"


@public
class JobFailed(Error):
    """A background job ended in another status than ``Completed``; ``job`` has its status and its error."""

    def __init__(self, job: "mjbulk.Job | str", status: str = "") -> None:
        """Keep the job; or what ``args`` have of it."""
        super().__init__()
        self.job = mjbulk.Job(ref=mjbulk.JobRef.parse(job), status=status) if isinstance(job, str) else job
        self.args = (str(self.job.ref), self.job.status)

    def __str__(self) -> str:
        return f"job {self.job.ref} ended as {self.job.status!r}; what it says stands in .job.error"


@public
class ImportHalted(Error):
    """A run stopped before its end. ``report`` has what is known of every row; ``__cause__`` says why it stopped."""

    def __init__(self, report: "mjbulk.Report | Mapping[str, Any]", run_id: str, why: str = "") -> None:
        """Keep the report of what is known; or what ``args`` have of it, the counts."""
        super().__init__(why)
        self.report = _report(report)
        self.run_id = run_id
        self.args = (_counts(self.report), run_id, why)

    def __str__(self) -> str:
        why = f": {self.sentence}" if self.sentence else ""
        sent = "" if self.report.rows or "nothing was sent" in why else "; nothing was sent"
        return f"import {self.run_id} stopped before its end ({self.report.summary()}){why}{sent}"


@public
class ImportTimeout(ImportHalted):
    """The ``timeout`` of a run ran out. Jobs that Mailjet has taken go on at Mailjet."""


@public
class RowsRejected(Error):
    """More rows were rejected than the caller allows; ``report`` has them."""

    def __init__(self, report: "mjbulk.Report | Mapping[str, Any]", allowed: int) -> None:
        """Keep the report; or what ``args`` have of it, the counts."""
        super().__init__()
        self.report = _report(report)
        self.allowed = allowed
        self.args = (_counts(self.report), allowed)

    def __str__(self) -> str:
        rejected = "1 row was" if self.report.rejected == 1 else f"{self.report.rejected} rows were"
        return f"{rejected} rejected, {self.allowed} {'is' if self.allowed == 1 else 'are'} allowed"


@public
class OutcomeError(Error):
    """What became of one row that was put. ``outcome`` says it."""

    def __init__(self, outcome: "mjbulk.Outcome | Mapping[str, Any]") -> None:
        """Keep the outcome; or what ``args`` have of it."""
        super().__init__()
        self.outcome = _outcome(outcome)
        rejection = self.outcome.rejection
        about = {name: getattr(rejection, name) for name in ("field", "code", "origin")} if rejection else None
        self.args = ({name: getattr(self.outcome, name) for name in ("row", "state", "cause")} | {"rejection": about},)

    def __str__(self) -> str:
        rejection = self.outcome.rejection
        if rejection is None:
            return f"row {self.outcome.row} is {self.outcome.state.replace('_', ' ')}: {self.outcome.cause}"
        field = f", field {rejection.field!r}" if rejection.field else ""
        return f"row {self.outcome.row} was rejected by {rejection.origin} ({rejection.code}{field})"


@public
class OutcomeRejected(OutcomeError):
    """The row was rejected, here or by Mailjet; ``outcome.rejection`` says why."""


@public
class OutcomeUnknown(OutcomeError):
    """The row was sent, and its outcome is not known."""


@public
class OutcomeNotSent(OutcomeError):
    """The row was not sent: this is the only one after which it is harmless to put it again."""


@public
class JournalError(Error):
    """A journal cannot be used: its file is damaged, not a journal, locked, or cannot be written."""


@public
class JournalRefused(JournalError, UsageError):
    """A journal is damaged or not a journal, or a run in it is open elsewhere or was begun on other terms.

    Nothing was sent.
    """


def _counts(report: "mjbulk.Report") -> dict[str, Any]:
    return {"run_id": report.run_id, **mjbulk.Counts.as_dict(report)}


def _outcome(known: "mjbulk.Outcome | Mapping[str, Any]") -> "mjbulk.Outcome":
    """Give the outcome, or one that has what ``args`` have."""
    if not isinstance(known, Mapping):
        return known
    about = known["rejection"]
    rejection = about and mjbulk.Rejection(row=known["row"], message="", **about)
    return mjbulk.Outcome(**{**known, "rejection": rejection})


def _report(known: "mjbulk.Report | Mapping[str, Any]") -> "mjbulk.Report":
    """Give the report, or one that has the counts alone."""
    return mjbulk.Report(spec=mjbulk.RunSpec(lists=None), **known) if isinstance(known, Mapping) else known
