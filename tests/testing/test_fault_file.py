"""Faults from a file: the same ones as in code, and each mistake is named with its entry."""

import re
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from test_emulator import QUICK, served

import mjbulk
from mjbulk.testing import Fault
from mjbulk.testing._fault_file import KINDS, Entry, read_faults

POST = "POST contact/managemanycontacts"


@pytest.mark.parametrize(
    ("given", "entry"),
    [
        ({"fault": "drop_after"}, Entry(POST, Fault.drop_after())),
        ({"fault": {"answer": {"status": 503}}, "times": 2, "after": 1}, Entry(POST, Fault.answer(503), 2, 1)),
        ({"fault": {"delay": {"before": 1, "after": 0.5}}}, Entry(POST, Fault.delay(before=1, after=0.5))),
        ({"fault": {"garbage": {"body": "x"}}, "times": None}, Entry(POST, Fault.garbage(b"x"), None)),
        ({"fault": {"truncated": {"at": 3}}}, Entry(POST, Fault.truncated(3))),
        ({"fault": {"redirect": {"to": "/x"}}}, Entry(POST, Fault.redirect("/x"))),
        ({"fault": {"stall": {}}}, Entry(POST, Fault.stall())),
        ({"fault": {"drop_before": {"reset": True}}}, Entry(POST, Fault.drop_before(reset=True))),
        ({"fault": "drop_unread"}, Entry(POST, Fault.drop_unread())),
    ],
)
def test_each_fault_by_its_name(given: Any, entry: Entry) -> None:
    """An entry makes what the maker of `Fault` with its name and arguments makes."""
    assert read_faults(orjson.dumps([{"call": POST, **given}])) == [entry]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (b"{", "it is not JSON"),
        ({}, "it has to be a list"),
        ([1], "entry 1: it has to be an object with call and fault"),
        ([{"call": POST, "fault": "drop_after"}, {"call": POST}], "entry 2: fault has to be one of answer, delay"),
        ([{"call": POST, "fault": "drop_after", "time": 2}], "entry 1: time is none of call, fault, times, after"),
        ([{"call": POST, "fault": "drop_after", "times": 0}], "entry 1: times has to be a whole number, at least 1"),
        ([{"call": POST, "fault": "drop_after", "after": True}], "entry 1: after has to be a whole number"),
        ([{"call": POST, "fault": {"answer": {}}}], "entry 1: answer needs status"),
        (
            [{"call": POST, "fault": {"answer": {"status": "503"}}}],
            "entry 1: status of answer has to be a whole number",
        ),
        ([{"call": POST, "fault": {"answer": {"status": 99}}}], "entry 1: a status is a number from 200 to 599"),
        (
            [{"call": POST, "fault": {"answer": {"code": 503}}}],
            "entry 1: answer has status, body, headers, apply, and no",
        ),
        ([{"call": POST, "fault": {"redirect": {"to": "x\r\ny"}}}], "entry 1: to of redirect can have printable ASCII"),
        ([{"call": POST, "fault": {"answer": {"status": 503, "headers": {"A": 1}}}}], "entry 1: headers of answer can"),
        (
            [{"call": POST, "fault": {"delay": {"before": -1}}}],
            "entry 1: before of delay has to be a number of seconds",
        ),
        ([{"call": POST, "fault": {"edited": {}}}], "entry 1: fault has to be one of"),
    ],
)
def test_mistakes_are_named(given: Any, problem: str) -> None:
    """Whatever is wrong is said with the number of its entry."""
    with pytest.raises(ValueError, match=problem):
        read_faults(given if isinstance(given, bytes) else orjson.dumps(given))


async def test_a_file_is_played_whole_or_not_at_all() -> None:
    """One wrong call, and no fault of the file happens."""
    async with served() as api:
        good = {"call": "GET contact", "fault": {"answer": {"status": 503}}}
        with pytest.raises(ValueError, match=r"entry 2: 'GET contacts' is no call .* there is GET contact,"):
            api.emulator.read_faults(orjson.dumps([good, {**good, "call": "GET contacts"}]))
        assert (await api("GET", "REST/contact")).status == 200
        api.emulator.read_faults(orjson.dumps([good]))
        assert [(await api("GET", "REST/contact")).status for _ in range(2)] == [503, 200]


@pytest.mark.parametrize(
    ("call", "like"),
    [
        ("POST contact/managemanycontact", "POST contact/managemanycontacts"),
        ("contact/manymanycontacts", "contact/managemanycontacts"),
        ("PSOT csvimport", "POST csvimport"),
        ("DELETE csvimport", "csvimport"),
        ("", ""),
    ],
)
async def test_a_call_that_is_not_there(call: str, like: str) -> None:
    """A typo is an error where it is made, with the calls that it may stand for."""
    async with served() as api:
        for use in (
            lambda: api.emulator.fault(call, Fault.drop_after()),
            lambda: api.emulator.drop_answer(call),
            lambda: api.emulator.count(call),
        ):
            with pytest.raises(ValueError, match=f"is no call of the API that the emulator plays.*{like}"):
                use()
        api.emulator.fault(" post  CONTACT/managemanycontacts", Fault.answer(503))
        assert (api.emulator.count("*"), api.emulator.count("Contact")) == (0, 0)


def test_settings_that_are_changed() -> None:
    """The time of a job is shared among its stages; a wrong name or number is an error."""
    knobs = QUICK.changed(job_seconds=10, rate=3, max_rows=5)
    assert (knobs.queue_seconds, knobs.prepare_seconds, knobs.import_seconds) == (3.0, 1.0, 6.0)
    assert (knobs.rate_limit, knobs.max_rows, knobs.refusal) == (3, 5, QUICK.refusal)
    assert QUICK.changed() == QUICK == attrs.evolve(QUICK)
    for wrong in ({"job_seconds": -1}, {"job_seconds": float("inf")}, {"rate": 0}):
        with pytest.raises(ValueError, match=r"number of seconds|at least one"):
            QUICK.changed(**wrong)
    with pytest.raises(TypeError, match="que_seconds"):
        QUICK.changed(que_seconds=1)


async def test_the_file_of_the_guide() -> None:
    """The guide's example can be read, and its table names what each fault takes."""
    guide = (Path(mjbulk.__file__).parent / "guides" / "testing.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", guide, re.DOTALL)
    async with served() as api:
        api.emulator.read_faults(example.encode())
    for kind, arguments in KINDS.items():
        (row,) = (line for line in guide.splitlines() if line.startswith("| ") and f"`{kind}`" in line.split("|")[1])
        assert all(f"`{name}`" in row for name in arguments), row
