"""Many rows through one ingester: what they cost in requests, how late each outcome is, and that it is true.

``MJBULK_TEST_ROWS=10000`` sends this many rows at each rate, instead of fewer.
"""

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import pytest
from attrs import define, field
from support import World

import mjbulk
from mjbulk.testing import EmulatedJob, Emulator, Fault, Knobs

pytestmark = pytest.mark.long

ROWS = int(os.environ.get("MJBULK_TEST_ROWS", "0"))
POST = "POST contact/managemanycontacts"
CHUNK, LINGER = 1000, 0.2
"""The defaults."""
JOB, LOOK, AWAY = 90.0, 5.0, 30.0
"""Seconds that a job takes, the most between two looks at it, and how long submits wait after a lost answer."""
ADD: Any = {1: "addnoforce"}
FORCE: Any = {1: "addforce"}


# What rows cost


@pytest.mark.parametrize("begin_within", [0.0, 3.0], ids=["all at once", "one after the other"])
async def test_a_thousand_tasks_share_few_requests(begin_within: float) -> None:
    """Each puts ten rows, one after the other, against jobs of a second."""
    chance, loop = random.Random(1), asyncio.get_running_loop()
    knobs = Knobs(queue_seconds=0.5, prepare_seconds=0.0, import_seconds=0.5)
    async with Emulator(knobs) as emulator, World(emulator).client() as client:

        async def task(number: int) -> None:
            await asyncio.sleep(chance.uniform(0.0, begin_within))
            for row in range(10):
                assert (await ingester.put({"email": f"p{number}-{row}@example.org"})).ok

        async with client.ingest(lists=ADD) as ingester:
            began = loop.time()
            await asyncio.gather(*(task(number) for number in range(1000)))
            seconds = loop.time() - began
        chunks = emulator.count(POST)
        assert len(emulator.contacts) == 10_000
        assert chunks <= 10_000 / CHUNK + seconds / LINGER
        assert emulator.requests <= 4 * chunks


# How late outcomes are, and that they are true


@define
class Sent:
    """A row that was sent: its place in the order, and what came of it and when."""

    number: int
    email: str
    repeats: bool
    """Whether it may be repeated where its answer is lost."""
    began: float
    late: float = 0.0
    outcome: mjbulk.Outcome | None = None

    def ended(self, loop: asyncio.AbstractEventLoop, future: "asyncio.Future[mjbulk.Outcome]") -> None:
        self.late, self.outcome = loop.time() - self.began, future.result()

    @property
    def state(self) -> str:
        return self.outcome.state if self.outcome is not None else "none"


@define
class Arrivals:
    """Rows that come at random, of people of whom some come again. One in a hundred is rejected."""

    rate: float
    """Rows a second."""
    rows: int
    chance: random.Random
    sent: list[Sent] = field(factory=list)
    rejected: set[str] = field(factory=set)

    async def send(self, ingester: mjbulk.Ingester, emulator: Emulator) -> None:
        """Send all rows, each with its number, and wait for their outcomes."""
        loop = asyncio.get_running_loop()
        times = list(accumulate(self.chance.expovariate(self.rate) for _ in range(self.rows)))
        began = loop.time()
        for number, time in enumerate(times):
            await asyncio.sleep(max(0.0, began + time - loop.time()))
            row = Sent(number, self._email(number, emulator), self.chance.random() < 0.98, loop.time())
            self.sent.append(row)
            future = await ingester.send(given(row))
            future.add_done_callback(partial(row.ended, loop))
        await ingester.flush()

    def of_people(self) -> dict[str, list[Sent]]:
        """The rows of each person, in their order."""
        of_people: dict[str, list[Sent]] = defaultdict(list)
        for row in self.sent:
            of_people[row.email].append(row)
        return of_people

    def _email(self, number: int, emulator: Emulator) -> str:
        if self.sent and self.chance.random() < 0.05:
            return self.chance.choice(self.sent).email
        email = f"p{number}@example.org"
        if self.chance.random() < 0.01:
            self.rejected.add(email)
            emulator.reject(email, "Invalid email")
        return email


def given(row: Sent) -> dict[str, Any]:
    """The row as it is given: what may not be repeated is a change of the exclusion list."""
    excluded = {} if row.repeats else {"IsExcludedFromCampaigns": False}
    return {"Email": row.email, "Properties": {"age": row.number}, **excluded}


