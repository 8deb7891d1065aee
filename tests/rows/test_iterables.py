"""Rows of iterables, in batches."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from support import settled

from mjbulk.rows.block import Block, Given
from mjbulk.rows.iterables import (
    BATCH,
    BadRow,
    Batch,
    async_batches,
    batch_of,
    iterable_batches,
    numbered_batches,
    thread_batches,
)
from mjbulk.rows.packed import SourceUnreadable
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
    "rows in a thread": thread_batches,
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
    bad = BadRow(None, RowFault("row.unreadable", None, "the line is no JSON"))
    first, second, third, fourth = batch_of([A, 7, bad, A])
    assert isinstance(second, BadRow)
    assert (second.given, second.fault.message) == (
        None,
        "a row is of type int, which has no named fields: give dicts, or objects with fields",
    )
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


@pytest.mark.parametrize("how", ["rows", "rows in a thread", "async rows"])
async def test_each_row_is_as_it_was_when_it_came(how: str) -> None:
    """A generator may change one dict, and give it again."""

    def changed() -> Iterator[dict[str, int]]:
        row = dict[str, int]()
        for number in range(2 * BATCH):
            row["n"] = number
            yield row

    blocks = [block async for batch in READERS[how](changed()) for block in batch]
    assert [number for block in blocks if isinstance(block, Block) for number in block.columns[0]] == [
        *range(2 * BATCH)
    ]


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


@pytest.mark.parametrize("begin", [iterable_batches, thread_batches, async_batches])
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


# Rows that block


class Slow:
    """Rows each of which takes some seconds of the loop's clock, in which nothing else runs. A database's cursor."""

    def __init__(self, *seconds: float) -> None:
        self._seconds = iter(seconds)

    def __iter__(self) -> "Slow":
        return self

    def __next__(self) -> Any:
        asyncio.get_running_loop()._clock.now += next(self._seconds)  # type: ignore[attr-defined]  # the virtual one
        return A


async def turns_during(batches: AsyncGenerator[Batch, None]) -> tuple[int, int]:
    """Give how many rows there are, and how often something else could run while they were read."""
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    turning = asyncio.create_task(turn())
    await asyncio.sleep(0)
    rows = sum([sum(map(len, batch)) async for batch in batches])
    turning.cancel()
    return rows, turns


@pytest.mark.parametrize("begin", [iterable_batches, lambda rows: async_batches(later(rows))])
async def test_the_loop_goes_on_between_rows_that_come_slowly(
    begin: Callable[[Any], AsyncGenerator[Batch, None]],
) -> None:
    """After each of them others run; rows that come quickly are taken many at a time."""
    rows, turns = await turns_during(begin(Slow(*[2.0] * 20, *[0.0] * 980)))
    assert rows == 1_000
    assert 19 <= turns <= 25


@pytest.mark.parametrize("seconds", [0.001, 0.019])
async def test_the_loop_goes_on_between_rows_that_are_a_little_slow(seconds: float) -> None:
    """It is never held for much longer than one row takes, and 20 ms."""
    clock, last, most = asyncio.get_running_loop(), 0.0, 0.0

    async def watch() -> None:
        nonlocal last, most
        while True:
            last = clock.time()
            await asyncio.sleep(0)
            most = max(most, clock.time() - last)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    assert await read(iterable_batches(Slow(*[seconds] * 1_000))) == (1_000, None)
    watching.cancel()
    assert most < 0.1


NAMED = "mjbulk WARNING: the source"


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.name} {record.levelname}: {record.getMessage()}" for record in caplog.records]


async def test_a_source_that_holds_the_loop_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """The warning has its type, what helps, and nothing of its rows."""
    await read(iterable_batches(Slow(2.0, 3.0, *[1.0] * 600)))
    assert messages(caplog) == [
        (
            f"{NAMED} (test_iterables.Slow) held the event loop for 2.00 s: "
            "mjbulk.in_thread(rows) has it read in a thread of its own"
        )
    ]


async def test_an_async_source_that_holds_the_loop_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """Also one that awaits at times, and gives the rows of a cursor in between."""

    async def rows() -> AsyncIterator[Any]:
        for _ in range(3):
            await asyncio.sleep(5)
            for row in Slow(0.0, 0.2, 0.0):
                yield row

    await read(async_batches(rows()))
    assert messages(caplog) == [
        (
            f"{NAMED} (async_generator) held the event loop for 0.20 s: "
            "it blocks; make it await, or give a plain iterable to mjbulk.in_thread()"
        )
    ]


async def test_a_source_that_waits_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    """The same for one whose rows are handled slowly, and for one that takes a moment."""

    async def rows() -> AsyncIterator[Any]:
        for number in range(1_200):
            if number % 100 == 0:
                await asyncio.sleep(5)
            yield A

    for batches in (async_batches(rows()), iterable_batches([A] * 1_200), iterable_batches(Slow(*[0.05] * 9))):
        async for _ in batches:
            asyncio.get_running_loop()._clock.now += 3  # type: ignore[attr-defined]  # as above
    assert messages(caplog) == []


async def test_a_thread_begins_takes_and_closes_all() -> None:
    """A generator is used in one thread, which is not that of the loop, also where it is left in the middle."""
    threads = []

    def rows() -> Iterator[Any]:
        threads.append(threading.current_thread())
        try:
            for _ in range(1_200):
                threads.append(threading.current_thread())
                yield A
        finally:
            threads.append(threading.current_thread())
            closed.set()

    for whole in (True, False):
        closed = threading.Event()
        batches = thread_batches(rows())
        async for _ in batches:
            if not whole:
                break
        await batches.aclose()
        assert closed.wait(5)
    assert len(set(threads)) == 2
    assert threading.current_thread() not in threads


@pytest.mark.real_time
async def test_a_thread_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """While it blocks, the loop goes on; the reader can be cancelled, and then hardly a row is taken any more."""
    going_on, taken = threading.Event(), []

    def rows() -> Iterator[Any]:
        for number in range(100):
            taken.append(number)
            if number == 1:
                going_on.wait()
            yield A

    reading = asyncio.create_task(read(thread_batches(rows())))
    await asyncio.sleep(0.15)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    (thread,) = [one for one in threading.enumerate() if one.name == "mjbulk source"]
    going_on.set()
    thread.join(5)
    assert not thread.is_alive()
    assert len(taken) < 4
    assert messages(caplog) == []


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
