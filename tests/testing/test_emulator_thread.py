"""The emulator in a thread: for blocking clients, for Mailjet's own SDK, and as a pytest fixture."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import mailjet_rest
import pytest

from mjbulk.testing import Emulator, Fault, Knobs, Mailjet, serve, serve_in_thread

QUICK = Knobs(queue_seconds=0.002, prepare_seconds=0.001, import_seconds=0.002)


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60.0
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def sdk(url: str) -> Any:
    return mailjet_rest.Client(auth=("key", "secret"), api_url=url + "/", version="v3")


def test_mailjets_own_sdk_imports_contacts() -> None:
    """The official SDK submits a job, reads it, uploads a CSV and reads its errors."""
    with serve_in_thread(QUICK) as served:
        client = sdk(served.url)
        contacts = [{"Email": "jim@example.com", "Name": "Jim", "IsExcludedFromCampaigns": "true"}]
        made = client.contact_managemanycontacts.create(data={"Contacts": contacts})
        assert made.status_code == 201
        job = made.json()["Data"][0]["JobID"]
        wait_for(lambda: bool(served.emulator.jobs[job].ended))
        assert served.emulator.contacts["jim@example.com"].excluded
        uploaded = client.contactslist_csvdata.create(id=1, data='"email"\n"foo@example.org"\nbad\n')
        assert uploaded.status_code == 200
        body = {"ContactsListID": 1, "DataID": uploaded.json()["ID"], "Method": "addnoforce"}
        started = client.csvimport.create(data=body)
        assert started.status_code == 201
        number = started.json()["Data"][0]["ID"]
        wait_for(lambda: bool(client.csvimport.get(id=number).json()["Data"][0]["Status"] == "Completed"))
        assert client.csvimport.get(id=number).json()["Data"][0]["Errcount"] == 1
        assert served.emulator.contacts["foo@example.org"].lists == {1: "addnoforce"}


def test_mailjets_own_sdk_reads_objects() -> None:
    """The official SDK lists properties and lists, and changes a contact by its address."""
    with serve_in_thread(QUICK) as served:
        client = sdk(served.url)
        served.emulator.create_property("age", "int")
        assert client.contactmetadata.get().json()["Data"][0]["Name"] == "age"
        assert client.contact.create(data={"Email": "a@example.org"}).status_code == 201
        changed = client.contact.update(id="a@example.org", data={"IsExcludedFromCampaigns": "true"})
        assert changed.json()["Data"][0]["IsExcludedFromCampaigns"] is True
        lists = client.contact_managecontactslists.create(
            id="a@example.org", data={"ContactsLists": [{"ListID": 1, "Action": "addforce"}]}
        )
        assert lists.status_code == 201
        assert client.contact_getcontactslists.get(id="a@example.org").json()["Data"][0]["ListID"] == 1


async def submit(url: str, *emails: str) -> int:
    """What a program under test does, told by the environment."""
    auth = aiohttp.encode_basic_auth(os.environ["MJ_APIKEY_PUBLIC"], os.environ["MJ_APIKEY_PRIVATE"])
    body = {"Contacts": [{"Email": e} for e in emails], "ContactsLists": [{"ListID": 1, "Action": "addnoforce"}]}
    async with (
        aiohttp.ClientSession(headers={"Authorization": auth}) as session,
        session.post(f"{url}/v3/REST/contact/managemanycontacts", json=body) as reply,
    ):
        return reply.status


def test_the_fixture_points_the_environment_at_itself(mailjet: Mailjet) -> None:
    """The fixture sets the variables, counts requests, rejects rows and shows people."""
    assert os.environ["MJ_API_URL"] == mailjet.url
    assert os.environ["MJBULK_POLL_MIN"] == "0.01"
    mailjet.reject("b@example.org", "Invalid email")
    assert asyncio.run(submit(mailjet.url, "a@example.org", "b@example.org")) == 201
    wait_for(lambda: "a@example.org" in mailjet.contacts)
    assert mailjet.contacts["a@example.org"].lists == {1: "addnoforce"}
    assert (list(mailjet.contacts), mailjet.requests) == (["a@example.org"], 1)
    assert "1 requests" in repr(mailjet)


def test_a_dropped_answer_has_had_its_effect(mailjet: Mailjet) -> None:
    """The fixture's drop_answer loses the answer, not the job."""
    mailjet.drop_answer("contact/managemanycontacts")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        asyncio.run(submit(mailjet.url, "a@example.org"))
    assert len(mailjet.emulator.jobs) == 1


