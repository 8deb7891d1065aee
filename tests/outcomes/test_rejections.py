"""The rejections of a run: in their order, any number of times, and few of them in memory."""

import gc
import pickle
import random
import tempfile
import tracemalloc
from datetime import date
from itertools import islice
from pathlib import Path

import pytest
from samples import A, rejection

from mjbulk.models import Rejection
from mjbulk.outcomes.rejections import RejectionStore, sorted_by_row


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
def test_rejections_are_kept_in_order(count: int) -> None:
    """However many there are, they come in their order, any number of times."""
    store = RejectionStore()
    for row in range(count):
        store.add(rejection(row))
    assert len(store) == count
    for _ in range(2):
        assert [(found.row, found.data) for found in store] == [(n, {"email": A, "n": n}) for n in range(count)]
    assert repr(store) == f"<{count} rejections>"


def test_wide_rows_do_not_stay_in_memory() -> None:
    """A few that are wide go into the file too, and come back as they were."""
    wide = {"email": A, "text": "x" * 2**20}
    tracemalloc.start()
    try:
        store = RejectionStore()
        for row in range(100):
            store.add(rejection(row, data={**wide, "more": f"{row:1000000}"} if row % 2 else None))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * 2**20
    assert [(found.row, len(found.data or ())) for found in store] == [(n, 3 if n % 2 else 0) for n in range(100)]


def test_several_may_iterate_at_once() -> None:
    """Two who iterate do not get in each other's way."""
    store = RejectionStore([rejection(row) for row in range(1500)])
    assert all(one.row == other.row for one, other in zip(store, store, strict=True))


def test_it_may_grow_while_it_is_iterated() -> None:
    """An iterator gives what was there at its beginning: nothing is missed, and nothing comes twice."""
    store = RejectionStore([rejection(row) for row in range(1999)])
    them = iter(store)
    seen = [next(them).row for _ in range(10)]
    for row in range(1999, 3500):
        store.add(rejection(row))
    assert seen + [found.row for found in them] == list(range(1999))
    assert len(list(store)) == 3500


def test_every_field_survives_the_disk() -> None:
    """A rejection that lay on disk has all that it had before."""
    odd = rejection(
        7, candidates=(1, 2), field="age", match="ambiguous", origin="mjbulk", data={"x": [1, {"y": date(2026, 1, 2)}]}
    )
    store = RejectionStore([odd, *(rejection(row) for row in range(1200)), odd])
    found = list(store)
    assert (found[0], found[-1]) == (odd, odd)


def test_equality_and_pickles() -> None:
    """Two stores with the same rejections are equal; a pickle has all of them; a store that grows has no hash."""
    store = RejectionStore([rejection(row) for row in range(1001)])
    assert pickle.loads(pickle.dumps(store)) == store
    assert store != RejectionStore(list(store)[:-1])
    assert store != list(store)
    with pytest.raises(TypeError):
        hash(store)


def test_its_file_is_closed_with_it() -> None:
    """The file of a store goes with the store, and no sooner."""
    before = open_files()
    store = RejectionStore([rejection(row) for row in range(1000)])
    them = iter(store)
    assert open_files() == before + 1
    del store
    assert len(list(them)) == 1000
    del them
    gc.collect()
    assert open_files() == before


def test_its_files_are_in_the_folder_that_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a store, and those in which it is put in order; the temporary folder may be out of reach."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    store = RejectionStore(folder=str(tmp_path))
    store.add(*map(rejection, range(20_001, 0, -1)))
    assert next(sorted_by_row(store)).row == 1
    with pytest.raises(OSError):
        RejectionStore().add(*map(rejection, range(1000)))
    assert len(RejectionStore(list(map(rejection, range(1000))))) == 1000


@pytest.mark.unmeasured
@pytest.mark.parametrize("count", [0, 7, 20_000, 20_001, 61_234])
def test_rejections_in_the_order_of_the_source(count: int) -> None:
    """They become known in any order; those without a row are left out, and of the others none is lost."""
    rows = list(range(1, count + 1))
    random.Random(7).shuffle(rows)
    store = RejectionStore([rejection(row) for row in rows])
    store.add(rejection(None))
    assert [found.row for found in sorted_by_row(store)] == list(range(1, count + 1))


@pytest.mark.long
def test_ordering_them_takes_little_memory() -> None:
    """A hundred thousand rejections are put in order in the memory of some thousands, and leave no file behind."""
    store = RejectionStore()
    for row in range(100_000, 0, -1):
        store.add(rejection(row, data={"email": A, "n": row, "text": "x" * 1000}))
    before = open_files()
    tracemalloc.start()
    try:
        ordered = sorted_by_row(store)
        rows = [found.row for found in islice(ordered, 50_000)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == list(range(1, 50_001))
    assert peak < 30 * 2**20
    del ordered
    gc.collect()
    assert open_files() == before


@pytest.mark.parametrize("count", [0, 1, 999, 1_000, 3_500])
def test_the_rejection_of_a_row(count: int) -> None:
    """It is found by the number of its row, in memory and in the file, while more are added."""
    store, rows = RejectionStore(), random.Random(count).sample(range(1, 10_000), count)
    for row in rows:
        store.add(rejection(row), Rejection(row=None, message="x", match="unmatched"))
    for row in rows[::97]:
        assert store.of_row(row) == rejection(row)
    assert store.of_row(10_001) is None
    store.add(rejection(10_001))
    assert store.of_row(10_001) == rejection(10_001)
    assert store.of_row(10_000) is None
