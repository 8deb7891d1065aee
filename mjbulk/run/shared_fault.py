"""What nearly all of the first rows of a source are refused for: then it is a fault of the source."""

from collections import Counter

from mjbulk.rows.addresses import EMAIL
from mjbulk.rows.codes import Code
from mjbulk.rows.layout import refuse_columns
from mjbulk.rows.values import ColumnFault, RowFault

_FIRST = 100
"""After this many rows, none of them good, it is seen whether they share a fault."""
_SHARE = 0.95
"""This share of them has to have it."""


class SharedFault:
    """What all rows so far were refused for, none of them good. Mutable state: how many rows each fault has."""

    def __init__(self) -> None:
        """Begin with no row."""
        self._causes = Counter[tuple[Code, str | None]]()
        self._faults = dict[tuple[Code, str | None], RowFault]()

    def add(self, fault: RowFault) -> None:
        """Add a row. Raises UsageError if there are many, and nearly all of them have one fault."""
        if self._causes.total() == _FIRST:
            return
        cause = (fault.code, fault.field)
        self._causes[cause] += 1
        self._faults.setdefault(cause, fault)
        if self._causes.total() == _FIRST and (shared := self._shared()) is not None:
            count = self._causes[shared]
            which = f"{count} of its first {_FIRST} rows are" if count < _FIRST else f"its first {_FIRST} rows are all"
            fault = self._faults[shared]
            message = f"{which} refused for one cause: {fault.message}"
            raise refuse_columns(ColumnFault(fault.code, fault.field, message))

    def _shared(self) -> tuple[Code, str | None] | None:
        """Give what nearly all rows are refused for: of those with an address, if they are the greater part. A row
        without one says nothing about its other columns.
        """
        addressed = Counter({cause: rows for cause, rows in self._causes.items() if cause[1] != EMAIL})
        for causes in (self._causes, addressed):
            for cause, rows in causes.most_common(1):
                if rows >= _SHARE * causes.total() and 2 * rows > _FIRST:
                    return cause
        return None
