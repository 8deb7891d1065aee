"""Rows to chunks, by count and by encoded bytes; CSV text to records.

A chunk is a contiguous range of rows of the source. Two rows of one person in it become one entry, so a chunk never
holds a person twice; what is too large for any chunk is refused by its number, and nothing is ever cut.
"""

import csv
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import Any, NamedTuple, Self

from attrs import define, field, frozen

from mjbulk._rows import Block
from mjbulk._values import key_of
from mjbulk._wire import Frame

_MOST_ROWS = 100_000
"""Rows that one chunk may merge: many rows of few people must not make a chunk without end."""


@define
class Chunk:
    """The rows of one request."""

    number: int
    """From 1, in the order of the source."""
    rows: list[int] = field(factory=list, repr=False)
    """Numbers of its rows, in the order of the source."""
    entry_of: list[int] = field(factory=list, repr=False)
    """For each row, its place among the entries."""
    names: list[tuple[str, ...]] = field(factory=list, repr=False)
    """For each row, the names of its values."""
    given: list[Sequence[Any]] = field(factory=list, repr=False)
    """For each row, its values as they were given, or its record as it stands in a file."""
    keys: list[str] = field(factory=list, repr=False)
    """For each entry, the form of its address in which it stands for a person."""
    addresses: list[str] = field(factory=list, repr=False)
    """For each entry, who it is."""
    encoded: list[bytes] = field(factory=list, repr=False)
    """For each entry, what is sent."""
    digest: str = ""
    """Of the numbers of its rows and of their encodings before they were merged: the same rows have the same one."""

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


