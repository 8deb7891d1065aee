"""The naive ways of holding rows over the end of a process, and for each the case that breaks it.

"|" is a cut, p and q are people, and (h) is a row that is held.
"""

import pytest
from chunk_run import (
    Journal,
    Memory,
    Run,
    after_a_crash,
    content,
    feed,
    make_rules,
    one_hash,
    plain_content,
    sent,
    shape,
    source_of,
)

from mjbulk.chunks.chunker import REPLAY, Chunker
from mjbulk.chunks.replay import SourceChanged


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
