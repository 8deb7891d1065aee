"""`SessionPool`: one client, with an HTTP session and a quota of its own, for each pair of key and secret."""

import asyncio
from collections.abc import Sequence
from typing import Self

from mjbulk.client import Client
from mjbulk.config import Assumptions, Credentials, Settings, assumptions_of, credentials_of_a_tenant, settings_of
from mjbulk.discreet import discreet
from mjbulk.errors import UsageError
from mjbulk.events import Hook, hooks_of
from mjbulk.log import guarded
from mjbulk.mailjet.quota import Quota
from mjbulk.public import public
from mjbulk.rows.files import Path_
from mjbulk.run.engine import open_journal
from mjbulk.run.loading import load
from mjbulk.tasks import Deadline, Home, Running, ended, keep


@public
class SessionPool:
    """Clients for many tenants: ``async with SessionPool(settings) as pool: pool.client(credentials)``.

    A key with a wrong secret never gets the client that was made with the right one. Mutable state: the clients.
    """

    @discreet
    def __init__(
        self,
        settings: Settings | None = None,
        *,
        journal: Path_ | None = None,
        assumptions: Assumptions | None = None,
        quota: Quota | None = None,
        hooks: Sequence[Hook] = (),
    ) -> None:
        """Take the settings, journal, assumptions, quota and hooks of all clients. Raises UsageError."""
        self._hooks = guarded(hooks_of(hooks))
        self._journal = open_journal(journal, self._hooks)
        self._settings = settings_of(settings)
        self._assumptions = assumptions_of(assumptions)
        self._quota = quota
        self._clients: dict[Credentials, Client] = {}
        self._open = False
        self._home = Home("this pool")
        self._closing: Running[None] | None = None

    def __repr__(self) -> str:
        if not hasattr(self, "_settings"):  # what it was made with was refused
            return "<SessionPool, refused>"
        return f"<SessionPool {self._settings.api_url}, {len(self._clients)} clients>"

    @discreet
    def client(self, credentials: Credentials) -> Client:
        """Give the client of these credentials, the same one each time. The pool closes it; leaving it does not.

        Raises UsageError for what are no credentials, also for None.
        """
        if not self._open:
            raise UsageError("this pool is not open: use it as 'async with SessionPool() as pool'")
        credentials = credentials_of_a_tenant(credentials)
        if credentials not in self._clients:
            self._clients[credentials] = Client.pooled(
                credentials,
                self._settings,
                self._assumptions,
                self._hooks,
                journal=self._journal,
                quota=self._quota,
                home=self._home,
            )
        return self._clients[credentials]

    async def __aenter__(self) -> Self:
        if self._closing is not None:
            raise UsageError("this pool is closed")
        self._home.check()
        self._open = True
        await load()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        await self.aclose(self._settings.drain if kind is None else 0.0)

    @discreet
    async def aclose(self, drain: float | None = 0.0) -> None:
        """Close all clients side by side, and then the journal. See `Client.aclose`."""
        self._home.check()
        self._open = False
        try:
            if draining := [keep(client.drained(drain)) for client in self._clients.values()]:
                await asyncio.wait(draining)
        finally:
            if self._closing is None:
                self._closing = keep(self._close(), name="mjbulk closes a pool")
            if not self._closing.done():
                await asyncio.shield(self._closing)

    async def _close(self) -> None:
        """Close the journal after all clients, whatever fails meanwhile. Raises the first of their errors."""
        time = Deadline(self._settings.stop_within)
        closing = [client.closing() for client in self._clients.values()]
        try:
            await ended(closing)
        finally:
            await self._journal.aclose(time.left())
        failures = [failure for one in closing if not one.cancelled() and (failure := one.exception()) is not None]
        for other in failures[1:]:
            failures[0].add_note(f"another client could not be closed either: {type(other).__name__}")
        if failures:
            raise failures[0]