def test_a_port_in_use_is_told_to_the_caller() -> None:
    """If the server cannot start, the thread that wants it gets the error."""
    with serve_in_thread(QUICK) as served:
        port = int(served.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"), serve_in_thread(QUICK, port=port):
            pass


async def test_serve_runs_until_it_is_cancelled() -> None:
    """``serve`` tells when it listens, and stops listening when it is cancelled."""
    ready: asyncio.Future[Emulator] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(ready=ready.set_result))
    emulator = await ready
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{emulator.url}/v3/REST/contact") as reply:
            assert reply.status == 401
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"{emulator.url}/v3/REST/contact")


def test_the_plugin_costs_nothing_until_it_is_used() -> None:
    """Importing the plugin imports neither aiohttp nor orjson nor attrs nor the emulator."""
    heavy = "{'aiohttp', 'orjson', 'attr', 'attrs', 'mjbulk.testing.emulator'}"
    code = f"import sys; import mjbulk.testing.pytest_plugin; print({heavy} & set(sys.modules) - before)"
    code = f"import pytest, sys; before = set(sys.modules); {code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_package_exports_what_it_says() -> None:
    """Every public name can be imported, and no other."""
    import mjbulk.testing as package  # noqa: PLC0415 - the module itself is looked at

    assert all(hasattr(package, name) for name in package.__all__)
    assert not hasattr(package, "nothing")


def test_what_runs_elsewhere_is_read_safely_while_it_is_busy() -> None:
    """People, jobs and calls can be read from this thread while requests come in."""
    with serve_in_thread(QUICK) as served:
        client = sdk(served.url)
        for number in range(20):
            client.contact.create(data={"Email": f"{number}@example.org"})
            assert len(served.emulator.contacts) == len(served.emulator.calls) == number + 1
        assert "People: 20" in repr(served.emulator.contacts)
        assert "View of 1" in repr(served.emulator.lists)


def test_what_one_key_sees(mailjet: Mailjet) -> None:
    """Each key has lists, properties, people and jobs of its own; the first one that is named has the first account."""
    mailjet.emulator.create_property("age", "int")
    ours, theirs = mailjet.of(os.environ["MJ_APIKEY_PUBLIC"]), mailjet.of("another-key")
    assert (list(ours.properties), list(theirs.properties)) == (["age"], [])
    assert (theirs.create_list("News").id, theirs.create_property("city").name) == (2, "city")
    assert ([*ours.lists], [*theirs.lists], [*theirs.properties]) == ([1], [1, 2], ["city"])
    assert asyncio.run(submit(mailjet.url, "a@example.org")) == 201
    wait_for(lambda: "A@example.org" in ours.contacts)
    assert (len(ours.jobs), len(theirs.jobs), len(theirs.contacts)) == (1, 0, 0)
    assert repr(ours) == "<MailjetAccount: 1 contacts, 1 jobs>"


def test_settings_and_faults_of_the_fixture(mailjet: Mailjet) -> None:
    """Settings hold from now on, by the names of the sandbox and of `Knobs`; a typo is an error."""
    mailjet.knobs(job_seconds=0.1, rate=1000, credentials=[("x", "y")])
    assert asyncio.run(submit(mailjet.url, "a@example.org")) == 401
    mailjet.knobs(credentials=None)
    mailjet.fault("POST contact/managemanycontacts", Fault.answer(503), after=1)
    assert [asyncio.run(submit(mailjet.url, "a@example.org")) for _ in range(3)] == [201, 503, 201]
    assert mailjet.emulator.knobs.rate_limit == 1000
    with pytest.raises(ValueError, match="is no call"):
        mailjet.fault("POST contacts", Fault.answer(503))
    with pytest.raises(TypeError):
        mailjet.knobs(jobseconds=1)
