"""`Client`: every public call for one API key. It owns its runs, and decides how they end when it closes."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from inspect import iscoroutinefunction
from itertools import chain
from typing import Literal, Self, Unpack
from weakref import WeakSet

import orjson
from attrs import evolve

from mjbulk.config import Assumptions, Credentials, Settings, assumptions_of, credentials_of, settings_of
from mjbulk.discreet import discreet
from mjbulk.errors import UsageError
from mjbulk.events import Hook, hooks_of
from mjbulk.journal.protocol import Journal
from mjbulk.journal.records import RunRecord, encode_spec, number_of
from mjbulk.log import guarded
from mjbulk.mailjet.quota import Quota
from mjbulk.models import Rejection, Row
from mjbulk.outcomes.rejections import sorted_by_row
from mjbulk.outcomes.repair import columns_of_merged, corrected_rows
from mjbulk.outcomes.report import Report
from mjbulk.public import public
from mjbulk.rows.files import Path_
from mjbulk.rows.sources import Addresses, Rows, numbered_source, source_of
from mjbulk.run.engine import Engine, open_journal
from mjbulk.run.ingester import Ingester, check_bounds
from mjbulk.run.loading import load
from mjbulk.run.plan import Plan, make_plan
from mjbulk.run.run import ImportRun
from mjbulk.run.run_log import RunLog
from mjbulk.run.run_task import Beginning
from mjbulk.run_calls import RunCalls
from mjbulk.tasks import Deadline, Home, Running, ended, keep
from mjbulk.terms import ListActions, RunKeywords, RunSpec, RunTerms, repair_spec


@public
class Client(RunCalls):
    """Mailjet's bulk calls for one API key.

    Use it as ``async with Client() as client``: leaving the block normally waits for its runs, an exception stops them.
    A client of a `SessionPool` is open from the start, and the pool closes it. Mutable state: the engine, which the
    first call creates, and the unfinished runs.
    """

    @discreet
    def __init__(
        self,
        credentials: Credentials | None = None,
        settings: Settings | None = None,
        *,
        journal: Path_ | None = None,
        assumptions: Assumptions | None = None,
        quota: Quota | None = None,
        hooks: Sequence[Hook] = (),
    ) -> None:
        """Take keys and settings from the environment, unless they are given.

        ``journal`` is a path (a SQLite file, created if there is none) or the URL of a database: with it runs can be
        resumed after the end of their process. ``quota`` is for a rate limit that several processes share. ``hooks``
        are plain functions, each called with every `Event`. Raises UsageError.
        """
        self._state: Literal["new", "open", "closed"] = "new"
        self._hooks = guarded(hooks_of(hooks))
        super().__init__(open_journal(journal, self._hooks))
        self._credentials = credentials_of(credentials)
        self._settings = settings_of(settings)
        self._assumptions = assumptions_of(assumptions)
        self._quota = quota
        self._engine: Engine | None = None
        self._pooled = False
        self._ingesters: WeakSet[Ingester] = WeakSet()
        self._home = Home("this client")
        self._closing: Running[None] | None = None

    @classmethod
    def pooled(
        cls,
        credentials: Credentials,
        settings: Settings,
        assumptions: Assumptions,
        hooks: Sequence[Hook],
        *,
        journal: Journal,
        quota: Quota | None,
        home: Home | None = None,
    ) -> Self:
        """Make an open client for a pool, which closes the client and the journal. ``home`` is the loop of the pool."""
        client = cls(credentials, settings, assumptions=assumptions, quota=quota, hooks=hooks)
        client._journal, client._home = journal, home or client._home
        client._state, client._pooled = "open", True
        return client

    def __repr__(self) -> str:
        if not hasattr(self, "_settings"):  # what it was made with was refused
            return "<Client, refused>"
        return f"<Client {self._settings.api_url} {self._state}, {len(self._runs)} runs>"

    # Opening and closing

    async def __aenter__(self) -> Self:
        if self._state == "closed":
            raise UsageError("this client is closed")
        self._home.check()
        self._state = "open"
        await load()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if not self._pooled:
            await self.aclose(self._settings.drain if kind is None else 0.0)

    @discreet
    async def aclose(self, drain: float | None = 0.0) -> None:
        """Wait at most ``drain`` seconds for unfinished runs (None: until they end), stop the others, and close.

        Stopping and closing take `stop_within` seconds at most, and a second more for each of the journal, the quota
        and the last record of a run that no longer answers. Jobs that Mailjet has accepted go on there. Raises what the
        quota raises when it is closed, after all else was closed; UsageError in another event loop.
        """
        self._home.check()
        try:
            await self.drained(drain)
        finally:
            if self._closing is None or not self._closing.done():
                await asyncio.shield(self.closing())

    async def drained(self, seconds: float | None) -> None:
        """Begin no new run, and wait at most ``seconds`` for the others (None: until they end). For a pool.

        It raises nothing for what became of them.
        """
        self._state = "closed"
        open_ones = [keep(ingester.aclose(seconds)) for ingester in self._ingesters] if seconds != 0 else []
        if seconds != 0 and (pending := [*(run.task for run in self._runs), *open_ones]):
            await asyncio.wait(pending, timeout=seconds)

    def closing(self) -> Running[None]:
        """Begin to stop all runs and to close, unless that has begun, and give the task that does it. For a pool."""
        self._state = "closed"
        if self._closing is None:
            self._closing = keep(self._close(), name="mjbulk closes a client")
        return self._closing

    async def _close(self) -> None:
        """Stop the runs, and close everything that they have used, whatever fails meanwhile."""
        time = Deadline(self._settings.stop_within)
        async with AsyncExitStack() as stack:  # in the reverse order
            if not self._pooled:
                stack.push_async_callback(lambda: self._journal.aclose(time.left()))
            if (engine := self._engine) is not None:
                stack.push_async_callback(lambda: engine.aclose(time.left()))
            await ended([keep(ingester.aclose()) for ingester in list(self._ingesters)])
            runs = list(self._runs)
            for run in runs:
                run.halt()
            await ended([run.task for run in runs])

    def _ready(self) -> Engine:
        if self._state != "open":
            advice = "use it as 'async with Client() as client'" if self._state == "new" else "make a new one"
            raise UsageError(f"this client is not open: {advice}")
        self._home.check()
        if self._engine is None:
            self._engine = Engine.start(
                self._credentials,
                self._settings,
                self._assumptions,
                self._hooks,
                journal=self._journal,
                quota=self._quota,
            )
        return self._engine

    # Many rows

    @discreet
    async def import_contacts(self, source: Rows, *, lists: ListActions | None, **how: Unpack[RunKeywords]) -> Report:
        """Import a source to its end, and give a report in which every row has one outcome.

        ``source`` is a path (``.csv``, ``.jsonl``, both also ``.gz``; ``.parquet``; a spreadsheet), a `csv_source`,
        `jsonl_source` or `excel_source`, a table of pandas, polars, pyarrow or DuckDB, or an iterable or async iterable
        of rows; `in_thread` takes one that blocks. A row is whatever has named fields: a dict, a record of a database,
        a data class, an object of attrs, msgspec, pydantic or an ORM, a `Contact`, or Mailjet's own contact object; the
        tuples of a cursor have the names that it knows. ``email`` and ``name`` (any case) are the contact's, every
        other column is a property. ``lists`` maps list IDs, addresses or names to actions; None for no list.

        ``columns`` picks columns, or renames them. ``nulls="unassign"`` unassigns a property if the value is null,
        instead of leaving it alone. ``timezone`` is the IANA name of the zone of dates and times that name none;
        without it a column with such values refuses the import. ``date_format`` is the form of dates that are text, in
        the words of `strptime`. ``run_id`` names the run: with a journal, the same call with the same name resumes it.
        ``partition`` names a part of the run, for one of many workers. ``resend`` says which requests are retried
        after a lost answer. ``on_mismatch="accept"`` counts rows as accepted even if Mailjet's Count disagrees.
        ``create_properties`` creates unknown properties, with their ``types``. ``max_rejected`` stops the run when more
        rows than that are rejected. ``timeout`` is in seconds.

        Raises UsageError if the import is refused before anything was sent, ImportHalted if it stops early (its cause
        says why), ImportTimeout after ``timeout``. Cancelling the call stops the run.
        """
        return await self._whole(self.start_import(source, lists=lists, **how))

    @discreet
    def start_import(self, source: Rows, *, lists: ListActions | None, **how: Unpack[RunKeywords]) -> ImportRun:
        """Start an import in a task of this client, and give its run. Raises UsageError for wrong keywords."""
        return self._start(source, RunSpec.of(lists, how), how)

    def _start(self, source: Addresses, spec: RunSpec, how: RunKeywords) -> ImportRun:
        engine = self._ready()
        rows = source_of(source)
        spec = evolve(spec, text=rows.text)
        run_id, partition = how.get("run_id") or uuid.uuid4().hex[:12], how.get("partition") or ""
        asked = RunRecord(
            run=number_of(self._account(), run_id, partition),
            run_id=run_id,
            partition=partition,
            account=self._account(),
            spec=encode_spec(spec),
            source=orjson.dumps(rows.location).decode() if rows.location else "",
            created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )

        async def begin() -> Beginning:
            return Beginning(rows, spec, RunLog(self._journal, await self._journal.open_run(asked)))

        return self._watch_run(ImportRun(run_id, begin, engine, spec.timeout))

    @discreet
    def ingest(
        self,
        *,
        lists: ListActions | None,
        linger: float = 0.2,
        max_chunks: int = 8,
        max_waiting: int = 100_000,
        **terms: Unpack[RunTerms],
    ) -> Ingester:
        """Make an ingester, which gathers rows of many tasks into chunks: ``async with client.ingest(...) as it``.

        A chunk leaves when it is full, or ``linger`` seconds after its oldest row, and while fewer than ``max_chunks``
        of the ingester are unfinished: so at most ``max_chunks`` times `chunk_rows` rows go in the time of one job. At
        most ``max_waiting`` rows are in no chunk. ``lists`` and the other keywords are those of `import_contacts`;
        each row may have lists of its own. Raises UsageError for wrong keywords.

        With a journal, entering it raises JournalError if that cannot be used. What an ingester has sent is written
        down first. If its process ends, the next one that is entered finds out in the background what became of it,
        for the counts that `runs` gives; it retries nothing.
        """
        if wrong := set(terms) - set(RunTerms.__annotations__):
            raise UsageError(f"an ingester has no {min(wrong)}=")
        check_bounds(linger, max_chunks=max_chunks, max_waiting=max_waiting)
        ingester = Ingester(
            self._ready(),
            RunSpec.of(lists, terms),
            linger=linger,
            max_chunks=max_chunks,
            max_waiting=max_waiting,
            resume_others=self._resume_ingesters,
        )
        self._ingesters.add(ingester)
        return ingester

    @discreet
    async def plan_import(self, source: Rows, *, lists: ListActions | None, **how: Unpack[RunKeywords]) -> Plan:
        """Say what an import of this source would send, and what would go wrong, without sending a contact.

        The arguments are those of `import_contacts`, but the source must be readable more than once. Raises UsageError
        as the import would, except for missing properties: the plan names them.
        """
        return await make_plan(source_of(source), RunSpec.of(lists, how), self._ready())

    @discreet
    async def retry_rejected(self, report: Report, fix: Callable[[Rejection], Row | None]) -> Report:
        """Import those rejected rows of a report that ``fix`` has corrected, with their row numbers and with the
        keywords of their run.

        ``fix`` is called with each rejection whose row is known and could be read. It gives the corrected row (with the
        columns of the source), or None to skip it. The report is about the corrected rows only. Raises UsageError for a
        report that was loaded from a journal, because a journal does not keep rows.

        Rows of one person that were sent as one contact are rejected together. A corrected row is sent with the values
        of the earlier ones of them that were skipped; its own values win.

        People may have unsubscribed since the run. Unless the run had ``resend="always"``, ``addforce`` is therefore
        sent as ``addnoforce``, which adds new people and leaves unsubscribed ones alone; and a report of
        `include_contacts` is refused with a UsageError.
        """
        if iscoroutinefunction(fix):
            raise UsageError("fix= is a plain function: it gives a row, and nothing to wait for")
        if report.stored and report.rejected:
            raise UsageError("the rows of a stored report are not at hand: mend them in the source, under a new run_id")
        spec = repair_spec(report.spec)
        known = sorted_by_row(report.rejections)
        first = await asyncio.to_thread(next, known, None)  # it sorts them all, maybe millions
        columns = await asyncio.to_thread(columns_of_merged, report.rejections, spec) if spec.via == "csv" else ()
        rows = corrected_rows(known if first is None else chain([first], known), fix, spec, columns)
        return await self._whole(self._start(numbered_source(rows, text=spec.text), spec, {}))

    @discreet
    async def exclude_contacts(self, source: Addresses, **how: Unpack[RunKeywords]) -> Report:
        """Put people on the exclusion list: they get no marketing mail, whatever lists they are on.

        Only the addresses of rows are read; a row may also be an address instead of a record. ``via="csv"`` uploads
        under one of the lists of the account. Raises what `import_contacts` raises.
        """
        return await self._whole(self.start_exclusion(source, excluded=True, **how))

    @discreet
    async def include_contacts(self, source: Addresses, **how: Unpack[RunKeywords]) -> Report:
        """Take people off the exclusion list. See `exclude_contacts`."""
        return await self._whole(self.start_exclusion(source, excluded=False, **how))

    @discreet
    def start_exclusion(self, source: Addresses, *, excluded: bool, **how: Unpack[RunKeywords]) -> ImportRun:
        """Start `exclude_contacts` (True) or `include_contacts` in a task of this client, and give its run."""
        return self._start(source, RunSpec.of(None, how, excluded=excluded), how)


@public
@discreet
async def import_contacts(
    source: Rows,
    *,
    lists: ListActions | None,
    credentials: Credentials | None = None,
    journal: Path_ | None = None,
    **how: Unpack[RunKeywords],
) -> Report:
    """Import a source with a client of its own: ``asyncio.run(it)`` in a script, ``await it`` in a notebook.

    Arguments and errors are those of `Client.import_contacts`; keys come from the environment if none are given.
    """
    async with Client(credentials, journal=journal) as client:
        return await client.import_contacts(source, lists=lists, **how)
