"""The books of a run while it goes on."""

from mjbulk.models import Counts, JobRef, Rejection, Unsettled
from mjbulk.outcomes.rejections import RejectionStore


class Ledger:
    """The books of a run while it goes on. Every row that was read is posted to it exactly once."""

    def __init__(self) -> None:
        """Begin with nothing. All fields are mutable; only the run writes them."""
        self.accepted = self.rejected = self.superseded = self.unknown = self.not_sent = 0
        self.rejections = RejectionStore()
        self.unsettled: list[Unsettled] = []
        self.jobs: list[JobRef] = []

    def post_accepted(self, rows: int, superseded: int) -> None:
        """Post rows that Mailjet has accepted, and ``superseded`` earlier rows of the same people."""
        self.accepted += rows
        self.superseded += superseded

    def post_rejected(self, rejection: Rejection) -> None:
        """Post a row that was refused, here or by Mailjet."""
        self.rejected += 1
        self.rejections.add(rejection)

    def keep_unassigned(self, rejection: Rejection) -> None:
        """Keep an error that means no single row. The rows that it may mean are posted as unknown."""
        self.rejections.add(rejection)

    def post_unsettled(self, why: Unsettled, *, unknown: int = 0, not_sent: int = 0) -> None:
        """Post rows that are unknown or were not sent, and why."""
        self.unknown += unknown
        self.not_sent += not_sent
        if unknown or not_sent:
            self.unsettled.append(why)

    @property
    def settled(self) -> int:
        """How many rows have their outcome."""
        return self.accepted + self.rejected + self.superseded + self.unknown + self.not_sent

    def counts(self, rows: int) -> Counts:
        """Give the counts, with the number of rows that were read."""
        return Counts(
            rows=rows,
            accepted=self.accepted,
            rejected=self.rejected,
            superseded=self.superseded,
            unknown=self.unknown,
            not_sent=self.not_sent,
        )
