"""Bad input of every kind, on both ways: a rejection with its row and its column, the same in a plan and in the run."""

import datetime as dt
import math
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support import World, balanced

import mjbulk
from mjbulk.cli import main
from mjbulk.testing import Mailjet

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
TYPES = {"whole": "int", "real": "float", "flag": "bool", "born": "datetime", "note": "str"}
BLANK: dict[str, Any] = {"email": "", **dict.fromkeys(TYPES)}
PARTS = "give its parts columns of their own, or json.dumps() of it to a property of type str"
NO_DATE = "no date and time in RFC 3339 (date_format= names another form)"

BAD: list[tuple[dict[str, Any], str | None, str]] = [
    ({"email": None}, "email", "the address is missing"),
    ({"email": "  "}, "email", "the address is missing"),
    ({"email": "nobody"}, "email", "this is no e-mail address"),
    ({"email": "two@signs@example.org"}, "email", "this is no e-mail address"),
    ({"email": ["a@example.org"]}, "email", "the address is a list, not a text"),
    ({"whole": "7.5"}, "whole", "the value is no whole number"),
    ({"whole": 7.5}, "whole", "the value is no whole number"),
    ({"whole": True}, "whole", "the value is no whole number"),
    ({"whole": 2**63}, "whole", "the value is too large a number"),
    ({"whole": math.inf}, "whole", "the value is no whole number"),
    ({"real": "much"}, "real", "the value is no number"),
    ({"real": math.inf}, "real", "the value is infinite"),
    ({"real": Decimal("-Infinity")}, "real", "the value is infinite"),
    ({"real": "1e999"}, "real", "the value is infinite"),
    ({"flag": "maybe"}, "flag", "the value is neither true nor false"),
    ({"born": "the other day"}, "born", f"the value is {NO_DATE}"),
    ({"born": dt.time(1)}, "born", f"the value is {NO_DATE}"),
    (
        {"born": 1985},
        "born",
        "the value is a number that is no date: neither YYYYMMDD nor Unix seconds from 1973 to 2286",
    ),
    ({"note": {"a": 1}}, "note", f"the value is a dict: {PARTS}"),
    ({"note": -math.inf}, "note", "the value is infinite"),
    ({"note": "x" * 3000}, None, "the row is larger than a chunk of 2000 bytes"),
]
"""What is wrong with a row, in which column, and the message about it."""
BAD_JSON: list[tuple[Any, str | None, str]] = [
    ({"email": "a@example.org", "note": "\ud800"}, "note", "the value is no valid Unicode text"),
    ({"Email": "a@example.org", "Properties": [1]}, "Properties", "Properties is no mapping of names to values"),
    ({"Email": "a@example.org", "Properties": {"whole": "x"}}, "whole", "the value is no whole number"),
    (
        {"email": "a@example.org", "IsExcludedFromCampaigns": "maybe"},
        "IsExcludedFromCampaigns",
        "the value is neither true nor false",
    ),
    ({"email": "a@example.org", "name": ["Ann"]}, "name", f"the value is a list: {PARTS}"),
    (17, None, "a row is of type int, which has no named fields: give dicts, or objects with fields"),
]
"""The same of rows that the JSON way alone can take apart."""


def rows_of(bad: list[tuple[Any, str | None, str]]) -> list[Any]:
    """A good row between any two bad ones, and the first one once more at the end."""
    rows: list[Any] = []
    for number, (said, _, _) in enumerate(bad):
        good = {**BLANK, "email": f"good{number}@example.org", "whole": number}
        known = isinstance(said, dict) and set(said) <= set(BLANK)
        rows += [good, {**BLANK, "email": f"bad{number}@example.org", **said} if known else said]
    return [*rows, rows[0]]


