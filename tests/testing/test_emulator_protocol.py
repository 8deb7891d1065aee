"""The emulator speaks Mailjet's HTTP: paths, refusals, accounts; and it counts what comes."""

import asyncio

import aiohttp
import attrs
import orjson
import pytest
from test_emulator import QUICK, WHOLE, served


async def test_wrong_credentials_get_an_empty_page() -> None:
    """401 is an empty text/html body with the recorded challenge."""
    async with served(attrs.evolve(QUICK, credentials=[("key", "secret")])) as api:
        reply = await api("GET", "REST/contactslist", key="other")
        assert (reply.status, reply.text, reply.headers["Content-Type"]) == (401, "", "text/html")
        assert reply.headers["WWW-Authenticate"] == 'Basic realm="Provide an apiKey and secretKey"'
        assert (await api("GET", "REST/contactslist")).status == 200


@pytest.mark.parametrize("header", ["", "Bearer x", "Basic %%%", "Basic /w=="])
async def test_no_credentials_are_wrong_credentials(header: str) -> None:
    """Without a readable key the answer is 401, whatever keys are accepted."""
    async with served() as api:
        assert (await api("GET", "REST/contactslist", headers={"Authorization": header})).status == 401


async def test_paths_that_do_not_exist() -> None:
    """A wrong resource is a 500, a wrong version the proxy's page, a wrong method 405, a wrong object 404."""
    async with served() as api:
        wrong = await api("GET", "REST/wrongresourcepath")
        assert (wrong.status, wrong.reason) == (500, "Internal error")
        assert wrong.text == (
            '{ "ErrorInfo" : "EFPWebError", "ErrorMessage" : "Could not determine HTTP module for request '
            '\\"wrongresourcepath\\"", "StatusCode" : 500 }\n'
        )
        version = await api("GET", f"{api.emulator.url}/v3.1/REST/contact")
        assert (version.status, version.headers["Content-Type"]) == (404, "text/html")
        method = await api("POST", "REST/contact/1", {})
        assert method.text == '{ "ErrorInfo" : "", "ErrorMessage" : "Method not allowed", "StatusCode" : 405 }'
        missing = await api("GET", "REST/contact/managemanycontacts/1")
        assert missing.text == '{ "ErrorInfo" : "", "ErrorMessage" : "Object not found", "StatusCode" : 404 }'


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("DATA/batchjob/1/CSVError/text:csv", "text/csv"),
        ("DATA/batchjob/1/JSONError/application:json/LAST", "application/json"),
        ("DATA/contactslist/nowhere/CSVData/text:plain", "text/plain"),
    ],
)
async def test_data_that_does_not_exist(path: str, content_type: str) -> None:
    """A DATA object that is not there is a 404 in JSON, whose Content-Type is that of the path."""
    async with served() as api:
        reply = await api("POST" if "CSVData" in path else "GET", path, data=b"x")
        assert (reply.status, reply.headers["Content-Type"]) == (404, content_type)
        assert reply.text == '{ "ErrorInfo" : "", "ErrorMessage" : "Source object not found", "StatusCode" : 404 }'


async def test_paths_have_no_case() -> None:
    """Resources and actions are found in any case, and segments are decoded."""
    async with served() as api:
        job = await api.submit([{"Email": "bad"}])
        await asyncio.sleep(WHOLE)
        assert (await api("GET", f"rest/CONTACT/ManageManyContacts/{job}")).status == 200
        assert (await api("GET", f"DATA/Batchjob/{job}/jsonerror/application%3Ajson/last")).status == 200


async def test_each_key_has_an_account_of_its_own() -> None:
    """Contacts and jobs of one key are not seen by another; what was set up first belongs to the first key."""
    async with served() as api:
        api.emulator.create_list("Second")
        job = await api.submit([{"Email": "a@example.org"}], {2: "addforce"})
        await asyncio.sleep(WHOLE)
        assert (await api("GET", f"REST/contact/managemanycontacts/{job}", key="other")).status == 404
        assert (await api("GET", "REST/contact/a@example.org", key="other")).status == 404
        assert [row["ID"] for row in (await api("GET", "REST/contactslist", key="other")).data] == [1]
        await api("POST", "REST/contact", {"Email": "b@example.org"}, key="other")
        assert list(api.emulator.contacts) == ["a@example.org", "b@example.org"]
        assert list(api.emulator.account("other").people) == ["b@example.org"]


async def test_what_the_emulator_counts() -> None:
    """Requests are counted and kept with route, status, size and time."""
    async with served() as api:
        await api.submit([{"Email": "a@example.org"}])
        await asyncio.sleep(2.0)
        await api("GET", "REST/csvimport/1")
        emulator = api.emulator
        assert (emulator.requests, emulator.count("post Contact/ManageManyContacts"), emulator.count("csvimport")) == (
            2,
            1,
            1,
        )
        first, second = emulator.calls
        assert (first.method, first.route, first.status) == ("POST", "contact/managemanycontacts", 201)
        assert (second.status, first.size > 20) == (404, True)
        assert second.time == pytest.approx(2.0)
        assert "2 requests" in repr(emulator)
        with pytest.raises(KeyError, match="nobody"):
            emulator.contacts["nobody@example.org"]


async def test_a_poisoned_address_refuses_its_request() -> None:
    """A body that holds a poisoned address is refused as a whole, with the recorded payload of its status."""
    async with served() as api:
        api.emulator.poison("P@example.org")
        api.emulator.poison("q@example.org", 500)
        path, good = "REST/contact/managemanycontacts", {"Email": "a@example.org"}
        assert (await api("POST", path, {"Contacts": [good, {"Email": "p@example.org"}]})).status == 400
        failed = await api("POST", path, {"Contacts": [good, {"Email": "q@example.org"}]})
        assert list(orjson.loads(failed.text)) == ["ErrorIdentifier", "ErrorInfo", "ErrorMessage", "StatusCode"]
        assert not api.emulator.jobs
        assert (await api("POST", path, {"Contacts": [good]})).status == 201


async def test_it_starts_again_and_knows_what_it_knew() -> None:
    """After aclose and start, on the same port, jobs and people are still there."""
    async with served() as api:
        job = await api.submit([{"Email": "a@example.org"}])
        port = int(api.emulator.url.rpartition(":")[2])
        await api.emulator.aclose()
        with pytest.raises(aiohttp.ClientConnectorError):
            await api.job(job)
        await asyncio.sleep(WHOLE)
        await api.emulator.start(port=port)
        assert (await api.job(job))["Status"] == "Completed"


@pytest.mark.parametrize("line", ["GET /v3/REST/contact/zoë@example.org", "TEA /v3/REST/contact/a@example.org"])
async def test_what_is_no_http_is_logged_without_its_request(line: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is a line without an address and without a traceback."""
    async with served() as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(api.emulator.url.rpartition(":")[2]))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"</html>\r\n")
        writer.write(f"{line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b" 400 Bad Request" in await reader.read()
        writer.close()
        assert (await api("GET", "REST/contact")).status == 200
    assert "no proper HTTP" in caplog.text
    assert not [word for word in ("example.org", "Traceback") if word in caplog.text]


async def test_a_fault_of_the_emulator_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else can find it."""
    async with served() as api:
        monkeypatch.setattr("mjbulk.testing.emulator.parse_route", lambda _: 1 / 0)
        assert (await api("GET", "REST/contact")).status == 500
    assert "ZeroDivisionError" in caplog.text
