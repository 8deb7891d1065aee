"""Rejections as a table, through the Arrow C stream interface. Needs the extra ``arrow``."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from mjbulk.errors import UsageError
from mjbulk.models import Rejection, Rejections
from mjbulk.outcomes.rejection_files import as_json
from mjbulk.rows.rejects import REJECTION_COLUMNS

try:
    import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
except ImportError:
    raise UsageError("a table of rejections needs pyarrow: pip install 'mjbulk[arrow]'") from None

_TEXTS = REJECTION_COLUMNS[1:]
_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        *((name, pa.string()) for name in _TEXTS),
        ("candidates", pa.list_(pa.int64())),
        ("data", pa.string()),
    ]
)
_WRITTEN_ROWS = 1000


class RejectionTable:
    """Rejections as a table that can be read any number of times. A few rows of it are in memory at once."""

    def __init__(self, rejections: Rejections) -> None:
        """Read nothing yet."""
        self._rejections = rejections

    def __len__(self) -> int:
        return len(self._rejections)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Give the stream of the Arrow C interface."""
        return pa.RecordBatchReader.from_batches(_SCHEMA, self._batches()).__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[Any]:
        rejections = iter(self._rejections)
        while some := list(islice(rejections, _WRITTEN_ROWS)):
            rows = list(map(_cells, some))
            yield pa.record_batch([list(column) for column in zip(*rows, strict=True)], schema=_SCHEMA)


def _cells(rejection: Rejection) -> tuple[Any, ...]:
    texts = (_clean(getattr(rejection, name)) for name in _TEXTS)
    data = None if rejection.data is None else as_json(rejection.data).decode()
    return rejection.row, *texts, list(rejection.candidates), data


def _clean(text: str | None) -> str | None:
    """Give a text that can be UTF-8: lone surrogates are written as escapes."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()
