"""The emulator plays csvimport and batchjob as they are recorded."""

import asyncio
from typing import Any

import pytest
from test_emulator import UPLOAD, WHOLE, served

pytestmark = pytest.mark.smoke


async def test_the_guides_csv_process() -> None:
    """Upload, import, look, as the guide does it: recorded bodies, properties made, no name set."""
    async with served() as api:
        text = '"email","age","name"\n"foo@example.org",42,Foo\n"bar@example.com",13,Bar\n'
        reply = await api("POST", UPLOAD, data=text.encode(), headers={"Content-Type": "text/plain"})
        assert (reply.status, reply.text) == (200, '{ "ID": 98765433 }')
        assert (reply.headers["Content-Length"], reply.headers["Content-Type"]) == ("18", "application/json")
        body = {"ContactsListID": "1", "DataID": "98765433", "Method": "addnoforce"}
        posted = await api("POST", "REST/csvimport", body)
        assert (posted.status, posted.row["Status"], posted.row["JobEnd"], posted.row["Count"]) == (
            201,
            "Upload",
            "",
            2,
        )
        await asyncio.sleep(WHOLE)
        row = (await api("GET", f"REST/csvimport/{posted.row['ID']}")).row
        assert (row["Status"], row["Current"], row["Errcount"], row["DataID"]) == ("Completed", 2, 0, 98765433)
        assert row["JobEnd"].endswith("Z")
        person = api.emulator.contacts["foo@example.org"]
        assert (person.name, person.lists) == ("", {1: "addnoforce"})
        assert person.properties == {"age": "42", "name": "Foo"}
        assert {name: item.datatype for name, item in api.emulator.properties.items()} == {"age": "str", "name": "str"}
        assert (await api.csv_errors(row["ID"])).status == 404


async def test_octet_stream_uploads_as_well() -> None:
    """The upload path with application:octet-stream works, others are not found."""
    async with served() as api:
        path = "DATA/contactslist/1/csvdata/application:octet-stream"
        assert (await api("POST", path, data=b"email\na@example.org")).status == 200
        reply = await api("POST", "DATA/contactslist/1/CSVData/image:png", data=b"x")
        assert (reply.status, reply.headers["Content-Type"]) == (404, "image/png")


async def test_the_csv_error_file_is_as_recorded() -> None:
    """Header bare with ",error"; failing lines as they were sent, then ", ###message###field", the field optional."""
    async with served() as api:
        text = '"email","age"\n"foo@example.org",42\n"bar@example.com"\n"sam@ple.co.uk",37\nfoo@example.org,"4,2"\n'
        row = await api.run_csv(text)
        assert (row["Status"], row["Errcount"], row["Current"]) == ("Completed", 2, 4)
        reply = await api.csv_errors(row["ID"])
        assert (reply.status, reply.headers["Content-Type"]) == (200, "text/csv")
        assert reply.text == (
            'email,age,error\n"bar@example.com", ###Too few columns at line\n'
            'foo@example.org,"4,2", ###Duplicated email###email\n'
        )


async def test_csv_lines_that_are_rejected() -> None:
    """Long lines, bad addresses, values of another type: each has its error; the rest is imported."""
    async with served() as api:
        api.emulator.create_property("age", "int")
        lines = ["email,age", "a@example.org,1,2", "nonsense,1", "b@example.org,old", '"c@example.org","3"', ""]
        row = await api.run_csv("\r\n".join(lines))
        job = api.emulator.jobs[row["ID"]]
        assert [job.errors[n].message for n in sorted(job.errors)] == [
            "Too many columns at line",
            "Invalid email address",
            "Could not convert value",
        ]
        assert job.errors[2].field == "age"
        assert api.emulator.contacts["c@example.org"].properties == {"age": 3}


