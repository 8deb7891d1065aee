"""The naive ways of holding rows, and for each the case that breaks it.

"|" is a cut, p and q are people, and (h) is a row that is held.
"""

from collections.abc import Iterable
from typing import Any

import pytest
from chunk_run import FRAME, Journal, Memory, Run, Source, content, feed, make_rules, plain_content, source_of

from mjbulk.chunks.builder import Rules
from mjbulk.chunks.chunk import Limits, SizeLimit
from mjbulk.chunks.chunker import REPLAY, Chunker
from mjbulk.chunks.people import PeopleInFlight
from mjbulk.chunks.replay import SourceChanged
from mjbulk.rows.contacts import merge

OTHER_SPELLING = ("strasse", "strasse", "straße")
"""Casefolding alone makes one person of them."""


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


def test_chunks_end_where_their_last_row_is() -> None:
    """Chunk 2 has rows 4 to 9, and chunk 3 the freed row 3 alone. Chunk 3 is whole at row 3, but "all are unchanged" is
    said at row 9.
    """
    run = Run(source_of("p", "q", "p", "a", "b", "c", "d", "e", "f"))
    sent(run, 2)
    run.read(7)
    run.cut()
    run.done()
    run.cut()
    run.record()
    assert run.journal.rows == {1: [1, 2], 2: [4, 5, 6, 7, 8, 9], 3: [3]}
    assert shape(run, 3) == (10, 9, [], [3])
    chunker = Chunker(make_rules(), Memory(), run.journal.chunks)
    found = []
    for number in range(1, 10):
        feed(chunker, run.source, [number])
        found += [(number, chunk.number) for chunk in chunker.found]
        chunker.found.clear()
        assert chunker.replaying == (number < 9)
    assert found == [(2, 1), (3, 3), (9, 2)]
    after_a_crash(run.source, run.journal).finish()


def test_holes_are_written() -> None:
    """``1p 2q | 3p(h) 4r 5s |`` and a crash: row 3 belongs to no chunk, and the source is unchanged."""
    run = Run(source_of("p", "q", "p", "r", "s"))
    sent(run, 2)
    run.read(3)
    run.cut()
    run.record()
    assert shape(run, 2) == (4, 5, [3], [])
    again = after_a_crash(run.source, run.journal)
    assert again.chunker.held_numbers == [3]
    again.finish()
    assert again.journal.rows == {1: [1, 2], 2: [4, 5], 3: [3]}


def test_a_freed_row_of_its_own_window_is_no_hole() -> None:
    """``1p | 2p(h) 3q``, chunk 1 is done, row 2 joins row 3: it is an extra of chunk 2, and no hole. It is not one of
    the next chunk.
    """
    run = Run(source_of("p", "p", "q", "r", "s"))
    sent(run, 1)
    run.read(2)
    run.done()
    run.cut()
    run.read(2)
    run.cut()
    run.record()
    assert [shape(run, 2), shape(run, 3)] == [(3, 3, [], [2]), (4, 5, [], [])]
    after_a_crash(run.source, run.journal).finish()


def test_a_freed_row_after_the_window_is_no_hole_of_the_next() -> None:
    """``1p | 2q 3p(h)``, and row 3 joins row 2: it lies in the window of the next chunk, and was not held when that was
    cut.
    """
    run = Run(source_of("p", "q", "p", "r", "p", "s"))
    sent(run, 1)
    run.read(2)
    run.done()
    run.cut()
    run.read(3)
    run.cut()
    run.record()
    assert [shape(run, 2), shape(run, 3)] == [(2, 2, [], [3]), (4, 6, [5], [])]
    after_a_crash(run.source, run.journal).finish()


def test_a_chunk_is_a_function_of_its_rows() -> None:
    """``1p 2q 3r | 4p(h) 5s``; row 4 joins after row 5, and stands before it: in the digest, among the entries, and in
    each half.
    """
    run = Run(source_of("p", "q", "r", "p", "s"))
    sent(run, 3)
    run.read(2)
    run.done()
    assert run.chunker.open_numbers == [4, 5]
    run.cut()
    chunk = run.chunker.cut[0]
    assert chunk.kept.addresses == ["p", "s"]
    assert content(chunk, run.memory) == plain_content(run.source, [4, 5])
    run.record()
    after_a_crash(run.source, run.journal).finish()


