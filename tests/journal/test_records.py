"""The rules of the journal: records, what they add up to, and what is missing from them."""

from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from mjbulk import JobRef, JournalRefused, Rejection, RunInfo, RunSpec, UsageError
from mjbulk.journal.history import History
from mjbulk.journal.info import together
from mjbulk.journal.protocol import NoJournal
from mjbulk.journal.records import (
    ChunkRecord,
    PartRecord,
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
from mjbulk.models import Action

SPEC = RunSpec(lists=((42, Action.ADDNOFORCE), ("news", Action.REMOVE)), columns={"E-Mail": "email"})
RUN = RunRecord(
    run=number_of("r", ""), run_id="r", account=fingerprint("key"), spec=encode_spec(SPEC), created="2026-11-23"
)


def chunk(number: int, **said: int) -> ChunkRecord:
    first = number * 10 - 9
    return ChunkRecord(
        **{"run": RUN.run, "number": number, "first": first, "last": first + 9, "rows": 10, "entries": 8, **said},
        digest="d",
    )


def part(number: int, first: int = 0, end: int = 8, rows: int = 10, **said: object) -> PartRecord:
    return PartRecord(run=RUN.run, chunk=number, first=first, end=end, rows=rows, **said)  # type: ignore[arg-type]  # as said


def history(chunks: Sequence[ChunkRecord], parts: Sequence[PartRecord], refused: int = 0) -> History:
    return History.of(RUN, chunks, parts, refused)


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


def test_the_books_of_a_run() -> None:
    """Every row is somewhere: settled, under way, or not sent."""
    known = history(
        [chunk(1), chunk(2), chunk(3), chunk(4), chunk(5)],
        [
            part(1, state="settled", accepted=7, rejected=1, superseded=2),
            part(2, state="halved"),
            part(2, 0, 4, 6, state="settled", unknown=6, cause="it says nothing"),
            part(2, 4, 8, 4, state="watched", job="contact:7"),
            part(3, state="sending"),
            part(4, state="unsent"),
            part(5),
        ],
        refused=3,
    )
    counts = known.counts()
    assert counts.as_dict() == {
        "rows": 53, "accepted": 7, "rejected": 4, "superseded": 2, "unknown": 20, "not_sent": 20,
    }  # fmt: skip
    assert list(known.jobs()) == [JobRef("contact", 7)]
    causes = [(why.rows.start, why.cause, why.job) for why in known.unsettled()]
    assert causes == [
        (11, "it says nothing", None),
        (11, "it was under way when the run ended", JobRef("contact", 7)),
        (21, "it was under way when the run ended", None),
        (31, "it was not sent", None),
        (41, "it was not sent", None),
    ]


def test_chunks_are_shown_with_their_jobs() -> None:
    """Each, or each part of one that was halved, has books that add up; one that was only cut is not sent."""
    known = history(
        [chunk(1), chunk(2)],
        [
            part(1, state="halved"),
            part(1, 0, 4, 6, state="settled", accepted=4, rejected=1, superseded=1, job="contact:7", cause="odd"),
            part(1, 4, 8, 4, state="watched", job="contact:8"),
            part(2),
        ],
    )
    first, second, third = [info.as_dict() for info in known.chunk_infos()]
    assert first == {
        "partition": None, "number": 1, "span": [1, 10], "state": "settled", "job": "contact:7", "rows": 6,
        "accepted": 4, "rejected": 1, "superseded": 1, "unknown": 0, "not_sent": 0, "cause": "odd",
    }  # fmt: skip
    assert (second["job"], second["unknown"], second["cause"]) == ("contact:8", 4, "")
    assert (third["job"], third["state"], third["span"], third["not_sent"]) == (None, "unsent", [11, 20], 10)


@pytest.mark.parametrize(
    ("chunks", "parts"),
    [
        ([chunk(2)], []),
        ([chunk(1), chunk(3)], []),
        ([], [part(1)]),
        ([chunk(1)], [part(1, 0, 4, 5)]),
        ([chunk(1)], [part(1, 4, 8, 5)]),
        ([chunk(1)], [part(1, 0, 3, 5), part(1, 4, 8, 5)]),
        ([chunk(1)], [part(1, 0, 4, 5), part(1, 4, 8, 4)]),
    ],
)
def test_what_is_missing_is_seen(chunks: list[ChunkRecord], parts: list[PartRecord]) -> None:
    """A gap in the chunks, or in the entries of one."""
    with pytest.raises(JournalRefused, match=r"damaged.*missing"):
        history(chunks, parts)


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


def test_partitions_together() -> None:
    """Their sums, and the state of the least settled; as plain data it says which run it is."""
    alone = RunInfo(run_id="r", partition="1", state="settled", rows=1, accepted=1, created="2026-11-23")
    assert list(alone.as_dict().items())[:5] == [
        ("run_id", "r"), ("partition", "1"), ("state", "settled"), ("created", "2026-11-23"), ("rows", 1),
    ]  # fmt: skip
    infos = [RunInfo(run_id="r", partition=str(n), state="settled", rows=n, accepted=n) for n in (1, 2)]
    assert together(infos) == RunInfo(run_id="r", state="settled", rows=3, accepted=3)
    assert together([*infos, RunInfo(run_id="r", state="resumable")]).state == "resumable"
    assert together([*infos, RunInfo(run_id="r", state="running")]).state == "running"


async def test_no_journal_knows_nothing() -> None:
    """It takes everything and gives nothing; who asks for a run is told why."""
    journal = NoJournal()
    assert (await journal.open_run(RUN)).last == 0
    journal.later(RUN)
    await journal.put(RUN)
    assert [record async for record in journal.rejections(RUN.run)] == []
    assert (await journal.runs(RUN.account), await journal.notes(RUN.account)) == ((), {})
    with pytest.raises(JournalRefused, match="no journal"):
        await journal.find("r", "", RUN.account)
    await journal.purge(RUN)
    await journal.release(RUN)
    await journal.aclose()
