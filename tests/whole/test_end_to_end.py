"""Whole imports against the emulator: through real HTTP, under the virtual clock."""

import asyncio
import datetime as dt
import io
import itertools
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import KEYS, World, balanced

import mjbulk
from mjbulk.mailjet.quota import LocalQuota
from mjbulk.testing import Fault

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}


def people(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"email": f"u{number}@example.org", **more} for number in range(1, count + 1)]


async def test_every_row_has_one_outcome(world: World) -> None:
    """Accepted, merged, refused here and refused there: each row is counted once, and those refused are named."""
    rows = people(2500, city="Graz")
    rows[6]["email"] = "not an address"
    rows[8]["age"] = "old"
    rows[10]["email"] = "U12@example.org "
    world.emulator.reject("u1999@example.org", "Refused, for a test", "city")
    async with world.client() as client:
        report = balanced(await client.import_contacts(rows, lists=ADD))
    assert (report.rows, report.accepted, report.rejected, report.superseded) == (2500, 2496, 3, 1)
    assert {(r.row, r.origin, r.field, r.match) for r in report.rejections} == {
        (7, "mjbulk", "email", "exact"),
        (9, "mjbulk", "age", "exact"),
        (1999, "mailjet", None, "exact"),
    }
    assert [r.data for r in report.rejections if r.row == 1999] == [{"email": "u1999@example.org", "city": "Graz"}]
    assert (len(report.jobs), report.complete, report.ok, report.halted) == (3, True, False, None)
    assert len(world.emulator.contacts) == 2496
    assert world.emulator.contacts["u1@example.org"].properties == {"city": "Graz"}


def contacts_file(path: Path, *, bad: bool) -> Path:
    """20,000 rows with a BOM, commas, quoted line ends and letters of all kinds; one in a hundred is bad."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        file.write("Email,city,age\r\n")
        for row in range(1, 20_001):
            address = f"row{row}.example.org" if bad and row % 100 == 0 else f"row{row}@exämple.org"
            file.write(f'{address},"Zürich, ""Süd""\n{row} 東京",{row}\r\n')
    return path


@pytest.mark.parametrize("via", ["json", "csv"])
async def test_twenty_thousand_rows_of_a_file(world: World, tmp_path: Path, via: Any) -> None:
    """A real file goes through on both ways: counts are exact, and every bad row is named by its number."""
    source = contacts_file(tmp_path / "real.csv", bad=True)
    async with world.client() as client:
        report = balanced(await client.import_contacts(source, lists=ADD, via=via))
    assert (report.accepted, report.rejected) == (19_800, 200)
    assert [r.row for r in report.rejections] == list(range(100, 20_001, 100))
    contact = world.emulator.contacts["row7@exämple.org"]
    assert contact.properties == {"city": 'Zürich, "Süd"\n7 東京', "age": 7}
    async with world.client() as client:
        clean = await client.import_contacts(contacts_file(source, bad=False), lists=ADD, via=via)
    assert clean.ok
    assert clean.rows == 20_000


async def test_records_of_a_file_are_passed_on_as_they_stand(world: World, tmp_path: Path) -> None:
    """On the CSV way an upload is the file itself, where nothing in it has to change."""
    text = 'age,"email",city\n1,a@example.org,"x ""y"""\n,"b@example.org",\n3,c@example.org,"two\nlines"'
    (tmp_path / "a.csv").write_text(text)
    async with world.client() as client:
        report = await client.import_contacts(tmp_path / "a.csv", lists=ADD, via="csv")
    assert report.ok
    assert [call.size for call in world.emulator.calls if call.route == "contactslist/csvdata"] == [len(text) + 1 - 2]


async def test_a_short_record_and_a_long_one_are_refused_by_their_numbers(world: World) -> None:
    """A ragged record, or one that is no CSV, costs its own row and nothing else."""
    text = b'email,city\na@example.org,Graz\nb@example.org\nc@example.org,Wien,3\n"d"x@x.org,Linz\ne@example.org,Graz\n'

    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(text), 7):
            yield text[start : start + 7]

    async with world.client() as client:
        report = balanced(await client.import_contacts(mjbulk.csv_source(stream()), lists=ADD))
    assert (report.accepted, [r.row for r in report.rejections]) == (2, [2, 3, 4])


async def test_sources_of_all_kinds_give_the_same(world: World, tmp_path: Path) -> None:
    """A list, a generator, an async generator, Contacts, Mailjet's own objects, CSV and JSON Lines: one result."""
    (tmp_path / "a.csv").write_text("Email;Name;city\na@example.org;Ann;Graz\n")
    (tmp_path / "a.jsonl").write_text('{"email":"a@example.org","name":"Ann","city":"Graz"}\n\n')
    row = {"EMAIL": "a@example.org", "name": "Ann", "city": "Graz"}

    def rows() -> Iterator[dict[str, str]]:
        yield row

    async def async_rows() -> AsyncIterator[dict[str, str]]:
        yield row

    own = {"Email": "a@example.org", "Name": "Ann", "Properties": {"city": "Graz"}}
    contact = mjbulk.Contact("a@example.org", name="Ann", properties={"city": "Graz"})
    sources: list[Any] = [[row], rows(), async_rows(), [own], [contact], tmp_path / "a.jsonl"]
    sources += [mjbulk.csv_source(tmp_path / "a.csv", delimiter=";")]
    async with world.client() as client:
        for source in sources:
            fresh = world.emulator.create_list("fresh")
            posts = world.posts()
            assert (await client.import_contacts(source, lists={fresh.id: "addnoforce"})).ok
            assert world.posts() == posts + 1
            found = world.emulator.contacts["a@example.org"]
            assert (found.name, dict(found.properties)) == ("Ann", {"city": "Graz"})
            assert fresh.id in found.lists