async def test_quoted_line_ends_stay_in_one_record() -> None:
    """A quoted cell may hold line ends and quotes; a failing record is copied unchanged."""
    async with served() as api:
        text = 'email,note\r\n"a@example.org","x\r\ny ""z"""\r\n"bad","one\ntwo"\r\n'
        row = await api.run_csv(text)
        assert api.emulator.contacts["a@example.org"].properties == {"note": 'x\r\ny "z"'}
        expected = 'email,note,error\n"bad","one\ntwo", ###Invalid email address###email\n'
        assert (await api.csv_errors(row["ID"])).text == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"\\"email\\",\\"age\\"\\n\\"a@example.org\\",42"', "List index (0) out of bounds"),
        ("", "List index (0) out of bounds"),
        ("mail,age\na@example.org,1\n", "Email column not found"),
        ("email;age\na@example.org;1\n", "Email column not found"),
        ("\ufeffemail,age\na@example.org,1\n", "Email column not found"),
        ("email,age,AGE\na@example.org,1,2\n", "Bad header count"),
        ("email," + ",".join(f"p{n}" for n in range(200)), "Number of contact properties exceeds the limit of 200"),
    ],
)
async def test_files_that_fail_as_a_whole(text: str, message: str) -> None:
    """A file that cannot be imported ends its job in Error; the only place for the text is the error file."""
    async with served() as api:
        row = await api.run_csv(text)
        assert (row["Status"], row["Errcount"], row["Current"]) == ("Error", 1, 0)
        assert f"###{message}" in (await api.csv_errors(row["ID"])).text
        assert len(api.emulator.contacts) == 0


async def test_a_single_column_needs_no_header() -> None:
    """A column of addresses without a header is imported."""
    async with served() as api:
        await api.run_csv('"a@example.org"\nb@example.org\n')
        assert list(api.emulator.contacts) == ["a@example.org", "b@example.org"]


async def test_import_options_name_the_columns_and_read_datetimes() -> None:
    """With FieldNames the header is left out, and DateTimeFormat with TimezoneOffset reads the dates."""
    async with served() as api:
        api.emulator.create_property("birthday", "datetime")
        options = '{"DateTimeFormat": "yyyy/mm/dd hh:nn", "TimezoneOffset": 2, "FieldNames": ["email","birthday"]}'
        row = await api.run_csv('"foo@example.org",2018/10/12 01:30\nb@example.org,12.10.2018\n', ImportOptions=options)
        assert (row["Errcount"], row["ImportOptions"]) == (1, options)
        assert api.emulator.contacts["foo@example.org"].properties == {"birthday": "2018-10-11T23:30:00Z"}


@pytest.mark.parametrize("options", ["{", "[]", '{"TimezoneOffset": 13}', '{"FieldNames": "email"}'])
async def test_bad_import_options_are_refused(options: str) -> None:
    """ImportOptions must be JSON in a string, with sane values."""
    async with served() as api:
        body = {"ContactsListID": 1, "DataID": await api.upload("email\n"), "Method": "unsub", "ImportOptions": options}
        reply = await api("POST", "REST/csvimport", body)
        assert (reply.status, reply.info) == (400, "MJ08 Property ImportOptions is invalid")


@pytest.mark.parametrize(("method", "excluded"), [("excludemarketing", True), ("includemarketing", False)])
async def test_exclusion_by_csv_has_no_list(method: str, *, excluded: bool) -> None:
    """excludemarketing and includemarketing refuse a list with the documented text, and work without."""
    async with served() as api:
        await api.run([{"Email": "a@example.org", "IsExcludedFromCampaigns": not excluded}])
        data_id = await api.upload("email\na@example.org\n")
        body = {"DataID": data_id, "Method": method}
        refused = await api("POST", "REST/csvimport", body | {"ContactsListID": 1})
        assert refused.info == (
            "MJ08 Property ContactsList is invalid: Exclusion of contacts from marketing campaign is a global status "
            "and can not be applied to a list"
        )
        assert (await api("POST", "REST/csvimport", body)).status == 201
        await asyncio.sleep(WHOLE)
        person = api.emulator.contacts["a@example.org"]
        assert (person.excluded, person.lists) == (excluded, {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"Method": "Unknown"},
        {"DataID": 1},
        {"DataID": None},
        {"ContactsListID": None},
        {"ContactsListID": 77},
        {"ErrTreshold": 40_000},
        {"Status": "Abort"},
    ],
)
async def test_wrong_imports_are_refused(wrong: dict[str, Any]) -> None:
    """A csvimport with a wrong field is a 400 and makes no job."""
    async with served() as api:
        body = {"ContactsListID": 1, "DataID": await api.upload("email\n"), "Method": "addforce"} | wrong
        assert (await api("POST", "REST/csvimport", body)).status == 400
        assert not api.emulator.jobs


