"""The calls about runs: those under way, and those that a journal knows. `mjbulk.Client` inherits them all."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import orjson
from attrs import evolve

from mjbulk.calls import Calls
from mjbulk.discreet import discreet
from mjbulk.errors import JournalRefused, UsageError
from mjbulk.journal.history import History
from mjbulk.journal.info import ChunkInfo, RunInfo, together
from mjbulk.journal.protocol import UNKNOWN, Journal
from mjbulk.journal.records import decode_spec
from mjbulk.likely import did_you_mean
from mjbulk.outcomes.report import Report
from mjbulk.rows.sources import Addresses, Source, reopen, source_of
from mjbulk.run.books import stored_report
from mjbulk.run.run import ImportRun
from mjbulk.run.run_log import ReadLog, RunLog
from mjbulk.run.run_task import Beginning
from mjbulk.tasks import finish
from mjbulk.terms import Resend, RunSpec


class RunCalls(Calls):
    """The calls about runs. Mutable state: the runs under way."""

    def __init__(self, journal: Journal) -> None:
        """Begin without a run."""
        self._journal = journal
        self._runs: dict[ImportRun, None] = {}  # in the order in which they were started

    def _watch_run(self, run: ImportRun) -> ImportRun:
        """Keep a run until it has ended."""
        self._runs[run] = None
        run.when_ended(self._runs.pop)
        return run

    async def _whole(self, run: ImportRun) -> Report:
        """Wait for a run that only this call knows, so that cancelling the wait stops the run."""
        try:
            return await run
        except asyncio.CancelledError:
            await finish(run.stop())
            raise

    def _account(self) -> str:
        return self._ready().owner

    @property
    def active_runs(self) -> Sequence[ImportRun]:
        """The runs of this client that have not ended, in the order in which they were started."""
        return tuple(self._runs)

    # Runs that a journal knows

    @discreet
    async def runs(self, *, ingesters: bool = False) -> AsyncIterator[RunInfo]:
        """Give the runs of this account that are in the journal, the oldest first; those of ingesters on request.

        Raises UsageError without a journal, and JournalError if it cannot be read.
        """
        self._ready()
        for run in await self._journal.runs(self._account()):
            if ingesters or not run.ingester:
                yield run

    @discreet
    async def get_run(self, run_id: str, *, partition: str | None = None) -> RunInfo:
        """Give what the journal knows about a run, or about its part ``partition``; without that, the partitions of a
        run are added up.

        Raises UsageError if the journal has no such run of this account, or no such part of it.
        """
        self._ready()
        parts = await self._journal.runs(self._account(), run_id)
        if not parts:
            raise await self._no_run(run_id)
        if partition is not None:
            parts = [info for info in parts if info.partition == (partition or None)]
            if not parts:
                raise UsageError(f"the journal has no partition {partition!r} of run {run_id!r}")
        return parts[0] if len(parts) == 1 else together(parts)

    @discreet
    async def get_report(
        self,
        run_id: str,
        *,
        partition: str | None = None,
        source: Addresses | None = None,
        rows: bool = False,
    ) -> Report:
        """Give the report of a run that has ended, from the journal; one that stopped early says so in ``halted``.

        Its rejections have no address and no data, because a journal keeps neither. With ``rows`` the source is read
        once more for them, without sending anything: ``source`` if it is given, otherwise the file that the run was
        started with. Every row of such a run has to have its outcome. ``partition`` names a part of the run. Raises
        UsageError if the journal has no such run of this account, and for a run that has not ended; with ``rows`` also
        if there is no source, and JournalRefused if it has changed.
        """
        engine = self._ready()
        known = await self._known(run_id, partition)
        if known.run.kind == "ingester":
            raise UsageError(
                f"run {run_id!r} is that of an ingester: its callers had the outcomes, get_run has the counts"
            )
        infos = await self._journal.runs(engine.owner, run_id)
        if any(info.state == "running" for info in infos if (info.partition or "") == known.run.partition):
            raise UsageError(f"run {run_id!r} is under way, and has no report yet")
        if not known.run.closed:
            raise UsageError(f"the process of run {run_id!r} has ended before the run did: resume it")
        spec = _carefully(decode_spec(known.run.spec))
        if rows or source is not None:
            given = _found(known.run.source) if source is None else source_of(source)
            return await self._whole(self._read_again(known, spec, given))
        log = RunLog(self._journal, known)
        return await stored_report(log, decode_spec(known.run.spec), engine.settings.spool_dir)

    def _read_again(self, known: History, spec: RunSpec, source: Source | None) -> ImportRun:
        """Read the source of a run that has ended, for what the journal does not keep."""
        run_id = known.run.run_id
        if source is None:
            raise UsageError(f"the source of run {run_id!r} is not at hand: give it")

        async def begin() -> Beginning:
            return Beginning(source, spec, ReadLog(self._journal, await self._journal.open_run(known.run)))

        return self._watch_run(ImportRun(run_id, begin, self._ready()))

    async def _known(self, run_id: str, partition: str | None) -> History:
        """Give what the journal knows of a run. Raises UsageError if it has no such run of this account."""
        known = await self._journal.find(run_id, partition or "", self._account())
        if known is None:
            others = [info.partition for info in await self._journal.runs(self._account(), run_id)]
            if not others:
                raise await self._no_run(run_id)
            which = f"it has the partitions {', '.join(map(repr, others))}"
            raise UsageError(f"the journal has no run {run_id!r} of this account as such; {which}")
        return known

    async def _no_run(self, run_id: str) -> UsageError:
        known = [info.run_id for info in await self._journal.runs(self._account())]
        meant = did_you_mean(run_id, known)
        return UsageError(f"the journal has no run {run_id!r} of this account{meant}", kind=UNKNOWN)

    @discreet
    async def run_chunks(self, run_id: str) -> AsyncIterator[ChunkInfo]:
        """Give what the journal knows about the chunks of a run and their jobs, in all its partitions.

        Raises UsageError if the journal has no such run of this account.
        """
        await self.get_run(run_id)
        for info in await self._journal.runs(self._account(), run_id):
            known = await self._journal.find(run_id, info.partition or "", self._account())
            for chunk in known.chunk_infos() if known is not None else ():
                yield chunk

    @discreet
    def resume_import(
        self,
        run_id: str,
        source: Addresses | None = None,
        *,
        partition: str | None = None,
        resend: Resend = "safe",
    ) -> ImportRun:
        """Resume a run that is in the journal, in a task of this client, and give the run.

        The source is read from its beginning: ``source`` if it is given, otherwise the file that the run was started
        with. Without either, known jobs are settled, and other rows stay unsent. ``resend`` says which requests are
        retried after a lost answer; all other keywords are those with which the run was started. A run that has ended
        gives its stored report. If the source has changed, the run stops with JournalRefused. The run of an ingester
        has no source: its known jobs are settled, and nothing is sent. Awaiting the run raises UsageError if the
        journal has no such run of this account, and JournalRefused if another process has it.
        """
        self._ready()
        given = None if source is None else source_of(source)
        return self._resume(run_id, partition, lambda spec: evolve(spec, resend=resend), given)

    @discreet
    async def resume_all(self) -> Sequence[ImportRun]:
        """Resume all ``resumable`` runs of this account, each in a task of this client, and give them.

        Each is resumed as by `resume_import` without a source; a run that was started with ``resend="never"`` keeps
        that. Runs that another process has open are left out. Of ingesters whose process has ended, the jobs are
        settled, and nothing is sent. Raises JournalError.
        """
        return await self._resume_found(await self._journal.runs(self._account()))

    async def _resume_ingesters(self) -> Sequence[ImportRun]:
        """Resume the runs of ingesters whose processes have ended."""
        return await self._resume_found([info async for info in self.runs(ingesters=True) if info.ingester])

    async def _resume_found(self, infos: Sequence[RunInfo]) -> Sequence[ImportRun]:
        found = [info for info in infos if info.state == "resumable"]
        runs = [self._resume(info.run_id, info.partition, _carefully) for info in found]
        for run in runs:
            await run.opened()
        return [run for run, info in zip(runs, found, strict=True) if not await self._is_elsewhere(run, info)]

    async def _is_elsewhere(self, run: ImportRun, known: RunInfo) -> bool:
        """Tell whether a run could not be opened because another process was faster."""
        if run.report is None or not isinstance(run.report.halted, JournalRefused):
            return False
        infos = await self._journal.runs(self._account(), known.run_id)
        return any(info.state == "running" for info in infos if info.partition == known.partition)

    def _resume(
        self,
        run_id: str,
        partition: str | None,
        terms: Callable[[RunSpec], RunSpec],
        source: Source | None = None,
    ) -> ImportRun:
        """Resume a run. ``terms`` gives its terms from those with which it was started."""

        async def begin() -> Beginning:
            known = await self._known(run_id, partition)
            if source is not None and known.run.kind == "ingester":
                raise UsageError(f"run {run_id!r} is that of an ingester, which has no source")
            history = await self._journal.open_run(known.run)
            spec = terms(decode_spec(history.run.spec))
            return Beginning(source or _found(history.run.source), spec, RunLog(self._journal, history))

        return self._watch_run(ImportRun(run_id, begin, self._ready()))

    @discreet
    async def purge_run(self, run_id: str) -> None:
        """Delete a run and all its partitions from the journal.

        Raises UsageError if the journal has no such run of this account, and if the run is under way.
        """
        await self.get_run(run_id)
        for info in await self._journal.runs(self._account(), run_id):
            known = await self._journal.find(run_id, info.partition or "", self._account())
            if known is not None:
                await self._journal.purge(known.run)


def _carefully(spec: RunSpec) -> RunSpec:
    """Give the terms of a run that is resumed without the caller's word for its people."""
    return spec if spec.resend == "never" else evolve(spec, resend="safe")


def _found(location: str) -> Source | None:
    """Make a source of the file that a run was read from; None if there was no file, or if it no longer exists."""
    known = orjson.loads(location) if location else None
    return reopen(known) if known and Path(known["path"]).is_file() else None