@pytest.mark.parametrize("via", ["json", "csv"])
async def test_a_bad_row_is_rejected_by_its_number_and_column(world: World, via: Any) -> None:
    """The plan says it without sending anything, and the run then says the same; all other rows go through."""
    for name, datatype in TYPES.items():
        world.emulator.create_property(name, datatype)
    bad = [*BAD, *(BAD_JSON if via == "json" else [])]
    rows = rows_of(bad)
    async with world.client(chunk_bytes=2000) as client:
        plan = await client.plan_import(rows, lists=ADD, via=via)
        assert not [call for call in world.emulator.calls if call.method != "GET"]
        report = balanced(await client.import_contacts(rows, lists=ADD, via=via))
    expected = [(2 * number, field, message) for number, (_, field, message) in enumerate(bad, 1)]
    for rejections in (plan.rejections, report.rejections):
        assert [(r.row, r.field, r.message) for r in rejections] == expected
        assert {r.origin for r in rejections} == {"mjbulk"}
    assert (report.rejected, report.accepted + report.superseded) == (len(bad), len(bad) + 1)
    assert sorted(world.emulator.contacts) == sorted(f"good{number}@example.org" for number in range(len(bad)))


RAGGED = (
    b"email,whole,note\n"
    b"a@example.org,7,x\n"
    b"b@example.org,7\n"
    b"c@example.org,7,x,y\n"
    b'"d"d@example.org,7,x\n'
    b"nobody,8,x\n"
    b"e@example.org,seven,x\n"
    b'f@example.org,7,"never closed\n'
)


@pytest.mark.parametrize("via", ["json", "csv"])
def test_a_bad_record_is_shown_with_its_number_and_column(
    mailjet: Mailjet, tmp_path: Path, via: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record that is no CSV costs its own number: the command line names it in a plan and in the rejected rows."""
    mailjet.emulator.create_property("whole", "int")
    mailjet.emulator.create_property("note", "str")
    (tmp_path / "ragged.csv").write_bytes(RAGGED)
    words = [str(tmp_path / "ragged.csv"), "--list", "1", "--action", "addnoforce", "--via", via]
    assert main(["plan", *words]) == 1
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("row ")]
    assert shown == [
        "row 2: the row has 2 fields, the header has 3",
        "row 3: the row has 4 fields, the header has 3",
        "row 4: this is no CSV: ',' expected after '\"'",
        "row 5, column email: this is no e-mail address",
        "row 6, column whole: the value is no whole number",
        "row 7: this is no CSV: a quote is opened and never closed",
    ]
    assert main(["import", *words, "--rejects", str(tmp_path / "rejects.csv")]) == 1
    rejects = (tmp_path / "rejects.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in rejects] == ["row", *"234567"]
    assert list(mailjet.contacts) == ["a@example.org"]


@pytest.mark.parametrize(
    ("text", "row", "sentence"),
    [
        (b"email\na@example.org\nb\xff@example.org\n", 2, "this is not utf-8"),
        (b"email\n" + b"a@example.org\n" * 3 + b'"' + b"x" * 20_000_000, 4, "a line has no end"),
    ],
    ids=["not UTF-8", "no line end"],
)
async def test_a_file_that_fails_names_the_row(world: World, text: bytes, row: int, sentence: str) -> None:
    """What was read before is settled; the row at which the source failed is named."""

    async def stream() -> AsyncIterator[bytes]:
        yield text

    async with world.client() as client:
        with pytest.raises(mjbulk.ImportHalted) as caught:
            await client.import_contacts(mjbulk.csv_source(stream()), lists=ADD)
    cause = caught.value.__cause__
    assert isinstance(cause, mjbulk.SourceError)
    assert sentence in str(cause)
    assert cause.row == row


async def test_an_iterable_that_fails_names_the_row(world: World) -> None:
    """A plan raises what the run halts for."""

    class Failing:
        def __iter__(self) -> Iterator[dict[str, str]]:
            yield {"email": "a@example.org"}
            raise RuntimeError("canary")

    async with world.client() as client:
        with pytest.raises(mjbulk.SourceError, match="at row 2: it raised RuntimeError") as planned:
            await client.plan_import(Failing(), lists=ADD)
        with pytest.raises(mjbulk.ImportHalted) as halted:
            await client.import_contacts(Failing(), lists=ADD)
    assert planned.value.row == 2
    assert str(halted.value.__cause__) == str(planned.value)
    assert (halted.value.report.rows, halted.value.report.not_sent) == (1, 1)
