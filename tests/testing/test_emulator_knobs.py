"""Each knob of the emulator turns what it says."""

import asyncio
import gzip
from typing import Any

import aiohttp
import attrs
import orjson
import pytest
from test_emulator import QUICK, UPLOAD, WHOLE, served

from mjbulk.testing import Knobs

MANY = "REST/contact/managemanycontacts"
GOOD, BAD = {"Email": "a@example.org"}, {"Email": "bad"}


def turned(**knobs: Any) -> Knobs:
    return attrs.evolve(QUICK, **knobs)


def test_every_knob_says_what_it_is() -> None:
    """Knobs are frozen, and the guesses among them turn without code."""
    knobs = Knobs()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        knobs.queue_seconds = 1.0  # type: ignore[misc]
    assert attrs.evolve(knobs, queue_seconds=1.0).queue_seconds == 1.0


async def test_a_small_job_of_the_sandbox_ends_within_two_seconds() -> None:
    """With the usual knobs a small job is done in less than two seconds."""
    async with served(Knobs()) as api:
        job = await api.submit([GOOD])
        await asyncio.sleep(2.0)
        assert (await api.job(job))["Status"] == "Completed"


async def test_words() -> None:
    """running_word and aborted_word are what jobs show."""
    async with served(turned(running_word="In Progress", aborted_word="Aborted")) as api:
        job = await api.start_csv("email\na@example.org\n")
        await asyncio.sleep(2.5)
        assert (await api("GET", f"REST/csvimport/{job}")).row["Status"] == "In Progress"
        await api("PUT", f"REST/csvimport/{job}", {"Status": "Abort"})
        assert (await api("GET", f"REST/csvimport/{job}")).row["Status"] == "Aborted"


async def test_queue_seconds_and_progress_may_be_functions_of_the_job() -> None:
    """Each job may wait as long as it is told, and go at its own pace."""
    knobs = turned(
        queue_seconds=lambda job: 10.0 * job.total,
        prepare_seconds=0.0,
        import_seconds=100.0,
        progress=lambda job, worked: worked**2,
    )
    async with served(knobs) as api:
        jobs = [await api.submit([{"Email": f"{n}@example.org"} for n in range(size)]) for size in (1, 4)]
        await asyncio.sleep(11.0)
        assert [(await api.job(job))["Status"] for job in jobs] == ["Importing", "Allocated"]
        await asyncio.sleep(40.0 + 75.0 - 11.0)
        assert (await api.job(jobs[1]))["Count"] == 2
        await asyncio.sleep(25.5)
        assert [(await api.job(job))["Status"] for job in jobs] == ["Completed", "Completed"]


async def test_not_found_window() -> None:
    """A new job is not found for a while."""
    async with served(turned(not_found_window=0.5)) as api:
        path = f"{MANY}/{await api.submit([GOOD])}"
        assert (await api("GET", path)).status == 404
        await asyncio.sleep(0.5)
        assert (await api("GET", path)).status == 200


async def test_count_lag() -> None:
    """A completed job shows half of its Count for a while."""
    async with served(turned(count_lag=5.0)) as api:
        row = await api.run([GOOD, {"Email": "b@example.org"}])
        assert (row["Status"], row["Count"]) == ("Completed", 1)
        await asyncio.sleep(5.0)
        assert (await api.job(row["JobID"]))["Count"] == 2


async def test_error_file_delay_and_retention() -> None:
    """An error file comes late, and goes with its job."""
    async with served(turned(error_file_delay=5.0, retention=60.0)) as api:
        row = await api.run([BAD])
        assert row["ErrorFile"]
        assert (await api.json_errors(row["JobID"])).status == 404
        await asyncio.sleep(5.0)
        assert (await api.json_errors(row["JobID"])).status == 200
        await asyncio.sleep(60.0)
        assert (await api.json_errors(row["JobID"])).status == 404
        assert (await api("GET", f"{MANY}/{row['JobID']}")).status == 404


