"""The check of an account, against emulators that behave in one way or another."""

import asyncio
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from support import KEYS, World

import mjbulk
from mjbulk.check import Conclusion, Findings, check_account
from mjbulk.check._shapes import address_shape, csv_file_shape, json_file_shape, number_shape, time_shape
from mjbulk.testing import Fault, Knobs

CANARY = "Somebody.Real@example.net"


async def check(world: World, **how: Any) -> Findings:
    async with world.client() as client:
        return await check_account(client, consent=True, **how)


def remains(world: World) -> list[str]:
    """Names of what the check has made and not removed."""
    lists = [one.name for one in world.emulator.lists.values() if not one.deleted]
    return [name for name in (*lists, *world.emulator.properties) if "check" in name]


def conclusion_of(findings: Findings, field: str) -> Conclusion | None:
    return next(one.conclusion for one in findings.observations if one.settles == field)


async def test_all_that_is_assumed_holds_in_the_emulator(world: World) -> None:
    """Nothing differs from the defaults, and no field of them is left out but the one about proxies in between."""
    findings = await check(world, probe_sizes=True)
    fields = {one.settles: one.conclusion for one in findings.observations if one.settles}
    assert set(fields) == {field.name for field in attrs.fields(mjbulk.Assumptions)} - {"proxy_pages_are_true"}
    assert {name for name, found in fields.items() if found is not Conclusion.HOLDS} == {"errors_are_announced"}
    assert findings.assumptions == mjbulk.Assumptions(count_includes_rejected=True, csv_count_includes_rejected=True)
    assert "16777216 bytes go through" in findings.text()
    assert "50000 rows go through" in findings.text()
    assert str(findings) == findings.text()
    assert not findings.left
    assert world.emulator.now < 10


