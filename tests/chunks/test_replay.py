"""Chunks of an earlier process, found again; and a source that has changed meanwhile."""

import os
from collections.abc import Sequence
from itertools import chain, pairwise
from random import Random
from typing import Any

import pytest
from attrs import evolve
from chunk_cases import CASES, Case, begin, crashed, go_through
from chunk_run import Journal, Memory, Row, Run, Source, encoded, feed, make_rules, plain_content, recorded, source_of
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.chunks.builder import Batch, Builder
from mjbulk.chunks.chunker import Chunker
from mjbulk.chunks.replay import Recorded, Routes, SourceChanged
from mjbulk.journal.records import ChunkRecord
from mjbulk.journal.row_sets import RowSets
from mjbulk.journal.shape import Shape, encode_shape
from mjbulk.rows.addresses import key_of
from mjbulk.rows.block import Block

EXAMPLES = int(os.environ.get("MJBULK_CASES", "300"))
LAW = settings(derandomize=True, deadline=None, max_examples=EXAMPLES)
WHOLE_RUNS = settings(LAW, max_examples=EXAMPLES // 3)


@st.composite
def recordings(draw: st.DrawFn) -> list[Recorded]:
    """Chunks with any windows, holes and extras."""
    chunks: list[Recorded] = []
    last, free = 0, set(range(1, 40))
    for number in range(1, draw(st.integers(1, 6)) + 1):
        before, last = last, last + draw(st.integers(0, 8))
        holes = sorted(draw(st.sets(st.sampled_from(range(before + 1, last)))) if last > before + 1 else set())
        extras = sorted(draw(st.sets(st.sampled_from(sorted(free)), max_size=4)))
        free -= set(extras)
        shape = Shape(holes=holes, extras=extras)
        chunks.append(Recorded(number=number, first=before + 1, last=last, rows=0, entries=0, digest="", shape=shape))
    return chunks


def plain_route(chunks: Sequence[Recorded], row: int) -> int:
    """Where a row belongs: it is an extra, or in a window and no hole, or new."""
    for chunk in chunks:
        if row in chunk.shape.extras:
            return -chunk.number
    before = 0
    for chunk in chunks:
        if before < row <= chunk.last:
            return 0 if row in chunk.shape.holes else chunk.number
        before = max(before, chunk.last)
    return 0


@pytest.mark.unmeasured
@LAW
@given(recordings(), st.lists(st.tuples(st.integers(1, 9), st.integers(0, 5)), max_size=12))
def test_rows_belong_where_their_numbers_say(chunks: list[Recorded], spans: list[tuple[int, int]]) -> None:
    """However rows come together, and if some numbers are left out, each belongs to one chunk or is new."""
    routes, at = Routes(chunks), 1
    for size, gap in spans:
        segments = routes.segments(at, at + size - 1)
        rows = [(row, chunk) for first, last, chunk in segments for row in range(first, last + 1)]
        assert rows == [(row, plain_route(chunks, row)) for row in range(at, at + size)]
        assert all(one[2] != two[2] for one, two in pairwise(segments))
        at += size + gap


@pytest.mark.unmeasured
@WHOLE_RUNS
@given(CASES)
def test_the_rows_of_each_chunk_are_known_without_the_source(case: Case) -> None:
    """The records of chunks say which rows each has, which of them were superseded, and which rows are in none."""
    journal, read = crashed(case), max(case.source, default=0)
    records = {chunk.number: record_of(chunk) for chunk in journal.chunks}
    sets = RowSets(records, pending=True)
    good = [number for number in range(1, read + 1) if case.source.get(number)]
    for number in sorted({*range(1, read + 1)} - {*good}):
        sets.refuse(number)
    for number, rows in journal.rows.items():
        assert list(chain.from_iterable(sets.of(number))) == rows
        superseded = chain.from_iterable(sets.superseded(records[number].whole()))
        assert list(superseded) == plain_content(case.source, rows)[2]
    pending = set(good).difference(*journal.rows.values())
    assert list(chain.from_iterable(sets.pending(read))) == sorted(pending)


def record_of(chunk: Recorded) -> ChunkRecord:
    return ChunkRecord(
        run=1,
        number=chunk.number,
        first=chunk.first,
        last=chunk.last,
        rows=chunk.rows,
        entries=chunk.entries,
        digest=chunk.digest,
        shape=encode_shape(chunk.shape),
    )


def altered(source: Source, kind: str, at: int, chance: Random) -> dict[int, Row | None]:
    """A source with one thing changed. Its numbers are those of its rows."""
    numbers, rows = sorted(source), [source[number] for number in sorted(source)]
    row = rows[at]
    address, values = row or (f"new{chance.randrange(9)}@x.org", {})
    if kind == "a value":
        rows[at] = (address, {**values, "n": -1}) if row else None
    elif kind == "an address":
        rows[at] = ((chance.choice([other for other in rows if other]))[0], values) if row else None
    elif kind == "two rows":
        other = chance.randrange(len(rows))
        rows[at], rows[other] = rows[other], rows[at]
    elif kind == "one row less":
        del rows[at]
        del numbers[-1]
    elif kind == "one row more":
        rows.insert(at, (f"new{chance.randrange(9)}@x.org", {}))
        numbers.append(numbers[-1] + 1)
    elif kind == "a bad row":
        rows[at] = None
    elif kind == "a mended row":
        rows[at] = (address, values)
    elif kind == "cut short":
        del rows[at:]
        del numbers[at:]
    return dict(zip(numbers, rows, strict=True))


CHANGES = (
    "a value",
    "an address",
    "two rows",
    "one row less",
    "one row more",
    "a bad row",
    "a mended row",
    "cut short",
    "nothing",
)


def has_changed(journal: Journal, source: Source, now: Source) -> bool:
    """Whether a row of a recorded chunk is not what it was, or stands after a new row of the same person."""
    route = {row: abs(plain_route(journal.chunks, row)) for row in now}
    for chunk, rows in journal.rows.items():
        mine = [row for row in sorted(now) if now[row] and route[row] == chunk]
        if mine != rows or any(as_sent(now[row]) != as_sent(source[row]) for row in rows):
            return True
    new: set[str] = set()
    for number in sorted(now):
        if (row := now[number]) is not None:
            if not route[number]:
                new.add(row[0].casefold())
            elif row[0].casefold() in new:
                return True
    return False


def as_sent(row: Row | None) -> bytes:
    assert row is not None
    return encoded(row)


@pytest.mark.unmeasured
@LAW
@given(CASES.filter(lambda case: len(case.source) > 0), st.sampled_from(CHANGES), st.integers(0, 2**32))
def test_a_source_that_changed_is_told_where_a_recorded_row_did(case: Case, kind: str, seed: int) -> None:
    """SourceChanged comes exactly where a row of a recorded chunk is not what it was, or would go out before a new row
    of its person; and before anything new was cut. Other rows may change, and go out as they are now.
    """
    chance, journal = Random(seed), crashed(case)
    now = altered(case.source, kind, chance.randrange(len(case.source)), chance)
    if not has_changed(journal, case.source, now):
        journal.newest.clear()  # of people as they were
        new = {row for row in now if not plain_route(journal.chunks, row)}
        run = begin(case.processes[0], now, journal)
        run.finish(chance)
        assert run.refused == {row for row in new if now[row] is None}
        return
    chunker = Chunker(make_rules(), Memory(), journal.chunks)
    with pytest.raises(SourceChanged) as caught:
        find_all(chunker, now, chance)
    assert (chunker.replaying, list(chunker.cut)) == (True, [])
    assert 1 <= caught.value.first <= caught.value.last
    assert str(caught.value) == ""


def find_all(chunker: Chunker, source: Source, chance: Random) -> None:
    """Read a source in batches."""
    left = sorted(source)
    while left:
        size = chance.randrange(1, 9)
        feed(chunker, source, left[:size])
        del left[:size]
    chunker.check_found()


BATCHES = st.lists(st.integers(1, 9), min_size=1, max_size=4)


@pytest.mark.unmeasured
@WHOLE_RUNS
@given(CASES, st.integers(0, 9), BATCHES)
def test_some_of_the_chunks_are_cut_again_under_other_limits(case: Case, known: int, batches: list[int]) -> None:
    """In other batches and under other limits, recorded chunks come out as they were; and then the run goes on."""
    whole, journal = go_through(case), Journal()
    for chunk in whole.chunks[: known % (len(whole.chunks) + 1)]:
        journal.chunks.append(chunk)
        journal.rows[chunk.number] = whole.rows[chunk.number]
        journal.states[chunk.number] = "done"
    run = begin(case.processes[0], case.source, journal)
    left, turn = len(case.source), 0
    while left > 0:
        run.read(batches[turn % len(batches)])
        left, turn = left - batches[turn % len(batches)], turn + 1
    run.finish()


def three_chunks(*addresses: str | None) -> tuple[Source, list[Recorded]]:
    """``1p 2q | 3p(h) 4r 5s | 3p |``"""
    source = source_of(*(addresses or ("p", "q", "p", "r", "s", "t")))
    run = Run(source)
    for count in (2, 3):
        run.read(count)
        run.cut()
    run.chunker.done(1)
    run.cut()
    return source, [recorded(chunk) for chunk in run.chunker.cut]


def find(source: Source, chunks: Sequence[Recorded], **settings: Any) -> Chunker:
    """Find chunks again in a source, row by row."""
    chunker = Chunker(make_rules(**settings), Memory(), chunks)
    for number in sorted(source):
        feed(chunker, source, [number])
    chunker.check_found()
    return chunker


@pytest.mark.parametrize(
    ("changes", "span"),
    [
        ({}, None),
        ({6: ("u", {})}, None),
        ({1: ("p", {})}, (1, 2)),
        ({2: None}, (1, 2)),
        ({1: None, 2: None}, (1, 2)),
        ({3: ("p", {})}, (3, 3)),
        ({3: None}, (3, 3)),
        ({4: ("s", {})}, (4, 5)),
        ({5: None}, (4, 5)),
        ({2: ("ss", {})}, (1, 2)),
    ],
)
def test_the_rows_that_changed_are_told(changes: dict[int, Row | None], span: tuple[int, int] | None) -> None:
    """The error has the first and the last row of the chunk that was not found again."""
    source, chunks = three_chunks()
    if span is None:
        find({**source, **changes}, chunks)
        return
    with pytest.raises(SourceChanged) as caught:
        find({**source, **changes}, chunks)
    assert (caught.value.first, caught.value.last) == span


def test_rows_that_are_missing_at_the_end_are_told() -> None:
    """Where the source ends too early, the error has the rows of all chunks that were not found."""
    source, chunks = three_chunks()
    for length, span in ((0, (1, 5)), (1, (1, 5)), (2, (3, 5)), (3, (4, 5)), (4, (4, 5))):
        with pytest.raises(SourceChanged) as caught:
            find({row: source[row] for row in range(1, length + 1)}, chunks)
        assert (caught.value.first, caught.value.last) == span
    find({row: source[row] for row in range(1, 6)}, chunks)


def test_two_rows_that_cannot_be_one_entry_are_a_changed_source() -> None:
    """An address is edited so that only casefolding makes one person of it and another row of its chunk."""
    source = source_of("strasse", "strasse", "q")
    run = Run(source)
    run.read(3)
    run.cut()
    chunks = [recorded(chunk) for chunk in run.chunker.cut]
    find(source, chunks)
    for at in (1, 2):
        with pytest.raises(SourceChanged):
            find({**source, at: ("straße", {})}, chunks)


COMPOSED, DECOMPOSED, IN_DNS = "jos\u00e9@\u00e4.org", "jose\u0301@\u00e4.org", "jos\u00e9@xn--4ca.org"


def of_an_earlier_version(source: Source, numbers: Sequence[int]) -> Recorded:
    """A chunk as versions cut it to which other forms of Unicode were other people."""
    rows = [row for number in numbers if (row := source[number]) is not None]
    addresses, values = [address for address, _ in rows], list(map(encoded, rows))
    batch = Batch.of(list(numbers), addresses, values, Block.of(("email", "values"), rows))
    batch = evolve(batch, keys=list(map(str.casefold, addresses)))
    builder = Builder(1, make_rules())
    for at in range(len(rows)):
        entry = builder.entry(batch.keys[at])
        if entry < 0:
            builder.take(batch, at, at + 1)
        else:
            assert builder.merge(entry, batch, at)
        builder.note(batch, at, at + 1)
    return recorded(builder.cut(0, ()))


def test_chunks_of_versions_with_other_keys_are_found() -> None:
    """One person of now had several entries then: the chunk is found with these, and later rows wait for it."""
    source = source_of(COMPOSED, DECOMPOSED, "q", DECOMPOSED.upper(), IN_DNS, IN_DNS, COMPOSED)
    chunk = of_an_earlier_version(source, range(1, 7))
    assert (chunk.rows, chunk.entries) == (6, 4)
    chunker = find(source, [chunk])
    assert [(one.rows, one.entries, one.digest) for one in chunker.found] == [(6, 4, chunk.digest)]
    assert hash(key_of(COMPOSED)) in chunker.found[0].people
    with pytest.raises(SourceChanged):
        find({**source, 2: (COMPOSED.replace("jos", "JO\u00df"), {})}, [chunk])


def test_rows_that_earlier_versions_did_not_hold_do_not_stop_a_run() -> None:
    """A row is new whose person, as keys are now, is in a recorded chunk behind it."""
    source = source_of(COMPOSED, DECOMPOSED, "q")
    chunk = evolve(of_an_earlier_version(source, [2, 3]), first=2)
    early = Recorded(number=1, first=2, last=3, rows=2, entries=2, digest=chunk.digest, shape=Shape(holes=[1]))
    chunker = find(source, [early])
    assert (len(chunker.found), chunker.held_numbers) == (1, [1])


def test_a_chunk_is_found_whatever_the_limits_are_now() -> None:
    """Recorded chunks are cut by their rows: larger than anything may be now."""
    source, chunks = three_chunks()
    assert [chunk.rows for chunk in find(source, chunks, rows=1, size=100).found] == [2, 1, 2]


def test_nothing_is_missing_before_rows_have_come() -> None:
    """A run without recorded chunks has nothing to find, and every row of it is new."""
    chunker = Chunker(make_rules(), Memory())
    assert (chunker.replaying, chunker.is_new(1)) == (False, True)
    chunker.check_found()
    chunker.passed(1)
    assert not chunker.found


def test_a_refused_row_is_new_where_no_chunk_had_it() -> None:
    """While chunks are found again, refused rows of windows are known, and those of holes and after the end are new."""
    _, chunks = three_chunks("p", "q", "p", None, "r", "s")
    chunker = Chunker(make_rules(), Memory(), chunks[:2])
    chunker.arrive(1, 7)
    assert [row for row in range(1, 8) if chunker.is_new(row)] == [3, 6, 7]
