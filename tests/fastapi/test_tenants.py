"""Tenants: what is whose, and who may ask for what."""

from pathlib import Path
from typing import Annotated, Any

import aiohttp
import pytest
from fastapi import Depends, FastAPI
from sites import CSV, GOOD, OURS, Site, backend, keys, served, site, tenant

import mjbulk
from mjbulk.fastapi import Imports
from mjbulk.testing import Emulator

pytestmark = pytest.mark.real_time

PATHS = [
    ("GET", ""),
    ("GET", "/events"),
    ("GET", "/rejections"),
    ("GET", "/rejections.csv"),
    ("POST", "/stop"),
    ("POST", "/resume"),
    ("DELETE", ""),
]


async def uploaded(it: Site, who: str = "a", **headers: str) -> str:
    answer = await it.upload(who=who, headers={**CSV, **headers})
    assert answer.status == 202, answer.body
    run_id: str = answer.json["run_id"]
    await it.until(run_id, who=who)
    return run_id


async def test_runs_of_others_are_unknown(tmp_path: Path) -> None:
    """Every route of a run answers another tenant as if there were no run; nothing happens to it."""
    async with site(tmp_path) as it:
        run_id = await uploaded(it)
        for method, path in PATHS:
            theirs = await it.ask(method, f"/imports/{run_id}{path}", who="b")
            never = await it.ask(method, f"/imports/nothing{path}", who="b")
            assert (theirs.status, theirs.body) == (never.status, never.body)
            assert theirs.status == 404, path
        assert (await it.get("/imports/", who="b"))["runs"] == []
        assert (await it.until(run_id))["accepted"] == 2


async def test_one_key_of_two_tenants(tmp_path: Path) -> None:
    """A name that another tenant uses is no obstacle, and tells nothing; also if both have one account."""
    async with site(tmp_path, credentials_of=lambda who: keys("both")) as it:
        first = await uploaded(it, "a", **{"Idempotency-Key": "k"})
        second = await uploaded(it, "b", **{"Idempotency-Key": "k"})
        assert first != second
        assert it.posts() == 2
        assert [len((await it.get("/imports/", who=who))["runs"]) for who in "ab"] == [1, 1]
        assert (await it.ask("DELETE", f"/imports/{first}")).status == 204
        assert (await it.get(f"/imports/{second}", who="b"))["accepted"] == 2


async def test_nobody(tmp_path: Path) -> None:
    """The application's dependency comes first, on each route."""
    async with site(tmp_path) as it:
        for method, path in [*PATHS, ("POST", "/../plan"), ("GET", "/../ui")]:
            async with it.session.request(method, f"{it.url}/imports/x{path}", headers=OURS) as answer:
                assert answer.status == 401


