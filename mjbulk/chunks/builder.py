"""One chunk while it is filled.

A chunk is a function of its set of rows: rows in the order of the source, entries in the order of their first rows,
rows of a person merged from the left. So the same rows give the same chunk whenever and in whatever order they came,
and a run that goes on cuts its chunks as they were.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from itertools import accumulate, chain, islice, repeat
from typing import Any, Self

from attrs import define, evolve, field, frozen

from mjbulk.chunks.chunk import Body, Chunk, ChunkRows, Limits, SizeLimit
from mjbulk.chunks.frame import Frame
from mjbulk.journal.shape import Shape
from mjbulk.rows.addresses import keys_of
from mjbulk.rows.block import Block

_MOST_ROWS = 100_000
"""Rows that one chunk may merge: many rows of few people must not make a chunk without end."""
_MOST_HELD = 8 * 2**20
"""Bytes that the rows of one chunk may have as they were given (columns that are not sent count too), to bound memory;
more where bodies may be large."""
_DIGEST = 16
"""Bytes of a digest."""


@frozen(kw_only=True)
class Rules:
    """What all chunks of a run have in common."""

    frame: Frame
    limits: Limits
    """Of what is cut now. A row alone may be as large as they say, whatever was learned."""
    merge: Callable[[bytes, bytes], bytes]
    """Makes one entry of an earlier and a later row."""
    learned: SizeLimit
    meaning: bytes = b""
    """Extra bytes for each digest: what an encoding leaves out."""
    digests: bool = True
    """Whether chunks have digests, which take time."""

    @property
    def most_held(self) -> int:
        """Bytes that the rows of one chunk may have as they were given."""
        return max(_MOST_HELD, 4 * self.limits.bytes)

    def too_large(self, encoded: bytes) -> str | None:
        """Say why a row cannot be in any chunk, or None."""
        if self.frame.size(1, len(encoded)) <= self.limits.bytes:
            return None
        return f"the row is larger than a chunk of {self.limits.bytes} bytes"


@frozen
class Batch:
    """Encoded rows that come together, column by column."""

    numbers: Sequence[int]
    keys: Sequence[str] = field(repr=False)
    hashes: Sequence[int] = field(repr=False)
    addresses: Sequence[str] = field(repr=False)
    spelled: bool
    """Whether an address is not its key."""
    encoded: Sequence[bytes] = field(repr=False)
    ends: Sequence[int] = field(repr=False)
    """Bytes of all rows before the first, the second, ... and of all."""
    weight: int
    """Bytes of a row as it was given, in the mean."""
    block: Block

    @classmethod
    def of(cls, numbers: Sequence[int], addresses: Sequence[str], encoded: Sequence[bytes], block: Block) -> Self:
        """Make a batch of rows whose addresses have no blanks around them."""
        keys = keys_of(addresses)
        ends = list(accumulate(map(len, encoded), initial=0))
        spelled = keys is not addresses
        return cls(numbers, keys, list(map(hash, keys)), addresses, spelled, encoded, ends, block.weight, block)

    def given(self, position: int) -> tuple[tuple[str, ...], Any]:
        """Give one row as it was given: its names, and what `Block.kept` gives."""
        return self.block.names, self.block.kept(slice(position, position + 1))


@define(eq=False)
class Held:
    """Rows of one person, merged, that wait for one chunk. Mutable: later rows join it."""

    key: str = field(repr=False)
    address: str = field(repr=False)
    encoded: bytes = field(repr=False)
    rows: "array[int]" = field(factory=lambda: array("Q"))
    """Their numbers, ascending."""
    given: "array[int]" = field(factory=lambda: array("Q"), repr=False)
    """Where each row lies as it was given."""
    digests: bytearray = field(factory=bytearray, repr=False)
    """The digests of the rows, one after the other, if chunks have digests."""

    def mergeable(self, address: str) -> bool:
        """Say whether a row may join: not if it is one person only to us, by casefolding, composing or IDNA."""
        return self.address.lower() == address.lower()


class Builder:
    """A chunk that is being filled. Mutable state: all of it, until it is cut; then a new one takes its place."""

    def __init__(self, number: int, rules: Rules) -> None:
        """Begin with nothing."""
        self.number = number
        self.overtaken: set[int] = set()
        """Chunks in doubt with earlier rows of people in this one."""
        self._rules = rules
        self._rows = array("Q")
        self._taken = 0  # rows, those included that are not noted yet
        self._merged: dict[int, int] = {}
        self._blocks: list[tuple[tuple[str, ...], int, Any]] = []
        self._keys: list[str] = []  # of each entry
        self._people = array("q")  # the hash of each
        self._entries: dict[str, int] = {}  # by key; those that were looked for
        self._spelled: dict[int, str] = {}  # addresses that are not their keys
        self._encoded: list[bytes] = []
        self.bytes = 0
        """Bytes of its entries, without what stands around them."""
        self._weight = 0
        self._digest = blake2b(rules.meaning, digest_size=_DIGEST)
        self._extras: dict[int, Held] = {}  # by the position of the entry
        self._extra_digests = bytearray()

    def __len__(self) -> int:
        """Give how many entries it has."""
        return len(self._encoded)

    @property
    def size(self) -> int:
        """How many rows it has."""
        return len(self._rows) + sum(len(held.rows) for held in self._extras.values())

    @property
    def rows(self) -> list[int]:
        """The numbers of its rows, ascending."""
        return sorted([*self._rows, *self.extra_rows])

    def entry(self, key: str) -> int:
        """Give the position of a person's entry, or -1."""
        return self._by_key().get(key, -1)

    def has(self, key: str) -> bool:
        """Say whether a person is in it."""
        return key in self._by_key()

    def has_any(self, keys: Iterable[str]) -> bool:
        """Say whether one of some people is in it."""
        return not self._by_key().keys().isdisjoint(keys)

    def _by_key(self) -> dict[str, int]:
        """Give the position of each entry by its key. Most chunks are cut before anybody looks."""
        known, keys = len(self._entries), len(self._keys)
        if known < keys:
            self._entries.update(zip(islice(self._keys, known, None), range(known, keys), strict=True))
        return self._entries

    def room(self, batch: Batch, at: int) -> int:
        """Say how many of these rows fit if all of them are new people; into an empty chunk at least one does."""
        rules, entries, ends = self._rules, len(self._encoded), batch.ends
        between = len(rules.frame.between)
        left = rules.learned.next - rules.frame.size(entries, self.bytes) + (0 if entries else between)
        held = (rules.most_held - self._weight) // batch.weight
        most = max(int(min(rules.limits.rows - entries, held, len(batch.keys) - at)), 0)
        fit = bisect_right(range(most), left, key=lambda row: ends[at + row + 1] - ends[at] + (row + 1) * between)
        return fit or (0 if entries else 1)

    def has_room(self, held: Held) -> bool:
        """Say whether held rows fit. Into an empty chunk they do."""
        entries = len(self._encoded)
        if not entries:
            return True
        size = self._rules.frame.size(entries + 1, self.bytes + len(held.encoded))
        return entries < self._rules.limits.rows and size <= self._rules.learned.next

    def take(self, batch: Batch, start: int, stop: int) -> None:
        """Take rows of people who are not in it. `note` them before it is cut."""
        entries = len(self._encoded)
        self._keys += batch.keys[start:stop]
        self._people.extend(batch.hashes[start:stop])
        if batch.spelled:
            spelled = zip(batch.keys[start:stop], batch.addresses[start:stop], strict=True)
            self._spelled.update((entries + n, new) for n, (key, new) in enumerate(spelled) if key != new)
        self._encoded.extend(batch.encoded[start:stop])
        self.bytes += batch.ends[stop] - batch.ends[start]
        self._weight += batch.weight * (stop - start)
        self._taken += stop - start

    def merge(self, entry: int, batch: Batch, at: int, *, bounded: bool = True) -> bool:
        """Take a row of somebody who is in it. Gives False, and takes nothing, where the two cannot be one entry.

        With ``bounded``, the chunk must not grow too large. `note` the row before it is cut.
        """
        address = self._spelled.get(entry, batch.keys[at])
        if address.lower() != batch.addresses[at].lower():
            return False
        merged = self._rules.merge(self._encoded[entry], batch.encoded[at])
        grown = self.bytes + len(merged) - len(self._encoded[entry])
        weight = self._weight + batch.weight
        if bounded and not self._may_have(grown, weight):
            return False
        self._encoded[entry] = merged
        self._merged[self._taken] = entry
        self.bytes = grown
        self._weight = weight
        self._taken += 1
        return True

    def take_spelled(self, batch: Batch, at: int) -> bool:
        """Take a row of somebody who is in it under another spelling. Gives False, and takes nothing, where only case
        makes the difference.

        Earlier versions took address and domain in other forms of Unicode for other people: each had an entry.
        """
        spelling = batch.addresses[at].casefold()
        apart = f"{batch.keys[at]}\n{spelling}"
        entries = self._by_key()
        if apart in entries:
            return self.merge(entries[apart], batch, at, bounded=False)
        entry = entries[batch.keys[at]]
        if self._spelled.get(entry, batch.keys[at]).casefold() == spelling:
            return False
        keys = [*batch.keys[:at], apart, *batch.keys[at + 1 :]]
        self.take(evolve(batch, keys=keys, hashes=list(map(hash, keys)), spelled=True), at, at + 1)
        return True

    def note(self, batch: Batch, start: int, stop: int, *, extra: bool = False) -> None:
        """Note rows that were taken, with their encodings before they were merged. Each row comes by here once.

        ``extra`` says that they were held when the chunk was cut before.
        """
        if start == stop:
            return
        self._rows.extend(batch.numbers[start:stop])
        self._blocks.append((batch.block.names, stop - start, batch.block.kept(slice(start, stop))))
        if not self._rules.digests:
            return
        if extra:
            self._extra_digests += b"".join(map(digest_of, batch.encoded[start:stop]))
        else:
            self._digest.update(b"".join(batch.encoded[start:stop]))

    def join(self, held: Held) -> None:
        """Take held rows of a person who is not in it: they are free now."""
        entry = len(self._encoded)
        self._keys.append(held.key)
        self._people.append(hash(held.key))
        if held.key != held.address:
            self._spelled[entry] = held.address
        self._encoded.append(held.encoded)
        self.bytes += len(held.encoded)
        self._extras[entry] = held

    def _may_have(self, size: int, weight: int) -> bool:
        """Say whether its entries and its rows as they were given may have this many bytes."""
        rules, entries = self._rules, len(self._encoded)
        most = rules.limits.bytes if entries == 1 else rules.learned.next
        few = self._taken < _MOST_ROWS and weight <= rules.most_held
        return few and rules.frame.size(entries, size) <= most

    # Cutting it

    @property
    def last_fresh(self) -> int:
        """Its last fresh row; 0 where it has none."""
        return self._rows[-1] if self._rows else 0

    @property
    def extra_rows(self) -> list[int]:
        """Its rows that were held before, ascending."""
        return sorted(chain.from_iterable(held.rows for held in self._extras.values()))

    def cut(self, before: int, holes: Sequence[int]) -> Chunk:
        """Give the chunk. ``before`` is the last fresh row of the chunks before it, ``holes`` are the rows of its
        window that are held now.
        """
        rows, entries, order = self._arranged() if self._extras else (self._rows, None, None)
        extras = self.extra_rows
        merged, into = _merges(entries) if entries is not None else (self._merged.keys(), self._merged.values())
        addresses = self._addresses()
        people = self._people
        return Chunk(
            number=self.number,
            first=self._rows[0] if self._rows else before + 1,
            last=self.last_fresh or before,
            kept=self._kept(rows, entries, addresses if order is None else [addresses[entry] for entry in order]),
            people=people if order is None else array("q", (people[entry] for entry in order)),
            body=self._body(order),
            shape=Shape(holes, extras, array("Q", merged), array("Q", into)),
            superseded=self._superseded(rows, entries),
            digest=self._digested(self._rows, extras),
            overtaken=frozenset(self.overtaken),
            weight=self._weight,
        )

    def cut_again(self, first: int, last: int, shape: Shape) -> Chunk:
        """Give the chunk again that an earlier process has cut, whose rows came in the order of the source."""
        extras = set(shape.extras)
        fresh = array("Q", (row for row in self._rows if row not in extras)) if extras else self._rows
        return Chunk(
            number=self.number,
            first=first,
            last=last,
            kept=self._kept(self._rows, None, self._addresses()),
            people=self._people,
            body=self._body(None),
            shape=shape,
            superseded=self._superseded(self._rows, None),
            digest=self._digested(fresh, shape.extras),
            weight=self._weight,
        )

    def _arranged(self) -> tuple["array[int]", "array[int]", list[int]]:
        """Give the rows in the order of the source, the entry of each, and the entries in the order of first rows.

        Entries are renumbered in that order.
        """
        begun = (entry for entry in range(len(self._encoded)) if entry not in self._extras)
        of_fresh = array(
            "I", (self._merged[at] if at in self._merged else next(begun) for at in range(len(self._rows)))
        )
        of_held = (zip(held.rows, repeat(entry)) for entry, held in self._extras.items())
        pairs = sorted(chain(zip(self._rows, of_fresh, strict=True), *of_held))
        ranks: dict[int, int] = {}
        rows, entries = array("Q"), array("I")
        for row, entry in pairs:
            rows.append(row)
            entries.append(ranks.setdefault(entry, len(ranks)))
        return rows, entries, list(ranks)

    def _kept(self, rows: "array[int]", entries: "array[int] | None", addresses: Sequence[str]) -> ChunkRows:
        lines = "\n".join(addresses)
        if entries is None:
            return ChunkRows(self._rows, self._merged, self._blocks, lines)
        held = {row: where for held in self._extras.values() for row, where in zip(held.rows, held.given, strict=True)}
        return ChunkRows(rows, {}, self._blocks, lines, entries, held)

    def _body(self, order: Sequence[int] | None) -> Body:
        encoded = self._encoded if order is None else [self._encoded[entry] for entry in order]
        return Body.of(encoded, self._rules.frame)

    def _addresses(self) -> list[str]:
        addresses = list(self._keys)
        for entry, address in self._spelled.items():
            addresses[entry] = address
        return addresses

    def _superseded(self, rows: "array[int]", entries: "array[int] | None") -> "array[int]":
        """Give the rows that a later row of their entry has joined."""
        if entries is None and not self._merged:
            return array("Q")
        entry_of = ChunkRows(rows, self._merged, (), "").entry_of if entries is None else entries
        last = dict(zip(entry_of, rows, strict=True))
        return array("Q", (row for row, entry in zip(rows, entry_of, strict=True) if last[entry] != row))

    def _digested(self, fresh: "array[int]", extras: Sequence[int]) -> str:
        if not self._rules.digests:
            return ""
        self._digest.update(fresh)
        if extras:
            self._digest.update(self._digests_of_extras())
            self._digest.update(array("Q", extras))
        return self._digest.hexdigest()

    def _digests_of_extras(self) -> bytes:
        """Give the digests of rows that were held, in the order of the source."""
        if not self._extras:  # they came in that order
            return bytes(self._extra_digests)
        by_row = sorted(
            (row, bytes(held.digests[at * _DIGEST : (at + 1) * _DIGEST]))
            for held in self._extras.values()
            for at, row in enumerate(held.rows)
        )
        return b"".join(digest for _, digest in by_row)


def digest_of(encoded: bytes) -> bytes:
    """Give the digest of one encoded row."""
    return blake2b(encoded, digest_size=_DIGEST).digest()


def _merges(entries: Sequence[int]) -> tuple["array[int]", "array[int]"]:
    """Give the positions of rows whose entry an earlier row has begun, and the entry of each."""
    merged, into, begun = array("Q"), array("Q"), -1
    for position, entry in enumerate(entries):
        if entry <= begun:
            merged.append(position)
            into.append(entry)
        begun = max(begun, entry)
    return merged, into
