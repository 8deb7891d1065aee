"""What a journal knows of a run: what its records add up to, and what is missing from them."""

from collections.abc import Sequence

import pytest

from mjbulk import JobRef, JournalRefused
from mjbulk.journal.history import History
from mjbulk.journal.records import (
    ChunkRecord,
    PartRecord,
    RunRecord,
    fingerprint,
    number_of,
)

RUN = RunRecord(run=number_of("r", ""), run_id="r", account=fingerprint("key"), spec="{}", created="2026-11-23")


def chunk(number: int, **said: int) -> ChunkRecord:
    first = number * 10 - 9
    return ChunkRecord(
        **{"run": RUN.run, "number": number, "first": first, "last": first + 9, "rows": 10, "entries": 8, **said},
        digest="d",
    )


def part(number: int, first: int = 0, end: int = 8, rows: int = 10, **said: object) -> PartRecord:
    return PartRecord(run=RUN.run, chunk=number, first=first, end=end, rows=rows, **said)  # type: ignore[arg-type]  # as said


def history(chunks: Sequence[ChunkRecord], parts: Sequence[PartRecord], refused: int = 0) -> History:
    return History.of(RUN, chunks, parts, refused)


def test_the_books_of_a_run() -> None:
    """Every row is somewhere: settled, under way, or not sent."""
    known = history(
        [chunk(1), chunk(2), chunk(3), chunk(4), chunk(5)],
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
    counts = known.counts()
    assert counts.as_dict() == {
        "rows": 53, "accepted": 7, "rejected": 4, "superseded": 2, "unknown": 20, "not_sent": 20,
    }  # fmt: skip
    assert list(known.jobs()) == [JobRef("contact", 7)]
    causes = [(why.rows.start, why.cause, why.job) for why in known.unsettled()]
    assert causes == [
        (11, "it says nothing", None),
        (11, "it was under way when the run ended", JobRef("contact", 7)),
        (21, "it was under way when the run ended", None),
        (31, "it was not sent", None),
        (41, "it was not sent", None),
    ]


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