async def test_columns_are_picked_and_renamed(world: World) -> None:
    """columns= says what is sent; the rejection shows the row as it was given, with what was not sent."""
    rows: list[dict[str, Any]] = [
        {"E-Mail": "a@example.org", "Ort": None, "id": 7},
        {"E-Mail": "bad", "Ort": "Graz", "id": 8},
    ]
    async with world.client() as client:
        report = await client.import_contacts(rows, lists=ADD, columns={"E-Mail": "email", "Ort": "city"})
    assert report.accepted == 1
    assert [(r.row, r.data) for r in report.rejections] == [(2, {"E-Mail": "bad", "Ort": "Graz", "id": 8})]


@pytest.mark.parametrize(
    ("rows", "how", "names"),
    [
        ([{"mail": "a@example.org"}], {}, "email"),
        ([{"email": "a@example.org", "nope": 1}], {}, "nope"),
        ([{"email": "a@example.org"}, {"email": "b@example.org", "nope": 1}], {}, "nope"),
        ([{"email": "a@example.org", "city": "x", "CITY": "y"}], {}, "city"),
        ([{"email": "a@example.org"}], {"columns": ["email", "Ort"]}, "Ort"),
        ([{"email": "a@example.org", "name": "Ann"}], {"via": "csv"}, "name"),
        ([{"email": "a@example.org", "IsExcludedFromCampaigns": True}], {"via": "csv"}, "IsExcluded"),
    ],
)
async def test_faults_of_columns_refuse_the_run(world: World, rows: Any, how: Any, names: str) -> None:
    """A wrong column is refused with its name before anything is sent."""
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError, match=names) as caught:
            await client.import_contacts(rows, lists=ADD, **how)
    assert "nothing was sent" in str(caught.value)
    assert not [call for call in world.emulator.calls if call.method == "POST"]


async def test_unknown_properties_are_created_where_that_is_asked(world: World) -> None:
    """create_properties=True makes what is missing, of the types that are given, and then sends."""
    rows = [{"email": "a@example.org", "score": "7", "shoe": "42"}]
    async with world.client() as client:
        report = await client.import_contacts(rows, lists=ADD, create_properties=True, types={"score": "int"})
    assert report.ok
    assert {name: known.datatype for name, known in world.emulator.properties.items()} == {
        "city": "str",
        "age": "int",
        "score": "int",
        "shoe": "str",
    }
    assert world.emulator.contacts["a@example.org"].properties == {"score": 7, "shoe": "42"}


async def test_properties_are_read_from_all_pages(world: World) -> None:
    """An account with more properties than a page has them all known."""
    for number in range(1005):
        world.emulator.create_property(f"p{number}", "str")
    async with world.client() as client:
        report = await client.import_contacts([{"email": "a@example.org", "p1004": "x"}], lists=ADD)
        assert len([known async for known in client.properties()]) == 1007
    assert report.ok


async def test_lists_go_by_id_address_or_name(world: World) -> None:
    """A number is an ID, a word is an address or the exact name of one list."""
    news = world.emulator.create_list("News")
    world.emulator.create_list("Twice")
    world.emulator.create_list("Twice")
    async with world.client() as client:
        for ref in (news.id, news.address, "News"):
            assert (await client.import_contacts(people(1), lists={ref: "addnoforce"})).ok
        for ref in (99, "news", "Twice"):
            with pytest.raises(mjbulk.UsageError, match=r"lists? with the"):
                await client.import_contacts(people(1), lists={ref: "addnoforce"})
        with pytest.raises(mjbulk.UsageError, match="twice"):
            await client.import_contacts(people(1), lists={news.id: "addnoforce", "News": "remove"})
    assert world.posts() == 3


async def test_wrong_keys_are_one_request_and_a_clear_error(world: World) -> None:
    """Mailjet blocks clients that try wrong keys again: there is no second try."""
    async with world.turned(credentials={"right": "right"}) as other, other.client() as client:
        with pytest.raises(mjbulk.CredentialsRefused, match="API key or its secret is wrong") as caught:
            await client.import_contacts(people(3000), lists=ADD)
        assert other.emulator.requests == 1
    assert isinstance(caught.value, mjbulk.UsageError)
    assert isinstance(caught.value, mjbulk.ApiError)


async def test_a_server_that_is_down_halts_the_run(world: World) -> None:
    """No connection: the run halts after its patience, and every row that was read is not_sent."""
    url = world.emulator.url
    await world.emulator.aclose()
    async with mjbulk.Client(KEYS, mjbulk.Settings(api_url=url)) as client:
        with pytest.raises(mjbulk.ImportHalted) as caught:
            await client.import_contacts(people(10), lists=ADD)
    assert isinstance(caught.value.__cause__, mjbulk.NoAnswer)
    assert not caught.value.__cause__.sent
    assert balanced(caught.value.report).accepted == 0


async def test_a_server_that_goes_down_in_the_middle_loses_nothing(world: World) -> None:
    """Rows whose request got no connection are not_sent; rows of a job that could not be watched are unknown."""
    world.emulator.fault("POST contact/managemanycontacts", Fault.answer(502), times=None, after=2)
    async with world.client(give_up_after=5) as client:
        with pytest.raises(mjbulk.ImportHalted) as caught:
            await client.import_contacts(people(5000), lists=ADD)
    report = balanced(caught.value.report)
    assert report.accepted + report.unknown + report.not_sent == 5000
    assert report.unknown > 0
    assert all(why.cause for why in report.unsettled)


async def test_imports_run_side_by_side(world: World) -> None:
    """Two imports of one client to two lists do not touch each other."""
    second = world.emulator.create_list("Second")
    async with world.client() as client, asyncio.TaskGroup() as group:
        one = group.create_task(client.import_contacts(people(1500), lists={1: "addnoforce"}))
        two = group.create_task(client.start_import(people(1500), lists={second.id: "addforce"}).wait())
    assert one.result().ok
    assert two.result().ok
    assert world.emulator.contacts["u7@example.org"].lists == {1: "addnoforce", second.id: "addforce"}


