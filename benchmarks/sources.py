"""How many rows are imported from each kind of source in a second of processor time.

All threads of the process count, and the sink, another process, does not: so other work of the machine says little.
Each import goes to one sink, on the JSON way. The best of some rounds counts. A library that
is not installed has no line.
"""

import asyncio
import gzip
import io
import json
import platform
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.processes import sink
from benchmarks.rows import rows
from mjbulk import Client, Credentials, Settings, csv_source, excel_source, in_thread, jsonl_source

_PIECE = 2**16


class Made:
    """The same rows in several forms, each made when it is first wanted."""

    def __init__(self, count: int, folder: Path) -> None:
        self.folder = folder
        self.rows = list(rows(count))
        self.csv = self._csv()
        self.path = folder / "rows.csv"
        self.path.write_bytes(self.csv)
        self.jsonl = "".join(f"{json.dumps(row)}\n" for row in self.rows).encode()

    def _csv(self) -> bytes:
        lines = [",".join(self.rows[0]), *(",".join(map(str, row.values())) for row in self.rows)]
        return "".join(f"{line}\n" for line in lines).replace("True", "true").replace("False", "false").encode()

    async def pieces(self, size: int = _PIECE) -> AsyncIterator[bytes]:
        for start in range(0, len(self.csv), size):
            yield self.csv[start : start + size]

    async def awaited_lines(self) -> AsyncIterator[bytes]:
        for line in self.csv.splitlines(keepends=True):
            yield line

    def frame(self) -> Any:
        return import_module("pandas").DataFrame(self.rows)

    def arrow(self) -> Any:
        return import_module("pyarrow").Table.from_pylist(self.rows)

    def parquet(self) -> Path:
        path = self.folder / "rows.parquet"
        import_module("pyarrow.parquet").write_table(self.arrow(), path)
        return path

    def sheet(self) -> Path:
        path = self.folder / "rows.xlsx"
        book = import_module("openpyxl").Workbook(write_only=True)
        sheet = book.create_sheet()
        sheet.append(list(self.rows[0]))
        for row in self.rows:
            sheet.append(list(row.values()))
        book.save(path)
        return path

    def relation(self) -> Any:
        return import_module("duckdb").from_arrow(self.arrow())


Make = Callable[[Made], Any]
SOURCES: Mapping[tuple[str, str], Make] = {
    ("a list of dicts", ""): lambda made: made.rows,
    ("an iterator of dicts, in a thread", ""): lambda made: in_thread(iter(made.rows)),
    ("CSV: a path", ""): lambda made: made.path,
    ("CSV: an open file", ""): lambda made: csv_source(io.BytesIO(made.csv)),
    ("CSV: packed", ""): lambda made: csv_source(io.BytesIO(gzip.compress(made.csv, 1))),
    ("CSV: bytes that are awaited", ""): lambda made: csv_source(made.pieces()),
    ("CSV: lines that are awaited", ""): lambda made: csv_source(made.awaited_lines()),
    ("CSV: lines", ""): lambda made: csv_source(made.csv.splitlines(keepends=True)),
    ("CSV: an upload", "starlette"): lambda made: csv_source(
        import_module("starlette.datastructures").UploadFile(io.BytesIO(made.csv))
    ),
    ("JSON Lines: an open file", ""): lambda made: jsonl_source(io.BytesIO(made.jsonl)),
    ("a spreadsheet", "python-calamine"): lambda made: excel_source(made.sheet()),
    ("a Parquet file", "pyarrow"): lambda made: made.parquet(),
    ("a table", "pyarrow"): lambda made: made.arrow(),
    ("batches of a table", "pyarrow"): lambda made: made.arrow().to_batches(10_000),
    ("a frame", "pandas"): lambda made: made.frame(),
    ("read_csv in chunks", "pandas"): lambda made: import_module("pandas").read_csv(made.path, chunksize=10_000),
    ("a frame", "polars"): lambda made: import_module("polars").DataFrame(made.rows),
    ("slices of a frame", "polars"): lambda made: import_module("polars").DataFrame(made.rows).iter_slices(10_000),
    ("a relation", "duckdb"): lambda made: made.relation(),
}
"""By what they are, and the library that they need."""


async def _import(url: str, source: Any) -> int:
    async with Client(Credentials("public", "private"), Settings(api_url=url, poll_min=0.05)) as client:
        return (await client.import_contacts(source, lists={1: "addnoforce"})).accepted


def measure(url: str, made: Made, make: Make, rounds: int) -> float:
    """Give the rows in a second of processor time, in the best round. Raises RuntimeError if a row was lost."""
    best = 0.0
    for _ in range(rounds):
        source = make(made)
        began = time.process_time()
        accepted = asyncio.run(_import(url, source))
        if accepted != len(made.rows):
            raise RuntimeError(f"{accepted} rows of {len(made.rows)} were accepted")
        best = max(best, accepted / (time.process_time() - began))
    return best


def print_table(count: int, rounds: int) -> None:
    """Print the table, for that many rows."""
    print("| source | library | rows a second of CPU |\n| --- | --- | ---: |")
    with tempfile.TemporaryDirectory() as folder, sink() as url:
        made = Made(count, Path(folder))
        for (name, library), make in SOURCES.items():
            try:
                named = f"{library} {version(library)}" if library else f"Python {platform.python_version()}"
                speed = measure(url, made, make, rounds)
            except (PackageNotFoundError, ImportError):
                continue
            print(f"| {name} | {named} | {speed:,.0f} |", flush=True)
