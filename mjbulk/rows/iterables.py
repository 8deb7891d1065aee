"""Rows of an iterable, whatever they are, to batches of blocks.

A batch has so many rows that they are taken apart column by column, and so few that wide ones do not fill memory.
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
"""Rows."""
_BYTES = 2**20
"""What the rows of a batch may weigh, about: wide rows come a few at a time."""
_UNWEIGHED = 32
"""So many rows at most are taken from an iterable before one is weighed again."""


@frozen
class BadRow:
    """A row that cannot even be taken apart."""

    given: Given | None
    fault: RowFault
    number: int | None = None
    """Of rows that have their numbers already."""

    def __len__(self) -> int:
        return 1


Batch = Sequence[Block | BadRow]


def batch_of(rows: Sequence[Any]) -> Batch:
    """Take rows apart, and group those that follow each other and have the same names."""
    if set(map(type, rows)) == {dict} and len(set(map(len, rows))) == 1:
        names = tuple(rows[0])
        with suppress(KeyError):  # all have the same names, as rows of a database do
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
    """Give the rows of an iterable. Raises SourceUnreadable where it fails."""
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
    """Take rows, and keep those that came before the end or a failure, which is given with them."""
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
    """How far a batch is filled, by its rows and by what they weigh. Mutable state: both."""

    def __init__(self) -> None:
        self.rows = 0
        """How many rows it has when those are in that were asked for."""
        self._step = 0
        self._bytes = 0

    def step(self, batch: Sequence[Any]) -> int:
        """Say how many rows to take next, after the last of those before was weighed for all of them: a few, then
        more; 0 where it is full.
        """
        if batch:
            self._bytes += _weight(batch[-1]) * self._step
        full = self._bytes >= _BYTES
        self._step = 0 if full else min(2 * self._step or 1, _UNWEIGHED, BATCH - self.rows)
        self.rows += self._step
        return self._step


def _weight(row: Any) -> int:
    """Say about how many bytes a row takes; whoever takes it apart says what is wrong with it."""
    with suppress(Exception):
        return weight(take_apart(row[1] if type(row) is tuple else row).values)  # a tuple has a number and a row
    return 0


async def async_batches(rows: AsyncIterable[Any]) -> AsyncGenerator[Batch, None]:
    """Give the rows of an async iterable. Raises SourceUnreadable where it fails."""
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
    """Give rows that have their numbers already; with ``text``, their values as they would stand in a file."""

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
