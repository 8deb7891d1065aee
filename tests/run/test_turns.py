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


def test_rows_that_come_back_from_a_feed_go_before_those_that_came_later() -> None:
    """In the order in which they came, also where they were in several parts of the feed."""
    turns, ann, bob = Turns(), 1, 2
    assert numbers(turns.enter(ONE, rows(1, 2, 3), [ann, ann, ann])) == [1, 2, 3]
    assert numbers(turns.feed(rows(1), [ann], ONE, 1)) == [1]
    assert numbers(turns.enter(ONE, rows(4, 5), [ann, bob])) == [5]
    assert numbers(turns.enter(OTHER, rows(6), [ann])) == []
    assert numbers(turns.feed(rows(2), [ann], ONE, 2)) == []
    assert numbers(turns.feed(rows(3, 5), [ann, bob], ONE, 2)) == [5]
    assert turns.waiting == 4
    assert turns.leave(ann)
    assert released(turns) == [("one", 2), ("one", 3), ("one", 4)]
    assert numbers(turns.feed(rows(2, 3, 4), [ann] * 3, ONE, 3)) == [2, 3, 4]
    assert [turns.leave(ann) for _ in range(3)] == [False, False, True]
    assert released(turns) == [("other", 6)]
    assert turns.waiting == 0


def test_rows_in_no_chunk_go_together() -> None:
    """Those of one feed, too: the chunk merges them."""
    turns, ann = Turns(), 1
    assert numbers(turns.enter(ONE, rows(1), [ann])) == [1]
    assert numbers(turns.enter(ONE, rows(2), [ann])) == [2]
    assert numbers(turns.feed(rows(1), [ann], ONE, 1)) == [1]
    assert numbers(turns.feed(rows(2), [ann], ONE, 1)) == [2]
    assert not turns.any_free
