"""Each call of the guides, by each method and each command that the README's table has for it, unchanged."""

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import mjbulk
from mjbulk.cli import main
from mjbulk.testing import EmulatedJob, Emulator, Knobs, serve_in_thread

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ((?:GET|POST|PUT) [^|]+?) \| (.+?) \| (.+?) \|$", README, re.MULTILINE)
CASES = [
    pytest.param(call, code, id=f"{call}: {code}")
    for call, methods, commands in ROWS
    for code in re.findall(r"`((?:\w+\(|mjbulk ).*?)`", f"{methods} {commands}")
]
GUIDES = {
    "contact",
    "contact/getcontactslists",
    "contact/managecontactslists",
    "contact/managemanycontacts",
    "contactslist/managemanycontacts",
    "contactslist/csvdata",
    "csvimport",
    "batchjob/jsonerror",
    "batchjob/csverror",
}
"""The routes of the guides' sixteen commands."""
TEXT = b"email,born\nann@example.org,2024-02-29\nbad@example.org,2024-02-29\n"
LISTS: dict[int, mjbulk.ActionWord] = {42: "addnoforce"}

pytestmark = [pytest.mark.unmeasured, pytest.mark.real_time]


def route(call: str) -> str:
    """The call as the emulator counts it, in lower case and without what stands for an ID."""
    method, path = call.partition(",")[0].casefold().split()
    return f"{method} {re.sub(r'/{[^}]*}', '', path)}"


def test_the_table_has_every_call_of_the_guides() -> None:
    """And for each of them at least one method and one command."""
    assert {route(call).partition(" ")[2] for call, _, _ in ROWS} > GUIDES
    assert all("`mjbulk " in commands and re.search(r"`\w+\(", methods) for _, methods, commands in ROWS)
    assert len(ROWS) == README.count("\n| GET ") + README.count("\n| POST ") + README.count("\n| PUT ")


def seconds(job: EmulatedJob) -> float:
    return 60.0 if job.id == 116 else 0.001


@pytest.fixture
def mailjet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """A Mailjet with the lists of which the table speaks, whose first jobs get the IDs that stand there."""
    quick = Knobs(queue_seconds=0.001, prepare_seconds=0.001, import_seconds=seconds, first_job_id=113)
    with serve_in_thread(quick) as served:
        for name, value in {"API_URL": served.url, "APIKEY_PUBLIC": "any", "APIKEY_PRIVATE": "any"}.items():
            monkeypatch.setenv(f"MJ_{name}", value)
        monkeypatch.setenv("MJBULK_POLL_MIN", "0.01")
        while 43 not in served.emulator.lists:
            served.emulator.create_list("one of many")
        served.emulator.create_property("born", "datetime")
        served.emulator.reject("bad@example.org", "No")
        yield served.emulator


@pytest.fixture
def names(mailjet: Emulator, tmp_path: Path) -> dict[str, Any]:
    """What the table's code needs, by name; the jobs of which it speaks are there."""
    rows = [{"email": "ann@example.org"}, {"email": "bad@example.org"}]

    async def jobs() -> int:
        async with mjbulk.Client() as client:
            await (await client.submit_contacts(rows, lists=LISTS))
            await (await client.submit_list_contacts(42, rows, action="addnoforce"))
            data_id = await client.upload_csvdata(42, b"email\nann@example.org\nbad@example.org\n")
            await (await client.submit_csvimport(data_id, list_id=42, method="addnoforce"))
            await client.submit_csvimport(data_id, list_id=42, method="addnoforce")
            return data_id

    data_id = asyncio.run(jobs())
    assert sorted(mailjet.jobs) == [113, 114, 115, 116]
    (tmp_path / "contacts.csv").write_bytes(TEXT)
    return {"FILE": str(tmp_path / "contacts.csv"), "rows": rows, "data": TEXT, "data_id": data_id}


async def by_method(code: str, names: dict[str, Any]) -> None:
    """What a method gives is waited for, and so is a job that it starts."""
    async with mjbulk.Client() as client:
        found = eval(f"client.{code}", {"client": client, **names})
        if isinstance(found, AsyncIterator):
            assert [one async for one in found]
            return
        if isinstance(found, mjbulk.JobWatcher):
            assert (await found.wait()).rejections
            return
        found = await found
        if isinstance(found, mjbulk.JobWatcher):
            assert (await found).status == "Completed"


@pytest.mark.parametrize(("call", "code"), CASES)
def test_a_call_of_the_table(mailjet: Emulator, names: dict[str, Any], call: str, code: str) -> None:
    """It makes the call that stands before it, Mailjet takes that, and nothing fails."""
    before = mailjet.count(route(call))
    if code.startswith("mjbulk "):
        words = [names.get(word, word) for word in shlex.split(code)[1:]]
        assert main(words) in (0, 1)
    else:
        asyncio.run(by_method(code, names))
    assert mailjet.count(route(call)) > before
    method, _, path = route(call).partition(" ")
    answered = [one.status for one in mailjet.calls if (one.method.casefold(), one.route) == (method, path)]
    assert answered[-1] in (200, 201, 304)
