"""A chunk to its jobs: what is sent, what is written down before, and what follows from each answer."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from fake_run import (
    CALL,
    GONE,
    LOST,
    NEVER_LEFT,
    REFUSED,
    TOO_LARGE,
    Answer,
    FakeSender,
    answers,
    chunk_of,
    context,
    journal_of,
    people_in,
    record_of,
)
from support import settled

from mjbulk.chunks.chunk import Chunk
from mjbulk.errors import ApiError, NoAnswer
from mjbulk.journal.records import PartRecord
from mjbulk.mailjet.attempts import GaveUp, WasReset
from mjbulk.models import JobRef
from mjbulk.run.chunk_rows import StoredRows, rows_of_parts
from mjbulk.run.context import RunContext
from mjbulk.run.part import InDoubt, Lost, Parts, Refused, Settled, State, Unsent, Watched
from mjbulk.run.settling import Settling
from mjbulk.run.submission import Submission

WAS_RESET = WasReset(CALL, why="the connection was closed", attempts=3, sent=True)
OTHER_CALL = ApiError(400, call="POST elsewhere")
FULL = ApiError(403, call=CALL)


class Case:
    """One chunk that is to be submitted."""

    def __init__(
        self,
        *people: str,
        sender: FakeSender,
        run: RunContext | None = None,
        records: Sequence[dict[str, Any]] = ({},),
        chunk: Chunk | None = None,
    ) -> None:
        self.run = run or context()
        self.sender = sender
        chunk = chunk or chunk_of(*people)
        self.parts = Parts.of([record_of(chunk, **known) for known in records], self.run.spec.via)
        rows = StoredRows(chunk, self.run.spill, self.run.held)
        settling = Settling(self.parts, self.run, rows=rows, open_parts=rows_of_parts(chunk, self.parts))
        anything: Any = sender
        self.submission = Submission(
            self.parts, self.run, body=chunk.body, rows=rows, sender=anything, settling=settling
        )
        self.ledger = self.run.ledger
        self.journal = journal_of(self.run)

    async def submit(self) -> list[State]:
        """Submit it, and give the states of its parts."""
        await self.submission.submit()
        return [part.state for part in self.parts]

    @property
    def rejected(self) -> list[int]:
        return [rejection.row or 0 for rejection in self.ledger.rejections]


def refusing(*bad: str, how: Exception = REFUSED) -> Callable[[list[str]], Answer]:
    """Refuse each body that has one of these people in it."""
    return lambda people: how if set(bad) & set(people) else None


# What goes well


async def test_a_chunk_is_sent_once_and_its_job_is_written_down() -> None:
    """The intent is on disk before the request leaves, and the job before anybody uses it."""
    case = Case("a", "b", sender=FakeSender())
    assert await case.submit() == [Watched(JobRef("contact", 1))]
    assert case.sender.bodies == [["a", "b"]]
    assert case.journal.steps() == [(0, 2, "sending"), (0, 2, "watched")]
    assert case.ledger.jobs == [JobRef("contact", 1)]
    (part,) = case.parts
    assert (part.record.attempts, part.record.job) == (1, "contact:1")
    assert not case.submission.under_way


async def test_nothing_leaves_before_its_intent_is_on_disk() -> None:
    """A journal that takes its time holds the request back, and one that fails stops it."""
    leaving = asyncio.get_running_loop().create_future()
    case = Case("a", sender=FakeSender(answers(leaving)))
    case.journal.open.clear()
    task = asyncio.create_task(case.submission.submit())
    await settled()
    (part,) = case.parts
    assert case.submission.under_way
    assert part.state == InDoubt(own=True)
    case.journal.open.set()
    await settled()
    leaving.set_result(None)
    await task
    assert [part.state for part in case.parts] == [Watched(JobRef("contact", 1))]

    failing = Case("a", sender=FakeSender())
    failing.journal.failure = OSError("full")
    with pytest.raises(OSError, match="full"):
        await failing.submission.submit()
    (part,) = failing.parts
    assert part.state == Unsent()


async def test_what_went_through_is_learned() -> None:
    """A body of that size is known to be no larger than it may be."""
    case = Case("a", "b", sender=FakeSender())
    await case.submit()
    assert case.run.learned.passed == len("[a,b]")


# What is refused


async def test_a_refused_chunk_is_halved_down_to_the_row() -> None:
    """That row is rejected, and all others get a job; the halves are written in the place of the whole."""
    case = Case("a", "b", "c", "d", sender=FakeSender(refusing("c")))
    states = await case.submit()
    assert [type(state) for state in states] == [Watched, Settled, Watched]
    assert case.sender.bodies == [["a", "b", "c", "d"], ["a", "b"], ["c", "d"], ["c"], ["d"]]
    assert case.rejected == [3]
    parts = case.journal.parts()
    assert {entries: part.state for entries, part in parts.items()} == {
        (0, 4): "halved",
        (0, 2): "watched",
        (2, 4): "halved",
        (2, 3): "settled",
        (3, 4): "watched",
    }
    assert [parts[some].rows for some in ((0, 2), (2, 3), (3, 4))] == [2, 1, 1]


async def test_rows_that_were_merged_are_halved_with_their_entry() -> None:
    """A half has as many rows as its entries stand for."""
    case = Case("a", "b", "a", "c", "a", sender=FakeSender(answers(REFUSED)))
    await case.submit()
    assert [(part.size, part.record.rows) for part in case.parts] == [(1, 3), (2, 2)]


@pytest.mark.parametrize("refusal", [OTHER_CALL, FULL])
async def test_what_no_row_is_at_fault_for_is_raised(refusal: ApiError) -> None:
    """It is another call that was refused, or the status is no row's fault: the run halts, and nothing is halved."""
    case = Case("a", "b", sender=FakeSender(answers(refusal)))
    with pytest.raises(ApiError) as raised:
        await case.submit()
    assert raised.value is refusal
    assert [part.state for part in case.parts] == [Unsent()]
    assert case.sender.bodies == [["a", "b"]]