async def test_a_hundred_awaiters_make_one_poll_stream(world: World) -> None:
    """However many wait for a watcher, its job is polled as for one."""
    polls = []
    for waiters in (1, 100):
        async with world.turned(import_seconds=300.0) as other, other.client() as client:
            watcher = await client.submit_contacts(people(2), lists=ADD)
            jobs = await asyncio.gather(*(watcher.wait() for _ in range(waiters)))
            assert {job.status for job in jobs} == {"Completed"}
            polls.append(other.emulator.count("GET contact/managemanycontacts"))
    assert polls[0] == polls[1] > 3


async def test_a_watcher_gives_each_change_and_then_ends(world: World) -> None:
    """`async for` shows the states of a job, the terminal one last, and never raises for what became of it."""
    slow = {"queue_seconds": 5, "prepare_seconds": 5, "import_seconds": 5}
    async with world.turned(abort_after=0, abort_error="broken", **slow) as other:
        async with other.client() as client:
            watcher = await client.submit_contacts(people(1), lists=ADD)
            seen = [job.status async for job in watcher]
            assert seen[-1] == "Error"
            assert len(seen) == len(set(seen)) >= 2
            with pytest.raises(mjbulk.JobFailed):
                await watcher
            again = await client.watch(str(watcher.ref)).wait()
        assert again.status == "Error"


async def test_waiting_for_a_job_can_time_out(world: World) -> None:
    """wait(timeout=) raises the builtin TimeoutError; the job goes on, and can be waited for again."""
    async with world.turned(import_seconds=100.0) as other, other.client() as client:
        watcher = await client.submit_contacts(people(1), lists=ADD)
        with pytest.raises(TimeoutError):
            await watcher.wait(timeout=10)
        assert watcher.latest is not None
        assert (await watcher).ok


@pytest.mark.parametrize("via", ["json", "csv"])
@pytest.mark.parametrize("concurrency", [1, 32])
async def test_rows_of_one_person_are_applied_in_their_order(world: World, via: Any, concurrency: int) -> None:
    """A thousand rows of one person over many chunks end with the last value, though later jobs are faster."""
    slow_first = (float(seconds) for seconds in range(50, 0, -1))
    rows = [{"email": "same@example.org" if n % 5 else f"u{n}@example.org", "city": str(n)} for n in range(1, 1251)]
    async with world.turned(import_seconds=lambda job: next(slow_first, 0.1)) as other:
        other.emulator.create_property("city", "str")
        async with other.client(chunk_rows=7, concurrency=concurrency) as client:
            report = balanced(await client.import_contacts(rows, lists=ADD, via=via))
        assert report.complete
        assert other.emulator.contacts["same@example.org"].properties == {"city": "1249"}


async def test_nobody_is_in_two_unfinished_jobs(world: World) -> None:
    """A row whose person is in an unfinished job waits for it; all other rows go at once."""
    rows = [{"email": address} for address in ("a@x.org", "b@x.org", "c@x.org", "A@x.org ", "d@x.org", "e@x.org")]
    async with world.client(chunk_rows=2) as client:
        assert (await client.import_contacts(rows, lists=ADD)).ok
    jobs = sorted(world.emulator.jobs.values(), key=lambda job: job.posted)
    first, second, third, held = jobs
    assert [job.total for job in jobs] == [2, 2, 1, 1]
    assert max(second.posted, third.posted) < first.ends <= held.posted


async def test_a_lost_answer_is_sent_again_where_that_is_harmless(world: World) -> None:
    """addnoforce converges: after a lost answer it is retried, and the rows are accepted."""
    world.emulator.drop_answer("contact/managemanycontacts")
    async with world.client() as client:
        report = balanced(await client.import_contacts(people(10), lists=ADD))
    assert report.ok
    assert world.posts() == 2


@pytest.mark.parametrize("action", ["addforce", "remove", "unsub"])
async def test_a_lost_answer_leaves_rows_unknown_where_twice_does_harm(world: World, action: Any) -> None:
    """What a person chose meanwhile is not undone: such a chunk is not retried, and its rows are unknown."""
    world.emulator.drop_answer("contact/managemanycontacts")
    async with world.client() as client:
        report = balanced(await client.import_contacts(people(1500), lists={1: action}))
    assert (report.unknown, report.accepted, world.posts()) == (1000, 500, 2)
    (why,) = report.unsettled
    assert (why.rows, why.job) == ((range(1, 1001),), None)
    assert not report.complete


async def test_resend_is_the_callers_word(world: World) -> None:
    """resend="always" retries addforce, resend="never" does not even retry addnoforce."""
    async with world.client() as client:
        world.emulator.drop_answer("contact/managemanycontacts")
        always = await client.import_contacts(people(5), lists={1: "addforce"}, resend="always")
        world.emulator.drop_answer("contact/managemanycontacts")
        never = await client.import_contacts(people(5), lists=ADD, resend="never")
    assert (always.accepted, never.unknown) == (5, 5)


async def test_a_row_that_excludes_is_not_sent_again(world: World) -> None:
    """IsExcludedFromCampaigns in a row makes its chunk one that is not sent twice."""
    world.emulator.drop_answer("contact/managemanycontacts")
    rows = [{"Email": "a@example.org", "IsExcludedFromCampaigns": True}]
    async with world.client() as client:
        report = balanced(await client.import_contacts(rows, lists=None))
    assert (report.unknown, world.posts()) == (1, 1)


async def test_a_reply_without_a_job_is_not_a_success(world: World) -> None:
    """201 with nothing that names a job: applied, but its outcome is not known; addforce is not retried."""
    world.emulator.fault("contact/managemanycontacts", Fault.garbage(b'{"Count":1,"Data":[{"JobID":0}],"Total":1}'))
    async with world.client() as client:
        report = balanced(await client.import_contacts(people(3), lists={1: "addforce"}))
    assert report.unknown == 3


async def test_a_refusal_of_everything_is_not_halved_for_ever(world: World) -> None:
    """When all halves are refused, no row is at fault: the run halts, and says what Mailjet answered."""
    world.emulator.fault("POST contact/managemanycontacts", Fault.answer(400), times=None)
    async with world.client() as client:
        with pytest.raises(mjbulk.ImportHalted) as caught:
            await client.import_contacts(people(5000), lists=ADD)
    assert isinstance(caught.value.__cause__, mjbulk.ApiError)
    report = balanced(caught.value.report)
    assert (report.accepted, report.rejected) == (0, 0)  # another run may send them all
    assert world.posts() < 300


