"""When the next request of an API key may start."""

import json
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from math import inf, nan
from random import Random

import pytest
from attrs import astuple, evolve
from hypothesis import given
from hypothesis import strategies as st

from mjbulk.mailjet.pace import Pace, Start
from mjbulk.mailjet.verdict import Backoff

Server = Callable[[float], bool]
"""Is asked at a time, and tells whether it takes the request."""


def fixed_window(limit: int, seconds: float = 1.0) -> Server:
    """Allow ``limit`` requests in each second of its clock; refused ones count too."""
    counts = Counter[int]()

    def ask(now: float) -> bool:
        counts[int(now / seconds)] += 1
        return counts[int(now / seconds)] <= limit

    return ask


def sliding_window(limit: int) -> Server:
    """Allow ``limit`` requests in any second; refused ones do not count."""
    taken = list[float]()

    def ask(now: float) -> bool:
        full = len(taken) >= limit and taken[-limit] > now - 1
        if not full:
            taken.append(now)
        return not full

    return ask


def bucket(limit: int) -> Server:
    """Allow ``limit`` requests a second on average, and as many at once."""
    tokens, last = float(limit), 0.0

    def ask(now: float) -> bool:
        nonlocal tokens, last
        tokens, last = min(limit, tokens + (now - last) * limit), now
        full = tokens < 1
        tokens -= 0 if full else 1
        return not full

    return ask


def answers(server: Server, *, until: float, since: float, retry_after: float | None = None) -> list[bool]:
    """Send requests as fast as the pace allows to a server that answers at once; give the answers since a time."""
    pace, now, chance, pause, found = Pace(), 0.0, Random(1), Backoff(), list[bool]()
    while now < until:
        pace, start = pace.reserve(now, inf)
        while start.wait:
            now = start.at
            pace, start = pace.reserve(now, inf, start)
        taken = server(now)
        if now >= since:
            found.append(taken)
        if taken:
            pace = pace.answered(start.at)
            now += 1e-3 if pace.ceiling == inf else 0
        else:
            wait = pause.seconds(pace.refused + 1, chance.random(), asked=retry_after, throttled=True)
            pace = pace.throttled(now, start.at, wait, inf)
    return found


@pytest.mark.unmeasured
@pytest.mark.parametrize("server", [fixed_window, sliding_window, bucket])
@pytest.mark.parametrize("limit", [2, 20])
@pytest.mark.parametrize("retry_after", [None, 1.0, 5.0])
def test_a_limit_that_nobody_names_is_learned(
    server: Callable[[int], Server], limit: int, retry_after: float | None
) -> None:
    """After two minutes at most 1 % of answers are 429, and at least 90 % of what is allowed is used."""
    found = answers(server(limit), since=120, until=720, retry_after=retry_after)
    assert found.count(False) <= 0.01 * len(found)
    assert found.count(True) >= 0.9 * 600 * limit


def test_a_limit_by_the_minute_is_used_up() -> None:
    """Pauses grow until the minute is over: the whole limit is used, and few requests are refused."""
    found = answers(fixed_window(1200, 60.0), since=120, until=720)
    assert found.count(True) >= 0.95 * 10 * 1200
    assert found.count(False) <= 0.02 * len(found)


@pytest.mark.unmeasured
@pytest.mark.parametrize(("before", "after"), [(20, 60), (60, 20)])
def test_a_limit_that_moves_is_found_again(before: int, after: int) -> None:
    """A limit that has gone up or down is learned within minutes."""
    old, new = fixed_window(before), fixed_window(after)
    found = answers(lambda now: (old if now < 200 else new)(now), since=400, until=1000)
    assert found.count(False) <= 0.01 * len(found)
    assert found.count(True) >= 0.9 * 600 * after


@given(
    waits=st.lists(st.floats(0, 3, allow_nan=False), min_size=2, max_size=60),
    rate=st.floats(0.5, 1000),
)
def test_no_second_holds_more_than_the_rate_and_one(waits: list[float], rate: float) -> None:
    """However requests come, two starts are never closer together than the rate says."""
    pace, now, starts = Pace(), 0.0, list[float]()
    for wait in waits:
        now += wait if wait > 1 else 0
        pace, start = pace.reserve(now, rate)
        assert start.at == pytest.approx(now + start.wait)
        starts.append(start.at)
    assert all(later - earlier >= (1 - 1e-9) / rate for earlier, later in pairwise(starts))


