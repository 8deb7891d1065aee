"""People in flight: nobody is in two unfinished chunks."""

from collections import Counter
from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.chunks.people import PeopleCount, PeopleInFlight
from mjbulk.chunks.people_table import PeopleTable
from mjbulk.rows.addresses import keys_of

LAW = settings(derandomize=True, deadline=None, max_examples=200)
SLOTS = st.sampled_from([1, 2, 8, 64])


class Model:
    """The same in the plainest way: the people of each chunk that is not done."""

    def __init__(self) -> None:
        self.people: dict[int, set[int]] = {}
        self.doubtful: set[int] = set()

    def of(self, person: int) -> set[int]:
        """The chunks with a person."""
        return {chunk for chunk, people in self.people.items() if person in people}

    def enter(self, hashes: list[int], chunk: int) -> tuple[int, set[int], set[int]]:
        """How many are entered, and which chunks stop the next one; and the chunks in doubt that are overtaken."""
        overtaken = set[int]()
        for at, person in enumerate(hashes):
            if holders := self.of(person) - self.doubtful:
                return at, holders, overtaken
            overtaken |= self.of(person)
            for older in self.of(person):
                self.people[older].discard(person)  # from now on the open chunk stands for them
            self.people[chunk].add(person)
        return len(hashes), {0}, overtaken

    def done(self, chunk: int, *, in_doubt: bool) -> None:
        if in_doubt:
            self.doubtful.add(chunk)
        else:
            self.doubtful.discard(chunk)
            del self.people[chunk]


ROWS = st.lists(st.integers(-30, 30), max_size=8)
STEPS = st.lists(st.one_of(ROWS, st.tuples(st.integers(0, 100), st.booleans())), max_size=40)


TAGS = 50


def table(slots: int, tag: int) -> PeopleTable:
    """A table whose round of tags may soon end."""
    people = PeopleTable(slots, tags=TAGS)
    people._last_tag = tag
    return people


TABLES = st.builds(table, SLOTS, st.sampled_from([0, TAGS - 3, TAGS - 1]))
FEW_OR_MANY = st.builds(PeopleInFlight, st.sampled_from([0, 3, 20, 1000]), st.sampled_from([1, 3, 1000]))


@pytest.mark.unmeasured
@LAW
@given(STEPS, TABLES | FEW_OR_MANY)
def test_against_the_model(steps: list[list[int] | tuple[int, bool]], people: PeopleTable | PeopleInFlight) -> None:
    """Rows enter up to the first whose person is in an unfinished chunk; chunks in doubt are overtaken, and told. A
    round of tags may end meanwhile, and few people may become many.
    """
    agree(steps, people)


@pytest.mark.parametrize("seed", range(40))
def test_few_people_become_many_while_chunks_end(seed: int) -> None:
    """Each enters while others are still moved, and chunks end of which some people were moved."""
    chance = Random(seed)
    steps: list[list[int] | tuple[int, bool]] = [
        [chance.randint(-30, 30) for _ in range(chance.choice([1, 8]))] for _ in range(16)
    ]
    for at in sorted(chance.sample(range(3, 16), 6), reverse=True):
        steps.insert(at, (chance.randrange(100), chance.random() < 0.4))
    agree(steps, PeopleInFlight(few=15, moved=1))


def agree(steps: list[list[int] | tuple[int, bool]], people: PeopleTable | PeopleInFlight) -> None:
    """Do the steps, and compare with the model after each."""
    model, numbers = Model(), count(1)
    for step in steps:
        if isinstance(step, list):
            chunk, overtaken = next(numbers), set[int]()
            people.begin(chunk)
            model.people[chunk] = set()
            at, holders, doubts = model.enter(step, chunk)
            assert [people.holder(person, chunk) == 0 for person in step[:at]] == [True] * at
            found, holder = people.enter(step, 0, len(step), chunk, overtaken)
            assert (found, overtaken) == (at, doubts)
            assert holder in holders
        elif model.people:
            which, in_doubt = step
            chunk = sorted(model.people)[which % len(model.people)]
            people.finish(chunk, in_doubt=in_doubt)
            model.done(chunk, in_doubt=in_doubt)
        for person in range(-30, 31):
            assert people.holder(person, 0) in (model.of(person) - model.doubtful or {0})


RECORDED = st.lists(st.tuples(st.sets(st.integers(0, 20), max_size=6), st.booleans()), max_size=8)