@define
class SizeLimit:
    """How large a body may be: what was set, and what answers have taught. Mutable: it learns.

    A body that was too large teaches only when a half of it went through, and never more than answers allow: what went
    through once cannot have been too large. So one row that is always refused makes no chunk smaller for ever.
    """

    most: int
    """Bytes that a body of several rows may have."""
    passed: int = 0
    """Bytes of the largest body that went through."""

    def passes(self, size: int, *, half_of: int = 0) -> None:
        """Learn from a body that went through; ``half_of`` is the size of the one that was too large before it."""
        self.passed = max(self.passed, size)
        if half_of > self.passed:
            self.most = min(self.most, half_of // 2)
        self.most = max(self.most, self.passed)


@frozen
class Body:
    """The entries of a chunk put together, of which any range can be sent."""

    data: bytes = field(repr=False)
    """The body that sends them all."""
    starts: "array[int]" = field(repr=False)
    """For each entry, where it begins; and where one more would."""
    frame: Frame = field(repr=False)

    @classmethod
    def of(cls, encoded: Sequence[bytes], frame: Frame) -> Self:
        """Put entries together."""
        between = len(frame.between)
        starts = array("I", accumulate((len(row) + between for row in encoded), initial=len(frame.head)))
        return cls(frame.body(encoded), starts, frame)

    def part(self, places: slice) -> bytes:
        """Give the body that sends some of the entries."""
        if places.stop - places.start == len(self.starts) - 1:
            return self.data
        end = self.starts[places.stop] - len(self.frame.between)
        return b"".join((self.frame.head, self.data[self.starts[places.start] : end], self.frame.tail))


class Chunker:
    """Collects encoded rows, and gives a chunk whenever one is full."""

    def __init__(
        self,
        frame: Frame,
        limits: Limits,
        merge: Callable[[bytes, bytes], bytes],
        learned: SizeLimit,
        rows_of: Callable[[int], int | None] = lambda _: None,
    ) -> None:
        """``merge`` makes one entry of an earlier and a later one. A row alone may be as large as ``limits`` say,
        whatever was ``learned``. ``rows_of`` gives, of the number of a chunk, how many rows it held when it was cut
        before: it is cut so again, whatever the limits are now.
        """
        self._rows_of = rows_of
        self._limits = limits
        self._learned = learned
        self._frame = frame
        self._merge = merge
        self._number = 0
        self._start()

    def _start(self) -> None:
        self._number += 1
        self._chunk = Chunk(self._number)
        self._before = self._rows_of(self._number)
        self._digest = blake2b(digest_size=16)
        self._bytes = 0
        self._places: dict[str, int] = {}

    def too_large(self, encoded: bytes) -> str | None:
        """Say why a row cannot be in any chunk, or None."""
        if self._frame.size(1, len(encoded)) <= self._limits.bytes:
            return None
        return f"the row is larger than a chunk of {self._limits.bytes} bytes"

    def add(self, rows: Sequence[int], addresses: Sequence[str], encoded: Sequence[bytes], block: Block) -> list[Chunk]:
        """Take in rows, none of them too large, and give the chunks that are full."""
        keys = list(map(key_of, addresses))
        if len(set(keys)) != len(keys) or not self._places.keys().isdisjoint(keys):
            return self._add_one_by_one(rows, addresses, encoded, block)
        full = []
        start = 0
        while start < len(rows):
            end = start + self._room(encoded[start:])
            if end > start:
                self._extend(slice(start, end), rows, keys, addresses, encoded, block)
                start = end
            else:
                full.append(self._cut())
        return full

    def _room(self, encoded: Sequence[bytes]) -> int:
        """How many of these rows fit into the chunk; into an empty one at least one does."""
        if self._before is not None:
            return min(self._before - len(self._chunk.rows), len(encoded))
        entries, between = len(self._chunk.encoded), len(self._frame.between)
        left = self._learned.most - self._frame.size(entries, self._bytes) - (between if entries else 0)
        most = int(min(self._limits.rows - entries, len(encoded)))
        sizes = [len(row) + between for row in encoded[:most]]
        fit = most if sum(sizes) - between <= left else bisect_right(list(accumulate(sizes)), left + between)
        return fit or (0 if entries else 1)

    def _extend(  # noqa: PLR0917  # one slice of several columns
        self,
        part: slice,
        rows: Sequence[int],
        keys: Sequence[str],
        addresses: Sequence[str],
        encoded: Sequence[bytes],
        block: Block,
    ) -> None:
        """Add rows that are all new people."""
        chunk = self._chunk
        places = range(len(chunk.encoded), len(chunk.encoded) + part.stop - part.start)
        self._places.update(zip(keys[part], places, strict=True))
        self._bytes += sum(map(len, encoded[part]))
        self._digest.update(b"".join(encoded[part]))
        chunk.rows.extend(rows[part])
        chunk.entry_of.extend(places)
        chunk.names.extend([block.names] * len(places))
        chunk.given.extend(block.kept[part])
        chunk.keys.extend(keys[part])
        chunk.addresses.extend(addresses[part])
        chunk.encoded.extend(encoded[part])

    def _add_one_by_one(
        self, rows: Sequence[int], addresses: Sequence[str], encoded: Sequence[bytes], block: Block
    ) -> list[Chunk]:
        """Add rows of which some are people who are in the chunk already, or come twice."""
        full = []
        for place, (row, address) in enumerate(zip(rows, addresses, strict=True)):
            key = key_of(address)
            entry = self._places.get(key)
            few = len(self._chunk.rows) < (_MOST_ROWS if self._before is None else self._before)
            if entry is not None and few and self._merge_into(entry, address, encoded[place]):
                self._chunk.rows.append(row)
                self._chunk.entry_of.append(entry)
                self._chunk.names.append(block.names)
                self._chunk.given.append(block.kept[place])
                continue
            if entry is not None or not self._room(encoded[place : place + 1]):
                full.append(self._cut())
            self._extend(slice(place, place + 1), rows, [*[""] * place, key], addresses, encoded, block)
        return full

    def _merge_into(self, place: int, address: str, encoded: bytes) -> bool:
        """Merge a row into an entry, unless only casefolding makes one person of two, or the chunk would grow too
        large.
        """
        chunk = self._chunk
        if chunk.addresses[place].lower() != address.lower():
            return False
        merged = self._merge(chunk.encoded[place], encoded)
        grown = self._bytes + len(merged) - len(chunk.encoded[place])
        most = self._limits.bytes if len(chunk.encoded) == 1 else self._learned.most
        if self._before is None and self._frame.size(len(chunk.encoded), grown) > most:
            return False
        self._digest.update(encoded)
        chunk.encoded[place] = merged
        self._bytes = grown
        return True

    def flush(self) -> Chunk | None:
        """Give the chunk that is not yet full, if it has rows."""
        return self._cut() if self._chunk.rows else None

    def _cut(self) -> Chunk:
        chunk = self._chunk
        self._digest.update(array("Q", chunk.rows))
        chunk.digest = self._digest.hexdigest()
        self._start()
        return chunk


# CSV text to records

MAX_RECORD = 8 * 2**20
"""Characters of one cell. A quote that is never closed would make one cell of the rest of the file."""


class Record(NamedTuple):
    """One record of a CSV file."""

    fields: tuple[str, ...] | None
    """Its cells; None where it is malformed."""
    raw: str
    """As it stands in the file, line end included."""
    fault: str = ""

    def __repr__(self) -> str:
        return f"Record({self.fault})"


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

    @property
    def waiting(self) -> int:
        """How many characters of a line have come whose end has not."""
        return len(self._rest)

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
                        records.append(Record(tuple(fields), raw))
                    done = end
            except _NeedMore:
                break
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
    if "end of data" in text:
        return "a quote is opened and never closed"
    return "a carriage return stands alone in it" if "new-line" in text else text


def decode_record(record: str) -> list[str]:
    """Read one record of a file whose delimiter is a comma."""
    return next(csv.reader([record]))


def encode_record(cells: Sequence[str]) -> bytes:
    """Encode one record as Mailjet wants it: commas, and quotes where they are needed."""
    return (",".join(map(_quoted, cells)) + "\n").encode()


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(c in cell for c in '",\r\n') or cell != cell.strip() else cell
