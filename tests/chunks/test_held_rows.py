"""The naive ways of holding rows, and for each the case that breaks it.

"|" is a cut, p and q are people, and (h) is a row that is held.
"""

from collections.abc import Iterable

from chunk_run import FRAME, Memory, Run, Source, feed, make_rules, one_hash, sent, source_of

from mjbulk.chunks.builder import Rules
from mjbulk.chunks.chunk import Limits, SizeLimit
from mjbulk.chunks.chunker import Chunker
from mjbulk.rows.contacts import merge

OTHER_SPELLING = ("strasse", "strasse", "straße")
"""Casefolding alone makes one person of them."""


def test_a_row_that_is_free_is_not_overtaken() -> None:
    """``1p | 2p(h)``; chunk 1 is done, 3p comes, and nobody is in flight. Row 2 has joined the open chunk at once, and
    row 3 is merged into it.
    """
    run = Run(source_of("p", "p", "p"))
    sent(run, 1)
    run.read(1)
    assert (run.chunker.held_numbers, run.chunker.open_numbers) == ([2], [])
    run.done()
    assert (run.chunker.held_numbers, run.chunker.open_numbers) == ([], [2])
    run.read(1)
    assert run.chunker.open_numbers == [2, 3]
    run.finish()
    assert run.journal.rows == {1: [1], 2: [2, 3]}


def test_a_row_of_somebody_who_is_held_is_merged_there() -> None:
    """``1p | 2p(h) 3p(h)``: both wait as one entry, which goes out once."""
    run = Run(source_of("p", "p", "p", "q"))
    sent(run, 1)
    run.read(3)
    assert (run.chunker.held_numbers, run.chunker.held_entries, run.chunker.open_numbers) == ([2, 3], 1, [4])
    run.done()
    assert run.chunker.open_numbers == [2, 3, 4]
    run.finish()


def test_entries_of_one_person_are_freed_one_by_one() -> None:
    """``1p | 2p(h) 3P(h)``, where p and P cannot be merged: row 3 waits for the chunk with row 2."""
    run = Run(source_of(*OTHER_SPELLING))
    sent(run, 1)
    run.read(2)
    assert run.chunker.held_entries == 2
    run.done()
    assert (run.chunker.open_numbers, run.chunker.held_numbers) == ([2], [3])
    run.finish()
    assert run.journal.rows == {1: [1], 2: [2], 3: [3]}


def test_the_open_chunk_is_cut_where_a_row_of_its_people_cannot_join() -> None:
    """``1p 2P(h)``, where p and P cannot be merged: chunk 1 goes at once, and row 2 waits for it. ``3q`` does not."""
    run = Run(source_of("strasse", "straße", "q"))
    run.read(3)
    assert [list(chunk.kept.rows) for chunk in run.chunker.cut] == [[1]]
    assert (run.chunker.open_numbers, run.chunker.held_numbers) == ([3], [2])
    run.finish()


def test_held_rows_that_are_too_large_together_are_two_entries() -> None:
    """Nothing is merged into an entry that no chunk could take: the later row waits behind the earlier one."""
    source: Source = {number: ("p", {f"k{number}": "x" * 80}) for number in range(1, 5)}
    run = Run(source, rules=make_rules(9, 240))
    sent(run, 1)
    run.read(3)
    assert (run.chunker.held_numbers, run.chunker.held_entries) == ([2, 3, 4], 2)
    run.finish()
    assert run.journal.rows == {1: [1], 2: [2, 3], 3: [4]}


def test_a_row_does_not_pass_held_ones_of_its_person() -> None:
    """Row 2 has joined the open chunk, and 3P waits for it; row 4 could be merged with row 2, and goes behind row 3."""
    run = Run(source_of(*OTHER_SPELLING, "strasse", "straße"))
    sent(run, 1)
    run.read(2)
    run.done()
    run.read(2)
    assert (run.chunker.open_numbers, run.chunker.held_numbers, run.chunker.held_entries) == ([2], [3, 4, 5], 3)
    run.finish()
    assert run.journal.rows == {1: [1], 2: [2], 3: [3], 4: [4], 5: [5]}


def test_a_chunk_in_doubt_frees_too() -> None:
    """``1p | 2p(h)``, and the answer for chunk 1 is lost: row 2 goes, and its chunk says what it overtakes."""
    run = Run(source_of("p", "p", "q"))
    sent(run, 1)
    run.read(2)
    run.done(in_doubt=True)
    assert (run.chunker.open_numbers, run.chunker.held_numbers) == ([2, 3], [])
    run.cut()
    assert run.chunker.cut[0].overtaken == {1}
    run.finish()


def test_a_chunk_that_ended_well_is_not_overtaken() -> None:
    """``1p | 2p(h)``, and chunk 1 is settled: nothing is written of it when row 2 goes."""
    run = Run(source_of("p", "p"))
    sent(run, 1)
    run.read(1)
    run.done()
    run.cut()
    assert run.chunker.cut[0].overtaken == set()


def test_the_open_chunk_is_cut_where_nothing_is_in_flight() -> None:
    """A second entry of p waits for the open chunk, and nothing is in flight: the reader cuts it."""
    run = Run(source_of(*OTHER_SPELLING))
    sent(run, 1)
    run.read(2)
    run.done()
    assert (run.chunker.open_numbers, run.chunker.held_numbers, run.chunker.unfinished) == ([2], [3], set())
    run.cut()
    run.record()
    run.send()
    run.done()
    assert (run.chunker.open_numbers, run.chunker.held_numbers) == ([3], [])
    run.cut()
    run.cut()
    assert [list(chunk.kept.rows) for chunk in run.chunker.cut] == [[3]]


