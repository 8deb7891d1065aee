"""The quota of API keys in Redis."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from redis.asyncio import Redis
from support import KEYS, World

import mjbulk
from benchmarks import quota
from benchmarks.redis_server import RedisServer, program, serving
from mjbulk.mailjet.quota import Gate
from mjbulk.mailjet.redis_quota import RedisQuota
from mjbulk.testing import Emulator


@pytest.fixture
def server() -> Iterator[RedisServer]:
    found = program()
    if found is None:
        pytest.skip("Redis is not installed (on Debian: apt-get install redis-server)")
    with serving(found) as running:
        yield running


@asynccontextmanager
async def gates(url: str, count: int = 1, *, max_rate: float = 1000.0) -> AsyncIterator[list[Gate]]:
    """Gates of one key, each with connections of its own, as processes have them."""
    made = [Gate(RedisQuota(url, max_rate=max_rate), "key", concurrency=8, chance=Random(n)) for n in range(count)]
    try:
        yield made
    finally:
        await asyncio.gather(*(one.aclose() for one in made))


async def starts_of(made: list[Gate], count: int) -> list[float]:
    """Give the times at which ``count`` requests were granted, spread over gates that all want more."""
    found, clock = list[float](), asyncio.get_running_loop()

    async def request(number: int) -> None:
        async with made[number % len(made)].grant("submit"):
            found.append(clock.time())

    await asyncio.gather(*(request(number) for number in range(count)))
    return found


@pytest.mark.real_time
async def test_all_who_share_it_are_paced_together(server: RedisServer) -> None:
    """Four processes of a key keep the rate together, without a burst, and each has its share."""
    async with gates(server.url, 4, max_rate=100.0) as made:
        starts = await starts_of(made, 60)
    assert 0.58 <= starts[-1] - starts[0] < 1.2
    assert sum(later - earlier < 0.004 for earlier, later in pairwise(starts)) < 12


@pytest.mark.real_time
async def test_a_429_to_one_stops_and_slows_all(server: RedisServer) -> None:
    """A process without a 429 waits as well, and goes on at the rate that was learned."""
    async with gates(server.url, 2) as (one, other):
        await starts_of([one, other], 40)
        async with one.grant("poll") as start:
            await one.throttled(start, 1.2)
        stopped = asyncio.get_running_loop().time()
        starts = await starts_of([other], 12)
    assert starts[0] - stopped >= 1.19
    assert starts[-1] - starts[0] >= 11 / 60


@pytest.mark.real_time
async def test_a_start_that_was_reserved_before_a_429_of_another_is_not_taken(server: RedisServer) -> None:
    """A process that slept until its start asks again, and sees that the key was stopped meanwhile."""
    async with gates(server.url, 2, max_rate=5.0) as (one, other):
        clock = asyncio.get_running_loop()
        async with one.grant("poll") as start:
            waiting = asyncio.create_task(starts_of([other], 1))
            await asyncio.sleep(0.1)
            await one.throttled(start, 1.0)
            stopped = clock.time()
        assert (await waiting)[0] - stopped >= 0.99


@pytest.mark.real_time
async def test_redis_holds_no_key(server: RedisServer) -> None:
    """The API key is a fingerprint there, the values are numbers, and they are forgotten after a day."""
    quota = RedisQuota(server.url, max_rate=100)
    async with Emulator() as emulator, mjbulk.Client(KEYS, World(emulator).settings(), quota=quota) as client:
        assert (await client.import_contacts([{"email": "ann@example.org"}], lists={1: "addnoforce"})).ok
    async with Redis.from_url(server.url) as redis:
        names = [name async for name in redis.scan_iter()]
        values = [await redis.get(name) for name in names]
        assert [await redis.ttl(name) for name in names] == [pytest.approx(24 * 3600, abs=60)]
    said = f"{names[0].decode()} {values}"
    assert said.startswith("mjbulk:pace:1:")
    assert not any(secret in said for secret in (KEYS.public, KEYS.private, "ann"))


@pytest.mark.real_time
async def test_redis_may_die_and_come_back(server: RedisServer) -> None:
    """It is killed while requests wait and starts again with an empty memory: no request fails."""
    async with gates(server.url, 2, max_rate=50.0) as made:
        requests = asyncio.create_task(starts_of(made, 60))
        await asyncio.sleep(0.4)
        server.kill()
        await asyncio.sleep(0.4)
        assert not requests.done()
        server.start()
        starts = await requests
    assert len(starts) == 60
    assert starts[-1] - starts[0] > 57 / 50  # at its pace, except for what was lost with its memory


async def test_a_redis_that_stays_away_is_an_error_in_the_end() -> None:
    """Requests wait for half a minute; the error says what did not answer, without its address."""
    async with gates("unix:///nowhere/secret-place.sock") as made:
        with pytest.raises(mjbulk.Error) as caught:
            await starts_of(made, 3)
    assert str(caught.value) == "the quota in Redis has not answered for 30 s"
    assert 30 <= asyncio.get_running_loop().time() < 31
    assert caught.value.__cause__ is None


async def test_a_run_without_its_redis_halts_with_its_rows_unsent(world: World) -> None:
    """Nothing is sent without a grant, and the report says why."""
    quota = RedisQuota("redis://127.0.0.1:1/0", max_rate=10)
    async with mjbulk.Client(KEYS, world.settings(), quota=quota) as client:
        with pytest.raises(mjbulk.Error) as caught:
            await client.import_contacts([{"email": "a@example.org"}], lists={1: "addnoforce"})
    assert "the quota in Redis has not answered for 30 s" in f"{caught.value} {caught.value.__cause__}"
    assert world.emulator.requests == 0


@pytest.mark.real_time
@pytest.mark.parametrize("password", ["", "wrong"])
async def test_a_redis_that_refuses_us_says_so(server: RedisServer, password: str) -> None:
    """A wrong password is an error at once, without the password in it."""
    server.kill()
    server.start("--requirepass", "right-one")
    url = server.url.replace("unix://", f"unix://:{password}@") if password else server.url
    async with gates(url) as made:
        with pytest.raises(mjbulk.Error) as caught:
            await starts_of(made, 1)
    assert str(caught.value) == "the quota in Redis cannot be used: AuthenticationError"


@pytest.mark.real_time
async def test_a_redis_that_cannot_do_it_says_so(server: RedisServer) -> None:
    """A name whose value is not a text is an error at once."""
    async with Redis.from_url(server.url) as redis, gates(server.url) as made:
        await redis.hset("mjbulk:pace:1:key", "a", "b")
        with pytest.raises(mjbulk.Error) as caught:
            await starts_of(made, 1)
    assert str(caught.value) == "the quota in Redis cannot be used: ResponseError"


@pytest.mark.real_time
async def test_processes_share_what_a_server_allows(server: RedisServer) -> None:
    """Four processes learn together what a server allows that does not say it; when one is killed, the three that are
    left use its share as well. There is time for one lesson only: the user's own rate is a little too high.
    """
    four, three = await quota.share(4, learn=3.0, measure=3.0, max_rate=20.5)
    assert four.refused <= 0.05
    assert 0.6 <= four.used <= 1.0
    assert three.refused <= 0.05
    assert 0.8 <= three.used <= 1.0


async def most_at_once(one: Gate) -> int:
    """Make more requests than a gate lets through at once, and count how many are under way together."""
    now, most = 0, 0

    async def request() -> None:
        nonlocal now, most
        async with one.grant("submit"):
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.1)
            now -= 1

    await asyncio.gather(*(request() for _ in range(12)))
    return most


@pytest.mark.real_time
async def test_a_cancelled_request_disturbs_no_other(server: RedisServer) -> None:
    """Requests are cancelled at any moment of talking to Redis: all others are granted, no slot is lost, and no answer
    is taken for that of another request.
    """
    async with gates(server.url, 3, max_rate=500.0) as made:
        chance = Random(7)
        for _ in range(20):
            tasks = [asyncio.create_task(starts_of([one], 3)) for one in made for _ in range(2)]
            await asyncio.sleep(chance.random() * 0.01)
            for task in chance.sample(tasks, 3):
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, asyncio.CancelledError | list) for one in ended)
        assert [await most_at_once(one) for one in made] == [8, 8, 8]


@pytest.mark.real_time
async def test_a_step_that_is_cancelled_leaves_the_connection_clean(server: RedisServer) -> None:
    """The step is cancelled before its answer arrives; the next step gets its own answer."""
    quota = RedisQuota(server.url, max_rate=10.0)
    for steps in range(40):
        task = asyncio.create_task(quota.change("key", lambda pace, now: (pace, now)))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        before = await quota.change("key", lambda pace, now: (pace, (pace, now)))
        after = await quota.change("key", lambda pace, now: (pace, (pace, now)))
        assert before[0] == after[0]
        assert 0 <= after[1] - before[1] < 1
    await quota.aclose()


@pytest.mark.real_time
async def test_a_quota_that_was_closed_opens_again(server: RedisServer) -> None:
    """Clients that share one close it when they end: it goes on for the others, and for those that come later."""
    quota = RedisQuota(server.url, max_rate=100.0)
    one, other = (Gate(quota, key, concurrency=1, chance=Random(1)) for key in ("one", "other"))
    await starts_of([one], 2)
    await one.aclose()
    assert len(await starts_of([other], 2)) == 2
    await other.aclose()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RedisQuota("localhost:6379", max_rate=1), "redis://..., rediss://... or unix://..."),
        (lambda: RedisQuota("http://:secret@localhost", max_rate=1), "redis://..., rediss://... or unix://..."),
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
