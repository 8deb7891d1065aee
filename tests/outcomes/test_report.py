"""The report of a run: its books, its rejections, and the files it writes."""

import csv
import gc
import json
import math
import pickle
import random
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import duckdb
import pandas as pd  # type: ignore[import-untyped]  # it brings no types
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
import pytest

from mjbulk.errors import Error, RowsRejected, UsageError
from mjbulk.models import COUNT_NAMES, JobRef, Rejection, RunSpec, Unsettled
from mjbulk.outcomes.ledger import Ledger
from mjbulk.outcomes.rejection_files import REJECTION_COLUMNS, whole_or_not_at_all
from mjbulk.outcomes.rejections import RejectionStore, sorted_by_row
from mjbulk.outcomes.report import Report
from mjbulk.rows.sources import source_of

A = "ann@example.org"


def rejection(row: int | None, **more: Any) -> Rejection:
    fields: dict[str, Any] = {"email": A, "message": "no", "data": {"email": A, "n": row}}
    return Rejection(row=row, **fields | more)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def report(rejections: Sequence[Rejection] = (), **more: Any) -> Report:
    fields: dict[str, Any] = {"spec": RunSpec(lists=None), "run_id": "r1", "rejections": RejectionStore(rejections)}
    return Report(**fields | more)


# Rejections


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
    """Who iterates sees what was there at the beginning: nothing is missed, and nothing comes twice."""
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


@pytest.mark.parametrize("count", [0, 7, 20_000, 20_001, 61_234])
def test_rejections_in_the_order_of_the_source(count: int) -> None:
    """They become known in any order; those without a row are left out, and of the others none is lost."""
    rows = list(range(1, count + 1))
    random.Random(7).shuffle(rows)
    store = RejectionStore([rejection(row) for row in rows])
    store.add(rejection(None))
    assert [found.row for found in sorted_by_row(store)] == list(range(1, count + 1))


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


# Books


@pytest.mark.parametrize(
    ("counts", "halted", "ok", "complete"),
    [
        ({"rows": 0}, None, True, True),
        ({"rows": 3, "accepted": 2, "superseded": 1}, None, True, True),
        ({"rows": 3, "accepted": 2, "rejected": 1}, None, False, True),
        ({"rows": 3, "accepted": 2, "unknown": 1}, None, False, False),
        ({"rows": 3, "accepted": 2, "not_sent": 1}, None, False, False),
        ({"rows": 3, "accepted": 3}, Error("x"), False, False),
    ],
)
def test_when_a_report_is_ok(counts: dict[str, Any], halted: Error | None, *, ok: bool, complete: bool) -> None:
    """ok: everybody is at Mailjet; complete: nothing is unknown or unsent, and the source was read to its end."""
    made = report(**counts, halted=halted)
    assert (made.ok, made.complete) == (ok, complete)
    assert made.as_dict()["complete"] is complete
    assert str(made).endswith("; stopped early") is (halted is not None)


@pytest.mark.parametrize(("allowed", "raises"), [(0, True), (1, True), (2, False), (3, False)])
def test_how_many_may_be_rejected(allowed: int, *, raises: bool) -> None:
    """More rejected rows than are allowed are an error that has the report; otherwise the report is given."""
    made = report(rows=2, rejected=2)
    if raises:
        with pytest.raises(RowsRejected) as caught:
            made.raise_for_rows(max_rejected=allowed)
        assert (caught.value.report, caught.value.allowed) == (made, allowed)
    else:
        assert made.raise_for_rows(max_rejected=allowed) is made


def test_a_report_in_a_line() -> None:
    """str() has the figures that are not zero, and nobody's data."""
    made = report(
        [rejection(1)], rows=5, accepted=3, rejected=1, not_sent=1, jobs=(JobRef("contact", 1),), seconds=1.25
    )
    assert str(made) == "r1: 5 rows: 3 accepted, 1 rejected, 1 not sent in 1 jobs, 1.2 s"
    assert report().summary() == "0 rows: none"
    assert A not in repr(made)
    assert "jobs=<1>" in repr(made)
    assert "rejections=<1 rejections>" in repr(made)


def test_a_report_as_a_table() -> None:
    """table() has every figure in a line of its own, the sum below the outcomes."""
    made = report(rows=12_005, accepted=12_003, rejected=1, not_sent=1, requests=4, seconds=1.25)
    assert made.table().splitlines() == [
        "accepted    12,003",
        "rejected         1",
        "superseded       0",
        "unknown          0",
        "not sent         1",
        "rows        12,005",
        "jobs             0",
        "requests         4",
        "seconds        1.2",
    ]


def test_a_report_as_plain_data() -> None:
    """as_dict has the names of the command line's JSON, and can be JSON."""
    made = report(rows=1, accepted=1, jobs=(JobRef("contact", 1),), requests=4, seconds=1.23456)
    assert json.loads(json.dumps(made.as_dict())) == {
        "run_id": "r1", "rows": 1, "accepted": 1, "rejected": 0, "superseded": 0, "unknown": 0, "not_sent": 0,
        "jobs": 1, "requests": 4, "seconds": 1.235, "complete": True,
    }  # fmt: skip


