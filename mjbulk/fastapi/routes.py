"""The routes of imports. Each asks first who the tenant is, and unsafe ones that no other site has sent them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from math import inf
from pathlib import Path
from secrets import token_hex
from typing import IO, Annotated, Any
from urllib.parse import quote

import orjson
from attrs import asdict
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.routing import APIRoute

from mjbulk.errors import Error
from mjbulk.fastapi.allowed import Allowed
from mjbulk.fastapi.folders import REJECTIONS, Folder, Terms
from mjbulk.fastapi.keeper import Keeper
from mjbulk.fastapi.problems import Problem, as_query, not_valid, refusal
from mjbulk.fastapi.query import Asked, check_names
from mjbulk.fastapi.receiving import receive
from mjbulk.fastapi.rejected import as_row, csv_of, read_page
from mjbulk.fastapi.views import OptionsView, PlanView, ProblemView, RejectionPage, RunPage, RunView, State
from mjbulk.run.plan import Plan
from mjbulk.tasks import finish

_EVENTS = 0.5
"""Seconds between two events at least."""
_ALIVE = 15.0
"""Seconds after which a comment shows that a connection is alive."""
_SAFE = ("GET", "HEAD", "OPTIONS")
_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            **{kind: {"schema": {"type": "string"}} for kind in ("text/csv", "application/x-ndjson")},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def named(who: Any) -> str:
    """Give the name of a tenant. Raises Problem for what is no name."""
    if not isinstance(who, str) or not who:
        raise Problem(401, "tenant.unknown", "nobody knows who asks")
    return who


def _tenant_of(request: Request) -> str:
    tenant: str = request.state.mjbulk_tenant
    return tenant


def _check_site(request: Request) -> None:
    """Raise Problem for a request that another site may have made a browser send with its cookies."""
    headers = request.headers
    ours = "x-mjbulk" in headers or headers.get("sec-fetch-site") == "same-origin" or "authorization" in headers
    if request.method not in _SAFE and not ours:
        raise Problem(403, "request.site", "send the header X-Mjbulk with any value, so that no other site can do this")


class _Route(APIRoute):
    """A route whose errors have one form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give what answers a request."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as why:
                raise not_valid(why) from None

        return answer


Tenant = Annotated[str, Depends(_tenant_of)]
RunId = Annotated[str, InPath(pattern="^[0-9A-Za-z]{1,64}$")]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]