async def test_only_a_413_says_that_a_body_is_too_large() -> None:
    """The limit is lowered where half of a body succeeds that was too large, and not after a 400."""
    for refusal, most in ((TOO_LARGE, len("[a,b,c,d]") // 2), (REFUSED, 10_000)):
        case = Case(
            "a", "b", "c", "d", sender=FakeSender(answers(refusal)), run=context(settings={"chunk_bytes": 10_000})
        )
        await case.submit()
        assert case.run.learned.most == max(most, len("[a,b]"))


async def test_a_hundred_refused_rows_in_a_row_do_not_halt_a_run_and_one_more_does() -> None:
    """Then the account and not the data is at fault; a row that is taken in between begins the count again."""
    run = context()
    for _ in range(100):
        await Case("a", sender=FakeSender(answers(REFUSED)), run=run).submit()
    assert run.refused_in_a_row == 100
    await Case("a", sender=FakeSender(), run=run).submit()
    assert run.refused_in_a_row == 0
    for _ in range(100):
        await Case("a", sender=FakeSender(answers(REFUSED)), run=run).submit()
    with pytest.raises(ApiError):
        await Case("a", sender=FakeSender(answers(REFUSED)), run=run).submit()
    with pytest.raises(ApiError):
        await Case("a", "b", sender=FakeSender(answers(REFUSED)), run=run).submit()


async def test_refused_rows_are_settled_when_every_part_was_tried() -> None:
    """Not when the run stops before: the next process tries them again."""
    case = Case("a", "b", sender=FakeSender(answers(REFUSED, REFUSED, REFUSED)))
    assert [type(state) for state in await case.submit()] == [Settled, Settled]

    stopped = Case("a", "b", sender=FakeSender())

    def stop(people: list[str]) -> Answer:
        stopped.run.stopping = len(people) == 1
        return REFUSED

    stopped.sender.answer = stop
    assert [type(state) for state in await stopped.submit()] == [Refused, Unsent]
    assert stopped.rejected == []


# What is lost


async def test_what_converges_is_retried_after_a_lost_answer() -> None:
    """Its intent is written before each attempt, and it is in doubt in between."""
    case = Case("a", sender=FakeSender(answers(LOST)))
    assert await case.submit() == [Watched(JobRef("contact", 2))]
    (part,) = case.parts
    assert part.record.attempts == 2
    assert case.journal.steps() == [(0, 1, "sending"), (0, 1, "sending"), (0, 1, "watched")]


async def test_what_does_not_converge_is_left_in_doubt() -> None:
    """It is sent once, stays ``sending`` on disk, and the cause is written with the next record."""
    case = Case("a", sender=FakeSender(answers(LOST), harmless=False))
    assert await case.submit() == [Lost(str(LOST))]
    assert case.sender.bodies == [["a"]]
    assert case.journal.steps() == [(0, 1, "sending")]
    (waiting,) = case.journal.waiting
    assert isinstance(waiting, PartRecord)
    assert (waiting.state, waiting.cause) == ("sending", str(LOST))


async def test_answers_that_are_always_lost_halt_the_run() -> None:
    """After as many attempts as the settings allow."""
    case = Case("a", sender=FakeSender(lambda _: LOST), run=context(settings={"attempts": 3}))
    with pytest.raises(GaveUp) as raised:
        await case.submit()
    assert (len(case.sender.bodies), raised.value.sent) == (3, True)
    assert [part.state for part in case.parts] == [InDoubt(own=True)]


@pytest.mark.parametrize(("failure", "state"), [(GONE, InDoubt(own=True)), (NEVER_LEFT, Unsent())])
async def test_a_transport_that_gives_up_halts_the_run(failure: Exception, state: State) -> None:
    """What was in doubt stays so, and what never left was not sent."""
    case = Case("a", sender=FakeSender(answers(failure)))
    with pytest.raises(GaveUp):
        await case.submit()
    assert [part.state for part in case.parts] == [state]


async def test_what_was_not_applied_after_all_is_written_so() -> None:
    """The request came back without an effect: a process that goes on need not fear for its rows."""
    case = Case("a", sender=FakeSender(answers(FULL)))
    with pytest.raises(ApiError):
        await case.submit()
    assert case.journal.steps() == [(0, 1, "sending")]
    (waiting,) = case.journal.waiting
    assert isinstance(waiting, PartRecord)
    assert waiting.state == "unsent"


@pytest.mark.parametrize(
    ("known", "resend", "sent"), [({}, "safe", 1), ({"overtaken": True}, "safe", 0), ({"overtaken": True}, "always", 1)]
)
async def test_what_was_overtaken_is_not_retried(known: dict[str, Any], resend: Any, sent: int) -> None:
    """A later row of one of its people has gone out, and the earlier one would win."""
    records = [{"state": "sending", "attempts": 1, **known}]
    case = Case("a", sender=FakeSender(), run=context(resend=resend), records=records)
    (state,) = await case.submit()
    assert len(case.sender.bodies) == sent
    assert isinstance(state, Watched if sent else Lost)


async def test_an_import_that_is_found_is_used() -> None:
    """Nothing is sent, whether that could do harm or not, and it is written before it is used."""
    sender = FakeSender(harmless=False)
    sender.imports[5] = JobRef("csvimport", 9)
    case = Case("a", sender=sender, run=context(via="csv"), records=[{"state": "sending", "attempts": 1, "data_id": 5}])
    assert await case.submit() == [Watched(JobRef("csvimport", 9))]
    assert sender.bodies == []
    assert case.journal.commits[0][-1] == case.journal.parts()[0, 1]
    assert case.journal.steps()[0] == (0, 1, "watched")


async def test_a_large_body_that_is_reset_is_halved() -> None:
    """Its size may be the reason: the limit is learned where a half succeeds."""
    case = Case("a", "b", sender=FakeSender(answers(WAS_RESET)))
    assert [type(state) for state in await case.submit()] == [Watched, Watched]
    assert [part.record.state for part in case.parts] == ["watched", "watched"]
    assert case.sender.bodies == [["a", "b"], ["a"], ["b"]]


async def test_a_row_alone_that_is_reset_is_in_doubt_where_others_get_through() -> None:
    """Where nothing has got through yet, it is an outage."""
    outage = Case("a", sender=FakeSender(answers(WAS_RESET)))
    with pytest.raises(WasReset):
        await outage.submit()
    case = Case("a", sender=FakeSender(answers(WAS_RESET)))
    case.run.learned.passes(100)
    assert await case.submit() == [Lost(str(WAS_RESET))]


# Doubts about rows that are refused


async def test_a_refused_row_was_not_applied_with_the_body_it_came_from() -> None:
    """Its body was refused for it, whatever became of an answer before; a sibling that is taken shows that."""
    case = Case("a", "b", "c", "d", sender=FakeSender(lambda _: None))
    those = iter([LOST, REFUSED])
    case.sender.answer = lambda people: next(those) if len(people) == 4 else refusing("d")(people)
    assert [type(state) for state in await case.submit()] == [Watched, Watched, Settled]
    assert (case.rejected, case.ledger.unknown) == ([4], 0)


async def test_a_refused_row_stays_in_doubt_where_nothing_is_taken() -> None:
    """The refusals may be about the account, and the first request may have been applied."""
    case = Case("a", "b", sender=FakeSender(answers(LOST, REFUSED, REFUSED, REFUSED)))
    states = await case.submit()
    assert states == [Refused("no", InDoubt(own=False)), Refused("no", InDoubt(own=False))]
    assert case.rejected == []


async def test_a_sibling_that_is_taken_later_clears_the_doubt() -> None:
    """Also the doubt about a request of the row's own."""
    case = Case("a", "b", sender=FakeSender(answers(REFUSED, LOST, REFUSED)))
    assert [type(state) for state in await case.submit()] == [Settled, Watched]
    assert case.rejected == [1]


async def test_a_sibling_that_was_taken_before_does_not_clear_a_row_s_own_doubt() -> None:
    """Its own request may have been applied since."""
    case = Case("a", "b", sender=FakeSender(answers(REFUSED, None, LOST, REFUSED)))
    assert await case.submit() == [Watched(JobRef("contact", 2)), Refused("no", InDoubt(own=True))]
    assert case.rejected == []


async def test_an_inherited_doubt_is_cleared_by_what_an_earlier_process_has_sent() -> None:
    """One part has a job already: the whole, which the lost answer was about, was refused for its row."""
    chunk = chunk_of("a", "b")
    records = [
        {"end": 1, "rows": 1, "state": "watched", "job": "contact:7"},
        {"first": 1, "end": 2, "rows": 1, "state": "sending"},
    ]
    case = Case(sender=FakeSender(answers(REFUSED)), chunk=chunk, records=records)
    states = await case.submit()
    assert [type(state) for state in states] == [Watched, Settled]
    assert case.rejected == [2]


# Bodies


async def test_the_body_may_lie_on_disk() -> None:
    """Parts of it are read when they are sent."""
    case = Case("a", "b", "c", sender=FakeSender(answers(REFUSED)))
    case.submission.spill_body()
    case.submission.spill_body()
    await case.submit()
    assert case.sender.bodies == [["a", "b", "c"], ["a"], ["b", "c"]]
    case.submission.drop_body()
    case.submission.drop_body()


async def test_without_its_body_nothing_is_sent() -> None:
    """It was dropped with the chunk."""
    case = Case("a", sender=FakeSender())
    case.submission.drop_body()
    await case.submit()
    assert case.sender.bodies == []


async def test_a_body_that_cannot_be_read_is_no_row_s_fault() -> None:
    """The run halts, and nothing was sent."""
    case = Case("a", sender=FakeSender())
    case.submission.spill_body()
    case.run.spill.close()
    with pytest.raises(ValueError, match="closed"):
        await case.submit()
    assert [part.state for part in case.parts] == [Unsent()]


# Cancelled


@pytest.mark.parametrize("sent", [False, True])
async def test_a_cancelled_request_is_in_doubt_only_if_it_may_have_left(*, sent: bool) -> None:
    """Before its intent is on disk, nothing has left."""
    case = Case("a", sender=FakeSender(answers(asyncio.get_running_loop().create_future())))
    if not sent:
        case.journal.open.clear()
    task = asyncio.create_task(case.submission.submit())
    await settled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [part.state for part in case.parts] == [InDoubt(own=True) if sent else Unsent()]
    assert not case.submission.under_way


async def test_a_job_is_still_under_way_while_it_is_written_down() -> None:
    """A stop of the run waits for that: the job would be known to nobody."""
    case = Case("a", sender=FakeSender())
    taken = asyncio.get_running_loop().create_future()
    case.sender.answer = lambda _: taken
    task = asyncio.create_task(case.submission.submit())
    await settled()
    case.journal.open.clear()
    taken.set_result(None)
    await settled()
    assert case.submission.under_way
    case.journal.open.set()
    await task
    assert not case.submission.under_way


def test_people_are_read_from_a_body() -> None:
    """The tests above look at bodies through this."""
    assert people_in(chunk_of("a", "b").body.data) == ["a", "b"]
    assert isinstance(LOST, NoAnswer)