def rows_of(job: EmulatedJob) -> set[int]:
    """The numbers of the rows in a job."""
    return {row["Properties"]["age"] for row in job.rows}


def most_at_once(jobs: list[EmulatedJob]) -> int:
    """How many jobs were unfinished at once, at most."""
    steps = sorted([(job.posted, 1) for job in jobs] + [(job.ends, -1) for job in jobs])
    return max(accumulate(step for _, step in steps))


def jobs_of_outcomes(arrivals: Arrivals, emulator: Emulator) -> list[EmulatedJob]:
    """The jobs whose answers came: they are named by outcomes."""
    outcomes = [row.outcome for row in arrivals.sent if row.outcome is not None]
    known = {outcome.job.id for outcome in outcomes if outcome.job is not None}
    return [job for job in emulator.jobs.values() if job.id in known]


def check_truth(arrivals: Arrivals, emulator: Emulator) -> None:
    """Compare the outcomes of each person's rows with what the server holds of that person."""
    for email, rows in arrivals.of_people().items():
        states, contact = {row.state for row in rows}, emulator.contacts.get(email)
        if email in arrivals.rejected:
            assert states <= {"rejected", "unknown"}
            assert contact is None
            continue
        assert states <= {"accepted", "superseded", "unknown"}
        if rows[-1].state != "unknown":
            assert contact is not None
            assert (rows[-1].state, contact.properties["age"]) == ("accepted", rows[-1].number)


@pytest.mark.parametrize(
    ("lists", "rate", "rows", "max_chunks"),
    [
        (ADD, 2.0, ROWS or 600, 8),
        (ADD, 20.0, ROWS or 2000, 8),
        (ADD, 200.0, ROWS or 4000, 24),
        (FORCE, 20.0, ROWS or 2000, 8),
    ],
)
async def test_each_row_has_its_true_outcome_in_time(lists: Any, rate: float, rows: int, max_chunks: int) -> None:
    """Rows come by a Poisson process, jobs take 90 s, and the answer to each tenth POST is lost, applied or not.

    At worst a row waits for one job, whose end makes room, and then for its own: it is late by two jobs and a look. A
    look is what its job and the one before take in the eyes of the client and not of the server: linger, submit, and
    the wait for the next poll, which ``poll_max`` bounds (5 s here). Chunks have room for what comes while a job goes
    on: ``max_chunks * chunk_rows > 90 s * rate``; else rows would wait for more jobs. A row that changes the exclusion
    list goes in no chunk with others that do not, so where a person has both, each waits for the job of the one before.
    Where a row waits for an earlier one, there is a look at each job, and maybe a lost answer before it. What is
    unknown may not be repeated: it was added by force, or changes the exclusion list, and nobody else's row is in its
    chunk.
    """
    async with Emulator(Knobs(queue_seconds=30.0, prepare_seconds=0.0, import_seconds=JOB - 30.0)) as emulator:
        emulator.create_property("age", "int")
        world, arrivals = World(emulator), Arrivals(rate, rows, random.Random(rate))
        world.weather(each_tenth_is_lost())
        async with (
            world.client(poll_max=LOOK) as client,
            client.ingest(lists=lists, max_chunks=max_chunks) as ingester,
        ):
            await arrivals.send(ingester, emulator)
    check_truth(arrivals, emulator)
    answered = jobs_of_outcomes(arrivals, emulator)
    assert most_at_once(answered) <= max_chunks
    unknown = [row for row in arrivals.sent if row.state == "unknown"]
    assert all({row.number for row in unknown}.isdisjoint(rows_of(job)) for job in answered)
    assert unknown or lists is ADD
    assert lists is FORCE or not any(row.repeats for row in unknown)
    for of_one in arrivals.of_people().values():
        assert of_one[0].late <= 2 * JOB + LOOK
        changes = accumulate(a.repeats != b.repeats for a, b in pairwise(of_one))
        assert all(row.late <= (2 + n) * (JOB + LOOK + AWAY) for row, n in zip(of_one[1:], changes, strict=True))


def each_tenth_is_lost() -> Callable[[str, float], Fault | None]:
    """The answers to the tenth, the twentieth POST, and so on, are lost; of each second one the request is lost too."""
    posts = 0

    def happens(call: str, _: float) -> Fault | None:
        nonlocal posts
        posts += call == POST
        if call != POST or posts % 10:
            return None
        return Fault.drop_after() if posts % 20 else Fault.drop_before()

    return happens
