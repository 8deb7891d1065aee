"""Tables to rows, through the Arrow C stream interface. Needs the extra ``arrow``.

It serves pandas, polars, pyarrow and DuckDB alike, and Parquet files. Rows are taken out column by column, a few at a
time: no table is copied whole.
"""

import re
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from mjbulk.errors import UsageError
from mjbulk.rows.addresses import EMAIL
from mjbulk.rows.block import Block
from mjbulk.rows.files import unreadable_after
from mjbulk.threads import DaemonThread

try:
    import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
    from pyarrow import parquet
except ImportError:
    raise UsageError("tables and Parquet files need pyarrow: pip install 'mjbulk[arrow]'") from None

_BUFFER = 64 * 1024
_READ_ROWS = 8192
"""Rows of a Parquet file that are in memory at once."""
_INDEX = re.compile(r"__index_level_\d+__")
"""The name that pandas gives to an index without one. It is not meant as a column."""


def read_table(table: Any, size: int) -> AsyncGenerator[list[Block], None]:
    """Give the rows of anything with the Arrow C stream interface, in blocks of ``size`` rows. The values of a single
    column (a Series) are addresses.

    Raises UsageError if it cannot be given as Arrow, SourceUnreadable if it fails later.
    """
    return _batches(partial(_open_table, table), size)


def read_parquet(path: Path, size: int) -> AsyncGenerator[list[Block], None]:
    """Give the rows of a Parquet file, in blocks of ``size`` rows.

    Raises UsageError if it cannot be opened, SourceUnreadable if it fails later.
    """
    return _batches(partial(_open_parquet, path), size)


def _open_table(table: Any) -> Iterator[Any]:
    try:
        return iter(pa.RecordBatchReader.from_stream(table))
    except Exception as why:  # noqa: BLE001  # the table's library may raise anything
        first = why
    try:
        return iter(pa.table({EMAIL: pa.chunked_array(table)}).to_batches())
    except Exception:  # noqa: BLE001  # as above; the first failure says more
        column = re.search(r"for column (.+) with type", " ".join(map(str, first.args)))
        where = f", for its column {column[1]!r}" if column else ""
        what = f"the {type(table).__name__} cannot be given as Arrow ({type(first).__name__}{where})"
    raise UsageError(f"{what}: each column has to have a name of its own, and one type; rows, as dicts, need not")


def _open_parquet(path: Path) -> Iterator[Any]:
    try:
        opened = path.open("rb")
    except OSError as why:
        raise UsageError(f"the file cannot be opened: {why.strerror}") from None
    with opened as file:
        try:
            table = parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER, page_checksum_verification=True)
        except (pa.ArrowException, OSError):
            raise UsageError("the file is no Parquet, or is cut off") from None
        for group in range(table.num_row_groups):  # one by one: a damaged group costs none of those before it
            yield from table.iter_batches(_READ_ROWS, row_groups=[group])


async def _batches(open_: Callable[[], Iterator[Any]], size: int) -> AsyncGenerator[list[Block], None]:
    thread = DaemonThread("mjbulk table")
    try:
        batches = await thread.ask(open_)
        while True:
            try:
                batch = await thread.ask(next, batches, None)
            except UsageError:
                raise
            except Exception as failure:  # noqa: BLE001  # the table's library may raise anything
                raise unreadable_after(failure) from None
            if batch is None:
                return
            for start in range(0, batch.num_rows, size):
                yield [_block(batch.slice(start, size))]
    finally:
        thread.end()


def _block(batch: Any) -> Block:
    kept = [index for index, name in enumerate(batch.schema.names) if not _INDEX.fullmatch(name)]
    columns = [_values(batch.columns[index]) for index in kept]
    return Block(tuple(batch.schema.names[index] for index in kept), columns, batch.num_rows)


def _values(column: Any) -> list[Any]:
    """Give the values of a column as Python has them."""
    with suppress(Exception):  # what Arrow cannot do at once is done value by value
        column = _convertible(column)
    try:
        return _as_python(column)
    except Exception:  # noqa: BLE001  # one of them has no form in Python
        return [_value(column, index) for index in range(len(column))]


def _convertible(column: Any) -> Any:
    """Give a column in a type whose values Python has."""
    if pa.types.is_dictionary(column.type):  # at once: value by value takes many times as long
        if pa.types.is_string_view(column.type.value_type):  # as polars makes them: Arrow cannot decode these
            column = pa.DictionaryArray.from_arrays(column.indices, column.dictionary.cast(pa.large_string()))
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":  # Python has no nanoseconds
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return column


def _as_python(column: Any) -> list[Any]:
    is_map = pa.types.is_map(column.type)
    return list(column.to_pylist(maps_as_pydicts="strict") if is_map else column.to_pylist())


def _value(column: Any, index: int) -> Any:
    try:
        return _as_python(column.slice(index, 1))[0]
    except Exception:  # noqa: BLE001  # as above
        return OddValue(str(column.type))


@frozen
class OddValue:
    """A value that Python has no form for, such as a date after the year 9999. A row with one cannot be sent."""

    type: str
    """Its type, as Arrow calls it."""

    def __str__(self) -> str:
        return f"({self.type} that Python has no form for)"