TURNED: list[tuple[dict[str, Any], str]] = [
    ({"json_error_shape": "object"}, "an object with a list under Errors: objects (Email, Error)"),
    ({"json_error_shape": "data"}, "an object with a list under Data, beside Count, Total: objects (Email, Error)"),
    ({"json_error_shape": "lines"}, "a JSON value a line: objects (Email, Error)"),
    ({"json_error_shape": "text"}, "lines of text"),
    ({"json_error_shape": "copy"}, "the contacts as they were sent, with more keys (error)"),
    ({"error_file_form": "absolute"}, "absolute, on our origin (/v3/DATA/batchjob/#/JSONError/application:json/LAST)"),
    ({"error_file_form": "root"}, "from the root on (/v3/DATA/batchjob/#/JSONError/application:json/LAST)"),
    ({"error_file_form": "foreign"}, "absolute, on another host"),
    ({"count_includes_rejected": False}, "Count is 1, of 3 rows 2 had to be refused"),
    ({"csv_count": "processed"}, "Count of a csvimport that runs: the rows that are done"),
    ({"running_word": "In Progress"}, "In Progress"),
    ({"aborted_word": "Aborted"}, "the status of an aborted csvimport: Aborted"),
    ({"aborted_word": "Cancelled"}, "the status of an aborted csvimport: Cancelled"),
    ({"timestamps": "z"}, "JobEnd of a JSON job: ISO with Z"),
    ({"timestamps": "unix"}, "JobEnd of a JSON job: 0, Unix seconds"),
    ({"timestamps": "unix", "numbers_as_strings": True}, "JobEnd of a JSON job: 0, Unix seconds as a text"),
    ({"timestamps": "empty"}, "JobEnd of a JSON job: empty text\n"),
    ({"csv_timestamps": "naive"}, "JobEnd of a csvimport: ISO without a zone, empty text"),
    ({"numbers_as_strings": True}, "numbers in answers are written as: texts"),
    ({"undeclared_property": "error_row"}, "a property that does not exist, in JSON: its row is refused"),
    ({"undeclared_property": "create"}, "a property that does not exist, in JSON: it is created"),
    ({"undeclared_property": "ignore"}, "a property that does not exist, in JSON: it is ignored"),
    ({"csv_empty_cell": "clear"}, "an empty cell of a csvimport: clears the property"),
    ({"not_found_window": 5.0}, "how long a new job answers 404: 5 s"),
    ({"count_lag": 5.0}, "how long Count changes after the end: 5 s"),
    ({"error_file_delay": 5.0}, "how long after the end an error file is missing: 5 s"),
    ({"max_body": 3_000_000}, "2097152 bytes go through; with 4194304 the connection is reset"),
    ({"max_body": 3_000_000, "max_body_answer": "413"}, "with 4194304 it is answered 413"),
    ({"max_rows": 6000}, "5000 rows go through; with 10000 the connection is reset"),
    ({"rate_limit": 3}, "answers were 429"),
    ({"rate_limit": 3, "retry_after": 2}, "headers of answers that speak of limits: retry-after; "),
    ({"contact_limit": 2}, "Mailjet answered 400 to POST contact/managemanycontacts: the account has no room for more"),
    ({"queue_seconds": 30.0}, "how long a job takes: 33 s (a JSON job)"),
    ({"prepare_seconds": 30.0}, "how long a job takes: 33 s (a JSON job)"),
    ({"import_seconds": 30.0}, "how long a job takes: 33 s (a JSON job)"),
    ({"retention": 1.0}, "a job and its error file, some time after its end: after 1 s they are gone"),
    ({"echo_lists": False}, "the lists of a JSON job: do not stand in it"),
    ({"job_type": "Contacts"}, "the JobType of a JSON job: Contacts"),
    ({"list_errors": "message"}, "what is wrong with a list stands under: ErrorMessage"),
    ({"property_case_matters": True}, "the name of a property in capitals: is another name"),
    ({"property_case_matters": True, "undeclared_property": "ignore"}, "in capitals: is another name"),
    ({"duplicate_winner": "first"}, "of two rows of one person in one job: the first one is applied"),
    ({"err_treshold": "percent"}, "ErrTreshold: a percentage: the import stops"),
    ({"hide_errors": True}, "a row that is refused may stand in no error file"),
    ({"wrong_errcount": 1}, "Errcount is another number"),
    ({"cut_error_file": 0.5}, "the error file of a JSON job: JSON that is cut or broken"),
    ({"half_count_on_error": True}, "the whole job ends as Error, and Count is 1 of 2"),
    ({"abort_after": 1}, "Abort (a JSON job, "),
    ({"abort_after": 1, "abort_error": "Out of order"}, "Error (a JSON job, "),
]
NOT_TOLD = {
    "credentials": "it raises",
    "property_limit": "it raises",
    "one_account": "that takes another key",
    "running_jobs": "that takes as many jobs",
    "refusal": "that takes a call that has to be refused, and nothing depends on its text",
    "batchjob_filters": "each answer is compared all the same",
    "gzip_bodies": "mjbulk does not compress",
    "requests_per_connection": "a connection is made anew where it was closed",
    "refused_members": "mjbulk sends none of them",
    "strict_imports": "mjbulk misspells nothing",
    "first_job_id": "no behaviour",
    "first_data_id": "no behaviour",
    "progress": "only how soon an end is foreseen",
    "keep_rows": "no behaviour",
}
"""Knobs that a check of an account leaves alone, and why."""


def test_every_knob_is_told_or_left_for_a_reason() -> None:
    """Nobody forgets the check where a knob is added."""
    told = {name for knobs, _ in TURNED for name in knobs}
    assert told.isdisjoint(NOT_TOLD)
    assert told | set(NOT_TOLD) == {field.name for field in attrs.fields(Knobs)}


@pytest.mark.parametrize(("knobs", "phrase"), TURNED, ids=[str(knobs) for knobs, _ in TURNED])
async def test_it_tells_one_behaviour_from_another(
    world: World, knobs: dict[str, Any], phrase: str, tmp_path: Path
) -> None:
    """For each way in which Mailjet might behave the findings say so, and their file gives the same assumptions."""
    sizes = bool({"max_body", "max_rows"} & set(knobs))
    usual = await check(world, probe_sizes=sizes)
    async with world.turned(**knobs) as turned:
        findings = await check(turned, probe_sizes=sizes)
        assert remains(turned) == []
    assert phrase in findings.text()
    assert phrase not in usual.text()
    findings.write(tmp_path / "found.toml")
    assert mjbulk.Assumptions.load(tmp_path / "found.toml") == findings.assumptions


