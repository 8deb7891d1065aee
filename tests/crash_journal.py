"""What a journal of a crashed run holds, read by other means than ours: its tables, and which rows each chunk has."""

import shutil
import tempfile
from base64 import b85decode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any
from zlib import decompress

from attrs import frozen
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from mjbulk.journal.records import fingerprint, number_of

_HIGH = 0x80


@frozen(kw_only=True)
class Part:
    """Entries of a chunk that go into one job."""

    chunk: int
    entries: Sequence[Sequence[int]]
    """The rows of each."""
    state: str
    in_doubt: bool
    """Whether it may have been applied."""
    job: int
    """0 where none is known."""
    figures: Mapping[str, int]

    @property
    def rows(self) -> frozenset[int]:
        """All of its rows."""
        return frozenset(row for rows in self.entries for row in rows)

    @property
    def unknown(self) -> bool:
        """Whether it is unknown what became of it."""
        return self.state != "settled" or self.figures["unknown"] > 0


@frozen
class Written:
    """What a journal held when its client was dead."""

    parts: Sequence[Part] = ()
    refused: frozenset[int] = frozenset()
    """Rows that were refused here."""

    @property
    def sent(self) -> frozenset[int]:
        """Rows of which something may have been sent."""
        return frozenset().union(*(part.rows for part in self.parts if part.state != "unsent"))

    @property
    def in_doubt(self) -> frozenset[int]:
        """Rows that may have been applied: it is not known."""
        return frozenset().union(*(part.rows for part in self.parts if part.in_doubt))

    @property
    def unknown(self) -> frozenset[int]:
        """Rows whose outcome is not known."""
        return frozenset().union(*(part.rows for part in self.parts if part.unknown))

    @property
    def jobs(self) -> Mapping[int, Part]:
        """The parts whose jobs are known, by these."""
        return {part.job: part for part in self.parts if part.job}

    @property
    def settled(self) -> int:
        """How many rows have an outcome of Mailjet's."""
        return sum(len(part.rows) for part in self.parts if part.state == "settled")


def read(journal: str, key: str, via: str, people: Sequence[str]) -> Written:
    """Read a journal, or a copy of its files, for a client has still to find them as they were left.

    ``people`` tells whose each row is. Raises AssertionError if the records do not agree with each other.
    """
    if "://" in journal:
        return _read(journal, key, via, people)
    with tempfile.TemporaryDirectory() as folder:
        for name in (journal, f"{journal}-wal"):
            with suppress(FileNotFoundError):
                shutil.copy(name, folder)
        copy = Path(folder, Path(journal).name)
        return _read(f"sqlite:///{copy}", key, via, people) if copy.exists() else Written()


_TABLES = {
    "chunks": "select number, first, last, rows, entries, shape from mjbulk_2_chunks where run = :run order by number",
    "parts": 'select chunk, first, "end", rows, state, data_id, job, accepted, superseded, rejected, unknown '
    "from mjbulk_2_parts where run = :run and state != 'halved' order by chunk, first",
    "refused": "select row from mjbulk_2_rejections where run = :run and chunk = 0",
}


def _read(url: str, key: str, via: str, people: Sequence[str]) -> Written:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            run = {"run": number_of(fingerprint(key), key, "")}
            found = {name: connection.execute(text(wanted), run).all() for name, wanted in _TABLES.items()}
    except DBAPIError:  # it has no tables yet
        return Written()
    finally:
        engine.dispose()
    refused = frozenset(row for (row,) in found["refused"])
    nobody = {row for row, who in enumerate(people, 1) if not who}
    assert refused <= nobody, f"rows {refused - nobody} were refused"
    chunks = dict(_chunks(found["chunks"], nobody, people))
    return Written([_part(part, chunks[part.chunk], via) for part in found["parts"]], refused)


def _part(part: Any, entries: Sequence[Sequence[int]], via: str) -> Part:
    entries = entries[part.first : part.end]
    figures = {name: getattr(part, name) for name in ("accepted", "superseded", "rejected", "unknown")}
    assert part.rows == sum(map(len, entries)), f"a part of chunk {part.chunk} has not {part.rows} rows"
    assert sum(figures.values()) == (part.rows if part.state == "settled" else 0)
    return Part(
        chunk=part.chunk,
        entries=entries,
        state=part.state,
        in_doubt=part.state == "sending" and (via == "json" or part.data_id is not None),
        job=int(part.job.split(":")[1]) if part.job else 0,
        figures=figures,
    )


def _chunks(
    records: Sequence[Any], nobody: set[int], people: Sequence[str]
) -> Iterator[tuple[int, Sequence[Sequence[int]]]]:
    """Give the rows of each chunk, by its entries: a person has one, in the order of their first rows."""
    before, latest = 0, dict[str, int]()
    freed = {row for record in records for row in lists_of(record.shape)[1]}
    for number, (found, first, last, rows, count, shape) in enumerate(records, 1):
        holes, extras, merged, _ = lists_of(shape)
        fresh = set(range(before + 1, last + 1)) - nobody - freed - set(holes)
        has = sorted({*fresh, *extras})
        assert (found, len(has)) == (number, rows), f"chunk {found} has rows {has}, and not {rows}"
        assert first == min(fresh, default=last + 1), f"chunk {found} does not begin with row {first}"
        entries: dict[str, list[int]] = {}
        for row in has:
            entries.setdefault(people[row - 1], []).append(row)
        assert len(entries) == count, f"chunk {found} has {len(entries)} people, and not {count}"
        again = [at for at, row in enumerate(has) if row != entries[people[row - 1]][0]]
        assert list(merged) == again, f"chunk {found} has merged rows at {again}, and not at {merged}"
        for who, some in entries.items():
            assert latest.get(who, 0) < some[0], f"row {some[0]} is in chunk {found}, after row {latest[who]}"
            latest[who] = some[-1]
        yield found, list(entries.values())
        before = last


def lists_of(shape: str) -> Sequence[Sequence[int]]:
    """Read the holes of a chunk, its extras, where rows were merged, and into what."""
    if not shape:
        return ((),) * 4
    packed = b85decode(shape[1:-1])
    numbers = iter(_numbers(decompress(packed) if shape[0] == "z" else packed))
    lists = [[next(numbers) for _ in range(next(numbers))] for _ in range(4)]
    return [*(list(accumulate(gaps)) for gaps in lists[:3]), lists[3]]


def _numbers(data: bytes) -> Iterator[int]:
    """Read numbers of seven bits a byte, the lowest first; the last byte of each is below 128."""
    digits: list[int] = []
    for byte in data:
        digits.append(byte % _HIGH)
        if byte < _HIGH:
            yield sum(digit << 7 * at for at, digit in enumerate(digits))
            digits = []
