"""Rows to chunks: which chunk a row goes into, and which rows have to wait.

Nobody is in two unfinished chunks, and rows of one person are applied in the order of the source. So a row whose person
is in flight is *held*, and everything around it goes on:

====================================  ================================================================================
where the person of a new row is      what becomes of the row
====================================  ================================================================================
has held rows                         it is merged into the last of them; where that cannot be, it waits behind them
in the open chunk                     it is merged there; where that cannot be, the open chunk is cut, and it is held
in an unfinished chunk                it is held until that chunk is done
nowhere, or in chunks in doubt alone  it goes into the open chunk, which is cut first if the row does not fit
====================================  ================================================================================

The *open chunk* is the one that is being filled. A chunk is *unfinished* from its cut until it is *done*: each of its
parts is settled, or is left in doubt (nobody sends or watches more of it). When it is done, the rows that waited for it
join the open chunk at once, and later rows of the person are merged there.

Whatever held rows wait for ends by itself: it is a chunk that was cut, and leaves without waiting for anything that is
held; or it is the open chunk, which is cut when nothing is in flight. Held rows take no place among unfinished jobs.

The chunks that were cut stand in one queue, in the order of their numbers. Nothing here does I/O.
"""

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, Protocol

from mjbulk.chunks.builder import Batch, Builder, Held, Rules, digest_of
from mjbulk.chunks.chunk import Chunk
from mjbulk.chunks.people import PeopleInFlight
from mjbulk.chunks.people_table import PeopleTable
from mjbulk.chunks.replay import Recorded, Replay, SourceChanged
from mjbulk.rows.block import Block

REPLAY = -1
"""The chunk that rows wait for that an earlier process did not send, while its chunks are found again."""
_ENTRY, _ROW = 450, 32
"""About how many bytes of memory held rows take beside their encoding: each person, and each row."""


class Store(Protocol):
    """Where held rows lie as they were given."""

    def add(self, value: Any) -> int:
        """Take one, and give where it lies."""