def test_a_report_can_be_pickled() -> None:
    """A report is plain data: it comes out of a pickle as it went in, its errors too."""
    made = report(
        [rejection(1)],
        rows=1,
        rejected=1,
        halted=UsageError("x"),
        unsettled=(Unsettled(rows=range(1, 2), cause="x"),),
    )
    again = pickle.loads(pickle.dumps(made))
    assert str(again.halted) == str(made.halted)
    assert (again.as_dict(), again.rejections, again.unsettled) == (made.as_dict(), made.rejections, made.unsettled)


def test_a_ledger_adds_up() -> None:
    """Whatever is posted in whatever order: every row has one outcome, and the sums agree."""
    chance, ledger, rows = random.Random(7), Ledger(), 0
    wanted = dict.fromkeys(COUNT_NAMES, 0)
    for number in range(1, 200):
        count = chance.randrange(4)
        why = Unsettled(rows=range(rows, rows + count), cause="x")
        match chance.randrange(4):
            case 0:
                ledger.post_accepted(count, 1)
                wanted["accepted"] += count
                wanted["superseded"] += 1
                count += 1
            case 1:
                count = 1
                ledger.post_rejected(rejection(number))
                wanted["rejected"] += 1
            case 2:
                ledger.post_unsettled(why, unknown=count)
                wanted["unknown"] += count
            case _:
                ledger.post_unsettled(why, not_sent=count)
                wanted["not_sent"] += count
        rows += count
        assert ledger.settled == rows
    wanted["rows"] = rows
    assert ledger.counts(rows).as_dict() == wanted
    assert len(ledger.rejections) == wanted["rejected"]
    assert all(unsettled.rows for unsettled in ledger.unsettled)


def test_a_note_is_no_outcome() -> None:
    """An error that means no row for certain is reported, and no row is counted as rejected for it."""
    ledger = Ledger()
    ledger.keep_unassigned(Rejection(row=None, message="x", match="unmatched"))
    assert (ledger.settled, len(ledger.rejections)) == (0, 1)


# Files

ODD: dict[str, Any] = {
    "n": 10**30,
    "half": "a\ud800",
    "nan": math.nan,
    "list": [1.5, -math.inf, None, True],
    "when": date(2026, 1, 2),
    "money": Decimal("1.10"),
    "text": "né\n\u2028",
}


def test_raw_rejections(tmp_path: Path) -> None:
    """.jsonl has one object a line, with the row as it was given, and what no JSON could hold as near as can be."""
    rows = [rejection(1), rejection(2, candidates=(1, 2), data=ODD), rejection(3, email=None, data=None)]
    rows.append(rejection(4, data={7: "x", "tuple": (1, 2)}))
    path = tmp_path / "rejects.JSONL"
    assert report(rows).write_rejections(path) == 4
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    assert found[0] == {
        "row": 1, "email": A, "field": None, "message": "no", "match": "exact", "origin": "mailjet",
        "candidates": [], "data": {"email": A, "n": 1},
    }  # fmt: skip
    assert found[1]["candidates"] == [1, 2]
    assert found[1]["data"] == ODD | {
        "nan": None, "list": [1.5, None, None, True], "when": "2026-01-02", "money": "1.10",
    }  # fmt: skip
    assert (found[2]["email"], found[2]["data"]) == (None, None)
    assert found[3]["data"] == {"7": "x", "tuple": [1, 2]}


def test_rejections_as_a_table(tmp_path: Path) -> None:
    """.csv has the columns of a rejection, and behind them those of all rows."""
    rows = [rejection(1), rejection(2, field="age", data={"x": "a,b", "email": "E"}), rejection(3, data=None)]
    path = tmp_path / "rejects.csv"
    assert report(rows).write_rejections(str(path)) == 3
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.reader(file))
    assert found == [
        [*REJECTION_COLUMNS, "email", "n", "x"],
        ["1", A, "", "no", "exact", "mailjet", A, "1", ""],
        ["2", A, "age", "no", "exact", "mailjet", "E", "", "a,b"],
        ["3", A, "", "no", "exact", "mailjet", "", "", ""],
    ]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        *((text, f"'{text}") for text in (
            "=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠x", " =1", '"=1', "' =1",
        )),
        *((text, text) for text in ("x=1", "a-b", "1", "", "né", "a@b.de")),
        (-1, "-1"), (-1.5, "-1.5"), (True, "True"), (None, ""), (Decimal(-1), "'-1"), ("a\ud800", "a\\ud800"),
    ],
)  # fmt: skip
def test_a_table_is_safe_to_open(tmp_path: Path, value: Any, cell: str) -> None:
    """No cell of a table, nor the name of a column, is taken for a formula by a spreadsheet; numbers stay numbers."""
    path = tmp_path / "rejects.csv"
    report([rejection(1, message="=x", data={"v": value, "=evil": 1})]).write_rejections(path)
    with path.open(encoding="utf-8", newline="") as file:
        header, row = csv.reader(file)
    assert (header[-2:], row[-2], row[3]) == (["v", "'=evil"], cell, "'=x")


