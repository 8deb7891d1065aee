"""Rows of an iterable, whatever they are, to batches of blocks.

A batch has enough rows to be handled column by column, and so few that wide rows do not fill the memory.

A generator may give the same dict for each row, with other values each time: each is copied when it is taken.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import aclosing, suppress
from itertools import islice
from operator import itemgetter
from typing import Any

from attrs import evolve, frozen

from mjbulk.discreet import discreet
from mjbulk.rows.block import Block, Given, blocks_of, weight
from mjbulk.rows.convert import to_str
from mjbulk.rows.files import Failures, unreadable_after
from mjbulk.rows.foreign import is_piece, refuse_lines
from mjbulk.rows.loop_hold import BREATH, LoopHold
from mjbulk.rows.objects import Nameless, take_apart
from mjbulk.rows.plain import is_null, plain
from mjbulk.rows.tables import read_table
from mjbulk.rows.values import RowFault
from mjbulk.threads import DaemonThread

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
            columns = [list(map(itemgetter(name), rows)) for name in names]
            if not any(name is None for name in names):
                return [Block(names, columns, len(rows))]
    return list(blocks_of(map(_given_or_bad, rows)))


def _given_or_bad(row: Any) -> Given | BadRow:
    if isinstance(row, BadRow):
        return row
    try:
        given = take_apart(row)
    except RowFault as fault:
        return BadRow(None, fault)
    return _without_rest(given) if any(name is None for name in given.names) else given


def _without_rest(row: Given) -> BadRow:
    """Refuse a row that has more values than its header has names: csv.DictReader gives the rest under None."""
    values = dict(zip(row.names, row.values, strict=True))
    rest = values.pop(None)  # type: ignore[call-overload]  # no text, but it was found there
    rest = rest if isinstance(rest, list | tuple) else [rest]
    message = f"the row has {len(values) + len(rest)} fields, the header has {len(values)}"
    more = [f"field {number}" for number in range(len(values) + 1, len(values) + len(rest) + 1)]
    return BadRow(Given((*values, *more), (*values.values(), *rest)), RowFault("row.fields", None, message))


def cursor_batch(cursor: Any) -> Callable[[Sequence[Any]], Batch]:
    """Give what makes a batch of some rows of a cursor of a database: tuples have the names that the cursor knows."""

    def group(rows: Sequence[Any]) -> Batch:
        names = tuple(column[0] for column in cursor.description or ())
        if set(map(type, rows)) <= {tuple, list} and set(map(len, rows)) == {len(names)}:
            return [Block.of(names, rows)]
        return list(blocks_of(_named(names, row) for row in rows))

    return group


def _named(names: tuple[str, ...], row: Any) -> Given | BadRow:
    given = _given_or_bad(row)
    if isinstance(given, BadRow) and isinstance(given.fault, Nameless):
        with suppress(Exception):  # what has no values raises
            values = tuple(row)
            return Given(names, values) if len(values) == len(names) else given
    return given


def fetched(cursor: Any) -> Iterator[Any]:
    """Give the rows of a cursor that is no iterable."""
    while rows := cursor.fetchmany(BATCH):
        yield from rows


@discreet
async def iterable_batches(
    rows: Iterable[Any], group: Callable[[Sequence[Any]], Batch] = batch_of
) -> AsyncGenerator[Batch, None]:
    """Give the rows of an iterable; ``group`` makes a batch of some. Raises SourceUnreadable if it fails.

    It is read in the thread of the event loop, in which its caller has made it: a cursor of sqlite3 and the connections
    of Django can be used in no other. Between rows that come slowly, the loop goes on.
    """
    pull = _Pull(rows, asyncio.get_running_loop().time)
    hold = LoopHold(rows, "mjbulk.in_thread(rows) has it read in a thread of its own")
    while pull.goes_on:
        hold.begin()
        while pull.take(BREATH):
            hold.check()
            await asyncio.sleep(0)
            hold.begin()
        hold.check()
        async with aclosing(_grouped(pull.batch(), group)) as batches:
            async for batch in batches:
                yield batch
        pull.check()


@discreet
async def thread_batches(
    rows: Iterable[Any], group: Callable[[Sequence[Any]], Batch] = batch_of
) -> AsyncGenerator[Batch, None]:
    """Give the rows of an iterable that may block; a thread reads it. Raises SourceUnreadable if it fails."""
    pull, thread = _Pull(rows, asyncio.get_running_loop().time), DaemonThread("mjbulk source")

    def fill() -> None:
        while not thread.ended and pull.take(BREATH):
            pass

    try:
        while pull.goes_on:
            await thread.ask(fill)
            async with aclosing(_grouped(pull.batch(), group)) as batches:
                async for batch in batches:
                    yield batch
            pull.check()
    finally:
        thread.submit(pull.close)
        thread.end()


@discreet
async def _grouped(rows: Sequence[Any], group: Callable[[Sequence[Any]], Batch]) -> AsyncGenerator[Batch, None]:
    """Give rows as a batch, or the rows of a table, which comes alone."""
    if len(rows) == 1 and is_piece(rows[0]):
        async with aclosing(read_table(rows[0], BATCH)) as batches:
            async for batch in batches:
                yield batch
    elif rows:
        yield group(rows)


class _Pull:
    """Rows of an iterable, a batch at a time. Mutable state: the iterator, the batch that is being filled, whether it
    is the first, whether rows come slowly, and what came after the last row.
    """

    def __init__(self, rows: Iterable[Any], clock: Callable[[], float]) -> None:
        """Take no row yet; ``clock`` gives seconds."""
        self._rows = rows
        self._clock = clock
        self._iterator: Iterator[Any] | None = None
        self._batch: list[Any] = []
        self._fill = _Fill()
        self._slow = False
        self._end: Exception | asyncio.CancelledError | None = None
        self._first = True

    @property
    def goes_on(self) -> bool:
        """Whether more rows may come."""
        return self._end is None

    def take(self, seconds: float) -> bool:
        """Fill the batch; after some ``seconds`` leave off, and give True. Where rows come slowly, one is taken at a
        time.
        """
        began = before = self._clock()
        while self._take(self._fill.step(self._batch, slow=self._slow)):
            now = self._clock()
            self._slow, before = now - before >= seconds, now
            if now - began >= seconds:
                return True
        return False

    def _take(self, rows: int) -> bool:
        """Take some rows, and say whether more may be taken."""
        if not rows:
            return False
        try:
            if self._iterator is None:
                self._iterator = iter(self._rows)
            self._batch.extend(map(_kept, islice(self._iterator, rows)))
            if len(self._batch) < self._fill.rows:
                self._end = StopIteration()
        except Failures as failure:
            self._end = failure
        return self.goes_on

    def batch(self) -> Sequence[Any]:
        """Give the batch, and begin another. Raises UsageError if the first one shows that these are no rows."""
        batch, self._batch, self._fill = self._batch, [], _Fill()
        if self._first:
            refuse_lines(batch)
        self._first = False
        return batch

    def check(self) -> None:
        """Raise SourceUnreadable if the source failed behind the last batch."""
        if self._end is not None and not isinstance(self._end, StopIteration):
            raise unreadable_after(self._end)

    def close(self) -> None:
        """Forget the iterator, in the thread that has used it; a generator is closed."""
        if isinstance(self._iterator, Generator):
            self._iterator.close()
        self._iterator = None


def _kept(row: Any) -> Any:
    """Give a row as it is now."""
    return row.copy() if type(row) is dict else row


class _Fill:
    """How full a batch is, in rows and in bytes. Mutable state: both, and how many rows were asked for last."""

    def __init__(self) -> None:
        self.rows = 0
        """How many rows the batch has once all that were asked for have come."""
        self._step = 0
        self._bytes = 0

    def step(self, batch: Sequence[Any], *, slow: bool = False) -> int:
        """Say how many rows to take next: one, then twice as many each time up to a limit, and 0 once the batch is
        full. Rows that come slowly are taken one at a time. The last row that was taken is weighed, for all that were
        taken with it.
        """
        if batch:
            self._bytes += _weight(batch[-1]) * self._step
        full = self._bytes >= _BYTES
        most = 1 if slow else 2 * self._step or 1
        self._step = 0 if full else min(most, _UNWEIGHED, BATCH - self.rows)
        self.rows += self._step
        return self._step


def _weight(row: Any) -> int:
    """Estimate the bytes that a row takes; 0 where it cannot be taken apart, which `batch_of` notes. A table comes
    alone.
    """
    if type(row) is dict:
        return weight(row.values())
    if is_piece(row):
        return _BYTES
    with suppress(Exception):
        return weight(take_apart(row[1] if type(row) is tuple else row).values)  # a tuple has a number and a row
    return 0


@discreet
async def async_batches(
    rows: AsyncIterable[Any], group: Callable[[Sequence[Any]], Batch] = batch_of
) -> AsyncGenerator[Batch, None]:
    """Give the rows of an async iterable. Raises SourceUnreadable if it fails. If it does not wait, others may run
    between its rows.
    """
    first = True
    async with aclosing(_gathered(rows)) as gathered:
        async for some in gathered:
            if first:
                refuse_lines(some)
                first = False
            async with aclosing(_grouped(some, group)) as batches:
                async for batch in batches:
                    yield batch


@discreet
async def _gathered(rows: AsyncIterable[Any]) -> AsyncGenerator[Sequence[Any], None]:
    """Give as many rows at once as a batch has."""
    batch: list[Any] = []
    hold = LoopHold(rows, "it blocks; make it await, or give a plain iterable to mjbulk.in_thread()")
    iterator = _start(rows)
    fill = _Fill()
    fill.step(batch)
    hold.begin()
    while True:
        try:
            batch.append(_kept(await anext(iterator)))
        except StopAsyncIteration:
            break
        except Failures as failure:
            end = unreadable_after(failure)
            if batch:
                yield batch
            raise end from None
        if len(batch) < fill.rows:
            continue
        slow = hold.check()
        if slow:
            await asyncio.sleep(0)
        if not fill.step(batch, slow=slow):
            yield batch
            batch, fill = [], _Fill()
            fill.step(batch)
        hold.begin()
    hold.check()
    if batch:
        yield batch


def _start(rows: AsyncIterable[Any]) -> AsyncIterator[Any]:
    try:
        return aiter(rows)
    except Failures as failure:
        raise unreadable_after(failure) from None


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
    try:
        value = plain(value)
        return "" if is_null(value) else to_str(value)
    except Exception:  # noqa: BLE001  # a user's value may raise anything when it is read
        message = f"a {type(value).__name__} is no value of a row that came as text"
        raise RowFault("value.type", None, message) from None
