"""Which rows chunks have, from their records: against a model of rows that are held and come free."""

from collections.abc import Iterator
from itertools import chain
from random import Random

import pytest
from attrs import Factory, define

from mjbulk import JournalRefused
from mjbulk.journal.records import ChunkRecord, PartRecord
from mjbulk.journal.row_sets import RowSets, hull, ranges_of, shape_of, without
from mjbulk.journal.shape import PLAIN, Shape, encode_shape


def chunk(number: int, first: int, last: int, rows: int, shape: Shape = PLAIN, *, merged: int = 0) -> ChunkRecord:
    return ChunkRecord(
        run=1,
        number=number,
        first=first,
        last=last,
        rows=rows,
        entries=rows - merged,
        digest="d",
        shape=encode_shape(shape),
    )


def part(number: int, first: int, end: int) -> PartRecord:
    return PartRecord(run=1, chunk=number, first=first, end=end, rows=0)


def numbers(ranges: tuple[range, ...]) -> list[int]:
    return list(chain.from_iterable(ranges))


# Ranges


def test_ranges_of_numbers() -> None:
    """As few as there can be."""
    assert ranges_of([]) == ()
    assert ranges_of([1, 2, 3, 7, 9, 10]) == (range(1, 4), range(7, 8), range(9, 11))


@pytest.mark.parametrize(
    ("ranges", "rows", "left"),
    [
        ([range(1, 5)], [], [range(1, 5)]),
        ([range(1, 5)], [1, 4], [range(2, 4)]),
        ([range(1, 5)], [2], [range(1, 2), range(3, 5)]),
        ([range(1, 3), range(5, 7)], [0, 2, 3, 5, 9], [range(1, 2), range(6, 7)]),
        ([range(1, 3), range(5, 7)], [1, 1, 2, 5, 6], []),
        ([range(1, 1)], [], []),
    ],
)
def test_ranges_without_numbers(ranges: list[range], rows: list[int], left: list[range]) -> None:
    """Numbers that lie in none of them do not matter, nor that one comes twice."""
    assert without(ranges, rows) == tuple(left)


# Chunks


def test_the_rows_of_a_chunk() -> None:
    """A window without holes, refused rows and extras of others, and with its own extras."""
    chunks = {
        1: chunk(1, 1, 6, 4, Shape(holes=[3])),  # 2 was refused
        2: chunk(2, 7, 6, 1, Shape(extras=[8])),  # it came free before any fresh row, and was held after row 6
        3: chunk(3, 7, 12, 5, Shape(holes=[9], extras=[3, 10])),  # 11 was refused
    }
    sets = RowSets(chunks, pending=True)
    for row in (2, 11, 14):
        sets.refuse(row)
    assert sets.of(1) == (range(1, 2), range(4, 7))
    assert sets.of(2) == (range(8, 9),)
    assert sets.of(3) == (range(3, 4), range(7, 8), range(10, 11), range(12, 13))
    assert sets.pending(16) == (range(9, 10), range(13, 14), range(15, 17))
    assert [hull(chunks[number]) for number in (1, 2, 3)] == [range(1, 7), range(8, 9), range(3, 13)]


def test_the_rows_of_a_part() -> None:
    """Those of its entries, the merged ones too; the earlier rows of an entry are superseded."""
    chunks = {1: chunk(1, 1, 6, 6, Shape(merged=[2, 3, 5], into=[0, 1, 0]), merged=3)}
    sets = RowSets(chunks)
    assert [sets.of_part(part(1, *ends)) for ends in ((0, 1), (1, 3), (0, 3))] == [
        (range(1, 2), range(3, 4), range(6, 7)), (range(2, 3), range(4, 6)), (range(1, 7),),
    ]  # fmt: skip
    assert [sets.superseded(part(1, *ends)) for ends in ((0, 1), (1, 3), (0, 3))] == [
        (range(1, 2), range(3, 4)), (range(2, 3),), (range(1, 4),),
    ]  # fmt: skip


def test_what_records_do_not_tell() -> None:
    """Numbers with gaps, and merges that an earlier version did not write down: the whole chunk, and nobody earlier."""
    gaps, before = chunk(1, 1, 9, 3), chunk(2, 10, 13, 4, merged=1)
    sets = RowSets({1: gaps, 2: before})
    assert (sets.of_part(part(1, 0, 1)), sets.superseded(part(1, 0, 3))) == ((range(1, 10),), ())
    assert (sets.of_part(part(2, 0, 1)), sets.superseded(part(2, 0, 3))) == ((range(10, 14),), ())