async def test_too_many_requests_are_sent_again_later(world: World) -> None:
    """A 429 is neither a failure nor an attempt; what it asks for is waited."""
    world.emulator.fault("POST contact/managemanycontacts", Fault.answer(429, headers={"Retry-After": "30"}), times=2)
    async with world.client() as client:
        began = asyncio.get_running_loop().time()
        assert (await client.import_contacts(people(5), lists=ADD)).ok
    assert asyncio.get_running_loop().time() - began >= 60


async def test_a_pause_that_is_too_long_halts_the_run(world: World) -> None:
    """A server that wants an hour is not waited for."""
    world.emulator.fault(
        "POST contact/managemanycontacts", Fault.answer(429, headers={"Retry-After": "3600"}), times=None
    )
    async with world.client() as client:
        with pytest.raises(mjbulk.ImportHalted) as caught:
            await client.import_contacts(people(5), lists=ADD)
    assert balanced(caught.value.report).not_sent == 5


@pytest.mark.parametrize("shape", ["list", "object", "data", "lines", "text", "copy"])
@pytest.mark.parametrize("form", ["relative", "absolute", "root", "foreign"])
async def test_error_files_of_every_shape_are_matched(world: World, shape: Any, form: Any) -> None:
    """Whatever shape an error file has, and wherever its address points, the refused rows are found by their
    numbers."""
    async with world.turned(json_error_shape=shape, error_file_form=form) as other:
        other.emulator.reject("u3@example.org", "No, thanks", "email")
        other.emulator.reject("u900@example.org", "Never, ever", "email")
        async with other.client() as client:
            report = balanced(await client.import_contacts(people(1000), lists=ADD))
    assert (report.accepted, report.rejected, report.unknown) == (998, 2, 0)
    assert sorted(r.row or 0 for r in report.rejections) == [3, 900]


@pytest.mark.parametrize(
    "lie",
    [{"hide_errors": True, "count_includes_rejected": False}, {"cut_error_file": 0.6}, {"error_file_delay": 1e9}],
)
async def test_lies_never_make_a_rejected_row_accepted(world: World, lie: Any) -> None:
    """Where the error file is missing or cut, or Count is too low, rows are unknown, with the job that has them."""
    async with world.turned(**lie) as other:
        other.emulator.reject("u3@example.org", "No")
        async with other.client() as client:
            report = balanced(await client.import_contacts(people(10), lists=ADD))
    assert report.accepted == 0
    assert report.unknown + report.rejected == 10
    assert [why.job for why in report.unsettled] == list(report.jobs)


async def test_counts_that_lag_are_looked_at_again(world: World) -> None:
    """A Count that is too low for a while does not make rows unknown."""
    async with world.turned(count_lag=8.0) as other, other.client() as client:
        assert (await client.import_contacts(people(10), lists=ADD)).ok


async def test_on_mismatch_accept_keeps_rows_and_says_so(world: World) -> None:
    """The caller may take Count lightly; the report still says what does not agree."""
    async with world.turned(count_lag=1e9) as other, other.client() as client:
        unknown = await client.import_contacts(people(10), lists=ADD)
        accepted = await client.import_contacts(people(10), lists=ADD, on_mismatch="accept")
    assert (unknown.unknown, accepted.accepted) == (10, 10)
    assert accepted.ok
    assert len(accepted.unsettled) == 1


@pytest.mark.parametrize("word", ["Abort", "Aborted"])
async def test_a_job_that_was_aborted_leaves_rows_unknown(world: World, word: str) -> None:
    """Abort ends a job like Error does: it is not known which rows were applied."""
    async with world.turned(aborted_word=word, abort_after=5) as other:
        for number in range(1, 10):
            other.emulator.reject(f"u{number}@example.org", "No")
        async with other.client() as client:
            report = balanced(await client.import_contacts(people(20), lists=ADD, via="csv"))
    assert report.accepted == 0


async def test_an_error_file_is_asked_for_where_there_may_be_one(world: World) -> None:
    """After a failed job it is requested unless the job announces it; after a good job only if it is not known
    whether files are announced.
    """

    async def settled(other: World, *, announced: bool) -> mjbulk.Report:
        assumed = mjbulk.Assumptions(errors_are_announced=announced)
        async with mjbulk.Client(KEYS, other.settings(), assumptions=assumed) as client:
            return balanced(await client.import_contacts(people(20), lists=ADD, via="csv"))

    for announced, asked in ((True, 0), (False, 1)):
        assert (await settled(world, announced=announced)).ok
        assert world.emulator.count("GET batchjob/csverror") == asked
    async with world.turned(abort_after=5, wrong_errcount=-9) as other:
        other.emulator.reject("u3@example.org", "No")
        report = await settled(other, announced=True)
    assert (report.rejected, report.unknown) == (1, 19)


async def test_a_job_may_not_be_found_at_first(world: World) -> None:
    """A job that was just created answers 404 for a while, and that is no error."""
    async with world.turned(not_found_window=30.0) as other, other.client() as client:
        assert (await client.import_contacts(people(3), lists=ADD)).ok


async def test_an_outage_of_hours_is_survived_while_waiting(world: World) -> None:
    """Polls go on without end: an outage is not the failure of a job."""
    world.emulator.fault("GET contact/managemanycontacts", Fault.drop_before(reset=True), times=700)
    async with world.client() as client:
        assert (await client.import_contacts(people(3), lists=ADD)).ok
    assert asyncio.get_running_loop().time() > 3600


