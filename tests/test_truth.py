"""Random imports against the emulator's truth: the outcome of every row is what really became of it."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import KEYS, VirtualClockLoop, balanced

import mjbulk
from mjbulk.testing import Emulator, Knobs

ADDRESSES = st.sampled_from(
    [f"{name}@{host}" for name in ("ann", "Bob", "ZOË", "o'neil") for host in ("a.org", "B.de")]
)
MANY = st.integers(0, 40).map(lambda number: f"u{number}@example.org")
BAD = st.sampled_from(["", "no address", "a@b", "two@at@example.org", "a@-x.org"])
TEXTS = st.text(st.sampled_from("aZ \",;\n\r\u2028é東#'\t"), max_size=8)
ROWS = st.lists(
    st.tuples(
        st.one_of(MANY, ADDRESSES, ADDRESSES.map(str.upper), ADDRESSES.map(" {} ".format), BAD),
        TEXTS,
        st.sampled_from(["", "7", "-12", "old", "3.5"]),
    ),
    max_size=60,
)
SHAPES = st.sampled_from(["list", "object", "data", "lines", "text", "copy"])
LIES = st.fixed_dictionaries(
    {},
    optional={
        "cut_error_file": st.floats(0.0, 0.999),
        "wrong_errcount": st.sampled_from([-2, -1, 1, 5]),
        "hide_errors": st.just(True),
        "abort_after": st.integers(0, 20),
        "half_count_on_error": st.just(True),
        "abort_error": st.just("it broke"),
        "error_file_delay": st.just(1e9),
        "count_lag": st.sampled_from([3.0, 1e9]),
    },
)


def csv_text(rows: list[tuple[str, str, str]]) -> bytes:
    """Write rows as CSV by the rules of the format, not with the code under test."""

    def quoted(cell: str) -> str:
        return '"' + cell.replace('"', '""') + '"'

    return ("email,city,age\n" + "".join(",".join(map(quoted, row)) + "\r\n" for row in rows)).encode()


async def run(
    rows: list[tuple[str, str, str]], refused: set[str], how: dict[str, Any], knobs: dict[str, Any]
) -> tuple[mjbulk.Report, Emulator]:
    async with Emulator(Knobs(**knobs)) as emulator:
        emulator.create_property("city", "str")
        emulator.create_property("age", "int")
        for address in refused:
            emulator.reject(address, 'Refused: "no", thanks', "email")
        limits = mjbulk.Settings(api_url=emulator.url, chunk_rows=how["chunk_rows"], concurrency=how["concurrency"])

        async def pieces() -> Any:
            text = csv_text(rows)
            for start in range(0, len(text), how["piece"]):
                yield text[start : start + how["piece"]]

        source: Any = mjbulk.csv_source(pieces())
        if how["dicts"]:
            source = [{"email": email, "city": city, "age": age or None} for email, city, age in rows]
        async with mjbulk.Client(KEYS, limits) as client:
            report = await client.import_contacts(source, lists={1: "addnoforce"}, via=how["via"])
    return balanced(report), emulator


def wrong_here(row: tuple[str, str, str]) -> bool:
    """Whether a row cannot be sent at all."""
    email, _, age = row
    good = email.strip() and email.count("@") == 1 and "." in email.split("@")[1] and "-x" not in email
    return not good or " " in email.strip() or age in ("old", "3.5")


HOW = st.fixed_dictionaries(
    {
        "via": st.sampled_from(["json", "csv"]),
        "dicts": st.booleans(),
        "chunk_rows": st.integers(1, 25),
        "concurrency": st.integers(1, 8),
        "piece": st.integers(1, 200),
    }
)
CASES = settings(
    max_examples=1000,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@CASES
@given(ROWS, st.sets(st.one_of(MANY, ADDRESSES), max_size=6), HOW, SHAPES, st.sampled_from([True, False]))
def test_every_outcome_is_the_truth(
    rows: list[tuple[str, str, str]], refused: set[str], how: dict[str, Any], shape: Any, includes: Any
) -> None:
    """With an emulator that tells the truth, whatever its shapes, exactly the refused rows are rejected."""
    knobs = {"json_error_shape": shape, "count_includes_rejected": includes}
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        report, emulator = runner.run(run(rows, refused, how, knobs))
    no = {address.lower() for address in refused}
    expected = {n for n, row in enumerate(rows, 1) if wrong_here(row) or row[0].strip().lower() in no}
    assert {rejection.row for rejection in report.rejections} == expected
    assert report.rejected == len(expected)
    assert report.complete
    applied = sum(outcome == "applied" for job in emulator.jobs.values() for outcome in job.outcomes)
    assert report.accepted == applied
    for email, city, _ in reversed([row for n, row in enumerate(rows, 1) if n not in expected]):
        assert email.strip().lower() in {address.lower() for address in emulator.contacts}
        del city


@CASES
@given(ROWS, st.sets(st.one_of(MANY, ADDRESSES), max_size=6), HOW, SHAPES, LIES)
def test_no_lie_makes_a_rejected_row_accepted(
    rows: list[tuple[str, str, str]], refused: set[str], how: dict[str, Any], shape: Any, lies: dict[str, Any]
) -> None:
    """Cut files, wrong counts, hidden errors, aborted jobs: books add up, and nobody is accepted who was not
    applied."""
    if "hide_errors" in lies:  # with a Count that agrees as well, nothing at all would tell
        lies, how = {**lies, "count_includes_rejected": False}, {**how, "via": "json"}
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        report, emulator = runner.run(run(rows, refused, how, {"json_error_shape": shape, **lies}))
    applied = sum(outcome == "applied" for job in emulator.jobs.values() for outcome in job.outcomes)
    assert report.accepted <= applied
    no = {address.lower() for address in refused}
    in_doubt = {row for why in report.unsettled for row in why.rows}
    rejected = {rejection.row for rejection in report.rejections}
    for number, row in enumerate(rows, 1):
        if row[0].strip().lower() in no and not wrong_here(row):
            assert number in in_doubt | rejected
    for rejection in report.rejections:
        if rejection.match == "exact" and rejection.origin == "mailjet" and rejection.row is not None:
            assert rows[rejection.row - 1][0].strip().lower() in no