def test_without_a_rate_no_request_waits() -> None:
    """Before the first 429 only the number of requests under way is bounded."""
    pace = Pace()
    for _ in range(100):
        pace, start = pace.reserve(5.0, inf)
        assert (start.at, start.wait, start.pause, start.proving) == (5.0, 0.0, 0.0, False)


def burst(count: int, now: float = 10.0) -> tuple[Pace, Start]:
    """Reserve ``count`` starts at once, and give the pace after them and the last start."""
    pace, start = Pace(), Start(at=0.0, wait=0.0)
    for _ in range(count):
        pace, start = pace.reserve(now, inf)
    return pace, start


def test_the_first_429_sets_the_ceiling_to_the_requests_of_a_second() -> None:
    """The rate goes to 0.9 of the ceiling, and is at the ceiling again after 30 seconds of requests."""
    pace, start = burst(25)
    pace = pace.throttled(10.0, start.at, 1.0, inf)
    assert pace.ceiling == pytest.approx(25)
    assert pace.rate == pytest.approx(0.9 * 25)
    assert evolve(pace, held=int(pace.span)).rate == pytest.approx(25)
    assert pace.span == 30 * 25


@pytest.mark.parametrize(
    ("starts", "when", "ceiling"),
    [
        ([9.25] * 16 + [10.25] * 4, 10.5, 16 * 0.5 + 4),
        ([9.25] * 16 + [10.25] * 4, 11.5, 10),
        ([8.9] * 90 + [10.1] * 12, 10.5, 12),
        ([9.9] * 20 + [10.0] * 20, 10.0, 40),
    ],
)
def test_the_last_second_reaches_into_the_one_before(starts: list[float], when: float, ceiling: float) -> None:
    """Requests of the second before count by their share; older ones do not; ten are the least."""
    pace = Pace()
    for now in starts:
        pace, start = pace.reserve(now, inf)
    assert pace.throttled(when, start.at, 1.0, inf).ceiling == pytest.approx(ceiling)


def test_a_rate_that_is_set_holds_back_without_trying_the_limit() -> None:
    """If the user's own rate is the lower one, the learned rate does not grow however long that lasts."""
    pace, start = burst(25)
    pace = pace.throttled(10.0, start.at, 1.0, inf)
    for _ in range(1000):
        pace, start = pace.reserve(20.0, 15.0)
    assert pace.rate == pytest.approx(0.9 * 25)
    pace = pace.answered(start.at).throttled(start.at + 1, start.at, 1.0, 15.0)
    assert pace.rate == pytest.approx(0.9 * 15)


def test_a_429_to_a_single_request_says_little() -> None:
    """It does not slow the key down to that one request a second."""
    pace, start = burst(1)
    assert pace.throttled(10.0, start.at, 1.0, inf).rate == pytest.approx(9)


def test_a_key_that_was_stopped_waits() -> None:
    """No request starts before the pause is over; then starts are as far apart as before."""
    pace, start = burst(20)
    pace = pace.throttled(10.0, start.at, 7.0, inf)
    pace, first = pace.reserve(12.0, inf)
    pace, second = pace.reserve(12.0, inf)
    assert (first.at, first.wait, first.pause, first.proving) == (17.0, 5.0, 5.0, True)
    assert second.at == pytest.approx(17 + 1 / 18, rel=1e-3)


def test_a_start_is_confirmed_unless_the_key_was_stopped() -> None:
    """After waiting for its start a request asks again: the start still holds, or a later one replaces it."""
    pace, _ = Pace().reserve(10.0, 1.0)
    pace, start = pace.reserve(10.0, 1.0)
    assert start.wait == 1.0
    same, confirmed = pace.reserve(11.0, 1.0, start)
    assert (same, confirmed.at, confirmed.wait) == (pace, 11.0, 0.0)
    _, moved = pace.throttled(10.5, 10.0, 30.0, inf).reserve(11.0, 1.0, start)
    assert (moved.at, moved.wait) == (40.5, 29.5)


