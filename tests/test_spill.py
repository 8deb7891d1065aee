"""Values outside of memory, in files that nobody else can open."""

import datetime as dt
import errno
import os
import random
import resource
import threading
from array import array
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk import spill as spilling
from mjbulk.spill import Memory, SmallValues, Spill, SpillRef, Stored

LAW = settings(derandomize=True, deadline=None, max_examples=60)


@pytest.fixture
def spill() -> Iterator[Spill]:
    made = Spill()
    yield made
    made.close()


def file_of(ref: SpillRef) -> IO[bytes]:
    assert ref.segment is not None
    return ref.segment.file


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@LAW
@given(st.lists(st.tuples(VALUES, st.integers(0, 9)), max_size=12))
def test_what_is_put_is_got(steps: list[tuple[Any, int]]) -> None:
    """Every value comes back as it went in, any number of times, in any order, until it is dropped."""
    spill, kept = Spill(), list[tuple[SpillRef, Any]]()
    try:
        for value, choice in steps:
            kept.append((spill.put(value), value))
            ref, expected = kept[choice % len(kept)]
            assert spill.get(ref) == expected
            if choice % 3 == 0:
                spill.drop(kept.pop(choice % len(kept))[0])
        assert [spill.get(ref) for ref, _ in kept] == [value for _, value in kept]
    finally:
        spill.close()


@LAW
@given(st.lists(st.tuples(VALUES, st.none() | st.integers(1, 9), st.integers(0, 9)), max_size=30))
def test_the_newest_values_are_in_memory(steps: list[tuple[Any, int | None, int]]) -> None:
    """Values with a weight are written when others need their room, and nothing else differs."""
    memory = Memory(room=12)
    spill, kept = Spill(memory=memory), list[tuple[SpillRef, Any]]()
    try:
        for value, weight, choice in steps:
            kept.append((spill.put(value, weight), value))
            assert memory.taken <= memory.room
            ref, expected = kept[choice % len(kept)]
            assert spill.get(ref) == expected
            if choice % 3 == 0:
                spill.drop(kept.pop(choice % len(kept))[0])
        unwritten = [ref for ref, _ in kept if ref.segment is None]
        assert memory.taken == sum(ref.weight for ref in unwritten)
        assert [spill.get(ref) for ref, _ in kept] == [value for _, value in kept]
    finally:
        spill.close()
    assert memory.taken == 0


def test_spills_share_the_room() -> None:
    """What one spill keeps in memory leaves less for another one, and what is dropped leaves it again."""
    memory = Memory(room=10)
    one, other = Spill(memory=memory), Spill(memory=memory)
    first, second = one.put("first", 8), other.put("second", 8)
    assert first.segment is None
    assert second.segment is not None
    one.drop(first)
    assert other.put("third", 8).segment is None
    one.close()
    other.close()


def test_there_can_be_no_file(tmp_path: Path) -> None:
    """That is found at once, and not when there is no more room in memory."""
    with pytest.raises(FileNotFoundError):
        Spill(tmp_path / "missing").put("value", 1)


@LAW
@given(st.binary(max_size=20), st.integers(-25, 25) | st.none(), st.integers(-25, 25) | st.none())
def test_bytes_are_read_in_any_part(data: bytes, start: int | None, stop: int | None) -> None:
    """Bytes that lie in the file are as long as they were, and any part of them can be had."""
    spill = Spill()
    try:
        spill.put("before")
        stored = spill.store(data)
        spill.put("after")
        assert (len(stored), stored[:], stored[start:stop]) == (len(data), data, data[start:stop])
    finally:
        spill.close()


def test_bytes_that_are_needed_no_more_are_forgotten(spill: Spill) -> None:
    """Bytes and values lie in the same files, and keep them open alike."""
    stored = spill.store(b"x" * spilling._SEGMENT)
    assert not file_of(stored.ref).closed
    spill.drop(stored.ref)
    assert file_of(stored.ref).closed