@pytest.mark.parametrize("who", ["", None, 7])
async def test_a_tenant_without_a_name(tmp_path: Path, who: Any) -> None:
    """A dependency that forgets to say who asks lets nobody in."""
    async with site(tmp_path, tenant=lambda: who) as it:
        answer = await it.ask("GET", "/imports/")
        assert (answer.status, answer.problem["code"]) == (401, "tenant.unknown")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 202),
        ({"X-Mjbulk": ""}, 202),
        ({"Authorization": "Bearer x"}, 202),
    ],
)
async def test_requests_that_another_site_can_make(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    """Cookies alone start nothing, stop nothing and delete nothing."""
    async with site(tmp_path) as it:
        run_id = await uploaded(it)
        answer = await it.ask("POST", "/imports/", data=GOOD, headers={**CSV, **headers})
        assert answer.status == status
        if status == 403:
            assert answer.problem["code"] == "request.site"
            for method, path in [
                ("POST", f"/{run_id}/stop"),
                ("POST", f"/{run_id}/resume"),
                ("DELETE", f"/{run_id}"),
                ("POST", "/plan"),
            ]:
                assert (await it.ask(method, f"/imports{path}", headers=headers)).status == 403
        assert (await it.ask("GET", "/imports/", headers={})).status == 200


async def test_the_client_of_a_tenant(tmp_path: Path) -> None:
    """The application's own routes have the client of who asks; keys may come from a database."""

    async def from_database(who: str) -> mjbulk.Credentials:
        return keys(who)

    async with Emulator() as emulator:
        where: dict[str, Any] = {"journal": str(tmp_path / "j.db"), "upload_dir": str(tmp_path / "u")}
        settings = mjbulk.Settings(api_url=emulator.url)
        imports = Imports(tenant=tenant, credentials_of=from_database, settings=settings, **where)
        app = FastAPI(lifespan=imports.lifespan)
        seen = []

        @app.get("/lists")
        async def lists(client: Annotated[mjbulk.Client, Depends(imports.client)]) -> list[str]:
            seen.append(client)
            return [known.name async for known in client.lists()]

        emulator.account("key-of-b").create_list("of b", "2026-11-28T00:00:00Z")
        async with served(app) as (url, _), aiohttp.ClientSession() as session:
            for who, names in (("a", 1), ("b", 2), ("a", 1)):
                async with session.get(f"{url}/lists", headers={"x-tenant": who}) as answer:
                    assert len(await answer.json()) == names
        assert seen[0] is seen[2] is not seen[1]


async def test_any_list_of_the_account(tmp_path: Path) -> None:
    """Where the application names none, a tenant says which: by ID, address or name."""
    async with site(tmp_path, lists=None, actions=("addforce", "unsub")) as it:
        it.emulator.account("key-of-a").create_list("News of the week", "2026-11-28T00:00:00Z")
        missing = await it.upload()
        assert (missing.status, missing.problem["code"]) == (422, "list.missing")
        unknown = await it.upload(query="?list=no+such+list")
        assert (unknown.status, unknown.problem["code"]) == (422, "list")
        answer = await it.upload(query="?list=News+of+the+week")
        assert (answer.status, answer.json["action"], answer.json["list"]) == (202, "addforce", "News of the week")
        assert (await it.until(answer.json["run_id"]))["accepted"] == 2
        assert (await it.upload(query="?list=1&action=addnoforce")).status == 403


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tenant": None}, "tenant="),
        ({"credentials_of": "key"}, "credentials_of="),
        ({"journal": ""}, "journal="),
        ({"upload_dir": ""}, "upload_dir="),
        ({"actions": ()}, "actions="),
        ({"actions": "addforce"}, "actions="),
        ({"actions": ("add",)}, "an action is one of"),
        ({"lists": {}}, "lists= is empty"),
        ({"max_upload": 0}, "max_upload="),
        ({"keep": -1}, "keep="),
        ({"journal": "mysql://x"}, "journal"),
    ],
)
def test_it_refuses_to_be_made(tmp_path: Path, wrong: dict[str, Any], words: str) -> None:
    """What is missing or wrong shows before the application starts."""
    usual: dict[str, Any] = {
        "tenant": tenant,
        "credentials_of": keys,
        "journal": str(tmp_path / "j.db"),
        "upload_dir": str(tmp_path),
    }
    with pytest.raises(mjbulk.UsageError, match=words):
        Imports(**{**usual, **wrong})


@pytest.mark.parametrize("name", ["tenant", "credentials_of"])
def test_it_refuses_to_be_made_without_them(tmp_path: Path, name: str) -> None:
    """There is no default for either of them."""
    usual: dict[str, Any] = {"tenant": tenant, "credentials_of": keys, "journal": "j.db", "upload_dir": str(tmp_path)}
    del usual[name]
    with pytest.raises(TypeError, match=name):
        Imports(**usual)


async def test_without_its_lifespan(tmp_path: Path) -> None:
    """The answer says what is missing."""
    async with Emulator() as emulator, backend(tmp_path, emulator) as it:
        where: dict[str, Any] = {"journal": str(tmp_path / "k.db"), "upload_dir": str(tmp_path / "v")}
        app = FastAPI()
        app.include_router(Imports(tenant=tenant, credentials_of=keys, **where).router, prefix="/imports")
        async with served(app) as (url, _):
            it.url = url
            answer = await it.ask("GET", "/imports/")
            assert (answer.status, answer.problem["code"]) == (503, "imports.closed")
