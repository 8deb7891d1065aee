"""Rows to chunks, by count and by encoded bytes; CSV text to records.

A chunk is a contiguous range of rows of the source. Two rows of one person in it become one entry, so a chunk never
holds a person twice; what is too large for any chunk is refused by its number, and nothing is ever cut.
"""

import csv
from collections.abc import Callable, Iterator, Sequence

from attrs import define, field, frozen

from mjbulk._rows import Given, RowFault, key_of
from mjbulk._wire import Frame


@define
class Chunk:
    """The rows of one request."""

    number: int
    """From 1, in the order of the source."""
    rows: list[int] = field(factory=list, repr=False)
    """Numbers of its rows, in the order of the source."""
    entry_of: list[int] = field(factory=list, repr=False)
    """For each row, its place among the entries."""
    given: list[Given] = field(factory=list, repr=False)
    """For each row, what was given."""
    addresses: list[str] = field(factory=list, repr=False)
    """For each entry, who it is."""
    encoded: list[bytes] = field(factory=list, repr=False)
    """For each entry, what is sent."""

    @property
    def span(self) -> range:
        """Its rows as a range; rows that were refused here may lie in between."""
        return range(self.rows[0], self.rows[-1] + 1)


@frozen(kw_only=True)
class Limits:
    """How large a chunk may be."""

    rows: float
    """Entries; infinity where bytes alone count."""
    bytes: int
    """Bytes of the whole body."""


class Chunker:
    """Collects encoded rows, and gives a chunk whenever one is full."""

    def __init__(self, frame: Frame, limits: Limits, merge: Callable[[bytes, bytes], bytes]) -> None:
        """``merge`` makes one entry of an earlier and a later one."""
        self._limits = limits
        self._learned = limits.bytes
        self._frame = frame
        self._merge = merge
        self._number = 0
        self._start()

    def learn(self, size: int) -> None:
        """Keep bodies below a size that was too large. A row alone may still be as large as the limits say."""
        self._learned = min(self._learned, max(size // 2, 1))

    def _start(self) -> None:
        self._number += 1
        self._chunk = Chunk(self._number)
        self._bytes = 0
        self._places: dict[str, int] = {}

    def add(self, row: int, address: str, encoded: bytes, given: Given) -> Chunk | None:
        """Take in a row. Gives the chunk before it, if this row no longer fits into that.

        Raises RowFault where the row is larger than a chunk.
        """
        if self._frame.size(1, len(encoded)) > self._limits.bytes:
            raise RowFault(None, f"the row is larger than a chunk of {self._limits.bytes} bytes")
        key = key_of(address)
        place = self._places.get(key)
        full = None
        if place is None or not self._merge_into(place, address, encoded):
            if place is not None or not self._fits(encoded):
                full = self.flush()
            place = self._places[key] = len(self._chunk.encoded)
            self._chunk.addresses.append(address)
            self._chunk.encoded.append(encoded)
            self._bytes += len(encoded)
        chunk = self._chunk
        chunk.rows.append(row)
        chunk.entry_of.append(place)
        chunk.given.append(given)
        return full

    def _fits(self, encoded: bytes) -> bool:
        entries = len(self._chunk.encoded)
        return not entries or (
            entries < self._limits.rows and self._frame.size(entries + 1, self._bytes + len(encoded)) <= self._learned
        )

    def _merge_into(self, place: int, address: str, encoded: bytes) -> bool:
        """Merge a row into an entry, unless only casefolding makes one person of two, or the chunk would grow too
        large.
        """
        chunk = self._chunk
        if chunk.addresses[place].lower() != address.lower():
            return False
        merged = self._merge(chunk.encoded[place], encoded)
        grown = self._bytes + len(merged) - len(chunk.encoded[place])
        if self._frame.size(len(chunk.encoded), grown) > self._limits.bytes:
            return False
        chunk.encoded[place] = merged
        self._bytes = grown
        return True

    def flush(self) -> Chunk | None:
        """Give the chunk that is not yet full, if it has rows."""
        chunk = self._chunk
        if not chunk.rows:
            return None
        self._start()
        return chunk


# CSV text to records

MAX_RECORD = 8 * 2**20
"""Characters of one record. A quote that is never closed would make one record of the rest of the file."""


@frozen
class Record:
    """One record of a CSV file."""

    fields: list[str] | None = field(repr=False)
    """Its cells; None where it is malformed."""
    raw: str = field(repr=False)
    """As it stands in the file, line end included."""
    fault: str = ""


class _NeedMore(Exception):  # a signal from an iterator to its owner
    """The lines at hand end within a record."""


class CsvRecords:
    """Cuts CSV text that comes in pieces into records, at record ends only: a quoted cell may hold line ends.

    A malformed record costs its first line and nothing more: reading goes on with the next line, so a quote that is
    never closed does not swallow the rows behind it.
    """

    def __init__(self, delimiter: str = ",") -> None:
        """``delimiter`` is one character."""
        self._delimiter = delimiter
        self._pending: list[str] = []
        self._rest = ""

    def feed(self, text: str, *, last: bool = False) -> list[Record]:
        """Take in a piece of text and give the records that are complete; ``last`` says that no more will come."""
        *lines, self._rest = (self._rest + text).split("\n")
        lines = self._pending + [line + "\n" for line in lines]
        if last and self._rest:
            lines.append(self._rest)
        limit = csv.field_size_limit(MAX_RECORD)
        try:
            records, done = self._parse(lines, last=last)
        finally:
            csv.field_size_limit(limit)
        self._pending = lines[done:]
        return records

    def _parse(self, lines: Sequence[str], *, last: bool) -> tuple[list[Record], int]:
        records: list[Record] = []
        done = 0
        while done < len(lines):
            begin = done
            reader = csv.reader(_until(lines, begin, last=last), delimiter=self._delimiter, strict=True)
            try:
                for fields in reader:
                    end = begin + reader.line_num
                    if fields:
                        raw = lines[done] if end == done + 1 else "".join(lines[done:end])
                        records.append(Record(fields, raw))
                    done = end
            except _NeedMore:
                if sum(map(len, lines[done:])) <= MAX_RECORD:
                    break
                records.append(Record(None, lines[done], "a quote is opened and never closed"))
                done += 1
            except csv.Error as why:
                records.append(Record(None, lines[done], f"this is no CSV: {_reason(why)}"))
                done += 1
        return records, done


def _until(lines: Sequence[str], begin: int, *, last: bool) -> Iterator[str]:
    for index in range(begin, len(lines)):
        yield lines[index]
    if not last:
        raise _NeedMore


def _reason(why: csv.Error) -> str:
    text = str(why)
    return "a quote is opened and never closed" if "end of data" in text else text


def encode_record(cells: Sequence[str]) -> bytes:
    """Encode one record as Mailjet wants it: commas, and quotes where they are needed."""
    return (",".join(map(_quoted, cells)) + "\n").encode()


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(c in cell for c in '",\r\n') or cell != cell.strip() else cell
