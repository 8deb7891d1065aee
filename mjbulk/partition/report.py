"""What became of the rows of a partition, or of several."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
from attrs import frozen

from mjbulk.errors import UsageError
from mjbulk.models import COUNT_NAMES, Counts
from mjbulk.outcomes.report import Report
from mjbulk.outcomes.row_set import RowSet
from mjbulk.public import public


@public
@frozen(kw_only=True)
class PartitionReport(Counts):
    """What became of the rows of one partition of a run, or of several that were merged. It can be pickled, and has no
    data of a row. The journal has more: ``Client.get_report(run_id, partition=...)``.
    """

    run_id: str
    """The name of the run."""
    partition: str
    """The name of the partition; empty for several that were merged."""
    rejections_path: str | None = None
    """The file with the rejected rows, None if there is none. For merged reports it is the folder of their files."""
    stored: bool = attrs.field(default=False, eq=False)
    """Whether it was read from the journal, because the partition had ended before: nothing was sent now. Of merged
    reports: whether that holds for each. Two reports of a partition are equal all the same."""
    parts: Sequence["PartitionReport"] = attrs.field(default=(), repr=lambda parts: f"<{len(parts)}>")
    """The reports that were merged."""
    rows_accepted: RowSet = attrs.field(factory=RowSet, repr=False)
    """The numbers of accepted rows; `accepted_rows` gives them."""

    @classmethod
    def of(cls, report: Report, partition: str, path: str | None) -> "PartitionReport":
        """Make it from the report of a partition, and the path of its file with rejected rows."""
        return cls(
            **{name: getattr(report, name) for name in COUNT_NAMES},
            run_id=report.run_id,
            partition=partition,
            rejections_path=path,
            stored=report.stored,
            rows_accepted=report.rows_accepted,
        )

    def accepted_rows(self) -> Iterator[range]:
        """Give the numbers of the rows that were accepted, as ranges, ascending. They count from 1 in each partition.

        Raises UsageError for several partitions: ask each of ``parts``.
        """
        if self.parts:
            raise UsageError("rows are counted from 1 in each partition: ask each of report.parts for its rows")
        return self.rows_accepted.ranges()

    def merge(self, *others: "PartitionReport") -> "PartitionReport":
        """Add up reports of different partitions of one run; each of them may be merged already.

        Raises UsageError if they are of several runs, or if a partition is in two of them: its rows would count twice.
        """
        if not others:
            return self
        parts = [part for one in (self, *others) for part in one.parts or (one,)]
        if any(part.run_id != self.run_id for part in parts):
            raise UsageError("these reports are of several runs, and only those of one run can be merged")
        often = [name for name, count in Counter(part.partition for part in parts).items() if count > 1]
        if often:
            raise UsageError(f"partition {min(often)!r} is in two of these reports, and would count twice")
        return merged(parts)

    @property
    def ok(self) -> bool:
        """Whether every row was accepted or superseded."""
        return self.complete and self.rejected == 0

    @property
    def complete(self) -> bool:
        """Whether no row is unknown or unsent."""
        return self.unknown == 0 and self.not_sent == 0

    def __str__(self) -> str:
        where = f"{len(self.parts)} partitions" if self.parts else f"partition {self.partition}"
        return f"{self.run_id}: {self.summary()} in {where}{self._what_was_stored()}"

    def _what_was_stored(self) -> str:
        """Say how much of it was read from the journal."""
        stored = sum(part.stored for part in self.parts)
        if self.stored or not stored:
            who = "they" if self.parts else "it"
            return f"; {who} had ended before, nothing was sent now" if self.stored else ""
        return f"; {stored} of them had ended before, nothing was sent for those now"

    def as_dict(self) -> dict[str, Any]:
        """Give all of it as plain data, for JSON, without personal data. ``parts`` has the dicts of merged reports."""
        about = {"run_id": self.run_id, "partition": self.partition, "rejections_path": self.rejections_path}
        ends = {"complete": self.complete, "stored": self.stored}
        return {**about, **super().as_dict(), **ends, "parts": [part.as_dict() for part in self.parts]}


def merged(parts: Sequence[PartitionReport]) -> PartitionReport:
    """Add up reports of different partitions, at least one."""
    folders = [os.path.dirname(part.rejections_path) for part in parts if part.rejections_path]  # noqa: PTH120  # it may be a URL
    return PartitionReport(
        **{name: sum(getattr(part, name) for part in parts) for name in COUNT_NAMES},
        run_id=parts[0].run_id,
        partition="",
        rejections_path=folders[0] if folders else None,
        stored=all(part.stored for part in parts),
        parts=tuple(sorted(parts, key=lambda part: part.partition)),
    )
