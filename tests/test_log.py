"""What the log says, by events alone."""

import logging
from typing import Any

import pytest

from mjbulk.events import Event, Scope
from mjbulk.log import Log, emitter, guarded
from mjbulk.models import Counts, JobRef, summary_of_run


class Lines:
    """What a log says at INFO and above."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self.log = Log()
        caplog.set_level(logging.INFO, "mjbulk")

    def after(self, *events: Event) -> list[str]:
        self._caplog.clear()
        for event in events:
            self.log(event)
        return [f"{record.name} {record.levelname}: {record.getMessage()}" for record in self._caplog.records]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    return Lines(caplog)


def request(verdict: str | None, status: str | None = None, call: str = "POST contact", **more: Any) -> Event:
    cause = None if verdict == "applied" else f"status {status}"
    return Event(name="request", call=call, verdict=verdict, status=status, **{"cause": cause, **more})


GOOD, BAD = request("applied", "200"), request("ambiguous", "500")
TWICE = "mjbulk.requests WARNING: POST contact has failed twice in a row: status 500"


def test_the_second_failure_in_a_row_is_said_and_when_it_is_over(lines: Lines) -> None:
    """The first is none, nor are the third and the fourth; then it begins again."""
    assert lines.after(BAD) == []
    assert lines.after(GOOD) == []
    assert lines.after(BAD, BAD) == [TWICE]
    assert lines.after(BAD, BAD) == []
    assert lines.after(GOOD) == ["mjbulk.requests INFO: POST contact succeeds again, after 4 failures in a row"]
    assert lines.after(GOOD, BAD, GOOD, BAD) == []
    assert lines.after(BAD) == [TWICE]


@pytest.mark.parametrize("verdict", ["not applied", "ambiguous", "unknown", "fatal"])
def test_what_is_a_failure(lines: Lines, verdict: str) -> None:
    """Each verdict that says that the request did not do what it should."""
    assert len(lines.after(request(verdict), request(verdict))) == 1


def test_calls_are_counted_apart_and_answers_are_no_failures(lines: Lines) -> None:
    """A refusal is an answer; a request that was cancelled is neither."""
    assert lines.after(BAD, request("ambiguous", "500", call="GET contact")) == []
    assert lines.after(request(None, None)) == []
    assert lines.after(BAD) == [TWICE]
    assert len(lines.after(request("refused", "400"))) == 1


def test_a_429_is_said_with_its_wait(lines: Lines) -> None:
    """Once for each wait; those that taught nothing new are none, and none of them is a failure."""
    stops = request("not applied", "429", wait=12.34)
    said = "mjbulk.requests WARNING: POST contact: 429 (too many requests), no request of this key leaves for 12.3 s"
    assert lines.after(stops, request("not applied", "429"), request("not applied", "429")) == [said]
    assert lines.after(request("not applied", "503", wait=3.0)) == [
        "mjbulk.requests WARNING: POST contact: status 503, no request of this key leaves for 3.0 s"
    ]


def test_the_journal_and_late_jobs(lines: Lines) -> None:
    """Each by its own logger."""
    failed = Event(name="journal.failed", rows=1, seconds=0.1, cause="the disk is full")
    assert lines.after(failed) == []
    assert lines.after(failed) == ["mjbulk.journal WARNING: the journal has failed twice in a row: the disk is full"]
    assert lines.after(Event(name="journal.written", rows=1, seconds=0.1)) == [
        "mjbulk.journal INFO: the journal succeeds again, after 2 failures in a row"
    ]
    assert lines.after(Event(name="job.stalled", job=JobRef("contact", 7))) == [
        "mjbulk.jobs INFO: job contact:7 is late: it has not moved for half an hour; it is watched on"
    ]


def test_a_run_from_its_beginning_to_its_halt(lines: Lines) -> None:
    """Its figures are those of its report; why it has stopped early is a warning."""
    run = Scope(run_id="r")
    counts = Counts(rows=3, accepted=1, unknown=2)
    ended: dict[str, Any] = {**counts.as_dict(), "jobs": 1, "seconds": 2.0}
    assert lines.after(run.event("run.started"), run.event("run.ended", **ended)) == [
        "mjbulk INFO: run r starts",
        f"mjbulk INFO: run r has ended: {summary_of_run(counts, jobs=1, seconds=2.0)}",
    ]
    assert lines.after(run.event("run.ended", cause="wrong keys", **ended))[1:] == [
        "mjbulk WARNING: run r has stopped early: wrong keys"
    ]
    assert lines.after(run.event("run.ended")) == ["mjbulk INFO: run r has ended: 0 rows: none in 0 jobs, 0.0 s"]


def test_unknown_rows_are_said_once_for_a_cause(lines: Lines) -> None:
    """Until a chunk of the run is settled well, or the run ends; other runs are others."""

    def chunk(run: Scope, unknown: int, cause: str | None = "lost") -> Event:
        return run.within(chunk=1).event("chunk.settled", unknown=unknown, cause=cause)

    run, other = Scope(run_id="r"), Scope(run_id="s")
    said = "mjbulk WARNING: 5 rows are unknown (chunk 1 of r, and maybe more): lost"
    assert lines.after(chunk(run, 5), chunk(run, 5)) == [said]
    assert lines.after(chunk(run, 5, "reset")) == [said.replace("lost", "reset")]
    assert len(lines.after(chunk(other, 5))) == 1
    assert lines.after(chunk(run, 0, None), chunk(run, 5)) == [said]
    assert lines.after(run.event("run.ended"), chunk(run, 5))[1:] == [said]
    for number in range(1100):
        lines.log(chunk(Scope(run_id=f"r{number}"), 1))
    assert len(lines.log._unknown) == 1000


@pytest.mark.parametrize(
    ("name", "logger"),
    [
        ("run.started", "mjbulk"),
        ("rows.settled", "mjbulk"),
        ("chunk.sent", "mjbulk"),
        ("request", "mjbulk.requests"),
        ("request.sending", "mjbulk.requests"),
        ("job", "mjbulk.jobs"),
        ("job.watched", "mjbulk.jobs"),
        ("journal.writing", "mjbulk.journal"),
    ],
)
def test_each_event_is_a_line_of_the_debug_level(caplog: pytest.LogCaptureFixture, name: Any, logger: str) -> None:
    """With the fields that are set, and no others."""
    with caplog.at_level(logging.DEBUG, "mjbulk"):
        Log()(Event(name=name, rows=0, job=JobRef("contact", 7)))
    lines = [(one.name, one.getMessage()) for one in caplog.records if one.levelno == logging.DEBUG]
    assert lines == [(logger, f"{name} job=contact:7 rows=0")]


def fails(event: Event) -> None:
    if event.attempt == 1:
        raise KeyError("somebody@example.org")
    raise ValueError("somebody@example.org") from KeyError("canary")


def test_a_hook_that_raises_is_said_once_for_each_kind(caplog: pytest.LogCaptureFixture) -> None:
    """With its traceback, in which no text of an exception stands; by however many clients it is called."""
    hooks = guarded([fails])
    one, other = emitter(hooks), emitter(hooks)
    for attempt in (1, 1, 2, 2, 1):
        one(Event(name="request", attempt=attempt))
        other(Event(name="request", attempt=attempt))
    texts = [record.getMessage() for record in caplog.records]
    assert [text.splitlines()[-1] for text in texts] == ["builtins.KeyError", "builtins.ValueError"]
    assert "a hook failed at request" in texts[0]
    assert "in fails" in texts[0]
    assert not any(record.exc_info for record in caplog.records)
    assert not any(word in caplog.text for word in ("somebody", "canary"))
    assert guarded(hooks) == hooks
