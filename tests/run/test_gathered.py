"""Rows that are in no chunk yet, taken out for one."""

import pytest

from mjbulk.rows.block import Block
from mjbulk.run.gathered import Gathered
from mjbulk.run.reader import EncodedRows


def gathered(*sizes: int) -> Gathered:
    """Rows of these sizes in bytes."""
    some, people = Gathered(), [f"p{number}@example.org" for number in range(len(sizes))]
    block = Block.of(("email",), [(person,) for person in people])
    some.add(EncodedRows(range(len(sizes)), people, [b"x" * size for size in sizes], block), 0.0)
    return some


@pytest.mark.parametrize(
    ("room", "size", "taken"),
    [
        (5, 1e6, 5),
        (3, 1e6, 3),
        (5, 16 * 1024, 5),
        (5, 400, 2),
        (5, 40, 1),
        (5, 1, 1),
        (0, 1e6, 0),
    ],
)
def test_as_many_as_fit_are_taken_but_one_at_least(room: int, size: float, taken: int) -> None:
    """However small a body may be: a chunk that takes no row would never leave."""
    some = gathered(90, 90, 90, 90, 90)
    rows = [number for part in some.take(room, size) for number in part.numbers]
    assert rows == [*range(taken)]
    assert len(some) == 5 - taken