def test_how_many_rows_were_read_at_least() -> None:
    """Up to the last number; where numbers have gaps, those that are known."""
    one, two = chunk(1, 1, 4, 3, Shape([3], [], [], [])), chunk(2, 5, 6, 2)
    sets = RowSets({1: one, 2: two}, pending=True)
    assert (sets.read(5), sets.pending(6)) == (6, (range(3, 4),))
    sets.refuse(9)
    assert (sets.read(6), sets.pending(9)) == (9, (range(3, 4), range(7, 9)))
    assert RowSets({1: chunk(1, 1, 9, 3)}, pending=True).read(3) == 3
    assert RowSets({}, pending=True).read(0) == 0


def test_only_what_is_wanted_is_read() -> None:
    """A shape that nobody asks for may be anything; else one that is no shape is damage."""
    wrong = ChunkRecord(run=1, number=1, first=1, last=5, rows=5, entries=5, digest="d", shape="odd")
    RowSets({1: wrong}, ()).refuse(3)
    for ask in (lambda: RowSets({1: wrong}), lambda: RowSets({1: wrong}, (), pending=True), lambda: shape_of(wrong)):
        with pytest.raises(JournalRefused, match=r"damaged \(the rows of chunk 1 cannot be read"):
            ask()


# The model


@define
class Model:
    """Reads rows, holds some, refuses some, and cuts chunks, by chance. Mutable state: all of it."""

    chance: Random
    fresh: list[int] = Factory(list)
    freed: list[int] = Factory(list)
    held: list[int] = Factory(list)
    refused: list[int] = Factory(list)
    end: int = 0
    """The last fresh row of the chunks that were cut."""
    records: dict[int, ChunkRecord] = Factory(dict)
    truth: dict[int, tuple[list[int], list[int]]] = Factory(dict)
    """For each chunk its rows, and for each of them its entry."""

    def read(self, rows: int) -> None:
        for row in range(1, rows + 1):
            where = self.chance.choices([self.fresh, self.held, self.refused], [6, 3, 1])[0]
            where.append(row)
            if self.held and self.chance.random() < 0.3:
                self.freed.append(self.held.pop(self.chance.randrange(len(self.held))))
            if len(self.fresh) + len(self.freed) >= self.chance.choice([3, 5, 9]):
                self.cut()

    def cut(self) -> None:
        window = range(self.end + 1, (self.fresh[-1] if self.fresh else self.end) + 1)
        holes = sorted(row for row in self.held if row in window)
        rows, extras = sorted(self.fresh + self.freed), sorted(self.freed)
        merged, into, entries = [], [], list[int]()
        fresh = 0
        for position in range(len(rows)):
            if fresh and self.chance.random() < 0.3:
                merged.append(position)
                into.append(self.chance.randrange(fresh))
                entries.append(into[-1])
            else:
                entries.append(fresh)
                fresh += 1
        number = len(self.records) + 1
        self.records[number] = ChunkRecord(
            run=1,
            number=number,
            first=self.fresh[0] if self.fresh else self.end + 1,
            last=window.stop - 1,
            rows=len(rows),
            entries=fresh,
            digest="d",
            shape=encode_shape(Shape(holes, extras, merged, into)),
        )
        self.truth[number] = rows, entries
        self.end = window.stop - 1
        self.fresh, self.freed = [], []

    def parts(self) -> Iterator[PartRecord]:
        """Give each chunk, and halves of it."""
        for number, record in self.records.items():
            middle = self.chance.randint(0, record.entries)
            for first, end in ((0, record.entries), (0, middle), (middle, record.entries)):
                if first < end:
                    yield part(number, first, end)


@pytest.mark.unmeasured
@pytest.mark.parametrize("seed", range(200))
def test_against_a_model(seed: int) -> None:
    """Whatever was held, refused, freed and merged: each row is where it went, and what is in no chunk is pending."""
    chance = Random(seed)
    model = Model(chance)
    rows = chance.choice([5, 30, 120])
    model.read(rows)
    wanted = [number for number in model.records if chance.random() < 0.7]
    sets = RowSets(model.records, wanted, pending=True)
    for row in model.refused:
        sets.refuse(row)
    for number in wanted:
        assert numbers(sets.of(number)) == model.truth[number][0]
        assert set(model.truth[number][0]) <= set(hull(model.records[number]))
    for one in model.parts():
        if one.chunk in wanted:
            pairs = list(zip(*model.truth[one.chunk], strict=True))
            mine = [row for row, entry in pairs if one.first <= entry < one.end]
            assert numbers(sets.of_part(one)) == mine
            last = {entry: row for row, entry in pairs}
            assert numbers(sets.superseded(one)) == [row for row, entry in pairs if row in mine and last[entry] != row]
    assert numbers(sets.pending(rows)) == sorted(model.held + model.fresh + model.freed)