def test_what_was_overtaken_is_told_once() -> None:
    """``1p 2q |`` in doubt. ``3p |`` has overtaken it, which is written when it is sent; ``4q |`` says it no more."""
    run = Run(source_of("p", "q", "p", "q"))
    sent(run, 2)
    run.done(in_doubt=True)
    sent(run, 1)
    assert run.journal.overtaken == {1}
    run.read(1)
    run.cut()
    assert run.chunker.cut[0].overtaken == set()
    run.finish()


def test_a_free_entry_is_looked_up_again() -> None:
    """``1p | 2q(h) 3p(h)`` and one hash, a row to a chunk: row 2 is free, then row 3 waits for it, and 4q comes."""
    run = one_hash("p", "q", "p", "q", rows=1)
    sent(run, 1)
    run.read(2)
    run.done()
    assert (run.chunker.cut[0].kept.rows[0], run.chunker.held_numbers) == (2, [3])
    run.record()
    run.send()
    run.read(1)
    assert run.chunker.held_numbers == [3, 4]
    run.finish()


def test_all_rows_of_an_entry_are_found() -> None:
    """``1p | 2p(h) 3p(h)``: both rows share the outcome of their entry; that row 2 is superseded counts where it is
    accepted.
    """
    run = Run(source_of("p", "p", "q", "p"))
    sent(run, 1)
    run.read(3)
    run.done()
    run.cut()
    (chunk,) = run.chunker.cut
    assert list(zip(chunk.kept.rows, chunk.kept.entry_of, strict=True)) == [(2, 0), (3, 1), (4, 0)]
    assert list(chunk.superseded) == [2]
    assert (list(chunk.shape.merged), list(chunk.shape.into)) == ([2], [0])


def test_nothing_is_begun_where_nobody_takes_it() -> None:
    """After a stop jobs end, and rows are free: they stay in the open chunk or in the queue, and in the books."""
    run = Run(source_of("p", "p", "q", "p"), rules=make_rules(1))
    sent(run, 1)
    run.read(3)
    run.done()
    waiting = [row for chunk in run.chunker.cut for row in chunk.kept.rows]
    assert sorted([*waiting, *run.chunker.open_numbers, *run.chunker.held_numbers]) == [2, 3, 4]
    assert run.flight == {}


def test_without_digests_nothing_is_kept_for_them() -> None:
    """Without a journal, held rows go out as well, and no chunk has a digest."""
    run = Run(source_of("p", "p", "p"), rules=make_rules(digests=False))
    sent(run, 1)
    run.read(2)
    run.done()
    run.cut()
    assert [(list(chunk.kept.rows), chunk.digest) for chunk in run.chunker.cut] == [([2, 3], "")]
    run.finish()


class Merger:
    """Merges rows, and keeps what it gave."""

    def __init__(self) -> None:
        self.made: list[bytes] = []

    def __call__(self, earlier: bytes, later: bytes) -> bytes:
        self.made.append(merge(earlier, later))
        return self.made[-1]


def test_held_entries_are_no_larger_than_their_bytes() -> None:
    """What orjson gives occupies some KiB, however small it is: a held entry is a copy of it."""
    merger = Merger()
    rules = Rules(frame=FRAME, limits=Limits(rows=9, bytes=2000), merge=merger, learned=SizeLimit(2000))
    chunker = Chunker(rules, Memory())
    feed(chunker, source_of("p"), [1])
    chunker.cut_open()
    feed(chunker, source_of("p", "p", "p", "p"), [2, 3, 4])
    assert chunker.held_entries == 1
    assert is_copy(held_encodings(chunker), merger.made)


def held_encodings(chunker: Chunker) -> list[bytes]:
    return [held.encoded for some in chunker._held.values() for held in some]


def is_copy(some: Iterable[bytes], made: Iterable[bytes]) -> bool:
    known = {id(data) for data in made}
    return set(some) <= set(made) and not any(id(data) in known for data in some)


def test_what_is_held_is_counted() -> None:
    """The number of held rows, of their entries and about their bytes of memory grow and shrink with them."""
    run = Run(source_of("p", "p", "p", *OTHER_SPELLING))
    chunker = run.chunker
    sent(run, 1)
    assert (chunker.held_rows, chunker.held_entries, chunker.held_bytes) == (0, 0, 0)
    run.read(1)
    one = chunker.held_bytes
    assert (chunker.held_rows, chunker.held_entries) == (1, 1)
    assert one > 450
    run.read(1)
    assert (chunker.held_rows, chunker.held_entries) == (2, 1)
    assert one < chunker.held_bytes < one + 80
    run.read(3)
    assert (chunker.held_rows, chunker.held_entries) == (3, 2)
    run.done()
    assert (chunker.held_rows, chunker.held_entries) == (1, 1)
    run.finish()


def test_free_rows_collect_at_the_end_of_the_source() -> None:
    """After the end, free rows are cut when they have an eighth as many entries as are held; or when none are."""
    names = [f"u{number}" for number in range(20)]
    run = Run(source_of(*names, *names), rules=make_rules(10))
    for _ in names:
        sent(run, 1)
    run.read(20)
    run.chunker.end()
    sizes = []
    for _ in names:
        run.done()
        sizes.append(len(run.chunker.open_numbers))
    assert sizes == [1, 2, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
