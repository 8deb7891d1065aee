"""One part of a chunk: which steps it takes, what it becomes when it is halved, and what a journal knows of it."""

from itertools import product
from typing import Any, Literal

import pytest
from attrs import evolve

from mjbulk.journal.records import PartRecord
from mjbulk.models import Counts, JobRef
from mjbulk.run.part import STEPS, InDoubt, Lost, Part, Parts, Refused, Settled, State, Unsent, Watched

JOB = JobRef("contact", 7)
STATES: dict[type[State], State] = {
    Unsent: Unsent(),
    InDoubt: InDoubt(own=True),
    Watched: Watched(JOB),
    Refused: Refused("no", None),
    Lost: Lost("no answer"),
    Settled: Settled(),
}
ALLOWED = {
    (Unsent, InDoubt),
    (Unsent, Refused),
    (InDoubt, InDoubt),
    (InDoubt, Unsent),
    (InDoubt, Watched),
    (InDoubt, Refused),
    (InDoubt, Lost),
    (Watched, Settled),
    (Refused, Refused),
    (Refused, Settled),
}
WORDS = {Unsent: "unsent", InDoubt: "sending", Watched: "watched", Settled: "settled"}
FOUND_LATER, LATER_DOUBT = {"data_id": 7}, Refused("no", InDoubt(own=True))
VIAS = pytest.mark.parametrize("via", ["json", "csv"])


def record(**known: Any) -> PartRecord:
    return evolve(PartRecord(run=1, chunk=2, first=10, end=20, rows=13), **known)


def part(state: State, **known: Any) -> Part:
    return Part(record(state=WORDS.get(type(state), "sending"), **known), state)


@pytest.mark.parametrize(("before", "after"), list(product(STATES, STATES)))
def test_a_part_takes_the_steps_of_the_table_and_no_other(before: type[State], after: type[State]) -> None:
    """A forbidden step is a fault of ours, and leaves the part as it was."""
    one = part(STATES[before])
    known = one.record
    if (before, after) in ALLOWED:
        assert one.become(STATES[after]) is one.record
        assert one.state == STATES[after]
    else:
        with pytest.raises(RuntimeError, match=f"from {before.__name__} to {after.__name__}"):
            one.become(STATES[after])
        assert (one.state, one.record) == (STATES[before], known)


def test_the_table_has_a_line_for_each_state() -> None:
    """A state without a line would fail with a KeyError in the middle of a run."""
    assert STEPS.keys() == STATES.keys()
    assert {(before, after) for before, some in STEPS.items() for after in some} == ALLOWED


@pytest.mark.parametrize(("before", "after"), sorted(ALLOWED, key=repr))
def test_the_record_of_a_step_has_the_word_of_the_journal(before: type[State], after: type[State]) -> None:
    """Refused and Lost are decisions of this process: on disk the part stays what it was."""
    one = part(STATES[before])
    assert one.become(STATES[after]).state == WORDS.get(after, one.record.state)
    if after not in WORDS:
        assert one.record.state == part(STATES[before]).record.state


def test_a_step_notes_what_is_known_then() -> None:
    """The job, the attempts, and the figures of an outcome are part of the same record."""
    one = part(Unsent())
    assert one.become(InDoubt(own=True), attempts=1).attempts == 1
    assert one.become(Watched(JOB), job=str(JOB)).job == "contact:7"
    assert one.job == JOB
    figures = {"accepted": 9, "rejected": 2, "superseded": 2}
    planned = one.settled(**figures)
    assert (planned.state, planned.accepted) == ("settled", 9)
    assert one.record.state == "watched"
    assert one.become(Settled(), **figures) == planned


def test_a_cause_ends_with_the_next_step() -> None:
    """Why an earlier process gave a part up says nothing of what became of it since."""
    one = part(InDoubt(own=True), cause="its answer was lost")
    assert one.become(Watched(JOB), job=str(JOB)).cause == ""
    lost = part(InDoubt(own=True))
    assert lost.become(Lost("gone"), cause="gone").cause == "gone"


@pytest.mark.parametrize(
    ("state", "doubt"),
    [
        (Unsent(), None),
        (InDoubt(own=True), InDoubt(own=True)),
        (InDoubt(own=False), InDoubt(own=False)),
        (Watched(JOB), None),
        (Refused("no", None), None),
        (Refused("no", InDoubt(own=False)), InDoubt(own=False)),
        (Settled(), None),
    ],
)
def test_a_part_tells_what_may_have_been_applied_of_it(state: State, doubt: InDoubt | None) -> None:
    """Also once it is refused: its earlier request may have been taken."""
    assert part(state).doubt == doubt


# Halves


def test_halves_have_the_entries_and_the_rows_of_the_whole() -> None:
    """Nothing is in both of them, and nothing in none."""
    whole = part(Unsent(), overtaken=True)
    left, right = whole.halves(6, too_large=0)
    assert (left.entries, right.entries) == (slice(10, 15), slice(15, 20))
    assert (left.record.rows, right.record.rows) == (6, 7)
    assert (left.size, right.size) == (5, 5)
    assert left.record.overtaken
    assert right.record.overtaken


def test_an_odd_part_is_halved_too() -> None:
    """Three entries make one and two, and no half is empty."""
    left, right = part(Unsent(), first=4, end=7, rows=3).halves(1, too_large=0)
    assert (left.entries, right.entries) == (slice(4, 5), slice(5, 7))


