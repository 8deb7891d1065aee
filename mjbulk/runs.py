"""ImportRun: source -> chunks -> submit -> watch -> books -> Report.

One task reads the source, encodes rows and collects them into chunks; each chunk has a task of its own that waits for the
chunks before it that share a person, hands it over, waits for its job and settles its rows. The reader goes on only when there
is room: for a body in memory, and for a job at Mailjet.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import aclosing
from typing import Any

from attrs import define, field

from mjbulk._account import property_problems
from mjbulk._books import Matched, Settlement, settle, worth_another_look
from mjbulk._chunking import Chunk, Chunker
from mjbulk._engine import Engine
from mjbulk._events import Event
from mjbulk._lanes import Lanes
from mjbulk._rows import (
    EMAIL,
    ColumnFault,
    Given,
    Layout,
    RowFault,
    Terms,
    flat,
    key_of,
    layout_of,
    missing_columns,
    property_names,
    refuse_columns,
)
from mjbulk._sources import BadRow, Source
from mjbulk._spill import Place, Spill
from mjbulk._transport import Doubt, GaveUp
from mjbulk._ways import JsonWay, Way
from mjbulk.errors import (
    ApiError,
    CredentialsRefused,
    Error,
    ImportHalted,
    ImportTimeout,
    NoAnswer,
    RowsRejected,
    SourceError,
    UsageError,
)
from mjbulk.jobs import Ended, Watched
from mjbulk.models import Action, JobRef, Match, Progress, Rejection, RunSpec, Unsettled
from mjbulk.report import Ledger, Report

_GRACE = 10.0
"""Seconds that requests under way have to end when a run is stopped."""
_SECOND_LOOKS = (2, 10, 30)
"""Waits before a job whose counts do not agree is looked at again, in units of ``poll_min``: counts lag."""


@define(eq=False)
class _Part:
    """Entries of a chunk that go into one job."""

    places: slice
    doubt: Doubt = field(factory=Doubt)
    job: JobRef | None = None
    watched: Watched | None = None


@define(eq=False)
class _Delivery:
    """A chunk on its way. All of it is mutable, and its own task's."""

    number: int
    span: range
    rows: int
    entries: int
    chunk: Chunk | None
    parts: list[_Part]
    """What has no outcome yet."""
    done: asyncio.Event = field(factory=asyncio.Event)
    submitting: bool = False
    place: Place | None = None