@LAW
@given(RECORDED, st.lists(st.integers(0, 100), max_size=8), TABLES | FEW_OR_MANY, st.data())
def test_recorded_chunks_may_share_a_person(
    recorded: list[tuple[set[int], bool]],
    done: list[int],
    people: PeopleTable | PeopleInFlight,
    data: st.DataObject,
) -> None:
    """A chunk hears of all unfinished ones before it with one of its people; a person is free when all are done."""
    model = Model()
    for number, (hashes, in_doubt) in enumerate(recorded, start=1):
        if model.people and data.draw(st.integers(0, 4)) == 0:
            gone = data.draw(st.sampled_from(sorted(model.people)))
            people.finish(gone)
            model.done(gone, in_doubt=False)
        shared = {other for person in hashes for other in model.of(person)} - model.doubtful
        assert people.enter_recorded(number, sorted(hashes)) == shared
        model.people[number] = hashes
        if in_doubt:
            people.finish(number, in_doubt=True)
            model.done(number, in_doubt=True)
    mine = len(recorded) + 1
    for which in done:
        for person in range(21):
            assert people.holder(person, mine) in (model.of(person) - model.doubtful or {0})
        if model.people:
            gone = sorted(model.people)[which % len(model.people)]
            people.finish(gone)
            model.done(gone, in_doubt=False)
    people.begin(mine)
    for person in range(21):
        overtaken = set[int]()
        found, holder = people.enter([person], 0, 1, mine, overtaken)
        holders = model.of(person) - model.doubtful
        assert (found, holder in (holders or {0})) == (0 if holders else 1, True)
        assert overtaken == (set() if holders else model.of(person))


def bytes_of(people: PeopleTable) -> int:
    """The memory of a table."""
    return sum(part.itemsize * len(part) for part in people._parts)


@pytest.mark.parametrize("slots", [1, 4, 64])
def test_a_table_is_rebuilt_without_those_who_are_done(slots: int) -> None:
    """Thousands of people who come and go: those in flight stay in the table, and the others take no room."""
    people = PeopleTable(slots, usual=slots)
    for chunk in range(1, 400):
        people.begin(chunk)
        assert people.enter(range(chunk * 100, chunk * 100 + 100), 0, 100, chunk, set()) == (100, 0)
        if chunk > 10:
            people.finish(chunk - 10)
        flying = range(max(chunk - 9, 1), chunk + 1)
        assert [people.holder(number * 100 + 7, 0) for number in flying] == list(flying)
        assert people.holder((chunk - 10) * 100 + 7, 0) == 0
    assert bytes_of(people) <= 8 * 4096


def test_a_rebuilt_table_knows_recorded_chunks_that_share_a_person() -> None:
    """Where the newest chunk of a person is done, an older one that is unfinished still holds the person."""
    people = PeopleTable(4)
    for chunk in (1, 2, 3):
        people.enter_recorded(chunk, [7])
    people.finish(3)
    people.begin(4)
    people.enter(range(100, 200), 0, 100, 4, set())
    assert people.holder(7, 4) == 2
    people.finish(2)
    assert people.holder(7, 4) == 1
    people.enter(range(200, 2000), 0, 1800, 4, set())
    assert people.holder(7, 4) == 1
    people.finish(1)
    assert people.holder(7, 4) == 0


def test_a_person_of_the_open_chunk_is_told_apart_by_its_number() -> None:
    """A second row of a person in the open chunk is told that chunk; of some rows, the first such one is told."""
    people = PeopleInFlight()
    people.begin(1)
    assert people.enter([5, 6, 5, 6], 0, 4, 1, set()) == (2, 1)
    assert people.enter([5, 6, 5, 8], 3, 4, 1, set()) == (4, 0)
    assert (people.holder(5, 1), people.holder(5, 2)) == (0, 1)


def test_people_with_the_same_bits_stop_each_other() -> None:
    """Two hashes that agree in the bits that are kept are one person: a row waits needlessly, never too briefly."""
    people = PeopleTable(8, bits=3)
    people.begin(1)
    assert people.enter([1, 2, 9], 0, 3, 1, set()) == (2, 1)
    people.finish(1)
    people.begin(2)
    assert people.enter([9], 0, 1, 2, set()) == (1, 0)


@pytest.mark.parametrize("first", [1, 2])
def test_people_with_the_same_bits_are_moved_to_a_table(first: int) -> None:
    """Each chunk still holds its own, whichever ends first, and those who come after them in a chunk."""
    people = PeopleInFlight(few=5)
    for chunk, those in enumerate(([7, 8], [7 + 2**41, 9], [20], [21], [22]), 1):
        people.begin(chunk)
        people.enter(those, 0, len(those), chunk, set())
    assert people._people_of.keys() == {3, 4}
    people.finish(first)
    assert [people.holder(person, 5) for person in (7, 7 + 2**41)] == [3 - first] * 2
    assert [people.holder(person, 5) for person in (8, 9)] == ([0, 2] if first == 1 else [1, 0])


def test_a_run_may_have_any_number_of_chunks() -> None:
    """Tags are used again, and nobody waits for a chunk that had the same tag: neither for one that was done when its
    round ended, nor for one that was done after that.
    """
    people = PeopleTable(64, tags=5, usual=64)
    people.begin(1)
    people.enter([1], 0, 1, 1, set())
    people.begin(2)
    people.enter([2], 0, 1, 2, set())
    people.finish(2)
    for chunk in range(3, 200):
        people.begin(chunk)
        mine, before, first = 1000 + chunk, 999 + chunk, 1 if chunk <= 101 else chunk
        assert people.enter([2, mine], 0, 2, chunk, set()) == (2, 0)
        assert people.enter([1], 0, 1, chunk, set()) == ((0, 1) if first == 1 else (1, 0))
        assert [people.holder(person, 0) for person in (1, 2, mine, before)] == [first, chunk, chunk, 0]
        people.finish(chunk)
        if chunk == 101:
            people.finish(1)
    assert bytes_of(people) == 8 * 4096


