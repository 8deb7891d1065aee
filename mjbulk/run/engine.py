"""What all that one API key does has in common: its connections, its quota, its account, its watchers' scheduler."""

import os
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from hashlib import sha256
from typing import Self, get_args

import orjson
from attrs import evolve, frozen

from mjbulk.config import JSON_ROWS, Assumptions, Credentials, Settings
from mjbulk.errors import UsageError
from mjbulk.events import Emit, Hook
from mjbulk.jobs.forecast import Bounds, JobStatistics
from mjbulk.jobs.scheduler import Scheduler
from mjbulk.journal.protocol import Journal, NoJournal
from mjbulk.journal.records import NoteRecord, fingerprint
from mjbulk.log import emitter
from mjbulk.mailjet.account import AccountCalls
from mjbulk.mailjet.job_slots import JobSlots
from mjbulk.mailjet.quota import Gate, LocalQuota, Quota
from mjbulk.mailjet.transport import Transport
from mjbulk.mailjet.window import Window
from mjbulk.models import JobKind
from mjbulk.run.loading import exchange_of
from mjbulk.run.starts import Starts
from mjbulk.spill import Memory

_EARLIEST = 0.1
"""Seconds until the first look at a job, at least."""
_JOBS = "jobs: "
"""How notes about kinds of jobs begin in a journal."""


@frozen(kw_only=True)
class Engine:
    """Made in the event loop that uses it, and closed in it."""

    settings: Settings
    assumptions: Assumptions
    transport: Transport
    window: Window
    """What the link carries."""
    account: AccountCalls
    scheduler: Scheduler
    slots: JobSlots
    starts: Starts
    journal: Journal
    owner: str
    """The account, as its journal knows it."""
    emit: Emit
    memory: Memory
    """For rows of unfinished chunks of all runs."""

    @classmethod
    def start(
        cls,
        credentials: Credentials,
        settings: Settings,
        assumptions: Assumptions,
        hooks: Sequence[Hook],
        *,
        journal: Journal,
        quota: Quota | None,
    ) -> Self:
        """Put the parts together. Nothing is sent yet."""
        if assumptions.max_body_bytes is not None:
            settings = evolve(settings, chunk_bytes=min(settings.chunk_bytes, assumptions.max_body_bytes))
        if assumptions.max_rows is not None and assumptions.max_rows < (settings.chunk_rows or JSON_ROWS):
            settings = evolve(settings, chunk_rows=assumptions.max_rows)
        emit = emitter(hooks)
        chance = random.Random()  # noqa: S311  # it spreads waits, it guards nothing
        window = Window(settings.concurrency, settings.chunk_bytes)
        gate = Gate(
            quota or LocalQuota(),
            _fingerprint(credentials, settings),
            concurrency=settings.concurrency,
            max_rate=settings.max_rate,
            chance=chance,
            window=window,
        )
        transport = Transport(
            exchange_of(credentials, settings, window),
            gate,
            settings,
            emit,
            chance,
            believe_pages=assumptions.proxy_pages_are_true,
        )
        account = AccountCalls(transport, settings.account_ttl)
        transport.when_refused(account.forget)
        most = settings.poll_max if settings.poll_max is not None else float("inf")
        least = settings.poll_min
        bounds = Bounds(least=least, most=max(most, least), first=min(_EARLIEST, least))
        return cls(
            settings=settings,
            assumptions=assumptions,
            transport=transport,
            window=window,
            account=account,
            scheduler=Scheduler(transport, bounds, assumptions, settings.concurrency, emit),
            slots=JobSlots(settings.max_jobs, settings.max_rows),
            starts=Starts(),
            journal=journal,
            owner=fingerprint(credentials.public),
            emit=emit,
            memory=Memory(),
        )

    async def recall(self) -> None:
        """Take from the journal what jobs of this account have taught before; what is known already stays."""
        for name, text in (await self.journal.notes(self.owner)).items():
            kind = name.removeprefix(_JOBS)
            if kind in get_args(JobKind) and kind not in self.scheduler.statistics:
                with suppress(ValueError):  # of another version: it is learned again
                    self.scheduler.statistics[kind] = JobStatistics.of(orjson.loads(text))  # type: ignore[index]  # it was looked up

    def lessons(self) -> list[NoteRecord]:
        """Give what jobs have taught, for the journal."""
        learned = self.scheduler.statistics.items()
        return [
            NoteRecord(account=self.owner, name=f"{_JOBS}{kind}", text=orjson.dumps(known.as_dict()).decode())
            for kind, known in learned
        ]

    async def aclose(self, within: float) -> None:
        """End all watching, and close the connections, whatever fails meanwhile. The quota has these seconds."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.transport.aclose, within)
            stack.push_async_callback(self.account.aclose)
            stack.push_async_callback(self.scheduler.aclose)


def open_journal(where: str | os.PathLike[str] | None, hooks: Sequence[Hook]) -> Journal:
    """Give the journal of a path or a URL; without one, a journal that keeps nothing. Nothing is opened yet.

    Raises UsageError for what can be no journal, and if its extra is not installed.
    """
    if where is None:
        return NoJournal()
    try:
        from mjbulk.journal.sql import SqlJournal  # noqa: PLC0415  # it needs an extra that may not be installed
    except ImportError as missing:
        raise UsageError(f"a journal needs {missing.name}: pip install 'mjbulk[journal]'") from None
    return SqlJournal(where, emitter(hooks))


def _fingerprint(credentials: Credentials, settings: Settings) -> str:
    """Name an API key to a quota that others can read."""
    return sha256(f"{settings.api_url} {credentials.public}".encode()).hexdigest()[:32]
