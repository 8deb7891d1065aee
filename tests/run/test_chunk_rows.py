"""The rows of a chunk, in a temporary file and read back: their numbers, their values, and what was merged."""

from collections.abc import Sequence
from typing import Any

import pytest
from fake_run import RUN, chunk_of, context, encoded, record_of, rules

from mjbulk.chunks.chunk import Chunk
from mjbulk.chunks.chunker import Chunker
from mjbulk.journal.records import RejectionRecord
from mjbulk.outcomes.error_file import RowError
from mjbulk.outcomes.settle import MatchedError
from mjbulk.run.chunk_rows import PartRows, RefusedEntry, StoredRows, rows_of_parts
from mjbulk.run.part import Parts
from mjbulk.spill import SmallValues, Spill

ALL = slice(0, 100)


def stored(chunk: Chunk) -> StoredRows:
    run = context()
    return StoredRows(chunk, run.spill, run.held)


def with_held_rows(held: SmallValues) -> Chunk:
    """A chunk of rows that were held, of two people: 5 and 8, and 7."""
    chunker = Chunker(rules(3), held)
    for first, people in ((1, ["a", "b", "x", "y"]), (5, ["a", "c", "b", "a", "d"])):
        rows = encoded(people, first)
        chunker.add(rows.numbers, rows.addresses, rows.encoded, rows.block)
    chunker.end()
    before = len(chunker.cut)
    chunker.done(1)
    chunker.end()
    assert len(chunker.cut) == before + 1
    return chunker.cut[-1]


@pytest.mark.parametrize(
    ("people", "entries", "ranges", "superseded"),
    [
        ("abc", ALL, [range(1, 4)], []),
        ("abaca", ALL, [range(1, 6)], [range(1, 2), range(3, 4)]),
        ("abaca", slice(0, 1), [range(1, 2), range(3, 4), range(5, 6)], [range(1, 2), range(3, 4)]),
        ("abaca", slice(1, 3), [range(2, 3), range(4, 5)], []),
        ("abaca", slice(2, 2), [], []),
    ],
)
def test_some_entries_stand_for_some_rows(people: str, entries: slice, ranges: list[range], superseded: Any) -> None:
    """Those that a later row of their entry has joined are among them."""
    rows = stored(chunk_of(*people)).read().rows(entries)
    assert rows == PartRows(tuple(ranges), tuple(superseded))


@pytest.mark.parametrize("people", ["abc", "abaca", "aaa"])
def test_parts_of_a_chunk_have_its_rows(people: str) -> None:
    """The one part of a whole chunk has them without a look at each."""
    chunk = chunk_of(*people)
    (whole,) = rows_of_parts(chunk, Parts.of([record_of(chunk)], "json")).values()
    assert whole == stored(chunk).read().rows(ALL)
    halves = Parts.of([record_of(chunk, end=1), record_of(chunk, first=1)], "json")
    first, second = rows_of_parts(chunk, halves).values()
    assert (first, second) == (stored(chunk).read().rows(slice(0, 1)), stored(chunk).read().rows(slice(1, 100)))


def test_rejected_entries_reject_all_of_their_rows() -> None:
    """Each with its own number and values, and where its contact begins and ends; the others are left out."""
    rows = stored(chunk_of("a", "b", "a", "c", "A")).read()
    refused = {0: RefusedEntry("no", "city", "exact"), 1: RefusedEntry("never", None, "by_key")}
    found: Any = rows.rejections(slice(0, 3), refused)
    assert [(one.row, one.email, one.message, one.field, one.match, one.data, one.merged) for one in found] == [
        (1, "a", "no", "city", "exact", {"email": "a"}, (1, 5)),
        (2, "b", "never", None, "by_key", {"email": "b"}, None),
        (3, "a", "no", "city", "exact", {"email": "a"}, (1, 5)),
        (5, "a", "no", "city", "exact", {"email": "A"}, (1, 5)),
    ]
    assert rows.rejections(slice(1, 3), {0: RefusedEntry("no", None, "exact")}) == []


def test_held_rows_are_found_among_the_others() -> None:
    """They lie elsewhere, and have the place in the chunk that their numbers give them."""
    run = context()
    rows = StoredRows(with_held_rows(run.held), run.spill, run.held).read()
    assert rows.addresses == ["a", "b"]
    assert rows.rows(ALL) == PartRows((range(5, 6), range(7, 9)), (range(5, 6),))
    found = rows.rejections(ALL, {0: RefusedEntry("no", None, "exact"), 1: RefusedEntry("no", None, "exact")})
    assert [(one.row, one.email, one.data, one.merged) for one in found] == [
        (5, "a", {"email": "a"}, (5, 8)),
        (7, "b", {"email": "b"}, None),
        (8, "a", {"email": "a"}, (5, 8)),
    ]


def test_an_error_that_may_mean_several_entries_names_all_of_their_rows() -> None:
    """Its indexes count from the first entry of the part."""
    rows = stored(chunk_of("a", "b", "a", "c")).read()
    error = RowError(email="z", message="huh", field="city")
    note = rows.unassigned(slice(1, 3), MatchedError(error, (0, 1), "ambiguous"))
    assert (note.row, note.candidates, note.email, note.message, note.field, note.match) == (
        None,
        (2, 4),
        "z",
        "huh",
        "city",
        "ambiguous",
    )
    assert rows.unassigned(slice(0, 3), MatchedError(error, (0,), "ambiguous")).candidates == (1, 3)
    assert rows.unassigned(slice(0, 3), MatchedError(error, (), "unmatched")).candidates == ()


def _record(row: int | None) -> RejectionRecord:
    return RejectionRecord(
        run=RUN.run, chunk=1, first=0, number=0, row=row, message="no", match="exact", origin="mailjet"
    )


def test_rejections_that_were_written_down_get_their_rows_back() -> None:
    """A journal keeps neither addresses nor values."""
    rows = stored(chunk_of("a", "b", "a")).read()
    found = list(rows.recall(ALL, [_record(3), _record(None), _record(2)]))
    assert [(one.row, one.email, one.data, one.merged) for one in found] == [
        (3, "a", {"email": "a"}, (1, 3)),
        (None, None, None, None),
        (2, "b", {"email": "b"}, None),
    ]


def test_rows_that_were_let_go_cannot_be_read() -> None:
    """They are let go once."""
    run = context()
    rows = StoredRows(with_held_rows(run.held), run.spill, run.held)
    rows.read()
    rows.close()
    rows.close()
    with pytest.raises(RuntimeError, match="let go"):
        rows.read()
    assert [segment.live for segment in run.spill._segments] == [0]
    assert run.engine.memory.taken == 0


def test_held_values_are_let_go_with_the_chunk() -> None:
    """Those of other chunks stay."""
    dropped: list[Sequence[int]] = []

    class Held(SmallValues):
        def drop(self, numbers: Any) -> None:
            dropped.append(list(numbers))
            super().drop(numbers)

    spill = Spill()
    held = Held(spill)
    chunk = with_held_rows(held)
    StoredRows(chunk, spill, held).close()
    assert dropped == [list(chunk.kept.held.values())]
    assert len(dropped[0]) == 3
    spill.close()
