"""Which chunk goes when: a chunk is written down when it is cut, waits in a queue, and is begun when there is room.

Chunks of an earlier process are found again first. Their known jobs are watched at once; what is still to be sent waits
until all are found unchanged, and then for the chunks that share a person with it.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from mjbulk.chunks.builder import Rules
from mjbulk.chunks.chunk import Chunk
from mjbulk.chunks.chunker import REPLAY, Chunker
from mjbulk.chunks.replay import SourceChanged
from mjbulk.errors import Error
from mjbulk.jobs.watched_job import WatchedJob
from mjbulk.journal.records import ChunkRecord, PartRecord
from mjbulk.run.chunk import ChunkInFlight
from mjbulk.run.chunk_queue import ChunkQueue, WaitingChunk
from mjbulk.run.context import RunContext
from mjbulk.run.found_chunks import FoundChunks
from mjbulk.run.living import LivingChunks
from mjbulk.run.reader import EncodedRows
from mjbulk.run.senders import Sender
from mjbulk.tasks import ended, reported

_HELD_BYTES = 16 * 2**20
"""Bytes of memory that held rows may take; then the source waits."""


class Pipeline:
    """The chunks of one run.

    Mutable state, all of it: the chunker; the queue of chunks that wait; those that live;
    those that were left in doubt; recorded chunks until all of them are found; and whether nothing more is begun.
    """

    def __init__(
        self,
        context: RunContext,
        commit: Callable[[], object],
        *,
        failed: Callable[[BaseException], object],
        ended: Callable[[], object],
        why: Callable[[], str],
        may_begin: Callable[[], bool] = lambda: True,
        new_chunker: Callable[[Rules], Chunker] | None = None,
    ) -> None:
        """Begin with no chunk. ``commit`` is called before a chunk is taken, and may refuse the source. ``failed`` is
        called with faults that are of no row, ``ended`` when a chunk has ended; ``why`` gives what ended the run.
        ``may_begin`` says whether one more chunk may be sent, ``new_chunker`` makes the chunker.
        """
        self.sent_anything = False
        """Whether a chunk was begun."""
        self._context = context
        self._commit = commit
        self._failed = failed
        self._ended = ended
        self._why = why
        self._may_begin = may_begin
        self._new_chunker = new_chunker or self._chunker_of_source
        most_bodies = context.engine.settings.concurrency + 2  # the next ones are ready when an answer comes
        self._queue = ChunkQueue(context.engine.slots, most_bodies, has_slot=self._has_slot)
        self._chunker: Chunker | None = None
        self._sender: Sender | None = None
        self._arriving = (1, 0)
        self._living = LivingChunks()
        self._found = FoundChunks()
        self._doubts: dict[int, list[PartRecord]] = {}  # parts that were left in doubt, by their chunks
        self._closed = False
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        living, waiting = len(self._living), len(self._queue)
        return f"<Pipeline: {living} chunks under way, {waiting} wait, {self.held_rows} rows are held>"

    # What goes in

    def arrive(self, first: int, last: int) -> None:
        """Hear that these rows of the source come next."""
        self._arriving = (first, last)
        if self._chunker is not None:
            self._chunker.arrive(first, last)

    def is_new(self, row: int) -> bool:
        """Say whether a row that has arrived was in no chunk of an earlier process."""
        if self._chunker is not None:
            return self._chunker.is_new(row)
        return row > max((chunk.last for chunk in self._context.log.history.chunks.values()), default=0)

    def add(self, rows: EncodedRows, rules: Rules, sender: Sender) -> None:
        """Take rows, and begin what can begin. Raises JournalRefused if the source is not what it was."""
        if self._chunker is None:
            self._chunker, self._sender = self._new_chunker(rules), sender
            self._chunker.arrive(*self._arriving)
        with self._context.log.refusing_changes():
            self._chunker.add(rows.numbers, rows.addresses, rows.encoded, rows.block)
        self._collect()

    def _chunker_of_source(self, rules: Rules) -> Chunker:
        return Chunker(rules, self._context.held, self._context.log.recorded())

    async def passed(self, row: int) -> None:
        """Hear that all rows up to this one have been taken."""
        if self._chunker is None or not self._chunker.replaying:
            return
        with self._context.log.refusing_changes():
            self._chunker.passed(row)
        while self._chunker.found:
            await self._find(self._chunker.found.popleft(), self._chunker)
        if not self._chunker.replaying:
            self._begin_found(self._chunker)

    def cut(self) -> None:
        """Cut the open chunk, full or not."""
        if self._chunker is not None:
            self._chunker.cut_open()
        self._collect()

    @property
    def open_rows(self) -> int:
        """How many rows are in the chunk that is being filled."""
        return self._chunker.open_rows if self._chunker is not None else 0

    @property
    def begun(self) -> int:
        """How many chunks were begun and have not ended."""
        return len(self._living)

    @property
    def unfinished(self) -> int:
        """How many chunks were cut and have not ended."""
        return len(self._living) + len(self._queue)

    async def room(self) -> None:
        """Wait until more rows may be read."""
        while not self.over and self._full():
            await self._change()

    def end(self) -> None:
        """Hear that the source has ended. Raises JournalRefused if chunks of before were not found again."""
        chunker = self._chunker
        with self._context.log.refusing_changes():
            if chunker is not None:
                chunker.check_found()
            elif recorded := self._context.log.recorded():
                raise SourceChanged(recorded[0].first, recorded[-1].last)
        if chunker is not None:
            chunker.end()
            self._collect()

    async def all_cut(self) -> None:
        """Wait until every row is in a chunk that was cut, or nothing more is begun."""
        while not self.over and self._chunker is not None and not self._chunker.all_cut:
            await self._change()

    async def take_known(self, record: ChunkRecord) -> None:
        """Settle what is known of a chunk without its rows."""
        chunk = ChunkInFlight.of_record(record, self._context.log.parts_of(record.number), self._context)
        if await self._replayed(chunk):
            self._queue.hold(chunk)
            self._begin(chunk)

    async def done(self) -> None:
        """Wait until every chunk has ended that has begun, or may begin."""
        while self.unfinished:
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._context.notify()

    # What can be seen

    @property
    def over(self) -> bool:
        """Whether nothing more is begun."""
        return self._closed or self._context.stopping

    @property
    def held_rows(self) -> int:
        """How many rows wait for a job with an earlier row of their person."""
        return self._chunker.held_rows if self._chunker is not None else 0

    @property
    def room_waits_for(self) -> str:
        """What room for more chunks waits for."""
        return self._queue.waits_for or "jobs with earlier rows of the same people"

    @property
    def waits_for_jobs(self) -> bool:
        """Whether jobs are under way, and nothing can be sent before one of them ends."""
        return self._queue.idle and self._living.wait_for_jobs

    def jobs(self) -> Iterator[WatchedJob]:
        """Give the jobs under watch."""
        return self._living.jobs()

    def statuses(self) -> dict[str, int]:
        """Give how many jobs are in which status."""
        return self._context.statuses_with(self.words())

    def words(self) -> Iterator[str]:
        """Give the status of each job that has not ended."""
        return self._living.statuses()

    # Its end

    def close(self) -> None:
        """Begin nothing more: what was begun goes on to its end, and the rest is not sent."""
        self._closed = True
        for chunk in [*self._queue.clear(), *self._found.take()]:
            if chunk in self._living:
                chunk.withhold()
            else:
                self._close(chunk)
        self._wake()

    def halt(self) -> None:
        """Do nothing more: requests under way may end."""
        self._context.stopping = True
        self._queue.ask_no_more()
        self._wake()

    async def stop(self, within: float) -> None:
        """Let requests under way end, within this many seconds, and stop everything else."""
        self.halt()
        tasks = self._living.tasks
        try:
            await self._living.stop(within)
        finally:
            self.close()
            try:
                await ended(tasks)
            finally:
                for chunk in self._living.unbegun():
                    self._end(chunk, None)

    def _close(self, chunk: ChunkInFlight) -> None:
        with reported(self._failed):  # whatever it is, the run must not look whole
            chunk.close(self._why())
            self._context.log.fold(chunk.number, chunk.counts)

    # The decision

    def advance(self) -> None:
        """Send what can be sent now. It is called after each event."""
        while not self.over and self._may_begin() and (waiting := self._queue.next()) is not None:
            self._send(waiting)

    def _has_slot(self) -> None:
        with reported(self._failed):
            self.advance()
        self._wake()

    def _full(self) -> bool:
        """Say whether the source has to wait: for chunks that were cut, or for what is held."""
        chunker = self._chunker
        if chunker is None or chunker.replaying:
            return False
        if len(self._queue):
            return True
        left = self._context.engine.settings.max_rows - self._queue.entries - chunker.held_entries
        if left > 0 and chunker.held_bytes < _HELD_BYTES:
            return False
        if not self._living:
            self.cut()  # nothing is in flight whose end would let anything go
        return self.unfinished > 0

    # Chunks

    def _collect(self) -> None:
        """Take the chunks that were cut. Raises OSError if their rows cannot be written to the spill."""
        chunker, log = self._chunker, self._context.log
        while chunker is not None and chunker.cut:
            self._commit()
            chunk = chunker.cut[0]
            waiting = WaitingChunk(self._made(chunk, log.write_chunk(chunk)), overtakes=chunk.overtaken)
            chunker.cut.popleft()
            self._queue.add(waiting)
        self.advance()

    def _made(self, chunk: Chunk, records: Sequence[PartRecord]) -> ChunkInFlight:
        if self._sender is None:
            raise RuntimeError("chunks come after rows")
        return ChunkInFlight.of_rows(chunk, records, self._sender, self._context)

    async def _find(self, chunk: Chunk, chunker: Chunker) -> None:
        """Take a chunk of before: post what is known of it, and watch its known jobs."""
        found = self._made(chunk, self._context.log.parts_of(chunk.number))
        if not await self._replayed(found):
            return
        self._found.add(found, chunk.people)
        found.spill_body()
        chunker.unfinished.add(chunk.number)
        if not found.known_jobs_ended:
            self._queue.hold(found)
            self._begin(found)

    async def _replayed(self, chunk: ChunkInFlight) -> bool:
        """Post what the journal knows of a chunk, and say whether anything is left to be done with it."""
        try:
            await chunk.replay()
        except BaseException:
            self._close(chunk)
            raise
        if chunk.over:
            self._close(chunk)
        return not chunk.over

    def _begin_found(self, chunker: Chunker) -> None:
        """Queue what has to be sent of the chunks of before."""
        for waiting in self._found.to_be_sent(chunker):
            self._queue.add(waiting)
        chunker.free(REPLAY)
        self._collect()

    def _send(self, waiting: WaitingChunk) -> None:
        """Let a chunk be submitted. That it overtakes what is in doubt is written with the intent to send it."""
        chunk = waiting.chunk
        for number in waiting.overtakes & self._doubts.keys():
            for record in self._doubts.pop(number):
                self._context.log.overtake(record)
            if self._chunker is not None:
                self._chunker.forget(number)
        self.sent_anything = True
        chunk.may_send.set()
        if chunk not in self._living:
            self._begin(chunk)

    def _begin(self, chunk: ChunkInFlight) -> None:
        self._living.begin(chunk, self._live(chunk))

    async def _live(self, chunk: ChunkInFlight) -> None:
        """Take a chunk to its end. Whatever ends it early becomes the cause that ends the run."""
        failure: BaseException | None = None
        try:
            await chunk.live(partial(self._known_jobs_ended, chunk), partial(self._submitted, chunk))
        except asyncio.CancelledError:
            failure = None if self._context.stopping else Error("it was cancelled")
        except BaseException as why:  # noqa: BLE001  # it is raised again where the run is awaited
            failure = why
        self._end(chunk, failure)

    def _known_jobs_ended(self, chunk: ChunkInFlight) -> None:
        self._queue.known_jobs_ended(chunk)
        self.advance()

    def _submitted(self, chunk: ChunkInFlight) -> None:
        self._queue.submitted(chunk.number)
        self.advance()
        self._wake()

    def _end(self, chunk: ChunkInFlight, failure: BaseException | None) -> None:
        """Take a chunk out, and let go what waits for it."""
        self._living.end(chunk)
        if failure is not None:
            self._failed(failure)
        self._close(chunk)
        with reported(self._failed):
            self._queue.done(chunk.number)
            # Too many rows may be rejected by now: then nothing more is begun.
            self._ended()
            self._let_go(chunk)
        self._wake()

    def _let_go(self, chunk: ChunkInFlight) -> None:
        """Let go what waits for a chunk that is done."""
        number, in_doubt = chunk.number, bool(chunk.in_doubt) and self._context.log.remembers
        if in_doubt:
            self._doubts[number] = list(chunk.in_doubt)
        if self._chunker is not None and not self.over:
            self._chunker.done(number, in_doubt=in_doubt)
            self._collect()
