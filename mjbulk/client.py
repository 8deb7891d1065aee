"""Client: the facade. It owns watchers, runs and their end."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self, Unpack

import orjson
from attrs import evolve

from mjbulk._engine import Engine, open_journal
from mjbulk._events import Hook
from mjbulk._exchange import SinkFailed
from mjbulk._files import Path_
from mjbulk._quota import Quota
from mjbulk._rejects import whole_or_not_at_all
from mjbulk._rows import Terms, encode, flat, given, layout_of
from mjbulk._runlog import RunLog
from mjbulk._sources import Addresses, Rows, Source, numbered_source, reopen, source_of
from mjbulk._values import RowFault, check_address
from mjbulk._verdict import harmless_again
from mjbulk._ways import JsonWay, Passage
from mjbulk._wire import (
    abort_request,
    batchjob_request,
    contact_request,
    csvimport_request,
    decode_batchjob,
    decode_contact,
    decode_data_id,
    decode_job,
    decode_job_id,
    error_file_request,
    exclude_request,
    job_request,
    list_contacts_frame,
    list_contacts_request,
    subscribe_request,
    upload_request,
)
from mjbulk.config import Assumptions, Credentials, Settings
from mjbulk.errors import ApiError, UsageError
from mjbulk.jobs import JobWatcher, job_of
from mjbulk.journal import Journal, RunInfo, RunRecord, decode_spec, encode_spec, fingerprint, number_of, together
from mjbulk.models import (
    Action,
    ActionLike,
    ContactInfo,
    ContactsList,
    Datatype,
    ImportOptions,
    Job,
    JobRef,
    ListActions,
    ListRef,
    Property,
    Rejection,
    Resend,
    Row,
    RunKeywords,
    RunSpec,
    Subscription,
    action_of,
    check_method,
    list_actions,
    list_ref,
    repair_spec,
)
from mjbulk.plan import Plan, make_plan
from mjbulk.report import Report, by_row
from mjbulk.runs import Beginning, ImportRun


class Client:
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
        run_id, partition = how.get("run_id") or uuid.uuid4().hex[:12], how.get("partition") or ""
        asked = RunRecord(
            run=number_of(run_id, partition),
            run_id=run_id,
            partition=partition,
            account=self._account(),
            spec=encode_spec(spec),
            source=orjson.dumps(rows.place).decode() if rows.place else "",
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
        return fingerprint(self._credentials.public)

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

        ``fix`` gets each rejection whose row is known, and gives the row as it should have been (with the columns of
        the source), or None to leave it. Nothing else is sent again. The report is of the mended rows alone.

        A repair comes after people had time to leave. Unless the run was made with ``resend="always"``, ``addforce``
        goes out as ``addnoforce`` here: it adds whoever is new, and leaves alone whoever has unsubscribed; and rows of
        `include_contacts` are refused with a UsageError.
        """
        spec = repair_spec(report.spec)
        known = by_row(report.rejections)
        first = await asyncio.to_thread(next, known, None)  # millions of them are sorted before the first is given
        begun = known if first is None else chain([first], known)
        mended = ((r.row or 0, row) for r in begun if r.data is not None and (row := fix(r)) is not None)
        return await self._whole(self._start(numbered_source(mended), spec, {}))

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
                raise UsageError(f"the journal has no run {run_id!r} of this account")
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

    # One request, one job

    async def submit_contacts(self, contacts: Iterable[Row], *, lists: ListActions | None) -> JobWatcher:
        """POST contact/managemanycontacts once, and give the watcher of its job.

        Values are sent as they are. Raises UsageError where a row cannot be sent, ApiError, NoAnswer (``sent`` tells
        whether it may have been applied: it is sent again by itself only where twice does no harm).
        """
        engine = self._ready()
        pairs = list_actions(lists)
        if pairs is not None and any(isinstance(ref, str) for ref, _ in pairs):
            pairs = tuple(await engine.account.resolve(pairs))
        resolved = [(int(ref), action) for ref, action in pairs or ()]
        way = JsonWay(engine.transport, self._settings, RunSpec(lists=pairs), resolved)
        rows = _encoded(contacts)
        ref = await way.submit(way.frame.body(rows), Passage())
        return JobWatcher(ref, engine.scheduler, len(rows), new=True)

    async def submit_list_contacts(
        self, list_id: ListRef, contacts: Iterable[Row], *, action: ActionLike
    ) -> JobWatcher:
        """POST contactslist/{ID}/managemanycontacts once, and give the watcher of its job. See `submit_contacts`."""
        engine = self._ready()
        word = action_of(action)
        number = await self._list_id(list_id)
        rows = _encoded(contacts)
        excludes = any(b'"IsExcludedFromCampaigns":' in row for row in rows)
        job_id = await engine.transport.send(
            list_contacts_request(number, list_contacts_frame(word).body(rows)),
            decode_job_id,
            harmless=harmless_again([word], excludes=excludes, resend="safe"),
        )
        return JobWatcher(JobRef("contactslist", job_id, number), engine.scheduler, len(rows), new=True)

    async def upload_csvdata(self, list_id: ListRef, data: bytes) -> int:
        """Upload CSV text under a list, and give its DataID. It has no effect until `submit_csvimport` names it."""
        request = upload_request(await self._list_id(list_id), data)
        return await self._ready().transport.send(request, decode_data_id, harmless=True)

    async def submit_csvimport(
        self,
        data_id: int,
        *,
        list_id: ListRef | None = None,
        method: ActionLike | Literal["excludemarketing", "includemarketing"],
        import_options: ImportOptions | None = None,
        error_threshold: int | None = None,
    ) -> JobWatcher:
        """POST csvimport for uploaded data, and give the watcher of its job.

        ``excludemarketing`` and ``includemarketing`` take no list. ``error_threshold`` is how many errors end the job
        (Mailjet's ErrTreshold, at most 32767). Raises NoAnswer with ``sent=True`` where the answer was lost: it is not
        sent again by itself.
        """
        engine = self._ready()
        word = check_method(method, has_list=list_id is not None)
        if error_threshold is not None and not 0 <= error_threshold <= 32767:
            raise UsageError("error_threshold is a number of 0 to 32767")
        number = None if list_id is None else await self._list_id(list_id)
        request = csvimport_request(
            data_id, method=word, list_id=number, options=import_options, error_threshold=error_threshold
        )
        job_id = await engine.transport.send(request, decode_job_id, harmless=False)
        return JobWatcher(JobRef("csvimport", job_id), engine.scheduler, new=True)

    async def abort_csvimport(self, job: JobRef | int) -> Job:
        """Abort a csvimport, and give the job as it then stands. Rows that it has imported stay.

        Raises ApiError where Mailjet refuses, as for a job that has ended.
        """
        job_id = job.id if isinstance(job, JobRef) else job
        if isinstance(job, JobRef) and job.kind != "csvimport":
            raise UsageError("only a csvimport can be aborted")
        send = self._ready().transport.send
        await send(abort_request(job_id), bytes, harmless=True)
        ref = JobRef("csvimport", job_id)
        return job_of(ref, await send(job_request(ref), decode_job), None)

    async def batchjob(self, job_id: int) -> Mapping[str, Any]:
        """Give a batchjob as Mailjet shows it: its fields are not documented, its times are Unix seconds."""
        return await self._ready().transport.send(batchjob_request(job_id), decode_batchjob)

    async def save_error_file(self, job: JobRef | str, path: str | os.PathLike[str]) -> int:
        """Write the error file of a job as Mailjet gives it, and give its size in bytes.

        It is streamed into a file beside ``path``, readable for its owner alone, that takes its name when it is whole.
        Raises ApiError with status 404 where the job has none, OSError where it cannot be written.
        """
        ref = JobRef.parse(job) if isinstance(job, str) else job
        send = self._ready().transport.send
        with whole_or_not_at_all(Path(path)) as file:
            try:
                await send(error_file_request(ref), bytes, max_reply=float("inf"), sink=file)
            except SinkFailed as failed:
                raise failed.why from None
            return file.tell()

    def watch(self, job: JobRef | str) -> JobWatcher:
        """Watch any job: a `JobRef`, or its text (``contactslist:42/113``). Raises UsageError for what is none."""
        ref = JobRef.parse(job) if isinstance(job, str) else job
        return JobWatcher(ref, self._ready().scheduler)

    async def _list_id(self, ref: ListRef) -> int:
        known = list_ref(ref)
        if isinstance(known, int):
            return known
        return (await self._ready().account.resolve([(known, Action.ADDNOFORCE)]))[0][0]

    # One contact

    async def set_excluded(self, contact: str | int, *, excluded: bool) -> ContactInfo:
        """Put a contact (address or ID) on the exclusion list, or take it off, and give the contact.

        Raises ApiError with status 404 where there is no such contact.
        """
        send = self._ready().transport.send
        who = _who(contact)
        changed = await send(exclude_request(who, excluded=excluded), decode_contact)
        found = changed or await send(contact_request(who), decode_contact)
        if found is None:
            raise ApiError(304, call="GET contact", advice="it shows no contact")
        return found

    async def subscriptions(self, contact: str | int) -> AsyncIterator[Subscription]:
        """Give the lists that a contact (address or ID) is on. Raises ApiError with status 404 where there is none."""
        async for one in self._ready().account.subscriptions(_who(contact)):
            yield one

    async def update_subscriptions(self, contact: str | int, lists: ListActions) -> Sequence[Subscription]:
        """Do an action for each list, and give the subscriptions of these lists as they then are.

        Raises ApiError: 404 where there is no such contact; 400 where a list is wrong, with what Mailjet says of each
        in ``error.lists``.
        """
        engine = self._ready()
        pairs = list_actions(lists) or ()
        if any(isinstance(ref, str) for ref, _ in pairs):
            pairs = tuple(await engine.account.resolve(pairs))
        actions = [(int(ref), action) for ref, action in pairs]
        harmless = harmless_again([action for _, action in actions], excludes=False, resend="safe")
        await engine.transport.send(subscribe_request(_who(contact), actions), bytes, harmless=harmless)
        named = dict(actions)
        return [one async for one in self.subscriptions(contact) if one.list_id in named]

    # The account

    def lists(self) -> AsyncIterator[ContactsList]:
        """Give the lists of the account, all pages of them."""
        return self._ready().account.lists()

    async def create_list(self, name: str) -> ContactsList:
        """Create a list."""
        return await self._ready().account.create_list(name)

    def properties(self) -> AsyncIterator[Property]:
        """Give the contact properties of the account, all pages of them."""
        return self._ready().account.properties()

    async def create_property(
        self, name: str, datatype: Datatype, *, namespace: Literal["static", "historic"] = "static"
    ) -> Property:
        """Create a contact property."""
        return await self._ready().account.create_property(name, datatype, namespace)


def _found(place: str) -> Source | None:
    """Find the file that a run was read from, where it is still there."""
    known = orjson.loads(place) if place else None
    return reopen(known) if known and Path(known["path"]).is_file() else None


def _who(contact: str | int) -> str | int:
    """Check what names a contact. Raises UsageError."""
    if isinstance(contact, int) and not isinstance(contact, bool) and contact > 0:
        return contact
    try:
        return check_address(contact)
    except RowFault:
        raise UsageError("a contact is named by its address, or by its ID") from None


def _encoded(contacts: Iterable[Row]) -> list[bytes]:
    """Encode the rows of a single request; one that cannot be sent refuses it."""
    terms = Terms(properties=None)
    encoded = []
    for number, contact in enumerate(contacts, 1):
        try:
            row = given(contact)
            layout = layout_of(row.names, terms)
            if layout.nested is not None:
                row = flat(row, layout.nested)
                layout = layout_of(row.names, terms)
            encoded.append(encode(layout.contact(row.values)))
        except RowFault as fault:
            where = f", column {fault.field!r}" if fault.field else ""
            raise UsageError(f"row {number}{where}: {fault.message}") from None
    if not encoded:
        raise UsageError("there are no contacts")
    return encoded


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
