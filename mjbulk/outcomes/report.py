"""The report of a run: its books and its rejections, as plain data that outlives the client."""

import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Self

import attrs
from attrs import frozen

from mjbulk.errors import Error, RowsRejected, UsageError
from mjbulk.models import COUNT_NAMES, Counts, JobRef, Rejection, Rejections, RunSpec, SupportsArrow, Unsettled
from mjbulk.outcomes.rejection_files import whole_or_not_at_all, write_csv, write_json, write_jsonl
from mjbulk.rows.block import weight
from mjbulk.spill import Spill, SpillRef

_IN_MEMORY = 1000
_BYTES_IN_MEMORY = 2**20
_SORTED_AT_ONCE = 20_000
_READ_AT_ONCE = 100


class RejectionStore(Rejections):
    """Rejections in the order in which they became known: in memory, and each full thousand in a file without a name;
    fewer where their rows are wide.

    Mutable state: it grows while its run goes on. It can be iterated at any time, any number of times, also by several.
    """

    def __init__(self, rejections: Sequence[Rejection] = ()) -> None:
        """Begin with these."""
        self._spill = Spill()
        self._refs: list[SpillRef] = []
        self._recent: list[Rejection] = []
        self._count = 0
        self._bytes = 0
        for rejection in rejections:
            self.add(rejection)

    def add(self, rejection: Rejection) -> None:
        """Take in one more."""
        self._recent.append(rejection)
        self._count += 1
        self._bytes += weight((rejection.data or {}).values())
        if len(self._recent) == _IN_MEMORY or self._bytes >= _BYTES_IN_MEMORY:
            if not self._refs:
                weakref.finalize(self, self._spill.close)
            self._refs.append(_put(self._spill, self._recent))
            self._recent, self._bytes = [], 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Rejection]:
        refs, recent = list(self._refs), list(self._recent)  # both at once: it may grow while it is iterated
        yield from _read(self._spill, refs)
        yield from recent

    def __repr__(self) -> str:
        return f"<{self._count} rejections>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RejectionStore) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __reduce__(self) -> tuple[Any, ...]:
        return RejectionStore, (list(self),)


def _put(spill: Spill, rejections: Sequence[Rejection]) -> SpillRef:
    return spill.put([attrs.astuple(rejection, recurse=False) for rejection in rejections])


def _read(spill: Spill, refs: Iterable[SpillRef]) -> Iterator[Rejection]:
    names = [f.name for f in attrs.fields(Rejection)]
    for ref in refs:
        yield from (Rejection(**dict(zip(names, values, strict=True))) for values in spill.get(ref))


def sorted_by_row(rejections: Rejections) -> Iterator[Rejection]:
    """Give the rejections whose rows are known, in the order of the source, with some thousands of them in memory.

    They became known as jobs ended. Sorted runs of them go into a file without a name, and are merged from there.
    """
    known = (rejection for rejection in rejections if rejection.row is not None)
    if len(rejections) <= _SORTED_AT_ONCE:
        yield from sorted(known, key=_row_of)
        return
    spill, runs = Spill(), list[list[SpillRef]]()
    try:
        while some := sorted(islice(known, _SORTED_AT_ONCE), key=_row_of):
            starts = range(0, len(some), _READ_AT_ONCE)
            runs.append([_put(spill, some[start : start + _READ_AT_ONCE]) for start in starts])
        yield from merge(*(_read(spill, refs) for refs in runs), key=_row_of)
    finally:
        spill.close()


def _row_of(rejection: Rejection) -> int:
    return rejection.row or 0


