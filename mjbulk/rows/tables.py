"""Tables to rows, through the Arrow C stream interface. Needs the extra ``arrow``.

It serves pandas, polars, pyarrow and DuckDB alike, and Parquet files. Rows are taken out column by column, a few at a
time: no table is copied whole.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mjbulk.discreet import discreet
from mjbulk.errors import UsageError
from mjbulk.rows.amount import Amount
from mjbulk.rows.block import Block
from mjbulk.rows.files import unreadable_after
from mjbulk.threads import DaemonThread


def check_extra() -> None:
    """Raise UsageError if the extra is not installed. Nothing is loaded."""
    if find_spec("pyarrow") is None:
        raise _no_extra()


def _no_extra() -> UsageError:
    return UsageError("tables and Parquet files need pyarrow: pip install 'mjbulk[arrow]'")


def _load() -> Any:
    """Import what opens them: in their thread, because it takes longer than an event loop may be held."""
    try:
        return import_module("mjbulk.rows.arrow_tables")
    except ImportError:  # it is there, and does not work
        raise _no_extra() from None


def read_table(table: Any, size: int, picked: Collection[str] = ()) -> AsyncGenerator[list[Block], None]:
    """Give the rows of anything with an Arrow C interface, in blocks of ``size`` rows. The values of a single column (a
    Series) are addresses. Where the whole cannot be given as Arrow, the columns that are ``picked`` are.

    Raises UsageError if it cannot be given as Arrow, SourceUnreadable if it fails later.
    """
    check_extra()
    return _batches(lambda arrow: arrow.open_table(table, picked), size, None)


def read_parquet(path: Path, size: int, amount: Amount) -> AsyncGenerator[list[Block], None]:
    """Give the rows of a Parquet file, in blocks of ``size`` rows, and count them.

    Raises UsageError if it cannot be opened, SourceUnreadable if it fails later.
    """
    check_extra()
    return _batches(lambda arrow: arrow.open_parquet(path, amount), size, amount)


@discreet
async def _batches(
    open_: Callable[[Any], Iterator[Any]], size: int, file: Amount | None
) -> AsyncGenerator[list[Block], None]:
    """Give the rows of batches. If they are of a file, rows are counted, and the first block has its names alone."""
    header, done = file is not None, 0
    thread = DaemonThread("mjbulk table")
    try:
        arrow = await thread.ask(_load)
        batches = await thread.ask(open_, arrow)
        while True:
            try:
                batch = await thread.ask(next, batches, None)
            except UsageError:
                raise
            except Exception as failure:  # noqa: BLE001  # the table's library may raise anything
                raise unreadable_after(failure) from None
            if batch is None:
                return
            if header:
                header = False
                yield [arrow.block_of(batch.slice(0, 0))]
            for start in range(0, batch.num_rows, size):
                if file is not None:
                    file.reach(done + min(start + size, batch.num_rows))
                yield [arrow.block_of(batch.slice(start, size))]
            done += batch.num_rows
    finally:
        thread.end()
