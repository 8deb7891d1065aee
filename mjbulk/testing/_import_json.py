"""The end of a managemanycontacts job: one synchronous pass rejects or applies each row.

The job judges rows, and the call does not (FACTS 1.7): a 201 says nothing about them.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from mjbulk.testing._errorfiles import json_error_file
from mjbulk.testing._jobs import EmulatedError, EmulatedJob
from mjbulk.testing._knobs import Knobs
from mjbulk.testing._rules import BAD_ADDRESS, BAD_TYPE, NO_ADDRESS, NOT_DEFINED, convert, is_address, person, truth
from mjbulk.testing._state import EmulatedAccount, Person


class JobError(Exception):
    """The whole job ends in Error, and none of its rows is applied."""


class Rejected(Exception):
    """One row is rejected."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.error = EmulatedError(message, field)


@attrs.frozen
class _Change:
    email: str
    name: str | None
    excluded: bool | None
    properties: dict[str, Any]


class JsonImport:
    """One pass over the rows of one job."""

    def __init__(
        self, job: EmulatedJob, account: EmulatedAccount, knobs: Knobs, rejects: Mapping[str, EmulatedError], now: str
    ) -> None:
        self._job, self._account, self._knobs, self._rejects, self._now = job, account, knobs, rejects, now

    def run(self) -> None:
        """Set the job's outcomes, errors, status and error file, and change the account."""
        job, rows = self._job, self._job.rows
        try:
            changes = self._judge(rows)
        except JobError as error:
            job.status, job.error = "Error", str(error)
            job.outcomes = ["skipped"] * len(rows)
            return
        self._supersede(changes)
        self._stop_early()
        for index, outcome in enumerate(job.outcomes):
            if outcome == "applied":
                self._apply(changes[index])
        if job.errors:
            job.error_file = json_error_file(rows, job.errors, self._knobs.json_error_shape)

    def _judge(self, rows: list[dict[str, Any]]) -> dict[int, _Change]:
        changes: dict[int, _Change] = {}
        for index, row in enumerate(rows):
            try:
                changes[index] = self._change(row)
            except Rejected as rejected:
                self._job.errors[index] = rejected.error
        errors = self._job.errors
        self._job.outcomes = ["rejected" if i in errors else "applied" for i in range(len(rows))]
        self._job.status = "Completed"
        return changes

    def _change(self, row: Any) -> _Change:
        email = row.get("Email") if isinstance(row, dict) else None
        if not email:
            raise Rejected(NO_ADDRESS, "email")
        if not is_address(email):
            raise Rejected(BAD_ADDRESS, "email")
        if self._rejects and (error := self._rejects.get(person(email))):
            raise Rejected(error.message, error.field)
        excluded = row.get("IsExcludedFromCampaigns")
        if excluded is not None and (excluded := truth(excluded)) is None:
            raise Rejected("Invalid value", "IsExcludedFromCampaigns")
        name = row.get("Name")
        return _Change(
            email, name if isinstance(name, str) else None, excluded, self._properties(row.get("Properties"))
        )

    def _properties(self, given: Any) -> dict[str, Any]:
        """Convert Properties. A JSON string is ignored (observed on a similar call); a list of names and values fails
        the job (observed: FACTS 1.4).
        """
        if given is None or isinstance(given, str):
            return {}
        if not isinstance(given, dict):
            raise JobError(NOT_DEFINED)
        converted = {}
        for name, value in given.items():
            defined = self._defined(name)
            if defined is None:
                continue
            try:
                converted[defined.name] = None if value is None else convert(value, defined.datatype)
            except ValueError:
                raise Rejected(BAD_TYPE, defined.name) from None
        return converted

    def _defined(self, name: str) -> Any:
        known = self._account.properties.get(name.casefold())
        if known and known.namespace == "static" and (known.name == name or not self._knobs.property_case_matters):
            return known
        policy = self._knobs.undeclared_property
        if policy == "error_job":
            raise JobError(NOT_DEFINED)
        if policy == "error_row":
            raise Rejected(NOT_DEFINED, name)
        return self._account.create_property(name) if policy == "create" and known is None else None

    def _supersede(self, changes: Mapping[int, _Change]) -> None:
        winners: dict[str, int] = {}
        for index, change in changes.items():
            key = person(change.email)
            other = winners.setdefault(key, index)
            if other != index:
                loser = other if self._knobs.duplicate_winner == "last" else index
                self._job.outcomes[loser] = "superseded"
                winners[key] = other + index - loser

    def _stop_early(self) -> None:
        job, knobs, stop = self._job, self._knobs, self._knobs.abort_after
        if stop is None or stop >= len(job.outcomes):
            return
        job.outcomes[stop:] = ["skipped"] * (len(job.outcomes) - stop)
        job.errors = {index: error for index, error in job.errors.items() if index < stop}
        job.error = knobs.abort_error
        job.status = "Error" if knobs.abort_error else knobs.aborted_word

    def _apply(self, change: _Change) -> None:
        who = self._account.person(change.email, self._now)
        if change.name is not None:
            who.name = change.name
        if change.excluded is not None:
            who.exclude(change.excluded, self._now)
        set_properties(who, change.properties)
        who.touch(self._now)
        for list_id, action in self._job.actions:
            who.act(list_id, action, self._now)


def set_properties(who: Person, values: Mapping[str, Any]) -> None:
    """Set property values, and unassign those that are None (documented: FACTS 1.4)."""
    for name, value in values.items():
        if value is None:
            who.properties.pop(name, None)
        else:
            who.properties[name] = value
