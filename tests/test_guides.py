"""Mailjet's guides: their commands, and the official Python package, are answered as they say. The guides of mjbulk:
their code runs.
"""

import asyncio
import json
import re
import runpy
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from guides import COMMANDS
from support import extra

import mjbulk
from mjbulk.testing import Fault, Knobs, Mailjet, serve_in_thread

pytestmark = pytest.mark.unmeasured


class Shop:
    """A sandbox, a shell that knows the guides' commands, and what they need."""

    def __init__(self, served: Any, folder: Path) -> None:
        self.emulator = served.emulator
        self.url = served.url
        self.folder = folder

    def curl(self, name: str, **placeholders: Any) -> Any:
        command = COMMANDS[name].replace("https://api.mailjet.com", self.url)
        for word, value in sorted(placeholders.items(), key=lambda item: -len(item[0])):
            command = command.replace(f'"${word}"', f'"{value}"').replace(f"${word}", str(value))
        env = {"MJ_APIKEY_PUBLIC": "any", "MJ_APIKEY_PRIVATE": "any", "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            ["/bin/sh", "-c", command.replace("curl ", "curl --silent --show-error ", 1)],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        return json.loads(done.stdout) if done.stdout.lstrip().startswith(("{", "[")) else done.stdout

    def row(self, name: str, **placeholders: Any) -> dict[str, Any]:
        answer = self.curl(name, **placeholders)
        assert (answer["Count"], answer["Total"]) == (1, 1)
        (row,) = answer["Data"]
        assert isinstance(row, dict)
        return row

    def ended(self, name: str, **placeholders: Any) -> dict[str, Any]:
        """The state of a job, asked for until it has ended."""
        for _ in range(50):
            row = self.row(name, **placeholders)
            if row["Status"] in ("Completed", "Error"):
                return row
        raise AssertionError("the job does not end")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    quick = Knobs(queue_seconds=0.1, prepare_seconds=0.0, import_seconds=0.0)
    with serve_in_thread(quick) as served:
        for name in ("Property1", "Property2"):
            served.emulator.create_property(name, "str")
        served.emulator.create_property("birthday", "datetime")
        served.emulator.create_list("second")
        yield Shop(served, tmp_path)


def test_all_commands_are_here() -> None:
    """Sixteen commands stand in the guides."""
    assert len(COMMANDS) == 16


def test_contacts_by_json(shop: Shop) -> None:
    """Contacts go onto lists, the job is watched, and its error file is requested."""
    job = shop.row("manage many")["JobID"]
    state = shop.ended("many: job", JOBID=job)
    assert (state["Status"], state["Count"], state["Error"]) == ("Completed", 2, "")
    assert shop.curl("many: errors", JOBID=job)["ErrorMessage"] == "Source object not found"
    jim = shop.emulator.contacts["jimsmith@example.com"]
    assert dict(jim.lists) == {1: "addnoforce", 2: "addforce"}
    assert dict(jim.properties) == {"Property1": "value", "Property2": "value2"}


def test_contacts_of_a_list(shop: Shop) -> None:
    """The same for one list, whose job wants both ids; a refused row stands in the error file."""
    shop.emulator.reject("janetdoe@example.com", "Invalid email")
    job = shop.row("list: manage many", ID=1)["JobID"]
    state = shop.ended("list: job", ID=1, JOBID=job)
    assert state["Status"] == "Completed"
    assert state["ErrorFile"]
    (error,) = shop.curl("list: errors", JOBID=job)
    assert error["Email"] == "janetdoe@example.com"


def test_exclusion(shop: Shop) -> None:
    """One contact by its address, many by JSON, many by CSV."""
    shop.ended("many: job", JOBID=shop.row("manage many")["JobID"])
    row = shop.row("exclude one", ID_OR_EMAIL="jimsmith@example.com")
    assert row["IsExcludedFromCampaigns"] is True
    assert shop.curl("exclude one", ID_OR_EMAIL="jimsmith@example.com") == ""
    job = shop.row("exclude many")["JobID"]
    shop.ended("many: job", JOBID=job)
    assert shop.emulator.contacts["janetdoe@example.com"].excluded
    (shop.folder / "test.csv").write_text('"email"\n"ann@example.org"\n')
    data_id = shop.curl("upload", ID_CONTACTLIST=1)["ID"]
    row = shop.row("exclude by csv", ID_DATA=data_id)
    assert row["Status"] == "Upload"
    assert shop.ended("import: job", ID_JOB=row["ID"])["Status"] == "Completed"
    assert shop.emulator.contacts["ann@example.org"].excluded


def test_subscriptions(shop: Shop) -> None:
    """The lists of one contact, by its ID."""
    shop.ended("many: job", JOBID=shop.row("manage many")["JobID"])
    contact = shop.emulator.contacts["jimsmith@example.com"]
    row = shop.row("subscribe one", ID=contact.id, ListID_1=1, ListID_2=2)
    assert {one["Action"] for one in row["ContactsLists"]} == {"addnoforce", "addforce"}
    lists = shop.curl("subscriptions", ID=contact.id)["Data"]
    assert {one["ListID"] for one in lists} == {1, 2}
    assert set(lists[0]) == {"IsActive", "IsUnsub", "ListID", "SubscribedAt"}


def test_csv(shop: Shop) -> None:
    """The guides' own file: two rows go in, the short one stands in the error file as documented."""
    text = '"email","age"\n"foo@example.org",42\n"bar@example.com"\n"sam@ple.co.uk",37\n'
    (shop.folder / "test.csv").write_text(text)
    data_id = shop.curl("upload", ID_CONTACTLIST=1)["ID"]
    row = shop.row("import", ID_CONTACTLIST=1, ID_DATA=data_id)
    assert row["Status"] == "Upload"
    state = shop.ended("import: job", ID_JOB=row["ID"])
    assert (state["Status"], state["Errcount"]) == ("Completed", 1)
    errors = shop.curl("import: errors", job_id=row["ID"])
    assert errors.splitlines()[0] == "email,age,error"
    assert errors.splitlines()[1].startswith('"bar@example.com", ###Too few columns at line')
    assert sorted(shop.emulator.contacts) == ["foo@example.org", "sam@ple.co.uk"]


def test_csv_with_dates(shop: Shop) -> None:
    """Dates go without a header row; the options name the fields and the format."""
    (shop.folder / "test.csv").write_text('"foo@example.org",2018/10/12\n"bar@example.com",2016/10/12\n')
    data_id = shop.curl("upload", ID_CONTACTLIST=1)["ID"]
    row = shop.row("import dates", ID_CONTACTLIST=1, ID_DATA=data_id)
    assert shop.ended("import: job", ID_JOB=row["ID"])["Status"] == "Completed"
    born = shop.emulator.contacts["foo@example.org"].properties["birthday"]
    assert str(born).startswith("2018-10-1")


def test_the_official_package(shop: Shop) -> None:
    """mailjet-rest runs the guides' snippets."""
    client = pytest.importorskip("mailjet_rest").Client(auth=("any", "any"), api_url=f"{shop.url}/", version="v3")
    rows = [{"Email": "jim@example.com", "Name": "Jim", "Properties": {"Property1": "value"}}]
    lists = [{"ListID": 1, "Action": "addnoforce"}]
    posted = client.contact_managemanycontacts.create(data={"ContactsLists": lists, "Contacts": rows})
    assert posted.status_code == 201
    job_id = posted.json()["Data"][0]["JobID"]
    assert shop.ended("many: job", JOBID=job_id)["Status"] == "Completed"
    job = client.contact_managemanycontacts.get(id=None, action_id=job_id)
    assert job.json()["Data"][0]["Status"] == "Completed"
    posted = client.contactslist_managemanycontacts.create(id=1, data={"Action": "addforce", "Contacts": rows})
    assert posted.status_code == 201
    number = shop.emulator.contacts["jim@example.com"].id
    assert client.contact.update(id=number, data={"IsExcludedFromCampaigns": "true"}).status_code == 200
    assert client.contact_managecontactslists.create(id=number, data={"ContactsLists": lists}).status_code in (200, 201)
    assert client.contact_getcontactslists.get(id=number).json()["Data"][0]["ListID"] == 1
    upload = client.contactslist_csvdata.create(id=1, data="email\nann@example.org\n")
    assert upload.status_code == 200
    order = {"ContactsListID": 1, "DataID": upload.json()["ID"], "Method": "addnoforce"}
    made = client.csvimport.create(data=order)
    assert made.status_code == 201
    shop.ended("import: job", ID_JOB=made.json()["Data"][0]["ID"])
    assert client.csvimport.get(id=made.json()["Data"][0]["ID"]).json()["Data"][0]["Status"] == "Completed"
    assert "ann@example.org" in shop.emulator.contacts


# The guides of mjbulk

GUIDES = Path(mjbulk.__file__).parent / "guides"
POST = "POST contact/managemanycontacts"


def program_of(guide: str, folder: Path, name: str) -> dict[str, Any]:
    """Run the code of a guide that has a name in it, and give its names."""
    programs = re.findall(r"```python\n(.*?)```", (GUIDES / f"{guide}.md").read_text(encoding="utf-8"), re.DOTALL)
    code = next(code for code in programs if name in code)
    (folder / "program.py").write_text(code, encoding="utf-8")
    return runpy.run_path(str(folder / "program.py"))


@pytest.mark.extra
@pytest.mark.real_time
async def test_a_web_service(mailjet: Mailjet, tmp_path: Path) -> None:
    """Forms are answered at once, and go together. One that is refused here is not taken."""
    httpx = extra("httpx")
    mailjet.emulator.create_property("firstname", "str")
    app = program_of("web", tmp_path, "sign_up")["app"]
    transport = httpx.ASGITransport(app=app)
    people = [{"email": f"p{number}@example.org", "firstname": "Ann"} for number in range(20)]
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://shop") as web:
        posts = (web.post("/signups", json=one) for one in [*people, {"email": "nobody", "firstname": "Bob"}])
        answers = await asyncio.gather(*posts)
    assert [answer.status_code for answer in answers] == [202] * 20 + [422]
    assert mailjet.emulator.count(POST) == 1
    assert len(mailjet.contacts) == 20


class FakeQueue:
    """Messages that come once, and what became of them."""

    def __init__(self, messages: Sequence[Any]) -> None:
        self.messages = messages
        self.acknowledged: list[str] = []
        self.dead: dict[str, str] = {}

    async def __aiter__(self) -> AsyncIterator[Any]:
        for message in self.messages:
            yield message

    def acknowledge(self, message: Any) -> None:
        self.acknowledged.append(message.id)

    def dead_letter(self, message: Any, why: str) -> None:
        self.dead[message.id] = why


@pytest.mark.real_time
async def test_a_queue(mailjet: Mailjet, tmp_path: Path) -> None:
    """Each outcome says what becomes of its message. One that comes again brings nobody back who has left."""
    program, done, now = program_of("etl", tmp_path, "dead_letter"), set[str](), time.time()
    mailjet.reject("bad@example.org", "Invalid email")

    def message(name: str, age: float = 0.0) -> Any:
        return program["Message"](id=name, sent_at=now - age, row={"email": f"{name}@example.org"})

    async def consumed(*messages: Any, action: mjbulk.ActionWord = "addforce") -> FakeQueue:
        queue = FakeQueue(messages)
        await program["consume"](queue, done, action)
        return queue

    first = await consumed(message("ann"), message("bob"), message("bad"), message("no address"))
    assert (first.acknowledged, set(first.dead)) == (["ann", "bob"], {"bad", "no address"})
    for name in ("ann", "bob"):
        mailjet.emulator.unsubscribe(f"{name}@example.org")
    done.remove("bob")  # the entry got lost
    again = await consumed(message("ann"), message("bob", age=7200.0))
    assert (again.acknowledged, again.dead) == (["ann"], {"bob": "too old"})
    assert {mailjet.contacts[f"{name}@example.org"].lists[1] for name in ("ann", "bob")} == {"unsub"}
    mailjet.emulator.fault(POST, Fault.drop_after())
    lost = await consumed(message("cat"))
    assert (lost.acknowledged, list(lost.dead)) == ([], ["cat"])
    assert lost.dead["cat"].startswith("unknown")
    mailjet.emulator.fault(POST, Fault.drop_after())
    assert (await consumed(message("cat"), action="addnoforce")).acknowledged == ["cat"]
