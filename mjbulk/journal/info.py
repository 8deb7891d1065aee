"""What users see of a run in a journal: how its rows are counted, and in which state it is.

The state is that of the first line that applies:

================  ==================================================================================================
state             if
================  ==================================================================================================
``running``       somebody has the run open
``resumable``     the process that had it open ended without closing it
``resumable``     a job of it can be watched: a part is watched, without a cause
``resumable``     a lost answer of it can be looked for: a part in doubt was uploaded, and has no cause
``settled``       it is of an ingester, which has no source
``resumable``     something of it waits for its source, and the journal knows where that is
``needs_source``  the source was not read to its end, or not every row of it is in a chunk
``needs_source``  rows of it were not sent
``needs_source``  a job of it has ended, and its rejections wait for the rows: a part is watched, with a cause
``needs_source``  a part in doubt can be retried, and has no cause, or was uploaded
``settled``       in all other cases: the outcome of every row is known, or can never be known
================  ==================================================================================================

The lines with ``needs_source`` say what waits for the source. A part in doubt can be retried if the terms of the run
allow it. If later rows of its people were sent, it can be retried only with ``resend="always"``. The cause of a part in
doubt says why it was given up, or that its upload was looked for and not found.

A run is ``complete`` if its source was read to its end, and no row of it is unknown or unsent.
"""

from collections.abc import Sequence
from typing import Any, Literal

from attrs import frozen

from mjbulk.models import COUNT_NAMES, Counts, JobRef
from mjbulk.public import public

PartState = Literal["unsent", "sending", "watched", "halved", "settled"]
RunState = Literal["running", "resumable", "needs_source", "settled"]
SUMS = ("rows", "accepted", "rejected", "superseded", "unknown")
"""The counts of a part that the journal has."""


@public
@frozen(kw_only=True)
class RunInfo(Counts):
    """A run in a journal. Rows in flight count as unknown."""

    run_id: str
    """The name of the run."""
    partition: str | None = None
    """The name of its part; None for a whole run."""
    state: RunState
    """``running``: in this process or another one. ``resumable``: it can go on as it is. ``needs_source``: it can go on
    only with its source. ``settled``: the outcome of every row is known, or can never be known."""
    complete: bool = False
    """Whether its source was read to its end, and no row is unknown or unsent."""
    cause: str | None = None
    """Why it stopped early, with addresses masked."""
    created: str = ""
    """When it began, in RFC 3339."""
    ingester: bool = False
    """Whether it is of an ingester, and has no source."""
    seconds: float = 0.0
    """Seconds that it took, in all processes that had it; 0 before one of them has ended."""
    lists: tuple[tuple[int | str, str], ...] | None = None
    """Its lists as they were given, each with its action; None for no list."""
    excluded: bool | None = None
    """Whether it puts people on the exclusion list (True) or takes them off it (False); None if it does neither."""
    source: str | None = None
    """The path of the file that it reads; None if it is no file."""

    def as_dict(self) -> dict[str, Any]:
        """Give all of it as plain data, for JSON."""
        names = ("run_id", "partition", "state", "complete", "cause", "created", "ingester")
        about = {name: getattr(self, name) for name in names}
        lists = None if self.lists is None else [list(pair) for pair in self.lists]
        more = {"seconds": self.seconds, "lists": lists, "excluded": self.excluded, "source": self.source}
        return {**about, **super().as_dict(), **more}

    @property
    def action(self) -> str:
        """What it does, in words: ``addnoforce 42``, ``exclude``, or ``no list``."""
        if self.excluded is not None:
            return "exclude" if self.excluded else "include"
        return ", ".join(f"{action} {ref}" for ref, action in self.lists or ()) or "no list"

    @property
    def name(self) -> str:
        """The name of the file that it reads; empty if it is no file."""
        return (self.source or "").replace("\\", "/").rpartition("/")[2]