async def test_err_treshold_stops_the_import() -> None:
    """More errors than ErrTreshold stop the import; what was imported before stays."""
    async with served() as api:
        text = "email\na@example.org\nbad\nbad too\nb@example.org\n"
        row = await api.run_csv(text, ErrTreshold="1")
        assert (row["Status"], row["ErrTreshold"], row["Current"]) == ("Abort", 1, 3)
        assert list(api.emulator.contacts) == ["a@example.org"]
        assert (await api.run_csv(text, ErrTreshold=2))["Status"] == "Completed"


async def test_an_import_can_be_aborted_once() -> None:
    """PUT Status "Abort" stops an unfinished import, keeping what was done; other words get the recorded text."""
    async with served() as api:
        job = await api.start_csv("email\n" + "\n".join(f"{n}@example.org" for n in range(10)))
        await asyncio.sleep(3.0)
        path = f"REST/csvimport/{job}"
        wrong = await api("PUT", path, {"Status": "Aborted"})
        assert wrong.error == 'Invalid value for Status: "Aborted". Status can only be set to Upload'
        assert (await api("PUT", path, {"Status": "Abort"})).row["Status"] == "Abort"
        assert len(api.emulator.contacts) == (await api("GET", path)).row["Current"] == 5
        assert (await api("PUT", path, {"Status": "Abort"})).status == 400
        assert (await api("PUT", path, {})).status == 304


async def test_imports_are_listed_in_pages_without_filters() -> None:
    """GET csvimport has Limit and Offset, and ignores every filter."""
    async with served() as api:
        jobs = [await api.start_csv("email\na@example.org\n") for _ in range(12)]
        await api.submit([{"Email": "a@example.org"}])
        assert [row["ID"] for row in (await api("GET", "REST/csvimport?DataID=1")).data] == jobs[:10]
        assert [row["ID"] for row in (await api("GET", "REST/csvimport?limit=5&OFFSET=10")).data] == jobs[10:]


async def test_batchjob_has_unix_times_and_filters() -> None:
    """batchjob shows every job, with Unix integers, and can be asked by Data."""
    async with served() as api:
        first = await api.start_csv("email\na@example.org\n")
        second = await api.submit([{"Email": "a@example.org"}, {"Email": "bad"}])
        row = (await api("GET", f"REST/batchjob/{first}")).row
        assert (row["JobStart"], row["Status"], row["JobType"]) == (0, "Upload", "Contact list import csv")
        assert isinstance(row["RequestAt"], int)
        found = (await api("GET", f"REST/batchjob?Data={row['DataID']}")).data
        assert [item["ID"] for item in found] == [first]
        await asyncio.sleep(WHOLE)
        rows = (await api("GET", "REST/batchjob?Sort=ID DESC&Status=completed")).data
        assert [item["ID"] for item in rows] == [second, first]
        assert (rows[0]["Errcount"], rows[0]["JobEnd"] > 0) == (1, True)


async def test_rejected_by_script_and_by_the_reader() -> None:
    """A scripted rejection and a cell beyond the reader's limit reject their lines alone; an open quote ends late."""
    async with served() as api:
        api.emulator.reject("r@example.org", "Blocked", "email")
        huge = '"' + "x" * 140_000 + '"'
        text = f'email,note\nr@example.org,1\nb@example.org,{huge}\na@example.org,2\nc@example.org,"open\n'
        row = await api.run_csv(text)
        job = api.emulator.jobs[row["ID"]]
        assert [job.errors[n].message for n in sorted(job.errors)] == ["Blocked", "Could not convert value"]
        assert [person.email for person in api.emulator.contacts.values()] == ["a@example.org", "c@example.org"]


async def test_an_import_aborted_in_the_queue_does_nothing() -> None:
    """Abort before the first line leaves everybody alone."""
    async with served() as api:
        job = await api.start_csv("email\na@example.org\n")
        await api("PUT", f"REST/csvimport/{job}", {"Status": "Abort"})
        row = (await api("GET", f"REST/csvimport/{job}")).row
        assert (row["Status"], row["Current"], len(api.emulator.contacts)) == ("Abort", 0, 0)
        await asyncio.sleep(WHOLE)
        assert (await api("GET", f"REST/csvimport/{job}")).row["Current"] == 0


async def test_a_json_looking_address_column_is_a_file_of_its_own() -> None:
    """A file of one quoted address is CSV, though it is a JSON string as well."""
    async with served() as api:
        assert (await api.run_csv('"a@example.org"'))["Status"] == "Completed"
        assert list(api.emulator.contacts) == ["a@example.org"]