def test_one_overrun_is_one_lesson() -> None:
    """429s to requests that had started before the lesson only stop the key for longer."""
    pace, start = burst(25)
    once = pace.throttled(10.1, start.at, 1.0, inf)
    again = once.throttled(10.2, start.at, 5.0, inf)
    assert (again.rate, again.refused, again.stopped_until) == (once.rate, 1, 15.2)
    assert again.throttled(10.3, start.at, 1.0, inf).stopped_until == 15.2


def test_429s_in_a_row_are_no_new_lesson() -> None:
    """While the server refuses all requests, the rate stays and `refused` grows; a good answer sets that to 0."""
    pace, start = burst(25)
    first = pace.throttled(10.1, start.at, 1.0, inf)
    pace, start = first.reserve(12.0, inf)
    second = pace.throttled(12.1, start.at, 2.0, inf)
    assert (second.refused, second.ceiling, second.stopped_until) == (2, first.ceiling, 14.1)
    assert second.answered(12.1).refused == 2, "the good answer is older than the 429"
    pace, start = second.reserve(15.0, inf)
    assert start.proving
    pace = pace.answered(start.at)
    assert pace.refused == 0
    third = pace.throttled(16.0, start.at, 1.0, inf)
    assert third.ceiling == pytest.approx(0.9 * first.ceiling, rel=1e-3)


def test_a_request_that_is_not_held_back_does_not_try_the_limit() -> None:
    """The rate grows with requests that had to wait for it, and with no others."""
    pace, start = burst(20)
    pace = learned = pace.throttled(10.0, start.at, 1.0, inf)
    for minute in range(1, 100):
        pace, _ = pace.reserve(60.0 * minute, inf)
    assert pace.rate == learned.rate
    for _ in range(100):
        pace, _ = pace.reserve(6000.0, inf)
    assert pace.rate > learned.rate


def test_a_rate_that_is_set_is_never_passed() -> None:
    """The lower of two limits holds: the one learned from a 429, and the one that the user sets."""
    pace, start = burst(40)
    pace = pace.throttled(10.0, start.at, 1.0, inf)
    for most, apart in [(5.0, 0.2), (1000.0, 1 / 36)]:
        after, first = pace.reserve(20.0, most)
        _, second = after.reserve(20.0, most)
        assert second.at - first.at == pytest.approx(apart, rel=0.01)


def test_long_pauses_make_tries_rare() -> None:
    """If a 429 costs ten seconds, the ceiling is tried again after 300 seconds."""
    pace, start = burst(20)
    assert pace.throttled(10.0, start.at, 10.0, inf).span == pytest.approx(300 * 20, rel=1e-3)
    assert pace.throttled(10.0, start.at, 0.1, inf).span == pytest.approx(30 * 20, rel=1e-3)


# 503s without a word about a pause


def spacing(limit: int) -> Server:
    """Allow requests that come 1 / limit seconds after the last one that was allowed: a limiter of nginx."""
    last = -inf

    def ask(now: float) -> bool:
        nonlocal last
        good = now - last >= 1 / limit - 1e-9
        last = now if good else last
        return good

    return ask


def paced(
    server: Server, *, until: float, most: float = 1000.0, pace: Pace | None = None
) -> tuple[list[tuple[float, bool]], Pace]:
    """Send requests as fast as the pace allows, at most ``most`` a second, to a server that answers 503 to those
    that it does not take. Give times and answers, and the pace at the end.
    """
    pace, now, found = pace or Pace(), 0.0, list[tuple[float, bool]]()
    while now < until:
        pace, start = pace.reserve(now, most)
        now = start.at
        taken = server(now)
        found.append((now, taken))
        pace = pace.answered(start.at) if taken else pace.doubted(now, start.at, most)
    return found, pace


@pytest.mark.unmeasured
@pytest.mark.parametrize("server", [fixed_window, sliding_window, bucket, spacing])
@pytest.mark.parametrize("limit", [2, 5, 20, 100])
def test_a_limit_that_answers_503_is_learned(server: Callable[[int], Server], limit: int) -> None:
    """At most 4 in 100 answers are 503 after half a minute, and more than six tenths of what is allowed is used."""
    found, _ = paced(server(limit), until=230)
    answers = [taken for when, taken in found if when >= 30]
    assert answers.count(False) <= 0.04 * len(answers)
    assert answers.count(True) >= 0.6 * 200 * limit