@pytest.mark.parametrize(
    ("knobs", "field", "value"),
    [
        ({"count_includes_rejected": False}, "count_includes_rejected", False),
        ({"csv_empty_cell": "clear"}, "csv_empty_cell_keeps", False),
        (
            {"aborted_word": "Cancelled"},
            "terminal_statuses",
            ("completed", "error", "abort", "aborted", "cancelled"),
        ),
        ({"not_found_window": 5.0}, "new_job_seconds", 60.0),
        ({"count_lag": 30.0}, "counts_lag_seconds", 42.0),
        ({"error_file_delay": 30.0}, "error_file_seconds", 63.0),
        ({"max_body": 3_000_000}, "max_body_bytes", 2 * 2**20),
        ({"max_rows": 6000}, "max_rows", 5000),
    ],
)
async def test_what_it_settles(world: World, knobs: dict[str, Any], field: str, value: Any) -> None:
    """A field becomes what was seen; a wait that was long enough stays as it is."""
    async with world.turned(**knobs) as turned:
        findings = await check(turned, probe_sizes=bool({"max_body", "max_rows"} & set(knobs)))
    assert getattr(findings.assumptions, field) == value
    held = value == getattr(mjbulk.Assumptions(), field) or field == "count_includes_rejected"
    assert conclusion_of(findings, field) is (Conclusion.HOLDS if held else Conclusion.DIFFERS)


@pytest.mark.parametrize(
    ("knob", "field"),
    [
        ("not_found_window", "new_job_seconds"),
        ("count_lag", "counts_lag_seconds"),
        ("error_file_delay", "error_file_seconds"),
    ],
)
async def test_a_wait_that_was_too_short_becomes_twice_what_was_seen(world: World, knob: str, field: str) -> None:
    """One job need not have been the slowest."""
    async with world.turned(**{knob: 80.0}) as turned:
        findings = await check(turned)
    assert 160 <= getattr(findings.assumptions, field) <= 180
    assert conclusion_of(findings, field) is Conclusion.DIFFERS


async def test_an_error_file_that_no_job_tells_of(world: World) -> None:
    """If a file exists and nothing announced it, each job has to be followed by a request for it."""

    def silent(body: bytes) -> bytes:
        return re.sub(rb'"ErrorFile" : "[^"]+"', b'"ErrorFile" : ""', body)

    world.emulator.fault("GET contact/managemanycontacts", Fault.edited(silent), times=None)
    findings = await check(world)
    assert conclusion_of(findings, "errors_are_announced") is Conclusion.HOLDS
    assert "whether a job tells of its error file: a JSON job does not, a csvimport does" in findings.text()
    assert "ErrorFile of a JSON job: empty" in findings.text()


async def test_an_error_file_that_never_comes(world: World) -> None:
    """It is looked for as long as was asked, and then said to be missing."""
    async with world.turned(error_file_delay=1000.0) as turned:
        findings = await check(turned, linger=20.0)
    assert conclusion_of(findings, "error_file_seconds") is Conclusion.OPEN
    assert conclusion_of(findings, "errors_are_announced") is Conclusion.OPEN
    assert "the error file of a JSON job: there is none" in findings.text()


async def test_a_bad_row_that_becomes_a_contact_settles_no_count(world: World) -> None:
    """Where Mailjet takes what it had to refuse, nothing follows from the counts."""
    world.emulator.fault("GET contact", Fault.answer(200, b"{}"))
    findings = await check(world)
    assert conclusion_of(findings, "count_includes_rejected") is Conclusion.OPEN
    assert "some of them became contacts" in findings.text()
    assert findings.left == ("contacts of rows that had to be refused",)


