"""The files that rejections are written to."""

import csv
import json
import os
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from samples import ODD, A, rejection, report

from mjbulk.outcomes.rejection_files import whole_or_not_at_all
from mjbulk.rows.rejects import REJECTION_COLUMNS


def test_raw_rejections(tmp_path: Path) -> None:
    """.jsonl has one object a line, with the row as it was given, and what no JSON could hold as near as can be."""
    rows = [rejection(1), rejection(2, candidates=(1, 2), data=ODD), rejection(3, email=None, data=None)]
    rows.append(rejection(4, data={7: "x", "tuple": (1, 2)}))
    path = tmp_path / "rejects.JSONL"
    assert report(rows).write_rejections(path) == 4
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    assert found[0] == {
        "row": 1, "email": A, "field": None, "message": "no", "match": "exact", "origin": "mailjet",
        "code": "unspecified",
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
    rows = [
        rejection(1, code="mailjet.MJ08"),
        rejection(2, field="age", data={"x": "a,b", "email": "E"}),
        rejection(3, data=None),
    ]
    path = tmp_path / "rejects.csv"
    assert report(rows).write_rejections(str(path)) == 3
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.reader(file))
    assert found == [
        [*REJECTION_COLUMNS, "email", "n", "x"],
        ["1", A, "", "no", "exact", "mailjet", "mailjet.MJ08", A, "1", ""],
        ["2", A, "age", "no", "exact", "mailjet", "unspecified", "E", "", "a,b"],
        ["3", A, "", "no", "exact", "mailjet", "unspecified", "", "", ""],
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


def test_two_may_write_one_file(tmp_path: Path) -> None:
    """Each writes a file of its own beside it; the one that is ready last stays, whole."""
    path = tmp_path / "x"
    with whole_or_not_at_all(path) as slow:
        slow.write(b"slow, ")
        with whole_or_not_at_all(path) as fast:
            fast.write(b"fast")
        assert path.read_bytes() == b"fast"
        slow.write(b"and whole")
    assert path.read_bytes() == b"slow, and whole"
    assert [found.name for found in tmp_path.iterdir()] == ["x"]


def test_only_its_owner_can_read_it_from_the_beginning(tmp_path: Path) -> None:
    """A file is private while it is being written, whatever the process allows others."""
    before = os.umask(0)
    try:
        with whole_or_not_at_all(tmp_path / "x"):
            (part,) = tmp_path.iterdir()
            assert part.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    """A link under the name of the file is replaced, and what it leads to is not overwritten."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "rejects.csv").symlink_to(victim)
    report().write_rejections(tmp_path / "rejects.csv")
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "rejects.csv").is_symlink()


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
