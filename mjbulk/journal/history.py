"""What a journal knows about a run: its chunks, their parts, and the counts of their rows."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence

import orjson
from attrs import field, frozen

from mjbulk.journal.info import SUMS, ChunkInfo, PartState, PartSums, RunFacts, RunInfo
from mjbulk.journal.records import ChunkRecord, PartRecord, RejectionRecord, RunRecord, damaged, decode_spec
from mjbulk.journal.row_sets import RowSets, hull, without
from mjbulk.models import Counts, JobRef, Unsettled
from mjbulk.terms import harmless_to_retry


def facts_of(run: RunRecord, cut: int, refused: int, parts: Sequence[PartSums]) -> RunFacts:
    """Add up the records of a run. ``cut`` rows are in its chunks, and mjbulk refused ``refused`` rows."""
    spec = decode_spec(run.spec)
    actions = [action for _, action in spec.lists or ()]
    gathers = run.kind == "ingester"
    if gathers:  # the counts of chunks whose records were deleted
        cut += run.rows
        parts = [*parts, PartSums(state="settled", **{name: getattr(run, name) for name in SUMS})]
    return RunFacts(
        closed=run.closed,
        gathers=gathers,
        whole=run.whole,
        located=bool(run.source),
        csv=spec.via == "csv",
        retry=harmless_to_retry(actions, excludes=spec.excluded is not None, resend=spec.resend),
        retry_overtaken=spec.resend == "always",
        read=run.rows,
        cut=cut,
        refused=refused,
        parts=[part for part in parts if part.state != "halved"],
    )


def info_of(run: RunRecord, facts: RunFacts, *, is_open: bool) -> RunInfo:
    """Give the counts and the state of a run. ``is_open``: somebody has it open."""
    state, complete = facts.state(is_open=is_open), facts.complete()
    unclosed = "" if run.closed else "its process ended before it did"
    spec = decode_spec(run.spec)
    return RunInfo(
        **facts.counts().as_dict(),
        run_id=run.run_id,
        partition=run.partition or None,
        state=state,
        complete=complete,
        cause=None if is_open or complete else run.cause or unclosed or None,
        created=run.created,
        ingester=facts.gathers,
        seconds=run.milliseconds / 1000,
        lists=None if spec.lists is None else tuple((ref, action.value) for ref, action in spec.lists),
        excluded=spec.excluded,
        source=orjson.loads(run.source).get("path") if run.source else None,
    )


def _alike(part: PartRecord) -> PartSums:
    figures = {name: getattr(part, name) for name in SUMS}
    uploaded, explained = part.data_id is not None, bool(part.cause)
    return PartSums(state=part.state, uploaded=uploaded, overtaken=part.overtaken, explained=explained, **figures)


@frozen(kw_only=True)
class History:
    """What a journal knows about a run when the run is opened."""

    run: RunRecord
    chunks: Mapping[int, ChunkRecord] = field(factory=dict, repr=False)
    parts: Mapping[int, Sequence[PartRecord]] = field(factory=dict, repr=False)
    """The parts of each chunk in the order of its entries. Parts that were halved are left out."""
    refused: int = 0
    """How many rows mjbulk refused."""
    begun: bool = True
    """Whether the journal has a record of it."""

    @classmethod
    def of(cls, run: RunRecord, chunks: Sequence[ChunkRecord], parts: Sequence[PartRecord], refused: int) -> "History":
        """Combine the records of a run. Raises JournalRefused if a record is missing."""
        numbers = [chunk.number for chunk in chunks]
        by_chunk: dict[int, list[PartRecord]] = {number: [] for number in numbers}
        for part in parts:
            if part.state != "halved":
                by_chunk.setdefault(part.chunk, []).append(part)
        gaps = run.kind != "ingester" and numbers != list(range(1, len(numbers) + 1))
        if gaps or len(by_chunk) != len(numbers):
            raise damaged("chunks are missing")
        for chunk in chunks:
            ends = [0, *(part.end for part in by_chunk[chunk.number])]
            starts = [*(part.first for part in by_chunk[chunk.number]), chunk.entries]
            rows = sum(part.rows for part in by_chunk[chunk.number])
            if ends != starts or rows != chunk.rows:
                raise damaged(f"parts of chunk {chunk.number} are missing")
        return cls(run=run, chunks={chunk.number: chunk for chunk in chunks}, parts=by_chunk, refused=refused)

    @property
    def last(self) -> int:
        """The number of the last chunk."""
        return len(self.chunks)

    @property
    def facts(self) -> RunFacts:
        """Its records, added up."""
        cut = sum(chunk.rows for chunk in self.chunks.values())
        parts = [_alike(part) for parts in self.parts.values() for part in parts]
        return facts_of(self.run, cut, self.refused, parts)

    def counts(self) -> Counts:
        """Count the rows of the run by their outcomes. Rows of parts in flight count as unknown."""
        return self.facts.counts()

    def jobs(self) -> Iterator[JobRef]:
        """Give the jobs that took its parts."""
        for parts in self.parts.values():
            yield from (JobRef.parse(part.job) for part in parts if part.job)

    def chunk_infos(self) -> Iterator[ChunkInfo]:
        """Give the state of each chunk, or of each part of a chunk that was halved."""
        csv = self.facts.csv
        for number, chunk in self.chunks.items():
            for part in self.parts[number]:
                yield ChunkInfo(
                    **_alike(part).counts(csv=csv).as_dict(),
                    partition=self.run.partition or None,
                    number=number,
                    span=hull(chunk),
                    state=part.state,
                    job=JobRef.parse(part.job) if part.job else None,
                    cause=part.cause,
                )

    def unsettled(self, rejections: Iterable[RejectionRecord] = ()) -> Iterator[Unsettled]:
        """Give the rows that are unknown or were not sent, with the cause. ``rejections`` are all those of the run, in
        the order in which a journal gives them.
        """
        found = UnsettledRows(self)
        for record in rejections:
            found.note(record)
        yield from found


class UnsettledRows:
    """Finds the rows of a run that are unknown or were not sent. Mutable state: rejections that matter for that.

    `note` is called with all rejections of the run, in the order in which a journal gives them, before it is iterated.
    """

    def __init__(self, history: History) -> None:
        """Begin without a rejection."""
        self._run = history.run
        facts = history.facts
        self._csv = facts.csv
        self._read = facts.read if facts.read > facts.cut + facts.refused else 0
        parts = (part for parts in history.parts.values() for part in parts)
        self._parts = [part for part in parts if part.cause or part.state in _UNSETTLED]
        wanted = {part.chunk for part in self._parts if _has_rows(part)}
        self._sets = RowSets(history.chunks, wanted, pending=self._read > 0)
        self._rejected = {
            (part.chunk, part.first): array("Q") for part in self._parts if part.rejected and _has_rows(part)
        }

    def note(self, record: RejectionRecord) -> None:
        """Note a rejection."""
        if record.row is None:
            return
        if record.chunk == 0:
            self._sets.refuse(record.row)
        elif (record.chunk, record.first) in self._rejected:
            self._rejected[record.chunk, record.first].append(record.row)

    def __iter__(self) -> Iterator[Unsettled]:
        yield from (why for why, _ in self.with_doubt())

    def with_doubt(self) -> Iterator[tuple[Unsettled, bool]]:
        """Give rows, and whether they may have been sent: then they are unknown, and else not sent."""
        for part in self._parts:
            rejected = sorted(self._rejected.get((part.chunk, part.first), ()))
            why = Unsettled(
                rows=without(self._sets.of_part(part), rejected) if _has_rows(part) else (),
                cause=part.cause or _UNSETTLED[part.state if self._sent(part) else "unsent"],
                job=JobRef.parse(part.job) if part.job else None,
            )
            yield why, self._sent(part)
        if self._read:  # rows were read that are in no chunk, and were not refused
            why = Unsettled(rows=self._sets.pending(self._read), cause=self._run.cause or _UNSETTLED["unsent"])
            yield why, False

    def _sent(self, part: PartRecord) -> bool:
        return part.state in ("settled", "watched") or _alike(part).in_doubt(csv=self._csv)


def _has_rows(part: PartRecord) -> bool:
    """Tell whether rows of a part are unknown or were not sent. If not, its cause is that counts do not agree."""
    return part.state != "settled" or part.unknown > 0


_UNSETTLED: Mapping[PartState, str] = {
    "unsent": "it was not sent",
    "sending": "it was under way when the run ended",
    "watched": "it was under way when the run ended",
}


class SettledRows:
    """Finds the rows of a run that were accepted, and those that were superseded. Mutable state: its rejections.

    `note` is called with all rejections of the run, in the order in which a journal gives them, before it is iterated.
    """

    def __init__(self, history: History) -> None:
        """Begin without a rejection."""
        self.rejected = array("Q")
        """Rows that Mailjet rejected: the caller removes them from the rows that are given."""
        parts = (part for parts in history.parts.values() for part in parts)
        self._parts = [part for part in parts if part.state == "settled" and part.accepted]
        self._sets = RowSets(history.chunks, {part.chunk for part in self._parts})

    def note(self, record: RejectionRecord) -> None:
        """Note a rejection."""
        if record.row is None:
            return
        if record.chunk:
            self.rejected.append(record.row)
        else:
            self._sets.refuse(record.row)

    def __iter__(self) -> Iterator[tuple[tuple[range, ...], tuple[range, ...]]]:
        """Give the rows of each part, and those of them that were superseded."""
        for part in self._parts:
            superseded = self._sets.superseded(part) if part.superseded else ()
            yield self._sets.of_part(part), superseded
