"""Each code of the guide's table is made by a row, and no row has a code that is not in it."""

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
from attrs import field, frozen
from support import KEYS, World, balanced

import mjbulk
from mjbulk.models import UNSPECIFIED
from mjbulk.rows.codes import Code
from mjbulk.testing import Fault

GUIDE = (Path(__file__).parents[1] / "mjbulk" / "guides" / "values.md").read_text(encoding="utf-8")
TABLE = re.findall(r"^\| `((?:address|value|properties|exclusion|row|column)\.\w+)` \|", GUIDE, re.MULTILINE)
OTHERS = ("mailjet.MJ08", "mailjet.duplicated-email", "mailjet.413", "mailjet.other", UNSPECIFIED)
GOOD = "ann@example.org"


SECRET = type("_SecretBase", (), {"__module__": "pydantic.types"})()


class Odd(Decimal):
    def __floordiv__(self, other: object) -> Any:
        raise RuntimeError


def then(**more: Any) -> list[Any]:
    """Two good rows, and one that has something else."""
    return [{"email": f"{n}@example.org"} for n in range(2)] + [{"email": GOOD} | more]


def given(*columns: str, **values: Any) -> list[Any]:
    """Two rows with the same columns."""
    return [{"email": "bob@example.org"} | dict.fromkeys(columns, "x"), {"email": GOOD} | values]


@frozen
class Case:
    source: Callable[[], Any]
    how: dict[str, Any] = field(factory=dict)
    settings: dict[str, Any] = field(factory=dict)


CSV: dict[str, Any] = {"via": "csv"}
CASES: dict[str, Case] = {
    "address.missing": Case(lambda: then(email="")),
    "address.type": Case(lambda: then(email=7)),
    "address.invalid": Case(lambda: then(email="nobody")),
    "value.type": Case(lambda: then(age="old")),
    "value.range": Case(lambda: then(age=2**70)),
    "value.zone": Case(lambda: then(born="2026-01-02T03:04:05")),
    "value.clock_change": Case(lambda: then(born="2026-03-29T02:30:00"), {"timezone": "Europe/Paris"}),
    "value.null": Case(lambda: given("city", city=""), CSV),
    "value.nul": Case(lambda: given("city", city="a\0b"), CSV),
    "value.unicode": Case(lambda: then(city="\ud800")),
    "value.secret": Case(lambda: then(age=SECRET)),
    "value.unreadable": Case(lambda: then(age=Odd(7))),
    "properties.invalid": Case(lambda: then(Properties=7)),
    "row.fields": Case(lambda: mjbulk.csv_source(iter([b"email,city\na@b.org,x\nc@b.org,x,y\n"]))),
    "row.nameless": Case(lambda: [*then(), ("x", "y")]),
    "row.unreadable": Case(lambda: mjbulk.jsonl_source(iter([b'{"email": "a@b.org"}\n{"email": \n']))),
    "row.too_large": Case(lambda: then(city="x" * 5000), {}, {"chunk_bytes": 2000}),
    "column.name": Case(lambda: [*then(), {"email": GOOD, 7: "x"}]),
    "column.unnamed": Case(lambda: [*then(), {"email": GOOD, "": "x"}]),
    "column.twice": Case(lambda: then(EMAIL="x")),
    "column.unknown": Case(lambda: then(nothing="x")),
    "column.not_static": Case(lambda: then(orders=7)),
    "column.not_sendable": Case(lambda: then(IsExcludedFromCampaigns=True), CSV),
    "column.extra": Case(lambda: then(city="x"), CSV),
}


Make = Callable[..., mjbulk.Client]


@pytest.fixture
def client(world: World) -> Make:
    """Make clients whose chunks have one row, and that take it that an empty cell erases a property."""
    world.emulator.create_property("born", "datetime")
    world.emulator.create_property("orders", "int").namespace = "historic"

    def make(**settings: Any) -> mjbulk.Client:
        known = mjbulk.Settings(**{"api_url": world.emulator.url, "chunk_rows": 1, **settings})
        return mjbulk.Client(KEYS, known, assumptions=mjbulk.Assumptions(csv_empty_cell_keeps=False))

    return make


def test_the_table_is_whole() -> None:
    """It has each code, and each of them is made below."""
    assert list(get_args(Code)) == TABLE
    assert sorted(TABLE) == sorted([*CASES, "exclusion.ended"])
    assert all(f"| `{code}`" in GUIDE for code in OTHERS)


@pytest.mark.parametrize("code", CASES)
async def test_a_row_with_each_code(client: Make, code: str) -> None:
    """Its last row alone is rejected, for what the code says."""
    case = CASES[code]
    async with client(**case.settings) as mailjet:
        report = balanced(await mailjet.import_contacts(case.source(), lists={1: "addnoforce"}, **case.how))
    (rejection,) = report.rejections
    assert (rejection.row, rejection.code, rejection.origin) == (report.rows, code, "mjbulk")


async def test_the_code_of_a_repair(client: Make) -> None:
    """A repaired row may not take anybody off the exclusion list."""
    async with client() as mailjet:
        report = await mailjet.import_contacts(then(email=""), lists=None)
        again = await mailjet.retry_rejected(report, lambda _: {"email": GOOD, "IsExcludedFromCampaigns": False})
    assert [rejection.code for rejection in again.rejections] == ["exclusion.ended"]


@pytest.mark.parametrize("via", ["json", "csv"])
@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("MJ08 Property city is invalid", "mailjet.MJ08"),
        ("Duplicated email", "mailjet.duplicated-email"),
        ("17", "mailjet.other"),
    ],
)
async def test_codes_of_mailjet(client: Make, world: World, via: Any, reason: str, code: str) -> None:
    """What an error file says, and what its job says to a watcher."""
    world.emulator.reject(GOOD, reason, "email")
    async with client() as made:
        report = await made.import_contacts([{"email": GOOD}], lists={1: "addnoforce"}, via=via)
        job = await made.watch(report.jobs[0]).wait()
    assert [rejection.code for rejection in report.rejections] == [code]
    assert [rejection.code for rejection in job.rejections] == [code]


async def test_the_code_of_a_status(client: Make, world: World) -> None:
    """A row alone that Mailjet refuses without a word has the status as its code."""
    world.emulator.fault("POST contact/managemanycontacts", Fault.answer(413, body=b""))
    async with client() as made:
        report = await made.import_contacts([{"email": GOOD}], lists={1: "addnoforce"})
    assert [rejection.code for rejection in report.rejections] == ["mailjet.413"]
