"""What an answer says where something is refused: in the words of a request, and not in those of a program."""

from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends, Query
from fastapi.security import APIKeyQuery
from pydantic import BaseModel, Field
from sites import CSV, GOOD, OURS, site

from mjbulk.fastapi.problems import as_query

pytestmark = pytest.mark.real_time


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("columns={'E-Mail': 'email'} takes that", "columns=E-Mail=email takes that"),
        ("columns={'Mail': 'email', 'a': 'a'} takes that", "columns=Mail=email,a=a takes that"),
        ("""columns={'a}"\\'{': 'email', "it's": "b"} takes""", """columns=a}"'{=email,it's=b takes"""),
        ("say delimiter=';'; nothing", "say delimiter=;; nothing"),
        ("say delimiter='\\t'", "say delimiter=\\t"),
        ("say encoding='utf-8-sig'", "say encoding=utf-8-sig"),
        ("; create_properties=True creates what is missing, columns= picks", "; columns= picks"),
        ("columns={'unfinished", "columns={'unfinished"),
        ("types={'b': 'datetime'} with date_format='%d.%m.%Y'", "types=b=datetime with date_format=%d.%m.%Y"),
        ("this is not utf-8: say encoding=; nothing", "often cp1252 (Windows, Excel), or save it as UTF-8; nothing"),
    ],
)
def test_advice_is_for_a_request(sentence: str, said: str) -> None:
    """Keywords are parameters of a query, whatever stands in them."""
    assert as_query(sentence).endswith(said)


async def test_what_is_said_of_a_column(tmp_path: Path) -> None:
    """A request that does what the answer says is taken."""
    async with site(tmp_path) as it:
        refused = await it.upload(b"E-Mail\nann@example.org\n")
        assert "columns=E-Mail=email takes that" in refused.problem["message"]
        assert (await it.upload(b"E-Mail\nann@example.org\n", "?columns=E-Mail=email")).status == 202


MISSPELLED = {
    "?colums=email": "there is no parameter 'colums': columns is one",
    "?timezon=UTC": "timezone is one",
    "?Columns=email": "columns is one",
    "?dateformat=x": "date_format is one",
}


@pytest.mark.parametrize("query", MISSPELLED)
async def test_a_misspelled_parameter_is_refused(tmp_path: Path, query: str) -> None:
    """Else a column would be sent by mistake; in each route, after the tenant was asked, and not for the page. What is
    not like one of ours is the application's.
    """
    async with site(tmp_path) as it:
        for path in ("/imports/", "/imports/plan"):
            refused = await it.ask("POST", f"{path}{query}", data=GOOD, headers={**OURS, **CSV})
            assert (refused.status, refused.problem["code"]) == (422, "request")
            assert MISSPELLED[query] in refused.problem["message"]
        assert it.left() == []
        assert (await it.upload(GOOD, "?session=1", headers=CSV)).status == 202
        assert (await it.ask("GET", "/imports/?limt=1")).problem["message"].endswith("'limt': limit is one")
        assert (await it.ask("GET", "/imports/options?limit=1")).status == 200
        assert (await it.ask("GET", "/imports/?limt=1", who="")).status == 401
        assert (await it.ask("GET", "/imports/ui?limt=1")).status == 200


class Shown(BaseModel):
    """Parameters in a model."""

    theme: str = ""
    size: int = Field(1, alias="font-size")


def by_query(
    ticket: Annotated[str, Depends(APIKeyQuery(name="ticket"))], shown: Annotated[Shown, Query()], lang: str = ""
) -> str:
    return ticket or shown.theme or lang


async def test_parameters_of_the_application(tmp_path: Path) -> None:
    """What its own dependencies declare is taken, as a parameter, a key or a model."""
    query = "?ticket=a&lang=de&theme=dark&font-size=2"
    async with site(tmp_path, tenant=by_query) as it:
        assert (await it.upload(GOOD, query)).status == 202
        refused = await it.upload(GOOD, f"{query}&thema=dark")
        assert refused.problem["message"] == "there is no parameter 'thema': theme is one"