def test_chunks_of_the_largest_numbers() -> None:
    """The number of a chunk does not have to fit into an entry of the table."""
    people = PeopleTable()
    for chunk in (2**24 - 1, 2**24, 2**24 + 1, 2**40):
        people.begin(chunk)
        assert people.enter([7, 8], 0, 2, chunk, set()) == (2, 0)
        assert people.holder(7, 0) == chunk
        people.finish(chunk)


def test_there_are_not_endless_chunks_at_once() -> None:
    """An entry has to tell them apart."""
    people = PeopleTable(tags=3)
    for chunk in (1, 2, 3):
        people.begin(chunk)
    people.begin(3)
    with pytest.raises(RuntimeError, match="too many chunks"):
        people.begin(4)


def test_a_doubt_that_is_forgotten_is_not_told_again() -> None:
    """A chunk in doubt is overtaken once: when that is written down, nobody hears of it any more."""
    people = PeopleInFlight()
    people.begin(1)
    people.enter([5, 6], 0, 2, 1, set())
    people.finish(1, in_doubt=True)
    people.begin(2)
    overtaken = set[int]()
    people.claim(5, 2, overtaken)
    assert overtaken == {1}
    people.finish(1)
    assert people.enter([6], 0, 1, 2, set()) == (1, 0)


PEOPLE = st.lists(st.integers(0, 40).map("u{}@x.org".format) | st.integers(0, 5).map("U{}@x.org".format), max_size=60)


@LAW
@given(PEOPLE)
def test_people_are_counted(addresses: list[str]) -> None:
    """A person counts once, however the address is spelled; all rows of those who come again are counted."""
    counted = PeopleCount()
    counted.add(keys_of(addresses[:20]))
    counted.add(keys_of(addresses[20:]))
    times = Counter(map(str.casefold, addresses))
    assert len(counted) == len(times)
    assert counted.recurring == sum(number for number in times.values() if number > 1)


def test_many_people_are_counted_in_few_bytes() -> None:
    """The table grows with those who are in it, and takes about 20 bytes for each."""
    counted = PeopleCount()
    for _ in range(2):
        counted.add(f"{number}@example.org" for number in range(20_000))
    assert (len(counted), counted.recurring) == (20_000, 40_000)
    assert counted._table.itemsize * len(counted._table) < 33 * 20_000


def test_a_person_costs_few_bytes() -> None:
    """The table holds no names: 100,000 people cost less than 50 bytes each."""
    people = PeopleTable()
    for number in range(100):
        people.begin(number + 1)
        people.enter([hash(f"{number}-{n}@example.org") for n in range(1000)], 0, 1000, number + 1, set())
    assert bytes_of(people) < 50 * 100_000


@pytest.mark.parametrize("people", [PeopleInFlight(), PeopleInFlight(0), PeopleTable()])
def test_a_chunk_that_is_not_known_may_end(people: PeopleInFlight | PeopleTable) -> None:
    """A chunk of an earlier process whose rows were not read again is done, too."""
    people.finish(7)
    assert people.holder(1, 0) == 0


def test_many_people_are_moved_to_a_table() -> None:
    """Those in flight, and those who were left in doubt; whom another chunk has overtaken is not told again."""
    people = PeopleInFlight(few=6)
    for chunk, some in enumerate(([1, 2], [3, 4]), start=1):
        people.begin(chunk)
        people.enter(some, 0, 2, chunk, set())
    people.finish(1, in_doubt=True)
    people.begin(3)
    overtaken = set[int]()
    assert people.enter([5, 1], 0, 2, 3, overtaken) == (2, 0)
    assert overtaken == {1}
    people.finish(3)
    people.begin(4)
    overtaken = set()
    assert people.enter([6, 1, 7, 8, 3], 0, 5, 4, overtaken) == (4, 2)
    assert isinstance(people._table, PeopleTable)
    assert overtaken == set()
    people.begin(5)
    assert people.enter([2], 0, 1, 5, overtaken) == (1, 0)
    assert (overtaken, people.holder(6, 5), people.holder(4, 5)) == ({1}, 4, 2)


def test_rows_of_people_in_flight_do_not_have_all_others_looked_up_again() -> None:
    """Each row is looked up about twice, however many of them wait for others."""
    looked = 0

    class Counted(int):
        def __hash__(self) -> int:
            nonlocal looked
            looked += 1
            return int(self)

    people = PeopleInFlight()
    people.begin(1)
    people.enter([*range(500)], 0, 500, 1, set())
    people.begin(2)
    rows, at = [Counted(person if person % 2 else person + 1000) for person in range(500)], 0
    while at < len(rows):
        at = people.enter(rows, at, len(rows), 2, set())[0] + 1
    assert looked < 6 * len(rows)
