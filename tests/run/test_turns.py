"""Whose turn it is: rows of one person leave in their order, whatever waits for what."""

from typing import Any

from mjbulk.rows.block import Block
from mjbulk.run.reader import EncodedRows
from mjbulk.run.turns import Turns

ONE: Any = object()
OTHER: Any = object()


def rows(*numbers: int) -> EncodedRows:
    addresses = [f"p{number}" for number in numbers]
    return EncodedRows(numbers, addresses, [b"{}"] * len(numbers), Block(("email",), [addresses], len(numbers)))


def numbers(some: EncodedRows | None) -> list[int]:
    return [] if some is None else list(some.numbers)


def released(turns: Turns) -> list[tuple[str, int]]:
    return [("one" if lane is ONE else "other", some.numbers[0]) for lane, some in turns.release()]


def fed(turns: Turns, person: int) -> list[int]:
    return [number for some in turns.feed([person]) for number in some.numbers]


def test_later_rows_go_into_a_chunk_with_the_first_one() -> None:
    """Those to the same lists, up to the first that goes to others; what comes afterwards waits."""
    turns, ann, bob = Turns(), 1, 2
    assert numbers(turns.enter(ONE, rows(1, 2, 3), [ann, ann, bob])) == [1, 3]
    assert numbers(turns.enter(ONE, rows(4), [ann])) == []
    assert numbers(turns.enter(OTHER, rows(5), [ann])) == []
    assert numbers(turns.enter(ONE, rows(6), [ann])) == []
    assert turns.waiting == 4
    assert fed(turns, ann) == [2, 4]
    assert [turns.leave(ann) for _ in range(3)] == [False, False, True]
    assert released(turns) == [("other", 5)]
    assert fed(turns, ann) == []
    assert turns.leave(ann)
    assert released(turns) == [("one", 6)]
    assert (turns.waiting, turns.leave(ann), turns.leave(bob), turns.any_free) == (0, False, False, False)


def test_of_rows_that_came_together_one_is_first() -> None:
    """Two that are gathered could go into two chunks, and a later one before the second."""
    turns, ann = Turns(), 1
    turns.enter(ONE, rows(1), [ann])
    turns.enter(OTHER, rows(2, 3, 4), [ann, ann, ann])
    assert turns.leave(ann)
    assert released(turns) == [("other", 2)]
    assert fed(turns, ann) == [3, 4]


def test_a_withdrawn_first_row_is_followed_by_the_next() -> None:
    """It was in no chunk, and had its place."""
    turns, ann = Turns(), 1
    turns.enter(ONE, rows(1, 2, 3), [ann, ann, ann])
    assert turns.leave(ann)
    assert released(turns) == [("one", 2)]
    assert fed(turns, ann) == [3]


def test_many_rows_of_one_person_do_not_keep_the_event_loop() -> None:
    """Those that are left wait for the job of the others."""
    turns, ann = Turns(), 1
    for number in range(1, 1004):
        turns.enter(ONE, rows(number), [ann])
    assert fed(turns, ann) == [*range(2, 1002)]
    assert turns.waiting == 2
