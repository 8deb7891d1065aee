"""One chunk in flight: from its intent to its outcome, and what is left of it wherever that ends early."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from fake_run import (
    LOST,
    REFUSED,
    FakeSender,
    account_of,
    answers,
    chunk_of,
    context,
    figures,
    journal_of,
    record_of,
    scheduler_of,
)
from support import settled

from mjbulk.chunks.chunk import Chunk
from mjbulk.errors import ApiError
from mjbulk.journal.records import ChunkRecord
from mjbulk.mailjet.replies import JobReply
from mjbulk.models import JobRef
from mjbulk.run.chunk import ChunkInFlight
from mjbulk.run.context import RunContext
from mjbulk.run.senders import Sender

WATCHED: dict[str, Any] = {"state": "watched", "job": "contact:7"}
SENDING: dict[str, Any] = {"state": "sending", "attempts": 1}
SEVEN = JobRef("contact", 7)
STOPPED = "the run was stopped"


def job(number: int) -> JobRef:
    return JobRef("contact", number)


class Case:
    """One chunk, what it calls, and the task that it lives in."""

    def __init__(
        self,
        *people: str,
        sender: FakeSender | None = None,
        run: RunContext | None = None,
        records: Sequence[dict[str, Any]] = ({},),
        chunk: Chunk | None = None,
    ) -> None:
        self.run = run or context()
        self.sender = sender or FakeSender()
        made = chunk or chunk_of(*people)
        sends: Sender = self.sender
        parts = [record_of(made, **known) for known in records]
        self.chunk = ChunkInFlight.of_rows(made, parts, sends, self.run)
        self.calls: list[str] = []
        self.scheduler = scheduler_of(self.run)
        self.journal = journal_of(self.run)
        self.task: asyncio.Task[None] | None = None

    def live(self) -> asyncio.Task[None]:
        ended, submitted = self.calls.append, self.calls.append
        live = self.chunk.live(lambda: ended("known jobs ended"), lambda: submitted("submitted"))
        self.task = asyncio.create_task(live)
        return self.task

    async def until_idle(self) -> None:
        """Have it sent as soon as it wants to be, and wait until it waits for somebody else."""
        self.chunk.may_send.set()
        if self.task is None:
            self.live()
        await settled()

    def close(self) -> dict[str, int]:
        self.chunk.close(STOPPED)
        return figures(self.run.ledger)

    @property
    def kept(self) -> int:
        """How many values lie in the spill: the rows, and the body."""
        spill = self.run.spill
        return len(spill._newest) + sum(segment.live for segment in spill._segments)

    @property
    def causes(self) -> list[str]:
        return [why.cause for why in self.run.ledger.unsettled]


# To its end


async def test_a_chunk_is_sent_watched_and_settled() -> None:
    """Its body is gone when it was submitted, and its rows are gone at its end."""
    case = Case("a", "b")
    assert (case.chunk.to_be_sent, case.chunk.entries) == (True, 2)
    case.chunk.spill_body()
    assert case.kept == 2
    task = case.live()
    await settled()
    assert case.sender.bodies == []
    case.chunk.may_send.set()
    await settled()
    assert (case.sender.bodies, case.calls) == ([["a", "b"]], ["submitted"])
    assert case.kept == 1
    assert list(case.chunk.statuses()) == ["Allocated"]
    case.scheduler.end(job(1), 2)
    await task
    assert case.chunk.over
    assert list(case.chunk.statuses()) == []
    assert case.run.statuses == {"Completed": 1}
    assert case.close() == {"accepted": 2}
    assert case.kept == 0
    assert case.journal.steps() == [(0, 2, "sending"), (0, 2, "watched"), (0, 2, "settled")]


async def test_known_jobs_are_watched_before_the_rest_is_sent() -> None:
    """A chunk of an earlier process: one half has a job, the other is still to be sent."""
    records = [{**WATCHED, "end": 1, "rows": 1}, {"first": 1, "rows": 1}]
    case = Case("a", "b", records=records)
    assert not case.chunk.known_jobs_ended
    case.chunk.may_send.set()
    task = case.live()
    await settled()
    assert case.sender.bodies == []
    assert case.scheduler.resumed == {SEVEN}
    case.scheduler.end(SEVEN, 1)
    await settled()
    assert case.chunk.known_jobs_ended
    assert (case.sender.bodies, case.calls) == ([["b"]], ["known jobs ended", "submitted"])
    case.scheduler.end(job(1), 1)
    await task
    assert case.close() == {"accepted": 2}


async def test_parts_of_a_halved_chunk_are_watched_together() -> None:
    """The jobs of two halves overlap in time: neither waits for the other's end."""
    case = Case("a", "b", sender=FakeSender(answers(REFUSED)))
    await case.until_idle()
    assert set(case.scheduler.watched) == {job(2), job(3)}
    assert {watched.ref for watched in case.chunk.jobs()} == {job(2), job(3)}
    case.scheduler.end(job(3), 1)
    await settled()
    assert figures(case.run.ledger) == {"accepted": 1}
    assert list(case.chunk.statuses()) == ["Allocated"]
    case.scheduler.end(job(2), 1)
    assert case.task is not None
    await case.task
    assert case.close() == {"accepted": 2}


