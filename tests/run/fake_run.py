"""What stands around the code of a run in its tests. Nothing here has a network, and nothing happens by itself."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any, Literal

import orjson
from attrs import evolve

from mjbulk.chunks.builder import Rules
from mjbulk.chunks.chunk import Chunk, Limits, SizeLimit
from mjbulk.chunks.chunker import Chunker
from mjbulk.chunks.frame import Frame
from mjbulk.config import Assumptions, Settings
from mjbulk.errors import ApiError, NoAnswer
from mjbulk.events import Event
from mjbulk.jobs.track import Track
from mjbulk.jobs.watched_job import EndedJob, WatchedJob
from mjbulk.journal.history import History
from mjbulk.journal.records import PartRecord, Record, RejectionRecord, RunRecord, encode_spec
from mjbulk.mailjet.attempts import GaveUp
from mjbulk.mailjet.job_slots import JobSlots
from mjbulk.mailjet.replies import JobReply
from mjbulk.mailjet.request_count import count_request
from mjbulk.mailjet.requests import Content, Request
from mjbulk.mailjet.transport import Doubt
from mjbulk.mailjet.window import Window
from mjbulk.models import JobRef
from mjbulk.outcomes.error_file import ErrorFile, RowError
from mjbulk.outcomes.ledger import Ledger
from mjbulk.resources import Property
from mjbulk.rows.block import Block
from mjbulk.run.context import RunContext
from mjbulk.run.engine import Engine
from mjbulk.run.reader import EncodedRows
from mjbulk.run.run_log import RunLog
from mjbulk.run.senders import Passage
from mjbulk.run.starts import Starts
from mjbulk.spill import Memory, SmallValues, Spill
from mjbulk.terms import Action, RunSpec

CALL = "POST people"
REFUSED = ApiError(400, call=CALL, text="no")
TOO_LARGE = ApiError(413, call=CALL)
LOST = NoAnswer(CALL, why="the answer was lost", attempts=1, sent=True)
GONE = GaveUp(CALL, why="nobody answers", attempts=10, sent=True)
NEVER_LEFT = GaveUp(CALL, why="Mailjet has stopped this key", attempts=0, sent=False)
SPILLS: list[Spill] = []
"""Those that a test has made: they are closed after it."""
RUN = RunRecord(run=1, run_id="r", account="a", spec=encode_spec(RunSpec(lists=None)), created="2026-11-23")


class FakeJournal:
    """A journal in memory, in which a put ends when the test lets it."""

    def __init__(self) -> None:
        self.commits: list[list[Record]] = []
        """The records of each put, and before them those that had waited for it."""
        self.waiting: list[Record] = []
        self.rejected: list[RejectionRecord] = []
        """What `rejections` gives."""
        self.failure: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.calls: list[tuple[Any, ...]] = []
        """What else was asked of it."""

    def later(self, *records: Record) -> None:
        self.waiting.extend(records)

    async def put(self, *records: Record, run: int | None = None) -> None:
        commit, self.waiting = [*self.waiting, *records], []
        self.commits.append(commit)
        if self.failure is not None:
            raise self.failure
        await self.open.wait()

    async def rejections(self, run: int, chunk: int | None = None) -> AsyncIterator[RejectionRecord]:
        for record in self.rejected:
            if chunk in (None, record.chunk):
                yield record

    async def forget_refused(self, *what: Any) -> None:
        self.calls.append(("forget_refused", *what))

    async def release(self, run: RunRecord, *, forget: bool = False) -> None:
        self.calls.append(("forget" if forget else "release", run.run_id))

    async def notes(self, account: str) -> dict[str, str]:
        return {}

    @property
    def written(self) -> list[Record]:
        """All records, in the order in which they were written."""
        return [record for commit in self.commits for record in commit]

    def steps(self, chunk: int = 1) -> list[tuple[int, int, str]]:
        """The entries and the state of each part of a chunk, whenever it was written."""
        parts = [record for record in self.written if isinstance(record, PartRecord) and record.chunk == chunk]
        return [(part.first, part.end, part.state) for part in parts]

    def parts(self, chunk: int = 1) -> dict[tuple[int, int], PartRecord]:
        """The parts of a chunk as they are on disk."""
        parts = [record for record in self.written if isinstance(record, PartRecord) and record.chunk == chunk]
        return {(part.first, part.end): part for part in parts}


class FakeScheduler:
    """Watches jobs that end when the test says so."""

    def __init__(self) -> None:
        self.watched: dict[JobRef, WatchedJob] = {}
        self.resumed: set[JobRef] = set()
        self.again: list[JobReply] = []
        """What further looks at a job show that has ended."""
        self.statistics: dict[Any, Any] = {}
        self._ends: dict[JobRef, asyncio.Future[EndedJob]] = {}

    def watch(self, ref: JobRef, rows: int = 0, *, new: bool = False, resumed: bool = False) -> WatchedJob:
        now = asyncio.get_running_loop().time()
        if resumed:
            self.resumed.add(ref)
        self.watched[ref] = WatchedJob(ref, Track(kind=ref.kind, rows=rows, posted=now, new=new), now)
        return self.watched[ref]

    async def end_of(self, job: WatchedJob, on_news: Callable[[], object] = lambda: None) -> EndedJob:
        return await self._end_of(job.ref)

    async def look_again(self, job: WatchedJob) -> EndedJob:
        return EndedJob(reply=self.again.pop(0), file=None)

    def end(self, ref: JobRef, count: int, *refused: str, status: str = "Completed") -> None:
        """Have a job end that has refused some people."""
        errors = [RowError(email=who, message=f"{who} is bad") for who in refused]
        file = ErrorFile(errors=errors) if refused else None
        reply = JobReply(status=status, count=count, errcount=len(refused), error_file="there" if refused else "")
        self._end_of(ref).set_result(EndedJob(reply=reply, file=file))

    def fail(self, ref: JobRef, failure: BaseException) -> None:
        """Have the watching of a job end with an error."""
        self._end_of(ref).set_exception(failure)

    def _end_of(self, ref: JobRef) -> "asyncio.Future[EndedJob]":
        return self._ends.setdefault(ref, asyncio.get_running_loop().create_future())


class FakeTransport:
    """Takes every body, and gives a job."""

    def __init__(self) -> None:
        self.requests = self.waiting = self.granted = 0
        self.trouble: str | None = None
        self.bodies: list[Any] = []
        self.wait: asyncio.Future[None] | None = None
        """Each request waits for it, if there is one."""

    def expect_outages(self) -> None:
        """Do nothing."""

    async def send(self, request: Request, decode: object, *, doubt: Doubt, **_: object) -> int:
        await doubt.leaving()
        doubt.sent = True
        self.requests += 1
        count_request()
        self.bodies.append(orjson.loads(request.body[:] if request.body is not None else b"null"))
        if self.wait is not None:
            await self.wait
        doubt.sent = False
        return self.requests


class FakeAccount:
    """Knows the imports of data that were uploaded, one list, and some properties."""

    def __init__(self) -> None:
        self.imports: dict[int, int] = {}
        self.properties: dict[str, Property] = {}
        self.asked: list[set[str]] = []
        """Names that were not found, each time that the properties were asked for again."""
        self.created: list[str] = []
        self.refused: set[str] = set()
        """Names that no property can have."""
        self.forgotten = 0

    mark = 0

    def forget(self) -> None:
        self.forgotten += 1

    async def known_properties(self, names: Collection[str] = (), *, since: int | None = None) -> dict[str, Property]:
        if names:
            self.asked.append(set(names))
        return dict(self.properties)

    async def ensure_property(self, name: str, datatype: str) -> Property:
        self.created.append(name)
        if name in self.refused:
            raise ApiError(400, call="POST contactmetadata", code="MJ08")
        return Property(id=len(self.created), name=name, datatype=datatype)

    async def resolve(self, lists: Sequence[tuple[Any, Action]]) -> Sequence[tuple[int, Action]]:
        return lists

    async def any_list(self) -> int:
        return 1

    async def import_of(self, data_id: int) -> int | None:
        return self.imports.get(data_id)


Answer = Exception | asyncio.Future[Any] | None
"""An error, nothing where a job takes the body, or a future of one of both."""


class FakeSender:
    """Submits bodies to a function of the people in them: it gives what the answer is."""

    carrier = effective = CALL

    def __init__(self, answer: Callable[[list[str]], Answer] = lambda _: None, *, harmless: bool = True) -> None:
        self.answer = answer
        self.bodies: list[list[str]] = []
        self.imports: dict[int, JobRef] = {}
        """What is found of data that were uploaded."""
        self._harmless = harmless

    def harmless(self, body: Content) -> bool:
        return self._harmless

    async def submit(self, body: Content, passage: Passage) -> JobRef:
        self.bodies.append(people_in(body))
        number = len(self.bodies)
        answer = self.answer(self.bodies[-1])
        if answer is not NEVER_LEFT:
            await passage.doubt.leaving()
            passage.doubt.sent = True
        if isinstance(answer, asyncio.Future):
            answer = await answer
        passage.doubt.sent = isinstance(answer, NoAnswer) and answer.sent
        if isinstance(answer, Exception):
            raise answer
        return JobRef("contact", number)

    async def find(self, data_id: int | None) -> JobRef | None:
        return self.imports.get(data_id or 0)


def answers(*those: Answer) -> Callable[[list[str]], Answer]:
    """One after the other while bodies are taken; then all bodies are taken."""
    left = list(those)
    return lambda _: left.pop(0) if left else None


def context(
    journal: Any = None,
    *,
    via: Literal["json", "csv"] = "json",
    settings: Any = (),
    history: History | None = None,
    **terms: Any,
) -> RunContext:
    """What the chunks of a run share, and of which nothing leaves this process."""
    known = Settings(**{"api_url": "http://127.0.0.1:1", **dict(settings)})
    transport: Any = FakeTransport()
    account: Any = FakeAccount()
    scheduler: Any = FakeScheduler()
    written: Any = journal or FakeJournal()
    events: list[Event] = []
    engine = Engine(
        settings=known,
        assumptions=Assumptions(),
        transport=transport,
        window=Window(known.concurrency, known.chunk_bytes),
        account=account,
        scheduler=scheduler,
        slots=JobSlots(known.max_jobs, known.max_rows),
        starts=Starts(),
        journal=written,
        owner="a",
        emit=events.append,
        memory=Memory(),
    )
    spill = Spill()
    SPILLS.append(spill)
    return RunContext(
        run_id="r",
        spec=RunSpec(**{"lists": ((1, Action.ADDNOFORCE),), "via": via, **terms}),
        engine=engine,
        ledger=Ledger(),
        log=RunLog(engine.journal, history or History(run=RUN, begun=False)),
        notify=lambda: None,
        learned=SizeLimit(known.chunk_bytes),
        spill=spill,
        held=SmallValues(spill),
    )


def transport_of(context: RunContext) -> FakeTransport:
    fake: Any = context.engine.transport
    assert isinstance(fake, FakeTransport)
    return fake


def scheduler_of(context: RunContext) -> FakeScheduler:
    fake: Any = context.engine.scheduler
    assert isinstance(fake, FakeScheduler)
    return fake


def account_of(context: RunContext) -> FakeAccount:
    fake: Any = context.engine.account
    assert isinstance(fake, FakeAccount)
    return fake


def journal_of(context: RunContext) -> FakeJournal:
    fake: Any = context.engine.journal
    assert isinstance(fake, FakeJournal)
    return fake


def rules(rows: int = 1000, size: int = 10_000, *, digests: bool = True) -> Rules:
    """A body is a list of addresses, and the last row of a person wins."""
    return Rules(
        frame=Frame(b"[", b",", b"]"),
        limits=Limits(rows=rows, bytes=size),
        merge=lambda earlier, later: later,
        learned=SizeLimit(size),
        digests=digests,
    )


def people_in(body: Content) -> list[str]:
    return body[1:-1].decode().split(",")


def encoded(people: Sequence[str], first: int = 1) -> EncodedRows:
    """Rows as a reader gives them."""
    block = Block.of(("email",), [(who,) for who in people])
    return EncodedRows(range(first, first + len(people)), people, [who.encode() for who in people], block)


def chunk_of(*people: str, number: int = 1, first: int = 1) -> Chunk:
    """A chunk of rows that were never held; who comes twice is merged."""
    rows = encoded(people, first)
    anything: Any = None
    chunker = Chunker(rules(), anything)
    chunker.add(rows.numbers, rows.addresses, rows.encoded, rows.block)
    chunker.cut_open()
    return evolve(chunker.cut.popleft(), number=number)


def figures(ledger: Ledger) -> dict[str, int]:
    """The outcomes that rows have, without those that none has."""
    counts = ledger.counts(ledger.settled).as_dict()
    return {name: count for name, count in counts.items() if count and name != "rows"}


def record_of(chunk: Chunk, **known: Any) -> PartRecord:
    """The one part of a chunk."""
    part = PartRecord(run=RUN.run, chunk=chunk.number, first=0, end=chunk.entries, rows=chunk.rows)
    return evolve(part, **known)
