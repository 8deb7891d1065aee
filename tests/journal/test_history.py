"""What a journal knows of a run: what its records add up to, and what is missing from them."""

from collections.abc import Sequence

import pytest
from attrs import evolve

from mjbulk import Action, JobRef, JournalRefused, RunSpec
from mjbulk.journal.history import History, UnsettledRows, info_of
from mjbulk.journal.records import (
    ChunkRecord,
    PartRecord,
    RejectionRecord,
    RunRecord,
    encode_spec,
    number_of,
)
from mjbulk.journal.shape import Shape, encode_shape

RUN = RunRecord(
    run=number_of("a", "r", ""),
    run_id="r",
    account="a",
    spec=encode_spec(RunSpec(lists=((1, Action.ADDFORCE),))),
    created="2026-11-23",
)


def chunk(number: int) -> ChunkRecord:
    first = number * 10 - 9
    return ChunkRecord(run=RUN.run, number=number, first=first, last=first + 9, rows=10, entries=8, digest="d")


def part(number: int, first: int = 0, end: int = 8, rows: int = 10, **said: object) -> PartRecord:
    return PartRecord(run=RUN.run, chunk=number, first=first, end=end, rows=rows, **said)  # type: ignore[arg-type]  # as said


def history(
    chunks: Sequence[ChunkRecord], parts: Sequence[PartRecord], refused: int = 0, run: RunRecord = RUN
) -> History:
    return History.of(run, chunks, parts, refused)


def test_the_books_of_a_run() -> None:
    """Every row is somewhere: settled, under way, or not sent."""
    known = history(
        [chunk(1), evolve(chunk(2), shape=encode_shape(Shape(merged=[2, 5], into=[0, 1]))), *map(chunk, (3, 4, 5))],
        [
            part(1, state="settled", accepted=7, rejected=1, superseded=2),
            part(2, state="halved"),
            part(2, 0, 4, 6, state="settled", unknown=6, cause="it says nothing"),
            part(2, 4, 8, 4, state="watched", job="contact:7"),
            part(3, state="sending"),
            part(4, state="unsent"),
            part(5),
        ],
        refused=3,
    )
    assert (known.last, known.begun) == (5, True)
    counts = known.counts()
    assert counts.as_dict() == {
        "rows": 53, "accepted": 7, "rejected": 4, "superseded": 2, "unknown": 20, "not_sent": 20,
    }  # fmt: skip
    assert list(known.jobs()) == [JobRef("contact", 7)]
    refused = [rejection(0, row) for row in (1, 25, 41)]
    causes = [(why.rows, why.cause, why.job) for why in known.unsettled(refused)]
    assert causes == [
        ((range(11, 17),), "it says nothing", None),
        ((range(17, 21),), "it was under way when the run ended", JobRef("contact", 7)),
        ((range(21, 25), range(26, 31)), "it was under way when the run ended", None),
        ((range(31, 41),), "it was not sent", None),
        ((range(42, 51),), "it was not sent", None),
    ]


def rejection(number: int, row: int | None, first: int = 0) -> RejectionRecord:
    return RejectionRecord(
        run=RUN.run, chunk=number, first=first, number=row or 0, row=row, message="No", match="exact", origin="mailjet"
    )


def test_unsettled_rows_have_no_other_outcome() -> None:
    """Rows that were rejected are not among them; a note on counts that do not agree names none; and what was read and
    is in no chunk was not sent.
    """
    shape = Shape(holes=[13, 14], merged=[4], into=[1])
    known = history(
        [
            chunk(1),
            evolve(chunk(2), rows=8, entries=7, shape=encode_shape(shape)),
            evolve(chunk(3), shape=encode_shape(Shape(holes=[29], extras=[14]))),
        ],
        [
            part(1, state="settled", accepted=9, rejected=1, cause="its counts do not agree"),
            part(2, 0, 3, 4, state="settled", unknown=3, rejected=1, cause="it says nothing"),
            part(2, 3, 7, 4, state="settled", unknown=2, rejected=2, cause="nor does it"),
            part(3, state="settled", accepted=10),
        ],
        refused=2,
        run=evolve(RUN, rows=40, cause="it was stopped", closed=True),
    )
    found = UnsettledRows(known)
    for one in (rejection(0, 22), rejection(0, 33), rejection(1, 5), rejection(2, 17), rejection(2, None)):
        found.note(one)
    for row in (18, 19):
        found.note(rejection(2, row, first=3))
    assert [(why.rows, why.cause) for why in found] == [
        ((), "its counts do not agree"),
        ((range(11, 13), range(15, 16)), "it says nothing"),
        ((range(16, 17), range(20, 21)), "nor does it"),
        ((range(13, 14), range(29, 30), range(31, 33), range(34, 41)), "it was stopped"),
    ]
    assert known.counts().not_sent == 40 - 28 - 2
    assert [info.span for info in known.chunk_infos()] == [
        range(1, 11), range(11, 21), range(11, 21), range(14, 31),
    ]  # fmt: skip


