"""The books of an ingester: each outcome is given to the caller that waits for it, and the counts alone are kept."""

from collections.abc import Callable, Iterable, Sequence

from mjbulk.models import JobRef, Rejection, Unsettled
from mjbulk.outcome import Outcome, OutcomeState
from mjbulk.outcomes.ledger import Ledger


class OutcomeLedger(Ledger):
    """Books that do not grow."""

    def __init__(self, tell: Callable[[Outcome], object]) -> None:
        """Begin with nothing. ``tell`` is called with the outcome of each row."""
        super().__init__()
        self._tell = tell

    def note_jobs(self, *jobs: JobRef) -> None:
        """Keep no job: it is in the outcomes of its rows."""

    def note_accepted(self, rows: Iterable[range], superseded: Iterable[range], job: JobRef | None = None) -> None:
        """Give rows their outcome."""
        joined = {row for some in superseded for row in some}
        for some in rows:
            for row in some:
                self._tell(Outcome(row=row, state="superseded" if row in joined else "accepted", job=job))

    def post_rejections(self, rejections: Sequence[Rejection], job: JobRef | None = None) -> None:
        """Give rows their outcome. An error that means no single row is in the cause of those that it may mean."""
        for rejection in rejections:
            if rejection.row is not None:
                self.rejected += 1
                self.by_jobs += job is not None
                self._tell(Outcome(row=rejection.row, state="rejected", rejection=rejection, job=job))

    def post_unsettled(self, why: Unsettled, *, unknown: int = 0, not_sent: int = 0) -> None:
        """Give rows their outcome."""
        self.unknown += unknown
        self.not_sent += not_sent
        self._give("unknown" if unknown else "not_sent", why)

    def note_cause(self, why: Unsettled, *, unknown: int) -> None:
        """Give rows their outcome."""
        self.unknown += unknown
        self._give("unknown", why)

    def _give(self, state: OutcomeState, why: Unsettled) -> None:
        for some in why.rows:
            for row in some:
                self._tell(Outcome(row=row, state=state, cause=why.cause, job=why.job))
