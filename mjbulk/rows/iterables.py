"""Rows of an iterable, whatever they are, to batches of blocks.

A batch has enough rows to be handled column by column, and so few that wide rows do not fill the memory.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date
from decimal import Decimal
from itertools import islice
from operator import itemgetter
from typing import Any

from attrs import evolve, frozen

from mjbulk.rows.block import Block, Given, blocks_of, take_apart, weight
from mjbulk.rows.files import Failures, unreadable_after
from mjbulk.rows.values import RowFault

BATCH = 500
"""Rows that a batch may have."""
_BYTES = 2**20
"""About how many bytes the rows of a batch may weigh: wide rows come a few at a time."""
_UNWEIGHED = 32
"""After this many rows, at the latest, one is weighed again."""


@frozen
class BadRow:
    """A malformed row: no block can have it."""

    given: Given | None
    """The row as far as it can be read; None where it cannot."""
    fault: RowFault
    number: int | None = None
    """Its number, where the rows already have numbers; with None the reader counts on."""

    def __len__(self) -> int:
        return 1


Batch = Sequence[Block | BadRow]


def batch_of(rows: Sequence[Any]) -> Batch:
    """Take rows apart, and group consecutive rows with the same names."""
    if set(map(type, rows)) == {dict} and len(set(map(len, rows))) == 1:
        names = tuple(rows[0])
        with suppress(KeyError):  # all have the same names, as rows of a query do
            return [Block(names, [list(map(itemgetter(name), rows)) for name in names], len(rows))]
    return list(blocks_of(map(_given_or_bad, rows)))


def _given_or_bad(row: Any) -> Given | BadRow:
    if isinstance(row, BadRow):
        return row
    try:
        return take_apart(row)
    except RowFault as fault:
        return BadRow(None, fault)


async def iterable_batches(
    rows: Iterable[Any], group: Callable[[Sequence[Any]], Batch] = batch_of
) -> AsyncGenerator[Batch, None]:
    """Give the rows of an iterable; ``group`` makes a batch of some. Raises SourceUnreadable if it fails."""
    iterator = _start(iter, rows)
    while True:
        batch, end = _pull(iterator)
        if batch:
            yield group(batch)
        if isinstance(end, StopIteration):
            return
        if end is not None:
            raise unreadable_after(end)


def _start(begin: Callable[[Any], Any], rows: Any) -> Any:
    try:
        return begin(rows)
    except Failures as failure:
        raise unreadable_after(failure) from None


def _pull(iterator: Iterator[Any]) -> tuple[list[Any], Exception | asyncio.CancelledError | None]:
    """Take the rows of a batch, and give with them the end or the failure that came after them, if one did."""
    batch: list[Any] = []
    fill = _Fill()
    try:
        while step := fill.step(batch):
            batch.extend(islice(iterator, step))
            if len(batch) < fill.rows:
                return batch, StopIteration()
    except Failures as failure:
        return batch, failure
    return batch, None


class _Fill:
    """How full a batch is, in rows and in bytes. Mutable state: both, and how many rows were asked for last."""

    def __init__(self) -> None:
        self.rows = 0
        """How many rows the batch has once all that were asked for have come."""
        self._step = 0
        self._bytes = 0

    def step(self, batch: Sequence[Any]) -> int:
        """Say how many rows to take next: one, then twice as many each time up to a limit, and 0 once the batch is
        full. The last row that was taken is weighed, for all that were taken with it.
        """
        if batch:
            self._bytes += _weight(batch[-1]) * self._step
        full = self._bytes >= _BYTES
        self._step = 0 if full else min(2 * self._step or 1, _UNWEIGHED, BATCH - self.rows)
        self.rows += self._step
        return self._step


def _weight(row: Any) -> int:
    """Estimate the bytes that a row takes; 0 where it cannot be taken apart, which `batch_of` notes."""
    with suppress(Exception):
        return weight(take_apart(row[1] if type(row) is tuple else row).values)  # a tuple has a number and a row
    return 0


async def async_batches(rows: AsyncIterable[Any]) -> AsyncGenerator[Batch, None]:
    """Give the rows of an async iterable. Raises SourceUnreadable if it fails."""
    batch: list[Any] = []
    iterator = _start(aiter, rows)
    fill = _Fill()
    fill.step(batch)
    while True:
        try:
            batch.append(await anext(iterator))
        except StopAsyncIteration:
            break
        except Failures as failure:
            end = unreadable_after(failure)
            if batch:
                yield batch_of(batch)
            raise end from None
        if len(batch) == fill.rows and not fill.step(batch):
            yield batch_of(batch)
            batch, fill = [], _Fill()
            fill.step(batch)
    if batch:
        yield batch_of(batch)


def numbered_batches(rows: Iterable[tuple[int, Any]], *, text: bool) -> AsyncGenerator[Batch, None]:
    """Give rows that already have numbers; with ``text`` their values are written as they would stand in a file."""

    def group(some: Sequence[tuple[int, Any]]) -> Batch:
        return [_numbered(number, _given_or_bad(row), text=text) for number, row in some]

    return iterable_batches(rows, group)


def _numbered(number: int, row: Given | BadRow, *, text: bool) -> Block | BadRow:
    if isinstance(row, BadRow):
        return evolve(row, number=number)
    try:
        values = list(map(_as_text, row.values)) if text else row.values
    except RowFault as fault:
        return BadRow(row, fault, number)
    return Block.of(row.names, [values], None, number)


def _as_text(value: Any) -> str:
    """Write a value as it would stand in a file. Raises RowFault for what is never in one."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int | float | Decimal):
        return str(value)
    raise RowFault(None, f"a {type(value).__name__} is no value of a row that came as text")
