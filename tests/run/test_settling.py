"""Outcomes of the parts of a chunk: on disk first, then in the books, and each row exactly once."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve
from fake_run import chunk_of, context, figures, journal_of, record_of
from support import settled

from mjbulk.chunks.chunk import Chunk
from mjbulk.errors import JournalRefused
from mjbulk.jobs.watched_job import EndedJob
from mjbulk.journal.records import PartRecord, RejectionRecord, rejection_of
from mjbulk.mailjet.replies import JobReply
from mjbulk.models import JobRef, Unsettled
from mjbulk.outcomes.error_file import ErrorFile, RowError
from mjbulk.outcomes.settle import JobOutcome
from mjbulk.run.chunk_rows import PartRows, StoredRows, rows_of_parts
from mjbulk.run.context import RunContext
from mjbulk.run.part import InDoubt, Part, Parts, Refused, Settled, Unsent, Watched
from mjbulk.run.settling import Settling

WATCHED: dict[str, Any] = {"state": "watched", "job": "contact:7"}
DONE = JobReply(status="Completed", count=3)


class Case:
    """One chunk whose parts get their outcomes."""

    def __init__(
        self,
        *people: str,
        records: Sequence[dict[str, Any]] = (WATCHED,),
        run: RunContext | None = None,
        given: bool = True,
        chunk: Chunk | None = None,
    ) -> None:
        self.run = run or context()
        chunk = chunk or chunk_of(*people)
        self.parts = Parts.of([record_of(chunk, **known) for known in records], self.run.spec.via)
        rows = StoredRows(chunk, self.run.spill, self.run.held) if given else None
        self.settling = Settling(self.parts, self.run, rows=rows, open_parts=rows_of_parts(chunk, self.parts))
        self.journal = journal_of(self.run)
        self.ledger = self.run.ledger

    @property
    def part(self) -> Part:
        return next(iter(self.parts))

    async def end(self, *refused: str, reply: JobReply = DONE, part: Part | None = None) -> None:
        """Have the job of a part end, with an error file that names people."""
        errors = [RowError(email=who, message=f"{who} is bad") for who in refused]
        ended = EndedJob(reply=reply, file=ErrorFile(errors=errors) if refused else None)
        part = part or self.part
        await self.settling.ended(part, ended, self.settling.judge(part, ended))

    def figures(self) -> dict[str, int]:
        return figures(self.ledger)

    def rows(self, name: str) -> list[int]:
        return list(getattr(self.ledger, name))


def ranges(unsettled: Sequence[Unsettled]) -> list[Sequence[range]]:
    return [why.rows for why in unsettled]


# A job that has ended


async def test_rows_of_a_job_that_agrees_are_accepted() -> None:
    """A person who comes twice is accepted once, and the earlier row is superseded."""
    case = Case("a", "b", "a", "c")
    await case.end()
    assert case.figures() == {"accepted": 3, "superseded": 1}
    assert (case.rows("accepted_rows"), case.rows("superseded_rows")) == ([2, 3, 4], [1])
    assert case.part.state == Settled()
    assert case.settling.over
    assert case.ledger.unsettled == []


async def test_an_outcome_is_on_disk_before_it_is_in_the_books() -> None:
    """In one commit with its rejections; a crash in between loses nothing."""
    case = Case("a", "b", "c")
    await case.run.log.begin()
    case.journal.open.clear()
    task = asyncio.create_task(case.end("b"))
    await settled()
    _, (part, rejection) = case.journal.commits
    assert isinstance(part, PartRecord)
    assert isinstance(rejection, RejectionRecord)
    assert (part.state, part.accepted, part.rejected) == ("settled", 2, 1)
    assert (rejection.row, rejection.chunk, rejection.first) == (2, 1, 0)
    assert (case.figures(), case.part.state) == ({}, Watched(JobRef("contact", 7), resumed=True))
    assert case.settling.writing == 1
    case.journal.open.set()
    await task
    assert case.figures() == {"accepted": 2, "rejected": 1}
    assert case.settling.writing == 0


async def test_nothing_is_posted_that_could_not_be_written() -> None:
    """The part can still be left."""
    case = Case("a")
    case.journal.failure = OSError("full")
    with pytest.raises(OSError, match="full"):
        await case.end(reply=JobReply(status="Completed", count=1))
    assert (case.figures(), case.settling.unposted(), case.settling.writing) == ({}, [case.part], 0)
    case.settling.leave(case.part, "the run stopped")
    assert case.figures() == {"unknown": 1}


async def test_all_rows_of_a_rejected_entry_are_rejected() -> None:
    """Also those that were merged into it, each with its number and its values."""
    case = Case("a", "b", "a", "c")
    await case.end("a")
    rejections = list(case.ledger.rejections)
    assert [(one.row, one.email, one.message, one.data) for one in rejections] == [
        (1, "a", "a is bad", {"email": "a"}),
        (3, "a", "a is bad", {"email": "a"}),
    ]
    assert case.figures() == {"accepted": 2, "rejected": 2}
    assert (case.rows("accepted_rows"), case.rows("superseded_rows")) == ([2, 4], [])


async def test_a_job_that_did_not_complete_leaves_the_others_unknown() -> None:
    """Whom its error file names is rejected, and `Unsettled` names no row that has an outcome."""
    case = Case("a", "b", "c", "b", "d")
    await case.end("b", reply=JobReply(status="Error", errcount=1, error_file="there"))
    assert case.figures() == {"rejected": 2, "unknown": 3}
    (why,) = case.ledger.unsettled
    assert (why.rows, why.job) == ((range(1, 2), range(3, 4), range(5, 6)), JobRef("contact", 7))
    assert "Error" in why.cause
    assert case.journal.parts()[0, 4].cause == why.cause
    assert case.rows("accepted_rows") == []


async def test_an_error_that_means_no_single_row_is_kept() -> None:
    """It names its candidates, and is no rejected row."""
    case = Case("a", "b", "c")
    await case.end("d")
    (note,) = case.ledger.rejections
    assert (note.row, list(note.candidates), note.match) == (None, [], "unmatched")
    assert case.figures() == {"unknown": 3}


async def test_counts_that_do_not_agree_can_be_accepted() -> None:
    """With the cause, which names no rows: all of them have an outcome."""
    case = Case("a", "b", "c", run=context(on_mismatch="accept"))
    await case.end(reply=JobReply(status="Completed", count=2))
    assert case.figures() == {"accepted": 3}
    assert ranges(case.ledger.unsettled) == [()]
    assert case.journal.parts()[0, 3].cause


async def test_a_part_of_a_chunk_has_rows_of_its_own() -> None:
    """Each of two parts has the rows that its entries stand for."""
    records = [{**WATCHED, "end": 2, "rows": 3}, {**WATCHED, "first": 2, "rows": 2}]
    case = Case("a", "b", "c", "a", "c", records=records)
    first, second = case.parts
    await case.end(reply=JobReply(status="Completed", count=2), part=first)
    await case.end(reply=JobReply(status="Error"), part=second)
    assert (case.rows("accepted_rows"), case.rows("superseded_rows")) == ([2, 4], [1])
    assert ranges(case.ledger.unsettled) == [(range(3, 4), range(5, 6))]
    assert case.figures() == {"accepted": 2, "superseded": 1, "unknown": 2}


async def test_nothing_more_can_be_found_out_about_a_job() -> None:
    """Its rows are unknown, on disk too."""
    case = Case("a", "b")
    await case.settling.unknown(case.part, "Mailjet forgot it")
    assert case.figures() == {"unknown": 2}
    assert case.journal.steps() == [(0, 2, "settled")]


async def test_a_rejection_waits_for_its_row() -> None:
    """Without the source its rows stay unknown; the journal says why, so that no resume loop takes it up."""
    case = Case("a", "b", given=False)
    await case.end("a")
    assert case.figures() == {"unknown": 2}
    part = case.journal.parts()[0, 2]
    assert part.state == "watched"
    assert "source" in part.cause
    assert case.settling.over


async def test_without_the_source_what_agrees_is_settled() -> None:
    """No row has to be named for that."""
    case = Case("a", "b", given=False)
    await case.end(reply=JobReply(status="Completed", count=2))
    assert case.figures() == {"accepted": 2}
    assert case.rows("accepted_rows") == [1, 2]


# Refused


@pytest.mark.parametrize("doubt", [None, InDoubt(own=True), InDoubt(own=False)])
async def test_a_refused_row_is_rejected_unless_it_may_have_been_applied(doubt: InDoubt | None) -> None:
    """Then it is unknown."""
    case = Case("a", "a", records=[{}])
    case.part.become(Refused("no", doubt))
    await case.settling.refused(case.part)
    assert case.figures() == ({"rejected": 2} if doubt is None else {"unknown": 2})
    assert [one.message for one in case.ledger.rejections] == ([] if doubt else ["no", "no"])


async def test_refused_rows_without_doubt_come_first() -> None:
    """The others may still be cleared."""
    records = [{"first": n, "end": n + 1, "rows": 1} for n in range(3)]
    case = Case("a", "b", "c", records=records)
    first, second, third = case.parts
    first.become(Refused("no", None))
    second.become(Refused("no", InDoubt(own=True)))
    await case.settling.refused_without_doubt()
    assert case.settling.unposted() == [second, third]
    await case.settling.refused(third)
    assert case.settling.unposted() == [second, third]


# Without an outcome


async def test_what_is_left_is_unknown_or_was_not_sent() -> None:
    """Only what may have been applied and has no job counts as in doubt."""
    records = [
        {**WATCHED, "end": 1, "rows": 1},
        {"first": 1, "end": 2, "rows": 1, "state": "sending", "attempts": 1},
        {"first": 2, "end": 3, "rows": 1},
    ]
    case = Case("a", "b", "c", records=records)
    watched, sending, unsent = case.parts
    case.settling.leave(watched, "it runs")
    case.settling.leave(sending, "no answer")
    case.settling.leave(unsent, "not sent", sent=False)
    assert case.figures() == {"unknown": 2, "not_sent": 1}
    assert [(why.rows, why.cause) for why in case.ledger.unsettled] == [
        ((range(1, 2),), "it runs"),
        ((range(2, 3),), "no answer"),
        ((range(3, 4),), "not sent"),
    ]
    assert case.settling.in_doubt == [sending.record]


async def test_a_part_can_be_left_whatever_became_of_the_spill() -> None:
    """Its rows are known without reading them back: nobody waits for ever for their outcome."""
    records: list[dict[str, Any]] = [{"end": 1, "rows": 1}, {"first": 1, "rows": 2}]
    case = Case("a", "b", "c", records=records)
    case.run.spill.close()
    for part in case.settling.unposted():
        case.settling.leave(part, "the disk is gone", sent=False)
    assert ranges(case.ledger.unsettled) == [(range(1, 2),), (range(2, 4),)]
    assert case.figures() == {"not_sent": 3}


async def test_halves_take_the_place_of_a_part() -> None:
    """With rows of their own."""
    case = Case("a", "b", records=[{}])
    whole = case.part
    halves = whole.halves(1, too_large=0)
    case.settling.halved(whole, {half: PartRows((range(n, n + 1),)) for n, half in enumerate(halves, 1)})
    assert case.settling.unposted() == list(halves)
    case.settling.leave(halves[1], "not sent", sent=False)
    assert ranges(case.ledger.unsettled) == [(range(2, 3),)]


async def test_rejections_that_cannot_be_kept_on_disk_are_posted_all_the_same(tmp_path: Any) -> None:
    """The run halts for it, and no row is posted twice or never."""
    people = [f"p{n}" for n in range(1000)]
    case = Case(*people)
    rejections: Any = case.ledger.rejections
    rejections._spill._folder = tmp_path / "missing"
    with pytest.raises(OSError, match="missing"):
        await case.end(*people, reply=JobReply(status="Completed", count=0, errcount=1000, error_file="there"))
    assert case.figures() == {"rejected": 1000}
    assert len(list(case.ledger.rejections)) == 1000
    assert case.settling.over


# Known from before


def known(**figures: Any) -> dict[str, Any]:
    return {"state": "settled", "job": "contact:7", **figures}


async def test_what_the_journal_knows_is_posted_again() -> None:
    """Jobs, counts and causes, and rejections with the addresses and the values of their rows."""
    case = Case("a", "b", "a", "c", records=[known(accepted=1, rejected=2, unknown=1, cause="odd")])
    said = RejectionRecord(run=1, chunk=1, first=0, number=0, row=1, message="no", match="exact", origin="mailjet")
    case.journal.rejected = [said, evolve(said, number=1, row=3)]
    await case.settling.replay()
    assert case.figures() == {"accepted": 1, "rejected": 2, "unknown": 1}
    assert [(one.row, one.email, one.data) for one in case.ledger.rejections] == [
        (1, "a", {"email": "a"}),
        (3, "a", {"email": "a"}),
    ]
    assert case.ledger.jobs == [JobRef("contact", 7)]
    assert ranges(case.ledger.unsettled) == [(range(2, 3), range(4, 5))]
    assert case.settling.over
    assert case.journal.commits == []


async def test_rejections_of_before_are_posted_without_the_source() -> None:
    """Each with its part, by their rows, without addresses and values."""
    records = [known(end=2, rows=3, accepted=1, rejected=2), known(first=2, rows=2, rejected=1, accepted=1)]
    case = Case("a", "b", "a", "c", "d", records=records, given=False)
    said = RejectionRecord(run=1, chunk=1, first=0, number=0, row=1, message="no", match="exact", origin="mailjet")
    case.journal.rejected = [said, evolve(said, number=1, row=3), evolve(said, first=2, row=5)]
    await case.settling.replay()
    assert case.figures() == {"accepted": 2, "rejected": 3}
    assert [(one.row, one.email, one.data) for one in case.ledger.rejections] == [
        (1, None, None),
        (3, None, None),
        (5, None, None),
    ]
    assert case.rows("accepted_rows") == [2, 4]


async def test_an_error_that_meant_no_row_is_recalled_as_it_was() -> None:
    """It has no address."""
    case = Case("a", records=[known(unknown=1, cause="odd")])
    note = RejectionRecord(run=1, chunk=1, first=0, number=0, message="huh", match="unmatched", origin="mailjet")
    case.journal.rejected = [note]
    await case.settling.replay()
    assert list(case.ledger.rejections) == [rejection_of(note)]


async def test_missing_rejections_are_refused() -> None:
    """The journal is damaged, and nothing of the part is posted."""
    case = Case("a", "b", records=[known(accepted=1, rejected=1)])
    with pytest.raises(JournalRefused, match="missing"):
        await case.settling.replay()
    assert case.figures() == {}


async def test_only_settled_parts_are_replayed() -> None:
    """The job of another one is known too."""
    case = Case(
        "a",
        "b",
        records=[
            known(end=1, rows=1, accepted=1),
            {**WATCHED, "first": 1, "rows": 1},
        ],
    )
    await case.settling.replay()
    assert case.figures() == {"accepted": 1}
    assert len(case.ledger.jobs) == 2
    assert not case.settling.over


async def test_a_chunk_that_says_nothing_is_replayed_without_a_look_at_its_rejections() -> None:
    """A million settled rows cost no query each."""
    case = Case("a", records=[known(accepted=1)])
    case.journal.rejected = [
        RejectionRecord(run=1, chunk=1, first=0, number=0, row=1, message="no", match="exact", origin="mailjet")
    ]
    await case.settling.replay()
    assert case.figures() == {"accepted": 1}


async def test_an_outcome_that_a_counted_row_contradicts_is_unknown() -> None:
    """The judgement is that of `settle`, with the entries of the part as what was sent."""
    case = Case("a", "a", "b")
    ended = EndedJob(reply=JobReply(status="Completed", count=2), file=None)
    assert case.settling.judge(case.part, ended) == JobOutcome(unassigned=[])
    short = EndedJob(reply=JobReply(status="Completed", count=1), file=None)
    assert case.settling.judge(case.part, short).cause
    assert case.part.state != Unsent()
