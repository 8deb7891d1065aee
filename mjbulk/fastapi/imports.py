"""`Imports`: the imports of an application, for all of its tenants."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI

from mjbulk.client import Client
from mjbulk.config import Credentials, Settings
from mjbulk.errors import UsageError
from mjbulk.events import Hook
from mjbulk.fastapi.allowed import Allowed
from mjbulk.fastapi.folders import Folders
from mjbulk.fastapi.keeper import Keeper
from mjbulk.fastapi.leaving import when_server_ends
from mjbulk.fastapi.problems import Problem
from mjbulk.fastapi.routes import Routes, named
from mjbulk.mailjet.quota import Quota
from mjbulk.pool import SessionPool
from mjbulk.public import public
from mjbulk.tasks import ended, keep
from mjbulk.terms import ActionLike, ListActions
from mjbulk.validators import NOT_NEGATIVE, POSITIVE_INT, fits


@public
class Imports:
    """Uploads of an application's tenants become imports: ``FastAPI(lifespan=imports.lifespan)`` and
    ``app.include_router(imports.router, prefix="/imports")``.

    Each worker process has one. Mutable state: the runs of this process, while the application lives.
    """

    def __init__(
        self,
        *,
        tenant: Callable[..., str | Awaitable[str]],
        credentials_of: Callable[[str], Credentials | Awaitable[Credentials]],
        journal: str,
        upload_dir: str,
        lists: ListActions | None = None,
        actions: Sequence[ActionLike] = ("addnoforce",),
        create_properties: bool = False,
        settings: Settings | None = None,
        max_upload: int = 2**30,
        keep: float = 30 * 86400.0,
        quota: Quota | None = None,
        hooks: Sequence[Hook] = (),
    ) -> None:
        """Take what the application decides.

        ``tenant`` is a dependency of the application: it says who asks, by a name of the application's, or raises
        HTTPException. ``credentials_of`` gives the keys of that name; it is also called when runs are resumed.
        ``journal`` is a path or a URL, ``upload_dir`` a folder: all workers share both. ``lists`` are the only lists
        that a tenant may name, each with its usual action; without them any list of the account. ``actions`` are what a
        tenant may ask for. ``create_properties`` says whether columns that are no properties are created; else they
        refuse the upload. ``settings``, ``quota`` and ``hooks`` are those of all clients. ``max_upload`` is in bytes,
        as a file comes and unpacked. An ended run, its upload and its rejected rows are kept for ``keep`` seconds.
        Raises UsageError.
        """
        if not callable(tenant) or not callable(credentials_of):
            raise UsageError(
                "tenant= says who asks, and credentials_of= gives the keys of that name: both are functions"
            )
        if not journal or not upload_dir:
            raise UsageError("journal= and upload_dir= are where runs and uploads are kept")
        if not fits(POSITIVE_INT, max_upload):
            raise UsageError("max_upload= is a number of bytes, 1 or more")
        if not fits(NOT_NEGATIVE, keep):
            raise UsageError("keep= is a number of seconds")
        self._tenant = tenant
        self._credentials_of = credentials_of
        self._allowed = Allowed.of(lists, actions)
        self._folders = Folders(upload_dir)
        self._create_properties = create_properties
        self._max_upload = max_upload
        self._keep_for = keep
        self._pool: dict[str, Any] = {"settings": settings, "journal": journal, "quota": quota, "hooks": hooks}
        SessionPool(**self._pool)  # it refuses what cannot be, before the application starts
        self._keeper: Keeper | None = None
        self.client = self._client_of(tenant)
        """A dependency: the client of the tenant that asks, as in ``Annotated[Client, Depends(imports.client)]``."""

    def __repr__(self) -> str:
        return f"<Imports {'open' if self._keeper is not None else 'not open'}>"

    def lifespan(self, app: FastAPI) -> AbstractAsyncContextManager[None]:  # noqa: ARG002  # it is called with it
        """Hold the runs of this process while the application lives.

        It is a lifespan by itself, or stands in the application's own: ``async with imports.lifespan(app): yield``.
        """
        return self._living()

    @asynccontextmanager
    async def _living(self) -> AsyncIterator[None]:
        if self._keeper is not None:
            raise UsageError("this Imports is in use: each application has its own")
        self._folders.prepare()
        async with SessionPool(**self._pool) as pool, AsyncExitStack() as stack:
            keeper = Keeper(
                pool,
                self._folders,
                self._credentials_of,
                create_properties=self._create_properties,
                keep_for=self._keep_for,
            )
            stack.push_async_callback(self._close, keeper)
            self._keeper = keeper
            keeper.start()
            watching = keep(when_server_ends(keeper.leave))
            stack.push_async_callback(ended, [watching])
            stack.callback(watching.cancel)
            yield

    async def _close(self, keeper: Keeper) -> None:
        self._keeper = None
        await keeper.stop()

    @cached_property
    def router(self) -> APIRouter:
        """The routes. ``mjbulk/guides/web.md`` has their table."""
        return self._routes().router(self._tenant, Path(__file__).parent / "ui")

    def _routes(self) -> Routes:
        return Routes(self._open, self._allowed, max_upload=self._max_upload, create_properties=self._create_properties)

    def _client_of(self, tenant: Callable[..., Any]) -> Callable[..., Awaitable[Client]]:
        async def client(who: Annotated[Any, Depends(tenant)]) -> Client:
            return await self._open().client_of(named(who))

        return client

    def _open(self) -> Keeper:
        if self._keeper is None:
            raise Problem(503, "imports.closed", "the application's lifespan does not include imports.lifespan")
        return self._keeper
