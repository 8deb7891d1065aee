import mjbulk
from mjbulk.testing import Mailjet


async def sync(rows: list[dict[str, str]]) -> mjbulk.Report:  # the application: knows nothing of tests
    return await mjbulk.import_contacts(rows, lists={1: "addnoforce"})


async def test_one_refused(mailjet: Mailjet) -> None:
    mailjet.reject("b@example.org", "Invalid email")
    report = await sync([{"email": "a@example.org"}, {"email": "b@example.org"}])
    assert (report.accepted, report.rejected) == (1, 1)
    assert mailjet.contacts["a@example.org"].lists == {1: "addnoforce"}


async def test_lost_answer(mailjet: Mailjet) -> None:
    mailjet.drop_answer("contact/managemanycontacts")
    assert (await sync([{"email": "a@example.org"}])).ok
