"""Client: the facade. It owns watchers, runs and their end."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime
from inspect import iscoroutinefunction
from itertools import chain
from pathlib import Path
from typing import Literal, Self, Unpack

import orjson
from attrs import evolve

from mjbulk.calls import Calls
from mjbulk.config import Assumptions, Credentials, Settings
from mjbulk.errors import SourceError, UsageError
from mjbulk.events import Hook
from mjbulk.journal.info import ChunkInfo, RunInfo, together
from mjbulk.journal.protocol import Journal
from mjbulk.journal.records import RunRecord, decode_spec, encode_spec, number_of
from mjbulk.mailjet.quota import Quota
from mjbulk.models import (
    ListActions,
    Rejection,
    Resend,
    Row,
    RunKeywords,
    RunSpec,
    repair_spec,
)
from mjbulk.outcomes.rejections import sorted_by_row
from mjbulk.outcomes.report import Report
from mjbulk.rows.files import Path_
from mjbulk.rows.sources import Addresses, Rows, Source, numbered_source, reopen, source_of
from mjbulk.run.engine import Engine, open_journal
from mjbulk.run.plan import Plan, make_plan
from mjbulk.run.run import Beginning, ImportRun
from mjbulk.run.run_log import RunLog


class Client(Calls):
    """Mailjet's bulk calls for one API key.

    Use it as ``async with Client() as client``: leaving normally waits for its runs, an exception stops them. Clients
    of a `SessionPool` are ready as they come, and live as long as the pool. Mutable state: the engine, made at the
    first call, and the runs under way.
    """

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
        """Take keys and settings from the environment where they are not given.

        ``journal`` is a path (a SQLite file, made where there is none) or the URL of a database: with it runs can go on
        after the end of their process. ``quota`` is for a rate that is shared. Raises UsageError.
        """
        self._journal: Journal = open_journal(journal, hooks)
        self._credentials = credentials or Credentials.load()
        self._settings = settings or Settings()
        self._assumptions = assumptions or Assumptions()
        self._quota = quota
        self._hooks = tuple(hooks)
        self._engine: Engine | None = None
        self._runs: set[ImportRun] = set()
        self._state: Literal["new", "open", "closed"] = "new"
        self._pooled = False

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
    ) -> Self:
        """Make a client that a pool owns: it is open, and its pool closes it and the journal."""
        client = cls(credentials, settings, assumptions=assumptions, quota=quota, hooks=hooks)
        client._journal = journal
        client._state, client._pooled = "open", True
        return client

    def __repr__(self) -> str:
        return f"<Client {self._settings.api_url} {self._state}, {len(self._runs)} runs>"

    # Beginning and end

    async def __aenter__(self) -> Self:
        if self._state == "closed":
            raise UsageError("this client is closed")
        self._state = "open"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if not self._pooled:
            await self.aclose(self._settings.drain if kind is None else 0.0)

    async def aclose(self, drain: float | None = 0.0) -> None:
        """Wait at most ``drain`` seconds for the runs under way (None: to their end), stop the rest, and close.

        Jobs that Mailjet has taken go on there.
        """
        self._state = "closed"
        ends = [asyncio.ensure_future(run.wait()) for run in self._runs]
        try:
            if ends and drain != 0:
                await asyncio.wait(ends, timeout=drain)
        finally:
            await asyncio.shield(asyncio.ensure_future(self._let_go(ends)))  # to its end, also where this is cancelled

    async def _let_go(self, ends: Sequence[asyncio.Future[Report]]) -> None:
        await asyncio.gather(*(run.stop() for run in list(self._runs)), *ends, return_exceptions=True)
        if self._engine is not None:
            await self._engine.aclose()
        if not self._pooled:
            await self._journal.aclose()

    def _ready(self) -> Engine:
        if self._state != "open":
            advice = "use it as 'async with Client() as client'" if self._state == "new" else "make a new one"
            raise UsageError(f"this client is not open: {advice}")
        if self._engine is None:
            self._engine = Engine.start(
                self._credentials,
                self._settings,
                self._assumptions,
                self._hooks,
                journal=self._journal,
                quota=self._quota,
            )
            self._loop = asyncio.get_running_loop()
        if self._loop is not asyncio.get_running_loop():
            raise UsageError("this client belongs to another event loop: make one for each loop")
        return self._engine

    # Many rows

    async def import_contacts(self, source: Rows, *, lists: ListActions | None, **how: Unpack[RunKeywords]) -> Report:
        """Import a source to its end, and give the report: every row of it has one outcome.

        ``source`` is a path (``.csv``, ``.jsonl``, both also ``.gz``; ``.parquet``), a `csv_source` or `jsonl_source`,
        a table of pandas, polars, pyarrow or DuckDB, or an iterable or async iterable of rows. A row is anything with
        ``keys()`` and ``[]``, a `Contact`, or Mailjet's own contact object; ``email`` and ``name`` (any case) are the
        contact's, every other column is a property. ``lists`` maps list IDs, addresses or names to actions; None for
        no list.

        ``columns`` picks columns, or renames them; ``nulls="unassign"`` unassigns properties where the value is null,
        instead of leaving them alone; ``run_id`` names the run, so that with a journal the same call again goes on
        where it stood, and ``partition`` a part of it that one of many workers takes; ``resend`` says what is sent
        again after a lost answer; ``on_mismatch="accept"`` takes rows as accepted although Count says otherwise;
        ``create_properties`` creates unknown ones, of the ``types`` that are given; ``max_rejected`` stops when more
        rows are rejected; ``timeout`` in seconds.

        Raises UsageError where it is refused before anything was sent, ImportHalted where it stops before its end (its
        cause says why), ImportTimeout. Cancelling it stops the run.
        """
        return await self._whole(self.start_import(source, lists=lists, **how))

    def start_import(self, source: Rows, *, lists: ListActions | None, **how: Unpack[RunKeywords]) -> ImportRun:
        """Start an import in a task of this client, and give its run. Raises UsageError for wrong keywords."""
        return self._start(source, RunSpec.of(lists, how), how)

    def _start(self, source: Addresses, spec: RunSpec, how: RunKeywords) -> ImportRun:
        engine = self._ready()
        rows = source_of(source)
        spec = evolve(spec, text=rows.text)
        run_id, partition = how.get("run_id") or uuid.uuid4().hex[:12], how.get("partition") or ""
        asked = RunRecord(
            run=number_of(run_id, partition),
            run_id=run_id,
            partition=partition,
            account=self._account(),
            spec=encode_spec(spec),
            source=orjson.dumps(rows.location).decode() if rows.location else "",
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

        async def begin() -> Beginning:
            return Beginning(rows, spec, RunLog(self._journal, await self._journal.open_run(asked)))

        return self._watch_run(ImportRun(run_id, begin, engine))

    def _watch_run(self, run: ImportRun) -> ImportRun:
        self._runs.add(run)
        run.when_ended(self._runs.discard)
        return run

    def _account(self) -> str:
        return self._ready().owner

    async def _whole(self, run: ImportRun) -> Report:
        """Wait for a run that nobody else holds: who cancels the wait stops the run."""
        try:
            return await run
        except asyncio.CancelledError:
            await run.stop()
            raise

    async def plan_import(self, source: Rows, *, lists: ListActions | None, **how: Unpack[RunKeywords]) -> Plan:
        """Say what an import of this source would send, and what would go wrong, without sending a contact.

        Takes what `import_contacts` takes, but no source that can be read only once. Raises UsageError as the import
        would, but for properties that are missing: those are named in the plan.
        """
        return await make_plan(source_of(source), RunSpec.of(lists, how), self._ready())

    async def retry_rejected(self, report: Report, fix: Callable[[Rejection], Row | None]) -> Report:
        """Send the rejected rows of a report that ``fix`` has mended, under their numbers and on the terms of their
        run.

        ``fix`` gets each rejection whose row is known and could be read, and gives the row as it should have been (with
        the columns of the source), or None to leave it. Nothing else is sent again. The report is of the mended rows
        alone. Raises UsageError for a stored report: a journal keeps no rows, so theirs are not at hand.

        A repair comes after people had time to leave. Unless the run was made with ``resend="always"``, ``addforce``
        goes out as ``addnoforce`` here: it adds whoever is new, and leaves alone whoever has unsubscribed; and rows of
        `include_contacts` are refused with a UsageError.
        """
        if iscoroutinefunction(fix):
            raise UsageError("fix= is a plain function: it gives a row, and nothing to wait for")
        if report.stored and report.rejected:
            raise UsageError("the rows of a stored report are not at hand: mend them in the source, under a new run_id")
        spec = repair_spec(report.spec)
        known = sorted_by_row(report.rejections)
        first = await asyncio.to_thread(next, known, None)  # millions of them are sorted before the first is given
        begun = known if first is None else chain([first], known)

        def mended() -> Iterator[tuple[int, Row]]:
            for rejection in begun:
                number = rejection.row or 0
                try:
                    row = None if rejection.data is None else fix(rejection)
                except Exception as failure:
                    raise SourceError(f"fix raised {type(failure).__name__}", row=number) from failure
                if row is not None:
                    yield number, row

        return await self._whole(self._start(numbered_source(mended(), text=spec.text), spec, {}))

    async def exclude_contacts(self, source: Addresses, **how: Unpack[RunKeywords]) -> Report:
        """Put people on the exclusion list: they get no marketing mail, whatever lists they are on. See
        `import_contacts`.

        Only the address of a row is read; bare addresses will do. ``via="csv"`` uploads under some list of the account.
        """
        return await self._whole(self.start_exclusion(source, excluded=True, **how))

    async def include_contacts(self, source: Addresses, **how: Unpack[RunKeywords]) -> Report:
        """Take people off the exclusion list. See `exclude_contacts`."""
        return await self._whole(self.start_exclusion(source, excluded=False, **how))

    def start_exclusion(self, source: Addresses, *, excluded: bool, **how: Unpack[RunKeywords]) -> ImportRun:
        """Start `exclude_contacts` (True) or `include_contacts` in a task of this client, and give its run."""
        return self._start(source, RunSpec.of(None, how, excluded=excluded), how)

    # Runs that a journal knows

    async def runs(self) -> AsyncIterator[RunInfo]:
        """Give the runs of this account that the journal knows, the oldest first."""
        self._ready()
        for run in await self._journal.runs(self._account()):
            yield run

    async def get_run(self, run_id: str) -> RunInfo:
        """Give what the journal knows of a run; of one with partitions, of all of them together.

        Raises UsageError where it knows no such run of this account.
        """
        self._ready()
        parts = await self._journal.runs(self._account(), run_id)
        if not parts:
            raise UsageError(f"the journal has no run {run_id!r} of this account")
        return parts[0] if len(parts) == 1 else together(parts)

    async def run_chunks(self, run_id: str) -> AsyncIterator[ChunkInfo]:
        """Give what the journal knows of the chunks of a run and their jobs, of all its partitions.

        Raises UsageError where it knows no such run of this account.
        """
        await self.get_run(run_id)
        for info in await self._journal.runs(self._account(), run_id):
            known = await self._journal.find(run_id, info.partition or "", self._account())
            for chunk in known.chunk_infos() if known is not None else ():
                yield chunk

    def resume_import(
        self,
        run_id: str,
        source: Addresses | None = None,
        *,
        partition: str | None = None,
        resend: Resend = "safe",
    ) -> ImportRun:
        """Go on with a run that the journal knows, in a task of this client, and give it.

        Its source is read from the beginning: ``source`` where that is given, else the file that it was. Where it is
        not at hand, the jobs that are known are settled, and the rest is not sent. ``resend`` says what is done with
        rows whose answers were lost; the other terms are those on which the run was begun. A run that has ended gives
        its stored report. Refused, in the run's report, where the source has changed.
        """
        engine = self._ready()
        given = None if source is None else source_of(source)

        async def begin() -> Beginning:
            known = await self._journal.find(run_id, partition or "", self._account())
            if known is None:
                others = [info.partition for info in await self._journal.runs(self._account(), run_id)]
                which = f"it has the partitions {', '.join(map(repr, others))}" if others else "nor a partition of it"
                raise UsageError(f"the journal has no run {run_id!r} of this account as such; {which}")
            history = await self._journal.open_run(known.run)
            spec = evolve(decode_spec(history.run.spec), resend=resend)
            return Beginning(given or _found(history.run.source), spec, RunLog(self._journal, history))

        return self._watch_run(ImportRun(run_id, begin, engine))

    async def purge_run(self, run_id: str) -> None:
        """Have the journal forget a run, and all its partitions.

        Raises UsageError where it knows no such run of this account, or where it is under way.
        """
        await self.get_run(run_id)
        for info in await self._journal.runs(self._account(), run_id):
            known = await self._journal.find(run_id, info.partition or "", self._account())
            if known is not None:
                await self._journal.purge(known.run)


def _found(location: str) -> Source | None:
    """Find the file that a run was read from, where it is still there."""
    known = orjson.loads(location) if location else None
    return reopen(known) if known and Path(known["path"]).is_file() else None


async def import_contacts(
    source: Rows,
    *,
    lists: ListActions | None,
    credentials: Credentials | None = None,
    journal: Path_ | None = None,
    **how: Unpack[RunKeywords],
) -> Report:
    """Import a source with a client of its own: ``asyncio.run(it)`` in a script, ``await it`` in a notebook.

    See `Client.import_contacts`.
    """
    async with Client(credentials, journal=journal) as client:
        return await client.import_contacts(source, lists=lists, **how)
