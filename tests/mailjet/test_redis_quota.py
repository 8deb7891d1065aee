"""The quota of API keys that many processes share, in a Redis that has the time of the loop."""

import asyncio
import json
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from attrs import astuple
from fake_redis import Memory, gates, quota_of
from support import KEYS, World, most_within

import mjbulk
from mjbulk.mailjet.pace import Pace
from mjbulk.mailjet.quota import Gate
from mjbulk.mailjet.redis_quota import RedisQuota
from mjbulk.mailjet.redis_store import RedisAway, RedisRefuses, RedisUnusable

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
AWAY = RedisAway("nothing listens there")
READ_ONLY = RedisUnusable("it is a read-only replica")
WHERE = "the quota in Redis at cache:6379"


def now() -> float:
    return asyncio.get_running_loop().time()


async def starts_of(made: list[Gate], count: int) -> list[float]:
    """Give the times at which ``count`` requests were granted, spread over gates that all want more."""
    found = list[float]()

    async def request(number: int) -> None:
        async with made[number % len(made)].grant("submit"):
            found.append(now())

    await asyncio.gather(*(request(number) for number in range(count)))
    return found


async def until(happened: Callable[[], bool]) -> None:
    while not happened():  # the emulator counts, and has no event to wait for
        await asyncio.sleep(0.1)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        f"{record.levelname} {record.getMessage()}" for record in caplog.records if record.name == "mjbulk.requests"
    ]


# One pace for all


async def test_all_who_share_it_are_paced_together() -> None:
    """Four processes of a key keep the rate together, without a burst, and each has its share."""
    made = gates(Memory(), 4, max_rate=100.0)
    starts = await starts_of(made, 60)
    assert starts[-1] - starts[0] == pytest.approx(0.59 / (1 - 0.03), abs=0.003)  # up to 0.04 are left out
    assert min(later - earlier for earlier, later in pairwise(sorted(starts))) > 0.005


@pytest.mark.parametrize("late", [0.0, 0.03, 0.06, 0.1, 0.4])
async def test_no_second_holds_more_requests_than_the_quota(late: float) -> None:
    """Not even where some leave later than they should: a journal may be slow."""
    made, chance, left = gates(Memory(), 2, max_rate=40.0), Random(1), list[float]()

    async def request(one: Gate) -> None:
        async with one.grant("submit") as start:
            await asyncio.sleep(late * chance.random() * (chance.random() < 0.3))
            one.left(start)
            left.append(now())

    await asyncio.gather(*(request(made[number % 2]) for number in range(400)))
    assert most_within(1.0, sorted(left)) <= 40
    assert late > 0.1 or left[-1] - left[0] < 10 / 0.85


@pytest.mark.parametrize("processes", [2, 4])
async def test_no_second_holds_more_where_all_processes_stand_still_now_and_then(processes: int) -> None:
    """A machine that is busy for a moment delays one request of each, which come with those of the next second."""
    made, chance, left = gates(Memory(), processes, max_rate=40.0), Random(4), list[float]()
    busy, at = list[tuple[float, float]](), 0.0
    while at < 30:
        at += chance.uniform(0.8, 2.5)
        busy.append((at, at + chance.uniform(0.02, 0.12)))

    async def request(one: Gate) -> None:
        async with one.grant("submit") as start:
            began = now()
            if ends := [end for begin, end in busy if begin <= began < end]:
                await asyncio.sleep(ends[0] - began)
            one.left(start)
            left.append(now())

    await asyncio.gather(*(request(made[number % processes]) for number in range(600)))
    assert most_within(1.0, sorted(left)) <= 40
    assert left[-1] - left[0] < 15 / 0.85


async def test_a_429_to_one_stops_and_slows_all() -> None:
    """A process without a 429 waits as well, and goes on at the rate that was learned."""
    one, other = gates(Memory(), 2)
    await starts_of([one, other], 40)
    async with one.grant("poll") as start:
        await one.throttled(start, 30.0)
    stopped = now()
    starts = await starts_of([other], 12)
    assert starts[0] - stopped >= 29.9
    assert starts[-1] - starts[0] >= 11 / 60


async def test_a_start_that_was_reserved_before_a_429_of_another_is_not_taken() -> None:
    """A process that slept until its start asks again, and sees that the key was stopped meanwhile."""
    one, other = gates(Memory(), 2, max_rate=5.0)
    async with one.grant("poll") as start:
        waiting = asyncio.create_task(starts_of([other], 1))
        await asyncio.sleep(0.1)
        await one.throttled(start, 10.0)
        stopped = now()
    assert (await waiting)[0] - stopped >= 9.9


