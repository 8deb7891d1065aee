"""``mjbulk demo``: a whole import against the emulator, with rows that go wrong."""

import csv
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mjbulk.cli._ends import DONE, REJECTED
from mjbulk.cli._output import printable, say, tell
from mjbulk.cli._progress import shown

if TYPE_CHECKING:
    from mjbulk.outcomes.report import Report
    from mjbulk.testing import Emulator

_ROWS = 6_000
_CITIES = ("Aachen", "Bergen", "Coimbra", "Dijon", "Evora", "Firenze", "Gdansk", "Halmstad")
_REFUSED_THERE = {
    1_802: "Mailbox does not exist",
    4_321: "Address is on a block list",
    5_999: "Mailbox does not exist",
}
"""Rows that only Mailjet can find to be bad, and its error messages."""
_BAD_HERE: dict[int, dict[str, str]] = {
    17: {"email": "no address at all"},
    250: {"email": ""},
    1_404: {"age": "forty-two"},
    2_718: {"joined": "the other day"},
    3_141: {"email": "two@signs@example.org"},
    4_444: {"age": "n/a"},
}
"""Rows that mjbulk rejects before they are sent, and their bad values."""


async def demo() -> int:
    """Import a made-up file into a stand-in for Mailjet, and show the rows that were rejected.

    Nothing leaves this machine, and no key is needed.

    Exit status: 0 if the books agree with the stand-in, 1 if they do not.
    """
    from mjbulk.testing import Knobs, serve_in_thread  # noqa: PLC0415  # help must not wait for the server

    say(f"This imports a made-up CSV file of {_ROWS:,} contacts into a stand-in for Mailjet inside this process.")
    say(f"{len(_BAD_HERE)} rows are bad in themselves, {len(_REFUSED_THERE)} more only Mailjet refuses.")
    say("It goes there twice: as JSON, and as CSV.")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mjbulk-demo-")))
        knobs = Knobs(queue_seconds=0.3, prepare_seconds=0.1, import_seconds=0.6, running_jobs=4)
        served = stack.enter_context(serve_in_thread(knobs))
        _furnish(served.emulator)
        sample = _write_sample(folder / "contacts.csv")
        reports = [await _import(sample, served.url, via) for via in ("json", "csv")]
        _show(reports[0])
        applied = len(served.emulator.contacts)
    return max(_check(report, applied) for report in reports)


def _address(row: int) -> str:
    return f"person{row:05}@example.org"


def _furnish(emulator: "Emulator") -> None:
    for name, datatype in (("city", "str"), ("age", "int"), ("joined", "datetime")):
        emulator.create_property(name, datatype)
    for row, message in _REFUSED_THERE.items():
        emulator.reject(_address(row), message)


def _write_sample(path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("email", "name", "city", "age", "joined"))
        writer.writeheader()
        for row in range(1, _ROWS + 1):
            good = {
                "email": _address(row),
                "name": f"Person {row}",
                "city": _CITIES[row % len(_CITIES)],
                "age": str(18 + row % 70),
                "joined": f"20{10 + row % 15}-{1 + row % 12:02}-{1 + row % 28:02}",
            }
            writer.writerow({**good, **_BAD_HERE.get(row, {})})
    return path


async def _import(path: Path, url: str, via: Literal["json", "csv"]) -> "Report":
    from mjbulk.client import Client  # noqa: PLC0415
    from mjbulk.config import Credentials, Settings  # noqa: PLC0415

    settings = Settings(api_url=url, proxy=None, chunk_rows=500, concurrency=4, poll_min=0.2, poll_max=1.0)
    async with Client(Credentials("demo", "demo"), settings) as client:
        columns = ("email", "city", "age", "joined") if via == "csv" else None  # CSV cannot carry a name
        run = client.start_import(path, lists={1: "addnoforce"}, via=via, columns=columns, run_id=f"demo by {via}")
        with shown(run, 0.0):
            return await run


def _show(report: "Report") -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(title="Rejected rows")
    for title in ("row", "address", "field", "reason", "refused by"):
        table.add_column(title, justify="right" if title == "row" else "left", overflow="fold")
    for rejection in sorted(report.rejections, key=lambda r: r.row or 0):
        cells = (rejection.row, rejection.email, rejection.field, rejection.message, rejection.origin)
        table.add_row(*(Text(printable("" if cell is None else cell)) for cell in cells))
    Console().print(table)


def _check(report: "Report", applied: int) -> int:
    """Compare the books with the rows that are known to be bad and with the contacts that the server holds."""
    say(str(report))
    bad = {**_BAD_HERE, **_REFUSED_THERE}
    named = {rejection.row for rejection in report.rejections}
    if report.complete and named == set(bad) and report.accepted == applied == _ROWS - len(bad):
        say(f"The books agree with the server, which holds {applied:,} contacts; each rejected row has its number.")
        return DONE
    tell("the books are not what they should be: please report this")
    return REJECTED
