"""The report of a run: what it says, and that it is plain data."""

import json
import pickle
from pathlib import Path
from typing import Any

import attrs
import pytest
from samples import ODD, A, rejection, report

from mjbulk.errors import Error, RowsRejected, UsageError
from mjbulk.models import FewRejections, JobRef, Unsettled
from mjbulk.outcomes.row_set import RowSet


@pytest.mark.parametrize(
    ("counts", "halted", "ok", "complete"),
    [
        ({"rows": 0}, None, True, True),
        ({"rows": 3, "accepted": 2, "superseded": 1}, None, True, True),
        ({"rows": 3, "accepted": 2, "rejected": 1}, None, False, True),
        ({"rows": 3, "accepted": 2, "unknown": 1}, None, False, False),
        ({"rows": 3, "accepted": 2, "not_sent": 1}, None, False, False),
        ({"rows": 3, "accepted": 3}, Error("x"), False, False),
    ],
)
def test_when_a_report_is_ok(counts: dict[str, Any], halted: Error | None, *, ok: bool, complete: bool) -> None:
    """ok: everybody is at Mailjet; complete: nothing is unknown or unsent, and the source was read to its end."""
    made = report(**counts, halted=halted)
    assert (made.ok, made.complete) == (ok, complete)
    assert made.as_dict()["complete"] is complete
    assert str(made).endswith("; stopped early") is (halted is not None)


@pytest.mark.parametrize(("allowed", "raises"), [(0, True), (1, True), (2, False), (3, False)])
def test_how_many_may_be_rejected(allowed: int, *, raises: bool) -> None:
    """More rejected rows than are allowed are an error that has the report; otherwise the report is given."""
    made = report(rows=2, rejected=2)
    if raises:
        with pytest.raises(RowsRejected) as caught:
            made.raise_for_rows(max_rejected=allowed)
        assert (caught.value.report, caught.value.allowed) == (made, allowed)
    else:
        assert made.raise_for_rows(max_rejected=allowed) is made


def test_a_report_in_a_line() -> None:
    """str() has the figures that are not zero, and nobody's data."""
    made = report(
        [rejection(1)], rows=5, accepted=3, rejected=1, not_sent=1, jobs=(JobRef("contact", 1),), seconds=1.25
    )
    assert str(made) == "r1: 5 rows: 3 accepted, 1 rejected, 1 not sent in 1 job, 1.2 s"
    assert report().summary() == "0 rows: none"
    assert A not in repr(made)
    assert "jobs=<1>" in repr(made)
    assert "rejections=<1 rejections>" in repr(made)


def test_a_report_as_a_table() -> None:
    """table() has every figure in a line of its own, the sum below the outcomes."""
    made = report(rows=12_005, accepted=12_003, rejected=1, not_sent=1, requests=4, seconds=1.25)
    assert made.table().splitlines() == [
        "accepted    12,003",
        "rejected         1",
        "superseded       0",
        "unknown          0",
        "not sent         1",
        "rows        12,005",
        "jobs             0",
        "requests         4",
        "seconds        1.2",
    ]


def test_a_report_as_plain_data() -> None:
    """as_dict has all but the rejections, and can be JSON."""
    made = report(rows=1, accepted=1, jobs=(JobRef("contact", 1),), requests=4, seconds=1.23456)
    assert json.loads(json.dumps(made.as_dict())) == {
        "run_id": "r1", "rows": 1, "accepted": 1, "rejected": 0, "superseded": 0, "unknown": 0, "not_sent": 0,
        "jobs": 1, "requests": 4, "seconds": 1.235, "complete": True, "halted": None, "unsettled": [],
    }  # fmt: skip


def test_a_report_can_be_pickled() -> None:
    """A report is plain data: it comes out of a pickle as it went in, its errors too."""
    made = report(
        [rejection(1)],
        rows=1,
        rejected=1,
        halted=UsageError("x"),
        unsettled=(Unsettled(rows=(range(1, 2),), cause="x"),),
    )
    again = pickle.loads(pickle.dumps(made))
    assert str(again.halted) == str(made.halted)
    assert (again.as_dict(), again.rejections, again.unsettled) == (made.as_dict(), made.rejections, made.unsettled)


@pytest.mark.parametrize("count", [0, 1, 1_001])
def test_a_whole_report_as_json(tmp_path: Path, count: int) -> None:
    """.json is one object: the figures, why it stopped, what is not settled, and each rejection as in .jsonl."""
    rows = [rejection(row, data=ODD) for row in range(1, count + 1)]
    unsettled = (
        Unsettled(rows=(range(5, 8),), cause="x", job=JobRef("contact", 1)),
        Unsettled(rows=(range(8, 9),), cause="y"),
    )
    made = report(rows, rows=7, rejected=count, halted=UsageError("wrong"), unsettled=unsettled)
    assert made.write_rejections(tmp_path / "report.json") == made.write_rejections(tmp_path / "r.jsonl") == count
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    lines = (tmp_path / "r.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert found.pop("rejections") == [json.loads(line) for line in lines]
    assert found == made.as_dict()
    assert found["halted"] == "wrong; nothing was sent"
    assert found["unsettled"] == [
        {"rows": [[5, 7]], "cause": "x", "job": "contact:1"},
        {"rows": [[8, 8]], "cause": "y", "job": None},
    ]


@pytest.mark.parametrize("name", ["rejects.txt", "rejects", "rejects.csv.gz", ".csv", ".json"])
def test_endings_that_are_not_known(tmp_path: Path, name: str) -> None:
    """Any other ending is refused before a file is made."""
    with pytest.raises(UsageError) as caught:
        report().write_rejections(tmp_path / name)
    assert "as .csv, .jsonl, .json" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_outcome_of_each_row() -> None:
    """outcome_of says what became of a row, and of a row that is not there that it is not."""
    made = report(
        [rejection(3)],
        rows=8,
        rows_accepted=RowSet.of([range(1, 2)]),
        rows_superseded=RowSet.of([range(2, 3)]),
        rows_not_sent=RowSet.of([range(7, 9)]),
        unsettled=(
            Unsettled(rows=(range(4, 5), range(6, 7)), cause="lost", job=JobRef("contact", 1)),
            Unsettled(rows=(range(5, 6),), cause="odd"),
            Unsettled(rows=(), cause="counts do not agree"),
            Unsettled(rows=(range(7, 9),), cause="stopped"),
        ),
    )
    found = [made.outcome_of(row) for row in range(1, 9)]
    assert [(outcome.row, outcome.state, outcome.cause) for outcome in found] == [
        (1, "accepted", None), (2, "superseded", None), (3, "rejected", None), (4, "unknown", "lost"),
        (5, "unknown", "odd"), (6, "unknown", "lost"), (7, "not_sent", "stopped"), (8, "not_sent", "stopped"),
    ]  # fmt: skip
    assert (found[2].rejection, found[3].job) == (rejection(3), JobRef("contact", 1))
    for row in (0, 9, -1):
        with pytest.raises(UsageError, match=f"no row {row}"):
            made.outcome_of(row)
    assert attrs.evolve(made, rejections=FewRejections([rejection(3)])).outcome_of(3) == found[2]