async def test_running_jobs() -> None:
    """With one job at a time the second waits for the first."""
    async with served(turned(running_jobs=1)) as api:
        jobs = [await api.submit([GOOD]) for _ in range(2)]
        await asyncio.sleep(WHOLE)
        assert [(await api.job(job))["Status"] for job in jobs] == ["Completed", "Prepare"]
        await asyncio.sleep(3.0)
        assert (await api.job(jobs[1]))["Status"] == "Completed"


@pytest.mark.parametrize("chunked", [False, True])
async def test_max_body_resets(*, chunked: bool) -> None:
    """Above max_body the connection is reset and nothing happens."""
    async with served(turned(max_body=1000)) as api:
        body = orjson.dumps({"Contacts": [GOOD] * 100})

        async def pieces() -> Any:
            yield body

        with pytest.raises(aiohttp.ClientError):
            await api("POST", MANY, data=pieces() if chunked else body)
        assert not api.emulator.jobs
        await api.submit([GOOD])
        assert len(api.emulator.jobs) == 1


async def test_max_body_may_answer_413() -> None:
    """Or it is answered with the proxy's page."""
    async with served(turned(max_body=1000, max_body_answer="413")) as api:
        reply = await api("POST", UPLOAD, data=b"email\n" * 1000)
        assert (reply.status, reply.headers["Content-Type"]) == (413, "text/html")
        assert reply.text == "<html><body><h1>413 Request Entity Too Large</h1></body></html>\r\n"


async def test_max_rows() -> None:
    """More rows than max_rows in one call reset the connection."""
    async with served(turned(max_rows=2)) as api:
        with pytest.raises(aiohttp.ClientError):
            await api.submit([GOOD] * 3)
        await api.submit([GOOD] * 2)
        assert [job.total for job in api.emulator.jobs.values()] == [2]


@pytest.mark.parametrize("retry_after", [None, 7])
async def test_rate_limit(retry_after: int | None) -> None:
    """More requests in one second than rate_limit are 429, a page of the proxy, for each key alone."""
    async with served(turned(rate_limit=2, retry_after=retry_after)) as api:
        statuses = [(await api("GET", "REST/contactslist")).status for _ in range(2)]
        reply = await api("GET", "REST/contactslist")
        assert ([*statuses, reply.status], reply.headers["Content-Type"]) == ([200, 200, 429], "text/html")
        assert reply.headers.get("Retry-After") == (str(retry_after) if retry_after else None)
        assert reply.text == "<html><body><h1>429 Too Many Requests</h1></body></html>\r\n"
        assert (await api("GET", "REST/contactslist", key="other")).status == 200
        await asyncio.sleep(1.0)
        assert (await api("GET", "REST/contactslist")).status == 200


async def test_contact_limit() -> None:
    """Above contact_limit a call is a 400 with the recorded text, even one that would only unsubscribe."""
    async with served(turned(contact_limit=2)) as api:
        await api.run([GOOD, {"Email": "b@example.org"}])
        body = {"Contacts": [GOOD], "ContactsLists": [{"ListID": 1, "Action": "unsub"}]}
        reply = await api("POST", MANY, body)
        assert (reply.status, reply.error) == (400, "Number of contacts exceeds maximum allowed for free accounts")


async def test_property_limit() -> None:
    """The property limit, the address counted, holds for contactmetadata."""
    async with served(turned(property_limit=2)) as api:
        assert (await api("POST", "REST/contactmetadata", {"Name": "one"})).status == 201
        reply = await api("POST", "REST/contactmetadata", {"Name": "two"})
        assert (reply.status, reply.error) == (400, "Number of contact properties exceeds the limit of 2")


async def test_one_account() -> None:
    """All keys may share one account."""
    async with served(turned(one_account=True)) as api:
        job = await api.submit([GOOD], key="one")
        assert (await api("GET", f"{MANY}/{job}", key="two")).status == 200


