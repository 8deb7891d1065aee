"""The records of a journal: their names and terms, and nobody's data in them."""

from typing import Any

import attrs
import pytest

from mjbulk import JournalRefused, Rejection, RunSpec, UsageError
from mjbulk.journal.records import (
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
RUN = RunRecord(
    run=number_of("r", ""), run_id="r", account=fingerprint("key"), spec=encode_spec(SPEC), created="2026-11-23"
)


def test_a_spec_survives() -> None:
    """With lists by ID and by name, and without any."""
    for spec in (SPEC, RunSpec(lists=None, excluded=True, types={})):
        assert decode_spec(encode_spec(spec)) == spec


def test_names_and_keys_become_numbers() -> None:
    """One name has one number, fit for a database; of a key nothing can be read back."""
    assert 0 < number_of("r", "") < 2**63
    assert number_of("r", "") != number_of("r", "1") != number_of("r1", "")
    assert "key" not in fingerprint("key")
    assert fingerprint("key") == fingerprint("key") != fingerprint("Key")
    assert check_sum([1, "a", None]) != check_sum([1, "a", ""])


def test_terms() -> None:
    """An account and the terms of a run are its own; what the caller may change may change."""
    other = RunSpec(lists=SPEC.lists, columns=SPEC.columns, resend="always", on_mismatch="accept", timeout=3)
    asked = RunRecord(run=RUN.run, run_id="r", account=RUN.account, spec=encode_spec(other), created="")
    check_terms(RUN, asked)
    stranger = RunRecord(run=RUN.run, run_id="r", account=fingerprint("other"), spec=RUN.spec, created="")
    with pytest.raises(JournalRefused, match="another account"):
        check_terms(RUN, stranger)
    two = RunSpec.of({1: "addnoforce", 2: "unsub"}, {}), RunSpec.of({2: "unsub", 1: "addnoforce"}, {})
    one, same = (attrs.evolve(RUN, spec=encode_spec(spec)) for spec in two)
    check_terms(one, same)


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "a\nb", 5])
def test_names_that_no_database_could_keep(name: Any) -> None:
    """Of runs, of partitions, and of columns."""
    with pytest.raises(UsageError, match="run_id="):
        number_of("r", name)
    with pytest.raises(UsageError, match="run_id="):
        number_of(name, "")
    if name in ("\ud800", 5):
        with pytest.raises(UsageError, match="columns="):
            encode_spec(RunSpec(lists=None, columns={name: "email"}))


def test_rejections_without_anybodys_data() -> None:
    """Row, field and masked message are kept; candidates as ranges."""
    rejection = Rejection(
        row=None,
        candidates=(1, 2, 3, 7, 9, 10),
        email="ann@example.org",
        field="ann@example.org",
        message="<ann@example.org> is blocked, ask 'bob@example.org'",
        match="ambiguous",
        data={"email": "ann@example.org"},
    )
    record = record_of(rejection, RUN.run, 3, 0, 0)
    assert "example.org" not in repr(record)
    again = rejection_of(record)
    assert (again.row, again.candidates, again.match, again.email, again.data) == (
        None, (1, 2, 3, 7, 9, 10), "ambiguous", None, None,
    )  # fmt: skip
    assert again.message == "<***@***> is blocked, ask '***@***'"
    plain = Rejection(row=4, message="bad", origin="mjbulk")
    assert rejection_of(record_of(plain, RUN.run, 0, 0, 4)) == plain
    assert mask("no address") == "no address"
    assert mask('"john.q"@example.org and o\'brien@example.org, "a b"@b.de') == "***@*** and ***@***, ***@***"
    assert mask("a\0b \ud800") == "a\ufffdb ?"
