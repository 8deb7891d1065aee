"""What became of one row."""

from collections.abc import Mapping
from typing import Literal, Self

from attrs import frozen

from mjbulk.errors import OutcomeError, OutcomeNotSent, OutcomeRejected, OutcomeUnknown
from mjbulk.models import JobRef, Rejection
from mjbulk.public import public

OutcomeState = Literal["accepted", "rejected", "superseded", "unknown", "not_sent"]


@public
@frozen(kw_only=True)
class Outcome:
    """What became of one row."""

    row: int
    """Its number, from 1."""
    state: OutcomeState
    """What became of it, in one word."""
    rejection: Rejection | None = None
    """Why it was rejected."""
    job: JobRef | None = None
    """The job that took it."""
    cause: str | None = None
    """Why it is unknown or was not sent, in a sentence."""

    @property
    def ok(self) -> bool:
        """Whether it was accepted, or a later row of the same person in its place."""
        return self.state in ("accepted", "superseded")

    def raise_for_outcome(self) -> Self:
        """Give the outcome itself, or raise OutcomeRejected, OutcomeUnknown or OutcomeNotSent."""
        kind = _ERRORS.get(self.state)
        if kind is not None:
            raise kind(self)
        return self


_ERRORS: Mapping[OutcomeState, type[OutcomeError]] = {
    "rejected": OutcomeRejected,
    "unknown": OutcomeUnknown,
    "not_sent": OutcomeNotSent,
}