class ImportRun:
    """One import under way: ``await run``, ``await run.wait()``, or ``async for progress in run``.

    Mutable state: the ledger, the deliveries, and what stopped the run.
    """

    def __init__(self, run_id: str, source: Source, spec: RunSpec, engine: Engine) -> None:
        """Made by ``Client.start_import``; it runs at once, in a task of its own."""
        self.run_id = run_id
        """Names the run in its report, its errors and its events."""
        self._spec = spec
        self._engine = engine
        self._source = source
        self._ledger = Ledger()
        self._spill = Spill()
        self._lanes = Lanes()
        self._bodies = asyncio.Semaphore(2 * engine.settings.concurrency)
        self._deliveries: dict[asyncio.Task[None], _Delivery] = {}
        self._unfinished: dict[int, _Delivery] = {}
        self._statuses: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._halted = asyncio.Event()
        self._cause: Exception | None = None
        self._enough: RowsRejected | None = None
        self._last_row = 0
        self._sent_anything = False
        self._began = asyncio.get_running_loop().time()
        self._requests_before = engine.transport.requests
        self._report: Report | None = None
        self._task = asyncio.create_task(self._main(), name=f"mjbulk {run_id}")

    def __repr__(self) -> str:
        return f"<ImportRun {self.run_id} {'ended' if self._task.done() else 'under way'}>"

    # What users call

    @property
    def progress(self) -> Progress:
        """The newest snapshot."""
        seconds = asyncio.get_running_loop().time() - self._began
        settled = self._ledger.settled
        rate = settled / seconds if seconds > 0 else 0.0
        waiting = self._ledger.counts["rows"] - settled
        jobs = dict(self._statuses)
        for part in (part for delivery in self._unfinished.values() for part in delivery.parts):
            if part.job is not None:
                status = part.watched.reply.status if part.watched and part.watched.reply else "Allocated"
                jobs[status] = jobs.get(status, 0) + 1
        return Progress(
            **self._ledger.as_fields(),
            jobs=jobs,
            requests=self._engine.transport.requests - self._requests_before,
            rate=rate,
            eta=waiting / rate if rate else None,
        )

    async def wait(self) -> Report:
        """Wait for the end and give the report, whatever it says; ``report.halted`` tells why it stopped early."""
        await asyncio.shield(self._task)
        return self._ended()

    async def stop(self) -> Report:
        """Stop reading and sending. Requests under way may end; jobs that Mailjet has taken go on there."""
        self._halt(Error("it was stopped"))
        return await self.wait()

    def when_ended(self, call: Callable[["ImportRun"], object]) -> None:
        """Have a function called with this run when it has ended."""
        self._task.add_done_callback(lambda _: call(self))

    def __await__(self) -> Generator[Any, None, Report]:
        return self.result().__await__()

    async def result(self) -> Report:
        """Wait for the end and give the report.

        Raises UsageError where the run was refused before anything was sent, ImportTimeout or ImportHalted where it
        stopped early.
        """
        report = await self.wait()
        if report.halted is None:
            return report
        if isinstance(report.halted, UsageError) and not self._sent_anything:
            raise report.halted
        kind = ImportTimeout if isinstance(self._cause, _Overdue) else ImportHalted
        raise kind(report, self.run_id, why=str(report.halted)) from report.halted

    async def __aiter__(self) -> AsyncIterator[Progress]:
        """Give the newest snapshot whenever something has changed; a slow reader skips, and never slows the run."""
        while not self._task.done():
            changed = self._changed
            yield self.progress
            if not self._task.done() and changed is self._changed:
                await changed.wait()
        yield self.progress

    # The run

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _halt(self, cause: Exception) -> None:
        """Stop reading and sending; the first cause counts."""
        if self._cause is None and not self._task.done():
            self._cause = cause
        self._halted.set()

    def _ended(self) -> Report:
        if self._report is None:
            raise Error("the run ended without a report")
        return self._report

    async def _main(self) -> None:
        self._engine.emit(Event(name="run.started", run_id=self.run_id))
        work = asyncio.create_task(self._work())
        stopped = asyncio.create_task(self._halted.wait())
        try:
            done, _ = await asyncio.wait(
                {work, stopped}, timeout=self._spec.timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                self._halt(_Overdue(f"its timeout of {self._spec.timeout} s ran out"))
        finally:
            await self._wind_up(work, stopped)
        if self._cause is not None and not isinstance(self._cause, Error):
            raise self._cause

    async def _work(self) -> None:
        """Send the whole source and settle it. A fault of the source is kept until what was sent is settled."""
        try:
            way = await self._preflight()
            await self._read(way)
        except (SourceError, RowsRejected) as cause:
            self._cause = self._cause or cause
        except Exception as cause:  # noqa: BLE001  # what it is decides how the run ends, in _main
            self._halt(cause)
            return
        while self._deliveries:
            await asyncio.wait(self._deliveries)

    async def _wind_up(self, work: asyncio.Task[None], stopped: asyncio.Task[Any]) -> None:
        """Let requests under way end, within bounds, stop everything else, and close the books."""
        work.cancel()
        stopped.cancel()
        submitting = [task for task, delivery in self._deliveries.items() if delivery.submitting]
        for task, delivery in list(self._deliveries.items()):
            if not delivery.submitting:
                task.cancel()
        if submitting:
            await asyncio.wait(submitting, timeout=_GRACE)
        tasks = [*self._deliveries, work, stopped]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._spill.close()
        rows = self._ledger.counts["rows"]
        unsent = Unsettled(rows=range(self._last_row + 1, rows + 1), cause=str(self._cause or "it was not sent"))
        self._ledger.leave("not_sent", rows - self._ledger.settled, unsent)
        self._report = self._make_report()
        self._engine.emit(Event(name="run.ended", run_id=self.run_id, rows=self._ledger.counts["rows"]))
        self._notify()

    def _make_report(self) -> Report:
        loop = asyncio.get_running_loop()
        return Report(
            **self._ledger.as_fields(),
            spec=self._spec,
            run_id=self.run_id,
            jobs=tuple(self._ledger.jobs),
            requests=self._engine.transport.requests - self._requests_before,
            seconds=loop.time() - self._began,
            halted=self._cause if isinstance(self._cause, Error) else None,
            rejections=self._ledger.rejections,
            unsettled=tuple(self._ledger.unsettled),
        )

    # Before anything is sent

    async def _preflight(self) -> Way:
        """Ask for properties and lists: wrong keys and unknown lists show here, before anything is sent."""
        try:
            self._properties = await self._engine.account.known_properties()
            lists = await self._engine.account.resolve(self._spec.lists) if self._spec.lists else None
        except ApiError as refusal:
            if refusal.status != 401 or refusal.code:
                raise
            raise CredentialsRefused(401, call=refusal.call, text=refusal.text, advice=refusal.sentence) from None
        self._terms = Terms(
            properties=self._properties, columns=self._spec.columns, nulls=self._spec.nulls, text=self._source.text
        )
        self._layouts: dict[tuple[str, ...], Layout] = {}
        return self._make_way(lists)

    def _make_way(self, lists: list[tuple[int, Action]] | None) -> Way:
        return JsonWay(self._engine.transport, self._engine.settings, self._spec, lists)

    async def _layout(self, names: tuple[str, ...]) -> Layout:
        """Say what stands where in rows with these names; properties that are not there yet are created where that is asked."""
        if self._spec.create_properties:
            types = {name.casefold(): word for name, word in self._spec.types.items()}
            for name in property_problems(property_names(names, self._spec.columns), self._properties):
                made = await self._engine.account.create_property(name, types.get(name.casefold(), "str"))
                self._properties[name.casefold()] = made
        layout = self._layouts[names] = layout_of(names, self._terms)
        return layout

    # Reading

    async def _read(self, way: Way) -> None:
        chunker = Chunker(way.frame, way.limits, way.merge)
        row = 0
        async with aclosing(self._source.batches()) as batches:
            async for batch in batches:
                for given in batch:
                    row += 1
                    self._ledger.read()
                    chunk = await self._take(row, given, way, chunker)
                    if chunk is not None:
                        await self._dispatch(chunk, way)
                await asyncio.sleep(0)
        if row and not self._sent_anything:
            self._check_columns()
        if (chunk := chunker.flush()) is not None:
            await self._dispatch(chunk, way)

    async def _take(self, row: int, given: Given | BadRow, way: Way, chunker: Chunker) -> Chunk | None:
        """Encode a row and put it into the chunk; a row that cannot be sent is rejected by its number."""
        try:
            if isinstance(given, BadRow):
                raise given.fault  # noqa: TRY301  # a malformed row ends where any other refused row does
            flat_row = given
            layout = self._layouts.get(given.names) or await self._layout(given.names)
            if layout.nested is not None:
                flat_row = flat(given, layout.nested)
                layout = self._layouts.get(flat_row.names) or await self._layout(flat_row.names)
            address, encoded = way.encode(flat_row, layout)
            return chunker.add(row, address, encoded, given)
        except ColumnFault as fault:
            if not self._sent_anything:
                raise refuse_columns(fault) from None
            self._refuse(row, given, fault)
        except RowFault as fault:
            self._refuse(row, given, fault)
        return None

    def _refuse(self, row: int, given: Given | BadRow, fault: RowFault) -> None:
        whole = given.given if isinstance(given, BadRow) else given
        data = whole.as_dict() if whole else None
        address = _address_in(data)
        self._ledger.reject(
            Rejection(row=row, email=address, field=fault.field, message=fault.message, origin="mjbulk", data=data)
        )
        self._check_rejected()

    def _check_rejected(self) -> None:
        """Stop reading where more rows were rejected than the caller allows; what was sent is settled."""
        allowed = self._spec.max_rejected
        if allowed is not None and self._ledger.counts["rejected"] > allowed and self._enough is None:
            self._enough = RowsRejected(self._make_report(), allowed=allowed)

    def _check_columns(self) -> None:
        """Refuse the run where no row so far has an address, or where a column that was picked is in none."""
        names = {name for layout_names in self._layouts for name in layout_names}
        if missing := missing_columns(sorted(names), self._spec.columns):
            raise UsageError(f"columns= picks {missing[0]!r}, which the source does not have")
        if self._layouts and all(layout.email is None and layout.nested is None for layout in self._layouts.values()):
            raise UsageError("the source has no column 'email'; columns= can name the one that it is")

    async def _dispatch(self, chunk: Chunk, way: Way) -> None:
        """Wait for room, and give a chunk to a task of its own."""
        if self._enough is not None:
            raise self._enough
        if not self._sent_anything:
            self._check_columns()
        entries = len(chunk.encoded)
        await self._bodies.acquire()
        await self._engine.slots.acquire(entries)
        self._sent_anything = True
        self._last_row = chunk.rows[-1]
        blockers = self._lanes.enter(chunk.number, map(key_of, chunk.addresses))
        delivery = _Delivery(chunk.number, chunk.span, len(chunk.rows), entries, chunk, [_Part(slice(0, entries))])
        self._unfinished[chunk.number] = delivery
        waits = [self._unfinished[number].done for number in sorted(blockers)]
        task = asyncio.create_task(self._deliver(delivery, way, waits))
        self._deliveries[task] = delivery
        task.add_done_callback(self._delivered)

    # One chunk

    async def _deliver(self, delivery: _Delivery, way: Way, waits: list[asyncio.Event]) -> None:
        for done in waits:
            await done.wait()
        delivery.submitting = True
        await self._submit(delivery, way)
        delivery.submitting = False
        for part in list(delivery.parts):
            await self._settle(delivery, part)

    async def _submit(self, delivery: _Delivery, way: Way) -> None:
        """Hand a chunk over, in halves of halves where Mailjet refuses the whole for a row in it."""
        chunk = delivery.chunk
        if chunk is None:
            return
        pending = list(delivery.parts)
        refused_in_a_row = 0
        while pending:
            part = pending.pop(0)
            try:
                part.job = await way.submit(chunk, part.places, part.doubt)
            except ApiError as refusal:
                refused_in_a_row += 1
                if refusal.status not in (400, 413) or refused_in_a_row > 2 * delivery.entries.bit_length() + 8:
                    raise
                pending[:0] = self._split(delivery, part, refusal)
            except GaveUp:
                raise
            except NoAnswer as lost:
                self._leave(delivery, part, "unknown", str(lost))
            else:
                refused_in_a_row = 0
                self._ledger.jobs.append(part.job)
                self._engine.emit(Event(name="chunk.sent", run_id=self.run_id, chunk=delivery.number, job=part.job))
        self._put_aside(delivery, chunk)

    def _split(self, delivery: _Delivery, part: _Part, refusal: ApiError) -> list[_Part]:
        """Halve a part that was refused; a single row is rejected."""
        first, end = part.places.start, part.places.stop
        if part.doubt.sent:
            self._leave(delivery, part, "unknown", f"{refusal}, after an answer that was lost")
            return []
        if end - first == 1:
            self._reject_entry(delivery, first, refusal.text or str(refusal), None, "exact")
            delivery.parts.remove(part)
            return []
        middle = (first + end) // 2
        halves = [_Part(slice(first, middle)), _Part(slice(middle, end))]
        at = delivery.parts.index(part)
        delivery.parts[at : at + 1] = halves
        return halves

    def _put_aside(self, delivery: _Delivery, chunk: Chunk) -> None:
        """Move the rows of a chunk out of memory until its jobs have ended."""
        given = [(row.names, row.values) for row in chunk.given]
        delivery.place = self._spill.put((chunk.rows, chunk.entry_of, chunk.addresses, given))
        delivery.chunk = None
        self._bodies.release()

    async def _settle(self, delivery: _Delivery, part: _Part) -> None:
        """Wait for a job's end and post its rows."""
        if part.job is None:
            return
        watched = self._engine.scheduler.watched(part.job, part.places.stop - part.places.start, new=True)
        part.watched = watched
        try:
            ended = await self._engine.scheduler.end_of(watched)
            settlement = self._judge(delivery, part, ended)
            for units in _SECOND_LOOKS:
                if not worth_another_look(ended.reply, settlement):
                    break
                await asyncio.sleep(units * self._engine.settings.poll_min)
                ended = await self._engine.scheduler.look_again(part.job)
                settlement = self._judge(delivery, part, ended)
        except ApiError as refusal:
            if refusal.status != 404:
                raise
            self._leave(delivery, part, "unknown", "Mailjet does not know the job any more")
            return
        self._statuses[ended.reply.status] = self._statuses.get(ended.reply.status, 0) + 1
        self._post(delivery, part, settlement)
        self._check_rejected()
        self._notify()

    def _judge(self, delivery: _Delivery, part: _Part, ended: Ended) -> Settlement:
        named = bool(ended.file and ended.file.entries)
        addresses = self._rows_of(delivery)[2][part.places] if named else ()
        sent = part.places.stop - part.places.start
        return settle(ended.reply, ended.file, addresses, sent=sent, on_mismatch=self._spec.on_mismatch)

    def _rows_of(self, delivery: _Delivery) -> tuple[list[int], list[int], list[str], list[Any]]:
        """Give row numbers, their entries, the entries' addresses, and the rows as they were given."""
        if delivery.chunk is not None:
            chunk = delivery.chunk
            return chunk.rows, chunk.entry_of, chunk.addresses, [(row.names, row.values) for row in chunk.given]
        return self._spill.get(delivery.place)  # type: ignore[arg-type, no-any-return]  # it is there once the chunk is not

    def _post(self, delivery: _Delivery, part: _Part, settlement: Settlement) -> None:
        """Give every row of a part its outcome."""
        first = part.places.start
        for place, matched in settlement.rejected.items():
            error = matched.error
            self._reject_entry(delivery, first + place, error.message, error.field, matched.match)
        for matched in settlement.loose:
            self._note(delivery, part, matched)
        left, entries = self._left(delivery, part, settlement)
        if settlement.cause is not None:
            why = Unsettled(rows=self._span(delivery, part), cause=settlement.cause, job=part.job)
            self._ledger.leave("unknown", left, why)
        else:
            self._ledger.accept(entries, left - entries)
        if settlement.note is not None:
            self._ledger.unsettled.append(
                Unsettled(rows=self._span(delivery, part), cause=settlement.note, job=part.job)
            )
        delivery.parts.remove(part)
        self._engine.emit(Event(name="chunk.settled", run_id=self.run_id, chunk=delivery.number, job=part.job))

    def _left(self, delivery: _Delivery, part: _Part, settlement: Settlement | None) -> tuple[int, int]:
        """Count the rows and the entries of a part that are not rejected."""
        first, end = part.places.start, part.places.stop
        rejected = {first + place for place in settlement.rejected} if settlement else set()
        if not rejected and end - first == delivery.entries:
            return delivery.rows, delivery.entries
        entry_of = self._rows_of(delivery)[1]
        return sum(first <= place < end and place not in rejected for place in entry_of), end - first - len(rejected)

    def _span(self, delivery: _Delivery, part: _Part) -> range:
        if part.places.stop - part.places.start == delivery.entries:
            return delivery.span
        rows, entry_of, *_ = self._rows_of(delivery)
        mine = [row for row, place in zip(rows, entry_of, strict=True) if part.places.start <= place < part.places.stop]
        return range(mine[0], mine[-1] + 1)

    def _reject_entry(self, delivery: _Delivery, place: int, message: str, blamed: str | None, match: Match) -> None:
        """Reject a row, and with it the earlier rows of the same person that were merged into it."""
        rows, entry_of, addresses, given = self._rows_of(delivery)
        for row, its_place, (names, values) in zip(rows, entry_of, given, strict=True):
            if its_place == place:
                data = Given(names, values).as_dict()
                self._ledger.reject(
                    Rejection(row=row, email=addresses[place], field=blamed, message=message, match=match, data=data)
                )

    def _note(self, delivery: _Delivery, part: _Part, matched: Matched) -> None:
        """Keep an error that means no row for certain."""
        rows, entry_of, *_ = self._rows_of(delivery)
        wanted = {part.places.start + place for place in matched.places}
        candidates = tuple(row for row, place in zip(rows, entry_of, strict=True) if place in wanted)
        error = matched.error
        self._ledger.note(
            Rejection(
                row=None,
                candidates=candidates,
                email=error.email,
                field=error.field,
                message=error.message,
                match=matched.match,
            )
        )

    def _leave(self, delivery: _Delivery, part: _Part, outcome: str, cause: str) -> None:
        rows, _ = self._left(delivery, part, None)
        self._ledger.leave(outcome, rows, Unsettled(rows=self._span(delivery, part), cause=cause, job=part.job))
        delivery.parts.remove(part)

    def _delivered(self, task: asyncio.Task[None]) -> None:
        """Close a chunk, also one whose task was cancelled before it began."""
        delivery = self._deliveries.pop(task)
        failure = None if task.cancelled() else task.exception()
        if isinstance(failure, Exception):
            self._halt(failure)
        why = str(self._cause) if isinstance(self._cause, Error) else "the run was cancelled"
        for part in list(delivery.parts):
            if part.job is not None:
                self._leave(delivery, part, "unknown", f"its job was not watched to its end: {why}")
            else:
                self._leave(delivery, part, "unknown" if part.doubt.sent else "not_sent", why)
        if delivery.chunk is not None:
            delivery.chunk = None
            self._bodies.release()
        if delivery.place is not None:
            self._spill.drop(delivery.place)
        self._lanes.leave(delivery.number)
        del self._unfinished[delivery.number]
        self._engine.slots.release(delivery.entries)
        delivery.done.set()
        self._notify()


class _Overdue(Error):
    """The timeout of a run ran out."""


def _address_in(data: dict[str, Any] | None) -> str | None:
    """Find the address in a row as it was given, for its rejection."""
    return next(
        (value for name, value in (data or {}).items() if name.casefold() == EMAIL and isinstance(value, str)), None
    )