def test_a_change_afterwards_is_not_seen(spill: Spill) -> None:
    """What lies in the file is the value as it was when it was put there."""
    value = {"age": 7}
    ref = spill.put(value)
    value["age"] = 8
    assert spill.get(ref) == {"age": 7}


def test_nothing_is_opened_before_it_is_needed() -> None:
    """A spill without values has no file."""
    before = open_files()
    spill = Spill()
    assert open_files() == before
    spill.close()


def test_the_file_has_no_name_and_is_nobodys(spill: Spill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put on disk is in no directory, and readable for its owner alone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ref = spill.put("somebody@example.org")
    state = os.fstat(file_of(ref).fileno())
    assert (state.st_nlink, state.st_mode & 0o777) == (0, 0o600)
    assert list(tmp_path.iterdir()) == []
    assert not os.get_inheritable(file_of(ref).fileno())


def test_a_file_is_closed_when_nothing_in_it_is_needed(spill: Spill) -> None:
    """A full file is closed with its last value; the one that is being written stays open."""
    large = b"x" * (spilling._SEGMENT // 2)
    first, second, third = spill.put(large), spill.put(large), spill.put("small")
    assert first.segment is second.segment
    assert third.segment is not first.segment
    spill.drop(first)
    assert not file_of(first).closed
    assert spill.get(second) == large
    spill.drop(second)
    assert file_of(first).closed
    spill.drop(third)
    assert not file_of(third).closed
    again = spill.put("again")
    assert again.segment is third.segment
    assert spill.get(again) == "again"


# How much room it takes


def size_of(spill: Spill) -> int:
    """Give how many bytes the files of a spill have."""
    return sum(os.fstat(segment.file.fileno()).st_size for segment in spill._segments)


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> int:
    """Files that are full after 10,000 bytes, which are moved 1,000 at a time."""
    monkeypatch.setattr(spilling, "_SEGMENT", 10_000)
    monkeypatch.setattr(spilling, "_PIECE", 1_000)
    return 10_000


@pytest.mark.parametrize("seed", range(5))
def test_files_are_at_most_twice_as_large_as_what_is_needed(spill: Spill, small_files: int, seed: int) -> None:
    """Values are dropped in any order, some of them late, and what is needed can be read."""
    chance, kept, most = random.Random(seed), list[tuple[Stored, bytes]](), 5_000
    for number in range(3_000):
        data = number.to_bytes(2) * chance.randrange(1, most // 2)
        kept.append((spill.store(data), data))
        while len(kept) > 1 and chance.random() < (0.6 if number % 1000 < 500 else 0.4):
            old = chance.random() < 0.01  # most are short-lived
            stored, _ = kept.pop(0 if old else -chance.randrange(1, min(len(kept), 20) + 1))
            spill.drop(stored.ref)
        needed = sum(len(data) for _, data in kept)
        assert size_of(spill) <= 2 * needed + small_files + most
    for stored, data in kept:
        assert stored[:] == data
        assert stored[1:9] == data[1:9]


def test_one_value_that_is_needed_for_long_pins_no_others(spill: Spill) -> None:
    """A slow chunk among many: what is left of a file goes to the file that is being written."""
    slow = spill.put("slow")
    for _ in range(40):
        spill.drop(spill.put(b"x" * 2**20))
    assert size_of(spill) <= spilling._SEGMENT + 2 * 2**20
    assert len(spill._segments) == 1
    assert spill.get(slow) == "slow"


def test_what_cannot_be_moved_stays(spill: Spill, small_files: int) -> None:
    """Dropping a value raises nothing if there is no room to move the others: they are moved later."""
    first, second, third = (spill.put(bytes([n]) * 4_000) for n in range(3))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500, hard))
    try:
        spill.drop(first)
        spill.drop(second)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert spill.get(third) == b"\2" * 4_000
    last = spill.put("last")
    spill.drop(spill.put(b"x" * 10_000))
    assert (spill.get(third), spill.get(last)) == (b"\2" * 4_000, "last")


def test_a_value_that_was_dropped_cannot_be_read(spill: Spill) -> None:
    """Another one may stand in its place."""
    stored = spill.store(b"one")
    spill.drop(stored.ref)
    spill.store(b"two")
    with pytest.raises(OSError):
        stored[:]


def test_dropping_after_the_end_does_nothing(spill: Spill) -> None:
    """Dropping a value after everything was forgotten does no harm."""
    ref = spill.put(b"x" * spilling._SEGMENT)
    spill.close()
    assert file_of(ref).closed
    spill.drop(ref)
    spill.close()


def test_a_full_disk_is_an_error() -> None:
    """A value that could not be written whole is an OSError, and the values before it are there."""
    spill = Spill()
    ref = spill.put("before")
    number = file_of(ref).fileno()
    spare, full = os.dup(number), os.open("/dev/full", os.O_RDWR)
    try:
        os.dup2(full, number)
        with pytest.raises(OSError) as caught:
            spill.put("after")
        assert caught.value.errno == errno.ENOSPC
        os.dup2(spare, number)
        assert spill.get(ref) == "before"
        assert spill.get(spill.put("again")) == "again"
    finally:
        spill.close()
        os.close(spare)
        os.close(full)


def test_a_value_that_is_written_in_part_is_an_error(spill: Spill) -> None:
    """A write that ends early is no success: the value is not there, and the next one is whole."""
    ref = spill.put("before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ref.length + 100, hard))
    try:
        with pytest.raises(OSError) as caught:
            spill.put(b"x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.ENOSPC
    again = spill.put("again")
    assert (spill.get(ref), spill.get(again)) == ("before", "again")


class Odd:
    def __str__(self) -> str:
        return "odd"


def odd() -> Any:
    """A value that cannot be pickled."""
    made = Odd()
    made.lock = threading.Lock()  # type: ignore[attr-defined]  # that is what cannot be pickled
    return made


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (odd(), "odd"),
        ([1, odd(), (2, odd())], [1, "odd", (2, "odd")]),
        ({"age": 7, "x": odd()}, {"age": 7, "x": "odd"}),
        (
            [{"x": [odd()], "y": Decimal("1.5")}, bytearray(b"z")],
            [{"x": ["odd"], "y": Decimal("1.5")}, bytearray(b"z")],
        ),
        ([range(3), {1}, odd()], [range(3), {1}, "odd"]),
    ],
)
def test_what_cannot_be_pickled_becomes_a_text(spill: Spill, value: Any, kept: Any) -> None:
    """If a part of a value cannot be written, only this part is replaced by its text."""
    assert spill.get(spill.put(value)) == kept


class OneWay(Exception):
    """An error that can be pickled, and not be read back."""

    def __init__(self, one: str, _: str) -> None:
        super().__init__(one)


class Mute:
    """A value that has no text, and cannot be pickled."""

    def __str__(self) -> str:
        raise RuntimeError("do not touch")

    def __reduce__(self) -> Any:
        raise RuntimeError("do not touch")


class Friendly:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Friendly)

    __hash__ = object.__hash__


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (OneWay("one", "two"), "one"),
        ([7, {"x": OneWay("one", "two")}, (Friendly(),)], [7, {"x": "one"}, (Friendly(),)]),
        ([odd(), OneWay("one", "two")], ["odd", "one"]),
        ([Mute()], ["(Mute)"]),
    ],
)
def test_what_is_not_read_back_becomes_a_text(spill: Spill, value: Any, kept: Any) -> None:
    """That a value can be read back is found out when it is put, not when it is needed."""
    ref, after = spill.put(value), spill.put("after")
    assert (spill.get(ref), spill.get(after)) == (kept, "after")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ((Friendly(), 7), (Friendly(), 7)),
        (([7], [odd()]), ([7], ["odd"])),
        (OneWay("one", "two"), "one"),
        ([7, (Friendly(), OneWay("one", "two"))], [7, (Friendly(), "one")]),
        ([Mute()], ["(Mute)"]),
    ],
)
def test_an_odd_small_value_becomes_a_text(spill: Spill, value: Any, kept: Any) -> None:
    """What cannot be pickled, or not be read back, is replaced by its text, and values beside it are not."""
    small = SmallValues(spill)
    before, number, after = small.add("before"), small.add(value), small.add("after")
    small.add(b"x" * spilling._TOGETHER)
    assert [small.get(which) for which in (before, number, after)] == ["before", kept, "after"]


