"""The books of a run while it goes on."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from mjbulk.models import Counts, JobRef, Rejection, Unsettled
from mjbulk.outcomes.rejections import RejectionStore
from mjbulk.outcomes.row_set import RowSet


class Ledger:
    """The books of a run while it goes on. Every row that was read is posted to it exactly once."""

    def __init__(self, folder: str | None = None) -> None:
        """Begin with nothing. Many rejections go to a file in ``folder``. All fields are mutable; only the run writes
        them.
        """
        self.accepted = self.rejected = self.superseded = self.unknown = self.not_sent = 0
        self.recalled = 0
        """Rows whose outcome an earlier process has found."""
        self.by_jobs = 0
        """Rows that jobs have accepted or rejected for this process: no others tell how soon Mailjet works."""
        self.rejections = RejectionStore(folder=folder)
        self.unsettled: list[Unsettled] = []
        self.jobs: list[JobRef] = []
        self.accepted_rows = RowSet()
        self.superseded_rows = RowSet()
        self.not_sent_rows = RowSet()

    @contextmanager
    def recalling(self) -> Iterator[None]:
        """Count the rows that are posted meanwhile as those of an earlier process. Nothing else may be posted then."""
        before, by_jobs = self.settled, self.by_jobs
        yield
        self.recalled += self.settled - before
        self.by_jobs = by_jobs

    def note_jobs(self, *jobs: JobRef) -> None:
        """Note jobs that have taken chunks."""
        self.jobs.extend(jobs)

    def note_accepted(self, rows: Iterable[range], superseded: Iterable[range], job: JobRef | None = None) -> None:  # noqa: ARG002  # of interest to another kind of books
        """Note which rows were accepted, by a ``job``. ``superseded`` are those of them that a later row of their
        person has joined.
        """
        for some in rows:
            self.accepted_rows.add_range(some)
        for some in superseded:
            self.accepted_rows.remove(some)
            self.superseded_rows.add_range(some)

    def post_accepted(self, rows: int, superseded: int) -> None:
        """Post rows that Mailjet has accepted, and ``superseded`` earlier rows of the same people."""
        self.accepted += rows
        self.superseded += superseded
        self.by_jobs += rows + superseded

    def post_rejections(self, rejections: Sequence[Rejection], job: JobRef | None = None) -> None:
        """Post rows that were refused, here or by the ``job`` at Mailjet, and keep errors that mean no single row: the
        rows that these may mean are posted as unknown.

        Raises OSError, when all are posted, if they can only be kept in memory.
        """
        rows = sum(rejection.row is not None for rejection in rejections)
        self.rejected += rows
        self.by_jobs += rows if job is not None else 0
        self.rejections.add(*rejections)

    def post_unsettled(self, why: Unsettled, *, unknown: int = 0, not_sent: int = 0) -> None:
        """Post rows that are unknown or were not sent, and why."""
        self.unknown += unknown
        self.not_sent += not_sent
        if unknown or not_sent:
            self.note_unsettled(why, sent=not not_sent)

    def note_unsettled(self, why: Unsettled, *, sent: bool) -> None:
        """Note which rows are unknown, as those are that may have been ``sent``, or were not sent."""
        self.unsettled.append(why)
        for some in () if sent else why.rows:
            self.not_sent_rows.add_range(some)

    def note_cause(self, why: Unsettled, *, unknown: int) -> None:
        """Post what is said of a job that has ended: why rows are unknown, or that counts do not agree."""
        self.unknown += unknown
        self.unsettled.append(why)

    def without_outcome(self, rows: RowSet) -> RowSet:
        """Take all rows that have an outcome out of some rows, and give what is left."""
        rows.remove(self.accepted_rows)
        rows.remove(self.superseded_rows)
        rows.remove(rejection.row for rejection in self.rejections if rejection.row is not None)
        rows.remove(row for why in self.unsettled for some in why.rows for row in some)
        return rows

    @property
    def settled(self) -> int:
        """How many rows have their outcome."""
        return self.accepted + self.rejected + self.superseded + self.unknown + self.not_sent

    @property
    def own(self) -> int:
        """How many rows have their outcome by the work of this process."""
        return self.settled - self.recalled

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
