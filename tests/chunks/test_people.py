"""No person is in two chunks in flight."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.chunks.people import Lanes

LAW = settings(derandomize=True, deadline=None, max_examples=100)


class Model:
    """The same in the plainest way: the people of each unfinished chunk, and whom each waits for."""

    def __init__(self) -> None:
        self.people: dict[int, set[str]] = {}
        self.waits: dict[int, set[int]] = {}

    def enter(self, chunk: int, keys: set[str], blockers: set[int]) -> None:
        newest = {max((other for other in self.people if key in self.people[other]), default=chunk) for key in keys}
        shared = {other for other, people in self.people.items() if people & keys}
        assert newest - {chunk} <= blockers <= shared
        self.people[chunk], self.waits[chunk] = keys, blockers

    def ready(self) -> list[int]:
        """The chunks that wait for nobody any more: only they can leave."""
        return [chunk for chunk, waits in self.waits.items() if not waits & set(self.people)]

    def leave(self, chunk: int) -> None:
        del self.people[chunk], self.waits[chunk]

    def check(self) -> None:
        """Check that no two chunks that may be in flight now share a person."""
        ready = self.ready()
        taken = [person for chunk in ready for person in self.people[chunk]]
        assert len(taken) == len(set(taken))


STEPS = st.lists(st.one_of(st.sets(st.integers(0, 30), max_size=6), st.integers(0, 100)), max_size=40)


@LAW
@given(STEPS, st.sampled_from([1, 2, 8, 4096]))
def test_against_the_model(steps: list[set[int] | int], slots: int) -> None:
    """A chunk waits for the newest unfinished chunk of each of its people, and for no chunk without its people."""
    lanes, model, number = Lanes(slots), Model(), 0
    for step in steps:
        if isinstance(step, set):
            number += 1
            keys = {f"{person}@example.org" for person in step}
            model.enter(number, keys, lanes.enter(number, map(hash, sorted(keys))))
        elif ready := model.ready():
            gone = ready[step % len(ready)]
            lanes.leave(gone)
            model.leave(gone)
        model.check()
        assert len(lanes) == len(model.people)
        assert lanes.people == len(set().union(*model.people.values()))


@pytest.mark.parametrize("slots", [1, 4, 4096])
def test_tables_that_are_rebuilt(slots: int) -> None:
    """Thousands of people who come and go keep the order: through rebuilt tables and slots that are used again."""
    chance, lanes, model = Random(7), Lanes(slots), Model()
    for number in range(1, 200):
        keys = {f"{chance.randrange(20_000)}@example.org" for _ in range(chance.randrange(60))}
        model.enter(number, keys, lanes.enter(number, map(hash, keys)))
        while len(model.people) > 12:
            gone = chance.choice(model.ready())
            lanes.leave(gone)
            model.leave(gone)
    for _ in range(len(model.people)):
        gone = chance.choice(model.ready())
        lanes.leave(gone)
        model.leave(gone)
    assert (len(lanes), lanes.people) == (0, 0)
    assert lanes.enter(200, (hash(f"{n}@example.org") for n in range(20_000))) == set()


def test_a_chunk_never_waits_for_itself_or_for_one_that_left() -> None:
    """One person twice in one chunk is no reason to wait, nor is one whose chunk has left."""
    lanes = Lanes()
    assert lanes.enter(1, map(hash, ["a", "a", "b"])) == set()
    assert lanes.enter(2, map(hash, ["c"])) == set()
    assert lanes.enter(3, map(hash, ["b", "c", "d"])) == {1, 2}
    lanes.leave(1)
    assert lanes.enter(4, map(hash, ["a"])) == set()
    assert lanes.enter(5, map(hash, ["b"])) == {3}
    assert lanes.enter(6, map(hash, [])) == set()
    assert len(lanes) == 5


def test_the_newest_is_enough() -> None:
    """Of three chunks with one person each waits for the one before it alone, as that waits itself."""
    lanes = Lanes()
    assert [lanes.enter(number, map(hash, ["a"])) for number in (1, 2, 3)] == [set(), {1}, {2}]
    lanes.leave(1)
    assert lanes.enter(4, map(hash, ["a"])) == {3}


def test_a_person_costs_few_bytes() -> None:
    """The tables hold no names: 100,000 people cost less than 50 bytes each."""
    lanes = Lanes()
    for number in range(100):
        lanes.enter(number, (hash(f"{number}-{n}@example.org") for n in range(1000)))
    assert lanes._table.itemsize * len(lanes._table) < 50 * 100_000
