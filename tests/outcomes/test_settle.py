"""The settled: which row an error means, and whether the counts agree."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.mailjet.replies import JobReply
from mjbulk.outcomes.error_file import EMPTY, MISSING, ErrorFile, RowError, parse
from mjbulk.outcomes.settle import JobOutcome, announces_errors, disagreement, match_errors, relevant_file, settle

LAW = settings(derandomize=True, deadline=None, max_examples=20)
PEOPLE = ["ann@example.org", "Bob@Example.org", "cid@example.org", "dän@example.org"]
BOB = RowError(email="bob@example.org", message="no")
ANN = RowError(email="ann@example.org", message="no")
FILE = ErrorFile(errors=[BOB])


def done(count: int | None = 4, **more: Any) -> JobReply:
    return JobReply(status="Completed", count=count, **more)


# Which row an error means


@pytest.mark.parametrize(
    ("error", "match", "indexes"),
    [
        (RowError(email="ann@example.org"), "exact", (0,)),
        (RowError(email=" BOB@EXAMPLE.ORG "), "exact", (1,)),
        (RowError(email="DÄN@example.org"), "exact", (3,)),
        (RowError(email="eve@example.org"), "unmatched", ()),
        (RowError(email="eve@example.org", cells=["ann@example.org"]), "unmatched", ()),
        (RowError(email="ann@example.org", cells=["cid@example.org"]), "exact", (0,)),
        (RowError(email="ann@example.org", sure=False, cells=["cid@example.org"]), "by_key", (2,)),
        (RowError(email="ann@example.org", sure=False), "unmatched", ()),
        (RowError(cells=["x", " CID@example.org"]), "by_key", (2,)),
        (RowError(cells=["cid@example.org", "cid@example.org"]), "by_key", (2,)),
        (RowError(cells=["cid@example.org", "ann@example.org"]), "ambiguous", (0, 2)),
        (RowError(cells=["eve@example.org", "x", ""]), "unmatched", ()),
        (RowError(), "unmatched", ()),
    ],
)
def test_which_row_an_error_means(error: RowError, match: str, indexes: tuple[int, ...]) -> None:
    """The address where it has to stand decides alone; only without one are mentions looked at."""
    (matched,) = match_errors([error], PEOPLE)
    assert (matched.match, tuple(matched.indexes), matched.error) == (match, indexes, error)


def test_without_rows_nothing_matches() -> None:
    """Where the rows of a job are not known, its errors match none."""
    found = match_errors([BOB, RowError(cells=["bob@example.org"])], ())
    assert [matched.match for matched in found] == ["unmatched"] * 2
    assert list(match_errors([], PEOPLE)) == []


# Announcements


@pytest.mark.parametrize(
    ("job", "announced"),
    [
        (done(), False),
        (done(errcount=0), False),
        (done(errcount=-1), False),
        (done(errcount=1), True),
        (done(error="property not defined"), True),
        (done(error_file="DATA/batchjob/1/JSONError/application:json/LAST"), True),
    ],
)
def test_what_announces_errors(job: JobReply, *, announced: bool) -> None:
    """ErrorFile, Error or an Errcount above zero announces an error file; a file with nothing in it needs that."""
    assert announces_errors(job) is announced
    for nothing in (MISSING, EMPTY, ErrorFile(problem=EMPTY.problem), None):
        assert relevant_file(job, nothing) is (nothing if announced else None)
    for something in (
        FILE,
        ErrorFile(problem="its error file is a page of HTML"),
        ErrorFile(errors=[BOB], problem="x"),
    ):
        assert relevant_file(job, something) is something


# Settling


def summary(settled: JobOutcome) -> tuple[list[int], str | None, str | None, bool]:
    return sorted(settled.rejected), settled.cause, settled.mismatch, settled.final


@pytest.mark.parametrize(
    ("job", "file", "rejected", "cause", "mismatch", "final"),
    [
        (done(), None, [], None, None, True),
        (done(), MISSING, [], None, None, True),
        (done(), EMPTY, [], None, None, True),
        (done(errcount=0, current=4), None, [], None, None, True),
        (done(errcount=0, current=0), None, [], None, None, True),
        (done(), FILE, [1], None, None, True),
        (done(errcount=1), FILE, [1], None, None, True),
        (done(3, errcount=1, current=3), FILE, [1], None, None, True),
        (done(5), None, [], None, "Mailjet counted 5 contacts, 4 were sent", True),
        (done(None), None, [], "it tells no Count", None, False),
        (done(0), None, [], "Count is 0, 4 contacts were sent and 0 of them rejected", None, False),
        (done(3), None, [], "Count is 3, 4 contacts were sent and 0 of them rejected", None, False),
        (done(-1), None, [], "Count is -1, 4 contacts were sent and 0 of them rejected", None, False),
        (done(2), FILE, [1], "Count is 2, 4 contacts were sent and 1 of them rejected", None, False),
        (
            done(3),
            ErrorFile(errors=[BOB, ANN]),
            [0, 1],
            "Count is 3, 4 contacts were sent and 2 of them rejected",
            None,
            False,
        ),
        (done(2), ErrorFile(errors=[BOB, ANN]), [0, 1], None, None, True),
        (done(4, current=2), None, [], "Current is 2, 4 contacts were sent and 0 of them rejected", None, False),
        (done(errcount=1), None, [], "its error file was not read", None, False),
        (done(errcount=1), MISSING, [], "its error file was not read", None, False),
        (done(error="x"), EMPTY, [], "its error file was not read", None, False),
        (done(error_file="x"), ErrorFile(problem="HTML"), [], "HTML", None, False),
        (done(), ErrorFile(problem="HTML"), [], "HTML", None, False),
        (done(errcount=1), ErrorFile(errors=[BOB], problem="it is cut"), [1], "it is cut", None, False),
        (done(errcount=0), FILE, [1], "Errcount is 0, and its error file names 1 rows", None, False),
        (done(errcount=2), FILE, [1], "Errcount is 2, and its error file names 1 rows", None, False),
        (done(errcount=-1), None, [], "Errcount is -1, and its error file names 0 rows", None, False),
        (done(), ErrorFile(errors=[BOB, RowError()]), [1], "1 of its errors match no single row", None, False),
        (JobReply(status="Error", count=4), None, [], "its job ended as 'Error'", None, True),
        (JobReply(status=" abort ", count=4), FILE, [1], "its job ended as 'abort'", None, True),
        (JobReply(status="Error", error="x"), ErrorFile(problem="HTML"), [], "its job ended as 'Error'", None, False),
        (JobReply(status="", count=4), None, [], "its job ended as ''", None, True),
    ],
)
def test_settling_four_entries(
    job: JobReply, file: ErrorFile | None, rejected: list[int], cause: str | None, mismatch: str | None, *, final: bool
) -> None:
    """Entries are accepted only where the job completed, its errors are all matched, and the counts agree."""
    problem = "its error file is missing" if file is MISSING else EMPTY.problem if file is EMPTY else None
    if cause == "its error file was not read" and problem:
        cause = problem
    assert summary(settle(job, file, PEOPLE, sent=4)) == (rejected, cause, mismatch, final)


def test_two_errors_of_one_row_are_one_rejection() -> None:
    """A row that is named twice is rejected once, for the first reason."""
    twice = ErrorFile(errors=[BOB, RowError(email="BOB@example.org", message="again")])
    settled = settle(done(errcount=2), twice, PEOPLE, sent=4)
    assert summary(settled) == ([1], None, None, True)
    assert settled.rejected[1].error.message == "no"


def test_unassigned_errors_are_kept() -> None:
    """An error that cannot be assigned to an entry is kept, with the entries that it may mean."""
    file = ErrorFile(errors=[RowError(cells=PEOPLE[:2]), RowError(message="x")])
    settled = settle(done(), file, PEOPLE, sent=4)
    assert [(found.match, tuple(found.indexes)) for found in settled.unassigned] == [
        ("ambiguous", (0, 1)),
        ("unmatched", ()),
    ]
    assert settled.cause == "2 of its errors match no single row"
    assert not settled.rejected


def test_the_callers_word_on_counts() -> None:
    """on_mismatch="accept" turns counts that do not agree into a mismatch, and nothing else."""
    assert summary(settle(done(3), None, PEOPLE, sent=4, on_mismatch="accept")) == (
        [],
        None,
        "Count is 3, 4 contacts were sent and 0 of them rejected",
        False,
    )
    assert settle(done(), ErrorFile(problem="HTML"), PEOPLE, sent=4, on_mismatch="accept").cause == "HTML"
    assert settle(JobReply(status="Error"), None, PEOPLE, sent=4, on_mismatch="accept").cause


READINGS: list[tuple[bool | None, list[int]]] = [(None, [3, 4, 5]), (True, [4, 5]), (False, [3, 4, 5])]


@pytest.mark.parametrize(("includes", "agree"), READINGS)
def test_readings_of_count(includes: bool | None, agree: list[int]) -> None:  # noqa: FBT001  # a reading, not a switch
    """With one of four rejected, Count may be three or four; where it counts rejected rows too, only four."""
    counts = [
        count for count in range(6) if disagreement(done(count), sent=4, rejected=1, includes_rejected=includes) is None
    ]
    assert counts == agree
    assert (settle(done(3), FILE, PEOPLE, sent=4, includes_rejected=includes).cause is None) == (3 in agree)


# The law: whatever Mailjet rejects, in whatever shape it says so

Row = tuple[str, str]


def _object(rows: Sequence[Row]) -> Any:
    return [{"Email": email, "Error": text} for email, text in rows]


def _copy(rows: Sequence[Row]) -> Any:
    return [{"Email": email, "Name": "N", "Properties": {"age": 1}, "error": text} for email, text in rows]


def _json(shape: Callable[[Sequence[Row]], Any]) -> Callable[[Sequence[Row]], bytes]:
    return lambda rows: json.dumps(shape(rows)).encode()


def _csv(names: Sequence[str]) -> Callable[[Sequence[Row]], bytes]:
    def write(rows: Sequence[Row]) -> bytes:
        text = io.StringIO(newline="")
        text.write(",".join([*names, "error"]) + "\n")
        for email, message in rows:
            line = io.StringIO(newline="")
            csv.writer(line, lineterminator="").writerow([email if name == "email" else "x, ###y" for name in names])
            text.write(f"{line.getvalue()}, ###{message}###{names[0]}\n")
        return text.getvalue().encode()

    return write


SHAPES: dict[str, tuple[bool, Callable[[Sequence[Row]], bytes]]] = {
    "list": (False, _json(_object)),
    "copy": (False, _json(_copy)),
    "object": (False, _json(lambda rows: {"Errors": _object(rows)})),
    "data": (False, _json(lambda rows: {"Count": len(rows), "Data": _object(rows), "Total": len(rows)})),
    "by address": (False, _json(dict)),
    "lines": (False, lambda rows: b"".join(json.dumps(row).encode() + b"\n" for row in _object(rows))),
    "text": (False, lambda rows: "".join(f"{email}: {text}\n" for email, text in rows).encode()),
    "csv": (True, _csv(["email"])),
    "csv, address last": (True, _csv(["plan", "age", "email"])),
    "csv, address first": (True, _csv(["email", "plan"])),
}


SPELLINGS: list[Callable[[str], str]] = [str, str.upper, str.lower]


@pytest.mark.parametrize("shape", SHAPES)
@LAW
@given(data=st.data())
def test_exactly_the_rejected_rows_are_named(shape: str, data: st.DataObject) -> None:
    """Whatever rows are refused, in every shape of file: exactly those are rejected, and the others accepted."""
    csv_file, write = SHAPES[shape]
    sent = data.draw(st.integers(1, 30), label="sent")
    addresses = [f"{'Person' if n % 3 else 'person'}.{n}@example.org" for n in range(sent)]
    refused = sorted(data.draw(st.sets(st.integers(0, sent - 1), min_size=1), label="refused"))
    spelled = data.draw(st.sampled_from(SPELLINGS), label="spelled")
    raw = write([(spelled(addresses[place]), "it is refused") for place in refused])
    counted = data.draw(st.sampled_from([sent, sent - len(refused)]), label="counted")
    job = done(counted, errcount=len(refused) if csv_file else None, error_file="" if csv_file else "there is one")
    settled = settle(job, parse(raw, csv_file=csv_file), addresses, sent=sent)
    assert summary(settled) == (refused, None, None, True)
    assert {matched.match for matched in settled.rejected.values()} == {"by_key" if shape == "text" else "exact"}


@pytest.mark.parametrize("shape", SHAPES)
@LAW
@given(data=st.data())
def test_a_file_that_is_cut_accepts_nobody(shape: str, data: st.DataObject) -> None:
    """Wherever a file is cut: only rows that were refused are rejected, and without all of them nobody is accepted."""
    csv_file, write = SHAPES[shape]
    addresses = [f"person.{n}@example.org" for n in range(12)]
    refused = sorted(data.draw(st.sets(st.integers(0, 11), min_size=1), label="refused"))
    raw = write([(addresses[place], "it is refused") for place in refused])
    cut = raw[: data.draw(st.integers(0, len(raw) - 1), label="cut")]
    job = done(12, errcount=len(refused) if csv_file else None, error_file="there is one")
    on_mismatch: Literal["unknown", "accept"] = data.draw(st.sampled_from(["unknown", "accept"]), label="on_mismatch")
    settled = settle(job, parse(cut, csv_file=csv_file), addresses, sent=12, on_mismatch=on_mismatch)
    assert set(settled.rejected) <= set(refused)
    by_lines = shape in ("lines", "text") and (cut.endswith(b"\n") or cut + b"\n" == raw[: len(cut) + 1])
    assert settled.cause is not None or set(settled.rejected) == set(refused) or by_lines