async def test_refused_and_lost_parts_get_their_outcome_at_the_end() -> None:
    """A refused row in doubt is unknown for good; a lost part is left in doubt."""
    refused = Case("a", sender=FakeSender(answers(LOST, REFUSED)))
    await refused.until_idle()
    assert refused.chunk.over
    assert (refused.close(), refused.chunk.in_doubt) == ({"unknown": 1}, [])
    lost = Case("a", sender=FakeSender(answers(LOST), harmless=False))
    await lost.until_idle()
    assert (lost.close(), lost.causes) == ({"unknown": 1}, [str(LOST)])
    (record,) = lost.chunk.in_doubt
    assert record.state == "sending"


async def test_a_job_that_mailjet_does_not_know_any_more_is_unknown() -> None:
    """Its rows are on disk as unknown: no later process asks again."""
    case = Case("a")
    await case.until_idle()
    case.scheduler.fail(job(1), ApiError(404, call="GET job"))
    await settled()
    assert case.close() == {"unknown": 1}
    assert case.journal.steps()[-1] == (0, 1, "settled")


async def test_another_error_of_a_look_ends_the_chunk() -> None:
    """And the run with it; the job goes on at Mailjet, and is watched again by the next process."""
    case = Case("a", "b", sender=FakeSender(answers(REFUSED)))
    await case.until_idle()
    case.scheduler.fail(job(2), ApiError(401, call="GET job"))
    await settled()
    assert case.task is not None
    with pytest.raises(ApiError):
        await case.task
    assert list(case.chunk.jobs()) == []
    assert case.close() == {"unknown": 2}
    assert case.causes == ["the run stopped while their job was under way"] * 2


async def test_counts_that_do_not_agree_are_looked_at_again() -> None:
    """They may lag behind a job's end: the first look that agrees counts."""
    case = Case("a", "b")
    await case.until_idle()
    case.scheduler.again = [JobReply(status="Completed", count=1), JobReply(status="Completed", count=2)]
    case.scheduler.end(job(1), 1)
    assert case.task is not None
    before = asyncio.get_running_loop().time()
    await case.task
    lag = case.run.engine.assumptions.counts_lag_seconds
    assert asyncio.get_running_loop().time() - before == pytest.approx(6 / 21 * lag)
    assert case.close() == {"accepted": 2}


async def test_counts_that_never_agree_make_rows_unknown() -> None:
    """After three more looks, which spread over the time for which counts may lag."""
    case = Case("a", "b")
    await case.until_idle()
    case.scheduler.again = [JobReply(status="Completed", count=1)] * 3
    case.scheduler.end(job(1), 1)
    assert case.task is not None
    await case.task
    assert (case.close(), case.scheduler.again) == ({"unknown": 2}, [])


async def test_what_is_known_of_a_chunk_is_replayed() -> None:
    """One that was settled before is over, and there is nothing to send."""
    case = Case("a", "b", records=[{"state": "settled", "accepted": 2}])
    assert not case.chunk.over
    await case.chunk.replay()
    assert (case.chunk.over, case.chunk.to_be_sent, case.close()) == (True, False, {"accepted": 2})


# Without its rows


async def live(chunk: ChunkInFlight) -> None:
    await chunk.live(lambda: None, lambda: None)


async def test_a_known_job_is_settled_without_the_rows() -> None:
    """Its counts say enough where nothing was rejected."""
    run = context()
    chunk = await _recalled(run, WATCHED)
    scheduler_of(run).end(SEVEN, 2)
    await live(chunk)
    chunk.close(STOPPED)
    assert figures(run.ledger) == {"accepted": 2}
    assert list(run.ledger.accepted_rows) == [1, 2]


