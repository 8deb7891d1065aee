"""The wait for jobs, in Airflow's triggerer: one event loop, in which the triggers of many tasks wait."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from weakref import WeakKeyDictionary

from airflow.sdk import BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent
from attrs import define, field

from mjbulk.airflow.hook import MailjetHook, access
from mjbulk.client import Client
from mjbulk.config import Credentials, Settings
from mjbulk.errors import Error
from mjbulk.public import public


@public
class MailjetJobTrigger(BaseTrigger):
    """Waits in the triggerer until jobs have ended. It has their names and that of a connection, and no secret."""

    def __init__(self, jobs: Sequence[str], mailjet_conn_id: str = MailjetHook.default_conn_name) -> None:
        """Take jobs such as ``contact:113``."""
        super().__init__()
        self.jobs = list(jobs)
        self.mailjet_conn_id = mailjet_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what Airflow keeps of it."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "jobs": self.jobs,
            "mailjet_conn_id": self.mailjet_conn_id,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Give one event when no job goes on, or none can be watched: what has gone wrong is told by the task."""
        connection = await BaseHook.aget_connection(self.mailjet_conn_id)
        async with _shared_client(*access(connection)) as client:
            await _all_ended(client, self.jobs)
        yield TriggerEvent({"jobs": len(self.jobs)})


async def _all_ended(client: Client, jobs: Sequence[str]) -> None:
    """Wait until all jobs have ended, or cannot be watched. One is watched at a time, the newest first: most others
    have ended by then, and a look tells.
    """
    for job in reversed(jobs):
        with suppress(Error):
            await client.watch(job).wait()


@define
class _Shared:
    """A client, and how many triggers use it."""

    client: Client
    users: int = 0
    entered: asyncio.Lock = field(factory=asyncio.Lock)


_SHARED: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[Credentials, str], _Shared]] = WeakKeyDictionary()
"""The clients of a triggerer. All triggers of a connection have the same one, because a key has one quota."""


@asynccontextmanager
async def _shared_client(keys: Credentials, settings: Settings) -> AsyncIterator[Client]:
    clients = _SHARED.setdefault(asyncio.get_running_loop(), {})
    place = (keys, settings.api_url)
    if place not in clients:
        clients[place] = _Shared(Client(keys, settings))
    shared = clients[place]
    shared.users += 1
    try:
        async with shared.entered:
            await shared.client.__aenter__()
        yield shared.client
    finally:
        shared.users -= 1
        if not shared.users:
            del clients[place]
            await shared.client.aclose()
