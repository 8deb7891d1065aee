"""A backend of two tenants under uvicorn, in the event loop of the test."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
from attrs import define
from fastapi import FastAPI, HTTPException, Request, routing

import mjbulk
from mjbulk.fastapi import Imports
from mjbulk.testing import Emulator, Knobs

QUICK: Mapping[str, Any] = {"queue_seconds": 0.0, "prepare_seconds": 0.0, "import_seconds": 0.05}
SLOW: Mapping[str, Any] = {"queue_seconds": 0.0, "prepare_seconds": 0.0, "import_seconds": 60.0}
OURS = {"X-Mjbulk": "1"}
CSV = {"Content-Type": "text/csv"}
GOOD = b"email\nann@example.org\nbob@example.org\n"
_GOES_ON = ("queued", "running")

# Each test has an application of its own, whose routes are always the same: half of its time was spent on their models.
routing.create_model_field = cache(routing.create_model_field)  # type: ignore[attr-defined]  # it is imported there


async def tenant(request: Request) -> str:
    """Say who asks: the test's own header names them."""
    who = request.headers.get("x-tenant") or request.cookies.get("tenant")
    if who is None:
        raise HTTPException(401)
    return who


def keys(who: str) -> mjbulk.Credentials:
    return mjbulk.Credentials(f"key-of-{who}", "secret")


@define
class Answer:
    """An answer that was read."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    json: Any

    @property
    def problem(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["detail"]
        return found


@define
class Site:
    """A backend, as its users see it."""

    url: str
    emulator: Emulator
    uploads: Path
    session: aiohttp.ClientSession
    server: uvicorn.Server

    async def ask(self, method: str, path: str, *, who: str = "a", **how: Any) -> Answer:
        headers = {"X-Tenant": who, **how.pop("headers", OURS)}
        async with self.session.request(method, f"{self.url}{path}", headers=headers, **how) as answer:
            body = await answer.read()
            json = await answer.json() if answer.content_type == "application/json" else None
            return Answer(answer.status, answer.headers, body, json)

    async def get(self, path: str, **how: Any) -> Any:
        answer = await self.ask("GET", path, **how)
        assert answer.status == 200, answer.body
        return answer.json

    async def upload(
        self, body: Any = GOOD, query: str = "", *, headers: Mapping[str, str] = CSV, **how: Any
    ) -> Answer:
        return await self.ask("POST", f"/imports/{query}", data=body, headers={**OURS, **headers}, **how)

    async def until(self, run_id: str, *states: str, who: str = "a") -> dict[str, Any]:
        """Wait until a run is in one of these states, by default until it does not go on."""
        async with asyncio.timeout(60):
            while True:
                run: dict[str, Any] = await self.get(f"/imports/{run_id}", who=who)
                if run["state"] in states if states else run["state"] not in _GOES_ON:
                    return run
                await asyncio.sleep(0.02)

    def left(self) -> list[str]:
        """Give all that is in the folder of uploads."""
        return [str(path.relative_to(self.uploads)) for path in self.uploads.rglob("*")]

    def posts(self) -> int:
        return self.emulator.count("POST contact/managemanycontacts")


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[tuple[str, uvicorn.Server]]:
    """Serve an application, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on", ws="none"))
        task = asyncio.ensure_future(server.serve(sockets=[listener]))
        while not server.started:
            assert not task.done(), "the application has not started"
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
        finally:
            server.should_exit = True
            await task


@asynccontextmanager
async def backend(folder: Path, emulator: Emulator, **said: Any) -> AsyncIterator[Site]:
    """Serve imports under /imports."""
    settings = mjbulk.Settings(api_url=emulator.url, poll_min=0.02, stop_within=3.0, **said.pop("settings", {}))
    usual: dict[str, Any] = {"tenant": tenant, "credentials_of": keys, "lists": {1: "addnoforce"}}
    where = {"journal": str(folder / "imports.db"), "upload_dir": str(folder / "uploads")}
    imports = Imports(**{**usual, **where, "settings": settings, **said})
    app = FastAPI(lifespan=imports.lifespan)
    app.include_router(imports.router, prefix="/imports")
    async with served(app) as (url, server), aiohttp.ClientSession() as session:
        yield Site(url, emulator, folder / "uploads", session, server)


@asynccontextmanager
async def site(folder: Path, knobs: Mapping[str, Any] = QUICK, **said: Any) -> AsyncIterator[Site]:
    """Serve imports under /imports, and an emulator for them."""
    async with Emulator(Knobs(**knobs)) as emulator, backend(folder, emulator, **said) as it:
        yield it