@pytest.fixture
def small(spill: Spill) -> SmallValues:
    return SmallValues(spill)


@LAW
@given(st.lists(st.tuples(VALUES | st.integers(0, 9).map(lambda n: bytes(n * 5000)), st.integers(0, 9)), max_size=30))
def test_small_values_come_back_as_they_were(steps: list[tuple[Any, int]]) -> None:
    """Every small value is found by its number, whether it is written already or not, until it is dropped."""
    spill = Spill()
    small, kept = SmallValues(spill), list[tuple[int, Any]]()
    try:
        for value, choice in steps:
            kept.append((small.add(value), value))
            number, expected = kept[choice % len(kept)]
            assert small.get(number) == expected
            if choice % 3 == 0:
                small.drop([kept.pop(choice % len(kept))[0]])
        assert [small.get(number) for number, _ in kept] == [value for _, value in kept]
    finally:
        spill.close()


def test_small_values_are_written_together(small: SmallValues) -> None:
    """No file is opened before 64 KiB are there; each value costs one number that an array can hold."""
    before = open_files()
    some = array("Q", [small.add(("x" * 100, number)) for number in range(400)])
    assert open_files() == before
    more = array("Q", [small.add(("x" * 100, number)) for number in range(400, 2000)])
    assert open_files() == before + 1
    assert [small.get(number) for number in [*some, *more]] == [("x" * 100, number) for number in range(2000)]


