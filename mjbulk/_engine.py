"""What all that one API key does has in common: its connections, its quota, its account, its watchers' scheduler."""

from collections.abc import Sequence
from typing import Self

from attrs import evolve, frozen

from mjbulk._account import Account
from mjbulk._events import Emit, Hook, emitter
from mjbulk._polling import Bounds
from mjbulk._quota import JobSlots, Quota
from mjbulk._transport import Transport
from mjbulk.config import JSON_ROWS, Assumptions, Credentials, Settings
from mjbulk.jobs import Scheduler


@frozen(kw_only=True)
class Engine:
    """Made in the event loop that uses it, and closed in it."""

    settings: Settings
    assumptions: Assumptions
    transport: Transport
    account: Account
    scheduler: Scheduler
    slots: JobSlots
    emit: Emit

    @classmethod
    def start(
        cls, credentials: Credentials, settings: Settings, assumptions: Assumptions, hooks: Sequence[Hook]
    ) -> Self:
        """Put the parts together. Nothing is sent yet."""
        if assumptions.max_body_bytes is not None:
            settings = evolve(settings, chunk_bytes=min(settings.chunk_bytes, assumptions.max_body_bytes))
        if assumptions.max_rows is not None and assumptions.max_rows < (settings.chunk_rows or JSON_ROWS):
            settings = evolve(settings, chunk_rows=assumptions.max_rows)
        emit = emitter(hooks)
        transport = Transport(credentials, settings, Quota(settings.concurrency), emit)
        most = settings.poll_max if settings.poll_max is not None else float("inf")
        bounds = Bounds(least=settings.poll_min, most=max(most, settings.poll_min))
        return cls(
            settings=settings,
            assumptions=assumptions,
            transport=transport,
            account=Account(transport),
            scheduler=Scheduler(transport, bounds, assumptions, settings.concurrency, emit),
            slots=JobSlots(settings.max_jobs, settings.max_rows),
            emit=emit,
        )

    async def aclose(self) -> None:
        """End all watching, and close the connections."""
        await self.scheduler.aclose()
        await self.transport.aclose()
