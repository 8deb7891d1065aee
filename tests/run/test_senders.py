"""How a body gets into Mailjet: which requests, what may be retried, and who hears of it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from attrs import evolve
from fake_run import LOST, FakeAccount, context

from mjbulk.mailjet.attempts import Patience
from mjbulk.mailjet.replies import decode_data_id, decode_job_id
from mjbulk.mailjet.requests import Request
from mjbulk.mailjet.transport import Doubt
from mjbulk.models import ImportOptions, JobRef
from mjbulk.run.senders import CsvSender, JsonSender, Passage, find_import
from mjbulk.terms import Action, RunSpec

BODY = b'{"Contacts":[{"Email":"a@example.org"}]}'
PATIENCE = Patience(attempts=3, seconds=5.0)
OPTIONS = ImportOptions(datetime_format="yyyy/mm/dd", field_names=["email"])


class Requests:
    """A transport that keeps what it is asked to send, and has an answer for each."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.how: list[dict[str, Any]] = []

    async def send(self, request: Request, decode: object, **how: Any) -> int:
        self.requests.append(request)
        self.how.append({"decode": decode, **how})
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def said(self, at: int) -> dict[str, Any]:
        body: Any = self.requests[at].body
        said: dict[str, Any] = orjson.loads(body)
        return said

    @property
    def calls(self) -> list[str]:
        return [request.call for request in self.requests]


def json_sender(requests: Requests, *actions: Action, **terms: Any) -> JsonSender:
    transport: Any = requests
    lists = list(enumerate(actions, 1))
    return JsonSender(transport, RunSpec(lists=None, **terms), lists or None)


def csv_sender(
    requests: Requests, method: str = "addnoforce", options: ImportOptions | None = None, resend: Any = "safe"
) -> tuple[CsvSender, FakeAccount]:
    transport: Any = requests
    account: Any = FakeAccount()
    engine = evolve(context(settings={"read_timeout": 7.0}).engine, transport=transport, account=account)
    return CsvSender(engine, 42, method, options, resend), account


HARMLESS: Sequence[tuple[Sequence[Action], str, bool]] = [
    ([], "safe", True),
    ([Action.ADDNOFORCE], "safe", True),
    ([Action.ADDNOFORCE, Action.ADDFORCE], "safe", False),
    ([Action.REMOVE], "safe", False),
    ([Action.UNSUB], "always", True),
    ([Action.ADDNOFORCE], "never", False),
]


@pytest.mark.parametrize(("actions", "resend", "harmless"), HARMLESS)
def test_json_is_harmless_to_retry_if_all_actions_converge(actions: Any, resend: Any, *, harmless: bool) -> None:
    """One that does not is enough."""
    assert json_sender(Requests(), *actions, resend=resend).harmless(BODY) is harmless


def test_a_row_that_excludes_somebody_is_not_harmless() -> None:
    """The person may have been included since; a text that looks like it is no exclusion."""
    sender = json_sender(Requests(), Action.ADDNOFORCE)
    assert not sender.harmless(orjson.dumps([{"Email": "a", "IsExcludedFromCampaigns": True}]))
    assert sender.harmless(orjson.dumps([{"Email": "a", "Properties": {"x": '"IsExcludedFromCampaigns":'}}]))


@pytest.mark.parametrize("actions", [[Action.ADDFORCE], [Action.ADDNOFORCE]])
async def test_json_is_one_request(actions: Sequence[Action]) -> None:
    """With the doubt and the patience of its passage."""
    requests, doubt = Requests(113), Doubt()
    sender = json_sender(requests, *actions)
    passage = Passage(doubt=doubt, patience=PATIENCE)
    assert await sender.submit(BODY, passage) == JobRef("contact", 113)
    assert requests.calls == ["POST contact/managemanycontacts"] == [sender.carrier]
    assert requests.requests[0].body == BODY
    (how,) = requests.how
    assert how == {
        "decode": decode_job_id,
        "harmless": actions == [Action.ADDNOFORCE],
        "doubt": doubt,
        "patience": PATIENCE,
    }