def test_nothing_was_sent_on_the_csv_way_before_it_was_uploaded() -> None:
    """Whatever was intended."""
    spec = RunSpec(lists=((1, Action.ADDFORCE),), via="csv")
    known = history(
        [chunk(1), chunk(2)],
        [part(1, state="sending"), part(2, state="sending", data_id=5)],
        run=evolve(RUN, spec=encode_spec(spec)),
    )
    assert [why.cause for why in known.unsettled()] == ["it was not sent", "it was under way when the run ended"]
    assert [(info.unknown, info.not_sent) for info in known.chunk_infos()] == [(0, 10), (10, 0)]


def test_how_a_run_stands() -> None:
    """Its cause is given if it stopped early, or is not complete."""
    parts = [part(1, state="settled", accepted=10)]
    closed = evolve(RUN, closed=True, cause="it was stopped", partition="p")
    killed, ended = evolve(RUN, rows=11), evolve(closed, whole=True, rows=10)
    infos = [
        info_of(run, history([chunk(1)], parts, run=run).facts, is_open=is_open)
        for run, is_open in ((closed, False), (closed, True), (killed, False), (ended, False))
    ]
    assert [(info.state, info.complete, info.cause) for info in infos] == [
        ("needs_source", False, "it was stopped"),
        ("running", False, None),
        ("resumable", False, "its process ended before it did"),
        ("settled", True, None),
    ]
    assert [(info.rows, info.accepted, info.not_sent) for info in infos] == [
        (10, 10, 0), (10, 10, 0), (11, 10, 1), (10, 10, 0),
    ]  # fmt: skip
    assert (infos[0].run_id, infos[0].partition, infos[0].created) == ("r", "p", "2026-11-23")


@pytest.mark.parametrize(
    ("spec", "states"),
    [
        (RunSpec(lists=((1, Action.ADDNOFORCE),)), ["needs_source", "settled"]),
        (RunSpec(lists=None), ["needs_source", "settled"]),
        (RunSpec(lists=((1, Action.ADDNOFORCE), (2, Action.UNSUB))), ["settled", "settled"]),
        (RunSpec(lists=None, excluded=True), ["settled", "settled"]),
        (RunSpec(lists=None, resend="never"), ["settled", "settled"]),
        (RunSpec(lists=((1, Action.ADDFORCE),), resend="always"), ["needs_source", "needs_source"]),
    ],
)
def test_what_may_be_sent_again_waits_for_its_source(spec: RunSpec, states: list[str]) -> None:
    """By the terms of the run; if a later row was sent, only if the caller says so."""
    run = evolve(RUN, spec=encode_spec(spec), whole=True, closed=True)
    doubts = (part(1, state="sending"), part(1, state="sending", overtaken=True))
    assert [history([chunk(1)], [doubt], run=run).facts.state(is_open=False) for doubt in doubts] == states


def test_chunks_are_shown_with_their_jobs() -> None:
    """Each, or each part of one that was halved, has books that add up; one that was only cut is not sent."""
    known = history(
        [chunk(1), chunk(2)],
        [
            part(1, state="halved"),
            part(1, 0, 4, 6, state="settled", accepted=4, rejected=1, superseded=1, job="contact:7", cause="odd"),
            part(1, 4, 8, 4, state="watched", job="contact:8"),
            part(2),
        ],
    )
    first, second, third = [info.as_dict() for info in known.chunk_infos()]
    assert first == {
        "partition": None, "number": 1, "span": [1, 10], "state": "settled", "job": "contact:7", "rows": 6,
        "accepted": 4, "rejected": 1, "superseded": 1, "unknown": 0, "not_sent": 0, "cause": "odd",
    }  # fmt: skip
    assert (second["job"], second["unknown"], second["cause"]) == ("contact:8", 4, "")
    assert (third["job"], third["state"], third["span"], third["not_sent"]) == (None, "unsent", [11, 20], 10)


@pytest.mark.parametrize(
    ("chunks", "parts"),
    [
        ([chunk(2)], []),
        ([chunk(1), chunk(3)], []),
        ([], [part(1)]),
        ([chunk(1)], [part(1, 0, 4, 5)]),
        ([chunk(1)], [part(1, 4, 8, 5)]),
        ([chunk(1)], [part(1, 0, 3, 5), part(1, 4, 8, 5)]),
        ([chunk(1)], [part(1, 0, 4, 5), part(1, 4, 8, 4)]),
    ],
)
def test_what_is_missing_is_seen(chunks: list[ChunkRecord], parts: list[PartRecord]) -> None:
    """A gap in the chunks, or in the entries of one."""
    with pytest.raises(JournalRefused, match=r"damaged.*missing"):
        history(chunks, parts)