@pytest.mark.parametrize(
    ("style", "kind", "suffix"), [("naive", str, ""), ("z", str, "Z"), ("unix", int, ""), ("empty", str, "")]
)
async def test_timestamps(style: Any, kind: type, suffix: str) -> None:
    """JobStart and JobEnd, and all times of a csvimport, come without a zone, with Z, as Unix integers, or empty."""
    async with served(turned(timestamps=style, csv_timestamps=style)) as api:
        csv = await api.run_csv("email\na@example.org\n")
        for time in ((await api.run([GOOD]))["JobEnd"], *(csv[name] for name in ("JobEnd", "AliveAt", "RequestAt"))):
            assert isinstance(time, kind)
            assert str(time).endswith(suffix)
            assert len(str(time)) == {"naive": 19, "z": 20, "unix": 10, "empty": 0}[style]
        fresh = await api.job(await api.submit([GOOD]))
        assert fresh["JobEnd"] == (0 if style == "unix" else "")


async def test_numbers_as_strings() -> None:
    """Numbers and booleans in Data are strings, as the guides show; the envelope keeps its numbers."""
    async with served(turned(numbers_as_strings=True)) as api:
        reply = await api("POST", "REST/contact", GOOD)
        assert (reply.row["DeliveredCount"], reply.row["IsExcludedFromCampaigns"]) == ("0", "false")
        assert orjson.loads(reply.text)["Count"] == 1
        assert (await api.run([GOOD]))["Count"] == "1"


async def test_echo_lists() -> None:
    """A job need not show its lists."""
    async with served(turned(echo_lists=False)) as api:
        assert "ContactsLists" not in await api.job(await api.submit([GOOD], {1: "unsub"}))


@pytest.mark.parametrize(("included", "count"), [(True, 2), (False, 1)])
async def test_count_includes_rejected(*, included: bool, count: int) -> None:
    """Count of a job has the rejected rows in it, or not."""
    async with served(turned(count_includes_rejected=included)) as api:
        assert (await api.run([GOOD, BAD]))["Count"] == count


@pytest.mark.parametrize(
    ("shape", "content"),
    [
        ("list", '[{ "Email" : "bad", "Error" : "Invalid email address" }]'),
        ("object", '{ "Errors" : [{ "Email" : "bad", "Error" : "Invalid email address" }] }'),
        ("data", '{ "Count" : 1, "Data" : [{ "Email" : "bad", "Error" : "Invalid email address" }], "Total" : 1 }'),
        ("lines", '{ "Email" : "bad", "Error" : "Invalid email address" }\n'),
        ("text", "bad: Invalid email address\n"),
        ("copy", '[{ "Email" : "bad", "error" : "Invalid email address" }]'),
    ],
)
async def test_json_error_shape(shape: Any, content: str) -> None:
    """The JSON error file has one of six shapes."""
    async with served(turned(json_error_shape=shape)) as api:
        row = await api.run([GOOD, BAD])
        assert (await api.json_errors(row["JobID"])).text == content


@pytest.mark.parametrize("form", ["relative", "root", "absolute", "foreign"])
async def test_error_file_form(form: Any) -> None:
    """ErrorFile is relative, or absolute in one of three ways."""
    async with served(turned(error_file_form=form)) as api:
        row = await api.run([BAD])
        path = f"DATA/batchjob/{row['JobID']}/JSONError/application:json/LAST"
        origin = {"root": "/v3/", "absolute": f"{api.emulator.url}/v3/", "foreign": "https://files.example.net/v3/"}
        assert row["ErrorFile"] == origin.get(form, "") + path


@pytest.mark.parametrize(
    ("policy", "status", "people", "properties"),
    [
        ("error_job", "Error", [], {}),
        ("error_row", "Completed", ["a@example.org"], {}),
        ("create", "Completed", ["a@example.org", "b@example.org"], {"age": "1"}),
        ("ignore", "Completed", ["a@example.org", "b@example.org"], {}),
    ],
)
async def test_undeclared_property(policy: Any, status: str, people: list[str], properties: dict[str, str]) -> None:
    """An undeclared property fails the job or its row, or is made, or is ignored."""
    async with served(turned(undeclared_property=policy)) as api:
        row = await api.run([GOOD, {"Email": "b@example.org", "Properties": {"age": 1}}])
        assert (row["Status"], list(api.emulator.contacts)) == (status, people)
        if "b@example.org" in people:
            assert api.emulator.contacts["b@example.org"].properties == properties


