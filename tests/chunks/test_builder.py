"""One chunk while it is filled: a function of its set of rows."""

from random import Random

import pytest
from chunk_run import FRAME, Memory, Row, content, encoded, make_rules, plain_content
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.chunks.builder import Batch, Builder, Held, digest_of
from mjbulk.journal.shape import decode_shape, encode_shape
from mjbulk.rows.block import Block
from mjbulk.rows.contacts import merge

LAW = settings(derandomize=True, deadline=None, max_examples=200)
NAMES = ["ann@x.org", "ANN@x.org", "bob@x.org", "strasse@x.org", "STRASSE@X.ORG", "eve@x.org", "u@x.org"]
ROWS = st.lists(st.tuples(st.sampled_from(NAMES), st.dictionaries(st.sampled_from("abc"), st.integers(0, 99))))


def batch_of(rows: list[Row], first: int = 1) -> Batch:
    block = Block.of(("email", "values"), rows)
    addresses = [address for address, _ in rows]
    return Batch.of(range(first, first + len(rows)), addresses, list(map(encoded, rows)), block)


def take(builder: Builder, batch: Batch, at: int, *, extra: bool = False) -> None:
    """Take one row, whatever its person."""
    entry = builder.entry(batch.keys[at])
    if entry < 0:
        builder.take(batch, at, at + 1)
    else:
        assert builder.merge(entry, batch, at, bounded=False)
    builder.note(batch, at, at + 1, extra=extra)


def hold(rows: dict[int, Row], memory: Memory) -> Held:
    """Rows of one person as they are held, merged from the left."""
    numbers = sorted(rows)
    batch = batch_of([rows[number] for number in numbers])
    held = Held(batch.keys[0], batch.addresses[0], batch.encoded[0])
    for at, number in enumerate(numbers):
        held.encoded = merge(held.encoded, batch.encoded[at]) if at else batch.encoded[0]
        held.rows.append(number)
        held.given.append(memory.add(batch.given(at)))
        held.digests += digest_of(batch.encoded[at])
    return held


@pytest.mark.unmeasured
@LAW
@given(ROWS.filter(bool), st.sets(st.sampled_from(NAMES)), st.integers(0, 2**32))
def test_the_same_rows_are_the_same_chunk(rows: list[Row], held: set[str], seed: int) -> None:
    """Some people were held and joined at any time, in any order: the chunk is the one that its rows alone make, and it
    is the same when all of its rows come again in the order of the source.
    """
    chance, memory, digests = Random(seed), Memory(), seed % 4 > 0
    rules = make_rules(99, 10**6, digests=digests)
    keys = {address.casefold() for address in held}
    first = Builder(7, rules)
    later: dict[str, dict[int, Row]] = {}
    for number, row in enumerate(rows, start=1):
        key = row[0].casefold()
        if key in keys and not first.has(key):
            later.setdefault(key, {})[number] = row
            if chance.random() < 0.3:
                first.join(hold(later.pop(key), memory))
        else:
            take(first, batch_of([row], number), 0)
    waiting = list(later.values())
    chance.shuffle(waiting)
    for some in waiting:
        first.join(hold(some, memory))
    cut = first.cut(0, [])

    again = Builder(7, rules)
    shape = decode_shape(encode_shape(cut.shape))
    batch = batch_of(rows)
    for at in range(len(rows)):
        take(again, batch, at, extra=at + 1 in set(shape.extras))
    found = again.cut_again(cut.first, cut.last, shape)

    plain = plain_content(dict(enumerate(rows, start=1)), range(1, len(rows) + 1))
    assert content(cut, memory) == content(found, memory) == plain
    assert (found.digest, found.span) == (cut.digest, cut.span)
    assert bool(cut.digest) == digests
    entry_of = list(cut.kept.entry_of)
    merged = [at for at, entry in enumerate(entry_of) if entry in entry_of[:at]]
    assert (list(shape.merged), list(shape.into)) == (merged, [entry_of[at] for at in merged])


@pytest.mark.unmeasured
@LAW
@given(ROWS.filter(bool), st.sets(st.sampled_from(NAMES)), st.data())
def test_a_row_that_changed_shows_in_the_digest(rows: list[Row], held: set[str], data: st.DataObject) -> None:
    """Also one whose values were all overwritten by a later row of the same person, and one that was held; and a row
    with another number, or one that was not held.
    """
    extras = {number for number, (address, _) in enumerate(rows, start=1) if address in held}
    changed = data.draw(st.integers(0, len(rows) - 1))
    address, values = rows[changed]
    others = [*rows[:changed], (address, {**values, "a": -1}), *rows[changed + 1 :]]
    digest = digest_again(rows, extras)
    assert digest == digest_again(rows, extras)
    assert digest != digest_again(others, extras)
    assert digest != digest_again(rows, extras, first=2)
    assert digest != digest_again(rows, extras ^ {changed + 1})


