"""FACTS.md: every fact has a label and an address, and code names only sections that are there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import mjbulk

PACKAGE = Path(mjbulk.__file__).parent
PAGE = (PACKAGE / "mailjet" / "FACTS.md").read_text(encoding="utf-8")
LABELS = {"documented", "observed", "inferred", "unknown"}

_SECTION = re.compile(r"^### (\d+)\.(\d+) \S.*$", re.MULTILINE)
_FACT = re.compile(r"\*\*(\w+)\*\* \(((?:\[[^]]+\]|[^()])+)\) \S")
_ADDRESS = re.compile(r"^\[([^]]+)\]: (\S+) \"([^\"]+)\"$", re.MULTILINE)
_NAMED = re.compile(r"FACTS((?:(?:,| and)?\s+\d+\.\d+)+)")
_WHY_NOT = ("no page", "no recording", "from ", "asked for", "the issue does not")
"""How a fact without an address says why it has none."""
OBEYING = (
    "chunks/as_csv.py",
    "chunks/as_json.py",
    "config.py",
    "jobs/scheduler.py",
    "jobs/track.py",
    "mailjet/account.py",
    "mailjet/pace.py",
    "mailjet/replies.py",
    "mailjet/requests.py",
    "mailjet/verdict.py",
    "outcomes/error_file.py",
    "outcomes/settle.py",
    "rows/contacts.py",
    "rows/values.py",
    "testing/_import_csv.py",
    "testing/_import_json.py",
    "testing/_knobs.py",
)


def sections(page: str) -> dict[str, str]:
    """Give the text of each numbered section, by its number."""
    heads = list(_SECTION.finditer(page))
    ends = [head.start() for head in heads[1:]] + [page.index("\n[")]
    return {
        f"{head[1]}.{head[2]}": page[head.end() : end].partition("\n## ")[0]
        for head, end in zip(heads, ends, strict=True)
    }


def faults(number: str, text: str, addresses: set[str]) -> Iterator[str]:
    """Say what is wrong with a section."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        yield f"{number} has no fact"
    for line in lines:
        facts = _FACT.findall(line)
        if not line.startswith("- **") or len(facts) != line.count("**") // 2:
            yield f"{number}: a line is no list of facts with labels and addresses: {line[:60]}"
        for label, where in facts:
            named = re.findall(r"\[([^]]+)\]", where)
            if label not in LABELS:
                yield f"{number}: {label} is no label"
            yield from (f"{number}: [{name}] has no address" for name in named if name not in addresses)
            if not named and not where.startswith(_WHY_NOT):
                yield f"{number}: a fact has no address, and does not say why: {where}"


def named_sections(text: str) -> list[str]:
    """Give the sections that a file names."""
    return [number for names in _NAMED.findall(text) for number in re.findall(r"\d+\.\d+", names)]


def test_sections_are_numbered_without_gaps() -> None:
    """Sections of a chapter count from 1, and so do chapters."""
    numbers = [(int(chapter), int(section)) for chapter, section in _SECTION.findall(PAGE)]
    chapters = [int(chapter) for chapter in re.findall(r"^## (\d+) ", PAGE, re.MULTILINE)]
    assert chapters == list(range(1, len(chapters) + 1))
    assert numbers == [
        (chapter, section)
        for chapter in chapters
        for section in range(1, sum(one == chapter for one, _ in numbers) + 1)
    ]


def test_every_fact_has_a_label_and_an_address() -> None:
    """Each line of a section is one fact or several; each has a label, and an address or the reason why it has none."""
    addresses = {name for name, _, _ in _ADDRESS.findall(PAGE)}
    assert [fault for number, text in sections(PAGE).items() for fault in faults(number, text, addresses)] == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("", "1.1 has no fact"),
        ("The status is 201.", "1.1: a line is no list of facts"),
        ("- The status is 201.", "1.1: a line is no list of facts"),
        ("- **observed** The status is 201.", "1.1: a line is no list of facts"),
        ("- **seen** ([guide]) The status is 201.", "1.1: seen is no label"),
        ("- **observed** ([letter]) The status is 201.", "1.1: [letter] has no address"),
        ("- **observed** (somebody said so) The status is 201.", "1.1: a fact has no address, and does not say why"),
    ],
)
def test_a_fact_without_them_is_found(line: str, fault: str) -> None:
    """A section without a fact, a fact without a label or an address, and an unknown label or address are faults."""
    assert [found for found in faults("1.1", line, {"guide"}) if not found.startswith(fault)] == []
    assert list(faults("1.1", line, {"guide"}))


def test_every_address_is_public_dated_and_used() -> None:
    """Addresses are https, say their version or date, stand there once, and a fact names each."""
    found = _ADDRESS.findall(PAGE)
    assert len(found) == len(re.findall(r"^\[", PAGE, re.MULTILINE)) == len({name for name, _, _ in found})
    body = PAGE[: PAGE.index("\n[")]
    for name, url, version in found:
        assert url.startswith("https://"), name
        assert re.search(r"[0-9a-f]{7}|20\d\d|\d\.\d", version), name
        assert f"[{name}]" in body, name


def named_by_module() -> dict[str, list[str]]:
    """Give the sections that each file of the package names."""
    files = [path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".md"}]
    return {path.relative_to(PACKAGE).as_posix(): named_sections(path.read_text(encoding="utf-8")) for path in files}


def test_code_names_sections_that_are_there() -> None:
    """Each section that a file of the package names exists."""
    known = set(sections(PAGE))
    wrong = {path: sorted({*numbers} - known) for path, numbers in named_by_module().items()}
    assert {path: numbers for path, numbers in wrong.items() if numbers} == {}


def test_modules_that_obey_facts_name_them() -> None:
    """A module whose rules come from Mailjet says which facts they follow."""
    named = named_by_module()
    assert [path for path in OBEYING if not named[path]] == []


def test_a_name_may_have_several_numbers() -> None:
    """``FACTS 1.6``, ``FACTS 1.6, 2.10`` and ``FACTS 1.6 and 2.10`` are names; other numbers are none."""
    assert named_sections("x (FACTS 1.6, 2.10; 3.11)") == ["1.6", "2.10"]
    assert named_sections("FACTS 1.6 and 2.10. FACTS.md 4.1") == ["1.6", "2.10"]