class Limited:
    """A server that allows 20 requests in each second of its clock, and does not say so."""

    def __init__(self) -> None:
        self.allowed, self.refused = Counter[int](), Counter[int]()

    async def keep_asking(self, one: Gate) -> None:
        """Send one request after the other, and learn from the answers."""
        while True:
            async with one.grant("submit") as start:
                second = int(now())
                allowed = self.allowed[second] + self.refused[second] < 20
                (self.allowed if allowed else self.refused)[second] += 1
                await asyncio.sleep(0)
                await (one.answered(start) if allowed else one.throttled(start, None))

    def used(self, seconds: range) -> tuple[float, float]:
        """Give the share of its limit that was used, and the share of 429s."""
        allowed, refused = (sum(counts[second] for second in seconds) for counts in (self.allowed, self.refused))
        return allowed / (20 * len(seconds)), refused / (allowed + refused)


async def test_processes_share_what_a_server_allows() -> None:
    """Four processes learn together what a server allows that does not say it. When one is killed, the three that are
    left use its share as well.
    """
    made, server = gates(Memory(), 4), Limited()
    running = [asyncio.create_task(server.keep_asking(one)) for one in made]
    await asyncio.sleep(30)
    running[0].cancel()
    await asyncio.sleep(20)
    for task in running[1:]:
        task.cancel()
    await asyncio.gather(*(one.aclose(1.0) for one in made), *running, return_exceptions=True)
    for four_or_three in (range(10, 30), range(30, 50)):
        used, refused = server.used(four_or_three)
        assert 0.9 <= used <= 1.0
        assert refused <= 0.01


# Redis away


async def test_requests_wait_for_a_redis_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """For as long as it takes: no request fails, none starts, and one warning says so. They go on at their pace."""
    caplog.set_level(logging.INFO, "mjbulk")
    memory = Memory()
    made = gates(memory, 2, max_rate=50.0)
    await starts_of(made, 4)
    memory.fails = AWAY
    waiting = asyncio.create_task(starts_of(made, 60))
    await asyncio.sleep(300)
    assert not waiting.done()
    memory.fails, back = None, now()
    starts = await waiting
    assert len(starts) == 60
    assert back <= starts[0] < back + 1
    assert starts[-1] - starts[0] >= 58 / 50
    assert messages(caplog) == [
        *[f"WARNING {WHERE} is away (nothing listens there): requests wait for it"] * 2,
        *[f"INFO {WHERE} is used again"] * 2,
    ]


async def test_a_short_absence_is_not_worth_a_word(caplog: pytest.LogCaptureFixture) -> None:
    """As when Redis starts again."""
    memory = Memory()
    (one,) = gates(memory)
    await starts_of([one], 1)
    memory.fails = AWAY
    waiting = asyncio.create_task(starts_of([one], 1))
    await asyncio.sleep(3)
    memory.fails = None
    await waiting
    assert messages(caplog) == []


async def test_an_answer_does_not_wait_for_its_lesson() -> None:
    """While Redis is away, a 429 is noted; once it is back, the lesson is the first that it hears."""
    memory = Memory()
    one, other = gates(memory, 2)
    async with one.grant("submit") as start:
        memory.fails = AWAY
        began = now()
        await one.throttled(start, 40.0)
        await one.throttled(start, 60.0)
        await one.answered(start)
        assert now() - began < 0.1
    await asyncio.sleep(100)
    memory.fails, back = None, now()
    await starts_of([one], 1)
    assert now() - back >= 59
    await starts_of([other], 1)
    assert now() - back >= 59


@pytest.mark.parametrize(("why", "seconds"), [(AWAY, 4), (RedisRefuses("its password is wrong"), 0)])
async def test_a_redis_that_was_never_there_is_an_error_soon(why: RedisAway, seconds: int) -> None:
    """Within 5 s where it may come yet, at once where it will not; the sentence says where and why."""
    (one,) = gates(Memory(fails=why))
    with pytest.raises(mjbulk.Error) as caught:
        await starts_of([one], 3)
    assert str(caught.value) == f"{WHERE} cannot be used: {why}"
    assert caught.value.__cause__ is None
    assert seconds <= now() < seconds + 0.5


async def test_a_redis_that_is_silent_from_the_start_is_an_error_soon() -> None:
    """Also where nothing at all comes back."""
    quota = quota_of(Memory(silent=True))
    with pytest.raises(mjbulk.Error, match=f"{WHERE} cannot be used: it does not answer"):
        await quota.change("key", lambda pace, _: (pace, None))
    assert now() == pytest.approx(4, abs=0.01)