async def test_a_source_that_fails_halts_after_what_was_sent_is_settled(world: World) -> None:
    """The error names the row, and the report has what was sent."""

    def rows() -> Iterator[dict[str, str]]:
        for number in itertools.count(1):
            if number == 2501:
                raise RuntimeError("the cursor broke")
            yield {"email": f"u{number}@example.org"}

    async with world.client() as client:
        with pytest.raises(mjbulk.ImportHalted) as caught:
            await client.import_contacts(rows(), lists=ADD)
    cause = caught.value.__cause__
    assert isinstance(cause, mjbulk.SourceError)
    assert cause.row == 2501
    assert isinstance(cause.__cause__, RuntimeError)
    report = balanced(caught.value.report)
    assert (report.rows, report.accepted, report.not_sent) == (2500, 2000, 500)


async def test_too_many_rejected_rows_halt_the_run(world: World) -> None:
    """max_rejected= stops reading; what was sent is settled."""
    rows = people(1500) + [{"email": "bad"}] * 50 + people(5000)[1500:]
    async with world.client() as client:
        with pytest.raises(mjbulk.ImportHalted) as caught:
            await client.import_contacts(rows, lists=ADD, max_rejected=20)
    assert isinstance(caught.value.__cause__, mjbulk.RowsRejected)
    same = balanced(caught.value.__cause__.report)
    report = balanced(caught.value.report)
    assert (same.as_dict(), same.complete) == (report.as_dict(), False)
    assert report.accepted == 1000
    assert report.rejected == 21


async def test_a_timeout_leaves_a_partial_report(world: World) -> None:
    """ImportTimeout carries the books: what Mailjet has is unknown, with the job that has it."""
    async with world.turned(import_seconds=1e6) as other, other.client() as client:
        with pytest.raises(mjbulk.ImportTimeout) as caught:
            await client.import_contacts(people(10), lists=ADD, timeout=60)
    report = balanced(caught.value.report)
    assert report.unknown == 10
    assert report.unsettled[0].job == report.jobs[0]
    assert "timeout" in str(caught.value)


async def test_cancelling_an_import_stops_its_run(world: World) -> None:
    """Cancelling import_contacts ends the run; cancelling an await of a run stops that wait alone."""
    async with world.turned(import_seconds=1000.0) as other, other.client() as client:
        run = client.start_import(people(10), lists=ADD)
        waiting = asyncio.ensure_future(run.wait())
        await asyncio.sleep(5)
        waiting.cancel()
        await asyncio.sleep(5)
        assert "under way" in repr(run)
        task = asyncio.ensure_future(client.import_contacts(people(10), lists=ADD))
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await run).ok


@pytest.mark.parametrize("failure", [asyncio.CancelledError, GeneratorExit])
async def test_a_chunk_that_breaks_does_not_end_well(world: World, failure: type[BaseException]) -> None:
    """Whatever ends the task of a chunk, also a cancellation from within, its run does not return a report as if it
    had gone through.
    """

    def breaks(event: mjbulk.Event) -> None:
        if event.name == "chunk.sent":
            raise failure

    async with mjbulk.Client(KEYS, world.settings(chunk_rows=10), hooks=[breaks]) as client:
        run = client.start_import(people(100), lists=ADD)
        with pytest.raises(mjbulk.ImportHalted if failure is asyncio.CancelledError else failure) as caught:
            await run
    if isinstance(caught.value, mjbulk.ImportHalted):
        assert not balanced(caught.value.report).complete


async def test_a_quota_that_breaks_does_not_end_well(world: World) -> None:
    """What the user's own quota raises while jobs are watched is what awaiting the run raises."""

    class Breaking(LocalQuota):
        async def change(self, key: str, step: Any) -> Any:
            if world.posts() == 10:
                raise ZeroDivisionError
            return await super().change(key, step)

    async with mjbulk.Client(KEYS, world.settings(chunk_rows=10), quota=Breaking()) as client:
        with pytest.raises(ZeroDivisionError):
            await client.import_contacts(people(100), lists=ADD)
    assert world.posts() == 10


async def test_an_exception_in_the_client_block_stops_its_runs(world: World) -> None:
    """Leaving normally waits for runs, an exception stops them; no task outlives the client."""
    async with world.turned(import_seconds=1000.0) as other:
        client = other.client()
        runs = []

        async def fail() -> None:
            async with client:
                runs.append(client.start_import(people(10), lists=ADD))
                await asyncio.sleep(10)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        (run,) = runs
        report = balanced(await run.wait())
        assert report.unknown == 10
        async with other.client() as second:
            later = second.start_import(people(5), lists=ADD)
        assert (await later.wait()).ok
        async with other.client(drain=5) as third:
            stopped = third.start_import(people(5), lists=ADD)
        assert (await stopped.wait()).unknown == 5
        with pytest.raises(mjbulk.UsageError, match="not open"):
            client.start_import(people(5), lists=ADD)


async def test_progress_shows_the_newest_snapshot(world: World) -> None:
    """`async for` on a run ends by itself, and its last snapshot is the report's."""
    async with world.client() as client:
        run = client.start_import(people(3000), lists=ADD)
        seen = [progress async for progress in run]
        report = await run
    assert seen[-1].accepted == report.accepted == 3000
    assert seen[-1].jobs == {"Completed": 3}
    assert all(one.settled <= two.settled for one, two in itertools.pairwise(seen))


async def test_an_empty_source_sends_nothing(world: World) -> None:
    """No rows, no POST, and a complete report."""
    async with world.client() as client:
        for via in ("json", "csv"):
            report = await client.import_contacts([], lists=ADD, via=via)
            assert (report.rows, report.ok, len(report.jobs)) == (0, True, 0)
    assert world.posts() == 0


async def test_a_source_that_was_read_is_not_read_again(world: World) -> None:
    """An exhausted stream would look like an empty source: it is refused, and so is a file that is not there."""

    async def stream() -> AsyncIterator[bytes]:
        yield b"email\na@example.org\n"

    source = mjbulk.csv_source(stream())
    async with world.client() as client:
        assert (await client.import_contacts(source, lists=ADD)).ok
        with pytest.raises(mjbulk.UsageError, match="only once"):
            await client.import_contacts(source, lists=ADD)
        with pytest.raises(mjbulk.UsageError, match="cannot be opened"):
            await client.import_contacts("missing.csv", lists=ADD)