async def test_property_case_matters() -> None:
    """Property names may be taken by their exact case."""
    async with served(turned(property_case_matters=True)) as api:
        api.emulator.create_property("age")
        assert (await api.run([{**GOOD, "Properties": {"Age": 1}}]))["Error"] == "property not defined"
        assert (await api.run([{**GOOD, "Properties": {"age": 1}}]))["Status"] == "Completed"


async def test_duplicate_winner() -> None:
    """The first of two rows of one person may win."""
    async with served(turned(duplicate_winner="first")) as api:
        row = await api.run([{**GOOD, "Name": "1"}, {**GOOD, "Name": "2"}])
        assert api.emulator.contacts["a@example.org"].name == "1"
        assert api.emulator.jobs[row["JobID"]].outcomes == ["applied", "superseded"]


async def test_list_errors_in_the_message() -> None:
    """A 400 about lists may have its details in ErrorMessage, in the words of the guide."""
    async with served(turned(list_errors="message")) as api:
        body = {"Contacts": [GOOD], "ContactsLists": [{"ListID": 9, "Action": "unsub"}, {"ListID": 1, "Action": ""}]}
        reply = await api("POST", MANY, body)
        texts = [item["Error"] for item in reply.error["ContactsLists"]]
        assert (reply.info, texts) == ("", ["listID missing or not valid", "action missing or not valid"])


async def test_csv_count_processed() -> None:
    """Count of a csvimport may be what was processed so far."""
    async with served(turned(csv_count="processed")) as api:
        job = await api.start_csv("email\na@example.org\n")
        assert (await api("GET", f"REST/csvimport/{job}")).row["Count"] == 0
        await asyncio.sleep(WHOLE)
        assert (await api("GET", f"REST/csvimport/{job}")).row["Count"] == 1


@pytest.mark.parametrize(("policy", "left"), [("keep", {"town": "Ulm"}), ("clear", {})])
async def test_csv_empty_cell(policy: Any, left: dict[str, str]) -> None:
    """An empty cell leaves its property alone, or unassigns it."""
    async with served(turned(csv_empty_cell=policy)) as api:
        await api.run_csv("email,town\na@example.org,Ulm\n")
        await api.run_csv("email,town\na@example.org,\n")
        assert api.emulator.contacts["a@example.org"].properties == left


async def test_err_treshold_as_a_percentage() -> None:
    """ErrTreshold may be a share of the lines."""
    async with served(turned(err_treshold="percent")) as api:
        text = "email\n" + "bad\n" * 5 + "".join(f"{n}@example.org\n" for n in range(5))
        assert (await api.run_csv(text, ErrTreshold=50))["Status"] == "Completed"
        assert (await api.run_csv(text, ErrTreshold=40))["Status"] == "Abort"


async def test_keep_rows() -> None:
    """A job keeps what was submitted, unless memory matters more; its outcomes stay."""
    for keep in (True, False):
        async with served(turned(keep_rows=keep)) as api:
            row = await api.run([{"email": "a@example.org"}])
            job = api.emulator.jobs[row["JobID"]]
            assert (job.rows, job.outcomes) == ([GOOD] if keep else [], ["applied"])


async def test_first_ids() -> None:
    """Jobs and uploads are numbered from where one likes, beyond 2^53 as well."""
    async with served(turned(first_job_id=7, first_data_id=98765432123456780)) as api:
        assert await api.submit([GOOD]) == 7
        assert await api.upload("email\n") == 98765432123456780


async def test_hide_errors() -> None:
    """A lie: rejected rows are announced nowhere; the truth is in the emulator alone."""
    async with served(turned(hide_errors=True)) as api:
        row = await api.run([GOOD, BAD])
        assert (row["ErrorFile"], row["Error"], (await api.json_errors(row["JobID"])).status) == ("", "", 404)
        assert api.emulator.jobs[row["JobID"]].outcomes == ["applied", "rejected"]
        assert (await api.run_csv("email\nbad\n"))["Errcount"] == 0


