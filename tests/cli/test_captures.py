"""What people see, as whole pages: stored beside this test for reading, at 80 and at 120 columns.

``MJBULK_CAPTURES=write python -m pytest tests/cli/test_captures.py`` stores them again.
"""

import os
import re
from functools import partial
from pathlib import Path

import pytest
from commands import TO_LIST, people

from mjbulk.cli import main
from mjbulk.testing import Fault, Mailjet

HERE = Path(__file__).parent / "captures"
CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d"), "2026-11-23 12:00"),
    (re.compile(r"\b\d+\.\d s\b"), "1.0 s"),
    (re.compile(r"contact:\d+"), "contact:113"),
)
"""What differs from one time to the next."""


def stand_in(instead: str, found: re.Match[str]) -> str:
    """Keep the width of the columns."""
    return instead.ljust(len(found[0]))


POST = "POST contact/managemanycontacts"


@pytest.mark.parametrize("width", [80, 120])
def test_pages(
    width: int, mailjet: Mailjet, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import with rejected rows, its plan, one that is stopped, the runs, one of them, and a wrong column."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.chdir(tmp_path)
    mailjet.emulator.create_property("age", "int")
    Path("contacts.csv").write_text(
        "email,age\n" + "".join(f"p{n}@example.org,{n}\n" for n in range(50)) + "nobody,7\n"
    )
    Path("people.csv").write_text(people(30))
    Path("export.csv").write_text("E-Mail;City\nann@example.org;Graz\n")
    to_list = " ".join(TO_LIST)
    page = []
    for line in (
        "plan contacts.csv --list 1 --action addforce",
        f"import contacts.csv {to_list} --run-id crm-2026-11-23 --chunk-size 20",
        f"import people.csv {to_list} --run-id nightly --chunk-size 10 --concurrency 1",
        f"import export.csv {to_list}",
        f"import contacts.csv {to_list} --columns email,aeg",
        "runs",
        "runs crm-2026-11-23",
        "runs nightly",
    ):
        if "nightly" in line and line.startswith("import"):
            mailjet.emulator.fault(POST, Fault.answer(403, "{}"), times=None)
        status = main(line.split())
        out, err = capsys.readouterr()
        page.append(f"$ mjbulk {line}\n{out}{err}[{status}]\n")
    text = "\n".join(page)
    for pattern, instead in CHANGING:
        text = pattern.sub(partial(stand_in, instead), text)
    stored = HERE / f"pages-{width}.txt"
    if os.environ.get("MJBULK_CAPTURES") == "write":
        stored.write_text(text)
    assert text == stored.read_text()
