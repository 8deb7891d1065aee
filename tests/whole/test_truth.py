"""Random imports against the emulator's truth: the outcome of every row is what really became of it.

``MJBULK_CASES=50000 python -m pytest tests/whole/test_truth.py`` tries 50,000 cases instead of
500, other ones each time.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import KEYS, balanced

import mjbulk
from mjbulk.testing import Emulator, Fault, Knobs, VirtualClockLoop

REASON = 'Refused: "no", thanks'


@frozen
class Row:
    """A row of a source: ``ragged`` says how many cells too many its record has in a CSV file."""

    email: str
    city: str
    age: str
    ragged: int = 0

    @property
    def person(self) -> str:
        return self.email.strip().casefold()

    def wrong(self, *, in_file: bool) -> bool:
        """Whether it cannot be sent at all."""
        bare = self.email.strip()
        good = bare.count("@") == 1 and " " not in bare and "." in bare.split("@")[1] and "-x" not in bare
        return not good or self.age in ("old", "3.5") or (in_file and self.ragged != 0)

    def record(self) -> str:
        """Write the row as a record of a file, by the rules of CSV, and not with the code under test."""
        cells = [self.email, self.city, self.age, "more"][: 3 + self.ragged]
        return ",".join('"' + cell.replace('"', '""') + '"' for cell in cells) + "\r\n"

    def values(self, *, empty: bool) -> dict[str, Any]:
        """What it sets; ``empty`` tells whether an empty text is a value."""
        values: dict[str, Any] = {"city": self.city} if self.city or empty else {}
        return values | ({"age": int(self.age)} if self.age else {})


KNOWN = st.sampled_from([f"{name}@{host}" for name in ("ann", "Bob", "ZOË", "o'neil") for host in ("a.org", "B.de")])
MANY = st.integers(0, 20).map(lambda number: f"u{number}@example.org")
BAD = st.sampled_from(["", "no address", "a@b", "two@at@example.org", "a@-x.org"])
PLAIN = st.lists(
    st.builds(
        Row,
        st.one_of(MANY, KNOWN, KNOWN.map(str.upper), KNOWN.map(" {} ".format), BAD),
        st.text(st.sampled_from("aZ \",;\n\r\u2028é東#'\t"), max_size=8),
        st.sampled_from(["", "7", "-12", "7", "", "8", "9", "old", "3.5"]),
        st.sampled_from([0] * 15 + [-1, 1]),
    ),
    max_size=60,
)


HOT = "hot@example.org"
ARRANGEMENTS = ("plain", "sorted", "twice", "everywhere", "often", "zipf")


def arranged(rows: list[Row], how: str, every: int) -> list[Row]:
    """Let people recur in another way."""
    if how == "sorted":
        return sorted(rows, key=lambda row: row.person)
    if how == "twice":
        return [*rows, *(evolve(row, age=str(n % 7)) for n, row in enumerate(rows))]
    if how == "zipf":
        return [evolve(row, email=f"u{n * n % every}@example.org") if n % 3 else row for n, row in enumerate(rows)]
    step = {"everywhere": every, "often": 5}.get(how, len(rows) + 1)
    return [evolve(row, email=HOT) if n % step == step - 1 else row for n, row in enumerate(rows)]


ROWS = st.builds(arranged, PLAIN, st.sampled_from(ARRANGEMENTS), st.integers(1, 25))
REFUSED = st.sets(st.one_of(MANY, KNOWN, st.just(HOT)), max_size=6)
HOW = st.fixed_dictionaries(
    {
        "via": st.sampled_from(["json", "csv"]),
        "dicts": st.booleans(),
        "limits": st.fixed_dictionaries(
            {"chunk_rows": st.integers(1, 25), "concurrency": st.integers(1, 8)},
            optional={"chunk_bytes": st.integers(300, 3000), "max_jobs": st.integers(1, 3)},
        ),
        "piece": st.integers(1, 200),
        "slow": st.sampled_from([0.0, 1.0, 40.0]),
    }
)
WORLDS = st.fixed_dictionaries(
    {
        "json_error_shape": st.sampled_from(["list", "object", "data", "lines", "text", "copy"]),
        "count_includes_rejected": st.booleans(),
    },
    optional={"max_body": st.integers(1100, 3000), "max_body_answer": st.sampled_from(["413", "reset"])},
)
LIES = st.lists(
    st.one_of(
        st.tuples(st.just("cut_error_file"), st.floats(0.0, 0.999)),
        st.tuples(st.just("wrong_errcount"), st.sampled_from([-2, -1, 1, 5])),
        st.tuples(st.just("hide_errors"), st.just(value=True)),
        st.tuples(st.just("abort_after"), st.integers(0, 20)),
        st.tuples(st.just("half_count_on_error"), st.just(value=True)),
        st.tuples(st.just("abort_error"), st.just("it broke")),
        st.tuples(st.just("error_file_delay"), st.just(1e9)),
        st.tuples(st.just("count_lag"), st.sampled_from([3.0, 1e9])),
    ),
    max_size=3,
).map(dict[str, Any])


def half(body: bytes) -> bytes:
    return body[: len(body) // 2]


Edit = Callable[[bytes], bytes]
FILES: st.SearchStrategy[Edit | None] = st.sampled_from(
    [
        *[None] * 12,
        lambda _: b"",
        lambda _: b"\n",
        lambda _: b"<html>no</html>",
        lambda _: b"\xff\xfe{[",
        lambda _: b"[]",
        lambda body: body.replace(b"@", b"@x."),
        half,
    ]
)
"""What is served in the place of an error file; None for the file itself."""

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(0 if "MJBULK_CASES" in os.environ else 900),  # they are hundreds of tests, not two
]
_CASES = int(os.environ.get("MJBULK_CASES", "0"))
CASES = settings(
    max_examples=_CASES // 2 or 250,
    deadline=None,
    derandomize=not _CASES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def source_of(rows: list[Row], how: dict[str, Any]) -> Any:
    """The rows as dicts, or as a CSV file that comes in pieces."""
    if how["dicts"]:
        return [{"email": row.email, "city": row.city, "age": row.age or None} for row in rows]

    async def pieces() -> AsyncIterator[bytes]:
        text = ("email,city,age\n" + "".join(row.record() for row in rows)).encode()
        for start in range(0, len(text), how["piece"]):
            yield text[start : start + how["piece"]]

    return mjbulk.csv_source(pieces())


async def run(
    rows: list[Row],
    how: dict[str, Any],
    knobs: dict[str, Any],
    prepare: Callable[[Emulator], None],
) -> tuple[mjbulk.Report, Emulator]:
    """Import rows into an emulator whose jobs end in any order."""
    knobs = {"import_seconds": lambda job: 0.1 + how["slow"] * (job.id * 7 % 5), **knobs}
    async with Emulator(Knobs(**knobs)) as emulator:
        emulator.create_property("city", "str")
        emulator.create_property("age", "int")
        prepare(emulator)
        async with mjbulk.Client(KEYS, mjbulk.Settings(api_url=emulator.url, **how["limits"])) as client:
            report = await client.import_contacts(source_of(rows, how), lists={1: "addnoforce"}, via=how["via"])
    assert report.rows == len(rows)
    return balanced(report), emulator


def refuse(emulator: Emulator, refused: set[str]) -> None:
    for address in refused:
        emulator.reject(address, REASON, "email")


def telling(
    knobs: dict[str, Any], how: dict[str, Any], file: Edit | None
) -> tuple[dict[str, Any], dict[str, Any], Edit]:
    """Leave of several lies only those that do not agree with each other: else nothing at all would tell."""
    edit = file or (lambda body: body)
    if knobs.get("wrong_errcount", 0) < 0:  # it may say that there are no errors: then only their file tells
        knobs = {name: value for name, value in knobs.items() if name not in ("cut_error_file", "error_file_delay")}
        edit = lambda body: body  # noqa: E731  # as above
    may_end_with_a_line = "cut_error_file" in knobs or file is half
    if "hide_errors" in knobs or (may_end_with_a_line and knobs["json_error_shape"] in ("lines", "text")):
        knobs = {**knobs, "count_includes_rejected": False}  # only Count tells
    if "hide_errors" in knobs:
        how = {**how, "via": "json"}  # Count of a csvimport does not tell
    return knobs, how, edit


def rows_of(report: mjbulk.Report) -> set[int]:
    return {row for some in report.accepted_rows() for row in some}


def applied(emulator: Emulator) -> int:
    return sum(outcome == "applied" for job in emulator.jobs.values() for outcome in job.outcomes)


@CASES
@given(ROWS, REFUSED, st.sets(MANY, max_size=2), HOW, WORLDS)
def test_every_outcome_is_the_truth(
    rows: list[Row], refused: set[str], poison: set[str], how: dict[str, Any], knobs: dict[str, Any]
) -> None:
    """With an emulator that tells the truth, whatever its shapes and limits, exactly the refused rows are rejected,
    and everybody else ends with the last value of each property.
    """

    def prepare(emulator: Emulator) -> None:
        refuse(emulator, refused)
        for number, address in enumerate(sorted(poison)):
            emulator.poison(address, (400, 413)[number])

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        report, emulator = runner.run(run(rows, how, knobs, prepare))
    wrong = {n for n, row in enumerate(rows, 1) if row.wrong(in_file=not how["dicts"])}
    no = {address.casefold() for address in refused | poison}
    expected = wrong | {n for n, row in enumerate(rows, 1) if row.person in no}
    rejections = list(report.rejections)
    assert sorted(r.row or 0 for r in rejections) == sorted(expected)
    assert report.rejected == len(expected)
    assert (report.complete, list(report.unsettled)) == (True, [])
    assert report.accepted == applied(emulator)
    assert set({row.person: n for n, row in enumerate(rows, 1) if n not in expected}.values()) <= rows_of(report)
    last: dict[str, dict[str, Any]] = {}
    for n, row in enumerate(rows, 1):
        if n not in expected:
            last.setdefault(row.person, {}).update(row.values(empty=how["dicts"] and how["via"] == "json"))
    assert {who.casefold(): dict(contact.properties) for who, contact in emulator.contacts.items()} == last
    for rejection in rejections:
        row = rows[(rejection.row or 0) - 1]
        assert (rejection.origin == "mjbulk") == (rejection.row in wrong)
        assert how["dicts"] is False or (rejection.data or {})["email"] == row.email
        if rejection.origin == "mailjet" and row.person not in {address.casefold() for address in poison}:
            assert REASON in rejection.message
            only_text = how["via"] == "json" and knobs["json_error_shape"] == "text"
            assert rejection.match == ("by_key" if only_text else "exact")


@CASES
@given(ROWS, REFUSED, HOW, WORLDS, LIES, FILES)
def test_no_lie_makes_a_rejected_row_accepted(  # noqa: PLR0917  # one argument for each thing that is drawn
    rows: list[Row],
    refused: set[str],
    how: dict[str, Any],
    knobs: dict[str, Any],
    lies: dict[str, Any],
    file: Edit | None,
) -> None:
    """Cut files, wrong counts, hidden errors, aborted jobs, files of somebody else: books add up, and nobody is
    accepted who was not applied.
    """
    knobs, how, file = telling({**knobs, **lies}, how, file)

    def prepare(emulator: Emulator) -> None:
        refuse(emulator, refused)
        for call in ("batchjob/jsonerror", "batchjob/csverror"):
            emulator.fault(call, Fault.edited(file), times=None)

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        report, emulator = runner.run(run(rows, how, knobs, prepare))
    assert report.accepted <= applied(emulator)
    no = {address.casefold() for address in refused}
    there = {who.casefold() for who in emulator.contacts}
    told = {row for why in report.unsettled for rows in why.rows for row in rows} | {r.row for r in report.rejections}
    untold = {row.person for number, row in enumerate(rows, 1) if number not in told}
    assert not untold & no
    assert untold <= there
    assert all(why.cause and why.job in report.jobs for why in report.unsettled)
    if how["via"] == "csv" and knobs.get("wrong_errcount", 0) > 0:
        assert report.accepted == 0
    named = {r.row for r in report.rejections if r.origin == "mailjet" and r.row is not None}
    assert {rows[row - 1].person for row in named} <= no