class Routes:
    """The routes of one application."""

    def __init__(
        self, keeper: Callable[[], Keeper], allowed: Allowed, *, max_upload: int, create_properties: bool
    ) -> None:
        """Take what gives the runs of this process, and what the application allows."""
        self._keeper = keeper
        self._allowed = allowed
        self._max_upload = max_upload
        self._create_properties = create_properties

    def router(self, tenant: Callable[..., Any], page: Path) -> APIRouter:
        """Make the router. ``page`` is the folder of the page."""

        async def gate(request: Request, response: Response, who: Annotated[Any, Depends(tenant)]) -> None:
            request.state.mjbulk_tenant = named(who)
            _check_site(request)
            response.headers.update(_NO_STORE)

        problems: dict[int | str, dict[str, Any]] = {
            status: {"model": ProblemView} for status in (400, 401, 403, 404, 408, 409, 413, 415, 422, 503)
        }
        router = APIRouter(dependencies=[Depends(gate)], route_class=_Route, tags=["imports"])
        add = partial(router.add_api_route, dependencies=[Depends(check_names)], responses=problems)
        accepted: dict[str, Any] = {"status_code": 202, "response_model": RunView}
        add("", self.submit, methods=["POST"], include_in_schema=False, **accepted)
        add("/", self.submit, methods=["POST"], openapi_extra=_BODY, **accepted)
        add("/plan", self.plan, methods=["POST"], response_model=PlanView, openapi_extra=_BODY)
        add("", self.runs, include_in_schema=False, response_model=RunPage)
        add("/", self.runs, response_model=RunPage)
        add("/options", self.options, response_model=OptionsView)
        for file in sorted(page.iterdir()):
            path = "/ui" if file.name == "index.html" else f"/ui/{file.name}"
            router.add_api_route(path, _page(file), include_in_schema=False)
        add("/{run_id}", self.run, response_model=RunView)
        add("/{run_id}/events", self.events, response_class=StreamingResponse)
        add("/{run_id}/rejections", self.rejections, response_model=RejectionPage)
        add("/{run_id}/rejections.csv", self.rejections_csv, response_class=StreamingResponse)
        add("/{run_id}/stop", self.stop, methods=["POST"], **accepted)
        add("/{run_id}/resume", self.resume, methods=["POST"], **accepted)
        add("/{run_id}", self.delete, methods=["DELETE"], status_code=204, response_model=None)
        return router

    # Uploads

    async def submit(self, request: Request, response: Response, who: Tenant, asked: Asked, key: Key = None) -> Any:
        """Import a file. The run is there, and the file was judged, when the answer comes."""
        keeper = self._keeper()
        ref, action = self._allowed.choose(asked.pop("list"), asked.pop("action"))
        run_id = _run_id(who, key)
        incoming = await asyncio.to_thread(keeper.folders.incoming)
        try:
            upload = await receive(request, incoming.path, self._max_upload, keeper.waits)
            created = datetime.now(UTC).isoformat(timespec="milliseconds")
            terms = Terms(
                tenant=who, run_id=run_id, created=created, list=ref, action=action, **asdict(upload), **asked
            )
        except BaseException:
            keeper.folders.drop(incoming)
            raise
        await finish(keeper.submit(incoming, terms))
        response.headers["Location"] = f"{request.url.path.rstrip('/')}/{run_id}"
        return await keeper.view(keeper.folders.place(who, run_id))

    async def plan(self, request: Request, who: Tenant, asked: Asked) -> Any:
        """Say what an import of a file would send, and what would go wrong. Nothing is sent, and nothing is kept."""
        keeper = self._keeper()
        ref, action = self._allowed.choose(asked.pop("list"), asked.pop("action"))
        incoming = await asyncio.to_thread(keeper.folders.incoming)
        try:
            upload = await receive(request, incoming.path, self._max_upload, keeper.waits)
            terms = Terms(tenant=who, run_id="", created="", list=ref, action=action, **asdict(upload), **asked)
            return _planned(await keeper.plan(incoming, terms))
        except Error as why:
            raise refusal(why) from None
        finally:
            await asyncio.to_thread(keeper.folders.drop, incoming)

    async def options(self) -> Any:
        """Say what the application allows."""
        lists = self._allowed.lists
        return {
            "lists": None if lists is None else [{"list": ref, "action": action} for ref, action in lists.items()],
            "actions": list(self._allowed.actions),
            "create_properties": self._create_properties,
            "max_upload": self._max_upload,
        }

    # Runs

    async def runs(
        self,
        who: Tenant,
        state: State | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        before: Annotated[str | None, Query(pattern="^[0-9A-Za-z]{1,64}$")] = None,
    ) -> Any:
        """Give the runs of the tenant, the newest first."""
        known = await self._keeper().views(who)
        at = next((at + 1 for at, run in enumerate(known) if run["run_id"] == before), len(known)) if before else 0
        found = [run for run in known[at:] if state in (None, run["state"])]
        return {"runs": found[:limit], "next": found[limit - 1]["run_id"] if len(found) > limit else None}

    def _folder(self, who: str, run_id: str) -> Folder:
        return self._keeper().folders.place(who, run_id)

    async def run(self, who: Tenant, run_id: RunId) -> Any:
        """Give a run."""
        return await self._keeper().view(self._folder(who, run_id))

    async def stop(self, who: Tenant, run_id: RunId) -> Any:
        """Stop reading and sending, in whichever worker has the run. Jobs at Mailjet go on."""
        await self._keeper().halt(self._folder(who, run_id))
        return await self.run(who, run_id)

    async def resume(self, who: Tenant, run_id: RunId) -> Any:
        """Let a run go on that was stopped or interrupted."""
        try:
            await self._keeper().resume(self._folder(who, run_id))
        except Error as why:
            raise refusal(why) from None
        return await self.run(who, run_id)

    async def delete(self, who: Tenant, run_id: RunId) -> None:
        """Delete a run that is not under way, its upload and its rejected rows."""
        await self._keeper().forget(self._folder(who, run_id))

    async def events(self, who: Tenant, run_id: RunId) -> StreamingResponse:
        """Give snapshots as server-sent events: ``run`` at most twice a second, and ``end`` with the last one."""
        folder = self._folder(who, run_id)
        first = await self._keeper().view(folder)
        headers = {**_NO_STORE, "X-Accel-Buffering": "no"}
        return StreamingResponse(self._snapshots(folder, first), media_type="text/event-stream", headers=headers)

    async def _snapshots(self, folder: Folder, snapshot: Mapping[str, Any]) -> AsyncIterator[bytes]:
        keeper = self._keeper()
        loop = asyncio.get_running_loop()
        said, at = b"", loop.time()
        while True:
            data = orjson.dumps(RunView.model_validate(snapshot).model_dump())
            if snapshot["state"] not in ("queued", "running"):
                yield b"event: run\ndata: %s\n\nevent: end\ndata: %s\n\n" % (data, data)
                return
            if data != said:
                said, at = data, loop.time()
                yield b"event: run\ndata: %s\n\n" % data
            elif loop.time() - at > _ALIVE:
                at = loop.time()
                yield b": it goes on\n\n"
            await asyncio.sleep(_EVENTS)
            if keeper.leaving.is_set():
                return
            try:
                snapshot = await keeper.view(folder)
            except Problem:  # it was deleted
                return

    # Rejected rows

    async def rejections(
        self,
        who: Tenant,
        run_id: RunId,
        after: Annotated[int, Query(ge=0, le=2**62)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        code: Annotated[str | None, Query(max_length=200)] = None,
    ) -> Any:
        """Give rejected rows, also while the run goes on."""
        folder = self._folder(who, run_id)
        known = await self._keeper().view(folder)
        until = known.get("rejected_until", inf)  # rows behind it are not counted yet
        rows, following = await asyncio.to_thread(read_page, folder.path / REJECTIONS, after, limit, code, until)
        total = sum(known["by_code"].values())
        return {"total": total, "by_code": known["by_code"], "rows": rows, "next": following}

    async def rejections_csv(self, who: Tenant, run_id: RunId) -> StreamingResponse:
        """Give all rejected rows as CSV that is safe to open in a spreadsheet."""
        folder = self._folder(who, run_id)
        await self._keeper().view(folder)
        file = await asyncio.to_thread(csv_of, folder.path / REJECTIONS)
        headers = {**_NO_STORE, "Content-Disposition": f"attachment; filename=rejections-{quote(run_id)}.csv"}
        return StreamingResponse(_pieces(file), media_type="text/csv", headers=headers)


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while piece := await asyncio.to_thread(file.read, 64 * 1024):
            yield piece


def _run_id(who: str, key: str | None) -> str:
    """Give a run its name: the same one for the same key of a tenant."""
    if key is None:
        return token_hex(12)
    return f"k{sha256(repr((who, key)).encode()).hexdigest()[:31]}"


def _planned(plan: Plan) -> dict[str, Any]:
    names = ("rows", "chunks", "requests", "bytes", "superseded", "recurring", "forced")
    codes: dict[str, int] = {}
    for rejection in plan.rejections:
        codes[rejection.code] = codes.get(rejection.code, 0) + 1
    return {
        **{name: getattr(plan, name) for name in names},
        "new_properties": list(plan.new_properties),
        "unknown_properties": list(plan.unknown_properties),
        "findings": [{**asdict(finding), "message": as_query(finding.message)} for finding in plan.findings],
        "rejected": len(plan.rejections),
        "by_code": codes,
        "rejections": [as_row(rejection) for rejection in plan.rejections.page(limit=10)],
    }


def _page(file: Path) -> Callable[[], Coroutine[Any, Any, FileResponse]]:
    """Give what answers with a file of the page."""
    headers = {
        "Content-Security-Policy": _PAGE_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }

    async def page() -> FileResponse:
        return FileResponse(file, media_type=_TYPES[file.suffix], headers=headers)

    return page
