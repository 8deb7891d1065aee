"""The emulator answers as the real API has answered, in all recordings that are about contacts."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from recordings import IMPORT, RECORDINGS, Recording
from test_emulator import QUICK, Api, served

import mjbulk
from mjbulk.testing._dispatch import calls


async def prepared(api: Api, recording: Recording) -> None:
    """Make what the recorded account had: two lists and four contacts, two of them written by jobs; then the rest."""
    await api("POST", "REST/contactslist", {"Name": "Test List"})
    await api("POST", "REST/contact", {"Email": "passenger1@example.com"})
    for excluded in (True, False):
        await api.run([{"Email": "passenger2@example.com", "IsExcludedFromCampaigns": excluded}])
    await api.run([{"Email": "passenger3@example.com"}])
    await api("POST", "REST/contact", {"Email": "passenger4@example.com", "Name": "NaedDCBRlB"})
    for method, path, body in recording.before:
        assert (await api(method, f"REST/{path}", body)).status < 300


@pytest.mark.parametrize("recording", [pytest.param(one, id=one.name) for one in RECORDINGS])
async def test_it_answers_as_the_real_api(recording: Recording) -> None:
    """Status, reason, type, members in their order, spacing and line end; no Server header."""
    method, _, path = recording.request.partition(" ")
    async with served() as api:
        await prepared(api, recording)
        if recording.status.startswith("401"):
            api.emulator.knobs = attrs.evolve(QUICK, credentials=[("another", "one")])
        url = f"{api.emulator.url}{before(path)}{path}"
        sent = {"data": recording.sent} if isinstance(recording.sent, bytes) else {"json": recording.sent}
        reply = await api(method, url, **sent)
    assert f"{reply.status} {reply.reason}" == recording.status
    assert (reply.headers["Content-Type"], "Server" in reply.headers) == (recording.type, False)
    assert ("X-Mj-Request-Guid" in reply.headers) == recording.guid
    if isinstance(recording.answer, str):
        assert reply.text == recording.answer
    else:
        assert ordered(orjson.loads(reply.text)) == ordered(recording.answer)
        assert reply.text == spaced(orjson.loads(reply.text))


async def test_a_csvimport_is_like_the_documented_example() -> None:
    """The example is of no server: its status and its end contradict each other. All else is as it is there."""
    async with served(attrs.evolve(QUICK, csv_timestamps="naive")) as api:
        job = await api.start_csv("email\n" + "".join(f"p{n}@example.org\n" for n in range(12)), ErrTreshold=1)
        await asyncio.sleep(3.7)  # 10 of 12 rows are done
        assert (await api("GET", "REST/csvimport?Limit=1")).data == [IMPORT]
        assert (await api("GET", f"REST/csvimport/{job}")).row == IMPORT


def before(path: str) -> str:
    """Give what stands before the path of a recording: it may go on behind /v3, or name another version."""
    if path.startswith("."):
        return "/v3"
    return "/" if path.startswith("v4") else "/v3/"


def ordered(value: Any) -> Any:
    """Turn objects into lists of pairs, so that their order counts."""
    if isinstance(value, dict):
        return [(name, ordered(inner)) for name, inner in value.items()]
    return [ordered(inner) for inner in value] if isinstance(value, list) else value


def spaced(value: Any) -> str:
    """Write JSON as the API does; the answer to an upload has no blank before its colon."""
    text = json.dumps(value, separators=(", ", " : "), ensure_ascii=False).replace("/", "\\/")
    text = re.sub(r"([{}])", lambda brace: "{ " if brace[0] == "{" else " }", text)
    return text.replace(" :", ":") if list(value) == ["ID"] else text


def test_the_page_of_facts_has_each_call() -> None:
    """The table of FACTS.md says of each call of the emulator, and of no other, what is known of it."""
    page = (Path(mjbulk.__file__).parent / "mailjet" / "FACTS.md").read_text(encoding="utf-8")
    table = page.partition("| route | method |")[2].partition("\n\n")[0]
    told = set()
    for row in table.splitlines()[2:-2]:
        _, routes, methods, *_ = re.split(r"(?<!\\)\|", row)
        for route in routes.split(", "):
            parts = [
                part for part in route.replace("DATA", "").strip().split("/") if not re.search(r"[{}:]|LAST", part)
            ]
            told |= {f"{method.strip()} {'/'.join(parts).casefold()}" for method in methods.split(",")}
    assert told == set(calls())