async def test_wrong_errcount_and_cut_error_file() -> None:
    """Lies: Errcount is off, and the error file lacks its end."""
    async with served(turned(wrong_errcount=2, cut_error_file=0.5)) as api:
        row = await api.run_csv("email\nbad\n")
        assert row["Errcount"] == 3
        whole = "email,error\nbad, ###Invalid email address###email\n"
        reply = await api.csv_errors(row["ID"])
        assert (reply.text, reply.headers["Content-Length"]) == (whole[: len(whole) // 2], str(len(whole) // 2))


async def test_half_count_on_error() -> None:
    """A lie: a job in Error shows half of its rows."""
    async with served(turned(half_count_on_error=True)) as api:
        row = await api.run([{**GOOD, "Properties": {"x": 1}}, BAD])
        assert (row["Status"], row["Count"], len(api.emulator.contacts)) == ("Error", 1, 0)


@pytest.mark.parametrize(("text", "status"), [("", "Abort"), ("disk full", "Error")])
async def test_abort_after(text: str, status: str) -> None:
    """A job may stop by itself after some rows, with a text or without; those rows are applied."""
    async with served(turned(abort_after=1, abort_error=text)) as api:
        row = await api.run([GOOD, BAD])
        job = api.emulator.jobs[row["JobID"]]
        assert (row["Status"], row["Error"], row["Count"], job.outcomes) == (status, text, 1, ["applied", "skipped"])
        assert not job.errors
        assert (await api.run_csv("email\nb@example.org\nbad\n"))["Status"] == status
        assert list(api.emulator.contacts) == ["a@example.org", "b@example.org"]
        assert (await api.run([GOOD]))["Status"] == "Completed"


async def test_knobs_turn_while_it_runs() -> None:
    """New knobs hold from the moment they are set."""
    async with served() as api:
        api.emulator.knobs = turned(max_rows=0)
        with pytest.raises(aiohttp.ClientError):
            await api.submit([GOOD])


async def test_job_type() -> None:
    """What batchjob calls a job of managemanycontacts is not known."""
    async with served(turned(job_type="Contacts")) as api:
        job = await api.submit([GOOD])
        assert (await api("GET", f"REST/batchjob/{job}")).row["JobType"] == "Contacts"


async def test_batchjob_filters() -> None:
    """A filter that is not known is ignored: every job is shown."""
    for known, shown in ((True, 1), (False, 2)):
        async with served(turned(batchjob_filters=known)) as api:
            first, _ = [await api.start_csv("email\na@example.org\n") for _ in range(2)]
            wanted = (await api("GET", f"REST/csvimport/{first}")).row["DataID"]
            assert len((await api("GET", f"REST/batchjob?Data={wanted}")).data) == shown


async def test_refusal() -> None:
    """The text of a refused call may be another one; what is wrong stands beside it all the same."""
    async with served(turned(refusal="No contacts")) as api:
        empty = await api("POST", MANY, {"Contacts": []})
        action = await api("POST", "REST/contactslist/1/managemanycontacts", {"Contacts": [GOOD], "Action": "x"})
        assert [(reply.status, reply.error) for reply in (empty, action)] == [(400, "No contacts")] * 2
        assert (list(empty.info), list(action.info)) == (["Contacts"], ["Action"])


@pytest.mark.parametrize("reads", [True, False])
async def test_gzip_bodies(*, reads: bool) -> None:
    """A compressed body is read, or is no JSON; one that only says so is taken as it is."""
    async with served(turned(gzip_bodies=reads)) as api:
        headers = {"Content-Encoding": "gzip"}
        body = orjson.dumps({"Contacts": [GOOD]})
        packed = await api("POST", MANY, data=gzip.compress(body), headers=headers)
        assert packed.status == (201 if reads else 400)
        assert (await api("POST", MANY, data=body, headers=headers)).status == 201


async def test_requests_per_connection() -> None:
    """A connection may be closed after a number of answers; each of them is whole."""
    async with served(turned(requests_per_connection=2)) as api:
        closed = [(await api("GET", "REST/contactslist")).headers.get("Connection") for _ in range(4)]
        assert closed == [None, "close", None, "close"]
