"""A source that is taken to its end, and how a run ends early. The whole runs are in ``tests/whole``."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest
from attrs import evolve
from fake_run import RUN, FakeJournal, context, figures, journal_of, scheduler_of, transport_of
from support import balanced, settled

import mjbulk
from mjbulk.errors import Error, JournalError, RowsRejected, SourceError
from mjbulk.journal.history import History
from mjbulk.journal.records import ChunkRecord
from mjbulk.models import JobRef
from mjbulk.outcomes.ledger import Ledger
from mjbulk.outcomes.row_set import RowSet
from mjbulk.rows.block import Block
from mjbulk.rows.sources import Source, source_of
from mjbulk.run.books import post_rest
from mjbulk.run.context import RunContext
from mjbulk.run.run_log import RunLog
from mjbulk.run.run_task import Beginning, RunTask
from mjbulk.terms import Action, RunSpec

SPEC = RunSpec(lists=((1, Action.ADDFORCE),))


def people(*numbers: int) -> list[dict[str, Any]]:
    return [{"email": f"p{number}@example.org"} for number in numbers]


class Case:
    """One run, whose bodies are taken and whose jobs end when the test says so."""

    def __init__(
        self,
        source: Any,
        *,
        history: History | None = None,
        run: RunContext | None = None,
        spec: RunSpec = SPEC,
        **settings: Any,
    ) -> None:
        self.run = run or context(settings={"chunk_rows": 2, **settings})
        self.journal = journal_of(self.run)
        self.history = history or History(run=RUN, begun=False)
        self.source = None if source is None else source_of(source)
        self.spec = spec
        self.run_task = RunTask("r", self._begin, self.run.engine, lambda: None)
        self.task: asyncio.Task[None] | None = None

    async def _begin(self) -> Beginning:
        return Beginning(self.source, self.spec, RunLog(self.run.engine.journal, self.history))

    def start(self, timeout: float | None = None) -> asyncio.Task[None]:
        self.task = asyncio.create_task(self.run_task.main(timeout))
        return self.task

    async def until_sent(self, bodies: int) -> None:
        async with asyncio.timeout(1):
            while len(transport_of(self.run).bodies) < bodies:  # nothing else tells it
                await asyncio.sleep(0)
        await settled()

    async def report(self) -> mjbulk.Report:
        """Let all jobs end, and give the report."""
        task = self.task or self.start()
        while not task.done():
            await settled()
            for ref, watched in list(scheduler_of(self.run).watched.items()):
                if not scheduler_of(self.run)._end_of(ref).done():
                    scheduler_of(self.run).end(ref, watched.track.rows)
            await asyncio.sleep(0.01)
        await task
        assert self.run_task.report is not None
        return balanced(self.run_task.report)

    @property
    def rows(self) -> dict[str, list[int]]:
        """The numbers of the rows that have no outcome, by their causes."""
        report = self.run_task.report
        assert report is not None
        found: dict[str, list[int]] = {}
        for why in report.unsettled:
            found.setdefault(why.cause, []).extend(row for some in why.rows for row in some)
        return found


async def test_a_source_is_sent_and_settled() -> None:
    """And the run says in its journal that it was read to its end."""
    case = Case(people(*range(5)))
    report = await case.report()
    assert (report.rows, report.accepted, report.halted, report.jobs) == (5, 5, None, tuple(_jobs(3)))
    (*_, whole, closed) = [record for record in case.journal.written if isinstance(record, type(RUN))]
    assert (whole.whole, whole.rows, closed.closed, closed.requests) == (True, 5, True, 3)
    assert ("release", "r") in case.journal.calls


def _jobs(count: int) -> Iterable[JobRef]:
    return (JobRef("contact", number) for number in range(1, count + 1))


async def test_a_run_that_is_cancelled_before_it_began_does_not_look_whole() -> None:
    """Its tasks never run: nothing was read, and somebody may take that for an empty source."""
    case = Case(people(1))
    task = case.start()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert case.run_task.report is not None
    assert "cancelled" in str(case.run_task.report.halted)
    assert not case.run_task.report.complete


async def test_a_timeout_counts_from_the_beginning() -> None:
    """Also where a journal does not open."""
    case = Case(people(1))

    async def never() -> Any:
        await asyncio.sleep(1e6)

    case.run_task._begin = never
    loop = asyncio.get_running_loop()
    began = loop.time()
    await case.start(timeout=3)
    assert loop.time() - began == pytest.approx(3)
    assert "timeout" in str(case.run_task.cause)


async def test_a_source_that_goes_on_when_it_is_cancelled_is_not_read_on() -> None:
    """It may not know better: its next batch is not taken any more."""
    given: list[int] = []

    async def rows() -> AsyncIterator[dict[str, Any]]:
        for number in range(10_000):
            given.append(number)
            yield people(number)[0]
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.001 if number > 600 else 0)

    case = Case(rows(), max_jobs=1000)
    case.start()
    await asyncio.sleep(0.3)
    case.run_task.halt(Error("it was stopped"))
    assert case.task is not None
    await case.task
    assert case.run_task.report is not None
    report = balanced(case.run_task.report)
    await asyncio.sleep(20)
    assert (report.rows, len(given)) == (500, 1000)
    assert case.run_task.progress().rows == 500


async def test_a_journal_that_does_not_answer_at_the_end_is_waited_for_within_bounds() -> None:
    """The run halts for it, and its last write goes on by itself."""
    case = Case(people(1), stop_within=2.0)
    case.start()
    await case.until_sent(1)
    case.journal.open.clear()
    case.run_task.halt(Error("it was stopped"))
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert case.task is not None
    await case.task
    assert loop.time() - began <= 4
    assert case.run_task.report is not None
    assert str(case.run_task.report.halted) == "it was stopped"
    assert ("release", "r") not in case.journal.calls
    case.journal.open.set()
    await settled()
    assert ("release", "r") in case.journal.calls


async def test_a_journal_that_fails_at_the_end_is_the_cause() -> None:
    """Nothing else was wrong."""
    case = Case(people(1))
    case.start()
    await case.until_sent(1)
    scheduler_of(case.run).end(JobRef("contact", 1), 1)
    await asyncio.sleep(0)

    class Failing(FakeJournal):
        async def release(self, run: Any, *, forget: bool = False) -> None:
            raise JournalError("the disk is full")

    case.journal.release = Failing().release  # type: ignore[method-assign]  # it fails from now on
    report = await case.report()
    assert isinstance(report.halted, JournalError)


@pytest.mark.parametrize("moment", ["requests", "journal"])
async def test_the_end_of_a_run_can_be_cancelled_once(moment: str) -> None:
    """A loop that shuts down does so: the books are closed, and the journal is let go, all the same."""
    case = Case(people(1, 2, 3))
    request = asyncio.get_running_loop().create_future()
    if moment == "requests":
        transport_of(case.run).wait = request
    case.start()
    await case.until_sent(1)
    if moment == "journal":
        case.journal.open.clear()
    case.run_task.halt(Error("it was stopped"))
    await settled()
    assert case.task is not None
    case.task.cancel()
    await settled()
    case.journal.open.set()
    await asyncio.wait({case.task})
    await settled()
    assert case.run_task.report is not None
    balanced(case.run_task.report)
    assert case.journal.calls[-1] == ("release", "r")
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("mjbulk")] == []


class Odd(BaseException):
    """Nothing that anybody expects."""


@pytest.mark.parametrize("failure", [Odd("odd"), RuntimeError("a fault of ours")])
async def test_what_is_no_error_of_the_library_is_raised(failure: Any) -> None:
    """By the task, so that it is not only logged; the report is there as well."""

    async def rows() -> AsyncIterator[dict[str, Any]]:
        yield people(1)[0]
        raise failure

    case = Case(rows())
    if isinstance(failure, Exception):
        report = await case.report()
        assert isinstance(report.halted, SourceError)
        assert (report.rows, report.not_sent) == (1, 1)
        return
    with pytest.raises(Odd):
        await case.start()
    assert case.run_task.report is not None
    balanced(case.run_task.report)


async def test_a_source_that_is_cancelled_from_within_is_not_whole() -> None:
    """Its rows so far have been sent, maybe."""

    async def rows() -> AsyncIterator[dict[str, Any]]:
        yield people(1)[0]
        raise asyncio.CancelledError

    case = Case(rows())
    await asyncio.wait({case.start()})
    assert case.run_task.report is not None
    assert not case.run_task.report.complete


async def test_too_many_rejected_rows_end_the_reading() -> None:
    """What was sent is settled, the rest is not sent, and the report is whole when it is raised."""
    bad: list[Any] = [*people(1, 2, 3), {"email": "bad"}, *people(4), {"email": "bad"}, *people(5)]
    case = Case(bad, spec=evolve(SPEC, max_rejected=1))
    report = await case.report()
    assert isinstance(report.halted, RowsRejected)
    assert (report.rejected, report.rows) == (2, 7)
    assert set(case.rows) == {str(report.halted)}
    outcome = {row for why in report.unsettled for some in why.rows for row in some}
    assert not outcome & {rejection.row for rejection in report.rejections}
    assert len(outcome) == report.unknown + report.not_sent


# What an earlier process has sent


async def _history(states: Callable[[int], dict[str, Any]]) -> History:
    """Three chunks of two rows each, as a journal knows them."""
    case = Case(people(*range(6)), max_jobs=1000)
    case.start()
    await case.until_sent(3)
    chunks = {one.number: one for one in case.journal.written if isinstance(one, ChunkRecord)}
    case.run_task.halt(Error("it was stopped"))
    assert case.task is not None
    await case.task
    parts = {number: [evolve(chunk.whole(), **states(number))] for number, chunk in chunks.items()}
    return History(run=RUN, chunks=chunks, parts=parts)


async def test_rows_that_were_not_found_again_are_not_told_to_be_unsent() -> None:
    """The run stops in the middle of its replay: what an earlier process has sent is unknown here."""
    settled_before = {"state": "settled", "accepted": 2}
    history = await _history(lambda number: {} if number == 2 else settled_before)

    async def batches() -> Any:
        yield [Block.of(("email",), [tuple(row.values()) for row in people(*range(5))])]
        await asyncio.sleep(1e6)

    case = Case(Source(batches), history=history)
    case.start()
    await settled()
    case.run_task.halt(Error("it was stopped"))
    assert case.task is not None
    await case.task
    assert case.run_task.report is not None
    report = balanced(case.run_task.report)
    assert (report.accepted, report.unknown, report.not_sent) == (2, 1, 2)
    assert [(why.rows, why.cause) for why in report.unsettled] == [
        ((range(3, 5),), "it was stopped"),
        ((range(5, 6),), "it was stopped"),
    ]


def test_rows_without_an_outcome_are_told_apart() -> None:
    """By whether an earlier process may have sent them."""
    ledger = Ledger()
    ledger.note_accepted([range(1, 3)], [range(2, 3)])
    ledger.post_accepted(1, 1)
    ledger.post_rejections([mjbulk.Rejection(row=3, message="no")])
    ledger.post_unsettled(mjbulk.Unsettled(rows=(range(4, 5),), cause="x"), unknown=1)
    post_rest(ledger, RowSet.of([range(1, 9)]), RowSet.of([range(1, 7)]), 4, "stopped")
    assert figures(ledger) == {"accepted": 1, "superseded": 1, "rejected": 1, "unknown": 3, "not_sent": 2}
    assert [why.rows for why in ledger.unsettled[1:]] == [(range(5, 7),), (range(7, 9),)]


def test_without_the_source_all_rows_may_have_been_sent() -> None:
    """Nobody looked at them."""
    ledger = Ledger()
    post_rest(ledger, RowSet.of([range(1, 9)]), None, 8, "stopped")
    assert figures(ledger) == {"unknown": 8}