def test_several_freed_entries_stand_in_the_order_of_the_source() -> None:
    """Entries that join in another order than that of their rows have the same digest when they are found again."""
    run = Run(source_of("p", "q", "q", "p", "s", "q"), rules=make_rules(1))
    run.read(2)
    run.cut()
    run.record()
    run.send()
    run.send()
    run.read(4)
    run.done(1)
    run.done()
    run.finish()
    assert sorted(run.journal.rows.values()) == [[1], [2], [3, 6], [4], [5]]
    wide = Run(source_of("p", "q", "q", "p", "s", "q"))
    sent(wide, 1)
    sent(wide, 1)
    wide.read(4)
    wide.done(1)
    wide.done()
    assert wide.chunker.open_numbers == [3, 4, 5, 6]
    wide.cut()
    wide.record()
    after_a_crash(wide.source, wide.journal).finish()


def test_pending_rows_are_no_fresh_ones() -> None:
    """Chunk 2 is {4, 8}, and 5 to 7 are pending after a crash: they become extras of chunk 3, after the replay, and the
    next process finds them.
    """
    run = Run(source_of("a", "b", "c", "d", "a", "b", "c", "e"))
    sent(run, 3)
    run.read(5)
    run.cut()
    run.record()
    assert run.journal.rows == {1: [1, 2, 3], 2: [4, 8]}
    second = Run(run.source, run.journal)
    second.read(7)
    assert (second.chunker.held_numbers, second.chunker.open_numbers) == ([5, 6, 7], [])
    second.finish()
    assert second.journal.rows == {1: [1, 2, 3], 2: [4, 8], 3: [5, 6, 7]}
    assert shape(second, 3) == (9, 8, [], [5, 6, 7])
    after_a_crash(run.source, run.journal).finish()


def test_a_pending_row_is_refused_when_it_is_bad_now() -> None:
    """Row 2 was held, and is bad when the run goes on: it is new, so its refusal is noted. One of a window is not."""
    run = Run(source_of("p", "p", "q", None, "r"))
    sent(run, 1)
    run.read(4)
    run.cut()
    run.record()
    assert run.refused == {4}
    again = after_a_crash({**run.source, 2: None}, run.journal)
    assert again.refused == {2}
    again.finish()


def test_holes_are_held_rows_alone() -> None:
    """``1p 2q | 3p(h) 4 5r |``, where row 4 was refused: row 3 is a hole, and row 4 is of the window. It is good now:
    the source has changed.
    """
    run = Run(source_of("p", "q", "p", None, "r"))
    sent(run, 2)
    run.read(3)
    run.cut()
    run.record()
    assert shape(run, 2) == (5, 5, [3], [])
    with pytest.raises(SourceChanged):
        after_a_crash({**run.source, 4: ("s", {})}, run.journal)


def test_a_pending_row_may_not_become_an_earlier_one_of_a_recorded_row() -> None:
    """Row 3 is pending, and somebody edits its address into that of row 5, which was sent: row 3 would overwrite it."""
    run = Run(source_of("p", "q", "p", "r", "s"))
    sent(run, 2)
    run.read(3)
    run.cut()
    run.record()
    edited = {**run.source, 3: ("s", {})}
    with pytest.raises(SourceChanged) as caught:
        after_a_crash(edited, run.journal)
    assert (caught.value.first, caught.value.last) == (4, 5)
    after_a_crash({**run.source, 3: ("t", {})}, run.journal).finish()


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


def in_doubt_and_recorded() -> Journal:
    """``1p |`` was left in doubt, ``2p |`` is written and was not sent, and the process has ended."""
    run = Run(source_of("p", "p"))
    sent(run, 1)
    run.read(1)
    run.done(in_doubt=True)
    run.cut()
    run.record()
    return run.journal