@pytest.mark.unmeasured
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_an_outage_is_no_limit(share: float, seed: int) -> None:
    """A server that answers 503 for ten seconds, always or now and then, lowers the rate for less than a minute."""
    chance = Random(seed)
    found, _ = paced(lambda now: not 10 <= now < 20 or chance.random() >= share, until=100, most=100.0)
    assert sum(90 <= when < 100 for when, _ in found) > 500


@pytest.mark.parametrize("seed", range(5))
def test_503s_that_do_not_end_by_slowing_down_teach_nothing(seed: int) -> None:
    """They come by chance, at any rate: no more than half of the time is lost by being slow."""
    chance = Random(seed)
    found, _ = paced(lambda _: chance.random() >= 0.3, until=600)
    assert len(found) > 600 * 1.5


def test_one_503_teaches_nothing() -> None:
    """The next ones do not either before there was a good answer, and requests from before the last lesson never do."""
    pace, start = burst(40)
    one = pace.doubted(10.0, start.at, inf)
    assert (one.ceiling, one.learned_at, one.refused) == (inf, 10.0, 1)
    assert one.doubted(11.0, 10.5, inf).ceiling == inf
    assert one.doubted(11.0, 9.9, inf) == one
    late = one.answered(10.5).doubted(41.0, 40.5, inf)
    assert late.ceiling == inf
    assert late.answered(41.5).doubted(42.0, 41.5, 2.0).ceiling == 1.0


# Several processes


@pytest.mark.parametrize("pace", [Pace(), Pace(next=1.0, ceiling=20.0, span=150.0, learned_at=-3.5, refused=2)])
def test_a_pace_is_its_numbers(pace: Pace) -> None:
    """It is the same after it was written down and read."""
    assert Pace.of(json.loads(json.dumps(astuple(pace)))) == pace


NUMBERS = list(astuple(Pace()))


@pytest.mark.parametrize(
    "numbers",
    [None, 7, "0123456789", {}, [], NUMBERS[1:], [*NUMBERS, 0], [True, *NUMBERS[1:]], ["0", *NUMBERS[1:]], [0] * 10,
     [0.0, 0.0, 5.0, 0.0, *NUMBERS[4:]], [0.0, 0.0, nan, 1.0, *NUMBERS[4:]]],
)  # fmt: skip
def test_numbers_of_something_else_are_no_pace(numbers: object) -> None:
    """Too few, too many, of other types, and those with which nothing could be computed."""
    with pytest.raises(ValueError, match="no pace"):
        Pace.of(numbers)


@pytest.mark.parametrize("processes", [1, 2, 7])
@pytest.mark.parametrize("now", [0.0, 3.0, 10.0, 100.0])
@pytest.mark.parametrize("before", [Pace(), Pace(next=5.0), Pace(stopped_until=20.0), Pace(next=5.0, ceiling=4.0)])
def test_processes_that_do_not_see_each_other_are_as_fast_as_one(before: Pace, now: float, processes: int) -> None:
    """Each start is the same, and the next one as many times as far away."""
    after, start = before.reserve(now, 5.0)
    spread = after.spread(before, now, processes)
    assert spread.next - start.at == pytest.approx(processes * (after.next - start.at))
    assert evolve(spread, next=after.next) == after


def test_a_step_that_reserves_nothing_moves_no_start() -> None:
    """A lesson, or a start that is confirmed."""
    before = Pace(next=5.0)
    after = before.throttled(3.0, 2.0, 10.0, 5.0)
    assert after.spread(before, 3.0, 4) == after


def test_a_clock_that_was_set_back() -> None:
    """What was to come comes as soon as before, and what was learned was not learned in the future."""
    pace = Pace(next=1005.0, stopped_until=1030.0, learned_at=1000.0, second=1004)
    assert pace.set_back(600.0, 400.0) == evolve(pace, next=405.0, stopped_until=430.0, learned_at=400.0)
    corrected = pace.set_back(600.0, 400.0)
    assert corrected.set_back(600.0, 400.0) == evolve(corrected, next=400.0, stopped_until=400.0)
    assert Pace().set_back(600.0, 400.0) == Pace()
    assert pace.set_back(600.0, 400.0).reserve(400.0, 10.0)[1].wait == 30.0
