"""Findings: what may surprise in a source, each once, with a count."""

from mjbulk.rows.findings import Findings


def test_each_is_there_once() -> None:
    """Rows with the same finding are counted; the first row, and the first sentence, stay."""
    found = Findings()
    found.note("file.sep", "the first line says sep=;")
    found.note("value.unix_time", "read as Unix time", column="born", row=3, rows=2)
    found.note("value.unix_time", "read as Unix time, again", column="born", row=7)
    found.note("value.unix_time", "read as Unix time", column="left", row=7)
    assert [(one.code, one.column, one.count, one.first_row) for one in found] == [
        ("file.sep", None, 1, None),
        ("value.unix_time", "born", 3, 3),
        ("value.unix_time", "left", 1, 7),
    ]
    assert [one.message for one in found] == ["the first line says sep=;", "read as Unix time", "read as Unix time"]


def test_another_reading_begins_with_none() -> None:
    """What was found before is forgotten."""
    found = Findings()
    found.note("file.sep", "the first line says sep=;")
    found.clear()
    assert list(found) == []
