"""What users see of a run in a journal, and how its rows are counted."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from attrs import frozen

from mjbulk.models import COUNT_NAMES, Counts, JobRef
from mjbulk.public import public

PartState = Literal["unsent", "sending", "watched", "halved", "settled"]
RunState = Literal["running", "resumable", "settled"]
SUMS = ("rows", "accepted", "rejected", "superseded", "unknown")
"""The counts of a part that the journal has."""


@public
@frozen(kw_only=True)
class RunInfo(Counts):
    """A run in a journal. Rows in flight count as unknown."""

    run_id: str
    partition: str | None = None
    state: RunState
    """``running``: in this process or another one. ``resumable``: it can go on. ``settled``: nothing more can be done,
    or nothing without its source."""
    created: str = ""
    """When it began, in RFC 3339."""

    def as_dict(self) -> dict[str, Any]:
        """Give all of it as plain data, for JSON."""
        about = {name: getattr(self, name) for name in ("run_id", "partition", "state", "created")}
        return {**about, **super().as_dict()}


@public
@frozen(kw_only=True)
class ChunkInfo(Counts):
    """A chunk of a run in a journal, or a part of a chunk that was halved. ``rows`` is the number of its rows."""

    partition: str | None = None
    number: int
    """Its number in the run, from 1."""
    span: range
    """The range of rows of the whole chunk. Rows in it that mjbulk refused are not counted."""
    state: PartState
    """``unsent``; ``sending``: it may have been applied; ``watched``: its job is known; ``settled``."""
    job: JobRef | None = None
    """The job that took it."""
    cause: str = ""
    """Why rows are unknown, or which counts do not agree."""

    def as_dict(self) -> dict[str, Any]:
        """Give all of it as plain data, for JSON; the span as its first and last row."""
        return {
            "partition": self.partition,
            "number": self.number,
            "span": [self.span.start, self.span.stop - 1],
            "state": self.state,
            "job": self.job and str(self.job),
            **super().as_dict(),
            "cause": self.cause,
        }


def together(parts: Sequence[RunInfo]) -> RunInfo:
    """Combine the partitions of a run: it is running while one of them is, and settled when all are."""
    states = {part.state for part in parts}
    sums = {name: sum(getattr(part, name) for part in parts) for name in COUNT_NAMES}
    state = next(state for state in ("running", "resumable", "settled") if state in states)
    return RunInfo(**sums, run_id=parts[0].run_id, state=state, created=parts[0].created)


def sum_counts(rows: int, refused: int, parts: Iterable[tuple[str, int, int, int, int, int]]) -> Counts:
    """Count the rows of a run by their outcomes.

    ``rows`` are those of its chunks, ``refused`` those that mjbulk refused; ``parts`` gives the state and the `SUMS` of
    parts. Rows of parts in flight count as unknown, other rows without an outcome as not sent.
    """
    sums = [0] * len(SUMS)
    under_way = 0
    for state, *figures in parts:
        if state == "settled":
            sums = [total + figure for total, figure in zip(sums, figures, strict=True)]
        elif state in ("sending", "watched"):
            under_way += figures[0]
    settled, accepted, rejected, superseded, unknown = sums
    return Counts(
        rows=rows + refused,
        accepted=accepted,
        rejected=rejected + refused,
        superseded=superseded,
        unknown=unknown + under_way,
        not_sent=rows - settled - under_way,
    )
