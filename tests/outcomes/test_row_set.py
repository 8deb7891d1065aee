"""Sets of row numbers, against those of Python."""

import pickle
import random
import sys
from itertools import chain, pairwise
from typing import Any

import pytest

from mjbulk.outcomes.row_set import RowSet

PAGE = 1 << 15


def of(*rows: int) -> RowSet:
    made = RowSet()
    made.add(rows)
    return made


@pytest.mark.unmeasured
@pytest.mark.parametrize("seed", range(20))
def test_it_is_a_set_of_numbers(seed: int) -> None:
    """Numbers and ranges that come and go in any order, around the ends of bytes and pages."""
    chance = random.Random(seed)
    edges = [0, 1, 7, 8, 9, 63, PAGE - 1, PAGE, PAGE + 1, 5 * PAGE - 9]
    rows, plain = RowSet(), set[int]()
    for _ in range(30):
        start = chance.choice(edges) + chance.randrange(20)
        some = range(start, start + chance.choice([0, 1, 2, 7, 8, 9, 40, 40, 100, PAGE]))
        match chance.randrange(3):
            case 0:
                rows.add(some)
                plain |= set(some)
            case 1:
                rows.add_range(some)
                plain |= set(some)
            case _:
                rows.remove(some)
                plain -= set(some)
    assert len(rows) == len(plain)
    assert list(rows) == sorted(plain)
    assert all((row in rows) is (row in plain) for edge in edges for row in range(edge, edge + 70))


@pytest.mark.parametrize("seed", range(20))
def test_its_ranges_have_its_numbers(seed: int) -> None:
    """Ascending, none of them empty, and none that touches the next."""
    chance = random.Random(seed)
    rows = of(*(chance.randrange(200) for _ in range(chance.randrange(200))), PAGE - 1, PAGE)
    ranges = list(rows.ranges())
    assert list(chain.from_iterable(ranges)) == list(rows)
    assert all(ranges)
    assert all(one.stop < other.start for one, other in pairwise(ranges))


def test_two_are_equal_if_they_have_the_same_numbers() -> None:
    """However they got them: numbers that were there and are gone leave no trace."""
    rows = of(1, 2)
    rows.add([PAGE])
    rows.remove([PAGE, 5 * PAGE])
    assert rows == of(2, 1)
    assert rows != of(1)
    assert rows != {1, 2}
    with pytest.raises(TypeError):
        hash(rows)


def test_it_survives_a_pickle() -> None:
    """A report has one, and goes to other processes."""
    rows = of(1, 5, PAGE)
    assert pickle.loads(pickle.dumps(rows)) == rows


def test_only_pages_with_numbers_take_memory() -> None:
    """A million numbers that follow each other take an eighth of a mebibyte; to look for one takes nothing."""
    rows = RowSet()
    rows.add_range(range(1_000_000))
    pages: dict[int, Any] = rows._pages
    assert sum(map(sys.getsizeof, pages.values())) < 140_000
    before = len(pages)
    assert 10**12 not in rows
    rows.remove([10**12])
    assert len(pages) == before