async def test_a_redis_that_comes_up_a_moment_later_is_waited_for() -> None:
    """Services start side by side."""
    memory = Memory(fails=AWAY)
    waiting = asyncio.create_task(starts_of(gates(memory), 3))
    await asyncio.sleep(2)
    memory.fails = None
    assert len(await waiting) == 3


async def test_a_run_that_waits_for_its_jobs_outlives_redis(world: World) -> None:
    """Redis is away for ten minutes while jobs of a minute end: nothing halts, and all is accepted."""
    async with world.turned(queue_seconds=60.0) as slow:
        memory = Memory()
        async with mjbulk.Client(KEYS, slow.settings(), quota=quota_of(memory, max_rate=50)) as client:
            run = client.start_import([{"email": f"p{n}@example.org"} for n in range(3)], lists=ADD)
            await until(lambda: slow.posts() > 0)
            memory.fails = AWAY
            await asyncio.sleep(600)
            assert run.report is None
            memory.fails = None
            report = await run
    assert (report.accepted, report.unknown) == (3, 0)


async def test_submits_are_held_and_a_time_limit_ends_them(world: World) -> None:
    """What would be sent while Redis is away waits for it, and is not sent where the run's time is over."""
    memory = Memory()
    settings = world.settings(chunk_rows=1, concurrency=1)
    async with mjbulk.Client(KEYS, settings, quota=quota_of(memory, max_rate=1)) as client:
        run = client.start_import([{"email": f"p{n}@example.org"} for n in range(30)], lists=ADD, timeout=100)
        await until(lambda: world.posts() > 0)
        memory.fails = AWAY
        with pytest.raises(mjbulk.ImportTimeout) as caught:
            await run
    assert now() == pytest.approx(100, abs=1)
    assert world.posts() < 4
    assert caught.value.report.not_sent > 25


# Its clock, and loops of others


@pytest.mark.parametrize("back", [-3600.0, 0.5, 10.0, 3600.0])
async def test_a_clock_that_is_set(back: float) -> None:
    """By whatever time, as where another Redis takes over: nobody waits for it, and the starts are as far apart,
    except one of each process when it sees that.
    """
    memory = Memory()
    made = gates(memory, 3, max_rate=10.0)
    before = await starts_of(made, 30)
    memory.clock -= back
    after = await starts_of(made, 30)
    assert after[-1] - before[-1] < 5.0
    assert most_within(1.0, after) <= 10 + len(made)
    assert most_within(1.0, await starts_of(made, 30)) <= 10


async def test_a_pause_when_the_clock_is_set_back() -> None:
    """It lasts as long as the server asked for."""
    memory = Memory()
    (one,) = gates(memory)
    async with one.grant("submit") as start:
        wait = await one.throttled(start, 100.0)
    memory.clock -= 3600.0
    assert await starts_of([one], 1) == [pytest.approx(wait, abs=1.0)]


def test_a_quota_of_another_loop() -> None:
    """It is refused by a sentence until it is closed where it was opened."""
    quota = quota_of(Memory())

    async def use() -> int:
        return await quota.change("key", lambda pace, _: (pace, 7))

    async def close_elsewhere() -> None:
        await quota.aclose()
        await use()

    async def main() -> None:
        assert await use() == 7
        for call in (use, close_elsewhere):
            with pytest.raises(mjbulk.UsageError, match="this quota belongs to another event loop"):
                await asyncio.to_thread(asyncio.run, call())
        assert await use() == 7
        await quota.aclose()
        assert await asyncio.to_thread(asyncio.run, use()) == 7

    asyncio.run(main())
    with pytest.raises(mjbulk.UsageError, match="this quota belongs to an event loop that has ended: make another one"):
        asyncio.run(use())


# Redis that cannot be used


FOREIGN = "the value of mjbulk:pace:1:key is not from mjbulk: delete it, or use another database (redis://host:port/1)"
PACE = json.dumps(astuple(Pace())).encode()


async def rate_of(made: list[Gate], count: int) -> float:
    """Give the requests a second at which gates grant many of them, all in all."""
    starts = sorted(await starts_of(made, count))
    return (count - len(made)) / (starts[-1] - starts[0])


def spoil(memory: Memory, how: str) -> None:
    """Make a Redis of no use."""
    if how == "foreign":
        memory.values["key"] = b"somebody else's"
    elif how == "read only":
        memory.read_only = READ_ONLY
    else:
        memory.fails = READ_ONLY if how == "useless" else RedisRefuses(str(READ_ONLY))


