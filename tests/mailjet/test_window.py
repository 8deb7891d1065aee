"""How many bytes of bodies may be under way on a slow link."""

from math import inf

import pytest

from mjbulk.mailjet.window import AIM, Moving, Window

KIB = 1024
SIZE = 1024 * KIB


def window(requests: int = 8, size: int = SIZE) -> Window:
    return Window(requests, size)


def crawl(link: Window, seconds: int, *, rate: float, bodies: int = 8, size: int = SIZE) -> list[Moving]:
    """Have bodies share a link for some seconds, from second 0 on; each is looked at once a second."""
    for _ in range(bodies):
        link.take(size)
    moving = [link.begin(size, 0.0) for _ in range(bodies)]
    for second in range(1, seconds + 1):
        for body in moving:
            link.move(body, int(second * rate / bodies), float(second))
    return moving


def test_nothing_is_limited_while_bodies_are_through_in_time() -> None:
    """Whatever they are in all, and however large."""
    link = window()
    crawl(link, int(AIM), rate=64 * KIB)
    assert (link.bytes, link.share()) == (inf, inf)
    assert link.has_room(2**40)


def test_bodies_that_crawl_are_a_lesson() -> None:
    """What the link carries in five seconds may be under way, and a new body has its share of that."""
    link = window()
    bodies = crawl(link, 6, rate=256 * KIB)
    assert link.bytes == pytest.approx(5 * 256 * KIB, rel=0.2)
    assert link.share() == pytest.approx(link.bytes / 8)
    assert not link.has_room(100 * KIB)
    for body in bodies:
        link.end(body, 7.0)
        link.give_back(body.size)
    assert link.has_room(SIZE * 2)  # one alone always has room
    link.take(int(link.share()))
    assert link.has_room(int(link.share()))
    assert not link.has_room(SIZE * 2)


def test_a_small_body_always_has_room() -> None:
    """It does not matter to the link, and may be what others wait for."""
    link = window()
    crawl(link, 6, rate=64 * KIB)
    assert link.has_room(4095)
    assert not link.has_room(4096)


def test_no_link_is_so_slow_that_bodies_get_tiny() -> None:
    """64 KiB stay, and two of them at once."""
    link = window()
    crawl(link, 60, rate=KIB)
    assert (link.bytes, link.share()) == (128 * KIB, 64 * KIB)


def test_a_link_that_takes_all_that_may_be_under_way_is_not_slow() -> None:
    """One body may crawl for a reason of its own."""
    link = window(requests=2)
    crawl(link, 6, rate=450 * KIB, size=2 * 1450 * KIB, bodies=2)
    assert link.bytes == inf


def test_silence_teaches_nothing() -> None:
    """A server that does not read for half a minute, and then reads at once, is no slow link."""
    link = window()
    bodies = crawl(link, 2, rate=32 * KIB)
    for second in range(3, 33):
        assert not any(link.move(body, 8 * KIB, float(second)) for body in bodies)
    assert link.bytes == inf
    for body in bodies:
        assert link.move(body, SIZE - 1, 33.0)
    assert link.bytes == inf


def test_time_without_bodies_does_not_count() -> None:
    """A source that gives one chunk in a while has a link that is as fast as when it is used."""
    link = window(requests=2)
    for start in (0.0, 100.0, 200.0):
        body = link.begin(SIZE, start)
        for second in range(1, 9):
            link.move(body, second * 100 * KIB, start + second)
        link.end(body, start + 8.0)
    assert link.bytes == pytest.approx(5 * 100 * KIB, rel=0.2)
    assert link.rate == pytest.approx(100 * KIB, rel=0.2)


def slow_window() -> Window:
    link = window()
    for body in crawl(link, 6, rate=256 * KIB):
        link.end(body, 7.0)
        link.give_back(body.size)
    return link


def through(link: Window, size: int, seconds: float, bodies: int = 4) -> None:
    """Have some bodies go through together."""
    for _ in range(bodies):
        link.take(size)
    moving = [link.begin(size, 100.0) for _ in range(bodies)]
    for body in moving:
        link.move(body, size, 100.0 + seconds)
        link.end(body, 100.0 + seconds)
        link.give_back(size)


def test_a_window_widens_slowly() -> None:
    """By a quarter of what went through quickly, and not beyond what was to be under way at first."""
    link = slow_window()
    before = link.bytes
    through(link, int(before / 4), 2.4)
    assert link.bytes == pytest.approx(before * 1.25)
    while link.bytes < inf:
        before = link.bytes
        through(link, int(link.share() * 2), 0.1)
        assert link.bytes > before
    assert 6 * SIZE < before < 8 * SIZE
    assert (link.bytes, link.share()) == (inf, inf)


@pytest.mark.parametrize(("size", "seconds", "bodies"), [(300 * KIB, 2.6, 4), (30 * KIB, 0.1, 4), (200 * KIB, 0.1, 2)])
def test_what_does_not_try_a_window_does_not_widen_it(size: int, seconds: float, bodies: int) -> None:
    """Bodies that were not quick, and bodies that used less than half of it."""
    link = slow_window()
    before = link.bytes
    through(link, size, seconds, bodies)
    assert link.bytes == before


def test_a_body_that_was_cut_widens_nothing() -> None:
    """It was not through."""
    link = slow_window()
    before = link.bytes
    link.take(SIZE)
    body = link.begin(SIZE, 100.0)
    link.move(body, SIZE - 1, 100.1)
    link.end(body, 100.1)
    assert link.bytes == before


def test_a_later_lesson_can_only_narrow() -> None:
    """A link that carries more is found out by bodies that are quick."""
    link = window()
    crawl(link, 6, rate=64 * KIB)
    narrow = link.bytes
    body = link.begin(SIZE, 50.0)
    for second in range(1, 8):
        link.move(body, second * 140 * KIB, 50.0 + second)
    assert link.bytes == narrow
