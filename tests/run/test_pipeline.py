"""The chunks of a run: which goes when, what is given back, and what ends the run."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from attrs import evolve
from fake_run import (
    LOST,
    REFUSED,
    RUN,
    FakeJournal,
    FakeSender,
    answers,
    context,
    encoded,
    figures,
    journal_of,
    rules,
    scheduler_of,
)
from support import settled

from mjbulk.chunks.builder import Rules
from mjbulk.errors import Error, JournalRefused, UsageError
from mjbulk.journal.history import History
from mjbulk.journal.protocol import NoJournal
from mjbulk.journal.records import ChunkRecord, PartRecord, RunRecord
from mjbulk.mailjet.job_slots import JobSlots
from mjbulk.models import JobRef
from mjbulk.run.pipeline import Pipeline

WATCHED: dict[str, Any] = {"state": "watched", "job": "contact:70"}
SEVENTY = JobRef("contact", 70)


def job(number: int) -> JobRef:
    return JobRef("contact", number)


class Case:
    """A pipeline whose bodies are taken at once, and whose jobs end when the test says so."""

    def __init__(
        self,
        *,
        rows: int = 2,
        sender: FakeSender | None = None,
        history: History | None = None,
        journal: Any = None,
        **settings: Any,
    ) -> None:
        self.run = context(journal, history=history, settings={"concurrency": 2, **settings})
        self.sender = sender or FakeSender()
        self.rules: Rules = rules(rows)
        self.failures: list[BaseException] = []
        self.ends = 0
        self.row = 0
        self.refusal: Exception | None = None
        self.pipeline = Pipeline(
            self.run, self._commit, failed=self._fail, ended=self._hear_end, why=lambda: "the run was stopped"
        )
        self.scheduler = scheduler_of(self.run)

    def _commit(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    def _hear_end(self) -> None:
        self.ends += 1

    def _fail(self, failure: BaseException) -> None:
        self.failures.append(failure)
        self.pipeline.halt()

    async def add(self, *people: str) -> None:
        """Give rows, as a reader does, and let happen what can happen."""
        first, self.row = self.row + 1, self.row + len(people)
        self.pipeline.arrive(first, self.row)
        self.pipeline.add(encoded(people, first), self.rules, self.sender)
        await self.pipeline.passed(self.row)
        await settled()

    async def end_job(self, number: int, count: int, *refused: str) -> None:
        self.scheduler.end(job(number), count, *refused)
        await settled()

    async def finish(self) -> dict[str, int]:
        """End the source and all jobs, and give the outcomes of rows."""
        self.pipeline.end()
        waiting = asyncio.create_task(self._all())
        for _ in range(50):
            await settled()
            for ref, watched in self.scheduler.watched.items():
                if watched in list(self.pipeline.jobs()):
                    self.scheduler.end(ref, watched.track.rows)
            if waiting.done():
                break
        await asyncio.wait_for(waiting, 1)
        return self.outcomes

    async def _all(self) -> None:
        await self.pipeline.all_cut()
        await self.pipeline.done()

    @property
    def outcomes(self) -> dict[str, int]:
        return figures(self.run.ledger)

    @property
    def held(self) -> tuple[int, int]:
        """How many jobs and rows the run occupies."""
        return self.run.engine.slots._jobs, self.run.engine.slots._rows

    @property
    def kept(self) -> int:
        """How many values lie in the spill."""
        return sum(segment.live for segment in self.run.spill._segments)

    def clean(self) -> None:
        """Nothing is occupied, and no task is left."""
        assert self.held == (0, 0)
        assert (len(self.pipeline._living), self.pipeline._living.tasks, len(self.pipeline._queue)) == (0, [], 0)
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("mjbulk")] == []


# Which chunk goes when


def uncut(pipeline: Pipeline) -> list[int]:
    """The numbers of rows that were taken and are in no chunk in flight, ascending."""
    chunker = pipeline._chunker
    assert chunker is not None
    cut = (row for chunk in chunker.cut for row in chunk.kept.rows)
    return sorted([*chunker.held_numbers, *chunker.open_numbers, *cut])


async def test_chunks_go_when_they_are_full() -> None:
    """And the last one at the end of the source."""
    case = Case()
    await case.add("a", "b", "c", "d", "e")
    assert case.sender.bodies == [["a", "b"], ["c", "d"]]
    assert case.pipeline.statuses() == {"Allocated": 2}
    assert await case.finish() == {"accepted": 5}
    assert case.sender.bodies[2:] == [["e"]]
    assert (case.ends, case.failures, case.pipeline.statuses()) == (3, [], {"Completed": 3})
    case.clean()
    assert case.kept == 0


async def test_a_chunk_is_written_down_before_it_is_sent() -> None:
    """With its one part, in one commit with the intent to send it; the run itself comes first."""
    case = Case(rows=1)
    await case.add("a", "b", "c")
    commits = [[type(record) for record in commit] for commit in journal_of(case.run).commits]
    assert commits[0] == [RunRecord, *[ChunkRecord, PartRecord] * 2]
    await case.add("d")
    assert [ChunkRecord, PartRecord, PartRecord] in [
        [type(record) for record in commit] for commit in journal_of(case.run).commits[len(commits) :]
    ]
    assert journal_of(case.run).steps()[:2] == [(0, 1, "unsent"), (0, 1, "sending")]


async def test_bodies_in_memory_are_bounded() -> None:
    """To two more than requests that may be under way; then the source waits for those that were cut."""
    request = asyncio.get_running_loop().create_future()
    case = Case(rows=1, concurrency=1, sender=FakeSender(lambda _: request))
    await case.add(*"abcd")
    assert case.sender.bodies == [["a"], ["b"], ["c"]]
    await case.add(*"ef")
    room = asyncio.create_task(case.pipeline.room())
    await settled()
    assert not room.done()
    request.set_result(None)
    await settled()
    assert room.done()
    assert case.sender.bodies == [["a"], ["b"], ["c"], ["d"], ["e"]]
    assert await case.finish() == {"accepted": 6}
    case.clean()


async def test_unfinished_jobs_are_bounded() -> None:
    """The next chunk goes when a job has ended."""
    case = Case(rows=1, max_jobs=2)
    await case.add(*"abcd")
    assert (case.sender.bodies, case.held) == ([["a"], ["b"]], (2, 2))
    await case.end_job(1, 1)
    assert case.sender.bodies == [["a"], ["b"], ["c"]]
    assert await case.finish() == {"accepted": 4}
    case.clean()


async def test_a_row_waits_for_a_job_of_its_person_and_nothing_else_does() -> None:
    """Then it joins the chunk that is filled."""
    case = Case(rows=2)
    await case.add("a", "b", "c", "a", "d", "e")
    assert (case.sender.bodies, case.pipeline.held_rows) == ([["a", "b"], ["c", "d"]], 1)
    assert uncut(case.pipeline) == [4, 6]
    await case.end_job(1, 2)
    assert (case.pipeline.held_rows, uncut(case.pipeline)) == (0, [4, 6])
    assert await case.finish() == {"accepted": 6}
    assert case.sender.bodies[2:] == [["a", "e"]]


async def test_held_rows_go_after_the_end_of_the_source() -> None:
    """Nothing is left that would let them go later: until then not every row is in a chunk."""
    case = Case(rows=2)
    await case.add("a", "b", "c", "a")
    case.pipeline.end()
    cut = asyncio.create_task(case.pipeline.all_cut())
    await settled()
    assert not cut.done()
    await case.end_job(1, 2)
    await asyncio.wait_for(cut, 1)
    assert case.sender.bodies == [["a", "b"], ["c"], ["a"]]
    assert await case.finish() == {"accepted": 4}


async def test_the_source_waits_when_too_many_rows_are_held() -> None:
    """They count once, with the rows in flight; a job that ends makes room."""
    case = Case(rows=2, max_rows=3)
    await case.add("a", "b", "c", "a")
    room = asyncio.create_task(case.pipeline.room())
    await settled()
    assert not room.done()
    await case.end_job(1, 2)
    assert room.done()
    assert await case.finish() == {"accepted": 4}


async def test_what_is_filled_is_cut_when_nothing_else_could_let_go_what_is_held() -> None:
    """Here a row waits for the open chunk: two addresses that only casefolding makes one cannot be one entry."""
    case = Case(rows=5, max_rows=1)
    await case.add("stra\u00dfe@a", "strasse@a")
    assert case.sender.bodies == [["stra\u00dfe@a"]]
    await case.end_job(1, 1)
    await asyncio.wait_for(case.pipeline.room(), 1)
    assert await case.finish() == {"accepted": 2}


async def test_a_later_row_that_goes_out_is_written_down_with_its_intent() -> None:
    """The earlier chunk is in doubt, and must not be retried from then on."""
    case = Case(rows=1, sender=FakeSender(answers(LOST), harmless=False))
    await case.add("a", "b", "a")
    await case.add("c")
    assert case.sender.bodies == [["a"], ["b"], ["a"]]
    written = journal_of(case.run).written
    overtaken = next(at for at, record in enumerate(written) if isinstance(record, PartRecord) and record.overtaken)
    sending = [at for at, one in enumerate(written) if isinstance(one, PartRecord) and one.chunk == 3]
    assert written[overtaken].chunk == 1  # type: ignore[union-attr]  # it is a part
    assert [written[at].state for at in sending[:2]] == ["unsent", "sending"]  # type: ignore[union-attr]
    assert overtaken < sending[1]
    assert await case.finish() == {"accepted": 3, "unknown": 1}


async def test_without_a_journal_nobody_is_overtaken() -> None:
    """No later process could retry what is in doubt."""
    case = Case(rows=1, sender=FakeSender(answers(LOST), harmless=False), journal=NoJournal())
    await case.add("a", "b", "a")
    assert case.pipeline._doubts == {}
    assert await case.finish() == {"accepted": 2, "unknown": 1}


# What an earlier process has cut


def recorded(
    *chunks: Sequence[str], parts: Mapping[int, Sequence[dict[str, Any]]] | None = None, whole: bool = False
) -> Callable[[], Awaitable[History]]:
    """What a journal knows of these people when their process has ended. ``parts`` says what is known of some."""

    async def made() -> History:
        records: dict[int, ChunkRecord] = {}
        row = 1
        for number, people in enumerate(chunks, 1):
            case = Case(rows=1000)
            case.row = row - 1
            await case.add(*people)
            case.pipeline.end()
            await settled()
            written = [one for one in journal_of(case.run).written if isinstance(one, ChunkRecord)]
            records[number] = evolve(written[0], number=number)
            row += len(people)
            await case.pipeline.stop(0)
        known = {
            number: [evolve(chunk.whole(), **some) for some in (parts or {}).get(number, [{}])]
            for number, chunk in records.items()
        }
        return History(run=evolve(RUN, whole=whole), chunks=records, parts=known)

    return made


async def test_settled_chunks_are_found_again_and_not_sent() -> None:
    """What is new goes on behind them."""
    history = await recorded(["a", "b"], ["c"], parts={1: [{"state": "settled", "accepted": 2}], 2: [WATCHED]})()
    case = Case(history=history)
    await case.add("a")
    await case.add("b", "c", "d")
    assert (case.sender.bodies, case.outcomes) == ([], {"accepted": 2})
    assert list(case.scheduler.watched) == [SEVENTY]
    assert await case.finish() == {"accepted": 4}
    assert case.sender.bodies == [["d"]]
    case.clean()
    assert case.kept == 0


async def test_nothing_is_sent_before_every_chunk_was_found_unchanged() -> None:
    """A row that no chunk had waits, too; jobs that are known are watched at once."""
    history = await recorded(["a", "b"], ["c"], parts={2: [WATCHED]})()
    case = Case(history=history)
    await case.add("a", "b")
    assert (case.sender.bodies, case.pipeline.sent_anything) == ([], False)
    await case.add("c")
    assert (case.sender.bodies, case.pipeline.sent_anything) == ([["a", "b"]], True)
    assert await case.finish() == {"accepted": 3}
    case.clean()


@pytest.mark.parametrize("people", [["a", "x"], ["a"]])
async def test_a_source_that_has_changed_is_refused(people: list[str]) -> None:
    """A row is another one, or is missing at the end: nothing was sent."""
    history = await recorded(["a", "b"])()
    case = Case(history=history)

    async def all_rows() -> None:
        await case.add(*people)
        case.pipeline.end()

    with pytest.raises(JournalRefused, match="changed"):
        await all_rows()
    assert case.sender.bodies == []
    await case.pipeline.stop(0)
    case.clean()


async def test_an_empty_source_is_not_the_one_that_it_was() -> None:
    """There were rows before."""
    case = Case(history=await recorded(["a"])())
    with pytest.raises(JournalRefused):
        case.pipeline.end()


async def test_recorded_chunks_that_share_a_person_go_one_after_the_other() -> None:
    """Each waits for those before it; the others do not."""
    case = Case(history=await recorded(["a"], ["a"], ["b"])())
    await case.add("a", "a", "b")
    assert case.sender.bodies == [["a"], ["b"]]
    await case.end_job(1, 1)
    assert case.sender.bodies == [["a"], ["b"], ["a"]]
    assert await case.finish() == {"accepted": 3}
    case.clean()


async def test_a_recorded_chunk_waits_for_a_known_job_of_a_later_one() -> None:
    """That one has gone out, and is watched again."""
    case = Case(history=await recorded(["a"], ["a", "b"], parts={2: [WATCHED]})())
    await case.add("a", "a", "b")
    assert case.sender.bodies == []
    await case.end_job(70, 2)
    assert case.sender.bodies == [["a"]]
    assert await case.finish() == {"accepted": 3}
    case.clean()


@pytest.mark.parametrize("most", [1, 2])
async def test_recorded_chunks_never_wait_for_each_other(most: int) -> None:
    """The second is halved: one half has a job, for which the first waits; the other half waits for the first."""
    halves = [{**WATCHED, "end": 1, "rows": 1}, {"first": 1, "rows": 1}]
    case = Case(history=await recorded(["a"], ["a", "b"], ["c"], parts={2: halves})(), max_jobs=most)
    await case.add("a", "a", "b", "c")
    await case.end_job(70, 1)
    assert await case.finish() == {"accepted": 4}
    assert [body for body in case.sender.bodies if body != ["c"]] == [["a"], ["b"]]
    case.clean()


async def test_a_chunk_that_is_watched_and_still_to_be_sent_has_one_slot_at_a_time() -> None:
    """And none when it is done."""
    halves = [{**WATCHED, "end": 1, "rows": 1}, {"first": 1, "rows": 1}]
    case = Case(history=await recorded(["a", "b"], parts={1: halves})())
    await case.add("a", "b")
    assert (case.held, case.sender.bodies) == ((1, 2), [])
    await case.end_job(70, 1)
    assert (case.held, case.sender.bodies) == ((1, 2), [["b"]])
    await case.end_job(1, 1)
    case.clean()


async def test_a_recorded_chunk_in_doubt_is_overtaken_by_the_next_of_its_people() -> None:
    """It is not retried, and that is written down before the later one goes."""
    sending = {1: [{"state": "sending", "attempts": 1}]}
    case = Case(history=await recorded(["a"], ["a"], parts=sending)(), sender=FakeSender(harmless=False))
    await case.add("a", "a")
    assert case.sender.bodies == [["a"]]
    assert journal_of(case.run).parts()[0, 1].overtaken
    assert await case.finish() == {"accepted": 1, "unknown": 1}


async def test_rows_that_no_chunk_had_go_after_the_replay() -> None:
    """In new chunks, whose numbers follow those of before; they wait for a job of their person as all others do."""
    case = Case(history=await recorded(["a"], parts={1: [WATCHED]})())
    case.pipeline.arrive(1, 3)
    case.pipeline.add(encoded(["a", "a", "b"]), case.rules, case.sender)
    assert case.pipeline.is_new(2)
    assert not case.pipeline.is_new(1)
    case.row = 3
    await case.pipeline.passed(3)
    assert case.pipeline.held_rows == 1
    await case.add("c", "d")
    assert case.sender.bodies == [["b", "c"]]
    await case.end_job(70, 1)
    assert await case.finish() == {"accepted": 5}
    assert case.sender.bodies == [["b", "c"], ["a", "d"]]
    assert [one.number for one in journal_of(case.run).written if isinstance(one, ChunkRecord)] == [2, 3]
    case.clean()


async def test_a_journal_that_fails_while_chunks_are_found_leaves_no_row_without_an_outcome() -> None:
    """What was settled before is not told to be unsent."""
    history = await recorded(["a", "b"], parts={1: [{"state": "settled", "accepted": 1, "rejected": 1}]})()
    case = Case(history=history)
    with pytest.raises(JournalRefused, match="missing"):
        await case.add("a", "b")
    assert case.outcomes == {"unknown": 2}
    assert case.kept == 0
    await case.pipeline.stop(0)
    case.clean()


async def test_known_chunks_are_settled_without_their_rows() -> None:
    """Whether there is room for their jobs or not; what was not sent waits for the source."""
    parts: dict[int, list[dict[str, Any]]] = {1: [{"state": "settled", "accepted": 1}], 2: [WATCHED], 3: [{}]}
    history = await recorded(["a"], ["b"], ["c"], parts=parts)()
    case = Case(history=history, max_jobs=1)
    case.run.engine.slots.hold(1)
    async for _ in case.run.log.recall_rows():
        pass
    for chunk in history.chunks.values():
        await case.pipeline.take_known(chunk)
    await case.end_job(70, 1)
    await asyncio.wait_for(case.pipeline.done(), 1)
    assert case.outcomes == {"accepted": 2, "not_sent": 1}
    case.run.engine.slots.release(1)
    case.clean()


# What ends the run


class Odd(BaseException):
    """Nothing that anybody expects."""


@pytest.mark.parametrize("failure", [OSError("full"), Odd("odd"), RuntimeError("a fault of ours"), KeyError("x")])
async def test_whatever_a_chunk_raises_ends_the_run(failure: Any) -> None:
    """It is not only logged, and nobody waits for ever for what comes behind."""
    taken = asyncio.get_running_loop().create_future()
    case = Case(rows=1, sender=FakeSender(answers(taken)))
    await case.add("a", "b", "a")
    taken.set_exception(failure)
    await settled()
    assert case.failures == [failure]
    assert case.outcomes == {"unknown": 1}
    await case.pipeline.stop(1)
    assert case.outcomes == {"unknown": 2}
    assert uncut(case.pipeline) == [3]
    case.clean()


async def test_a_chunk_that_is_cancelled_from_within_ends_the_run() -> None:
    """The run must not look whole."""
    case = Case(rows=1)
    await case.add("a", "b")
    case.scheduler.fail(job(1), asyncio.CancelledError())
    await settled()
    (failure,) = case.failures
    assert isinstance(failure, Error)
    assert "cancelled" in str(failure)
    await case.pipeline.stop(1)
    case.clean()


async def test_an_error_at_the_end_of_a_chunk_ends_the_run() -> None:
    """A source that is refused when the rows that were held are cut, or a hook of ours that fails."""
    refused = Case(rows=1)
    await refused.add("a", "b", "a")
    refused.pipeline.end()
    await settled()
    refused.refusal = UsageError("no such column")
    await refused.end_job(1, 1)
    assert refused.failures == [refused.refusal]
    assert (refused.outcomes, uncut(refused.pipeline)) == ({"accepted": 1}, [3])
    await refused.pipeline.stop(1)
    refused.clean()

    failing = Case(rows=1)

    def fail() -> None:
        raise Odd("odd")

    failing.pipeline._ended = fail
    await failing.add("a", "b")
    done = asyncio.create_task(failing.pipeline.done())
    await failing.end_job(1, 1)
    assert done.done()
    assert [str(failure) for failure in failing.failures] == ["odd"]
    failing.clean()


@pytest.mark.parametrize("when", ["cut", "queued"])
async def test_a_spill_that_is_full_loses_no_row(when: str, tmp_path: Any) -> None:
    """The rows of a chunk that cannot be kept were not sent, and those of one whose body cannot be kept neither."""
    request = asyncio.get_running_loop().create_future()
    case = Case(rows=1, concurrency=1, sender=FakeSender(lambda _: request))
    await case.add("a", "b")
    if when == "cut":
        case.run.spill._folder = tmp_path / "missing"
        case.run.spill.close()
    else:
        room = iter([None, None])
        store = case.run.spill.store

        def full(data: bytes) -> Any:
            if next(room, 1):
                raise OSError("full")
            return store(data)

        spill: Any = case.run.spill
        spill.store = full
    with pytest.raises(OSError, match=r"full|missing"):
        await case.add("c", "d", "e", "f", "g")
    await case.pipeline.stop(0)
    lost = set(range(1, 8)) - {row for why in case.run.ledger.unsettled for some in why.rows for row in some}
    assert lost == set(uncut(case.pipeline))
    case.clean()


# Its end


async def test_a_closed_pipeline_begins_nothing_more() -> None:
    """What was begun goes on to its end, and the rest is not sent."""
    case = Case(rows=1, max_jobs=1)
    await case.add("a", "b", "c")
    case.pipeline.close()
    assert (case.outcomes, case.pipeline.over) == ({"not_sent": 1}, True)
    done = asyncio.create_task(case.pipeline.done())
    await settled()
    assert not done.done()
    await case.end_job(1, 1)
    assert done.done()
    assert (case.sender.bodies, case.outcomes) == ([["a"]], {"accepted": 1, "not_sent": 1})
    assert [why.cause for why in case.run.ledger.unsettled] == ["the run was stopped"]
    assert uncut(case.pipeline) == [3]
    case.clean()


async def test_a_chunk_that_is_cut_after_that_is_given_up_too() -> None:
    """A reader that had read its rows already closes again."""
    case = Case(rows=1)
    case.pipeline.close()
    await case.add("a", "b")
    case.pipeline.close()
    assert (case.sender.bodies, case.outcomes) == ([], {"not_sent": 1})
    assert uncut(case.pipeline) == [2]
    await asyncio.wait_for(case.pipeline.done(), 1)
    await asyncio.wait_for(case.pipeline.room(), 1)
    await asyncio.wait_for(case.pipeline.all_cut(), 1)
    case.clean()


@pytest.mark.parametrize("found", [False, True])
async def test_known_jobs_of_recorded_chunks_are_settled_when_a_pipeline_closes(*, found: bool) -> None:
    """Whether all of them were found or not: what is still to be sent of them is not sent."""
    halves = [{**WATCHED, "end": 1, "rows": 1}, {"first": 1, "rows": 1}]
    case = Case(history=await recorded(["a", "b"], ["c"], ["d"], parts={1: halves})())
    await case.add("a", "b", "c", *(["d"] if found else []))
    case.pipeline.close()
    await case.end_job(70, 1)
    if found:
        await case.end_job(1, 1)
        await case.end_job(2, 1)
    await asyncio.wait_for(case.pipeline.done(), 1)
    assert case.outcomes == ({"accepted": 3, "not_sent": 1} if found else {"accepted": 1, "not_sent": 2})
    assert case.failures == []
    case.clean()


async def test_a_stop_waits_for_requests_and_for_nothing_else() -> None:
    """Not for jobs, not for chunks that wait for a slot, and not for other parts of a chunk that writes."""
    request = asyncio.get_running_loop().create_future()
    case = Case(rows=1, sender=FakeSender(answers(None, request)), max_jobs=2)
    await case.add("a", "b", "c", "d")
    loop = asyncio.get_running_loop()
    before = loop.time()
    stop = asyncio.create_task(case.pipeline.stop(10))
    await asyncio.sleep(1)
    assert not stop.done()
    request.set_result(None)
    await stop
    assert loop.time() - before < 1.1
    assert case.outcomes == {"unknown": 2, "not_sent": 1}
    assert case.run.ledger.jobs == [job(1), job(2)]
    case.clean()


async def test_a_stop_is_bounded() -> None:
    """A request that does not end is cancelled, and its rows are unknown."""
    case = Case(rows=1, sender=FakeSender(lambda _: asyncio.get_running_loop().create_future()))
    await case.add("a", "b", "c")
    loop = asyncio.get_running_loop()
    before = loop.time()
    await case.pipeline.stop(3)
    assert loop.time() - before == pytest.approx(3)
    assert case.outcomes == {"unknown": 2}
    case.clean()


async def test_a_stop_waits_for_what_is_being_written_and_not_for_the_rest_of_its_chunk() -> None:
    """One half is settled on disk in that moment, the job of the other one runs for hours."""
    case = Case(sender=FakeSender(answers(REFUSED)))
    await case.add("a", "b", "c")
    journal_of(case.run).open.clear()
    await case.end_job(2, 1)
    stop = asyncio.create_task(case.pipeline.stop(10))
    await asyncio.sleep(1)
    journal_of(case.run).open.set()
    await asyncio.wait_for(stop, 0.2)
    assert case.outcomes == {"accepted": 1, "unknown": 1}
    case.clean()


async def test_a_task_that_was_stopped_before_it_began_has_its_rows_posted() -> None:
    """A task that is cancelled at once never runs."""
    case = Case(rows=1)
    case.pipeline.arrive(1, 1)
    case.pipeline.add(encoded(["a"]), case.rules, case.sender)
    case.pipeline.end()
    assert len(case.pipeline._living.tasks) == 1
    await case.pipeline.stop(1)
    assert (case.outcomes, case.sender.bodies) == ({"not_sent": 1}, [])
    case.clean()


async def test_a_stop_that_is_cancelled_leaves_no_task() -> None:
    """A loop that shuts down cancels all tasks once, this one too."""
    case = Case(rows=1, sender=FakeSender(lambda _: asyncio.get_running_loop().create_future()))
    await case.add("a", "b", "c")
    stop = asyncio.create_task(case.pipeline.stop(1000))
    await settled()
    stop.cancel()
    await asyncio.wait({stop})
    assert stop.cancelled()
    assert case.outcomes == {"unknown": 2}
    case.clean()


@pytest.mark.parametrize("granted", [False, True])
async def test_a_slot_that_was_asked_for_is_given_back(*, granted: bool) -> None:
    """Other runs of the key wait for it."""
    case = Case(rows=1, max_jobs=1)
    slots: JobSlots = case.run.engine.slots
    slots.hold(1)
    await case.add("a", "b")
    assert case.sender.bodies == []
    if granted:
        slots.release(1)
    await case.pipeline.stop(0)
    if not granted:
        slots.release(1)
    await settled()
    assert case.outcomes == {"not_sent": 1}
    case.clean()


# Tasks that begin at once


@pytest.mark.eager
async def test_it_does_not_matter_when_tasks_begin() -> None:
    """People who recur, a chunk that is halved, and a lost answer: a task factory may run each task at once."""
    case = Case(rows=2, sender=FakeSender(answers(None, REFUSED, None, REFUSED, LOST)), max_jobs=2)
    await case.add("a", "b", "c", "d", "a", "c", "e", "f")
    outcomes = await case.finish()
    case.clean()
    assert case.failures == []
    assert outcomes == {"accepted": 7, "rejected": 1}
    assert len(case.sender.bodies) == 8


def test_it_shows_how_it_stands() -> None:
    """Without a row or a person."""

    async def shown() -> str:
        case = Case(rows=1, max_jobs=1, journal=FakeJournal())
        await case.add("a", "b", "a")
        text = repr(case.pipeline)
        await case.pipeline.stop(0)
        return text

    with asyncio.Runner() as runner:
        assert runner.run(shown()) == "<Pipeline: 1 chunks under way, 1 wait, 1 rows are held>"
