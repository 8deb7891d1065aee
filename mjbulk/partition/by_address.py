"""Tables cut into partitions so that all rows of a person are in one of them."""

from collections.abc import Sequence
from hashlib import blake2b
from importlib import import_module
from typing import Any

from mjbulk.discreet import discreet
from mjbulk.errors import UsageError
from mjbulk.public import public
from mjbulk.rows.addresses import EMAIL, keys_of
from mjbulk.rows.foreign import is_table
from mjbulk.rows.names import clean_name


@public
@discreet
def partition_by_address(table: Any, n: int, *, column: str = EMAIL) -> Sequence[Any]:
    """Cut a table into ``n`` partitions, so that all rows of a person are in the same one, in their order.

    A person is in the same partition in each run and on each machine, as long as ``n`` is the same. ``table`` is any
    table of Arrow, pandas, polars or DuckDB: the partitions are tables of pyarrow (extra ``arrow``). If it is a data
    frame of Dask, they are delayed lists of frames, and nothing is computed yet. ``column`` names the column with the
    addresses, in any case. Addresses of a person that are spelled differently belong together, as in an import. Rows
    without an address are in the first partition.

    Raises UsageError if there is no such column, for anything but a table, and for one that cannot be given as Arrow.
    """
    if type(n) is not int or n < 1:
        raise UsageError("n is a whole number above 0")
    if hasattr(type(table), "to_delayed") and hasattr(type(table), "columns"):
        return _cut_lazily(table, n, _column_of(list(table.columns), column))
    if not is_table(table):
        raise UsageError(f"a {type(table).__name__} is no table of Arrow, and no data frame of Dask")
    arrow = _given(table)
    return _cut(arrow, n, _column_of(arrow.column_names, column))


def _arrow() -> Any:
    try:
        return import_module("pyarrow")
    except ImportError:
        raise UsageError("partition_by_address needs pyarrow: pip install 'mjbulk[arrow]'") from None


def _given(table: Any) -> Any:
    """Give a table of pyarrow whose rows can be taken. Raises UsageError if that cannot be done."""
    pa = _arrow()
    try:
        given = pa.table(table)
        fields = [field.with_type(_plain(field.type)) for field in given.schema]
        return given.cast(pa.schema(fields, given.schema.metadata))
    except Exception as why:  # noqa: BLE001  # the table's library may raise anything
        import_module("mjbulk.rows.arrow_tables").refuse(table, why)


def _plain(kind: Any) -> Any:
    """Replace the types of polars from which pyarrow can take no rows, also within lists and structs."""
    pa = _arrow()
    plain = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        made = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return made(kind.value_field.with_type(_plain(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain(field.type)) for field in kind])
    return plain.get(kind, kind)


def _column_of(names: Sequence[Any], wanted: str) -> Any:
    """Find a column by its name, in any case. Raises UsageError."""
    found = [name for name in names if isinstance(name, str) and clean_name(name).casefold() == wanted.casefold()]
    if len(found) != 1:
        how = "no column" if not found else "several columns"
        raise UsageError(f"the table has {how} {wanted!r}: column= names the one with the addresses")
    return found[0]


def _cut(table: Any, n: int, column: str) -> list[Any]:
    """Cut a table of pyarrow, a batch after the other: a column of more than 2 GiB cannot be taken apart at once."""
    pa = _arrow()
    pieces: list[list[Any]] = [[] for _ in range(n)]
    for batch in table.to_batches():
        places: list[list[int]] = [[] for _ in range(n)]
        for row, number in enumerate(_numbers(batch.column(column).to_pylist(), n)):
            places[number].append(row)
        for piece, rows in zip(pieces, places, strict=True):
            piece.append(batch.take(pa.array(rows, pa.int64())))
    return [pa.Table.from_batches(piece, table.schema) for piece in pieces]


def _numbers(addresses: Sequence[Any], n: int) -> list[int]:
    """Give the number of the partition of each address."""
    keys = keys_of([address.strip() if isinstance(address, str) else "" for address in addresses])
    return [_number(key, n) if key else 0 for key in keys]


def _number(key: str, n: int) -> int:
    """Give a number from the person's key alone: Python's own ``hash`` of a text differs in each process."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()) % n


# Data frames of Dask


def _cut_lazily(frame: Any, n: int, column: str) -> list[Any]:
    """Cut a data frame of Dask. Its own shuffle does not keep the order of a person's rows."""
    delayed = import_module("dask").delayed  # the frame is there, and so is Dask
    cut = delayed(_cut_frame, nout=n)
    pieces = [cut(part, n, column) for part in frame.to_delayed()]
    return [delayed(list)([piece[number] for piece in pieces]) for number in range(n)]


def _cut_frame(frame: Any, n: int, column: str) -> tuple[Any, ...]:
    """Cut a data frame of pandas."""
    numbers = _numbers(frame[column].tolist(), n)
    return tuple(frame.loc[[number == wanted for number in numbers]] for wanted in range(n))
