"""Rows to chunks to the byte, and CSV text to records."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.chunks.chunker import (
    Body,
    Chunk,
    Chunker,
    Limits,
    SizeLimit,
)
from mjbulk.chunks.frame import Frame
from mjbulk.rows.block import Block, Given
from mjbulk.rows.contacts import encode, merge

LAW = settings(derandomize=True, deadline=None, max_examples=300)
FRAME = Frame(b"[", b", ", b"]]")
NAMES = ["ann@x.org", "ANN@x.org", "bob@x.org", "strasse@x.org", "straße@x.org", "eve@x.org", "u@x.org"]
VALUES = st.dictionaries(st.sampled_from("abc"), st.integers(0, 10**9), max_size=3)
ROWS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=40)


def entry(address: str, values: dict[str, Any]) -> bytes:
    return encode({"Email": address, **({"Properties": values} if values else {})})


def chunks_of(
    rows: list[tuple[str, dict[str, Any]]], limits: Limits, batches: list[int], before: Sequence[Chunk] = ()
) -> tuple[list[Chunk], Chunker]:
    """Feed rows in batches of the given sizes, round and round; with ``before``, cut as those were."""
    sizes = {chunk.number: len(chunk.rows) for chunk in before}
    chunker = Chunker(FRAME, limits, merge, SizeLimit(limits.bytes), sizes.get)
    chunks: list[Chunk] = []
    start = turn = 0
    while start < len(rows):
        some = rows[start : start + batches[turn % len(batches)]]
        block = Block.of(("email", "values"), some)
        numbers = range(start + 1, start + 1 + len(some))
        chunks += chunker.add(numbers, [a for a, _ in some], [entry(a, v) for a, v in some], block)
        start += len(some)
        turn += 1
    last = chunker.flush()
    return [*chunks, *([last] if last else [])], chunker


def entries(chunk: Chunk) -> list[bytes]:
    """What is sent of a chunk, one by one."""
    bodies = [chunk.body.part(slice(place, place + 1))[:] for place in range(chunk.entries)]
    return [body.removeprefix(FRAME.head).removesuffix(FRAME.tail) for body in bodies]


def content(chunk: Chunk) -> tuple[Any, ...]:
    """All of a chunk, however its rows came together."""
    kept = chunk.kept
    rows = list(zip(kept.rows, kept.entry_of, kept.given(), strict=True))
    return chunk.number, rows, list(zip(chunk.people, kept.addresses, entries(chunk), strict=True)), chunk.digest


LIMITS = st.builds(Limits, rows=st.integers(1, 12), bytes=st.integers(120, 400))
BATCHES = st.lists(st.integers(1, 9), min_size=1, max_size=4)


@LAW
@given(ROWS, LIMITS, BATCHES, LIMITS, BATCHES)
def test_rows_are_cut_again_as_they_were(
    rows: Any, limits: Limits, batches: list[int], limits_now: Limits, batches_now: list[int]
) -> None:
    """Under other limits and in other batches, the chunks that were cut before come out the same, and then go on."""
    chunks, _ = chunks_of(rows, limits, batches)
    known = chunks[: len(chunks) * 2 // 3]
    again, _ = chunks_of(rows, limits_now, batches_now, known)
    assert list(map(content, again[: len(known)])) == list(map(content, known))
    assert [row for chunk in again for row in chunk.rows] == list(range(1, len(rows) + 1))


@LAW
@given(ROWS.filter(bool), st.integers(1, 12), BATCHES, st.data())
def test_a_row_that_changed_shows_in_the_digest(rows: Any, most: int, batches: list[int], data: st.DataObject) -> None:
    """Also one whose values were all overwritten by a later row of the same person."""
    chunks, _ = chunks_of(rows, Limits(rows=most, bytes=400), batches)
    place = data.draw(st.integers(0, len(rows) - 1))
    address, values = rows[place]
    changed = [*rows[:place], (address, {**values, "a": -1}), *rows[place + 1 :]]
    again, _ = chunks_of(changed, Limits(rows=most, bytes=400), batches, chunks)
    differ = [old.number for old, new in zip(chunks, again, strict=True) if old.digest != new.digest]
    assert differ == [chunk.number for chunk in chunks if place + 1 in chunk.rows]


@LAW
@given(ROWS, st.integers(1, 12), st.integers(120, 400), BATCHES)
def test_every_row_is_in_one_chunk_in_its_order(rows: Any, most: int, size: int, batches: list[int]) -> None:
    """No row is lost, doubled or moved; no chunk is larger than it may be; nobody is twice in one; the last value
    wins."""
    chunks, _ = chunks_of(rows, Limits(rows=most, bytes=size), batches)
    assert [row for chunk in chunks for row in chunk.rows] == list(range(1, len(rows) + 1))
    assert [chunk.number for chunk in chunks] == list(range(1, len(chunks) + 1))
    for chunk in chunks:
        assert len(chunk.body.data) <= size
        assert chunk.body.data == FRAME.body(entries(chunk))
        assert chunk.entries <= most
        kept = chunk.kept
        assert list(chunk.people) == [hash(address.casefold()) for address in kept.addresses]
        assert len(set(chunk.people)) == chunk.entries
        assert chunk.span == range(chunk.rows[0], chunk.rows[-1] + 1)
        for place, encoded in enumerate(entries(chunk)):
            mine = [rows[row - 1] for row, at in zip(chunk.rows, kept.entry_of, strict=True) if at == place]
            values: dict[str, int] = {}
            for _, more in mine:
                values |= more
            assert orjson.loads(encoded).get("Properties", {}) == values
            assert len({address.lower() for address, _ in mine}) == 1
        assert list(kept.given()) == [Given(("email", "values"), rows[row - 1]) for row in chunk.rows]


@LAW
@given(ROWS, st.integers(1, 12), st.integers(120, 400), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_chunks_do_not_depend_on_how_rows_come(rows: Any, most: int, size: int, batches: list[int]) -> None:
    """The same rows make the same chunks, however the source groups them."""
    limits = Limits(rows=most, bytes=size)
    one, _ = chunks_of(rows, limits, batches)
    two, _ = chunks_of(rows, limits, [1])
    assert list(map(content, one)) == list(map(content, two))


def test_a_chunk_is_filled_to_the_last_byte() -> None:
    """One byte less and the row goes into the next chunk."""
    rows: list[tuple[str, dict[str, Any]]] = [(f"u{n}@x.org", {}) for n in range(3)]
    exact = len(FRAME.body([entry(address, values) for address, values in rows]))
    assert len(chunks_of(rows, Limits(rows=9, bytes=exact), [3])[0]) == 1
    assert len(chunks_of(rows, Limits(rows=9, bytes=exact - 1), [3])[0]) == 2


def test_a_row_is_too_large_only_for_what_was_set() -> None:
    """A size that was learned lets a large row go alone; the size that was set refuses it, with the size in the
    reason."""
    chunker = Chunker(FRAME, Limits(rows=9, bytes=200), merge, SizeLimit(50))
    large = encode({"Email": "a@x.org", "Name": "n" * 100})
    assert chunker.too_large(large) is None
    assert "200 bytes" in (chunker.too_large(b"x" * 199) or "")
    block = Block.of(("email",), [("a@x.org",), ("b@x.org",)])
    small = encode({"Email": "b@x.org"})
    (first,) = chunker.add([1, 2], ["a@x.org", "b@x.org"], [large, small], block)
    assert (list(first.rows), chunker.flush() is not None, chunker.flush()) == ([1], True, None)


def test_a_merged_row_that_grows_too_large_goes_into_the_next_chunk() -> None:
    """Two rows of one person that do not fit together are sent one after the other."""
    first, second = {"a": "x" * 80}, {"b": "y" * 80}
    chunks, _ = chunks_of([("a@x.org", first), ("a@x.org", second)], Limits(rows=9, bytes=180), [2])
    assert [list(chunk.rows) for chunk in chunks] == [[1], [2]]


MOST_HELD = 8 * 2**20


def held(*sizes: int, raw: bool = False, people: int = 10**9, before: Sequence[int] = ()) -> list[int]:
    """Rows of such sizes, of which little is sent, to the chunker in one batch: how many rows each chunk has."""
    rows = [(f"u{n % people}@x.org", "x" * size) for n, size in enumerate(sizes)]
    rows_of = dict(enumerate(before, start=1)).get if before else None
    chunker = Chunker(FRAME, Limits(rows=float("inf"), bytes=2**20), merge, SizeLimit(2**20), rows_of)
    block = Block.of(("email", "text"), rows, [text for _, text in rows] if raw else None)
    addresses = [address for address, _ in rows]
    chunks = chunker.add(range(1, len(rows) + 1), addresses, [entry(address, {}) for address in addresses], block)
    last = chunker.flush()
    return [len(chunk.rows) for chunk in [*chunks, *([last] if last else [])]]


@pytest.mark.parametrize("people", [1, 3, 10**9])
def test_rows_of_which_little_is_sent_do_not_fill_memory(people: int) -> None:
    """A chunk ends where its rows as they were given have 8 MiB: to the byte where they are text, about so where they
    are values; also where they are all of few people. A row that has more goes alone.
    """
    half = MOST_HELD // 2
    assert held(half, half, 1, half, half - 1, 1, raw=True, people=people) == [2, 3, 1]
    assert held(half, half + 1, raw=True, people=people) == [1, 1]
    assert held(1, 3 * half, 1, 1, raw=True, people=people) == [1, 1, 2]
    assert held(*[2**20] * 20, people=people) == [7, 7, 6]


def test_ordinary_rows_are_cut_by_what_is_sent() -> None:
    """Thousands of rows of some hundred bytes are one chunk."""
    assert held(*[300] * 20_000) == held(*[300] * 20_000, raw=True) == [20_000]


@pytest.mark.parametrize("people", [1, 10**9])
def test_wide_rows_are_cut_again_as_they_were(people: int) -> None:
    """What a chunk held when it was cut before it holds again, however much that is."""
    assert held(*[2**20] * 20, people=people, before=[19]) == [19, 1]


@LAW
@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=12), st.data())
def test_any_range_of_a_body_can_be_sent(encoded: list[bytes], data: st.DataObject) -> None:
    """A part of a body is what its entries alone would make."""
    first = data.draw(st.integers(0, len(encoded) - 1))
    end = data.draw(st.integers(first + 1, len(encoded)))
    assert Body.of(encoded, FRAME).part(slice(first, end)) == FRAME.body(encoded[first:end])