async def test_nothing_personal_is_in_the_text(world: World) -> None:
    """No addresses, keys, values or IDs are shown, and no words of the server except statuses."""
    world.emulator.knobs = Knobs(error_file_form="foreign", running_word=f"Importing {CANARY}")
    findings = await check(world, canary=CANARY)
    assert CANARY in world.emulator.contacts
    assert dict(world.emulator.contacts[CANARY].properties) == {}
    text = repr(findings) + findings.text()
    for secret in (CANARY, "example", KEYS.public, KEYS.private, "not defined", "mjbulkcheck"):
        assert secret not in text
    assert not re.search(r"\d{5}|@", text)
    assert "(another text)" in text


async def test_without_consent_nothing_is_requested(world: World) -> None:
    """It refuses before anything is sent, and says what it would make."""
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError) as caught:
            await check_account(client, consent=False)
        assert str(caught.value) == (
            "the check makes a list, properties and a contact in this account: it needs consent=True; nothing was sent"
        )
        with pytest.raises(mjbulk.UsageError):
            await check_account(client, consent=True, canary="nobody")
        with pytest.raises(mjbulk.UsageError):
            await check_account(client, consent=True, patience=0)
    assert world.emulator.requests == 0


async def test_it_tells_of_its_steps(world: World) -> None:
    """Each step is announced before it begins, and only steps that are made."""
    steps: list[str] = []
    await check(world, tell=steps.append)
    assert len(steps) == len(set(steps)) == 10
    assert steps[0] == "making a list and contact properties"
    assert not [step for step in steps if "growing" in step or "more and more" in step]


@pytest.mark.parametrize(
    ("call", "why", "open_fields"),
    [
        ("POST contact/managemanycontacts", "400", ["count_includes_rejected", "csv_empty_cell_keeps"]),
        ("POST csvimport", "400", ["csv_count_includes_rejected", "csv_empty_cell_keeps"]),
        ("POST contactslist/csvdata", "400", ["csv_count_includes_rejected", "max_body_bytes"]),
        ("GET contactdata", "403", ["csv_count_includes_rejected", "csv_empty_cell_keeps"]),
        ("batchjob/jsonerror", "403", []),
        ("GET contact/managemanycontacts", "403", ["count_includes_rejected"]),
        ("GET contact", "403", ["count_includes_rejected"]),
        ("GET csvimport", "403", ["csv_count_includes_rejected"]),
    ],
)
async def test_an_experiment_that_fails_leaves_the_others(
    world: World, call: str, why: str, open_fields: list[str]
) -> None:
    """What it was to show is not settled, the rest is, and everything is removed."""
    world.emulator.fault(call, Fault.answer(int(why), "{}"), times=None)
    findings = await check(world, probe_sizes=True)
    for field in open_fields:
        assert conclusion_of(findings, field) is Conclusion.OPEN
    assert conclusion_of(findings, "new_job_seconds") is Conclusion.HOLDS
    assert remains(world) == []
    unseen = call in ("GET contact/managemanycontacts", "GET csvimport")  # nobody saw these jobs end
    assert len(findings.left) == unseen


async def test_where_no_job_is_taken_nothing_is_settled(world: World) -> None:
    """The defaults are left, and the reasons are told."""
    for call in ("POST contact/managemanycontacts", "POST contactslist/csvdata"):
        world.emulator.fault(call, Fault.answer(400, "{}"), times=None)
    findings = await check(world)
    assert findings.assumptions == mjbulk.Assumptions()
    assert "no job was seen to end" in findings.text()
    assert "Mailjet answered 400 to POST contact/managemanycontacts" in findings.text()


async def test_where_nothing_can_be_made_it_raises(world: World) -> None:
    """An account that has no room for a property is left as it was."""
    async with world.turned(property_limit=2) as turned:
        with pytest.raises(mjbulk.ApiError) as caught:
            await check(turned)
        assert remains(turned) == []
    assert not hasattr(caught.value, "__notes__")