async def test_small_imports_take_turns_with_large_ones(world: World) -> None:
    """A ten-row import does not queue behind the nightly one."""
    async with world.turned(import_seconds=60.0) as other, other.client(max_jobs=2) as client:
        large = client.start_import(people(20_000), lists=ADD)
        await asyncio.sleep(100)
        began = asyncio.get_running_loop().time()
        small = await client.import_contacts(people(10), lists=None)
        assert small.ok
        assert asyncio.get_running_loop().time() - began < 200
        assert "under way" in repr(large)
        await large.stop()


async def test_low_level_calls(world: World, tmp_path: Path) -> None:
    """One request, one job: contacts, a list's contacts, an upload, an import, an error file."""
    world.emulator.reject("bad@example.org", "No way", "email")
    async with world.client() as client:
        watcher = await client.submit_list_contacts(
            1, [{"email": "a@example.org", "city": "Graz"}], action="addnoforce"
        )
        assert str(watcher.ref).startswith("contactslist:1/")
        assert (await watcher).ok
        data_id = await client.upload_csvdata(1, b"email,city\na@example.org,Wien\nbad@example.org,x\n")
        job = await (await client.submit_csvimport(data_id, list_id=1, method="addnoforce"))
        assert [(r.email, r.message, r.row, r.match) for r in job.rejections] == [
            ("bad@example.org", "No way", None, "unmatched")
        ]
        size = await client.save_error_file(job.ref, tmp_path / "errors.csv")
        assert (tmp_path / "errors.csv").read_bytes().endswith(b"bad@example.org,x, ###No way###email\n")
        assert size == (tmp_path / "errors.csv").stat().st_size
        with pytest.raises(mjbulk.ApiError) as caught:
            await client.save_error_file("csvimport:999", tmp_path / "none.csv")
        with pytest.raises(mjbulk.UsageError, match="row 2, column 'email'"):
            await client.submit_contacts([{"email": "a@example.org"}, {"email": "b"}], lists=ADD)
        with pytest.raises(mjbulk.UsageError, match="takes no list"):
            await client.submit_csvimport(data_id, list_id=1, method="excludemarketing")
    assert caught.value.status == 404
    assert not (tmp_path / "none.csv").exists()


async def test_tenants_have_clients_of_their_own(world: World) -> None:
    """One client for one pair of key and secret; a wrong secret never gets the right one's client."""
    async with mjbulk.SessionPool(world.settings()) as pool:
        one, same = pool.client(mjbulk.Credentials("a", "b")), pool.client(mjbulk.Credentials("a", "b"))
        other = pool.client(mjbulk.Credentials("a", "c"))
        assert one is same
        assert one is not other
        async with one:
            run = one.start_import(people(10), lists=ADD)
        assert (await run).ok
    with pytest.raises(mjbulk.UsageError):
        pool.client(mjbulk.Credentials("a", "b"))