async def test_nothing_tells_which_job_took_some_contacts() -> None:
    """So none is looked for."""
    assert await json_sender(Requests()).find(5) is None


async def test_csv_is_uploaded_and_then_imported() -> None:
    """An upload has no effect: it is harmless, and in no doubt; the import is in doubt, and never blindly retried."""
    requests, doubt = Requests(5, 9), Doubt()
    sender, _ = csv_sender(requests, options=OPTIONS)
    told: list[Any] = []

    async def uploaded(data_id: int) -> None:
        told.append((data_id, len(requests.requests)))

    passage = Passage(doubt=doubt, patience=PATIENCE, uploaded=uploaded)
    assert await sender.submit(b"email\na\n", passage) == JobRef("csvimport", 9)
    assert requests.calls == ["POST contactslist/CSVData", "POST csvimport"]
    assert requests.calls[0] == sender.carrier
    assert told == [(5, 1)]
    upload, imported = requests.how
    assert upload == {"decode": decode_data_id, "harmless": True, "patience": PATIENCE}
    assert imported == {"decode": decode_job_id, "harmless": False, "doubt": doubt}
    said = requests.said(1)
    assert (said["DataID"], said["ContactsListID"], said["Method"]) == (5, 42, "addnoforce")
    assert "ImportOptions" in said


async def test_what_was_uploaded_before_is_imported_alone() -> None:
    """It is there already."""
    requests = Requests(9)
    sender, _ = csv_sender(requests)
    assert await sender.submit(b"email\na\n", Passage(data_id=5)) == JobRef("csvimport", 9)
    assert requests.calls == ["POST csvimport"]


async def test_nothing_is_imported_that_was_not_uploaded() -> None:
    """The error of the upload is raised."""
    requests = Requests(LOST)
    sender, _ = csv_sender(requests)
    with pytest.raises(type(LOST)):
        await sender.submit(b"email\na\n", Passage())
    assert requests.calls == ["POST contactslist/CSVData"]


@pytest.mark.parametrize("method", ["excludemarketing", "includemarketing"])
async def test_an_exclusion_is_uploaded_under_a_list_and_imported_without(method: str) -> None:
    """It is for the whole account."""
    requests = Requests(5, 9)
    sender, _ = csv_sender(requests, method)
    await sender.submit(b"email\na\n", Passage())
    said = requests.said(1)
    assert said["Method"] == method
    assert "ContactsListID" not in said
    assert "42" in requests.requests[0].path


@pytest.mark.parametrize(
    ("method", "resend", "harmless"),
    [
        ("addnoforce", "safe", True),
        ("addnoforce", "never", False),
        ("addforce", "safe", False),
        ("addforce", "always", True),
        ("excludemarketing", "safe", False),
        ("includemarketing", "always", True),
    ],
)
def test_csv_is_harmless_to_retry_if_its_method_converges(method: str, resend: Any, *, harmless: bool) -> None:
    """Whatever is in the text."""
    sender, _ = csv_sender(Requests(), method, resend=resend)
    assert sender.harmless(b"") is harmless


async def test_an_import_is_looked_for_when_it_must_have_been_applied() -> None:
    """As long after the request as one may take: an earlier look might not find it, and it would be made twice."""
    loop = asyncio.get_running_loop()
    sender, account = csv_sender(Requests())
    began = loop.time()
    assert await sender.find(None) is None
    assert loop.time() == began
    assert await sender.find(5) is None
    assert loop.time() - began == pytest.approx(7)
    account.imports[5] = 9
    assert await sender.find(5) == JobRef("csvimport", 9)
    anything: Any = account
    assert await find_import(anything, 5, 0) == JobRef("csvimport", 9)


async def test_a_passage_alone_tells_nobody() -> None:
    """It waits for the usual time, and begins in no doubt."""
    passage = Passage()
    await passage.uploaded(5)
    assert (passage.doubt.sent, passage.patience, passage.data_id) == (False, None, None)
