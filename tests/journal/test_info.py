"""What users see of a run in a journal: its counts, its state, whether it is complete."""

from typing import Any

import pytest

from mjbulk import Counts, RunInfo
from mjbulk.journal.info import PartSums, RunFacts, together


def test_partitions_together() -> None:
    """Their sums, and the state of the least settled; as plain data they say which run it is."""
    alone = RunInfo(run_id="r", partition="1", state="settled", rows=1, accepted=1, created="2026-11-23")
    assert list(alone.as_dict().items())[:8] == [
        ("run_id", "r"), ("partition", "1"), ("state", "settled"), ("complete", False), ("cause", None),
        ("created", "2026-11-23"), ("ingester", False), ("rows", 1),
    ]  # fmt: skip
    infos = [RunInfo(run_id="r", partition=str(n), state="settled", rows=n, accepted=n, complete=True) for n in (1, 2)]
    assert together(infos) == RunInfo(run_id="r", state="settled", rows=3, accepted=3, complete=True)
    waits = RunInfo(run_id="r", state="needs_source", cause="its source was cut")
    again = RunInfo(run_id="r", state="resumable", cause="it was stopped")
    assert [together([*infos, waits]).state, together([*infos, waits]).complete] == ["needs_source", False]
    assert [together([waits, *infos, again]).state, together([again, waits]).cause] == ["resumable", "it was stopped"]
    assert together([*infos, waits, again, RunInfo(run_id="r", state="running")]).state == "running"


def facts(*parts: PartSums, **said: Any) -> RunFacts:
    """Give a run in which all is well, except what is said."""
    rows = sum(part.rows for part in parts)
    well = {"closed": True, "whole": True, "located": False, "csv": False, "retry": False, "retry_overtaken": False}
    return RunFacts(**{**well, "read": rows, "cut": rows, "refused": 0, "parts": parts, **said})


SETTLED = PartSums(state="settled", rows=9, accepted=5, rejected=3, superseded=1)
UNKNOWN = PartSums(state="settled", rows=4, unknown=4, explained=True)
WATCHED = PartSums(state="watched", rows=2)
FOR_ROWS = PartSums(state="watched", rows=2, explained=True)
IN_DOUBT = PartSums(state="sending", rows=3)
GIVEN_UP = PartSums(state="sending", rows=3, explained=True)
OVERTAKEN = PartSums(state="sending", rows=3, overtaken=True)
UPLOADED = PartSums(state="sending", rows=3, uploaded=True)
NOT_FOUND = PartSums(state="sending", rows=3, uploaded=True, explained=True)
UNSENT = PartSums(state="unsent", rows=8)

STATES: list[tuple[str, RunFacts]] = [
    ("resumable", facts(SETTLED, closed=False)),
    ("resumable", facts(SETTLED, WATCHED)),
    ("resumable", facts(SETTLED, UPLOADED, csv=True)),
    ("resumable", facts(SETTLED, whole=False, located=True)),
    ("resumable", facts(SETTLED, UNSENT, located=True)),
    ("resumable", facts(SETTLED, FOR_ROWS, located=True)),
    ("resumable", facts(SETTLED, IN_DOUBT, located=True, retry=True)),
    ("settled", facts(SETTLED, UNSENT, whole=False, gathers=True)),
    ("resumable", facts(SETTLED, WATCHED, gathers=True)),
    ("needs_source", facts(SETTLED, whole=False)),
    ("needs_source", facts(whole=False)),
    ("needs_source", facts(SETTLED, UNSENT)),
    ("needs_source", facts(SETTLED, read=10)),
    ("needs_source", facts(SETTLED, IN_DOUBT, csv=True)),
    ("needs_source", facts(SETTLED, FOR_ROWS)),
    ("needs_source", facts(SETTLED, IN_DOUBT, retry=True)),
    ("needs_source", facts(SETTLED, OVERTAKEN, retry=True, retry_overtaken=True)),
    ("needs_source", facts(SETTLED, NOT_FOUND, csv=True, retry=True)),
    ("settled", facts(SETTLED)),
    ("settled", facts()),
    ("settled", facts(SETTLED, UNKNOWN, located=True)),
    ("settled", facts(SETTLED, IN_DOUBT, located=True)),
    ("settled", facts(SETTLED, GIVEN_UP, retry=True)),
    ("settled", facts(SETTLED, NOT_FOUND, csv=True, located=True)),
    ("settled", facts(SETTLED, OVERTAKEN, retry=True)),
    ("settled", facts(SETTLED, refused=7, read=16)),
]


@pytest.mark.parametrize(("state", "known"), STATES)
def test_the_state_of_a_run(state: str, known: RunFacts) -> None:
    """Each line of the table. Whatever its state is, it is running while somebody has it open."""
    assert known.state(is_open=False) == state
    assert known.state(is_open=True) == "running"


def test_a_run_that_is_complete() -> None:
    """Its source was read to its end, and nothing of it is unknown or unsent; rejections do not matter."""
    assert facts(SETTLED).complete()
    assert facts(SETTLED, refused=7, read=16).complete()
    for known in (
        facts(SETTLED, whole=False),
        facts(SETTLED, UNKNOWN),
        facts(SETTLED, GIVEN_UP),
        facts(SETTLED, UNSENT),
        facts(SETTLED, read=10),
        facts(SETTLED, WATCHED),
    ):
        assert not known.complete()


def test_what_was_read_stays_in_the_books() -> None:
    """Also what is in no chunk; a run that was killed knows no more than its chunks and its refused rows."""
    known = facts(SETTLED, UNKNOWN, WATCHED, IN_DOUBT, UNSENT, refused=2, read=40)
    assert known.counts() == Counts(rows=40, accepted=5, rejected=5, superseded=1, unknown=9, not_sent=20)
    assert facts(SETTLED, refused=2, read=0).counts() == Counts(rows=11, accepted=5, rejected=5, superseded=1)


def test_nothing_is_in_doubt_on_the_csv_way_before_it_was_uploaded() -> None:
    """It was not sent, whatever was intended."""
    assert facts(IN_DOUBT, csv=True).counts() == Counts(rows=3, not_sent=3)
    assert facts(UPLOADED, csv=True).counts() == facts(IN_DOUBT).counts() == Counts(rows=3, unknown=3)


def test_what_was_given_up_is_unknown_on_both_ways() -> None:
    """As its report has said, also where no upload went through."""
    assert facts(GIVEN_UP, csv=True).counts() == facts(GIVEN_UP).counts() == Counts(rows=3, unknown=3)
    assert facts(GIVEN_UP, csv=True).state(is_open=False) == "settled"


def test_what_a_run_does_and_with_which_file() -> None:
    """In words, for people; as plain data for JSON."""
    lists = RunInfo(run_id="r", state="settled", lists=((42, "addnoforce"), ("news", "unsub")), source="/a/b/c.csv")
    assert (lists.action, lists.name) == ("addnoforce 42, unsub news", "c.csv")
    assert lists.as_dict()["lists"] == [[42, "addnoforce"], ["news", "unsub"]]
    excluded = [RunInfo(run_id="r", state="settled", excluded=way) for way in (True, False, None)]
    assert [info.action for info in excluded] == ["exclude", "include", "no list"]
    assert RunInfo(run_id="r", state="settled", source="C:\\data\\c.csv").name == "c.csv"
    assert (excluded[0].name, excluded[0].as_dict()["lists"]) == ("", None)
