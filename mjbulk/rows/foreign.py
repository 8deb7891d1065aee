"""What is given as a source and is none, with what helps: open files, lines of text, frames of other engines."""

import io
from collections.abc import Sequence
from inspect import iscoroutinefunction
from typing import Any

from mjbulk.errors import UsageError

_FILE = "say what is in it: csv_source(it) or jsonl_source(it)"
_REMEDIES = (
    ("compute", "give .compute(), or its partitions one after the other"),
    ("_to_pandas", "give ._to_pandas()"),
    ("toArrow", "give .toArrow()"),
    ("toPandas", "give .toPandas()"),
    ("to_arrow", "give .to_arrow()"),
    ("collect", "give .collect()"),
)
"""Methods of frames that do not give their rows, and what helps; others are older than Arrow's interface."""
_ENGINES = frozenset({"duckdb", "_duckdb", "ibis", "datafusion"})
_METHODS = ("readline", "seek", "readinto", "iter_chunked")
"""What an open file has beside ``read``, and a reader of tables has not."""


def is_table(rows: Any) -> bool:
    """Say whether something has an interface of Arrow."""
    return hasattr(type(rows), "__arrow_c_stream__") or hasattr(type(rows), "__arrow_c_array__")


def is_piece(row: Any) -> bool:
    """Say whether an item of a source is a table of its own: a Series with names is a row of ``iterrows()``."""
    return is_table(row) and not (hasattr(type(row), "keys") and getattr(row, "ndim", 0) == 1)


def is_query(table: Any) -> bool:
    """Say whether each reading of a table asks a database, or another engine, for its rows again."""
    return type(table).__module__.partition(".")[0] in _ENGINES and not hasattr(type(table), "__next__")


def refuse_foreign(rows: Any) -> None:
    """Raise UsageError for an open file and for a frame whose rows cannot be taken: both can be iterated, and what
    comes is lines, or names of columns.
    """
    kind = type(rows)
    if isinstance(rows, io.IOBase) or _is_file(kind):
        raise UsageError(f"a {kind.__name__} is an open file: {_FILE}")
    if hasattr(kind, "dtypes") or hasattr(kind, "__dataframe__"):
        helps = next((what for name, what in _REMEDIES if hasattr(kind, name)), "a newer version of its library has it")
        name = f"{kind.__module__.partition('.')[0]}'s {kind.__name__}"
        raise UsageError(f"{name} is no source of rows: it does not give them to Arrow; {helps}")


def _is_file(kind: type) -> bool:
    read = getattr(kind, "read", None)
    return read is not None and (iscoroutinefunction(read) or any(hasattr(kind, name) for name in _METHODS))


def refuse_lines(rows: Sequence[Any]) -> None:
    """Raise UsageError if the first rows of a source are bytes, or lines of a text file."""
    if rows and isinstance(rows[0], bytes | bytearray | memoryview):
        raise UsageError(f"the source gives bytes, as a file does: {_FILE}")
    if rows and isinstance(rows[0], str) and _is_line(rows[0]):
        raise UsageError(
            f"the source gives lines of text, as a file does; give the file itself, opened with 'rb': {_FILE}"
        )


def _is_line(text: str) -> bool:
    """Say whether a text is the first line of a file rather than an address."""
    return text.endswith(("\n", "\r")) or text.strip().casefold() == "email" or any(mark in text for mark in ",;\t{")