async def _recalled(run: RunContext, *records: dict[str, Any]) -> ChunkInFlight:
    known = ChunkRecord(run=1, number=1, first=1, last=2, rows=2, entries=2, digest="")
    chunks: Any = run.log.history.chunks
    chunks[1] = known
    async for _ in run.log.recall_rows():
        pass
    return ChunkInFlight.of_record(known, [record_of(chunk_of("a", "b"), **some) for some in records], run)


@pytest.mark.parametrize("found", [False, True])
async def test_an_import_whose_answer_was_lost_is_looked_for_without_the_rows(*, found: bool) -> None:
    """Where it is found it is watched; else its rows stay in doubt, on disk too."""
    run = context(via="csv")
    chunk = await _recalled(run, {**SENDING, "data_id": 5, "end": 1, "rows": 1}, {"first": 1, "rows": 1})
    if found:
        account_of(run).imports[5] = 9
    scheduler_of(run).end(JobRef("csvimport", 9), 1)
    await live(chunk)
    chunk.close("its source is missing")
    assert figures(run.ledger) == ({"accepted": 1} if found else {"unknown": 1}) | {"not_sent": 1}
    assert [why.cause for why in run.ledger.unsettled] == [
        *([] if found else ["its answer was lost when the run ended"]),
        "its source is missing",
    ]
    assert journal_of(run).steps() == ([(0, 1, "watched"), (0, 1, "settled")] if found else [])
    assert run.ledger.jobs == ([JobRef("csvimport", 9)] if found else [])


# Stopped


async def test_a_chunk_that_is_withheld_ends_when_its_known_jobs_have() -> None:
    """It is not submitted, even if it is told that it may be."""
    records = [{**WATCHED, "end": 1, "rows": 1}, {"first": 1, "rows": 1}]
    case = Case("a", "b", records=records)
    task = case.live()
    await settled()
    case.chunk.withhold()
    await settled()
    assert not task.done()
    case.scheduler.end(SEVEN, 1)
    await task
    assert (case.sender.bodies, case.calls) == ([], ["known jobs ended"])
    assert case.close() == {"accepted": 1, "not_sent": 1}


async def test_a_chunk_that_may_be_sent_only_when_the_run_stops_is_not_sent() -> None:
    """It ends at once."""
    case = Case("a")
    task = case.live()
    await settled()
    case.run.stopping = True
    case.chunk.may_send.set()
    await task
    assert (case.sender.bodies, case.calls, case.close()) == ([], [], {"not_sent": 1})


async def test_no_job_is_watched_when_the_run_stops() -> None:
    """The request that is under way may end, and its job is written down."""
    request = asyncio.get_running_loop().create_future()
    case = Case("a", sender=FakeSender(answers(request)))
    await case.until_idle()
    assert case.chunk.under_way
    case.run.stopping = True
    request.set_result(None)
    assert case.task is not None
    await case.task
    assert case.scheduler.watched == {}
    assert (case.close(), case.causes) == ({"unknown": 1}, ["the run stopped while their job was under way"])
    assert case.run.ledger.jobs == [job(1)]


async def test_an_outcome_that_is_being_written_is_under_way() -> None:
    """A stop of the run waits for it: on disk and in the report it is the same then."""
    case = Case("a")
    await case.until_idle()
    assert not case.chunk.under_way
    case.journal.open.clear()
    case.scheduler.end(job(1), 1)
    await settled()
    assert case.chunk.under_way
    case.journal.open.set()
    await settled()
    assert not case.chunk.under_way
    assert case.close() == {"accepted": 1}


NO_JOB = "the run stopped before the answer to their request came"


@pytest.mark.parametrize(
    ("records", "counts", "causes"),
    [
        ([{}], {"not_sent": 2}, [STOPPED]),
        ([SENDING], {"unknown": 2}, [NO_JOB]),
        ([WATCHED], {"unknown": 2}, ["the run stopped while their job was under way"]),
        (
            [{"state": "settled", "accepted": 2}],
            {"unknown": 2},
            ["the run stopped before their outcome was read from the journal"],
        ),
        ([{"end": 1, "rows": 1}, {**SENDING, "first": 1, "rows": 1}], {"not_sent": 1, "unknown": 1}, [STOPPED, NO_JOB]),
    ],
)
async def test_a_chunk_that_has_not_begun_is_closed_by_what_is_known_of_it(
    records: list[dict[str, Any]], counts: dict[str, int], causes: list[str]
) -> None:
    """What an earlier process has sent is not told to be unsent."""
    case = Case("a", "b", records=records)
    assert (case.close(), case.causes) == (counts, causes)
    assert case.close() == counts


