"""A run in memory: it drives a chunker as the engine does, and each step is held against the plain rules of chunks."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from itertools import chain
from random import Random
from typing import Any

from attrs import define, field

from mjbulk.chunks.builder import Rules
from mjbulk.chunks.chunk import Chunk, Limits, SizeLimit
from mjbulk.chunks.chunker import REPLAY, Chunker
from mjbulk.chunks.frame import Frame
from mjbulk.chunks.people_table import PeopleTable
from mjbulk.chunks.replay import Recorded
from mjbulk.journal.shape import decode_shape, encode_shape
from mjbulk.rows.block import Block, Given
from mjbulk.rows.contacts import encode, merge

FRAME = Frame(b"[", b", ", b"]]")
Row = tuple[str, dict[str, Any]]
Source = Mapping[int, Row | None]
"""Rows by their numbers; None is a row that is refused here."""


class Memory:
    """Where held rows lie as they were given."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def add(self, value: Any) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def get(self, number: int) -> Any:
        return self.values[number]


def encoded(row: Row) -> bytes:
    address, values = row
    return encode({"Email": address, **({"Properties": values} if values else {})})


def make_rules(rows: float = 9, size: int = 2000, learned: int = 2**30, *, digests: bool = True) -> Rules:
    limits = Limits(rows=rows, bytes=size)
    return Rules(frame=FRAME, limits=limits, merge=merge, learned=SizeLimit(min(size, learned)), digests=digests)


def source_of(*addresses: str | None) -> dict[int, Row | None]:
    """Rows from 1 with these addresses, each with values of its own; None is a row that is refused here."""
    return {
        number: None if address is None else (address, {"n": number, f"k{number % 3}": number})
        for number, address in enumerate(addresses, start=1)
    }


def feed(chunker: Chunker, source: Source, numbers: Sequence[int]) -> list[int]:
    """Give some rows to a chunker; gives the new ones that are refused."""
    chunker.arrive(numbers[0], numbers[-1])
    rows = {number: row for number in numbers if (row := source[number]) is not None}
    refused = [number for number in numbers if number not in rows and chunker.is_new(number)]
    if rows:
        block = Block.of(("email", "values"), list(rows.values()))
        chunker.add(list(rows), [address for address, _ in rows.values()], list(map(encoded, rows.values())), block)
    chunker.passed(numbers[-1])
    return refused


def entries(chunk: Chunk) -> list[bytes]:
    """What is sent of a chunk, one by one."""
    bodies = [chunk.body.part(slice(at, at + 1))[:] for at in range(chunk.entries)]
    return [body.removeprefix(FRAME.head).removesuffix(FRAME.tail) for body in bodies]


def content(chunk: Chunk, memory: Memory) -> Any:
    """All of a chunk that does not depend on how its rows came together."""
    kept = chunk.kept
    rows = list(zip(kept.rows, kept.entry_of, kept.given(memory.get), strict=True))
    people = list(zip(chunk.people, kept.addresses, entries(chunk), strict=True))
    assert (chunk.rows, chunk.entries, chunk.span) == (len(rows), len(people), range(rows[0][0], rows[-1][0] + 1))
    assert chunk.body.data == FRAME.body(entries(chunk))
    return rows, people, list(chunk.superseded)


def plain_content(source: Source, numbers: Iterable[int]) -> Any:
    """The same in the plainest way: a chunk is a function of its set of rows."""
    people: dict[str, list[int]] = {}
    for number in sorted(numbers):
        people.setdefault(key_of(source, number), []).append(number)
    entry_of = {number: entry for entry, mine in enumerate(people.values()) for number in mine}
    given = {number: row for number in numbers if (row := source[number]) is not None}
    assert all(len({given[number][0].lower() for number in mine}) == 1 for mine in people.values())
    return (
        [(number, entry_of[number], Given(("email", "values"), given[number])) for number in sorted(numbers)],
        [
            (hash(key), given[mine[0]][0], reduce(merge, (encoded(given[number]) for number in mine)))
            for key, mine in people.items()
        ],
        sorted(number for mine in people.values() for number in mine[:-1]),
    )


def key_of(source: Source, number: int) -> str:
    row = source[number]
    assert row is not None
    return row[0].casefold()


def recorded(chunk: Chunk) -> Recorded:
    """A chunk as a journal gives it back."""
    return Recorded(
        number=chunk.number,
        first=chunk.first,
        last=chunk.last,
        rows=chunk.rows,
        entries=chunk.entries,
        digest=chunk.digest,
        shape=decode_shape(encode_shape(chunk.shape)),
    )


@define
class Journal:
    """What outlives a process."""

    chunks: list[Recorded] = field(factory=list)
    rows: dict[int, list[int]] = field(factory=dict)
    """The rows of each chunk, as it was cut first."""
    states: dict[int, str] = field(factory=dict)
    """The state of each chunk: cut, sent, done or in doubt."""
    overtaken: set[int] = field(factory=set)
    """Chunks in doubt that a chunk with a later row of theirs has overtaken: they are not retried."""
    newest: dict[str, int] = field(factory=dict)
    """The newest chunk with each person that was sent."""


