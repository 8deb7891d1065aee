"""The report of a run: its books and its rejections, as plain data that outlives the client."""

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Self

import attrs
from attrs import frozen

from mjbulk.errors import Error, RowsRejected, UsageError
from mjbulk.models import COUNT_NAMES, Counts, JobRef, Rejection, Rejections, SupportsArrow, Unsettled, summary_of_run
from mjbulk.outcome import Outcome, OutcomeState
from mjbulk.outcomes.rejection_files import write_rejections
from mjbulk.outcomes.rejections import RejectionStore
from mjbulk.outcomes.row_set import RowSet
from mjbulk.public import public
from mjbulk.terms import RunSpec


@public
@frozen(kw_only=True)
class Report(Counts):
    """What became of every row of a run. Plain data: it can be read and pickled after the client has closed."""

    spec: RunSpec = attrs.field(repr=False)
    """The terms of the run."""
    run_id: str
    """The name of the run."""
    jobs: Sequence[JobRef] = attrs.field(default=(), repr=lambda jobs: f"<{len(jobs)}>")
    """The jobs that took its chunks."""
    requests: int = 0
    """How many requests were sent, with polls and retries."""
    seconds: float = 0.0
    """Seconds that the run took."""
    stored: bool = False
    """Whether it was read from the journal, because the run had ended before. Then nothing was sent now."""
    halted: Error | None = None
    """Why the run stopped early; None if it did not."""
    rows_accepted: RowSet = attrs.field(factory=RowSet, repr=False)
    """The numbers of accepted rows; `accepted_rows` gives them."""
    rows_superseded: RowSet = attrs.field(factory=RowSet, repr=False)
    """The numbers of superseded rows; `superseded_rows` gives them."""
    rows_not_sent: RowSet = attrs.field(factory=RowSet, repr=False)
    """The numbers of rows that were not sent."""
    rejections: Rejections = attrs.field(factory=RejectionStore)
    """The rows that mjbulk or Mailjet refused."""
    unsettled: Sequence[Unsettled] = attrs.field(default=(), repr=lambda them: f"<{len(them)}>")
    """Why rows are unknown or were not sent, and which counts do not agree."""

    def accepted_rows(self) -> Iterator[range]:
        """Give the numbers of the rows that were accepted, as ranges: ascending, none of them in two.

        Rows that were superseded are not among them.
        """
        return self.rows_accepted.ranges()

    def superseded_rows(self) -> Iterator[range]:
        """Give the numbers of the rows that a later row of the same person has replaced, as ranges, ascending."""
        return self.rows_superseded.ranges()

    def outcome_of(self, row: int) -> Outcome:
        """Say what became of a row, by its number.

        ``job`` is known of rows that are unknown, and not of others. Raises UsageError if the run has read no such row.
        """
        if row in self.rows_accepted:
            return Outcome(row=row, state="accepted")
        if row in self.rows_superseded:
            return Outcome(row=row, state="superseded")
        if (rejection := self._rejection_of(row)) is not None:
            return Outcome(row=row, state="rejected", rejection=rejection)
        for why in self.unsettled:
            if _has(why.rows, row):
                state: OutcomeState = "not_sent" if row in self.rows_not_sent else "unknown"
                return Outcome(row=row, state=state, job=why.job, cause=why.cause)
        raise UsageError(f"run {self.run_id} has read no row {row}: rows are counted from 1")

    def _rejection_of(self, row: int) -> Rejection | None:
        if isinstance(self.rejections, RejectionStore):
            return self.rejections.of_row(row)
        return next((rejection for rejection in self.rejections if rejection.row == row), None)

    @property
    def ok(self) -> bool:
        """Whether every row was accepted or superseded, and the source was read to its end."""
        return self.complete and self.rejected == 0

    @property
    def complete(self) -> bool:
        """Whether no row is unknown or unsent, and the source was read to its end."""
        return self.unknown == 0 and self.not_sent == 0 and self.halted is None

    def raise_for_rows(self, *, max_rejected: int = 0) -> Self:
        """Give the report itself, or raise RowsRejected if more rows were rejected than ``max_rejected``."""
        if self.rejected > max_rejected:
            raise RowsRejected(self, allowed=max_rejected)
        return self

    def __str__(self) -> str:
        end = "; it had ended before, nothing was sent now" if self.stored else ""
        end = "; the source had no rows: was it read before?" if not self.rows and not end else end
        end = end if self.halted is None else "; stopped early"
        return f"{self.run_id}: {summary_of_run(self, jobs=len(self.jobs), seconds=self.seconds)}{end}"

    def table(self) -> str:
        """Give the figures as a table with a line for each, without personal data."""
        figures = {name: f"{getattr(self, name):,}" for name in (*COUNT_NAMES[1:], COUNT_NAMES[0])}
        figures |= {"jobs": f"{len(self.jobs):,}", "requests": f"{self.requests:,}", "seconds": f"{self.seconds:,.1f}"}
        width = max(map(len, figures.values()))
        return "\n".join(f"{name.replace('_', ' '):<10}  {figure:>{width}}" for name, figure in figures.items())

    def as_dict(self) -> dict[str, Any]:
        """Give all but the rejections as plain data, for JSON, without personal data.

        ``jobs`` is a number, ``halted`` a sentence or None. Each of ``unsettled`` has ``rows``, which are pairs of a
        first and a last number, ``cause`` and ``job``.
        """
        figures = {"jobs": len(self.jobs), "requests": self.requests, "seconds": round(self.seconds, 3)}
        return {
            "run_id": self.run_id,
            **super().as_dict(),
            **figures,
            "complete": self.complete,
            "halted": self.halted and str(self.halted),
            "unsettled": [_plain(why) for why in self.unsettled],
        }

    def write_rejections(self, path: str | os.PathLike[str]) -> int:
        """Write the rejected rows to a file, and give their number.

        The ending of its name decides: ``.csv`` is safe to open in a spreadsheet, ``.jsonl`` has the rows as they were
        given (an empty cell of a text file is a null), and ``.json`` is one object with all of `as_dict`, and the list
        ``rejections``. The columns are ``row, email, field, message, match, origin, code``, and after them those of the
        source. Once the rows are corrected there, the file can be imported: the reasons are left out. The file appears
        when it is whole, or not at all, and replaces one of its name; only its owner can read it. A `stored` report has
        no addresses and no rows, because a journal keeps none: `Client.get_report` reads them again. Raises UsageError
        for another ending.
        """
        return write_rejections(self.rejections, path, self.as_dict(), text=self.spec.text)

    def to_arrow(self) -> SupportsArrow:
        """Give the rejections as a table that pandas, polars, pyarrow and DuckDB can read, any number of times.

        A few rows of it are in memory at once. Its columns are ``row, email, field, message, match, origin,
        code, candidates`` (a list of numbers) and ``data`` (the row as it was given, as JSON). Raises UsageError if the
        extra ``arrow`` is missing.
        """
        from mjbulk.outcomes.rejection_table import RejectionTable  # noqa: PLC0415  # an extra, loaded when it is used

        return RejectionTable(self.rejections)


def _plain(why: Unsettled) -> dict[str, Any]:
    rows = [[some.start, some.stop - 1] for some in why.rows]
    return {"rows": rows, "cause": why.cause, "job": why.job and str(why.job)}


def _has(ranges: Sequence[range], row: int) -> bool:
    """Say whether ascending ranges have a number."""
    place = bisect_right(ranges, row, key=lambda some: some.start) - 1
    return place >= 0 and row in ranges[place]