class Chunker:
    """Puts rows into chunks. Mutable state, all of it: the open chunk, who is in flight, what is held and what it waits
    for, the queue of chunks that were cut, and whether the source has ended.
    """

    def __init__(
        self,
        rules: Rules,
        store: Store,
        recorded: Sequence[Recorded] = (),
        people: PeopleInFlight | PeopleTable | None = None,
        numbers: Iterator[int] | None = None,
    ) -> None:
        """Begin with the first row of the source. ``recorded`` are the chunks of an earlier process, by their numbers:
        no chunk is cut before all of them are found again. ``people`` is another table. ``numbers`` are those
        of chunks, where several chunkers share them.
        """
        self.found: deque[Chunk] = deque()
        """Recorded chunks that were found unchanged; the pipeline takes them from the left."""
        self.cut: deque[Chunk] = deque()
        """Chunks that were cut; the pipeline takes them from the left."""
        self.held_rows = 0
        """How many rows are held."""
        self.held_entries = 0
        """How many entries they make."""
        self.held_bytes = 0
        """About how many bytes of memory they take."""
        self.people = people or PeopleInFlight()
        self.unfinished: set[int] = set()
        """Numbers of chunks that were cut and are not done."""
        self._rules = rules
        self._store = store
        self._replay = Replay(recorded, rules) if recorded else None
        self._segments: Sequence[
            tuple[int, int, int]
        ] = ()  # of the rows that have arrived last, while there is a replay
        self._last = max((chunk.last for chunk in recorded), default=0)
        self._held: dict[str, list[Held]] = {}
        self._waiting: dict[int, list[Held]] = {}  # by the chunk that they wait for, by their first rows
        self._held_since = array("Q")  # rows after the last window that were held
        self._freed_since = array("Q")  # those of them that are in chunks by now
        self._ended = False
        self._numbers = numbers or count(len(recorded) + 1)
        self._begin()

    def _begin(self) -> None:
        """Begin a chunk."""
        self._open = Builder(next(self._numbers), self._rules)
        self.people.begin(self._open.number)

    @property
    def held_numbers(self) -> list[int]:
        """The numbers of rows that are held, ascending."""
        return sorted(row for some in self._held.values() for held in some for row in held.rows)

    @property
    def open_numbers(self) -> list[int]:
        """The numbers of rows in the open chunk, ascending."""
        return self._open.rows

    @property
    def open_rows(self) -> int:
        """How many rows are in the open chunk."""
        return self._open.size

    @property
    def all_cut(self) -> bool:
        """Whether every row that was taken is in a chunk that was cut."""
        return not len(self._open) and not self._held

    def add(self, numbers: Sequence[int], addresses: Sequence[str], encoded: Sequence[bytes], block: Block) -> None:
        """Take rows, none of them too large for a chunk. Addresses have no blanks around them.

        Raises SourceChanged if they do not fit the recorded chunks.
        """
        batch = Batch.of(numbers, addresses, encoded, block)
        if self._replay is None:
            self._take(batch)
        else:
            self._take_again(batch, self._replay)

    def _take(self, batch: Batch) -> None:
        """Take rows into the open chunk, and hold those whose person is in flight."""
        at, stop = 0, len(batch.keys)
        while at < stop:
            room = self._open.room(batch, at)
            if room or self._is_in_open(batch, at):
                at = self._fill(batch, at, min(at + max(room, 1), stop))
            else:
                self.cut_open()

    def _is_in_open(self, batch: Batch, at: int) -> bool:
        number = self._open.number
        return self.people.holder(batch.hashes[at], 0) == number and self._open.has(batch.keys[at])

    def _fill(self, batch: Batch, at: int, stop: int) -> int:
        """Take rows that fit into the open chunk if all are new people, and give up to where they were taken.

        That is before ``stop`` where the open chunk was cut, or an entry grew more than a new one would have.
        """
        opened, begun, grown = self._open, at, self._open.bytes - batch.ends[at]
        while at < stop and opened is self._open and opened.bytes - batch.ends[at] <= grown:
            found, holder = self.people.enter(batch.hashes, at, stop, opened.number, opened.overtaken)
            if found > at:
                opened.take(batch, at, found)
                at = found
            if at < stop:
                if blocker := self._take_known(batch, at, holder):
                    opened.note(batch, begun, at)
                    begun = at + 1
                    self._hold_known(batch, at, blocker)
                at += 1
        opened.note(batch, begun, at)
        return at

    def _take_known(self, batch: Batch, at: int, holder: int) -> int:
        """Take a row of somebody who is in flight, or has the hash of somebody who is, into the open chunk; or give the
        chunk that it has to wait for.
        """
        key = batch.keys[at]
        if key in self._held:
            return holder
        if (entry := self._open.entry(key)) >= 0:
            return 0 if self._open.merge(entry, batch, at) else self._open.number
        if holder == self._open.number:
            self._open.take(batch, at, at + 1)  # two people with one hash
            return 0
        return holder

    def _hold_known(self, batch: Batch, at: int, blocker: int) -> None:
        """Hold a row; where it waits for the open chunk, and nothing of its person is held, cut that."""
        if blocker == self._open.number and batch.keys[at] not in self._held:
            self.cut_open()
        self.hold(batch, at, blocker)

    # Finding chunks again

    @property
    def replaying(self) -> bool:
        """Whether recorded chunks are still to be found again."""
        return self._replay is not None

    def arrive(self, first: int, last: int) -> None:
        """Hear that these rows of the source come next, good ones and others."""
        if self._replay is not None:
            self._segments = self._replay.routes.segments(first, last)

    def is_new(self, row: int) -> bool:
        """Say whether a row that has arrived belongs to no recorded chunk."""
        return self._replay is None or not self._chunk_of(row)

    def passed(self, row: int) -> None:
        """Hear that rows up to this one have been taken. Raises SourceChanged if a recorded chunk has changed."""
        if self._replay is None:
            return
        self.found.extend(self._replay.whole(row))
        if self._replay.over:
            self._replay = None

    def check_found(self) -> None:
        """Hear that the source has no more rows. Raises SourceChanged if recorded chunks were not found again."""
        if self._replay is not None:
            raise self._replay.missing()

    def _chunk_of(self, row: int) -> int:
        segment = self._segments[bisect_right(self._segments, row, key=lambda segment: segment[0]) - 1]
        return segment[2]

    def _take_again(self, batch: Batch, replay: Replay) -> None:
        """Give rows to their recorded chunks; hold those that are new."""
        at = 0
        for _, last, chunk in self._segments:
            stop = bisect_right(batch.numbers, last)
            if stop <= at:
                continue
            if chunk:
                if self._overtakes(batch, at, stop):
                    raise SourceChanged(*replay.span(abs(chunk)))
                replay.take(abs(chunk), batch, at, stop, extra=chunk < 0)
            else:
                for position in range(at, stop):
                    self.hold(batch, position, REPLAY)
            at = stop

    def _overtakes(self, batch: Batch, start: int, stop: int) -> bool:
        """Say whether one of some rows would go out before an earlier row of its person, which is held.

        Earlier versions took address and domain in other forms of Unicode for other people.
        """
        if self._held.keys().isdisjoint(batch.keys[start:stop]):
            return False
        return any(
            held.address.casefold() == batch.addresses[at].casefold()
            for at in range(start, stop)
            for held in self._held.get(batch.keys[at], ())
        )

    # Holding rows

    def hold(self, batch: Batch, at: int, blocker: int) -> None:
        """Hold a row: behind held rows of its person, or until a chunk is done."""
        address, encoded = batch.addresses[at], batch.encoded[at]
        some = self._held.setdefault(batch.keys[at], [])
        merged = self._merged(some[-1], address, encoded) if some else None
        if merged is None:
            some.append(Held(batch.keys[at], address, encoded))
            self.held_entries += 1
            self.held_bytes += _ENTRY + len(encoded)
            if len(some) == 1:
                self._waiting.setdefault(blocker, []).append(some[0])
        else:
            self.held_bytes += len(merged) - len(some[-1].encoded)
            some[-1].encoded = merged
        self._note(some[-1], batch, at)

    def _note(self, held: Held, batch: Batch, at: int) -> None:
        """Note a row that was held."""
        held.rows.append(batch.numbers[at])
        held.given.append(self._store.add(batch.given(at)))
        if self._rules.digests:
            held.digests += digest_of(batch.encoded[at])
        self._held_since.append(batch.numbers[at])
        self.held_rows += 1
        self.held_bytes += _ROW

    def _merged(self, held: Held, address: str, encoded: bytes) -> bytes | None:
        """Merge a row into held ones; None where the two cannot be one entry."""
        if not held.mergeable(address):
            return None
        merged = bytes(memoryview(self._rules.merge(held.encoded, encoded)))  # what orjson gives takes 4 KiB each
        return None if self._rules.too_large(merged) else merged

    def done(self, number: int, *, in_doubt: bool = False) -> None:
        """Let the rows go that wait for a chunk: it is settled, or left ``in_doubt``."""
        self.unfinished.discard(number)
        self.people.finish(number, in_doubt=in_doubt)
        self.free(number)

    def free(self, number: int) -> None:
        """Have the rows join the open chunk that wait for a chunk."""
        for held in sorted(self._waiting.pop(number, ()), key=lambda held: held.rows[0]):
            self._free(held)
        self._cut_at_the_end()

    def _free(self, held: Held) -> None:
        """Put held rows into the open chunk, unless another chunk has somebody with the same hash."""
        if not self._open.has_room(held):
            self.cut_open()
        who = hash(held.key)
        if holder := self.people.holder(who, self._open.number):
            self._waiting.setdefault(holder, []).append(held)
            return
        self.people.claim(who, self._open.number, self._open.overtaken)
        self._open.join(held)
        self.held_entries -= 1
        self.held_rows -= len(held.rows)
        self.held_bytes -= _ENTRY + _ROW * len(held.rows) + len(held.encoded)
        some = self._held[held.key]
        some.pop(0)
        if some:
            self._waiting.setdefault(self._open.number, []).append(some[0])
        else:
            del self._held[held.key]

    def forget(self, number: int) -> None:
        """Forget a chunk in doubt: that it was overtaken is written down."""
        self.people.finish(number)

    # Cutting chunks

    def cut_open(self) -> None:
        """Cut the open chunk, and begin the next one. One without rows stays as it is."""
        if not len(self._open):
            return
        number = self._open.number
        chunk = self._open.cut(self._last, self._holes(self._open.last_fresh))
        self._last = chunk.last
        self.unfinished.add(number)
        self.cut.append(chunk)
        self._begin()

    def _holes(self, window: int) -> list[int]:
        """Give the rows that are held in the window of the open chunk, which ends here."""
        self._freed_since.extend(row for row in self._open.extra_rows if row > self._last)
        if not window or not self._held_since:
            return []
        freed = set(self._freed_since)
        held = [row for row in self._held_since if row > self._last and row not in freed]
        self._held_since = array("Q", (row for row in held if row > window))
        self._freed_since = array("Q")
        return [row for row in held if row < window]

    def end(self) -> None:
        """Hear that the source has ended: from now on the open chunk does not wait until it is full."""
        self._ended = True
        self.cut_open()

    def _cut_at_the_end(self) -> None:
        """After the end of the source, cut when the open chunk has an eighth as many entries as are still held."""
        if self._ended and (len(self._open) * 8 >= self.held_entries or not self.unfinished):
            self.cut_open()
