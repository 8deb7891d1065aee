"""Reports of partitions, and what they are together."""

import pickle

import pytest
from attrs import evolve

import mjbulk
from mjbulk.outcomes.row_set import RowSet
from mjbulk.partition import PartitionReport


def report_of(partition: str, run_id: str = "r", path: str | None = None) -> PartitionReport:
    accepted = RowSet.of([range(1, 4), range(5, 6)])
    return PartitionReport(
        rows=6, accepted=4, rejected=1, superseded=1, run_id=run_id, partition=partition, rejections_path=path,
        rows_accepted=accepted,
    )  # fmt: skip


def test_reports_add_up() -> None:
    """In any order and in any groups, the whole is the same."""
    a, b, c = (report_of(name) for name in "abc")
    whole = a.merge(b, c)
    assert whole == c.merge(b).merge(a) == c.merge(a.merge(b))
    assert (whole.rows, whole.accepted, whole.rejected, whole.superseded) == (18, 12, 3, 3)
    assert (whole.partition, whole.run_id, [part.partition for part in whole.parts]) == ("", "r", ["a", "b", "c"])
    assert a.merge() is a
    assert pickle.loads(pickle.dumps(whole)) == whole


def test_what_cannot_be_merged() -> None:
    """A partition that would count twice, and reports of several runs."""
    a, b = report_of("a"), report_of("b")
    with pytest.raises(mjbulk.UsageError) as caught:
        a.merge(b).merge(report_of("a"))
    assert "partition 'a' is in two of these reports, and would count twice" in str(caught.value)
    with pytest.raises(mjbulk.UsageError) as caught:
        a.merge(report_of("b", "another"))
    assert "these reports are of several runs" in str(caught.value)


def test_rows_are_numbered_in_each_partition() -> None:
    """Merged reports have them for each partition."""
    a = report_of("a")
    assert list(a.accepted_rows()) == [range(1, 4), range(5, 6)]
    whole = a.merge(report_of("b"))
    with pytest.raises(mjbulk.UsageError) as caught:
        whole.accepted_rows()
    assert "report.parts" in str(caught.value)
    assert [list(part.accepted_rows()) for part in whole.parts] == 2 * [list(a.accepted_rows())]


def test_files_of_rejected_rows() -> None:
    """A partition has a file; all of them have a folder."""
    a, b = report_of("a", path="/rejected/a.csv"), report_of("b")
    assert (a.merge(b).rejections_path, b.merge(report_of("c")).rejections_path) == ("/rejected", None)


def test_what_it_says() -> None:
    """In a line, and as plain data."""
    a = report_of("a")
    assert str(a) == "r: 6 rows: 4 accepted, 1 rejected, 1 superseded in partition a"
    whole = a.merge(report_of("b"))
    assert str(whole) == "r: 12 rows: 8 accepted, 2 rejected, 2 superseded in 2 partitions"
    assert whole.as_dict()["parts"] == [part.as_dict() for part in whole.parts]
    assert a.as_dict() == {
        "run_id": "r", "partition": "a", "rejections_path": None, "rows": 6, "accepted": 4, "rejected": 1,
        "superseded": 1, "unknown": 0, "not_sent": 0, "complete": True, "stored": False,
        "parts": [],
    }  # fmt: skip


def test_what_had_ended_before() -> None:
    """A run_id that is used again, with other rows, must not look as if these were sent."""
    stored, other = evolve(report_of("a"), stored=True), evolve(report_of("b"), stored=True)
    assert str(stored).endswith("in partition a; it had ended before, nothing was sent now")
    assert str(stored.merge(other)).endswith("in 2 partitions; they had ended before, nothing was sent now")
    some = stored.merge(report_of("b"))
    assert str(some).endswith("in 2 partitions; 1 of them had ended before, nothing was sent for those now")
    assert [one.as_dict()["stored"] for one in (stored, stored.merge(other), some)] == [True, True, False]
    assert stored == report_of("a")


def test_whether_all_is_well() -> None:
    """Complete: no row is unknown or unsent. Well: none was rejected either."""
    good, rejected = PartitionReport(run_id="r", partition="a", rows=1, accepted=1), report_of("b")
    unknown = PartitionReport(run_id="r", partition="c", rows=1, unknown=1)
    unsent = PartitionReport(run_id="r", partition="d", rows=1, not_sent=1)
    states = [(one.ok, one.complete) for one in (good, rejected, unknown, unsent, good.merge(unsent))]
    assert states == [(True, True), (False, True), (False, False), (False, False), (False, False)]
