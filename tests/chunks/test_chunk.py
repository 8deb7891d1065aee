"""How large chunks are, what their bodies are, and how their rows are given back."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from chunk_run import FRAME, Memory, Run, content, encoded, feed, make_rules, plain_content, source_of
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.chunks import builder
from mjbulk.chunks.builder import Rules
from mjbulk.chunks.chunk import Body, Chunk, Limits, SizeLimit
from mjbulk.chunks.chunker import Chunker
from mjbulk.chunks.replay import Recorded
from mjbulk.rows.block import Block
from mjbulk.rows.contacts import encode, merge

LAW = settings(derandomize=True, deadline=None, max_examples=200)
NAMES = ["ann@x.org", "ANN@x.org", "bob@x.org", "strasse@x.org", "straße@x.org", "eve@x.org", "u@x.org"]
VALUES = st.dictionaries(st.sampled_from("abc"), st.integers(0, 10**9), max_size=3)
ROWS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=40)
BATCHES = st.lists(st.integers(1, 9), min_size=1, max_size=4)


def cut(rows: Sequence[tuple[str, dict[str, Any]]], rules: Rules, batches: Sequence[int]) -> tuple[list[Chunk], Memory]:
    """Chunks of rows that come in batches of such sizes, round and round. Each is done as soon as it is cut."""
    source, memory = dict(enumerate(rows, start=1)), Memory()
    chunker, chunks, start, turn = Chunker(rules, memory), list[Chunk](), 0, 0
    while start < len(rows):
        some = range(start + 1, min(start + batches[turn % len(batches)], len(rows)) + 1)
        feed(chunker, source, some)
        start, turn = some[-1], turn + 1
    chunker.end()
    while chunker.cut:
        chunks.append(chunker.cut.popleft())
        chunker.done(chunks[-1].number)
    assert chunker.all_cut
    return chunks, memory


@pytest.mark.unmeasured
@LAW
@given(ROWS, st.integers(1, 12), st.integers(120, 400), BATCHES)
def test_every_row_is_in_one_chunk(rows: Any, most: int, size: int, batches: list[int]) -> None:
    """No row is lost or doubled; no chunk is larger than it may be; nobody is twice in one; the last value wins."""
    chunks, memory = cut(rows, make_rules(most, size), batches)
    source = dict(enumerate(rows, start=1))
    assert sorted(row for chunk in chunks for row in chunk.kept.rows) == list(source)
    assert [chunk.number for chunk in chunks] == list(range(1, len(chunks) + 1))
    for chunk in chunks:
        assert content(chunk, memory) == plain_content(source, chunk.kept.rows)
        assert len(chunk.body.data) <= size
        assert chunk.entries <= most
        assert len(set(chunk.people)) == chunk.entries


@pytest.mark.unmeasured
@LAW
@given(st.lists(st.tuples(st.sampled_from(NAMES[1:4]), VALUES), max_size=40), st.integers(1, 12), BATCHES)
def test_chunks_do_not_depend_on_how_rows_come(rows: Any, most: int, batches: list[int]) -> None:
    """While nobody is held, the same rows make the same chunks in batches of any size."""
    rules = make_rules(most, 10**6)
    one, first = cut(rows, rules, batches)
    two, second = cut(rows, rules, [1])
    assert [content(chunk, first) for chunk in one[:1]] == [content(chunk, second) for chunk in two[:1]]
    assert [chunk.digest for chunk in one[:1]] == [chunk.digest for chunk in two[:1]]


def test_new_people_fill_chunks_in_their_order() -> None:
    """Where nobody recurs, a chunk is a range of rows, as large as it may be, and has no shape."""
    run = Run(source_of(*(f"u{number}@x.org" for number in range(25))), rules=make_rules(10))
    run.read(7)
    run.read(18)
    run.chunker.end()
    chunks = run.chunker.cut
    assert [(chunk.first, chunk.last, bool(chunk.shape)) for chunk in chunks] == [
        (1, 10, False),
        (11, 20, False),
        (21, 25, False),
    ]


def test_a_chunk_is_filled_to_the_last_byte() -> None:
    """One byte less and the row goes into the next chunk."""
    rows: list[tuple[str, dict[str, Any]]] = [(f"u{n}@x.org", {}) for n in range(3)]
    exact = len(FRAME.body(list(map(encoded, rows))))
    assert len(cut(rows, make_rules(9, exact), [3])[0]) == 1
    assert len(cut(rows, make_rules(9, exact - 1), [3])[0]) == 2
    assert len(cut(rows, make_rules(9, exact), [1])[0]) == 1
    assert len(cut(rows, make_rules(9, exact - 1), [1])[0]) == 2


def test_a_row_is_too_large_only_for_what_was_set() -> None:
    """A size that was learned lets a large row go alone; the size that was set refuses it, with the size in the
    reason.
    """
    rules = make_rules(9, 200, learned=50)
    large = {"n": "n" * 100}
    assert rules.too_large(encoded(("a@x.org", large))) is None
    assert rules.too_large(b"x" * 197) is None
    assert "200 bytes" in (rules.too_large(b"x" * 198) or "")
    chunks, _ = cut([("a@x.org", large), ("b@x.org", {})], rules, [2])
    assert [list(chunk.kept.rows) for chunk in chunks] == [[1], [2]]


def test_a_merged_row_that_grows_too_large_goes_into_the_next_chunk() -> None:
    """Two rows of one person that do not fit together are sent one after the other."""
    rows = [("a@x.org", {"a": "x" * 80}), ("a@x.org", {"b": "y" * 80})]
    assert [list(chunk.kept.rows) for chunk in cut(rows, make_rules(9, 180), [2])[0]] == [[1], [2]]
    assert [list(chunk.kept.rows) for chunk in cut(rows, make_rules(9, 400), [2])[0]] == [[1, 2]]


def test_one_person_may_be_merged_up_to_what_was_set() -> None:
    """A learned size bounds chunks of several people; one person alone may have as much as was set."""
    rows = [("a@x.org", {"a": "x" * 80}), ("a@x.org", {"b": "y" * 80})]
    assert [list(chunk.kept.rows) for chunk in cut(rows, make_rules(9, 400, learned=50), [2])[0]] == [[1, 2]]
    rows = [("b@x.org", {}), *rows]
    assert [list(chunk.kept.rows) for chunk in cut(rows, make_rules(9, 400, learned=180), [3])[0]] == [[1, 2], [3]]


def test_a_full_chunk_still_merges_rows_of_its_people() -> None:
    """It is cut when a row comes that has no room, not before: rows that are sorted by person take one entry each."""
    rows: list[tuple[str, dict[str, Any]]] = [(f"u{n // 5}@x.org", {}) for n in range(20)]
    for batches in ([20], [1], [3, 7]):
        chunks, _ = cut(rows, make_rules(2), batches)
        assert [list(chunk.kept.rows) for chunk in chunks] == [list(range(1, 11)), list(range(11, 21))]


def test_an_entry_that_grows_more_than_a_row_takes_room() -> None:
    """Where merging makes an entry larger than its two rows, no chunk is larger than it may be."""
    limits = Limits(rows=99, bytes=290)
    rules = Rules(frame=FRAME, limits=limits, merge=lambda one, two: one + two + two, learned=SizeLimit(290))
    source = source_of("a", "b", "a", "b", "c", "d", "e", "f")
    chunker = Chunker(rules, Memory())
    feed(chunker, source, list(source))
    chunker.end()
    assert [list(chunk.kept.rows) for chunk in chunker.cut] == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert max(len(chunk.body.data) for chunk in chunker.cut) <= 290


MOST_HELD = 8 * 2**20


def rows_of_chunks(*sizes: int, raw: bool = False, people: int = 10**9, recorded: Sequence[Recorded] = ()) -> list[int]:
    """Rows of such sizes, of which little is sent, to the chunker in one batch: how many rows each chunk has."""
    rows = [(f"u{n % people}@x.org", "x" * size) for n, size in enumerate(sizes)]
    rules = make_rules(float("inf"), 2**20)
    chunker = Chunker(rules, Memory(), recorded)
    block = Block.of(("email", "text"), rows, [text for _, text in rows] if raw else None)
    addresses = [address for address, _ in rows]
    chunker.arrive(1, len(rows))
    chunker.add(range(1, len(rows) + 1), addresses, [encoded((address, {})) for address in addresses], block)
    chunker.passed(len(rows))
    chunker.end()
    for chunk in (chunks := list(chunker.cut)):
        chunker.done(chunk.number)
        chunks += list(chunker.cut)[len(chunks) :]
    return [chunk.rows for chunk in [*chunker.found, *chunks]]


def test_rows_of_which_little_is_sent_do_not_fill_memory() -> None:
    """A chunk ends where its rows as they were given have about 8 MiB: those that come together weigh the same. Where
    they weigh more each goes alone.
    """
    half = MOST_HELD // 2
    assert rows_of_chunks(half, half, half, half, half, raw=True) == [2, 2, 1]
    assert rows_of_chunks(half, half + 1, raw=True) == [1, 1]
    assert rows_of_chunks(half - 1, half + 1, raw=True) == [2]
    assert rows_of_chunks(3 * half, 3 * half, raw=True) == [1, 1]
    assert rows_of_chunks(*[2**20] * 20) == [7, 7, 6]


def test_rows_of_few_people_do_not_fill_memory() -> None:
    """Rows that would fill a chunk as they were given are held instead, and lie in the spill: merged into one entry."""
    half = MOST_HELD // 2
    assert rows_of_chunks(*[half] * 6, raw=True, people=1) == [2, 4]
    assert rows_of_chunks(*[2**20] * 20, people=1) == [7, 13]
    assert rows_of_chunks(*[2**20] * 20, people=3) == [7, 13]


def test_ordinary_rows_are_cut_by_what_is_sent() -> None:
    """Thousands of rows of some hundred bytes are one chunk."""
    assert rows_of_chunks(*[300] * 20_000) == rows_of_chunks(*[300] * 20_000, raw=True) == [20_000]


def test_rows_of_one_person_make_no_chunk_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk merges 100,000 rows, here a thousand; later ones of the person wait for it."""
    assert builder._MOST_ROWS == 100_000
    monkeypatch.setattr(builder, "_MOST_ROWS", 1000)
    assert rows_of_chunks(*[1] * 1010, people=1) == [1000, 10]