def test_small_values_lie_there_until_the_last_of_them_is_dropped(spill: Spill, small: SmallValues) -> None:
    """What was written together is dropped together."""
    before = open_files()
    size = spilling._SEGMENT // 32
    numbers = [small.add(b"x" * size) for _ in range(32)]
    beside = small.add("small")
    assert open_files() == before + 1
    small.drop(numbers[1:])
    assert open_files() == before + 1
    assert small.get(numbers[0]) == b"x" * size
    small.drop(numbers[:1])
    assert size_of(spill) == 0
    assert small.get(beside) == "small"


def test_a_group_that_is_still_filled_outlives_its_values(small: SmallValues) -> None:
    """Where all values in the buffer are dropped, those that come after them are found all the same."""
    small.drop([small.add("one"), small.add("two")])
    third = small.add("three")
    large = small.add(b"x" * spilling._TOGETHER)
    assert (small.get(third), len(small.get(large))) == ("three", spilling._TOGETHER)
    small.drop([third, large])
    assert small.get(small.add("four")) == "four"


def test_a_large_value_is_a_small_one_too(small: SmallValues) -> None:
    """A value may be larger than what is written together, and the next one lies apart from it."""
    first, second = small.add(b"x" * (3 << 20)), small.add("after")
    assert (small.get(first), small.get(second)) == (b"x" * (3 << 20), "after")


def bytes_read() -> int:
    """Give how many bytes this process has read from files."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_usual_values_are_not_read_back_when_they_are_put(spill: Spill) -> None:
    """Only values of other types cost that."""
    when, large = dt.datetime(2026, 11, 24, 12, 30, tzinfo=dt.UTC), "x" * 1_000_000
    before = bytes_read()
    spill.put((array("Q", [1]), {}, [(("a",), 2, [[large, 1, 1.5, None, True, b"x"]])], Decimal(1), when, when.date()))
    assert bytes_read() - before < len(large)
    spill.put([Friendly(), large])
    assert bytes_read() - before > len(large)
