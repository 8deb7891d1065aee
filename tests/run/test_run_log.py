"""One run in its journal: what is written when, and what of a source has to be as it was."""

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve
from fake_run import RUN, FakeJournal, chunk_of

from mjbulk.chunks.replay import SourceChanged
from mjbulk.errors import JournalError, JournalRefused
from mjbulk.journal.history import History
from mjbulk.journal.protocol import NoJournal
from mjbulk.journal.records import ChunkRecord, PartRecord, RejectionRecord, RunRecord
from mjbulk.journal.shape import Shape, encode_shape
from mjbulk.models import Rejection
from mjbulk.run.chunk_rows import PartRows
from mjbulk.run.run_log import RunLog
from mjbulk.terms import Action, RunSpec

FORCE = RunSpec(lists=((1, Action.ADDFORCE),))
MILD = RunSpec(lists=((1, Action.ADDNOFORCE),))


def chunk(number: int, first: int, last: int, **more: Any) -> ChunkRecord:
    rows = last - first + 1
    fields = {"first": first, "last": last, "rows": rows, "entries": rows, "digest": "d", **more}
    return ChunkRecord(run=RUN.run, number=number, **fields)


class Case:
    def __init__(
        self,
        *chunks: ChunkRecord,
        parts: dict[int, Sequence[dict[str, Any]]] | None = None,
        begun: bool | None = None,
        refused: int = 0,
        **run: Any,
    ) -> None:
        self.journal = FakeJournal()
        known = {
            one.number: [evolve(one.whole(), **some) for some in (parts or {}).get(one.number, [{}])] for one in chunks
        }
        self.history = History(
            run=evolve(RUN, **run),
            chunks={one.number: one for one in chunks},
            parts=known,
            refused=refused,
            begun=bool(chunks) if begun is None else begun,
        )
        journal: Any = self.journal
        self.log = RunLog(journal, self.history)

    @property
    def run(self) -> RunRecord:
        """The run as it is on disk."""
        runs = [record for record in self.journal.written if isinstance(record, RunRecord)]
        return runs[-1]


def refusal(row: int | None) -> Rejection:
    return Rejection(row=row, message="bad", origin="mjbulk")


def recorded_refusal(row: int, number: int = 0) -> RejectionRecord:
    return RejectionRecord(
        run=RUN.run, chunk=0, first=0, number=number or row, row=row, message="bad", match="exact", origin="mjbulk"
    )


# When a run begins


async def test_nothing_is_written_before_a_run_begins() -> None:
    """What is known by then waits, and comes behind the run."""
    case = Case()
    case.log.write_chunk(chunk_of("a"))
    case.log.refuse(refusal(2))
    assert (case.journal.commits, case.journal.waiting) == ([], [])
    await case.log.begin()
    await case.log.begin()
    (commit,) = case.journal.commits
    assert [type(record) for record in commit] == [RunRecord, ChunkRecord, PartRecord, RejectionRecord]


async def test_the_first_record_begins_a_run() -> None:
    """It comes behind the run, which is on disk then."""
    case = Case()
    part = chunk(1, 1, 1).whole()
    await case.log.put(part)
    assert case.journal.commits == [[case.run], [part]]


async def test_a_run_that_is_there_is_not_begun_again() -> None:
    """Its lists are written with what comes next, and that it is open."""
    case = Case(chunk(1, 1, 2), closed=True, cause="it was stopped")
    await case.log.begin()
    assert case.journal.commits == []
    case.log.check_targets([(2, Action.UNSUB), (1, Action.ADDNOFORCE)])
    await case.log.put()
    assert (case.run.closed, case.run.cause) == (False, "")
    assert case.run.targets == '[[1,"addnoforce"],[2,"unsub"]]'


async def test_names_of_lists_mean_what_they_meant() -> None:
    """Whatever their order."""
    case = Case(chunk(1, 1, 2), targets='[[1,"addforce"],[2,"unsub"]]')
    case.log.check_targets([(2, Action.UNSUB), (1, Action.ADDFORCE)])
    with pytest.raises(JournalRefused, match="other lists"):
        case.log.check_targets([(3, Action.UNSUB), (1, Action.ADDFORCE)])
    with pytest.raises(JournalRefused):
        case.log.check_targets(None)


# What is known


def test_recorded_chunks_are_found_by_their_rows() -> None:
    """With what differs from their windows."""
    shape = Shape(holes=(2,), extras=(), merged=(1,), into=(0,))
    case = Case(chunk(1, 1, 4, rows=3, entries=2, shape=encode_shape(shape)), chunk(2, 5, 5))
    first, second = case.log.recorded()
    assert (first.number, first.first, first.last, first.rows, first.entries, first.digest) == (1, 1, 4, 3, 2, "d")
    assert (list(first.shape.holes), list(first.shape.merged)) == ([2], [1])
    assert not second.shape


def test_a_chunk_without_a_part_has_one() -> None:
    """Nothing was sent of it."""
    case = Case(chunk(1, 1, 2), parts={1: []})
    assert case.log.parts_of(1) == (chunk(1, 1, 2).whole(),)
    assert list(Case(chunk(1, 1, 2)).log.parts_of(1)) == [chunk(1, 1, 2).whole()]