async def test_no_address_and_no_key_is_logged_or_shown(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Through faults of all kinds, no log line, event, exception or repr has anybody's data in it."""
    caplog.set_level(logging.DEBUG)
    secret = "canary-city-of-somebody"
    rows = [{"email": f"canary{n}@example.org", "city": secret} for n in range(50)]
    rows[3]["email"] = "canary-bad"
    shown: list[str] = []
    for fault in (
        Fault.answer(400),
        Fault.drop_after(reset=True),
        Fault.garbage(b"<html>canary9@example.org"),
        Fault.answer(403),
    ):
        world.emulator.reject("canary7@example.org", "canary7@example.org is refused")
        world.emulator.fault("POST contact/managemanycontacts", fault)
        async with world.client() as client:
            run = client.start_import(rows, lists={1: "addforce"})
            report = await run.wait()
            shown += [repr(report), str(report), repr(run), repr(client), repr(list(report.rejections))]
            shown += [repr(report.unsettled), str(report.halted), repr(report.halted), repr(KEYS), repr(client._engine)]
    text = "\n".join([*shown, *map(repr, world.events), caplog.text])
    assert len(text) > 1000
    for word in ("canary", KEYS.public, KEYS.private, secret):
        assert word not in text


async def test_mended_rows_go_again_under_their_numbers(world: World) -> None:
    """A corrected row is sent with the keywords of its run; what is still wrong is rejected by its old number. What
    is no row is refused.
    """
    rows = people(1200, city="Graz", ltv=7)
    for number in (3, 500, 900):
        rows[number - 1]["email"] = f"u{number}@example,org"
    world.emulator.reject("u40@example.org", "No")

    def mend(rejection: mjbulk.Rejection) -> dict[str, Any] | None:
        if rejection.row == 500 or rejection.data is None:
            return None
        return {**rejection.data, "email": rejection.data["email"].replace(",", ".")}

    no_row: Any = lambda rejection: rejection.row  # noqa: E731  # what a caller may write by mistake
    columns = ["email", "city"]
    async with world.client() as client:
        report = await client.import_contacts(rows, lists=ADD, columns=columns)
        again = balanced(await client.retry_rejected(report, fix=mend))
        with pytest.raises(mjbulk.UsageError, match=r"a row is of type int.*nothing was sent"):
            await client.retry_rejected(report, fix=no_row)
    assert report.rejected == 4
    assert (again.rows, again.accepted, [r.row for r in again.rejections]) == (3, 2, [40])
    assert world.emulator.contacts["u900@example.org"].properties == {"city": "Graz"}


async def test_a_mended_row_of_a_csv_file_is_read_as_the_file_was(world: World) -> None:
    """An empty cell leaves a property alone, a number is a text; and a corrected value may be a number."""
    world.emulator.create_property("kids", "int")
    async with world.client() as client:
        await client.import_contacts([{"email": "p@example.org", "city": "Graz", "age": 5}], lists=ADD)
        file = mjbulk.csv_source(io.BytesIO(b"email,city,age,kids\nbad,,,\nbad,,7,\n"))
        report = await client.import_contacts(file, lists=ADD)
        fixes = [
            lambda rejection: {**rejection.data, "email": f"p{'' if rejection.row == 1 else 2}@example.org"},
            lambda rejection: {**rejection.data, "email": "p3@example.org", "kids": rejection.row},
        ]
        for fix in fixes:
            assert balanced(await client.retry_rejected(report, fix)).complete
        odd = await client.retry_rejected(report, lambda rejection: {"email": "x@example.org", "city": [rejection.row]})
        assert [r.row for r in odd.rejections] == [1, 2]
    assert world.emulator.contacts["p@example.org"].properties == {"city": "Graz", "age": 5}
    assert world.emulator.contacts["p2@example.org"].properties == {"age": 7}
    assert world.emulator.contacts["p3@example.org"].properties == {"age": 7, "kids": 2}


async def test_what_cannot_mend_says_so(world: World, tmp_path: Path) -> None:
    """A function that raises names the row; one to be awaited, and a report without rows, are refused."""
    rows = people(30)
    for number in (5, 9, 20):
        rows[number - 1]["email"] = "bad"

    def fails_at_20(rejection: mjbulk.Rejection) -> dict[str, Any]:
        if rejection.row == 20:
            raise ValueError
        return {"email": f"z{rejection.row}@example.org"}

    async def awaits(rejection: mjbulk.Rejection) -> None:
        raise AssertionError(rejection)

    wrong: Any = awaits
    async with mjbulk.Client(KEYS, world.settings(), journal=tmp_path / "imports.db") as client:
        report = await client.import_contacts(rows, lists=ADD, run_id="r")
        with pytest.raises(mjbulk.ImportHalted, match="failed at row 20: fix raised ValueError"):
            await client.retry_rejected(report, fails_at_20)
        with pytest.raises(mjbulk.UsageError, match="plain function"):
            await client.retry_rejected(report, wrong)
        stored = await client.import_contacts(rows, lists=ADD, run_id="r")
        with pytest.raises(mjbulk.UsageError, match="not at hand"):
            await client.retry_rejected(stored, fails_at_20)


@pytest.mark.parametrize("via", ["json", "csv"])
async def test_lines_that_end_as_they_should_not(world: World, via: Any) -> None:
    """A file that was written as text on Windows has an extra carriage return: a rejection has its row all the same."""
    world.emulator.reject("b@example.org", "no")
    lines = ["email,city,age", "a@example.org,Graz,1", "b@example.org,Wien,2", "", "c@example.org,Linz,3,more", ""]
    text = "\r\r\n".join(lines).encode()
    async with world.client() as client:
        report = balanced(await client.import_contacts(mjbulk.csv_source(io.BytesIO(text)), lists=ADD, via=via))
    assert {r.row: r.data for r in report.rejections} == {
        2: {"email": "b@example.org", "city": "Wien", "age": "2"},
        3: {"email": "c@example.org", "city": "Linz", "age": "3", "field 4": "more"},
    }


async def test_a_row_that_is_listed_without_an_error_is_not_rejected_for_certain(world: World) -> None:
    """The error file may list all rows of its job: nobody is rejected who was taken, nor accepted unseen."""
    world.emulator.reject("u2@example.org", "bad")
    said = b'[{"Email": "u1@example.org", "Error": ""}, {"Email": "u2@example.org", "Error": "bad"}]'
    world.emulator.fault("batchjob/jsonerror", Fault.edited(lambda _: said), times=None)
    async with world.client() as client:
        report = balanced(await client.import_contacts(people(3), lists=ADD))
    assert ([r.row for r in report.rejections], report.unknown) == ([2], 2)


async def test_a_header_alone_is_checked_as_well(world: World) -> None:
    """A file without rows is refused for a wrong column too; with good columns it is an import of nothing."""
    async with world.client() as client:
        for header, why in ((b"mail,city\n", "no column 'email'"), (b"email,nope\n", "no property 'nope'")):
            with pytest.raises(mjbulk.UsageError, match=why):
                await client.import_contacts(mjbulk.csv_source(io.BytesIO(header)), lists=ADD)
        report = await client.import_contacts(mjbulk.csv_source(io.BytesIO(b"email,city\n")), lists=ADD)
    assert (report.rows, report.ok) == (0, True)


async def test_properties_are_picked_by_their_own_names(world: World) -> None:
    """columns= that picks a mapping of properties would lose them, and so would a mapping within one."""
    rows: list[Any] = [{"Email": "a@example.org", "Properties": {"city": "Graz"}}]
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError, match="by their own names"):
            await client.import_contacts(rows, lists=ADD, columns=["Email", "Properties"])
        rows.append({"Email": "b@example.org", "Properties": {"properties": {"nope": 1}, "city": "x"}})
        report = balanced(await client.import_contacts(rows, lists=ADD))
    assert [(r.row, r.message) for r in report.rejections] == [(2, "there are Properties in Properties")]


@pytest.mark.parametrize("via", ["json", "csv"])
async def test_mended_rows_of_one_person_keep_their_order(world: World, via: Any) -> None:
    """What Mailjet refused is known later than what was refused here: the last row of the source wins all the same."""
    world.emulator.reject("a@example.org", "No")
    rows: list[dict[str, Any]] = [
        {"email": "a@example.org", "city": "first", "age": 1},
        {"email": "b@example.org", "city": "other", "age": 2},
        {"email": "b@example.org", "city": "last", "age": "old"},
    ]

    def mend(rejection: mjbulk.Rejection) -> dict[str, Any]:
        return {**(rejection.data or {}), "email": "c@example.org", "age": rejection.row}

    async with world.client(chunk_rows=1) as client:
        report = await client.import_contacts(rows, lists=ADD, via=via)
        assert [rejection.row for rejection in report.rejections] == [3, 1]
        again = balanced(await client.retry_rejected(report, fix=mend))
    assert again.complete
    assert world.emulator.contacts["c@example.org"].properties == {"city": "last", "age": 3}