def test_recorded_chunks_wait_for_each_other() -> None:
    """Chunk 1 was in doubt and is retried, chunk 2 has to be sent, and they share p: chunk 2 waits."""
    run = after_a_crash(source_of("p", "p"), in_doubt_and_recorded())
    assert [run.send(), run.send()] == [1, 0]
    run.done()
    assert run.send() == 2
    run.finish()


def test_that_a_chunk_in_doubt_is_overtaken_outlives_a_crash() -> None:
    """``1p |`` in doubt, ``2p |`` in doubt, and a crash: chunk 1 does not go again after chunk 2."""
    run = Run(source_of("p", "p"))
    sent(run, 1)
    run.done(in_doubt=True)
    sent(run, 1)
    run.done(in_doubt=True)
    assert run.journal.overtaken == {1}
    again = after_a_crash(run.source, run.journal)
    assert [again.send(), again.send()] == [2, 0]
    again.finish()


def test_a_recorded_chunk_overtakes_as_well() -> None:
    """Chunk 1 stays in doubt, and chunk 2 is sent by the second process: the third does not send chunk 1 again."""
    journal = in_doubt_and_recorded()
    second = after_a_crash(source_of("p", "p"), journal, retry=False)
    assert [second.send(), second.send()] == [1, 2]
    assert (sorted(second.flight), journal.overtaken) == ([2], {1})
    third = after_a_crash(source_of("p", "p"), journal)
    assert third.send() == 0
    third.finish()


def test_a_new_row_overtakes_a_chunk_that_an_earlier_process_left_in_doubt() -> None:
    """``1p |`` in doubt and a crash; 2p comes in a process that does not send chunk 1 again: its chunk overtakes it."""
    run = Run(source_of("p", "p"))
    sent(run, 1)
    run.done(in_doubt=True)
    again = after_a_crash(run.source, run.journal, retry=False)
    assert (again.chunker.open_numbers, again.chunker.held_numbers) == ([], [2])
    again.send()
    assert (again.chunker.open_numbers, again.chunker.held_numbers, again.flight) == ([2], [], {})
    again.cut()
    assert again.chunker.cut[0].overtaken == {1}
    again.finish()


def one_hash(*addresses: str, rows: int = 9, journal: Journal | None = None) -> Run:
    """A run in which all people have one hash."""
    people = PeopleInFlight(1, bits=0)
    return Run(source_of(*addresses), journal, rules=make_rules(rows), people=people, bits=0)


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


def test_two_people_with_one_hash_are_in_one_chunk() -> None:
    """A row whose hash is in the open chunk, and whose person is not, joins it."""
    run = one_hash("p", "q", "p")
    run.read(3)
    assert (run.chunker.open_numbers, run.chunker.held_numbers) == ([1, 2, 3], [])
    run.finish()
    assert run.journal.chunks[0].entries == 2


def test_a_slot_knows_several_recorded_chunks() -> None:
    """p and q have one hash in this process, and had two in the one before: 3p waits for chunk 1, q's being done."""
    run = Run(source_of("p", "q", "p"))
    sent(run, 1)
    sent(run, 1)
    again = one_hash("p", "q", "p", journal=run.journal)
    again.read(3)
    assert sorted(again.flight) == [1, 2]
    again.done(1)
    assert again.chunker.held_numbers == [3]
    again.done()
    assert again.chunker.open_numbers == [3]
    again.finish()


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


def test_a_replay_that_ends_frees_what_waits_for_it() -> None:
    """New rows wait for the replay as for a chunk, and are free when it is over and every one was looked up."""
    run = Run(source_of("p", "q", "p", "r"))
    sent(run, 2)
    chunker = Chunker(make_rules(), Memory(), run.journal.chunks)
    feed(chunker, run.source, [1, 2, 3, 4])
    assert (chunker.replaying, chunker.held_numbers, chunker.open_numbers) == (False, [3, 4], [])
    assert chunker.people.enter_recorded(1, [hash("p"), hash("q")]) == set()
    chunker.free(REPLAY)
    assert (chunker.held_numbers, chunker.open_numbers) == ([3], [4])
