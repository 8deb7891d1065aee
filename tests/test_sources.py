"""Sources: rows of files, streams and iterables, in batches."""

from pathlib import Path
from typing import Any

import pytest

import mjbulk
from mjbulk._sources import Source, reopen, source_of


async def rows_of(source: Source) -> list[dict[str, Any]]:
    """Give all rows of a source that have no fault."""
    blocks = [block async for batch in source.batches() for block in batch]
    return [dict(zip(block.names, row, strict=True)) for block in blocks for row in block.rows]  # type: ignore[union-attr]


async def test_a_file_is_found_again_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of a file has all that makes the same source of it, wherever the process stands; a stream has none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_bytes("email;name\na@example.org;Zoë\n".encode("latin-1"))
    (tmp_path / "a.jsonl").write_text('{"email":"a@example.org"}\n')
    sources = [mjbulk.csv_source("a.csv", encoding="latin-1", delimiter=";"), source_of("a.jsonl")]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    places = [source.place or {} for source in sources]
    assert places[0] == {
        "kind": "csv", "path": str(tmp_path / "a.csv"), "encoding": "latin-1", "delimiter": ";",
    }  # fmt: skip
    again = [reopen(place) for place in places]
    assert [source.place for source in again] == places
    assert await rows_of(again[0]) == [{"email": "a@example.org", "name": "Zoë"}]
    assert await rows_of(again[1]) == [{"email": "a@example.org"}]
    with (tmp_path / "a.csv").open("rb") as file:
        assert mjbulk.csv_source(file).place is None
    assert source_of([]).place is None
    assert source_of("missing.csv").place is None
