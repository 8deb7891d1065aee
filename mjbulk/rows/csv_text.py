"""CSV text to records, and back.

Most records are read many at a time: the quotes in a line show whether the record ends with it. Where few have quotes,
the text is split at its delimiters, into columns; else the csv module reads it. Where the result does not fit, the
records are read line by line.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from itertools import accumulate, compress
from operator import ne

from attrs import field, frozen

MAX_RECORD = 8 * 2**20
"""Characters that a cell may have: without a limit, a quote that is never closed would make the rest of the file one
cell."""


@frozen
class Records:
    """Consecutive records of a CSV file."""

    raws: Sequence[str] = field(repr=False)
    """Each exactly as in the file, with its line end, which is added if the last line lacks it."""
    lines: Sequence[int]
    """The line in which each begins, counted from 1; none where escapes may hide ends of lines."""
    read: Sequence[Sequence[str]] | None = field(default=None, repr=False)
    """The cells of each; none of a malformed one."""
    columns: Sequence[Sequence[str]] | None = field(default=None, repr=False)
    """The cells by columns, in the place of the other."""
    faults: Mapping[int, str] = field(factory=dict)
    """What is wrong with each malformed one, by its index."""

    def __len__(self) -> int:
        return len(self.raws)

    @property
    def rows(self) -> Sequence[Sequence[str]]:
        """The cells of each; none of a malformed one."""
        return list(zip(*self.columns or (), strict=True)) if self.read is None else self.read


class _NeedMore(Exception):  # a signal from an iterator to its owner
    """The lines so far end within a record."""


class CsvRecords:
    """Cuts CSV text that comes in pieces into records. A quoted cell may hold line ends.

    A malformed record costs its first line and nothing more: reading goes on with the next line, so a quote that is
    never closed does not swallow the rows behind it.

    Mutable state: the lines of a record that has not ended, the beginning of a line that has not, how many lines were
    read, and how many cells the first record had.
    """

    def __init__(self, delimiter: str = ",", first_line: int = 1) -> None:
        """Take the delimiter, one character, and the number of the line with which the text begins."""
        self._delimiter = delimiter
        self._pending: list[str] = []
        self._rest = ""
        self._line = first_line  # of what is pending
        self._width = 0

    def feed(self, text: str, *, last: bool = False) -> Records:
        """Take in a piece of text, and give the records that are complete now. ``last`` says that no more will come."""
        text = self._rest + text
        if last and text and not text.endswith("\n"):
            text += "\n"
        end = text.rfind("\n") + 1
        text, self._rest = text[:end], text[end:]
        lines = self._pending + StringIO(text, newline="\n").readlines()
        raws, self._pending = _whole_records(lines) if self._pending or '"' in text else (lines, [])
        done = len(lines) - len(self._pending)
        records = None
        if not self._pending or (not last and sum(map(len, self._pending)) <= MAX_RECORD):
            numbers = self._numbers(raws, done)
            records = self._split(raws, numbers) or self._read_quickly(raws, numbers)
        if records is None:
            with _large_cells():
                records, done = self._read_carefully(lines, last=last)
            self._pending = lines[done:]
        self._line += done
        return records

    def _numbers(self, raws: Sequence[str], lines: int) -> Sequence[int]:
        """Give the line in which each text begins; all together have this many ``lines``."""
        if len(raws) == lines:
            return range(self._line, self._line + lines)
        return [*accumulate((raw.count("\n") for raw in raws[:-1]), initial=self._line)]

    @property
    def unfinished(self) -> int:
        """How many characters have come of a line whose end has not."""
        return len(self._rest)

    def _split(self, raws: Sequence[str], lines: Sequence[int]) -> Records | None:
        """Split texts that should be one record each, and have as many cells as the first one; give None where one of
        them is or has not, or many have quotes. Measured: a fourth of the time of the csv module.
        """
        text = "".join(raws)
        quoted = [at for at, raw in enumerate(raws) if '"' in raw] if '"' in text else []
        if not self._width or len(quoted) * _FEW > len(raws):
            return None
        plain = "".join(raw for raw in raws if '"' not in raw) if quoted else text
        columns = _columns(plain, self._delimiter, self._width, len(raws) - len(quoted))
        rows = self._read([raws[at] for at in quoted])
        if columns is None or rows is None or not set(map(len, rows)) <= {self._width}:
            return None
        for at, row in zip(quoted, rows, strict=True):
            for column, cell in zip(columns, row, strict=True):
                column.insert(at, cell)
        return Records(raws, lines, columns=columns)

    def _read_quickly(self, raws: Sequence[str], lines: Sequence[int]) -> Records | None:
        """Read texts that should be one record each, and begin in these lines; give None where one of them is not."""
        rows = self._read(raws)
        if rows is None:
            return None
        if not all(rows):  # blank lines are no records
            kept = [bool(row) for row in rows]
            rows, raws, lines = list(compress(rows, kept)), list(compress(raws, kept)), list(compress(lines, kept))
        self._width = self._width or (len(rows[0]) if rows else 0)
        return Records(raws, lines, rows)

    def _read(self, raws: Sequence[str]) -> Sequence[Sequence[str]] | None:
        """Give the cells of each text, or None where one of them is not one record."""
        try:
            with _large_cells():
                rows = list(csv.reader(raws, delimiter=self._delimiter, strict=True))
        except csv.Error:
            return None
        return rows if len(rows) == len(raws) else None

    def _read_carefully(self, lines: Sequence[str], *, last: bool) -> tuple[Records, int]:
        """Read line by line, and give the records and how many lines they took."""
        rows: list[Sequence[str]] = []
        raws: list[str] = []
        faults: dict[int, str] = {}
        numbers: list[int] = []
        done = 0
        while done < len(lines):
            begin = done
            reader = csv.reader(_until(lines, begin, last=last), delimiter=self._delimiter, strict=True)
            try:
                for cells in reader:
                    end = begin + reader.line_num
                    if cells:
                        rows.append(cells)
                        raws.append("".join(lines[done:end]))
                        numbers.append(self._line + done)
                    done = end
            except _NeedMore:
                break
            except csv.Error as why:
                faults[len(rows)] = f"this is no CSV: {_reason(why)}"
                rows.append(())
                raws.append(lines[done])
                numbers.append(self._line + done)
                done += 1
        return Records(raws, numbers, rows, faults=faults), done


def _whole_records(lines: list[str]) -> tuple[list[str], list[str]]:
    """Join lines to records, as far as quotes tell: an odd number of them opens or closes a record of several lines.
    Give the records, and the lines of the one that is left open.
    """
    odd = [at for at, line in enumerate(lines) if '"' in line and line.count('"') % 2]
    if not odd:
        return lines, []
    records: list[str] = []
    done = 0
    for first, last in zip(odd[::2], odd[1::2], strict=False):
        records += lines[done:first]
        records.append("".join(lines[first : last + 1]))
        done = last + 1
    end = odd[-1] if len(odd) % 2 else len(lines)
    return records + lines[done:end], lines[end:]


_FEW = 8
"""One record in this many may have quotes where text is split."""


def _columns(text: str, delimiter: str, width: int, size: int) -> list[list[str]] | None:
    """Split ``size`` records without quotes into columns; give None where one has not ``width`` cells."""
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if "\r" in text or len(text) > MAX_RECORD:
        return None
    cells = text.replace("\n", f"{delimiter}\n{delimiter}").split(delimiter)  # a line end stands in a cell of its own
    if len(cells) != size * (width + 1) + 1 or cells[width :: width + 1].count("\n") != size:
        return None
    columns = [cells[at : -1 : width + 1] for at in range(width)]
    return None if width == 1 and "" in columns[0] else columns  # blank lines are no records


@contextmanager
def _large_cells() -> Iterator[None]:
    """Raise the limit of a cell, which the csv module has for the whole process, and put it back."""
    limit = csv.field_size_limit(MAX_RECORD)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _until(lines: Sequence[str], begin: int, *, last: bool) -> Iterator[str]:
    for index in range(begin, len(lines)):
        yield lines[index]
    if not last:
        raise _NeedMore


def _reason(why: csv.Error) -> str:
    text = str(why)
    if "end of data" in text:
        return "a quote is opened and never closed"
    if "field larger" in text:  # what follows the quote, up to the limit of the csv module
        return "a quote is opened and never closed"
    return "a carriage return stands alone in it" if "new-line" in text else text


def read_records(text: str) -> list[list[str]]:
    """Read records whose delimiter is a comma. Only a newline ends a line."""
    with _large_cells():
        return list(csv.reader(StringIO(text, newline="\n")))


def decode_record(record: str) -> list[str]:
    """Read one record whose delimiter is a comma."""
    return read_records(record)[0]


def encode_record(cells: Sequence[str]) -> bytes:
    """Encode one record as Mailjet wants it (FACTS 4.3): commas, and quotes where they are needed."""
    return (",".join(map(_quoted, cells)) + "\n").encode()


def write_records(columns: Sequence[Sequence[str]]) -> list[str]:
    """Write the records of many rows, given column by column, as `encode_record` does: each with its line end."""
    return [f"{record}\n" for record in map(",".join, zip(*map(_quoted_all, columns), strict=True))]


def _quoted_all(cells: Sequence[str]) -> Sequence[str]:
    if _SPECIAL.search("".join(cells)) or any(map(ne, cells, map(str.strip, cells))):
        return list(map(_quoted, cells))
    return cells


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _SPECIAL.search(cell) or cell != cell.strip() else cell


_SPECIAL = re.compile('[",\r\n]')
_CELL = r'(?:"(?:[^"]++|"")*+"|[^",\r\n]*+)'
_STRICT = re.compile(rf"{_CELL}(?:,{_CELL})*+\r?\n")


def is_strict(raw: str) -> bool:
    """Say whether each reader of CSV reads a raw record alike: quotes stand around whole cells, and nowhere else."""
    return _STRICT.fullmatch(raw) is not None
