"""`SessionPool`: one client, with an HTTP session and a quota of its own, for each pair of key and secret."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Self

from mjbulk.client import Client
from mjbulk.config import Assumptions, Credentials, Settings
from mjbulk.errors import UsageError
from mjbulk.events import Hook
from mjbulk.mailjet.quota import Quota
from mjbulk.public import public
from mjbulk.rows.files import Path_
from mjbulk.run.engine import open_journal
from mjbulk.tasks import finish


@public
class SessionPool:
    """Clients for many tenants: ``async with SessionPool(settings) as pool: pool.client(credentials)``.

    A key with a wrong secret never gets the client that was made with the right one. Mutable state: the clients.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        journal: Path_ | None = None,
        assumptions: Assumptions | None = None,
        quota: Quota | None = None,
        hooks: Sequence[Hook] = (),
    ) -> None:
        """Take the settings, journal, assumptions, quota and hooks of all clients."""
        self._journal = open_journal(journal, hooks)
        self._settings = settings or Settings()
        self._assumptions = assumptions or Assumptions()
        self._quota = quota
        self._hooks = tuple(hooks)
        self._clients: dict[Credentials, Client] = {}
        self._open = False

    def __repr__(self) -> str:
        return f"<SessionPool {self._settings.api_url}, {len(self._clients)} clients>"

    def client(self, credentials: Credentials) -> Client:
        """Give the client of these credentials, the same one each time. The pool closes it; leaving it does not."""
        if not self._open:
            raise UsageError("this pool is not open: use it as 'async with SessionPool() as pool'")
        if credentials not in self._clients:
            self._clients[credentials] = Client.pooled(
                credentials, self._settings, self._assumptions, self._hooks, journal=self._journal, quota=self._quota
            )
        return self._clients[credentials]

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        await self.aclose(self._settings.drain if kind is None else 0.0)

    async def aclose(self, drain: float | None = 0.0) -> None:
        """Close all clients concurrently, each as `Client.aclose` does."""
        self._open = False
        clients, self._clients = list(self._clients.values()), {}
        try:
            await asyncio.gather(*(client.aclose(drain) for client in clients))
        finally:
            await finish(self._close(clients))

    async def _close(self, clients: Sequence[Client]) -> None:
        """Close the journal after the clients, whatever fails meanwhile."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._journal.aclose, self._settings.stop_within)
            await asyncio.gather(*(client.aclose() for client in clients))