async def test_rows_are_found_in_the_records_alone() -> None:
    """Without those that were refused here; and which of them a later row has joined."""
    shape = encode_shape(Shape(merged=(2,), into=(0,)))
    case = Case(chunk(1, 1, 4, rows=3, entries=2, shape=shape), chunk(2, 5, 6))
    case.journal.rejected = [recorded_refusal(3)]
    assert [record.row async for record in case.log.recall_rows()] == [3]
    (first,), (second,) = case.history.parts[1], case.history.parts[2]
    assert case.log.rows_of(first) == PartRows((range(1, 3), range(4, 5)), (range(1, 2),))
    assert case.log.rows_of(second) == PartRows((range(5, 7),), ())


@pytest.mark.parametrize(
    ("parts", "run", "spec", "finished"),
    [
        ([{"state": "settled", "accepted": 2}], {}, FORCE, True),
        ([{"state": "settled", "unknown": 2}], {}, FORCE, True),
        ([{"state": "settled", "accepted": 2}], {"closed": False}, FORCE, False),
        ([{"state": "settled", "accepted": 2}], {"whole": False}, FORCE, False),
        ([{"state": "settled", "accepted": 2}], {"rows": 3}, FORCE, False),
        ([{}], {}, FORCE, False),
        ([{"state": "watched", "job": "contact:7"}], {}, FORCE, False),
        ([{"state": "sending"}], {}, FORCE, True),
        ([{"state": "sending"}], {}, evolve(FORCE, resend="always"), False),
        ([{"state": "sending"}], {}, MILD, False),
        ([{"state": "sending"}], {}, evolve(MILD, resend="never"), True),
        ([{"state": "sending", "overtaken": True}], {}, MILD, True),
        ([{"state": "sending", "overtaken": True}], {}, evolve(MILD, resend="always"), False),
        ([{"state": "sending"}], {}, evolve(MILD, excluded=True), True),
    ],
)
def test_a_run_is_finished_if_nothing_can_be_done_for_it(
    parts: list[dict[str, Any]], run: dict[str, Any], spec: RunSpec, *, finished: bool
) -> None:
    """Its source was read to the end, and no row waits for anything on these terms."""
    case = Case(chunk(1, 1, 2), parts={1: parts}, **{"closed": True, "whole": True, "rows": 2, **run})
    assert case.log.finished(spec) is finished


def test_rows_that_may_have_been_sent_before() -> None:
    """All rows of a chunk of which a part has left."""
    parts: dict[int, Sequence[dict[str, Any]]] = {1: [{"state": "settled"}], 3: [{"state": "sending"}]}
    case = Case(chunk(1, 1, 2), chunk(2, 3, 4), chunk(3, 6, 9), parts=parts)
    assert list(case.log.sent_before(7)) == [range(1, 3), range(5, 8)]


def test_missing_rejections_are_refused() -> None:
    """Errors that mean no row do not count."""
    case = Case()
    part = evolve(chunk(1, 1, 2).whole(), rejected=1)
    note = evolve(recorded_refusal(1), row=None)
    case.log.check_rejections(part, [recorded_refusal(1), note])
    with pytest.raises(JournalRefused, match="rejections of chunk 1"):
        case.log.check_rejections(part, [note])


# What has to be as it was


def test_a_source_that_has_changed_is_refused() -> None:
    """With the rows that differ."""
    case = Case(chunk(1, 1, 2))
    with pytest.raises(JournalRefused, match="rows 3-7 are not what they were"), case.log.refusing_changes():
        raise SourceChanged(3, 7)


@pytest.mark.parametrize(("rows", "span"), [(4, "5-6"), (8, "7-8")])
def test_a_source_that_was_read_to_its_end_has_as_many_rows_again(rows: int, span: str) -> None:
    """A run whose source was not may find more."""
    case = Case(chunk(1, 1, 2), whole=True, rows=6)
    with pytest.raises(JournalRefused, match=f"rows {span} "):
        case.log.check_end(rows)
    case.log.check_end(6)
    Case(chunk(1, 1, 2), rows=6).log.check_end(rows)


def test_no_chunk_comes_behind_the_end_of_a_source() -> None:
    """All rows of that run were in chunks."""
    case = Case(chunk(1, 1, 2), whole=True, rows=2)
    with pytest.raises(JournalRefused, match="rows 3-4"):
        case.log.write_chunk(chunk_of("c", "d", number=2, first=3))


# What becomes known


async def test_a_chunk_is_written_with_its_one_part() -> None:
    """Before whatever is put next."""
    case = Case(begun=True)
    (part,) = case.log.write_chunk(chunk_of("a", "b", "a"))
    assert (part.first, part.end, part.rows, part.state) == (0, 2, 3, "unsent")
    written, whole = case.journal.waiting
    assert isinstance(written, ChunkRecord)
    assert (written.first, written.last, written.rows, written.entries, whole) == (1, 3, 3, 2, part)
    assert written.shape
    assert written.digest