@public
@frozen(kw_only=True)
class ChunkInfo(Counts):
    """A chunk of a run in a journal, or a part of a chunk that was halved. ``rows`` is the number of its rows."""

    partition: str | None = None
    """The part of the run; None for a whole run."""
    number: int
    """Its number in the run, from 1."""
    span: range
    """The smallest range that has all rows of the whole chunk. Rows in it that mjbulk refused, and rows of other
    chunks, are not counted."""
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
    """Combine the partitions of a run. Its state is the first of ``running``, ``resumable``, ``needs_source`` and
    ``settled`` that one of them has. It is complete when all of them are.
    """
    states = {part.state for part in parts}
    sums = {name: sum(getattr(part, name) for part in parts) for name in COUNT_NAMES}
    return RunInfo(
        **sums,
        run_id=parts[0].run_id,
        state=next(state for state in _STATES if state in states),
        complete=all(part.complete for part in parts),
        cause=next((part.cause for part in parts if part.cause), None),
        created=parts[0].created,
        ingester=parts[0].ingester,
        seconds=max(part.seconds for part in parts),
        lists=parts[0].lists,
        excluded=parts[0].excluded,
        source=next((part.source for part in parts if part.source), None),
    )


_STATES: Sequence[RunState] = ("running", "resumable", "needs_source", "settled")


# The records of a run, added up


@frozen(kw_only=True)
class PartSums:
    """Parts of a run that are alike, added up."""

    state: PartState
    uploaded: bool = False
    """Whether their data was uploaded. On the CSV way nothing is applied before that."""
    overtaken: bool = False
    """Whether later rows of their people were sent."""
    explained: bool = False
    """Whether they have a cause."""
    rows: int
    accepted: int = 0
    rejected: int = 0
    superseded: int = 0
    unknown: int = 0

    def in_doubt(self, *, csv: bool) -> bool:
        """Tell whether it is not known if they were applied, or they were given up."""
        return self.state == "sending" and (self.uploaded or self.explained or not csv)

    def counts(self, *, csv: bool) -> Counts:
        """Count their rows by outcomes. Rows in flight count as unknown, other rows without an outcome as not sent."""
        if self.state == "settled":
            return Counts(**{name: getattr(self, name) for name in SUMS})
        in_flight = self.state == "watched" or self.in_doubt(csv=csv)
        return Counts(rows=self.rows, **{"unknown" if in_flight else "not_sent": self.rows})


@frozen(kw_only=True)
class RunFacts:
    """The records of a run, added up."""

    closed: bool
    """Whether the process that had the run has written how it ended."""
    gathers: bool = False
    """Whether it is of an ingester."""
    whole: bool
    """Whether the source was read to its end, and each of its rows is in a chunk or was refused."""
    located: bool
    """Whether the journal knows where the source can be read again."""
    csv: bool
    retry: bool
    """Whether the terms allow it to retry a part in doubt."""
    retry_overtaken: bool
    """Whether they allow that also if later rows of its people were sent."""
    read: int
    """How many rows were read, by the last record that says it."""
    cut: int
    """How many rows are in chunks."""
    refused: int
    """How many rows mjbulk refused."""
    parts: Sequence[PartSums]

    def counts(self) -> Counts:
        """Count the rows by outcomes. Rows that were read and are in no chunk count as not sent."""
        parts = [part.counts(csv=self.csv) for part in self.parts]
        rows = max(self.read, self.cut + self.refused)
        known = {name: sum(getattr(part, name) for part in parts) for name in SUMS[1:]}
        known["rejected"] += self.refused
        return Counts(rows=rows, **known, not_sent=rows - sum(known.values()))

    def complete(self) -> bool:
        """Tell whether the source was read to its end, and no row is unknown or unsent."""
        counts = self.counts()
        return self.whole and not counts.unknown and not counts.not_sent

    def state(self, *, is_open: bool) -> RunState:
        """Give the state of the run. ``is_open``: somebody has it open."""
        if is_open:
            return "running"
        waits = self.waits_for_source()
        if not self.closed or any(map(self._goes_on, self.parts)) or (waits and self.located):
            return "resumable"
        return "needs_source" if waits else "settled"

    def waits_for_source(self) -> bool:
        """Tell whether something can be done only with the source."""
        if self.gathers:
            return False
        return not self.whole or self.counts().not_sent > 0 or any(map(self._waits, self.parts))

    def _goes_on(self, part: PartSums) -> bool:
        """Tell whether a job can be watched, or a lost answer can be looked for."""
        return not part.explained and (part.state == "watched" or (part.state == "sending" and part.uploaded))

    def _waits(self, part: PartSums) -> bool:
        """Tell whether rejections wait for the rows, or a part in doubt can be retried."""
        if part.state == "watched":
            return part.explained
        if not part.in_doubt(csv=self.csv) or (part.explained and not part.uploaded):
            return False
        return self.retry and (self.retry_overtaken or not part.overtaken)
