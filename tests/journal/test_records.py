"""The records of a journal: their names and terms, and nobody's data in them."""

from typing import Any

import pytest
from attrs import evolve

from mjbulk import JournalRefused, Rejection, RunSpec, UsageError
from mjbulk.journal.records import (
    ChunkRecord,
    RunRecord,
    check_sum,
    check_terms,
    decode_spec,
    encode_spec,
    fingerprint,
    mask,
    number_of,
    record_of,
    rejection_of,
)
from mjbulk.terms import Action

SPEC = RunSpec(lists=((42, Action.ADDNOFORCE), ("news", Action.REMOVE)), columns={"E-Mail": "email"})
RUN = RunRecord(run=number_of("a", "r", ""), run_id="r", account="a", spec=encode_spec(SPEC), created="2026-11-23")


def test_a_spec_survives() -> None:
    """With lists by ID and by name, and without any."""
    for spec in (SPEC, RunSpec(lists=None, excluded=True, types={})):
        assert decode_spec(encode_spec(spec)) == spec


def test_names_and_keys_become_numbers() -> None:
    """One name has one number, fit for a database; of a key nothing can be read back."""
    assert 0 < number_of("a", "r", "") < 2**63
    assert number_of("a", "r", "") == number_of("a", "r", "")
    others = {number_of("a", "r", ""), number_of("a", "r", "1"), number_of("a", "r1", ""), number_of("b", "r", "")}
    assert len(others) == 4
    assert "key" not in fingerprint("key")
    assert fingerprint("key") == fingerprint("key") != fingerprint("Key")
    assert check_sum({"a": 1, "b": None}) != check_sum({"a": 1, "b": ""}) != check_sum({"a": 1})
    assert check_sum({"a": 1, "b": 2}) == check_sum({"b": 2, "a": 1})


def test_terms() -> None:
    """Those of a run are its own; what the caller may change may change."""
    other = RunSpec(lists=SPEC.lists, columns=SPEC.columns, resend="always", on_mismatch="accept", timeout=3)
    asked = RunRecord(run=RUN.run, run_id="r", account=RUN.account, spec=encode_spec(other), created="")
    check_terms(RUN, asked)
    zone, form = evolve(SPEC, timezone="Europe/Paris"), evolve(SPEC, date_format="%d.%m.%Y")
    for term, changed in (("timezone", zone), ("date_format", form)):
        with pytest.raises(JournalRefused, match=f"another {term}="):
            check_terms(RUN, evolve(RUN, spec=encode_spec(changed)))
    two = RunSpec.of({1: "addnoforce", 2: "unsub"}, {}), RunSpec.of({2: "unsub", 1: "addnoforce"}, {})
    one, same = (evolve(RUN, spec=encode_spec(spec)) for spec in two)
    check_terms(one, same)


def test_the_one_part_of_a_chunk() -> None:
    """It has all entries, and nothing of it was sent."""
    chunk = ChunkRecord(run=1, number=3, first=21, last=30, rows=9, entries=7, digest="d")
    part = chunk.whole()
    assert (part.run, part.chunk, part.indexes, part.rows, part.state) == (1, 3, slice(0, 7), 9, "unsent")


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "a\nb", 5])
def test_names_that_no_database_could_keep(name: Any) -> None:
    """Of runs, of partitions, and of columns."""
    with pytest.raises(UsageError, match="run_id="):
        number_of("a", "r", name)
    with pytest.raises(UsageError, match="run_id="):
        number_of("a", name, "")
    if name in ("\ud800", 5):
        with pytest.raises(UsageError, match="columns="):
            encode_spec(RunSpec(lists=None, columns={name: "email"}))


def test_rejections_without_anybodys_data() -> None:
    """Row, field and masked message are kept; candidates as ranges."""
    rejection = Rejection(
        row=None,
        candidates=(1, 2, 3, 7, 9, 10),
        email="ann@example.org",
        code="address.blocked",
        field="ann@example.org",
        message="<ann@example.org> is blocked, ask 'bob@example.org'",
        match="ambiguous",
        data={"email": "ann@example.org"},
    )
    record = record_of(rejection, RUN.run, 3, 0, 0)
    assert "example.org" not in repr(record)
    again = rejection_of(record)
    assert (again.row, again.candidates, again.match, again.code, again.email, again.data) == (
        None, (1, 2, 3, 7, 9, 10), "ambiguous", "address.blocked", None, None,
    )  # fmt: skip
    assert again.message == "<***@***> is blocked, ask '***@***'"
    plain = Rejection(row=4, message="bad", origin="mjbulk")
    assert plain.code == "unspecified"
    assert record_of(plain, RUN.run, 0, 0, 4).code == ""
    assert rejection_of(record_of(plain, RUN.run, 0, 0, 4)) == plain
    assert mask("no address") == "no address"
    assert mask('"john.q"@example.org and o\'brien@example.org, "a b"@b.de') == "***@*** and ***@***, ***@***"
    assert mask("a\0b \ud800") == "a\ufffdb ?"