async def test_what_is_read_now_counts() -> None:
    """Rows that were refused here and are in no chunk: those behind the last window, and those that were held."""
    shape = encode_shape(Shape(holes=(2, 3)))
    case = Case(chunk(1, 1, 5, rows=2, entries=2, shape=shape), refused=3)
    case.journal.rejected = [recorded_refusal(row) for row in (2, 4, 9)]
    await case.log.read_again()
    ((name, run, after, rows),) = case.journal.calls
    assert (name, run, after, list(rows)) == ("forget_refused", RUN.run, 5, [2])


async def test_what_was_read_to_the_end_is_not_forgotten() -> None:
    """Nothing is asked of the journal if nothing was refused."""
    await (whole := Case(chunk(1, 1, 5), refused=1, whole=True, rows=6)).log.read_again()
    await (good := Case(chunk(1, 1, 5))).log.read_again()
    assert (whole.journal.calls, good.journal.calls) == ([], [])


async def test_refused_rows_are_written_now_and_then() -> None:
    """With what comes next, or when a thousand of them wait."""
    case = Case(begun=True)
    for row in range(1, 1000):
        case.log.refuse(refusal(row))
    await case.log.catch_up()
    assert case.journal.commits == []
    case.log.refuse(refusal(1000))
    case.log.refuse(refusal(None))
    await case.log.catch_up()
    (commit,) = case.journal.commits
    assert [(one.chunk, one.number, one.row) for one in commit if isinstance(one, RejectionRecord)][::999] == [
        (0, 1, 1),
        (0, 1000, 1000),
    ]
    case.log.refuse(refusal(1001))
    await case.log.catch_up()
    assert len(case.journal.commits) == 1


async def test_what_becomes_of_parts_is_written() -> None:
    """A halved one, one that was overtaken, and the rejections of one."""
    case = Case(begun=True)
    whole = chunk(1, 1, 4).whole()
    halves = [evolve(whole, end=2, rows=2), evolve(whole, first=2, rows=2)]
    case.log.halve(whole, halves)
    case.log.overtake(halves[0])
    assert case.journal.waiting == [evolve(whole, state="halved"), *halves, evolve(halves[0], overtaken=True)]
    records = case.log.records_of(halves[1], [refusal(3), refusal(None)])
    assert [(one.chunk, one.first, one.number, one.row) for one in records] == [(1, 2, 0, 3), (1, 2, 1, None)]


async def test_without_a_journal_nothing_is_kept() -> None:
    """Not in memory either: a run may have millions of rows."""
    log = RunLog(NoJournal(), History(run=RUN, begun=False))
    (part,) = log.write_chunk(chunk_of("a", "a"))
    log.refuse(refusal(1))
    await log.catch_up()
    assert not log.keeps
    assert log.records_of(part, [refusal(1)]) == []
    assert log._waiting == []


# Its end


async def test_a_run_is_closed_with_what_is_known_of_it() -> None:
    """And let go."""
    case = Case(begun=True)
    await case.log.close(refused=False, rows=7, closed=True, cause="it was stopped")
    assert (case.run.closed, case.run.cause, case.run.rows) == (True, "it was stopped", 7)
    assert case.journal.calls == [("release", "r")]


@pytest.mark.parametrize("whole", [False, True])
async def test_rows_that_an_earlier_process_has_read_stay_in_the_books(*, whole: bool) -> None:
    """This one was stopped, or refused, before it had read as many: the source has the others all the same."""
    case = Case(chunk(1, 1, 2), rows=9, whole=whole)
    await case.log.close(refused=True, rows=2, closed=True)
    assert (case.run.rows, case.run.whole) == (9, whole)


async def test_a_source_that_was_read_to_its_end_now_has_the_rows_of_now() -> None:
    """An earlier process had read more of it, which were in no chunk."""
    case = Case(chunk(1, 1, 2), rows=9)
    await case.log.mark_whole(5)
    await case.log.close(refused=False, rows=5, closed=True)
    assert (case.run.rows, case.run.whole) == (5, True)


async def test_a_new_run_that_was_refused_leaves_nothing() -> None:
    """Whether it had begun or not; one of before stays."""
    begun = Case()
    await begun.log.begin()
    await begun.log.close(refused=True, rows=3, closed=True)
    assert (len(begun.journal.commits), begun.journal.calls) == (1, [("forget", "r")])
    new = Case()
    await new.log.close(refused=True, rows=3, closed=True)
    await new.log.close(refused=False, rows=3, closed=True)
    assert (new.journal.commits, new.journal.calls) == ([], [("release", "r"), ("release", "r")])
    before = Case(chunk(1, 1, 2))
    await before.log.close(refused=True, rows=3, closed=True)
    assert (before.run.closed, before.journal.calls) == (True, [("release", "r")])


async def test_a_run_is_let_go_also_where_it_cannot_be_written() -> None:
    """The error is raised."""
    case = Case(begun=True)
    case.journal.failure = JournalError("the disk is full")
    with pytest.raises(JournalError, match="full"):
        await case.log.close(refused=False, rows=3, closed=True)
    assert case.journal.calls == [("release", "r")]