def test_wide_rows_are_cut_again_as_they_were() -> None:
    """What a chunk had when it was cut it has again, even if that is more than it might have now."""
    for people in (1, 10**9):
        run = Run(source_of(*(f"u{n % people}@x.org" for n in range(19))), rules=make_rules(99, 10**6))
        run.read(19)
        run.cut()
        (chunk,) = run.chunker.cut
        known = Recorded(number=1, first=1, last=19, rows=19, entries=chunk.entries, digest=digest_of_plain(19, people))
        assert rows_of_chunks(*[2**20] * 20, people=people, recorded=[known]) == [19]


def digest_of_plain(size: int, people: int) -> str:
    run = Run({n + 1: (f"u{n % people}@x.org", {}) for n in range(size)}, rules=make_rules(99, 10**6))
    run.read(size)
    run.cut()
    return run.chunker.cut[0].digest


def test_a_digest_is_the_one_that_journals_have() -> None:
    """A chunk without held rows has the digest that earlier versions gave it, and without digests it has none."""
    source = {1: ("ann@x.org", {"a": 1}), 2: ("bob@x.org", {}), 3: None, 4: ("ANN@x.org", {"b": 2})}
    for digests, digest in ((True, "bf3cd6737a88e2d455115f0c804e474f"), (False, "")):
        rules = Rules(
            frame=FRAME,
            limits=Limits(rows=9, bytes=2000),
            merge=merge,
            learned=SizeLimit(2000),
            meaning=b"email,age\n",
            digests=digests,
        )
        chunker = Chunker(rules, Memory())
        feed(chunker, source, list(source))
        chunker.end()
        assert [chunk.digest for chunk in chunker.cut] == [digest]


