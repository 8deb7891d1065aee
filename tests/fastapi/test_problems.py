"""What an answer says where something is refused: in the words of a request, and not in those of a program."""

from pathlib import Path

import pytest
from sites import CSV, GOOD, site

from mjbulk.fastapi.problems import as_query

pytestmark = pytest.mark.real_time


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("columns={'E-Mail': 'email'} takes that", "columns=E-Mail=email takes that"),
        ("columns={'Mail': 'email', 'a': 'a'} takes that", "columns=Mail=email,a=a takes that"),
        ("""columns={'a}"\\'{': 'email', "it's": "b"} takes""", """columns=a}"'{=email,it's=b takes"""),
        ("say delimiter=';'; nothing", "say delimiter=;; nothing"),
        ("say encoding='utf-8-sig'", "say encoding=utf-8-sig"),
        ("; create_properties=True creates what is missing, columns= picks", "; columns= picks"),
        ("columns={'unfinished", "columns={'unfinished"),
    ],
)
def test_advice_is_for_a_request(sentence: str, said: str) -> None:
    """Keywords are parameters of a query, whatever stands in them."""
    assert as_query(sentence) == said


async def test_what_is_said_of_a_column(tmp_path: Path) -> None:
    """A request that does what the answer says is taken."""
    async with site(tmp_path) as it:
        refused = await it.upload(b"E-Mail\nann@example.org\n")
        assert "columns=E-Mail=email takes that" in refused.problem["message"]
        assert (await it.upload(b"E-Mail\nann@example.org\n", "?columns=E-Mail=email")).status == 202


@pytest.mark.parametrize("query", ["?colums=email", "?timezon=UTC", "?Columns=email"])
async def test_a_misspelled_parameter_is_refused(tmp_path: Path, query: str) -> None:
    """Else a column would be sent by mistake. What is not like one of ours is the application's."""
    async with site(tmp_path) as it:
        refused = await it.upload(GOOD, query)
        assert (refused.status, refused.problem["code"]) == (422, "request")
        assert it.left() == []
        assert (await it.upload(GOOD, "?session=1", headers=CSV)).status == 202
