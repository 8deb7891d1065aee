"""Rejections as a table for Arrow, pandas, polars and DuckDB."""

import json
from collections.abc import Iterator

import attrs
import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
import pytest
from samples import ODD, A, rejection, report
from support import extra

from mjbulk.models import Rejection
from mjbulk.outcomes.rejections import RejectionStore
from mjbulk.rows.sources import source_of


def test_rejections_for_arrow() -> None:
    """All of them as a table, any number of times: the row as JSON, and what no text can hold as an escape."""
    rows = [rejection(1, message="a\ud800"), Rejection(row=None, message="x", match="ambiguous", candidates=(2, 3))]
    made = report([*rows, *(rejection(row, data=ODD) for row in range(4, 2_000))])
    for _ in range(2):
        found = pa.table(made.to_arrow()).to_pylist()
        assert len(made.to_arrow()) == len(found) == len(made.rejections)  # type: ignore[arg-type]  # it has one
        assert found[0] == {
            "row": 1, "email": A, "field": None, "message": "a\\ud800", "match": "exact", "origin": "mailjet",
            "code": "unspecified",
            "candidates": [], "data": json.dumps({"email": A, "n": 1}, separators=(",", ":")),
        }  # fmt: skip
        assert (found[1]["row"], found[1]["candidates"], found[1]["data"]) == (None, [2, 3], None)
        assert [row["row"] for row in found[2:]] == list(range(4, 2_000))
        assert json.loads(found[-1]["data"])["money"] == "1.10"
    assert pa.table(report().to_arrow()).num_rows == 0


def test_rejections_are_a_source() -> None:
    """An import takes them as they are, any number of times."""
    assert source_of(report([rejection(1)]).to_arrow()).rereadable


@pytest.mark.extra
def test_rejections_in_other_libraries() -> None:
    """pandas, polars and DuckDB take them as they are."""
    pd, pl, duckdb = extra("pandas"), extra("polars"), extra("duckdb")
    made = report([rejection(row) for row in range(1, 4)])
    assert pd.DataFrame.from_arrow(made.to_arrow())["row"].tolist() == [1, 2, 3]
    assert pl.DataFrame(made.to_arrow())["row"].to_list() == [1, 2, 3]
    refused = made.to_arrow()  # noqa: F841  # the query finds it by its name
    assert duckdb.sql("select sum(row) from refused").fetchall() == [(6,)]


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
