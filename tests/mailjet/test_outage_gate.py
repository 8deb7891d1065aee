"""Submits that wait while answers are lost: who goes when, who asks, and how waiting ends."""

import asyncio
from math import inf

import pytest
from support import settled

from mjbulk.errors import Error
from mjbulk.mailjet.outage import News
from mjbulk.mailjet.outage_gate import OutageGate, Recalled, StillOut


class Asking:
    """Sends no GET, and gives a gate the news that a test wants; None is a GET that did not even leave."""

    def __init__(self, news: News | None = News.HEARD, most: int = 8) -> None:
        self.news = news
        self.times: list[float] = []
        self.gate = OutageGate(most, self.ask)

    async def ask(self) -> None:
        self.times.append(now())
        ticket = self.gate.ticket()
        await asyncio.sleep(0.1)
        if self.news is not None:
            self.gate.tell(self.news, ticket)


def now() -> float:
    return asyncio.get_running_loop().time()


async def submit(
    gate: OutageGate, news: News = News.ANSWERED, *, harmless: bool = False, within: float = inf, seconds: float = 1.0
) -> float:
    """Give the time at which it left."""
    async with gate.leave(harmless=harmless, within=within) as leave:
        left = now()
        await asyncio.sleep(seconds)
        leave.news, leave.why = news, "it was cut"
    return left


async def test_in_good_times_all_go_at_once() -> None:
    """Nobody asks."""
    asking = Asking()
    assert await asyncio.gather(*(submit(asking.gate) for _ in range(20))) == [0.0] * 20
    assert asking.times == []


async def test_after_a_doubt_one_goes_and_then_twice_as_many_each_time() -> None:
    """Each step begins when all of the step before were answered. In the end all go."""
    asking = Asking(most=4)
    await submit(asking.gate, News.LOST)
    left = await asyncio.gather(*(submit(asking.gate) for _ in range(13)))
    assert left == pytest.approx([2.1, 3.1, 3.1, *[4.1] * 3, 5.1, *[6.1] * 6])
    assert asking.times == [2.0]


async def test_what_does_no_harm_goes_first() -> None:
    """Those that may be repeated, in their order, and then the others."""
    asking = Asking()
    await submit(asking.gate, News.LOST)
    left = await asyncio.gather(*(submit(asking.gate, harmless=number % 2 > 0) for number in range(6)))
    assert [number for _, number in sorted(zip(left, range(6), strict=True))] == [1, 3, 5, 0, 2, 4]


@pytest.mark.parametrize("news", [News.UNHEARD, None])
async def test_while_nothing_is_answered_it_is_asked_less_and_less(news: News | None) -> None:
    """The waits double, up to half a minute, also where the GET cannot even leave."""
    asking = Asking(news)
    await submit(asking.gate, News.LOST)
    waiting = asyncio.create_task(submit(asking.gate))
    await asyncio.sleep(150)
    waits = [later - before for before, later in zip(asking.times, asking.times[1:], strict=False)]
    assert waits == pytest.approx([2.1, 4.1, 8.1, 16.1, 30.1, 30.1, 30.1])
    asking.news = News.HEARD
    assert await waiting == pytest.approx(asking.times[-1] + 0.1)


async def test_nobody_asks_if_nobody_waits() -> None:
    """The next submit does, at once if the wait is over."""
    asking = Asking()
    await submit(asking.gate, News.LOST)
    await asyncio.sleep(100)
    assert asking.times == []
    assert await submit(asking.gate) == pytest.approx(101.1)


async def test_waiting_ends() -> None:
    """After its time, with what was wrong; but not while others are answered."""
    asking = Asking(News.UNHEARD)
    await submit(asking.gate, News.LOST)
    with pytest.raises(StillOut) as out:
        await submit(asking.gate, within=60.0)
    assert (now(), out.value.why) == (61.0, "it was cut")
    other = Asking()
    await submit(other.gate, News.LOST)
    left = await asyncio.gather(*(submit(other.gate, harmless=n > 0, within=6.0, seconds=4.0) for n in range(4)))
    assert left[0] - left[1] == pytest.approx(8.0)


async def test_who_is_cancelled_leaves_its_place_to_others() -> None:
    """While it waits, at the moment when it may go, and while it is under way."""
    asking = Asking()
    await submit(asking.gate, News.LOST)
    tasks = [asyncio.create_task(submit(asking.gate)) for _ in range(4)]
    await asyncio.sleep(0.2)
    tasks[0].cancel()
    await asyncio.sleep(0.9)  # the second one is under way
    tasks[1].cancel()
    await asyncio.sleep(0)
    tasks[2].cancel()  # it may go just now
    assert await tasks[3] == pytest.approx(2.1)
    assert [task.cancelled() for task in tasks[:3]] == [True] * 3


async def test_a_leave_is_recalled() -> None:
    """A submit that still waits for something else when an outage begins waits again; one that has left has left."""
    asking = Asking()

    async def slow() -> str:
        async with asking.gate.leave(harmless=False, within=inf) as leave:
            try:
                async with leave.wait():
                    await asyncio.sleep(2)
            except Recalled:
                return f"recalled at {now()}"
            await asyncio.sleep(2)
            leave.news = News.ANSWERED
            return f"answered at {now()}"

    early = asyncio.create_task(slow())
    await asyncio.sleep(1.5)
    late = asyncio.create_task(slow())
    await submit(asking.gate, News.LOST)
    assert (await early, await late) == ("answered at 4.0", "recalled at 2.5")


async def test_a_leave_may_be_recalled_before_its_wait() -> None:
    """A doubt that comes at the same moment counts."""
    asking = Asking()

    async def goes() -> None:
        async with asking.gate.leave(harmless=False, within=inf) as leave:
            asking.gate.tell(News.LOST, leave.ticket)
            async with leave.wait():
                pass

    with pytest.raises(Recalled):
        await goes()


async def test_an_outage_may_begin_again_before_a_submit_hears_that_it_may_go() -> None:
    """It does not leave."""
    asking = Asking(None)
    await submit(asking.gate, News.LOST)

    async def goes() -> None:
        async with asking.gate.leave(harmless=False, within=inf) as leave, leave.wait():
            pass

    going = asyncio.create_task(goes())
    await asyncio.sleep(1.05)
    for news in (News.HEARD, News.LOST):
        asking.gate.tell(news, asking.gate.ticket())
    with pytest.raises(Recalled):
        await going


async def test_a_time_limit_of_somebody_else_is_not_a_recall() -> None:
    """It is raised as it is."""
    asking = Asking()
    async with asking.gate.leave(harmless=False, within=inf) as leave:
        with pytest.raises(TimeoutError, match="of the quota"):
            async with leave.wait():
                raise TimeoutError("of the quota")


async def test_closing_ends_all_waiting() -> None:
    """And the question that is under way; nobody waits afterwards."""
    asking = Asking(None)
    await submit(asking.gate, News.LOST)
    waiting = asyncio.gather(*(submit(asking.gate, harmless=n > 0) for n in range(3)), return_exceptions=True)
    await asyncio.sleep(1.05)
    await asking.gate.aclose()
    assert [str(why) for why in await waiting] == ["the client was closed"] * 3
    with pytest.raises(Error, match="the client was closed"):
        await submit(asking.gate)
    await settled()
    assert len(asking.times) == 1
    assert "Doubtful" in repr(asking.gate)
