"""The runs of one worker: how they begin, are watched, stop, and go on in another worker.

A run belongs to the worker that has it open in the journal. That worker writes a snapshot into the run's folder each
second. A folder whose snapshot says that the run goes on, and does not change, was left by a worker that has ended:
another worker opens the run in the journal then, and has it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from inspect import isawaitable
from typing import Any
from weakref import WeakValueDictionary

from mjbulk.client import Client
from mjbulk.config import Credentials
from mjbulk.errors import Error, ImportHalted, JournalRefused, SourceError, UsageError
from mjbulk.fastapi.folders import Folder, Folders, Terms
from mjbulk.fastapi.live_run import LiveRun
from mjbulk.fastapi.others import OtherRuns
from mjbulk.fastapi.problems import Problem, refusal
from mjbulk.fastapi.receiving import Waits
from mjbulk.journal.info import RunInfo
from mjbulk.journal.protocol import UNDER_WAY
from mjbulk.pool import SessionPool
from mjbulk.run.plan import Plan
from mjbulk.tasks import Running, ended, keep

_TICK = 1.0
"""Seconds between two snapshots of a run in its folder."""
_LOOK = 3.0
"""Seconds between two looks for runs that no worker has."""
_SWEEP = 600.0
"""Seconds between two looks for runs that were kept for long enough."""
_PATIENCE = 20.0
"""Seconds that an upload waits for its judgement; then it is taken, and judged later."""
_KEYS = 3.0
"""Seconds that the keys of a tenant may take when a run of it is to go on; then it is tried again later."""
_AT_ONCE = 4
"""Uploads of one tenant that are judged at once: their first rows are in memory."""
_UNDECIDED = 0.2
"""Seconds between two looks whether another worker has judged an upload."""
_log = logging.getLogger("mjbulk")


class Keeper:
    """The runs of one worker. Mutable state: those that it has, and what it saw of the others."""

    def __init__(
        self,
        pool: SessionPool,
        folders: Folders,
        credentials_of: Callable[[str], Credentials | Awaitable[Credentials]],
        *,
        create_properties: bool,
        keep_for: float,
    ) -> None:
        """Have no run yet."""
        self.folders = folders
        self.waits = Waits()
        self.leaving = asyncio.Event()
        self._pool = pool
        self._credentials_of = credentials_of
        self._create_properties = create_properties
        self._keep_for = keep_for
        self._live: dict[Folder, LiveRun] = {}
        self._judging: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._watching: set[Running[None]] = set()
        self._others = OtherRuns(folders)
        self._rounds: list[Running[None]] = []

    def start(self) -> None:
        """Begin to look after runs."""
        every = {self._write_all: _TICK, self._take_left: _LOOK, self._sweep: _SWEEP}
        self._rounds = [keep(self._again(work, pause), name="mjbulk keeps runs") for work, pause in every.items()]

    async def stop(self) -> None:
        """Stop all runs: each of them can go on in another process."""
        self.leave()
        for work in self._rounds:
            work.cancel()
        await ended(self._rounds)
        await self._pool.aclose()
        await ended(self._watching)

    def leave(self) -> None:
        """Hear that this worker ends."""
        self.leaving.set()
        self.waits.cut()

    async def client_of(self, tenant: str) -> Client:
        """Give the client with a tenant's keys."""
        found = self._credentials_of(tenant)
        return self._pool.client(await found if isawaitable(found) else found)

    # How a run begins

    async def submit(self, incoming: Folder, terms: Terms) -> None:
        """Begin the run of an upload, or find the run that the same upload has begun before.

        Raises Problem if it is refused; then nothing of it is left.
        """
        try:
            client = await self.client_of(terms.tenant)
            await asyncio.to_thread(incoming.write_terms, terms)
            async with self._judging.setdefault(terms.tenant, asyncio.Semaphore(_AT_ONCE)):
                while True:
                    if (folder := await self._claimed(incoming, terms)) is not None:
                        await self._judged(folder, terms, client)
                    if await self._is_there(self.folders.place(terms.tenant, terms.run_id), terms):
                        return
        finally:
            await asyncio.to_thread(self.folders.drop, incoming)

    async def _claimed(self, incoming: Folder, terms: Terms) -> Folder | None:
        try:
            return await asyncio.to_thread(self.folders.claim, incoming, terms.tenant, terms.run_id)
        except FileNotFoundError:  # another worker has taken it, and refused it
            raise Problem(503, "worker.busy", "the upload could not be judged in time: upload the file again") from None

    async def _judged(self, folder: Folder, terms: Terms, client: Client) -> None:
        """Begin a run, and wait for a while until its upload was judged. Raises Problem if it was refused."""
        try:
            live = self._begin(folder, terms, client)
        except Error as why:
            await asyncio.to_thread(self.folders.drop, folder)
            raise refusal(why) from None
        try:
            async with asyncio.timeout(_PATIENCE):
                await asyncio.shield(live.decided)
        except TimeoutError:
            await self._accept(live)

    async def _is_there(self, folder: Folder, terms: Terms) -> bool:
        """Wait until the upload that has this ID was judged, and say whether it was accepted. Raises Problem if it is
        another one.
        """
        end = asyncio.get_running_loop().time() + _PATIENCE
        while True:
            try:
                before = await asyncio.to_thread(folder.read_terms)
            except Problem:
                return False
            if not before.asks_the_same(terms):
                raise Problem(409, "key.used", "this Idempotency-Key came with another upload; nothing was sent")
            if folder.changed_at() is not None or asyncio.get_running_loop().time() > end:
                return True
            await asyncio.sleep(_UNDECIDED)

    def _begin(self, folder: Folder, terms: Terms, client: Client) -> LiveRun:
        """Begin a run, or let it go on. Raises UsageError if its keywords are wrong."""
        run = client.start_import(folder.source(terms), run_id=folder.journal_id, **self._how(terms))
        live = self._live[folder] = LiveRun(folder, terms, run)
        watching = keep(self._watch(live, client), name=f"mjbulk watches {terms.run_id}")
        self._watching.add(watching)
        watching.add_done_callback(self._watching.discard)
        return live

    def _how(self, terms: Terms) -> dict[str, Any]:
        """Give the keywords of an import."""
        names = ("via", "timezone", "date_format", "nulls", "types", "columns")
        how = {name: getattr(terms, name) for name in names}
        return {**how, "lists": {terms.list: terms.action}, "create_properties": self._create_properties}

    # Until its end

    async def _watch(self, live: LiveRun, client: Client) -> None:
        """Take a run to its end."""
        try:
            if await self._is_taken(live, client):
                await self._accept(live)
                await live.run.wait()
                await self._end(live, client)
        except Exception:  # noqa: BLE001  # the folder stays as it is, and a worker finds it later
            _log.warning("a run of an upload could not be watched to its end", exc_info=True)
        finally:
            live.decide()
            del self._live[live.folder]
            live.gone.set()

    async def _is_taken(self, live: LiveRun, client: Client) -> bool:
        """Wait until an upload was judged, and say whether the run is ours. What was refused leaves nothing."""
        try:
            if live.folder.changed_at() is not None:  # it was judged by an earlier process, or before it was stopped
                await live.run.opened()
                if live.run.report is None:  # another worker may have it
                    live.decide()
            await live.run.started()
        except (UsageError, ImportHalted) as why:
            await live.run.wait()
            if isinstance(why, JournalRefused) and why.kind == UNDER_WAY:
                return False  # another worker has it
            refused = isinstance(why, UsageError) or isinstance(why.__cause__, SourceError)
            if refused and live.folder.changed_at() is None:
                await self.delete(live.folder, client)
                live.decide(refusal(why))
                return False
        return True

    async def _accept(self, live: LiveRun) -> None:
        """Write the first snapshot: from now on the run is there."""
        if live.folder.changed_at() is None:
            await asyncio.to_thread(live.folder.write_run, live.snapshot())
        live.decide()

    async def _end(self, live: LiveRun, client: Client) -> None:
        """Write down how a run has ended. What this worker stops when it ends goes on in another one."""
        if self.leaving.is_set() and not (live.run.report is not None and live.run.report.complete):
            return
        await live.write_rejected()
        snapshot = live.snapshot(await self._info(live.folder, client))
        await asyncio.to_thread(live.folder.write_run, snapshot)

    async def _info(self, folder: Folder, client: Client) -> RunInfo | None:
        """Give what the journal knows of a run."""
        try:
            return await client.get_run(folder.journal_id)
        except Error:
            return None

    # What is asked of a run

    async def view(self, folder: Folder) -> Mapping[str, Any]:
        """Give the newest snapshot. Raises Problem if there is no such run."""
        if (live := self._live.get(folder)) is not None and live.accepted:
            return live.snapshot()
        return await asyncio.to_thread(folder.read_run)

    async def views(self, tenant: str) -> list[Mapping[str, Any]]:
        """Give the newest snapshots of a tenant's runs, the newest run first."""
        known = await asyncio.to_thread(self.folders.snapshots, tenant)
        live = {one.terms.run_id: one for one in self._live.values() if one.accepted and one.terms.tenant == tenant}
        return [live[run["run_id"]].snapshot() if run["run_id"] in live else run for run in known]

    async def plan(self, folder: Folder, terms: Terms) -> Plan:
        """Say what an upload would send. Raises what `Client.plan_import` raises."""
        client = await self.client_of(terms.tenant)
        return await client.plan_import(folder.source(terms), **self._how(terms))

    async def halt(self, folder: Folder) -> None:
        """Stop a run, in whichever worker it is."""
        await self.view(folder)
        await asyncio.to_thread(folder.ask_to_stop)
        if (live := self._live.get(folder)) is not None:
            live.run.halt()

    async def resume(self, folder: Folder) -> None:
        """Let a run go on that was stopped or interrupted."""
        terms = await asyncio.to_thread(folder.read_terms)
        settled = (await self.view(folder))["state"] == "settled"
        client = await self.client_of(terms.tenant)
        await asyncio.to_thread(folder.take_back)
        await self._written_down(folder)
        if not settled and folder not in self._live:
            await self._begin(folder, terms, client).run.opened()

    async def _written_down(self, folder: Folder) -> None:
        """Wait while a run of this worker has ended, and its end is not written down yet."""
        live = self._live.get(folder)
        if live is not None and live.run.report is not None:
            await live.gone.wait()

    async def forget(self, folder: Folder) -> None:
        """Delete a run, its upload and its rejected rows. Raises Problem if it is under way."""
        await self.view(folder)
        terms = await asyncio.to_thread(folder.read_terms)
        await self._written_down(folder)
        if folder in self._live:
            raise _under_way()
        await self.delete(folder, await self.client_of(terms.tenant))

    async def delete(self, folder: Folder, client: Client) -> None:
        """Delete a run. Its folder goes first: no worker can begin it again."""
        hidden = await asyncio.to_thread(self.folders.hide, folder)
        try:
            await client.purge_run(folder.journal_id)
        except JournalRefused:
            await asyncio.to_thread(self.folders.show, hidden, folder)
            raise _under_way() from None
        except UsageError:
            pass  # the journal does not have it
        await asyncio.to_thread(self.folders.drop, hidden)

    # From time to time

    async def _again(self, work: Callable[[], Awaitable[None]], pause: float) -> None:
        """Do a piece of work again and again. A failure is told, and tried again."""
        while True:
            try:
                await work()
            except Exception:  # noqa: BLE001  # a full disk, or a database that is away
                _log.warning("runs of uploads could not be looked after", exc_info=True)
            await asyncio.sleep(pause)

    async def _write_all(self) -> None:
        """Write down how far all runs have come, and stop those that another worker was asked to stop."""
        going = [live for live in self._live.values() if live.accepted and live.run.report is None]
        for live in going:
            await live.write_rejected()
        snapshots = {live.folder: live.snapshot() for live in going if live.run.report is None}
        for folder in await asyncio.to_thread(_written, snapshots):
            if folder in self._live:
                self._live[folder].run.halt()

    async def _take_left(self) -> None:
        """Let runs go on that no worker has."""
        for folder in await asyncio.to_thread(self._others.left, set(self._live)):
            await self._one(self._take, folder)

    async def _one(self, work: Callable[[Folder], Awaitable[None]], folder: Folder) -> None:
        """Do something with a run. What is wrong with it, or with the keys of its tenant, stops no other run."""
        try:
            await work(folder)
        except Problem:
            pass  # it was deleted meanwhile, or is under way
        except Exception:  # noqa: BLE001  # a function of the application's may raise anything
            _log.warning("a run of an upload could not be looked after", exc_info=True)

    async def _take(self, folder: Folder) -> None:
        """Let a run go on; one that was to be stopped has ended with its worker."""
        terms = await asyncio.to_thread(folder.read_terms)
        async with asyncio.timeout(_KEYS):  # the runs of other tenants come after this one
            client = await self.client_of(terms.tenant)
        if folder in self._live:
            return
        if not folder.stops:
            self._begin(folder, terms, client)
            return
        info = await self._info(folder, client)
        if info is None or info.state != "running":
            state = "resumable" if info is None else info.state
            known = await asyncio.to_thread(folder.read_run)
            await asyncio.to_thread(folder.write_run, {**known, "state": state})

    async def _sweep(self) -> None:
        """Delete runs that were kept for long enough."""
        for folder in await asyncio.to_thread(self._others.older_than, self._keep_for):
            await self._one(self.forget, folder)


def _written(snapshots: Mapping[Folder, Mapping[str, Any]]) -> list[Folder]:
    """Write snapshots, and give the runs that were asked to stop. It blocks."""
    for folder, snapshot in snapshots.items():
        with suppress(FileNotFoundError):
            folder.write_run(snapshot)
    return [folder for folder in snapshots if folder.stops]


def _under_way() -> Problem:
    return Problem(409, "run.under_way", "the run is under way: stop it first")