@pytest.mark.parametrize("count", [0, 1, 1_001])
def test_a_whole_report_as_json(tmp_path: Path, count: int) -> None:
    """.json is one object: the figures, why it stopped, what is not settled, and each rejection as in .jsonl."""
    rows = [rejection(row, data=ODD) for row in range(1, count + 1)]
    unsettled = (
        Unsettled(rows=range(5, 8), cause="x", job=JobRef("contact", 1)),
        Unsettled(rows=range(8, 9), cause="y"),
    )
    made = report(rows, rows=7, rejected=count, halted=UsageError("wrong"), unsettled=unsettled)
    assert made.write_rejections(tmp_path / "report.json") == made.write_rejections(tmp_path / "r.jsonl") == count
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    lines = (tmp_path / "r.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert found.pop("rejections") == [json.loads(line) for line in lines]
    assert found == {
        **made.as_dict(),
        "halted": "wrong; nothing was sent",
        "unsettled": [{"rows": [5, 7], "cause": "x", "job": "contact:1"}, {"rows": [8, 8], "cause": "y", "job": None}],
    }


def test_rejections_for_arrow() -> None:
    """All of them as a table, any number of times: the row as JSON, and what no text can hold as an escape."""
    rows = [rejection(1, message="a\ud800"), Rejection(row=None, message="x", match="ambiguous", candidates=(2, 3))]
    made = report([*rows, *(rejection(row, data=ODD) for row in range(4, 2_000))])
    for _ in range(2):
        found = pa.table(made.to_arrow()).to_pylist()
        assert len(made.to_arrow()) == len(found) == len(made.rejections)  # type: ignore[arg-type]  # it has one
        assert found[0] == {
            "row": 1, "email": A, "field": None, "message": "a\\ud800", "match": "exact", "origin": "mailjet",
            "candidates": [], "data": json.dumps({"email": A, "n": 1}, separators=(",", ":")),
        }  # fmt: skip
        assert (found[1]["row"], found[1]["candidates"], found[1]["data"]) == (None, [2, 3], None)
        assert [row["row"] for row in found[2:]] == list(range(4, 2_000))
        assert json.loads(found[-1]["data"])["money"] == "1.10"
    assert pa.table(report().to_arrow()).num_rows == 0


def test_rejections_in_other_libraries() -> None:
    """pandas, polars and DuckDB take them as they are, and so does an import."""
    made = report([rejection(row) for row in range(1, 4)])
    assert pd.DataFrame.from_arrow(made.to_arrow())["row"].tolist() == [1, 2, 3]
    assert pl.DataFrame(made.to_arrow())["row"].to_list() == [1, 2, 3]
    refused = made.to_arrow()
    assert duckdb.sql("select sum(row) from refused").fetchall() == [(6,)]  # type: ignore[union-attr]  # a relation
    assert source_of(refused).rereadable


def test_rejections_are_taken_as_they_are_read() -> None:
    """Nothing is read before its turn: a report may have more of them than memory."""

    class Endless(RejectionStore):
        taken = 0

        def __iter__(self) -> Iterator[Rejection]:
            while True:
                self.taken += 1
                yield rejection(self.taken)

    store = Endless()
    reader = pa.RecordBatchReader.from_stream(attrs.evolve(report(), rejections=store).to_arrow())
    assert store.taken == 0
    assert reader.read_next_batch().num_rows == store.taken == 1_000


@pytest.mark.parametrize("name", ["rejects.txt", "rejects", "rejects.csv.gz", ".csv", ".json"])
def test_endings_that_are_not_known(tmp_path: Path, name: str) -> None:
    """Any other ending is refused before a file is made."""
    with pytest.raises(UsageError) as caught:
        report().write_rejections(tmp_path / name)
    assert "as .csv, .jsonl, .json" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    """What is written is readable for its owner alone, and stands in the place of what was there."""
    path = tmp_path / "rejects.csv"
    path.write_text("old", encoding="utf-8")
    report().write_rejections(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "old" not in path.read_text(encoding="utf-8")
    assert [found.name for found in tmp_path.iterdir()] == ["rejects.csv"]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """Where writing fails, the old file stays, and nothing else is left behind."""
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with suppress(KeyboardInterrupt), whole_or_not_at_all(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["x"]


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    """Who has put a link where the file is prepared does not get another file overwritten."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "rejects.csv.partial").symlink_to(victim)
    with pytest.raises(OSError):
        report().write_rejections(tmp_path / "rejects.csv")
    assert victim.read_bytes() == b"precious"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A folder that is missing is said in the system's words."""
    with pytest.raises(FileNotFoundError):
        report().write_rejections(tmp_path / "no" / "rejects.csv")


class Mute:
    """A value that has no text."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json"])
def test_a_value_without_a_text_is_written_as_its_type(tmp_path: Path, ending: str) -> None:
    """Also within another one, and beside what no JSON can hold."""
    path = tmp_path / f"rejects.{ending}"
    assert report([rejection(1, data={"v": Mute(), "w": [Mute(), "\ud800"]})]).write_rejections(path) == 1
    assert "(Mute)" in path.read_text()