def digest_again(rows: list[Row], extras: set[int], first: int = 1) -> str:
    """The digest of rows of which some were held."""
    builder, batch = Builder(7, make_rules(99, 10**6)), batch_of(rows, first)
    for at in range(len(rows)):
        take(builder, batch, at, extra=at + 1 in extras)
    shape = builder.cut(0, []).shape
    numbers = [number + first - 1 for number in sorted(extras)]
    again = Builder(7, make_rules(99, 10**6))
    for at in range(len(rows)):
        take(again, batch, at, extra=at + 1 in extras)
    return again.cut_again(first, 99, type(shape)(extras=numbers)).digest


@pytest.mark.unmeasured
@LAW
@given(ROWS, ROWS.filter(bool), st.integers(1, 9), st.integers(100, 400), st.data())
def test_rows_that_fit_are_counted_to_the_byte(
    before: list[Row], rows: list[Row], most: int, size: int, data: st.DataObject
) -> None:
    """As many rows have room as the body and the number of entries allow, were all of them new people."""
    rules = make_rules(most, size)
    builder = Builder(1, rules)
    bodies = list[bytes]()
    for number, (_, values) in enumerate(before):
        row = (f"b{number}@x.org", values)
        if rules.frame.size(len(bodies) + 1, sum(map(len, [*bodies, encoded(row)]))) <= size and len(bodies) < most:
            take(builder, batch_of([row]), 0)
            bodies.append(encoded(row))
    batch, at = batch_of(rows), data.draw(st.integers(0, len(rows) - 1))
    fit = 0
    while at + fit < len(rows) and len(bodies) + fit < most:
        if len(FRAME.body([*bodies, *batch.encoded[at : at + fit + 1]])) > size:
            break
        fit += 1
    assert builder.room(batch, at) == (fit or (0 if bodies else 1))
    held = hold({1: rows[at]}, Memory())
    assert builder.has_room(held) == (not bodies or fit > 0)


def test_two_rows_that_only_casefolding_makes_one_are_two() -> None:
    """Rows are merged whatever case their addresses have, but not where only casefolding makes one of two."""
    batch = batch_of([("STRASSE@x.org", {}), ("strasse@X.ORG", {"a": 1}), ("straße@x.org", {}), ("eve@x.org", {})])
    builder = Builder(1, make_rules())
    take(builder, batch, 0)
    assert (builder.entry("strasse@x.org"), builder.has("eve@x.org")) == (0, False)
    assert builder.merge(0, batch, 1)
    assert not builder.merge(0, batch, 2)
    builder.note(batch, 1, 2)
    assert (len(builder), builder.rows, builder.last_fresh) == (1, [1, 2], 2)
    assert builder.cut(0, []).kept.addresses == ["STRASSE@x.org"]
    held = hold({2: ("STRASSE@x.org", {})}, Memory())
    assert held.mergeable("strasse@x.org")
    assert not held.mergeable("straße@x.org")


def test_held_rows_keep_their_spelling() -> None:
    """An entry that joins has the address of its first row; a row that is merged into it is held against that."""
    builder = Builder(1, make_rules())
    builder.join(hold({1: ("STRASSE@x.org", {})}, Memory()))
    batch = batch_of([("straße@x.org", {}), ("Strasse@x.org", {})], 2)
    assert not builder.merge(0, batch, 0)
    assert builder.merge(0, batch, 1)
    builder.note(batch, 1, 2)
    assert builder.cut(0, []).kept.addresses == ["STRASSE@x.org"]


def test_a_chunk_of_held_rows_alone_has_an_empty_window() -> None:
    """Its window ends where that of the chunks before it ends, and begins after that."""
    builder = Builder(3, make_rules())
    builder.join(hold({4: ("p@x.org", {}), 6: ("p@x.org", {})}, Memory()))
    assert (builder.rows, builder.last_fresh) == ([4, 6], 0)
    chunk = builder.cut(9, [])
    assert (chunk.first, chunk.last, chunk.span, list(chunk.shape.extras)) == (10, 9, range(4, 7), [4, 6])


def test_a_held_entry_needs_room() -> None:
    """An entry joins where its bytes fit with those that are there; into an empty chunk any one goes."""
    large = hold({1: ("p@x.org", {"a": "x" * 300})}, Memory())
    rules = make_rules(2, 300, learned=200)
    builder = Builder(1, rules)
    assert builder.has_room(large)
    builder.join(large)
    assert not builder.has_room(hold({2: ("q@x.org", {})}, Memory()))
    small = Builder(1, rules)
    for number, name in enumerate(("a@x.org", "b@x.org"), start=1):
        assert small.has_room(hold({number: (name, {})}, Memory()))
        small.join(hold({number: (name, {})}, Memory()))
    assert not small.has_room(hold({3: ("c@x.org", {})}, Memory()))


@pytest.mark.parametrize("what", [Held("ann", "Ann", b"{}"), batch_of([("ann@x.org", {"a": "secret"})])])
def test_nobody_is_named_where_rows_are_printed(what: Held | Batch) -> None:
    """Addresses and values are in no repr."""
    assert not any(word in repr(what).casefold() for word in ("ann", "secret", "{}"))