@pytest.mark.parametrize("how", ["foreign", "read only", "useless", "refusing"])
async def test_each_goes_on_alone_at_its_share(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """The starts of four processes are together never faster than the rate. One warning of each says why, and how fast
    it goes.
    """
    memory = Memory()
    made = gates(memory, 4, max_rate=20.0)
    await starts_of(made, 60)
    spoil(memory, how)
    assert 19 <= await rate_of(made, 400) <= 20.01
    why = FOREIGN if how == "foreign" else str(READ_ONLY)
    share = "this process sends at most 5 requests a second on its own (20, shared by 4)"
    assert messages(caplog) == [f"WARNING {WHERE} cannot be used: {why}; {share}"] * 4


@pytest.mark.parametrize("how", ["foreign", "read only"])
async def test_processes_that_begin_alone_count_each_other(how: str) -> None:
    """What cannot be written was written before, or can be written under another name."""
    memory = Memory(processes={"key": set(map(str, range(3)))})
    spoil(memory, how)
    assert 4.5 <= await rate_of(gates(memory, 1, max_rate=20.0), 40) <= 5.01


async def test_a_redis_that_can_be_used_again_is_used_again(caplog: pytest.LogCaptureFixture) -> None:
    """It is looked at every ten seconds; then all are paced together, and a number that has changed counts."""
    caplog.set_level(logging.INFO, "mjbulk")
    memory = Memory()
    made = gates(memory, 2, max_rate=20.0)
    await starts_of(made, 60)
    spoil(memory, "foreign")
    await starts_of(made, 400)
    del memory.values["key"]
    await asyncio.sleep(11)
    assert 17.8 <= await rate_of(made, 400) <= 18.1  # 2 of 20 are left out
    assert memory.values["key"]
    assert messages(caplog)[2:] == [f"INFO {WHERE} is used again"] * 2


async def test_what_was_learned_is_kept_alone() -> None:
    """The rate after a 429 is that of all, and each has its share of it."""
    memory = Memory()
    made = gates(memory, 2, max_rate=100.0)
    await starts_of(made, 200)
    async with made[0].grant("submit") as start:
        await made[0].throttled(start, 10.0)
    await starts_of(made, 2)
    spoil(memory, "read only")
    assert 80 <= await rate_of(made, 400) <= 92


@pytest.mark.parametrize(
    "value",
    [b"x", b"", b"{}", b"[]", b"[1]", b"7", b"null", b"[0,0,0,0,0,0,0,0,0,0]", b'["",0,1,1,0,0,0,0,0,0]', b"\xff",
     b"[0,0,NaN,1,0,0,0,0,0,0]", PACE + b"]", PACE.replace(b"[0.0", b"[[]"), PACE.replace(b"]", b", 1]")],
)  # fmt: skip
async def test_values_of_others_raise_nothing(value: bytes) -> None:
    """Whatever stands there, a request is granted, and it stays there."""
    memory = Memory(values={"key": value})
    await starts_of(gates(memory), 2)
    assert not value or memory.values["key"] == value


async def test_keys_do_not_disturb_each_other(caplog: pytest.LogCaptureFixture) -> None:
    """One tenant's value is foreign: another one's is used, and there is one warning."""
    memory = Memory()
    quota = quota_of(memory, max_rate=50.0)
    one, other = (Gate(quota, key, concurrency=8, chance=Random(1)) for key in ("key", "other"))
    spoil(memory, "foreign")
    for _ in range(5):
        await asyncio.gather(starts_of([one], 100), starts_of([other], 100))
    assert json.loads(memory.values["other"])[0] > 1e9
    assert len(messages(caplog)) == 1


# The quota as a value


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RedisQuota("localhost:6379", max_rate=1), "redis://..., rediss://... or unix://..."),
        (lambda: RedisQuota("http://:secret@localhost", max_rate=1), "redis://..., rediss://... or unix://..."),
        (lambda: RedisQuota("redis://h?wrong=secret", max_rate=1), "a word after ? that redis-py does not know"),
        *((lambda rate=rate: RedisQuota("redis://h", max_rate=rate), "max_rate is a number above 0")
          for rate in (0, -1, float("inf"), float("nan"), True, "5", None)),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(make: Callable[[], Any], said: str) -> None:
    """A wrong address or rate is refused when the quota is made."""
    with pytest.raises(mjbulk.UsageError) as caught:
        make()
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_repr_has_no_address() -> None:
    """A password may stand in it."""
    assert repr(RedisQuota("redis://:secret@host/0", max_rate=12.5)) == "<RedisQuota 12.5 a second>"


def test_a_missing_extra_is_named() -> None:
    """Importing mjbulk needs no Redis library; making the quota does, and says how to get it."""
    code = (
        "import sys; sys.modules['redis'] = None; import mjbulk; quota = mjbulk.RedisQuota\n"
        "try: quota('redis://h', max_rate=1)\nexcept mjbulk.UsageError as why: print(why)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'mjbulk[redis]'" in done.stdout