async def test_refused_rows_that_have_no_outcome_yet_were_not_sent() -> None:
    """The run stops between two halves: the next process tries both again."""
    case = Case("a", "b")

    def stop(people: list[str]) -> Exception:
        case.run.stopping = len(people) == 1
        return REFUSED

    case.sender.answer = stop
    await case.until_idle()
    assert (case.close(), case.causes) == ({"not_sent": 2}, [STOPPED, STOPPED])


@pytest.mark.parametrize("moment", range(6))
async def test_a_chunk_that_is_cancelled_anywhere_has_one_outcome_for_each_row(moment: int) -> None:
    """While it waits, asks the journal, sends, writes its job, watches, or settles; and lets go of all that it has."""
    request = asyncio.get_running_loop().create_future()
    case = Case("a", "b", "a", sender=FakeSender(answers(request)))
    case.live()
    await settled()
    if moment >= 1:
        case.journal.open.clear()
        case.chunk.may_send.set()
        await settled()
    if moment >= 2:
        case.journal.open.set()
        await settled()
    if moment >= 3:
        case.journal.open.clear()
        request.set_result(None)
        await settled()
    if moment >= 4:
        case.journal.open.set()
        await settled()
    if moment >= 5:
        case.journal.open.clear()
        case.scheduler.end(job(1), 2)
        await settled()
    assert case.task is not None
    case.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await case.task
    assert case.close() == ({"not_sent": 3} if moment < 2 else {"unknown": 3})
    assert case.causes == [
        [STOPPED, STOPPED, NO_JOB, *["the run stopped while their job was under way"] * 3][moment],
    ]
    assert case.kept == 0
    assert list(case.chunk.jobs()) == []


async def test_parts_that_are_watched_together_end_together() -> None:
    """None of them goes on when the chunk was cancelled."""
    case = Case("a", "b", sender=FakeSender(answers(REFUSED)))
    await case.until_idle()
    before = asyncio.all_tasks()
    assert case.task is not None
    case.task.cancel()
    await asyncio.wait({case.task})
    assert len(before - asyncio.all_tasks()) == 3
    assert list(case.chunk.jobs()) == []


async def test_a_chunk_ends_when_all_of_its_tasks_have() -> None:
    """A part that is being written when another one fails is posted, or it is not: nothing happens afterwards."""
    case = Case("a", "b", sender=FakeSender(answers(REFUSED)))
    await case.until_idle()
    case.journal.open.clear()
    case.scheduler.end(job(2), 1)
    await settled()
    case.scheduler.fail(job(3), ApiError(401, call="GET job"))
    before = asyncio.all_tasks()
    assert case.task is not None
    await asyncio.wait({case.task})
    assert len(before - asyncio.all_tasks()) == 3


async def test_a_watch_that_is_cancelled_from_within_ends_the_chunk() -> None:
    """A host may cancel what it does not know; nobody waits for ever for that part."""
    case = Case("a", "b", sender=FakeSender(answers(REFUSED)))
    await case.until_idle()
    case.scheduler.fail(job(2), asyncio.CancelledError())
    await settled()
    assert case.task is not None
    assert case.task.cancelled()


async def test_bodies_and_rows_are_let_go_also_where_posting_fails() -> None:
    """Whatever is raised."""
    case = Case("a")
    case.chunk.spill_body()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    ledger: Any = case.run.ledger
    ledger.post_unsettled = fail
    with pytest.raises(RuntimeError, match="broken"):
        case.close()
    assert case.kept == 0


async def test_rows_that_cannot_be_written_are_refused(tmp_path: Any) -> None:
    """Before anything is sent."""
    run = context()
    run.spill._folder = tmp_path / "missing"
    with pytest.raises(OSError, match="missing"):
        Case("a", run=run)


def test_it_shows_the_states_of_its_parts() -> None:
    """And neither rows nor people."""
    case = Case("a", "b", records=[{"end": 1, "rows": 1}, {**WATCHED, "first": 1, "rows": 1}])
    assert repr(case.chunk) == "<chunk 1: Unsent, Watched>"