@frozen(kw_only=True)
class Report(Counts):
    """What became of every row of a run. Plain data: it can be read and pickled after the client has closed."""

    spec: RunSpec = attrs.field(repr=False)
    """What was asked for."""
    run_id: str
    jobs: Sequence[JobRef] = attrs.field(default=(), repr=lambda jobs: f"<{len(jobs)}>")
    """The jobs that took its chunks."""
    requests: int = 0
    """Requests that were sent, polls and repetitions included."""
    seconds: float = 0.0
    """How long it took."""
    stored: bool = False
    """Whether it was read from the journal: the run had ended before, and nothing was sent now."""
    halted: Error | None = None
    """Why it stopped early."""
    rejections: Rejections = attrs.field(factory=RejectionStore)
    """The rows that were refused, here or by Mailjet."""
    unsettled: Sequence[Unsettled] = attrs.field(default=(), repr=lambda them: f"<{len(them)}>")
    """Why rows are unknown or not sent, and notes on counts that do not agree."""

    @property
    def ok(self) -> bool:
        """Every row was accepted or superseded, and the source was read to its end."""
        return self.complete and self.rejected == 0

    @property
    def complete(self) -> bool:
        """No row is unknown or unsent, and the source was read to its end."""
        return self.unknown == 0 and self.not_sent == 0 and self.halted is None

    def raise_for_rows(self, *, max_rejected: int = 0) -> Self:
        """Give the report itself, or raise RowsRejected where more rows were rejected than ``max_rejected``."""
        if self.rejected > max_rejected:
            raise RowsRejected(self, allowed=max_rejected)
        return self

    def summary(self) -> str:
        """Say the books in a line, without anybody's data."""
        others = [f"{getattr(self, name)} {name.replace('_', ' ')}" for name in COUNT_NAMES[1:] if getattr(self, name)]
        return f"{self.rows} rows: {', '.join(others) or 'none'}"

    def __str__(self) -> str:
        end = "; it had ended before, nothing was sent now" if self.stored else ""
        end = end if self.halted is None else "; stopped early"
        return f"{self.run_id}: {self.summary()} in {len(self.jobs)} jobs, {self.seconds:.1f} s{end}"

    def table(self) -> str:
        """Say the books as a table, a line for each figure, without anybody's data."""
        figures = {name: f"{getattr(self, name):,}" for name in (*COUNT_NAMES[1:], COUNT_NAMES[0])}
        figures |= {"jobs": f"{len(self.jobs):,}", "requests": f"{self.requests:,}", "seconds": f"{self.seconds:,.1f}"}
        width = max(map(len, figures.values()))
        return "\n".join(f"{name.replace('_', ' '):<10}  {figure:>{width}}" for name, figure in figures.items())

    def as_dict(self) -> dict[str, Any]:
        """Give the counts and figures as plain data, for JSON; ``jobs`` is a number."""
        figures = {"jobs": len(self.jobs), "requests": self.requests, "seconds": round(self.seconds, 3)}
        return {"run_id": self.run_id, **super().as_dict(), **figures, "complete": self.complete}

    def write_rejections(self, path: str | os.PathLike[str]) -> int:
        """Write the rejected rows and give their number: ``.csv`` (safe to open in a spreadsheet), ``.jsonl`` (raw), or
        ``.json``: one object with the figures of `as_dict`, ``halted``, ``unsettled``, and the list ``rejections``.

        The columns are ``row, email, field, message, match, origin``, and the source's own after them. The file appears
        whole or not at all, readable for its owner alone. Raises UsageError for another ending.
        """
        target = Path(path)
        write = self._writers().get(target.suffix.casefold())
        if write is None:
            raise UsageError(f"rejections are written as {', '.join(self._writers())}")
        with whole_or_not_at_all(target) as file:
            write(self.rejections, file)
        return len(self.rejections)

    def _writers(self) -> dict[str, Callable[[Rejections, BinaryIO], None]]:
        return {".csv": write_csv, ".jsonl": write_jsonl, ".json": partial(write_json, self._head())}

    def _head(self) -> dict[str, Any]:
        """Give all but the rejections as plain data; a range of rows as its first and its last."""
        unsettled = [
            {"rows": [why.rows.start, why.rows.stop - 1], "cause": why.cause, "job": why.job and str(why.job)}
            for why in self.unsettled
        ]
        return {**self.as_dict(), "halted": self.halted and str(self.halted), "unsettled": unsettled}

    def to_arrow(self) -> SupportsArrow:
        """Give the rejections as a table that pandas, polars, pyarrow and DuckDB read, a few at a time, any number of
        times.

        Its columns are ``row, email, field, message, match, origin, candidates`` (a list of numbers) and ``data`` (the
        row as it was given, as JSON). Raises UsageError where the extra ``arrow`` is missing.
        """
        from mjbulk.outcomes.rejection_table import RejectionTable  # noqa: PLC0415  # an extra, loaded when it is used

        return RejectionTable(self.rejections)


class Ledger:
    """The books of a run while it goes on. Every row that was read is posted exactly once."""

    def __init__(self) -> None:
        """Begin with nothing. All fields are mutable; the run alone writes them."""
        self.accepted = self.rejected = self.superseded = self.unknown = self.not_sent = 0
        self.rejections = RejectionStore()
        self.unsettled: list[Unsettled] = []
        self.jobs: list[JobRef] = []

    def post_accepted(self, rows: int, superseded: int) -> None:
        """Rows are at Mailjet, and earlier ones of the same people with them."""
        self.accepted += rows
        self.superseded += superseded

    def post_rejected(self, rejection: Rejection) -> None:
        """A row was refused."""
        self.rejected += 1
        self.rejections.add(rejection)

    def keep_unassigned(self, rejection: Rejection) -> None:
        """An error was reported that means no row for certain: the rows that it may mean are posted as unknown."""
        self.rejections.add(rejection)

    def post_unsettled(self, why: Unsettled, *, unknown: int = 0, not_sent: int = 0) -> None:
        """Nobody can say what became of rows, or they were not sent."""
        self.unknown += unknown
        self.not_sent += not_sent
        if unknown or not_sent:
            self.unsettled.append(why)

    @property
    def settled(self) -> int:
        """How many rows have their outcome."""
        return self.accepted + self.rejected + self.superseded + self.unknown + self.not_sent

    def counts(self, rows: int) -> Counts:
        """Give the books, of so many rows that were read."""
        return Counts(
            rows=rows,
            accepted=self.accepted,
            rejected=self.rejected,
            superseded=self.superseded,
            unknown=self.unknown,
            not_sent=self.not_sent,
        )
