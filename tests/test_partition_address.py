"""Tables cut by their people."""

import os
import subprocess
import sys
import traceback
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
import pytest
from support import extra

import mjbulk
from mjbulk.partition import partition_by_address

ROWS = [{"n": n, "E-Mail": f"p{n * 7 % 20}@example.org"} for n in range(100)]


def numbers_of(parts: Any) -> list[list[int]]:
    return [part["n"].to_pylist() for part in parts]


def test_rows_of_a_person_stay_together_and_in_order() -> None:
    """Each row is in one partition, also where the table has several batches."""
    table = pa.Table.from_batches(pa.Table.from_pylist(ROWS).to_batches(max_chunksize=7))
    parts = partition_by_address(table, 3, column="e-mail")
    assert sorted(n for numbers in numbers_of(parts) for n in numbers) == list(range(100))
    people = [set(part["E-Mail"].to_pylist()) for part in parts]
    assert sum(map(len, people)) == 20
    assert all(numbers == sorted(numbers) for numbers in numbers_of(parts))
    assert all(part.schema == table.schema for part in parts)
    assert all(30 > len(some) > 1 for some in people)


def test_spellings_of_a_person_are_one() -> None:
    """Case, blanks, composed letters and the form of a domain make no difference, as in an import."""
    same = ["a@b.org", " A@B.org ", "a@b.ORG"]
    other = ["j\u00f6@m\u00fcller.de", "jo\u0308@xn--mller-kva.de", "J\u00d6@M\u00dcLLER.de"]
    for addresses in (same, other):
        parts = partition_by_address(pa.table({"email": addresses}), 50)
        assert sorted(map(len, parts))[-2:] == [0, 3]


def test_rows_without_an_address_are_in_the_first() -> None:
    """And so are those whose address is no text: an import refuses them."""
    first, *others = partition_by_address(pa.table({"email": [None, "", " "]}), 5)
    assert (len(first), sum(map(len, others))) == (3, 0)
    assert len(partition_by_address(pa.table({"email": [1, 2]}), 3)[0]) == 2
    assert [len(part) for part in partition_by_address(pa.table({"email": pa.array([], "string")}), 2)] == [0, 0]


def test_a_person_is_in_the_same_partition_everywhere() -> None:
    """In another process, too, whose texts have other hashes."""
    code = """
import pyarrow as pa
from mjbulk.partition import partition_by_address
table = pa.table({"email": [f"p{n}@example.org" for n in range(10)]})
print([len(part) for part in partition_by_address(table, 4)])
"""
    elsewhere = {"PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.check_output([sys.executable, "-c", code], text=True, env=elsewhere)
    assert said == "[2, 3, 3, 2]\n"


@pytest.mark.parametrize(
    ("table", "n", "said"),
    [
        (pa.table({"email": ["a@b.org"]}), 0, "n is a whole number above 0"),
        (pa.table({"email": ["a@b.org"]}), True, "n is a whole number above 0"),
        (pa.table({"mail": ["a@b.org"]}), 2, "no column 'email'"),
        (pa.table({"Email": ["a@b.org"], "EMAIL": ["a@b.org"]}), 2, "several columns 'email'"),
        ([{"email": "a@b.org"}], 2, "a list is no table of Arrow, and no data frame of Dask"),
    ],
)
def test_what_cannot_be_cut(table: Any, n: int, said: str) -> None:
    """It is named before anything is done."""
    with pytest.raises(mjbulk.UsageError) as caught:
        partition_by_address(table, n)
    assert said in str(caught.value)


@pytest.mark.extra
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_of_other_libraries(library: str) -> None:
    """They come out as tables of Arrow, cut as any table is."""
    frame = extra(library).DataFrame(ROWS)
    parts = partition_by_address(frame, 3, column="E-Mail")
    assert numbers_of(parts) == numbers_of(partition_by_address(pa.Table.from_pylist(ROWS), 3, column="E-Mail"))


@pytest.mark.extra
def test_columns_that_are_not_imported_may_be_of_any_type() -> None:
    """Texts of polars come as views, also in lists and structs: pyarrow takes no rows of those."""
    polars = extra("polars")
    rows = {"email": ["a@b.org", "b@b.org"], "words": [["x"], ["y", "z"]], "more": [{"k": "x"}, {"k": "y"}]}
    frame = polars.DataFrame(rows).with_columns(polars.col("email").cast(polars.Categorical).alias("kind"))
    parts = partition_by_address(frame, 3)
    assert sorted((row["words"], row["more"]) for part in parts for row in part.to_pylist()) == [
        (["x"], {"k": "x"}),
        (["y", "z"], {"k": "y"}),
    ]


@pytest.mark.extra
def test_an_error_about_a_value_does_not_quote_it() -> None:
    """pyarrow does: a column of pandas with numbers and texts cannot be given as Arrow."""
    frame = extra("pandas").DataFrame({"email": ["a@b.org", "b@b.org"], "who": [3, "anna@example.org"]})
    with pytest.raises(mjbulk.UsageError, match=r"Arrow .*, for its column 'who'") as why:
        partition_by_address(frame, 2)
    assert "anna" not in "".join(traceback.format_exception(why.value))


@pytest.mark.extra
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_data_frame_of_dask() -> None:
    """Its partitions are cut one by one when they are wanted, and the order of rows is kept."""
    dask = extra("dask")
    frame = extra("dask.dataframe").from_pandas(extra("pandas").DataFrame(ROWS), npartitions=4)
    parts = dask.compute(*partition_by_address(frame, 3, column="e-mail"), scheduler="synchronous")
    numbers = [[n for piece in pieces for n in piece["n"]] for pieces in parts]
    assert numbers == numbers_of(partition_by_address(pa.Table.from_pylist(ROWS), 3, column="E-Mail"))