def test_halves_begin_again() -> None:
    """What was uploaded for the whole is not theirs, and they were not tried."""
    whole = part(InDoubt(own=True), data_id=5, attempts=3, cause="its answer was lost")
    for half in whole.halves(6, too_large=1000):
        assert (half.record.data_id, half.record.attempts, half.record.cause, half.half_of) == (None, 0, "", 1000)


@pytest.mark.parametrize(
    ("state", "half", "word"),
    [
        (Unsent(), Unsent(), "unsent"),
        (InDoubt(own=True), InDoubt(own=False), "sending"),
        (InDoubt(own=False), InDoubt(own=False), "sending"),
    ],
)
def test_halves_inherit_the_doubt_of_the_whole(state: State, half: State, word: str) -> None:
    """A request that contained them may have been applied; it was not their own."""
    for one in part(state).halves(6, too_large=0):
        assert (one.state, one.record.state) == (half, word)


def test_halves_take_the_place_of_the_whole() -> None:
    """In the order of their entries, and the other parts stay where they are."""
    parts = Parts.of([record(first=0, end=10, rows=10), record(rows=13), record(first=20, end=21, rows=1)], "json")
    first, middle, last = parts
    halves = middle.halves(6, too_large=0)
    parts.halve(middle, halves)
    assert list(parts) == [first, *halves, last]
    assert parts.entries == 21


def test_parts_can_be_halved_while_they_are_gone_through() -> None:
    """A loop over them sees them as they were."""
    parts = Parts.of([record(first=0, end=4, rows=4), record(first=4, end=8, rows=4)], "json")
    seen = []
    for one in parts:
        seen.append(one.entries)
        parts.halve(one, one.halves(2, too_large=0))
    assert seen == [slice(0, 4), slice(4, 8)]
    assert [one.entries for one in parts] == [slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8)]


# What a journal knows


@VIAS
@pytest.mark.parametrize(
    ("known", "json", "csv"),
    [
        ({}, Unsent(), Unsent()),
        ({"attempts": 2}, Unsent(), Unsent()),
        ({"data_id": 5}, Unsent(), Unsent()),
        ({"state": "sending", "attempts": 1}, InDoubt(own=True), Unsent()),
        ({"state": "sending"}, InDoubt(own=False), Unsent()),
        ({"state": "sending", "attempts": 1, "cause": "given up"}, InDoubt(own=True), InDoubt(own=True)),
        ({"state": "sending", "attempts": 1, "data_id": 5}, InDoubt(own=True), InDoubt(own=True)),
        ({"state": "sending", "data_id": 5}, InDoubt(own=False), InDoubt(own=False)),
        ({"state": "watched", "job": "contact:7"}, Watched(JOB, resumed=True), Watched(JOB, resumed=True)),
        ({"state": "settled", "job": "contact:7"}, Settled(), Settled()),
        ({"state": "settled"}, Settled(), Settled()),
    ],
)
def test_a_part_goes_on_as_its_record_says(
    via: Literal["json", "csv"], known: dict[str, Any], json: State, csv: State
) -> None:
    """On the CSV way nothing is applied before it was uploaded; but what was given up may be overtaken."""
    one = Part.of(record(**known), via)
    assert one.state == {"json": json, "csv": csv}[via]
    assert one.record == record(**known)
    assert one.half_of == 0


def test_parts_are_told_apart_by_what_is_to_be_done_with_them() -> None:
    """Each of them is in one of three lists at most, and a job shows that something was taken."""
    records = [
        record(first=0, end=1, rows=1),
        record(first=1, end=2, rows=1, state="sending"),
        record(first=2, end=3, rows=1, state="watched", job="contact:7"),
        record(first=3, end=4, rows=1, state="settled"),
    ]
    parts = Parts.of(records, "json")
    unsent, sending, watched, settled = parts
    assert parts.without_job() == [unsent, sending]
    assert parts.watched() == [watched]
    assert settled.job is None
    assert parts.anything_taken
    assert not Parts.of(records[:2], "json").anything_taken


def test_two_parts_with_one_record_are_two() -> None:
    """They are keys: what is known of one is not known of the other."""
    assert part(Unsent()) != part(Unsent())


def test_a_refusal_does_not_show_its_text() -> None:
    """Mailjet's words may quote an address."""
    assert "someone" not in repr(Refused("someone@example.org is bad", None))


@pytest.mark.parametrize(
    ("one", "counts"),
    [
        (part(Unsent()), Counts(rows=13, not_sent=13)),
        (part(Refused("no", None)), Counts(rows=13, not_sent=13)),
        (part(LATER_DOUBT), Counts(rows=13, unknown=13)),
        (part(LATER_DOUBT, **FOUND_LATER), None),
        (part(InDoubt(own=True)), Counts(rows=13, unknown=13)),
        (part(InDoubt(own=True), **FOUND_LATER), None),
        (part(Lost("no answer")), Counts(rows=13, unknown=13)),
        (part(Lost("no answer"), **FOUND_LATER), Counts(rows=13, unknown=13)),
        (part(Watched(JOB)), None),
        (part(Settled(), accepted=9, rejected=1, superseded=3), Counts(rows=13, accepted=9, rejected=1, superseded=3)),
    ],
)
def test_how_its_rows_have_ended(one: Part, counts: Counts | None) -> None:
    """If nothing more is done: jobs can be watched later, and imports of data can be found."""
    assert one.counts == counts
