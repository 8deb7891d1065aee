"""Which request of an API key may go out now."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import pairwise
from random import Random
from typing import Any, TypeVar

import pytest
from support import settled

from mjbulk.errors import Error
from mjbulk.mailjet.pace import Start
from mjbulk.mailjet.quota import Gate, KeyStopped, LocalQuota, Step
from mjbulk.mailjet.requests import Kind
from mjbulk.mailjet.window import Window

pytestmark = pytest.mark.eager

T = TypeVar("T")


def gate(concurrency: int = 8, **more: Any) -> Gate:
    return Gate(LocalQuota(), "a key", concurrency=concurrency, chance=Random(1), **more)


# Requests


@pytest.mark.smoke
async def test_requests_under_way_are_bounded() -> None:
    """No more requests are under way than were allowed, and each has its turn."""
    one, now, most, ended = gate(3), 0, 0, 0

    async def request() -> None:
        nonlocal now, most, ended
        async with one.grant("submit"):
            now += 1
            most = max(most, now)
            await asyncio.sleep(1)
            now -= 1
        ended += 1

    await asyncio.gather(*(request() for _ in range(10)))
    assert (now, most, ended) == (0, 3, 10)


@pytest.mark.smoke
async def test_a_request_that_fails_frees_its_slot() -> None:
    """A slot becomes free whatever happens in its request."""
    one = gate(1)
    for _ in range(3):
        with pytest.raises(ValueError) as caught:
            async with one.grant("poll"):
                raise ValueError("x")
        assert str(caught.value) == "x"


async def granted(one: Gate, kinds: str, seconds: float = 1.0) -> str:
    """Have requests of these kinds (s, p, d, a) wait for one gate, and give the order in which they passed."""
    names: dict[str, Kind] = {"s": "submit", "p": "poll", "d": "download", "a": "account"}
    order = ""

    async def request(letter: str) -> None:
        nonlocal order
        async with one.grant(names[letter]):
            order += letter
            await asyncio.sleep(seconds)

    await asyncio.gather(*(request(letter) for letter in kinds))
    return order


@pytest.mark.parametrize(
    ("asked", "passed"),
    [
        ("psss", "sssp"),
        ("pppsssssss", "ssspssspsp"),
        ("sspp", "sspp"),
        ("dppaass", "aasdspp"),
        ("ppdd", "ppdd"),
    ],
)
async def test_submits_go_first_and_polls_keep_a_floor(asked: str, passed: str) -> None:
    """Submits and account calls go before polls and downloads, which get one grant in four; else in order."""
    assert await granted(gate(1), asked) == passed


async def test_a_floor_holds_for_the_pace_too() -> None:
    """With slots for all and a low rate, one start in four goes to a poll."""
    order = await granted(gate(100, max_rate=10), "s" * 40 + "p" * 20, seconds=0.0)
    assert order[:40].count("p") == 10
    assert all("p" in order[at : at + 4] for at in range(0, 40, 4))


async def test_requests_of_a_kind_go_in_the_order_of_asking() -> None:
    """Requests of one kind are granted in the order of asking."""
    one, order = gate(2, max_rate=5), list[int]()

    async def request(number: int) -> None:
        async with one.grant("poll"):
            order.append(number)
            await asyncio.sleep(number % 3)

    await asyncio.gather(*(request(number) for number in range(30)))
    assert order == list(range(30))


class Narrow(Window):
    """A window that a slow link has."""

    def __init__(self, size: float) -> None:
        super().__init__(8, 2**20)
        self.bytes = size


async def test_bodies_wait_for_room_on_a_slow_link() -> None:
    """Other requests pass them, and no body passes another one: small ones would do so without end."""
    one, order, under_way = gate(window=Narrow(100_000)), list[str](), 0

    async def request(name: str, kind: Kind, size: int) -> None:
        nonlocal under_way
        async with one.grant(kind, size):
            order.append(name)
            under_way += size
            assert under_way <= 100_000 or under_way == size
            await asyncio.sleep(1)
            under_way -= size

    asked: list[tuple[str, Kind, int]] = [
        ("a", "submit", 60_000), ("b", "submit", 60_000), ("c", "submit", 30_000), ("list", "account", 0),
        ("d", "submit", 200_000), ("import", "submit", 4000), ("poll", "poll", 0), ("e", "submit", 10_000),
    ]  # fmt: skip
    await asyncio.gather(*(request(*one) for one in asked))
    assert order == ["a", "list", "import", "poll", "b", "c", "d", "e"]


async def test_a_body_that_is_cancelled_while_it_waits_for_room_stops_nobody() -> None:
    """What stands behind it goes when there is room."""
    one, order = gate(window=Narrow(100_000)), list[int]()

    async def request(number: int) -> None:
        async with one.grant("submit", 80_000):
            order.append(number)
            await asyncio.sleep(1)

    requests = [asyncio.create_task(request(number)) for number in range(4)]
    await settled()
    requests[1].cancel()
    await asyncio.wait(requests)
    assert order == [0, 2, 3]


async def test_closing_fails_those_that_wait_for_room_too() -> None:
    """All of them, with or without room."""
    one = gate(window=Narrow(100_000))

    async def request() -> None:
        async with one.grant("submit", 80_000):
            await asyncio.sleep(1)

    requests = [asyncio.create_task(request()) for _ in range(3)]
    await settled()
    await one.aclose(1.0)
    ends = await asyncio.gather(*requests, return_exceptions=True)
    assert [type(end) for end in ends] == [type(None), Error, Error]


async def starts_of(one: Gate, count: int, kind: Kind = "submit") -> list[float]:
    """Make ``count`` requests at once, and give the time at which each was granted."""
    found, clock = list[float](), asyncio.get_running_loop()

    async def request() -> None:
        async with one.grant(kind):
            found.append(clock.time())

    await asyncio.gather(*(request() for _ in range(count)))
    return found


async def test_a_rate_that_is_set_is_kept() -> None:
    """Starts are as far apart as the rate says, from the first request on, also after an idle time."""
    one = gate(max_rate=4.0)
    starts = await starts_of(one, 9)
    assert starts[-1] - starts[0] == pytest.approx(2.0)
    await asyncio.sleep(100)
    starts = await starts_of(one, 9)
    assert min(later - earlier for earlier, later in pairwise(starts)) == pytest.approx(0.25)


async def test_a_429_stops_the_whole_key() -> None:
    """One request is answered 429: no other starts before the pause is over, whatever its kind."""
    one, clock = gate(), asyncio.get_running_loop()
    async with one.grant("submit") as start:
        await one.throttled(start, 30.0)
    stopped_at = clock.time()
    starts = await starts_of(one, 2) + await starts_of(one, 2, "poll")
    assert starts[0] - stopped_at == pytest.approx(30, abs=3)
    assert starts[0] - stopped_at >= 30


async def test_a_429_also_stops_a_request_that_waits_for_the_pace() -> None:
    """A start that was reserved before the 429 is not taken in the pause."""
    one, clock = gate(max_rate=1.0), asyncio.get_running_loop()
    async with one.grant("submit") as start:
        waiting = asyncio.create_task(starts_of(one, 1))
        await settled()
        await one.throttled(start, 30.0)
    assert (await waiting)[0] >= 30
    assert clock.time() < 34


async def test_429s_of_one_overrun_make_one_pause() -> None:
    """Requests that were under way together are answered 429 together: that does not make the pause longer."""
    one, clock = gate(), asyncio.get_running_loop()

    async def refused() -> None:
        async with one.grant("poll") as start:
            await asyncio.sleep(0.1)
            await one.throttled(start, None)

    await asyncio.gather(*(refused() for _ in range(8)))
    await starts_of(one, 1)
    assert clock.time() <= 1.1


async def test_429s_in_a_row_make_longer_pauses() -> None:
    """Without a Retry-After the wait doubles, up to half a minute; after a good answer it begins from 1 s."""
    one, waits = gate(), list[float]()
    clock = asyncio.get_running_loop()
    for _ in range(8):
        before = clock.time()
        async with one.grant("poll") as start:
            waits.append(clock.time() - before)
            await one.throttled(start, None)
    for wait, most in zip(waits[1:], [1, 2, 4, 8, 16, 30, 30], strict=True):
        assert most / 2 <= wait <= most
    async with one.grant("poll") as start:
        assert start.proving
        await one.answered(start)
    async with one.grant("poll") as start:
        assert not start.proving
        await one.throttled(start, None)
    before = clock.time()
    await starts_of(one, 1)
    assert clock.time() - before <= 1


@pytest.mark.parametrize(("asked", "waited"), [(0.0, 1.0), (1.0, 1.0), (119.0, 119.0), (120.0, 120.0)])
async def test_a_retry_after_is_obeyed(asked: float, waited: float) -> None:
    """Never less than Retry-After, a tenth more at most, and never no time at all."""
    one, clock = gate(), asyncio.get_running_loop()
    async with one.grant("submit") as start:
        await one.throttled(start, asked)
    before = clock.time()
    await starts_of(one, 1)
    assert waited <= clock.time() - before <= min(waited * 1.1, 120)


@pytest.mark.parametrize(("asked", "said"), [(121.0, 121.0), (3000.0, 3000.0), (1e9, 3600.0)])
async def test_a_pause_that_is_too_long_is_not_waited_for(asked: float, said: float) -> None:
    """A request that asks for a grant learns for how long the key is stopped; afterwards requests pass as before."""
    one, clock = gate(), asyncio.get_running_loop()
    async with one.grant("submit") as start:
        await one.throttled(start, asked)
    for _ in range(3):
        before = clock.time()
        results = await asyncio.gather(*(starts_of(one, 1) for _ in range(3)), return_exceptions=True)
        assert clock.time() == before
        assert [type(result) for result in results] == [KeyStopped] * 3
        assert isinstance(results[0], KeyStopped)
        assert said <= results[0].seconds <= said * 1.1
    await asyncio.sleep(said * 1.1)
    await starts_of(one, 1)
    assert clock.time() - before == pytest.approx(said * 1.1)


async def test_keys_do_not_slow_each_other() -> None:
    """Two keys share a quota: neither a 429 of one nor its queue touches the other."""
    quota, clock = LocalQuota(), asyncio.get_running_loop()
    one, other = (Gate(quota, key, concurrency=1, chance=Random(1)) for key in ("one", "other"))
    async with one.grant("submit") as start:
        await one.throttled(start, 60.0)
    waiting = asyncio.create_task(starts_of(one, 5))
    await settled()
    await starts_of(other, 5)
    assert clock.time() == 0
    assert min(await waiting) >= 60


# Requests that are cancelled


async def slots_of(one: Gate) -> int:
    """Count the requests that may be under way at once, now."""
    held = 0

    async def hold() -> None:
        nonlocal held
        async with one.grant("submit"):
            held += 1
            await asyncio.sleep(3600)

    tasks = [asyncio.create_task(hold()) for _ in range(8)]
    await asyncio.sleep(10)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await settled()
    return held


@pytest.mark.parametrize("cancelled", [[0], [1], [2], [0, 1, 2], [1, 2]])
@pytest.mark.parametrize("after", [0.0, 0.05, 0.1, 0.15])
async def test_a_cancelled_request_wastes_no_grant(cancelled: list[int], after: float) -> None:
    """A request may be cancelled at any moment, waiting or granted: its slot goes to the others, and none of them waits
    longer for that.
    """
    one, ended = gate(1, max_rate=10.0), list[int]()

    async def request(number: int) -> None:
        async with one.grant("submit"):
            await asyncio.sleep(0.02)
        ended.append(number)

    tasks = [asyncio.create_task(request(number)) for number in range(6)]
    await asyncio.sleep(after)
    already = list(ended)
    for number in cancelled:
        tasks[number].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert ended == [number for number in range(6) if number in already or number not in cancelled]
    assert asyncio.get_running_loop().time() <= 0.52 + 1e-9
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert await slots_of(one) == 1


async def test_a_grant_goes_on_to_the_next_at_every_step_of_its_coming() -> None:
    """However far the grant has come when its request is cancelled, the next in the queue gets it."""
    for steps in range(12):
        one = gate(1)
        async with one.grant("submit"):
            first, second = (asyncio.create_task(starts_of(one, 1)) for _ in range(2))
            await settled()
        for _ in range(steps):
            await asyncio.sleep(0)
        first.cancel()
        await second
        assert await slots_of(one) == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_ends_all_waits() -> None:
    """A gate that was closed grants nothing and leaves no task behind, and no request waits for ever."""
    one = gate(1, max_rate=0.001)
    await starts_of(one, 1)
    waiting = [asyncio.create_task(starts_of(one, 1)) for _ in range(3)]
    await settled()
    await one.aclose(1.0)
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, Error)
        assert str(result) == "the client was closed"
    assert asyncio.all_tasks() == {asyncio.current_task()}


class Broken(LocalQuota):
    """A quota that fails a number of times."""

    failures = 1

    async def change(self, key: str, step: Step[T]) -> T:
        await asyncio.sleep(0.1)
        if self.failures:
            self.failures -= 1
            raise Error("the quota cannot be reached")
        return await super().change(key, step)


async def test_a_quota_that_fails_fails_the_requests_that_wait_and_no_others() -> None:
    """All requests in the queue raise what the quota raised; a later request tries once more."""
    one = Gate(Broken(), "a key", concurrency=2, chance=Random(1))
    for result in await asyncio.gather(*(starts_of(one, 1) for _ in range(4)), return_exceptions=True):
        assert isinstance(result, Error)
    assert len(await starts_of(one, 4)) == 4


class Cancelling(LocalQuota):
    """A quota that raises a number of CancelledErrors, though nothing was cancelled."""

    failures = 1

    async def change(self, key: str, step: Step[T]) -> T:
        if self.failures:
            self.failures -= 1
            raise asyncio.CancelledError
        return await super().change(key, step)


@pytest.mark.smoke
async def test_a_quota_that_cancels_by_itself_has_failed() -> None:
    """The requests that wait raise an Error, and do not look as if they were cancelled; a later one tries once more."""
    quota = Cancelling()
    one = Gate(quota, "a key", concurrency=2, chance=Random(1))
    for result in await asyncio.gather(*(starts_of(one, 1) for _ in range(4)), return_exceptions=True):
        assert isinstance(result, Error)
        assert str(result) == "the quota was cancelled"
    async with one.grant("submit") as start:
        quota.failures = 1
        with pytest.raises(Error, match="the quota was cancelled"):
            await one.throttled(start, 1.0)
    assert len(await starts_of(one, 4)) == 4


class Stuck(LocalQuota):
    """A quota that never answers."""

    async def change(self, key: str, step: Step[T]) -> T:
        await asyncio.sleep(1e6)
        return await super().change(key, step)

    async def aclose(self) -> None:
        await asyncio.sleep(1e6)


async def test_a_quota_that_never_answers_can_be_left() -> None:
    """A request that is cancelled while the quota is asked ends at once, as cancelled; closing takes a bounded time."""
    one, loop = Gate(Stuck(), "a key", concurrency=1, chance=Random(1)), asyncio.get_running_loop()
    learning = asyncio.create_task(one.throttled(Start(at=0.0, wait=0.0), 1.0))
    waiting = asyncio.create_task(starts_of(one, 1))
    await settled()
    learning.cancel()
    await asyncio.wait({learning})
    assert (learning.cancelled(), loop.time()) == (True, 0.0)
    with pytest.raises(Error, match="has not closed within 3 s"):
        await one.aclose(3.0)
    assert loop.time() == 3.0
    for later in (waiting, starts_of(one, 1)):
        with pytest.raises(Error, match="the client was closed"):
            await later


class Closing(LocalQuota):
    """A quota that closes in its own way."""

    def __init__(self, how: Callable[[], Coroutine[Any, Any, None]]) -> None:
        super().__init__()
        self.how = how

    async def aclose(self) -> None:
        await self.how()


async def deaf() -> None:
    """Never end, also when it is cancelled."""
    for _ in range(3):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1e6)


async def cancelled() -> None:
    raise asyncio.CancelledError


async def late() -> None:
    raise TimeoutError("the server of the quota is late")


@pytest.mark.parametrize(
    ("how", "kind", "said", "seconds"),
    [
        (deaf, Error, "the quota has not closed within 3 s", 3.0),
        (cancelled, Error, "the quota was cancelled while it was closed", 0.0),
        (late, TimeoutError, "the server of the quota is late", 0.0),
    ],
)
async def test_how_a_quota_of_the_user_may_close(
    how: Callable[[], Coroutine[Any, Any, None]], kind: type[Exception], said: str, seconds: float
) -> None:
    """The time is kept, and an error of its own is not taken for the end of that time, or for a cancellation."""
    one, loop = Gate(Closing(how), "a key", concurrency=1, chance=Random(1)), asyncio.get_running_loop()
    with pytest.raises(kind, match=said):
        await one.aclose(3.0)
    assert loop.time() == seconds


@pytest.mark.smoke
@pytest.mark.parametrize("steps", range(4))
async def test_somebody_cancels_all_tasks(steps: int) -> None:
    """As some programs do when they end. No request waits for ever, and a later one is granted."""
    one = gate(max_rate=1.0)
    await starts_of(one, 1)

    async def request() -> None:
        async with one.grant("submit"):
            """It has come."""

    waiting = [asyncio.create_task(request()) for _ in range(3)]
    for _ in range(steps):
        await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task(), *waiting}:
        task.cancel()
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting, return_exceptions=True)
        assert len(await starts_of(one, 3)) == 3