@pytest.mark.parametrize("via", ["json", "csv"])
async def test_people_are_excluded_and_included_in_bulk(world: World, via: Any) -> None:
    """Only addresses are read; on both ways people are put on the exclusion list, and taken off it."""
    rows: list[Any] = [*people(1500, whatever=object()), "bare@example.org", {"E-Mail": "no@example.org"}]
    async with world.client() as client:
        report = balanced(await client.exclude_contacts(rows, via=via))
        assert (report.accepted, report.rejected) == (1501, 1)
        assert world.emulator.contacts["bare@example.org"].excluded
        assert world.emulator.contacts["u1500@example.org"].excluded
        assert (await client.include_contacts(["bare@example.org"], via=via)).ok
    assert not world.emulator.contacts["bare@example.org"].excluded
    assert world.emulator.contacts["u1@example.org"].lists == {}


async def test_one_contact(world: World) -> None:
    """One contact by address or ID: exclusion, subscriptions, and what Mailjet says of wrong lists."""
    second = world.emulator.create_list("Second")
    async with world.client() as client:
        await client.import_contacts(people(1), lists=ADD)
        info = await client.set_excluded("u1@example.org", excluded=True)
        assert info.excluded
        assert (await client.set_excluded(info.id, excluded=True)) == info
        subscriptions = await client.update_subscriptions("u1@example.org", {"Second": "addforce", 1: "unsub"})
        assert {one.list_id: one.unsubscribed for one in subscriptions} == {1: True, second.id: False}
        assert len([one async for one in client.subscriptions(info.id)]) == 2
        with pytest.raises(mjbulk.ApiError) as wrong:
            await client.update_subscriptions("u1@example.org", {777: "addforce", 1: "addforce"})
        assert list(wrong.value.lists) == [777]
        with pytest.raises(mjbulk.ApiError) as unknown:
            await client.set_excluded("nobody@example.org", excluded=True)
        assert unknown.value.status == 404
        with pytest.raises(mjbulk.UsageError):
            await client.set_excluded("../1", excluded=True)
    async with world.turned(list_errors="message") as other, other.client() as client:
        await client.import_contacts(people(1), lists=ADD)
        with pytest.raises(mjbulk.ApiError) as documented:
            await client.update_subscriptions("u1@example.org", {777: "addforce"})
        assert list(documented.value.lists) == [777]


async def test_the_account(world: World) -> None:
    """Lists and properties are made and shown; a csvimport is aborted; a batchjob is read."""
    async with world.client() as client:
        made = await client.create_list("News")
        prop = await client.create_property("shoe", "int")
        assert made in [one async for one in client.lists()]
        assert prop in [one async for one in client.properties()]
    async with world.turned(import_seconds=1000.0) as other, other.client() as client:
        data_id = await client.upload_csvdata(1, b"email\na@example.org\n")
        watcher = await client.submit_csvimport(data_id, list_id=1, method="addnoforce")
        assert (await client.abort_csvimport(watcher.ref)).status.startswith("Abort")
        with pytest.raises(mjbulk.JobFailed):
            await watcher
        with pytest.raises(mjbulk.ApiError):
            await client.abort_csvimport(watcher.ref.id)
        assert (await client.batchjob(watcher.ref.id))["DataID"] == data_id


@pytest.mark.parametrize("via", ["json", "csv"])
async def test_dates_are_given_as_dates(world: World, via: Any) -> None:
    """On both ways a date is what it was, whatever its zone. A text that cannot be one costs its row."""
    world.emulator.create_property("born", "datetime")
    vienna = dt.timezone(dt.timedelta(hours=2))
    rows: list[dict[str, Any]] = [
        {"born": dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.UTC), "email": "a@example.org"},
        {"born": dt.datetime(2020, 1, 2, 5, 4, 5, tzinfo=vienna), "email": "b@example.org"},
        {"born": "2020-01-02T03:04:05Z", "email": "c@example.org"},
        {"born": "soon", "email": "d@example.org"},
        {"born": None, "email": "e@example.org"},
    ]
    async with world.client() as client:
        report = balanced(await client.import_contacts(rows, lists=ADD, via=via))
    assert (report.accepted, [(r.row, r.field) for r in report.rejections]) == (4, [(4, "born")])
    for who in "abc":
        assert world.emulator.contacts[f"{who}@example.org"].properties["born"] == "2020-01-02T03:04:05Z"
    assert world.emulator.contacts["e@example.org"].properties == {}


@pytest.mark.parametrize("via", ["json", "csv"])
async def test_dates_before_the_year_1000(world: World, via: Any) -> None:
    """Their years have four digits as well."""
    world.emulator.create_property("born", "datetime")
    async with world.client() as client:
        report = await client.import_contacts(
            [{"email": "a@example.org", "born": dt.date(900, 1, 1)}], lists=ADD, via=via
        )
    assert report.ok
    assert world.emulator.contacts["a@example.org"].properties["born"].endswith("900-01-01T00:00:00Z")


class OneWay(Exception):
    """A value that can be pickled, and not be read back."""

    def __init__(self, one: str, _: str) -> None:
        super().__init__(one)


class Many:
    """As an array: it is not known whether it is equal to anything."""

    def __bool__(self) -> bool:
        raise ValueError("the truth of many values is not known")

    def __eq__(self, other: object) -> Any:
        return self

    __hash__ = None  # type: ignore[assignment]  # nor can it be hashed


@pytest.mark.parametrize("via", ["json", "csv"])
async def test_odd_values_cost_their_own_rows(world: World, via: Any) -> None:
    """In a column that is sent; in one that is not they are nobody's business, also when Mailjet refuses the row."""
    rows = people(4, city="Graz", note=OneWay("one", "two"))
    rows[1]["city"] = Many()
    rows[2]["email"] = Many()
    world.emulator.reject("u4@example.org", "Refused, for a test", "city")
    async with world.client() as client:
        report = balanced(await client.import_contacts(rows, lists=ADD, via=via, columns=["email", "city"]))
    assert (report.accepted, [(r.row, r.origin) for r in report.rejections]) == (
        1,
        [(2, "mjbulk"), (3, "mjbulk"), (4, "mailjet")],
    )
    (refused,) = [r for r in report.rejections if r.row == 4]
    assert refused.data == {"email": "u4@example.org", "city": "Graz", "note": "one"}
