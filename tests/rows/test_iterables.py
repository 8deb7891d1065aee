"""Rows of iterables, in batches."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from support import settled

from mjbulk.rows.block import Block, Given
from mjbulk.rows.files import SourceUnreadable
from mjbulk.rows.iterables import (
    BATCH,
    BadRow,
    Batch,
    async_batches,
    batch_of,
    iterable_batches,
    numbered_batches,
)
from mjbulk.rows.values import RowFault

A = "ann@example.org"


async def later(rows: Iterable[Any]) -> AsyncIterator[Any]:
    """Give the same rows to one who awaits them."""
    for row in rows:
        yield row


def numbered(rows: Iterable[Any]) -> AsyncGenerator[Batch, None]:
    """Number rows from 0, and give them."""
    return numbered_batches(enumerate(rows), text=False)


READERS: dict[str, Callable[[Iterable[Any]], AsyncGenerator[Batch, None]]] = {
    "rows": iterable_batches,
    "async rows": lambda rows: async_batches(later(rows)),
    "numbered rows": numbered,
}


async def read(batches: AsyncGenerator[Batch, None]) -> tuple[int, SourceUnreadable | None]:
    """Give how many rows there are, and what ended them early."""
    found = 0
    try:
        async for batch in batches:
            found += sum(map(len, batch))
    except SourceUnreadable as why:
        return found, why
    return found, None


# Batches


def test_rows_with_the_same_names_make_a_block() -> None:
    """Names in another order are the same names; the first row has their order."""
    (block,) = batch_of([{"email": A, "age": 7}, {"age": 8, "email": "b@c.de"}])
    assert isinstance(block, Block)
    assert (block.names, block.rows) == (("email", "age"), [(A, 7), ("b@c.de", 8)])


def test_rows_with_other_names_make_other_blocks() -> None:
    """Also where they have as many names, or are of other kinds."""
    shown = [
        [(block.names, len(block)) for block in batch_of(rows) if isinstance(block, Block)]
        for rows in ([{"email": A}, {"mail": A}], [{"email": A}, {"email": A, "age": 7}], [A, A, {"mail": A}])
    ]
    assert shown == [
        [(("email",), 1), (("mail",), 1)],
        [(("email",), 1), (("email", "age"), 1)],
        [(("email",), 2), (("mail",), 1)],
    ]


def test_what_is_no_row_stands_alone() -> None:
    """It has a fault, and the rows beside it are not touched; a bad row stays as it is."""
    bad = BadRow(None, RowFault(None, "the line is no JSON"))
    first, second, third, fourth = batch_of([A, 7, bad, A])
    assert isinstance(second, BadRow)
    assert (second.given, second.fault.message) == (None, "a row has keys() and []; this is int")
    assert third is bad
    assert [len(one) for one in (first, second, third, fourth)] == [1] * 4


# Reading


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 31, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH])
async def test_rows_come_in_batches(how: str, size: int) -> None:
    """Each row comes once, whatever it is, and no batch has more than its limit."""
    rows = [7 if n % 2 else {"email": A, "n": n} for n in range(size)]
    sizes = [sum(map(len, batch)) async for batch in READERS[how](rows)]
    assert sum(sizes) == size
    assert all(0 < rows <= BATCH for rows in sizes)


async def test_an_iterator_is_not_asked_again_after_its_end() -> None:
    """The number of rows does not matter."""

    class Once:
        def __init__(self, size: int) -> None:
            self.left = size

        def __iter__(self) -> "Once":
            return self

        def __next__(self) -> Any:
            self.left -= 1
            assert self.left >= -1
            if self.left < 0:
                raise StopIteration
            return A

    for size in (0, 1, 2, 3, 31, 499, 500, 501, 1_000):
        assert await read(iterable_batches(Once(size))) == (size, None)


@pytest.mark.parametrize("how", READERS)
async def test_wide_rows_come_a_few_at_a_time(how: str) -> None:
    """A batch has 500 rows, or about a MiB of them; where wide rows follow others, some more at first."""
    widths = [10] * 1_100 + [2**20] * 100 + [100_000] * 100 + [10] * 1_000
    most = 0
    sizes, texts = [], []
    async for batch in READERS[how]({"email": A, "text": f"{n:{width}}"} for n, width in enumerate(widths)):
        some = [row[1] for block in batch if isinstance(block, Block) for row in block.rows]
        most = max(most, sum(map(len, some)))
        sizes.append(len(some))
        texts += [int(text) for text in some]
    assert texts == list(range(len(widths)))
    assert sizes[:2] == [500, 500]
    assert sizes.count(1) >= 50
    assert max(sizes) == 500
    assert most <= 32 * 2**20 + 10_000


# Failures


class Unwilling:
    """An iterable whose iteration cannot begin."""

    def __iter__(self) -> Iterator[Any]:
        raise LookupError

    def __aiter__(self) -> AsyncIterator[Any]:
        raise LookupError


def failing(size: int, failure: type[BaseException]) -> Iterator[Any]:
    yield from [A] * size
    raise failure


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize("size", [0, 1, 3, BATCH, BATCH + 1])
@pytest.mark.parametrize("failure", [LookupError, asyncio.CancelledError])
async def test_rows_before_a_failure_are_given(how: str, size: int, failure: type[BaseException]) -> None:
    """All of them, and then what was raised: also that something within the source was cancelled."""
    found, why = await read(READERS[how](failing(size, failure)))
    assert found == size
    assert why is not None
    assert (why.problem, type(why.cause)) == (f"it raised {failure.__name__}", failure)


@pytest.mark.parametrize("begin", [iterable_batches, async_batches])
async def test_an_iterable_that_cannot_be_begun(begin: Callable[[Any], AsyncGenerator[Batch, None]]) -> None:
    """It has no rows, and says what it raised."""
    found, why = await read(begin(Unwilling()))
    assert (found, why and why.problem) == (0, "it raised LookupError")


async def test_who_reads_may_be_cancelled() -> None:
    """That is no failure of the source: the task that reads ends as cancelled."""

    async def silent() -> AsyncIterator[Any]:
        yield A
        await asyncio.Event().wait()

    rows: AsyncIterable[Any] = silent()
    reading = asyncio.create_task(read(async_batches(rows)))
    await settled()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


# Rows with numbers


async def test_rows_keep_their_numbers() -> None:
    """Each row is a block of its own with its number, and so is what is no row."""
    (batch,) = [batch async for batch in numbered_batches([(7, {"email": A}), (3, 8), (9, A)], text=False)]
    assert [(type(one), one.number) for one in batch] == [(Block, 7), (BadRow, 3), (Block, 9)]


WHEN = datetime(2026, 1, 2, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("", ""),
        ("x", "x"),
        (7, "7"),
        (1.5, "1.5"),
        (Decimal("1.10"), "1.10"),
        (date(2026, 1, 2), "2026-01-02"),
        (WHEN, "2026-01-02T03:00:00+00:00"),
    ],
)
async def test_values_are_written_as_in_a_file(value: Any, text: str) -> None:
    """Where all values of a source are texts, those of a numbered row become texts."""
    (batch,) = [batch async for batch in numbered_batches([(1, {"email": A, "x": value})], text=True)]
    (block,) = batch
    assert isinstance(block, Block)
    assert block.rows == [(A, text)]


async def test_values_that_no_file_has() -> None:
    """They cost their row, which is given with the fault."""
    (batch,) = [batch async for batch in numbered_batches([(7, {"email": A, "x": [1]})], text=True)]
    (bad,) = batch
    assert isinstance(bad, BadRow)
    assert (bad.given, bad.number) == (Given(("email", "x"), (A, [1])), 7)
    assert bad.fault.message == "a list is no value of a row that came as text"