async def test_cancelling_it_removes_what_it_made(world: World) -> None:
    """Also where it is cancelled once more while it removes."""
    world.emulator.knobs = Knobs(import_seconds=1000.0)
    async with world.client() as client:
        task = asyncio.create_task(check_account(client, consent=True))
        await asyncio.sleep(20)
        assert len(remains(world)) == 5
        world.emulator.fault("DELETE contactslist", Fault.delay(before=1.0))
        task.cancel()
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert remains(world) == []


async def test_a_job_that_does_not_end_settles_nothing(world: World) -> None:
    """Its time is bounded; an import that still runs is aborted, because it could create a removed property again."""
    async with world.turned(import_seconds=10_000.0) as turned:
        findings = await check(turned, patience=30.0)
        assert turned.emulator.now < 300
        ends = {(job.kind, job.status) for job in turned.emulator.jobs.values()}
        assert ends == {("contact", ""), ("csvimport", "Abort")}
        assert remains(turned) == []
    assert "its job did not end in time" in findings.text()
    assert findings.assumptions == mjbulk.Assumptions()
    assert findings.left == ("jobs that had not ended: they may still change the contact",)
    assert "  jobs that had not ended" in findings.text()


async def test_what_cannot_be_removed_is_named(world: World) -> None:
    """The names are told, in the findings or as notes of the error, so that somebody can remove it by hand."""
    world.emulator.fault("DELETE contactslist", Fault.answer(403, "{}"), times=None)
    world.emulator.fault("DELETE contactmetadata", Fault.stall(), times=None)
    findings = await check(world)
    assert [re.sub("[0-9a-f]{8}", "X", left) for left in findings.left] == [
        "the list 'mjbulk check X'",
        "contact properties that begin with 'mjbulkcheckX'",
    ]
    world.emulator.fault("POST contactmetadata", Fault.answer(403, "{}"))
    with pytest.raises(mjbulk.ApiError) as caught:
        await check(world)
    assert "the list 'mjbulk check" in "".join(caught.value.__notes__)


async def test_a_list_whose_making_was_not_answered_is_removed(world: World) -> None:
    """It is found by its name; a removal whose answer was lost, and that then meets nothing, is one."""
    world.emulator.drop_answer("POST contactslist")
    world.emulator.drop_answer("DELETE contactslist")
    with pytest.raises(mjbulk.NoAnswer):
        await check(world)
    assert world.emulator.count("DELETE contactslist") == 2
    assert remains(world) == []


def test_shapes_of_error_files_that_nobody_expects() -> None:
    """Whatever comes has a name, and nothing of it is shown."""
    shapes = {
        None: "there is none",
        b" \n": "it is empty",
        b"<html>": "a page of HTML",
        b"[": "JSON that is cut or broken",
        b'{"a":\n': "JSON that is cut or broken",
        b"3": "one JSON value",
        b"[]": "a list of nothing, or mixed values",
        b'["a@example.org: no"]': "a list of texts",
        b'{"a@example.org": "no"}': "one object ((another text))",
        b'{"Error": ""}': "one object (Error)",
    }
    assert {data: json_file_shape(data) for data in shapes} == shapes
    assert csv_file_shape(None) == "there is none"
    assert csv_file_shape(b"a,b, ###no###email\n") == "no header, 1 lines with ### before the error"
    assert csv_file_shape(b"email,error\n") == "a header that ends in error, 0 lines with ### before the error"


def test_shapes_of_values_that_nobody_expects() -> None:
    """The same of timestamps, numbers and addresses."""
    times = [None, "", 0, "0", 5, "5", 5.5, "soon", "2024-01-01T00:00:00", "2024-01-01T00:00:00+01:00"]
    assert [time_shape(value) for value in times] == [
        "missing",
        "empty text",
        "0",
        "0",
        "Unix seconds",
        "Unix seconds as a text",
        "another form",
        "another form",
        "ISO without a zone",
        "ISO with an offset",
    ]
    assert [number_shape(value) for value in (1, "1", True, "x")] == ["numbers", "texts", *["something else"] * 2]
    assert address_shape("http://[", "") == "another form"
    assert address_shape("https://x.example/me@example.org", "https://x.example") == "absolute, on our origin (/#)"