def test_rows_without_values_are_given_back() -> None:
    """A row that has no names is a row all the same."""
    chunker = Chunker(make_rules(), Memory())
    chunker.add([1, 2], ["a@x.org", "b@x.org"], [encode({"Email": "a@x.org"})] * 2, Block((), [], 2))
    chunker.end()
    assert [row.as_dict() for row in chunker.cut[0].kept.given(Memory().get)] == [{}, {}]


def test_records_of_a_file_are_given_back_as_cells() -> None:
    """Rows that are kept as records of a CSV file are given back cell by cell, held ones too."""
    memory = Memory()
    chunker = Chunker(make_rules(1), memory)
    for number, address in enumerate(("a@x.org", "a@x.org", "b@x.org"), start=1):
        block = Block.of(("email", "n"), [(address, str(number))], [f"{address},{number}\n"])
        chunker.add([number], [address], [encoded((address, {}))], block)
        chunker.cut_open()
    chunker.done(1)
    chunker.cut_open()
    assert [[row.as_dict() for row in chunk.kept.given(memory.get)] for chunk in chunker.cut] == [
        [{"email": "a@x.org", "n": "1"}],
        [{"email": "b@x.org", "n": "3"}],
        [{"email": "a@x.org", "n": "2"}],
    ]


@pytest.mark.unmeasured
@LAW
@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=12), st.data())
def test_any_range_of_a_body_can_be_sent(parts: list[bytes], data: st.DataObject) -> None:
    """A part of a body is what its entries alone would make."""
    first = data.draw(st.integers(0, len(parts) - 1))
    end = data.draw(st.integers(first + 1, len(parts)))
    assert Body.of(parts, FRAME).part(slice(first, end)) == FRAME.body(parts[first:end])


def test_a_size_is_learned_from_a_half_that_went_through() -> None:
    """A refused body lowers the size only when its half succeeds, and never below what has succeeded once."""
    limit = SizeLimit(1000)
    limit.passes(300)
    assert limit.most == 1000
    limit.passes(350, half_of=700)
    assert limit.most == 350
    limit.passes(200, half_of=340)
    assert limit.most == 350
    limit.passes(100, half_of=400)
    assert limit.most == 350
    limit.passes(500)
    assert limit.most == 500


def test_a_slow_link_makes_the_next_body_smaller() -> None:
    """For as long as it is slow; what the server takes stays known."""
    carried = [float("inf"), 400.0, 2000.0]
    limit = SizeLimit(1000, lambda: carried[0])
    sizes = []
    while carried:
        sizes.append(limit.next)
        carried.pop(0)
    assert (sizes, limit.most) == ([1000, 400.0, 1000], 1000)


def test_a_body_that_went_through_is_never_too_large() -> None:
    """Whatever order answers come in, the size is at least that of the largest body that succeeded."""
    limit = SizeLimit(1000)
    for before, (size, whole) in pairwise([(0, 0), (90, 0), (40, 80), (40, 91), (60, 120)]):
        limit.passes(size, half_of=whole)
        assert before[0] <= 90 <= limit.passed <= limit.most
    assert limit.most == 90
