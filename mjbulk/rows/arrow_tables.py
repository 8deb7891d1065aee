"""Tables and Parquet files, opened by pyarrow. Needs the extra ``arrow``.

Loading pyarrow takes longer than an event loop may be held: `mjbulk.rows.tables` imports this module in the thread that
reads a table.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
from pyarrow import parquet

from mjbulk.errors import UsageError
from mjbulk.rows.addresses import EMAIL
from mjbulk.rows.amount import Amount
from mjbulk.rows.arrow_values import has_no_zone, values_of
from mjbulk.rows.block import Block
from mjbulk.rows.foreign import is_query
from mjbulk.rows.names import clean_name

_BUFFER = 64 * 1024
_READ_ROWS = 8192
"""Rows of a Parquet file that are in memory at once."""
_INDEX = re.compile(r"__index_level_\d+__")
"""The name that pandas gives to an index without one. It is not meant as a column."""


def open_table(table: Any, picked: Collection[str]) -> Iterator[Any]:
    """Give the batches of a table. Raises UsageError if it cannot be given as Arrow."""
    if not hasattr(table, "__arrow_c_stream__"):  # a batch, or an array
        return _open_array(table)
    try:
        return iter(pa.RecordBatchReader.from_stream(table))
    except Exception as why:  # noqa: BLE001  # the table's library may raise anything
        first = why
    with suppress(Exception):  # the first failure says more
        return iter(pa.table({EMAIL: pa.chunked_array(table)}).to_batches())
    if picked:
        with suppress(Exception):  # as above
            return iter(pa.RecordBatchReader.from_stream(_only(table, picked)))
    return refuse(table, first)  # it raises


def _open_array(array: Any) -> Iterator[Any]:
    try:
        given = pa.array(array)
        if pa.types.is_struct(given.type):
            return iter([pa.RecordBatch.from_struct_array(given)])
        return iter([pa.record_batch({EMAIL: given})])
    except Exception as why:  # noqa: BLE001  # the library of the array may raise anything
        refuse(array, why)


def _only(table: Any, picked: Collection[str]) -> Any:
    """Give the columns of a table that are picked, in the way of its library."""
    wanted = {name.casefold() for name in picked}
    names = [name for name in table.columns if isinstance(name, str) and clean_name(name).casefold() in wanted]
    select = getattr(table, "select", None)  # of polars and DuckDB; pandas has none
    return table[names] if select is None else select(*names)


def refuse(table: Any, why: Exception) -> NoReturn:
    """Raise UsageError for what cannot be given as Arrow. The words of its library are the cause, except where it has
    met a value, which they quote.
    """
    what = f"the {type(table).__name__} cannot be given as Arrow ({type(why).__name__}"
    words = " ".join(map(str, why.args))
    column = _column_at_fault(table)
    if column is not None:
        what += f", for its column {column!r}"
    if isinstance(why, TypeError | ValueError) or "uplicate" in words:
        helps = "each column has to have a name of its own, and one type that Arrow has; rows, as dicts, need not"
        raise UsageError(f"{what}): {helps}") from None
    raise UsageError(f"{what}): the words of its library are the cause of this error") from why


def _column_at_fault(table: Any) -> str | None:
    """Give the first column that cannot be given alone either; None where the columns are not known, or all can."""
    with suppress(Exception):  # a query, or a table without columns
        for name in () if is_query(table) else dict.fromkeys(table.columns):
            try:
                pa.RecordBatchReader.from_stream(_only(table, [name])).read_all()
            except Exception:  # noqa: BLE001  # the table's library may raise anything
                return str(name)
    return None


def open_parquet(path: Path, amount: Amount) -> Iterator[Any]:
    """Give the batches of a Parquet file, and tell how many rows it has. Raises UsageError if it cannot be opened."""
    try:
        opened = path.open("rb")
    except OSError as why:
        raise UsageError(f"the file cannot be opened: {why.strerror}") from None
    with opened as file:
        try:
            table = parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER, page_checksum_verification=True)
        except (pa.ArrowException, OSError):
            raise UsageError("the file is no Parquet, or is cut off") from None
        amount.begin(table.metadata.num_rows)
        for group in range(table.num_row_groups):  # one by one: a damaged group costs none of those before it
            yield from table.iter_batches(_READ_ROWS, row_groups=[group])


def block_of(batch: Any) -> Block:
    """Give the rows of a batch."""
    schema = batch.schema
    names, columns = schema.names, batch.columns
    kept = [index for index, name in enumerate(names) if not _INDEX.fullmatch(name)]
    values = [values_of(columns[index], schema.field(index)) for index in kept]
    zoneless = frozenset(at for at, index in enumerate(kept) if has_no_zone(columns[index]))
    return Block(tuple(names[index] for index in kept), values, batch.num_rows, zoneless=zoneless)