class Run:
    """One process of a run. Every step is checked."""

    def __init__(
        self,
        source: Source,
        journal: Journal | None = None,
        *,
        rules: Rules | None = None,
        people: PeopleTable | None = None,
        bits: int = 40,
        retry: bool = True,
    ) -> None:
        """``retry`` says whether chunks in doubt are retried; ``bits`` are those of ``people``."""
        self.source = source
        self.journal = journal or Journal()
        self.rules = rules or make_rules()
        self.memory = Memory()
        self.chunker = Chunker(self.rules, self.memory, self.journal.chunks, people)
        self.queue: list[Chunk] = []
        """Chunks that were recorded and have to be sent."""
        self.flight: dict[int, Chunk] = {}
        self.new: dict[int, list[int]] = {}
        """The rows of each chunk that this process has cut."""
        self.refused: set[int] = set()
        self._window = max((chunk.last for chunk in self.journal.chunks), default=0)
        self._waits: dict[int, set[int]] = {}
        self._left = deque(sorted(source))
        self._passed: list[int] = []
        self._found: list[Chunk] = []
        self._retry = retry
        self._replayed = not self.chunker.replaying
        self._mask = (1 << bits) - 1

    # Steps

    def read(self, count: int = 1) -> None:
        """Read rows."""
        numbers = [self._left.popleft() for _ in range(min(count, len(self._left)))]
        if numbers:
            self.refused.update(feed(self.chunker, self.source, numbers))
            self._passed += numbers
            self._found += self.chunker.found
            self.chunker.found.clear()
            if not self._replayed and not self.chunker.replaying:
                self._replayed = True
                self._go_on()
            self.check()

    def _go_on(self) -> None:
        """All recorded chunks were found: send what has to be sent, and let new rows go."""
        for chunk in sorted(self._found, key=lambda chunk: chunk.number):
            number = chunk.number
            state = self.journal.states[number]
            assert content(chunk, self.memory) == plain_content(self.source, self.journal.rows[number])
            if state == "done" or number in self.journal.overtaken:
                continue
            self._waits[number] = self.chunker.people.enter_recorded(number, chunk.people)
            self.chunker.unfinished.add(number)
            if state == "sent":
                self.flight[number] = chunk
            else:
                self.queue.append(chunk)
        self.chunker.free(REPLAY)

    def record(self, count: int = 10**6) -> None:
        """Take chunks that were cut, and write them down."""
        for _ in range(min(count, len(self.chunker.cut))):
            chunk = self.chunker.cut.popleft()
            assert chunk.number == len(self.journal.chunks) + 1
            self.journal.chunks.append(recorded(chunk))
            self.journal.states[chunk.number] = "cut"
            self.journal.rows[chunk.number] = list(chunk.kept.rows)
            self.queue.append(chunk)

    def send(self, which: int = 0) -> int:
        """Send one of the chunks that may go, or leave it in doubt again; gives its number, or 0."""
        free = [chunk for chunk in self.queue if not self._waits.get(chunk.number, set()) & self.chunker.unfinished]
        if not free:
            return 0
        chunk = free[which % len(free)]
        self.queue.remove(chunk)
        if self.journal.states[chunk.number] == "doubt" and not self._retry:
            self.chunker.done(chunk.number, in_doubt=True)
            self.check()
            return chunk.number
        for other in chunk.overtaken | self._waits.get(chunk.number, set()):
            if self.journal.states[other] == "doubt":
                self.journal.overtaken.add(other)
                self.chunker.forget(other)
        self.flight[chunk.number] = chunk
        self.journal.states[chunk.number] = "sent"
        for number in chunk.kept.rows:
            key = key_of(self.source, number)
            assert self.journal.newest.get(key, 0) <= chunk.number, "a row went out after a later one"
            self.journal.newest[key] = chunk.number
        self.check()
        return chunk.number

    def done(self, which: int = 0, *, in_doubt: bool = False) -> None:
        """Let one of the chunks in flight be done."""
        if self.flight:
            number = sorted(self.flight)[which % len(self.flight)]
            del self.flight[number]
            self.journal.states[number] = "doubt" if in_doubt else "done"
            self.chunker.done(number, in_doubt=in_doubt)
            self.check()

    def cut(self) -> None:
        """Cut the open chunk, as the reader does at its bound."""
        self.chunker.cut_open()
        self.check()

    def finish(self, chance: Random | None = None) -> None:
        """Read all rows, and go on until nothing can happen any more; chunks are sent and done in any order."""
        chance = chance or Random(0)
        while self._left:
            self.read(chance.randrange(1, 9))
        self.chunker.check_found()
        self.chunker.end()
        self.check()
        while self.chunker.cut or self.queue or self.flight:
            self.record()
            while self.send(chance.randrange(8)):
                pass
            assert self.flight or not self.queue, "chunks wait for each other"
            self.done(chance.randrange(8), in_doubt=chance.random() < 0.1)
        assert self.chunker.all_cut
        assert (self.chunker.held_rows, self.chunker.held_entries, self.chunker.held_bytes) == (0, 0, 0)
        good = [number for number in self.source if self.source[number] is not None]
        assert sorted(chain.from_iterable(self.journal.rows.values())) == sorted(good)

    # What has to be true after each of them

    def check(self) -> None:
        """Check what is in chunks, open and held."""
        self._check_cut()
        chunker, held = self.chunker, self.chunker.held_numbers
        good = [number for number in self._passed if self.source[number] is not None]
        chunks = {**self.journal.rows, **self.new}
        where = {number: chunk for chunk, rows in chunks.items() for number in rows}
        opened = {number: len(chunks) + 1 for number in chunker.open_numbers}
        waiting = {number: len(chunks) + 2 for number in held}
        assert not where.keys() & opened.keys()
        assert not (where.keys() | opened.keys()) & waiting.keys()
        assert set(good) <= where.keys() | opened.keys() | waiting.keys()
        assert len(held) == chunker.held_rows >= chunker.held_entries
        assert chunker.all_cut == (not held and not opened)
        self._check_order(where | opened | waiting)
        self._check_people(held)

    def _check_cut(self) -> None:
        """Chunks that were cut are within their limits, and are what their rows make of them."""
        for chunk in self.chunker.cut:
            if chunk.number not in self.new:
                self._check_shape(chunk)
                self.new[chunk.number] = list(chunk.kept.rows)
                assert content(chunk, self.memory) == plain_content(self.source, chunk.kept.rows)
                assert chunk.entries <= self.rules.limits.rows
                most = self.rules.limits.bytes if chunk.entries == 1 else self.rules.learned.most
                assert len(chunk.body.data) <= most

    def _check_shape(self, chunk: Chunk) -> None:
        """Holes are rows of the window that are in no chunk yet; merged rows are those after the first of an entry."""
        shape, entry_of = chunk.shape, list(chunk.kept.entry_of)
        before = chain.from_iterable({**self.journal.rows, **self.new}.values())
        assert not set(shape.holes) & {*before, *chunk.kept.rows}
        assert all(self._window < row < chunk.last for row in shape.holes)
        self._window = chunk.last
        merged = [at for at, entry in enumerate(entry_of) if entry in entry_of[:at]]
        assert (list(shape.merged), list(shape.into)) == (merged, [entry_of[at] for at in merged])

    def _check_order(self, where: Mapping[int, int]) -> None:
        """The rows of a person are in chunks, in the open chunk and held in their order."""
        newest: dict[str, int] = {}
        for number in sorted(where):
            key = key_of(self.source, number)
            assert newest.get(key, 0) <= where[number]
            newest[key] = where[number]

    def _check_people(self, held: Iterable[int]) -> None:
        """Nobody is in two chunks that may be in flight together, and nobody is held without reason."""
        chunker = self.chunker
        mine = [set(self._keys(self.new[number])) for number in self.new.keys() & chunker.unfinished]
        mine.append(set(self._keys(chunker.open_numbers)))
        before = chunker.unfinished - self.new.keys()
        old = set(chain.from_iterable(self._keys(self.journal.rows[number]) for number in before))
        taken = [*chain.from_iterable(mine), *old]
        assert len(taken) == len(set(taken)), "somebody is in two unfinished chunks"
        flying = list(chain.from_iterable(set(self._keys(chunk.kept.rows)) for chunk in self.flight.values()))
        assert len(flying) == len(set(flying)), "somebody is in flight twice"
        if self._replayed:
            reasons = {hash(key) & self._mask for key in taken}
            assert {hash(key) & self._mask for key in self._keys(held)} <= reasons, "somebody is held without reason"

    def _keys(self, numbers: Iterable[int]) -> Iterable[str]:
        return (key_of(self.source, number) for number in numbers)


def sent(run: Run, count: int) -> None:
    """Read rows, cut them into a chunk, write it down and send it."""
    run.read(count)
    run.cut()
    run.record()
    run.send()


def after_a_crash(source: Source, journal: Journal, **settings: Any) -> Run:
    """Go on with another process, which has read all rows."""
    run = Run(source, journal, **settings)
    run.read(len(source))
    return run


def shape(run: Run, number: int) -> tuple[int, int, list[int], list[int]]:
    """The window of a chunk, and how its rows differ from it."""
    chunk = run.journal.chunks[number - 1]
    return chunk.first, chunk.last, list(chunk.shape.holes), list(chunk.shape.extras)


def one_hash(*addresses: str, rows: int = 9, journal: Journal | None = None) -> Run:
    """A run in which all people have one hash."""
    people = PeopleTable(1, bits=0)
    return Run(source_of(*addresses), journal, rules=make_rules(rows), people=people, bits=0)
