"""``mjbulk plan``: a verdict, counts by code, some examples, and what surprises."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import TO_LIST, people

from mjbulk.cli import main
from mjbulk.testing import Mailjet

Output = pytest.CaptureFixture[str]
Plan = Callable[..., list[str]]


@pytest.fixture
def plan(mailjet: Mailjet, tmp_path: Path, capsys: Output) -> Plan:
    """Plans an import of a text, and gives the lines of stdout."""

    def make(text: str, *options: str, status: int = 0, lists: tuple[str, ...] = TO_LIST) -> list[str]:
        file = tmp_path / "contacts.csv"
        file.write_text(text)
        capsys.readouterr()
        assert main(["plan", str(file), *lists, *options]) == status
        assert not mailjet.contacts
        return capsys.readouterr().out.splitlines()

    return make


def test_the_verdict_comes_first(plan: Plan, mailjet: Mailjet) -> None:
    """In a sentence."""
    assert plan(people(3))[0] == "The import would send all 3 rows in 1 job, by 1 request."
    assert plan(people(1))[0] == "The import would send its row in 1 job, by 1 request."
    assert plan(people(3), "--chunk-size", "2")[0].endswith("in 2 jobs, by 2 requests.")
    assert plan(people(3) + "nobody\n", status=1)[0] == (
        "The import would send 3 of 4 rows in 1 job, by 1 request, and refuse 1."
    )
    assert plan("email\n")[0] == "The import would send nothing: the source has no rows."
    assert plan("email,shoe,hat\na@example.org,1,2\n", status=1)[0] == (
        "The import would be refused: the account has no properties 'shoe', 'hat'."
    )
    created = plan("email,shoe\na@example.org,1\n", "--create-properties")
    assert created[0].endswith("by 2 requests; it would create the properties 'shoe'.")
    assert "new properties       shoe" in created
    assert "unknown properties   none" in created
    assert plan("email,shoe\na@example.org,1\n", "--via", "csv", status=1)[0].startswith("The import would be refused")


def test_columns_that_look_like_numbers_and_dates_are_told(plan: Plan) -> None:
    """With the options that make them so."""
    head = "email,Umsatz,n,born,seen,zip\n"
    lines = plan(head + 'a@example.org,"2652,19",7.5,02.01.2020,2020-01-02,01067\n', "--create-properties")
    told = [line.partition(" and has ")[2] for line in lines if "would become the property" in line]
    assert told == [
        "numbers with a comma alone: --types Umsatz=float says otherwise, once they are written as in 2652.19",
        "numbers alone: --types n=float says otherwise",
        "dates alone: --types born=datetime with --date-format %d.%m.%Y says otherwise",
        "dates alone: --types seen=datetime says otherwise",
    ]


def test_a_file_in_another_encoding_is_refused_with_what_helps(
    tmp_path: Path, mailjet: Mailjet, capsys: Output
) -> None:
    """As by an import: status 2, and the next step."""
    file = tmp_path / "contacts.csv"
    file.write_bytes("email,city\na@example.org,M\xfcnchen\n".encode("cp1252"))
    for command in ("plan", "submit"):
        assert main([command, str(file), *TO_LIST]) == 2
        err = capsys.readouterr().err
        assert "this is not utf-8: say --encoding, often cp1252" in err
        assert "next: correct the file, or say how it is read (mjbulk import --help: Source), and try again" in err
    assert mailjet.emulator.count("POST contact/managemanycontacts") == 0


def test_refused_rows_are_counted_by_code_and_ten_are_shown(plan: Plan, tmp_path: Path, mailjet: Mailjet) -> None:
    """All of them are in the file of --rejects, with their data."""
    mailjet.emulator.create_property("age", "int")
    text = "email,age\na@example.org,1\n" + "nobody,2\n" * 14 + "b@example.org,old\n"
    lines = plan(text, status=1)
    assert "  address.invalid    14" in lines
    assert "  value.type         1" in lines
    assert len([line for line in lines if line.startswith("row ")]) == 10
    assert lines[-1] == "... and 5 more rows: --rejects FILE.csv writes all of them"
    rejects = tmp_path / "r.csv"
    assert plan(text, "--rejects", str(rejects), status=1)[-1] == f"... and 5 more rows: all are in {rejects}"
    rows = [*csv.DictReader(rejects.read_text().splitlines())]
    assert len(rows) == 15
    assert (rows[-1]["row"], rows[-1]["age"], rows[-1]["code"]) == ("16", "old", "value.type")


def test_json_has_all_of_it(plan: Plan) -> None:
    """As one object."""
    (line,) = plan(people(2) + "nobody\n", "--json", status=1)
    found = json.loads(line)
    assert (found["rows"], found["rejected"], found["by_code"], found["findings"]) == (3, 1, {"address.invalid": 1}, [])


def test_force_is_told(plan: Plan) -> None:
    """addforce subscribes people who have left."""
    forced = ("--list", "1", "--action", "addforce")
    assert "addforce subscribes 3 people, also those who have unsubscribed; addnoforce leaves these alone" in plan(
        people(3), lists=forced
    )
    assert not [line for line in plan(people(3)) if "addforce" in line]


def test_a_dry_run_of_an_import_is_its_plan(mailjet: Mailjet, tmp_path: Path, capsys: Output, plan: Plan) -> None:
    """With the options of the import; nothing is sent, and no run is kept."""
    planned = plan(people(3) + "nobody\n", status=1)
    assert main(["import", str(tmp_path / "contacts.csv"), *TO_LIST, "--dry-run"]) == 1
    assert capsys.readouterr().out.splitlines() == planned
    assert not mailjet.contacts
    assert main(["runs"]) == 2


def test_a_trailing_comma_is_explained(plan: Plan, tmp_path: Path, capsys: Output) -> None:
    """An empty column does not count; one with values is refused, with its number."""
    plan("email,\na@example.org,\n")
    (tmp_path / "contacts.csv").write_text("email,\na@example.org,x\n")
    assert main(["plan", str(tmp_path / "contacts.csv"), *TO_LIST]) == 2
    assert "column 2 has no name, and row 1 (line 2) has a value in it" in capsys.readouterr().err


def test_what_is_shown_is_spelt_for_a_shell(plan: Plan, mailjet: Mailjet) -> None:
    """Findings and reasons name options."""
    mailjet.emulator.create_property("born", "datetime")
    lines = plan("email,born\na@example.org,2026-01-01\nb@example.org,1/1/26\n", status=1)
    shown = "\n".join(lines)
    assert "in the zone of --timezone" in shown
    assert "(--date-format names another form)" in shown
    assert "timezone=" not in shown
