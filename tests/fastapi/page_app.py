"""An application with the page of imports under three prefixes: of one list, of several, and of any."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request

import mjbulk
from mjbulk.fastapi import Imports


async def tenant(request: Request) -> str:
    who = request.cookies.get("tenant")
    if who is None:
        raise HTTPException(401)
    return who


def keys(who: str) -> mjbulk.Credentials:
    return mjbulk.Credentials(f"key-of-{who}", "secret")


ALLOWED: dict[str, dict[str, Any]] = {
    "one": {"lists": {1: "addnoforce"}, "max_upload": 2_000_000},
    "several": {"lists": {1: "addnoforce", 2: "addforce"}, "actions": ("unsub",), "create_properties": True},
    "any": {"actions": ("addforce", "addnoforce", "remove", "unsub")},
}
SITES = {
    name: Imports(tenant=tenant, credentials_of=keys, journal=f"{name}.db", upload_dir=f"uploads-{name}", **allowed)
    for name, allowed in ALLOWED.items()
}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for imports in SITES.values():
            await stack.enter_async_context(imports.lifespan(app))
        yield


app = FastAPI(lifespan=lifespan)
for name, imports in SITES.items():
    app.include_router(imports.router, prefix=f"/{name}")
